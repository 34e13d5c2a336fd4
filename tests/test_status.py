"""The public status page: true, escaped, without anything of the inside, and there when its sources are not."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

import queries
from app import incidents, state, status
from app.settings import Settings
from app.status import StatusBoard, load_parts, save_parts, status_routes, subscriber_kinds
from components import i18n
from queries import incidents as told
from tests.conftest import ROOT, drop_ledger, new_ledger
from tests.dashboard import chromium, chromium_path, serve
from tests.test_events import ANALYST, ENGINEER, TOKEN, Hooks, tell
from tests.test_incidents import one

ZONE = ZoneInfo("America/Mexico_City")
KINDS = ("/status", "/status.json", "/status.atom", "/status.rss")
NOW = datetime.now(UTC)
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def state_url(postgres) -> Iterator[str]:
    """A migrated state database."""
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@pytest.fixture
def kept(state_url, tmp_path) -> Iterator[Settings]:
    """Settings with an empty state database, no Prometheus, and a file for the last good state."""
    engine = create_engine(state_url)
    with engine.begin() as owner:
        owner.execute(text("truncate mirador.incidents, mirador.status_overrides, mirador.events cascade"))
    engine.dispose()
    queries.connect(queries.Sources(state_url=state_url))
    queries.forget("state")
    yield Settings(state_url=state_url, hook_token=TOKEN, status_file=tmp_path / "status.json")
    queries.disconnect()


class Page:
    """The routes of one process, asked as a browser would."""

    def __init__(self, settings: Settings) -> None:
        self.board = StatusBoard(settings)
        self.app = Starlette(routes=status_routes(settings, self.board))

    async def ask(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://mirador") as client:
            return await client.request(
                method, path, headers={name.replace("_", "-"): v for name, v in headers.items()}
            )

    def get(self, path: str = "/status", **headers: str) -> httpx.Response:
        async def work() -> httpx.Response:
            return await self.ask(path, **headers)

        return anyio.run(work)

    def fresh(self, path: str = "/status", **headers: str) -> httpx.Response:
        self.board.forget()
        return self.get(path, **headers)


def recent(fingerprint: str = "f1", *, component: str = "api", ended: float | None = None, **more) -> dict:
    """An alert that began half an hour ago; `ended` in minutes before now."""
    made = one(fingerprint, component=component, **more)
    made["startsAt"] = (NOW - timedelta(minutes=30)).isoformat()
    if ended is not None:
        made |= {"status": "resolved", "endsAt": (NOW - timedelta(minutes=ended)).isoformat()}
    return made


# --- incidents --------------------------------------------------------------------------------------------------------


def test_an_incident_stands_on_the_page_until_it_ends_and_then_among_the_past(kept):
    page = Page(kept)
    assert page.get("/status.json").json()["incidents"] == []
    tell(Hooks(kept), recent())
    body = page.fresh("/status.json").json()
    assert (body["status"], body["incidents"][0]["status"]) == ("degraded", "investigating")
    assert body["components"][0] | {"days": []} == {
        "id": "api",
        "name": {"es": "API Backend", "en": "API Backend"},
        "status": "degraded",
        "uptime_30_days": None,
        "uptime_90_days": None,
        "days": [],
    }
    assert [one["id"] for one in body["components"]] == [
        "api",
        "database",
        "cache",
        "geotab",
        "conekta",
        "metamap",
        "neon",
    ]
    assert "Fallas en API Backend" in page.get(accept_language="es-MX,es;q=0.9").text
    assert "Problems with API Backend" in page.get(accept_language="en-US").text
    tell(Hooks(kept), recent(ended=5))
    html = page.fresh("/status?lang=en").text
    assert html.index("Past incidents") < html.index("Problems with API Backend")
    assert page.get("/status.json").json()["incidents"][0]["status"] == "resolved"


def test_nothing_of_the_inside_is_told(kept):
    tell(Hooks(kept), recent(), recent("f2", component="mirador"), recent("f3", component=None, name="DiskFull"))
    page = Page(kept)
    for path in KINDS:
        body = page.get(path).text
        for word in ("backend-7", "8000", "HighErrorRate", "prometheus", "MIRADOR_", "mirador", "DiskFull", "critical"):
            assert word not in body.replace("tag:mirador", ""), (path, word)


def test_a_title_for_the_public_and_an_engineers_words_stand_in_both_languages(kept):
    annotations = {"summary": "s", "public_title": "Payments are slow", "public_title_es": "Los pagos tardan"}
    tell(Hooks(kept), recent(annotations=annotations))
    number = int(told.open_incidents()["id"].iloc[0])
    said = {"public_en": "A <b>switch</b> failed.", "public_es": "Falló un <b>switch</b>.", "note": "rack 7"}
    incidents.write_update(kept, ENGINEER, number, status="identified", impact="outage", **said, once="1")
    page = Page(kept)
    spanish, english = page.get("/status?lang=es").text, page.get("/status?lang=en").text
    assert "Los pagos tardan" in spanish
    assert "Falló un &lt;b&gt;switch&lt;/b&gt;." in spanish
    assert "Payments are slow" in english
    assert "Identified" in english
    assert "rack 7" not in spanish + english
    assert page.get("/status.json").json()["status"] == "outage"
    feed = ElementTree.fromstring(page.get("/status.atom?lang=en").text)
    assert feed.find(f"{ATOM}entry/{ATOM}title").text == "Payments are slow (Identified)"
    assert "A <b>switch</b> failed." in feed.find(f"{ATOM}entry/{ATOM}content").text
    channel = ElementTree.fromstring(page.get("/status.rss?lang=en").text).find("channel")
    assert channel.find("item/title").text == "Payments are slow (Identified)"


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words += data


def parts_with(title: str, words: str) -> status.Parts:
    now = datetime.now(UTC)
    update = {"kind": "update", "status": "identified", "created_at": now.isoformat()}
    known = {
        "id": 1,
        "component": "api",
        "impact": "degraded",
        "status": "identified",
        "started_at": (now - timedelta(hours=1)).isoformat(),
        "ended_at": None,
        "public_en": title,
        "public_es": title,
        "updates": [{**update, "public_en": words, "public_es": words}],
    }
    return {"incidents": {"at": now.timestamp(), "told": {"list": [known], "overrides": []}}}


PLAIN = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cn", "Co", "Zl", "Zp", "Cf")), min_size=1, max_size=60)
HOSTILE = st.sampled_from(
    ("<script>alert(1)</script>", '"><img src=x onerror=1>', "]]>&lt;", "{{ 7*7 }}{% raw %}", "%(x)s %s", "'\"&<>")
)


@given(title=PLAIN | HOSTILE, words=PLAIN | HOSTILE)
@examples(max_examples=60, deadline=None)
def test_whatever_a_title_holds_it_is_text(title, words):
    now = datetime.now(UTC)
    view = status.view(parts_with(title, words), "en", ZONE, now)
    plain = Tags(status.page("status.html", "en", told=view, kinds=("email",), other="es"))
    usual = Tags(
        status.page(
            "status.html", "en", told=status.view(parts_with("a", "b"), "en", ZONE, now), kinds=("email",), other="es"
        )
    )
    assert plain.tags == usual.tags
    assert title.strip() in plain.words
    assert words.strip() in plain.words
    for kind in ("atom", "rss"):
        ElementTree.fromstring(
            status.page(f"status.{kind}", "en", told=view, feed=view["open"], base="https://x", host="x", now=now)
        )
    assert json.loads(status.as_json(view, view))["incidents"][0]["title"]["en"] == title


# --- how it is given --------------------------------------------------------------------------------------------------


def test_headers_keep_it_plain_cached_and_by_itself(kept):
    page = Page(kept)
    for path in KINDS:
        answer = page.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"].startswith("public, max-age=5")
        assert "set-cookie" not in answer.headers
        again = page.get(path, if_none_match=answer.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")
    html = page.get().text
    assert "<script" not in html
    assert " style=" not in html
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    assert style == status.style()


@pytest.mark.parametrize(
    ("asked", "header", "language"),
    [
        ("", "en-US,en;q=0.9", "en"),
        ("", "es-MX", "es"),
        ("", "fr;q=1, en;q=0.4, es;q=0.5", "es"),
        ("", "de", "es"),
        ("", "", "es"),
        ("", "en;q=0", "es"),
        ("", "q;;=,,en;q=x", "es"),
        ("?lang=en", "es", "en"),
        ("?lang=xx", "en", "en"),
    ],
)
def test_the_language_is_the_links_then_the_browsers(kept, asked, header, language):
    answer = Page(kept).get(f"/status{asked}", accept_language=header)
    assert f'<html lang="{language}">' in answer.text
    assert answer.headers["content-language"] == language


def test_every_text_has_its_spanish():
    found = set()
    for path in [*status.TEMPLATES.glob("*"), ROOT / "app" / "status.py"]:
        found |= set(re.findall(r'\b(?:_|say)\(\s*"([^"]+)"', path.read_text()))
    spanish = i18n._translations("es")
    assert len(found) > 40
    assert {words for words in found if spanish.gettext(words) == words and words != "Webhook"} == set()


def test_however_many_ask_it_is_worked_out_once(kept, monkeypatch):
    count = {"probes": 0}

    def slow():
        count["probes"] += 1
        time.sleep(0.2)
        return {}

    monkeypatch.setitem(status.READERS, "probes", slow)
    page = Page(kept)

    async def many() -> list[int]:
        answers = await asyncio.gather(*(page.ask("/status") for _ in range(100)))
        return [answer.status_code for answer in answers]

    assert anyio.run(many) == [200] * 100
    assert count["probes"] == 1


# --- when sources are away --------------------------------------------------------------------------------------------


def away(settings: Settings) -> Settings:
    queries.connect(queries.Sources(state_url="postgresql://x@127.0.0.1:1/x"))
    return settings.model_copy(update={"state_url": type(settings.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})


def test_while_the_database_is_away_the_last_good_state_stands_after_a_restart_too(kept):
    tell(Hooks(kept), recent())
    page = Page(kept)
    assert page.get("/status.json").json()["status"] == "degraded"
    gone = away(kept)
    page.board._settings = gone
    assert page.fresh("/status.json").json()["status"] == "degraded"
    # Another process, which knows nothing but the file.
    later = Page(gone)
    body = later.get("/status.json").json()
    assert (body["status"], body["incidents"][0]["status"], body["stale"]) == ("degraded", "investigating", False)
    parts = json.loads(kept.status_file.read_text())
    parts["incidents"]["at"] -= 25 * 60
    kept.status_file.write_text(json.dumps(parts))
    old = Page(gone)
    assert re.search(r"it is of .* \d\d:\d\d, 2[56] minutes ago", old.get("/status?lang=en").text)
    assert "hace 25 minutos" in old.get("/status?lang=es").text
    assert old.get("/status.json").json()["stale"] is True


def test_a_source_that_says_nothing_keeps_nobody_waiting(kept):
    tell(Hooks(kept), recent())
    Page(kept).get()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queries.connect(queries.Sources(state_url=f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"))
        page = Page(kept)
        began = time.monotonic()
        assert "Fallas en API Backend" in page.get("/status?lang=es").text
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"incidents": 3}', '{"incidents": {"at": "x", "told": {"list": [{}]}}}']
)
def test_a_file_that_is_no_state_is_no_harm(kept, content):
    kept.status_file.write_text(content)
    assert load_parts(kept.status_file) == {}
    assert Page(kept).get().status_code == 200


def test_where_nothing_can_be_written_the_page_stands(kept, tmp_path):
    (tmp_path / "file").write_text("")
    page = Page(kept.model_copy(update={"status_file": tmp_path / "file" / "status.json"}))
    assert page.get().status_code == 200
    with pytest.raises(FileExistsError):
        save_parts(tmp_path / "file" / "status.json", {})


def test_without_any_source_nothing_is_claimed(tmp_path):
    queries.connect(queries.Sources())
    page = Page(Settings(status_file=tmp_path / "s.json"))
    body = page.get("/status.json").json()
    assert body["status"] == "unknown"
    assert {one["status"] for one in body["components"]} == {"unknown"}
    assert "<form" not in page.get().text
    queries.disconnect()


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probe", "paged", "impacts", "known", "expected"),
    [
        (None, False, [], False, "unknown"),
        (1.0, False, [], False, "operational"),
        (0.8, False, [], True, "degraded"),
        (0.4, False, [], True, "outage"),
        (float("nan"), False, [], False, "unknown"),
        (1.0, True, [], True, "degraded"),
        (None, False, [], True, "operational"),
        (1.0, False, ["degraded"], True, "degraded"),
        (1.0, False, ["degraded", "outage"], True, "outage"),
    ],
)
def test_a_state_is_the_worst_that_is_measured(probe, paged, impacts, known, expected):
    assert told.computed_state(probe, paged, impacts, known) == expected


def test_a_hand_sets_a_state_with_a_reason_until_its_end_and_a_contradiction_is_told(kept):
    tell(Hooks(kept), recent())
    soon = datetime.now(UTC) + timedelta(hours=1)
    given = {"component": "api", "state": "operational", "reason": "False alarm", "ends_at": soon, "once": "1"}
    with pytest.raises(state.NotAllowed):
        incidents.set_state(kept, ANALYST, **given)
    for wrong in ({"reason": " "}, {"ends_at": None}, {"ends_at": soon + timedelta(days=8)}, {"component": "moon"}):
        with pytest.raises(incidents.BadIncident):
            incidents.set_state(kept, ENGINEER, **{**given, **wrong})
    with pytest.raises(incidents.BadIncident):
        incidents.set_state(kept, ENGINEER, **{**given, "ends_at": datetime.now(UTC) - timedelta(minutes=1)})
    incidents.set_state(kept, ENGINEER, **given)
    incidents.set_state(kept, ENGINEER, **given)
    assert len(told.override_history()) == 1
    (api, *_), missing = told.components_now()
    assert (api.state, api.computed, api.contradictions, missing) == ("operational", "degraded", ("incident",), ())
    page = Page(kept)
    assert page.get("/status.json").json()["components"][0]["status"] == "operational"
    assert "False alarm" not in page.get().text
    # What is kept ends with it, whether the database answers or not.
    late = status.component_list(page.board._parts, soon + timedelta(seconds=1))
    assert late[0].state == "degraded"
    incidents.withdraw_state(kept, ENGINEER, "api")
    assert told.components_now()[0][0].state == "degraded"
    (audited,) = told.override_history().itertuples()
    assert (audited.created_by, audited.withdrawn_by) == ("eva", "eva")


def test_a_green_component_whose_budget_burns_contradicts_itself():
    objectives = {"a": told.Objective("neon", pages=False, burns=True, missed=False)}
    objectives["b"] = told.Objective("neon", pages=False, burns=False, missed=True)
    found = {one.name: one for one in told.component_states({"neon": 1.0}, objectives, [], [], datetime.now(UTC))}
    assert found["neon"].state == "operational"
    assert found["neon"].contradictions == ("burning", "missed")
    assert found["api"].contradictions == ()


def test_a_hand_opens_an_incident_and_only_a_hand_ends_it(kept):
    given = {"component": "neon", "title_en": "Late", "title_es": "Tarde", "impact": "degraded"}
    given |= {"public_en": None, "public_es": None, "once": "1"}
    number = incidents.open_incident(kept, ENGINEER, **given)
    assert incidents.open_incident(kept, ENGINEER, **given) == number
    with pytest.raises(incidents.BadIncident, match="open incident already"):
        incidents.open_incident(kept, ENGINEER, **{**given, "once": "2"})
    tell(Hooks(kept), recent(component="neon"), recent(component="neon", ended=2))
    assert list(told.open_incidents()["id"]) == [number]
    said = {"impact": "degraded", "public_en": None, "public_es": None, "note": None}
    with pytest.raises(incidents.BadIncident, match="both"):
        incidents.write_update(kept, ENGINEER, number, status="resolved", **{**said, "public_en": "x"}, once="3")
    incidents.write_update(kept, ENGINEER, number, status="resolved", **said, once="4")
    assert told.open_incidents().empty
    incidents.write_update(kept, ENGINEER, number, status="monitoring", **said, once="5")
    incidents.write_update(kept, ENGINEER, number, status="monitoring", **said | {"note": "x"}, once="5")
    assert list(told.open_incidents()["status"]) == ["monitoring"]
    written = told.updates_of(datetime.now(UTC) - timedelta(days=1))
    assert list(written["kind"]) == ["reopened", "resolved", "opened"]
    assert set(written["created_by"]) == {"eva"}


# --- uptime -----------------------------------------------------------------------------------------------------------


def test_uptime_by_day_is_the_share_of_probes_of_each_business_day(prometheus_server, tmp_path):
    today = datetime.now(ZONE).date()
    lines = ["# TYPE probe_success gauge"]
    for component, days in (("api", 5), ("neon", 2)):
        for back in range(days, 0, -1):
            midnight = datetime.combine(today - timedelta(days=back), datetime.min.time(), ZONE)
            for hour in range(24):
                moment = midnight + timedelta(hours=hour, minutes=30)
                up = 0 if (component, back) == ("api", 3) and hour < 6 else 1
                labels = f'job="status-probes",component="{component}"'
                lines.append(f"probe_success{{{labels}}} {up} {moment.timestamp():.0f}")
    lines.sort(key=lambda line: (line[0] != "#", 'component="neon"' in line))
    queries.connect(queries.Sources(prometheus=queries.Prometheus(prometheus_server("\n".join(lines) + "\n# EOF\n"))))
    page = Page(Settings(status_file=tmp_path / "s.json", prometheus_url="http://x"))
    body = page.get("/status.json").json()
    api = next(one for one in body["components"] if one["id"] == "api")
    days = {day["day"]: day["uptime"] for day in api["days"]}
    assert days == {(today - timedelta(days=back)).isoformat(): 0.75 if back == 3 else 1.0 for back in (5, 4, 3, 2, 1)}
    assert api["uptime_90_days"] == pytest.approx(114 / 120)
    assert "95 %" in page.get("/status?lang=en").text
    # 99.996 % is never told as 100 %.
    assert status._level(0.9989) == "s"
    queries.disconnect()


# --- in the browser ---------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_the_page_works_without_a_script_on_a_phone_and_sets_no_cookie(kept, state_url, server_dir):
    tell(Hooks(kept), recent())
    env = {"MIRADOR_STATE_URL": state_url, "MIRADOR_STATUS_FILE": str(kept.status_file)}
    env |= {"MIRADOR_PUBLIC_URL": "http://127.0.0.1"}
    with serve(server_dir, env) as dashboard, chromium() as browser:
        context = browser.new_context(
            java_script_enabled=False, locale="es-MX", viewport={"width": 390, "height": 844}, color_scheme="dark"
        )
        window = context.new_page()
        complaints: list[str] = []
        window.on("console", lambda message: complaints.append(message.text))
        window.goto(f"{dashboard.url}/status")
        assert "Fallas en API Backend" in window.inner_text("main")
        assert window.locator("body").bounding_box()["width"] <= 390
        window.get_by_role("link", name="English").click()
        assert "Problems with API Backend" in window.inner_text("main")
        window.get_by_label("The https address of your webhook").fill("https://127.0.0.1/hook")
        window.get_by_role("button", name="Subscribe").click()
        assert "A webhook must be on the public internet." in window.inner_text("main")
        assert context.cookies() == []
        assert complaints == [] or all("400" in words for words in complaints)


def page_of(kept: Settings, monkeypatch) -> AppTest:
    monkeypatch.setattr("app.settings.settings", lambda: kept)
    monkeypatch.setattr("app.auth.login_required", lambda: False)
    made = AppTest.from_file(str(ROOT / "pages" / "incidents.py"), default_timeout=30)
    made.session_state["lang"] = "en"
    return made


def test_the_page_incidents_shows_what_is_open_and_where_it_contradicts_itself(kept, monkeypatch):
    tell(Hooks(kept), recent())
    soon = datetime.now(UTC) + timedelta(hours=1)
    given = {"component": "api", "state": "operational", "reason": "False alarm", "ends_at": soon, "once": "1"}
    incidents.set_state(kept, ENGINEER, **given)
    test = page_of(kept, monkeypatch).run()
    assert not test.exception
    words = " ".join(element.value for element in [*test.markdown, *test.text, *test.caption])
    assert "Green, but it has an open incident" in words
    assert "The API fails on backend-7:8000" in words
    assert "False alarm" in words


def test_the_page_incidents_stands_without_its_database(kept, monkeypatch):
    gone = away(kept)
    test = page_of(gone, monkeypatch).run()
    assert not test.exception
    none = kept.model_copy(update={"state_url": None})
    queries.connect(queries.Sources())
    test = page_of(none, monkeypatch).run()
    assert not test.exception
    assert any("MIRADOR_STATE_URL" in caption.value for caption in test.caption)


def test_who_may_subscribe_depends_on_what_can_be_sent(kept):
    assert subscriber_kinds(kept) == ()
    public = kept.model_copy(update={"public_url": "https://mirador"})
    assert subscriber_kinds(public) == ("webhook",)
    mailed = public.model_copy(update={"smtp_url": type(kept.state_url)("smtp://x")})
    assert subscriber_kinds(mailed) == ("email", "webhook")
    assert isinstance(kept.status_file, Path)
