"""Keeps the daily tables fresh while the dashboard runs, and tells how that goes.

One thread refreshes every `MIRADOR_ROLLUP_INTERVAL` seconds. Several processes may do so: one of them works, the others
find the lock taken and let it. A refresh that fails is logged, counted and tried again; pages never notice more than
older tables, or count from the rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import queries
from app import telemetry
from app.settings import Settings, rollup_url
from queries.rollup_refresh import RefreshRunning, refresh

# The first pages are drawn before a first build takes the database's time.
FIRST_AFTER_SECONDS = 3.0
# Rows that were deleted or moved leave no trace: they are looked for every so many refreshes.
RECOUNT_EVERY = 10
# A role that may not write will not be allowed to a minute later.
REFUSED_WAIT_SECONDS = 600.0

seconds = Histogram(
    "mirador_rollup_refresh_seconds",
    "Time of a refresh of the daily tables.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    registry=telemetry.registry,
)
failures = Counter(
    "mirador_rollup_failures", "Refreshes of the daily tables that failed.", ("kind",), registry=telemetry.registry
)


@dataclass
class Keeper:
    """The thread that refreshes; `failure` is the sentence of the last refresh when it failed."""

    url: str
    timezone: str
    interval: float
    failure: str | None = None
    runs: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin; ends with the process, or by `stop`."""
        threading.Thread(target=self._keep, name="mirador-rollups", daemon=True).start()

    def stop(self) -> None:
        """End after the step that is being done; the next start goes on from there."""
        self._stop.set()

    def _keep(self) -> None:
        wait = FIRST_AFTER_SECONDS
        while not self._stop.wait(wait):
            began = time.monotonic()
            refused = self.once() == "refused"
            wait = max(self.interval - (time.monotonic() - began), 1.0)
            if refused:
                wait = max(wait, REFUSED_WAIT_SECONDS)

    def once(self) -> str:
        """Refresh once and give ok, running (another process does it) or the kind of failure."""
        try:
            report = refresh(self.url, self.timezone, recount=self.runs % RECOUNT_EVERY == 0, stop=self._stop)
        except RefreshRunning:
            return "running"
        except queries.SourceError as error:
            return self._failed(error.kind, error.sentence, error)
        except Exception as error:
            return self._failed(type(error).__name__, "The daily tables could not be refreshed.", error)
        self.runs += 1
        self.failure = None
        seconds.observe(report.seconds)
        if report.built:
            telemetry.log.info("daily tables built in %.1f s", report.seconds)
        return "ok"

    def _failed(self, kind: str, sentence: str, error: BaseException) -> str:
        if self._stop.is_set():
            return "stopped"
        failures.labels(kind).inc()
        # Said once; the counter goes on.
        if sentence != self.failure:
            telemetry.log.warning("daily tables: %s", sentence, exc_info=None if kind == "refused" else error)
        self.failure = sentence
        return kind


_keeper: Keeper | None = None


def start(settings: Settings) -> None:
    """Refresh from now on, where there is a ledger and an interval."""
    global _keeper
    url = rollup_url(settings)
    if url is None or settings.rollup_interval == 0:
        return
    _keeper = Keeper(url, settings.timezone, settings.rollup_interval)
    _keeper.start()


def stop() -> None:
    """End refreshing."""
    if _keeper is not None:
        _keeper.stop()


def why_rows(states: queries.RollupStates) -> str | None:
    """Why pages count from rows, in a sentence; None when they read the daily tables."""
    if states.mode == "rollups":
        return None
    failure = _keeper.failure if _keeper is not None else None
    return failure or states.sentence


class RollupCollector(Collector):
    """How far each daily table goes and how large it is, read at the moment of the scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families; nothing where the ledger cannot be asked."""
        try:
            states = queries.rollup_states()
        except queries.SourceError:
            return
        read = GaugeMetricFamily("mirador_rollup_read", "1 when pages read the daily tables, 0 when they read rows.")
        read.add_metric([], float(states.mode == "rollups"))
        age = GaugeMetricFamily(
            "mirador_rollup_refreshed_timestamp_seconds", "Up to when a daily table goes.", labels=["rollup"]
        )
        rows = GaugeMetricFamily("mirador_rollup_rows", "Rows of a daily table.", labels=["rollup"])
        for name, table in sorted(states.tables.items()):
            age.add_metric([name], table.refreshed_at.timestamp())
            rows.add_metric([name], table.rows)
        yield from (read, age, rows)


telemetry.registry.register(RollupCollector())
