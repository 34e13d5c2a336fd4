"""The HTTP side of the backend: its endpoints, its metrics, and the tasks that keep the company going.

`/simulation/incidents` belongs to the simulation, not to the company: it lets an outside service fail for a while.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sentry_sdk
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from demo import company
from demo.backend import metrics, rules, telemetry, traffic
from demo.backend.cache import Cache
from demo.backend.integrations import Integrations
from demo.backend.ledger import Ledger

GAUGES_EVERY = 60.0
TRIES = 3
# A caller who asks more often than this in a minute is told to wait.
MOST_A_MINUTE = 6000
SESSION_SECONDS = 900
TRIPS_SECONDS = 300
FAILURES = (
    "The connection pool was exhausted",
    "The database closed the connection",
    "The answer could not be written",
)
log = telemetry.log


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


class NewIncident(BaseModel):
    """What goes wrong on purpose: a service, for how long, and how badly."""

    integration: str
    minutes: float = Field(default=10, gt=0, le=24 * 60)
    failing: float = Field(default=0.9, ge=0, le=1)
    factor: float = Field(default=1.5, ge=0.1, le=100)


class RequestFailed(Exception):
    """The backend's own failure, as it happens now and then."""


class Office:
    """What goes on after an answer was given: a request never waits for an outside service."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work in the background; its failure is logged and reported."""
        telemetry.keep()
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Work in the background failed", exc_info=error)
            sentry_sdk.capture_exception(error)

    async def close(self) -> None:
        """Cancel what is not done."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def create_app(
    ledger_url: str,
    *,
    base_url: str | None = None,
    scale: float = 1.0,
    speed: float = 1.0,
    redis_url: str | None = None,
    outlets: telemetry.Outlets | None = None,
) -> FastAPI:
    """The backend on a ledger. With `base_url` (its own address) customers and staff come by themselves, at `scale`.

    `speed` divides every simulated duration; above 1 requests do not fail at random either, for tests.
    """
    telemetry.start(outlets or telemetry.Outlets())
    dice = random.Random()
    ledger = Ledger(ledger_url)
    cache = Cache(redis_url)
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
        cache.close()
        await asyncio.to_thread(telemetry.stop)

    async def work(request: Request) -> None:
        """What a request costs before its answer: the route's usual time and share of failures, and the cache."""
        route = routes.get((request.method, getattr(request.scope.get("route"), "path", "")))
        if route is None:
            return
        await asyncio.sleep(rules.work_of_request(route, dice) / speed)
        await asyncio.to_thread(let_in, request.method, route.endpoint, f"session:{dice.randrange(80)}")
        incidents = (integrations.incident_at(one, datetime.now(UTC)) for one in company.INTEGRATIONS)
        if speed == 1 and dice.random() < route.failures * rules.harm(incidents):
            raise RequestFailed(dice.choice(FAILURES))

    def let_in(method: str, endpoint: str, session: str) -> None:
        """The caller's session from the cache, and for what changes something, the limit of a minute."""
        if cache.get(session) is None:
            cache.keep(session, "driver", SESSION_SECONDS)
        if method != "GET" and cache.count(f"rate:{endpoint}:{datetime.now(UTC):%H%M}", 120) > MOST_A_MINUTE:
            raise HTTPException(429, "Too many requests; wait a minute.")

    app = FastAPI(title="Conductores del Mundo, simulated backend", lifespan=lifespan)
    app.add_middleware(telemetry.Requests)
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
        sentry_sdk.set_user({"id": conductor_id})
        with telemetry.told(application_id=application_id, conductor_id=conductor_id):
            await asyncio.to_thread(ledger.record_application, application_id, conductor_id, new.amount)
            log.info("Application submitted", extra={"amount": str(new.amount)})
            office.begin(assess(application_id, conductor_id))
        return {"application_id": application_id, "conductor_id": conductor_id, "status": "pending"}

    async def assess(application_id: str, conductor_id: str) -> None:
        for integration, endpoint in rules.CALLS_OF_APPLICATION:
            for attempt in range(1, TRIES + 1):
                asked = await integrations.call(
                    integration, endpoint, application_id=application_id, again=attempt < TRIES
                )
                if asked.ok:
                    break
            else:
                log.error("Application cannot be assessed", extra={"integration": integration, "attempts": TRIES})
                # Without identity and driving there is no score; the driver will give up.
                return
        points = rules.score(dice)
        await asyncio.to_thread(
            ledger.record_score, application_id, conductor_id, points, company.tier_of(points), rules.model_version()
        )
        log.info("HASE score calculated", extra={"score": points, "model_version": rules.model_version()})

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
            log.info("Application withdrawn", extra={"application_id": application_id})
            return {"application_id": application_id, "status": "withdrawn"}
        reason = rules.rejection_reason(found.hase_score, found.sinosure_tier, datetime.now(UTC), dice)
        if reason is not None:
            await asyncio.to_thread(ledger.record_rejection, application_id, reason)
            log.info("Application rejected", extra={"application_id": application_id, "reason": reason})
            return {"application_id": application_id, "status": "rejected", "reason": reason}
        credit_id = await asyncio.to_thread(ledger.new_id, "credits", "credit_id", "C")
        lent = rules.principal(found.amount_requested, dice)
        if not await asyncio.to_thread(ledger.record_approval, application_id, credit_id, lent):
            raise HTTPException(409, f"Application {application_id} was decided at the same moment.")
        about = {"application_id": application_id, "credit_id": credit_id, "amount": str(lent)}
        log.info("Credit approved", extra={**about, "tier": found.sinosure_tier})
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
            log.error("Disbursement failed", extra={"credit_id": credit.credit_id})
            return
        plan = rules.plan(credit.principal, credit.sinosure_tier, rules.business_day(datetime.now(UTC)))
        await asyncio.to_thread(ledger.record_disbursement, credit.credit_id, plan)
        log.info("Credit disbursed", extra={"credit_id": credit.credit_id, "amount": str(credit.principal)})

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
        about = {"credit_id": credit_id, "installment_id": notice.installment_id, "method": notice.method}
        if not asked.ok:
            log.error("Payment processing failed", extra={**about, "error_code": failure})
        elif status == "failed":
            log.info("Payment declined", extra={**about, "failure_code": failure})
        else:
            log.info("Payment received", extra={**about, "amount": str(notice.amount)})

    @app.get("/conductores/{conductor_id}/trips", dependencies=usual)
    async def trips(conductor_id: str) -> dict[str, Any]:
        """A driver's last trips, as the poll of Geotab has left them in the cache."""
        key = f"trips:{conductor_id}"
        kept = await asyncio.to_thread(cache.get, key)
        number = int(kept) if kept is not None else dice.randrange(4, 40)
        if kept is None:
            await asyncio.to_thread(cache.keep, key, str(number), TRIPS_SECONDS)
        return {"conductor_id": conductor_id, "trips": number}

    @app.get("/simulation/services/{service}")
    async def probed(service: str) -> dict[str, str]:
        """An outside service as a probe would find it; they live in this process."""
        if service not in company.INTEGRATIONS:
            raise HTTPException(404, "There is no such service.")
        incident = integrations.incident_at(service, datetime.now(UTC))
        if incident is not None and dice.random() < incident.failing:
            raise HTTPException(503, "The service fails.")
        return {"status": "ok"}

    @app.post("/simulation/incidents", status_code=201)
    async def begin_incident(new: NewIncident) -> dict[str, Any]:
        """Let an outside service fail for a while, beginning now."""
        if new.integration not in company.INTEGRATIONS:
            raise HTTPException(422, f"integration is one of {', '.join(company.INTEGRATIONS)}.")
        incident = integrations.begin_incident(new.integration, new.minutes, failing=new.failing, factor=new.factor)
        office.begin(integrations.insist(incident))
        return {"integration": new.integration, "until": incident.end.isoformat()}

    @app.delete("/simulation/incidents/{integration}")
    async def end_incident(integration: str) -> dict[str, Any]:
        """End what was begun."""
        return {"integration": integration, "ended": integrations.end_incident(integration)}

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
        redis_url=os.environ.get("DEMO_REDIS_URL") or None,
        outlets=telemetry.Outlets.from_environment(),
    )
