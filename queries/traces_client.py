"""Jaeger's query API: services, searches, one trace, and who calls whom.

The form is that of https://www.jaegertracing.io/docs/latest/architecture/apis/ (HTTP JSON): times and durations are
microseconds, ids hexadecimal. Names of services and operations are masked; tags and logs of spans hold what programs
wrote and stay as they came until one span is looked at (`queries.traces.details` masks it).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pandas as pd

from queries.errors import SourceError
from queries.http_client import HttpClient
from queries.outside import Bounds, Outside
from queries.scrub import mask

# Spans of one trace that are kept; a trace may have more.
MOST_SPANS = 5000
MOST_TRACES = 1500
TRACE_COLUMNS = ("trace_id", "at", "duration_ms", "service", "operation", "spans", "services", "errors", "error")
SPAN_COLUMNS = (
    *("span_id", "parent_id", "parent", "depth", "service", "operation", "kind", "at", "offset_ms", "duration_ms"),
    *("error", "follows", "tags", "logs", "process", "warnings"),
)
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


@dataclass(frozen=True)
class TraceSearch:
    """Which traces: those with a span of `service` from `start` up to `end` (aware) that is all of what is said.

    `tags` are (name, value) of the span; durations are milliseconds, of the span. None and "" do not narrow.
    """

    service: str
    start: datetime
    end: datetime
    operation: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    shortest_ms: float | None = None
    longest_ms: float | None = None
    limit: int = 100


class JaegerClient:
    """Asks one Jaeger. Frames' times are in `zone`."""

    def __init__(
        self, url: str, token: str | None = None, *, zone: ZoneInfo, connections: int = 4, timeout: float = 10.0
    ) -> None:
        self._http = HttpClient(
            url,
            source="traces",
            name="Jaeger",
            variable="MIRADOR_JAEGER_URL",
            headers={"Authorization": f"Bearer {token}"} if token else None,
            connections=connections,
            timeout=timeout,
        )
        self.zone = zone

    def ping(self) -> float:
        """Seconds that the list of services takes. Raises SourceError."""
        return self._http.ping("/api/services")

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def services(self) -> pd.DataFrame:
        """The services that send spans, by name. Column: service. Raises SourceError."""
        names = self._list(self._http.get("/api/services"), str)
        frame = pd.DataFrame({"service": sorted(names)}, dtype="str")
        frame.attrs["text"] = "GET /api/services"
        return frame

    def operations(self, service: str) -> pd.DataFrame:
        """The operations of a service, by name. Column: operation. Raises SourceError."""
        path = f"/api/services/{quote(service, safe='')}/operations"
        names = self._list(self._http.get(path), str)
        frame = pd.DataFrame({"operation": sorted(set(names))}, dtype="str")
        frame.attrs["text"] = f"GET {path}"
        return frame

    def search(self, search: TraceSearch) -> pd.DataFrame:
        """The latest traces that match, the newest first; at most `search.limit`.

        Columns: trace_id, at (begin, configured zone), duration_ms (of the whole trace), service and operation (of its
        root), spans, services, errors (spans that failed), error. Raises SourceError.
        """
        asked: dict[str, Any] = {
            "service": search.service,
            "start": _microseconds(search.start),
            "end": _microseconds(search.end),
            "limit": min(max(search.limit, 1), MOST_TRACES),
        }
        if search.operation:
            asked["operation"] = search.operation
        if search.tags:
            asked["tags"] = json.dumps(dict(search.tags), ensure_ascii=False)
        if search.shortest_ms is not None:
            asked["minDuration"] = _duration(search.shortest_ms)
        if search.longest_ms is not None:
            asked["maxDuration"] = _duration(search.longest_ms)
        rows = self._list(self._http.get("/api/traces", asked), self._summary)
        frame = pd.DataFrame(rows, columns=list(TRACE_COLUMNS))
        frame["at"] = pd.to_datetime(frame["at"], unit="us", utc=True).dt.tz_convert(self.zone)
        for name in ("trace_id", "service", "operation"):
            frame[name] = frame[name].astype("str")
        for name in ("spans", "services", "errors"):
            frame[name] = frame[name].astype("Int64")
        frame["duration_ms"] = frame["duration_ms"].astype("float64")
        frame["error"] = frame["error"].astype(bool)
        frame = frame.sort_values(["at", "trace_id"], ascending=[False, True], ignore_index=True)
        frame.attrs["text"] = f"GET /api/traces {'&'.join(f'{name}={value}' for name, value in asked.items())}"
        return frame

    def trace(self, trace_id: str) -> pd.DataFrame:
        """The spans of a trace in the order of a waterfall: each before its children, these by their begin.

        Columns: span_id, parent_id ("" for none), parent (row of the parent, -1 for none), depth, service, operation,
        kind (server, client, ...), at (begin, configured zone), offset_ms (since the trace began), duration_ms, error,
        follows (it follows from its parent and may outlive it), and as JSON tags, logs, process (objects and lists as
        Jaeger gives them, not masked) and warnings (list). No row: Jaeger does not have it.

        `frame.attrs["spans"]` is how many spans the trace has; beyond `MOST_SPANS` those nearest to its root are given.
        `frame.attrs["orphans"]` counts spans whose parent is not here, `["notes"]` are Jaeger's warnings of the whole.
        Raises SourceError.
        """
        if not _TRACE_ID.fullmatch(trace_id):
            raise SourceError(
                "This is not the id of a trace: it has up to 32 signs of 0-9 and a-f.",
                kind="bad_parameter",
                source="traces",
            )
        path = f"/api/traces/{trace_id.lower()}"
        try:
            told = self._http.get(path)
        except SourceError as error:
            if "(HTTP 404)" not in error.sentence:
                raise
            told = {"data": []}
        traces = self._list(told, lambda one: one)
        frame = self._spans(traces[0]) if traces else _empty(self.zone)
        frame.attrs["text"] = f"GET {path}"
        return frame

    def dependencies(self, start: datetime, end: datetime) -> pd.DataFrame:
        """Who called whom. Columns: parent, child (services), calls; the most calls first. Raises SourceError."""
        lookback = max(int((end - start).total_seconds() * 1000), 1)
        asked = {"endTs": int(end.timestamp() * 1000), "lookback": lookback}
        rows = self._list(
            self._http.get("/api/dependencies", asked),
            lambda one: {"parent": mask(one["parent"]), "child": mask(one["child"]), "calls": int(one["callCount"])},
        )
        frame = pd.DataFrame(rows, columns=["parent", "child", "calls"])
        frame = frame.astype({"parent": "str", "child": "str", "calls": "Int64"})
        frame = frame.sort_values(["calls", "parent", "child"], ascending=[False, True, True], ignore_index=True)
        frame.attrs["text"] = f"GET /api/dependencies endTs={asked['endTs']}&lookback={lookback}"
        return frame

    # --- what it is told ---

    def _list(self, told: Any, row: Callable[[Any], Any]) -> list[Any]:
        """A row of each thing in `data`; the wrong form is garbage, not a crash. Jaeger gives null for nothing."""
        if not isinstance(told, dict) or "data" not in told or not isinstance(told["data"], list | None):
            raise self._http.garbage()
        try:
            return [row(one) for one in told["data"] or []]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._http.garbage() from None

    def _summary(self, trace: Mapping[str, Any]) -> dict[str, Any]:
        spans = trace["spans"]
        known = {span["spanID"] for span in spans}
        # The root is the first span whose parent is not here; a trace that was cut has several.
        roots = [span for span in spans if _parent_id(span) not in known] or spans
        root = min(roots, key=lambda span: span["startTime"])
        begin = min(span["startTime"] for span in spans)
        end = max(span["startTime"] + span["duration"] for span in spans)
        errors = sum(_failed(span) for span in spans)
        return {
            "trace_id": str(trace["traceID"]),
            "at": int(begin),
            "duration_ms": (end - begin) / 1000,
            "service": mask(_service(trace, root)),
            "operation": mask(root["operationName"]),
            "spans": len(spans),
            "services": len({_service(trace, span) for span in spans}),
            "errors": errors,
            "error": errors > 0,
        }

    def _spans(self, trace: Mapping[str, Any]) -> pd.DataFrame:
        try:
            spans = sorted(trace["spans"], key=lambda span: (int(span["startTime"]), -int(span["duration"])))
            order, parents, depths = _tree([span["spanID"] for span in spans], [_parent_id(span) for span in spans])
            total, begin = len(spans), min((int(span["startTime"]) for span in spans), default=0)
            known = {span["spanID"] for span in spans}
            orphans = sum(bool(_parent_id(span)) and _parent_id(span) not in known for span in spans)
            if total > MOST_SPANS:
                # A parent is nearer to the root than its children, so what is kept is a tree.
                place = {row: number for number, row in enumerate(order)}
                nearest = sorted(order, key=lambda row: (depths[row], place[row]))[:MOST_SPANS]
                order = sorted(nearest, key=place.__getitem__)
            at = {row: number for number, row in enumerate(order)}
            masked: dict[str, str] = {}
            rows = [
                self._span(trace, spans[row], begin, at.get(parents[row], -1), depths[row], masked) for row in order
            ]
            notes = [mask(str(words)) for words in trace.get("warnings") or []]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._http.garbage() from None
        frame = _typed(pd.DataFrame(rows, columns=list(SPAN_COLUMNS)), self.zone)
        frame.attrs |= {"spans": total, "orphans": orphans, "notes": notes}
        return frame

    @staticmethod
    def _span(
        trace: Mapping[str, Any], span: Mapping[str, Any], begin: int, parent: int, depth: int, masked: dict[str, str]
    ) -> dict[str, Any]:
        def name(text: str) -> str:
            # A trace names few things often.
            if text not in masked:
                masked[text] = mask(text)
            return masked[text]

        tags = {tag["key"]: tag.get("value") for tag in span.get("tags") or []}
        process = (trace.get("processes") or {}).get(span.get("processID")) or span.get("process") or {}
        references = [ref for ref in span.get("references") or [] if ref.get("traceID") == span["traceID"]]
        logs = [
            {"at": log["timestamp"], "fields": {field["key"]: field.get("value") for field in log.get("fields") or []}}
            for log in span.get("logs") or []
        ]
        return {
            "span_id": str(span["spanID"]),
            "parent_id": _parent_id(span),
            "parent": parent,
            "depth": depth,
            "service": name(_service(trace, span)),
            "operation": name(str(span["operationName"])),
            "kind": str(tags.get("span.kind", "")),
            "at": int(span["startTime"]),
            "offset_ms": (int(span["startTime"]) - begin) / 1000,
            "duration_ms": int(span["duration"]) / 1000,
            "error": _failed(span),
            "follows": bool(references) and all(ref.get("refType") == "FOLLOWS_FROM" for ref in references),
            "tags": json.dumps(tags, ensure_ascii=False, default=str),
            "logs": json.dumps(logs, ensure_ascii=False, default=str),
            "process": json.dumps({tag["key"]: tag.get("value") for tag in process.get("tags") or []}, default=str),
            "warnings": json.dumps([str(words) for words in span.get("warnings") or []], ensure_ascii=False),
        }


def make(outside: Outside, bounds: Bounds) -> JaegerClient:
    """The client of the configured Jaeger."""
    return JaegerClient(
        str(outside.jaeger_url),
        outside.jaeger_token,
        zone=bounds.zone,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )


def _typed(frame: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    frame["at"] = pd.to_datetime(frame["at"], unit="us", utc=True).dt.tz_convert(zone)
    for name in ("offset_ms", "duration_ms"):
        frame[name] = frame[name].astype("float64")
    for name in ("parent", "depth"):
        frame[name] = frame[name].astype("int64")
    for name in ("error", "follows"):
        frame[name] = frame[name].astype(bool)
    texts = ("span_id", "parent_id", "service", "operation", "kind", "tags", "logs", "process", "warnings")
    return frame.astype(dict.fromkeys(texts, "str"))


def _empty(zone: ZoneInfo) -> pd.DataFrame:
    frame = _typed(pd.DataFrame(columns=list(SPAN_COLUMNS)), zone)
    frame.attrs |= {"spans": 0, "orphans": 0, "notes": []}
    return frame


def _service(trace: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    process = (trace.get("processes") or {}).get(span.get("processID")) or span.get("process") or {}
    return str(process.get("serviceName") or "")


def _parent_id(span: Mapping[str, Any]) -> str:
    """The span of the same trace that this one is a child of, else the one that it follows from."""
    same = [ref for ref in span.get("references") or [] if ref.get("traceID") == span["traceID"]]
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for reference in same:
            if reference.get("refType") == kind:
                return str(reference["spanID"])
    return str(span.get("parentSpanID") or "")


def _failed(span: Mapping[str, Any]) -> bool:
    """Whether the tag `error` says so; older programs write it as a text."""
    for tag in span.get("tags") or []:
        if tag["key"] == "error":
            return tag.get("value") in (True, "true", "True", 1, "1")
    return False


def _tree(ids: list[str], parent_ids: list[str]) -> tuple[list[int], list[int], list[int]]:
    """The order (each before its children, children as they stand), parent (-1: none) and depth of every row.

    An id that occurs twice is its first row's; who is its own ancestor, by whatever fault, becomes a root.
    """
    first: dict[str, int] = {}
    for row, span_id in enumerate(ids):
        first.setdefault(span_id, row)
    parents = [first.get(parent, -1) if parent else -1 for parent in parent_ids]
    parents = [-1 if parent == row else parent for row, parent in enumerate(parents)]
    children: dict[int, list[int]] = {}
    for row, parent in enumerate(parents):
        children.setdefault(parent, []).append(row)
    order: list[int] = []
    depths = [0] * len(ids)
    seen = [False] * len(ids)
    # Rows in a ring are reached from no root: the first of them is made one.
    for start in [*children.get(-1, []), *range(len(ids))]:
        if seen[start]:
            continue
        if parents[start] != -1:
            parents[start] = -1
        depths[start] = 0
        stack = deque([start])
        while stack:
            row = stack.pop()
            if seen[row]:
                continue
            seen[row] = True
            order.append(row)
            for child in reversed(children.get(row, [])):
                if not seen[child]:
                    depths[child] = depths[row] + 1
                    stack.append(child)
    return order, parents, depths


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _duration(milliseconds: float) -> str:
    """As Go reads a duration."""
    return f"{round(milliseconds * 1000)}us"
