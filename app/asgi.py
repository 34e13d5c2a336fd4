"""The dashboard and its HTTP routes in one process: `python -m app serve`, or `streamlit run app/asgi.py`.

| route | what it says |
|---|---|
| `/healthz` | 200 while the process answers; asks no source |
| `/readyz` | each source: state, age, latency. 503 only when sources are configured and none answers: while one does, the pages that need it work, and a load balancer must not take them away |
| `/metrics` | Mirador's own metrics and the exact KPIs of the ledger, for Prometheus |
| `/api/kpis` | the KPIs of a day (`?day=YYYY-MM-DD`, `?lang=es` or `en`) as JSON |
| `/download/rows` | all rows behind a number, by a signed link that a panel gave: see `app/download.py` |
| `/hooks/alertmanager`, `/hooks/events` | take what Alertmanager and deployments tell: see `app/hooks.py` |
| `/status`, `/status.json`, `/status.atom`, `/status.rss` | the public status page: see `app/status.py` |
| `/status/subscribe`, `/status/confirm`, `/status/unsubscribe` | who wants to hear of incidents: see `app/subscribers.py` |
| `/hooks/watchdog` | takes the alert that always fires, whose silence is told: see `app/watchdog.py` |

`/metrics` and `/api/kpis` hold business numbers. With MIRADOR_API_TOKEN they ask for `Authorization: Bearer`. Where
login is configured and no token is, they give none: a number behind a login must not stand open beside it.
"""  # noqa: E501

from __future__ import annotations

import gc
import hmac
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

# Streamlit puts app/ itself on the path, not the folder above it.
if (_root := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, _root)

import anyio
import anyio.to_thread
import requests
import streamlit as st
from prometheus_client.exposition import choose_encoder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import components
import queries
from app import assets, digest_post, reconciliation, rollups, subscribers, telemetry, tracing
from app.auth import login_required
from app.board import Board, as_json, read_numbers, today, warm
from app.download import rows_download
from app.hooks import hook_routes
from app.settings import Settings, SettingsError, connect, settings
from app.slos import SloBoard
from app.state import migrate_soon
from app.status import status_routes
from app.watchdog import WatchdogCollector, watchdog_routes

PROBE_SECONDS = 1.0
PROBE_KEPT_SECONDS = 3.0
END_SECONDS = 4.0
FIRST_DAY = date(2000, 1, 1)

try:
    _settings: Settings = settings()
except SettingsError as error:
    sys.exit(str(error))

board = Board()
slo_board = SloBoard()
watchdog = WatchdogCollector(_settings)
_api_limiter = anyio.CapacityLimiter(4)


# --- routes -----------------------------------------------------------------------------------------------------------


async def healthz(_request: Request) -> Response:
    """Whether the process answers."""
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


class _Readiness:
    """Probes of all sources at once, kept a few seconds: however many ask, a source is probed once."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._report: dict[str, Any] = {}
        self._at = float("-inf")

    async def report(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() - self._at > PROBE_KEPT_SECONDS:
                found: dict[str, dict[str, Any]] = {}
                async with anyio.create_task_group() as tasks:
                    for name in ("ledger", "metrics", "alertmanager"):
                        tasks.start_soon(self._probe, name, found)
                self._report = {"status": _status(found), "sources": dict(sorted(found.items()))}
                self._at = time.monotonic()
            return self._report

    async def _probe(self, name: str, found: dict[str, dict[str, Any]]) -> None:
        result: dict[str, Any] = {"state": "down", "error": f"No answer within {PROBE_SECONDS:.0f} s."}
        # Abandoned rather than awaited when it is late: the thread ends by its own bound.
        with anyio.move_on_after(PROBE_SECONDS + 0.25):
            result = await anyio.to_thread.run_sync(_probe_source, name, abandon_on_cancel=True)
        found[name] = result


_readiness = _Readiness()


def _status(found: dict[str, dict[str, Any]]) -> str:
    states = [source["state"] for source in found.values() if source["state"] != "not_configured"]
    if not states:
        return "not_configured"
    if all(state == "ok" for state in states):
        return "ok"
    return "degraded" if "ok" in states else "down"


def _probe_source(name: str) -> dict[str, Any]:
    try:
        latency = _ask_alertmanager() if name == "alertmanager" else queries.probe(name, PROBE_SECONDS)  # type: ignore[arg-type]
        report: dict[str, Any] = {"state": "ok", "latency_seconds": round(latency, 4)}
    except queries.SourceError as error:
        report = {"state": "not_configured" if error.kind == "not_configured" else "down", "error": error.sentence}
    if name == "ledger" and report["state"] == "ok":
        report["rollups"] = _rollups()
    if name != "alertmanager" and report["state"] != "not_configured":
        with suppress(queries.SourceError, KeyError):
            success = queries.source_states()[name].last_success
            if success:
                report["age_seconds"] = round((datetime.now(UTC) - success).total_seconds(), 1)
    return report


def _rollups() -> dict[str, Any]:
    try:
        states = queries.rollup_states()
    except queries.SourceError as error:
        return {"mode": "unknown", "reason": error.sentence}
    told: dict[str, Any] = {"mode": states.mode}
    if reason := rollups.why_rows(states):
        told["reason"] = reason
    if states.refreshed_at:
        told["age_seconds"] = round((datetime.now(UTC) - states.refreshed_at).total_seconds(), 1)
    return told


def _ask_alertmanager() -> float:
    if not _settings.alertmanager_url:
        raise queries.SourceError(
            "No Alertmanager is configured: set MIRADOR_ALERTMANAGER_URL.", kind="not_configured", source="alertmanager"
        )
    start = time.monotonic()
    try:
        answer = requests.get(f"{_settings.alertmanager_url}/-/ready", timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException:
        raise queries.SourceError("Alertmanager cannot be reached.", kind="down", source="alertmanager") from None
    if answer.status_code != 200:
        raise queries.SourceError(
            f"Alertmanager is not ready (HTTP {answer.status_code}).", kind="down", source="alertmanager"
        )
    return time.monotonic() - start


async def readyz(_request: Request) -> Response:
    """Each source with its state, age and latency."""
    report = await _readiness.report()
    return JSONResponse(
        report, status_code=503 if report["status"] == "down" else 200, headers={"Cache-Control": "no-store"}
    )


def _refused(request: Request) -> Response | None:
    """The answer to a caller who may not see business numbers, or None."""
    headers = {"Cache-Control": "no-store"}
    if _settings.api_token is None:
        if not login_required():
            return None
        return JSONResponse(
            {"error": "Login is configured: set MIRADOR_API_TOKEN to open this address."}, 403, headers=headers
        )
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    wanted = _settings.api_token.get_secret_value()
    if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted.encode()):
        return None
    return JSONResponse(
        {"error": "This address asks for the header Authorization: Bearer with MIRADOR_API_TOKEN."},
        401,
        headers={**headers, "WWW-Authenticate": "Bearer"},
    )


async def metrics(request: Request) -> Response:
    """Mirador's metrics and the ledger's KPIs, in the form that the scraper asks for."""
    if _settings.api_token is not None and (refused := _refused(request)):
        return refused
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    body = await anyio.to_thread.run_sync(encode, telemetry.registry)
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _asked_day(request: Request) -> date:
    """The day asked for. Raises ValueError with a sentence."""
    running = today()
    text = request.query_params.get("day")
    if text is None:
        return running
    try:
        day = date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError("day must be a date such as 2026-01-31.")
    if not FIRST_DAY <= day <= running:
        raise ValueError(f"day must lie between {FIRST_DAY} and today, {running}.")
    return day


async def api_kpis(request: Request) -> Response:
    """The KPIs of a day."""
    if refused := _refused(request):
        return refused
    language = request.query_params.get("lang", _settings.language if _settings.language != "auto" else "es")
    try:
        if language not in {"es", "en"}:
            raise ValueError("lang must be es or en.")
        day = _asked_day(request)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400, headers={"Cache-Control": "no-store"})
    numbers = await anyio.to_thread.run_sync(read_numbers, day, abandon_on_cancel=True, limiter=_api_limiter)
    answered = any(one.reading is not None for one in numbers)
    return JSONResponse(
        as_json(numbers, day, language),
        200 if answered or not numbers else 503,
        headers={"Cache-Control": "private, max-age=15" if answered else "no-store", "Vary": "Authorization"},
    )


# --- the process ------------------------------------------------------------------------------------------------------


class CountSessions:
    """Counts open browser connections; Streamlit has no public number for them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        with telemetry.sessions.track_inprogress():
            await self._app(scope, receive, send)


def script_failed(error: Exception) -> bool:
    """Report an error that left a page and show a sentence: a stack can hold what viewers must not see."""
    telemetry.script_failed(error)
    sentence = getattr(error, "sentence", "This page could not be drawn. The error was noted; reload to try again.")
    st.error(components._(sentence))
    return True


def _end_promptly() -> None:
    """After SIGTERM or Ctrl-C cut off running questions and end within `END_SECONDS`, whatever still waits.

    uvicorn waits for its tasks and Python for its threads; one that waits on a hung source would hold both.
    """

    def last_call(code: int) -> None:
        queries.disconnect()
        time.sleep(END_SECONDS)
        os._exit(code)

    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        before = signal.getsignal(number)
        if not callable(before):
            continue

        def handle(got: int, frame: Any, before: Any = before, code: int = code) -> None:
            threading.Thread(target=last_call, args=(code,), daemon=True).start()
            before(got, frame)

        # Only the main thread may; elsewhere whoever runs the loop handles signals.
        with suppress(ValueError):
            signal.signal(number, handle)


def _settle() -> None:
    """Ask what the first page asks; then take what is there for good out of the collector's rounds.

    Streamlit collects garbage after each script run, through all that lives: modules and templates that were made at
    the start are no garbage, and walking through them took a tenth of the process's time.
    """
    assets.pack()
    warm()
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Name the sources, warm the first page's questions behind the start, and leave in good order."""
    telemetry.start(_settings)
    connect(_settings, while_waiting=components.stop_if_left)
    tracing.start(_settings)
    components.on_failure(telemetry.panel_failed)
    components.on_drawn(telemetry.panel_drawn)
    components.set_default_language(_settings.language)
    # Without a token a login keeps the numbers in; see the module.
    board.open = _settings.api_token is not None or not login_required()
    slo_board.open = reconciliation.collector.open = board.open
    for collector in (board, slo_board, watchdog):
        with suppress(ValueError):
            telemetry.registry.register(collector)
    _end_promptly()
    exposed = _settings.address not in {"127.0.0.1", "::1", "localhost"}
    if exposed and not login_required():
        telemetry.log.warning(
            "MIRADOR_ADDRESS opens the dashboard to the network and no login is configured: see [auth] in the README"
        )
    threading.Thread(target=_settle, name="mirador-warm", daemon=True).start()
    ended = threading.Event()
    if _settings.state_url is not None:
        state = (_settings.state_url.get_secret_value(), telemetry.log, ended)
        threading.Thread(target=migrate_soon, args=state, name="mirador-migrate", daemon=True).start()
    subscribers.start(_settings, ended)
    rollups.start(_settings)
    reconciliation.start(_settings)
    digest_post.start(_settings)
    named = {"the ledger": _settings.ledger_url, "Prometheus": _settings.prometheus_url}
    telemetry.log.info("up, with %s", " and ".join(name for name, url in named.items() if url) or "no source")
    try:
        yield {}
    finally:
        ended.set()
        rollups.stop()
        reconciliation.stop()
        digest_post.stop()
        tracing.stop()
        queries.disconnect()
        telemetry.log.info("ended")


# Where each page stands, beside the root.
pages = sorted(path.stem for path in Path(_root, "pages").glob("*.py"))

app = st.App(
    Path(__file__).with_name("streamlit_app.py"),
    routes=[
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/api/kpis", api_kpis),
        Route("/download/rows", rows_download),
        *hook_routes(_settings),
        *status_routes(_settings),
        *subscribers.subscriber_routes(_settings),
        *watchdog_routes(_settings),
    ],
    middleware=[Middleware(CountSessions), Middleware(assets.Assets, pages=pages)],
    lifespan=lifespan,
    on_script_error=script_failed,
)
