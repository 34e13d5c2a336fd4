"""Approvals: are they fine, and where did they change? From the application to the money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
    band_names,
    bar,
    bars_over_time,
    choice_filter,
    day_name,
    duration,
    filter_bar,
    funnel,
    heatmap,
    kpi_row,
    language,
    line,
    number,
    number_card,
    panel,
    pareto,
    percent,
    points,
    quantity,
    sections,
)
from components.filters import tell_refused
from components.url import Url
from queries import approvals

DECIDED = ("approved", "rejected")
LIVE = timedelta(hours=12)


# --- what is asked ------------------------------------------------------------------------------------------------


def params(chosen: Filters) -> dict[str, Any]:
    """A choice as the queries of this page and the lists of rows take it."""
    return {
        "first": chosen.first,
        "last": chosen.last,
        "tiers": chosen.tiers,
        "bands": approvals.bands_named(chosen.segment),
    }


def asked(name: str, chosen: Filters | None = None, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the period (or the compared one)."""
    return queries.ledger(f"approvals/{name}", params(chosen or filters) | more)


def compared(name: str, **more: Any) -> pd.DataFrame | None:
    """The same of the compared period, or None when nothing is compared."""
    return asked(name, filters.other, **more) if filters.other else None


def tiers_known() -> list[str]:
    """The tiers that applications have, for the filter; none while the ledger does not answer."""
    try:
        return approvals.in_order(queries.ledger("approvals/tiers", deadline=2)["tier"].tolist())
    except queries.SourceError:
        return []


def events() -> pd.DataFrame | None:
    """The events of the period, unless they are switched off."""
    return queries.events(filters.first, filters.last) if filters.events else None


def known(frame: pd.DataFrame, count: str) -> pd.DataFrame:
    """The frame, or none of its rows when they count nothing: the panel then says that there is no data."""
    return frame if frame[count].sum() else frame.iloc[:0]


def decisions(**more: Any) -> Drill:
    """A click that opens decisions of the period."""
    by, count = more.pop("by"), more.pop("count", "decided")
    return Drill("rows/decisions", {**params(filters), **more}, by=by, count=count)


def applications(**more: Any) -> Drill:
    """A click that opens applications submitted in the period."""
    by, count = more.pop("by"), more.pop("count", "n")
    return Drill("rows/applications", {**params(filters), **more}, by=by, count=count)


# --- words --------------------------------------------------------------------------------------------------------


def words() -> dict[Any, str]:
    """What the ledger calls it, in the viewer's language."""
    return {
        "submitted": _("Submitted"),
        "scored": _("Scored"),
        "approved": _("Approved"),
        "disbursed": _("Disbursed"),
        "rejected": _("Rejected"),
        "withdrawn": _("Withdrawn"),
        "pending": _("Pending"),
        "low_hase_score": _("Low HASE score"),
        "high_debt_ratio": _("High debt ratio"),
        "incomplete_documents": _("Incomplete documents"),
        "kyc_failed": _("Identity not verified"),
        "vehicle_not_eligible": _("Vehicle not eligible"),
        "granted": _("Granted"),
        "not_granted": _("Not granted"),
        "p50": _("Half of them (p50)"),
        "p90": _("Nine of ten (p90)"),
    }


def weekdays() -> dict[Any, str]:
    """Weekdays by number, Monday first."""
    return dict(enumerate((_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun")), start=1))


def signed(points_: float) -> str:
    """+1.2 pp."""
    return f"{'+' if points_ > 0 else ''}{number(points_, 1)} {_('pp')}"


def judgement(said: approvals.Verdict) -> str:
    """Whether the rate is fine, in a sentence."""
    facts = {
        "rate": f"**{percent(said.rate)}**",
        "approved": number(said.approved),
        "decided": number(said.decided),
        "threshold": percent(threshold, 0),
        "low": percent(said.low),
        "high": percent(said.high),
    }
    if said.level == "unknown":
        return f":gray[:material/remove:] {_('Nothing was decided in this period.')}"
    if said.level == "above":
        mark, sentence = (
            ":green[:material/check_circle:]",
            _("Fine: {rate} approved, above the threshold of {threshold}."),
        )
    elif said.level == "below":
        mark, sentence = ":red[:material/error:]", _("Too low: {rate} approved, below the threshold of {threshold}.")
    else:
        mark = ":orange[:material/help:]"
        sentence = _("Near the threshold of {threshold}: {rate} approved, too few decisions to tell.")
    counts = _("{approved} of {decided} decided, 95 % interval {low} to {high}.")
    return f"{mark} {sentence.format(**facts)} :gray[{counts.format(**facts)}]"


def movement(said: approvals.Verdict, leaders: list[str]) -> str:
    """How far the rate moved from the compared period, whether chance explains it, and who made it."""
    if pd.isna(said.change):
        return ""
    change = f"**{signed(said.change * 100)}**"
    interval = _("95 % interval {low} to {high}").format(
        low=signed(said.change_low * 100), high=signed(said.change_high * 100)
    )
    interval = interval[0].upper() + interval[1:]
    if not said.changed:
        sentence = _("{change} against {before} in the compared period: no more than chance makes.")
        told = sentence.format(change=change, before=percent(said.before))
        return f":gray[:material/drag_handle:] {told} :gray[{interval}.]"
    up = said.change > 0
    mark = ":green[:material/arrow_upward:]" if up else ":red[:material/arrow_downward:]"
    sentence = _("{change} against {before} in the compared period: more than chance makes.")
    most = _("Most of it from {segments}.").format(segments=", ".join(leaders)) if leaders else ""
    told = sentence.format(change=change, before=percent(said.before))
    return f"{mark} {told} {most} :gray[{interval}.]"


def leaders() -> list[str]:
    """The tier and the HASE band that make up most of the change, in its own direction."""
    found = []
    for by, dimension, names in (("tier", _("tier"), {"": _("(none)")}), ("band", _("HASE band"), band_names())):
        then = compared(f"by_{by}")
        if then is None:
            continue
        frame = approvals.contributions(asked(f"by_{by}"), then, by)
        same = frame[frame["contribution"] * frame["contribution"].sum() > 0]
        if not same.empty:
            top = same.iloc[0]
            found.append(f"{dimension} {names.get(top[by], top[by])} ({signed(top['points'])})")
    return found


def last_hour(frame: pd.DataFrame) -> str:
    """The newest moment of the live hour, in a sentence."""
    if frame.empty:
        return f":gray[{_('The metrics have no decisions in these hours.')}]"
    last = frame.iloc[-1]
    if round(last["decided"]) == 0:
        return f":gray[{_('No decision in the last hour.')}]"
    about = {"approved": number(round(last["approved"])), "decided": number(round(last["decided"]))}
    sentence = _("About {approved} approved of {decided} decided in the last hour").format(**about)
    return f"{sentence}: **{percent(last['approval_rate'])}**"


def since_before(about: float, low: float, high: float) -> str:
    """The median time since the step before with its bounds, as the funnel says it: ≈ 9.5 h (9.1–9.9)."""
    if pd.isna(about):
        return ""
    least, most = duration(low), duration(high)
    if least.split()[-1] == most.split()[-1]:
        least, most = least.split()[0], most.split()[0]
    return f"≈ {duration(about)} ({least}–{most})"


# --- the numbers on top -------------------------------------------------------------------------------------------


def applications_submitted() -> Number:
    """Applications submitted in the period."""
    now, then = asked("cohorts"), compared("cohorts")
    return Number(
        now["n"].sum(),
        "count",
        now,
        other=None if then is None else then["n"].sum(),
        better="up",
        definition=_("Applications submitted in the period."),
        note=_("{n} a day").format(n=number(now["n"].sum() / filters.days, 1)) if filters.days > 1 else "",
    )


def rate_decided() -> Number:
    """The approval rate of the decisions of the period."""
    now, then = asked("by_day"), compared("by_day")
    said = approvals.verdict(now, then, threshold)
    return Number(
        said.rate,
        "share",
        now,
        other=said.before,
        better="up" if said.changed else "none",
        definition=kpi.definition.in_language(language()),
        note="" if pd.isna(said.low) else f"{percent(said.low)} – {percent(said.high)}",
    )


def principal_approved() -> Number:
    """MXN of the credits that came of the approvals of the period."""
    now, then = asked("by_day"), compared("by_day")
    return Number(
        sum(now["principal"]),
        "mxn",
        now,
        other=None if then is None else sum(then["principal"]),
        better="up",
        definition=_("Principal of the credits of the applications approved in the period."),
    )


def granted() -> Number:
    """How much of what was asked for the approvals of the period granted."""
    now, then = asked("by_tier"), compared("by_tier")
    asked_for, before = sum(now["requested"]), 0 if then is None else sum(then["requested"])
    return Number(
        float(sum(now["principal"]) / asked_for) if asked_for else None,
        "share",
        now,
        other=float(sum(then["principal"]) / before) if then is not None and before else None,
        definition=_(
            "Of the applications approved in the period: the principal of their credits of what they asked for."
        ),
        note=_("of {amount} asked for").format(amount=quantity(asked_for, "mxn", short=True)),
    )


def pending() -> Number:
    """Applications that wait for a decision at the end of the period."""
    now, then = asked("pending"), compared("pending")
    return Number(
        now["pending"].iloc[0],
        "count",
        now,
        other=None if then is None else then["pending"].iloc[0],
        better="down",
        definition=_("Applications submitted and not decided at the end of the period, whenever they were submitted."),
        note=_("now")
        if filters.unfinished
        else _("at the end of {day}").format(day=day_name(filters.last, style="d MMM")),
    )


def median_time() -> Number:
    """The median time to decision, from classes of times."""
    now, then = asked("decision_times", by_day=False), compared("decision_times", by_day=False)
    low, about, high = approvals.median_seconds(now)
    return Number(
        about,
        "seconds",
        now,
        other=None if then is None else approvals.median_seconds(then)[1],
        better="down",
        definition=_("Median from submission to decision, of those decided in the period; known within 9 %."),
        note="" if pd.isna(about) else f"≈ {duration(low)} – {duration(high)}",
    )


# --- the page -----------------------------------------------------------------------------------------------------

zone = queries.timezone()
today = queries.business_day(zone)
kpi = queries.catalogue()["approval_rate"]
threshold = float(kpi.target or 0)
target = (threshold, _("Threshold {value}").format(value=percent(threshold, 0)))

st.title(_("Approvals"), anchor=False)
below_title = st.empty()
filters = filter_bar(
    today,
    earliest=today - timedelta(days=3 * 365),
    tiers=tiers_known(),
    segment=("band", _("HASE bands"), approvals.BANDS),
)
below_title.caption(filters.caption())

grains = {"auto": _("Auto"), "day": _("Day"), "week": _("Week"), "month": _("Month")}


@panel(
    _("Are approvals fine?"),
    height=64,
    help=_(
        "The approval rate of the period against its threshold and against the compared period. Intervals are 95 %: "
        "Wilson's for a rate, Newcombe's for a difference. What a tier or band adds to the change is its own rate's "
        "change and the change of its share of the decisions (Kitagawa)."
    ),
)
def are_approvals_fine() -> Figure:
    now, then = asked("by_day"), compared("by_day")
    said = approvals.verdict(now, then, threshold)
    st.markdown(judgement(said))
    st.markdown(movement(said, leaders() if said.changed else []))
    return Figure(None, now, drawn=True)


with kpi_row(3):
    number_card(
        _("Applications"), applications_submitted, key="applications-submitted", mark=marked("applications", filters)
    )
    number_card(_("Approval rate"), rate_decided, key="approval-rate-decided", mark=marked("approval_rate", filters))
    number_card(_("Principal approved"), principal_approved, key="principal-approved")
    number_card(_("Granted of requested"), granted, key="granted-of-requested")
    number_card(_("Pending"), pending, key="applications-pending")
    number_card(_("Time to decision"), median_time, key="median-time-to-decision")

url = Url()
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    section = sections(
        {"rate": _("Rate and reasons"), "segments": _("By segment"), "way": _("From submission to money")}, url=url
    )
    chosen = choice_filter(_("By"), tuple(grains), grains, key="by", url=url)
url.write()
tell_refused(url)
grain = approvals.grain_for(filters.first, filters.last) if chosen == "auto" else chosen


def binned(frame: pd.DataFrame, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """A frame by day in the bins of the charts over time."""
    return approvals.fold(frame, grain, filters.first, filters.last, by=by)


if section("rate"):
    over_time, live = st.columns([3, 2])

    with over_time:

        @panel(_("Approval rate, decided"), height=280, help=kpi.definition.in_language(language()))
        def approval_rate() -> Figure:
            then = compared("by_day")
            return line(
                known(approvals.approval_rate(binned(asked("by_day"))), "decided"),
                x="day",
                y="approval_rate",
                low="low",
                high="high",
                unit="share",
                title=_("Approval rate, decided"),
                compare=None if then is None else approvals.approval_rate(binned(filters.shift(then))),
                target=target,
                events=events(),
                today=today,
                height=280,
                drill=decisions(statuses=DECIDED, by={"first": "first", "last": "last"}),
            )

    with live:

        @panel(
            _("The hour before, live"),
            height=280,
            help=_(
                "Approval rate of the decisions of the hour before each moment, from the metrics: about, for "
                "increase() is extrapolated. With few decisions an hour the interval is wide."
            ),
        )
        def live_hour() -> Figure:
            end = datetime.now(UTC).replace(second=0, microsecond=0)
            frame = approvals.live_rate(queries.metrics("approvals/last_hour", {"start": end - LIVE, "end": end}))
            st.markdown(last_hour(frame))
            return line(
                frame,
                x="time",
                y="approval_rate",
                low="low",
                high="high",
                unit="share",
                title=_("The hour before, live"),
                target=target,
                events=queries.events(today - timedelta(days=1), today) if filters.events else None,
                zero=True,
                height=236,
            )

    changed, rejected = st.columns(2)

    with changed:

        @panel(
            _("What made the rate change"),
            height=260,
            help=_(
                "What each segment adds to the change of the approval rate from the compared period, in percentage "
                "points: the change of its own rate and of its share of the decisions. The bars add up to the whole "
                "change."
            ),
        )
        def what_made_it_change() -> Figure:
            dimensions = {"tier": _("By tier"), "band": _("By HASE band")}
            dimension = choice_filter(_("Segment"), tuple(dimensions), dimensions, key="segment")
            then = compared(f"by_{dimension}")
            if then is None:
                st.caption(_("Nothing is compared: choose a period to compare with."))
                return Figure(None, asked(f"by_{dimension}"), drawn=True)
            return bar(
                approvals.contributions(asked(f"by_{dimension}"), then, dimension),
                x=dimension,
                y="points",
                unit="pp",
                title=_("What made the rate change"),
                color=dimension,
                names=band_names() if dimension == "band" else None,
                order=None if dimension == "band" else approvals.TIERS,
                height=212,
                drill=decisions(statuses=DECIDED, by={dimension: dimension}),
            )

    with rejected:

        @panel(
            _("Why applications are rejected"),
            height=260,
            help=_("Applications rejected in the period by reason, the most frequent first, with the running share."),
        )
        def rejection_reasons() -> Figure:
            return pareto(
                asked("reasons"),
                x="reason",
                y="n",
                unit="count",
                title=_("Applications rejected"),
                names=words(),
                height=260,
                drill=decisions(status="rejected", by={"reason": "reason"}, count="n"),
            )


if section("segments"):
    by_tier, by_band = st.columns(2)

    with by_tier:

        @panel(
            _("Approval rate by tier"),
            height=260,
            help=_("Approved over approved and rejected in the period, with its 95 % interval (Wilson)."),
        )
        def approval_rate_by_tier() -> Figure:
            return points(
                approvals.approval_rate(asked("by_tier")),
                x="tier",
                y="approval_rate",
                low="low",
                high="high",
                unit="share",
                title=_("Approval rate by tier"),
                color="tier",
                order=approvals.in_order(asked("by_tier")["tier"].tolist()),
                target=target,
                drill=decisions(statuses=DECIDED, by={"tier": "tier"}),
            )

    with by_band:

        @panel(
            _("Approval rate by HASE band"),
            height=260,
            help=_("Approved over approved and rejected in the period, with its 95 % interval (Wilson)."),
        )
        def approval_rate_by_band() -> Figure:
            return points(
                approvals.approval_rate(asked("by_band")),
                x="band",
                y="approval_rate",
                low="low",
                high="high",
                unit="share",
                title=_("Approval rate by HASE band"),
                color="band",
                names=band_names(),
                target=target,
                drill=decisions(statuses=DECIDED, by={"band": "band"}),
            )

    @panel(
        _("Amount granted of the amount asked for, by tier"),
        height=240,
        help=_("Of the applications approved in the period: the principal of their credits, and what they asked for."),
    )
    def amounts() -> Figure:
        frame = approvals.amounts_stacked(asked("by_tier"), "tier")
        ratios = {
            one.tier: f"{one.tier or _('(none)')} · {percent(one.ratio, 0)}" for one in frame.itertuples(index=False)
        }
        return bar(
            frame,
            x="tier",
            y="mxn",
            unit="mxn",
            title=_("Amount granted of the amount asked for, by tier"),
            color="part",
            order=approvals.in_order(ratios),
            names={**words(), **ratios},
            height=240,
            drill=decisions(status="approved", by={"tier": "tier"}, count="approved"),
        )


if section("way"):
    way, cohort = st.columns(2)

    with way:

        @panel(
            _("From submission to disbursement"),
            height=260,
            help=_(
                "Of the applications submitted in the period, how many were scored, approved and disbursed by now, "
                "with the median time since the step before. Times are known within 9 %: hover a bar for the bounds."
            ),
        )
        def from_submission_to_disbursement() -> Figure:
            frame = known(approvals.funnel(asked("steps")), "n")
            return funnel(
                frame.assign(note=[since_before(one.about, one.low, one.high) for one in frame.itertuples()]),
                x="step",
                y="n",
                unit="count",
                title=_("Applications"),
                names=words(),
                note="note",
                height=260,
                drill=applications(by={"step": "step"}),
            )

    with cohort:

        @panel(
            _("Outcome by day of submission"),
            height=260,
            help=_(
                "Of the applications submitted on a day, the share that is approved, rejected or withdrawn by now, and "
                "the share that is still pending: young days are not decided yet."
            ),
        )
        def cohorts() -> Figure:
            frame = approvals.cohorts(binned(asked("cohorts"), by=("status",)))
            return bars_over_time(
                frame,
                x="day",
                y="share",
                unit="share",
                title=_("Share of those submitted"),
                color="status",
                order=approvals.statuses(frame),
                names=words(),
                events=events(),
                drill=applications(by={"first": "first", "last": "last", "status": "status"}),
            )

    times, hours = st.columns(2)

    with times:

        @panel(
            _("Time to decision"),
            height=300,
            help=_(
                "From submission to decision, of the applications decided on the day. Read from classes that are 9 % "
                "wide: the value lies within the band for certain."
            ),
        )
        def time_to_decision() -> Figure:
            return line(
                known(
                    approvals.decision_times(asked("decision_times"), grain, filters.first, filters.last), "decisions"
                ),
                x="day",
                y="seconds",
                low="low",
                high="high",
                unit="seconds",
                title=_("Time to decision, about"),
                height=300,
                color="quantile",
                order=("p50", "p90"),
                names=words(),
                zero=True,
                events=events(),
                today=today,
                drill=decisions(by={"first": "first", "last": "last"}, count="decisions"),
            )

    with hours:

        @panel(
            _("By hour and weekday of submission"),
            height=300,
            help=_(
                "Applications by the hour and weekday of their submission, or the share approved of those that are "
                "approved or rejected by now. A share of fewer than five is left blank."
            ),
        )
        def by_hour_and_weekday() -> Figure:
            shown = {"submitted": _("Applications"), "rate": _("Approval rate")}
            value = choice_filter(_("Shown"), tuple(shown), shown, key="hours")
            rate = value == "rate"
            frame = known(approvals.hours(asked("hours")), "submitted")
            return heatmap(
                frame.assign(note=[f"{one.approved} / {one.decided}" for one in frame.itertuples()]),
                x="hour",
                y="weekday",
                value="approval_rate" if rate else "submitted",
                unit="share" if rate else "count",
                title=shown[value],
                x_order=list(range(24)),
                y_names=weekdays(),
                x_title=_("Hour"),
                note="note" if rate else None,
                note_title=_("Approved of decided"),
                height=252,
                drill=applications(
                    by={"hour": "hour", "weekday": "weekday"},
                    **({"statuses": DECIDED, "count": "decided"} if rate else {"count": "submitted"}),
                ),
            )
