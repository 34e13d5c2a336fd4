"""What the backend tells of itself beside its metrics: JSON logs, spans and errors, joined by two ids.

`request_id` and `trace_id` are those of the ledger's row in integration_calls, so that a row leads to its log lines,
its trace and its error. Each way out is optional and works in the background within bounds: a dead log store, trace
store or tracker costs a request nothing, and what cannot be sent is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sentry_sdk
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.fastapi import FastApiIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.backend import metrics, privacy

SERVICE = "conductores-backend"
ENVIRONMENT = "demo"
RELEASE = f"{SERVICE}@2.4"
LOG_GROUP = "/aws/ecs/conductores-backend"
LOG_STREAM = "application"
# Share of the traces that tell of nothing but a read that went well; those of events and failures are all kept.
SHARE_OF_READS = 0.05
# Attributes of a log record that are no fields of its line.
_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

log = logging.getLogger("conductores")


@dataclass(frozen=True)
class Outlets:
    """Where logs, spans and errors go; None: nowhere."""

    cloudwatch_url: str | None = None
    otlp_url: str | None = None
    sentry_dsn: str | None = None
    share_of_reads: float = SHARE_OF_READS

    @classmethod
    def from_environment(cls) -> Outlets:
        """As the demo starts the backend."""
        return cls(
            os.environ.get("DEMO_CLOUDWATCH_URL") or None,
            os.environ.get("DEMO_OTLP_URL") or None,
            os.environ.get("DEMO_SENTRY_DSN") or None,
            float(os.environ.get("DEMO_TRACE_SHARE", SHARE_OF_READS)),
        )


# --- the request and its ids ------------------------------------------------------------------------------------------

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_fields: ContextVar[Mapping[str, Any]] = ContextVar("fields")
_ID = re.compile(r"[0-9a-f]{32}")


def request_id() -> str:
    """The id of the request that this code works for; made here for work that no request began."""
    found = _request_id.get()
    if not found:
        found = uuid4().hex
        _request_id.set(found)
    return found


def trace_id() -> str | None:
    """The id of the trace that is recorded now."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


@contextlib.contextmanager
def told(**fields: Any) -> Iterator[None]:
    """Every log line and error within carries these fields (integration, credit_id, application_id ...)."""
    known = {name: value for name, value in fields.items() if value is not None}
    token = _fields.set({**_fields.get({}), **known})
    try:
        yield
    finally:
        _fields.reset(token)


@contextlib.contextmanager
def work(name: str, **fields: Any) -> Iterator[None]:
    """Work that no request began, such as a poll: a request id and a trace of its own."""
    token = _request_id.set(uuid4().hex)
    try:
        with tracer().start_as_current_span(name, context=Context(), attributes=_attributes(fields)) as span:
            span.set_attribute("request_id", request_id())
            with told(**fields), sentry_sdk.isolation_scope() as scope:
                scope.set_tag("request_id", request_id())
                yield
    finally:
        _request_id.reset(token)


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class Requests:
    """Each request: its id, span, metrics, and a line when it fails. A path that no route knows is `unmatched`."""

    # What the monitoring itself asks is no work of the API.
    QUIET = frozenset({"/metrics", "/health"})

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http" or scope["path"] in self.QUIET or scope["path"].startswith("/simulation/"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        _request_id.set(given if _ID.fullmatch(given) else uuid4().hex)
        status = 500
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id().encode())]
            await send(message)

        with tracer().start_as_current_span(
            scope["method"],
            context=extract(headers),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": scope["method"],
                "url.scheme": scope.get("scheme", "http"),
                "request_id": request_id(),
            },
            record_exception=False,
        ) as span:
            marked = sentry_sdk.get_isolation_scope()
            marked.set_tag("request_id", request_id())
            try:
                await self.app(scope, receive, watch)
            finally:
                seconds = time.perf_counter() - began
                # Never the path itself: it holds ids, and metrics by it would have no bound.
                endpoint = getattr(scope.get("route"), "path", "unmatched")
                metrics.http_requests_total.labels(scope["method"], endpoint, str(status)).inc()
                metrics.http_request_duration_seconds.labels(scope["method"], endpoint).observe(seconds)
                span.update_name(f"{scope['method']} {endpoint}")
                span.set_attributes({"http.route": endpoint, "http.response.status_code": status})
                told_of = {"method": scope["method"], "endpoint": endpoint, "status": status}
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))
                    log.error("Request failed", extra={**told_of, "duration_ms": round(seconds * 1000)})
                else:
                    log.debug("Request answered", extra={**told_of, "duration_ms": round(seconds * 1000)})


# --- logs -------------------------------------------------------------------------------------------------------------


class JsonLines(logging.Formatter):
    """One JSON object a line: timestamp (UTC), level, message, logger, the ids, and the fields of the moment."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        context = trace.get_current_span().get_span_context()
        line: dict[str, Any] = {
            "timestamp": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "service": SERVICE,
            "request_id": _request_id.get() or None,
            "trace_id": f"{context.trace_id:032x}" if context.is_valid else None,
            "span_id": f"{context.span_id:016x}" if context.is_valid else None,
            **_fields.get({}),
            **{name: value for name, value in vars(record).items() if name not in _RECORD},
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = {
                "type": record.exc_info[0].__name__,
                "message": str(record.exc_info[1]),
                "stack": self.formatException(record.exc_info),
            }
        return json.dumps(
            privacy.data({name: value for name, value in line.items() if value is not None}),
            default=str,
            sort_keys=False,
        )


class CloudWatch(logging.Handler):
    """Sends lines to CloudWatch Logs in the background: batched, bounded, in order of time.

    `emit` only appends to memory. When the log store does not answer, batches are tried again with growing pauses;
    beyond `MOST_LINES` the oldest lines go, and how many went is told when it answers again.
    """

    MOST_LINES = 10_000
    BATCH = 1000
    EVERY = 1.0
    LONGEST_PAUSE = 30.0

    def __init__(self, url: str) -> None:
        super().__init__(logging.INFO)
        self._url = url
        self._lines: deque[tuple[int, str]] = deque(maxlen=self.MOST_LINES)
        self.dropped = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="cloudwatch", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never waits and never fails."""
        try:
            line = (int(record.created * 1000), self.format(record))
        except Exception:
            self.handleError(record)
            return
        if len(self._lines) == self.MOST_LINES:
            self.dropped += 1
        self._lines.append(line)

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        self._ending.set()
        self._thread.join(2)
        super().close()

    def _send_all(self) -> None:
        client: Any = None
        pause = self.EVERY
        while True:
            ending = self._ending.wait(pause)
            try:
                if client is None and self._lines:
                    client = connect(self._url)
                while self._lines:
                    self._send_batch(client)
                pause = self.EVERY
            except Exception:
                # The library's own words may hold the lines: only that it fails is known here.
                pause = min(pause * 2, self.LONGEST_PAUSE)
                client = None
            if ending:
                return

    def _send_batch(self, client: Any) -> None:
        batch = [self._lines.popleft() for _ in range(min(self.BATCH, len(self._lines)))]
        try:
            put_lines(client, batch)
        except Exception:
            room = self.MOST_LINES - len(self._lines)
            self.dropped += max(0, len(batch) - room)
            self._lines.extendleft(reversed(batch[max(0, len(batch) - room) :]))
            raise
        if self.dropped:
            number, self.dropped = self.dropped, 0
            log.warning("Log lines were dropped while the log store did not answer", extra={"lines": number})


def connect(url: str) -> Any:
    """boto3's client of the log store, with the log group and stream made where they are missing."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "logs",
        endpoint_url=url,
        region_name="us-east-1",
        # The log store of the demo asks for credentials and looks at none.
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_group(logGroupName=LOG_GROUP)
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_stream(logGroupName=LOG_GROUP, logStreamName=LOG_STREAM)
    return client


def put_lines(client: Any, lines: list[tuple[int, str]], stream: str = LOG_STREAM) -> None:
    """Send lines, each with its time in milliseconds since 1970; CloudWatch takes a batch only in order of time."""
    events = [{"timestamp": at, "message": line} for at, line in sorted(lines)]
    client.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


# --- spans ------------------------------------------------------------------------------------------------------------


class Tail(SpanProcessor):
    """Passes on the traces that matter: a request's spans are held until it ends, and what only read is thinned out.

    Kept are all traces with a failure or an event of the company (`keep`), and a share of the others.
    """

    MOST_HELD = 2000

    def __init__(self, behind: SpanProcessor, share: float) -> None:
        self._behind = behind
        self._share = share
        self._held: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._decided: OrderedDict[int, bool] = OrderedDict()
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: what matters is known at the end."""
        self._behind.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Hold, pass on or drop a span."""
        if span.context is None:
            return
        whose = span.context.trace_id
        with self._lock:
            decision = self._decided.get(whose)
            if decision is None:
                self._held.setdefault(whose, []).append(span)
                if span.parent is not None and not span.parent.is_remote:
                    # A trace whose request never ends is no reason to hold for ever.
                    if len(self._held) > self.MOST_HELD:
                        self._held.popitem(last=False)
                    return
                spans = self._held.pop(whose)
                decision = any(map(_matters, spans)) or random.random() < self._share
                self._decided[whose] = decision
                if len(self._decided) > self.MOST_HELD:
                    self._decided.popitem(last=False)
            else:
                spans = [span]
        if decision:
            for one in spans:
                self._behind.on_end(one)

    def shutdown(self) -> None:
        """End the sending."""
        self._behind.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is decided."""
        return self._behind.force_flush(timeout_millis)


def _matters(span: ReadableSpan) -> bool:
    return span.status.status_code is StatusCode.ERROR or bool((span.attributes or {}).get("sampling.priority"))


_processor: SpanProcessor | None = None
_providers: dict[str, TracerProvider] = {}


def tracer(service: str = SERVICE) -> trace.Tracer:
    """The tracer of a service: the backend itself, or one of the programs that customers and staff use."""
    if service not in _providers:
        provider = TracerProvider(
            resource=Resource(
                {
                    "service.name": service,
                    "service.version": RELEASE.split("@")[1],
                    "deployment.environment.name": ENVIRONMENT,
                }
            ),
            shutdown_on_exit=False,
        )
        if _processor is not None:
            provider.add_span_processor(_processor)
        _providers[service] = provider
    return _providers[service].get_tracer("conductores")


def keep() -> None:
    """The trace that is recorded now tells of an event of the company: it is kept whatever the share is."""
    trace.get_current_span().set_attribute("sampling.priority", 1)


@contextlib.contextmanager
def inner(name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
    """A span of a question to the database or the cache, where a trace is recorded; an error marks it."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield
        return
    with tracer().start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            # Not its words: an error of the database quotes values.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def headers_of_trace() -> dict[str, str]:
    """The headers that carry the trace that is recorded now to another program."""
    carried: dict[str, str] = {}
    inject(carried)
    return carried


# --- errors -----------------------------------------------------------------------------------------------------------


class IntegrationError(Exception):
    """An outside service has not done what it was asked."""


def error_words(integration: str, endpoint: str, http_status: int | None, error_code: str | None) -> str:
    """What an error of an outside service says, the same for the same failure so that it is one issue."""
    how = f"answered {http_status}" if http_status else "gave no answer"
    return f"{integration} {how} to {endpoint}: {error_code or 'unknown'}"


def integration_failed(error: IntegrationError, **tags: str | None) -> None:
    """Report the failure of an outside service, with the ids that lead to its row."""
    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            if value is not None:
                scope.set_tag(name, value)
        scope.fingerprint = fingerprint(tags)
        scope.capture_exception(error)


def fingerprint(tags: Mapping[str, str | None]) -> list[str]:
    """One issue a service, endpoint and error code."""
    return ["integration", *(str(tags.get(name) or "") for name in ("integration", "endpoint", "error_code"))]


def _before_send(event: Any, hint: Any) -> Any:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
        event.setdefault("contexts", {})["trace"] = ids
        event.setdefault("tags", {}).setdefault("trace_id", ids["trace_id"])
    for name, value in _fields.get({}).items():
        event.setdefault("tags", {}).setdefault(name, str(value))
    return privacy.event(event)


def start_sentry(dsn: str) -> None:
    """Report errors, as the specification does by the integrations of FastAPI and SQLAlchemy."""
    sentry_sdk.init(
        dsn=dsn,
        environment=ENVIRONMENT,
        release=RELEASE,
        server_name=SERVICE,
        traces_sample_rate=None,
        send_default_pii=False,
        include_local_variables=False,
        auto_session_tracking=False,
        shutdown_timeout=1,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            DedupeIntegration(),
            ExcepthookIntegration(),
            LoggingIntegration(level=logging.INFO, event_level=None),
            StarletteIntegration(),
            FastApiIntegration(),
            SqlalchemyIntegration(),
        ],
        before_send=_before_send,
        before_breadcrumb=privacy.breadcrumb,
    )


# --- begin and end ----------------------------------------------------------------------------------------------------


def start(outlets: Outlets) -> None:
    """Begin to tell; once a process, before the first request."""
    global _processor
    to_stderr = logging.StreamHandler()
    to_stderr.setLevel(logging.WARNING)
    to_stderr.setFormatter(JsonLines())
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers[:] = [to_stderr]
    if outlets.cloudwatch_url:
        to_cloudwatch = CloudWatch(outlets.cloudwatch_url)
        to_cloudwatch.setFormatter(JsonLines())
        log.addHandler(to_cloudwatch)
    if outlets.otlp_url:
        # A dead trace store would fill the log with one line a batch.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = OTLPSpanExporter(f"{outlets.otlp_url}/v1/traces", timeout=2)
        sending = BatchSpanProcessor(exporter, max_queue_size=4096, schedule_delay_millis=1000)
        _processor = Tail(sending, outlets.share_of_reads)
        for provider in _providers.values():
            provider.add_span_processor(_processor)
    if outlets.sentry_dsn:
        start_sentry(outlets.sentry_dsn)


def stop() -> None:
    """Send what is left, a few seconds at most."""
    global _processor
    for handler in list(log.handlers):
        if isinstance(handler, CloudWatch):
            log.removeHandler(handler)
            handler.close()
    if _processor is not None:
        _processor.force_flush(1500)
        threading.Thread(target=_processor.shutdown, daemon=True).start()
        _processor = None
        _providers.clear()
    if sentry_sdk.is_initialized():
        sentry_sdk.flush(1)
