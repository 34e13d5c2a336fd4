"""Stand-ins for the outside services: they take their time and fail now and then, as the company's incidents say."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from demo.backend import rules
from demo.backend.ledger import Ledger


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

    async def call(
        self,
        integration: str,
        endpoint: str,
        *,
        request_id: str | None = None,
        application_id: str | None = None,
        credit_id: str | None = None,
    ) -> Outcome:
        """Ask a service; the call is awaited, recorded and counted whatever its end."""
        called_at = datetime.now(UTC)
        fate = rules.fate_of_call(integration, endpoint, called_at, self._dice)
        began = time.perf_counter()
        await asyncio.sleep(fate.seconds / self._speed)
        call_id = await asyncio.to_thread(
            self._ledger.record_call,
            integration,
            endpoint,
            called_at=called_at,
            status=fate.status,
            http_status=fate.http_status,
            seconds=time.perf_counter() - began,
            error_code=fate.error_code,
            error_message=fate.error_message,
            request_id=request_id or uuid4().hex,
            trace_id=uuid4().hex,
            application_id=application_id,
            credit_id=credit_id,
        )
        return Outcome(call_id, fate.status)
