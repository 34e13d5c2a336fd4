"""The Disbursements page: numbers against pandas on raw rows, statistics against textbooks, the page as it is drawn."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
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
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from queries import Sources, disbursements, sources
from queries.calendar import is_holiday, payday_position
from tests.dashboard import chromium, chromium_path, serve, viewer

PAGE = Path(__file__).resolve().parent.parent / "pages" / "disbursements.py"
ZONE = ZoneInfo("America/Mexico_City")
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
TWO_DAYS = 48 * HOUR
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

CREDITS = [
    *("credit_id", "application_id", "conductor_id", "sinosure_tier", "principal", "approved_at", "disbursed_at"),
    *("disbursement_status", "status", "closed_at", "updated_at"),
]
CALLS = [
    *("call_id", "called_at", "integration", "endpoint", "status", "duration_ms", "error_code", "error_message"),
    *("request_id", "credit_id"),
]


def at(day: date, clock: timedelta = timedelta(0)) -> datetime:
    """A moment of a local day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC) + clock


def credit(approved_at: datetime, disbursed_at: datetime | None = None, **values: Any) -> dict[str, Any]:
    usual = {
        "credit_id": "",
        "application_id": "a",
        "conductor_id": "d",
        "sinosure_tier": "AAA",
        "principal": Decimal("1000.00"),
        "approved_at": approved_at,
        "disbursed_at": disbursed_at,
        "disbursement_status": "pending" if disbursed_at is None else "settled",
        "status": "pending" if disbursed_at is None else "active",
        "closed_at": None,
        "updated_at": approved_at,
    }
    return {**usual, **values}


def call(called_at: datetime, status: str = "error", **values: Any) -> dict[str, Any]:
    usual = {
        "call_id": 0,
        "called_at": called_at,
        "integration": "neon",
        "endpoint": "/disbursements",
        "status": status,
        "duration_ms": 100,
        "error_code": None,
        "error_message": None,
        "request_id": "r",
        "credit_id": None,
    }
    return {**usual, **values}


class Ledger:
    """The ledger as a test fills and asks it; `credits` and `calls` are the raw rows as frames."""

    def __init__(self, owner: Any, reader: str) -> None:
        self.owner = owner
        self.reader = reader

    def fill(self, credits: list[dict[str, Any]], calls: list[dict[str, Any]] | None = None) -> None:
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate bi.credits, bi.integration_calls")
        for number, one in enumerate(credits):
            one["credit_id"] = one["credit_id"] or f"C{number:07d}"
        for number, one in enumerate(calls or []):
            one["call_id"] = one["call_id"] or number
        for table, names, rows in (("credits", CREDITS, credits), ("integration_calls", CALLS, calls or [])):
            with cursor.copy(f"copy bi.{table} ({', '.join(names)}) from stdin") as into:
                for one in rows:
                    into.write_row([one[name] for name in names])
        self.owner.commit()
        self.credits = frame_of(credits, CREDITS, ["approved_at", "disbursed_at", "closed_at"])
        self.calls = frame_of(calls or [], CALLS, ["called_at"])
        sources._connected().cache.forget()

    def ask(self, name: str, **params: Any) -> pd.DataFrame:
        return queries.ledger(f"disbursements/{name}", params)


def frame_of(rows: list[dict[str, Any]], names: list[str], moments: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    for name in moments:
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_convert(ZONE)
    return frame


@pytest.fixture(scope="module")
def ledger(module_ledger_url) -> Iterator[Ledger]:
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off; alter table bi.credits alter sinosure_tier drop not null")
    owner.commit()
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield Ledger(owner, module_ledger_url.reader)
    queries.disconnect()
    owner.close()
    engine.dispose()


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """A frame's rows as plain values, money as Decimal."""

    def plain(value: Any) -> Any:
        if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, pd.Timestamp) and value.tzinfo is None:
            return value.date()
        return value.item() if isinstance(value, np.generic) else value

    return [tuple(plain(value) for value in row) for row in frame.itertuples(index=False, name=None)]


# --- each number against pandas on the raw rows -----------------------------------------------------------------------

# Month ends, the last 29 February, the clocks set back for the last time on 30 October 2022, a day in the future.
NEAR = [
    *(date(2022, 10, 30), date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2024, 12, 31)),
    *(date(2025, 1, 1), date(2026, 3, 31), date(2026, 4, 1), date(2030, 1, 1)),
]
moments = st.builds(
    lambda day, offset: at(day) + offset,
    st.sampled_from(NEAR),
    st.one_of(
        st.sampled_from([timedelta(0), -TICK, DAY - TICK, 12 * HOUR, -TWO_DAYS, TWO_DAYS]),
        st.integers(-200_000, 200_000).map(lambda seconds: timedelta(seconds=seconds)),
    ),
)
waits = st.one_of(
    st.sampled_from([timedelta(0), TWO_DAYS, TWO_DAYS + TICK, TWO_DAYS - TICK, HOUR, HOUR + TICK, -HOUR, 30 * DAY]),
    st.integers(-7200, 400_000).map(lambda seconds: timedelta(seconds=seconds)),
)
tiers = st.sampled_from(["AAA", "A", "C", "Z-new", None])
money = st.decimals(0, 300_000, places=2, allow_nan=False)


@st.composite
def credits(draw: st.DrawFn) -> dict[str, Any]:
    approved_at = draw(moments)
    kind = draw(st.sampled_from(["disbursed", "disbursed", "waiting", "cancelled", "cancelled unknown", "gone"]))
    one = credit(approved_at, sinosure_tier=draw(tiers), principal=draw(money))
    wait = draw(waits)
    if kind in {"disbursed", "gone"}:
        one |= {"disbursed_at": approved_at + wait, "status": "cancelled" if kind == "gone" else "active"}
    elif kind == "waiting":
        one |= {"disbursement_status": draw(st.sampled_from(["pending", "sent", "failed", "stuck"]))}
        one |= {"status": draw(st.sampled_from(["pending", "on-hold"]))}
    else:
        one |= {"status": "cancelled", "closed_at": approved_at + wait if kind == "cancelled" else None}
    return one


scenes = st.tuples(
    st.lists(credits(), max_size=12),
    st.sampled_from(NEAR),
    st.sampled_from([0, 1, 2, 31, 400]),
    st.sampled_from([(), ("AAA",), ("A", "C"), ("",), ("", "Z-new")]),
    moments,
)


def chosen(frame: pd.DataFrame, wanted: tuple[str, ...]) -> pd.DataFrame:
    return frame[frame["sinosure_tier"].fillna("").isin(wanted)] if wanted else frame


def local_days(moments: pd.Series) -> pd.Series:
    """The local day of each moment as midnight without a zone; NaT stays."""
    return moments.dt.tz_localize(None).dt.normalize()


def within(frame: pd.DataFrame, column: str, first: date, last: date) -> pd.DataFrame:
    return frame[local_days(frame[column]).between(pd.Timestamp(first), pd.Timestamp(last))]


def hours(spans: pd.Series) -> pd.Series:
    """Whole hours, rounded up, without a float between."""
    return -(-spans.dt.as_unit("us").astype("int64") // 3_600_000_000)


@SOME
@given(scenes)
def test_disbursements_by_day_and_tier_are_those_of_the_rows(ledger, scene):
    rows, last, length, wanted, _ = scene
    first = last - length * DAY
    ledger.fill(rows)
    found = within(chosen(ledger.credits, wanted), "disbursed_at", first, last)
    keys = [found["disbursed_at"].dt.date.rename("day"), found["sinosure_tier"].fillna("").rename("tier")]
    expected = found.groupby(keys)["principal"].agg(["count", "sum"]).reset_index() if len(found) else pd.DataFrame()
    asked = {"first": first, "last": last, "tiers": wanted}
    by_day = ledger.ask("by_day", **asked)
    assert sorted(rows_of(by_day)) == sorted(rows_of(expected))
    told = disbursements.totals(by_day)
    assert (told.credits, told.amount) == (len(found), sum(found["principal"], Decimal(0)))
    if len(found):
        assert told.mean == (told.amount / told.credits).quantize(Decimal("0.01"))
    else:
        assert told.mean is None
    for one in by_day.itertuples():
        day = one.day.date()
        behind = queries.ledger("rows/disbursed", {"first": day, "last": day, "tier": one.tier, "tiers": wanted})
        assert len(behind) == one.credits
        assert sum(behind["principal"], Decimal(0)) == one.amount
    daily = rows_of(ledger.ask("daily", **asked))
    assert [one[0] for one in daily] == [first + n * DAY for n in range(length + 1)], "every day stands there"
    assert sum(one[1] for one in daily) == told.credits
    assert sum((one[2] for one in daily), Decimal(0)) == told.amount


def state_by_rows(frame: pd.DataFrame, as_of: datetime) -> pd.Series:
    """in_time, over, undecided, or out of each credit, one after the other."""

    def state(one: Any) -> str:
        deadline = one.approved_at + TWO_DAYS
        if not pd.isna(one.disbursed_at):
            return "in_time" if one.disbursed_at <= deadline else "over"
        if one.status == "cancelled":
            return "out" if pd.isna(one.closed_at) or one.closed_at < deadline else "over"
        return "over" if as_of > deadline else "undecided"

    return pd.Series([state(one) for one in frame.itertuples()], index=frame.index, dtype="str")


@SOME
@given(scenes)
def test_the_share_over_48_hours_is_that_of_the_rows_and_so_are_the_rows_behind_it(ledger, scene):
    rows, last, length, wanted, as_of = scene
    asked = {"first": last - length * DAY, "last": last, "tiers": wanted, "as_of": as_of}
    ledger.fill(rows)
    found = within(chosen(ledger.credits, wanted), "approved_at", asked["first"], last)
    found = found.assign(state=state_by_rows(found, as_of), day=found["approved_at"].dt.date)
    answer = ledger.ask("over_48h", **asked)
    told = disbursements.over_48h(answer)
    counts = found["state"].value_counts()
    over, in_time, undecided = (int(counts.get(name, 0)) for name in ("over", "in_time", "undecided"))
    assert (told.decided, told.late, told.undecided) == (over + in_time, over, undecided)
    assert told.share == (over / (over + in_time) if over + in_time else None)
    shares = disbursements.share_over_48h(answer, asked["first"], last)
    for one in shares.itertuples():
        span = {"first": one.first_day.date(), "last": one.last_day.date()}
        members = found[found["day"].between(*span.values()) & (found["state"] != "out")]
        assert one.n == (members["state"] == one.state).sum()
        assert one.approved == len(members)
        assert one.share == one.n / len(members)
        behind = queries.ledger("rows/over_48h", {**asked, **span, "state": one.state})
        assert set(behind["credit_id"]) == set(members[members["state"] == one.state]["credit_id"])
    assert shares["n"].sum() == over + undecided, "each credit stands in one bar"


@SOME
@given(scenes)
def test_the_times_to_the_money_are_those_of_the_rows(ledger, scene):
    rows, last, length, wanted, as_of = scene
    asked = {"first": last - length * DAY, "last": last, "tiers": wanted, "as_of": as_of}
    ledger.fill(rows)
    found = within(chosen(ledger.credits, wanted), "approved_at", asked["first"], last)
    sent, never = found[found["disbursed_at"].notna()], found[found["disbursed_at"].isna()]
    gone = never[(never["status"] == "cancelled") & never["closed_at"].notna()]
    waiting = never[never["status"] != "cancelled"]
    expected: dict[int, list[Any]] = {}
    for place, members, ends in (
        (0, sent, sent["disbursed_at"]),
        (1, waiting, pd.Series(pd.Timestamp(as_of), waiting.index).dt.tz_convert(ZONE)),
        (2, gone, gone["closed_at"]),
    ):
        spent = hours(ends - members["approved_at"])
        for key, amount in zip(spent if place == 0 else spent.clip(lower=0), members["principal"], strict=True):
            counts = expected.setdefault(int(key), [0, 0, 0, Decimal(0)])
            counts[place] += 1
            counts[3] += amount if place == 0 else 0
    times = ledger.ask("times", **asked)
    assert rows_of(times) == [(key, *expected[key]) for key in sorted(expected)]
    bins = disbursements.by_hours(times)
    assert bins["n"].sum() == len(sent)
    for one in bins.itertuples():
        params = {"approved_first": asked["first"], "approved_last": last, "tiers": wanted}
        params |= {"hours_from": one.hours_from, "hours_to": one.hours_to}
        behind = queries.ledger("rows/disbursed", params)
        assert len(behind) == one.n
        assert sum(behind["principal"], Decimal(0)) == one.amount


@SOME
@given(scenes)
def test_what_waits_now_and_waited_then_is_that_of_the_rows(ledger, scene):
    rows, last, _, wanted, as_of = scene
    ledger.fill(rows)
    found = chosen(ledger.credits, wanted)
    waiting = found[found["disbursed_at"].isna() & (found["status"] != "cancelled") & (found["approved_at"] < as_of)]
    over = waiting[waiting["approved_at"] + TWO_DAYS < as_of]
    assert rows_of(ledger.ask("waiting_now", tiers=wanted, as_of=as_of)) == [
        (
            *(len(waiting), sum(waiting["principal"], Decimal(0)), len(over), sum(over["principal"], Decimal(0))),
            min(waiting["approved_at"], default=None),
        )
    ]
    queue = ledger.ask("waiting", tiers=wanted, as_of=as_of)
    behind = queries.ledger("rows/waiting", {"tiers": wanted, "as_of": as_of})
    # Of a moment in the past that list also knows who was disbursed or cancelled since; it lacks none of the queue.
    assert set(queue["credit_id"]) <= set(behind["credit_id"])
    assert list(queue["credit_id"]) == list(waiting.sort_values(["approved_at", "credit_id"])["credit_id"])
    assert queue["over_48h"].sum() == len(over)
    assert (queue["waiting"] >= 0).all()
    assert list(queue["waiting"] > 48) == list(queue["over_48h"])

    # Then: a balance of what had come in and gone out by the end of the day.
    def by_then(moments: pd.Series) -> pd.Series:
        return local_days(moments) <= pd.Timestamp(last)

    cancelled = found["disbursed_at"].isna() & (found["status"] == "cancelled")
    here = by_then(found["approved_at"]).astype(int) - by_then(found["disbursed_at"]).astype(int)
    here -= (by_then(found["approved_at"]) & cancelled & (by_then(found["closed_at"]) | found["closed_at"].isna())) * 1
    amount = sum((n * principal for n, principal in zip(here, found["principal"], strict=True)), Decimal(0))
    assert rows_of(ledger.ask("waiting_then", last=last, tiers=wanted)) == [(int(here.sum()), amount)]


def test_the_queue_tells_the_last_failure_of_neon_for_each_credit(ledger):
    morning = at(date(2026, 3, 2), 9 * HOUR)
    ledger.fill(
        [credit(morning - 3 * DAY, credit_id="old"), credit(morning - 2 * HOUR, credit_id="new", sinosure_tier=None)],
        [
            call(morning - 5 * HOUR, credit_id="old", error_code="ledger_locked", error_message="held"),
            call(morning - 4 * HOUR, "timeout", credit_id="old"),
            call(morning - 3 * HOUR, "success", credit_id="old"),
            call(morning - 3 * HOUR, credit_id="old", integration="metamap", error_code="not_neon"),
        ],
    )
    queue = ledger.ask("waiting", as_of=morning)
    columns = ["credit_id", "tier", "waiting", "over_48h", "error_code", "error_message"]
    assert rows_of(queue[columns]) == [
        ("old", "AAA", 72.0, True, "timeout", ""),
        ("new", "", 2.0, False, "", ""),
    ]
    assert queue["failed_at"].iloc[0] == morning - 4 * HOUR
    assert list(ledger.ask("waiting", as_of=morning, most=1)["credit_id"]) == ["old"]


@SOME
@given(
    st.lists(
        st.builds(
            lambda moment, status, code, integration: call(
                moment, status, error_code=code, integration=integration, credit_id="k"
            ),
            moments,
            st.sampled_from(["success", "error", "timeout", "odd"]),
            st.sampled_from([None, "", "ledger_locked", "internal_error"]),
            st.sampled_from(["neon", "neon", "conekta"]),
        ),
        max_size=12,
    ),
    st.sampled_from(NEAR),
    st.sampled_from([0, 2, 400]),
)
def test_the_calls_to_neon_are_those_of_the_rows_and_so_are_the_rows_behind_them(ledger, calls, last, length):
    first = last - length * DAY
    ledger.fill([], calls)
    found = within(ledger.calls[ledger.calls["integration"] == "neon"], "called_at", first, last)
    answer = ledger.ask("neon_calls", first=first, last=last)
    assert answer["calls"].sum() == len(found)
    assert answer["failed"].sum() == (found["status"] != "success").sum()
    for one in answer.itertuples():
        alike = (found["called_at"].dt.date == one.day.date()) & (found["status"] == one.status)
        alike &= found["error_code"].fillna("") == one.error_code
        assert one.calls == alike.sum()
        assert one.failed == (0 if one.status == "success" else one.calls)
        assert one.failure == ("" if one.status == "success" else one.error_code or one.status)
        day = one.day.date()
        params = {"first": day, "last": day, "integration": "neon", "status": one.status, "error_code": one.error_code}
        assert len(queries.ledger("rows/calls", params)) == one.calls


def test_an_empty_ledger_has_nothing_of_anything(ledger):
    ledger.fill([])
    day = date(2026, 2, 28)
    asked = {"first": day, "last": day}
    assert disbursements.totals(ledger.ask("by_day", **asked)) == disbursements.Totals(0, Decimal(0), None)
    assert disbursements.over_48h(ledger.ask("over_48h", **asked)).share is None
    assert disbursements.share_over_48h(ledger.ask("over_48h", **asked), day, day).empty
    times = ledger.ask("times", **asked)
    assert disbursements.by_hours(times).empty
    curve = disbursements.kaplan_meier(times)
    assert rows_of(curve) == [(0, 0, 0, 0, 0, 1.0, 1.0, 1.0)]
    assert disbursements.hours_until(curve) is None
    assert math.isnan(disbursements.still_waiting(curve)[0])
    month = disbursements.month(ledger.ask("daily", **disbursements.month_window(day)), "amount", day, day)
    assert (month.to_date, month.before, month.projected) == (0, None, 0.0)
    assert rows_of(ledger.ask("waiting_now"))[0][:2] == (0, Decimal(0))
    assert ledger.ask("waiting").empty
    assert rows_of(ledger.ask("waiting_then", last=day)) == [(0, Decimal(0))]
    assert ledger.ask("neon_calls", **asked).empty


# --- Kaplan and Meier -------------------------------------------------------------------------------------------------


def times_of(sent: list[int], waiting: list[int]) -> pd.DataFrame:
    frame = pd.DataFrame(
        [(hour, 1, 0, 0, Decimal(1)) for hour in sent] + [(hour, 0, 1, 0, Decimal(0)) for hour in waiting],
        columns=["hours", "disbursed", "waiting", "cancelled", "amount"],
    )
    return frame.groupby("hours", as_index=False).sum()


def test_the_curve_of_the_leukaemia_trial_is_the_published_one():
    """Freireich and others (1963), 6-MP group: the example of most textbooks; limits as Stata's `sts list` prints."""
    curve = disbursements.kaplan_meier(
        times_of([6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35])
    )
    printed = {
        6: (21, 0.8571, 0.6197, 0.9516),
        7: (17, 0.8067, 0.5631, 0.9228),
        10: (15, 0.7529, 0.5032, 0.8894),
        13: (12, 0.6902, 0.4316, 0.8491),
        16: (11, 0.6275, 0.3675, 0.8049),
        22: (7, 0.5378, 0.2678, 0.7468),
        23: (6, 0.4482, 0.1881, 0.6801),
    }
    events = curve[curve["disbursed"] > 0].set_index("hours")
    assert list(events.index) == list(printed)
    for hour, (at_risk, *shares) in printed.items():
        row = events.loc[hour]
        assert row["at_risk"] == at_risk
        assert [row["survival"], row["low"], row["high"]] == pytest.approx(shares, abs=5e-5)
    assert disbursements.hours_until(curve) == 23, "the published median"


@given(st.lists(st.integers(-3, 80), max_size=30), st.lists(st.integers(0, 80), max_size=15))
@settings(max_examples=50, deadline=None)
def test_the_curve_is_that_of_a_plain_loop(sent, waiting):
    curve = disbursements.kaplan_meier(times_of(sent, waiting)).set_index("hours")
    people = [(max(hour, 0), True) for hour in sent] + [(hour, False) for hour in waiting]
    survival, greenwood = 1.0, 0.0
    for hour in sorted({0, *(time for time, _ in people)}):
        n = sum(time >= hour for time, _ in people)
        d = sum(time == hour and happened for time, happened in people)
        if n:
            survival *= 1 - d / n
            greenwood = math.inf if n == d else greenwood + d / (n * (n - d))
        row = curve.loc[hour]
        assert row["survival"] == pytest.approx(survival, abs=1e-12)
        if survival == 0:
            assert math.isnan(row["low"])
            assert math.isnan(row["high"])
        elif survival == 1:
            assert row["low"] == row["high"] == 1
        else:
            spread = 1.959963984540054 * math.sqrt(greenwood) / abs(math.log(survival))
            assert row["low"] == pytest.approx(survival ** math.exp(spread), abs=1e-9)
            assert row["high"] == pytest.approx(survival ** math.exp(-spread), abs=1e-9)
            assert 0 <= row["low"] <= row["survival"] <= row["high"] <= 1


@given(st.lists(st.integers(-3, 200), max_size=30), st.lists(st.integers(0, 200), max_size=15))
@settings(max_examples=20, deadline=None)
def test_the_staircase_steps_where_the_curve_does(sent, waiting):
    curve = disbursements.kaplan_meier(times_of(sent, waiting))
    steps = disbursements.staircase(curve)
    assert steps["hours"].is_unique
    assert steps["hours"].is_monotonic_increasing
    assert steps["hours"].iloc[-1] == min(curve["hours"].iloc[-1], 120)
    for hour in range(0, steps["hours"].iloc[-1] + 1, 3):
        drawn, known = (frame[frame["hours"] <= hour].iloc[-1]["survival"] for frame in (steps, curve))
        assert drawn == known
    for one in steps.itertuples():
        assert one.disbursed == sum(one.hours_from <= hour <= one.hours for hour in sent)


def test_without_anyone_waiting_the_curve_is_the_plain_share():
    curve = disbursements.kaplan_meier(times_of([5] * 90 + [60] * 10, []))
    assert disbursements.still_waiting(curve)[0] == pytest.approx(0.1)
    assert disbursements.hours_until(curve) == 5
    assert disbursements.hours_until(curve, 0.95) == 60


def test_nothing_is_told_of_an_hour_that_nobody_has_reached():
    assert math.isnan(disbursements.still_waiting(disbursements.kaplan_meier(times_of([5], [30])))[0])
    assert disbursements.still_waiting(disbursements.kaplan_meier(times_of([5], [])))[0] == 0


# --- the month --------------------------------------------------------------------------------------------------------


def daily_of(values: dict[date, float], day: date) -> pd.DataFrame:
    window = disbursements.month_window(day)
    days = pd.date_range(window["first"], window["last"])
    counts = [int(values.get(one.date(), 0)) for one in days]
    amounts = [Decimal(count) * 1000 for count in counts]
    return pd.DataFrame({"day": days.astype("datetime64[us]"), "credits": counts, "amount": amounts})


def steady(day: date) -> float:
    """A company that brings the same on the same kind of day: nothing on Sundays, more on paydays."""
    if day.weekday() == 6 or is_holiday(day):
        return 0
    return 20 + 3 * day.weekday() + (15 if payday_position(day) == "payday" else 0)


def history(until: date, value: Any = steady) -> dict[date, float]:
    return {until - n * DAY: value(until - n * DAY) for n in range(800)}


@pytest.mark.parametrize("today", [date(2026, 3, 1), date(2026, 3, 10), date(2024, 2, 28), date(2026, 12, 16)])
def test_a_month_of_days_like_all_others_is_projected_without_doubt(today):
    _, last = disbursements.month_of(today)
    daily = daily_of(history(today), today)
    month = disbursements.month(daily, "credits", today, today)
    to_come = [today + n * DAY for n in range(1, (last - today).days + 1)]
    expected = month.to_date + sum(steady(one) for one in to_come)
    # All but: where a kind of day came less than four times, the weekday stands in.
    assert (month.projected, month.low, month.high) == pytest.approx((expected,) * 3, rel=0.015)


@given(st.sampled_from([date(2026, 3, 31), date(2024, 2, 29), date(2026, 11, 30)]), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_on_the_last_day_the_projection_is_what_came(today, seed):
    random = np.random.default_rng(seed)
    daily = daily_of(history(today, lambda day: random.poisson(30)), today)
    month = disbursements.month(daily, "credits", today, today)
    first = today.replace(day=1)
    came = sum(int(n) for day, n in zip(daily["day"], daily["credits"], strict=True) if day.date() >= first)
    assert month.to_date == month.projected == month.low == month.high == came
    assert month.over
    # And so is a month that is over, whatever today brings.
    after = disbursements.month(daily, "credits", today, today + 3 * DAY, rest_of_today=[9.0] * 8)
    assert after.to_date == after.projected == after.low == after.high == came


@given(st.integers(1, 31), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_the_projection_is_the_same_each_time_and_its_curve_is_in_order(number, seed):
    random = np.random.default_rng(seed)
    today = date(2026, 10, number)
    daily = daily_of(history(today, lambda day: random.poisson(steady(day))), today)
    rest = [float(n) for n in random.poisson(5, 8)]
    month = disbursements.month(daily, "amount", today, today, rest_of_today=rest)
    again = disbursements.month(daily, "amount", today, today, rest_of_today=rest)
    pd.testing.assert_frame_equal(month.curve, again.curve)
    assert month.low <= month.projected <= month.high
    assert float(month.to_date) <= month.low
    curve = month.curve
    assert len(curve) == 31
    assert curve["actual"].notna().sum() == number
    assert curve["projected"].notna().sum() == 31 - number + 1
    ahead = curve.dropna(subset="projected")
    for column in ("projected", "low", "high"):
        assert ahead[column].is_monotonic_increasing
    # Last month by plain sums: up to the same day, and whole on the last.
    before = {day.date(): value for day, value in zip(daily["day"], daily["amount"], strict=True)}
    for one in curve.itertuples():
        until = 30 if one.day.day == 31 else min(one.day.day, 30)
        assert one.before == float(sum(before[date(2026, 9, n)] for n in range(1, until + 1)))
    assert month.before == sum(before[date(2026, 9, n)] for n in range(1, 31))
    # As one line: what came, then what may come, each point with the credits that are behind it.
    line = disbursements.running_total(month, daily)
    assert list(line["total"].iloc[:number]) == list(curve["actual"].iloc[:number])
    assert list(line["total"].iloc[number:]) == list(curve["projected"].iloc[number:])
    assert line["low"].notna().sum() == line["high"].notna().sum() == 31 - number + 1
    for one in line.itertuples():
        came = daily[(daily["day"] >= one.first_day) & (daily["day"] <= one.until)]
        assert one.credits == came["credits"].sum()
    assert line["until"].max().date() == today


@pytest.mark.parametrize("unrest", [0.0, 0.08])
def test_the_band_holds_eight_months_ends_of_ten(unrest):
    """Days that differ by chance, months that differ as wholes: 48 of 60 within, give or take three deviations."""
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        level = random.lognormal(0, unrest, 40)
        today, end = date(2026, 6, 12), date(2026, 6, 30)
        values = history(
            end,
            lambda day, random=random, level=level: random.poisson(
                steady(day) * level[(2026 - day.year) * 12 + 6 - day.month]
            ),
        )
        month = disbursements.month(daily_of(values, today), "credits", today, today)
        held += month.low <= sum(value for day, value in values.items() if day >= date(2026, 6, 1)) <= month.high
    assert 39 <= held <= 57


def test_a_company_that_grows_is_projected_without_lagging_behind():
    today, last = date(2026, 6, 12), date(2026, 6, 30)
    values = history(last, lambda day: round(steady(day) * 40 * 1.02 ** ((day - last).days / 30)))
    month = disbursements.month(daily_of(values, today), "credits", today, today)
    came = sum(value for day, value in values.items() if day >= date(2026, 6, 1))
    assert month.projected == pytest.approx(came, rel=0.03)


def test_a_young_company_has_no_projection_and_no_last_month():
    today = date(2026, 6, 12)
    daily = daily_of({today - n * DAY: 10 for n in range(5)}, today)
    month = disbursements.month(daily, "amount", today, today)
    assert month.to_date == Decimal(50_000)
    assert math.isnan(month.projected)
    assert month.before is None
    assert month.before_to_date is None
    assert month.curve["before"].isna().all()


def test_days_after_today_are_unknown_whatever_stands_there():
    today = date(2026, 6, 12)
    values = history(today)
    dated_ahead = {**values, date(2026, 6, 20): 10_000}
    expected = disbursements.month(daily_of(values, today), "credits", today, today)
    assert disbursements.month(daily_of(dated_ahead, today), "credits", today, today).projected == expected.projected


def test_a_short_month_before_is_whole_on_the_last_day():
    today = date(2026, 3, 31)
    month = disbursements.month(daily_of(history(today), today), "credits", today, today)
    february = sum(steady(date(2026, 2, n)) for n in range(1, 29))
    assert month.before == month.before_to_date == february
    assert list(month.curve["before"].iloc[27:]) == [february] * 4
    # And 28 February goes with the whole January.
    today = date(2026, 2, 28)
    month = disbursements.month(daily_of(history(today), today), "credits", today, today)
    assert month.before_to_date == month.before == sum(steady(date(2026, 1, n)) for n in range(1, 32))


def test_the_rest_of_the_day_is_what_normal_days_brought_after_this_hour(ledger):
    days = [date(2026, 6, 1), date(2026, 6, 8), date(2026, 6, 15)]
    rows = [credit(at(day), at(day, hour * HOUR)) for day in days for hour in (9, 12, 18)]
    rows += [credit(at(days[0]), at(days[0], 20 * HOUR), sinosure_tier="A", principal=Decimal("5.50"))]
    ledger.fill(rows)
    today = date(2026, 6, 22)
    so_far = queries.ledger("today/disbursements", {"day": today, "days": days, "as_of": at(today, 13 * HOUR)})
    for wanted, counts, amounts in (
        ((), [2.0, 1.0, 1.0], [1005.5, 1000.0, 1000.0]),
        (("A",), [1.0, 0.0, 0.0], [5.5, 0.0, 0.0]),
        (("",), [0.0] * 3, [0.0] * 3),
    ):
        daily = ledger.ask("daily", first=days[0], last=today, tiers=wanted)
        assert disbursements.rest_of_day(so_far, daily, "credits", wanted) == counts
        assert disbursements.rest_of_day(so_far, daily, "amount", wanted) == amounts


# --- the page as it is drawn ------------------------------------------------------------------------------------------


def page(**asked: str) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_file(str(PAGE), default_timeout=30)
    # All sections at once, unless one is asked for.
    for name, value in {"section": "all", **asked}.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.title, *app.markdown, *app.caption])


def numbers(app: AppTest) -> dict[str, tuple[str, str]]:
    return {metric.label: (metric.value, metric.delta) for metric in app.metric}


def company(today: date) -> list[dict[str, Any]]:
    """Forty days of ten credits a day, disbursed after 5, or 60 hours; two wait, one of them for four days."""
    rows = [
        credit(
            at(today - n * DAY, 10 * HOUR) - wait * HOUR,
            at(today - n * DAY, 10 * HOUR),
            sinosure_tier=tier,
            principal=Decimal("1500.50"),
        )
        for n in range(1, 41)
        for tier, wait in (*[("AAA", 5)] * 6, *[("B", 5)] * 3, ("B", 60))
    ]
    morning = at(today, 0 * HOUR)
    rows.append(credit(morning - 4 * DAY, credit_id="late", principal=Decimal("700.00"), sinosure_tier="C"))
    rows.append(credit(morning - 20 * HOUR, credit_id="young", principal=Decimal("50.25")))
    return rows


@pytest.fixture
def filled(ledger) -> date:
    today = datetime.now(ZONE).date()
    calls = [
        call(at(today - DAY, 9 * HOUR), error_code="ledger_locked", error_message="held", credit_id="late"),
        *(call(at(today - DAY, 9 * HOUR), "success") for _ in range(3)),
    ]
    ledger.fill(company(today), calls)
    return today


def test_the_page_tells_its_numbers_against_the_compared_period(filled):
    app = page(period="last_7")
    assert not app.exception
    said, told = words(app), numbers(app)
    # Six whole days of ten and an empty today, against seven days of ten.
    assert told["Credits disbursed"] == ("60", "-14 %")
    assert "8.6 a day" in said
    assert "$90,030.00" in said
    assert told["Mean principal"] == ("$1.5 k", "0 %")
    assert told["Median time"][0] == "5.0 h"
    assert told["Waiting now"][0] == "2"
    assert "$750.25" in said
    assert "2 credits wait for $750.25" in said
    assert "1 for more than 48 h ($700.00)" in said
    assert "1 of 4 calls failed: 25.0 %" in said
    assert "1 undecided" in said


def test_without_a_target_last_month_stands_in_and_says_so(filled):
    said = words(page())
    assert "No monthly target is set in the catalogue" in said
    assert "A target holds for all tiers together" in words(page(tiers="B"))


def test_a_monthly_target_of_the_catalogue_is_drawn_and_measured(filled, monkeypatch):
    kpis = dict(queries.catalogue())
    kpis["credits_disbursed"] = kpis["credits_disbursed"].model_copy(update={"monthly_target": 1000.0})
    monkeypatch.setattr(queries, "catalogue", lambda: kpis)
    app = page()
    assert not app.exception
    value, delta = numbers(app)["Target of the month"]
    assert value == "1,000"
    so_far = int(numbers(app)["Month to date"][0])
    assert delta == f"{so_far / 10:.1f} % reached"
    assert "No monthly target" not in words(app)


def test_the_filters_of_the_link_are_those_of_every_panel(filled):
    app = page(tiers="B", period="last_7", compare="none", measure="amount")
    assert not app.exception
    told = numbers(app)
    assert told["Credits disbursed"] == ("24", "")
    assert told["Waiting now"][0] == "0"


def test_an_empty_ledger_draws_a_page_without_an_error(ledger):
    ledger.fill([])
    app = page()
    assert not app.exception
    assert numbers(app)["Credits disbursed"][0] == "0"
    assert "No data for this choice" in words(app)


def test_one_credit_draws_the_page(ledger):
    today = datetime.now(ZONE).date()
    # Disbursed before it was approved, of a tier and a status that nobody foresaw.
    ledger.fill([credit(at(today), at(today) - HOUR, sinosure_tier=None, status="odd", disbursement_status="odd")])
    app = page(period="last_7")
    assert not app.exception
    assert numbers(app)["Credits disbursed"][0] == "1"


def test_without_prometheus_its_panel_is_one_quiet_line(filled):
    said = words(page())
    assert said.count("MIRADOR_PROMETHEUS_URL") == 1
    assert "cannot be reached" not in said


def test_every_point_of_the_running_total_has_its_rows(filled, ledger):
    daily = ledger.ask("daily", **disbursements.month_window(filled))
    month = disbursements.month(daily, "credits", filled, filled)
    for one in disbursements.running_total(month, daily).itertuples():
        span = {"first": one.first_day.date(), "last": one.until.date()}
        assert len(queries.ledger("rows/disbursed", span)) == one.credits


def test_only_a_sum_may_have_a_monthly_target(tmp_path):
    text = queries.kpis.CATALOGUE.read_text(encoding="utf-8")
    path = tmp_path / "catalogue.yaml"
    for name, wrong in (("credits_disbursed", False), ("approval_rate", True), ("api_p95", True)):
        path.write_text(text.replace(f"\n{name}:\n", f"\n{name}:\n  monthly_target: 1200\n"), encoding="utf-8")
        if wrong:
            with pytest.raises(ValueError, match="monthly target"):
                queries.kpis.load_catalogue(path)
        else:
            assert queries.kpis.load_catalogue(path)[name].monthly_target == 1200


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_on_a_bar_opens_its_credits_and_a_row_its_credit(filled, ledger, server_dir):
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    yesterday = filled - DAY
    asked = f"/disbursements?period=custom&from={yesterday}&to={yesterday}&compare=none&events=off"
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(dashboard.url + asked, timeout=90)
        chart = window.page.locator(
            ".st-key-panel-disbursements_by_tier canvas, .st-key-panel-disbursements_by_tier svg.marks"
        )
        chart.first.scroll_into_view_if_needed()
        size = chart.first.bounding_box()
        assert size is not None
        opened = window.page.locator(".st-key-rows-disbursements_by_tier")
        # Ten credits are the whole height: the six of AAA stand below, the four of B above. A refresh of the panel can
        # swallow a click.
        for _ in range(5):
            chart.first.click(position={"x": size["width"] * 0.5, "y": size["height"] * 0.7})
            with contextlib.suppress(PlaywrightTimeout):
                opened.wait_for(timeout=10_000)
                break
        window.wait_for_text("6 rows: ", timeout=60)
        heading = opened.inner_text()
        assert re.search(r"6 rows: .*AAA", heading), heading
        assert "rows have changed since" not in heading
        assert re.search(r"/credit\?id=C\d+(&events=off)?$", window.follow_first_row(opened))
        window.assert_clean()


def test_a_dead_ledger_leaves_the_page_standing(ledger):
    before = sources._connected().sources
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    try:
        app = page()
    finally:
        queries.connect(before)
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)
