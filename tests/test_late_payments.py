"""The Late payments page: its numbers against the same ones worked out from raw rows, and the page as it is drawn."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Locator
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from queries import Sources, late_payments, sources
from queries.rollup_refresh import refresh
from tests.dashboard import chromium, chromium_path, serve, viewer

PAGE = Path(__file__).resolve().parent.parent / "pages" / "late_payments.py"

ZONE = ZoneInfo("America/Mexico_City")
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TODAY = datetime.now(ZONE).date()
NAMES = ("1-7", "8-15", "16-30", "31-60", "61-90", "90+")
COLUMNS = {
    "credits": (
        "credit_id application_id conductor_id sinosure_tier principal approved_at disbursed_at disbursement_status"
        " status closed_at updated_at"
    ),
    "installments": "installment_id credit_id sequence due_date amount_due amount_paid paid_at updated_at",
    "payments": (
        "payment_id credit_id installment_id processed_at amount status method failure_code"
        " integration_call_id updated_at"
    ),
}
USUAL: dict[str, Any] = {
    "application_id": "a",
    "conductor_id": "d",
    "sinosure_tier": "A",
    "principal": Decimal("1000.00"),
    "approved_at": LONG_AGO,
    "disbursed_at": LONG_AGO,
    "disbursement_status": "settled",
    "closed_at": None,
    "status": "active",
    "credit_id": "k0",
    "sequence": 1,
    "amount_due": Decimal("100.00"),
    "amount_paid": Decimal("0.00"),
    "paid_at": None,
    "installment_id": None,
    "amount": Decimal("100.00"),
    "method": "card",
    "failure_code": None,
    "integration_call_id": None,
    "updated_at": LONG_AGO,
}


def row(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**USUAL, **values})


def at(day: date, hours: float = 12) -> datetime:
    """A moment of a local day."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(hours=hours)


def local_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.astimezone(ZONE).date()


def month_of(day: date) -> date:
    return day.replace(day=1)


def month_later(month: date, months: int = 1) -> date:
    count = month.year * 12 + month.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


# The reference: each number from the raw rows, in plain arithmetic. --------------------------------------------------


@dataclass
class Scene:
    """What is asked, and the rows there are."""

    first: date
    last: date
    as_of: date
    tiers: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    grain: str = "month"
    rows: dict[str, list[SimpleNamespace]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {"credits": [], "installments": [], "payments": [], **self.rows}

    @property
    def days(self) -> list[date]:
        return [self.first + n * DAY for n in range((self.last - self.first).days + 1)]

    def credit(self, credit_id: str) -> SimpleNamespace | None:
        return next((one for one in self.rows["credits"] if one.credit_id == credit_id), None)

    def tier(self, credit_id: str) -> str:
        credit = self.credit(credit_id)
        return "" if credit is None or credit.sinosure_tier is None else credit.sinosure_tier

    def wanted(self, credit_id: str) -> bool:
        return not self.tiers or self.tier(credit_id) in self.tiers

    @property
    def installments(self) -> list[SimpleNamespace]:
        return [one for one in self.rows["installments"] if self.wanted(one.credit_id)]

    def params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("first", "last", "as_of", "tiers", "late", "methods", "grain")}


def unpaid(one: SimpleNamespace, day: date) -> bool:
    """Not fully paid by the end of the day."""
    paid = local_day(one.paid_at)
    return paid is None or paid > day


def bucket(days_late: int) -> int:
    return sum(days_late >= edge for edge in (1, 8, 16, 31, 61, 91))


def amount_of(rows: list[SimpleNamespace], name: str = "amount_due") -> Decimal:
    return sum((getattr(one, name) for one in rows), Decimal(0))


def part(share: Any, whole: Any) -> float | None:
    return round(float(share) / float(whole), 9) if whole else None


def start_of(day: date, grain: str) -> date:
    return {"day": day, "week": day - day.weekday() * DAY, "month": month_of(day)}[grain]


def end_of(start: date, grain: str) -> date:
    return {"day": start, "week": start + 6 * DAY, "month": month_later(start) - DAY}[grain]


def expected_buckets(scene: Scene) -> list[dict]:
    rows = []
    for day in scene.days:
        late = [one for one in scene.installments if one.due_date < day and unpaid(one, day)]
        for number, name in enumerate(NAMES, start=1):
            if scene.late and name not in scene.late:
                continue
            members = [one for one in late if bucket((day - one.due_date).days) == number]
            rows.append(
                {"day": day, "bucket": number, "late": name, "installments": len(members), "amount": amount_of(members)}
            )
    return rows


def state(scene: Scene, credit: SimpleNamespace, day: date) -> tuple[int, Decimal] | None:
    """(bucket, unpaid amount) of a credit at the end of a day; None when it is not in the portfolio."""
    disbursed = local_day(credit.disbursed_at)
    owed = [one for one in scene.rows["installments"] if one.credit_id == credit.credit_id and unpaid(one, day)]
    if disbursed is None or disbursed > day or not owed:
        return None
    return bucket((day - min(one.due_date for one in owed)).days), amount_of(owed)


def credits_of(scene: Scene) -> list[SimpleNamespace]:
    return [one for one in scene.rows["credits"] if scene.wanted(one.credit_id)]


def expected_portfolio(scene: Scene) -> list[dict]:
    rows = []
    for day in scene.days:
        states = [found for credit in credits_of(scene) if (found := state(scene, credit, day)) is not None]
        one: dict[str, Any] = {"day": day, "credits": len(states), "amount": sum((a for _, a in states), Decimal(0))}
        for over, least in ((30, 4), (90, 6)):
            members = [amount for number, amount in states if number >= least]
            one |= {f"credits{over}": len(members), f"amount{over}": sum(members, Decimal(0))}
            one[f"par{over}"] = part(one[f"amount{over}"], one["amount"])
        rows.append(one)
    return rows


def expected_rolls(scene: Scene) -> list[dict]:
    counted: dict[tuple[date, int, int], int] = defaultdict(int)
    month = month_of(scene.first)
    while month_later(month) - DAY <= scene.last:
        for credit in credits_of(scene):
            before, after = state(scene, credit, month - DAY), state(scene, credit, month_later(month) - DAY)
            disbursed = local_day(credit.disbursed_at)
            new = disbursed is not None and month_of(disbursed) == month
            if before is not None or (new and state(scene, credit, disbursed) is not None):
                counted[month, before[0] if before else -1, after[0] if after else 7] += 1
        month = month_later(month)
    return [
        {
            "month": month,
            "before": month - DAY,
            "as_of": end_of(month, "month"),
            "from_bucket": origin,
            "to_bucket": to,
            "credits": n,
        }
        for (month, origin, to), n in sorted(counted.items())
    ]


def expected_vintages(scene: Scene) -> list[dict]:
    rows = []
    vintage = month_of(scene.first)
    while vintage <= scene.last:
        members = [
            one
            for one in credits_of(scene)
            if one.disbursed_at is not None and month_of(local_day(one.disbursed_at)) == vintage
        ]
        age = 0
        while members and (end := month_later(vintage, age + 1) - DAY) <= scene.last:
            late = [one for one in members if (found := state(scene, one, end)) is not None and found[0] >= 4]
            rows.append(
                {
                    "vintage": vintage,
                    "vintage_end": end_of(vintage, "month"),
                    "month_on_book": age,
                    "as_of": end,
                    "credits": len(members),
                    "late30": len(late),
                    "amount": amount_of(members, "principal"),
                    "late30_amount": amount_of(late, "principal"),
                    "share": part(len(late), len(members)),
                }
            )
            age += 1
        vintage = month_later(vintage)
    return rows


def due_within(scene: Scene) -> list[SimpleNamespace]:
    return [one for one in scene.installments if scene.first <= one.due_date <= scene.last]


def expected_first_payments(scene: Scene) -> list[dict]:
    months = defaultdict(list)
    for one in due_within(scene):
        if one.sequence == 1:
            months[month_of(one.due_date)].append(one)
    rows = []
    for month, members in sorted(months.items()):
        decided = [one for one in members if one.due_date + 30 * DAY < scene.as_of]
        defaulted = [one for one in decided if unpaid(one, one.due_date + 30 * DAY)]
        last_due = min(end_of(month, "month"), scene.last)
        rows.append(
            {
                "month": month,
                "first_due": max(month, scene.first),
                "last_due": last_due,
                "decided_until": min(last_due, scene.as_of - 31 * DAY),
                "decided": len(decided),
                "defaulted": len(defaulted),
                "undecided": len(members) - len(decided),
                "amount": amount_of(decided),
                "defaulted_amount": amount_of(defaulted),
                "share": part(len(defaulted), len(decided)),
            }
        )
    return rows


def expected_collection(scene: Scene) -> list[dict]:
    periods = defaultdict(list)
    for one in due_within(scene):
        periods[start_of(one.due_date, scene.grain)].append(one)
    rows = []
    for period, members in sorted(periods.items()):
        paid = [one for one in members if one.paid_at is not None]
        one: dict[str, Any] = {
            "period": period,
            "first_due": max(period, scene.first),
            "last_due": min(end_of(period, scene.grain), scene.last),
            "installments": len(members),
            "paid": len(paid),
            "due": amount_of(members),
            "collected": amount_of(members, "amount_paid"),
            "collected_by_last": amount_of([one for one in paid if not unpaid(one, scene.last)]),
        }
        for days in (7, 30):
            old = [member for member in members if member.due_date + days * DAY < scene.as_of]
            in_time = [member for member in old if not unpaid(member, member.due_date + days * DAY)]
            one |= {
                f"installments_{days}": len(old),
                f"due_{days}": amount_of(old),
                f"collected_{days}": amount_of(in_time),
            }
        rows.append(one)
    return rows


def processed_within(scene: Scene) -> list[SimpleNamespace]:
    return [
        one
        for one in scene.rows["payments"]
        if scene.first <= local_day(one.processed_at) <= scene.last
        and (not scene.methods or one.method in scene.methods)
    ]


def expected_payments(scene: Scene) -> list[dict]:
    groups = defaultdict(list)
    for one in processed_within(scene):
        groups[start_of(local_day(one.processed_at), scene.grain), one.method].append(one)
    rows = []
    for (period, method), members in sorted(groups.items()):
        succeeded = [one for one in members if one.status == "succeeded"]
        failed = [one for one in members if one.status == "failed"]
        good, tried = amount_of(succeeded, "amount"), amount_of(succeeded + failed, "amount")
        rows.append(
            {
                "period": period,
                "first_day": max(period, scene.first),
                "last_day": min(end_of(period, scene.grain), scene.last),
                "method": method,
                "succeeded": len(succeeded),
                "failed": len(failed),
                "attempts": len(succeeded) + len(failed),
                "others": len(members) - len(succeeded) - len(failed),
                "amount_succeeded": good,
                "amount_attempted": tried,
                "share": part(len(succeeded), len(succeeded) + len(failed)),
                "amount_share": part(good, tried),
            }
        )
    return rows


def expected_failures(scene: Scene) -> list[dict]:
    codes = defaultdict(list)
    for one in processed_within(scene):
        if one.status == "failed":
            codes[one.failure_code or ""].append(one)
    rows = [
        {"failure_code": code, "failed": len(members), "amount": amount_of(members, "amount")}
        for code, members in codes.items()
    ]
    return sorted(rows, key=lambda one: (-one["failed"], one["failure_code"]))


def expected_largest_overdue(scene: Scene) -> list[dict]:
    rows = []
    for credit_id in {one.credit_id for one in scene.installments}:
        owed = [one for one in scene.installments if one.credit_id == credit_id and one.paid_at is None]
        late = [one for one in owed if one.due_date < scene.as_of]
        credit = scene.credit(credit_id)
        if not late or (credit is not None and credit.status == "charged_off"):
            continue
        oldest = min(one.due_date for one in late)
        if scene.late and NAMES[bucket((scene.as_of - oldest).days) - 1] not in scene.late:
            continue
        rows.append(
            {
                "credit_id": credit_id,
                "conductor_id": credit and credit.conductor_id,
                "tier": scene.tier(credit_id),
                "status": credit and credit.status,
                "principal": credit and credit.principal,
                "outstanding": amount_of(owed) - amount_of(owed, "amount_paid"),
                "overdue": amount_of(late) - amount_of(late, "amount_paid"),
                "installments": len(late),
                "oldest_due": oldest,
                "dpd": (scene.as_of - oldest).days,
            }
        )
    return sorted(rows, key=lambda one: (-one["overdue"], one["credit_id"]))


def expected_tiers(scene: Scene) -> list[dict]:
    """Of disbursements/tiers, which the page asks too."""
    days = defaultdict(list)
    for one in scene.rows["credits"]:
        if one.disbursed_at is not None:
            days[scene.tier(one.credit_id)].append(local_day(one.disbursed_at))
    return [{"tier": tier, "first_day": min(found)} for tier, found in sorted(days.items())]


REFERENCES = {
    "buckets": expected_buckets,
    "portfolio": expected_portfolio,
    "rolls": expected_rolls,
    "vintages": expected_vintages,
    "first_payments": expected_first_payments,
    "collection": expected_collection,
    "payments": expected_payments,
    "failures": expected_failures,
    "largest_overdue": expected_largest_overdue,
}


# The ledger: filled for each example, asked as the page asks it. -----------------------------------------------------


def plain(value: Any) -> Any:
    """A frame's cell as plain Python."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return round(value, 9) if isinstance(value, float) else value


def records(frame: pd.DataFrame) -> list[dict]:
    return [{name: plain(value) for name, value in one.items()} for one in frame.to_dict("records")]


class Ledger:
    """The ledger as a test fills and asks it."""

    def __init__(self, owner, reader: str) -> None:
        self.owner = owner
        self.reader = reader

    def fill(self, rows: dict[str, list[SimpleNamespace]]) -> None:
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate " + ", ".join(f"bi.{table}" for table in COLUMNS))
        for table, members in rows.items():
            names = COLUMNS[table].split()
            with cursor.copy(f"copy bi.{table} ({', '.join(names)}) from stdin") as into:
                for number, one in enumerate(members):
                    if table != "credits":
                        setattr(one, names[0], number)
                    into.write_row([getattr(one, name) for name in names])
        self.owner.commit()
        sources._connected().cache.forget()

    def ask(self, name: str, scene: Scene) -> pd.DataFrame:
        return queries.ledger(f"late_payments/{name}", scene.params())

    def asked(self, name: str, scene: Scene) -> pd.DataFrame:
        self.fill(scene.rows)
        return self.ask(name, scene)


@pytest.fixture(scope="module")
def ledger(module_ledger_url):
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield Ledger(owner, module_ledger_url.reader)
    queries.disconnect()
    owner.close()
    engine.dispose()


# The random scenes. ------------------------------------------------------------------------------------------------

# Month ends, 29 February, the last change of the clocks, a plain Monday.
LASTS = st.sampled_from(
    [date(2024, 2, 29), date(2024, 3, 31), date(2025, 2, 28), date(2022, 10, 31), date(2026, 1, 1), date(2026, 3, 2)]
)
CENTS = st.integers(0, 10_000_000).map(lambda cents: Decimal(cents) / 100)
TIERS = st.sampled_from(["AAA", "C", "a tier nobody knows", ""])
HOURS = st.sampled_from([0, 12, 24]).map(lambda hours: timedelta(hours=hours) - (TICK if hours == 24 else 0 * TICK))
MARKS = (0, 1, 2, 7, 8, 15, 16, 29, 30, 31, 32, 60, 61, 90, 91, 92, 150)


@st.composite
def scenes(draw) -> Scene:
    last = draw(LASTS)
    scene = Scene(
        first=last - draw(st.sampled_from([0, 1, 6, 29, 40, 100])) * DAY,
        last=last,
        as_of=last + draw(st.sampled_from([0, 1, 8, 31, 60])) * DAY,
        tiers=draw(st.sampled_from([(), (), ("AAA",), ("C", "")])),
        late=draw(st.sampled_from([(), (), ("1-7", "90+"), ("31-60",)])),
        methods=draw(st.sampled_from([(), (), ("card",), ("oxxo", "no such method")])),
        grain=draw(st.sampled_from(["day", "week", "month"])),
    )
    near = st.builds(lambda mark, step: last - (mark + step) * DAY, st.sampled_from(MARKS), st.integers(-2, 2))
    moments = st.builds(lambda day, time: at(day, 0) + time, near, HOURS)
    for number in range(draw(st.integers(0, 4))):
        disbursed = draw(st.none() | moments)
        scene.rows["credits"].append(
            row(
                credit_id=f"k{number}",
                sinosure_tier=draw(TIERS),
                principal=draw(CENTS),
                disbursed_at=disbursed,
                status=draw(st.sampled_from(["active", "paid", "cancelled", "charged_off", "no such status"])),
                closed_at=draw(st.none() | moments),
            )
        )
    # A credit that the ledger does not hold has no tier; its installments are late all the same.
    owners = [one.credit_id for one in scene.rows["credits"]] + ["no such credit"]
    for _ in range(draw(st.integers(0, 8))):
        due, amount = draw(near), draw(CENTS)
        paid = draw(
            st.none()
            | moments
            | st.builds(
                lambda after, time, due=due: at(due + after * DAY, 0) + time,
                st.sampled_from([-40, -1, 0, 1, 2, 7, 8, 30, 31]),
                HOURS,
            )
        )
        scene.rows["installments"].append(
            row(
                credit_id=draw(st.sampled_from(owners)),
                sequence=draw(st.integers(1, 2)),
                due_date=due,
                amount_due=amount,
                amount_paid=amount if paid else (amount / 2).quantize(Decimal("0.01")) * draw(st.integers(0, 1)),
                paid_at=paid,
            )
        )
    for _ in range(draw(st.integers(0, 8))):
        scene.rows["payments"].append(
            row(
                processed_at=draw(moments),
                amount=draw(CENTS),
                status=draw(st.sampled_from(["succeeded", "failed", "pending", "refunded", "no such status"])),
                method=draw(st.sampled_from(["card", "oxxo", "a method nobody knows"])),
                failure_code=draw(st.sampled_from([None, "insufficient_funds", "card_expired"])),
            )
        )
    return scene


def test_each_query_of_the_page_has_a_reference():
    names = {query.name for query in queries.load_queries() if query.source == "ledger"}
    prefix = "late_payments/"
    assert {name.removeprefix(prefix) for name in names if name.startswith(prefix)} == set(REFERENCES)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes())
def test_each_number_agrees_with_plain_arithmetic_on_the_rows(ledger, scene):
    ledger.fill(scene.rows)
    for name, reference in REFERENCES.items():
        assert records(ledger.ask(name, scene)) == reference(scene), name
    assert records(queries.ledger("disbursements/tiers")) == expected_tiers(scene)


def test_an_empty_ledger_gives_zeros_by_day_and_no_rows_elsewhere(ledger):
    scene = Scene(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 3))
    ledger.fill(scene.rows)
    for name in REFERENCES:
        frame = ledger.ask(name, scene)
        assert len(frame) == {"buckets": 18, "portfolio": 3}.get(name, 0)
    portfolio = ledger.ask("portfolio", scene)
    assert portfolio["par30"].isna().all()
    assert (portfolio["credits"] == 0).all()


# Examples by hand. -------------------------------------------------------------------------------------------------

MONDAY = date(2026, 3, 2)


def whole(*, back: int = 0, **rows: list[SimpleNamespace]) -> Scene:
    return Scene(MONDAY - back * DAY, MONDAY, MONDAY, rows=rows)


@pytest.mark.parametrize(
    ("days_late", "name"),
    [
        *((1, "1-7"), (7, "1-7"), (8, "8-15"), (15, "8-15"), (16, "16-30"), (30, "16-30"), (31, "31-60")),
        *((60, "31-60"), (61, "61-90"), (90, "61-90"), (91, "90+"), (2000, "90+")),
    ],
)
def test_a_late_installment_is_in_the_bucket_of_its_age(ledger, days_late, name):
    frame = ledger.asked("buckets", whole(installments=[row(due_date=MONDAY - days_late * DAY)]))
    assert dict(zip(frame["late"], frame["installments"], strict=True)) == {one: int(one == name) for one in NAMES}


def test_an_installment_paid_in_part_or_refunded_is_late_with_its_whole_scheduled_amount(ledger):
    part_paid = row(due_date=MONDAY - DAY, amount_paid=Decimal("60.00"))
    refunded = row(due_date=MONDAY - DAY, amount_paid=Decimal("0.00"))
    frame = ledger.asked("buckets", whole(installments=[part_paid, refunded]))
    assert late_payments.total(frame, "amount") == Decimal("200.00")


def test_an_installment_paid_before_it_is_due_is_never_late_and_is_collected(ledger):
    early = row(due_date=MONDAY, paid_at=at(MONDAY - 40 * DAY), amount_paid=Decimal("100.00"))
    scene = whole(back=50, installments=[early])
    assert not ledger.asked("buckets", scene)["installments"].any()
    collection = ledger.ask("collection", scene)
    assert collection["collected_by_last"].tolist() == [Decimal("100.00")]


def test_an_installment_paid_in_the_last_moment_of_its_first_late_day_is_not_late_on_it(ledger):
    due = MONDAY - DAY
    for paid_at, late in ((at(MONDAY, 24) - TICK, 0), (at(MONDAY, 24), 1)):
        frame = ledger.asked("buckets", whole(installments=[row(due_date=due, paid_at=paid_at)]))
        assert late_payments.total(frame, "installments") == late


def test_first_installments_are_undecided_until_their_thirtieth_day_is_over(ledger):
    due = MONDAY - 30 * DAY
    for today, decided in ((MONDAY, 0), (MONDAY + DAY, 1)):
        scene = Scene(due, MONDAY, today, rows={"installments": [row(due_date=due)]})
        frame = ledger.asked("first_payments", scene)
        assert (frame["decided"].sum(), frame["defaulted"].sum(), frame["undecided"].sum()) == (
            decided,
            decided,
            1 - decided,
        )


def test_a_first_installment_paid_on_the_thirtieth_day_is_no_default(ledger):
    due = date(2026, 1, 30)
    for after, defaulted in ((30, 0), (31, 1)):
        rows = [row(due_date=due, paid_at=at(due + after * DAY))]
        scene = Scene(due, due, TODAY, rows={"installments": rows})
        assert ledger.asked("first_payments", scene)["defaulted"].tolist() == [defaulted]


def test_a_refunded_attempt_is_neither_a_success_nor_a_failure(ledger):
    rows = [row(processed_at=at(MONDAY), status=status) for status in ("succeeded", "failed", "failed", "refunded")]
    frame = ledger.asked("payments", whole(payments=rows))
    assert records(frame)[0] | {"share": None} == expected_payments(whole(payments=rows))[0] | {"share": None}
    assert frame["share"].tolist() == [pytest.approx(1 / 3)]
    assert frame["others"].tolist() == [1]


def test_charged_off_credits_join_the_list_when_asked_for(ledger):
    rows = {
        "credits": [row(credit_id="k0", status="charged_off"), row(credit_id="k1")],
        "installments": [row(credit_id=one, due_date=MONDAY - 40 * DAY) for one in ("k0", "k1")],
    }
    ledger.fill({"payments": [], **rows})
    ask = {"as_of": MONDAY}
    assert queries.ledger("late_payments/largest_overdue", ask)["credit_id"].tolist() == ["k1"]
    both = queries.ledger("late_payments/largest_overdue", {**ask, "charged_off": True})
    assert both["credit_id"].tolist() == ["k0", "k1"]
    young = queries.ledger("late_payments/largest_overdue", {**ask, "late": NAMES[:3]})
    assert young.empty
    late = queries.ledger("late_payments/largest_overdue", {**ask, "late": ["31-60"], "size": 1})
    assert late["credit_id"].tolist() == ["k1"]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), ahead=st.sampled_from([0, 0, 1]))
def test_the_list_from_the_daily_table_is_that_of_the_rows(ledger, scene, ahead):
    """On the table's own day it is read by its order; on another, as after midnight, the rows are asked."""
    today = datetime.now(ZONE).date()
    moved = today - scene.as_of
    for one in scene.rows["installments"]:
        one.due_date += moved
        one.paid_at = one.paid_at and one.paid_at + moved
    scene.as_of = today + ahead * DAY
    ledger.fill(scene.rows)
    try:
        refresh(ledger.reader.replace("//mirador_reader@", "//mirador_rollup@"), ZONE.key, full=True, recount=False)
        # What is known of the tables is kept for some seconds.
        queries.disconnect()
        queries.connect(Sources(ledger_url=ledger.reader))
        frame = ledger.ask("largest_overdue", scene)
        assert "rollup.overdue" in queries.answer_of(frame).text
        assert records(frame) == expected_largest_overdue(scene)
        both = queries.ledger("late_payments/largest_overdue", {**scene.params(), "charged_off": True, "size": 1000})
        without = both[both["status"].isna() | (both["status"] != "charged_off")].reset_index(drop=True)
        assert records(without) == expected_largest_overdue(scene)
    finally:
        ledger.owner.cursor().execute("truncate rollup.state")
        ledger.owner.commit()
        queries.disconnect()
        queries.connect(Sources(ledger_url=ledger.reader))


# The rows behind the numbers: as many as the number says. ------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes())
def test_the_rows_behind_a_mark_are_as_many_as_it_says(ledger, scene):
    ledger.fill(scene.rows)
    tiers = {"tiers": scene.tiers}

    def rows(name: str, **params: Any) -> int:
        return len(queries.ledger(f"rows/{name}", tiers | params))

    for one in records(ledger.ask("buckets", scene))[-6:]:
        assert rows("installments", as_of=one["day"], bucket=one["bucket"]) == one["installments"]
    for one in records(ledger.ask("portfolio", scene))[-2:]:
        assert rows("credits", as_of=one["day"], buckets=[4, 5, 6]) == one["credits30"]
        assert rows("credits", as_of=one["day"], buckets=[6]) == one["credits90"]
    for one in records(ledger.ask("rolls", scene)):
        if one["from_bucket"] >= 0:
            ends = {"as_of_before": one["before"], "as_of": one["as_of"]}
            moved = rows("credits", **ends, bucket_before=one["from_bucket"], bucket=one["to_bucket"])
            assert moved == one["credits"]
    for one in records(ledger.ask("vintages", scene))[-3:]:
        born = {"disbursed_first": one["vintage"], "disbursed_last": one["vintage_end"]}
        assert rows("credits", **born, as_of=one["as_of"], buckets=[4, 5, 6]) == one["late30"]
    for one in records(ledger.ask("first_payments", scene)):
        due = {"due_first": one["first_due"], "due_last": one["last_due"], "as_of": scene.as_of}
        assert rows("first_payment_defaults", **due) == one["defaulted"]
    for one in records(late_payments.collection_shares(ledger.ask("collection", scene), scene.as_of)):
        assert rows("installments", due_first=one["first_due"], due_last=one["last_due"]) == one["installments"]
    for one in records(ledger.ask("payments", scene)):
        tried = {"first": one["first_day"], "last": one["last_day"], "method": one["method"], "tiers": ()}
        assert rows("payments", **tried, statuses=["succeeded", "failed"]) == one["attempts"]
    for one in records(ledger.ask("failures", scene)):
        within = {"first": scene.first, "last": scene.last, "methods": scene.methods, "tiers": ()}
        assert rows("payments", **within, status="failed", failure_code=one["failure_code"]) == one["failed"]


# What is worked out from the answers. -------------------------------------------------------------------------------


def rolls(*rows: tuple[date, int, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["month", "from_bucket", "to_bucket", "credits"])
    frame["month"] = pd.to_datetime(frame["month"])
    frame["before"] = frame["month"] - pd.Timedelta(days=1)
    frame["as_of"] = frame["month"] + pd.offsets.MonthEnd()
    return frame.astype(dict.fromkeys(("from_bucket", "to_bucket", "credits"), "Int64"))


def test_the_roll_rates_of_a_bucket_add_up_to_one():
    month = date(2026, 1, 1)
    frame = rolls((month, 0, 0, 8), (month, 0, 1, 2), (month, -1, 0, 5), (month, 6, 7, 1), (date(2026, 2, 1), 0, 0, 9))
    rates = late_payments.roll_rates(frame, month)
    assert rates.groupby("from_bucket")["share"].sum().tolist() == [1.0, 1.0, 1.0]
    assert rates[rates["from_bucket"] == 0]["share"].tolist() == [0.8, 0.2]
    assert rates[rates["from_bucket"] == 0]["all"].tolist() == [10, 10]
    assert late_payments.roll_rates(frame, date(2025, 1, 1)).empty


def test_a_late_credit_is_cured_when_it_is_current_or_paid_off():
    month = date(2026, 1, 1)
    frame = rolls((month, 1, 0, 3), (month, 1, 7, 1), (month, 1, 2, 4), (month, 2, 3, 2), (month, 0, 0, 9))
    rates = late_payments.cure_rates(frame)
    assert records(rates[["from_bucket", "credits", "cured", "share"]]) == [
        {"from_bucket": 1, "credits": 8, "cured": 4, "share": 0.5},
        {"from_bucket": 2, "credits": 2, "cured": 0, "share": 0.0},
    ]
    assert late_payments.cure_rates(frame[:0]).empty


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(LASTS.map(month_of), st.integers(-1, 6), st.integers(0, 7), st.integers(1, 50)), max_size=20))
def test_every_credit_of_a_bucket_goes_somewhere(rows):
    frame = rolls(*{one[:3]: one for one in rows}.values())
    for month in {one[0] for one in rows}:
        shares = late_payments.roll_rates(frame, month).groupby("from_bucket")["share"].sum()
        assert shares.tolist() == pytest.approx([1.0] * len(shares))
    rates = late_payments.cure_rates(frame)
    assert ((rates["share"] >= 0) & (rates["share"] <= 1)).all()


@pytest.mark.parametrize(
    ("last", "months", "first"),
    [
        (date(2026, 11, 24), 12, date(2025, 12, 1)),
        (date(2026, 12, 31), 12, date(2026, 1, 1)),
        (date(2024, 2, 29), 1, date(2024, 2, 1)),
        (date(2024, 1, 31), 13, date(2023, 1, 1)),
    ],
)
def test_the_months_shown_end_with_that_of_the_last_day(last, months, first):
    assert late_payments.months_before(last, months) == first


@pytest.mark.parametrize(
    ("last", "today", "latest"),
    [
        (date(2026, 11, 24), date(2026, 11, 24), date(2026, 10, 1)),
        (date(2026, 10, 31), date(2026, 11, 24), date(2026, 10, 1)),
        # A month is over when its last day is.
        (date(2026, 10, 31), date(2026, 10, 31), date(2026, 9, 1)),
        (date(2024, 2, 29), date(2024, 3, 1), date(2024, 2, 1)),
        (date(2026, 1, 15), date(2026, 1, 15), date(2025, 12, 1)),
    ],
)
def test_the_months_to_choose_from_are_over(last, today, latest):
    months = late_payments.ended_months(last, today, 3)
    assert months[0] == latest
    assert months == [month_later(latest, -back) for back in range(3)]


def test_long_periods_are_shown_by_week_and_by_month():
    grains = [late_payments.grain_of(MONDAY - days * DAY, MONDAY) for days in (0, 61, 62, 399, 400)]
    assert grains == ["day", "day", "week", "week", "month"]


def test_shares_of_nothing_are_unknown_and_not_zero(ledger):
    scene = Scene(MONDAY, MONDAY, MONDAY, rows={"installments": [row(due_date=MONDAY)]})
    shares = late_payments.collection_shares(ledger.asked("collection", scene), scene.as_of)
    # Nothing is old enough for the horizons of 7 and 30 days: they have no point.
    assert [plain(share) for share in shares["share"]] == [0.0]
    assert late_payments.ratio(Decimal(0), Decimal(0)) is None


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes())
def test_what_is_worked_out_keeps_the_totals_of_its_answer(ledger, scene):
    ledger.fill(scene.rows)
    buckets = ledger.ask("buckets", scene)
    days = late_payments.late_by_day(buckets)
    assert late_payments.total(days, "amount") == late_payments.total(buckets, "amount")
    last = late_payments.late_by_bucket(buckets)
    assert late_payments.total(last, "installments") == days["installments"].iloc[-1]
    payments = ledger.ask("payments", scene)
    summed = late_payments.success_by_period(payments)
    assert summed["attempts"].sum() == payments["attempts"].sum()
    collection = ledger.ask("collection", scene)
    in_the_end = late_payments.paid_in_the_end(collection)
    assert in_the_end["share"].between(0, 1).all()
    shares = late_payments.collection_shares(collection, scene.as_of)
    assert late_payments.total(shares[shares["horizon"] == "now"], "due") == late_payments.total(collection, "due")
    defaults = late_payments.first_payment_defaults(ledger.ask("first_payments", scene))
    decided = defaults[defaults["decided"] > 0]
    assert ((decided["low"] <= decided["share"]) & (decided["share"] <= decided["high"])).all()
    for frame in (days, last, summed, in_the_end, shares, defaults):
        assert frame.attrs["answer"].name.startswith("late_payments/")


# The page as it is drawn. --------------------------------------------------------------------------------------------


def drawn(**asked: str) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_file(str(PAGE), default_timeout=30)
    # All sections at once, unless one is asked for.
    for name, value in {"section": "all", **asked}.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.title])


def numbers(app: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


@pytest.fixture
def filled(ledger) -> date:
    """Credits k0 to k3 of tier C have an installment ten days late each, k4 of tier A one three days late, k5 is paid.

    Each owes 100 more, not due yet; four of five attempts of yesterday succeeded.
    """
    today = datetime.now(ZONE).date()
    late = {f"k{number}": 10 for number in range(4)} | {"k4": 3}
    installments = [row(credit_id=credit, due_date=today - days * DAY) for credit, days in late.items()]
    installments += [row(credit_id=f"k{n}", sequence=2, due_date=today + 4 * DAY) for n in range(5)]
    installments.append(
        row(
            credit_id="k5",
            due_date=today - 5 * DAY,
            paid_at=at(today - 6 * DAY),
            amount_due=Decimal("500.00"),
            amount_paid=Decimal("500.00"),
        )
    )
    disbursed = at(today - 50 * DAY)
    ledger.fill(
        {
            "credits": [
                row(credit_id=f"k{n}", sinosure_tier="C" if n < 4 else "A", disbursed_at=disbursed) for n in range(6)
            ],
            "installments": installments,
            "payments": [
                row(
                    credit_id="k5",
                    processed_at=at(today - DAY),
                    status="failed" if n == 0 else "succeeded",
                    failure_code="card_expired" if n == 0 else None,
                )
                for n in range(5)
            ],
        }
    )
    return today


def test_the_cards_say_what_the_rows_say(filled):
    app = drawn()
    assert not app.exception
    assert numbers(app) == {
        "Late installments": "5",
        "Late amount": "$500",
        "PAR30": "0.0 %",
        "PAR90": "0.0 %",
        "Collection efficiency": "50.0 %",
        "Payment success": "80.0 %",
    }
    assert "$500.00" in words(app)
    assert app.dataframe[-1].value["credit_id"].tolist() == ["k0", "k1", "k2", "k3", "k4"]


def test_the_filters_of_the_link_narrow_the_numbers(filled):
    app = drawn(tiers="C")
    assert not app.exception
    assert numbers(app)["Late installments"] == "4"
    assert "Payment attempts are of all tiers" in words(app)
    then = (filled - 8 * DAY).isoformat()
    app = drawn(period="custom", late="1-7", compare="none", **{"from": then, "to": then})
    assert not app.exception
    assert numbers(app)["Late installments"] == "4"


def test_the_month_of_the_roll_rates_stands_in_the_link(filled):
    month = late_payments.ended_months(filled, filled)[2]
    app = drawn(month=month.strftime("%Y-%m"))
    assert not app.exception
    assert app.selectbox(key="month").value == month.strftime("%Y-%m")
    assert f"Roll rates, {month:%B %Y}" in words(app)
    latest = late_payments.ended_months(filled, filled)[0]
    assert not app.warning
    app = drawn(month="1999-01")
    assert not app.exception
    assert ["“month=1999-01”" in one.value for one in app.warning] == [True]
    assert f"Roll rates, {latest:%B %Y}" in words(app)


@pytest.mark.parametrize(
    "asked",
    [
        {"measure": "amount", "vintages": "triangle", "due": "month", "success": "installments", "overdue": "all"},
        {"success": "amount", "period": "last_12_months", "compare": "year", "events": "off"},
    ],
)
def test_every_reading_of_the_page_is_drawn(filled, asked):
    app = drawn(**asked)
    assert not app.exception
    assert "could not be drawn" not in words(app)


def test_an_empty_ledger_draws_a_page_without_an_error(ledger):
    ledger.fill({"credits": [], "installments": [], "payments": []})
    app = drawn()
    assert not app.exception
    assert numbers(app)["Late installments"] == "0"
    assert numbers(app)["PAR30"] == numbers(app)["Payment success"] == "–"
    assert "No data for this choice" in words(app)
    assert "could not be drawn" not in words(app)


def test_one_installment_draws_the_page(ledger):
    due = datetime.now(ZONE).date() - DAY
    ledger.fill({"credits": [], "payments": [], "installments": [row(credit_id="of no credit", due_date=due)]})
    app = drawn()
    assert not app.exception
    assert numbers(app)["Late installments"] == "1"
    assert "could not be drawn" not in words(app)


def test_a_dead_ledger_leaves_the_page_standing(ledger):
    before = sources._connected().sources
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    try:
        app = drawn()
    finally:
        queries.connect(before)
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_bucket_opens_its_installments_and_a_row_its_credit(filled, ledger, server_dir):
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(f"{dashboard.url}/late_payments?events=off&compare=none&section=all")
        bars = window.page.locator('.st-key-panel-late_by_bucket svg path[aria-roledescription="bar"]')
        tallest = max(bars.all(), key=lambda bar: bar.bounding_box()["height"])
        assert "8–15" in tallest.get_attribute("aria-label")
        opened = window.open_rows(tallest, "late_by_bucket")
        window.wait_for_text("4 rows: ")
        assert "rows have changed since" not in opened.inner_text()
        assert re.search(r"/credit\?id=k[0-3](&events=off)?$", window.follow_first_row(opened))
        window.assert_clean()


def cells(opened: Locator, row: int) -> list[str]:
    """What stands in a row of a table, as a screen reader has it; nothing until it is painted."""
    return [
        one.text_content() or "" for one in opened.locator(f'[data-testid^="glide-cell-"][data-testid$="-{row}"]').all()
    ]


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_opened_rows_are_sorted_and_paged_in_the_chosen_order_and_lead_to_their_credits(ledger, server_dir):
    today = datetime.now(ZONE).date()
    # Sixty of one bucket: neither the days nor the amounts are in the order of the ids, and no amount comes twice.
    owed = {number: Decimal(100 + number * 37 % 61) for number in range(60)}
    ledger.fill(
        {
            "credits": [row(credit_id=f"k{number}") for number in owed],
            "installments": [
                row(credit_id=f"k{number}", due_date=today - (8 + number % 8) * DAY, amount_due=amount)
                for number, amount in owed.items()
            ],
        }
    )
    by_amount = sorted(owed, key=lambda number: owed[number])
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(f"{dashboard.url}/late_payments?events=off&compare=none&section=all")
        bars = window.page.locator('.st-key-panel-late_by_bucket svg path[aria-roledescription="bar"]')
        opened = window.open_rows(max(bars.all(), key=lambda bar: bar.bounding_box()["height"]), "late_by_bucket")
        window.wait_for_text("60 rows: ")

        def stands_first(number: int) -> None:
            """Wait until the first row is the installment of this credit."""
            until = time.monotonic() + 20
            while f"k{number}" not in (seen := cells(opened, 0)):
                assert time.monotonic() < until, (number, seen)
                time.sleep(0.2)

        def sort(words: str) -> None:
            box = opened.get_by_role("combobox")
            # In the middle of the window: its list closes when the page scrolls.
            box.evaluate("one => one.scrollIntoView({block: 'center'})")
            window.drawn()
            option = window.page.get_by_role("option", name=words, exact=True)
            for _ in range(5):
                box.click()
                with contextlib.suppress(PlaywrightTimeout):
                    option.click(timeout=3_000)
                    break

        def turn(name: str, rows: str) -> None:
            opened.get_by_role("button", name=name).click()
            opened.get_by_text(f"{rows} of 60").wait_for(timeout=20_000)

        # As it opens: due last; of those that are alike the one with the greatest id.
        stands_first(max(number for number in owed if number % 8 == 0))
        turn("Next", "51–60")
        sort("Amount due, largest first")
        opened.get_by_text("1–50 of 60").wait_for(timeout=20_000)
        stands_first(by_amount[-1])
        turn("Next", "51–60")
        stands_first(by_amount[9])
        turn("Back", "1–50")
        stands_first(by_amount[-1])
        sort("Amount due, smallest first")
        stands_first(by_amount[0])
        turn("Next", "51–60")
        stands_first(by_amount[50])
        assert window.follow_first_row(opened).partition("?")[2].startswith(f"id=k{by_amount[50]}")
        window.drawn()
        assert f"k{by_amount[50]}" in window.text()
        window.assert_clean()


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_failure_code_opens_its_payments_and_a_payment_its_credit(filled, ledger, server_dir):
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(f"{dashboard.url}/late_payments?events=off&compare=none&section=all")
        bars = window.page.locator('.st-key-panel-failure_codes svg path[aria-roledescription="bar"]')
        opened = window.open_rows(bars.first, "failure_codes")
        window.wait_for_text("1 row: ")
        assert "rows have changed since" not in opened.inner_text()
        assert "/credit?id=k5" in window.follow_first_row(opened)
        window.assert_clean()
