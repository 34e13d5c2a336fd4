"""Every named PromQL question on a real Prometheus, against plain Python on the same samples.

The samples (`tests.known_series`) hold restarts, a gap longer than five minutes, two replicas of which one is away,
series that appear late, end or never were, and half an hour of nothing over nothing. The answers
(`tests.promql_reference`) never look at the PromQL: a query that sums the wrong way, counts a replica twice or draws
over a gap differs from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from queries.library import find_query, load_queries
from queries.metrics_client import MetricsClient
from tests import known_series
from tests.known_series import GAP, HOUR, SCRAPE, ZONE, day, known, moment
from tests.promql_reference import ANSWERS, CASES, SAMPLES, Case, expected, increase, rows

NAMES = tuple(sorted(query.name for query in load_queries() if query.source == "metrics"))


@pytest.fixture(scope="module")
def client(known_prometheus: str) -> Iterator[MetricsClient]:
    made = MetricsClient(
        known_prometheus, zone=ZONE, scrape_interval=SCRAPE, connections=2, query_timeout=20, connect_timeout=2
    )
    yield made
    made.close()


def test_every_query_has_an_answer_by_the_samples_and_is_asked_in_each_story():
    assert set(NAMES) == set(ANSWERS) | set(SAMPLES)
    for name in NAMES:
        stories = {case.story for case in CASES if case.name == name}
        assert stories == ({"rough"} if name == "sources/newest_sample" else {"rough", "steady", "absent"}), name


def test_the_rough_story_has_restarts_a_gap_and_silence():
    for one in known():
        if one.name != "http_requests_total" or one.labels["instance"] in {"c", "d"}:
            continue
        inside = [(at, value) for at, value in zip(one.times, one.values, strict=True) if at < known_series.ROUGH[1]]
        # One series appears after its replica's restart.
        if inside[0][0] < GAP[0]:
            assert (
                any(after < before for (_, before), (_, after) in pairwise(inside)) or one.labels["endpoint"] == "/rare"
            )
            assert max(later - sooner for (sooner, _), (later, _) in pairwise(inside)) > 300
        quiet = [value for at, value in inside if known_series.QUIET[0] <= at < known_series.QUIET[1]]
        assert len(quiet) == 15
        assert len(set(quiet)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_query_answers_what_the_samples_say(client: MetricsClient, name: str):
    query = find_query("metrics", name)
    declared = {column.name for column in query.columns}
    for case in (one for one in CASES if one.name == name):
        before = expected(case)
        frame, _, warnings = client.run(query, query.bind(case.params, {}))
        found = rows(frame)
        # A question of this very moment may be asked just before a new sample, and answered just after it.
        wanted = before if found.keys() == before.keys() and found == pytest.approx(before) else expected(case)
        assert bool(wanted) == (case.story != "absent"), f"{case}: nothing is compared"
        assert found.keys() == wanted.keys(), case
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9), case
        assert not warnings
        assert frame.empty or declared <= set(frame.columns), case


def ask(client: MetricsClient, name: str, **params: object) -> dict[object, float]:
    """The values of a frame with one row a time, day or label."""
    query = find_query("metrics", name)
    frame, _, _ = client.run(query, query.bind(params, {}))
    return {when or dict(key).get("integration"): value for (when, key), value in rows(frame).items()}


def test_a_steady_day_counts_what_was_counted_through_its_restarts(client: MetricsClient):
    """By hand: 720 scrapes of two replicas, 9 + 3 payments that succeeded, 2 that failed and 4 that are not over."""
    steady = {"days": (day(4),), "day": day(4), "as_of": moment(6 * 86400)}
    assert ask(client, "reconcile/days/payments", **steady) == {day(4): pytest.approx(720 * 2 * 18)}
    assert ask(client, "today/payment_success", **steady) == {day(4): pytest.approx(12 / 14)}
    assert ask(client, "today/disbursed_mxn", **steady) == {day(4): pytest.approx(720 * 2 * 45_000)}
    # 300 and 120 credits, in both one more each hour since BASE and at the last scrape but one of a day. Replica b
    # is one behind, and not added.
    assert ask(client, "reconcile/days/active_credits", **steady) == {day(4): 420 + 2 * (5 * 24 - 1) + 2}


def test_two_hours_of_the_gap_are_told_as_prometheus_tells_them(client: MetricsClient):
    """By hand: a window of 480 s holds four scrapes; it is empty from 480 s after the last to the second one after."""
    span = {"start": moment(9 * HOUR), "end": moment(11 * HOUR)}
    times = sorted(float(str(at)) - known_series.BASE for at in ask(client, "watch/error_rate", **span))
    missing = sorted(set(range(9 * HOUR, 11 * HOUR + 1, SCRAPE)) - {int(at) for at in times})
    # The last scrape before was at 9:58:07, the first after at 10:26:07: two of them are needed.
    assert (missing[0], missing[-1]) == (10 * HOUR + 360, 10 * HOUR + 1680)


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        # Scrapes 10 s apart in a window of 60 s, the first 5 s after its start, the last 5 s before its end.
        ([100, 101, 102, 103, 104, 105], 6.0),
        ([100, 101, 102, 1, 2, 3], 6.0),
        # It was zero at the first scrape: nothing is added before it.
        ([0, 1, 2, 3, 4, 5], 5.5),
        ([7, 7, 7, 7, 7, 7], 0.0),
        ([7], None),
    ],
)
def test_the_reference_extrapolates_as_prometheus_documents(values: list[float], grown: float | None):
    times = [1005 + 10 * place for place in range(len(values))]
    assert increase(times, values, 1000, 1060) == (None if grown is None else pytest.approx(grown))


def test_cases_have_names_of_their_own():
    told = [str(case) + repr(sorted(case.params.items(), key=str)) for case in CASES]
    assert len(told) == len(set(told))
    assert isinstance(CASES[0], Case)
