"""Stands for Slack and PagerDuty in the demo and in tests: takes what Alertmanager sends and shows it.

`python -m demo.inbox PORT FILE` answers as they do, writes each message as a line of JSON to FILE, and shows the last
ones as plain text on `/`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

HOST = "127.0.0.1"
MAX_BYTES = 1 << 20
SHOWN = 200


@dataclass(frozen=True)
class Message:
    """One message: `to` is slack/CHANNEL or pagerduty, `body` its JSON."""

    to: str
    body: dict[str, Any]
    at: datetime

    def line(self) -> str:
        """The message in one line, for people."""
        body = self.body
        if self.to == "pagerduty":
            said = f"{body.get('event_action')}: {(body.get('payload') or {}).get('summary') or body.get('dedup_key')}"
        else:
            said = "; ".join(f"{one.get('title')}: {one.get('text')}" for one in body.get("attachments", []))
        return f"{self.at:%H:%M:%S}  {self.to:28}  {' '.join(said.split())}"


@dataclass
class Inbox:
    """The server; `messages` holds the last ones. `port` 0 takes a free one."""

    port: int = 0
    file: Path | None = None
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=10_000))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(min(size, MAX_BYTES))
                try:
                    told = json.loads(body)
                except ValueError:
                    told = None
                to = self.path.strip("/")
                if not isinstance(told, dict) or not to.startswith(("slack/", "pagerduty")):
                    self._answer(400, "text/plain", b"not a message\n")
                    return
                inbox.take(to, told)
                if to == "pagerduty":
                    key = str(told.get("dedup_key", ""))
                    answer = json.dumps({"status": "success", "message": "Event processed", "dedup_key": key})
                    self._answer(202, "application/json", answer.encode())
                else:
                    self._answer(200, "text/plain", b"ok")

            def do_GET(self) -> None:
                self._answer(200, "text/plain; charset=utf-8", inbox.text().encode())

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the messages are the log."""

        self._server = ThreadingHTTPServer((HOST, self.port), Handler)
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{HOST}:{self.port}"

    def take(self, to: str, body: dict[str, Any]) -> None:
        """Keep a message."""
        message = Message(to, body, datetime.now().astimezone())
        with self._lock:
            self.messages.append(message)
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"at": message.at.isoformat(), "to": to, "body": body}) + "\n")

    def text(self) -> str:
        """The last messages, latest first."""
        with self._lock:
            last: Iterable[Message] = list(self.messages)[-SHOWN:][::-1]
        lines = [message.line() for message in last]
        return (
            "What Slack and PagerDuty would have got, latest first.\n\n" + "\n".join(lines or ["Nothing yet."]) + "\n"
        )

    def serve(self) -> None:
        """Answer until the process ends."""
        self._server.serve_forever()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    Inbox(int(sys.argv[1]), Path(sys.argv[2])).serve()
