"""Today: is today normal, what changed, and why? The first page for everyone."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
import streamlit as st

import queries
from app import movements
from app.marks import mark
from components import (
    Card,
    Drill,
    Figure,
    _,
    band,
    bar,
    choice_filter,
    clock,
    day_filter,
    day_name,
    duration,
    kpi_card,
    kpi_row,
    language,
    ngettext,
    panel,
    percent,
    value_name,
    when,
)
from components.filters import events_switch, tell_refused
from components.url import Url
from queries import Movement, Reading

ORDER = {
    name: place
    for place, name in enumerate(("AAA", "AA", "A", "B", "C", "1-7", "8-15", "16-30", "31-60", "61-90", "90+"))
}
CURVES = ("applications", "credits_disbursed", "disbursed_mxn")
# Buckets of days past due as the lists of rows number them.
BUCKETS = {name: number for number, name in enumerate(("1-7", "8-15", "16-30", "31-60", "61-90", "90+"), start=1)}


def label(name: str) -> str:
    """The KPI's name in the viewer's language."""
    return queries.catalogue()[name].label.in_language(language())


def page_of(name: str) -> str | None:
    """The page that explains a KPI, where it is built."""
    path = Path(__file__).with_name(f"{queries.catalogue()[name].page}.py")
    return str(path) if path.exists() else None


def card(name: str, day: date) -> Card:
    """A KPI's reading as a card."""
    # What is known of both sources already says more than an estimate, and costs no question.
    one = queries.reading(name, day, with_metric=mark(name, day) is None)
    kpi = one.kpi
    met = None
    if kpi.target is not None and one.value is not None:
        met = float(one.value) >= kpi.target if kpi.better == "up" else float(one.value) <= kpi.target
    # A copy: the reading is shared by all viewers, the stamp belongs to this drawing.
    shown = (one.segments if len(one.segments) else one.history).copy(deep=False)
    shown.attrs["answer"] = one.answer
    return Card(
        value=one.value,
        unit=kpi.unit,
        state=one.state,
        data=shown,
        definition=definition(one),
        normal=one.normal,
        low=one.low,
        high=one.high,
        target=kpi.target,
        target_met=met,
        history=one.history["value"].tolist(),
        metric_value=one.metric_value,
        metric_gap=one.metric_gap,
    )


def definition(one: Reading) -> str:
    """The KPI's definition, and where it was cut when two sources are compared."""
    words = one.kpi.definition.in_language(language())
    if one.metric_value is None:
        return words
    cut = _("at {clock}").format(clock=clock(one.metric_cut)) if one.metric_cut else _("at the end of the day")
    return f"{words} " + _("The metrics are an estimate; both are cut {cut}.").format(cut=cut)


def sentence(moved: Movement) -> str:
    """What moved, by how much, and the segment that makes up most of it."""
    colour = "green" if moved.reading.state == "good" else "red"
    arrow = "arrow_upward" if movements.is_up(moved) else "arrow_downward"
    said = f":{colour}[:material/{arrow}:] **{label(moved.reading.kpi.name)}**: {movements.how_far(moved)}"
    cause = movements.cause(moved, strong=lambda words: f"**{words}**")
    return f"{said} {cause}" if cause else said


def parts(name: str, dimension: str, title: str, drill: Drill | None = None) -> Figure:
    """A KPI of the day by one dimension, as bars; `drill` finds their rows by the column `key`."""
    one = queries.reading(name, day, with_metric=False)
    shown = one.segments[one.segments["dimension"] == dimension][["segment", "value"]].reset_index(drop=True)
    # As the lists of rows know a segment: buckets by number, no tier as no text.
    shown["key"] = shown["segment"].map(BUCKETS) if dimension == "bucket" else shown["segment"].replace("(none)", "")
    # The scale's own order (strong to weak, early to late); names that nobody foresaw stand at the end.
    shown = shown.sort_values("segment", key=lambda names: names.map(lambda name: ORDER.get(name, len(ORDER))))
    shown.attrs["answer"] = one.answer
    names = {name: name.replace("-", "–") for name in BUCKETS} if dimension == "bucket" else None
    return bar(
        shown,
        x="segment",
        y="value",
        unit=one.kpi.unit,
        title=title,
        color="segment",
        names=names,
        height=200,
        drill=drill,
    )


def movement_table(found: list[Movement], readings: list[Reading]) -> pd.DataFrame:
    """What moved as a table, with the stamp of the oldest answer that was looked at."""
    frame = pd.DataFrame(
        [
            {
                "kpi": one.reading.kpi.name,
                "value": one.reading.value,
                "normal": one.reading.normal,
                "low": one.reading.low,
                "high": one.reading.high,
                "dimension": one.dimension,
                "segment": one.segment,
                "contribution": one.contribution,
            }
            for one in found
        ]
    )
    frame.attrs["answer"] = min((one.answer for one in readings), key=lambda answer: answer.as_of)
    return frame


def _integration(row: object) -> str:
    calls, failed = int(row.calls_hour), int(row.failed_hour)  # type: ignore[attr-defined]
    day_calls, day_failed = int(row.calls_day), int(row.failed_day)  # type: ignore[attr-defined]
    share = failed / calls if calls else math.nan
    if not calls:
        mark, state = ":gray[:material/remove:]", _("quiet")
    elif share > 0.2 and failed >= 3:
        mark, state = ":red[:material/error:]", _("failing")
    elif share > 0.05 and failed >= 2:
        mark, state = ":orange[:material/warning:]", _("degraded")
    else:
        mark, state = ":green[:material/check_circle:]", _("well")
    hour = _("No call in the last hour")
    if calls:
        p95 = duration(float(row.p95_ms) / 1000)  # type: ignore[attr-defined]
        hour = _("{failed} of {calls} failed in the last hour, p95 {p95}").format(failed=failed, calls=calls, p95=p95)
    whole = _("day {share}").format(share=percent(day_failed / day_calls if day_calls else math.nan))
    last = row.last_failure  # type: ignore[attr-defined]
    code = value_name(row.last_error_code)  # type: ignore[attr-defined]
    lines = [hour, whole] + ([] if pd.isna(last) else [f"{_('last error')}: {code}, {when(last)}"])
    small = "  \n".join(f":small[{line}]" for line in lines)
    return f"{mark} **{value_name(row.integration)}** {state}  \n{small}"  # type: ignore[attr-defined]


zone = queries.timezone()
now = datetime.now(zone)
today = queries.business_day(zone)

heading, chooser = st.columns([5, 1], vertical_alignment="bottom")
with chooser:
    day = day_filter(today, earliest=today - timedelta(days=730))
normals = queries.normal_days(day)
with heading:
    st.title(_("Today") if day == today else day_name(day, style="d MMM y"), anchor=False)
    compared = ngettext(
        "compared with {n} comparable day up to the same time",
        "compared with {n} comparable days up to the same time",
        len(normals),
    ).format(n=len(normals))
    until = _("so far, {clock}").format(clock=clock(now)) if day == today else _("the whole day")
    st.caption(
        f"{day_name(day)} · {until} · {compared}",
        help=_(
            "A normal day has the same weekday and the same position to the quincena (the 15th and the end of the "
            "month, "
            "moved to the working day before), and is no public holiday: the last 8 that match. "
            "The band is their 10th to 90th percentile. Days compared: {days}."
        ).format(days=", ".join(other.isoformat() for other in normals) or "–"),
    )

with kpi_row():
    for name in queries.catalogue():
        kpi_card(
            label(name),
            lambda name=name: card(name, day),  # type: ignore[misc]
            key=name,
            page=page_of(name),
            mark=lambda name=name: mark(name, day),  # type: ignore[misc]
        )

url = Url()
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    chosen = choice_filter(_("Curve"), CURVES, {name: label(name) for name in CURVES}, key="curve", url=url)
    explained = events_switch(url)
url.write()
tell_refused(url)
curve, moved = st.columns([3, 2])

with curve:

    @panel(
        _("{kpi} through the day").format(kpi=label(chosen)),
        height=300,
        help=_("Running total of the day against the band of its normal days (10th to 90th percentile)."),
        key="curve-of-the-day",
    )
    def curve_of_the_day() -> Figure:
        frame = queries.intraday(chosen, day)
        return band(
            frame,
            x="minute",
            unit=queries.catalogue()[chosen].unit,
            title=label(chosen),
            day=day,
            events=queries.events(day, day) if explained else None,
            height=300,
        )


with moved:

    @panel(
        _("What moved"),
        height=120,
        help=_(
            "The KPIs furthest outside their normal band, with the segment that explains most of the distance to the "
            "mean of the normal days."
        ),
    )
    def what_moved() -> Figure:
        readings, silent = queries.read_all(day)
        if not readings:
            raise next(iter(silent.values()))
        found = [one for one in queries.kpis.movements(readings) if movements.shows(one)]
        if not found:
            compared = any(one.state != "unknown" for one in readings)
            sign = ":green[:material/check_circle:]" if compared else ":gray[:material/remove:]"
            st.markdown(f"{sign} {movements.nothing_moved(readings, silent)}")
        for one in found:
            st.markdown(sentence(one))
        if silent:
            names = ", ".join(label(name) for name in silent)
            st.caption(_("Not looked at, for their source does not answer: {kpis}.").format(kpis=names))
        return Figure(None, movement_table(found, readings), drawn=True)


tiers, buckets = st.columns(2)

with tiers:

    @panel(
        _("Active credits by tier"),
        height=200,
        help=queries.catalogue()["active_credits"].definition.in_language(language()),
    )
    def active_credits_by_tier() -> Figure:
        rows = Drill(
            "rows/credits",
            {"active_on": day, "as_of": day},
            by={"tier": "key"},
            count="value",
            title=_("Active credits"),
        )
        return parts("active_credits", "tier", _("Active credits by tier"), rows)


with buckets:

    @panel(
        _("Late installments by days past due"),
        height=200,
        help=queries.catalogue()["late_installments"].definition.in_language(language()),
    )
    def late_installments_by_bucket() -> Figure:
        rows = Drill("rows/installments", {"as_of": day}, by={"bucket": "key"}, count="value")
        return parts("late_installments", "bucket", _("Late installments by days past due"), rows)


@panel(
    _("Integrations"),
    height=96,
    help=_("The last hour of each integration, from the ledger's calls: failed ended in an error or a time-out."),
)
def integrations() -> Figure:
    frame = queries.ledger("today/integrations", {"day": day})
    if frame.empty:
        st.caption(_("No integration was called in the last seven days."))
    with st.grid(4, min_column_width=210):
        for row in frame.itertuples():
            with st.container(gap="xsmall"):
                st.markdown(_integration(row))
                page = Path(__file__).with_name("integrations.py")
                if page.exists():
                    st.page_link(
                        page,
                        label=_("Look into it"),
                        icon=":material/arrow_forward:",
                        query_params={"integration": row.integration},
                    )
    return Figure(None, frame, drawn=True)
