"""Traces: Jaeger's API in its documented form, the demo's store with real spans, what is computed of a trace, the page.

No Jaeger was asked: what it answers here are files in the form that it documents (`tests/answers/jaeger`), given out by
a server on this machine. The tests that read them say so. The demo's trace store takes real spans and answers alike.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from app.auth import Viewer
from components.waterfall import service_map, trace_scatter, waterfall
from demo.traces import TraceServer
from queries import Outside, SourceError, Sources, traces
from queries.traces import TraceSearch
from queries.traces_client import MOST_SPANS, JaegerClient
from tests.answering import Server, path_of, query_of, said
from tests.dashboard import chromium, chromium_path, serve, viewer

ANSWERS = Path(__file__).parent / "answers" / "jaeger"
PAGES = Path(__file__).resolve().parent.parent / "pages"
ZONE = ZoneInfo("America/Mexico_City")
TOKEN = "jaeger-token-that-nobody-reads"
ENGINEER = frozenset({"engineer"})
NOW = datetime(2026, 11, 25, 12, tzinfo=ZONE)
DAY = TraceSearch("conductores-backend", NOW - timedelta(hours=24), NOW)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRETS = ("ana.perez", "4111")
SCRIPT = f"""
import streamlit as st
names = ("traces", "errors", "logs", "thread", "integrations")
st.navigation([st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in names], position="hidden").run()
"""


def answer(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


class Documented(Server):
    """Gives out the documented answers by path."""

    def _one(self, connection: Any) -> None:
        with connection:
            request = connection.recv(65536)
            self.asked.append(request)
            path = urlsplit(path_of(request)).path
            if path.startswith("/api/traces/") and not path.endswith(TRACE):
                said(answer("not_found.json"), "404 Not Found")(connection)
                return
            name = {
                "/api/services": "services.json",
                "/api/services/conductores-backend/operations": "operations.json",
                "/api/traces": "traces.json",
                f"/api/traces/{TRACE}": "trace.json",
                "/api/dependencies": "dependencies.json",
            }.get(path)
            (said(answer(name)) if name else said(b'{"data": null}'))(connection)


@pytest.fixture
def documented() -> Iterator[Documented]:
    server = Documented()
    yield server
    queries.disconnect()
    server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    queries.disconnect()
    server.close()


def jaeger(server: Any, **more: Any) -> JaegerClient:
    return JaegerClient(server.url, TOKEN, zone=ZONE, **{"timeout": 1.0, **more})


def connected(server: Any) -> None:
    queries.connect(Sources(outside=Outside(jaeger_url=server.url), query_timeout=2.0))


# --- Jaeger -----------------------------------------------------------------------------------------------------------


def test_by_jaegers_documented_form_services_and_operations_are_named_in_order(documented: Documented):
    client = jaeger(documented)
    assert list(client.services()["service"]) == ["conductores-backend", "conekta-proxy", "notifier"]
    assert list(client.operations("conductores-backend")["operation"]) == [
        "GET /credits/{credit_id}",
        "POST /webhooks/conekta",
    ]
    assert list(client.operations("a/b ñ")["operation"]) == []
    assert path_of(documented.asked[-1]) == "/api/services/a%2Fb%20%C3%B1/operations"
    assert f"Authorization: Bearer {TOKEN}".encode() in documented.asked[0]


def test_by_jaegers_documented_form_a_search_asks_in_its_units(documented: Documented):
    search = TraceSearch(
        "conductores-backend", NOW - timedelta(hours=1), NOW, operation="POST /webhooks/conekta",
        tags=(("error", "true"), ("integration", "conekta")), shortest_ms=0.5, longest_ms=2000, limit=9000,
    )  # fmt: skip
    jaeger(documented).search(search)
    asked = query_of(documented.asked[0])
    assert asked["end"] == [str(int(NOW.timestamp()) * 1_000_000)]
    assert int(asked["end"][0]) - int(asked["start"][0]) == 3_600_000_000
    assert (asked["minDuration"], asked["maxDuration"]) == (["500us"], ["2000000us"])
    assert json.loads(asked["tags"][0]) == {"error": "true", "integration": "conekta"}
    assert asked["operation"] == ["POST /webhooks/conekta"]
    # More than Jaeger gives is not asked for.
    assert asked["limit"] == ["1500"]


def test_by_jaegers_documented_form_a_search_tells_each_trace_newest_first(documented: Documented):
    frame = jaeger(documented).search(DAY)
    one = frame.iloc[0]
    assert (one["trace_id"], one["service"], one["operation"]) == (
        TRACE, "conductores-backend", "POST /webhooks/conekta",
    )  # fmt: skip
    # From the first begin to the last end: the notification ends last.
    assert one["duration_ms"] == 690.0
    assert (one["spans"], one["services"], one["errors"], one["error"]) == (7, 3, 3, True)
    assert one["at"] == datetime.fromtimestamp(1795624510, ZONE)
    assert not frame["error"].iloc[1]


def test_by_jaegers_documented_form_a_trace_is_a_tree_in_order_of_time(documented: Documented):
    spans = jaeger(documented).trace(TRACE)
    assert list(spans["operation"]) == [
        "POST /webhooks/conekta", "SELECT bi.payments", "POST /charges", "charge", "INSERT bi.integration_calls",
        "notify", "orphan",
    ]  # fmt: skip
    assert list(spans["depth"]) == [0, 1, 1, 2, 1, 1, 0]
    assert list(spans["parent"]) == [-1, 0, 0, 2, 0, 0, -1]
    assert list(spans["error"]) == [True, False, True, True, False, False, False]
    assert bool(spans["follows"].iloc[5])
    assert (spans.attrs["spans"], spans.attrs["orphans"], spans.attrs["notes"]) == (7, 1, ["some trace warning"])
    assert list(traces.has_warnings(spans)) == [False, False, False, True, False, False, False]


def test_by_jaegers_documented_form_a_trace_that_it_does_not_have_is_empty_and_no_failure(documented: Documented):
    assert jaeger(documented).trace("00ff").empty
    connected(documented)
    assert traces.trace("00ff", ENGINEER).empty
    assert queries.source_states()["traces"].up is not False


def test_by_jaegers_documented_form_a_span_is_told_without_personal_data(documented: Documented):
    spans = jaeger(documented).trace(TRACE)
    told = [traces.details(spans, span_id) for span_id in spans["span_id"]]
    words = json.dumps(told, default=str)
    for secret in SECRETS:
        assert secret not in words
    charge = traces.details(spans, "00000000000000a3")
    assert charge is not None
    assert charge["tags"]["integration"] == "conekta"
    assert charge["process"] == {"host.name": "web1"}
    assert charge["logs"][0]["offset_ms"] == pytest.approx(279.0)
    assert "[removed]" in charge["logs"][0]["fields"]["exception.message"]
    assert traces.details(spans, "nobody") is None


def test_by_jaegers_documented_form_dependencies_are_the_map_of_services(documented: Documented):
    edges = jaeger(documented).dependencies(NOW - timedelta(hours=24), NOW)
    asked = query_of(documented.asked[0])
    assert asked == {"endTs": [str(int(NOW.timestamp()) * 1000)], "lookback": ["86400000"]}
    nodes, links = traces.service_map(edges)
    column = dict(zip(nodes["service"], nodes["column"], strict=True))
    # The ring (the mailer calls back) does not stop the map.
    assert column["conductores-backend"] < column["conekta-proxy"]
    assert set(column) == {"conductores-backend", "conekta-proxy", "notifier", "mailer"}
    assert len(links) == 4
    assert service_map(nodes, links, title="Map").chart.to_dict()


def test_each_service_of_the_map_has_a_row_of_its_own_below_one_that_calls_it():
    calls = [("app", "gateway", 90), ("web", "gateway", 10), ("gateway", "backend", 100), ("backend", "conekta", 40)]
    calls += [("backend", "neon", 60), ("neon", "books", 60), ("conekta", "books", 40), ("neon", "backend", 5)]
    nodes, links = traces.service_map(pd.DataFrame(calls, columns=["parent", "child", "calls"]))
    assert nodes["row"].tolist() == list(range(7))
    # An outline, the most called first; who else begins stands above whom it calls.
    assert nodes["service"].tolist() == ["app", "web", "gateway", "backend", "neon", "books", "conekta"]
    assert nodes["column"].tolist() == [0, 0, 1, 2, 3, 4, 3]
    assert nodes.set_index("service").loc[["backend", "books"], "callers"].tolist() == [2, 2]
    assert links[["x", "y"]].iloc[0].tolist() == [0, 0]
    svg = vl_convert.vegalite_to_svg({**service_map(nodes, links, title="Map").chart.to_dict(), "width": 300})
    assert all(name in svg for name in ("conekta · 40", "gateway<", "books<"))


@pytest.mark.parametrize("trace_id", ["", "xyz", "../services", "a" * 33, "4bf9?x=1"])
def test_what_is_no_id_of_a_trace_is_told_before_anything_is_asked(documented: Documented, trace_id: str):
    with pytest.raises(SourceError, match="not the id of a trace") as caught:
        jaeger(documented).trace(trace_id)
    assert caught.value.kind == "bad_parameter"
    assert documented.asked == []


# --- whatever goes wrong ----------------------------------------------------------------------------------------------

WRONG = [
    (said(b"{}", "401 Unauthorized"), "refused", "check its token"),
    (said(b'{"errors": [{"msg": "secret"}]}', "400 Bad Request"), "refused", "HTTP 400"),
    (said(b"", "429 Too Many Requests"), "down", "asked too often"),
    (said(b"secret", "500 Oops"), "down", "failed (HTTP 500)"),
    (said(b"<html>secret</html>"), "refused", "does not speak the API"),
    (said(b"[]"), "refused", "does not speak the API"),
    (said(b'{"data": {}}'), "refused", "does not speak the API"),
    (said(b'{"data": [{"secret": 1}]}'), "refused", "does not speak the API"),
    (lambda c: c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"data"'), "down", "broke off"),
    (lambda c: time.sleep(3), "timeout", "has not answered in time"),
]
ASKS: dict[str, Callable[[JaegerClient], Any]] = {
    "search": lambda client: client.search(DAY),
    "trace": lambda client: client.trace(TRACE),
    "dependencies": lambda client: client.dependencies(DAY.start, DAY.end),
}


@pytest.mark.parametrize(("wrong", "kind", "words"), WRONG, ids=[f"{n}-{w[2]}" for n, w in enumerate(WRONG)])
@pytest.mark.parametrize("ask", ASKS)
def test_each_failure_is_a_sentence_in_time(server: Server, ask: str, wrong: Any, kind: str, words: str):
    server.answer = wrong
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        ASKS[ask](jaeger(server, timeout=0.4))
    assert time.monotonic() - began < 2
    assert (caught.value.kind, caught.value.source) == (kind, "traces")
    assert words in caught.value.sentence
    assert "secret" not in caught.value.sentence
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"data": null}', b'{"data": []}'])
def test_nothing_is_an_empty_frame(server: Server, body: bytes):
    server.answer = said(body)
    client = jaeger(server)
    assert client.services().empty
    assert client.search(DAY).empty
    assert client.trace(TRACE).empty
    nodes, links = traces.service_map(client.dependencies(DAY.start, DAY.end))
    assert nodes.empty
    assert links.empty


def test_a_span_without_what_it_must_have_is_garbage(server: Server):
    whole = json.loads(answer("trace.json"))
    for name in ("spanID", "startTime", "duration", "operationName", "traceID"):
        broken = json.loads(json.dumps(whole))
        del broken["data"][0]["spans"][2][name]
        server.answer = said(json.dumps(broken).encode())
        with pytest.raises(SourceError, match="does not speak the API"):
            jaeger(server).trace(TRACE)


def test_an_answer_that_is_too_large_says_to_narrow_the_choice(server: Server):
    server.answer = said(b'{"data": [' + b" " * (17 * 2**20) + b"]}")
    with pytest.raises(SourceError, match="narrow the choice") as caught:
        jaeger(server, timeout=5.0).search(DAY)
    assert caught.value.kind == "too_large"


def test_who_is_no_engineer_is_told_so_before_anything_is_asked(documented: Documented):
    connected(documented)
    for ask in (
        lambda: traces.search(DAY, {"analyst"}),
        lambda: traces.trace(TRACE, ()),
        lambda: traces.services({"executive"}),
        lambda: traces.operations("a", ()),
        lambda: traces.dependencies(DAY.start, DAY.end, ()),
    ):
        with pytest.raises(SourceError, match="engineers only"):
            ask()
    assert documented.asked == []


def test_after_a_failure_the_source_recovers(server: Server):
    connected(server)
    server.answer = said(b"", "503 Busy")
    with pytest.raises(SourceError):
        traces.search(DAY, ENGINEER)
    server.answer = said(answer("traces.json"))
    until = time.monotonic() + 8
    found = None
    while found is None and time.monotonic() < until:
        try:
            found = traces.search(DAY, ENGINEER)
        except SourceError:
            time.sleep(0.2)
    assert found is not None
    assert len(found) == 2


# --- what is computed of a trace --------------------------------------------------------------------------------------

Row = tuple[str, str, float, float]


def tree(rows: Sequence[Row], **columns: Any) -> pd.DataFrame:
    """Spans of (id, parent, begin, duration) in milliseconds, as a client would give them in this order."""
    ids = [row[0] for row in rows]
    parents = [ids.index(row[1]) if row[1] in ids else -1 for row in rows]
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    frame = pd.DataFrame(
        {
            "span_id": ids,
            "parent_id": [row[1] for row in rows],
            "parent": parents,
            "depth": depths,
            "service": "a",
            "operation": ids,
            "kind": "",
            "at": pd.to_datetime([row[2] for row in rows], unit="ms", utc=True),
            "offset_ms": [float(row[2]) for row in rows],
            "duration_ms": [float(row[3]) for row in rows],
            "error": False,
            "follows": False,
            "warnings": "[]",
        }
    )
    return frame.assign(**columns)


def path_words(spans: pd.DataFrame) -> list[tuple[str, float, float]]:
    path = traces.critical_path(spans)
    return [(spans["span_id"].iloc[row], begin, end) for row, begin, end in path.itertuples(index=False)]


def test_the_critical_path_goes_through_the_child_that_ended_last():
    spans = tree([("r", "", 0, 100), ("x", "r", 10, 30), ("y", "r", 20, 60), ("z", "y", 25, 10)])
    assert path_words(spans) == [
        ("r", 0, 20), ("y", 20, 25), ("z", 25, 35), ("y", 35, 80), ("r", 80, 100),
    ]  # fmt: skip


def test_what_follows_and_what_outlives_its_parent_does_not_lengthen_the_path():
    spans = tree([("r", "", 0, 100), ("late", "r", 90, 500), ("queue", "r", 10, 80)], follows=[False, False, True])
    assert path_words(spans) == [("r", 0, 90), ("late", 90, 100)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=25))
@settings(max_examples=150, deadline=None)
def test_the_critical_path_covers_its_root_once_without_a_gap(told: list[tuple[int, int, int]]):
    rows: list[Row] = [("0", "", 0, 100)]
    rows += [(str(n + 1), str(parent % (n + 1)), begin, length) for n, (parent, begin, length) in enumerate(told)]
    path = traces.critical_path(tree(rows))
    assert path["from_ms"].iloc[0] == 0
    assert path["to_ms"].iloc[-1] == 100
    assert (path["from_ms"].iloc[1:].to_numpy() == path["to_ms"].iloc[:-1].to_numpy()).all()
    assert (path["to_ms"] > path["from_ms"]).all()


def test_a_deep_trace_needs_no_recursion():
    rows: list[Row] = [("0", "", 0, 5000)]
    rows += [(str(n), str(n - 1), n * 0.1, 5000 - n * 0.2) for n in range(1, 3000)]
    spans = tree(rows)
    path = traces.critical_path(spans)
    assert len(path) > 3000
    assert len(traces.rows_shown(spans, path)) == traces.MOST_ROWS


def test_a_call_received_before_it_was_sent_tells_of_two_clocks(documented: Documented):
    skews = traces.clock_skews(jaeger(documented).trace(TRACE))
    assert skews.to_dict("records") == [
        {"caller": "conductores-backend", "called": "conekta-proxy", "behind_ms": 12.0, "spans": 1}
    ]
    assert traces.clock_skews(tree([("r", "", 0, 9), ("x", "r", 0.5, 3)])).empty


def test_a_large_trace_folds_what_tells_least_and_opens_what_is_asked_for():
    rows: list[Row] = [("r", "", 0, 1000)]
    for branch in range(30):
        rows.append((f"b{branch}", "r", branch, 500 - branch))
        rows += [(f"b{branch}.{leaf}", f"b{branch}", branch, 10) for leaf in range(20)]
    spans = tree(rows)
    spans.loc[spans["span_id"] == "b29.19", "error"] = True
    path = traces.critical_path(spans)
    shown = traces.rows_shown(spans, path, most=50)
    assert len(shown) == 50
    assert {"r", "b29", "b29.19"} <= set(shown["span_id"])
    assert int(shown["hidden"].sum()) == len(spans) - 50
    # Each after its parent, as in the whole.
    assert list(shown["row"]) == sorted(shown["row"])
    opened = traces.rows_shown(spans, path, opened=["b17"], most=50)
    assert set(spans.loc[spans["parent_id"] == "b17", "span_id"]) <= set(opened["span_id"])
    closed = traces.rows_shown(spans, path, closed=["b29"], most=50)
    assert "b29.19" not in set(closed["span_id"])
    part = traces.rows_shown(spans, path, within="b3")
    assert len(part) == 21
    assert list(part["level"]) == [0] + [1] * 20


@given(st.lists(st.tuples(st.text("abcdef", min_size=1, max_size=1), st.text("abcdef", max_size=1)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_whatever_spans_refer_to_each_is_shown_once(pairs: list[tuple[str, str]]):
    from queries.traces_client import _tree

    order, parents, depths = _tree([one for one, _parent in pairs], [parent for _one, parent in pairs])
    assert sorted(order) == list(range(len(pairs)))
    place = {row: number for number, row in enumerate(order)}
    for row, parent in enumerate(parents):
        if parent >= 0:
            assert place[parent] < place[row]
            assert depths[row] == depths[parent] + 1


def test_tags_are_typed_as_name_and_value():
    assert traces.tags_of('a=1 b="two words" c=x=y') == (("a", "1"), ("b", "two words"), ("c", "x=y"))
    assert traces.tags_of("  ") == ()
    for wrong in ('a="1', "a", "=1", "a=", " ".join("a=1" for _n in range(11))):
        with pytest.raises(traces.BadTags):
            traces.tags_of(wrong)


def test_the_pictures_stand_for_what_is_in_the_answer(documented: Documented):
    components.set_default_language("en")
    client = jaeger(documented)
    spans = client.trace(TRACE)
    path = traces.critical_path(spans)
    rows = traces.rows_shown(spans, path).assign(warned=traces.has_warnings(spans))
    drawn = waterfall(rows, path, title="Trace", selected="00000000000000a3")
    assert drawn.chart.to_dict(validate=True)
    assert "7 spans in 690 ms, 3 of them failed" in drawn.alt
    found = trace_scatter(client.search(DAY), title="Traces")
    assert found.chart.to_dict(validate=True)
    assert "2 traces" in found.alt
    # The axis is the period that was searched, however few traces there are.
    axis = trace_scatter(client.search(DAY), title="Traces", first=DAY.start, last=DAY.end)
    ends = axis.chart.to_dict()["encoding"]["x"]["scale"]["domain"]
    assert [end["date"] for end in ends] == [one.astimezone(ZONE).day for one in (DAY.start, DAY.end)]
    assert waterfall(rows.iloc[:0], path, title="Trace").chart is None


# --- real spans through the demo's store ------------------------------------------------------------------------------


def tell(store: TraceServer, service: str, *, failed: bool = False) -> str:
    """Send a small trace by OpenTelemetry, as the backend does; its id."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{store.url}/v1/traces")))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("POST /applications", kind=otel.SpanKind.SERVER) as root:
        with tracer.start_as_current_span("POST /verify", attributes={"integration": "metamap"}) as call:
            if failed:
                call.set_status(otel.Status(otel.StatusCode.ERROR, "bad gateway for ana.perez@example.com"))
            time.sleep(0.01)
        found = f"{root.get_span_context().trace_id:032x}"
    provider.shutdown()
    return found


def test_real_spans_are_found_by_service_tag_and_duration(trace_store: TraceServer):
    service = f"test-{uuid4().hex[:8]}"
    well, failed = tell(trace_store, service), tell(trace_store, service, failed=True)
    client = jaeger(trace_store)
    now = datetime.now(UTC)
    search = {"service": service, "start": now - timedelta(minutes=5), "end": now + timedelta(minutes=1)}
    assert set(client.search(TraceSearch(**search))["trace_id"]) == {well, failed}
    assert list(client.search(TraceSearch(**search, tags=(("error", "true"),)))["trace_id"]) == [failed]
    assert len(client.search(TraceSearch(**search, tags=(("integration", "metamap"),), shortest_ms=8))) == 2
    assert client.search(TraceSearch(**search, shortest_ms=60_000)).empty
    spans = client.trace(failed.lstrip("0"))
    assert list(spans["operation"]) == ["POST /applications", "POST /verify"]
    assert list(spans["depth"]) == [0, 1]
    assert service in set(client.services()["service"])


def test_without_a_service_traces_of_all_services_are_searched(
    trace_store: TraceServer, monkeypatch: pytest.MonkeyPatch
):
    one, other = (f"test-{uuid4().hex[:8]}" for _number in range(2))
    failed, well = tell(trace_store, one, failed=True), tell(trace_store, other)
    monkeypatch.setattr(traces, "services", lambda roles: [one, "mirador", other, "jaeger-query"])
    connected(trace_store)
    now = datetime.now(UTC)
    wanted = TraceSearch("", now - timedelta(minutes=5), now + timedelta(minutes=1))
    found = traces.search(wanted, ENGINEER)
    assert list(found["trace_id"]) == [well, failed]
    assert found.attrs["answer"].text.count("GET /api/traces") == 2
    assert list(traces.search(replace(wanted, tags=(("error", "true"),)), ENGINEER)["trace_id"]) == [failed]
    assert list(traces.search(replace(wanted, limit=1), ENGINEER)["trace_id"]) == [well]
    # A trace of two services is one row.
    monkeypatch.setattr(traces, "services", lambda roles: [one, one])
    assert len(traces.search(wanted, ENGINEER)) == 1


def test_mirador_and_jaeger_themselves_are_searched_only_where_nothing_else_is():
    assert traces.own_services(["a", "jaeger-query", "mirador"]) == ["a"]
    assert traces.own_services(["mirador"]) == ["mirador"]


def test_a_huge_trace_is_read_up_to_a_bound_that_is_told(server: Server):
    spans = [
        {
            "traceID": "ab", "spanID": f"{n:016x}", "operationName": f"op {n % 7}", "startTime": 1_000_000 + n,
            "duration": 50, "references": [{"refType": "CHILD_OF", "traceID": "ab", "spanID": f"{n // 3:016x}"}],
            "tags": [], "logs": [], "processID": "p1",
        }
        for n in range(1, MOST_SPANS + 800)
    ]  # fmt: skip
    whole = {"data": [{"traceID": "ab", "spans": spans, "processes": {"p1": {"serviceName": "a"}}}]}
    server.answer = said(json.dumps(whole).encode())
    frame = jaeger(server, timeout=8.0).trace("ab")
    assert len(frame) == MOST_SPANS
    assert frame.attrs["spans"] == MOST_SPANS + 799
    # Every span that is kept has its parent, the roots apart.
    assert (frame["parent"] < 0).sum() <= 3
    assert (frame["parent"].to_numpy() < range(MOST_SPANS)).all()


def test_the_calls_of_a_trace_or_request_are_found_in_the_ledger(ledger_url: Any):
    row = {
        "called_at": NOW, "integration": "conekta", "endpoint": "/charges", "status": "error", "duration_ms": 250,
        "error_code": "card_declined", "request_id": "5f0c", "trace_id": TRACE,
    }  # fmt: skip
    other = {**row, "request_id": "other", "trace_id": None, "error_code": None}
    frame = pd.DataFrame([{"call_id": 1, **row}, {"call_id": 2, **other}])
    engine = create_engine(ledger_url.owner)
    frame.to_sql("integration_calls", engine, schema="bi", if_exists="append", index=False)
    engine.dispose()
    queries.connect(Sources(ledger_url=ledger_url.reader))
    found = queries.ledger("traces/calls", {"trace": TRACE})
    assert list(found["error_code"]) == ["card_declined"]
    assert len(queries.ledger("traces/calls", {"request": "other"})) == 1
    # One that both ids find is one; without an id there is none.
    assert len(queries.ledger("traces/calls", {"trace": TRACE, "request": "5f0c"})) == 1
    assert queries.ledger("traces/calls", {}).empty
    queries.disconnect()


# --- the page ---------------------------------------------------------------------------------------------------------


def page(**asked: str) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_string(SCRIPT, default_timeout=40)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def words_of(app: AppTest) -> str:
    kinds = (app.title, app.markdown, app.caption, app.code, app.info, app.warning)
    found = [str(one.value) for kind in kinds for one in kind]
    return "\n".join([*found, *(frame.value.to_string() for frame in app.dataframe)])


def test_the_page_without_a_jaeger_says_how_to_name_one():
    queries.connect(Sources())
    app = page()
    assert not app.exception
    assert "MIRADOR_JAEGER_URL" in words_of(app)
    queries.disconnect()


def test_by_jaegers_documented_form_the_page_searches_as_its_url_says(documented: Documented):
    connected(documented)
    app = page(tags="http.route=/x", min="20", errors="on", integration="conekta", limit="20", range="6h")
    assert not app.exception
    # Without a service all are searched, some at the same time.
    searches = [query_of(request) for request in documented.asked if path_of(request).startswith("/api/traces?")]
    assert {asked["service"][0] for asked in searches} >= {"conductores-backend", "conekta-proxy"}
    for asked in searches:
        assert json.loads(asked["tags"][0]) == {"http.route": "/x", "integration": "conekta", "error": "true"}
        assert (asked["minDuration"], asked["limit"]) == (["20000us"], ["20"])
    assert "POST /webhooks/conekta" in words_of(app)
    app.text_input(key="tags").set_value("no tag").run()
    assert "A tag is written name=value" in words_of(app)
    assert app.text_input(key="tags").value == "no tag"


def test_by_jaegers_documented_form_a_trace_in_the_url_opens_at_once(documented: Documented):
    connected(documented)
    app = page(trace=TRACE)
    assert not app.exception
    words = words_of(app)
    assert "690 ms · 7 spans · 3 services · :red[3 failed spans]" in words
    assert "The clock of conekta-proxy is at least 12 ms behind that of conductores-backend" in words
    assert "The parent of 1 span is not here" in words
    assert "Jaeger warns of 1 span" in words
    # The deepest span that failed is told in full, at once.
    assert "clock skew adjustment disabled" in words
    picked = page(trace=TRACE, span="00000000000000a3")
    words = words_of(picked)
    assert "exception.message" in words
    for secret in SECRETS:
        assert secret not in words
    assert "no trace with this id" in words_of(page(trace="ff"))
    assert "not the id of a trace" in words_of(page(trace="xyz"))


def test_what_programs_wrote_is_text_and_no_link_or_picture_from_elsewhere(server: Server):
    whole = json.loads(answer("trace.json"))
    whole["data"][0]["spans"][0]["operationName"] = "![x](https://elsewhere.example/pixel.png) *a* `b`"
    server.answer = said(json.dumps(whole).encode())
    connected(server)
    app = page(trace=TRACE, span="00000000000000a1")
    assert not app.exception
    shown = [str(one.value) for kind in (app.markdown, app.caption) for one in kind]
    assert any("elsewhere" in words for words in shown)
    assert not any("](https" in words or "![" in words.replace("\\!", "") for words in shown if "elsewhere" in words)


def test_a_jaeger_that_is_down_is_one_sentence_a_panel(server: Server):
    server.answer = said(b"", "503 Busy")
    connected(server)
    app = page()
    assert not app.exception
    assert "Jaeger failed (HTTP 503)." in words_of(app)
    assert "Jaeger failed (HTTP 503)." in words_of(page(trace=TRACE))


def test_who_is_no_engineer_sees_none_of_it(documented: Documented, monkeypatch: pytest.MonkeyPatch):
    connected(documented)
    monkeypatch.setattr("app.auth.viewer", lambda settings: Viewer("x", frozenset({"executive"})))
    app = page(trace=TRACE)
    assert "engineers only" in words_of(app)
    assert documented.asked == []


def test_each_text_of_the_page_and_of_its_source_has_its_spanish():
    components.set_default_language("es")
    for sentence in (
        "Jaeger has not answered in time.",
        "Jaeger cannot be reached.",
        "Jaeger failed (HTTP 503).",
        "Jaeger does not let Mirador in (HTTP 401): check its token.",
        "What answers at MIRADOR_JAEGER_URL does not speak the API of Jaeger.",
    ):
        assert components._(sentence) != sentence
    for module in ("pages/traces.py", "components/waterfall.py"):
        for call in ast.walk(ast.parse((PAGES.parent / module).read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_":
                for text in call.args:
                    if isinstance(text, ast.Constant):
                        assert components._(text.value) != text.value, text.value


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="no Chromium on this machine")
def test_from_the_points_of_a_search_to_the_span_that_failed(trace_store: TraceServer, tmp_path: Path):
    service = f"test-{uuid4().hex[:8]}"
    tell(trace_store, service)
    failed = tell(trace_store, service, failed=True)
    env = {"MIRADOR_JAEGER_URL": trace_store.url}
    with serve(tmp_path, env) as dashboard, chromium() as browser, viewer(browser) as window:
        window.open(f"{dashboard.url}/traces?service={service}&errors=on")
        window.wait_for_text("Trazas por hora y duración")
        picture = window.page.locator('[data-testid="stVegaLiteChart"] :is(svg, canvas)').first
        picture.wait_for()
        window.drawn()
        row = window.page.locator('[data-testid="stDataFrame"] canvas').first
        row.click(position={"x": 18, "y": 52}, force=True)
        window.wait_for_text("Volver a la búsqueda")
        window.drawn()
        assert f"trace={failed}" in window.page.url
        window.wait_for_text("POST /verify")
        assert "ana.perez" not in window.page.content()
        # The second row of the waterfall.
        picture.click(position={"x": 200, "y": 75}, force=True)
        window.page.wait_for_url("**span=**")
        window.wait_for_text("Etiquetas")
        window.assert_clean()
