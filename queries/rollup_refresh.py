"""Keeps the tables of the schema `rollup` equal to their definitions, at a cost of what has changed.

Three kinds of rollups:

* **By day** (`_DAILY`): a slice is one day. The days that changed are put into the queue `rollup.work`, and each is
  deleted and inserted anew from the definition, with its source cut to those days.
* **Made of another** (`read_by`): its definition only adds up the rows of another rollup, in the end of one of the
  other kinds. Each step that changes that one changes it, too, at the cost of what it became.
* **By credit** (`BY_CREDIT`): what a credit adds to a rollup depends on all of its installments. `rollup.book` keeps
  what each credit was rolled up with, in one row. Of a credit that changed, what the book says is taken away and what
  the rows say is added: the same definition, once over the book and once over the rows.

Every step is one transaction that takes its part out of the queue, so a refresh that was killed goes on where it was.
See docs/rollups.md for how changes are found.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from queries.errors import SourceError
from queries.ledger_client import cut, fill_in
from queries.rollups import (
    BY_CREDIT,
    NOT_BUILT,
    STATES_SECONDS,
    definitions,
    derived_from,
    fingerprint,
    from_rows,
    read_by,
    reading,
)

OVERLAP = timedelta(minutes=15)
DAYS_A_STEP = 92
CREDITS_A_STEP = 5_000
STATEMENT_SECONDS = 600.0
_LOCK = "select pg_try_advisory_lock(hashtext('mirador'), hashtext('rollup'))"
_LOCK_MERGE = "select pg_advisory_xact_lock(hashtext('mirador'), hashtext('rollup merge'))"
_UNLOCK = "select pg_advisory_unlock(hashtext('mirador'), hashtext('rollup'))"

_MEASURES = frozenset(
    (
        *("n", "amount", "principal", "credits", "late30", "late30_amount", "amount_due", "amount_paid", "duration_ms"),
        *("installments", "overdue", "failed", "paid", "paid_30", "settled", "settled_7", "settled_30"),
    )
)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Daily:
    """A rollup by day: the relation that is cut, by which column, and how the days of changed rows are found.

    `changed` gives days; in it :since is the moment from which changes count. `total` counts the rows that the
    rollup's `n` add up to; None where they add up to no number of rows.
    """

    source: str
    column: str
    total: str | None
    changed: tuple[str, ...]
    utc: bool = False


def _day(column: str) -> str:
    return f"({column} at time zone :timezone)::date"


def _utc_day(column: str) -> str:
    return f"({column} at time zone 'UTC')::date"


_APPLICATIONS = "select {} from bi.applications a where a.updated_at >= :since"
_CREDIT_OF = (
    "select {} from bi.credits c join bi.applications a on a.application_id = c.application_id"
    " where c.updated_at >= :since"
)
_SCORE_OF = (
    "select {} from bi.hase_scores s join bi.applications a on a.application_id = s.application_id"
    " where s.calculated_at >= :since"
)
_SUBMITTED, _DECIDED = _day("a.submitted_at"), _day("a.decided_at")

_DAILY = {
    "applications": _Daily(
        "applications", "submitted_at", "select count(*) from bi.applications", (_APPLICATIONS.format(_SUBMITTED),)
    ),
    "application_hours": _Daily(
        "applications", "submitted_at", "select count(*) from bi.applications", (_APPLICATIONS.format(_SUBMITTED),)
    ),
    "decisions": _Daily(
        "applications",
        "decided_at",
        "select count(decided_at) from bi.applications",
        (_APPLICATIONS.format(_DECIDED), _CREDIT_OF.format(_DECIDED)),
    ),
    "decision_times": _Daily(
        "applications",
        "decided_at",
        "select count(decided_at) from bi.applications",
        (_APPLICATIONS.format(_DECIDED),),
    ),
    "application_steps": _Daily(
        "applications",
        "submitted_at",
        None,
        (_APPLICATIONS.format(_SUBMITTED), _CREDIT_OF.format(_SUBMITTED), _SCORE_OF.format(_SUBMITTED)),
    ),
    "disbursements": _Daily(
        "credits",
        "disbursed_at",
        "select count(disbursed_at) from bi.credits",
        (f"select {_day('c.disbursed_at')} from bi.credits c where c.updated_at >= :since",),
    ),
    "disbursement_waits": _Daily(
        "credits",
        "approved_at",
        "select count(disbursed_at) from bi.credits",
        (f"select {_day('c.approved_at')} from bi.credits c where c.updated_at >= :since",),
    ),
    "payments": _Daily(
        "payments",
        "processed_at",
        "select count(*) from bi.payments",
        (f"select {_day('p.processed_at')} from bi.payments p where p.updated_at >= :since",),
    ),
    "scores": _Daily(
        "hase_scores",
        "calculated_at",
        "select count(*) from bi.hase_scores",
        (
            f"select {_day('s.calculated_at')} from bi.hase_scores s where s.calculated_at >= :since",
            f"select {_day('s.calculated_at')} from bi.applications a"
            " join bi.hase_scores s on s.application_id = a.application_id where a.updated_at >= :since",
        ),
    ),
    "calls": _Daily(
        "integration_calls",
        "called_at",
        "select count(*) from bi.integration_calls",
        ("select (k.called_at at time zone 'UTC')::date from bi.integration_calls k where k.called_at >= :since",),
        utc=True,
    ),
    "call_quarters": _Daily(
        "integration_calls",
        "called_at",
        "select count(*) from bi.integration_calls",
        ("select (k.called_at at time zone 'UTC')::date from bi.integration_calls k where k.called_at >= :since",),
        utc=True,
    ),
    "payment_quarters": _Daily(
        "payments",
        "processed_at",
        "select count(*) from bi.payments",
        ("select (p.processed_at at time zone 'UTC')::date from bi.payments p where p.updated_at >= :since",),
        utc=True,
    ),
    "paid_quarters": _Daily(
        "installments",
        "paid_at",
        "select count(paid_at) from bi.installments",
        ("select (i.paid_at at time zone 'UTC')::date from bi.installments i where i.updated_at >= :since",),
        utc=True,
    ),
    "score_quarters": _Daily(
        "hase_scores",
        "calculated_at",
        "select count(*) from bi.hase_scores",
        (
            "select (s.calculated_at at time zone 'UTC')::date from bi.hase_scores s where s.calculated_at >= :since",
            "select (s.calculated_at at time zone 'UTC')::date from bi.applications a"
            " join bi.hase_scores s on s.application_id = a.application_id where a.updated_at >= :since",
        ),
        utc=True,
    ),
    "application_quarters": _Daily(
        "applications",
        "submitted_at",
        "select count(*) from bi.applications",
        (_APPLICATIONS.format(_utc_day("a.submitted_at")),),
        utc=True,
    ),
    "decision_quarters": _Daily(
        "applications",
        "decided_at",
        "select count(decided_at) from bi.applications",
        (_APPLICATIONS.format(_utc_day("a.decided_at")),),
        utc=True,
    ),
    "disbursement_quarters": _Daily(
        "credits",
        "disbursed_at",
        "select count(disbursed_at) from bi.credits",
        (f"select {_utc_day('c.disbursed_at')} from bi.credits c where c.updated_at >= :since",),
        utc=True,
    ),
    "approval_quarters": _Daily(
        "credits",
        "approved_at",
        "select count(approved_at) from bi.credits",
        (f"select {_utc_day('c.approved_at')} from bi.credits c where c.updated_at >= :since",),
        utc=True,
    ),
    "closures": _Daily(
        "credits",
        "closed_at",
        "select count(closed_at) from bi.credits where disbursed_at is not null",
        (f"select {_day('c.closed_at')} from bi.credits c where c.updated_at >= :since",),
    ),
}
_BOOK = "book"

# Credits whose numbers can have changed.
_CREDITS_CHANGED = (
    "select c.credit_id from bi.credits c where c.updated_at >= :since",
    "select i.credit_id from bi.installments i where i.updated_at >= :since",
    "select c.credit_id from bi.applications a join bi.credits c on c.application_id = a.application_id"
    " where a.updated_at >= :since",
    "select c.credit_id from bi.hase_scores s join bi.credits c on c.application_id = s.application_id"
    " where s.calculated_at >= :since",
)

_SCHEMA = """
create table if not exists rollup.state (
    name         text primary key,
    definition   text not null,
    timezone     text not null,
    ready        boolean not null default false,
    -- Changes before it are in the rollup or in the queue.
    watermark    timestamptz,
    -- The present moment that the numbers by credit were worked out for.
    as_of        timestamptz,
    refreshed_at timestamptz,
    rows         bigint not null default 0
);
create table if not exists rollup.work (
    name text not null,
    key  text not null,
    primary key (name, key)
);
"""
# Ids are of the type that the ledger gives them.
_BOOK_COLUMNS = """
    credit_id      {credit_id},
    present        boolean,
    application_id {application_id},
    tier           text,
    principal      numeric,
    approved_day   date,
    disbursed_day  date,
    charged_off    boolean,
    hase_score     smallint,
    model_version  text,
    dues           date[],
    paids          date[],
    amounts        numeric[],
    paid_amounts   numeric[],
    sequences      smallint[]
"""
_BOOK_NAMES = [line.split()[0] for line in _BOOK_COLUMNS.strip().splitlines()]
_BOOK_SCHEMA = f"""
drop table if exists rollup.book, rollup.fresh, rollup.fresh_beside;
create table rollup.book ({_BOOK_COLUMNS}, primary key (credit_id));
-- The credits of one step: side 1 is what the rows say, -1 what the book says.
create unlogged table rollup.fresh (
    {_BOOK_COLUMNS},
    -- Stands for the credit while its installments are sorted: ids are long, and letters are slow to compare.
    number     bigint generated always as identity,
    side       smallint,
    -- Whether the other side has the same credit with the same due days: installments can be compared one by one.
    alike      boolean not null default false,
    -- First day on which the portfolio differs between the sides; null: from its beginning.
    from_day   date,
    -- First due day of an installment that differs, and of one that was over 30 days late on one side alone.
    from_due   date,
    from_bad   date,
    -- Which installments differ, by their places, where the sides are alike.
    differ     bigint[],
    primary key (credit_id, side)
);
-- The same for the second connection of a full build.
create unlogged table rollup.fresh_beside (like rollup.fresh including all);
"""

_READ_ROWS = """
insert into rollup.fresh (%(names)s, side, alike, from_day, from_due, from_bad, differ)
select %(r)s, 1, same.alike, differ.from_day, differ.from_due, differ.from_bad, differ.numbers
from (
    select
        w.key as credit_id,
        c.credit_id is not null as present,
        c.application_id,
        c.sinosure_tier as tier,
        c.principal,
        (c.approved_at at time zone :timezone)::date as approved_day,
        (c.disbursed_at at time zone :timezone)::date as disbursed_day,
        c.status = 'charged_off' as charged_off,
        a.hase_score::smallint as hase_score,
        scored.model_version,
        i.dues,
        i.paids,
        i.amounts,
        i.paid_amounts,
        i.sequences
    from (select unnest(cast(:credits as %(credit_id)s[])) as key) as w
    left join bi.credits c on c.credit_id = w.key
    left join bi.applications a on a.application_id = c.application_id
    left join lateral (
        select s.model_version
        from bi.hase_scores s
        where s.application_id = c.application_id
        order by s.calculated_at, s.score_id
        limit 1
    ) as scored on true
    left join lateral (
        select
            array_agg(o.due_date order by o.due_date, o.installment_id) as dues,
            array_agg((o.paid_at at time zone :timezone)::date order by o.due_date, o.installment_id) as paids,
            array_agg(o.amount_due order by o.due_date, o.installment_id) as amounts,
            array_agg(o.amount_paid order by o.due_date, o.installment_id) as paid_amounts,
            array_agg(o.sequence::smallint order by o.due_date, o.installment_id) as sequences
        from bi.installments o
        where o.credit_id = w.key
    ) as i on true
    where c.credit_id is not null or i.dues is not null
) as r
left join rollup.book b on b.credit_id = r.credit_id
cross join lateral (
    select
        row(r.present, r.tier, r.principal, r.disbursed_day, r.dues)
        is not distinct from row(b.present, b.tier, b.principal, b.disbursed_day, b.dues) as alike
) as same
cross join lateral (
    select
        case
            when same.alike
            then
                coalesce(
                    min(
                        case
                            when e.amount is distinct from e.old_amount then '-infinity'
                            else least(coalesce(e.paid, 'infinity'), coalesce(e.old_paid, 'infinity'))
                        end
                    ) filter (where row(e.paid, e.amount) is distinct from row(e.old_paid, e.old_amount)),
                    'infinity'
                )
        end as from_day,
        min(e.due) as from_due,
        min(e.due) filter (
            where (coalesce(e.paid, 'infinity') > e.due + 31) <> (coalesce(e.old_paid, 'infinity') > e.due + 31)
        ) as from_bad,
        array_agg(e.number) as numbers
    from unnest(
        r.dues, r.paids, r.amounts, r.paid_amounts, r.sequences, b.paids, b.amounts, b.paid_amounts, b.sequences
    ) with ordinality as e (
        due, paid, amount, paid_amount, sequence, old_paid, old_amount, old_paid_amount, old_sequence, number
    )
    where
        same.alike
        and row(e.paid, e.amount, e.paid_amount, e.sequence)
        is distinct from row(e.old_paid, e.old_amount, e.old_paid_amount, e.old_sequence)
) as differ
-- What has not changed needs nothing.
where row(%(r)s) is distinct from row(%(b)s)
"""
# What the book says of those that have changed, and of those that are gone.
_READ_BOOK = """
insert into rollup.fresh (%(names)s, side, alike, from_day, from_due, from_bad, differ)
select %(b)s, -1, coalesce(f.alike, false), f.from_day, f.from_due, f.from_bad, f.differ
from rollup.book b
left join rollup.fresh f on f.credit_id = b.credit_id and f.side = 1
where b.credit_id = any(cast(:credits as %(credit_id)s[]))
    and (
        f.credit_id is not null
        or (
            not exists (select from bi.credits c where c.credit_id = b.credit_id)
            and not exists (select from bi.installments i where i.credit_id = b.credit_id)
        )
    )
"""
# A credit that is gone, or went to another application, leaves no trace in the rows of its old one.
_LEFT_APPLICATIONS = """
insert into rollup.work (name, key)
select distinct touched.name, touched.day::text
from rollup.fresh o
left join rollup.fresh n on n.credit_id = o.credit_id and n.side = 1
join bi.applications a on a.application_id = o.application_id
cross join lateral (
    values ('decisions', (a.decided_at at time zone :timezone)::date),
        ('application_steps', (a.submitted_at at time zone :timezone)::date)
) as touched (name, day)
where o.side = -1 and n.application_id is distinct from o.application_id and touched.day is not null
on conflict do nothing
"""
_TO_BOOK = (
    "delete from rollup.book b using rollup.fresh o where o.credit_id = b.credit_id and o.side = -1",
    "insert into rollup.book (%(names)s) select %(names)s from rollup.fresh where side = 1",
)
# Credits whose rows are counted otherwise than in the book.
_CREDITS_DIFFER = """
select coalesce(i.credit_id, b.credit_id)
from (select credit_id, count(*) as n from bi.installments group by 1) as i
full join (select credit_id, cardinality(dues) as n from rollup.book) as b on b.credit_id = i.credit_id
where coalesce(i.n, 0) <> coalesce(b.n, 0)
union
select coalesce(c.credit_id, b.credit_id)
from bi.credits c
full join (select credit_id from rollup.book where present) as b on b.credit_id = c.credit_id
where c.credit_id is null or b.credit_id is null
"""
# Credits whose application or first score is not the one in the book.
_SCORES_DIFFER = """
select b.credit_id
from rollup.book b
left join bi.applications a on a.application_id = b.application_id
left join (
    select distinct on (s.application_id) s.application_id, s.model_version
    from bi.hase_scores s
    order by s.application_id, s.calculated_at, s.score_id
) as scored on scored.application_id = b.application_id
where row(a.hase_score, scored.model_version) is distinct from row(b.hase_score, b.model_version)
"""
# A row that is gone from one relation changes these in the days of another, where no number of rows tells.
_ALWAYS_COMPARED = ("application_steps", "scores", "score_quarters")
# By what else than its first column a table is read.
_MORE_INDEXES = {
    "applications": ("tier", "status"),
    "application_days": ("status",),
    "installments": ("paid_day",),
    "overdue": ("charged_off, overdue desc, credit_id",),
}


class RefreshRunning(SourceError):
    """Another refresh holds the lock."""


@dataclass
class Report:
    """What a refresh did: slices and credits worked out, seconds, and whether it built from nothing."""

    days: int = 0
    credits: int = 0
    seconds: float = 0.0
    built: list[str] = field(default_factory=list)
    # Rollups by day, and `credits` for those by credit, in which rows had gone or moved.
    repaired: list[str] = field(default_factory=list)
    refreshed_at: datetime | None = None


@dataclass(frozen=True)
class Difference:
    """A rollup that is not equal to its definition: rows that only one of them has, and the first of them."""

    name: str
    missing: int
    surplus: int
    first: dict[str, Any]


class _Told:
    """What has been done of a queue and told of it; two connections can work on it."""

    def __init__(self, report: Report, progress: Progress, total: int) -> None:
        self._report, self._progress, self._total, self._done = report, progress, total, 0
        self._lock = threading.Lock()

    def more(self, words: str, *, days: int = 0, credits: int = 0) -> None:
        with self._lock:
            self._report.days += days
            self._report.credits += credits
            self._done += days + credits
            self._progress(self._done, max(self._total, self._done), words)


class _Writer:
    """One connection that may write the schema `rollup`, and the steps of a refresh on it."""

    def __init__(self, url: str, zone: ZoneInfo, stop: threading.Event | None, fresh: str = "fresh") -> None:
        self.zone = zone
        self._fresh = f"rollup.{fresh}"
        self._stop = stop or threading.Event()
        target = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self.connection = psycopg.connect(
                target,
                connect_timeout=5,
                application_name="mirador rollup",
                options=f"-c timezone={zone.key} -c statement_timeout={int(STATEMENT_SECONDS * 1000)}"
                " -c lock_timeout=30000 -c jit=off -c work_mem=64MB -c idle_in_transaction_session_timeout=60000"
                # A crash of the server loses whole steps, their part of the queue with them: they are done again.
                " -c synchronous_commit=off",
                autocommit=True,
            )
        except psycopg.Error as error:
            _raise(error)

    # --- speaking ---

    def run(self, statement: str, **params: Any) -> psycopg.Cursor[Any]:
        """Run one statement; :name stands for a parameter, :timezone for the zone."""
        if self._stop.is_set():
            raise SourceError("The refresh was stopped; the next one goes on.", kind="timeout", source="ledger")
        watch = threading.Timer(STATEMENT_SECONDS + 10, cut, (self.connection,))
        watch.daemon = True
        watch.start()
        try:
            # As literals, so that the planner sees how much is asked for.
            return self.connection.execute(fill_in(statement, {"timezone": self.zone.key, **params}).encode())
        finally:
            watch.cancel()

    def value(self, statement: str, **params: Any) -> Any:
        """The first column of the first row."""
        row = self.run(statement, **params).fetchone()
        return row[0] if row else None

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One transaction."""
        with self.connection.transaction():
            yield

    def lock(self, wait: float) -> None:
        """Be the only one that refreshes; the lock ends with the connection."""
        until = time.monotonic() + wait
        while not self.value(_LOCK):
            if time.monotonic() > until or self._stop.wait(0.2):
                raise RefreshRunning("Another refresh of the rollups is running.", kind="timeout", source="ledger")

    # --- tables ---

    def prepare(self) -> None:
        """Make what is missing."""
        if not self.value("select to_regnamespace('rollup') is not null"):
            self.run("create schema if not exists rollup")
        if not self.value("select to_regclass('rollup.work') is not null and to_regclass('rollup.state') is not null"):
            self.run(_SCHEMA)

    def reset(self, full: bool) -> list[str]:
        """Empty what was made by another definition or for another zone, and say what."""
        known = {
            name: (definition, zone)
            for name, definition, zone in self.run("select name, definition, timezone from rollup.state").fetchall()
        }
        wanted = {name: (fingerprint(name), self.zone.key) for name in definitions()}
        old = [name for name in definitions() if full or known.get(name) != wanted[name]]
        if not old:
            return []
        # What is made of another table is filled along with it.
        old = list(dict.fromkeys((*old, *(base for name in old for base in read_by(name)))))
        if self.value("select bool_or(ready) from rollup.state where name = any(:names)", names=old):
            # Readers look at the state every few seconds: none may read a table while it is empty.
            self.run("update rollup.state set ready = false where name = any(:names)", names=old)
            time.sleep(STATES_SECONDS + 1)
        with self.step():
            if set(old) & set(BY_CREDIT):
                old += [name for name in BY_CREDIT if name not in old]
                self.run(_BOOK_SCHEMA.format(**self._id_types()))
            for name in old:
                self.run(_table(name, self._id_types()))
            self.run("delete from rollup.work where name = any(:names)", names=[*old, _BOOK])
            self.run("delete from rollup.state where name = any(:names)", names=old)
            for name in old:
                self.run(
                    "insert into rollup.state (name, definition, timezone) values (:name, :definition, :timezone)",
                    name=name,
                    definition=wanted[name][0],
                )
            # A rollup that is no more.
            for gone in set(known) - set(wanted):
                self.run(sql.SQL("drop table if exists rollup.{}").format(sql.Identifier(gone)).as_string())
                self.run("delete from rollup.state where name = :name", name=gone)
        return old

    def _id_types(self) -> dict[str, str]:
        """The types of the ids in the relation of credits."""
        return dict(
            self.run(
                "select attname, format_type(atttypid, atttypmod) from pg_attribute"
                " where attrelid = 'bi.credits'::regclass and attname in ('credit_id', 'application_id')"
            ).fetchall()
        )

    # --- what has changed ---

    def find(self, overlap: timedelta) -> None:
        """Queue what changed since the last refresh; of what has never been built, everything."""
        marks = dict(self.run("select name, watermark from rollup.state").fetchall())
        with self.step():
            for name, daily in _DAILY.items():
                self._queue(name, daily.changed if marks[name] else (self._every_day(daily),), marks[name], overlap)
            mark = marks[BY_CREDIT[0]]
            every = ("select credit_id from bi.credits union select credit_id from bi.installments",)
            self._queue(_BOOK, _CREDITS_CHANGED if mark else every, mark, overlap)
            # now() is when this transaction began: what is committed later carries a later time, or is in the overlap.
            self.run("update rollup.state set watermark = now(), as_of = coalesce(as_of, now())")

    def _queue(self, name: str, finders: Sequence[str], mark: datetime | None, overlap: timedelta) -> None:
        found = " union ".join(finders)
        self.run(
            f"insert into rollup.work (name, key) select :name, key::text from ({found}) as found (key)"
            " where key is not null on conflict do nothing",
            name=name,
            since=mark - overlap if mark else None,
        )

    @staticmethod
    def _every_day(daily: _Daily) -> str:
        zone = "'UTC'" if daily.utc else ":timezone"
        return f"select distinct ({daily.column} at time zone {zone})::date from bi.{daily.source}"

    # --- working it out ---

    def work(self, report: Report, progress: Progress) -> None:
        """Work the queue off, the credits first: they can add days to it."""
        told = self.told(report, progress)
        self.work_credits(told)
        self._finish_credits(report.credits > 0)
        self.work_days(told)

    def told(self, report: Report, progress: Progress) -> _Told:
        """How much is in the queue."""
        return _Told(report, progress, self.value("select count(*) from rollup.work"))

    def work_credits(self, told: _Told) -> None:
        """Work off what is rolled up by credit."""
        while credits := self._work_credits():
            told.more("credits", credits=credits)

    def work_days(self, told: _Told) -> None:
        """Work off what is rolled up by day."""
        for name in _DAILY:
            while days := self._work_days(name):
                told.more(definitions()[name].title, days=days)
            # What another connection works at is there until it is done.
            if not self.value("select count(*) from rollup.work where name = :name", name=name):
                self._built((name, *derived_from(name)))

    def _claim(self, name: str, most: int) -> list[str]:
        """Take the next part out of the queue, within the step that works it off; another connection takes others."""
        rows = self.run(
            "select key from rollup.work where name = :name order by key limit :most for update skip locked",
            name=name,
            most=most,
        )
        keys = [key for (key,) in rows.fetchall()]
        self.run("delete from rollup.work where name = :name and key = any(:keys)", name=name, keys=keys)
        return keys

    def _built(self, names: Sequence[str]) -> None:
        """Nothing is left to do for these."""
        self.run(
            "update rollup.state set ready = true, refreshed_at = watermark where name = any(:names)", names=list(names)
        )

    def _ready(self) -> bool:
        """Whether the tables by credit have been built."""
        return bool(self.value("select bool_and(ready) from rollup.state where name = any(:names)", names=[*BY_CREDIT]))

    def _finish_credits(self, worked: bool) -> None:
        """Let a first build's tables have one row of a kind, see `_work_credits`; then they can be read."""
        ready = self._ready()
        for name in BY_CREDIT if worked or not ready else ():
            with self.step():
                if not ready and read_by(name):
                    table = sql.Identifier("rollup", name).as_string()
                    self.run(f"delete from {table}")
                    self.run(f"insert into {table} {definitions()[name].text}")
                elif not ready:
                    self.run(_squash(name, self._id_types()))
                self._count(name)
        self._built(BY_CREDIT)

    def _work_days(self, name: str) -> int:
        """Work out the next days of a rollup and give how many."""
        daily = _DAILY[name]
        with self.step():
            wanted = [date.fromisoformat(day) for day in self._claim(name, DAYS_A_STEP)]
            for first, last in _runs(wanted):
                cut_source = _cut_to(f"bi.{daily.source}", daily.column, _zone_of(daily.utc), first, last)
                self._put(
                    name,
                    _over(definitions()[name].text, {daily.source: cut_source}),
                    _within(name, _zone_of(daily.utc), first, last),
                )
                for derived in derived_from(name):
                    zone, *days = _whole(derived, daily.utc, first, last, self.zone)
                    self._put(
                        derived,
                        reading(definitions()[derived].text, {name: _cut_rollup(name, zone, *days)}),
                        _within(derived, zone, *days),
                    )
        return len(wanted)

    def _put(self, name: str, statement: str, mine: str) -> None:
        """What the statement gives takes the place of those rows of a rollup."""
        table = sql.Identifier("rollup", name).as_string()
        gone = self.run(f"delete from {table} where {mine}").rowcount
        # Days that lie together are read together.
        new = self.run(f"insert into {table} select * from ({statement}) as made order by 1").rowcount
        if gone or new:
            self.run("update rollup.state set rows = rows + :more where name = :name", name=name, more=new - gone)

    def _work_credits(self) -> int:
        """Work out the next credits and give how many.

        In a first build what they add is appended only: nobody reads yet, two connections can do it side by side, and
        `_finish_credits` adds it up.
        """
        names = ", ".join(_BOOK_NAMES)
        spelled = {
            "names": names,
            **self._id_types(),
            **{one: ", ".join(f"{one}.{name}" for name in _BOOK_NAMES) for one in "rb"},
        }

        def run(statement: str, **params: Any) -> None:
            self.run(statement.replace("rollup.fresh", self._fresh), **params)

        with self.step():
            credits = self._claim(_BOOK, CREDITS_A_STEP)
            if not credits:
                return 0
            run("truncate rollup.fresh")
            run(_READ_ROWS % spelled, credits=credits)
            run(_READ_BOOK % spelled, credits=credits)
            # Not its arrays: their statistics take longer than they save.
            run("analyze rollup.fresh (credit_id, number, side, present, alike, from_day, from_due, from_bad)")
            as_of = dict(
                self.run("select name, as_of from rollup.state where name = any(:names)", names=list(BY_CREDIT))
            )
            ready = self._ready()
            if ready:
                # Two connections must not add to the same rows at once; one waits as long as a statement may take.
                run("set local lock_timeout = 0")
                run(_LOCK_MERGE)
            for name in (one for one in BY_CREDIT if not read_by(one)):
                parts = [_over_book(name, self._side(name, side, as_of[name]), as_of[name]) for side in (1, -1)]
                run(_merge(name, *parts) if ready else _append(name, *parts))
            run(_LEFT_APPLICATIONS)
            for statement in _TO_BOOK:
                run(statement % spelled)
        return len(credits)

    def _count(self, name: str) -> None:
        table = sql.Identifier("rollup", name).as_string()
        self.run(f"update rollup.state set rows = (select count(*) from {table}) where name = :name", name=name)

    def _side(self, name: str, side: int, as_of: datetime) -> dict[str, str]:
        """The relations that a definition reads, for the credits of this step: as the rows or as the book say."""
        today = as_of.astimezone(self.zone).date()
        mine = f"f.side = {side}"
        if name == "installments":
            return _relations("rollup.fresh f", mine, key="number", only_different=True)
        if name == "overdue":
            return _relations(
                "rollup.fresh f",
                f"{mine} and (not f.alike or f.from_due < date '{today}' or exists (select from rollup.fresh o"
                " where o.credit_id = f.credit_id and o.side = -f.side"
                " and o.charged_off is distinct from f.charged_off))",
            )
        if name == "first_dues":
            return _relations(
                "rollup.fresh f",
                f"{mine} and (not f.alike or exists (select from rollup.fresh o where o.credit_id = f.credit_id"
                " and o.side = -f.side and o.approved_day is distinct from f.approved_day))",
                key="number",
            )
        if name == "exposure":
            # What is equal before from_day needs no working out: the credit enters on that day, on both sides.
            return _relations(
                "rollup.fresh f",
                f"{mine} and f.from_day is distinct from 'infinity'",
                key="number",
                # greatest() passes over nulls: a credit that is not disbursed must not be so from that day.
                start="case when f.disbursed_day is not null then greatest(f.disbursed_day, f.from_day) end",
                installments="(f.from_day is null or e.paid is null or e.paid > f.from_day)",
            )
        if name == "outcomes":
            scored = "row(o.approved_day, o.hase_score, o.model_version)"
            return _relations(
                "rollup.fresh f",
                f"{mine} and (not f.alike or f.from_bad + 31 <= date '{today}' or exists (select from rollup.fresh o"
                " where o.credit_id = f.credit_id and o.side = -f.side and"
                f" {scored} is distinct from {scored.replace('o.', 'f.')}))",
            )
        # Only ends of months that are over count.
        return _relations(
            "rollup.fresh f",
            f"{mine} and (f.from_day is null or f.from_day < date '{today.replace(day=1)}')",
            key="number",
        )

    # --- time passes ---

    def roll_over(self) -> None:
        """A new day lets credits grow old, a new month has an end more: work those out from the book."""
        now = self.value("select now()")
        today = now.astimezone(self.zone).date()
        for name in ("vintages", "rolls", "outcomes", "overdue"):
            then = self.value("select as_of from rollup.state where name = :name", name=name)
            was = then.astimezone(self.zone).date()
            if was == today or (name not in ("outcomes", "overdue") and was.replace(day=1) == today.replace(day=1)):
                continue
            table = sql.Identifier("rollup", name).as_string()
            with self.step():
                self.run(f"delete from {table}")
                self.run(f"insert into {table} {_over_book(name, _relations('rollup.book f', 'true'), now)}")
                self.run("update rollup.state set as_of = :now where name = :name", now=now, name=name)
                self._count(name)

    # --- what leaves no trace ---

    def recount(self) -> list[str]:
        """Compare the numbers of rows; queue what differs, and say what.

        After all that changed is worked in, a difference comes from rows that were deleted, moved to another day or
        written with an old time: then all by day that reads the relation is compared.
        """
        sources = set()
        for name, daily in _DAILY.items():
            table = sql.Identifier("rollup", name).as_string()
            if daily.total and self.value(daily.total) != self.value(f"select coalesce(sum(n), 0) from {table}"):
                sources.add(daily.source)
        for source, kept in (
            ("credits", "select count(*) from rollup.book where present"),
            ("installments", "select coalesce(sum(n), 0) from rollup.installments"),
        ):
            if self.value(f"select count(*) from bi.{source}") != self.value(kept):
                sources.add(source)
        found = []
        with self.step():
            credits = self._queue_found(_BOOK, _SCORES_DIFFER)
            if sources & {"credits", "installments"}:
                credits += self._queue_found(_BOOK, _CREDITS_DIFFER)
            if credits:
                found.append("credits")
        for name, daily in _DAILY.items():
            reads = any(re.search(rf"\bbi\.{source}\b", definitions()[name].text) for source in sources)
            if not reads and name not in _ALWAYS_COMPARED:
                continue
            day = definitions()[name].columns[0].name
            if daily.utc:
                day = f"({day} at time zone 'UTC')::date"
            with self.step():
                if self._queue_found(name, f"select distinct {day} from ({_differences(name)}) as differ"):
                    found.append(name)
        return found

    def _queue_found(self, name: str, statement: str) -> int:
        return self.run(
            f"insert into rollup.work (name, key) select :name, key::text from ({statement}) as found (key)"
            " where key is not null on conflict do nothing",
            name=name,
        ).rowcount

    def differences(self) -> list[Difference]:
        """Each rollup that is not equal to its definition."""
        found = []
        for name, definition in definitions().items():
            as_of = self.value("select as_of from rollup.state where name = :name", name=name)
            rows = self.run(f"select * from ({_differences(name, as_of)}) as differ limit 100000")
            names = ["side", *(column.name for column in definition.columns)]
            kept = rows.fetchall()
            if kept:
                missing = sum(row[0] == "definition" for row in kept)
                found.append(
                    Difference(name, missing, len(kept) - missing, dict(zip(names, min(kept, key=str), strict=True)))
                )
        return found


# --- statements -------------------------------------------------------------------------------------------------------


def _table(name: str, id_types: dict[str, str]) -> str:
    """Statements that make the empty table of a rollup; ids have the type that the ledger gives them."""
    columns = definitions()[name].columns
    table = sql.Identifier("rollup", name).as_string()
    spelled = ", ".join(
        f"{sql.Identifier(column.name).as_string()} {id_types.get(column.name, column.type)}" for column in columns
    )
    first = sql.Identifier(columns[0].name).as_string()
    more = ("until",) if any(column.name == "until" for column in columns) else _MORE_INDEXES.get(name, ())
    indexes = "".join(f"create index on {table} ({column});" for column in (first, *more))
    return f"drop table if exists {table}; create table {table} ({spelled}); {indexes}"


def _over(text: str, relations: dict[str, str], as_of: datetime | None = None) -> str:
    """A definition's text, reading other relations in the place of some of `bi`, at another present moment."""
    if as_of is not None:
        text = re.sub(r"\bnow\(\)", f"timestamptz '{as_of.isoformat()}'", text)
    return re.sub(r"\bbi\.(\w+)\b", lambda match: relations.get(match[1], match[0]), text)


def _runs(days: list[date]) -> Iterator[tuple[date, date]]:
    """Days that follow each other, as (first, last)."""
    days = sorted(days)
    start = 0
    for at in range(1, len(days) + 1):
        if at == len(days) or days[at] - days[at - 1] > timedelta(days=1):
            yield days[start], days[at - 1]
            start = at


def _zone_of(utc: bool) -> str:
    return "'UTC'" if utc else ":timezone"


def _whole(name: str, utc: bool, first: date, last: date, zone: ZoneInfo) -> tuple[str, date, date]:
    """The days that a rollup counts together with these of another one, and in which zone they are days.

    A table by month counts all days of their months; one by business day, made of one by days of UTC, the business days
    of which they are a part.
    """
    kind = definitions()[name].columns[0]
    if kind.name == "month":
        month_end = (last.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return _zone_of(False), first.replace(day=1), month_end
    if utc and kind.type == "date":
        start = datetime.combine(first, datetime.min.time(), UTC)
        end = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC) - timedelta(microseconds=1)
        return _zone_of(False), start.astimezone(zone).date(), end.astimezone(zone).date()
    return _zone_of(utc), first, last


def _within(name: str, zone: str, first: date, last: date) -> str:
    """Which rows of a rollup are of these days."""
    column = definitions()[name].columns[0]
    start, end = f"date '{first}'", f"date '{last + timedelta(days=1)}'"
    if column.type != "date":
        start, end = (f"{day}::timestamp at time zone {zone}" for day in (start, end))
    return f"{column.name} >= {start} and {column.name} < {end}"


def _cut_rollup(name: str, zone: str, first: date, last: date) -> str:
    """The rows of a rollup that another one, made of it, counts for these days."""
    column = definitions()[name].columns[0]
    table = sql.Identifier("rollup", name).as_string()
    if column.type != "date":
        return _cut_to(table, column.name, zone, first, last)
    return f"(select * from {table} where {_within(name, zone, first, last)})"


def _cut_to(relation: str, column: str, zone: str, first: date, last: date) -> str:
    """The rows of a relation whose day in that zone is one of these."""
    end = last + timedelta(days=1)
    # The index finds the hours around it, for a clock that was changed at midnight has a midnight twice; then exactly.
    return (
        f"(select * from {relation} where {column} >= (date '{first}' - time '03:00') at time zone {zone}"
        f" and {column} < (date '{end}' + time '03:00') at time zone {zone}"
        f" and ({column} at time zone {zone})::date between date '{first}' and date '{last}')"
    )


def _over_book(name: str, relations: dict[str, str], as_of: datetime) -> str:
    """The definition over `_relations`: their days need no conversion, which would take a third of the time."""
    text = re.sub(r"\b(\w+\.(?:approved|disbursed|paid)_at) at time zone :timezone", r"\1", definitions()[name].text)
    return _over(text, relations, as_of)


def _relations(
    source: str,
    where: str,
    *,
    key: str = "credit_id",
    start: str = "f.disbursed_day",
    installments: str = "true",
    only_different: bool = False,
) -> dict[str, str]:
    """The relations of the ledger as the book keeps them, for `_over_book`: a time is the beginning of its local day.

    `key` is the column that stands for the credit.
    """
    elements = (
        "unnest(f.dues, f.paids, f.amounts, f.paid_amounts, f.sequences)"
        " with ordinality as e (due, paid, amount, paid_amount, sequence, number)"
    )
    if only_different:
        elements = (
            "(select f.dues[k], f.paids[k], f.amounts[k], f.paid_amounts[k], f.sequences[k], k from unnest("
            "case when f.alike then f.differ else array(select generate_subscripts(f.dues, 1)::bigint) end"
            ") as k) as e (due, paid, amount, paid_amount, sequence, number)"
        )
    return {
        "credits": f"""(
            select f.{key} as credit_id, f.{key} as application_id, f.tier as sinosure_tier, f.principal,
                f.approved_day::timestamp as approved_at, ({start})::timestamp as disbursed_at,
                case when f.charged_off then 'charged_off' end as status
            from {source} where f.present and {where}
        )""",
        "installments": f"""(
            select f.{key} as credit_id, e.number as installment_id, e.due as due_date, e.paid::timestamp as paid_at,
                e.amount as amount_due, e.paid_amount as amount_paid, e.sequence
            from {source}
            cross join lateral {elements}
            where {where} and {installments}
        )""",
        "applications": f"(select f.{key} as application_id, f.hase_score from {source} where {where})",
        "hase_scores": f"""(
            select f.{key} as application_id, f.model_version, f.approved_day as calculated_at, 0 as score_id
            from {source} where f.model_version is not null and {where}
        )""",
    }


@dataclass(frozen=True)
class _Spelled:
    """The columns of a rollup as statements need them: what is summed, and what is not."""

    table: str
    every: str
    keys: str
    negated: str
    summed: str
    some: str


def _spelled(name: str) -> _Spelled:
    columns = definitions()[name].columns
    names = {column.name: sql.Identifier(column.name).as_string() for column in columns}
    return _Spelled(
        table=sql.Identifier("rollup", name).as_string(),
        every=", ".join(names.values()),
        keys=", ".join(names[c.name] for c in columns if c.name not in _MEASURES),
        negated=", ".join(f"-{names[c.name]}" if c.name in _MEASURES else names[c.name] for c in columns),
        summed=", ".join(
            f"sum({names[c.name]})::{c.type} as {names[c.name]}" if c.name in _MEASURES else names[c.name]
            for c in columns
        ),
        some=" or ".join(f"sum({names[c.name]}) <> 0" for c in columns if c.name in _MEASURES),
    )


def _delta(name: str, new: str, old: str) -> str:
    """What `new` gives less what `old` gives."""
    one = _spelled(name)
    return f"""
    select {one.summed} from (
        select {one.every} from ({new}) as new_part union all select {one.negated} from ({old}) as old_part
    ) as both_parts
    group by {one.keys} having {one.some}
    """


def _append(name: str, new: str, old: str) -> str:
    """Add what changes as rows of their own."""
    one = _spelled(name)
    return f"insert into {one.table} ({one.every}) {_delta(name, new, old)}"


def _squash(name: str, id_types: dict[str, str]) -> str:
    """Make one row of all that have the same keys; rows that come to nothing go.

    In a new table: the old one would keep the pages of all that was appended, and every reader would walk through them.
    """
    one = _spelled(name)
    first = sql.Identifier(definitions()[name].columns[0].name).as_string()
    return f"""
    drop table if exists rollup.appended;
    alter table {one.table} rename to appended;
    {_table(name, id_types)}
    insert into {one.table} ({one.every})
    select {one.summed} from rollup.appended group by {one.keys} having {one.some} order by {first};
    drop table rollup.appended
    """


def _merge(name: str, new: str, old: str) -> str:
    """Add what `new` gives and take away what `old` gives; rows that come to nothing go.

    What is made of this rollup is a sum over its rows: it changes by the same sum over what they change by.
    """
    changes = {name: _delta(name, new, old)}
    for one in derived_from(name):
        changes[one] = reading(definitions()[one].text, {base: f"delta_{base}" for base in read_by(one)})
    parts = [_merge_part(one, delta) for one, delta in changes.items()]
    return f"with {', '.join(parts)} select"


def _merge_part(name: str, delta: str) -> str:
    one = _spelled(name)
    same = " and ".join(
        f"t.{sql.Identifier(c.name).as_string()} {'is not distinct from' if c.name == 'paid_day' else '='}"
        f" d.{sql.Identifier(c.name).as_string()}"
        for c in definitions()[name].columns
        if c.name not in _MEASURES
    )
    return f"""
    delta_{name} as materialized ({delta}),
    gone_{name} as (delete from {one.table} as t using delta_{name} d where {same} returning t.*),
    put_{name} as (
        insert into {one.table} ({one.every})
        select {one.summed}
        from (select {one.every} from delta_{name} union all select {one.every} from gone_{name}) as parts
        group by {one.keys} having {one.some}
    )
    """


def _differences(name: str, as_of: datetime | None = None) -> str:
    """Rows that only the definition or only the table has: `side` and the rollup's columns."""
    columns = ", ".join(sql.Identifier(column.name).as_string() for column in definitions()[name].columns)
    table = sql.Identifier("rollup", name).as_string()
    text = from_rows(definitions()[name].text, read_by(name))
    return f"""
    with wanted as materialized (select {columns} from ({_over(text, {}, as_of)}) as definition)
    select 'definition' as side, * from (select * from wanted except all select {columns} from {table}) as missing
    union all
    select 'table', * from (select {columns} from {table} except all select * from wanted) as surplus
    """


def _raise(error: psycopg.Error) -> NoReturn:
    """What a person may know of it. Raises SourceError."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        raise SourceError(
            "The role of MIRADOR_ROLLUP_URL may not write the schema rollup.", kind="refused", source="ledger"
        ) from error
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        raise SourceError(
            "The ledger lacks a relation or column that the rollups need: run python -m app doctor.",
            kind="refused",
            source="ledger",
        ) from error
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        raise SourceError("The ledger took too long for a step of the rollups.", kind="timeout", source="ledger") from (
            error
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        raise SourceError("The ledger cannot be reached to write the rollups.", kind="down", source="ledger") from error
    raise SourceError("The ledger refused a step of the rollups.", kind="refused", source="ledger") from error


# --- the door ---------------------------------------------------------------------------------------------------------


def _silent(_done: int, _total: int, _words: str) -> None:
    return


@contextlib.contextmanager
def _opened(url: str, zone: ZoneInfo, stop: threading.Event | None, fresh: str = "fresh") -> Iterator[_Writer]:
    """A connection that is cut off when it is time to stop."""
    writer = _Writer(url, zone, stop, fresh)
    ended = threading.Event()
    if stop is not None:
        threading.Thread(target=_cancel, args=(writer.connection, stop, ended), daemon=True).start()
    try:
        yield writer
    except psycopg.Error as error:
        _raise(error)
    finally:
        ended.set()
        with contextlib.suppress(psycopg.Error):
            writer.connection.close()


@contextlib.contextmanager
def _writing(url: str, zone: ZoneInfo, wait: float, stop: threading.Event | None) -> Iterator[_Writer]:
    """The one connection that may refresh."""
    with _opened(url, zone, stop) as writer:
        try:
            writer.lock(wait)
            writer.prepare()
            yield writer
        finally:
            with contextlib.suppress(psycopg.Error):
                # The end of the connection would do it, too, but later than this returns.
                writer.connection.execute(_UNLOCK)


def _work_on_two(writer: _Writer, url: str, report: Report, progress: Progress, stop: threading.Event | None) -> None:
    """Work a long queue off on two connections, one beginning with the credits and one with the days.

    Each takes what the other leaves; days that credits add late stay for the one that goes on.
    """
    told = writer.told(report, progress)
    halt = threading.Event()
    failed: list[SourceError] = []

    def work_beside() -> None:
        try:
            with _opened(url, writer.zone, halt, "fresh_beside") as other:
                other.work_days(told)
                other.work_credits(told)
        except SourceError as error:
            failed.append(error)

    beside = threading.Thread(target=work_beside, name="rollups beside", daemon=True)
    beside.start()
    try:
        writer.work_credits(told)
        writer.work_days(told)
        while beside.is_alive():
            beside.join(0.2)
            if stop is not None and stop.is_set():
                halt.set()
    except BaseException:
        halt.set()
        beside.join(10)
        raise
    if failed:
        raise failed[0]


def _cancel(connection: psycopg.Connection[Any], stop: threading.Event, ended: threading.Event) -> None:
    """End the running statement when it is time to stop: the server would work on for nobody, and hold the lock."""
    while not ended.wait(0.2):
        if stop.is_set():
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=2)
            return


def refresh(
    url: str,
    timezone: str,
    *,
    full: bool = False,
    recount: bool = True,
    wait: float = 0.0,
    overlap: timedelta = OVERLAP,
    progress: Progress = _silent,
    stop: threading.Event | None = None,
) -> Report:
    """Bring every rollup up to now, building what is missing; idempotent, and safe beside another one.

    `full` builds all of them anew. `recount` looks for rows that were deleted or moved, which costs a count of each
    relation. `wait` is for how many seconds another refresh is waited for. `progress(done, total, words)` is called
    after each step; `stop` ends it between two steps. Raises SourceError; what was done until then is kept.
    """
    began = time.monotonic()
    report = Report()
    with _writing(url, ZoneInfo(timezone), wait, stop) as writer:
        report.built = writer.reset(full)
        writer.find(overlap)
        if writer.value("select count(*) from rollup.work where name = :name", name=_BOOK) > CREDITS_A_STEP:
            _work_on_two(writer, url, report, progress, stop)
        writer.work(report, progress)
        for name in report.built:
            # Plans of the first pages must not wait for the server to notice that the table is full.
            writer.run(f"analyze {sql.Identifier('rollup', name).as_string()}")
        writer.roll_over()
        if recount:
            report.repaired = writer.recount()
            if report.repaired:
                writer.work(report, progress)
        report.refreshed_at = writer.value("select min(refreshed_at) from rollup.state")
    report.seconds = time.monotonic() - began
    return report


def differences(url: str, timezone: str, *, catch_up: bool = False, wait: float = 0.0) -> list[Difference]:
    """Compare each rollup with its definition over the rows.

    Changes since the last refresh are differences, too; with `catch_up` they are worked in first, and everything sees
    the ledger at one moment, so that a ledger in use can be compared. Raises SourceError.
    """
    with _writing(url, ZoneInfo(timezone), wait, None) as writer:
        if writer.value("select count(*) from rollup.state where ready") < len(definitions()):
            raise SourceError(NOT_BUILT, kind="refused", source="ledger")
        if not catch_up:
            return writer.differences()
        with writer.step():
            writer.run("set transaction isolation level repeatable read")
            writer.find(OVERLAP)
            writer.work(Report(), _silent)
            return writer.differences()
