"""Integrations: SQL against pandas on the raw rows, PromQL on known series, statistics, the page, a way to a call."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from components.span import DAYS, RANGES, Span, span_of, span_of_days
from queries import Outside, Prometheus, Sources, sources
from queries import integrations as told
from tests.dashboard import chromium, chromium_path, serve, viewer

PAGES = Path(__file__).resolve().parent.parent / "pages"
SCRIPT = f"""
import streamlit as st
names = ["integrations", "api_health", "credit", "conductor", "logs", "errors", "traces", "thread", "alerts"]
st.navigation([st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in names], position="hidden").run()
"""
ZONE = ZoneInfo("America/Mexico_City")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SOME = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# The clocks were set back for the last time on 30 October 2022.
START = datetime(2022, 10, 29, tzinfo=ZONE)
NOON = datetime(2026, 3, 17, 12, tzinfo=ZONE)


# --- rows -------------------------------------------------------------------------------------------------------------


def call(called_at: datetime, integration: str = "neon", status: str = "success", **values: Any) -> dict[str, Any]:
    usual = {
        "call_id": None,
        "called_at": called_at,
        "integration": integration,
        "endpoint": "/v1",
        "status": status,
        "http_status": 200 if status == "success" else 500,
        "duration_ms": 100,
        "error_code": None if status == "success" else "internal_error",
        "error_message": None if status == "success" else "The service failed",
        "request_id": f"r-{called_at:%H%M%S}",
        "trace_id": None,
        "application_id": None,
        "credit_id": None,
    }
    return {**usual, **values}


def application(id: str, decided_at: datetime | None = None, amount: int = 1000) -> dict[str, Any]:
    submitted = NOON - 400 * DAY
    return {
        "application_id": id,
        "conductor_id": f"D-{id}",
        "submitted_at": submitted,
        "amount_requested": Decimal(amount),
        "status": "pending" if decided_at is None else "approved",
        "decided_at": decided_at,
        "updated_at": submitted,
    }


def credit(id: str, disbursed_at: datetime | None = None, amount: int = 1000) -> dict[str, Any]:
    approved = NOON - 400 * DAY
    return {
        "credit_id": id,
        "application_id": f"A-{id}",
        "conductor_id": f"D-{id}",
        "sinosure_tier": "A",
        "principal": Decimal(amount),
        "approved_at": approved,
        "disbursed_at": disbursed_at,
        "disbursement_status": "pending" if disbursed_at is None else "settled",
        "status": "pending" if disbursed_at is None else "active",
        "closed_at": None,
        "updated_at": approved,
    }


def payment(processed_at: datetime, status: str, installment: int | None, call_id: int | None) -> dict[str, Any]:
    return {
        "payment_id": None,
        "credit_id": "C-pay",
        "installment_id": installment,
        "processed_at": processed_at,
        "amount": Decimal("250.50"),
        "status": status,
        "method": "card",
        "failure_code": None if status == "succeeded" else "gateway_error",
        "integration_call_id": call_id,
        "updated_at": processed_at,
    }


class Ledger:
    """The ledger as a test fills and asks it."""

    def __init__(self, owner: Any, reader: str) -> None:
        self.owner = owner
        self.reader = reader

    def fill(self, **tables: list[dict[str, Any]]) -> None:
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate bi.applications, bi.credits, bi.installments, bi.payments, bi.integration_calls")
        for table, rows in tables.items():
            for number, row in enumerate(rows, start=1):
                for key in ("call_id", "payment_id"):
                    if key in row and row[key] is None:
                        row[key] = number
            if rows:
                with cursor.copy(f"copy bi.{table} ({', '.join(rows[0])}) from stdin") as into:
                    for row in rows:
                        into.write_row(list(row.values()))
        self.owner.commit()
        sources._connected().cache.forget()

    def ask(self, name: str, **params: Any) -> pd.DataFrame:
        return queries.ledger(f"integrations/{name}", params)


@pytest.fixture(scope="module")
def ledger(module_ledger_url) -> Iterator[Ledger]:
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield Ledger(owner, module_ledger_url.reader)
    queries.disconnect()
    owner.close()
    engine.dispose()


# --- each number against the raw rows ---------------------------------------------------------------------------------

calls_drawn = st.lists(
    st.builds(
        lambda seconds, integration, endpoint, status, ms, code: call(
            START + timedelta(seconds=seconds),
            integration,
            status,
            endpoint=endpoint,
            duration_ms=ms,
            error_code=code if status != "success" else None,
        ),
        st.one_of(st.integers(0, 3 * 86400), st.sampled_from([0, 86399, 86400, 2 * 86400, 90000])),
        st.sampled_from(["neon", "geotab", "new one"]),
        st.sampled_from(["/a", "/b"]),
        st.sampled_from(["success", "error", "timeout", "strange"]),
        st.one_of(st.integers(0, 40_000), st.sampled_from([0, 1, 2, 128, 127, 1024, 30_000])),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=25,
)
spans = st.sampled_from(
    [
        Span(START, START + DAY, 1800, START + 9 * DAY),
        Span(START + HOUR, START + 25 * HOUR, 600, START + 9 * DAY),
        Span(START, START + 2 * DAY + 3 * HOUR, 3 * 3600, START + 9 * DAY),
        Span(START, START + 4 * DAY, 86400, START + 9 * DAY),
        Span(START, START + 4 * DAY, 7 * 86400, START + 9 * DAY),
    ]
)


def begins(span: Span, moment: datetime) -> datetime:
    """Where the stretch of a moment begins, told without SQL."""
    if span.step < 86400:
        passed = (moment.astimezone(UTC) - span.start.astimezone(UTC)).total_seconds()
        return span.start.astimezone(UTC) + timedelta(seconds=passed // span.step * span.step)
    days = span.step // 86400
    gone = (moment.astimezone(ZONE).date() - span.start.date()).days // days * days
    day = span.start.date() + timedelta(days=gone)
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


@SOME
@given(calls_drawn, spans, st.sampled_from([(), ("neon",), ("neon", "new one")]))
def test_calls_by_stretch_code_and_doubling_are_those_of_the_rows(ledger, rows, span, only):
    ledger.fill(integration_calls=rows)
    inside = [
        row for row in rows if span.start <= row["called_at"] < span.end and (not only or row["integration"] in only)
    ]
    params = {**span, "integrations": only}
    wanted: dict[tuple[Any, ...], int] = {}
    for row in inside:
        key = (
            begins(span, row["called_at"]),
            *(row["integration"], row["endpoint"], row["status"], row["error_code"] or ""),
        )
        wanted[key] = wanted.get(key, 0) + 1
    over = ledger.ask("over_time", **params)
    found = {
        (row.at.astimezone(UTC), row.integration, row.endpoint, row.status, row.error_code): row.n
        for row in over.itertuples()
    }
    assert found == wanted
    for row in over.itertuples():
        # What a click asks for are the same rows.
        behind = [
            one
            for one in inside
            if row.at <= one["called_at"] < row.until
            and (one["integration"], one["endpoint"], one["status"]) == (row.integration, row.endpoint, row.status)
            and (one["error_code"] or "") == row.error_code
        ]
        assert len(behind) == row.n
    for row in ledger.ask("latency_over_time", **params).itertuples():
        behind = [
            one
            for one in inside
            if row.at <= one["called_at"] < row.until
            and one["integration"] == row.integration
            and row.duration_from <= one["duration_ms"] < row.duration_to
        ]
        assert len(behind) == row.n
    assert ledger.ask("latency_over_time", **params)["n"].sum() == len(inside)


@SOME
@given(calls_drawn, spans)
def test_quantiles_lie_within_a_log_bucket_of_those_of_the_rows(ledger, rows, span):
    ledger.fill(integration_calls=rows)
    inside = [row for row in rows if span.start <= row["called_at"] < span.end]
    frame = told.totals(ledger.ask("summary", **{**span}), ["integration", "endpoint"])
    assert frame["calls"].sum() == len(inside)
    for row in frame.itertuples():
        own = [one for one in inside if (one["integration"], one["endpoint"]) == (row.integration, row.endpoint)]
        assert row.calls == len(own)
        assert row.failed == sum(one["status"] != "success" for one in own)
        assert row.timeouts == sum(one["status"] == "timeout" for one in own)
        assert row.low <= row.share <= row.high
        durations = sorted(max(one["duration_ms"], 1) for one in own)
        for name, q in told.QUANTILES.items():
            exact = durations[math.ceil(q * len(durations)) - 1]
            assert getattr(row, name) == pytest.approx(exact, rel=0.046)


THINGS = st.sampled_from(["A1", "A2", "C1", "C2", "P1", "P2", ""])
STEPS = st.lists(
    st.tuples(THINGS, st.sampled_from([0, 7]), st.integers(-30 * 60, 30), st.booleans()), min_size=1, max_size=14
)


@SOME
@given(STEPS, st.sampled_from([None, -20, 5]), st.sampled_from([None, -20, 5]))
# A thing that came back and failed again waits.
@example([("C1", 0, -60, False), ("C1", 0, -50, True), ("C1", 0, -40, False)], None, None)
def test_what_waits_and_what_came_back_is_what_a_walk_through_the_rows_finds(ledger, steps, decided, disbursed):
    decided_at = None if decided is None else NOON + decided * MINUTE
    disbursed_at = None if disbursed is None else NOON + disbursed * MINUTE
    calls, payments = [], []
    for number, (thing, weeks, minutes, good) in enumerate(sorted(steps, key=lambda one: (one[1], one[2])), start=1):
        moment = NOON - weeks * DAY + minutes * MINUTE + number * timedelta(milliseconds=1)
        key = {"A": "application_id", "C": "credit_id", "P": "credit_id"}.get(thing[:1])
        values = {key: "C-pay" if thing.startswith("P") else thing} if key else {}
        calls.append(call(moment, "api", "success" if good else "error", call_id=number, **values))
        if thing.startswith("P"):
            payments.append(payment(moment, "succeeded" if good else "failed", int(thing[1:]), number))
    ledger.fill(
        integration_calls=calls,
        payments=payments,
        applications=[application(id, decided_at) for id in ("A1", "A2")],
        credits=[credit(id, disbursed_at) for id in ("C1", "C2", "C-pay")],
    )
    day, before = NOON.date(), NOON.date() - 7 * DAY
    found = ledger.ask("cost", day=day, days=[before], as_of=NOON)
    wanted: dict[tuple[Any, ...], list[int]] = {}
    for cut in (NOON, NOON - 7 * DAY):
        things: dict[str, list[dict[str, Any]]] = {}
        tried = {one["integration_call_id"]: f"P{one['installment_id']}" for one in payments}
        for one in calls:
            if one["called_at"] < cut:
                thing = tried.get(one["call_id"]) or one["application_id"] or one["credit_id"] or f"?{one['call_id']}"
                things.setdefault(thing, []).append(one)
        for thing, own in things.items():
            failed = [one for one in own if one["status"] != "success" and one["called_at"] >= cut - DAY]
            if not failed:
                continue
            kind = {"A": "application", "C": "credit", "P": "payment", "?": "other"}[thing[0]]
            back = kind != "other" and any(
                one["status"] == "success" and one["called_at"] > failed[-1]["called_at"] for one in own
            )
            open_ = {
                "application": decided_at is None or decided_at >= cut,
                "credit": disbursed_at is None or disbursed_at >= cut,
                "payment": True,
                "other": False,
            }[kind]
            counts = wanted.setdefault((pd.Timestamp(cut.date()), kind), [0, 0, 0])
            counts[0] += 1
            counts[1] += back
            counts[2] += not back and open_
    assert {(row.day, row.kind): [row.hit, row.back, row.waiting] for row in found.itertuples()} == wanted
    amounts = {"payment": Decimal("250.50"), "credit": Decimal(1000), "application": Decimal(1000), "other": Decimal(0)}
    for row in found.itertuples():
        assert row.waiting_amount == row.waiting * amounts[row.kind]
        assert row.hit_amount == row.hit * amounts[row.kind]


def test_the_list_of_what_waits_is_the_count_of_what_waits(ledger):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    ledger.fill(
        integration_calls=[
            call(now - 3 * HOUR, "api", "error", call_id=1, application_id="A1"),
            call(now - 2 * HOUR, "api", "timeout", call_id=2, application_id="A1", error_code="slow"),
            call(now - 3 * HOUR, "api", "error", call_id=3, application_id="A2"),
            call(now - 2 * HOUR, "api", "success", call_id=4, application_id="A2"),
            call(now - 3 * HOUR, "api", "error", call_id=5, credit_id="C1"),
            call(now - 3 * HOUR, "api", "error", call_id=6, credit_id="C2"),
            call(now - 3 * HOUR, "api", "error", call_id=7, credit_id="C-pay"),
            call(now - 3 * HOUR, "api", "error", call_id=8, credit_id="C-pay"),
        ],
        payments=[
            payment(now - 3 * HOUR, "failed", 1, 7),
            payment(now - 3 * HOUR, "failed", 2, 8),
            payment(now - HOUR, "succeeded", 2, None),
        ],
        applications=[application("A1", amount=700), application("A2")],
        credits=[credit("C1", amount=5000), credit("C2", now - HOUR), credit("C-pay", now - 90 * DAY)],
    )
    listed = queries.rows("integrations/unserved", {"integration": "api", "start": now - DAY, "end": now})
    assert [(row.kind, row.amount) for row in listed.itertuples()] == [
        ("credit", Decimal(5000)),
        ("application", Decimal(700)),
        ("payment", Decimal("250.50")),
    ]
    assert listed.iloc[1][["error_code", "attempts", "call_id"]].tolist() == ["slow", 2, 2]
    one = {"integration": "api", "kind": "credit", "start": now - DAY, "end": now}
    assert queries.count_rows("integrations/unserved", one) == 1
    cost = ledger.ask("cost", day=now.astimezone(ZONE).date(), as_of=now)
    assert dict(zip(cost["kind"], cost["waiting"], strict=True)) == {"application": 1, "credit": 1, "payment": 1}
    assert dict(zip(cost["kind"], cost["back"], strict=True)) == {"application": 1, "credit": 0, "payment": 1}


def test_of_several_attempts_the_last_says_what_is_not_collected(ledger):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    tries = [(3 * HOUR, Decimal(400)), (2 * HOUR, Decimal(150))]
    ledger.fill(
        integration_calls=[
            call(now - ago, "api", "error", call_id=number, credit_id="C-pay")
            for number, (ago, _amount) in enumerate(tries, start=1)
        ],
        payments=[
            {**payment(now - ago, "failed", 1, number), "amount": amount}
            for number, (ago, amount) in enumerate(tries, start=1)
        ],
        credits=[credit("C-pay", now - 90 * DAY)],
    )
    cost = ledger.ask("cost", day=now.astimezone(ZONE).date(), as_of=now)
    listed = queries.rows("integrations/unserved", {"integration": "api", "start": now - DAY, "end": now})
    assert cost[["kind", "waiting", "waiting_amount"]].to_numpy().tolist() == [["payment", 1, Decimal(150)]]
    assert listed["amount"].tolist() == [Decimal(150)]


def installment(id: int, due_date: date, paid_at: datetime | None, credit_id: str) -> dict[str, Any]:
    amount = Decimal("250.50")
    return {
        "installment_id": id,
        "credit_id": credit_id,
        "sequence": 1,
        "due_date": due_date,
        "amount_due": amount,
        "amount_paid": amount if paid_at else Decimal(0),
        "paid_at": paid_at,
        "updated_at": NOON - 400 * DAY,
    }


ATTEMPT = st.tuples(st.integers(-40 * 60, -1), st.sampled_from(["paid", "failed", "declined", "failed in part"]))
INSTALLMENTS = st.lists(
    st.tuples(st.integers(-4, 1), st.sampled_from(["C1", "C2", "C3"]), st.lists(ATTEMPT, max_size=4)),
    min_size=1,
    max_size=5,
)


@SOME
@given(INSTALLMENTS)
# Not tried again; paid on retry on the next day; declined afterwards; another one of the driver is late.
@example([(-1, "C1", [(-60, "failed")])])
@example([(-3, "C1", [(-20 * 60, "failed"), (-60, "paid")])])
@example([(-1, "C1", [(-60, "failed"), (-30, "declined")])])
@example([(-1, "C1", [(-60, "failed")]), (-4, "C2", [])])
def test_who_looks_late_only_because_of_it_is_whom_a_walk_through_the_rows_finds(ledger, drawn):
    # C1 and C2 are one driver's.
    driver = {"C1": "D1", "C2": "D1", "C3": "D3"}
    calls, payments, installments = [], [], []
    known: dict[int, dict[str, Any]] = {}
    for id, (due, credit_id, attempts) in enumerate(drawn, start=1):
        told_of: list[tuple[datetime, str]] = []
        for minutes, outcome in sorted(attempts):
            if told_of and told_of[-1][1] == "paid":
                break
            moment = NOON + minutes * MINUTE + len(calls) * timedelta(milliseconds=1)
            told_of.append((moment, outcome))
            number = len(calls) + 1
            failed = outcome.startswith("failed")
            calls.append(call(moment, "api", "error" if failed else "success", call_id=number, credit_id=credit_id))
            paid = payment(moment, "succeeded" if outcome == "paid" else "failed", id, number)
            amount = Decimal(100) if outcome == "failed in part" else paid["amount"]
            payments.append({**paid, "credit_id": credit_id, "amount": amount})
        paid_at = next((moment for moment, outcome in told_of if outcome == "paid"), None)
        due_date = NOON.date() + due * DAY
        installments.append(installment(id, due_date, paid_at, credit_id))
        known[id] = {"due": due_date, "paid": paid_at, "tries": told_of, "driver": driver[credit_id]}
    ledger.fill(
        integration_calls=calls,
        payments=payments,
        installments=installments,
        credits=[{**credit(id, NOON - 90 * DAY), "conductor_id": name} for id, name in driver.items()],
    )

    looks: dict[int, tuple[str, date, datetime]] = {}
    for id, one in known.items():
        failed = [
            (moment, outcome)
            for moment, outcome in one["tries"]
            if outcome.startswith("failed") and moment >= NOON - DAY
        ]
        if not failed or failed[0][1] == "failed in part":
            continue
        first = failed[0][0]
        if any(outcome == "declined" and moment > first for moment, outcome in one["tries"]):
            continue
        if one["paid"] is None:
            state, seen_day, seen_at = "late", NOON.date(), NOON
        else:
            paid_day = one["paid"].astimezone(ZONE).date()
            state, seen_day = "paid", paid_day - DAY
            seen_at = datetime.combine(paid_day, datetime.min.time(), ZONE)
            if seen_day < first.astimezone(ZONE).date():
                continue
        if one["due"] < seen_day:
            looks[id] = (state, seen_day, seen_at)
    wanted = {
        id: state
        for id, (state, seen_day, seen_at) in looks.items()
        if not any(
            other["driver"] == known[id]["driver"]
            and other_id not in looks
            and other["due"] < seen_day
            and (other["paid"] is None or other["paid"] >= seen_at)
            for other_id, other in known.items()
        )
    }
    found = ledger.ask("looks_late", day=NOON.date(), as_of=NOON)
    assert dict(zip(found["installment_id"], found["state"], strict=True)) == wanted
    # The list that a click opens is the same.
    for state in told.LATE_STATES:
        params = {"day": NOON.date(), "as_of": NOON, "integration": "api", "state": state}
        assert queries.count_rows("integrations/looks_late", params) == sum(one == state for one in wanted.values())
    made = told.late_costs(found, NOON.date(), [])
    drivers = {(row.state): row.drivers for row in made.itertuples() if row.drivers}
    assert drivers == {
        state: len({known[id]["driver"] for id, one in wanted.items() if one == state})
        for state in set(wanted.values())
    }


def test_who_looks_late_is_compared_with_the_median_of_the_normal_days(ledger):
    weeks = [0, 7, 14, 21]
    calls, payments, installments = [], [], []
    for id, (week, many) in enumerate([(0, 2), (7, 3), (14, 1), (21, 0)]):
        for number in range(many):
            key = id * 10 + number + 1
            moment = NOON - week * DAY - HOUR + number * MINUTE
            calls.append(call(moment, "api", "timeout", call_id=key, credit_id=f"C{key}"))
            payments.append({**payment(moment, "failed", key, key), "credit_id": f"C{key}", "payment_id": key})
            # Those of normal days were paid later: they looked late at that time.
            paid_at = NOON - week * DAY + 3 * HOUR if week else None
            installments.append(installment(key, (NOON - (week + 2) * DAY).date(), paid_at, f"C{key}"))
    ledger.fill(
        integration_calls=calls,
        payments=payments,
        installments=installments,
        credits=[credit(one["credit_id"], NOON - 90 * DAY) for one in installments],
    )
    day, *days = [NOON.date() - week * DAY for week in weeks]
    found = ledger.ask("looks_late", day=day, days=days, as_of=NOON)
    late = told.late_costs(found, day, days).set_index("state").loc["late"]
    assert late[["drivers", "installments", "amount"]].tolist() == [2, 2, 501.0]
    assert late[["drivers_normal", "amount_normal"]].tolist() == [1, 250.5]
    assert math.isnan(told.late_costs(found, day, []).set_index("state").loc["late", "drivers_normal"])


def test_first_and_last_seen_of_a_code_are_to_the_moment(ledger):
    rows = [
        call(NOON - 40 * DAY + timedelta(seconds=7), "api", "error", error_code="x"),
        call(NOON - 3 * DAY, "api", "error", error_code="x"),
        call(NOON - timedelta(seconds=3), "api", "error", error_code="x"),
        call(NOON - HOUR, "api", "error", error_code=None),
        call(NOON - HOUR, "other", "error", error_code="z"),
        call(NOON - HOUR, "api", "success"),
    ]
    ledger.fill(integration_calls=rows)
    codes = ledger.ask("codes", integration="api").set_index("error_code")
    assert codes.loc["x", "first_seen"] == rows[0]["called_at"]
    assert codes.loc["x", "last_seen"] == rows[2]["called_at"]
    assert codes["n"].to_dict() == {"x": 3, "": 1}
    over = ledger.ask("over_time", start=NOON - DAY, end=NOON, step=1800, fine=True, integrations=["api"])
    seen = told.codes_seen(ledger.ask("codes", integration="api"), over)
    assert dict(zip(seen["error_code"], seen["n_span"], strict=True)) == {"x": 1, "": 1}


def test_the_last_calls_of_each_integration_and_its_hour(ledger):
    now = datetime.now(UTC)
    rows = [
        call(now - 2 * DAY, "quiet one", "error", error_code="old"),
        call(now - 30 * MINUTE, "neon", "error", error_code="held"),
        call(now - 20 * MINUTE, "neon", "success"),
        call(now - 2 * HOUR, "neon", "success"),
    ]
    ledger.fill(integration_calls=rows)
    frame = ledger.ask("latest", as_of=now).set_index("integration")
    assert frame.loc["neon", ["calls_hour", "failed_hour", "last_error_code"]].tolist() == [2, 1, "held"]
    assert frame.loc["neon", "last_success"] == rows[2]["called_at"]
    assert frame.loc["quiet one", "calls_hour"] == 0
    assert pd.isna(frame.loc["quiet one", "last_success"])


# --- the statistics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "failed", "state"),
    [
        (0, 0, "quiet"),
        (2, 2, "degraded"),
        (3, 3, "failing"),
        (100, 1, "well"),
        (100, 6, "degraded"),
        (10, 3, "failing"),
    ],
)
def test_a_state_needs_more_than_one_failed_call(calls, failed, state):
    assert told.state_of(calls, failed) == state


def test_a_normal_day_without_a_failed_call_counts_as_none():
    day = date(2026, 3, 17)
    days = [day - 7 * DAY, day - 14 * DAY, day - 21 * DAY]
    row = dict.fromkeys(told.COST_COLUMNS, 2)
    frame = pd.DataFrame(
        [
            {"day": pd.Timestamp(day), "integration": "api", "kind": "credit", **row},
            {"day": pd.Timestamp(days[0]), "integration": "api", "kind": "credit", **row},
            {"day": pd.Timestamp(days[1]), "integration": "api", "kind": "payment", **row},
        ]
    )
    made = told.costs(frame, day, days).set_index("kind")
    assert made.loc["credit", ["waiting", "waiting_normal"]].tolist() == [2.0, 0.0]
    assert made.loc["payment", "waiting"] == 0.0
    assert math.isnan(told.costs(frame, day, []).set_index("kind").loc["credit", "waiting_normal"])


def test_before_and_after_tell_a_certain_change_from_chance():
    def summary(good: int, bad: int, endpoint: str = "/a") -> pd.DataFrame:
        rows = [("api", endpoint, "success", 40, good), ("api", endpoint, "error", 60, bad)]
        return pd.DataFrame(
            [row for row in rows if row[4]], columns=["integration", "endpoint", "status", "bucket", "n"]
        )

    sure = told.before_after(summary(990, 10), summary(800, 200)).iloc[0]
    assert sure["endpoint"] == ""
    assert sure["certain"]
    assert sure["difference"] == pytest.approx(0.19)
    assert sure["low"] < 0.19 < sure["high"]
    assert not told.before_after(summary(9, 1), summary(8, 2)).iloc[0]["certain"]
    one = told.before_after(summary(5, 0), summary(0, 0)).iloc[0]
    assert math.isnan(one["difference"])
    assert not one["certain"]


def test_bands_double_and_leave_no_gap():
    frame = pd.DataFrame(
        {
            "at": [NOON, NOON],
            "until": [NOON + HOUR] * 2,
            "duration_from": [0, 4096],
            "duration_to": [2, 8192],
            "n": [1, 3],
        }
    )
    cells, bands = told.latency_cells(frame)
    assert cells["share"].tolist() == [0.25, 0.75]
    assert bands[0] == "4–8 s"
    assert bands[-1] == "0–2 ms"
    assert len(bands) == 13
    assert set(cells["band"]) <= set(bands)


def test_a_gap_of_a_series_is_drawn_as_a_gap():
    times = pd.to_datetime([0, 60, 120, 300, 360], unit="s", utc=True)
    frame = pd.DataFrame({"time": times, "integration": "a", "value": 1.0})
    whole = told.with_gaps(frame, ["integration"])
    assert len(whole) == 6
    assert math.isnan(whole["value"].iloc[3])


def test_a_stretch_without_calls_has_no_error_rate():
    at = pd.to_datetime([0, 600, 2400], unit="s", utc=True)
    rows = {"at": at, "until": at + pd.Timedelta(minutes=10), "endpoint": "/a", "status": "error", "n": 2}
    rates = told.error_rates(pd.DataFrame(rows), "endpoint")
    assert rates["share"].tolist() == pytest.approx([1, 1, math.nan, 1], nan_ok=True)
    assert rates["failed"].tolist() == [2, 2, 0, 2]
    assert rates["at"].iloc[2] == at[1] + pd.Timedelta(minutes=10)


def test_cells_of_error_rates_are_those_with_calls_and_what_fails_most_stands_first():
    at = pd.to_datetime([0, 0, 1200], unit="s", utc=True)
    rows = {"at": at, "until": at + pd.Timedelta(minutes=10), "endpoint": ["/a", "/b", "/b"], "n": [4, 1, 2]}
    cells, order = told.rate_cells(pd.DataFrame({**rows, "status": ["success", "error", "error"]}), "endpoint")
    assert cells[["endpoint", "calls", "share"]].to_numpy().tolist() == [["/a", 4, 0.0], ["/b", 1, 1.0], ["/b", 2, 1.0]]
    assert order == ["/b", "/a"]


def test_failed_calls_are_asked_for_even_where_none_failed():
    good = pd.DataFrame({"status": ["success"]})
    # An empty list of statuses would ask for all calls.
    assert told.failures(good) == ("error",)
    assert told.of_outcome(good, "failed")[1] == ("error",)
    assert told.of_outcome(good, "any")[1] == ()


def test_a_long_window_is_rounded_to_the_hours_of_the_hourly_table():
    start, end = NOON + 17 * MINUTE + timedelta(seconds=3), NOON + 50 * HOUR + MINUTE
    assert told.whole_hours(start, end) == (NOON, NOON + 51 * HOUR)
    assert told.whole_hours(NOON, NOON + HOUR) == (NOON, NOON + HOUR)


def test_a_bar_that_stands_alone_is_as_wide_as_its_stretch():
    rows = {"at": [NOON], "until": [NOON + 2 * MINUTE], "status": ["error"], "n": [3]}
    drawn = components.bars_over_time(
        told.by_status(pd.DataFrame(rows)), x="at", y="n", unit="count", title="Calls", until="until"
    )
    edges = re.findall(r"'_(?:x|to)': '([^']*)'", str(drawn.chart.to_dict()))
    assert all("2026-03-17T12:00:00" <= edge < "2026-03-17T12:02:00" for edge in edges)


@pytest.mark.parametrize("name", RANGES)
def test_a_span_holds_its_length_and_ends_ahead_by_less_than_a_stretch(name):
    for now in (datetime(2026, 3, 17, 14, 7, 31, tzinfo=ZONE), datetime(2026, 3, 17, tzinfo=ZONE)):
        span = span_of(name, now)
        length, step = RANGES[name]
        assert timedelta() <= span.end - now < timedelta(seconds=min(step, 3600))
        assert now - span.start >= timedelta(seconds=length - 86400 * (step >= 86400))
        assert now - span.start < timedelta(seconds=length + step)
        assert span.fine == (step < 3600)
        if not span.fine:
            assert span.start.minute == span.end.minute == 0


def test_days_are_whole_local_days():
    now = datetime(2026, 3, 17, 14, 7, tzinfo=ZONE)
    span = span_of_days(date(2022, 10, 30), date(2022, 10, 30), now)
    assert span.end.astimezone(UTC) - span.start.astimezone(UTC) == 25 * HOUR
    assert span.name == DAYS
    assert span.query_params() == {"range": ["days"], "from": ["2022-10-30"], "to": ["2022-10-30"]}
    assert span_of_days(date(2026, 3, 17), date(2026, 3, 17), now).end - now < HOUR


# --- the metrics, on known series -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known_series(prometheus_server) -> tuple[str, datetime]:
    """Six hours until now: `a` 6 calls a minute on two replicas, a tenth fails, one of which restarts; `b` stopped two
    hours ago; `c` is never called."""
    end = int(time.time()) // 60 * 60
    times = [*range(end - 6 * 3600, end + 1, 60)]
    lines = []

    def counter(name: str, labels: str, a_minute: float, *, until: int = end, reset: int | None = None) -> None:
        value = 0.0
        for moment in times:
            if moment > until:
                break
            value = 0.0 if moment == reset else value + a_minute
            lines.append(f"{name}{{{labels}}} {value} {moment}")

    restart = end - 3 * 3600
    for replica, reset in (("1", None), ("2", restart)):
        for status, a_minute in (("success", 2.7), ("error", 0.2), ("timeout", 0.1)):
            labels = f'integration="a",endpoint="/x",status="{status}",instance="{replica}"'
            counter("integration_api_calls_total", labels, a_minute, reset=reset)
        # Half within 0.1 s, all within 0.5 s on /x; ten times as rare, all of /y within 10 s.
        for endpoint, buckets in (
            ("/x", {"0.1": 50, "0.5": 100, "10.0": 100, "+Inf": 100}),
            ("/y", {"0.1": 0, "0.5": 0, "10.0": 10, "+Inf": 10}),
        ):
            for le, a_minute in buckets.items():
                labels = f'integration="a",endpoint="{endpoint}",instance="{replica}",le="{le}"'
                counter("integration_api_duration_seconds_bucket", labels, a_minute, reset=reset)
    counter(
        "integration_api_calls_total",
        'integration="b",endpoint="/x",status="success",instance="1"',
        1.0,
        until=end - 2 * 3600,
    )
    counter("integration_api_calls_total", 'integration="c",endpoint="/x",status="success",instance="1"', 0.0)
    return prometheus_server("\n".join([*lines, "# EOF\n"])), datetime.fromtimestamp(end, UTC)


@pytest.fixture
def measured(known_series, ledger) -> Iterator[datetime]:
    url, end = known_series
    before = sources._connected().sources
    queries.connect(Sources(prometheus=Prometheus(url=url), scrape_interval=60))
    yield end
    queries.connect(before)


def test_rates_of_all_replicas_are_summed_resets_and_gaps_included(measured):
    span = {"start": measured - 5 * HOUR, "end": measured}
    rate = queries.metrics("integrations/call_rate", span)
    a = rate[rate["integration"] == "a"]["value"]
    # A restart loses the calls of one scrape, and is no fall below nothing.
    assert a.median() == pytest.approx(6.0, rel=0.01)
    assert a.min() > 4.0
    assert rate[rate["integration"] == "b"]["time"].max() < pd.Timestamp(measured - 2 * HOUR + 10 * MINUTE)
    errors = queries.metrics("integrations/error_rate", span)
    assert errors[errors["integration"] == "a"]["value"].median() == pytest.approx(0.1, rel=0.01)
    assert (errors[errors["integration"] == "b"]["value"] == 0).all()
    # Nothing over nothing is no share.
    assert "c" not in set(errors["integration"])
    assert set(queries.metrics("integrations/call_rate", {**span, "integrations": ["b"]})["integration"]) == {"b"}


def test_quantiles_are_of_all_endpoints_and_replicas(measured):
    latency = queries.metrics("integrations/latency", {"start": measured - HOUR, "end": measured, "quantile": 0.95})
    # 104.5 of 110: 4.5 of the 10 calls between 0.5 and 10 s.
    assert latency["value"].tolist() == pytest.approx([0.5 + 9.5 * 0.45] * len(latency), rel=0.01)
    over = {"time": measured, "range": "1h"}
    quantiles = queries.metrics("integrations/quantiles", over)
    values = quantiles.set_index(["integration", "quantile"])["value"]
    # 55 of 110: 5 of the 50 between 0.1 and 0.5 s.
    assert values["a", "p50"] == pytest.approx(0.1 + 0.4 * 0.1, rel=0.01)
    assert set(values.index.get_level_values(0)) == {"a"}
    calls = queries.metrics("integrations/calls", over).set_index(["integration", "outcome"])["value"]
    assert calls["a", "all"] == pytest.approx(360, rel=0.02)
    assert calls["a", "failed"] == pytest.approx(36, rel=0.02)


# --- the page as it is drawn ------------------------------------------------------------------------------------------


def page(**asked: str) -> AppTest:
    components.set_default_language("en")
    # As in the dashboard, where every page is known: links to pages need them.
    app = AppTest.from_string(SCRIPT, default_timeout=40)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.title, *app.markdown, *app.caption, *app.warning, *app.code])


@pytest.fixture
def failing(ledger) -> datetime:
    """NEON fails in this hour: two credits wait, one came back."""
    now = datetime.now(UTC).replace(microsecond=0)
    held = {"error_code": "ledger_locked", "error_message": "Another operation holds the account"}
    ledger.fill(
        integration_calls=[
            call(
                now - 9 * MINUTE,
                "neon",
                "error",
                call_id=11,
                credit_id="C0000001",
                request_id="req-11",
                trace_id="a" * 32,
                **held,
            ),
            call(now - 8 * MINUTE, "neon", "error", call_id=12, credit_id="C0000002", **held),
            call(now - 7 * MINUTE, "neon", "error", call_id=13, credit_id="C0000003", **held),
            call(now - 3 * MINUTE, "neon", "success", call_id=14, credit_id="C0000003"),
            *(call(now - 5 * MINUTE - n * MINUTE, "geotab", call_id=20 + n) for n in range(20)),
        ],
        credits=[credit("C0000001", amount=50_000), credit("C0000002", amount=20_000), credit("C0000003")],
        applications=[application("A-C0000001")],
    )
    return now


def test_the_page_says_what_fails_and_what_it_costs(failing):
    app = page()
    assert not app.exception
    said = words(app)
    assert "**NEON** failing" in said
    assert "3 of 4 failed in the last hour" in said
    assert "Disbursements held up: 2 (\\$70.0 k not sent), normally 0 (\\$0)" in said
    assert "came back on retry: 1 (\\$1.0 k)." in said
    assert "**Geotab** well" in said
    # What fails stands above what does not.
    assert said.index("**NEON**") < said.index("**Geotab**")
    assert "No Alertmanager is configured: set MIRADOR_ALERTMANAGER_URL" in said
    labels = [button.label for button in app.button]
    assert any(label.startswith("Last failure") and label.endswith("Account locked") for label in labels)
    assert "No metrics are configured: set MIRADOR_PROMETHEUS_URL" in words(page(section="live"))


def test_what_fails_now_is_not_told_from_an_older_answer(failing, ledger):
    before = sources._connected().sources
    # Each answer is old at once, and could be given for ten minutes while a new one is fetched.
    queries.connect(Sources(ledger_url=ledger.reader, fresh_for=0.0, grace=600.0))
    try:
        assert "**Geotab** well" in words(page())
        ledger.owner.cursor().execute("update bi.integration_calls set status = 'timeout' where integration = 'geotab'")
        ledger.owner.commit()
        assert "**Geotab** failing" in words(page())
    finally:
        queries.connect(before)


def test_the_last_failure_of_a_row_leads_to_its_call(failing):
    app = page()
    next(button for button in app.button if button.label.startswith("Last failure")).click().run()
    assert app.query_params["id"] in ("13", ["13"])
    assert "**Call 13**" in words(app)


def test_one_integration_has_its_codes_its_numbers_and_what_waits(failing):
    app = page(integration="neon", range="1h", section="all")
    assert not app.exception
    told_ = {metric.label: metric.value for metric in app.metric}
    assert told_["Calls"] == "4"
    assert told_["Error rate"] == "75.0 %"
    tables = [frame.value for frame in app.dataframe]
    waits = next(frame for frame in tables if "waiting" in frame)
    assert waits[["what", "waiting", "waiting_amount", "back"]].to_numpy().tolist() == [
        ["Disbursements held up", 2.0, 70_000.0, 1.0]
    ]
    codes = next(frame for frame in tables if "n_span" in frame)
    assert codes[["error_code", "n_span", "n"]].to_numpy().tolist() == [["Account locked", 3, 3]]
    said = words(app)
    assert "No driver looks late only because of it." in said
    for title in ("Error rate by endpoint", "Latency over time", "Error codes over time", "Calls over time"):
        assert f"**{title}**" in said


def test_the_list_of_calls_is_narrowed_by_outcome_endpoint_and_code(failing):
    def listed(**asked: str) -> list[int]:
        frames = [frame.value for frame in page(range="1h", **asked).dataframe]
        return [
            int(one) for frame in frames if "request_id" in frame and "called_at" in frame for one in frame["call_id"]
        ]

    assert listed(integration="neon") == [13, 12, 11]
    assert listed(integration="neon", outcome="good") == [14]
    assert listed(integration="neon", outcome="any") == [14, 13, 12, 11]
    assert listed(integration="geotab") == []
    assert len(listed(integration="geotab", outcome="any")) == 10
    assert listed(integration="neon", code="ledger_locked", endpoint="/v1") == [13, 12, 11]
    assert "No call of this period is like that." in words(page(integration="neon", range="1h", code="other"))


def test_older_calls_are_a_click_away(failing):
    app = page(integration="geotab", range="1h", outcome="any")
    app = next(button for button in app.button if button.label == "Older").click().run()
    listed = next(frame.value for frame in app.dataframe if "request_id" in frame.value)
    assert listed["call_id"].tolist() == list(range(30, 40))
    app = next(button for button in app.button if button.label == "Newer").click().run()
    listed = next(frame.value for frame in app.dataframe if "request_id" in frame.value)
    assert listed["call_id"].tolist() == list(range(20, 30))


def test_one_call_leads_to_the_credit_that_it_served(failing):
    app = page(integration="neon", id="11")
    assert not app.exception
    said = words(app)
    assert "**Call 11**" in said
    assert "req-11" in said
    assert "Another operation holds the account" in said
    assert "It served the credit of \\$50,000.00 (Pending)" in said
    assert "Not come back on retry" in said
    # What nobody has configured is a line that says how.
    assert "No logs are configured" in said
    assert "No Jaeger is configured: set MIRADOR_JAEGER_URL." in said
    assert "No error tracker is configured" in said
    assert "Came back on retry" in words(page(id="13"))
    assert "The ledger has no call 999." in words(page(id="999"))
    assert "is not the id of a call" in words(page(id="x'; drop"))


def test_a_call_is_closed_and_the_page_stands_as_it_was(failing):
    app = page(integration="neon", range="1h", id="11")
    assert "**Calls**" not in words(app)
    app = next(button for button in app.button if button.label == "Back to NEON").click().run()
    assert "id" not in app.query_params
    assert app.query_params["integration"] in ("neon", ["neon"])
    assert app.query_params["range"] in ("1h", ["1h"])
    assert "**Calls**" in words(app)


def test_a_call_without_a_request_and_a_trace_shows_no_lines_of_others(ledger):
    ledger.fill(integration_calls=[call(datetime.now(UTC) - 9 * MINUTE, call_id=1, request_id="")])
    said = words(page(id="1"))
    assert said.count("The ledger knows neither a request nor a trace of this call") == 2
    assert "It served no credit and no application of the ledger." in said


def test_a_long_window_of_a_link_counts_the_calls_that_its_marks_open(ledger):
    now = datetime.now(UTC).replace(microsecond=0)
    begin = (now - 3 * DAY).replace(minute=0, second=0)
    ledger.fill(
        integration_calls=[
            call(begin + 10 * MINUTE, "neon", "error", call_id=1),
            call(begin + 40 * MINUTE, "neon", "error", call_id=2),
        ]
    )
    window = {"from": (begin + 20 * MINUTE).isoformat(), "to": (begin + 40 * HOUR).isoformat()}
    app = page(integration="neon", **window)
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["Calls"] == "2"
    listed = next(frame.value for frame in app.dataframe if "request_id" in frame.value)
    assert listed["call_id"].tolist() == [2, 1]


def test_a_request_opens_its_call(failing):
    said = words(page(request="req-11"))
    assert "**Call 11**" in said
    assert "Another operation holds the account" in said
    assert "The ledger has no call of the request nothing" in words(page(request="nothing"))


def test_of_several_calls_of_a_request_the_failed_one_is_opened(ledger):
    now = datetime.now(UTC).replace(microsecond=0)
    ledger.fill(
        integration_calls=[
            call(now - 9 * MINUTE, "metamap", call_id=1, request_id="req-two"),
            call(now - 8 * MINUTE, "geotab", "timeout", call_id=2, request_id="req-two"),
        ]
    )
    said = words(page(request="req-two"))
    assert "This request made 2 calls." in said
    assert "**Call 2**" in said
    assert "**Call 1**" in words(page(request="req-two", call="1"))


def test_sources_that_are_away_leave_the_row_of_the_call(failing, ledger):
    before = sources._connected().sources
    gone = "http://127.0.0.1:9"
    queries.connect(
        Sources(
            ledger_url=ledger.reader,
            outside=Outside(
                jaeger_url=gone,
                elasticsearch_url=gone,
                sentry_url=gone,
                sentry_token="t",
                sentry_organization="o",
                alertmanager_url=gone,
            ),
            connect_timeout=1,
        )
    )
    try:
        app, every = page(id="11"), page()
    finally:
        queries.connect(before)
    assert not app.exception
    said = words(app)
    assert "Another operation holds the account" in said
    assert said.count("cannot be reached") == 3
    assert "Open alerts are not known: Alertmanager cannot be reached." in words(every)
    assert "**NEON** failing" in words(every)


def test_a_moment_of_the_link_is_compared(failing):
    moment = (failing - 30 * MINUTE).astimezone(ZONE).replace(second=0, tzinfo=None)
    asked = {"integration": "neon", "section": "moment"}
    app = page(**asked, moment=moment.isoformat(timespec="minutes"), around="1h")
    assert not app.exception
    assert "There are calls on one side only." in words(app)
    assert "The link's moment cannot be" in words(page(**asked, moment="yesterday"))
    every = page(section="moment", moment=moment.isoformat(timespec="minutes"), around="1h")
    parts = next(frame.value for frame in every.dataframe)
    assert parts["integration"].tolist() == ["All integrations", "NEON", "Geotab"]


def test_an_exact_window_of_a_link_is_looked_at_and_travels_on(failing):
    start, end = failing - 8 * MINUTE - 30 * timedelta(seconds=1), failing - 6 * MINUTE
    window = {"from": start.astimezone(ZONE).isoformat(), "to": end.astimezone(ZONE).isoformat()}
    app = page(integration="neon", **window)
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["Calls"] == "2"
    links = [one.proto.query_string for one in app.get("page_link")]
    assert links
    assert all("from=" in link and "T" in link and "integration=neon" in link for link in links)


def test_an_integration_that_is_not_known_is_told(failing):
    app = page(integration="nobody", range="never")
    assert not app.exception
    assert "nobody" in words(app)
    assert "never" in words(app)


def test_an_integration_that_was_called_long_ago_can_be_chosen_for_its_period(ledger):
    now = datetime.now(UTC)
    ledger.fill(integration_calls=[call(now - HOUR, "neon"), call(now - 60 * DAY, "old_partner", "error")])
    then = (now - 60 * DAY).astimezone(ZONE).date().isoformat()
    recent, older = page(), page(range="days", **{"from": then, "to": then})
    assert "old_partner" not in recent.segmented_control(key="integration").options
    assert "old_partner" in older.segmented_control(key="integration").options
    # Its row stands in the list, too, with the calls of the period.
    said = words(older)
    assert r"**old\_partner** quiet" in said
    assert "100.0 %" in said


def test_an_empty_ledger_leaves_an_empty_page(ledger):
    ledger.fill()
    app = page()
    assert not app.exception
    assert "No integration was called in the last 30 days." in words(app)


def test_without_prometheus_the_ledgers_half_stands(failing, ledger):
    before = sources._connected().sources
    queries.connect(
        Sources(ledger_url=ledger.reader, prometheus=Prometheus(url="http://127.0.0.1:9"), connect_timeout=1)
    )
    try:
        app = page(section="all")
    finally:
        queries.connect(before)
    assert not app.exception
    said = words(app)
    assert "Prometheus cannot be reached." in said
    assert "Disbursements held up: 2" in said


def test_without_the_ledger_the_metrics_say_what_they_know(known_series, ledger):
    before = sources._connected().sources
    queries.connect(
        Sources(
            ledger_url="postgresql://nobody@127.0.0.1:9/none",
            prometheus=Prometheus(url=known_series[0]),
            scrape_interval=60,
            connect_timeout=1,
        )
    )
    try:
        app = page(range="6h")
    finally:
        queries.connect(before)
    assert not app.exception
    said = words(app)
    assert "The ledger cannot be reached." in said
    # A little less than 6: one of its replicas restarted.
    assert re.search(r"\*\*a\*\*  \n:small\[By the metrics, about: [56]\.\d calls/min · (9\.9|10\.\d) %", said)


def test_without_the_ledger_the_page_stands_and_keeps_the_links_integration(ledger):
    before = sources._connected().sources
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    try:
        app, one, request = page(integration="neon"), page(id="11"), page(request="req-11")
    finally:
        queries.connect(before)
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)
    assert app.query_params["integration"] in ("neon", ["neon"])
    assert "The ledger cannot be reached." in words(one)
    # Lines and errors are found by the request alone.
    assert "The ledger cannot be reached." in words(request)
    assert "No logs are configured" in words(request)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_from_the_integration_over_its_code_to_the_call(failing, ledger, server_dir):
    env = {"MIRADOR_LEDGER_URL": ledger.reader, "MIRADOR_LANGUAGE": "en"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window,
    ):
        window.open(dashboard.url + "/integrations?range=6h", timeout=90)
        window.page.locator(".st-key-integration-neon").get_by_role("button", name="Look into it").click()
        window.page.wait_for_url(re.compile(r"[?&]integration=neon"), timeout=20_000)
        assert "range=6h" in window.page.url
        window.page.get_by_role("radio", name="Where it fails").click()
        window.page.wait_for_url(re.compile(r"[?&]section=causes"), timeout=20_000)
        codes = window.page.locator(".st-key-panel-codes .dvn-scroller").first
        codes.wait_for(timeout=20_000)
        codes.scroll_into_view_if_needed()
        opened = window.page.locator(".st-key-rows-codes")
        # The table takes its clicks once its cells are painted, which nothing in the page tells.
        for _ in range(8):
            codes.click(position={"x": 16, "y": 35 * 1.5})
            with contextlib.suppress(PlaywrightTimeout):
                opened.get_by_text(re.compile("3 rows")).first.wait_for(timeout=5_000)
                break
        table = opened.locator(".dvn-scroller").first
        table.scroll_into_view_if_needed()
        for _ in range(8):
            table.click(position={"x": 40, "y": 35 * 1.5})
            with contextlib.suppress(PlaywrightTimeout):
                window.page.wait_for_url(re.compile(r"[?&]id=1[123]"), timeout=5_000)
                break
        window.wait_for_text("Another operation holds the account", timeout=20)
        assert "integration=neon" in window.page.url
        assert "range=6h" in window.page.url
        window.assert_clean()
