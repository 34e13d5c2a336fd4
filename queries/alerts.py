"""What the answers about alerts mean: which are active, where each came from, what it costs, who is called.

alerts = active()                      Alertmanager: firing, silenced, inhibited
waiting = pending()                    Prometheus: the condition holds, but not yet for long enough
losses = cost_of(alert, labels, since, now)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pandas as pd

from queries.calendar import business_day, normal_days
from queries.errors import SourceError
from queries.library import Column
from queries.sources import is_configured, ledger, metrics, outside, state, timezone

# It always fires: what it says is said by its silence.
WATCHDOG = "Watchdog"
PENDING_COLUMNS = ("alert", "severity", "since", "labels")
_NO_LABELS = {"alertname", "alertstate", "value"}
SEVERITIES = ("critical", "warning")
# Pages whose filter speaks of whole days.
DAY_PAGES = {"approvals", "disbursements", "late_payments", "hase"}
# Costs are counted no further back than this: normal days are compared hour by hour.
LONGEST_COST = timedelta(hours=24)


def _columns(*told: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, description=words) for name, kind, words in told)


# --- Alertmanager and Prometheus --------------------------------------------------------------------------------------


def active() -> pd.DataFrame:
    """The alerts that Alertmanager holds, without the Watchdog: critical ones first, then the oldest.

    Columns: those of `AlertmanagerClient.alerts`. Raises SourceError.
    """
    frame = outside(
        "alertmanager",
        "alerts",
        {},
        lambda client: client.alerts(),
        title="Active alerts",
        description="A row is one alert that Alertmanager holds: firing, silenced or inhibited.",
        columns=_columns(
            ("fingerprint", "text", "Alertmanager's name of this alert"),
            ("state", "text", "firing, silenced or inhibited"),
            ("starts_at", "timestamptz", "when it began to fire"),
            ("labels", "text", "its labels as JSON"),
        ),
        ttl=5.0,
        # What fired a minute ago is no answer to what fires.
        grace=0,
    )
    attrs = dict(frame.attrs)
    frame = frame[frame["alert"] != WATCHDOG]
    rank = frame["severity"].map({name: place for place, name in enumerate(SEVERITIES)}).fillna(len(SEVERITIES))
    frame = frame.assign(_rank=rank).sort_values(["_rank", "starts_at", "alert"], ignore_index=True)
    frame = frame.drop(columns="_rank")
    frame.attrs = attrs
    return frame


def silences() -> pd.DataFrame:
    """Silences that are active or will be; columns as of `AlertmanagerClient.silences`. Raises SourceError."""
    return outside(
        "alertmanager",
        "silences",
        {},
        lambda client: client.silences(),
        title="Silences",
        description="A row is one silence that Alertmanager keeps to now or will.",
        columns=_columns(
            ("silence_id", "text", "Alertmanager's id of the silence"),
            ("matchers", "text", "the labels that are silenced, as JSON"),
            ("ends_at", "timestamptz", "when it ends by itself"),
            ("created_by", "text", "who made it"),
            ("reason", "text", "why"),
        ),
        ttl=5.0,
        grace=0,
    )


def pending() -> pd.DataFrame:
    """Alerts whose condition holds, but not yet for long enough; the one that holds longest first.

    Columns: alert, severity, since (configured zone), labels (JSON with sorted keys). Raises SourceError.
    """
    asked = metrics("alerts/pending", grace=0)
    rows = []
    for row in asked.to_dict("records"):
        labels = {name: value for name, value in row.items() if name not in _NO_LABELS and isinstance(value, str)}
        rows.append(
            {
                "alert": row["alertname"],
                "severity": labels.get("severity", ""),
                "since": pd.Timestamp(row["value"], unit="s", tz="UTC").tz_convert(timezone()),
                "labels": json.dumps(
                    dict(sorted({"alertname": row["alertname"], **labels}.items())), ensure_ascii=False
                ),
            }
        )
    frame = pd.DataFrame(rows, columns=list(PENDING_COLUMNS))
    if frame.empty:
        frame["since"] = pd.Series([], dtype=f"datetime64[us, {timezone().key}]")
    frame = frame[frame["alert"] != WATCHDOG].sort_values(["since", "alert"], ignore_index=True)
    frame.attrs = dict(asked.attrs)
    return frame


def labels_of(text: str) -> dict[str, str]:
    """The labels of a row as `active` and `pending` have them."""
    found = json.loads(text)
    return {str(name): str(value) for name, value in found.items()}


def matchers_of(text: str) -> dict[str, str]:
    """The matchers of a silence by label, as it is read: a pattern behind ~, what must not be behind !."""
    made = {}
    for one in json.loads(text):
        sign = ("" if one.get("isEqual", True) else "!") + ("~" if one.get("isRegex") else "")
        made[str(one["name"])] = f"{sign}{one['value']}"
    return made


def with_silence(alerts: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Silenced alerts with `ends_at` and `reason` of the silence that lasts longest; NaT and '' where it is gone."""
    known = kept.set_index("silence_id")
    rows = []
    for text in alerts["silenced_by"]:
        mine = known.loc[[one for one in text.split(",") if one in known.index]]
        last = mine.sort_values("ends_at").iloc[-1] if len(mine) else None
        rows.append((pd.NaT, "") if last is None else (last["ends_at"], last["reason"]))
    made = alerts.assign(
        ends_at=pd.Series([end for end, _why in rows], index=alerts.index, dtype=kept["ends_at"].dtype),
        reason=pd.Series([why for _end, why in rows], index=alerts.index, dtype="str"),
    )
    made.attrs = dict(alerts.attrs)
    return made


def with_source(alerts: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """Inhibited alerts with `by`: the names of the alerts that say it already."""
    names = dict(zip(every["fingerprint"], every["alert"], strict=True))
    by = [
        ", ".join(dict.fromkeys(names[one] for one in text.split(",") if one in names))
        for text in alerts["inhibited_by"]
    ]
    made = alerts.assign(by=pd.Series(by, index=alerts.index, dtype="str"))
    made.attrs = dict(alerts.attrs)
    return made


def busiest(by_day: pd.DataFrame, *, others: str, most: int = 6) -> pd.DataFrame:
    """`alerts/by_day` with its most frequent names, the rest under one; days without any belong to the first name."""
    total = by_day.groupby("alert")["fired"].sum().sort_values(ascending=False, kind="stable")
    # One more than fits is better told than hidden.
    names = list(total.index) if len(total) <= most + 1 else list(total.index[:most])
    alert = by_day["alert"].where(by_day["alert"].isin(names) | by_day["alert"].isna(), others)
    made = by_day.assign(alert=alert.fillna(names[0] if names else others))
    made = made.groupby(["day", "alert"], as_index=False, sort=False)["fired"].sum()
    made.attrs = dict(by_day.attrs)
    return made


def matched(alerts: pd.DataFrame, matchers: Mapping[str, str]) -> int:
    """How many of these alerts carry all of these labels."""
    return sum(matchers.items() <= labels_of(text).items() for text in alerts["labels"])


def origin(dashboard_url: str, starts_at: datetime, now: datetime) -> tuple[str, dict[str, str]] | None:
    """The page that an alert came from and its parameters, with a span that holds its beginning; None: no page.

    The span is told in the words of the page's own bar: `components.span` on the pages of engineers,
    `components.filters` on those of analysts.
    """
    try:
        parts = urlsplit(dashboard_url)
    except ValueError:
        return None
    page = parts.path.strip("/")
    if not page or "/" in page or parts.scheme not in {"http", "https"}:
        return None
    params = dict(parse_qsl(parts.query))
    age = now - starts_at
    if page in DAY_PAGES:
        return page, {**params, "period": "today" if starts_at.date() == now.date() else "last_7"}
    for name, hours in (("1h", 1), ("6h", 6), ("24h", 24), ("7d", 168)):
        # Something of the time before belongs to the picture.
        if age * 1.5 + timedelta(minutes=10) <= timedelta(hours=hours):
            return page, params if name == "24h" else {**params, "range": name}
    first = (starts_at - timedelta(days=1)).date()
    return page, {**params, "range": "days", "from": first.isoformat(), "to": now.date().isoformat()}


def incident_of(labels: Mapping[str, str]) -> int | None:
    """The open incident that a critical alert belongs to; None without one. Raises SourceError.

    An incident is a component's; an alert without a component has one of its own name.
    """
    if labels.get("severity") != "critical":
        return None
    opened = state("incidents/list", {"open": True}, grace=0)
    component = labels.get("component") or labels.get("integration")
    mine = (
        opened[opened["component"] == component]
        if component
        else opened[opened["component"].isna() & (opened["alertname"] == labels.get("alertname"))]
    )
    return int(mine["id"].iloc[0]) if len(mine) else None


# --- the cost ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """One thing that an alert costs the business: how many, and their MXN (None: none is told).

    `what`: applications_waiting, disbursements_waiting, payments_waiting (counted, in the ledger now);
    applications_missing, disbursements_missing, payments_missing, approvals_missing (about: the median of normal days
    at the same time, less what came); late_installments. Counted since `since`, or as it stands now where it is None.
    """

    what: str
    count: float
    amount: float | None = None
    since: datetime | None = None

    @property
    def about(self) -> bool:
        """Whether it is an estimate."""
        return self.what.endswith("_missing")


INTEGRATIONS_SERVE = {"application": "applications", "credit": "disbursements", "payment": "payments"}
FLOWS = {
    "applications": ("applications", "applied_amount"),
    "disbursements": ("disbursed", "disbursed_amount"),
    "payments": ("collected", "collected_amount"),
}
ALL_FLOWS = tuple(FLOWS)
# What each alert of `monitoring/rules` keeps from happening; those that are not here cost nothing by themselves: they
# say that something cannot be seen.
_HARMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("BackendDown", "HighErrorRate", "HighLatency", "NoTraffic", "DatabaseConnectionPoolExhausted"), ALL_FLOWS
    ),
    **dict.fromkeys(("AvailabilityBudgetBurn", "LatencyBudgetBurn"), ALL_FLOWS),
    **dict.fromkeys(("IntegrationAPIDown", "IntegrationSlow"), ("integration",)),
    "ComponentDown": ("component",),
    "NoDisbursementsToday": ("waiting", "disbursements today"),
    "DisbursementBudgetBurn": ("waiting",),
    "PaymentBudgetBurn": ("conekta",),
    "HighLatePayments": ("late",),
    "LowApprovalRate": ("approvals",),
}


def has_cost(alert: str) -> bool:
    """Whether an alert of this name keeps business from happening, rather than from being seen."""
    return alert in _HARMS


def cost_of(
    alert: str, labels: Mapping[str, str], starts_at: datetime, now: datetime, *, deadline: float | None = None
) -> list[Loss]:
    """What an alert has cost the business while it fired, greatest amounts first; empty when nothing is missing.

    Counted from `starts_at`, but from no earlier than 24 hours ago. Costs of alerts with one cause are the same money
    told twice: they are not to be added. Raises SourceError.
    """
    zone = timezone()
    since = max(starts_at, now - LONGEST_COST).astimezone(zone)
    midnight = datetime.combine(business_day(zone, now), time(), zone)
    losses: list[Loss] = []
    for harm in _HARMS.get(alert, ()):
        match harm:
            case "integration" | "component" | "conekta":
                name = labels.get("integration") or labels.get("component") or ""
                if harm == "component" and name in {"api", "database", "cache"}:
                    losses += _missing(ALL_FLOWS, since, now, deadline)
                elif name or harm == "conekta":
                    losses += _held_up("conekta" if harm == "conekta" else name, since, now, deadline)
            case "waiting":
                row = ledger("disbursements/waiting_now", deadline=deadline).iloc[0]
                losses.append(Loss("disbursements_waiting", float(row["credits"]), float(row["amount"])))
            case "disbursements today":
                losses += _missing(("disbursements",), midnight, now, deadline)
            case "late":
                today = midnight.date()
                found = ledger(
                    "late_payments/buckets", {"first": today, "last": today, "late": ["16-30"]}, deadline=deadline
                )
                losses.append(
                    Loss("late_installments", float(found["installments"].sum()), float(found["amount"].sum()))
                )
            case "approvals":
                losses += approvals_missing(*_flow(midnight, now, deadline), midnight)
            case flow:
                losses += _missing((flow,), since, now, deadline)
    # Once each, however many ways lead to it.
    kept = {loss.what: loss for loss in losses if loss.count > 0}
    return sorted(kept.values(), key=lambda loss: -(loss.amount or 0.0))


def _flow(start: datetime, now: datetime, deadline: float | None) -> tuple[pd.DataFrame, date]:
    day = business_day(timezone(), now)
    end = now.replace(second=0, microsecond=0)
    params = {"start": start, "end": max(end, start), "day": day, "days": normal_days(day)}
    return ledger("alerts/flow", params, deadline=deadline), day


def _missing(flows: Sequence[str], start: datetime, now: datetime, deadline: float | None) -> list[Loss]:
    return missing(*_flow(start, now, deadline), flows, start)


def missing(flow: pd.DataFrame, day: date, flows: Sequence[str], since: datetime) -> list[Loss]:
    """What `alerts/flow` says did not come on `day` that comes on normal days: their median, less what came."""
    own, normal = _split(flow, day)
    if own is None or normal.empty:
        return []
    made = []
    for name in flows:
        counted, amount = FLOWS[name]
        gap = float(normal[counted].astype("float64").median()) - float(own[counted])
        lost = float(normal[amount].astype("float64").median()) - float(own[amount])
        # Less than one in a stretch is chance, not a loss.
        if gap >= 1:
            made.append(Loss(f"{name}_missing", gap, max(lost, 0.0), since))
    return made


def approvals_missing(flow: pd.DataFrame, day: date, since: datetime) -> list[Loss]:
    """The approvals that the day's decisions would hold at the approval rate of normal days."""
    own, normal = _split(flow, day)
    decided = float(normal["decided"].sum()) if len(normal) else 0.0
    if own is None or not decided:
        return []
    gap = float(normal["approved"].sum()) / decided * float(own["decided"]) - float(own["approved"])
    return [Loss("approvals_missing", gap, None, since)] if gap >= 1 else []


def _split(flow: pd.DataFrame, day: date) -> tuple[pd.Series[Any] | None, pd.DataFrame]:
    today = flow["day"] == pd.Timestamp(day)
    own = flow[today]
    return (own.iloc[0] if len(own) else None), flow[~today]


def _held_up(integration: str, since: datetime, now: datetime, deadline: float | None) -> list[Loss]:
    hours = max(1, math.ceil((now - since) / timedelta(hours=1)))
    day = business_day(timezone(), now)
    cost = ledger("integrations/cost", {"day": day, "hours": hours}, deadline=deadline)
    mine = cost[(cost["integration"] == integration) & (cost["day"] == pd.Timestamp(day))]
    begun = now - timedelta(hours=hours)
    return [
        Loss(f"{INTEGRATIONS_SERVE[row.kind]}_waiting", float(row.waiting), float(row.waiting_amount), begun)
        for row in mine.itertuples()
        if row.kind in INTEGRATIONS_SERVE
    ]


# --- who is called ----------------------------------------------------------------------------------------------------


def reads_names(roles: Collection[str]) -> bool:
    """Whether a viewer with these roles may read who is on call."""
    return "engineer" in roles


def _oncall(
    roles: Collection[str], name: str, ask: Callable[[Any], pd.DataFrame], title: str, description: str
) -> pd.DataFrame:
    if not reads_names(roles):
        raise SourceError("The names of who is on call are shown to engineers.", kind="bad_parameter", source="oncall")
    return outside("oncall", name, {}, ask, title=title, description=description, ttl=60.0)


def on_calls(roles: Collection[str]) -> pd.DataFrame:
    """Who is on call now; columns as of `PagerDutyClient.on_calls`. It holds names: `roles` are the viewer's.

    Raises SourceError, also for who is no engineer.
    """
    return _oncall(
        roles,
        "on_calls",
        lambda client: client.on_calls(),
        "On call now",
        "A row is one person and level of the policy.",
    )


def shifts(roles: Collection[str]) -> pd.DataFrame:
    """The shifts of four weeks; columns as of `PagerDutyClient.shifts`. It holds names: `roles` are the viewer's.

    Raises SourceError, also for who is no engineer.
    """
    return _oncall(roles, "shifts", lambda client: client.shifts(), "Shifts", "A row is one shift of the schedule.")


def levels(roles: Collection[str]) -> pd.DataFrame:
    """The escalation policy; columns as of `PagerDutyClient.levels`. It may hold names: `roles` are the viewer's.

    Raises SourceError, also for who is no engineer.
    """
    return _oncall(
        roles, "levels", lambda client: client.levels(), "Escalation policy", "A row is one target of a level."
    )


def next_shift(shifts: pd.DataFrame, now: datetime) -> pd.Series[Any] | None:
    """The first shift that begins after now with another person than the one who has it now; None: none is known."""
    current = shifts[(shifts["starts_at"] <= now) & (shifts["ends_at"] > now)]
    later = shifts[shifts["starts_at"] > now]
    if len(current):
        later = later[~later["person"].isin(current["person"])]
    return later.iloc[0] if len(later) else None


# --- UptimeRobot ------------------------------------------------------------------------------------------------------


def uptime_monitors(days: int = 90, today: date | None = None) -> pd.DataFrame:
    """What UptimeRobot sees of each monitor, by day.

    Columns: monitor, component (of the status page; empty: none), state (up, seems_down, down, paused, unknown), day
    (datetime64 at midnight, configured zone; NaT where no days are told), uptime (share of the day; NaN: not told).
    Raises SourceError; kind not_configured without a key.
    """
    last = today or business_day(timezone())
    wanted = tuple(last - timedelta(days=back) for back in range(days))[::-1]
    return outside(
        "uptime",
        "monitors",
        {"first": wanted[0] if wanted else last, "last": last},
        lambda client: client.monitors(wanted),
        title="UptimeRobot",
        description="A row is one monitor and day: the share of its checks that succeeded.",
        columns=(
            Column("monitor", "text"),
            Column("component", "text"),
            Column("state", "text"),
            Column("day", "date"),
            Column("uptime", "double", "share"),
        ),
        # The free plan answers ten questions a minute.
        ttl=300.0,
    )


def uptime_by_monitor(told: pd.DataFrame) -> pd.DataFrame:
    """One row a monitor: monitor, component, state, uptime (mean of the days that are told; NaN: none), days."""
    made = told.groupby(["monitor", "component", "state"], as_index=False, sort=False).agg(
        uptime=("uptime", "mean"), days=("uptime", "count")
    )
    order = {"down": 0, "seems_down": 1, "unknown": 2, "up": 3, "paused": 4}
    made = made.assign(_rank=made["state"].map(order)).sort_values(["_rank", "monitor"], ignore_index=True)
    made = made.drop(columns="_rank")
    made.attrs = dict(told.attrs)
    return made


def has_uptime() -> bool:
    """Whether UptimeRobot is configured."""
    return is_configured("uptime")
