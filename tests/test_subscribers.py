"""Subscribers: asked twice, told once, by real mail and real HTTP; nothing of an address anywhere else."""

from __future__ import annotations

import email
import email.policy
import ipaddress
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import httpx
import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import create_engine, text
from starlette.applications import Starlette

import queries
from app import incidents, mail, state, subscribers
from app.settings import Settings
from app.subscribers import Outbox, subscriber_routes
from demo.servers import free_port
from queries import incidents as told
from tests.conftest import drop_ledger, new_ledger
from tests.test_events import ANALYST, ENGINEER, TOKEN, Hooks, tell
from tests.test_incidents import one

PUBLIC = "https://mirador.company.mx"


@dataclass
class Mailbox:
    """A mail server of this machine; `answers` are given in turn before it takes a message."""

    messages: list[Any] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.messages.append((envelope.rcpt_tos, message))
        return "250 OK"

    def to(self, address: str) -> list[Any]:
        return [message for addresses, message in self.messages if address in addresses]


@pytest.fixture(scope="module")
def smtp() -> Iterator[tuple[Mailbox, str]]:
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port(), ready_timeout=30)
    server.start()
    yield box, f"smtp://127.0.0.1:{server.port}"
    server.stop()


class Hook:
    """A webhook of this machine: what it was sent, and what it answers."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.paths: list[str] = []
        self.echo = True
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.got.append(body)
                hook.paths.append(self.path)
                self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
                self.send_header("Location", f"http://127.0.0.1:{hook.port}/elsewhere")
                self.end_headers()
                if hook.echo:
                    self.wfile.write(json.dumps({"challenge": body.get("challenge")}).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?key=x"

    def updates(self) -> list[dict]:
        return [body for body in self.got if body["type"] == "incident"]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def state_url(postgres) -> Iterator[str]:
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@pytest.fixture(scope="module")
def engine(state_url):
    made = create_engine(state_url)
    yield made
    made.dispose()


@pytest.fixture
def kept(state_url, engine, smtp) -> Iterator[Settings]:
    with engine.begin() as owner:
        owner.execute(text("truncate mirador.incidents, mirador.subscribers, mirador.events cascade"))
    smtp[0].messages.clear()
    smtp[0].answers.clear()
    queries.connect(queries.Sources(state_url=state_url))
    queries.forget("state")
    yield Settings(
        state_url=state_url,
        hook_token=TOKEN,
        smtp_url=smtp[1],
        mail_from="Mirador <status@company.mx>",
        public_url=PUBLIC,
        status_private_webhooks=True,
    )
    queries.disconnect()


class Form:
    """The routes, asked as a browser would."""

    def __init__(self, settings: Settings) -> None:
        self.app = Starlette(routes=subscriber_routes(settings))

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> httpx.Response:
        async def work() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
                return await client.request(method, path.removeprefix(PUBLIC), data=fields)

        return anyio.run(work)

    def subscribe(self, address: str, kind: str = "email", **more: str) -> httpx.Response:
        return self.ask("POST", "/status/subscribe?lang=en", {"kind": kind, "address": address, **more})


def confirmed(engine, settings: Settings, *addresses: str, kind: str = "email", language: str = "en") -> None:
    """Subscribers who have confirmed, without the way there."""
    with engine.begin() as owner:
        for address in addresses:
            owner.execute(
                text(
                    "insert into mirador.subscribers (kind, address, language, confirmed_at) values (:k, :a, :l, now())"
                ),
                {"k": kind, "a": address, "l": language},
            )


def rows(engine, statement: str) -> list[Any]:
    with engine.connect() as owner:
        return owner.execute(text(statement)).all()


def due(engine) -> None:
    """Let the time pass that deliveries wait for."""
    with engine.begin() as owner:
        owner.execute(text("update mirador.deliveries set next_at = now() where state = 'waiting'"))
        owner.execute(text("update mirador.incident_updates set tell_after = now() where tell_after is not null"))


def text_of(message: Any) -> str:
    return message.get_body(("plain",)).get_content()


def link_in(message: Any, what: str) -> str:
    return re.search(rf"{re.escape(PUBLIC)}/status/{what}\S+", text_of(message))[0]


# --- the two steps ----------------------------------------------------------------------------------------------------


def test_an_address_is_asked_confirms_hears_of_an_incident_once_and_leaves_with_one_click(kept, engine, smtp):
    box, form, outbox = smtp[0], Form(kept), Outbox(kept)
    answer = form.subscribe("Ana@company.mx")
    assert answer.status_code == 202
    tell(Hooks(kept), one("early"))
    outbox.turn()
    (question,) = box.to("Ana@company.mx")
    assert question["Subject"] == "Confirm: hear of incidents at Conductores del Mundo"
    link = link_in(question, "confirm")
    # Programs that look into mail open links: that alone confirms nothing.
    page = form.ask("GET", link)
    assert "Confirm</button>" in page.text
    assert rows(engine, "select confirmed_at from mirador.subscribers") == [(None,)]
    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    assert "You are subscribed" in form.ask("POST", "/status/confirm?lang=en", {"token": token}).text
    # What was told before is not told now.
    assert outbox.turn() == 0
    tell(
        Hooks(kept), one("f2", component="neon", annotations={"summary": "host-9:80", "public_title": "Money is late"})
    )
    assert outbox.turn() == 1
    assert outbox.turn() == 0
    _, message = box.to("Ana@company.mx")
    assert message["Subject"] == "[Investigating] Money is late"
    assert "NEON Disbursements" in text_of(message)
    assert "host-9" not in message.as_string()
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    away = message["List-Unsubscribe"].strip("<>")
    assert form.ask("GET", away).status_code == 200
    assert len(rows(engine, "select 1 from mirador.subscribers")) == 1
    assert form.ask("POST", away, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert rows(engine, "select 1 from mirador.subscribers") == []
    tell(Hooks(kept), one("f3", component="cache"))
    assert outbox.turn() == 0
    # The link of somebody who has left confirms nobody.
    assert form.ask("POST", link).status_code == 410


def test_an_incident_is_told_when_it_opens_is_written_about_and_ends_in_each_language(kept, engine, smtp):
    box, outbox = smtp[0], Outbox(kept)
    confirmed(engine, kept, "ana@x.mx", language="es")
    confirmed(engine, kept, "bo@x.mx")
    hooks = Hooks(kept)
    tell(hooks, one())
    outbox.turn()
    number = int(told.open_incidents()["id"].iloc[0])
    said = {"impact": "degraded", "note": "inside", "public_en": "We roll back.", "public_es": "Regresamos la versión."}
    incidents.write_update(kept, ENGINEER, number, status="identified", **said, once="1")
    incidents.write_update(
        kept, ENGINEER, number, status="monitoring", **said | {"public_en": "", "public_es": ""}, once="2"
    )
    outbox.turn()
    tell(hooks, one(ended=3))
    assert outbox.turn() == 0
    due(engine)
    outbox.turn()
    subjects = [message["Subject"] for message in box.to("ana@x.mx")]
    assert subjects == [f"[{word}] Fallas en API Backend" for word in ("Investigando", "Identificado", "Resuelto")]
    assert "Regresamos la versión." in text_of(box.to("ana@x.mx")[1])
    assert [message["Subject"] for message in box.to("bo@x.mx")] == [
        f"[{word}] Problems with API Backend" for word in ("Investigating", "Identified", "Resolved")
    ]
    assert not any("inside" in message.as_string() for _, message in box.messages)


def test_an_incident_of_no_component_of_the_page_is_told_to_nobody(kept, engine, smtp):
    confirmed(engine, kept, "ana@x.mx")
    tell(Hooks(kept), one(component="mirador"), one("b", component=None, name="DiskFull"))
    assert Outbox(kept).turn() == 0
    assert smtp[0].messages == []


def test_several_processes_send_each_message_once(kept, engine, smtp):
    people = [f"p{n}@x.mx" for n in range(8)]
    confirmed(engine, kept, *people)
    names = list(told.components())[:4]
    tell(Hooks(kept), *(one(name, component=name) for name in names))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            outbox = Outbox(kept)
            for _ in range(6):
                outbox.turn()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {person: len(smtp[0].to(person)) for person in people} == dict.fromkeys(people, len(names))
    assert {row.state for row in rows(engine, "select state from mirador.deliveries")} == {"sent"}


def test_a_process_that_dies_while_it_sends_has_its_message_sent_by_another_with_the_same_id(kept, engine, smtp):
    confirmed(engine, kept, "ana@x.mx")
    tell(Hooks(kept), one())
    outbox = Outbox(kept)
    outbox.turn()
    # As if it had died before it could mark what it sent.
    with engine.begin() as owner:
        owner.execute(text("update mirador.deliveries set state = 'waiting', next_at = now() + interval '1 minute'"))
    assert outbox.turn() == 0
    due(engine)
    assert outbox.turn() == 1
    first, second = smtp[0].to("ana@x.mx")
    assert first["Message-ID"] == second["Message-ID"]


# --- the form ---------------------------------------------------------------------------------------------------------


def test_the_form_says_the_same_whether_an_address_is_known_or_not(kept, engine, smtp):
    confirmed(engine, kept, "known@x.mx")
    form = Form(kept)
    answers = [form.subscribe(address) for address in ("known@x.mx", "KNOWN@x.mx", "new@x.mx", "new@x.mx")]
    answers.append(form.subscribe("robot@x.mx", website="http://spam"))
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    Outbox(kept).turn()
    assert [addresses for addresses, _ in smtp[0].messages] == [["new@x.mx"]]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "nobody"),
        ("email", "a@b\r\nBcc: c@d"),
        ("email", "a@b,c@d"),
        ("email", "<a@b>"),
        ("email", ""),
        ("email", "x" * 65 + "@b"),
        ("webhook", "ftp://x"),
        ("webhook", "https://user:secret@x/"),
        ("webhook", "https://x/\r\nHost: y"),
        ("webhook", "https://"),
        ("webhook", "https://x:99999/"),
        ("pigeon", "a@b.mx"),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(kept, engine, kind, address):
    answer = Form(kept).subscribe(address, kind)
    assert answer.status_code == 400
    assert "This was not understood" in answer.text
    assert rows(engine, "select 1 from mirador.subscribers") == []


def test_a_client_may_send_only_some_forms(kept):
    form = Form(kept)
    codes = [form.subscribe(f"a{n}@x.mx").status_code for n in range(subscribers.FORMS + 2)]
    assert codes == [202] * subscribers.FORMS + [429] * 2


def test_a_form_without_end_and_one_without_fields_are_refused(kept):
    form = Form(kept)
    assert form.subscribe("a@x.mx", more="x" * 10_000).status_code == 400
    assert form.ask("POST", "/status/subscribe", {}).status_code == 400


def test_questions_that_nobody_answers_are_forgotten(kept, engine):
    form = Form(kept)
    form.subscribe("old@x.mx")
    with engine.begin() as owner:
        owner.execute(text("update mirador.subscribers set asked_at = now() - interval '3 days'"))
    form.subscribe("new@x.mx")
    assert rows(engine, "select address from mirador.subscribers") == [("new@x.mx",)]


def test_a_link_that_is_over_forged_or_of_another_kind_does_nothing(kept, engine):
    confirmed(engine, kept, "ana@x.mx")
    number = rows(engine, "select id from mirador.subscribers")[0].id
    key = subscribers.signing_key(kept)
    form = Form(kept)
    wrong = (
        subscribers.sign(key, "unsubscribe", number, int(time.time()) - 1),
        subscribers.sign(b"another key", "unsubscribe", number),
        subscribers.sign(key, "confirm", number),
        subscribers.sign(key, "unsubscribe", number)[:-2],
        *("", ".", "unsubscribe", "é", "x" * 5000),
    )
    for token in wrong:
        assert form.ask("POST", "/status/unsubscribe", {"token": token}).status_code == 410, token
    assert len(rows(engine, "select 1 from mirador.subscribers")) == 1
    # Every process signs with the same key, also after a restart.
    subscribers._keys.clear()
    assert subscribers.signing_key(kept) == key


def test_while_the_state_database_is_away_the_form_says_so(kept):
    away = kept.model_copy(update={"state_url": type(kept.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})
    answer = Form(away).subscribe("a@x.mx")
    assert answer.status_code == 503
    assert "Nothing was changed" in answer.text
    with pytest.raises(queries.SourceError):
        Outbox(away).turn()


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_mail_that_fails_is_tried_again_later_and_each_time_later(kept, engine, smtp, caplog):
    confirmed(engine, kept, "ana@secret.mx")
    tell(Hooks(kept), one())
    outbox = Outbox(kept)
    smtp[0].answers.extend(["451 ana@secret.mx is busy"] * 2)
    waits = []
    for _ in range(2):
        assert outbox.turn() == 1
        assert outbox.turn() == 0
        (row,) = rows(
            engine, "select state, error, extract(epoch from next_at - now()) as wait from mirador.deliveries"
        )
        assert (row.state, row.error) == ("waiting", "The mail server does not take mail for this address.")
        waits.append(float(row.wait))
        due(engine)
    assert waits == [pytest.approx(subscribers.BACK_OFF[0], abs=5), pytest.approx(subscribers.BACK_OFF[1], abs=5)]
    assert outbox.turn() == 1
    assert len(smtp[0].to("ana@secret.mx")) == 1
    assert "secret.mx" not in caplog.text


def test_what_always_fails_is_given_up_shown_to_engineers_and_can_be_tried_again(kept, engine, smtp, caplog):
    confirmed(engine, kept, "ana@secret.mx")
    tell(Hooks(kept), one())
    outbox = Outbox(kept)
    smtp[0].answers.extend(["451 no"] * (len(subscribers.BACK_OFF) + 1))
    with caplog.at_level(logging.WARNING, "mirador"):
        for _ in range(len(subscribers.BACK_OFF) + 3):
            outbox.turn()
            due(engine)
    queries.forget("state")
    (row,) = told.dead_deliveries().itertuples()
    assert (row.kind, row.tries) == ("email", len(subscribers.BACK_OFF) + 1)
    assert "secret" not in str(row) + caplog.text
    assert "given up" in caplog.text
    with pytest.raises(state.NotAllowed):
        subscribers.try_again(kept, ANALYST, int(row.id))
    subscribers.try_again(kept, ENGINEER, int(row.id))
    outbox.turn()
    assert len(smtp[0].to("ana@secret.mx")) == 1
    with pytest.raises(state.NotAllowed):
        subscribers.remove_subscriber(kept, ANALYST, int(row.subscriber_id))
    subscribers.remove_subscriber(kept, ENGINEER, int(row.subscriber_id))
    assert rows(engine, "select 1 from mirador.subscribers") == []


def test_an_address_that_the_server_refuses_for_good_is_given_up_at_once(kept, engine, smtp):
    confirmed(engine, kept, "gone@x.mx", "here@x.mx")
    tell(Hooks(kept), one())
    smtp[0].answers.append("550 no such user gone@x.mx")
    outbox = Outbox(kept)
    outbox.turn()
    assert sorted(row.state for row in rows(engine, "select state from mirador.deliveries")) == ["dead", "sent"]


def test_the_end_is_not_told_before_the_beginning(kept, engine, smtp):
    confirmed(engine, kept, "ana@x.mx")
    hooks, outbox = Hooks(kept), Outbox(kept)
    tell(hooks, one())
    smtp[0].answers.append("451 busy")
    outbox.turn()
    tell(hooks, one(ended=3))
    with engine.begin() as owner:
        owner.execute(text("update mirador.incident_updates set tell_after = now() where told_at is null"))
    assert outbox.turn() == 0
    due(engine)
    assert outbox.turn() == 2
    subjects = [message["Subject"] for message in smtp[0].to("ana@x.mx")]
    assert [subject.split("]")[0] for subject in subjects] == ["[Investigating", "[Resolved"]


@pytest.mark.parametrize(
    ("url", "said", "again"),
    [
        ("smtp://127.0.0.1:1", "cannot be reached", True),
        ("smtp://user:hunter2hunter2@127.0.0.1:{port}", "way to log in", False),
        ("smtps://127.0.0.1:{port}", "", True),
    ],
)
def test_a_mail_server_that_cannot_be_used_is_told_without_its_words(kept, smtp, url, said, again):
    port = smtp[1].rpartition(":")[2]
    wrong = kept.model_copy(update={"smtp_url": type(kept.state_url)(url.format(port=port))})
    with pytest.raises(mail.MailError) as failure:
        mail.send(wrong, "ana@x.mx", "s", "<p>h</p>", "t")
    assert said in failure.value.sentence
    assert failure.value.again is again
    assert "hunter2" not in str(failure.value)
    none = kept.model_copy(update={"smtp_url": None})
    with pytest.raises(mail.MailError, match="MIRADOR_SMTP_URL"):
        mail.send(none, "ana@x.mx", "s", "h", "t")


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_a_webhook_is_confirmed_by_its_answer_and_hears_of_an_incident_once(kept, engine, hook):
    form, outbox = Form(kept), Outbox(kept)
    assert form.subscribe(hook.url, "webhook").status_code == 202
    outbox.turn()
    assert hook.got[0]["type"] == "challenge"
    assert rows(engine, "select confirmed_at is not null from mirador.subscribers") == [(True,)]
    hostile = '<b>"x"</b>'
    tell(Hooks(kept), one(annotations={"summary": "host", "public_title": hostile}))
    outbox.turn()
    outbox.turn()
    (body,) = hook.updates()
    assert body["incident"]["title"] == {"es": hostile, "en": hostile}
    assert body["incident"]["status"] == "investigating"
    assert body["update"]["text"]["en"] == "We are looking into it."
    assert set(hook.paths) == {"/hook?key=x"}
    assert "host" not in json.dumps({**body, "unsubscribe": "", "status_page": ""})
    assert form.ask("POST", body["unsubscribe"]).status_code == 200
    assert rows(engine, "select 1 from mirador.subscribers") == []


def test_a_webhook_that_does_not_answer_with_the_challenge_hears_nothing(kept, engine, hook):
    hook.echo = False
    Form(kept).subscribe(hook.url, "webhook")
    outbox = Outbox(kept)
    outbox.turn()
    tell(Hooks(kept), one())
    outbox.turn()
    assert hook.updates() == []
    (row,) = rows(engine, "select state, error from mirador.deliveries")
    assert (row.state, row.error) == ("waiting", "The webhook did not answer with the challenge.")


def test_a_webhook_that_fails_is_tried_again_with_the_same_id_and_no_redirect_is_followed(kept, engine, hook):
    confirmed(engine, kept, hook.url, kind="webhook")
    tell(Hooks(kept), one())
    outbox = Outbox(kept)
    hook.statuses = [500, 302, 200]
    for _ in range(3):
        assert outbox.turn() == 1
        due(engine)
    assert outbox.turn() == 0
    assert len({body["id"] for body in hook.updates()}) == 1
    assert set(hook.paths) == {"/hook?key=x"}
    assert [row.state for row in rows(engine, "select state from mirador.deliveries")] == ["sent"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        *(
            (one_, False)
            for one_ in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0")
        ),
        *(
            (one_, False)
            for one_ in ("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1")
        ),
        *((one_, False) for one_ in ("fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1")),
        *((one_, False) for one_ in ("2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe")),
    ],
)
def test_only_the_public_internet_is_written_to(address, public):
    assert subscribers.is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]"])
def test_a_webhook_on_this_machine_gets_nothing_whatever_it_is_called(kept, hook, host):
    strict = kept.model_copy(update={"status_private_webhooks": False})
    with pytest.raises(subscribers.NotDelivered):
        subscribers.post_json(strict, f"http://{host}:{hook.port}/", {})
    assert hook.got == []


def test_a_name_is_looked_up_once_and_the_connection_goes_there(kept, hook, monkeypatch):
    """A name that is public when it is checked and private when it is used (DNS rebinding) has no second look-up."""
    asked = []
    usual = subscribers.socket.getaddrinfo

    def look_up(host, port, *rest, **more):
        asked.append(host)
        return usual("127.0.0.1" if host == "rebind.example" else host, port, *rest, **more)

    monkeypatch.setattr(subscribers.socket, "getaddrinfo", look_up)
    subscribers.post_json(kept, f"http://rebind.example:{hook.port}/", {"type": "incident"})
    assert asked.count("rebind.example") == 1
    assert len(hook.got) == 1


def test_a_webhook_that_says_nothing_is_cut_off(kept, monkeypatch):
    monkeypatch.setattr(subscribers, "WEBHOOK_SECONDS", 0.3)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(subscribers.NotDelivered, match="in time"):
            subscribers.post_json(kept, f"http://127.0.0.1:{silent.getsockname()[1]}/", {})
        assert time.monotonic() - began < 2


def test_counts_of_subscribers_hold_no_address(kept, engine):
    confirmed(engine, kept, "ana@secret.mx")
    Form(kept).subscribe("bo@secret.mx")
    frame = told.subscriber_counts()
    assert list(frame[["kind", "confirmed", "unconfirmed"]].itertuples(index=False, name=None)) == [("email", 1, 1)]
    assert "secret" not in frame.to_csv()
