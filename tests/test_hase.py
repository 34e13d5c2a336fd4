"""The HASE page: its questions against pandas on raw rows, its statistics against textbook loops, its looks by hand."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Locator
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from components.filters import days_of
from queries import Prometheus, SourceError, Sources, hase, sources
from tests.dashboard import Viewer, chromium, chromium_path, serve, viewer
from tests.test_today_queries import COLUMNS, midnight, row

ROOT = Path(__file__).resolve().parent.parent
ZONE = ZoneInfo("America/Mexico_City")
TODAY = datetime.now(ZONE).date()

QUICK = settings(max_examples=30, deadline=None)
scores = st.integers(0, 100)
samples = st.lists(scores, min_size=1, max_size=40)


def counts(values: list[int]) -> np.ndarray:
    return hase.counts_by_score(pd.DataFrame({"score": values, "scores": [1] * len(values)}))


def outcomes_of(bad: list[int], good: list[int], month: date = date(2026, 1, 1), **others: list[int]) -> pd.DataFrame:
    states = {"bad": bad, "good": good, **others}
    rows = [
        {"month": pd.Timestamp(month), "score": score, "state": state, "credits": n, "principal": Decimal(100 * n)}
        for state, values in states.items()
        for score, n in sorted(Counter(values).items())
    ]
    return pd.DataFrame(rows, columns=["month", "score", "state", "credits", "principal"])


# --- statistics against textbook loops ------------------------------------------------------------------------------


@QUICK
@given(samples, st.integers(0, 100))
def test_the_summary_is_that_of_the_single_scores(values, cutoff):
    told = hase.summary(counts(values), cutoff)
    assert told.scores == len(values)
    assert told.mean == pytest.approx(fmean(values))
    assert told.median == median(values)
    assert told.below == pytest.approx(sum(value < cutoff for value in values) / len(values))


@QUICK
@given(samples, st.floats(0, 1))
def test_a_quantile_is_that_of_numpy(values, q):
    assert hase.quantile(counts(values), q) == pytest.approx(float(np.quantile(values, q)))


def test_no_scores_have_no_summary():
    told = hase.summary(counts([]), 60)
    assert told.scores == 0
    assert math.isnan(told.mean)
    assert math.isnan(told.median)
    assert math.isnan(told.below)


@pytest.mark.parametrize(
    ("score", "width", "band"), [(0, 10, 0), (9, 10, 0), (89, 10, 80), (90, 10, 90), (100, 10, 90)]
)
def test_the_score_100_belongs_to_the_highest_band(score, width, band):
    assert hase.band_of(pd.Series([score]), width).tolist() == [band]
    assert hase.in_bands(counts([score]), width).nonzero()[0].tolist() == [band // width]


def test_a_missing_score_is_in_no_band():
    assert hase.band_of(pd.Series([-1, 100, 4]), 5).tolist() == [-1, 95, 0]
    assert hase.band_name(95, 5) == "95–100"


def psi_loop(actual: list[int], expected: list[int]) -> float:
    """As in the textbook: shares of ten bands, each with half a score more."""
    total = 0.0
    for band in range(0, 100, 10):
        inside = [lambda s, b=band: min(s // 10 * 10, 90) == b][0]
        a = (sum(map(inside, actual)) + 0.5) / (len(actual) + 5)
        e = (sum(map(inside, expected)) + 0.5) / (len(expected) + 5)
        total += (a - e) * math.log(a / e)
    return total


def by_month(months: dict[date, list[int]]) -> pd.DataFrame:
    rows = [
        {
            "month": pd.Timestamp(month),
            "last_day": pd.Timestamp(hase.add_months(month, 1) - timedelta(days=1)),
            "score": score,
            "scores": n,
        }
        for month, values in months.items()
        for score, n in sorted(Counter(values).items())
    ]
    return pd.DataFrame(rows, columns=["month", "last_day", "score", "scores"])


@QUICK
@given(samples, samples)
def test_psi_is_the_textbook_sum(actual, expected):
    frame = hase.psi_by_month(by_month({date(2026, 1, 1): expected, date(2026, 2, 1): actual}), date(2026, 1, 1))
    assert frame["psi"].tolist() == pytest.approx([0.0, psi_loop(actual, expected)])
    parts = hase.psi_of_bands(
        by_month({date(2026, 1, 1): expected, date(2026, 2, 1): actual}), date(2026, 2, 1), date(2026, 1, 1)
    )
    assert parts["psi"].sum() == pytest.approx(frame["psi"].iloc[1])
    assert parts["scores"].sum() == len(actual)
    assert parts["share"].sum() == pytest.approx(1)


def test_psi_of_a_known_shift():
    # Half of one band moves: shares (0.5, 0.5) against (0.25, 0.75); 0.25 ln 2 + 0.25 ln 1.5, many scores.
    expected, actual = [10] * 50_000 + [20] * 50_000, [10] * 25_000 + [20] * 75_000
    frame = hase.psi_by_month(by_month({date(2026, 1, 1): expected, date(2026, 2, 1): actual}), date(2026, 1, 1))
    assert frame["psi"].iloc[1] == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5), abs=2e-4)
    assert set(frame["bands"].iloc[1].split(", ")) >= {"10–19", "20–29"}


def test_an_empty_baseline_has_no_psi():
    frame = hase.psi_by_month(by_month({date(2026, 2, 1): [50]}), date(2026, 1, 1))
    assert frame["psi"].isna().all()
    assert frame["chance"].isna().all()
    assert hase.psi_by_month(by_month({}), date(2026, 1, 1)).empty


def test_two_months_of_one_distribution_stay_below_chance_in_19_of_20_cases():
    rng = np.random.default_rng(7)
    shares = np.full(10, 0.1)
    found = []
    for _ in range(400):
        a, e = rng.multinomial(800, shares).astype(float), rng.multinomial(1200, shares).astype(float)
        chance = hase._CHI2_95_OF_9 * (1 / 800 + 1 / 1200)
        found.append(hase.psi_parts(a, e).sum() < chance)
    assert 0.92 < fmean(found) < 0.98


@QUICK
@given(samples, samples)
def test_auc_counts_pairs_and_ks_is_the_greatest_distance(bad, good):
    pairs = fmean((g > b) + (g == b) / 2 for b in bad for g in good)
    distance = max(abs(fmean(b <= s for b in bad) - fmean(g <= s for g in good)) for s in range(101))
    one = hase.separation(counts(bad), counts(good))
    assert (one.bad, one.good) == (len(bad), len(good))
    assert one.auc == pytest.approx(pairs)
    assert one.gini == pytest.approx(2 * pairs - 1)
    assert one.ks == pytest.approx(distance)


@QUICK
@given(st.lists(scores, min_size=2, max_size=15), st.lists(scores, min_size=2, max_size=15))
def test_the_error_of_auc_is_delongs(bad, good):
    def above(g: int, b: int) -> float:
        return (g > b) + (g == b) / 2

    of_bad = [fmean(above(g, b) for g in good) for b in bad]
    of_good = [fmean(above(g, b) for b in bad) for g in good]
    variance = np.var(of_bad, ddof=1) / len(bad) + np.var(of_good, ddof=1) / len(good)
    assert hase.separation(counts(bad), counts(good)).auc_error == pytest.approx(math.sqrt(variance))


def test_a_score_that_tells_all_apart_and_one_upside_down():
    apart, turned = hase.separation(counts([10, 20]), counts([30, 40])), hase.separation(counts([90]), counts([10, 20]))
    assert (apart.gini, apart.ks) == (1, 1)
    assert (turned.gini, turned.ks) == (-1, 1)
    same = hase.separation(counts([50, 60]), counts([50, 60]))
    assert (same.gini, same.ks) == (0, 0)


def test_without_bad_or_good_credits_nothing_is_said():
    for bad, good in (([], [50]), ([50], []), ([], [])):
        one = hase.separation(counts(bad), counts(good))
        assert math.isnan(one.gini)
        assert math.isnan(one.ks)
        assert hase.cumulative_curves(outcomes_of(bad, good)).empty
        assert all(map(math.isnan, hase.ks_interval(counts(bad), counts(good))))


def test_the_interval_of_gini_holds_its_level():
    rng, held, ks_held = np.random.default_rng(3), [], []
    for _ in range(150):
        bad = np.clip(np.rint(rng.normal(62, 10, 60)), 0, 100).astype(int).tolist()
        good = np.clip(np.rint(rng.normal(72, 10, 400)), 0, 100).astype(int).tolist()
        low, high = hase.gini_interval(hase.separation(counts(bad), counts(good)))
        held.append(low <= 0.5205 <= high)  # two normals 10 / (10 sqrt 2) apart: AUC 0.7602
        low, high = hase.ks_interval(counts(bad), counts(good), draws=100)
        ks_held.append(low <= 0.3829 <= high)  # 2 Phi(1/2) - 1
    assert fmean(held) > 0.88
    assert fmean(ks_held) > 0.85


def test_a_month_with_few_bad_credits_keeps_its_counts_and_says_no_more():
    many, few = outcomes_of([50] * 20, [70] * 30), outcomes_of([50] * 19, [70] * 30, date(2026, 2, 1))
    frame = hase.separation_by_month(pd.concat([many, few]))
    assert frame["bad"].tolist() == [20, 19]
    assert frame["gini"].tolist()[0] == 1
    assert math.isnan(frame["gini"].tolist()[1])
    last = hase.last_separation(frame)
    assert last is not None
    assert last["month"] == pd.Timestamp(2026, 1, 1)
    assert hase.last_separation(hase.separation_by_month(outcomes_of([], []))) is None


@QUICK
@given(samples, samples)
def test_the_curves_end_at_one_and_their_distance_is_ks(bad, good):
    curves = hase.cumulative_curves(outcomes_of(bad, good))
    both = curves.pivot_table(index="score", columns="state", values="share")
    assert both.iloc[-1].tolist() == pytest.approx([1, 1])
    assert (both["bad"] - both["good"]).abs().max() == pytest.approx(hase.separation(counts(bad), counts(good)).ks)
    for one in curves.itertuples():
        assert one.credits == sum(score <= one.score for score in (bad if one.state == "bad" else good))


@QUICK
@given(
    st.lists(scores | st.just(-1), max_size=30),
    st.lists(scores | st.just(-1), max_size=30),
    st.lists(scores | st.just(-1), max_size=5),
    st.sampled_from([5, 10]),
)
def test_late_rates_are_those_of_the_settled_credits(bad, good, young, width):
    frame = hase.late_by_band(outcomes_of(bad, good, young=young, none=[50]), width)

    def band(score: int) -> int:
        return -1 if score < 0 else min(score // width * width, 100 - width)

    expected = {band(score) for score in bad + good + young}
    assert set(frame["band"]) == expected
    for one in frame.itertuples():
        b, g = sum(band(s) == one.band for s in bad), sum(band(s) == one.band for s in good)
        assert (one.bad, one.good, one.young) == (b, g, sum(band(s) == one.band for s in young))
        if b + g:
            assert one.rate == pytest.approx(b / (b + g))
            assert one.low <= one.rate <= one.high
        else:
            assert math.isnan(one.rate)
            assert math.isnan(one.low)


@pytest.mark.parametrize(
    ("today", "settled"),
    [
        # 180 days before 27 August is 28 February: the last day of a month that has no 29th.
        (date(2026, 8, 27), date(2026, 2, 1)),
        (date(2026, 8, 26), date(2026, 1, 1)),
        # In a leap year February ends a day later.
        (date(2024, 8, 26), date(2024, 1, 1)),
        (date(2024, 8, 27), date(2024, 2, 1)),
    ],
)
def test_a_month_is_settled_when_its_last_day_is_180_days_back(today, settled):
    assert hase.settled_until(today) == settled
    end = hase.add_months(settled, 1) - timedelta(days=1)
    after = hase.add_months(settled, 2) - timedelta(days=1)
    assert (today - end).days >= 180 > (today - after).days


def test_a_period_without_settled_months_looks_at_the_twelve_before():
    today = date(2026, 11, 25)
    last_30 = hase.outcome_months(date(2026, 10, 27), today, today)
    assert (last_30.first, last_30.last, last_30.widened) == (date(2025, 5, 1), date(2026, 4, 1), True)
    year = hase.outcome_months(date(2025, 11, 26), today, today)
    assert (year.first, year.last, year.widened) == (date(2025, 11, 1), date(2026, 4, 1), False)
    past = hase.outcome_months(date(2026, 1, 5), date(2026, 2, 3), today)
    assert (past.first, past.last, past.widened) == (date(2026, 1, 1), date(2026, 2, 1), False)


# --- the histogram of the metrics -----------------------------------------------------------------------------------


def buckets(values: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame({"le": list(values), "value": list(values.values())})


def test_a_histogram_is_the_difference_along_le_by_the_width_of_its_buckets():
    # Labels come in the order of their text, as Prometheus gives them.
    frame = hase.histogram_buckets(buckets({"+Inf": 100, "0.0": 0, "100.0": 100, "50.0": 20, "60.0": 60, "90.0": 90}))
    assert list(zip(frame["low"], frame["high"], strict=True)) == [(0, 0), (1, 50), (51, 60), (61, 90), (91, 100)]
    assert frame["about"].tolist() == [0, 20, 40, 30, 10]
    assert frame["share"].tolist() == pytest.approx([0, 0.2, 0.4, 0.3, 0.1])
    assert frame["density"].tolist() == pytest.approx([0, 0.2 / 50, 0.04, 0.01, 0.01])


def test_a_bucket_is_never_negative_and_no_scores_have_no_density():
    assert hase.histogram_buckets(buckets({"50": 10.2, "60": 10.1, "+Inf": 10.2}))["about"].tolist() == [10.2, 0]
    assert hase.histogram_buckets(buckets({"50": 0, "+Inf": 0}))["density"].isna().all()
    assert hase.histogram_buckets(buckets({})).empty


@QUICK
@given(samples)
def test_the_ledgers_scores_fall_into_the_same_buckets(values):
    edges = [0, 50, 60, 70, 75, 80, 85, 90, 95, 100]
    upto = {str(float(le)): float(sum(value <= le for value in values)) for le in edges}
    metric = hase.histogram_buckets(buckets({**upto, "+Inf": float(len(values))}))
    exact = hase.density_in_buckets(counts(values), metric)
    assert exact["scores"].tolist() == metric["about"].tolist()
    assert exact["density"].tolist() == pytest.approx(metric["density"].tolist())
    both = hase.side_by_side(counts(values), metric)
    area = both[both["low"] <= 100].assign(share=lambda side: side["density"] * (side["high"] - side["low"] + 1))
    assert area.groupby("source")["share"].sum().tolist() == pytest.approx([100, 100])
    assert both.groupby("source")["low"].max().tolist() == [101, 101]


# --- what if --------------------------------------------------------------------------------------------------------


def scored_of(approved: list[int], others: list[int]) -> pd.DataFrame:
    values = sorted({*approved, *others})
    return pd.DataFrame(
        {
            "score": values,
            "scored": [(approved + others).count(value) for value in values],
            "approved": [approved.count(value) for value in values],
        }
    )


@QUICK
@given(st.integers(1, 99), st.sets(scores, min_size=1), st.sets(scores, min_size=1))
def test_a_hard_cutoff_is_found_exactly(cutoff, some, others):
    approved = sorted({score for score in some if score >= cutoff} | {cutoff})
    refused = sorted({score for score in others if score < cutoff} | {cutoff - 1})
    assert hase.present_cutoff(scored_of(approved, refused)) == cutoff


def test_a_few_exceptions_do_not_move_the_cutoff():
    approved, refused = [*range(60, 101), 40, 45], [*range(20, 60)] * 2 + [70, 80]
    assert hase.present_cutoff(scored_of(approved, refused)) == 60


def test_without_refusals_or_approvals_there_is_no_cutoff():
    assert hase.present_cutoff(scored_of([60, 70], [])) is None
    assert hase.present_cutoff(scored_of([], [60, 70])) is None
    assert hase.present_cutoff(scored_of([10, 20], [60, 70])) is None


@QUICK
@given(
    st.lists(scores | st.just(-1), max_size=30), st.lists(scores | st.just(-1), max_size=30), scores, scores, samples
)
def test_raising_the_cutoff_leaves_out_exactly_the_credits_between(bad, good, present, tried, others):
    present, tried = min(present, tried), max(present, tried)
    outcomes, scored = outcomes_of(bad, good), scored_of([s for s in bad + good if s >= 0], others)
    told = hase.what_if(outcomes, scored, present, tried)

    def left(values: list[int]) -> list[int]:
        return [score for score in values if not present <= score < tried]

    assert told.exact
    assert (told.approvals_now, told.approvals_then) == (len(bad + good), len(left(bad + good)))
    assert told.principal_then == 100 * len(left(bad + good))
    assert told.late_principal_then == 100 * len(left(bad))
    if left(bad + good):
        assert told.late_then == pytest.approx(len(left(bad)) / len(left(bad + good)))
    else:
        assert math.isnan(told.late_then)
    assert set(told.by_score["change"]) <= {"kept", "lost"}
    assert told.by_score["rows"].sum() == sum(score >= 0 for score in bad + good)


def test_lowering_the_cutoff_takes_the_nearest_ten_points_as_the_measure():
    # From 60 to 69: 10 scored, 8 approved, of them 2 bad; from 50 to 59: 20 scored, 1 approved as an exception.
    outcomes = outcomes_of([62, 63, 50], [61] * 6)
    scored = scored_of([62, 63, 50, *[61] * 6], [65, 66, *[55] * 19])
    told = hase.what_if(outcomes, scored, 60, 50)
    assert not told.exact
    assert told.approvals_now == 9
    # 19 at 55 would have been approved as often as above, and the exception at 50 stays.
    assert told.approvals_then == pytest.approx(9 + 19 * 0.8)
    assert told.late_now == pytest.approx(3 / 9)
    assert told.late_then == pytest.approx((3 + 19 * 0.8 * 0.25) / (9 + 19 * 0.8))
    assert told.principal_then == pytest.approx(900 + 19 * 0.8 * 100)
    changes = told.by_score.set_index(["score", "change"])
    assert changes["credits"][[(50, "kept"), (55, "added"), (61, "kept")]].tolist() == pytest.approx([1, 15.2, 6])
    assert changes["rows"][[(50, "kept"), (55, "added"), (61, "kept")]].tolist() == [1, 0, 6]


def test_a_cutoff_that_is_not_moved_changes_nothing():
    told = hase.what_if(outcomes_of([50, 60], [70, -1]), scored_of([50, 60, 70], [40]), 60, 60)
    assert told.exact
    assert told.approvals_now == told.approvals_then == 4
    assert told.late_now == told.late_then == 0.5
    assert set(told.by_score["change"]) == {"kept"}


@QUICK
@given(samples, samples, scores, scores)
def test_without_exceptions_nobody_below_the_cutoff_is_approved(bad, good, present, tried):
    told = hase.what_if(outcomes_of(bad, good), scored_of(bad + good, []), present, tried, exceptions=False)
    below = told.by_score[told.by_score["score"] < tried]
    assert set(below["change"]) <= {"lost"}
    if tried >= present:
        assert told.approvals_then == sum(score >= tried for score in bad + good)


def cutoff_events(*titles: str) -> pd.DataFrame:
    kinds = ["cutoff"] * len(titles) + ["other"]
    starts = pd.date_range("2026-01-01", periods=len(kinds), tz=ZONE)
    return pd.DataFrame({"kind": kinds, "title": [*titles, "99"], "starts_at": starts})


@pytest.mark.parametrize(
    ("titles", "cutoff"),
    [
        (("Cut-off 62 -> 65",), 65),
        (("Corte en 62", "Nuevo corte: 60 puntos"), 60),
        (("Corte en 62", "Sin corte"), 62),
        (("Approval up 5 %, 2026", "12.5 points"), None),
        ((), None),
    ],
)
def test_the_cutoff_is_the_one_that_people_wrote_down_last(titles, cutoff):
    assert hase.written_cutoff(cutoff_events(*titles)) == cutoff


def test_lowering_on_an_empty_ledger_adds_nothing():
    told = hase.what_if(outcomes_of([], []), scored_of([], []), 60, 50)
    assert (told.approvals_now, told.approvals_then) == (0, 0)
    assert math.isnan(told.late_now)
    assert math.isnan(told.late_then)


# --- the ledger's questions against pandas on the raw rows ----------------------------------------------------------

DAYS = [
    *(date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31)),
    *(TODAY - timedelta(days=back) for back in (181, 180, 179, 31, 1, 0)),
]
TICK = timedelta(microseconds=1)
LATER = TODAY + timedelta(days=3)
moments = st.builds(
    lambda day, shift: midnight(day) + shift,
    st.sampled_from([*DAYS, LATER]),
    st.sampled_from([timedelta(0), -TICK, timedelta(hours=23), timedelta(hours=12)]),
)
TIERS, MODELS = ("AAA", "C", "X"), ("hase-3", "hase-4")


@st.composite
def ledgers(draw) -> dict[str, list[SimpleNamespace]]:
    """Applications, re-scored or never scored; their credits, late, paid or never disbursed; days to come."""
    found: dict[str, list[SimpleNamespace]] = {
        name: [] for name in ("applications", "hase_scores", "credits", "installments")
    }
    edges = st.sampled_from([0, 9, 10, 59, 60, 89, 90, 99, 100]) | scores
    for number in range(draw(st.integers(0, 7))):
        tier = draw(st.sampled_from([*TIERS, None]))
        status = draw(st.sampled_from(["approved", "rejected", "withdrawn", "pending", "held"]))
        decided = None if status == "pending" else draw(moments)
        times = sorted(draw(st.lists(moments, max_size=2, unique=True)))
        values = [draw(edges) for _ in times]
        application = row(
            submitted_at=draw(moments),
            hase_score=values[-1] if values else draw(st.none() | edges),
            sinosure_tier=tier,
            status=status,
            decided_at=decided,
            amount_requested=Decimal(draw(st.integers(1, 999999))) / 100,
            rejection_reason="low_hase_score" if status == "rejected" and draw(st.booleans()) else None,
        )
        found["applications"].append(application)
        for moment, value in zip(times, values, strict=True):
            model = draw(st.sampled_from(MODELS))
            found["hase_scores"].append(
                row(application_id=str(number), score=value, model_version=model, calculated_at=moment)
            )
        if status == "approved" and decided is not None and draw(st.booleans()):
            disbursed = draw(st.none() | moments)
            credit = str(len(found["credits"]))
            principal = Decimal(draw(st.integers(1, 9999999))) / 100
            found["credits"].append(
                row(
                    application_id=str(number),
                    sinosure_tier=tier or "B",
                    approved_at=decided,
                    disbursed_at=disbursed,
                    principal=principal,
                    status="active",
                )
            )
            for sequence in range(draw(st.integers(0, 2))):
                due = draw(st.sampled_from([TODAY - timedelta(days=n) for n in (300, 60, 31, 30, 1, -5)]))
                after = draw(st.none() | st.sampled_from([-3, 0, 1, 30, 31, 32]))
                paid = None if after is None else midnight(due + timedelta(days=after)) + timedelta(hours=9)
                found["installments"].append(row(credit_id=credit, sequence=sequence + 1, due_date=due, paid_at=paid))
    if draw(st.booleans()):
        # A score whose application is not in the ledger.
        found["hase_scores"].append(
            row(application_id="gone", score=draw(edges), model_version="hase-4", calculated_at=draw(moments))
        )
    return found


choices = st.fixed_dictionaries(
    {
        "days": st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(sorted),
        "tiers": st.lists(st.sampled_from([*TIERS, ""]), max_size=2, unique=True).map(tuple),
        "model_version": st.lists(st.sampled_from([*MODELS, "unknown"]), max_size=2, unique=True).map(tuple),
    }
)


def local_day(moment: datetime) -> date:
    return moment.astimezone(ZONE).date()


def raw_scores(rows: dict[str, list[SimpleNamespace]]) -> pd.DataFrame:
    tiers = {str(number): one.sinosure_tier or "" for number, one in enumerate(rows["applications"])}
    return pd.DataFrame(
        [
            (local_day(s.calculated_at), tiers.get(s.application_id, ""), s.score, s.model_version)
            for s in rows["hase_scores"]
        ],
        columns=["day", "tier", "score", "model_version"],
    )


def raw_outcomes(rows: dict[str, list[SimpleNamespace]]) -> pd.DataFrame:
    first = {}
    for one in sorted(rows["hase_scores"], key=lambda s: s.calculated_at):
        first.setdefault(one.application_id, one)
    found = []
    for number, credit in enumerate(rows["credits"]):
        score = rows["applications"][int(credit.application_id)].hase_score
        first_score = first.get(credit.application_id)
        state = "none"
        if credit.disbursed_at is not None:
            own = [i for i in rows["installments"] if i.credit_id == str(number)]
            # Every day up to today on whose end an installment stood open for more than 30 days.
            late = any(
                i.due_date + timedelta(days=31) <= TODAY
                and (i.paid_at is None or local_day(i.paid_at) > i.due_date + timedelta(days=31))
                for i in own
            )
            old = (TODAY - local_day(credit.disbursed_at)).days >= 180
            state = "bad" if late else "good" if old else "young"
        found.append(
            (
                local_day(credit.approved_at).replace(day=1),
                credit.sinosure_tier,
                -1 if score is None else score,
                "" if first_score is None else first_score.model_version,
                state,
                credit.principal,
            )
        )
    return pd.DataFrame(found, columns=["month", "tier", "score", "model_version", "state", "principal"])


def chosen(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
    for column, key in (("tier", "tiers"), ("model_version", "model_version")):
        if params[key]:
            frame = frame[frame[column].isin(params[key])]
    return frame


def table(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    def plain(value: Any) -> Any:
        if isinstance(value, pd.Timestamp | datetime):
            return value.date()
        if isinstance(value, float):
            return round(value, 9)
        return int(value) if isinstance(value, np.integer) else value

    return sorted(tuple(plain(cell) for cell in cells) for cells in frame.itertuples(index=False))


def grain_of(day: date, grain: str) -> date:
    return {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[grain]


def ends(start: date, grain: str, first: date, last: date) -> tuple[date, date]:
    end = {"day": start, "week": start + timedelta(days=6), "month": hase.add_months(start, 1) - timedelta(days=1)}
    return max(start, first), min(end[grain], last)


@pytest.fixture(scope="module")
def ledger(module_ledger_url):
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    owner.reader = module_ledger_url.reader
    yield owner
    queries.disconnect()
    owner.close()
    engine.dispose()


def fill(owner: Any, rows: dict[str, list[SimpleNamespace]]) -> None:
    # A test before may have named other sources; the same ones again cost nothing.
    queries.connect(Sources(ledger_url=owner.reader))
    owner.rollback()
    cursor = owner.cursor()
    cursor.execute("truncate " + ", ".join(f"bi.{name}" for name in COLUMNS))
    for name, members in rows.items():
        names = COLUMNS[name].split()
        with cursor.copy(f"copy bi.{name} ({', '.join(names)}) from stdin") as into:
            for number, one in enumerate(members):
                setattr(one, names[0], str(number) if name in {"applications", "credits"} else number)
                into.write_row([getattr(one, column) for column in names])
    owner.commit()
    sources._connected().cache.forget()


def ask(name: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    return table(queries.ledger(f"hase/{name}", params))


SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@SLOW
@given(ledgers(), choices, st.sampled_from(["day", "week", "month"]), st.sampled_from([5, 10]))
def test_every_question_gives_what_pandas_gives(ledger, rows, choice, grain, width):
    fill(ledger, rows)
    first, last = choice["days"]
    params = {**choice, "first": first, "last": last, "grain": grain, "width": width, "months": 3}

    every = raw_scores(rows)
    of_choice = chosen(every, params)
    inside = of_choice[(of_choice["day"] >= first) & (of_choice["day"] <= last)]

    models = every[every["day"] <= last].groupby("model_version")["day"].agg(["min", "max", "size"]).reset_index()
    assert ask("models", params) == table(models)

    distribution = inside.groupby(["score", "tier", "model_version"]).size().reset_index()
    assert ask("distribution", params) == table(distribution)

    banded = inside.assign(
        start=[grain_of(day, grain) for day in inside["day"]],
        band=[min(score // width * width, 100 - width) for score in inside["score"]],
    )
    wholes = banded["start"].value_counts()
    expected = [
        (start, *ends(start, grain, first, last), band, len(part), round(len(part) / wholes[start], 9))
        for (start, band), part in banded.groupby(["start", "band"])
    ]
    assert ask("over_time", params) == sorted(expected)

    expected = [
        (start, *ends(start, grain, first, last), model, len(part), round(fmean(part["score"]), 9))
        for (start, model), part in banded.groupby(["start", "model_version"])
    ]
    assert ask("mean_over_time", params) == sorted(expected)

    begin = hase.add_months(last.replace(day=1), -2)
    recent = of_choice[(of_choice["day"] >= begin) & (of_choice["day"] <= last)]
    recent = recent.assign(month=[day.replace(day=1) for day in recent["day"]])
    expected = [
        (month, ends(month, "month", begin, last)[1], score, len(part))
        for (month, score), part in recent.groupby(["month", "score"])
    ]
    assert ask("by_month", params) == sorted(expected)

    months = {"first_month": first.replace(day=1), "last_month": last.replace(day=1)}
    credits = chosen(raw_outcomes(rows), params)
    credits = credits[(credits["month"] >= months["first_month"]) & (credits["month"] <= months["last_month"])]
    expected = [
        (*key, len(part), sum(part["principal"], Decimal(0)))
        for key, part in credits.groupby(["month", "score", "state"])
    ]
    assert ask("outcomes", params | months) == sorted(expected)

    end = hase.add_months(months["last_month"], 1)
    scored = Counter(of_choice[(of_choice["day"] >= months["first_month"]) & (of_choice["day"] < end)]["score"])
    approved = Counter(credits[credits["score"] >= 0]["score"])
    expected = [(score, scored[score], approved[score]) for score in {*scored, *approved}]
    assert ask("scored_and_approved", params | months) == sorted(expected)

    granted = {credit.application_id: credit.principal for credit in rows["credits"]}
    decided = [
        (
            -1 if one.hase_score is None else min(one.hase_score // 10 * 10, 90),
            one.status,
            one.amount_requested,
            granted.get(str(number), Decimal(0)),
        )
        for number, one in enumerate(rows["applications"])
        if one.decided_at is not None
        and first <= local_day(one.decided_at) <= last
        and (not params["tiers"] or (one.sinosure_tier or "") in params["tiers"])
    ]
    expected = [
        (
            *key,
            sum((band, status) == key for band, status, *_ in decided),
            sum((amount for band, status, amount, _ in decided if (band, status) == key), Decimal(0)),
            sum((principal for band, status, _, principal in decided if (band, status) == key), Decimal(0)),
        )
        for key in {(band, status) for band, status, *_ in decided}
    ]
    assert ask("decisions", params) == sorted(expected)


def rows_behind(name: str, params: dict[str, Any]) -> int:
    return len(queries.ledger(f"rows/{name}", params))


@settings(SLOW, max_examples=10)
@given(ledgers(), choices, st.sampled_from(["day", "week", "month"]), st.sampled_from([5, 10]))
def test_the_rows_behind_each_mark_are_as_many_as_it_says(ledger, rows, choice, grain, width):
    fill(ledger, rows)
    first, last = choice["days"]
    params = {**choice, "first": first, "last": last, "grain": grain, "width": width}
    shared = {"tiers": choice["tiers"], "model_versions": choice["model_version"]}

    cells = hase.named_bands(queries.ledger("hase/over_time", params), width)
    for cell in cells.itertuples():
        of_cell = {"first": cell.first_day, "last": cell.last_day, "score_from": cell.score_from}
        assert rows_behind("scores", shared | of_cell | {"score_to": cell.score_to}) == cell.scores
    for point in queries.ledger("hase/mean_over_time", params).itertuples():
        of_point = {"first": point.first_day, "last": point.last_day, "model_version": point.model_version}
        assert rows_behind("scores", shared | of_point) == point.scores
    parts = hase.by_segment(queries.ledger("hase/distribution", params), "tier", width)
    for part in hase.named_bands(parts, width).itertuples():
        of_part = {"first": first, "last": last, "tier": part.tier, "score_from": part.score_from}
        assert rows_behind("scores", shared | of_part | {"score_to": part.score_to}) == part.scores

    months = {"first_month": first.replace(day=1), "last_month": last.replace(day=1)}
    days = {"first": months["first_month"], "last": hase.add_months(months["last_month"], 1) - timedelta(days=1)}
    outcomes = queries.ledger("hase/outcomes", params | months)
    for one in hase.named_bands(hase.late_by_band(outcomes, width), width).itertuples():
        if one.band >= 0:
            of_band = {"states": ("bad", "good"), "score_from": one.score_from, "score_to": one.score_to}
            assert rows_behind("outcomes", shared | days | of_band) == one.settled
    for month in hase.separation_by_month(outcomes[outcomes["score"] >= 0]).itertuples():
        of_month = {"month": month.month, "states": ("bad", "good"), "score_from": 0}
        assert rows_behind("outcomes", shared | of_month) == month.bad + month.good
    for one in queries.ledger("hase/decisions", params).itertuples():
        of_bar = {"first": first, "last": last, "tiers": choice["tiers"], "band": one.band, "status": one.status}
        assert rows_behind("decisions", of_bar) == one.applications


def test_an_empty_ledger_answers_every_question_with_its_columns(ledger):
    fill(ledger, {})
    params = {"first": TODAY, "last": TODAY, "first_month": TODAY.replace(day=1), "last_month": TODAY.replace(day=1)}
    for query in queries.load_queries():
        if query.source == "ledger" and query.name.startswith("hase/"):
            frame = queries.ledger(query.name, params)
            assert frame.empty
            assert list(frame.columns) == [column.name for column in query.columns]


# --- the histogram, by a real Prometheus ----------------------------------------------------------------------------


def histogram_series(values: list[dict[int, int]], start: int, step: int) -> str:
    """OpenMetrics of one process: after each step how often each score came since its start; None is a restart."""
    bounds = [0, 50, 60, 70, 75, 80, 85, 90, 95, 100]
    lines = ["# TYPE hase_score_distribution histogram"]
    for bound in [*bounds, math.inf]:
        le = "+Inf" if bound == math.inf else f"{float(bound)}"
        lines += [
            f'hase_score_distribution_bucket{{instance="a",le="{le}"}} '
            f"{sum(n for score, n in held.items() if score <= bound)} {start + place * step}"
            for place, held in enumerate(values)
        ]
    return "\n".join([*lines, "# EOF\n"])


def test_the_metrics_histogram_continues_over_a_restart_and_is_about_the_ledgers(prometheus_server):
    start, step = 1_767_225_600, 60
    # Ten scores of 55 and five of 100 in the first process, four of 72 in the second: it began again from nothing.
    grown = [{55: n, 100: n // 2} for n in range(11)]
    again = [{72: n} for n in range(5)]
    series = [{}, *[{}] * 3, *grown, *again, *[{72: 4}] * 4]
    url = prometheus_server(histogram_series(series, start, step))
    queries.connect(Sources(prometheus=Prometheus(url), scrape_interval=60))
    try:
        end = datetime.fromtimestamp(start + (len(series) - 1) * step, UTC)
        asked = {"time": end, "range": f"{len(series) * step}s"}
        frame = hase.histogram_buckets(queries.metrics("hase/distribution", asked))
    finally:
        queries.disconnect()
    about = dict(zip(frame["high"], frame["about"], strict=True))
    # increase() extrapolates to the ends of the range: at most a step at either side.
    assert about[60] == pytest.approx(10, rel=0.15)
    assert about[100] == pytest.approx(5, rel=0.15)
    assert about[75] == pytest.approx(4, rel=0.15)
    assert about[0] == about[50] == about[90] == 0
    assert frame["share"].sum() == pytest.approx(1)
    density = dict(zip(frame["high"], frame["density"], strict=True))
    assert density[60] == pytest.approx(about[60] / sum(about.values()) / 10)


def test_a_dead_prometheus_is_an_error_in_a_sentence():
    queries.connect(Sources(prometheus=Prometheus("http://127.0.0.1:9"), connect_timeout=1))
    try:
        with pytest.raises(SourceError, match="cannot be reached"):
            queries.metrics("hase/distribution", {"time": datetime.now(UTC), "range": "1d"})
    finally:
        queries.disconnect()


# --- the page -------------------------------------------------------------------------------------------------------


def company() -> dict[str, list[SimpleNamespace]]:
    """Fourteen months of forty applications each: refused below 60, and the lower the score the later the payments."""
    found: dict[str, list[SimpleNamespace]] = {
        name: [] for name in ("applications", "hase_scores", "credits", "installments")
    }
    for back in range(14):
        month = hase.add_months(TODAY.replace(day=1), -back)
        for number in range(40):
            score = 40 + (number * 7 + back) % 60
            at = midnight(month) + timedelta(hours=8, minutes=number)
            approved = score >= 60
            application = str(len(found["applications"]))
            found["applications"].append(
                row(
                    submitted_at=at,
                    decided_at=at,
                    hase_score=score,
                    sinosure_tier="AAA" if score >= 80 else "C",
                    status="approved" if approved else "rejected",
                    rejection_reason=None if approved else "low_hase_score",
                )
            )
            model = "hase-4" if back < 6 else "hase-3"
            found["hase_scores"].append(
                row(application_id=application, score=score, model_version=model, calculated_at=at)
            )
            if approved:
                credit = str(len(found["credits"]))
                found["credits"].append(
                    row(application_id=application, sinosure_tier="C", approved_at=at, disbursed_at=at, status="active")
                )
                # The first day that is over 30 days late is 31 days after it was due.
                due = month + timedelta(days=7)
                late = 40 if (score + back) % 5 == 0 and score < 85 else 2
                paid = midnight(due + timedelta(days=late)) + timedelta(hours=10)
                if local_day(paid) <= TODAY:
                    found["installments"].append(row(credit_id=credit, due_date=due, paid_at=paid))
    return found


def page(**params: str) -> AppTest:
    components.set_default_language("en")
    made = AppTest.from_file(str(ROOT / "pages" / "hase.py"), default_timeout=30)
    # All sections at once, unless one is asked for.
    for key, value in {"section": "all", **params}.items():
        made.query_params[key] = value
    return made.run()


def texts(drawn: AppTest) -> str:
    return "\n".join([*(one.value for one in drawn.caption), *(one.value for one in drawn.markdown)])


def test_the_page_tells_the_numbers_of_the_ledger(ledger):
    rows = company()
    fill(ledger, rows)
    drawn = page(period="last_12_months", cutoff="60", **{"try": "70"})
    assert not drawn.exception
    assert "could not be drawn" not in texts(drawn)

    first, last = days_of("last_12_months", TODAY)
    span = hase.outcome_months(first, last, TODAY)
    raw = raw_outcomes(rows)
    raw = raw[(raw["month"] >= span.first) & (raw["month"] <= span.last)]
    bad, good = (raw.loc[raw["state"] == state, "score"].tolist() for state in ("bad", "good"))
    assert bad
    assert f"{len(bad)} bad of {len(bad + good)} settled" in texts(drawn)
    pairs = fmean((g > b) + (g == b) / 2 for b in bad for g in good)
    assert f"Gini {components.percent(2 * pairs - 1)}" in texts(drawn)

    told = {metric.label: (metric.value, metric.delta) for metric in drawn.metric}
    kept = raw[raw["score"] >= 70]
    assert told["Approvals"] == (f"{len(kept)}", f"{len(kept) - len(raw)}")
    settled = kept[kept["state"].isin(["bad", "good"])]
    assert told["Late rate"][0] == components.percent(float((settled["state"] == "bad").mean()))
    assert f"{len(raw) - len(kept)} credits with a score below 70 would not have been approved" in texts(drawn)


def test_lowering_the_cutoff_says_that_it_is_a_guess(ledger):
    fill(ledger, company())
    drawn = page(period="last_12_months", cutoff="60", **{"try": "55"})
    assert not drawn.exception
    assert "Extrapolated: scores from 55 to 59" in texts(drawn)
    assert "How refused applicants would have paid is unknown" in texts(drawn)
    assert "≈ Approvals" in [metric.label for metric in drawn.metric]


def test_the_cutoff_that_the_ledger_shows_is_offered(ledger):
    fill(ledger, company())
    drawn = page()
    assert drawn.number_input(key="cutoff").value == 60
    assert drawn.slider(key="try").value == 65


def test_the_page_opens_on_an_empty_ledger(ledger):
    fill(ledger, {})
    drawn = page()
    assert not drawn.exception
    assert "could not be drawn" not in texts(drawn)
    assert texts(drawn).count("No data for this choice") >= 8


def test_the_page_opens_while_the_ledger_is_down():
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    drawn = page(model_version="hase-4")
    assert not drawn.exception
    assert not drawn.warning
    assert drawn.multiselect(key="model_version").value == ["hase-4"]
    assert "The ledger cannot be reached" in texts(drawn)
    assert "could not be drawn" not in texts(drawn)


def test_a_link_with_an_impossible_choice_opens_the_usual_one(ledger):
    fill(ledger, company())
    drawn = page(baseline="1999-01", drift_month="x", cutoff="x", width="7", model_version="gone", **{"try": "900"})
    assert not drawn.exception
    assert drawn.selectbox(key="baseline").value == f"{hase.add_months(TODAY.replace(day=1), -12):%Y-%m}"
    assert drawn.slider(key="try").value == 65
    told = " ".join(one.value for one in drawn.warning)
    for part in ("baseline=1999-01", "drift_month=x", "cutoff=x", "width=7", "model_version=gone", "try=900"):
        assert f"“{part}”" in told


# --- in the browser -------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_bar_opens_its_credits_and_a_row_its_credit(ledger, server_dir):
    rows = company()
    fill(ledger, rows)
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    asked = "/hase?period=last_12_months&section=cutoff&cutoff=60&try=70"
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(dashboard.url + asked)
        panel = window.page.locator(".st-key-panel-what_if")
        chart = panel.locator("canvas, svg.marks").first
        chart.scroll_into_view_if_needed()
        size = chart.bounding_box()
        assert size is not None
        chart.click(position={"x": size["width"] * 0.5, "y": size["height"] * 0.62})
        opened = window.page.locator(".st-key-rows-what_if")
        opened.wait_for(timeout=30_000)
        window.wait_for_text("Credits and how they turned out")
        heading = opened.inner_text()
        found = re.search(r"(\d+) rows?: .*HASE (\d+)", heading)
        assert found, heading
        span = hase.outcome_months(*days_of("last_12_months", TODAY), TODAY)
        raw = raw_outcomes(rows)
        inside = raw[(raw["month"] >= span.first) & (raw["month"] <= span.last)]
        assert int(found[1]) == (inside["score"] == int(found[2])).sum()
        assert "rows have changed since" not in heading

        assert "/credit?" in window.follow_first_row(opened)
        window.assert_clean()


def downloaded(window: Viewer, opened: Locator) -> pd.DataFrame:
    """All of the opened rows, in their order, as the link of their file gives them."""
    link = opened.get_by_role("link", name="CSV").get_attribute("href") or ""
    answer = window.page.request.get(urljoin(window.page.url, link))
    assert answer.ok, answer.text()
    return pd.read_csv(io.BytesIO(answer.body()), dtype={"credit_id": "str"}, keep_default_na=False)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_rate_or_on_a_score_opens_exactly_its_rows_and_a_score_leads_to_its_credit(ledger, server_dir):
    rows = company()
    fill(ledger, rows)
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    asked = "/hase?period=last_12_months&events=off&compare=none"
    span = hase.outcome_months(*days_of("last_12_months", TODAY), TODAY)
    raw = raw_outcomes(rows)
    raw = raw[(raw["month"] >= span.first) & (raw["month"] <= span.last) & raw["state"].isin(["bad", "good"])]
    first, last = days_of("last_12_months", TODAY)
    scores = [one for one in rows["hase_scores"] if first <= local_day(one.calculated_at) <= last]
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(f"{dashboard.url}{asked}&section=prediction", timeout=60)
        dots = window.page.locator('.st-key-panel-late_rate_by_band svg path[aria-roledescription="point"]')
        assert dots.count() == len(set(hase.band_of(raw["score"], 10)))
        dot = dots.nth(1)
        found = re.search(r"HASE score: (\d+)–(\d+)", dot.get_attribute("aria-label") or "")
        assert found, dot.get_attribute("aria-label")
        opened = window.open_rows(dot, "late_rate_by_band")
        behind = raw[raw["score"].between(int(found[1]), int(found[2]))]
        assert 0 < len(behind) < len(raw)
        window.wait_for_text(f"{len(behind)} rows: ")
        assert f"HASE {found[1]}–{found[2]}" in opened.inner_text()
        assert "rows have changed since" not in opened.inner_text()
        shown = downloaded(window, opened)
        assert sorted(shown["credit_id"]) == sorted(str(number) for number in behind.index)

        window.open(f"{dashboard.url}{asked}&section=scores", timeout=60)
        bars = window.page.locator('.st-key-panel-scores_of_the_period svg path[aria-roledescription="bar"]')
        # The highest score: all of its applications were approved.
        opened = window.open_rows(bars.last, "scores_of_the_period")
        highest = max(one.score for one in scores)
        behind = sorted((one for one in scores if one.score == highest), key=lambda one: one.calculated_at)
        window.wait_for_text(f"{len(behind)} rows: ")
        assert "rows have changed since" not in opened.inner_text()
        shown = downloaded(window, opened)
        assert [*shown["score_id"]] == [one.score_id for one in reversed(behind)], "the newest first"
        assert f"/credit?id={shown['credit_id'].iloc[0]}&" in window.follow_first_row(opened) + "&"
        window.drawn()
        window.assert_clean()
