"""Keeps comparing ledger and metrics while the dashboard runs: today every few minutes, yesterday once a night.

What was found last is kept in the process: pages read their marks there without a wait, `/metrics` gives out how far each
contract is beyond what is expected, and the nightly report goes to the log. A check takes what the sources already keep
and about a second; it runs one at a time, in a thread of its own. Several processes each look for themselves.
"""  # noqa: E501

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import queries
from app import telemetry
from app.findings import STATES, worst
from app.settings import Settings
from queries import Result
from queries.reconcile_model import EXPLAINED

# The first pages are drawn before a first check takes the sources' time.
FIRST_AFTER_SECONDS = 10.0
# By then rows that were written late are there, too.
NIGHTLY_AT = timedelta(hours=2, minutes=30)
# A viewer who looks at a day sees nothing older than this; a day that is over changes seldom.
FRESH_SECONDS = 60.0
FRESH_SECONDS_OVER = 600.0
# Where a source did not answer it is soon asked again.
FRESH_SECONDS_AWAY = 10.0
WAIT_SECONDS = 45.0
DAYS_KEPT = 8
POLL_SECONDS = 0.05
# Checks that were missed before what they found is no longer given out.
MISSED = 3

seconds = Histogram(
    "mirador_reconciliation_check_seconds",
    "Time of a check of all contracts.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=telemetry.registry,
)
failures = Counter(
    "mirador_reconciliation_failures", "Checks of all contracts that failed.", registry=telemetry.registry
)


@dataclass(frozen=True)
class Check:
    """All contracts over a business day, looked at at one moment (`at`, UTC)."""

    day: date
    at: datetime
    seconds: float
    results: dict[str, Result]

    @property
    def age(self) -> float:
        """Seconds since the check."""
        return (datetime.now(UTC) - self.at).total_seconds()

    @property
    def away(self) -> bool:
        """Whether a source did not answer."""
        return any(one.error is not None for one in self.results.values())

    def of_kpi(self, kpi: str) -> list[Result]:
        """The results of the contracts that belong to a KPI."""
        return [one for one in self.results.values() if one.contract.kpi == kpi]


def excess(result: Result) -> float:
    """How far a contract is beyond what is expected, in its unit; 0 inside.

    Of the sum, or of the largest thing that is wrong within it: a wrong label leaves the sum as it is.
    """
    wrong = [abs(one.size) for one in result.findings if one.kind not in EXPLAINED]
    return max(result.beyond, *wrong) if wrong and result.state == "differs" else result.beyond


def line(result: Result) -> str:
    """A contract's result in a line for a log."""
    name = result.contract.name
    if result.state == "unknown":
        return f"{name} is unknown: {result.error or 'nothing of that day can be compared'}"
    found = ", ".join(f"{one.kind} {one.size:g}" for one in result.findings)
    return (
        f"{name} {result.state}: ledger {result.ledger}, metric {result.metric:.10g},"
        f" difference {result.difference:+.10g} (expected {result.low:+.6g} to {result.high:+.6g})"
        + (f"; {found}" if found else "")
    )


class Checks:
    """What was found, by day. One check runs at a time for a day; those who ask meanwhile get what it finds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._one = threading.Lock()
        self._kept: dict[date, Check] = {}
        self._running: dict[date, Future[Check]] = {}

    def latest(self, day: date) -> Check | None:
        """The last check of a day, however old; never asks anything."""
        with self._lock:
            return self._kept.get(day)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def get(
        self,
        day: date,
        *,
        fresh: float | None = None,
        wait: float = WAIT_SECONDS,
        while_waiting: Callable[[], None] | None = None,
    ) -> Check:
        """The check of a day, made now unless one is young enough. Raises SourceError when it does not come in time."""
        if fresh is None:
            over = day < datetime.now(queries.timezone()).date()
            fresh = FRESH_SECONDS_OVER if over else FRESH_SECONDS
        with self._lock:
            kept = self._kept.get(day)
            if kept is not None and kept.age < (min(fresh, FRESH_SECONDS_AWAY) if kept.away else fresh):
                return kept
            running = self._running.get(day)
            if running is None:
                running = self._running[day] = Future()
                threading.Thread(target=self._make, args=(day, running), name="mirador-check", daemon=True).start()
        until = time.monotonic() + wait
        while not running.done():
            if time.monotonic() > until:
                raise queries.SourceError(
                    "The comparison of ledger and metrics was not ready in time.", kind="timeout", source="ledger"
                )
            time.sleep(POLL_SECONDS)
            if while_waiting is not None:
                while_waiting()
        return running.result()

    def _make(self, day: date, future: Future[Check]) -> None:
        try:
            with self._one:
                began = time.monotonic()
                results = {one.contract.name: one for one in queries.reconcile_all(day)}
                took = time.monotonic() - began
            check = Check(day, datetime.now(UTC), took, results)
            seconds.observe(took)
            still_true = known(day) is not None
        except BaseException as error:
            failures.inc()
            with self._lock:
                self._running.pop(day, None)
            future.set_exception(error)
            return
        with self._lock:
            # What a source could not tell does not replace what was found while that is still true; the age of that
            # says how old it is. Later the number of the source that answers stands alone.
            kept = self._kept.get(day)
            compared = any(one.state != "unknown" for one in results.values())
            if compared or kept is None or kept.away or not still_true:
                self._kept.pop(day, None)
                self._kept[day] = check
            while len(self._kept) > DAYS_KEPT:
                self._kept.pop(min(self._kept, key=lambda one: self._kept[one].at))
            self._running.pop(day, None)
        future.set_result(check)


checks = Checks()


@dataclass
class Keeper:
    """The thread that checks every `interval` seconds."""

    interval: float
    failure: str | None = None
    told: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin; ends with the process, or by `stop`."""
        threading.Thread(target=self._keep, name="mirador-reconciliation", daemon=True).start()

    def stop(self) -> None:
        """End after the check that is being made."""
        self._stop.set()

    def _keep(self) -> None:
        wait = FIRST_AFTER_SECONDS
        while not self._stop.wait(wait):
            began = time.monotonic()
            self.once()
            wait = max(self.interval - (time.monotonic() - began), 1.0)

    def once(self) -> None:
        """Check today, and yesterday when its night has come."""
        try:
            now = datetime.now(queries.timezone())
            check = checks.get(now.date(), fresh=min(self.interval / 2, FRESH_SECONDS), wait=600)
            self._tell_changes(check)
            if self.is_due(now):
                report(checks.get(now.date() - timedelta(days=1), fresh=0.0, wait=600))
            self.failure = None
        except Exception as error:
            sentence = getattr(error, "sentence", "Ledger and metrics could not be compared.")
            # Said once; the counter goes on. A process that ends has nothing to say.
            if sentence != self.failure and not self._stop.is_set():
                known = isinstance(error, queries.SourceError)
                telemetry.log.warning("reconciliation: %s", sentence, exc_info=None if known else error)
            self.failure = sentence

    @staticmethod
    def is_due(now: datetime) -> bool:
        """Whether yesterday is still to be checked: never was, or not since the night is far enough."""
        kept = checks.latest(now.date() - timedelta(days=1))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return kept is None or (kept.at < midnight + NIGHTLY_AT <= now)

    def _tell_changes(self, check: Check) -> None:
        """Log a contract of today when it begins or ends to differ."""
        for name, result in check.results.items():
            before, self.told[name] = self.told.get(name), result.state
            if result.state != before and "differs" in {result.state, before}:
                say = telemetry.log.warning if result.state == "differs" else telemetry.log.info
                say("reconciliation of %s: %s", check.day, line(result))


def report(check: Check) -> None:
    """Log the report of a day: a line that counts, and a line for each contract that is not in order."""
    states = [one.state for one in check.results.values()]
    counted = ", ".join(f"{state}: {states.count(state)}" for state in STATES if state in states)
    level = telemetry.log.warning if worst(states) == "differs" else telemetry.log.info
    level("reconciliation of %s, nightly report: %s", check.day, counted or "no contract")
    for result in check.results.values():
        if result.state != "agrees":
            telemetry.log.info("reconciliation of %s: %s", check.day, line(result))


_keeper: Keeper | None = None


def start(settings: Settings) -> None:
    """Check from now on, where both sources and an interval are named."""
    global _keeper
    if settings.ledger_url is None or not settings.prometheus_url or settings.reconcile_interval == 0:
        return
    _keeper = Keeper(settings.reconcile_interval)
    _keeper.start()


def stop() -> None:
    """End checking."""
    global _keeper
    if _keeper is not None:
        _keeper.stop()
        _keeper = None


def known(day: date) -> Check | None:
    """The last check of a day for a mark: never computed, and none of today that is too old to be true."""
    check = checks.latest(day)
    if check is None:
        return None
    interval = _keeper.interval if _keeper is not None else 300.0
    try:
        over = day < datetime.now(queries.timezone()).date()
    except queries.SourceError:
        return None
    return check if over or check.age < MISSED * interval else None


class ReconciliationCollector(Collector):
    """What the last check of today found, given out from memory."""

    def __init__(self) -> None:
        self.open = True

    def collect(self) -> Iterator[Metric]:
        """Yield the families; nothing before the first check, and no excess of a contract that could not be judged."""
        try:
            check = known(datetime.now(queries.timezone()).date()) if self.open else None
        except queries.SourceError:
            check = None
        if check is None:
            return
        beyond = GaugeMetricFamily(
            "mirador_reconciliation_excess",
            "How far a contract is beyond its expected difference today, in its unit; 0 inside.",
            labels=["contract"],
        )
        state = GaugeMetricFamily(
            "mirador_reconciliation_state",
            "1 for the state of a contract today: agrees, explained, differs or unknown.",
            labels=["contract", "state"],
        )
        found = GaugeMetricFamily(
            "mirador_reconciliation_findings", "Findings of today by class.", labels=["contract", "kind"]
        )
        for name, result in check.results.items():
            if result.state != "unknown":
                beyond.add_metric([name], excess(result))
            for one in STATES:
                state.add_metric([name, one], float(result.state == one))
            kinds: dict[str, Any] = {}
            for finding in result.findings:
                kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
            for kind, n in kinds.items():
                found.add_metric([name, kind], n)
        age = GaugeMetricFamily(
            "mirador_reconciliation_age_seconds", "Seconds since ledger and metrics of today were compared."
        )
        age.add_metric([], check.age)
        yield from (beyond, state, found, age)


collector = ReconciliationCollector()
telemetry.registry.register(collector)
