"""Stand-ins for the outside services: they take their time and fail now and then, as the company's incidents say.

Each call leaves the same marks as a real one: a row in the ledger, a span, a log line, and when it failed an error, all
with the request id and the trace id of the row.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from demo import company
from demo.backend import rules, telemetry
from demo.backend.ledger import Ledger
from demo.company import Incident

log = telemetry.log
# A success that took longer is told as a warning.
SLOW_SECONDS = 3.0
# While a service fails on purpose it is asked this often, as a company does that waits for it.
RETRY_SECONDS = 3.0


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its id in the ledger, and `success`, `error` or `timeout`."""

    call_id: int
    status: str

    @property
    def ok(self) -> bool:
        """Whether the service has done what it was asked."""
        return self.status == "success"


class Integrations:
    """Geotab, Conekta, Metamap and NEON, in this process."""

    def __init__(self, ledger: Ledger, dice: random.Random, *, speed: float = 1.0) -> None:
        self._ledger = ledger
        self._dice = dice
        self._speed = speed
        self.incidents: dict[str, Incident] = {}

    def begin_incident(self, integration: str, minutes: float, *, failing: float, factor: float) -> Incident:
        """Let a service fail from now on for a while; one that it has already is replaced."""
        now = datetime.now(UTC)
        incident = Incident(integration, now, now + timedelta(minutes=minutes), failing, factor)
        self.incidents[integration] = incident
        log.warning("Incident begins", extra={"integration": integration, "until": incident.end.isoformat()})
        return incident

    def end_incident(self, integration: str) -> bool:
        """End a service's incident; whether there was one."""
        return self.incidents.pop(integration, None) is not None

    def incident_at(self, integration: str, moment: datetime) -> Incident | None:
        """What goes wrong with a service at a moment: what was begun here, else what the company's history says."""
        begun = self.incidents.get(integration)
        if begun is not None and moment < begun.end:
            return begun
        return company.incident_at(integration, moment)

    async def insist(self, incident: Incident) -> None:
        """Ask a service again and again while its incident lasts."""
        endpoints = [spec.endpoint for spec in company.ENDPOINTS if spec.integration == incident.integration]
        while self.incidents.get(incident.integration) is incident and datetime.now(UTC) < incident.end:
            with telemetry.work(f"retry {incident.integration}", integration=incident.integration):
                await self.call(incident.integration, self._dice.choice(endpoints))
            await asyncio.sleep(RETRY_SECONDS / self._speed)

    async def call(
        self,
        integration: str,
        endpoint: str,
        *,
        application_id: str | None = None,
        credit_id: str | None = None,
        again: bool = False,
    ) -> Outcome:
        """Ask a service; the call is awaited, recorded and counted whatever its end.

        `again` says that a failure is no end: the caller will ask once more.
        """
        called_at = datetime.now(UTC)
        incident = self.incident_at(integration, called_at)
        fate = rules.fate_of_call(integration, endpoint, incident, self._dice)
        about = {"integration": integration, "application_id": application_id, "credit_id": credit_id}
        with (
            telemetry.told(**about),
            telemetry.tracer().start_as_current_span(
                f"{company.METHOD_OF_CALL} {endpoint}",
                kind=SpanKind.CLIENT,
                attributes=span_attributes(integration, endpoint, application_id, credit_id),
            ) as span,
        ):
            span.set_attribute("request_id", telemetry.request_id())
            telemetry.keep()
            began = time.perf_counter()
            await asyncio.sleep(fate.seconds / self._speed)
            seconds = time.perf_counter() - began
            if fate.http_status is not None:
                span.set_attribute("http.response.status_code", fate.http_status)
            if fate.status != "success":
                span.set_attribute("error.type", fate.error_code or fate.status)
                span.set_status(Status(StatusCode.ERROR, fate.error_message))
            call_id = await asyncio.to_thread(
                self._ledger.record_call,
                integration,
                endpoint,
                called_at=called_at,
                status=fate.status,
                http_status=fate.http_status,
                seconds=seconds,
                error_code=fate.error_code,
                error_message=fate.error_message,
                request_id=telemetry.request_id(),
                trace_id=telemetry.trace_id() or "",
                application_id=application_id,
                credit_id=credit_id,
            )
            self._tell(fate, endpoint, integration, seconds, again)
        return Outcome(call_id, fate.status)

    def _tell(self, fate: rules.Fate, endpoint: str, integration: str, seconds: float, again: bool) -> None:
        level, words, fields = line_of_call(
            integration, endpoint, fate.status, fate.http_status, round(seconds * 1000), fate.error_code, again=again
        )
        log.log(level, words, extra=fields)
        if fate.status == "success":
            return
        try:
            raise telemetry.IntegrationError(
                telemetry.error_words(integration, endpoint, fate.http_status, fate.error_code)
            )
        except telemetry.IntegrationError as error:
            telemetry.integration_failed(error, integration=integration, endpoint=endpoint, error_code=fate.error_code)


def span_attributes(
    integration: str, endpoint: str, application_id: str | None, credit_id: str | None
) -> dict[str, Any]:
    """What a call's span says of it, by OpenTelemetry's conventions for HTTP clients, and the company's own ids."""
    host = company.HOSTS[integration]
    found = {
        "http.request.method": company.METHOD_OF_CALL,
        "server.address": host,
        "server.port": 443,
        "url.full": f"https://{host}{endpoint}",
        "url.template": endpoint,
        "peer.service": integration,
        "integration": integration,
        "application_id": application_id,
        "credit_id": credit_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def line_of_call(
    integration: str,
    endpoint: str,
    status: str,
    http_status: int | None,
    duration_ms: int,
    error_code: str | None,
    *,
    again: bool = False,
) -> tuple[int, str, dict[str, Any]]:
    """Level, message and fields of a call's log line, by the company's strategy of levels.

    ERROR asks for attention now: the call failed and nobody asks again. WARNING may become a problem: it failed and is
    tried again, or was slow. INFO: it went well.
    """
    fields: dict[str, Any] = {"endpoint": endpoint, "status": status, "duration_ms": duration_ms}
    if http_status is not None:
        fields["http_status"] = http_status
    title = company.TITLES.get(integration, integration)
    if status != "success":
        level = logging.WARNING if again else logging.ERROR
        return level, f"{title} API call failed", {**fields, "error_code": error_code}
    if duration_ms > SLOW_SECONDS * 1000:
        return logging.WARNING, f"{title} API slow response", fields
    return logging.INFO, f"{title} API call succeeded", fields
