"""The catalogue's KPIs as plain numbers, for `/metrics` and `/api/kpis`.

They are the readings that the Today page shows, from the same kept answers: a scrape never asks the ledger more often
than a query's time to live allows, and Alertmanager alerts on the number that a person sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
from prometheus_client.core import GaugeMetricFamily, Metric

import queries
from app import telemetry
from app.behind import ReadBehind
from queries import Kpi, Reading
from queries.calendar import is_working_day


@dataclass(frozen=True)
class Number:
    """One KPI on one day; `error` is the sentence that says why `reading` is missing."""

    kpi: Kpi
    reading: Reading | None
    error: str | None = None


def today() -> date:
    """The business day that is running."""
    return datetime.now(queries.timezone()).date()


def read_numbers(day: date, *, ledger_only: bool = False) -> list[Number]:
    """Each KPI of the catalogue on that day, in the catalogue's order; one that fails has its reason and no value."""
    kpis = [kpi for kpi in queries.catalogue().values() if not ledger_only or kpi.source == "ledger"]
    # A thread each, for they only wait: when a source hangs, all of them wait for one deadline and not in turns.
    with ThreadPoolExecutor(max(len(kpis), 1), thread_name_prefix="mirador-kpis") as pool:
        return list(pool.map(lambda kpi: _read(kpi, day, with_metric=not ledger_only), kpis))


def _read(kpi: Kpi, day: date, *, with_metric: bool) -> Number:
    try:
        # A twin from the metrics is for people; a scrape of the ledger's numbers does not wait for Prometheus.
        return Number(kpi, queries.reading(kpi.name, day, with_metric=with_metric))
    except queries.SourceError as error:
        return Number(kpi, None, error.sentence)
    except Exception as error:
        # One definition that is wrong must not take the other numbers down.
        telemetry.panel_failed(f"kpi {kpi.name}", error)
        return Number(kpi, None, "This number could not be computed.")


def warm() -> None:
    """Ask what the Today page asks, so that its first viewer finds the answers; failures are the page's to tell."""
    with suppress(queries.SourceError):
        day = today()
        numbers = read_numbers(day)
        with ThreadPoolExecutor(2, thread_name_prefix="mirador-warm") as pool:
            for name in [one.kpi.name for one in numbers if one.kpi.intraday and one.reading]:
                pool.submit(queries.intraday, name, day)


def last_changes() -> dict[str, datetime]:
    """When each relation of the ledger last changed, and `ledger`, the latest of them; what is empty is left out.

    Raises SourceError.
    """
    row = queries.ledger("watermark").iloc[0]
    return {str(name): moment.to_pydatetime() for name, moment in row.items() if not pd.isna(moment)}


def number(value: Any) -> float | int | None:
    """A number that JSON and Prometheus can carry, or None; a count stays whole."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, int):
        return value
    found = float(value)
    return found if math.isfinite(found) else None


def as_json(numbers: list[Number], day: date, language: str) -> dict[str, Any]:
    """The document of `/api/kpis`."""
    return {
        "day": day.isoformat(),
        "timezone": queries.timezone().key,
        "kpis": {one.kpi.name: _entry(one, language) for one in numbers},
    }


def _entry(one: Number, language: str) -> dict[str, Any]:
    kpi, reading = one.kpi, one.reading
    answer = reading.answer if reading else None
    return {
        "label": kpi.label.in_language(language),
        "definition": kpi.definition.in_language(language),
        "unit": kpi.unit,
        "better": kpi.better,
        "source": kpi.source,
        "value": number(reading.value) if reading else None,
        "normal": number(reading.normal) if reading else None,
        "band": [number(reading.low), number(reading.high)] if reading else None,
        "target": number(kpi.target),
        "state": reading.state if reading else "unknown",
        "metric": {"value": number(reading.metric_value), "gap": number(reading.metric_gap)}
        if reading and reading.metric_value is not None
        else None,
        "as_of": answer.as_of.isoformat() if answer else None,
        "stale": answer.stale if answer else None,
        "error": one.error or (answer.error if answer else None),
    }


@dataclass
class _Read:
    """What one refresh of the board found."""

    numbers: list[Number] = field(default_factory=list)
    changed: dict[str, datetime] = field(default_factory=dict)


class Board(ReadBehind[_Read]):
    """The numbers of today; one that its source could not renew is left out."""

    def __init__(self) -> None:
        super().__init__("KPIs")

    def nothing(self) -> _Read:
        """No number."""
        return _Read()

    def read(self, into: _Read) -> None:
        """Each KPI of the ledger today, and when the ledger last changed."""
        into.numbers = read_numbers(today(), ledger_only=True)
        into.changed = last_changes()

    def families(self, kept: _Read) -> Iterator[Metric]:
        """The KPIs with their normal, target, base and age."""
        values = GaugeMetricFamily(
            "mirador_kpi",
            "KPI of the running business day, exact, from the ledger; dimension all is the total.",
            labels=["kpi", "dimension", "segment"],
        )
        normal = GaugeMetricFamily(
            "mirador_kpi_normal",
            "The same KPI on normal days up to the same time of day: p10, median and p90.",
            labels=["kpi", "bound"],
        )
        target = GaugeMetricFamily("mirador_kpi_target", "Target of the KPI.", labels=["kpi"])
        age = GaugeMetricFamily(
            "mirador_kpi_age_seconds", "Seconds since the ledger was asked for the KPI.", labels=["kpi"]
        )
        base = GaugeMetricFamily(
            "mirador_kpi_base", "What a KPI that is a share is a share of: decisions, attempts.", labels=["kpi"]
        )
        now = datetime.now(UTC)
        for one in filter(_alive, kept.numbers):
            reading, name = one.reading, one.kpi.name
            if reading is None:
                continue
            total = number(reading.value)
            if total is not None:
                values.add_metric([name, "all", "all"], total)
            for row in reading.segments.itertuples(index=False):
                part = number(row.value)
                if part is not None:
                    values.add_metric([name, str(row.dimension), str(row.segment)], part)
            for bound, level in {"low": reading.low, "median": reading.normal, "high": reading.high}.items():
                found = number(level)
                if found is not None:
                    normal.add_metric([name, bound], found)
            if reading.base is not None:
                base.add_metric([name], reading.base)
            if one.kpi.target is not None:
                target.add_metric([name], float(one.kpi.target))
            age.add_metric([name], (now - reading.answer.as_of).total_seconds())
        working = GaugeMetricFamily(
            "mirador_business_day", "1 on a business day: Monday to Friday, no public holiday; else 0."
        )
        working.add_metric([], float(is_working_day(today())))
        change = GaugeMetricFamily(
            "mirador_ledger_changed_timestamp_seconds",
            "When a relation of the ledger last changed; relation ledger is the latest of them.",
            labels=["relation"],
        )
        for relation, moment in kept.changed.items():
            change.add_metric([relation], moment.timestamp())
        yield from (values, normal, target, base, age, working, change)


def _alive(one: Number) -> bool:
    return one.reading is not None and one.reading.answer.error is None
