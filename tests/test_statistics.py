"""Intervals against published tables, quantiles of log buckets against the values themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.statistics import difference_of_shares, log_bucket_edges, log_bucket_quantile, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_is_the_published_one(successes, trials, low, high):
    found = wilson(successes, trials)
    assert (found[0][0], found[1][0]) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(
    ("now", "then", "low", "high"),
    # The same, 873-890, table II, method 10.
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(now, then, low, high):
    assert difference_of_shares(*now, *then) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_without_trials_there_is_no_interval():
    assert all(math.isnan(edge[0]) for edge in wilson(0, 0))
    assert all(math.isnan(edge) for edge in difference_of_shares(0, 0, 1, 2))


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_the_wilson_interval_holds_the_share_and_stays_within_0_and_1(pair):
    k, n = pair
    low, high = (edge[0] for edge in wilson(k, n))
    assert 0 <= low <= k / n <= high <= 1
    mirrored_low, mirrored_high = (edge[0] for edge in wilson(n - k, n))
    assert (low, high) == (pytest.approx(1 - mirrored_high), pytest.approx(1 - mirrored_low))


@given(
    st.lists(st.floats(0, 5e6) | st.sampled_from([0.0, 1.0, 2.0, 4.0, 256.0]), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.95, 1.0]),
)
@settings(max_examples=100, deadline=None)
def test_a_quantile_of_log_buckets_brackets_the_quantile_of_the_values(values, q):
    buckets = np.floor(8 * np.log2(np.maximum(values, 1)))
    names, counts = np.unique(buckets, return_counts=True)
    low, about, high = log_bucket_quantile(names[::-1], counts[::-1], q)
    exact = np.quantile(values, q, method="inverted_cdf")
    # Twice the last digit of a double: 2^(b/8) is not exact.
    assert low * (1 - 1e-12) <= exact < high * (1 + 1e-12)
    assert low <= about <= high
    assert high <= 1.0906 * max(low, 1)


def test_the_edges_of_log_buckets_meet():
    low, high = log_bucket_edges([0, 1, 8, 9])
    assert low[0] == 0
    assert high[0] == low[1]
    assert (low[2], high[2]) == (2, low[3])


def test_no_values_have_no_quantile():
    assert all(math.isnan(value) for value in log_bucket_quantile([], [], 0.5))
