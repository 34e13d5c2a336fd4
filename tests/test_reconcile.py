"""Reconciliation: what may lie between ledger and metric, what each fault looks like, and the sources themselves."""

from __future__ import annotations

import socket
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations_with_replacement
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

import queries
from queries import Prometheus, Sources, contracts, daily_differences, ledger, metrics, reconcile, reconcile_all
from queries.contracts import CONTRACTS, load_contracts
from queries.reconcile_model import EXPLAINED, KINDS, compare, path
from tests.simulator import Company, attributed, judged, run

ZONE = ZoneInfo("America/Mexico_City")
DAY = date(2025, 6, 16)


def local(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=ZONE)


# --- contracts ------------------------------------------------------------------------------------------------------


def test_every_number_that_both_sources_know_has_a_contract():
    assert set(contracts()) == {
        "applications_submitted",
        "applications_approved",
        "applications_rejected",
        "credits_disbursed",
        "credits_disbursed_mxn",
        "active_credits",
        "payments",
        "late_installments",
        "hase_scores",
        "hase_distribution",
        "integration_calls",
    }
    assert all(one.owner.es and one.label.es for one in contracts().values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kpi": "profit"}, "the catalogue has no KPI profit"),
        ({"labels": {"status": "colour"}}, "has no column colour"),
        ({"owner": None}, "wrong at owner"),
        ({"kind": "histogram"}, "a histogram is compared by le"),
        ({"tolerance": {"ahead": -1, "behind": 5}}, "wrong at tolerance.ahead"),
        ({"values": {"colour": {"a": "b"}}}, "which is no label"),
    ],
)
def test_a_wrong_contract_is_told_by_name_and_place(tmp_path: Path, change, sentence):
    entry = yaml.safe_load(CONTRACTS.read_text(encoding="utf-8"))["payments"]
    wrong = tmp_path / "contracts.yaml"
    wrong.write_text(yaml.safe_dump({"payments": {**entry, **change}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"The contract payments is wrong") as told:
        load_contracts(wrong)
    assert sentence in str(told.value)


# --- the path through the tube --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.data())
def test_the_path_never_moves_more_than_the_truth(steps, data):
    truth = np.cumsum(steps).astype(float)
    n = len(truth)
    low = truth - np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    high = truth + np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    found = path(low, high, np.arange(n, dtype=float))
    assert sum(abs(s.size) for s in found) <= np.abs(np.diff(truth)).sum() + 1e-6
    if low.max() <= high.min():
        assert found == []
    # And each step lies where one is proven to be.
    assert all(s.a <= s.b for s in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=40))
def test_where_the_tube_has_no_room_the_path_is_the_truth(steps):
    truth = np.cumsum(steps).astype(float)
    found = path(truth, truth, np.arange(len(truth), dtype=float))
    assert sum(s.size for s in found) == pytest.approx(truth[-1] - truth[0])
    assert sum(abs(s.size) for s in found) == pytest.approx(np.abs(np.diff(truth)).sum())


# --- the simulator --------------------------------------------------------------------------------------------------


def test_two_hundred_clean_runs_have_no_finding():
    for seed in range(200):
        _, found = run(seed, [], hours=3)
        assert found.findings == (), seed
        assert found.state == "agrees"


ALONE = [(kind,) for kind in KINDS for _ in range(8)]
PAIRS = [pair for pair in combinations_with_replacement(KINDS, 2) for _ in range(2)]


@pytest.mark.parametrize("together", [ALONE, PAIRS], ids=["alone", "two at a time"])
def test_95_percent_of_what_was_planted_of_each_class_is_attributed_to_it(together):
    wanted: dict[str, float] = defaultdict(float)
    right: dict[str, float] = defaultdict(float)
    # The same draws at every run: of a class of few events one that chance has put beside another weighs much.
    for seed, kinds in enumerate(together, start=70_000):
        for one in judged(seed, kinds, hours=4):
            wanted[one.kind] += one.planted
            right[one.kind] += one.attributed
    shares = {kind: round(right[kind] / wanted[kind], 4) for kind in KINDS}
    assert min(shares.values()) >= 0.95, shares
    assert sum(right.values()) >= 0.98 * sum(wanted.values())


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9), st.lists(st.sampled_from(KINDS), min_size=1, max_size=2))
def test_whatever_is_planted_at_whatever_time_and_size_is_found(seed, kinds):
    planted, found = run(seed, kinds, hours=3)
    # Of a single run a few events may hide within the scrapes, whatever class the others are.
    assert sum(one.size for one in found.findings) >= 0.5 * sum(one.size for one in planted) - 15
    assert all(one.size > 0 and one.start <= one.end for one in found.findings)
    if any(one.kind not in EXPLAINED for one in found.findings):
        assert found.state == "differs"


def test_what_another_fault_has_undone_is_in_no_sample():
    """A row that nobody counted and a count that is no row, of one label within one scrape, look like each other's."""
    planted, found = run(1006, ["row_without_metric", "double_count"])
    assert [one.undone for one in planted] == [6.0, 6.0]
    told: dict[str, float] = defaultdict(float)
    for one in found.findings:
        told[one.kind] += one.size
    # To the event what is left is found: none of the undone ones, all others.
    assert told == {one.kind: one.size for one in planted}


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_alone_is_named_and_nothing_larger_beside_it(kind):
    planted = size = beside = 0.0
    for seed in range(50, 52):
        faults, found = run(seed, [kind], hours=4)
        told, right, added = attributed(faults, found)
        planted, size, beside = planted + told, size + right, beside + added
        assert found.state == ("explained" if {f.kind for f in found.findings} <= EXPLAINED else "differs")
    assert size >= 0.85 * planted
    assert beside <= 0.2 * planted + 2


def test_findings_account_for_the_difference():
    for seed in range(8):
        _, found = run(seed, ["row_without_metric", "metric_without_row"], hours=4)
        explained = sum(one.amount for one in found.findings)
        slack = found.high - found.low + 2
        assert abs(found.difference - explained) <= slack


def test_no_sample_at_all_is_unknown_not_different():
    company = Company(1, hours=3)
    samples, up = company.samples()
    found = compare(
        contracts()["payments"],
        company.events(),
        samples[:0],
        up[:0],
        start=company.start,
        end=company.end,
        interval=15,
    )
    assert found.state == "unknown"
    assert found.findings == ()


def test_a_restart_that_loses_nothing_is_no_finding():
    company = Company(5, hours=3)
    boot = company.start + 4000
    company.boots[0].append(boot)
    times = company.targets[0].times
    last = times[times <= boot][-1]
    quiet = (company.counted > last) & (company.counted <= boot + 1) & (company.replica == 0)
    company.replica[quiet] = 1
    found = company.compared()
    assert found.findings == ()
    assert found.targets["restarts"].tolist() == [1, 0]


def counted(name: str, events: pd.DataFrame, series: list[tuple[dict, list[float]]], begin: float, starts=None):
    """A contract compared over an hour of 15 s scrapes of known values; a series ends where its values do."""
    parts = [
        pd.DataFrame({"time": begin + 15 * np.arange(241)[-len(values) :], "value": values, "job": "b", **labels})
        for labels, values in series
    ]
    samples = pd.concat(parts, ignore_index=True)
    none = samples[:0]
    return compare(contracts()[name], events, samples, none, starts, start=begin + 60, end=begin + 3600, interval=15)


def happened(begin: float, seconds: list[float], **columns) -> pd.DataFrame:
    moments = pd.to_datetime([begin + one for one in seconds], unit="s", utc=True)
    return pd.DataFrame({"at": moments, "committed": pd.NaT, "n": 1, **columns})


def test_a_restart_that_no_counter_shows_is_told_by_the_start_of_the_process():
    begin = 1_750_000_000.0
    events = happened(begin, [1201, 1203, 1209])
    series = [({"instance": "b-1"}, [0.0] * 241)]
    times = begin + 15 * np.arange(241)
    starts = pd.DataFrame({"time": times, "value": np.where(times < begin + 1212, 5.0, begin + 1211.5), "job": "b"})
    starts["instance"] = "b-1"
    told = counted("applications_submitted", events, series, begin, starts=starts)
    [one] = told.findings
    assert (one.kind, one.size, one.instances, told.state) == ("counter_reset", 3.0, ("b-1",), "explained")
    assert told.targets["restarts"].tolist() == [1]
    [blind] = counted("applications_submitted", events, series, begin).findings
    assert blind.kind == "row_without_metric"


def test_two_targets_that_were_started_at_one_moment_are_one_process_though_little_happens():
    begin = 1_750_000_000.0
    events = happened(begin, [1800])
    values = [7.0] * 121 + [8.0] * 120
    series = [({"instance": "b-1"}, values), ({"instance": "b-1-again"}, values)]
    times = begin + 15 * np.arange(241)
    starts = pd.concat(
        [pd.DataFrame({"time": times, "value": 5.25, "job": "b", "instance": name}) for name in ("b-1", "b-1-again")]
    )
    told = counted("credits_disbursed", events, series, begin, starts=starts)
    [one] = told.findings
    assert (one.kind, one.size, one.instances) == ("counted_twice", 1.0, ("b-1", "b-1-again"))
    [blind] = counted("credits_disbursed", events, series, begin).findings
    assert blind.kind != "counted_twice"


def test_a_row_from_before_a_process_came_is_not_its_own():
    begin = 1_750_000_000.0
    events = happened(begin, [600, 3000])
    # The second came later and had counted nothing by then.
    series = [({"instance": "b-1"}, [0.0] * 241), ({"instance": "b-2"}, [0.0] * 80 + [1.0] * 40)]
    [one] = counted("credits_disbursed", events, series, begin).findings
    assert (one.kind, one.size) == ("row_without_metric", 1.0)


def test_a_gap_is_judged_by_the_scrapes_around_it_though_they_were_further_apart_before():
    begin = 1_750_000_000.0
    before, after = begin + 60 * np.arange(31), begin + 1800 + 15 * np.arange(1, 121)
    times = np.concatenate([before, after[after <= begin + 2700], after[after > begin + 2880]])
    samples = pd.DataFrame({"time": times, "value": 3.0, "job": "b", "instance": "b-1"})
    told = compare(
        contracts()["credits_disbursed"], happened(begin, []), samples, samples[:0],
        start=begin + 60, end=begin + 3600, interval=60,
    )  # fmt: skip
    [one] = told.findings
    assert (one.kind, one.facts["missed"]) == ("scrape_gap", 12)


def test_more_of_one_label_than_an_unscraped_process_takes_was_never_counted():
    planted, found = run(1003, ["replica_missing", "row_without_metric"])
    told = {kind: sum(one.size for one in found.findings if one.kind == kind) for kind in ("row_without_metric",)}
    [past] = [one.size for one in planted if one.kind == "row_without_metric"]
    assert abs(told["row_without_metric"] - past) <= 0.35 * past


def test_a_label_that_first_appears_with_its_first_event_is_counted_from_zero():
    begin = 1_750_000_000.0
    events = happened(begin, [1000, 1001], sinosure_tier=["AAA", "B"])
    found = counted(
        "applications_approved",
        events,
        [
            ({"instance": "b-1", "sinosure_tier": "AAA"}, [5.0] * 67 + [6.0] * 174),
            ({"instance": "b-1", "sinosure_tier": "B"}, [1.0] * 174),
        ],
        begin,
    )
    assert (found.state, found.ledger, found.metric) == ("agrees", 2.0, 2.0)


def test_a_credit_past_the_path_is_missing_in_number_and_to_the_centavo():
    begin = 1_750_000_000.0
    events = happened(begin, [600, 1800, 3000], amount=[Decimal("150000.10"), Decimal("99999.99"), Decimal("80000.00")])
    amounts = [0.0] * 41 + [150000.10] * 160 + [230000.10] * 40
    found = counted("credits_disbursed_mxn", events, [({"instance": "b-1"}, amounts)], begin)
    assert found.state == "differs"
    [one] = found.findings
    assert one.kind == "row_without_metric"
    assert one.amount == pytest.approx(-99999.99)
    assert one.start.timestamp() <= begin + 1800 <= one.end.timestamp() + 15
    assert one.end - one.start <= timedelta(seconds=30)


def test_buckets_are_compared_band_by_band():
    begin = 1_750_000_000.0
    events = happened(begin, [600, 1800], le=["75", "80"])
    # The second score was observed one bucket too low.
    series = {
        "50.0": [3.0] * 241,
        "75.0": [4.0] * 41 + [5.0] * 80 + [6.0] * 120,
        "80.0": [4.0] * 41 + [5.0] * 80 + [6.0] * 120,
        "+Inf": [4.0] * 41 + [5.0] * 80 + [6.0] * 120,
    }
    found = counted("hase_distribution", events, [({"instance": "b", "le": le}, v) for le, v in series.items()], begin)
    assert found.difference == 0
    assert [(one.kind, one.labels, one.facts["to"]) for one in found.findings] == [
        ("wrong_label", {"le": "80"}, {"le": "75"})
    ]


def test_a_gauge_is_judged_by_the_state_that_it_may_have_seen():
    contract = contracts()["active_credits"]
    begin = 1_750_000_000
    changes = pd.DataFrame(
        {
            "at": pd.to_datetime([begin, begin + 1000, begin + 2000], unit="s", utc=True),
            "sinosure_tier": "AAA",
            "n": [10, 1, 1],
            "ids": None,
        }
    )
    times = np.arange(begin + 5, begin + 3600, 15.0)
    # Worked out anew each minute by two processes; the greater counts.
    state = 10 + (times - 60 >= begin + 1000) + (times - 30 >= begin + 2000)

    def told(shown):
        parts = [
            pd.DataFrame({"time": times, "job": "b", "instance": name, "sinosure_tier": "AAA", "value": shown})
            for name in ("b-1", "b-2")
        ]
        samples = pd.concat(parts, ignore_index=True)
        return compare(contract, changes, samples, samples[:0], start=begin, end=begin + 3600, interval=15)

    clean = told(state.astype(float))
    assert (clean.state, clean.ledger, clean.metric) == ("agrees", 12.0, 12.0)
    stuck = told(np.minimum(state, 11).astype(float))
    assert stuck.state == "differs"
    assert [(one.kind, one.amount) for one in stuck.findings] == [("row_without_metric", -1.0)]


# --- SQL against PostgreSQL -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(module_ledger_url):
    """A ledger with a few rows of each kind on DAY, and the next day's first."""
    at = local(DAY, 10)
    engine = create_engine(module_ledger_url.owner)
    with engine.begin() as owner:
        for n in range(6):
            when = at + timedelta(minutes=7 * n)
            owner.execute(
                text(
                    "insert into bi.applications values (:id, 'D1', :at, 100000, 70, :tier, :status, :decided, :reason,"
                    " :upd)"
                ),
                {
                    "id": f"A{n}",
                    "at": when,
                    "tier": ["AAA", None][n % 2],
                    "status": ["approved", "rejected", "pending"][n % 3],
                    "decided": [when + timedelta(hours=1), when + timedelta(hours=1), None][n % 3],
                    "reason": [None, "low_hase_score", None][n % 3],
                    "upd": when + timedelta(hours=1),
                },
            )
            owner.execute(
                text("insert into bi.hase_scores values (:n, :id, 'D1', :score, 'hase-1', :at)"),
                {"n": n, "id": f"A{n}", "score": [0, 50, 51, 75, 100, 96][n], "at": when},
            )
            owner.execute(
                text(
                    "insert into bi.credits values (:id, :app, 'D1', :tier, :principal, :at, :sent, 'sent', 'active',"
                    " :closed, :sent)"
                ),
                {
                    "id": f"C{n}",
                    "app": f"A{n}",
                    "tier": ["AAA", "B"][n % 2],
                    "principal": Decimal("100000.25") + n,
                    "at": when - timedelta(days=1),
                    "sent": when - timedelta(days=1) if n < 2 else when,
                    "closed": when + timedelta(hours=2) if n == 0 else None,
                },
            )
            owner.execute(
                text("insert into bi.installments values (:n, :id, 1, :due, 100, 0, :paid, :at)"),
                {
                    "n": n,
                    "id": f"C{n}",
                    "due": DAY - timedelta(days=[1, 7, 8, 40, 95, 0][n]),
                    "paid": when if n == 1 else None,
                    "at": when,
                },
            )
            owner.execute(
                text("insert into bi.payments values (:n, :id, :n, :at, 100, :status, 'spei', null, null, :upd)"),
                {
                    "n": n,
                    "id": f"C{n}",
                    "at": when,
                    "status": ["succeeded", "failed"][n % 2],
                    "upd": when + timedelta(seconds=n * 5),
                },
            )
            owner.execute(
                text(
                    "insert into bi.integration_calls values (:n, :at, 'neon', '/disbursements', 'success', 200, 80,"
                    " null, null, 'r', null, null, null)"
                ),
                {"n": n, "at": when},
            )
    engine.dispose()
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield module_ledger_url
    queries.disconnect()


def asked(name: str, first: datetime, last: datetime, **more) -> pd.DataFrame:
    contract = contracts()[name]
    return ledger(contract.ledger.query, {"start": first, "end": last, **more})


WHOLE = (local(DAY, 0), local(DAY + timedelta(days=1), 0))


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("applications_submitted", 6),
        ("applications_approved", 2),
        ("applications_rejected", 2),
        ("credits_disbursed", 4),
        ("payments", 6),
        ("hase_scores", 6),
        ("hase_distribution", 6),
        ("integration_calls", 6),
    ],
)
def test_the_ledger_is_read_second_by_second_with_ids(filled, name, total):
    frame = asked(name, *WHOLE, with_ids=True)
    assert frame["n"].sum() == total
    assert sum(len(ids.split(",")) for ids in frame["ids"]) == total
    assert asked(name, *WHOLE)["ids"].isna().all()
    # Half open: cut anywhere, the parts are the whole.
    middle = local(DAY, 10, 14)
    assert asked(name, WHOLE[0], middle)["n"].sum() + asked(name, middle, WHOLE[1])["n"].sum() == total


def test_amounts_are_exact_and_late_rows_tell_when_they_were_written(filled):
    disbursed = asked("credits_disbursed_mxn", *WHOLE)
    assert sum(disbursed["amount"]) == Decimal("400015.00")
    paid = asked("payments", *WHOLE)
    assert paid["committed"].notna().tolist() == [False, False, True, True, True, True]


def test_scores_fall_into_the_buckets_of_the_metric(filled):
    frame = asked("hase_distribution", *WHOLE)
    assert sorted(frame["le"]) == sorted(["0", "50", "60", "75", "100", "100"])


def state_at(name: str, moment: datetime) -> dict[str, int]:
    """A gauge's state from its changes up to a moment."""
    contract = contracts()[name]
    frame = asked(name, WHOLE[0], moment)
    return {k: int(v) for k, v in frame.groupby(contract.columns[0])["n"].sum().items() if v}


def test_changes_add_up_to_the_state_at_every_moment(filled):
    assert state_at("active_credits", local(DAY, 1)) == {"AAA": 1, "B": 1}
    assert state_at("active_credits", local(DAY, 11)) == {"AAA": 3, "B": 3}
    assert state_at("active_credits", local(DAY, 13)) == {"AAA": 2, "B": 3}
    # One day late is bucket 1-7; paid at 10:07; 8 days are the next bucket; what is due today is not late.
    assert state_at("late_installments", local(DAY, 1)) == {"1-7": 2, "8-15": 1, "31-60": 1, "90+": 1}
    assert state_at("late_installments", local(DAY, 11)) == {"1-7": 1, "8-15": 1, "31-60": 1, "90+": 1}
    told = asked("late_installments", WHOLE[0], local(DAY + timedelta(days=1), 1), with_ids=True)
    assert {k: int(v) for k, v in told.groupby("level")["n"].sum().items() if v} == {
        "1-7": 2, "8-15": 1, "31-60": 1, "90+": 1,
    }  # fmt: skip


def test_days_add_up_to_the_seconds(filled):
    for name in ("applications_submitted", "credits_disbursed", "payments", "hase_scores", "integration_calls"):
        contract = contracts()[name]
        by_day = ledger(contract.ledger.days, {"days": [DAY], "day": DAY})
        assert int(by_day["value"].sum()) == int(asked(name, *WHOLE)["n"].sum())


# --- both sources ---------------------------------------------------------------------------------------------------


def store(owner_url: str, company: Company) -> list[dict]:
    rows = company.rows()
    engine = create_engine(owner_url)
    with engine.begin() as owner:
        owner.execute(
            text(
                "insert into bi.payments values (:payment_id, 'C1', null, :at, 100, :status, :method, null, null,"
                " :updated_at)"
            ),
            rows,
        )
    engine.dispose()
    return rows


def test_samples_come_as_they_were_scraped(prometheus_server):
    begin = 1_750_000_000
    lines = [f'payments_processed_total{{status="succeeded",method="spei"}} {n} {begin + 15 * n}' for n in range(4000)]
    url = prometheus_server("\n".join(["# TYPE payments_processed counter", *lines, "# EOF", ""]))
    queries.connect(Sources(prometheus=Prometheus(url), scrape_interval=15))
    try:
        span = {"start": datetime.fromtimestamp(begin, UTC), "end": datetime.fromtimestamp(begin + 50_000, UTC)}
        frame = metrics("reconcile/payments", span)
        # After the start, up to the end, each once, over the seams of several questions.
        assert frame["time"].tolist() == [begin + 15 * n for n in range(1, 3334)]
        assert frame["value"].tolist() == list(range(1, 3334))
        with pytest.raises(queries.SourceError, match="start before its end"):
            metrics("reconcile/payments", {"start": span["end"], "end": span["start"]})
    finally:
        queries.disconnect()


def test_rows_past_the_instrumented_path_are_named_from_both_real_sources(ledger_url, prometheus_server):
    company = Company(11, hours=3, hourly=120)
    company.plant("row_without_metric")
    company.plant("counter_reset")
    rows = store(ledger_url.owner, company)
    url = prometheus_server(company.openmetrics())
    queries.connect(Sources(ledger_url=ledger_url.reader, prometheus=Prometheus(url), scrape_interval=15))
    try:
        start, end = (datetime.fromtimestamp(edge, UTC) for edge in (company.start, company.end))
        result = reconcile("payments", start, end)
        assert result.error is None
        assert result.ledger == sum(start <= one["at"] < end for one in rows)
        assert result.state == "differs"
        assert {one.kind for one in result.findings} == {"row_without_metric", "counter_reset"}
        named = {one for finding in result.findings if finding.kind == "row_without_metric" for one in finding.rows}
        past = {str(one["payment_id"]) for one in rows if not one["counted"]}
        assert len(past & named) >= 0.9 * len(past)
        assert result.low <= 0 <= result.high
        assert int(result.curve["ledger"].sum()) == result.ledger
        assert result.ledger_answer.source == "ledger"
        assert result.metric_answer.source == "metrics"

        # No counter of anything else is there: unknown, and no page goes down.
        others = {one.contract.name: one.state for one in reconcile_all(company_day(start))}
        assert others["hase_scores"] == "unknown"
        trend = daily_differences("payments", [company_day(start)])
        assert trend["ledger"].iloc[0] == len(rows)
        assert abs(trend["difference"].iloc[0] + company.in_ledger.sum() - len(rows)) < 60
    finally:
        queries.disconnect()


def company_day(start: datetime) -> date:
    return start.astimezone(ZONE).date()


def test_a_source_that_is_away_makes_it_unknown_with_a_sentence(ledger_url):
    rows = store(ledger_url.owner, Company(3, hours=3))
    queries.connect(Sources(ledger_url=ledger_url.reader))
    try:
        result = reconcile("payments", *(local(date(2025, 6, 15), hour) for hour in (9, 12)))
        assert result.state == "unknown"
        assert "MIRADOR_PROMETHEUS_URL" in result.error
        assert result.metric is None
        # The ledger's number stands all the same, minute by minute.
        inside = [one for one in rows if result.start <= one["at"] < result.end]
        assert result.ledger == len(inside) > 0
        assert result.curve["ledger"].sum() == len(inside)
        assert result.curve["metric"].isna().all()
    finally:
        queries.disconnect()


def test_a_source_that_hangs_is_waited_for_once_and_not_by_each_contract(ledger_url):
    company = Company(3, hours=3)
    store(ledger_url.owner, company)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hung = Prometheus(f"http://127.0.0.1:{silent.getsockname()[1]}")
        queries.connect(Sources(ledger_url=ledger_url.reader, prometheus=hung, query_timeout=1.5))
        try:
            began = time.monotonic()
            results = reconcile_all(company_day(datetime.fromtimestamp(company.start, UTC)))
            assert time.monotonic() - began < 8
        finally:
            queries.disconnect()
    assert {one.state for one in results} == {"unknown"}
    assert all(one.error for one in results)
    assert next(one for one in results if one.contract.name == "payments").ledger > 300
