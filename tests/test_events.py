"""Events: kept once whatever is told how often, found by their days, drawn from all that know of them."""

from __future__ import annotations

import json
import threading
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

import queries
from app import state
from app.auth import Viewer
from app.hooks import MAX_BYTES, hook_routes
from app.settings import Settings
from queries.events import COLUMNS
from tests.conftest import drop_ledger, new_ledger

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
        owner.execute(text("truncate mirador.events"))
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
        owner.execute(text("truncate mirador.events"))
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


# --- the database -----------------------------------------------------------------------------------------------------


def test_migrations_run_once_however_many_run_them(postgres):
    made = new_ledger(postgres, "template1")
    taken: list[list[str]] = []
    threads = [threading.Thread(target=lambda: taken.append(state.migrate(made.owner))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [[], [], ["0001"]]
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
