"""What the Late payments page works out from its answers: rates, curves and shares; frames in, frames out.

The terms are the field's: days past due (dpd), portfolio at risk (PAR), roll rate, vintage, cure. Buckets are numbers
in the answers: 0 current, 1 to 6 days past due, 7 paid off, -1 disbursed in the month; `BUCKETS` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from queries.statistics import wilson

LATE = ("1-7", "8-15", "16-30", "31-60", "61-90", "90+")
BUCKETS: Mapping[int, str] = {
    -1: "new",
    0: "current",
    **dict(enumerate(LATE, start=1)),
    7: "paid off",
}
MONTHS_SHOWN = 12


def months_before(last: date, months: int = MONTHS_SHOWN) -> date:
    """First day of the month that lies `months - 1` before that of `last`: the months shown then end with it."""
    count = last.year * 12 + last.month - months
    return date(count // 12, count % 12 + 1, 1)


def grain_of(first: date, last: date, *, daily: int = 62, weekly: int = 370) -> str:
    """`day`, `week` or `month`: the finest that leaves few enough marks to read and to hit."""
    days = (last - first).days + 1
    return "day" if days <= daily else "week" if days <= weekly else "month"


def total(frame: pd.DataFrame, column: str) -> Any:
    """Sum of a column, exact for money; 0 of nothing."""
    return sum(frame[column].dropna(), 0)


def ratio(part: Any, whole: Any) -> float | None:
    """Share of a whole; None when there is no whole."""
    return float(part) / float(whole) if whole else None


def late_by_bucket(buckets: pd.DataFrame) -> pd.DataFrame:
    """The last day of `late_payments/buckets`: the rows of that day (day, bucket, late, installments, amount)."""
    return _kept(buckets[buckets["day"] == buckets["day"].max()].reset_index(drop=True), buckets)


def late_by_day(buckets: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/buckets` over its buckets: day, installments, amount (MXN, Decimal)."""
    days = buckets.groupby("day", as_index=False).agg(installments=("installments", "sum"), amount=("amount", "sum"))
    return _kept(days, buckets)


def roll_rates(rolls: pd.DataFrame, month: date) -> pd.DataFrame:
    """Roll rates of one month: from_bucket, to_bucket, credits, all (credits in from_bucket), share, origin, state.

    `share` is credits of all, so that the shares of one from_bucket add up to 1; credits new in the month have their
    row too. `origin` and `state` are the names of the two buckets. N. Siddiqi, Credit Risk Scorecards (2006), on roll
    rate analysis.
    """
    chosen = rolls[rolls["month"] == pd.Timestamp(month)]
    whole = chosen.groupby("from_bucket")["credits"].transform("sum")
    rates = chosen.assign(
        all=whole,
        share=chosen["credits"].astype("float64") / whole.astype("float64"),
        origin=chosen["from_bucket"].map(BUCKETS),
        state=chosen["to_bucket"].map(BUCKETS),
    )
    return _kept(rates.reset_index(drop=True), rolls)


def cure_rates(rolls: pd.DataFrame) -> pd.DataFrame:
    """Cure rates by month and bucket: month, from_bucket, late (name), credits, cured, share.

    A credit that was late at the end of the month before is cured when it is current or paid off at this month's end.
    """
    were_late = rolls[(rolls["from_bucket"] >= 1) & (rolls["from_bucket"] <= len(LATE))]
    cured = were_late["credits"].where(were_late["to_bucket"].isin([0, 7]), 0)
    rates = (
        were_late.assign(cured=cured)
        .groupby(["month", "from_bucket"], as_index=False)
        .agg(credits=("credits", "sum"), cured=("cured", "sum"))
    )
    rates["late"] = rates["from_bucket"].map(BUCKETS)
    rates["share"] = rates["cured"].astype("float64") / rates["credits"].astype("float64")
    return _kept(rates[["month", "from_bucket", "late", "credits", "cured", "share"]], rolls)


def vintage_curves(vintages: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/vintages` with the vintage's name: name (2026-01), besides its columns, oldest first."""
    names = vintages["vintage"].dt.strftime("%Y-%m")
    curves = vintages.assign(name=names).sort_values(["vintage", "month_on_book"], ignore_index=True)
    return _kept(curves, vintages)


def first_payment_defaults(first_payments: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/first_payments` with the 95 % interval of each share: low, high (Wilson); NaN when undecided."""
    low, high = wilson(first_payments["defaulted"].astype("float64"), first_payments["decided"].astype("float64"))
    return _kept(first_payments.assign(low=low, high=high), first_payments)


def collection_shares(collection: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/collection` by horizon: period, first_due, last_due, horizon, due, collected, share.

    `horizon` is `now`, `30` or `7` (days after due); share is NaN when nothing due is old enough for the horizon.
    """
    parts = []
    for horizon, due, collected in (
        ("now", "due", "collected"),
        ("30", "due_30", "collected_30"),
        ("7", "due_7", "collected_7"),
    ):
        part = collection[["period", "first_due", "last_due"]].assign(
            horizon=horizon, due=collection[due], collected=collection[collected]
        )
        parts.append(part)
    shares = pd.concat(parts, ignore_index=True)
    shares["share"] = _share(shares["collected"], shares["due"])
    return _kept(shares, collection)


def success_by_period(payments: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/payments` over its methods, with the columns of its periods, counts, amounts and shares."""
    summed = payments.groupby(["period", "first_day", "last_day"], as_index=False).agg(
        succeeded=("succeeded", "sum"),
        attempts=("attempts", "sum"),
        amount_succeeded=("amount_succeeded", "sum"),
        amount_attempted=("amount_attempted", "sum"),
    )
    summed["share"] = _share(summed["succeeded"], summed["attempts"])
    summed["amount_share"] = _share(summed["amount_succeeded"], summed["amount_attempted"])
    return _kept(summed, payments)


def success_measures(payments: pd.DataFrame, collection: pd.DataFrame) -> pd.DataFrame:
    """Three readings of payment success by period: period, measure, share.

    `measure` is `attempts` (succeeded of succeeded and failed), `amount` (the same in MXN) and `installments` (of the
    installments that fell due in the period, those fully paid by now: paid in the end, however often it was tried).
    """
    summed = success_by_period(payments)
    in_the_end = pd.DataFrame(
        {"period": collection["period"], "share": _share(collection["paid"], collection["installments"])}
    )
    parts = [
        summed[["period", "share"]].assign(measure="attempts"),
        summed[["period"]].assign(share=summed["amount_share"], measure="amount"),
        in_the_end.assign(measure="installments"),
    ]
    return _kept(pd.concat(parts, ignore_index=True)[["period", "measure", "share"]], payments)


def _share(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    """part / whole as float64; NaN where the whole is 0."""
    below = whole.astype("float64")
    return part.astype("float64") / below.where(below != 0, np.nan)


def _kept(frame: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """The frame with the stamp of the answer that it was worked out from."""
    frame.attrs = dict(source.attrs)
    return frame
