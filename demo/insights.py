"""CloudWatch Logs Insights' query language, as much of it as a log page needs, over events that are held in memory.

Moto takes Insights queries but knows only `fields`, `sort` and `limit`: a `filter` is passed over there, and every
event answers. Here: `fields` and `display`, `filter` (= != < <= > >=, like, =~, in, and, or, not, ispresent, isblank,
strcontains, tolower, toupper), `stats` (count, count_distinct, sum, avg, min, max by fields and bin()), `sort`,
`limit`. Fields are those that Insights discovers in JSON messages, nested ones by dots. What else Insights knows is
refused with its error, MalformedQueryException, never passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any

# What Insights gives when no limit is asked for, and the most that can be.
MOST_ROWS = 10_000

Event = Mapping[str, Any]
Row = dict[str, str]
Getter = Callable[[Event], Any]


class MalformedQuery(ValueError):
    """The query is no query; the message says where."""


# --- events -----------------------------------------------------------------------------------------------------------


def fields_of(message: str) -> dict[str, Any]:
    """The fields that Insights discovers in a message: those of a JSON object, nested ones by dots."""
    if not message.startswith("{"):
        return {}
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    flat: dict[str, Any] = {}
    _flatten("", found, flat)
    return flat


def _flatten(prefix: str, node: Any, into: dict[str, Any]) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            _flatten(f"{prefix}{name}.", value, into)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            _flatten(f"{prefix}{place}.", value, into)
    elif node is not None and prefix:
        into[prefix[:-1]] = node


def timestamp_text(milliseconds: float) -> str:
    """A time as Insights gives it: UTC, `2026-01-31 23:59:59.123`."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}.{int(milliseconds) % 1000:03d}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        # Insights shows 1 and 0.
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)


# --- words ------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<regex>/(?:[^/\\\n]|\\.)+/i?)"
    r"|(?P<number>-?\d+(?:\.\d+)?(?![\w.]))"
    r"|(?P<duration>\d+(?:ms|s|m|h|d|w)\b)"
    r"|(?P<field>`[^`]+`|@?[A-Za-z_][\w.@-]*|\*)"
    r"|(?P<sign>\|\||=~|!=|<=|>=|[|=<>(),\[\]]))"
)


@dataclass(frozen=True)
class Token:
    """One word of a query."""

    kind: str
    text: str


def _tokens(query: str) -> list[Token]:
    found, at = [], 0
    query = re.sub(r"(?m)^\s*#.*$", "", query).rstrip()
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            raise MalformedQuery(f"unexpected symbol found {query[at:].lstrip()[:1]} at position {at}")
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind]))
        at = match.end()
    return found


# --- the query --------------------------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, query: str) -> None:
        self.tokens = _tokens(query)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def next(self) -> Token:
        if self.at >= len(self.tokens):
            raise MalformedQuery("unexpected end of the query")
        self.at += 1
        return self.tokens[self.at - 1]

    def word(self, *words: str) -> bool:
        """Take one of these words (without case) when it comes next."""
        if self.peek().lower() in words and self.tokens[self.at].kind in {"field", "sign"}:
            self.at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.word(sign):
            raise MalformedQuery(f"expected {sign} before {self.peek() or 'the end of the query'}")

    # filter: or > and > not > comparison

    def condition(self) -> Getter:
        left = self._and()
        while self.word("or", "||"):
            left = _either(left, self._and())
        return left

    def _and(self) -> Getter:
        left = self._not()
        while self.word("and"):
            left = _both(left, self._not())
        return left

    def _not(self) -> Getter:
        if self.word("not"):
            inner = self._not()
            return lambda event: not inner(event)
        if self.peek() == "(":
            self.next()
            inner = self.condition()
            self.expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Getter:
        left = self.value()
        negative = self.word("not")
        if self.word("like", "=~"):
            test = self._like(left)
        elif self.word("in"):
            test = self._in(left)
        elif negative:
            raise MalformedQuery(f"unexpected not before {self.peek()}")
        elif self.peek() in {"=", "!=", "<", "<=", ">", ">="}:
            sign = self.next().text
            right = self.value()
            return lambda event: _compare(left(event), sign, right(event))
        else:
            return lambda event: bool(left(event))
        return (lambda event: not test(event)) if negative else test

    def _like(self, left: Getter) -> Getter:
        token = self.next()
        if token.kind == "regex":
            flags = re.IGNORECASE if token.text.endswith("i") else 0
            try:
                pattern = re.compile(token.text.rstrip("i").strip("/"), flags)
            except re.error:
                raise MalformedQuery(f"invalid regular expression {token.text}") from None
            return lambda event: pattern.search(_asked(left(event))) is not None
        if token.kind != "string":
            raise MalformedQuery(f"like takes a text or a regular expression, not {token.text}")
        part = _unquoted(token.text)
        return lambda event: part in _asked(left(event))

    def _in(self, left: Getter) -> Getter:
        self.expect("[")
        values = [self.value()]
        while self.word(","):
            values.append(self.value())
        self.expect("]")
        return lambda event: any(_compare(left(event), "=", value(event)) for value in values)

    def value(self) -> Getter:
        token = self.next()
        if token.kind == "string":
            constant: Any = _unquoted(token.text)
            return lambda event: constant
        if token.kind == "number":
            number = float(token.text) if "." in token.text else int(token.text)
            return lambda event: number
        if token.kind != "field":
            raise MalformedQuery(f"unexpected symbol found {token.text}")
        if self.peek() == "(" and not token.text.startswith("`"):
            return self._call(token.text.lower())
        name = token.text.strip("`")
        return lambda event: event.get(name)

    def _call(self, name: str) -> Getter:
        self.expect("(")
        given = [self.value()] if self.peek() != ")" else []
        while self.word(","):
            given.append(self.value())
        self.expect(")")
        known: dict[str, tuple[int, Callable[..., Any]]] = {
            "ispresent": (1, lambda value: value is not None),
            "isblank": (1, lambda value: value is None or str(value).strip() == ""),
            "strcontains": (2, lambda value, part: str(part) in _asked(value)),
            "tolower": (1, lambda value: None if value is None else _shown(value).lower()),
            "lower": (1, lambda value: None if value is None else _shown(value).lower()),
            "toupper": (1, lambda value: None if value is None else _shown(value).upper()),
            "upper": (1, lambda value: None if value is None else _shown(value).upper()),
        }
        if name not in known or known[name][0] != len(given):
            raise MalformedQuery(f"unknown function {name} of {len(given)} arguments")
        apply = known[name][1]
        return lambda event: apply(*(one(event) for one in given))

    # fields, sort, stats

    def names(self) -> list[tuple[str, Getter]]:
        """Fields with their values, `as` another name or not."""
        found = []
        while True:
            began = self.at
            getter = self.value()
            name = "".join(token.text for token in self.tokens[began : self.at]).strip("`")
            if self.word("as"):
                name = self.next().text.strip("`")
            found.append((name, getter))
            if not self.word(","):
                return found

    def sorting(self) -> list[tuple[str, bool]]:
        found = []
        while True:
            # A name that stats has given, such as count(*), is a name here, too.
            began = self.at
            self.next()
            if self.peek() == "(":
                while self.next().text != ")":
                    pass
            name = "".join(token.text for token in self.tokens[began : self.at]).strip("`")
            descending = self.word("desc") or not self.word("asc")
            found.append((name, descending))
            if not self.word(","):
                return found

    def stats(self) -> _Stats:
        measures, groups = [], []
        while True:
            began = self.at
            function = self.next().text.lower()
            self.expect("(")
            getter = (lambda event: event) if self.word("*") else self.value()
            self.expect(")")
            if function not in _MEASURES:
                raise MalformedQuery(f"unknown aggregation {function}")
            name = "".join(token.text for token in self.tokens[began : self.at])
            if self.word("as"):
                name = self.next().text.strip("`")
            measures.append((name, function, getter))
            if not self.word(","):
                break
        if self.word("by"):
            while True:
                began = self.at
                if self.peek().lower() == "bin" and self.tokens[self.at + 1 : self.at + 2] == [Token("sign", "(")]:
                    self.at += 2
                    getter = _bin(self.next().text)
                    self.expect(")")
                else:
                    getter = self.value()
                name = "".join(token.text for token in self.tokens[began : self.at]).strip("`")
                if self.word("as"):
                    name = self.next().text.strip("`")
                groups.append((name, getter))
                if not self.word(","):
                    break
        return _Stats(measures, groups)


def _both(left: Getter, right: Getter) -> Getter:
    return lambda event: left(event) and right(event)


def _either(left: Getter, right: Getter) -> Getter:
    return lambda event: left(event) or right(event)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _asked(value: Any) -> str:
    return "" if value is None else _shown(value)


def _compare(left: Any, sign: str, right: Any) -> bool:
    """As Insights compares: numbers as numbers where both are, else texts; nothing equals nothing."""
    if left is None or right is None:
        return sign == "!=" and left is not right
    try:
        a, b = float(left), float(right)
    except (TypeError, ValueError):
        a, b = _shown(left), _shown(right)  # type: ignore[assignment]
    return {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]


def _bin(width: str) -> Getter:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", width)
    if match is None or int(match[1]) == 0:
        raise MalformedQuery(f"bin takes a period such as 5m, not {width}")
    step = (
        int(match[1]) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}[match[2]]
    )
    return lambda event: timestamp_text(event["@time"] // step * step)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]


_MEASURES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "count": lambda values: len(values),
    "count_distinct": lambda values: len({_shown(one) for one in values}),
    "sum": lambda values: sum(_numbers(values)),
    "avg": lambda values: sum(numbers) / len(numbers) if (numbers := _numbers(values)) else None,
    "min": lambda values: min(_numbers(values), default=None),
    "max": lambda values: max(_numbers(values), default=None),
}


@dataclass(frozen=True)
class _Stats:
    measures: list[tuple[str, str, Getter]]
    groups: list[tuple[str, Getter]]

    def apply(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        held: dict[tuple[Any, ...], list[Event]] = {}
        for event in events:
            held.setdefault(tuple(getter(event) for _, getter in self.groups), []).append(event)
        if not self.groups:
            held = {(): [one for group in held.values() for one in group]}
        rows = []
        for key, group in held.items():
            row = {name: value for (name, _), value in zip(self.groups, key, strict=True) if value is not None}
            for name, function, getter in self.measures:
                values = [value for event in group if (value := getter(event)) is not None]
                measured = _MEASURES[function](values)
                if measured is not None:
                    row[name] = measured
            rows.append(row)
        return rows


@dataclass(frozen=True)
class Found:
    """What a query gave: its rows, and how many events it looked at and found."""

    rows: list[Row]
    scanned: int
    matched: int
    scanned_bytes: int


def run(query: str, events: Sequence[Event]) -> Found:
    """Run a query over events, each with its fields, `@message`, `@ptr` and `@time` (milliseconds since 1970).

    Raises MalformedQuery.
    """
    parser = _Parser(query)
    shown: list[tuple[str, Getter]] | None = None
    sorting: list[tuple[str, bool]] = []
    limit, measured = MOST_ROWS, False
    steps: list[Getter | _Stats] = []
    while parser.at < len(parser.tokens):
        if parser.word("fields", "display"):
            shown = parser.names()
        elif parser.word("filter"):
            steps.append(parser.condition())
        elif parser.word("stats"):
            steps.append(parser.stats())
            measured, shown = True, None
        elif parser.word("sort", "order"):
            sorting = parser.sorting()
        elif parser.word("limit", "head", "tail"):
            given = parser.next()
            if given.kind != "number" or not 0 < float(given.text) <= MOST_ROWS:
                raise MalformedQuery(f"limit takes a number from 1 to {MOST_ROWS}")
            limit = int(float(given.text))
        else:
            raise MalformedQuery(f"unexpected symbol found {parser.peek()}")
        if parser.at < len(parser.tokens):
            parser.expect("|")
            if parser.at == len(parser.tokens):
                raise MalformedQuery("unexpected end of the query")
    held, matched = events, len(events)
    counted = False
    for step in steps:
        if isinstance(step, _Stats):
            held, counted = step.apply(held), True
        else:
            held = [event for event in held if step(event)]
        matched = matched if counted else len(held)
    for name, descending in reversed(sorting or ([] if measured else [("@timestamp", True)])):
        held = sorted(held, key=partial(_order, name), reverse=descending)
    rows = [_row(event, shown, measured) for event in held[:limit]]
    return Found(rows, len(events), matched, sum(len(event.get("@message", "")) for event in events))


def _order(name: str, event: Event) -> tuple[int, Any]:
    value = event.get("@time") if name == "@timestamp" and "@time" in event else event.get(name)
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _row(event: Event, shown: list[tuple[str, Getter]] | None, measured: bool) -> Row:
    if measured and shown is None:
        return {name: _shown(value) for name, value in event.items()}
    wanted = shown or [("@timestamp", itemgetter("@timestamp")), ("@message", itemgetter("@message"))]
    row = {name: _shown(value) for name, getter in wanted if (value := getter(event)) is not None}
    return row if measured else {**row, "@ptr": str(event.get("@ptr", ""))}
