"""Integrations: which one fails, since when, how, what it costs the business now, and the calls behind every mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.marks import mark
from app.settings import settings
from components import (
    Drill,
    Figure,
    Number,
    _,
    bars_over_time,
    choice_filter,
    duration,
    heatmap,
    kpi_row,
    line,
    mark_link,
    money,
    ngettext,
    number,
    number_card,
    panel,
    percent,
    points,
    sections,
    sentence_of,
    short_money,
    span_bar,
    table,
    value_name,
    when,
)
from components.fields import literal, name_field, pick_row
from components.url import Url
from components.waterfall import waterfall
from components.window import window_bar, window_params
from queries import alerts, failures, logs, traces
from queries import integrations as told

HERE = Path(__file__).parent
ALL = "all"
COST_HOURS = 24
AROUND = {"1h": 1, "6h": 6, "24h": 24}
# What is looked at around one call: its lines, its trace and its error are not all told at the same moment.
NEAR = timedelta(minutes=5)
NEAR_ERRORS = timedelta(hours=1)
LOG_SECONDS = 8.0
MOST_LINES, MOST_ROWS, MOST_ISSUES, MOST_FRAMES = 50, 40, 3, 6
LIST_ROWS = 10
EARLIEST = timedelta(days=730)
MARKS = {"failing": "red", "degraded": "orange", "well": "green", "quiet": "gray"}
ICONS = {"failing": "error", "degraded": "warning", "well": "check_circle", "quiet": "remove"}


def states() -> dict[str, str]:
    """What the last hour tells, in the viewer's language."""
    return {"failing": _("failing"), "degraded": _("degraded"), "well": _("well"), "quiet": _("quiet")}


# --- what is asked ----------------------------------------------------------------------------------------------------


def asked(name: str, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the span and the chosen integration."""
    return queries.ledger(f"integrations/{name}", {**span, "integrations": only, **more})


def measured(name: str, **more: Any) -> pd.DataFrame:
    """The answer of the metrics over the span, gaps shown as gaps."""
    found = queries.metrics(f"integrations/{name}", {**span.moments, "integrations": only, **more})
    return told.with_gaps(found, [label for label in ("integration", "quantile") if label in found])


def before() -> pd.DataFrame:
    """The calls of the span before this one, as long as what has passed of this."""
    length = min(span.end, span.now) - span.start
    if not span.fine:
        length = timedelta(hours=math.ceil(length / timedelta(hours=1)))
    return asked("summary", start=span.start - length, end=span.start)


def costs() -> pd.DataFrame:
    """What failed calls cost in the last 24 hours, beside normal days at the same time."""
    days = queries.normal_days(today)
    return told.costs(queries.ledger("integrations/cost", {"day": today, "days": days}), today, days)


def late_costs() -> pd.DataFrame:
    """Who looks late only because of an integration, beside normal days at the same time."""
    days = queries.normal_days(today)
    return told.late_costs(queries.ledger("integrations/looks_late", {"day": today, "days": days}), today, days)


def happened() -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(span.first, span.last) if span.events else None


def behind(by: dict[str, str], count: str, **more: Any) -> Drill:
    """The calls behind a mark: of the span and the chosen integration unless the mark says it closer."""
    params = {"from_at": span.start, "to_at": span.end, "integrations": only, **more}
    return Drill("rows/calls", params, by=by, count=count)


def known() -> list[str]:
    """The integrations that are called; none while the ledger does not answer."""
    try:
        return [str(name) for name in queries.ledger("integrations/latest", {}, deadline=3)["integration"]]
    except queries.SourceError:
        return []


def has_metrics() -> bool:
    """Whether there is anything to ask for rates and latencies."""
    return "metrics" in queries.source_states()


# --- words ------------------------------------------------------------------------------------------------------------


def ms(value: Any) -> str:
    """Milliseconds as 85 ms or 1.3 s."""
    return duration(float(value) / 1000) if value is not None and not pd.isna(value) else "–"


def cost_words(row: Any) -> str:
    """What failed calls cost, in a sentence: what waits, what came back, what is normal at this time."""
    values = {
        "hit": number(row.hit),
        "back": number(row.back),
        "waiting": number(row.waiting),
        "amount": short_money(row.waiting_amount),
        "hit_amount": short_money(row.hit_amount),
        "back_amount": short_money(row.back_amount),
        "normal": "–"
        if math.isnan(row.waiting_normal)
        else number(row.waiting_normal, int(row.waiting_normal % 1 != 0)),
        "normal_amount": "–" if math.isnan(row.waiting_normal) else short_money(row.waiting_amount_normal),
    }
    match row.kind:
        case "payment":
            text = _(
                "Payments not collected: {waiting} ({amount}), normally {normal} ({normal_amount}). Failed through it: "
                "{hit} ({hit_amount}); came back on retry: {back} ({back_amount})."
            )
        case "credit":
            text = _(
                "Disbursements held up: {waiting} ({amount} not sent), normally {normal} ({normal_amount}). Failed "
                "through it: {hit} ({hit_amount}); came back on retry: {back} ({back_amount})."
            )
        case "application":
            text = _(
                "Applications waiting for it: {waiting} ({amount} asked for), normally {normal} ({normal_amount}). Had "
                "a failed call: {hit}; came back on retry: {back} ({back_amount})."
            )
        case _:
            text = _("Failed calls that served no application, credit or payment: {hit}.")
    return text.format(**values)


def late_words(row: Any) -> str:
    """Drivers who look late only because of an integration, in a sentence."""
    values = {
        "drivers": number(row.drivers),
        "installments": number(row.installments),
        "amount": short_money(row.amount),
        "normal": "–"
        if math.isnan(row.drivers_normal)
        else number(row.drivers_normal, int(row.drivers_normal % 1 != 0)),
    }
    if row.state == "late":
        text = _(
            "Drivers who look late only because of it: {drivers} ({installments} installments, {amount}), normally "
            "{normal}."
        )
    else:
        text = _(
            "Drivers who looked late only because of it and paid on retry: {drivers} ({installments} installments, "
            "{amount}), normally {normal}."
        )
    return text.format(**values)


def cost_lines(cost: pd.DataFrame, late: pd.DataFrame, name: str) -> list[str]:
    """A line a kind of thing that the integration serves; marked where more waits than normally."""
    lines = []
    for row in told.cost_rows(cost, name).itertuples():
        over = row.waiting > (0 if math.isnan(row.waiting_normal) else row.waiting_normal)
        lines.append(f":orange[{cost_words(row)}]" if over else cost_words(row))
    for row in late[(late["integration"] == name) & (late["drivers"] > 0)].itertuples():
        over = row.state == "late" and row.drivers > (0 if math.isnan(row.drivers_normal) else row.drivers_normal)
        lines.append(f":orange[{late_words(row)}]" if over else late_words(row))
    # A dollar sign would begin a formula.
    return [one.replace("$", "\\$") for one in lines] or [_("Nothing waits for it.")]


def by_metrics() -> Mapping[str, str]:
    """What the metrics say of each integration over the span, in a line; nothing where they do not answer."""
    try:
        calls = queries.metrics("integrations/calls", span.stretch, deadline=4)
        quantiles = queries.metrics("integrations/quantiles", span.stretch, deadline=4)
    except queries.SourceError:
        return {}
    if calls.empty:
        return {}
    lines = {}
    for name, part in calls.groupby("integration"):
        values = part.set_index("outcome")["value"]
        whole = float(values.get("all", math.nan))
        if not whole > 0:
            continue
        line_ = f"{per_time(whole)} · {percent(float(values.get('failed', 0.0)) / whole)}"
        if not quantiles.empty:
            own = quantiles[quantiles["integration"] == name].set_index("quantile")["value"]
            line_ += "".join(f" · {q} {duration(float(own[q]))}" for q in told.QUANTILES if q in own.index)
        lines[str(name)] = _("By the metrics, about: {values}").format(values=line_)
    return lines


def per_time(calls: float) -> str:
    """A call rate in the unit that reads best."""
    minute = calls * 60 / span.seconds
    if minute >= 1:
        return _("{n} calls/min").format(n=number(minute, 1))
    return _("{n} calls/h").format(n=number(minute * 60, 1))


# --- where it leads ---------------------------------------------------------------------------------------------------


def onward(**more: Any) -> dict[str, Any]:
    """What a link to another page carries: the time that is looked at, the integration, and more."""
    return {**span.query_params(), **({"integration": chosen} if only else {}), **more}


def lead(page: str, label: str, icon: str, params: dict[str, Any]) -> None:
    """A link to another page, once it is there."""
    if (HERE / f"{page}.py").is_file():
        st.page_link(HERE / f"{page}.py", label=label, icon=f":material/{icon}:", query_params=params, width="content")


def look_into(name: str) -> None:
    """Choose an integration, as its filter would."""
    st.session_state["integration"] = name


def open_call(call_id: Any) -> None:
    """Show one call instead of the page."""
    st.query_params["id"] = str(call_id)


def close_call() -> None:
    """Back to the page without the call."""
    for name in ("id", "request", "call"):
        st.query_params.pop(name, None)


# --- one call ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sought:
    """What lines, spans and errors are looked for by: ids, and the time of the call."""

    request: str
    trace: str
    start: datetime
    end: datetime


def text_of(value: Any) -> str:
    """A text of the ledger; empty where it has none."""
    return "" if pd.isna(value) else str(value)


def sought_of(call_id: int) -> Sought | None:
    """What the ledger's row of a call is known by elsewhere; None without a row. Raises SourceError."""
    found = queries.ledger("integrations/call", {"call_id": call_id})
    if found.empty:
        return None
    one = next(found.itertuples())
    start = one.called_at.to_pydatetime()
    return Sought(
        text_of(one.request_id), text_of(one.trace_id), start, start + timedelta(milliseconds=int(one.duration_ms))
    )


def call_facts(one: Any) -> None:
    """The ledger's row in words, and the credit or application that it served, each with a link."""
    failed = one.status != "success"
    mark = ":red[:material/error:]" if failed else ":green[:material/check_circle:]"
    status = literal(value_name(one.status))
    http = "" if pd.isna(one.http_status) else f" · HTTP {int(one.http_status)}"
    code = f" · **{literal(value_name(one.error_code))}**" if text_of(one.error_code) else ""
    st.markdown(
        f"{mark} **{literal(value_name(one.integration))}** {literal(one.endpoint)} {status}{http}{code}"
        f" · {ms(one.duration_ms)}"
    )
    if text_of(one.error_message):
        st.code(one.error_message, language=None, wrap_lines=True)
    left, right = st.columns(2)
    with left:
        st.caption(f"{_('Made')} {one.called_at:%Y-%m-%d %H:%M:%S}")
        if failed:
            st.caption(
                _("Came back on retry {when}").format(when=when(one.retried_at))
                if not pd.isna(one.retried_at)
                else _("Not come back on retry")
            )
        for label, value in ((_("Request"), one.request_id), (_("Trace"), one.trace_id)):
            if text_of(value):
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
        if text_of(one.request_id):
            around = near(sought_of(int(one.call_id)))
            lead(
                "thread",
                _("Everything in one thread"),
                "conversion_path",
                {"request": one.request_id, "integration": one.integration, **around},
            )


def near(one: Sought | None) -> dict[str, str]:
    """The time around a call, as a link to another page says it."""
    return window_params(one.start - NEAR, one.end + NEAR) if one is not None else {}


def call_panel(call_id: int) -> None:
    """The ledger's row of one call."""

    @panel(_("Call {id}").format(id=call_id), height=180, key="one-call")
    def one_call() -> Figure:
        found = queries.ledger("integrations/call", {"call_id": call_id})
        if found.empty:
            st.caption(_("The ledger has no call {id}.").format(id=call_id))
        else:
            call_facts(next(found.itertuples()))
        return Figure(None, found, drawn=True)


def evidence(find: Callable[[], Sought | None]) -> None:
    """What other programs tell of a call, each in a panel of its own: none waits for another."""
    log_panel(find)
    left, right = st.columns(2)
    with left:
        trace_panel(find)
    with right:
        error_panel(find)


def nothing(words: str) -> Figure:
    """A panel that has nothing but a sentence."""
    st.caption(words)
    return Figure(None, pd.DataFrame(), drawn=True)


def log_panel(find: Callable[[], Sought | None]) -> None:
    """The lines that the backend wrote for the request."""

    @panel(
        _("Its log lines"),
        height=120,
        help=_("What the backend wrote for the request of this call, within five minutes of it; oldest first."),
        key="call-logs",
    )
    def call_logs() -> Figure:
        one = find()
        if one is None:
            return nothing(_("Without a call there is nothing to look for."))
        question = logs.Question(one.start - NEAR, one.end + NEAR, request_id=one.request)
        found = logs.lines(question, roles, deadline=LOG_SECONDS)
        if found.empty:
            return nothing(_("The log store has no line of this request around that time."))
        lines = found.iloc[::-1].head(MOST_LINES)
        st.markdown("  \n".join(line_words(row) for row in lines.to_dict("records")))
        if len(found) > MOST_LINES:
            st.caption(_("The first {n} of {total} lines.").format(n=number(MOST_LINES), total=number(len(found))))
        lead("logs", _("Open in the logs"), "notes", {"request": one.request, **near(one)})
        return Figure(None, found, drawn=True)


def line_words(row: Mapping[Any, Any]) -> str:
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


def trace_panel(find: Callable[[], Sought | None]) -> None:
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
            return nothing(_("Without a call there is nothing to look for."))
        if not traces.has_traces():
            # Said as of a source that is not configured.
            traces.services(roles)
        if not one.trace:
            return nothing(_("The ledger knows no trace of this call."))
        spans = traces.trace(one.trace, roles)
        if spans.empty:
            return nothing(
                _("Jaeger has no trace with this id: it was not recorded, or it is older than what is kept.")
            )
        path = traces.critical_path(spans)
        rows = traces.rows_shown(spans, path, most=MOST_ROWS)
        rows["warned"] = traces.has_warnings(spans).to_numpy()[rows["row"]]
        lead("traces", _("Open in the traces"), "timeline", {"trace": one.trace, **near(one)})
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


def error_panel(find: Callable[[], Sought | None]) -> None:
    """The issue that the error tracker has of the request."""

    @panel(
        _("Its error"),
        height=260,
        help=_("The issue of the error tracker that this request is an event of, without personal data."),
        key="call-error",
    )
    def call_error() -> Figure:
        one = find()
        if one is None:
            return nothing(_("Without a call there is nothing to look for."))
        search = failures.IssueSearch(one.start - NEAR_ERRORS, one.end + NEAR_ERRORS, request=one.request)
        found = failures.issues(search, roles)
        if found.empty:
            return nothing(_("The error tracker has no error of this request."))
        for issue in found.head(MOST_ISSUES).itertuples():
            issue_words(issue, one, search)
        return Figure(None, found.drop(columns="over_time"), drawn=True)


def issue_words(issue: Any, one: Sought, search: failures.IssueSearch) -> None:
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
            {"issue": str(issue.issue_id), "request": one.request, **near(one)},
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


def call_view(call_id: str) -> None:
    """One call, from its id in the URL, with everything that is known of it."""
    if not call_id.isdecimal() or len(call_id) > 18:
        st.warning(_("“{id}” is not the id of a call: it is a number.").format(id=call_id[:40]))
        return
    call_panel(int(call_id))
    evidence(lambda: sought_of(int(call_id)))


def request_view(request: str) -> None:
    """The call of a request, from its id in the URL; where it made several, those that failed first."""
    anywhen = Sought(request, "", now - timedelta(days=1), now)
    try:
        calls = queries.ledger("traces/calls", {"request": request}, deadline=4)
    except queries.SourceError as error:
        st.markdown(f":material/error: {_(sentence_of(error))}")
        evidence(lambda: anywhen)
        return
    if calls.empty:
        st.caption(_("The ledger has no call of the request {id}.").format(id=literal(request)))
        lead("thread", _("Everything in one thread"), "conversion_path", {"request": request})
        evidence(lambda: anywhen)
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
        call_view(choice_filter(_("Call"), tuple(names), names, key="call"))
    else:
        call_view(next(iter(names)))


# --- all of them ------------------------------------------------------------------------------------------------------


def fact(label: str, value: str) -> None:
    """A number with its name above it."""
    st.markdown(f":small[:gray[{label}]]  \n{value}")


def integration_row(row: Any, whole: Any, lines: list[str]) -> Any:
    """One integration: its state, the span, the last calls, and what it costs; gives the place for what comes later."""
    calls, failed = int(row.calls_hour), int(row.failed_hour)
    hour = _("No call in the last hour")
    if calls:
        hour = _("{failed} of {calls} failed in the last hour").format(failed=number(failed), calls=number(calls))
    with st.container(border=True, gap="xsmall", key=f"integration-{row.integration}"):
        mark = f":{MARKS[row.state]}[:material/{ICONS[row.state]}:]"
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(
                f"{mark} **{literal(value_name(row.integration))}** {states()[row.state]} :small[:gray[· {hour}]]",
                width="content",
            )
            # A link to the page that is open would not change its address.
            if st.button(
                _("Look into it"),
                key=f"look-into-{row.integration}",
                icon=":material/arrow_forward:",
                type="tertiary",
                on_click=look_into,
                args=[row.integration],
            ):
                st.rerun()
        share = percent(whole.share) if whole is not None else "–"
        values = " · ".join(ms(getattr(whole, q)) for q in told.QUANTILES) if whole is not None else "–"
        with st.grid(4, min_column_width=125, gap=("xsmall", "small")):
            fact(_("Call rate"), per_time(whole.calls) if whole is not None else "–")
            fact(_("Error rate"), f":red[**{share}**]" if row.state == "failing" else share)
            fact(" · ".join(told.QUANTILES), values)
            fact(_("Last success"), when(row.last_success) if not pd.isna(row.last_success) else _("none"))
        later = st.empty()
        st.markdown("  \n".join(f":small[{one}]" for one in lines))
        if not pd.isna(row.last_failure) and st.button(
            _("Last failure {when}: {code}").format(
                when=when(row.last_failure), code=literal(value_name(row.last_error_code))
            ),
            key=f"last-failure-{row.integration}",
            icon=":material/error:",
            type="tertiary",
            help=_("Open the call"),
            on_click=open_call,
            args=[row.last_call_id],
        ):
            st.rerun()
    return later


def open_alerts() -> tuple[dict[str, pd.DataFrame], str]:
    """The open alerts by integration; and why they are not known, if they are not."""
    try:
        return told.alerts_of(alerts.active()), ""
    except queries.SourceError as error:
        return {}, _(sentence_of(error))


def alert_links(name: str, found: pd.DataFrame) -> None:
    """The open alerts of an integration, each with a link to it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for row in found.itertuples():
            silent = row.state == "silenced"
            colour = "gray" if silent else "red" if row.severity == "critical" else "orange"
            icon = "notifications_off" if silent else "notifications_active"
            since = _("since {when}").format(when=when(row.starts_at))
            words = f"{since} · {_('silenced')}" if silent else since
            lead(
                "alerts",
                f":{colour}[**{literal(row.alert)}**] :small[{words}]",
                icon,
                onward(alert=row.alert, integration=name),
            )


def all_of_them() -> None:
    """A row each, those that fail first."""

    @panel(
        _("Integrations"),
        height=420,
        help=_(
            "From the ledger's calls of the period; failed ended in an error or a time-out. What it costs is told of "
            "the last 24 hours, against the median of the normal days (same weekday, same position to the quincena, no "
            "holiday) up to the same time."
        ),
        key="cards",
    )
    def cards() -> Figure:
        latest = told.worst_first(queries.ledger("integrations/latest", {}))
        summary = asked("summary")
        whole = {row.integration: row for row in told.totals(summary, ["integration"]).itertuples()}
        cost, late = costs(), late_costs()
        if latest.empty:
            st.caption(_("No integration was called in the last 30 days."))
        places = {
            row.integration: integration_row(
                row, whole.get(row.integration), cost_lines(cost, late, str(row.integration))
            )
            for row in latest.itertuples()
        }
        below = st.container(gap="xsmall")
        with below:
            mark_link(mark("integration_error_rate", queries.business_day(queries.timezone())))
        # The rows stand; what Alertmanager and the metrics say is added as it comes.
        found, missing = open_alerts()
        metrics = by_metrics() if has_metrics() else {}
        for name, place in places.items():
            quiet = [] if missing or name in found else [_("No open alert.")]
            with place.container(gap="xsmall"):
                if name in found:
                    alert_links(str(name), found[name])
                if words := [*quiet, *([metrics[name]] if name in metrics else [])]:
                    st.caption(" ".join(words))
        if missing:
            below.caption(f":material/notifications_off: {_('Open alerts are not known:')} {missing}")
        frame = latest.merge(told.totals(summary, ["integration"]), on="integration", how="left")
        frame.attrs = dict(summary.attrs)
        return Figure(None, frame, drawn=True)


# --- what the metrics say ---------------------------------------------------------------------------------------------


def seed_panels() -> None:
    """The three live panels of integration health, from the metrics."""
    if not has_metrics():
        st.caption(_("No metrics are configured: set MIRADOR_PROMETHEUS_URL. The ledger's panels do not need them."))
        return
    with st.grid(3, min_column_width=320):

        @panel(_("Call rate"), height=240, help=_("Calls a minute, of all endpoints and replicas."), key="live-rate")
        def call_rate() -> Figure:
            return line(
                measured("call_rate"),
                x="time",
                y="value",
                unit="/min",
                title=_("Call rate"),
                color="integration",
                events=happened(),
                zero=True,
                height=240,
            )

        @panel(
            _("Error rate"),
            height=240,
            help=_("Errors and time-outs over all calls; no line where nothing was called."),
            key="live-errors",
        )
        def error_rate() -> Figure:
            return line(
                measured("error_rate"),
                x="time",
                y="value",
                unit="share",
                title=_("Error rate"),
                color="integration",
                target=(0.05, _("5 % line")),
                events=happened(),
                zero=True,
                height=240,
            )

        @panel(
            _("Latency, p95") if not only else _("Latency (p50, p95, p99)"),
            height=240,
            help=_("Over all endpoints and replicas (sum by le), interpolated within the histogram's bucket."),
            key="live-latency",
        )
        def latency() -> Figure:
            title, color = _("Latency, p95"), "integration"
            frame = measured("latency")
            if only:
                title, color = _("Latency (p50, p95, p99)"), "quantile"
                parts = [measured("latency", quantile=q).assign(quantile=name) for name, q in told.QUANTILES.items()]
                stamp = frame.attrs
                frame = pd.concat(parts, ignore_index=True)
                frame.attrs = dict(stamp)
            return line(
                frame,
                x="time",
                y="value",
                unit="s",
                title=title,
                color=color,
                events=happened(),
                zero=True,
                height=240,
            )


def numbers() -> None:
    """Cards of the chosen integration, against the span before."""

    def one(column: str, unit: str, definition: str, better: Any = "down") -> Number:
        summary = asked("summary")
        now_, then = told.totals(summary, ["integration"]), told.totals(before(), ["integration"])

        def value(frame: pd.DataFrame) -> Any:
            found = None if frame.empty else frame[column].iloc[0]
            return None if found is None else found / 1000 if unit == "seconds" else found

        note = per_time(float(now_["calls"].iloc[0])) if column == "calls" and not now_.empty else ""
        return Number(value(now_), unit, summary, other=value(then), better=better, definition=definition, note=note)

    middle = _("Of the durations in the ledger, by log buckets: at most 4.5 % off.")
    with kpi_row(5):
        number_card(
            _("Calls"),
            lambda: one("calls", "count", _("Calls in the period, against the one before."), "none"),
            key="calls",
        )
        number_card(
            _("Error rate"),
            lambda: one("share", "share", _("Errors and time-outs over all calls of the period.")),
            key="error-rate",
        )
        for q in told.QUANTILES:
            number_card(q, lambda q=q: one(q, "seconds", middle), key=q)  # type: ignore[misc]


def alerts_panel() -> None:
    """The open alerts of the chosen integration."""

    @panel(_("Open alerts"), height=80, help=_("Firing or silenced in Alertmanager, of this integration."), key="open")
    def open_now() -> Figure:
        active = alerts.active()
        found = told.alerts_of(active).get(chosen)
        if found is None:
            st.caption(_("No open alert."))
        else:
            alert_links(chosen, found)
        return Figure(None, active.iloc[:0] if found is None else found, drawn=True)


def business() -> None:
    """What it costs the business now, and who looks late only because of it."""
    start = now.replace(second=0, microsecond=0) - timedelta(hours=COST_HOURS)

    @panel(
        _("What it costs the business now"),
        height=200,
        help=_(
            "Of the last 24 hours. Normal is the median of the days with the same weekday and position to the "
            "quincena, up to the same time. A row opens what waits, the greatest amounts first."
        ),
        key="cost",
    )
    def cost() -> Figure:
        every = told.cost_rows(costs(), chosen)
        frame = every[every["kind"] != "other"].reset_index(drop=True)
        frame.attrs = dict(every.attrs)
        other = every.loc[every["kind"] == "other", "hit"].sum()
        if frame.empty:
            st.markdown(_("Nothing waits for it."))
        if other:
            st.caption(
                _("Failed calls that served no application, credit or payment: {hit}.").format(hit=number(other))
            )
        if frame.empty:
            return Figure(None, frame, drawn=True)
        words = {
            "payment": _("Payments not collected"),
            "credit": _("Disbursements held up"),
            "application": _("Applications waiting"),
        }
        frame = frame.assign(what=[words[kind] for kind in frame["kind"]])
        frame.attrs = dict(every.attrs)
        shown = table(
            frame,
            {
                "what": ("text", _("What waits")),
                "waiting": ("count", _("Now")),
                "waiting_amount": ("mxn", _("MXN")),
                "waiting_normal": ("number", _("Normally")),
                "waiting_amount_normal": ("mxn", _("MXN normally")),
                "hit": ("count", _("Had a failed call")),
                "back": ("count", _("Came back on retry")),
                "back_amount": ("mxn", _("MXN come back")),
            },
            title=_("What it costs the business now"),
        )
        drill = Drill(
            "integrations/unserved",
            {"integration": chosen, "start": start, "end": start + timedelta(hours=COST_HOURS)},
            by={"kind": "kind"},
            count="waiting",
        )
        return replace(shown, drill=drill)

    @panel(
        _("Drivers who look late only because of it"),
        height=160,
        help=_(
            "Their payment of all that was open failed in the last 24 hours because the integration did, no later "
            "attempt was declined, and nothing else of theirs is late: they look late, or did so until the payment "
            "came through on retry. Normal as above. A row opens the installments."
        ),
        key="late",
    )
    def looks_late() -> Figure:
        every = late_costs()
        frame = every[(every["integration"] == chosen) & (every["installments"] > 0)].reset_index(drop=True)
        frame.attrs = dict(every.attrs)
        if frame.empty:
            st.markdown(_("No driver looks late only because of it."))
            return Figure(None, frame, drawn=True)
        words = {"late": _("Look late now"), "paid": _("Looked late, paid on retry")}
        frame = frame.assign(what=[words[state] for state in frame["state"]])
        frame.attrs = dict(every.attrs)
        shown = table(
            frame,
            {
                "what": ("text", _("Who")),
                "drivers": ("count", _("Drivers")),
                "drivers_normal": ("number", _("Normally")),
                "installments": ("count", _("Installments")),
                "amount": ("mxn", _("MXN")),
                "amount_normal": ("mxn", _("MXN normally")),
            },
            title=_("Drivers who look late only because of it"),
        )
        drill = Drill(
            "integrations/looks_late",
            {"integration": chosen, "day": today},
            by={"state": "state"},
            count="installments",
        )
        return replace(shown, drill=drill)


# --- the calls --------------------------------------------------------------------------------------------------------


def turn(place: Any, *, back: bool = False) -> None:
    """Another page of the list of calls."""
    places = st.session_state["calls:places"]
    if back:
        places.pop()
    else:
        places.append(place)


def call_list() -> None:
    """The calls of the period, failed ones first asked for; a row opens the call."""

    @panel(
        _("Calls"),
        height=420,
        help=_(
            "The calls of the period, the newest first, from the ledger. A row opens the call with its log lines, its "
            "trace and its error."
        ),
        key="calls",
    )
    def calls() -> Figure:
        over = asked("over_time")
        outcomes = {"failed": _("Failed"), "good": _("Answered"), "any": _("All")}
        with st.grid(3, min_column_width=190, vertical_alignment="center", key="calls-filter"):
            outcome = choice_filter(_("Outcome"), tuple(outcomes), outcomes, key="outcome")
            url = Url()
            every = over if outcome == "any" else over[(over["status"] == told.SUCCESS) == (outcome == "good")]
            endpoint = name_field(
                url, "endpoint", _("Endpoint"), sorted(set(every["endpoint"])), everything=_("All endpoints")
            )
            codes = sorted(set(every["error_code"]) - {""})
            code = name_field(url, "code", _("Error code"), codes, everything=_("All error codes"))
            url.write()
        statuses = told.failures(over) if outcome == "failed" else (told.SUCCESS,) if outcome == "good" else ()
        if outcome == "failed" and not statuses:
            return nothing(_("No call failed in this period."))
        asked_for = {
            "from_at": span.start,
            "to_at": span.end,
            "integrations": only,
            "statuses": statuses,
            "endpoint": endpoint or None,
            "error_code": code or None,
        }
        known_by = tuple(asked_for.values())
        if st.session_state.get("calls:asked") != known_by:
            st.session_state["calls:asked"], st.session_state["calls:places"] = known_by, []
        places: list[Any] = st.session_state["calls:places"]
        found = queries.rows("rows/calls", asked_for, after=places[-1] if places else None, limit=LIST_ROWS)
        if found.empty:
            return nothing(_("No call of this period is like that."))
        columns: dict[str, Any] = {
            "called_at": st.column_config.DatetimeColumn(_("Made"), format="YYYY-MM-DD HH:mm:ss"),
            "integration": ("text", _("Integration")),
            "endpoint": ("text", _("Endpoint")),
            "status": ("text", _("Outcome")),
            "error_code": ("text", _("Error code")),
            "http_status": st.column_config.NumberColumn("HTTP", format="%d"),
            "duration_ms": ("ms", _("Duration")),
            "request_id": ("text", _("Request")),
        }
        if only:
            del columns["integration"]
        row = pick_row(table(found, columns, title=_("Calls")), "calls-table", _("Calls"), 420)
        if row is not None:
            open_call(row["call_id"])
            st.rerun()
        page = queries.page_of(found)
        if places or page.more:
            with st.container(horizontal=True):
                st.button(
                    _("Newer"),
                    key="calls-newer",
                    icon=":material/chevron_left:",
                    type="tertiary",
                    disabled=not places,
                    on_click=turn,
                    args=[None],
                    kwargs={"back": True},
                )
                st.button(
                    _("Older"),
                    key="calls-older",
                    icon=":material/chevron_right:",
                    type="tertiary",
                    disabled=not page.more,
                    on_click=turn,
                    args=[page.last],
                )
        return Figure(None, found, drawn=True)


# --- where and how it fails -------------------------------------------------------------------------------------------


def causes() -> None:
    """By endpoint and by error code."""

    @panel(_("By endpoint"), height=290, help=_("A row opens its calls."), key="endpoints")
    def endpoints() -> Figure:
        by = ["endpoint"] if only else ["integration", "endpoint"]
        shown = table(
            told.totals(asked("summary"), by),
            {
                **({} if only else {"integration": ("text", _("Integration"))}),
                "endpoint": ("text", _("Endpoint")),
                "calls": ("count", _("Calls")),
                "failed": ("count", _("Failed")),
                "share": ("share", _("Error rate")),
                "p50": ("ms", "p50"),
                "p95": ("ms", "p95"),
                "p99": ("ms", "p99"),
            },
            title=_("By endpoint"),
        )
        return replace(shown, drill=behind({name: name for name in by}, "calls"))

    if only:
        codes_panel()
    else:
        rates_panel()

    @panel(
        _("Error codes over time"),
        height=260,
        help=_("Failed calls by error code, from the ledger. A click opens the calls."),
        key="codes-over-time",
    )
    def codes_over_time() -> Figure:
        over = asked("over_time")
        return bars_over_time(
            told.by_code(over),
            x="at",
            y="n",
            unit="count",
            title=_("Error codes over time"),
            color="error_code",
            until="until",
            events=happened(),
            drill=behind(
                {"from_at": "at", "to_at": "until", "error_code": "error_code"}, "n", statuses=told.failures(over)
            ),
        )


def codes_panel() -> None:
    """First and last seen of each error code of the chosen integration."""

    @panel(
        _("Error codes, first and last seen"),
        height=290,
        help=_("First and last in the whole ledger; failures of the period and ever. A row opens its calls."),
        key="codes",
    )
    def codes() -> Figure:
        over = asked("over_time")
        shown = table(
            told.codes_seen(queries.ledger("integrations/codes", {"integration": chosen}), over),
            {
                "error_code": ("text", _("Error code")),
                "endpoint": ("text", _("Endpoint")),
                "n_span": ("count", _("In the period")),
                "first_seen": ("datetime", _("First seen")),
                "last_seen": ("datetime", _("Last seen")),
                "n": ("count", _("Ever")),
            },
            title=_("Error codes, first and last seen"),
        )
        drill = behind({"endpoint": "endpoint", "error_code": "error_code"}, "n_span", statuses=told.failures(over))
        return replace(shown, drill=drill)


def rates_panel() -> None:
    """The error rates of all integrations side by side."""

    @panel(
        _("Error rate by integration"),
        height=260,
        help=_("Failed calls over all calls of the period, with its 95 % interval (Wilson); from the ledger."),
        key="rates",
    )
    def rates() -> Figure:
        over = asked("over_time")
        return points(
            told.totals(asked("summary"), ["integration"]),
            x="integration",
            y="share",
            unit="share",
            title=_("Error rate by integration"),
            low="low",
            high="high",
            target=(0.05, _("5 % line")),
            drill=behind({"integration": "integration"}, "failed", statuses=told.failures(over)),
        )


def over_time() -> None:
    """Rates, latency and calls over time, each mark with its calls."""
    part = "endpoint" if only else "integration"
    left, right = st.columns(2)
    with left:
        title = _("Error rate by endpoint") if only else _("Error rate by integration")

        @panel(title, height=280, help=_("From the ledger."), key="rate-over-time")
        def rate_over_time() -> Figure:
            over = asked("over_time")
            return line(
                told.error_rates(over, part),
                x="at",
                y="share",
                unit="share",
                title=title,
                color=part,
                target=(0.05, _("5 % line")),
                events=happened(),
                zero=True,
                height=280,
                drill=behind({"from_at": "at", "to_at": "until", part: part}, "failed", statuses=told.failures(over)),
            )

    with right:

        @panel(
            _("Latency over time"),
            height=280,
            help=_("Share of the calls of each stretch by their duration, a doubling a row; a click opens the calls."),
            key="latency-over-time",
        )
        def latency_over_time() -> Figure:
            cells, bands = told.latency_cells(asked("latency_over_time"))
            return heatmap(
                cells,
                x="at",
                y="band",
                value="share",
                unit="share",
                title=_("Latency over time"),
                y_order=bands,
                note="n",
                note_title=_("Calls"),
                events=happened(),
                height=280,
                drill=behind(
                    {
                        "from_at": "at",
                        "to_at": "until",
                        "duration_from": "duration_from",
                        "duration_to": "duration_to",
                    },
                    "n",
                ),
            )

    if not only:
        failed_panel()

    @panel(
        _("Calls over time"), height=220, help=_("All calls by their outcome, from the ledger."), key="calls-over-time"
    )
    def calls_over_time() -> Figure:
        return bars_over_time(
            told.by_status(asked("over_time")),
            x="at",
            y="n",
            unit="count",
            title=_("Calls over time"),
            color="status",
            until="until",
            events=happened(),
            height=220,
            drill=behind({"from_at": "at", "to_at": "until", "status": "status"}, "n"),
        )


def failed_panel() -> None:
    """The failed calls of all integrations over time."""

    @panel(_("Failed calls over time"), height=240, help=_("Errors and time-outs in the ledger."), key="failed-calls")
    def failed_calls() -> Figure:
        over = asked("over_time")
        rates = told.error_rates(over, "integration")
        return bars_over_time(
            rates[rates["failed"] > 0],
            x="at",
            y="failed",
            unit="count",
            title=_("Failed calls over time"),
            color="integration",
            until="until",
            events=happened(),
            height=240,
            drill=behind(
                {"from_at": "at", "to_at": "until", "integration": "integration"},
                "failed",
                statuses=told.failures(over),
            ),
        )


# --- before and after -------------------------------------------------------------------------------------------------


def moment_filter() -> datetime:
    """The chosen moment, to the minute; the middle of the span when the URL names none."""
    middle = span.start + (min(span.end, span.now) - span.start) / 2
    default = middle.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    url = Url()

    def read(texts: list[str]) -> datetime:
        try:
            value = datetime.fromisoformat(texts[-1])
        except ValueError:
            raise ValueError(texts[-1]) from None
        if value.tzinfo is not None or not timedelta() <= now.replace(tzinfo=None) - value <= timedelta(days=730):
            raise ValueError(texts[-1])
        return value

    url.restore("moment", default, read)
    picked = st.datetime_input(
        _("Moment"), key="moment", format="YYYY-MM-DD", required=True, label_visibility="collapsed", width=240
    )
    value = picked if isinstance(picked, datetime) else default
    url.keep("moment", value, [value.isoformat(timespec="minutes")], default=value == default)
    url.write()
    if url.refused:
        st.warning(_("The link's moment cannot be: the middle of the period is shown."), icon=":material/link_off:")
    return value.replace(tzinfo=zone)


def compare_moment() -> None:
    """The same calls before and after a moment, such as a deployment."""
    part = "endpoint" if only else "integration"
    with st.container(horizontal=True, vertical_alignment="center"):
        moment = moment_filter()
        around = choice_filter(
            _("Around"),
            tuple(AROUND),
            {name: _("{n} h on each side").format(n=hours) for name, hours in AROUND.items()},
            key="around",
        )
    length = timedelta(hours=AROUND[around])

    @panel(
        _("Before and after {when}").format(when=when(moment)),
        height=200,
        help=_(
            "Calls of the same time before and after. The difference of the error rates has its 95 % interval "
            "(Newcombe); one that contains 0 may be chance."
        ),
        key="before-after",
    )
    def before_after() -> Figure:
        parts = [
            asked("summary", start=moment - length, end=moment, fine=True),
            asked("summary", start=moment, end=moment + length, fine=True),
        ]
        frame = told.before_after(*parts, by=part)
        if frame["calls_before"].sum() + frame["calls_after"].sum() == 0:
            return Figure(None, frame.iloc[:0], drawn=False)
        whole = frame.iloc[0]
        if math.isnan(whole["difference"]):
            st.markdown(_("There are calls on one side only."))
        else:
            colour, words = "gray", _("no certain change")
            if whole["certain"]:
                worse = whole["difference"] > 0
                colour, words = ("red", _("worse")) if worse else ("green", _("better"))
            said = _("Error rate {before} → {after}: {verdict} (difference {low} to {high} pp).").format(
                before=percent(whole["share_before"]),
                after=percent(whole["share_after"]),
                verdict=f":{colour}[**{words}**]",
                low=f"{whole['low'] * 100:+.1f}",
                high=f"{whole['high'] * 100:+.1f}",
            )
            p95 = f"p95 {ms(whole['p95_before'])} → {ms(whole['p95_after'])}"
            st.markdown(f"{said} {p95}")
        whole_words = _("All endpoints") if only else _("All integrations")
        shown = frame.assign(**{part: [value_name(name) or whole_words for name in frame[part]]})
        columns: dict[str, Any] = {part: ("text", _("Endpoint") if only else _("Integration"))}
        for column, kind, label in (
            ("calls", "count", _("Calls")),
            ("share", "share", _("Error rate")),
            ("p95", "ms", "p95"),
        ):
            columns[f"{column}_before"] = (kind, _("{what}, before").format(what=label))
            columns[f"{column}_after"] = (kind, _("{what}, after").format(what=label))
        return table(shown, columns, title=_("Before and after a moment"))


# --- the page ---------------------------------------------------------------------------------------------------------

me = viewer(settings())
roles = me.roles if me is not None else frozenset()
zone = queries.timezone()
now = datetime.now(zone)
today = queries.business_day(zone)

st.title(_("Integrations"), anchor=False)
opened, requested = (str(st.query_params.get(name) or "").strip()[:128] for name in ("id", "request"))
if opened or requested:
    # The period and the integration stay in the URL for the way back.
    back = st.query_params.get("integration") or ALL
    st.button(
        _("Back to {name}").format(name=literal(value_name(back))) if back != ALL else _("Back to the integrations"),
        icon=":material/arrow_back:",
        on_click=close_call,
        type="tertiary",
        key="close-call",
    )
    if opened:
        call_view(opened)
    else:
        request_view(requested)
else:
    names = known()
    below_title = st.empty()
    exact = window_bar(now, earliest=now - EARLIEST, longest=EARLIEST)
    span = exact or span_bar(now, earliest=today - EARLIEST)
    if not exact:
        below_title.caption(span.caption())
    if not names and "integration" in st.query_params:
        # The names cannot be had now: the link's own stands.
        names = [st.query_params["integration"]]
    chosen = choice_filter(
        _("Integration"),
        (ALL, *names),
        {ALL: _("All")} | {name: str(value_name(name)) for name in names},
        key="integration",
    )
    only: tuple[str, ...] = () if chosen == ALL else (chosen,)
    section = sections(
        {
            "now": _("Now"),
            "causes": _("Where it fails"),
            "over_time": _("Over time"),
            "live": _("Live metrics"),
            "moment": _("Before and after"),
        }
    )
    if section("now"):
        if only:
            numbers()
            alerts_panel()
            business()
        else:
            all_of_them()
        call_list()
    if section("causes"):
        causes()
    if section("over_time"):
        over_time()
    if section("live"):
        seed_panels()
    if section("moment"):
        compare_moment()

    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="elsewhere"):
        lead("api_health", _("API health in this period"), "monitor_heart", onward())
        lead("logs", _("Log lines"), "notes", onward())
        lead("errors", _("Errors"), "bug_report", onward())
        lead("traces", _("Traces"), "timeline", onward())
        lead("alerts", _("Alerts"), "notifications", onward())
