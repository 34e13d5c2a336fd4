"""Error budgets: plain arithmetic on good and bad events. No source and no clock is known here.

A budget is counted in events, so that a quiet night and a busy noon weigh what they are (Google, The Site Reliability
Workbook, chapters 2 and 5): of `total` events, `(1 - objective) * total` may be bad.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from queries.slo_file import BURNS, PERIOD_DAYS, SECONDS
from queries.statistics import wilson

Window = Literal["rolling", "month"]
# One-sided 95 %: of the bad share, the lower bound that alerts and the page judge by.
CONFIDENCE = 0.90


@dataclass(frozen=True)
class Budget:
    """Good and bad events of a window against its objective."""

    good: float
    bad: float
    objective: float

    @property
    def total(self) -> float:
        """Events that were decided."""
        return self.good + self.bad

    @property
    def allowed(self) -> float:
        """Bad events that the window allows."""
        return (1 - self.objective) * self.total

    @property
    def sli(self) -> float:
        """The share of good events; NaN without events."""
        return self.good / self.total if self.total > 0 else math.nan

    @property
    def left(self) -> float:
        """The share of the budget that is left, negative when it is overspent; NaN without events."""
        return 1 - self.bad / self.allowed if self.total > 0 else math.nan

    @property
    def events_left(self) -> float:
        """Bad events that the window still allows; negative when it is overspent."""
        return self.allowed - self.bad


def burn_rate(good: float, bad: float, objective: float) -> float:
    """How many times faster than evenly the budget is spent: share of bad events over the share allowed. NaN: none."""
    return bad / (good + bad) / (1 - objective) if good + bad > 0 else math.nan


def burn_table(
    counts: Mapping[str, tuple[float, float]], objective: float, usual: float, least_bad: int
) -> pd.DataFrame:
    """The burn of each window, and whether a pair of windows fires, as the alert rules judge it.

    `counts` are (good, bad) by window of SECONDS, `usual` the events of the last 30 days. Columns: window, good, bad,
    burn (of what was seen), weighted (a window quieter than usual is measured against the usual traffic), low (lower
    bound of a one-sided 95 % Wilson interval), factor (at which its pair fires; NaN for a short window), firing.
    """
    rows = []
    pairs = {burn.long: burn for burn in BURNS}
    for window in SECONDS:
        if window not in counts:
            continue
        good, bad = counts[window]
        total = good + bad
        floor = max(total, usual * SECONDS[window] / (PERIOD_DAYS * 86400))
        burn = burn_rate(good, bad, objective)
        weighted = bad / floor / (1 - objective) if floor > 0 else math.nan
        low = float(wilson(min(bad, total), total, CONFIDENCE)[0][0]) / (1 - objective) if total > 0 else math.nan
        pair, firing = pairs.get(window), False
        if pair is not None and pair.short in counts:
            short = burn_rate(*counts[pair.short], objective)
            # Nothing in the short window says nothing of an end.
            over = short <= pair.factor
            firing = weighted > pair.factor and low > pair.factor and bad >= least_bad and not over
        factor = pair.factor if pair is not None else math.nan
        rows.append((window, good, bad, burn, weighted, low, factor, firing))
    names = ["window", "good", "bad", "burn", "weighted", "low", "factor", "firing"]
    return pd.DataFrame(rows, columns=names)


def first_day(window: Window, today: date) -> date:
    """The first business day of the window that runs on `today`: 30 days with it, or the calendar month."""
    return today.replace(day=1) if window == "month" else today - timedelta(days=PERIOD_DAYS - 1)


def by_day(events: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    """Good and bad events of each day of the period, zero where there was none. Columns: day (date), good, bad."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    named = pd.to_datetime(events["day"]).dt.date
    sums = events[["good", "bad"]].astype("float64").groupby(named.to_numpy()).sum()
    return sums.reindex(days, fill_value=0.0).rename_axis("day").reset_index()


def history(days: pd.DataFrame, window: Window, objective: float, since: date) -> pd.DataFrame:
    """The budget left at the end of each day from `since`: of the 30 days up to it, or of its month so far.

    `days` is what `by_day` gives and must begin with the first day of the first window. Columns: day, good, bad (of the
    window), left (share; NaN without events), sli.
    """
    frame = days.copy()
    if window == "month":
        month = pd.to_datetime(frame["day"]).dt.to_period("M")
        sums = frame.groupby(month.to_numpy())[["good", "bad"]].cumsum()
    else:
        sums = frame[["good", "bad"]].rolling(PERIOD_DAYS, min_periods=1).sum()
    total = (sums["good"] + sums["bad"]).where(lambda n: n > 0)
    left = 1 - sums["bad"] / ((1 - objective) * total)
    told = pd.DataFrame({"day": frame["day"], **sums, "left": left, "sli": sums["good"] / total})
    return told[told["day"] >= since].reset_index(drop=True)


def runs_out(days: pd.DataFrame, window: Window, objective: float, good_a_day: float, bad_a_day: float) -> int | None:
    """In how many days the budget is spent when each following day brings so many good and bad events.

    0 when it is spent already, None when it lasts: to the end of the month, or, for a rolling window, until the pace
    has replaced all of its days. `days` is what `by_day` gives, the last one being today. Old days leave a rolling
    window as new ones come, and take along what they spent.
    """
    kept = [(float(good), float(bad)) for good, bad in zip(days["good"], days["bad"], strict=True)]
    today: date = days["day"].iloc[-1]
    if window == "month":
        kept = kept[-today.day :]
        ahead = monthrange(today.year, today.month)[1] - today.day
    else:
        kept = kept[-PERIOD_DAYS:]
        ahead = PERIOD_DAYS
    allowed = 1 - objective
    for coming in range(ahead + 1):
        if coming:
            kept.append((good_a_day, bad_a_day))
            if window == "rolling" and len(kept) > PERIOD_DAYS:
                kept.pop(0)
        good, bad = sum(one for one, _ in kept), sum(one for _, one in kept)
        if good + bad > 0 and bad > allowed * (good + bad) * (1 + 1e-9):
            return coming
    return None


def spent_by(events: pd.DataFrame, column: str, budget: Budget) -> pd.DataFrame:
    """What each value of a column spent of the budget, the most first.

    Columns: segment, good, bad, rate (its own share of bad events), spent (its share of the budget of all).
    """
    sums = (
        events.groupby(column, dropna=False)[["good", "bad"]]
        .sum()
        .astype("float64")
        .rename_axis("segment")
        .reset_index()
    )
    sums["segment"] = sums["segment"].fillna("")
    total = (sums["good"] + sums["bad"]).where(lambda n: n > 0)
    sums["rate"] = sums["bad"] / total
    sums["spent"] = sums["bad"] / budget.allowed if budget.allowed > 0 else np.nan
    return sums.sort_values(["bad", "segment"], ascending=[False, True], ignore_index=True)


def spent_during(hours: pd.DataFrame, events: pd.DataFrame, budget: Budget, now: Any) -> pd.DataFrame:
    """What was spent while each event lasted, the most first.

    `hours` has time (start of an hour), good, bad; `events` what `queries.events` gives. Hours that an event touches
    count whole; an event without an end counts for the two hours after it, an alert or incident that still runs up to
    `now`. Events at the same time are told the same failures.
    Columns: kind, title, starts_at, ends_at, good, bad, burn, spent.
    """
    hour = pd.Timedelta(hours=1)
    rows = []
    for one in events.itertuples():
        end = one.ends_at
        if pd.isna(end):
            end = now if one.kind in {"incident", "alert"} else one.starts_at + 2 * hour
        within = hours[(hours["time"] + hour > one.starts_at) & (hours["time"] < end)]
        good, bad = float(within["good"].sum()), float(within["bad"].sum())
        spent = bad / budget.allowed if budget.allowed > 0 else math.nan
        rows.append(
            (one.kind, one.title, one.starts_at, one.ends_at, good, bad, burn_rate(good, bad, budget.objective), spent)
        )
    names = ["kind", "title", "starts_at", "ends_at", "good", "bad", "burn", "spent"]
    frame = pd.DataFrame(rows, columns=names)
    for name in ("starts_at", "ends_at"):
        frame[name] = frame[name].astype(events[name].dtype)
    return frame[frame["bad"] > 0].sort_values(["bad", "starts_at"], ascending=[False, True], ignore_index=True)
