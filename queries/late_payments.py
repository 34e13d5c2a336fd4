"""What the Late payments page works out from its answers: rates, curves and shares; frames in, frames out.

The terms are the field's: days past due (dpd), portfolio at risk (PAR), roll rate, vintage, cure. Buckets are numbers
in the answers: 0 current, 1 to 6 days past due, 7 paid off, -1 disbursed in the month.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from queries.statistics import wilson

# The buckets of days past due in words, as the queries have them: bucket n is LATE[n - 1].
LATE = ("1-7", "8-15", "16-30", "31-60", "61-90", "90+")
MONTHS_SHOWN = 12
LARGEST = 100


def months_before(last: date, months: int = MONTHS_SHOWN) -> date:
    """First day of the month that lies `months - 1` before that of `last`: the months shown then end with it."""
    count = last.year * 12 + last.month - months
    return date(count // 12, count % 12 + 1, 1)


def ended_months(last: date, today: date, months: int = MONTHS_SHOWN) -> list[date]:
    """First days of the last months that are over and end by the last day, the latest first."""
    end = min(last, today - timedelta(days=1))
    latest = end.replace(day=1)
    if (end + timedelta(days=1)).day != 1:
        latest = months_before(latest - timedelta(days=1), 1)
    return [months_before(latest, back) for back in range(1, months + 1)]


def grain_of(first: date, last: date) -> str:
    """`day`, `week` or `month`: the finest that leaves few enough marks to read and to hit."""
    days = (last - first).days + 1
    return "day" if days <= 62 else "week" if days <= 400 else "month"


def total(frame: pd.DataFrame, column: str) -> Any:
    """Sum of a column, exact for money; 0 of nothing."""
    return sum(frame[column].dropna(), 0)


def ratio(part: Any, whole: Any) -> float | None:
    """Share of a whole; None when there is no whole."""
    return float(part) / float(whole) if whole else None


def last_of(days: pd.DataFrame, column: str) -> Any:
    """The value of the latest day; None when there is no day or no value."""
    if days.empty:
        return None
    value = days.sort_values("day")[column].iloc[-1]
    return None if pd.isna(value) else value


def late_by_bucket(buckets: pd.DataFrame) -> pd.DataFrame:
    """The last day of `late_payments/buckets`: the rows of that day (day, bucket, late, installments, amount)."""
    return _kept(buckets[buckets["day"] == buckets["day"].max()].reset_index(drop=True), buckets)


def late_by_day(buckets: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/buckets` over its buckets: day, installments, amount (MXN, Decimal)."""
    days = buckets.groupby("day", as_index=False).agg(installments=("installments", "sum"), amount=("amount", "sum"))
    return _kept(days, buckets)


def roll_rates(rolls: pd.DataFrame, month: date) -> pd.DataFrame:
    """Roll rates of one month: the columns of `late_payments/rolls`, all (credits in from_bucket), share, of (words).

    `share` is credits of all, so that the shares of one from_bucket add up to 1; credits new in the month have their
    row too. N. Siddiqi, Credit Risk Scorecards (2006), on roll rate analysis.
    """
    chosen = rolls[rolls["month"] == pd.Timestamp(month)]
    whole = chosen.groupby("from_bucket")["credits"].transform("sum")
    rates = chosen.assign(
        all=whole,
        share=chosen["credits"].astype("float64") / whole.astype("float64"),
        of=[_of(credits, all_) for credits, all_ in zip(chosen["credits"], whole, strict=True)],
    )
    return _kept(rates.reset_index(drop=True), rolls)


def cure_rates(rolls: pd.DataFrame) -> pd.DataFrame:
    """Cure rates by month and bucket: month, before, as_of, from_bucket, credits, cured, share.

    A credit that was late at the end of the month before is cured when it is current or paid off at this month's end.
    """
    were_late = rolls[(rolls["from_bucket"] >= 1) & (rolls["from_bucket"] <= len(LATE))]
    cured = were_late["credits"].where(were_late["to_bucket"].isin([0, 7]), 0)
    rates = (
        were_late.assign(cured=cured)
        .groupby(["month", "before", "as_of", "from_bucket"], as_index=False)
        .agg(credits=("credits", "sum"), cured=("cured", "sum"))
    )
    rates["share"] = rates["cured"].astype("float64") / rates["credits"].astype("float64")
    return _kept(rates, rolls)


def named_vintages(vintages: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/vintages` with the name of the vintage (2026-01) and `of`, its late credits of all in words."""
    named = vintages.assign(
        name=vintages["vintage"].dt.strftime("%Y-%m"),
        of=[_of(late, credits) for late, credits in zip(vintages["late30"], vintages["credits"], strict=True)],
    )
    return _kept(named, vintages)


def first_payment_defaults(first_payments: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/first_payments` with the 95 % interval of each share: low, high (Wilson); NaN when undecided."""
    low, high = wilson(first_payments["defaulted"].astype("float64"), first_payments["decided"].astype("float64"))
    return _kept(first_payments.assign(low=low, high=high), first_payments)


def collection_shares(collection: pd.DataFrame, today: date) -> pd.DataFrame:
    """`late_payments/collection` by horizon: period, horizon, due, collected, share, installments, first_due, last_due.

    `horizon` is `now`, `30` or `7` (days after due). `last_due` is the last due day that is old enough for the horizon,
    and `installments` how many fell due up to it; share is NaN when none did. A period that has no day old enough for a
    horizon has no row of it.
    """
    parts = []
    for horizon, days in (("now", None), ("30", 30), ("7", 7)):
        of = "" if days is None else f"_{days}"
        part = collection[["period", "first_due", "last_due"]].assign(
            horizon=horizon,
            due=collection[f"due{of}"],
            collected=collection[f"collected{of}"],
            installments=collection[f"installments{of}"],
        )
        if days is not None:
            part["last_due"] = part["last_due"].clip(upper=pd.Timestamp(today) - pd.Timedelta(days=days + 1))
            # What is wholly too young for the horizon has no days, so no point.
            part = part[part["last_due"] >= part["first_due"]]
        parts.append(part)
    shares = pd.concat(parts, ignore_index=True)
    shares["share"] = _share(shares["collected"], shares["due"])
    return _kept(shares, collection)


def paid_in_the_end(collection: pd.DataFrame) -> pd.DataFrame:
    """`late_payments/collection` with share: of the installments that fell due, those fully paid by now."""
    return _kept(collection.assign(share=_share(collection["paid"], collection["installments"])), collection)


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


def _of(part: Any, whole: Any) -> str:
    """A count and the whole that it is a part of: 12 / 1,234."""
    return f"{int(part):,} / {int(whole):,}"


def _share(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    """part / whole as float64; NaN where the whole is 0."""
    below = whole.astype("float64")
    return part.astype("float64") / below.where(below != 0, np.nan)


def _kept(frame: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """The frame with the stamp of the answer that it was worked out from."""
    frame.attrs = dict(source.attrs)
    return frame
