"""Alerts: what Alertmanager and Prometheus say, what it costs, silences with their right and their book, the page."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import httpx
import pandas as pd
import pytest
import requests
import yaml
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

import components
import queries
from app import silences, state, watchdog
from app.auth import Viewer
from app.settings import Settings
from demo import servers
from queries import alerts as told
from queries.alertmanager_client import AlertmanagerClient
from queries.errors import SourceError
from tests.answering import Server, said
from tests.conftest import drop_ledger, new_ledger
from tests.dashboard import chromium, chromium_path, serve, viewer
from tests.test_integrations import application, call, credit, payment

PAGES = Path(__file__).resolve().parent.parent / "pages"
NAMES = ("alerts", "runbooks", "integrations", "api_health", "disbursements", "incidents")
SCRIPT = f"""
from pathlib import Path
import streamlit as st
st.navigation(
    [st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in {NAMES} if Path(f"{PAGES}/{{name}}.py").is_file()],
    position="hidden",
).run()
"""
ZONE = ZoneInfo("America/Mexico_City")
TOKEN = "a-token-of-the-tests"
ENGINEER = Viewer("eva", frozenset({"engineer"}))
ANALYST = Viewer("ana", frozenset({"analyst", "executive"}))
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# A Wednesday that is no holiday and stands far from a payday.
NOON = datetime(2026, 3, 25, 12, tzinfo=ZONE)


# --- a real Alertmanager ----------------------------------------------------------------------------------------------


@dataclass
class Alerts:
    """A running Alertmanager that tells nobody; it inhibits by cause as ours does."""

    url: str

    def post(self, name: str, *, minutes: float = 5, ended: bool = False, **labels: str) -> None:
        now = datetime.now(UTC)
        base = "http://mirador.example"
        answer = requests.post(
            f"{self.url}/api/v2/alerts",
            json=[
                {
                    "labels": {"alertname": name, "severity": "critical", **labels},
                    "annotations": {
                        "summary": f"{name} holds",
                        "summary_es": f"{name} se cumple",
                        "description": "It is *so*, and costs $5 or $6.",
                        "dashboard_url": f"{base}/integrations?integration=neon",
                    },
                    "startsAt": (now - timedelta(minutes=minutes)).isoformat(),
                    "endsAt": (now - timedelta(seconds=1) if ended else now + timedelta(hours=1)).isoformat(),
                    "generatorURL": "http://prometheus/graph",
                }
            ],
            timeout=5,
        )
        assert answer.ok, answer.text

    def wait_for(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not ready():
            assert time.monotonic() < until
            time.sleep(0.1)

    def clear(self) -> None:
        """No alert and no silence."""
        for one in requests.get(f"{self.url}/api/v2/silences", timeout=5).json():
            if one["status"]["state"] != "expired":
                requests.delete(f"{self.url}/api/v2/silence/{one['id']}", timeout=5)
        for one in requests.get(f"{self.url}/api/v2/alerts", timeout=5).json():
            self.post(ended=True, **_as_arguments(one["labels"]))
        self.wait_for(lambda: not requests.get(f"{self.url}/api/v2/alerts", timeout=5).json())

    def held(self) -> dict[str, str]:
        return {row.alert: row.state for row in self.client().alerts().itertuples()}

    def client(self) -> AlertmanagerClient:
        return AlertmanagerClient(self.url, zone=ZONE)


def _as_arguments(labels: dict[str, str]) -> dict[str, str]:
    return {"name": labels["alertname"], **{name: value for name, value in labels.items() if name != "alertname"}}


@pytest.fixture(scope="module")
def running(server_dir: Path) -> Iterator[Alerts]:
    program = servers.find_alertmanager(server_dir / "packages")
    if program is None:
        pytest.skip("No Alertmanager on this machine")
    folder = server_dir / "alertmanager-page"
    folder.mkdir()
    inhibit = {"source_matchers": ['alertname="BackendDown"'], "target_matchers": ['needs="backend"']}
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}], "inhibit_rules": [inhibit]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    with servers.Alertmanager(folder / "alertmanager.yml", folder / "data", program=program) as server:
        yield Alerts(server.url)


@pytest.fixture
def alertmanager(running: Alerts) -> Alerts:
    running.clear()
    return running


@pytest.fixture(scope="module")
def state_url(postgres: servers.Postgres) -> Iterator[str]:
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@pytest.fixture
def house(state_url: str, alertmanager: Alerts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with an empty book and an empty Alertmanager, and the sources that go with them."""
    run_sql(state_url, "truncate mirador.silence_audit, mirador.heartbeats, mirador.events")
    given = Settings(state_url=state_url, hook_token=TOKEN, alertmanager_url=alertmanager.url)
    monkeypatch.setattr("app.settings.settings", lambda: given)
    watchdog.forget()
    queries.connect(queries.Sources(state_url=state_url, outside=queries.Outside(alertmanager_url=alertmanager.url)))
    queries.forget("state")
    yield given
    queries.disconnect()


def run_sql(url: str, statement: str, rows: list[dict[str, Any]] | None = None) -> list[Any]:
    engine = create_engine(url)
    with engine.begin() as owner:
        done = owner.execute(text(statement), rows or {})
        found = list(done) if done.returns_rows else []
    engine.dispose()
    return found


def book(url: str) -> list[Any]:
    return run_sql(url, "select * from mirador.silence_audit order by id")


# --- what Alertmanager says -------------------------------------------------------------------------------------------


def test_alerts_are_firing_silenced_or_inhibited_as_alertmanager_has_them(alertmanager: Alerts):
    assert alertmanager.client().alerts().empty
    alertmanager.post("BackendDown", component="api", minutes=9)
    alertmanager.post("HighErrorRate", needs="backend", component="api")
    alertmanager.post("HighLatePayments", severity="warning", minutes=30)
    alertmanager.client().silence(
        [("alertname", "HighLatePayments")],
        reason="It is known.",
        starts_at=datetime.now(UTC),
        ends_at=datetime.now(UTC) + HOUR,
        by="test",
    )
    expected = {"BackendDown": "firing", "HighErrorRate": "inhibited", "HighLatePayments": "silenced"}
    alertmanager.wait_for(lambda: alertmanager.held() == expected)
    frame = alertmanager.client().alerts()
    assert list(frame["alert"]) == ["HighLatePayments", "BackendDown", "HighErrorRate"]
    assert str(frame["starts_at"].dt.tz) == ZONE.key
    first = frame.iloc[1]
    assert json.loads(first["labels"]) == {"alertname": "BackendDown", "component": "api", "severity": "critical"}
    assert (first["summary"], first["summary_es"]) == ("BackendDown holds", "BackendDown se cumple")
    assert frame["inhibited_by"].iloc[2] == first["fingerprint"]
    kept = alertmanager.client().silences()
    assert frame["silenced_by"].iloc[0] == kept["silence_id"].iloc[0]
    assert (kept["reason"].iloc[0], kept["created_by"].iloc[0], kept["state"].iloc[0]) == (
        "It is known.",
        "test",
        "active",
    )
    assert told.matchers_of(kept["matchers"].iloc[0]) == {"alertname": "HighLatePayments"}
    alertmanager.client().expire(kept["silence_id"].iloc[0])
    assert alertmanager.client().silences().empty
    assert alertmanager.client().ping() < 3


def test_the_watchdog_is_no_alert_of_the_page_and_critical_ones_come_first(house: Settings, alertmanager: Alerts):
    alertmanager.post("Watchdog", severity="none", minutes=900)
    alertmanager.post("RollupsStale", severity="warning", minutes=60)
    alertmanager.post("BackendDown", minutes=1)
    alertmanager.wait_for(lambda: len(alertmanager.held()) == 3)
    assert list(told.active()["alert"]) == ["BackendDown", "RollupsStale"]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


ASKED: dict[str, Callable[[AlertmanagerClient], Any]] = {
    "alerts": lambda client: client.alerts(),
    "silences": lambda client: client.silences(),
    "status": lambda client: client.status(),
    "silence": lambda client: client.silence(
        [("a", "b")], reason="x", starts_at=datetime.now(UTC), ends_at=datetime.now(UTC), by="x"
    ),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", b'"secret of theirs"', "refused"),
        ("404 Not Found", b"", "refused"),
        ("500 Internal Server Error", b"secret of theirs", "down"),
        ("503 Service Unavailable", b"", "down"),
        ("200 OK", b"<html>secret of theirs</html>", "refused"),
        ("200 OK", b"3", "refused"),
        ("200 OK", b"", "refused"),
        ("200 OK", b'[{"labels": 3}]', "refused"),
        ("200 OK", b'[{"id": "x", "status": {"state": "active"}, "matchers": 3}]', "refused"),
        ("302 Found", b"", "refused"),
    ],
)
def test_a_wrong_answer_is_one_sentence_of_our_own(server: Server, name: str, status: str, body: bytes, kind: str):
    server.answer = said(body, status)
    with pytest.raises(SourceError) as caught:
        ASKED[name](AlertmanagerClient(server.url, zone=ZONE))
    assert caught.value.kind == kind
    assert caught.value.source == "alertmanager"
    assert "secret of theirs" not in str(caught.value)


@pytest.mark.parametrize("name", ASKED)
def test_a_slow_alertmanager_costs_no_more_than_its_bound(server: Server, name: str):
    server.answer = lambda connection: time.sleep(3)
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        ASKED[name](AlertmanagerClient(server.url, zone=ZONE, timeout=0.4))
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 1.5


def test_while_it_is_away_the_last_answer_is_told_with_its_age_and_the_new_one_when_it_is_back(server: Server):
    queries.connect(queries.Sources(fresh_for=0.2, outside=queries.Outside(alertmanager_url=server.url)))
    try:
        server.answer = said(b"[]")
        assert told.silences().empty
        server.answer = said(b"", "503 Service Unavailable")
        time.sleep(0.3)
        old = queries.answer_of(told.silences())
        assert old.error == "Alertmanager failed (HTTP 503)."
        server.answer = said(b"[]")
        until = time.monotonic() + 10
        while queries.answer_of(told.silences()).error is not None:
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        queries.disconnect()


# --- what Prometheus says ---------------------------------------------------------------------------------------------


def test_pending_alerts_come_from_prometheus_with_their_labels_and_since_when(
    prometheus_server: Callable[..., str], tmp_path: Path
):
    rules = [
        {
            "alert": "HighLatency",
            "expr": "vector(1)",
            "for": "1h",
            "labels": {"severity": "warning", "component": "api"},
        },
        {"alert": "Slow", "expr": 'label_replace(vector(1), "integration", "neon", "", "")', "for": "1h"},
        {"alert": "Fires", "expr": "vector(1)"},
        {"alert": "Quiet", "expr": "vector(0) > 0"},
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))
    url = prometheus_server(
        config=yaml.safe_dump({"global": {"evaluation_interval": "1s"}, "rule_files": [str(tmp_path / "rules.yml")]})
    )
    queries.connect(queries.Sources(prometheus=queries.Prometheus(url=url)))
    try:
        until = time.monotonic() + 15
        while len(told.pending()) < 2:
            assert time.monotonic() < until
            queries.forget("metrics")
            time.sleep(0.2)
        frame = told.pending().sort_values("alert", ignore_index=True)
        assert list(frame["alert"]) == ["HighLatency", "Slow"]
        assert list(frame["severity"]) == ["warning", ""]
        assert told.labels_of(frame["labels"].iloc[1]) == {"alertname": "Slow", "integration": "neon"}
        assert (datetime.now(UTC) - frame["since"].max()).total_seconds() < 60
        assert str(frame["since"].dt.tz) == ZONE.key
    finally:
        queries.disconnect()


# --- where it came from -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "age", "expected"),
    [
        ("http://m/api_health", 5 * MINUTE, ("api_health", {"range": "1h"})),
        ("http://m/api_health", 3 * HOUR, ("api_health", {"range": "6h"})),
        ("http://m/integrations?integration=neon", 10 * HOUR, ("integrations", {"integration": "neon"})),
        ("http://m/api_health", 3 * DAY, ("api_health", {"range": "7d"})),
        (
            "http://m/slos?slo=availability",
            20 * DAY,
            ("slos", {"slo": "availability", "range": "days", "from": "2026-03-04", "to": "2026-03-25"}),
        ),
        ("http://m/disbursements", 2 * HOUR, ("disbursements", {"period": "today"})),
        ("http://m/disbursements", 2 * DAY, ("disbursements", {"period": "last_7"})),
        ("http://m/", HOUR, None),
        ("http://m/a/b", HOUR, None),
        ("javascript:alert(1)", HOUR, None),
        ("", HOUR, None),
        ("http://[", HOUR, None),
    ],
)
def test_the_panel_that_an_alert_came_from_opens_with_a_span_that_holds_its_beginning(url, age, expected):
    assert told.origin(url, NOON - age, NOON) == expected


def test_an_alert_covers_only_what_carries_all_of_the_labels(house: Settings, alertmanager: Alerts):
    alertmanager.post("IntegrationAPIDown", integration="neon")
    alertmanager.post("IntegrationAPIDown", integration="conekta")
    alertmanager.wait_for(lambda: len(alertmanager.client().alerts()) == 2)
    frame = told.active()
    assert told.matched(frame, {"alertname": "IntegrationAPIDown"}) == 2
    assert told.matched(frame, {"alertname": "IntegrationAPIDown", "integration": "neon"}) == 1
    assert told.matched(frame, {"alertname": "IntegrationAPIDown", "integration": "geotab"}) == 0


# --- the cost ---------------------------------------------------------------------------------------------------------


class Ledger:
    """The ledger as a test fills it."""

    def __init__(self, url: Any) -> None:
        self.url = url

    def fill(self, **tables: list[dict[str, Any]]) -> None:
        run_sql(self.url.owner, "truncate bi.applications, bi.credits, bi.payments, bi.integration_calls")
        for table, rows in tables.items():
            for number, row in enumerate(rows, start=1):
                for key in ("call_id", "payment_id"):
                    if key in row and row[key] is None:
                        row[key] = number
            if rows:
                names = ", ".join(rows[0])
                run_sql(
                    self.url.owner,
                    f"insert into bi.{table} ({names}) values ({', '.join(f':{name}' for name in rows[0])})",
                    rows,
                )
        queries.forget("ledger")


@pytest.fixture
def ledger(ledger_url: Any) -> Iterator[Ledger]:
    queries.connect(queries.Sources(ledger_url=ledger_url.reader))
    yield Ledger(ledger_url)
    queries.disconnect()


def submitted(moment: datetime, number: int, status: str = "pending", amount: int = 1000) -> dict[str, Any]:
    made = application(f"{moment:%y%m%d%H%M}-{number}", None if status == "pending" else moment, amount)
    return {**made, "submitted_at": moment, "status": status}


def test_a_dead_backend_costs_what_normal_days_bring_at_that_time_less_what_came(ledger: Ledger):
    now, days = NOON, queries.normal_days(NOON.date())
    began = NOON - 2 * HOUR
    rows = [
        submitted(datetime.combine(day, (began + MINUTE * (n + 1)).timetz()), n, amount=10_000)
        for day in days
        for n in range(9)
    ]
    # What came before it began, or on other days, is no measure; three came all the same.
    rows += [submitted(began - MINUTE, n) for n in range(50)]
    rows += [submitted(datetime.combine(days[0] - DAY, began.timetz()), n) for n in range(50)]
    rows += [submitted(began + HOUR, n, amount=10_000) for n in range(3)]
    ledger.fill(applications=rows)
    (loss,) = told.cost_of("BackendDown", {}, began, now)
    assert (loss.what, loss.count, loss.amount) == ("applications_missing", 6.0, 60_000.0)
    assert loss.about
    assert loss.since == began


def test_nothing_is_missing_when_as_much_came_as_on_normal_days(ledger: Ledger):
    days = queries.normal_days(NOON.date())
    rows = [submitted(datetime.combine(day, (NOON - HOUR).timetz()), 0) for day in [NOON.date(), *days]]
    ledger.fill(applications=rows)
    assert told.cost_of("HighErrorRate", {}, NOON - 2 * HOUR, NOON) == []


def test_without_normal_days_nothing_is_claimed(ledger: Ledger):
    ledger.fill()
    assert told.cost_of("BackendDown", {}, NOON - HOUR, NOON) == []


def test_a_cost_is_counted_of_24_hours_at_most_and_says_since_when(ledger: Ledger):
    days = queries.normal_days(NOON.date())
    rows = [submitted(datetime.combine(day, NOON.timetz()) - 20 * HOUR, n) for day in days for n in range(5)]
    rows += [submitted(datetime.combine(day, NOON.timetz()) - 30 * HOUR, n) for day in days for n in range(90)]
    ledger.fill(applications=rows)
    (loss,) = told.cost_of("BackendDown", {}, NOON - 9 * DAY, NOON)
    assert (loss.count, loss.since) == (5.0, NOON - DAY)


def test_a_failing_integration_costs_what_still_waits_for_it(ledger: Ledger):
    ledger.fill(
        integration_calls=[
            call(NOON - 20 * MINUTE, "neon", "error", call_id=11, credit_id="C-1"),
            call(NOON - 10 * MINUTE, "neon", "success", call_id=12, credit_id="C-1"),
            call(NOON - 10 * MINUTE, "neon", "timeout", call_id=13, credit_id="C-2"),
            call(NOON - 10 * MINUTE, "metamap", "error", call_id=14, application_id="A-1"),
            call(NOON - 10 * MINUTE, "conekta", "error", call_id=15, credit_id="C-pay"),
        ],
        credits=[credit("C-1", amount=50_000), credit("C-2", amount=20_000), credit("C-pay", NOON - 90 * DAY)],
        applications=[application("A-1", amount=7_000)],
        payments=[payment(NOON - 10 * MINUTE, "failed", None, 15)],
    )

    def cost(alert: str, **labels: str) -> list[tuple[str, float, float | None]]:
        return [(one.what, one.count, one.amount) for one in told.cost_of(alert, labels, NOON - 30 * MINUTE, NOON)]

    # The ledger's cost is of now; a moment of 2026 that has passed needs no more than its rows.
    with pytest.MonkeyPatch.context() as patch:
        asked = queries.alerts.ledger  # type: ignore[attr-defined]
        patch.setattr(
            "queries.alerts.ledger",
            lambda name, params=None, **more: asked(name, {**(params or {}), "as_of": NOON}, **more),
        )
        assert cost("IntegrationAPIDown", integration="neon") == [("disbursements_waiting", 1.0, 20_000.0)]
        assert cost("ComponentDown", component="metamap") == [("applications_waiting", 1.0, 7_000.0)]
        assert cost("PaymentBudgetBurn") == [("payments_waiting", 1.0, 250.5)]
        assert cost("IntegrationAPIDown", integration="geotab") == []
        waiting = cost("DisbursementBudgetBurn")
        assert waiting == [("disbursements_waiting", 2.0, 70_000.0)]


def test_a_low_approval_rate_costs_the_approvals_of_the_normal_rate(ledger: Ledger):
    days = queries.normal_days(NOON.date())

    def decided(day: date, approved: int, rejected: int) -> list[dict[str, Any]]:
        moment = datetime.combine(day, (NOON - 3 * HOUR).timetz())
        return [submitted(moment, n, "approved" if n < approved else "rejected") for n in range(approved + rejected)]

    rows = decided(NOON.date(), 4, 36)
    for day in days:
        rows += decided(day, 10, 10)
    ledger.fill(applications=rows)
    (loss,) = told.cost_of("LowApprovalRate", {}, NOON - HOUR, NOON)
    assert (loss.what, loss.count, loss.amount) == ("approvals_missing", 16.0, None)


def test_the_flow_equals_pandas_on_the_rows(ledger: Ledger):
    days = [NOON.date() - timedelta(days=7 * n) for n in (1, 2, 40)]
    moments = [
        datetime.combine(day, (NOON - HOUR * back).timetz()) for day in [NOON.date(), *days] for back in range(1, 8)
    ]
    applications = [
        submitted(moment, n, ("pending", "approved", "rejected")[n % 3], 100 + n) for n, moment in enumerate(moments)
    ]
    credits = [credit(f"C-{n}", moment, 1000 + n) for n, moment in enumerate(moments) if n % 2]
    payments = [payment(moment, ("succeeded", "failed")[n % 2], None, None) for n, moment in enumerate(moments)]
    ledger.fill(applications=applications, credits=credits, payments=payments)
    start = NOON - 5 * HOUR
    frame = queries.ledger("alerts/flow", {"start": start, "end": NOON, "day": NOON.date(), "days": days}).set_index(
        "day"
    )
    assert len(frame) == 4
    for day in [NOON.date(), *days]:
        low, high = (datetime.combine(day, edge.timetz()) for edge in (start, NOON))
        row = frame.loc[pd.Timestamp(day)]
        mine = [one for one in applications if low <= one["submitted_at"] < high]
        assert (row["applications"], row["applied_amount"]) == (
            len(mine),
            sum(one["amount_requested"] for one in mine),
        )
        made = [one for one in applications if one["decided_at"] and low <= one["decided_at"] < high]
        assert row["decided"] == len(made)
        assert row["approved"] == sum(one["status"] == "approved" for one in made)
        sent = [one for one in credits if low <= one["disbursed_at"] < high]
        assert (row["disbursed"], row["disbursed_amount"]) == (len(sent), sum(one["principal"] for one in sent))
        paid = [one for one in payments if low <= one["processed_at"] < high and one["status"] == "succeeded"]
        assert (row["collected"], row["collected_amount"]) == (
            len(paid),
            sum((one["amount"] for one in paid), Decimal(0)),
        )


def test_every_alert_of_the_rules_has_a_cost_or_says_that_it_has_none():
    from app.runbooks import rules

    assert set(told._HARMS) <= set(rules())
    blind = {name for name in rules() if not told.has_cost(name)}
    assert blind == {
        *("BusinessNumbersMissing", "LedgerStale", "MetricMissing", "MetricsLedgerGap", "MiradorDown", "RollupsStale"),
        *("SLOWithoutData", "SourceDown", "TargetDown", "Watchdog", "WatchdogSilent"),
    }


# --- the incident -----------------------------------------------------------------------------------------------------


def test_a_critical_alert_leads_to_the_open_incident_of_its_component(house: Settings, state_url: str):
    run_sql(state_url, "truncate mirador.incidents cascade")
    rows = [
        {"key": key, "component": component, "alertname": name, "status": status, "ended": ended}
        for key, component, name, status, ended in (
            ("component:api", "api", "BackendDown", "investigating", None),
            ("component:neon", "neon", "IntegrationAPIDown", "resolved", datetime.now(UTC)),
            ("alert:Odd", None, "Odd", "investigating", None),
        )
    ]
    run_sql(
        state_url,
        "insert into mirador.incidents (key, component, alertname, title_en, title_es, status, started_at, ended_at)"
        " values (:key, :component, :alertname, 'x', 'x', :status, now() - interval '1 hour', :ended)",
        rows,
    )
    queries.forget("state")
    number = {row.key: row.id for row in run_sql(state_url, "select id, key from mirador.incidents")}
    found = {
        (name, component): told.incident_of({"alertname": name, "severity": severity, **component_label(component)})
        for name, component, severity in (
            ("HighErrorRate", "api", "critical"),
            ("HighLatency", "api", "warning"),
            ("IntegrationAPIDown", "neon", "critical"),
            ("Odd", "", "critical"),
            ("Other", "", "critical"),
        )
    }
    assert found == {
        ("HighErrorRate", "api"): number["component:api"],
        ("HighLatency", "api"): None,
        ("IntegrationAPIDown", "neon"): None,
        ("Odd", ""): number["alert:Odd"],
        ("Other", ""): None,
    }


def component_label(component: str) -> dict[str, str]:
    return {"component": component} if component else {}


# --- silences ---------------------------------------------------------------------------------------------------------


def ask(house: Settings, who: Viewer | None = ENGINEER, **more: Any) -> None:
    asked = {
        "matchers": {"alertname": "HighLatency", "component": "api"},
        "reason": "The platform team runs a load test.",
        "ends_at": datetime.now(UTC) + HOUR,
        "once": "form-1",
        **more,
    }
    silences.silence(house, who, **asked)


def test_a_silence_is_made_and_written_down_once_however_often_the_form_is_sent(
    house: Settings, state_url: str, alertmanager: Alerts
):
    alertmanager.post("HighLatency", component="api", severity="warning")
    alertmanager.post("HighLatency", component="database", severity="warning")
    threads = [threading.Thread(target=ask, args=(house,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = told.silences()
    assert len(kept) == 1
    (row,) = book(state_url)
    assert (row.action, row.alert, row.who, row.outcome) == ("silenced", "HighLatency", "eva", "done")
    assert row.reason == "The platform team runs a load test."
    assert row.silence_id == kept["silence_id"].iloc[0]
    assert kept["created_by"].iloc[0] == "mirador:eva"
    states = {told.labels_of(one.labels)["component"]: one.state for one in alertmanager.client().alerts().itertuples()}
    assert states == {"api": "silenced", "database": "firing"}


def test_a_silence_is_ended_with_a_reason_and_that_is_written_down_too(
    house: Settings, state_url: str, alertmanager: Alerts
):
    ask(house)
    kept = told.silences().iloc[0]
    matchers = told.matchers_of(kept["matchers"])
    silences.end_silence(
        house, ENGINEER, kept["silence_id"], matchers=matchers, reason="The load test is over.", once="form-2"
    )
    assert told.silences().empty
    last = book(state_url)[-1]
    assert (last.action, last.alert, last.reason, last.outcome) == (
        "ended",
        "HighLatency",
        "The load test is over.",
        "done",
    )


@pytest.mark.parametrize("who", [ANALYST, None])
def test_who_is_no_engineer_silences_and_ends_nothing(house: Settings, state_url: str, who: Viewer | None):
    with pytest.raises(state.NotAllowed, match="engineers"):
        ask(house, who)
    with pytest.raises(state.NotAllowed, match="engineers"):
        silences.end_silence(house, who, "a", matchers={}, reason="Because I want to.", once="x")
    assert told.silences().empty
    assert book(state_url) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reason": "  short \n "}, "at least 10"),
        ({"reason": "x" * 501}, "at most 500"),
        ({"ends_at": None}, "when the silence ends"),
        ({"ends_at": datetime(2026, 3, 3)}, "when the silence ends"),
        ({"ends_at": datetime.now(UTC) - HOUR}, "at least 5 minutes"),
        ({"ends_at": datetime.now(UTC) + 8 * DAY}, "at most 7 days"),
        ({"matchers": {"severity": "critical"}}, "names its alert"),
        ({"matchers": {}}, "names its alert"),
        ({"matchers": {"alertname": "Watchdog"}}, "cannot be silenced"),
        ({"matchers": {"alertname": "A", "a b": "c"}}, "no labels"),
        ({"matchers": {"alertname": "A", "component": ""}}, "no labels"),
        ({"matchers": {"alertname": "A" * 301}}, "no labels"),
        ({"matchers": {"alertname": "A", **{f"l{n}": "x" for n in range(20)}}}, "no labels"),
    ],
)
def test_what_is_no_silence_is_told_in_a_sentence_and_nothing_is_asked(
    house: Settings, state_url: str, change: dict[str, Any], words: str
):
    with pytest.raises(silences.BadSilence, match=words):
        ask(house, **change)
    assert book(state_url) == []
    assert told.silences().empty


def test_what_cannot_be_written_down_is_not_silenced(house: Settings, alertmanager: Alerts):
    away = house.model_copy(update={"state_url": type(house.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})
    for settings in (away, house.model_copy(update={"state_url": None})):
        with pytest.raises(SourceError):
            ask(settings)
    assert alertmanager.client().silences().empty


def test_what_alertmanager_did_not_answer_stands_in_the_book_as_unknown_and_what_it_refused_as_refused(
    house: Settings, state_url: str, server: Server
):
    queries.connect(queries.Sources(state_url=state_url, outside=queries.Outside(alertmanager_url=server.url)))
    for number, status in enumerate(("503 Service Unavailable", "400 Bad Request")):
        server.answer = said(b"", status)
        with pytest.raises(SourceError):
            ask(house, once=f"form-{number}")
    queries.connect(queries.Sources(state_url=state_url))
    with pytest.raises(SourceError, match="MIRADOR_ALERTMANAGER_URL"):
        ask(house, once="form-3")
    assert [row.outcome for row in book(state_url)] == ["unknown", "refused", "refused"]
    assert list(queries.state("alerts/audit")["matchers"]) == ["alertname=HighLatency, component=api"] * 3


# --- the dead man's switch --------------------------------------------------------------------------------------------


def tell(house: Settings, token: str = TOKEN, body: bytes = b"{}") -> httpx.Response:
    app = Starlette(routes=watchdog.watchdog_routes(house))

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mirador") as client:
            return await client.post("/hooks/watchdog", content=body, headers={"Authorization": f"Bearer {token}"})

    return anyio.run(post)


def gauge(house: Settings) -> float | None:
    families = list(watchdog.WatchdogCollector(house).collect())
    return families[0].samples[0].value if families else None


def test_the_watchdog_is_heard_by_one_process_and_known_to_all(house: Settings, state_url: str):
    assert watchdog.last_heard() is None
    assert tell(house).status_code == 200
    heard = watchdog.last_heard()
    assert heard is not None
    # Another process, which has heard nothing itself.
    watchdog.forget()
    again = watchdog.last_heard()
    assert again is not None
    assert abs((again - heard).total_seconds()) < 0.01
    assert gauge(house) == pytest.approx(heard.timestamp(), abs=0.01)


def test_the_watchdog_is_heard_without_a_state_database_and_while_it_is_away(house: Settings):
    away = house.model_copy(update={"state_url": type(house.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})
    for settings in (away, house.model_copy(update={"state_url": None})):
        watchdog.forget()
        assert tell(settings).status_code == 200
        assert watchdog.last_heard() is not None


def test_the_watchdog_asks_for_the_token_and_takes_no_long_message(house: Settings):
    assert tell(house, token="wrong").status_code == 401
    assert tell(house.model_copy(update={"hook_token": None})).status_code == 404
    assert tell(house, body=b" " * (1 << 20) + b" ").status_code == 413
    assert watchdog.last_heard() is None


def test_what_was_never_heard_is_as_old_as_the_process_and_a_shut_hook_tells_nothing(house: Settings):
    assert gauge(house) == watchdog._started
    assert gauge(house.model_copy(update={"hook_token": None})) is None


# --- history ----------------------------------------------------------------------------------------------------------


def test_the_history_counts_by_day_and_alert_and_knows_what_still_fires(house: Settings, state_url: str):
    start = datetime(2026, 5, 12, tzinfo=ZONE)
    rows = [
        {"title": title, "starts_at": start + offset, "ends_at": start + offset + length if length else None}
        for title, offset, length in (
            ("HighErrorRate: High error rate", 10 * HOUR, 30 * MINUTE),
            ("HighErrorRate: High error rate", 11 * HOUR, 10 * MINUTE),
            # A second before and at midnight: of other days.
            ("HighErrorRate: High error rate", -timedelta(seconds=1), 5 * MINUTE),
            ("BackendDown: down: here", 2 * DAY, None),
            ("Bare", 2 * DAY - timedelta(seconds=1), 60 * MINUTE),
        )
    ]
    run_sql(
        state_url,
        "insert into mirador.events (kind, title, starts_at, ends_at, source)"
        " values ('alert', :title, :starts_at, :ends_at, 'alertmanager')",
        rows,
    )
    run_sql(
        state_url,
        "insert into mirador.events (kind, title, starts_at, source) values ('deployment', 'x', :at, 'deployment')",
        [{"at": start + HOUR}],
    )
    span = {"first": date(2026, 5, 12), "last": date(2026, 5, 14)}
    noisy = queries.state("alerts/noisiest", span).set_index("alert")
    assert dict(noisy["fired"]) == {"HighErrorRate": 2, "BackendDown": 1, "Bare": 1}
    assert noisy.loc["HighErrorRate", "mean_minutes"] == 20
    assert noisy.loc["HighErrorRate", "longest_minutes"] == 30
    assert noisy.loc["BackendDown", "still_fires"] == 1
    assert pd.isna(noisy.loc["BackendDown", "mean_minutes"])
    days = queries.state("alerts/by_day", span)
    counted = {(row.day.date(), row.alert): row.fired for row in days.itertuples() if row.fired}
    assert counted == {
        (date(2026, 5, 12), "HighErrorRate"): 2,
        (date(2026, 5, 13), "Bare"): 1,
        (date(2026, 5, 14), "BackendDown"): 1,
    }
    only = queries.state("alerts/history", {**span, "alert": "BackendDown"})
    assert list(only["title"]) == ["BackendDown: down: here"]
    assert pd.isna(only["ends_at"].iloc[0])
    assert only["minutes"].iloc[0] > 0
    # The history of the page: three names, days without any under the first of them.
    shown = told.busiest(days, others="others")
    assert set(shown["alert"]) == {"HighErrorRate", "Bare", "BackendDown"}
    assert shown["fired"].sum() == 4


def test_of_many_alerts_the_busiest_have_a_colour_and_the_rest_is_one():
    many = pd.DataFrame(
        {
            "day": pd.to_datetime(["2026-05-12"] * 10),
            "alert": [f"a{n}" for n in range(10)],
            "fired": list(range(10, 0, -1)),
        }
    )
    shown = told.busiest(many, others="others", most=6)
    assert len(shown) == 7
    assert shown["fired"].sum() == many["fired"].sum()
    assert shown.set_index("alert")["fired"]["others"] == 4 + 3 + 2 + 1


# --- the page ---------------------------------------------------------------------------------------------------------


def page(language: str = "en", **asked: str) -> AppTest:
    components.set_default_language(language)
    app = AppTest.from_string(SCRIPT, default_timeout=30)
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception
    return app


def words(app: AppTest) -> str:
    shown = [*app.title, *app.markdown, *app.caption, *app.text, *app.error, *app.warning, *app.code]
    return "\n".join(str(one.value) for one in shown)


@pytest.fixture
def as_engineer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.auth.viewer", lambda settings: ENGINEER)


def test_the_page_shows_what_fires_in_both_languages_with_its_labels_and_links(
    house: Settings, alertmanager: Alerts, as_engineer: None
):
    alertmanager.post("BackendDown", component="database", minutes=7)
    alertmanager.wait_for(lambda: bool(alertmanager.held()))
    watchdog.hear(house)
    english, spanish = page(), page("es")
    read = words(english)
    for said_ in ("BackendDown holds", "critical", "7 min", "component = database", "Alerts arrive"):
        assert said_ in read, read
    # The summary is text, not Markdown: what an alert says cannot draw on the page.
    assert "It is *so*, and costs $5 or $6." in [one.value for one in english.text]
    read = words(spanish)
    for said_ in ("BackendDown se cumple", "crítica", "Las alertas llegan", "interruptor de hombre muerto"):
        assert said_ in read, read
    assert [button for button in english.button if button.label == "Silence"]


def test_a_link_to_one_alert_shows_only_that_one(house: Settings, alertmanager: Alerts, as_engineer: None):
    alertmanager.post("BackendDown")
    alertmanager.post("HighLatePayments", severity="warning")
    alertmanager.wait_for(lambda: len(alertmanager.held()) == 2)
    app = page(alert="HighLatePayments")
    assert "HighLatePayments holds" in words(app)
    assert "BackendDown holds" not in words(app)
    next(button for button in app.button if button.label == "All alerts").click().run()
    assert "BackendDown holds" in words(app)
    assert "Nothing fires." in words(page(alert="NoSuchAlert"))


def test_nothing_fires_and_the_dead_mans_switch_was_never_heard(house: Settings):
    read = words(page())
    assert "Nothing fires." in read
    assert "was never heard: no alert would arrive now" in read
    watchdog.hear(house, datetime.now(UTC) - 10 * MINUTE)
    assert "was last heard 10 min ago" in words(page())


LABELS = {"alertname": "HighLatency", "component": "api", "instance": "a", "severity": "critical"}


def in_dialog(app: AppTest, field: str, text_: str, button: str, **asked: Any) -> None:
    """Fill in and send a dialog. Here each run is one of the whole page; a browser draws an open dialog alone."""
    app.session_state["alerts:dialog"] = asked
    app.run()
    app.text_area(key=field).set_value(text_)
    app.button(key=button).click()
    app.session_state["alerts:dialog"] = asked
    app.run()
    assert not app.exception, app.exception


def test_an_engineer_silences_from_the_page_and_everybody_reads_it(
    house: Settings, state_url: str, alertmanager: Alerts, as_engineer: None
):
    alertmanager.post("HighLatency", component="api", instance="a")
    alertmanager.wait_for(lambda: bool(alertmanager.held()))
    app = page()
    next(button for button in app.button if button.label == "Silence").click().run()
    assert app.text_area(key="silence:reason")
    in_dialog(app, "silence:reason", "short", "silence:do", labels=LABELS)
    assert "at least 10 characters" in words(app)
    assert book(state_url) == []
    in_dialog(app, "silence:reason", "The platform team runs a load test.", "silence:do", labels=LABELS)
    (row,) = book(state_url)
    assert (row.alert, row.who, row.outcome) == ("HighLatency", "eva", "done")
    assert {one["name"]: one["value"] for one in row.matchers} == LABELS
    assert (row.ends_at - row.at).total_seconds() / 3600 == pytest.approx(4, abs=0.1)
    listed = page(view="silences")
    assert "The platform team runs a load test." in words(listed)
    (audit,) = [one.value for one in listed.dataframe if "outcome" in one.value]
    assert list(audit["who"]) == ["eva (you)"]
    next(button for button in listed.button if button.label == "End it now").click().run()
    asked = {"silence_id": row.silence_id, "matchers": LABELS, "reason": row.reason}
    in_dialog(listed, "silence:end_reason", "The load test is over.", "silence:end_do", **asked)
    assert told.silences().empty
    assert [row.action for row in book(state_url)] == ["silenced", "ended"]


def test_who_is_no_engineer_reads_all_and_silences_nothing(
    house: Settings, alertmanager: Alerts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.auth.viewer", lambda settings: ANALYST)
    alertmanager.post("BackendDown")
    alertmanager.client().silence(
        [("alertname", "Other")],
        reason="x",
        starts_at=datetime.now(UTC),
        ends_at=datetime.now(UTC) + HOUR,
        by="somebody",
    )
    alertmanager.wait_for(lambda: bool(alertmanager.held()))
    app, listed = page(), page(view="silences")
    assert "BackendDown holds" in words(app)
    assert not [button for button in app.button if button.label == "Silence"]
    assert "alertname = Other" in words(listed)
    assert not [button for button in listed.button if button.label == "End it now"]


@pytest.mark.parametrize("view", ["now", "history", "silences"])
def test_nothing_configured_is_told_quietly(view: str):
    queries.connect(queries.Sources())
    try:
        read = words(page(view=view))
        assert ("MIRADOR_STATE_URL" if view == "history" else "MIRADOR_ALERTMANAGER_URL") in read
        assert "could not be drawn" not in read
        assert "define MIRADOR_" in words(page("es", view=view))
    finally:
        queries.disconnect()


def test_each_cost_has_its_singular_in_both_languages(
    house: Settings, alertmanager: Alerts, as_engineer: None, monkeypatch: pytest.MonkeyPatch
):
    alertmanager.post("BackendDown")
    alertmanager.wait_for(lambda: bool(alertmanager.held()))
    kinds = [f"{of}_waiting" for of in ("applications", "disbursements", "payments")]
    kinds += [f"{of}_missing" for of in ("applications", "disbursements", "payments", "approvals")]

    def read(language: str, count: float) -> list[str]:
        losses = [told.Loss(what, count, 155.0, NOON) for what in [*kinds, "late_installments"]]
        monkeypatch.setattr(told, "cost_of", lambda *asked, **more: losses)
        return re.findall(
            r"\b(?:cerca de |about )?\d (\w+)", "\n".join(re.findall(r":small\[.*?\]", words(page(language))))
        )

    for language in ("en", "es"):
        one, two = read(language, 1.0), read(language, 2.0)
        assert len(one) == len(two) == 8, (one, two)
        assert not [word for word in one if word.endswith("s")]
        assert all(word.endswith("s") for word in two)


@pytest.mark.parametrize("view", ["now", "history", "silences"])
def test_sources_that_are_down_are_told_in_a_sentence_in_the_viewers_language(view: str):
    queries.connect(
        queries.Sources(
            state_url="postgresql://x@127.0.0.1:1/x",
            prometheus=queries.Prometheus(url="http://127.0.0.1:1"),
            outside=queries.Outside(alertmanager_url="http://127.0.0.1:1"),
        )
    )
    try:
        read = words(page("es", view=view))
        expected = "base de datos" if view == "history" else "No hay conexión con Alertmanager."
        assert expected in read, read
    finally:
        queries.disconnect()


def test_a_viewer_silences_an_alert_with_the_mouse(house: Settings, server_dir: Path, alertmanager: Alerts):
    if chromium_path() is None:
        pytest.skip("No Chromium on this machine")
    alertmanager.post("HighLatency", component="api", severity="warning")
    alertmanager.wait_for(lambda: bool(alertmanager.held()))
    env = {
        "MIRADOR_STATE_URL": house.state_url.get_secret_value(),  # type: ignore[union-attr]
        "MIRADOR_ALERTMANAGER_URL": alertmanager.url,
        "MIRADOR_HOOK_TOKEN": TOKEN,
    }
    with (
        serve(server_dir, env) as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 390, "height": 844}) as window,
    ):
        window.open(f"{dashboard.url}/alerts?alert=HighLatency")
        window.wait_for_text("HighLatency holds")
        window.page.get_by_role("button", name="Silence", exact=True).click()
        dialog = window.page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("The platform team runs a load test.")
        dialog.get_by_role("button", name="Silence", exact=True).click()
        window.wait_for_text("Nothing fires.")
        window.assert_clean()
    (row,) = book(env["MIRADOR_STATE_URL"])
    assert (row.alert, row.who, row.outcome) == ("HighLatency", "local", "done")
