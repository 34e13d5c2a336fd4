"""The catalogue's KPIs: a day's reading against its normal days, what moved, and the day's curve."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import pandas as pd
import yaml
from cachetools import LRUCache
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from queries.calendar import normal_days
from queries.errors import SourceError
from queries.library import find_query
from queries.sources import Answer, answer_of, ledger, metrics

CATALOGUE = Path(__file__).parent / "catalogue.yaml"
HISTORY_DAYS = 14
LEAST_NORMAL_DAYS = 4
# The longest that a ledger's number waits for what the metrics say of it.
TWIN_SECONDS = 0.3
# What nobody would notice, by unit: a band narrower than this counts as this wide, or a KPI that is always zero would
# lead whenever it is a little more.
LEAST_HALF_WIDTH = {"count": 1.0, "mxn": 1.0, "share": 0.005, "score": 0.5, "seconds": 0.01}
State = Literal["good", "bad", "normal", "unknown"]
T = TypeVar("T")


class Text(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    en: str
    es: str

    def in_language(self, language: str) -> str:
        """The text in `es` or, for any other language, in English."""
        return self.es if language.startswith("es") else self.en


class Kpi(BaseModel):
    """One KPI as the catalogue defines it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    label: Text
    definition: Text
    unit: Literal["count", "mxn", "share", "score", "seconds"]
    better: Literal["up", "down", "none"]
    target: float | None = None
    monthly_target: float | None = Field(default=None, gt=0)
    source: Literal["ledger", "metrics"]
    query: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    metric: str | None = None
    intraday: str | None = None
    page: str

    @model_validator(mode="after")
    def _complete(self) -> Kpi:
        if self.source == "ledger":
            if not (self.query and self.numerator):
                raise ValueError("a ledger KPI names its query and its numerator")
            columns = {column.name for column in find_query("ledger", self.query).columns}
            for column in (self.numerator, self.denominator):
                if column and column not in columns:
                    raise ValueError(f"the query {self.query} has no column {column}")
        if self.monthly_target is not None and (self.source != "ledger" or self.denominator is not None):
            raise ValueError("only a sum of the ledger has a monthly target")
        if self.metric:
            find_query("metrics", self.metric)
        elif self.source == "metrics":
            raise ValueError("a metrics KPI names its metric query")
        return self


@cache
def catalogue() -> dict[str, Kpi]:
    """All KPIs by name, in the order of the file. Raises ValueError with a sentence when the file is wrong."""
    return load_catalogue(CATALOGUE)


def load_catalogue(path: Path) -> dict[str, Kpi]:
    """The KPIs that a catalogue file defines. Raises ValueError with a sentence that names the KPI and the place."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ValueError(f"The catalogue {path.name} is not YAML{where}.") from None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"The catalogue {path.name} defines no KPI.")
    found = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"The catalogue's KPI {name} has no fields: give it a label, a definition and a query.")
        try:
            found[name] = Kpi.model_validate({**entry, "name": name})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "entry"
            raise ValueError(f"The catalogue's KPI {name} is wrong at {where}: {first['msg']}.") from None
        except SourceError as error:
            raise ValueError(f"The catalogue's KPI {name} is wrong: {error.sentence}") from None
    return found


@dataclass(frozen=True)
class Reading:
    """A KPI on a day against its normal days, all cut at the same local time of day.

    `normal` is their median, `low` and `high` their 10th and 90th percentile; NaN where there are fewer than four.
    `normal_days` are those that have a value, latest first: not the days before the ledger begins.
    `history` has the columns day (datetime64) and value (float64): the last 14 days up to `day`. `value` is exact
    (Decimal) for MXN. `segments` has the columns dimension, segment and value for the day; of a cause (a reason, an
    error code) the value is its share of all. `metric_value` is what the metrics say ('about'), `metric_gap` its
    relative distance from the ledger's. `base` is what a share is a share of (decisions, attempts), None for a sum.
    """

    kpi: Kpi
    day: date
    value: Any
    normal: float
    low: float
    high: float
    normal_days: list[date]
    history: pd.DataFrame
    segments: pd.DataFrame
    state: State
    answer: Answer
    metric_value: float | None = None
    metric_gap: float | None = None
    metric_cut: datetime | None = None
    base: float | None = None

    @property
    def distance(self) -> float:
        """How far the value lies from the middle of the band, in half widths: above 1 it is outside.

        Outside it grows from 1 by the distance to the nearer edge, over the half width or a twentieth of the normal
        where the band is narrower than that. 0 where there is no band.
        """
        if self.value is None or math.isnan(self.low):
            return 0.0
        value, half = float(self.value), (self.high - self.low) / 2
        if self.low <= value <= self.high:
            return 0.0 if half == 0 else abs(value - (self.high + self.low) / 2) / half
        beyond = value - self.high if value > self.high else self.low - value
        return 1 + beyond / max(half, abs(self.normal) / 20, LEAST_HALF_WIDTH[self.kpi.unit])


@dataclass(frozen=True)
class Movement:
    """A KPI outside its normal band, and the segment that explains most of it.

    `contribution` is in the KPI's unit: how much of the distance between the day and its normal the segment makes up.
    """

    reading: Reading
    dimension: str | None
    segment: str | None
    contribution: float
    segment_value: float
    segment_normal: float


def _wanted_days(day: date) -> tuple[date, ...]:
    recent = [day - timedelta(days=back) for back in range(HISTORY_DAYS)]
    return tuple(sorted({*recent, *normal_days(day)}))


def _params(day: date, as_of: datetime | None) -> dict[str, Any]:
    # The same for each KPI and stable through the day, so that readings share their answers.
    return {"day": day, "days": _wanted_days(day), "as_of": as_of}


# What was computed from an answer is kept beside it: every viewer of a page needs the same readings, every half minute.
_computed: LRUCache[tuple[Any, ...], Any] = LRUCache(1024)
_computed_lock = threading.Lock()


def _once(what: str, kpi: Kpi, day: date, as_of: datetime | None, answer: Answer, compute: Callable[[], T]) -> T:
    """The result for this answer of the source, computed once."""
    key = (what, kpi.name, day, as_of, answer.as_of)
    with _computed_lock:
        if key in _computed:
            return cast(T, _computed[key])
    result = compute()
    with _computed_lock:
        _computed[key] = result
    return result


def _ask(kpi: Kpi, day: date, as_of: datetime | None) -> pd.DataFrame:
    if kpi.source == "metrics":
        assert kpi.metric
        return metrics(kpi.metric, _params(day, as_of))
    assert kpi.query
    return ledger(kpi.query, _params(day, as_of))


def _parts(kpi: Kpi, raw: pd.DataFrame) -> pd.DataFrame:
    """Rows (day, dimension, segment, numerator, denominator, value) of a KPI for all wanted days."""
    if kpi.source == "metrics":
        return raw.assign(dimension="all", segment="all", numerator=raw["value"], denominator=1.0)
    assert kpi.numerator
    frame = pd.DataFrame(
        {
            "day": raw["day"],
            "dimension": raw["dimension"],
            "segment": raw["segment"],
            "numerator": pd.to_numeric(raw[kpi.numerator]).astype("float64"),
            "denominator": 1.0 if kpi.denominator is None else pd.to_numeric(raw[kpi.denominator]).astype("float64"),
        }
    )
    # Nothing over nothing is unknown, not zero.
    frame["value"] = frame["numerator"] / frame["denominator"].replace(0.0, np.nan)
    if kpi.denominator is not None:
        counted = frame.groupby("dimension")["denominator"].sum()
        # A dimension that leaves some out names causes: of all who were rejected for a reason none is approved, so
        # that what tells something is their share of all.
        causes = frame["dimension"].map(counted < counted.get("all", 0.0)).astype("bool")
        whole = frame["day"].map(frame[frame["dimension"] == "all"].set_index("day")["denominator"])
        frame["value"] = frame["value"].where(~causes, frame["denominator"] / whole)
    return frame


def reading(name: str, day: date, as_of: datetime | None = None, *, with_metric: bool = True) -> Reading:
    """The KPI on `day` (whole, or so far when it is today) against its normal days.

    `as_of` is the present moment (default: now). Raises SourceError when the KPI's own source cannot answer; a metric
    twin that cannot is left out.
    """
    kpi = catalogue()[name]
    raw = _ask(kpi, day, as_of)
    answer = answer_of(raw)
    bare = _once("reading", kpi, day, as_of, answer, lambda: _read(kpi, day, raw, answer))
    cut = as_of or _common_cut(answer, day)
    metric_value = _metric_twin(kpi, day, cut) if with_metric else None
    gap = None
    if metric_value is not None and bare.value is not None and float(bare.value):
        gap = metric_value / float(bare.value) - 1
    return replace(bare, answer=answer, metric_value=metric_value, metric_gap=gap, metric_cut=cut)


def _read(kpi: Kpi, day: date, raw: pd.DataFrame, answer: Answer) -> Reading:
    frame = _parts(kpi, raw)
    totals = frame[frame["dimension"] == "all"].set_index("day")["value"]
    stamp = pd.Timestamp(day)
    band = _begun(kpi, totals).reindex([pd.Timestamp(other) for other in normal_days(day)]).dropna()
    enough = len(band) >= LEAST_NORMAL_DAYS
    normal, low, high = (float(edge) for edge in band.quantile([0.5, 0.1, 0.9])) if enough else (math.nan,) * 3
    value = _exact(kpi, raw, frame, stamp)
    recent = [stamp - pd.Timedelta(days=back) for back in reversed(range(HISTORY_DAYS))]
    parts = frame[(frame["day"] == stamp) & (frame["dimension"] != "all")]
    return Reading(
        kpi=kpi,
        day=day,
        value=value,
        normal=normal,
        low=low,
        high=high,
        normal_days=[other.date() for other in band.index],
        history=pd.DataFrame({"day": recent, "value": totals.reindex(recent).to_numpy()}),
        segments=parts[["dimension", "segment", "value"]].reset_index(drop=True),
        state=_state(kpi, value, low, high),
        answer=answer,
        base=_base(kpi, raw, frame, stamp),
    )


def _begun(kpi: Kpi, totals: pd.Series[float]) -> pd.Series[float]:
    """Totals by day without the zeros of a count before the first day on which there was anything.

    They stand for the time before the ledger begins; a young company would else be compared with nothing and always
    do well.
    """
    if kpi.source == "metrics" or kpi.denominator is not None:
        return totals
    begun = totals.index[totals > 0]
    return totals[totals.index >= begun.min()] if len(begun) else totals.iloc[:0]


def _exact(kpi: Kpi, raw: pd.DataFrame, frame: pd.DataFrame, stamp: pd.Timestamp) -> Any:
    """The day's value: an int for a count, a Decimal for MXN, else a float; None when it is unknown."""
    row = frame[(frame["day"] == stamp) & (frame["dimension"] == "all")]
    if row.empty or math.isnan(row["value"].iloc[0]):
        return None
    if kpi.unit == "mxn" and kpi.source == "ledger":
        return raw.loc[row.index[0], kpi.numerator]
    value = float(row["value"].iloc[0])
    return int(value) if kpi.unit == "count" and kpi.source == "ledger" else value


def _base(kpi: Kpi, raw: pd.DataFrame, frame: pd.DataFrame, stamp: pd.Timestamp) -> float | None:
    row = frame[(frame["day"] == stamp) & (frame["dimension"] == "all")]
    if kpi.source != "ledger" or kpi.denominator is None or row.empty:
        return None
    return float(raw.loc[row.index[0], kpi.denominator])


def _state(kpi: Kpi, value: Any, low: float, high: float) -> State:
    if value is None or math.isnan(low):
        return "unknown"
    if low <= float(value) <= high or kpi.better == "none":
        return "normal"
    return "good" if (float(value) > high) == (kpi.better == "up") else "bad"


def _common_cut(answer: Answer, day: date) -> datetime | None:
    """Where ledger and metrics are both cut: the ledger's last whole minute; None for a day that is over."""
    return None if answer.as_of.date() > day else answer.as_of.replace(second=0, microsecond=0)


def _metric_twin(kpi: Kpi, day: date, cut: datetime | None) -> float | None:
    if kpi.source != "ledger" or kpi.metric is None:
        return None
    try:
        # The ledger's number must not wait for the metrics: what is late is there at the next drawing.
        frame = metrics(kpi.metric, {"days": (day,), "day": day, "as_of": cut}, deadline=TWIN_SECONDS)
    except SourceError:
        return None
    values = frame["value"].dropna()
    return float(values.iloc[0]) if len(values) else None


def contributions(
    frame: pd.DataFrame, day: pd.Timestamp, normals: Sequence[pd.Timestamp], *, ratio: bool
) -> pd.DataFrame:
    """How much each segment makes up of the change of the total against its normal, for each dimension.

    `frame` has the columns day, dimension, segment, numerator, denominator, with the total as dimension `all`. A
    segment's normal is the mean over the normal days (of the pooled numerators and denominators), because only means
    add up. For a sum the contribution is the segment's own change. For a ratio it is

        c_s = w1_s (r1_s - B) - w0_s (r0_s - B)

    with r the segment's ratio, w its share of the total denominator, 0 normal and 1 the day. B is the normal total
    ratio R0: rate and mix effect in one, by the decomposition of Oaxaca (1973) and Blinder (1973) around the normal
    total. A dimension of causes (the reasons of the rejected, the codes of the failed) leaves out those without a
    cause; B is then the ratio of what it leaves out: 'had it not been for this cause'. Either way the contributions of
    a dimension add up to R1 - R0 exactly, a sum's to its change.

    Columns: dimension, segment, contribution, value, normal. The contribution is NaN where either total is 0. The
    value of a cause is its share of all, as its own ratio is always 0 or 1.
    """
    measures = ["numerator", "denominator"]
    today = frame[frame["day"] == day].set_index(["dimension", "segment"])[measures]
    usual = frame[frame["day"].isin(list(normals))].groupby(["dimension", "segment"])[measures].sum()
    both = today.add_suffix("_1").join((usual / max(len(normals), 1)).add_suffix("_0"), how="outer").fillna(0.0)
    is_total = both.index.get_level_values("dimension") == "all"
    n1, d1, n0, d0 = both[is_total][["numerator_1", "denominator_1", "numerator_0", "denominator_0"]].sum()
    both = both[~is_total]
    if both.empty:
        return pd.DataFrame({"dimension": [], "segment": [], "contribution": [], "value": [], "normal": []})
    if not ratio:
        both["contribution"] = both["numerator_1"] - both["numerator_0"]
        both["value"], both["normal"] = both["numerator_1"], both["numerator_0"]
        return both.reset_index()[["dimension", "segment", "contribution", "value", "normal"]]
    parts = both.groupby(level="dimension").sum()
    left_out = d1 + d0 - parts["denominator_1"] - parts["denominator_0"]
    base = (n1 + n0 - parts["numerator_1"] - parts["numerator_0"]) / left_out
    # Means of whole numbers are not whole: what is left out by rounding is nothing.
    names_causes = left_out > 1e-6 * (d1 + d0)
    base = base.where(names_causes, n0 / d0 if d0 else np.nan)
    dimension = both.index.get_level_values("dimension")
    around, is_cause = dimension.map(base).to_numpy("float64"), dimension.map(names_causes).to_numpy("bool")
    # w (r - B) = (numerator - B * denominator) / total denominator: no division by an empty segment.
    both["contribution"] = (
        (both["numerator_1"] - around * both["denominator_1"]) / d1
        - (both["numerator_0"] - around * both["denominator_0"]) / d0
        if d1 and d0
        else np.nan
    )
    for column, when, total in (("value", "1", d1), ("normal", "0", d0)):
        counted = both[f"denominator_{when}"]
        share = counted / total if total else np.nan
        both[column] = (both[f"numerator_{when}"] / counted.replace(0.0, np.nan)).where(~is_cause, share)
    return both.reset_index()[["dimension", "segment", "contribution", "value", "normal"]]


def what_moved(day: date, as_of: datetime | None = None, n: int = 3) -> list[Movement]:
    """The KPIs furthest outside their normal band, at most `n`, each with the segment that explains most of it.

    A source that cannot answer leaves its KPIs out; when none can, its SourceError is raised.
    """
    readings, failures = read_all(day, as_of)
    if failures and not readings:
        raise next(iter(failures.values()))
    return movements(readings, as_of, n)


def read_all(day: date, as_of: datetime | None = None) -> tuple[list[Reading], dict[str, SourceError]]:
    """The readings of the day, and of the KPIs whose source does not answer why, by their names."""
    readings: list[Reading] = []
    failures: dict[str, SourceError] = {}
    for name in catalogue():
        try:
            readings.append(reading(name, day, as_of, with_metric=False))
        except SourceError as error:
            failures[name] = error
    return readings, failures


def movements(readings: Sequence[Reading], as_of: datetime | None = None, n: int = 3) -> list[Movement]:
    """Of readings that are at hand those furthest outside their normal band, as `what_moved`. Raises SourceError."""
    outside = [one for one in readings if one.state in {"good", "bad"}]
    outside.sort(key=lambda one: one.distance, reverse=True)
    return [_movement(one, as_of) for one in outside[:n]]


def _movement(one: Reading, as_of: datetime | None) -> Movement:
    raw = _ask(one.kpi, one.day, as_of)

    def explain() -> pd.DataFrame:
        return contributions(
            _parts(one.kpi, raw),
            pd.Timestamp(one.day),
            [pd.Timestamp(other) for other in one.normal_days],
            ratio=one.kpi.denominator is not None,
        ).dropna(subset="contribution")

    parts = _once("contributions", one.kpi, one.day, as_of, answer_of(raw), explain)
    # Of a segment that pulls the other way nobody asks: only those on the side of the movement.
    side = 1.0 if float(one.value) > one.normal else -1.0
    # A dimension of one segment explains nothing: the part is the whole.
    several = parts.groupby("dimension")["segment"].transform("nunique") > 1
    parts = parts[several & (parts["contribution"] * side > 0)]
    if parts.empty:
        return Movement(one, None, None, float(one.value) - one.normal, float(one.value), one.normal)
    top = parts.loc[(parts["contribution"] * side).idxmax()]
    return Movement(
        one,
        str(top["dimension"]),
        str(top["segment"]),
        float(top["contribution"]),
        float(top["value"]),
        float(top["normal"]),
    )


def intraday(name: str, day: date, as_of: datetime | None = None) -> pd.DataFrame:
    """The day's running total in quarters of an hour against its normal days.

    Columns: minute (Int64, minutes since local midnight at which the quarter ends), value (float64; null after the
    present), normal, low and high (median, 10th and 90th percentile over the normal days; null when fewer than four).
    `attrs["answer"]` is the answer's stamp. Raises SourceError.
    """
    kpi = catalogue()[name]
    assert kpi.intraday, f"{name} has no intraday column"
    normals = normal_days(day)
    raw = ledger("today/intraday", {"days": tuple(sorted({day, *normals})), "as_of": as_of})
    answer = answer_of(raw)
    values = raw.assign(value=pd.to_numeric(raw[kpi.intraday]).astype("float64"))
    grid = values.pivot_table(index="minute", columns="day", values="value", aggfunc="sum")
    running = grid.reindex(index=range(0, 1440, 15)).fillna(0.0).cumsum()
    running = running.reindex(columns=[pd.Timestamp(day), *map(pd.Timestamp, normals)])
    # A day without a single row is a day of zeros, but only where the ledger reaches back to it.
    known = running.columns[running.notna().any()]
    first = known.min() if len(known) else pd.Timestamp(day)
    running.loc[:, running.columns >= first] = running.loc[:, running.columns >= first].fillna(0.0)
    band = running[[c for c in running.columns if c != pd.Timestamp(day)]].dropna(axis="columns", how="all")
    frame = pd.DataFrame({"minute": running.index + 15, "value": running[pd.Timestamp(day)].to_numpy()})
    moment = as_of.astimezone(answer.as_of.tzinfo) if as_of else answer.as_of
    if moment.date() <= day:
        so_far = moment.hour * 60 + moment.minute if moment.date() == day else -1
        # The quarter that is under way counts up to now; later ones have not begun.
        frame.loc[frame["minute"] - 15 > so_far, "value"] = np.nan
    enough = band.shape[1] >= LEAST_NORMAL_DAYS
    for column, q in (("normal", 0.5), ("low", 0.1), ("high", 0.9)):
        frame[column] = band.quantile(q, axis="columns").to_numpy() if enough else np.nan
    frame.attrs["answer"] = answer
    return frame
