"""Ledger against metric: the number and its proof.

    result = reconcile("payments", start, end)
    result.state, result.difference, result.findings

`contracts()` says what is compared, `reconcile_model` how; here the sources are asked. What they say of a window that
is over is kept like every answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from queries.contracts import Contract, contracts
from queries.errors import SourceError
from queries.reconcile_model import Comparison, Finding, State, alone, compare, moment, seconds_of
from queries.sources import Answer, _connected, answer_of, ledger, metrics, timezone

# So much is asked on both sides of the window: what lies at its edges is judged by what lies around.
AROUND = timedelta(minutes=30)
LONGEST = timedelta(days=2)
# Rows are named for so many findings of a result, the largest first, and so many ids of each.
FINDINGS_WITH_ROWS = 12
MOST_ROWS = 200
_WITH_ROWS = {"row_without_metric", "double_count", "late_commit", "wrong_label", "counter_reset", "replica_missing"}


@dataclass(frozen=True)
class Result:
    """A contract's window: both numbers, what may lie between, and what was found.

    `start` and `end` (aware, configured zone) are the window as compared: `asked_end` cut at what both sources know.
    `ledger` is exact (int, or Decimal for MXN; of a gauge the state at the end), `metric` what the samples hold
    between the edges, `difference` metric - ledger, expected between `low` and `high`; None where it is unknown.
    `state`: agrees; explained (by what metrics lose or tell late: resets, gaps, late rows); differs; unknown (a source
    did not answer, which `error` says, or holds nothing of the window). Where one source did not answer, the number of
    the other stands all the same. `parts`, `curve`, `targets` as in `Comparison`.
    """

    contract: Contract
    start: datetime
    end: datetime
    asked_end: datetime
    ledger: int | Decimal | None
    metric: float | None
    difference: float | None
    low: float | None
    high: float | None
    state: State
    parts: pd.DataFrame
    curve: pd.DataFrame
    targets: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    ledger_answer: Answer | None = None
    metric_answer: Answer | None = None
    error: str | None = None
    error_kind: str | None = None

    @property
    def one_sided(self) -> bool:
        """Whether one source did not answer and the other did."""
        return self.error is not None and (self.ledger is not None or self.metric is not None)

    @property
    def share(self) -> float | None:
        """The difference over the ledger's number; None where either is unknown or the ledger has none."""
        return float(self.difference) / float(self.ledger) if self.difference is not None and self.ledger else None

    @property
    def beyond(self) -> float:
        """How far the difference lies outside of what is expected, in the contract's unit; 0 inside."""
        if self.difference is None or self.low is None or self.high is None:
            return 0.0
        return max(self.low - self.difference, self.difference - self.high, 0.0)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Start and end (exclusive) of a business day."""
    zone = timezone()
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


class _Away:
    """The sources that did not answer one of several contracts: the others do not wait for them as well."""

    def __init__(self) -> None:
        self._errors: dict[str, SourceError] = {}

    @contextmanager
    def asking(self, source: str) -> Iterator[None]:
        """Ask a source. Raises SourceError, at once where it was away before."""
        if source in self._errors:
            raise self._errors[source]
        try:
            yield
        except SourceError as error:
            if error.source == source and error.kind in {"down", "timeout"}:
                self._errors[source] = error
            raise


def reconcile(contract: str | Contract, start: datetime, end: datetime) -> Result:
    """Compare both sides of a contract over [start, end), at most two days. Never raises for a source."""
    return _reconcile(contract, start, end, _Away())


def _reconcile(contract: str | Contract, start: datetime, end: datetime, away: _Away) -> Result:
    one = contracts()[contract] if isinstance(contract, str) else contract
    if end - start > LONGEST:
        raise ValueError("a window of reconciliation is at most two days long")
    now = datetime.now(UTC)
    asked_end = end
    errors: list[SourceError] = []
    fresh = now - timedelta(seconds=max(one.freshness.ledger, one.freshness.metric))
    events = samples = up = starts = None
    try:
        with away.asking("ledger"):
            end = min(end, _minute(min(answer_marks(one), fresh)))
            if end <= start:
                return _unknown(one, start, asked_end)
            span = {"start": _minute(start - AROUND), "end": end + AROUND}
            events = ledger(one.ledger.query, {**span, "end": min(end + AROUND, now)})
    except SourceError as error:
        errors.append(error)
        end = min(asked_end, _minute(fresh))
        if end <= start:
            return _unknown(one, start, asked_end, errors)
        span = {"start": _minute(start - AROUND), "end": end + AROUND}
    try:
        with away.asking("metrics"):
            samples = metrics(one.metric.query, span)
            jobs = tuple(sorted(set(samples["job"].dropna()))) if "job" in samples else ()
            up = metrics("reconcile/up", {**span, "jobs": jobs})
            starts = metrics("reconcile/starts", {**span, "jobs": jobs})
    except SourceError as error:
        errors.append(error)
        samples = None
    if events is None and samples is None:
        return _unknown(one, start, asked_end, errors)
    window = {
        "start": start.timestamp(),
        "end": end.timestamp(),
        "interval": _connected().sources.scrape_interval,
    }
    if events is None or samples is None or up is None:
        found = alone(one, events, samples, up, **window)
    else:
        found = compare(one, events, samples, up, starts, **window)
    return _result(one, found, events, asked_end, errors, *map(_answer, (events, samples)))


def _answer(frame: pd.DataFrame | None) -> Answer | None:
    return None if frame is None else answer_of(frame)


def answer_marks(contract: Contract) -> datetime:
    """Up to when the ledger knows everything: the last change that it holds, of whatever relation."""
    frame = ledger("watermark")
    latest = frame["ledger"].iloc[0]
    return latest.to_pydatetime() + timedelta(seconds=1) if not pd.isna(latest) else datetime.min.replace(tzinfo=UTC)


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)


def _unknown(contract: Contract, start: datetime, end: datetime, errors: Sequence[SourceError] = ()) -> Result:
    empty = pd.DataFrame()
    zone = timezone()
    return Result(
        contract, start.astimezone(zone), end.astimezone(zone), end.astimezone(zone),
        None, None, None, None, None, "unknown", empty, empty, empty,
        error=errors[0].sentence if errors else None,
        error_kind=errors[0].kind if errors else None,
    )  # fmt: skip


def _result(
    contract: Contract,
    found: Comparison,
    events: pd.DataFrame | None,
    asked_end: datetime,
    errors: Sequence[SourceError],
    ledger_answer: Answer | None,
    metric_answer: Answer | None,
) -> Result:
    zone = timezone()
    unknown = found.state == "unknown"
    curve = found.curve
    if len(curve):
        curve = curve.assign(minute=curve["minute"].dt.tz_convert(zone))
    return Result(
        contract=contract,
        start=found.start.astimezone(zone),
        end=found.end.astimezone(zone),
        asked_end=asked_end.astimezone(zone),
        ledger=None if events is None else _exact(contract, found, events),
        metric=None if math.isnan(found.metric) else found.metric,
        difference=None if unknown else found.difference,
        low=None if unknown else found.low,
        high=None if unknown else found.high,
        state=found.state,
        parts=found.parts,
        curve=curve,
        targets=found.targets,
        findings=_with_rows(contract, found.findings),
        ledger_answer=ledger_answer,
        metric_answer=metric_answer,
        error=errors[0].sentence if errors else None,
        error_kind=errors[0].kind if errors else None,
    )


def _exact(contract: Contract, found: Comparison, events: pd.DataFrame) -> int | Decimal | None:
    """The ledger's number to the unit and the centavo."""
    at = seconds_of(events["at"]) if len(events) else np.empty(0)
    first = -np.inf if contract.kind == "gauge" else found.start.timestamp()
    inside = events[contract.ledger.value][(at >= first) & (at < found.end.timestamp())]
    if contract.unit == "mxn":
        return Decimal(sum(inside, Decimal(0)))
    return int(inside.sum())


def _with_rows(contract: Contract, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings with the ids of the rows of their minutes and labels."""
    told = list(findings)
    order = sorted(range(len(told)), key=lambda i: -told[i].size)
    for index in [i for i in order if told[i].kind in _WITH_ROWS][:FINDINGS_WITH_ROWS]:
        told[index] = _rows_of(contract, told[index])
    return tuple(told)


def _rows_of(contract: Contract, finding: Finding) -> Finding:
    behind = timedelta(seconds=contract.tolerance.behind + 1)
    span = {"start": finding.start - behind, "end": finding.end + timedelta(seconds=contract.tolerance.ahead)}
    try:
        frame = ledger(contract.ledger.query, {**span, "with_ids": True})
    except SourceError:
        return finding
    if len(frame):
        at = seconds_of(frame["at"])
        keep = np.ones(len(frame), dtype=bool)
        for column, value in finding.labels.items():
            keep &= (frame[column].fillna("") == value).to_numpy()
        if moments := finding.facts.get("at"):
            keep &= np.isin(at, moments) & frame["committed"].notna().to_numpy()
        elif spans := finding.facts.get("spans"):
            earliest, latest = contract.tolerance.behind + 1, contract.tolerance.ahead
            keep &= np.any([(at > a - earliest) & (at <= b + latest) for a, b in spans], axis=0)
        frame = frame[keep]
    ids = [one for text in frame["ids"].dropna() for one in text.split(",")] if len(frame) else []
    found = float(pd.to_numeric(frame[contract.ledger.value]).sum()) if len(frame) else 0.0
    certain = bool(ids) and abs(found - finding.size) < 0.011
    return replace(finding, rows=tuple(ids[:MOST_ROWS]), certain=certain)


def reconcile_all(day: date) -> list[Result]:
    """Every contract over a business day, in the order of the file; each is unknown where a source does not answer."""
    start, end = day_bounds(day)
    away = _Away()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda one: _reconcile(one, start, end, away), contracts().values()))


def daily_differences(contract: str | Contract, days: Iterable[date]) -> pd.DataFrame:
    """The difference of each of these days that is over, cheaply: one question to each source.

    Columns: day (datetime64), ledger, metric, difference, low, high (float64; metric null where the metrics hold nothing
    of the day). The metric is Prometheus's own increase(), so that low and high allow for its extrapolation: what
    happens in a scrape interval at either end, twice. Raises SourceError.
    """  # noqa: E501
    one = contracts()[contract] if isinstance(contract, str) else contract
    today = datetime.now(timezone()).date()
    wanted = tuple(sorted({day for day in days if day < today}))
    if not wanted:
        return pd.DataFrame({name: [] for name in ("day", "ledger", "metric", "difference", "low", "high")})
    ask = {"days": wanted, "day": wanted[0]}
    raw = ledger(one.ledger.days, ask)
    if "dimension" in raw:
        # One of Today's questions: its total, in its first number.
        raw = raw[raw["dimension"] == "all"]
        raw = raw.assign(value=raw[next(c for c in raw.columns if c not in {"day", "dimension", "segment"})])
    shown = metrics(one.metric.days, ask)
    frame = pd.DataFrame({"day": pd.to_datetime(list(wanted)).astype("datetime64[us]")})
    frame["ledger"] = frame["day"].map(pd.to_numeric(raw.set_index("day")["value"]).astype("float64")).fillna(0.0)
    frame["metric"] = frame["day"].map(shown.drop_duplicates("day").set_index("day")["value"])
    frame["difference"] = frame["metric"] - frame["ledger"]
    seconds = 2 * max(_connected().sources.scrape_interval, one.tolerance.refresh) + one.tolerance.behind
    # A busy hour sees about four times the mean.
    share = 4 * seconds / 86400
    frame["high"] = (frame["ledger"] * share).clip(lower=1.0)
    frame["low"] = -frame["high"]
    frame.attrs["answer"] = answer_of(raw)
    return frame


__all__ = ["Finding", "Result", "daily_differences", "day_bounds", "moment", "reconcile", "reconcile_all"]
