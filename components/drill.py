"""From a mark of a chart to the rows behind it: a click opens them below the picture, in the same panel.

    bar(frame, ..., drill=Drill("rows/decisions", {"first": first, "last": last}, by={"tier": "tier"}, count="n"))

The rows come through a `RowSource` that the host names (`on_rows`): the looks know no source.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol

import pandas as pd
import streamlit as st

from components.frame import age_words, answer_of, sentence_of, show_query, unstamped
from components.i18n import _, clock, day_name, is_unknown, ngettext, number, when
from components.words import value_name

PAGE_ROWS = 50
# Of a row of a grid in the theme's font of 15 px, its heading included.
ROW_HEIGHT = 33
TABLE_ROWS = 12
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Drill:
    """How a click on a mark finds the rows behind it.

    `query` names a list of rows (`rows/...`), `params` are what all marks share: the period, the filters. A parameter
    that the query does not know is an error, not ignored: rows would come that nobody clicked. `by` says, for each
    parameter that the mark decides, the column of the drawn frame that holds its value: {"tier": "tier"}; for a day
    {"first": "day", "last": "day"}; for a week or month the columns with its first and last day, which the frame
    carries. A null in the frame is bound as '' (none). A list parameter takes the value as its only item.

    `count` is the column with the number of rows that the mark stands for; without it the rows alone are counted.
    `title` names what is counted, by default the query's own title.
    """

    query: str
    params: Mapping[str, Any] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    count: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class RowList:
    """What is known of a list before it is asked: types of its parameters by name, columns as (type, unit, words),
    and the columns that it may be sorted by with their own direction (True is descending), the first by default."""

    title: str
    description: str
    params: Mapping[str, str]
    columns: Mapping[str, tuple[str, str, str]]
    sorts: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Progress:
    """How far a download is, in rows; `words` say what went wrong."""

    sent: int
    total: int
    state: Literal["running", "done", "failed"]
    words: str = ""


class RowSource(Protocol):
    """Where rows come from. A page of rows is a frame with `first`, `last` and `more` in `frame.attrs["page"]`.

    A place (`after`, `before`) is what such a page tells; it is handed back as it came. Errors have a `sentence`.
    """

    def describe(self, query: str) -> RowList:
        """What is known of a list."""

    def page(
        self, query: str, params: Mapping[str, Any], *, sort: str, descending: bool, after: Any, before: Any
    ) -> pd.DataFrame:
        """The first rows, those after a place, or the last ones before it."""

    def count(self, query: str, params: Mapping[str, Any]) -> int:
        """How many rows there are."""

    def link(
        self,
        query: str,
        params: Mapping[str, Any],
        *,
        sort: str,
        descending: bool,
        format: Literal["csv", "xlsx"],
        name: str,
        total: int,
        id: str,
    ) -> str:
        """Where the file with all rows is; `id` is by what its progress is asked for."""

    def progress(self, id: str, format: Literal["csv", "xlsx"]) -> Progress | None:
        """How far a download is, or None when none has begun."""

    def leads(self, column: str) -> bool:
        """Whether the ids in a column have a page of their own."""

    def open(self, column: str, id: str) -> None:
        """Go to the page of an id."""


_source: RowSource | None = None


def on_rows(source: RowSource | None) -> None:
    """Name where rows come from; until then a click opens nothing."""
    global _source
    _source = source


def drillable(drill: Drill | None) -> bool:
    """Whether a click on a mark can open rows."""
    return drill is not None and _source is not None


# --- from the mark to the parameters ----------------------------------------------------------------------------------


def picked_mark(selection: Any, marks: pd.DataFrame) -> pd.Series[Any] | None:
    """The drawn row that was clicked last, or None: nothing is picked, or it is no longer drawn."""
    picked = list(selection or [])
    if not picked:
        return None
    match = pd.Series(True, index=marks.index)
    known = [name for name in picked[-1] if name in marks.columns]
    if not known:
        return None
    for name in known:
        match &= marks[name].astype(str) == str(picked[-1][name])
    found = marks[match]
    return None if found.empty else found.iloc[0]


def params_of(drill: Drill, mark: Mapping[str, Any], known: RowList) -> dict[str, Any]:
    """The parameters of the rows behind a mark. Raises ValueError when the mark holds no value for one."""
    params = dict(drill.params)
    for name, column in drill.by.items():
        value, kind = _plain(mark[column]), known.params.get(name, "text")
        if value is None:
            if kind not in {"text", "text[]"}:
                raise ValueError(f"the mark has no {column} for the parameter {name} of {drill.query}")
            value = ""
        params[name] = [value] if kind.endswith("[]") else value
    return params


def _plain(value: Any) -> Any:
    if is_unknown(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date() if value == value.normalize() and value.tzinfo is None else value.to_pydatetime()
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _day(value: Any) -> date | None:
    if value is None:
        return None
    return pd.Timestamp(value).date()


def _period(first: date | None, last: date | None) -> str:
    """12 Nov 2026, 1 to 30 Nov 2026, or what is known of it."""
    if first is None or last is None:
        return (
            _("since {day}").format(day=day_name(first, style="d MMM y"))
            if first
            else _("until {day}").format(day=day_name(last, style="d MMM y"))
            if last
            else ""
        )
    if first == last:
        return day_name(first, style="d MMM y")
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{day_name(last, style='d MMM y')}"
    start = "d MMM" if first.year == last.year else "d MMM y"
    return f"{day_name(first, style=start)} – {day_name(last, style='d MMM y')}"


_LATE = {1: "1–7", 2: "8–15", 3: "16–30", 4: "31–60", 5: "61–90", 6: "90+"}
# Where a credit stood on a day is said with the day.
_STANDS_ON = {"as_of": "bucket", "as_of_before": "bucket_before"}


def _named(name: str, value: Any, dated: bool) -> str:
    """A bound value in words that can be read without its parameter; `dated`: buckets are of days past due."""
    if value == "" or value is None:
        return _("(none)")
    if name == "band":
        return _("no score") if value == -1 else f"HASE {value}–{100 if value >= 90 else value + 9}"
    if name in {"score", "score_from"}:
        return f"HASE {value}"
    if name == "hour":
        return f"{int(value):02d}:00"
    if name == "weekday":
        # 1 January 2024 was a Monday.
        return day_name(date(2024, 1, int(value)), style="EEEE")
    if name in {"hours", "hours_from", "hours_over"}:
        return f"{'> ' if name == 'hours_over' else ''}{value} h"
    if name in {"bucket", "bucket_before"} and dated:
        standing = {-1: _("not disbursed"), 0: _("not late"), 7: _("paid off")}
        return standing.get(value) or _("{days} days late").format(days=_LATE.get(value, value))
    if name == "first_installment":
        return _("first installments") if value else _("later installments")
    told = _(str(value))
    return told if told != str(value) else str(value_name(value))


def label_of(drill: Drill, params: Mapping[str, Any], known: RowList) -> str:
    """What was clicked, in words: Approvals, 12 Nov 2026, AAA."""
    days = [name for name, kind in known.params.items() if kind == "date" and params.get(name) is not None]
    parts: list[str] = []
    # The days that the mark decides; when it decides none, the period that all marks share.
    chosen = [name for name in days if name in drill.by] or days
    # What came first is said first.
    for name in sorted(chosen, key=lambda name: (name == "as_of", chosen.index(name))):
        if name.endswith("last"):
            other = f"{name.removesuffix('last')}first"
            if other not in chosen:
                parts.append(_period(None, _day(params[name])))
        elif name.endswith("first"):
            other = f"{name.removesuffix('first')}last"
            parts.append(_period(_day(params[name]), _day(params.get(other))))
        elif name in {"month", "vintage"}:
            day = _day(params[name])
            parts += [day_name(day, style="MMMM y")] if day else []
        else:
            day = _day(params[name])
            stands = _STANDS_ON.get(name, "")
            state = f": {_named(stands, params[stands], True)}" if day and stands in drill.by else ""
            parts += [_("at the end of {day}").format(day=_period(day, day)) + state] if day else []
    dated = "as_of" in known.params
    for name in drill.by:
        value = params[name]
        if name == "from_at" and isinstance(value, datetime):
            until = params.get("to_at")
            parts.append(f"{when(value)}–{clock(until)}" if isinstance(until, datetime) else when(value))
        elif name == "duration_from" and value is not None:
            until = params.get("duration_to")
            parts.append(f"{number(value)}–{number(until)} ms" if until is not None else f"≥ {number(value)} ms")
        elif name == "score_from" and params.get("score_to") not in {None, value}:
            parts.append(f"HASE {value}–{params['score_to']}")
        elif any(name == stands and day in chosen for day, stands in _STANDS_ON.items()):
            continue
        elif name not in days and name not in {"score_to", "hours_to", "to_at", "duration_to"}:
            parts += [_named(name, one, dated) for one in (value if isinstance(value, list) else [value])]
    return ", ".join([_(drill.title or known.title), *dict.fromkeys(part for part in parts if part)])


# --- the opened rows --------------------------------------------------------------------------------------------------


def open_rows(drill: Drill, mark: pd.Series[Any], *, key: str, drawn_at: Any = None) -> str:
    """Draw the rows behind the mark; gives the outcome for the host. `drawn_at` is the stamp of the drawn frame."""
    source = _source
    assert source is not None
    known = source.describe(drill.query)
    params = params_of(drill, mark, known)
    label = label_of(drill, params, known)
    clicked = _plain(mark[drill.count]) if drill.count else None

    state = _state(key, (drill.query, sorted(params.items(), key=str)))
    head = st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False, key=f"{key}:head"
    )
    heading = head.container()
    head.button(
        "", icon=":material/close:", type="tertiary", key=f"{key}:close", help=_("Close"), on_click=_close, args=(key,)
    )
    told = st.container()
    sort, descending = _sort_choice(known, key)
    if state["order"] != (sort, descending):
        state.update(order=(sort, descending), after=None, before=None, start=0)
    frame = source.page(
        drill.query, params, sort=sort, descending=descending, after=state["after"], before=state["before"]
    )
    if state["before"] is not None and len(frame) < PAGE_ROWS:
        # Rows before it have gone meanwhile: the list begins here.
        state.update(after=None, before=None, start=0)
        frame = source.page(drill.query, params, sort=sort, descending=descending, after=None, before=None)
    total, uncounted = _total(source, drill.query, params)
    shown = total if total is not None else clicked
    heading.markdown(f"**{_heading(shown, label)}**")
    with told:
        _tell_gap(clicked, total, uncounted, drawn_at)
    if frame.empty:
        st.caption(_("No rows."))
        return "empty"
    _table(source, frame, known, key, label)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}:foot"):
        _paging(frame, state, total, key)
        _downloads(
            source, drill.query, params, sort=sort, descending=descending, label=label, total=shown or 0, key=key
        )
    _progress(source, state, key)
    _age_and_query(frame, key)
    return "ok"


def _age_and_query(frame: pd.DataFrame, key: str) -> None:
    """How old the rows are, and the query as run, as below every picture."""
    answer = answer_of(frame)
    if answer is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}:age"):
        st.caption(age_words(answer), width="content")
        asked = st.popover(f":small[{_('Query')}]", type="tertiary", key=f"{key}:query", on_change="rerun")
    if asked.open:
        with asked:
            show_query(answer)


def _state(key: str, what: Any) -> dict[str, Any]:
    """What stays between two drawings: where the page stands, for the rows that are open now."""
    name = f"{key}:state"
    if st.session_state.get(name, {}).get("what") != what:
        st.session_state[name] = {
            "what": what,
            "order": None,
            "after": None,
            "before": None,
            "start": 0,
            "id": secrets.token_urlsafe(9),
            "download": None,
        }
    state: dict[str, Any] = st.session_state[name]
    return state


def generation(key: str) -> int:
    """How often rows were closed at this picture: a part of its key, for only a new picture has nothing picked."""
    return int(st.session_state.get(f"{key}:closed", 0))


def _close(key: str) -> None:
    st.session_state[f"{key}:closed"] = generation(key) + 1
    st.session_state.pop(f"{key}:state", None)


def _total(source: RowSource, query: str, params: Mapping[str, Any]) -> tuple[int | None, str]:
    """The number of rows, or None and the sentence that says why it is not known: the rows are there all the same."""
    try:
        return source.count(query, params), ""
    except Exception as error:
        if not getattr(error, "sentence", None):
            raise
        return None, sentence_of(error)


def _heading(count: int | None, label: str) -> str:
    if count is None:
        return label
    return ngettext("{n} row: {label}", "{n} rows: {label}", count).format(n=number(count), label=label)


def _tell_gap(clicked: Any, total: int | None, uncounted: str, drawn_at: Any) -> None:
    """Both numbers, when what was drawn and what stands in the ledger now are not the same."""
    if total is None:
        st.caption(f":material/info: {_('The rows were not counted anew: {why}').format(why=_(uncounted))}")
    elif clicked is not None and clicked != total:
        at = _(" at {clock}").format(clock=clock(drawn_at.as_of)) if drawn_at is not None else ""
        st.caption(
            ":material/info: "
            + _("The chart counted {clicked}{at}; the ledger now has {total}: rows have changed since.").format(
                clicked=number(clicked), at=at, total=number(total)
            )
        )


_HEADINGS = {
    "credit_id": "Credit",
    "application_id": "Application",
    "conductor_id": "Driver",
    "installment_id": "Installment",
    "payment_id": "Payment",
    "call_id": "Call",
    "sinosure_tier": "Tier",
    "hase_score": "HASE score",
    "http_status": "HTTP",
    "duration_ms": "Duration (ms)",
    "request_id": "Request",
    "trace_id": "Trace",
    "integration_call_id": "Integration call",
}


def column_words(name: str) -> str:
    """A column's heading: Submitted at."""
    return _(_HEADINGS.get(name) or name.replace("_", " ").capitalize())


def _sort_choice(known: RowList, key: str) -> tuple[str, bool]:
    """The chosen sort: each column in both directions, its own direction first."""
    choices = [(name, way) for name, own in known.sorts for way in (own, not own)]

    def words(choice: tuple[str, bool]) -> str:
        name, descending = choice
        kind = known.columns[name][0]
        if kind in {"timestamptz", "date"}:
            way = _("newest first") if descending else _("oldest first")
        elif kind == "text":
            way = "Z–A" if descending else "A–Z"
        else:
            way = _("largest first") if descending else _("smallest first")
        return f"{column_words(name)}, {way}"

    chosen = st.selectbox(
        _("Sort"),
        choices,
        format_func=words,
        key=f"{key}:sort",
        label_visibility="collapsed",
        width=300,
    )
    return chosen or choices[0]


def _table(source: RowSource, frame: pd.DataFrame, known: RowList, key: str, label: str) -> None:
    first, *others = frame.columns
    # The id that leads on stands beside the row's own, in sight without scrolling.
    others.sort(key=lambda name: name != "credit_id")
    shown = unstamped(frame)[[first, *others]]
    config: dict[str, Any] = {}
    for name in shown.columns:
        kind, unit, words = known.columns.get(name, ("text", "", ""))
        config[name] = _column(name, kind, unit, _(words) if words else None)
        if kind == "numeric":
            # Arrow's decimals are shown to the digit, whatever the format says.
            shown[name] = shown[name].astype("float64")
        elif kind == "text" and not name.endswith("_id"):
            shown[name] = [value_name(value) if isinstance(value, str) else "" for value in shown[name]]
        if name.endswith("_id") and source.leads(name):
            # A button's label is a text, also where the id is a number.
            shown[name] = ["" if is_unknown(one) else str(one) for one in shown[name]]
        config[name] = id_column(name, shown[name].tolist(), f"{key}:open:{name}", column_words(name)) or config[name]
    height = grid_height(min(len(shown), TABLE_ROWS))
    st.dataframe(
        shown, hide_index=True, height=height, column_config=config, placeholder="", key=f"{key}:table", alt=label
    )


def grid_height(rows: int, most: int | None = None) -> int:
    """The height of a table of so many rows: it ends with its last row, for empty ones would look like missing ones."""
    height = ROW_HEIGHT * (rows + 1) + 3
    return height if most is None else min(height, most)


def id_column(name: str, ids: Sequence[Any], key: str, heading: str) -> Any:
    """A column of ids that lead to their page, in this tab; None where they have none. `key` is that of the click."""
    if _source is None or not _source.leads(name):
        return None
    return st.column_config.ButtonColumn(
        heading,
        help=_("Open its page"),
        type="tertiary",
        alignment="left",
        key=key,
        on_click=_open,
        args=(key, name, [None if is_unknown(one) else str(one) for one in ids]),
    )


def _column(name: str, kind: str, unit: str, help: str | None) -> Any:
    words = column_words(name)
    match kind:
        case "timestamptz":
            return st.column_config.DatetimeColumn(words, format="YYYY-MM-DD HH:mm:ss", help=help)
        case "date":
            return st.column_config.DateColumn(words, format="YYYY-MM-DD", help=help)
        case "numeric" if unit == "MXN":
            return st.column_config.NumberColumn(words, format="$%,.2f", help=help)
        case "bigint" | "integer" | "smallint":
            return st.column_config.NumberColumn(words, format="%d", help=help)
        case _:
            return st.column_config.Column(words, help=help)


def _open(trigger: str, column: str, ids: Sequence[str | None]) -> None:
    """Go to the page of the id that was clicked; the ids are those that stood there."""
    click = st.session_state[trigger]
    id = ids[click["row"]] if click is not None and click["row"] < len(ids) else None
    if id is not None and _source is not None:
        _source.open(column, id)


def _paging(frame: pd.DataFrame, state: dict[str, Any], total: int | None, key: str) -> None:
    page = frame.attrs["page"]
    start = state["start"]
    # Of a page that was found backwards, `more` speaks of the rows before it; rows after it there are: it came so.
    more = page.more if state["before"] is None else True

    def turn(start: int, **place: Any) -> None:
        state.update(start=max(start, 0), after=None, before=None)
        state.update(place)

    if start > 0 or more:
        st.button(
            _("Back"),
            icon=":material/chevron_left:",
            key=f"{key}:back",
            disabled=start <= 0,
            on_click=turn,
            args=(start - PAGE_ROWS,),
            kwargs={"before": page.first},
        )
        st.button(
            _("Next"),
            icon=":material/chevron_right:",
            icon_position="right",
            key=f"{key}:next",
            disabled=not more,
            on_click=turn,
            args=(start + PAGE_ROWS,),
            kwargs={"after": page.last},
        )
        words = f"{number(start + 1)}–{number(start + len(frame))}"
        st.caption(
            _("{rows} of {total}").format(rows=words, total=number(total)) if total is not None else words,
            width="content",
        )


def _downloads(
    source: RowSource,
    query: str,
    params: Mapping[str, Any],
    *,
    sort: str,
    descending: bool,
    label: str,
    total: int,
    key: str,
) -> None:
    """A link a format, to all rows; the click is noted, so that its progress is shown."""
    state = st.session_state[f"{key}:state"]
    name = re.sub(r"[^\w-]+", "_", label.lower()).strip("_")
    formats: tuple[Literal["csv", "xlsx"], ...] = ("csv", "xlsx")
    for format in formats:
        url = source.link(
            query,
            params,
            sort=sort,
            descending=descending,
            format=format,
            name=name,
            total=total,
            id=state["id"],
        )
        st.link_button(
            format.upper(),
            url,
            icon=":material/download:",
            type="tertiary",
            key=f"{key}:{format}",
            help=_("Download all rows"),
            on_click=_began,
            args=(key, format),
        )


def _began(key: str, format: str) -> None:
    state = st.session_state.get(f"{key}:state")
    if state is not None:
        state["download"] = format
        state["polls"] = 0


def _progress(source: RowSource, state: dict[str, Any], key: str) -> None:
    """How far the download is, asked for every second until it is over."""
    format = state["download"]
    if format is None:
        return
    done = source.progress(state["id"], format)
    over = done is not None and done.state != "running"

    def show() -> None:
        now = source.progress(state["id"], format)
        if now is None:
            state["polls"] = state.get("polls", 0) + 1
            # A browser that asked before it downloads, or another process that answers: nothing to show.
            if state["polls"] < 20:
                st.progress(0.0, _("{format}: the download begins").format(format=format.upper()))
            return
        share = min(now.sent / now.total, 1.0) if now.total else 1.0
        rows = _("{sent} of {total} rows").format(sent=number(now.sent), total=number(now.total))
        if now.state == "failed":
            st.markdown(f":material/error: {format.upper()}: {now.words} {rows}")
        elif now.state == "done":
            sent = ngettext("{n} row sent", "{n} rows sent", now.sent).format(n=number(now.sent))
            st.caption(f":material/check: {format.upper()}: {sent}")
        else:
            st.progress(share, f"{format.upper()}: {rows}")

    # Once it is over the next drawing of the panel asks no more.
    st.fragment(show, run_every=None if over else POLL_SECONDS)()
