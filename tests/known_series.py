"""Series of which every sample is known, for the tests of PromQL: three stories of one company.

The rough story has what makes PromQL hard: counters that grow unevenly, restarts that lose counts, a gap longer than
the five minutes of Prometheus's lookback, a replica that is away, series that appear late or never, and half an hour in
which nothing is asked (0/0), as on the whole of its second day. In the steady story each counter grows by the same
number at each scrape, through its restarts too: there every way to extrapolate an increase gives the same number. Both
are told by two replicas. In the third, worse one a third replica has what alerts are for.

Days are counted from BASE, a midnight in Mexico City nine days ago, so that the newest samples can be of this minute.
No sample lies on the edge of a window: whether the edge belongs to it differs between Prometheus 2 and 3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/Mexico_City")
SCRAPE = 120
FIRST_DAY = datetime.now(ZONE).date() - timedelta(days=9)
BASE = int(datetime.combine(FIRST_DAY, time(), ZONE).timestamp())
HOUR, DAY = 3600, 86400
# After a midnight, so that no sample stands on the edge of a window of whole minutes.
SHIFT = 7

ROUGH = (BASE - 2 * HOUR, BASE + 2 * DAY)
STEADY = (BASE + 4 * DAY - 2 * HOUR, BASE + 5 * DAY + HOUR)
# Nobody scraped.
GAP = (BASE + 10 * HOUR, BASE + 10 * HOUR + 25 * 60)
# Replica b is away and comes back as another process; replica a restarts between two scrapes.
AWAY = (BASE + 11 * HOUR, BASE + 11 * HOUR + 720)
RESTART = BASE + 12 * HOUR + 1800
# The first answer of each replica with a 5xx: before it there is no such series. Later nothing is asked for half an
# hour; then eight more endpoints appear for two hours.
APPEARS = {"a": BASE + 9 * HOUR, "b": BASE + 12 * HOUR}
QUIET = (BASE + 13 * HOUR, BASE + 13 * HOUR + 1800)
SILENT = (BASE + DAY, BASE + 2 * DAY)
MANY = (BASE + 14 * HOUR, BASE + 16 * HOUR)
# A third story for the rules of alerts: an incident of two hours with a restart in it, then one hour of few requests, a
# gap, and two hours in which nothing is decided. The replica is one of its own.
WORSE = (BASE + 7 * DAY, BASE + 7 * DAY + 12 * HOUR)
STEADY_RESTARTS = {"a": BASE + 4 * DAY + 10 * HOUR, "b": BASE + 4 * DAY + 14 * HOUR}

Labels = Mapping[str, str]
Pace = Callable[[int], int]


@dataclass(frozen=True)
class Series:
    """One series: its samples in order of time, seconds since 1970."""

    name: str
    labels: Labels
    times: list[int]
    values: list[float]


def day(number: int) -> date:
    """The business day so many days after BASE."""
    return FIRST_DAY + timedelta(days=number)


def moment(seconds: float) -> datetime:
    """The instant that many seconds after BASE."""
    return datetime.fromtimestamp(BASE + seconds, UTC)


def _within(at: int, span: tuple[int, int]) -> bool:
    return span[0] <= at < span[1]


def _scrapes(span: tuple[int, int]) -> range:
    return range(span[0] + SHIFT, span[1], SCRAPE)


def _gauge(name: str, labels: Labels, value: Callable[[int], float], *, gap: bool = True) -> Series:
    """A gauge of both stories, with the gap where nobody scraped."""
    times = [at for span in (ROUGH, STEADY) for at in _scrapes(span) if not (gap and _within(at, GAP))]
    return Series(name, labels, times, [value(at) for at in times])


def _counters(
    name: str,
    every: Mapping[tuple[tuple[str, str], ...], int],
    *,
    instance: str,
    rng: random.Random,
    since: int = ROUGH[0],
    until: int = STEADY[1],
    cumulative: bool = False,
) -> Iterator[Series]:
    """Counters of one process: each with about so many a scrape in the rough story, exactly so many in the steady one.

    `cumulative` ones are the buckets of one histogram: each holds what the one before holds, and more.
    """
    for place, (labels, pace) in enumerate(every.items()):
        times: list[int] = []
        values: list[float] = []
        value = 0.0 if since > ROUGH[0] else float(rng.randrange(500, 900) * (place + 1 if cumulative else 1))
        gone = False
        for at in _scrapes(ROUGH):
            if not since <= at < until:
                continue
            grown = 0 if _within(at, QUIET) or _within(at, SILENT) else rng.randrange(0, 2 * pace + 1)
            if instance == "b" and _within(at, AWAY):
                gone = True
                continue
            if gone:
                value, grown, gone = 0.0, 0, False
            if instance == "a" and at - SCRAPE < RESTART <= at:
                value = 0.0
            # A counter is seen at zero first: from where else it grew is not known, and engines differ in their guess.
            value += grown if times or since == ROUGH[0] else 0
            if _within(at, GAP):
                continue
            times.append(at)
            values.append(value)
        if until >= STEADY[1]:
            begun, value = STEADY_RESTARTS.get(instance, 0), 1000.0
            for at in _scrapes(STEADY):
                value = 0.0 if at - SCRAPE < begun <= at else value
                value += pace
                times.append(at)
                values.append(value)
        yield Series(name, {**dict(labels), **_origin(instance)}, times, values)


def _origin(instance: str) -> dict[str, str]:
    if instance in {"a", "b"}:
        return {"job": "backend", "instance": instance, "pod": f"pod-{instance}"}
    return {"job": instance, "instance": instance}


def _key(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(labels.items())


def _histogram(
    name: str, labels: Labels, buckets: Mapping[str, int], *, instance: str, rng: random.Random, **more: int
) -> Iterator[Series]:
    """The buckets and the count of one histogram; `buckets` are observations a scrape in each, not yet summed."""
    made = [
        next(_counters(f"{name}_bucket", {_key(**labels, le=le): n}, instance=instance, rng=rng, **more))  # type: ignore[arg-type]
        for le, n in buckets.items()
    ]
    so_far = [0.0] * len(made[0].times)
    for one in made:
        so_far = [before + now for before, now in zip(so_far, one.values, strict=True)]
        yield Series(one.name, one.labels, one.times, list(so_far))
    count = {key: value for key, value in made[-1].labels.items() if key != "le"}
    yield Series(f"{name}_count", count, made[-1].times, so_far)


# Requests of one scrape with a status of 200 and of 500, and observations in each bucket.
ENDPOINTS = {
    ("GET", "/credits"): (40, 2, {"0.1": 20, "0.2": 10, "0.3": 6, "0.5": 4, "1.0": 2, "+Inf": 0}),
    ("POST", "/payments"): (30, 5, {"0.1": 2, "0.2": 4, "0.3": 4, "0.5": 10, "1.0": 10, "+Inf": 5}),
    ("GET", "/scores"): (20, 1, {"0.1": 10, "0.2": 8, "0.3": 2, "0.5": 1, "1.0": 0, "+Inf": 0}),
    ("GET", "/drivers"): (12, 3, {"0.1": 0, "0.2": 0, "0.3": 3, "0.5": 3, "1.0": 9, "+Inf": 0}),
    ("GET", "/rare"): (0, 0, {"0.1": 0, "0.2": 0, "0.3": 0, "0.5": 0, "1.0": 1, "+Inf": 0}),
}
INTEGRATIONS = {
    "geotab": (20, 3, 1, {"0.1": 5, "0.5": 12, "2.0": 6, "+Inf": 1}),
    "neon": (10, 1, 1, {"0.1": 0, "0.5": 4, "2.0": 6, "+Inf": 0}),
    "metamap": (6, 2, 2, {"0.1": 0, "0.5": 2, "2.0": 4, "+Inf": 4}),
    # Never called.
    "conekta": (0, 0, 0, {"0.1": 0, "0.5": 0, "2.0": 0, "+Inf": 0}),
}
SCORES = {
    "0.0": 0,
    "50.0": 1,
    "60.0": 2,
    "70.0": 4,
    "75.0": 3,
    "80.0": 3,
    "85.0": 2,
    "90.0": 4,
    "95.0": 2,
    "100.0": 1,
    "+Inf": 0,
}
LATE_BOUND = BASE + 18 * HOUR  # from then on the API's histogram has no bound at 0.3 s


def _replica(instance: str, rng: random.Random) -> Iterator[Series]:
    for (method, endpoint), (good, bad, buckets) in ENDPOINTS.items():
        labels = {"method": method, "endpoint": endpoint}
        for status, pace in (("200", good), ("404", 1), ("500", bad)):
            if endpoint == "/rare" and status != "200":
                continue
            late = {"since": APPEARS[instance]} if status == "500" else {}
            yield from _counters(
                "http_requests_total", {_key(**labels, status=status): pace}, instance=instance, rng=rng, **late
            )
        for one in _histogram("http_request_duration_seconds", labels, buckets, instance=instance, rng=rng):
            if one.labels.get("le") != "0.3":
                yield one
                continue
            kept = [place for place, at in enumerate(one.times) if at < LATE_BOUND or at >= STEADY[0]]
            yield Series(
                one.name, one.labels, [one.times[place] for place in kept], [one.values[place] for place in kept]
            )
    for table, operation, buckets in (
        ("credits", "select", {"0.01": 30, "0.05": 8, "0.1": 2, "+Inf": 1}),
        ("payments", "insert", {"0.01": 2, "0.05": 9, "0.1": 6, "+Inf": 0}),
        ("payments", "select", {"0.01": 4, "0.05": 1, "0.1": 1, "+Inf": 0}),
    ):
        labels = {"table": table, "operation": operation}
        yield from _histogram("db_query_duration_seconds", labels, buckets, instance=instance, rng=rng)
    for command, status, pace in (
        ("GET", "success", 50),
        ("GET", "error", 2),
        ("GET", "timeout", 1),
        ("SET", "success", 9),
    ):
        yield from _counters(
            "redis_commands_total", {_key(command=command, status=status): pace}, instance=instance, rng=rng
        )
    for name, labels, pace in (
        ("applications_submitted_total", {}, 6),
        ("applications_approved_total", {"sinosure_tier": "A"}, 2),
        ("applications_approved_total", {"sinosure_tier": "B"}, 1),
        ("applications_rejected_total", {"reason": "score"}, 2),
        ("credits_disbursed_total", {"sinosure_tier": "A"}, 2),
        ("credits_disbursed_amount_mxn_total", {"sinosure_tier": "A"}, 45_000),
        ("payments_processed_total", {"status": "succeeded", "method": "spei"}, 9),
        ("payments_processed_total", {"status": "succeeded", "method": "card"}, 3),
        ("payments_processed_total", {"status": "failed", "method": "card"}, 2),
        ("payments_processed_total", {"status": "pending", "method": "spei"}, 4),
        ("hase_scores_calculated_total", {}, 7),
        ("hase_score_distribution_sum", {}, 1_200),
    ):
        yield from _counters(name, {_key(**labels): pace}, instance=instance, rng=rng)
    yield from _histogram("hase_score_distribution", {}, SCORES, instance=instance, rng=rng)
    for integration, (good, failed, slow, buckets) in INTEGRATIONS.items():
        labels = {"integration": integration, "endpoint": "/v1"}
        # One integration stops being called, and its series end.
        stops = {"until": BASE + 9 * HOUR} if integration == "metamap" else {}
        for status, pace in (("success", good), ("error", failed), ("timeout", slow)):
            if pace or integration == "conekta":
                key = _key(**labels, status=status)
                yield from _counters("integration_api_calls_total", {key: pace}, instance=instance, rng=rng, **stops)
        yield from _histogram("integration_api_duration_seconds", labels, buckets, instance=instance, rng=rng, **stops)
    here = _origin(instance)
    extra = 0 if instance == "a" else 1
    for tier, count in (("A", 300), ("B", 120)):
        labels = {"sinosure_tier": tier, **here}
        yield _gauge(
            "credits_active_count", labels, lambda at, n=count: n + (at - BASE) // HOUR + at // SCRAPE % 3 - extra
        )  # type: ignore[misc]
    for level, count in (("late_1_15_days", 40), ("late_16_30_days", 12)):
        labels = {"level": level, **here}
        yield _gauge(
            "payments_late_count", labels, lambda at, n=count: n + (at - BASE) // (2 * HOUR) + at // SCRAPE % 3 + extra
        )  # type: ignore[misc]
    # A third pool is closed: it may open none.
    for pool, limit in (("main", 10), ("reports", 4), ("closed", 0)):
        labels = {**here, "pool": pool}
        yield _gauge("db_connections_active", labels, lambda at, n=limit: (n and 2) + extra + (at // SCRAPE) % (n or 1))  # type: ignore[misc]
        yield _gauge("db_connections_max", labels, lambda at, n=limit: float(n))  # type: ignore[misc]
    started = {"a": (BASE - 5 * DAY, RESTART), "b": (BASE - 4 * DAY, AWAY[1] - 30)}[instance]
    yield _gauge("process_start_time_seconds", here, lambda at: started[at >= started[1]])
    yield _gauge("up", here, lambda at: 0.0 if instance == "b" and _within(at, AWAY) else 1.0)


def _exporters(rng: random.Random) -> Iterator[Series]:
    for cpu in "01":
        for mode, pace in (("idle", 80), ("user", 40)):
            yield from _counters("node_cpu_seconds_total", {_key(cpu=cpu, mode=mode): pace}, instance="node", rng=rng)
    node = _origin("node")
    yield _gauge("up", node, lambda at: 1.0)
    yield _gauge("node_memory_MemTotal_bytes", node, lambda at: 8e9)
    yield _gauge("node_memory_MemAvailable_bytes", node, lambda at: 3e9 + 1e6 * ((at // SCRAPE) % 97))
    for mount, kind, size, free in (
        ("/", "ext4", 100e9, 20e9),
        ("/data", "ext4", 500e9, 300e9),
        ("/run", "tmpfs", 1e9, 1e6),
        ("/empty", "ext4", 0.0, 0.0),
    ):
        labels = {"mountpoint": mount, "fstype": kind, **node}
        yield _gauge("node_filesystem_size_bytes", labels, lambda at, n=size: n)  # type: ignore[misc]
        yield _gauge("node_filesystem_avail_bytes", labels, lambda at, n=free: n)  # type: ignore[misc]
    postgres = _origin("postgres")
    second = {**postgres, "instance": "postgres-2"}
    for where, limit in ((postgres, 100), (second, 20)):
        yield _gauge("pg_up", where, lambda at: 1.0)
        yield _gauge("pg_settings_max_connections", where, lambda at, n=limit: float(n))  # type: ignore[misc]
    yield _gauge("pg_stat_database_numbackends", {"datname": "ledger", **second}, lambda at: (at // SCRAPE) % 9)
    for database, backends in (("ledger", 12), ("mirador", 4)):
        labels = {"datname": database, **postgres}
        yield _gauge("pg_stat_database_numbackends", labels, lambda at, n=backends: n + (at // SCRAPE) % 7)  # type: ignore[misc]
        for name, pace in (("xact_commit", 300), ("xact_rollback", 4), ("blks_hit", 900), ("blks_read", 20)):
            yield from _counters(
                f"pg_stat_database_{name}", {_key(datname=database): pace}, instance="postgres", rng=rng
            )
    redis = _origin("redis")
    yield _gauge("redis_up", redis, lambda at: 1.0)
    yield _gauge("redis_memory_used_bytes", redis, lambda at: 4e6 + 1e3 * ((at // SCRAPE) % 89))
    yield _gauge("redis_memory_max_bytes", redis, lambda at: 64e6)
    # The third Redis has no limit: zero means none.
    for number, limit in (("2", 12e6), ("3", 0.0)):
        other = {**redis, "instance": f"redis-{number}"}
        yield _gauge("redis_memory_used_bytes", other, lambda at: 9e6)
        yield _gauge("redis_memory_max_bytes", other, lambda at, n=limit: n)  # type: ignore[misc]
    for instance in ("redis", "redis-2"):
        for name, pace in (("redis_keyspace_hits_total", 70), ("redis_keyspace_misses_total", 9)):
            if instance == "redis" or name.endswith("hits_total"):
                yield from _counters(name, {(): pace}, instance=instance, rng=rng)
    # What the Redis exporter calls by the backend's name has neither of its labels.
    yield from _counters("redis_commands_total", {_key(cmd="get"): 500}, instance="redis", rng=rng)
    for number in range(8):
        labels = {"method": "GET", "endpoint": f"/e{number}"}
        span = {"since": MANY[0], "until": MANY[1]}
        for status, pace in (("200", 20), ("500", 1 + number)):
            yield from _counters(
                "http_requests_total", {_key(**labels, status=status): pace}, instance="c", rng=rng, **span
            )
        buckets = {"0.1": number, "0.2": 1, "0.3": 9, "0.5": 1, "1.0": 8 - number, "+Inf": 0}
        yield from _histogram("http_request_duration_seconds", labels, buckets, instance="c", rng=rng, **span)


def _watched() -> Iterator[Series]:
    probes = {"job": "status-probes", "instance": "blackbox"}
    for component, instance, down in (
        ("api", "blackbox", (BASE + 9 * HOUR, BASE + 9 * HOUR + 2400)),
        ("api", "blackbox-2", (BASE + 15 * HOUR, BASE + 16 * HOUR - 240)),
        ("neon", "blackbox", (0, 0)),
    ):
        labels = {"component": component, **probes, "instance": instance}
        yield _gauge("probe_success", labels, lambda at, away=down: 0.0 if _within(at, away) else 1.0)  # type: ignore[misc]
    yield _gauge("probe_success", {**probes, "job": "other", "component": "api"}, lambda at: 0.0)
    errors, latency = (BASE + 9 * HOUR, BASE + 11 * HOUR), (BASE + 14 * HOUR, BASE + 18 * HOUR)
    fired = errors[0] + 600
    later = (STEADY[0] + 10 * HOUR, STEADY[0] + 14 * HOUR)
    for integration in ("geotab", "neon"):
        for alert, state, spans in (
            ("HighErrorRate", "pending", [(errors[0], fired)]),
            ("HighErrorRate", "firing", [(fired, errors[1]), later]),
            ("HighLatency", "pending", [latency, STEADY]),
        ):
            labels = {"alertname": alert, "severity": "warning", "integration": integration, "alertstate": state}
            times = [at for span in spans for at in _scrapes(span) if not _within(at, GAP)]
            yield Series("ALERTS", labels, times, [1.0] * len(times))
        for alert, spans in (("HighErrorRate", [errors, later]), ("HighLatency", [latency, STEADY])):
            labels = {"alertname": alert, "severity": "warning", "integration": integration}
            times = [(at, span[0]) for span in spans for at in _scrapes(span) if not _within(at, GAP)]
            yield Series("ALERTS_FOR_STATE", labels, [at for at, _ in times], [float(since) for _, since in times])
    mirador = _origin("mirador")
    for relation, age in (("ledger", 40), ("payments", 9)):
        labels = {"relation": relation, **mirador}
        yield _gauge("mirador_ledger_changed_timestamp_seconds", labels, lambda at, n=age: at - n - at % 97)  # type: ignore[misc]
    for rollup, age in (("payments", 400), ("calls", 1_500)):
        for instance in ("mirador", "mirador-2"):
            labels = {"rollup": rollup, **mirador, "instance": instance}
            back = age + (60 if instance == "mirador-2" else 0)
            yield _gauge("mirador_rollup_refreshed_timestamp_seconds", labels, lambda at, n=back: at - n)  # type: ignore[misc]
    # Two Miradors, of which one is behind.
    for number in (0, 1):
        origin = {**mirador, "instance": f"mirador-{number}"}
        for contract, excess in (("payments", -3), ("integration_calls", 0)):
            labels = {"contract": contract, **origin}
            value = excess - number
            yield _gauge("mirador_reconciliation_excess", labels, lambda at, n=value: n * ((at // SCRAPE) % 4))  # type: ignore[misc]
        for segment, value in (("all", 90 - number), ("A", 60 - number)):
            labels = {"kpi": "applications", "dimension": "all" if segment == "all" else "tier", "segment": segment}
            yield _gauge("mirador_kpi", {**labels, **origin}, lambda at, n=value: n + (at - BASE) % DAY // HOUR)  # type: ignore[misc]
        for source, down in (("ledger", 900), ("metrics", 300 + 200 * number)):
            labels = {"source": source, **origin}
            yield _gauge("mirador_source_up", labels, lambda at, n=down: float(at % 1_000 > n))  # type: ignore[misc]
        yield _gauge("mirador_watchdog_heard_timestamp_seconds", origin, lambda at, n=30 + 9 * number: at - n - at % 61)  # type: ignore[misc]
    for slo, budget in (("availability", 0.001), ("latency", 0.05)):
        labels = {"sloth_id": f"mirador-{slo}", "sloth_service": "mirador", "sloth_slo": slo}
        yield _gauge("slo:error_budget:ratio", labels, lambda at, n=budget: n)  # type: ignore[misc]
        for rules, left in (("old", 0.7), ("new", 0.8)):
            name, here = "slo:period_error_budget_remaining:ratio", {**labels, "rules": rules}
            yield _gauge(name, here, lambda at, n=left: n - (at - BASE) / (40 * DAY))  # type: ignore[misc]
        for place, window in enumerate(("5m", "30m", "1h", "2h", "6h", "1d", "3d")):
            name = f"slo:sli_error:ratio_rate{window}"
            bad = budget / (place + 1)
            yield _gauge(name, {**labels, "sloth_window": window}, lambda at, n=bad: n * (1 + (at // SCRAPE) % 3))  # type: ignore[misc]


def _worse() -> Iterator[Series]:
    """The story of the alerts: what grows by how much a scrape, told by the hour at which the growth changes."""
    start, restart, gap = WORSE[0], WORSE[0] + 3 * HOUR + 900, (WORSE[0] + 5 * HOUR, WORSE[0] + 5 * HOUR + 840)
    origin = _origin("d") | {"job": "backend", "pod": "pod-d"}
    scrapes = [at for at in _scrapes(WORSE) if not _within(at, gap)]

    def at_hour(paces: Mapping[float, float], at: int) -> float | None:
        begun = [pace for hour, pace in paces.items() if at >= start + hour * HOUR]
        return begun[-1] if begun else None

    def counter(name: str, labels: Labels, paces: Mapping[float, float]) -> Series:
        times: list[int] = []
        values: list[float] = []
        for at in _scrapes(WORSE):
            pace = at_hour(paces, at)
            if pace is None:
                continue
            before = 0.0 if not values or at - SCRAPE < restart <= at else values[-1]
            values.append(before + pace if times else 0.0)
            times.append(at)
        seen = [place for place, at in enumerate(times) if not _within(at, gap)]
        return Series(name, {**labels, **origin}, [times[place] for place in seen], [values[place] for place in seen])

    def gauge(name: str, labels: Labels, levels: Mapping[float, float]) -> Series:
        return Series(name, {**labels, **origin}, scrapes, [at_hour(levels, at) or 0.0 for at in scrapes])

    asked = {"method": "GET", "endpoint": "/w"}
    yield counter("http_requests_total", {**asked, "status": "200"}, {0: 40, 6: 4, 7: 40})
    yield counter("http_requests_total", {**asked, "status": "500"}, {2: 10, 4: 1, 6: 4, 7: 0})
    buckets = {
        "0.3": {0: 30, 2: 5, 4: 30, 6: 0, 7: 30},
        "0.5": {0: 38, 2: 10, 4: 38, 6: 0, 7: 38},
        "1.0": {0: 40, 2: 20, 4: 40, 6: 1, 7: 40},
        "2.5": {0: 40, 2: 40, 3: 49, 4: 40, 6: 4, 7: 40},
        "5.0": {0: 40, 2: 48, 3: 50, 4: 40, 6: 4, 7: 40},
        "+Inf": {0: 40, 2: 50, 4: 40, 6: 4, 7: 40},
    }
    for le, paces in buckets.items():
        yield counter("http_request_duration_seconds_bucket", {**asked, "le": le}, paces)
        # Another endpoint is always fast.
        fast = {"method": "GET", "endpoint": "/fast", "le": le}
        yield counter("http_request_duration_seconds_bucket", fast, {0: 6, 6: 1, 7: 6})
    yield counter("http_request_duration_seconds_count", asked, buckets["+Inf"])
    yield gauge("db_connections_active", {"pool": "main"}, {0: 8, 2: 19, 4: 18, 5: 8})
    yield gauge("db_connections_max", {"pool": "main"}, {0: 20})
    # For an hour there are rejections alone, and nobody was ever approved.
    yield counter("applications_rejected_total", {"reason": "score"}, {2: 5, 4: 1, 8: 0, 10: 1})
    yield counter("applications_approved_total", {"sinosure_tier": "A"}, {3: 1, 4: 3, 8: 0, 10: 3})
    yield counter("applications_approved_total", {"sinosure_tier": "B"}, {3: 0.5, 4: 1, 8: 0})
    yield counter("credits_disbursed_total", {"sinosure_tier": "A"}, {0: 0, 8: 1})
    # As a client library that adds no _total has it.
    yield counter("credits_disbursed_amount_mxn", {"sinosure_tier": "A"}, {0: 0, 8: 9_000})
    yield gauge("payments_late_count", {"level": "late_16_30_days"}, {0: 45, 2: 60, 6: 48})
    # Replicas tell the same; what has a label of its own is another number.
    yield gauge("payments_late_count", {"level": "late_16_30_days", "product": "new"}, {0: 2})
    for product, count in (("", 30), ("new", 4)):
        yield gauge(
            "credits_active_count", {"sinosure_tier": "A", **({"product": product} if product else {})}, {0: count}
        )
    other = {"level": "late_16_30_days", **origin, "instance": "e", "pod": "pod-e"}
    yield Series("payments_late_count", other, scrapes, [44.0] * len(scrapes))
    for integration, endpoint, status, paces in (
        ("geotab", "/v1", "success", {0: 4, 2: 1, 4: 4}),
        ("geotab", "/v1", "error", {0: 0, 2: 4, 4: 0}),
        ("geotab", "/v1", "timeout", {2: 1, 4: 0}),
        ("geotab", "/v2", "success", {0: 2}),
        # It always fails, and is hardly asked; the other never does.
        ("neon", "/v1", "error", {0: 1}),
        ("conekta", "/v1", "success", {0: 5}),
    ):
        labels = {"integration": integration, "endpoint": endpoint, "status": status}
        yield counter("integration_api_calls_total", labels, paces)
    for integration, endpoint, le, paces in (
        ("geotab", "/v1", "1.0", {0: 4, 2: 0, 4: 4}),
        ("geotab", "/v1", "15.0", {0: 4, 2: 1, 4: 4}),
        ("geotab", "/v1", "30.0", {0: 4, 2: 6, 4: 4}),
        ("geotab", "/v1", "+Inf", {0: 4, 2: 6, 4: 4}),
        *(("geotab", "/v2", le, {0: 2}) for le in ("1.0", "15.0", "30.0", "+Inf")),
        ("neon", "/v1", "1.0", {0: 0}),
        ("neon", "/v1", "30.0", {0: 1}),
        ("neon", "/v1", "+Inf", {0: 1}),
    ):
        labels = {"integration": integration, "endpoint": endpoint, "le": le}
        yield counter("integration_api_duration_seconds_bucket", labels, paces)


@cache
def known() -> tuple[Series, ...]:
    """All series. The same at each call, but for the days that BASE counts from."""
    rng = random.Random(5)
    # Into the future, so that there is always one of these minutes, however long the tests take.
    now = int(datetime.now(UTC).timestamp())
    fresh = [*range(now - 600, now + 4 * HOUR, 200)]
    return (
        *_replica("a", rng),
        *_replica("b", rng),
        *_exporters(rng),
        *_watched(),
        *_worse(),
        Series("up", {"job": "backend", "instance": "new"}, fresh, [1.0] * len(fresh)),
    )


def exposition(*, milliseconds: bool = False) -> str:
    """All samples as text: OpenMetrics, or with `milliseconds` the Prometheus text format."""
    scale = 1000 if milliseconds else 1
    lines = []
    for one in known():
        labels = ",".join(f'{key}="{value}"' for key, value in one.labels.items())
        lines += [
            f"{one.name}{{{labels}}} {value!r} {at * scale}" for at, value in zip(one.times, one.values, strict=True)
        ]
    return "\n".join([*lines, *([] if milliseconds else ["# EOF"]), ""])
