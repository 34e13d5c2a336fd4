"""Every named PromQL question on Prometheus and on VictoriaMetrics (Debian's package), loaded with the same samples.

Both are asked through Mirador's own client, with no setting of VictoriaMetrics changed. Frames have the same columns,
label sets and times, and values that are equal to nine digits, in the steady story, where every engine must agree, in
the one in which nothing was scraped, and, but for the table below, in the rough one, too. What the table says of
VictoriaMetrics is compared as well, to nine digits: an exception is another known answer, not a wider tolerance.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pandas as pd
import pytest
import requests

from queries.library import Query, find_query, load_queries
from queries.metrics_client import MetricsClient
from tests.known_series import SCRAPE, ZONE
from tests.promql_reference import BEFORE, CASES, Case, counted, counted_per_second, expected, rows

NAMES = tuple(sorted(query.name for query in load_queries() if query.source == "metrics"))

# How an answer differs in the rough story: the rule of VictoriaMetrics that stands in `At` in place of Prometheus's.
#
# increase() is from the last sample before the window to the last within it, also where that spans a gap. Prometheus
# knows the samples within the window only, and extrapolates to its edges.
COUNTS: dict[str, Any] = {"grown": counted}
# rate() is over the time between the samples that it counts, of which the first is not sought beyond a gap. Prometheus
# divides by the whole window also where a series was there for a part of it.
RATES: dict[str, Any] = {"paced": counted_per_second}
# A value holds for an eighth over one scrape interval after the last sample. In Prometheus it holds for five minutes.
FORGETS: dict[str, Any] = {"lookback": BEFORE}

EXCEPTIONS = {
    "api_health/database": COUNTS,
    "api_health/error_rate": COUNTS,
    "api_health/failing": COUNTS | RATES,
    "api_health/latency": COUNTS,
    "api_health/redis_failures": COUNTS,
    "api_health/slowest": COUNTS | RATES,
    "api_health/within": COUNTS,
    "approvals/last_hour": COUNTS,
    "disbursements/neon_error_rate": COUNTS,
    "hase/distribution": COUNTS,
    "integrations/calls": COUNTS,
    "integrations/error_rate": COUNTS,
    "integrations/latency": COUNTS,
    "integrations/quantiles": COUNTS,
    "reconcile/days/applications_approved": COUNTS,
    "reconcile/days/applications_rejected": COUNTS,
    "reconcile/days/applications_submitted": COUNTS,
    "reconcile/days/credits_disbursed": COUNTS,
    "reconcile/days/credits_disbursed_mxn": COUNTS,
    "reconcile/days/hase_distribution": COUNTS,
    "reconcile/days/hase_scores": COUNTS,
    "reconcile/days/integration_calls": COUNTS,
    "reconcile/days/payments": COUNTS,
    "today/api_error_rate": COUNTS,
    "today/api_p95": COUNTS,
    "today/applications": COUNTS,
    "today/approval_rate": COUNTS,
    "today/credits_disbursed": COUNTS,
    "today/disbursed_mxn": COUNTS,
    "today/hase_mean": COUNTS,
    "today/integration_error_rate": COUNTS,
    "today/payment_success": COUNTS,
    "watch/db_latency": COUNTS,
    "watch/error_rate": COUNTS,
    "watch/integration_calls": COUNTS,
    "watch/integration_failures": COUNTS,
    "watch/integration_latency": COUNTS,
    "watch/latency": COUNTS,
    "watch/slow_endpoints": COUNTS,
    "api_health/host": RATES | FORGETS,
    "api_health/postgres": RATES,
    "api_health/postgres_shares": RATES | FORGETS,
    "api_health/redis_commands": RATES,
    "api_health/redis_server": RATES | FORGETS,
    "api_health/request_rate": RATES,
    "integrations/call_rate": RATES,
    "watch/errors_by_endpoint": RATES,
    "watch/requests": RATES,
    "watch/alert": FORGETS,
    "watch/db_connections": FORGETS,
    "watch/freshness": FORGETS,
    "watch/gaps": FORGETS,
    "watch/kpi": FORGETS,
    "watch/slo_budget": FORGETS,
    "watch/slo_burn": FORGETS,
    "watch/slo_errors": FORGETS,
    "watch/sources": FORGETS,
    "watch/targets": FORGETS,
    "watch/watchdog": FORGETS,
}


def made(url: str) -> MetricsClient:
    return MetricsClient(url, zone=ZONE, scrape_interval=SCRAPE, connections=2, query_timeout=20, connect_timeout=2)


@pytest.fixture(scope="module")
def prometheus(known_prometheus: str) -> Iterator[MetricsClient]:
    client = made(known_prometheus)
    yield client
    client.close()


@pytest.fixture(scope="module")
def victoria(victoria_metrics: str) -> Iterator[MetricsClient]:
    client = made(victoria_metrics)
    yield client
    client.close()


def differences(case: Case) -> dict[str, Any]:
    """The rules by which the two may differ in this case; none where they may not."""
    # An alert ends in the steady story, too.
    return EXCEPTIONS.get(case.name, {}) if case.story == "rough" or case.name == "watch/alert" else {}


@cache
def asked(client: MetricsClient, case: Case) -> pd.DataFrame:
    query = find_query("metrics", case.name)
    frame, _, warnings = client.run(query, query.bind(case.params, {}))
    assert not warnings
    return frame


def test_each_exception_is_of_a_query_that_is_there():
    assert EXCEPTIONS.keys() <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_give_the_same_frame(prometheus: MetricsClient, victoria: MetricsClient, name: str):
    for case in (one for one in CASES if one.name == name):
        theirs, ours = asked(prometheus, case), asked(victoria, case)
        told, found = rows(theirs), rows(ours)
        assert list(ours.columns) == list(theirs.columns), case
        assert ours.dtypes.to_dict() == theirs.dtypes.to_dict(), case
        if differences(case):
            # Other numbers, and it is known which.
            told = expected(case, **differences(case))
        assert found.keys() == told.keys(), case
        assert found == pytest.approx(told, rel=1e-9, abs=1e-9), case


@pytest.mark.parametrize(
    ("begins", "values", "grown", "pace"),
    [
        # Scrapes 120 s apart, the last of them 20 s before the end of a window of 480 s.
        (100, [100, 101, 103, 106, 110, 115], 14, 14 / 480),
        # A restart from 103 to 4.
        (100, [100, 101, 103, 4, 5, 6], 8, 8 / 480),
        # It begins within the window, at zero.
        (340, [0, 2, 6, 7], 7, 7 / 360),
        (700, [0], 0, None),
        # Nothing in the window: no growth while the sample before it is not older than a scrape and an eighth.
        (0, [100, 130], 0, 0),
        (-60, [100, 130], None, None),
    ],
)
def test_the_reference_counts_as_victoriametrics_documents(
    begins: int, values: list[float], grown: float | None, pace: float | None
):
    """By hand: a window from 240 s to 720 s, in a question that goes on to 1000 s."""
    times = [begins + SCRAPE * place for place in range(len(values))]
    beyond = [950] if times[-1] < 240 else []
    seen, told = times + beyond, values + [900.0] * len(beyond)
    assert counted(seen, told, 240, 720) == (None if grown is None else pytest.approx(grown))
    assert counted_per_second(seen, told, 240, 720) == (None if pace is None else pytest.approx(pace))


def test_a_gap_is_counted_and_no_second_is_told_from_before_it():
    """By hand: nothing from 120 s to 480 s; the window is from 300 s to 720 s."""
    times, values = [0, 120, 480, 600, 720 - 1], [10.0, 20.0, 80.0, 90.0, 100.0]
    assert counted(times, values, 300, 720) == 80
    assert counted_per_second(times, values, 300, 720) == pytest.approx(20 / (719 - 480))


def test_an_exception_is_one(prometheus: MetricsClient, victoria: MetricsClient):
    """A query in the table that gives the same answers in all stories does not belong there."""
    for name in EXCEPTIONS:
        cases = [case for case in CASES if case.name == name and case.story == "rough"]
        pairs = [(rows(asked(prometheus, case)), rows(asked(victoria, case))) for case in cases]
        same = [one.keys() == other.keys() and other == pytest.approx(one, rel=1e-9, abs=1e-9) for one, other in pairs]
        assert not all(same), name


def test_the_moments_of_a_question_are_not_moved(victoria: MetricsClient, victoria_metrics: str):
    """Without `nocache` VictoriaMetrics moves a question of 50 points or more to multiples of its step.

    Ninety midnights in Mexico City would then be ninety midnights in UTC, of which Mirador asked none.
    """
    case = next(one for one in CASES if one.name == "incidents/probe_days" and len(one.params["days"]) == 90)
    assert rows(asked(victoria, case)) == expected(case)
    end = int(case.params["as_of"].timestamp()) // 86400 * 86400 + 6 * 3600
    span = {"query": "count(up)", "start": end - 89 * 86400, "end": end, "step": 86400}
    answer = requests.get(f"{victoria_metrics}/api/v1/query_range", params=span, timeout=10).json()
    moved = {int(at) % 86400 for one in answer["data"]["result"] for at, _ in one["values"]}
    assert moved == {0}


def test_a_day_without_samples_does_not_take_the_value_of_the_day_before(
    victoria: MetricsClient, victoria_metrics: str
):
    """Without `max_lookback` a question of one moment a day takes a gauge's last value of up to a day before."""
    case = [one for one in CASES if one.name == "today/active_credits" and one.story == "absent"][-1]
    assert asked(victoria, case).empty
    at = int(case.params["as_of"].timestamp())
    span = {"query": "sum(credits_active_count)", "start": at - 86400, "end": at, "step": 86400, "nocache": 1}
    for more, empty in (({}, False), ({"max_lookback": "5m"}, True)):
        answer = requests.get(f"{victoria_metrics}/api/v1/query_range", params=span | more, timeout=10).json()
        last = [value for one in answer["data"]["result"] for moment, value in one["values"] if moment == at]
        assert (not last) == empty


def written(name: str, samples: list[tuple[int, float]]) -> bytes:
    """Samples of one series as an agent's remote write: Prometheus's protocol buffers in Snappy, uncompressed."""

    def varint(number: int) -> bytes:
        low, rest = number & 0x7F, number >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    def field(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    label = field(1, field(1, b"__name__") + field(2, name.encode()))
    points = b"".join(field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at)) for at, value in samples)
    message = field(1, label + points)
    return varint(len(message)) + bytes([61 << 2]) + struct.pack("<H", len(message) - 1) + message


def test_the_end_of_a_series_is_no_sample(victoria: MetricsClient, victoria_metrics: str):
    """What an agent writes when a target is gone is a marker, which VictoriaMetrics gives out as NaN."""
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    start = int(time.time()) - 600
    samples = [(1000 * (start + 15 * place), value) for place, value in enumerate((1.0, 2.0, stale))]
    url = victoria_metrics
    requests.post(f"{url}/api/v1/write", data=written("ended_total", samples), timeout=10).raise_for_status()
    requests.get(f"{url}/internal/force_flush", timeout=10).raise_for_status()
    asked_for = {"query": "ended_total[5m]", "time": start + 60}
    answer = requests.get(f"{url}/api/v1/query", params=asked_for, timeout=10).json()
    assert [value for _, value in answer["data"]["result"][0]["values"]] == ["1", "2", "NaN"]
    query = replace(find_query("metrics", "reconcile/payments"), text="ended_total")
    span = {"start": datetime.fromtimestamp(start - 60, UTC), "end": datetime.fromtimestamp(start + 60, UTC)}
    frame, _, _ = victoria.run(query, span)
    assert frame["value"].tolist() == [1, 2]


def test_it_is_a_source_like_any_other(victoria: MetricsClient):
    assert 0 <= victoria.ping() < 5
    # It does not tell how long it keeps its samples.
    assert victoria.retention() is None
    newest = find_query("metrics", "sources/newest_sample")
    frame, _, _ = victoria.run(newest, {})
    assert 0 <= time.time() - frame["value"].iloc[0] <= 201
    refused = Query("bad", "metrics", "", "", "sum(", kind="instant")
    with pytest.raises(Exception, match="refused this question"):
        victoria.run(refused, {"time": datetime.now(UTC)})
