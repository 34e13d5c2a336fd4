"""What an outside server can do to a page, with real sockets: every wait ends, every failure is a sentence."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queries.errors import SourceError
from queries.http_client import HttpClient
from tests.answering import Server, behind_tls, said, trickling_head

TOKEN = "token-that-nobody-reads"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def client(server: Server, **bounds: float) -> HttpClient:
    return HttpClient(
        server.url,
        source="traces",
        name="Jaeger",
        variable="MIRADOR_JAEGER_URL",
        headers={"Authorization": f"Bearer {TOKEN}"},
        **bounds,  # type: ignore[arg-type]
    )


def failure(server: Server, **bounds: float) -> SourceError:
    with pytest.raises(SourceError) as caught:
        client(server, **bounds).get("/api/traces")
    assert TOKEN not in str(caught.value)
    assert caught.value.source == "traces"
    return caught.value


def test_an_answer_is_its_json_and_the_token_was_shown(server: Server):
    server.answer = said('{"data": ["año"]}'.encode())
    assert client(server).get("/api/traces", {"service": "a b&c"}) == {"data": ["año"]}
    assert f"Bearer {TOKEN}".encode() in server.asked[0]
    assert b"service=a+b%26c" in server.asked[0]


def test_an_empty_answer_is_none(server: Server):
    server.answer = said(b"", "204 No Content")
    assert client(server).get("/x") is None


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("401 Unauthorized", "refused", "check its token"),
        ("403 Forbidden", "refused", "check its token"),
        ("404 Not Found", "refused", "does not know"),
        ("400 Bad Request", "refused", "HTTP 400"),
        ("429 Too Many Requests", "down", "too often"),
        ("500 Oops", "down", "failed (HTTP 500)"),
        ("503 Busy", "down", "failed (HTTP 503)"),
        ("302 Found", "refused", "MIRADOR_JAEGER_URL"),
    ],
)
def test_each_refusal_is_a_sentence_without_the_body(server: Server, status: str, kind: str, words: str):
    server.answer = said(b"stack trace with a secret", status, "Location: http://elsewhere/\r\n")
    error = failure(server)
    assert error.kind == kind
    assert words in error.sentence
    assert "secret" not in error.sentence


def test_a_redirect_is_not_followed(server: Server):
    server.answer = said(b"", "302 Found", f"Location: {server.url}/login\r\n")
    failure(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b'{"data": [', b"[" * 100_000, b"\xff\xfe\x00"])
def test_garbage_is_told_as_the_wrong_api(server: Server, body: bytes):
    server.answer = said(body)
    error = failure(server)
    assert (error.kind, error.sentence) == (
        "refused",
        "What answers at MIRADOR_JAEGER_URL does not speak the API of Jaeger.",
    )


def test_half_an_answer_is_told(server: Server):
    server.answer = lambda connection: connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"data"')
    assert failure(server).kind == "down"


@pytest.mark.parametrize("head", [b"", b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"data"'])
def test_a_server_that_falls_silent_is_left_at_the_deadline(server: Server, head: bytes):
    def silent(connection: socket.socket) -> None:
        connection.sendall(head)
        time.sleep(5)

    server.answer = silent
    began = time.monotonic()
    assert failure(server, timeout=0.5).kind == "timeout"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_that_trickles_is_left_at_the_deadline(server: Server, chunked: bool):
    def trickle(connection: socket.socket) -> None:
        head = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 5000"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"1\r\n \r\n" if chunked else b" ")
            time.sleep(0.1)

    server.answer = trickling_head
    began = time.monotonic()
    assert failure(server, timeout=0.5).kind == "timeout"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("tls", [False, True])
def test_a_head_that_trickles_is_left_at_the_deadline_and_the_next_answer_is_taken(
    server: Server, tmp_path: Path, tls: bool
):
    """`requests` bounds each read: a byte of a header in each would hold it for hours."""
    asking = client(server, timeout=0.5)
    if tls:
        asking.verify = behind_tls(server, tmp_path)
        asking.url = asking.url.replace("http://127.0.0.1", "https://localhost")

    server.answer = trickling_head
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        asking.get("/x")
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 2
    server.answer = said(b"[1]")
    assert asking.get("/x") == [1]


def test_an_answer_that_is_too_long_is_cut_off(server: Server):
    server.answer = said(b'"' + b"x" * 3_000_000 + b'"')
    assert failure(server, max_bytes=2**20).kind == "too_large"


def test_nobody_there_is_told_and_the_next_answer_is_taken(server: Server):
    asking = client(server)
    server.answer = lambda connection: None
    with pytest.raises(SourceError, match="Jaeger cannot be reached"):
        asking.get("/x")
    server.answer = said(b"[1]")
    assert asking.get("/x") == [1]
    server.close()
    time.sleep(0.05)
    with pytest.raises(SourceError, match="Jaeger cannot be reached"):
        client(server).get("/x")
