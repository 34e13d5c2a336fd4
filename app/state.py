"""Mirador's own database (MIRADOR_STATE_URL): the one place where it is made and written.

Everything is in the schema `mirador`, made step by step by `app/migrations` (`migrate`). Without this database, or
while it is away, every page works; what it would add is missing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

import queries
from app.auth import Viewer
from app.settings import Settings
from queries.events import KINDS
from queries.ledger_client import _told
from queries.state_client import StateClient

MIGRATIONS = Path(__file__).with_name("migrations")
# Any number, the same in every process: whoever holds it migrates, the others wait and then find nothing to do.
LOCK = 7_361_442_901
# Alembic keeps the running migration in a global of its module.
_one_at_a_time = threading.Lock()
RETRY_SECONDS = 30.0
TITLE_LENGTH, LINK_LENGTH = 300, 500
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class NotAllowed(Exception):
    """The viewer may not change this; the message is a sentence for him."""


class BadEvent(ValueError):
    """What was told is no event; the message is a sentence that says why."""


# --- the shape --------------------------------------------------------------------------------------------------------


def migrate(url: str) -> list[str]:
    """Bring the schema `mirador` to its newest step and give the steps that were taken, none when it was there.

    All in one transaction and under a lock: two that do it at once do it once, and one that is cut off did nothing.
    Raises SourceError.
    """
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=60000 -c timezone=UTC"},
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            if not connection.execute(text("select to_regnamespace('mirador') is not null")).scalar_one():
                connection.execute(text("create schema mirador"))
            config = Config()
            # Alembic reads % as the beginning of a name.
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            taken: list[str] = []
            config.attributes |= {"connection": connection, "taken": taken}
            with _one_at_a_time:
                command.upgrade(config, "head")
            return taken
    except SQLAlchemyError as error:
        original = getattr(error, "orig", None)
        if isinstance(original, psycopg.errors.InsufficientPrivilege):
            raise queries.SourceError(
                "The role of MIRADOR_STATE_URL may not create or change the schema mirador: let it own the database.",
                kind="refused",
                source="state",
            ) from error
        if isinstance(original, psycopg.OperationalError):
            raise queries.SourceError("The state database cannot be reached.", kind="down", source="state") from error
        raise queries.SourceError(
            "The state database refused a step of its migration.", kind="refused", source="state"
        ) from error
    finally:
        engine.dispose()


def migrate_soon(url: str, log: Any, ended: threading.Event) -> None:
    """Migrate behind the start of the dashboard; while the database is away, try again every half minute."""
    told = ""
    while not ended.is_set():
        try:
            taken = migrate(url)
        except queries.SourceError as error:
            if error.sentence != told:
                told = error.sentence
                log.warning("%s Events are missing until this is mended.", told)
            ended.wait(RETRY_SECONDS)
        else:
            if taken:
                log.info("state database: migrated (%s)", ", ".join(taken))
            return


# --- writing ----------------------------------------------------------------------------------------------------------


class _Writer(StateClient):
    """One statement a call, in a transaction of its own; bounded on both ends like every question."""

    def write(self, statement: str, params: dict[str, Any]) -> list[Any]:
        try:
            return self._fetch(statement, params, "state")[1]
        except queries.SourceError as error:
            raise self.told(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Several statements that are all done or none, bounded like one. Raises SourceError."""
        try:
            with (
                self._engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
                self._watched(connection),
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            raise self.told(_told(error, "state")) from error
        except queries.SourceError as error:
            raise self.told(error) from error


@cache
def _writer(url: str, timezone: str) -> _Writer:
    return _Writer(url, zone=ZoneInfo(timezone), connections=2, query_timeout=3.0, connect_timeout=3.0, read_only=False)


def _writer_of(settings: Settings) -> _Writer:
    if settings.state_url is None:
        raise queries.SourceError(
            "No state database is configured: set MIRADOR_STATE_URL.", kind="not_configured", source="state"
        )
    return _writer(settings.state_url.get_secret_value(), settings.timezone)


def _write(settings: Settings, statement: str, params: dict[str, Any]) -> list[Any]:
    rows = _writer_of(settings).write(statement, params)
    queries.forget("state")
    return rows


@contextmanager
def transaction(settings: Settings, *, forget: bool = True) -> Iterator[Connection]:
    """A connection to the state database in one transaction.

    What the pages remember of it is dropped at its end, unless it wrote nothing that they show. Raises SourceError.
    """
    with _writer_of(settings).transaction() as connection:
        yield connection
    if forget:
        queries.forget("state")


# --- events -----------------------------------------------------------------------------------------------------------

# Told again, an event is the same event; told out of order, it ends when the earliest end says, and what was told
# first keeps its words once it has ended.
_KEEP = """
insert into mirador.events as kept (kind, title, starts_at, ends_at, source, link, fingerprint, created_by)
select kind, title, starts_at, ends_at, :source, link, fingerprint, :created_by
from jsonb_to_recordset(cast(:events as jsonb)) as told (
    kind text, title text, starts_at timestamptz, ends_at timestamptz, link text, fingerprint text
)
on conflict (fingerprint) do update set
    ends_at = least(kept.ends_at, excluded.ends_at),
    title = case when kept.ends_at is null then excluded.title else kept.title end,
    link = case when kept.ends_at is null then coalesce(excluded.link, kept.link) else kept.link end,
    updated_at = now()
returning 1
"""
_ADD = """
insert into mirador.events (kind, title, starts_at, ends_at, source, link, fingerprint, created_by)
values (:kind, :title, :starts_at, :ends_at, 'person', :link, :fingerprint, :created_by)
on conflict (fingerprint) do nothing
returning 1
"""
_CHANGE = """
update mirador.events
set kind = :kind, title = :title, starts_at = :starts_at, ends_at = :ends_at, link = :link, updated_at = now()
where id = :id and (:any or created_by = :viewer)
returning 1
"""
_REMOVE = "delete from mirador.events where id = :id and (:any or created_by = :viewer) returning 1"


def keep_events(settings: Settings, events: Sequence[dict[str, Any]], *, source: str) -> int:
    """Keep what a program told and give how many were new or touched; each once, however often it is told.

    Each has kind, title, starts_at, ends_at, link and fingerprint, checked by `checked`. Raises SourceError.
    """
    if not events:
        return 0
    return len(_write(settings, _KEEP, _kept_once(events, source)))


def keep_events_in(connection: Connection, events: Sequence[dict[str, Any]], *, source: str) -> int:
    """As `keep_events`, within a transaction that is the caller's."""
    return len(connection.execute(text(_KEEP), _kept_once(events, source)).all()) if events else 0


def _kept_once(events: Sequence[dict[str, Any]], source: str) -> dict[str, Any]:
    latest: dict[str, dict[str, Any]] = {}
    for one in events:
        known = latest.get(one["fingerprint"])
        # One message may hold both the beginning and the end; a statement may touch a row only once.
        if known is None or known["ends_at"] is None:
            latest[one["fingerprint"]] = one
        elif one["ends_at"] is not None and one["ends_at"] < known["ends_at"]:
            latest[one["fingerprint"]] = {**known, "ends_at": one["ends_at"]}
    # In one order, so that two that touch the same rows do not wait for each other.
    ordered = sorted(latest.values(), key=lambda one: str(one["fingerprint"]))
    return {"events": json.dumps(ordered, default=datetime.isoformat), "source": source, "created_by": None}


def may_write(viewer: Viewer) -> bool:
    """Whether the viewer may write events: analysts and engineers may."""
    return bool(viewer.roles & {"analyst", "engineer"})


def may_change(viewer: Viewer, created_by: str | None) -> bool:
    """Whether the viewer may change or remove an event: its author may, and an engineer may all."""
    return "engineer" in viewer.roles or (may_write(viewer) and created_by is not None and created_by == viewer.id)


def add_event(settings: Settings, viewer: Viewer, event: dict[str, Any], *, once: str) -> None:
    """Keep what a person wrote. `once` is the form's own number: sent twice, it is kept once.

    Raises NotAllowed, BadEvent, SourceError.
    """
    if not may_write(viewer):
        raise NotAllowed("Events are written by analysts and engineers.")
    _write(settings, _ADD, {**checked(**event), "fingerprint": f"person:{once}", "created_by": viewer.id})


def change_event(settings: Settings, viewer: Viewer, event_id: int, event: dict[str, Any]) -> None:
    """Change an event. Raises NotAllowed, BadEvent, SourceError."""
    _changed(settings, viewer, _CHANGE, {**checked(**event), "id": event_id})


def remove_event(settings: Settings, viewer: Viewer, event_id: int) -> None:
    """Remove an event. Raises NotAllowed, SourceError."""
    _changed(settings, viewer, _REMOVE, {"id": event_id})


def _changed(settings: Settings, viewer: Viewer, statement: str, params: dict[str, Any]) -> None:
    if not may_write(viewer):
        raise NotAllowed("Events are written by analysts and engineers.")
    done = _write(settings, statement, {**params, "any": "engineer" in viewer.roles, "viewer": viewer.id})
    if not done:
        raise NotAllowed("This event is gone, or it belongs to somebody else.")


def checked(
    *, kind: str, title: str, starts_at: datetime | None, ends_at: datetime | None = None, link: str | None = None
) -> dict[str, Any]:
    """The event as it is kept: one line of plain text, times with their zone. Raises BadEvent."""
    plain = one_line(title)
    if kind not in KINDS:
        raise BadEvent(f"The kind must be one of {', '.join(KINDS)}.")
    if not plain:
        raise BadEvent("Say in a few words what happened.")
    if len(plain) > TITLE_LENGTH:
        raise BadEvent(f"The title may have at most {TITLE_LENGTH} characters.")
    if starts_at is None:
        raise BadEvent("Say when it began.")
    for moment in (starts_at, ends_at):
        if moment is not None and (moment.tzinfo is None or not FIRST <= moment < LAST):
            raise BadEvent("Times lie between the years 2000 and 2100.")
    if ends_at is not None and ends_at < starts_at:
        raise BadEvent("The end lies before the beginning.")
    address = one_line(link or "")
    if address and (len(address) > LINK_LENGTH or not address.startswith(("http://", "https://")) or " " in address):
        raise BadEvent("A link begins with http:// or https:// and has no spaces.")
    return {"kind": kind, "title": plain, "starts_at": starts_at, "ends_at": ends_at, "link": address or None}


def one_line(words: str) -> str:
    """The text on one line, without what cannot be seen."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())


def fingerprint_of(parts: Iterable[object]) -> str:
    """A short name that is the same for the same parts."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
