"""The arithmetic of the approvals page: rates with intervals, cohorts, the funnel, what made a rate change.

Frames in, frames out; nothing here asks a source. Shares are between 0 and 1, times are seconds, money is MXN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np
import pandas as pd

from queries.statistics import difference_of_shares, log_bucket_quantile, wilson

Grain = Literal["day", "week", "month"]
# What may become of an application, in the order in which the shares stand on each other: what is undecided between
# the two decisions, so that each of these is read from an edge. Statuses of the core's own come after.
STATUSES = ("approved", "withdrawn", "pending", "rejected")
STEPS = ("submitted", "scored", "approved", "disbursed")
NO_SCORE = -1


def grain_for(first: date, last: date) -> Grain:
    """The bins that keep a period of any length readable: days up to two months, weeks up to a year, then months."""
    days = (last - first).days + 1
    return "day" if days <= 62 else "week" if days <= 366 else "month"


def fold(frame: pd.DataFrame, grain: Grain, first: date, last: date, by: Sequence[str] = ()) -> pd.DataFrame:
    """Sum a frame by `day` (and `by`) into bins; every bin of the period is there, with zeros, unless `by` is given.

    Columns: `day` (start of the bin; Monday for a week), `first` and `last` (the days of the bin that are in the
    period), `by`, and the sums of all others. Days outside the period are left out.
    """
    days = pd.DataFrame({"last": pd.date_range(first, last, unit="us")})
    days["day"] = _start(days["last"], grain)
    bins = days.groupby("day", as_index=False).agg(first=("last", "min"), last=("last", "max"))
    inside = frame[frame["day"].between(pd.Timestamp(first), pd.Timestamp(last))]
    keys = ["day", *by]
    sums = inside.assign(day=_start(inside["day"], grain)).groupby(keys, as_index=False, sort=True).sum()
    folded = bins.merge(sums, on="day", how="inner" if by else "left").sort_values(keys, ignore_index=True)
    for name in folded.columns.difference(["day", "first", "last", *by]):
        # Money stays a Decimal: a zero among Decimals, and no float.
        zero = Decimal(0) if frame[name].dtype == object else 0
        folded[name] = folded[name].map(lambda v, zero=zero: zero if pd.isna(v) else v).astype(frame[name].dtype)
    return _stamped(folded[["day", "first", "last", *(c for c in frame.columns if c != "day")]], frame)


def _start(days: pd.Series, grain: Grain) -> pd.Series:
    days = days.astype("datetime64[us]")
    if grain == "week":
        return days - pd.to_timedelta(days.dt.day_of_week, unit="D").astype("timedelta64[us]")
    if grain == "month":
        return days - pd.to_timedelta(days.dt.day - 1, unit="D").astype("timedelta64[us]")
    return days


def _stamped(made: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """`made` with the stamp of the answer that it was made from."""
    made.attrs = dict(source.attrs)
    return made


def approval_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `approval_rate` = approved / decided and its 95 % Wilson interval `low`, `high` (see `wilson`).

    Decided is approved and rejected, no other. NaN where nothing was decided.
    """
    approved, decided = frame["approved"].astype(float), frame["decided"].astype(float)
    low, high = wilson(approved, decided)
    made = frame.assign(approval_rate=(approved / decided.where(decided > 0)).astype("float64"), low=low, high=high)
    return _stamped(made, frame)


def cohorts(frame: pd.DataFrame) -> pd.DataFrame:
    """Add to (`day`, `status`, `n`): `submitted`, all of that day, and `share` of them with that status by now.

    Each of `STATUSES` is there on each day, with zeros too, in their order; others come behind by name. The shares of a
    day add up to 1.
    """
    days = frame.drop(columns=["status", "n"]).drop_duplicates()
    every = days.merge(pd.DataFrame({"status": STATUSES}), how="cross").astype({"status": frame["status"].dtype})
    whole = every.merge(frame, on=list(every.columns), how="outer")
    whole["n"] = whole["n"].fillna(0)
    submitted = whole.groupby("day")["n"].transform("sum")
    place = {status: n for n, status in enumerate(STATUSES)}
    made = whole.assign(
        submitted=submitted,
        share=(whole["n"] / submitted).astype("float64"),
        _place=[place.get(status, len(place)) for status in whole["status"]],
    )
    ranked = made.sort_values(["day", "_place", "status"], ignore_index=True).drop(columns="_place")
    return _stamped(ranked, frame)


def statuses(frame: pd.DataFrame) -> list[str]:
    """The statuses that occur, in the order of `STATUSES`, others behind by name."""
    there = set(frame["status"])
    return [status for status in STATUSES if status in there] + sorted(there - set(STATUSES))


def funnel(frame: pd.DataFrame) -> pd.DataFrame:
    """The way from submitted to disbursed, of the applications submitted in a period.

    `frame` has `step`, `bucket` (log bucket of the seconds since the step before; null counts all that reached the
    step) and `n`. A row of the answer is a step of `STEPS`: `n`, `share` of those submitted, `share_before` of the step
    before, and the median seconds since the step before as `low`, `about`, `high` (see `log_bucket_quantile`; NaN for
    submitted).
    """
    rows = []
    for step in STEPS:
        reached = frame[frame["step"] == step]
        whole, timed = reached[reached["bucket"].isna()], reached.dropna(subset="bucket")
        low, about, high = log_bucket_quantile(timed["bucket"], timed["n"], 0.5)
        rows.append({"step": step, "n": int(whole["n"].sum()), "low": low, "about": about, "high": high})
    made = pd.DataFrame(rows)
    n = made["n"].astype(float)
    made["share"] = n / n.iloc[0] if n.iloc[0] else np.nan
    made["share_before"] = (n / n.shift(1).where(n.shift(1) > 0)).astype("float64")
    return _stamped(made[["step", "n", "share", "share_before", "low", "about", "high"]], frame)


def decision_times(
    frame: pd.DataFrame, grain: Grain, first: date, last: date, quantiles: Sequence[float] = (0.5, 0.9)
) -> pd.DataFrame:
    """Quantiles of the time to decision by bin, from (`day`, `bucket`, `n`).

    A row is a bin and a quantile: `day`, `first`, `last`, `quantile` ("p50", "p90"), `seconds` (about), `low`, `high`
    (the quantile lies in [low, high), see `log_bucket_quantile`) and `decisions`. A bin without decisions has NaN.
    """
    bins = fold(frame[["day", "n"]], grain, first, last)
    folded = fold(frame, grain, first, last, by=["bucket"])
    groups = dict(iter(folded.groupby("day")))
    empty = folded.iloc[:0]
    rows = []
    for one in bins.itertuples(index=False):
        group = groups.get(one.day, empty)
        for q in quantiles:
            low, about, high = log_bucket_quantile(group["bucket"], group["n"], q)
            rows.append((one.day, one.first, one.last, f"p{q * 100:.0f}", about, low, high, int(one.n)))
    made = pd.DataFrame(rows, columns=["day", "first", "last", "quantile", "seconds", "low", "high", "decisions"])
    return _stamped(made, frame)


def median_seconds(frame: pd.DataFrame) -> tuple[float, float, float]:
    """(low, about, high) of the median over a whole (`bucket`, `n`) frame."""
    return log_bucket_quantile(frame["bucket"], frame["n"], 0.5)


def hours(frame: pd.DataFrame, least: int = 5) -> pd.DataFrame:
    """All 168 hours of a week from (`weekday` 1 to 7, `hour`, `submitted`, `approved`, `decided`).

    Adds the approval rate with its interval; with fewer than `least` decisions it is unknown, for such a rate would
    stand out by chance alone. Hours without applications are there with zeros.
    """
    week = pd.MultiIndex.from_product([range(1, 8), range(24)], names=["weekday", "hour"]).to_frame(index=False)
    full = week.merge(frame.astype({"weekday": "int64", "hour": "int64"}), on=["weekday", "hour"], how="left")
    counts = ["submitted", "approved", "decided"]
    full[counts] = full[counts].fillna(0).astype("Int64")
    made = approval_rate(full)
    rates = ["approval_rate", "low", "high"]
    made.loc[made["decided"] < least, rates] = np.nan
    return _stamped(made, frame)


def amounts(frame: pd.DataFrame) -> pd.DataFrame:
    """Add `ratio` = principal approved / amount requested, of the applications approved; NaN where none was asked."""
    ratio = [
        float(principal / requested) if requested else math.nan
        for principal, requested in zip(frame["principal"], frame["requested"], strict=True)
    ]
    return _stamped(frame.assign(ratio=pd.Series(ratio, index=frame.index, dtype="float64")), frame)


def amounts_stacked(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """`amounts` of the applications approved, as two parts that add up to what they asked for.

    A row is a part of a `by`: `part` ("granted", the principal, or "not_granted", the rest), `mxn`, `ratio` and
    `approved`, the number of applications. More granted than asked for makes the rest negative.
    """
    whole = amounts(frame)
    whole = whole[whole["approved"] > 0]
    rest = [asked - granted for asked, granted in zip(whole["requested"], whole["principal"], strict=True)]
    parts = [
        whole[[by, "ratio", "approved"]].assign(part=part, mxn=pd.Series(list(mxn), index=whole.index, dtype=object))
        for part, mxn in (("granted", whole["principal"]), ("not_granted", rest))
    ]
    return _stamped(pd.concat(parts, ignore_index=True), frame)


def contributions(now: pd.DataFrame, then: pd.DataFrame, by: str) -> pd.DataFrame:
    """What each segment adds to the change of the approval rate between two periods.

    `now` and `then` have `by`, `approved` and `decided`. A row is a segment: `decided` now, `rate`, `rate_before`,
    `share`, `share_before` (of all decided), `rate_effect`, `mix_effect`, their sum `contribution`, and the same in
    percentage `points`; the contributions add up to the change of the whole rate. With weights w and rates r, rate
    effect = w_now (r_now - r_then), mix effect = (w_now - w_then) (r_then - R_then): E. M. Kitagawa, Components of a
    difference between two rates, JASA 50 (1955) 1168-1194, with the interaction counted as a rate effect. A segment
    that is new is compared with the whole rate before. Sorted by size; empty when a period has no decision.
    """
    columns = ["rate", "rate_before", "share", "share_before", "rate_effect", "mix_effect", "contribution", "points"]
    joined = now[[by, "approved", "decided"]].merge(
        then[[by, "approved", "decided"]], on=by, how="outer", suffixes=("", "_before")
    )
    a, n, a0, n0 = (
        joined[name].astype("Float64").fillna(0).to_numpy(float)
        for name in ("approved", "decided", "approved_before", "decided_before")
    )
    if not n.sum() or not n0.sum():
        empty = {name: pd.Series(dtype=float) for name in columns}
        return _stamped(pd.DataFrame({by: now[by].iloc[:0], "decided": now["decided"].iloc[:0], **empty}), now)
    whole_before = a0.sum() / n0.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, rate_before = a / n, a0 / n0
    share, share_before = n / n.sum(), n0 / n0.sum()
    base = np.where(n0 > 0, rate_before, whole_before)
    rate_effect = np.where(n > 0, share * (np.nan_to_num(rate) - base), 0.0)
    mix_effect = (share - share_before) * (base - whole_before)
    made = pd.DataFrame(
        {
            by: joined[by],
            "decided": n.astype("int64"),
            "rate": rate,
            "rate_before": rate_before,
            "share": share,
            "share_before": share_before,
            "rate_effect": rate_effect,
            "mix_effect": mix_effect,
            "contribution": rate_effect + mix_effect,
            "points": 100 * (rate_effect + mix_effect),
        }
    )
    made = made.sort_values("contribution", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    return _stamped(made, now)


@dataclass(frozen=True)
class Verdict:
    """Whether approvals are fine: the rate of a period against a threshold and against another period.

    `level`: above or below when the whole 95 % interval is, unclear when it straddles the threshold, unknown without a
    decision. `change` is in shares (0.02 is two points) with its 95 % interval; `changed` when that leaves out zero.
    """

    approved: int
    decided: int
    rate: float
    low: float
    high: float
    level: Literal["above", "below", "unclear", "unknown"]
    before: float = math.nan
    change: float = math.nan
    change_low: float = math.nan
    change_high: float = math.nan
    changed: bool = False


def verdict(now: pd.DataFrame, then: pd.DataFrame | None, threshold: float) -> Verdict:
    """The verdict on frames with `approved` and `decided`; `then` is None when nothing is compared."""
    approved, decided = int(now["approved"].sum()), int(now["decided"].sum())
    if not decided:
        return Verdict(0, 0, math.nan, math.nan, math.nan, "unknown")
    low, high = (float(edge[0]) for edge in wilson(approved, decided))
    level: Literal["above", "below", "unclear"] = (
        "above" if low >= threshold else "below" if high < threshold else "unclear"
    )
    rate = approved / decided
    approved_before = decided_before = 0
    if then is not None:
        approved_before, decided_before = int(then["approved"].sum()), int(then["decided"].sum())
    if not decided_before:
        return Verdict(approved, decided, rate, low, high, level)
    before = approved_before / decided_before
    change_low, change_high = difference_of_shares(approved, decided, approved_before, decided_before)
    changed = change_low > 0 or change_high < 0
    return Verdict(approved, decided, rate, low, high, level, before, rate - before, change_low, change_high, changed)


def live_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """The approval rate of the hour before each moment, from (`time`, `outcome`, `value`: decisions, about).

    Columns `time`, `approved`, `rejected`, `decided` (about: the metrics extrapolate) and `approval_rate` with the
    Wilson interval `low`, `high` of so many decisions; NaN where nothing was decided.
    """
    if frame.empty or "outcome" not in frame:
        columns = ["approved", "rejected", "decided", "approval_rate", "low", "high"]
        empty = pd.DataFrame({"time": pd.Series(dtype="datetime64[us, UTC]"), **dict.fromkeys(columns, 0.0)})
        return _stamped(empty.iloc[:0], frame)
    wide = frame.pivot_table(index="time", columns="outcome", values="value", aggfunc="sum", sort=True)
    wide = wide.reindex(columns=["approved", "rejected"]).fillna(0.0).reset_index()
    wide.columns.name = None
    wide["decided"] = wide["approved"] + wide["rejected"]
    return _stamped(approval_rate(wide), frame)


def band_name(band: int) -> str:
    """A HASE band in words of the URL: 60-69, 90-100, and nothing for no score."""
    return "" if band == NO_SCORE else f"{band}-{100 if band == 90 else band + 9}"


BANDS = tuple(band_name(band) for band in (*range(0, 100, 10), NO_SCORE))
TIERS = ("AAA", "AA", "A", "B", "C")


def bands_named(names: Sequence[str]) -> tuple[int, ...]:
    """The lower edges of bands that `band_name` named."""
    return tuple(int(name.split("-")[0]) if name else NO_SCORE for name in names)


def in_order(tiers: Sequence[str]) -> list[str]:
    """Tiers from strong to weak, strangers behind by name, none ('') last."""
    return sorted(tiers, key=lambda tier: (TIERS.index(tier) if tier in TIERS else len(TIERS), tier == "", tier))
