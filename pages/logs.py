"""Logs: the lines that the backend wrote, by id, level, text and period, as they are found; each leads on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.links import lead
from app.settings import settings
from components import Figure, _, bars_over_time, ngettext, number, panel, sentence_of, span_bar, value_name
from components.drill import grid_height
from components.frame import unstamped
from components.scales import colours_of
from components.span import Span
from components.url import Url, some_of
from components.window import window_bar, window_params
from queries import logs as told

DAY = timedelta(days=1)
# Farther back no search reaches at once.
LONGEST = timedelta(days=62)
# So long a page waits for a search before it shows that it runs.
AT_ONCE = 0.4
AGAIN = 0.5
# A panel of lines is drawn anew when somebody searches, not by itself: each search costs.
NEVER = 7 * 86400.0
AROUND = timedelta(minutes=5)
ICONS = {"CRITICAL": "emergency_home", "ERROR": "error", "WARNING": "warning", "INFO": "info", "DEBUG": "code"}

zone = queries.timezone()
now = datetime.now(zone)
me = viewer(settings())
roles = me.roles if me else frozenset()


# --- words ------------------------------------------------------------------------------------------------------------


def strategy() -> dict[str, str]:
    """What each level is for."""
    return {
        "CRITICAL": _("The service cannot go on: whoever is on call is woken."),
        "ERROR": _("Something failed that needs attention at once, such as a payment that could not be processed."),
        "WARNING": _("It still works, but may not for long, such as an integration that answers slowly."),
        "INFO": _("Business as usual: an application, an approval, a disbursement."),
        "DEBUG": _("For development only; usually not written in production."),
    }


def ids() -> dict[str, tuple[str, str]]:
    """The ids to search by: the parameter of the URL with the field of the question and its label."""
    return {
        "request": ("request_id", _("Request")),
        "trace": ("trace_id", _("Trace")),
        "integration": ("integration", _("Integration")),
        "credit": ("credit_id", _("Credit")),
        "application": ("application_id", _("Application")),
        "conductor": ("conductor_id", _("Driver")),
    }


def missing_words(note: str) -> str:
    """Why lines may be missing, in a sentence."""
    return {
        "lines": _(
            "More lines match than are shown: these are the newest {n}. Narrow the period or the filters."
        ).format(n=number(1000)),
        "bytes": _("The lines are so long that only the newest fit: narrow the period or the filters."),
        "time": _("The search was ended after half a minute, so lines may be missing: narrow the period."),
        "stopped": _("You stopped the search: these are the lines that it had found."),
        "parts": _("A part of the log store did not answer, so lines may be missing."),
    }[note]


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{number(count, 1 if unit != 'B' and count < 100 else 0)} {unit}"
        count /= 1000
    raise AssertionError


def counted(found: told.Found | None) -> str:
    """How far a search has come: lines that match, lines and bytes that were read."""
    if found is None:
        return _("Nothing yet")
    parts = []
    if found.matched is not None:
        more = "+" if found.at_least else ""
        parts.append(
            ngettext("{n} line matches", "{n} lines match", found.matched).format(n=f"{number(found.matched)}{more}")
        )
    if found.scanned is not None:
        parts.append(ngettext("{n} line read", "{n} lines read", found.scanned).format(n=number(found.scanned)))
    if found.scanned_bytes:
        parts.append(size(found.scanned_bytes))
    return " · ".join(parts) or ngettext("{n} line", "{n} lines", len(found.frame)).format(n=number(len(found.frame)))


# --- what is asked ----------------------------------------------------------------------------------------------------


def asked_for(texts: list[str]) -> str:
    """A text or an id of the URL as it is; the question says whether it can be."""
    return texts[-1].strip()


def question_bar(span: Span) -> told.Question:
    """The filters beside the period; a value that no line can have raises its sentence."""
    url = Url()
    asked: dict[str, Any] = {}
    url.restore("text", "", asked_for)
    text = st.text_input(
        _("Text"),
        key="text",
        placeholder=_("Text in the line"),
        max_chars=200,
        icon=":material/search:",
        label_visibility="collapsed",
    ).strip()
    url.keep("text", text, [text], default=not text)
    url.restore("level", [], some_of(told.LEVELS))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        levels = st.pills(
            _("Level"),
            told.LEVELS,
            selection_mode="multi",
            format_func=lambda level: f":material/{ICONS[level]}: {level}",
            key="level",
            label_visibility="collapsed",
            width="content",
        )
        with st.popover(_("What for?"), type="tertiary", help=_("What each level is for")):
            for level, words in strategy().items():
                st.markdown(f":material/{ICONS[level]}: **{level}**  \n{words}")
    url.keep("level", levels, list(levels), default=not levels)
    asked |= {"text": text, "levels": tuple(level for level in told.LEVELS if level in levels)}
    given = any(st.query_params.get(name) or st.session_state.get(name) for name in ids())
    with (
        st.expander(_("By id"), icon=":material/tag:", expanded=given, key="ids"),
        st.grid(3, min_column_width=200, gap=("xsmall", "small")),
    ):
        for name, (column, label) in ids().items():
            url.restore(name, "", asked_for)
            value = st.text_input(label, key=name, max_chars=128).strip()
            url.keep(name, value, [value], default=not value)
            asked[column] = value
    url.write()
    return told.Question(span.start, span.end, **asked)


def search_for(question: told.Question) -> told.Search:
    """The search of this question: the one that this page began, unless something else is asked now."""
    kept: told.Search | None = st.session_state.get("logs:search")
    anew = st.session_state.pop("logs:again", False)
    if kept is not None and kept.question == question and not anew:
        return kept
    if kept is not None and not kept.ended:
        kept.leave()
    st.session_state["logs:search"] = begun = told.search(question, roles)
    st.session_state.pop("logs:stopped", None)
    return begun


def again() -> None:
    """Ask the same question once more."""
    st.session_state["logs:again"] = True


def stop(search: told.Search) -> None:
    """End the search for this viewer; what it has found stands."""
    search.leave()
    found = search.wait(1.0).found
    empty = told.Found(pd.DataFrame(columns=list(told.COLUMNS)))
    st.session_state["logs:stopped"] = replace(found or empty, ended=True, notes=("stopped",))


def only(column: str, value: str) -> None:
    """Look at all lines with this id, and at nothing else."""
    for name, (other, _label) in ids().items():
        st.session_state[name] = value if other == column else ""
    st.session_state["text"], st.session_state["level"] = "", []


# --- what is shown ----------------------------------------------------------------------------------------------------


def lines_table(frame: pd.DataFrame, *, key: str, pick: bool) -> pd.Series[Any] | None:
    """The lines; gives the one that is picked."""
    shades = colours_of(told.LEVELS)
    shown = unstamped(frame.assign(level=[[level] if level else [] for level in frame["level"]]))
    config: dict[str, Any] = {
        "time": st.column_config.DatetimeColumn(_("Time"), format="DD MMM HH:mm:ss.SSS", width=150),
        "level": st.column_config.MultiselectColumn(_("Level"), options=told.LEVELS, color=shades, width=90),
        "message": st.column_config.TextColumn(_("Message")),
        "logger": st.column_config.TextColumn(_("Logger"), width=150),
        "integration": st.column_config.TextColumn(_("Integration"), width=90),
        "request_id": st.column_config.TextColumn(_("Request"), width=110),
    }
    order = [
        "time",
        "level",
        "message",
        *(name for name in ("integration", "logger", "request_id") if any(frame[name])),
    ]
    options: dict[str, Any] = {
        "hide_index": True,
        "column_order": order,
        "column_config": config,
        "height": grid_height(len(frame), 480),
        "alt": _("Log lines, the newest first"),
    }
    if not pick:
        st.dataframe(shown, key=key, **options)
        return None
    state = st.dataframe(shown, key=key, on_select="rerun", selection_mode="single-row", **options)
    rows = state["selection"]["rows"]
    return frame.iloc[rows[0]] if rows and rows[0] < len(frame) else None


def calls_of(request_id: str, trace_id: str) -> pd.DataFrame:
    """The calls of a request or a trace in the ledger; none while it does not answer."""
    if request_id or trace_id:
        try:
            return queries.ledger(
                "traces/calls", {"request": request_id or None, "trace": trace_id or None}, deadline=4
            )
        except queries.SourceError:
            pass
    return pd.DataFrame()


def open_line(row: Any) -> None:
    """The whole of a line, and where it leads."""
    st.divider()
    shade = {"CRITICAL": "red", "ERROR": "red", "WARNING": "orange", "INFO": "blue"}.get(row["level"], "gray")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(row["level"] or _("(none)"), color=shade)
        moment_words = f"{row['time']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        st.text(" · ".join(part for part in (moment_words, row["logger"]) if part), width="content")
    st.code(row["message"] or " ", language=None, wrap_lines=True)
    moment = row["time"].to_pydatetime()
    around = window_params(moment - AROUND, moment + AROUND)
    named = row["integration"] or st.query_params.get("integration", "")
    of = {"integration": named} if named else {}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        known = {"request": row["request_id"]} if row["request_id"] else {"trace": row["trace_id"]}
        if row["request_id"] or row["trace_id"]:
            lead("thread", _("Everything in one thread"), "conversion_path", {**known, **of, **around})
        for call in calls_of(row["request_id"], row["trace_id"]).itertuples():
            failed = call.status != "success"
            code = f" · {value_name(call.error_code)}" if failed and isinstance(call.error_code, str) else ""
            lead(
                "integrations",
                _("Call to {integration}{code}").format(integration=value_name(call.integration), code=code),
                "error" if failed else "hub",
                {"id": str(call.call_id), "integration": call.integration, **span.query_params()},
            )
        if row["trace_id"]:
            lead("traces", _("Its trace"), "timeline", {"trace": row["trace_id"], **of, **around})
        if row["credit_id"]:
            lead("credit", _("Its credit"), "receipt_long", {"id": row["credit_id"]})
        if row["conductor_id"]:
            lead("conductor", _("Its driver"), "badge", {"id": row["conductor_id"]})
        for column, label in (
            ("request_id", _("All lines of this request")),
            ("trace_id", _("All lines of this trace")),
        ):
            if row[column] and st.button(
                label,
                key=f"only-{column}",
                icon=":material/filter_alt:",
                type="tertiary",
                on_click=only,
                args=[column, row[column]],
            ):
                st.rerun(scope="app")
    st.json(told.whole(row))
    st.caption(_("Personal data and secrets are taken out: [removed] stands in their place."))


def progress(search: told.Search) -> None:
    """What a search has found so far, drawn anew until it ends."""

    @st.fragment(run_every=AGAIN)
    def so_far() -> None:
        if search.ended:
            st.session_state["logs:shown-again"] = True
            st.rerun(scope="app")
        seconds = (datetime.now(zone) - search.began).total_seconds()
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(
                    f":material/progress_activity: **{_('Searching…')}** {counted(search.found)} · {number(seconds)} s",
                    width="content",
                )
                if st.button(_("Stop"), icon=":material/stop_circle:", key="logs:stop", on_click=stop, args=[search]):
                    st.rerun(scope="app")
            st.progress(min(seconds / told.SEARCH_SECONDS, 1.0))
            if search.found is not None and not search.found.frame.empty:
                lines_table(search.found.frame, key="logs:so-far", pick=False)

    so_far()


def result(search: told.Search, found: told.Found | None, span: Span) -> None:
    """What a search has found: how much, when, and the lines."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(counted(found) if found is not None else "", width="content")
        if st.button(
            _("Search again"), icon=":material/refresh:", type="tertiary", on_click=again, key="logs:again-button"
        ):
            st.rerun()
    if search.error is not None:
        st.error(_(sentence_of(search.error)), icon=":material/error:")
        if found is not None and not found.frame.empty:
            st.caption(_("Below are the lines that were found before."))
    if found is None:
        return
    for note in found.notes:
        st.caption(f":orange[:material/warning: {missing_words(note)}]")
    shown = found.frame if search.frame is None else search.frame
    if shown.empty and not found.notes and search.error is None:
        with st.container(border=True, horizontal_alignment="center"):
            st.markdown(f"**{_('No line matches')}**", width="content")
            st.caption(_("Choose a longer period, fewer levels or another text."), width="content")
        return

    if search.error is None and "stopped" not in found.notes:

        @panel(
            _("Lines by level over time"),
            height=200,
            refresh=NEVER,
            help=_("All lines that match, also those beyond the newest 1,000."),
            key="levels",
        )
        def levels() -> Figure:
            if found.total:
                frame = told.by_level(shown, search.question, span.step)
            else:
                frame = told.over_time(search.question, span.step, roles)
            return bars_over_time(
                told.filled(frame, search.question, span.step, now),
                x="at",
                y="lines",
                unit="count",
                title=_("Lines by level over time"),
                color="level",
                order=told.LEVELS,
                height=200,
                events=queries.events(span.first, span.last) if span.events else None,
            )

    @panel(_("Lines"), height=480, refresh=NEVER, key="lines", help=_("A click on a line opens all of it."))
    def lines() -> Figure:
        picked = lines_table(shown, key="logs:lines", pick=True)
        if picked is None:
            st.caption(_("Choose a line to read all of it and to follow where it leads."))
        else:
            open_line(picked)
        return Figure(None, shown, drawn=True)


# --- the page ---------------------------------------------------------------------------------------------------------

st.title(_("Logs"), anchor=False)
if not told.allowed(roles):
    st.info(_("Logs are shown to engineers only."), icon=":material/lock:")
    st.stop()
if not queries.is_configured("logs"):
    try:
        queries.outside_client("logs")
    except queries.SourceError as problem:
        st.caption(f":material/settings: {_(sentence_of(problem))}")
    st.stop()
below_title = st.empty()
chosen = window_bar(now, earliest=now - LONGEST, longest=LONGEST)
if st.session_state.pop("logs:shown-again", False):
    # The browser may not have drawn the first run when its search ended: the filters are told their values once more.
    for name in ("range", "from", "to", "events", "text", "level", *ids()):
        if name in st.session_state:
            st.session_state[name] = st.session_state[name]
span = chosen or span_bar(now, earliest=now.date() - LONGEST + 2 * DAY)
below_title.caption(
    _("What the backend wrote, without personal data. {span}").format(span="" if chosen else span.caption())
)
try:
    question = question_bar(span)
except queries.SourceError as problem:
    st.warning(_(sentence_of(problem)), icon=":material/edit_off:")
    st.stop()
search = search_for(question).wait(AT_ONCE)
stopped = st.session_state.get("logs:stopped")
if search.ended or stopped is not None:
    result(search, stopped or search.found, span)
else:
    progress(search)
