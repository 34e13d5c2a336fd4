"""Rollups: small tables by day that stand for the rows, and how a statement reads them.

A rollup is defined once, by a SELECT over the schema `bi` in `queries/rollup/NAME.sql`. Where its table
`rollup.NAME` cannot be read, a statement that names it gets the definition in its place: the same answer, from the
rows, slower. `queries/rollup_refresh.py` keeps the tables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Literal

from queries.library import ROOT, Query, parse_query

# For how long readers rely on what they have read of the tables' state.
STATES_SECONDS = 5.0

# Rollups that are kept by credit, together: see rollup_refresh.
BY_CREDIT = (
    *("installments", "late_changes", "late_changes_all", "due_days"),
    *("exposure", "vintages", "rolls", "outcomes", "overdue", "first_dues"),
)
# Moves when tables are kept in another way: all are built anew.
_VERSION = "4"

STATES = "select name, definition, timezone, ready, refreshed_at, rows from rollup.state"
NOT_BUILT = "The daily tables are not built: run python -m app rollup."
NOT_READABLE = "The ledger role may not read the schema rollup."
BUILDING = "The daily tables are being built."

# A rollup as a statement names it; comments are met first, so that nothing is looked for in them.
_NAMED = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\brollup\.(?P<name>[a-z_]\w*)\b(?P<alias>\s+(?:as\s+)?\w+)?", re.S
)
_WITH = re.compile(r"^(?P<before>(?:\s*--[^\n]*\n)*\s*)with\s+(?P<recursive>recursive\s+)?", re.I)
# What can follow a relation without being its alias.
_KEYWORDS = re.compile(
    "where|join|left|right|inner|cross|full|natural|group|order|on|using|union|limit|having|window|except|intersect"
    "|for|tablesample|fetch|offset"
)


@cache
def definitions() -> dict[str, Query]:
    """Every rollup's definition by name: title, columns with units, and the SELECT that gives its rows."""
    return {path.stem: parse_query(path, "ledger", path.stem) for path in sorted((ROOT / "rollup").glob("*.sql"))}


@cache
def read_by(name: str) -> tuple[str, ...]:
    """The rollups that this one is made of, each after its own: it only adds up rows, and is kept along with them."""
    return named_in(definitions()[name].text)


@cache
def derived_from(name: str) -> tuple[str, ...]:
    """The rollups that are made of this one, each after those that it is made of, too."""
    found = [one for one in definitions() if name in read_by(one)]
    return tuple(sorted(found, key=lambda one: len(read_by(one))))


@cache
def fingerprint(name: str) -> str:
    """What the table `rollup.NAME` is made by; another one means that it must be built anew."""
    names = BY_CREDIT if name in BY_CREDIT else (name, *read_by(name))
    text = "\n".join((_VERSION, *(definitions()[one].text + repr(definitions()[one].columns) for one in names)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RollupState:
    """One table that can be read: all changes of the ledger up to `refreshed_at` (aware) are in it; how many rows."""

    name: str
    timezone: str
    refreshed_at: datetime
    rows: int


@dataclass(frozen=True)
class RollupStates:
    """What pages read: `mode` is rollups when every table can be read, else rows, and `sentence` says why.

    `tables` holds those that can be read, by name, so some pages can be quick while others are not yet.
    """

    mode: Literal["rollups", "rows"]
    sentence: str | None = None
    tables: Mapping[str, RollupState] = field(default_factory=dict)

    @property
    def refreshed_at(self) -> datetime | None:
        """How far the oldest table goes."""
        return min((table.refreshed_at for table in self.tables.values()), default=None)

    def readable(self, names: Iterable[str], timezone: str) -> dict[str, RollupState]:
        """Of these, the tables that can be read for days of that zone."""
        found = {name: self.tables[name] for name in names if name in self.tables}
        return {name: table for name, table in found.items() if table.timezone == timezone}


def states_of(rows: Iterable[Any], timezone: str) -> RollupStates:
    """The states from the rows that `STATES` gives; a table of another definition or zone cannot be read."""
    tables = {}
    building = other_zone = False
    for name, definition, zone, ready, refreshed_at, count in rows:
        if name not in definitions():
            continue
        building = building or not ready
        other_zone = other_zone or zone != timezone
        if ready and refreshed_at is not None and definition == fingerprint(name):
            tables[name] = RollupState(name, zone, refreshed_at, count)
    if len(tables) == len(definitions()) and not other_zone:
        return RollupStates("rollups", None, tables)
    if other_zone:
        sentence = "The daily tables are of another time zone: run python -m app rollup."
    else:
        sentence = BUILDING if building else NOT_BUILT
    return RollupStates("rows", sentence, tables)


def _named(statement: str) -> tuple[str, ...]:
    names = [match["name"] for match in _NAMED.finditer(statement) if match["name"]]
    return tuple(dict.fromkeys(name for name in names if name in definitions()))


def named_in(statement: str) -> tuple[str, ...]:
    """The rollups that a statement reads, in the order of their first mention, each after those it is made of."""
    return tuple(dict.fromkeys(one for name in _named(statement) for one in (*read_by(name), name)))


def reading(text: str, instead: Mapping[str, str]) -> str:
    """The text with other relations in the place of some rollups, by their names."""

    def put(match: re.Match[str]) -> str:
        name, alias = match["name"], match["alias"] or ""
        if name not in instead:
            return match[0]
        word = alias.split()[-1].lower() if alias else ""
        own = "" if word and not _KEYWORDS.fullmatch(word) else f" as {name}"
        return f"{instead[name]}{own}{alias}"

    return _NAMED.sub(put, text)


def from_rows(statement: str, names: Collection[str]) -> str:
    """The statement with those rollups worked out from the rows; it then needs the parameter :timezone.

    Each definition stands once, as a common table expression, however often the statement reads it. What only another
    one of them is made of is left out where that one can be read.
    """
    direct = [name for name in _named(statement) if name in names]
    needed = dict.fromkeys(one for name in direct for one in (*read_by(name), name) if one in names)
    if not needed:
        return statement
    instead = {name: f"rollup_{name}" for name in needed}
    if set(names) >= set(named_in(statement)):
        # No table holds anything: a statement that takes the younger part from the rows takes all of it from them.
        instead["state"] = "(select null as name, timestamptz '-infinity' as refreshed_at)"
    body = reading(statement, instead)
    ctes = ",\n".join(f"rollup_{name} as (\n{reading(definitions()[name].text, instead)}\n)" for name in needed)
    match = _WITH.match(body)
    if match:
        return f"{match['before']}with {match['recursive'] or ''}{ctes},\n{body[match.end() :]}"
    return f"with {ctes}\n{body}"
