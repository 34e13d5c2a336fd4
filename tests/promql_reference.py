"""What each named PromQL question answers, in plain Python from the samples: nothing here reads the PromQL.

Prometheus's documented rules are followed for what it calls extrapolation (`increase`), staleness (`At.last`) and
interpolation (`quantile`); everything else is sums and shares. An answer is a `Vector`: labels and a value.
VictoriaMetrics counts by rules of its own (`counted`, `counted_per_second`): the last sample before the window belongs
to it, and nothing is extrapolated (https://docs.victoriametrics.com/metricsql/). How old that sample may be is known
from its source (app/vmselect/promql/rollup.go, getMaxPrevInterval).

`CASES` asks every question in each story of `tests.known_series`; `expected` is the answer by the samples and `rows`
the answer that a server gave, in the same form.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import pandas as pd

from queries.library import Query, find_query, load_queries
from tests.known_series import SCRAPE, ZONE, Labels, Series, day, known, moment

Key = frozenset[tuple[str, str]]
Vector = dict[Key, float]
Keep = Callable[[Labels], bool]
Counter = Callable[[list[int], list[float], float, float], float | None]
LOOKBACK = 300
# For so many seconds before a window VictoriaMetrics takes the last sample for one that the window goes on from: an
# eighth over the distance of the samples.
BEFORE = 1.125 * SCRAPE


@cache
def _by_name() -> dict[str, list[tuple[Key, Series]]]:
    found: dict[str, list[tuple[Key, Series]]] = defaultdict(list)
    for one in known():
        found[one.name].append((frozenset(one.labels.items()), one))
    return found


@lru_cache(maxsize=256)
def _until(name: str, end: float) -> list[tuple[Key, Series]]:
    """The series of this name with what is known of them at the end of a question: nothing that comes after."""
    found = []
    for key, one in _by_name().get(name, ()):
        seen = bisect_right(one.times, end)
        if seen:
            found.append((key, Series(one.name, one.labels, one.times[:seen], one.values[:seen])))
    return found


def increase(times: list[int], values: list[float], start: float, end: float) -> float | None:
    """Prometheus's increase() between two moments: resets continued, then extrapolated to the edges of the window.

    Not further than half a sample's distance where the first or last sample is more than 1.1 distances from the edge,
    and not further back than where the line would have been zero. None for fewer than two samples.
    """
    first, beyond = bisect_left(times, start), bisect_right(times, end)
    count = beyond - first
    if count < 2:
        return None
    grown = values[beyond - 1] - values[first]
    for place in range(first + 1, beyond):
        if values[place] < values[place - 1]:
            grown += values[place - 1]
    sampled = times[beyond - 1] - times[first]
    distance = sampled / (count - 1)
    before, after = times[first] - start, end - times[beyond - 1]
    if before >= 1.1 * distance:
        before = distance / 2
    if grown > 0:
        before = min(before, sampled * values[first] / grown)
    if after >= 1.1 * distance:
        after = distance / 2
    return grown * (sampled + before + after) / sampled


def per_second(times: list[int], values: list[float], start: float, end: float) -> float | None:
    """Prometheus's rate() between two moments: its increase() over the whole of the window."""
    grown = increase(times, values, start, end)
    return None if grown is None else grown / (end - start)


def counted(times: list[int], values: list[float], start: float, end: float) -> float | None:
    """VictoriaMetrics's increase(): from the last sample before the window to the last within it, resets continued.

    However long ago that was; a series that begins within the window begins at zero. An empty window has grown by
    nothing while the sample before it is not older than `BEFORE`.
    """
    first, beyond = bisect_right(times, start), bisect_right(times, end)
    if first == beyond:
        return 0.0 if _held(times, first, start) else None
    return _grown(values, first - 1, beyond) if first else values[0] + _grown(values, 0, beyond)


def counted_per_second(times: list[int], values: list[float], start: float, end: float) -> float | None:
    """VictoriaMetrics's rate(): what was counted from one sample to another, over the seconds between these two.

    The first is the last before the window, unless it is older than `BEFORE`: then the first within it, so that of a
    single sample nothing is known.
    """
    first, beyond = bisect_right(times, start), bisect_right(times, end)
    held = _held(times, first, start)
    if first == beyond:
        return 0.0 if held else None
    since = first - 1 if held else first
    if since == beyond - 1:
        return None
    return _grown(values, since, beyond) / (times[beyond - 1] - times[since])


def _held(times: list[int], first: int, start: float) -> bool:
    return 0 < first < len(times) and times[first - 1] > start - BEFORE


def _grown(values: list[float], since: int, beyond: int) -> float:
    """How far a counter has come from the sample at `since` to the last before `beyond`; a fall is a restart."""
    pairs = pairwise(values[since:beyond])
    return sum((after - before if after >= before else after for before, after in pairs), 0.0)


@dataclass(frozen=True)
class At:
    """One moment of a question: `window` are the seconds that `$window` stands for, `end` the end of the range.

    `grown` is the engine's increase(), `paced` its rate(), `lookback` for how many seconds a gauge holds after its last
    sample.
    """

    time: float
    window: float
    end: float
    grown: Counter = increase
    paced: Counter = per_second
    lookback: float = LOOKBACK

    def _each(self, name: str, keep: Keep | None) -> Iterator[tuple[Key, Series]]:
        for key, one in _until(name, self.end):
            if keep is None or keep(one.labels):
                yield key, one

    def last(self, name: str, keep: Keep | None = None, *, offset: float = 0, age: float = 0) -> Vector:
        """The newest sample of each series, unless it is older than `age` seconds (the lookback)."""
        found: Vector = {}
        age = age or self.lookback
        for key, one in self._each(name, keep):
            place = bisect_right(one.times, self.time - offset) - 1
            if place >= 0 and one.times[place] > self.time - offset - age:
                found[key] = one.values[place]
        return found

    def increase(
        self, name: str, keep: Keep | None = None, *, over: float | None = None, at_end: bool = False
    ) -> Vector:
        """The increase of each counter over the window (or `over` seconds) before the moment (or the range's end)."""
        return self._counters(self.grown, name, keep, over, at_end)

    def rate(self, name: str, keep: Keep | None = None, *, over: float | None = None, at_end: bool = False) -> Vector:
        """The same a second."""
        return self._counters(self.paced, name, keep, over, at_end)

    def _counters(self, of: Counter, name: str, keep: Keep | None, over: float | None, at_end: bool) -> Vector:
        end = self.end if at_end else self.time
        found: Vector = {}
        for key, one in self._each(name, keep):
            value = of(one.times, one.values, end - (over or self.window), end)
            if value is not None:
                found[key] = value
        return found

    def over(
        self, name: str, fold: Callable[[list[float]], float], keep: Keep | None = None, *, over: float | None = None
    ) -> Vector:
        """The samples of each series within the window, folded to one value."""
        found: Vector = {}
        for key, one in self._each(name, keep):
            inside = one.values[
                bisect_left(one.times, self.time - (over or self.window)) : bisect_right(one.times, self.time)
            ]
            if inside:
                found[key] = fold(inside)
        return found


def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def by(vector: Mapping[Key, float], *labels: str, fold: Callable[[list[float]], float] = sum) -> Vector:
    """The values of each group of series that share these labels, folded."""
    groups: dict[Key, list[float]] = defaultdict(list)
    for key, value in vector.items():
        groups[frozenset(pair for pair in key if pair[0] in labels)].append(value)
    return {key: fold(values) for key, values in groups.items()}


def tagged(label: str, value: str, vector: Vector) -> Vector:
    """Each series with one label more."""
    return {key | {(label, value)}: number for key, number in vector.items()}


def share(part: Vector, whole: Vector) -> Vector:
    """Part over whole where there is a whole; a part that is not there is nothing."""
    return {key: part.get(key, 0.0) / value for key, value in whole.items() if value > 0}


def quantile(q: float, buckets: Vector) -> Vector:
    """The quantile of each histogram, on a straight line within its bucket; none of an empty histogram."""
    groups: dict[Key, list[tuple[float, float]]] = defaultdict(list)
    for key, value in buckets.items():
        le = next(text for name, text in key if name == "le")
        groups[frozenset(pair for pair in key if pair[0] != "le")].append((float(le), value))
    found: Vector = {}
    for key, pairs in groups.items():
        pairs.sort()
        if pairs[-1][1] <= 0:
            continue
        rank = q * pairs[-1][1]
        low = below = 0.0
        for place, (high, upto) in enumerate(pairs):
            if upto >= rank:
                if place == len(pairs) - 1:
                    found[key] = low
                else:
                    found[key] = low + (high - low) * (rank - below) / (upto - below) if upto > below else high
                break
            low, below = high, upto
    return found


def largest(count: int, vector: Vector) -> Vector:
    """The series with the largest values."""
    return dict(sorted(vector.items(), key=lambda one: -one[1])[:count])


def alike(vector: Vector, other: Iterable[Key]) -> Vector:
    """The series that the other vector has, too."""
    return {key: vector[key] for key in other if key in vector}


# --- the questions ----------------------------------------------------------------------------------------------------

Answer = Callable[[At, Mapping[str, Any]], Vector]
ANSWERS: dict[str, Answer] = {}
# Questions for samples as they were scraped: the series, and which of them.
SAMPLES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Keep] | None]] = {}


def answers(*names: str) -> Callable[[Answer], Answer]:
    """Say of which questions a function tells the answer."""

    def note(answer: Answer) -> Answer:
        ANSWERS.update(dict.fromkeys(names, answer))
        return answer

    return note


def _failed(labels: Labels) -> bool:
    return labels["status"].startswith("5")


def _not_ok(labels: Labels) -> bool:
    return labels["status"] != "success"


def _chosen(params: Mapping[str, Any]) -> Keep:
    wanted = params.get("integrations")
    return lambda labels: not wanted or labels["integration"] in wanted


def _seconds(params: Mapping[str, Any]) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return float(params["range"][:-1]) * units[params["range"][-1]]


@answers("alerts/pending")
def _pending(at: At, _: Mapping[str, Any]) -> Vector:
    pending = at.last("ALERTS", lambda labels: labels["alertstate"] == "pending")
    return alike(at.last("ALERTS_FOR_STATE"), [key - {("alertstate", "pending")} for key in pending])


@answers("watch/alert", "watch/alert_now")
def _alert(at: At, params: Mapping[str, Any]) -> Vector:
    return by(at.last("ALERTS", lambda labels: labels["alertname"] == params["alert"]), "alertstate", fold=len)


# The API


@answers("api_health/connections")
def _connections(at: At, _: Mapping[str, Any]) -> Vector:
    found: Vector = {}
    for measure, name in (("in use", "db_connections_active"), ("at most", "db_connections_max")):
        found |= tagged("measure", measure, by(at.over(name, max), "instance", fold=max))
    return found


@answers("watch/db_connections")
def _connection_share(at: At, _: Mapping[str, Any]) -> Vector:
    return by(share(at.last("db_connections_active"), at.last("db_connections_max")), "instance", fold=max)


@answers("api_health/database")
def _database(at: At, _: Mapping[str, Any]) -> Vector:
    return quantile(0.95, by(at.increase("db_query_duration_seconds_bucket"), "le", "table", "operation"))


@answers("watch/db_latency")
def _tables(at: At, _: Mapping[str, Any]) -> Vector:
    return quantile(0.95, by(at.increase("db_query_duration_seconds_bucket"), "le", "table"))


@answers("api_health/error_rate", "watch/error_rate")
def _error_rate(at: At, _: Mapping[str, Any]) -> Vector:
    return share(by(at.increase("http_requests_total", _failed)), by(at.increase("http_requests_total")))


@answers("api_health/exporters")
def _exporters(at: At, params: Mapping[str, Any]) -> Vector:
    found: Vector = {}
    for exporter, name in (("host", "node_memory_MemTotal_bytes"), ("postgres", "pg_up"), ("redis", "redis_up")):
        found |= tagged("exporter", exporter, by(at.last(name, age=_seconds(params)), fold=len))
    return found


@answers("api_health/failing")
def _failing(at: At, params: Mapping[str, Any]) -> Vector:
    over = _seconds(params)
    asked = by(at.increase("http_requests_total", over=over), "method", "endpoint")
    failed = by(at.increase("http_requests_total", _failed, over=over), "method", "endpoint")
    pace = by(at.rate("http_requests_total", over=over), "method", "endpoint")
    return largest(10, {key: failed[key] / asked[key] for key in failed if pace[key] > params.get("floor", 0.01)})


@answers("api_health/host")
def _host(at: At, _: Mapping[str, Any]) -> Vector:
    idle = by(at.rate("node_cpu_seconds_total", lambda labels: labels["mode"] == "idle"), "instance", fold=mean)
    found = tagged("part", "CPU", {key: 1 - value for key, value in idle.items()})

    def disk(labels: Labels) -> bool:
        return labels["fstype"] not in {"tmpfs", "ramfs", "overlay", "squashfs"}

    for part, free, size, keep in (
        ("memory", "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", None),
        ("disk", "node_filesystem_avail_bytes", "node_filesystem_size_bytes", disk),
    ):
        left = share(at.last(free, keep), at.last(size, keep))
        used = {key: 1 - value for key, value in left.items()}
        found |= tagged("part", part, by(used, "instance", fold=max))
    return found


@answers("api_health/latency", "watch/latency")
def _latency(at: At, _: Mapping[str, Any]) -> Vector:
    buckets = by(at.increase("http_request_duration_seconds_bucket"), "le")
    found: Vector = {}
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        found |= tagged("quantile", name, quantile(q, buckets))
    return found


@answers("api_health/postgres")
def _transactions(at: At, _: Mapping[str, Any]) -> Vector:
    return tagged("outcome", "committed", by(at.rate("pg_stat_database_xact_commit"))) | tagged(
        "outcome", "rolled back", by(at.rate("pg_stat_database_xact_rollback"))
    )


@answers("api_health/postgres_shares")
def _postgres_shares(at: At, _: Mapping[str, Any]) -> Vector:
    open_now = by(at.last("pg_stat_database_numbackends"), "instance")
    limit = by(at.last("pg_settings_max_connections"), "instance", fold=max)
    used = {key: open_now[key] / limit[key] for key in open_now.keys() & limit.keys()}
    return tagged("measure", "connections", by(used, fold=max)) | tagged(
        "measure", "cache hits", _hits(at, "pg_stat_database_blks_hit", "pg_stat_database_blks_read")
    )


def _hits(at: At, hit: str, missed: str) -> Vector:
    hits, misses = by(at.rate(hit)), by(at.rate(missed))
    return share(hits, {key: hits[key] + misses[key] for key in hits.keys() & misses.keys()})


@answers("api_health/redis_commands")
def _commands(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.rate("redis_commands_total", lambda labels: "command" in labels), "command")


@answers("api_health/redis_failures")
def _command_failures(at: At, _: Mapping[str, Any]) -> Vector:
    name = "redis_commands_total"
    failed = at.increase(name, lambda labels: "command" in labels and _not_ok(labels))
    return share(by(failed, "command"), by(at.increase(name, lambda labels: "command" in labels), "command"))


@answers("api_health/redis_server")
def _redis(at: At, _: Mapping[str, Any]) -> Vector:
    memory = share(at.last("redis_memory_used_bytes"), at.last("redis_memory_max_bytes"))
    return tagged("measure", "memory", by(memory, fold=max)) | tagged(
        "measure", "key hits", _hits(at, "redis_keyspace_hits_total", "redis_keyspace_misses_total")
    )


@answers("api_health/request_rate")
def _request_rate(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.rate("http_requests_total"), "method", "endpoint")


@answers("api_health/slowest")
def _slowest(at: At, params: Mapping[str, Any]) -> Vector:
    over, name = _seconds(params), "http_request_duration_seconds"
    slow = quantile(0.95, by(at.increase(f"{name}_bucket", over=over), "le", "method", "endpoint"))
    asked = by(at.rate(f"{name}_count", over=over), "method", "endpoint")
    return largest(10, {key: slow[key] for key in slow if asked[key] > params.get("floor", 0.01)})


@answers("api_health/within")
def _within(at: At, _: Mapping[str, Any]) -> Vector:
    name = "http_request_duration_seconds"
    count = by(at.increase(f"{name}_count")).get(frozenset(), 0.0)
    buckets = by(at.increase(f"{name}_bucket", lambda labels: labels["le"] in {"0.1", "0.3", "0.5"}), "le")
    bound = frozenset({("le", "0.3")})
    wanted = [bound] if bound in buckets else list(buckets)
    return {key: buckets[key] / count for key in wanted} if count > 0 else {}


@answers("watch/errors_by_endpoint")
def _errors_by_endpoint(at: At, _: Mapping[str, Any]) -> Vector:
    worst = largest(3, by(at.increase("http_requests_total", _failed, over=86400, at_end=True), "endpoint"))
    now = by(at.rate("http_requests_total", _failed), "endpoint")
    return {key: 3600 * value for key, value in alike(now, worst).items()}


@answers("watch/slow_endpoints")
def _slow_endpoints(at: At, _: Mapping[str, Any]) -> Vector:
    name = "http_request_duration_seconds"
    slow = quantile(0.95, by(at.increase(f"{name}_bucket", over=3600, at_end=True), "le", "endpoint"))
    asked = by(at.rate(f"{name}_count", over=3600, at_end=True), "endpoint")
    worst = largest(3, {key: slow[key] for key in slow if asked[key] > 0.05})
    return alike(quantile(0.95, by(at.increase(f"{name}_bucket"), "le", "endpoint")), worst)


@answers("watch/requests")
def _requests(at: At, _: Mapping[str, Any]) -> Vector:
    found: dict[Key, float] = defaultdict(float)
    for key, value in at.rate("http_requests_total").items():
        found[frozenset({("class", f"{dict(key)['status'][0]}xx")})] += 60 * value
    return dict(found)


# What the company does


@answers("approvals/last_hour")
def _last_hour(at: At, _: Mapping[str, Any]) -> Vector:
    return tagged("outcome", "approved", by(at.increase("applications_approved_total", over=3600))) | tagged(
        "outcome", "rejected", by(at.increase("applications_rejected_total", over=3600))
    )


@answers("hase/distribution")
def _distribution(at: At, params: Mapping[str, Any]) -> Vector:
    return by(at.increase("hase_score_distribution_bucket", over=_seconds(params)), "le")


@answers("incidents/probe_days", "incidents/probe_today")
def _probe_days(at: At, _: Mapping[str, Any]) -> Vector:
    up = by(at.over("probe_success", sum, _from_the_status_page), "component")
    total = by(at.over("probe_success", len, _from_the_status_page), "component")
    return tagged("state", "up", up) | tagged("state", "total", total)


def _from_the_status_page(labels: Labels) -> bool:
    return labels["job"] == "status-probes"


@answers("incidents/probes")
def _probes(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.over("probe_success", mean, _from_the_status_page, over=300), "component", fold=mean)


@answers("watch/components")
def _components(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.over("probe_success", mean, _from_the_status_page), "component", fold=mean)


def _counted(name: str) -> Answer:
    return lambda at, _: by(at.increase(name))


def _greatest(name: str, offset: float = 0) -> Answer:
    def answer(at: At, _: Mapping[str, Any]) -> Vector:
        replicas: dict[Key, list[float]] = defaultdict(list)
        for key, value in at.last(name, offset=offset).items():
            replicas[frozenset(pair for pair in key if pair[0] not in {"instance", "pod"})].append(value)
        return by({key: max(values) for key, values in replicas.items()})

    return answer


for _name, _metric in (
    ("applications_submitted", "applications_submitted_total"),
    ("applications_approved", "applications_approved_total"),
    ("applications_rejected", "applications_rejected_total"),
    ("credits_disbursed", "credits_disbursed_total"),
    ("credits_disbursed_mxn", "credits_disbursed_amount_mxn_total"),
    ("hase_scores", "hase_scores_calculated_total"),
    ("payments", "payments_processed_total"),
    ("integration_calls", "integration_api_calls_total"),
):
    ANSWERS[f"reconcile/days/{_name}"] = _counted(_metric)
    SAMPLES[f"reconcile/{_name}"] = (_metric, None)
ANSWERS["reconcile/days/hase_distribution"] = _counted("hase_score_distribution_count")
SAMPLES["reconcile/hase_distribution"] = ("hase_score_distribution_bucket", None)
for _name, _metric in (("active_credits", "credits_active_count"), ("late_installments", "payments_late_count")):
    ANSWERS[f"reconcile/days/{_name}"] = _greatest(_metric, offset=120)
    ANSWERS[f"today/{_name}"] = _greatest(_metric)
    SAMPLES[f"reconcile/{_name}"] = (_metric, None)
for _name, _metric in (("starts", "process_start_time_seconds"), ("up", "up")):
    SAMPLES[f"reconcile/{_name}"] = (
        _metric,
        lambda params: lambda labels: not params.get("jobs") or labels["job"] in params["jobs"],
    )
ANSWERS["today/applications"] = _counted("applications_submitted_total")
ANSWERS["today/credits_disbursed"] = _counted("credits_disbursed_total")
ANSWERS["today/disbursed_mxn"] = _counted("credits_disbursed_amount_mxn_total")


@answers("today/api_error_rate")
def _error_share(at: At, _: Mapping[str, Any]) -> Vector:
    return share(by(at.increase("http_requests_total", _failed)), by(at.increase("http_requests_total")))


@answers("today/api_p95")
def _p95(at: At, _: Mapping[str, Any]) -> Vector:
    return quantile(0.95, by(at.increase("http_request_duration_seconds_bucket"), "le"))


@answers("today/approval_rate")
def _approval_rate(at: At, _: Mapping[str, Any]) -> Vector:
    approved = by(at.increase("applications_approved_total")).get(frozenset(), 0.0)
    decided = approved + by(at.increase("applications_rejected_total")).get(frozenset(), 0.0)
    return {frozenset(): approved / decided} if decided > 0 else {}


@answers("today/hase_mean")
def _hase_mean(at: At, _: Mapping[str, Any]) -> Vector:
    return share(by(at.increase("hase_score_distribution_sum")), by(at.increase("hase_score_distribution_count")))


@answers("today/integration_error_rate")
def _calls_failed(at: At, _: Mapping[str, Any]) -> Vector:
    name = "integration_api_calls_total"
    return share(by(at.increase(name, _not_ok)), by(at.increase(name)))


@answers("today/payment_success")
def _payment_success(at: At, _: Mapping[str, Any]) -> Vector:
    name = "payments_processed_total"
    return share(
        by(at.increase(name, lambda labels: labels["status"] == "succeeded")),
        by(at.increase(name, lambda labels: labels["status"] in {"succeeded", "failed"})),
    )


# The integrations


@answers("integrations/call_rate")
def _call_rate(at: At, params: Mapping[str, Any]) -> Vector:
    rates = by(at.rate("integration_api_calls_total", _chosen(params)), "integration")
    return {key: 60 * value for key, value in rates.items()}


@answers("integrations/calls")
def _calls(at: At, params: Mapping[str, Any]) -> Vector:
    name, over = "integration_api_calls_total", _seconds(params)
    return tagged("outcome", "all", by(at.increase(name, over=over), "integration")) | tagged(
        "outcome", "failed", by(at.increase(name, _not_ok, over=over), "integration")
    )


@answers("integrations/error_rate")
def _integration_errors(at: At, params: Mapping[str, Any]) -> Vector:
    name, chosen = "integration_api_calls_total", _chosen(params)
    failed = at.increase(name, lambda labels: chosen(labels) and _not_ok(labels))
    return share(by(failed, "integration"), by(at.increase(name, chosen), "integration"))


@answers("disbursements/neon_error_rate")
def _neon(at: At, _: Mapping[str, Any]) -> Vector:
    return {frozenset(): value for value in _integration_errors(at, {"integrations": ["neon"]}).values()}


@answers("integrations/latency")
def _integration_latency(at: At, params: Mapping[str, Any]) -> Vector:
    buckets = at.increase("integration_api_duration_seconds_bucket", _chosen(params))
    return quantile(params.get("quantile", 0.95), by(buckets, "le", "integration"))


@answers("integrations/quantiles")
def _quantiles(at: At, params: Mapping[str, Any]) -> Vector:
    buckets = by(at.increase("integration_api_duration_seconds_bucket", over=_seconds(params)), "le", "integration")
    found: Vector = {}
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        found |= tagged("quantile", name, quantile(q, buckets))
    return found


@answers("watch/integration_calls")
def _hourly_calls(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.increase("integration_api_calls_total", over=3600), "integration")


@answers("watch/integration_failures")
def _hourly_failures(at: At, _: Mapping[str, Any]) -> Vector:
    failed = at.increase("integration_api_calls_total", _not_ok, over=3600)
    return share(by(failed, "integration"), _hourly_calls(at, {}))


@answers("watch/integration_latency")
def _hourly_latency(at: At, _: Mapping[str, Any]) -> Vector:
    return quantile(0.95, by(at.increase("integration_api_duration_seconds_bucket", over=3600), "le", "integration"))


# Mirador and its sources


@answers("sources/newest_sample")
def _newest(at: At, _: Mapping[str, Any]) -> Vector:
    seen = [
        one.times[place]
        for one in known()
        if one.name == "up"
        for place in [bisect_right(one.times, at.time) - 1]
        if place >= 0 and one.times[place] > at.time - LOOKBACK
    ]
    return {frozenset(): float(max(seen))} if seen else {}


@answers("watch/freshness")
def _freshness(at: At, _: Mapping[str, Any]) -> Vector:
    ledger = at.last("mirador_ledger_changed_timestamp_seconds", lambda labels: labels["relation"] == "ledger")
    tables = by(at.last("mirador_rollup_refreshed_timestamp_seconds"), "rollup", fold=max)
    found: Vector = {}
    for name, vector, fold in (("ledger", ledger, max), ("daily tables", tables, min)):
        found |= tagged("data", name, {key: at.time - value for key, value in by(vector, fold=fold).items()})
    return found


@answers("watch/gaps")
def _gaps(at: At, _: Mapping[str, Any]) -> Vector:
    return by(
        {key: abs(value) for key, value in at.last("mirador_reconciliation_excess").items()}, "contract", fold=max
    )


@answers("watch/kpi")
def _kpi(at: At, params: Mapping[str, Any]) -> Vector:
    wanted = {name: params.get(name, "all") for name in ("kpi", "dimension", "segment")}
    return by(at.last("mirador_kpi", lambda labels: wanted.items() <= labels.items()), fold=max)


@answers("watch/sources")
def _sources(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.last("mirador_source_up"), "source", fold=max)


@answers("watch/targets")
def _targets(at: At, _: Mapping[str, Any]) -> Vector:
    return by(at.last("up"), "job", fold=mean)


@answers("watch/watchdog")
def _watchdog(at: At, _: Mapping[str, Any]) -> Vector:
    heard = by(at.last("mirador_watchdog_heard_timestamp_seconds"), fold=max)
    return {key: at.time - value for key, value in heard.items()}


def _slo(params: Mapping[str, Any]) -> Keep:
    return lambda labels: labels["sloth_slo"] == params["slo"]


@answers("watch/slo_budget")
def _slo_budget(at: At, params: Mapping[str, Any]) -> Vector:
    return by(at.last("slo:period_error_budget_remaining:ratio", _slo(params)), fold=max)


@answers("watch/slo_errors")
def _slo_errors(at: At, params: Mapping[str, Any]) -> Vector:
    found: Vector = {}
    for window in ("1h", "6h", "1d", "3d"):
        found |= by(at.last(f"slo:sli_error:ratio_rate{window}", _slo(params)), "sloth_window", fold=max)
    return found


@answers("watch/slo_burn")
def _slo_burn(at: At, params: Mapping[str, Any]) -> Vector:
    budget = next(iter(at.last("slo:error_budget:ratio", _slo(params)).values()), math.nan)
    found: Vector = {}
    for window in ("1h", "6h", "1d", "3d"):
        bad = at.last(f"slo:sli_error:ratio_rate{window}", _slo(params))
        found |= tagged("window", window, {key: value / budget for key, value in bad.items()})
    return found


# --- the cases: every question, asked in each story -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A question with its parameters; `story` is rough, steady or absent (nothing was scraped)."""

    story: str
    name: str
    params: Mapping[str, Any]

    def __str__(self) -> str:
        told = [str(value) for key, value in self.params.items() if key in {"alert", "quantile", "floor", "segment"}]
        many = [f"{len(self.params[key])} {key}" for key in ("days", "integrations", "jobs") if self.params.get(key)]
        return " ".join([self.story, self.name, *told, *many])


CUT, OVER = 15 * 3600 + 1200, 30 * 3600
# The day with which a story begins, and its days. The rough one has its restarts and its gap in the first day, and is
# silent on the second; in "absent" nobody scraped.
STORIES = {"rough": (0, (0, 1, 2)), "steady": (4, (4,)), "absent": (2, (2,))}
MORE: dict[str, list[dict[str, Any]]] = {
    "api_health/failing": [{"floor": 0.1}],
    "api_health/slowest": [{"floor": 0.1}],
    "integrations/call_rate": [{"integrations": ("neon", "geotab")}],
    "integrations/error_rate": [{"integrations": ("neon",)}],
    "integrations/latency": [{"quantile": 0.5, "integrations": ("geotab",)}],
    "reconcile/starts": [{"jobs": ("backend",)}],
    "reconcile/up": [{"jobs": ("backend", "node")}],
    "watch/kpi": [{"dimension": "tier", "segment": "A"}],
    "watch/alert": [{"alert": "HighLatency"}],
    "watch/alert_now": [{"alert": "HighLatency"}],
    "watch/slo_burn": [{"slo": "latency"}],
}
NEEDED = {"kpi": "applications", "alert": "HighErrorRate", "slo": "availability"}


def _cases() -> Iterator[Case]:
    for query in load_queries():
        if query.source != "metrics":
            continue
        declared = {param.name for param in query.params}
        needed = {name: value for name, value in NEEDED.items() if name in declared}
        if query.name == "sources/newest_sample":
            yield Case("rough", query.name, {})
            continue
        for story, (first, days) in STORIES.items():
            begin = first * 86400
            for more in [{}, *MORE.get(query.name, [])]:
                asked = needed | more
                if query.kind in {"range", "samples"}:
                    span = {"start": moment(begin + 8.5 * 3600), "end": moment(begin + 14.5 * 3600)}
                    yield Case(story, query.name, span | asked)
                elif query.kind == "instant":
                    early = asked.get("alert") == "HighErrorRate"
                    at = {"time": moment(begin + (9.5 if early else 16) * 3600)}
                    yield Case(story, query.name, at | ({"range": "6h"} if "range" in declared else {}) | asked)
                else:
                    last = days[min(1, len(days) - 1)]
                    wanted = {"days": tuple(day(number) for number in days), "day": day(last)}
                    yield Case(story, query.name, wanted | {"as_of": moment(last * 86400 + OVER)})
                    if not query.name.startswith("reconcile"):
                        yield Case(story, query.name, wanted | {"as_of": moment(last * 86400 + CUT)})
    # A release took the bound at 0.3 s away.
    span = {"start": moment(19 * 3600), "end": moment(21 * 3600)}
    yield Case("rough", "api_health/within", span)
    # As many days as the status page shows.
    ninety = tuple(day(number) for number in range(-85, 5))
    yield Case("steady", "incidents/probe_days", {"days": ninety, "day": day(4), "as_of": moment(5 * 86400 + OVER)})


CASES = tuple(_cases())
Rows = dict[tuple[Any, Key], float]


def expected(case: Case, **engine: Any) -> Rows:
    """The rows of the answer, by their time (seconds), day or None, and their labels; `engine` as in `At`."""
    query = find_query("metrics", case.name)
    params = case.params
    if query.kind == "samples":
        name, chosen = SAMPLES[case.name]
        keep = chosen(params) if chosen else None
        start, end = params["start"].timestamp(), params["end"].timestamp()
        return {
            (at, key): value
            for key, one in _by_name()[name]
            if keep is None or keep(one.labels)
            for at, value in zip(one.times, one.values, strict=True)
            if start < at <= end
        }
    return answered(query, ANSWERS[case.name], params, **engine)


def answered(query: Query, answer: Answer, params: Mapping[str, Any], **engine: Any) -> Rows:
    """The rows that a question gives over its range, for its days or at its moment."""
    if query.kind == "instant":
        at = params["time"].timestamp() if "time" in params else datetime.now(UTC).timestamp()
        return {(None, key): value for key, value in answer(At(at, 4 * SCRAPE, at, **engine), params).items()}
    found: Rows = {}
    if query.kind == "range":
        length = (params["end"] - params["start"]).total_seconds()
        step = params.get("step") or next(step for step in (120, 300, 600) if length / 240 <= step)
        first, last = (int(params[edge].timestamp()) // step * step for edge in ("start", "end"))
        window = max(step, 4 * SCRAPE)
        for at in range(first, last + 1, step):
            found |= {(at, key): value for key, value in answer(At(at, window, last, **engine), params).items()}
        return found
    for one in params["days"]:
        begin = datetime.combine(one, time(), ZONE).timestamp()
        gone = params["as_of"].timestamp() - datetime.combine(params["day"], time(), ZONE).timestamp()
        window = min(gone, 86400)
        at = begin + window
        found |= {(one, key): value for key, value in answer(At(at, window, at, **engine), params).items()}
    return found


def rows(frame: pd.DataFrame) -> Rows:
    """The rows of a frame in the same form; a row that stands twice is an error."""
    labels = [name for name in frame.columns if name not in {"time", "day", "value"}]
    when: list[Any] = [None] * len(frame)
    if "day" in frame:
        when = [stamp.date() for stamp in frame["day"].tolist()]
    elif "time" in frame:
        when = [stamp.timestamp() if isinstance(stamp, datetime) else stamp for stamp in frame["time"].tolist()]
    texts = list(zip(*(frame[name].tolist() for name in labels), strict=True)) or [()] * len(frame)
    keys = {
        line: frozenset((name, text) for name, text in zip(labels, line, strict=True) if isinstance(text, str) and text)
        for line in set(texts)
    }
    found = dict(zip(zip(when, (keys[line] for line in texts), strict=True), frame["value"].tolist(), strict=True))
    if len(found) != len(frame):
        raise AssertionError("a row stands twice")
    return found
