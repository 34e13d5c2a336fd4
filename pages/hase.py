"""HASE: how the score is spread, whether it drifts, whether it predicts, and what another cut-off would have done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.marks import marked
from components import (
    Drill,
    Figure,
    Filters,
    _,
    bar,
    choice_filter,
    day_name,
    filter_bar,
    heatmap,
    histogram,
    kpi_row,
    line,
    mark_link,
    number,
    panel,
    percent,
    points,
    sections,
    sentence_of,
    short_money,
    step,
)
from components.filters import month_filter, number_filter, switch_filter, tell_refused
from components.url import Url
from queries import hase

MONTHS_OF_DRIFT = 24
STATES = ("bad", "good")


# --- what is asked ----------------------------------------------------------------------------------------------------


def asked(name: str, chosen: Filters | None = None, *, deadline: float | None = None, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the period (or another choice)."""
    return queries.ledger(f"hase/{name}", {**(chosen or filters), **more}, deadline=deadline)


# For how long the page, before its first panel, waits for the ledger in all: what it then lacks are choices of filters.
HEAD_SECONDS = 4.0
head_until = time.monotonic() + HEAD_SECONDS


def head_seconds(most: float = 2.0) -> float:
    """How long the next question of the head may take; what is remembered is there at once."""
    return min(most, max(head_until - time.monotonic(), 0.05))


def named_by(query: str, column: str, key: str) -> list[str]:
    """The names that the ledger has, for a filter; while it does not answer those that the link asks for."""
    try:
        return [str(name) for name in queries.ledger(f"hase/{query}", {"last": today}, deadline=head_seconds())[column]]
    except queries.SourceError:
        return list(st.query_params.get_all(key))


def first_day() -> date:
    """The first day with a score; two years back while the ledger does not answer."""
    try:
        found = queries.ledger("hase/models", {"last": today}, deadline=head_seconds())["first_day"].min()
    except queries.SourceError:
        found = pd.NaT
    return today - timedelta(days=730) if pd.isna(found) else found.date()


def happened(first: date, last: date) -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(first, last) if filters.events else None


def shared(**more: Any) -> dict[str, Any]:
    """What every list of rows of this page is narrowed by."""
    return {"tiers": filters.tiers, "model_versions": filters.segment, **more}


def month_name(month: date) -> str:
    """May 2026."""
    return day_name(month, style="MMM y")


def stamped(frame: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """The frame with the stamp of the answer that it was worked out from."""
    frame.attrs = dict(source.attrs)
    return frame


# --- the cut-off ------------------------------------------------------------------------------------------------------


def cutoff_of(last: date) -> tuple[int | None, bool]:
    """The cut-off that applied on a day, and whether people wrote it down; else it is estimated."""
    written = hase.written_cutoff(queries.events(last - timedelta(days=730), last, kinds=("cutoff",)))
    if written is not None:
        return written, True
    month = last.replace(day=1)
    span = {"first_month": hase.add_months(month, -2), "last_month": month}
    try:
        # Of all tiers and models: the rule is one, and a tier follows from the score.
        return hase.present_cutoff(queries.ledger("hase/scored_and_approved", span, deadline=head_seconds())), False
    except queries.SourceError:
        return None, False


zone = queries.timezone()
now = datetime.now(zone)
today = queries.business_day(zone)

st.title(_("HASE scores"), anchor=False)
below_title = st.empty()
filters = filter_bar(
    today,
    earliest=first_day(),
    tiers=named_by("tiers", "tier", "tiers"),
    segment=("model_version", _("Model"), named_by("models", "model_version", "model_version")),
)
below_title.caption(filters.caption())

grain = "day" if filters.days <= 62 else "week" if filters.days <= 400 else "month"
found_cutoff, cutoff_written = cutoff_of(filters.last)
outcome_span = hase.outcome_months(filters.first, filters.last, today)
outcome_days = {"first": outcome_span.first, "last": hase.add_months(outcome_span.last, 1) - timedelta(days=1)}
months_asked = {"first_month": outcome_span.first, "last_month": outcome_span.last}


# --- how it is looked at ----------------------------------------------------------------------------------------------


def drift_months() -> list[date]:
    """The months that have scores, the newest first; none while the ledger does not answer."""
    try:
        months = asked("by_month", deadline=head_seconds(), months=MONTHS_OF_DRIFT)["month"]
    except queries.SourceError:
        return []
    return [month.date() for month in sorted(months.unique(), reverse=True)]


url = Url()
with st.container(horizontal=True, vertical_alignment="bottom"):
    width = int(
        choice_filter(
            _("Width of a band"),
            ("10", "5"),
            {"10": _("Bands of 10 points"), "5": _("Bands of 5 points")},
            key="width",
            url=url,
        )
    )
    months = drift_months()
    baseline = looked_at = filters.last.replace(day=1)
    if months:
        looked_at, year_before = months[0], hase.add_months(months[0], -12)
        baseline = month_filter(
            url,
            _("Baseline month"),
            months,
            default=year_before if year_before in months else months[-1],
            key="baseline",
            help=_("Drift is measured against this month."),
            width=180,
        )
    present = number_filter(
        url,
        _("Present cut-off"),
        0,
        100,
        default=found_cutoff,
        key="cutoff",
        width=160,
        help=_("As people wrote it down on the page Events.")
        if cutoff_written
        else _(
            "The ledger holds no cut-off and nobody has written one down on the page Events: this is the score that "
            "best tells the approved from the others in the last three months. Put in the real one."
        ),
    )
url.write()
tell_refused(url)
bands = [hase.band_name(band, width) for band in range(0, 100, width)]
of_band = {"score_from": "score_from", "score_to": "score_to"}


# --- the numbers ------------------------------------------------------------------------------------------------------


def outcomes(*, trend: bool = False) -> pd.DataFrame:
    """Outcomes of the months looked at; with `trend` of at least twelve."""
    begin = min(outcome_span.first, hase.add_months(outcome_span.last, 1 - hase.SETTLED_MONTHS))
    answer = asked("outcomes", first_month=begin, last_month=outcome_span.last)
    return answer if trend else stamped(answer[answer["month"] >= pd.Timestamp(outcome_span.first)], answer)


def points_of(change: float, decimals: int = 1) -> str:
    """A change of a share in percentage points."""
    return f"{number(change * 100, decimals)} {_('pp')}"


def signed(change: float, words: Callable[[float], str]) -> str | None:
    """A change with its sign; nothing when it is not known, or rounds to nothing."""
    if math.isnan(change):
        return None
    told = words(change)
    return (f"+{told}" if change > 0 else told) if any(digit in told for digit in "123456789") else words(0.0)


def said_of_drift(psi: float, month: date, baseline: date) -> str:
    """Whether the scores of a month are spread as those of the baseline month."""
    facts = {"month": month_name(month), "baseline": month_name(baseline), "psi": number(psi, 3)}
    if math.isnan(psi):
        return _("Nothing to compare {month} with {baseline}.").format(**facts)
    if psi >= hase.PSI_ACT:
        mark, words = ":red[:material/error:]", _("The scores have shifted: PSI {psi}, {month} against {baseline}.")
    elif psi >= hase.PSI_LOOK:
        mark, words = (
            ":orange[:material/warning:]",
            _("The scores are shifting: PSI {psi}, {month} against {baseline}."),
        )
    else:
        mark, words = (
            ":green[:material/check_circle:]",
            _("The scores are spread as before: PSI {psi}, {month} against {baseline}."),
        )
    return f"{mark} {words.format(**facts)}"


def said_of_separation(last: pd.Series[Any] | None) -> str:
    """Whether the score tells good from bad credits in the newest month that can be judged."""
    if last is None:
        return _("No settled month has enough bad and good credits to judge the score.")
    facts = {
        "month": month_name(last["month"].date()),
        "gini": percent(last["gini"]),
        "low": percent(last["gini_low"]),
        "high": percent(last["gini_high"]),
    }
    if last["gini_low"] > 0:
        mark, words = (
            ":green[:material/check_circle:]",
            _("It tells good from bad credits: Gini {gini} ({low} to {high}) for {month}."),
        )
    else:
        mark, words = (
            ":red[:material/error:]",
            _("It does not tell good from bad credits: Gini {gini} ({low} to {high}) for {month}."),
        )
    return f"{mark} {words.format(**facts)}"


@panel(
    _("Is the score fine?"),
    height=150,
    help=_(
        "The period against the compared one. PSI of the month that the period ends in, against the baseline month. "
        "Gini of the newest month of approval that is settled and has enough bad credits, against the month before it."
    ),
)
def is_the_score_fine() -> Figure:
    answer = asked("distribution")
    told = hase.summary(hase.counts_by_score(answer), present)
    nothing = hase.Summary(0, math.nan, math.nan, math.nan)
    then = nothing
    if filters.other:
        then = hase.summary(hase.counts_by_score(asked("distribution", filters.other)), present)
    scores = told.scores / then.scores - 1 if then.scores else math.nan
    drifts = hase.psi_by_month(asked("by_month", months=MONTHS_OF_DRIFT), baseline).set_index("month")["psi"]
    this_month = filters.last.replace(day=1)
    # Against itself a month has no drift, which says nothing.
    psi = math.nan if this_month == baseline else float(drifts.get(pd.Timestamp(this_month), math.nan))
    psi_then = math.nan
    if filters.other:
        psi_then = float(drifts.get(pd.Timestamp(filters.other.last.replace(day=1)), math.nan))
    separated = hase.separation_by_month(outcomes(trend=True)).dropna(subset=["gini"])
    gini = float(separated["gini"].iloc[-1]) if len(separated) else math.nan
    gini_then = float(separated["gini"].iloc[-2]) if len(separated) > 1 else math.nan
    last = hase.last_separation(separated)
    # A change within the newest month's own interval has no colour.
    sure = last is not None and not last["gini_low"] <= gini_then <= last["gini_high"]
    st.markdown(said_of_drift(psi, this_month, baseline))
    st.markdown(said_of_separation(last))

    def decimal(value: float) -> str:
        return number(value, 1)

    cards = [
        (_("Scores"), number(told.scores), signed(scores, percent), "off", ""),
        (_("Mean"), decimal(told.mean), signed(told.mean - then.mean, decimal), "off", ""),
        (_("Median"), decimal(told.median), signed(told.median - then.median, decimal), "off", ""),
        (
            _("Below the cut-off"),
            percent(told.below),
            signed(told.below - then.below, points_of),
            "off",
            _("Scores below {score}.").format(score="–" if present is None else present),
        ),
        (
            _("PSI of the month"),
            number(psi, 3),
            signed(psi - psi_then, lambda value: number(value, 3)),
            "inverse" if psi >= hase.PSI_LOOK else "off",
            _("{month} against {baseline}.").format(month=month_name(this_month), baseline=month_name(baseline)),
        ),
        (
            _("Gini"),
            percent(gini),
            signed(gini - gini_then, points_of),
            "normal" if sure else "off",
            _("Against the settled month before."),
        ),
    ]
    with kpi_row(6):
        for label, value, change, sense, meaning in cards:
            same = change is None or not any(digit in change for digit in "123456789")
            st.metric(
                label,
                value,
                change,
                delta_color=sense,  # type: ignore[arg-type]
                delta_arrow="off" if same else "auto",
                help=meaning or None,
            )
    mark_link(marked("hase_mean", filters)())
    return Figure(None, answer, drawn=True)


section = sections(
    {
        "scores": _("Scores"),
        "drift": _("Drift"),
        "prediction": _("Does it predict?"),
        "cutoff": _("Cut-off"),
    }
)


if section("scores"):
    # --- how the score is spread --------------------------------------------------------------------------------------

    @panel(
        _("Scores over time"),
        height=300,
        help=_(
            "Share of each band in the scores of the same day (of the week, of the month in longer periods), so that a "
            "busy day looks like a quiet one. Exact, from the ledger. An application that is scored again counts again."
        ),
    )
    def scores_over_time() -> Figure:
        return heatmap(
            hase.named_bands(asked("over_time", grain=grain, width=width), width),
            x="day",
            y="name",
            value="share",
            unit="share",
            title=_("Share of the band"),
            y_order=bands[::-1],
            events=happened(filters.first, filters.last),
            height=300,
            drill=Drill(
                "rows/scores", shared(), by={"first": "first_day", "last": "last_day", **of_band}, count="scores"
            ),
        )

    spread, metered = st.columns(2)

    with spread:

        @panel(_("Scores of the period"), help=_("How often each score came, point by point. Exact, from the ledger."))
        def scores_of_the_period() -> Figure:
            answer = asked("distribution")
            told = hase.summary(hase.counts_by_score(answer), present)
            rules = [(told.median + 0.5, _("median {score}").format(score=number(told.median, 1)))]
            if present is not None:
                rules.append((present, _("cut-off {score}").format(score=present)))
            counts = answer.groupby("score", as_index=False)["scores"].sum()
            return histogram(
                # A bar is one point wide, also where few scores came.
                stamped(counts.assign(above=counts["score"] + 1), answer),
                x="score",
                x2="above",
                y="scores",
                unit="count",
                title=_("Scores"),
                x_title=_("HASE score"),
                rules=rules,
                drill=Drill(
                    "rows/scores",
                    shared(first=filters.first, last=filters.last),
                    by={"score_from": "score", "score_to": "score"},
                    count="scores",
                ),
            )

    with metered:

        @panel(
            _("Beside the metrics"),
            help=_(
                "The Prometheus histogram of the same days: what it grew by, then the differences between its bounds, "
                "then divided by the points that each bucket spans, because the buckets are of uneven width. About, "
                "not exactly: increase() is extrapolated. The ledger's scores in the same buckets are exact. The "
                "metrics know no tiers and no models, so both are of all scores."
            ),
        )
        def beside_the_metrics() -> Figure | None:
            exact = hase.counts_by_score(asked("distribution", tiers=(), model_version=()))
            start = datetime(filters.first.year, filters.first.month, filters.first.day, tzinfo=zone)
            after = filters.last + timedelta(days=1)
            end = min(
                datetime(after.year, after.month, after.day, tzinfo=zone),
                datetime.now(zone).replace(second=0, microsecond=0),
            )
            seconds = max(int(end.timestamp() - start.timestamp()), 60)
            try:
                answer = queries.metrics("hase/distribution", {"time": end, "range": f"{seconds}s"})
            except queries.SourceError as error:
                st.caption(f":material/settings: {_(sentence_of(error))}")
                return None
            metric = hase.histogram_buckets(answer)
            about, scores = metric["about"].sum(), int(exact.sum())
            gap = about / scores - 1 if scores else math.nan
            words = _("Metrics: about {about} scores. Ledger: {scores} ({gap}).").format(
                about=number(round(about)), scores=number(scores), gap=f"{'+' if gap >= 0 else ''}{percent(gap)}"
            )
            if gap < -0.05:
                words += " " + _("Prometheus does not hold all of the period.")
            st.caption(words)
            return step(
                stamped(hase.side_by_side(exact, metric), answer),
                x="low",
                y="density",
                unit=_("% a point"),
                title=_("Density"),
                x_title=_("HASE score"),
                color="source",
                order=("ledger", "metrics"),
                names={"ledger": _("Ledger"), "metrics": _("Metrics (about)")},
                height=270,
            )


if section("drift"):

    def by_segment(segment: str, order: list[str] | None, title: str) -> Figure:
        """Bands within each tier or model, with its median beside its name."""
        answer = asked("distribution")
        parts = hase.named_bands(hase.by_segment(answer, segment, width), width)
        medians = parts.drop_duplicates(segment).set_index(segment)["median"].sort_values(ascending=False)
        rows = [name for name in order if name in medians.index] if order else list(medians.index)
        return heatmap(
            stamped(parts, answer),
            x="name",
            y=segment,
            value="share",
            unit="share",
            title=title,
            x_order=[band for band in bands if band in set(parts["name"])],
            y_order=rows,
            y_names={name: f"{name or _('(none)')} · {number(medians[name], 1)}" for name in rows},
            text=parts["name"].nunique() <= 10,
            height=max(60 + 36 * len(rows), 130),
            drill=Drill(
                "rows/scores",
                shared(first=filters.first, last=filters.last),
                by={"tier" if segment == "tier" else "model_version": segment, **of_band},
                count="scores",
            ),
        )

    tiers, models = st.columns(2)

    with tiers:

        @panel(
            _("By tier"),
            height=240,
            help=_(
                "Share of each band in the scores of the tier; beside the tier its median. Strong tiers stand at the "
                "top."
            ),
        )
        def by_tier() -> Figure:
            return by_segment("tier", None, _("Share of the tier"))

    with models:

        @panel(
            _("By model version"),
            height=240,
            help=_(
                "Share of each band in the scores of the model version; beside the version its median, oldest at the "
                "top."
            ),
        )
        def by_model() -> Figure:
            return by_segment(
                "model_version", asked("models")["model_version"].tolist(), _("Share of the model version")
            )

    # --- drift --------------------------------------------------------------------------------------------------------

    if months:
        url = Url()
        looked_at = month_filter(
            url, _("Month"), months, key="drift_month", help=_("The month whose bands are shown."), width=180
        )
        url.write()
        tell_refused(url)

    drift, drifted = st.columns(2)

    with drift:

        @panel(
            _("PSI by month"),
            help=_(
                "Population stability index of each month's scores against the baseline month: the sum over ten bands "
                "of (a - e) ln(a / e). From 0.1 look, from 0.25 act. Each band counts half a score more in both "
                "months, so that an empty band stays finite. The month that is not over is counted so far."
            ),
        )
        def psi_by_month() -> Figure:
            answer = asked("by_month", months=MONTHS_OF_DRIFT)
            frame = stamped(hase.psi_by_month(answer, baseline), answer)
            figure = line(
                frame,
                x="month",
                y="psi",
                unit="PSI",
                title="PSI",
                target=[
                    (hase.PSI_LOOK, _("{psi}: look").format(psi=hase.PSI_LOOK)),
                    (hase.PSI_ACT, _("{psi}: act").format(psi=hase.PSI_ACT)),
                ],
                events=happened(frame["month"].min().date(), filters.last) if len(frame) else None,
                today=today,
                zero=True,
                height=270,
                drill=Drill("rows/scores", shared(), by={"first": "month", "last": "last_day"}, count="scores"),
            )
            above = frame[(frame["psi"] > frame["chance"]) & (frame["month"] != pd.Timestamp(baseline))]
            st.caption(
                _("Against {month}. Months beyond what chance alone explains (95 %): {months}.").format(
                    month=month_name(baseline),
                    months=", ".join(month_name(month) for month in above["month"]) or _("none"),
                )
            )
            return figure

    with drifted:

        @panel(
            _("Bands against the baseline"),
            help=_(
                "Share of each band in the month (bar) and in the baseline month (tick); a band's part of PSI in words."
            ),
        )
        def bands_against_the_baseline() -> Figure:
            answer = asked("by_month", months=MONTHS_OF_DRIFT)
            parts = hase.named_bands(hase.psi_of_bands(answer, looked_at, baseline), hase.PSI_WIDTH)
            parts = parts.assign(
                first=pd.Timestamp(looked_at),
                last=min(
                    pd.Timestamp(hase.add_months(looked_at, 1)) - pd.Timedelta(days=1), pd.Timestamp(filters.last)
                ),
            )
            most = parts[parts["psi"] > 0].nlargest(3, "psi")
            st.caption(
                _("{month} against {baseline}: PSI {psi}. Most of it: {bands}.").format(
                    month=month_name(looked_at),
                    baseline=month_name(baseline),
                    psi=number(parts["psi"].sum(), 3),
                    bands=", ".join(f"{one.name} ({number(one.psi, 3)})" for one in most.itertuples(index=False))
                    or "–",
                )
            )
            return bar(
                stamped(parts, answer),
                x="name",
                y="share",
                unit="share",
                title=_("Share of the month"),
                compare=parts.assign(share=parts["baseline_share"]),
                height=270,
                drill=Drill("rows/scores", shared(), by={"first": "first", "last": "last", **of_band}, count="scores"),
            )

    @panel(
        _("Mean by model version"),
        help=_("Mean of the scores by day (week, month in longer periods). A new model version is an event."),
    )
    def mean_by_model() -> Figure:
        return line(
            asked("mean_over_time", grain=grain),
            x="day",
            y="mean",
            unit="score",
            title=_("Mean score"),
            color="model_version",
            events=happened(filters.first, filters.last),
            today=today,
            drill=Drill(
                "rows/scores",
                shared(),
                by={"first": "first_day", "last": "last_day", "model_version": "model_version"},
                count="scores",
            ),
        )


if section("prediction"):
    # --- does it predict ----------------------------------------------------------------------------------------------

    span_words = _("{first} to {last}").format(first=month_name(outcome_span.first), last=month_name(outcome_span.last))
    st.caption(
        _(
            "Credits approved {months}, as known today. Bad: once over 30 days late. Good: never, and disbursed 180 "
            "days ago or earlier. Later months are left out: their bad credits are known sooner than their good ones."
        ).format(months=span_words)
        + (
            " " + _("The period itself has no settled month, so the twelve before are shown.")
            if outcome_span.widened
            else ""
        )
    )

    rates, curves = st.columns([2, 3])

    with rates:

        @panel(
            _("Late rate by score band"),
            help=_(
                "Bad credits of all that are settled (bad or good), with the 95 % Wilson interval. Young credits stand "
                "apart."
            ),
        )
        def late_rate_by_band() -> Figure:
            answer = outcomes()
            told = hase.late_by_band(answer, width)
            scored = told[(told["band"] >= 0) & (told["settled"] > 0)].reset_index(drop=True)
            bad, settled = int(scored["bad"].sum()), int(scored["settled"].sum())
            unscored = int(told.loc[told["band"] < 0, "settled"].sum())
            st.caption(
                _("{bad} bad of {settled} settled; apart: {young} young, {unscored} without a score.").format(
                    bad=number(bad),
                    settled=number(settled),
                    young=number(int(told["young"].sum())),
                    unscored=number(unscored),
                )
            )
            return points(
                stamped(hase.named_bands(scored, width), answer),
                x="name",
                y="rate",
                unit="share",
                title=_("Late rate"),
                low="low",
                high="high",
                x_title=_("HASE score"),
                target=(bad / settled, _("all {share}").format(share=percent(bad / settled))) if settled else None,
                height=270,
                drill=Drill("rows/outcomes", shared(**outcome_days, states=STATES), by=of_band, count="settled"),
            )

    with curves:

        @panel(
            _("Bad and good below each score"),
            help=_(
                "Share of the bad and of the good credits that have at most each score. KS is where the two are "
                "furthest apart: 0 % tells nothing, 100 % tells all apart."
            ),
        )
        def bad_and_good_below_each_score() -> Figure:
            answer = outcomes()
            one = hase.separation_of(answer)
            low, high = hase.gini_interval(one)
            st.caption(
                _("KS {ks} at a score of {at}, Gini {gini} ({low} to {high}).").format(
                    ks=percent(one.ks), at=number(one.at), gini=percent(one.gini), low=percent(low), high=percent(high)
                )
            )
            return step(
                stamped(hase.cumulative_curves(answer), answer),
                x="score",
                y="share",
                unit="share",
                title=_("Share with at most this score"),
                x_title=_("HASE score"),
                color="state",
                order=STATES,
                names={"bad": _("Bad"), "good": _("Good")},
                rules=[(one.at, f"KS {percent(one.ks)}")] if one.bad and one.good else [],
                height=270,
                drill=Drill(
                    "rows/outcomes",
                    shared(**outcome_days),
                    by={"score_from": "score_from", "score_to": "score", "state": "state"},
                    count="credits",
                ),
            )

    def separation(measure: str, title: str) -> Figure:
        """KS or Gini by month of approval, with its interval."""
        answer = outcomes(trend=True)
        frame = hase.separation_by_month(answer)
        return line(
            stamped(frame.assign(settled=frame["bad"] + frame["good"]), answer),
            x="month",
            y=measure,
            low=f"{measure}_low",
            high=f"{measure}_high",
            unit="share",
            title=title,
            zero=True,
            events=happened(frame["month"].min().date(), outcome_days["last"]) if len(frame) else None,
            drill=Drill("rows/outcomes", shared(states=STATES, score_from=0), by={"month": "month"}, count="settled"),
        )

    enough = _("Months with fewer than {least} bad or good credits are gaps.").format(least=hase.LEAST_OF_EACH)
    ginis, distances = st.columns(2)

    with ginis:

        @panel(
            _("Gini by month of approval"),
            help=_(
                "2 AUC - 1, where AUC is how often the good credit of a pair has the higher score: 0 % is a coin, 100 "
                "% is always. 95 % interval by DeLong (1988)."
            )
            + f" {enough}",
        )
        def gini_by_month() -> Figure:
            return separation("gini", _("Gini"))

    with distances:

        @panel(
            _("KS by month of approval"),
            help=_(
                "Greatest distance between the cumulative distributions of bad and good credits. 95 % interval by the "
                "basic bootstrap (Efron and Tibshirani 1993)."
            )
            + f" {enough}",
        )
        def ks_by_month() -> Figure:
            return separation("ks", _("KS"))


if section("cutoff"):
    # --- what if ------------------------------------------------------------------------------------------------------

    url = Url()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tried = number_filter(
            url,
            _("Cut-off to try"),
            0,
            100,
            default=min((60 if present is None else present) + 5, 100),
            slider=True,
            key="try",
            width="stretch",
        )
        strict = switch_filter(
            url,
            _("Refuse exceptions too"),
            key="strict",
            help=_("Credits that were approved below the present cut-off would not have been approved either."),
        )
    url.write()
    tell_refused(url)

    def changes(told: hase.WhatIf) -> None:
        """What the other cut-off would have changed, as four numbers and a sentence."""
        about = "" if told.exact else "≈ "
        numbers = (
            (
                _("Approvals"),
                number(round(told.approvals_then)),
                told.approvals_then - told.approvals_now,
                number,
                "off",
            ),
            (
                _("Late rate"),
                percent(told.late_then),
                told.late_then - told.late_now,
                lambda change: points_of(change, 2),
                "inverse",
            ),
            (
                _("Principal"),
                short_money(told.principal_then),
                told.principal_then - told.principal_now,
                short_money,
                "off",
            ),
            (
                _("Late principal"),
                short_money(told.late_principal_then),
                told.late_principal_then - told.late_principal_now,
                short_money,
                "inverse",
            ),
        )
        with st.grid(4, min_column_width=120, gap="small"):
            for label, value, change, words, sense in numbers:
                st.metric(about + label, value, signed(change, words), delta_color=sense)
        st.caption(
            _("Exact on the past: {lost} credits with a score below {tried} would not have been approved.").format(
                lost=number(int(told.by_score.loc[told.by_score["change"] == "lost", "rows"].sum())), tried=tried
            )
            if told.exact
            else _(
                "Extrapolated: scores from {tried} to {last} are taken to be approved and to pay as those from "
                "{present} to {near} did. How refused applicants would have paid is unknown."
            ).format(tried=tried, last=(present or 0) - 1, present=present, near=min((present or 0) + 9, 100))
        )

    moved, decided = st.columns([3, 2])

    with moved:

        @panel(
            _("Approvals with the other cut-off"),
            help=_(
                "Credits approved in the settled months, by their score: kept, lost, or added. Raising the cut-off is "
                "exact on the past. Lowering it is extrapolated: who was refused would have been approved, and would "
                "have paid, as the ten points above the present cut-off. How refused applicants would really have paid "
                "is unknown; no reject inference is done."
            ),
        )
        def what_if() -> Figure:
            answer = outcomes()
            scored = asked("scored_and_approved", **months_asked)
            told = hase.what_if(answer, scored, present or 0, tried, exceptions=not strict)
            changes(told)
            return histogram(
                stamped(told.by_score, answer),
                x="score",
                y="credits",
                unit="count",
                title=_("Credits"),
                x_title=_("HASE score"),
                color="change",
                order=("kept", "lost", "added"),
                names={"kept": _("Kept"), "lost": _("Lost"), "added": _("Added (extrapolated)")},
                rules=[
                    *([] if present is None else [(present, _("now {score}").format(score=present))]),
                    (tried, _("then {score}").format(score=tried)),
                ],
                drill=Drill("rows/outcomes", shared(**outcome_days), by=of_band, count="rows"),
            )

    with decided:

        @panel(
            _("Decisions by score band"),
            help=_(
                "Applications decided in the period, by the band of their score. Exact, from the ledger; of all models."
            ),
        )
        def decisions_by_band() -> Figure:
            answer = asked("decisions")
            return bar(
                answer,
                x="band",
                y="applications",
                unit="count",
                title=_("Applications"),
                color="status",
                names={
                    -1: _("No score"),
                    **{band: hase.band_name(band, 10) for band in range(0, 100, 10)},
                    "approved": _("Approved"),
                    "rejected": _("Rejected"),
                    "withdrawn": _("Withdrawn"),
                },
                drill=Drill(
                    "rows/decisions",
                    {"first": filters.first, "last": filters.last, "tiers": filters.tiers},
                    by={"band": "band", "status": "status"},
                    count="applications",
                ),
            )
