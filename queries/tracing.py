"""Where questions tell what they do, for whoever follows them: spans of the host. Nothing is told by default.

A question is what one caller asks and waits for; a flight is the one time that its source is asked, whoever waits for
it. A flight belongs to the question that began it, and whatever else is answered by it says so by its `origin`.
No parameter and no text of a query is told.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Asked(Protocol):
    """One question, from asking to the answer."""

    def flight(self) -> Flown:
        """The source is about to be asked, for this question first."""

    def answered(self, *, cached: bool, stale: bool, rows: int | None, origin: Any) -> None:
        """The answer, and the flight that it comes from."""

    def failed(self, kind: str) -> None:
        """No answer: the kind of a SourceError."""

    def left(self) -> None:
        """The caller went away before there was an answer."""


class Flown(Protocol):
    """One flight, begun where it was asked for and run on a thread of the source."""

    origin: Any

    def run(self, ask: Callable[[], T]) -> T:
        """Ask, on the thread that calls this."""


class Tracer(Protocol):
    """Who follows the questions."""

    def question(self, source: str, name: str) -> Asked:
        """A question begins on this thread."""


_tracer: Tracer | None = None


def follow(tracer: Tracer | None) -> None:
    """Tell this tracer of each question from now on; None: nobody."""
    global _tracer
    _tracer = tracer


def question(source: str, key: Hashable) -> Asked | None:
    """A question that begins on this thread; None when nobody follows."""
    return None if _tracer is None else _tracer.question(source, name_of(source, key))


def name_of(source: str, key: Hashable) -> str:
    """The query's name in an answer's key (source, name, parameters); of other keys their first word."""
    if not isinstance(key, tuple) or not key:
        return "other"
    return str(key[1] if key[0] == source and len(key) > 1 else key[0])


def rows_of(value: Any) -> int | None:
    """How many rows an answer has, when it is a frame."""
    frame: Any = getattr(value, "frame", None)
    return len(frame) if hasattr(frame, "columns") else None
