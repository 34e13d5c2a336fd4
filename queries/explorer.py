"""The metrics explorer: an engineer's own PromQL, the one place where a viewer's text becomes a question.

    frame = ask(question("rate(up[5m])", "range", start, end), roles=roles, asker=viewer.id)
    summary(frame), drawn(frame)

Whoever asks says the roles of his viewer: the right is checked here, where the data is asked for. An asker has one
question in flight at a time, those who ask the same share one, and all of them use places of their own, so that no page
waits for them. See docs/decisions/0002-explorer.md.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
import yaml

from queries.errors import SourceError
from queries.integrations import with_gaps
from queries.library import Column
from queries.metrics_client import step_for, window_for
from queries.promql_client import LABEL, METRIC, PromqlClient, PromqlError, exported
from queries.rights import explorer_only
from queries.sources import Answer, _connected, _House, _Raw

__all__ = ["PromqlError", "Question", "ask", "drawn", "question", "summary"]

Kind = Literal["range", "instant"]
KINDS: tuple[Kind, ...] = ("range", "instant")
MOST_QUESTIONS = 8
MAX_LENGTH = 4_000
# Links that are longer are cut off by chats, mail programs and proxies.
MAX_URL = 6_000
STEPS = (15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
MOST_LINES, MOST_MARKS = 10, 20_000
# Prometheus takes a series for gone after this: between samples as they were scraped, a longer way is a gap.
STALENESS = 300
# Those who ask within the same seconds are answered by one question.
SHARED_SECONDS = 10
KEPT_SECONDS = 300.0
COMPLETION_TTL = 60.0
COMPLETION_WAIT = 4.0
READY = Path(__file__).with_name("ready_questions.yaml")

TITLE = "Metrics explorer"
DESCRIPTION = "An engineer's own question in PromQL."

# --- the language -----------------------------------------------------------------------------------------------------

AGGREGATIONS = (
    "sum by (label) (vector)",
    "avg by (label) (vector)",
    "min by (label) (vector)",
    "max by (label) (vector)",
    "count by (label) (vector)",
    "count_values(label, vector)",
    "group by (label) (vector)",
    "stddev by (label) (vector)",
    "stdvar by (label) (vector)",
    "topk(k, vector)",
    "bottomk(k, vector)",
    "quantile(φ, vector)",
)
FUNCTIONS = (
    *("abs(vector)", "absent(vector)", "absent_over_time(range)", "ceil(vector)", "changes(range)"),
    *("clamp(vector, min, max)", "clamp_max(vector, max)", "clamp_min(vector, min)"),
    *("day_of_month(vector)", "day_of_week(vector)", "day_of_year(vector)", "days_in_month(vector)"),
    *("delta(range)", "deriv(range)", "exp(vector)", "floor(vector)", "hour(vector)"),
    *("histogram_quantile(φ, vector by le)", "holt_winters(range, sf, tf)", "idelta(range)", "increase(range)"),
    *("irate(range)", "label_join(vector, to, separator, from…)", "label_replace(vector, to, text, from, regex)"),
    *("ln(vector)", "log2(vector)", "log10(vector)", "minute(vector)", "month(vector)"),
    *("predict_linear(range, seconds)", "rate(range)", "resets(range)", "round(vector, nearest)", "scalar(vector)"),
    *("sgn(vector)", "sort(vector)", "sort_desc(vector)", "sqrt(vector)", "time()", "timestamp(vector)"),
    *("vector(scalar)", "year(vector)", "avg_over_time(range)", "min_over_time(range)", "max_over_time(range)"),
    *("sum_over_time(range)", "count_over_time(range)", "quantile_over_time(φ, range)", "stddev_over_time(range)"),
    *("stdvar_over_time(range)", "last_over_time(range)", "present_over_time(range)"),
)
KEYWORDS = ("by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset")
DURATIONS = ("1m", "5m", "15m", "30m", "1h", "6h", "1d", "7d", "$__rate_interval", "$__interval", "$__range")


def cleaned(text: str) -> str:
    """The text as it is asked and shared: lines end as everywhere, and what no link can carry is taken out."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return plain.encode("utf-8", "ignore").decode().strip()


def check(text: str) -> None:
    """Raises PromqlError for a question that is too long to be asked."""
    if len(text) > MAX_LENGTH:
        raise PromqlError(
            "This question has {length} characters, more than {most}: split it into several.",
            kind="too_large",
            length=f"{len(text):,}",
            most=f"{MAX_LENGTH:,}",
        )


# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """An expression over `start` to `end` every `step` seconds, or at `end` (`instant`). Moments are aware.

    `asked`: the moment at which it was asked, cut to a few seconds; asked again later it is answered anew.
    """

    text: str
    kind: Kind
    start: datetime
    end: datetime
    step: int
    asked: int = 0


def question(
    text: str,
    kind: Kind,
    start: datetime,
    end: datetime,
    step: int | None = None,
    *,
    scrape_interval: float = 15.0,
    asked: datetime | None = None,
) -> Question:
    """The question; without a step that which gives some 240 points, never under the scrape interval."""
    chosen = step or step_for(end - start, scrape_interval)
    moment = 0 if asked is None else int(asked.timestamp()) // SHARED_SECONDS * SHARED_SECONDS
    return Question(cleaned(text), kind, start, end, chosen, moment)


def filled(one: Question, scrape_interval: float = 15.0) -> str:
    """The text with Grafana's variables as durations: `$__rate_interval`, `$__interval` and `$__range`.

    A rate window of `$__rate_interval` covers the step, so that no sample between two points is skipped.
    """
    step = one.step if one.kind == "range" else 0
    window = max(window_for(step, scrape_interval), 300 if one.kind == "instant" else 0)
    length = max(int((one.end - one.start).total_seconds()), 60)
    text = one.text
    for name, seconds in (("rate_interval", window), ("interval", max(one.step, 1)), ("range", length)):
        text = text.replace(f"$__{name}", f"{seconds}s").replace(f"${{__{name}}}", f"{seconds}s")
    return text


def ask(
    one: Question, *, roles: Collection[str], asker: str, deadline: float | None = None, turn: float | None = None
) -> pd.DataFrame:
    """The answer, with its stamp as every answer has it.

    Columns: the labels as text (null where a series has none; the metric's name is `__name__`), `time` (configured
    zone), `value` (float64; a text for a string). `attrs["kind"]` is matrix, vector, scalar or string,
    `attrs["lengths"]` the rows of each series in order, `attrs["labels"]` the label columns.

    `asker` names who asks, for he has one question in flight at a time; `turn` bounds the wait for his others and
    `deadline` that for the answer, in seconds. Raises PromqlError for what was asked, SourceError for who was asked.
    """
    explorer_only(roles)
    check(one.text)
    house = _connected()
    client = _client(house)
    bounds = house.sources
    text = filled(one, bounds.scrape_interval)

    def ask_source() -> _Raw:
        if one.kind == "instant":
            frame = client.query(text, one.end)
        else:
            first, last = (math.floor(each.timestamp() / one.step) * one.step for each in (one.start, one.end))
            frame = client.query_range(text, first, last, one.step)
        return _Raw(frame, text, frame.attrs.pop("warnings"))

    wait = deadline or bounds.query_timeout + bounds.connect_timeout + 2
    with _turn(asker, turn or 3 * wait, house.while_waiting) as in_flight:
        kept = house.cache.get(
            ("explorer", "question", one.kind, text, one.start, one.end, one.step, one.asked),
            in_flight(ask_source),
            source="explorer",
            ttl=min(KEPT_SECONDS, bounds.fresh_for),
            grace=0.0,
            deadline=wait,
            while_waiting=house.while_waiting,
        )
    raw: _Raw = kept.value
    frame = raw.frame.copy(deep=False)
    params = {"kind": one.kind, "start": one.start, "end": one.end, "step": one.step}
    frame.attrs["answer"] = Answer(
        source="metrics",
        name="explorer",
        title=TITLE,
        description=DESCRIPTION,
        text=raw.text,
        params=params,
        columns=_columns(frame),
        as_of=kept.asked_at.astimezone(house.zone),
        cached=kept.cached,
        stale=kept.stale,
        error=kept.error,
        warnings=raw.warnings,
    )
    return frame


def _columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    return (
        *(Column(name, "text", "", "Label") for name in frame.attrs["labels"]),
        Column("time", "timestamptz", "", "Moment of the value"),
        Column("value", "double", "", "Value of the series at this moment"),
    )


def _client(house: _House) -> PromqlClient:
    house.client("metrics")
    assert house.promql is not None
    return house.promql


# --- one at a time ----------------------------------------------------------------------------------------------------

_turns: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()
_turns_lock = threading.Lock()
_POLL = 0.025


@contextmanager
def _turn(
    asker: str, wait: float, while_waiting: Callable[[], None] | None
) -> Iterator[Callable[[Callable[[], _Raw]], Callable[[], _Raw]]]:
    """Wait until none of his other questions is in flight. Gives what marks the question that is then asked.

    Who leaves before his answer is there has left a question in flight: his turn ends when that does.
    """
    with _turns_lock:
        mine = _turns.setdefault(asker, threading.Semaphore())
    until = time.monotonic() + wait
    while not mine.acquire(timeout=_POLL):
        if time.monotonic() > until:
            raise PromqlError(
                "Your other questions are still being answered: this one waits for its turn. Try again in a moment.",
                kind="timeout",
            )
        if while_waiting:
            while_waiting()
    lock = threading.Lock()
    flying, left = False, False

    def marked(ask_source: Callable[[], _Raw]) -> Callable[[], _Raw]:
        def run() -> _Raw:
            nonlocal flying
            with lock:
                mine_still = not left
                flying = mine_still
            try:
                return ask_source()
            finally:
                with lock:
                    flying = False
                    if mine_still and left:
                        mine.release()

        return run

    try:
        yield marked
    finally:
        with lock:
            left = True
            if not flying:
                mine.release()


# --- what is shown ----------------------------------------------------------------------------------------------------


def _series(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each series."""
    ends = np.cumsum(frame.attrs["lengths"], dtype="int64").tolist()
    return [frame.iloc[end - length : end] for end, length in zip(ends, frame.attrs["lengths"], strict=True)]


def legends(frame: pd.DataFrame) -> list[str]:
    """A name for each series: its metric and the labels in which it differs from the others.

    A series that is alone has all its labels, one without any the empty name.
    """
    names = [name for name in frame.attrs["labels"] if name != "__name__"]
    heads = [part.iloc[0] if len(part) else None for part in _series(frame)]
    told = [{} if head is None else {name: head[name] for name in names if pd.notna(head[name])} for head in heads]
    metrics = [
        "" if head is None or "__name__" not in frame or pd.isna(head["__name__"]) else str(head["__name__"])
        for head in heads
    ]
    differing = [name for name in names if len(told) == 1 or len({one.get(name) for one in told}) > 1]
    made = []
    for metric, labels in zip(metrics, told, strict=True):
        inner = ", ".join(f'{name}="{labels[name]}"' for name in differing if name in labels)
        shown = metric if len(set(metrics)) > 1 or len(told) == 1 or not differing else ""
        made.append(f"{shown}{{{inner}}}" if inner else shown)
    return made


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a series: its labels, then `latest`, `at` (its moment), `min`, `max`, `mean` and `points`.

    NaN is no value here; infinities are. A label of such a name has Prometheus's prefix `exported_`.
    """
    own = ("latest", "at", "min", "max", "mean", "points")
    labels = {name: exported(name, own) for name in frame.attrs["labels"]}
    rows = []
    for part in _series(frame):
        values = part["value"].to_numpy(dtype="float64")
        there = ~np.isnan(values)
        known = values[there]
        row: dict[str, Any] = {shown: part[name].iloc[0] if len(part) else None for name, shown in labels.items()}
        with np.errstate(invalid="ignore"):
            row |= {
                "latest": known[-1] if len(known) else math.nan,
                "at": part["time"][there].iloc[-1] if len(known) else pd.NaT,
                "min": known.min() if len(known) else math.nan,
                "max": known.max() if len(known) else math.nan,
                "mean": known.mean() if len(known) else math.nan,
                "points": len(known),
            }
        rows.append(row)
    made = pd.DataFrame(rows, columns=[*labels.values(), *own])
    made.attrs = dict(frame.attrs)
    return made


@dataclass(frozen=True)
class Drawn:
    """What a chart shows of an answer: `frame` has time, value and series (a name); `shown` of `series` are in it.

    `level`: the values hardly differ, so that an axis which begins at nothing tells more than one that magnifies.
    """

    frame: pd.DataFrame
    shown: int
    series: int
    infinite: int
    level: bool


def drawn(frame: pd.DataFrame, one: Question, *, most: int = MOST_LINES) -> Drawn:
    """The series with the greatest means, as many as can be read, with a missing value in each gap.

    Over time the whole period is there, whatever part of it has values. Between samples as they were scraped (a range
    vector at one moment) a gap is what Prometheus takes for one. Infinite values cannot be drawn: they are gaps, and
    counted.
    """
    parts = _series(frame)
    names = legends(frame)
    longest = max(frame.attrs["lengths"], default=1)
    room = max(min(most, MOST_MARKS // max(longest, 1)), 1)
    over_time = one.kind == "range"
    step = pd.Timedelta(seconds=one.step if over_time else STALENESS / 1.5)

    def size(place: int) -> float:
        values = np.abs(parts[place]["value"].to_numpy(dtype="float64"))
        values = values[np.isfinite(values)]
        return -float(values.mean()) if len(values) else math.inf

    chosen = sorted(sorted(range(len(parts)), key=size)[:room])
    made = []
    infinite = 0
    for place in chosen:
        values = parts[place]["value"].to_numpy(dtype="float64")
        infinite += int(np.isinf(values).sum())
        of_one = pd.DataFrame({"time": parts[place]["time"], "value": np.where(np.isinf(values), np.nan, values)})
        of_one["series"] = names[place]
        made.append(with_gaps(of_one, step=step))
    whole = pd.concat(made, ignore_index=True) if made else pd.DataFrame({"time": [], "value": [], "series": []})
    if over_time and made:
        first, last = (pd.Timestamp(each).tz_convert(whole["time"].dt.tz).floor(step) for each in (one.start, one.end))
        edges = [edge for edge in (first, last) if not whole["time"].between(edge - step, edge + step).any()]
        bare = pd.DataFrame({"time": edges, "value": math.nan, "series": names[chosen[0]]})
        whole = pd.concat([whole, bare.astype(whole.dtypes.to_dict())], ignore_index=True) if edges else whole
    whole.attrs = dict(frame.attrs)
    known = whole["value"].dropna()
    level = not known.empty and known.min() >= 0 and bool(known.max() - known.min() <= 0.02 * known.max())
    return Drawn(whole, len(chosen), len(parts), infinite, level)


def shown_at(text: str, at: tuple[int, int] | None) -> str:
    """The question with a mark under the place that an error names; without one as it is."""
    if at is None:
        return text
    lines = text.split("\n")
    # A tab is as wide as in the line above.
    before = "".join("\t" if sign == "\t" else " " for sign in lines[at[0] - 1][: at[1] - 1])
    return "\n".join([*lines[: at[0]], f"{before}▲", *lines[at[0] :]])


# --- completion -------------------------------------------------------------------------------------------------------


def language() -> dict[str, list[dict[str, str]] | list[str]]:
    """What PromQL itself has to complete: aggregations and functions with their signatures, keywords, durations."""
    return {
        "functions": [
            *({"name": _name(one), "kind": "aggregation", "help": one} for one in AGGREGATIONS),
            *({"name": _name(one), "kind": "function", "help": one} for one in FUNCTIONS),
        ],
        "keywords": list(KEYWORDS),
        "durations": list(DURATIONS),
    }


def _name(signature: str) -> str:
    return signature.partition("(")[0].partition(" ")[0]


def metric_names(roles: Collection[str]) -> pd.DataFrame:
    """Metrics in order: `name`, `type` and `help` (empty where unknown). `attrs["more"]`: whether some were left out.

    Raises SourceError.
    """

    def look(client: PromqlClient) -> pd.DataFrame:
        found, more = client.names()
        frame = pd.DataFrame(found, columns=["name", "type", "help"], dtype="str")
        frame.attrs["more"] = more
        return frame

    return _completion(roles, ("names",), look)


def label_names(metric: str | None, roles: Collection[str]) -> list[str]:
    """The labels of a metric, or of all, in order. Raises SourceError."""
    known = metric if metric and METRIC.fullmatch(metric) else None
    frame = _completion(roles, ("labels", known), lambda client: pd.DataFrame({"name": client.label_names(known)}))
    return [str(name) for name in frame["name"]]


def label_values(label: str, metric: str | None, roles: Collection[str]) -> list[str]:
    """The values of a label, of one metric or of all, in order. Raises SourceError."""
    if not LABEL.fullmatch(label):
        return []
    known = metric if metric and METRIC.fullmatch(metric) else None
    frame = _completion(
        roles, ("values", label, known), lambda client: pd.DataFrame({"value": client.label_values(label, known)})
    )
    return [str(value) for value in frame["value"]]


def _completion(
    roles: Collection[str], key: tuple[Any, ...], look: Callable[[PromqlClient], pd.DataFrame]
) -> pd.DataFrame:
    explorer_only(roles)
    house = _connected()
    client = _client(house)
    kept = house.cache.get(
        ("explorer", "completion", *key),
        lambda: _Raw(look(client), ""),
        source="explorer",
        ttl=COMPLETION_TTL,
        grace=house.sources.grace,
        deadline=COMPLETION_WAIT,
        while_waiting=house.while_waiting,
    )
    frame: pd.DataFrame = kept.value.frame
    return frame


# --- links ------------------------------------------------------------------------------------------------------------


def read_texts(texts: Sequence[str]) -> list[str]:
    """The questions of a link. A ValueError names in a few words what cannot be."""
    found = [text for text in (cleaned(text) for text in texts) if text]
    if len(found) > MOST_QUESTIONS:
        raise ValueError(f"{len(found)} > {MOST_QUESTIONS}")
    for text in found:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"{len(text)} > {MAX_LENGTH}")
    return found


def link(base: str, params: Sequence[tuple[str, str]]) -> str:
    """The address with these parameters. Raises PromqlError where it would be longer than a link may be."""
    made = f"{base}?{urlencode(params)}"
    if len(made) > MAX_URL:
        raise PromqlError(
            "These questions are too long for a link ({length} characters, more than {most}): remove one or shorten "
            "them.",
            kind="too_large",
            length=f"{len(made):,}",
            most=f"{MAX_URL:,}",
        )
    return made


# --- the seed's ready questions ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """A question that stands ready: `title` and `group` by language (en, es), `unit` as charts know it."""

    name: str
    text: str
    title: dict[str, str]
    group: dict[str, str]
    unit: str
    kind: Kind


@cache
def ready_questions() -> dict[str, Ready]:
    """The questions of the seed's dashboards and rules, corrected, by name. Raises ValueError for a broken file."""
    told = yaml.safe_load(READY.read_text(encoding="utf-8"))
    made: dict[str, Ready] = {}
    for part in told:
        for one in part["questions"]:
            if one["name"] in made or one.get("kind", "range") not in KINDS:
                raise ValueError(f"{READY.name}: {one['name']} stands twice or has no such kind")
            made[one["name"]] = Ready(
                one["name"],
                cleaned(one["promql"]),
                {code: one["title"][code] for code in ("en", "es")},
                {code: part["group"][code] for code in ("en", "es")},
                one["unit"],
                one.get("kind", "range"),
            )
    return made


def ready_of(text: str) -> Ready | None:
    """The ready question with exactly this text."""
    return next((one for one in ready_questions().values() if one.text == text), None)


def unit_of(text: str) -> str:
    """The unit that is certain from the text: of a ready question, or of a quantile of seconds; else 'value'."""
    ready = ready_of(text)
    if ready is not None:
        return ready.unit
    # What leaves the quantile of nothing out, as the ready questions do, changes no unit.
    bare = "".join(text.split()).removesuffix(">=0")
    if bare.startswith("histogram_quantile(") and "_seconds_bucket" in bare and _closes_last(bare):
        return "s"
    return "value"


def _closes_last(text: str) -> bool:
    """Whether the first parenthesis is closed by the last sign, so that nothing is done with what the call gives."""
    depth, quote = 0, ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'`":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                return place == len(text) - 1
    return False


def no_source() -> SourceError | None:
    """Why nothing can be asked at all: the sentence of a source that is not configured, or None."""
    try:
        _connected().client("metrics")
    except SourceError as error:
        return error
    return None


def scrape_interval() -> float:
    """Seconds between two scrapes, as configured."""
    return _connected().sources.scrape_interval
