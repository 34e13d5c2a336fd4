"""Traces: searches, one trace with its critical path and the skew of clocks in it, and the map of services.

What is asked here is asked for engineers: `roles` are the viewer's. The rest are pure functions on the frames that
`traces_client.JaegerClient` gives.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pandas as pd

from queries.errors import SourceError
from queries.library import Column
from queries.rights import requests_only
from queries.scrub import mask_all
from queries.sources import is_configured, outside
from queries.traces_client import MOST_SPANS, JaegerClient, TraceSearch

__all__ = [
    "MOST_ROWS",
    "MOST_SEARCHED",
    "MOST_SPANS",
    "BadTags",
    "TraceSearch",
    "clock_skews",
    "critical_path",
    "dependencies",
    "details",
    "has_traces",
    "operations",
    "own_services",
    "rows_shown",
    "search",
    "service_map",
    "services",
    "tags_of",
    "trace",
]

# Rows of a waterfall that are drawn at once.
MOST_ROWS = 200
MOST_SERVICES = 40
# So many services are searched for one question, so many of them at the same time.
MOST_SEARCHED, MOST_AT_ONCE = 8, 4
MOST_TAGS = 10
LIST_SECONDS, TRACE_SECONDS, NAME_SECONDS = 15.0, 60.0, 60.0
# Clocks of machines that are kept in step differ by less.
SKEW_MS = 1.0

_TRACE_COLUMNS = (
    Column("trace_id", "text", "", "The trace"),
    Column("at", "timestamptz", "", "When it began"),
    Column("duration_ms", "double", "ms", "From its first begin to its last end"),
    Column("service", "text", "", "Service of its root"),
    Column("operation", "text", "", "Operation of its root"),
    Column("spans", "integer", "count", "Spans"),
    Column("services", "integer", "count", "Services that took part"),
    Column("errors", "integer", "count", "Spans that failed"),
    Column("error", "boolean", "", "Whether any failed"),
)
_SPAN_COLUMNS = (
    Column("span_id", "text", "", "The span"),
    Column("parent_id", "text", "", "The span that it is part of"),
    Column("depth", "integer", "", "How deep it lies"),
    Column("service", "text", "", "Service"),
    Column("operation", "text", "", "Operation"),
    Column("kind", "text", "", "server, client, producer, consumer or internal"),
    Column("at", "timestamptz", "", "When it began"),
    Column("offset_ms", "double", "ms", "How long after the trace's begin"),
    Column("duration_ms", "double", "ms", "How long it took"),
    Column("error", "boolean", "", "Whether it failed"),
)
_EDGE_COLUMNS = (
    Column("parent", "text", "", "The service that calls"),
    Column("child", "text", "", "The service that is called"),
    Column("calls", "integer", "count", "Calls"),
)


class BadTags(ValueError):
    """What was typed are no tags; the message is a sentence."""


# --- what is asked ----------------------------------------------------------------------------------------------------


def has_traces() -> bool:
    """Whether a Jaeger is configured."""
    return is_configured("traces")


def services(roles: Collection[str], *, deadline: float | None = None) -> list[str]:
    """The services that send spans, by name. Raises SourceError."""
    requests_only(roles, "traces")
    found = outside(
        "traces", "services", {}, lambda c: c.services(), title="Services", ttl=NAME_SECONDS, deadline=deadline
    )
    return [str(name) for name in found["service"]]


def own_services(names: Iterable[str]) -> list[str]:
    """The services of the company: neither Mirador's own spans nor those of Jaeger. All where there are no others."""
    every = list(names)
    own = [name for name in every if name != "mirador" and not name.startswith("jaeger")]
    return own or every


def operations(service: str, roles: Collection[str], *, deadline: float | None = None) -> list[str]:
    """The operations of a service, by name. Raises SourceError."""
    requests_only(roles, "traces")
    found = outside(
        "traces",
        "operations",
        {"service": service},
        lambda client: client.operations(service),
        title="Operations",
        ttl=NAME_SECONDS,
        deadline=deadline,
    )
    return [str(name) for name in found["operation"]]


def search(wanted: TraceSearch, roles: Collection[str]) -> pd.DataFrame:
    """The traces that match, the newest first; columns as `JaegerClient.search`. Raises SourceError.

    Without a service those of every one (see `own_services`): Jaeger searches one at a time, so `MOST_SEARCHED` of them
    are asked at most.
    """
    requests_only(roles, "traces")
    every = (wanted.service,) if wanted.service else tuple(own_services(services(roles)))[:MOST_SEARCHED]

    def ask(client: JaegerClient) -> pd.DataFrame:
        if len(every) == 1:
            return client.search(replace(wanted, service=every[0]))
        with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="mirador-traces") as pool:
            found = list(pool.map(lambda service: client.search(replace(wanted, service=service)), every))
        made = pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)
        made = made.drop_duplicates("trace_id").sort_values(["at", "trace_id"], ascending=[False, True])
        made = made.head(wanted.limit).reset_index(drop=True)
        made.attrs = {"text": "\n".join(str(part.attrs["text"]) for part in found)}
        return made

    if not every:
        raise SourceError("No service has sent a span to Jaeger yet.", kind="refused", source="traces")
    return outside(
        "traces",
        "search",
        {**asdict(wanted), "services": every},
        ask,
        title="Traces",
        description="A row is one trace in which a span is what is sought, the newest first.",
        columns=_TRACE_COLUMNS,
        ttl=LIST_SECONDS,
    )


def trace(trace_id: str, roles: Collection[str]) -> pd.DataFrame:
    """The spans of a trace in the order of a waterfall; columns as `JaegerClient.trace`. Raises SourceError."""
    requests_only(roles, "traces")
    return outside(
        "traces",
        "trace",
        {"trace": trace_id.lower()},
        lambda client: client.trace(trace_id),
        title="One trace",
        description="A row is one span; each stands before its children, these in order of their begin.",
        columns=_SPAN_COLUMNS,
        ttl=TRACE_SECONDS,
    )


def dependencies(start: datetime, end: datetime, roles: Collection[str]) -> pd.DataFrame:
    """Who called whom in traces of this time, the most calls first.

    Columns: parent, child (services), calls. Raises SourceError.
    """
    requests_only(roles, "traces")
    return outside(
        "traces",
        "dependencies",
        {"start": start, "end": end},
        lambda client: client.dependencies(start, end),
        title="Service map",
        description="A row is one service that called another in the traces of the period.",
        columns=_EDGE_COLUMNS,
        ttl=NAME_SECONDS,
    )


def tags_of(typed: str) -> tuple[tuple[str, str], ...]:
    """What a viewer typed (`http.response.status_code=500 error.type="bad gateway"`) as names and values.

    Raises BadTags with a sentence for what is no tag.
    """
    try:
        words = shlex.split(typed)
    except ValueError:
        raise BadTags("A quotation mark of the tags is not closed.") from None
    if len(words) > MOST_TAGS:
        raise BadTags("These are too many tags.")
    pairs = [word.partition("=") for word in words]
    if any(not name or not mark or not value for name, mark, value in pairs):
        raise BadTags("A tag is written name=value, and two of them with a space between.")
    return tuple((name, value) for name, _mark, value in pairs)


# --- one trace --------------------------------------------------------------------------------------------------------


def critical_path(spans: pd.DataFrame) -> pd.DataFrame:
    """The stretches of a trace that decide how long its root takes: shortening nothing else makes it faster.

    From the end of the first root backwards: each moment belongs to the child that ended last before it, else to the
    span itself. Children that follow from a span do not hold it up; what lies outside of its parent does not count.
    Columns: row (of `spans`), from_ms, to_ms (since the trace began), in order of time.
    """
    if spans.empty:
        return pd.DataFrame({"row": pd.Series(dtype="int64"), "from_ms": [], "to_ms": []})
    start = spans["offset_ms"].tolist()
    end = (spans["offset_ms"] + spans["duration_ms"]).tolist()
    children: dict[int, list[int]] = {}
    for row, (parent, follows) in enumerate(zip(spans["parent"], spans["follows"], strict=True)):
        if parent >= 0 and not follows:
            children.setdefault(int(parent), []).append(row)

    def parts(row: int, first: float, last: float) -> list[tuple[float, float, int]]:
        """The children as far as they lie within, those that end last at the end."""
        inside = [(min(end[one], last), max(start[one], first), one) for one in children.get(row, [])]
        return sorted(part for part in inside if part[0] > part[1])

    roots = [row for row, parent in enumerate(spans["parent"]) if parent < 0]
    root = min(roots, key=lambda row: (start[row], -end[row]))
    found: list[tuple[int, float, float]] = []
    # Of each span on the way down: its begin, the moment that is reached on the way back, and the children left.
    ways = [(root, start[root], parts(root, start[root], end[root]))]
    reached = [end[root]]
    while ways:
        row, first, left = ways[-1]
        # What ends after the moment that is reached ran beside what was taken before.
        while left and left[-1][0] > reached[-1]:
            left.pop()
        if not left:
            if reached[-1] > first:
                found.append((row, first, reached[-1]))
            ways.pop()
            reached.pop()
            continue
        ended, began, child = left.pop()
        if reached[-1] > ended:
            found.append((row, ended, reached[-1]))
        reached[-1] = began
        ways.append((child, began, parts(child, began, ended)))
        reached.append(ended)
    frame = pd.DataFrame(found, columns=["row", "from_ms", "to_ms"])
    return frame.sort_values(["from_ms", "to_ms"], kind="stable", ignore_index=True)


def clock_skews(spans: pd.DataFrame) -> pd.DataFrame:
    """Pairs of services whose clocks cannot agree: a call that was received before it was sent.

    Columns: caller, called (services), behind_ms (by how much at least the clock of `called` is behind), spans (how
    many tell it); the greatest first. Differences under `SKEW_MS` are none.
    """
    rows = []
    begin, service = spans["offset_ms"].tolist(), spans["service"].tolist()
    for row, (parent, follows) in enumerate(zip(spans["parent"], spans["follows"], strict=True)):
        if parent >= 0 and not follows and service[row] != service[parent]:
            early = begin[parent] - begin[row]
            if early > SKEW_MS:
                rows.append((service[parent], service[row], early))
    frame = pd.DataFrame(rows, columns=["caller", "called", "behind_ms"])
    told = frame.groupby(["caller", "called"], as_index=False, sort=False)["behind_ms"].agg(["max", "size"])
    told.columns = pd.Index(["caller", "called", "behind_ms", "spans"])
    return told.sort_values("behind_ms", ascending=False, ignore_index=True)


def rows_shown(
    spans: pd.DataFrame,
    path: pd.DataFrame,
    *,
    within: str = "",
    opened: Iterable[str] = (),
    closed: Iterable[str] = (),
    most: int = MOST_ROWS,
) -> pd.DataFrame:
    """The rows of the waterfall: all when they are few, else those that lead to errors and the critical path first.

    `within` is a span whose part alone is shown. `opened` are spans whose children are shown before others', `closed`
    those whose are not shown at all (ids). At most `most` rows. The frame has the columns of `spans` and row (of
    `spans`), level (depth within what is shown), children (of the span, shown or not), hidden (spans that
    are not shown and whose next ancestor shown it is), critical (whether it is on the critical path).
    """
    ids, parents = spans["span_id"].tolist(), spans["parent"].tolist()
    n = len(spans)
    below = [0] * n
    # Whether it or anything below it failed, or lies on the critical path.
    telling = [bool(error) for error in spans["error"]]
    on_path = [False] * n
    for row in path["row"]:
        on_path[int(row)] = True
    critical = list(on_path)
    children: dict[int, list[int]] = {}
    for row in range(n - 1, -1, -1):
        parent = parents[row]
        if parent >= 0:
            below[parent] += below[row] + 1
            telling[parent] = telling[parent] or telling[row]
            on_path[parent] = on_path[parent] or on_path[row]
        children.setdefault(parent, []).append(row)
    for rows in children.values():
        rows.reverse()
    top = [ids.index(within)] if within in ids else children.get(-1, [])
    forced, shut = set(opened), set(closed)
    duration = spans["duration_ms"].tolist()

    def worth(row: int) -> tuple[bool, bool, bool, float]:
        asked = ids[row] in forced or (parents[row] >= 0 and ids[parents[row]] in forced)
        return (asked, telling[row], on_path[row], duration[row])

    shown: set[int] = set()
    waiting = sorted(top, key=worth)
    # Whoever is shown offers his children; the worthiest come first, until the room is used up.
    while waiting and len(shown) < most:
        row = waiting.pop()
        shown.add(row)
        if ids[row] not in shut:
            waiting = sorted([*waiting, *children.get(row, [])], key=worth)[-most:]
    rows = [row for row in range(n) if row in shown]
    seen = dict.fromkeys(rows, 0)
    for row in reversed(rows):
        if parents[row] in seen:
            seen[parents[row]] += seen[row] + 1
    base = spans["depth"].iloc[top[0]] if within in ids else 0
    frame = spans.iloc[rows].reset_index(drop=True)
    frame["row"] = rows
    frame["level"] = frame["depth"] - base
    frame["children"] = [len(children.get(row, [])) for row in rows]
    missing = {row: below[row] - seen[row] for row in rows}
    own = dict(missing)
    for row in rows:
        if parents[row] in own:
            own[parents[row]] -= missing[row]
    frame["hidden"] = [own[row] for row in rows]
    frame["critical"] = [critical[row] for row in rows]
    frame.attrs = dict(spans.attrs)
    return frame


def details(spans: pd.DataFrame, span_id: str) -> dict[str, Any] | None:
    """What is known of one span, without secrets and personal data; None when it is not here.

    Keys: span_id, parent_id, service, operation, kind, at, offset_ms, duration_ms, error, tags and process (name to
    value), logs (list with offset_ms and fields) and warnings (list).
    """
    found = spans[spans["span_id"] == span_id]
    if found.empty:
        return None
    one = found.iloc[0]
    names = ("span_id", "parent_id", "service", "operation", "kind", "at", "offset_ms", "duration_ms", "error")
    began = one["at"].timestamp() * 1000 - one["offset_ms"]
    logs = [
        {"offset_ms": log["at"] / 1000 - began, "fields": mask_all(log["fields"])} for log in json.loads(one["logs"])
    ]
    return {
        **{name: one[name] for name in names},
        "tags": mask_all(json.loads(one["tags"])),
        "process": mask_all(json.loads(one["process"])),
        "logs": logs,
        "warnings": mask_all(json.loads(one["warnings"])),
    }


def has_warnings(spans: pd.DataFrame) -> pd.Series[Any]:
    """Which spans carry a warning of Jaeger's."""
    return spans["warnings"] != "[]"


# --- the map of services ----------------------------------------------------------------------------------------------


def service_map(edges: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Services in columns from those that call to those that are called, and the calls between them.

    Each has a row of its own, below one that calls it, so that no name hides another on any width. The first frame:
    service, column (0 is left), row (0 is the top), calls (received; those of a service that nobody calls are the ones
    that it makes), and callers, how many there are. The second: parent, child, calls, and x, y, x2, y2 in the same
    measures. Beyond `MOST_SERVICES` those with the most calls are shown; `attrs["left_out"]` of the first frame counts
    the others. A service that calls itself is no edge.
    """
    links = edges[edges["parent"] != edges["child"]].copy()
    weight = (
        pd.concat([links.groupby("parent")["calls"].sum(), links.groupby("child")["calls"].sum()])
        .groupby(level=0)
        .sum()
        .sort_values(ascending=False, kind="stable")
    )
    kept = set(weight.index[:MOST_SERVICES])
    links = links[links["parent"].isin(kept) & links["child"].isin(kept)].reset_index(drop=True)
    pairs = list(zip(links["parent"], links["child"], strict=True))
    names = sorted(kept, key=lambda name: (-int(weight[name]), name))
    column = _columns(names, pairs)
    received, made = links.groupby("child")["calls"].sum(), links.groupby("parent")["calls"].sum()
    order = _outline(links, column, names)
    nodes = pd.DataFrame(
        {
            "service": order,
            "column": [column[name] for name in order],
            "row": range(len(order)),
            "calls": [int(received.get(name, made.get(name, 0))) for name in order],
            "callers": [sum(called == name for _caller, called in pairs) for name in order],
        }
    )
    where = dict(zip(order, zip(nodes["column"], nodes["row"], strict=True), strict=True))
    for x, y, side in (("x", "y", "parent"), ("x2", "y2", "child")):
        links[x] = [where[name][0] for name in links[side]]
        links[y] = [where[name][1] for name in links[side]]
    nodes.attrs = {**edges.attrs, "left_out": len(weight) - len(kept)}
    links.attrs = dict(edges.attrs)
    return nodes, links


def _outline(links: pd.DataFrame, column: dict[str, int], names: list[str]) -> list[str]:
    """The services as an outline: below each those that it calls, the most called first."""
    heaviest = links.sort_values("calls", ascending=False, kind="stable")
    below: dict[str, list[str]] = {}
    above: dict[str, list[str]] = {}
    for caller, called in zip(heaviest["parent"], heaviest["child"], strict=True):
        below.setdefault(caller, []).append(called)
        above.setdefault(called, []).append(caller)
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        # Whoever else begins here stands above it, too: a line over the whole map is hard to follow.
        order.extend(one for one in above.get(name, ()) if column[one] == 0 < column[name] and one not in order)
        order.append(name)
        for called in below.get(name, ()):
            if column[called] == column[name] + 1:
                visit(called)

    # In a ring some are below nobody.
    for name in sorted(names, key=lambda one: column[one]):
        visit(name)
    return order


def _columns(names: list[str], pairs: list[tuple[str, str]]) -> dict[str, int]:
    """How many calls lie before each service, by the longest way; what calls in a ring is taken as it comes."""
    callers: dict[str, set[str]] = {name: set() for name in names}
    for parent, child in pairs:
        callers[child].add(parent)
    column: dict[str, int] = {}
    left = list(names)
    while left:
        free = [name for name in left if not (callers[name] - column.keys())]
        # In a ring nobody is first: whoever has the fewest callers left is.
        for name in free or [min(left, key=lambda one: len(callers[one] - column.keys()))]:
            column[name] = max((column[caller] + 1 for caller in callers[name] if caller in column), default=0)
        left = [name for name in left if name not in column]
    return column
