"""The demo's trace store: takes spans as OTLP over HTTP and answers Jaeger's query API, from memory.

No package brings Jaeger itself; this answers what Jaeger's own user interface asks, in the form that its documentation
gives (https://www.jaegertracing.io/docs/latest/architecture/apis/, model/json). `python -m demo.traces PORT` serves:
POST /v1/traces (protobuf, or JSON), and GET /api/services, /api/services/{service}/operations, /api/operations,
/api/traces, /api/traces/{id}, /api/dependencies. What is kept is bounded in bytes: the oldest traces go first.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import signal
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from types import FrameType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

HOST = "127.0.0.1"
MAX_BYTES = 48 << 20
MAX_REQUEST = 16 << 20
MOST_TRACES = 1500
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
UNITS = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


class BadRequest(ValueError):
    """A parameter that Jaeger refuses; the message says which."""


# --- from OTLP to Jaeger's JSON ---------------------------------------------------------------------------------------


def _value(value: AnyValue) -> tuple[str, Any]:
    """Jaeger's type and value of an attribute; lists and maps are JSON texts, as Jaeger's translator writes them."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return "string", value.string_value
    if kind == "bool_value":
        return "bool", value.bool_value
    if kind == "int_value":
        return "int64", value.int_value
    if kind == "double_value":
        return "float64", value.double_value
    if kind == "bytes_value":
        return "binary", value.bytes_value.hex()
    return "string", json.dumps(_plain(value))


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


def _tag(key: str, kind: str, value: Any) -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def _tags(attributes: Iterable[KeyValue]) -> list[dict[str, Any]]:
    return [_tag(one.key, *_value(one.value)) for one in attributes]


@dataclass(frozen=True)
class Span:
    """One span: what searches look at, and the rest packed (`json` is Jaeger's form without the process)."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    operation: str
    kind: str
    start: int
    duration: int
    tags: frozenset[tuple[str, str]]
    process: tuple[tuple[str, str, Any], ...]
    packed: bytes

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.packed) + 120 * len(self.tags) + 600


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """The spans of an export, translated as Jaeger does; times in microseconds since 1970."""
    for resource in request.resource_spans:
        names = {one.key: one.value.string_value for one in resource.resource.attributes}
        service = names.get("service.name") or "OTLPResourceNoServiceName"
        process = tuple(
            (one.key, *_value(one.value)) for one in resource.resource.attributes if one.key != "service.name"
        )
        for scope in resource.scope_spans:
            for span in scope.spans:
                trace_id, span_id, parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                tags = _tags(span.attributes)
                if scope.scope.name:
                    tags.append(_tag("otel.scope.name", "string", scope.scope.name))
                if scope.scope.version:
                    tags.append(_tag("otel.scope.version", "string", scope.scope.version))
                kind = KINDS.get(span.kind, "")
                if kind:
                    tags.append(_tag("span.kind", "string", kind))
                if span.status.code == 2:
                    tags += [_tag("error", "bool", True), _tag("otel.status_code", "string", "ERROR")]
                elif span.status.code == 1:
                    tags.append(_tag("otel.status_code", "string", "OK"))
                if span.status.message:
                    tags.append(_tag("otel.status_description", "string", span.status.message))
                logs = [
                    {
                        "timestamp": event.time_unix_nano // 1000,
                        "fields": [_tag("event", "string", event.name), *_tags(event.attributes)],
                    }
                    for event in span.events
                ]
                references = [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}] if parent else []
                references += [
                    {"refType": "FOLLOWS_FROM", "traceID": link.trace_id.hex(), "spanID": link.span_id.hex()}
                    for link in span.links
                ]
                start = span.start_time_unix_nano // 1000
                duration = max(0, span.end_time_unix_nano // 1000 - start)
                shown = {
                    "traceID": trace_id,
                    "spanID": span_id,
                    "flags": 1,
                    "operationName": span.name,
                    "references": references,
                    "startTime": start,
                    "duration": duration,
                    "tags": tags,
                    "logs": logs,
                    "warnings": None,
                }
                searched = frozenset((tag["key"], _text(tag["value"])) for tag in tags)
                packed = zlib.compress(json.dumps(shown, separators=(",", ":")).encode(), 1)
                yield Span(
                    trace_id, span_id, parent, service, span.name, kind, start, duration, searched, process, packed
                )


def _text(value: Any) -> str:
    """A tag's value as searches give it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- the store --------------------------------------------------------------------------------------------------------


@dataclass
class Trace:
    """The spans of one trace by their id."""

    spans: dict[str, Span] = field(default_factory=dict)
    start: int = 0
    size: int = 0

    @property
    def service(self) -> str:
        """The service that sent the first of its spans to arrive."""
        return next(iter(self.spans.values())).service

    def add(self, span: Span) -> int:
        """Keep a span, or keep it anew; how many bytes the trace has grown."""
        before = self.size
        old = self.spans.get(span.span_id)
        self.size += span.size - (old.size if old else 0)
        self.spans[span.span_id] = span
        self.start = min(self.start, span.start) if self.start else span.start
        return self.size - before

    def shown(self, trace_id: str) -> dict[str, Any]:
        """The trace in Jaeger's form: spans in order of their start, each with the process that sent it."""
        processes: dict[str, dict[str, Any]] = {}
        names: dict[tuple[Any, ...], str] = {}
        spans = []
        for span in sorted(self.spans.values(), key=lambda one: (one.start, one.span_id)):
            key = (span.service, span.process)
            if key not in names:
                names[key] = f"p{len(names) + 1}"
                processes[names[key]] = {
                    "serviceName": span.service,
                    "tags": [_tag(*one) for one in span.process],
                }
            spans.append({**json.loads(zlib.decompress(span.packed)), "processID": names[key]})
        return {"traceID": trace_id, "spans": spans, "processes": processes, "warnings": None}


@dataclass(frozen=True)
class Search:
    """What is sought: spans of a service, and what one of them must be. Times and durations in microseconds."""

    service: str
    operation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    end: int = 1 << 62
    shortest: int = 0
    longest: int = 1 << 62
    limit: int = 20

    def fits(self, span: Span) -> bool:
        """Whether a span is what is sought."""
        return (
            span.service == self.service
            and (self.operation is None or span.operation == self.operation)
            and self.start <= span.start <= self.end
            and self.shortest <= span.duration <= self.longest
            and all((key, value) in span.tags for key, value in self.tags.items())
        )


class TraceStore:
    """Traces in memory, `max_bytes` of them about; safe for several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._traces: dict[str, Trace] = {}
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._traces)

    def take(self, spans: Iterable[Span]) -> int:
        """Keep spans; how many there were."""
        number = 0
        with self._lock:
            for span in spans:
                self._bytes += self._traces.setdefault(span.trace_id, Trace()).add(span)
                number += 1
            if self._bytes > self._max_bytes:
                self._shrink()
        return number

    def _shrink(self) -> None:
        """Drop the oldest traces, each time of the service that takes the most room: one that tells much of itself
        must not push out those of the others.
        """
        room: Counter[str] = Counter()
        ages: dict[str, list[tuple[int, str]]] = {}
        for trace_id, trace in self._traces.items():
            room[trace.service] += trace.size
            ages.setdefault(trace.service, []).append((trace.start, trace_id))
        for one in ages.values():
            one.sort(reverse=True)
        while self._bytes > self._max_bytes * 0.9:
            service = room.most_common(1)[0][0]
            size = self._traces.pop(ages[service].pop()[1]).size
            room[service] -= size
            self._bytes -= size

    def services(self) -> list[str]:
        """The names of the services that sent spans."""
        with self._lock:
            return sorted({span.service for trace in self._traces.values() for span in trace.spans.values()})

    def operations(self, service: str, kind: str | None = None) -> list[dict[str, str]]:
        """The operations of a service, each with its span kind."""
        with self._lock:
            found = {
                (span.operation, span.kind)
                for trace in self._traces.values()
                for span in trace.spans.values()
                if span.service == service and kind in (None, "", span.kind)
            }
        return [{"name": name, "spanKind": of_kind} for name, of_kind in sorted(found)]

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """One trace in Jaeger's form."""
        # Jaeger takes an id without its leading zeros, too.
        wanted = trace_id.lower().zfill(32)
        with self._lock:
            trace = self._traces.get(wanted)
            return trace.shown(wanted) if trace else None

    def search(self, search: Search) -> list[dict[str, Any]]:
        """The latest traces in which one span is what is sought."""
        with self._lock:
            found = [
                (trace.start, trace_id)
                for trace_id, trace in self._traces.items()
                if any(search.fits(span) for span in trace.spans.values())
            ]
            found.sort(reverse=True)
            return [self._traces[trace_id].shown(trace_id) for _, trace_id in found[: search.limit]]

    def dependencies(self, start: int, end: int) -> list[dict[str, Any]]:
        """How often a service called another one in traces that began within these microseconds."""
        calls: Counter[tuple[str, str]] = Counter()
        with self._lock:
            for trace in self._traces.values():
                if not start <= trace.start <= end:
                    continue
                for span in trace.spans.values():
                    parent = trace.spans.get(span.parent_id)
                    if parent is not None and parent.service != span.service:
                        calls[parent.service, span.service] += 1
        return [{"parent": parent, "child": child, "callCount": n} for (parent, child), n in sorted(calls.items())]


# --- HTTP -------------------------------------------------------------------------------------------------------------


def _microseconds(name: str, text: str) -> int:
    """A duration such as 1.2s, 100ms or 500us."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h)", text)
    if match is None:
        raise BadRequest(f"unable to parse param '{name}': time: invalid duration \"{text}\"")
    return round(float(match[1]) * UNITS[match[2]])


def _number(asked: Mapping[str, str], name: str, usual: int) -> int:
    text = asked.get(name, "")
    try:
        return int(text) if text else usual
    except ValueError:
        raise BadRequest(f"unable to parse param '{name}': invalid syntax") from None


def search_of(asked: Mapping[str, str]) -> Search:
    """The search that the parameters of /api/traces ask for; BadRequest in Jaeger's words."""
    if not asked.get("service"):
        raise BadRequest("parameter 'service' is required")
    tags: dict[str, str] = {}
    if asked.get("tags"):
        try:
            given = json.loads(asked["tags"])
        except ValueError:
            raise BadRequest("malformed 'tags' parameter, cannot unmarshal JSON") from None
        if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
            raise BadRequest("malformed 'tags' parameter, cannot unmarshal JSON")
        tags = given
    shortest = _microseconds("minDuration", asked["minDuration"]) if asked.get("minDuration") else 0
    longest = _microseconds("maxDuration", asked["maxDuration"]) if asked.get("maxDuration") else 1 << 62
    if longest < shortest:
        raise BadRequest("'maxDuration' should be greater than 'minDuration'")
    now = int(time() * 1e6)
    limit = _number(asked, "limit", 20)
    if not 0 < limit <= MOST_TRACES:
        raise BadRequest(f"search depth must be between 1 and {MOST_TRACES}")
    return Search(
        asked["service"],
        asked.get("operation") or None,
        tags,
        _number(asked, "start", now - 2 * 86_400_000_000),
        _number(asked, "end", now),
        shortest,
        longest,
        limit,
    )


class TraceServer:
    """The store behind HTTP; `port` 0 takes a free one."""

    def __init__(self, port: int = 0, max_bytes: int = MAX_BYTES) -> None:
        self.store = store = TraceStore(max_bytes)
        answers: tuple[tuple[str, Callable[..., tuple[Any, int]]], ...] = (
            (r"/api/services", self._services),
            (r"/api/services/([^/]+)/operations", self._names),
            (r"/api/operations", self._operations),
            (r"/api/traces", self._search),
            (r"/api/traces/([0-9a-fA-F]{1,32})", self._trace),
            (r"/api/dependencies", self._dependencies),
        )

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A client that says nothing keeps no thread for ever.
            timeout = 60

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                if size > MAX_REQUEST:
                    self.close_connection = True
                    self._answer(413, {"message": "too large"})
                    return
                body = self.rfile.read(size)
                if self.path != "/v1/traces":
                    self._answer(404, {"message": "not found"})
                    return
                as_json = "json" in (self.headers.get("Content-Type") or "")
                try:
                    if self.headers.get("Content-Encoding") == "gzip":
                        body = gzip.decompress(body)
                    request = ExportTraceServiceRequest()
                    if as_json:
                        # OTLP's JSON gives ids in hexadecimal, where protobuf's own has base64.
                        ParseDict(_ids_as_base64(json.loads(body)), request, ignore_unknown_fields=True)
                    else:
                        request.ParseFromString(body)
                    store.take(spans_of(request))
                except (DecodeError, ParseError, ValueError, OSError, EOFError, zlib.error, TypeError):
                    self._answer(400, {"message": "not an OTLP request"})
                    return
                if as_json:
                    self._answer(200, {})
                else:
                    self._send(200, "application/x-protobuf", ExportTraceServiceResponse().SerializeToString())

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = parse_qs(parts.query)
                for pattern, answer in answers:
                    match = re.fullmatch(pattern, parts.path)
                    if match:
                        try:
                            data, total = answer(asked, *(unquote(one) for one in match.groups()))
                        except BadRequest as error:
                            self._refuse(400, str(error))
                        except KeyError:
                            self._refuse(404, "trace not found")
                        else:
                            self._answer(200, {"data": data, "total": total, "limit": 0, "offset": 0, "errors": None})
                        return
                if parts.path == "/":
                    self._send(200, "text/plain", f"{len(store)} traces\n".encode())
                else:
                    self._refuse(404, "not found")

            def _refuse(self, code: int, message: str) -> None:
                errors = [{"code": code, "msg": message}]
                self._answer(code, {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                self._send(status, "application/json", json.dumps(body).encode())

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # Whoever asked may be gone.
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        """The base URL, for Jaeger's API and for OTLP."""
        return f"http://{HOST}:{self.port}"

    def _services(self, asked: dict[str, list[str]]) -> tuple[Any, int]:
        found = self.store.services()
        return found, len(found)

    def _names(self, asked: dict[str, list[str]], service: str) -> tuple[Any, int]:
        names = sorted({one["name"] for one in self.store.operations(service)})
        return names, len(names)

    def _operations(self, asked: dict[str, list[str]]) -> tuple[Any, int]:
        if not asked.get("service"):
            raise BadRequest("parameter 'service' is required")
        found = self.store.operations(asked["service"][0], asked.get("spanKind", [None])[0])
        return found, len(found)

    def _search(self, asked: dict[str, list[str]]) -> tuple[Any, int]:
        if ids := asked.get("traceID"):
            found = [trace for one in ids if (trace := self.store.trace(one)) is not None]
        else:
            found = self.store.search(search_of({name: values[0] for name, values in asked.items()}))
        return found, 0

    def _trace(self, asked: dict[str, list[str]], trace_id: str) -> tuple[Any, int]:
        trace = self.store.trace(trace_id)
        if trace is None:
            raise KeyError(trace_id)
        return [trace], 0

    def _dependencies(self, asked: dict[str, list[str]]) -> tuple[Any, int]:
        given = {name: values[0] for name, values in asked.items()}
        if not given.get("endTs"):
            raise BadRequest("unable to parse param 'endTs': invalid syntax")
        end = _number(given, "endTs", 0) * 1000
        return self.store.dependencies(end - _number(given, "lookback", 86_400_000) * 1000, end), 0

    def serve(self) -> None:
        """Answer until the process ends."""
        self._server.serve_forever()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _ids_as_base64(node: Any) -> Any:
    if isinstance(node, list):
        return [_ids_as_base64(one) for one in node]
    if isinstance(node, dict):
        return {
            name: _base64(value) if name in {"traceId", "spanId", "parentSpanId"} else _ids_as_base64(value)
            for name, value in node.items()
        }
    return node


def _base64(hexadecimal: Any) -> str:
    from base64 import b64encode

    return b64encode(bytes.fromhex(hexadecimal)).decode()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    TraceServer(int(sys.argv[1])).serve()
