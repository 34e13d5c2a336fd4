"""Objectives: budgets against plain sums, SQL against loops, rules in promtool's own time, Prometheus, the page."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from app import slos as made
from app.cli import main
from components.words import short_routes
from demo import servers
from queries import Prometheus, Sources, budgets, sources
from queries import slos as objectives
from queries.budgets import Budget
from queries.slo_file import BURNS, PERIOD_DAYS, SECONDS, SLOS, SQL_QUERIES, Counters, read_slos, slos
from tests.conftest import LedgerUrl

PAGE = Path(__file__).resolve().parent.parent / "pages" / "slos.py"
ZONE = ZoneInfo("America/Mexico_City")
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = date(2026, 3, 20)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_seeds_four_objectives_are_there() -> None:
    assert {name: slo.objective for name, slo in slos().items()} == {
        "availability": 0.999,
        "latency": 0.95,
        "disbursement_48h": 0.95,
        "payment_success": 0.95,
    }


def test_an_objective_by_sql_has_all_of_its_queries() -> None:
    for slo in slos().values():
        if slo.sli.sql is not None:
            for name in SQL_QUERIES:
                assert queries.find_query("ledger", f"slos/{slo.sli.sql}/{name}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": 1.2}, "objective"),
        ({"sli": {"promql": {"total": "a"}}}, "either good or bad"),
        ({"sli": {"promql": {"bad": "sum(a)", "total": "a"}}}, "not a selector"),
        ({"sli": {"sql": "x", "promql": {"bad": "a", "total": "b"}}}, "either promql or sql"),
        ({"mxn": True}, "carries no amount"),
        ({"objective": 0.9}, "cannot be reached"),
        ({"owners": "x"}, "owners"),
    ],
)
def test_a_wrong_objective_is_refused_with_its_name(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    given_ = yaml.safe_load(SLOS.read_text())["availability"]
    path = tmp_path / "slos.yaml"
    path.write_text(yaml.safe_dump({"availability": {**given_, **change}}))
    with pytest.raises(ValueError, match="availability") as refused:
        read_slos(path)
    assert words in str(refused.value)


# --- budgets ----------------------------------------------------------------------------------------------------------

counts = st.integers(0, 60)
day_counts = st.lists(st.tuples(counts, counts), min_size=1, max_size=75)


def frame_of(days: list[tuple[int, int]]) -> pd.DataFrame:
    rows = [(TODAY - (len(days) - 1 - n) * DAY, float(good), float(bad)) for n, (good, bad) in enumerate(days)]
    return pd.DataFrame(rows, columns=["day", "good", "bad"])


@SOME
@given(day_counts, st.sampled_from(["rolling", "month"]), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_history_of_a_budget_is_the_sum_over_each_window(
    days: list[tuple[int, int]], window: budgets.Window, objective: float
) -> None:
    frame = frame_of(days)
    told = budgets.history(frame, window, objective, frame["day"].iloc[0])
    for row in told.itertuples():
        first = budgets.first_day(window, row.day)
        inside = [(one.good, one.bad) for one in frame.itertuples() if first <= one.day <= row.day]
        good, bad = sum(one for one, _ in inside), sum(one for _, one in inside)
        if good + bad == 0:
            assert math.isnan(row.left)
        else:
            assert row.left == pytest.approx(1 - bad / ((1 - objective) * (good + bad)))
            assert row.left == pytest.approx(Budget(good, bad, objective).left)


@SOME
@given(day_counts, st.sampled_from(["rolling", "month"]), counts, counts)
def test_a_budget_runs_out_on_the_first_day_that_a_plain_simulation_finds(
    days: list[tuple[int, int]], window: budgets.Window, good_a_day: int, bad_a_day: int
) -> None:
    known = {row.day: (row.good, row.bad) for row in frame_of(days).itertuples()}
    wanted = None
    for ahead in range(PERIOD_DAYS + 1):
        day = TODAY + ahead * DAY
        if ahead:
            known[day] = (good_a_day, bad_a_day)
        if window == "month" and day.month != TODAY.month:
            break
        first = budgets.first_day(window, day)
        good = sum(one for at, (one, _) in known.items() if first <= at <= day)
        bad = sum(one for at, (_, one) in known.items() if first <= at <= day)
        if bad > 0.05 * (good + bad) + 1e-7:
            wanted = ahead
            break
    assert budgets.runs_out(frame_of(days), window, 0.95, good_a_day, bad_a_day) == wanted


@SOME
@given(st.lists(st.tuples(counts, counts), min_size=7, max_size=7), st.integers(0, 5000))
def test_a_pair_of_windows_fires_only_over_its_limit_weighted_and_certain(
    found: list[tuple[int, int]], usual: int
) -> None:
    given_ = dict(zip(SECONDS, [(float(a), float(b)) for a, b in found], strict=True))
    table = budgets.burn_table(given_, 0.95, usual, 3).set_index("window")
    for burn in BURNS:
        good, bad = given_[burn.long]
        short_good, short_bad = given_[burn.short]
        row = table.loc[burn.long]
        if row["firing"]:
            assert bad >= 3
            assert bad / (good + bad) / 0.05 > burn.factor
            assert bad / max(good + bad, usual * SECONDS[burn.long] / (30 * 86400)) / 0.05 > burn.factor
            assert short_good + short_bad == 0 or short_bad / (short_good + short_bad) / 0.05 > burn.factor
        assert math.isnan(row["low"]) or row["low"] <= row["burn"] + 1e-9
        assert math.isnan(row["burn"]) or row["weighted"] <= row["burn"] + 1e-9


def test_one_failure_at_three_in_the_morning_fires_nothing() -> None:
    night = dict.fromkeys(SECONDS, (0.0, 1.0))
    assert not budgets.burn_table(night, 0.999, 100_000, 3)["firing"].any()
    # Nor do three, where a night's hour has as few events and the day has many.
    assert not budgets.burn_table({**night, "1h": (0.0, 3.0), "5m": (0.0, 3.0)}, 0.95, 100_000, 3)["firing"].any()


def test_a_month_of_thirty_days_allows_43_minutes_of_a_99_9_objective() -> None:
    assert 30 * 86400 * slos()["availability"].budget == pytest.approx(43.2 * 60)


def test_what_segments_spent_adds_up_to_the_budget_spent() -> None:
    frame = pd.DataFrame({"s": ["a", "b", "a", None], "good": [90.0, 50.0, 0.0, 3.0], "bad": [2.0, 5.0, 1.0, 0.0]})
    budget = Budget(143, 8, 0.95)
    spent = budgets.spent_by(frame, "s", budget)
    assert spent["segment"].tolist() == ["b", "a", ""]
    assert spent["spent"].sum() == pytest.approx(1 - budget.left)
    assert spent["rate"].tolist() == pytest.approx([5 / 55, 3 / 93, 0.0])


def test_an_incident_is_told_the_failures_of_the_hours_it_touches() -> None:
    start = pd.Timestamp("2026-03-20 10:00", tz=ZONE)
    hours = pd.DataFrame(
        {"time": [start + n * HOUR for n in range(5)], "good": [10.0] * 5, "bad": [0.0, 2.0, 3.0, 0.0, 1.0]}
    )
    found = pd.DataFrame(
        {
            "kind": ["incident", "deployment", "incident"],
            "title": ["neon", "v2", "late"],
            "starts_at": [start + 1.5 * HOUR, start + 4 * HOUR, start + 10 * HOUR],
            "ends_at": [start + 3 * HOUR, pd.NaT, pd.NaT],
        }
    )
    spent = budgets.spent_during(hours, found, Budget(94, 6, 0.95), start + 12 * HOUR)
    assert spent["title"].tolist() == ["neon", "v2"]
    assert spent["bad"].tolist() == [5.0, 1.0]
    assert spent["spent"].tolist() == pytest.approx([1.0, 0.2])


@pytest.mark.parametrize(
    ("told", "days"), [("15d", 15), ("2w3d", 17), ("30d or 512MB", 30), ("1y", 365), ("0s", 0), ("512MB", None)]
)
def test_the_retention_is_read_as_prometheus_says_it(told: str, days: float | None) -> None:
    assert objectives.retention_days(told) == days


# --- the ledger -------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 20, 18, 0, tzinfo=UTC)
FIRST, LAST = date(2026, 3, 10), date(2026, 3, 20)
TWO_DAYS = timedelta(hours=48)


@pytest.fixture(scope="module")
def ledger(module_ledger_url: LedgerUrl) -> Iterator[Callable[[list[Any], list[Any]], None]]:
    """Fill credits and payments, and forget what was asked before."""
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    queries.connect(Sources(ledger_url=module_ledger_url.reader))

    def fill(credits: list[Any], payments: list[Any]) -> None:
        cursor = owner.cursor()
        cursor.execute("truncate bi.credits, bi.payments")
        for n, (tier, amount, approved, disbursed, status, closed, updated) in enumerate(credits):
            cursor.execute(
                "insert into bi.credits values (%s, 'a', 'd', %s, %s, %s, %s, 'pending', %s, %s, %s)",
                (f"C{n:05d}", tier, amount, approved, disbursed, status, closed, updated),
            )
        for n, (moment, amount, status, method, code, updated) in enumerate(payments):
            cursor.execute(
                "insert into bi.payments values (%s, 'C00000', null, %s, %s, %s, %s, %s, null, %s)",
                (n, moment, amount, status, method, code, updated),
            )
        owner.commit()
        queries.connect(Sources(ledger_url=module_ledger_url.reader))
        sources._connected().cache.forget()

    yield fill
    queries.disconnect()
    owner.close()
    engine.dispose()


minutes = st.integers(1, 60 * 24 * 9).map(lambda n: NOW - timedelta(minutes=n))
one_credit = st.builds(
    lambda approved, wait, cancelled, tier: (
        tier,
        Decimal("1000.50"),
        approved,
        approved + timedelta(minutes=wait) if wait is not None and approved + timedelta(minutes=wait) < NOW else None,
        cancelled,
    ),
    minutes,
    st.none() | st.integers(0, 60 * 72) | st.just(48 * 60),
    st.none() | st.integers(1, 60 * 80),
    st.sampled_from(["AAA", "B", ""]),
)


def as_row(credit: Any) -> Any:
    tier, amount, approved, disbursed, cancelled = credit
    closed = approved + timedelta(minutes=cancelled) if cancelled and disbursed is None else None
    closed = closed if closed and closed < NOW else None
    status = "cancelled" if closed else "active" if disbursed else "pending"
    return tier, amount, approved, disbursed, status, closed, disbursed or closed or approved


def verdict(row: Any, now: datetime) -> tuple[str, datetime] | None:
    """What a credit is at `now`, by the words of the definition."""
    _tier, _amount, approved, disbursed, status, closed, _updated = row
    due = approved + TWO_DAYS
    if status == "cancelled" and (closed is None or closed < due):
        return None
    if disbursed is not None and disbursed <= due:
        return ("good", disbursed) if disbursed < now else ("undecided", due)
    return ("bad", due) if due < now else ("undecided", due)


@SOME
@given(st.lists(one_credit, max_size=25))
def test_disbursements_are_good_bad_or_undecided_as_a_plain_loop_finds(ledger: Any, credits: list[Any]) -> None:
    rows = [as_row(credit) for credit in credits]
    ledger(rows, [])
    told = [(verdict(row, NOW), row) for row in rows]
    asked = {"first": FIRST, "last": LAST, "as_of": NOW}
    days = queries.ledger("slos/disbursement_48h/days", asked)
    hours = queries.ledger("slos/disbursement_48h/hours", asked)
    recent = queries.ledger("slos/disbursement_48h/recent", {"as_of": NOW})
    for state in ("good", "bad"):
        wanted = [
            (one[1].astimezone(ZONE), row)
            for one, row in told
            if one and one[0] == state and FIRST <= one[1].astimezone(ZONE).date() <= LAST
        ]
        by_day: dict[tuple[date, str], int] = {}
        for moment, row in wanted:
            by_day[moment.date(), row[0]] = by_day.get((moment.date(), row[0]), 0) + 1
        sums = days[days[state] > 0].groupby([days["day"].dt.date, "segment"])[state].sum()
        assert {key: int(n) for key, n in sums.items()} == by_day
        assert sum(days[f"{state}_amount"], Decimal(0)) == Decimal("1000.50") * len(wanted)
        assert int(hours[state].sum()) == len(wanted)
        for window, seconds in SECONDS.items():
            inside = sum(1 for moment, _row in wanted if NOW - timedelta(seconds=seconds) < moment < NOW)
            assert objectives._sliced(recent)[window][("good", "bad").index(state)] == inside
    waiting = queries.ledger("slos/disbursement_48h/undecided", {"as_of": NOW})
    # A cancelled one that ran past its 48 hours is bad; one that still could be is not listed.
    expected = sorted(one[1] for one, row in told if one and one[0] == "undecided" and row[4] != "cancelled")
    assert [moment.to_pydatetime() for moment in waiting["breaches_at"]] == expected


def test_the_moment_of_48_hours_is_in_time_and_the_next_is_not(ledger: Any) -> None:
    approved = NOW - 3 * DAY
    tick = timedelta(microseconds=1)
    rows = [
        ("A", 10, approved, approved + TWO_DAYS + late, "active", None, NOW) for late in (-tick, timedelta(0), tick)
    ]
    ledger(rows, [])
    days = queries.ledger("slos/disbursement_48h/days", {"first": FIRST, "last": LAST, "as_of": NOW})
    assert (int(days["good"].sum()), int(days["bad"].sum())) == (2, 1)
    assert days[days["bad"] > 0]["reason"].tolist() == ["late"]


def test_a_disbursement_that_was_written_down_late_restates_the_budget(ledger: Any) -> None:
    known = NOW - DAY
    approved = NOW - 5 * DAY
    sent = approved + HOUR
    rows = [
        ("A", 10, approved, sent, "active", None, sent),
        # Sent in time, written down today: bad when it was told yesterday, good now.
        ("A", 10, approved, sent, "active", None, NOW),
        # Paid off since: that explains the change.
        ("A", 10, approved, sent, "paid", NOW, NOW),
        # Sent late, today: bad then and bad now.
        ("A", 10, approved, NOW - HOUR, "active", None, NOW - HOUR),
        # Decided only after that moment: of no concern.
        ("A", 10, known - HOUR, NOW - HOUR, "active", None, NOW - HOUR),
    ]
    ledger(rows, [])
    row = queries.ledger("slos/disbursement_48h/restated", {"first": FIRST, "known_at": known}).iloc[0]
    assert row.to_dict() == {"good": 3, "bad": 1, "good_then": 2, "bad_then": 2, "restated": 1}


def test_payments_count_attempts_by_method_and_code_and_leave_refunds_out(ledger: Any) -> None:
    moment = NOW - HOUR
    payments = [
        (moment, Decimal("100.10"), "succeeded", "card", None, moment),
        (moment, Decimal("50.00"), "failed", "card", "card_declined", moment),
        (moment - 5 * DAY, Decimal("7.00"), "failed", "oxxo", None, moment),
        (moment - 5 * DAY, Decimal("9.00"), "refunded", "oxxo", None, moment),
        (moment, Decimal("1.00"), "pending", "spei", None, moment),
        (moment - 4 * DAY, Decimal("2.00"), "succeeded", "spei", None, moment - 4 * DAY),
    ]
    ledger([], payments)
    days = queries.ledger("slos/payment_success/days", {"first": FIRST, "last": LAST})
    assert days.groupby("segment")[["good", "bad"]].sum().to_dict() == {
        "good": {"card": 1, "oxxo": 0, "spei": 1},
        "bad": {"card": 1, "oxxo": 1, "spei": 0},
    }
    assert sum(days["bad_amount"]) == Decimal("57.00")
    recent = objectives._sliced(queries.ledger("slos/payment_success/recent", {"as_of": NOW}))
    assert recent["2h"] == recent["3d"] == (1.0, 1.0)
    assert recent["1h"] == (0.0, 0.0)
    hours = queries.ledger("slos/payment_success/hours", {"first": FIRST, "last": LAST})
    assert (int(hours["good"].sum()), int(hours["bad"].sum())) == (2, 2)
    assert queries.ledger("slos/payment_success/undecided", {"as_of": NOW})["segment"].tolist() == ["spei"]
    known = NOW - 2 * DAY
    row = queries.ledger("slos/payment_success/restated", {"first": FIRST, "known_at": known}).iloc[0]
    # The failure was not known then; the refunded one was good then.
    assert row.to_dict() == {"good": 1, "bad": 1, "good_then": 2, "bad_then": 0, "restated": 2}


def test_an_installment_that_fails_twice_and_is_then_paid_is_paid_in_the_end(
    ledger: Any, module_ledger_url: LedgerUrl
) -> None:
    ledger([], [(NOW - HOUR, 1, status, "card", None, NOW) for status in ("failed", "failed", "succeeded", "failed")])
    engine = create_engine(module_ledger_url.owner)
    with engine.begin() as owner:
        cursor = owner.connection.cursor()
        cursor.execute("truncate bi.installments")
        cursor.execute("insert into bi.installments values (1, 'C', 1, %s, 1, 1, %s, %s)", (TODAY, NOW, NOW))
        cursor.execute("insert into bi.installments values (2, 'C', 2, %s, 1, 0, null, %s)", (TODAY, NOW))
        cursor.execute("update bi.payments set installment_id = case when payment_id < 3 then 1 else 2 end")
    engine.dispose()
    row = queries.ledger("slos/payment_success/in_the_end", {"first": FIRST, "last": LAST}).iloc[0]
    assert row.to_dict() == {"tried": 2, "paid": 1}


def test_the_gauges_hold_each_window_and_are_left_out_without_a_ledger(ledger: Any) -> None:
    now = datetime.now(UTC)
    done = now - 2 * HOUR
    ledger([("A", 10, done - HOUR, done, "active", None, done), ("B", 10, done, None, "pending", None, done)], [])
    board = made.SloBoard()
    found = {tuple(s.labels.values()): s.value for family in board.collect() for s in family.samples}
    assert found["disbursement_48h", "6h", "good"] == found["disbursement_48h", "30d", "good"] == 1
    assert found["disbursement_48h", "1h", "good"] == 0
    assert found["disbursement_48h", "5m", "undecided"] == 1
    assert found["payment_success", "3d", "bad"] == 0
    board.open = False
    assert not list(board.collect())


# --- rules ------------------------------------------------------------------------------------------------------------


def test_the_rules_are_what_the_objectives_make(capsys: pytest.CaptureFixture[str]) -> None:
    assert made.generate(check=True) is None
    assert main(["slo", "generate", "--check"]) == 0


def test_stale_rules_are_told(tmp_path: Path) -> None:
    path = tmp_path / "slos.yml"
    assert "run python -m app slo generate" in str(made.generate(check=True, path=path))
    assert made.generate(path=path) is None
    assert made.generate(check=True, path=path) is None
    path.write_text(path.read_text() + "# by hand\n")
    assert made.generate(check=True, path=path) is not None


OK, FAILED = 'http_requests_total{endpoint="/a",status="200"}', 'http_requests_total{endpoint="/a",status="500"}'


def gauge(window: str, state: str, slo: str = "payment_success", instance: str = "m1") -> str:
    return f'mirador_slo_events{{slo="{slo}",window="{window}",state="{state}",instance="{instance}"}}'


def gauges(bad: str, good: str, windows: tuple[str, ...], month: str) -> dict[str, str]:
    """Gauges of two processes that give the same numbers."""
    series = {}
    for instance in ("m1", "m2"):
        for window in windows:
            series |= {gauge(window, "bad", instance=instance): bad, gauge(window, "good", instance=instance): good}
        series |= {gauge("30d", "good", instance=instance): month, gauge("30d", "bad", instance=instance): "0x240"}
    return series


PAYMENTS = ("1h", "5m")
# (alert, severity label of Sloth, series a minute apart, firing at minute)
CASES: dict[str, tuple[str, str, dict[str, str], dict[int, int]]] = {
    "a third fails for an hour, then all is well": (
        "AvailabilityBudgetBurn",
        "page",
        {OK: "0+60x300", FAILED: "0x60 0+30x60 1800x180"},
        {50: 0, 100: 1, 118: 1, 155: 0},
    ),
    "one in a thousand fails": (
        "AvailabilityBudgetBurn",
        "page",
        {OK: "0+999x300", FAILED: "0+1x300"},
        {120: 0, 290: 0},
    ),
    "one failure at night": ("AvailabilityBudgetBurn", "page", {OK: "0x300", FAILED: "0x100 1x200"}, {103: 0, 150: 0}),
    "no series at all": ("AvailabilityBudgetBurn", "page", {"other": "1x300"}, {100: 0, 290: 0}),
    "a counter that begins anew is no failure": (
        "AvailabilityBudgetBurn",
        "page",
        {OK: "0+60x100 0+60x200", FAILED: "5x100 0x200"},
        {105: 0, 200: 0},
    ),
    "a leak of four times the pace is a ticket": (
        "AvailabilityBudgetBurn",
        "ticket",
        {OK: "0+996x210", FAILED: "0+4x210"},
        {200: 1},
    ),
    "nine in ten payments fail, two processes tell it": (
        "PaymentBudgetBurn",
        "page",
        gauges("0x60 90x60 0x120", "100x60 10x60 100x120", PAYMENTS, "40000x240"),
        {50: 0, 70: 1, 115: 1, 130: 0},
    ),
    "all of a quiet night's four payments fail": (
        "PaymentBudgetBurn",
        "page",
        gauges("4x240", "0x240", PAYMENTS, "40000x240"),
        {70: 0, 200: 0},
    ),
    "all of twenty fail where seventy an hour are usual": (
        "PaymentBudgetBurn",
        "page",
        gauges("20x240", "0x240", PAYMENTS, "50400x240"),
        {70: 0, 200: 0},
    ),
    "the ledger is away": ("PaymentBudgetBurn", "page", {"other": "1x240"}, {100: 0}),
    "no gauge of the day for an hour": (
        "SLOWithoutData",
        "",
        {gauge("1d", "bad"): "0x30 _x300", gauge("1d", "good"): "9x30 _x300"},
        {20: 0, 60: 0, 110: 1},
    ),
}


@pytest.fixture(scope="module")
def promtool(prometheus_programs: servers.PrometheusPrograms) -> str:
    return str(prometheus_programs.promtool)


def test_promtool_takes_the_rules(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", str(made.RULES)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("title", CASES)
def test_a_burn_fires_stays_silent_and_resolves(title: str, promtool: str, tmp_path: Path) -> None:
    alert, severity, series, firing = CASES[title]
    slo = next((one.name for one in slos().values() if one.alert == alert), "payment_success")
    groups = yaml.safe_load(made.RULES.read_text())["groups"]
    # Those of this objective alone: all of them would cost seconds.
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [one for one in groups if one["name"].endswith(f"mirador-{slo}")]}))
    chosen = f'ALERTS{{alertname="{alert}",alertstate="firing",sloth_slo="{slo}",sloth_severity="{severity}"}}'
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f"count({chosen})",
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": n}] if n else [],
                    }
                    for minute, n in firing.items()
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# --- a real Prometheus ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known_series(prometheus_server: Callable[..., str]) -> str:
    """Four days, a minute apart, up to now: 2 of 100 requests fail, 10 of 100 take longer than 300 ms."""
    now = int(time.time()) // 60 * 60
    times = range(now - 4 * 86400, now + 1, 60)
    lines = []
    series = {
        'http_requests_total{endpoint="/a",status="200"}': 98,
        'http_requests_total{endpoint="/a",status="500"}': 2,
        'http_request_duration_seconds_bucket{endpoint="/a",le="0.3"}': 90,
        'http_request_duration_seconds_bucket{endpoint="/a",le="+Inf"}': 100,
        'http_request_duration_seconds_count{endpoint="/a"}': 100,
    }
    for name, step in series.items():
        lines += [f"{name} {n * step} {moment}" for n, moment in enumerate(times)]
    return prometheus_server("\n".join([*lines, "# EOF\n"]))


@pytest.fixture
def metrics(known_series: str) -> Iterator[str]:
    queries.connect(Sources(prometheus=Prometheus(url=known_series), scrape_interval=60))
    yield known_series
    queries.disconnect()


def test_the_metrics_tell_the_known_shares(metrics: str) -> None:
    today = datetime.now(ZONE).date()
    told = objectives.standing(slos()["availability"], today)
    assert told.budget.sli == pytest.approx(0.98, abs=0.0005)
    assert told.runs_out == 0
    # increase() is extrapolated to the edges of its window; the share is not.
    burns = told.burns.set_index("window")
    assert burns.loc["1h", "good"] + burns.loc["1h", "bad"] == pytest.approx(6000, rel=0.05)
    assert burns["burn"].tolist() == pytest.approx([20.0] * 7, rel=0.01)
    assert burns.loc["1h", "firing"]
    slow = objectives.standing(slos()["latency"], today)
    assert slow.budget.sli == pytest.approx(0.9, abs=0.001)
    assert slow.burns.set_index("window").loc["1d", "burn"] == pytest.approx(2.0, rel=0.01)
    hours = objectives.hours(slos()["availability"], today - DAY, today)
    assert (hours["bad"] / (hours["good"] + hours["bad"])).dropna().tolist() == pytest.approx(
        [0.02] * len(hours), rel=0.01
    )


def test_metrics_that_hold_less_than_the_window_are_told(metrics: str) -> None:
    today = datetime.now(ZONE).date()
    gap = objectives.retention_gap(objectives.standing(slos()["availability"], today))
    assert gap is not None
    assert 4 <= gap[0] <= 6
    # It keeps 20 years: the series began later.
    assert gap[1] is False
    assert len(objectives.history(slos()["availability"], today, "rolling", 30)) == 1


def test_a_histogram_without_the_bound_tells_nothing_rather_than_all_bad(metrics: str) -> None:
    counters = Counters(
        good='http_request_duration_seconds_bucket{le="0.25"}', total="http_request_duration_seconds_count"
    )
    text = objectives._sums(counters, "1h", "")
    query = queries.Query("t", "metrics", "", "", text, kind="instant")
    frame = sources._connected().ask(query, {})
    assert objectives._wide(frame.assign(window="1h"), ["window"]).empty


def test_the_runbooks_burn_rate_is_the_recorded_one(prometheus_server: Callable[..., str]) -> None:
    now = int(time.time()) // 60 * 60
    labels = 'sloth_id="mirador-latency",sloth_service="mirador",sloth_slo="latency"'
    lines = [
        f"{name} {value} {now - 60 * n}"
        for name, value in (
            (f'slo:sli_error:ratio_rate1h{{{labels},sloth_window="1h"}}', 0.1),
            (f'slo:sli_error:ratio_rate3d{{{labels},sloth_window="3d"}}', 0.05),
            (f"slo:error_budget:ratio{{{labels}}}", 0.05),
        )
        for n in reversed(range(20))
    ]
    url = prometheus_server("\n".join([*lines, "# EOF\n"]))
    queries.connect(Sources(prometheus=Prometheus(url=url)))
    frame = queries.metrics("watch/slo_burn", {"slo": "latency", "start": datetime.now(UTC) - timedelta(minutes=15)})
    assert frame.groupby("window")["value"].max().to_dict() == pytest.approx({"1h": 2.0, "3d": 1.0})
    queries.disconnect()


# --- the page ---------------------------------------------------------------------------------------------------------


def page(**parameters: str) -> AppTest:
    test = AppTest.from_file(str(PAGE), default_timeout=40)
    for name, value in parameters.items():
        test.query_params[name] = value
    return test.run()


def words(test: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*test.title, *test.markdown, *test.caption, *test.warning])


@pytest.fixture
def both(module_ledger_url: LedgerUrl, known_series: str, ledger: Any) -> Iterator[None]:
    now = datetime.now(UTC)
    old, soon = now - 4 * DAY, now - TWO_DAYS + 3 * HOUR
    ledger(
        [
            *[("A", Decimal(1000), old, old + HOUR, "active", None, old + HOUR) for _ in range(38)],
            ("B", Decimal(5000), old, None, "pending", None, old),
            ("B", Decimal(7000), soon, None, "pending", None, soon),
        ],
        [(old, Decimal(10), "succeeded", "card", None, old), (old, Decimal(10), "failed", "oxxo", "x", old)],
    )
    queries.connect(
        Sources(ledger_url=module_ledger_url.reader, prometheus=Prometheus(url=known_series), scrape_interval=60)
    )
    components.set_default_language("en")
    yield
    queries.connect(Sources(ledger_url=module_ledger_url.reader))


def test_the_page_shows_all_four_with_budget_burn_and_forecast(both: None) -> None:
    test = page()
    assert not test.exception
    said = words(test)
    for slo in slos().values():
        assert slo.label.en in said
    assert "97.44 %" in said  # 38 of 39 decided
    assert "1 bad of 2 allowed · $5.0 k / $2.2 k" in said
    assert "The metrics begin" in said
    assert "The budget is spent." in said


def test_one_objective_shows_what_spent_it_and_what_breaches_soon(both: None) -> None:
    test = page(slo="disbursement_48h")
    assert not test.exception
    said = words(test)
    assert "1 bad of 39 events" in said
    assert "1 is undecided · :orange[**1 breaches within 12 h** · $7.0 k]" in said
    assert "Spent by tier" in said
    assert "told otherwise" in said
    month = page(slo="payment_success", window="month", history="90")
    assert not month.exception
    metrics_one = page(slo="latency")
    assert not metrics_one.exception
    assert "Undecided" not in words(metrics_one)


def test_without_sources_each_objective_says_so_and_the_others_stay(module_ledger_url: LedgerUrl, ledger: Any) -> None:
    ledger([], [])
    components.set_default_language("en")
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    test = page()
    assert not test.exception
    said = words(test)
    assert said.count("No Prometheus server is configured: set MIRADOR_PROMETHEUS_URL.") == 2
    assert "no data" in said or "Nothing was decided" in said
    assert not page(slo="availability").exception
    away = Prometheus(url="http://127.0.0.1:9")
    queries.connect(Sources(ledger_url="postgresql+psycopg://x@127.0.0.1:9/x", prometheus=away, connect_timeout=1))
    for test in (page(), page(slo="payment_success"), page(slo="latency")):
        assert not test.exception
        assert "cannot be reached" in words(test)
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    assert "There is no objective" in words(page(slo="nothing"))


def test_the_page_is_spanish_too(both: None) -> None:
    components.set_default_language("es")
    said = words(page())
    assert "Disponibilidad de la API" in said
    assert "El presupuesto está agotado." in said
    assert "The budget" not in said


def test_the_parameters_of_routes_are_named_shortly_and_the_routes_stay_apart() -> None:
    routes = pd.Series(["GET /applications/{application_id}", "POST /applications/{application_id}/decision", "others"])
    assert short_routes(routes).tolist() == ["GET /applications/{id}", "POST /applications/{id}/decision", "others"]
    alike = pd.Series(["/credits/{credit_id}", "/credits/{name}", "/drivers/{driver}", "/drivers/{driver}"])
    assert short_routes(alike).tolist() == ["/credits/{credit_id}", "/credits/{name}", "/drivers/{id}", "/drivers/{id}"]
