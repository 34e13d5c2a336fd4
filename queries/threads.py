"""One thread: everything that any source knows of one id, in order of time.

    known = known_as("b7c1...")
    thread = open_thread(known, start, end, roles)
    thread.moments      what happened, each row with its source
    thread.notes        which source has nothing to say, and why
    thread.skews        whose clock differs from the ledger's

An id may be that of a request, a trace, a credit, an application or a driver. Only the ledger is needed to know which;
log lines, spans and errors are found by the ids that the ledger's calls carry. Each source is optional: what it would add
is missing, and a sentence says why.
"""  # noqa: E501

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import pandas as pd

from queries import failures, logs, traces
from queries.errors import SourceError
from queries.errors_client import IssueSearch
from queries.events import events
from queries.sources import is_configured, ledger, timezone

Kind = Literal["request", "trace", "credit", "application", "conductor"]
SOURCES = ("ledger", "call", "log", "span", "error", "alert", "incident")
COLUMNS = (
    *("at", "until", "source", "kind", "state", "what", "amount", "duration_ms", "detail"),
    *("request_id", "trace_id", "credit_id", "application_id", "call_id", "link"),
)
# Nobody waits longer for a source that only adds to the thread.
SECONDS = 8.0
AROUND = timedelta(minutes=15)
LONGEST = timedelta(days=62)
MOST_TRACES, MOST_SPANS, MOST_ISSUES = 6, 200, 8
# Clocks that differ by less are not told: moments are written when something began or ended.
SKEW_SECONDS = 0.5
_FAILED = {"failed", "error", "timeout", "rejected", "late", "charged_off", "cancelled"}
_GOOD = {"succeeded", "success", "approved", "disbursed", "paid", "settled"}


@dataclass(frozen=True)
class Known:
    """What an id stands for. `kind` is None when the ledger does not know it; `first` is its first moment there."""

    id: str
    kind: Kind | None
    credits: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    conductor: str = ""
    first: datetime | None = None

    @property
    def request(self) -> str:
        """The id as that of a request; one that the ledger does not know may be in the logs all the same."""
        return self.id if self.kind in {"request", None} else ""

    @property
    def trace(self) -> str:
        """The id as that of a trace."""
        hexadecimal = len(self.id) in {16, 32} and set(self.id.lower()) <= set("0123456789abcdef")
        return self.id if self.kind == "trace" or (self.kind is None and hexadecimal) else ""


@dataclass(frozen=True)
class Thread:
    """The thread of one id in a period.

    `moments`, in order of time, has the columns COLUMNS: at and until (configured zone; no end: a moment), source (one
    of SOURCES), kind (of the ledger: application, score, decision, disbursement, installment, payment; of logs the
    level; of spans the service), state (good, failed, waiting, neutral), what (a key or a text), amount (MXN),
    duration_ms, detail, and ids; `link` is (page, parameters) or None.
    `notes`: (source, sentence). `skews`: columns source, moments (compared), seconds (median; positive: that clock is
    ahead of the ledger's).
    """

    moments: pd.DataFrame
    notes: tuple[tuple[str, str], ...] = ()
    skews: pd.DataFrame = field(default_factory=pd.DataFrame)


def known_as(id: str) -> Known:
    """What the id stands for, from the ledger. Raises SourceError."""
    rows = ledger("thread/known", {"id": id})
    if rows.empty:
        return Known(id, None)
    kind = str(rows["kind"].iloc[0])
    return Known(
        id,
        kind,  # type: ignore[arg-type]
        credits=_distinct(rows["credit_id"]),
        applications=_distinct(rows["application_id"]),
        conductor=next(iter(_distinct(rows["conductor_id"])), ""),
        first=rows["at"].min().to_pydatetime(),
    )


def named(id: str, kind: str | None = None) -> Known:
    """An id as a link names it, while the ledger cannot say what it stands for."""
    if kind == "credit":
        return Known(id, "credit", credits=(id,))
    if kind == "application":
        return Known(id, "application", applications=(id,))
    if kind == "conductor":
        return Known(id, "conductor", conductor=id)
    return Known(id, "trace" if kind == "trace" else "request" if kind == "request" else None)


def has_others() -> bool:
    """Whether a source beside the ledger can tell of an id."""
    return any(is_configured(source) for source in ("logs", "traces", "errors"))


def period_of(known: Known, length: timedelta | None, now: datetime) -> tuple[datetime, datetime]:
    """The period to look at: around a request or trace, else up to now; half an hour or 30 days without a `length`.

    On the whole minute, so that the same question is asked for a while.
    """
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if known.kind in {"request", "trace"} and known.first is not None:
        half = length / 2 if length else AROUND
        return known.first - half, min(known.first + half, end)
    return end - (length or timedelta(days=30)), end


def open_thread(known: Known, start: datetime, end: datetime, roles: Collection[str]) -> Thread:
    """Ask all sources at once, each for at most `SECONDS`. A ledger that does not answer is a note like any other."""
    if end - start > LONGEST:
        raise SourceError("A thread reaches over at most 62 days: narrow the period.", kind="bad_parameter")
    notes: list[tuple[str, str]] = []
    try:
        own = _of_ledger(known, start, end)
    except SourceError as error:
        # Logs, traces and errors are needed most while the database is away.
        own = _framed([])
        notes.append(("ledger", error.sentence))
    calls = own[own["source"] == "call"]
    asked: dict[str, Callable[[], pd.DataFrame]] = {
        "log": lambda: _of_logs(known, calls, start, end, roles),
        "span": lambda: _of_traces(known, calls, roles),
        "error": lambda: _of_errors(known, calls, start, end, roles),
        "alert": lambda: _of_events(start, end),
    }
    parts = [own]
    pool = ThreadPoolExecutor(len(asked), thread_name_prefix="mirador-thread")
    try:
        running = {source: pool.submit(ask) for source, ask in asked.items()}
        for source, answer in running.items():
            part, note = _wait(answer)
            if note:
                notes.append((source, note))
            if part is not None:
                notes += [(source, words) for words in part.attrs.get("thread_notes", ())]
                parts.append(part)
    finally:
        # What has not answered is left behind, not waited for.
        pool.shutdown(wait=False, cancel_futures=True)
    moments = pd.concat([part for part in parts if not part.empty] or [own], ignore_index=True)
    moments = moments.sort_values(["at", "source"], kind="stable", ignore_index=True)
    moments.attrs = {"answer": own.attrs["answer"]} if "answer" in own.attrs else {}
    return Thread(moments, tuple(notes), skews(moments))


def _wait(answer: Future[pd.DataFrame]) -> tuple[pd.DataFrame | None, str]:
    try:
        return answer.result(timeout=SECONDS), ""
    except SourceError as error:
        return None, error.sentence
    except TimeoutError:
        return None, "It has not answered in time."


def skews(moments: pd.DataFrame) -> pd.DataFrame:
    """Whose clock differs from the ledger's: each log line, span or error beside the call of the same request or trace.

    What belongs to a call should lie between its begin and its end. Columns: source, moments (compared), seconds (the
    median distance, positive: ahead of the ledger); only sources that differ by more than `SKEW_SECONDS`.
    """
    # By both ids: a credit can have thousands of calls, and as many lines.
    calls: dict[tuple[str, str], list[tuple[pd.Timestamp, Any]]] = defaultdict(list)
    for call in moments[moments["source"] == "call"].itertuples(index=False):
        for kind, id in (("request", call.request_id), ("trace", call.trace_id)):
            if id:
                calls[kind, id].append((call.at, call.duration_ms))
    rows = []
    for source in ("log", "span", "error"):
        found: list[float] = []
        for one in moments[moments["source"] == source].itertuples(index=False):
            own = [*calls.get(("request", one.request_id), ()), *calls.get(("trace", one.trace_id), ())]
            if own:
                found.append(min((_outside(one.at, begin, lasted) for begin, lasted in own), key=abs))
        middle = float(pd.Series(found).median()) if found else 0.0
        if abs(middle) > SKEW_SECONDS:
            rows.append({"source": source, "moments": len(found), "seconds": middle})
    return pd.DataFrame(rows, columns=["source", "moments", "seconds"])


def _outside(moment: pd.Timestamp, begin: pd.Timestamp, duration_ms: Any) -> float:
    """Seconds from the call to the moment: 0 within it, negative before it."""
    end = begin + pd.Timedelta(milliseconds=0 if pd.isna(duration_ms) else int(duration_ms))
    if moment < begin:
        return (moment - begin).total_seconds()
    return (moment - end).total_seconds() if moment > end else 0.0


# --- the sources ------------------------------------------------------------------------------------------------------


def _of_ledger(known: Known, start: datetime, end: datetime) -> pd.DataFrame:
    answer = ledger(
        "thread/moments",
        {
            "credits": list(known.credits),
            "applications": list(known.applications),
            "request": known.request or None,
            "trace": known.trace or None,
            "start": start,
            "end": end,
        },
    )
    frame = answer.copy(deep=False)
    frame["source"] = ["call" if kind == "call" else "ledger" for kind in frame["kind"]]
    frame["state"] = [_state_of(what) for what in frame["what"]]
    frame["until"] = [
        at + pd.Timedelta(milliseconds=int(ms)) if not pd.isna(ms) else pd.NaT
        for at, ms in zip(frame["at"], frame["duration_ms"], strict=True)
    ]
    frame["link"] = [
        ("integrations", {"id": str(int(one.call_id))})
        if one.kind == "call"
        else ("credit", {"id": one.credit_id})
        if isinstance(one.credit_id, str) and one.credit_id
        else ("conductor", {"id": one.application_id})
        for one in frame.itertuples(index=False)
    ]
    made = _framed(frame.to_dict("records"))
    made.attrs = {"answer": answer.attrs["answer"]}
    return made


def _state_of(what: Any) -> str:
    return "failed" if what in _FAILED else "good" if what in _GOOD else "neutral"


def _of_logs(known: Known, calls: pd.DataFrame, start: datetime, end: datetime, roles: Collection[str]) -> pd.DataFrame:
    ids: dict[str, str]
    if known.kind == "trace":
        ids = {"trace_id": known.id}
    elif known.kind == "credit":
        ids = {"credit_id": known.id}
    elif known.kind == "application":
        ids = {"application_id": known.id}
    elif known.kind == "conductor":
        ids = {"conductor_id": known.id}
    else:
        ids = {"trace_id": known.trace} if known.trace else {"request_id": known.id}
    questions = [ids]
    # Not every line of a credit's calls names the credit: those of its failing calls are found by their request.
    if known.kind in {"credit", "application", "conductor"}:
        failed = calls.loc[calls["state"] == "failed", "request_id"]
        questions += [{"request_id": request} for request in _distinct(failed)[-3:]]
    found = [logs.lines(logs.Question(start, end, **one), roles, deadline=SECONDS) for one in questions]  # type: ignore[arg-type]
    lines = pd.concat(found, ignore_index=True).drop_duplicates(["time", "message", "request_id"])
    rows = [
        {
            "at": one.time,
            "source": "log",
            "kind": one.level,
            "state": "failed" if one.level in {"ERROR", "CRITICAL"} else "neutral",
            "what": one.message,
            "detail": " · ".join(part for part in (one.logger, one.integration) if part),
            "request_id": one.request_id,
            "trace_id": one.trace_id,
            "credit_id": one.credit_id,
            "application_id": one.application_id,
            "link": ("logs", {"request": one.request_id} if one.request_id else {"trace": one.trace_id}),
        }
        for one in lines.itertuples(index=False)
    ]
    return _framed(rows)


def _of_traces(known: Known, calls: pd.DataFrame, roles: Collection[str]) -> pd.DataFrame:
    wanted = [known.trace] if known.trace else []
    failed_first = calls.assign(failed=calls["state"] == "failed").sort_values("failed", kind="stable")
    wanted += [one for one in reversed(_distinct(failed_first["trace_id"])) if one not in wanted]
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if not wanted:
        # Told as not configured, where it is; with nothing to ask for there is nothing to say.
        traces.services(roles, deadline=SECONDS)
    for trace_id in wanted[:MOST_TRACES]:
        spans = traces.trace(trace_id, roles)
        for one in spans.head(MOST_SPANS).itertuples(index=False):
            tags = _tags(one.tags)
            rows.append(
                {
                    "at": one.at,
                    "until": one.at + pd.Timedelta(milliseconds=float(one.duration_ms)),
                    "source": "span",
                    "kind": one.service,
                    "state": "failed" if one.error else "neutral",
                    "what": one.operation,
                    "duration_ms": round(float(one.duration_ms)),
                    "detail": one.kind,
                    "request_id": tags.get("request_id", tags.get("request.id", "")),
                    "trace_id": trace_id,
                    "link": ("traces", {"trace": trace_id}),
                }
            )
        if len(spans) > MOST_SPANS:
            notes.append(f"The first {MOST_SPANS} spans of a trace are shown; its page has all.")
    if len(wanted) > MOST_TRACES:
        notes.append(f"The newest {MOST_TRACES} traces are shown, those of failed calls first.")
    frame = _framed(rows)
    frame.attrs["thread_notes"] = tuple(dict.fromkeys(notes))
    return frame


def _tags(text: Any) -> dict[str, str]:
    try:
        told = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    if isinstance(told, Mapping):
        return {str(name): str(value) for name, value in told.items()}
    return {str(one.get("key")): str(one.get("value")) for one in told or () if isinstance(one, Mapping)}


def _of_errors(
    known: Known, calls: pd.DataFrame, start: datetime, end: datetime, roles: Collection[str]
) -> pd.DataFrame:
    searches = []
    if known.trace:
        searches.append(IssueSearch(start, end, trace=known.trace))
    elif known.request:
        searches.append(IssueSearch(start, end, request=known.request))
    else:
        failed = calls.loc[calls["state"] == "failed", "request_id"]
        searches += [IssueSearch(start, end, request=request) for request in _distinct(failed)[-3:]]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    if not searches and not failures.has_errors():
        failures.issues(IssueSearch(start, end), roles)
    for search in searches:
        for issue in failures.issues(search, roles).head(MOST_ISSUES).itertuples(index=False):
            happened = failures.events(str(issue.issue_id), search, roles)
            for one in happened.itertuples(index=False):
                if (search.request and one.request_id and one.request_id != search.request) or not (
                    start <= one.at < end
                ):
                    continue
                rows[(str(issue.issue_id), str(one.event_id))] = {
                    "at": one.at,
                    "source": "error",
                    "kind": issue.level,
                    "state": "failed",
                    "what": one.title or issue.title,
                    "detail": " · ".join(part for part in (issue.culprit, one.release) if part),
                    "request_id": one.request_id or search.request,
                    "trace_id": one.trace_id or search.trace,
                    "link": ("errors", {"issue": str(issue.issue_id), "event": str(one.event_id)}),
                }
    return _framed(list(rows.values()))


def _of_events(start: datetime, end: datetime) -> pd.DataFrame:
    zone = timezone()
    found = events(start.astimezone(zone).date(), end.astimezone(zone).date())
    told = found[found["kind"].isin(("alert", "incident", "deployment"))]
    # An incident or alert without an end runs still.
    told = told[(told["starts_at"] < end) & (told["ends_at"].isna() | (told["ends_at"] >= start))]
    rows = [
        {
            "at": one.starts_at,
            "until": one.ends_at,
            "source": "incident" if one.kind == "incident" else "alert",
            "kind": one.kind,
            "state": "neutral" if one.kind == "deployment" else "failed",
            "what": one.title,
            "detail": one.source,
            "link": ("events", {}),
        }
        for one in told.itertuples(index=False)
        # A deployment long before explains nothing here.
        if one.kind != "deployment" or one.starts_at >= start
    ]
    frame = _framed(rows)
    frame.attrs["thread_notes"] = found.attrs.get("missing", ())
    return frame


# --- frames -----------------------------------------------------------------------------------------------------------


def _distinct(values: pd.Series[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values if isinstance(value, str) and value))


def _framed(rows: list[dict[Any, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("at", "until"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("us").dt.tz_convert(timezone())
    for name in ("source", "kind", "state", "what", "detail", "request_id", "trace_id", "credit_id", "application_id"):
        frame[name] = frame[name].where(frame[name].notna(), "").astype("str")
    for name in ("duration_ms", "call_id"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("Int64")
    return frame
