"""Metrics explorer: an engineer's own PromQL, with completion, history, chart and table, and a link that reopens it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pandas as pd
import streamlit as st

import queries
from app import explorer_history
from app.auth import login_required, viewer
from app.settings import settings
from components import Figure, _, language, line, ngettext, number, panel, sentence_of, span_bar, table
from components.drill import grid_height
from components.frame import unstamped
from components.i18n import pgettext
from components.promql_editor import PREFIX, promql_editor
from components.span import Span
from components.table import as_drawn
from components.url import Url, one_of
from components.window import window_bar, window_params
from queries import explorer

LONGEST = timedelta(days=731)
LETTERS = "abcdefgh"
# What was asked is drawn anew when somebody asks again, not by itself.
NEVER = 7 * 86400.0
HEIGHT = 300
AUTO = "auto"

zone = queries.timezone()
now = datetime.now(zone)
me = viewer(settings())
roles = me.roles if me else frozenset()
state: Any = st.session_state


# --- the questions on the page ----------------------------------------------------------------------------------------
# A field is a text area with a number of its own; `q` in the session (and in the URL) are the texts that were asked.


def fields() -> list[int]:
    """The numbers of the text areas; anew when a link or the browser's history asked for other questions."""
    state.setdefault("explorer:numbers", count())
    if state.get("explorer:asked") != state["q"] or not state.get("explorer:fields"):
        texts = list(state["q"]) or [""]
        state["explorer:fields"] = {next(state["explorer:numbers"]): text for text in texts}
        state["explorer:asked"] = list(state["q"])
    return list(state["explorer:fields"])


def asked(field: int) -> str:
    """What this field asks; empty for one that asks nothing yet."""
    return str(state["explorer:fields"].get(field, ""))


def keep_texts() -> None:
    """Take over what stands in the text areas, and ask it."""
    kept = {field: explorer.cleaned(state.get(f"{PREFIX}{field}") or "") for field in state["explorer:fields"]}
    fresh = [text for field, text in kept.items() if text and text != state["explorer:fields"][field]]
    ask(kept, fresh or [text for text in kept.values() if text])


def ask(kept: dict[int, str], remember: list[str]) -> None:
    """These are the fields now; what was asked is remembered."""
    state["explorer:fields"] = kept
    state["q"] = state["explorer:asked"] = [text for text in kept.values() if text]
    moment = datetime.now(UTC)
    kind = str(state.get("kind") or "range")
    new = [{"question": text, "kind": kind, "at": moment} for text in remember if len(text) <= explorer.MAX_LENGTH]
    past = [one for one in state.get("explorer:history", []) if (one["question"], one["kind"]) not in known(new)]
    state["explorer:history"] = (new + past)[: explorer_history.MOST]
    explorer_history.keep(settings(), me, new)


def known(entries: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Questions with their kinds."""
    return {(one["question"], one["kind"]) for one in entries}


def add(text: str = "", kind: str | None = None) -> None:
    """One more question: in the field that is empty, else in a new one."""
    kept = {field: explorer.cleaned(state.get(f"{PREFIX}{field}") or "") for field in state["explorer:fields"]}
    if text and text in kept.values():
        return ask(kept, [text])
    empty = [field for field, stands in kept.items() if not stands]
    if not empty and len(kept) >= explorer.MOST_QUESTIONS:
        state["explorer:full"] = True
        return None
    field = empty[0] if empty and text else next(state["explorer:numbers"])
    if kind in explorer.KINDS:
        state["kind"] = kind
    state[f"{PREFIX}{field}"] = text
    return ask({**kept, field: text}, [text] if text else [])


def remove(field: int) -> None:
    """One question less."""
    kept = {
        other: explorer.cleaned(state.get(f"{PREFIX}{other}") or "")
        for other in state["explorer:fields"]
        if other != field
    }
    ask(kept or {next(state["explorer:numbers"]): ""}, [])


def add_ready() -> None:
    """The ready question that was picked."""
    ready = explorer.ready_questions().get(state.get("explorer:ready") or "")
    state["explorer:ready"] = None
    if ready is not None:
        # An instant question among others over time would change them all.
        alone = not any(asked(field) for field in state["explorer:fields"])
        add(ready.text, ready.kind if alone else None)


def editor() -> None:
    """A text area a question, in one form: what is typed is asked when it is run, and not before."""
    numbers = fields()
    with st.form("explorer:form", border=False, enter_to_submit=True):
        # First in the form: Ctrl+Enter presses the first button, and it must not be one that removes a question.
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.form_submit_button(
                _("Run"), icon=":material/play_arrow:", type="primary", on_click=keep_texts, key="explorer:run"
            )
            if len(numbers) < explorer.MOST_QUESTIONS:
                st.form_submit_button(
                    _("Another question"), icon=":material/add:", type="tertiary", on_click=add, key="explorer:add"
                )
            st.caption(_("Ctrl+Enter runs · Ctrl+Space completes"), width="content")
        for letter, field in zip(LETTERS, numbers, strict=False):
            key = f"{PREFIX}{field}"
            if key not in state:
                state[key] = asked(field)
            with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
                st.markdown(f"**{letter}**", width="content")
                st.text_area(
                    _("Question {letter} in PromQL").format(letter=letter),
                    key=key,
                    height=min(68 + 22 * asked(field).count("\n"), 200),
                    placeholder="sum by (status) (rate(http_requests_total[$__rate_interval]))",
                    label_visibility="collapsed",
                    width="stretch",
                )
                if len(numbers) > 1:
                    st.form_submit_button(
                        "",
                        icon=":material/close:",
                        type="tertiary",
                        help=_("Remove question {letter}").format(letter=letter),
                        on_click=remove,
                        args=[field],
                        key=f"explorer:remove:{field}",
                    )
    if state.pop("explorer:full", False):
        st.warning(
            _("At most {n} questions stand here at once: remove one first.").format(n=explorer.MOST_QUESTIONS),
            icon=":material/block:",
        )


@st.fragment
def completion() -> None:
    """Names of metrics at once, labels and values when they are asked for."""
    answers: dict[str, list[str]] = state.setdefault("explorer:answers", {})

    def look(wish: Mapping[str, Any]) -> None:
        metric, label = str(wish.get("metric") or ""), str(wish.get("label") or "")
        named = f"labels|{metric}" if wish.get("want") == "labels" else f"values|{metric}|{label}"
        try:
            if wish.get("want") == "labels":
                answers[named] = explorer.label_names(metric or None, roles)
            else:
                answers[named] = explorer.label_values(label, metric or None, roles)
        except queries.SourceError:
            # Who types is not stopped by what cannot be completed.
            answers[named] = []
        while len(answers) > 40:
            answers.pop(next(iter(answers)))

    try:
        names = explorer.metric_names(roles)
    except queries.SourceError as problem:
        names = pd.DataFrame(columns=["name", "type", "help"])
        st.caption(f":material/edit_off: {_('No completion of names:')} {_(sentence_of(problem))}")
    if names.attrs.get("more"):
        st.caption(
            _("Only the first {n} metric names are completed: there are more.").format(n=number(len(names))),
        )
    promql_editor(
        key="explorer:editor",
        metrics=list(names.itertuples(index=False, name=None)),
        language=explorer.language(),
        answers=answers,
        names={
            f"explorer:remove:{field}": _("Remove question {letter}").format(letter=letter)
            for letter, field in zip(LETTERS, state["explorer:fields"], strict=False)
        },
        on_asked=look,
    )


# --- history and links ------------------------------------------------------------------------------------------------


def past_questions() -> tuple[list[dict[str, Any]], str]:
    """What was asked here and in earlier sessions, the latest first; and why the latter is missing, if it is."""
    own = [{**one, "at": one["at"].astimezone(zone)} for one in state.get("explorer:history", [])]
    try:
        kept = explorer_history.history(settings(), me)
    except queries.SourceError as problem:
        return own, problem.sentence
    earlier = [] if kept is None else kept.rename(columns={"asked_at": "at"}).to_dict("records")
    both = own + [one for one in earlier if (one["question"], one["kind"]) not in known(own)]
    return sorted(both, key=lambda one: one["at"], reverse=True)[: explorer_history.MOST], ""


def clicked(trigger: str, shown: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The question whose button was clicked."""
    click = state[trigger]
    return shown[click["row"]] if click is not None and click["row"] < len(shown) else None


def run_again(trigger: str, shown: list[dict[str, Any]]) -> None:
    """Ask a question of the history once more."""
    one = clicked(trigger, shown)
    if one is not None:
        add(one["question"], one["kind"])
        state["explorer:rerun"] = True


def forget(trigger: str, shown: list[dict[str, Any]]) -> None:
    """Take one question out of the history, or all of them."""
    one = clicked(trigger, shown) if trigger else None
    own = state.get("explorer:history", [])
    state["explorer:history"] = [] if one is None else [each for each in own if known([each]) != known([one])]
    try:
        explorer_history.forget(settings(), me, *(() if one is None else (one["question"], one["kind"])))
    except queries.SourceError as problem:
        st.toast(_(sentence_of(problem)), icon=":material/error:")


@st.fragment
def history() -> None:
    """The viewer's last questions; read when it is opened."""
    opened = st.popover(
        pgettext("questions asked", "History"),
        icon=":material/history:",
        type="tertiary",
        on_change="rerun",
        key="explorer:past",
        wrap=False,
    )
    if state.pop("explorer:rerun", False):
        st.rerun(scope="app")
    if not opened.open:
        return
    shown, missing = past_questions()
    kinds = kind_names()
    with opened:
        if missing:
            st.caption(f":orange[:material/warning: {_(missing)}]")
        if not shown:
            st.caption(_("Nothing was asked yet: what you run stands here afterwards."))
            return
        frame = pd.DataFrame(
            {
                "question": [" ".join(one["question"].split()) for one in shown],
                "kind": [kinds[one["kind"]] for one in shown],
                "at": [one["at"] for one in shown],
                "forget": "✕",
            }
        )
        st.dataframe(
            frame,
            hide_index=True,
            width=640,
            height=grid_height(len(frame), 360),
            key="explorer:past:table",
            alt=_("Questions that you have asked, the latest first"),
            column_config={
                "question": st.column_config.ButtonColumn(
                    _("Question"),
                    help=_("Run it again"),
                    type="tertiary",
                    alignment="left",
                    width=360,
                    key="explorer:past:run",
                    on_click=run_again,
                    args=["explorer:past:run", shown],
                ),
                "kind": st.column_config.TextColumn(_("Kind")),
                "at": st.column_config.DatetimeColumn(_("When"), format="DD MMM HH:mm"),
                "forget": st.column_config.ButtonColumn(
                    _("Forget"),
                    type="tertiary",
                    key="explorer:past:forget",
                    on_click=forget,
                    args=["explorer:past:forget", shown],
                ),
            },
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                _("Forget all"), icon=":material/delete:", type="tertiary", on_click=forget, args=["", shown],
                key="explorer:past:none",
            )  # fmt: skip
            across = settings().state_url is not None
            st.caption(
                _("Your last 50 questions, kept across sessions; nobody else sees them.")
                if across and login_required()
                else _("The last 50 questions of everyone at this address, for there is no login.")
                if across
                else _("Your last 50 questions of this session."),
                width="content",
            )


def share(questions: list[explorer.Question], span: Span) -> None:
    """The link that reopens what is seen, to the second."""
    with st.popover(
        pgettext("a link", "Share"), icon=":material/share:", type="tertiary", key="explorer:share", wrap=False
    ):
        if not questions:
            st.caption(_("Run a question first: a link holds questions, period, kind and step."))
            return
        base = settings().public_url
        address = f"{base.rstrip('/')}/metrics_explorer" if base else str(st.context.url or "").partition("?")[0]
        texts = [("q", one.text) for one in questions]
        plain = [("kind", questions[0].kind), ("step", str(questions[0].step))]
        exact = list(window_params(span.start, questions[0].end).items())
        try:
            st.caption(_("Exactly what you see, whenever it is opened:"))
            st.code(explorer.link(address, [*texts, *plain, *exact]), language=None, wrap_lines=True)
            st.caption(_("For the newest data, share the address of this page."))
        except explorer.PromqlError as problem:
            st.warning(said(problem), icon=":material/link_off:")


# --- what comes back --------------------------------------------------------------------------------------------------


def kind_names() -> dict[str, str]:
    """The kinds of questions in the viewer's language."""
    return {"range": _("Over time"), "instant": _("At one moment")}


def step_words(seconds: int) -> str:
    """A step as it is chosen: 15 s, 5 min, 6 h, 1 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def said(problem: queries.SourceError) -> str:
    """The sentence of an error in the viewer's language."""
    if isinstance(problem, explorer.PromqlError):
        return _(problem.template).format(**problem.values)
    return _(sentence_of(problem))


def refused(problem: explorer.PromqlError) -> None:
    """Why a question has no answer, with the place that Prometheus points to."""
    st.error(said(problem), icon=":material/error:")
    if problem.detail:
        where = ""
        if problem.at is not None:
            where = _("Line {line}, column {column}: ").format(line=problem.at[0], column=problem.at[1])
        st.text(f"{where}{problem.detail}")
    if problem.at is not None:
        st.code(explorer.shown_at(problem.text, problem.at), language=None)


def words_of(ready: explorer.Ready | None) -> str:
    """The title of a ready question in the viewer's language."""
    return "" if ready is None else ready.title[language()]


def result(letter: str, one: explorer.Question, span: Span, asker: str, key: str) -> None:
    """A question's answer: chart and table."""
    ready = words_of(explorer.ready_of(one.text))
    title = f"{letter} · {ready}" if ready else _("Question {letter}").format(letter=letter)

    @panel(title, height=HEIGHT, refresh=NEVER, key=key)
    def answer() -> Figure | None:
        try:
            frame = explorer.ask(one, roles=roles, asker=asker)
        except explorer.PromqlError as problem:
            refused(problem)
            return None
        for warning in queries.answer_of(frame).warnings[1:]:
            st.text(f"⚠ {warning}")
        return picture(frame, one, span, title, key)


def picture(frame: pd.DataFrame, one: explorer.Question, span: Span, title: str, key: str) -> Figure:
    """Chart and table of an answer; its kind says which there are."""
    kind = frame.attrs["kind"]
    if frame.empty:
        st.caption(_("No series matches at this time: nothing is measured under these names and labels."))
        return Figure(None, frame, drawn=True)
    if kind in {"scalar", "string"} and one.kind == "instant":
        st.code(str(frame["value"].iloc[0]), language=None, wrap_lines=True)
        st.caption({"scalar": _("A scalar: one number without labels."), "string": _("A text.")}[kind])
        return Figure(None, frame, drawn=True)
    if kind == "vector":
        listed = value_first(frame)
        columns = {**labels_of(listed, frame.attrs["labels"]), "value": st.column_config.NumberColumn(_("Value"))}
        shown(table(listed, columns, title=title), title, key)
        return Figure(None, frame, drawn=True)
    chart, rows = st.tabs([_("Chart"), _("Table")], key=f"{key}:tabs")
    with chart:
        seen = explorer.drawn(frame, one)
        figure = line(
            seen.frame,
            x="time",
            y="value",
            unit=explorer.unit_of(one.text),
            title=title,
            color="series" if seen.series > 1 or any(seen.frame["series"]) else None,
            events=queries.events(span.first, span.last) if span.events else None,
            zero=seen.level or None,
            height=HEIGHT,
        )
        if figure.chart is None:
            st.caption(_("No value can be drawn: see the table."))
        else:
            st.altair_chart(figure.chart, key=f"{key}:chart", alt=figure.alt or title)
        notes(seen)
    with rows:
        shown(statistics(explorer.summary(frame), title), title, key)
    return replace(figure, data=frame, drawn=True, drill=None)


def notes(seen: explorer.Drawn) -> None:
    """What the chart leaves out."""
    if seen.shown < seen.series:
        st.caption(
            _("The {shown} series with the greatest means are drawn; all {series} stand in the table.").format(
                shown=number(seen.shown), series=number(seen.series)
            )
        )
    if seen.infinite:
        words = ngettext(
            "{n} infinite value (a division by zero) is drawn as a gap.",
            "{n} infinite values (divisions by zero) are drawn as gaps.",
            seen.infinite,
        )
        st.caption(words.format(n=number(seen.infinite)))


def value_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Labels, then the value, the greatest first."""
    made = frame.drop(columns="time").sort_values("value", ascending=False, ignore_index=True)
    made.attrs = dict(frame.attrs)
    return made


def labels_of(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    """Labels as columns under their own names, that of the metric first."""
    return {name: ("text", _("Metric") if name == "__name__" else name) for name in names if name in frame}


def statistics(frame: pd.DataFrame, title: str) -> Figure:
    """A row a series with its labels as columns."""
    labels = labels_of(frame, list(frame.columns[:-6]))
    numbers = {
        "latest": st.column_config.NumberColumn(_("Latest"), help=_("The last value that is one")),
        "at": st.column_config.DatetimeColumn(_("At"), format="DD MMM HH:mm:ss"),
        "min": st.column_config.NumberColumn(_("Min")),
        "max": st.column_config.NumberColumn(_("Max")),
        "mean": st.column_config.NumberColumn(_("Mean")),
        "points": ("count", _("Points")),
    }
    return table(frame, {**labels, **numbers}, title=title)


def shown(figure: Figure, title: str, key: str) -> None:
    """A table within a tab."""
    drawn = as_drawn(unstamped(figure.data))
    st.dataframe(
        drawn,
        hide_index=True,
        column_config=figure.columns,
        height=grid_height(len(drawn), HEIGHT + 60),
        placeholder="∅",
        key=f"{key}:table",
        alt=title,
    )


# --- the page ---------------------------------------------------------------------------------------------------------

st.title(_("Metrics explorer"), anchor=False)
if "engineer" not in roles:
    st.info(_("The metrics explorer is for engineers only."), icon=":material/lock:")
    st.stop()
if (unconfigured := explorer.no_source()) is not None:
    st.caption(f":material/settings: {_(sentence_of(unconfigured))}")
    st.stop()
below_title = st.empty()
chosen = window_bar(now, earliest=now - LONGEST, longest=LONGEST)
span = chosen or span_bar(now, earliest=now.date() - LONGEST + timedelta(days=1))
below_title.caption(
    _("Questions of your own to Prometheus, in PromQL. {span}").format(span="" if chosen else span.caption())
)

url = Url()
url.restore("q", [], explorer.read_texts)
url.restore("kind", "range", one_of(explorer.KINDS))
url.restore("step", AUTO, one_of((AUTO, *map(str, explorer.STEPS))))
auto = explorer.question("", "range", span.start, min(span.end, now), scrape_interval=explorer.scrape_interval()).step
with st.container(horizontal=True, vertical_alignment="center", gap="small", key="explorer-tools"):
    kind = st.segmented_control(
        _("Kind"),
        explorer.KINDS,
        format_func=kind_names().__getitem__,
        key="kind",
        required=True,
        label_visibility="collapsed",
    )
    step = st.selectbox(
        _("Step"),
        (AUTO, *map(str, explorer.STEPS)),
        format_func=lambda one: _("Step: {step}").format(
            step=f"{_('auto')} ({step_words(auto)})" if one == AUTO else step_words(int(one))
        ),
        key="step",
        disabled=kind == "instant",
        label_visibility="collapsed",
        width=180,
    )
    st.selectbox(
        _("Ready questions"),
        list(explorer.ready_questions()),
        index=None,
        format_func=lambda name: (
            f"{explorer.ready_questions()[name].group[language()]}: {words_of(explorer.ready_questions()[name])}"
        ),
        placeholder=_("Add a ready question…"),
        key="explorer:ready",
        on_change=add_ready,
        label_visibility="collapsed",
        width=290,
    )
    history()
    links = st.container(width="content")

editor()
completion()

texts = list(state["q"])
try:
    explorer.link(str(st.context.url or "").partition("?")[0], [("q", text) for text in texts])
    url.keep("q", texts, texts, default=not texts)
except explorer.PromqlError as problem:
    url.leave_out("q")
    st.warning(said(problem), icon=":material/link_off:")
url.keep("kind", kind, [str(kind)], default=kind == "range")
url.keep("step", step, [str(step)], default=step == AUTO)
url.write()
if url.refused:
    asked_for = ", ".join(part.partition("=")[0] for part in url.refused)
    st.warning(
        _("The link holds what cannot be asked ({asked}): at most {n} questions of {length} characters each.").format(
            asked=asked_for, n=explorer.MOST_QUESTIONS, length=number(explorer.MAX_LENGTH)
        ),
        icon=":material/link_off:",
    )

# One question of a viewer is in flight at a time; without a login everyone is the same viewer, and his session counts.
asker = me.id if me and login_required() else str(state.setdefault("explorer:asker", uuid4().hex))
questions = {
    field: explorer.question(
        asked(field),
        "instant" if kind == "instant" else "range",
        span.start,
        min(span.end, now).replace(microsecond=0),
        None if step == AUTO else int(step),
        scrape_interval=explorer.scrape_interval(),
        asked=now,
    )
    for field in state["explorer:fields"]
    if asked(field)
}
with links:
    share(list(questions.values()), span)
if not questions:
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(f"**{_('Nothing is asked yet')}**", width="content")
        st.caption(
            _("Type a question above, or add a ready one. Bounds: {series} series, {points} points each.").format(
                points=number(11_000), series=number(2_000)
            ),
            width="content",
        )
# A field keeps its letter, whichever of them ask something.
for letter, field in zip(LETTERS, state["explorer:fields"], strict=False):
    if field in questions:
        result(letter, questions[field], span, asker, f"question-{field}")
