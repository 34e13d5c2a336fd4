"""Late payments: how much is late, since when, does it get worse, and who owes it?"""

from __future__ import annotations

from datetime import date, timedelta
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
    area,
    bar,
    choice_filter,
    day_name,
    dpd_names,
    filter_bar,
    heatmap,
    kpi_row,
    line,
    ngettext,
    number,
    number_card,
    panel,
    pareto,
    quantity,
    sections,
    table,
)
from components.curves import curves
from components.filters import month_filter, tell_refused
from components.url import NOTHING, Url
from queries import late_payments

TIERS = ("AAA", "AA", "A", "B", "C")
OVER_30, OVER_90 = (4, 5, 6), (6,)
ENDED = ("succeeded", "failed")


# --- what is asked ----------------------------------------------------------------------------------------------------


def tiers_since() -> tuple[list[str], date]:
    """The tiers that credits have, strong to weak, and the first day of a disbursement.

    While the ledger does not answer: the usual tiers, two years.
    """
    try:
        found = queries.ledger("disbursements/tiers", deadline=2)
    except queries.SourceError:
        # What the link asks for stays: it may be known again at the next answer.
        asked_for = ["" if name == NOTHING else name for name in st.query_params.get_all("tiers")]
        return list(dict.fromkeys([*TIERS, *asked_for])), today - timedelta(days=730)
    names = sorted(
        found["tier"], key=lambda tier: (TIERS.index(tier) if tier in TIERS else len(TIERS), tier == "", tier)
    )
    return names, today - timedelta(days=730) if found.empty else min(found["first_day"].min().date(), today)


def asked(name: str, chosen: Filters | None = None, **more: Any) -> pd.DataFrame:
    """The answer of a query of this page for the period (or another choice)."""
    return queries.ledger(f"late_payments/{name}", {**(chosen or filters), "as_of": today, **more})


def compared(name: str, **more: Any) -> pd.DataFrame | None:
    """The same of the compared period, its days moved onto this one."""
    return filters.shift(asked(name, filters.other, **more)) if filters.other else None


def happened(first: date) -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(first, filters.last) if filters.events else None


def known(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The frame, or none of it when no row has a value: the panel then says that there is nothing."""
    return frame if frame[column].notna().any() else frame.iloc[:0]


def state_names() -> dict[Any, str]:
    """Where a credit stands at the end of a month, as a viewer reads it."""
    return {-1: _("New in the month"), **dpd_names(), 7: _("Paid off")}


def at_risk_definition(over: int) -> str:
    """PAR in a sentence."""
    return _(
        "Of the scheduled amount that is unpaid at the end of the day, due or not, the share of credits whose oldest "
        "unpaid installment is more than {days} days late."
    ).format(days=over)


def small_section(title: str) -> Any:
    """A heading with room for a choice at its right."""
    head = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    head.subheader(title, anchor=False, width="content")
    return head


zone = queries.timezone()
today = queries.business_day(zone)
names, since = tiers_since()

st.title(_("Late payments"), anchor=False)
below_title = st.empty()
filters = filter_bar(today, earliest=since, tiers=names, segment=("late", _("Days late"), late_payments.LATE))
below_title.caption(
    filters.caption(),
    help=_(
        "An installment is late on a day when it was due before it and is not fully paid by its end. Amounts are as "
        "scheduled, whatever was paid in part. Credits that were charged off stay: they are owed all the same."
    ),
)
notes = []
if filters.segment:
    notes.append(_("The days late narrow the late installments and the list of credits; all else shows every credit."))
if filters.tiers:
    notes.append(_("Payment attempts are of all tiers: they are counted by method."))
if notes:
    st.caption(" ".join(notes))

# Months and vintages need more than the period: they end with its last day and begin a year before.
year_start = min(filters.first.replace(day=1), late_payments.months_before(filters.last))
rolling = {"first": late_payments.months_before(filters.last, late_payments.MONTHS_SHOWN + 1)}
vintage_start = late_payments.months_before(filters.last, 24)
pay_grain = late_payments.grain_of(filters.first, filters.last)

# --- the numbers ------------------------------------------------------------------------------------------------------


def late_number(column: str, unit: str, definition: str) -> Number:
    """Late installments at the end of the period, counted or in MXN, against the end of the compared one."""
    found = asked("buckets")
    past = asked("buckets", filters.other) if filters.other else None
    return Number(
        late_payments.last_of(late_payments.late_by_day(found), column),
        unit,
        found,
        other=None if past is None else late_payments.last_of(late_payments.late_by_day(past), column),
        better="down",
        definition=definition,
    )


def at_risk_number(over: int) -> Number:
    """PAR at the end of the period against the end of the compared one."""
    found = asked("portfolio")
    return Number(
        late_payments.last_of(found, f"par{over}"),
        "share",
        found,
        other=late_payments.last_of(asked("portfolio", filters.other), f"par{over}") if filters.other else None,
        better="down",
        definition=at_risk_definition(over),
        note=part_of(late_payments.last_of(found, f"amount{over}"), late_payments.last_of(found, "amount"), "mxn"),
    )


def share_number(name: str, part: str, whole: str, unit: str, definition: str, **more: Any) -> Number:
    """A part of a whole over the period, against the compared one."""
    found = asked(name, **more)
    value, other = (
        late_payments.ratio(late_payments.total(frame, part), late_payments.total(frame, whole))
        if frame is not None
        else None
        for frame in (found, asked(name, filters.other, **more) if filters.other else None)
    )
    note = part_of(late_payments.total(found, part), late_payments.total(found, whole), unit)
    return Number(value, "share", found, other=other, better="up", definition=definition, note=note)


def part_of(part: Any, whole: Any, unit: str) -> str:
    """$1.5 M / $110 M."""
    return f"{quantity(part, unit, short=True)} / {quantity(whole, unit, short=True)}"


with kpi_row(3):
    number_card(
        _("Late installments"),
        lambda: late_number(
            "installments",
            "count",
            _("Installments past due and not fully paid at the end of the period's last day."),
        ),
        key="late-installments",
        mark=marked("late_installments", filters),
    )
    number_card(
        _("Late amount"),
        lambda: late_number("amount", "mxn", _("Their scheduled amount, whatever was paid in part.")),
        key="late-amount",
    )
    number_card("PAR30", lambda: at_risk_number(30), key="par30")
    number_card("PAR90", lambda: at_risk_number(90), key="par90")
    number_card(
        _("Collection efficiency"),
        lambda: share_number(
            "collection",
            "collected_by_last",
            "due",
            "mxn",
            _(
                "Of the scheduled amount that fell due in the period, the share paid in full by the period's last day: "
                "so both periods had the same time to collect."
            ),
            grain="week",
        ),
        key="collection-efficiency",
    )
    number_card(
        _("Payment success"),
        lambda: share_number(
            "payments",
            "succeeded",
            "attempts",
            "count",
            _("Attempts that succeeded, of those that succeeded or failed in the period."),
            grain=pay_grain,
        ),
        key="payment-success",
        mark=marked("payment_success", filters),
    )

section = sections(
    {
        "late": _("Late"),
        "moves": _("Buckets and vintages"),
        "collection": _("Collection"),
        "owed": _("Largest credits"),
    },
    headings=False,
)


if section("late"):
    # --- late now, and day by day -------------------------------------------------------------------------------------

    with small_section(_("Late installments")):
        measure = choice_filter(
            _("Measure"), ("installments", "amount"), {"installments": _("Count"), "amount": "MXN"}, key="measure"
        )
    unit = "count" if measure == "installments" else "mxn"
    late_rows = Drill(
        "rows/installments", {"tiers": filters.tiers}, by={"as_of": "day", "bucket": "bucket"}, count="installments"
    )

    by_day, by_bucket = st.columns([3, 2])

    with by_day:

        @panel(
            _("Late at the end of each day"),
            height=300,
            help=_(
                "Installments due before the day and not fully paid by its end, by days past due. Amounts are as "
                "scheduled."
            ),
        )
        def late_over_time() -> Figure:
            return area(
                asked("buckets"),
                x="day",
                y=measure,
                unit=unit,
                title=_("Late installments"),
                color="bucket",
                names=dpd_names(),
                events=happened(filters.first),
                today=today,
                height=300,
                drill=late_rows,
            )

    with by_bucket:

        @panel(
            _("Late on {day}").format(day=day_name(filters.last, style="d MMM y")),
            height=300,
            help=_("By days past due at the end of the period's last day; the mark on a bar is the compared period's."),
            key="late_by_bucket",
        )
        def late_by_bucket() -> Figure:
            before = late_payments.late_by_bucket(asked("buckets", filters.other)) if filters.other else None
            return bar(
                late_payments.late_by_bucket(asked("buckets")),
                x="bucket",
                y=measure,
                unit=unit,
                title=_("Late installments"),
                color="bucket",
                names=dpd_names(),
                compare=before,
                height=300,
                drill=late_rows,
            )

    # --- portfolio at risk --------------------------------------------------------------------------------------------

    def at_risk(over: int, buckets: tuple[int, ...]) -> Figure:
        """PAR over so many days, day by day, before the compared period."""
        return line(
            known(asked("portfolio"), f"par{over}"),
            x="day",
            y=f"par{over}",
            unit="share",
            title=f"PAR{over}",
            compare=compared("portfolio"),
            events=happened(filters.first),
            today=today,
            zero=True,
            height=240,
            drill=Drill(
                "rows/credits",
                {"tiers": filters.tiers, "buckets": buckets},
                by={"as_of": "day"},
                count=f"credits{over}",
            ),
        )

    par30, par90 = st.columns(2)

    with par30:

        @panel(_("Portfolio at risk, 30 days"), height=240, help=at_risk_definition(30))
        def par_30() -> Figure:
            return at_risk(30, OVER_30)

    with par90:

        @panel(_("Portfolio at risk, 90 days"), height=240, help=at_risk_definition(90))
        def par_90() -> Figure:
            return at_risk(90, OVER_90)


if section("moves"):
    # --- from bucket to bucket ----------------------------------------------------------------------------------------

    url = Url()
    with small_section(_("From bucket to bucket")):
        month = month_filter(
            url,
            _("Month"),
            late_payments.ended_months(filters.last, today),
            key="month",
            label_visibility="collapsed",
            width=140,
        )
    url.write()
    tell_refused(url)
    moves, cures = st.columns(2)

    with moves:

        @panel(
            _("Roll rates, {month}").format(month=day_name(month, style="MMMM y")),
            height=330,
            help=_(
                "Of the credits in a bucket at the end of the month before (a row), the share in each bucket at this "
                "month's end: a row adds up to 100 %. A credit's bucket is that of its oldest unpaid installment."
            ),
            key="roll_rates",
        )
        def roll_rates() -> Figure:
            return heatmap(
                late_payments.roll_rates(asked("rolls", **rolling), month),
                x="to_bucket",
                y="from_bucket",
                value="share",
                unit="share",
                title=_("Share of the row"),
                x_names=state_names(),
                y_names=state_names(),
                x_title=_("At the month's end"),
                y_title=_("Month before"),
                text=True,
                domain=(0, 1),
                note="of",
                note_title=_("Credits"),
                height=330,
                drill=Drill(
                    "rows/credits",
                    {"tiers": filters.tiers},
                    by={
                        "as_of_before": "before",
                        "bucket_before": "from_bucket",
                        "as_of": "as_of",
                        "bucket": "to_bucket",
                    },
                    count="credits",
                ),
            )

    with cures:

        @panel(
            _("Cure rate by days late"),
            height=330,
            help=_(
                "Of the credits that were late at the end of a month, the share that is current or paid off at the end "
                "of the next, by their bucket before."
            ),
        )
        def cure_rate() -> Figure:
            return line(
                late_payments.cure_rates(asked("rolls", **rolling)),
                x="month",
                y="share",
                unit="share",
                title=_("Cure rate"),
                color="from_bucket",
                names=dpd_names(),
                events=happened(rolling["first"]),
                zero=True,
                height=330,
                drill=Drill(
                    "rows/credits",
                    {"tiers": filters.tiers, "buckets": (0, 7)},
                    by={"as_of_before": "before", "bucket_before": "from_bucket", "as_of": "as_of"},
                    count="cured",
                    title=_("Cured credits"),
                ),
            )

    # --- vintages -----------------------------------------------------------------------------------------------------

    with small_section(_("Vintages")):
        shape = choice_filter(
            _("Shape"), ("curves", "triangle"), {"curves": _("Curves"), "triangle": _("Triangle")}, key="vintages"
        )

    @panel(
        _("Over 30 days late by months on book"),
        height=330,
        help=_(
            "Of the credits disbursed in a month, the share whose oldest unpaid installment is more than 30 days late "
            "at the end of each later month. Months on book count from the month of disbursement."
        ),
        key="vintage_curves",
    )
    def vintage_curves() -> Figure:
        found = late_payments.named_vintages(asked("vintages", first=vintage_start))
        drill = Drill(
            "rows/credits",
            {"tiers": filters.tiers, "buckets": OVER_30},
            by={"disbursed_first": "vintage", "disbursed_last": "vintage_end", "as_of": "as_of"},
            count="late30",
        )
        if shape == "curves":
            return curves(
                found,
                x="month_on_book",
                y="share",
                unit="share",
                title=_("Over 30 days late"),
                cohort="vintage",
                x_title=_("Months on book"),
                cohort_title=_("Disbursed in"),
                note="of",
                note_title=_("Credits"),
                height=330,
                drill=drill,
            )
        return heatmap(
            found,
            x="month_on_book",
            y="name",
            value="share",
            unit="share",
            title=_("Over 30 days late"),
            x_title=_("Months on book"),
            y_title=_("Disbursed in"),
            text=True,
            note="of",
            note_title=_("Credits"),
            height=max(24 * found["name"].nunique() + 60, 160),
            drill=drill,
        )


if section("collection"):
    # --- collection ---------------------------------------------------------------------------------------------------

    with small_section(_("Collection")):
        grain = choice_filter(_("By due"), ("week", "month"), {"week": _("Week"), "month": _("Month")}, key="due")
    # Long enough a run for what is paid within 30 days to be known of its older part.
    collected_from = min(filters.first, filters.last - timedelta(days=90)) if grain == "week" else year_start
    collecting, defaulting = st.columns(2)

    with collecting:

        @panel(
            _("Collected of what fell due"),
            height=280,
            help=_(
                "Scheduled amount that fell due in the week or month, and the share of it paid by now (in full or in "
                "part) and paid in full within 30 and 7 days. Days that are not over leave their installments out."
            ),
        )
        def collection() -> Figure:
            shares = late_payments.collection_shares(asked("collection", first=collected_from, grain=grain), today)
            return line(
                known(shares, "share"),
                x="period",
                y="share",
                unit="share",
                title=_("Collected"),
                color="horizon",
                names={"now": _("By now"), "30": _("Within 30 days"), "7": _("Within 7 days")},
                events=happened(collected_from),
                today=today,
                height=280,
                drill=Drill(
                    "rows/installments",
                    {"tiers": filters.tiers},
                    by={"due_first": "first_due", "due_last": "last_due"},
                    count="installments",
                ),
            )

    with defaulting:

        @panel(
            _("First-payment default"),
            height=280,
            help=_(
                "Of the first installments that fell due in the month, the share not fully paid at the end of the 30th "
                "day after. Those whose 30th day is not over are undecided and left out. The band is the 95 % interval "
                "(Wilson)."
            ),
        )
        def first_payment_default() -> Figure:
            found = late_payments.first_payment_defaults(asked("first_payments", first=year_start))
            undecided = int(late_payments.total(found, "undecided"))
            if undecided:
                st.caption(
                    ngettext(
                        "{n} first installment is undecided: its 30th day is not over.",
                        "{n} first installments are undecided: their 30th day is not over.",
                        undecided,
                    ).format(n=number(undecided))
                )
            return line(
                known(found, "share"),
                x="month",
                y="share",
                unit="share",
                title=_("First-payment default"),
                low="low",
                high="high",
                events=happened(year_start),
                zero=True,
                height=240 if undecided else 280,
                drill=Drill(
                    "rows/first_payment_defaults",
                    {"tiers": filters.tiers, "as_of": today},
                    by={"due_first": "first_due", "due_last": "last_due"},
                    count="defaulted",
                ),
            )

    # --- payments -----------------------------------------------------------------------------------------------------

    with small_section(_("Payment attempts")):
        reading = choice_filter(
            _("Reading"),
            ("attempts", "amount", "installments"),
            {"attempts": _("By attempts"), "amount": _("By amount"), "installments": _("Paid in the end")},
            key="success",
        )
    succeeding, failing = st.columns([3, 2])

    with succeeding:

        @panel(
            _("Payment success"),
            height=300,
            help=_(
                "By attempts: succeeded of succeeded and failed, by method. By amount: the same in MXN. Paid in the "
                "end: of the installments that fell due, those fully paid by now, however often it was tried. Refunded "
                "and pending attempts count for neither."
            ),
        )
        def payment_success() -> Figure:
            if reading == "installments":
                return line(
                    late_payments.paid_in_the_end(asked("collection", grain=pay_grain)),
                    x="period",
                    y="share",
                    unit="share",
                    title=_("Paid in the end"),
                    events=happened(filters.first),
                    today=today,
                    height=300,
                    drill=Drill(
                        "rows/installments",
                        {"tiers": filters.tiers},
                        by={"due_first": "first_due", "due_last": "last_due"},
                        count="installments",
                    ),
                )
            return line(
                known(asked("payments", grain=pay_grain), "share"),
                x="period",
                y="share" if reading == "attempts" else "amount_share",
                unit="share",
                title=_("Payment success"),
                color="method",
                events=happened(filters.first),
                today=today,
                height=300,
                drill=Drill(
                    "rows/payments",
                    {"statuses": ENDED},
                    by={"first": "first_day", "last": "last_day", "method": "method"},
                    count="attempts",
                ),
            )

    with failing:

        @panel(_("Why payments fail"), height=300, help=_("Failed attempts of the period by failure code, most first."))
        def failure_codes() -> Figure:
            return pareto(
                asked("failures"),
                x="failure_code",
                y="failed",
                unit="count",
                title=_("Failed attempts"),
                drill=Drill(
                    "rows/payments",
                    {"first": filters.first, "last": filters.last, "status": "failed"},
                    by={"failure_code": "failure_code"},
                    count="failed",
                ),
            )


if section("owed"):
    # --- who owes -----------------------------------------------------------------------------------------------------

    with small_section(_("Largest overdue credits")):
        whose = choice_filter(
            _("Credits"), ("open", "all"), {"open": _("Open"), "all": _("Charged off too")}, key="overdue"
        )

    @panel(
        _("Owed now, largest first"),
        height=420,
        help=_(
            "As of now, whatever the period: credits with late installments by what they owe of them, scheduled less "
            "paid in part; the {n} largest. Outstanding is the same of all their installments, due or not. Days late "
            "are those of the oldest. The id leads to the credit."
        ).format(n=late_payments.LARGEST),
        key="largest_overdue",
    )
    def largest_overdue() -> Figure:
        return table(
            asked("largest_overdue", charged_off=whose == "all", size=late_payments.LARGEST),
            {
                "credit_id": ("link", _("Credit")),
                "conductor_id": ("link", _("Driver")),
                "tier": ("text", _("Tier")),
                "status": ("text", _("Status")),
                "principal": ("mxn", _("Principal")),
                "outstanding": ("mxn", _("Outstanding")),
                "overdue": ("mxn", _("Overdue")),
                "installments": ("count", _("Late installments")),
                "oldest_due": ("date", _("Oldest due")),
                "dpd": ("days", _("Days late")),
            },
            title=_("Largest overdue credits"),
            key="overdue",
        )
