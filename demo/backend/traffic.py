"""Customers and staff: over HTTP, at the company's usual pace, they go on where the history ends."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from opentelemetry.trace import SpanKind, Status, StatusCode

from demo import company
from demo.backend import rules, telemetry
from demo.backend.integrations import Integrations
from demo.backend.ledger import Ledger

STEP = 1.0
# Bounded, so that a start after a long sleep of the machine does not let loose everything that was missed.
LONGEST_STEP = 30.0
DESK_EVERY = 20.0
# The programs that drivers and staff use, as their spans name them.
APP, DESK = "conductores-app", "back-office"
log = telemetry.log

# An open installment's hazard per day of being paid now; each driver has a habit, drawn from the credit's id.
HAZARD = (
    "(case "
    + " ".join(f"when :today - i.due_date <= {days} then {hazard}" for days, hazard in rules.HAZARDS)
    + " else 0 end * case c.sinosure_tier "
    + " ".join(f"when '{tier}' then {factor}" for tier, factor in rules.PAYS_SOONER.items())
    + " else 1 end * (0.4 + mod(abs(hashtext(i.credit_id)::bigint), 100) / 80.0))"
)
OPEN_INSTALLMENTS = (
    " from bi.installments i join bi.credits c using (credit_id) where i.paid_at is null and c.status = 'active'"
    " and i.due_date between cast(:today as date) - 110 and cast(:today as date) + 3"
)


async def drive(
    base_url: str, ledger: Ledger, integrations: Integrations, *, scale: float, dice: random.Random
) -> None:
    """Keep the backend busy until cancelled."""
    async with httpx.AsyncClient(base_url=base_url, timeout=60, trust_env=False) as client:
        while not await _answers(client):
            await asyncio.sleep(0.2)
        crowd = Crowd(client, ledger, integrations, scale, dice)
        async with asyncio.TaskGroup() as tasks:
            before = time.monotonic()
            while True:
                await asyncio.sleep(STEP)
                now = time.monotonic()
                for act in await crowd.due(datetime.now(UTC), min(now - before, LONGEST_STEP)):
                    tasks.create_task(crowd.do(act))
                before = now


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).status_code == 200
    except httpx.HTTPError:
        return False


class Crowd:
    """Who comes when, and what they do; every act is a request or two to the backend."""

    def __init__(
        self, client: httpx.AsyncClient, ledger: Ledger, integrations: Integrations, scale: float, dice: random.Random
    ) -> None:
        self.client = client
        self.ledger = ledger
        self.integrations = integrations
        self.scale = scale
        self.dice = dice
        self._busy: set[Any] = set()
        self._payments_a_day = 0.0
        self._counted_at = -math.inf
        self._desk_at = time.monotonic()

    async def due(self, at: datetime, seconds: float) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """The acts of the `seconds` up to `at`: as many of each as a Poisson process of its pace gives."""
        if time.monotonic() - self._counted_at > 60:
            self._counted_at = time.monotonic()
            self._payments_a_day = await self._attempt(self._willing_to_pay, at) or 0.0
        a_second = {
            self.apply: company.applications_a_second(at) * self.scale,
            self.pay: self._payments_a_day * rules.bustle(at) / rules.SECONDS_OF_A_DAY,
            self.poll: company.GEOTAB_POLLS_A_DAY * self.scale * rules.busyness(at) / rules.SECONDS_OF_A_DAY,
            self.browse: company.API_REQUESTS_A_SECOND * rules.busyness(at),
        }
        acts = [act for act, pace in a_second.items() for _ in range(_poisson(pace * seconds, self.dice))]
        if time.monotonic() - self._desk_at > DESK_EVERY:
            elapsed = min(time.monotonic() - self._desk_at, 2 * DESK_EVERY)
            self._desk_at = time.monotonic()
            if rules.is_working_time(at):
                acts.append(lambda: self.clear_desk(elapsed))
        return acts

    async def do(self, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let one act happen; what the backend refuses or cannot do now is left for later."""
        await self._attempt(act)

    async def _attempt(self, act: Callable[..., Coroutine[Any, Any, Any]], *with_what: Any) -> Any:
        try:
            return await act(*with_what)
        except httpx.HTTPError as error:
            log.warning("%s: %r", getattr(act, "__name__", "act"), error)
        except Exception:
            log.exception("%s failed", getattr(act, "__name__", "act"))
        return None

    # --- customers ---

    async def apply(self) -> None:
        """A driver applies: mostly a new one, now and then one who is known."""
        known = self.dice.random() < rules.SHARE_OF_KNOWN_APPLICANTS
        conductor_id = await self._any("credits", "conductor_id", "approved_at") if known else None
        body = {"conductor_id": conductor_id, "amount": str(rules.amount_requested(self.dice))}
        await self.ask(APP, "POST", "/applications", "/applications", body)

    async def pay(self) -> None:
        """A driver pays what is open of an installment, or tries to."""
        found = await asyncio.to_thread(
            self.ledger.row,
            "installments",
            # The exponential race: the least of -ln(u) / weight is each row in proportion to its weight.
            f"select i.installment_id, i.amount_due - i.amount_paid as amount {OPEN_INSTALLMENTS}"
            f" order by -ln(1 - random()) / greatest({HAZARD}, 0.0001) limit 1",
            today=rules.business_day(datetime.now(UTC)),
        )
        if found is None or found.installment_id in self._busy:
            return
        how = rules.method(self.dice)
        failure = rules.decline(how, self.dice)
        self._busy.add(found.installment_id)
        try:
            await self.client.post(
                "/webhooks/conekta",
                json={
                    "event": "charge.declined" if failure else "charge.paid",
                    "installment_id": found.installment_id,
                    "amount": str(found.amount),
                    "method": how,
                    "failure_code": failure,
                },
            )
            # The backend asks Conekta before it records: until then the installment still looks open.
            await asyncio.sleep(company.TIMEOUT_SECONDS + 5)
        finally:
            self._busy.discard(found.installment_id)

    async def browse(self) -> None:
        """The everyday requests, which leave no row: looking, drafting, asking again, and notices of other things."""
        route = self.dice.choices(company.ROUTES, [one.share for one in company.ROUTES])[0]
        if route.endpoint == "/applications":
            draft = {"amount": str(rules.amount_requested(self.dice)), "draft": True}
            await self.ask(APP, "POST", route.endpoint, route.endpoint, draft)
        elif route.endpoint == "/webhooks/conekta":
            await self.client.post(route.endpoint, json={"event": "order.pending_payment"})
        elif route.endpoint == "/conductores/{conductor_id}/trips":
            one = await self._any("credits", "conductor_id", "approved_at")
            if one:
                await self.ask(APP, "GET", route.endpoint, f"/conductores/{one}/trips")
        elif route.endpoint == "/credits/{credit_id}/disbursement":
            one = await self._any("credits", "credit_id", "disbursed_at")
            if one:
                await self.ask(DESK, "POST", route.endpoint, f"/credits/{one}/disbursement")
        else:
            one = await self._any("applications", "application_id", "decided_at")
            if one:
                await self.ask(APP, route.method, route.endpoint, route.endpoint.format(application_id=one))

    # --- the company ---

    async def poll(self) -> None:
        """The fleet's devices are asked for news at Geotab."""
        with telemetry.work("poll devices", integration=rules.CALL_OF_POLL[0]):
            await self.integrations.call(*rules.CALL_OF_POLL)

    async def clear_desk(self, seconds: float) -> None:
        """Staff work through what waits: each piece with its hazard of being taken up in these seconds."""
        now = datetime.now(UTC)
        for row in await asyncio.to_thread(
            self.ledger.rows,
            "applications",
            "select application_id as id from bi.applications where status = 'pending' and submitted_at < :before",
            before=now - timedelta(minutes=4),
        ):
            if self.dice.random() < seconds * rules.DECISION_HAZARD:
                await self.ask(
                    DESK, "POST", "/applications/{application_id}/decision", f"/applications/{row.id}/decision"
                )
        for row in await asyncio.to_thread(
            self.ledger.rows,
            "credits",
            "select credit_id as id from bi.credits where disbursed_at is null and status = 'pending'",
        ):
            hazard = rules.STUCK_HAZARD if rules.is_stuck(row.id) else rules.DISBURSEMENT_HAZARD
            if row.id not in self._busy and self.dice.random() < seconds * hazard:
                await self.ask(DESK, "POST", "/credits/{credit_id}/disbursement", f"/credits/{row.id}/disbursement")

    # --- inside ---

    async def ask(self, who: str, method: str, template: str, path: str, body: Any = None) -> None:
        """A request as the app of the drivers or the desk of the staff sends it: with a span of its own."""
        about = {"http.request.method": method, "url.template": template, "server.address": "127.0.0.1"}
        with telemetry.tracer(who).start_as_current_span(
            f"{method} {template}", kind=SpanKind.CLIENT, attributes=about
        ) as span:
            answer = await self.client.request(method, path, json=body, headers=telemetry.headers_of_trace())
            span.set_attribute("http.response.status_code", answer.status_code)
            if answer.status_code >= 400:
                span.set_attribute("error.type", str(answer.status_code))
                span.set_status(Status(StatusCode.ERROR))

    async def _willing_to_pay(self, at: datetime) -> float:
        """Payments a day that the open installments promise at this moment."""
        found = await asyncio.to_thread(
            self.ledger.row,
            "installments",
            f"select coalesce(sum({HAZARD}), 0)::float8 as hazard {OPEN_INSTALLMENTS}",
            today=rules.business_day(at),
        )
        return float(found.hazard) if found else 0.0

    async def _any(self, table: str, column: str, newest: str) -> str | None:
        """One of the latest ids of a table."""
        found = await asyncio.to_thread(
            self.ledger.row,
            table,
            f"select {column} as id from bi.{table} where {newest} is not null order by {newest} desc"
            " offset :skip limit 1",
            skip=self.dice.randrange(40),
        )
        return found.id if found else None


def _poisson(mean: float, dice: random.Random) -> int:
    """A Poisson number by Knuth's method; the means here are small."""
    floor, product, number = math.exp(-mean), dice.random(), 0
    while product > floor:
        product *= dice.random()
        number += 1
    return number
