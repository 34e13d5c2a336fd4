"""Answers kept and shared: one question in flight a key, bounded staleness, the last good answer on failure.

Why not `st.cache_data`: these answers are also read outside a script run (`/metrics`, `/api/kpis`, the shell), a
failed refresh must give the last good answer back with its age, and a viewer's wait must end by a deadline and when
he leaves. See docs/decisions/0001-answer-cache.md.

The states of an answer, by its age:
    up to ttl             fresh
    up to ttl + grace     served at once while one refresh runs behind it, marked stale
    beyond                the viewer waits for the refresh; when that fails or hangs he gets the last good answer,
                          marked with the reason
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cachetools import LRUCache, TTLCache

from queries import tracing
from queries.errors import SourceError

POLL_SECONDS = 0.025
RETRY_SECONDS = 2.0


def _too_late(source: str) -> SourceError:
    name = {
        "ledger": "The ledger",
        "metrics": "Prometheus",
        "explorer": "Prometheus",
        "state": "The state database",
        "alertmanager": "Alertmanager",
        "errors": "The error tracker",
        "logs": "The log store",
        "traces": "Jaeger",
        "oncall": "PagerDuty",
        "uptime": "UptimeRobot",
    }.get(source, "The source")
    return SourceError(f"{name} has not answered in time.", kind="timeout", source=source)


@dataclass(frozen=True)
class Kept:
    """A value with its stamp: `asked_at` (UTC) is when its source was asked, `error` why a newer one is missing.

    `origin` is the tracer's name of the flight that brought it.
    """

    value: Any
    asked_at: datetime
    clock: float
    cached: bool = False
    stale: bool = False
    error: str | None = None
    origin: Any = None


@dataclass
class SourceState:
    """What is known of one source from its last questions; seconds and UTC times."""

    name: str
    last_success: datetime | None = None
    last_failure: datetime | None = None
    last_error: str | None = None
    latency: float | None = None
    in_flight: int = 0

    @property
    def up(self) -> bool | None:
        """True after a success, False after a failure, None before the first question."""
        if self.last_success is None and self.last_failure is None:
            return None
        if self.last_failure is None:
            return True
        return self.last_success is not None and self.last_success >= self.last_failure


class AnswerCache:
    """Holds answers up to `max_bytes` and runs questions on a small pool of threads for each source.

    The pool is the source's concurrency cap: a slow source fills its own pool and no other.
    """

    def __init__(
        self,
        caps: dict[str, int],
        *,
        max_bytes: int = 256 * 2**20,
        size_of: Callable[[Any], int] = lambda value: 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pools = {
            name: ThreadPoolExecutor(cap, thread_name_prefix=f"mirador-{name}") for name, cap in caps.items()
        }
        self.states = {name: SourceState(name) for name in caps}
        self.counts: Counter[tuple[str, str]] = Counter()
        self._kept: LRUCache[Hashable, Kept] = LRUCache(max_bytes, getsizeof=lambda kept: size_of(kept.value))
        self._flights: dict[Hashable, Future[Kept]] = {}
        self._ages = dict.fromkeys(caps, 0)
        # Bounded, for a key that fails may never be asked again.
        self._failed: TTLCache[Hashable, tuple[float, SourceError]] = TTLCache(4096, 3600)
        self._lock = threading.Lock()
        self._clock = clock

    def get(
        self,
        key: Hashable,
        ask: Callable[[], Any],
        *,
        source: str,
        ttl: float,
        grace: float,
        deadline: float,
        while_waiting: Callable[[], None] | None = None,
    ) -> Kept:
        """Answer from memory or ask; see the module for the states.

        `deadline` bounds this caller's wait in seconds. `while_waiting` is called about every 25 ms and may raise to
        leave; the question goes on for the others who wait for it. Raises SourceError when there is nothing to show.
        """
        asked = tracing.question(source, key)
        if asked is None:
            return self._get(key, ask, source, ttl, grace, deadline, while_waiting, None)
        try:
            kept = self._get(key, ask, source, ttl, grace, deadline, while_waiting, asked)
        except SourceError as error:
            asked.failed(error.kind)
            raise
        except BaseException:
            # `while_waiting` has raised: nobody looks any more.
            asked.left()
            raise
        rows = tracing.rows_of(kept.value)
        asked.answered(cached=kept.cached, stale=kept.stale, rows=rows, origin=kept.origin)
        return kept

    def _get(
        self,
        key: Hashable,
        ask: Callable[[], Any],
        source: str,
        ttl: float,
        grace: float,
        deadline: float,
        while_waiting: Callable[[], None] | None,
        asked: tracing.Asked | None,
    ) -> Kept:
        now = self._clock()
        with self._lock:
            kept = self._kept.get(key)
            age = now - kept.clock if kept else None
            if kept and age is not None and age <= ttl:
                self.counts[(source, "hit")] += 1
                return replace(kept, cached=True)
            failed_at, failure = self._failed.get(key, (None, None))
            if failure and failed_at is not None and now - failed_at < RETRY_SECONDS:
                flight = None
            else:
                failure = None
                flight = self._flights.get(key)
                if flight is None:
                    self.counts[(source, "miss")] += 1
                    flight = self._start(key, ask, source, asked)
        if kept and age is not None and age <= ttl + grace:
            self.counts[(source, "stale")] += 1
            return replace(kept, cached=True, stale=True, error=self._reason(key))
        if flight is not None:
            try:
                return self._wait(flight, source, deadline, while_waiting)
            except SourceError as error:
                failure = error
        assert failure is not None
        if kept is None:
            raise failure
        self.counts[(source, "last_good")] += 1
        return replace(kept, cached=True, stale=True, error=failure.sentence)

    def _reason(self, key: Hashable) -> str | None:
        failed = self._failed.get(key)
        return failed[1].sentence if failed else None

    def _start(self, key: Hashable, ask: Callable[[], Any], source: str, asked: tracing.Asked | None) -> Future[Kept]:
        """Begin a flight; the caller holds the lock."""
        flown = asked.flight() if asked is not None else None

        def run() -> Kept:
            state = self.states[source]
            asked_at, clock = datetime.now(UTC), self._clock()
            state.in_flight += 1
            try:
                value = ask() if flown is None else flown.run(ask)
                kept = Kept(value, asked_at, clock, origin=flown.origin if flown is not None else None)
            except Exception as error:
                told = (
                    error
                    if isinstance(error, SourceError)
                    else SourceError("The answer could not be read.", kind="refused", source=source)
                )
                self.counts[(source, f"failure:{told.kind}")] += 1
                if told.kind not in {"bad_parameter", "too_large"}:
                    state.last_failure, state.last_error = datetime.now(UTC), told.sentence
                with self._lock:
                    if age == self._ages[source]:
                        self._failed[key] = (self._clock(), told)
                        self._flights.pop(key, None)
                if told is error:
                    raise
                raise told from error
            finally:
                state.in_flight -= 1
            state.last_success, state.latency = datetime.now(UTC), self._clock() - clock
            with self._lock:
                # What was asked before the source was forgotten is answered to those who wait for it, and not kept.
                if age == self._ages[source]:
                    self._failed.pop(key, None)
                    self._flights.pop(key, None)
                    # A value larger than the whole cache is answered, not kept.
                    if self._kept.getsizeof(kept) <= self._kept.maxsize:
                        self._kept[key] = kept
            return kept

        age = self._ages[source]
        flight = self._flights[key] = self._pools[source].submit(run)
        return flight

    def _wait(
        self, flight: Future[Kept], source: str, deadline: float, while_waiting: Callable[[], None] | None
    ) -> Kept:
        until = time.monotonic() + deadline
        while True:
            try:
                return flight.result(timeout=POLL_SECONDS if while_waiting else max(until - time.monotonic(), 0))
            except TimeoutError:
                if flight.done():
                    raise _too_late(source) from None
                if time.monotonic() >= until:
                    self.counts[(source, "failure:wait")] += 1
                    raise _too_late(source) from None
                if while_waiting:
                    while_waiting()

    def forget(self, source: str | None = None) -> None:
        """Drop all answers, or those of one source whose keys begin with its name: what is asked next is asked anew.

        Questions in flight go on for those who wait for them.
        """
        with self._lock:
            for name in self._ages if source is None else (source,):
                self._ages[name] += 1
            for answers in (self._kept, self._failed, self._flights):
                for key in list(answers):
                    if source is None or (isinstance(key, tuple) and key[0] == source):
                        del answers[key]

    def close(self) -> None:
        """Take no further question and do not wait for those in flight."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
