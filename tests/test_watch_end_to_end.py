"""The whole watch at work, every part of it real: the backend dies, people are told once, and it ends where it began.

Prometheus runs the rules of `monitoring/rules` and Alertmanager the routes of `monitoring/alertmanager.yml`; only waits
are shorter (a minute is ten seconds), so that a test need not last as long as an outage. Slack and PagerDuty are an
inbox on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from sqlalchemy import create_engine, text

from demo import servers
from demo.inbox import Inbox
from demo.watch import MONITORING, alertmanager_config, prometheus_config
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger
from tests.dashboard import Dashboard, serve

TOKEN = "hook-token-of-the-tests"
# So many times shorter than in the files. Prometheus takes five seconds to find its targets: an alert on what is absent
# must wait for longer.
SCALE = 6
BOUND = 45.0


def shorter(text: str) -> str:
    """A time of Prometheus such as 5m, so many times shorter, and no shorter than a second."""
    units = {"s": 1, "m": 60, "h": 3600}
    return f"{max(1, int(text[:-1]) * units[text[-1]] // SCALE)}s"


def shorter_rules(folder: Path) -> str:
    """The rules of monitoring/rules with shorter waits; the pattern of their files."""
    folder.mkdir()
    for path in (MONITORING / "rules").glob("*.yml"):
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in told["groups"]:
            # Objectives look at days: their groups keep their minutes.
            if "sloth" not in group["name"]:
                group.pop("interval", None)
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = shorter(rule["for"])
        (folder / path.name).write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return str(folder / "*.yml")


class Prometheus(servers.Prometheus):
    """One that tells Alertmanager again soon what it told while it had not found it yet."""

    def arguments(self) -> list[str]:
        return [*super().arguments(), "--rules.alert.resend-delay=2s"]


@dataclass
class Backend:
    """The simulated backend, which a test may kill and start again on the same port."""

    folder: Path
    ledger: LedgerUrl
    port: int = field(default_factory=servers.free_port)
    child: servers.Child | None = None

    def start(self) -> None:
        self.child = servers.Child(
            "the backend",
            [sys.executable, "-m", "demo.backend"],
            log=self.folder / "backend.log",
            cwd=ROOT,
            env={
                **os.environ,
                "DEMO_BACKEND_PORT": str(self.port),
                "DEMO_LEDGER_URL": self.ledger.core,
                "DEMO_TRAFFIC": "off",
            },
        )
        self.child.wait_until(lambda: servers.answers(f"http://127.0.0.1:{self.port}/health"), bound=30)

    def kill(self) -> None:
        """As a machine that is gone: no farewell."""
        assert self.child is not None
        self.child.process.kill()
        self.child.process.wait(10)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


@dataclass
class Watch:
    """What runs, and what it has told."""

    backend: Backend
    inbox: Inbox
    prometheus: str
    alertmanager: str
    dashboard: Dashboard
    state_url: str

    def told(self, to: str, alert: str) -> list[dict[str, Any]]:
        """The messages to slack/CHANNEL or pagerduty that speak of an alert."""
        return [one.body for one in list(self.inbox.messages) if one.to == to and alert in json.dumps(one.body)]

    def firing(self, alert: str) -> bool:
        """Whether Prometheus has the alert firing."""
        found = requests.get(f"{self.prometheus}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
        return any(one["labels"]["alertname"] == alert and one["state"] == "firing" for one in found)

    def rows(self, statement: str) -> list[Any]:
        """What the state database holds."""
        engine = create_engine(self.state_url)
        with engine.connect() as owner:
            rows = list(owner.execute(text(statement)))
        engine.dispose()
        return rows

    def wait_for(self, ready: Callable[[], Any], what: str, bound: float = BOUND) -> None:
        """Wait until `ready()`, with a bound that says what did not come."""
        until = time.monotonic() + bound
        while True:
            with contextlib.suppress(requests.RequestException):
                if ready():
                    return
            assert time.monotonic() < until, f"{what} did not come.\n{self.inbox.text()}"
            time.sleep(0.1)


@contextlib.contextmanager
def watch(postgres: servers.Postgres, server_dir: Path, **env: str) -> Iterator[Watch]:
    """Everything up, the backend in good health."""
    programs = servers.find_prometheus(server_dir / "packages")
    program = servers.find_alertmanager(server_dir / "packages")
    if programs is None or program is None:
        pytest.skip("No Prometheus or no Alertmanager on this machine")
    folder = server_dir / f"watch-{servers.free_port()}"
    folder.mkdir()
    ledger, own = new_ledger(postgres), new_ledger(postgres, "template1")
    ports = {name: servers.free_port() for name in ("prometheus", "alertmanager")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    (folder / "token").write_text(TOKEN)
    with contextlib.ExitStack() as stack:
        stack.callback(drop_ledger, postgres, own)
        stack.callback(drop_ledger, postgres, ledger)
        inbox = stack.enter_context(Inbox())
        backend = Backend(folder, ledger)
        stack.callback(backend.stop)
        backend.start()
        dashboard = stack.enter_context(
            serve(
                folder,
                {
                    "MIRADOR_LEDGER_URL": ledger.reader,
                    "MIRADOR_STATE_URL": own.owner,
                    "MIRADOR_PROMETHEUS_URL": urls["prometheus"],
                    "MIRADOR_ALERTMANAGER_URL": urls["alertmanager"],
                    "MIRADOR_HOOK_TOKEN": TOKEN,
                    "MIRADOR_SCRAPE_INTERVAL": "1",
                    **env,
                },
            )
        )
        config = yaml.safe_load(
            alertmanager_config(mirador=dashboard.url, inbox=inbox.url, secrets=folder / "secrets", hook_token=TOKEN)
        )
        for route in [config["route"], *config["route"]["routes"]]:
            for name in ("group_wait", "group_interval"):
                if name in route:
                    route[name] = "1s" if name == "group_interval" else "300ms"
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        stack.enter_context(
            servers.Alertmanager(
                folder / "alertmanager.yml", folder / "alertmanager", program=program, port=ports["alertmanager"]
            )
        )
        made = yaml.safe_load(
            prometheus_config(
                targets={
                    "conductores-backend": f"127.0.0.1:{backend.port}",
                    "mirador": dashboard.url.removeprefix("http://"),
                },
                mirador_url=dashboard.url,
                token_file=folder / "token",
                alertmanager=f"127.0.0.1:{ports['alertmanager']}",
                interval="1s",
            )
        )
        made["rule_files"] = [shorter_rules(folder / "rules")]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(made))
        stack.enter_context(
            Prometheus(
                folder / "prometheus.yml",
                folder / "prometheus",
                program=programs.prometheus,
                port=ports["prometheus"],
            )
        )
        yield Watch(backend, inbox, urls["prometheus"], urls["alertmanager"], dashboard, own.owner)


def test_a_dead_backend_is_told_once_to_all_and_ends_everywhere_when_it_is_back(
    postgres: servers.Postgres, server_dir: Path
) -> None:
    with watch(postgres, server_dir) as run:

        def up() -> bool:
            asked = {"query": 'up{job="conductores-backend"} == 1'}
            return bool(
                requests.get(f"{run.prometheus}/api/v1/query", params=asked, timeout=5).json()["data"]["result"]
            )

        run.wait_for(up, "the backend's first scrape")
        assert not run.firing("BackendDown")
        # Alerts would arrive: the dead man's switch is heard, kept, and told to /metrics.
        run.wait_for(lambda: run.rows("select from mirador.heartbeats where name = 'watchdog'"), "the Watchdog")
        run.wait_for(
            lambda: "mirador_watchdog_heard_timestamp_seconds" in run.dashboard.get("/metrics")[1], "its metric"
        )

        run.backend.kill()
        run.wait_for(lambda: run.firing("BackendDown"), "the alert")
        run.wait_for(lambda: run.told("pagerduty", "BackendDown"), "the page")
        run.wait_for(lambda: run.told("slack/conductores-alerts", "BackendDown"), "the message to Slack")
        kept = "select ends_at from mirador.events where kind = 'alert' and title like 'BackendDown:%'"
        run.wait_for(lambda: [row.ends_at for row in run.rows(kept)] == [None], "the alert's history")
        incidents = "select component, severity, status, ended_at from mirador.incidents"
        run.wait_for(lambda: run.rows(incidents), "the incident")
        (incident,) = run.rows(incidents)
        assert (incident.component, incident.severity, incident.ended_at) == ("api", "critical", None)

        def public() -> list[tuple[str, str]]:
            told = json.loads(run.dashboard.get("/status.json")[1])
            return [(one["component"], one["status"]) for one in told["incidents"]]

        run.wait_for(lambda: public() == [("api", "investigating")], "the incident on the status page")
        assert "Problems with API Backend" in run.dashboard.get("/status?lang=en")[1]

        run.backend.start()
        run.wait_for(lambda: len(run.told("pagerduty", "BackendDown")) == 2, "PagerDuty's resolve")
        run.wait_for(lambda: len(run.told("slack/conductores-alerts", "BackendDown")) == 2, "Slack's resolve")
        run.wait_for(lambda: all(row.ends_at for row in run.rows(kept)), "the end in the history")
        run.wait_for(lambda: all(row.ended_at for row in run.rows(incidents)), "the end of the incident")
        run.wait_for(lambda: public() == [("api", "resolved")], "its end on the status page")

        # Once each, however often Alertmanager was at it.
        pages = run.told("pagerduty", "BackendDown")
        assert [one["event_action"] for one in pages] == ["trigger", "resolve"]
        assert len({one["dedup_key"] for one in pages}) == 1
        said = [one["attachments"][0]["text"] for one in run.told("slack/conductores-alerts", "BackendDown")]
        assert said[1].startswith("Resuelto")
        assert not said[0].startswith("Resuelto")
        assert len(run.rows(incidents)) == 1
        assert not run.told("pagerduty", "Watchdog")
        assert not run.told("slack/conductores-warnings", "Watchdog")
