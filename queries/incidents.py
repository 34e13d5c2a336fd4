"""Incidents, the states of the components, and how the two disagree: what the status page and the page Incidents show.

A component is one of `monitoring/status.yaml`. Its state is worked out from the probes, from the objectives that watch
it, and from its open incidents; a hand may set another one for a while. Plain functions on plain values decide, so
that both pages say the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from queries.errors import SourceError
from queries.kpis import Text
from queries.slos import Standing, slos, standing
from queries.sources import metrics, state, timezone

COMPONENTS = Path(__file__).resolve().parent.parent / "monitoring" / "status.yaml"
STATUSES = ("investigating", "identified", "monitoring", "resolved")
# Of the probes of the last five minutes: below the first the component is down, below the second it is degraded.
DOWN_BELOW, DEGRADED_BELOW = 0.5, 0.9
UPTIME_DAYS = 90

State = Literal["operational", "degraded", "outage", "maintenance", "unknown"]
STATES: tuple[State, ...] = ("operational", "degraded", "outage", "maintenance")
# The worse one counts.
_RANK: dict[State, int] = {"unknown": 0, "operational": 1, "maintenance": 2, "degraded": 3, "outage": 4}


@cache
def components() -> dict[str, Text]:
    """The components of the status page by name, in their order."""
    given = yaml.safe_load(COMPONENTS.read_text(encoding="utf-8"))
    return {name: Text(**label) for name, label in given.items()}


@dataclass(frozen=True)
class Component:
    """Where a component stands.

    `computed` is what probes, objectives and incidents say; `state` is that, or what a hand has set (`override`, until
    `until`). `probe` is the share of the last probes that succeeded (None: not probed). `burning` and `missed` name the
    objectives that burn too fast and those whose budget is spent. `incidents` are the ids of those that are open.
    """

    name: str
    computed: State
    state: State
    probe: float | None = None
    burning: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    incidents: tuple[int, ...] = ()
    override: State | None = None
    until: datetime | None = None
    reason: str | None = None

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Why what is shown is not what is measured: of `burning`, `missed`, `probe`, `incident`; () when it agrees.

        Only a green component can contradict: a worse state than measured is caution.
        """
        if self.state != "operational":
            return ()
        found = {
            "burning": bool(self.burning),
            "missed": bool(self.missed),
            "probe": self.probe is not None and self.probe < DEGRADED_BELOW,
            "incident": bool(self.incidents),
        }
        return tuple(name for name, holds in found.items() if holds)


def computed_state(probe: float | None, paged: bool, impacts: Sequence[str], known: bool) -> State:
    """The state that is measured: the worst of the probes, of an objective that pages, and of open incidents.

    `known`: whether an objective could be read; without probe, objective and incident nothing is known.
    """
    found: list[State] = []
    if probe is not None and not math.isnan(probe):
        found.append("outage" if probe < DOWN_BELOW else "degraded" if probe < DEGRADED_BELOW else "operational")
    if known:
        found.append("degraded" if paged else "operational")
    found += ["outage" if impact == "outage" else "degraded" for impact in impacts]
    return max(found, key=lambda one: _RANK[one], default="unknown")


def overall(states: Sequence[State]) -> State:
    """The state of all: the worst of them; unknown only when nothing is known of any."""
    return max(states, key=lambda one: _RANK[one], default="unknown")


@dataclass(frozen=True)
class Objective:
    """What an objective says of its component: it burns as fast as calls whoever is on call, too fast, or is spent.

    A slow burn or a spent budget does not make a component yellow: it is told to engineers.
    """

    component: str
    pages: bool
    burns: bool
    missed: bool


def objective_of(told: Standing) -> Objective:
    """An objective as components need it."""
    quick = told.burns[told.burns["window"].isin(["1h", "6h"])]
    return Objective(
        component=told.slo.component,
        pages=told.slo.page and bool(quick["firing"].any()),
        burns=told.firing,
        missed=told.budget.left < 0,
    )


def component_states(
    probes: Mapping[str, float],
    objectives: Mapping[str, Objective],
    opened: Sequence[Mapping[str, Any]],
    overrides: Sequence[Mapping[str, Any]],
    now: datetime,
) -> list[Component]:
    """Every component in its order.

    `probes` are shares by component, `objectives` those that could be read, `opened` the open incidents (id, component,
    impact), `overrides` what hands have set (id, component, state, ends_at), the latest first.
    """
    told = []
    for name in components():
        own = {slo: one for slo, one in objectives.items() if one.component == name}
        mine = [one for one in opened if one["component"] == name]
        hand = next((one for one in overrides if one["component"] == name and one["ends_at"] > now), None)
        measured = computed_state(
            probes.get(name), any(one.pages for one in own.values()), [one["impact"] for one in mine], bool(own)
        )
        override: State | None = hand["state"] if hand else None
        told.append(
            Component(
                name=name,
                computed=measured,
                state=override or measured,
                probe=probes.get(name),
                burning=tuple(slo for slo, one in own.items() if one.burns),
                missed=tuple(slo for slo, one in own.items() if one.missed),
                incidents=tuple(int(one["id"]) for one in mine),
                override=override,
                until=hand["ends_at"] if hand else None,
                reason=hand.get("reason") if hand else None,
            )
        )
    return told


def components_now() -> tuple[list[Component], tuple[str, ...]]:
    """Every component as it stands now, and a sentence for each source that does not answer; never raises for one."""
    missing: list[str] = []

    def told(ask: Callable[[], Any], nothing: Any) -> Any:
        try:
            return ask()
        except SourceError as error:
            if error.kind != "not_configured" and error.sentence not in missing:
                missing.append(error.sentence)
            return nothing

    opened = told(lambda: open_incidents().to_dict("records"), [])
    hands = told(lambda: overrides_now().to_dict("records"), [])
    probes, objectives = told(probe_shares, {}), told(objectives_now, {})
    return component_states(probes, objectives, opened, hands, datetime.now(timezone())), tuple(missing)


# --- the metrics ------------------------------------------------------------------------------------------------------


def probe_shares() -> dict[str, float]:
    """By component the share of the probes of the last five minutes that succeeded. Raises SourceError."""
    frame = metrics("incidents/probes")
    if "component" not in frame:
        return {}
    return {row.component: float(row.value) for row in frame.itertuples() if row.component in components()}


def objectives_now() -> dict[str, Objective]:
    """The objectives by name; one whose source fails is left out. Raises SourceError when none could be read."""
    today = datetime.now(timezone()).date()
    found: dict[str, Objective] = {}
    failure = None
    for name, slo in slos().items():
        try:
            found[name] = objective_of(standing(slo, today))
        except SourceError as error:
            if failure is None or failure.kind == "not_configured":
                failure = error
    if not found and failure is not None:
        raise failure
    return found


def uptime(first: date, last: date) -> pd.DataFrame:
    """Probes by component and business day, both ends inclusive. Raises SourceError.

    Columns: component, day (date), up and total (float64: probes that succeeded, probes made). A day without probes
    has no row: it is not known, and neither up nor down.
    """
    today = datetime.now(timezone()).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    frames = []
    # Days that are over do not change: they are asked for as one question that is kept for long.
    for name, asked in (
        ("incidents/probe_days", [day for day in days if day < today]),
        ("incidents/probe_today", [day for day in days if day == today]),
    ):
        if asked:
            frames.append(metrics(name, {"days": asked, "day": asked[-1]}))
    whole = [frame for frame in frames if {"component", "state", "day", "value"} <= set(frame.columns) and len(frame)]
    if not whole:
        return pd.DataFrame({"component": pd.Series(dtype="str"), "day": [], "up": [], "total": []})
    found = pd.concat([frame[["component", "state", "day", "value"]] for frame in whole], ignore_index=True)
    wide = found.pivot_table(index=["component", "day"], columns="state", values="value", aggfunc="sum").reset_index()
    wide.columns.name = None
    for name in ("up", "total"):
        if name not in wide:
            wide[name] = 0.0
    wide["day"] = pd.to_datetime(wide["day"]).dt.date
    wide = wide[(wide["total"] > 0) & wide["component"].isin(list(components()))]
    return wide[["component", "day", "up", "total"]].fillna(0.0).reset_index(drop=True)


def uptime_share(days: pd.DataFrame, component: str, since: date) -> float:
    """Up over all probes of a component from a day on, of `uptime`'s frame; NaN when there were none."""
    own = days[(days["component"] == component) & (days["day"] >= since)] if len(days) else days
    total = float(own["total"].sum()) if len(own) else 0.0
    return float(own["up"].sum()) / total if total > 0 else math.nan


# --- Mirador's own database -------------------------------------------------------------------------------------------


def open_incidents() -> pd.DataFrame:
    """Open incidents, the latest first; columns as `incidents/list` says. Raises SourceError."""
    return state("incidents/list", {"open": True, "since": None})


def incidents_since(since: datetime) -> pd.DataFrame:
    """Incidents that are open or ended after `since`, the latest first. Raises SourceError."""
    return state("incidents/list", {"open": False, "since": since})


def updates_of(since: datetime) -> pd.DataFrame:
    """What was written about those incidents, the latest first. Raises SourceError."""
    return state("incidents/updates", {"since": since})


def alerts_of(incident: int) -> pd.DataFrame:
    """The alerts of an incident in the order of their start. Raises SourceError."""
    return state("incidents/alerts", {"incident": incident})


def overrides_now() -> pd.DataFrame:
    """The states that hands have set and that hold now, the latest first. Raises SourceError."""
    return state("incidents/overrides")


def override_history() -> pd.DataFrame:
    """The last states that hands have set. Raises SourceError."""
    return state("incidents/override_history")


def subscriber_counts() -> pd.DataFrame:
    """How many subscribers and deliveries there are by kind. Raises SourceError."""
    return state("incidents/subscribers")


def dead_deliveries() -> pd.DataFrame:
    """Deliveries that were given up, the latest first; no address. Raises SourceError."""
    return state("incidents/dead")
