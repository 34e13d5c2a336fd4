"""A server on a real socket that answers what a test tells it to: bytes of a documented answer, or anything worse."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[socket.socket], None]


class Server:
    """Answers each connection with what it was last told to; keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = said(b"{}")
        self.asked: list[bytes] = []
        # Around each connection, for TLS.
        self.wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), self.wrap(connection) as opened:
            self.asked.append(_whole(opened))
            self.answer(opened)

    def close(self) -> None:
        # Closed alone, a socket that waits in accept() takes one more connection.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _whole(connection: socket.socket) -> bytes:
    """The request to the end of its body: a socket that is closed on unread bytes takes its answer back."""
    asked = connection.recv(65536)
    head, end, body = asked.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if end and length else 0
    while missing > 0 and (more := connection.recv(65536)):
        asked, missing = asked + more, missing - len(more)
    return asked


def said(body: bytes, status: str = "200 OK", headers: str = "") -> Answer:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return lambda connection: connection.sendall(head.encode() + body)


def path_of(request: bytes) -> str:
    """The path and query that a request asks for."""
    return request.split(b" ", 2)[1].decode()


def query_of(request: bytes) -> dict[str, list[str]]:
    """The parameters in a request's address."""
    return parse_qs(urlsplit(path_of(request)).query)


def trickling_head(connection: socket.socket) -> None:
    """A head of which a byte comes ten times a second, for six seconds."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(60):
        connection.sendall(b"x")
        time.sleep(0.1)


def behind_tls(server: Server, folder: Path) -> str:
    """Let the server speak TLS as localhost, and give the certificate by which it is known."""
    trusted = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.wrap = lambda connection: context.wrap_socket(connection, server_side=True)
    return trusted


def certificate(folder: Path) -> str:
    """A certificate of localhost that signs itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key.pem")),
            *("-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return str(folder / "cert.pem")
