"""Thirty days of Prometheus history, computed from the events that stand in the ledger.

Each counter is the number of ledger events of its labels up to a minute, so that the metrics and the ledger agree as
they would have, had Prometheus watched. What has no ledger row (HTTP, database, Redis) follows a seeded curve with the
same seasons and incidents. Names, labels and bucket bounds are those of the live backend (`demo.backend.metrics`).
"""

from __future__ import annotations

import io
import math
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from sqlalchemy import make_url

from demo import company
from demo.backend import metrics

SPACING = 60
# A counter that stands still needs no sample each minute; after five minutes without one Prometheus calls it stale.
KEEP_ALIVE = 4
LABELS = {"job": "conductores-backend", "instance": "backend-1"}
LEVELS = (
    ("late_1_7_days", 1, 7),
    ("late_8_15_days", 8, 15),
    ("late_16_30_days", 16, 30),
    ("late_31_60_days", 31, 60),
    ("late_61_90_days", 61, 90),
    ("late_90_plus_days", 91, 100_000),
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Series:
    """One series: its sample name, its labels, and a value for each minute of the window."""

    name: str
    labels: Mapping[str, str]
    values: Array
    # Every minute is kept: what is averaged over time must not be thinned where it stands still.
    dense: bool = False


def backfill(ledger_url: str, tsdb_dir: Path, promtool: Path, *, days: int = 30, until: datetime | None = None) -> None:
    """Make blocks of the `days` days before `until` (default: now) in `tsdb_dir`; Prometheus must not run on it."""
    with tempfile.TemporaryDirectory(prefix="backfill-", dir=tsdb_dir.parent) as folder:
        text = Path(folder) / "series.om"
        write_openmetrics(ledger_url, text, days=days, until=until)
        # promtool reads its whole input once for each block. Its blocks last 2 h times a power of three and begin at
        # multiples of that: with the longest that it knows, 4.5 years, a month is nearly always one block.
        subprocess.run(
            [
                *(str(promtool), "tsdb", "create-blocks-from", "--quiet", "--max-block-duration=39366h"),
                *("openmetrics", str(text), str(tsdb_dir)),
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )


def write_openmetrics(
    ledger_url: str,
    path: Path,
    *,
    days: int = 30,
    until: datetime | None = None,
    labels: Mapping[str, str] | None = None,
) -> int:
    """Write the series as OpenMetrics text, ending in `# EOF`, and give the number of samples.

    No sample is later than `until`. `labels` are put on every series (default: those of the demo's scrape target).
    """
    end = int((until or datetime.now(UTC)).timestamp()) // SPACING * SPACING
    minutes = days * 86400 // SPACING + 1
    times = end - SPACING * np.arange(minutes - 1, -1, -1)
    dsn = make_url(ledger_url).set(drivername="postgresql").render_as_string(hide_password=False)
    written = 0
    with psycopg.connect(dsn) as connection, path.open("wb") as out:
        family = ""
        for kind, series in _Window(connection, times).all():
            base = series.name.removesuffix("_total") if kind == "counter" else _family(series.name, kind)
            if base != family:
                out.write(f"# TYPE {base} {kind}\n".encode())
                family = base
            written += _write(out, series, times, labels or LABELS)
        out.write(b"# EOF\n")
    return written


def _family(name: str, kind: str) -> str:
    if kind != "histogram":
        return name
    for suffix in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(suffix)
    return name


def _write(out: IO[bytes], series: Series, times: Array, labels: Mapping[str, str]) -> int:
    values = series.values
    keep = np.arange(len(values)) % KEEP_ALIVE == 0
    # The sample before a change is kept too, so that the change is seen in its own minute.
    changed = np.flatnonzero(np.diff(values) != 0)
    keep[changed] = keep[changed + 1] = True
    keep[-1] = True
    keep |= series.dense
    buffer = io.BytesIO()
    columns = {"v": pa.array(values[keep]), "t": pa.array(times[keep])}
    pacsv.write_csv(pa.table(columns), buffer, pacsv.WriteOptions(include_header=False, delimiter=" "))
    pairs = ",".join(f'{name}="{value}"' for name, value in {**labels, **series.labels}.items())
    prefix = f"{series.name}{{{pairs}}} ".encode()
    lines = buffer.getvalue()
    out.write(prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n")
    return int(keep.sum())


class _Window:
    """The minutes of the history, and the questions to the ledger that fill them."""

    def __init__(self, connection: psycopg.Connection[Any], times: Array) -> None:
        self.connection = connection
        self.times = times
        self.start, self.end = int(times[0]), int(times[-1])
        self.rng = np.random.default_rng(11)
        moments = [datetime.fromtimestamp(int(t), UTC) for t in times[::60]]
        busy = np.array(
            [
                company.day_factor(m.astimezone(company.TIMEZONE).date())
                * company.hour_share(m.astimezone(company.TIMEZONE).hour)
                * 24
                for m in moments
            ]
        )
        self.busy = np.repeat(busy, 60)[: len(times)]

    def all(self) -> Iterator[tuple[str, Series]]:
        """Every series with its kind, a family after the other."""
        yield "gauge", Series("up", {}, np.ones(len(self.times), dtype=np.int64))
        yield from self._business()
        yield from self._integrations()
        yield from self._http()
        yield from self._database()
        yield from self._redis()
        yield from self._probes()

    # -- from the ledger --

    def _events(self, sql: str) -> list[tuple[Any, ...]]:
        start, end = datetime.fromtimestamp(self.start, UTC), datetime.fromtimestamp(self.end, UTC)
        with self.connection.cursor() as cursor:
            cursor.execute(sql, {"start": start, "end": end})
            return cursor.fetchall()

    def _index(self, seconds: Array) -> Array:
        """The first minute that has seen an event of this second."""
        return np.clip(np.ceil((seconds - self.start) / SPACING).astype(np.int64), 0, len(self.times) - 1)

    def _cumulated(self, seconds: Array, weights: Array | None = None) -> Array:
        steps = np.zeros(len(self.times), dtype=np.float64 if weights is not None else np.int64)
        np.add.at(steps, self._index(seconds), 1 if weights is None else weights)
        return np.cumsum(steps)

    def _counted(
        self, name: str, label: tuple[str, ...], sql: str, known: Sequence[tuple[str, ...]]
    ) -> Iterator[tuple[str, Series]]:
        """Counters by labels from rows (epoch, label values ...). `known` labels exist from the start, at zero."""
        groups: dict[tuple[str, ...], list[float]] = {key: [] for key in known}
        for epoch, *values in self._events(sql):
            groups.setdefault(tuple(map(str, values)), []).append(float(epoch))
        for key, seconds in groups.items():
            yield "counter", Series(name, dict(zip(label, key, strict=True)), self._cumulated(np.array(seconds)))

    def _business(self) -> Iterator[tuple[str, Series]]:
        within = "> %(start)s and {0} <= %(end)s"

        def between(column: str) -> str:
            return f"{column} {within.format(column)}"

        yield from self._counted(
            "applications_submitted_total",
            (),
            f"select extract(epoch from submitted_at) from bi.applications where {between('submitted_at')}",
            [()],
        )
        decided = "select extract(epoch from decided_at), {0} from bi.applications where status = '{1}' and " + between(
            "decided_at"
        )
        yield from self._counted(
            "applications_approved_total",
            ("sinosure_tier",),
            decided.format("sinosure_tier", "approved"),
            [(tier,) for tier in company.TIERS],
        )
        yield from self._counted(
            "applications_rejected_total",
            ("reason",),
            decided.format("rejection_reason", "rejected"),
            [(reason,) for reason in company.REASONS],
        )
        rows = self._events(
            f"select extract(epoch from disbursed_at), principal from bi.credits where {between('disbursed_at')}"
        )
        seconds = np.array([float(row[0]) for row in rows])
        yield "counter", Series("credits_disbursed_total", {}, self._cumulated(seconds))
        amounts = np.array([float(row[1]) for row in rows])
        yield "counter", Series("credits_disbursed_amount_mxn_total", {}, self._cumulated(seconds, amounts))
        yield from self._active()
        yield from self._counted(
            "payments_processed_total",
            ("status", "method"),
            f"select extract(epoch from processed_at), status, method from bi.payments where {between('processed_at')}",
            [(status, method) for status in ("succeeded", "failed") for method in company.METHODS],
        )
        yield from self._late()
        rows = self._events(
            f"select extract(epoch from calculated_at), score from bi.hase_scores where {between('calculated_at')}"
        )
        seconds, scores = np.array([float(row[0]) for row in rows]), np.array([int(row[1]) for row in rows])
        yield "counter", Series("hase_scores_calculated_total", {}, self._cumulated(seconds))
        yield from self._histogram("hase_score_distribution", {}, metrics.HASE_BUCKETS, seconds, scores)

    def _active(self) -> Iterator[tuple[str, Series]]:
        rows = self._events(
            "select sinosure_tier, extract(epoch from disbursed_at), extract(epoch from closed_at) from bi.credits"
            " where disbursed_at <= %(end)s and (closed_at is null or closed_at > %(start)s)"
        )
        tiers = sorted({str(row[0]) for row in rows} | set(company.TIERS))
        for tier in tiers:
            begun = self._cumulated(np.array([float(r[1]) for r in rows if r[0] == tier]))
            closed = np.array([float(r[2]) for r in rows if r[0] == tier and r[2] is not None])
            ended = self._cumulated(closed[closed <= self.end])
            yield "gauge", Series("credits_active_count", {"sinosure_tier": tier}, begun - ended)

    def _late(self) -> Iterator[tuple[str, Series]]:
        """Installments late by level: each enters and leaves a level at a local midnight, or leaves when it is paid."""
        rows = self._events(
            "select extract(epoch from (due_date + 1)::timestamp at time zone 'America/Mexico_City'),"
            " extract(epoch from paid_at) from bi.installments"
            " where due_date < (%(end)s at time zone 'America/Mexico_City')::date"
            " and (paid_at is null or (paid_at > %(start)s"
            " and paid_at >= (due_date + 1)::timestamp at time zone 'America/Mexico_City'))"
        )
        due = np.array([float(row[0]) for row in rows])
        paid = np.array([np.inf if row[1] is None else float(row[1]) for row in rows])
        for level, first, last in LEVELS:
            enters = due + (first - 1) * 86400
            leaves = np.minimum(due + last * 86400, paid)
            stays = (enters < leaves) & (leaves > self.start) & (enters <= self.end)
            begun = self._cumulated(np.maximum(enters[stays], self.start))
            ended = self._cumulated(leaves[stays & (leaves <= self.end)])
            yield "gauge", Series("payments_late_count", {"level": level}, begun - ended)

    def _histogram(
        self, name: str, labels: Mapping[str, str], bounds: tuple[float, ...], seconds: Array, observed: Array
    ) -> Iterator[tuple[str, Series]]:
        for bound in bounds:
            below = self._cumulated(seconds[observed <= bound])
            yield "histogram", Series(f"{name}_bucket", {**labels, "le": f"{float(bound)}"}, below)
        count = self._cumulated(seconds)
        yield "histogram", Series(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
        yield "histogram", Series(f"{name}_count", labels, count)
        yield "histogram", Series(f"{name}_sum", labels, self._cumulated(seconds, observed.astype(np.float64)))

    def _integrations(self) -> Iterator[tuple[str, Series]]:
        known = [
            (spec.integration, spec.endpoint, status)
            for spec in company.ENDPOINTS
            for status in ("success", "error", "timeout")
        ]
        yield from self._counted(
            "integration_api_calls_total",
            ("integration", "endpoint", "status"),
            "select extract(epoch from called_at), integration, endpoint, status from bi.integration_calls"
            " where called_at > %(start)s and called_at <= %(end)s",
            known,
        )
        rows = self._events(
            "select integration, endpoint, extract(epoch from called_at)::float8, duration_ms from bi.integration_calls"
            " where called_at > %(start)s and called_at <= %(end)s"
        )
        for spec in company.ENDPOINTS:
            mine = [(r[2], r[3]) for r in rows if (r[0], r[1]) == (spec.integration, spec.endpoint)]
            seconds, took = np.array([r[0] for r in mine]), np.array([r[1] for r in mine]) / 1000
            labels = {"integration": spec.integration, "endpoint": spec.endpoint}
            yield from self._histogram(
                "integration_api_duration_seconds", labels, metrics.INTEGRATION_BUCKETS, seconds, took
            )

    # -- from the seeded curve --

    def _curve(self, a_second: float) -> Array:
        """Events in each minute."""
        return self.rng.poisson(a_second * SPACING * self.busy)

    def _shares(
        self,
        name: str,
        labels: Mapping[str, str],
        bounds: tuple[float, ...],
        counts: Array,
        median: float,
        spread: float,
    ) -> Iterator[tuple[str, Series]]:
        """A histogram of log-normal durations: each minute's events fall into the buckets by their expected shares."""
        total = np.cumsum(counts)
        for bound in bounds:
            share = (1 + math.erf(math.log(bound / median) / spread / math.sqrt(2))) / 2
            yield (
                "histogram",
                Series(f"{name}_bucket", {**labels, "le": f"{float(bound)}"}, np.rint(total * share).astype(np.int64)),
            )
        yield "histogram", Series(f"{name}_bucket", {**labels, "le": "+Inf"}, total)
        yield "histogram", Series(f"{name}_count", labels, total)
        mean = median * float(np.exp(spread**2 / 2))
        yield "histogram", Series(f"{name}_sum", labels, np.round(total * mean, 3))

    def _http(self) -> Iterator[tuple[str, Series]]:
        worse = np.ones(len(self.times))
        first = datetime.fromtimestamp(self.start, UTC).astimezone(company.TIMEZONE).date()
        for day in range((self.end - self.start) // 86400 + 2):
            for incident in company.incidents_of(first + timedelta(days=day)):
                hit = (self.times >= incident.start.timestamp()) & (self.times < incident.end.timestamp())
                # What a broken integration does to the API: some of its requests fail with it.
                worse[hit] = 1 + 40 * incident.failing
        counts: dict[company.Route, Array] = {}
        for route in company.ROUTES:
            requests = self._curve(company.API_REQUESTS_A_SECOND * route.share)
            failed = self.rng.binomial(requests, np.minimum(route.failures * worse, 0.6))
            counts[route] = requests
            success = "201" if route.method == "POST" and "webhooks" not in route.endpoint else "200"
            labels = {"method": route.method, "endpoint": route.endpoint}
            for status, number in ((success, requests - failed), ("500", failed)):
                yield "counter", Series("http_requests_total", {**labels, "status": status}, np.cumsum(number))
        for route, requests in counts.items():
            labels = {"method": route.method, "endpoint": route.endpoint}
            yield from self._shares(
                "http_request_duration_seconds", labels, metrics.HTTP_BUCKETS, requests, route.median, route.spread
            )

    def _probes(self) -> Iterator[tuple[str, Series]]:
        """What the blackbox exporter has seen of the components: services fail while their incidents last."""
        first = datetime.fromtimestamp(self.start, UTC).astimezone(company.TIMEZONE).date() - timedelta(days=1)
        incidents = [
            incident
            for day in range((self.end - self.start) // 86400 + 3)
            for incident in company.incidents_of(first + timedelta(days=day))
        ]
        for component in ("api", "database", "cache", *company.INTEGRATIONS):
            values = np.ones(len(self.times), dtype=np.int64)
            for incident in incidents:
                if incident.integration == component:
                    hit = (self.times >= incident.start.timestamp()) & (self.times < incident.end.timestamp())
                    values[hit] = self.rng.random(int(hit.sum())) >= incident.failing
            labels = {"job": "status-probes", "instance": component, "component": component}
            yield "gauge", Series("probe_success", labels, values, dense=True)

    def _database(self) -> Iterator[tuple[str, Series]]:
        for table, operation, share, median in company.DB_TABLES:
            yield from self._shares(
                "db_query_duration_seconds",
                {"table": table, "operation": operation},
                metrics.DB_BUCKETS,
                self._curve(company.API_REQUESTS_A_SECOND * 1.5 * share),
                median,
                0.7,
            )
        # Few are busy at a time: a new draw every quarter of an hour.
        active = np.repeat(self.rng.poisson(0.6 + 1.2 * self.busy[::15]), 15)[: len(self.times)]
        yield "gauge", Series("db_connections_active", {}, np.minimum(active, 10))
        yield "gauge", Series("db_connections_max", {}, np.full(len(self.times), 10))

    def _redis(self) -> Iterator[tuple[str, Series]]:
        for command, share in company.REDIS_COMMANDS:
            sent = self._curve(company.API_REQUESTS_A_SECOND * 2 * share)
            failed = self.rng.binomial(sent, 0.0004)
            for status, number in (("success", sent - failed), ("error", failed)):
                yield (
                    "counter",
                    Series("redis_commands_total", {"command": command, "status": status}, np.cumsum(number)),
                )
