"""UptimeRobot's API (v2, getMonitors), read-only: what it sees of the components from outside, by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from queries.errors import SourceError
from queries.http_client import HttpClient
from queries.outside import Bounds, Outside

# By the documentation of getMonitors; what is not listed shows as unknown.
STATES = {0: "paused", 1: "unknown", 2: "up", 8: "seems_down", 9: "down"}
COMPONENTS = ("api", "database", "cache", "geotab", "conekta", "metamap", "neon")
COLUMNS = ("monitor", "component", "state", "day", "uptime")
# As many as one answer holds.
PAGE = 50
MOST = 500


class UptimeRobotClient:
    """Asks one account, or one monitor whose own key is configured. A read-only key is enough."""

    def __init__(self, url: str, key: str, *, zone: ZoneInfo, connections: int = 4, timeout: float = 10.0) -> None:
        self._http = HttpClient(
            url,
            source="uptime",
            name="UptimeRobot",
            variable="MIRADOR_UPTIMEROBOT_URL",
            connections=connections,
            timeout=timeout,
        )
        self._key = key
        self.zone = zone

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        began = datetime.now(self.zone)
        self._ask({"limit": 1})
        return (datetime.now(self.zone) - began).total_seconds()

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def monitors(self, days: Sequence[date]) -> pd.DataFrame:
        """Each monitor's state now and its uptime on each of these days of the configured zone.

        Columns: monitor (its name), component (of the status page, when the name has its word; else empty), state (up,
        seems_down, down, paused, unknown), day (datetime64 at midnight; NaT on the one row of a monitor without days),
        uptime (share of the day's checks; NaN where not told). Raises SourceError.
        """
        asked: dict[str, Any] = {}
        if days:
            asked["custom_uptime_ranges"] = "-".join(self._range(day) for day in days)
        rows: list[dict[str, Any]] = []
        offset, total = 0, 1
        while offset < min(total, MOST):
            told = self._ask({**asked, "limit": PAGE, "offset": offset})
            try:
                for one in told["monitors"]:
                    rows += self._rows(one, days)
                total = int((told.get("pagination") or {}).get("total", 0))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise self._http.garbage() from None
            offset += PAGE
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame = frame.astype({"monitor": "str", "component": "str", "state": "str", "uptime": "float64"})
        frame["day"] = pd.to_datetime(frame["day"])
        frame.attrs["text"] = "POST /v2/getMonitors"
        return frame

    def _range(self, day: date) -> str:
        begin = datetime.combine(day, time(), self.zone)
        end = datetime.combine(day + timedelta(days=1), time(), self.zone)
        return f"{int(begin.timestamp())}_{int(end.timestamp())}"

    def _rows(self, one: dict[str, Any], days: Sequence[date]) -> list[dict[str, Any]]:
        name = str(one["friendly_name"])
        kept = {
            "monitor": name,
            "component": component_of(name),
            "state": STATES.get(int(one["status"]), "unknown"),
        }
        told = str(one.get("custom_uptime_ranges") or "")
        shares = [float(part) / 100 for part in told.split("-")] if told else []
        if len(shares) != len(days) or not days:
            return [{**kept, "day": None, "uptime": float("nan")}]
        # Days before the monitor was made are told as 0 or 100: nothing is known of them.
        born = datetime.fromtimestamp(int(one.get("create_datetime") or 0), self.zone).date()
        return [
            {**kept, "day": day, "uptime": share if day >= born else float("nan")}
            for day, share in zip(days, shares, strict=True)
        ]

    def _ask(self, params: dict[str, Any]) -> dict[str, Any]:
        # The key stands in the body, never in the address: addresses are written into logs on the way.
        told = self._http.post("/v2/getMonitors", {"api_key": self._key, "format": "json", **params})
        if not isinstance(told, dict) or told.get("stat") not in {"ok", "fail"}:
            raise self._http.garbage()
        if told["stat"] == "fail":
            # Answered with 200; its words may quote what was sent, so they go no further.
            raise SourceError("UptimeRobot refused the question: check its key.", kind="refused", source="uptime")
        return told


def component_of(monitor: str) -> str:
    """The component of the status page that a monitor's name speaks of: the first whose word is in it."""
    words = "".join(sign if sign.isalnum() else " " for sign in monitor.lower()).split()
    return next((name for name in COMPONENTS if name in words), "")


def make(outside: Outside, bounds: Bounds) -> UptimeRobotClient:
    """The client of the configured account."""
    return UptimeRobotClient(
        outside.uptimerobot_url,
        str(outside.uptimerobot_key),
        zone=bounds.zone,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )
