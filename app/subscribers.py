"""Who wants to hear of incidents: asked twice, told once, gone with one click.

Somebody names an address on `/status`. It is written down as unconfirmed and gets one question: a mail with a signed
link that is over after two days, or, for a webhook, a POST with a challenge that its answer must hold. Nobody learns
from the form whether an address was known. Every message has a link that ends it, and mail has the headers for one
click (RFC 8058).

What is to be told stands in the state database (outbox): an update of an incident becomes one delivery a subscriber,
made once; a delivery is taken by one process (`for update skip locked`, then a lease), sent, and marked. What fails is
tried again after `BACK_OFF`, then given up and shown to engineers. A process that dies between sending and marking has
the message sent again: the same Message-ID and the same `id` in a webhook tell the second one as the first.

Addresses stand in the table `subscribers` and nowhere else: no log, no error, no page.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import ipaddress
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import anyio
import anyio.to_thread
from babel import dates
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import queries
from app import mail, telemetry
from app.auth import Viewer
from app.incidents import may_write
from app.settings import Settings, auth_secret
from app.state import NotAllowed, transaction
from app.status import language_of, page, public_title, security_headers, subscriber_kinds, words_of
from components import i18n
from queries.incidents import components

Kind = Literal["email", "webhook"]

LINK_SECONDS = 2 * 86400
# An address gets one question in this time, however often it is named.
ASK_AGAIN_SECONDS = 3600
# Questions that are open at once: more than that is no crowd but an attack.
MOST_UNCONFIRMED = 5000
# A client may send so many forms in that time.
FORMS, FORMS_SECONDS = 10, 600.0
FORM_BYTES = 4096
BACK_OFF = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0)
# Within it whoever took a delivery has sent it or has died.
LEASE_SECONDS = 120.0
AT_ONCE = 20
IDLE_SECONDS = 5.0
WEBHOOK_SECONDS = 10.0
ANSWER_BYTES = 64 * 1024


class BadAddress(ValueError):
    """What was named cannot be written to; the message is a sentence that says why."""


# --- links ------------------------------------------------------------------------------------------------------------


def signing_key(settings: Settings) -> bytes:
    """What links are signed with: made of MIRADOR_SECRET and its like, else of one kept in the state database.

    The same in every process, and after a restart. Raises SourceError.
    """
    for secret in (settings.secret, settings.api_token):
        if secret is not None:
            return _derived(secret.get_secret_value().encode())
    found = auth_secret()
    if found:
        return _derived(found.encode())
    address = settings.state_url.get_secret_value() if settings.state_url else ""
    if address in _keys:
        return _keys[address]
    with transaction(settings, forget=False) as connection:
        connection.execute(
            text("insert into mirador.signing_keys values ('links', :made) on conflict (name) do nothing"),
            {"made": secrets.token_bytes(32)},
        )
        kept = connection.execute(text("select secret from mirador.signing_keys where name = 'links'")).scalar_one()
    _keys[address] = _derived(bytes(kept))
    return _keys[address]


# By the address of the state database that holds it.
_keys: dict[str, bytes] = {}


def _derived(secret: bytes) -> bytes:
    return hmac.digest(secret, b"mirador subscribers 1", "sha256")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(key: bytes, purpose: str, subscriber: int, expires: int = 0) -> str:
    """A token for a link: what it does, for whom, until when (0: for ever)."""
    content = f"{purpose}.{subscriber}.{expires}"
    return f"{content}.{_encode(hmac.digest(key, content.encode(), 'sha256'))}"


def read(key: bytes, purpose: str, token: str) -> int | None:
    """The subscriber that the token was signed for; None when it was not signed here, for this, or is over."""
    content, _, signature = token[:200].rpartition(".")
    wanted = _encode(hmac.digest(key, content.encode(), "sha256"))
    if not hmac.compare_digest(signature.encode(), wanted.encode()):
        return None
    said, subscriber, expires = content.split(".")
    if said != purpose or (int(expires) and int(expires) < time.time()):
        return None
    return int(subscriber)


# --- addresses --------------------------------------------------------------------------------------------------------


def checked_address(settings: Settings, kind: str, address: str) -> str:
    """The address as it is kept. Raises BadAddress; resolves nothing, so that the form answers at once."""
    plain = address.strip()
    if kind == "email":
        if len(plain) > mail.MAX_ADDRESS or not re.fullmatch(
            r"[^@\s,;:<>()\[\]\\\"]{1,64}@[^@\s,;:<>()\[\]\\\"]+", plain
        ):
            raise BadAddress("This is no e-mail address.")
        return plain
    try:
        parts = urlsplit(plain)
        port = parts.port
    except ValueError:
        raise BadAddress("This is no web address.") from None
    schemes = {"https", "http"} if settings.status_private_webhooks else {"https"}
    usable = parts.scheme in schemes and bool(parts.hostname) and (port is None or port > 0)
    if not usable or len(plain) > 500 or "@" in parts.netloc or not re.fullmatch(r"[\x21-\x7e]+", plain):
        raise BadAddress("A webhook is an address that begins with https:// and holds no password.")
    try:
        literal = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        # A name: it is looked up when it is written to.
        return plain
    if not settings.status_private_webhooks and not is_public(literal):
        raise BadAddress("A webhook must be on the public internet.")
    return plain


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is on the public internet, also when it is an IPv4 address inside an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        # The old form ::1.2.3.4, too.
        if int(address) >> 32 == 0:
            return False
        if any(one is not None and not is_public(one) for one in inside):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


# --- the form ---------------------------------------------------------------------------------------------------------


def subscribe(settings: Settings, kind: Kind, address: str, language: str) -> None:
    """Write down an address and let it be asked, unless it is known or was just asked. Raises SourceError."""
    with transaction(settings) as connection:
        # Questions that nobody answered are forgotten with their addresses.
        connection.execute(
            text(
                "delete from mirador.subscribers "
                "where confirmed_at is null and asked_at < now() - make_interval(secs => :seconds)"
            ),
            {"seconds": LINK_SECONDS},
        )
        row = connection.execute(
            text(
                """
                insert into mirador.subscribers as known (kind, address, language)
                select :kind, :address, :language
                where (select count(*) from mirador.subscribers where confirmed_at is null) < :most
                on conflict (kind, lower(address)) do update set asked_at = now(), language = excluded.language
                    where known.confirmed_at is null
                        and known.asked_at < now() - make_interval(secs => :again)
                returning id
                """
            ),
            {
                "kind": kind,
                "address": address,
                "language": language,
                "most": MOST_UNCONFIRMED,
                "again": ASK_AGAIN_SECONDS,
            },
        ).first()
        if row is not None:
            connection.execute(
                text(
                    """
                    insert into mirador.deliveries as known (subscriber_id) values (:id)
                    on conflict (subscriber_id) where update_id is null
                    do update set state = 'waiting', tries = 0, next_at = now(), error = null, done_at = null
                    """
                ),
                {"id": row.id},
            )


def confirm(settings: Settings, subscriber: int) -> bool:
    """Note that the address wants to hear; False when it is gone. Raises SourceError."""
    with transaction(settings) as connection:
        found = connection.execute(
            text(
                "update mirador.subscribers set confirmed_at = coalesce(confirmed_at, now()) where id = :id returning 1"
            ),
            {"id": subscriber},
        ).all()
    return bool(found)


def unsubscribe(settings: Settings, subscriber: int) -> None:
    """Forget the subscriber, the address and what was to be told. Raises SourceError."""
    with transaction(settings) as connection:
        connection.execute(text("delete from mirador.subscribers where id = :id"), {"id": subscriber})


def remove_subscriber(settings: Settings, viewer: Viewer, subscriber: int) -> None:
    """As `unsubscribe`, by an engineer. Raises NotAllowed, SourceError."""
    _engineer(viewer)
    unsubscribe(settings, subscriber)


def try_again(settings: Settings, viewer: Viewer, delivery: int) -> None:
    """Give a delivery that was given up its tries anew, by an engineer. Raises NotAllowed, SourceError."""
    _engineer(viewer)
    with transaction(settings) as connection:
        connection.execute(
            text(
                "update mirador.deliveries set state = 'waiting', tries = 0, next_at = now(), done_at = null "
                "where id = :id and state = 'dead'"
            ),
            {"id": delivery},
        )


def _engineer(viewer: Viewer) -> None:
    if not may_write(viewer):
        raise NotAllowed("Incidents and states are written by engineers.")


class _Forms:
    """How many forms each client sent lately; clients beyond a bound share one count."""

    MOST = 10_000

    def __init__(self) -> None:
        self._sent: OrderedDict[str, deque[float]] = OrderedDict()

    def allow(self, client: str) -> bool:
        now = time.monotonic()
        while self._sent and len(self._sent) >= self.MOST:
            self._sent.popitem(last=False)
        sent = self._sent.setdefault(client, deque(maxlen=FORMS))
        self._sent.move_to_end(client)
        if len(sent) == FORMS and now - sent[0] < FORMS_SECONDS:
            return False
        sent.append(now)
        return True


def subscriber_routes(settings: Settings) -> list[Route]:
    """The routes of the form and of the links."""
    forms = _Forms()
    limiter = anyio.CapacityLimiter(2)
    default = settings.language if settings.language in i18n.LANGUAGES else "es"

    async def work(call: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(partial(call, settings, *arguments), limiter=limiter)

    def said(language: str, status: int, heading: str, words: str, **more: Any) -> Response:
        say = i18n._translations(language).gettext
        values = {"button": "", "action": "", "token": "", "back": f"../status?lang={language}", **more}
        if values["button"]:
            values["button"] = say(values["button"])
        body = page("status_message.html", language, heading=say(heading), text=say(words), **values)
        headers = {**security_headers(), "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
        return Response(body, status, headers={**headers, "Content-Language": language})

    def away(language: str) -> Response:
        return said(language, 503, "Please try again later", "This cannot be done at the moment. Nothing was changed.")

    async def take_form(request: Request, language: str) -> Response:
        client = request.client.host if request.client else ""
        if not forms.allow(client):
            return said(language, 429, "Please try again later", "Too many requests came from your address.")
        fields = await _fields(request)
        kind = fields.get("kind", "")
        if kind not in subscriber_kinds(settings):
            return said(language, 400, "This was not understood", "Choose how you want to hear of incidents.")
        # A person does not see this field; what fills it is told nothing else.
        trapped = bool(fields.get("website"))
        try:
            address = checked_address(settings, kind, fields.get("address", ""))
        except BadAddress as error:
            return said(language, 400, "This was not understood", str(error))
        try:
            if not trapped:
                await work(subscribe, kind, address, language)
        except queries.SourceError:
            return away(language)
        words = (
            "If this address is not subscribed yet, it gets a mail with a link in a few minutes. Open it to confirm."
            if kind == "email"
            else "If this address is not subscribed yet, it gets a question within a few minutes. It is confirmed when "
            "its answer holds the challenge."
        )
        return said(language, 202, "One more step", words)

    async def take_link(request: Request, language: str, purpose: str) -> Response:
        token = request.query_params.get("token", "")
        if request.method == "POST":
            fields = await _fields(request)
            token = token or fields.get("token", "")
        try:
            key = await work(signing_key)
            subscriber = read(key, purpose, token)
            if subscriber is None:
                return said(language, 410, "This link is over", "It was used up, or was not made here.")
            if request.method != "POST":
                # Programs that look into mail open links: only a person, or one click by RFC 8058, presses a button.
                heading, words, button = _QUESTIONS[purpose]
                action = f"{purpose}?lang={language}"
                return said(language, 200, heading, words, button=button, action=action, token=token)
            if purpose == "unsubscribe":
                await work(unsubscribe, subscriber)
                return said(language, 200, "You are unsubscribed", "Your address is forgotten.")
            if not await work(confirm, subscriber):
                return said(language, 410, "This link is over", "It was used up, or was not made here.")
        except queries.SourceError:
            return away(language)
        return said(language, 200, "You are subscribed", "You get a message for each incident and each update.")

    async def route(request: Request, do: Callable[..., Any], **more: Any) -> Response:
        answer: Response = await do(request, language_of(request, default), **more)
        return answer

    return [
        Route("/status/subscribe", partial(route, do=take_form), methods=["POST"]),
        Route("/status/confirm", partial(route, do=take_link, purpose="confirm"), methods=["GET", "POST"]),
        Route("/status/unsubscribe", partial(route, do=take_link, purpose="unsubscribe"), methods=["GET", "POST"]),
    ]


_QUESTIONS = {
    "confirm": ("Hear of incidents?", "Messages about incidents will be sent to your address.", "Confirm"),
    "unsubscribe": (
        "Unsubscribe?",
        "You will hear of no more incidents, and your address is forgotten.",
        "Unsubscribe",
    ),
}


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form, or none when it is longer than any form of ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES:
            return {}
    try:
        return {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=10).items()}
    except (ValueError, UnicodeError):
        return {}


# --- what is sent -----------------------------------------------------------------------------------------------------

_FAN_OUT = text(
    """
    with told as (
        update mirador.incident_updates set told_at = now()
        where id in (
            select id from mirador.incident_updates
            where told_at is null and tell_after is not null and tell_after <= now()
            order by id limit 20 for update skip locked
        )
        returning id, incident_id, created_at
    )
    insert into mirador.deliveries (subscriber_id, update_id)
    select who.id, told.id
    from told
    join mirador.incidents as one on one.id = told.incident_id and one.component = any(cast(:public as text[]))
    join mirador.subscribers as who on who.confirmed_at <= told.created_at
    on conflict do nothing
    returning 1
    """
)
_TAKE = text(
    """
    update mirador.deliveries as taken
    set tries = tries + 1, next_at = now() + make_interval(secs => :lease)
    where id in (
        select one.id
        from mirador.deliveries as one
        join mirador.subscribers as who on who.id = one.subscriber_id
        where one.state = 'waiting' and one.next_at <= now() and who.kind = any(cast(:kinds as text[]))
            -- In their order: the end is not told before the beginning.
            and not exists (
                select from mirador.deliveries as earlier
                where earlier.subscriber_id = one.subscriber_id and earlier.state = 'waiting' and earlier.id < one.id
            )
        order by one.next_at, one.id
        limit :most
        for update of one skip locked
    )
    returning id, subscriber_id, update_id, tries
    """
)
_WHAT = text(
    """
    select one.id, one.update_id, one.tries, who.id as subscriber, who.kind, who.address, who.language,
        said.kind as said, said.status, said.public_en as text_en, said.public_es as text_es, said.created_at,
        about.id as incident, about.component, about.impact, about.public_en, about.public_es, about.started_at,
        about.ended_at
    from mirador.deliveries as one
    join mirador.subscribers as who on who.id = one.subscriber_id
    left join mirador.incident_updates as said on said.id = one.update_id
    left join mirador.incidents as about on about.id = said.incident_id
    where one.id = any(cast(:ids as bigint[]))
    order by one.id
    """
)
# Only whoever took it last may say how it ended.
_DONE = text(
    """
    update mirador.deliveries
    set state = :state, error = :error, next_at = now() + make_interval(secs => :wait),
        done_at = case when :state <> 'waiting' then now() end
    where id = :id and tries = :tries and state = 'waiting'
    """
)


class NotDelivered(Exception):
    """A message that did not arrive. `sentence` says why; `again`: whether a later try may succeed."""

    def __init__(self, sentence: str, *, again: bool = True) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.again = again


@dataclass(frozen=True)
class Outbox:
    """Makes deliveries of what is to be told and sends them; one in each process, all on one table."""

    settings: Settings

    def turn(self) -> int:
        """Fan out what is to be told and send what is due; how many messages were tried. Raises SourceError."""
        kinds = list(subscriber_kinds(self.settings))
        if not kinds:
            return 0
        with transaction(self.settings, forget=False) as connection:
            connection.execute(_FAN_OUT, {"public": list(components())})
        key = signing_key(self.settings)
        done = 0
        # One at a time is taken and sent, so that a lease never runs out on a queue.
        while done < AT_ONCE:
            with transaction(self.settings, forget=False) as connection:
                taken = connection.execute(_TAKE, {"lease": LEASE_SECONDS, "kinds": kinds, "most": 1}).all()
                found = connection.execute(_WHAT, {"ids": [row.id for row in taken]}).all() if taken else []
            if not found:
                return done
            for row in found:
                self._deliver(row, key)
                done += 1
        return done

    def _deliver(self, row: Any, key: bytes) -> None:
        state, error, wait = "sent", None, 0.0
        try:
            if row.kind == "email":
                send_mail(self.settings, row, key)
            else:
                send_webhook(self.settings, row, key)
        except (NotDelivered, mail.MailError) as failure:
            error = failure.sentence
            spent = row.tries > len(BACK_OFF)
            state = "dead" if spent or not failure.again else "waiting"
            wait = BACK_OFF[min(row.tries, len(BACK_OFF)) - 1]
        if state == "sent" and row.update_id is None and row.kind == "webhook":
            # It has answered with the challenge.
            confirm(self.settings, row.subscriber)
        with transaction(self.settings, forget=False) as connection:
            connection.execute(_DONE, {"state": state, "error": error, "wait": wait, "id": row.id, "tries": row.tries})
        if state == "dead":
            telemetry.log.warning("a message to subscriber %d was given up: %s", row.subscriber, error)


def _links(settings: Settings, row: Any, key: bytes) -> dict[str, str]:
    base, language = settings.public_url, row.language
    expires = int(time.time()) + LINK_SECONDS
    return {
        "status": f"{base}/status?lang={language}",
        "confirm": f"{base}/status/confirm?lang={language}&token={sign(key, 'confirm', row.subscriber, expires)}",
        "unsubscribe": f"{base}/status/unsubscribe?lang={language}&token={sign(key, 'unsubscribe', row.subscriber)}",
    }


def _about(settings: Settings, row: Any, language: str) -> dict[str, str]:
    """The words of an update in a language."""
    words = words_of(language)
    moment = row.created_at.astimezone(ZoneInfo(settings.timezone))
    text_ = row.text_es if language == "es" else row.text_en
    public = {"component": row.component, "public_en": row.public_en, "public_es": row.public_es}
    return {
        "title": public_title(public, language),
        "component": components()[row.component].in_language(language),
        "status": words["status"][row.status],
        "text": text_ or words["said"][row.said] or words["status"][row.status],
        "at": str(dates.format_datetime(moment, "d MMM y HH:mm", locale=i18n.LOCALES[language])),
    }


def send_mail(settings: Settings, row: Any, key: bytes) -> None:
    """The question, or the update, as a mail. Raises MailError."""
    language = row.language
    say = i18n._translations(language).gettext
    links = _links(settings, row, key)
    headers = {
        "List-Unsubscribe": f"<{links['unsubscribe']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    domain = (urlsplit(settings.public_url or "").hostname or "mirador").encode("idna").decode()
    if row.update_id is None:
        # Asked again later it is another question.
        name = f"question-{row.subscriber}-{int(time.time()) // ASK_AGAIN_SECONDS}"
        values: dict[str, Any] = {"about": None, "subject": say("Confirm: hear of incidents at Conductores del Mundo")}
    else:
        about = _about(settings, row, language)
        name = f"update-{row.update_id}-{row.subscriber}"
        values = {"about": about, "subject": f"[{about['status']}] {about['title']}"}
        headers["References"] = f"<incident-{row.incident}-{row.subscriber}@{domain}>"
    headers["Message-ID"] = f"<{name}@{domain}>"
    html = page("mail.html", language, links=links, **values)
    plain = page("mail.txt", language, links=links, **values)
    mail.send(settings, row.address, values["subject"], html, plain, headers=headers)


def send_webhook(settings: Settings, row: Any, key: bytes) -> None:
    """The question with its challenge, or the update, as a POST of JSON. Raises NotDelivered."""
    links = _links(settings, row, key)
    if row.update_id is None:
        challenge = _encode(hmac.digest(key, f"challenge.{row.subscriber}".encode(), "sha256"))
        answer = post_json(settings, row.address, {"type": "challenge", "challenge": challenge, **_ends(links)})
        if challenge not in answer:
            raise NotDelivered("The webhook did not answer with the challenge.")
        return

    def iso(moment: datetime | None) -> str | None:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None

    both = {language: _about(settings, row, language) for language in i18n.LANGUAGES}
    body = {
        "type": "incident",
        # The same when it is sent twice.
        "id": f"update-{row.update_id}",
        "incident": {
            "id": row.incident,
            "component": row.component,
            "impact": row.impact,
            "status": row.status,
            "title": {language: about["title"] for language, about in both.items()},
            "started_at": iso(row.started_at),
            "ended_at": iso(row.ended_at),
        },
        "update": {
            "kind": row.said,
            "at": iso(row.created_at),
            "text": {language: about["text"] for language, about in both.items()},
        },
        "status_page": links["status"],
        **_ends(links),
    }
    post_json(settings, row.address, body)


def _ends(links: dict[str, str]) -> dict[str, str]:
    return {"unsubscribe": links["unsubscribe"]}


# --- HTTP to whoever subscribed ---------------------------------------------------------------------------------------


def resolved(settings: Settings, host: str, port: int) -> tuple[str, int]:
    """The address (and its family) to connect to, looked up once; every one of the name must be public.

    Raises NotDelivered.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotDelivered("The name of the webhook is not known.") from None
    if not settings.status_private_webhooks:
        for _, _, _, _, where in found:
            if not is_public(ipaddress.ip_address(str(where[0]).split("%")[0])):
                raise NotDelivered("The webhook is not on the public internet.", again=False)
    family, _, _, _, where = found[0]
    return str(where[0]), int(family)


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was looked up before; the name is used for TLS and the Host header only."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool) -> None:
        super().__init__(host, port, timeout=WEBHOOK_SECONDS)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        """Connect, with TLS where the address asks for it."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def post_json(settings: Settings, url: str, body: dict[str, Any]) -> str:
    """Send the JSON and give the answer's beginning as text: no redirect, bounded in time and size.

    Raises NotDelivered.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    address, _ = resolved(settings, host, port)
    connection = _Pinned(host, port, address, secure=secure)
    timer = threading.Timer(2 * WEBHOOK_SECONDS, _cut, args=(connection,))
    timer.daemon = True
    timer.start()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    usual = port == (443 if secure else 80)
    shown = f"[{host}]" if ":" in host else host
    headers = {
        "Host": shown if usual else f"{shown}:{port}",
        "Content-Type": "application/json",
        "User-Agent": "Mirador-status",
        "Connection": "close",
    }
    try:
        connection.request("POST", target, json.dumps(body, ensure_ascii=False).encode(), headers)
        answer = connection.getresponse()
        content = answer.read(ANSWER_BYTES)
    except TimeoutError:
        raise NotDelivered("The webhook has not answered in time.") from None
    except ssl.SSLError:
        raise NotDelivered("The certificate of the webhook is not to be trusted.") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise NotDelivered("The webhook cannot be reached, or broke off.") from None
    finally:
        timer.cancel()
        connection.close()
    if answer.status == 410:
        raise NotDelivered("The webhook is gone (HTTP 410).", again=False)
    if not 200 <= answer.status < 300:
        raise NotDelivered(f"The webhook did not take it (HTTP {answer.status}).")
    return content.decode(errors="replace")


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


# --- the process ------------------------------------------------------------------------------------------------------


def start(settings: Settings, ended: threading.Event) -> threading.Thread | None:
    """Send behind the dashboard until `ended` is set; None where nothing can be sent."""
    if not subscriber_kinds(settings):
        return None
    thread = threading.Thread(target=_send_soon, args=(settings, ended), name="mirador-outbox", daemon=True)
    thread.start()
    return thread


def _send_soon(settings: Settings, ended: threading.Event) -> None:
    outbox = Outbox(settings)
    told = False
    # The tables may be in the making.
    ended.wait(IDLE_SECONDS)
    while not ended.is_set():
        busy = 0
        try:
            busy = outbox.turn()
            told = False
        except queries.SourceError as error:
            if not told:
                told = True
                telemetry.log.warning("subscribers are not told at the moment: %s", error.sentence)
        except Exception as error:
            telemetry.log.error("a message to a subscriber could not be made", exc_info=error)
        if not busy:
            ended.wait(IDLE_SECONDS)
