"""PagerDuty's REST API (v2), read-only: who is on call, who is next, and how an alert climbs.

Names of people come from PagerDuty at the moment of reading, for engineers alone: they stand in no log, no error and no
database of Mirador.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from queries.http_client import HttpClient
from queries.outside import Bounds, Outside

ON_CALL_COLUMNS = ("level", "person", "schedule", "policy", "starts_at", "ends_at")
SHIFT_COLUMNS = ("person", "starts_at", "ends_at", "schedule")
LEVEL_COLUMNS = ("level", "after_minutes", "target", "kind")
AHEAD = timedelta(days=28)


class PagerDutyClient:
    """Asks one account. Frames' times are in `zone`."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        zone: ZoneInfo,
        schedule: str = "",
        policy: str = "",
        connections: int = 4,
        timeout: float = 10.0,
    ) -> None:
        self._http = HttpClient(
            url,
            source="oncall",
            name="PagerDuty",
            variable="MIRADOR_PAGERDUTY_URL",
            headers={
                "Authorization": f"Token token={token}",
                "Accept": "application/vnd.pagerduty+json;version=2",
            },
            connections=connections,
            timeout=timeout,
        )
        self.zone = zone
        self.schedule = schedule
        self.policy = policy

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        return self._http.ping("/oncalls", {"limit": 1})

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def on_calls(self) -> pd.DataFrame:
        """Who is on call now, by level of the escalation policy.

        Columns: level (1 is called first), person, schedule and policy (names), starts_at and ends_at (configured zone;
        no end: always on call). Of the configured schedule or policy where one is set, else of all. Raises SourceError.
        """
        params: dict[str, Any] = {"limit": 100}
        # A policy holds its schedule; asked for both, PagerDuty gives only what is in both.
        if self.policy:
            params["escalation_policy_ids[]"] = [self.policy]
        elif self.schedule:
            params["schedule_ids[]"] = [self.schedule]
        told = self._http.get("/oncalls", params)
        frame = self._frame(lambda: [self._on_call(one) for one in told["oncalls"]], ON_CALL_COLUMNS)
        frame = frame.sort_values(["level", "starts_at", "person"], ignore_index=True)
        frame.attrs["text"] = "GET /oncalls"
        return frame

    def shifts(self, now: datetime | None = None) -> pd.DataFrame:
        """The shifts of the configured schedule that run or begin within four weeks, in order.

        Columns: person, starts_at, ends_at (configured zone), schedule (its name). Empty without a configured schedule.
        Raises SourceError.
        """
        moment = now or datetime.now(UTC)
        told: Any = {"schedule": {"final_schedule": {"rendered_schedule_entries": []}}}
        if self.schedule:
            told = self._http.get(
                f"/schedules/{self.schedule}",
                {
                    "since": moment.isoformat(timespec="seconds"),
                    "until": (moment + AHEAD).isoformat(timespec="seconds"),
                },
            )

        def rows() -> list[dict[str, Any]]:
            schedule = told["schedule"]
            return [
                {
                    "person": _name(one.get("user")),
                    "starts_at": one["start"],
                    "ends_at": one["end"],
                    "schedule": schedule.get("name") or schedule.get("summary") or "",
                }
                for one in schedule["final_schedule"]["rendered_schedule_entries"]
            ]

        frame = self._frame(rows, SHIFT_COLUMNS)
        frame = frame.sort_values("starts_at", ignore_index=True)
        frame.attrs["text"] = f"GET /schedules/{self.schedule}" if self.schedule else ""
        return frame

    def levels(self) -> pd.DataFrame:
        """The levels of the configured escalation policy.

        Columns: level, after_minutes (since the alert began, when this level is called), target (the name of a schedule
        or of a person), kind (schedule, person). Empty without a configured policy. Raises SourceError.
        """
        told: Any = {"escalation_policy": {"escalation_rules": []}}
        if self.policy:
            told = self._http.get(f"/escalation_policies/{self.policy}")

        def rows() -> list[dict[str, Any]]:
            made: list[dict[str, Any]] = []
            after = 0
            for level, rule in enumerate(told["escalation_policy"]["escalation_rules"], start=1):
                for target in rule["targets"]:
                    kind = "schedule" if str(target["type"]).startswith("schedule") else "person"
                    made.append({"level": level, "after_minutes": after, "target": _name(target), "kind": kind})
                after += int(rule["escalation_delay_in_minutes"])
            return made

        frame = self._frame(rows, LEVEL_COLUMNS)
        frame.attrs["text"] = f"GET /escalation_policies/{self.policy}" if self.policy else ""
        return frame

    def _on_call(self, one: dict[str, Any]) -> dict[str, Any]:
        return {
            "level": int(one["escalation_level"]),
            "person": _name(one["user"]),
            "schedule": _name(one.get("schedule")),
            "policy": _name(one.get("escalation_policy")),
            "starts_at": one.get("start"),
            "ends_at": one.get("end"),
        }

    def _frame(self, rows: Callable[[], list[dict[str, Any]]], columns: tuple[str, ...]) -> pd.DataFrame:
        try:
            frame = pd.DataFrame(rows(), columns=list(columns))
            for name in columns:
                if name.endswith("_at"):
                    frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.tz_convert(self.zone)
                else:
                    whole = name in {"level", "after_minutes"}
                    frame[name] = frame[name].astype("int64" if whole else "str")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._http.garbage() from None
        return frame


def _name(reference: Any) -> str:
    """The name in a reference (`summary`) or in a whole object (`name`); empty where nobody stands."""
    if reference is None:
        return ""
    return str(reference.get("summary") or reference.get("name") or "")


def make(outside: Outside, bounds: Bounds) -> PagerDutyClient:
    """The client of the configured account."""
    return PagerDutyClient(
        outside.pagerduty_url,
        str(outside.pagerduty_token),
        zone=bounds.zone,
        schedule=outside.pagerduty_schedule,
        policy=outside.pagerduty_escalation_policy,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )
