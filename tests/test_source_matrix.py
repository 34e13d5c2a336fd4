"""Each source that answers over a wire, against each way in which an answer can go wrong; then it answers again.

A cell is a source and a case; all are one test here, on real sockets. What has more to it stands in the file of its
source: CloudWatch and Elasticsearch in `test_logs.py` (AMAZON, ELASTIC), the explorer's own questions in
`test_explorer.py`, the last good answer with its age in `test_cache.py`, real servers that stop in
`test_ledger_client.py`, `test_sources_page.py` and `test_errors_page.py`.

Answers of Sentry, Jaeger, PagerDuty and UptimeRobot are files in the form that each documents (`tests/answers`).
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import queries
from queries import Outside, SourceError, Sources
from queries.alertmanager_client import AlertmanagerClient
from queries.elasticsearch_client import ElasticsearchClient
from queries.errors_client import BugsinkClient, IssueSearch, SentryClient
from queries.ledger_client import LedgerClient
from queries.library import Query
from queries.metrics_client import MetricsClient
from queries.pagerduty_client import PagerDutyClient
from queries.promql_client import PromqlClient
from queries.sources import outside, source_states
from queries.state_client import StateClient
from queries.traces_client import JaegerClient, TraceSearch
from queries.uptimerobot_client import UptimeRobotClient
from tests.answering import Answer, Server, said

ZONE = ZoneInfo("America/Mexico_City")
NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)
DAY = timedelta(days=1)
TOKEN = "token-that-nobody-reads"
THEIRS = "juan.perez@example.mx of theirs"
ANSWERS = Path(__file__).parent / "answers"
# Of one question; a busy machine must not take an answer for a silence.
SECONDS = 0.8


@dataclass(frozen=True)
class Asked:
    """A source: its client, its question, an answer with rows, one with none."""

    source: str
    make: Callable[[str], Any]
    ask: Callable[[Any], Any]
    full: bytes
    empty: bytes


def kept(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


def prometheus(*series: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": list(series)}}).encode()


def answered(client: MetricsClient) -> Any:
    return client.run(Query("up", "metrics", "", "", "up", kind="instant"), {})[0]


METRICS = {"zone": ZONE, "connections": 2, "query_timeout": SECONDS, "connect_timeout": 1.0, "token": TOKEN}
COMMON = {"zone": ZONE, "timeout": SECONDS}
UP = prometheus({"metric": {"job": "backend"}, "value": [1764100000, "1"]})
ALERT = {
    **{"fingerprint": "ab12", "startsAt": "2026-11-25T10:00:00Z", "labels": {"alertname": "HighErrorRate"}},
    **{"annotations": {}, "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}},
}
BUGSINK_ISSUE = {
    **{"id": "018f2a7e-0000-7000-8000-000000000001", "calculated_type": "Error", "calculated_value": "x"},
    **{"first_seen": "2026-11-25T10:00:00Z", "last_seen": "2026-11-25T10:00:00Z", "digested_event_count": 1},
}

SOURCES: dict[str, Asked] = {
    "Prometheus": Asked(
        *("metrics", lambda url: MetricsClient(url, scrape_interval=15, **METRICS), answered),
        *(UP, prometheus()),
    ),
    "Prometheus, a typed question": Asked(
        *("metrics", lambda url: PromqlClient(url, **METRICS), lambda client: client.query("up", NOW)),
        *(UP, prometheus()),
    ),
    "Alertmanager": Asked(
        *("alertmanager", lambda url: AlertmanagerClient(url, **COMMON), lambda client: client.alerts()),
        *(json.dumps([ALERT]).encode(), b"[]"),
    ),
    "Sentry's documented form": Asked(
        "errors",
        lambda url: SentryClient(url, TOKEN, organization="conductores", **COMMON),
        lambda client: client.issues(IssueSearch(NOW - DAY, NOW)),
        *(kept("sentry/issues.json"), b"[]"),
    ),
    "Bugsink": Asked(
        "errors",
        lambda url: BugsinkClient(url, TOKEN, **COMMON),
        lambda client: client.issues(IssueSearch(NOW - DAY, NOW)),
        *(b"", b'{"results": [], "next": null}'),
    ),
    "Jaeger's documented form": Asked(
        "traces",
        lambda url: JaegerClient(url, token=TOKEN, **COMMON),
        lambda client: client.search(TraceSearch("conductores-backend", NOW - DAY, NOW)),
        *(kept("jaeger/traces.json"), b'{"data": []}'),
    ),
    "PagerDuty's documented form": Asked(
        *("oncall", lambda url: PagerDutyClient(url, TOKEN, **COMMON), lambda client: client.on_calls()),
        *(kept("pagerduty/oncalls.json"), b'{"oncalls": [], "limit": 25, "offset": 0, "more": false}'),
    ),
    "UptimeRobot's documented form": Asked(
        "uptime",
        lambda url: UptimeRobotClient(url, TOKEN, **COMMON),
        lambda client: client.monitors([date(2026, 11, 24)]),
        *(kept("uptimerobot/monitors.json"), b'{"stat": "ok", "pagination": {"total": 0}, "monitors": []}'),
    ),
}


def raw(*parts: bytes, pause: float = 0.0) -> Answer:
    """Bytes one after the other, and then the end."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return answer


def held(connection: socket.socket) -> None:
    """Nothing, until the other side leaves."""
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SECRET = THEIRS.encode()
# What is answered, the kinds of error it may be, and a word of each sentence that says what to do or what happened.
WRONG: dict[str, tuple[Answer, set[str], tuple[str, ...]]] = {
    "400": (said(SECRET, "400 Bad Request"), {"refused"}, ("refused", "HTTP 400")),
    "401": (said(SECRET, "401 Unauthorized"), {"refused"}, ("check its token", "check its credentials")),
    "403": (said(SECRET, "403 Forbidden"), {"refused"}, ("check its token", "check its credentials")),
    "404": (said(SECRET, "404 Not Found"), {"refused"}, ("does not know", "refused")),
    "429": (said(SECRET, "429 Too Many Requests"), {"down", "refused"}, ("too often", "refused")),
    "500": (said(SECRET, "500 Oops"), {"down"}, ("failed",)),
    "502": (said(b"<html>" + SECRET, "502 Bad Gateway"), {"down"}, ("failed",)),
    "503": (said(SECRET, "503 Busy"), {"down", "timeout"}, ("failed", "took too long", "gave up")),
    "a page to log in": (said(b"<html>" + SECRET), {"refused"}, ("API",)),
    "other JSON": (said(b'{"secret": "' + SECRET + b'"}'), {"refused"}, ("API",)),
    "JSON of other types": (said(b'{"data": 3, "results": 3, "oncalls": 3, "stat": 3}'), {"refused"}, ("API",)),
    "JSON that is cut": (said(b'{"status": "success", "data": {"resu'), {"refused"}, ("API",)),
    "very deep JSON": (said(b"[" * 200_000), {"refused"}, ("API",)),
    "bytes": (said(b"\xff\xfe\x00\x01" * 100), {"refused"}, ("API",)),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.9\r\n"), {"down"}, ("reached", "broke off")),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), {"down", "refused"}, ("reached", "broke off", "API")),
    "half an answer": (raw(OK + b"Content-Length: 900\r\n\r\n{"), {"down"}, ("broke off",)),
    "half a chunk": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n90\r\n{"), {"down"}, ("broke off",)),
    "hung up": (raw(), {"down"}, ("reached",)),
    "silence": (held, {"timeout"}, ("in time",)),
    "silence in the middle": (
        lambda connection: (connection.sendall(OK + b"Content-Length: 900\r\n\r\n{"), held(connection))[1],
        {"timeout"},
        ("in time",),
    ),
    "a head that trickles": (raw(b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 50, pause=0.1), {"timeout"}, ("in time",)),
    "a body that trickles": (
        raw(OK + b"Content-Length: 900\r\n\r\n", *[b" "] * 50, pause=0.1),
        {"timeout"},
        ("in time",),
    ),
}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("name", SOURCES)
def test_an_answer_with_nothing_is_a_frame_without_rows_and_keeps_its_columns(server: Server, name: str):
    asked = SOURCES[name]
    client = asked.make(server.url)
    server.answer = said(asked.empty)
    empty = asked.ask(client)
    assert len(empty) == 0
    if asked.full:
        server.answer = said(asked.full)
        full = asked.ask(client)
        assert len(full) > 0
        if asked.source != "metrics":
            # Of Prometheus the columns are the labels that its series have.
            assert list(empty.columns) == list(full.columns)
            assert [dtype.kind for dtype in empty.dtypes] == [dtype.kind for dtype in full.dtypes]
    client.close()


@pytest.mark.parametrize("case", WRONG)
def test_what_goes_wrong_is_one_sentence_in_time_and_the_next_answer_is_taken(case: str):
    """All sources side by side: most cells are a wait."""
    with ThreadPoolExecutor(len(SOURCES)) as pool:
        cells = {name: pool.submit(cell, asked, *WRONG[case]) for name, asked in SOURCES.items()}
    assert {name: cell.exception() for name, cell in cells.items() if cell.exception()} == {}


def cell(asked: Asked, answer: Answer, kinds: set[str], words: tuple[str, ...]) -> None:
    """One source told this answer, and then a good one."""
    server = Server()
    client = asked.make(server.url)
    server.answer = answer
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        asked.ask(client)
    took = time.monotonic() - began
    error = caught.value
    assert (error.kind in kinds, error.source) == (True, asked.source), (error.kind, error.sentence)
    assert any(word in error.sentence for word in words), error.sentence
    assert error.sentence.endswith(".")
    for secret in (TOKEN, "juan", server.url, "Traceback"):
        assert secret not in str(error), error
    # One wait of the head and one read of the body at most; a typed question waits for the server's own bound first.
    assert took < 2 * (SECONDS + 1) + 1, took
    server.answer = said(asked.full or asked.empty)
    assert asked.ask(client) is not None
    client.close()
    server.close()


# --- PostgreSQL's wire: the ledger and the state database ---

ONE = Query("one", "ledger", "", "", "select 1 as n")
AUTHENTICATED = b"R" + struct.pack("!ii", 8, 0)
READY = b"Z" + struct.pack("!i", 5) + b"I"


def postgres(then: Answer) -> Answer:
    """A server that lets one in and then does that, with the first question."""

    def answer(connection: socket.socket) -> None:
        # It was asked for TLS, which it has not.
        connection.sendall(b"N")
        connection.recv(65536)
        connection.sendall(AUTHENTICATED + READY)
        connection.recv(65536)
        then(connection)

    return answer


def refusal(code: bytes, message: bytes) -> bytes:
    body = b"SFATAL\0VFATAL\0C" + code + b"\0M" + message + b"\0\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


DATABASE: dict[str, tuple[Answer, set[str]]] = {
    "no PostgreSQL": (raw(b"HTTP/1.1 400 Bad Request\r\n\r\n" + SECRET), {"down"}),
    "garbage": (raw(b"N", b"\xff" * 400), {"down"}),
    "hung up": (raw(), {"down"}),
    "starting up": (raw(b"N", refusal(b"57P03", b"the database system is starting up, " + SECRET)), {"down"}),
    "too many clients": (raw(b"N", refusal(b"53300", b"too many clients of " + SECRET)), {"down"}),
    "a wrong password": (raw(b"N", refusal(b"28P01", b"password authentication failed for " + SECRET)), {"down"}),
    "half an answer": (postgres(raw(b"T\0\0\0\x40\0")), {"down"}),
    "silence at the door": (held, {"down", "timeout"}),
    "silence after the door": (postgres(held), {"down", "timeout"}),
    "an answer that trickles": (postgres(raw(b"N\0\0\x10\0", *[b"x"] * 100, pause=0.1)), {"down", "timeout"}),
}


@pytest.mark.parametrize(("make", "source"), [(LedgerClient, "ledger"), (StateClient, "state")])
def test_what_a_database_does_wrong_is_one_sentence_in_time(make: type[LedgerClient], source: str):
    with ThreadPoolExecutor(len(DATABASE)) as pool:
        cells = {case: pool.submit(database_cell, make, source, *DATABASE[case]) for case in DATABASE}
    assert {case: cell.exception() for case, cell in cells.items() if cell.exception()} == {}


def database_cell(make: type[LedgerClient], source: str, answer: Answer, kinds: set[str]) -> None:
    """A database that does this to who asks."""
    server = Server()
    server.answer = answer
    client = make(
        server.url.replace("http://", "postgresql://reader:hunter2Xq@") + "/company",
        zone=ZONE,
        connections=1,
        query_timeout=SECONDS,
        connect_timeout=2.0,
    )
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        client.run(ONE, {})
    # A connection that went away is asked for once more.
    assert time.monotonic() - began < 2 * (SECONDS + 1) + 2
    assert (caught.value.kind in kinds, caught.value.source) == (True, source), caught.value.sentence
    for secret in ("hunter2Xq", "juan", server.url, "127.0.0.1"):
        assert secret not in caught.value.sentence
    client.close()
    server.close()


def test_a_database_that_is_back_is_asked_again(server: Server, ledger_url: Any):
    """The same address: first nobody that speaks, then a real PostgreSQL behind it."""
    real = ledger_url.reader.split("@")[1]
    host, _, port = real.split("/")[0].partition(":")
    client = StateClient(
        ledger_url.reader.replace(real.split("/")[0], server.url.removeprefix("http://")),
        zone=ZONE,
        connections=1,
        query_timeout=5.0,
        connect_timeout=2.0,
    )
    server.answer = raw(b"\0")
    with pytest.raises(SourceError, match="The state database cannot be reached"):
        client.run(ONE, {})
    server.answer = through(host, int(port), server)
    assert client.run(ONE, {})[0]["n"].tolist() == [1]
    client.close()


def through(host: str, port: int, server: Server) -> Answer:
    """All bytes to and from another server."""

    def answer(connection: socket.socket) -> None:
        with socket.create_connection((host, port)) as other:
            other.sendall(server.asked[-1])
            ends = {connection: other, other: connection}
            for one in ends:
                one.settimeout(0.02)
            while True:
                for one, beyond in ends.items():
                    try:
                        part = one.recv(65536)
                    except TimeoutError:
                        continue
                    if not part:
                        return
                    beyond.sendall(part)

    return answer


# --- as the house asks ---


def test_elasticsearch_and_its_head_that_trickles(server: Server):
    """Its client opens its connections by itself; what else can go wrong with it stands in `test_logs.py`."""
    server.answer = WRONG["a head that trickles"][0]
    client = ElasticsearchClient(server.url, "logs-*", zone=ZONE, api_key="a2V5", timeout=SECONDS)
    began = time.monotonic()
    with pytest.raises(SourceError, match="has not answered in time"):
        client.ping()
    assert time.monotonic() - began < 2 * SECONDS + 1
    client.close()


def test_a_source_that_recovers_is_told_as_up_again(server: Server):
    """UptimeRobot, in its documented form, for those of which no other test says it."""
    queries.connect(Sources(fresh_for=0.1, outside=Outside(uptimerobot_key=TOKEN, uptimerobot_url=server.url)))
    try:
        days = [date(2026, 11, 24)]

        def ask() -> Any:
            return outside("uptime", "monitors", {}, lambda client: client.monitors(days), title="Monitors", ttl=0.1)

        server.answer = said(b"", "503 Busy")
        with pytest.raises(SourceError, match="UptimeRobot failed"):
            ask()
        assert source_states()["uptime"].up is False
        server.answer = said(kept("uptimerobot/monitors.json"))
        until = time.monotonic() + 10
        while True:
            with contextlib.suppress(SourceError):
                ask()
                break
            assert time.monotonic() < until
            time.sleep(0.2)
        assert source_states()["uptime"].up is True
    finally:
        queries.disconnect()
