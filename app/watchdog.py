"""The dead man's switch: an alert that always fires, heard about once a minute, so that silence is told, too.

`monitoring/rules/data.yml` has the alert Watchdog; `monitoring/alertmanager.yml` sends it to `POST /hooks/watchdog`. When it
was heard last stands in the state database, and in the memory of the process where there is none. What it says:

- the page Alerts: not heard for `SILENT_SECONDS`: no alert would arrive now;
- `/metrics`: `mirador_watchdog_heard_timestamp_seconds`, for the alert WatchdogSilent and for a Prometheus elsewhere.
"""  # noqa: E501

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.to_thread
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import queries
from app.behind import ReadBehind
from app.hooks import MAX_BYTES, NO_STORE, refused
from app.settings import Settings
from app.state import _write

# Five heartbeats missed.
SILENT_SECONDS = 300.0
_HEARD = """
insert into mirador.heartbeats as kept (name, heard_at) values ('watchdog', :heard_at)
on conflict (name) do update set heard_at = greatest(kept.heard_at, excluded.heard_at)
returning 1
"""
_started = time.time()
_lock = threading.Lock()
_heard = 0.0


def hear(settings: Settings, at: datetime | None = None) -> None:
    """Note that the Watchdog was heard. A state database that is away is no reason to cry: the process remembers."""
    global _heard
    moment = at or datetime.now(UTC)
    with _lock:
        _heard = max(_heard, moment.timestamp())
    if settings.state_url is not None:
        try:
            _write(settings, _HEARD, {"heard_at": moment})
        except queries.SourceError:
            return


def last_heard() -> datetime | None:
    """When any process heard the Watchdog last, as far as this one knows; None: never."""
    with _lock:
        known = _heard
    moments = [datetime.fromtimestamp(known, queries.timezone())] if known else []
    try:
        # An old answer would be a false alarm.
        frame = queries.state("alerts/watchdog", grace=0)
    except queries.SourceError:
        frame = None
    if frame is not None and not frame.empty:
        moments.append(frame["heard_at"].iloc[0].to_pydatetime())
    return max(moments, default=None)


def forget() -> None:
    """Nothing was heard yet, as at the start of the process."""
    global _heard
    with _lock:
        _heard = 0.0


# --- the hook ---------------------------------------------------------------------------------------------------------


def watchdog_routes(settings: Settings) -> list[Route]:
    """The route, for the host."""
    return [
        Route(
            "/hooks/watchdog",
            partial(_take, settings=settings, limiter=anyio.CapacityLimiter(1)),
            methods=["POST"],
        )
    ]


async def _take(request: Request, *, settings: Settings, limiter: anyio.CapacityLimiter) -> Response:
    if (refusal := refused(request, settings)) is not None:
        return refusal
    # That it came is all that it says.
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > MAX_BYTES:
            return JSONResponse({"error": f"A message may have at most {MAX_BYTES:,} bytes."}, 413, headers=NO_STORE)
    await anyio.to_thread.run_sync(partial(hear, settings), limiter=limiter)
    return JSONResponse({"heard": True}, headers=NO_STORE)


# --- the metric -------------------------------------------------------------------------------------------------------


class WatchdogCollector(ReadBehind[list[float]]):
    """When the Watchdog was heard last; nothing where the hook is shut."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("watchdog")
        self.open = settings.hook_token is not None

    def nothing(self) -> list[float]:
        """Not heard."""
        return []

    def read(self, into: list[float]) -> None:
        """What the processes know together."""
        heard = last_heard()
        if heard is not None:
            into.append(heard.timestamp())

    def families(self, kept: list[float]) -> Iterator[Metric]:
        """The gauge."""
        with _lock:
            known = _heard
        yield GaugeMetricFamily(
            "mirador_watchdog_heard_timestamp_seconds",
            "When the always-firing alert was heard last; the start of this process when it never was.",
            value=max(known, *kept, 0.0) or _started,
        )
