"""What the two log stores share: the question, the one form of a line, the bounds, and who answers.

A log line is a JSON object (see the README's list of names); what is no JSON is a line with a message alone. Personal
data and secrets are taken out here, before a line is kept or shown, with the scrubber of the error reports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import pandas as pd

from queries.errors import SourceError
from queries.outside import Bounds, Outside, OutsideClient
from queries.scrub import mask, mask_all

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
# As other libraries write them.
_SAME_LEVEL = {"WARN": "WARNING", "FATAL": "CRITICAL", "ERR": "ERROR", "TRACE": "DEBUG"}

# One column, and the names under which lines carry it: the backend's own, those of the seed and of Python's JSON
# formatters, and those of the Elastic Common Schema.
NAMES: dict[str, tuple[str, ...]] = {
    "level": ("level", "levelname", "severity", "log.level"),
    "message": ("message", "msg"),
    "logger": ("logger", "name", "log.logger"),
    "request_id": ("request_id", "http.request.id"),
    "trace_id": ("trace_id", "trace.id", "otelTraceID"),
    "span_id": ("span_id", "span.id", "otelSpanID"),
    "integration": ("integration",),
    "credit_id": ("credit_id", "credito_id"),
    "application_id": ("application_id", "solicitud_id"),
    "conductor_id": ("conductor_id",),
}
COLUMNS = ("time", *NAMES, "fields")
IDS = ("request_id", "trace_id", "integration", "credit_id", "application_id", "conductor_id")

LINES = 1000
LINES_BYTES = 4 * 2**20
LINE_BYTES = 64 * 2**10
MESSAGE_LENGTH = 8000
SEARCH_SECONDS = 30.0
LONGEST = timedelta(days=62)
TEXT_LENGTH = 200

_ID = re.compile(r"[A-Za-z0-9._:/@+=-]{1,128}", re.ASCII)
# Control signs, and what some programs take for the end of a line.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]|[\ud800-\udfff]")

Note = Literal["lines", "bytes", "time", "stopped", "parts"]


@dataclass(frozen=True)
class Question:
    """Which lines: within [start, end), and with all of what is set. An empty text or tuple asks for nothing.

    `text` is looked for in the whole line, whatever its case. Raises SourceError(bad_parameter) for what no line has.
    """

    start: datetime
    end: datetime
    levels: tuple[str, ...] = ()
    text: str = ""
    request_id: str = ""
    trace_id: str = ""
    integration: str = ""
    credit_id: str = ""
    application_id: str = ""
    conductor_id: str = ""

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or not self.start < self.end:
            raise _bad("A search of logs needs a beginning and an end after it.")
        if self.end - self.start > LONGEST:
            raise _bad("A search of logs reaches over at most 62 days: narrow the period.")
        if not set(self.levels) <= set(LEVELS):
            raise _bad("The levels of logs are DEBUG, INFO, WARNING, ERROR and CRITICAL.")
        if len(self.text) > TEXT_LENGTH or _UNSEEN.search(self.text):
            raise _bad("A text to search for has no line breaks or control signs and at most 200 letters.")
        if any(value and not _ID.fullmatch(value) for value in self.ids.values()):
            raise _bad("An id holds only letters, digits and . _ : / @ + = - and at most 128 of them.")

    @property
    def ids(self) -> dict[str, str]:
        """What is asked for exactly, by column."""
        return {name: value for name in IDS if (value := getattr(self, name))}

    def params(self) -> dict[str, Any]:
        """The question as the key of its answer."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def levels_written(self) -> list[str]:
        """The levels as lines may write them."""
        names = [*self.levels, *(other for other, level in _SAME_LEVEL.items() if level in self.levels)]
        return [written for name in names for written in (name, name.lower(), name.capitalize())]


def _bad(sentence: str) -> SourceError:
    return SourceError(sentence, kind="bad_parameter", source="logs")


@dataclass(frozen=True)
class Found:
    """What a search has so far. `frame`: the lines, newest first (columns COLUMNS, `time` in the configured zone).

    `matched`, `scanned` (lines) and `scanned_bytes` are as the store counts them, None where it does not; `at_least`:
    it stopped counting there. `notes` say why lines may be missing: lines, bytes (more than is shown), time (the search
    took too long), stopped (by the viewer), parts (some of the store's shards failed). `total`: nothing is missing.
    """

    frame: pd.DataFrame
    matched: int | None = None
    scanned: int | None = None
    scanned_bytes: int | None = None
    at_least: bool = False
    ended: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def total(self) -> bool:
        """Whether all lines that match are in the frame."""
        return self.ended and not self.notes


class LogsClient(OutsideClient, Protocol):
    """What both stores answer."""

    # Of the store, as people call it.
    name: str

    def search(
        self, question: Question, *, stopped: Callable[[], bool] = bool, seconds: float = SEARCH_SECONDS
    ) -> Iterator[Found]:
        """The lines as they come; the last one given has `ended`. Raises SourceError."""

    def over_time(self, question: Question, step: int) -> pd.DataFrame:
        """Lines by level in stretches of `step` seconds of an hour at most.

        Columns: at (configured zone), level (text as written; empty: none), lines. Raises SourceError.
        """

    def text(self, question: Question) -> str:
        """The question as it is sent."""


# --- lines ------------------------------------------------------------------------------------------------------------


def line(raw: Any, at: datetime | None, *, size: int = 0) -> dict[str, Any]:
    """One line in the one form, without personal data: `raw` is its JSON object, or its text."""
    if isinstance(raw, str):
        size = size or len(raw)
        raw = _parsed(raw[: LINE_BYTES * 2]) if size <= LINE_BYTES else {"message": raw[:MESSAGE_LENGTH]}
    rest = dict(raw)
    made: dict[str, Any] = {"time": at or _moment(rest.get("@timestamp") or rest.get("timestamp") or rest.get("time"))}
    known = {column: _taken(rest, names) for column, names in NAMES.items()}
    for name in ("@timestamp", "timestamp", "time"):
        # The moment stands in its own column; what is no moment stays to be seen.
        if _moment(rest.get(name)) is not None:
            rest.pop(name)
    if size > LINE_BYTES:
        rest = {"truncated": f"{size} bytes"}
    message = str(known.pop("message") or "")
    cut = len(message) > MESSAGE_LENGTH
    message = mask(message[:MESSAGE_LENGTH])
    # What was cut through could be half an address or half a number: its end is not shown.
    made["message"] = message[:-TEXT_LENGTH] + "…" if cut else message
    level = str(known.pop("level") or "").upper()
    made["level"] = mask(_SAME_LEVEL.get(level, level))[:20]
    cleaned = mask_all({name: "" if value is None else str(value)[:200] for name, value in known.items()})
    made |= cleaned
    made["fields"] = json.dumps(mask_all(_short_numbers(rest)), ensure_ascii=False, default=str) if rest else ""
    return made


def lines_frame(lines: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> pd.DataFrame:
    """The frame of lines, newest first; the order of lines of the same moment is the store's."""
    frame = pd.DataFrame(list(lines), columns=list(COLUMNS))
    frame["time"] = pd.to_datetime(frame["time"], utc=True).dt.tz_convert(zone).astype(f"datetime64[us, {zone.key}]")
    for name in (*NAMES, "fields"):
        frame[name] = frame[name].astype("str")
    return frame.sort_values("time", ascending=False, kind="stable", ignore_index=True)


def bounded(lines: Sequence[tuple[int, Any]]) -> tuple[list[Any], tuple[Note, ...]]:
    """Of (size, line) as many as may be shown, and why others are not."""
    kept: list[Any] = []
    size = 0
    for length, one in lines[:LINES]:
        size += min(length, LINE_BYTES)
        if size > LINES_BYTES:
            return kept, ("bytes",)
        kept.append(one)
    return kept, ("lines",) if len(lines) > LINES else ()


def counts_frame(rows: Iterable[tuple[datetime, str, int]], zone: ZoneInfo) -> pd.DataFrame:
    """Columns at (configured zone), level, lines, from rows of them."""
    frame = pd.DataFrame(list(rows), columns=["at", "level", "lines"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True).dt.tz_convert(zone)
    frame["level"] = [_SAME_LEVEL.get(str(one).upper(), mask(str(one).upper())[:20]) for one in frame["level"]]
    frame["level"] = frame["level"].astype("str")
    frame["lines"] = frame["lines"].astype("int64")
    return frame.groupby(["at", "level"], as_index=False)["lines"].sum()


def _parsed(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
    return {"message": text}


def _taken(rest: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these values that the line has, taken out of it; `a.b` is also looked for inside `a`."""
    for name in names:
        if (value := rest.get(name)) is not None and not isinstance(value, dict | list):
            return rest.pop(name)
        outer, _, inner = name.partition(".")
        if inner and isinstance(rest.get(outer), dict):
            nested = dict(rest[outer])
            if (value := _taken(nested, (inner,))) is not None:
                rest[outer] = nested
                if not nested:
                    del rest[outer]
                return value
    return None


def _moment(value: Any) -> datetime | None:
    """A moment as lines write it: ISO (UTC where no zone is said), or seconds or milliseconds since 1970."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 4e12:
            return datetime.fromtimestamp(value / 1000 if value > 4e9 else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _short_numbers(value: Any) -> Any:
    """Without decimals that nobody reads: a long fraction has as many digits as a telephone number."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _short_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_short_numbers(item) for item in value]
    return value


def make(outside: Outside, bounds: Bounds) -> LogsClient:
    """The client of the configured store; CloudWatch where both are."""
    if outside.cloudwatch_log_groups:
        from queries.cloudwatch_client import CloudWatchClient

        return CloudWatchClient(
            outside.cloudwatch_log_groups,
            region=outside.cloudwatch_region,
            url=outside.cloudwatch_url,
            zone=bounds.zone,
            connections=bounds.connections,
            connect_timeout=bounds.connect_timeout,
            timeout=bounds.query_timeout,
        )
    from queries.elasticsearch_client import ElasticsearchClient

    return ElasticsearchClient(
        str(outside.elasticsearch_url),
        outside.elasticsearch_index,
        api_key=outside.elasticsearch_api_key,
        zone=bounds.zone,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )
