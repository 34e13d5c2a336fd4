"""What is known of every source now: whether it answers, how fast, how old its data is, what it said last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd

from queries import sources
from queries.cache import RETRY_SECONDS, SourceState
from queries.errors import SourceError
from queries.outside import OUTSIDE

EVERY: tuple[str, ...] = ("ledger", "metrics", "state", *OUTSIDE)
State = Literal["ok", "slow", "down", "not_configured"]
# An answer to the smallest question that takes longer is told.
SLOW_SECONDS = 0.5


def source_report(timeout: float = 1.0) -> pd.DataFrame:
    """A row is one source; all are asked at once, each for at most `timeout` seconds. Raises nothing.

    Columns: source; state (ok, slow, down, not_configured); latency (s, of the smallest question); last_success and
    last_failure (moment that a question was answered or failed, configured zone); data_as_of (moment of the newest data
    in it, where it is known); said (its last error, or what is to be configured, else empty); circuit (closed:
    questions go through; open: the last one failed and is not sent again for two seconds; half_open: it failed, and the
    next one is sent; empty: not configured); in_flight (questions that wait for it); hits, misses, stale, failed
    (questions since the start, by how they were answered).
    """
    with ThreadPoolExecutor(len(EVERY), thread_name_prefix="mirador-report") as pool:
        rows = list(pool.map(lambda name: _row(name, timeout), EVERY))
    frame = pd.DataFrame(rows)
    for column in ("last_success", "last_failure", "data_as_of"):
        frame[column] = pd.to_datetime(frame[column], utc=True).dt.tz_convert(sources.timezone())
    for column in ("in_flight", "hits", "misses", "stale", "failed"):
        frame[column] = frame[column].astype("Int64")
    frame["latency"] = frame["latency"].astype("float64")
    return frame


def _row(name: str, timeout: float) -> dict[str, Any]:
    latency, said, state = _probe(name, timeout)
    known = sources.source_states().get(name) or SourceState(name)
    data_as_of = None
    if state in {"ok", "slow"} and name in _NEWEST:
        with contextlib.suppress(SourceError):
            data_as_of = _NEWEST[name]()
    counts = sources.counts()
    return {
        "source": name,
        "state": state,
        "latency": latency,
        "last_success": known.last_success,
        "last_failure": known.last_failure,
        "data_as_of": data_as_of,
        "said": said or (known.last_error if known.up is False else None) or "",
        "circuit": "" if state == "not_configured" else _circuit(known),
        "in_flight": known.in_flight,
        "hits": counts[(name, "hit")],
        "misses": counts[(name, "miss")],
        "stale": counts[(name, "stale")] + counts[(name, "last_good")],
        "failed": sum(n for (one, outcome), n in counts.items() if one == name and outcome.startswith("failure:")),
    }


def _probe(name: str, timeout: float) -> tuple[float | None, str | None, State]:
    try:
        latency = sources.probe(name, timeout)  # type: ignore[arg-type]
    except SourceError as error:
        return None, error.sentence, "not_configured" if error.kind == "not_configured" else "down"
    return latency, None, "slow" if latency > SLOW_SECONDS else "ok"


def _circuit(known: SourceState) -> str:
    if known.up is not False or known.last_failure is None:
        return "closed"
    since = (datetime.now(UTC) - known.last_failure).total_seconds()
    return "open" if since < RETRY_SECONDS else "half_open"


def _newest_in_ledger() -> datetime | None:
    moment = sources.ledger("watermark", deadline=2.0)["ledger"].iloc[0]
    return None if pd.isna(moment) else moment.to_pydatetime()


def _newest_in_metrics() -> datetime | None:
    values = sources.metrics("sources/newest_sample", deadline=2.0)["value"].dropna()
    return None if values.empty else datetime.fromtimestamp(float(values.iloc[0]), UTC)


_NEWEST: dict[str, Callable[[], datetime | None]] = {"ledger": _newest_in_ledger, "metrics": _newest_in_metrics}
