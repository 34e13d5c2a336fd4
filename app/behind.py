"""Numbers of the ledger for `/metrics`, read behind the scrape, which is answered from memory and never waits long."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

import queries
from app import telemetry

REFRESH_SECONDS = 30.0
FIRST_WAIT_SECONDS = 2.0
# What was read longer ago is not given out: the refresh behind it hangs.
OLDEST_SECONDS = 180.0
T = TypeVar("T")


class ReadBehind(Collector, ABC, Generic[T]):
    """A collector whose numbers are read in the background and given out from memory.

    A scrape older than `REFRESH_SECONDS` starts one refresh behind it; only the very first waits, for at most
    `FIRST_WAIT_SECONDS`. Nobody scrapes: nothing is asked. While `open` is false it gives nothing.
    """

    def __init__(self, name: str) -> None:
        self.open = True
        self._name = name
        self._lock = threading.Lock()
        self._refreshing = False
        self._first = threading.Event()
        self._kept = self.nothing()
        self._read_at = 0.0

    @abstractmethod
    def nothing(self) -> T:
        """An empty result, for `read` to fill."""

    @abstractmethod
    def read(self, into: T) -> None:
        """Fill the result. What it holds when this raises is given out all the same."""

    @abstractmethod
    def families(self, kept: T) -> Iterator[Metric]:
        """The metrics of a result."""

    def refresh(self) -> None:
        """Start a refresh behind the caller unless one is running or the last is recent."""
        with self._lock:
            recent = self._first.is_set() and time.monotonic() - self._read_at < REFRESH_SECONDS
            if self._refreshing or recent:
                return
            self._refreshing = True
        threading.Thread(target=self._refresh, name=f"mirador-{self._name}", daemon=True).start()

    def _refresh(self) -> None:
        began = time.monotonic()
        found = self.nothing()
        try:
            self.read(found)
        except queries.SourceError:
            # Nothing is connected, the ledger is away, or the process ends: what was not read is not given out.
            pass
        except Exception as error:
            telemetry.log.error("the %s could not be read", self._name, exc_info=error)
        finally:
            with self._lock:
                self._kept, self._read_at, self._refreshing = found, began, False
            self._first.set()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        if not self.open:
            return
        self.refresh()
        self._first.wait(FIRST_WAIT_SECONDS)
        with self._lock:
            fresh = time.monotonic() - self._read_at < OLDEST_SECONDS
            kept = self._kept if fresh else self.nothing()
        yield from self.families(kept)
