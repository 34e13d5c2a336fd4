"""Nothing personal and no secret leaves by a log line or an error report, and failures are counted."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sentry_sdk
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from sqlalchemy import create_engine
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect as open_websocket

import queries
from app import telemetry
from demo import servers
from queries import SourceError, scrub
from tests.conftest import ROOT
from tests.dashboard import serve

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_TOKEN = _UPPER + _UPPER.lower() + _DIGITS + "._-"
_BASE64 = _UPPER + _UPPER.lower() + _DIGITS + "-_"
DSN_KEY = "0123456789abcdef0123456789abcdef"


class Sentry:
    """A server that takes what the real SDK sends over HTTP: whole envelopes, as their bytes."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        kept = self.envelopes

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://{DSN_KEY}@127.0.0.1:{self.server.server_port}/1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def clear(self) -> None:
        """Forget what has come; every test reads all that it sends."""
        self.envelopes.clear()

    def all(self) -> str:
        """Every byte that has come, once all is sent."""
        sentry_sdk.flush(5)
        return b"\n".join(self.envelopes).decode()

    def events(self) -> list[dict[str, Any]]:
        """The events among it."""
        found = []
        self.all()
        for envelope in list(self.envelopes):
            lines = envelope.split(b"\n")
            for head, body in itertools.pairwise(lines):
                if head.startswith(b'{"type":"event"') or head.startswith(b'{"type": "event"'):
                    found.append(json.loads(body))
        return found

    def close(self) -> None:
        """End."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def sent() -> Iterator[Sentry]:
    server = Sentry()
    telemetry.start_sentry(server.dsn, environment="test")
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.init()
    server.close()


def _luhn_digit(digits: str) -> str:
    return next(d for d in _DIGITS if scrub.luhn(digits + d))


def _text(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least)


def _secret(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    # An end that no name of a module or field has, which a report holds rightly.
    return _text(alphabet, least, most).map(lambda word: f"{word}Qz7")


@st.composite
def cards(draw: st.DrawFn) -> tuple[str, str]:
    digits = "4" + draw(_text(_DIGITS, 14))
    digits += _luhn_digit(digits)
    card = draw(st.sampled_from(["", " ", "-", ".", "\u00a0"])).join(digits[i : i + 4] for i in range(0, 16, 4))
    return card, card


PHONE_FORMS = (
    *("{a}{b}{c}", "{a} {b} {c}", "({a}) {b} {c}", "({a}) {b}-{c}", "{a}-{b}-{c}", "{a}.{b}.{c}"),
    *("+52 {a} {b} {c}", "+52{a}{b}{c}", "+52 1 {a} {b} {c}", "+521{a}{b}{c}", "52-{a}-{b}-{c}", "(+52) {a} {b} {c}"),
    *("044 {a} {b} {c}", "045{a}{b}{c}", "01 {a} {b} {c}", "{a} {b1} {b2} {c1} {c2}", "{a}\u00a0{b}\u00a0{c}"),
    "{a}\u2011{b}\u2011{c}",
)


@st.composite
def phones(draw: st.DrawFn) -> tuple[str, str]:
    a, b, c = draw(_text("123456789", 2)), draw(_text(_DIGITS, 4)), draw(_text(_DIGITS, 4))
    form = draw(st.sampled_from(PHONE_FORMS))
    phone = form.format(a=a, b=b, c=c, b1=b[:2], b2=b[2:], c1=c[:2], c2=c[2:])
    return phone, phone


@st.composite
def tokens(draw: st.DrawFn) -> tuple[str, str]:
    """A credential by its own form, wherever it stands."""
    part = draw(_text(_BASE64, 30, 60))
    token = draw(
        st.sampled_from(
            [
                f"eyJhbGciOiJIUzI1NiJ9.eyJ{part}.{part[::-1]}",
                f"AKIA{draw(_text(_UPPER + _DIGITS, 16))}",
                f"ASIA{draw(_text(_UPPER + _DIGITS, 16))}",
                f"ghp_{draw(_text(_UPPER + _DIGITS, 36))}",
                f"xoxb-{draw(_text(_DIGITS, 12))}-{draw(_text(_UPPER + _DIGITS, 24))}",
                f"key_{draw(_text(_UPPER + _DIGITS, 22))}",
                f"sk_live_{draw(_text(_UPPER + _DIGITS, 24))}",
            ]
        )
    )
    return token, token


@st.composite
def written_passwords(draw: st.DrawFn) -> tuple[str, str]:
    """A password of any signs, as programs write it beside its name."""
    word = draw(st.text(min_size=6, max_size=30).filter(lambda one: one.strip() == one and one.isprintable())) + "Qz7"
    name = draw(st.sampled_from(["password", "PGPASSWORD", "api_key", "client_secret", "contraseña", "access-token"]))
    form = draw(st.sampled_from(["json", "repr", "url", "json in json"]))
    match form:
        case "json":
            return json.dumps({name: word}), json.dumps(word)[1:-1]
        case "repr":
            return repr({name: word}), repr(word)[1:-1]
        case "url":
            return f"{name}={quote(word, safe='')}", quote(word, safe="")
        case _:
            return json.dumps(json.dumps({name: word})), json.dumps(json.dumps(word))[3:-3]


# Each: (text that holds it, the part that must not leave).
personal = st.one_of(
    st.emails().map(lambda mail: (mail, mail)),
    st.emails().map(lambda mail: (f"/drivers?who={quote(mail, safe='')}", quote(mail, safe=""))),
    phones(),
    cards(),
    tokens(),
    written_passwords(),
    st.builds(
        lambda a, b, c, d, e: (f"{a}{b}{c}{d}{e}",) * 2,
        *(_text(_UPPER, 4), _text(_DIGITS, 6), st.sampled_from("HM"), _text(_UPPER, 5), _text(_DIGITS, 2)),
    ),
    st.builds(
        lambda a, b, c: (f"{a}{b}{c}",) * 2,
        *(_text(_UPPER + "Ñ&", 3, 4), _text(_DIGITS, 6), _text(_UPPER + _DIGITS, 3)),
    ),
    _secret(_TOKEN, 5, 60).map(lambda token: (f"Authorization: Bearer {token}", token)),
    _secret(_TOKEN, 5, 60).map(lambda token: (f"api_key={token}", token)),
    _secret(_TOKEN + "@/:#%&*!", 5, 30).map(lambda word: (f"postgresql://reader:{word}@db:5432/company", word)),
    _secret(_TOKEN, 5, 30).map(lambda word: (f"[SQL: select 1]\n[parameters: {{'who': '{word}'}}]", word)),
    _secret(_TOKEN, 5, 30).map(lambda word: (f"DETAIL:  Key (conductor_id)=({word}) already exists.", word)),
    _secret(_TOKEN, 5, 30).map(lambda word: (f"select * from bi.credits where conductor_id = '{word}'", word)),
)


def _places(text: str) -> dict[str, dict[str, Any]]:
    """An event for each place where a text can stand."""
    return {
        "message": {"message": text},
        "logentry": {"logentry": {"message": text, "formatted": text, "params": [text]}},
        "extra": {"extra": {"a": [{"b": text}], text: 1}},
        "tags": {"tags": {"note": text}},
        "contexts": {"contexts": {"state": {"value": {"deep": (text,)}}}},
        "breadcrumb": {"breadcrumbs": {"values": [{"message": text, "data": {"sql": text}, "category": "query"}]}},
        "exception": {
            "exception": {
                "values": [
                    {
                        "type": "Error",
                        "value": text,
                        "stacktrace": {"frames": [{"function": "f", "lineno": 1, "vars": {"x": text}}]},
                    }
                ]
            }
        },
        "request": {
            "request": {
                "url": f"https://mirador/?q={text}",
                "query_string": text,
                "data": {"body": text},
                "cookies": {"session": text},
                "headers": {"Cookie": text, "X-User": text},
                "env": {"REMOTE_ADDR": text},
            }
        },
        "user": {"user": {"id": "0123456789abcdef", "email": text, "username": text, "ip_address": text}},
        "spans": {"type": "transaction", "transaction": text, "spans": [{"description": text, "data": {"q": text}}]},
    }


@settings(max_examples=40, deadline=None)
@given(
    found=personal,
    before=st.sampled_from(["", " ", "x = ", '"', "(", "user: ", "ñ ", "\n", "took 1234 ", "on 2026-11-24 "]),
    after=st.sampled_from(["", " ", '"', ")", ", and more", ".", "\n", " 17"]),
    form=st.sampled_from([str, repr, json.dumps]),
)
def test_no_personal_data_leaves_in_an_error_report(
    sent: Sentry, found: tuple[str, str], before: str, after: str, form: Callable[[str], str]
):
    text, secret = found
    sent.clear()
    places = _places(f"{before}{text}{after}" if form is str else f"{before}{form(text)}{after}")
    for event in places.values():
        sentry_sdk.capture_event(event)
    body = sent.all()
    assert len(sent.envelopes) == len(places)
    for one in {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}:
        leaked = [line for line in body.splitlines() if one in line]
        assert not leaked, leaked


@settings(max_examples=300, deadline=None)
@given(words=st.text(max_size=200), found=st.one_of(phones(), cards()))
def test_what_stands_around_a_number_does_not_hide_it(words: str, found: tuple[str, str]):
    for text in (f"{words} {found[0]}", f"{found[0]} {words}", f"12 {found[0]} 2026", f"1 2 3 4 5 6 {found[0]} 7 8"):
        assert found[1] not in queries.mask(text)


def test_what_really_happens_leaves_clean(sent: Sentry, postgres: servers.Postgres):
    """An error with its locals, a refused row, a request, a log line, a user: as the integrations gather them."""
    sent.clear()
    person = {"mail": "juan.perez@example.mx", "phone": "+52 55 1234 5678", "curp": "GARC850101HDFRRL09"}
    secrets = [*person.values(), "GAR850101AB1", "4111 1111 1111 1111", "hunter2hunter2", "Juan"]
    sentry_sdk.set_user(
        {"id": "0123456789abcdef", "email": person["mail"], "username": "Juan", "ip_address": "10.0.0.7"}
    )
    logging.getLogger("mirador.test").warning("asked by %s", person["mail"])
    requests.get(f"http://127.0.0.1:{sent.server.server_port}/drivers?name=Juan&curp={person['curp']}", timeout=5)
    engine = create_engine(postgres.url())
    rfc, card, password = "GAR850101AB1", "4111 1111 1111 1111", "hunter2hunter2"
    try:
        with engine.begin() as owner:
            owner.execute(sql("create temporary table drivers (rfc text primary key, phone text)"))
            for _time in range(2):
                owner.execute(sql("insert into drivers values (:rfc, :phone)"), {"rfc": rfc, "phone": person["phone"]})
    except SQLAlchemyError as error:
        telemetry.script_failed(error)
    try:
        raise ValueError(f"card={card} password='{password}' of {person}")
    except ValueError as error:
        telemetry.script_failed(error)
        logging.getLogger("mirador.test").exception("with %s", card)
    finally:
        engine.dispose()
        sentry_sdk.set_user(None)
    body = sent.all()
    events = sent.events()
    assert len(events) == 2, "the logged error was reported already"
    assert not [one for one in secrets if one in body]
    assert events[0]["user"] == {"id": "0123456789abcdef"}
    kinds = {one["type"] for event in events for one in event["exception"]["values"]}
    assert {"IntegrityError", "UniqueViolation", "ValueError"} <= kinds
    crumbs = events[0]["breadcrumbs"]["values"]
    assert any(crumb["category"] == "mirador.test" and crumb["message"] == "asked by [removed]" for crumb in crumbs)
    assert any(crumb["category"] == "httplib" for crumb in crumbs), "the request is still told"


def test_a_transaction_leaves_clean_with_its_spans_and_its_envelope(sent: Sentry, monkeypatch: pytest.MonkeyPatch):
    sent.clear()
    # None is made today; whoever turns them on finds them clean.
    monkeypatch.setitem(sentry_sdk.get_client().options, "traces_sample_rate", 1.0)
    who = "juan.perez@example.mx"
    with sentry_sdk.start_transaction(name=f"page of {who}", op="page") as whole:
        whole.set_data("note", f"call +52 55 1234 5678 for {who}")
        with sentry_sdk.start_span(op="db", name=f"select * from drivers where mail = '{who}'") as part:
            part.set_data("db.params", [who])
            part.set_data("http.query", f"who={who}")
    body = sent.all()
    assert '"type":"transaction"' in body
    assert "juan" not in body
    assert "1234 5678" not in body


def test_an_error_report_keeps_what_explains_the_error(sent: Sentry):
    sent.clear()
    telemetry._reported.clear()
    secret_of_a_local = "juan.perez@example.mx"
    try:
        raise SourceError(f"The ledger refused {secret_of_a_local}.", kind="refused", source="ledger", query="a/b")
    except SourceError as error:
        telemetry.panel_failed("Approval rate", error)
        telemetry.panel_failed("Approval rate", error)
    events = [event for event in sent.events() if "exception" in event]
    assert len(events) == 1, "the same failure is reported once for a while"
    event = events[0]
    assert {name: value for name, value in event["tags"].items() if value} == {
        **{"panel": "Approval rate", "source": "ledger", "kind": "refused", "query": "a/b"}
    }
    [raised] = event["exception"]["values"]
    assert raised["type"] == "SourceError"
    assert raised["value"] == "The ledger refused [removed]."
    frame = raised["stacktrace"]["frames"][-1]
    assert frame["function"] == "test_an_error_report_keeps_what_explains_the_error"
    assert "vars" not in frame
    assert "abs_path" not in frame
    assert "sys.argv" not in json.dumps(event)


def test_a_source_that_is_not_configured_is_no_error_to_report(sent: Sentry):
    sent.clear()
    telemetry.panel_failed("Errors", SourceError("Not configured.", kind="not_configured", source="metrics"))
    assert not sent.all()


def test_the_dashboard_reports_a_failed_panel_with_its_query_source_page_and_the_viewers_id(tmp_path: Path):
    server = Sentry()
    env = {
        "MIRADOR_SENTRY_DSN": server.dsn,
        "MIRADOR_LEDGER_URL": f"postgresql://reader:hunter2hunter2@127.0.0.1:{servers.free_port()}/company",
    }
    try:
        with serve(tmp_path, env) as dashboard:
            question = BackMsg()
            question.rerun_script.query_string = "note=juan.perez@example.mx"
            with open_websocket(
                dashboard.url.replace("http", "ws") + "/_stcore/stream",
                origin=dashboard.url,  # type: ignore[arg-type]
                subprotocols=["streamlit"],  # type: ignore[list-item]
                max_size=None,
            ) as browser:
                browser.send(question.SerializeToString())
                until = time.monotonic() + 30
                while time.monotonic() < until and not any("panel" in one["tags"] for one in server.events()):
                    with contextlib.suppress(TimeoutError):
                        browser.recv(timeout=0.5)
        failed = next(one for one in server.events() if "panel" in one["tags"])
        assert failed["tags"]["source"] == "ledger"
        assert failed["tags"]["kind"] == "down"
        assert failed["tags"]["panel"]
        assert failed["tags"]["query"].startswith("today/")
        assert failed["user"] == {"id": "local"}
        assert "juan" not in server.all()
        assert "hunter2" not in server.all()
    finally:
        server.close()


@pytest.mark.parametrize(
    "text",
    [
        "took 1234 ms at 2026-11-24T15:22:33.123456+00:00",
        "2026-11-24 15:22:33,123",
        "$1,234,567.89 of 12,345,678",
        "listening on 127.0.0.1:8501",
        "basic authentication takes both",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "request 123e4567-e89b-12d3-a456-426614174000",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "Conekta failed with 'card_declined'",
        "wrote 100000 rows at 24-11-2026 15:22:33",
        "/usr/lib/python3/dist-packages/sqlalchemy/engine/base.py",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str):
    assert scrub.Scrubber().text(text) == text


def test_the_host_of_a_server_is_no_persons_address():
    tags = {"server.address": "neon.internal", "client.address": "10.0.0.7", "address": "Calle Uno 5"}
    assert scrub.mask_all(tags) == {
        "server.address": "neon.internal",
        "client.address": scrub.REMOVED,
        "address": scrub.REMOVED,
    }


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("KeyError('\\n5512345678')", "KeyError('\\n[removed]')"),
        ("GET /x?who=%2B525512345678", "GET /x?who=%2B[removed]"),
        ("https://hooks.slack.com/services/T00/B00/XXXX", "https://hooks.slack.com/[removed]"),
        ("https://0123456789abcdef@sentry.io/1", "https://[removed]@sentry.io/1"),
        ('"password": "a\\"b c", "x": 1', '"password": [removed], "x": 1'),
        ("password='it\\'s me' host=db", "password=[removed] host=db"),
        ("aws wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY.", "aws [removed]."),
        ("aws wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws [removed]"),
        ("RFC GAR-850101-AB1, CURP GARC850101HDFRRL09", "RFC [removed], CURP [removed]"),
        ("CLABE 032180000118359719", "CLABE [removed]"),
    ],
)
def test_what_is_personal_goes_and_what_stands_around_it_stays(text: str, cleaned: str):
    assert queries.mask(text) == cleaned


# --- what is hidden, in a form that a pattern for the usual one does not see ---

CARD, CURP, RFC, MAIL, WORD = (
    "4111111111111111",
    "GARC850101HDFRRL09",
    "GAR850101AB1",
    "juan.perez@example.mx",
    "hunter2Xq",
)
GROUPS = ("4111", "1111", "1111", "1111")
SCRIPTS = {"Arabic": 0x660, "Devanagari": 0x966, "wide": 0xFF10, "mathematical": 0x1D7CE}


def in_script(text: str, zero: int) -> str:
    return "".join(chr(zero + int(sign)) if sign.isdigit() else sign for sign in text)


def wide(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) for sign in text)


HIDDEN: list[tuple[str, str]] = [
    *((f"x {in_script(one, zero)} y", in_script(one, zero)) for zero in SCRIPTS.values() for one in (CARD, CURP, RFC)),
    *((f"x {in_script('5512345678', zero)}", in_script("5512345678", zero)) for zero in SCRIPTS.values()),
    (wide(CURP), wide(CURP)),
    (MAIL.replace("@", "\uff20"), "juan"),
    *((sign.join(GROUPS), sign.join(GROUPS[1:])) for sign in ("\u200b", "\u00ad", "\u2060", "\u2013", "\u00a0")),
    *(
        (sign.join(GROUPS), sign.join(GROUPS[1:]))
        for sign in ("/", "_", ",", "\t", "\n", " - ", "\\n", "%20", "%2D", "%2520")
    ),
    ("3782/822463/10005", "822463"),
    *(
        (f"{'55'}{sign}1234{sign}5678", f"1234{sign}5678")
        for sign in ("\t", "/", "_", "+", " - ", "%20", "%2D", "&nbsp;", "\u200b")
    ),
    *((f"{word}5512345678", "5512345678") for word in ("tel", "cel", "phone", "telefono", "movil")),
    ("juan.perez\u200b@example.mx", "juan"),
    *(
        (MAIL.replace("@", at), "juan.perez")
        for at in ("%40", "%2540", "\\u0040", "\\x40", "&#64;", "&#x40;", "&commat;", " @ ")
    ),
    ('"juan perez"@example.mx', "juan"),
    ("juan@[10.0.0.7]", "juan"),
    ("jos\u00e9.mu\u00f1oz@espa\u00f1ol.mx", "mu"),
    (json.dumps("jos\u00e9.mu\u00f1oz@espa\u00f1ol.mx"), "jos"),
    (f"{'a' * 300}@example.mx", "aaaa"),
    *((CURP[:4] + gap + CURP[4:10] + gap + CURP[10:16] + gap + CURP[16:], CURP[4:10]) for gap in "-_ ."),
    (f"x{CURP}y", CURP),
    ("\u00d1ARC850101HDFRRL09", "850101"),
    ("GAR 850101 AB1", "850101 AB1"),
    ("G%26R850101AB1", "850101AB1"),
    ("G&amp;R850101AB1", "850101AB1"),
    ("GRRLRL85010109H100", "85010109"),
    *(
        (f"{name}{sign}{WORD}", WORD)
        for name in (
            *(
                "password",
                "passphrase",
                "contrase\u00f1a",
                "contrasen\u0303a",
                "contrasena",
                "contrase\\u00f1a",
                "contrase%C3%B1a",
            ),
            *("clave", "nip", "pin", "llave", "secreto", "jwt", "sid", "session_id", "csrf", "auth", "cvv", "cvc2"),
            *(
                "correo",
                "telefono",
                "tel\u00e9fono",
                "telefono_movil",
                "celular",
                "tarjeta",
                "numero_tarjeta",
                "clabe",
                "curp",
                "rfc",
            ),
            *(
                "nss",
                "domicilio",
                "direcci\u00f3n",
                "fecha_de_nacimiento",
                "nombre_completo",
                "apellido_paterno",
                "cuenta",
                "email",
            ),
        )
        for sign in ("=", ": ", " => ", "%3D")
    ),
    (json.dumps({"contrase\u00f1a": WORD, "tel\u00e9fono": "55-1"}), WORD),
    (json.dumps(json.dumps(json.dumps({"password": f"{WORD} Xq"}))), "Xq"),
    (f"('password', '{WORD}')", WORD),
    (f"[('Authorization', 'Basic {WORD}=='), ('a', 'b')]", WORD),
    (f"{{b'password': b'{WORD} two'}}", "two"),
    (f"password=SecretBytes(b'{WORD} two')", "two"),
    (f"{{'password': {{'value': ['{WORD}', ('b]', 'two')], 'old': 'three'}}, 'x': 1}}", "three"),
    (f"{{'password': ['{WORD}', 'second', ", "second"),
    (f'"password": "{WORD} cut off', "cut"),
    (f"<soap:password type='text'>{WORD}</soap:password>", WORD),
    (f"--password {WORD} --user x", WORD),
    (f"la contrase\u00f1a es {WORD}", WORD),
    (f"the password was {WORD}", WORD),
    (f"Bearer%20{WORD}{WORD}", WORD),
    (f"ApiKey {WORD}{WORD}==", WORD),
    (f"Cookie: a=b; theme=dark; other={WORD}", WORD),
    (f"https://s3.test/x?X-Amz-Signature={WORD}{WORD}", WORD),
    *(
        (f"use {start}{'aB3' * 12} now", "aB3")
        for start in ("whsec_", "sntrys_", "npm_", "pypi-", "SG.", "110201543:AA")
    ),
    ("u1234567-abcdef0123456789abcdef01", "abcdef"),
    (f"https://discord.com/api/webhooks/1234/{WORD}", WORD),
    (f"https://x.webhook.office.com/webhookb2/a@b/IncomingWebhook/{WORD}", WORD),
    ("select * from d where mail = $tag$Juan Qz7$tag$", "Juan"),
    ("call pay('Juan Qz7')", "Juan"),
    ("Failing row contains (7, Juan Qz7).", "Juan"),
    ('invalid input syntax for type uuid: "Juan Qz7"', "Juan"),
]


@pytest.mark.parametrize(("text", "secret"), HIDDEN, ids=[ascii(text)[1:60] for text, _ in HIDDEN])
def test_what_is_written_in_another_form_goes_too(text: str, secret: str):
    for around in ("{}", "before {} after", '{{"note": "{}"}}', "\n{}\n"):
        cleaned = queries.mask(around.format(text))
        assert secret not in cleaned, cleaned
        assert scrub.REMOVED in cleaned or "'?'" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "caf\u00e9 \u2014 \u00bd de la cuota, \u0663 intentos",
        "the token is expired, the password is required",
        "2021, 2022, 2023, 2024 and 2025",
        "24/11/2026 10:15 to 25/11/2026",
        "GET /api/v1/credits/C0000001/payments took 120 ms",
        "1764 rows in 12.5 s, p95 @ 0.3 s",
        "[1, 2, 3]",
        "page approvals, panel approval_rate_by_tier",
        "CURP rejected by metamap",
        "read 123456 of 654321 rows",
    ],
)
def test_texts_that_only_look_alike_stay(text: str):
    assert queries.mask(text) == text


def test_keys_are_read_as_people_write_them_and_values_whatever_they_are():
    told = {
        **dict.fromkeys(("contraseña", "Contraseña", "CONTRASENA", "ｐａｓｓｗｏｒｄ"), WORD),
        **dict.fromkeys(
            ("correo-electrónico", "Teléfono", "tarjeta_numero", "clabe", "NIP", "clave", "domicilio"), WORD
        ),
        **{b"password": WORD, "x": b"\xff hunter2Xq", ("a", MAIL): 1, "timestamp": 5512345678, "lineno": 5512345678},
        "span_id": CARD,
        "deep": [({"a": {MAIL, CARD}},)],
    }
    cleaned = repr(queries.mask_all(told))
    for secret in (WORD, MAIL, CARD, "5512345678"):
        assert secret not in cleaned
    once = iter([MAIL])
    assert queries.mask_all({"x": once})["x"] != [MAIL]
    assert next(once) == MAIL, "what would be used up by reading is not read"
    assert queries.mask_all({"span_id": "00f067aa0ba902b7", "timestamp": 1764045000.25, "lineno": 120}) == {
        **{"span_id": "00f067aa0ba902b7", "timestamp": 1764045000.25, "lineno": 120}
    }


def test_nested_data_loses_values_by_key_and_by_form_and_keeps_moments():
    told = {"ts": 1764045000, "phone": "1", "rows": [5512345678, {"time": 1764045000123}], "who": ("a@b.mx", None, 2.5)}
    assert queries.mask_all(told) == {
        **{"ts": 1764045000, "phone": "[removed]", "rows": ["[removed]", {"time": 1764045000123}]},
        "who": ["[removed]", None, 2.5],
    }


MORE_UNITS = (
    *('password="', 'password=\\"', "password=[", "password={'", "<password>", "-token ", "55%20", '"a"@', "\\u0040"),
    *("u1234567-", "4111-", "\u0665", "nombre es ", "$a$ select ", "tel5", "curp ", "x@[", "' select ", "GARC", "[["),
)


def test_a_long_text_is_cleaned_in_proportion_to_its_length():
    # Of this thread: the servers of other tests run beside it in the same process.
    start = time.thread_time()
    for unit in ("a", "1 ", "a.-", "@", "=", "password", "a@", "%40", "eyJ", "-eyJ", "1-", "55 ", *MORE_UNITS):
        scrub.Scrubber(["hunter2hunter2"]).text(unit * (60_000 // len(unit)))
    assert time.thread_time() - start < 5


def test_configured_secrets_and_stacks_are_cleaned_in_logs_and_each_record_is_one_line():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(telemetry.OneLine())
    handler.addFilter(telemetry.NoSecrets())
    logger = logging.Logger("mirador.test")
    logger.addHandler(handler)
    before = scrub.scrubber()
    scrub.know(["s3cr3t value"])
    try:
        raise ValueError("cannot reach postgresql://reader:pa55word@db\nwith s3cr3t value")
    except ValueError:
        logger.exception('asked "%s"', "juan@example.mx")
    finally:
        scrub._scrubber = before
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert "ValueError" in lines[0]
    assert "db" in lines[0]
    for secret in ("pa55word", "s3cr3t", "juan"):
        assert secret not in lines[0]


def test_a_log_call_with_wrong_arguments_is_told_without_them_and_breaks_nothing(capsys: pytest.CaptureFixture[str]):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(telemetry.OneLine())
    handler.addFilter(telemetry.NoSecrets())
    logger = logging.Logger("mirador.test")
    logger.addHandler(handler)
    logger.warning("asked %d times by %s", MAIL)
    assert "asked %d times" in out.getvalue()
    assert "juan" not in out.getvalue() + capsys.readouterr().err


def test_an_error_that_ends_a_thread_is_one_clean_line():
    program = (
        "import threading\nfrom app import telemetry\ntelemetry.start_logging()\n"
        f"def fail():\n    raise ValueError('{MAIL}')\n"
        "thread = threading.Thread(target=fail)\nthread.start()\nthread.join()\nfail()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert len(told) == 2, done.stderr
    assert all("ValueError" in line and "critical" in line for line in told)
    assert "juan" not in done.stderr


def test_failed_panels_and_pages_are_counted():
    telemetry.panel_failed("Counted panel", SourceError("Down.", kind="down", source="ledger"))
    telemetry.panel_drawn("Counted panel", "ok", 0.02)
    text = generate_latest(telemetry.registry).decode()
    assert 'mirador_panel_failures_total{kind="down",panel="Counted panel",source="ledger"} 1.0' in text
    assert 'mirador_panel_seconds_count{outcome="ok",panel="Counted panel"} 1.0' in text
