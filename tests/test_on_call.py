"""Who is called, and what is seen from outside: PagerDuty and UptimeRobot.

Neither service was asked: what they answer here are files in the form that each documents (`tests/answers`), given out
by a server on this machine. The tests that read them say so.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import components
import queries
from app.auth import Viewer
from app.settings import Settings
from queries import alerts as told
from queries.errors import SourceError
from queries.pagerduty_client import PagerDutyClient
from queries.uptimerobot_client import UptimeRobotClient, component_of
from tests.answering import Server, said

ANSWERS = Path(__file__).parent / "answers"
ZONE = ZoneInfo("America/Mexico_City")
TOKEN, KEY = "pd-token-that-nobody-reads", "ur1-a-key-that-nobody-reads"
ENGINEER = frozenset({"engineer"})
NOW = datetime(2026, 11, 25, 12, tzinfo=ZONE)
DAYS = (date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25))
PAGES = Path(__file__).resolve().parent.parent / "pages"
SCRIPT = f"""
import streamlit as st
st.navigation(
    [st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in ("alerts", "runbooks", "integrations", "api_health")],
    position="hidden",
).run()
"""


def answer(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


def path_of(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode()


def request_of(connection: Any) -> bytes:
    """The whole request: head and body may come in two pieces."""
    request = connection.recv(65536)
    if b"Content-Length: " in request and request.endswith(b"\r\n\r\n"):
        request += connection.recv(65536)
    return bytes(request)


class Documented(Server):
    """Gives out the documented answers by path."""

    def _one(self, connection: Any) -> None:
        with connection:
            request = request_of(connection)
            self.asked.append(request)
            path = path_of(request)
            name = next(
                (
                    file
                    for prefix, file in (
                        ("/oncalls", "pagerduty/oncalls.json"),
                        ("/schedules/PI7DH85", "pagerduty/schedule.json"),
                        ("/escalation_policies/PT20YPA", "pagerduty/escalation_policy.json"),
                        ("/v2/getMonitors", "uptimerobot/monitors.json"),
                    )
                    if path.startswith(prefix)
                ),
                None,
            )
            (said(answer(name)) if name else said(b"{}", "404 Not Found"))(connection)


@pytest.fixture
def documented() -> Iterator[Documented]:
    server = Documented()
    yield server
    server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def pagerduty(server: Server, **more: Any) -> PagerDutyClient:
    kept = {"schedule": "PI7DH85", "policy": "PT20YPA", "timeout": 1.0, **more}
    return PagerDutyClient(server.url, TOKEN, zone=ZONE, **kept)


def uptimerobot(server: Server, **more: Any) -> UptimeRobotClient:
    return UptimeRobotClient(server.url, KEY, zone=ZONE, **{"timeout": 1.0, **more})


# --- PagerDuty --------------------------------------------------------------------------------------------------------


def test_by_the_documented_form_who_is_on_call_now_is_told_by_level(documented: Documented):
    frame = pagerduty(documented).on_calls()
    assert list(frame["level"]) == [1, 2, 3]
    assert list(frame["person"]) == ["Abel Rincón", "Berta Solís", "Carla Mondragón"]
    assert list(frame["schedule"]) == ["Primary", "Secondary", ""]
    assert frame["ends_at"].iloc[0] == datetime(2026, 11, 30, 9, tzinfo=ZONE)
    assert str(frame["ends_at"].dt.tz) == ZONE.key
    # No end: always on call.
    assert pd.isna(frame["ends_at"].iloc[2])
    request = documented.asked[0].decode()
    assert f"Authorization: Token token={TOKEN}" in request
    assert "Accept: application/vnd.pagerduty+json;version=2" in request
    assert "escalation_policy_ids%5B%5D=PT20YPA" in request
    assert "schedule_ids" not in request


def test_by_the_documented_form_the_next_shift_is_the_next_persons(documented: Documented):
    frame = pagerduty(documented).shifts(NOW)
    assert list(frame["person"]) == ["Abel Rincón", "Berta Solís", "Abel Rincón"]
    following = told.next_shift(frame, NOW)
    assert following is not None
    assert following["person"] == "Berta Solís"
    assert following["starts_at"] == datetime(2026, 11, 30, 9, tzinfo=ZONE)
    # Handed over on Monday at 9:00; at that moment the shift is no longer the next one.
    after = told.next_shift(frame, datetime(2026, 11, 30, 9, tzinfo=ZONE))
    assert after is not None
    assert after["person"] == "Abel Rincón"
    assert told.next_shift(frame, datetime(2026, 12, 8, tzinfo=ZONE)) is None
    assert "until=2026-12-23" in path_of(documented.asked[0])


def test_by_the_documented_form_a_level_is_called_when_those_before_it_did_not_answer(documented: Documented):
    frame = pagerduty(documented).levels()
    assert list(zip(frame["level"], frame["after_minutes"], frame["target"], frame["kind"], strict=True)) == [
        (1, 0, "Primary", "schedule"),
        (2, 15, "Secondary", "schedule"),
        (2, 15, "Dora Arce", "person"),
        (3, 30, "Carla Mondragón", "person"),
    ]


def test_without_a_schedule_or_a_policy_nothing_is_asked_for_them(documented: Documented):
    client = pagerduty(documented, schedule="", policy="")
    assert client.shifts(NOW).empty
    assert client.levels().empty
    assert not documented.asked
    assert len(client.on_calls()) == 3


def test_nobody_on_call_is_an_empty_frame_with_its_columns(server: Server):
    server.answer = said(b'{"oncalls": [], "limit": 100, "offset": 0, "more": false, "total": null}')
    frame = pagerduty(server).on_calls()
    assert frame.empty
    assert str(frame["ends_at"].dt.tz) == ZONE.key


# --- UptimeRobot ------------------------------------------------------------------------------------------------------


def test_by_the_documented_form_monitors_have_a_state_and_their_uptime_by_day(documented: Documented):
    frame = uptimerobot(documented).monitors(DAYS)
    api = frame[frame["monitor"] == "Conductores API"]
    assert list(api["component"]) == ["api"] * 3
    assert list(api["state"]) == ["up"] * 3
    assert list(api["uptime"]) == pytest.approx([1.0, 0.9993, 0.98611])
    assert list(api["day"]) == [pd.Timestamp(day) for day in DAYS]
    states = frame.drop_duplicates("monitor").set_index("monitor")["state"]
    assert dict(states) == {
        "Conductores API": "up",
        "Conekta": "down",
        "Company website": "paused",
        "NEON disbursements": "seems_down",
    }
    website = frame[frame["monitor"] == "Company website"]
    # Days before it was made are no outage.
    assert [math.isnan(share) for share in website["uptime"]] == [True, True, False]
    neon = frame[frame["monitor"] == "NEON disbursements"]
    assert len(neon) == 1
    assert pd.isna(neon["day"].iloc[0])
    sent = json.loads(documented.asked[0].split(b"\r\n\r\n", 1)[1])
    assert sent["api_key"] == KEY
    begin = int(datetime(2026, 11, 23, tzinfo=ZONE).timestamp())
    assert sent["custom_uptime_ranges"].startswith(f"{begin}_{begin + 86400}-")
    # An address is written into logs on the way.
    assert KEY not in path_of(documented.asked[0])
    whole = told.uptime_by_monitor(frame)
    assert list(whole["monitor"]) == ["Conekta", "NEON disbursements", "Conductores API", "Company website"]
    assert whole.set_index("monitor")["days"].to_dict()["Company website"] == 1


class Many(Server):
    """An account with 120 monitors, 50 to an answer."""

    def _one(self, connection: Any) -> None:
        with connection:
            first = json.loads(request_of(connection).split(b"\r\n\r\n", 1)[1])["offset"]
            some = [{"friendly_name": f"m{n}", "status": 2} for n in range(first, min(first + 50, 120))]
            said(json.dumps({"stat": "ok", "pagination": {"total": 120}, "monitors": some}).encode())(connection)


def test_more_monitors_than_one_answer_holds_are_asked_for_in_pages():
    server = Many()
    frame = uptimerobot(server).monitors(())
    server.close()
    assert len(frame) == 120
    assert frame["monitor"].is_unique


def test_by_the_documented_form_a_refusal_comes_with_200_and_its_words_with_the_key_stay_inside(server: Server):
    server.answer = said(answer("uptimerobot/refused.json"))
    with pytest.raises(SourceError, match="check its key") as caught:
        uptimerobot(server).monitors(DAYS)
    assert caught.value.kind == "refused"
    assert KEY not in str(caught.value)


def test_a_monitor_belongs_to_the_component_whose_word_is_in_its_name():
    names = {"Geotab (cloud)": "geotab", "API backend": "api", "capital": "", "neon-prod": "neon", "": ""}
    assert {name: component_of(name) for name in names} == names


# --- what either can do to a page -------------------------------------------------------------------------------------

CLIENTS = {
    "on call": (pagerduty, lambda client: client.on_calls(), "oncall"),
    "shifts": (pagerduty, lambda client: client.shifts(NOW), "oncall"),
    "levels": (pagerduty, lambda client: client.levels(), "oncall"),
    "monitors": (uptimerobot, lambda client: client.monitors(DAYS), "uptime"),
}


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b'{"error": {"message": "secret of theirs"}}', "refused"),
        ("404 Not Found", b"{}", "refused"),
        ("429 Too Many Requests", b"", "down"),
        ("500 Internal Server Error", b"secret of theirs", "down"),
        ("503 Service Unavailable", b"<html>", "down"),
        ("200 OK", b"<html>secret of theirs</html>", "refused"),
        ("200 OK", b"[]", "refused"),
        ("200 OK", b"3", "refused"),
        ("200 OK", b"", "refused"),
        ("200 OK", b'{"oncalls": [{}], "schedule": {}, "escalation_policy": 3, "stat": "ok"}', "refused"),
        ("200 OK", b'{"oncalls": [{"user": null, "escalation_level": "x"}], "stat": "ok", "monitors": [3]}', "refused"),
        ("302 Found", b"", "refused"),
    ],
)
def test_a_wrong_answer_is_one_sentence_of_our_own(server: Server, name: str, status: str, body: bytes, kind: str):
    server.answer = said(body, status)
    make, ask, source = CLIENTS[name]
    with pytest.raises(SourceError) as caught:
        ask(make(server))
    assert caught.value.kind == kind
    assert caught.value.source == source
    for secret in (TOKEN, KEY, "secret of theirs"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_slow_server_costs_no_more_than_its_bound(server: Server, name: str):
    server.answer = lambda connection: time.sleep(3)
    make, ask, _source = CLIENTS[name]
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        ask(make(server, timeout=0.4))
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 1.5


def test_the_last_good_answer_is_shown_while_pagerduty_fails_and_the_new_one_when_it_is_back(documented: Documented):
    outside = queries.Outside(
        pagerduty_token=TOKEN, pagerduty_url=documented.url, pagerduty_escalation_policy="PT20YPA"
    )
    queries.connect(queries.Sources(outside=outside))
    try:
        assert len(told.on_calls(ENGINEER)) == 3
        serve, documented._one = documented._one, lambda connection: connection.close()  # type: ignore[method-assign]
        queries.forget("oncall")
        with pytest.raises(SourceError):
            told.on_calls(ENGINEER)
        documented._one = serve  # type: ignore[method-assign]
        until = time.monotonic() + 10
        while True:
            try:
                assert len(told.on_calls(ENGINEER)) == 3
                break
            except SourceError:
                assert time.monotonic() < until
                time.sleep(0.2)
    finally:
        queries.disconnect()


# --- the page ---------------------------------------------------------------------------------------------------------


def page(view: str, language: str = "en") -> AppTest:
    components.set_default_language(language)
    app = AppTest.from_string(SCRIPT, default_timeout=30)
    app.query_params["view"] = view
    app.run()
    assert not app.exception, app.exception
    return app


def words(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.markdown, *app.caption, *app.text, *app.error, *app.warning])


@pytest.fixture
def configured(documented: Documented, monkeypatch: pytest.MonkeyPatch) -> Iterator[Documented]:
    given = Settings(
        pagerduty_token=TOKEN,
        pagerduty_url=documented.url,
        pagerduty_schedule="PI7DH85",
        pagerduty_escalation_policy="PT20YPA",
        uptimerobot_key=KEY,
        uptimerobot_url=documented.url,
    )
    monkeypatch.setattr("app.settings.settings", lambda: given)
    from app.settings import sources_of

    queries.connect(sources_of(given))
    yield documented
    queries.disconnect()


def test_an_engineer_reads_who_is_on_call_until_when_and_who_is_next(configured: Documented):
    read = words(page("on_call"))
    for said_ in ("Abel Rincón", "Level 1", "until", "Carla Mondragón", "always", "Level 3"):
        assert said_ in read
    spanish = words(page("on_call", "es"))
    for said_ in ("Nivel 1", "hasta", "siempre", "Política de escalamiento de la empresa", "CTO"):
        assert said_ in spanish, spanish


def test_who_is_no_engineer_reads_no_name_and_pagerduty_is_not_asked(
    configured: Documented, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.auth.viewer", lambda settings: Viewer("ana", frozenset({"analyst"})))
    read = words(page("on_call"))
    assert "shown to engineers" in read
    assert "Primary on-call engineer" in read
    assert "Abel" not in read
    # Nor when a page forgets to look.
    for names in (told.on_calls, told.shifts, told.levels):
        with pytest.raises(SourceError, match="shown to engineers"):
            names(frozenset({"analyst", "executive"}))
    assert not configured.asked


def test_no_name_reaches_the_log(configured: Documented, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("DEBUG"):
        page("on_call")
    assert "Rincón" not in caplog.text
    assert TOKEN not in caplog.text


def test_what_is_not_configured_says_in_one_quiet_line_how_to():
    queries.connect(queries.Sources())
    try:
        on_call, uptime = words(page("on_call")), words(page("uptime"))
        assert on_call.count("MIRADOR_PAGERDUTY_TOKEN") == 1
        assert "Primary on-call engineer" in on_call
        assert uptime.count("MIRADOR_UPTIMEROBOT_KEY") == 1
        assert "define MIRADOR_PAGERDUTY_TOKEN" in words(page("on_call", "es"))
    finally:
        queries.disconnect()


def test_monitors_from_outside_stand_on_the_page_with_their_states(configured: Documented):
    app = page("uptime")
    (frame,) = [one.value for one in app.dataframe if "monitor" in one.value]
    assert set(frame["state"]) == {"up", "down", "paused", "seems down"}


def test_times_are_told_in_the_configured_zone(documented: Documented):
    frame = PagerDutyClient(documented.url, TOKEN, zone=ZoneInfo("UTC"), schedule="PI7DH85").shifts(NOW)
    assert frame["ends_at"].iloc[0] == datetime(2026, 11, 30, 15, tzinfo=UTC)
    assert frame["ends_at"].iloc[0].utcoffset() == timedelta(0)
