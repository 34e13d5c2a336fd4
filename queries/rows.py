"""The rows behind a number: page by page, counted, or all of them as a stream.

    page = rows("rows/payments", {"first": day, "last": day, "method": "oxxo"})
    page = rows("rows/payments", {...}, after=page_of(page).last)

The queries are those with `key` and `sort` in their heads. What is added to their text here is made of the columns that
the head names and of bound parameters; no text of a viewer becomes part of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from queries.errors import SourceError
from queries.ledger_client import LedgerClient
from queries.library import Column, Param, Query, Sort, find_query
from queries.sources import _connected

PAGE_ROWS = 50
STREAM_ROWS = 2000
# A stream of all rows ends by then, whatever happens.
STREAM_SECONDS = 1800.0

# A row's place in the list: its value in the sorted column (None when it has none) and its key.
Place = tuple[Any, Any]

_CASTS = {"integer": "bigint", "smallint": "bigint", "double": "double precision"}
_PARAM_TYPES = {"bigint": "integer", "smallint": "integer", "double": "number", "double precision": "number"}


@dataclass(frozen=True)
class Page:
    """Where a page of rows stands: the places of its first and last row, and whether rows follow it.

    Of a page asked for with `before`, `more` tells whether rows stand before it.
    """

    sort: str
    descending: bool
    first: Place | None
    last: Place | None
    more: bool


def rows_query(name: str, params: Mapping[str, Any] | None = None) -> Query:
    """The list of rows of that name.

    Raises SourceError when there is none, or when `params` holds a name that it does not know: ignoring it would give
    rows that nobody asked for.
    """
    query = find_query("ledger", name)
    if not query.key:
        raise SourceError(f"The query {name} is no list of rows.", kind="unknown_query", source="ledger", query=name)
    unknown = sorted(set(params or ()) - {param.name for param in query.params})
    if unknown:
        raise SourceError(
            f"The query {name} has no parameter {unknown[0]}.", kind="bad_parameter", source="ledger", query=name
        )
    return query


def sort_of(query: Query, column: str | None, descending: bool | None = None) -> Sort:
    """The sort by that column (None is the head's first), in its own direction unless told. Raises SourceError."""
    found = query.sorts[0] if column is None else next((one for one in query.sorts if one.column == column), None)
    if found is None:
        raise SourceError(
            f"The rows of {query.name} cannot be sorted by that column.",
            kind="bad_parameter",
            source="ledger",
            query=query.name,
        )
    return found if descending is None else replace(found, descending=descending)


def rows(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    sort: str | None = None,
    descending: bool | None = None,
    after: Place | None = None,
    before: Place | None = None,
    limit: int = PAGE_ROWS,
) -> pd.DataFrame:
    """A page of the list `name`: its first rows, those `after` a place, or the last ones `before` it.

    The columns are those that the query's head declares. Rows are sorted by `sort` (nulls last in both directions) and
    then by their key, so that no row is shown twice or never while the ledger stands still; a page is found by index
    however far down it is. `frame.attrs["page"]` is its `Page`, `frame.attrs["answer"]` its `Answer`.
    Raises SourceError.
    """
    query = rows_query(name, params)
    order = sort_of(query, sort, descending)
    backwards = before is not None
    place = before if backwards else after
    direction = order.descending != backwards
    statement = replace(
        query,
        # The cache knows a question by its name and parameters.
        name=f"{query.name} by {order.column} {'desc' if order.descending else 'asc'}{' back' if backwards else ''}",
        text=f"{_found(query, '*')}{_beyond(query, order, place, backwards)}"
        f"order by {order.column} {'desc' if direction else 'asc'}"
        f"{(' nulls first' if backwards else ' nulls last') if order.nullable else ''}"
        f", {query.key} {'desc' if direction else 'asc'}\n"
        "limit :row_limit",
        params=(
            *query.params,
            Param("place_value", _param_type(query, order.column), None, False),
            Param("place_key", _param_type(query, query.key), None, False),
            Param("row_limit", "integer"),
        ),
    )
    value, key = place or (None, None)
    wanted = {"place_value": value, "place_key": key, "row_limit": limit + 1}
    frame = _connected().ask(statement, {**(params or {}), **wanted})
    answer = frame.attrs["answer"]
    found = frame.iloc[:limit]
    found = (found.iloc[::-1] if backwards else found).reset_index(drop=True)
    found.attrs["answer"] = replace(answer, name=query.name)
    found.attrs["page"] = Page(
        order.column,
        order.descending,
        _place(found, order.column, query.key, 0),
        _place(found, order.column, query.key, -1),
        len(frame) > limit,
    )
    return found


def page_of(frame: pd.DataFrame) -> Page:
    """Where the page that `rows` gave stands."""
    page = frame.attrs["page"]
    assert isinstance(page, Page)
    return page


def count_rows(name: str, params: Mapping[str, Any] | None = None) -> int:
    """How many rows the list has. Raises SourceError."""
    query = rows_query(name, params)
    statement = replace(
        query,
        name=f"{query.name} counted",
        text=_found(query, "count(*) as n"),
        columns=(Column("n", "bigint", "count"),),
    )
    return int(_connected().ask(statement, params or {})["n"].iloc[0])


def stream_rows(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    sort: str | None = None,
    descending: bool | None = None,
    chunk: int = STREAM_ROWS,
    seconds: float = STREAM_SECONDS,
) -> Iterator[list[tuple[Any, ...]]]:
    """All rows of the list, a chunk at a time, as tuples in the order of the head's columns.

    Money is Decimal, times are aware in the configured zone, days are dates. Memory holds one chunk, however many rows
    there are; they are of one moment. Raises SourceError: at once for a wrong name or parameter, and in the middle when
    the ledger fails or `seconds` are over.
    """
    query = rows_query(name, params)
    order = sort_of(query, sort, descending)
    direction = "desc" if order.descending else "asc"
    names = ", ".join(column.name for column in query.columns)
    statement = replace(
        query,
        text=f"{_found(query, names)}"
        f"order by {order.column} {direction}{' nulls last' if order.nullable else ''}, {query.key} {direction}",
    )
    house = _connected()
    client = house.client("ledger")
    assert isinstance(client, LedgerClient)
    return client.stream(statement, statement.bind(params or {}, {"timezone": house.sources.timezone}), chunk, seconds)


def _found(query: Query, wanted: str) -> str:
    """Columns of the list's rows. Its own WITH stands before it all: within, it would hide the list's order."""
    start = re.search(r"^select\b", query.text, re.M)
    assert start is not None
    before, body = query.text[: start.start()], query.text[start.start() :]
    return f"{before}select {wanted}\nfrom (\n{body}\n) as found\n"


def _column_type(query: Query, name: str) -> str:
    return next(column.type for column in query.columns if column.name == name)


def _param_type(query: Query, name: str) -> str:
    kind = _column_type(query, name)
    return _PARAM_TYPES.get(kind, kind)


def _beyond(query: Query, order: Sort, place: Place | None, backwards: bool) -> str:
    """The condition that leaves the rows on the far side of the place."""
    if place is None:
        return ""
    sort, key = order.column, query.key
    sort_type, key_type = _column_type(query, sort), _column_type(query, key)
    value = f"cast(:place_value as {_CASTS.get(sort_type, sort_type)})"
    known = f"cast(:place_key as {_CASTS.get(key_type, key_type)})"
    sign = "<" if order.descending != backwards else ">"
    if not order.nullable:
        # Compared as a row, the first part alone already bounds the index.
        return f"where ({sort}, {key}) {sign} ({value}, {known})\n"
    if place[0] is None:
        return f"where {f'{sort} is not null or ' if backwards else f'{sort} is null and '}{key} {sign} {known}\n"
    behind = "" if backwards else f" or {sort} is null"
    return f"where ({sort}, {key}) {sign} ({value}, {known}){behind}\n"


def _place(frame: pd.DataFrame, sort: str, key: str, row: int) -> Place | None:
    if frame.empty:
        return None
    value, known = frame[sort].iloc[row], frame[key].iloc[row]
    return (None if pd.isna(value) else _plain(value), _plain(known))


def _plain(value: Any) -> Any:
    """A value without its frame: pandas' own types out, so that it keeps in a session and binds as it is."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if hasattr(value, "item") else value
