"""One call to an integration with everything known of it: its row, its log lines, its trace, its error.

    show_call("4711", roles)
    show_request("d3f52a68077749e2", roles, now)

Each source is asked in a panel of its own: none waits for another, and one that is away leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.links import lead
from components import Figure, _, choice_filter, money, ngettext, number, panel, sentence_of, value_name, when
from components.fields import literal
from components.integrations import ms
from components.waterfall import waterfall
from components.window import window_params
from queries import failures, logs, traces

# What is looked at around one call: its lines, its trace and its error are not all told at the same moment.
NEAR = timedelta(minutes=5)
NEAR_ERRORS = timedelta(hours=1)
LOG_SECONDS = 8.0
MOST_LINES, MOST_ROWS, MOST_ISSUES, MOST_FRAMES = 50, 40, 3, 6
Roles = Collection[str]


def show_call(call_id: str, roles: Roles) -> None:
    """One call, from its id as a URL has it, with everything that the viewer with these roles may know of it."""
    if not call_id.isdecimal() or len(call_id) > 18:
        st.warning(_("“{id}” is not the id of a call: it is a number.").format(id=call_id[:40]))
        return
    _call_panel(int(call_id))
    _evidence(lambda: _sought(int(call_id)), roles)


def show_request(request: str, roles: Roles, now: datetime) -> None:
    """The call of a request, from its id as a URL has it; where it made several, those that failed first.

    Without a row of the ledger, its lines and its error of the last day before `now` (aware) are looked for.
    """
    anywhen = Sought(request, "", now - timedelta(days=1), now)
    try:
        calls = queries.ledger("traces/calls", {"request": request}, deadline=4)
    except queries.SourceError as error:
        st.markdown(f":material/error: {_(sentence_of(error))}")
        _evidence(lambda: anywhen, roles)
        return
    if calls.empty:
        st.caption(_("The ledger has no call of the request {id}.").format(id=literal(request)))
        lead("thread", _("Everything in one thread"), "conversion_path", {"request": request})
        _evidence(lambda: anywhen, roles)
        return
    order = calls.assign(well=calls["status"] == "success").sort_values("well", kind="stable")
    names = {
        str(row.call_id): f":{'green' if row.well else 'red'}[:material/{'check_circle' if row.well else 'error'}:] "
        f"{literal(value_name(row.integration))} {literal(row.endpoint)}"
        for row in order.itertuples()
    }
    if len(names) > 1:
        st.caption(
            ngettext("This request made {n} call.", "This request made {n} calls.", len(names)).format(n=len(names))
        )
        show_call(choice_filter(_("Call"), tuple(names), names, key="call"), roles)
    else:
        show_call(next(iter(names)), roles)


@dataclass(frozen=True)
class Sought:
    """What lines, spans and errors are looked for by: ids, empty where there is none, and the time of the call."""

    request: str
    trace: str
    start: datetime
    end: datetime
    integration: str = ""

    @property
    def ids(self) -> dict[str, str]:
        """What a link to another page names: the request, else the trace."""
        return {"request": self.request} if self.request else {"trace": self.trace} if self.trace else {}

    @property
    def near(self) -> dict[str, str]:
        """The time around it, as a link to another page says it."""
        return window_params(self.start - NEAR, self.end + NEAR)

    @property
    def around(self) -> dict[str, str]:
        """The time and the integration, which every link between pages carries."""
        return {**self.near, **({"integration": self.integration} if self.integration else {})}


def _text(value: Any) -> str:
    """A text of the ledger; empty where it has none."""
    return "" if pd.isna(value) else str(value)


def _sought(call_id: int) -> Sought | None:
    """What the ledger's row of a call is known by elsewhere; None without a row."""
    try:
        found = queries.ledger("integrations/call", {"call_id": call_id})
    except queries.SourceError:
        # The panel of the row says it, with a way to try again: once is enough.
        return None
    if found.empty:
        return None
    return _sought_of(next(found.itertuples()))


def _sought_of(one: Any) -> Sought:
    start = one.called_at.to_pydatetime()
    took = timedelta() if pd.isna(one.duration_ms) else timedelta(milliseconds=int(one.duration_ms))
    return Sought(_text(one.request_id), _text(one.trace_id), start, start + took, _text(one.integration))


def _call_panel(call_id: int) -> None:
    """The ledger's row of one call."""

    @panel(_("Call {id}").format(id=call_id), height=180, key="one-call")
    def one_call() -> Figure:
        found = queries.ledger("integrations/call", {"call_id": call_id})
        if found.empty:
            st.caption(_("The ledger has no call {id}.").format(id=call_id))
        else:
            _facts(next(found.itertuples()))
        return Figure(None, found, drawn=True)


def _facts(one: Any) -> None:
    """The ledger's row in words, and the credit or application that it served, each with a link."""
    failed = one.status != "success"
    mark = ":red[:material/error:]" if failed else ":green[:material/check_circle:]"
    status = literal(value_name(one.status))
    http = "" if pd.isna(one.http_status) else f" · HTTP {int(one.http_status)}"
    code = f" · **{literal(value_name(one.error_code))}**" if _text(one.error_code) else ""
    st.markdown(
        f"{mark} **{literal(value_name(one.integration))}** {literal(one.endpoint)} {status}{http}{code}"
        f" · {ms(one.duration_ms)}"
    )
    if _text(one.error_message):
        st.code(one.error_message, language=None, wrap_lines=True)
    said = [f"{_('Made')} {one.called_at:%Y-%m-%d %H:%M:%S}"]
    if failed and pd.isna(one.retried_at):
        said.append(_("Not come back on retry"))
    elif failed:
        said.append(_("Came back on retry {when}").format(when=when(one.retried_at)))
    st.caption(" · ".join(said))
    left, right = st.columns(2)
    with left:
        for label, value in ((_("Request"), one.request_id), (_("Trace"), one.trace_id)):
            if _text(value):
                st.caption(label)
                st.code(value, language=None)
    with right:
        if not pd.isna(one.payment_id):
            st.caption(
                _("Payment {id}: {amount}, {status}")
                .format(id=one.payment_id, amount=money(one.payment_amount), status=value_name(one.payment_status))
                .replace("$", "\\$")
            )
        if not pd.isna(one.credit_id):
            st.caption(
                _("It served the credit of {amount} ({status})")
                .format(amount=money(one.principal), status=value_name(one.credit_status))
                .replace("$", "\\$")
            )
            lead("credit", one.credit_id, "receipt_long", {"id": one.credit_id})
        if not pd.isna(one.application_id):
            st.caption(
                _("Application of {amount} ({status})")
                .format(amount=money(one.amount_requested), status=value_name(one.application_status))
                .replace("$", "\\$")
            )
            lead("conductor", one.application_id, "badge", {"id": one.application_id})
        if pd.isna(one.credit_id) and pd.isna(one.application_id):
            st.caption(_("It served no credit and no application of the ledger."))
        if _text(one.request_id):
            lead(
                "thread",
                _("Everything in one thread"),
                "conversion_path",
                {"request": one.request_id, **_sought_of(one).around},
            )


def _evidence(find: Callable[[], Sought | None], roles: Roles) -> None:
    """What other programs tell of a call; what to look for is found in each panel: none waits for another."""
    _log_panel(find, roles)
    left, right = st.columns(2)
    with left:
        _trace_panel(find, roles)
    with right:
        _error_panel(find, roles)


def _nothing(words: str) -> Figure:
    """A panel that has nothing but a sentence."""
    st.caption(words)
    return Figure(None, pd.DataFrame(), drawn=True)


def _unsought(one: Sought | None) -> Figure:
    """Why nothing is looked for: there is no call, or no id that others know it by."""
    if one is None:
        return _nothing(_("Without a call there is nothing to look for."))
    return _nothing(_("The ledger knows neither a request nor a trace of this call: nothing can be looked for."))


def _log_panel(find: Callable[[], Sought | None], roles: Roles) -> None:
    """The lines that the backend wrote for the request."""

    @panel(
        _("Its log lines"),
        height=120,
        help=_("What the backend wrote for the request of this call, within five minutes of it; oldest first."),
        key="call-logs",
    )
    def call_logs() -> Figure:
        one = find()
        if one is None or not one.ids:
            return _unsought(one)
        question = logs.Question(
            one.start - NEAR, one.end + NEAR, request_id=one.request, trace_id="" if one.request else one.trace
        )
        found = logs.lines(question, roles, deadline=LOG_SECONDS)
        if found.empty:
            return _nothing(_("The log store has no line of this request around that time."))
        lines = found.iloc[::-1].head(MOST_LINES)
        st.markdown("  \n".join(_line_words(row) for row in lines.to_dict("records")))
        if len(found) > MOST_LINES:
            st.caption(_("The first {n} of {total} lines.").format(n=number(MOST_LINES), total=number(len(found))))
        lead("logs", _("Open in the logs"), "notes", {**one.ids, **one.around})
        return Figure(None, found, drawn=True)


def _line_words(row: Mapping[Any, Any]) -> str:
    """A log line: when, how serious, what, and what else it says in short."""
    shade = {"CRITICAL": "red", "ERROR": "red", "WARNING": "orange", "INFO": "blue"}.get(row["level"], "gray")
    moment = "" if pd.isna(row["time"]) else f"{row['time']:%H:%M:%S.%f}"[:-3]
    whole = logs.whole(row)
    more = [
        f"{name}={whole[name]}"
        for name in ("endpoint", "status", "http_status", "error_code", "duration_ms", "reason", "amount")
        if whole.get(name) not in {None, ""}
    ]
    words = f"{moment} :{shade}-badge[{literal(row['level'] or '–')}] {literal(row['message'])}"
    return f"{words} :small[:gray[{literal(' '.join(more))}]]" if more else words


def _trace_panel(find: Callable[[], Sought | None], roles: Roles) -> None:
    """The trace of the call as a waterfall."""

    @panel(
        _("Its trace"),
        height=260,
        help=_("What the request did, each span below the one that it is part of; those that failed are red."),
        key="call-trace",
    )
    def call_trace() -> Figure:
        one = find()
        if one is None:
            return _unsought(one)
        if not traces.has_traces():
            # Said as of a source that is not configured.
            traces.services(roles)
        if not one.trace:
            return _nothing(_("The ledger knows no trace of this call."))
        spans = traces.trace(one.trace, roles)
        if spans.empty:
            return _nothing(
                _("Jaeger has no trace with this id: it was not recorded, or it is older than what is kept.")
            )
        path = traces.critical_path(spans)
        rows = traces.rows_shown(spans, path, most=MOST_ROWS)
        rows["warned"] = traces.has_warnings(spans).to_numpy()[rows["row"]]
        lead("traces", _("Open in the traces"), "timeline", {"trace": one.trace, **one.around})
        hidden = int(rows["hidden"].sum())
        if hidden:
            st.caption(_("{n} spans more are on its page.").format(n=number(hidden)))
        drawn = waterfall(
            rows.drop(columns=["tags", "logs", "process", "warnings", "at"]),
            path,
            title=_("Its trace"),
            names=tuple(sorted(set(spans["service"]))),
        )
        data = spans.drop(columns=["parent", "tags", "logs", "process", "warnings"])
        data.attrs = dict(spans.attrs)
        return replace(drawn, data=data)


def _error_panel(find: Callable[[], Sought | None], roles: Roles) -> None:
    """The issue that the error tracker has of the request."""

    @panel(
        _("Its error"),
        height=260,
        help=_("The issue of the error tracker that this request is an event of, without personal data."),
        key="call-error",
    )
    def call_error() -> Figure:
        one = find()
        if one is None or not one.ids:
            return _unsought(one)
        search = failures.IssueSearch(
            one.start - NEAR_ERRORS, one.end + NEAR_ERRORS, request=one.request, trace="" if one.request else one.trace
        )
        found = failures.issues(search, roles)
        if found.empty:
            return _nothing(_("The error tracker has no error of this request."))
        for issue in found.head(MOST_ISSUES).itertuples():
            _issue(issue, one, search, roles)
        return Figure(None, found.drop(columns="over_time"), drawn=True)


def _issue(issue: Any, one: Sought, search: failures.IssueSearch, roles: Roles) -> None:
    """An issue with where it came from, its event of this request, and the ways to more of it."""
    st.markdown(f":red[:material/bug_report:] **{literal(issue.title)}**")
    facts = [
        (_("Where"), literal(issue.culprit)),
        (_("First seen"), when(issue.first_seen) if not pd.isna(issue.first_seen) else ""),
        (_("First release"), literal(issue.first_release)),
        (_("Events"), number(issue.count) if not pd.isna(issue.count) else ""),
    ]
    st.caption(" · ".join(f"{name}: {value}" for name, value in facts if value))
    with st.container(horizontal=True, vertical_alignment="center"):
        lead(
            "errors",
            _("Open in the errors"),
            "bug_report",
            {"issue": str(issue.issue_id), **one.ids, **one.around},
        )
        if issue.url:
            st.link_button(_("In the tracker"), issue.url, icon=":material/open_in_new:", type="tertiary")
    own = failures.events(str(issue.issue_id), search, roles)
    if own.empty:
        return
    event = failures.event(str(issue.issue_id), str(own["event_id"].iloc[0]), roles)
    for exception in failures.stack(event)[:1]:
        frames = [frame for frame in exception["frames"] if frame["in_app"]] or exception["frames"]
        where = [f"  {frame['file']}:{frame['line'] or '?'}  {frame['function']}" for frame in frames[:MOST_FRAMES]]
        st.code("\n".join([f"{exception['type']}: {exception['value']}", *where]), language=None, wrap_lines=True)
