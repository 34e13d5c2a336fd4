"""Spans of pages, panels and questions, as a real OTLP receiver gets them over HTTP."""

from __future__ import annotations

import contextlib
import contextvars
import gzip
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect as open_websocket

from app import tracing as host_tracing
from app.settings import Settings
from app.spans import Spans
from components.frame import draw_within, guarded
from queries import SourceError, tracing
from queries.cache import AnswerCache
from tests.conftest import ROOT, LedgerUrl
from tests.dashboard import serve
from tests.test_asgi import fill

PERSON = "c0ffee-conductor-of-a-viewer"


@dataclass
class Receiver:
    """A collector: what it was sent, as bytes and decoded."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def spans(self) -> list[Span]:
        """Every span that has come."""
        return [
            span
            for request in self._requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        """What the first request says of its sender."""
        return {one.key: one.value.string_value for one in self._requests()[0].resource_spans[0].resource.attributes}

    def _requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.paths.add(self.path)
            made.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def spans(receiver: Receiver) -> Iterator[Spans]:
    """The tracer of this process, sending to the receiver."""
    made = Spans(receiver.url, "test")
    tracing.follow(made)
    draw_within(made.panel)
    yield made
    tracing.follow(None)
    draw_within(lambda key: contextlib.nullcontext())
    made.close()


@pytest.fixture
def cache() -> Iterator[AnswerCache]:
    made = AnswerCache({"ledger": 2})
    yield made
    made.close()


def ask(cache: AnswerCache, source: Callable[[], Any], name: str = "today/decisions", *params: Any) -> Any:
    key = ("ledger", name, params)
    return cache.get(key, source, source="ledger", ttl=60, grace=60, deadline=5)


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def named(found: list[Span], name: str) -> list[Span]:
    return [span for span in found if span.name == name]


def test_a_question_hangs_below_its_panel_and_its_flight_below_the_question(
    spans: Spans, receiver: Receiver, cache: AnswerCache
):
    with spans.page("approvals"), ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        # As Streamlit runs a parallel fragment: another thread, the context of the page.
        pool.submit(context.run, guarded, lambda: ask(cache, lambda: 1) and None, key="approval_rate").result()
    spans.close()
    found = receiver.spans()
    [page], [panel] = named(found, "page approvals"), named(found, "panel approval_rate")
    [question], [flight] = named(found, "question today/decisions"), named(found, "ask ledger")
    assert len({span.trace_id for span in found}) == 1
    assert not page.parent_span_id
    assert panel.parent_span_id == page.span_id
    assert question.parent_span_id == panel.span_id
    assert flight.parent_span_id == question.span_id
    assert attributes(question) == {
        "mirador.source": "ledger",
        "mirador.query": "today/decisions",
        "mirador.cached": False,
        "mirador.stale": False,
    }
    assert not question.links, "its own flight is its child"
    assert receiver.paths == {"/v1/traces"}
    assert receiver.resource()["service.name"] == "mirador"


def test_one_flight_that_answers_several_panels_is_linked_by_the_others_and_by_what_is_kept(
    spans: Spans, receiver: Receiver, cache: AnswerCache
):
    begun, go = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        go.wait(5)
        return 1

    threads = [
        threading.Thread(target=guarded, args=(lambda: ask(cache, slow) and None,), kwargs={"key": f"p{n}"})
        for n in (1, 2)
    ]
    threads[0].start()
    begun.wait(5)
    threads[1].start()
    time.sleep(0.1)
    go.set()
    for thread in threads:
        thread.join()
    guarded(lambda: ask(cache, slow) and None, key="later")
    spans.close()
    found = receiver.spans()
    [flight] = named(found, "ask ledger")
    panels = {span.name: span for span in found if span.name.startswith("panel ")}
    below = {name: next(one for one in found if one.parent_span_id == panel.span_id) for name, panel in panels.items()}
    assert flight.parent_span_id == below["panel p1"].span_id
    assert not below["panel p1"].links
    for name in ("panel p2", "panel later"):
        [link] = below[name].links
        assert (link.trace_id, link.span_id) == (flight.trace_id, flight.span_id)
    assert attributes(below["panel later"])["mirador.cached"] is True


def test_a_failure_says_its_kind_and_none_of_its_words(spans: Spans, receiver: Receiver, cache: AnswerCache):
    def refuse() -> int:
        raise SourceError(f"The row of {PERSON} was refused.", kind="refused", source="ledger")

    def broken() -> None:
        raise ValueError(PERSON)

    with contextlib.suppress(SourceError):
        ask(cache, refuse, "credit/head", PERSON)
    with contextlib.suppress(ValueError), spans.page("credit"):
        broken()
    spans.close()
    found = receiver.spans()
    assert attributes(named(found, "question credit/head")[0])["error.type"] == "refused"
    assert attributes(named(found, "page credit")[0])["error.type"] == "ValueError"
    assert PERSON.encode() not in b"".join(receiver.bodies)


def test_nothing_personal_is_in_a_name_or_a_kind_however_it_is_written(
    spans: Spans, receiver: Receiver, cache: AnswerCache
):
    class OfALibrary(Exception):
        kind = "no such driver: juan.perez%40example.mx"

    def fail() -> int:
        raise OfALibrary

    hidden = ("juan.perez@example.mx", "55\u200b1234\u200b5678", "4111%201111%201111%201111", "GARC-850101-HDFRRL-09")
    for word in hidden:
        with contextlib.suppress(Exception), spans.page(f"page of {word}"), spans.panel(f"panel of {word}"):
            ask(cache, fail, f"drivers/{word}", word)
    spans.question("ledger", "drivers/one").failed(OfALibrary.kind)
    spans.close()
    assert len(receiver.spans()) == 4 * len(hidden) + 1
    sent = b"".join(receiver.bodies).decode(errors="replace")
    for secret in ("juan", "1234", "1111", "850101"):
        assert secret not in sent


def test_a_viewer_who_leaves_ends_his_question_and_not_the_flight(spans: Spans, receiver: Receiver, cache: AnswerCache):
    go = threading.Event()

    class Left(BaseException):
        pass

    def leave() -> None:
        raise Left

    with pytest.raises(Left):
        cache.get(
            ("ledger", "a", ()),
            lambda: go.wait(5),
            source="ledger",
            ttl=1,
            grace=1,
            deadline=5,
            while_waiting=leave,
        )
    go.set()
    # The flight ends in its own time: who asks the same takes its answer.
    assert ask(cache, lambda: False, "a").value
    assert ask(cache, lambda: True, "b").value
    spans.close()
    found = receiver.spans()
    assert attributes(named(found, "question a")[0])["mirador.left"] is True
    assert len(named(found, "ask ledger")) == 2


def test_a_collector_that_never_answers_slows_nothing_and_holds_up_no_end(cache: AnswerCache):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host_tracing.start(Settings(otlp_url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        try:
            start = time.process_time()
            for number in range(5000):
                ask(cache, lambda: 1, f"q{number % 10}")
            spent = time.process_time() - start
        finally:
            start = time.monotonic()
            host_tracing.stop()
            took = time.monotonic() - start
    assert spent / 5000 < 0.002, "seconds a question"
    assert took < host_tracing.STOP_SECONDS + 1


def test_without_an_address_opentelemetry_is_not_even_loaded():
    program = "import sys, app.asgi; sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    clean = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=clean, timeout=60).returncode == 0
    assert Settings().otlp_url is None


def test_the_dashboard_sends_page_panel_question_and_flight_and_nothing_of_a_viewer(
    tmp_path: Path, module_ledger_url: LedgerUrl, receiver: Receiver
):
    fill(module_ledger_url)
    env = {"MIRADOR_LEDGER_URL": module_ledger_url.reader, "MIRADOR_OTLP_URL": receiver.url}
    with serve(tmp_path, env) as dashboard:
        question = BackMsg()
        question.rerun_script.query_string = f"day=&note={PERSON}"
        with open_websocket(
            dashboard.url.replace("http", "ws") + "/_stcore/stream",
            origin=dashboard.url,  # type: ignore[arg-type]
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
        ) as browser:
            browser.send(question.SerializeToString())
            until = time.monotonic() + 30
            while time.monotonic() < until and not (chains(receiver.spans()) and named(receiver.spans(), "page today")):
                with contextlib.suppress(TimeoutError):
                    browser.recv(timeout=0.5)
    found = receiver.spans()
    assert chains(found), sorted({span.name for span in found})
    sent = b"".join(receiver.bodies).lower()
    for secret in (PERSON.encode(), b"select ", b"postgresql", b"mirador_reader"):
        assert secret not in sent
    whole = next(one for one in found if one.name.startswith("question today/"))
    assert set(attributes(whole)) <= {
        *("mirador.source", "mirador.query", "mirador.cached", "mirador.stale", "mirador.rows"),
        *("mirador.left", "error.type"),
    }


def chains(found: list[Span]) -> list[tuple[str, ...]]:
    """Names from a page down to a source, where all of the way is there."""
    by_id = {span.span_id: span for span in found}
    ways = []
    for span in found:
        if not span.name.startswith("ask "):
            continue
        way = [span.name]
        while (span := by_id.get(span.parent_span_id)) is not None:  # type: ignore[assignment]
            way.append(span.name)
        kinds = [name.split(" ")[0] for name in reversed(way)]
        if kinds == ["page", "panel", "question", "ask"]:
            ways.append(tuple(reversed(way)))
    return ways
