"""The recent past of the simulated company, told to the log store, the trace store and the error tracker.

`python -m demo.past logs traces errors` reads the ledger's calls of the last two days, all that failed and a sample of
the others, and writes what the backend would have told of each, with the request id and trace id of its row: so a
failing call of yesterday leads to its log lines, its trace and its error as one of this minute does. Log and trace
store live in memory and are filled at each start; the tracker keeps its events and gets only what it has not.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx
import psycopg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from psycopg.rows import dict_row
from sentry_sdk.envelope import Envelope, Item
from sentry_sdk.utils import Dsn

from demo.backend import integrations, privacy, telemetry

HOURS = 48
MOST_FAILED = 1500
MOST_GOOD = 1500
MOST_ERRORS = 200
MOST_EVENTS = 2000
NAMESPACE = UUID("6f0a1d52-3c1e-4b7e-9a51-5d2f6b1c0e77")
# The request that a call was part of, by service and endpoint: method and route; a poll is part of none.
ROUTES = {
    "conekta": ("POST", "/webhooks/conekta"),
    "neon": ("POST", "/credits/{credit_id}/disbursement"),
    "metamap": ("POST", "/applications"),
    "geotab": ("POST", "/applications"),
}
AFTER_FAILURE = {"conekta": "Payment processing failed", "neon": "Disbursement failed"}

Call = dict[str, Any]


def calls(ledger_url: str, until: datetime) -> list[Call]:
    """The calls of the last `HOURS` before `until` that are told, oldest first: the latest failed and a share of good.

    Raises psycopg.Error.
    """
    since = until - timedelta(hours=HOURS)
    columns = (
        "call_id, called_at, integration, endpoint, status, http_status, duration_ms, error_code, error_message,"
        " request_id, trace_id, application_id, credit_id from bi.integration_calls"
        " where called_at >= %(since)s and called_at < %(until)s and trace_id is not null"
    )
    with psycopg.connect(ledger_url, row_factory=dict_row, options="-c statement_timeout=20000") as connection:
        found = connection.execute(
            f"(select {columns} and status <> 'success' order by called_at desc limit {MOST_FAILED}) union all"
            # A sample that does not depend on the order of the rows: the hash of the id.
            f" (select {columns} and status = 'success' order by hashint8(call_id) limit {MOST_GOOD})",
            {"since": since, "until": until},
        ).fetchall()
    return sorted(found, key=lambda call: (call["called_at"], call["call_id"]))


# What happened to the company itself, each with the fields that the backend's line of it has.
EVENTS = (
    "select submitted_at as at, 'Application submitted' as message, application_id, null as credit_id, conductor_id,"
    " amount_requested::text as amount, null as reason, null::bigint as call_id from bi.applications"
    " where submitted_at >= %(since)s and submitted_at < %(until)s",
    "select decided_at, 'Application rejected', application_id, null, null, null, rejection_reason, null"
    " from bi.applications where status = 'rejected' and decided_at >= %(since)s and decided_at < %(until)s",
    "select approved_at, 'Credit approved', application_id, credit_id, null, principal::text, null, null"
    " from bi.credits where approved_at >= %(since)s and approved_at < %(until)s",
    "select disbursed_at, 'Credit disbursed', null, credit_id, null, principal::text, null, null"
    " from bi.credits where disbursed_at >= %(since)s and disbursed_at < %(until)s",
    "select processed_at, case status when 'succeeded' then 'Payment received' else 'Payment declined' end, null,"
    " credit_id, null, amount::text, failure_code, integration_call_id from bi.payments"
    " where status in ('succeeded', 'failed') and failure_code is distinct from 'gateway_error'"
    " and processed_at >= %(since)s and processed_at < %(until)s",
)


def events(ledger_url: str, until: datetime) -> list[dict[str, Any]]:
    """What happened to the company in the last `HOURS` before `until`, the latest `MOST_EVENTS` of each kind.

    Raises psycopg.Error.
    """
    since = until - timedelta(hours=HOURS)
    parts = (f"({select} order by 1 desc limit {MOST_EVENTS})" for select in EVENTS)
    with psycopg.connect(ledger_url, row_factory=dict_row, options="-c statement_timeout=20000") as connection:
        return connection.execute(" union all ".join(parts), {"since": since, "until": until}).fetchall()


# --- logs -------------------------------------------------------------------------------------------------------------


def lines(told: Iterable[Call]) -> Iterator[tuple[int, str]]:
    """The log lines of calls, each with its time in milliseconds since 1970."""
    for call in told:
        ended = call["called_at"] + timedelta(milliseconds=call["duration_ms"])
        level, words, fields = integrations.line_of_call(
            call["integration"],
            call["endpoint"],
            call["status"],
            call["http_status"],
            call["duration_ms"],
            call["error_code"],
        )
        about = {name: call[name] for name in ("application_id", "credit_id") if call[name]}
        span = _id(call["call_id"], "call")
        yield _line(ended, level, words, call, span, {"integration": call["integration"], **about, **fields})
        consequence = AFTER_FAILURE.get(call["integration"])
        if level >= logging.ERROR and consequence and call["credit_id"]:
            after = ended + timedelta(milliseconds=6)
            yield _line(after, logging.ERROR, consequence, call, _root_id(call), about)


def event_lines(happened: Iterable[dict[str, Any]], told: Iterable[Call]) -> Iterator[tuple[int, str]]:
    """The log lines of what happened to the company; a payment carries the ids of its call where that is told, too."""
    by_id = {call["call_id"]: call for call in told}
    for one in happened:
        call = by_id.get(one["call_id"], {})
        names = ("application_id", "credit_id", "conductor_id", "amount", "reason")
        fields = {name: one[name] for name in names if one[name] is not None}
        span = _root_id(call) if call else None
        yield _line(one["at"], logging.INFO, one["message"], call, span, fields)


def _line(
    at: datetime, level: int, words: str, call: Call, span: bytes | None, fields: dict[str, Any]
) -> tuple[int, str]:
    line = {
        "timestamp": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "level": logging.getLevelName(level),
        "message": words,
        "logger": "conductores",
        "service": telemetry.SERVICE,
        "request_id": call.get("request_id"),
        "trace_id": call.get("trace_id"),
        "span_id": span.hex() if span else None,
        **fields,
    }
    return int(at.timestamp() * 1000), json.dumps(
        privacy.data({name: value for name, value in line.items() if value is not None})
    )


def tell_logs(url: str, told: Sequence[Call], happened: Sequence[dict[str, Any]] = ()) -> int:
    """Write the lines to the log store; how many."""
    client = telemetry.connect(url)
    written = sorted([*lines(told), *event_lines(happened, told)])
    # CloudWatch takes batches that span a day at most.
    batch: list[tuple[int, str]] = []
    for line in written:
        if batch and (len(batch) >= 1000 or line[0] - batch[0][0] > 23 * 3_600_000):
            telemetry.put_lines(client, batch)
            batch = []
        batch.append(line)
    if batch:
        telemetry.put_lines(client, batch)
    return len(written)


# --- traces -----------------------------------------------------------------------------------------------------------


def _id(call_id: int, what: str, size: int = 8) -> bytes:
    return hashlib.blake2b(f"{what} {call_id}".encode(), digest_size=size).digest()


def _root_id(call: Call) -> bytes:
    return hashlib.blake2b(f"root {call['trace_id']}".encode(), digest_size=8).digest()


def _attributes(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_any(value)) for name, value in values.items() if value is not None]


def _any(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(string_value=str(value))


def spans(told: Sequence[Call]) -> Iterator[Span]:
    """The spans of calls: the request that began the trace, each call, and the writing of its row."""
    begun: set[str] = set()
    for call in told:
        trace = bytes.fromhex(call["trace_id"])
        start = int(call["called_at"].timestamp() * 1e9)
        end = start + call["duration_ms"] * 1_000_000
        first = call["trace_id"] not in begun
        begun.add(call["trace_id"])
        # Calls of one trace share its root, which the first of them names.
        root = _root_id(call)
        if first:
            yield _root(call, trace, root, start)
        failed = call["status"] != "success"
        yield Span(
            trace_id=trace,
            span_id=_id(call["call_id"], "call"),
            parent_span_id=root,
            name=f"POST {call['endpoint']}",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=start,
            end_time_unix_nano=end + 4_000_000,
            attributes=_attributes(
                {
                    **integrations.span_attributes(
                        call["integration"], call["endpoint"], call["application_id"], call["credit_id"]
                    ),
                    "request_id": call["request_id"],
                    "http.response.status_code": call["http_status"],
                    "error.type": (call["error_code"] or call["status"]) if failed else None,
                }
            ),
            status=Status(code=Status.STATUS_CODE_ERROR, message=call["error_message"] or "") if failed else None,
        )
        yield Span(
            trace_id=trace,
            span_id=_id(call["call_id"], "row"),
            parent_span_id=_id(call["call_id"], "call"),
            name="INSERT bi.integration_calls",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=end + 500_000,
            end_time_unix_nano=end + 3_500_000,
            attributes=_attributes(
                {
                    "db.system.name": "postgresql",
                    "db.operation.name": "INSERT",
                    "db.collection.name": "bi.integration_calls",
                }
            ),
        )


def _root(call: Call, trace: bytes, root: bytes, start: int) -> Span:
    method, route = ROUTES.get(call["integration"], ("POST", "/applications"))
    is_poll = not (call["application_id"] or call["credit_id"])
    name = f"poll {call['endpoint'].strip('/')}" if is_poll else f"{method} {route}"
    about = {"integration": call["integration"]} if is_poll else {"http.request.method": method, "http.route": route}
    # A request is answered before its call begins; a poll lasts as long as its call.
    lasts = call["duration_ms"] * 1_000_000 + 5_000_000 if is_poll else 1_500_000
    before = 200_000 if is_poll else 40_000_000 + call["call_id"] % 60 * 1_000_000
    return Span(
        trace_id=trace,
        span_id=root,
        name=name,
        kind=Span.SPAN_KIND_INTERNAL if is_poll else Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start - before,
        end_time_unix_nano=start + lasts,
        attributes=_attributes(
            {**about, "http.response.status_code": None if is_poll else 201, "request_id": call["request_id"]}
        ),
    )


def tell_traces(url: str, told: Sequence[Call]) -> int:
    """Write the spans to the trace store; how many."""
    number = 0
    with httpx.Client(timeout=20, trust_env=False) as client:
        for at in range(0, len(told), 500):
            request = ExportTraceServiceRequest()
            of_service = request.resource_spans.add()
            of_service.resource.attributes.extend(
                _attributes(
                    {
                        "service.name": telemetry.SERVICE,
                        "service.version": telemetry.RELEASE.split("@")[1],
                        "deployment.environment.name": telemetry.ENVIRONMENT,
                    }
                )
            )
            scope = of_service.scope_spans.add()
            scope.scope.name = "conductores"
            scope.spans.extend(spans(told[at : at + 500]))
            number += len(scope.spans)
            headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
            body = gzip.compress(request.SerializeToString(), 1)
            client.post(f"{url}/v1/traces", content=body, headers=headers).raise_for_status()
    return number


# --- errors -----------------------------------------------------------------------------------------------------------


def error_event(call: Call) -> dict[str, Any]:
    """What sentry-sdk would have sent of a failed call; its event id follows from the call's."""
    tags = {name: str(call[name]) for name in ("integration", "endpoint", "error_code") if call[name]}
    words = telemetry.error_words(call["integration"], call["endpoint"], call["http_status"], call["error_code"])
    about = {name: call[name] for name in ("request_id", "trace_id", "application_id", "credit_id") if call[name]}
    ended = call["called_at"] + timedelta(milliseconds=call["duration_ms"])
    return privacy.event(
        {
            "event_id": uuid5(NAMESPACE, f"{call['call_id']} {call['request_id']}").hex,
            "timestamp": f"{ended.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "platform": "python",
            "level": "error",
            "release": telemetry.RELEASE,
            "environment": telemetry.ENVIRONMENT,
            "exception": {"values": [{"type": "IntegrationError", "module": "demo.backend.telemetry", "value": words}]},
            "fingerprint": telemetry.fingerprint(tags),
            "tags": {**tags, **about},
            "contexts": {"trace": {"trace_id": call["trace_id"], "span_id": _id(call["call_id"], "call").hex()}},
        }
    )


def tell_errors(dsn: str, told: Sequence[Call], mark: Path | None = None) -> int:
    """Send the errors of failed calls to the tracker, those after the one that `mark` notes; how many."""
    failed = [call for call in told if call["status"] != "success"]
    try:
        last = datetime.fromisoformat(mark.read_text()) if mark else None
    except (OSError, ValueError):
        last = None
    news = [call for call in failed if last is None or call["called_at"] > last][-MOST_ERRORS:]
    auth = Dsn(dsn).to_auth("demo/1")
    with httpx.Client(timeout=20, trust_env=False) as client:
        for call in news:
            event = error_event(call)
            envelope = Envelope(headers={"event_id": event["event_id"]})
            envelope.add_item(Item(payload=json.dumps(event).encode(), type="event"))
            answer = client.post(
                auth.get_api_url(),
                content=envelope.serialize(),
                headers={"X-Sentry-Auth": auth.to_header(), "Content-Type": "application/x-sentry-envelope"},
            )
            answer.raise_for_status()
            if mark:
                mark.write_text(call["called_at"].isoformat())
    return len(news)


def main(wanted: Sequence[str]) -> None:
    """Tell what is wanted (logs, traces, errors) to where DEMO_* says; what is not configured is left out."""
    until = datetime.fromisoformat(os.environ["DEMO_PAST_UNTIL"])
    ledger_url = os.environ["DEMO_LEDGER_URL"].replace("postgresql+psycopg://", "postgresql://")
    told = calls(ledger_url, until)
    if "logs" in wanted and (url := os.environ.get("DEMO_CLOUDWATCH_URL")):
        print(f"{tell_logs(url, told, events(ledger_url, until))} log lines", flush=True)
    if "traces" in wanted and (url := os.environ.get("DEMO_OTLP_URL")):
        print(f"{tell_traces(url, told)} spans", flush=True)
    if "errors" in wanted and (dsn := os.environ.get("DEMO_SENTRY_DSN")):
        mark = os.environ.get("DEMO_PAST_MARK")
        print(f"{tell_errors(dsn, told, Path(mark) if mark else None)} errors", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
