"""The sources beside ledger and metrics: what each needs, and how its client is made. Each is optional.

A client is one small class in `queries/<x>_client.py` with `ping()` (seconds), `close()` and methods that give plain
frames. It is made at the first question, so that what nobody uses costs no import, and asked through
`queries.sources.outside`, which keeps its answers and knows its state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args
from zoneinfo import ZoneInfo

from queries.errors import SourceError

OutsideSource = Literal["alertmanager", "errors", "logs", "traces", "oncall", "uptime"]
OUTSIDE: tuple[OutsideSource, ...] = get_args(OutsideSource)

# What stands in the sentence of a source that is not configured, and the setting that names it.
NOT_CONFIGURED: dict[OutsideSource, str] = {
    "alertmanager": "No Alertmanager is configured: set MIRADOR_ALERTMANAGER_URL.",
    "errors": "No error tracker is configured: set MIRADOR_SENTRY_URL and MIRADOR_SENTRY_TOKEN.",
    "logs": "No logs are configured: set MIRADOR_CLOUDWATCH_LOG_GROUPS or MIRADOR_ELASTICSEARCH_URL.",
    "traces": "No Jaeger is configured: set MIRADOR_JAEGER_URL.",
    "oncall": "No PagerDuty is configured: set MIRADOR_PAGERDUTY_TOKEN.",
    "uptime": "No UptimeRobot is configured: set MIRADOR_UPTIMEROBOT_KEY.",
}


@dataclass(frozen=True)
class Outside:
    """Addresses and secrets; what is None or empty is not configured."""

    alertmanager_url: str | None = None
    sentry_url: str | None = None
    sentry_token: str | None = field(default=None, repr=False)
    sentry_organization: str = ""
    sentry_project: str = ""
    sentry_api: Literal["sentry", "bugsink"] = "sentry"
    cloudwatch_log_groups: tuple[str, ...] = ()
    cloudwatch_region: str = "us-east-1"
    cloudwatch_url: str | None = None
    elasticsearch_url: str | None = None
    elasticsearch_index: str = "logs-*"
    elasticsearch_api_key: str | None = field(default=None, repr=False)
    jaeger_url: str | None = None
    jaeger_token: str | None = field(default=None, repr=False)
    pagerduty_token: str | None = field(default=None, repr=False)
    pagerduty_url: str = "https://api.pagerduty.com"
    pagerduty_schedule: str = ""
    pagerduty_escalation_policy: str = ""
    uptimerobot_key: str | None = field(default=None, repr=False)
    uptimerobot_url: str = "https://api.uptimerobot.com"

    def configured(self, source: OutsideSource) -> bool:
        """Whether enough is said to ask this source."""
        return {
            "alertmanager": bool(self.alertmanager_url),
            "errors": bool(self.sentry_url and self.sentry_token),
            "logs": bool(self.cloudwatch_log_groups or self.elasticsearch_url),
            "traces": bool(self.jaeger_url),
            "oncall": bool(self.pagerduty_token),
            "uptime": bool(self.uptimerobot_key),
        }[source]


@dataclass(frozen=True)
class Bounds:
    """What every client keeps to: seconds, connections, and the zone (of frames' times)."""

    zone: ZoneInfo
    query_timeout: float = 10.0
    connect_timeout: float = 3.0
    connections: int = 4


class OutsideClient(Protocol):
    """What the house needs of each client."""

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""

    def close(self) -> None:
        """Drop the connections."""


def make_client(source: OutsideSource, outside: Outside, bounds: Bounds) -> OutsideClient:
    """The client of a source. Raises SourceError(not_configured)."""
    if not outside.configured(source) or source not in _MAKERS:
        raise SourceError(NOT_CONFIGURED[source], kind="not_configured", source=source)
    return _MAKERS[source](outside, bounds)


def _alertmanager(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.alertmanager_client import make

    return make(outside, bounds)


def _errors(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.errors_client import make

    return make(outside, bounds)


def _logs(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.logs_client import make

    return make(outside, bounds)


def _oncall(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.pagerduty_client import make

    return make(outside, bounds)


def _traces(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.traces_client import make

    return make(outside, bounds)


def _uptime(outside: Outside, bounds: Bounds) -> OutsideClient:
    from queries.uptimerobot_client import make

    return make(outside, bounds)


_MAKERS: dict[OutsideSource, Callable[[Outside, Bounds], OutsideClient]] = {
    "alertmanager": _alertmanager,
    "errors": _errors,
    "logs": _logs,
    "oncall": _oncall,
    "traces": _traces,
    "uptime": _uptime,
}
