"""The daily tables equal their definitions over the rows, whatever happened between two refreshes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import queries
from app import cli
from app import rollups as keeping
from components.frame import age_line
from queries import rollup_refresh
from queries.ledger_client import LedgerClient
from queries.library import Query
from queries.rollup_refresh import RefreshRunning, Report, differences, refresh
from queries.rollups import definitions, from_rows, named_in, read_by
from tests.conftest import ROOT, LedgerUrl

TIMEZONE = "America/Mexico_City"
ZONE = ZoneInfo(TIMEZONE)
NO_OVERLAP = timedelta(0)

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def no_pause_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads while tables are built anew, but for those that say so."""
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", -1.0)


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


def writer_of(ledger: LedgerUrl) -> str:
    return ledger.owner.replace("//postgres@", "//mirador_rollup@")


@pytest.fixture
def owner(ledger_url: LedgerUrl) -> Iterator[Connection]:
    """The owner of an empty ledger of this test's own."""
    with psycopg.connect(plain(ledger_url.owner), autocommit=True) as connection:
        yield connection


def up_to_date(ledger: LedgerUrl, *, timezone: str = TIMEZONE, **options: Any) -> Report:
    """Refresh, and see that every table equals its definition."""
    report = refresh(writer_of(ledger), timezone, overlap=NO_OVERLAP, **options)
    assert differences(writer_of(ledger), timezone) == []
    return report


# --- a ledger that things happen to -----------------------------------------------------------------------------------

EDGES = (
    # The last change of clocks: an hour comes twice; midnights; a leap day; the last month's end; days to come.
    datetime(2022, 10, 30, 6, 30, tzinfo=UTC),
    datetime(2022, 10, 30, 7, 30, tzinfo=UTC),
    datetime(2022, 10, 31, 6, 0, tzinfo=UTC),
    datetime(2024, 3, 1, 5, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 29, 6, 0, tzinfo=UTC),
    datetime.now(UTC).replace(day=1, hour=6, minute=0, second=0, microsecond=0),
    datetime.now(UTC).replace(day=1, hour=5, minute=59, second=0, microsecond=0),
    datetime.now(UTC) - timedelta(days=180),
    datetime.now(UTC) - timedelta(days=40),
    datetime.now(UTC) - timedelta(days=2),
    datetime.now(UTC),
    datetime.now(UTC) + timedelta(days=50),
)
TIERS = ("AAA", "B", None)


class Company:
    """A small ledger: each kind of event changes rows as a core database would, `updated_at` with them."""

    def __init__(self, connection: Connection) -> None:
        self.db = connection
        self.next = 0

    def number(self) -> int:
        self.next += 1
        return self.next

    def insert(self, relation: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join("%s" for _ in values)
        self.db.execute(f"insert into bi.{relation} ({names}) values ({marks})", list(values.values()))

    def some(self, relation: str, key: str, chance: random.Random) -> Any:
        row = self.db.execute(f"select {key} from bi.{relation} order by {key}").fetchall()
        return chance.choice(row)[0] if row else None

    def change(self, relation: str, key: str, chance: random.Random, **changes: Any) -> None:
        one = self.some(relation, key, chance)
        if one is not None:
            column, value = chance.choice(list(changes.items()))
            self.db.execute(
                f"update bi.{relation} set {column} = %s, updated_at = clock_timestamp() where {key} = %s", (value, one)
            )

    def delete(self, relation: str, key: str, chance: random.Random) -> None:
        one = self.some(relation, key, chance)
        if one is not None:
            self.db.execute(f"delete from bi.{relation} where {key} = %s", (one,))

    # --- events ---

    def apply(self, chance: random.Random) -> None:
        number = self.number()
        at = chance.choice(EDGES)
        decided = chance.choice((None, at + timedelta(hours=5)))
        self.insert(
            "applications",
            application_id=f"a{number:03}",
            conductor_id="d",
            submitted_at=at,
            amount_requested=chance.choice((Decimal("1000.10"), Decimal("0.01"))),
            hase_score=chance.choice((None, 0, 59, 100)),
            sinosure_tier=chance.choice(TIERS),
            status="pending" if decided is None else chance.choice(("approved", "rejected")),
            decided_at=decided,
            rejection_reason=chance.choice((None, "low score")),
            updated_at=datetime.now(UTC),
        )

    def score(self, chance: random.Random) -> None:
        # Scores are written when they are calculated, and stay.
        self.insert(
            "hase_scores",
            score_id=self.number(),
            application_id=self.some("applications", "application_id", chance) or "a999",
            conductor_id="d",
            score=chance.choice((0, 61, 100)),
            model_version=chance.choice(("v1", "v2")),
            calculated_at=datetime.now(UTC) + chance.choice((timedelta(0), timedelta(days=400))),
        )

    def grant(self, chance: random.Random) -> None:
        number = self.number()
        approved = chance.choice(EDGES)
        disbursed = chance.choice((None, approved, approved + timedelta(hours=49)))
        self.insert(
            "credits",
            credit_id=f"c{number:03}",
            application_id=self.some("applications", "application_id", chance) or "a999",
            conductor_id="d",
            sinosure_tier=chance.choice(("AAA", "B")),
            principal=Decimal("3000.00"),
            approved_at=approved,
            disbursed_at=disbursed,
            disbursement_status="settled",
            status="active",
            # Also before the disbursement, which should not be.
            closed_at=chance.choice((None, None, approved, *EDGES)),
            updated_at=datetime.now(UTC),
        )
        for sequence in range(1, chance.randint(1, 4) + 1):
            self.schedule(chance, f"c{number:03}", sequence, approved.date() + timedelta(days=14 * sequence))

    def schedule(
        self, chance: random.Random, credit: str | None = None, sequence: int = 1, due: date | None = None
    ) -> None:
        due = due or chance.choice(EDGES).date()
        paid = chance.choice((None, None, -3, 0, 1, 8, 31, 32, 95))
        self.insert(
            "installments",
            installment_id=self.number(),
            credit_id=credit or self.some("credits", "credit_id", chance) or "c999",
            sequence=sequence,
            due_date=due,
            amount_due=Decimal(chance.choice(("100.01", "0.00", "250.00"))),
            amount_paid=Decimal("0.00"),
            paid_at=None if paid is None else datetime(due.year, due.month, due.day, 12, tzinfo=UTC) + timedelta(paid),
            updated_at=datetime.now(UTC),
        )

    def attempt(self, chance: random.Random) -> None:
        status = chance.choice(("succeeded", "failed", "pending", "refunded"))
        self.insert(
            "payments",
            payment_id=self.number(),
            credit_id="c001",
            processed_at=chance.choice(EDGES),
            amount=Decimal("10.01"),
            status=status,
            method=chance.choice(("card", "spei")),
            failure_code="declined" if status == "failed" else None,
            updated_at=datetime.now(UTC),
        )

    def call(self, chance: random.Random) -> None:
        self.insert(
            "integration_calls",
            call_id=self.number(),
            called_at=datetime.now(UTC) + timedelta(hours=chance.choice((0, 30))),
            integration="neon",
            endpoint="/v1",
            status=chance.choice(("success", "timeout")),
            duration_ms=chance.choice((0, 1, 255, 256, 60_000)),
            request_id="r",
        )

    def pay(self, chance: random.Random) -> None:
        self.change("installments", "installment_id", chance, paid_at=chance.choice((*EDGES, None)))

    def pay_a_part(self, chance: random.Random) -> None:
        self.change("installments", "installment_id", chance, amount_paid=Decimal("3.30"), amount_due=Decimal("99.99"))

    def reschedule(self, chance: random.Random) -> None:
        moves = {"due_date": chance.choice(EDGES).date(), "sequence": chance.choice((1, 2))}
        self.change("installments", "installment_id", chance, **moves)

    def hand_over(self, chance: random.Random) -> None:
        credit = self.some("credits", "credit_id", chance)
        self.change("installments", "installment_id", chance, credit_id=credit or "c999")

    def change_application(self, chance: random.Random) -> None:
        self.change(
            "applications",
            "application_id",
            chance,
            sinosure_tier=chance.choice(TIERS),
            status="withdrawn",
            decided_at=chance.choice((*EDGES, None)),
            submitted_at=chance.choice(EDGES),
            hase_score=chance.choice((None, 90)),
            rejection_reason="changed",
        )

    def change_credit(self, chance: random.Random) -> None:
        self.change(
            "credits",
            "credit_id",
            chance,
            sinosure_tier=chance.choice(("AAA", "C")),
            principal=Decimal("7.77"),
            approved_at=chance.choice(EDGES),
            disbursed_at=chance.choice((*EDGES, None)),
            closed_at=chance.choice((*EDGES, None)),
            status="charged_off",
            application_id=self.some("applications", "application_id", chance) or "a999",
        )

    def change_payment(self, chance: random.Random) -> None:
        changes = {"status": "refunded", "processed_at": chance.choice(EDGES), "amount": Decimal("1.00")}
        self.change("payments", "payment_id", chance, **changes)

    def remove(self, chance: random.Random) -> None:
        relations = {"applications": "application_id", "credits": "credit_id", "payments": "payment_id"}
        relations |= {"installments": "installment_id"}
        self.delete(*chance.choice(list(relations.items())), chance)

    def forget(self, chance: random.Random) -> None:
        self.delete(*chance.choice([("hase_scores", "score_id"), ("integration_calls", "call_id")]), chance)


EVENTS = [
    *("apply", "score", "grant", "grant", "schedule", "attempt", "call", "pay", "pay", "pay_a_part", "reschedule"),
    *("hand_over", "change_application", "change_credit", "change_payment", "remove", "forget"),
]


@pytest.fixture(scope="module")
def company(module_ledger_url: LedgerUrl) -> Iterator[tuple[LedgerUrl, Connection]]:
    """A ledger that is emptied for each example."""
    with psycopg.connect(plain(module_ledger_url.owner), autocommit=True) as connection:
        yield module_ledger_url, connection


def emptied(connection: Connection) -> Company:
    names = "applications credits installments payments hase_scores integration_calls"
    connection.execute(f"truncate {', '.join(f'bi.{name}' for name in names.split())}")
    if connection.execute("select to_regclass('rollup.state') is not null").fetchone() == (True,):
        connection.execute("truncate rollup.state")
    return Company(connection)


event = st.tuples(st.sampled_from(EVENTS), st.integers(0, 2**20))
steps = st.lists(st.one_of(event, event, event, st.sampled_from(["refresh", "recount"])), min_size=5, max_size=25)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(begin=st.integers(0, 2**20), happens=steps)
@example(begin=0, happens=["refresh", ("pay", 1)])
@example(begin=392458, happens=[("change_credit", 448), ("forget", 4657), "refresh", ("remove", 3691), "recount"])
@example(begin=1, happens=[("remove", 3), ("pay", 1), "refresh", ("change_credit", 7), ("hand_over", 2), "recount"])
def test_every_table_equals_its_definition_after_any_interleaving(
    company: tuple[LedgerUrl, Connection], monkeypatch: pytest.MonkeyPatch, begin: int, happens: list[Any]
):
    ledger, connection = company
    company_ = emptied(connection)
    chance = random.Random(begin)
    # Steps of a few credits: two connections work them off, one beside the other.
    monkeypatch.setattr(rollup_refresh, "CREDITS_A_STEP", 1 + begin % 3)
    for name in ["apply"] * 4 + ["grant"] * 4 + ["score", "attempt", "call"] * 2:
        getattr(company_, name)(chance)
    up_to_date(ledger)
    for step in [*happens, "recount"]:
        if step == "refresh":
            # Finds what was written, not what was deleted or moved.
            refresh(writer_of(ledger), TIMEZONE, recount=False, overlap=NO_OVERLAP)
        elif step == "recount":
            up_to_date(ledger)
        else:
            getattr(company_, step[0])(random.Random(step[1]))


# --- the definitions by hand ------------------------------------------------------------------------------------------


def dpd_bucket(days: int) -> int:
    return sum(days >= edge for edge in (1, 8, 16, 31, 61, 91))


def portfolio(connection: Connection) -> tuple[list[Any], dict[Any, list[Any]]]:
    """Credits with their local days, and the installments of each."""
    credits = connection.execute("select * from bi.credits").fetchall()
    by_credit = defaultdict(list)
    for credit, due, amount, paid in connection.execute(
        "select credit_id, due_date, amount_due, paid_at from bi.installments"
    ):
        by_credit[credit].append((due, amount, paid.astimezone(ZONE).date() if paid else date.max))
    return credits, by_credit


def month_end(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**20))
def test_the_portfolio_by_day_is_that_of_a_walk_through_the_days(company: tuple[LedgerUrl, Connection], seed: int):
    ledger, connection = company
    company_ = emptied(connection)
    chance = random.Random(seed)
    for name in ["apply"] * 3 + ["grant"] * 6 + ["schedule"] * 4 + ["pay"] * 4 + ["score"] * 3:
        getattr(company_, name)(chance)
    refresh(writer_of(ledger), TIMEZONE)
    credits, installments = portfolio(connection)
    today = datetime.now(ZONE).date()

    def state(credit: Any, day: date) -> tuple[int, Decimal] | None:
        """Bucket and balance of a disbursed credit at the end of a day; None: not in the portfolio."""
        start = credit[6].astimezone(ZONE).date()
        unpaid = [(due, amount) for due, amount, paid in installments[credit[0]] if paid > day]
        if day < start or not unpaid:
            return None
        return dpd_bucket((day - min(due for due, _ in unpaid)).days), sum((a for _, a in unpaid), Decimal(0))

    disbursed = [credit for credit in credits if credit[6] is not None]
    changes = connection.execute("select day, tier, bucket, credits, amount from rollup.exposure").fetchall()
    edges = {change[0] for change in changes}
    for day in sorted({edge + timedelta(days=shift) for edge in edges for shift in (-1, 0, 1)} | {today}):
        expected: dict[Any, Any] = defaultdict(lambda: [0, Decimal(0)])
        for credit in disbursed:
            found = state(credit, day)
            if found is not None:
                expected[credit[3], found[0]][0] += 1
                expected[credit[3], found[0]][1] += found[1]
        got: dict[Any, Any] = defaultdict(lambda: [0, Decimal(0)])
        for at, tier, bucket, number, amount in changes:
            if at <= day:
                got[tier, bucket][0] += number
                got[tier, bucket][1] += amount
        assert {k: v for k, v in got.items() if v != [0, 0]} == {k: v for k, v in expected.items() if v != [0, 0]}, day

    tiers = {credit[0]: credit[3] for credit in credits}
    changes = connection.execute("select day, tier, bucket, n, amount from rollup.late_changes").fetchall()
    edges = {change[0] for change in changes}
    for day in sorted({edge + timedelta(days=shift) for edge in edges for shift in (-1, 0, 1)} | {today}):
        late: dict[Any, Any] = defaultdict(lambda: [0, Decimal(0)])
        for key, scheduled in installments.items():
            for due, amount, paid in scheduled:
                if due < day < paid:
                    cell = late[tiers.get(key, ""), dpd_bucket((day - due).days)]
                    cell[0] += 1
                    cell[1] += amount
        summed: dict[Any, Any] = defaultdict(lambda: [0, Decimal(0)])
        for at, tier, bucket, number, amount in changes:
            if at <= day:
                summed[tier, bucket][0] += number
                summed[tier, bucket][1] += amount
        assert {k: v for k, v in summed.items() if v != [0, 0]} == dict(late), day

    vintages: dict[Any, Any] = {}
    rolls: dict[Any, int] = defaultdict(int)
    for credit in disbursed:
        start = credit[6].astimezone(ZONE).date()
        month, on_book, before = start.replace(day=1), 0, -1
        while (end := month_end(month)) < today:
            cell = vintages.setdefault((start.replace(day=1), on_book, credit[3]), [0, 0, Decimal(0), Decimal(0)])
            now = state(credit, end)
            late = now is not None and now[0] >= 4
            for at, value in enumerate((1, int(late), credit[4], credit[4] if late else 0)):
                cell[at] += value
            ever = any(paid > start for _, _, paid in installments[credit[0]])
            if ever and before != 7:
                after = 7 if now is None else now[0]
                rolls[month, credit[3], before, after] += 1
                before = after
            month, on_book = end + timedelta(days=1), on_book + 1
    kept = connection.execute("select * from rollup.vintages").fetchall()
    assert {(v, m, t): [n, late, amount, bad] for v, m, t, n, late, amount, bad in kept} == vintages
    assert {tuple(row[:4]): row[4] for row in connection.execute("select * from rollup.rolls")} == dict(rolls)

    outcomes: dict[Any, int] = defaultdict(int)
    scores = dict(connection.execute("select application_id, hase_score from bi.applications").fetchall())
    for credit in credits:
        bad = any(
            due + timedelta(days=31) <= today and paid > due + timedelta(days=31)
            for due, _, paid in installments[credit[0]]
        )
        old = credit[6] is not None and (today - credit[6].astimezone(ZONE).date()).days >= 180
        became = "none" if credit[6] is None else "bad" if bad else "good" if old else "young"
        score = scores.get(credit[1])
        band = -1 if score is None else min(score // 10 * 10, 90)
        month = credit[5].astimezone(ZONE).date().replace(day=1)
        outcomes[month, credit[3], band, -1 if score is None else score, became] += 1
    kept = connection.execute(
        "select month, tier, band, score, state, sum(n)::bigint from rollup.outcomes group by 1, 2, 3, 4, 5"
    ).fetchall()
    assert {tuple(row[:5]): row[5] for row in kept} == dict(outcomes)


# --- refreshing -------------------------------------------------------------------------------------------------------


def filled(connection: Connection) -> Company:
    """A few of everything."""
    company_ = Company(connection)
    chance = random.Random(5)
    for name in ["apply"] * 6 + ["grant"] * 6 + ["score", "attempt", "call"] * 3:
        getattr(company_, name)(chance)
    return company_


def test_a_refresh_without_changes_works_nothing_out(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    # Days to come are looked at each time: scores and calls carry no time of their writing.
    owner.execute("delete from bi.hase_scores where calculated_at > now()")
    owner.execute("delete from bi.integration_calls where called_at > now()")
    assert len(up_to_date(ledger_url).built) == len(definitions())
    again = up_to_date(ledger_url)
    assert (again.built, again.days, again.credits, again.repaired) == ([], 0, 0, [])


def test_a_build_that_was_killed_goes_on_where_it_was(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    program = """
import os, signal, sys
import psycopg
from queries import rollup_refresh
rollup_refresh.CREDITS_A_STEP = rollup_refresh.DAYS_A_STEP = 2
watcher = psycopg.connect(sys.argv[1].replace("+psycopg", ""), autocommit=True)
def tell(done, total, words):
    # Days and credits are worked out side by side: killed when some credits are kept, wherever the days are.
    if watcher.execute("select count(*) from rollup.book").fetchone()[0]:
        os.kill(os.getpid(), signal.SIGKILL)
rollup_refresh.refresh(sys.argv[1], "America/Mexico_City", progress=tell)
"""
    argv = [sys.executable, "-c", program, writer_of(ledger_url)]
    assert subprocess.run(argv, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    kept = owner.execute("select count(*) from rollup.book").fetchone()
    assert kept is not None
    assert kept[0] > 0
    assert reader_of(ledger_url).rollup_states().sentence == "The daily tables are being built."
    done = up_to_date(ledger_url, wait=10)
    assert done.built == []
    assert done.credits < owner.execute("select count(*) from bi.credits").fetchone()[0]  # type: ignore[index]


def test_of_two_refreshes_one_works_and_the_other_says_so_or_waits(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    with psycopg.connect(plain(writer_of(ledger_url)), autocommit=True) as other:
        other.execute(rollup_refresh._LOCK)
        began = time.monotonic()
        with pytest.raises(RefreshRunning, match="Another refresh of the rollups is running"):
            refresh(writer_of(ledger_url), TIMEZONE, wait=0.3)
        assert time.monotonic() - began < 5
    failed: list[BaseException] = []

    def run() -> None:
        try:
            refresh(writer_of(ledger_url), TIMEZONE, wait=60, overlap=NO_OVERLAP)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not failed
    up_to_date(ledger_url)


def test_a_table_of_another_definition_or_zone_is_not_read_and_is_built_anew(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    up_to_date(ledger_url)
    owner.execute("update rollup.state set definition = 'old' where name = 'payments'")
    owner.execute("update rollup.payments set n = 77")
    client = reader_of(ledger_url)
    last = "select max(day)::text from rollup.decisions"
    before = asked(client, last)
    assert "payments" not in client.rollup_states().tables
    assert asked(client, "select sum(n)::bigint from rollup.payments") == 3
    assert up_to_date(ledger_url).built == ["payments"]
    assert len(up_to_date(ledger_url, timezone="America/Tijuana").built) == len(definitions())
    states = reader_of(ledger_url).rollup_states()
    assert (states.mode, states.sentence) == (
        "rows",
        "The daily tables are of another time zone: run python -m app rollup.",
    )
    assert asked(reader_of(ledger_url), last) == before
    assert reader_of(ledger_url, "America/Tijuana").rollup_states().mode == "rollups"


def test_a_part_of_the_family_by_credit_is_built_anew_with_all_of_it(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    up_to_date(ledger_url)
    owner.execute("update rollup.state set definition = 'old' where name = 'rolls'")
    assert set(up_to_date(ledger_url).built) == set(rollup_refresh.BY_CREDIT)


def test_when_time_passes_months_end_and_credits_grow_old(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    up_to_date(ledger_url)
    for name in ("vintages", "rolls", "outcomes", "overdue"):
        owner.execute(f"delete from rollup.{name}")
    owner.execute("update rollup.state set as_of = as_of - interval '40 days'")
    up_to_date(ledger_url)


def test_a_late_commit_is_found_by_the_overlap(ledger_url: LedgerUrl, owner: Connection):
    company_ = filled(owner)
    up_to_date(ledger_url)
    company_.attempt(random.Random(1))
    # Its transaction began before the refresh and ended after it.
    owner.execute("update bi.payments set updated_at = now() - interval '10 minutes', method = 'late'")
    refresh(writer_of(ledger_url), TIMEZONE, recount=False)
    assert differences(writer_of(ledger_url), TIMEZONE) == []


def test_a_score_that_is_written_late_is_found_by_counting(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    up_to_date(ledger_url)
    owner.execute(
        "insert into bi.hase_scores select 9999, application_id, 'd', 12, 'v0', now() - interval '900 days'"
        " from bi.credits limit 1"
    )
    assert set(up_to_date(ledger_url).repaired) >= {"scores", "credits"}


def test_midnight_that_comes_twice_belongs_to_its_day(ledger_url: LedgerUrl, owner: Connection):
    for number, minute in enumerate(("03:59", "04:30", "05:30", "06:00")):
        owner.execute(
            "insert into bi.payments values (%s, 'c', null, %s, 1, 'succeeded', 'card', null, null, now())",
            (number, f"2025-11-02 {minute}Z"),
        )
    up_to_date(ledger_url, timezone="America/Havana")
    assert owner.execute("select day, n from rollup.payments order by day").fetchall() == [
        (date(2025, 11, 1), 1),
        (date(2025, 11, 2), 3),
    ]


def test_ids_may_be_numbers(ledger_url: LedgerUrl, owner: Connection):
    for relation, column in (("credits", "credit_id"), ("installments", "credit_id"), ("payments", "credit_id")):
        owner.execute(f"alter table bi.{relation} alter column {column} type bigint using 0")
    owner.execute("insert into bi.credits values (7, 'a', 'd', 'AA', 1, now(), now(), 'sent', 'active', null, now())")
    owner.execute("insert into bi.installments values (1, 7, 1, current_date - 9, 5, 0, null, now())")
    up_to_date(ledger_url)
    owner.execute("update bi.installments set paid_at = now(), updated_at = now()")
    assert up_to_date(ledger_url).credits == 1


def test_a_difference_is_listed(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    up_to_date(ledger_url)
    owner.execute("update rollup.calls set n = n + 1 where hour = (select min(hour) from rollup.calls)")
    [found] = differences(writer_of(ledger_url), TIMEZONE)
    assert found.name == "calls"
    assert found.missing == found.surplus > 0
    assert up_to_date(ledger_url).repaired == ["calls"]


def test_a_ledger_in_use_can_be_compared(ledger_url: LedgerUrl, owner: Connection):
    company_ = filled(owner)
    up_to_date(ledger_url)
    for event in (company_.grant, company_.attempt, company_.call):
        event(random.Random(2))
    assert differences(writer_of(ledger_url), TIMEZONE) != []
    assert differences(writer_of(ledger_url), TIMEZONE, catch_up=True) == []
    assert differences(writer_of(ledger_url), TIMEZONE) == []


def test_the_command_builds_and_compares(
    ledger_url: LedgerUrl, owner: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    filled(owner)
    monkeypatch.setenv("MIRADOR_LEDGER_URL", ledger_url.reader)
    assert cli.main(["rollup"]) == 1
    assert capsys.readouterr().err == "The role of MIRADOR_ROLLUP_URL may not write the schema rollup.\n"
    monkeypatch.setenv("MIRADOR_ROLLUP_URL", writer_of(ledger_url))
    assert cli.main(["rollup", "--check"]) == 0
    told = capsys.readouterr().err
    assert f"The daily tables are up to date: {len(definitions())} built, " in told
    assert told.endswith("Every table equals its definition over the rows.\n")
    owner.execute("delete from rollup.exposure where day = (select min(day) from rollup.exposure)")
    assert cli.main(["rollup", "--check"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("exposure: ")
    assert told.err.endswith("python -m app rollup --full builds them anew.\n")
    assert cli.main(["rollup", "--full", "--check"]) == 0


def test_the_dashboard_keeps_them_and_tells_why_it_cannot(
    ledger_url: LedgerUrl, owner: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    filled(owner)
    barred = keeping.Keeper(ledger_url.reader, TIMEZONE, 60)
    monkeypatch.setattr(keeping, "_keeper", barred)
    assert [barred.once(), barred.once()] == ["refused", "refused"]
    assert [record.getMessage() for record in caplog.records if record.name == "mirador"] == [
        "daily tables: The role of MIRADOR_ROLLUP_URL may not write the schema rollup."
    ]
    client = reader_of(ledger_url)
    assert keeping.why_rows(client.rollup_states()) == "The role of MIRADOR_ROLLUP_URL may not write the schema rollup."
    keeper = keeping.Keeper(writer_of(ledger_url), TIMEZONE, 60)
    monkeypatch.setattr(keeping, "_keeper", keeper)
    assert keeper.once() == "ok"
    assert keeping.why_rows(reader_of(ledger_url).rollup_states()) is None
    with psycopg.connect(plain(writer_of(ledger_url)), autocommit=True) as other:
        other.execute(rollup_refresh._LOCK)
        assert keeper.once() == "running"
    assert keeping.Keeper("postgresql://nobody@127.0.0.1:1/none", TIMEZONE, 60).once() == "down"


# --- reading ----------------------------------------------------------------------------------------------------------


def reader_of(ledger: LedgerUrl, timezone: str = TIMEZONE) -> LedgerClient:
    return LedgerClient(ledger.reader, zone=ZoneInfo(timezone), connections=2, query_timeout=10, connect_timeout=3)


def asked(client: LedgerClient, statement: str) -> Any:
    frame, _, _ = client.run(Query("q", "ledger", "t", "d", statement), {})
    return frame.iloc[0, 0]


def test_without_the_right_to_write_pages_count_from_rows_and_say_so(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    with pytest.raises(queries.SourceError, match="may not write the schema rollup") as refused:
        refresh(ledger_url.reader, TIMEZONE)
    assert refused.value.kind == "refused"
    client = reader_of(ledger_url)
    states = client.rollup_states()
    assert (states.mode, states.sentence) == ("rows", "The daily tables are not built: run python -m app rollup.")
    statements = {
        name: f"select * from rollup.{name} order by {', '.join(str(at + 1) for at in range(len(one.columns)))}"
        for name, one in definitions().items()
    }
    queries_ = {
        name: Query(name, "ledger", "t", "d", text, (), definitions()[name].columns)
        for name, text in statements.items()
    }
    from_the_rows = {name: client.run(query, {}) for name, query in queries_.items()}
    refresh(writer_of(ledger_url), TIMEZONE)
    client = reader_of(ledger_url)
    assert client.rollup_states().mode == "rollups"
    for name, query in queries_.items():
        slow, told, _ = from_the_rows[name]
        quick, text, _ = client.run(query, {})
        assert len(quick) > 0, name
        assert quick.equals(slow), name
        # The panel's menu shows what was really read.
        assert f"rollup.{name}" in text
        assert f"rollup.{name}" not in told
        assert "rollups" in quick.attrs
        assert "rollups" not in slow.attrs


def test_a_table_that_goes_away_is_read_from_the_rows(ledger_url: LedgerUrl, owner: Connection):
    filled(owner)
    refresh(writer_of(ledger_url), TIMEZONE)
    client = reader_of(ledger_url)
    assert client.rollup_states().mode == "rollups"
    owner.execute("drop table rollup.payments")
    assert asked(client, "select sum(n)::bigint from rollup.payments") == 3


def test_readers_have_time_to_leave_a_table_that_is_built_anew(
    ledger_url: LedgerUrl, owner: Connection, monkeypatch: pytest.MonkeyPatch
):
    filled(owner)
    refresh(writer_of(ledger_url), TIMEZONE)
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", 0.5)
    seen: list[tuple[bool, int]] = []

    def look() -> None:
        state, count = "select bool_and(ready) from rollup.state", "select count(*) from rollup.payments"
        with psycopg.connect(plain(ledger_url.owner), autocommit=True) as connection:
            while not done.is_set():
                rows = connection.execute(count).fetchone()[0]  # type: ignore[index]
                seen.append((connection.execute(state).fetchone()[0], rows))  # type: ignore[index]

    done = threading.Event()
    reader = threading.Thread(target=look)
    reader.start()
    refresh(writer_of(ledger_url), TIMEZONE, full=True)
    done.set()
    reader.join()
    # Not ready for a while before it is empty, and never ready while it is.
    assert (False, 3) in seen or (None, 3) in seen
    assert all(rows == 3 for ready, rows in seen if ready)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select 1 from rollup.scores s", "select 1 from rollup_scores s"),
        ("select 1 from rollup.scores as s", "select 1 from rollup_scores as s"),
        ("select 1 from rollup.scores\nwhere n > 1", "select 1 from rollup_scores as scores\nwhere n > 1"),
        ("select 1 from (select 1 from rollup.scores) x", "select 1 from (select 1 from rollup_scores as scores) x"),
        (
            "select 1 from rollup.scores join rollup.calls using (n)",
            "select 1 from rollup_scores as scores join rollup_calls as calls using (n)",
        ),
        ("-- rollup.scores\nselect 'rollup.scores'", "-- rollup.scores\nselect 'rollup.scores'"),
    ],
)
def test_a_definition_takes_the_place_of_its_table(statement: str, expected: str):
    names = named_in(statement)
    written = from_rows(statement, names)
    assert written.endswith(expected)
    assert written.count(" as (\n") == len(names)


def test_a_statement_with_common_tables_gets_one_more():
    written = from_rows("-- why\nwith a as (select n from rollup.calls) select * from a", ("calls",))
    assert written.startswith("-- why\nwith rollup_calls as (\n")
    assert written.endswith("),\na as (select n from rollup_calls as calls) select * from a")


def test_what_is_made_of_another_table_reads_it_or_its_definition():
    assert named_in("select 1 from rollup.call_hours") == ("call_quarters", "call_hours")
    # Its own table is there: nothing is worked out, whatever it is made of.
    assert from_rows("select 1 from rollup.call_hours", ["call_quarters"]) == "select 1 from rollup.call_hours"
    from_the_other = from_rows("select 1 from rollup.call_hours", ["call_hours"])
    assert "from rollup.call_quarters q" in from_the_other
    from_all = from_rows("select 1 from rollup.call_hours", ["call_hours", "call_quarters"])
    assert "rollup." not in from_all
    assert from_all.index("rollup_call_quarters as (") < from_all.index("rollup_call_hours as (")


def test_without_tables_everything_is_younger_than_them():
    statement = "select (select min(refreshed_at) from rollup.state), n from rollup.calls"
    assert from_rows(statement, []) == statement
    assert "'-infinity' as refreshed_at" in from_rows(statement, ["calls"])
    both = f"{statement}, rollup.scores"
    assert "rollup.state" in from_rows(both, ["calls"])
    # What is worked out from a table is as old as the table.
    made_of = "select (select min(refreshed_at) from rollup.state), hour from rollup.call_hours"
    assert "rollup.state" in from_rows(made_of, ["call_hours"])
    assert "'-infinity' as refreshed_at" in from_rows(made_of, ["call_hours", "call_quarters"])


def test_every_definition_is_kept_by_day_or_by_credit():
    kept = {*rollup_refresh._DAILY, *rollup_refresh.BY_CREDIT}
    derived = {name for name in definitions() if read_by(name)}
    assert set(definitions()) == kept | derived
    # What is made of others comes from one in the end, which is kept by day or by credit itself.
    for name in derived:
        base, *between = read_by(name)
        assert base in kept - derived, name
        assert set(between) <= derived, name
        assert "bi." not in definitions()[name].text
        assert (base in rollup_refresh.BY_CREDIT) == (name in rollup_refresh.BY_CREDIT)
        # Of those kept by day the same days are worked out: straight from the one that is kept.
        assert not between or name in rollup_refresh.BY_CREDIT


def test_definitions_say_what_their_columns_are(ledger_url: LedgerUrl):
    client = reader_of(ledger_url)
    for name, definition in definitions().items():
        frame, _, _ = client.run(definition, {})
        assert list(frame.columns) == [column.name for column in definition.columns], name
        assert definition.title, name
        assert definition.description, name
        assert not definition.params, name


def test_a_picture_from_daily_tables_is_as_old_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("components.frame._", str)
    now = datetime.now(ZONE)
    stamp = {"as_of": now, "error": None, "stale": False, "warnings": ()}
    at = now - timedelta(minutes=3)
    assert age_line(SimpleNamespace(**stamp, rollups=at)) == (f"{at:%H:%M}, 3 min ago", False)
    assert age_line(SimpleNamespace(**stamp, rollups=None))[0].startswith(f"{now:%H:%M}, 0 s")
    at = now - timedelta(minutes=30)
    words, loud = age_line(SimpleNamespace(**stamp, rollups=at))
    assert loud
    assert words == f":material/history: {at:%H:%M}, 30 min ago: the daily tables are not refreshed"
