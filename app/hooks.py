"""What other programs tell Mirador, kept as events: alerts from Alertmanager, deployments from whoever deploys.

    POST /hooks/alertmanager    the JSON of Alertmanager's webhook (version 4)
    POST /hooks/events          {"kind": "deployment", "title": "backend 2.14", "starts_at": "2026-01-31T08:00-06:00"}

Both ask for `Authorization: Bearer` with MIRADOR_HOOK_TOKEN, and are shut without one. Told twice, late or in the wrong
order, an event is kept once: an alert is known by its fingerprint and its start, another event by its `id` where it has
one, else by kind, title and start. 200 says that all was kept; 4xx that the message is wrong and must not come again;
503 that it should, for the state database is away.

Critical alerts also open, join and end incidents (`app/incidents.py`), in the same transaction as their events. In a
flood the messages that come while one transaction runs are kept together by the next one: each is answered when it is
kept, and the database sees a few large writes in the place of many small ones.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import queries
from app.incidents import Alert, alert_of, keep_alerts
from app.settings import Settings
from app.state import LINK_LENGTH, TITLE_LENGTH, BadEvent, checked, fingerprint_of, keep_events, one_line

MAX_BYTES = 1 << 20
# Alerts of one transaction; a message is never torn apart.
BATCH = 2000
# Whoever waits longer than this is asked to come again.
WAIT_SECONDS = 10.0
NO_STORE = {"Cache-Control": "no-store"}

Words = Annotated[str, Field(max_length=4096)]


class _Alert(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, Words]
    annotations: dict[str, Words] = {}
    startsAt: AwareDatetime
    endsAt: AwareDatetime | None = None
    generatorURL: str = ""
    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]

    def event(self) -> dict[str, Any]:
        """The alert as an event; only a resolved one has ended, whatever stands in `endsAt`."""
        name = one_line(self.labels.get("alertname", "")) or "alert"
        summary = one_line(self.annotations.get("summary") or self.annotations.get("title") or "")
        title = f"{name}: {summary}" if summary else name
        ends_at = max(self.endsAt, self.startsAt) if self.status == "resolved" and self.endsAt else None
        links = (self.annotations.get("dashboard_url"), self.generatorURL)
        event = checked(
            kind="alert",
            title=title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + "…",
            starts_at=self.startsAt,
            ends_at=ends_at,
            link=next((link for link in links if _is_link(link)), None),
        )
        began = self.startsAt.astimezone(UTC).isoformat()
        return {**event, "fingerprint": f"alert:{fingerprint_of((self.fingerprint, began))}"}

    def critical(self, event: dict[str, Any]) -> Alert | None:
        """The alert for incidents, or None; `event` is what `event()` gave."""
        ends_at = event["ends_at"]
        if self.status == "resolved" and ends_at is None:
            ends_at = max(datetime.now(UTC), self.startsAt)
        return alert_of(
            self.labels,
            self.annotations,
            fingerprint=self.fingerprint,
            starts_at=event["starts_at"],
            ends_at=ends_at,
            link=event["link"],
        )


class _Webhook(BaseModel):
    alerts: Annotated[list[_Alert], Field(max_length=2000)]

    def told(self) -> _Message:
        """The message as events and critical alerts."""
        events = [alert.event() for alert in self.alerts]
        critical = [alert.critical(event) for alert, event in zip(self.alerts, events, strict=True)]
        return _Message(events, [one for one in critical if one is not None])


class _Told(BaseModel):
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    kind: str = "deployment"
    title: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    link: str | None = None

    def told(self) -> _Message:
        """The message as one event."""
        event = checked(
            kind=self.kind, title=self.title, starts_at=self.starts_at, ends_at=self.ends_at, link=self.link
        )
        began = self.starts_at.astimezone(UTC).isoformat()
        parts = ("id", self.id) if self.id else (event["kind"], event["title"], began)
        return _Message([{**event, "fingerprint": f"told:{fingerprint_of(parts)}"}], [])


def _is_link(text: str | None) -> bool:
    link = one_line(text or "")
    return link.startswith(("http://", "https://")) and " " not in link and len(link) <= LINK_LENGTH


@dataclass
class _Message:
    """What one request told, and what became of it: how many events were new or touched, or why none was kept."""

    events: list[dict[str, Any]]
    alerts: list[Alert]
    kept: int = 0
    failure: queries.SourceError | None = None
    done: bool = False


class _Flood:
    """Keeps messages of alerts: those that come while a transaction runs go together into the next one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[_Message] = []
        self._busy = anyio.Lock()
        # Hooks are few; what waits for the state database must not take the threads that others need.
        self._limiter = anyio.CapacityLimiter(1)

    async def keep(self, message: _Message) -> int:
        """Keep the message, and give how many events were new or touched. Raises SourceError."""
        self._waiting.append(message)
        async with self._busy:
            # Whoever had the turn before may have kept it along with its own; in a flood it may take several.
            while not message.done:
                await self._keep_some()
        if message.failure is not None:
            raise message.failure
        return message.kept

    async def _keep_some(self) -> None:
        batch: list[_Message] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].events) <= BATCH):
            batch.append(self._waiting.pop(0))
            size += len(batch[-1].events)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._write, batch, limiter=self._limiter)
        for one in batch:
            one.done = True

    def _write(self, batch: list[_Message]) -> None:
        try:
            self._write_together(batch)
        except queries.SourceError as error:
            if len(batch) > 1 and error.kind not in {"down", "timeout", "not_configured"}:
                # One that the database refuses must not take the others with it.
                for one in batch:
                    self._write([one])
                return
            for one in batch:
                one.failure = error

    def _write_together(self, batch: list[_Message]) -> None:
        events = [event for one in batch for event in one.events]
        keep_alerts(self._settings, events, [alert for one in batch for alert in one.alerts])
        for one in batch:
            one.kept = len({event["fingerprint"] for event in one.events})


def hook_routes(settings: Settings) -> list[Route]:
    """The routes, for the host."""
    limiter = anyio.CapacityLimiter(2)
    flood = _Flood(settings)

    async def keep_event(message: _Message) -> int:
        write = partial(keep_events, settings, message.events, source="deployment")
        return await anyio.to_thread.run_sync(write, limiter=limiter)

    take = partial(_take, settings=settings)
    return [
        Route("/hooks/alertmanager", partial(take, form=_Webhook, keep=flood.keep), methods=["POST"]),
        Route("/hooks/events", partial(take, form=_Told, keep=keep_event), methods=["POST"]),
    ]


def _said(status: int, sentence: str, **headers: str) -> Response:
    return JSONResponse({"error": sentence}, status, headers={**NO_STORE, **headers})


def refused(request: Request, settings: Settings) -> Response | None:
    """What whoever asks without the token is told; None when he may go on."""
    if settings.hook_token is None:
        return _said(404, "This address is shut: set MIRADOR_HOOK_TOKEN to open it.")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    wanted = settings.hook_token.get_secret_value()
    if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted.encode()):
        return None
    return _said(
        401,
        "This address asks for the header Authorization: Bearer with MIRADOR_HOOK_TOKEN.",
        **{"WWW-Authenticate": "Bearer"},
    )


async def _take(
    request: Request,
    *,
    settings: Settings,
    form: type[_Webhook] | type[_Told],
    keep: Callable[[_Message], Awaitable[int]],
) -> Response:
    if (refusal := refused(request, settings)) is not None:
        return refusal
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            return _said(413, f"A message may have at most {MAX_BYTES:,} bytes.")
    try:
        message = form.model_validate(json.loads(body)).told()
    except ValidationError as error:
        return _said(400, _sentence(error))
    except BadEvent as error:
        return _said(400, str(error))
    except (ValueError, RecursionError):
        return _said(400, "The body is not JSON in UTF-8.")
    try:
        with anyio.fail_after(WAIT_SECONDS):
            kept = await keep(message)
    except TimeoutError:
        return _said(503, "Too many messages wait: come again.", **{"Retry-After": "30"})
    except queries.SourceError as error:
        return _said(503, error.sentence, **{"Retry-After": "30"})
    return JSONResponse({"kept": kept}, headers=NO_STORE)


def _sentence(error: ValidationError) -> str:
    """What is wrong and where, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    return f"{where or 'The body'}: {first['msg']}."
