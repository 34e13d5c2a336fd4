"""The queries of the Today page against the same answers worked out in plain Python, on small random ledgers."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

import queries
from queries import Prometheus, Sources, rollup_refresh, sources
from queries.rollup_refresh import refresh
from tests.conftest import LedgerUrl

ZONE = ZoneInfo("America/Mexico_City")
TICK = timedelta(microseconds=1)
MONDAY = date(2026, 3, 2)
TUESDAY = MONDAY + timedelta(days=1)
HOUR = timedelta(hours=1)
LATER = timedelta(days=400)
CENT = Decimal("0.01")

COLUMNS = {
    "applications": (
        "application_id conductor_id submitted_at amount_requested hase_score sinosure_tier status decided_at"
        " rejection_reason updated_at"
    ),
    "credits": (
        "credit_id application_id conductor_id sinosure_tier principal approved_at disbursed_at disbursement_status"
        " status closed_at updated_at"
    ),
    "installments": "installment_id credit_id sequence due_date amount_due amount_paid paid_at updated_at",
    "payments": "payment_id credit_id processed_at amount status method failure_code updated_at",
    "hase_scores": "score_id application_id conductor_id score model_version calculated_at",
    "integration_calls": "call_id called_at integration endpoint status duration_ms error_code request_id",
}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
USUAL: dict[str, Any] = {
    "application_id": "a",
    "conductor_id": "c",
    "amount_requested": Decimal("1000"),
    "hase_score": None,
    "sinosure_tier": "AAA",
    "status": "approved",
    "decided_at": None,
    "rejection_reason": None,
    "principal": Decimal("1000.00"),
    "approved_at": LONG_AGO,
    "disbursed_at": None,
    "disbursement_status": "sent",
    "closed_at": None,
    "credit_id": "k",
    "sequence": 1,
    "amount_due": Decimal("100.00"),
    "amount_paid": Decimal("0"),
    "paid_at": None,
    "amount": Decimal("10.00"),
    "method": "card",
    "failure_code": None,
    "score": 50,
    "model_version": "v1",
    "integration": "neon",
    "endpoint": "/v1",
    "duration_ms": 100,
    "error_code": None,
    "request_id": "r",
    "updated_at": LONG_AGO,
}


def row(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**USUAL, **values})


# The reference: days, cuts and sums from the raw rows, by zoneinfo alone. -----------------------------------------


def local(wall: datetime) -> datetime:
    """A wall clock's moment in UTC; of an hour that comes twice the second, as PostgreSQL takes it."""
    first, second = (wall.replace(tzinfo=ZONE, fold=fold).astimezone(UTC) for fold in (0, 1))
    comes_twice = first.astimezone(ZONE).replace(tzinfo=None) == wall == second.astimezone(ZONE).replace(tzinfo=None)
    return second if comes_twice else first


def midnight(day: date) -> datetime:
    return local(datetime(day.year, day.month, day.day))


@dataclass
class Scene:
    """What is asked: the day, all days, and the present moment; with the rows there are."""

    day: date
    days: tuple[date, ...]
    as_of: datetime
    rows: dict[str, list[SimpleNamespace]] = field(default_factory=dict)

    def span(self, day: date) -> tuple[datetime, datetime]:
        start_of_day = datetime(self.day.year, self.day.month, self.day.day)
        seen = self.as_of.astimezone(ZONE).replace(tzinfo=None) - start_of_day
        seen = max(timedelta(0), min(seen, timedelta(days=1)))
        return midnight(day), local(datetime(day.year, day.month, day.day) + seen)


Measure = Callable[[list[SimpleNamespace]], tuple[Any, ...]]
Parts = dict[str, Callable[[SimpleNamespace], Any]]


def tally(
    scene: Scene, found: Callable[[date, datetime, datetime], Iterable[SimpleNamespace]], measure: Measure, parts: Parts
) -> dict[tuple[date, str, str], tuple[Any, ...]]:
    expected = {}
    for day in scene.days:
        rows = list(found(day, *scene.span(day)))
        expected[day, "all", "all"] = measure(rows)
        for dimension, segment_of in parts.items():
            groups = defaultdict(list)
            for one in rows:
                # An empty text is none.
                groups[segment_of(one) or None].append(one)
            for segment, members in groups.items():
                if segment is not ...:
                    expected[day, dimension, segment or "(none)"] = measure(members)
    return expected


def within(rows: list[SimpleNamespace], moment: str) -> Callable[[date, datetime, datetime], list[SimpleNamespace]]:
    def found(day: date, start: datetime, end: datetime) -> list[SimpleNamespace]:
        return [one for one in rows if getattr(one, moment) is not None and start <= getattr(one, moment) < end]

    return found


TIER: Parts = {"tier": lambda one: one.sinosure_tier}


def money(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def applications(scene: Scene) -> dict:
    return tally(scene, within(scene.rows["applications"], "submitted_at"), lambda rows: (len(rows),), TIER)


def decisions(scene: Scene) -> dict:
    def measure(rows):
        approved = sum(one.status == "approved" for one in rows)
        return approved, len(rows) - approved, len(rows)

    decided = [one for one in scene.rows["applications"] if one.status in {"approved", "rejected"}]
    reason: Parts = {"reason": lambda one: one.rejection_reason if one.status == "rejected" else ...}
    return tally(scene, within(decided, "decided_at"), measure, TIER | reason)


def principal(rows: list[SimpleNamespace]) -> tuple[int, Decimal]:
    return len(rows), money(one.principal for one in rows)


def disbursements(scene: Scene) -> dict:
    return tally(scene, within(scene.rows["credits"], "disbursed_at"), principal, TIER)


def active_credits(scene: Scene) -> dict:
    def found(day, start, end):
        for one in scene.rows["credits"]:
            if one.disbursed_at is not None and one.disbursed_at < end and not (one.closed_at and one.closed_at < end):
                yield one

    return tally(scene, found, principal, TIER)


def bucket(days_late: int) -> str:
    edges = ((90, "90+"), (60, "61-90"), (30, "31-60"), (15, "16-30"), (7, "8-15"), (0, "1-7"))
    return next(name for more_than, name in edges if days_late > more_than)


def late_installments(scene: Scene) -> dict:
    def found(day, start, end):
        for one in scene.rows["installments"]:
            if one.due_date < day and (one.paid_at is None or one.paid_at >= end):
                yield SimpleNamespace(amount=one.amount_due, bucket=bucket((day - one.due_date).days))

    return tally(
        scene, found, lambda rows: (len(rows), money(one.amount for one in rows)), {"bucket": lambda one: one.bucket}
    )


def payments(scene: Scene) -> dict:
    def measure(rows):
        good = [one for one in rows if one.status == "succeeded"]
        return len(good), len(rows), money(one.amount for one in good)

    ended = [one for one in scene.rows["payments"] if one.status in {"succeeded", "failed"}]
    parts: Parts = {
        "method": lambda one: one.method,
        "failure": lambda one: one.failure_code if one.status == "failed" else ...,
    }
    return tally(scene, within(ended, "processed_at"), measure, parts)


def scores(scene: Scene) -> dict:
    tiers = {one.application_id: one.sinosure_tier for one in scene.rows["applications"]}
    return tally(
        scene,
        within(scene.rows["hase_scores"], "calculated_at"),
        lambda rows: (len(rows), sum(one.score for one in rows)),
        {"tier": lambda one: tiers.get(one.application_id), "model": lambda one: one.model_version},
    )


def disbursed_48h(scene: Scene) -> dict:
    two_days = timedelta(hours=48)

    def found(day, start, end):
        for one in scene.rows["credits"]:
            over = one.approved_at + two_days
            # Cancelled at a moment that nobody wrote down: not known to have been owed for the whole 48 hours.
            given_up = one.closed_at is None or one.closed_at < over
            owed = not (one.status == "cancelled" and one.disbursed_at is None and given_up)
            if start <= over < end and owed:
                yield one

    def measure(rows):
        in_time = [one for one in rows if one.disbursed_at and one.disbursed_at - one.approved_at <= two_days]
        return len(in_time), len(rows)

    return tally(scene, found, measure, TIER)


def integration_calls(scene: Scene) -> dict:
    def error(one):
        if one.status == "success":
            return ...
        return one.status if one.error_code is None else one.error_code

    return tally(
        scene,
        within(scene.rows["integration_calls"], "called_at"),
        lambda rows: (sum(one.status != "success" for one in rows), len(rows)),
        {"integration": lambda one: one.integration, "error": error},
    )


def intraday(scene: Scene) -> dict:
    found: dict[tuple[date, int], list[Any]] = defaultdict(lambda: [0, 0, 0, Decimal(0), 0])

    def put(moment: datetime | None, column: int, amount: Any = 1) -> None:
        if moment is None or moment >= scene.as_of:
            return
        wall = moment.astimezone(ZONE)
        if wall.date() in scene.days:
            found[wall.date(), wall.hour * 60 + wall.minute // 15 * 15][column] += amount

    for one in scene.rows["applications"]:
        put(one.submitted_at, 0)
        if one.status == "approved":
            put(one.decided_at, 1)
    for one in scene.rows["credits"]:
        put(one.disbursed_at, 2)
        put(one.disbursed_at, 3, one.principal)
    for one in scene.rows["payments"]:
        if one.status == "succeeded":
            put(one.processed_at, 4)
    return {key: tuple(values) for key, values in found.items()}


def integrations(scene: Scene) -> dict:
    start, end = midnight(scene.day), min(scene.as_of, midnight(scene.day + timedelta(days=1)))
    # The week before by the calendar: an hour longer or shorter when the clocks were changed in it.
    week_before = local(end.astimezone(ZONE).replace(tzinfo=None) - timedelta(days=7))
    expected = {}
    for name in {one.integration for one in scene.rows["integration_calls"]}:
        calls = [one for one in scene.rows["integration_calls"] if one.integration == name]
        calls = [one for one in calls if week_before <= one.called_at < end]
        if not calls:
            continue
        hour, today = ([one for one in calls if one.called_at >= since] for since in (end - HOUR, start))
        good = [one.called_at for one in calls if one.status == "success"]
        bad = [one for one in calls if one.status != "success"]
        last = max(bad, key=lambda one: one.called_at, default=None)
        expected[(name,)] = (
            len(hour),
            sum(one.status != "success" for one in hour),
            percentile([one.duration_ms for one in hour], 0.95),
            len(today),
            sum(one.status != "success" for one in today),
            max(good, default=None),
            last and last.called_at,
            last and (last.error_code if last.error_code is not None else last.status),
        )
    return expected


def percentile(values: list[int], q: float) -> float | None:
    if not values:
        return None
    values = sorted(values)
    place = q * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return round(values[below] + (values[above] - values[below]) * (place - below), 6)


KEYS = {"intraday": ("day", "minute"), "integrations": ("integration",)}
REFERENCES = {
    one.__name__: one
    for one in (
        applications,
        decisions,
        disbursements,
        active_credits,
        late_installments,
        payments,
        scores,
        disbursed_48h,
        integration_calls,
        integrations,
        intraday,
    )
}
TABLES = {
    "applications": ("applications",),
    "decisions": ("applications",),
    "disbursements": ("credits",),
    "active_credits": ("credits",),
    "late_installments": ("installments",),
    "payments": ("payments",),
    "scores": ("hase_scores", "applications"),
    "disbursed_48h": ("credits",),
    "integration_calls": ("integration_calls",),
    "integrations": ("integration_calls",),
    "intraday": ("applications", "credits", "payments"),
}


# The ledger: filled for each example, asked as a page asks it. -----------------------------------------------------


def plain(value: Any) -> Any:
    """A frame's cell as plain Python."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date() if value.tzinfo is None else value.to_pydatetime().astimezone(UTC)
    if isinstance(value, float):
        return round(value, 6)
    return value


class Ledger:
    """The ledger as a test fills and asks it."""

    def __init__(self, owner) -> None:
        self.owner = owner

    def fill(self, rows: dict[str, list[SimpleNamespace]]) -> None:
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate " + ", ".join(f"bi.{table}" for table in COLUMNS))
        for table, members in rows.items():
            if members:
                names = COLUMNS[table].split()
                with cursor.copy(f"copy bi.{table} ({', '.join(names)}) from stdin") as into:
                    for number, one in enumerate(members):
                        setattr(one, names[0], str(number) if table in {"applications", "credits"} else number)
                        into.write_row([getattr(one, name) for name in names])
        self.owner.commit()
        sources._connected().cache.forget()

    def ask(self, name: str, scene: Scene) -> dict:
        frame = queries.ledger(f"today/{name}", {"day": scene.day, "days": scene.days, "as_of": scene.as_of})
        keys = KEYS.get(name, ("day", "dimension", "segment"))
        names = [*keys, *(column for column in frame.columns if column not in keys)]
        rows = [tuple(plain(cell) for cell in cells) for cells in zip(*(frame[n] for n in names), strict=True)]
        answer = {one[: len(keys)]: one[len(keys) :] for one in rows}
        assert len(answer) == len(rows), "a segment came twice"
        return answer


@pytest.fixture(scope="module")
def ledger(module_ledger_url):
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield Ledger(owner)
    queries.disconnect()
    owner.close()
    engine.dispose()


# The random scenes. ------------------------------------------------------------------------------------------------

# The clocks went forward on 3 April 2022 and back, for the last time, on 30 October 2022, both at two o'clock.
NEAR = st.sampled_from(
    [
        *(date(2022, 4, 3), date(2022, 4, 4), date(2022, 10, 30), date(2022, 10, 31), date(2022, 7, 1)),
        *(date(2022, 11, 5), date(2024, 2, 29), date(2026, 1, 1), date(2026, 3, 2)),
    ]
)


@st.composite
def empty_scenes(draw) -> Scene:
    day = draw(NEAR)
    back = draw(st.sets(st.sampled_from([1, 2, 3, 7, 14]), max_size=3))
    so_far = draw(
        st.one_of(
            st.just(LATER),
            st.sampled_from([timedelta(0), timedelta(days=1), timedelta(hours=12), -HOUR, TICK]),
            st.integers(0, 86_399).map(lambda seconds: timedelta(seconds=seconds)),
        )
    )
    return Scene(day, tuple(sorted({day, *(day - timedelta(days=n) for n in back)})), midnight(day) + so_far)


def moments(scene: Scene, *before: timedelta) -> st.SearchStrategy[datetime]:
    """Moments at and about the scene's midnights and cuts, and the same `before`."""
    edges = [edge for day in scene.days for edge in scene.span(day)]
    edges += [midnight(scene.day + timedelta(days=1)), scene.as_of]
    anchors = sorted({edge - earlier for edge in edges for earlier in (timedelta(0), *before)})
    steps = st.one_of(
        st.sampled_from([-TICK, timedelta(0), TICK, -HOUR, HOUR]),
        st.integers(-30 * 3600, 30 * 3600).map(lambda seconds: timedelta(seconds=seconds)),
    )
    return st.builds(lambda anchor, step: anchor + step, st.sampled_from(anchors), steps)


AMOUNTS = st.integers(0, 50_000_000).map(lambda cents: cents * CENT)
TIERS = st.sampled_from(["AAA", "AA", "B", "a tier nobody knows", "", "all"])


def rows_of(table: str, scene: Scene) -> st.SearchStrategy[list[SimpleNamespace]]:
    at = moments(scene, timedelta(hours=48))
    maybe = st.none() | at
    match table:
        case "applications":
            one = {
                "submitted_at": at,
                "sinosure_tier": st.none() | TIERS,
                "status": st.sampled_from(["approved", "rejected", "pending", "withdrawn", "no such status"]),
                "decided_at": maybe,
                "rejection_reason": st.sampled_from([None, "low_score", "documents", ""]),
            }
        case "credits":
            one = {
                "sinosure_tier": TIERS,
                "principal": AMOUNTS,
                "approved_at": at,
                "disbursed_at": maybe,
                "status": st.sampled_from(["active", "closed", "cancelled", "no such status"]),
                "closed_at": maybe,
            }
        case "installments":
            ages = st.sampled_from([0, 1, 7, 8, 15, 16, 30, 31, 60, 61, 90, 91]) | st.integers(-3, 100)
            one = {
                "due_date": ages.map(lambda age: scene.day - timedelta(days=age)),
                "amount_due": AMOUNTS,
                "paid_at": maybe,
            }
        case "payments":
            one = {
                "processed_at": at,
                "amount": AMOUNTS,
                "status": st.sampled_from(["succeeded", "failed", "pending", "reversed", ""]),
                "method": st.sampled_from(["card", "spei", "oxxo", "a method nobody knows", ""]),
                "failure_code": st.sampled_from([None, "insufficient_funds", "expired", ""]),
            }
        case "hase_scores":
            one = {
                "application_id": st.integers(0, 6).map(str),
                "score": st.integers(0, 100),
                "model_version": st.sampled_from(["v1", "v2", ""]),
                "calculated_at": at,
            }
        case "integration_calls":
            one = {
                "called_at": moments(scene, HOUR, timedelta(hours=168)),
                "integration": st.sampled_from(["geotab", "conekta", "neon", "an integration nobody knows"]),
                "status": st.sampled_from(["success", "error", "timeout", "no such status"]),
                "duration_ms": st.integers(0, 30_000),
                "error_code": st.sampled_from([None, "E1", "E2"]),
            }
    whole = st.fixed_dictionaries(one).map(lambda values: row(**values))
    # Of two failures of the same moment either may be called the last.
    alone = (lambda values: values.called_at) if table == "integration_calls" else None
    return st.lists(whole, max_size=10, unique_by=alone)


@st.composite
def scenes(draw, tables: tuple[str, ...]) -> Scene:
    scene = draw(empty_scenes())
    scene.rows = {table: draw(rows_of(table, scene)) for table in tables}
    return scene


def test_each_query_of_the_page_has_a_reference():
    names = {query.name for query in queries.load_queries() if query.source == "ledger"}
    assert {name.removeprefix("today/") for name in names if name.startswith("today/")} == set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_query_agrees_with_plain_arithmetic_on_the_rows(ledger, name, data):
    scene = data.draw(scenes(TABLES[name]))
    ledger.fill(scene.rows)
    assert ledger.ask(name, scene) == REFERENCES[name](scene)


@contextlib.contextmanager
def rolled_up(
    ledger: Ledger, url: LedgerUrl, afterwards: Callable[[Any], None] = lambda _cursor: None
) -> Iterator[None]:
    """The daily tables are built and read, and gone at the end; `afterwards` is what happens after the refresh."""

    def anew() -> None:
        ledger.owner.commit()
        queries.disconnect()
        queries.connect(Sources(ledger_url=url.reader, timezone=ZONE.key))

    try:
        refresh(url.owner.replace("//postgres@", "//mirador_rollup@"), ZONE.key, full=True)
        afterwards(ledger.owner.cursor())
        anew()
        yield
        assert queries.rollup_states().mode == "rollups"
    finally:
        ledger.owner.cursor().execute("truncate rollup.state")
        anew()


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_daily_tables_give_the_same(ledger, module_ledger_url, monkeypatch, name, data):
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", -1.0)
    scene = data.draw(scenes(TABLES[name]))
    ledger.fill(scene.rows)
    with rolled_up(ledger, module_ledger_url):
        assert ledger.ask(name, scene) == REFERENCES[name](scene)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Tijuana"])
@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_daily_tables_give_the_same_where_days_begin_within_an_hour_or_clocks_change(
    ledger, module_ledger_url, monkeypatch, name, zone, data
):
    """Midnight in Kathmandu is a quarter past an hour of UTC; Tijuana's clocks change twice a year."""
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", -1.0)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(f"{__name__}.ZONE", ZoneInfo(zone))
            scene = data.draw(scenes(TABLES[name]))
            ledger.fill(scene.rows)
            with rolled_up(ledger, module_ledger_url):
                assert ledger.ask(name, scene) == REFERENCES[name](scene)
    finally:
        queries.disconnect()
        queries.connect(Sources(ledger_url=module_ledger_url.reader))


def test_a_credit_disbursed_after_the_last_refresh_was_in_time(ledger, module_ledger_url, monkeypatch):
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", -1.0)
    noon = midnight(TUESDAY) + 12 * HOUR
    approved = noon - 48 * HOUR - HOUR / 2
    scene = Scene(TUESDAY, (TUESDAY,), noon, {"credits": [row(approved_at=approved, disbursed_at=None)]})
    ledger.fill(scene.rows)

    def afterwards(cursor: Any) -> None:
        # The refresh was an hour before noon: what happens after it is in the rows alone.
        cursor.execute("update rollup.state set refreshed_at = %s", (noon - HOUR,))
        cursor.execute("update bi.credits set disbursed_at = %s", (approved + 47.75 * HOUR,))

    with rolled_up(ledger, module_ledger_url, afterwards):
        assert ledger.ask("disbursed_48h", scene)[TUESDAY, "all", "all"] == (1, 1)


@pytest.mark.parametrize(("minutes", "expected"), [(3, 2), (10, 3)])
def test_minutes_are_added_to_the_quarter_before_the_cut_or_taken_from_the_one_after_it(
    ledger, module_ledger_url, monkeypatch, minutes, expected
):
    """Three minutes past ten minutes are added; ten minutes past, the whole quarter counts less what came later."""
    monkeypatch.setattr(rollup_refresh, "STATES_SECONDS", -1.0)
    ten = midnight(TUESDAY) + 10 * HOUR
    moments = [ten - HOUR * 3, ten + HOUR / 60, ten + HOUR / 10, ten + HOUR / 5]
    rows = {"applications": [row(submitted_at=moment) for moment in moments]}
    scene = Scene(TUESDAY, (TUESDAY,), ten + minutes * HOUR / 60, rows)
    ledger.fill(scene.rows)
    with rolled_up(ledger, module_ledger_url):
        assert ledger.ask("applications", scene)[TUESDAY, "all", "all"] == (expected,)


# Examples by hand. -------------------------------------------------------------------------------------------------


def whole(*days: date, **rows: list[SimpleNamespace]) -> Scene:
    return Scene(days[-1], days, midnight(days[-1]) + LATER, rows)


def asked(ledger: Ledger, name: str, scene: Scene) -> dict:
    ledger.fill(scene.rows)
    return ledger.ask(name, scene)


def test_a_credit_disbursed_at_midnight_counts_for_the_new_day(ledger):
    edge = midnight(TUESDAY)
    found = asked(ledger, "disbursements", whole(MONDAY, TUESDAY, credits=[row(disbursed_at=edge)]))
    assert found[MONDAY, "all", "all"] == (0, 0)
    assert found[TUESDAY, "all", "all"] == (1, Decimal("1000.00"))
    found = asked(ledger, "disbursements", whole(MONDAY, TUESDAY, credits=[row(disbursed_at=edge - TICK)]))
    assert found[MONDAY, "all", "all"] == (1, Decimal("1000.00"))
    assert found[TUESDAY, "all", "all"] == (0, 0)


def test_an_evening_that_is_the_next_day_in_utc_counts_for_its_own_day(ledger):
    evening = datetime(2026, 3, 3, 5, 30, tzinfo=UTC)
    found = asked(ledger, "applications", whole(MONDAY, TUESDAY, applications=[row(submitted_at=evening)]))
    assert found[MONDAY, "all", "all"] == (1,)
    assert found[TUESDAY, "all", "all"] == (0,)


def test_midnight_of_a_summer_with_daylight_saving_is_five_hours_behind_utc(ledger):
    day = date(2022, 7, 1)
    rows = [row(submitted_at=datetime(2022, 7, 1, 5, 0, tzinfo=UTC))]
    assert asked(ledger, "applications", whole(day, applications=rows))[day, "all", "all"] == (1,)


def test_the_day_on_which_the_clocks_go_back_has_twenty_five_hours(ledger):
    day = date(2022, 10, 30)
    rows = [row(submitted_at=datetime(2022, 10, 30, 5, 30, tzinfo=UTC) + hours * HOUR) for hours in range(25)]
    assert asked(ledger, "applications", whole(day, applications=rows))[day, "all", "all"] == (25,)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name not in KEYS])
def test_an_empty_ledger_gives_zeros_for_each_day_and_no_segments(ledger, name):
    found = asked(ledger, name, whole(MONDAY, TUESDAY))
    assert set(found) == {(MONDAY, "all", "all"), (TUESDAY, "all", "all")}
    assert all(value == 0 for values in found.values() for value in values)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "integrations"])
def test_a_day_that_is_asked_for_twice_counts_once(ledger, name):
    day, moment = date(2026, 3, 2), midnight(date(2026, 3, 2)) + HOUR
    rows = {
        "applications": [row(application_id="a", submitted_at=moment, decided_at=moment)],
        "credits": [row(credit_id="k", approved_at=moment - timedelta(days=2), disbursed_at=moment)],
        "installments": [row(installment_id=1, due_date=date(2026, 3, 1))],
        "payments": [row(payment_id=1, processed_at=moment, status="succeeded")],
        "hase_scores": [row(score_id=1, calculated_at=moment)],
        "integration_calls": [row(call_id=1, called_at=moment, status="error")],
    }
    once = Scene(day, (day,), moment + HOUR, rows)
    ledger.fill(rows)
    answer = ledger.ask(name, once)
    assert answer == ledger.ask(name, Scene(day, (day, day), moment + HOUR, rows)) == REFERENCES[name](once)
    assert any(any(values) for values in answer.values())


@pytest.mark.parametrize("name", KEYS)
def test_an_empty_ledger_gives_no_quarters_and_no_integrations(ledger, name):
    assert asked(ledger, name, whole(MONDAY, TUESDAY)) == {}


@pytest.mark.parametrize(
    ("days_late", "segment"),
    [
        *((1, "1-7"), (7, "1-7"), (8, "8-15"), (15, "8-15"), (16, "16-30"), (30, "16-30"), (31, "31-60")),
        *((60, "31-60"), (61, "61-90"), (90, "61-90"), (91, "90+"), (900, "90+")),
    ],
)
def test_a_late_installment_is_in_the_bucket_of_its_age(ledger, days_late, segment):
    rows = [row(due_date=MONDAY - timedelta(days=days_late), amount_due=Decimal("33.33"))]
    found = asked(ledger, "late_installments", whole(MONDAY, installments=rows))
    assert found == {(MONDAY, "all", "all"): (1, Decimal("33.33")), (MONDAY, "bucket", segment): (1, Decimal("33.33"))}


def test_an_installment_due_today_is_not_late(ledger):
    found = asked(ledger, "late_installments", whole(MONDAY, installments=[row(due_date=MONDAY)]))
    assert found == {(MONDAY, "all", "all"): (0, 0)}


def test_an_installment_paid_exactly_at_the_end_of_the_day_is_late_on_it_and_not_after(ledger):
    end = midnight(TUESDAY)
    due = MONDAY - timedelta(days=3)
    found = asked(ledger, "late_installments", whole(MONDAY, TUESDAY, installments=[row(due_date=due, paid_at=end)]))
    assert found[MONDAY, "all", "all"] == (1, Decimal("100.00"))
    assert found[TUESDAY, "all", "all"] == (0, 0)
    rows = [row(due_date=due, paid_at=end - TICK)]
    found = asked(ledger, "late_installments", whole(MONDAY, TUESDAY, installments=rows))
    assert found[MONDAY, "all", "all"] == (0, 0)


def test_a_credit_disbursed_at_the_last_moment_of_its_48_hours_is_in_time(ledger):
    approved = midnight(MONDAY) - timedelta(hours=40)
    for late, in_time in ((timedelta(0), 1), (TICK, 0)):
        rows = [row(approved_at=approved, disbursed_at=approved + timedelta(hours=48) + late)]
        assert asked(ledger, "disbursed_48h", whole(MONDAY, credits=rows))[MONDAY, "all", "all"] == (in_time, 1)


def test_a_credit_still_waiting_after_48_hours_is_due_and_one_cancelled_before_is_not(ledger):
    approved = midnight(MONDAY) - timedelta(hours=40)
    rows = [
        row(approved_at=approved, status="pending"),
        row(approved_at=approved, status="cancelled", closed_at=approved + 47 * HOUR),
        row(approved_at=approved, status="cancelled", closed_at=approved + 49 * HOUR),
        row(approved_at=approved, status="cancelled"),
    ]
    assert asked(ledger, "disbursed_48h", whole(MONDAY, credits=rows))[MONDAY, "all", "all"] == (0, 2)


def test_other_days_are_cut_at_the_time_of_day_that_it_is_now(ledger):
    rows = [row(submitted_at=midnight(day) + hours * HOUR) for day in (MONDAY, TUESDAY) for hours in (9, 11, 12, 13)]
    scene = Scene(TUESDAY, (MONDAY, TUESDAY), midnight(TUESDAY) + 12 * HOUR, {"applications": rows})
    found = asked(ledger, "applications", scene)
    assert found[MONDAY, "all", "all"] == found[TUESDAY, "all", "all"] == (2,)


@pytest.mark.parametrize(
    ("name", "table", "moment", "status"),
    [
        ("applications", "applications", "submitted_at", "approved"),
        ("decisions", "applications", "decided_at", "approved"),
        ("disbursements", "credits", "disbursed_at", "active"),
        ("active_credits", "credits", "disbursed_at", "active"),
        ("payments", "payments", "processed_at", "succeeded"),
        ("scores", "hase_scores", "calculated_at", ""),
        ("integration_calls", "integration_calls", "called_at", "error"),
    ],
)
def test_what_happens_at_the_moment_of_the_cut_is_not_yet_counted(ledger, name, table, moment, status):
    cut = midnight(MONDAY) + 12 * HOUR
    for step, count in ((timedelta(0), 0), (-TICK, 1)):
        made = row(**{"submitted_at": LONG_AGO, "status": status, moment: cut + step})
        assert asked(ledger, name, Scene(MONDAY, (MONDAY,), cut, {table: [made]}))[MONDAY, "all", "all"][0] == count


def test_a_credit_closed_at_the_moment_of_the_cut_is_still_active_and_one_closed_before_is_not(ledger):
    end = midnight(TUESDAY)
    for step, count in ((timedelta(0), 1), (-TICK, 0)):
        rows = [row(disbursed_at=LONG_AGO, closed_at=end + step)]
        assert asked(ledger, "active_credits", whole(MONDAY, credits=rows))[MONDAY, "all", "all"][0] == count


def test_an_integration_tells_its_last_hour_its_day_and_its_last_failure(ledger):
    now = midnight(MONDAY) + 12 * HOUR
    rows = [
        row(called_at=now - timedelta(minutes=number), status="success", duration_ms=100) for number in range(1, 10)
    ]
    rows += [
        row(called_at=now - HOUR, status="timeout", duration_ms=1100),
        row(called_at=now - 2 * HOUR, status="error", error_code="E1", duration_ms=9000),
        row(called_at=midnight(MONDAY) - TICK, status="error", error_code="E0", duration_ms=9000),
        row(called_at=now, status="error", error_code="not yet", duration_ms=9000),
    ]
    found = asked(ledger, "integrations", Scene(MONDAY, (MONDAY,), now, {"integration_calls": rows}))
    # Of ten durations the 95th percentile lies at place 8.55 of 0 to 9: 100 + 0.55 * 1000.
    assert found == {("neon",): (10, 1, 650.0, 11, 2, now - timedelta(minutes=1), now - HOUR, "timeout")}


def test_money_adds_up_to_the_centavo_where_floats_do_not(ledger):
    noon = midnight(MONDAY) + 12 * HOUR
    rows = [row(disbursed_at=noon, principal=Decimal("0.10")) for _ in range(3)]
    rows.append(row(disbursed_at=noon, principal=Decimal("999999999999.99")))
    amount = asked(ledger, "disbursements", whole(MONDAY, credits=rows))[MONDAY, "all", "all"][1]
    assert isinstance(amount, Decimal)
    assert amount == Decimal("1000000000000.29")


# The same page by the metrics, on a real Prometheus. --------------------------------------------------------------

QUIET, CLEAN, FAILING, ABSENT = (date(2026, 3, 2 + number) for number in range(4))
STEP = 120
BUCKETS = {"0.1": 80, "0.3": 90, "0.5": 98, "1": 100, "+Inf": 100}


def openmetrics() -> str:
    """Three days of samples: one without traffic, one of 200s alone, one with a tenth of 500s; then nothing."""
    families: dict[str, list[str]] = defaultdict(list)
    starts = {day: int(midnight(day).timestamp()) for day in (QUIET, CLEAN, FAILING)}
    times = range(starts[QUIET], starts[FAILING] + 86400 + 1, STEP)

    def gauge(name: str, labels: str, value: float) -> None:
        families[f"# TYPE {name} gauge"] += [f"{name}{{{labels}}} {value} {at}" for at in times]

    def counter(family: str, kind: str, name: str, labels: str, step: float, since: date = CLEAN, born=QUIET) -> None:
        # From 1000 on, so that the extrapolation is not stopped by the zero.
        for at in times:
            if at >= starts[born]:
                value = 1000 + step * max(at - starts[since], 0) // STEP
                families[f"# TYPE {family} {kind}"].append(f"{name}{{{labels}}} {value} {at}")

    for replica, late, active in (("b-1", 40, 700), ("b-2", 38, 700)):
        gauge("payments_late_count", f'instance="{replica}",pod="p-{replica}"', late)
        gauge("credits_active_count", f'instance="{replica}",pod="p-{replica}"', active)
        counter("http_requests", "counter", "http_requests_total", f'instance="{replica}",status="200"', 9)
        counter(
            *("http_requests", "counter", "http_requests_total", f'instance="{replica}",status="500"', 1),
            since=FAILING,
            born=FAILING,
        )
        for le, share in BUCKETS.items():
            counter(
                *("http_request_duration_seconds", "histogram", "http_request_duration_seconds_bucket"),
                *(f'instance="{replica}",le="{le}"', share),
            )
    counter("applications_submitted", "counter", "applications_submitted_total", "", 10)
    counter("applications_approved", "counter", "applications_approved_total", "", 3)
    counter("applications_rejected", "counter", "applications_rejected_total", "", 5, since=FAILING, born=FAILING)
    counter("payments_processed", "counter", "payments_processed_total", 'status="failed"', 1)
    counter("payments_processed", "counter", "payments_processed_total", 'status="pending"', 7)
    counter(
        "payments_processed",
        "counter",
        "payments_processed_total",
        'status="succeeded"',
        4,
        since=FAILING,
        born=FAILING,
    )
    blocks = [line for head, lines in families.items() for line in (head, *lines)]
    return "\n".join([*blocks, "# EOF", ""])


@pytest.fixture(scope="module")
def metrics_of(prometheus_server):
    url = prometheus_server(openmetrics())

    def ask(name: str) -> dict[date, float]:
        queries.connect(Sources(prometheus=Prometheus(url), scrape_interval=STEP))
        days = (QUIET, CLEAN, FAILING, ABSENT)
        frame = queries.metrics(f"today/{name}", {"day": ABSENT, "days": days, "as_of": midnight(ABSENT) + LATER})
        return {day.date(): value for day, value in zip(frame["day"], frame["value"], strict=True)}

    yield ask
    queries.disconnect()


@pytest.mark.parametrize(("name", "value"), [("late_installments", 40), ("active_credits", 700)])
def test_two_replicas_do_not_double_a_gauge(metrics_of, name, value):
    found = metrics_of(name)
    assert [found[day] for day in (QUIET, CLEAN, FAILING)] == [value] * 3


def test_the_p95_is_interpolated_within_its_bucket_and_a_quiet_day_has_none(metrics_of):
    found = metrics_of("api_p95")
    # The 95th of 100 is the fifth of the eight between 0.3 and 0.5 seconds.
    assert found == {CLEAN: pytest.approx(0.3 + 0.2 * 5 / 8, abs=1e-3), FAILING: pytest.approx(0.425, abs=1e-3)}


def test_the_error_rate_is_unknown_without_traffic_and_zero_with_traffic_and_no_5xx(metrics_of):
    found = metrics_of("api_error_rate")
    assert set(found) == {CLEAN, FAILING}
    assert found[CLEAN] == 0
    assert found[FAILING] == pytest.approx(0.1, rel=0.01)


def test_the_approval_rate_is_approved_over_approved_and_rejected(metrics_of):
    found = metrics_of("approval_rate")
    assert found[FAILING] == pytest.approx(3 / 8, rel=0.01)
    assert {QUIET, ABSENT}.isdisjoint(found)


def test_the_approval_rate_of_a_day_without_a_rejection_is_one(metrics_of):
    assert metrics_of("approval_rate")[CLEAN] == 1


def test_payment_success_leaves_out_what_has_not_ended_and_is_zero_when_all_failed(metrics_of):
    found = metrics_of("payment_success")
    assert found[FAILING] == pytest.approx(4 / 5, rel=0.01)
    assert found[CLEAN] == 0
    assert {QUIET, ABSENT}.isdisjoint(found)


def test_a_count_by_the_metrics_is_about_the_count(metrics_of):
    found = metrics_of("applications")
    assert found[CLEAN] == pytest.approx(10 * 86400 / STEP, rel=0.01)
    assert found[QUIET] == 0
    assert ABSENT not in found
