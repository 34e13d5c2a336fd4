"""Two years of the simulated company, from a seed: rows in numpy columns, loaded by COPY.

Everything is decided in local time and stored in UTC. Money is counted in whole centavos until it is written, so that
each sum is exact: an installment's `amount_paid` is the sum of its succeeded payments, and it is paid at the moment
that makes it full. Nothing happens after `until`: what would have, has not happened yet.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from sqlalchemy import make_url

from demo import company

HERE = Path(__file__).parent
DAYS = 730
# A credit that is charged off owes about 90 days of installments; the rest of its plan is withdrawn. Charge-offs are
# rare, because what they leave unpaid counts as late for ever.
CHARGE_OFF_SHARE = 0.002
DAY, HOUR, MINUTE, SECOND = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
REFUND_BOUND = 2 * DAY
NAT = np.iinfo(np.int64).min

Array = np.ndarray[Any, Any]


def build(
    url: str,
    *,
    scale: float = 1.0,
    seed: int = 7,
    until: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Fill the empty tables of schema `bi` with the 24 months that end at `until` (default: now), then index them.

    `url` is an SQLAlchemy URL of an owner of the tables. `scale` multiplies the number of applications, and all that
    follows from them. The same seed, scale and `until` give the same rows.
    """
    say = progress or (lambda words: None)
    maker = _Maker(np.random.default_rng(seed), scale, until or datetime.now(UTC))
    tables = maker.tables(say)
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        for name, columns in tables.items():
            say(f"loading {len(next(iter(columns.values()))):,} {name.replace('_', ' ')}")
            _copy(connection, name, columns)
    with psycopg.connect(dsn, autocommit=True) as connection:
        say("indexing")
        for statement in (HERE / "indexes.sql").read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("vacuum (analyze, freeze)")


def _copy(connection: psycopg.Connection[Any], table: str, columns: Mapping[str, pa.Array]) -> None:
    batch = pa.table(dict(columns))
    text = io.BytesIO()
    pacsv.write_csv(batch, text, pacsv.WriteOptions(include_header=False, quoting_style="needed"))
    names = ", ".join(columns)
    with connection.cursor() as cursor, cursor.copy(f"copy bi.{table} ({names}) from stdin (format csv)") as copy:
        view = text.getbuffer()
        for start in range(0, len(view), 1 << 20):
            copy.write(bytes(view[start : start + (1 << 20)]))


# --- columns ----------------------------------------------------------------------------------------------------------


def _times(values: Array) -> pa.Array:
    """Microseconds since the epoch as timestamps; NAT as null."""
    return pa.array(values, mask=values == NAT).cast(pa.timestamp("us", tz="UTC"))


def _money(centavos: Array) -> pa.Array:
    whole = pa.array(centavos.astype(np.int64)).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(pa.decimal128(19, 2), len(whole), whole.buffers())


def _ids(letter: str, numbers: Array, missing: Array | None = None) -> pa.Array:
    text = np.char.add(letter, np.char.zfill(numbers.astype("U9"), 7)) if len(numbers) else np.array([], dtype="U8")
    return pa.array(text, type=pa.string(), mask=missing)


def _choices(values: Array | list[str], names: tuple[str, ...], missing: Array | None = None) -> pa.Array:
    """Codes as their names."""
    codes = np.asarray(values, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=missing), pa.array(names)).cast(pa.string())


def _hex(rng: np.random.Generator, n: int, digits: int) -> pa.Array:
    data = rng.bytes(n * digits // 2).hex().encode()
    return pa.Array.from_buffers(pa.binary(digits), n, [None, pa.py_buffer(data)]).cast(pa.binary()).cast(pa.string())


class _Maker:
    """Draws the tables one after the other; each step reads what the steps before have drawn."""

    def __init__(self, rng: np.random.Generator, scale: float, until: datetime) -> None:
        self.rng = rng
        self.scale = scale
        self.until = int(until.timestamp() * SECOND)
        self.today = until.astimezone(company.TIMEZONE).date()
        self.first = self.today - timedelta(days=DAYS)
        self.dates = [self.first + timedelta(days=n) for n in range(DAYS + 1)]
        # Local midnight of each day, and a year beyond for due dates that lie ahead, in UTC microseconds.
        self.midnights = np.array(
            [_midnight(self.first + timedelta(days=n)) for n in range(DAYS + 800)], dtype=np.int64
        )

    # -- time --

    def _moments(self, days: Array, hours: tuple[float, ...] = company.HOURS) -> Array:
        """A random moment on each of these days (numbers since `first`), by the hours' weights."""
        weights = np.array(hours) / sum(hours)
        hour = self.rng.choice(24, size=len(days), p=weights)
        within = self.rng.random(len(days))
        return self.midnights[days] + ((hour + within) * HOUR).astype(np.int64)

    def _day_of(self, moments: Array) -> Array:
        """Number of the local day, since `first`, that holds each moment."""
        return np.searchsorted(self.midnights, moments, side="right") - 1

    def _into_working_hours(self, moments: Array) -> Array:
        """The moment itself within working hours (Monday to Saturday), else early on the next working day."""
        opening, closing = company.WORKING_HOURS
        moved = moments.copy()
        for _ in range(3):
            day = self._day_of(moved)
            weekday = (day + self.first.weekday()) % 7
            clock = moved - self.midnights[day]
            early = (clock < opening * HOUR) & (weekday != 6)
            late = (clock >= closing * HOUR) | (weekday == 6)
            start = self.midnights[day + late] + opening * HOUR
            jitter = (self.rng.random(len(moved)) ** 2 * 2.5 * HOUR).astype(np.int64)
            moved = np.where(early | late, start + jitter, moved)
        return moved

    # -- the tables --

    def tables(self, say: Callable[[str], None]) -> dict[str, dict[str, pa.Array]]:
        """All tables of the contract, in the order in which they are loaded."""
        self._calls: list[dict[str, Array]] = []
        say("drawing applications and scores")
        applications = self._applications()
        scores = self._scores(applications)
        say("drawing credits")
        credits = self._credits(applications)
        say("drawing installments and payments")
        installments, payments = self._plans(credits)
        say("drawing integration calls")
        calls, order = self._integration_calls(len(payments["at"]))
        payments["call"] = order
        return {
            "applications": self._application_rows(applications),
            "hase_scores": scores,
            "credits": self._credit_rows(credits),
            "installments": self._installment_rows(installments, credits),
            "payments": self._payment_rows(payments, credits),
            "integration_calls": calls,
        }

    def _applications(self) -> dict[str, Array]:
        rng = self.rng
        expected = [
            company.APPLICATIONS_A_DAY * self.scale * company.day_factor(d) * company.growth(d, self.today)
            for d in self.dates
        ]
        days = np.repeat(np.arange(DAYS + 1), rng.poisson(expected))
        at = self._moments(days)
        order = np.argsort(at, kind="stable")
        at, days = at[order], days[order]
        known = at <= self.until
        at, days = at[known], days[known]
        n = len(at)
        quality = rng.normal(size=n)
        score = np.clip(
            np.rint(company.SCORE_MEAN + company.SCORE_SPREAD * (0.9 * quality + 0.45 * rng.normal(size=n))), 0, 100
        )
        score = score.astype(np.int64)
        floors = np.array([company.TIER_FLOORS[tier] for tier in company.TIERS])
        tier = np.argmax(score[:, None] >= floors[None, :], axis=1)
        unscored = rng.random(n) < 0.015
        withdrawn = (rng.random(n) < company.WITHDRAWN_SHARE) | unscored
        bad_day = np.array([company.is_bad_day_of_approvals(d) for d in self.dates])[days]
        chance = np.array([company.APPROVAL_BY_TIER[t] for t in company.TIERS])[tier] * np.where(bad_day, 0.35, 1.0)
        approved = (rng.random(n) < chance) & ~withdrawn
        wait = np.exp(rng.normal(np.log(2.2 * HOUR), 0.95, n)).astype(np.int64)
        decided = self._into_working_hours(at + 4 * MINUTE + wait)
        decided[withdrawn | (decided > self.until)] = NAT
        approved &= decided != NAT
        reasons = rng.choice(len(company.REASONS), size=n, p=company.REASON_SHARES)
        # A low score is turned down for its score more often.
        reasons = np.where((score < 66) & (rng.random(n) < 0.45), 0, reasons)
        status = np.where(withdrawn, 3, np.where(decided == NAT, 0, np.where(approved, 1, 2)))
        return {
            "at": at,
            "day": days,
            "conductor": rng.integers(1, max(int(n * 0.85), 2), n),
            "amount": rng.choice(company.AMOUNTS, size=n, p=company.AMOUNT_SHARES).astype(np.int64) * 100,
            "quality": quality,
            "score": score,
            "unscored": unscored | (at + 30 * SECOND > self.until),
            "tier": tier,
            "decided": decided,
            "status": status,
            "reason": reasons,
        }

    def _application_rows(self, a: dict[str, Array]) -> dict[str, pa.Array]:
        scored_at = a["at"] + 30 * SECOND
        changed = np.where(a["decided"] != NAT, a["decided"], np.where(a["unscored"], a["at"], scored_at))
        return {
            "application_id": _ids("A", np.arange(1, len(a["at"]) + 1)),
            "conductor_id": _ids("D", a["conductor"]),
            "submitted_at": _times(a["at"]),
            "amount_requested": _money(a["amount"]),
            "hase_score": pa.array(a["score"], mask=a["unscored"]),
            "sinosure_tier": _choices(a["tier"], company.TIERS, a["unscored"]),
            "status": _choices(a["status"], ("pending", "approved", "rejected", "withdrawn")),
            "decided_at": _times(a["decided"]),
            "rejection_reason": _choices(a["reason"], company.REASONS, a["status"] != 2),
            "updated_at": _times(np.minimum(changed, self.until)),
        }

    def _scores(self, a: dict[str, Array]) -> dict[str, pa.Array]:
        scored = np.flatnonzero(~a["unscored"])
        at = a["at"][scored] + (12 * SECOND + self.rng.exponential(6 * SECOND, len(scored))).astype(np.int64)
        at = np.minimum(at, a["at"][scored] + 30 * SECOND)
        new = at >= self.until - int(company.MODEL_CHANGE.total_seconds()) * SECOND
        for integration, endpoint in (("metamap", "/verifications"), ("geotab", "/trips")):
            self._note_calls(integration, endpoint, a["at"][scored] + 2 * SECOND, application=scored + 1)
        return {
            "score_id": pa.array(np.arange(1, len(scored) + 1)),
            "application_id": _ids("A", scored + 1),
            "conductor_id": _ids("D", a["conductor"][scored]),
            "score": pa.array(a["score"][scored]),
            "model_version": _choices(new.astype(np.int32), company.MODELS),
            "calculated_at": _times(at),
        }

    def _credits(self, a: dict[str, Array]) -> dict[str, Array]:
        rng = self.rng
        source = np.flatnonzero(a["status"] == 1)
        order = np.argsort(a["decided"][source], kind="stable")
        source = source[order]
        n = len(source)
        approved = a["decided"][source]
        wait = np.exp(rng.normal(np.log(7 * HOUR), 0.55, n))
        stuck = rng.random(n) < 0.014
        wait = np.where(stuck, wait + rng.uniform(45, 140, n) * HOUR, wait)
        disbursed = self._into_working_hours(approved + wait.astype(np.int64))
        cancelled = rng.random(n) < 0.012
        cancelled_at = approved + (rng.uniform(3, 60, n) * HOUR).astype(np.int64)
        cancelled &= cancelled_at <= self.until
        failed_before = (rng.random(n) < 0.03) & ~cancelled
        sent = ~cancelled & (disbursed <= self.until)
        disbursed = np.where(sent, disbursed, NAT)
        # NEON: a failed attempt some hours before the one that went through.
        tries = np.flatnonzero(failed_before)
        tried_at = np.where(sent[tries], disbursed[tries] - 3 * HOUR, approved[tries] + HOUR)
        tried = (tried_at >= approved[tries]) & (tried_at <= self.until)
        self._note_calls("neon", "/disbursements", tried_at[tried], credit=tries[tried] + 1, outcome=1)
        self._note_calls(
            "neon", "/disbursements", disbursed[sent] - 3 * SECOND, credit=np.flatnonzero(sent) + 1, outcome=0
        )
        waiting_failed = np.zeros(n, dtype=bool)
        waiting_failed[tries[tried]] = ~sent[tries[tried]]
        settled = sent & (disbursed <= self.until - DAY)
        day = self._day_of(a["at"][source])
        share = rng.uniform(0.82, 1.0, n)
        return {
            "application": source + 1,
            "conductor": a["conductor"][source],
            "tier": a["tier"][source],
            "quality": a["quality"][source],
            "risk": np.array([company.risk_factor(d) for d in self.dates])[day],
            "principal": (a["amount"][source] * share / 100_000).astype(np.int64) * 100_000,
            "approved": approved,
            "disbursed": disbursed,
            "disbursement": np.where(settled, 3, np.where(sent, 1, np.where(waiting_failed, 2, 0))),
            "cancelled": cancelled,
            "cancelled_at": cancelled_at,
            "status": np.where(cancelled, 4, np.where(sent, 1, 0)),
            "closed": np.where(cancelled, cancelled_at, NAT),
            "changed": np.where(cancelled, cancelled_at, np.where(sent, disbursed, approved)),
        }

    def _credit_rows(self, c: dict[str, Array]) -> dict[str, pa.Array]:
        return {
            "credit_id": _ids("C", np.arange(1, len(c["approved"]) + 1)),
            "application_id": _ids("A", c["application"]),
            "conductor_id": _ids("D", c["conductor"]),
            "sinosure_tier": _choices(c["tier"], company.TIERS),
            "principal": _money(c["principal"]),
            "approved_at": _times(c["approved"]),
            "disbursed_at": _times(c["disbursed"]),
            "disbursement_status": _choices(c["disbursement"], ("pending", "sent", "failed", "settled")),
            "status": _choices(c["status"], ("pending", "active", "paid", "charged_off", "cancelled")),
            "closed_at": _times(c["closed"]),
            "updated_at": _times(np.minimum(c["changed"], self.until)),
        }

    def _plans(self, c: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Each disbursed credit's weekly plan, and how it is paid."""
        rng = self.rng
        owners = np.flatnonzero(c["disbursed"] != NAT)
        k = company.INSTALLMENTS
        credit: Array = np.repeat(owners, k)
        sequence: Array = np.tile(np.arange(1, k + 1), len(owners))
        rate = np.array([company.TIER_RATE[t] for t in company.TIERS])[c["tier"][owners]]
        total = np.rint(c["principal"][owners] * (1 + rate)).astype(np.int64)
        each = total // k
        due: Array = np.repeat(each, k)
        due[k - 1 :: k] = total - each * (k - 1)
        due_day: Array = self._day_of(c["disbursed"])[credit] + 7 * sequence

        # A driver's propensity to be late follows from his quality, with luck of his own; bad spells run over months.
        luck = rng.normal(0, 0.55, len(owners))
        spell = np.repeat(rng.normal(0, 0.5, (len(owners), k // 8)), 8, axis=1).ravel()
        leaning = np.repeat(-0.85 * c["quality"][owners] + luck + np.log(c["risk"][owners]), k) + spell
        late_chance = 1 / (1 + np.exp(2.35 - leaning))
        is_late = rng.random(len(credit)) < late_chance
        severity = rng.random(len(credit))
        delay = np.where(
            severity < 0.80, rng.exponential(4.2, len(credit)) + 1,
            np.where(severity < 0.965, rng.uniform(6, 32, len(credit)), rng.uniform(30, 105, len(credit))),
        )  # fmt: skip
        delay = np.where(is_late, np.maximum(np.rint(delay), 1), -np.minimum(rng.geometric(0.55, len(credit)) - 1, 3))
        pay_day: Array = self._drawn_to_payday(due_day + delay.astype(np.int64), is_late)
        # Nobody pays before the money came.
        pay_day = np.maximum(pay_day, np.repeat(self._day_of(c["disbursed"])[owners] + 1, k))
        defaulted = rng.random(len(owners)) < CHARGE_OFF_SHARE * np.exp(-0.9 * c["quality"][owners])
        default_from = np.where(defaulted, rng.integers(4, k - 8, len(owners)), k + 1)
        dead: Array = sequence > np.repeat(default_from, k)
        first_dead_day = self._day_of(c["disbursed"])[owners] + 7 * (default_from + 1)
        charge_off_day = first_dead_day + 90
        off = defaulted & (self.midnights[np.minimum(charge_off_day, len(self.midnights) - 1)] <= self.until)
        # Nothing is collected on what is written off.
        pay_day = np.where(np.repeat(off, k), np.minimum(pay_day, np.repeat(charge_off_day - 1, k)), pay_day)
        kept = ~(np.repeat(off, k) & (due_day > np.repeat(charge_off_day, k)))
        credit, sequence, due, due_day, pay_day, dead = (
            x[kept] for x in (credit, sequence, due, due_day, pay_day, dead)
        )
        n = len(credit)

        # Never pays = a day beyond the calendar.
        far = len(self.midnights) - 1
        pays = ~dead & (pay_day < far)
        paid_moment = self._moments(np.where(pays, np.minimum(pay_day, far), 0))
        parts = pays & (rng.random(n) < 0.035)
        first_part = np.where(parts, due // 2, due)
        method = rng.choice(3, size=n, p=company.METHOD_SHARES)

        installment = np.flatnonzero(pays)
        payments = self._attempts(
            installment, paid_moment[installment], np.where(parts, due - first_part, due)[installment], method
        )
        early = np.flatnonzero(parts)
        first = self._attempts(
            early, paid_moment[early] - rng.integers(DAY, 4 * DAY, len(early)), first_part[early], method
        )
        payments = {name: np.concatenate([payments[name], first[name]]) for name in payments}
        twice = self._charged_twice(payments)
        payments = {name: np.concatenate([payments[name], twice[name]]) for name in payments}
        # Nothing is paid before the money came, and nothing has happened after now.
        known = (payments["at"] <= self.until) & (payments["at"] > c["disbursed"][credit[payments["installment"]]])
        payments = {name: values[known] for name, values in payments.items()}
        order = np.argsort(payments["at"], kind="stable")
        payments = {name: values[order] for name, values in payments.items()}
        payments["credit"] = credit[payments["installment"]]
        self._settle(payments, credit)

        # What the payments make of the installments, counted from the payments themselves.
        good = payments["status"] == 0
        paid = np.zeros(n, dtype=np.int64)
        np.add.at(paid, payments["installment"][good], payments["amount"][good])
        last = np.full(n, NAT)
        np.maximum.at(last, payments["installment"][good], payments["at"][good])
        paid_at = np.where(paid >= due, last, NAT)

        # What becomes of the credits.
        open_count = np.bincount(credit[paid_at == NAT], minlength=len(c["status"]))
        last_paid = np.full(len(c["status"]), NAT)
        np.maximum.at(last_paid, credit, last)
        finished = (c["disbursed"] != NAT) & (open_count == 0)
        c["status"] = np.where(finished, 2, c["status"])
        c["closed"] = np.where(finished, last_paid, c["closed"])
        written_off = owners[off]
        c["status"][written_off] = 3
        c["closed"][written_off] = self.midnights[charge_off_day[off]] + 10 * HOUR
        c["closed"] = np.where(c["closed"] == NAT, NAT, np.minimum(c["closed"], self.until))
        c["changed"] = np.maximum(c["changed"], c["closed"])
        made = c["disbursed"][credit]
        return (
            {
                "credit": credit,
                "sequence": sequence,
                "due_day": due_day,
                "due": due,
                "paid": paid,
                "paid_at": paid_at,
                "changed": np.maximum(made, last),
            },
            payments,
        )

    def _attempts(self, installment: Array, at: Array, amount: Array, method: Array) -> dict[str, Array]:
        """A payment that succeeds for each installment, and the attempts that failed before it."""
        rng = self.rng
        way = method[installment]
        decline = np.array([company.DECLINE_SHARE[m] for m in company.METHODS])[way]
        failures = np.where(rng.random(len(at)) < decline, rng.geometric(0.75, len(at)), 0)
        which = np.repeat(np.arange(len(at)), failures)
        codes = np.array([len(company.FAILURE_CODES[m]) for m in company.METHODS])[way[which]]
        code = way[which] * 4 + np.minimum((rng.random(len(which)) ** 1.7 * codes).astype(np.int64), codes - 1)
        gap = rng.integers(20 * MINUTE, 30 * HOUR, len(which))
        return {
            "installment": np.concatenate([installment, installment[which]]),
            "at": np.concatenate([at, at[which] - gap]),
            "amount": np.concatenate([amount, amount[which]]),
            "method": np.concatenate([way, way[which]]),
            "status": np.concatenate([np.zeros(len(at), dtype=np.int64), np.ones(len(which), dtype=np.int64)]),
            "code": np.concatenate([np.full(len(at), -1), code]),
        }

    def _drawn_to_payday(self, pay_day: Array, late: Array) -> Array:
        """The days of paying, drawn to the quincena: some pay early while they have money, late ones wait for it."""
        days = [self.first + timedelta(days=n) for n in range(len(self.midnights))]
        here = np.clip(pay_day, 0, len(days) - 1)
        since = np.array([company.days_since_payday(day) for day in days])[here]
        ahead = np.array([company.days_to_payday(day) for day in days])[here]
        dice = self.rng.random(len(pay_day))
        early = ~late & (since >= 3) & (since <= 5) & (dice < company.PAYDAY_EARLY_SHARE)
        waits = late & (ahead >= 1) & (ahead <= 2) & (dice < company.PAYDAY_WAIT_SHARE)
        within = self.rng.integers(0, 3, len(pay_day))
        return pay_day - np.where(early, since - within, 0) + np.where(waits, ahead, 0)

    def _charged_twice(self, payments: dict[str, Array]) -> dict[str, Array]:
        """A second charge minutes after a few of the successful ones, refunded by now."""
        rng = self.rng
        chosen = rng.random(len(payments["at"])) < company.REFUNDED_SHARE
        which = np.flatnonzero(chosen & (payments["status"] == 0) & (payments["at"] <= self.until - REFUND_BOUND))
        twice = {name: values[which] for name, values in payments.items()}
        twice["at"] = twice["at"] + rng.integers(20 * SECOND, 10 * MINUTE, len(which))
        twice["status"] = np.full(len(which), 2)
        return twice

    def _settle(self, payments: dict[str, Array], credit: Array) -> None:
        """Ask Conekta for each payment. Where the call fails the payment fails, and is tried again an hour later."""
        at, status = payments["at"], payments["status"]
        outcome, seconds = self._outcomes("conekta", "/charges", at)
        broken = (outcome != 0) & (status == 0)
        again = np.flatnonzero(broken & (at + HOUR <= self.until))
        lost = np.flatnonzero(broken)
        status[lost] = 1
        payments["code"][lost] = 12
        # A declined payment is an answer: the call itself went well.
        outcome = np.where((status != 0) & (payments["code"] != 12), 0, outcome)
        retried = {name: values[again] for name, values in payments.items()}
        retried["at"] = retried["at"] + (HOUR * (1 - 0.1 * self.rng.random(len(again)))).astype(np.int64)
        retried["status"] = np.zeros(len(again), dtype=np.int64)
        retried["code"] = np.full(len(again), -1)
        outcome = np.concatenate([outcome, np.zeros(len(again), dtype=np.int64)])
        seconds = np.concatenate([seconds, np.full(len(again), 0.6)])
        for name in payments:
            payments[name] = np.concatenate([payments[name], retried[name]])
        order = np.argsort(payments["at"], kind="stable")
        for name in payments:
            payments[name] = payments[name][order]
        self._calls.append(
            {
                "at": payments["at"] - 2 * SECOND,
                "where": np.full(len(order), _place("conekta", "/charges")),
                "outcome": outcome[order],
                "seconds": seconds[order],
                "application": np.zeros(len(order), dtype=np.int64),
                "credit": payments["credit"] + 1,
                "payment": np.arange(1, len(order) + 1),
            }
        )

    def _installment_rows(self, i: dict[str, Array], c: dict[str, Array]) -> dict[str, pa.Array]:
        epoch = np.datetime64(self.first, "D")
        return {
            "installment_id": pa.array(np.arange(1, len(i["credit"]) + 1)),
            "credit_id": _ids("C", i["credit"] + 1),
            "sequence": pa.array(i["sequence"]),
            "due_date": pa.array(epoch + i["due_day"].astype("timedelta64[D]")),
            "amount_due": _money(i["due"]),
            "amount_paid": _money(i["paid"]),
            "paid_at": _times(i["paid_at"]),
            "updated_at": _times(i["changed"]),
        }

    def _payment_rows(self, p: dict[str, Array], c: dict[str, Array]) -> dict[str, pa.Array]:
        # Four places for each method, then the code of a call that itself failed: the codes of `_attempts`.
        places = [(*company.FAILURE_CODES[method], *[""] * 4)[:4] for method in company.METHODS]
        codes = (*(code for four in places for code in four), company.GATEWAY_FAILURE)
        refunded_after = self.rng.integers(HOUR, REFUND_BOUND - 10 * MINUTE, len(p["at"]))
        return {
            "payment_id": pa.array(np.arange(1, len(p["at"]) + 1)),
            "credit_id": _ids("C", p["credit"] + 1),
            "installment_id": pa.array(p["installment"] + 1),
            "processed_at": _times(p["at"]),
            "amount": _money(p["amount"]),
            "status": _choices(p["status"], ("succeeded", "failed", "refunded")),
            "method": _choices(p["method"], company.METHODS),
            "failure_code": _choices(np.maximum(p["code"], 0), codes, p["code"] < 0),
            "integration_call_id": pa.array(p["call"]),
            "updated_at": _times(p["at"] + np.where(p["status"] == 2, refunded_after, 0)),
        }

    # -- integration calls --

    def _outcomes(self, integration: str, endpoint: str, at: Array) -> tuple[Array, Array]:
        """How each call ends (0 success, 1 error, 2 time-out) and its seconds, incidents included."""
        rng = self.rng
        spec = company.ENDPOINTS[_place(integration, endpoint)]
        failing = np.full(len(at), spec.errors)
        factor = np.ones(len(at))
        for day in self.dates:
            for incident in company.incidents_of(day):
                if incident.integration == integration:
                    hit = (at >= _micro(incident.start)) & (at < _micro(incident.end))
                    failing[hit], factor[hit] = incident.failing, incident.factor
        seconds = np.exp(rng.normal(np.log(spec.median), spec.spread, len(at))) * factor
        dice = rng.random(len(at))
        outcome = np.where(dice < failing, 1, np.where(dice < failing + spec.timeouts * factor, 2, 0))
        outcome = np.where(seconds >= company.TIMEOUT_SECONDS, 2, outcome)
        seconds = np.where(outcome == 2, company.TIMEOUT_SECONDS, np.where(outcome == 1, seconds * 0.6, seconds))
        return outcome, seconds

    def _note_calls(
        self,
        integration: str,
        endpoint: str,
        at: Array,
        *,
        application: Array | None = None,
        credit: Array | None = None,
        outcome: int | None = None,
    ) -> None:
        drawn, seconds = self._outcomes(integration, endpoint, at)
        if outcome is not None:
            # The event is already decided: its call ended accordingly.
            seconds = np.where(drawn == 2, company.ENDPOINTS[_place(integration, endpoint)].median, seconds)
            drawn = np.full(len(at), outcome)
        nothing = np.zeros(len(at), dtype=np.int64)
        self._calls.append(
            {
                "at": at,
                "where": np.full(len(at), _place(integration, endpoint)),
                "outcome": drawn,
                "seconds": seconds,
                "application": nothing if application is None else application,
                "credit": nothing if credit is None else credit,
                "payment": nothing,
            }
        )

    def _integration_calls(self, payments: int) -> tuple[dict[str, pa.Array], Array]:
        """All calls in order of time, and for each payment the id of its call."""
        rng = self.rng
        expected = [
            company.GEOTAB_POLLS_A_DAY * self.scale * company.day_factor(d) * company.growth(d, self.today)
            for d in self.dates
        ]
        days = np.repeat(np.arange(DAYS + 1), rng.poisson(expected))
        at = np.sort(self._moments(days))
        self._note_calls("geotab", "/devices", at[at <= self.until])
        noted = {name: np.concatenate([calls[name] for calls in self._calls]) for name in self._calls[0]}
        known = noted["at"] <= self.until
        noted = {name: values[known] for name, values in noted.items()}
        order = np.argsort(noted["at"], kind="stable")
        noted = {name: values[order] for name, values in noted.items()}
        n = len(order)
        call_of_payment = np.zeros(payments, dtype=np.int64)
        paying = noted["payment"] > 0
        call_of_payment[noted["payment"][paying] - 1] = np.flatnonzero(paying) + 1

        codes = sorted({code for pairs in company.ERROR_CODES.values() for code, _ in pairs} | {"timeout"})
        statuses = {code: status for pairs in company.ERROR_CODES.values() for code, status in pairs}
        failed = noted["outcome"] == 1
        code = np.full(n, codes.index("timeout"))
        for place, spec in enumerate(company.ENDPOINTS):
            here = np.flatnonzero(failed & (noted["where"] == place))
            options = np.array([codes.index(one) for one, _ in company.ERROR_CODES[spec.integration]])
            code[here] = options[(rng.random(len(here)) ** 1.5 * len(options)).astype(np.int64)]
        http = np.where(failed, np.array([statuses.get(one, 0) for one in codes])[code], 200)
        well = noted["outcome"] == 0
        return {
            "call_id": pa.array(np.arange(1, n + 1)),
            "called_at": _times(noted["at"]),
            "integration": _choices(noted["where"], tuple(spec.integration for spec in company.ENDPOINTS)),
            "endpoint": _choices(noted["where"], tuple(spec.endpoint for spec in company.ENDPOINTS)),
            "status": _choices(noted["outcome"], ("success", "error", "timeout")),
            "http_status": pa.array(http, mask=noted["outcome"] == 2),
            "duration_ms": pa.array(np.maximum(np.rint(noted["seconds"] * 1000), 1).astype(np.int64)),
            "error_code": _choices(code, tuple(codes), well),
            "error_message": _choices(code, tuple(company.ERROR_MESSAGES[one] for one in codes), well),
            "request_id": _hex(rng, n, 32),
            "trace_id": _hex(rng, n, 32),
            "application_id": _ids("A", noted["application"], noted["application"] == 0),
            "credit_id": _ids("C", noted["credit"], noted["credit"] == 0),
        }, call_of_payment


def _place(integration: str, endpoint: str) -> int:
    return next(
        n for n, spec in enumerate(company.ENDPOINTS) if (spec.integration, spec.endpoint) == (integration, endpoint)
    )


def _micro(moment: datetime) -> int:
    return int(moment.timestamp() * SECOND)


def _midnight(day: date) -> int:
    return int(pd.Timestamp(day).tz_localize(company.TIMEZONE, nonexistent="shift_forward").timestamp()) * SECOND
