"""Disbursements: how much was sent, how the month will end, how long it took, and who still waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.marks import marked
from components import (
    Drill,
    Figure,
    Filters,
    Number,
    _,
    bars_over_time,
    choice_filter,
    day_name,
    filter_bar,
    histogram,
    kpi_row,
    line,
    money,
    ngettext,
    number,
    number_card,
    panel,
    percent,
    quantity,
    sections,
    step,
    table,
)
from queries import disbursements

UNITS = {"credits": "count", "amount": "mxn"}
KPIS = {"credits": "credits_disbursed", "amount": "disbursed_mxn"}
SLO = round(1 - (queries.catalogue()["disbursed_48h"].target or 0.95), 6)
LIVE_HOURS = 6
QUEUE_ROWS = 200


# --- what is asked ----------------------------------------------------------------------------------------------------


def asked(name: str, chosen: Filters | None = None, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the period (or another choice)."""
    return queries.ledger(f"disbursements/{name}", {**(chosen or filters), **more})


def compared(name: str) -> pd.DataFrame | None:
    """The same for the compared period, or None."""
    return None if filters.other is None else asked(name, filters.other)


def known_tiers() -> pd.DataFrame:
    """The tiers that disbursed credits have, with the first day of each; none while the ledger does not answer."""
    try:
        return queries.ledger("disbursements/tiers", deadline=2)
    except queries.SourceError:
        return pd.DataFrame({"tier": [], "first_day": pd.to_datetime([])})


def happened(since: Any = None, until: Any = None) -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(since or filters.first, until or filters.last) if filters.events else None


def the_month() -> tuple[disbursements.Month, pd.DataFrame]:
    """The month of the period's last day with its projection, and the days that it was made of."""
    daily = asked("daily", **disbursements.month_window(filters.last))
    rest: list[float] = []
    if disbursements.month_of(filters.last) == disbursements.month_of(today):
        so_far = queries.ledger("today/disbursements", {"day": today, "days": queries.normal_days(today)})
        rest = disbursements.rest_of_day(so_far, daily, measure, filters.tiers)
    return disbursements.month(daily, measure, filters.last, today, rest_of_today=rest), daily


def half_time(times: pd.DataFrame | None) -> float | None:
    """Seconds within which half of the credits had their money, in whole hours; None where it is not known."""
    hours = None if times is None else disbursements.hours_until(disbursements.kaplan_meier(times))
    return None if hours is None else hours * 3600.0


def behind(**more: Any) -> dict[str, Any]:
    """What every list of rows of this page is narrowed by."""
    return {"tiers": filters.tiers, **more}


# --- the cards --------------------------------------------------------------------------------------------------------


def credits_disbursed() -> Number:
    now, then = asked("by_day"), compared("by_day")
    credits = disbursements.totals(now).credits
    return Number(
        credits,
        "count",
        now,
        other=None if then is None else disbursements.totals(then).credits,
        better="up",
        definition=_("Credits whose money was sent in the period."),
        note=_("{n} a day").format(n=number(credits / filters.days, 1)) if filters.days > 1 else "",
    )


def amount_disbursed() -> Number:
    now, then = asked("by_day"), compared("by_day")
    return Number(
        disbursements.totals(now).amount,
        "mxn",
        now,
        other=None if then is None else disbursements.totals(then).amount,
        better="up",
        definition=_("Principal of the credits disbursed in the period, in MXN."),
    )


def mean_principal() -> Number:
    now, then = asked("by_day"), compared("by_day")
    return Number(
        disbursements.totals(now).mean,
        "mxn",
        now,
        other=None if then is None else disbursements.totals(then).mean,
        definition=_("Amount disbursed over credits disbursed."),
    )


def median_time() -> Number:
    now, then = asked("times"), compared("times")
    most = disbursements.hours_until(disbursements.kaplan_meier(now), 0.9)
    return Number(
        half_time(now),
        "seconds",
        now,
        other=half_time(then),
        better="down",
        definition=_(
            "Hours, rounded up, within which half of the credits approved in the period had their money; those that "
            "wait count for as long as they have waited (Kaplan-Meier)."
        ),
        note="" if most is None else _("9 of 10 within {hours} h").format(hours=most),
    )


def over_48h() -> Number:
    now, then = asked("over_48h"), compared("over_48h")
    told = disbursements.over_48h(now)
    met = "" if told.share is None else f":material/{'check' if told.share <= SLO else 'close'}: "
    undecided = ngettext("{n} undecided", "{n} undecided", told.undecided).format(n=number(told.undecided))
    return Number(
        told.share,
        "share",
        now,
        other=None if then is None else disbursements.over_48h(then).share,
        better="down",
        definition=_(
            "Of the credits approved in the period and decided, those whose money took more than 48 h or is not sent "
            "after 48 h. Those that wait and whose 48 h are not over are undecided and left out."
        ),
        note=f"{met}{_('SLO {share}').format(share=percent(SLO, 0))} · {undecided}",
    )


def waiting_in_all() -> Number:
    now, then = asked("waiting_now"), compared("waiting_then")
    return Number(
        int(now["credits"].iloc[0]),
        "count",
        now,
        other=None if then is None else int(then["credits"].iloc[0]),
        better="down",
        definition=_("Credits approved, not disbursed and not cancelled, against the end of the compared period."),
        note=money(now["amount"].iloc[0]),
    )


# --- words ------------------------------------------------------------------------------------------------------------


def states() -> dict[str, str]:
    """What became of the 48 hours, in the viewer's language."""
    return {"over": _("Over 48 h"), "undecided": _("Undecided")}


def change(value: Any, before: Any) -> str | None:
    """+12.3 % against another value."""
    if not before:
        return None
    share = float(value) / float(before) - 1
    return f"{'+' if share > 0 else ''}{percent(share)}"


def target_of_month() -> float | None:
    """The catalogue's target of the measure. It is the whole company's: none where tiers are chosen."""
    return None if filters.tiers else queries.catalogue()[KPIS[measure]].monthly_target


def month_facts(month: disbursements.Month) -> None:
    """What came, how it may end, and what it is measured by."""
    target, end = target_of_month(), month.projected
    ended = _("than last month")

    def short(value: Any) -> str:
        return quantity(round(value) if measure == "credits" and not pd.isna(value) else value, unit, short=True)

    with st.grid(3, min_column_width=220):
        moved = change(month.to_date, month.before_to_date)
        st.metric(
            _("Whole month") if month.over else _("Month to date"),
            short(month.to_date),
            moved,
            delta_description=None if moved is None else ended if month.over else _("than last month by its same day"),
        )
        if not month.over:
            moved = None if pd.isna(end) else change(end, month.before)
            st.metric(
                _("Projected end of the month"),
                short(end),
                moved,
                delta_description=None if moved is None else ended,
                help=_(
                    "The days to come are taken to be like their normal days: same weekday, same position to the "
                    "quincena. In 8 of 10 months the end lies within the band; how wrong the projection was from the "
                    "same day of earlier months is part of it."
                ),
            )
        if target is not None:
            st.metric(
                _("Target of the month"),
                short(target),
                _("{share} reached").format(share=percent(float(month.to_date) / target)),
                delta_color="off",
                delta_arrow="off",
            )
        else:
            st.metric(_("Last month"), short(month.before))
    words = []
    if not month.over:
        words.append(
            _("The month ends between {low} and {high} in 8 of 10 cases.").format(
                low=short(month.low), high=short(month.high)
            )
            if not pd.isna(end)
            else _("There are too few days to project the month's end from.")
        )
    if target is not None and not month.over and not pd.isna(end):
        words.append(_("Projected: {share} of the target.").format(share=percent(end / target)))
    if target is None and not filters.tiers:
        words.append(_("No monthly target is set in the catalogue: last month stands in for it."))
    if target is None and filters.tiers:
        words.append(_("A target holds for all tiers together: last month stands in for it."))
    st.caption(" ".join(words))


# --- the page ---------------------------------------------------------------------------------------------------------

today = queries.business_day(queries.timezone())
tiers = known_tiers()
begun = tiers["first_day"].min()

st.title(_("Disbursements"), anchor=False)
below_title = st.empty()
filters = filter_bar(
    today,
    earliest=today - timedelta(days=730) if pd.isna(begun) else min(begun.date(), today),
    tiers=tiers["tier"].tolist(),
)
below_title.caption(filters.caption())

with kpi_row(3):
    number_card(
        _("Credits disbursed"), credits_disbursed, key="credits_disbursed", mark=marked("credits_disbursed", filters)
    )
    number_card(_("Amount disbursed"), amount_disbursed, key="amount_disbursed", mark=marked("disbursed_mxn", filters))
    number_card(_("Mean principal"), mean_principal, key="mean_principal")
    number_card(_("Median time"), median_time, key="median_time")
    number_card(_("Over 48 h"), over_48h, key="over_48h")
    number_card(_("Waiting now"), waiting_in_all, key="waiting_in_all")

section = sections({"volume": _("Volume"), "time": _("Time to disburse"), "waiting": _("Waiting and failures")})


if section("volume"):
    measure = choice_filter(
        _("Measure"), ("credits", "amount"), {"credits": _("Credits"), "amount": _("MXN")}, key="measure"
    )
    unit = UNITS[measure]

    @panel(
        _("Disbursements by tier"),
        height=300,
        help=_(
            "Credits by the day on which their money was sent; the dashed line is the total of the compared period."
        ),
    )
    def disbursements_by_tier() -> Figure:
        before = filters.shift(asked("by_day", filters.other)) if filters.other else None
        return bars_over_time(
            asked("by_day"),
            x="day",
            y=measure,
            unit=unit,
            title=_("Disbursements by tier"),
            color="tier",
            compare=before,
            events=happened(),
            today=today,
            bin="auto",
            period=(filters.first, filters.last),
            height=300,
            drill=Drill(
                "rows/disbursed",
                behind(),
                by={"first": "bin_first", "last": "bin_last", "tier": "tier"},
                count="credits",
            ),
        )

    @panel(
        _("{month}, running total").format(month=day_name(filters.last, style="MMMM y").capitalize()),
        height=300,
        help=_(
            "The month of the period's last day: what came, then its projection with its band. The compared line is "
            "last month's running total by day of the month; its last point is the whole month."
        ),
        key="running_total",
    )
    def running_total() -> Figure:
        month, daily = the_month()
        month_facts(month)
        frame = disbursements.running_total(month, daily)
        target = target_of_month()
        return line(
            frame,
            x="day",
            y="total",
            unit=unit,
            title=_("Running total of the month"),
            compare=month.curve.assign(total=month.curve["before"]),
            periods=(day_name(month.first, style="MMMM y").capitalize(), _("Last month")),
            low="low",
            high="high",
            target=None if target is None else (target, _("Target")),
            events=happened(month.first, month.last),
            today=today,
            height=300,
            drill=Drill("rows/disbursed", behind(), by={"first": "first_day", "last": "until"}, count="credits"),
        )


if section("time"):
    distribution, waiting_curve = st.columns(2)

    with distribution:

        @panel(
            _("Hours from approval to disbursement"),
            height=260,
            help=_(
                "Credits approved in the period whose money was sent, by the hours that it took. The last bar holds "
                "all that took longer than {hours} h. Credits that wait still are in the curve beside it."
            ).format(hours=disbursements.MOST_HOURS),
        )
        def hours_to_disbursement() -> Figure:
            shown = disbursements.by_hours(asked("times"))
            sent = int(shown["n"].sum())
            st.caption(ngettext("{n} credit disbursed", "{n} credits disbursed", sent).format(n=number(sent)))
            return histogram(
                shown,
                x="start",
                x2="end",
                y="n",
                unit="count",
                title=_("Credits disbursed"),
                x_title=_("Hours since approval"),
                rules=[(disbursements.SLO_HOURS, "48 h")],
                height=260,
                drill=Drill(
                    "rows/disbursed",
                    behind(approved_first=filters.first, approved_last=filters.last),
                    by={"hours_from": "hours_from", "hours_to": "hours_to"},
                    count="n",
                ),
            )

    with waiting_curve:

        @panel(
            _("Share still waiting after so many hours"),
            height=260,
            help=_(
                "Kaplan-Meier, with a 95 % interval (Greenwood, log-log), of the credits approved in the period. "
                "Credits that wait now count for as long as they have waited; those cancelled first, until they were "
                "cancelled."
            ),
        )
        def still_waiting() -> Figure:
            curve = disbursements.kaplan_meier(asked("times"))
            half, (share, low, high) = disbursements.hours_until(curve), disbursements.still_waiting(curve)
            words = [] if half is None else [_("Half have their money within {hours} h.").format(hours=half)]
            if not pd.isna(share) and pd.isna(low):
                words.append(_("After 48 h {share} still wait.").format(share=percent(share)))
            elif not pd.isna(share):
                words.append(
                    _("After 48 h {share} still wait ({low} to {high}).").format(
                        share=percent(share), low=percent(low), high=percent(high)
                    )
                )
            st.caption(" ".join(words) or "&nbsp;")
            return step(
                disbursements.staircase(curve),
                x="hours",
                y="survival",
                low="low",
                high="high",
                unit="share",
                title=_("Share still waiting"),
                x_title=_("Hours since approval"),
                rules=[(disbursements.SLO_HOURS, "48 h")],
                target=(SLO, _("SLO {share}").format(share=percent(SLO, 0))),
                height=240,
                drill=Drill(
                    "rows/disbursed",
                    behind(approved_first=filters.first, approved_last=filters.last),
                    by={"hours_from": "hours_from", "hours_to": "hours"},
                    count="disbursed",
                ),
            )

    @panel(
        _("Share over 48 h by day of approval"),
        height=240,
        help=_(
            "Of the credits approved on the day, those whose money took more than 48 h, or is not sent after 48 h. "
            "Undecided: they wait, and their 48 h are not over. The day ends between the two."
        ),
    )
    def share_over_48h() -> Figure:
        return bars_over_time(
            disbursements.share_over_48h(asked("over_48h"), filters.first, filters.last),
            x="day",
            y="share",
            unit="share",
            title=_("Share over 48 h"),
            color="state",
            order=["over", "undecided"],
            names=states(),
            target=(SLO, _("SLO {share}").format(share=percent(SLO, 0))),
            events=happened(),
            height=240,
            drill=Drill(
                "rows/over_48h",
                behind(),
                by={"first": "first_day", "last": "last_day", "state": "state"},
                count="n",
            ),
        )


if section("waiting"):

    @panel(
        _("Waiting now, the oldest first"),
        height=420,
        help=_("Credits approved, not disbursed and not cancelled, with the last call to NEON for each that failed."),
    )
    def waiting_now() -> Figure:
        now = asked("waiting_now").iloc[0]
        credits, over = int(now["credits"]), int(now["over_48h"])
        words = ngettext("{n} credit waits for {amount}", "{n} credits wait for {amount}", credits).format(
            n=number(credits), amount=quantity(now["amount"], "mxn")
        )
        late = ngettext("{n} for more than 48 h ({amount})", "{n} of them for more than 48 h ({amount})", over).format(
            n=number(over), amount=quantity(now["over_48h_amount"], "mxn")
        )
        st.markdown(f"{words}; :red[{late}]" if over else words)
        return table(
            asked("waiting", most=QUEUE_ROWS),
            {
                "credit_id": ("link", _("Credit")),
                "tier": ("text", _("Tier")),
                "amount": ("mxn", _("Principal")),
                "approved_at": ("datetime", _("Approved at")),
                "waiting": st.column_config.ProgressColumn(
                    _("Waiting"),
                    format="%.1f h",
                    min_value=0,
                    max_value=disbursements.SLO_HOURS,
                    color="auto-inverse",
                ),
                "over_48h": ("flag", _("Over 48 h")),
                "disbursement_status": ("text", _("Disbursement")),
                "error_code": ("text", _("Last NEON error")),
                "error_message": ("text", _("Message")),
            },
            title=_("Waiting now, the oldest first"),
            key="queue",
        )

    failures, live = st.columns(2)

    with failures:

        @panel(
            _("Failures of NEON"),
            height=220,
            help=_("Calls to NEON that ended in an error or a time-out, by error code, from the ledger."),
        )
        def neon_failures() -> Figure:
            calls = asked("neon_calls")
            made, failed = int(calls["calls"].sum()), int(calls["failed"].sum())
            st.caption(
                _("{failed} of {calls} calls failed: {share}").format(
                    failed=number(failed), calls=number(made), share=percent(failed / made if made else None)
                )
            )
            return bars_over_time(
                calls[calls["failed"] > 0],
                x="day",
                y="failed",
                unit="count",
                title=_("Failed calls"),
                color="failure",
                events=happened(),
                today=today,
                bin="auto",
                period=(filters.first, filters.last),
                height=220,
                drill=Drill(
                    "rows/calls",
                    {"integration": "neon"},
                    by={"first": "bin_first", "last": "bin_last", "status": "status", "error_code": "error_code"},
                    count="failed",
                ),
            )

    with live:

        @panel(
            _("NEON error rate, live"),
            height=220,
            help=_("Share of the calls that failed, by the metrics: the last {hours} hours.").format(hours=LIVE_HOURS),
        )
        def neon_live() -> Figure:
            now = datetime.now(queries.timezone()).replace(second=0, microsecond=0)
            rate = queries.metrics(
                "disbursements/neon_error_rate", {"start": now - timedelta(hours=LIVE_HOURS), "end": now}
            )
            return line(
                rate,
                x="time",
                y="value",
                unit="share",
                title=_("Error rate of NEON"),
                zero=True,
                target=(queries.catalogue()["integration_error_rate"].target or 0.05, _("Limit")),
                events=happened(today - timedelta(days=1), today),
                height=220,
            )
