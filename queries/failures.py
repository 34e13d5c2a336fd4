"""Errors of the backend, as its tracker has them: issues of a period, their counts over time, events, one event.

An issue is what the tracker takes for one and the same error; an event is one time that it happened. What is asked here
is asked for engineers: `roles` are the viewer's.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from queries.errors_client import IssueSearch
from queries.library import Column
from queries.rights import requests_only
from queries.sources import is_configured, outside

__all__ = [
    "LEVELS",
    "IssueSearch",
    "breadcrumbs",
    "event",
    "events",
    "has_errors",
    "issues",
    "over_time",
    "stack",
    "tags",
]

# From grave to slight, as sentry-sdk names them.
LEVELS = ("fatal", "error", "warning", "info", "debug")
# An event does not change any more; a list does.
EVENT_SECONDS, LIST_SECONDS = 600.0, 20.0
# More bars than this tell no more.
MOST_STRETCHES = 200

_ISSUE_COLUMNS = (
    Column("issue_id", "text", "", "The issue"),
    Column("short_id", "text", "", "Its short name in the tracker"),
    Column("title", "text", "", "What failed, without personal data"),
    Column("level", "text", "", "How grave it is; empty where the tracker does not say"),
    Column("culprit", "text", "", "Where: a function or an endpoint"),
    Column("count", "integer", "count", "Events in the period"),
    Column("users", "integer", "count", "Users that it hit in the period"),
    Column("first_seen", "timestamptz", "", "When it was first seen, ever"),
    Column("last_seen", "timestamptz", "", "When it was last seen"),
    Column("first_release", "text", "", "The release in which it was first seen"),
    Column("status", "text", "", "unresolved, resolved or ignored"),
    Column("project", "text", "", "Project of the tracker"),
    Column("url", "text", "", "The issue in the tracker"),
    Column("over_time", "text", "JSON", "Events over time: [seconds since 1970, events]"),
)
_EVENT_COLUMNS = (
    Column("event_id", "text", "", "The event"),
    Column("at", "timestamptz", "", "When it happened"),
    Column("title", "text", "", "What failed"),
    Column("release", "text", "", "Release of the backend"),
    Column("environment", "text", "", "Where the backend ran"),
    Column("request_id", "text", "", "The request in which it happened"),
    Column("trace_id", "text", "", "The trace in which it happened"),
)


def has_errors() -> bool:
    """Whether an error tracker is configured."""
    return is_configured("errors")


def issues(search: IssueSearch, roles: Collection[str]) -> pd.DataFrame:
    """A page of issues, the last seen first; columns as `errors_client.SentryClient.issues`. Raises SourceError."""
    requests_only(roles, "errors")
    return outside(
        "errors",
        "issues",
        asdict(search),
        lambda client: client.issues(search),
        title="Issues",
        description="A row is one issue of the error tracker that happened in the period, the last seen first.",
        columns=_ISSUE_COLUMNS,
        ttl=LIST_SECONDS,
    )


def events(issue_id: str, search: IssueSearch, roles: Collection[str]) -> pd.DataFrame:
    """A page of an issue's events, newest first; columns as `SentryClient.events`. Raises SourceError."""
    requests_only(roles, "errors")
    return outside(
        "errors",
        "events",
        {"issue": issue_id, **asdict(search)},
        lambda client: client.events(issue_id, search),
        title="Events of an issue",
        description="A row is one time that the issue happened in the period, newest first.",
        columns=_EVENT_COLUMNS,
        ttl=LIST_SECONDS,
    )


def event(issue_id: str, event_id: str, roles: Collection[str]) -> pd.DataFrame:
    """One event in full as one row (`latest`: the newest); columns as `SentryClient.event`. Raises SourceError."""
    requests_only(roles, "errors")
    return outside(
        "errors",
        "event",
        {"issue": issue_id, "event": event_id},
        lambda client: client.event(issue_id, event_id),
        title="One event",
        description="What the tracker knows of one event, without personal data and local variables.",
        ttl=LIST_SECONDS if event_id == "latest" else EVENT_SECONDS,
    )


def over_time(found: pd.DataFrame, search: IssueSearch, zone: ZoneInfo) -> pd.DataFrame:
    """Events of the listed issues over time, in stretches that fill the period.

    Columns: at (begin of a stretch, in `zone`), level ("" where the tracker tells none), n (events, integer). Every
    level that occurs has a row for every stretch. No event at all is no row.
    """
    rows = [
        (at, level, n)
        for level, told in zip(found["level"], found["over_time"], strict=True)
        for at, n in json.loads(told)
    ]
    long = pd.DataFrame(rows, columns=["at", "level", "n"]).astype({"at": "int64", "n": "int64"})
    wide = long.pivot_table(index="at", columns="level", values="n", aggfunc="sum", fill_value=0)
    if rows:
        # Sentry cuts time by its own measure, which is at most ours; Bugsink says which measure it has for all issues.
        own = int(found.attrs.get("step") or search.step)
        least = int(pd.Series(wide.index).diff().min() if len(wide) > 1 else own)
        step = max(min(least, own), (search.end - search.start).total_seconds() / MOST_STRETCHES)
        first = wide.index[0] - (wide.index[0] - search.start.timestamp()) // step * step
        every = [first + number * step for number in range(int((search.end.timestamp() - first) // step) + 1)]
        stretch = pd.Series(wide.index, index=wide.index).map(lambda at: first + (at - first) // step * step)
        wide = wide.groupby(stretch).sum().reindex(every, fill_value=0).rename_axis("at")
    frame = wide.melt(ignore_index=False, value_name="n").reset_index()
    frame["at"] = pd.to_datetime(frame["at"], unit="s", utc=True).dt.tz_convert(zone)
    frame["level"] = frame["level"].astype("str")
    frame["n"] = frame["n"].astype("Int64")
    frame.attrs = dict(found.attrs)
    return frame


def tags(one: pd.DataFrame) -> pd.DataFrame:
    """The tags of an event by name. Columns: tag, value (texts)."""
    told: dict[str, Any] = json.loads(one["tags"].iloc[0])
    return pd.DataFrame(sorted(told.items()), columns=["tag", "value"], dtype="str")


def stack(one: pd.DataFrame) -> list[dict[str, Any]]:
    """The exceptions of an event, the one that was raised last first: type, value, handled (None: not known), left_out
    (frames that are not shown) and frames (innermost first: file, line, function, module, in_app, code)."""
    told: list[dict[str, Any]] = json.loads(one["exceptions"].iloc[0])
    return [{**exception, "frames": exception["frames"][::-1]} for exception in told[::-1]]


def breadcrumbs(one: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    """What happened before an event, the latest first.

    Columns: at (in `zone`), and the texts category, level, message and data.
    """
    told = json.loads(one["breadcrumbs"].iloc[0])[::-1]
    frame = pd.DataFrame(told, columns=["at", "category", "level", "message", "data"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True, errors="coerce", format="ISO8601").dt.tz_convert(zone)
    return frame.astype(dict.fromkeys(("category", "level", "message", "data"), "str"))
