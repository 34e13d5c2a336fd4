"""Log lines of the configured store, for engineers: at once, as they come, and counted by level over time.

    found = search(Question(start, end, levels=("ERROR",)), roles).wait(1.0)

Lines hold what people wrote into them, so whoever asks says the roles of his viewer, and the right is checked here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from queries.errors import SourceError
from queries.library import Column
from queries.logs_client import COLUMNS, LEVELS, NAMES, SEARCH_SECONDS, Found, LogsClient, Question
from queries.sources import outside, timezone

__all__ = [
    "COLUMNS",
    "LEVELS",
    "Found",
    "Question",
    "Search",
    "by_level",
    "filled",
    "lines",
    "over_time",
    "search",
    "whole",
]

ROLE = "engineer"
# A search is the newest there is: it is shared by those who ask at the same time, and not served again later.
SHARED_SECONDS = 10.0
HOUR = 3600

_LINE_COLUMNS = (
    Column("time", "timestamptz", "", "When the line was written"),
    Column("level", "text", "", "How serious it is"),
    Column("message", "text", "", "What happened"),
    Column("logger", "text", "", "The part of the backend that wrote it"),
    Column("request_id", "text", "", "The request that it belongs to"),
    Column("trace_id", "text", "", "The trace that it belongs to"),
    Column("span_id", "text", "", "The span within the trace"),
    Column("integration", "text", "", "The integration that was called"),
    Column("credit_id", "text", "", "The credit that it served"),
    Column("application_id", "text", "", "The application that it served"),
    Column("conductor_id", "text", "", "The driver that it served"),
    Column("fields", "text", "JSON", "All else that the line holds"),
)
_COUNT_COLUMNS = (
    Column("at", "timestamptz", "", "Begin of the stretch"),
    Column("level", "text", "", "How serious the lines are"),
    Column("lines", "integer", "count", "Lines of the stretch"),
)
TITLE = "Log lines"
DESCRIPTION = "Lines that the backend wrote, newest first, without personal data."
COUNTS_TITLE = "Log lines by level"
COUNTS_DESCRIPTION = "Number of log lines by level over time, of all that match."


def allowed(roles: Collection[str]) -> bool:
    """Whether a viewer with these roles may read logs."""
    return ROLE in roles


def _check(roles: Collection[str]) -> None:
    if not allowed(roles):
        raise SourceError("Logs are shown to engineers only.", kind="bad_parameter", source="logs")


def lines(question: Question, roles: Collection[str], *, deadline: float | None = None) -> pd.DataFrame:
    """The lines that match, newest first, 1,000 at most.

    Columns: time (configured zone), level, message, logger, request_id, trace_id, span_id, integration, credit_id,
    application_id, conductor_id, fields (all else as JSON text); texts, empty where a line has none. Personal data is
    taken out. `frame.attrs["notes"]` says why lines are missing (see `Found`). Raises SourceError.
    """
    _check(roles)
    return _ask(question, _Progress(), deadline=deadline)


def over_time(question: Question, step: int, roles: Collection[str]) -> pd.DataFrame:
    """How many lines match, by level, in stretches of `step` seconds from the beginning of the question.

    Columns: at (configured zone), level (empty: none), lines. Raises SourceError.
    """
    _check(roles)
    # Stores cut by their own clock: asked by the hour at most, so that days can be those of the configured zone.
    frame = outside(
        "logs",
        "over_time",
        {**question.params(), "step": step, "asked": _asked()},
        lambda client: client.over_time(question, min(step, HOUR)),
        title=COUNTS_TITLE,
        description=COUNTS_DESCRIPTION,
        columns=_COUNT_COLUMNS,
        ttl=SHARED_SECONDS,
    )
    gathered = _gathered(frame, question, step)
    gathered.attrs = dict(frame.attrs)
    return gathered


def by_level(frame: pd.DataFrame, question: Question, step: int) -> pd.DataFrame:
    """What `over_time` gives, counted from lines that are all there: no second question to a store that bills each."""
    counted = pd.DataFrame({"at": frame["time"], "level": frame["level"], "lines": 1})
    gathered = _gathered(counted, question, step)
    gathered.attrs = dict(frame.attrs)
    return gathered


def _gathered(counted: pd.DataFrame, question: Question, step: int) -> pd.DataFrame:
    zone = timezone()
    start = pd.Timestamp(question.start).tz_convert(zone)
    at = counted["at"].dt.tz_convert(zone)
    if step % (24 * HOUR) == 0 and start == start.normalize():
        # By the calendar: a day of another length does not move the others.
        days = (at.dt.tz_localize(None).dt.normalize() - start.tz_localize(None)).dt.days
        width = step // (24 * HOUR)
        begin = start.tz_localize(None) + pd.to_timedelta(days // width * width, unit="D")
        begin = begin.dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
    else:
        begin = start + (at - start) // pd.Timedelta(seconds=step) * pd.Timedelta(seconds=step)
    made = pd.DataFrame({"at": begin, "level": counted["level"], "lines": counted["lines"]})
    return made.groupby(["at", "level"], as_index=False)["lines"].sum()


def filled(counted: pd.DataFrame, question: Question, step: int, now: datetime) -> pd.DataFrame:
    """What `over_time` gives with a row for each level in each stretch up to `now`: a chart then shows the whole
    period, and how long each stretch is. Nothing stays nothing."""
    end = min(question.end, now)
    if counted.empty or question.start >= end:
        return counted
    start = pd.Timestamp(question.start).tz_convert(timezone())
    days = step // (24 * HOUR)
    # Days by the calendar, as the lines were gathered.
    width = pd.DateOffset(days=days) if days and start == start.normalize() else pd.Timedelta(seconds=step)
    starts = pd.date_range(start, end, freq=width, inclusive="left")
    every = pd.MultiIndex.from_product([starts, counted["level"].unique()], names=["at", "level"])
    known = counted.set_index(["at", "level"])["lines"]
    made = known.reindex(every.union(known.index), fill_value=0).reset_index()
    made["lines"] = made["lines"].astype(counted["lines"].dtype)
    made.attrs = dict(counted.attrs)
    return made


def whole(line: Any) -> dict[str, Any]:
    """A line as one object, as it was written but for personal data: its moment, the columns it has, and all else."""
    rest = str(line["fields"])
    known = {name: line[name] for name in NAMES if line[name]}
    moment = None if pd.isna(line["time"]) else pd.Timestamp(line["time"]).isoformat()
    return {"timestamp": moment, **known, **(json.loads(rest) if rest else {})}


# --- as they come -----------------------------------------------------------------------------------------------------


@dataclass
class _Progress:
    found: Found | None = None
    stopped: threading.Event = field(default_factory=threading.Event)


class Search:
    """A search that runs behind a page; whoever asks the same at the same time shares it.

    `found` is what it has so far (None: nothing yet), `error` why it failed; what was found before still stands.
    """

    def __init__(self, question: Question, text: str) -> None:
        self.question = question
        self.text = text
        self.began = datetime.now(UTC)
        self.error: SourceError | None = None
        self._progress = _Progress()
        self._frame: pd.DataFrame | None = None
        self._viewers = 1
        self._ended = threading.Event()

    @property
    def found(self) -> Found | None:
        """What it has so far."""
        return self._progress.found

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended.is_set()

    @property
    def frame(self) -> pd.DataFrame | None:
        """The lines with their stamp, once they are all there."""
        return self._frame

    def wait(self, seconds: float) -> Search:
        """Wait for its end, no longer than that."""
        self._ended.wait(seconds)
        return self

    def leave(self) -> None:
        """No longer wait for it; when nobody does, the store is told to stop."""
        with _lock:
            self._viewers -= 1
            if self._viewers > 0:
                return
            _running.pop((self.question, self.text), None)
        self._progress.stopped.set()

    def _run(self) -> None:
        try:
            self._frame = _ask(self.question, self._progress)
            if self._progress.found is None:
                # Somebody else's answer, just come.
                self._progress.found = Found(
                    self._frame, **self._frame.attrs["counts"], ended=True, notes=self._frame.attrs["notes"]
                )
        except SourceError as error:
            found = self._progress.found
            if found is not None:
                self._progress.found = replace(found, ended=True)
            if not self._progress.stopped.is_set():
                self.error = error
        except Exception:
            self.error = SourceError("The answer could not be read.", kind="refused", source="logs")
        finally:
            with _lock:
                _running.pop((self.question, self.text), None)
            self._ended.set()


_running: dict[tuple[Question, str], Search] = {}
_lock = threading.Lock()


def search(question: Question, roles: Collection[str]) -> Search:
    """Begin to look for the lines; the search goes on by itself, within its bounds. Raises SourceError."""
    _check(roles)
    key = (question, _asked())
    with _lock:
        running = _running.get(key)
        if running is not None:
            running._viewers += 1
            return running
        made = _running[key] = Search(*key)
    threading.Thread(target=made._run, name="mirador-log-search", daemon=True).start()
    return made


def _asked() -> str:
    """The present few seconds: a question is answered anew in the next."""
    return str(int(datetime.now(UTC).timestamp() // SHARED_SECONDS))


def _ask(question: Question, progress: _Progress, *, deadline: float | None = None) -> pd.DataFrame:
    # Who waits no longer than this gets what was found until then.
    seconds = min(SEARCH_SECONDS, max(deadline - 1.0, 0.5)) if deadline else SEARCH_SECONDS

    def look(client: LogsClient) -> pd.DataFrame:
        found: Found | None = None
        for found in client.search(question, stopped=progress.stopped.is_set, seconds=seconds):
            progress.found = found
        if found is None or "stopped" in found.notes:
            # An answer that somebody cut short is nobody else's.
            raise SourceError("The search was stopped.", kind="bad_parameter", source="logs")
        frame = found.frame
        frame.attrs = {
            "text": client.text(question),
            "notes": found.notes,
            "counts": {
                "matched": found.matched,
                "scanned": found.scanned,
                "scanned_bytes": found.scanned_bytes,
                "at_least": found.at_least,
            },
        }
        return frame

    return outside(
        "logs",
        "lines",
        {**question.params(), "asked": _asked()},
        look,
        title=TITLE,
        description=DESCRIPTION,
        columns=_LINE_COLUMNS,
        ttl=SHARED_SECONDS,
        deadline=deadline or SEARCH_SECONDS + 5,
    )
