"""The demo's history: a small company of a fixed moment, its rows among themselves and its series against its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from demo import company, servers
from demo.backend import metrics
from demo.backfill import LABELS, LEVELS, backfill, write_openmetrics
from demo.history import build
from tests.conftest import LedgerUrl, drop_ledger, new_ledger

# 12:20:30 in Mexico City, a Tuesday: the last day is not over, the last minute neither. The three days before it hold a
# boundary of promtool's blocks of 486 h, which are what a limit of 720 h gives.
UNTIL = datetime(2026, 3, 3, 18, 20, 30, tzinfo=UTC)
TODAY = date(2026, 3, 3)
SCALE, DAYS = 0.1, 3
LOCAL = "at time zone 'America/Mexico_City'"
TABLES = ("applications", "hase_scores", "credits", "installments", "payments", "integration_calls")
CHECKSUM = "select coalesce(sum(hashtextextended(t::text, 0)::numeric), 0), count(*) from bi.{} t"

Rows = Callable[..., list[Any]]
# Name, labels -> values by epoch second.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], dict[int, float]]


@pytest.fixture(scope="module")
def history(module_ledger_url: LedgerUrl) -> LedgerUrl:
    build(module_ledger_url.owner, scale=SCALE, until=UNTIL)
    return module_ledger_url


@pytest.fixture(scope="module")
def engine(history: LedgerUrl) -> Iterator[Engine]:
    made = create_engine(history.owner)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def rows(engine: Engine) -> Rows:
    def ask(sql: str, **parameters: object) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), parameters)]

    return ask


@pytest.fixture(scope="module")
def openmetrics(history: LedgerUrl, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("series") / "series.om"
    assert write_openmetrics(history.owner, path, days=DAYS, until=UNTIL) > 10_000
    return path.read_text()


@pytest.fixture(scope="module")
def samples(openmetrics: str) -> Samples:
    found: Samples = {}
    for line in openmetrics.splitlines():
        if line.startswith("#"):
            continue
        series, value, second = line.rsplit(" ", 2)
        name, _, inside = series.partition("{")
        labels = {key: text for key, text in re.findall(r'(\w+)="([^"]*)"', inside) if key not in LABELS}
        found.setdefault((name, tuple(sorted(labels.items()))), {})[int(second)] = float(value)
    return found


def at(values: dict[int, float], moment: datetime) -> float:
    """What a series says at a moment: its last sample until then."""
    return values[max(second for second in values if second <= moment.timestamp())]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=company.TIMEZONE)


def none(rows: Rows, sql: str, **parameters: object) -> None:
    """That nothing answers to a question for rows that must not be."""
    assert rows(f"select count(*) from ({sql}) wrong", **parameters) == [(0,)], sql


# --- the seed ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_ledger_and_another_seed_another(postgres: servers.Postgres) -> None:
    sums = []
    for seed in (3, 3, 4):
        ledger = new_ledger(postgres)
        build(ledger.owner, scale=0.01, seed=seed, until=UNTIL)
        made = create_engine(ledger.owner)
        with made.connect() as connection:
            sums.append([tuple(connection.execute(text(CHECKSUM.format(table))).one()) for table in TABLES])
        made.dispose()
        drop_ledger(postgres, ledger)
    assert sums[0] == sums[1]
    assert all(one != other for one, other in zip(sums[0], sums[2], strict=True))


# --- how much, how well -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("applications", 40_000),
        ("credits", 22_000),
        ("installments", 1_000_000),
        ("payments", 800_000),
        ("integration_calls", 2_000_000),
    ],
)
def test_the_company_has_its_size(rows: Rows, table: str, expected: int) -> None:
    [(count,)] = rows(f"select count(*) from bi.{table}")
    assert count == pytest.approx(expected * SCALE, rel=0.15)


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [
        ("avg((status = 'approved')::int) from bi.applications where decided_at is not null", 0.50, 0.62),
        ("avg((status = 'succeeded')::int) from bi.payments where status in ('succeeded', 'failed')", 0.93, 0.96),
        (
            f"avg((coalesce(disbursed_at, '{UNTIL}') - approved_at <= interval '48 hours')::int) from bi.credits"
            " where status <> 'cancelled'",
            *(0.94, 0.985),
        ),
        ("avg((status <> 'success')::int) from bi.integration_calls", 0.007, 0.02),
        ("avg(score) / 100 from bi.hase_scores", 0.71, 0.73),
        (
            f"avg((paid_at is null or (paid_at {LOCAL})::date > due_date)::int) from bi.installments"
            f" where due_date < '{TODAY}'",
            *(0.08, 0.13),
        ),
    ],
)
def test_the_business_is_believable(rows: Rows, share: str, low: float, high: float) -> None:
    [(value,)] = rows(f"select {share}")
    assert low <= float(value) <= high


def test_scores_predict_lateness(rows: Rows) -> None:
    found = rows(
        f"select width_bucket(hase_score, array[62, 70, 78, 86]) as band,"
        f" avg((paid_at is null or (paid_at {LOCAL})::date > due_date)::int)::float8"
        " from bi.installments join bi.credits using (credit_id) join bi.applications using (application_id)"
        " where due_date < :today group by 1 order by 1",
        today=TODAY,
    )
    late = [share for _, share in found]
    assert len(late) == 5
    assert late == sorted(late, reverse=True)
    assert late[0] > 4 * late[-1]


def test_most_late_installments_are_paid_within_two_weeks_and_few_stay(rows: Rows) -> None:
    [(soon, never)] = rows(
        f"select avg(((paid_at {LOCAL})::date - due_date <= 15)::int) filter (where paid_at is not null)::float8,"
        " avg((paid_at is null)::int)::float8 from bi.installments"
        f" where due_date < :long_ago and (paid_at is null or (paid_at {LOCAL})::date > due_date)",
        long_ago=TODAY - timedelta(days=120),
    )
    assert soon > 0.8
    assert never < 0.08


def test_more_is_paid_after_the_quincena(rows: Rows) -> None:
    found = dict(rows(f"select (processed_at {LOCAL})::date, count(*) from bi.payments group by 1"))
    days = [TODAY - timedelta(days=n) for n in range(1, 361)]

    def mean(chosen: Callable[[date], bool]) -> float:
        counts = [found.get(day, 0) for day in days if chosen(day)]
        return sum(counts) / len(counts)

    after = mean(lambda day: company.days_since_payday(day) <= 2)
    later = mean(lambda day: 3 <= company.days_since_payday(day) <= 5)
    usual = mean(lambda day: company.days_since_payday(day) > 5)
    payday, next_days = company.payday_pull(date(2026, 3, 13)), company.payday_pull(date(2026, 3, 17))
    assert after / usual == pytest.approx(payday, rel=0.12)
    assert later / usual == pytest.approx(next_days, rel=0.12)


def test_paydays_are_those_that_mirador_compares_with() -> None:
    from queries.calendar import is_holiday, payday_position

    for n in range(800):
        day = TODAY - timedelta(days=n)
        assert company.is_holiday(day) == is_holiday(day), day
        assert company.is_near_payday(day) == (payday_position(day) == "payday"), day


# --- sums and stories -------------------------------------------------------------------------------------------------


def test_what_is_paid_of_an_installment_is_the_sum_of_its_payments_to_the_centavo(rows: Rows) -> None:
    none(
        rows,
        "select from bi.installments i left join (select installment_id, sum(amount) as paid, max(processed_at) as last"
        " from bi.payments where status = 'succeeded' group by 1) p using (installment_id)"
        " where amount_paid <> coalesce(paid, 0) or amount_paid > amount_due"
        " or paid_at is distinct from case when amount_paid = amount_due then last end",
    )
    assert rows("select count(*) > 0 from bi.installments where amount_paid > 0 and amount_paid < amount_due")[0][0]


def test_a_plan_adds_up_to_the_principal_and_the_tiers_interest(rows: Rows) -> None:
    found = rows(
        "select sinosure_tier, principal, sum(amount_due), count(*), count(distinct sequence) from bi.credits"
        " join bi.installments using (credit_id) where status in ('active', 'paid') group by credit_id"
    )
    assert len(found) > 500
    for tier, principal, due, installments, sequences in found:
        assert installments == sequences == company.INSTALLMENTS
        assert due == principal + (principal * Decimal(str(company.TIER_RATE[tier]))).quantize(Decimal("0.01"))


def test_the_status_of_a_credit_follows_from_its_installments(rows: Rows) -> None:
    per_credit = (
        "select c.*, count(i.*) as installments, count(i.*) filter (where i.paid_at is null) as unpaid,"
        " max(i.paid_at) as last from bi.credits c left join bi.installments i using (credit_id) group by c.credit_id"
    )
    none(
        rows,
        f"select from ({per_credit}) c where not case status"
        " when 'paid' then unpaid = 0 and installments > 0 and closed_at = last"
        " when 'active' then unpaid > 0 and closed_at is null and disbursement_status in ('sent', 'settled')"
        " when 'charged_off' then unpaid > 0 and closed_at is not null"
        " when 'cancelled' then installments = 0 and closed_at is not null and disbursed_at is null"
        " when 'pending' then installments = 0 and closed_at is null and disbursed_at is null"
        "  and disbursement_status in ('pending', 'failed') else false end",
    )
    none(
        rows,
        "select from bi.payments p join bi.credits c using (credit_id)"
        " where p.processed_at < c.disbursed_at or (c.status = 'charged_off' and p.processed_at > c.closed_at)",
    )


def test_each_approval_has_one_credit_of_the_same_driver_and_tier(rows: Rows) -> None:
    none(
        rows,
        "select from bi.applications a full join bi.credits c using (application_id)"
        " where (a.status = 'approved') is distinct from (c.credit_id is not null)"
        " or c.conductor_id <> a.conductor_id or c.sinosure_tier <> a.sinosure_tier or c.approved_at <> a.decided_at"
        " or c.principal > a.amount_requested",
    )
    none(
        rows,
        "select from bi.applications where decided_at < submitted_at"
        " or (status in ('approved', 'rejected')) <> (decided_at is not null)"
        " or (status = 'rejected') <> (rejection_reason is not null)"
        " or (hase_score is null) <> (sinosure_tier is null)",
    )
    statuses = dict(rows("select status, max(submitted_at) from bi.applications group by 1"))
    # A small company may have nothing on its desk at noon.
    assert set(statuses) | {"pending"} == {"pending", "approved", "rejected", "withdrawn"}
    none(
        rows,
        "select from bi.applications where status = 'pending' and submitted_at < :long_ago",
        long_ago=UNTIL - timedelta(days=5),
    )


def test_each_event_has_its_call_to_the_service_that_it_needs(rows: Rows) -> None:
    none(
        rows,
        "select from bi.payments p left join bi.integration_calls i on i.call_id = p.integration_call_id"
        " where i.integration is distinct from 'conekta' or i.credit_id <> p.credit_id or i.called_at > p.processed_at"
        " or (i.status = 'success') <> (p.failure_code is distinct from 'gateway_error')",
    )
    none(rows, "select integration_call_id from bi.payments group by 1 having count(*) > 1")
    none(
        rows,
        "select from bi.credits c where disbursed_at is not null and not exists (select from bi.integration_calls i"
        " where i.credit_id = c.credit_id and i.integration = 'neon' and i.status = 'success'"
        " and i.called_at <= c.disbursed_at)",
    )
    for integration in ("metamap", "geotab"):
        none(
            rows,
            "select from bi.hase_scores s where not exists (select from bi.integration_calls i"
            " where i.application_id = s.application_id and i.integration = :integration)",
            integration=integration,
        )
    none(
        rows,
        "select from bi.integration_calls where (status = 'success') <> (error_code is null)"
        " or (error_code is null) <> (error_message is null) or (status = 'timeout') <> (http_status is null)"
        " or length(trace_id) <> 32 or duration_ms <= 0",
    )


def test_a_refunded_charge_counts_nowhere_as_paid(rows: Rows) -> None:
    [(count, moved)] = rows(
        "select count(*), count(*) filter (where updated_at > processed_at + interval '30 minutes') from bi.payments"
        " where status = 'refunded'"
    )
    assert count == moved > 0


def test_calls_fail_more_in_an_incident(rows: Rows) -> None:
    incidents = [
        incident
        for n in range(730)
        for incident in company.incidents_of(TODAY - timedelta(days=n))
        if incident.integration == "geotab" and incident.failing > 0.2 and incident.end < UNTIL
    ]
    found = rows("select called_at, status from bi.integration_calls where integration = 'geotab'")
    hit = [
        status
        for called_at, status in found
        if any(incident.start <= called_at < incident.end for incident in incidents)
    ]
    assert len(hit) > 50
    assert sum(status == "error" for status in hit) / len(hit) > 0.2


# --- time -------------------------------------------------------------------------------------------------------------


def test_nothing_happens_after_the_end_and_the_last_day_is_under_way(rows: Rows) -> None:
    for table, columns in {
        "applications": ("submitted_at", "decided_at", "updated_at"),
        "credits": ("approved_at", "disbursed_at", "closed_at", "updated_at"),
        "installments": ("paid_at", "updated_at"),
        "payments": ("processed_at", "updated_at"),
        "hase_scores": ("calculated_at",),
        "integration_calls": ("called_at",),
    }.items():
        for column in columns:
            [(last,)] = rows(f"select max({column}) from bi.{table}")
            assert last <= UNTIL, (table, column)
    for table, column in (("integration_calls", "called_at"), ("payments", "processed_at")):
        [(last,)] = rows(f"select max({column}) from bi.{table}")
        assert last > midnight(TODAY), table


def test_money_is_sent_in_working_hours_of_mexico_city(rows: Rows) -> None:
    opening, closing = company.WORKING_HOURS
    none(
        rows,
        f"select from bi.credits where extract(hour from disbursed_at {LOCAL}) not between :opening and :closing - 1"
        f" or extract(isodow from disbursed_at {LOCAL}) = 7",
        opening=opening,
        closing=closing,
    )


def test_the_first_installment_is_due_a_week_after_the_local_day_of_disbursement(rows: Rows) -> None:
    none(
        rows,
        "select from bi.installments join bi.credits using (credit_id)"
        f" where due_date <> (disbursed_at {LOCAL})::date + 7 * sequence",
    )


# --- the series -------------------------------------------------------------------------------------------------------

# A counter, with labels, and the rows of the ledger whose moment falls into a range.
COUNTED = [
    ("applications_submitted_total", {}, "bi.applications", "submitted_at", "true"),
    *(
        ("applications_approved_total", {"sinosure_tier": tier}, "bi.applications", "decided_at",
         f"status = 'approved' and sinosure_tier = '{tier}'")
        for tier in company.TIERS
    ),
    *(
        ("applications_rejected_total", {"reason": reason}, "bi.applications", "decided_at",
         f"status = 'rejected' and rejection_reason = '{reason}'")
        for reason in company.REASONS
    ),
    ("credits_disbursed_total", {}, "bi.credits", "disbursed_at", "true"),
    *(
        ("payments_processed_total", {"status": status, "method": method}, "bi.payments", "processed_at",
         f"status = '{status}' and method = '{method}'")
        for status in ("succeeded", "failed")
        for method in company.METHODS
    ),
    ("hase_scores_calculated_total", {}, "bi.hase_scores", "calculated_at", "true"),
    ("hase_score_distribution_bucket", {"le": "70.0"}, "bi.hase_scores", "calculated_at", "score <= 70"),
    ("hase_score_distribution_bucket", {"le": "+Inf"}, "bi.hase_scores", "calculated_at", "true"),
    *(
        ("integration_api_calls_total", {"integration": spec.integration, "endpoint": spec.endpoint, "status": status},
         "bi.integration_calls", "called_at",
         f"integration = '{spec.integration}' and endpoint = '{spec.endpoint}' and status = '{status}'")
        for spec in company.ENDPOINTS
        for status in ("success", "error", "timeout")
    ),
    ("integration_api_duration_seconds_bucket", {"integration": "conekta", "endpoint": "/charges", "le": "1.0"},
     "bi.integration_calls", "called_at", "integration = 'conekta' and endpoint = '/charges' and duration_ms <= 1000"),
]  # fmt: skip


@pytest.mark.parametrize("day", [TODAY - timedelta(days=1), TODAY])
def test_counters_rise_in_a_local_day_by_the_ledgers_count(samples: Samples, rows: Rows, day: date) -> None:
    start, end = midnight(day), min(midnight(day + timedelta(days=1)), UNTIL.replace(second=0))
    for name, labels, relation, column, condition in COUNTED:
        series = samples[name, tuple(sorted(labels.items()))]
        [(count,)] = rows(
            f"select count(*) from {relation} where {column} > :start and {column} <= :end and {condition}",
            start=start,
            end=end,
        )
        assert at(series, end) - at(series, start) == count, (name, labels)


def test_counters_are_the_ledgers_at_every_hour_of_the_window(samples: Samples, rows: Rows) -> None:
    end = UNTIL.replace(second=0)
    start = end - timedelta(days=DAYS)
    devices = (("endpoint", "/devices"), ("integration", "geotab"), ("status", "success"))
    for series, relation, condition in (
        (samples["integration_api_calls_total", devices], "integration_calls", "endpoint = '/devices'"),
        (samples["payments_processed_total", (("method", "oxxo"), ("status", "succeeded"))], "payments",
         "method = 'oxxo'"),
    ):  # fmt: skip
        column = "called_at" if relation == "integration_calls" else "processed_at"
        status = "success" if relation == "integration_calls" else "succeeded"
        found = rows(
            f"select extract(epoch from {column})::float8 from bi.{relation} where {condition} and status = '{status}'"
            f" and {column} > :start and {column} <= :end",
            start=start,
            end=end,
        )
        assert len(found) > 100
        for hour in range(DAYS * 24 + 1):
            moment = start + timedelta(hours=hour)
            assert at(series, moment) == sum(epoch <= moment.timestamp() for (epoch,) in found), (relation, moment)


def test_the_disbursed_amount_rises_by_the_ledgers_sum(samples: Samples, rows: Rows) -> None:
    series = samples["credits_disbursed_amount_mxn_total", ()]
    start, end = UNTIL.replace(second=0) - timedelta(days=DAYS), UNTIL.replace(second=0)
    [(lent,)] = rows(
        "select coalesce(sum(principal), 0) from bi.credits where disbursed_at > :start and disbursed_at <= :end",
        start=start,
        end=end,
    )
    assert lent > 0
    assert at(series, start) == 0
    assert at(series, end) == pytest.approx(float(lent), abs=0.005)


def test_late_installments_change_their_level_at_local_midnight(samples: Samples, rows: Rows) -> None:
    for moment, day in (
        (midnight(TODAY) - timedelta(minutes=1), TODAY - timedelta(days=1)),
        (midnight(TODAY), TODAY),
        (UNTIL.replace(second=0), TODAY),
    ):
        for level, first, last in LEVELS:
            [(count,)] = rows(
                "select count(*) from bi.installments where (paid_at is null or paid_at > :moment)"
                " and :day - due_date between :first and :last",
                **{"moment": moment, "day": day, "first": first, "last": last},
            )
            assert at(samples["payments_late_count", (("level", level),)], moment) == count, (level, moment)


def test_active_credits_are_the_ledgers_at_every_hour(samples: Samples, rows: Rows) -> None:
    for tier in company.TIERS:
        series = samples["credits_active_count", (("sinosure_tier", tier),)]
        for hours in (0, 7, 30, 55):
            moment = UNTIL.replace(second=0) - timedelta(hours=hours)
            [(count,)] = rows(
                "select count(*) from bi.credits where sinosure_tier = :tier and disbursed_at <= :moment"
                " and (closed_at is null or closed_at > :moment)",
                tier=tier,
                moment=moment,
            )
            assert at(series, moment) == count, (tier, moment)


def test_counters_begin_at_zero_never_fall_and_no_gap_makes_a_series_stale(samples: Samples) -> None:
    last = int(UNTIL.replace(second=0).timestamp())
    for (name, labels), values in samples.items():
        seconds = sorted(values)
        assert seconds[0] == last - DAYS * 86400, (name, labels)
        assert seconds[-1] == last, (name, labels)
        assert max(b - a for a, b in pairwise(seconds)) < 300, (name, labels)
        if name.endswith(("_total", "_bucket", "_count")) and name not in (
            "credits_active_count",
            "payments_late_count",
        ):
            numbers = [values[second] for second in seconds]
            assert numbers == sorted(numbers), (name, labels)
            if not name.startswith(("http_", "db_", "redis_")):
                assert numbers[0] == 0, (name, labels)


def test_history_and_live_backend_have_the_same_names_labels_and_buckets(samples: Samples) -> None:
    labels_of: dict[str, set[str]] = {}
    bounds_of: dict[str, set[str]] = {}
    for name, labels in samples:
        labels_of.setdefault(name, set()).update(key for key, _ in labels)
        if name.endswith("_bucket"):
            bounds_of.setdefault(name, set()).add(dict(labels)["le"])
    live = [
        metric
        for metric in vars(metrics).values()
        if type(metric).__name__ in ("Counter", "Gauge", "Histogram") and hasattr(metric, "describe")
    ]
    assert len(live) >= 18
    for metric in live:
        [family] = metric.describe()
        kind, names = family.type, set(metric._labelnames)
        suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}[kind]
        own = labels_of[family.name + suffix]
        assert own == (names | {"le"} if kind == "histogram" else names), family.name
        if kind == "histogram":
            bounds = {"+Inf" if bound == float("inf") else str(float(bound)) for bound in metric._upper_bounds}
            assert bounds_of[f"{family.name}_bucket"] == bounds, family.name


def test_a_real_prometheus_answers_the_ledgers_counts(
    history: LedgerUrl, rows: Rows, tmp_path: Path, prometheus_programs: servers.PrometheusPrograms
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    backfill(history.owner, data, prometheus_programs.promtool, days=DAYS, until=UNTIL)
    # One block is what makes promtool fast: each is one more reading of the whole input.
    assert len([one for one in data.iterdir() if (one / "meta.json").exists()]) == 1
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 60s}\n")
    start, end = midnight(TODAY - timedelta(days=1)), midnight(TODAY)
    with servers.Prometheus(config, data, program=prometheus_programs.prometheus, retention="20y") as prometheus:

        def value(query: str, moment: datetime) -> float:
            answer = requests.get(
                f"{prometheus.url}/api/v1/query", {"query": query, "time": str(moment.timestamp())}, timeout=10
            ).json()
            [sample] = answer["data"]["result"]
            return float(sample["value"][1])

        for name, condition in (
            ("integration_api_calls_total", "bi.integration_calls where called_at"),
            ("payments_processed_total", "bi.payments where processed_at"),
            ("applications_submitted_total", "bi.applications where submitted_at"),
        ):
            [(count,)] = rows(f"select count(*) from {condition} > :start and {condition.split()[-1]} <= :end",
                              start=start, end=end)  # fmt: skip
            assert value(f"sum({name})", end) - value(f"sum({name})", start) == count > 0, name
        assert value('up{job="conductores-backend", instance="backend-1"}', UNTIL) == 1


# --- rights -----------------------------------------------------------------------------------------------------------


def test_the_reader_reads_and_only_reads_and_the_core_writes(history: LedgerUrl) -> None:
    reader, core = create_engine(history.reader), create_engine(history.core)
    with reader.connect() as connection:
        for table in TABLES:
            assert connection.execute(text(f"select count(*) from bi.{table}")).scalar_one() > 0
    for statement in (
        "delete from bi.payments",
        "update bi.credits set status = 'paid'",
        "create table bi.mine (n int)",
        "create table rollup.mine (n int)",
    ):
        with reader.begin() as connection, pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(statement))
    with core.connect() as connection:
        assert connection.execute(text("update bi.credits set status = status where credit_id = 'C0000001'")).rowcount
        connection.rollback()
    reader.dispose()
    core.dispose()


def test_a_table_made_later_is_readable_too(history: LedgerUrl, engine: Engine) -> None:
    with engine.begin() as owner:
        owner.execute(text("create table rollup.later as select 1 as n"))
    reader = create_engine(history.reader)
    with reader.connect() as connection:
        assert connection.execute(text("select n from rollup.later")).scalar_one() == 1
    reader.dispose()
    with engine.begin() as owner:
        owner.execute(text("drop table rollup.later"))
