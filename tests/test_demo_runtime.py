"""The demo's runtime: ledger and metrics agree; what it starts is ended and recovered, and nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text

from demo import servers
from demo.__main__ import incident
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger

# --- the backend ---


class Backend:
    """A running backend, and its ledger."""

    def __init__(self, url: str, ledger: LedgerUrl) -> None:
        self.url = url
        self.ledger = ledger

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that carry these labels."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait(self) -> None:
        """Until nothing goes on in the background."""
        until = time.monotonic() + 30
        while self.ask("GET", "/health")[1]["working"]:
            assert time.monotonic() < until
            time.sleep(0.05)

    def sql(self, statement: str) -> object:
        engine = create_engine(self.ledger.owner)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            value = result.scalar() if result.returns_rows else None
        engine.dispose()
        return value


@pytest.fixture(scope="module")
def backend(postgres: servers.Postgres, server_dir: Path) -> Iterator[Backend]:
    ledger = new_ledger(postgres)
    port = servers.free_port()
    child = servers.Child(
        "backend",
        [sys.executable, "-m", "demo.backend"],
        log=server_dir / "backend.log",
        env={
            **os.environ,
            "DEMO_BACKEND_PORT": str(port),
            "DEMO_LEDGER_URL": ledger.core,
            "DEMO_TRAFFIC": "off",
            "DEMO_SPEED": "50",
        },
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        child.wait_until(lambda: servers.answers(f"{url}/health"), bound=30)
        yield Backend(url, ledger)
    finally:
        child.stop()
        drop_ledger(postgres, ledger)


def agree(backend: Backend) -> None:
    """Each counter of an event equals the ledger's rows of that event."""
    backend.wait()
    for metric, labels, rows in (
        ("applications_submitted_total", {}, "bi.applications"),
        ("hase_scores_calculated_total", {}, "bi.hase_scores"),
        ("hase_score_distribution_count", {}, "bi.hase_scores"),
        ("applications_approved_total", {}, "bi.applications where status = 'approved'"),
        ("applications_rejected_total", {}, "bi.applications where status = 'rejected'"),
        ("credits_disbursed_total", {}, "bi.credits where disbursed_at is not null"),
        ("payments_processed_total", {}, "bi.payments"),
        ("payments_processed_total", {"status": "succeeded"}, "bi.payments where status = 'succeeded'"),
        ("integration_api_calls_total", {}, "bi.integration_calls"),
        ("integration_api_calls_total", {"status": "success"}, "bi.integration_calls where status = 'success'"),
        ("integration_api_duration_seconds_count", {}, "bi.integration_calls"),
    ):
        assert backend.metric(metric, **labels) == backend.sql(f"select count(*) from {rows}"), (metric, labels)
    lent = backend.sql("select coalesce(sum(principal), 0) from bi.credits where disbursed_at is not null")
    assert backend.metric("credits_disbursed_amount_mxn_total") == pytest.approx(float(lent), abs=0.005)


def test_an_application_stands_in_the_ledger_and_in_the_counter(backend: Backend) -> None:
    before = backend.metric("applications_submitted_total")
    status, answer = backend.ask("POST", "/applications", {"conductor_id": "con-test", "amount": "150000.00"})
    assert status == 201
    assert backend.metric("applications_submitted_total") == before + 1
    assert backend.sql(f"select status from bi.applications where application_id = '{answer['application_id']}'")
    assert backend.metric("http_requests_total", method="POST", endpoint="/applications", status="201") >= 1
    agree(backend)


def test_ledger_and_metrics_agree_after_a_burst_of_events_at_the_same_time(backend: Backend) -> None:
    def life(number: int) -> None:
        _, new = backend.ask("POST", "/applications", {"conductor_id": f"con-{number}", "amount": "120000.00"})
        application = f"/applications/{new['application_id']}"
        # Without a score there is no decision; the score comes after the answer.
        until = time.monotonic() + 20
        while backend.ask("GET", application)[1]["hase_score"] is None and time.monotonic() < until:
            time.sleep(0.1)
        _, decision = backend.ask("POST", f"{application}/decision")
        if decision["status"] != "approved":
            return
        where = f"where credit_id = '{decision['credit_id']}'"
        while backend.sql(f"select disbursed_at from bi.credits {where}") is None and time.monotonic() < until:
            backend.ask("POST", f"/credits/{decision['credit_id']}/disbursement")
            time.sleep(0.3)
        first = backend.sql(f"select installment_id from bi.installments {where} and sequence = 1")
        for event in ("charge.declined", "charge.paid"):
            backend.ask(
                "POST",
                "/webhooks/conekta",
                {"event": event, "installment_id": first, "amount": "10.00", "method": "oxxo"},
            )
        backend.ask("GET", f"/conductores/con-{number}/trips")

    with ThreadPoolExecutor(12) as crowd:
        list(crowd.map(life, range(30)))
    backend.wait()
    assert backend.metric("payments_processed_total") > 10
    assert backend.metric("credits_disbursed_total") > 5
    agree(backend)


def test_endpoints_are_route_templates_whatever_is_asked(backend: Backend) -> None:
    for path in ("/applications/one", "/applications/two", "/wp-admin.php"):
        status, _ = backend.ask("GET", path)
        assert status == 404
    template = backend.metric("http_requests_total", endpoint="/applications/{application_id}", method="GET")
    assert template >= 2
    assert backend.metric("http_requests_total", endpoint="unmatched") == 1
    assert backend.metric("http_requests_total", endpoint="/applications/one") == 0


def test_an_application_is_decided_once_however_many_ask(backend: Backend) -> None:
    _, new = backend.ask("POST", "/applications", {"conductor_id": "con-once", "amount": "90000.00"})
    path = f"/applications/{new['application_id']}/decision"
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda _: backend.ask("POST", path), range(8)))
    agree(backend)


def test_a_paid_up_credit_is_closed_and_late_ones_are_counted_by_level(postgres: servers.Postgres) -> None:
    from decimal import Decimal

    from demo.backend import metrics
    from demo.backend.ledger import Installment, Ledger

    own = new_ledger(postgres)
    ledger = Ledger(own.core, connections=2)
    try:
        today = datetime(2026, 3, 31, tzinfo=UTC).date()
        ledger.record_application("a", "c", Decimal("100.00"))
        ledger.record_score("a", "c", 80, "AA", "v")
        assert ledger.record_approval("a", "k", Decimal("100.00"))
        assert not ledger.record_approval("a", "k2", Decimal("100.00"))
        late = (0, 1, 7, 8, 15, 16, 30, 31, 60, 61, 90, 91)
        plan = [Installment(n, today - timedelta(days=days), Decimal("10.00")) for n, days in enumerate(late)]
        assert ledger.record_disbursement("k", plan)
        assert not ledger.record_disbursement("k", plan)
        ledger.refresh_gauges(today)
        for level in ("1_7", "8_15", "16_30", "31_60", "61_90", "90_plus"):
            expected = 1 if level == "90_plus" else 2
            assert metrics.payments_late_count.labels(f"late_{level}_days")._value.get() == expected, level
        assert metrics.credits_active_count.labels("AA")._value.get() == 1
        for number in range(1, len(late) + 1):
            ledger.record_payment("k", number, Decimal("4.00"), "succeeded", "card", None, None)
            ledger.record_payment("k", number, Decimal("6.00"), "succeeded", "card", None, None)
        row = ledger.row("credits", "select status, closed_at from bi.credits")
        assert row is not None
        assert row.status == "paid"
        assert row.closed_at is not None
        ledger.refresh_gauges(today)
        assert metrics.payments_late_count.labels("late_1_7_days")._value.get() == 0
        assert metrics.credits_active_count.labels("AA")._value.get() == 0
    finally:
        ledger.close()
        drop_ledger(postgres, own)


# --- servers ---


def test_a_killed_postgres_recovers_with_what_was_committed(server_dir: Path) -> None:
    folder = server_dir / "killed"
    with servers.Postgres(folder) as first:
        with create_engine(first.url()).begin() as connection:
            connection.execute(text("create table kept as select generate_series(1, 1000) as n"))
        os.kill(first.pid, signal.SIGKILL)
        with servers.Postgres(folder) as second, create_engine(second.url()).connect() as connection:
            assert connection.execute(text("select count(*) from kept")).scalar_one() == 1000


def test_an_orphan_of_the_same_folder_is_ended_and_another_folders_server_is_not(server_dir: Path) -> None:
    with servers.Postgres(server_dir / "orphan") as orphan, servers.Postgres(server_dir / "other") as other:
        with servers.Postgres(server_dir / "orphan") as fresh:
            assert not orphan.alive()
            assert fresh.alive()
        assert other.alive()


def test_a_pid_file_that_names_a_stranger_harms_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            started = psutil.Process(stranger.pid).create_time()
            for noted in ({"pid": stranger.pid, "started": started - 60}, {"pid": stranger.pid, "started": started}):
                (tmp_path / "x.pid").write_text(json.dumps(noted))
                assert not servers.end_orphan(tmp_path / "x.pid", names="demo.backend")
            assert stranger.poll() is None
        finally:
            stranger.kill()


# --- the command ---


def test_an_incident_without_a_demo_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert incident(["geotab", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "No demo answers: start it with `make demo` first.\n"


class Run:
    """`python -m demo` in a folder of its own, small and without a dashboard."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.output = folder.with_name(folder.name + ".out")
        env = {**os.environ, "DEMO_SCALE": "0.01", "DEMO_METRICS_DAYS": "1", "COLUMNS": "200"}
        env.update({name: str(port) for name, port in ports.items()})
        with self.output.open("w") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo", "--no-dashboard", "--no-browser", "--dir", str(folder)],
                cwd=ROOT,
                env=env,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def ready(self, bound: float = 60) -> dict:
        until = time.monotonic() + bound
        while time.monotonic() < until:
            assert self.process.poll() is None, self.output.read_text()
            try:
                state = json.loads((self.folder / "running.json").read_text())
            except (OSError, ValueError):
                state = {}
            # A killed run leaves its note behind.
            if state.get("pid") == self.process.pid:
                return state
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.output.read_text()}")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(40)


def count_of(url: str, table: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        number = connection.execute(text(f"select count(*) from {table}")).scalar_one()
    engine.dispose()
    return int(number)


def test_the_demo_starts_ends_and_recovers(server_dir: Path) -> None:
    """One story, as a start costs seconds: first start, taken port, second demo, SIGTERM, kill -9, recovery, Ctrl-C."""
    folder = server_dir / "demo"
    ports = {
        name: servers.free_port() for name in ("DEMO_POSTGRES_PORT", "DEMO_PROMETHEUS_PORT", "DEMO_ALERTMANAGER_PORT")
    }
    with socket.socket() as taken, subprocess.Popen(["sleep", "300"]) as stranger:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports["DEMO_BACKEND_PORT"] = taken.getsockname()[1]
        run = Run(folder, ports)
        try:
            state = run.ready(90)
            # A taken port is moved, and said.
            assert state["backend"] != f"http://127.0.0.1:{ports['DEMO_BACKEND_PORT']}"
            assert f"port {ports['DEMO_BACKEND_PORT']} is taken" in run.output.read_text()
            assert servers.answers(f"{state['backend']}/health")
            # The parts around the backend are up, whichever can be had here, and an incident can be begun.
            assert servers.answers(f"{state['cloudwatch']}/moto-api/data.json")
            assert servers.answers(f"{state['traces']}/api/services")
            said = subprocess.run(
                [sys.executable, "-m", "demo", "incident", "geotab", "--minutes", "5", "--dir", str(folder)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert said.stdout.startswith("geotab fails until "), said
            failed = "bi.integration_calls where integration = 'geotab' and status <> 'success'"
            before = count_of(state["ledger"], failed)
            until = time.monotonic() + 20
            while count_of(state["ledger"], failed) == before and time.monotonic() < until:
                time.sleep(0.2)
            assert count_of(state["ledger"], failed) > before
            applications = count_of(state["ledger"], "bi.applications")
            assert applications > 100
            made = json.loads((folder / "history.json").read_text())["until"]
            # Two demos do not share a folder.
            second = subprocess.run(
                [sys.executable, "-m", "demo", "--no-dashboard", "--dir", str(folder)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert second.returncode == 1
            assert "already runs" in second.stdout
            # SIGTERM leaves nothing of ours alive, and a stranger is left alone.
            family = run.family()
            assert len(family) >= 3
            run.end()
            assert not [process for process in family if servers.runs(process)]
            assert stranger.poll() is None
            # kill -9 of the parent leaves orphans; the next start ends them and keeps the data.
            run = Run(folder, ports)
            run.ready(30)
            orphans = run.family()
            run.end(signal.SIGKILL)
            assert [process for process in orphans if servers.runs(process)]
            began = time.monotonic()
            run = Run(folder, ports)
            state = run.ready(30)
            assert time.monotonic() - began < 15
            assert "Leftovers" in run.output.read_text()
            assert not [process for process in orphans if servers.runs(process)]
            assert json.loads((folder / "history.json").read_text())["until"] == made
            assert count_of(state["ledger"], "bi.applications") >= applications
            # A child that dies is told.
            backend = next(one for one in run.family() if "demo.backend" in one.cmdline())
            backend.kill()
            until = time.monotonic() + 10
            while "has ended by itself" not in run.output.read_text() and time.monotonic() < until:
                time.sleep(0.1)
            assert "Backend  has ended by itself" in run.output.read_text()
            family = run.family()
            run.end(signal.SIGINT)
            assert run.process.returncode == 0
            assert not [process for process in family if servers.runs(process)]
            assert stranger.poll() is None
        finally:
            if run.process.poll() is None:
                run.end()
            stranger.kill()
            # Whatever failed above: this ends what was left running, too.
            subprocess.run(
                [sys.executable, "-m", "demo", "--clean", "--dir", str(folder)], cwd=ROOT, timeout=30, check=True
            )
    assert not folder.exists()
