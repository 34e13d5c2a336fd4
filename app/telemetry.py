"""What Mirador tells about itself: its own metrics, one-line logs, and error reports with nothing personal in them.

One scrubber (`queries/scrub.py`) stands before every way out: log, Sentry, spans.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
import streamlit as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint
from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

import queries
from app import tracing
from app.settings import Settings
from queries import scrub
from queries.scrub import mask, mask_all

log = logging.getLogger("mirador")


# --- logs -------------------------------------------------------------------------------------------------------------


class OneLine(logging.Formatter):
    """`time level logger "message" error="..."`: one line a record, so that log collectors need no rules."""

    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = f"{self.formatTime(record)} {record.levelname.lower()} {record.name} {_quoted(record.getMessage())}"
        if record.exc_info:
            error = record.exc_text or self.formatException(record.exc_info)
            line += f" error={_quoted(mask(error))}"
        return line


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n") + '"'


class NoSecrets(logging.Filter):
    """Takes secrets and personal data out of a record before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the record goes on, cleaned."""
        try:
            told = record.getMessage()
        except Exception:
            # A call whose arguments do not fit its text must not end a page, nor be printed with its arguments.
            told = str(record.msg)
        record.msg, record.args = mask(told), None
        if record.exc_info and not record.exc_text:
            # Formatters use a text that is there already and never look at the exception again.
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
        return True


def start_logging() -> None:
    """Send every logger of the process through one handler with one form and one filter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    handler.addFilter(NoSecrets())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # Python prints what nobody caught past all loggers.
    sys.excepthook = _uncaught
    threading.excepthook = lambda ended: _uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)
    logging.getLogger("mirador").setLevel(logging.INFO)
    # Streamlit prints errors of pages past all loggers while it may use colours.
    config.set_option("logger.enableRich", False)
    # Streamlit and uvicorn give their loggers handlers of their own, which know no filter.
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.split(".")[0] in {"streamlit", "uvicorn", "websockets"}:
            for old in list(logger.handlers):
                logger.removeHandler(old)
            logger.propagate = True
            if not name.startswith("streamlit"):
                # Each scrape and each WebSocket would be a line.
                logger.setLevel(logging.WARNING)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        sys.__excepthook__(kind, error or kind(), trace)
        return
    log.critical("not caught", exc_info=(kind, error or kind(), trace))


# --- error reports ----------------------------------------------------------------------------------------------------

_REQUEST_KEPT = {"method", "url"}
# The query of an address, wherever one stands: a viewer's filters and searches.
_QUERY = re.compile(r"(?<=[\w/~.-])\?[\w.\[\]%+&;-]{1,200}=[^\s'\"<>]*")
REPEAT_SECONDS = 300.0


def clean_event(event: Event, _hint: Hint | None = None) -> Event:
    """The event without request bodies, local variables, command line, names of people and secrets.

    Sentry drops the event when this raises: what cannot be cleaned is not sent.
    """
    cleaned: dict[str, Any] = dict(event)
    user = cleaned.pop("user", None) or {}
    request = cleaned.pop("request", None) or {}
    # Command lines carry parameters of queries.
    cleaned["extra"] = {k: v for k, v in (cleaned.get("extra") or {}).items() if k != "sys.argv"}
    kept = {name: cleaned.pop(name) for name in ("modules", "sdk", "_meta") if name in cleaned}
    cleaned = mask_all(_without(cleaned))
    cleaned |= {name: value for name, value in kept.items() if name in ("modules", "sdk")}
    if request:
        cleaned["request"] = {
            name: mask(str(value).split("?")[0].split("#")[0])
            for name, value in request.items()
            if name in _REQUEST_KEPT
        }
    if user.get("id"):
        cleaned["user"] = {"id": mask(str(user["id"]))}
    return cleaned  # type: ignore[return-value]


def _without(value: Any) -> Any:
    """Without local variables, the folders of this machine and the queries of addresses."""
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in {"vars", "abs_path"}}
    if isinstance(value, list | tuple):
        return [_without(item) for item in value]
    return _QUERY.sub(f"?{scrub.REMOVED}", value) if isinstance(value, str) else value


def clean_breadcrumb(crumb: Breadcrumb, _hint: BreadcrumbHint | None = None) -> Breadcrumb:
    """The breadcrumb with its texts and data scrubbed."""
    return mask_all(_without(dict(crumb)))


def start_sentry(dsn: str, *, environment: str, transport: Any = None) -> None:
    """Report errors to Sentry, with as little as is useful."""
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        transport=transport,
        data_collection={
            "user_info": False,
            "http_bodies": [],
            "database_query_data": False,
            "stack_frame_variables": False,
            "frame_context_lines": 0,
        },
        max_request_body_size="never",
        # No integration that reads requests, statements or parameters by itself.
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        server_name="mirador",
        before_send=clean_event,
        before_send_transaction=clean_event,
        before_breadcrumb=clean_breadcrumb,
    )


def start(settings: Settings) -> None:
    """Make the scrubber know the configured secrets, and start logs and error reports."""
    scrub.know(settings.secrets())
    start_logging()
    if settings.sentry_dsn:
        start_sentry(settings.sentry_dsn.get_secret_value(), environment=settings.environment)


_reported: dict[tuple[str, ...], float] = {}
_reported_lock = threading.Lock()


def _first_for_a_while(key: tuple[str, ...]) -> bool:
    """Whether this was not reported within the last minutes: a dead source fails each panel of each viewer."""
    now = time.monotonic()
    with _reported_lock:
        for old in [known for known, at in _reported.items() if now - at > REPEAT_SECONDS]:
            del _reported[old]
        if key in _reported:
            return False
        _reported[key] = now
        return True


def script_failed(error: BaseException) -> None:
    """Count and report an error that left a page, with the page's path; Streamlit has logged it."""
    script_errors.labels(type(error).__name__).inc()
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("page", page_of_viewer())
        scope.capture_exception(error)


def page_of_viewer() -> str:
    """The path of the page that the viewer of this script run has open; empty outside a run."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return ""
    with suppress(Exception):
        if url := st.context.url:
            return urlsplit(url).path.strip("/").rpartition("/")[2] or "today"
    return ""


def panel_failed(panel: str, error: BaseException) -> None:
    """Count, log and report a panel that could not be drawn, with its query and its source."""
    source = str(getattr(error, "source", None) or "none")
    kind = str(getattr(error, "kind", None) or type(error).__name__)
    query = str(getattr(error, "query", None) or "")
    panel_failures.labels(panel, source, kind).inc()
    if kind == "not_configured" or not _first_for_a_while((panel, source, kind)):
        return
    log.warning("panel %s failed: %s", panel, getattr(error, "sentence", None) or error)
    with sentry_sdk.new_scope() as scope:
        told = {"panel": panel, "source": source, "kind": kind, "query": query, "page": page_of_viewer()}
        for name, value in told.items():
            scope.set_tag(name, value)
        # One issue a panel and kind of failure, whatever the words of the driver.
        scope.fingerprint = ["panel", panel, source, kind]
        scope.capture_exception(error)


def panel_drawn(panel: str, outcome: str, seconds: float) -> None:
    """Note how long a panel took: outcome is ok, stale, empty, failed or not_configured."""
    panel_seconds.labels(panel, outcome).observe(seconds)
    tracing.drawn(outcome)


# --- metrics ----------------------------------------------------------------------------------------------------------

registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)
GCCollector(registry=registry)

panel_seconds = Histogram(
    "mirador_panel_seconds",
    "Time to draw a panel, waiting for its data included.",
    ("panel", "outcome"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 15),
    registry=registry,
)
panel_failures = Counter(
    "mirador_panel_failures", "Panels that could not be drawn.", ("panel", "source", "kind"), registry=registry
)
script_errors = Counter("mirador_script_errors", "Errors that left a page.", ("type",), registry=registry)
sessions = Gauge("mirador_sessions", "Open browser connections.", registry=registry)


class SourceCollector(Collector):
    """The counts and states that `queries` keeps, read at the moment of the scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families; nothing before the sources are named."""
        try:
            counted, states = queries.counts(), queries.source_states()
        except queries.SourceError:
            return
        answers = CounterMetricFamily(
            "mirador_cache_answers",
            "Questions by how they were answered: hit, miss (asked the source), stale (old data while it refreshes), "
            "last_good (old data because the source failed).",
            labels=["source", "outcome"],
        )
        failures = CounterMetricFamily(
            "mirador_source_failures", "Questions that a source failed to answer.", labels=["source", "kind"]
        )
        for (source, outcome), count in sorted(counted.items()):
            if outcome.startswith("failure:"):
                failures.add_metric([source, outcome.removeprefix("failure:")], count)
            else:
                answers.add_metric([source, outcome], count)
        up = GaugeMetricFamily("mirador_source_up", "1 when the last question was answered.", labels=["source"])
        in_flight = GaugeMetricFamily(
            "mirador_queries_in_flight", "Questions that a source is busy with.", labels=["source"]
        )
        success = GaugeMetricFamily(
            "mirador_source_last_success_timestamp_seconds", "When a source last answered.", labels=["source"]
        )
        latency = GaugeMetricFamily(
            "mirador_source_latency_seconds", "How long the last answer of a source took.", labels=["source"]
        )
        for name, state in sorted(states.items()):
            if state.up is not None:
                up.add_metric([name], float(state.up))
            in_flight.add_metric([name], state.in_flight)
            if state.last_success:
                success.add_metric([name], state.last_success.timestamp())
            if state.latency is not None:
                latency.add_metric([name], state.latency)
        yield from (answers, failures, up, in_flight, success, latency)


registry.register(SourceCollector())
