"""Real servers for the tests: one PostgreSQL a session, a fresh ledger for each test, Prometheus with known series.

Under pytest-xdist each worker has its own servers, on free ports and in its own temporary folder.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from hypothesis import settings
from sqlalchemy import create_engine, text

from components import set_default_language
from demo import servers
from demo.parts import LogStore
from demo.traces import TraceServer
from demo.tracker import Bugsink, prepare
from tests import known_series

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "demo" / "schema.sql"

_numbers = count(1)

# A busy machine makes no test fail: speed is shown by the bench.
settings.register_profile("mirador", deadline=None)
settings.load_profile("mirador")


@dataclass(frozen=True)
class LedgerUrl:
    """A ledger of its own: `owner` may do everything, `reader` only what Mirador may, `core` what the backend does."""

    database: str
    owner: str
    reader: str
    core: str


@pytest.fixture(autouse=True)
def no_language_chosen() -> Iterator[None]:
    """Each test begins in the language of nobody's choice; what one chose must not reach the next."""
    yield
    set_default_language(None)


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """A folder for the servers' data; not pytest's own, which is closed to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="mirador-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_dir: Path) -> Iterator[servers.Postgres]:
    """A PostgreSQL 18 with the ledger's schema in the database `template_ledger`."""
    with servers.Postgres(server_dir / "postgres", settings={"shared_buffers": "64MB"}) as server:
        with create_engine(server.url(), isolation_level="AUTOCOMMIT").connect() as owner:
            owner.execute(text("create database template_ledger"))
        engine = create_engine(server.url(database="template_ledger"))
        with engine.begin() as owner:
            # As psql would run it: one string, several statements.
            owner.connection.cursor().execute(SCHEMA.read_text())
        engine.dispose()
        yield server


def new_ledger(server: servers.Postgres, template: str = "template_ledger") -> LedgerUrl:
    """A fresh database with the ledger's schema, made from the template in a few milliseconds."""
    database = f"ledger_{uuid4().hex[:12]}"
    with create_engine(server.url(), isolation_level="AUTOCOMMIT").connect() as owner:
        owner.execute(text(f"create database {database} template {template} strategy file_copy"))
    return LedgerUrl(
        database,
        server.url(database=database),
        server.url("mirador_reader", database),
        server.url("mirador_core", database),
    )


def drop_ledger(server: servers.Postgres, ledger: LedgerUrl) -> None:
    """Remove the database, whoever is still connected to it."""
    with create_engine(server.url(), isolation_level="AUTOCOMMIT").connect() as owner:
        owner.execute(text(f"drop database if exists {ledger.database} with (force)"))


@pytest.fixture
def ledger_url(postgres: servers.Postgres) -> Iterator[LedgerUrl]:
    """An empty ledger for one test."""
    ledger = new_ledger(postgres)
    yield ledger
    drop_ledger(postgres, ledger)


@pytest.fixture(scope="module")
def module_ledger_url(postgres: servers.Postgres) -> Iterator[LedgerUrl]:
    """An empty ledger that the tests of one file share."""
    ledger = new_ledger(postgres)
    yield ledger
    drop_ledger(postgres, ledger)


@pytest.fixture(scope="session")
def prometheus_programs(server_dir: Path) -> servers.PrometheusPrograms:
    """Prometheus and promtool; without them the test is skipped (`.ci/run` installs them)."""
    found = servers.find_prometheus(server_dir / "packages")
    if found is None:
        pytest.skip("No Prometheus on this machine: not on PATH, and neither apt-get nor Homebrew gave one")
    return found


@pytest.fixture(scope="session")
def prometheus_server(
    server_dir: Path, prometheus_programs: servers.PrometheusPrograms
) -> Iterator[Callable[..., str]]:
    """Start a Prometheus on known series: `prometheus_server(openmetrics_text)` gives its base URL.

    The text ends with `# EOF`. Each call is a server of its own, kept until the session ends.
    """
    running: list[servers.Prometheus] = []

    def start(openmetrics: str = "# EOF\n", *, config: str = "global: {scrape_interval: 15s}\n") -> str:
        folder = server_dir / f"prometheus-{next(_numbers)}"
        data = folder / "data"
        data.mkdir(parents=True)
        (folder / "prometheus.yml").write_text(config)
        if openmetrics.strip() != "# EOF":
            (folder / "series.om").write_text(openmetrics)
            subprocess.run(
                [
                    *(str(prometheus_programs.promtool), "tsdb", "create-blocks-from", "--quiet"),
                    *("--max-block-duration=720h", "openmetrics", str(folder / "series.om"), str(data)),
                ],
                check=True,
                capture_output=True,
                timeout=120,
            )
        server = servers.Prometheus(
            folder / "prometheus.yml", data, program=prometheus_programs.prometheus, retention="20y"
        )
        running.append(server.start())
        return server.url

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def known_prometheus(prometheus_server: Callable[..., str]) -> str:
    """The base URL of a Prometheus that holds `tests.known_series`."""
    return prometheus_server(known_series.exposition())


@pytest.fixture(scope="session")
def victoria_metrics(server_dir: Path) -> Iterator[str]:
    """The base URL of a VictoriaMetrics that holds `tests.known_series`; without the program the test is skipped."""
    program = servers.find_victoria_metrics(server_dir / "packages")
    if program is None:
        pytest.skip("No VictoriaMetrics on this machine: not on PATH, and apt-get gave none")
    with servers.VictoriaMetrics(server_dir / "victoria-metrics", program=program) as server:
        samples = known_series.exposition(milliseconds=True).encode()
        requests.post(f"{server.url}/api/v1/import/prometheus", data=samples, timeout=60).raise_for_status()
        # Samples are searched once they are written out, and answers given before are then no longer true.
        for step in ("force_flush", "resetRollupResultCache"):
            requests.get(f"{server.url}/internal/{step}", timeout=30).raise_for_status()
        yield server.url


# --- the outside sources ---


@pytest.fixture(scope="session")
def moto_server(server_dir: Path) -> Iterator[str]:
    """CloudWatch Logs (moto behind `demo.cloudwatch`): the base URL, for `endpoint_url=` and MIRADOR_CLOUDWATCH_URL.

    It is empty, and all tests of a session share it: make a log group of your own (`/test/...`). Any credentials do;
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set for this session. Insights queries are really filtered and
    counted, in Insights' own forms; see `demo.insights` for what it knows (other commands: MalformedQueryException).
    """
    with pytest.MonkeyPatch.context() as patch, LogStore(server_dir / "cloudwatch") as server:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield server.url


@pytest.fixture(scope="session")
def trace_store() -> Iterator[TraceServer]:
    """The trace store, in this process: `.url` takes OTLP over HTTP (/v1/traces) and answers Jaeger's API (/api/...).

    All tests of a session share it: give your spans a service name of your own. `.store.take(...)` and the rest of
    `demo.traces.TraceStore` may be used directly.
    """
    with TraceServer() as server:
        yield server


@pytest.fixture(scope="session")
def bugsink(server_dir: Path) -> Iterator[Bugsink]:
    """Bugsink, a real error tracker: `.url`, `.token` (its web API, /api/canonical/0/), `.dsn("conductores-backend")`
    and `.dsn("mirador")` for sentry-sdk, `.project(name)` for a project's number.

    Its environment is installed at the first use (about 20 s, kept in .venv/bugsink); where PyPI cannot be reached, the
    test is skipped. All tests of a session share it: tell your events by a tag or message of your own.
    """
    try:
        environment = prepare(server_dir / "packages")
    except servers.ServerError as error:
        pytest.skip(f"No Bugsink on this machine: {error}")
    with Bugsink(environment, server_dir / "bugsink") as server:
        yield server
