"""The arithmetic of the Disbursements page: sums of a period, the month's projection, the time until the money is sent.

Frames in, frames and plain values out: nothing here asks a source.
"""

from __future__ import annotations

import calendar
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from queries.calendar import is_holiday, normal_days

Measure = Literal["credits", "amount"]
Grain = Literal["day", "week", "month"]
SLO_HOURS = 48
MOST_HOURS = 120
LOOKBACK_DAYS = 730
NORMAL_DAYS = 8
LEAST_NORMAL_DAYS = 4
LEVEL_MONTHS = 12
LEAST_LEVEL_MONTHS = 6
DRAWS = 2000
# Longer than any wait: the end of the last bin, so that it is a number as well.
OPEN_HOURS = 1_000_000


# --- a period ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """A period's disbursements: credits, their principal to the centavo, and the mean (None without a credit)."""

    credits: int
    amount: Decimal
    mean: Decimal | None


def totals(by_day: pd.DataFrame) -> Totals:
    """Sums of a frame with the columns credits and amount (MXN)."""
    count = int(by_day["credits"].sum())
    amount = sum(by_day["amount"], Decimal(0))
    return Totals(count, amount, (amount / count).quantize(Decimal("0.01")) if count else None)


@dataclass(frozen=True)
class Over48h:
    """Credits by whether their money was sent within 48 hours; `share` is late / decided, None when none is decided."""

    decided: int
    late: int
    undecided: int
    share: float | None


def over_48h(by_day: pd.DataFrame) -> Over48h:
    """Sums of a frame with the columns in_time, late, waiting and undecided, one row a day of approval."""
    in_time, late, waiting, undecided = (
        int(by_day[column].sum()) for column in ("in_time", "late", "waiting", "undecided")
    )
    decided, over = in_time + late + waiting, late + waiting
    return Over48h(decided, over, undecided, over / decided if decided else None)


def grain_of(first: date, last: date) -> Grain:
    """Days up to two months, weeks up to thirteen months, else months: what a period's bars stand for."""
    days = (last - first).days + 1
    return "day" if days <= 62 else "week" if days <= 400 else "month"


def share_over_48h(by_day: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    """The share over 48 hours by day, week (from Monday) or month of approval, what is undecided apart.

    Columns: day (datetime64, first day of the bin), first_day and last_day (the part of it within the period), state
    (over, undecided), n (count), approved (count: all that are in time, over or undecided) and share (n / approved).
    While some are undecided the final share lies between the share over and the sum of both. Rows of nothing are left
    out, but a bin without any keeps its zero of `over`.
    """
    grain = grain_of(first, last)
    period = {"day": "D", "week": "W-SUN", "month": "M"}[grain]
    counts = pd.DataFrame(
        {
            "day": by_day["day"].dt.to_period(period).dt.start_time.astype("datetime64[us]"),
            "over": by_day["late"].astype("int64") + by_day["waiting"].astype("int64"),
            "undecided": by_day["undecided"].astype("int64"),
            "approved": by_day[["in_time", "late", "waiting", "undecided"]].astype("int64").sum(axis="columns"),
        }
    )
    found = counts.groupby("day", as_index=False).sum()
    length = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(days=7), "month": pd.DateOffset(months=1)}[grain]
    found["first_day"] = found["day"].clip(lower=pd.Timestamp(first))
    found["last_day"] = (found["day"] + length - pd.Timedelta(days=1)).clip(upper=pd.Timestamp(last))
    keys = ["day", "first_day", "last_day", "approved"]
    long = found[found["approved"] > 0].melt(keys, ["over", "undecided"], var_name="state", value_name="n")
    long["share"] = long["n"] / long["approved"]
    long = long[(long["n"] > 0) | (long["state"] == "over")].sort_values(["day", "state"], ignore_index=True)
    long = long[["day", "first_day", "last_day", "state", "n", "approved", "share"]]
    long.attrs = by_day.attrs
    return long


# --- the month --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Month:
    """A month against the one before, with the projection of its end.

    `to_date` is exact (int of credits, Decimal of MXN). `projected`, `low` and `high` are the median and the 10th and
    90th percentile of the month's end; NaN where there are too few normal days, equal to `to_date` when the month is
    over. `before_to_date` and `before` are last month's up to the same day of the month, and whole; None when the data
    does not reach back to its first day.

    `curve` has a row for each day of the month: day (datetime64), actual (running total, NaN after `through`), before
    (last month's running total by day of the month, whole on the last day), and projected, low and high (NaN before
    `through`, where they start from the actual).
    """

    first: date
    last: date
    through: date
    to_date: Any
    projected: float
    low: float
    high: float
    before_to_date: Any
    before: Any
    curve: pd.DataFrame

    @property
    def over(self) -> bool:
        """Whether nothing of the month is left to project."""
        return self.through >= self.last


def month_of(day: date) -> tuple[date, date]:
    """First and last day of the month that the day lies in."""
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


def month_window(day: date) -> dict[str, date]:
    """The days, as `first` and `last`, that `month` wants to know for the month of `day`: two years of normal days."""
    first, last = month_of(day)
    return {"first": first - timedelta(days=LOOKBACK_DAYS), "last": last}


def month(
    daily: pd.DataFrame, measure: Measure, day: date, today: date, *, rest_of_today: Sequence[float] = ()
) -> Month:
    """The month of `day` (not after `today`) as known on `today`, and how it may end.

    `daily` has the columns day, credits and amount, one row for each day that `month_window` names. Days after `today`
    are unknown, whatever stands there.

    The projection: each day still to come is like its normal days (the last 8 with the same weekday and the same
    position to the quincena, and no holiday; see `normal_days`), so that Sundays, paydays and holidays bring what they
    usually do. Where there are fewer than 4 (of a holiday, none), the last 8 of the same weekday stand in. What today
    still brings is like `rest_of_today`: how much each of its normal days brought after this time of day; nothing,
    where it is not given.

    Days differ by chance, and months differ as wholes: the company grows, December is like no other. So the band has
    two parts. Chance: a two-stage bootstrap, in which the normal days of each kind are resampled (how well 8 days tell
    what is usual), then each day is drawn from them (how much days differ), and the draws are summed; B. Efron and
    R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, and A. C. Davison and D. V. Hinkley,
    Bootstrap Methods and their Application (1997), section 6.3.3. The month as a whole: the same projection is made
    from the same day of each of the last 12 months, and how wrong it was there, in the mean and beyond chance, scales
    the draws as a prediction from a normal sample does (Student's t with the factor sqrt(1 + 1/n), on the logarithms of
    the ratios; G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991), chapter 4). With fewer than 6 such months
    chance stands alone. The month is the seed: the same data gives the same band.
    """
    first, last = month_of(day)
    through = min(today, last)
    exact = {stamp.date(): value for stamp, value in zip(daily["day"], daily[measure], strict=True)}
    known = {when: float(value) for when, value in exact.items() if when <= today}
    begun = min((when for when, value in known.items() if value), default=today)
    zero: Any = Decimal(0) if measure == "amount" else 0

    def total(start: date, end: date) -> Any:
        return sum((exact.get(when, zero) for when in _days(start, end)), zero)

    before_last = first - timedelta(days=1)
    before_first = before_last.replace(day=1)
    days = list(_days(first, last))
    so_far = np.cumsum([known.get(when, 0.0) for when in _days(first, through)])
    curve = pd.DataFrame({"day": pd.Series(pd.to_datetime(days), dtype="datetime64[us]")})
    curve["actual"] = np.concatenate([so_far, np.full(len(days) - len(so_far), np.nan)])
    reaches_back = begun <= before_first
    curve["before"] = [float(total(before_first, _same_day(when, before_last))) for when in days]
    if not reaches_back:
        curve["before"] = np.nan
    draws = np.zeros((DRAWS, 1)) if last < today else _draws(known, begun, first, last, today, rest_of_today)
    for column, q in (("projected", 0.5), ("low", 0.1), ("high", 0.9)):
        curve[column] = np.nan
        if draws is not None:
            ahead = so_far[-1] + np.quantile(draws.cumsum(axis=1), q, axis=0)
            curve.loc[len(so_far) - 1 :, column] = ahead
    curve.attrs = daily.attrs
    end = curve.iloc[-1]
    return Month(
        first=first,
        last=last,
        through=through,
        to_date=total(first, through),
        projected=float(end["projected"]),
        low=float(end["low"]),
        high=float(end["high"]),
        before_to_date=total(before_first, _same_day(through, before_last)) if reaches_back else None,
        before=total(before_first, before_last) if reaches_back else None,
        curve=curve,
    )


def running_total(month: Month, daily: pd.DataFrame) -> pd.DataFrame:
    """The month's curve as one line: what came, then what is projected, with the credits behind each point.

    Columns: day (datetime64), total (as `curve`: actual up to `through`, then projected), low and high (its band after
    `through`, where it starts from the actual), first_day and until (the days whose credits a point holds: no further
    than `through`) and credits (their count).
    """
    curve = month.curve
    known = curve["actual"].notna()
    here = curve["day"] == pd.Timestamp(month.through)
    counts = daily.set_index("day")["credits"].astype("int64").reindex(curve["day"], fill_value=0)
    frame = pd.DataFrame(
        {
            "day": curve["day"],
            "total": curve["actual"].where(known, curve["projected"]),
            "low": curve["low"].where(~known, curve["actual"].where(here)),
            "high": curve["high"].where(~known, curve["actual"].where(here)),
            "first_day": pd.Timestamp(month.first),
            "until": curve["day"].clip(upper=pd.Timestamp(month.through)),
            "credits": counts.where(known.to_numpy(), 0).cumsum().to_numpy(),
        }
    )
    frame.attrs = daily.attrs
    return frame


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _same_day(day: date, before_last: date) -> date:
    """The same day of the month before; the last day of a month goes with the last day of the other."""
    if (day + timedelta(days=1)).day == 1:
        return before_last
    return before_last.replace(day=min(day.day, before_last.day))


def _draws(
    known: Mapping[date, float], begun: date, first: date, last: date, today: date, rest_of_today: Sequence[float]
) -> npt.NDArray[np.float64] | None:
    """What the rest of today and each day after it may bring, a column each; None where it cannot be told."""
    to_come = _days(today + timedelta(days=1), last)
    alike: dict[tuple[float, ...], list[int]] = defaultdict(list)
    if len(rest_of_today) >= LEAST_NORMAL_DAYS:
        alike[tuple(rest_of_today)].append(0)
    for place, day in enumerate(to_come, start=1):
        usual = _usual_days(day, begun, today)
        if not usual:
            return None
        alike[tuple(known.get(other, 0.0) for other in usual)].append(place)
    random = np.random.default_rng(first.toordinal())
    draws = np.zeros((DRAWS, 1 + len(to_come)))
    for values, places in alike.items():
        resampled = np.asarray(values)[random.integers(0, len(values), (DRAWS, len(values)))]
        drawn = random.integers(0, len(values), (DRAWS, len(places)))
        draws[:, places] = np.take_along_axis(resampled, drawn, axis=1)
    return draws * _level(known, begun, first, today, draws[:, 1:].sum(axis=1), random)[:, None]


def _level(
    known: Mapping[date, float],
    begun: date,
    first: date,
    today: date,
    drawn: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """How the month as a whole may differ from its normal days, a factor for each draw; see `month`."""
    wrong = []
    start = first
    for _ in range(LEVEL_MONTHS):
        start = (start - timedelta(days=1)).replace(day=1)
        then = start.replace(day=min(today.day, month_of(start)[1].day))
        rest = _days(then + timedelta(days=1), month_of(start)[1])
        usual = [_usual_days(day, begun, then) for day in rest]
        if start < begun or not all(usual):
            break
        expected = sum(np.mean([known.get(other, 0.0) for other in days]) for days in usual)
        came = sum(known.get(day, 0.0) for day in rest)
        if expected > 0 and came > 0:
            wrong.append(math.log(came / expected))
    if len(wrong) < LEAST_LEVEL_MONTHS or not drawn.mean():
        return np.ones(len(drawn))
    chance = drawn.std() / drawn.mean()
    beyond = math.sqrt(max(float(np.var(wrong, ddof=1)) - chance**2, 0.0))
    spread = random.standard_t(len(wrong) - 1, len(drawn)) * math.sqrt(1 + 1 / len(wrong))
    factors: npt.NDArray[np.float64] = np.exp(np.mean(wrong) + beyond * spread)
    return factors


def _usual_days(day: date, begun: date, today: date) -> list[date]:
    """The normal days of a day to come, of those that are over, latest first; none where there are too few."""
    # Of the latest some may not be over: a month has five weeks at most.
    latest = normal_days(day, count=NORMAL_DAYS + 5)
    over = [other for other in latest if begun <= other < today][:NORMAL_DAYS]
    # A holiday is like no other day: one before it tells more than eight common ones.
    if len(over) >= (1 if is_holiday(day) else LEAST_NORMAL_DAYS):
        return over
    weeks = (day - timedelta(weeks=n) for n in range(1, LOOKBACK_DAYS // 7))
    alike = [other for other in weeks if begun <= other < today and not is_holiday(other)][:NORMAL_DAYS]
    return alike if len(alike) >= LEAST_NORMAL_DAYS else []


def rest_of_day(so_far: pd.DataFrame, daily: pd.DataFrame, measure: Measure, tiers: Sequence[str] = ()) -> list[float]:
    """What each normal day brought after this time of day: its whole less what it had brought by then.

    `so_far` is the answer of today/disbursements (day, dimension, segment, credits, amount), each day cut at the same
    time; `daily` has whole days. Days that `daily` lacks are left out. A day brings no less than nothing.
    """
    wanted = {tier or "(none)" for tier in tiers}
    parts = so_far[so_far["segment"].isin(wanted) & (so_far["dimension"] == "tier")] if wanted else so_far
    parts = parts if wanted else parts[parts["dimension"] == "all"]
    by_then = pd.to_numeric(parts[measure]).astype("float64").groupby(parts["day"]).sum()
    whole = pd.to_numeric(daily[measure]).astype("float64").set_axis(daily["day"])
    # A day on which no tier of the choice brought anything has no row.
    days = [day for day in so_far["day"].drop_duplicates() if day in whole.index]
    return [max(float(whole[day]) - float(by_then.get(day, 0.0)), 0.0) for day in days]


# --- time until the money is sent ------------------------------------------------------------------------------------


def kaplan_meier(times: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The share of credits still waiting after each hour since approval, by Kaplan and Meier, with its interval.

    `times` has the columns hours (whole, rounded up), disbursed, waiting and cancelled: the credits that had their
    money after so many hours, those that have waited for as long and still do, and those cancelled after as long. The
    last two are censored: they tell that the money took longer than that, not how long.

    Columns: hours (from 0; hours_from below it where credits were disbursed before their approval), at_risk,
    disbursed, censored (counts), survival (share), low and high (its interval; NaN from where none is left), one row
    for each hour at which anything happened, and one for hour 0.

        S(t) = product over hours h <= t of (1 - d_h / n_h)

    E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958) 457-481; who is
    censored in an hour counts as at risk in it. The variance of log S is Greenwood's sum of d / (n (n - d)) (1926); the
    interval is symmetric for log(-log S), so that it stays within 0 and 1: J. D. Kalbfleisch and R. L. Prentice, The
    Statistical Analysis of Failure Time Data (1980), page 15.
    """
    frame = pd.DataFrame(
        {
            # Who was disbursed before he was approved has waited for no time.
            "hours": times["hours"].astype("int64").clip(lower=0),
            "hours_from": times["hours"].astype("int64"),
            "disbursed": times["disbursed"].astype("int64"),
            "censored": times["waiting"].astype("int64") + times["cancelled"].astype("int64"),
        }
    )
    start = pd.DataFrame({"hours": [0], "hours_from": [0], "disbursed": [0], "censored": [0]})
    how = {"hours_from": "min", "disbursed": "sum", "censored": "sum"}
    frame = pd.concat([start, frame]).groupby("hours", as_index=False).agg(how)
    gone = (frame["disbursed"] + frame["censored"]).to_numpy()
    d, n = frame["disbursed"].to_numpy(), gone.sum() - np.concatenate([[0], gone.cumsum()[:-1]])
    frame.insert(2, "at_risk", n)
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["survival"] = np.where(n > 0, 1 - d / n, 1.0).cumprod()
        greenwood = np.where(n > 0, d / (n * (n - d)), 0.0).cumsum()
        s = frame["survival"].to_numpy()
        spread = NormalDist().inv_cdf(0.5 + confidence / 2) * np.sqrt(greenwood) / np.abs(np.log(s))
        low, high = s ** np.exp(spread), s ** np.exp(-spread)
    # Before the first disbursement all wait for certain; after the last one with nobody left nothing is known.
    frame["low"] = np.where(s == 1, 1.0, np.where(s > 0, low, np.nan))
    frame["high"] = np.where(s == 1, 1.0, np.where(s > 0, high, np.nan))
    frame.attrs = times.attrs
    return frame


def hours_until(curve: pd.DataFrame, share: float = 0.5) -> int | None:
    """The first hour after which no more than 1 - `share` still wait, of a `kaplan_meier` curve; None if none is."""
    reached = curve[curve["survival"] <= 1 - share + 1e-12]
    return int(reached["hours"].iloc[0]) if len(reached) else None


def still_waiting(curve: pd.DataFrame, hours: int = SLO_HOURS) -> tuple[float, float, float]:
    """Share still waiting after so many hours with its interval, of a `kaplan_meier` curve.

    NaN where nothing is known of that hour: nobody has waited for so long yet.
    """
    known = curve[curve["hours"] <= hours].iloc[-1]
    later = curve["hours"].iloc[-1] >= hours or known["survival"] == 0
    if not later:
        return math.nan, math.nan, math.nan
    return float(known["survival"]), float(known["low"]), float(known["high"])


def staircase(curve: pd.DataFrame, most: int = MOST_HOURS) -> pd.DataFrame:
    """A `kaplan_meier` curve as it is drawn: up to hour `most`, a row where it steps, and its beginning and end.

    Columns as `kaplan_meier`.
    """
    shown = curve[curve["hours"] <= most]
    last = min(most, int(curve["hours"].iloc[-1]))
    end = shown.iloc[[-1]].assign(hours=last, hours_from=last, disbursed=0)
    steps = shown[(shown["disbursed"] > 0) | (shown["hours"] == 0)]
    if end["hours"].iloc[0] > steps["hours"].iloc[-1]:
        steps = pd.concat([steps, end])
    steps = steps.reset_index(drop=True)
    steps.attrs = curve.attrs
    return steps


def by_hours(times: pd.DataFrame, width: int = 4, most: int = MOST_HOURS) -> pd.DataFrame:
    """Credits disbursed by hours since approval, in bins of `width`; the last bin holds all that took more than `most`.

    Columns: start and end (edges in hours, float64), hours_from and hours_to (whole hours, rounded up, both included;
    the first bin reaches down to what was disbursed before its approval, the last is open), n (count), amount (MXN).
    Bins between the first and the last with anything are there, also empty ones.
    """
    taken = times[times["disbursed"] > 0]
    place = ((taken["hours"].astype("int64").clip(lower=1) - 1) // width).clip(upper=most // width)
    least = min(1, int(taken["hours"].min())) if len(taken) else 1
    found = pd.DataFrame({"bin": place, "n": taken["disbursed"].astype("int64"), "amount": taken["amount"]}).groupby(
        "bin"
    )
    count, amount = found["n"].sum(), found["amount"].sum()
    bins = range(int(count.index.min()), int(count.index.max()) + 1) if len(count) else range(0)
    frame = pd.DataFrame(
        {
            "start": [float(b * width) for b in bins],
            "end": [float((b + 1) * width) for b in bins],
            "hours_from": [b * width + 1 if b else least for b in bins],
            "hours_to": [(b + 1) * width if b < most // width else OPEN_HOURS for b in bins],
            "n": [int(count.get(b, 0)) for b in bins],
            "amount": pd.Series([amount.get(b, Decimal(0)) for b in bins], dtype=object),
        }
    ).astype({"hours_from": "int64", "hours_to": "int64", "n": "int64"})
    frame.attrs = times.attrs
    return frame
