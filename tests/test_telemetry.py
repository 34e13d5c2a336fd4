"""Nothing personal and no secret leaves by a log line or an error report, and failures are counted."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from app import telemetry
from queries import SourceError, scrub

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_TOKEN = _UPPER + _UPPER.lower() + _DIGITS + "._-"


class _Kept(Transport):
    """Keeps what would have been sent."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[bytes] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope.serialize())


@pytest.fixture(scope="module")
def sent() -> Iterator[_Kept]:
    transport = _Kept()
    telemetry.start_sentry("https://key@sentry.invalid/1", environment="test", transport=transport)
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.init()


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
    card = draw(st.sampled_from(["", " ", "-"])).join(digits[i : i + 4] for i in range(0, 16, 4))
    return card, card


@st.composite
def phones(draw: st.DrawFn) -> tuple[str, str]:
    a, b, c = draw(_text("123456789", 2)), draw(_text(_DIGITS, 4)), draw(_text(_DIGITS, 4))
    form = draw(
        st.sampled_from(["{a}{b}{c}", "{a} {b} {c}", "+52 {a} {b} {c}", "+52{a}{b}{c}", "({a}) {b}-{c}", "{a}-{b}-{c}"])
    )
    return form.format(a=a, b=b, c=c), form.format(a=a, b=b, c=c)


# Each: (text that holds it, the part that must not leave).
personal = st.one_of(
    st.emails().map(lambda mail: (mail, mail)),
    phones(),
    cards(),
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


@settings(max_examples=80, deadline=None)
@given(
    found=personal,
    before=st.sampled_from(["", " ", "x = ", '"', "(", "user: ", "ñ "]),
    after=st.sampled_from(["", " ", '"', ")", ", and more", ".", "\n"]),
)
def test_no_personal_data_leaves_in_an_error_report(sent: _Kept, found: tuple[str, str], before: str, after: str):
    text, secret = found
    written = json.dumps(secret)[1:-1]
    for place, event in _places(f"{before}{text}{after}").items():
        sent.envelopes.clear()
        sentry_sdk.capture_event(event)
        assert sent.envelopes, place
        body = b"".join(sent.envelopes).decode()
        assert secret not in body, (place, body)
        assert written not in body, (place, body)


def test_an_error_report_keeps_what_explains_the_error(sent: _Kept):
    sent.envelopes.clear()
    telemetry._reported.clear()
    secret_of_a_local = "juan.perez@example.mx"
    try:
        raise SourceError(f"The ledger refused {secret_of_a_local}.", kind="refused", source="ledger", query="a/b")
    except SourceError as error:
        telemetry.panel_failed("Approval rate", error)
        telemetry.panel_failed("Approval rate", error)
    assert len(sent.envelopes) == 1, "the same failure is reported once for a while"
    event = json.loads(sent.envelopes[0].split(b"\n")[2])
    assert event["tags"] == {"panel": "Approval rate", "source": "ledger", "kind": "refused", "query": "a/b"}
    [raised] = event["exception"]["values"]
    assert raised["type"] == "SourceError"
    assert raised["value"] == "The ledger refused [removed]."
    frame = raised["stacktrace"]["frames"][-1]
    assert frame["function"] == "test_an_error_report_keeps_what_explains_the_error"
    assert "vars" not in frame
    assert "abs_path" not in frame
    assert "sys.argv" not in json.dumps(event)


def test_a_source_that_is_not_configured_is_no_error_to_report(sent: _Kept):
    sent.envelopes.clear()
    telemetry.panel_failed("Errors", SourceError("Not configured.", kind="not_configured", source="metrics"))
    assert not sent.envelopes


@pytest.mark.parametrize(
    "text",
    [
        "took 1234 ms at 2026-11-24T15:22:33.123456+00:00",
        "2026-11-24 15:22:33,123",
        "$1,234,567.89 of 12,345,678",
        "listening on 127.0.0.1:8501",
        "basic authentication takes both",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str):
    assert scrub.Scrubber().text(text) == text


def test_a_long_text_is_cleaned_in_proportion_to_its_length():
    start = time.process_time()
    for unit in ("a", "1 ", "a.-", "@", "=", "password", "a@", "%40", "eyJ", "-eyJ", "1-", "55 "):
        scrub.Scrubber(["hunter2hunter2"]).text(unit * (60_000 // len(unit)))
    assert time.process_time() - start < 5


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


def test_failed_panels_and_pages_are_counted():
    telemetry.panel_failed("Counted panel", SourceError("Down.", kind="down", source="ledger"))
    telemetry.panel_drawn("Counted panel", "ok", 0.02)
    text = generate_latest(telemetry.registry).decode()
    assert 'mirador_panel_failures_total{kind="down",panel="Counted panel",source="ledger"} 1.0' in text
    assert 'mirador_panel_seconds_count{outcome="ok",panel="Counted panel"} 1.0' in text
