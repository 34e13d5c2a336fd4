"""Logs: CloudWatch by boto3 against moto's server, Elasticsearch and OpenSearch by their clients against documented
answers, every failure a sentence and every wait bounded; no input changes a query; the page as it is drawn."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

import components
import queries
from app.auth import Viewer
from demo import insights
from queries import Outside, SourceError, Sources, logs, sources
from queries.cloudwatch_client import CloudWatchClient, counts_text, query_text
from queries.elasticsearch_client import ElasticsearchClient, counts_body, search_body
from queries.logs_client import LINES, LINES_BYTES, Found, Question, line, lines_frame
from queries.outside import Bounds, make_client
from tests.answering import Server, behind_tls, said, trickling_head
from tests.dashboard import chromium, chromium_path, serve, viewer

ZONE = ZoneInfo("America/Mexico_City")
ANSWERS = Path(__file__).resolve().parent / "answers" / "elasticsearch"
ENGINEER = frozenset({"engineer"})
# CloudWatch takes no line that is older than two weeks or written in the future.
START = (datetime.now(ZONE) - timedelta(days=2)).replace(hour=10, minute=0, second=0, microsecond=0)
# The moment of the answers that are kept as files.
KEPT = datetime(2026, 11, 25, 10, tzinfo=ZONE)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_groups = count(1)


def asked(start: datetime = START, end: datetime | None = None, **more: Any) -> Question:
    return Question(start, end or start + HOUR, **more)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield
    queries.disconnect()


# --- stores of the tests ----------------------------------------------------------------------------------------------


@dataclass
class Group:
    """A log group in moto's server."""

    url: str
    name: str
    client: Any

    def put(self, *lines: tuple[datetime, Any]) -> None:
        told = [
            {"timestamp": round(at.timestamp() * 1000), "message": one if isinstance(one, str) else json.dumps(one)}
            for at, one in sorted(lines, key=lambda line: line[0])
        ]
        for first in range(0, len(told), 1000):
            self.client.put_log_events(
                logGroupName=self.name, logStreamName="app", logEvents=told[first : first + 1000]
            )


@pytest.fixture
def group(moto_server: str) -> Group:
    client = boto3.client("logs", region_name="us-east-1", endpoint_url=moto_server)
    name = f"/test/logs-{next(_groups)}"
    client.create_log_group(logGroupName=name)
    client.create_log_stream(logGroupName=name, logStreamName="app")
    return Group(moto_server, name, client)


def connect(group: Group) -> None:
    queries.connect(Sources(outside=Outside(cloudwatch_log_groups=(group.name,), cloudwatch_url=group.url)))


@dataclass
class Said:
    """One answer of the local server: a body, or what it does to the connection instead."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    instead: Callable[[socket.socket], None] | None = None


def documented(name: str) -> Said:
    """An answer kept as a file, with where its form is documented."""
    kept = json.loads((ANSWERS / f"{name}.json").read_text())
    assert kept["source"].startswith("https://")
    return Said(kept["body"], kept["status"], kept["headers"])


class Store:
    """A real HTTP server on a free port that answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.say: Callable[[str, Any], Said] = lambda what, body: Said({})
        self.asked: list[tuple[str, Any, dict[str, str]]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                what = (self.headers.get("X-Amz-Target") or self.path).rpartition(".")[2]
                body = json.loads(text) if text else None
                store.asked.append((what, body, {name.lower(): value for name, value in self.headers.items()}))
                said = store.say(what, body)
                if said.instead is not None:
                    with contextlib.suppress(OSError):
                        said.instead(self.connection)
                    self.close_connection = True
                    return
                content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                self.send_response(said.status)
                for name, value in ({"Content-Type": "application/x-amz-json-1.1"} | said.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{")
    for _ in range(60):
        time.sleep(0.1)
        connection.sendall(b" ")


def half(connection: socket.socket) -> None:
    connection.sendall(
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"queryId": "x"'
    )


def silence(connection: socket.socket) -> None:
    time.sleep(3)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900000000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" " * 2**16)


def hung_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def cloudwatch(store: Store, *, timeout: float = 2.0) -> CloudWatchClient:
    return CloudWatchClient(("/g",), zone=ZONE, url=store.url, timeout=timeout, connect_timeout=1.0)


def elastic(store: Store, *, timeout: float = 2.0, key: str | None = "a2V5") -> ElasticsearchClient:
    return ElasticsearchClient(store.url, "logs-*", zone=ZONE, api_key=key, timeout=timeout)


def last(found: Iterator[Found]) -> Found:
    *_, end = found
    return end


# --- one form of a line -----------------------------------------------------------------------------------------------


def test_a_line_of_the_backend_of_the_seed_and_of_the_elastic_common_schema_are_one_form():
    backend = line({"level": "ERROR", "message": "m", "logger": "l", "trace_id": TRACE, "credit_id": "C1"}, START)
    seed = line(
        json.dumps({"levelname": "ERROR", "message": "m", "name": "l", "trace_id": TRACE, "credito_id": "C1"}), START
    )
    ecs = line(
        {"log": {"level": "error", "logger": "l"}, "message": "m", "trace": {"id": TRACE}, "credit_id": "C1"}, START
    )
    assert backend == seed == ecs
    assert backend["trace_id"] == TRACE
    assert backend["fields"] == ""


def test_the_frame_has_its_columns_and_the_configured_zone_also_when_it_is_empty():
    for rows in ([], [line({"message": "m"}, datetime(2026, 11, 25, 16, tzinfo=UTC))]):
        frame = lines_frame(rows, ZONE)
        assert list(frame.columns) == list(logs.COLUMNS)
        assert str(frame["time"].dt.tz) == "America/Mexico_City"
    assert frame["time"][0].isoformat() == "2026-11-25T10:00:00-06:00"


def test_a_line_that_is_no_json_is_its_own_message():
    for text in ("Traceback (most recent call last):", "{broken", "[1, 2]", "", "null"):
        made = line(text, START)
        assert made["message"] == text
        assert made["level"] == made["fields"] == ""


def test_what_no_column_has_is_kept_as_json_and_the_whole_line_can_be_had_again():
    frame = lines_frame(
        [line({"level": "warn", "message": "m", "duration_ms": 3500.125, "a": {"b": [1]}}, START)], ZONE
    )
    assert json.loads(frame["fields"][0]) == {"duration_ms": 3500.125, "a": {"b": [1]}}
    assert logs.whole(frame.iloc[0]) == {
        "timestamp": START.isoformat(),
        "level": "WARNING",
        "message": "m",
        "duration_ms": 3500.125,
        "a": {"b": [1]},
    }


PERSONAL = {
    "e-mail": "ana.lopez@example.com",
    "CURP": "LOOA850101MDFPRN08",
    "RFC": "LOOA850101AB1",
    "telephone": "+52 55 1234 5678",
    "card": "4111 1111 1111 1111",
    "token": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data_in_a_line_is_taken_out_wherever_it_stands(kind: str):
    value = PERSONAL[kind]
    raw = {
        "message": f"said {value} now",
        "note": value,
        "nested": {"deep": [value]},
        "request_id": value,
        "logger": value,
    }
    for made in (line(raw, START), line(json.dumps(raw), START), line(f"plain {value}", START)):
        assert value not in json.dumps(made, default=str)
        assert "[removed]" in made["message"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PERSONAL)), st.integers(7900, 8010))
def test_a_message_that_is_cut_does_not_show_half_of_it(kind: str, place: int):
    made = line({"message": "x " * (place // 2) + PERSONAL[kind]}, START)
    assert not any(PERSONAL[kind][:length] in made["message"] for length in range(8, len(PERSONAL[kind]) + 1))


def test_ids_stay_as_they_are_for_they_lead_on():
    ids = {"request_id": "550e8400-e29b-41d4-a716-446655440000", "trace_id": TRACE, "credit_id": "C0000001"}
    made = line({"message": "m", **ids}, START)
    assert {name: made[name] for name in ids} == ids


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_line_breaks_the_reading(raw: Any):
    made = line(json.dumps(raw), START)
    frame = lines_frame([made, line(raw if isinstance(raw, dict) else {"message": raw}, None)], ZONE)
    assert len(frame) == 2
    json.dumps(logs.whole(frame.iloc[0]))


def test_a_huge_line_is_shown_in_part_and_says_so():
    made = line(json.dumps({"message": "a" * 300_000, "level": "ERROR"}), START)
    assert len(made["message"]) < 9000
    assert "truncated" in made["fields"]


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"request_id": 'x" or "1" = "1'},
        {"trace_id": "a b"},
        {"credit_id": "x" * 129},
        {"integration": "neon\n| limit 1"},
        {"conductor_id": "ñ"},
        {"text": "two\nlines"},
        {"text": "x" * 201},
        {"text": "nul\0"},
        {"levels": ("LOUD",)},
        {"end": START},
        {"end": START + timedelta(days=63)},
        {"start": datetime(2026, 11, 25)},
    ],
)
def test_what_no_line_can_have_is_refused_in_a_sentence(bad: dict[str, Any]):
    with pytest.raises(SourceError) as caught:
        asked(**bad) if "start" not in bad else Question(bad["start"], START)
    assert caught.value.kind == "bad_parameter"
    assert caught.value.sentence.endswith(".")


words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60).filter(
    lambda text: "\ufeff" not in text
)
ids = st.from_regex(r"\A[A-Za-z0-9._:/@+=-]{1,40}\Z")
NASTY = ['"', "'", "\\", "/", "|", "`", "#", "(", "[", "*", "$", "{", '" or 1=1 | limit 1 #', "/ or /", "\\/", "a/i"]


def shape(text: str) -> list[str]:
    """The query without what stands in its texts, its regular expressions and the values asked for."""
    return ["·" if token.kind in {"string", "regex"} else token.text for token in insights._tokens(text)]


@settings(max_examples=150, deadline=None)
@given(words, ids, ids)
@example("x", "a", "b")
def test_no_input_changes_the_structure_of_an_insights_query(text: str, request: str, credit: str):
    for made in (query_text, lambda question: counts_text(question, 300)):
        usual = made(asked(text="x", request_id="r", credit_id="c", levels=("ERROR",)))
        asked_for = made(asked(text=text, request_id=request, credit_id=credit, levels=("ERROR",)))
        assert shape(asked_for) == shape(usual)
        # By hand as well, with no parser's help: the same lines with the same words around what was asked for.
        bare = re.sub(r'/\(\?i\)(?:[^/\\\n|"\'`#]|\\x[0-9A-F]{2})+/|"[A-Za-z0-9._:/@+=-]+"', "·", asked_for)
        assert bare == re.sub(r'/\(\?i\)x/|"[A-Za-z]+"', "·", usual)


@settings(max_examples=100, deadline=None)
@given(words, st.text(max_size=20), st.text(max_size=20))
def test_a_text_is_found_as_it_is_and_only_there(text: str, before: str, after: str):
    insight = query_text(asked(text=text))
    pattern = re.search(r"@message like /(.+?)/ or", insight)
    assert pattern
    assert re.search(pattern[1], before + text + after)
    assert bool(re.search(pattern[1], before + after)) == bool(
        re.search(re.escape(text), before + after, re.IGNORECASE)
    )


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts_find_their_line_in_the_store(group: Group, text: str):
    text = f"x{text}y"
    group.put(
        (START + SECOND, {"level": "INFO", "message": f"says {text} here"}), (START + SECOND, {"message": "other"})
    )
    connect(group)
    assert list(logs.lines(asked(text=text), ENGINEER)["message"]) == [f"says {text} here"]


def skeleton(body: Any) -> Any:
    """A search without the values in it."""
    if isinstance(body, dict):
        return {name: skeleton(value) for name, value in body.items()}
    return [skeleton(one) for one in body] if isinstance(body, list) else type(body).__name__


@settings(max_examples=150, deadline=None)
@given(words, ids)
def test_no_input_changes_the_structure_of_an_elasticsearch_query(text: str, request: str):
    for made in (search_body, lambda question: counts_body(question, 300)):
        usual = made(asked(text="x", request_id="r", levels=("ERROR",)))
        body = made(asked(text=text, request_id=request, levels=("ERROR",)))
        assert skeleton(json.loads(json.dumps(body))) == skeleton(usual)
        # Never as the words of a query language.
        assert "query_string" not in json.dumps(usual)
        filters = body["query"]["bool"]["filter"]
        assert filters[-1]["multi_match"]["query"] == text


# --- CloudWatch on moto's server --------------------------------------------------------------------------------------


def entry(level: str = "INFO", message: str = "m", **more: Any) -> dict[str, Any]:
    return {"level": level, "message": message, "logger": "conductores", **more}


def test_lines_come_newest_first_in_the_configured_zone(group: Group):
    group.put(*((START + n * SECOND, entry(message=f"m{n}", request_id=f"r{n}")) for n in range(5)))
    connect(group)
    frame = logs.lines(asked(), ENGINEER)
    assert list(frame["message"]) == ["m4", "m3", "m2", "m1", "m0"]
    assert frame["time"][0] == START + 4 * SECOND
    assert frame.attrs["counts"] == {
        "matched": 5,
        "scanned": 5,
        "scanned_bytes": frame.attrs["counts"]["scanned_bytes"],
        "at_least": False,
    }
    answer = queries.answer_of(frame)
    assert answer.source == "logs"
    assert answer.text.startswith("fields @timestamp, @message")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"levels": ("ERROR",)}, {"a"}),
        ({"levels": ("ERROR", "WARNING")}, {"a", "b"}),
        ({"text": "SLOW"}, {"b"}),
        ({"text": "/trips"}, {"b"}),
        ({"text": "año"}, {"c"}),
        ({"request_id": "req-1"}, {"a"}),
        ({"trace_id": TRACE}, {"a", "b"}),
        ({"integration": "geotab"}, {"b"}),
        ({"credit_id": "C1"}, {"a", "c"}),
        ({"application_id": "A1"}, {"c"}),
        ({"conductor_id": "D1"}, {"b"}),
        ({"credit_id": "C1", "levels": ("ERROR",)}, {"a"}),
        ({"request_id": "nobody"}, set()),
    ],
)
def test_each_filter_finds_its_lines(group: Group, wanted: dict[str, Any], found: set[str]):
    group.put(
        (START, entry("ERROR", "failed", mark="a", request_id="req-1", trace_id=TRACE, credit_id="C1")),
        (
            START,
            entry(
                "warn",
                "Geotab slow",
                mark="b",
                trace_id=TRACE,
                integration="geotab",
                endpoint="/trips",
                conductor_id="D1",
            ),
        ),
        (START, entry("INFO", "El año", mark="c", credito_id="C1", application_id="A1")),
        (START - 2 * HOUR, entry("ERROR", "before", mark="d", request_id="req-1")),
        (START + HOUR, entry("ERROR", "after", mark="e", request_id="req-1")),
    )
    connect(group)
    frame = logs.lines(asked(**wanted), ENGINEER)
    assert {json.loads(fields)["mark"] for fields in frame["fields"]} == found
    counted = logs.over_time(asked(**wanted), 600, ENGINEER)
    assert counted["lines"].sum() == len(found)


def test_more_lines_than_are_shown_are_counted_and_said(group: Group):
    group.put(*((START + n * SECOND, entry("ERROR" if n % 4 == 0 else "INFO", f"m{n}")) for n in range(LINES + 200)))
    connect(group)
    frame = logs.lines(asked(), ENGINEER)
    assert len(frame) == LINES
    assert frame["message"][0] == f"m{LINES + 199}"
    assert frame.attrs["notes"] == ("lines",)
    assert frame.attrs["counts"]["matched"] == LINES + 200
    counted = logs.over_time(asked(), 600, ENGINEER)
    assert counted["lines"].sum() == LINES + 200
    assert counted.groupby("level")["lines"].sum().to_dict() == {"ERROR": 300, "INFO": 900}
    assert counted["at"].min() == START


def test_lines_that_are_all_there_count_as_the_store_counts_them(group: Group):
    group.put(*((START + n * 97 * SECOND, entry(("ERROR", "info", "WARN")[n % 3])) for n in range(30)))
    connect(group)
    from_lines = logs.by_level(logs.lines(asked(), ENGINEER), asked(), 600)
    counted = logs.over_time(asked(), 600, ENGINEER)
    assert from_lines.to_dict("records") == counted.to_dict("records")


def test_days_of_lines_are_days_of_the_configured_zone(group: Group):
    late = START.replace(hour=23, minute=30)
    group.put((late, entry("ERROR")), (late + HOUR, entry("ERROR")))
    connect(group)
    start = START.replace(hour=0) - timedelta(days=5)
    counted = logs.over_time(asked(start, start + timedelta(days=10)), 86400, ENGINEER)
    days = [START.date(), START.date() + timedelta(days=1)]
    assert [(row.at.date(), row.lines) for row in counted.itertuples()] == [(day, 1) for day in days]


def test_a_chart_of_lines_covers_its_period_so_a_lone_stretch_is_as_wide_as_it_is(group: Group):
    group.put((START + 700 * SECOND, entry("ERROR")), (START + 701 * SECOND, entry("ERROR")))
    connect(group)
    question = asked(START, START + HOUR)
    counted = logs.over_time(question, 600, ENGINEER)
    every = logs.filled(counted, question, 600, START + timedelta(minutes=45))
    assert list(every["at"]) == [START + n * 600 * SECOND for n in range(5)]
    assert list(every["lines"]) == [0, 2, 0, 0, 0]
    assert every.attrs == counted.attrs
    assert logs.filled(counted.iloc[:0], question, 600, START + HOUR).empty
    # A question of the future has no period yet.
    assert len(logs.filled(counted, question, 600, START - HOUR)) == len(counted)


def test_many_large_lines_end_at_the_bound_of_bytes(group: Group):
    group.put(*((START + n * SECOND, entry(message="x" * 60_000)) for n in range(80)))
    connect(group)
    frame = logs.lines(asked(), ENGINEER)
    assert frame.attrs["notes"] == ("bytes",)
    assert 0 < len(frame) <= LINES_BYTES // 60_000


def test_only_engineers_see_logs_and_it_is_checked_where_they_are_asked(group: Group):
    connect(group)
    for roles in (frozenset(), frozenset({"analyst"}), frozenset({"executive", "analyst"})):
        for ask in (logs.lines, logs.search, lambda question, roles: logs.over_time(question, 60, roles)):
            with pytest.raises(SourceError, match="engineers only"):
                ask(asked(), roles)
    assert sources.source_states()["logs"].last_error is None


def test_a_search_that_runs_behind_the_page_ends_with_its_lines(group: Group):
    group.put((START, entry()))
    connect(group)
    search = logs.search(asked(), ENGINEER).wait(10)
    assert search.ended
    assert search.error is None
    assert search.found is not None
    assert search.found.total
    assert len(search.frame) == 1
    # Asked again at once: the same answer, whoever asks.
    again = logs.search(asked(), ENGINEER).wait(10)
    assert len(again.frame) == 1


def test_a_log_group_that_is_not_there_is_told_with_its_settings(moto_server: str):
    client = CloudWatchClient(("/nobody",), zone=ZONE, url=moto_server)
    with pytest.raises(SourceError, match="MIRADOR_CLOUDWATCH_LOG_GROUPS") as caught:
        last(client.search(asked()))
    assert caught.value.kind == "refused"


def test_no_credentials_is_a_sentence(moto_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    client = CloudWatchClient(("/g",), zone=ZONE, url=moto_server)
    with pytest.raises(SourceError, match="has no credentials"):
        client.ping()


def test_moto_answers_the_smallest_question(group: Group):
    connect(group)
    assert 0 < queries.probe("logs", 5) < 5


# --- CloudWatch in Amazon's documented form, from a local server: what moto does not do -------------------------------


def result(status: str, *messages: str, matched: int | None = None, scanned: int = 100) -> Said:
    rows = [
        [
            {"field": "@timestamp", "value": f"2026-11-25 16:00:{n:02d}.000"},
            {"field": "@message", "value": json.dumps(entry(message=message))},
            {"field": "@ptr", "value": f"ptr-{message}"},
        ]
        for n, message in enumerate(messages)
    ]
    counted = {"recordsMatched": float(len(rows) if matched is None else matched), "recordsScanned": float(scanned)}
    return Said({"status": status, "results": rows, "statistics": counted | {"bytesScanned": 2048.0}})


def running(store: Store, *polls: Said) -> list[str]:
    """A query that tells these one after the other, the last one for ever; gives what it was asked."""
    left = list(polls)
    done: list[str] = []

    def say(what: str, body: Any) -> Said:
        done.append(what)
        if what == "StartQuery":
            return Said({"queryId": "q-1"})
        if what == "StopQuery":
            return Said({"success": True})
        return left.pop(0) if len(left) > 1 else left[0]

    store.say = say
    return done


def test_lines_appear_while_amazons_documented_query_runs(store: Store):
    done = running(
        store,
        Said({"status": "Scheduled", "results": [], "statistics": {}}),
        result("Running", "a", matched=1, scanned=50),
        result("Running", "a", "b", matched=2, scanned=80),
        result("Complete", "a", "b", "c", matched=3, scanned=100),
    )
    seen = list(cloudwatch(store).search(asked()))
    assert [(len(one.frame), one.matched, one.scanned, one.ended) for one in seen] == [
        (0, None, None, False),
        (1, 1, 50, False),
        (2, 2, 80, False),
        (3, 3, 100, True),
    ]
    assert done == ["StartQuery", "GetQueryResults", "GetQueryResults", "GetQueryResults", "GetQueryResults"]
    started = store.asked[0][1]
    assert started["logGroupNames"] == ["/g"]
    assert started["startTime"] == START.timestamp()
    assert started["endTime"] == (START + HOUR).timestamp() - 1


def test_amazons_documented_query_is_stopped_when_the_viewer_stops_it(store: Store):
    done = running(store, result("Running", "a"))
    halt = threading.Event()
    found = []
    for one in cloudwatch(store).search(asked(), stopped=halt.is_set):
        found.append(one)
        halt.set()
    assert found[-1].notes == ("stopped",)
    assert list(found[-1].frame["message"]) == ["a"]
    assert done[-1] == "StopQuery"


def test_amazons_documented_query_is_stopped_when_nobody_waits_or_time_is_up(store: Store):
    done = running(store, result("Running", "a"))
    waiting = cloudwatch(store).search(asked())
    next(waiting)
    waiting.close()
    assert done[-1] == "StopQuery"
    began = time.monotonic()
    end = last(cloudwatch(store).search(asked(), seconds=0.5))
    assert end.notes == ("time",)
    assert len(end.frame) == 1
    # Without a bound it would never end; a busy machine is slow.
    assert time.monotonic() - began < 15
    assert done[-1] == "StopQuery"
    with pytest.raises(SourceError, match="narrow the period"):
        cloudwatch(store, timeout=0.5).over_time(asked(), 60)


def test_a_search_that_everybody_leaves_is_stopped_and_kept_by_nobody(store: Store):
    done = running(store, result("Running", "a"))
    queries.connect(Sources(outside=Outside(cloudwatch_log_groups=("/g",), cloudwatch_url=store.url)))
    first = logs.search(asked(), ENGINEER)
    second = logs.search(asked(), ENGINEER)
    assert second is first
    while first.found is None:
        time.sleep(0.02)
    first.leave()
    assert not first.wait(0.6).ended
    second.leave()
    assert first.wait(5).ended
    assert first.error is None
    assert first.found is not None
    assert first.found.notes == ("stopped",)
    assert done[-1] == "StopQuery"
    assert sources.source_states()["logs"].last_failure is None
    running(store, result("Complete", "a", "b"))
    assert len(logs.search(asked(levels=("INFO",)), ENGINEER).wait(5).frame) == 2


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout"])
def test_amazons_documented_query_that_ends_badly_is_a_sentence(store: Store, status: str):
    done = running(store, result("Running", "a"), result(status))
    found: list[Found] = []
    with pytest.raises(SourceError, match="CloudWatch Logs"):
        found.extend(cloudwatch(store).search(asked()))
    assert "StopQuery" not in done


def test_a_poll_that_fails_once_is_asked_again(store: Store):
    running(
        store,
        result("Running", "a"),
        Said({"__type": "ThrottlingException"}, 400),
        Said(b"", 503),
        result("Complete", "a"),
    )
    assert len(last(cloudwatch(store).search(asked())).frame) == 1


def test_polls_that_go_on_failing_end_the_search_and_what_was_found_stands(store: Store):
    done = running(store, result("Running", "a"), Said(b"", 503))
    queries.connect(Sources(outside=Outside(cloudwatch_log_groups=("/g",), cloudwatch_url=store.url)))
    search = logs.search(asked(), ENGINEER).wait(10)
    assert search.error is not None
    assert search.error.sentence == "CloudWatch Logs failed (HTTP 503)."
    assert search.found is not None
    assert list(search.found.frame["message"]) == ["a"]
    assert done[-1] == "StopQuery"


def sentence_in_time(store: Store, client: Any, said: tuple[Said, str, str]) -> str:
    answer, kind, words = said
    store.say = lambda what, body: answer
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        last(client.search(asked()))
    # Without a bound it would never end; a busy machine is slow.
    assert time.monotonic() - began < 15
    assert (caught.value.kind, caught.value.source) == (kind, "logs")
    assert words in caught.value.sentence
    assert "secret" not in caught.value.sentence
    return caught.value.sentence


AMAZON = [
    (
        Said({"__type": "AccessDeniedException", "message": "User arn:aws:iam::1:user/x secret"}, 400),
        "refused",
        "logs:StartQuery",
    ),
    (Said({"__type": "UnrecognizedClientException"}, 400), "refused", "does not let Mirador in"),
    (Said({"__type": "ResourceNotFoundException"}, 400), "refused", "MIRADOR_CLOUDWATCH_LOG_GROUPS"),
    (Said({"__type": "LimitExceededException"}, 400), "down", "as many queries as it may"),
    (Said({"__type": "ThrottlingException"}, 400), "down", "asked too often"),
    (Said({"__type": "MalformedQueryException"}, 400), "refused", "does not understand"),
    (Said({"__type": "InvalidParameterException"}, 400), "refused", "refused the question (HTTP 400)"),
    (Said(b"<html>secret</html>", 500), "down", "failed (HTTP 500)"),
    (Said(b"", 503), "down", "failed (HTTP 503)"),
    (Said(b"<html>Log in</html>"), "refused", "does not speak the API"),
    (Said(b"[1, 2]"), "refused", "does not speak the API"),
    (Said({"other": 1}), "refused", "does not speak the API"),
    (Said(instead=half), "down", "broke off"),
    (Said(instead=hung_up), "down", "CloudWatch Logs"),
    (Said(instead=flood), "too_large", "narrow the choice"),
    (Said(instead=trickle), "timeout", "has not answered in time"),
    (Said(instead=silence), "timeout", "has not answered in time"),
]


@pytest.mark.parametrize("said", AMAZON, ids=lambda one: one[2])
def test_whatever_goes_wrong_in_amazons_documented_form_is_a_sentence_in_time(
    store: Store, said: tuple[Said, str, str]
):
    client = cloudwatch(store, timeout=0.6)
    sentence_in_time(store, client, said)
    # The next one that is well is taken.
    running(store, result("Complete", "a"))
    assert len(last(client.search(asked())).frame) == 1


@pytest.mark.parametrize("results", [{"a": 1}, [[{"field": "x"}]], [3], "text"])
def test_results_that_are_none_are_garbage(store: Store, results: Any):
    running(store, Said({"status": "Complete", "results": results}))
    with pytest.raises(SourceError, match="does not speak the API"):
        last(cloudwatch(store).search(asked()))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_head_that_trickles_holds_cloudwatch_no_longer_than_its_bound(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
):
    """botocore bounds each read: a byte of a header a second would hold a page for hours."""
    url = server.url
    if tls:
        monkeypatch.setenv("AWS_CA_BUNDLE", behind_tls(server, tmp_path))
        url = url.replace("http://127.0.0.1", "https://localhost")

    client = CloudWatchClient(("/g",), zone=ZONE, url=url, timeout=0.6, connect_timeout=1.0)
    server.answer = trickling_head
    began = time.monotonic()
    with pytest.raises(SourceError, match="CloudWatch Logs has not answered in time") as caught:
        client.ping()
    # The server goes on for six seconds.
    assert time.monotonic() - began < 4
    assert (caught.value.kind, caught.value.source) == ("timeout", "logs")
    # The next answer that is well is taken.
    server.answer = said(b'{"queries": []}', headers="Content-Type: application/x-amz-json-1.1\r\n")
    assert client.ping() < 4
    client.close()


def test_nobody_there_is_a_sentence():
    client = CloudWatchClient(("/g",), zone=ZONE, url="http://127.0.0.1:9", connect_timeout=1.0)
    with pytest.raises(SourceError, match="cannot be reached"):
        client.ping()
    other = ElasticsearchClient("http://127.0.0.1:9", "logs", zone=ZONE)
    with pytest.raises(SourceError, match="Elasticsearch cannot be reached"):
        other.ping()


# --- Elasticsearch and OpenSearch in their documented form, from a local server ---------------------------------------


def test_a_documented_answer_of_elasticsearch_is_the_same_form_of_lines(store: Store):
    store.say = lambda what, body: documented("search")
    end = last(elastic(store).search(asked(KEPT)))
    assert end.total
    assert end.matched == 2
    assert end.scanned is None
    first, second = (row for _, row in end.frame.iterrows())
    assert first["time"].isoformat() == "2026-11-25T10:00:03.250000-06:00"
    assert first["message"] == "Payment processing failed: Conekta answered 503 for [removed]"
    assert (first["level"], first["credit_id"], first["trace_id"]) == ("ERROR", "C0000001", TRACE)
    assert json.loads(first["fields"]) == {"duration_ms": 3500.25, "attempt": 3}
    assert (second["level"], second["logger"], second["trace_id"]) == ("WARNING", "conductores.geotab", TRACE)
    path, body, headers = store.asked[0]
    assert path.startswith("/logs-%2A/_search") or path.startswith("/logs-*/_search")
    assert headers["authorization"] == "ApiKey a2V5"
    assert body["query"]["bool"]["filter"][0]["range"]["@timestamp"]["gte"] == "2026-11-25T16:00:00.000Z"


def test_documented_counts_of_elasticsearch_are_lines_by_level(store: Store):
    store.say = lambda what, body: documented("counts")
    frame = elastic(store).over_time(asked(), 1800)
    assert [(row.at.isoformat(), row.level, row.lines) for row in frame.itertuples()] == [
        ("2026-11-25T10:00:00-06:00", "", 1),
        ("2026-11-25T10:00:00-06:00", "ERROR", 3),
        ("2026-11-25T10:00:00-06:00", "INFO", 7),
        ("2026-11-25T10:00:00-06:00", "WARNING", 1),
        ("2026-11-25T10:30:00-06:00", "INFO", 2),
    ]


def pages(total: int, *, moved: int = 0) -> Callable[[str, Any], Said]:
    """An index of that many lines; each page begins `moved` lines early, as when lines are written meanwhile."""
    usual = documented("search")

    def say(what: str, body: Any) -> Said:
        first = max(body["from"] - moved, 0)
        hits = [
            {
                "_index": "i",
                "_id": str(n),
                "_source": {"@timestamp": (START + HOUR - n * SECOND).isoformat(), "message": f"m{n}"},
            }
            for n in range(first, min(first + body["size"], total))
        ]
        whole = dict(usual.body, hits={"total": {"value": total, "relation": "eq"}, "max_score": None, "hits": hits})
        return Said(whole, 200, usual.headers)

    return say


def test_pages_in_elasticsearchs_documented_form_come_one_by_one_up_to_the_bound(store: Store):
    store.say = pages(600)
    seen = list(elastic(store).search(asked()))
    assert [(len(one.frame), one.matched, one.ended) for one in seen] == [
        (250, 600, False),
        (500, 600, False),
        (600, 600, True),
    ]
    store.say = pages(5000)
    end = last(elastic(store).search(asked()))
    assert (len(end.frame), end.matched, end.notes) == (LINES, 5000, ("lines",))
    store.say = pages(LINES)
    assert last(elastic(store).search(asked())).total


def test_a_line_that_comes_on_two_pages_is_shown_once(store: Store):
    store.say = pages(600, moved=3)
    end = last(elastic(store).search(asked()))
    assert end.frame["message"].is_unique


def test_a_search_of_pages_is_stopped_and_ends_in_time(store: Store):
    store.say = pages(900)
    assert last(elastic(store).search(asked(), stopped=lambda: True)).notes == ("stopped",)
    usual = pages(900)

    def slowly(what: str, body: Any) -> Said:
        time.sleep(0.2)
        return usual(what, body)

    store.say = slowly
    assert last(elastic(store).search(asked(), seconds=0.3)).notes == ("time",)


def test_shards_that_failed_in_the_documented_form_are_told(store: Store):
    store.say = lambda what, body: documented("search_parts")
    assert last(elastic(store).search(asked())).notes == ("parts",)


def test_an_index_without_lines_is_an_empty_frame(store: Store):
    store.say = lambda what, body: documented("search_nothing")
    end = last(elastic(store).search(asked()))
    assert end.total
    assert end.frame.empty


def opensearch(what: str, body: Any) -> Said:
    return documented("opensearch_info") if what == "/" else documented("opensearch_search")


def test_opensearch_by_its_documented_answers_is_asked_by_its_own_client(store: Store):
    def say(what: str, body: Any) -> Said:
        if "compatible-with" in store.asked[-1][2].get("content-type", ""):
            return documented("opensearch_unknown_form")
        return opensearch(what, body)

    store.say = say
    client = elastic(store, key="mirador:secret")
    assert len(last(client.search(asked())).frame) == 1
    assert client.name == "OpenSearch"
    # From then on it is asked at once, and let in the same way.
    before = len(store.asked)
    assert client.ping() > 0
    assert len(store.asked) == before + 1
    assert all(headers["authorization"].startswith("Basic ") for _, _, headers in store.asked)
    assert "opensearch-py" in store.asked[-1][2]["user-agent"]


def test_a_server_that_only_does_not_say_that_it_is_elasticsearch_is_asked_whether_it_is_opensearch(store: Store):
    store.say = opensearch
    assert len(last(elastic(store).search(asked())).frame) == 1
    store.say = lambda what, body: Said({"hits": {"hits": []}}, 200, {"Content-Type": "application/json"})
    with pytest.raises(SourceError, match="does not speak the API of Elasticsearch"):
        last(elastic(store).search(asked()))


ELASTIC = [
    (documented("unauthorized"), "refused", "does not let Mirador in (HTTP 401)"),
    (documented("refused"), "refused", "refused the question (HTTP 400)"),
    (Said({}, 404), "refused", "does not know"),
    (Said({}, 429), "down", "asked too often"),
    (Said(b"secret", 500), "down", "failed (HTTP 500)"),
    (Said({}, 503), "down", "failed (HTTP 503)"),
    (Said(b"", 302, {"Location": "http://127.0.0.1:9/login"}), "refused", "sends elsewhere"),
    (Said(b"<html>Log in</html>", 200, {"Content-Type": "text/html"}), "refused", "does not speak the API"),
    (Said(b'{"hits": [', 200, documented("search").headers), "refused", "does not speak the API"),
    (Said({"hits": 3}, 200, documented("search").headers), "refused", "does not speak the API"),
    (Said([1], 200, documented("search").headers), "refused", "does not speak the API"),
    (Said(instead=half), "down", "broke off"),
    (Said(instead=hung_up), "down", "Elasticsearch"),
    (Said(instead=flood), "too_large", "narrow the choice"),
    (Said(instead=trickle), "timeout", "has not answered in time"),
    (Said(instead=silence), "timeout", "has not answered in time"),
]


@pytest.mark.parametrize("said", ELASTIC, ids=lambda one: one[2])
def test_whatever_goes_wrong_in_elasticsearchs_documented_form_is_a_sentence_in_time(
    store: Store, said: tuple[Said, str, str]
):
    client = elastic(store, timeout=0.6)
    assert "a2V5" not in sentence_in_time(store, client, said)
    store.say = lambda what, body: documented("search")
    assert len(last(client.search(asked())).frame) == 2


def test_opensearch_that_fails_is_told_by_its_own_name(store: Store):
    store.say = opensearch
    client = elastic(store, timeout=0.6)
    client.ping()
    for one, _, words in ELASTIC:
        if one.headers.get("X-elastic-product") or one.status == 302:
            continue
        store.say = lambda what, body, one=one: one
        with pytest.raises(SourceError) as caught:
            last(client.search(asked()))
        assert words.replace("Elasticsearch", "OpenSearch") in caught.value.sentence


def test_which_store_is_asked_is_said_by_the_settings():
    both = Outside(cloudwatch_log_groups=("/g",), elasticsearch_url="http://127.0.0.1:9")
    bounds = Bounds(ZONE)
    assert isinstance(make_client("logs", both, bounds), CloudWatchClient)
    alone = Outside(elasticsearch_url="http://127.0.0.1:9")
    assert isinstance(make_client("logs", alone, bounds), ElasticsearchClient)
    with pytest.raises(SourceError, match="MIRADOR_CLOUDWATCH_LOG_GROUPS or MIRADOR_ELASTICSEARCH_URL"):
        make_client("logs", Outside(), bounds)


# --- the page as it is drawn ------------------------------------------------------------------------------------------

PAGES = Path(__file__).resolve().parent.parent / "pages"
SCRIPT = f"""
import streamlit as st
names = ["logs", "integrations", "traces", "thread", "credit", "conductor"]
from pathlib import Path
pages = [Path("{PAGES}") / f"{{name}}.py" for name in names]
st.navigation([st.Page(page, url_path=page.stem) for page in pages if page.is_file()], position="hidden").run()
"""


def page(**asked: Any) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_string(SCRIPT, default_timeout=40)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def ended(app: AppTest) -> AppTest:
    """The page once its search has ended."""
    until = time.monotonic() + 20
    while not app.session_state["logs:search"].ended:
        assert time.monotonic() < until
        time.sleep(0.05)
    return app.run()


def told_on(app: AppTest) -> str:
    found = [*app.title, *app.markdown, *app.caption, *app.warning, *app.error, *app.info, *app.code]
    return "\n".join(str(one.value) for one in found)


@pytest.fixture
def recent(group: Group) -> datetime:
    now = datetime.now(UTC).replace(microsecond=0)
    group.put(
        (now - 60 * SECOND, entry("ERROR", "Payment failed for ana@example.com", request_id="req-1", trace_id=TRACE)),
        (now - 50 * SECOND, entry("INFO", "Credit approved", request_id="req-2", credit_id="C0000001")),
        (now - 40 * SECOND, entry("WARNING", "Geotab slow", request_id="req-1", integration="geotab")),
    )
    connect(group)
    return now


def test_the_page_without_a_store_says_how_to_name_one():
    queries.connect(Sources())
    app = page()
    assert not app.exception
    assert "No logs are configured: set MIRADOR_CLOUDWATCH_LOG_GROUPS or MIRADOR_ELASTICSEARCH_URL." in told_on(app)


def test_the_page_shows_what_was_found_without_personal_data(recent: datetime):
    app = ended(page())
    assert not app.exception
    assert "3 lines match · 3 lines read" in told_on(app)
    (table,) = app.dataframe
    assert list(table.value["message"]) == ["Geotab slow", "Credit approved", "Payment failed for [removed]"]
    assert "ana@example.com" not in told_on(app)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"level": "ERROR"}, 1),
        ({"request": "req-1"}, 2),
        ({"trace": TRACE}, 1),
        ({"credit": "C0000001"}, 1),
        ({"integration": "geotab"}, 1),
        ({"text": "APPROVED"}, 1),
        ({"range": "1h", "request": "req-1", "level": "WARNING"}, 1),
    ],
)
def test_a_link_opens_what_it_names(recent: datetime, asked: dict[str, str], found: int):
    app = ended(page(**asked))
    assert not app.exception
    assert len(app.dataframe[0].value) == found


def test_a_link_with_an_exact_window_shows_that_window_and_a_way_out(recent: datetime):
    around = {"from": (recent - 55 * SECOND).isoformat(), "to": (recent - 45 * SECOND).isoformat()}
    app = ended(page(**around))
    assert list(app.dataframe[0].value["message"]) == ["Credit approved"]
    app.button(key="window:leave").click().run()
    assert len(ended(app).dataframe[0].value) == 3
    for bad in ({"from": "2026-01-01Tx", "to": "y"}, {"from": around["to"], "to": around["from"]}):
        app = page(**bad)
        assert not app.exception
        assert "window of time that cannot be shown" in app.toast[0].value
        assert "from" not in app.query_params


def test_what_cannot_be_searched_for_is_a_sentence_and_stays_in_its_field(recent: datetime):
    app = page(request='x" or 1')
    assert "An id holds only letters" in told_on(app)
    assert app.text_input(key="request").value == 'x" or 1'
    app.text_input(key="request").set_value("req-2").run()
    assert len(ended(app).dataframe[0].value) == 1


def test_nothing_found_says_so(recent: datetime):
    app = ended(page(request="nobody"))
    assert "No line matches" in told_on(app)
    assert not app.dataframe


def test_a_store_that_is_down_is_a_sentence_and_a_way_to_ask_again(store: Store):
    queries.connect(Sources(outside=Outside(cloudwatch_log_groups=("/g",), cloudwatch_url=store.url)))
    store.say = lambda what, body: Said(b"", 503)
    app = ended(page())
    assert not app.exception
    assert "CloudWatch Logs failed (HTTP 503)." in told_on(app)
    running(store, result("Complete", "a"))
    # A question that has just failed is not asked again within two seconds.
    time.sleep(2.1)
    app.button(key="logs:again-button").click().run()
    assert len(ended(app).dataframe[0].value) == 1


def test_a_search_that_runs_shows_what_it_has_and_can_be_stopped(store: Store):
    queries.connect(Sources(outside=Outside(cloudwatch_log_groups=("/g",), cloudwatch_url=store.url)))
    done = running(store, result("Running", "a", matched=1, scanned=50))
    app = page()
    assert "Searching…" in told_on(app)
    while app.session_state["logs:search"].found is None:
        time.sleep(0.02)
    app.run()
    assert "1 line matches · 50 lines read" in told_on(app)
    assert list(app.dataframe[0].value["message"]) == ["a"]
    app.button(key="logs:stop").click().run()
    assert "You stopped the search" in told_on(app)
    assert list(app.dataframe[0].value["message"]) == ["a"]
    assert "StopQuery" in done


def test_viewers_without_the_role_are_shown_no_log(recent: datetime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.auth.LOCAL", Viewer("somebody", frozenset({"analyst"})))
    app = page(request="req-1")
    assert "engineers only" in told_on(app)
    assert not app.dataframe
    assert "logs:search" not in app.session_state


def test_each_text_of_the_page_and_of_its_sources_has_its_spanish():
    components.set_default_language("es")
    for sentence in (
        "No logs are configured: set MIRADOR_CLOUDWATCH_LOG_GROUPS or MIRADOR_ELASTICSEARCH_URL.",
        *(f"{name} has not answered in time." for name in ("CloudWatch Logs", "Elasticsearch", "OpenSearch")),
        *(f"{name} failed (HTTP 503)." for name in ("CloudWatch Logs", "Elasticsearch", "OpenSearch")),
        logs.DESCRIPTION,
        logs.COUNTS_DESCRIPTION,
    ):
        assert components._(sentence) != sentence
    for module in ("pages/logs.py", "components/window.py"):
        for call in ast.walk(ast.parse((PAGES.parent / module).read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_":
                for text in call.args:
                    if isinstance(text, ast.Constant):
                        assert components._(text.value) != text.value, text.value


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="no Chromium on this machine")
def test_a_line_opens_to_all_of_it_and_leads_to_the_other_lines_of_its_request(
    group: Group, recent: datetime, tmp_path: Path
):
    env = {"MIRADOR_CLOUDWATCH_LOG_GROUPS": group.name, "MIRADOR_CLOUDWATCH_URL": group.url}
    with serve(tmp_path, env) as dashboard, chromium() as browser, viewer(browser) as window:
        window.open(f"{dashboard.url}/logs?lang=es&level=ERROR", timeout=60)
        window.wait_for_text("Coincide 1 línea")
        window.drawn()
        # The table is a canvas: its first row is chosen at the left edge.
        window.page.get_by_test_id("stDataFrame").first.click(position={"x": 15, "y": 55})
        window.wait_for_text("Payment failed for [removed]")
        window.wait_for_text("Todas las líneas de esta petición")
        window.page.get_by_text("Todas las líneas de esta petición").click()
        window.wait_for_text("Coinciden 2 líneas")
        assert "request=req-1" in window.page.url
        assert "level=" not in window.page.url
        window.assert_clean()
