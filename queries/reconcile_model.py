"""What may lie between a ledger and a metric, and what the difference beyond it means. Pure functions on frames.

The ledger gives each event with its second. A scrape gives what a process had counted by then, so that between two
scrapes the metric is known only to lie between their values; the sum over the targets of a job lies between the sums.
For each label, the difference D(t) = metric - ledger therefore lies in a tube, whose walls are known at every scrape:

    sum of the last values <= t  -  events up to t + ahead   <=  D(t)  <=  sum of the next values >= t  -  events up to
                                                                            t - behind

Where the two agree, D is constant, and a constant fits through the tube. A finding is made only where none does: D then
is the path through the tube that moves least (each step at the last moment and as small as the walls allow; of all
paths it has the least total variation). So a difference that scraping can explain is never a finding, and a finding is
never larger than what is proven. What a step means is read from what stands beside it: a restart, a target that went,
a row written later, another label that moved the other way, a time by which steps are apart.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from queries.contracts import Contract

Array = np.ndarray[Any, Any]
Kind = Literal[
    "counter_reset",
    "scrape_gap",
    "replica_missing",
    "counted_twice",
    "row_without_metric",
    "metric_without_row",
    "double_count",
    "wrong_label",
    "clock_skew",
    "late_commit",
]
State = Literal["agrees", "explained", "differs", "unknown"]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
# What the metrics lose or tell later by their nature: it explains a difference and is nobody's fault.
EXPLAINED: frozenset[Kind] = frozenset({"counter_reset", "scrape_gap", "late_commit"})
# Labels by which Prometheus and its relatives tell targets and replicas apart.
TARGET_LABELS = ("job", "instance", "pod", "replica", "prometheus", "prometheus_replica", "cluster")
# Scrapes that must be missing in a row before it is a gap: one or two are lost everywhere now and then.
MISSED = 3.5
# Two steps of a kind that are further apart than this are two findings.
APART = 30 * 60.0
# A clock is looked for within this many seconds, and a row's commit within as many after its event.
LAG = 900.0
LATE = 10.0
LATEST = 2 * 3600.0
# Natural logarithm of how much likelier one story must be than another before it is told.
SURE = 2.0
SURE_OF_TWICE = 4.0
SURE_OF_BURST = 10.0
# A clock is not blamed for fewer events than this.
MOST_BY_CHANCE = 8.0


@dataclass(frozen=True)
class Finding:
    """Something outside the expected difference, with what proves it.

    `amount` is how much of the window's difference (metric - ledger, in the contract's unit) it makes up, and `size`
    how much it touches: what was only moved in time or to another label adds nothing to the sum. It arose between
    `start` and `end` (aware, UTC) at `labels` (ledger column -> value; empty: several or none) on `instances`. `rows`
    are the ids of the rows that can be meant; `certain`: they are exactly those. `facts` holds what the class adds:
    `lag` (s; how much later the metric tells than the ledger), `share` (of all events, not scraped), `to` (labels),
    `missed` (scrapes), `spans` (pairs of seconds since 1970 between which each step arose), `at` (seconds at which the
    late rows happened).
    """

    kind: Kind
    start: datetime
    end: datetime
    amount: float
    size: float
    labels: dict[str, str] = field(default_factory=dict)
    instances: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    certain: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Both numbers of a window, what may lie between them, and what was found.

    `difference` is metric - ledger; it is expected between `low` and `high`. `parts` has a row a label: the ledger's
    label columns, ledger, metric, difference, low, high (float64). `curve` has a row a minute: minute (UTC), ledger,
    metric (of that minute), difference (summed up since the start), low and high (the tube). `targets` has a row a
    scraped target: instance, scrapes, missed, restarts, begins, ends (UTC or null).
    """

    start: datetime
    end: datetime
    ledger: float
    metric: float
    difference: float
    low: float
    high: float
    state: State
    parts: pd.DataFrame
    curve: pd.DataFrame
    targets: pd.DataFrame
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Step:
    """D of a label moved by `size` after `a` and by `b` (seconds since 1970)."""

    label: int
    a: float
    b: float
    size: float


@dataclass(frozen=True)
class _Away:
    """A process that counts and is not scraped: since and until when, its share of all, name and labels where known."""

    since: float
    until: float
    share: float
    instance: str = ""
    labels: frozenset[int] | None = None


@dataclass
class _Target:
    """One scraped process: when it was scraped, and what it had counted since the first scrape, by label."""

    name: dict[str, str]
    times: Array
    counted: dict[int, Array]
    restarts: list[tuple[float, float]]
    gaps: list[tuple[float, float, int]]
    appears: bool
    vanishes: bool
    spacing: float
    raw: dict[int, Array] = field(default_factory=dict)
    # When it was scraped, and when the process that answered was started; empty where it does not tell.
    began: tuple[Array, Array] = field(default_factory=lambda: (np.empty(0), np.empty(0)))

    @property
    def instance(self) -> str:
        return self.name.get("instance") or "/".join(self.name.values()) or "?"

    def bounds(self, label: int, at: Array) -> tuple[Array, Array]:
        """The least and the most that it can have counted by each moment."""
        counted = self.counted.get(label)
        if counted is None:
            return np.zeros(len(at)), np.zeros(len(at))
        before = np.searchsorted(self.times, at, "right") - 1
        after = np.searchsorted(self.times, at, "left")
        low = np.where(before >= 0, counted[np.maximum(before, 0)], 0.0)
        beyond = counted[-1] if self.vanishes else np.inf
        high = np.where(after < len(counted), counted[np.minimum(after, len(counted) - 1)], beyond)
        return low, high

    def near(self, at: float) -> float:
        """The time between its scrapes around a moment: it may change within a day."""
        place = int(np.searchsorted(self.times, at))
        steps = np.diff(self.times[max(place - 12, 0) : place + 12])
        return float(np.median(steps)) if len(steps) > 2 else self.spacing

    def at_first(self, label: int) -> float:
        """What its counter showed when it was first scraped."""
        values = self.raw.get(label)
        return 0.0 if values is None else float(values[0])

    def about(self, label: int, at: Array) -> Array:
        """What it had counted by each moment, in a straight line between two scrapes."""
        counted = self.counted.get(label)
        return np.zeros(len(at)) if counted is None else np.interp(at, self.times, counted)


@dataclass
class _Events:
    """The ledger's events by label, in order of time. `value` is what the contract compares."""

    at: Array
    committed: Array
    label: Array
    value: Array

    def of(self, label: int) -> tuple[Array, Array]:
        """Moments and running total of a label."""
        mine = self.label == label
        at, value = self.at[mine], self.value[mine]
        order = np.argsort(at, kind="stable")
        return at[order], np.concatenate([[0.0], np.cumsum(value[order])])

    def between(self, label: int | None, a: float, b: float) -> float:
        """Sum of a label (None: of all) after `a` and up to `b`."""
        here = (self.at > a) & (self.at <= b)
        return float(self.value[here if label is None else here & (self.label == label)].sum())


class _Walls:
    """The tube of a label, in which single events are put to another time."""

    def __init__(self, tube: tuple[Array, Array], grid: Array, contract: Contract, eps: float) -> None:
        self.low, self.high = (wall.copy() for wall in tube)
        self.grid, self.contract, self.eps = grid, contract, eps

    def put(self, old: float, new: float, value: float) -> None:
        """Move an event of that value from one moment to another."""
        tolerance = self.contract.tolerance
        sign = 1.0 if old < new else -1.0
        reach = np.array([min(old, new), max(old, new)])
        a, b = np.searchsorted(self.grid, reach - tolerance.ahead, "left")
        self.low[a:b] += sign * value
        a, b = np.searchsorted(self.grid, reach + tolerance.behind + 1, "left")
        self.high[a:b] += sign * value

    def moves(self, a: float, b: float) -> float:
        """How much D must move between two moments."""
        near = slice(*np.searchsorted(self.grid, [a, b]))
        return _variation(path(self.low[near], self.high[near], self.grid[near], 0, self.eps))


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as an aware moment."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(frame: pd.Series[Any]) -> Array:
    """A column of aware moments as seconds since 1970; NaN where there is none."""
    if not len(frame):
        return np.empty(0)
    stamps = pd.to_datetime(frame, utc=True)
    result: Array = stamps.dt.as_unit("us").astype("int64").to_numpy("float64") / 1e6
    result[stamps.isna().to_numpy()] = np.nan
    return result


def compare(
    contract: Contract,
    events: pd.DataFrame,
    samples: pd.DataFrame,
    up: pd.DataFrame,
    starts: pd.DataFrame | None = None,
    *,
    start: float,
    end: float,
    interval: float,
) -> Comparison:
    """Both sides over [start, end) (seconds since 1970), from what is known of a little longer on both sides.

    `events`: at, committed (aware; null: unknown), the label columns and the value; of a gauge its changes, the first of
    them its state. `samples`: time (s), the labels and value, as scraped; `up` the same of the targets' scrapes, `starts`
    of when each process was started, where it tells.
    `interval` is the usual scrape interval. The window is cut to what the samples cover; a window of which they cover
    nothing is unknown.
    """  # noqa: E501
    return _Work(contract, events, samples, up, interval, starts).compare(start, end)


def alone(
    contract: Contract,
    events: pd.DataFrame | None,
    samples: pd.DataFrame | None,
    up: pd.DataFrame | None,
    *,
    start: float,
    end: float,
    interval: float,
) -> Comparison:
    """What one side says where the other cannot be asked (None): its number and curve, nothing of the other's.

    The state is unknown, and what is not known is NaN. Of the metrics the number is what the samples hold between the
    edges, or what they show at the end.
    """
    empty = pd.DataFrame({"time": [], "value": []}, dtype="float64")
    known = samples if samples is not None else empty
    work = _Work(contract, empty if events is None else events, known, empty if up is None else up, interval)
    return work.alone(start, end, "ledger" if events is not None else "metric")


class _Work:
    """One comparison under way."""

    def __init__(
        self,
        contract: Contract,
        events: pd.DataFrame,
        samples: pd.DataFrame,
        up: pd.DataFrame,
        interval: float,
        starts: pd.DataFrame | None = None,
    ) -> None:
        self.contract = contract
        self.interval = interval
        self.eps = 0.011 if contract.unit == "mxn" else 1e-6
        samples = _renamed(samples, contract)
        self.labels = _labels(events, samples, contract)
        self.events = _events(events, contract, self.labels)
        self.fetched = (float(samples["time"].min()), float(samples["time"].max())) if len(samples) else (0.0, 0.0)
        self.targets = _targets(samples, up, starts, contract, self.labels, interval, self.events)

    # --- the window ---

    def compare(self, start: float, end: float) -> Comparison:
        if not self.targets:
            return self._unknown(start, end)
        first = max(min((t.times[0] for t in self.targets), default=start), self._common_begin())
        last = max(t.times[-1] for t in self.targets)
        lost = end - last
        cut_start, cut_end = max(start, first), min(end, last)
        if cut_start >= cut_end:
            return self._unknown(start, end)
        self.start, self.end = cut_start, cut_end
        findings = self._gauge_findings() if self.contract.kind == "gauge" else self._findings()
        findings += self._gaps()
        if lost > max(MISSED * self.spacing, 60.0):
            findings.append(self._lost(last, end))
        return self._told(findings)

    def alone(self, start: float, end: float, known: str) -> Comparison:
        if known == "metric":
            if not self.targets:
                return self._unknown(start, end)
            start = max(start, min(t.times[0] for t in self.targets), self._common_begin())
            end = min(end, max(t.times[-1] for t in self.targets))
            if start >= end:
                return self._unknown(start, end)
        self.start, self.end = start, end
        parts, curve = self._parts(), self._curve()
        total = float(parts[known].sum())
        other = "metric" if known == "ledger" else "ledger"
        nothing = dict.fromkeys((other, "difference", "low", "high"), math.nan)
        nan = math.nan
        return Comparison(
            moment(start),
            moment(end),
            total if known == "ledger" else nan,
            total if known == "metric" else nan,
            nan,
            nan,
            nan,
            "unknown",
            parts.assign(**nothing),
            curve.assign(**nothing),
            self._target_frame(),
            (),
        )

    @property
    def spacing(self) -> float:
        return max(float(np.median([t.spacing for t in self.targets])), self.interval)

    def _common_begin(self) -> float:
        """From when on every target that was there at first is known."""
        return max((t.times[0] for t in self.targets if not t.appears), default=-math.inf)

    def _unknown(self, start: float, end: float) -> Comparison:
        inside = (self.events.at >= start) & (self.events.at < end)
        total = float(self.events.value[inside].sum()) if self.contract.kind != "gauge" else math.nan
        empty = pd.DataFrame()
        nan = math.nan
        return Comparison(
            moment(start), moment(end), total, nan, nan, nan, nan, "unknown", empty, empty, self._target_frame(), ()
        )

    # --- the tube ---

    def _grid(self, targets: Sequence[_Target]) -> Array:
        times = np.unique(np.concatenate([t.times for t in targets]))
        last = min((t.times[-1] for t in targets if not t.vanishes), default=times[-1])
        begin = max((t.times[0] for t in targets if not t.appears), default=times[0])
        return times[(times >= begin) & (times <= last)]

    def _tube(self, label: int, events: _Events, targets: Sequence[_Target], grid: Array) -> tuple[Array, Array]:
        tolerance = self.contract.tolerance
        at, total = events.of(label)
        most = total[np.searchsorted(at, grid + tolerance.ahead, "right")]
        # An event of this second may be of its very end.
        least = total[np.searchsorted(at, grid - tolerance.behind - 1, "right")]
        low, high = np.zeros(len(grid)), np.zeros(len(grid))
        for target in targets:
            part_low, part_high = target.bounds(label, grid)
            low, high = low + part_low, high + part_high
        return low - most, high - least

    def _steps(self, events: _Events, targets: Sequence[_Target], labels: Iterable[int] | None = None) -> list[_Step]:
        grid = self._grid(targets)
        found: list[_Step] = []
        for label in labels if labels is not None else range(len(self.labels)):
            low, high = self._tube(label, events, targets, grid)
            found += path(low, high, grid, label, self.eps)
        return found

    # --- counters ---

    def _findings(self) -> list[Finding]:
        findings: list[Finding] = []
        targets = list(self.targets)
        for one, other in twins(targets):
            targets.remove(other)
            findings += self._twice(one, other)
        events = self.events
        steps = self._steps(events, targets)
        events, steps, moved_in_time = self._in_time(events, steps, targets)
        findings += moved_in_time
        steps, resets = self._resets(steps, targets)
        findings += resets
        away = self._away(steps, events, targets)
        steps, moved = self._wrong_labels(steps, away)
        findings += moved
        while away is not None:
            lost = [s for s in steps if s.size < 0 and away.since < s.b < away.until + self.interval]
            lost = [s for s in lost if away.labels is None or s.label in away.labels]
            if not lost:
                break
            past, lost = bursts(lost, events, away.until)
            findings += [self._of_steps("row_without_metric", group) for group in past]
            steps = [s for s in steps if all(s not in group for group in past)]
            instances = (away.instance,) if away.instance else ()
            findings.append(self._of_steps("replica_missing", lost, instances=instances, share=away.share))
            steps = [s for s in steps if s not in lost]
            away = self._away(steps, events, targets)
        findings += [self._of_steps("row_without_metric", g) for g in _near([s for s in steps if s.size < 0])]
        for group in _near([s for s in steps if s.size > 0]):
            again, never = self._doubled(group, events, targets)
            findings += [self._of_steps("double_count", again)] if again else []
            findings += [self._of_steps("metric_without_row", never)] if never else []
        return [one for one in findings if one.size > self.eps]

    def _in_time(
        self, events: _Events, steps: list[_Step], targets: Sequence[_Target]
    ) -> tuple[_Events, list[_Step], list[Finding]]:
        """What was only moved in time: late rows and a clock that is off. What explains more is taken first."""
        findings: list[Finding] = []
        if not any(s.size < 0 for s in steps) or not any(s.size > 0 for s in steps):
            return events, steps, findings
        late_known = self.contract.ledger.commit == "latest"
        if late_known:
            after, late = self._late(events, steps, targets)
            rest = self._steps(after, targets) if late else steps
            if late and _variation(rest) <= 0.5 * _variation(steps):
                events, steps, findings, late_known = after, rest, late, False
        skews: list[Finding] = []
        for _ in range(3):
            events, rest, skew = self._skew(events, steps, targets)
            if skew is None:
                break
            skews.append(skew)
            steps = rest
            for other in skews[:-1]:
                steps = _apart_from(steps, other, 2 * self.interval)
        findings += skews
        if late_known and steps:
            events, late = self._late(events, steps, targets)
            if late:
                findings += late
                steps = self._steps(events, targets)
                for skew in skews:
                    steps = _apart_from(steps, skew, 2 * self.interval)
        return events, steps, findings

    def _of_steps(self, kind: Kind, steps: Sequence[_Step], instances: tuple[str, ...] = (), **facts: Any) -> Finding:
        labels = {s.label for s in steps}
        inside = self._inside(steps)
        return Finding(
            kind=kind,
            start=moment(min(s.a for s in steps)),
            end=moment(max(s.b for s in steps)),
            amount=inside,
            size=abs(inside),
            labels=self._named(labels.pop()) if len(labels) == 1 else {},
            instances=instances,
            facts={**facts, "spans": tuple((s.a, s.b) for s in steps)},
        )

    def _inside(self, steps: Iterable[_Step]) -> float:
        return float(sum(s.size for s in steps if s.b > self.start and s.a < self.end))

    def _named(self, label: int) -> dict[str, str]:
        return dict(zip(self.contract.columns, self.labels[label], strict=True))

    def _twice(self, one: _Target, other: _Target) -> list[Finding]:
        edges = np.array([self.start, self.end])
        counted = sum(float(np.diff(other.about(label, edges))[0]) for label in other.counted)
        if counted <= self.eps:
            return []
        first, last = max(other.times[0], self.start), min(other.times[-1], self.end)
        return [
            Finding(
                "counted_twice",
                moment(first),
                moment(last),
                counted,
                counted,
                instances=(one.instance, other.instance),
            )
        ]

    def _late(self, events: _Events, steps: list[_Step], targets: Sequence[_Target]) -> tuple[_Events, list[Finding]]:
        """Rows whose metric moved when they were written, not when they say that it happened.

        When a row was last written proves little, for rows change later. So all are taken as late that are beside a
        step at either moment, and given back one by one unless the path moves more without.
        """
        tolerance = self.contract.tolerance
        slack = tolerance.behind + 2
        grid = self._grid(targets)
        waited = events.committed - events.at
        chosen: list[int] = []
        for label in {s.label for s in steps}:
            # Both moments must lie where the metric is known: the rise is half of the proof.
            seen = (events.at > grid[0]) & (events.committed < grid[-1] - slack)
            mine = np.flatnonzero((events.label == label) & (waited >= LATE) & (waited <= LATEST) & seen)
            beside = np.zeros(len(mine), dtype=bool)
            for s in steps:
                if s.label == label:
                    when = events.at[mine] if s.size < 0 else events.committed[mine]
                    beside |= (when >= s.a - slack) & (when <= s.b + slack)
            candidates = mine[beside]
            if not len(candidates):
                continue
            walls = _Walls(self._tube(label, events, targets, grid), grid, self.contract, self.eps)

            def move(index: int, *, back: bool = False, walls: _Walls = walls) -> None:
                moments = float(events.at[index]), float(events.committed[index])
                walls.put(*(moments[::-1] if back else moments), float(events.value[index]))

            def moves(index: int, walls: _Walls = walls) -> float:
                return walls.moves(float(events.at[index]) - 300, float(events.committed[index]) + 300)

            kept = set(candidates.tolist())
            for index in kept:
                move(index)
            for _ in range(4):
                before = len(kept)
                for index in sorted(kept, key=lambda i: -float(waited[i])):
                    late = moves(index)
                    move(index, back=True)
                    if moves(index) > late + self.eps:
                        move(index)
                    else:
                        kept.remove(index)
                if len(kept) == before:
                    break
            chosen += kept
        if not chosen:
            return events, []
        at = events.at.copy()
        at[chosen] = events.committed[chosen]
        findings = []
        for group in _clusters(chosen, key=lambda i: float(events.committed[i])):
            rows = np.array(group)
            when, written, value = events.at[rows], events.committed[rows], events.value[rows]
            was, came = self._in_window(when), self._in_window(written)
            if not (was | came).any():
                continue
            labels = set(events.label[rows].tolist())
            findings.append(
                Finding(
                    "late_commit",
                    moment(when.min()),
                    moment(written.max()),
                    float(value[came].sum() - value[was].sum()),
                    float(value[was | came].sum()),
                    labels=self._named(labels.pop()) if len(labels) == 1 else {},
                    facts={"lag": float((written - when).max()), "at": tuple(when.tolist())},
                )
            )
        return replace(events, at=at), findings

    def _in_window(self, when: Array) -> Array:
        return (when >= self.start) & (when < self.end)

    def _skew(
        self, events: _Events, steps: list[_Step], targets: Sequence[_Target]
    ) -> tuple[_Events, list[_Step], Finding | None]:
        """A time by which all events of a while are apart: the ledger's clock and the scrapes' are not the same.

        Two whiles of nearly the same time look like one long one; where that explains too little, each by itself.
        """
        for each in (False, True):
            moved, rest, found = self._off(events, steps, targets, each=each)
            if found is not None:
                return moved, rest, found
        return events, steps, None

    def _off(
        self, events: _Events, steps: list[_Step], targets: Sequence[_Target], *, each: bool
    ) -> tuple[_Events, list[_Step], Finding | None]:
        before = _variation(steps)
        labels = {s.label for s in steps}
        best: tuple[float, float, float, float] = (before, 0.0, 0.0, 0.0)

        def shifted(lag: float, first: float, last: float) -> _Events:
            return replace(events, at=np.where((events.at >= first) & (events.at <= last), events.at + lag, events.at))

        def attempt(lag: float, first: float, last: float) -> None:
            nonlocal best
            if first < last and lag:
                moves = _variation(self._steps(shifted(lag, first, last), targets, labels))
                if moves < best[0] - self.eps:
                    best = (moves, lag, first, last)

        for lag in best_lag(steps, self.interval):
            pairs = paired(steps, lag, max(self.interval * 1.5, 10.0))
            if len(pairs) < 3:
                continue
            # A fall is an event at the ledger's time, the rise the same event at that of the scrapes.
            while_off = densest([s for s in steps if s.size < 0], {id(fall) for fall, _ in pairs})
            groups = _clusters(pairs, key=lambda pair: pair[0].b) if each else [pairs]
            if each and len(groups) == 1:
                continue
            spans = {(min(fall.a for fall, _ in group), max(fall.b for fall, _ in group)) for group in groups}
            spans |= set() if each else {while_off}
            for exact in np.arange(lag - self.interval, lag + self.interval + 1, self.interval / 2):
                for first, last in spans:
                    attempt(float(exact), first, last)
        if before - best[0] < max(0.1 * before, MOST_BY_CHANCE):
            return events, steps, None
        for pace in (120.0, 30.0, 10.0):
            _, lag, first, last = best
            reach = min(abs(lag) + 120, 6 * pace) if pace < 120 else abs(lag) + 240
            for by in np.arange(-reach, reach + 1, pace):
                attempt(lag, first + by, last)
            _, lag, first, last = best
            for by in np.arange(-reach, reach + 1, pace):
                attempt(lag, first, last + by)
            _, lag, first, last = best
            for by in np.arange(-self.interval, self.interval + 1, max(pace / 12, 2.0)):
                attempt(lag + by, first, last)
        _, lag, first, last = best
        moved = self._each(shifted(lag, first, last), events, lag, (first, last), targets)
        # When a row was written the same clock has told.
        written = (events.committed >= first) & (events.committed <= last)
        moved = replace(moved, committed=np.where(written, events.committed + lag, events.committed))
        after = self._steps(moved, targets)
        # Of what stands in that time it must explain most: of the falls or of the rises, for it makes as many of both.
        a, b = first - abs(lag), last + abs(lag)
        was, left = ([sum(abs(s.size) for s in _within(told, a, b) if (s.size > 0) == up) for up in (False, True)]
                     for told in (steps, after))  # fmt: skip
        if min(was[0] - left[0], was[1] - left[1]) < 0.5 * min(was):
            return events, steps, None
        touched = self._in_window(events.at) & (moved.at != events.at)
        finding = Finding(
            "clock_skew",
            moment(first),
            moment(last),
            float(events.value[self._in_window(moved.at)].sum() - events.value[self._in_window(events.at)].sum()),
            float(events.value[touched].sum()),
            facts={"lag": lag},
        )
        return moved, _apart_from(after, finding, 2 * self.interval), finding

    def _each(
        self, moved: _Events, events: _Events, lag: float, edges: tuple[float, float], targets: Sequence[_Target]
    ) -> _Events:
        """Where a clock was set, events of both clocks bear the same times: which moved is judged one by one."""
        at = moved.at.copy()
        grid = self._grid(targets)
        reach = abs(lag) + 4 * self.spacing
        for label in np.unique(events.label):
            beside = np.any([np.abs(events.at - edge) <= reach for edge in edges], axis=0) & (events.label == label)
            # Rows that may have been written late are judged as such, afterwards.
            beside &= ~(events.committed - events.at >= LATE)
            doubtful = np.flatnonzero(beside).tolist()
            walls = _Walls(self._tube(int(label), moved, targets, grid), grid, self.contract, self.eps)
            for _ in range(4):
                before = at.copy()
                for index in doubtful:
                    here, there = float(at[index]), float(2 * events.at[index] + lag - at[index])
                    near = min(here, there) - 300, max(here, there) + 300
                    stays = walls.moves(*near)
                    if stays <= self.eps:
                        continue
                    walls.put(here, there, float(events.value[index]))
                    if walls.moves(*near) < stays - self.eps:
                        at[index] = there
                    else:
                        walls.put(there, here, float(events.value[index]))
                if np.array_equal(before, at):
                    break
        return replace(moved, at=at)

    def _resets(self, steps: list[_Step], targets: Sequence[_Target]) -> tuple[list[_Step], list[Finding]]:
        rest, findings = list(steps), []
        for target in targets:
            spans = list(target.restarts)
            last = float(target.times[-1])
            spacing = target.near(last)
            if target.vanishes and not self._lacks_more(rest, last, last + spacing):
                # It was ended for good: what it counted after its last scrape is lost, and nothing since.
                spans.append((last, last + spacing))
            for a, b in spans:
                spacing = target.near(a)
                # What it lost happened between the two scrapes.
                mine = [
                    s
                    for s in rest
                    if s.size < 0
                    and s.a < b + self.contract.tolerance.behind
                    and s.b > a
                    and (s.b - s.a < 4 * spacing or s.a <= a + spacing)
                ]
                if mine:
                    rest = [s for s in rest if s not in mine]
                    lost = self._of_steps("counter_reset", mine, instances=(target.instance,))
                    findings.append(replace(lost, start=moment(a), end=moment(b)))
        return rest, findings

    def _lacks_more(self, steps: Iterable[_Step], a: float, b: float) -> bool:
        """Whether more is missing after `a` than had happened by `b`, when the next scrape was due."""
        tolerance = self.contract.tolerance
        lost: dict[int, float] = defaultdict(float)
        for s in steps:
            if s.size < 0 and s.b > a:
                if s.a > b + self.interval:
                    return True
                lost[s.label] -= s.size
        happened = {label: self.events.between(label, a - tolerance.behind - 1, b + tolerance.ahead) for label in lost}
        return any(size > happened[label] + self.eps for label, size in lost.items())

    def _wrong_labels(self, steps: list[_Step], away: _Away | None = None) -> tuple[list[_Step], list[Finding]]:
        """Falls of one label that are rises of another at the same time, most of either's.

        While a process is `away` every label falls: then a label must have lost clearly more than that share.
        """
        left = {id(s): abs(s.size) for s in steps}
        by_label: dict[int, tuple[list[_Step], list[_Step]]] = defaultdict(lambda: ([], []))
        for s in sorted(steps, key=lambda s: s.b):
            by_label[s.label][s.size > 0].append(s)

        def matches(source: int, to: int, by: float = 0.0) -> list[tuple[_Step, _Step, float]]:
            pairs, used = [], dict(left)
            for fall in by_label[source][0]:
                for rise in by_label[to][1]:
                    if rise.a > fall.b + by + self.interval:
                        break
                    size = min(used[id(fall)], used[id(rise)])
                    if size > self.eps and fall.a + by <= rise.b + self.interval:
                        used[id(fall)] -= size
                        used[id(rise)] -= size
                        pairs.append((fall, rise, size))
            return pairs

        couples = [(source, to) for source in by_label for to in by_label if source != to]
        couples.sort(key=lambda couple: -sum(pair[2] for pair in matches(*couple)))
        findings = []
        for source, to in couples:
            for group in _clusters(matches(source, to), key=lambda pair: pair[0].b):
                a = min(min(fall.a, rise.a) for fall, rise, _ in group)
                b = max(max(fall.b, rise.b) for fall, rise, _ in group)
                moved = sum(size for _, _, size in group)
                fell = sum(left[id(s)] for s in by_label[source][0] if a <= s.b <= b)
                rose = sum(left[id(s)] for s in by_label[to][1] if a <= s.b <= b)
                absent = away.share if away is not None and away.since < b and away.until > a else 0.0
                # How much falls meet rises by chance: as much as they do some minutes earlier or later.
                chance = float(
                    np.mean(
                        [
                            sum(size for fall, _, size in matches(source, to, by) if a <= fall.b <= b)
                            for by in (-1500.0, -900.0, -420.0, 420.0, 900.0, 1500.0)
                        ]
                    )
                )
                surely = [
                    float(_surprise(np.array(moved), np.array(whole), np.array(max(chance / whole, 0.05))))
                    for whole in ((rose,) if absent else (rose, fell))
                ]
                if min(surely) < SURE:
                    continue
                if moved < 0.5 * rose and moved < (0.5 if absent else 0.8) * fell:
                    continue
                if not absent and moved < 0.5 * fell and moved < 0.8 * rose:
                    continue
                if absent and fell < (absent + 0.25) * self.events.between(source, a, b):
                    continue
                inside = [pair for pair in group if pair[0].b > self.start and pair[0].a < self.end]
                for fall, rise, size in group:
                    left[id(fall)] -= size
                    left[id(rise)] -= size
                findings.append(
                    Finding(
                        "wrong_label",
                        moment(a),
                        moment(b),
                        0.0,
                        sum(size for _, _, size in inside),
                        labels=self._named(source),
                        facts={"to": self._named(to)},
                    )
                )
        rest = [replace(s, size=math.copysign(left[id(s)], s.size)) for s in steps if left[id(s)] > self.eps]
        return rest, findings

    def _away(self, steps: Sequence[_Step], events: _Events, targets: Sequence[_Target]) -> _Away | None:
        """When a process counted what nobody scraped: it came or went meanwhile, or every label is thinned evenly."""
        falls = [s for s in steps if s.size < 0]
        for target in targets:
            spans = [(target.times[-1], math.inf)] if target.vanishes else []
            spans += [(-math.inf, target.times[0])] if target.appears else []
            for a, b in spans:
                mine = [s for s in falls if s.b > a and s.b < b + self.interval]
                if math.isinf(a):
                    # What it had counted when it came bounds what it can have counted before.
                    mine = [
                        s for s in mine if target.at_first(s.label) >= -sum(o.size for o in mine if o.label == s.label)
                    ]
                lost = -sum(s.size for s in mine)
                counted = events.between(None, a, b)
                if lost > self.eps:
                    labels = frozenset(s.label for s in mine)
                    return _Away(a, b, min(lost / max(counted, lost), 1.0), target.instance, labels)
        if thinned(falls, events):
            a, b = min(s.a for s in falls), max(s.b for s in falls)
            return _Away(a, b, -sum(s.size for s in falls) / max(events.between(None, a, b), self.eps))
        return None

    def _doubled(
        self, steps: list[_Step], events: _Events, targets: Sequence[_Target]
    ) -> tuple[list[_Step], list[_Step]]:
        """The rises where a process counted something again, and those where it counted what never was.

        What is counted again comes beside itself: between two scrapes a process counted at least twice as much of that
        label as rose, and the ledger has as many. What never was comes beside another by chance. Of each single one no
        sample tells which it is; of many, how many more stand beside another than chance would have it.
        """
        fit, sizes, chances = np.zeros(len(steps)), np.ones(len(steps)), np.zeros(len(steps))
        for place, s in enumerate(steps):
            # What a step of several holds may have come a scrape before the last of them.
            sizes[place], since = (
                (s.size, s.a - (self.spacing if s.size > 1.5 else 0.0)) if not self.money else (1, s.a)
            )
            known, cells = self._twice_as_much(s.label, since, s.b, events, targets)
            fit[place] = float(known >= s.size - 0.011) if self.money else min(known, s.size)
            rate = events.between(s.label, s.b - 1800, s.b + 1800) / 3600
            # What never was stands beside its like, too, where the ledger has a row near.
            like = max(
                sum(o.size for o in steps if o is not s and abs(o.b - s.b) <= w) / (2 * w) for w in (60, 200, 600)
            )
            size = max(s.size, self.eps) if self.money else 1.0
            near = 1 - math.exp(-rate / size * (self.spacing + self.contract.tolerance.behind))
            usual = (rate + like * near) * self.spacing / len(targets) / size
            # None beside it, and no two beside each other in what else was scraped meanwhile.
            none = -usual + max(cells - 1, 0.0) * (math.log1p(usual) - usual)
            chances[place] = min(max(1 - math.exp(none), 0.02), 0.98)
        shares = np.linspace(0.0, 1.0, 51)[:, None] * (1.0 if (fit >= sizes).all() else 0.99)
        yes = np.log(shares + (1 - shares) * chances)
        no = np.log(np.maximum((1 - shares) * (1 - chances), 1e-300))
        # Several at once are one happening.
        stories = ((fit * yes + (sizes - fit) * no) / sizes).sum(axis=1)
        best = int(np.argmax(stories))
        if stories[best] - stories[0] <= SURE_OF_TWICE:
            return [], steps
        share = float(shares[best, 0])
        if share >= 0.9:
            return steps, []
        again, wanted = set(), share * float(sizes.sum())
        for place in sorted(np.flatnonzero(fit >= sizes).tolist(), key=lambda place: chances[place]):
            if wanted >= sizes[place] / 2:
                again.add(place)
                wanted -= sizes[place]
        return [s for i, s in enumerate(steps) if i in again], [s for i, s in enumerate(steps) if i not in again]

    @property
    def money(self) -> bool:
        return self.contract.unit == "mxn"

    def _twice_as_much(
        self, label: int, a: float, b: float, events: _Events, targets: Sequence[_Target]
    ) -> tuple[float, float]:
        """How much of a label can have been counted again between two moments, and by how many pairs of scrapes."""
        tolerance = self.contract.tolerance
        most = events.between(label, a - self.spacing - tolerance.behind - 1, b + tolerance.ahead)
        twice = cells = 0.0
        for target in targets:
            counted = target.counted.get(label)
            if counted is None:
                continue
            first = max(int(np.searchsorted(target.times, a, "right")) - 1, 0)
            last = int(np.searchsorted(target.times, b, "left"))
            added = np.diff(counted[first : last + 1]) / 2
            times = target.times[first : last + 1]
            happened = [
                events.between(label, x - tolerance.behind - 1, y + tolerance.ahead)
                for x, y in itertools.pairwise(times.tolist())
            ]
            twice += float(np.minimum(added if self.money else np.floor(added + self.eps), happened).sum())
            cells += len(added)
        return min(twice, most), cells

    # --- gauges ---

    def _gauge(self, label: int, grid: Array) -> Array:
        """The greatest of what the targets show, each by its last scrape; NaN where none shows it."""
        shown = np.full(len(grid), np.nan)
        for target in self.targets:
            values = target.raw.get(label)
            if values is None:
                continue
            index = np.searchsorted(target.times, grid, "right") - 1
            alive = (index >= 0) & (grid - target.times[np.maximum(index, 0)] <= max(MISSED * target.spacing, 300.0))
            shown = np.fmax(shown, np.where(alive, values[np.maximum(index, 0)], np.nan))
        return shown

    def _gauge_tube(self, label: int, grid: Array) -> tuple[Array, Array]:
        tolerance = self.contract.tolerance
        at, total = self.events.of(label)
        first = np.searchsorted(at, grid - tolerance.refresh - tolerance.behind - 1, "right")
        last = np.searchsorted(at, grid + tolerance.ahead, "right")
        pairs = np.stack([first, last + 1], axis=1).ravel()
        padded = np.concatenate([total, total[-1:]])
        least = np.minimum.reduceat(padded, pairs)[::2]
        most = np.maximum.reduceat(padded, pairs)[::2]
        shown = self._gauge(label, grid)
        return shown - most, shown - least

    def _gauge_findings(self) -> list[Finding]:
        grid = np.unique(np.concatenate([t.times for t in self.targets]))
        grid = grid[(grid >= self.start) & (grid <= self.end)]
        steps: list[_Step] = []
        for label in range(len(self.labels)):
            low, high = self._gauge_tube(label, grid)
            known = ~np.isnan(low)
            if known.any():
                steps += path(low[known], high[known], grid[known], label, self.eps, at_first=0.0)
        steps, moved = self._wrong_labels(steps)
        findings = moved
        for sign, kind in ((-1, "row_without_metric"), (1, "metric_without_row")):
            for group in self._excursions(steps, sign):
                findings.append(self._of_steps(kind, group))  # type: ignore[arg-type]
        return [one for one in findings if one.size > self.eps]

    def _excursions(self, steps: list[_Step], sign: int) -> list[list[_Step]]:
        """Of a gauge a difference comes and may go: the steps away from zero on one side, near each other."""
        away: list[_Step] = []
        for label in {s.label for s in steps}:
            level = 0.0
            for s in sorted((s for s in steps if s.label == label), key=lambda s: s.b):
                before, level = level, level + s.size
                grown = max(sign * level, 0.0) - max(sign * before, 0.0)
                if grown > self.eps:
                    away.append(replace(s, size=sign * grown))
        return list(_near(away))

    # --- scrapes ---

    def _gaps(self) -> list[Finding]:
        found: dict[tuple[int, int], list[tuple[_Target, float, float, int]]] = defaultdict(list)
        for target in self.targets:
            for a, b, missed in target.gaps:
                # While a process begins anew it does not answer: that is told as the restart.
                restarted = b - a <= 120 and any(r >= a - 1 and e <= b + 1 for r, e in target.restarts)
                if b > self.start and a < self.end and not restarted:
                    found[(round(a / 120), round(b / 120))].append((target, a, b, missed))
        findings = []
        for group in found.values():
            a, b = min(g[1] for g in group), max(g[2] for g in group)
            there = sum(t.times[0] <= a + 1 and t.times[-1] >= b - 1 for t in self.targets)
            share = min(len(group) / max(there, 1), 1.0)
            size = self.events.between(None, a, b) * share if self.contract.kind != "gauge" else float(len(group))
            findings.append(
                Finding(
                    "scrape_gap",
                    moment(a),
                    moment(b),
                    0.0,
                    size,
                    instances=tuple(sorted(g[0].instance for g in group)),
                    facts={"missed": max(g[3] for g in group)},
                )
            )
        return findings

    def _lost(self, last: float, end: float) -> Finding:
        size = self.events.between(None, last, end) if self.contract.kind != "gauge" else 1.0
        return Finding(
            "scrape_gap",
            moment(last),
            moment(end),
            0.0,
            size,
            instances=tuple(sorted(t.instance for t in self.targets)),
            facts={"missed": int((end - last) / self.spacing)},
        )

    # --- the numbers ---

    def _told(self, findings: list[Finding]) -> Comparison:
        findings.sort(key=lambda f: (f.start, f.kind))
        parts = self._parts()
        ledger, metric = float(parts["ledger"].sum()), float(parts["metric"].sum())
        low, high = float(parts["low"].sum()), float(parts["high"].sum())
        for one in findings:
            if one.kind in EXPLAINED:
                low, high = low + min(one.amount, 0.0), high + max(one.amount, 0.0)
        difference = metric - ledger
        if any(one.kind not in EXPLAINED for one in findings) or not low - self.eps <= difference <= high + self.eps:
            state: State = "differs"
        else:
            state = "explained" if findings else "agrees"
        return Comparison(
            moment(self.start),
            moment(self.end),
            ledger,
            metric,
            difference,
            low,
            high,
            state,
            parts,
            self._curve(),
            self._target_frame(),
            tuple(findings),
        )

    def _parts(self) -> pd.DataFrame:
        rows = []
        for label, values in enumerate(self.labels):
            numbers = self._gauge_part(label) if self.contract.kind == "gauge" else self._part(label)
            rows.append((*values, *numbers))
        columns = [*self.contract.columns, "ledger", "metric", "low", "high"]
        frame = pd.DataFrame(rows, columns=columns)
        frame.insert(len(columns) - 2, "difference", frame["metric"] - frame["ledger"])
        return frame

    def _part(self, label: int) -> tuple[float, float, float, float]:
        """Ledger, metric, and how far below and above the ledger the metric may lie."""
        tolerance = self.contract.tolerance
        at, total = self.events.of(label)
        first, last = np.searchsorted(at, [self.start, self.end], "left")
        ledger = float(total[last] - total[first])
        edges = np.array([self.start, self.end])
        about = low = high = np.zeros(2)
        for target in self.targets:
            part_low, part_high = target.bounds(label, edges)
            line = target.about(label, edges)
            about, low, high = about + line, low + part_low, high + np.where(np.isinf(part_high), line, part_high)
        metric = float(about[1] - about[0])

        def of(a: float, b: float) -> float:
            return self.events.between(label, a, b)

        below = metric - (high[1] - low[0]) - of(self.end - tolerance.behind - 1, self.end)
        below -= of(self.start, self.start + tolerance.ahead)
        above = metric - (low[1] - high[0]) + of(self.start - tolerance.behind - 1, self.start)
        above += of(self.end, self.end + tolerance.ahead)
        for target in self.targets:
            for a, b in target.restarts:
                if a < self.end and b > self.start:
                    seen = np.diff(target.about(label, np.array([a, b])))[0]
                    below -= max(of(a, b) - seen, 0.0)
        return ledger, metric, float(min(below, 0.0)), float(max(above, 0.0))

    def _gauge_part(self, label: int) -> tuple[float, float, float, float]:
        at, total = self.events.of(label)
        # At midnight itself a gauge may show the new day already.
        last = np.array([self.end - 0.001])
        ledger = float(total[np.searchsorted(at, self.end, "left")])
        shown = float(self._gauge(label, last)[0])
        if math.isnan(shown):
            return ledger, 0.0, 0.0, 0.0
        tolerance = self.contract.tolerance
        scraped = [
            t.times[np.searchsorted(t.times, last[0], "right") - 1] for t in self.targets if t.times[0] <= last[0]
        ]
        since, until = max(scraped) - tolerance.refresh - tolerance.behind - 1, max(scraped) + tolerance.ahead
        first, upto = np.searchsorted(at, [since, until], "right")
        reach = total[first : upto + 1]
        return ledger, shown, float(reach.min() - ledger), float(reach.max() - ledger)

    def _curve(self) -> pd.DataFrame:
        first, last = math.floor(self.start / 60) * 60, math.ceil(self.end / 60) * 60
        edges = np.arange(first, last + 1, 60, dtype="float64")
        clipped = np.clip(edges, self.start, self.end)
        ledger, metric = np.zeros(len(edges)), np.zeros(len(edges))
        low, high = np.zeros(len(edges)), np.zeros(len(edges))
        gauge = self.contract.kind == "gauge"
        for label in range(len(self.labels)):
            at, total = self.events.of(label)
            ledger += total[np.searchsorted(at, clipped, "left")]
            if gauge:
                metric += np.nan_to_num(self._gauge(label, clipped))
                continue
            for target in self.targets:
                line = target.about(label, clipped)
                part_low, part_high = target.bounds(label, clipped)
                metric += line
                low += part_low - line
                high += np.where(np.isinf(part_high), line, part_high) - line
        if gauge:
            difference = metric - ledger
            ledger, metric, low, high = ledger[1:], metric[1:], low[1:], high[1:]
            difference = difference[1:]
        else:
            difference = (metric - metric[0]) - (ledger - ledger[0])
            ledger, metric = np.diff(ledger), np.diff(metric)
            difference, low, high = difference[1:], low[1:], high[1:]
        return pd.DataFrame(
            {
                "minute": pd.to_datetime(edges[:-1], unit="s", utc=True),
                "ledger": ledger,
                "metric": metric,
                "difference": difference,
                "low": low,
                "high": high,
            }
        )

    def _target_frame(self) -> pd.DataFrame:
        moments = "datetime64[us, UTC]"
        return pd.DataFrame(
            {
                "instance": pd.Series([t.instance for t in self.targets], dtype="str"),
                "scrapes": pd.Series([len(t.times) for t in self.targets], dtype="int64"),
                "missed": pd.Series([sum(g[2] for g in t.gaps) for t in self.targets], dtype="int64"),
                "restarts": pd.Series([len(t.restarts) for t in self.targets], dtype="int64"),
                "begins": pd.Series([moment(t.times[0]) if t.appears else None for t in self.targets], dtype=moments),
                "ends": pd.Series([moment(t.times[-1]) if t.vanishes else None for t in self.targets], dtype=moments),
            }
        )


# --- from frames to arrays ---


def _renamed(samples: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """The samples with the ledger's names for labels and values."""
    frame = samples.copy(deep=False)
    for label, column in contract.labels.items():
        values = frame[label] if label in frame else pd.Series([""] * len(frame), index=frame.index, dtype="str")
        # By the few different values, not by the many samples.
        codes, found = pd.factorize(values.fillna(""))
        words = [
            ("+Inf" if word in {"+Inf", "Inf"} else f"{float(word):g}") if label == "le" else word for word in found
        ]
        known = contract.values.get(label, {})
        frame[f":{column}"] = np.array([known.get(word, word) for word in words], dtype=object)[codes]
    return frame


def _labels(events: pd.DataFrame, samples: pd.DataFrame, contract: Contract) -> list[tuple[str, ...]]:
    if not contract.columns:
        return [()]
    found: set[tuple[str, ...]] = set()
    if len(events):
        found |= set(events[list(contract.columns)].fillna("").drop_duplicates().itertuples(index=False, name=None))
    if len(samples):
        names = [f":{column}" for column in contract.columns]
        found |= set(samples[names].drop_duplicates().itertuples(index=False, name=None))
    if contract.kind == "histogram":
        return sorted(found, key=lambda values: [_number(value) for value in values])
    return sorted(found)


def _number(value: str) -> tuple[float, str]:
    try:
        return float(value.replace("+Inf", "inf")), value
    except ValueError:
        return 0.0, value


def _events(frame: pd.DataFrame, contract: Contract, labels: list[tuple[str, ...]]) -> _Events:
    if not len(frame):
        return _Events(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), np.empty(0))
    number = {values: index for index, values in enumerate(labels)}
    if contract.columns:
        keys = frame[list(contract.columns)].fillna("").itertuples(index=False, name=None)
        label = np.array([number[key] for key in keys], dtype=np.int64)
    else:
        label = np.zeros(len(frame), dtype=np.int64)
    at = seconds_of(frame["at"])
    committed = seconds_of(frame["committed"]) if "committed" in frame else np.full(len(frame), np.nan)
    value = pd.to_numeric(frame[contract.ledger.value]).to_numpy("float64")
    order = np.argsort(at, kind="stable")
    return _Events(at[order], committed[order], label[order], value[order])


def _targets(
    samples: pd.DataFrame,
    up: pd.DataFrame,
    starts: pd.DataFrame | None,
    contract: Contract,
    labels: list[tuple[str, ...]],
    interval: float,
    events: _Events,
) -> list[_Target]:
    if not len(samples):
        return []
    names = [name for name in TARGET_LABELS if name in samples]
    ups = [name for name in names if name in up]
    number = {values: index for index, values in enumerate(labels)}
    own = [f":{column}" for column in contract.columns]
    identity = [c for c in samples.columns if c not in {"time", "value", *contract.labels}]
    whole = (float(samples["time"].min()), float(samples["time"].max()))
    # All samples in the order of their series and time, and where each series begins.
    code = (
        samples.groupby(identity, dropna=False, sort=False).ngroup().to_numpy() if identity else np.zeros(len(samples))
    )
    order = np.lexsort((samples["time"].to_numpy("float64"), code))
    stamps, values = samples["time"].to_numpy("float64")[order], samples["value"].to_numpy("float64")[order]
    edges = [0, *(np.flatnonzero(np.diff(code[order])) + 1).tolist(), len(order)]
    firsts = samples.iloc[order[edges[:-1]]]
    targets: dict[tuple[str, ...], list[tuple[int, Array, Array]]] = defaultdict(list)
    for (a, b), target, label in zip(
        itertools.pairwise(edges),
        _tuples(firsts, names),
        _tuples(firsts, own),
        strict=True,
    ):
        targets[target].append((number[label], stamps[a:b], values[a:b]))
    answered = up[up["value"] == 1] if ups and len(up) else up[:0]
    who = np.array([hash(key) for key in _tuples(answered, ups)], dtype=np.int64)
    moments = answered["time"].to_numpy("float64") if len(answered) else np.empty(0)
    begun = _starts(starts, names)
    found = []
    for key, series in sorted(targets.items()):
        name = {n: v for n, v in zip(names, key, strict=True) if v}
        scraped = np.sort(moments[who == hash(tuple(name.get(n, "") for n in ups))]) if len(who) else np.empty(0)
        times = np.unique(np.concatenate([*(one[1] for one in series), scraped]))
        began = begun.get(tuple(name.items()), (np.empty(0), np.empty(0)))
        found.append(_target(name, times, scraped, began, series, contract, labels, interval, whole, events))
    return found


def _starts(frame: pd.DataFrame | None, names: Sequence[str]) -> dict[tuple[tuple[str, str], ...], tuple[Array, Array]]:
    """By target, when it was scraped and when the process that answered was started."""
    if frame is None or not len(frame):
        return {}
    known = [name for name in names if name in frame]
    told = defaultdict(list)
    rows = zip(_tuples(frame, known), frame["time"], frame["value"], strict=True)
    for key, at, value in rows:
        told[tuple((n, v) for n, v in zip(known, key, strict=True) if v)].append((float(at), float(value)))
    found = {}
    for target, samples in told.items():
        samples.sort()
        found[target] = (np.array([at for at, _ in samples]), np.array([value for _, value in samples]))
    return found


def _tuples(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of these columns, row by row; what is missing is ''."""
    if not columns:
        return [()] * len(frame)
    return list(zip(*(frame[column].fillna("").tolist() for column in columns), strict=True))


def _target(
    name: dict[str, str],
    times: Array,
    scraped: Array,
    began: tuple[Array, Array],
    series: list[tuple[int, Array, Array]],
    contract: Contract,
    labels: list[tuple[str, ...]],
    interval: float,
    whole: tuple[float, float],
    events: _Events,
) -> _Target:
    gauge = contract.kind == "gauge"
    steps = np.diff(scraped if len(scraped) > 2 else times)
    spacing = max(float(np.median(steps)), 1.0) if len(steps) else interval
    restarts = [] if gauge else _restarts(began, series)
    starts = np.array([b for _, b in restarts])
    target = _Target(
        name,
        times,
        {},
        restarts,
        _gaps_of(scraped if len(scraped) > 2 else times, interval),
        appears=bool(times[0] > whole[0] + max(4 * spacing, 2 * interval)),
        vanishes=bool(times[-1] < whole[1] - max(4 * spacing, 2 * interval)),
        spacing=spacing,
        began=began,
    )
    # A series may be sampled later than its target only while the first scrapes of what was fetched come in.
    settled = times[0] + (2 * spacing if spacing <= 60 else 300.0)
    for label, stamps, values in series:
        index = np.searchsorted(stamps, times, "right") - 1
        if gauge:
            filled = np.where(index >= 0, values[np.maximum(index, 0)], np.nan)
            known = target.raw.get(label)
            target.raw[label] = filled if known is None else np.nansum([known, filled], axis=0)
            continue
        added = np.diff(values, prepend=values[:1])
        since = np.searchsorted(starts, stamps, "right")
        again = np.flatnonzero(np.diff(since) > 0) + 1
        added[again] = values[again]
        if stamps[0] > settled or (target.appears and _is_new(values[0], stamps[0], label, events, spacing)):
            # A label's series begins with its first event, a new process with those before its first scrape.
            added[0] = values[0]
        total = np.concatenate([[0.0], np.cumsum(added)])[index + 1]
        target.counted[label] = target.counted.get(label, 0.0) + total
        raw = np.where(index >= 0, values[np.maximum(index, 0)], 0.0)
        target.raw[label] = target.raw.get(label, 0.0) + raw
    if contract.kind == "histogram":
        target.counted = _bands(target.counted, labels, contract)
    return target


def _is_new(value: float, at: float, label: int, events: _Events, spacing: float) -> bool:
    return value <= events.between(label, at - 4 * spacing, at) + 1e-6


def _bands(counted: dict[int, Array], labels: list[tuple[str, ...]], contract: Contract) -> dict[int, Array]:
    """Cumulative buckets as bands: what lies up to a bound and above the one before."""
    place = list(contract.labels).index("le")
    chains: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in counted:
        chains[tuple(v for i, v in enumerate(labels[index]) if i != place)].append(index)
    bands = {}
    for chain in chains.values():
        chain.sort(key=lambda index: _number(labels[index][place]))
        before: Array | float = 0.0
        for index in chain:
            bands[index] = counted[index] - before
            before = counted[index]
    return bands


def _restarts(began: tuple[Array, Array], series: list[tuple[int, Array, Array]]) -> list[tuple[float, float]]:
    """Where a process began anew: some counter fell, or it says so. What several say is one where they overlap."""
    spans: list[tuple[float, float]] = []
    for _, stamps, values in series:
        fell = np.flatnonzero(np.diff(values) < 0)
        spans += list(zip(stamps[fell].tolist(), stamps[fell + 1].tolist(), strict=True))
    scraped, started = began
    anew = np.flatnonzero(np.abs(np.diff(started)) > 0.5)
    spans += list(zip(scraped[anew].tolist(), scraped[anew + 1].tolist(), strict=True))
    spans.sort()
    merged: list[tuple[float, float]] = []
    for a, b in spans:
        if merged and a < merged[-1][1]:
            merged[-1] = (max(a, merged[-1][0]), min(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged


def _gaps_of(times: Array, interval: float) -> list[tuple[float, float, int]]:
    """Where scrapes are missing: (last before, first after, how many), by the spacing around."""
    if len(times) < 4:
        return []
    steps = np.diff(times)
    gaps = []
    for index in np.flatnonzero(steps > max(MISSED * float(np.quantile(steps, 0.02)), 1.0)):
        sides = (steps[max(index - 12, 0) : index], steps[index + 1 : index + 13])
        usual = max((float(np.median(side)) for side in sides if len(side) > 3), default=interval)
        if steps[index] > MISSED * usual:
            gaps.append((float(times[index]), float(times[index + 1]), round(steps[index] / usual) - 1))
    return gaps


# --- what the steps mean ---


def path(
    low: Array, high: Array, grid: Array, label: int = 0, eps: float = 1e-6, at_first: float | None = None
) -> list[_Step]:
    """Steps of the path through the tube that moves least, from `at_first` (None: wherever it likes to begin).

    A step down at one moment is known to have come after the last moment at which the lower wall was above where it
    leads, and the same for a step up.
    """
    if not len(grid):
        return []
    if at_first is None and float(np.max(low)) <= float(np.min(high)) + eps:
        return []
    a, b = (float(low[0]), float(high[0])) if at_first is None else (at_first, at_first)
    steps: list[_Step] = []
    k, length = 0, len(grid)
    while k < length:
        # What still fits, a stretch at a time: the walls so far, and the first moment at which they cross.
        stretch = slice(k, min(k + 512, length))
        floor = np.maximum(np.maximum.accumulate(low[stretch]), a)
        ceiling = np.minimum(np.minimum.accumulate(high[stretch]), b)
        crossed = np.flatnonzero(floor > ceiling + eps)
        if not len(crossed):
            a, b = float(floor[-1]), float(ceiling[-1])
            k = stretch.stop
            continue
        here = k + int(crossed[0])
        before = (float(floor[crossed[0] - 1]), float(ceiling[crossed[0] - 1])) if crossed[0] else (a, b)
        rises = low[here] > before[1] + eps
        to = float(low[here] if rises else high[here])
        size = to - before[1] if rises else to - before[0]
        near = slice(max(here - 4096, 0), here)
        since = np.flatnonzero(high[near] < to - eps if rises else low[near] > to + eps)
        first = max(here - 4096, 0) + int(since[-1]) if len(since) else 0
        steps.append(_Step(label, float(grid[first]), float(grid[here]), size))
        a = b = to
        k = here + 1
    return steps


def _variation(steps: Iterable[_Step]) -> float:
    return float(sum(abs(s.size) for s in steps))


def _within(steps: Iterable[_Step], a: float, b: float) -> list[_Step]:
    return [s for s in steps if a <= s.b <= b]


def _apart_from(steps: Iterable[_Step], skew: Finding, within: float) -> list[_Step]:
    """The steps that are none of a clock's: where it was set, what is left in pairs by its lag apart is its own."""
    lag, (first, last) = skew.facts["lag"], (skew.start.timestamp(), skew.end.timestamp())
    reach = 2 * abs(lag) + 60
    beside = [s for s in steps if min(abs(s.b - first), abs(s.b - last)) <= reach]
    pairs = [*paired(beside, lag, within), *paired(beside, -lag, within)]
    gone = {id(s) for pair in pairs for s in pair}
    return [s for s in steps if id(s) not in gone]


def _clusters(items: Iterable[Any], key: Callable[[Any], float]) -> list[list[Any]]:
    groups: list[list[Any]] = []
    for item in sorted(items, key=key):
        if groups and key(item) - key(groups[-1][-1]) <= APART:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _near(steps: Iterable[_Step]) -> list[list[_Step]]:
    """Steps of one label that are near each other in time."""
    by_label: dict[int, list[_Step]] = defaultdict(list)
    for s in steps:
        by_label[s.label].append(s)
    return list(itertools.chain.from_iterable(_clusters(mine, key=lambda s: s.b) for mine in by_label.values()))


def best_lag(steps: Sequence[_Step], interval: float) -> list[float]:
    """Seconds by which rises follow falls (negative: go before them), those that most pairs share first."""
    width = max(interval, 5.0)
    votes: dict[int, float] = defaultdict(float)
    by_label: dict[int, tuple[list[_Step], list[_Step]]] = defaultdict(lambda: ([], []))
    for s in steps:
        by_label[s.label][s.size > 0].append(s)
    for falls, rises in by_label.values():
        rise_at = np.array([r.b for r in rises])
        for fall in falls:
            near = np.flatnonzero(np.abs(rise_at - fall.b) <= LAG)
            for index in near:
                votes[round((rise_at[index] - fall.b) / width)] += min(abs(fall.size), rises[index].size)
    smooth = {k: votes[k] + 0.5 * (votes.get(k - 1, 0.0) + votes.get(k + 1, 0.0)) for k in list(votes)}
    return [k * width for k in sorted(smooth, key=lambda k: -smooth[k])[:3] if abs(k * width) >= width]


def paired(steps: Sequence[_Step], lag: float, within: float) -> list[tuple[_Step, _Step]]:
    """Falls and rises of a label that are `lag` apart, each used once."""
    pairs = []
    rises = [s for s in steps if s.size > 0]
    used: set[int] = set()
    for fall in (s for s in steps if s.size < 0):
        for rise in rises:
            if id(rise) not in used and rise.label == fall.label and abs(rise.b - fall.b - lag) <= within:
                used.add(id(rise))
                pairs.append((fall, rise))
                break
    return pairs


def densest(falls: Sequence[_Step], paired_ones: set[int]) -> tuple[float, float]:
    """The time in which falls that have their rise outweigh those that have none the most (Kadane's algorithm)."""
    ordered = sorted(falls, key=lambda s: s.b)
    best, span = 0.0, (0.0, 0.0)
    score, since = 0.0, 0
    for index, fall in enumerate(ordered):
        if score <= 0:
            score, since = 0.0, index
        score += abs(fall.size) * (1.0 if id(fall) in paired_ones else -1.5)
        if score > best:
            best, span = score, (ordered[since].a, fall.b)
    return span


def thinned(falls: Sequence[_Step], events: _Events) -> bool:
    """Whether the falls are an even share of all events over a long time, as when a process is not scraped."""
    lost = -sum(s.size for s in falls)
    if len(falls) < 12:
        return False
    a, b = min(s.a for s in falls), max(s.b for s in falls)
    inside = (events.at > a) & (events.at <= b)
    total = float(events.value[inside].sum())
    if b - a < 3600 or total <= 0 or not 0.08 <= lost / total <= 0.85:
        return False
    # Even in time: the running shares of both are never far apart.
    ends = np.array(sorted((s.b, -s.size) for s in falls))
    order = np.argsort(events.at[inside], kind="stable")
    ledger = np.interp(ends[:, 0], events.at[inside][order], np.cumsum(events.value[inside][order]) / total)
    if np.max(np.abs(np.cumsum(ends[:, 1]) / lost - ledger)) > max(0.15, 1.0 / math.sqrt(len(falls))):
        return False
    # And of every label that has many.
    for label in np.unique(events.label[inside]):
        expected = float(events.value[inside & (events.label == label)].sum()) * lost / total
        if expected / lost >= 0.1 and -sum(s.size for s in falls if s.label == label) < 0.4 * expected:
            return False
    return True


def bursts(falls: Sequence[_Step], events: _Events, until: float) -> tuple[list[list[_Step]], list[_Step]]:
    """Of the falls while a process is away those that its share cannot account for, and the rest.

    Which of the rows nobody scraped were counted and which were not, no sample tells. But the process takes the same
    share of every label at every time: where far more of one label is missing for a while, the excess was never
    counted. A scan for the stretch of each label whose excess is the least likely.
    """
    left = sorted(falls, key=lambda s: s.b)
    found: list[list[_Step]] = []
    for label in sorted({s.label for s in falls}):
        mine = [s for s in left if s.label == label]
        at, total = events.of(label)
        ends = np.array([s.b for s in mine])
        begins = np.array([s.a for s in mine])
        sizes = np.concatenate([[0.0], np.cumsum([-s.size for s in mine])])
        first, last = min(s.a for s in falls), max(s.b for s in falls)
        all_lost, everything = -sum(s.size for s in left), events.between(None, first, last)
        best, span = SURE_OF_BURST, (0, 0)
        excess = 0.0
        for i in range(len(mine)):
            upto = np.arange(i + 1, int(np.searchsorted(ends, begins[i] + APART, "right")) + 1)
            if not len(upto):
                continue
            lost = sizes[upto] - sizes[i]
            happened = (
                total[np.searchsorted(at, ends[upto - 1], "right")] - total[np.searchsorted(at, begins[i], "right")]
            )
            happened = np.maximum(happened, lost)
            share = np.clip((all_lost - lost) / np.maximum(everything - happened, lost + 1e-9), 1e-6, 0.999)
            likelihood = _surprise(lost, happened, share)
            more = (lost - share * happened) / (1 - share)
            # The share must be known from what else was lost.
            known = (all_lost - lost >= MOST_BY_CHANCE) & (everything - happened >= 2 * MOST_BY_CHANCE)
            likelihood = np.where(known & (more >= MOST_BY_CHANCE / 2), likelihood, 0.0)
            k = int(np.argmax(likelihood))
            if likelihood[k] > best:
                best, span, excess = float(likelihood[k]), (i, int(upto[k])), float(more[k])
        if span[1]:
            group: list[_Step] = []
            for s in sorted(mine[slice(*span)], key=lambda s: s.size):
                if -s.size <= excess + 0.5:
                    group.append(s)
                    excess += s.size
            found.append(group)
            left = [s for s in left if s not in group]
    return found, left


def _surprise(lost: Array, happened: Array, share: Array) -> Array:
    """The logarithm by which a share of their own explains the lost ones better than the common one; 0 where fewer."""
    own, share = np.clip(lost / np.maximum(happened, 1e-9), 1e-6, 1 - 1e-6), np.clip(share, 1e-6, 1 - 1e-6)
    gain = lost * np.log(own / share) + (happened - lost) * np.log((1 - own) / (1 - share))
    result: Array = np.where(own > share, gain, 0.0)
    return result


def twins(targets: Sequence[_Target]) -> list[tuple[_Target, _Target]]:
    """Targets that are one process under two names: their counters hold the same values and move together."""
    found: list[tuple[_Target, _Target]] = []
    doubled: set[int] = set()
    for one, other in itertools.combinations(sorted(targets, key=lambda t: (t.times[0], t.instance)), 2):
        if id(one) in doubled or id(other) in doubled or set(one.raw) != set(other.raw):
            continue
        if _same(one, other):
            found.append((one, other))
            doubled.add(id(other))
    return found


def _same(one: _Target, other: _Target) -> bool:
    begin, end = max(one.times[0], other.times[0]), min(one.times[-1], other.times[-1])
    times = other.times[(other.times >= begin) & (other.times <= end)]
    if len(times) < 3:
        return False
    before = np.clip(np.searchsorted(one.times, times, "right") - 1, 0, len(one.times) - 1)
    after = np.clip(np.searchsorted(one.times, times, "left"), 0, len(one.times) - 1)
    mine = np.searchsorted(other.times, times)
    changes = fits = 0.0
    for label, values in other.raw.items():
        here = values[mine]
        left, right = one.raw[label][before], one.raw[label][after]
        fits += float(np.mean((here >= np.minimum(left, right) - 1e-6) & (here <= np.maximum(left, right) + 1e-6)))
        changes += float(np.count_nonzero(np.diff(here)))
    # Of one that says by itself that it is the same process nothing has to happen.
    return (changes >= 3 or _one_process(one, other)) and fits / len(other.raw) > 0.98


def _one_process(one: _Target, other: _Target) -> bool:
    """Whether both say that they were started at the very same moment, as long as both are scraped."""
    (mine, started), (times, values) = one.began, other.began
    if len(mine) < 3 or len(times) < 3:
        return False
    place = np.clip(np.searchsorted(mine, times, "right") - 1, 0, len(mine) - 1)
    after = np.clip(place + 1, 0, len(mine) - 1)
    same = (np.abs(started[place] - values) < 0.005) | (np.abs(started[after] - values) < 0.005)
    inside = (times >= mine[0]) & (times <= mine[-1])
    return int(inside.sum()) >= 3 and bool(same[inside].all())
