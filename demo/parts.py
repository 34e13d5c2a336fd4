"""The servers around the backend: Redis, the exporters, the log store, the trace store and the error tracker.

All are `HttpServer`s of `demo.servers`: found on PATH or unpacked from Debian's packages without root, started on a
free port of 127.0.0.1, awaited, and ended by their own pid. Each is optional: the demo says what cannot be had.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import which

from demo.servers import HOST, HttpServer, find_program, unpack_debian
from demo.tracker import Bugsink

__all__ = ["Bugsink", "LogStore", "NodeExporter", "PostgresExporter", "Redis", "RedisExporter", "TraceServer", "fetch"]

ROOT = Path(__file__).resolve().parent.parent
LOG_GROUP = "/aws/ecs/conductores-backend"
# The libraries that Debian's redis-server needs and few machines have: a package that is only unpacked brings none.
REDIS_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
EXPORTERS = ("prometheus-redis-exporter", "prometheus-node-exporter", "prometheus-postgres-exporter")
NAMES = {
    "redis-server": ("redis-server",),
    "prometheus-redis-exporter": ("prometheus-redis-exporter", "redis_exporter"),
    "prometheus-node-exporter": ("prometheus-node-exporter", "node_exporter"),
    "prometheus-postgres-exporter": ("prometheus-postgres-exporter", "postgres_exporter"),
}


def fetch(cache_dir: Path) -> None:
    """Unpack the packages of all servers here that this machine lacks, in one go; silent when they cannot be had."""
    lacking = {
        package: REDIS_PACKAGES if package == "redis-server" else (package,)
        for package, names in NAMES.items()
        if not any(which(name) for name in names)
        and not any((cache_dir / package / "usr" / "bin" / name).exists() for name in names)
    }
    if lacking:
        unpack_debian(cache_dir, lacking)


def find(cache_dir: Path, package: str) -> Path | None:
    """The program of a package of `NAMES`, or None."""
    fetch(cache_dir)
    return find_program(cache_dir, package, NAMES[package])


class PythonServer(HttpServer):
    """A server that is a module of this folder, run as `python -m module PORT`."""

    module = ""
    ready = "/"
    working_dir = ROOT

    def __init__(self, data_dir: Path, *, port: int | None = None, log: Path | None = None) -> None:
        super().__init__(ROOT, data_dir, program=Path(sys.executable), port=port, log=log)

    @property
    def words(self) -> str:
        """What only the command line of this server contains."""
        return self.module

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return ["-m", self.module, str(self.port)]


class LogStore(PythonServer):
    """CloudWatch Logs, by moto; see `demo.cloudwatch`."""

    title = "CloudWatch (moto)"
    module = "demo.cloudwatch"
    ready = "/moto-api/data.json"


class TraceServer(PythonServer):
    """Takes OTLP over HTTP and answers Jaeger's query API; see `demo.traces`."""

    title = "Trace store"
    module = "demo.traces"


class Redis(HttpServer):
    """A Redis that keeps nothing on disk."""

    title = "Redis"

    def __init__(self, data_dir: Path, *, program: Path, port: int | None = None, log: Path | None = None) -> None:
        super().__init__(data_dir, data_dir, program=program, port=port, log=log)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{HOST}:{self.port}/0"

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [
            *(
                "--bind",
                HOST,
                "--port",
                str(self.port),
                "--dir",
                str(self.data_dir),
                "--save",
                "",
                "--appendonly",
                "no",
            ),
            *("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--set-proc-title", "no"),
            # Ten wake-ups a second for housekeeping are plenty here; 10 is Redis's own number, 1 the least.
            *("--hz", "5", "--loglevel", "warning"),
        ]

    def environment_of(self) -> Mapping[str, str] | None:
        """With the libraries that were unpacked beside it."""
        beside = self.program.parent.parent / "lib"
        folders = [str(folder) for folder in sorted(beside.glob("*-linux-gnu*"))] if beside != Path("/usr/lib") else []
        if not folders:
            return None
        return {**os.environ, "LD_LIBRARY_PATH": ":".join([*folders, os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")}

    def is_ready(self) -> bool:
        """Whether it answers PING."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Exporter(HttpServer):
    """An exporter of Prometheus's own form."""

    ready = "/"

    def __init__(self, data_dir: Path, *, program: Path, port: int | None = None, log: Path | None = None) -> None:
        super().__init__(data_dir, data_dir, program=program, port=port, log=log)

    @property
    def words(self) -> str:
        """The program's name: exporters take no folder that could tell this one from another."""
        return self.program.name

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [f"--web.listen-address={HOST}:{self.port}"]


class NodeExporter(Exporter):
    """The machine: processors, memory, disks, network."""

    title = "Node exporter"

    def arguments(self) -> list[str]:
        """Only what dashboards of hosts show."""
        kept = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat", "time", "uname", "vmstat")
        only = ["--collector.disable-defaults", *(f"--collector.{name}" for name in kept)]
        return [*super().arguments(), *(only if sys.platform == "linux" else []), "--log.level=error"]


class RedisExporter(Exporter):
    """The Redis at `redis_url`."""

    title = "Redis exporter"

    def __init__(self, data_dir: Path, redis_url: str, *, program: Path, port: int | None = None) -> None:
        super().__init__(data_dir, program=program, port=port)
        self.redis_url = redis_url

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [*super().arguments(), f"--redis.addr={self.redis_url}"]


class PostgresExporter(Exporter):
    """The PostgreSQL at `database_url` (postgresql://...)."""

    title = "PostgreSQL exporter"

    def __init__(self, data_dir: Path, database_url: str, *, program: Path, port: int | None = None) -> None:
        super().__init__(data_dir, program=program, port=port)
        self.database_url = database_url

    def environment_of(self) -> Mapping[str, str]:
        """The address of the database: command lines can be read by all."""
        return {**os.environ, "DATA_SOURCE_NAME": self.database_url}

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        told = subprocess.run([self.program, "--help"], capture_output=True, text=True, timeout=10, check=False)
        # Debian's asks of the background writer what PostgreSQL 17 no longer has: an error in its log at each scrape.
        # Later ones know better, and call it otherwise.
        old = "--collector.bgwriter" in told.stdout + told.stderr
        return [*super().arguments(), "--log.level=error", *(["--no-collector.bgwriter"] if old else [])]
