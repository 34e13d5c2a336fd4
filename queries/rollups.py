"""Rollups: small tables by day that stand for the rows, and how a statement reads them.

A rollup is defined once, by a SELECT over the schema `bi` in `queries/rollup/NAME.sql`. Where its table
`rollup.NAME` cannot be read, a statement that names it gets the definition in its place: the same answer, from the
rows, slower.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from queries.library import ROOT, Query, parse_query

# For how long readers rely on what they have read of the tables' state.
STATES_SECONDS = 5.0

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


def named_in(statement: str) -> tuple[str, ...]:
    """The rollups that a statement reads, in the order of their first mention."""
    names = [match["name"] for match in _NAMED.finditer(statement) if match["name"]]
    return tuple(dict.fromkeys(name for name in names if name in definitions()))


def from_rows(statement: str, names: Collection[str]) -> str:
    """The statement with those rollups worked out from the rows; it then needs the parameter :timezone.

    Each definition stands once, as a common table expression, however often the statement reads it.
    """
    if not names:
        return statement

    def put(match: re.Match[str]) -> str:
        name, alias = match["name"], match["alias"] or ""
        if name not in names:
            return match[0]
        word = alias.split()[-1].lower() if alias else ""
        own = "" if word and not _KEYWORDS.fullmatch(word) else f" as {name}"
        return f"rollup_{name}{own}{alias}"

    body = _NAMED.sub(put, statement)
    ctes = ",\n".join(f"rollup_{name} as (\n{definitions()[name].text}\n)" for name in names)
    match = _WITH.match(body)
    if match:
        return f"{match['before']}with {match['recursive'] or ''}{ctes},\n{body[match.end() :]}"
    return f"with {ctes}\n{body}"
