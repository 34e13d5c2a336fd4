"""Intervals and quantiles that several pages draw: plain arrays in, plain arrays out."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson(successes: Any, trials: Any, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Low and high end of the score interval of a share, elementwise; NaN where there were no trials.

    Holds its level with few trials and with shares near 0 or 1, where p ± 1.96 s does not: E. B. Wilson, Probable
    inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212; recommended by L. D. Brown,
    T. T. Cai and A. DasGupta, Interval estimation for a binomial proportion, Statistical Science 16 (2001) 101-133.
    """
    k, n = np.atleast_1d(np.asarray(successes, float)), np.atleast_1d(np.asarray(trials, float))
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = k / n
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = np.where(k == 0, 0.0, middle - half)
    high = np.where(k == n, 1.0, middle + half)
    none = n <= 0
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def difference_of_shares(
    successes: float, trials: float, successes_before: float, trials_before: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of (share now - share before) of two independent samples; NaN when one of them is empty.

    R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17
    (1998) 873-890, method 10: built from the two Wilson intervals, without continuity correction.
    """
    if not trials or not trials_before:
        return math.nan, math.nan
    now, then = successes / trials, successes_before / trials_before
    low, high = (float(edge[0]) for edge in wilson(successes, trials, confidence))
    low_before, high_before = (float(edge[0]) for edge in wilson(successes_before, trials_before, confidence))
    return (
        now - then - math.hypot(now - low, high_before - then),
        now - then + math.hypot(high - now, then - low_before),
    )


def log_bucket_edges(bucket: Any) -> tuple[Floats, Floats]:
    """The half-open interval [low, high) of values that a log bucket holds; eight buckets double the value.

    Bucket b of a value v is floor(8 log2(max(v, 1))), so b holds 2^(b/8) up to 2^((b+1)/8), which is 9 % wide; bucket 0
    also holds what is below 1.
    """
    b = np.atleast_1d(np.asarray(bucket, float))
    return np.where(b <= 0, 0.0, np.exp2(b / 8)), np.exp2((b + 1) / 8)


def log_bucket_quantile(bucket: Any, count: Any, q: float) -> tuple[float, float, float]:
    """(low, about, high) of the q-quantile of values that are known by log bucket; NaN without any.

    The quantile is a value that occurs, the ceil(q n)-th smallest (R. J. Hyndman and Y. Fan, Sample quantiles in
    statistical packages, The American Statistician 50 (1996) 361-365, definition 1): it lies in [low, high) for
    certain. `about` is the geometric middle of the interval, at most 4.5 % off.
    """
    buckets, counts = np.asarray(bucket, float), np.asarray(count, float)
    total = counts.sum()
    if not len(buckets) or total <= 0:
        return math.nan, math.nan, math.nan
    order = np.argsort(buckets, kind="stable")
    # The tolerance takes back what q * n rounds up: 0.9 * 10 is a hair over 9 for some q.
    rank = max(math.ceil(q * total - 1e-9), 1)
    place = int(np.searchsorted(np.cumsum(counts[order]), rank))
    low, high = (float(edge[0]) for edge in log_bucket_edges(buckets[order][place]))
    return low, math.sqrt(max(low, 1.0) * high), high
