"""The contracts of reconciliation: for each number that both sources know, how each is asked and what may lie between.

`contracts.yaml` holds them; its head says what each field means.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from queries.errors import SourceError
from queries.kpis import Text, catalogue
from queries.library import find_query

CONTRACTS = Path(__file__).parent / "contracts.yaml"


class LedgerSide(BaseModel):
    """How the ledger is asked: `query` second by second, `days` by day, `rows` the list of rows known by `key`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    query: str
    value: Literal["n", "amount"] = "n"
    days: str
    rows: str
    key: str
    commit: Literal["latest", "none"] = "none"


class MetricSide(BaseModel):
    """How the metrics are asked: `query` for the samples as scraped, `days` for one value a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    query: str
    days: str
    name: str


class Tolerance(BaseModel):
    """Seconds within which the sources may differ in time: what the expected difference is computed from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ahead: float = Field(ge=0)
    behind: float = Field(ge=0)
    refresh: float = Field(default=0, ge=0)


class Freshness(BaseModel):
    """Seconds after which each source is taken to know everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ledger: float = Field(ge=0)
    metric: float = Field(ge=0)


class Contract(BaseModel):
    """What ledger and metrics both count, and by which model they are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    label: Text
    kpi: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: Literal["count", "mxn"]
    ledger: LedgerSide
    metric: MetricSide
    labels: dict[str, str] = Field(default_factory=dict)
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    tolerance: Tolerance
    freshness: Freshness
    owner: Text

    @property
    def columns(self) -> tuple[str, ...]:
        """The ledger's columns that hold the labels, in order."""
        return tuple(self.labels.values())

    @model_validator(mode="after")
    def _complete(self) -> Contract:
        if self.kpi not in catalogue():
            raise ValueError(f"the catalogue has no KPI {self.kpi}")
        query = find_query("ledger", self.ledger.query)
        for column in ("at", self.ledger.value, *self.labels.values()):
            if column not in {known.name for known in query.columns}:
                raise ValueError(f"the query {query.name} has no column {column}")
        find_query("ledger", self.ledger.days)
        if find_query("ledger", self.ledger.rows).key != self.ledger.key:
            raise ValueError(f"the rows of {self.ledger.rows} are not known by {self.ledger.key}")
        if find_query("metrics", self.metric.query).kind != "samples":
            raise ValueError(f"the query {self.metric.query} does not give samples")
        if find_query("metrics", self.metric.days).kind != "days":
            raise ValueError(f"the query {self.metric.days} is not one by day")
        if self.kind == "histogram" and "le" not in self.labels:
            raise ValueError("a histogram is compared by le")
        if unknown := set(self.values) - set(self.labels):
            raise ValueError(f"values are told of {min(unknown)}, which is no label")
        return self


@cache
def contracts() -> dict[str, Contract]:
    """All contracts by name, in the order of the file. Raises ValueError with a sentence when the file is wrong."""
    return load_contracts(CONTRACTS)


def load_contracts(path: Path) -> dict[str, Contract]:
    """The contracts that a file holds. Raises ValueError with a sentence that names the contract and the place."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ValueError(f"The contracts {path.name} are not YAML{where}.") from None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"The file {path.name} holds no contract.")
    found = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"The contract {name} has no fields.")
        try:
            found[name] = Contract.model_validate({**entry, "name": name})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "entry"
            raise ValueError(f"The contract {name} is wrong at {where}: {first['msg']}.") from None
        except SourceError as error:
            raise ValueError(f"The contract {name} is wrong: {error.sentence}") from None
    return found
