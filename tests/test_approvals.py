"""The Approvals page: its numbers against the same ones worked out from raw rows, and the page as it is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from queries import Prometheus, Sources, approvals, sources
from queries.statistics import difference_of_shares, wilson
from tests.dashboard import chromium, chromium_path, serve, viewer

ZONE = ZoneInfo("America/Mexico_City")
PAGE = Path(__file__).resolve().parent.parent / "pages" / "approvals.py"
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DECIDED = ("approved", "rejected")
RAW = "submitted weekday hour decided tier band status reason amount principal took row"
TABLES = {
    "applications": (
        "application_id conductor_id submitted_at amount_requested hase_score sinosure_tier status decided_at"
        " rejection_reason updated_at"
    ),
    "credits": (
        "credit_id application_id conductor_id sinosure_tier principal approved_at disbursed_at disbursement_status"
        " status closed_at updated_at"
    ),
    "hase_scores": "score_id application_id conductor_id score model_version calculated_at",
}


# Rows as a test writes them. ------------------------------------------------------------------------------------------


@dataclass
class Application:
    """An application with its scores and credits; moments are aware."""

    submitted_at: datetime
    amount: Decimal = Decimal("1000.00")
    score: int | None = 70
    tier: str | None = "A"
    status: str = "pending"
    decided_at: datetime | None = None
    reason: str | None = None
    scored_at: list[datetime] = field(default_factory=list)
    credits: list[tuple[Decimal, datetime | None]] = field(default_factory=list)

    @property
    def band(self) -> int:
        return -1 if self.score is None else min(self.score // 10 * 10, 90)

    @property
    def principal(self) -> Decimal:
        return sum((principal for principal, _ in self.credits), Decimal(0))

    @property
    def disbursed_at(self) -> datetime | None:
        return min((moment for _, moment in self.credits if moment is not None), default=None)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


def day_of(moment: datetime) -> date:
    return moment.astimezone(ZONE).date()


def raw(rows: list[Application]) -> pd.DataFrame:
    """The rows as the reference sees them: one line an application, days by zoneinfo, null tiers and reasons as ''."""
    return pd.DataFrame(
        [
            {
                "submitted": day_of(one.submitted_at),
                "weekday": one.submitted_at.astimezone(ZONE).isoweekday(),
                "hour": one.submitted_at.astimezone(ZONE).hour,
                "decided": one.decided_at and day_of(one.decided_at),
                "tier": one.tier or "",
                "band": one.band,
                "status": one.status,
                "reason": one.reason or "",
                "amount": one.amount,
                "principal": one.principal,
                "took": one.decided_at and (one.decided_at - one.submitted_at).total_seconds(),
                "row": one,
            }
            for one in rows
        ],
        columns=RAW.split(),
    )


def between(frame: pd.DataFrame, moment: str, first: date, last: date) -> pd.DataFrame:
    """The rows whose day `moment` is one of these; a row without that day is none of them."""
    return frame[np.array([day is not None and first <= day <= last for day in frame[moment]], dtype=bool)]


class Ledger:
    """The ledger as a test fills and asks it."""

    def __init__(self, owner: Any, reader: str) -> None:
        self.owner = owner
        self.reader = reader

    def fill(self, rows: list[Application]) -> None:
        queries.connect(Sources(ledger_url=self.reader))
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate " + ", ".join(f"bi.{table}" for table in TABLES))
        lines: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        for number, one in enumerate(rows):
            at = one.submitted_at
            lines["applications"].append(
                (f"a{number}", "d", at, one.amount, one.score, one.tier, one.status, one.decided_at, one.reason, at)
            )
            for moment in one.scored_at:
                lines["hase_scores"].append((len(lines["hase_scores"]), f"a{number}", "d", 50, "v1", moment))
            for principal, moment in one.credits:
                name = f"k{len(lines['credits'])}"
                lines["credits"].append(
                    (name, f"a{number}", "d", one.tier or "", principal, at, moment, "sent", "active", None, at)
                )
        for table, members in lines.items():
            with cursor.copy(f"copy bi.{table} ({', '.join(TABLES[table].split())}) from stdin") as into:
                for line in members:
                    into.write_row(line)
        self.owner.commit()
        sources._connected().cache.forget()

    def ask(self, name: str, **params: Any) -> pd.DataFrame:
        return queries.ledger(name, params)


@pytest.fixture(scope="module")
def ledger(module_ledger_url) -> Iterator[Ledger]:
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    yield Ledger(owner, module_ledger_url.reader)
    queries.disconnect()
    owner.close()
    engine.dispose()


# Random scenes. -------------------------------------------------------------------------------------------------------

# The clocks went forward on 3 April 2022 and back on 30 October 2022; a leap day; the turn of months and of a year.
STARTS = st.sampled_from(
    [date(2022, 4, 2), date(2022, 10, 29), date(2024, 2, 28), date(2024, 2, 29), date(2025, 12, 30), date(2026, 1, 31)]
)
MONEY = st.integers(0, 50_000_000).map(lambda cents: Decimal(cents) / 100)
TIERS = st.sampled_from([None, "AAA", "B", "", "a tier nobody knows"])
SPANS = st.one_of(
    st.sampled_from([timedelta(0), TICK, timedelta(seconds=1), timedelta(seconds=2), HOUR, DAY, -HOUR]),
    st.integers(0, 10 * 86_400 * 1000).map(lambda ms: timedelta(milliseconds=ms)),
)


@dataclass
class Scene:
    first: date
    last: date
    tiers: tuple[str, ...]
    bands: tuple[int, ...]
    rows: list[Application]

    @property
    def params(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last, "tiers": self.tiers, "bands": self.bands}

    def chosen(self) -> pd.DataFrame:
        frame = raw(self.rows)
        if self.tiers:
            frame = frame[frame["tier"].isin(self.tiers)]
        return frame[frame["band"].isin(self.bands)] if self.bands else frame

    def by(self, moment: str) -> pd.DataFrame:
        return between(self.chosen(), moment, self.first, self.last)


@st.composite
def scenes(draw: Callable[..., Any], *, consistent: bool = False) -> Scene:
    first = draw(STARTS)
    last = first + timedelta(days=draw(st.integers(0, 40)))
    edges = [midnight(first), midnight(last + DAY), midnight(first + DAY)]
    near = st.sampled_from([-TICK, timedelta(0), TICK, HOUR]) | st.integers(-3 * 86_400, 40 * 86_400).map(
        lambda seconds: timedelta(seconds=seconds)
    )
    submitted = st.builds(lambda edge, step: edge + step, st.sampled_from(edges), near)

    @st.composite
    def application(draw: Callable[..., Any]) -> Application:
        at = draw(submitted)
        status = draw(st.sampled_from(["approved", "approved", "rejected", "pending", "withdrawn", "no such status"]))
        decided = at + draw(SPANS) if draw(st.booleans()) else None
        if consistent:
            decided = at + abs(draw(SPANS)) if status in DECIDED else None
        return Application(
            submitted_at=at,
            amount=draw(MONEY),
            score=draw(st.none() | st.sampled_from([0, 9, 10, 60, 69, 90, 100])),
            tier=draw(TIERS),
            status=status,
            decided_at=decided,
            reason=draw(st.sampled_from([None, "low_hase_score", "a reason nobody knows", ""])),
            scored_at=[at + span for span in draw(st.lists(SPANS, max_size=2))],
            credits=draw(
                st.lists(st.tuples(MONEY, st.none() | SPANS.map(lambda span: at + span)), max_size=1)
                | st.lists(st.tuples(MONEY, st.none() | SPANS.map(lambda span: at + span)), max_size=2)
            ),
        )

    return Scene(
        first,
        last,
        tuple(draw(st.sets(st.sampled_from(["AAA", "B", ""]), max_size=2))),
        tuple(draw(st.sets(st.sampled_from([-1, 0, 60, 90]), max_size=2))),
        draw(st.lists(application(), max_size=12)),
    )


def plain(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return value.item() if isinstance(value, np.generic) else value


def as_dict(frame: pd.DataFrame, *keys: str) -> dict[Any, tuple[Any, ...]]:
    rest = [name for name in frame.columns if name not in keys]
    found = {
        tuple(plain(line[key]) for key in keys): tuple(plain(line[name]) for name in rest)
        for _, line in frame.iterrows()
    }
    assert len(found) == len(frame), "a segment came twice"
    return found


def money(values: Any) -> Decimal:
    return sum(values, Decimal(0))


def bucket(seconds: float) -> int:
    return math.floor(8 * math.log2(max(seconds, 1)) + 1e-9)


# Each question against the rows. --------------------------------------------------------------------------------------


def counted(rows: pd.DataFrame) -> tuple[int, int, int]:
    approved, rejected = (int((rows["status"] == status).sum()) for status in DECIDED)
    return approved, rejected, approved + rejected


def by_day(scene: Scene) -> dict:
    rows = scene.by("decided")
    rows = rows[rows["status"].isin(DECIDED)]
    return {
        (day,): (*counted(part), money(part.loc[part["status"] == "approved", "principal"]))
        for day, part in rows.groupby("decided")
    }


def by_segment(scene: Scene, segment: str) -> dict:
    rows = scene.by("decided")
    rows = rows[rows["status"].isin(DECIDED)]
    return {
        (name,): (
            *counted(part),
            money(part.loc[part["status"] == "approved", "amount"]),
            money(part.loc[part["status"] == "approved", "principal"]),
        )
        for name, part in rows.groupby(segment)
    }


def cohorts(scene: Scene) -> dict:
    return {key: (len(part),) for key, part in scene.by("submitted").groupby(["submitted", "status"])}


def reasons(scene: Scene) -> dict:
    rows = scene.by("decided")
    return {(key,): (len(part),) for key, part in rows[rows["status"] == "rejected"].groupby("reason")}


def hours(scene: Scene) -> dict:
    found = {}
    for key, part in scene.by("submitted").groupby(["weekday", "hour"]):
        approved, _, decided = counted(part)
        found[key] = (len(part), approved, decided)
    return found


def decision_times(scene: Scene) -> dict:
    rows = scene.by("decided").assign(bucket=lambda frame: [bucket(took) for took in frame["took"]])
    return {key: (len(part),) for key, part in rows.groupby(["decided", "bucket"])}


def taken(scene: Scene) -> dict[str, tuple[int, list[float]]]:
    """For each step how many reached it, and the seconds since the step before of those with a time."""
    rows: list[Application] = list(scene.by("submitted")["row"])
    times: dict[str, list[float]] = {"submitted": [], "scored": [], "approved": [], "disbursed": []}
    for one in rows:
        scored = min(one.scored_at, default=None)
        if scored:
            times["scored"].append((scored - one.submitted_at).total_seconds())
        if one.decided_at and one.status == "approved":
            times["approved"].append((one.decided_at - (scored or one.submitted_at)).total_seconds())
        if one.disbursed_at:
            since = one.decided_at or scored or one.submitted_at
            times["disbursed"].append((one.disbursed_at - since).total_seconds())
    counts = {step: len(seconds) for step, seconds in times.items()}
    counts |= {"submitted": len(rows), "approved": sum(one.status == "approved" for one in rows)}
    return {step: (counts[step], times[step]) for step in times}


def steps(scene: Scene) -> dict:
    found: dict[Any, tuple[int]] = {}
    for step, (count, seconds) in taken(scene).items():
        if count or step in {"submitted", "approved"}:
            found[step, None] = (count,)
        for one in map(bucket, seconds):
            found[step, one] = (found.get((step, one), (0,))[0] + 1,)
    return found


QUESTIONS: dict[str, tuple[Callable[[Scene], dict], tuple[str, ...]]] = {
    "by_day": (by_day, ("day",)),
    "by_tier": (lambda scene: by_segment(scene, "tier"), ("tier",)),
    "by_band": (lambda scene: by_segment(scene, "band"), ("band",)),
    "cohorts": (cohorts, ("day", "status")),
    "reasons": (reasons, ("reason",)),
    "hours": (hours, ("weekday", "hour")),
    "decision_times": (decision_times, ("day", "bucket")),
    "steps": (steps, ("step", "bucket")),
}
RANDOM = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
# What is made of an answer in pandas takes longer than the answer.
FEW = settings(RANDOM, max_examples=10)


def test_each_question_of_the_page_has_a_reference():
    names = {query.name for query in queries.load_queries() if query.name.startswith("approvals/")}
    assert {name.removeprefix("approvals/") for name in names} == {*QUESTIONS, "pending", "tiers", "last_hour"}


@RANDOM
@given(scene=scenes())
def test_every_question_agrees_with_the_rows(ledger, scene):
    ledger.fill(scene.rows)
    for name, (reference, keys) in QUESTIONS.items():
        assert as_dict(ledger.ask(f"approvals/{name}", **scene.params), *keys) == reference(scene), name
    tiers = ledger.ask("approvals/tiers")["tier"].tolist()
    assert tiers == sorted({one.tier or "" for one in scene.rows})


@RANDOM
@given(scene=scenes(consistent=True))
def test_pending_at_the_end_of_a_day_is_what_was_submitted_and_not_decided_by_then(ledger, scene):
    ledger.fill(scene.rows)
    rows = scene.chosen()
    expected = sum(
        one.submitted <= scene.last
        and (one.status == "pending" or (one.status in DECIDED and one.decided > scene.last))
        for one in rows.itertuples()
    )
    assert ledger.ask("approvals/pending", **scene.params)["pending"].tolist() == [expected]


@RANDOM
@given(scene=scenes())
def test_the_rows_behind_a_mark_are_as_many_as_it_says(ledger, scene):
    ledger.fill(scene.rows)
    shared = scene.params
    ask = ledger.ask

    for one in ask("approvals/by_day", **shared).itertuples():
        day = {"first": one.day, "last": one.day}
        assert len(ask("rows/decisions", **{**shared, **day, "statuses": DECIDED})) == one.decided
    for one in ask("approvals/by_band", **shared).itertuples():
        assert len(ask("rows/decisions", **shared, statuses=DECIDED, band=one.band)) == one.decided
        assert len(ask("rows/decisions", **shared, status="approved", band=one.band)) == one.approved
    for one in ask("approvals/by_tier", **shared).itertuples():
        assert len(ask("rows/decisions", **shared, statuses=DECIDED, tier=one.tier)) == one.decided
    for one in ask("approvals/reasons", **shared).itertuples():
        assert len(ask("rows/decisions", **shared, status="rejected", reason=one.reason)) == one.n
    for one in ask("approvals/cohorts", **shared).itertuples():
        day = {"first": one.day, "last": one.day}
        assert len(ask("rows/applications", **{**shared, **day, "status": one.status})) == one.n
    for one in ask("approvals/hours", **shared).itertuples():
        cell = {"weekday": one.weekday, "hour": one.hour}
        assert len(ask("rows/applications", **shared, **cell)) == one.submitted
        assert len(ask("rows/applications", **shared, **cell, statuses=DECIDED)) == one.decided
    for one in approvals.funnel(ask("approvals/steps", **shared)).itertuples():
        assert len(ask("rows/applications", **shared, step=one.step)) == one.n


# What the page makes of the answers. ----------------------------------------------------------------------------------


@FEW
@given(scene=scenes(), grain=st.sampled_from(["day", "week", "month"]))
def test_bins_hold_their_days_and_their_rates(ledger, scene, grain):
    ledger.fill(scene.rows)
    found = approvals.approval_rate(
        approvals.fold(ledger.ask("approvals/by_day", **scene.params), grain, scene.first, scene.last)
    )
    rows = scene.by("decided")
    days = [scene.first + timedelta(days=n) for n in range((scene.last - scene.first).days + 1)]
    assert [day for one in found.itertuples() for day in pd.date_range(one.first, one.last).date] == days
    starts = {
        "day": lambda day: day,
        "week": lambda day: day - timedelta(days=day.weekday()),
        "month": lambda day: day.replace(day=1),
    }
    for one in found.itertuples():
        assert one.day.date() == starts[grain](one.first.date()) == starts[grain](one.last.date())
        part = between(rows, "decided", one.first.date(), one.last.date())
        approved, rejected, decided = counted(part)
        assert (one.approved, one.rejected, one.decided) == (approved, rejected, decided)
        assert one.principal == money(part.loc[part["status"] == "approved", "principal"])
        assert plain(one.approval_rate) == (pytest.approx(approved / decided) if decided else None)
        low, high = wilson(approved, decided)
        assert (plain(one.low), plain(one.high)) == (plain(float(low[0])), plain(float(high[0])))


@FEW
@given(scene=scenes(), grain=st.sampled_from(["day", "week", "month"]))
def test_the_bounds_of_times_hold_the_times_from_the_rows(ledger, scene, grain):
    ledger.fill(scene.rows)
    frame = ledger.ask("approvals/decision_times", **scene.params)
    rows = scene.by("decided")

    def holds(one: Any, seconds: Any, q: float) -> None:
        if not len(seconds):
            assert math.isnan(one[0])
            return
        exact = np.quantile(np.maximum(np.array(seconds, float), 0), q, method="inverted_cdf")
        assert one[0] * (1 - 1e-9) <= exact < one[2] * (1 + 1e-9)
        assert one[0] <= one[1] <= one[2]

    for one in approvals.decision_times(frame, grain, scene.first, scene.last).itertuples():
        part = between(rows, "decided", one.first.date(), one.last.date())
        assert one.decisions == len(part)
        holds((one.low, one.seconds, one.high), part["took"], float(one.quantile[1:]) / 100)
    whole = ledger.ask("approvals/decision_times", **scene.params, by_day=False)
    assert whole["day"].isna().all()
    assert whole["bucket"].is_unique
    for one in (frame, whole):
        holds(approvals.median_seconds(one), rows["took"], 0.5)
    for one in approvals.funnel(ledger.ask("approvals/steps", **scene.params)).itertuples():
        count, seconds = taken(scene)[one.step]
        assert one.n == count
        assert plain(one.share) == (pytest.approx(count / len(scene.by("submitted"))) if one.n else plain(one.share))
        holds((one.low, one.about, one.high), seconds, 0.5)


@FEW
@given(scene=scenes(), grain=st.sampled_from(["day", "week", "month"]))
def test_the_shares_of_a_cohort_are_its_rows_and_add_up_to_one(ledger, scene, grain):
    ledger.fill(scene.rows)
    frame = ledger.ask("approvals/cohorts", **scene.params)
    found = approvals.cohorts(approvals.fold(frame, grain, scene.first, scene.last, by=["status"]))
    rows = scene.by("submitted")
    for one in found.itertuples():
        cohort = between(rows, "submitted", one.first.date(), one.last.date())
        assert one.submitted == len(cohort)
        assert one.share == pytest.approx((cohort["status"] == one.status).sum() / len(cohort))
    assert found.groupby("day")["share"].sum().tolist() == pytest.approx([1.0] * found["day"].nunique())
    assert found["n"].sum() == len(rows)


@FEW
@given(now=scenes(), then=scenes(), by=st.sampled_from(["tier", "band"]))
def test_contributions_add_up_to_the_change_of_the_whole_rate(ledger, now, then, by):
    frames = []
    for scene in (now, then):
        ledger.fill(scene.rows)
        frames.append(ledger.ask(f"approvals/by_{by}", **scene.params))
    found = approvals.contributions(*frames, by)
    (a, _, n), (a0, _, n0) = (counted(scene.by("decided")) for scene in (now, then))
    if not n or not n0:
        assert found.empty
        return
    assert found["contribution"].sum() == pytest.approx(a / n - a0 / n0)
    assert found["share"].sum() == pytest.approx(1)
    said = approvals.verdict(*frames, 0.3)
    assert (said.approved, said.decided) == (a, n)
    assert said.change == pytest.approx(a / n - a0 / n0)
    assert (said.change_low, said.change_high) == difference_of_shares(a, n, a0, n0)


@FEW
@given(scene=scenes())
def test_the_ratio_of_amounts_is_principal_over_requested(ledger, scene):
    ledger.fill(scene.rows)
    found = approvals.amounts(ledger.ask("approvals/by_tier", **scene.params))
    rows = scene.by("decided")
    for one in found.itertuples():
        part = rows[(rows["status"] == "approved") & (rows["tier"] == one.tier)]
        requested = money(part["amount"])
        expected = float(money(part["principal"]) / requested) if requested else None
        assert plain(one.ratio) == (expected if expected is None else pytest.approx(expected))
    parts = approvals.amounts_stacked(ledger.ask("approvals/by_tier", **scene.params), "tier")
    approved = rows[rows["status"] == "approved"]
    assert money(parts.loc[parts["part"] == "granted", "mxn"]) == money(approved["principal"])
    assert money(parts["mxn"]) == money(approved["amount"])


# By hand. -------------------------------------------------------------------------------------------------------------

FEBRUARY = {"first": date(2024, 2, 1), "last": date(2024, 2, 29), "tiers": (), "bands": ()}
LEAP = date(2024, 2, 29)


def test_an_empty_ledger_gives_empty_answers_and_unknown_rates(ledger):
    ledger.fill([])
    for name, (reference, keys) in QUESTIONS.items():
        assert as_dict(ledger.ask(f"approvals/{name}", **FEBRUARY), *keys) == reference(
            Scene(FEBRUARY["first"], FEBRUARY["last"], (), (), [])
        )
    assert ledger.ask("approvals/pending", **FEBRUARY)["pending"].tolist() == [0]
    days = approvals.approval_rate(
        approvals.fold(ledger.ask("approvals/by_day", **FEBRUARY), "day", FEBRUARY["first"], FEBRUARY["last"])
    )
    assert len(days) == 29
    assert days["approval_rate"].isna().all()
    assert days["decided"].sum() == 0
    assert approvals.cohorts(ledger.ask("approvals/cohorts", **FEBRUARY)).empty
    assert approvals.funnel(ledger.ask("approvals/steps", **FEBRUARY))["n"].tolist() == [0, 0, 0, 0]
    assert len(approvals.hours(ledger.ask("approvals/hours", **FEBRUARY))) == 168
    assert approvals.verdict(days, None, 0.3).level == "unknown"


def test_a_decision_on_the_last_moment_of_29_february_is_not_of_march(ledger):
    end = midnight(LEAP + DAY)
    rows = [
        Application(end - 2 * DAY, status="approved", decided_at=end - TICK),
        Application(end - 2 * DAY, status="approved", decided_at=end),
    ]
    ledger.fill(rows)
    assert ledger.ask("approvals/by_day", **FEBRUARY)["decided"].tolist() == [1]
    march = {**FEBRUARY, "first": LEAP + DAY, "last": LEAP + DAY}
    assert ledger.ask("approvals/by_day", **march)["decided"].tolist() == [1]


def test_an_application_decided_the_next_day_never_makes_a_rate_over_one(ledger):
    """The seed's rate, approved of today over submitted today, is 2 here."""
    day = midnight(LEAP)
    ledger.fill(
        [
            Application(day - HOUR, status="approved", decided_at=day + HOUR),
            Application(day - HOUR, status="approved", decided_at=day + HOUR),
            Application(day + HOUR),
        ]
    )
    found = approvals.approval_rate(ledger.ask("approvals/by_day", **{**FEBRUARY, "first": LEAP}))
    assert found["approval_rate"].tolist() == [1.0]
    shares = approvals.cohorts(ledger.ask("approvals/cohorts", **{**FEBRUARY, "first": LEAP}))
    assert shares.loc[shares["n"] > 0, ["status", "share"]].to_numpy().tolist() == [["pending", 1.0]]


def test_a_young_cohort_shows_what_is_pending_and_an_unknown_status_its_own_name(ledger):
    day = midnight(LEAP) + HOUR
    ledger.fill(
        [
            Application(day),
            Application(day, status="approved", decided_at=day + HOUR),
            Application(day, status="withdrawn"),
            Application(day, status="on hold"),
        ]
    )
    found = approvals.cohorts(ledger.ask("approvals/cohorts", **FEBRUARY))
    assert found["status"].tolist() == ["approved", "withdrawn", "pending", "rejected", "on hold"]
    assert found["share"].tolist() == [0.25, 0.25, 0.25, 0, 0.25]
    assert approvals.statuses(found) == found["status"].tolist()


def test_an_hour_with_a_handful_of_decisions_has_no_rate(ledger):
    """Four of four would be the darkest cell of the week, by chance."""
    day = midnight(LEAP)
    late, early = day + 9 * HOUR, day + 8 * HOUR
    ledger.fill(
        [Application(late, status="approved", decided_at=late + HOUR) for _ in range(5)]
        + [Application(early, status="approved", decided_at=late) for _ in range(4)]
    )
    found = approvals.hours(ledger.ask("approvals/hours", **FEBRUARY)).set_index(["weekday", "hour"])
    assert found.loc[(4, 9), "approval_rate"] == 1
    assert math.isnan(found.loc[(4, 8), "approval_rate"])
    assert found.loc[(4, 8), "submitted"] == 4
    assert found["submitted"].sum() == 9


def test_an_application_that_is_scored_again_counts_its_first_score(ledger):
    day = midnight(LEAP)
    rows = [Application(day, scored_at=[day + HOUR, day + timedelta(seconds=16)])]
    ledger.fill(rows)
    found = approvals.funnel(ledger.ask("approvals/steps", **FEBRUARY)).set_index("step")
    assert found.loc["scored", "n"] == 1
    assert found.loc["scored", "low"] <= 16 < found.loc["scored", "high"]


def test_applications_of_the_future_are_outside_a_period_that_ends_before_them(ledger):
    ahead = midnight(LEAP + 3 * DAY)
    ledger.fill([Application(ahead), Application(ahead, status="approved", decided_at=ahead + HOUR)])
    assert ledger.ask("approvals/cohorts", **FEBRUARY).empty
    assert ledger.ask("approvals/by_day", **FEBRUARY).empty
    assert ledger.ask("approvals/pending", **FEBRUARY)["pending"].tolist() == [0]


def test_a_segment_that_is_new_or_gone_is_compared_with_the_whole():
    now = pd.DataFrame({"tier": ["A", "new"], "approved": [5, 5], "decided": [10, 10]})
    then = pd.DataFrame({"tier": ["A", "gone"], "approved": [5, 10], "decided": [10, 10]})
    found = approvals.contributions(now, then, "tier").set_index("tier")
    assert found.loc["A", "contribution"] == pytest.approx(0)
    assert found.loc["new", ["rate_effect", "mix_effect"]].tolist() == pytest.approx([0.5 * (0.5 - 0.75), 0])
    assert found.loc["gone", ["rate_effect", "mix_effect"]].tolist() == pytest.approx([0, -0.5 * (1 - 0.75)])


def test_a_rate_that_chance_explains_has_not_changed_and_one_row_proves_nothing():
    def counts(approved: int, decided: int) -> pd.DataFrame:
        return pd.DataFrame({"approved": [approved], "decided": [decided]})

    assert approvals.verdict(counts(1, 1), None, 0.3).level == "unclear"
    assert approvals.verdict(counts(600, 1000), counts(590, 1000), 0.3).changed is False
    assert approvals.verdict(counts(600, 1000), counts(500, 1000), 0.3).changed is True
    assert approvals.verdict(counts(600, 1000), None, 0.3).level == "above"
    assert approvals.verdict(counts(100, 1000), None, 0.3).level == "below"
    assert approvals.verdict(counts(300, 1000), None, 0.3).level == "unclear"
    assert math.isnan(approvals.verdict(counts(300, 1000), counts(0, 0), 0.3).change)


@pytest.mark.parametrize("band", [*range(0, 100, 10), -1])
def test_the_name_of_a_band_leads_back_to_it(band):
    assert approvals.bands_named([approvals.band_name(band)]) == (band,)


@pytest.mark.parametrize(("days", "grain"), [(1, "day"), (62, "day"), (63, "week"), (366, "week"), (367, "month")])
def test_a_long_period_is_shown_in_coarser_bins(days, grain):
    first = date(2024, 1, 1)
    assert approvals.grain_for(first, first + timedelta(days=days - 1)) == grain


# The live hour. -------------------------------------------------------------------------------------------------------

SPACING = 60
BASE = int(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp())


def openmetrics(*, approved: int, rejected: int, minutes: int) -> str:
    """Counters of two replicas that grow by as many decisions a minute."""
    lines = []
    for name, step in (("approved", approved), ("rejected", rejected)):
        lines.append(f"# TYPE applications_{name} counter")
        for pod in "ab":
            series = f'applications_{name}_total{{pod="{pod}"}}'
            lines += [f"{series} {n * step} {BASE + n * SPACING}" for n in range(minutes)]
    return "\n".join([*lines, "# EOF", ""])


def test_the_live_hour_is_about_the_decisions_of_the_hour_before(prometheus_server):
    queries.connect(
        Sources(
            prometheus=Prometheus(prometheus_server(openmetrics(approved=3, rejected=1, minutes=181))),
            scrape_interval=SPACING,
        )
    )
    end = datetime.fromtimestamp(BASE + 180 * SPACING, UTC)
    try:
        found = approvals.live_rate(queries.metrics("approvals/last_hour", {"start": end - 2 * HOUR, "end": end}))
        early = approvals.live_rate(
            queries.metrics("approvals/last_hour", {"start": end - 20 * HOUR, "end": end - 10 * HOUR})
        )
    finally:
        queries.disconnect()
    assert found["approval_rate"].iloc[-1] == pytest.approx(0.75)
    assert found["decided"].iloc[-1] == pytest.approx(2 * 60 * 4, rel=0.02)
    assert found["approved"].iloc[-1] == pytest.approx(2 * 60 * 3, rel=0.02)
    assert early.empty


def test_a_live_hour_without_decisions_has_no_rate_and_without_rejections_is_one():
    times = pd.to_datetime(["2026-03-02T06:00Z", "2026-03-02T07:00Z"])
    frame = pd.DataFrame({"time": times.repeat(2), "outcome": ["approved", "rejected"] * 2, "value": [0.0, 0, 4, 0]})
    found = approvals.live_rate(frame)
    assert math.isnan(found["approval_rate"].iloc[0])
    assert found["approval_rate"].iloc[1] == 1
    assert approvals.live_rate(frame[frame["outcome"] == "approved"])["approval_rate"].iloc[1] == 1


# The page as it is drawn. ---------------------------------------------------------------------------------------------

NOON = 12 * HOUR


def drawn(**asked: str) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_file(str(PAGE), default_timeout=30)
    # All sections at once, unless one is asked for.
    for name, value in {"section": "all", **asked}.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.title])


@pytest.fixture
def filled(ledger) -> date:
    """Of 100 applications of three days ago 60 are decided, 40 of them approved; of 40 of the month before, 20."""
    today = datetime.now(ZONE).date()
    now, before = midnight(today - 3 * DAY) + NOON, midnight(today - 40 * DAY) + NOON
    rows = [
        Application(
            now,
            tier=tier,
            status=status,
            decided_at=now + HOUR if status in DECIDED else None,
            reason="low_hase_score" if status == "rejected" else None,
            scored_at=[now + timedelta(seconds=16)],
            credits=[(Decimal("900.00"), now + DAY)] if status == "approved" else [],
        )
        for status, tier, count in (
            ("approved", "A", 30),
            ("approved", "B", 10),
            ("rejected", "B", 20),
            ("pending", "A", 30),
            ("withdrawn", None, 10),
        )
        for _ in range(count)
    ]
    rows += [
        Application(before, tier="B", status=status, decided_at=before + HOUR)
        for status in ("approved", "rejected")
        for _ in range(20)
    ]
    ledger.fill(rows)
    return today


def test_the_page_says_first_whether_approvals_are_fine_and_what_moved(filled):
    app = drawn()
    assert not app.exception
    said = words(app)
    assert "Fine: **66.7 %** approved, above the threshold of 30 %" in said
    assert "40 of 60 decided" in said
    assert re.search(r"\+16\.7 pp.*against 50\.0 %", said)
    assert "no more than chance makes" in said


def test_a_rate_below_the_threshold_is_told_with_who_made_it(ledger):
    today = datetime.now(ZONE).date()
    now, before = midnight(today - 3 * DAY) + NOON, midnight(today - 40 * DAY) + NOON

    def batch(at: datetime, tier: str, approved: int, rejected: int) -> list[Application]:
        statuses = ["approved"] * approved + ["rejected"] * rejected
        return [Application(at, tier=tier, status=status, decided_at=at + HOUR) for status in statuses]

    ledger.fill(
        batch(now, "A", 40, 60) + batch(now, "B", 5, 195) + batch(before, "A", 40, 60) + batch(before, "B", 120, 80)
    )
    said = words(drawn())
    assert "Too low: **15.0 %** approved, below the threshold of 30 %" in said
    assert "**-38.3 pp** against 53.3 % in the compared period: more than chance makes. Most of it from tier B" in said


def test_the_filters_of_the_link_are_those_of_every_panel(filled):
    app = drawn(tiers="B")
    assert not app.exception
    assert "10 of 30 decided" in words(app)
    app = drawn(period="custom", **{"from": str(filled - 2 * DAY), "to": str(filled)})
    assert not app.exception
    assert "Nothing was decided in this period." in words(app)
    app = drawn(compare="none", band="70-79")
    assert not app.exception
    assert "40 of 60 decided" in words(app)
    assert "Nothing is compared" in words(app)


def test_without_prometheus_the_live_hour_is_one_quiet_line_and_nothing_else_is_missing(filled):
    app = drawn()
    said = words(app)
    assert said.count("MIRADOR_PROMETHEUS_URL") == 1
    assert "cannot be reached" not in said


def test_an_empty_ledger_draws_a_page_without_an_error(ledger):
    ledger.fill([])
    app = drawn()
    assert not app.exception
    assert "Nothing was decided in this period." in words(app)
    assert "No data for this choice" in words(app)


def test_one_application_draws_the_page(ledger):
    at = midnight(datetime.now(ZONE).date() - DAY)
    ledger.fill([Application(at, tier=None, score=None, status="approved", decided_at=at + TICK)])
    app = drawn()
    assert not app.exception
    assert "Near the threshold of 30 %: **100.0 %** approved, too few decisions to tell." in words(app)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_bar_opens_its_decisions_and_a_row_its_credit(filled, module_ledger_url, server_dir):
    env = {"MIRADOR_LEDGER_URL": module_ledger_url.reader, "MIRADOR_LANGUAGE": "en"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        # Wide enough for every column of the list.
        viewer(browser, locale="en-US", viewport={"width": 2400, "height": 1300}) as window,
    ):
        window.open(f"{dashboard.url}/approvals?section=segments")
        chart = window.page.locator(".st-key-panel-amounts").locator("canvas, svg.marks").first
        chart.scroll_into_view_if_needed()
        size = chart.bounding_box()
        assert size is not None
        # Two bars: A with 30 approved, B with 10.
        chart.click(position={"x": size["width"] * 0.3, "y": size["height"] * 0.6})
        rows = window.page.locator(".st-key-rows-amounts")
        rows.wait_for(timeout=20_000)
        window.wait_for_text("30 rows: Decisions")
        assert "rows have changed since" not in rows.inner_text()
        # Cells are drawn on a canvas: behind the application stands the credit, the first that leads further.
        cells = rows.locator('[data-testid="stDataFrame"] canvas').first
        cells.scroll_into_view_if_needed()
        size = cells.bounding_box()
        assert size is not None
        for left in range(120, int(size["width"]), 20):
            window.page.mouse.move(size["x"] + left, size["y"] + 52)
            window.page.wait_for_timeout(100)
            if cells.evaluate("canvas => canvas.style.cursor") == "pointer":
                break
        window.page.mouse.click(size["x"] + left, size["y"] + 52)
        window.page.wait_for_url("**/credit?id=k*", timeout=20_000)
        window.drawn()
        window.assert_clean()


def test_a_dead_ledger_leaves_the_page_standing():
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    try:
        app = drawn()
    finally:
        queries.disconnect()
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)
