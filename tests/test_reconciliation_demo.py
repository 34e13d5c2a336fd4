"""Reconciliation on the demo's own parts: two backends, a Prometheus that scrapes them, and a ledger that both write.

One story, told in seconds instead of hours: scrapes every second, and contracts that allow for as much less. A gate
before each backend stands for the network, so that what is lost is lost for certain and not by luck.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, text
from streamlit.testing.v1 import AppTest

import queries
from app.findings import classes, sentence
from app.reconciliation import Check, checks
from components import set_default_language
from demo import servers
from queries import Finding, Prometheus, Result, Sources, contracts, reconcile
from queries.contracts import Contract, Freshness, Tolerance
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger

ZONE = ZoneInfo("America/Mexico_City")
PAGE = str(ROOT / "pages" / "reconciliation.py")
INTERVAL = 1.0
# What lies within the tolerance of the last scrape cannot be proven.
SETTLED = 4.5


class Gate:
    """What stands between Prometheus and a backend: while it is shut, no scrape gets through."""

    def __init__(self, backend: str) -> None:
        self.open = True
        self.scraped = 0
        gate = self

        class Pass(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b""
                if gate.open:
                    with (
                        contextlib.suppress(OSError),
                        urllib.request.urlopen(f"{backend}/metrics", timeout=1) as answer,
                    ):
                        body = answer.read()
                self.send_response(200 if body else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                gate.scraped += bool(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((servers.HOST, 0), Pass)
        self._server.daemon_threads = True
        self.address = f"{servers.HOST}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, scrapes: int) -> None:
        """Until so many more scrapes got through."""
        wanted, until = self.scraped + scrapes, time.monotonic() + 30
        while self.scraped < wanted:
            assert time.monotonic() < until, "Prometheus does not scrape"
            time.sleep(0.05)

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Replica:
    """A backend process, and the gate before it."""

    name: str
    ledger: LedgerUrl
    folder: Path
    port: int = field(default_factory=servers.free_port)
    child: servers.Child | None = None

    def __post_init__(self) -> None:
        self.url = f"http://{servers.HOST}:{self.port}"
        self.gate = Gate(self.url)

    def start(self) -> None:
        """Begin; returns at once."""
        env = {"DEMO_BACKEND_PORT": str(self.port), "DEMO_LEDGER_URL": self.ledger.core}
        self.child = servers.Child(
            self.name,
            [sys.executable, "-m", "demo.backend"],
            log=self.folder / f"{self.name}.log",
            env={**os.environ, **env, "DEMO_TRAFFIC": "off", "DEMO_SPEED": "50"},
            cwd=ROOT,
        )

    def ready(self) -> None:
        """Until it answers."""
        assert self.child is not None
        self.child.wait_until(lambda: servers.answers(f"{self.url}/health"), bound=40)

    def stop(self) -> None:
        """End the process at once, whatever it had counted."""
        if self.child is not None:
            os.kill(self.child.pid, signal.SIGKILL)
            self.child.stop()
            self.child = None

    def take(self, applications: int) -> list[str]:
        """Hand in applications; their ids."""
        taken = []
        for number in range(applications):
            request = urllib.request.Request(
                f"{self.url}/applications",
                data=json.dumps({"conductor_id": f"D{number}", "amount": "90000.00"}).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=20) as answer:
                taken.append(str(json.load(answer)["application_id"]))
        return taken


@dataclass
class Story:
    """What was done, and what reconciliation says of it."""

    results: dict[str, Result]
    lost: list[str]
    unseen: list[str]
    missed: list[str]

    def found(self, contract: str, kind: str) -> list[Finding]:
        """The findings of a class."""
        return [one for one in self.results[contract].findings if one.kind == kind]


def run(ledger: LedgerUrl, statement: str) -> None:
    engine = create_engine(ledger.owner)
    with engine.begin() as owner:
        owner.execute(text(statement))
    engine.dispose()


def scaled(name: str) -> Contract:
    """A contract that allows for seconds where the scrapes are a second apart."""
    return contracts()[name].model_copy(
        update={
            "tolerance": Tolerance(ahead=1, behind=2),
            "freshness": Freshness(ledger=0, metric=0),
        }
    )


@pytest.fixture(scope="module")
def story(postgres: servers.Postgres, server_dir: Path, prometheus_programs: Any) -> Iterator[Story]:
    folder = server_dir / "replicas"
    folder.mkdir()
    ledger = new_ledger(postgres)
    one, other = Replica("backend-1", ledger, folder), Replica("backend-2", ledger, folder)
    config = folder / "prometheus.yml"
    # The first backend stands in the configuration a second time, under another name.
    again = Gate(one.url)
    again.open = False
    gates = {one.name: one.gate, other.name: other.gate, f"{one.name}-again": again}
    jobs = [{"targets": [gate.address], "labels": {"instance": name}} for name, gate in gates.items()]
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [{"job_name": "conductores-backend", "static_configs": jobs}],
            }
        )
    )
    prometheus = servers.Prometheus(config, folder / "data", program=prometheus_programs.prometheus)
    with contextlib.ExitStack() as stack:
        stack.callback(drop_ledger, postgres, ledger)
        for replica in (one, other):
            stack.callback(replica.gate.close)
            stack.callback(replica.stop)
            replica.start()
        stack.enter_context(prometheus)
        stack.callback(again.close)
        yield told(one, other, again, ledger, prometheus)


def told(one: Replica, other: Replica, again: Gate, ledger: LedgerUrl, prometheus: servers.Prometheus) -> Story:
    one.ready()
    one.take(1)
    # Each process counts its ids on from the largest that it finds: the second's begin far off.
    for statement in (
        "insert into bi.applications values ('A0500000', 'D0', now() - interval '9 days', 1, null, null, 'withdrawn',"
        " null, null, now() - interval '9 days')",
        "insert into bi.integration_calls values (500000, now() - interval '9 days', 'metamap', '/x', 'success', 200,"
        " 1, null, null, 'r', null, null, null)",
        "insert into bi.hase_scores values (500000, 'A0500000', 'D0', 50, 'v', now() - interval '9 days')",
    ):
        run(ledger, statement)
    other.ready()
    other.take(1)
    for replica in (one, other):
        replica.gate.wait(3)
    # The ledger is read by whole seconds.
    start = datetime.now(UTC).replace(microsecond=0)

    # Two replicas, both scraped: nothing to be found.
    one.take(3)
    other.take(2)

    # A credit past the instrumented path.
    run(
        ledger,
        "insert into bi.credits values ('C0000042', 'A0000001', 'D0', 'AA', 125000.50, now(), now(), 'sent', 'active',"
        " null, now())",
    )
    time.sleep(SETTLED)
    for replica in (one, other):
        replica.gate.wait(1)

    # For a while one process is scraped under two names.
    again.open = True
    again.wait(2)
    for _ in range(5):
        one.take(1)
        again.wait(1)
        one.gate.wait(1)
    again.open = False

    # A restart in the midst of traffic: what was counted after the last scrape goes with the process.
    one.gate.open = False
    time.sleep(0.3)
    lost = one.take(4)
    one.stop()
    one.start()
    one.ready()
    one.gate.open = True
    one.gate.wait(2)

    # Nobody scrapes for a while.
    for replica in (one, other):
        replica.gate.open = False
    unseen = other.take(3)
    time.sleep(5)
    for replica in (one, other):
        replica.gate.open = True
        replica.gate.wait(2)

    # A replica counts on while nobody scrapes it any more.
    other.gate.open = False
    time.sleep(SETTLED)
    missed = other.take(6)
    end = datetime.now(UTC)
    time.sleep(SETTLED)
    one.gate.wait(2)

    checks.clear()
    queries.connect(Sources(ledger_url=ledger.reader, prometheus=Prometheus(prometheus.url), scrape_interval=INTERVAL))
    module = sys.modules["queries.reconcile"]
    with pytest.MonkeyPatch.context() as patch:
        # Windows are cut at whole minutes; this one is as long as one.
        patch.setattr(module, "_minute", lambda when: when.replace(microsecond=0))
        names = ("applications_submitted", "credits_disbursed", "credits_disbursed_mxn")
        results = {name: reconcile(scaled(name), start, end) for name in names}
    today = datetime.now(ZONE).date()
    checks._kept[today] = Check(today, datetime.now(UTC), 0.1, results)
    return Story(results, lost, unseen, missed)


@pytest.fixture(autouse=True)
def english(story: Story) -> None:
    set_default_language("en")


def test_both_sources_were_compared(story: Story) -> None:
    submitted = story.results["applications_submitted"]
    assert submitted.error is None
    assert submitted.state == "differs"
    assert submitted.ledger == 3 + 2 + 5 + 4 + 3 + 6


def test_what_a_restart_lost_is_a_counter_reset_of_that_process(story: Story) -> None:
    [found] = story.found("applications_submitted", "counter_reset")
    assert (found.size, found.instances) == (4, ("backend-1",))
    assert set(story.lost) <= set(found.rows)
    assert "backend-1 began anew" in sentence(story.results["applications_submitted"].contract, found)


def test_scrapes_that_are_missing_are_a_gap_and_lose_nothing(story: Story) -> None:
    both = [one for one in story.found("applications_submitted", "scrape_gap") if "backend-2" in one.instances]
    assert both
    assert max(one.facts["missed"] for one in both) >= 4
    assert all(one.amount == 0 for one in both)
    named = {id for finding in story.results["applications_submitted"].findings for id in finding.rows}
    assert not named & set(story.unseen)


def test_a_replica_that_counts_and_is_not_scraped_is_missing(story: Story) -> None:
    [found] = story.found("applications_submitted", "replica_missing")
    assert (found.size, found.instances) == (6, ("backend-2",))
    assert set(story.missed) <= set(found.rows)


def test_a_process_that_is_scraped_under_two_names_is_counted_twice(story: Story) -> None:
    [found] = story.found("applications_submitted", "counted_twice")
    assert (found.size, found.instances) == (5, ("backend-1", "backend-1-again"))
    assert found.amount == 5
    told = sentence(story.results["applications_submitted"].contract, found)
    assert "backend-1, backend-1-again are one process under two names" in told
    # It is named by the process: no row of it is wrong.
    assert found.rows == ()


@pytest.mark.parametrize(("contract", "size"), [("credits_disbursed", 1), ("credits_disbursed_mxn", 125000.50)])
def test_a_credit_past_the_instrumented_path_is_named_by_its_id(story: Story, contract: str, size: float) -> None:
    [found] = story.found(contract, "row_without_metric")
    assert found.size == pytest.approx(size)
    assert found.rows == ("C0000042",)
    assert found.certain
    assert story.results[contract].state == "differs"


def test_the_page_names_each_class_and_the_credit(story: Story) -> None:
    def words(contract: str) -> str:
        app = AppTest.from_file(PAGE, default_timeout=30)
        app.query_params["contract"] = contract
        app.run()
        assert not app.exception
        cells = [str(value) for table in app.dataframe for value in table.value.to_numpy().ravel()]
        return "\n".join([*(str(part.value) for part in app.markdown), *cells])

    applications = words("applications_submitted")
    for kind in ("counter_reset", "scrape_gap", "replica_missing", "counted_twice"):
        assert f"**{classes()[kind].name}**" in applications  # type: ignore[index]
    assert "backend-2" in applications
    credits = words("credits_disbursed")
    assert "**Row without metric**: The ledger has 1 event that no process counted" in credits
    assert "It is exactly C0000042." in credits
