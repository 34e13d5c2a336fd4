"""The objectives as `monitoring/slos.yaml` defines them, and the windows in which their burn is judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from queries.kpis import Text

SLOS = Path(__file__).resolve().parent.parent / "monitoring" / "slos.yaml"
SQL_QUERIES = ("days", "hours", "recent", "undecided", "restated")
PERIOD_DAYS = 30
SECONDS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}


@dataclass(frozen=True)
class Burn:
    """A pair of windows: it fires at `factor` times the even pace over both, which costs `share` of a 30-day budget."""

    factor: float
    long: str
    short: str
    severity: Literal["page", "ticket"]
    share: float


# Google's SRE workbook, chapter 5, table 5-8, with a 30-day period.
BURNS = (
    Burn(14.4, "1h", "5m", "page", 0.02),
    Burn(6.0, "6h", "30m", "page", 0.05),
    Burn(3.0, "1d", "2h", "ticket", 0.10),
    Burn(1.0, "3d", "6h", "ticket", 0.10),
)


class Counters(BaseModel):
    """An SLI of the metrics: selectors of counters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    good: str | None = None
    bad: str | None = None
    total: str

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.good is None) == (self.bad is None):
            raise ValueError("promql needs either good or bad beside total")
        for selector in (self.good, self.bad, self.total):
            if selector is not None and not re.fullmatch(r'[a-zA-Z_:][\w:]*(\{([^{}"]|"[^"]*")*\})?', selector):
                raise ValueError(f"{selector} is not a selector of counters")
        return self


class Sli(BaseModel):
    """What is good and what is bad: by the metrics or by the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    promql: Counters | None = None
    sql: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.promql is None) == (self.sql is None):
            raise ValueError("an sli is either promql or sql")
        return self


class Slo(BaseModel):
    """One objective; see the head of the file for its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    label: Text
    description: Text
    objective: float = Field(gt=0, lt=1)
    window: Literal["rolling", "month"]
    owner: Literal["executive", "analyst", "engineer"]
    component: str
    needs: Literal["backend", "mirador"]
    alert: str = Field(pattern=r"^[A-Z][A-Za-z0-9]*$")
    page: bool
    least_bad: int = Field(ge=1)
    explained_by: str
    sli: Sli
    segments: dict[str, Text] = Field(min_length=1)
    mxn: bool = False

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if self.mxn and self.sli.sql is None:
            raise ValueError(f"{self.name}: a counter carries no amount, so mxn needs an sli by sql")
        if self.sli.sql is not None and not set(self.segments) <= {"segment", "reason"}:
            raise ValueError(f"{self.name}: the segments of an sli by sql are segment and reason")
        # A pace that no share of failures can reach would be an alert that never fires.
        if BURNS[0].factor * self.budget >= 1:
            raise ValueError(f"{self.name}: {BURNS[0].factor} times a budget of {self.budget:.0%} cannot be reached")
        return self

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.objective, 12)


def read_slos(path: Path = SLOS) -> dict[str, Slo]:
    """The objectives of a file by name, in its order. Raises ValueError with what is wrong."""
    given: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(given, dict) or not given:
        raise ValueError(f"{path.name} holds no objective")
    found = {}
    for name, entry in given.items():
        try:
            found[name] = Slo(name=name, **entry)
        except (ValidationError, TypeError) as error:
            raise ValueError(f"{path.name}, {name}: {error}") from error
    if len({slo.alert for slo in found.values()}) < len(found):
        raise ValueError(f"{path.name}: two objectives share an alert")
    return found


@cache
def slos() -> dict[str, Slo]:
    """The objectives of `monitoring/slos.yaml` by name, in its order."""
    return read_slos()
