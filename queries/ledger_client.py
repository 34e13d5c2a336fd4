"""Asks the ledger: PostgreSQL over SQLAlchemy and psycopg, read-only, each wait bounded on both ends."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from queries.errors import SourceError
from queries.library import Column, Query
from queries.rollups import (
    NOT_BUILT,
    NOT_READABLE,
    STATES,
    STATES_SECONDS,
    RollupStates,
    from_rows,
    named_in,
    states_of,
)

MAX_ROWS = 200_000
# Seconds for one step of a stream: the first holds the sort of all rows.
STREAM_STEP = 120
_FOR_A_STREAM = f"""
    set local statement_timeout = '{STREAM_STEP}s';
    set local idle_in_transaction_session_timeout = '{STREAM_STEP}s';
    -- All rows are read, so the plan with the quickest last row is wanted, not that with the quickest first.
    set local cursor_tuple_fraction = 1
"""


class LedgerClient:
    """A small pool of read-only connections to the schema `bi`.

    The server bounds a statement by `statement_timeout`. A server that is stopped or cut off never does, so a watch
    on this side closes the connection's socket when the time is over, which ends the wait at once.
    """

    def __init__(
        self,
        url: str,
        *,
        zone: ZoneInfo,
        connections: int,
        query_timeout: float,
        connect_timeout: float,
        read_only: bool = True,
    ) -> None:
        self.zone = zone
        self.query_timeout = query_timeout
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._running: set[psycopg.Connection[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._rollups: tuple[float, RollupStates] | None = None
        self._rollups_lock = threading.Lock()
        connect_args = {
            "connect_timeout": max(int(connect_timeout), 2),
            "application_name": "mirador",
            "options": " ".join(
                f"-c {name}={value}"
                for name, value in {
                    "statement_timeout": int(query_timeout * 1000),
                    "default_transaction_read_only": "on" if read_only else "off",
                    "timezone": zone.key,
                    # Compiling costs more than these short questions gain.
                    "jit": "off",
                    # What is not asked for must cost nothing: a plan for any parameters would look at all of it.
                    "plan_cache_mode": "force_custom_plan",
                }.items()
            ),
        }
        self._engine = create_engine(
            parsed,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=query_timeout,
            pool_recycle=1800,
            isolation_level="AUTOCOMMIT",
            # Parameters can be ids of people: they stay out of error messages.
            hide_parameters=True,
            connect_args=connect_args,
        )
        _bounded_beginning(self._engine, query_timeout + 1)
        # Each stream has a connection of its own: the pages' pool is not theirs to empty.
        self._streams = create_engine(parsed, poolclass=NullPool, hide_parameters=True, connect_args=connect_args)
        _bounded_beginning(self._streams, query_timeout + 1)

    def run(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
        """Ask once and give (frame, the statement with its parameters filled in, no warnings). Raises SourceError.

        Rollups whose tables cannot be read are worked out from the rows. When tables were read, the frame's
        `attrs["rollups"]` is the moment up to which the oldest of them goes.
        """
        bound = {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
        bound.setdefault("timezone", self.zone.key)
        wanted = named_in(query.text)
        tables = self.rollup_states().readable(wanted, str(bound["timezone"])) if wanted else {}
        statement = from_rows(query.text, [name for name in wanted if name not in tables])
        try:
            names, rows = self._fetch(statement, bound, query.name)
        except SourceError as error:
            if not tables or error.kind != "refused":
                raise
            # A table went away since its state was read: the rows are there.
            self._rollups = None
            tables, statement = {}, from_rows(query.text, wanted)
            names, rows = self._fetch(statement, bound, query.name)
        frame = to_frame(names, rows, query.columns, self.zone)
        # A list gives rows as they are now: its tables only narrow the way to them.
        if tables and not query.key:
            oldest = min(table.refreshed_at for table in tables.values())
            frame.attrs["rollups"] = oldest.astimezone(self.zone)
        return frame, fill_in(statement, bound), ()

    def rollup_states(self) -> RollupStates:
        """Which rollups can be read, kept for a few seconds. Raises SourceError when the ledger cannot be asked."""
        with self._rollups_lock:
            kept = self._rollups
            if kept is None or time.monotonic() - kept[0] > STATES_SECONDS:
                kept = self._rollups = (time.monotonic(), self._read_rollup_states())
            return kept[1]

    def _read_rollup_states(self) -> RollupStates:
        try:
            _, rows = self._fetch(STATES, {}, "rollup states")
        except SourceError as error:
            if error.kind != "refused":
                raise
            denied = isinstance(getattr(error.__cause__, "orig", None), psycopg.errors.InsufficientPrivilege)
            return RollupStates("rows", NOT_READABLE if denied else NOT_BUILT)
        return states_of(rows, self.zone.key)

    def stream(self, query: Query, params: dict[str, Any], chunk: int, seconds: float) -> Iterator[list[Any]]:
        """All rows in lists of `chunk`, as the driver gives them, in the order of the query's columns.

        They come through a cursor of the server in one transaction, so they are of one moment, and no more than a chunk
        is in memory. Over after `seconds` in all. Raises SourceError, also in the middle.
        """
        bound = {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
        bound.setdefault("timezone", self.zone.key)
        # It lasts: a daily table that it held could not be built anew.
        statement = from_rows(query.text, named_in(query.text))
        until = time.monotonic() + seconds
        try:
            with self._streams.connect() as connection:
                with self._watched(connection, STREAM_STEP):
                    connection.exec_driver_sql(_FOR_A_STREAM)
                    parts = connection.execute(
                        text(statement), bound, execution_options={"stream_results": True, "max_row_buffer": chunk}
                    ).partitions(chunk)
                while not self._closed:
                    if time.monotonic() > until:
                        raise SourceError(
                            f"These rows took longer than {seconds / 60:.0f} minutes: choose a shorter period.",
                            kind="timeout",
                            source="ledger",
                            query=query.name,
                        )
                    with self._watched(connection, STREAM_STEP):
                        rows = next(parts, None)
                    if not rows:
                        return
                    yield list(rows)
            raise SourceError("Mirador is ending.", kind="down", source="ledger", query=query.name)
        except SQLAlchemyError as error:
            raise _told(error, query.name) from error

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        start = time.monotonic()
        self._fetch("select 1", {}, "ping")
        return time.monotonic() - start

    def _fetch(self, statement: str, params: dict[str, Any], name: str) -> tuple[list[str], list[Any]]:
        try:
            return self._fetch_once(statement, params)
        except DBAPIError as error:
            # A pooled connection that the server closed meanwhile (a restart) says so at first use: ask once anew.
            stale = error.connection_invalidated and isinstance(error.orig, psycopg.OperationalError)
            if self._closed or not stale:
                raise _told(error, name) from error
        except SQLAlchemyError as error:
            raise _told(error, name) from error
        try:
            return self._fetch_once(statement, params)
        except SQLAlchemyError as error:
            raise _told(error, name) from error

    def _fetch_once(self, statement: str, params: dict[str, Any]) -> tuple[list[str], list[Any]]:
        with self._engine.connect() as connection, self._watched(connection):
            result = connection.execute(text(statement), params)
            rows = result.fetchmany(MAX_ROWS + 1)
            if len(rows) > MAX_ROWS:
                raise SourceError(
                    f"This answer has more than {MAX_ROWS:,} rows: choose a shorter period.",
                    kind="too_large",
                    source="ledger",
                )
            return list(result.keys()), list(rows)

    @contextlib.contextmanager
    def _watched(self, connection: Connection, seconds: float | None = None) -> Iterator[None]:
        """End the wait from this side when the time is over, whatever the server does."""
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, psycopg.Connection)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            cut(raw)

        timer = threading.Timer((seconds or self.query_timeout) + 1, expire)
        timer.daemon = True
        with self._lock:
            self._running.add(raw)
        timer.start()
        try:
            yield
        except SQLAlchemyError as error:
            if expired.is_set():
                connection.invalidate()
                raise SourceError("The ledger has not answered in time.", kind="timeout", source="ledger") from error
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(raw)

    def close(self) -> None:
        """Cut off what is running and drop the pool."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for raw in running:
            cut(raw)
        self._engine.dispose(close=not running)


def _bounded_beginning(engine: Engine, seconds: float) -> None:
    """Cut a new connection that is not ready by then: SQLAlchemy asks a server its version before anybody watches.

    A pooler before a server that is away lets one in and then holds this first question.
    """

    @event.listens_for(engine, "connect", insert=True)
    def begin(raw: psycopg.Connection[Any], record: Any) -> None:
        timer = threading.Timer(seconds, cut, [raw])
        timer.daemon = True
        record.info["beginning"] = timer
        timer.start()

    @event.listens_for(engine, "checkout")
    def ready(raw: psycopg.Connection[Any], record: Any, proxy: Any) -> None:
        if timer := record.info.pop("beginning", None):
            timer.cancel()


def cut(raw: psycopg.Connection[Any]) -> None:
    """Shut the socket under a connection: the thread that waits on it wakes with an error."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def _told(error: SQLAlchemyError, name: str) -> SourceError:
    """What a person may know of a database error: no SQL, no parameter, no host."""
    original = getattr(error, "orig", None)
    if isinstance(error, PoolTimeoutError):
        return SourceError("The ledger is busy: no connection came free in time.", kind="timeout", source="ledger")
    if isinstance(original, psycopg.errors.QueryCanceled):
        return SourceError("The ledger took too long for this question.", kind="timeout", source="ledger", query=name)
    if isinstance(original, psycopg.errors.ConnectionTimeout):
        return SourceError("The ledger does not accept connections in time.", kind="down", source="ledger")
    if isinstance(original, psycopg.errors.InsufficientPrivilege):
        return SourceError("The ledger role may not read what this needs.", kind="refused", source="ledger", query=name)
    if isinstance(original, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return SourceError(
            "The ledger lacks a relation or column that this needs: run python -m app doctor.",
            kind="refused",
            source="ledger",
            query=name,
        )
    if isinstance(original, psycopg.OperationalError | psycopg.InterfaceError):
        return SourceError("The ledger cannot be reached.", kind="down", source="ledger")
    return SourceError("The ledger refused this question.", kind="refused", source="ledger", query=name)


# The same names that SQLAlchemy's text() binds: not a cast (::), not an escaped colon.
_BIND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")


def fill_in(statement: str, params: dict[str, Any]) -> str:
    """The statement with its parameters as literals, to be read and pasted into psql; it is never run like this."""
    return _BIND.sub(lambda m: sql.Literal(params[m[1]]).as_string(None) if m[1] in params else m[0], statement)


def to_frame(names: list[str], rows: list[Any], columns: tuple[Column, ...], zone: ZoneInfo) -> pd.DataFrame:
    """Rows as a frame with the types that the head declares; a column that is not declared keeps what came."""
    types = {column.name: column.type for column in columns}
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pd.DataFrame(
        {name: _series(value, types.get(name), zone) for name, value in zip(names, values, strict=True)}
    )


def _series(values: tuple[Any, ...], declared: str | None, zone: ZoneInfo) -> pd.Series[Any]:
    sample = next((value for value in values if value is not None), None)
    kind = declared or {bool: "boolean", int: "integer", float: "double", Decimal: "numeric", str: "text"}.get(
        type(sample)
    )
    if kind is None and isinstance(sample, datetime):
        kind = "timestamptz"
    match kind:
        case "integer" | "bigint" | "smallint":
            return pd.Series(list(values), dtype="Int64")
        case "double" | "double precision":
            return pd.Series([None if v is None else float(v) for v in values], dtype="float64")
        case "numeric":
            return pd.Series([v if v is None or isinstance(v, Decimal) else Decimal(v) for v in values], dtype=object)
        case "text":
            return pd.Series(list(values), dtype="str")
        case "boolean":
            return pd.Series(list(values), dtype="boolean")
        case "date":
            return pd.Series(pd.to_datetime(list(values)), dtype="datetime64[us]")
        case "timestamptz":
            return pd.Series(pd.to_datetime(list(values), utc=True)).dt.as_unit("us").dt.tz_convert(zone)
        case _:
            return pd.Series(list(values), dtype=object)
