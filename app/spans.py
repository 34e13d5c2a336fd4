"""The spans, made with OpenTelemetry's SDK and sent by OTLP over HTTP; loaded only where they are wanted.

A span holds names (of the page, the panel, the query, the source), whether an answer was kept, and counts. It never
holds a parameter, the text of a query, an address, a viewer, or an error's words: only its kind.

Sending runs behind, from a bounded queue: a collector that is slow or gone costs spans and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from prometheus_client import Counter

from app import telemetry
from queries.scrub import mask

T = TypeVar("T")
QUEUE, BATCH, EVERY_MS, SEND_SECONDS = 4096, 512, 2000, 3.0
# Of a name.
MOST_LENGTH = 200

spans_sent = Counter("mirador_spans", "Spans by what became of them.", ("outcome",), registry=telemetry.registry)


class _Told(SpanExporter):
    """An exporter whose failures are counted, and said once until it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; gives whether it arrived."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        ok = result is SpanExportResult.SUCCESS
        spans_sent.labels("sent" if ok else "lost").inc(len(spans))
        if not ok and not self._failing:
            telemetry.log.warning("spans are lost: MIRADOR_OTLP_URL takes none; this is said once until it does")
        self._failing = not ok
        return result

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


class Spans:
    """Makes the spans; also the tracer that `queries.tracing` tells of questions."""

    def __init__(self, url: str, environment: str) -> None:
        # Its words on a collector that is away would fill the log.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        endpoint = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "mirador", "deployment.environment.name": environment}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Told(OTLPSpanExporter(endpoint=endpoint, timeout=SEND_SECONDS)),
                max_queue_size=QUEUE,
                max_export_batch_size=BATCH,
                schedule_delay_millis=EVERY_MS,
                export_timeout_millis=SEND_SECONDS * 1000,
            )
        )
        # A tracer of its own: nothing that others in this process trace is sent.
        self.tracer = self._provider.get_tracer("mirador")

    def close(self) -> None:
        """Send what is left and end."""
        self._provider.shutdown()

    @contextmanager
    def page(self, name: str) -> Iterator[None]:
        """The script of a page."""
        with self._span(f"page {_name(name)}", {"mirador.page": _name(name)}, SpanKind.SERVER):
            yield

    @contextmanager
    def panel(self, key: str) -> Iterator[None]:
        """A panel, within its page; drawn anew by itself it begins a trace."""
        attributes = {"mirador.panel": _name(key)}
        if not trace.get_current_span().get_span_context().is_valid:
            attributes["mirador.page"] = _name(telemetry.page_of_viewer())
        with self._span(f"panel {_name(key)}", attributes, SpanKind.INTERNAL):
            yield

    def drawn(self, outcome: str) -> None:
        """How the panel came out: ok, stale, empty, failed or not_configured."""
        span = trace.get_current_span()
        span.set_attribute("mirador.outcome", outcome)
        if outcome == "failed":
            span.set_status(Status(StatusCode.ERROR))

    @contextmanager
    def _span(self, name: str, attributes: dict[str, str], kind: SpanKind) -> Iterator[None]:
        span = self.tracer.start_span(name, attributes=attributes, kind=kind)
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        except Exception as error:
            # An error's words may hold what must not leave.
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            context.detach(token)
            span.end()

    def question(self, source: str, name: str) -> _Question:
        """A question of the span that is current on this thread."""
        attributes = {"mirador.source": source, "mirador.query": _name(name)}
        return _Question(self.tracer, self.tracer.start_span(f"question {_name(name)}", attributes=attributes), source)


class _Question:
    """One caller's question."""

    def __init__(self, tracer: trace.Tracer, span: Span, source: str) -> None:
        self._tracer = tracer
        self._span = span
        self._source = source
        self._own: SpanContext | None = None

    def flight(self) -> _Flight:
        """A span below the question that begins it, begun here: its wait for a thread is part of it."""
        span = self._tracer.start_span(
            f"ask {self._source}",
            context=trace.set_span_in_context(self._span),
            attributes={"mirador.source": self._source},
            kind=SpanKind.CLIENT,
        )
        self._own = span.get_span_context()
        return _Flight(span)

    def answered(self, *, cached: bool, stale: bool, rows: int | None, origin: Any) -> None:
        """Note how, link to the flight where it was another's, and end."""
        self._span.set_attributes({"mirador.cached": cached, "mirador.stale": stale})
        if rows is not None:
            self._span.set_attribute("mirador.rows", rows)
        if isinstance(origin, SpanContext) and origin != self._own:
            self._span.add_link(origin, {"mirador.link": "answered by"})
        self._span.end()

    def failed(self, kind: str) -> None:
        """Note the kind of failure and end."""
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", _name(kind))
        self._span.end()

    def left(self) -> None:
        """Note that nobody waited for it and end."""
        self._span.set_attribute("mirador.left", True)
        self._span.end()


class _Flight:
    """The one time that the source is asked."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.origin = span.get_span_context()

    def run(self, ask: Callable[[], T]) -> T:
        """Ask, and end the span."""
        token = context.attach(trace.set_span_in_context(self._span))
        try:
            self._span.add_event("on a thread of the source")
            return ask()
        except Exception as error:
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute("error.type", _name(str(getattr(error, "kind", type(error).__name__))))
            raise
        finally:
            context.detach(token)
            self._span.end()


def _name(words: str) -> str:
    return mask(words)[:MOST_LENGTH]
