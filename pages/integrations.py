"""Integrations: which one fails, since when, how, what it costs the business now, and the calls behind every mark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.marks import mark
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
    number,
    number_card,
    panel,
    percent,
    points,
    short_money,
    span_bar,
    table,
    value_name,
    when,
)
from components.url import Url
from queries import integrations as told

HERE = Path(__file__).parent
ALL = "all"
COST_HOURS = 24
AROUND = {"1h": 1, "6h": 6, "24h": 24}
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
        "normal": "–" if math.isnan(row.waiting_normal) else number(row.waiting_normal, row.waiting_normal % 1 != 0),
        "normal_amount": "–" if math.isnan(row.waiting_normal) else short_money(row.waiting_amount_normal),
    }
    match row.kind:
        case "payment":
            text = _(
                "Payments not collected: {waiting} ({amount}), normally {normal} ({normal_amount}). Failed through it: "
                "{hit} ({hit_amount}); came back on retry: {back}."
            )
        case "credit":
            text = _(
                "Disbursements held up: {waiting} ({amount} not sent), normally {normal} ({normal_amount}). Failed "
                "through it: {hit} ({hit_amount}); came back on retry: {back}."
            )
        case "application":
            text = _(
                "Applications waiting for it: {waiting} ({amount} asked for), normally {normal} ({normal_amount}). Had "
                "a failed call: {hit}; came back on retry: {back}."
            )
        case _:
            text = _("Failed calls that served no application, credit or payment: {hit}.")
    return text.format(**values)


def cost_lines(cost: pd.DataFrame, name: str) -> list[str]:
    """A line a kind of thing that the integration serves; marked where more waits than normally."""
    lines = []
    for row in cost[(cost["integration"] == name) & (cost["hit"] > 0)].itertuples():
        words = cost_words(row)
        over = row.waiting > (0 if math.isnan(row.waiting_normal) else row.waiting_normal)
        lines.append(f":orange[{words}]" if over else words)
    return lines or [_("Nothing waits for it.")]


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


def look_into(name: str) -> None:
    """Choose an integration, as its filter would."""
    st.session_state["integration"] = name


def card(row: Any, whole: Any, metrics: Mapping[str, str], cost: pd.DataFrame) -> None:
    """One integration: its state, the span, the last calls, and what it costs."""
    calls, failed = int(row.calls_hour), int(row.failed_hour)
    state = told.state_of(calls, failed)
    hour = _("No call in the last hour")
    if calls:
        hour = _("{failed} of {calls} failed in the last hour").format(failed=number(failed), calls=number(calls))
    lines = []
    if whole is not None:
        quantiles = " · ".join(f"{q} {ms(getattr(whole, q))}" for q in told.QUANTILES)
        lines.append(
            f"**{per_time(whole.calls)}** · {_('{share} failed').format(share=percent(whole.share))} · {quantiles}"
        )
    else:
        lines.append(_("No call in this period"))
    if row.integration in metrics:
        lines.append(metrics[row.integration])
    lines.append(hour)
    if not pd.isna(row.last_success):
        lines.append(_("Last success {when}").format(when=when(row.last_success)))
    if not pd.isna(row.last_failure):
        code = value_name(row.last_error_code)
        lines.append(_("Last failure {when}: {code}").format(when=when(row.last_failure), code=f"**{code}**"))
    lines += cost_lines(cost, row.integration)
    with st.container(border=True, height="stretch", gap="xsmall"):
        mark = f":{MARKS[state]}[:material/{ICONS[state]}:]"
        small = "  \n".join(f":small[{one}]" for one in lines)
        st.markdown(f"{mark} **{value_name(row.integration)}** {states()[state]}  \n{small}")
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


# --- one call ---------------------------------------------------------------------------------------------------------


def call_facts(one: Any) -> None:
    """The ledger's row in words, and the credit or application that it served, each with a link."""
    failed = one.status != "success"
    mark = ":red[:material/error:]" if failed else ":green[:material/check_circle:]"
    status = value_name(one.status)
    http = "" if pd.isna(one.http_status) else f" · HTTP {int(one.http_status)}"
    code = "" if pd.isna(one.error_code) or not one.error_code else f" · **{value_name(one.error_code)}**"
    st.markdown(
        f"{mark} **{value_name(one.integration)}** `{one.endpoint}` {status}{http}{code} · {ms(one.duration_ms)}"
    )
    if not pd.isna(one.error_message) and one.error_message:
        st.code(one.error_message, language=None, wrap_lines=True)
    left, right = st.columns(2)
    with left:
        st.caption(f"{_('Made')} {one.called_at:%Y-%m-%d %H:%M:%S}")
        for label, value in ((_("Request"), one.request_id), (_("Trace"), one.trace_id)):
            if not pd.isna(value) and value:
                st.caption(label)
                st.code(value, language=None)
        if failed:
            st.caption(
                _("Came back on retry {when}").format(when=when(one.retried_at))
                if not pd.isna(one.retried_at)
                else _("Not come back on retry")
            )
    with right:
        if not pd.isna(one.payment_id):
            st.caption(
                _("Payment {id}: {amount}, {status}").format(
                    id=one.payment_id, amount=money(one.payment_amount), status=value_name(one.payment_status)
                )
            )
        if not pd.isna(one.credit_id):
            st.caption(
                _("It served the credit of {amount} ({status})").format(
                    amount=money(one.principal), status=value_name(one.credit_status)
                )
            )
            st.page_link(HERE / "credit.py", label=one.credit_id, query_params={"id": one.credit_id})
        if not pd.isna(one.application_id):
            st.caption(
                _("Application of {amount} ({status})").format(
                    amount=money(one.amount_requested), status=value_name(one.application_status)
                )
            )
            st.page_link(HERE / "conductor.py", label=one.application_id, query_params={"id": one.conductor_id})
        if pd.isna(one.credit_id) and pd.isna(one.application_id):
            st.caption(_("It served no credit and no application of the ledger."))


def close_call() -> None:
    """Back to the page without the call."""
    if "id" in st.query_params:
        del st.query_params["id"]


def call_panel(call_id: str) -> None:
    """One call, from its id in the URL."""
    if not call_id.isdecimal() or len(call_id) > 18:
        st.warning(_("“{id}” is not the id of a call: it is a number.").format(id=call_id[:40]))
        return

    @panel(_("Call {id}").format(id=call_id), height=180, key="one-call")
    def one_call() -> Figure:
        found = queries.ledger("integrations/call", {"call_id": int(call_id)})
        if found.empty:
            st.caption(_("The ledger has no call {id}.").format(id=call_id))
        else:
            call_facts(next(found.itertuples()))
        return Figure(None, found, drawn=True)

    st.button(_("Close the call"), icon=":material/close:", on_click=close_call, type="tertiary", key="close-call")


# --- the page ---------------------------------------------------------------------------------------------------------

zone = queries.timezone()
now = datetime.now(zone)
today = queries.business_day(zone)
names = known()

st.title(_("Integrations"), anchor=False)
below_title = st.empty()
span = span_bar(now, earliest=today - timedelta(days=730))
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
if st.query_params.get("id"):
    call_panel(st.query_params["id"])


def overview() -> None:
    """All integrations: a card each, then their rates and latencies side by side."""

    @panel(
        _("Integrations"),
        height=260,
        help=_(
            "From the ledger's calls of the period; failed ended in an error or a time-out. What it costs is told of "
            "the last 24 hours, against the median of the normal days (same weekday, same position to the quincena, no "
            "holiday) up to the same time."
        ),
        key="cards",
    )
    def cards() -> Figure:
        latest = queries.ledger("integrations/latest", {})
        summary = asked("summary")
        whole = {row.integration: row for row in told.totals(summary, ["integration"]).itertuples()}
        cost, metrics = costs(), by_metrics() if has_metrics() else {}
        if latest.empty:
            st.caption(_("No integration was called in the last 30 days."))
        with st.grid(2, min_column_width=320):
            for row in latest.itertuples():
                card(row, whole.get(row.integration), metrics, cost)
        mark_link(mark("integration_error_rate", queries.business_day(queries.timezone())))
        frame = latest.merge(told.totals(summary, ["integration"]), on="integration", how="left")
        frame.attrs = dict(summary.attrs)
        return Figure(None, frame, drawn=True)

    left, right = st.columns(2)
    with left:

        @panel(
            _("Failed calls over time"), height=260, help=_("Errors and time-outs in the ledger."), key="failed-calls"
        )
        def failed_calls() -> Figure:
            rates = told.error_rates(asked("over_time"), "integration")
            statuses = told.failures(asked("over_time"))
            return bars_over_time(
                rates[rates["failed"] > 0],
                x="at",
                y="failed",
                unit="count",
                title=_("Failed calls over time"),
                color="integration",
                events=happened(),
                drill=behind(
                    {"from_at": "at", "to_at": "until", "integration": "integration"}, "failed", statuses=statuses
                ),
            )

    with right:

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


def seed_panels() -> None:
    """The three live panels of integration health, from the metrics."""
    st.subheader(_("Live, from the metrics"), anchor=False)
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


def business() -> None:
    """What it costs the business now, and the list of what waits."""

    @panel(
        _("What it costs the business now"),
        height=200,
        help=_(
            "Of the last 24 hours. Normal is the median of the days with the same weekday and position to the "
            "quincena, up to the same time. Listed is what has not come back, the greatest amounts first."
        ),
        key="cost",
    )
    def cost() -> Figure:
        frame = costs()
        st.markdown("  \n".join(cost_lines(frame, chosen)))
        start = now.replace(second=0, microsecond=0) - timedelta(hours=COST_HOURS)
        rows = queries.ledger(
            "integrations/unserved",
            {"integration": chosen, "start": start, "end": start + timedelta(hours=COST_HOURS)},
        )
        if rows.empty:
            return Figure(None, frame[frame["integration"] == chosen], drawn=True)
        rows = rows.assign(call_id=rows["call_id"].astype(str))
        rows["kind"] = rows["kind"].map(
            {"payment": _("Payment"), "credit": _("Disbursement"), "application": _("Application")}
        )
        return table(
            rows,
            {
                "kind": ("text", _("Waits")),
                "amount": ("mxn", _("Amount")),
                "credit_id": "link",
                "application_id": "link",
                "failed_at": ("datetime", _("Failed at")),
                "error_code": ("text", _("Error code")),
                "attempts": ("count", _("Failed calls")),
                "call_id": "link",
            },
            title=_("What it costs the business now"),
            key="unserved",
        )


def endpoints_and_codes() -> None:
    """Where and how it fails."""
    left, right = st.columns(2)
    with left:

        @panel(_("By endpoint"), height=220, help=_("A row opens its calls."), key="endpoints")
        def endpoints() -> Figure:
            shown = table(
                told.totals(asked("summary"), ["endpoint"]),
                {
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
            return replace(shown, drill=behind({"endpoint": "endpoint"}, "calls"))

    with right:

        @panel(
            _("Error codes, first and last seen"),
            height=220,
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
                    "n": ("count", _("Ever")),
                    "first_seen": ("datetime", _("First seen")),
                    "last_seen": ("datetime", _("Last seen")),
                },
                title=_("Error codes, first and last seen"),
            )
            drill = behind({"endpoint": "endpoint", "error_code": "error_code"}, "n_span", statuses=told.failures(over))
            return replace(shown, drill=drill)


def over_time() -> None:
    """Codes, rates and latency over time, each mark with its calls."""

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
            events=happened(),
            drill=behind(
                {"from_at": "at", "to_at": "until", "error_code": "error_code"}, "n", statuses=told.failures(over)
            ),
        )

    left, right = st.columns(2)
    with left:

        @panel(_("Error rate by endpoint"), height=280, help=_("From the ledger."), key="rate-over-time")
        def rate_over_time() -> Figure:
            over = asked("over_time")
            return line(
                told.error_rates(over, "endpoint"),
                x="at",
                y="share",
                unit="share",
                title=_("Error rate by endpoint"),
                color="endpoint",
                target=(0.05, _("5 % line")),
                events=happened(),
                zero=True,
                height=280,
                drill=behind(
                    {"from_at": "at", "to_at": "until", "endpoint": "endpoint"}, "failed", statuses=told.failures(over)
                ),
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
            events=happened(),
            height=220,
            drill=behind({"from_at": "at", "to_at": "until", "status": "status"}, "n"),
        )


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
    st.subheader(_("Before and after a moment"), anchor=False)
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
        frame = told.before_after(*parts)
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
        shown = frame.assign(endpoint=[name or _("All endpoints") for name in frame["endpoint"]])
        columns: dict[str, Any] = {"endpoint": ("text", _("Endpoint"))}
        for column, kind, label in (
            ("calls", "count", _("Calls")),
            ("share", "share", _("Error rate")),
            ("p95", "ms", "p95"),
        ):
            columns[f"{column}_before"] = (kind, _("{what}, before").format(what=label))
            columns[f"{column}_after"] = (kind, _("{what}, after").format(what=label))
        return table(shown, columns, title=_("Before and after a moment"))


if chosen == ALL:
    overview()
    seed_panels()
else:
    numbers()
    business()
    endpoints_and_codes()
    over_time()
    seed_panels()
    compare_moment()

links = span.query_params()
if (HERE / "api_health.py").is_file():
    st.page_link(
        HERE / "api_health.py",
        label=_("API health in this period"),
        icon=":material/monitor_heart:",
        query_params=links,
    )
