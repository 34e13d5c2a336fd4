"""Ledgers of any size for `make bench`: seeded columns in numpy, loaded by COPY, indexed afterwards.

1x is 0.4 M applications, 0.22 M credits, 5 M installments, about 5 M payments and 5 M integration calls over 24 months.
The demo's history is a story to look at; this is weight, with the same shapes: tiers by score, lateness by score, a
quincena in the payments, calls that fail now and then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from sqlalchemy import make_url

from demo.history import NAT, _copy, _ids, _money, _times

INDEXES = Path(__file__).resolve().parent.parent / "demo" / "indexes.sql"
DAYS = 730
APPLICATIONS = 400_000
INSTALLMENTS_A_CREDIT = 23
CALLS = 5_000_000
DAY, HOUR = 86_400_000_000, 3_600_000_000
TIERS = np.array(["C", "B", "A", "AA", "AAA"])
EDGES = [62, 70, 78, 86]
Columns = dict[str, Any]


def load(url: str, *, scale: float, until: datetime | None = None, seed: int = 11) -> None:
    """Fill the empty tables of schema `bi` with the two years before `until` (default: now) and index them."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    end = int((until or datetime.now(UTC)).timestamp() * 1_000_000)
    with psycopg.connect(dsn) as connection:
        for number, chunk in enumerate(_chunks(scale, end, seed)):
            for table, columns in chunk.items():
                _copy(connection, table, columns)
            if number % 10 == 9:
                connection.commit()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in INDEXES.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("vacuum (analyze, freeze)")


def add(url: str, *, share: float, now: datetime | None = None) -> None:
    """Add that share of new rows to each table, as a busy day brings them: new applications and credits, due
    installments paid, calls made. Times are those of the last hours."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    moment = now or datetime.now(UTC)
    with psycopg.connect(dsn) as connection:
        for statement in (
            """insert into bi.applications select 'N' || application_id, conductor_id, at, amount_requested, hase_score,
                   sinosure_tier, status, case when decided_at is null then null else at end, rejection_reason, at
               from bi.applications, (select %(now)s::timestamptz - interval '1 minute' as at) as moment
               order by submitted_at desc limit (select count(*) from bi.applications) * %(share)s""",
            """insert into bi.credits select 'N' || credit_id, 'N' || application_id, conductor_id, sinosure_tier,
                   principal, at, at, 'settled', 'active', null, at
               from bi.credits, (select %(now)s::timestamptz - interval '1 minute' as at) as moment
               order by approved_at desc limit (select count(*) from bi.credits) * %(share)s""",
            """insert into bi.installments
               select (select max(installment_id) from bi.installments) + row_number() over (), c.credit_id, n,
                   (%(now)s::timestamptz)::date + 7 * n, 5000, 0, null, %(now)s
               from bi.credits c, generate_series(1, 23) as n where c.credit_id like 'N%%'
               limit (select count(*) from bi.installments) * %(share)s""",
            """with paid as (
                   update bi.installments set amount_paid = amount_due, paid_at = %(now)s, updated_at = %(now)s
                   where installment_id in (
                       select installment_id from bi.installments where paid_at is null and credit_id not like 'N%%'
                       order by due_date limit (select count(*) from bi.payments) * %(share)s
                   ) returning credit_id, installment_id, amount_due
               )
               insert into bi.payments
               select (select max(payment_id) from bi.payments) + row_number() over (), credit_id, installment_id,
                   %(now)s, amount_due, 'succeeded', 'spei', null, null, %(now)s from paid""",
            """insert into bi.hase_scores select (select max(score_id) from bi.hase_scores) + row_number() over (),
                   application_id, conductor_id, hase_score, 'bench-2', submitted_at
               from bi.applications where application_id like 'N%%' and hase_score is not null""",
            """insert into bi.integration_calls
               select (select max(call_id) from bi.integration_calls) + n, %(now)s, 'neon', '/disbursements', 'success',
                   200, 120, null, null, 'N' || n, null, null, null
               from generate_series(1, (select (count(*) * %(share)s)::int from bi.integration_calls)) as n""",
        ):
            connection.execute(statement, {"now": moment, "share": share})
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("analyze")


def _chunks(scale: float, end: int, seed: int) -> Iterator[dict[str, Columns]]:
    """The tables' columns, a week of applications after the other, so that memory does not grow with the scale."""
    random = np.random.default_rng(seed)
    start = end - DAYS * DAY
    weeks = np.linspace(start, end, DAYS // 7 + 1).astype("int64")
    applied = credited = installed = paid = called = 0
    for since, to in itertools.pairwise(weeks):
        n = int(APPLICATIONS * scale / (len(weeks) - 1))
        applications, credits = _applications(random, n, since, to, end, applied, credited)
        applied, credited = applied + n, credited + len(credits["credit_id"])
        installments, payments = _installments(random, credits, end, installed, paid)
        installed, paid = installed + len(installments["due_date"]), paid + len(payments["payment_id"])
        calls = _calls(random, int(CALLS * scale / (len(weeks) - 1)), since, to, called)
        called += len(calls["call_id"])
        scored = {
            "score_id": applications["number"],
            "application_id": applications["application_id"],
            "conductor_id": applications["conductor_id"],
            "score": applications["hase_score"],
            "model_version": pa.array(np.where(applications["at"] > start + 500 * DAY, "bench-2", "bench-1")),
            "calculated_at": _times(applications["at"] + 15_000_000),
        }
        for hidden in ("number", "at"):
            del applications[hidden]
        for hidden in ("disbursed", "score", "principal_centavos"):
            del credits[hidden]
        yield {
            "applications": applications,
            "credits": credits,
            "installments": installments,
            "payments": payments,
            "hase_scores": scored,
            "integration_calls": calls,
        }


def _applications(
    random: np.random.Generator, n: int, since: int, to: int, end: int, first: int, first_credit: int
) -> tuple[Columns, Columns]:
    number = np.arange(first + 1, first + n + 1)
    submitted = np.sort(random.integers(since, to, n))
    score = np.clip(random.normal(73, 11, n), 0, 100).astype("int16")
    tier = TIERS[np.searchsorted(EDGES, score, side="right")]
    decided = submitted + (random.exponential(20, n) * HOUR).astype("int64")
    approved = random.random(n) < 0.2 + 0.5 * (score > 60)
    fate = np.where(approved, "approved", np.where(random.random(n) < 0.9, "rejected", "withdrawn"))
    open_still = (decided > end) | (fate == "withdrawn")
    status = np.where((decided > end) & (fate != "withdrawn"), "pending", fate)
    reasons = np.array(["low_hase_score", "high_debt_ratio", "incomplete_documents", "kyc_failed"])
    reason = reasons[random.choice(4, n, p=[0.5, 0.2, 0.2, 0.1])]
    conductor = _ids("D", random.integers(1, max(n * 80, 2), n))
    amount = random.integers(60, 260, n) * 100_000
    changed = np.where(open_still, submitted, decided)
    applications = {
        "application_id": _ids("A", number),
        "conductor_id": conductor,
        "submitted_at": _times(submitted),
        "amount_requested": _money(amount),
        "hase_score": pa.array(score),
        "sinosure_tier": pa.array(tier),
        "status": pa.array(status),
        "decided_at": _times(np.where(open_still, NAT, decided)),
        "rejection_reason": pa.array(reason, mask=status != "rejected"),
        "updated_at": _times(changed),
        "number": pa.array(number),
        "at": submitted,
    }
    chosen = np.flatnonzero(status == "approved")
    approved_at = decided[chosen]
    disbursed = approved_at + (random.exponential(14, len(chosen)) * HOUR).astype("int64")
    waiting = disbursed > end
    principal = (amount[chosen] * random.choice([0.6, 0.8, 1.0], len(chosen))).astype("int64")
    credits = {
        "credit_id": _ids("C", np.arange(first_credit + 1, first_credit + len(chosen) + 1)),
        "application_id": _ids("A", number[chosen]),
        "conductor_id": conductor.take(pa.array(chosen)),
        "sinosure_tier": pa.array(tier[chosen]),
        "principal": _money(principal),
        "approved_at": _times(approved_at),
        "disbursed_at": _times(np.where(waiting, NAT, disbursed)),
        "disbursement_status": pa.array(np.where(waiting, "pending", "settled")),
        "status": pa.array(np.where(waiting, "pending", "active")),
        "closed_at": pa.nulls(len(chosen)),
        "updated_at": _times(np.where(waiting, approved_at, disbursed)),
        "disbursed": np.where(waiting, -1, disbursed),
        "score": score[chosen],
        "principal_centavos": principal,
    }
    return applications, credits


def _installments(
    random: np.random.Generator, credits: Columns, end: int, first: int, first_payment: int
) -> tuple[Columns, Columns]:
    has_plan = np.flatnonzero(credits["disbursed"] >= 0)
    per = INSTALLMENTS_A_CREDIT
    owner = np.repeat(has_plan, per)
    n = len(owner)
    sequence = np.tile(np.arange(1, per + 1), len(has_plan))
    due = (credits["disbursed"][owner] // DAY + 7 * sequence) * DAY
    # Paid a day early on average; the lower the score, the fatter the tail of those who are late.
    lag = random.normal(-1, 1.2, n) + random.exponential(1, n) * np.clip(90 - credits["score"][owner], 1, 60) / 8
    lost = random.random(n) < 0.01
    paid_at = due + (lag * DAY).astype("int64") + random.integers(0, 20, n) * HOUR
    unpaid = lost | (paid_at > end)
    amount = credits["principal_centavos"][owner] * 125 // (100 * per)
    identity = np.arange(first + 1, first + n + 1)
    credit = credits["credit_id"].take(pa.array(owner))
    installments = {
        "installment_id": pa.array(identity),
        "credit_id": credit,
        "sequence": pa.array(sequence),
        "due_date": pa.array((due // DAY).astype("int32"), type=pa.int32()).cast(pa.date32()),
        "amount_due": _money(amount),
        "amount_paid": _money(np.where(unpaid, 0, amount)),
        "paid_at": _times(np.where(unpaid, NAT, paid_at)),
        "updated_at": _times(np.where(unpaid, credits["disbursed"][owner], paid_at)),
    }
    # One that succeeds for each paid installment, and before some of them one that failed.
    settled = np.flatnonzero(~unpaid)
    failed = settled[random.random(len(settled)) < 0.1]
    which = np.concatenate([settled, failed])
    succeeded = np.arange(len(which)) < len(settled)
    at = np.where(succeeded, paid_at[which], paid_at[which] - 6 * HOUR)
    methods = np.array(["card", "oxxo", "spei"])[random.choice(3, len(which), p=[0.35, 0.4, 0.25])]
    codes = np.array(["card_declined", "insufficient_funds", "gateway_error"])[random.choice(3, len(which))]
    payments = {
        "payment_id": pa.array(np.arange(first_payment + 1, first_payment + len(which) + 1)),
        "credit_id": credit.take(pa.array(which)),
        "installment_id": pa.array(identity[which]),
        "processed_at": _times(at),
        "amount": _money(amount[which]),
        "status": pa.array(np.where(succeeded, "succeeded", "failed")),
        "method": pa.array(methods),
        "failure_code": pa.array(codes, mask=succeeded),
        "integration_call_id": pa.nulls(len(which)),
        "updated_at": _times(at),
    }
    return installments, payments


def _calls(random: np.random.Generator, n: int, since: int, to: int, first: int) -> Columns:
    which = random.choice(4, n, p=[0.45, 0.05, 0.4, 0.1])
    failed = random.random(n) < 0.01
    number = np.arange(first + 1, first + n + 1)
    return {
        "call_id": pa.array(number),
        "called_at": _times(np.sort(random.integers(since, to, n))),
        "integration": pa.array(np.array(["geotab", "metamap", "conekta", "neon"])[which]),
        "endpoint": pa.array(np.array(["/devices", "/verifications", "/charges", "/disbursements"])[which]),
        "status": pa.array(np.where(failed, "error", "success")),
        "http_status": pa.array(np.where(failed, 503, 200)),
        "duration_ms": pa.array(random.lognormal(5.5, 0.6, n).astype("int32")),
        "error_code": pa.array(np.full(n, "service_unavailable"), mask=~failed),
        "error_message": pa.nulls(n),
        "request_id": _ids("r", number),
        "trace_id": pa.nulls(n),
        "application_id": pa.nulls(n),
        "credit_id": pa.nulls(n),
    }
