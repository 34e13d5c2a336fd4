"""Errors: the issues of a period as the error tracker has them, and one issue with its events and stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.settings import settings
from components import Figure, _, bars_over_time, ngettext, number, panel, span_bar, table, value_name, when
from components.drill import grid_height
from components.fields import leave, literal, name_field, pick_row, text_field
from components.filters import tell_refused
from components.frame import waiting
from components.i18n import pgettext
from components.url import Url
from components.window import window_bar, window_params
from queries import failures as told
from queries.rights import reads_requests

HERE = Path(__file__).parent
# An id is looked for in all of what trackers keep, whatever the period.
DAYS_OF_IDS = 30
LONGEST = timedelta(days=90)
# A row of fields.
FIELD = 40
AROUND = timedelta(minutes=5)
COLOURS = {"fatal": "violet", "error": "red", "warning": "orange", "info": "blue", "debug": "gray"}

zone = queries.timezone()
now = datetime.now(zone)
me = viewer(settings())
roles = me.roles if me is not None else frozenset()
# Bugsink keeps no level of an issue.
has_levels = settings().sentry_api == "sentry"


# --- words ------------------------------------------------------------------------------------------------------------


def level_names() -> dict[str, str]:
    """The levels in the viewer's language."""
    return {
        "fatal": _("fatal"),
        "error": _("error"),
        "warning": _("warning"),
        "info": _("information"),
        "debug": _("debug"),
    }


def status_names() -> dict[str, str]:
    """What became of an issue."""
    return {"unresolved": _("unresolved"), "resolved": _("resolved"), "ignored": _("ignored")}


# --- the filters ------------------------------------------------------------------------------------------------------


def integrations() -> list[str]:
    """The integrations that are called; none while the ledger does not answer."""
    try:
        return [str(name) for name in queries.ledger("integrations/latest", {}, deadline=3)["integration"]]
    except queries.SourceError:
        return []


def search_bar(span: Any) -> told.IssueSearch:
    """What is sought, from the fields and the ids in the URL."""
    url = Url()
    with waiting(FIELD):
        called = integrations()
    with st.grid(4 if has_levels else 3, min_column_width=170, key="search"):
        level = (
            name_field(url, "level", _("Level"), told.LEVELS, everything=_("All levels"), names=level_names())
            if has_levels
            else ""
        )
        integration = name_field(
            url, "integration", _("Integration"), called, everything=pgettext("filter", "All integrations")
        )
        release = text_field(url, "release", _("Release"), ":material/deployed_code:")
        text = text_field(url, "text", _("Text of the error"), ":material/search:")
    url.write()
    tell_refused(url)
    # A place in one list is none in another.
    chosen = (span.name, span.first, span.last, level, integration, release, text)
    if st.session_state.setdefault("_errors_chosen", chosen) != chosen:
        st.session_state["_errors_chosen"] = chosen
        leave("cursor", "events_page")
    ids = {name: st.query_params.get(name, "").strip()[:64] for name in ("request", "trace")}
    start, end = span.start, span.end
    if any(ids.values()):
        start = min(start, now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS_OF_IDS))
        with st.container(horizontal=True, vertical_alignment="center"):
            if ids["request"]:
                st.caption(_("Only of the request {id}").format(id=literal(ids["request"])))
            if ids["trace"]:
                st.caption(_("Only of the trace {id}").format(id=literal(ids["trace"])))
            st.button(
                _("Show all"),
                type="tertiary",
                icon=":material/close:",
                on_click=leave,
                args=["request", "trace", "issue", "event", "events_page"],
                key="all-ids",
            )
    return told.IssueSearch(
        start,
        end,
        # Sentry's counts are by the hour at least.
        max(span.step, 3600) if has_levels else span.step,
        level=level,
        release=release,
        integration=integration,
        text=text,
        cursor=st.query_params.get("cursor", "")[:400],
        **ids,
    )


# --- the list ---------------------------------------------------------------------------------------------------------


def turn(cursor: str) -> None:
    """Another page of the list."""
    if cursor:
        st.query_params["cursor"] = cursor
    else:
        leave("cursor")


def go(issue_id: str, event_id: str = "") -> None:
    """Look at an issue, or at one of its events."""
    st.query_params["issue"] = issue_id
    if event_id:
        st.query_params["event"] = event_id
    else:
        leave("event")


def pages(found: pd.DataFrame, key: str, move: Callable[[str], None], cursor: str) -> None:
    """Ways to the pages beside this one."""
    following, before = found.attrs.get("next", ""), found.attrs.get("previous", "")
    if not (following or before or cursor):
        return
    with st.container(horizontal=True):
        st.button(
            _("Newer"),
            key=f"{key}-newer",
            icon=":material/chevron_left:",
            on_click=move,
            args=[before],
            disabled=not (before or cursor),
            type="tertiary",
        )
        st.button(
            _("Older"),
            key=f"{key}-older",
            icon=":material/chevron_right:",
            on_click=move,
            args=[following],
            disabled=not following,
            type="tertiary",
        )


def over_time(wanted: told.IssueSearch) -> None:
    """Events over time."""

    @panel(
        _("Errors over time"),
        height=220,
        help=_("Events of the issues that are listed below, as the tracker counts them."),
        key="errors-over-time",
    )
    def events_over_time() -> Figure:
        counted = told.over_time(told.issues(wanted, roles), wanted, zone)
        if counted.empty:
            st.caption(_("No error in this period for this choice."))
            return Figure(None, counted, drawn=True)
        levels = bool((counted["level"] != "").any())
        return bars_over_time(
            counted,
            x="at",
            y="n",
            unit="count",
            title=_("Errors over time"),
            color="level" if levels else None,
            order=told.LEVELS if levels else None,
            names=level_names() if levels else None,
            events=queries.events(span.first, span.last) if span.events else None,
            height=220,
        )


def listed(wanted: told.IssueSearch) -> None:
    """The issues of the period."""

    @panel(
        _("Issues"),
        height=520,
        help=_(
            "One and the same error is one issue; the last seen first. Counted are the events of the period. First "
            "seen and first release are those of all time. A row opens the issue."
        ),
        key="issues",
    )
    def issues() -> Figure:
        found = told.issues(wanted, roles)
        if found.empty:
            st.caption(_("No error in this period for this choice."))
            pages(found, "issues", turn, wanted.cursor)
            return Figure(None, found, drawn=True)
        data = found.assign(
            level=[level_names().get(level, level) for level in found["level"]],
            status=[status_names().get(status, status) for status in found["status"]],
        ).drop(columns="over_time")
        columns: dict[str, Any] = {
            "title": st.column_config.TextColumn(_("What failed"), width=485),
            "level": ("text", _("Level")),
            "count": ("count", _("Events")),
            "users": ("count", _("Users")),
            "last_seen": st.column_config.DatetimeColumn(_("Last seen"), format="DD MMM HH:mm"),
            "first_seen": st.column_config.DatetimeColumn(_("First seen"), format="DD MMM HH:mm"),
            "first_release": ("text", _("First release")),
            "culprit": ("text", _("Where")),
            "status": ("text", _("State")),
            "project": ("text", _("Project")),
            "url": st.column_config.LinkColumn(_("In the tracker"), display_text=_("Open")),
        }
        # What this tracker does not tell is no empty column.
        silent = {"level": data["level"].eq("").all(), "users": data["users"].isna().all()}
        silent["project"] = data["project"].nunique() < 2
        silent["culprit"] = data["culprit"].eq("").all()
        shown = table(data, {name: how for name, how in columns.items() if not silent.get(name)}, title=_("Issues"))
        row = pick_row(shown, "issues-table", _("Issues"), 520)
        if row is not None:
            go(str(row["issue_id"]))
            st.rerun()
        pages(found, "issues", turn, wanted.cursor)
        return Figure(None, found.drop(columns="over_time"), drawn=True)


# --- one issue --------------------------------------------------------------------------------------------------------


def close_issue() -> None:
    """Back to the list."""
    leave("issue", "event", "events_page")


def way_on(one: Any) -> None:
    """From the event to its logs, trace, thread and calls."""
    # A narrow window: a log store reads all lines of the period, and bills them.
    around = window_params(one.at.to_pydatetime() - AROUND, one.at.to_pydatetime() + AROUND)
    integration = st.query_params.get("integration")
    of = {"integration": integration} if integration else {}
    ids = {name: value for name, value in (("request", one.request_id), ("trace", one.trace_id)) if value}
    with st.container(horizontal=True, vertical_alignment="center"):
        for page, label, icon, asked in (
            ("logs", _("Its log lines"), "notes", {**dict(list(ids.items())[:1]), **of, **around}),
            ("traces", _("Its trace"), "timeline", {"trace": one.trace_id, **of, **span.query_params()}),
            (
                "thread",
                _("Everything in one thread"),
                "conversion_path",
                {**dict(list(ids.items())[:1]), **of, **around},
            ),
        ):
            there = (HERE / f"{page}.py").is_file() and bool(one.trace_id if page == "traces" else ids)
            if there:
                st.page_link(HERE / f"{page}.py", label=label, icon=f":material/{icon}:", query_params=asked)
        for call in calls_of(one.request_id, one.trace_id).itertuples():
            failed = call.status != "success"
            code = f" · {literal(value_name(call.error_code))}" if failed and isinstance(call.error_code, str) else ""
            st.page_link(
                HERE / "integrations.py",
                label=_("Call to {integration}{code}").format(
                    integration=literal(value_name(call.integration)), code=code
                ),
                icon=":material/error:" if failed else ":material/hub:",
                query_params={"id": str(call.call_id), "integration": call.integration, **span.query_params()},
            )
        if one.url:
            st.link_button(_("In the tracker"), one.url, icon=":material/open_in_new:", type="tertiary")


def calls_of(request_id: str, trace_id: str) -> pd.DataFrame:
    """The integration calls of a request or trace in the ledger; none while it does not answer."""
    try:
        return queries.ledger("traces/calls", {"request": request_id or None, "trace": trace_id or None}, deadline=4)
    except queries.SourceError:
        return pd.DataFrame()


def show_stack(one: pd.DataFrame) -> None:
    """Files and lines, the place where it failed first; without variables."""
    for place, exception in enumerate(told.stack(one)):
        handled = {True: _("handled"), False: _("not handled"), None: ""}[exception["handled"]]
        st.markdown(
            (f":gray[{_('raised while this was handled:')}]  \n" if place else "")
            + f":red[:material/error:] **{literal(exception['type'])}** {f':gray-badge[{handled}]' if handled else ''}"
        )
        if exception["value"]:
            st.code(exception["value"], language=None, wrap_lines=True)
        frames = exception["frames"]
        own = [frame for frame in frames if frame["in_app"]]
        lines = []
        for frame in frames:
            mark = "▶ " if frame["in_app"] or not own else "  "
            at = f"{frame['file']}:{frame['line']}" if frame["line"] is not None else frame["file"]
            lines.append(f"{mark}{at}  {frame['function']}")
            if frame["code"]:
                lines.append(f"      {frame['code']}")
        if lines:
            st.code("\n".join(lines), language=None, wrap_lines=True, height=420 if len(lines) > 20 else "content")
        if exception["left_out"]:
            st.caption(_("{n} outer frames are left out.").format(n=number(exception["left_out"])))


def show_breadcrumbs(one: pd.DataFrame) -> None:
    """What happened before, the latest first."""
    crumbs = told.breadcrumbs(one, zone)
    if crumbs.empty:
        st.caption(_("The event tells of nothing that happened before."))
        return
    st.dataframe(
        crumbs,
        hide_index=True,
        height=grid_height(len(crumbs), 420),
        key="breadcrumbs",
        column_config={
            "at": st.column_config.DatetimeColumn(_("When"), format="HH:mm:ss.SSS"),
            "category": _("Kind"),
            "level": _("Level"),
            "message": st.column_config.TextColumn(_("What"), width="large"),
            "data": _("Data"),
        },
        placeholder="",
        alt=_("What happened before"),
    )


def one_issue(issue_id: str, event_id: str, wanted: told.IssueSearch) -> None:
    """An issue: its newest event in full (or the one chosen), and its other events."""
    if not wanted.request and not wanted.trace:
        st.button(
            _("Back to the list"),
            icon=":material/arrow_back:",
            type="tertiary",
            on_click=close_issue,
            key="close-issue",
        )
    narrowed = told.IssueSearch(wanted.start, wanted.end, wanted.step, request=wanted.request, trace=wanted.trace)

    @panel(
        _("One event of the issue"),
        height=420,
        help=_(
            "The newest event, or the one chosen below. Secrets and personal data are taken out, and local variables "
            "are never read."
        ),
        key="one-event",
    )
    def one_event() -> Figure:
        asked = event_id
        if not asked and (narrowed.request or narrowed.trace):
            own = told.events(issue_id, narrowed, roles)
            asked = str(own["event_id"].iloc[0]) if not own.empty else ""
        found = told.event(issue_id, asked or "latest", roles)
        one = next(found.itertuples())
        level = (
            f":{COLOURS.get(one.level, 'gray')}-badge[{level_names().get(one.level, literal(one.level))}] "
            if one.level
            else ""
        )
        st.markdown(f"{level}**{literal(one.title)}**")
        facts = [
            (_("When"), f"{when(one.at)}:{one.at:%S}"),
            (_("Where"), one.culprit),
            (_("Release"), one.release),
            (_("Environment"), one.environment),
            (_("Integration"), str(value_name(one.integration))),
            (_("Request"), one.request_id),
            (_("Trace"), one.trace_id),
        ]
        st.caption(" · ".join(f"{name}: {literal(value)}" for name, value in facts if value))
        way_on(one)
        stack, crumbs, tags = st.tabs([_("Stack"), _("What happened before"), _("Tags")])
        with stack:
            show_stack(found)
        with crumbs:
            show_breadcrumbs(found)
        with tags:
            named = told.tags(found)
            st.dataframe(
                named,
                hide_index=True,
                height=grid_height(len(named), 420),
                key="tags-table",
                column_config={"tag": _("Tag"), "value": _("Value")},
                alt=_("Tags"),
            )
        data = found.drop(columns=["exceptions", "breadcrumbs"])
        return Figure(None, data, drawn=True)

    @panel(_("Its events"), height=260, help=_("Of the period, the newest first. A row shows the event."), key="events")
    def events() -> Figure:
        found = told.events(issue_id, replace(narrowed, cursor=st.query_params.get("events_page", "")[:400]), roles)
        if found.empty:
            st.caption(_("No event in this period."))
            return Figure(None, found, drawn=True)
        columns: dict[str, Any] = {
            "at": st.column_config.DatetimeColumn(_("When"), format="YYYY-MM-DD HH:mm:ss"),
            "title": ("text", _("What failed")),
            "release": ("text", _("Release")),
            "environment": ("text", _("Environment")),
            "request_id": ("text", _("Request")),
            "trace_id": ("text", _("Trace")),
            "event_id": ("text", _("Event")),
        }
        told_of = {name: how for name, how in columns.items() if not found[name].eq("").all()}
        row = pick_row(table(found, told_of, title=_("Its events")), "events-table", _("Its events"), 260)
        if row is not None and str(row["event_id"]) != event_id:
            go(issue_id, str(row["event_id"]))
            st.rerun()
        pages(found, "events", turn_events, st.query_params.get("events_page", ""))
        words = ngettext("{n} event on this page", "{n} events on this page", len(found))
        st.caption(words.format(n=number(len(found))))
        return Figure(None, found, drawn=True)


def turn_events(cursor: str) -> None:
    """Another page of the events."""
    if cursor:
        st.query_params["events_page"] = cursor
    else:
        leave("events_page")


def by_id(wanted: told.IssueSearch) -> str:
    """The only issue of a request or trace: it is opened at once. Empty when there are none or several."""
    if not (wanted.request or wanted.trace):
        return ""
    try:
        found = told.issues(wanted, roles)
    except queries.SourceError:
        return ""
    return str(found["issue_id"].iloc[0]) if len(found) == 1 else ""


# --- the page ---------------------------------------------------------------------------------------------------------

st.title(_("Errors"), anchor=False)
if not reads_requests(roles):
    st.info(_("Errors and traces are shown to engineers only."), icon=":material/lock:")
    st.stop()
below_title = st.empty()
if not told.has_errors():
    sentence = _("No error tracker is configured: set MIRADOR_SENTRY_URL and MIRADOR_SENTRY_TOKEN.")
    st.caption(f":material/settings: {sentence}")
    st.stop()
exact = window_bar(now, earliest=now - LONGEST, longest=LONGEST)
span = exact or span_bar(now, earliest=(now - LONGEST).date())
if not exact:
    below_title.caption(span.caption())
wanted = search_bar(span)
issue = st.query_params.get("issue", "")[:64] or by_id(wanted)
if issue:
    one_issue(issue, st.query_params.get("event", "")[:64], wanted)
else:
    over_time(wanted)
    listed(wanted)
