"""Integrations: which one fails, since when, how, what it costs the business now, and the calls behind every mark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.links import alert_links, lead
from app.marks import mark
from app.one_call import show_call, show_request
from app.settings import settings
from components import (
    Drill,
    Figure,
    Number,
    _,
    bars_over_time,
    choice_filter,
    heatmap,
    kpi_row,
    line,
    mark_link,
    number,
    number_card,
    panel,
    points,
    sections,
    sentence_of,
    span_bar,
    value_name,
    when,
)
from components.fields import literal, name_field, pick_row
from components.frame import waiting
from components.i18n import pgettext
from components.integrations import (
    calls_table,
    change_table,
    change_words,
    codes_table,
    cost_lines,
    cost_table,
    endpoints_table,
    integration_card,
    late_table,
    metrics_lines,
    per_time,
)
from components.moment import moment_field
from components.pager import page_place, pager
from components.span import Span
from components.url import Url
from components.window import window_bar
from queries import alerts
from queries import integrations as told

ALL = "all"
COST_HOURS = 24
AROUND = {"1h": 1, "6h": 6, "24h": 24}
LIST_ROWS = 10
# The height of a row of choices.
CHOICE = 34
EARLIEST = timedelta(days=730)
# So far back `integrations/latest` looks.
LATEST = timedelta(days=30)
ERROR_LINE = 0.05

me = viewer(settings())
roles = me.roles if me is not None else frozenset()
zone = queries.timezone()
now = datetime.now(zone)
today = queries.business_day(zone)


# --- one call: where the link names one, it stands instead of the page ------------------------------------------------


def open_call(call_id: Any) -> None:
    """Show one call instead of the page."""
    st.query_params["id"] = str(call_id)


def close_call() -> None:
    """Back to the page without the call."""
    for name in ("id", "request", "call"):
        st.query_params.pop(name, None)


st.title(_("Integrations"), anchor=False)
opened, requested = (str(st.query_params.get(name) or "").strip()[:128] for name in ("id", "request"))
instead = bool(opened or requested)
if instead:
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
        show_call(opened, roles)
    else:
        show_request(requested, roles, now)


# --- the period, the integration, the section -------------------------------------------------------------------------


def known(span: Span) -> list[str]:
    """The integrations that are called now or were in the span; of what the ledger does not answer, the link's."""
    found = set()
    asked: dict[str, dict[str, Any]] = {"integrations/latest": {}}
    if span.start < now - LATEST:
        asked["integrations/summary"] = {**span, "integrations": ()}
    for name, params in asked.items():
        try:
            found |= {str(one) for one in queries.ledger(name, params, deadline=3)["integration"]}
        except queries.SourceError:
            found.update(st.query_params.get_all("integration"))
    return sorted(found)


def section(key: str) -> bool:
    """Whether a section of the page is drawn."""
    return not instead and chosen_section(key)


if not instead:
    below_title = st.empty()
    exact = window_bar(now, earliest=now - EARLIEST, longest=EARLIEST)
    span = exact or span_bar(now, earliest=today - EARLIEST)
    if not exact:
        below_title.caption(span.caption())
    elif not span.fine:
        start, end = told.whole_hours(span.start, span.end)
        span = replace(span, start=start, end=end)
    chosen = ALL
    # A slow ledger is waited for some seconds.
    with waiting(CHOICE):
        names = known(span)
    if names or "integration" in st.query_params:
        shown_as = {ALL: _("All")} | {name: str(value_name(name)) for name in names}
        chosen = choice_filter(_("Integration"), (ALL, *names), shown_as, key="integration")
    only: tuple[str, ...] = () if chosen == ALL else (chosen,)
    # What a chart tells apart: the endpoints of one integration, or the integrations.
    part = "endpoint" if only else "integration"
    chosen_section = sections(
        {
            "now": _("Now"),
            "causes": _("Where it fails"),
            "over_time": _("Over time"),
            "live": _("Live metrics"),
            "moment": _("Before and after"),
        }
    )


# --- what is asked ----------------------------------------------------------------------------------------------------


def asked(name: str, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the span and the chosen integration."""
    return queries.ledger(f"integrations/{name}", {**span, "integrations": only, **more})


def happened() -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(span.first, span.last) if span.events else None


def behind(by: dict[str, str], count: str, **more: Any) -> Drill:
    """The calls behind a mark: of the span and the chosen integration unless the mark says it closer."""
    params = {"from_at": span.start, "to_at": span.end, "integrations": only, **more}
    return Drill("rows/calls", params, by=by, count=count)


def costs() -> pd.DataFrame:
    """What failed calls cost in the last 24 hours, beside normal days at the same time."""
    days = queries.normal_days(today)
    return told.costs(queries.ledger("integrations/cost", {"day": today, "days": days}), today, days)


def late_costs() -> pd.DataFrame:
    """Who looks late only because of an integration, beside normal days at the same time."""
    days = queries.normal_days(today)
    return told.late_costs(queries.ledger("integrations/looks_late", {"day": today, "days": days}), today, days)


def onward(**more: Any) -> dict[str, Any]:
    """What a link to another page carries: the time that is looked at, the integration, and more."""
    return {**span.query_params(), **({"integration": chosen} if only else {}), **more}


# --- now: all integrations, those that fail first ---------------------------------------------------------------------


def look_into(name: str) -> None:
    """Choose an integration, as its filter would."""
    st.session_state["integration"] = name


def open_alerts() -> tuple[dict[str, pd.DataFrame], str]:
    """The open alerts by integration; and why they are not known, if they are not."""
    try:
        return told.alerts_of(alerts.active()), ""
    except queries.SourceError as error:
        return {}, _(sentence_of(error))


def by_metrics() -> Mapping[str, str]:
    """What the metrics say of each integration over the span, in a line; nothing where they do not answer."""
    if not queries.is_configured("metrics"):
        return {}
    try:
        calls = queries.metrics("integrations/calls", span.stretch, deadline=4)
        quantiles = queries.metrics("integrations/quantiles", span.stretch, deadline=4)
    except queries.SourceError:
        return {}
    return metrics_lines(calls, quantiles, span.seconds)


def without_ledger(error: queries.SourceError, metrics: Mapping[str, str]) -> Figure:
    """What is known of each integration while the ledger does not answer: the metrics and the open alerts."""
    st.markdown(f":material/error: {_(sentence_of(error))}")
    found, _missing = open_alerts()
    for name, words in metrics.items():
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"**{literal(value_name(name))}**  \n:small[{words}]")
            if name in found:
                alert_links(found[name], onward(integration=name))
    return Figure(None, pd.DataFrame({"integration": [*metrics], "metrics": [*metrics.values()]}), drawn=True)


def all_of_them() -> None:
    """A card each, and what Alertmanager and the metrics say as it comes."""

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
        try:
            # A state of some minutes ago would call well what fails now.
            latest = queries.ledger("integrations/latest", {}, grace=0)
        except queries.SourceError as error:
            if metrics := by_metrics():
                return without_ledger(error, metrics)
            raise
        summary = told.totals(asked("summary"), ["integration"])
        whole = {row.integration: row for row in summary.itertuples()}
        # A period of long ago has integrations that are not called any more.
        latest = told.worst_first(told.with_those_of(latest, summary["integration"].tolist()))
        cost, late = costs(), late_costs()
        if latest.empty:
            st.caption(_("No integration was called in the last 30 days."))
        places = {}
        for row in latest.itertuples():
            name = str(row.integration)
            lines = cost_lines(told.cost_rows(cost, name), told.late_rows(late, name))
            places[name] = integration_card(row, whole.get(name), span.seconds, lines, look_into, open_call)
        below = st.container(gap="xsmall")
        with below:
            checked = mark("integration_error_rate", queries.business_day(queries.timezone()))
            if checked is not None:
                with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                    st.caption(_("Ledger and metrics today:"), width="content")
                    mark_link(checked)
        # The rows stand; what Alertmanager and the metrics say is added as it comes.
        found, missing = open_alerts()
        metrics = by_metrics()
        for name, place in places.items():
            quiet = [] if missing or name in found else [_("No open alert.")]
            with place.container(gap="xsmall"):
                if name in found:
                    alert_links(found[name], onward(integration=name))
                if words := [*quiet, *([metrics[name]] if name in metrics else [])]:
                    st.caption(" ".join(words))
        if missing:
            below.caption(f":material/notifications_off: {_('Open alerts are not known:')} {missing}")
        frame = latest.merge(summary, on="integration", how="left")
        # As old as the oldest of what it is made of.
        frame.attrs["answer"] = min(
            (part.attrs["answer"] for part in (latest, summary, cost, late)), key=lambda one: one.as_of
        )
        return Figure(None, frame, drawn=True)


# --- now: one integration ---------------------------------------------------------------------------------------------


def before() -> pd.DataFrame:
    """The calls of the span before this one, as long as what has passed of this."""
    length = min(span.end, span.now) - span.start
    if not span.fine:
        length = timedelta(hours=math.ceil(length / timedelta(hours=1)))
    return asked("summary", start=span.start - length, end=span.start)


def numbers() -> None:
    """Cards of the chosen integration, against the span before."""

    def one(column: str, unit: str, definition: str, better: Any = "down") -> Number:
        summary = asked("summary")
        present, then = told.totals(summary, ["integration"]), told.totals(before(), ["integration"])

        def value(frame: pd.DataFrame) -> Any:
            found = None if frame.empty else frame[column].iloc[0]
            return None if found is None else found / 1000 if unit == "seconds" else found

        rate = ""
        if column == "calls" and not present.empty:
            rate = per_time(float(present["calls"].iloc[0]), span.seconds)
        return Number(value(present), unit, summary, other=value(then), better=better, definition=definition, note=rate)

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
            alert_links(found, onward())
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
        shown = cost_table(frame)
        waits = {"integration": chosen, "start": start, "end": start + timedelta(hours=COST_HOURS)}
        return replace(shown, drill=Drill("integrations/unserved", waits, by={"kind": "kind"}, count="waiting"))

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
        frame = told.late_rows(late_costs(), chosen)
        if frame.empty:
            st.markdown(_("No driver looks late only because of it."))
            return Figure(None, frame, drawn=True)
        shown = late_table(frame)
        whose = {"integration": chosen, "day": today}
        return replace(
            shown, drill=Drill("integrations/looks_late", whose, by={"state": "state"}, count="installments")
        )


# --- now: the calls ---------------------------------------------------------------------------------------------------


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
        outcomes = {
            "failed": pgettext("calls", "Failed"),
            "good": pgettext("calls", "Answered"),
            "any": pgettext("calls", "All"),
        }
        with st.grid(3, min_column_width=190, vertical_alignment="center", key="calls-filter"):
            outcome = choice_filter(_("Outcome"), tuple(outcomes), outcomes, key="outcome")
            every, statuses = told.of_outcome(over, outcome)
            url = Url()
            endpoint = name_field(
                url, "endpoint", _("Endpoint"), sorted(set(every["endpoint"])), everything=_("All endpoints")
            )
            codes = sorted(set(every["error_code"]) - {""})
            code = name_field(url, "code", _("Error code"), codes, everything=_("All error codes"))
            url.write()
        asked_for = {
            "from_at": span.start,
            "to_at": span.end,
            "integrations": only,
            "statuses": statuses,
            "endpoint": endpoint or None,
            "error_code": code or None,
        }
        place = page_place("calls", asked_for)
        found = queries.rows("rows/calls", asked_for, after=place, limit=LIST_ROWS)
        if found.empty:
            none_failed = outcome == "failed" and every.empty
            st.caption(
                _("No call failed in this period.") if none_failed else _("No call of this period is like that.")
            )
            return Figure(None, found, drawn=True)
        row = pick_row(calls_table(found, one=bool(only)), "calls-table", _("Calls"), 420)
        if row is not None:
            open_call(row["call_id"])
            st.rerun()
        page = queries.page_of(found)
        pager("calls", more=page.more, last=page.last)
        return Figure(None, found, drawn=True)


if section("now"):
    if only:
        numbers()
        alerts_panel()
        business()
    else:
        all_of_them()
    call_list()


# --- where and how it fails -------------------------------------------------------------------------------------------


def bars(frame: pd.DataFrame, y: str, title: str, color: str, drill: Drill, height: int = 240) -> Figure:
    """Calls of each stretch as bars, with what happened meanwhile."""
    return bars_over_time(
        frame,
        x="at",
        y=y,
        unit="count",
        title=title,
        color=color,
        until="until",
        events=happened(),
        height=height,
        drill=drill,
    )


if section("causes"):

    @panel(_("By endpoint"), height=290, help=_("A row opens its calls."), key="endpoints")
    def endpoints() -> Figure:
        by = ["endpoint"] if only else ["integration", "endpoint"]
        shown = endpoints_table(told.totals(asked("summary"), by), by)
        return replace(shown, drill=behind({name: name for name in by}, "calls"))

    if only:

        @panel(
            _("Error codes, first and last seen"),
            height=290,
            help=_("First and last in the whole ledger; failures of the period and ever. A row opens its calls."),
            key="codes",
        )
        def codes() -> Figure:
            over = asked("over_time")
            shown = codes_table(told.codes_seen(queries.ledger("integrations/codes", {"integration": chosen}), over))
            drill = behind({"endpoint": "endpoint", "error_code": "error_code"}, "n_span", statuses=told.failures(over))
            return replace(shown, drill=drill)

    else:

        @panel(
            _("Error rate by integration"),
            height=260,
            help=_("Failed calls over all calls of the period, with its 95 % interval (Wilson); from the ledger."),
            key="rates",
        )
        def rates() -> Figure:
            return points(
                told.totals(asked("summary"), ["integration"]),
                x="integration",
                y="share",
                unit="share",
                title=_("Error rate by integration"),
                low="low",
                high="high",
                target=(ERROR_LINE, _("5 % line")),
                drill=behind({"integration": "integration"}, "failed", statuses=told.failures(asked("over_time"))),
            )

    @panel(
        _("Error codes over time"),
        height=260,
        help=_("Failed calls by error code, from the ledger. A click opens the calls."),
        key="codes-over-time",
    )
    def codes_over_time() -> Figure:
        over = asked("over_time")
        code = {"from_at": "at", "to_at": "until", "error_code": "error_code"}
        drill = behind(code, "n", statuses=told.failures(over))
        return bars(told.by_code(over), "n", _("Error codes over time"), "error_code", drill)


# --- over time --------------------------------------------------------------------------------------------------------


def failed_behind(over: pd.DataFrame) -> Drill:
    """The failed calls behind a stretch of an endpoint or an integration."""
    return behind({"from_at": "at", "to_at": "until", part: part}, "failed", statuses=told.failures(over))


if section("over_time"):
    left, right = st.columns(2)
    rate_title = _("Error rate by endpoint") if only else _("Error rate by integration")
    with left:

        @panel(rate_title, height=280, help=_("From the ledger."), key="rate-over-time")
        def rate_over_time() -> Figure:
            over = asked("over_time")
            return line(
                told.error_rates(over, part),
                x="at",
                y="share",
                unit="share",
                title=rate_title,
                color=part,
                target=(ERROR_LINE, _("5 % line")),
                events=happened(),
                zero=True,
                height=280,
                drill=failed_behind(over),
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
            doubling = {"duration_from": "duration_from", "duration_to": "duration_to"}
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
                drill=behind({"from_at": "at", "to_at": "until", **doubling}, "n"),
            )

    @panel(
        _("Where and when it fails"),
        height=240,
        help=_(
            "Share of failed calls of each stretch; a cell without colour had no call. A click opens the failed calls."
        ),
        key="failing-cells",
    )
    def failing_cells() -> Figure:
        over = asked("over_time")
        cells, order = told.rate_cells(over, part)
        return heatmap(
            cells,
            x="at",
            y=part,
            value="share",
            unit="share",
            title=_("Where and when it fails"),
            y_order=order,
            note="calls",
            note_title=_("Calls"),
            events=happened(),
            height=min(90 + 40 * len(order), 400),
            drill=failed_behind(over),
        )

    @panel(
        _("Calls over time"), height=220, help=_("All calls by their outcome, from the ledger."), key="calls-over-time"
    )
    def calls_over_time() -> Figure:
        drill = behind({"from_at": "at", "to_at": "until", "status": "status"}, "n")
        return bars(told.by_status(asked("over_time")), "n", _("Calls over time"), "status", drill, height=220)

    if not only:

        @panel(
            _("Failed calls over time"), height=240, help=_("Errors and time-outs in the ledger."), key="failed-calls"
        )
        def failed_calls() -> Figure:
            over = asked("over_time")
            rates = told.error_rates(over, "integration")
            rates = rates[rates["failed"] > 0]
            return bars(rates, "failed", _("Failed calls over time"), "integration", failed_behind(over))


# --- live metrics -----------------------------------------------------------------------------------------------------


def measured(name: str, **more: Any) -> pd.DataFrame:
    """The answer of the metrics over the span, gaps shown as gaps."""
    found = queries.metrics(f"integrations/{name}", {**span.moments, "integrations": only, **more})
    return told.with_gaps(found, [label for label in ("integration", "quantile") if label in found])


def curve(frame: pd.DataFrame, unit: str, title: str, color: str = "integration", **options: Any) -> Figure:
    """An answer of the metrics as lines."""
    return line(
        frame,
        x="time",
        y="value",
        unit=unit,
        title=title,
        color=color,
        events=happened(),
        zero=True,
        height=240,
        **options,
    )


def live() -> None:
    """Rate, errors and latency of the calls, as the backend itself measures them."""
    with st.grid(3, min_column_width=320):

        @panel(_("Call rate"), height=240, help=_("Calls a minute, of all endpoints and replicas."), key="live-rate")
        def call_rate() -> Figure:
            return curve(measured("call_rate"), "/min", _("Call rate"))

        @panel(
            _("Error rate"),
            height=240,
            help=_("Errors and time-outs over all calls; no line where nothing was called."),
            key="live-errors",
        )
        def error_rate() -> Figure:
            return curve(measured("error_rate"), "share", _("Error rate"), target=(ERROR_LINE, _("5 % line")))

        @panel(
            _("Latency (p50, p95, p99)") if only else _("Latency, p95"),
            height=240,
            help=_("Over all endpoints and replicas (sum by le), interpolated within the histogram's bucket."),
            key="live-latency",
        )
        def latency() -> Figure:
            if not only:
                return curve(measured("latency"), "s", _("Latency, p95"))
            parts = [measured("latency", quantile=q).assign(quantile=name) for name, q in told.QUANTILES.items()]
            frame = pd.concat(parts, ignore_index=True)
            frame.attrs = dict(parts[0].attrs)
            return curve(frame, "s", _("Latency (p50, p95, p99)"), "quantile")


if section("live"):
    if queries.is_configured("metrics"):
        live()
    else:
        st.caption(_("No metrics are configured: set MIRADOR_PROMETHEUS_URL. The ledger's panels do not need them."))


# --- before and after a moment, such as a deployment ------------------------------------------------------------------

if section("moment"):
    with st.container(horizontal=True, vertical_alignment="center"):
        middle = span.start + (min(span.end, span.now) - span.start) / 2
        moment = moment_field(middle, now, longest=EARLIEST)
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
        frame = told.before_after(
            asked("summary", start=moment - length, end=moment, fine=True),
            asked("summary", start=moment, end=moment + length, fine=True),
            by=part,
        )
        if frame["calls_before"].sum() + frame["calls_after"].sum() == 0:
            return Figure(None, frame.iloc[:0], drawn=False)
        st.markdown(change_words(frame.iloc[0]))
        return change_table(frame, part, _("All endpoints") if only else _("All integrations"))


# --- onward -----------------------------------------------------------------------------------------------------------

if not instead:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="elsewhere"):
        lead("api_health", _("API health in this period"), "monitor_heart", onward())
        lead("logs", _("Log lines"), "notes", onward())
        lead("errors", _("Errors"), "bug_report", onward())
        lead("traces", _("Traces"), "timeline", onward())
        lead("alerts", _("Alerts"), "notifications", onward())
