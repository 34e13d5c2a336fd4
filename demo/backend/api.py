"""The HTTP side of the backend: its endpoints, its metrics, and the tasks that keep the company going."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import company
from demo.backend import metrics, rules, traffic
from demo.backend.integrations import Integrations
from demo.backend.ledger import Ledger

GAUGES_EVERY = 60.0
TRIES = 3
log = logging.getLogger("conductores")


class NewApplication(BaseModel):
    """What a driver hands in; a draft is looked through and not kept."""

    conductor_id: str | None = Field(default=None, min_length=1, max_length=80)
    amount: Decimal = Field(gt=0, max_digits=14, decimal_places=2)
    draft: bool = False


class Notice(BaseModel):
    """What Conekta tells: about an attempt to pay (`charge.paid`, `charge.declined`), or about something else."""

    event: str
    installment_id: int | None = None
    amount: Decimal | None = Field(default=None, gt=0, max_digits=14, decimal_places=2)
    method: str = "card"
    failure_code: str | None = None


class RequestMetrics:
    """Counts and times each request under its route template; a path that no route knows is `unmatched`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            endpoint = getattr(scope.get("route"), "path", "unmatched")
            # What the monitoring itself asks is no work of the API.
            if endpoint not in {"/metrics", "/health"}:
                metrics.http_requests_total.labels(scope["method"], endpoint, str(status)).inc()
                metrics.http_request_duration_seconds.labels(scope["method"], endpoint).observe(
                    time.perf_counter() - began
                )


class Office:
    """What goes on after an answer was given: a request never waits for an outside service."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work in the background; its failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Work in the background failed", exc_info=error)

    async def close(self) -> None:
        """Cancel what is not done."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def create_app(ledger_url: str, *, base_url: str | None = None, scale: float = 1.0, speed: float = 1.0) -> FastAPI:
    """The backend on a ledger. With `base_url` (its own address) customers and staff come by themselves, at `scale`.

    `speed` divides every simulated duration; above 1 requests do not fail at random either, for tests.
    """
    dice = random.Random()
    ledger = Ledger(ledger_url)
    integrations = Integrations(ledger, dice, speed=speed)
    office = Office()
    routes = {(route.method, route.endpoint): route for route in company.ROUTES}

    async def keep_books() -> None:
        while True:
            try:
                now = datetime.now(UTC)
                await asyncio.to_thread(ledger.settle_disbursements, now - timedelta(days=1))
                await asyncio.to_thread(ledger.refresh_gauges, rules.business_day(now))
            except Exception:
                log.exception("The gauges could not be refreshed; tried again in a minute")
            await asyncio.sleep(GAUGES_EVERY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(keep_books())]
        if base_url is not None:
            tasks.append(asyncio.create_task(traffic.drive(base_url, ledger, integrations, scale=scale, dice=dice)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await office.close()
        ledger.close()

    async def work(request: Request) -> None:
        """What a request costs before its answer: the route's usual time and share of failures, and the cache."""
        route = routes.get((request.method, getattr(request.scope.get("route"), "path", "")))
        if route is None:
            return
        await asyncio.sleep(rules.work_of_request(route, dice) / speed)
        command = dice.choices([name for name, _ in company.REDIS_COMMANDS], [n for _, n in company.REDIS_COMMANDS])[0]
        metrics.redis_commands_total.labels(command, "error" if dice.random() < 0.0005 else "success").inc()
        if speed == 1 and dice.random() < route.failures * rules.harm(datetime.now(UTC)):
            raise HTTPException(500, "The request failed; try again.")

    app = FastAPI(title="Conductores del Mundo, simulated backend", lifespan=lifespan)
    app.add_middleware(RequestMetrics)
    usual = [Depends(work)]

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The process answers; `working` counts what goes on in the background."""
        return {"status": "ok", "working": len(office)}

    @app.get("/metrics")
    async def exposition() -> Response:
        """The metrics in Prometheus's text format."""
        return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)

    @app.post("/applications", status_code=201, dependencies=usual)
    async def submit(new: NewApplication) -> dict[str, Any]:
        """Take an application; identity, driving and score are looked at afterwards."""
        if new.draft:
            return {"status": "draft"}
        conductor_id: str
        if new.conductor_id is not None:
            conductor_id = new.conductor_id
        else:
            conductor_id = await asyncio.to_thread(ledger.new_id, "applications", "conductor_id", "D")
        application_id = await asyncio.to_thread(ledger.new_id, "applications", "application_id", "A")
        await asyncio.to_thread(ledger.record_application, application_id, conductor_id, new.amount)
        office.begin(assess(application_id, conductor_id))
        return {"application_id": application_id, "conductor_id": conductor_id, "status": "pending"}

    async def assess(application_id: str, conductor_id: str) -> None:
        request_id = uuid4().hex
        for integration, endpoint in rules.CALLS_OF_APPLICATION:
            for _ in range(TRIES):
                asked = await integrations.call(
                    integration, endpoint, request_id=request_id, application_id=application_id
                )
                if asked.ok:
                    break
            else:
                # Without identity and driving there is no score; the driver will give up.
                return
        points = rules.score(dice)
        await asyncio.to_thread(
            ledger.record_score, application_id, conductor_id, points, company.tier_of(points), rules.model_version()
        )

    @app.get("/applications/{application_id}", dependencies=usual)
    async def show(application_id: str) -> dict[str, Any]:
        """An application as it stands."""
        return dict((await asyncio.to_thread(application, application_id))._mapping)

    @app.post("/applications/{application_id}/decision", status_code=201, dependencies=usual)
    async def decide(application_id: str) -> dict[str, Any]:
        """Approve or reject by the company's policy; asked again, the answer is the decision that stands."""
        found = await asyncio.to_thread(application, application_id)
        if found.status != "pending":
            return {"application_id": application_id, "status": found.status}
        if rules.is_withdrawn(found.hase_score, dice):
            await asyncio.to_thread(ledger.record_withdrawal, application_id)
            return {"application_id": application_id, "status": "withdrawn"}
        reason = rules.rejection_reason(found.hase_score, found.sinosure_tier, datetime.now(UTC), dice)
        if reason is not None:
            await asyncio.to_thread(ledger.record_rejection, application_id, reason)
            return {"application_id": application_id, "status": "rejected", "reason": reason}
        credit_id = await asyncio.to_thread(ledger.new_id, "credits", "credit_id", "C")
        lent = rules.principal(found.amount_requested, dice)
        if not await asyncio.to_thread(ledger.record_approval, application_id, credit_id, lent):
            raise HTTPException(409, f"Application {application_id} was decided at the same moment.")
        return {"application_id": application_id, "status": "approved", "credit_id": credit_id}

    @app.post("/credits/{credit_id}/disbursement", status_code=201, dependencies=usual)
    async def disburse(credit_id: str) -> dict[str, Any]:
        """Send the money through NEON; the plan of payments stands when it has left."""
        credit = await asyncio.to_thread(
            ledger.row, "credits", "select * from bi.credits where credit_id = :credit_id", credit_id=credit_id
        )
        if credit is None:
            raise HTTPException(404, f"There is no credit {credit_id}.")
        if credit.disbursed_at is not None or credit.status != "pending":
            return {"credit_id": credit_id, "status": credit.disbursement_status}
        office.begin(send_money(credit))
        return {"credit_id": credit_id, "status": "accepted"}

    async def send_money(credit: Any) -> None:
        sent = await integrations.call(*rules.CALL_OF_DISBURSEMENT, credit_id=credit.credit_id)
        if not sent.ok:
            await asyncio.to_thread(ledger.record_failed_disbursement, credit.credit_id)
            return
        plan = rules.plan(credit.principal, credit.sinosure_tier, rules.business_day(datetime.now(UTC)))
        await asyncio.to_thread(ledger.record_disbursement, credit.credit_id, plan)

    @app.post("/webhooks/conekta", dependencies=usual)
    async def hear_conekta(notice: Notice) -> dict[str, Any]:
        """Take a notice; an attempt to pay is asked after at Conekta and recorded."""
        if not notice.event.startswith("charge."):
            return {"status": "noted"}
        if notice.installment_id is None or notice.amount is None:
            raise HTTPException(422, "A charge names its installment_id and amount.")
        installment = await asyncio.to_thread(
            ledger.row,
            "installments",
            "select installment_id, credit_id, paid_at from bi.installments where installment_id = :installment_id",
            installment_id=notice.installment_id,
        )
        if installment is None:
            raise HTTPException(404, f"There is no installment {notice.installment_id}.")
        if installment.paid_at is not None:
            raise HTTPException(409, f"Installment {notice.installment_id} is paid already.")
        office.begin(collect(installment.credit_id, notice))
        return {"status": "accepted"}

    async def collect(credit_id: str, notice: Notice) -> None:
        asked = await integrations.call(*rules.CALL_OF_PAYMENT, credit_id=credit_id)
        status = "succeeded" if notice.event == "charge.paid" else "failed"
        failure = notice.failure_code
        if not asked.ok:
            status, failure = "failed", company.GATEWAY_FAILURE
        await asyncio.to_thread(
            ledger.record_payment,
            credit_id,
            notice.installment_id,
            notice.amount or Decimal(0),
            status,
            notice.method,
            failure,
            asked.call_id,
        )

    @app.get("/conductores/{conductor_id}/trips", dependencies=usual)
    async def trips(conductor_id: str) -> dict[str, Any]:
        """A driver's last trips, as the poll of Geotab has left them in the cache."""
        return {"conductor_id": conductor_id, "trips": dice.randrange(4, 40)}

    def application(application_id: str) -> Any:
        found = ledger.row(
            "applications",
            "select * from bi.applications where application_id = :application_id",
            application_id=application_id,
        )
        if found is None:
            raise HTTPException(404, f"There is no application {application_id}.")
        return found

    return app


def from_environment() -> FastAPI:
    """The backend as the demo starts it."""
    port = int(os.environ["DEMO_BACKEND_PORT"])
    quiet = os.environ.get("DEMO_TRAFFIC", "on") == "off"
    return create_app(
        os.environ["DEMO_LEDGER_URL"],
        base_url=None if quiet else f"http://127.0.0.1:{port}",
        scale=float(os.environ.get("DEMO_SCALE", "1")),
        speed=float(os.environ.get("DEMO_SPEED", "1")),
    )
