"""Events: kept once whatever is told how often, found by their days, drawn from all that know of them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import anyio
import httpx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

import queries
from app import state
from app.auth import Viewer
from app.hooks import MAX_BYTES, hook_routes
from app.settings import Settings
from demo.events import events as demo_events
from demo.history import DAYS
from queries.events import COLUMNS
from tests.conftest import ROOT, drop_ledger, new_ledger
from tests.dashboard import chromium, chromium_path, serve, viewer

ZONE = ZoneInfo("America/Mexico_City")
TOKEN = "a-token-of-the-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ANALYST = Viewer("ana", frozenset({"analyst"}))
OTHER = Viewer("beto", frozenset({"analyst"}))
ENGINEER = Viewer("eva", frozenset({"engineer"}))
EXECUTIVE = Viewer("emilio", frozenset({"executive"}))
DAY = date(2026, 5, 12)
NOON = datetime(2026, 5, 12, 12, tzinfo=ZONE)


@pytest.fixture(scope="module")
def state_url(postgres) -> Iterator[str]:
    """A migrated state database."""
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@pytest.fixture
def kept(state_url) -> Settings:
    """Settings with an empty table of events, and the sources that go with them."""
    engine = create_engine(state_url)
    with engine.begin() as owner:
        owner.execute(text("truncate mirador.events, mirador.incidents cascade"))
    engine.dispose()
    made = Settings(state_url=state_url, hook_token=TOKEN)
    queries.connect(queries.Sources(state_url=state_url))
    queries.forget("state")
    yield made
    queries.disconnect()


def rows(settings: Settings) -> pd.DataFrame:
    engine = create_engine(settings.state_url.get_secret_value())
    with engine.connect() as owner:
        found = pd.read_sql(text("select * from mirador.events order by id"), owner)
    engine.dispose()
    return found


class Hooks:
    """The two routes, asked as a program would."""

    def __init__(self, settings: Settings) -> None:
        self.app = Starlette(routes=hook_routes(settings))

    async def ask(self, path: str, body: dict) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://mirador") as client:
            return await client.post(path, **body)

    def post(self, path: str, **body) -> httpx.Response:
        return anyio.run(self.ask, path, body)


def alert(fingerprint="f1", *, status="firing", began=NOON, ended=None, **more):
    return {
        "status": status,
        "labels": {"alertname": "HighErrorRate", "severity": "critical"},
        "annotations": {"summary": "One in ten requests fails"},
        "startsAt": began.isoformat(),
        "endsAt": ended.isoformat() if ended else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph?g0.expr=x",
        "fingerprint": fingerprint,
        **more,
    }


def tell(client: Hooks, *alerts, status=200):
    answer = client.post(
        "/hooks/alertmanager", json={"version": "4", "status": "firing", "alerts": list(alerts)}, headers=HEADERS
    )
    assert answer.status_code == status, answer.text
    return answer.json()


# --- the webhook ------------------------------------------------------------------------------------------------------


def test_an_alert_fires_and_is_resolved_as_one_event(kept):
    client = Hooks(kept)
    tell(client, alert())
    tell(client, alert(status="resolved", ended=NOON + timedelta(hours=1)))
    (row,) = rows(kept).itertuples()
    assert (row.kind, row.source, row.title) == ("alert", "alertmanager", "HighErrorRate: One in ten requests fails")
    assert (row.starts_at, row.ends_at) == (NOON, NOON + timedelta(hours=1))
    assert row.link == "http://prometheus/graph?g0.expr=x"


def test_the_same_alert_on_another_day_is_another_event(kept):
    client = Hooks(kept)
    tell(client, alert(), alert(began=NOON + timedelta(days=1)))
    assert len(rows(kept)) == 2


@given(data=st.data())
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_alerts_replayed_in_any_order_give_the_same_events(kept, data):
    names = ("a", "b", "c")
    ends = {name: NOON + timedelta(minutes=30) if data.draw(st.booleans()) else None for name in names}
    messages = [alert(name) for name in names]
    messages += [alert(name, status="resolved", ended=end) for name, end in ends.items() if end]
    told = data.draw(st.permutations(messages + data.draw(st.lists(st.sampled_from(messages), max_size=4))))
    engine = create_engine(kept.state_url.get_secret_value())
    with engine.begin() as owner:
        owner.execute(text("truncate mirador.events, mirador.incidents cascade"))
    engine.dispose()
    client = Hooks(kept)
    while told:
        size = data.draw(st.integers(1, len(told)))
        tell(client, *told[:size])
        told = told[size:]
    found = rows(kept)["ends_at"]
    assert len(found) == len(names)
    assert found.isna().sum() == list(ends.values()).count(None)
    assert set(found.dropna()) <= {NOON + timedelta(minutes=30)}


def test_two_messages_at_once_keep_one_event(kept):
    client = Hooks(kept)

    async def ask_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(client.ask, "/hooks/alertmanager", {"json": {"alerts": [alert()]}, "headers": HEADERS})

    anyio.run(ask_at_once)
    assert len(rows(kept)) == 1


def test_a_deployment_told_twice_is_one_event_and_gets_its_end(kept):
    client = Hooks(kept)
    told = {"id": "run-7", "kind": "deployment", "title": "backend 2.14", "starts_at": NOON.isoformat()}
    for body in (told, told, {**told, "ends_at": (NOON + timedelta(minutes=4)).isoformat()}):
        assert client.post("/hooks/events", json=body, headers=HEADERS).status_code == 200
    (row,) = rows(kept).itertuples()
    assert (row.title, row.ends_at) == ("backend 2.14", NOON + timedelta(minutes=4))


def test_without_the_token_nothing_is_kept(kept):
    client = Hooks(kept)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = client.post("/hooks/alertmanager", json={"alerts": [alert()]}, headers=headers)
        assert answer.status_code == 401
        assert "MIRADOR_HOOK_TOKEN" in answer.json()["error"]
    assert rows(kept).empty


def test_where_no_token_is_set_the_address_is_shut(kept):
    client = Hooks(kept.model_copy(update={"hook_token": None}))
    answer = client.post("/hooks/alertmanager", json={"alerts": []}, headers=HEADERS)
    assert answer.status_code == 404
    assert "MIRADOR_HOOK_TOKEN" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "The body"),
        (b'{"alerts": 3}', "alerts"),
        (json.dumps({"alerts": [{**alert(), "startsAt": "soon"}]}).encode(), "alerts[0].startsAt"),
        (json.dumps({"alerts": [{**alert(), "startsAt": "2026-05-12T12:00:00"}]}).encode(), "alerts[0].startsAt"),
        (json.dumps({"alerts": [{**alert(), "startsAt": "0001-01-01T00:00:00Z"}]}).encode(), "2000"),
        (json.dumps({"alerts": [alert(status="maybe")]}).encode(), "alerts[0].status"),
    ],
)
def test_a_wrong_message_is_told_in_a_sentence_and_keeps_nothing(kept, body, said):
    answer = Hooks(kept).post("/hooks/alertmanager", content=body, headers=HEADERS)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert rows(kept).empty


def test_a_message_that_is_too_long_is_refused(kept):
    answer = Hooks(kept).post("/hooks/alertmanager", content=b" " * (MAX_BYTES + 1), headers=HEADERS)
    assert answer.status_code == 413


def test_what_cannot_be_kept_in_a_text_is_taken_out(kept):
    tell(Hooks(kept), alert(annotations={"summary": "a\u0000b\nc \u202ed" + "x" * 400}))
    (row,) = rows(kept).itertuples()
    assert row.title.startswith("HighErrorRate: a b c d")
    assert len(row.title) == state.TITLE_LENGTH


def test_alertmanager_is_asked_to_come_again_while_the_database_is_away(kept):
    away = kept.model_copy(update={"state_url": type(kept.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})
    answer = Hooks(away).post("/hooks/alertmanager", json={"alerts": [alert()]}, headers=HEADERS)
    assert answer.status_code == 503
    assert answer.json()["error"] == "The state database cannot be reached."
    none = kept.model_copy(update={"state_url": None})
    answer = Hooks(none).post("/hooks/alertmanager", json={"alerts": [alert()]}, headers=HEADERS)
    assert answer.status_code == 503
    assert "MIRADOR_STATE_URL" in answer.json()["error"]


def test_the_demo_tells_events_that_lie_in_its_history_and_are_kept_once(kept):
    client, until = Hooks(kept), datetime.now(UTC)
    told = list(demo_events(until))
    for event in told + told[:3]:
        answer = client.post("/hooks/events", json=event, headers=HEADERS)
        assert answer.status_code == 200, answer.text
    found = rows(kept)
    assert len(found) == len(told) > 40
    assert found["starts_at"].between(until - timedelta(days=DAYS + 1), until).all()
    assert set(found["kind"]) == {"deployment", "cutoff"}


# --- the database -----------------------------------------------------------------------------------------------------


def test_migrations_run_once_however_many_run_them(postgres):
    made = new_ledger(postgres, "template1")
    taken: list[list[str]] = []
    threads = [threading.Thread(target=lambda: taken.append(state.migrate(made.owner))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = sorted(path.stem.split("_")[0] for path in state.MIGRATIONS.glob("versions/0*.py"))
    assert sorted(taken) == [[], [], steps]
    drop_ledger(postgres, made)


def test_a_role_that_may_not_create_is_told_so(postgres):
    made = new_ledger(postgres, "template1")
    with pytest.raises(queries.SourceError, match="may not create"):
        state.migrate(made.reader)
    drop_ledger(postgres, made)


# --- people -----------------------------------------------------------------------------------------------------------


def written(**more):
    return {"kind": "cutoff", "title": "Cut-off 65", "starts_at": NOON, "ends_at": None, "link": None, **more}


def test_a_form_sent_twice_is_one_event(kept):
    state.add_event(kept, ANALYST, written(), once="form-1")
    state.add_event(kept, ANALYST, written(), once="form-1")
    (row,) = rows(kept).itertuples()
    assert (row.source, row.created_by) == ("person", "ana")


def test_an_event_is_changed_and_removed_by_its_author_or_an_engineer(kept):
    state.add_event(kept, ANALYST, written(), once="1")
    number = int(rows(kept)["id"].iloc[0])
    for stranger in (OTHER, EXECUTIVE):
        with pytest.raises(state.NotAllowed):
            state.change_event(kept, stranger, number, written(title="Mine"))
        with pytest.raises(state.NotAllowed):
            state.remove_event(kept, stranger, number)
    state.change_event(kept, ANALYST, number, written(title="Cut-off 66"))
    state.change_event(kept, ENGINEER, number, written(title="Cut-off 67", ends_at=NOON + timedelta(hours=1)))
    (row,) = rows(kept).itertuples()
    assert (row.title, row.created_by) == ("Cut-off 67", "ana")
    state.remove_event(kept, ENGINEER, number)
    assert rows(kept).empty
    with pytest.raises(state.NotAllowed, match="gone"):
        state.remove_event(kept, ENGINEER, number)


def test_who_only_reads_adds_nothing(kept):
    with pytest.raises(state.NotAllowed):
        state.add_event(kept, EXECUTIVE, written(), once="1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": " \n "}, "what happened"),
        ({"title": "x" * 301}, "300"),
        ({"kind": "party"}, "kind"),
        ({"starts_at": None}, "began"),
        ({"ends_at": NOON - timedelta(minutes=1)}, "before"),
        ({"starts_at": datetime(1999, 1, 1, tzinfo=UTC)}, "2000"),
        ({"link": "javascript:alert(1)"}, "http"),
        ({"link": "https://a b"}, "http"),
    ],
)
def test_what_is_no_event_is_told_in_a_sentence(kept, change, said):
    with pytest.raises(state.BadEvent, match=said):
        state.add_event(kept, ANALYST, written(**change), once="1")
    assert rows(kept).empty


# --- asking -----------------------------------------------------------------------------------------------------------


def test_an_event_is_found_on_each_day_that_it_touches(kept):
    midnight = datetime(2026, 5, 13, tzinfo=ZONE)
    state.add_event(kept, ANALYST, written(title="moment"), once="1")
    state.add_event(kept, ANALYST, written(title="at midnight", starts_at=midnight), once="2")
    state.add_event(
        kept, ANALYST, written(kind="incident", title="two days", ends_at=NOON + timedelta(days=1)), once="3"
    )
    state.add_event(kept, ANALYST, written(kind="incident", title="runs on"), once="4")

    def on(day: date) -> set[str]:
        return set(queries.events(day, day)["title"])

    assert on(DAY - timedelta(days=1)) == set()
    assert on(DAY) == {"moment", "two days", "runs on"}
    assert on(DAY + timedelta(days=1)) == {"at midnight", "two days", "runs on"}
    assert on(DAY + timedelta(days=2)) == {"runs on"}
    assert len(queries.events(DAY, DAY + timedelta(days=9))) == 4


def test_what_was_just_written_is_seen_at_once(kept):
    assert queries.events(DAY, DAY).empty
    state.add_event(kept, ANALYST, written(), once="1")
    assert list(queries.events(DAY, DAY)["title"]) == ["Cut-off 65"]


def test_without_any_source_there_are_no_events_and_nothing_is_amiss():
    queries.connect(queries.Sources())
    frame = queries.events(DAY, DAY)
    assert list(frame.columns) == COLUMNS
    assert frame.empty
    assert frame.attrs["missing"] == ()
    queries.disconnect()


def test_a_state_database_that_is_away_is_told_once_and_keeps_nobody_waiting():
    queries.connect(queries.Sources(state_url="postgresql://x@127.0.0.1:1/x"))
    frame = queries.events(DAY, DAY)
    assert frame.empty
    assert frame.attrs["missing"] == ("The state database cannot be reached.",)
    queries.disconnect()


def test_a_state_database_that_says_nothing_keeps_nobody_waiting_for_long():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queries.connect(queries.Sources(state_url=f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"))
        began = time.monotonic()
        frame = queries.events(DAY, DAY)
        assert time.monotonic() - began < 4
        assert frame.attrs["missing"] == ("The state database has not answered in time.",)
        queries.disconnect()


# --- from the ledger --------------------------------------------------------------------------------------------------

HOURS = 24 * 6


def call(number: int, moment: datetime, integration: str, failed: bool) -> dict:
    return {
        "call_id": number,
        "called_at": moment,
        "integration": integration,
        "status": ("error", "timeout")[number % 2] if failed else "success",
    }


@pytest.fixture(scope="module")
def calls_ledger(module_ledger_url) -> Iterator:
    engine = create_engine(module_ledger_url.owner)
    yield engine, module_ledger_url.reader
    engine.dispose()


def put_calls(engine, calls: list[dict]) -> None:
    with engine.begin() as owner:
        owner.execute(text("truncate bi.integration_calls, bi.hase_scores"))
        if calls:
            owner.execute(
                text(
                    "insert into bi.integration_calls (call_id, called_at, integration, endpoint, status, duration_ms,"
                    " request_id) values (:call_id, :called_at, :integration, '/x', :status, 5, 'r')"
                ),
                calls,
            )


def expected_incidents(calls: list[dict], first: date, last: date) -> list[tuple]:
    """The rule of the head, worked out call by call."""
    begin = datetime.combine(first - timedelta(days=7), datetime.min.time(), ZONE)
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), ZONE)
    seen = [one for one in calls if begin <= one["called_at"] < end]
    found = []
    for name in {one["integration"] for one in seen}:
        own = [one for one in seen if one["integration"] == name]
        usual = sum(one["status"] != "success" for one in own) / len(own)
        bad = {}
        for hour in {one["called_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0) for one in own}:
            within = [one for one in own if hour <= one["called_at"] < hour + timedelta(hours=1)]
            failed = sum(one["status"] != "success" for one in within)
            if len(within) >= 8 and failed >= 4 and failed >= max(0.1, 5 * usual) * len(within):
                bad[hour] = (len(within), failed)
        runs: list[list[datetime]] = []
        for hour in sorted(bad):
            if runs and runs[-1][-1] + timedelta(hours=1) == hour:
                runs[-1].append(hour)
            else:
                runs.append([hour])
        for run in runs:
            ends = run[-1] + timedelta(hours=1)
            if ends > datetime.combine(first, datetime.min.time(), ZONE):
                total, failed = (sum(bad[hour][place] for hour in run) for place in (0, 1))
                found.append((name, run[0], ends, total, failed))
    return sorted(found, key=lambda one: (one[1], one[0]))


@given(data=st.data())
@examples(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_incidents_are_the_hours_that_their_rule_says(calls_ledger, data):
    engine, reader = calls_ledger
    start = datetime(2026, 5, 10, tzinfo=ZONE)
    # A quiet day before, so that the usual share is low, and some hours of trouble.
    calls = [call(n, start - timedelta(days=3, minutes=n), "geotab", False) for n in range(200)]
    for _ in range(data.draw(st.integers(1, 5))):
        hour = start + timedelta(hours=data.draw(st.integers(-30, HOURS)))
        name = data.draw(st.sampled_from(("geotab", "neon")))
        total = data.draw(st.integers(1, 12))
        failed = data.draw(st.integers(0, total))
        for number in range(total):
            moment = hour + timedelta(minutes=data.draw(st.sampled_from((0, 30, 59))), seconds=number)
            calls.append(call(len(calls), moment, name, number < failed))
    put_calls(engine, calls)
    queries.connect(queries.Sources(ledger_url=reader))
    queries.forget("ledger")
    first, last = date(2026, 5, 11), date(2026, 5, 14)
    frame = queries.ledger("events/incidents", {"first": first, "last": last})
    told = [(row.integration, row.starts_at, row.ends_at, row.calls, row.failed) for row in frame.itertuples()]
    assert told == expected_incidents(calls, first, last)
    assert len(queries.events(first, last)) == len(told)
    queries.disconnect()


def test_a_new_model_is_an_event_and_the_first_one_is_not(calls_ledger):
    engine, reader = calls_ledger
    put_calls(engine, [])
    midnight = datetime(2026, 5, 13, tzinfo=ZONE)
    scores = [
        ("one", midnight - timedelta(days=30)),
        ("one", midnight + timedelta(days=2)),
        ("two", midnight + timedelta(hours=3)),
        ("two", midnight),
        ("three", midnight + timedelta(days=1) - timedelta(microseconds=1)),
    ]
    with engine.begin() as owner:
        for number, (version, moment) in enumerate(scores):
            owner.execute(
                text("insert into bi.hase_scores values (:id, 'a', 'd', 50, :version, :at)"),
                {"id": number, "version": version, "at": moment},
            )
    queries.connect(queries.Sources(ledger_url=reader))
    queries.forget("ledger")
    found = queries.events(date(2026, 5, 13), date(2026, 5, 13))
    assert list(zip(found["kind"], found["title"], found["starts_at"], strict=True)) == [
        ("model", "two", midnight),
        ("model", "three", midnight + timedelta(days=1) - timedelta(microseconds=1)),
    ]
    assert queries.events(date(2026, 5, 14), date(2026, 5, 20)).empty
    queries.disconnect()


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(kept, monkeypatch) -> AppTest:
    """The page Events as a local viewer sees it, with his own settings."""
    monkeypatch.setattr("app.settings.settings", lambda: kept)
    monkeypatch.setattr("app.auth.login_required", lambda: False)
    return AppTest.from_file(str(ROOT / "pages" / "events.py"), default_timeout=30)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_person_writes_an_event_and_bad_input_keeps_what_was_typed(kept, state_url, server_dir):
    with (
        serve(server_dir, {"MIRADOR_STATE_URL": state_url}) as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1280, "height": 900}) as window,
    ):
        window.open(f"{dashboard.url}/events")
        window.page.get_by_role("button", name="Add an event").click()
        title, link = (window.page.get_by_label(words, exact=True) for words in ("What happened", "Link"))
        title.fill("Cut-off 65")
        link.fill("not a link")
        window.page.get_by_role("button", name="Keep").click()
        window.wait_for_text("A link begins with http:// or https://")
        assert title.input_value() == "Cut-off 65"
        assert rows(kept).empty
        link.fill("https://wiki/cut-off")
        window.page.get_by_role("button", name="Keep").click()
        window.wait_for_text("1 event from")
        window.assert_clean()
    (row,) = rows(kept).itertuples()
    assert (row.title, row.kind, row.link, row.created_by) == ("Cut-off 65", "cutoff", "https://wiki/cut-off", "local")


def test_a_link_narrows_the_kinds_and_one_that_cannot_be_is_told(page, kept):
    now = datetime.now(ZONE)
    for kind in ("cutoff", "other"):
        state.add_event(kept, ANALYST, written(kind=kind, title=kind, starts_at=now), once=kind)
    page.session_state["lang"] = "en"
    page.query_params["kind"] = "cutoff"
    test = page.run()
    assert not test.exception
    assert not test.warning
    assert test.dataframe[0].value["title"].tolist() == ["cutoff"]
    test.button_group(key="kind").set_value([]).run()
    assert "kind" not in test.query_params
    assert len(test.dataframe[0].value) == 2
    test.query_params["kind"] = "earthquake"
    test.run()
    assert "earthquake" in test.warning[0].value


def test_without_a_state_database_the_page_says_how_to_have_one(page, kept, monkeypatch):
    monkeypatch.setattr("app.settings.settings", lambda: kept.model_copy(update={"state_url": None}))
    queries.connect(queries.Sources())
    page.session_state["lang"] = "en"
    test = page.run()
    assert not test.exception
    assert any("MIRADOR_STATE_URL" in caption.value for caption in test.caption)
    assert not any(button.label == "Add an event" for button in test.button)
