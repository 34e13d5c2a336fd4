"""Reconciliation where people meet it: its page, the marks beside numbers, the watch, `/metrics` and the shell."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import yaml
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text
from streamlit.testing.v1 import AppTest

import queries
from app import reconciliation
from app.cli import main
from app.findings import STATES, classes, sentence
from app.marks import mark, marked
from app.reconcile_report import problems
from app.reconciliation import Check, Keeper, ReconciliationCollector, checks, excess, known, report
from components import Filters, set_default_language
from queries import Prometheus, Sources, contracts, reconcile_views
from queries.reconcile_model import KINDS, Finding
from tests.dashboard import chromium, chromium_path, serve, viewer
from tests.simulator import Company

ROOT = Path(__file__).resolve().parent.parent
PAGE = str(ROOT / "pages" / "reconciliation.py")
ZONE = ZoneInfo("America/Mexico_City")


@dataclass
class Faulty:
    """A company whose payments differ, in both real sources."""

    sources: Sources
    env: dict[str, str]
    day: date
    past: set[str]


@pytest.fixture(scope="module")
def company(module_ledger_url, prometheus_server) -> Faulty:
    made = Company(11, hours=3, hourly=120)
    made.plant("row_without_metric")
    made.plant("counter_reset")
    rows = made.rows()
    engine = create_engine(module_ledger_url.owner)
    with engine.begin() as owner:
        owner.execute(
            text(
                "insert into bi.payments values (:payment_id, 'C7', null, :at, 100, :status, :method, null, null,"
                " :updated_at)"
            ),
            rows,
        )
        owner.execute(
            text(
                "insert into bi.credits values ('C7', 'A7', 'D7', 'AAA', 1000, '2025-01-01', '2025-01-01', 'sent',"
                " 'active', null, '2025-01-01')"
            )
        )
    engine.dispose()
    url = prometheus_server(made.openmetrics())
    return Faulty(
        Sources(ledger_url=module_ledger_url.reader, prometheus=Prometheus(url), scrape_interval=15),
        {
            "MIRADOR_LEDGER_URL": module_ledger_url.reader,
            "MIRADOR_PROMETHEUS_URL": url,
            "MIRADOR_SCRAPE_INTERVAL": "15",
        },
        datetime.fromtimestamp(made.start, ZONE).date(),
        {str(one["payment_id"]) for one in rows if not one["counted"]},
    )


@pytest.fixture
def connected(company: Faulty) -> Iterator[Faulty]:
    checks.clear()
    queries.connect(company.sources)
    yield company
    queries.disconnect()
    checks.clear()


@pytest.fixture
def checked(connected: Faulty) -> Check:
    """The faulty day's check as if it had been of today."""
    today = datetime.now(ZONE).date()
    check = replace(checks.get(connected.day), day=today, at=datetime.now(UTC))
    checks._kept[today] = check
    return check


def page(**asked: str) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=30)
    # The test reads the choices of a box outside of a run, too.
    set_default_language(asked.pop("lang", "en"))
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    parts = [*app.title, *app.caption, *app.markdown, *app.info, *app.warning, *app.error]
    return "\n".join(str(part.value) for part in parts)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_row_a_contract_what_differs_first(connected):
    app = page(day=connected.day.isoformat())
    assert not app.exception
    shown = app.dataframe[0].value
    assert len(shown) == len(contracts())
    assert shown["contract"].iloc[0] == "Payments"
    assert shown["state"].iloc[0] == "✗ differs"
    assert shown["difference"].iloc[0].startswith("-")
    assert "to" in shown["expected"].iloc[0]
    assert "**1** differs" in words(app)
    assert "Ledger of" in words(app)
    assert "Metrics of" in words(app)


def test_an_opened_contract_tells_its_findings_and_names_the_rows(connected):
    app = page(day=connected.day.isoformat(), contract="payments")
    assert not app.exception
    said = words(app)
    assert "Ledger and metrics differ" in said
    assert "**Row without metric**: The ledger has" in said
    assert "**Counter reset with loss**" in said
    rows = next(one.value for one in app.dataframe if "payment_id" in one.value)
    without = rows[rows["finding"] == "Row without metric"]
    assert len(connected.past & set(without["payment_id"].astype(str))) >= 0.9 * len(connected.past)
    assert set(rows["credit_id"]) == {"C7"}
    assert set(rows["conductor_id"]) == {"D7"}
    # What else the page shows: labels whose parts add up, processes with their restarts.
    parts = next(one.value for one in app.dataframe if "expected" in one.value)
    assert parts["difference"].sum() < 0
    processes = next(one.value for one in app.dataframe if "restarts" in one.value)
    assert processes["restarts"].sum() >= 1


def test_a_finding_can_be_looked_at_minute_by_minute(connected):
    app = page(day=connected.day.isoformat(), contract="payments")
    around = next(box for box in app.selectbox if box.label == "Around")
    assert around.options[:2] == ["The whole day", "The last hour"]
    assert any(option.startswith("Row without metric") for option in around.options)
    around.set_value("0").run()
    assert not app.exception
    assert "In each minute" in words(app)


def test_the_choice_of_a_contract_stands_in_the_link(connected):
    app = page(day=connected.day.isoformat())
    app.selectbox(key="contract").set_value("payments").run()
    assert app.query_params["contract"] in ("payments", ["payments"])
    assert "Ledger and metrics differ" in words(app)
    next(button for button in app.button if button.label == "All contracts").click().run()
    assert "contract" not in app.query_params
    assert "**1** differs" in words(app)


def test_a_link_to_a_contract_that_there_is_not_says_so_and_shows_all(connected):
    app = page(day=connected.day.isoformat(), contract="profit")
    assert "profit" in app.warning[0].value
    assert len(app.dataframe[0].value) == len(contracts())


def test_the_page_speaks_spanish(connected):
    app = page(day=connected.day.isoformat(), contract="payments", lang="es")
    said = words(app)
    assert "El libro y las métricas difieren" in said
    assert "Fila sin métrica" in said
    assert "differ" not in said.replace("difference", "")


@pytest.mark.parametrize("contract", ["", "payments"])
def test_nothing_configured_is_a_quiet_line_that_says_how(contract):
    checks.clear()
    queries.connect(Sources())
    try:
        app = page(**({"contract": contract} if contract else {}))
        assert not app.exception
        assert not app.error
        assert "MIRADOR_LEDGER_URL" in words(app)
    finally:
        queries.disconnect()


@pytest.fixture(params=["metrics", "ledger"])
def one_away(request, company: Faulty) -> Iterator[tuple[Faulty, str]]:
    """The company with one source that cannot be reached."""
    checks.clear()
    unreachable = (
        replace(company.sources, prometheus=Prometheus("http://127.0.0.1:9"))
        if request.param == "metrics"
        else replace(company.sources, ledger_url="postgresql+psycopg://mirador_reader@127.0.0.1:9/postgres")
    )
    queries.connect(unreachable)
    yield company, request.param
    queries.disconnect()
    checks.clear()


SENTENCES = {"metrics": "Prometheus cannot be reached", "ledger": "The ledger cannot be reached"}


def test_where_one_source_is_away_the_number_of_the_other_stands(one_away):
    faulty, away = one_away
    app = page(day=faulty.day.isoformat())
    assert not app.exception
    assert SENTENCES[away] in words(app)
    assert any(button.label == "Retry" for button in app.button)
    shown = app.dataframe[0].value.set_index("contract").loc["Payments"]
    assert (shown["state"], shown["difference"], shown["expected"]) == ("? unknown", "–", "–")
    if away == "metrics":
        assert int(shown["ledger"].replace(",", "")) > 300
        assert shown["metric"] == "–"
    else:
        assert shown["ledger"] == "–"
        assert shown["metric"].startswith("about ")
        assert float(shown["metric"].removeprefix("about ").replace(",", "")) > 300


def test_an_opened_contract_shows_the_side_that_is_known(one_away):
    faulty, away = one_away
    app = page(day=faulty.day.isoformat(), contract="payments")
    assert not app.exception
    said = words(app)
    assert SENTENCES[away] in said
    assert ("The ledger has" if away == "metrics" else "The metrics hold about") in said
    assert "there is no comparison" in said
    parts = next(one.value for one in app.dataframe if "expected" in one.value)
    assert parts["ledger" if away == "metrics" else "metric"].sum() > 300
    assert parts["difference"].isna().all()


def test_the_side_that_is_known_is_said_in_spanish(one_away):
    faulty, away = one_away
    said = words(page(day=faulty.day.isoformat(), contract="payments", lang="es"))
    assert ("El libro tiene" if away == "metrics" else "Las métricas tienen alrededor de") in said
    assert "no hay comparación" in said


def test_a_mark_tells_the_number_of_the_source_that_answers(one_away):
    faulty, away = one_away
    set_default_language("en")
    today = datetime.now(ZONE).date()
    checks._kept[today] = replace(checks.get(faulty.day), day=today, at=datetime.now(UTC))
    told = mark("payment_success", today)
    assert told is not None
    assert told.words == "not compared: why"
    assert ("The ledger has" if away == "metrics" else "The metrics hold about") in told.help
    assert SENTENCES[away] in told.help


def test_what_was_found_stays_while_it_is_true_and_then_the_one_number_stands(connected, monkeypatch):
    found = checks.get(connected.day)
    # As if the company's day were today: what was found of a day that runs grows old.
    today = datetime.now(ZONE).date()
    real = queries.reconcile_all
    monkeypatch.setattr(reconciliation.queries, "reconcile_all", lambda _day: real(connected.day))
    checks._kept[today] = replace(found, day=today, at=datetime.now(UTC) - timedelta(minutes=5))
    queries.connect(replace(connected.sources, prometheus=Prometheus("http://127.0.0.1:9")))
    assert checks.get(today).away
    assert not checks.latest(today).away
    checks._kept[today] = replace(found, day=today, at=datetime.now(UTC) - timedelta(hours=2))
    checks.get(today)
    assert checks.latest(today).away


def test_a_prometheus_that_is_not_configured_is_a_quiet_line_beside_the_ledgers_numbers(company):
    checks.clear()
    queries.connect(replace(company.sources, prometheus=None))
    try:
        app = page(day=company.day.isoformat())
        assert not app.exception
        assert "MIRADOR_PROMETHEUS_URL" in words(app)
        assert not any(button.label == "Retry" for button in app.button)
        assert int(app.dataframe[0].value.set_index("contract").loc["Payments", "ledger"].replace(",", "")) > 300
        # Nobody waits for it: no number bears a mark.
        checks._kept[datetime.now(ZONE).date()] = replace(checks.latest(company.day), at=datetime.now(UTC))
        assert mark("payment_success", datetime.now(ZONE).date()) is None
    finally:
        queries.disconnect()
        checks.clear()


def test_a_day_of_which_nothing_is_known_is_unknown_and_not_different(connected):
    app = page(day=(connected.day - timedelta(days=3)).isoformat())
    assert not app.exception
    assert set(app.dataframe[0].value["state"]) == {"? unknown"}
    opened = page(day=(connected.day - timedelta(days=3)).isoformat(), contract="payments")
    assert not opened.exception
    assert "nothing of this window" in words(opened)


# --- words ------------------------------------------------------------------------------------------------------------


def test_each_class_has_a_name_a_meaning_a_remedy_and_a_sentence_in_both_languages(connected):
    contract = contracts()["payments"]
    at = datetime(2026, 1, 5, 16, tzinfo=UTC)
    facts = {"missed": 12, "share": 0.5, "lag": -30.0, "to": {"status": "failed", "method": "card"}}
    told: dict[str, set[str]] = {}
    for language in ("en", "es"):
        set_default_language(language)
        for kind in KINDS:
            one = classes()[kind]
            assert one.name
            assert one.meaning
            assert one.remedy
            finding = Finding(
                kind, at, at + timedelta(seconds=30), -2.0, 2.0, {"status": "succeeded"}, ("b-1",), facts=facts
            )
            said = sentence(contract, finding)
            assert "{" not in said
            assert "10:00:00" in said
            told.setdefault(kind, set()).update({one.name, said})
    assert all(len(both) == 4 for both in told.values())


# --- frames -----------------------------------------------------------------------------------------------------------


def test_bins_keep_the_sum_and_a_state_is_left_as_it_is():
    minutes = pd.date_range("2026-01-05", periods=1440, freq="min", tz=ZONE)
    curves = pd.concat([pd.DataFrame({"minute": minutes, "source": s, "value": 1.0}) for s in ("ledger", "metrics")])
    binned, width = reconcile_views.in_bins(curves, state=False)
    assert width == 10
    assert binned.groupby("source")["value"].sum().tolist() == [1440.0, 1440.0]
    assert reconcile_views.in_bins(curves, state=True)[1] == 1
    assert reconcile_views.in_bins(curves[curves["minute"] < minutes[60]], state=False)[1] == 1


def test_the_day_on_which_the_metrics_begin_is_no_difference():
    trend = pd.DataFrame({"metric": [None, 40.0, 100.0, 101.0], "difference": [None, -60.0, 0.0, 1.0]})
    assert reconcile_views.whole_days(trend)["difference"].tolist() == [0.0, 1.0]
    assert reconcile_views.whole_days(trend.assign(metric=None))["difference"].tolist() == []


def test_the_band_holds_the_difference_until_what_is_found_and_moves_along_with_what_is_explained(connected):
    result = checks.get(connected.day).results["payments"]
    frame = reconcile_views.difference(result)
    inside = (frame["difference"] >= frame["low"] - 3) & (frame["difference"] <= frame["high"] + 3)
    first = min(one.start for one in result.findings if one.kind == "row_without_metric")
    assert inside[frame["minute"] < first].all()
    assert not inside.iloc[-1]
    lost = sum(one.amount for one in result.findings if one.kind == "counter_reset")
    assert (frame["low"].iloc[-1] + frame["high"].iloc[-1]) / 2 == pytest.approx(lost, abs=2.5)


# --- marks ------------------------------------------------------------------------------------------------------------


def test_a_mark_says_by_how_much_and_leads_to_the_contract(checked):
    set_default_language("en")
    told = mark("payment_success", checked.day)
    assert told is not None
    # Short enough for a narrow card; the sentence is in its help.
    assert re.fullmatch(r"[\d.]+ %: why", told.words)
    assert told.params == {"contract": "payments"}
    assert "Ledger and metrics differ" in told.help
    assert Path(told.page).is_file()


def test_a_mark_of_a_period_says_which_day_it_speaks_of(checked):
    set_default_language("en")
    told = mark("payment_success", checked.day - timedelta(days=29), checked.day)
    assert told is not None
    assert re.fullmatch(r"Today: [\d.]+ %: why", told.words)


def test_a_mark_is_absent_where_nothing_is_known_and_never_asks(checked):
    # Of this KPI no counter was scraped, that one has no contract, and of the day before nothing was looked at.
    assert mark("applications", checked.day) is None
    assert mark("api_errors", checked.day) is None
    assert mark("payment_success", checked.day - timedelta(days=1)) is None
    queries.disconnect()
    assert mark("payment_success", checked.day) is None


def test_a_mark_of_today_that_is_too_old_is_none(checked):
    checks._kept[checked.day] = replace(checked, at=datetime.now(UTC) - timedelta(hours=1))
    assert known(checked.day) is None
    assert mark("payment_success", checked.day) is None


def test_a_page_that_shows_a_part_of_the_business_has_no_mark(checked):
    whole = Filters(first=checked.day, last=checked.day, today=checked.day)
    assert marked("payment_success", whole)() is not None
    assert marked("payment_success", replace(whole, tiers=("AAA",)))() is None


CARD = """
import streamlit as st
from components import Mark, Number, number_card
import pandas as pd

def here():
    number_card("Paid", lambda: Number(3, "count", pd.DataFrame({{"n": [3]}})), key="paid",
                mark=lambda: Mark("1.2 %: why", "error", "red", {page!r}, {{"contract": "payments"}}))

st.navigation([st.Page(here, title="Here", default=True), st.Page({page!r}, title="Reconciliation")]).run()
"""


def test_a_card_shows_its_mark_as_a_link():
    app = AppTest.from_string(CARD.format(page=PAGE), default_timeout=20).run()
    assert not app.exception
    link = app.get("page_link")[0].proto
    assert "1.2 %: why" in link.label
    assert "contract=payments" in link.query_string


# --- the watch --------------------------------------------------------------------------------------------------------


def exported() -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ReconciliationCollector())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_the_excess_of_each_contract_is_exported_and_that_of_an_unknown_one_is_not(checked):
    told = exported()
    payments = checked.results["payments"]
    assert told["mirador_reconciliation_excess", "payments"] == excess(payments) >= payments.beyond > 0
    assert ("mirador_reconciliation_excess", "hase_scores") not in told
    states = {state: told["mirador_reconciliation_state", "payments", state] for state in STATES}
    assert states == {"agrees": 0.0, "explained": 0.0, "differs": 1.0, "unknown": 0.0}
    assert told["mirador_reconciliation_state", "hase_scores", "unknown"] == 1.0
    assert told["mirador_reconciliation_findings", "payments", "row_without_metric"] >= 1.0
    assert 0 <= told["mirador_reconciliation_age_seconds",] < 60


def test_nothing_is_exported_before_a_check_or_behind_a_login(checked):
    shut = ReconciliationCollector()
    shut.open = False
    assert list(shut.collect()) == []
    checks.clear()
    assert exported() == {}


def test_the_alert_reads_what_is_exported(checked):
    rules = yaml.safe_load((ROOT / "monitoring" / "rules" / "data.yml").read_text(encoding="utf-8"))
    alert = next(
        rule
        for group in rules["groups"]
        for rule in group["rules"]
        if "mirador_reconciliation_excess" in str(rule.get("expr"))
    )
    assert "by (contract)" in alert["expr"]
    assert (ROOT / "monitoring" / "runbooks" / f"{alert['alert']}.md").is_file()
    assert "reconciliation?contract=" in alert["annotations"]["dashboard_url"]


def test_a_wrong_label_is_beyond_though_the_sum_agrees(checked):
    payments = checked.results["payments"]
    at = payments.start
    moved = Finding("wrong_label", at, at, 0.0, 18.0, {"method": "spei"}, facts={"to": {"method": "card"}})
    agreeing = replace(payments, difference=0.0, low=0.0, high=0.0, findings=(moved,), state="differs")
    assert agreeing.beyond == 0
    assert excess(agreeing) == 18.0
    lost = replace(moved, kind="counter_reset")
    assert excess(replace(agreeing, findings=(lost,), state="explained")) == 0


def test_yesterday_is_checked_once_and_again_when_the_night_is_far_enough(checked):
    night = datetime.now(ZONE).replace(hour=2, minute=31)
    yesterday = night.date() - timedelta(days=1)
    assert Keeper.is_due(night)
    checks._kept[yesterday] = replace(checked, at=night.replace(hour=0, minute=5).astimezone(UTC))
    assert Keeper.is_due(night)
    assert not Keeper.is_due(night.replace(hour=1))
    checks._kept[yesterday] = replace(checked, at=night.astimezone(UTC))
    assert not Keeper.is_due(night)


def test_the_nightly_report_goes_to_the_log(checked, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mirador"), "propagate", True)
    with caplog.at_level(logging.INFO, "mirador"):
        report(checked)
    lines = [record.getMessage() for record in caplog.records]
    assert "nightly report: differs: 1, unknown: 10" in lines[0]
    assert any("payments differs: ledger" in line and "row_without_metric" in line for line in lines)


def test_the_keeper_checks_today_and_yesterday_and_survives_a_source_that_is_away(connected):
    today = datetime.now(ZONE).date()
    keeper = Keeper(300.0)
    keeper.once()
    assert keeper.failure is None
    assert known(today) is not None
    assert known(today - timedelta(days=1)) is not None
    queries.disconnect()
    keeper.once()
    assert keeper.failure is not None


def test_those_who_ask_at_the_same_time_wait_for_one_check(connected, monkeypatch):
    asked: list[date] = []
    real = queries.reconcile_all

    def counted(day: date) -> Any:
        asked.append(day)
        return real(day)

    monkeypatch.setattr(reconciliation.queries, "reconcile_all", counted)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: checks.get(connected.day), range(6)))
    assert asked == [connected.day]
    assert all(one is found[0] for one in found)


# --- the shell --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(company: Faulty, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in company.env.items():
        monkeypatch.setenv(name, value)
    yield company
    queries.disconnect()


def test_the_report_names_findings_and_rows_and_exits_with_1(shell, capsys):
    assert main(["reconcile", "--day", shell.day.isoformat()]) == 1
    told = capsys.readouterr()
    assert "Row without metric" in told.out
    assert "payment_id: " in told.out
    assert "in payments." in told.err
    assert "Not compared: " in told.err


def test_the_report_as_json_holds_everything(shell, capsys):
    assert main(["reconcile", "--day", shell.day.isoformat(), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    payments = next(one for one in document["contracts"] if one["contract"] == "payments")
    assert payments["state"] == "differs"
    assert payments["difference"] < payments["expected"][0]
    without = next(one for one in payments["findings"] if one["kind"] == "row_without_metric")
    assert set(without["rows"]) & shell.past
    assert without["row_key"] == "payment_id"
    assert without["sentence"].startswith("The ledger has")
    assert {one["state"] for one in document["contracts"]} == {"differs", "unknown"}


@pytest.mark.parametrize("day", ["tomorrow", "2025-2-1", "2025-02-30", "1999-01-01", "2999-01-01"])
def test_a_day_that_cannot_be_is_told_and_exits_with_2(shell, capsys, day):
    assert main(["reconcile", "--day", day]) == 2
    assert "--day" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("MIRADOR_LEDGER_URL", "No ledger is configured"), ("MIRADOR_PROMETHEUS_URL", "No Prometheus is configured")],
)
def test_a_source_that_is_missing_is_told_in_a_sentence(shell, capsys, monkeypatch, missing, sentence):
    monkeypatch.delenv(missing)
    assert main(["reconcile"]) == 1
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


def test_a_source_that_is_away_is_told_in_a_sentence(shell, capsys, monkeypatch):
    monkeypatch.setenv("MIRADOR_PROMETHEUS_URL", "http://127.0.0.1:9")
    assert main(["reconcile", "--day", shell.day.isoformat()]) == 1
    assert "no contract could be. Prometheus cannot be reached" in capsys.readouterr().err


def test_where_all_agrees_there_is_no_problem(connected):
    payments = checks.get(connected.day).results["payments"]
    assert problems([replace(payments, state="agrees", findings=())]) == []
    assert problems([payments]) != []


# --- in the browser ---------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_row_opens_the_contract_and_its_link_reopens_it(company, server_dir):
    with serve(server_dir, company.env) as dashboard, chromium() as browser:
        address = f"{dashboard.url}/reconciliation?day={company.day}"
        with viewer(browser, locale="en-US", viewport={"width": 1280, "height": 1000}) as window:
            window.open(address)
            window.drawn()
            window.page.locator('[data-testid="stDataFrame"]').first.click(position={"x": 60, "y": 52})
            window.page.wait_for_url("**contract=payments**", timeout=20_000)
            window.wait_for_text("Ledger and metrics differ")
            link = window.page.url
            window.drawn()
            window.assert_clean()
        with viewer(browser, locale="es-MX", color_scheme="dark", viewport={"width": 390, "height": 844}) as phone:
            phone.open(link)
            phone.wait_for_text("El libro y las métricas difieren")
            phone.page.get_by_text("Todos los contratos").last.click()
            phone.wait_for_text("1 difiere")
            phone.assert_clean()
