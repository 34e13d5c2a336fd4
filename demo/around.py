"""The parts around the backend, brought up behind the first steps of the demo, each optional.

Redis and the exporters, the log store and the trace store start while PostgreSQL makes the history; the error tracker,
whose first start installs it, may take longer than all of it. `Around` keeps what is up and tells what is not.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo import parts, servers, tracker
from demo.servers import HOST, HttpServer, ServerError

# Words of the command lines of what an earlier run may have left, by the name of the pid file.
LEFTOVERS = {
    "node_exporter": "exporter",
    "redis_exporter": "exporter",
    "postgres_exporter": "exporter",
    "cloudwatch": "demo.cloudwatch",
    "traces": "demo.traces",
    "past": "demo.past",
    "bugsink-install": "bugsink.new",
}
NOT_TO_BE_HAD = "not on this machine and not to be had: goes on without"


@dataclass(frozen=True)
class Report:
    """How a part came up: `server` is None when it did not."""

    title: str
    text: str
    seconds: float
    server: HttpServer | None = None


@dataclass
class Around:
    """The parts on their ports; `begin`, then `wait`, and `stop` at any time."""

    folder: Path
    ports: dict[str, int]
    up: dict[str, HttpServer] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _installing: subprocess.Popen[bytes] | None = None
    _tracker: threading.Thread | None = None
    _begun: float = 0.0

    @property
    def packages(self) -> Path:
        """Where what is downloaded is kept."""
        return self.folder / "packages"

    def begin(self) -> None:
        """Start all, in the background."""
        self._threads = [
            threading.Thread(target=work, name=f"start {work.__name__}", daemon=True)
            for work in (self._programs, self._stores, self._error_tracker)
        ]
        self._tracker = self._threads[-1]
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()

    def wait(self, bound: float) -> list[Report]:
        """The reports since the last asking, once all but the tracker's installation have come.

        At most `bound` seconds after they were begun: what downloads for longer comes later, or never.
        """
        until = self._begun + bound
        for thread in self._threads:
            if thread is self._tracker:
                # Its environment is there: a start of seconds. Else nobody waits for it.
                if tracker.ready(self.packages) is not None:
                    thread.join(max(0.0, until - time.monotonic()))
            else:
                thread.join(max(0.0, until - time.monotonic()))
        return self.news()

    def news(self) -> list[Report]:
        """The reports since the last asking."""
        with self._lock:
            found, self.reports = self.reports, []
        return found

    def is_coming(self) -> bool:
        """Whether the error tracker is still on its way."""
        return self._tracker is not None and self._tracker.is_alive()

    def stop(self) -> None:
        """End what was started, and what is starting."""
        self._stopping.set()
        if self._installing is not None:
            self._installing.kill()
        for thread in self._threads:
            thread.join(20)
        with self._lock:
            running, self.up = list(self.up.values()), {}
        for server in reversed(running):
            server.stop()

    # --- one after the other ---

    def _programs(self) -> None:
        parts.fetch(self.packages)
        port = self.ports["Redis"]
        redis = self._start(
            "Redis", "redis-server", lambda program: parts.Redis(self.folder / "redis", program=program, port=port)
        )
        if isinstance(redis, parts.Redis):
            self._start(
                "Redis exporter",
                "prometheus-redis-exporter",
                lambda program: parts.RedisExporter(
                    self.folder / "redis_exporter", redis.url, program=program, port=self.ports["Redis exporter"]
                ),
            )
        self._start(
            "Node exporter",
            "prometheus-node-exporter",
            lambda program: parts.NodeExporter(
                self.folder / "node_exporter", program=program, port=self.ports["Node exporter"]
            ),
        )
        self._start(
            "PostgreSQL exporter",
            "prometheus-postgres-exporter",
            # It waits for its database by itself.
            lambda program: parts.PostgresExporter(
                self.folder / "postgres_exporter",
                f"postgresql://postgres@{HOST}:{self.ports['PostgreSQL']}/postgres?sslmode=disable",
                program=program,
                port=self.ports["PostgreSQL exporter"],
            ),
        )

    def _stores(self) -> None:
        for server in (
            parts.LogStore(self.folder / "cloudwatch", port=self.ports["CloudWatch"]),
            parts.TraceServer(self.folder / "traces", port=self.ports["Trace store"]),
        ):
            self._bring_up(server)

    def _error_tracker(self) -> None:
        began = time.monotonic()
        try:
            environment = tracker.prepare(self.packages, running=self._note_installation)
        except tracker.Stopping:
            return
        except (ServerError, OSError, subprocess.SubprocessError) as error:
            self._report("Bugsink", f"goes on without: {error}", began)
            return
        self._bring_up(parts.Bugsink(environment, self.folder / "bugsink", port=self.ports["Bugsink"]), began)

    def _note_installation(self, process: subprocess.Popen[bytes] | None) -> None:
        self._installing = process
        noted = self.folder / "bugsink-install.pid"
        if process is None:
            noted.unlink(missing_ok=True)
        else:
            servers.write_pid_file(noted, process.pid)
        if self._stopping.is_set():
            raise tracker.Stopping

    # --- inside ---

    def _start(self, title: str, package: str, make: Callable[[Path], HttpServer]) -> HttpServer | None:
        began = time.monotonic()
        if self._stopping.is_set():
            return None
        program = parts.find(self.packages, package)
        if program is None:
            self._report(title, NOT_TO_BE_HAD, began)
            return None
        return self._bring_up(make(program), began)

    def _bring_up(self, server: HttpServer, began: float | None = None) -> HttpServer | None:
        began = began or time.monotonic()
        if self._stopping.is_set():
            return None
        try:
            server.start()
        except (ServerError, OSError) as error:
            self._report(server.title, f"goes on without: {error}", began)
            return None
        if self._stopping.is_set():
            server.stop()
            return None
        with self._lock:
            self.up[server.title] = server
        self._report(server.title, server.url, began, server)
        return server

    def _report(self, title: str, text: str, began: float, server: HttpServer | None = None) -> None:
        with self._lock:
            self.reports.append(Report(title, text, time.monotonic() - began, server))
