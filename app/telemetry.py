"""What Mirador tells about itself: its own metrics, one-line logs, and error reports with nothing personal in them.

One scrubber stands before every way out (log, Sentry): it knows the configured secrets by value, keys that must never
leave by name, and personal data by pattern.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import sentry_sdk
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint
from streamlit import config

import queries
from app.settings import Settings

REMOVED = "[removed]"
log = logging.getLogger("mirador")


# --- the scrubber -----------------------------------------------------------------------------------------------------

# Parts of key names whose values never leave, whatever they are; compared without case, dashes and underscores.
_DENIED_KEYS = re.compile(
    r"password|passwd|pwd|secret|token|apikey|authorization|cookie|credential|session|dsn|privatekey|csrf|xsrf"
    r"|email|correo|phone|telefono|celular|mobile|curp|rfc$|^rfc|clabe|card|tarjeta|cvv|iban|address|direccion"
    r"|firstname|lastname|fullname|surname|apellido|nombre|birth|nacimiento|ssn|nss"
    r"|params$|parameters$|bindvars|^vars$|body$|querystring|ipaddress|^ip$|username"
)
# Structure that a report cannot be read without; kept as it is only while it looks like what it should be.
_STRUCTURE = {
    **dict.fromkeys(
        ("event_id", "trace_id", "span_id", "parent_span_id", "replay_id", "profile_id"),
        re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}"),
    ),
    **dict.fromkeys(
        ("timestamp", "start_timestamp"), re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")
    ),
}
_NUMBERS = {"timestamp", "start_timestamp", "lineno", "colno"}

# Repetitions are bounded, so that a long text costs time in proportion to its length.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in any address, up to the last @: passwords hold every sign
    (re.compile(r"(?<=://)[^\s'\"<>]{0,2000}@"), f"{REMOVED}@"),
    (re.compile(r"\b((?i:bearer))\s+[\w.~+/=:-]{6,}"), rf"\1 {REMOVED}"),
    (re.compile(r"\b((?i:basic|digest|token))\s+(?=\S{0,200}[\dA-Z=])[\w.~+/=:-]{8,}"), rf"\1 {REMOVED}"),
    # a JSON web token
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), REMOVED),
    # name = value, in a URL, a DSN, JSON or a sentence
    (
        re.compile(
            r"((?:password|passwd|pwd|secret|token|api[_-]?key|authorization|cookie|credential|dsn)[\w-]{0,40}"
            r"[\"']?\s{0,5}[=:]\s{0,5})(\"[^\"]*\"|'[^']*'|[^\s\"'&,;)}\]]+)",
            re.I,
        ),
        rf"\1{REMOVED}",
    ),
    # what SQLAlchemy, psycopg and PostgreSQL add to an error: the bound values and the row
    (re.compile(r"\[parameters: .*?\](?=\n|$)", re.S), f"[parameters: {REMOVED}]"),
    (re.compile(r"\b(DETAIL|CONTEXT|DETALLE|CONTEXTO):[^\n]*"), rf"\1: {REMOVED}"),
    (re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,80}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), REMOVED),
    # CURP, then RFC (of a person and of a company)
    (re.compile(r"(?<![^\W_])[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d(?![^\W_])", re.I), REMOVED),
    (re.compile(r"(?<![^\W_])[A-ZÑ&]{3,4}-?\d{6}-?[A-Z0-9]{3}(?![^\W_])", re.I), REMOVED),
)
# Not a date, not an IPv4 address.
_LONG_NUMBER = re.compile(
    r"(?<!\w)(?<!\d\.)(?!\d{4}-\d\d-\d\d(?!\d))(?!\d{1,3}(?:\.\d{1,3}){3}(?![\d.]))"
    r"\+?\(?\d(?:[ .()-]{0,2}\d){9,22}(?!\w)|\d{13,19}"
)
_SQL = re.compile(r"\b(select|insert|update|delete|values|where|with)\b", re.I)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _number(match: re.Match[str]) -> str:
    """Telephone numbers (10 to 13 digits), card numbers (by Luhn) and CLABE accounts (18 digits) go."""
    digits = re.sub(r"\D", "", match[0])
    personal = 10 <= len(digits) <= 13 or len(digits) == 18 or (13 <= len(digits) <= 19 and _luhn(digits))
    return REMOVED if personal else match[0]


class Scrubber:
    """Takes secrets and personal data out of texts and of nested data."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)

    def text(self, text: str) -> str:
        """The text without configured secrets, credentials, personal data and SQL values."""
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if _SQL.search(text):
            text = _LITERAL.sub("'?'", text)
        return _LONG_NUMBER.sub(_number, text)

    def data(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Nested data without values under denied keys, and with every text scrubbed; keys are scrubbed, too."""
        if depth > 40:
            return REMOVED
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): REMOVED
                if _DENIED_KEYS.search(re.sub(r"[_\W]", "", str(name).lower())) and not _harmless(item)
                else self.data(item, str(name), depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, str):
            shape = _STRUCTURE.get(key)
            return value if shape and shape.fullmatch(value) else self.text(value)
        if value is None or isinstance(value, bool | date):
            return value
        if isinstance(value, int | float):
            if key in _NUMBERS:
                return value
            return value if self.text(str(value)) == str(value) else REMOVED
        if isinstance(value, bytes | bytearray | memoryview):
            return REMOVED
        if isinstance(value, Iterable):
            return [self.data(item, key, depth + 1) for item in value]
        return self.text(str(value))


def _harmless(value: Any) -> bool:
    return value is None or value == "" or value == {} or value == []


_scrubber = Scrubber()


def scrubber() -> Scrubber:
    """The scrubber of this process; it knows the configured secrets once `start` has run."""
    return _scrubber


# --- logs -------------------------------------------------------------------------------------------------------------


class OneLine(logging.Formatter):
    """`time level logger "message" error="..."`: one line a record, so that log collectors need no rules."""

    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = f"{self.formatTime(record)} {record.levelname.lower()} {record.name} {_quoted(record.getMessage())}"
        if record.exc_info:
            error = record.exc_text or self.formatException(record.exc_info)
            line += f" error={_quoted(_scrubber.text(error))}"
        return line


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n") + '"'


class NoSecrets(logging.Filter):
    """Takes secrets and personal data out of a record before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the record goes on, cleaned."""
        record.msg, record.args = _scrubber.text(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            # Formatters use a text that is there already and never look at the exception again.
            record.exc_text = _scrubber.text(logging.Formatter().formatException(record.exc_info))
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


# --- error reports ----------------------------------------------------------------------------------------------------

_REQUEST_KEPT = {"method", "url"}
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
    cleaned = _scrubber.data(_without(cleaned))
    cleaned |= {name: value for name, value in kept.items() if name in ("modules", "sdk")}
    if request:
        cleaned["request"] = {
            name: _scrubber.text(str(value).split("?")[0].split("#")[0])
            for name, value in request.items()
            if name in _REQUEST_KEPT
        }
    if user.get("id"):
        cleaned["user"] = {"id": _scrubber.text(str(user["id"]))}
    return cleaned  # type: ignore[return-value]


def _without(value: Any) -> Any:
    """Without local variables and the folders of this machine."""
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in {"vars", "abs_path"}}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value


def clean_breadcrumb(crumb: Breadcrumb, _hint: BreadcrumbHint | None = None) -> Breadcrumb:
    """The breadcrumb with its texts and data scrubbed."""
    return _scrubber.data(dict(crumb))


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
    global _scrubber
    _scrubber = Scrubber(settings.secrets())
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
    """Count and report an error that left a page; Streamlit has logged it."""
    script_errors.labels(type(error).__name__).inc()
    sentry_sdk.capture_exception(error)


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
        for name, value in {"panel": panel, "source": source, "kind": kind, "query": query}.items():
            scope.set_tag(name, value)
        # One issue a panel and kind of failure, whatever the words of the driver.
        scope.fingerprint = ["panel", panel, source, kind]
        scope.capture_exception(error)


def panel_drawn(panel: str, outcome: str, seconds: float) -> None:
    """Note how long a panel took: outcome is ok, stale, empty, failed or not_configured."""
    panel_seconds.labels(panel, outcome).observe(seconds)


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
