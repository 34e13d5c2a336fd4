"""The one door: `connect` once; `ledger(name, params)` and `metrics(name, params)` give frames with their stamp."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from queries.cache import AnswerCache, SourceState
from queries.errors import SourceError
from queries.ledger_client import LedgerClient
from queries.library import Column, Query, Source, find_query
from queries.metrics_client import MetricsClient
from queries.outside import OUTSIDE, Bounds, Outside, OutsideClient, OutsideSource, make_client
from queries.promql_client import PromqlClient
from queries.rollups import RollupStates
from queries.state_client import StateClient


@dataclass(frozen=True)
class Prometheus:
    """Where an engine with the Prometheus HTTP API answers, and how to be let in."""

    url: str
    token: str | None = field(default=None, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True)
class Sources:
    """What is asked, and the bounds of asking; times in seconds."""

    ledger_url: str | None = field(default=None, repr=False)
    prometheus: Prometheus | None = None
    state_url: str | None = field(default=None, repr=False)
    timezone: str = "America/Mexico_City"
    scrape_interval: float = 15.0
    query_timeout: float = 10.0
    connect_timeout: float = 3.0
    grace: float = 600.0
    # No answer counts as fresh for longer than this, whatever its query's head says.
    fresh_for: float = 3600.0
    ledger_connections: int = 6
    prometheus_connections: int = 8
    # Questions of engineers' own (queries/explorer.py): apart, so that they take no place from a page's.
    explorer_connections: int = 2
    state_connections: int = 2
    # What lies in the state database explains pages and makes none: nobody waits long for it.
    state_timeout: float = 2.0
    outside: Outside = field(default_factory=Outside)
    outside_connections: int = 4


@dataclass(frozen=True)
class Answer:
    """The stamp of a frame: who was asked what, when, and how fresh it is.

    `text` is the query as run with its parameters filled in. `as_of` is the moment (aware, configured zone) at which
    the source was asked. `cached`: it came from memory. `stale`: it is older than its time to live. `error`: the
    sentence of the refresh that failed, when the last good answer is shown in its place. `rollups`: the moment (aware)
    up to which the oldest daily table that was read goes; None: from rows alone.
    """

    source: Source | OutsideSource
    name: str
    title: str
    description: str
    text: str
    params: dict[str, Any]
    columns: tuple[Column, ...]
    as_of: datetime
    cached: bool = False
    stale: bool = False
    error: str | None = None
    warnings: tuple[str, ...] = ()
    rollups: datetime | None = None

    def __deepcopy__(self, memo: object) -> Answer:
        # pandas deep-copies `attrs` at every step; the stamp never changes.
        return self


@dataclass(frozen=True)
class _Raw:
    frame: pd.DataFrame
    text: str
    warnings: tuple[str, ...] = ()
    rollups: datetime | None = None


@contextmanager
def _named(query: str) -> Iterator[None]:
    """An error that leaves says which query it was, for whoever reports it."""
    try:
        yield
    except SourceError as error:
        error.query = error.query or query
        raise


def _size(raw: Any) -> int:
    if isinstance(raw, _Raw):
        return int(raw.frame.memory_usage(index=False, deep=True).sum()) + 2048
    return 1024


class _House:
    """The clients of one process, made by `connect`."""

    def __init__(self, sources: Sources, while_waiting: Callable[[], None] | None) -> None:
        self.sources = sources
        self.zone = ZoneInfo(sources.timezone)
        self.while_waiting = while_waiting
        self.cache = AnswerCache(
            {
                "ledger": sources.ledger_connections,
                "metrics": sources.prometheus_connections,
                "explorer": sources.explorer_connections,
                "state": sources.state_connections,
                **dict.fromkeys(OUTSIDE, sources.outside_connections),
            },
            size_of=_size,
        )
        self.ledger: LedgerClient | None = None
        self.metrics: MetricsClient | None = None
        self.promql: PromqlClient | None = None
        self.state: StateClient | None = None
        self._outside: dict[OutsideSource, OutsideClient] = {}
        self._making = threading.Lock()
        if sources.ledger_url:
            self.ledger = LedgerClient(
                sources.ledger_url,
                zone=self.zone,
                connections=sources.ledger_connections,
                query_timeout=sources.query_timeout,
                connect_timeout=sources.connect_timeout,
            )
        if sources.prometheus:
            server: dict[str, Any] = {
                "url": sources.prometheus.url,
                "token": sources.prometheus.token,
                "basic_auth": sources.prometheus.basic_auth,
                "headers": sources.prometheus.headers,
                "ca_file": sources.prometheus.ca_file,
                "zone": self.zone,
                "query_timeout": sources.query_timeout,
                "connect_timeout": sources.connect_timeout,
            }
            self.metrics = MetricsClient(
                **server, scrape_interval=sources.scrape_interval, connections=sources.prometheus_connections
            )
            self.promql = PromqlClient(**server, connections=sources.explorer_connections)

        if sources.state_url:
            self.state = StateClient(
                sources.state_url,
                zone=self.zone,
                connections=sources.state_connections,
                query_timeout=min(sources.state_timeout, sources.query_timeout),
                connect_timeout=sources.connect_timeout,
            )

    def configured(self, source: Source | OutsideSource) -> bool:
        if source in OUTSIDE:
            return self.sources.outside.configured(source)
        return {"ledger": self.ledger, "metrics": self.metrics, "state": self.state}[source] is not None

    def outside(self, source: OutsideSource) -> Any:
        with self._making:
            if source not in self._outside:
                bounds = Bounds(
                    zone=self.zone,
                    query_timeout=self.sources.query_timeout,
                    connect_timeout=self.sources.connect_timeout,
                    connections=self.sources.outside_connections,
                )
                self._outside[source] = make_client(source, self.sources.outside, bounds)
            return self._outside[source]

    def client(self, source: Source) -> LedgerClient | MetricsClient | StateClient:
        client = {"ledger": self.ledger, "metrics": self.metrics, "state": self.state}[source]
        if client is None:
            variable, what = {
                "ledger": ("MIRADOR_LEDGER_URL", "ledger"),
                "metrics": ("MIRADOR_PROMETHEUS_URL", "Prometheus server"),
                "state": ("MIRADOR_STATE_URL", "state database"),
            }[source]
            raise SourceError(f"No {what} is configured: set {variable}.", kind="not_configured", source=source)
        return client

    def ask(
        self, query: Query, params: Mapping[str, Any], deadline: float | None = None, grace: float | None = None
    ) -> pd.DataFrame:
        client = self.client(query.source)
        bound = query.bind(params, {"timezone": self.sources.timezone})

        def ask_source() -> _Raw:
            frame, text, warnings = client.run(query, bound)
            return _Raw(frame, text, warnings, frame.attrs.pop("rollups", None))

        return self.kept(
            ask_source,
            bound,
            source=query.source,
            name=query.name,
            title=query.title,
            description=query.description,
            columns=query.columns,
            ttl=query.ttl,
            deadline=deadline,
            grace=grace,
        )

    def kept(
        self,
        ask: Callable[[], _Raw],
        params: dict[str, Any],
        *,
        source: Source | OutsideSource,
        name: str,
        title: str,
        description: str,
        columns: tuple[Column, ...],
        ttl: float,
        deadline: float | None,
        grace: float | None,
    ) -> pd.DataFrame:
        """The answer of `ask`, kept by source, name and parameters, with its stamp."""
        bounds = self.sources
        with _named(name):
            kept = self.cache.get(
                (source, name, tuple(sorted(params.items()))),
                ask,
                source=source,
                ttl=min(ttl, bounds.fresh_for),
                grace=bounds.grace if grace is None else grace,
                # Room for a place in the pool, a connection and the query itself: the source's own bounds come first.
                deadline=deadline or bounds.query_timeout + bounds.connect_timeout + 1,
                while_waiting=self.while_waiting,
            )
        raw: _Raw = kept.value
        # A shallow copy: the kept frame must not be changed by a page, and pandas copies on write.
        frame = raw.frame.copy(deep=False)
        frame.attrs["answer"] = Answer(
            source=source,
            name=name,
            title=title,
            description=description,
            text=raw.text,
            params=params,
            columns=columns,
            as_of=kept.asked_at.astimezone(self.zone),
            cached=kept.cached,
            stale=kept.stale,
            error=kept.error,
            warnings=raw.warnings,
            rollups=raw.rollups,
        )
        return frame

    def close(self) -> None:
        self.cache.close()
        for client in (self.ledger, self.metrics, self.promql, self.state, *self._outside.values()):
            if client is not None:
                client.close()


_house: _House | None = None
_lock = threading.Lock()


def connect(sources: Sources, while_waiting: Callable[[], None] | None = None) -> None:
    """Name the sources of this process. Opens no connection; called again with the same sources it does nothing.

    `while_waiting` is called about every 25 ms while a caller waits for an answer; it may raise to stop waiting.
    """
    global _house
    with _lock:
        if _house is not None and _house.sources == sources and _house.while_waiting is while_waiting:
            return
        old, _house = _house, _House(sources, while_waiting)
    if old is not None:
        old.close()


def disconnect() -> None:
    """Drop the sources: running questions are cut off, so that the process can end at once."""
    global _house
    with _lock:
        old, _house = _house, None
    if old is not None:
        old.close()


def _connected() -> _House:
    if _house is None:
        raise SourceError("No sources are configured.", kind="not_configured")
    return _house


def ledger(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    deadline: float | None = None,
    grace: float | None = None,
) -> pd.DataFrame:
    """Answer of the ledger query `name` (a path below queries/ledger, without .sql).

    The frame has the columns that the query's head declares: integer -> Int64, numeric -> Decimal (money to the
    centavo), double -> float64, date -> datetime64 at midnight without zone, timestamptz -> configured zone.
    `frame.attrs["answer"]` is its `Answer`. `deadline` bounds this caller's wait in seconds; by default the bounds of
    the source do. `grace`: for how many seconds an answer that is no longer fresh is given while a new one is fetched;
    0 where an old answer would be a wrong one. Raises SourceError.
    """
    return _connected().ask(find_query("ledger", name), params or {}, deadline, grace)


def metrics(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    deadline: float | None = None,
    grace: float | None = None,
) -> pd.DataFrame:
    """Answer of the PromQL query `name` (a path below queries/metrics, without .promql).

    Columns: the labels as text, `value` as float64, and `time` (configured zone) for a range query or `day`
    (datetime64 at midnight) for a days query. `frame.attrs["answer"]` is its `Answer`. `deadline` and `grace` as for
    `ledger`. Raises SourceError.
    """
    return _connected().ask(find_query("metrics", name), params or {}, deadline, grace)


def state(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    deadline: float | None = None,
    grace: float | None = None,
) -> pd.DataFrame:
    """Answer of the query `name` to Mirador's own database (a path below queries/state, without .sql).

    Columns as for `ledger`; a short deadline of its own, for no page hangs on what lies here. `grace` as for `ledger`.
    Raises SourceError.
    """
    house = _connected()
    return house.ask(find_query("state", name), params or {}, deadline or house.sources.state_timeout, grace)


def outside(
    source: OutsideSource,
    name: str,
    params: Mapping[str, Any],
    ask: Callable[[Any], pd.DataFrame],
    *,
    title: str,
    text: str = "",
    description: str = "",
    columns: tuple[Column, ...] = (),
    ttl: float = 15.0,
    deadline: float | None = None,
    grace: float | None = None,
) -> pd.DataFrame:
    """The frame that `ask(client)` gives, kept and stamped like the answer of a query file.

    `name` and `params` (hashable values) are what the answer is known by; `text` is the question as it is sent, for the
    panel's menu; the client may put a better one into `frame.attrs["text"]`, and warnings into `"warnings"`.
    `ttl` and `deadline` are seconds, `grace` as for `ledger`. Raises SourceError.
    """
    house = _connected()

    def ask_source() -> _Raw:
        frame = ask(house.outside(source))
        return _Raw(frame, frame.attrs.pop("text", text), tuple(frame.attrs.pop("warnings", ())))

    # A source that nobody has configured is no failure of it: told at once, and not counted.
    if not house.configured(source):
        house.outside(source)
    return house.kept(
        ask_source,
        dict(params),
        source=source,
        name=name,
        title=title,
        description=description,
        columns=columns,
        ttl=ttl,
        deadline=deadline,
        grace=grace,
    )


def outside_client(source: OutsideSource) -> Any:
    """The client itself, for what is not kept: writing, and answers that come in pieces. Raises SourceError."""
    return _connected().outside(source)


def is_configured(source: Source | OutsideSource) -> bool:
    """Whether the settings name this source."""
    return _house is not None and _house.configured(source)


def forget(source: Source | OutsideSource) -> None:
    """Drop what is remembered of a source, after something was written to it."""
    _connected().cache.forget(source)


def answer_of(frame: pd.DataFrame) -> Answer:
    """The stamp of a frame that `ledger` or `metrics` gave."""
    answer = frame.attrs["answer"]
    assert isinstance(answer, Answer)
    return answer


def source_states() -> dict[str, SourceState]:
    """What the last questions told of each configured source; a source that is not configured is left out."""
    house = _connected()
    return {
        name: state
        for name, state in house.cache.states.items()
        # The explorer asks the metrics: what an engineer tries there says nothing of their state.
        if name != "explorer" and house.configured(name)  # type: ignore[arg-type]
    }


def rollup_states(*, deadline: float | None = None) -> RollupStates:
    """Whether pages read the daily tables or the rows, why, and how far each table goes. Raises SourceError.

    With `deadline` nobody waits for longer than these seconds: what was last known is given while a question hangs.
    """
    house = _connected()
    client = house.client("ledger")
    assert isinstance(client, LedgerClient)
    if deadline is None:
        return client.rollup_states()
    kept = house.cache.get(
        ("rollup states",),
        client.rollup_states,
        source="ledger",
        ttl=5.0,
        grace=house.sources.grace,
        deadline=deadline,
        while_waiting=house.while_waiting,
    )
    states = kept.value
    assert isinstance(states, RollupStates)
    return states


def probe(source: Source | OutsideSource, timeout: float = 1.0) -> float:
    """Ask a source the smallest question, past the cache, and give its seconds. Raises SourceError."""
    house = _connected()
    client: Any = house.outside(source) if source in OUTSIDE else house.client(source)  # type: ignore[arg-type]
    kept = house.cache.get(
        ("probe", source), client.ping, source=source, ttl=2.0, grace=0.0, deadline=timeout, while_waiting=None
    )
    return float(kept.value) if kept.error is None else _fail(source, kept.error)


def _fail(source: str, sentence: str) -> float:
    raise SourceError(sentence, kind="down", source=source)


def counts() -> Counter[tuple[str, str]]:
    """How often, by (source, outcome): hit, miss, stale, last_good and failure:<kind>, since `connect`."""
    return _connected().cache.counts.copy()


def timezone() -> ZoneInfo:
    """The zone whose days are business days."""
    return _connected().zone
