"""The query files: what stands in a head, how it is read, how parameters are checked.

A query is one file below `queries/ledger` or `queries/state` (SQL) or `queries/metrics` (PromQL). Its comment head says
what it is:

    -- title: Decisions by day
    -- description: A row is one day and one segment.
    -- param: day date -- the business day
    -- param: as_of timestamptz = null -- the present moment
    -- column: approved integer [count] -- applications approved
    -- ttl: 60

A query that lists rows (below `ledger/rows`) says by which column a row is known, and by which the list may be sorted
(the first by default; a column that can be null says so as in SQL):

    -- key: credit_id
    -- sort: approved_at desc, disbursed_at desc nulls last

What several SQL files begin with stands in `queries/with`, one file for each, and is put before their own expressions:

    -- with: cut, pieces

PromQL heads are the same behind `#`. The head is the only place where a query is described: the panel's menu, the
shell and the catalogue read it from here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from queries.errors import SourceError

ROOT = Path(__file__).parent
Source = Literal["ledger", "metrics", "state"]
MetricKind = Literal["instant", "range", "days", "samples"]
_SUFFIX: dict[Source, str] = {"ledger": ".sql", "metrics": ".promql", "state": ".sql"}


@dataclass(frozen=True)
class Param:
    """One declared parameter; `required` when the head gives no default."""

    name: str
    type: str
    default: Any = None
    required: bool = True
    description: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the answer: `unit` is what stands in brackets in the head (count, MXN, share, s ...)."""

    name: str
    type: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Sort:
    """A column that a list of rows may be sorted by; `nullable` ones have their nulls last in both directions."""

    column: str
    descending: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class Query:
    """A named question. `ttl` is for how many seconds an answer counts as fresh.

    `key` (unique in the answer) and `sorts` stand only in the head of a list of rows.
    """

    name: str
    source: Source
    title: str
    description: str
    text: str
    params: tuple[Param, ...] = ()
    columns: tuple[Column, ...] = ()
    ttl: float = 60.0
    kind: MetricKind = "range"
    path: Path = field(default=ROOT, compare=False)
    key: str = ""
    sorts: tuple[Sort, ...] = ()

    def bind(self, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Give each declared parameter its checked value.

        Keys that the query does not declare are ignored, so that a page hands its whole filter to each panel.
        `defaults` fills `$name` defaults, such as the configured time zone. Raises SourceError(bad_parameter).
        """
        bound: dict[str, Any] = {}
        for param in self.params:
            if param.name in params:
                value = params[param.name]
            elif param.required:
                raise SourceError(
                    f"The query {self.name} needs the parameter {param.name} ({param.type}).",
                    kind="bad_parameter",
                    source=self.source,
                    query=self.name,
                )
            else:
                value = param.default
                # A default alone: a dollar sign that somebody typed is a text like any other.
                if isinstance(value, str) and value.startswith("$"):
                    value = defaults[value[1:]]
            bound[param.name] = _coerce(self, param, value)
        return bound


def _parse_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]


def _parse_date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    return date.fromisoformat(str(value))


def _parse_instant(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return moment


def _parse_integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("not a whole number")
    return int(value)


def _parse_number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _parse_text(value: Any) -> str:
    text = str(value)
    if "\x00" in text:
        raise ValueError("a text cannot hold a NUL character")
    return text


def _parse_duration(value: Any) -> str:
    text = str(value)
    if not re.fullmatch(r"([0-9]+(ms|[smhdwy]))+", text):
        raise ValueError("not a duration")
    return text


_PARSERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "date": (_parse_date, "a date such as 2026-01-31"),
    "timestamptz": (_parse_instant, "a time with its zone such as 2026-01-31T08:00:00-06:00"),
    "text": (_parse_text, "a text"),
    "integer": (_parse_integer, "a whole number"),
    "numeric": (lambda v: Decimal(str(v)), "a number"),
    "number": (_parse_number, "a number"),
    "boolean": (_parse_bool, "true or false"),
    "label": (_parse_text, "a text"),
    "duration": (_parse_duration, "a duration such as 5m or 1h30m"),
}
_LIST_TYPES = {"date[]": "date", "text[]": "text", "integer[]": "integer", "labels": "label"}


def _coerce(query: Query, param: Param, value: Any) -> Any:
    if value is None:
        return None
    base = _LIST_TYPES.get(param.type)
    parse, expected = _PARSERS[base or param.type]
    try:
        if base is None:
            return parse(value)
        # Written as one text, "" is the empty list; an item "" of a real list is the value "none".
        items = [item for item in value.split(",") if item] if isinstance(value, str) else value
        return tuple(parse(item) for item in items)
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        wanted = f"a list, each {expected}" if base else expected
        raise SourceError(
            f"The parameter {param.name} of {query.name} must be {wanted}.",
            kind="bad_parameter",
            source=query.source,
            query=query.name,
        ) from error


_HEAD = re.compile(r"^(?:--|#)\s*(title|description|kind|ttl|key|sort|with|param|column):\s*(.*)$")
_CONTINUED = re.compile(r"^(?:--|#)\s{2,}(\S.*)$")
_PARAM = re.compile(r"^(\w+)\s+([\w\[\]]+)\s*(?:=\s*(.*?))?\s*(?:--\s*(.*)|\((.*)\))?$")
_SORT = re.compile(r"^(\w+)( asc| desc)?( nulls last)?$")
_COLUMN = re.compile(r"^(\w+)\s+([\w ]+?)\s*(?:\[(.*?)\])?\s*(?:--\s*(.*))?$")


def parse_query(path: Path, source: Source, name: str) -> Query:
    """Read one query file. Raises ValueError with the file and the line that is wrong."""
    text = path.read_text(encoding="utf-8")
    single: dict[str, str] = {}
    params: list[Param] = []
    columns: list[Column] = []
    last = ""
    for line in text.splitlines():
        found = _HEAD.match(line)
        if not found:
            continued = _CONTINUED.match(line)
            if continued and last == "description":
                single[last] += " " + continued[1].strip()
            else:
                last = ""
            continue
        last, value = found[1], found[2].strip()
        if last == "param":
            params.append(_parse_param(path, value))
        elif last == "column":
            match = _COLUMN.match(value)
            if not match:
                raise ValueError(f"{path}: this column line is not 'name type [unit] -- words': {value}")
            columns.append(Column(match[1], match[2], match[3] or "", match[4] or ""))
        else:
            single[last] = value
    missing = {"title", "description"} - single.keys()
    if missing:
        raise ValueError(f"{path}: the head lacks {', '.join(sorted(missing))}")
    kind = single.get("kind", "range")
    if kind not in {"instant", "range", "days", "samples"}:
        raise ValueError(f"{path}: kind must be instant, range, days or samples, not {kind}")
    key, sorts = _parse_order(path, single.get("key", ""), single.get("sort", ""), columns)
    return Query(
        name=name,
        source=source,
        title=single["title"],
        description=single["description"],
        text=_beginning_with(path, single.get("with", ""), _body(text, source)),
        params=tuple(params),
        columns=tuple(columns),
        ttl=float(single.get("ttl", 60)),
        kind=cast(MetricKind, kind),
        path=path,
        key=key,
        sorts=sorts,
    )


def _beginning_with(path: Path, names: str, body: str) -> str:
    """The statement with the shared table expressions of those names before its own."""
    if not names:
        return body
    shared = []
    for name in names.split(","):
        part = ROOT / "with" / f"{name.strip()}.sql"
        if not part.is_file():
            raise ValueError(f"{path}: there is no {part.name} in queries/with")
        shared.append(_body(part.read_text(encoding="utf-8"), "ledger"))
    if re.match(r"with\s+recursive\b|with\n|WITH\b|--", body):
        raise ValueError(f"{path}: what stands before other expressions begins with 'with name as' or 'select'")
    own = body.removeprefix("with ")
    return "with " + ",\n".join(shared) + ("\n" if own == body else ",\n") + own


def _parse_order(path: Path, key: str, sort: str, columns: list[Column]) -> tuple[str, tuple[Sort, ...]]:
    """The lines `key` and `sort`: they become part of a statement, so only declared columns may stand there."""
    if bool(key) != bool(sort):
        raise ValueError(f"{path}: key and sort stand together or not at all")
    sorts = []
    for entry in sort.split(",") if sort else []:
        match = _SORT.match(entry.strip())
        if not match:
            raise ValueError(f"{path}: this sort is not 'column [desc] [nulls last]': {entry.strip()}")
        sorts.append(Sort(match[1], match[2] == " desc", bool(match[3])))
    declared = {column.name for column in columns}
    unknown = {*(one.column for one in sorts), *([key] if key else [])} - declared
    if unknown:
        raise ValueError(f"{path}: key and sort name columns that are not declared: {', '.join(sorted(unknown))}")
    return key, tuple(sorts)


def _parse_param(path: Path, value: str) -> Param:
    match = _PARAM.match(value)
    if not match or (match[2] not in _PARSERS and match[2] not in _LIST_TYPES):
        raise ValueError(f"{path}: this parameter line is not 'name type [= default] -- words': {value}")
    name, kind, default = match[1], match[2], match[3]
    words = match[4] or match[5] or ""
    if default is None:
        return Param(name, kind, None, True, words)
    if default in {"null", "{}", ""}:
        return Param(name, kind, () if default == "{}" else None, False, words)
    return Param(name, kind, default, False, words)


def _body(text: str, source: Source) -> str:
    """The statement without its comment head: SQL keeps inner comments, PromQL none."""
    if source == "metrics":
        return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).strip()
    lines = text.splitlines()
    while lines and (lines[0].startswith("--") or not lines[0].strip()):
        lines.pop(0)
    return "\n".join(lines).strip().rstrip(";")


@cache
def load_queries() -> tuple[Query, ...]:
    """All queries of the house, by source and name."""
    found = []
    for source, suffix in _SUFFIX.items():
        base = ROOT / source
        found += [
            parse_query(path, source, path.relative_to(base).with_suffix("").as_posix())
            for path in sorted(base.rglob(f"*{suffix}"))
        ]
    return tuple(found)


@cache
def _index() -> dict[tuple[str, str], Query]:
    return {(query.source, query.name): query for query in load_queries()}


def find_query(source: Source, name: str) -> Query:
    """The query of that name. Raises SourceError(unknown_query)."""
    try:
        return _index()[(source, name)]
    except KeyError:
        raise SourceError(
            f"There is no {source} query named {name}.", kind="unknown_query", source=source, query=name
        ) from None


def escape_label(value: str) -> str:
    """Escape a label value for use between double quotes in PromQL."""
    # JSON's escapes are a subset of those that PromQL (Go) strings know; ensure_ascii off keeps é as é.
    return json.dumps(value, ensure_ascii=False)[1:-1].replace("\x7f", "\\x7f")


def escape_regex(value: str) -> str:
    """Escape a text so that RE2 matches it literally, for use between double quotes in PromQL."""
    # Only RE2's metacharacters: re.escape would also escape spaces and dashes, which RE2 refuses in some places.
    return escape_label(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value))
