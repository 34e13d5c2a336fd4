"""A company that writes rows and counts them, scraped now and then; and the faults by which the two come apart.

    company = Company(seed, hours=6)
    company.plant("counter_reset")
    planted, found = company.planted(), company.compared()

Everything is drawn from the seed: when things happen, how much, which process, which label. A fault tells how many
events it has made differ, or moved, within the window; that is what a finding of its class must account for.

`python -m tests.simulator [RUNS [SEED]]` prints the figures of docs/reconciliation.md.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from queries.contracts import contracts
from queries.reconcile_model import KINDS, Comparison, Kind, compare

Array = np.ndarray[Any, Any]
BEGIN = 1_750_000_800.0
AROUND = 1800.0
LABELS = [(s, m) for s in ("succeeded", "failed") for m in ("card", "oxxo", "spei")]
SHARES = np.array([0.40, 0.22, 0.24, 0.07, 0.03, 0.04])


@dataclass(frozen=True)
class Planted:
    """A fault as it was put in: its class and the events that it touches within the window, but for those `undone`.

    Two things no sample can tell, whoever looks at it. `undone`: a row that was not counted and, between the same two
    scrapes, a count that is no row of that moment, of the same label: together they look as if nothing had happened.
    `alike`: rows past the instrumented path while a process is not scraped look as if that process had counted them,
    so that a finding of the other class is as true; where many come together it can still be told, by chance.
    """

    kind: Kind
    size: float
    undone: float = 0.0
    alike: float = 0.0


@dataclass
class Target:
    """A process under the name by which it is scraped, and when."""

    instance: str
    replica: int
    times: Array


def _frame(series: list[dict[str, Any]]) -> pd.DataFrame:
    """Series as one frame, a row a sample."""
    lengths = [len(one["time"]) for one in series]
    columns: dict[str, Any] = {"job": "conductores-backend"}
    for name in series[0]:
        if name in {"time", "value"}:
            columns[name] = np.concatenate([one[name] for one in series])
        else:
            columns[name] = np.repeat(np.array([one[name] for one in series], dtype=object), lengths)
    return pd.DataFrame(columns)


class Company:
    """One run: `hours` of payments on `replicas` processes, scraped every `interval` seconds."""

    def __init__(
        self, seed: int, *, hours: float = 6.0, replicas: int = 2, interval: float = 15.0, hourly: float = 240.0
    ) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.interval = interval
        self.start, self.end = BEGIN, BEGIN + hours * 3600
        self.first, self.last = self.start - AROUND, self.end + AROUND
        span = self.last - self.first
        # Busy and quiet hours.
        n = int(rng.poisson(hourly * span / 3600))
        raw = np.sort(rng.random(n * 2)) * span
        keep = rng.random(n * 2) < 0.5 * (1 + 0.7 * np.sin(raw / 3600 * 0.9 + rng.random() * 6))
        at = self.first + raw[keep]
        n = len(at)
        self.at = at
        self.counted = at + np.minimum(rng.exponential(0.08, n), 1.5)
        self.label = rng.choice(len(LABELS), n, p=SHARES)
        self.metric_label = self.label.copy()
        self.replica = rng.integers(0, replicas, n)
        self.in_ledger = np.ones(n, dtype=bool)
        self.times_counted = np.ones(n)
        self.committed = np.full(n, np.nan)
        # Some rows are changed later, which their time of writing then tells.
        changed = rng.random(n) < 0.08
        self.committed[changed] = at[changed] + rng.uniform(20, 7200, int(changed.sum()))
        self.touched = np.zeros(n, dtype=bool)
        self.boots: dict[int, list[float]] = {r: [] for r in range(replicas)}
        self.base = rng.integers(50, 40_000, (replicas, len(LABELS)))
        self.targets = [Target(f"backend-{r + 1}", r, self._scrapes()) for r in range(replicas)]
        self.used: set[int] = set()
        # Each fault with how many events it touches, or which.
        self.faults: list[tuple[Kind, float | Array]] = []
        # By fault, the events whose row is not counted under its label, and those counted beyond the rows.
        self.lacks: list[tuple[int, Array]] = []
        self.adds: list[tuple[int, Array]] = []
        # Since when a process is not scraped.
        self.away: list[float] = []
        self.halves = [0, 1]
        self.skews: list[tuple[float, float, float]] = []
        # While Prometheus itself is away nothing is scraped.
        self.outages: list[tuple[float, float]] = []

    def _scrapes(self) -> Array:
        rng = self.rng
        times = np.arange(self.first + rng.uniform(0, self.interval), self.last, self.interval)
        times = times + rng.normal(0, 0.01, len(times))
        # One scrape in four hundred is missed, as everywhere.
        return times[rng.random(len(times)) > 0.0025]

    # --- faults ---

    def plant(self, kind: Kind) -> None:
        """Put in a fault of that class at a random time and of a random size."""
        touched = getattr(self, f"_{kind}")()
        self.faults.append((kind, touched))

    def planted(self) -> list[Planted]:
        """What was put in, once all is: a fault of a process that another one has left unscraped is in no sample."""
        undone = self._undone()
        told = []
        for place, (kind, touched) in enumerate(self.faults):
            size = float(touched if np.isscalar(touched) else self._seen(touched).sum())
            hidden = min(undone[place], size)
            alike = 0
            if kind == "row_without_metric":
                [rows] = [self.at[which] for one, which in self.lacks if one == place]
                alike = int((rows > min(self.away, default=np.inf)).sum())
            told.append(Planted(kind, size - hidden, hidden, float(alike)))
        return told

    def _undone(self) -> dict[int, float]:
        """By fault, how many of its events are undone by another: see `Planted`.

        The ledger does not know which process counts a row, so the samples are those of a run without both.
        """
        missing = [(place, int(i)) for place, which in self.lacks for i in which]
        surplus = [(place, int(i), int(self.metric_label[i])) for place, which in self.adds for i in which]
        undone: dict[int, float] = defaultdict(float)
        tolerance = contracts()["payments"].tolerance
        free = defaultdict(list)
        for place, i in missing:
            free[int(self.label[i])].append((float(self.at[i]), place, i))
        for rows in free.values():
            rows.sort()
        scrapes = {target.replica: target.times for target in self.targets}
        for place, i, label in sorted(surplus, key=lambda one: self.counted[one[1]]):
            times = scrapes.get(int(self.replica[i]))
            if times is None:
                continue
            after = int(np.searchsorted(times, self.counted[i], "left"))
            if not 0 < after < len(times):
                continue
            first, last = times[after - 1] - tolerance.behind - 1, times[after] + tolerance.ahead
            for row in free[label]:
                if row[2] != i and first < row[0] <= last:
                    # Of two late rows the one that is written as the other happens makes one of them.
                    for fault in {place, row[1]}:
                        undone[fault] += 1
                    free[label].remove(row)
                    break
        return undone

    def _seen(self, events: Array) -> Array:
        """Which of these events, given by their places, were counted by a process that was scraped afterwards."""
        seen = np.zeros(len(events), dtype=bool)
        for target in self.targets:
            counted = self.counted[events]
            seen |= (
                (self.replica[events] == target.replica) & (counted > target.times[0]) & (counted <= target.times[-1])
            )
        return seen & (self.times_counted[events] > 0) & (self.at[events] >= self.start) & (self.at[events] < self.end)

    def _replica(self) -> int:
        """A process that no other fault has taken, while there is one."""
        free = [r for r in self.boots if r not in self.used] or list(self.boots)
        chosen = int(self.rng.choice(free))
        self.used.add(chosen)
        return chosen

    def _span(self, least: float, most: float) -> tuple[float, float]:
        length = self.rng.uniform(least, most)
        begin = self.rng.uniform(self.start + 300, self.end - length - 300)
        return begin, begin + length

    def _inside(self, mask: Array) -> int:
        return int((mask & (self.at >= self.start) & (self.at < self.end)).sum())

    def _counter_reset(self) -> int:
        replica, lost = self._replica(), 0
        target = next(t for t in self.targets if t.replica == replica)
        for _ in range(60):
            boot = self.rng.uniform(self.start + 600, self.end - 600)
            if any(abs(boot - other) < 600 for other in self.boots[replica]):
                continue
            down = self.rng.uniform(2, 40)
            before = target.times[target.times <= boot]
            gone = self.in_ledger & (self.replica == replica) & (self.counted > before[-1]) & (self.counted <= boot)
            gone &= self.times_counted > 0
            if gone.sum() == 0 and self.rng.random() < 0.9:
                continue
            # While it is down the others serve, or nobody does.
            idle = (self.replica == replica) & (self.at > boot) & (self.at <= boot + down)
            others = [r for r in self.boots if r != replica and all(abs(b - boot) > 90 for b in self.boots[r])]
            if others:
                self.replica[idle] = self.rng.choice(others)
            else:
                self.in_ledger[idle], self.times_counted[idle] = False, 0
            self.boots[replica].append(boot)
            target.times = target.times[(target.times <= boot) | (target.times > boot + down)]
            self.touched |= gone
            lost += self._inside(gone)
            if lost and self.rng.random() < 0.5:
                break
        return lost

    def _scrape_gap(self) -> int:
        a, b = self._span(180, 1200)
        self.outages.append((a, b))
        return self._inside(self.in_ledger & (self.at > a) & (self.at <= b))

    def _replica_missing(self) -> int:
        replica = self._replica()
        how = self.rng.choice(["leaves", "never"])
        since = self.rng.uniform(self.start + 1800, self.end - 5400) if how == "leaves" else self.first
        for target in [t for t in self.targets if t.replica == replica]:
            target.times = target.times[target.times < since]
            last = target.times[-1] if len(target.times) else self.first
            since = max(last, self.first)
        self.targets = [t for t in self.targets if len(t.times)]
        gone = (self.replica == replica) & (self.counted > since) & self.in_ledger
        self.touched |= gone
        self.lacks.append((len(self.faults), np.flatnonzero(gone)))
        self.away.append(since)
        return self._inside(gone)

    def _counted_twice(self) -> int:
        replica = self._replica()
        a, b = (self.first, self.last) if self.rng.random() < 0.5 else self._span(3600, self.end - self.start - 900)
        times = self._scrapes()
        times = times[(times > a) & (times <= b)]
        self.targets.append(Target(f"backend-{replica + 1}-again", replica, times))
        seen = (self.replica == replica) & (self.counted > times[0]) & (self.counted <= times[-1])
        return int((self.times_counted * (seen & (self.at >= self.start) & (self.at < self.end))).sum())

    def _some(self, most: int) -> tuple[Array, int]:
        """Events of one label within a few minutes that no other fault has touched."""
        for _ in range(50):
            a, b = self._span(60, 1500)
            label = int(self.rng.choice(len(LABELS), p=SHARES))
            free = np.flatnonzero(
                (self.at > a) & (self.at < b) & (self.label == label) & ~self.touched & self.in_ledger
            )
            if len(free):
                chosen = self.rng.choice(free, min(len(free), int(self.rng.integers(1, most + 1))), replace=False)
                self.touched[chosen] = True
                return chosen, label
        raise AssertionError("no event is free")

    def _row_without_metric(self) -> int:
        # Written past the instrumented path: a script, a correction by hand.
        a, b = self._span(30, 1500)
        count = int(self.rng.integers(1, 31))
        label = int(self.rng.choice(len(LABELS), p=SHARES))
        self._add(np.sort(self.rng.uniform(a, b, count)), label, in_ledger=True, times=0)
        self.lacks.append((len(self.faults), np.arange(len(self.at) - count, len(self.at))))
        return count

    def _metric_without_row(self) -> Array:
        # Counted, and the transaction rolled back.
        a, b = self._span(30, 1500)
        count = int(self.rng.integers(1, 31))
        label = int(self.rng.choice(len(LABELS), p=SHARES))
        self._add(np.sort(self.rng.uniform(a, b, count)), label, in_ledger=False, times=1)
        added = np.arange(len(self.at) - count, len(self.at))
        self.adds.append((len(self.faults), added))
        return added

    def _add(self, at: Array, label: int, *, in_ledger: bool, times: int) -> None:
        n = len(at)
        seen = [r for r in self.boots if r not in self.used] or list(self.boots)
        for name, values in {
            "at": at,
            "counted": at + 0.05,
            "label": np.full(n, label),
            "metric_label": np.full(n, label),
            "replica": self.rng.choice(seen, n),
            "in_ledger": np.full(n, in_ledger),
            "times_counted": np.full(n, float(times)),
            "committed": np.full(n, np.nan),
            "touched": np.full(n, True),
        }.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))

    def _double_count(self) -> Array:
        # A retry counts again.
        a, b = self._span(1800, 7200)
        share = self.rng.uniform(0.3, 1.0)
        labels = self.rng.choice(len(LABELS), int(self.rng.integers(1, 4)), replace=False, p=SHARES)
        again = (self.at > a) & (self.at < b) & np.isin(self.label, labels) & ~self.touched & self.in_ledger
        again &= self.rng.random(len(again)) < share
        self.times_counted[again] += 1
        self.touched |= again
        self.adds.append((len(self.faults), np.flatnonzero(again)))
        return np.flatnonzero(again)

    def _wrong_label(self) -> Array:
        a, b = self._span(1800, 7200)
        source, to = self.rng.choice(len(LABELS), 2, replace=False, p=SHARES)
        moved = (self.at > a) & (self.at < b) & (self.label == source) & ~self.touched & self.in_ledger
        self.metric_label[moved] = to
        self.touched |= moved
        self.lacks.append((len(self.faults), np.flatnonzero(moved)))
        self.adds.append((len(self.faults), np.flatnonzero(moved)))
        return np.flatnonzero(moved)

    def _clock_skew(self) -> int:
        # A clock is off by one time at a time: a second skew takes the other half of the run.
        half = (self.end - self.start) / 2
        side = self.halves.pop(int(self.rng.integers(len(self.halves))))
        length = self.rng.uniform(3000, half - 900)
        a = self.start + side * half + self.rng.uniform(300, half - length - 300)
        b = a + length
        skew = float(self.rng.choice([-1, 1]) * self.rng.uniform(45, 600))
        hit = (self.at > a) & (self.at < b)
        written = (self.committed > a) & (self.committed < b)
        self.at = np.where(hit, self.at + skew, self.at)
        self.committed = np.where(written, self.committed + skew, self.committed)
        self.skews.append((a, b, skew))
        return self._inside(hit & self.in_ledger)

    def _late_commit(self) -> Array:
        chosen, _ = self._some(40)
        happened = self.counted[chosen]
        if self.rng.random() < 0.5:
            # One transaction that was long open.
            written = happened.max() + self.rng.uniform(60, 900) + np.zeros(len(chosen))
        else:
            written = happened + self.rng.uniform(60, 1200, len(chosen))
        self.counted[chosen] = written + 0.05
        # The row tells it by the clock that its machine has then.
        self.committed[chosen] = written
        for first, last, skew in self.skews:
            self.committed[chosen] += np.where((written > first) & (written < last), skew, 0.0)
        self.lacks.append((len(self.faults), chosen))
        self.adds.append((len(self.faults), chosen))
        return chosen

    # --- what the sources say ---

    def events(self) -> pd.DataFrame:
        """The ledger's answer."""
        known = self.in_ledger & (self.at >= self.first) & (self.at < self.last)
        late = self.committed - self.at >= 10
        committed = np.where(late, np.floor(self.committed), np.nan)[known]
        labels = np.array(LABELS)[self.label[known]]
        frame = pd.DataFrame(
            {
                "at": pd.to_datetime(np.floor(self.at[known]), unit="s", utc=True),
                "committed": pd.to_datetime(committed, unit="s", utc=True),
                "status": labels[:, 0],
                "method": labels[:, 1],
                "n": 1,
            }
        )
        return frame.sort_values("at", ignore_index=True)

    def samples(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Prometheus's answer: the counters as scraped, and `up`."""
        parts: list[dict[str, Any]] = []
        ups: list[dict[str, Any]] = []
        for target in self.targets:
            for a, b in self.outages:
                target.times = target.times[(target.times <= a) | (target.times > b)]
            times = target.times
            mine = self.replica == target.replica
            boots = np.array(sorted(self.boots[target.replica]))
            ups.append({"time": times, "instance": target.instance, "value": np.ones(len(times))})
            since = np.searchsorted(boots, times, "right")
            for label, (status, method) in enumerate(LABELS):
                here = mine & (self.metric_label == label) & (self.times_counted > 0)
                order = np.argsort(self.counted[here], kind="stable")
                when, total = self.counted[here][order], np.cumsum(self.times_counted[here][order])
                total = np.concatenate([[0.0], total])
                by_now = total[np.searchsorted(when, times, "right")]
                values = self.base[target.replica, label] + by_now
                if len(boots):
                    by_boot = total[np.searchsorted(when, boots, "right")][np.maximum(since - 1, 0)]
                    values = np.where(since > 0, by_now - by_boot, values)
                parts.append(
                    {"time": times, "instance": target.instance, "status": status, "method": method, "value": values}
                )
        return _frame(parts), _frame(ups)

    def openmetrics(self) -> str:
        """The samples as text for promtool."""
        samples, up = self.samples()
        lines = ["# TYPE payments_processed counter"]
        for key, part in samples.groupby(["instance", "status", "method"]):
            labels = f'job="conductores-backend",instance="{key[0]}",status="{key[1]}",method="{key[2]}"'
            lines += [
                f"payments_processed_total{{{labels}}} {value:.0f} {when:.3f}"
                for when, value in zip(part["time"], part["value"], strict=True)
            ]
        lines.append("# TYPE up gauge")
        for instance, part in up.groupby("instance"):
            labels = f'job="conductores-backend",instance="{instance}"'
            lines += [f"up{{{labels}}} 1 {when:.3f}" for when in part["time"]]
        return "\n".join([*lines, "# EOF", ""])

    def rows(self) -> list[dict[str, Any]]:
        """The rows of bi.payments, numbered as they happened."""
        found = np.flatnonzero(self.in_ledger)
        found = found[np.argsort(self.at[found], kind="stable")]
        return [
            {
                "payment_id": number,
                "at": datetime.fromtimestamp(self.at[i], UTC),
                "status": LABELS[self.label[i]][0],
                "method": LABELS[self.label[i]][1],
                "updated_at": datetime.fromtimestamp(np.fmax(self.committed[i], self.at[i]), UTC),
                "counted": bool(self.times_counted[i]),
            }
            for number, i in enumerate(found.tolist(), start=1)
        ]

    def compared(self) -> Comparison:
        """What reconciliation says of it."""
        samples, up = self.samples()
        return compare(
            contracts()["payments"],
            self.events(),
            samples,
            up,
            start=self.start,
            end=self.end,
            interval=self.interval,
        )


def attributed(planted: Sequence[Planted], found: Comparison) -> tuple[float, float, float]:
    """(events planted, of them those that findings of the right class account for, events that findings add)."""
    wanted: dict[str, float] = defaultdict(float)
    told: dict[str, float] = defaultdict(float)
    for one in planted:
        wanted[one.kind] += one.size
    for finding in found.findings:
        told[finding.kind] += finding.size
    right = sum(min(size, told[kind]) for kind, size in wanted.items())
    return sum(wanted.values()), right, sum(max(size - wanted[kind], 0.0) for kind, size in told.items())


def run(seed: int, kinds: Sequence[Kind], hours: float = 6.0) -> tuple[list[Planted], Comparison]:
    """A company with these faults, of a size and shape that the seed draws."""
    draw = np.random.default_rng(seed)
    # One process at least is left to be scraped.
    least = 1 + max(list(kinds).count("replica_missing"), 1)
    company = Company(
        seed,
        hours=hours,
        replicas=int(draw.integers(least, 4)),
        interval=float(draw.choice([15.0, 30.0])),
        hourly=draw.uniform(120, 400),
    )
    for kind in kinds:
        company.plant(kind)
    return company.planted(), company.compared()


@dataclass(frozen=True)
class Judged:
    """Of a run, for a class: events planted, attributed to it, to a class that is as true, undone, added by others."""

    kind: Kind
    planted: float
    attributed: float
    alike: float
    undone: float
    added: float


def judged(seed: int, kinds: Sequence[Kind], hours: float = 6.0) -> list[Judged]:
    """How much of what was planted in a run findings of the right class account for, a row a class."""
    planted, found = run(seed, kinds, hours)
    wanted: dict[str, float] = defaultdict(float)
    told: dict[str, float] = defaultdict(float)
    for one in planted:
        wanted[one.kind] += one.size
    for finding in found.findings:
        told[finding.kind] += finding.size
    beside = sum(size for kind, size in told.items() if kind not in kinds)
    rows = []
    for kind in dict.fromkeys(kinds):
        mine = [one for one in planted if one.kind == kind]
        right = min(wanted[kind], told[kind])
        spare = max(told["replica_missing"] - wanted["replica_missing"], 0.0)
        alike = min(sum(one.alike for one in mine), spare, wanted[kind] - right)
        rows.append(Judged(kind, wanted[kind], right, alike, sum(one.undone for one in mine), beside))
        beside = 0.0
    return rows


def figures(runs: int, seed: int = 1) -> pd.DataFrame:
    """For each class, alone and in pairs, over `runs` runs each: how, and the columns of `Judged`."""
    jobs: list[tuple[int, tuple[Kind, ...]]] = [(seed + n, (kind,)) for kind in KINDS for n in range(runs)]
    pairs = combinations_with_replacement(KINDS, 2)
    jobs += [(seed + 1000 + n, pair) for pair in pairs for n in range(max(runs // 5, 1))]
    with ProcessPoolExecutor() as pool:
        told = pool.map(judged, *zip(*jobs, strict=True), chunksize=8)
    rows = [
        {"how": "alone" if len(kinds) == 1 else "in pairs", **vars(row)}
        for (_, kinds), found in zip(jobs, told, strict=True)
        for row in found
    ]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    runs, first = (int(sys.argv[n]) if len(sys.argv) > n else usual for n, usual in ((1, 40), (2, 1)))
    began = time.monotonic()
    wrong = sum(bool(run(seed, [])[1].findings) for seed in range(200))
    print(f"clean runs with a finding: {wrong} of 200 ({time.monotonic() - began:.0f} s)")
    table = figures(runs, first)
    whole = table.groupby(["how", "kind"])[["planted", "attributed", "alike", "undone", "added"]].sum()
    whole["share"] = whole["attributed"] / whole["planted"]
    whole["with_alike"] = (whole["attributed"] + whole["alike"]) / whole["planted"]
    whole["runs"] = table.groupby(["how", "kind"]).size()
    print(whole.round(3).to_string())
    for how, part in table.groupby("how"):
        print(f"{how}: {part['attributed'].sum() / part['planted'].sum():.4f} of {part['planted'].sum():,.0f} events")
    print(f"{time.monotonic() - began:.0f} s")
