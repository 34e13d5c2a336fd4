"""What other programs tell Mirador, kept as events: alerts from Alertmanager, deployments from whoever deploys.

    POST /hooks/alertmanager    the JSON of Alertmanager's webhook (version 4)
    POST /hooks/events          {"kind": "deployment", "title": "backend 2.14", "starts_at": "2026-01-31T08:00-06:00"}

Both ask for `Authorization: Bearer` with MIRADOR_HOOK_TOKEN, and are shut without one. Told twice, late or in the wrong
order, an event is kept once: an alert is known by its fingerprint and its start, another event by its `id` where it has
one, else by kind, title and start. 200 says that all was kept; 4xx that the message is wrong and must not come again;
503 that it should, for the state database is away.
"""

from __future__ import annotations

import hmac
import json
from datetime import UTC
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import queries
from app.settings import Settings
from app.state import LINK_LENGTH, TITLE_LENGTH, BadEvent, checked, fingerprint_of, keep_events, one_line

MAX_BYTES = 1 << 20
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


class _Webhook(BaseModel):
    alerts: Annotated[list[_Alert], Field(max_length=2000)]

    def events(self) -> list[dict[str, Any]]:
        """The message as events."""
        return [alert.event() for alert in self.alerts]


class _Told(BaseModel):
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    kind: str = "deployment"
    title: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    link: str | None = None

    def events(self) -> list[dict[str, Any]]:
        """The message as one event."""
        event = checked(
            kind=self.kind, title=self.title, starts_at=self.starts_at, ends_at=self.ends_at, link=self.link
        )
        began = self.starts_at.astimezone(UTC).isoformat()
        parts = ("id", self.id) if self.id else (event["kind"], event["title"], began)
        return [{**event, "fingerprint": f"told:{fingerprint_of(parts)}"}]


def _is_link(text: str | None) -> bool:
    link = one_line(text or "")
    return link.startswith(("http://", "https://")) and " " not in link and len(link) <= LINK_LENGTH


def hook_routes(settings: Settings) -> list[Route]:
    """The routes, for the host."""
    # Hooks are few; what waits for the state database must not take the threads that others need.
    take = partial(_take, settings=settings, limiter=anyio.CapacityLimiter(2))
    return [
        Route("/hooks/alertmanager", partial(take, form=_Webhook, source="alertmanager"), methods=["POST"]),
        Route("/hooks/events", partial(take, form=_Told, source="deployment"), methods=["POST"]),
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
    limiter: anyio.CapacityLimiter,
    form: type[_Webhook] | type[_Told],
    source: str,
) -> Response:
    if (refusal := refused(request, settings)) is not None:
        return refusal
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            return _said(413, f"A message may have at most {MAX_BYTES:,} bytes.")
    try:
        events = form.model_validate(json.loads(body)).events()
    except ValidationError as error:
        return _said(400, _sentence(error))
    except BadEvent as error:
        return _said(400, str(error))
    except (ValueError, RecursionError):
        return _said(400, "The body is not JSON in UTF-8.")
    try:
        kept = await anyio.to_thread.run_sync(partial(keep_events, settings, events, source=source), limiter=limiter)
    except queries.SourceError as error:
        return _said(503, error.sentence, **{"Retry-After": "30"})
    return JSONResponse({"kept": kept}, headers=NO_STORE)


def _sentence(error: ValidationError) -> str:
    """What is wrong and where, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    return f"{where or 'The body'}: {first['msg']}."
