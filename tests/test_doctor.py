"""The doctor sees what is missing at real servers and says it in a line, within its bounds."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app import doctor
from app.doctor import Finding, examine, metrics_of, print_findings
from app.settings import Settings
from demo import servers
from queries.library import Query
from tests.conftest import ROOT, LedgerUrl
from tests.stage import held

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in list(os.environ):
        if name.upper().startswith("MIRADOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def look(**settings: Any) -> list[Finding]:
    return list(examine(Settings(**settings)))


def said(findings: list[Finding], subject: str, level: str | None = None) -> str:
    return " ".join(one.sentence for one in findings if one.subject == subject and level in (None, one.level))


def run(ledger: LedgerUrl, *statements: str) -> None:
    engine = create_engine(ledger.owner)
    with engine.begin() as owner:
        for statement in statements:
            owner.execute(text(statement))
    engine.dispose()


def test_a_ledger_that_keeps_the_contract_lacks_nothing(ledger_url: LedgerUrl, capsys: pytest.CaptureFixture[str]):
    findings = look(ledger_url=ledger_url.reader)
    assert not [one for one in findings if one.level == "missing"]
    assert "PostgreSQL 18" in said(findings, "ledger", "ok")
    assert "only read" in said(findings, "role", "ok")
    for relation in doctor.CONTRACT:
        assert "right types" in said(findings, f"bi.{relation}", "ok")
    assert print_findings(findings) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(findings)
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "missing"}


def test_each_fault_of_a_ledger_is_named(ledger_url: LedgerUrl):
    run(
        ledger_url,
        "drop table bi.hase_scores",
        "alter table bi.credits drop column closed_at",
        "alter table bi.payments alter column amount type double precision",
        "alter table bi.payments alter column processed_at type timestamp",
        "alter table bi.applications add column email text",
        "revoke select on bi.installments from mirador_reader",
        "create type bi.kind as enum ('success')",
        "alter table bi.integration_calls alter column status type bi.kind using status::bi.kind",
    )
    findings = look(ledger_url=ledger_url.reader)
    assert "missing" in said(findings, "bi.hase_scores", "missing")
    assert "closed_at is missing (timestamptz)" in said(findings, "bi.credits", "missing")
    assert "amount is float8, not numeric(14,2)" in said(findings, "bi.payments", "missing")
    assert "processed_at is timestamp, not timestamptz" in said(findings, "bi.payments", "missing")
    assert "may not read" in said(findings, "bi.installments", "missing")
    assert "status is an enum" in said(findings, "bi.integration_calls", "missing")
    assert "bi.applications.email" in said(findings, "personal data", "warn")
    assert print_findings(findings) == 1


def test_a_view_with_nulls_where_none_may_be_is_named(ledger_url: LedgerUrl):
    run(
        ledger_url,
        "alter table bi.applications rename to applications_kept",
        "create view bi.applications as select application_id, nullif(conductor_id, 'none') as conductor_id, "
        "submitted_at, amount_requested, hase_score, sinosure_tier, status, decided_at, rejection_reason, updated_at "
        "from bi.applications_kept",
        "grant select on bi.applications to mirador_reader",
        "insert into bi.applications_kept values ('a', 'none', now(), 1, null, null, 'pending', null, null, now())",
    )
    findings = look(ledger_url=ledger_url.reader)
    assert said(findings, "bi.applications", "missing") == "Null stands where none may: conductor_id."


def test_a_database_without_the_schema_is_named(postgres: servers.Postgres):
    findings = look(ledger_url=postgres.url("mirador_reader"))
    assert "no schema bi" in said(findings, "schema bi", "missing")


def test_a_role_that_may_write_is_warned_of(ledger_url: LedgerUrl):
    assert "bi.applications" in said(look(ledger_url=ledger_url.core), "role", "warn")
    assert "superuser" in said(look(ledger_url=ledger_url.owner), "role", "warn")


def test_indexes_that_periods_need_are_asked_for(ledger_url: LedgerUrl):
    before = said(look(ledger_url=ledger_url.reader), "bi.hase_scores", "warn")
    run(
        ledger_url,
        "create index on bi.hase_scores (calculated_at)",
        "create index on bi.hase_scores (application_id) where score > 50",
        "create index on bi.credits (disbursed_at, approved_at) where disbursed_at is not null",
        "create index on bi.installments (due_date, paid_at)",
    )
    findings = look(ledger_url=ledger_url.reader)
    after = said(findings, "bi.hase_scores", "warn")
    assert "No index on (calculated_at): Today, HASE and the rows of scores are slow." in before
    assert "(calculated_at)" not in after
    assert "(application_id)" in after, "a partial index does not serve every question"
    assert "(disbursed_at, approved_at)" not in said(findings, "bi.credits", "warn")
    asked = said(findings, "bi.installments", "warn")
    assert "(due_date, paid_at) including (credit_id, amount_due)" in asked
    assert "(due_date, paid_at) where" not in asked, "one of all rows serves those of some"


def test_each_index_of_the_demo_is_asked_for_and_no_other(ledger_url: LedgerUrl):
    statements = (ROOT / "demo" / "indexes.sql").read_text(encoding="utf-8").split(";\n")
    made = {
        match[1]: match[0] for one in statements if (match := re.search(r"index if not exists (\w+) .*", one, re.S))
    }
    run(ledger_url, *(one for one in statements if one.strip()))

    def lacking() -> list[str]:
        return [one.sentence for one in look(ledger_url=ledger_url.reader) if "No index on" in one.sentence]

    assert lacking() == []
    assert len(made) == sum(len(rules) for rules in doctor.INDEXES.values())
    run(ledger_url, *(f"drop index bi.{name}" for name in made))
    assert len(lacking()) == len(made)


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ("now() - interval '10 min'", "ok", "10 min old"),
        ("now() - interval '3 days'", "warn", "3 days old"),
        ("now() + interval '1 day'", "warn", "of the future"),
    ],
)
def test_freshness_is_told(ledger_url: LedgerUrl, changed: str, level: str, words: str):
    run(
        ledger_url,
        f"insert into bi.applications values ('a', 'c', {changed}, 1, null, null, 'pending', null, null, {changed})",
    )
    assert words in said(look(ledger_url=ledger_url.reader), "freshness", level)


def test_a_stopped_server_costs_seconds_and_no_more(postgres: servers.Postgres, ledger_url: LedgerUrl):
    with held(postgres.pid):
        start = time.monotonic()
        findings = look(ledger_url=ledger_url.reader)
        took = time.monotonic() - start
    assert "in time" in said(findings, "ledger", "missing")
    assert took < 8


def test_sources_that_are_not_there_are_told_without_their_addresses(capsys: pytest.CaptureFixture[str]):
    port = servers.free_port()
    findings = look(
        ledger_url=f"postgresql://reader:{SECRET}@127.0.0.1:{port}/db",
        prometheus_url=f"http://127.0.0.1:{port}",
        prometheus_token=SECRET,
        alertmanager_url=f"http://127.0.0.1:{port}",
        state_url=f"postgresql://reader:{SECRET}@127.0.0.1:{port}/db",
    )
    assert {one.subject for one in findings if one.level == "missing"} == {
        *("ledger", "prometheus", "alertmanager", "state")
    }
    print_findings(findings)
    assert SECRET not in capsys.readouterr().out


def test_without_sources_it_says_how_to_name_them():
    findings = look()
    assert "MIRADOR_LEDGER_URL" in said(findings, "ledger", "missing")
    assert "MIRADOR_PROMETHEUS_URL" in said(findings, "prometheus", "warn")
    assert "MIRADOR_ALERTMANAGER_URL" in said(findings, "alertmanager", "warn")


def test_metrics_and_labels_that_queries_name_are_looked_for(
    prometheus_server: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    now = datetime.now(UTC).timestamp()
    series = "".join(f'http_requests_total{{endpoint="/x"}} {n} {now - 600 + 60 * n:.0f}\n' for n in range(10))
    url = prometheus_server(f"# TYPE http_requests counter\n{series}# EOF\n")
    asked = (
        Query("a", "metrics", "", "", 'sum by (endpoint, method) (rate(http_requests_total{status=~"5.."}[5m]))'),
        Query("b", "metrics", "", "", "max(conekta_up)"),
    )
    monkeypatch.setattr("queries.load_queries", lambda: asked)
    findings = look(prometheus_url=url)
    assert "Reachable: version 2" in said(findings, "prometheus", "ok")
    assert "Keeps" in said(findings, "prometheus", "ok")
    assert "conekta_up" in said(findings, "metrics", "warn")
    assert "http_requests_total lacks the label method, status" in said(findings, "metrics", "warn")
    assert "1 of 2" in said(findings, "metrics", "ok")


@pytest.mark.parametrize(
    ("promql", "found"),
    [
        ("up", {"up": set()}),
        (
            'histogram_quantile(0.95, sum by (le, endpoint) (rate(http_bucket{endpoint=~"$endpoint"}[$window])))',
            {"http_bucket": {"le", "endpoint"}},
        ),
        ("sum(increase(a_total[24h])) == 0 or absent(b_total)", {"a_total": set(), "b_total": set()}),
        (
            'sum by (level) (max without (instance, pod) (late{x!="{y}"} offset 1d)) / on (level) group_left () every',
            {"late": {"x"}, "every": set()},
        ),
        ("job:requests:rate5m > bool 1e3 # not_a_metric", {"job:requests:rate5m": set()}),
    ],
)
def test_the_metrics_of_an_expression(promql: str, found: dict[str, set[str]]):
    assert metrics_of(promql) == found
