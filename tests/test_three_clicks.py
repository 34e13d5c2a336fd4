"""From a red integration to one failing call with its log line, its trace and its error: three clicks, on real parts.

The parts are the demo's: PostgreSQL, Prometheus that scrapes the backend, Alertmanager, CloudWatch (moto), the trace
store and Bugsink, and the backend that tells them of an incident at Conekta.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator

from demo import parts, servers
from demo.traces import TraceServer
from demo.tracker import Bugsink
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger
from tests.dashboard import Viewer, chromium, chromium_path, serve, viewer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine"),
]
HTTP = httpx.Client(timeout=20, trust_env=False)


@dataclass(frozen=True)
class Failure:
    """The last call of the incident, as the ledger has it."""

    call_id: int
    request_id: str
    trace_id: str
    error_code: str


def until(ask: Callable[[], Any], bound: float = 20) -> Any:
    """What `ask` gives once it is something."""
    limit = time.monotonic() + bound
    while not (found := ask()):
        assert time.monotonic() < limit, f"nothing came within {bound} s"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def ledger(postgres: servers.Postgres) -> Iterator[LedgerUrl]:
    """A company of one driver, whose installment was due yesterday."""
    made = new_ledger(postgres)
    now = datetime.now(UTC)
    yesterday = (now - timedelta(days=2)).date()
    with psycopg.connect(made.owner.replace("+psycopg", "")) as owner:
        owner.execute(
            "insert into bi.applications values ('A1', 'D1', %(then)s, 60000, 80, 'AA', 'approved', %(then)s, null,"
            " %(then)s)",
            {"then": now - timedelta(days=30)},
        )
        owner.execute(
            "insert into bi.credits values ('C1', 'A1', 'D1', 'AA', 50000, %(then)s, %(then)s, 'settled', 'active',"
            " null, %(then)s)",
            {"then": now - timedelta(days=30)},
        )
        owner.execute(
            "insert into bi.installments values (1, 'C1', 1, %(due)s, 1250.50, 0, null, %(then)s)",
            {"due": yesterday, "then": now - timedelta(days=30)},
        )
    yield made
    drop_ledger(postgres, made)


@pytest.fixture(scope="module")
def backend(
    ledger: LedgerUrl, server_dir: Path, moto_server: str, trace_store: TraceServer, bugsink: Bugsink
) -> Iterator[str]:
    """The backend as the demo starts it, fifty times as fast, with nobody who asks it anything."""
    port = servers.free_port()
    env = {
        **os.environ,
        "DEMO_BACKEND_PORT": str(port),
        "DEMO_LEDGER_URL": ledger.core,
        "DEMO_TRAFFIC": "off",
        "DEMO_SPEED": "50",
        "DEMO_TRACE_SHARE": "1",
        "DEMO_CLOUDWATCH_URL": moto_server,
        "DEMO_OTLP_URL": trace_store.url,
        "DEMO_SENTRY_DSN": bugsink.dsn("conductores-backend"),
        "DEMO_REDIS_URL": "",
    }
    log = server_dir / f"backend-{port}.log"
    child = servers.Child("backend", [sys.executable, "-m", "demo.backend"], log=log, env=env, cwd=ROOT)
    try:
        child.wait_until(lambda: servers.answers(f"http://127.0.0.1:{port}/health"), bound=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


@pytest.fixture(scope="module")
def alertmanager(server_dir: Path) -> Iterator[str]:
    """An Alertmanager that holds the alert of the incident and tells nobody."""
    program = servers.find_alertmanager(server_dir / "packages")
    if program is None:
        pytest.skip("No Alertmanager on this machine")
    folder = server_dir / "alertmanager-clicks"
    folder.mkdir()
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    with servers.Alertmanager(folder / "alertmanager.yml", folder / "data", program=program) as server:
        now = datetime.now(UTC)
        alert = {
            "labels": {"alertname": "IntegrationAPIDown", "severity": "critical", "integration": "conekta"},
            "startsAt": (now - timedelta(minutes=5)).isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
        }
        HTTP.post(f"{server.url}/api/v2/alerts", json=[alert]).raise_for_status()
        yield server.url


@pytest.fixture(scope="module")
def failure(ledger: LedgerUrl, backend: str, bugsink: Bugsink, trace_store: TraceServer) -> Failure:
    """An incident at Conekta in which the driver tries to pay; it has ended, and all parts know of its last call."""
    incident = {"integration": "conekta", "minutes": 1, "failing": 1, "factor": 1}
    HTTP.post(f"{backend}/simulation/incidents", json=incident).raise_for_status()
    notice = {"event": "charge.paid", "installment_id": 1, "amount": "1250.50", "method": "card"}
    HTTP.post(f"{backend}/webhooks/conekta", json=notice).raise_for_status()

    def rows(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(ledger.owner.replace("+psycopg", "")) as connection:
            return connection.execute(sql).fetchall()

    until(lambda: rows("select from bi.payments"))
    HTTP.delete(f"{backend}/simulation/incidents/conekta").raise_for_status()
    until(lambda: HTTP.get(f"{backend}/health").json()["working"] == 0)
    with psycopg.connect(ledger.owner.replace("+psycopg", "")) as owner:
        # The page tells of whole minutes: nobody waits here until this one has passed.
        owner.execute("update bi.integration_calls set called_at = called_at - interval '2 minutes'")
        owner.execute("update bi.payments set processed_at = processed_at - interval '2 minutes'")
    [last] = rows(
        "select call_id, request_id, trace_id, error_code from bi.integration_calls where status <> 'success'"
        " order by called_at desc, call_id desc limit 1"
    )
    found = Failure(*last)
    ask = {"project": bugsink.project("conductores-backend"), "q": f"request_id:{found.request_id}"}
    headers = {"Authorization": f"Bearer {bugsink.token}"}
    url = f"{bugsink.url}/api/canonical/0/issues/"
    until(lambda: HTTP.get(url, params=ask, headers=headers).json()["results"])
    until(lambda: trace_store.store.trace(found.trace_id))
    return found


@pytest.fixture(scope="module")
def env(
    failure: Failure,
    ledger: LedgerUrl,
    backend: str,
    alertmanager: str,
    moto_server: str,
    trace_store: TraceServer,
    bugsink: Bugsink,
    prometheus_server: Callable[..., str],
) -> dict[str, str]:
    """The settings of a dashboard that knows all parts."""
    scrape = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "conductores-backend", "static_configs": [{"targets": [backend.removeprefix("http://")]}]}
        ],
    }
    return {
        "MIRADOR_LANGUAGE": "en",
        "MIRADOR_LEDGER_URL": ledger.reader,
        "MIRADOR_PROMETHEUS_URL": prometheus_server(config=json.dumps(scrape)),
        "MIRADOR_ALERTMANAGER_URL": alertmanager,
        "MIRADOR_CLOUDWATCH_LOG_GROUPS": parts.LOG_GROUP,
        "MIRADOR_CLOUDWATCH_URL": moto_server,
        "MIRADOR_JAEGER_URL": trace_store.url,
        "MIRADOR_SENTRY_API": "bugsink",
        "MIRADOR_SENTRY_URL": bugsink.url,
        "MIRADOR_SENTRY_TOKEN": bugsink.token,
        "MIRADOR_SENTRY_ORGANIZATION": "conductores-del-mundo",
        "MIRADOR_SENTRY_PROJECT": "conductores-backend",
    }


def click_first_row(window: Viewer, table: Locator) -> None:
    """A click on the first row of a table."""
    table.wait_for(timeout=20_000)
    window.drawn()
    # It takes its click once its cells are painted, which nothing in the page tells: one that is lost is repeated.
    for _ in range(8):
        # A panel that is drawn anew meanwhile takes the table away for a moment: an error as well as a time-out.
        with contextlib.suppress(PlaywrightError):
            table.scroll_into_view_if_needed(timeout=5_000)
            table.click(position={"x": 16, "y": 35 * 1.5}, timeout=5_000)
            window.page.wait_for_url(re.compile(r"[?&]id=\d+"), timeout=4_000)
            return
    raise AssertionError("the row did not open")


def panel(window: Viewer, key: str) -> Locator:
    """A panel of the page."""
    return window.page.locator(f".st-key-panel-{key}")


def test_three_clicks_from_a_red_integration_to_a_failing_call_with_its_log_its_trace_and_its_error(
    env: dict[str, str], failure: Failure, server_dir: Path
) -> None:
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(f"{dashboard.url}/integrations?range=1h", timeout=60)
        row = window.page.locator(".st-key-integration-conekta")
        row.get_by_text("failing").wait_for(timeout=20_000)
        row.get_by_text("IntegrationAPIDown").wait_for(timeout=20_000)
        said = row.inner_text()
        assert "Payments not collected: 1 ($1.3 k), normally" in said
        assert "Drivers who look late only because of it: 1 (1 installments, $1.3 k)" in said
        link = row.get_by_role("link", name=re.compile("IntegrationAPIDown")).get_attribute("href") or ""
        assert "alert=IntegrationAPIDown" in link
        assert "integration=conekta" in link
        assert "range=1h" in link

        # The first click: the integration that is red.
        row.get_by_role("button", name="Look into it").click()
        window.page.wait_for_url(re.compile(r"[?&]integration=conekta"), timeout=20_000)
        assert "range=1h" in window.page.url

        # The second click: its latest failing call. Its line, its trace and its error stand below its row.
        click_first_row(window, panel(window, "calls").locator(".dvn-scroller").first)
        assert f"id={failure.call_id}" in window.page.url
        one, lines, trace, error = (panel(window, key) for key in ("one-call", "call-logs", "call-trace", "call-error"))
        one.get_by_text(failure.request_id).wait_for(timeout=20_000)
        lines.get_by_text("Conekta API call failed").first.wait_for(timeout=20_000)
        assert f"error_code={failure.error_code}" in lines.inner_text()
        trace.locator("canvas, svg.marks").first.wait_for(timeout=20_000)
        error.get_by_text("IntegrationError").first.wait_for(timeout=20_000)
        assert failure.error_code in error.inner_text()
        window.assert_clean()

        # The third click: all of its log, of its trace or of its error.
        opened = window.page.url
        for place, name, page, words in (
            (lines, "Open in the logs", "logs", "1 line matches"),
            (trace, "Open in the traces", "traces", "failed span"),
            (error, "Open in the errors", "errors", failure.request_id),
        ):
            place.get_by_role("link", name=name).click()
            window.page.wait_for_url(re.compile(rf"/{page}\?"), timeout=20_000)
            assert failure.request_id in window.page.url or failure.trace_id in window.page.url
            # The time around the call and the integration travel along.
            assert re.search(r"[?&]from=.*&to=", window.page.url)
            assert "integration=conekta" in window.page.url
            window.wait_for_text(words, timeout=20)
            window.drawn()
            window.assert_clean()
            window.open(opened)
