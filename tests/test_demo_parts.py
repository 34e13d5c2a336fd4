"""The real parts around the demo's backend: what leaves it arrives, joins by its ids, and holds nothing personal."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import psycopg
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from demo import insights, parts, past, servers
from demo.backend import privacy, telemetry
from demo.backend.cache import Cache
from demo.traces import TraceServer, TraceStore, spans_of
from demo.tracker import Bugsink
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger

HTTP = httpx.Client(timeout=20, trust_env=False)


def until(ask: Callable[[], Any], bound: float = 20) -> Any:
    """What `ask` gives once it is something; the last answer when the bound in seconds has passed."""
    limit = time.monotonic() + bound
    while True:
        found = ask()
        if found or time.monotonic() > limit:
            return found
        time.sleep(0.1)


class Running:
    """A backend with its ways out, and what has arrived at each."""

    def __init__(self, url: str, ledger: LedgerUrl, child: servers.Child) -> None:
        self.url = url
        self.ledger = ledger
        self.child = child

    def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return HTTP.post(self.url + path, json=body, headers=headers)

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.ledger.owner.replace("+psycopg", "")) as connection:
            return connection.execute(sql, values).fetchall()  # type: ignore[arg-type]


@contextmanager
def running(
    folder: Path, ledger: LedgerUrl, *, cloudwatch: str = "", otlp: str = "", dsn: str = "", redis: str = ""
) -> Iterator[Running]:
    """The backend as the demo starts it, without traffic and fifty times as fast."""
    port = servers.free_port()
    env = {
        **os.environ,
        "DEMO_BACKEND_PORT": str(port),
        "DEMO_LEDGER_URL": ledger.core,
        "DEMO_TRAFFIC": "off",
        "DEMO_SPEED": "50",
        "DEMO_TRACE_SHARE": "1",
        "DEMO_CLOUDWATCH_URL": cloudwatch,
        "DEMO_OTLP_URL": otlp,
        "DEMO_SENTRY_DSN": dsn,
        "DEMO_REDIS_URL": redis,
    }
    log = folder / f"backend-{port}.log"
    child = servers.Child("backend", [sys.executable, "-m", "demo.backend"], log=log, env=env, cwd=ROOT)
    try:
        child.wait_until(lambda: servers.answers(f"http://127.0.0.1:{port}/health"), bound=60)
        yield Running(f"http://127.0.0.1:{port}", ledger, child)
    finally:
        child.stop()


@pytest.fixture(scope="module")
def backend(
    postgres: servers.Postgres, server_dir: Path, moto_server: str, trace_store: TraceServer, bugsink: Bugsink
) -> Iterator[Running]:
    """A backend whose logs, spans and errors go to real servers."""
    ledger = new_ledger(postgres)
    with running(
        server_dir, ledger, cloudwatch=moto_server, otlp=trace_store.url, dsn=bugsink.dsn("conductores-backend")
    ) as found:
        yield found
    drop_ledger(postgres, ledger)


@cache
def logs_at(url: str) -> Any:
    return boto3.client("logs", region_name="us-east-1", endpoint_url=url)


def lines_of(url: str, condition: str, group: str = parts.LOG_GROUP) -> list[dict[str, Any]]:
    """Log lines, earliest first, as an Insights query finds them."""
    client = logs_at(url)
    now = int(time.time())
    query = f"fields @message | filter {condition} | sort @timestamp asc | limit 1000"
    try:
        asked = client.start_query(
            logGroupNames=[group], startTime=now - 3 * 86_400, endTime=now + 60, queryString=query
        )
    except client.exceptions.ResourceNotFoundException:
        return []
    found = client.get_query_results(queryId=asked["queryId"])["results"]
    return [json.loads(cell["value"]) for row in found for cell in row if cell["field"] == "@message"]


def errors_of(bugsink: Bugsink, search: str) -> list[dict[str, Any]]:
    """The events of all issues that the tracker finds, in full."""

    def get(path: str, **asked: object) -> Any:
        headers = {"Authorization": f"Bearer {bugsink.token}"}
        return HTTP.get(f"{bugsink.url}/api/canonical/0{path}", params=asked, headers=headers).json()

    issues = get("/issues/", project=bugsink.project("conductores-backend"), q=search)["results"]
    events = [event["id"] for one in issues for event in get("/events/", issue=one["id"], q=search)["results"]]
    return [get(f"/events/{one}/")["data"] for one in events]


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


# --- what leaves the backend ---


def test_a_failed_call_leads_from_its_row_to_its_log_line_its_trace_and_its_error(
    backend: Running, moto_server: str, trace_store: TraceServer, bugsink: Bugsink
) -> None:
    begun = backend.post("/simulation/incidents", {"integration": "neon", "minutes": 1, "failing": 1, "factor": 1})
    assert begun.status_code == 201
    ask = "select request_id, trace_id, error_code, http_status from bi.integration_calls where integration = 'neon'"
    [(request_id, trace_id, error_code, http_status), *_] = until(lambda: backend.rows(ask))
    HTTP.delete(f"{backend.url}/simulation/incidents/neon")
    [line] = until(lambda: lines_of(moto_server, f"request_id = '{request_id}'"))
    assert (line["level"], line["trace_id"], line["integration"], line["error_code"]) == (
        "ERROR", trace_id, "neon", error_code
    )  # fmt: skip
    assert line["http_status"] == http_status
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    trace = until(lambda: trace_store.store.trace(trace_id))
    [call] = [span for span in trace["spans"] if span["operationName"] == "POST /disbursements"]
    assert call["spanID"] == line["span_id"]
    tags = tags_of(call)
    assert (tags["error"], tags["error.type"], tags["span.kind"], tags["peer.service"], tags["request_id"]) == (
        True, error_code, "client", "neon", request_id
    )  # fmt: skip
    [event] = until(lambda: errors_of(bugsink, f"request_id:{request_id}"))
    assert event["contexts"]["trace"]["trace_id"] == trace_id
    assert event["tags"]["trace_id"] == trace_id
    assert event["tags"]["integration"] == "neon"
    assert event["exception"]["values"][-1]["type"] == "IntegrationError"


def test_an_application_is_one_request_and_one_trace_from_its_submission_to_its_score(
    backend: Running, moto_server: str, trace_store: TraceServer
) -> None:
    answer = backend.post("/applications", {"conductor_id": "D0000077", "amount": "120000.00"})
    request_id, application_id = answer.headers["x-request-id"], answer.json()["application_id"]

    def scored() -> list[dict[str, Any]]:
        found = lines_of(moto_server, f"request_id = '{request_id}'")
        return found if "HASE score calculated" in {line["message"] for line in found} else []

    lines = until(scored)
    assert lines[0]["message"] == "Application submitted"
    ask = "select request_id, trace_id, integration from bi.integration_calls where application_id = %(id)s"
    calls = backend.rows(ask, id=application_id)
    assert {name for *_, name in calls} == {"geotab", "metamap"}
    assert {request for request, *_ in calls} == {request_id}
    [trace_id] = {trace for _, trace, _ in calls}
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert {line["application_id"] for line in lines} == {application_id}

    def whole() -> dict[str, Any] | None:
        found = trace_store.store.trace(trace_id)
        names = {span["operationName"] for span in found["spans"]} if found else set()
        return found if "INSERT bi.hase_scores" in names else None

    trace = until(whole)
    spans = {span["spanID"]: span for span in trace["spans"]}
    [root] = [span for span in spans.values() if not span["references"]]
    assert root["operationName"] == "POST /applications"
    assert tags_of(root)["http.route"] == "/applications"
    assert tags_of(root)["http.response.status_code"] == 201
    insert = next(span for span in spans.values() if span["operationName"] == "INSERT bi.integration_calls")
    about = tags_of(insert)
    assert (about["db.system.name"], about["db.operation.name"], about["db.collection.name"]) == (
        "postgresql", "INSERT", "bi.integration_calls"
    )  # fmt: skip
    # The row is written within the call, and the call belongs to the request.
    call = spans[insert["references"][0]["spanID"]]
    assert tags_of(call)["integration"] in {"geotab", "metamap"}
    assert call["references"][0]["spanID"] == root["spanID"]
    assert {process["serviceName"] for process in trace["processes"].values()} == {"conductores-backend"}


# --- personal data ---

LETTERS = st.sampled_from("ABCDEFGHJKLMNPRSTVWXYZ")
DIGIT = st.sampled_from("0123456789")


def digits(least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most or least).map(lambda text: "4" + text[1:])


def letters(number: int) -> st.SearchStrategy[str]:
    return st.lists(LETTERS, min_size=number, max_size=number).map("".join)


WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=14).map(lambda text: f"x{text}q")
BORN = st.dates(datetime(1950, 1, 1).date(), datetime(2005, 12, 31).date()).map(lambda day: f"{day:%y%m%d}")
EMAIL = st.builds("{}.{}@{}.com.mx".format, WORD, WORD, WORD)
CURP = st.builds("{}{}{}{}{}{}".format, letters(4), BORN, st.sampled_from("HM"), letters(5), DIGIT, DIGIT)
RFC = st.builds("{}{}{}".format, letters(4), BORN, letters(3))
PHONE = st.one_of(
    st.builds("55 {} {}".format, digits(4), digits(4)),
    st.builds("+52 (55) {}-{}".format, digits(4), digits(4)),
    st.builds("+5255{}".format, digits(8)),
)
CARD = st.one_of(digits(16), st.builds("{} {} {} {}".format, digits(4), digits(4), digits(4), digits(4)))
CLABE = digits(18)
TOKEN = st.builds("eyJ{}.{}.{}".format, WORD, WORD, WORD)
BY_PATTERN = st.one_of(EMAIL, CURP, RFC, PHONE, CARD, CLABE, TOKEN)
SECRET = st.builds("Zz{}-{}!".format, WORD, WORD)
SECRET_KEY = st.sampled_from(
    ["password", "contraseña", "api_key", "Authorization", "card_number", "telefono", "nombre", "curp", "cvv", "email"]
)
SENTENCE = st.sampled_from(
    ["Driver {} has called", "no row for {}", "duplicate key (conductor)=({})", "'{}'", "mail:{};", "{}"]
)


def event_with(secret: str, key: str, told: str) -> dict[str, Any]:
    """An error event with a value in every place in which sentry-sdk may put one."""
    return {
        "event_id": uuid4().hex,
        "timestamp": "2026-11-25T04:30:58.878934Z",
        "message": told,
        "logentry": {"message": told, "params": [secret]},
        "user": {"id": "D0000001", "email": secret, "username": secret, "ip_address": secret, "data": {key: secret}},
        "request": {
            "url": f"http://host/conductores/{told}/trips?{key}={secret}",
            "query_string": f"{key}={secret}",
            "headers": {"Authorization": f"Bearer {secret}", "Cookie": secret, "X-Forwarded-For": secret, key: secret},
            "cookies": {"session": secret},
            "data": {key: secret, "amount": "1.00", "conductor_id": told, "nested": {"a": [{key: secret}]}},
            "env": {"REMOTE_ADDR": secret},
        },
        "exception": {
            "values": [
                {
                    "type": "IntegrityError",
                    "value": f"{told} [SQL: insert into t values ('{told}')]\n[parameters: {{'a': '{secret}'}}]",
                    "stacktrace": {"frames": [{"lineno": 3, "function": "submit", "vars": {"any": secret}}]},
                }
            ]
        },
        "breadcrumbs": {
            "values": [
                {"category": "query", "message": f"select 1 where a = '{told}'", "data": {"db.params": [secret]}},
                {"category": "httplib", "data": {"url": f"https://u:{secret}@h/{told}", key: secret}},
            ]
        },
        "extra": {key: {"deep": [secret]}, "note": told, "sys.argv": ["x", secret]},
        "tags": {"request_id": "8a8499d241c34018a938009a0272957d", key: secret, "note": told},
        "contexts": {"request_info": {key: secret, "path": told}},
    }


@settings(max_examples=100, deadline=None)
@given(secret=SECRET, key=SECRET_KEY, personal=BY_PATTERN, sentence=SENTENCE)
def test_nothing_personal_is_left_anywhere_in_an_event(secret: str, key: str, personal: str, sentence: str) -> None:
    event = privacy.event(event_with(secret, key, sentence.format(personal)))
    text = json.dumps(event, ensure_ascii=False)
    assert secret not in text
    assert personal not in text
    assert event["user"] == {"id": "D0000001"}
    # What an engineer needs is still there.
    assert event["tags"]["request_id"] == "8a8499d241c34018a938009a0272957d"
    assert event["timestamp"] == "2026-11-25T04:30:58.878934Z"
    assert event["exception"]["values"][0]["stacktrace"]["frames"][0]["lineno"] == 3
    assert event["request"]["data"]["amount"] == "1.00"


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(personal=st.lists(BY_PATTERN, min_size=5, max_size=5), secret=SECRET, key=SECRET_KEY)
def test_personal_data_of_a_request_never_appears_in_what_the_tracker_got(
    backend: Running, bugsink: Bugsink, personal: list[str], secret: str, key: str
) -> None:
    request_id = uuid4().hex
    in_row, in_field, in_query, in_header, in_agent = personal
    # A NUL is no text for PostgreSQL: the insert fails, and the driver's error quotes what was handed in.
    body = {"conductor_id": f"{in_row}\0", "amount": "90000.00", key: secret, "note": in_field, "of": {key: secret}}
    answer = backend.post(
        f"/applications?q={in_query}",
        body,
        **{
            "X-Request-ID": request_id,
            "Authorization": f"Bearer {secret}",
            "X-Note": in_header,
            "User-Agent": in_agent,
        },
    )
    assert answer.status_code == 500
    [event] = until(lambda: errors_of(bugsink, f"request_id:{request_id}"))
    text = json.dumps(event, ensure_ascii=False)
    assert "NUL" in text
    assert event["request"]["data"]["amount"] == "90000.00"
    assert [one for one in (*personal, secret) if one in text] == []


def test_log_lines_hold_nothing_personal_either() -> None:
    record = telemetry.log.makeRecord(
        *("conductores", 40, "f", 1, "Call of ana.perez@correo.mx from +52 55 1234 5678 failed", (), None),
        extra={"telefono": "whatever", "amount": "150000.00", "duration_ms": 1234567890123},
    )
    line = json.loads(telemetry.JsonLines().format(record))
    assert line["message"] == "Call of [filtered] from [filtered] failed"
    assert line["telefono"] == "[filtered]"
    assert (line["amount"], line["duration_ms"]) == ("150000.00", 1234567890123)


# --- what is dead ---


def test_dead_log_store_tracker_trace_store_and_cache_neither_slow_nor_break_the_backend(
    postgres: servers.Postgres, server_dir: Path
) -> None:
    ledger = new_ledger(postgres)
    with socket.socket() as silent:
        # Takes connections and never answers: worse than one that refuses.
        silent.bind(("127.0.0.1", 0))
        silent.listen(200)
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        with running(
            server_dir,
            ledger,
            cloudwatch=f"http://{where}",
            otlp=f"http://{where}",
            dsn=f"http://{'0' * 32}@{where}/1",
            redis=f"redis://{where}/0",
        ) as backend:
            backend.post("/simulation/incidents", {"integration": "geotab", "minutes": 1, "failing": 1, "factor": 0.1})
            took = []
            for number in range(40):
                began = time.perf_counter()
                answer = backend.post("/applications", {"conductor_id": f"D{number:07}", "amount": "90000.00"})
                took.append(time.perf_counter() - began)
                assert answer.status_code == 201
            assert sorted(took)[len(took) // 2] < 0.3
            assert max(took) < 3
            began = time.monotonic()
            backend.child.process.send_signal(signal.SIGTERM)
            backend.child.process.wait(15)
            assert time.monotonic() - began < 12
    drop_ledger(postgres, ledger)


def test_lines_wait_for_a_log_store_that_comes_back_and_the_oldest_go_when_there_are_too_many(
    server_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry.CloudWatch, "MOST_LINES", 30)
    monkeypatch.setattr(telemetry.CloudWatch, "EVERY", 0.2)
    monkeypatch.setattr(telemetry.CloudWatch, "LONGEST_PAUSE", 0.4)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    port = servers.free_port()
    handler = telemetry.CloudWatch(f"http://127.0.0.1:{port}")
    handler.setFormatter(telemetry.JsonLines())
    began = time.monotonic()
    for number in range(50):
        handler.emit(telemetry.log.makeRecord("conductores", 20, "f", 1, f"line {number}", (), None))
    assert time.monotonic() - began < 0.5
    assert handler.dropped == 20
    with parts.LogStore(server_dir / "late-cloudwatch", port=port) as late:
        found = until(lambda: lines_of(late.url, "message like 'line'"))
        assert [line["message"] for line in found] == [f"line {number}" for number in range(20, 50)]
        handler.close()


# --- Redis and the exporters ---


@pytest.fixture(scope="module")
def programs(server_dir: Path) -> Callable[[str], Path]:
    """The program of one of Debian's packages; without it the test is skipped."""

    def find(package: str) -> Path:
        found = parts.find(server_dir / "packages", package)
        if found is None:
            pytest.skip(f"No {package} on this machine: not on PATH, and apt-get gave none")
        return found

    return find


def counted(command: str, status: str) -> float:
    from demo.backend import metrics

    return metrics.redis_commands_total.labels(command, status)._value.get()


def test_redis_commands_are_counted_as_they_went_and_a_dead_redis_is_left_alone_for_a_while(
    server_dir: Path, programs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.backend.cache.REST_SECONDS", 0.3)
    port = servers.free_port()
    server = parts.Redis(server_dir / "redis", program=programs("redis-server"), port=port)
    kept = Cache(f"redis://127.0.0.1:{port}/0")
    good, bad = counted("GET", "success"), counted("GET", "error")
    with server:
        kept.keep("a", "1", 60)
        assert kept.get("a") == "1"
        assert kept.get("b") is None
        assert [kept.count("n", 60), kept.count("n", 60)] == [1, 2]
        assert (counted("GET", "success"), counted("GET", "error")) == (good + 2, bad)
    began = time.monotonic()
    assert kept.get("a") is None
    assert kept.get("a") is None
    assert time.monotonic() - began < 0.3
    # Tried once, then left alone.
    assert (counted("GET", "success"), counted("GET", "error")) == (good + 2, bad + 1)
    with server:
        assert until(lambda: (kept.keep("a", "2", 60), kept.get("a"))[1]) == "2"
    kept.close()


def test_the_exporters_tell_of_this_machine_the_database_and_the_cache(
    server_dir: Path, postgres: servers.Postgres, programs: Callable[[str], Path]
) -> None:
    redis = parts.Redis(server_dir / "exported-redis", program=programs("redis-server"))
    with redis:
        exporters = [
            (
                parts.NodeExporter(server_dir / "node_exporter", program=programs("prometheus-node-exporter")),
                "node_load1",
            ),
            (
                parts.RedisExporter(
                    server_dir / "redis_exporter", redis.url, program=programs("prometheus-redis-exporter")
                ),
                "redis_up 1",
            ),
            (
                parts.PostgresExporter(
                    server_dir / "postgres_exporter",
                    f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres?sslmode=disable",
                    program=programs("prometheus-postgres-exporter"),
                ),
                "pg_up 1",
            ),
        ]
        for exporter, words in exporters:
            with exporter:
                assert words in HTTP.get(f"{exporter.url}/metrics").text, exporter.title


# --- the log store ---


def test_insights_filters_counts_and_sorts_as_cloudwatch_documents() -> None:
    began = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp() * 1000
    events = []
    for number in range(20):
        message = {
            "level": "ERROR" if number % 5 == 0 else "INFO",
            "message": f"call {number}",
            "integration": "neon" if number % 2 else "geotab",
            "duration_ms": number * 100,
            "error": {"type": "Timeout"} if number == 5 else None,
        }
        text = json.dumps(message)
        at = began + number * 60_000
        events.append(
            {
                **insights.fields_of(text),
                "@timestamp": insights.timestamp_text(at),
                "@message": text,
                "@ptr": str(number),
                "@time": at,
            }
        )

    def messages(condition: str) -> list[str]:
        found = insights.run(f"fields message | filter {condition} | sort @timestamp asc", events)
        return [row["message"] for row in found.rows]

    assert messages("level = 'ERROR'") == ["call 0", "call 5", "call 10", "call 15"]
    assert messages('level = "ERROR" and integration != "geotab"') == ["call 5", "call 15"]
    assert messages("duration_ms >= 1800 or @ptr = 0") == ["call 0", "call 18", "call 19"]
    assert messages("@message like /(?i)CALL 1[0-2]/") == ["call 10", "call 11", "call 12"]
    assert messages("message like 'call 19'") == ["call 19"]
    assert messages("message not like 'call 1' and level in ['ERROR', 'WARN']") == ["call 0", "call 5"]
    assert messages("ispresent(error.type)") == ["call 5"]
    assert messages("not (duration_ms > 0)") == ["call 0"]
    found = insights.run(
        "filter level='ERROR' | stats count(*) as n, max(duration_ms) by bin(10m) | sort n desc", events
    )
    assert found.rows == [
        {"bin(10m)": "2026-03-31 12:00:00.000", "n": "2", "max(duration_ms)": "500"},
        {"bin(10m)": "2026-03-31 12:10:00.000", "n": "2", "max(duration_ms)": "1500"},
    ]
    assert (found.matched, found.scanned) == (4, 20)
    latest = insights.run("fields @timestamp, @message | limit 2", events)
    assert [row["@timestamp"] for row in latest.rows] == ["2026-03-31 12:19:00.000", "2026-03-31 12:18:00.000"]
    assert "@ptr" in latest.rows[0]
    for wrong in (
        "parse @message 'x'",
        "filter level =",
        "limit 0",
        "limit 20000",
        "fields @message |",
        "stats sum() by",
        "§",
    ):
        with pytest.raises(insights.MalformedQuery):
            insights.run(wrong, events)


def test_the_log_store_refuses_a_query_that_is_none_as_cloudwatch_does(moto_server: str) -> None:
    client = boto3.client("logs", region_name="us-east-1", endpoint_url=moto_server)
    client.create_log_group(logGroupName="/test/refused")
    with pytest.raises(ClientError) as refused:
        client.start_query(logGroupNames=["/test/refused"], startTime=0, endTime=1, queryString="pattern @message")
    assert refused.value.response["Error"]["Code"] == "MalformedQueryException"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_query_results(queryId="none")


# --- the trace store ---


def export(service: str, *spans: dict[str, Any]) -> ExportTraceServiceRequest:
    """An OTLP request: spans of a service by name, trace, span, parent, start and milliseconds."""
    request = ExportTraceServiceRequest()
    of = request.resource_spans.add()
    attribute = of.resource.attributes.add()
    attribute.key, attribute.value.string_value = "service.name", service
    scope = of.scope_spans.add()
    for one in spans:
        span = scope.spans.add()
        span.name, span.kind = one["name"], one.get("kind", 2)
        span.trace_id, span.span_id = bytes.fromhex(one["trace"]), bytes.fromhex(one["span"])
        span.parent_span_id = bytes.fromhex(one.get("parent", ""))
        span.start_time_unix_nano = int(one["start"] * 1e9)
        span.end_time_unix_nano = span.start_time_unix_nano + one["ms"] * 1_000_000
        for key, value in one.get("tags", {}).items():
            found = span.attributes.add()
            found.key, found.value.string_value = key, value
        if one.get("failed"):
            span.status.code = 2
    return request


def test_the_trace_store_answers_as_jaegers_query_api_documents(trace_store: TraceServer) -> None:
    app, core = f"app-{uuid4().hex[:8]}", f"core-{uuid4().hex[:8]}"
    first, second, now = uuid4().hex, uuid4().hex, time.time()
    asked = export(
        core,
        {"name": "POST /pay", "trace": first, "span": "b" * 16, "parent": "a" * 16, "start": now - 9, "ms": 400,
         "failed": True, "tags": {"request_id": "r1"}},
        {"name": "GET /pay", "trace": second, "span": "c" * 16, "start": now - 5, "ms": 20},
    )  # fmt: skip
    api = httpx.Client(base_url=trace_store.url, timeout=10, trust_env=False)
    packed = gzip.compress(asked.SerializeToString())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    assert api.post("/v1/traces", content=packed, headers=headers).status_code == 200
    as_json = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": app}}]},
                "scopeSpans": [
                    {"spans": [{"traceId": first, "spanId": "a" * 16, "name": "POST /pay", "kind": 3,
                                "startTimeUnixNano": str(int((now - 10) * 1e9)),
                                "endTimeUnixNano": str(int((now - 8) * 1e9))}]}
                ],
            }
        ]
    }  # fmt: skip
    assert api.post("/v1/traces", json=as_json).status_code == 200
    assert {app, core} <= set(api.get("/api/services").json()["data"])
    assert api.get(f"/api/services/{core}/operations").json()["data"] == ["GET /pay", "POST /pay"]

    def ids(**wanted: object) -> list[str]:
        answer = api.get("/api/traces", params={"service": core, **wanted})
        assert answer.status_code == 200, answer.text
        return [trace["traceID"] for trace in answer.json()["data"]]

    assert ids() == [second, first]
    assert ids(limit=1) == [second]
    assert ids(operation="POST /pay") == [first]
    assert ids(tags=json.dumps({"error": "true"})) == [first]
    assert ids(tags=json.dumps({"request_id": "r1", "span.kind": "server"})) == [first]
    assert ids(minDuration="100ms") == [first]
    assert ids(maxDuration="0.1s") == [second]
    assert ids(end=int((now - 7) * 1e6)) == [first]
    [trace] = api.get(f"/api/traces/{first}").json()["data"]
    [client, server] = trace["spans"]
    assert server["references"] == [{"refType": "CHILD_OF", "traceID": first, "spanID": "a" * 16}]
    assert (server["startTime"], server["duration"]) == (pytest.approx((now - 9) * 1e6, abs=2), 400_000)
    assert {"key": "otel.status_code", "type": "string", "value": "ERROR"} in server["tags"]
    assert trace["processes"][client["processID"]]["serviceName"] == app
    edges = api.get("/api/dependencies", params={"endTs": int(now * 1000), "lookback": 60_000}).json()["data"]
    assert {"parent": app, "child": core, "callCount": 1} in edges
    missing = api.get(f"/api/traces/{uuid4().hex}")
    assert (missing.status_code, missing.json()["errors"][0]["msg"]) == (404, "trace not found")
    for wrong in (
        {},
        {"service": core, "tags": "x"},
        {"service": core, "minDuration": "1"},
        {"service": core, "limit": 0},
    ):
        refused = api.get("/api/traces", params=wrong)
        assert (refused.status_code, refused.json()["data"]) == (400, None)
    assert (
        api.post("/v1/traces", content=b"\xff\xff", headers={"Content-Type": "application/x-protobuf"}).status_code
        == 400
    )
    api.close()


def test_the_trace_store_keeps_the_latest_traces_within_its_bound() -> None:
    store = TraceStore(max_bytes=200_000)
    for number in range(500):
        one = {"name": "n", "trace": f"{number + 1:032x}", "span": f"{number + 1:016x}", "start": 1e9 + number, "ms": 1}
        store.take(spans_of(export("s", one)))
    assert 50 < len(store) < 250
    assert store.trace(f"{500:032x}") is not None
    assert store.trace(f"{1:032x}") is None
    # One service that tells much of itself leaves the others their place.
    store.take(spans_of(export("quiet", {"name": "n", "trace": "f" * 32, "span": "f" * 16, "start": 1.0, "ms": 1})))
    for number in range(500, 1000):
        one = {"name": "n", "trace": f"{number + 1:032x}", "span": f"{number + 1:016x}", "start": 1e9 + number, "ms": 1}
        store.take(spans_of(export("s", one)))
    assert store.trace("f" * 32) is not None
    assert store.trace(f"{500:032x}") is None


def test_traces_with_failures_or_events_are_kept_and_reads_are_thinned_out(trace_store: TraceServer) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Status, StatusCode

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(telemetry.Tail(SimpleSpanProcessor(kept), share=0))
    tracer = provider.get_tracer("t")
    for name in ("read", "failed", "event"):
        with tracer.start_as_current_span(name), tracer.start_as_current_span(f"{name} inner") as inner:
            if name == "failed":
                inner.set_status(Status(StatusCode.ERROR))
            if name == "event":
                telemetry.keep()
        # What goes on after the answer follows the decision of its request.
    with tracer.start_as_current_span("late") as late:
        telemetry.keep()
    from opentelemetry.trace import set_span_in_context

    tracer.start_span("late inner", context=set_span_in_context(late)).end()
    assert sorted(span.name for span in kept.get_finished_spans()) == [
        *("event", "event inner", "failed", "failed inner", "late", "late inner"),
    ]


# --- the recent past ---


def test_the_recent_past_stands_in_log_store_trace_store_and_tracker_by_the_ids_of_its_rows(
    ledger_url: LedgerUrl, moto_server: str, trace_store: TraceServer, bugsink: Bugsink, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    rows = []
    for number in range(6):
        failed = number % 2 == 0
        rows.append(
            {
                "call_id": number + 1,
                "called_at": now - timedelta(hours=1 + number * 5),
                "integration": "conekta",
                "status": "error" if failed else "success",
                "http_status": 503 if failed else 200,
                "error_code": "service_unavailable" if failed else None,
                "request_id": uuid4().hex,
                "trace_id": uuid4().hex,
            }
        )
    with psycopg.connect(ledger_url.owner.replace("+psycopg", "")) as owner:
        owner.cursor().executemany(
            "insert into bi.integration_calls (call_id, called_at, integration, endpoint, status, http_status,"
            " duration_ms, error_code, error_message, request_id, trace_id, credit_id) values (%(call_id)s,"
            " %(called_at)s, %(integration)s, '/charges', %(status)s, %(http_status)s, 700, %(error_code)s, null,"
            " %(request_id)s, %(trace_id)s, 'C0000001')",
            rows,
        )
        owner.execute(
            "insert into bi.applications (application_id, conductor_id, submitted_at, amount_requested, status,"
            " updated_at) values ('A7654321', 'D0000001', %(at)s, 90000, 'pending', %(at)s)",
            {"at": now - timedelta(hours=3)},
        )
        owner.execute(
            "insert into bi.payments (payment_id, credit_id, processed_at, amount, status, method, integration_call_id,"
            " updated_at) values (1, 'C0000001', %(at)s, 950, 'succeeded', 'spei', 2, %(at)s)",
            {"at": rows[1]["called_at"] + timedelta(seconds=1)},
        )
    told = past.calls(ledger_url.reader.replace("+psycopg", ""), now)
    assert [call["call_id"] for call in told] == [6, 5, 4, 3, 2, 1]
    mark, dsn = tmp_path / "mark", bugsink.dsn("conductores-backend")
    began = time.monotonic()
    past.tell_logs(moto_server, told, past.events(ledger_url.reader.replace("+psycopg", ""), now))
    past.tell_traces(trace_store.url, told)
    assert past.tell_errors(dsn, told, mark) == 3
    assert time.monotonic() - began < 10
    for row in rows:
        lines = lines_of(moto_server, f"request_id = '{row['request_id']}'")
        assert {line["trace_id"] for line in lines} == {row["trace_id"]}
        words = [line["message"] for line in lines]
        if row["error_code"]:
            assert words == ["Conekta API call failed", "Payment processing failed"]
            assert {line["level"] for line in lines} == {"ERROR"}
        else:
            assert words == ["Conekta API call succeeded", "Payment received"][: 2 if row["call_id"] == 2 else 1]
        trace = trace_store.store.trace(row["trace_id"])
        assert [span["operationName"] for span in trace["spans"]] == [
            "POST /webhooks/conekta", "POST /charges", "INSERT bi.integration_calls"
        ]  # fmt: skip
        events = errors_of(bugsink, f"request_id:{row['request_id']}")
        assert [event["contexts"]["trace"]["trace_id"] for event in events] == [row["trace_id"]] * bool(
            row["error_code"]
        )
        if events:
            # It counts for the time at which it happened.
            happened = datetime.fromisoformat(events[0]["timestamp"])
            assert abs((happened - row["called_at"]).total_seconds()) < 2
    [submitted] = lines_of(moto_server, "application_id = 'A7654321'")
    assert (submitted["message"], submitted["amount"]) == ("Application submitted", "90000.00")
    # The tracker keeps what it has: told again, nothing is counted twice.
    assert past.tell_errors(dsn, told, mark) == 0


# --- the parts end with the demo ---


def test_a_part_that_an_earlier_run_left_is_ended_at_its_next_start(server_dir: Path) -> None:
    left = parts.TraceServer(server_dir / "left").start()
    with parts.TraceServer(server_dir / "left") as fresh:
        assert not left.alive()
        assert fresh.alive()
    assert not fresh.alive()
