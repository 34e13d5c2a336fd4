"""Alertmanager's own API (v2): what fires, what is silenced or inhibited, and silences made and ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from queries.http_client import HttpClient
from queries.outside import Bounds, Outside

# Of an alert that is inhibited and silenced at once, the silence is told: it was somebody's choice.
ANNOTATIONS = ("summary", "summary_es", "description", "description_es", "runbook_url", "dashboard_url")
ALERT_COLUMNS = (
    *("fingerprint", "alert", "severity", "state", "starts_at", "labels", *ANNOTATIONS),
    *("generator_url", "silenced_by", "inhibited_by"),
)
SILENCE_COLUMNS = ("silence_id", "state", "matchers", "starts_at", "ends_at", "created_by", "reason")


class AlertmanagerClient:
    """Asks one Alertmanager. Frames' times are in `zone`."""

    def __init__(self, url: str, *, zone: ZoneInfo, connections: int = 4, timeout: float = 10.0) -> None:
        self._http = HttpClient(
            url,
            source="alertmanager",
            name="Alertmanager",
            variable="MIRADOR_ALERTMANAGER_URL",
            connections=connections,
            timeout=timeout,
        )
        self.zone = zone

    def ping(self) -> float:
        """Seconds that its status takes. Raises SourceError."""
        return self._http.ping("/api/v2/status")

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def alerts(self) -> pd.DataFrame:
        """Every alert that Alertmanager holds, the oldest first.

        Columns: fingerprint, alert (its name), severity, state (firing, silenced, inhibited), starts_at (configured
        zone), labels (JSON with sorted keys), summary and description with their `_es`, runbook_url, dashboard_url,
        generator_url (empty where not given), silenced_by (ids of silences, a comma between) and inhibited_by
        (fingerprints). Raises SourceError.
        """
        told = self._http.get("/api/v2/alerts", {"active": "true", "silenced": "true", "inhibited": "true"})
        frame = self._frame(told, self._alert, ALERT_COLUMNS, ("starts_at",))
        frame = frame.sort_values(["starts_at", "alert", "fingerprint"], ignore_index=True)
        frame.attrs["text"] = "GET /api/v2/alerts"
        return frame

    def silences(self) -> pd.DataFrame:
        """Silences that are active or will be, the one that ends first on top.

        Columns: silence_id, state (active, pending), matchers (JSON list as Alertmanager has them), starts_at and
        ends_at (configured zone), created_by, reason. Raises SourceError.
        """
        frame = self._frame(
            self._http.get("/api/v2/silences"), self._silence, SILENCE_COLUMNS, ("starts_at", "ends_at")
        )
        frame = frame[frame["state"] != "expired"].sort_values("ends_at", ignore_index=True)
        frame.attrs["text"] = "GET /api/v2/silences"
        return frame

    def status(self) -> dict[str, Any]:
        """version, up_since (aware) and cluster (ready, settling, disabled). Raises SourceError."""
        told = self._http.get("/api/v2/status")
        try:
            return {
                "version": str(told["versionInfo"]["version"]),
                "up_since": datetime.fromisoformat(told["uptime"]).astimezone(self.zone),
                "cluster": str(told["cluster"]["status"]),
            }
        except (KeyError, TypeError, ValueError):
            raise self._http.garbage() from None

    def silence(
        self, matchers: Sequence[tuple[str, str]], *, reason: str, starts_at: datetime, ends_at: datetime, by: str
    ) -> str:
        """Silence what carries all of these labels, and give the id of the silence. Raises SourceError."""
        told = self._http.post(
            "/api/v2/silences",
            {
                "matchers": [
                    {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers
                ],
                "startsAt": starts_at.astimezone(UTC).isoformat(),
                "endsAt": ends_at.astimezone(UTC).isoformat(),
                "createdBy": by,
                "comment": reason,
            },
        )
        if not isinstance(told, dict) or not isinstance(told.get("silenceID"), str):
            raise self._http.garbage()
        return str(told["silenceID"])

    def expire(self, silence_id: str) -> None:
        """End a silence now. Raises SourceError."""
        self._http.ask("DELETE", f"/api/v2/silence/{silence_id}")

    def _frame(self, told: Any, row: Any, columns: tuple[str, ...], times: tuple[str, ...]) -> pd.DataFrame:
        if not isinstance(told, list):
            raise self._http.garbage()
        try:
            frame = pd.DataFrame([row(one) for one in told], columns=list(columns))
            for name in columns:
                if name in times:
                    frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.tz_convert(self.zone)
                else:
                    frame[name] = frame[name].astype("str")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._http.garbage() from None
        return frame

    @staticmethod
    def _alert(one: dict[str, Any]) -> dict[str, Any]:
        labels, said, status = one["labels"], one.get("annotations") or {}, one["status"]
        silenced, inhibited = status.get("silencedBy") or [], status.get("inhibitedBy") or []
        return {
            "fingerprint": one["fingerprint"],
            "alert": labels.get("alertname", ""),
            "severity": labels.get("severity", ""),
            "state": "silenced" if silenced else "inhibited" if inhibited else "firing",
            "starts_at": one["startsAt"],
            "labels": json.dumps(dict(sorted(labels.items())), ensure_ascii=False),
            **{name: str(said.get(name, "")) for name in ANNOTATIONS},
            "generator_url": one.get("generatorURL") or "",
            "silenced_by": ",".join(silenced),
            "inhibited_by": ",".join(inhibited),
        }

    @staticmethod
    def _silence(one: dict[str, Any]) -> dict[str, Any]:
        return {
            "silence_id": one["id"],
            "state": one["status"]["state"],
            "matchers": json.dumps(
                [
                    {name: each[name] for name in ("name", "value", "isRegex", "isEqual") if name in each}
                    for each in one["matchers"]
                ],
                ensure_ascii=False,
            ),
            "starts_at": one["startsAt"],
            "ends_at": one["endsAt"],
            "created_by": one.get("createdBy", ""),
            "reason": one.get("comment", ""),
        }


def make(outside: Outside, bounds: Bounds) -> AlertmanagerClient:
    """The client of the configured Alertmanager."""
    return AlertmanagerClient(
        str(outside.alertmanager_url),
        zone=bounds.zone,
        connections=bounds.connections,
        timeout=bounds.query_timeout,
    )
