"""What the HASE page works out of counts by score: drift, separation of good and bad, histograms, a moved cut-off.

Pure functions: frames of counts in, frames out; nothing here asks a source. A score is a whole number from 0 to 100, so
a sample is wholly known by how often each score came, and each formula below is exact on those counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from queries.statistics import wilson

SCORES = 101
# A credit is known to be good 180 days after its disbursement: see the rollup of outcomes.
SETTLES_AFTER = timedelta(days=180)
SETTLED_MONTHS = 12
# Fewer than this many bad (or good) credits of a month say nothing of its KS and Gini.
LEAST_OF_EACH = 20
PSI_LOOK, PSI_ACT = 0.1, 0.25
PSI_WIDTH = 10
# Added to each band of both months, so that an empty band gives a finite distance.
PSI_SMOOTHING = 0.5
_Z95 = 1.959963984540054
# Of the chi-square distribution with 9 degrees of freedom: ten bands.
_CHI2_95_OF_9 = 16.918977604620448

Counts = npt.NDArray[np.float64]


def counts_by_score(frame: pd.DataFrame, count: str = "scores") -> Counts:
    """How often each score came: 101 numbers. Rows without a score (null or negative) are left out."""
    counts = np.zeros(SCORES)
    scores = pd.to_numeric(frame["score"]).astype("float64")
    known = scores.between(0, SCORES - 1).to_numpy()
    np.add.at(counts, scores[known].astype(int).to_numpy(), frame[count].astype("float64").to_numpy()[known])
    return counts


def band_of(scores: pd.Series[Any], width: int) -> pd.Series[Any]:
    """Lowest score of each score's band; the highest band holds the score 100 too, -1 stands for no score."""
    return (scores // width * width).clip(upper=100 - width).where(scores >= 0, -1).astype("int64")


def band_name(band: int, width: int) -> str:
    """60–69, and 90–100 for the highest."""
    return f"{band}–{band + width - 1 if band + width < 100 else 100}"


def named_bands(frame: pd.DataFrame, width: int) -> pd.DataFrame:
    """The frame with its column `band` told for people and for lists of rows: name, score_from, score_to."""
    bands = frame["band"].astype("int64")
    named = frame.assign(
        name=[band_name(band, width) for band in bands],
        score_from=bands,
        score_to=(bands + width - 1).where(bands + width < 100, 100),
    )
    named.attrs = dict(frame.attrs)
    return named


def add_months(month: date, months: int) -> date:
    """The first day of the month that many months later (or earlier)."""
    place = month.year * 12 + month.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


# --- the period in numbers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """Scores of a period: how many, their mean and median, and the share below the cut-off; NaN where unknown."""

    scores: int
    mean: float
    median: float
    below: float


def summary(counts: Counts, cutoff: int | None) -> Summary:
    """The numbers of a period's scores. The median of an even number is the middle between both middle scores."""
    total = counts.sum()
    if not total:
        return Summary(0, math.nan, math.nan, math.nan)
    below = counts[:cutoff].sum() / total if cutoff is not None else math.nan
    return Summary(int(total), float(counts @ np.arange(SCORES) / total), quantile(counts, 0.5), float(below))


def quantile(counts: Counts, q: float) -> float:
    """The quantile of the scores, between two neighbours by linear interpolation (Hyndman and Fan's type 7)."""
    total = int(counts.sum())
    if not total:
        return math.nan
    place = q * (total - 1)
    upto = np.cumsum(counts)
    below, above = (int(np.searchsorted(upto, n, side="right")) for n in (math.floor(place), math.ceil(place)))
    return below + (above - below) * (place - math.floor(place))


def by_segment(distribution: pd.DataFrame, segment: str, width: int) -> pd.DataFrame:
    """Bands within each segment: `segment`, band, scores, share (of the segment's scores), mean, median.

    `distribution` has score, scores and the column `segment`.
    """
    rows = []
    for name, part in distribution.groupby(segment, sort=True):
        counts = counts_by_score(part)
        told = summary(counts, None)
        banded = part.assign(band=band_of(part["score"], width)).groupby("band")["scores"].sum()
        rows += [
            {
                segment: name,
                "band": int(band),
                "scores": int(scores),
                "share": int(scores) / told.scores,
                "mean": told.mean,
                "median": told.median,
            }
            for band, scores in banded.items()
        ]
    return pd.DataFrame(rows, columns=[segment, "band", "scores", "share", "mean", "median"])


def histogram_buckets(buckets: pd.DataFrame) -> pd.DataFrame:
    """A Prometheus histogram as what lies between its bounds: low, high, about, share, density.

    `buckets` has le (text) and value, cumulative in le, as increase() gives them. `about` is the difference to the next
    lower bound, never below zero (increase() extrapolates each bucket by itself); `density` is the share a point of
    score, so that buckets of uneven width can be compared. Scores are whole numbers: (50, 60] holds 51 to 60. The
    bucket at and below the bound 0 holds the score 0 alone and is one point wide; what lies above 100 is left out.
    """
    bounds = buckets.assign(bound=buckets["le"].astype("float64")).sort_values("bound")
    whole = bounds["value"].max() if len(bounds) else math.nan
    bounds = bounds[np.isfinite(bounds["bound"])]
    about = bounds["value"].diff().fillna(bounds["value"]).clip(lower=0)
    high = np.floor(bounds["bound"])
    low = high.shift(fill_value=-1.0) + 1
    share = about / whole if whole > 0 else about * math.nan
    frame = pd.DataFrame(
        {"low": low, "high": high, "about": about, "share": share, "density": share / (high - low + 1)}
    )
    # Two bounds within one point of score have no whole score between them.
    return frame[frame["high"] >= frame["low"]].reset_index(drop=True)


def density_in_buckets(counts: Counts, buckets: pd.DataFrame) -> pd.DataFrame:
    """The ledger's exact scores in the histogram's own buckets: low, high, scores, share, density."""
    frame = buckets[["low", "high"]].copy()
    total = counts.sum()
    frame["scores"] = [int(counts[int(low) : int(high) + 1].sum()) for low, high in frame.itertuples(index=False)]
    frame["share"] = frame["scores"] / total if total else math.nan
    frame["density"] = frame["share"] / (frame["high"] - frame["low"] + 1)
    return frame


def side_by_side(counts: Counts, buckets: pd.DataFrame) -> pd.DataFrame:
    """Ledger and metrics in the histogram's buckets, a row for each: source, low, high, scores, density.

    `density` is in per cent a point of score, for curves that hold until the next bucket: the last bucket comes again
    where it ends.
    """
    exact = density_in_buckets(counts, buckets).assign(source="ledger")
    metric = buckets.rename(columns={"about": "scores"}).assign(source="metrics")
    parts = [
        pd.concat([side, side.tail(1).assign(low=side["high"].tail(1) + 1)])[
            ["source", "low", "high", "scores", "density"]
        ]
        for side in (exact, metric)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["density"] *= 100
    return frame


# --- drift ------------------------------------------------------------------------------------------------------------


def psi_parts(actual: Counts, expected: Counts) -> Counts:
    """What each band adds to the population stability index: (a - e) ln(a / e) over shares.

    Both are counts of the same bands. Each band gets half a score more on both sides, so that an empty band stays
    finite. NaN where a side has no scores at all. Source: Siddiqi, Credit Risk Scorecards (2006), chapter 9.
    """
    if not actual.sum() or not expected.sum():
        return np.full(len(actual), math.nan)
    a = (actual + PSI_SMOOTHING) / (actual.sum() + PSI_SMOOTHING * len(actual))
    e = (expected + PSI_SMOOTHING) / (expected.sum() + PSI_SMOOTHING * len(expected))
    return np.asarray((a - e) * np.log(a / e))


def in_bands(counts: Counts, width: int = PSI_WIDTH) -> Counts:
    """Counts by score as counts by band; the highest band holds the score 100 too."""
    bands = np.zeros(100 // width)
    np.add.at(bands, np.minimum(np.arange(SCORES) // width, len(bands) - 1), counts)
    return bands


def psi_by_month(by_month: pd.DataFrame, baseline: date) -> pd.DataFrame:
    """PSI of each month against the baseline month: month, last_day, scores, psi, chance, bands.

    `by_month` has month, last_day, score and scores. `chance` is what two months of one and the same distribution stay
    below in 95 of 100 cases: PSI is about (1/n + 1/m) times a chi-square of (bands - 1) degrees of freedom (Yurdakul,
    Statistical Properties of the Population Stability Index, 2018). `bands` names the three bands that add most.
    """
    months = {month.date(): part for month, part in by_month.groupby("month", sort=True)}
    expected = in_bands(counts_by_score(months[baseline])) if baseline in months else np.zeros(100 // PSI_WIDTH)
    rows = []
    for month, part in months.items():
        actual = in_bands(counts_by_score(part))
        parts = psi_parts(actual, expected)
        known = expected.sum() and actual.sum()
        most = [place for place in np.argsort(-parts)[:3] if known and parts[place] > 0]
        rows.append(
            {
                "month": pd.Timestamp(month),
                "last_day": part["last_day"].iloc[0],
                "scores": int(actual.sum()),
                "psi": float(parts.sum()),
                "chance": _CHI2_95_OF_9 * (1 / actual.sum() + 1 / expected.sum()) if known else math.nan,
                "bands": ", ".join(band_name(int(place) * PSI_WIDTH, PSI_WIDTH) for place in most),
            }
        )
    return pd.DataFrame(rows, columns=["month", "last_day", "scores", "psi", "chance", "bands"])


def psi_of_bands(by_month: pd.DataFrame, month: date, baseline: date) -> pd.DataFrame:
    """One month against the baseline, band by band: band, scores, baseline_scores, share, baseline_share, psi.

    The shares are the plain ones; only `psi` is smoothed (see `psi_parts`).
    """
    actual, expected = (
        in_bands(counts_by_score(by_month[by_month["month"] == pd.Timestamp(one)])) for one in (month, baseline)
    )
    shares = [side / side.sum() if side.sum() else side * math.nan for side in (actual, expected)]
    return pd.DataFrame(
        {
            "band": np.arange(len(actual)) * PSI_WIDTH,
            "scores": actual.astype(int),
            "baseline_scores": expected.astype(int),
            "share": shares[0],
            "baseline_share": shares[1],
            "psi": psi_parts(actual, expected),
        }
    )


# --- does the score predict -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutcomeMonths:
    """Months of approval whose outcomes are looked at (first days); `widened`: the period itself has none settled."""

    first: date
    last: date
    widened: bool


def settled_until(today: date) -> date:
    """The last month of approval whose last day lies 180 days back or more: its first day."""
    first_unsettled = today - SETTLES_AFTER + timedelta(days=1)
    return add_months(first_unsettled.replace(day=1), -1)


def outcome_months(first: date, last: date, today: date) -> OutcomeMonths:
    """The settled months that a period touches; when it has none, the twelve settled months before its end.

    Months that are not settled are left out: their bad credits are known sooner than their good ones.
    """
    settled = min(settled_until(today), last.replace(day=1))
    if first.replace(day=1) <= settled:
        return OutcomeMonths(first.replace(day=1), settled, False)
    return OutcomeMonths(add_months(settled, 1 - SETTLED_MONTHS), settled, True)


def late_by_band(outcomes: pd.DataFrame, width: int) -> pd.DataFrame:
    """Late rate by band of scores: band, bad, good, young, settled, rate, low, high.

    `outcomes` has score, state and credits. `rate` is bad / (bad + good) with its 95 % Wilson interval; credits that
    are young (or were never disbursed) are in neither and stand apart. Band -1 is no score.
    """
    columns = ["band", "bad", "good", "young", "settled", "rate", "low", "high"]
    if outcomes.empty:
        return pd.DataFrame(columns=columns)
    table = (
        outcomes.assign(band=band_of(outcomes["score"], width), credits=outcomes["credits"].astype("int64"))
        .pivot_table(index="band", columns="state", values="credits", aggfunc="sum", fill_value=0)
        .reindex(columns=["bad", "good", "young"], fill_value=0)
        .reset_index()
    )
    table = table[table[["bad", "good", "young"]].sum(axis="columns") > 0].reset_index(drop=True)
    table["settled"] = table["bad"] + table["good"]
    table["rate"] = table["bad"] / table["settled"].where(table["settled"] > 0)
    table["low"], table["high"] = wilson(table["bad"], table["settled"])
    return table.rename_axis(columns=None)[columns]


@dataclass(frozen=True)
class Separation:
    """How well the score tells bad from good; NaN where a side is empty. `at`: the score of the greatest distance."""

    bad: int
    good: int
    auc: float
    auc_error: float
    ks: float
    at: float

    @property
    def gini(self) -> float:
        """2 AUC - 1: 1 tells all apart, 0 is a coin, below 0 the score is upside down."""
        return 2 * self.auc - 1


def separation(bad: Counts, good: Counts) -> Separation:
    """AUC with its standard error, and KS, from how often each score came among the bad and the good.

    AUC is the share of pairs in which the good credit has the higher score, ties by half (Mann and Whitney). Its error
    is DeLong, DeLong and Clarke-Pearson's (Biometrics 44, 1988), on counts: NaN with fewer than two of a side. KS is
    the greatest distance between the two cumulative distributions of score; NaN where a side is empty.
    """
    m, n = bad.sum(), good.sum()
    if not m or not n:
        return Separation(int(m), int(n), math.nan, math.nan, math.nan, math.nan)
    good_above = n - np.cumsum(good) + good / 2
    bad_below = np.cumsum(bad) - bad / 2
    of_bad, of_good = good_above / n, bad_below / m
    auc = float(bad @ of_bad / m)
    error = math.nan
    if m > 1 and n > 1:
        spread_bad = bad @ (of_bad - auc) ** 2 / (m - 1)
        spread_good = good @ (of_good - auc) ** 2 / (n - 1)
        error = math.sqrt(spread_bad / m + spread_good / n)
    distance = np.cumsum(bad) / m - np.cumsum(good) / n
    at = int(np.argmax(np.abs(distance)))
    return Separation(int(m), int(n), auc, error, float(abs(distance[at])), float(at))


def separation_of(outcomes: pd.DataFrame) -> Separation:
    """`separation` of a frame with score, state and credits."""
    return separation(*(_of_state(outcomes, state) for state in ("bad", "good")))


def _of_state(outcomes: pd.DataFrame, state: str) -> Counts:
    return counts_by_score(outcomes[outcomes["state"] == state], "credits")


def gini_interval(one: Separation) -> tuple[float, float]:
    """95 % interval of Gini: the normal one of the AUC by DeLong's error, doubled, cut at -1 and 1."""
    half = 2 * _Z95 * one.auc_error
    return max(one.gini - half, -1.0), min(one.gini + half, 1.0)


def ks_interval(bad: Counts, good: Counts, *, draws: int = 400) -> tuple[float, float]:
    """95 % interval of KS by the basic bootstrap over both samples (Efron and Tibshirani 1993), cut at 0 and 1.

    Resampled from counts with a fixed seed, so that the same data gives the same interval.
    """
    m, n = int(bad.sum()), int(good.sum())
    if not m or not n:
        return math.nan, math.nan
    rng = np.random.default_rng(1)
    one, other = (np.cumsum(rng.multinomial(int(s.sum()), s / s.sum(), draws) / s.sum(), axis=1) for s in (bad, good))
    resampled = np.abs(one - other).max(axis=1)
    ks = separation(bad, good).ks
    low, high = np.quantile(resampled, [0.025, 0.975])
    return max(2 * ks - float(high), 0.0), min(2 * ks - float(low), 1.0)


def separation_by_month(outcomes: pd.DataFrame) -> pd.DataFrame:
    """KS and Gini by month of approval: month, bad, good, auc, gini, gini_low, gini_high, ks, ks_low, ks_high.

    A month with fewer than `LEAST_OF_EACH` bad or good credits keeps its counts; its measures are NaN.
    """
    rows = []
    for month, part in outcomes.groupby("month", sort=True):
        bad, good = _of_state(part, "bad"), _of_state(part, "good")
        one = separation(bad, good)
        enough = min(one.bad, one.good) >= LEAST_OF_EACH
        gini = gini_interval(one) if enough else (math.nan, math.nan)
        ks = ks_interval(bad, good) if enough else (math.nan, math.nan)
        rows.append(
            {
                "month": month,
                "bad": one.bad,
                "good": one.good,
                "auc": one.auc if enough else math.nan,
                "gini": one.gini if enough else math.nan,
                "gini_low": gini[0],
                "gini_high": gini[1],
                "ks": one.ks if enough else math.nan,
                "ks_low": ks[0],
                "ks_high": ks[1],
            }
        )
    columns = ["month", "bad", "good", "auc", "gini", "gini_low", "gini_high", "ks", "ks_low", "ks_high"]
    return pd.DataFrame(rows, columns=columns)


def last_separation(months: pd.DataFrame) -> pd.Series[Any] | None:
    """The last row of `separation_by_month` that has a Gini."""
    known = months.dropna(subset=["gini"])
    return None if known.empty else known.iloc[-1]


def cumulative_curves(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Bad and good credits with at most each score, a row each: score, state, credits, share, score_from; or empty.

    Only scores from the lowest to the highest that occur; `share` is of all credits of the state; `score_from` is 0.
    """
    bad, good = _of_state(outcomes, "bad"), _of_state(outcomes, "good")
    occurring = np.flatnonzero(bad + good)
    if not bad.sum() or not good.sum():
        return pd.DataFrame(columns=["score", "state", "credits", "share", "score_from"])
    span = np.arange(occurring[0], occurring[-1] + 1)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "score": span,
                    "state": state,
                    "credits": np.cumsum(counts)[span].astype(int),
                    "share": np.cumsum(counts)[span] / counts.sum(),
                    "score_from": 0,
                }
            )
            for state, counts in (("bad", bad), ("good", good))
        ],
        ignore_index=True,
    )


# --- what if ----------------------------------------------------------------------------------------------------------


def present_cutoff(scored: pd.DataFrame) -> int | None:
    """The score from which on applications are approved, as far as the ledger tells; None when it does not.

    `scored` has score, scored and approved. The ledger holds no cut-off: it is taken as the score that best tells the
    approved from the others, where the distance between their cumulative distributions is greatest (Youden's J). Where
    a hard cut-off is applied this is exactly it, exceptions aside.
    """
    approved = counts_by_score(scored, "approved")
    others = np.maximum(counts_by_score(scored, "scored") - approved, 0)
    if not approved.sum() or not others.sum():
        return None
    # Share of the others below each score, less the share of the approved below it.
    below = (np.cumsum(others) - others) / others.sum() - (np.cumsum(approved) - approved) / approved.sum()
    if below.max() <= 0:
        return None
    best = np.flatnonzero(below >= below.max() - 1e-12)
    # Between the last refused and the first approved score all are as good: the first score that was approved.
    return int(next((score for score in best if approved[score]), best[-1]))


def written_cutoff(events: pd.DataFrame) -> int | None:
    """The cut-off that the newest event of the kind `cutoff` names: the last score from 0 to 100 in its title."""
    for title in events[events["kind"] == "cutoff"].sort_values("starts_at", ascending=False)["title"]:
        named = [
            int(word) for word in re.findall(r"(?<![\d.,])\d{1,3}(?![\d%]|[.,]\d| %)", str(title)) if int(word) < SCORES
        ]
        if named:
            return named[-1]
    return None


@dataclass(frozen=True)
class WhatIf:
    """Approvals, late share and principal as they were and as they would have been.

    Amounts are MXN. `late` is the share of the settled credits that went bad, `late_principal` their principal. Change
    is `then` less `now`. `exact` is false when the cut-off was lowered: what is added is extrapolated.
    """

    exact: bool
    approvals_now: int
    approvals_then: float
    late_now: float
    late_then: float
    principal_now: float
    principal_then: float
    late_principal_now: float
    late_principal_then: float
    by_score: pd.DataFrame


def what_if(
    outcomes: pd.DataFrame, scored: pd.DataFrame, present: int, tried: int, *, exceptions: bool = True
) -> WhatIf:
    """Move the cut-off from `present` to `tried` over the months that both frames hold.

    `outcomes` has score, state, credits and principal; `scored` has score, scored and approved.

    Raised: the credits with a score from `present` to below `tried` would not have been approved. Exact on the past.

    Lowered: applicants with a score from `tried` to below `present` would have been approved, would have borrowed and
    would have paid as those of the ten points from `present` up did: nobody knows how refused applicants would have
    paid (no reject inference is done). A score whose approvals are already more than that keeps them.

    The credits that were approved below the present cut-off are exceptions: they stay, or (`exceptions` false) those
    below `tried` would not have been approved either, which is exact too. Credits without a score stay.

    `by_score`: score, change (kept, lost or added), credits, rows (of the ledger: none for what is added), and
    score_from and score_to, which for what is added hold no score.
    """
    credits = counts_by_score(outcomes, "credits")
    principal = counts_by_score(outcomes, "principal")
    bad, good = _of_state(outcomes, "bad"), _of_state(outcomes, "good")
    late_principal = counts_by_score(outcomes[outcomes["state"] == "bad"], "principal")
    place = np.arange(SCORES)
    sides = {"credits": credits, "principal": principal, "bad": bad, "good": good, "late_principal": late_principal}
    then = {name: side.copy() for name, side in sides.items()}
    lost = (place < tried) & ((place >= present) | (not exceptions))
    for side in then.values():
        side[lost] = 0
    if tried < present:
        near = (place >= present) & (place < present + 10)
        asked = counts_by_score(scored, "scored")
        share = credits[near].sum() / asked[near].sum() if asked[near].sum() else 0.0
        wider = (place >= tried) & (place < present)
        # Shares of one credit of the nearest ten points: its principal, and how it ended.
        each: Mapping[str, float] = {
            name: side[near].sum() / credits[near].sum() if credits[near].sum() else 0.0 for name, side in sides.items()
        }
        added = np.where(wider, np.maximum(asked * min(share, 1.0) - credits, 0), 0)
        for name, side in then.items():
            side += added * each[name]
    unscored = outcomes[pd.to_numeric(outcomes["score"]) < 0]
    apart = {
        "credits": float(unscored["credits"].sum()),
        "principal": float(unscored["principal"].sum()),
        "bad": float(unscored.loc[unscored["state"] == "bad", "credits"].sum()),
        "good": float(unscored.loc[unscored["state"] == "good", "credits"].sum()),
        "late_principal": float(unscored.loc[unscored["state"] == "bad", "principal"].sum()),
    }

    def total(of: Mapping[str, Counts], name: str) -> float:
        return float(of[name].sum()) + apart[name]

    def late(of: Mapping[str, Counts]) -> float:
        settled = total(of, "bad") + total(of, "good")
        return total(of, "bad") / settled if settled else math.nan

    return WhatIf(
        exact=tried >= present,
        approvals_now=round(total(sides, "credits")),
        approvals_then=total(then, "credits"),
        late_now=late(sides),
        late_then=late(then),
        principal_now=total(sides, "principal"),
        principal_then=total(then, "principal"),
        late_principal_now=total(sides, "late_principal"),
        late_principal_then=total(then, "late_principal"),
        by_score=_changes(credits, then["credits"]),
    )


def _changes(now: Counts, then: Counts) -> pd.DataFrame:
    place = np.arange(SCORES)
    kept = np.minimum(now, then)
    parts = [
        pd.DataFrame(
            {"score": place, "change": change, "credits": credits, "rows": rows, "score_from": a, "score_to": b}
        )
        for change, credits, rows, a, b in (
            ("kept", kept, kept.astype(int), place, place),
            ("lost", now - kept, (now - kept).astype(int), place, place),
            # No row of the ledger stands behind what is extrapolated: from 1 to 0 there is no score.
            ("added", then - kept, 0, 1, 0),
        )
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame[frame["credits"] > 0].reset_index(drop=True)
