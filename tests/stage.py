"""A company with history for programs that look at the whole: PostgreSQL, Prometheus and their past, in one folder."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import create_engine

from demo import servers
from demo.backfill import backfill
from demo.history import build
from queries.rollup_refresh import refresh

SCHEMA = Path(__file__).resolve().parent.parent / "demo" / "schema.sql"


@dataclass
class Stage:
    """The running servers, and the environment that points Mirador at them."""

    postgres: servers.Postgres
    prometheus: servers.Prometheus | None

    @property
    def env(self) -> dict[str, str]:
        """The MIRADOR_ variables."""
        env = {
            "MIRADOR_LEDGER_URL": self.postgres.url("mirador_reader"),
            "MIRADOR_ROLLUP_URL": self.postgres.url("mirador_rollup"),
            "MIRADOR_SCRAPE_INTERVAL": "60",
        }
        if self.prometheus is not None:
            env["MIRADOR_PROMETHEUS_URL"] = self.prometheus.url
        return env


@contextlib.contextmanager
def held(pid: int) -> Iterator[None]:
    """A server and all that it has forked held still (SIGSTOP) until the block ends: it refuses and answers nothing."""
    parent = psutil.Process(pid)
    parent.suspend()
    # The parent forks no more; a child that ends by itself meanwhile is no failure.
    family = [parent, *parent.children(recursive=True)]
    try:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def stage(folder: Path, *, scale: float, days: int = 30) -> Iterator[Stage]:
    """Start both servers on a history of that scale that ends now. Without a Prometheus, the ledger alone."""
    until = datetime.now(UTC)
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(servers.Postgres(folder / "postgres"))
        engine = create_engine(postgres.url())
        with engine.begin() as owner:
            owner.connection.cursor().execute(SCHEMA.read_text(encoding="utf-8"))
        engine.dispose()
        build(postgres.url(), scale=scale, until=until)
        refresh(postgres.url("mirador_rollup"), "America/Mexico_City")
        prometheus = None
        programs = servers.find_prometheus(folder / "packages")
        if programs is not None:
            data = folder / "prometheus" / "data"
            data.mkdir(parents=True)
            backfill(postgres.url(), data, programs.promtool, days=days, until=until)
            config = folder / "prometheus" / "prometheus.yml"
            config.write_text("global: {scrape_interval: 15s}\n")
            prometheus = stack.enter_context(servers.Prometheus(config, data, program=programs.prometheus))
        yield Stage(postgres, prometheus)
