"""Errors: Sentry's API in its documented form, Bugsink for real, every failure a sentence, and the page.

No Sentry was asked: what it answers here are files in the form that it documents (`tests/answers/sentry`), given out by
a server on this machine. The tests that read them say so. Bugsink is the real program; it takes sentry-sdk's envelopes.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import sentry_sdk
from streamlit.testing.v1 import AppTest

import components
import queries
from app.auth import Viewer
from app.settings import Settings
from demo.tracker import Bugsink
from queries import Outside, SourceError, Sources, failures
from queries.errors_client import PAGE, BugsinkClient, IssueSearch, SentryClient
from tests.answering import Server, path_of, query_of, said
from tests.dashboard import chromium, chromium_path, serve, viewer

ANSWERS = Path(__file__).parent / "answers" / "sentry"
PAGES = Path(__file__).resolve().parent.parent / "pages"
ZONE = ZoneInfo("America/Mexico_City")
TOKEN = "sentry-token-that-nobody-reads"
ENGINEER = frozenset({"engineer"})
NOW = datetime(2026, 11, 25, 12, tzinfo=ZONE)
LAST_DAY = IssueSearch(NOW - timedelta(hours=24), NOW)
SECRETS = ("ana.perez", "4111", "PEAA900101", "very-secret", "tok_live", "192.168.1.1", "Ana Pérez")
SCRIPT = f"""
import streamlit as st
names = ("errors", "traces", "logs", "thread", "integrations")
st.navigation([st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in names], position="hidden").run()
"""


def answer(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


class Documented(Server):
    """Gives out the documented answers by path; `link` is the header that leads to other pages."""

    link = ""
    instead: Callable[[str], bytes | None] = staticmethod(lambda path: None)

    def _one(self, connection: Any) -> None:
        with connection:
            request = connection.recv(65536)
            self.asked.append(request)
            path = urlsplit(path_of(request)).path
            start = "/api/0/organizations/conductores/issues/"
            name = None
            if path.startswith(start):
                parts = path[len(start) :].strip("/").split("/")
                name = {1: "issue.json", 2: "events.json", 3: "event.json"}[len(parts)] if parts[0] else "issues.json"
            body = self.instead(path) or (answer(name) if name else None)
            headers = f"Link: {self.link}\r\n" if self.link else ""
            (said(body, headers=headers) if body else said(b"{}", "404 Not Found"))(connection)


@pytest.fixture
def documented() -> Iterator[Documented]:
    server = Documented()
    yield server
    queries.disconnect()
    server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    queries.disconnect()
    server.close()


def sentry(server: Server, **more: Any) -> SentryClient:
    return SentryClient(server.url, TOKEN, **{"organization": "conductores", "zone": ZONE, "timeout": 1.0, **more})


def bugsink_of(server: Server, **more: Any) -> BugsinkClient:
    return BugsinkClient(server.url, TOKEN, zone=ZONE, **{"timeout": 1.0, **more})


def connected(server: Server, **more: Any) -> None:
    outside = Outside(sentry_url=server.url, sentry_token=TOKEN, sentry_organization="conductores", **more)
    queries.connect(Sources(outside=outside, query_timeout=2.0))


# --- Sentry -----------------------------------------------------------------------------------------------------------


def test_by_sentrys_documented_form_an_issue_is_told_with_its_first_release(documented: Documented):
    frame = sentry(documented).issues(LAST_DAY)
    one = frame.iloc[0]
    assert list(frame["short_id"]) == ["BACKEND-1A", "BACKEND-2B"]
    assert (one["level"], one["status"], one["culprit"], one["project"]) == (
        "error", "unresolved", "POST /webhooks/conekta", "backend",
    )  # fmt: skip
    assert (int(one["count"]), int(one["users"])) == (37, 12)
    # First seen ever, not first seen in the period.
    assert one["first_seen"] == datetime(2026, 10, 2, 9, tzinfo=ZONE)
    assert one["last_seen"] == datetime(2026, 11, 25, 11, 55, 10, 250000, tzinfo=ZONE)
    assert one["first_release"] == "backend@2.3.0"
    assert one["url"] == "https://sentry.io/organizations/conductores/issues/4501/"
    assert f"Authorization: Bearer {TOKEN}".encode() in documented.asked[0]


def test_by_sentrys_documented_form_the_period_and_the_filters_are_asked_for(documented: Documented):
    search = replace(LAST_DAY, level="error", release="backend@2.4.1", integration="conekta", text="card declined")
    sentry(documented, project="backend").issues(search)
    asked = query_of(documented.asked[0])
    assert asked["start"] == ["2026-11-24T18:00:00Z"]
    assert asked["end"] == ["2026-11-25T18:00:00Z"]
    assert asked["sort"] == ["date"]
    assert asked["query"] == [
        'project:"backend" level:"error" release:"backend@2.4.1" integration:"conekta" "card declined"'
    ]
    sentry(documented, project="2").issues(LAST_DAY)
    assert any(query_of(request).get("project") == ["2"] for request in documented.asked)


def test_what_a_viewer_types_is_never_a_term_of_its_own(documented: Documented):
    search = replace(LAST_DAY, text='" is:resolved "*', integration='x" level:fatal "', request="a\\", cursor="")
    sentry(documented).issues(search)
    text = query_of(documented.asked[0]).get("query", [""])[0]
    assert text == 'integration:"x  level:fatal" request_id:"a" "is:resolved"'


def test_sentrys_link_header_leads_to_the_pages_beside_it(documented: Documented):
    documented.link = (
        '<https://sentry.io/api/0/x/?cursor=0:0:1>; rel="previous"; results="false"; cursor="0:0:1", '
        '<https://sentry.io/api/0/x/?cursor=0:50:0>; rel="next"; results="true"; cursor="0:50:0"'
    )
    frame = sentry(documented).issues(LAST_DAY)
    assert (frame.attrs["next"], frame.attrs["previous"]) == ("0:50:0", "")
    sentry(documented).issues(replace(LAST_DAY, cursor=frame.attrs["next"]))
    assert any(query_of(request).get("cursor") == ["0:50:0"] for request in documented.asked)
    assert query_of(documented.asked[0])["limit"] == [str(PAGE)]


def test_a_cursor_that_is_none_is_refused_before_anything_is_asked(documented: Documented):
    for client in (sentry(documented), bugsink_of(documented)):
        with pytest.raises(SourceError, match="place of a page"):
            client.events("4501", replace(LAST_DAY, cursor="0:50:0&project=9"))
        with pytest.raises(SourceError, match="not the id"):
            client.event("../../projects")
    assert documented.asked == []


def test_the_first_release_of_an_issue_is_asked_for_once(documented: Documented):
    client = sentry(documented)
    client.issues(LAST_DAY)
    asked = len(documented.asked)
    client.issues(LAST_DAY)
    assert len(documented.asked) == asked + 1


def test_a_list_stands_without_the_first_releases_that_do_not_come(documented: Documented):
    documented.instead = lambda path: b"[1]" if path.endswith(("/4501/", "/4502/")) else None
    frame = sentry(documented).issues(LAST_DAY)
    assert list(frame["first_release"]) == ["", ""]


def test_by_sentrys_documented_form_an_event_is_told_with_stack_and_way(documented: Documented):
    one = sentry(documented).event("4501")
    row = one.iloc[0]
    assert (row["release"], row["environment"], row["integration"], row["level"]) == (
        "backend@2.4.1", "production", "conekta", "error",
    )  # fmt: skip
    assert row["request_id"] == "5f0c1d7e9a4b4c0f8d2e6a1b3c5d7e9f"
    assert row["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    stack = failures.stack(one)
    # What was raised last stands first, and in it the innermost frame.
    assert [exception["type"] for exception in stack] == ["ConektaError", "HTTPError"]
    frame = stack[0]["frames"][0]
    assert (frame["file"], frame["line"], frame["function"], frame["in_app"], frame["code"]) == (
        "backend/conekta.py", 88, "charge", True, "raise ConektaError(code)",
    )  # fmt: skip
    assert (stack[0]["handled"], stack[1]["handled"]) == (False, True)
    crumbs = failures.breadcrumbs(one, ZONE)
    assert list(crumbs["category"]) == ["query", "httplib"]
    assert crumbs["at"].iloc[1] == datetime(2026, 11, 25, 11, 55, 9, 266586, tzinfo=ZONE)


def test_secrets_personal_data_and_local_variables_never_leave_the_client(documented: Documented):
    client = sentry(documented)
    told = [client.issues(LAST_DAY), client.events("4501", LAST_DAY), client.event("4501")]
    words = " ".join(frame.to_csv() for frame in told)
    for secret in SECRETS:
        assert secret not in words, secret
    assert "vars" not in words
    assert "[removed]" in words


def test_by_sentrys_documented_form_events_are_told_by_their_tags(documented: Documented):
    frame = sentry(documented).events("4501", replace(LAST_DAY, trace="4bf92f3577b34da6a3ce929d0e0e4736"))
    assert list(frame["release"]) == ["backend@2.4.1"] * 2
    assert frame["at"].iloc[0] == datetime(2026, 11, 25, 11, 55, 10, tzinfo=ZONE)
    assert query_of(documented.asked[0])["query"] == ['trace:"4bf92f3577b34da6a3ce929d0e0e4736"']


def test_events_over_time_fill_the_period_and_add_up(documented: Documented):
    found = sentry(documented).issues(LAST_DAY)
    counted = failures.over_time(found, LAST_DAY, ZONE)
    assert int(counted["n"].sum()) == 40
    assert set(counted["level"]) == {"error", "fatal"}
    times = counted["at"].drop_duplicates()
    assert (times.diff().dropna() == pd.Timedelta(hours=1)).all()
    assert times.min() < LAST_DAY.start + timedelta(hours=1)
    assert times.max() > LAST_DAY.end - timedelta(hours=1)
    assert failures.over_time(found.iloc[:0], LAST_DAY, ZONE).empty


def test_sentry_without_an_organization_says_which_setting():
    with pytest.raises(SourceError, match="MIRADOR_SENTRY_ORGANIZATION") as caught:
        SentryClient("http://127.0.0.1:9", TOKEN, organization="", zone=ZONE)
    assert caught.value.kind == "not_configured"


# --- whatever goes wrong ----------------------------------------------------------------------------------------------

WRONG = [
    (said(b"{}", "401 Unauthorized"), "refused", "check its token"),
    (said(b"{}", "403 Forbidden"), "refused", "check its token"),
    (said(b"{}", "404 Not Found"), "refused", "HTTP 404"),
    (said(b'{"detail": "secret"}', "400 Bad Request"), "refused", "HTTP 400"),
    (said(b"", "429 Too Many Requests"), "down", "asked too often"),
    (said(b"<html>secret</html>", "502 Bad Gateway"), "down", "failed (HTTP 502)"),
    (said(b"<html>Log in</html>"), "refused", "does not speak the API"),
    (said(b'[{"other": "secret"}]'), "refused", "does not speak the API"),
    (said(b'{"results": [{"other": "secret"}], "next": null}'), "refused", "does not speak the API"),
    (said(b"null"), "refused", "does not speak the API"),
    (said(b'"text"'), "refused", "does not speak the API"),
    (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[{"), "down", "broke off"),
    (lambda c: time.sleep(3), "timeout", "has not answered in time"),
]


@pytest.mark.parametrize(("wrong", "kind", "words"), WRONG, ids=[words for _, _, words in WRONG])
@pytest.mark.parametrize("make", [sentry, bugsink_of])
@pytest.mark.parametrize("ask", ["issues", "events", "event"])
def test_each_failure_is_a_sentence_in_time(
    server: Server, make: Callable[..., Any], ask: str, wrong: Any, kind: str, words: str
):
    server.answer = wrong
    # A busy machine must not take an answer for a silence.
    client = make(server, timeout=1.5)
    arguments = {"issues": (LAST_DAY,), "events": ("4501", LAST_DAY), "event": ("4501", "4502")}[ask]
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        getattr(client, ask)(*arguments)
    assert time.monotonic() - began < 5
    assert (caught.value.kind, caught.value.source) == (kind, "errors")
    assert words in caught.value.sentence
    assert "secret" not in caught.value.sentence
    assert TOKEN not in str(caught.value)


def test_a_slow_tracker_does_not_hold_the_list_for_its_details(documented: Documented, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("queries.errors_client.DETAIL_SECONDS", 0.5)
    documented.instead = lambda path: time.sleep(2) if path.endswith(("/4501/", "/4502/")) else None
    began = time.monotonic()
    frame = sentry(documented, timeout=5.0).issues(LAST_DAY)
    assert time.monotonic() - began < 1.5
    assert list(frame["first_release"]) == ["", ""]


def test_the_last_good_list_stands_with_its_age_while_the_tracker_fails_and_it_recovers(documented: Documented):
    connected(documented)
    first = failures.issues(LAST_DAY, ENGINEER)
    assert len(first) == 2
    documented.instead = lambda path: b"<html>"
    queries.forget("errors")
    with pytest.raises(SourceError):
        failures.issues(LAST_DAY, ENGINEER)
    documented.instead = lambda path: None
    until = time.monotonic() + 8
    while time.monotonic() < until:
        try:
            again = failures.issues(LAST_DAY, ENGINEER)
            break
        except SourceError:
            time.sleep(0.2)
    assert len(again) == 2
    assert queries.answer_of(again).error is None


def test_who_is_no_engineer_is_told_so_before_anything_is_asked(documented: Documented):
    connected(documented)
    for ask in (
        lambda: failures.issues(LAST_DAY, {"analyst", "executive"}),
        lambda: failures.events("4501", LAST_DAY, ()),
        lambda: failures.event("4501", "latest", frozenset({"executive"})),
    ):
        with pytest.raises(SourceError, match="engineers only"):
            ask()
    assert documented.asked == []


# --- Bugsink, for real ------------------------------------------------------------------------------------------------


def report(
    tracker: Bugsink, *, integration: str, release: str, times: int = 1, ago: timedelta = timedelta()
) -> list[tuple[str, str]]:
    """Send errors as the backend does, by sentry-sdk; the request id and trace id of each."""
    client = sentry_sdk.Client(
        dsn=tracker.dsn("conductores-backend"), release=release, environment="test", default_integrations=False
    )
    ids = []

    def charge(card: str) -> None:
        raise RuntimeError(f"{integration} refused the charge of ana.perez@example.com")

    for _number in range(times):
        scope = sentry_sdk.Scope()
        request, trace = uuid4().hex, uuid4().hex
        scope.set_tag("integration", integration)
        scope.set_tag("request_id", request)
        try:
            charge("4111111111111111")
        except RuntimeError as error:
            event, hint = sentry_sdk.utils.event_from_exception(error, client_options=client.options)
        event["timestamp"] = datetime.now(UTC) - ago
        event["contexts"] = {"trace": {"trace_id": trace, "span_id": uuid4().hex[:16]}}
        event["breadcrumbs"] = {
            "values": [{"timestamp": datetime.now(UTC).isoformat(), "category": "http", "message": "POST /charges"}]
        }
        client.capture_event(event, hint, scope=scope)
        ids.append((request, trace))
    client.close(timeout=10)
    return ids


def until_seen(ask: Callable[[], pd.DataFrame], times: int) -> pd.DataFrame:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        found = ask()
        if len(found) and int(found["count"].fillna(0).sum()) >= times:
            return found
        time.sleep(0.2)
    raise AssertionError("the events did not arrive")


def test_what_sentry_sdk_sends_to_a_real_bugsink_is_read_through_the_client(bugsink: Bugsink):
    integration = f"conekta{uuid4().hex[:8]}"
    ids = report(bugsink, integration=integration, release="backend@9.1.0", times=3)
    client = BugsinkClient(bugsink.url, bugsink.token, zone=ZONE, project="conductores-backend")
    now = datetime.now(ZONE)
    search = IssueSearch(now - timedelta(hours=24), now + timedelta(minutes=5), integration=integration)
    found = until_seen(lambda: client.issues(search), 3)
    assert len(found) == 1
    one = found.iloc[0]
    assert "refused the charge of [removed]" in one["title"]
    assert int(one["count"]) == 3
    assert (one["first_release"], one["status"], one["project"]) == (
        "backend@9.1.0", "unresolved", "conductores-backend",
    )  # fmt: skip
    assert sum(n for _at, n in json.loads(one["over_time"])) == 3
    events = client.events(one["issue_id"], search)
    assert len(events) == 3
    # One of the three, by its trace.
    own = client.events(one["issue_id"], replace(search, trace=ids[1][1]))
    assert len(own) == 1
    event = client.event(one["issue_id"], own["event_id"].iloc[0])
    row = event.iloc[0]
    assert (row["request_id"], row["trace_id"], row["integration"]) == (*ids[1], integration)
    frame = failures.stack(event)[0]["frames"][0]
    assert frame["file"].endswith("test_errors_page.py")
    assert frame["function"] == "charge"
    assert failures.breadcrumbs(event, ZONE)["message"].tolist() == ["POST /charges"]
    assert "ana.perez" not in event.to_csv()
    assert "4111" not in event.to_csv()
    # What does not fit is not told.
    assert client.issues(replace(search, release="backend@0.0.1")).empty
    assert client.issues(IssueSearch(search.start - timedelta(days=9), search.start)).empty
    assert client.ping() < 3


def test_errors_that_were_sent_late_are_counted_when_they_happened(bugsink: Bugsink, monkeypatch: pytest.MonkeyPatch):
    integration = f"geotab{uuid4().hex[:8]}"
    report(bugsink, integration=integration, release="backend@9.3.0", ago=timedelta(days=3))
    report(bugsink, integration=integration, release="backend@9.3.0", times=2, ago=timedelta(hours=6))
    report(bugsink, integration=integration, release="backend@9.3.0")
    client = BugsinkClient(bugsink.url, bugsink.token, zone=ZONE, project="conductores-backend")
    now = datetime.now(ZONE)
    search = IssueSearch(now - timedelta(hours=24), now + timedelta(minutes=5), integration=integration)
    found = until_seen(lambda: client.issues(search), 3)
    assert int(found["count"].sum()) == 3
    counted = failures.over_time(found, search, ZONE)
    by_age = {round((now - row.at).total_seconds() / 3600): int(row.n) for row in counted.itertuples() if row.n}
    assert len(by_age) == 2
    assert {age // 6: n for age, n in by_age.items()} in ({1: 2, 0: 1}, {1: 2, -1: 1})
    fine = client.issues(replace(search, step=600))
    assert {at % 600 for at, _n in json.loads(fine["over_time"].iloc[0])} == {0}
    assert failures.over_time(fine, replace(search, step=600), ZONE)["n"].sum() == 3
    # Of more events than a page holds the tracker's own counts are shown: when it took them in.
    monkeypatch.setattr("queries.errors_client.BUGSINK_PAGE", 3)
    told = client.issues(replace(search, step=600))
    assert int(told["count"].sum()) == 4
    assert told.attrs["step"] == 3600


# --- the page ---------------------------------------------------------------------------------------------------------


def page(monkeypatch: pytest.MonkeyPatch | None = None, who: Viewer | None = None, **asked: str) -> AppTest:
    if monkeypatch is not None:
        monkeypatch.setattr("app.auth.viewer", lambda settings: who)
    components.set_default_language("en")
    app = AppTest.from_string(SCRIPT, default_timeout=40)
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    return app


def words_of(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.title, app.code, app.info, app.warning)
    said_ = [str(one.value) for kind in kinds for one in kind]
    return "\n".join([*said_, *(frame.value.to_string() for frame in app.dataframe)])


def test_the_page_without_a_tracker_says_how_to_name_one():
    queries.connect(Sources())
    app = page()
    assert not app.exception
    assert "MIRADOR_SENTRY_URL" in words_of(app)
    queries.disconnect()


def test_by_sentrys_documented_form_the_page_lists_issues_and_keeps_its_choice_in_the_url(documented: Documented):
    connected(documented)
    app = page(level="error", integration="conekta", text="card", range="7d")
    assert not app.exception
    words = words_of(app)
    assert "card_declined for [removed]" in words
    assert "backend@2.3.0" in words
    asked = next(query_of(request) for request in documented.asked if "query" in query_of(request))
    assert asked["query"] == ['level:"error" integration:"conekta" "card"']
    assert app.query_params["text"] == "card"
    app.text_input(key="release").set_value("backend@2.4.1").run()
    assert app.query_params["release"] == "backend@2.4.1"


def test_by_sentrys_documented_form_an_issue_opens_to_its_event(documented: Documented):
    connected(documented)
    app = page(issue="4501")
    assert not app.exception
    words = words_of(app)
    assert "▶ backend/conekta.py:88  charge" in words
    assert "5f0c1d7e9a4b4c0f8d2e6a1b3c5d7e9f" in words
    for secret in SECRETS:
        assert secret not in words, secret


def test_by_sentrys_documented_form_the_only_issue_of_a_trace_opens_at_once(documented: Documented):
    one = json.dumps(json.loads(answer("issues.json"))[:1]).encode()
    documented.instead = lambda path: one if path.endswith("/issues/") else None
    connected(documented)
    app = page(trace="4bf92f3577b34da6a3ce929d0e0e4736")
    assert "▶ backend/conekta.py:88  charge" in words_of(app)


def test_a_tracker_that_is_down_is_one_sentence_a_panel(server: Server):
    server.answer = said(b"", "503 Busy")
    connected(server)
    app = page()
    assert not app.exception
    assert "Sentry failed (HTTP 503)." in words_of(app)


def test_who_is_no_engineer_sees_none_of_it(documented: Documented, monkeypatch: pytest.MonkeyPatch):
    connected(documented)
    app = page(monkeypatch, Viewer("x", frozenset({"executive"})), issue="4501")
    assert "engineers only" in words_of(app)
    assert documented.asked == []


def test_each_text_of_the_page_and_of_its_sources_has_its_spanish():
    components.set_default_language("es")
    for name in ("Sentry", "Bugsink"):
        for sentence in (
            f"{name} has not answered in time.",
            f"{name} cannot be reached.",
            f"{name} failed (HTTP 503).",
            f"{name} does not let Mirador in (HTTP 401): check its token.",
            f"What answers at MIRADOR_SENTRY_URL does not speak the API of {name}.",
        ):
            assert components._(sentence) != sentence
    # The same in both languages.
    same = {"fatal", "error"}
    for call in ast.walk(ast.parse((PAGES / "errors.py").read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_":
            for text in call.args:
                if isinstance(text, ast.Constant) and text.value not in same:
                    assert components._(text.value) != text.value, text.value
    assert Settings.model_fields["sentry_api"].default == "sentry"


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="no Chromium on this machine")
def test_from_the_list_of_issues_to_the_line_of_code_on_a_real_tracker(bugsink: Bugsink, tmp_path: Path):
    integration = f"neon{uuid4().hex[:8]}"
    report(bugsink, integration=integration, release="backend@9.2.0", times=2)
    env = {
        "MIRADOR_SENTRY_URL": bugsink.url,
        "MIRADOR_SENTRY_TOKEN": bugsink.token,
        "MIRADOR_SENTRY_API": "bugsink",
        "MIRADOR_SENTRY_PROJECT": "conductores-backend",
    }
    with serve(tmp_path, env) as dashboard, chromium() as browser, viewer(browser) as window:
        window.open(f"{dashboard.url}/errors?integration={integration}")
        window.wait_for_text("Problemas")
        window.drawn()
        row = window.page.locator('[data-testid="stDataFrame"] canvas').first
        row.click(position={"x": 18, "y": 52}, force=True)
        window.wait_for_text("refused the charge of [removed]")
        window.wait_for_text("Pila")
        assert "issue=" in window.page.url
        assert "charge" in window.text()
        assert "ana.perez" not in window.page.content()
        window.assert_clean()
