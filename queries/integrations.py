"""What the answers of `integrations/*` mean: quantiles from log buckets, states, costs against normal days."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from queries.statistics import difference_of_shares, log_bucket_quantile, wilson

State = Literal["failing", "degraded", "well", "quiet"]
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SUCCESS = "success"
COST_COLUMNS = ("hit", "back", "waiting", "hit_amount", "back_amount", "waiting_amount")
# What serves people stands before calls that served nobody.
KINDS = ("payment", "credit", "application", "other")
LATE_STATES = ("late", "paid")
LATE_COLUMNS = ("drivers", "installments", "amount")
STATES: tuple[State, ...] = ("failing", "degraded", "well", "quiet")
# Alerts that Alertmanager tells or would tell; an inhibited one is told by another.
OPEN = ("firing", "silenced")


def state_of(calls: int, failed: int) -> State:
    """What the last hour tells of an integration: a share of failures with a floor, so that one call tells nothing."""
    if not calls:
        return "quiet"
    share = failed / calls
    if share > 0.2 and failed >= 3:
        return "failing"
    return "degraded" if share > 0.05 and failed >= 2 else "well"


def worst_first(latest: pd.DataFrame) -> pd.DataFrame:
    """`integrations/latest` with `state` (see `state_of`), those that fail first, then by name."""
    states = [
        state_of(int(calls), int(failed))
        for calls, failed in zip(latest["calls_hour"], latest["failed_hour"], strict=True)
    ]
    made = latest.assign(state=pd.Series(states, index=latest.index, dtype="str"))
    rank = made["state"].map({name: place for place, name in enumerate(STATES)})
    made = made.assign(_rank=rank).sort_values(["_rank", "integration"], ignore_index=True).drop(columns="_rank")
    made.attrs = dict(latest.attrs)
    return made


def with_those_of(latest: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`integrations/latest` with a row for each of these integrations that was not called in the last 30 days."""
    others = [name for name in names if name not in set(latest["integration"])]
    if not others:
        return latest
    more = pd.DataFrame({"integration": others, "calls_hour": 0, "failed_hour": 0}).reindex(columns=latest.columns)
    made = pd.concat([latest, more.astype(latest.dtypes.to_dict())], ignore_index=True)
    made.attrs = dict(latest.attrs)
    return made


def alerts_of(active: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The open alerts of `alerts.active` by the integration (or component) that they name, as they come."""
    named: dict[str, list[int]] = {}
    for row, (state, text) in enumerate(zip(active["state"], active["labels"], strict=True)):
        labels = json.loads(text)
        if state in OPEN and (name := labels.get("integration") or labels.get("component")):
            named.setdefault(str(name), []).append(row)
    return {name: active.iloc[rows].reset_index(drop=True) for name, rows in named.items()}


def totals(summary: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Calls, failures and quantiles of `integrations/summary` by some of its columns; most failures first.

    Columns: those of `by`, calls, failed (not success), timeouts, share, low and high (Wilson, 95 %), p50, p95, p99
    (ms, the middle of the log bucket: at most 4.5 % off). The stamp of the answer stays.
    """
    frame = pd.DataFrame(summary).assign(n=summary["n"].astype("int64"))
    rows: list[dict[str, Any]] = []
    for key, part in frame.groupby(list(by), sort=True):
        calls = int(part["n"].sum())
        failed = int(part.loc[part["status"] != SUCCESS, "n"].sum())
        buckets = part.groupby("bucket")["n"].sum()
        row = dict(zip(by, key, strict=True)) | {
            "calls": calls,
            "failed": failed,
            "timeouts": int(part.loc[part["status"] == "timeout", "n"].sum()),
            "share": failed / calls if calls else math.nan,
        }
        index, counts = buckets.index.to_numpy(dtype="int64"), buckets.to_numpy(dtype="int64")
        rows.append(row | {name: log_bucket_quantile(index, counts, q)[1] for name, q in QUANTILES.items()})
    made = pd.DataFrame(rows, columns=[*by, "calls", "failed", "timeouts", "share", *QUANTILES])
    low, high = wilson(made["failed"].to_numpy(dtype=float), made["calls"].to_numpy(dtype=float))
    made["low"], made["high"] = low, high
    made = made.sort_values(["failed", "calls"], ascending=False, ignore_index=True)
    made.attrs = dict(summary.attrs)
    return made


def by_status(over_time: pd.DataFrame) -> pd.DataFrame:
    """Calls of `integrations/over_time` by stretch and status: at, until, status, n."""
    return _gathered(over_time, ["at", "until", "status"])


def by_code(over_time: pd.DataFrame) -> pd.DataFrame:
    """Failed calls of `integrations/over_time` by stretch and error code: at, until, error_code, n."""
    return _gathered(over_time[over_time["status"] != SUCCESS], ["at", "until", "error_code"], over_time.attrs)


def error_rates(over_time: pd.DataFrame, by: str) -> pd.DataFrame:
    """Share of failed calls by stretch and a column: at, until, `by`, calls, failed, share.

    After a stretch that no called one follows stands one without calls and without a share: a gap, not a slope.
    """
    frame = over_time.assign(n=over_time["n"].astype("int64"))
    frame["failed"] = frame["n"].where(frame["status"] != SUCCESS, 0)
    made = frame.groupby(["at", "until", by], as_index=False)[["n", "failed"]].sum().rename(columns={"n": "calls"})
    made["share"] = made["failed"] / made["calls"]
    made.attrs = dict(over_time.attrs)
    if made.empty:
        return made
    made = with_gaps(made, [by], column="at", value="share", step=(made["until"] - made["at"]).max())
    empty = made["share"].isna()
    made.loc[empty, ["calls", "failed"]] = 0
    made.loc[empty, "until"] = made.loc[empty, "at"]
    return made


def rate_cells(over_time: pd.DataFrame, by: str) -> tuple[pd.DataFrame, list[str]]:
    """Cells of the heatmap of error rates: those of `error_rates` with calls, and the names, most failures first."""
    rates = error_rates(over_time, by)
    made = rates[rates["calls"] > 0].reset_index(drop=True)
    made.attrs = dict(over_time.attrs)
    failed = made.groupby(by)["failed"].sum()
    return made, sorted(failed.index, key=lambda name: (-failed[name], name))


def latency_cells(latency: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Cells of the heatmap: at, until, duration_from, duration_to, band, n, share (of the calls of the stretch), and
    the bands from slow to quick, those between the slowest and the quickest included."""
    made = pd.DataFrame(latency).assign(n=latency["n"].astype("int64"))
    made["share"] = made["n"] / made.groupby("at")["n"].transform("sum")
    made["band"] = [band_name(low, high) for low, high in zip(made["duration_from"], made["duration_to"], strict=True)]
    made.attrs = dict(latency.attrs)
    if made.empty:
        return made, []
    edge, last, bands = int(made["duration_to"].max()), int(made["duration_to"].min()), []
    while edge >= last:
        bands.append(band_name(0 if edge == 2 else edge // 2, edge))
        edge //= 2
    return made, bands


def band_name(low: int, high: int) -> str:
    """128–256 ms, 1–2 s, of the edges in milliseconds (a second is told for 1024)."""
    if high <= 1024:
        return f"{low}–{high} ms" if high < 1024 else f"{low} ms – 1 s"
    return f"{low // 1024}–{high // 1024} s"


def costs(cost: pd.DataFrame, day: date, days: Sequence[date]) -> pd.DataFrame:
    """What failed calls cost on `day` beside the median of its normal `days`, by integration and kind.

    A normal day without a row had no failed call. Columns: integration, kind, those of `integrations/cost`, and each
    with `_normal` (NaN without normal days). A kind that has only normal rows is there with zeros.
    """
    frame = pd.DataFrame(cost)
    for column in COST_COLUMNS:
        frame[column] = frame[column].astype("float64")
    frame = frame.set_index(["integration", "kind", "day"])[list(COST_COLUMNS)].sort_index()
    keys = sorted({(integration, kind) for integration, kind, _day in frame.index})
    normal = [pd.Timestamp(one) for one in days]
    rows = []
    for integration, kind in keys:
        part = frame.loc[(integration, kind)].reindex([pd.Timestamp(day), *normal], fill_value=0.0)
        rows.append({"integration": integration, "kind": kind, **_beside_normal(part, COST_COLUMNS)})
    made = pd.DataFrame(
        rows, columns=["integration", "kind", *COST_COLUMNS, *(f"{column}_normal" for column in COST_COLUMNS)]
    )
    made.attrs = dict(cost.attrs)
    return made


def _beside_normal(part: pd.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Of a day in the first row and its normal days below: each column of the day, and the median of the others."""
    day, others = part.iloc[0], part.iloc[1:]
    return {
        name: value
        for column in columns
        for name, value in (
            (column, day[column]),
            (f"{column}_normal", float(np.median(others[column])) if len(others) else math.nan),
        )
    }


def cost_rows(cost: pd.DataFrame, integration: str) -> pd.DataFrame:
    """What `costs` says of one integration, a row a kind with a failed call, in the order of `KINDS`."""
    made = cost[(cost["integration"] == integration) & (cost["hit"] > 0)]
    made = made.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), ignore_index=True)
    made.attrs = dict(cost.attrs)
    return made


def late_costs(looks_late: pd.DataFrame, day: date, days: Sequence[date]) -> pd.DataFrame:
    """Who looks late on `day` only because of an integration, beside the median of its normal `days`.

    Of `integrations/looks_late`. Columns: integration, state (late, paid), drivers, installments, amount (MXN), and
    each with `_normal` (NaN without normal days). Both states are there for each integration that has any.
    """
    frame = pd.DataFrame(looks_late).assign(amount=looks_late["amount"].astype("float64"))
    grouped = frame.groupby(["integration", "state", "day"]).agg(
        drivers=("conductor_id", "nunique"), installments=("installment_id", "nunique"), amount=("amount", "sum")
    )
    normal = [pd.Timestamp(one) for one in days]
    rows: list[dict[str, Any]] = []
    for integration in sorted(set(frame["integration"])):
        for state in LATE_STATES:
            wanted = pd.MultiIndex.from_product([[integration], [state], [pd.Timestamp(day), *normal]])
            part = grouped.reindex(wanted, fill_value=0).astype("float64")
            rows.append({"integration": integration, "state": state, **_beside_normal(part, LATE_COLUMNS)})
    made = pd.DataFrame(
        rows, columns=["integration", "state", *LATE_COLUMNS, *(f"{column}_normal" for column in LATE_COLUMNS)]
    )
    made.attrs = dict(looks_late.attrs)
    return made


def late_rows(late: pd.DataFrame, integration: str) -> pd.DataFrame:
    """What `late_costs` says of one integration, a row a state in which there is an installment today."""
    made = late[(late["integration"] == integration) & (late["installments"] > 0)].reset_index(drop=True)
    made.attrs = dict(late.attrs)
    return made


def before_after(before: pd.DataFrame, after: pd.DataFrame, by: str = "endpoint") -> pd.DataFrame:
    """Two answers of `integrations/summary` side by side, by a column and in all ('').

    Columns: `by`, calls, share, p50, p95, p99 each with `_before` and `_after`; `difference` of the error rates with
    `low` and `high` (Newcombe, 95 %), and `certain`: nothing lies within the interval.
    """
    parts = []
    for frame in (before, after):
        one = totals(frame, [by])
        whole = totals(frame.assign(**{by: ""}), [by])
        parts.append(pd.concat([whole, one], ignore_index=True).set_index(by))
    names = [*dict.fromkeys([*parts[0].index, *parts[1].index])]
    rows = []
    for name in names:
        row: dict[str, Any] = {by: name}
        known = []
        for when, part in zip(("before", "after"), parts, strict=True):
            there = name in part.index
            known.append((int(part.loc[name, "failed"]), int(part.loc[name, "calls"])) if there else (0, 0))
            row |= {f"calls_{when}": known[-1][1], f"failed_{when}": known[-1][0]}
            row[f"share_{when}"] = part.loc[name, "share"] if there else math.nan
            row |= {f"{q}_{when}": part.loc[name, q] if there else math.nan for q in QUANTILES}
        low, high = difference_of_shares(*known[1], *known[0])
        row |= {"difference": row["share_after"] - row["share_before"], "low": low, "high": high}
        row["certain"] = bool(low > 0 or high < 0)
        rows.append(row)
    made = pd.DataFrame(rows)
    made.attrs = dict(after.attrs)
    return made


def codes_seen(codes: pd.DataFrame, over_time: pd.DataFrame) -> pd.DataFrame:
    """`integrations/codes` with the failures of the span beside: endpoint, error_code, n_span, n, first_seen,
    last_seen; those that failed most in the span first. A code that is new to the tables was first seen in the span."""
    failed = over_time[over_time["status"] != SUCCESS]
    span = failed.assign(n_span=failed["n"].astype("int64")).groupby(["endpoint", "error_code"], as_index=False)
    counted = span.agg(n_span=("n_span", "sum"), _first=("at", "min"), _last=("at", "max"))
    made = pd.DataFrame(codes).merge(counted, on=["endpoint", "error_code"], how="outer")
    made["n_span"] = made["n_span"].fillna(0).astype("int64")
    made["n"] = made["n"].astype("float64").fillna(made["n_span"]).astype("int64")
    made["first_seen"] = made["first_seen"].fillna(made["_first"])
    made["last_seen"] = made["last_seen"].fillna(made["_last"])
    made = made.sort_values(["n_span", "last_seen"], ascending=False, ignore_index=True)
    made = made[["endpoint", "error_code", "n_span", "n", "first_seen", "last_seen"]]
    made.attrs = dict(over_time.attrs)
    return made


def failures(over_time: pd.DataFrame) -> tuple[str, ...]:
    """The statuses that are no success, as they occur; never empty, for a question without a status asks for all."""
    return tuple(sorted(set(over_time["status"]) - {SUCCESS})) or ("error",)


def of_outcome(over_time: pd.DataFrame, outcome: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of `integrations/over_time` that failed, are good, or any; and the statuses to ask for, none for any."""
    if outcome == "any":
        return over_time, ()
    good = over_time["status"] == SUCCESS
    return (over_time[good], (SUCCESS,)) if outcome == "good" else (over_time[~good], failures(over_time))


def whole_hours(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The least span of whole hours around another: the hourly table knows no part of an hour."""
    hour = timedelta(hours=1)
    first, last = (moment.replace(minute=0, second=0, microsecond=0) for moment in (start, end))
    return first, last if last == end else last + hour


def with_gaps(
    frame: pd.DataFrame,
    by: Sequence[str] = (),
    *,
    column: str = "time",
    value: str = "value",
    step: pd.Timedelta | None = None,
) -> pd.DataFrame:
    """An answer over time with a missing value at each gap longer than its step, so that no line is drawn over it.

    The step is the narrowest distance of two moments, unless it is known.
    """
    if frame.empty:
        return frame
    if step is None:
        step = frame[column].drop_duplicates().sort_values().diff().min()
    if pd.isna(step):
        return frame
    parts = [frame] if not by else [part for _key, part in frame.groupby(list(by), sort=False)]
    made = []
    for part in parts:
        ordered = part.sort_values(column)
        wide = ordered[column].shift(-1) - ordered[column] > 1.5 * step
        holes = ordered[wide].assign(**{column: ordered.loc[wide, column] + step, value: math.nan})
        made.append(pd.concat([ordered, holes]).sort_values(column) if len(holes) else ordered)
    whole = pd.concat(made, ignore_index=True)
    whole.attrs = dict(frame.attrs)
    return whole


def _gathered(frame: pd.DataFrame, by: list[str], attrs: dict[str, Any] | None = None) -> pd.DataFrame:
    made = frame.assign(n=frame["n"].astype("int64")).groupby(by, as_index=False)["n"].sum()
    made.attrs = dict(frame.attrs if attrs is None else attrs)
    return made
