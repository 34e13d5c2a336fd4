"""The error tracker: issues, their events and one event in full, from Sentry's web API or from Bugsink's.

Two classes with one interface (`issues`, `events`, `event`), which give the same frames. Texts come from other
programs: secrets and personal data are masked here, before anything is kept or shown, and local variables are not read.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from zoneinfo import ZoneInfo

import pandas as pd

from queries.errors import SourceError
from queries.http_client import HttpClient
from queries.outside import Bounds, Outside
from queries.scrub import mask, mask_all

PAGE = 50
# What is read besides the list itself: at most so long, and then the column stays empty.
DETAIL_SECONDS = 4.0
DETAIL_TIMEOUT = 3.0
REMEMBERED = 2000
MOST_FRAMES, MOST_EXCEPTIONS, MOST_CRUMBS, MOST_TAGS = 100, 10, 100, 100
LONGEST = 2000
HOUR = 3600
BUGSINK_DAYS = 90
# Bugsink hands out so many events at once.
BUGSINK_PAGE = 250

ISSUE_COLUMNS = (
    *("issue_id", "short_id", "title", "level", "culprit", "count", "users", "first_seen", "last_seen"),
    *("first_release", "status", "project", "url", "over_time"),
)
EVENT_COLUMNS = ("event_id", "at", "title", "release", "environment", "request_id", "trace_id")
ONE_EVENT_COLUMNS = (
    *("event_id", "at", "title", "level", "culprit", "release", "environment", "platform", "integration"),
    *("request_id", "trace_id", "url", "tags", "exceptions", "breadcrumbs"),
)
# The ways in which programs name the id of a request.
_REQUEST_TAGS = ("request_id", "request.id", "requestId", "x-request-id", "transaction_id")
_INTEGRATION_TAGS = ("integration", "service.integration")
_TRACE = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
# "backend@1.4.0" is no address.
_RELEASE = re.compile(r"[A-Za-z][\w./-]{0,99}@v?\d{1,9}(?:\.\d{1,9}){0,5}(?:[-+][\w-]{1,40})?")
_ISSUE = re.compile(r"[0-9A-Za-z-]{1,64}")
_CURSOR = re.compile(r"[0-9A-Za-z:._=%-]{0,400}")


@dataclass(frozen=True)
class IssueSearch:
    """Which issues: those with an event from `start` up to `end` (aware); what is empty does not narrow.

    `step` is the length in seconds of a stretch of the counts over time. `cursor` is what an earlier page handed out.
    """

    start: datetime
    end: datetime
    step: int = HOUR
    level: str = ""
    release: str = ""
    integration: str = ""
    text: str = ""
    request: str = ""
    trace: str = ""
    cursor: str = ""


class SentryClient:
    """Asks one organization of a Sentry (https://docs.sentry.io/api/events/). Frames' times are in `zone`."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        organization: str,
        project: str = "",
        zone: ZoneInfo,
        connections: int = 4,
        timeout: float = 10.0,
    ) -> None:
        if not organization:
            raise SourceError(
                "Sentry needs the organization whose issues are shown: set MIRADOR_SENTRY_ORGANIZATION.",
                kind="not_configured",
                source="errors",
            )
        self._http = _http(url, token, "Sentry", connections, timeout)
        self._base = f"/api/0/organizations/{quote(organization, safe='')}"
        self._project = project
        self._connections = connections
        self.zone = zone
        # The first release of an issue never changes: once known it is not asked for again.
        self._first: dict[str, str] = {}
        self._lock = threading.Lock()

    def ping(self) -> float:
        """Seconds that one issue takes. Raises SourceError."""
        return self._http.ping(f"{self._base}/issues/", {"limit": 1, "query": ""})

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def issues(self, search: IssueSearch) -> pd.DataFrame:
        """A page of issues, the last seen first; at most `PAGE`.

        Columns: issue_id, short_id, title, level, culprit, count and users (events and users in the period), first_seen
        and last_seen (configured zone), first_release, status (unresolved, resolved, ignored), project, url, over_time
        (JSON list of [seconds since 1970, events]). `frame.attrs["next"]` and `["previous"]` are the cursors of the
        pages beside it ("" where there is none). Raises SourceError.
        """
        asked: dict[str, Any] = {
            "query": self._query(search),
            "start": _utc(search.start),
            "end": _utc(search.end),
            "groupStatsPeriod": "auto",
            "sort": "date",
            "limit": PAGE,
        }
        if self._project.isdecimal():
            asked["project"] = self._project
        if search.cursor:
            asked["cursor"] = _cursor(search.cursor)
        told, headers = self._http.ask("GET", f"{self._base}/issues/", params=asked)
        rows = self._rows(told, self._issue)
        firsts = self._first_releases([row["issue_id"] for row in rows])
        for row in rows:
            row["first_release"] = firsts.get(row["issue_id"], "")
        frame = _frame(rows, ISSUE_COLUMNS, self.zone)
        frame.attrs |= _links(headers.get("Link") or headers.get("link") or "")
        frame.attrs["text"] = f"GET {self._base}/issues/ {_said(asked)}"
        return frame

    def events(self, issue_id: str, search: IssueSearch) -> pd.DataFrame:
        """The newest events of an issue in the period, at most a page.

        Columns: event_id, at (configured zone), title, release, environment, request_id, trace_id (texts; "" where the
        tracker does not tell it in its list). Raises SourceError.
        """
        path = f"{self._base}/issues/{_issue_id(issue_id)}/events/"
        asked = {"start": _utc(search.start), "end": _utc(search.end)}
        if narrowed := _words(("request_id", search.request), ("trace", search.trace)):
            asked["query"] = narrowed
        if search.cursor:
            asked["cursor"] = _cursor(search.cursor)
        told, headers = self._http.ask("GET", path, params=asked)
        frame = _frame(self._rows(told, self._event_row), EVENT_COLUMNS, self.zone)
        frame.attrs |= _links(headers.get("Link") or headers.get("link") or "")
        frame.attrs["text"] = f"GET {path} {_said(asked)}"
        return frame

    def event(self, issue_id: str, event_id: str = "latest") -> pd.DataFrame:
        """One event in full, as one row; the newest when none is named.

        Columns: event_id, at (configured zone), title, level, culprit, release, environment, platform, integration,
        request_id, trace_id, url, and as JSON tags (object), exceptions (list with type, value, handled, frames, left
        out; a frame has file, line, function, module, in_app, code) and breadcrumbs (list with at, category, level,
        message, data). The outermost frame stands first. Raises SourceError.
        """
        path = f"{self._base}/issues/{_issue_id(issue_id)}/events/{_issue_id(event_id)}/"
        told = self._http.get(path)
        frame = _frame([self._one(told, self._event)], ONE_EVENT_COLUMNS, self.zone)
        frame.attrs["text"] = f"GET {path}"
        return frame

    # --- what it asks, what it is told ---

    def _query(self, search: IssueSearch) -> str:
        terms = [
            ("level", search.level),
            ("release", search.release),
            ("integration", search.integration),
            ("request_id", search.request),
            ("trace", search.trace),
        ]
        if self._project and not self._project.isdecimal():
            terms.insert(0, ("project", self._project))
        text = f'"{_plain(search.text)}"' if _plain(search.text) else ""
        return f"{_words(*terms)} {text}".strip()

    def _issue(self, one: Mapping[str, Any]) -> dict[str, Any]:
        lifetime = one.get("lifetime") or {}
        project = one.get("project") or {}
        stats: list[Any] = next(iter((one.get("stats") or {}).values()), [])
        return {
            "issue_id": str(one["id"]),
            "short_id": _text(one.get("shortId")),
            "title": _text(one["title"]),
            "level": _text(one.get("level")),
            "culprit": _text(one.get("culprit")),
            "count": int(one["count"]),
            "users": int(one["userCount"]) if one.get("userCount") is not None else None,
            "first_seen": lifetime.get("firstSeen") or one["firstSeen"],
            "last_seen": one["lastSeen"],
            "status": _text(one.get("status")),
            "project": _text(project.get("slug") or project.get("name")),
            "url": _url(one.get("permalink")),
            "over_time": json.dumps([[int(at), int(n)] for at, n in stats if n]),
        }

    def _event_row(self, one: Mapping[str, Any]) -> dict[str, Any]:
        tags = _tags(one.get("tags"))
        return {
            "event_id": str(one.get("eventID") or one["id"]),
            "at": one["dateCreated"],
            "title": _text(one.get("title")),
            "release": _release(tags.get("release")),
            "environment": tags.get("environment", ""),
            "request_id": _first_of(tags, _REQUEST_TAGS),
            "trace_id": _trace_id(tags.get("trace") or tags.get("trace_id")),
        }

    def _event(self, one: Mapping[str, Any]) -> dict[str, Any]:
        tags = _tags(one.get("tags"))
        entries = {entry["type"]: entry.get("data") or {} for entry in one.get("entries") or []}
        contexts = one.get("contexts") or {}
        release = one.get("release") or {}
        return {
            "event_id": str(one.get("eventID") or one["id"]),
            "at": one["dateCreated"],
            "title": _text(one.get("title")),
            "level": tags.get("level", ""),
            "culprit": _text(one.get("culprit") or one.get("location")),
            "release": _release(tags.get("release") or release.get("version")),
            "environment": tags.get("environment", ""),
            "platform": _text(one.get("platform")),
            "integration": _first_of(tags, _INTEGRATION_TAGS),
            "request_id": _first_of(tags, _REQUEST_TAGS),
            "trace_id": _trace_id((contexts.get("trace") or {}).get("trace_id") or tags.get("trace")),
            "url": "",
            "tags": _json(tags),
            "exceptions": _json(_exceptions(entries.get("exception"))),
            "breadcrumbs": _json(_breadcrumbs(entries.get("breadcrumbs"), self.zone)),
        }

    def _first_releases(self, ids: Sequence[str]) -> dict[str, str]:
        """The first release of each issue, from the issues themselves: the list does not tell it."""
        with self._lock:
            known = {issue: self._first[issue] for issue in ids if issue in self._first}

        def ask(issue: str) -> tuple[str, str]:
            told = self._http.get(f"{self._base}/issues/{_issue_id(issue)}/", timeout=DETAIL_TIMEOUT)
            release = (told.get("firstRelease") or {}) if isinstance(told, dict) else {}
            return issue, _release(release.get("version"))

        found = dict(_at_once(ask, [issue for issue in ids if issue not in known], self._connections))
        with self._lock:
            if len(self._first) + len(found) > REMEMBERED:
                self._first.clear()
            self._first |= found
        return {**known, **found}

    def _rows(self, told: Any, row: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
        return _rows(self._http, told, row)

    def _one(self, told: Any, row: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        return _rows(self._http, [told], row)[0]


class BugsinkClient:
    """Asks one Bugsink (its web API, /api/canonical/0/). Same frames as `SentryClient`.

    Bugsink keeps no level, no users and no time filter for issues: level and users are empty, and the period is applied
    here. An issue of few events is counted by their own moments. Of more, the counts are Bugsink's: by whole hours of
    UTC in which it took them in, of the last 90 days; one that it does not tell is null.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        organization: str = "",
        project: str = "",
        zone: ZoneInfo,
        connections: int = 4,
        timeout: float = 10.0,
    ) -> None:
        self._http = _http(url, token, "Bugsink", connections, timeout)
        self._url = url.rstrip("/")
        self._base = "/api/canonical/0"
        self._project = project
        self._projects: dict[str, str] = {}
        self._connections = connections
        self.zone = zone

    def ping(self) -> float:
        """Seconds that its projects take. Raises SourceError."""
        return self._http.ping(f"{self._base}/projects/")

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def issues(self, search: IssueSearch) -> pd.DataFrame:
        """As `SentryClient.issues`; level is "" and users null. Raises SourceError."""
        names = self._project_names()
        asked: dict[str, Any] = {"q": self._query(search), "state": "all", "sort": "last_seen", "order": "desc"}
        if self._project:
            asked["project"] = self._project_id(names)
        cursor, offset = _place(search.cursor)
        if cursor:
            asked["cursor"] = cursor
        told = self._http.get(f"{self._base}/issues/", asked)
        page, following = self._page(told)
        rows = _rows(self._http, page, lambda one: self._issue(one, names))
        # The last seen come first: behind one that was last seen before the period none follows.
        over = [row for row in rows if _moment(row["last_seen"]) >= search.start]
        ended = len(over) < len(rows)
        wanted = [row for row in over[offset:] if _moment(row["first_seen"]) < search.end]
        shown, rest = wanted[:PAGE], len(wanted) > PAGE
        totals = {str(one["id"]): one.get("digested_event_count") for one in page}
        counts, step = self._counts({row["issue_id"]: totals[row["issue_id"]] for row in shown}, search)
        for row in shown:
            buckets = counts.get(row["issue_id"])
            # Bugsink's own number is that of all time: better none than the wrong one.
            row["count"] = None if buckets is None else sum(n for _at, n in buckets)
            row["over_time"] = json.dumps(buckets or [])
        frame = _frame([row for row in shown if row["count"] != 0], ISSUE_COLUMNS, self.zone)
        place = over.index(shown[-1]) + 1 if shown else 0
        frame.attrs["step"] = step
        frame.attrs["next"] = f"{cursor}@{place}" if rest else ("" if ended or not following else f"{following}@0")
        frame.attrs["previous"] = ""
        frame.attrs["text"] = f"GET {self._base}/issues/ {_said(asked)}"
        return frame

    def events(self, issue_id: str, search: IssueSearch) -> pd.DataFrame:
        """As `SentryClient.events`; Bugsink's list tells the moment alone. Raises SourceError."""
        asked = {"issue": _issue_id(issue_id), "order": "desc"}
        if narrowed := _words(("request_id", search.request), ("trace", search.trace)):
            asked["q"] = narrowed
        if search.cursor:
            asked["cursor"] = _cursor(search.cursor)
        told = self._http.get(f"{self._base}/events/", asked)
        page, following = self._page(told)
        rows = _rows(
            self._http,
            page,
            lambda one: {
                **dict.fromkeys(EVENT_COLUMNS, ""),
                "event_id": str(one["id"]),
                "at": one.get("timestamp") or one["ingested_at"],
            },
        )
        rows = [row for row in rows if search.start <= _moment(row["at"]) < search.end]
        frame = _frame(rows[: 2 * PAGE], EVENT_COLUMNS, self.zone)
        frame.attrs["next"], frame.attrs["previous"] = following, ""
        frame.attrs["text"] = f"GET {self._base}/events/ {_said(asked)}"
        return frame

    def event(self, issue_id: str, event_id: str = "latest") -> pd.DataFrame:
        """As `SentryClient.event`. Raises SourceError."""
        if event_id == "latest":
            told = self._http.get(f"{self._base}/events/", {"issue": _issue_id(issue_id), "order": "desc"})
            page, _following = self._page(told)
            if not page:
                raise SourceError("This issue has no event any more.", kind="refused", source="errors")
            event_id = _rows(self._http, page[:1], lambda one: {"event_id": str(one["id"])})[0]["event_id"]
        path = f"{self._base}/events/{_issue_id(event_id)}/"
        told = self._http.get(path)
        frame = _frame(_rows(self._http, [told], self._event), ONE_EVENT_COLUMNS, self.zone)
        frame.attrs["text"] = f"GET {path}"
        return frame

    # --- what it asks, what it is told ---

    def _query(self, search: IssueSearch) -> str:
        words = _words(
            ("release", search.release),
            ("integration", search.integration),
            ("request_id", search.request),
            ("trace", search.trace),
        )
        # A colon would make a tag of it.
        return f"{words} {_plain(search.text).replace(':', ' ')}".strip()

    def _page(self, told: Any) -> tuple[list[Any], str]:
        """The results and the cursor of the page behind them."""
        if not isinstance(told, dict) or not isinstance(told.get("results"), list):
            raise self._http.garbage()
        following = parse_qs(urlsplit(str(told.get("next") or "")).query).get("cursor", [""])[0]
        return told["results"], following

    def _project_names(self) -> dict[str, str]:
        """Name by id; asked anew only for a project that is not known."""
        if not self._projects:
            told = self._http.get(f"{self._base}/projects/")
            page, _following = self._page(told)
            rows = _rows(self._http, page, lambda one: {"id": str(one["id"]), "name": str(one["slug"])})
            self._projects = {row["id"]: row["name"] for row in rows}
        return self._projects

    def _project_id(self, names: Mapping[str, str]) -> str:
        found = [number for number, name in names.items() if self._project in (number, name)]
        if not found:
            self._projects = {}
            raise SourceError(
                "Bugsink has no project as MIRADOR_SENTRY_PROJECT names it.", kind="refused", source="errors"
            )
        return found[0]

    def _issue(self, one: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        kind, value = _text(one["calculated_type"]), _text(one["calculated_value"]).partition("\n")[0]
        resolved, muted = bool(one["is_resolved"]), bool(one["is_muted"])
        return {
            "issue_id": str(one["id"]),
            "short_id": _text(one.get("friendly_id")),
            "title": f"{kind}: {value}" if kind and value else kind or value,
            "level": "",
            "culprit": _text(one.get("transaction")),
            "users": None,
            "first_seen": one["first_seen"],
            "last_seen": one["last_seen"],
            "first_release": _release(next(iter(one.get("events_at") or []), "")),
            "status": "resolved" if resolved else "ignored" if muted else "unresolved",
            "project": names.get(str(one.get("project")), ""),
            "url": f"{self._url}/issues/issue/{_issue_id(str(one['id']))}/event/last/",
            "over_time": "[]",
        }

    def _counts(self, totals: Mapping[str, Any], search: IssueSearch) -> tuple[dict[str, list[list[int]]], int]:
        """Events of each issue by stretch of the period, as [seconds since 1970, events], without empty stretches; and
        how long a stretch is: that of the search, or the hours of Bugsink's own counts where an issue has only those.

        `totals` are the events of all time by issue.
        """
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        end = min(-(-search.end.timestamp() // HOUR) * HOUR, now.timestamp())
        start = max(search.start.timestamp() // HOUR * HOUR, now.timestamp() - (BUGSINK_DAYS * 24 - 1) * HOUR)
        if start >= end:
            return {}, max(search.step, HOUR)
        asked = {"start": _utc(datetime.fromtimestamp(start, UTC)), "end": _utc(datetime.fromtimestamp(end, UTC))}

        def by_their_moments(issue: str) -> list[tuple[float, int]] | None:
            # What was sent late or in one go (a queue, a history that is read in) happened when it says, not when
            # Bugsink took it in. Told only where all events are still there: old ones are thrown away.
            wanted = {"issue": _issue_id(issue), "order": "desc"}
            page, _following = self._page(self._http.get(f"{self._base}/events/", wanted, timeout=DETAIL_TIMEOUT))
            moments = _rows(
                self._http, page, lambda one: {"at": _moment(one.get("timestamp") or one["ingested_at"]).timestamp()}
            )
            if len(moments) != totals[issue]:
                return None
            return [(one["at"], 1) for one in moments if search.start.timestamp() <= one["at"] < search.end.timestamp()]

        def ask(issue: str) -> tuple[str, tuple[bool, list[tuple[float, int]]]]:
            if (totals[issue] or BUGSINK_PAGE + 1) <= BUGSINK_PAGE:
                exact = by_their_moments(issue)
                if exact is not None:
                    return issue, (True, exact)
            path = f"{self._base}/issues/{_issue_id(issue)}/event-counts/"
            told = self._http.get(path, asked, timeout=DETAIL_TIMEOUT)
            if not isinstance(told, dict):
                raise self._http.garbage()
            buckets = _rows(
                self._http,
                told.get("buckets"),
                lambda one: {"at": _moment(one["timestamp"]).timestamp(), "n": int(one["count"])},
            )
            return issue, (False, [(row["at"], row["n"]) for row in buckets if row["n"]])

        found = dict(_at_once(ask, list(totals), self._connections))
        step = search.step if all(exact for exact, _events in found.values()) else max(search.step, HOUR)

        def stretches(events: list[tuple[float, int]]) -> list[list[int]]:
            counted: dict[int, int] = {}
            for at, n in events:
                # They begin with the period, so that days are those of the local clock.
                begin = int(start + (at - start) // step * step)
                counted[begin] = counted.get(begin, 0) + n
            return [[at, n] for at, n in sorted(counted.items())]

        return {issue: stretches(events) for issue, (_exact, events) in found.items()}, step

    def _event(self, one: Mapping[str, Any]) -> dict[str, Any]:
        data = one["data"]
        tags = _tags(data.get("tags"))
        contexts = data.get("contexts") or {}
        exceptions = _exceptions(data.get("exception"))
        last = exceptions[-1] if exceptions else {}
        title = f"{last['type']}: {last['value']}" if last else _text((data.get("logentry") or {}).get("message"))
        return {
            "event_id": str(one["id"]),
            "at": one.get("timestamp") or one["ingested_at"],
            "title": title or _text(data.get("message")),
            "level": _text(data.get("level")),
            "culprit": _text(data.get("transaction")),
            "release": _release(data.get("release")),
            "environment": _text(data.get("environment")),
            "platform": _text(data.get("platform")),
            "integration": _first_of(tags, _INTEGRATION_TAGS),
            "request_id": _first_of(tags, _REQUEST_TAGS),
            "trace_id": _trace_id((contexts.get("trace") or {}).get("trace_id")),
            "url": f"{self._url}/issues/issue/{_issue_id(str(one['issue']))}/event/{_issue_id(str(one['id']))}/",
            "tags": _json(tags),
            "exceptions": _json(exceptions),
            "breadcrumbs": _json(_breadcrumbs(data.get("breadcrumbs"), self.zone)),
        }


def make(outside: Outside, bounds: Bounds) -> SentryClient | BugsinkClient:
    """The client of the configured error tracker. Raises SourceError(not_configured)."""
    kind = BugsinkClient if outside.sentry_api == "bugsink" else SentryClient
    return kind(
        str(outside.sentry_url),
        str(outside.sentry_token),
        organization=outside.sentry_organization,
        project=outside.sentry_project,
        zone=bounds.zone,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )


# --- what both share --------------------------------------------------------------------------------------------------


def _http(url: str, token: str, name: str, connections: int, timeout: float) -> HttpClient:
    return HttpClient(
        url,
        source="errors",
        name=name,
        variable="MIRADOR_SENTRY_URL",
        headers={"Authorization": f"Bearer {token}"},
        connections=connections,
        timeout=timeout,
    )


def _rows(http: HttpClient, told: Any, row: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """A row of each thing that was told; the wrong form is garbage, not a crash."""
    if not isinstance(told, list):
        raise http.garbage()
    try:
        return [row(one) for one in told]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise http.garbage() from None


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...], zone: ZoneInfo) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in columns:
        if name in {"at", "first_seen", "last_seen"}:
            moments = [_moment(value) for value in frame[name]]
            frame[name] = pd.to_datetime(pd.Series(moments, dtype=object), utc=True).dt.tz_convert(zone)
        elif name in {"count", "users"}:
            frame[name] = frame[name].astype("Int64")
        else:
            frame[name] = frame[name].astype("str")
    return frame


def _at_once(ask: Callable[[str], tuple[str, Any]], ids: Sequence[str], workers: int) -> Iterable[tuple[str, Any]]:
    """What each issue tells of itself, several at a time; what fails or takes too long is left out."""
    if not ids:
        return []
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="mirador-errors")
    try:
        asked: list[Future[tuple[str, Any]]] = [pool.submit(ask, one) for one in ids]
        done, _late = wait(asked, timeout=DETAIL_SECONDS)
        return [one.result() for one in done if one.exception() is None]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _links(header: str) -> dict[str, str]:
    """The cursors of Sentry's `Link` header: `<url>; rel="next"; results="true"; cursor="0:50:0"`."""
    found = {"next": "", "previous": ""}
    for part in header.split(","):
        named = dict(re.findall(r'(\w+)="([^"]*)"', part))
        if named.get("rel") in found and named.get("results", "true") == "true":
            cursor = named.get("cursor", "")
            found[named["rel"]] = cursor if _CURSOR.fullmatch(cursor) else ""
    return found


def _place(cursor: str) -> tuple[str, int]:
    """Bugsink's own cursor and how many of its page were shown: it has no page size of its own."""
    text, _at, number = cursor.rpartition("@")
    return (_cursor(text), int(number)) if number.isdecimal() and len(number) < 6 else ("", 0)


def _cursor(text: str) -> str:
    if not _CURSOR.fullmatch(text):
        raise SourceError("This is not the place of a page: open the list anew.", kind="bad_parameter", source="errors")
    return text


def _issue_id(text: str) -> str:
    if not _ISSUE.fullmatch(text):
        raise SourceError("This is not the id of an issue or event.", kind="bad_parameter", source="errors")
    return text


def _plain(value: str) -> str:
    """A viewer's words as one quoted value: no operator, no wildcard, no second term."""
    return re.sub(r'[\\"*\x00-\x1f]+', " ", value).strip()[:200]


def _words(*terms: tuple[str, str]) -> str:
    """Terms as both trackers read them."""
    return " ".join(f'{name}:"{_plain(value)}"' for name, value in terms if _plain(value))


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _said(asked: Mapping[str, Any]) -> str:
    """The question for the panel's menu."""
    return "&".join(f"{name}={value}" for name, value in asked.items())


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(value: Any, longest: int = 400) -> str:
    """A text of another program, masked and short."""
    return "" if value is None else mask(str(value)[: 4 * longest])[:longest]


def _release(value: Any) -> str:
    text = str(value or "")
    return text if _RELEASE.fullmatch(text) else _text(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _url(value: Any) -> str:
    """An address that a link may lead to."""
    text = str(value or "")
    return text if text.startswith(("https://", "http://")) else ""


def _tags(told: Any) -> dict[str, str]:
    """Tags from Sentry's list of objects, from pairs or from an object; masked by their key, too."""
    if isinstance(told, Mapping):
        pairs = list(told.items())
    else:
        pairs = [(one["key"], one.get("value")) if isinstance(one, Mapping) else (one[0], one[1]) for one in told or []]
    found: dict[str, str] = {}
    for name, value in pairs[:MOST_TAGS]:
        if name == "release":
            found["release"] = _release(value)
            continue
        masked = mask_all({str(name): str(value)[:LONGEST]})
        found |= {key: str(text)[:400] for key, text in masked.items()}
    return found


def _first_of(tags: Mapping[str, str], names: Iterable[str]) -> str:
    return next((tags[name] for name in names if tags.get(name)), "")


def _trace_id(value: Any) -> str:
    text = str(value or "").lower()
    return text if _TRACE.fullmatch(text) else ""


def _values(told: Any) -> list[Any]:
    """Sentry wraps lists in {"values": [...]}; programs also send them bare."""
    found = told.get("values") if isinstance(told, Mapping) else told
    return [one for one in found or [] if isinstance(one, Mapping)]


def _exceptions(told: Any) -> list[dict[str, Any]]:
    """The chain of exceptions, the one that was raised last at the end."""
    found = []
    for one in _values(told)[-MOST_EXCEPTIONS:]:
        frames = (one.get("stacktrace") or {}).get("frames") or []
        mechanism = one.get("mechanism") or {}
        found.append(
            {
                "type": _text(one.get("type")),
                "value": _text(one.get("value"), LONGEST),
                "handled": mechanism.get("handled") if isinstance(mechanism.get("handled"), bool) else None,
                # The innermost frames stand last, and they tell most.
                "frames": [_stack_frame(frame) for frame in frames[-MOST_FRAMES:]],
                "left_out": max(len(frames) - MOST_FRAMES, 0),
            }
        )
    return found


def _stack_frame(one: Mapping[str, Any]) -> dict[str, Any]:
    """Where it was and the line of code; never its variables."""
    line = one.get("lineNo", one.get("lineno"))
    code = one.get("context_line")
    if code is None:
        code = next((text for number, text in one.get("context") or [] if number == line), "")
    return {
        "file": _text(one.get("filename") or one.get("absPath") or one.get("abs_path")),
        "line": int(line) if line is not None else None,
        "function": _text(one.get("function")),
        "module": _text(one.get("module")),
        "in_app": bool(one.get("inApp", one.get("in_app", False))),
        "code": _text(code).strip(),
    }


def _breadcrumbs(told: Any, zone: ZoneInfo) -> list[dict[str, Any]]:
    """What happened before, oldest first; the last ones when there are many."""
    found = []
    for one in _values(told)[-MOST_CRUMBS:]:
        stamp = one.get("timestamp")
        found.append(
            {
                "at": _moment(stamp).astimezone(zone).isoformat() if stamp is not None else "",
                "category": _text(one.get("category") or one.get("type")),
                "level": _text(one.get("level")),
                "message": _text(one.get("message"), LONGEST),
                "data": json.dumps(mask_all(one["data"]), ensure_ascii=False)[:LONGEST] if one.get("data") else "",
            }
        )
    return found
