"""Service level objectives: good, bad and undecided events from the metrics or the ledger, side by side.

    slo = slos()["disbursement_48h"]
    told = standing(slo, today)
    told.budget.left, told.burns, told.runs_out

An SLI of the ledger is exact, may be restated when late facts arrive, and knows events that are not decided yet. One of
the metrics is `increase()` of counters: about so many events, and never restated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import pandas as pd

from queries import budgets
from queries.budgets import Budget, Window
from queries.calendar import business_day
from queries.errors import SourceError
from queries.events import events
from queries.library import Column, Param, Query
from queries.metrics_client import MetricsClient
from queries.slo_file import PERIOD_DAYS, SECONDS, Counters, Slo, slos
from queries.sources import Answer, _connected, answer_of, ledger, timezone

__all__ = [
    "Restated",
    "Slo",
    "Standing",
    "days",
    "history",
    "hours",
    "in_the_end",
    "recent",
    "restated",
    "retention_gap",
    "slos",
    "spent_during",
    "standing",
    "undecided",
]


@dataclass(frozen=True)
class Standing:
    """Where an objective stands.

    `burns` is what `budgets.burn_table` gives; `runs_out` the days until the budget is spent at the pace of the last
    three days (0: spent, None: it lasts, see `budgets.runs_out`; also without an event in them). `amount` and
    `amount_bad` are the MXN of all and of bad events, None where events carry none. `days` has the events of the window
    by day and segment.
    """

    slo: Slo
    window: Window
    first: date
    last: date
    budget: Budget
    burns: pd.DataFrame
    runs_out: int | None
    days: pd.DataFrame
    amount: Decimal | None = None
    amount_bad: Decimal | None = None

    @property
    def exact(self) -> bool:
        """Whether the ledger counted the events; the metrics tell about how many."""
        return self.slo.sli.sql is not None

    @property
    def answer(self) -> Answer:
        """The stamp of the events by day."""
        return answer_of(self.days)

    @property
    def amount_budget(self) -> Decimal | None:
        """The MXN that may be bad."""
        return None if self.amount is None else self.amount * Decimal(str(self.slo.budget))

    @property
    def firing(self) -> bool:
        """Whether an alert of this objective would fire now."""
        return bool(self.burns["firing"].any())


# --- the metrics ------------------------------------------------------------------------------------------------------

_TIMES = (Param("start", "timestamptz"), Param("end", "timestamptz", None, False))
_DAYS = (Param("days", "date[]"), Param("day", "date"), Param("as_of", "timestamptz", None, False))


def _labelled(expression: str, **labels: str) -> str:
    for name, value in labels.items():
        expression = f'label_replace({expression}, "{name}", "{value}", "", "")'
    return expression


def _sums(counters: Counters, span: str, by: str, **labels: str) -> str:
    """PromQL: bad and total events over `span`, told apart by the label `state`.

    A missing bad series is no bad event. A missing good series is an SLI that cannot be read: then there is no answer.
    """
    total = f"sum{by} (increase({counters.total}[{span}]))"
    if counters.bad is not None:
        bad = f"(sum{by} (increase({counters.bad}[{span}])) or 0 * {total})"
    else:
        bad = f"clamp_min({total} - sum{by} (increase({counters.good}[{span}])), 0)"
    return f"{_labelled(bad, state='bad', **labels)}\nor\n{_labelled(total, state='total', **labels)}"


@cache
def _query(name: str, part: str) -> Query:
    """The PromQL of an objective, made of the selectors that `monitoring/slos.yaml` holds and of nothing else."""
    slo = slos()[name]
    counters = slo.sli.promql
    assert counters is not None
    words = f"{slo.label.en}: bad and all events"
    state = Column("state", "text", "", "bad or total")
    value = Column("value", "double", "count", "events, about")
    if part == "recent":
        text = "\nor\n".join(_sums(counters, window, "", window=window) for window in SECONDS)
        columns = (Column("window", "text", "", "length of the window"), state, value)
        return Query(f"slos/{name}/recent", "metrics", words, "By window up to now.", text, (), columns, 30, "instant")
    if part == "hours":
        text = _sums(counters, "1h", "")
        columns = (Column("time", "timestamptz", "", "end of the hour"), state, value)
        params = (*_TIMES, Param("step", "integer", 3600, False))
        return Query(f"slos/{name}/hours", "metrics", words, "By hour.", text, params, columns, 300, "range")
    label = next(iter(slo.segments))
    by_segment = (Column("day", "date", "", "business day"), Column(label, "text", "", "segment"), state, value)
    text = _sums(counters, "$window", f" by ({label})")
    # Days that are over do not change.
    ttl = 60.0 if part == "today" else 1800.0
    return Query(f"slos/{name}/{part}", "metrics", words, "By day and segment.", text, _DAYS, by_segment, ttl, "days")


def _wide(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Good and bad events by keys, from rows by state."""
    if frame.empty:
        return pd.DataFrame({**{key: pd.Series(dtype="str") for key in keys}, "good": [], "bad": []})
    if not set(keys) - set(frame) and "state" in frame:
        table = frame.pivot_table(index=keys, columns="state", values="value", aggfunc="sum", dropna=True).reset_index()
        table.columns.name = None
        # Without one of the two nothing can be said.
        if {"bad", "total"} <= set(table):
            table = table.dropna(subset=["bad", "total"])
            # increase() is extrapolated on each side: bad must not exceed all.
            table["bad"] = table[["bad", "total"]].min(axis=1).clip(lower=0)
            table["good"] = table["total"] - table["bad"]
            return table[[*keys, "good", "bad"]].reset_index(drop=True)
    return pd.DataFrame({**{key: pd.Series(dtype="str") for key in keys}, "good": [], "bad": []})


def _metric_days(slo: Slo, first: date, last: date) -> pd.DataFrame:
    label = next(iter(slo.segments))
    house = _connected()
    running = business_day(timezone())
    asked = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    past = [day for day in asked if day < running]
    frames = []
    if past:
        frames.append(house.ask(_query(slo.name, "days"), {"days": past, "day": past[-1]}))
    if running in asked:
        frames.append(house.ask(_query(slo.name, "today"), {"days": [running], "day": running}))
    answer = answer_of(frames[-1])
    whole = [frame for frame in frames if len(frame)]
    found = pd.concat(whole, ignore_index=True) if whole else frames[-1]
    if label not in found:
        found[label] = ""
    found[label] = found[label].fillna("")
    wide = _wide(found, ["day", label])
    wide["day"] = pd.to_datetime(wide["day"])
    # The stamp of the answer that is read anew; the days that are over are older and do not change.
    wide.attrs["answer"] = replace(answer, text="\n\n".join(dict.fromkeys(answer_of(one).text for one in frames)))
    return wide


# --- both -------------------------------------------------------------------------------------------------------------


def days(slo: Slo, first: date, last: date) -> pd.DataFrame:
    """Good and bad events by business day and segment, first and last inclusive, with the stamp of its answer.

    Columns: day (midnight, no zone), the keys of `slo.segments`, good, bad (float64), and where events carry an amount
    good_amount and bad_amount (Decimal, MXN). Raises SourceError.
    """
    if slo.sli.sql is None:
        return _metric_days(slo, first, last)
    frame = ledger(f"slos/{slo.sli.sql}/days", {"first": first, "last": last})
    told = frame.astype({"good": "float64", "bad": "float64"})
    told.attrs = dict(frame.attrs)
    return told


def hours(slo: Slo, first: date, last: date) -> pd.DataFrame:
    """Good and bad events by hour. Columns: time (its start, configured zone), good, bad. Raises SourceError."""
    if slo.sli.sql is not None:
        frame = ledger(f"slos/{slo.sli.sql}/hours", {"first": first, "last": last})
        told = frame.astype({"good": "float64", "bad": "float64"})
        told.attrs = dict(frame.attrs)
        return told
    zone = timezone()
    start = datetime(first.year, first.month, first.day, tzinfo=zone) + timedelta(hours=1)
    end = min(datetime(last.year, last.month, last.day, tzinfo=zone) + timedelta(days=1), datetime.now(zone))
    # On the whole hour, so that the same period gives the same question within it.
    end = end.replace(minute=0, second=0, microsecond=0)
    frame = _connected().ask(_query(slo.name, "hours"), {"start": min(start, end - timedelta(hours=1)), "end": end})
    wide = _wide(frame, ["time"])
    wide["time"] = (pd.to_datetime(wide["time"], utc=True) - pd.Timedelta(hours=1)).dt.tz_convert(zone)
    wide.attrs = dict(frame.attrs)
    return wide


def recent(slo: Slo) -> dict[str, tuple[float, float]]:
    """(good, bad) events of the windows of SECONDS up to now; a window that nothing is known of is left out.

    Raises SourceError.
    """
    if slo.sli.sql is not None:
        return _sliced(ledger(f"slos/{slo.sli.sql}/recent"))
    wide = _wide(_connected().ask(_query(slo.name, "recent"), {}), ["window"])
    return {row.window: (float(row.good), float(row.bad)) for row in wide.itertuples()}


def _sliced(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Good and bad events of each window, from slices of five minutes counted backwards."""
    found = {}
    for window, seconds in SECONDS.items():
        inside = frame[frame["slice"] < seconds // 300]
        found[window] = (float(inside["good"].sum()), float(inside["bad"].sum()))
    return found


def standing(slo: Slo, today: date, window: Window | None = None) -> Standing:
    """Where the objective stands on `today`, the day that is running. Raises SourceError."""
    window = window or slo.window
    usual_first = budgets.first_day("rolling", today)
    first = budgets.first_day(window, today)
    # One question for both windows: the rolling one also says what traffic is usual.
    whole = days(slo, min(first, usual_first), today)
    inside = whole[whole["day"] >= pd.Timestamp(first)]
    inside.attrs = dict(whole.attrs)
    usual = whole[whole["day"] >= pd.Timestamp(usual_first)][["good", "bad"]].sum()
    counts = recent(slo)
    budget = Budget(float(inside["good"].sum()), float(inside["bad"].sum()), slo.objective)
    pace = counts.get("3d", (0.0, 0.0))
    lasts = None
    if budget.total > 0:
        lasts = budgets.runs_out(
            budgets.by_day(whole, min(first, usual_first), today), window, slo.objective, pace[0] / 3, pace[1] / 3
        )
    amount = amount_bad = None
    if slo.mxn:
        amount_bad = sum(inside["bad_amount"], Decimal(0))
        amount = amount_bad + sum(inside["good_amount"], Decimal(0))
    return Standing(
        slo=slo,
        window=window,
        first=first,
        last=today,
        budget=budget,
        burns=budgets.burn_table(counts, slo.objective, float(usual.sum()), slo.least_bad),
        runs_out=lasts,
        days=inside,
        amount=amount,
        amount_bad=amount_bad,
    )


def history(slo: Slo, today: date, window: Window, length: int) -> pd.DataFrame:
    """The budget left at the end of each of the last `length` days; see `budgets.history`. Raises SourceError.

    Days whose window began before the first event that is known are left out: they would look better than they were.
    """
    since = today - timedelta(days=length - 1)
    begin = since.replace(day=1) if window == "month" else since - timedelta(days=PERIOD_DAYS - 1)
    found = days(slo, begin, today)
    frame = budgets.history(budgets.by_day(found, begin, today), window, slo.objective, since)
    if len(found):
        known = pd.to_datetime(found["day"]).min().date()
        # A window of the ledger that begins with quiet days is whole all the same; counters are never quiet for days.
        starts = frame["day"].map(
            lambda day: day.replace(day=1) if window == "month" else day - timedelta(days=PERIOD_DAYS - 1)
        )
        if slo.sli.sql is None:
            frame = frame[(starts >= known) | (frame["day"] == today)].reset_index(drop=True)
    frame["day"] = pd.to_datetime(frame["day"])
    frame.attrs = dict(found.attrs)
    return frame


def undecided(slo: Slo) -> pd.DataFrame:
    """Events that are neither good nor bad yet, the next to breach first; none for an SLI of the metrics.

    Columns: credit_id, segment, amount (Decimal, MXN), since, breaches_at (null where no deadline decides), note.
    Raises SourceError.
    """
    if slo.sli.sql is None:
        raise SourceError(
            "Counters know no undecided events.", kind="not_configured", source="metrics", query=f"slos/{slo.name}"
        )
    return ledger(f"slos/{slo.sli.sql}/undecided")


def in_the_end(told: Standing) -> tuple[int, int] | None:
    """(installments tried, of them paid by now) in the window of an objective of attempts; None for the others.

    Raises SourceError.
    """
    if told.slo.sli.sql != "payment_success":
        return None
    row = ledger("slos/payment_success/in_the_end", {"first": told.first, "last": told.last}).iloc[0]
    return int(row["tried"]), int(row["paid"])


@dataclass(frozen=True)
class Restated:
    """The budget of the events decided from the window's first day up to `known_at`, as told then and as told now."""

    known_at: datetime
    then: Budget
    now: Budget
    events: int


def restated(slo: Slo, first: date, back: timedelta) -> Restated | None:
    """What late facts have changed since the moment `back` ago; None for counters, which are never restated.

    The moment is on a quarter of an hour. Raises SourceError.
    """
    if slo.sli.sql is None:
        return None
    moment = datetime.now(UTC) - back
    moment = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0).astimezone(timezone())
    if moment.date() <= first:
        return None
    row = ledger(f"slos/{slo.sli.sql}/restated", {"first": first, "known_at": moment}).iloc[0]
    return Restated(
        known_at=moment,
        then=Budget(float(row["good_then"]), float(row["bad_then"]), slo.objective),
        now=Budget(float(row["good"]), float(row["bad"]), slo.objective),
        events=int(row["restated"]),
    )


def spent_during(told: Standing) -> pd.DataFrame:
    """What was spent while events lasted; see `budgets.spent_during`. Raises SourceError."""
    frame = hours(told.slo, told.first, told.last)
    spent = budgets.spent_during(frame, events(told.first, told.last), told.budget, datetime.now(timezone()))
    spent.attrs = dict(frame.attrs)
    return spent


# --- retention --------------------------------------------------------------------------------------------------------

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def retention_days(told: str) -> float | None:
    """Days of Prometheus' own words for its retention, such as `15d`, `2w3d` or `30d or 512MB`; None: by size alone."""
    first = told.split(" or ")[0].strip()
    if not re.fullmatch(r"(\d+(ms|[smhdwy]))+", first):
        return None
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|[smhdwy])", first)) / 86400


def retention_gap(told: Standing) -> tuple[float, bool] | None:
    """(days that the metrics hold, whether Prometheus is set to keep no more) when that is less than the window.

    None when they hold the whole window, and for the ledger. The days are what Prometheus says of itself or, where it
    says nothing (other engines do not), the age of the first day that has a sample.
    """
    if told.slo.sli.sql is not None:
        return None
    wanted = (told.last - told.first).days + 1
    house = _connected()
    client = house.client("metrics")
    assert isinstance(client, MetricsClient)
    said = house.cache.get(
        ("retention",),
        client.retention,
        source="metrics",
        ttl=300.0,
        grace=house.sources.grace,
        deadline=house.sources.connect_timeout,
        while_waiting=house.while_waiting,
    ).value
    kept = retention_days(said) if said else None
    if kept is not None and kept < wanted:
        return kept, True
    if told.days.empty:
        return 0.0, False
    held = (told.last - pd.to_datetime(told.days["day"]).min().date()).days + 1
    return (float(held), False) if held < wanted else None


def window_counts(slo: Slo, today: date) -> dict[tuple[str, str], float]:
    """Events of an SLI of the ledger by (window, state), for `/metrics`: the windows of the burn rates, and 30d.

    States: good, bad and undecided; the last is of now and stands with every window. Raises SourceError.
    """
    found: dict[tuple[str, str], float] = {}
    asked = ledger(f"slos/{slo.sli.sql}/recent")
    month = days(slo, budgets.first_day("rolling", today), today)
    waiting = undecided(slo)
    for frame in (asked, month, waiting):
        # Remembered numbers are for people, who see their age; an alert must not be told them as if they were of now.
        if answer_of(frame).error is not None:
            raise SourceError(str(answer_of(frame).error), kind="down", source="ledger")
    counts = _sliced(asked)
    counts[f"{PERIOD_DAYS}d"] = (float(month["good"].sum()), float(month["bad"].sum()))
    open_now = float(len(waiting))
    for window, (good, bad) in counts.items():
        found |= {(window, "good"): good, (window, "bad"): bad, (window, "undecided"): open_now}
    return found
