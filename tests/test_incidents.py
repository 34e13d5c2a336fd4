"""Incidents: one for each trouble, however often and late its alerts are told; engineers write about them."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

import queries
from app import state
from app.settings import Settings
from queries import incidents as told_incidents
from tests.conftest import ROOT, drop_ledger, new_ledger
from tests.test_events import HEADERS, TOKEN, Hooks, alert, tell

ZONE = ZoneInfo("America/Mexico_City")
START = datetime(2026, 5, 12, 18, tzinfo=UTC)
TABLES = "mirador.incidents, mirador.incident_alerts, mirador.incident_updates, mirador.status_overrides"


@pytest.fixture(scope="module")
def state_url(postgres) -> Iterator[str]:
    """A migrated state database."""
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@pytest.fixture(scope="module")
def engine(state_url):
    made = create_engine(state_url)
    yield made
    made.dispose()


def empty(engine) -> None:
    with engine.begin() as owner:
        owner.execute(text(f"truncate {TABLES}, mirador.events cascade"))


@pytest.fixture
def kept(state_url, engine) -> Iterator[Settings]:
    """Settings with empty tables, and the sources that go with them."""
    empty(engine)
    queries.connect(queries.Sources(state_url=state_url))
    queries.forget("state")
    yield Settings(state_url=state_url, hook_token=TOKEN)
    queries.disconnect()


def rows(engine, statement="select * from mirador.incidents order by started_at, id", **params) -> pd.DataFrame:
    with engine.connect() as owner:
        return pd.read_sql(text(statement), owner, params=params)


def minutes(n: float) -> datetime:
    return START + timedelta(minutes=n)


def one(fingerprint="f1", *, component="api", name="HighErrorRate", began=0.0, ended=None, severity="critical", **more):
    """An alert of a component; times in minutes since START."""
    labels = {"alertname": name, "severity": severity} | ({"component": component} if component else {})
    return alert(
        fingerprint,
        status="firing" if ended is None else "resolved",
        began=minutes(began),
        ended=None if ended is None else minutes(ended),
        **{
            "labels": labels,
            "annotations": {
                "summary": "The API fails on backend-7:8000",
                "summary_es": "La API falla en backend-7:8000",
                "runbook_url": "https://mirador/runbooks?alert=HighErrorRate",
            },
            **more,
        },
    )


# --- from alerts ------------------------------------------------------------------------------------------------------


def test_a_critical_alert_opens_an_incident_and_its_end_resolves_it(kept, engine):
    hooks = Hooks(kept)
    tell(hooks, one())
    (row,) = rows(engine).itertuples()
    assert (row.component, row.status, row.severity) == ("api", "investigating", "critical")
    assert (row.title_en, row.title_es) == ("The API fails on backend-7:8000", "La API falla en backend-7:8000")
    assert pd.isna(row.ended_at)
    tell(hooks, one(ended=7))
    (row,) = rows(engine).itertuples()
    assert (row.status, row.started_at, row.ended_at) == ("resolved", minutes(0), minutes(7))
    written = rows(engine, "select kind, created_by from mirador.incident_updates order by id")
    assert list(written["kind"]) == ["opened", "resolved"]
    assert written["created_by"].isna().all()


def test_alerts_of_one_component_are_one_incident_that_ends_with_the_last_of_them(kept, engine):
    hooks = Hooks(kept)
    tell(hooks, one("a"), one("b", name="NoTraffic", began=1))
    tell(hooks, one("c", name="BackendDown", began=2), one("d", component="neon", name="IntegrationAPIDown"))
    assert sorted(rows(engine)["component"]) == ["api", "neon"]
    tell(hooks, one("a", ended=5), one("b", name="NoTraffic", began=1, ended=6))
    assert rows(engine).set_index("component").loc["api", "status"] == "investigating"
    tell(hooks, one("c", name="BackendDown", began=2, ended=9))
    api = rows(engine).set_index("component").loc["api"]
    assert (api["status"], api["ended_at"]) == ("resolved", minutes(9))


def test_a_warning_opens_none(kept, engine):
    tell(Hooks(kept), one(severity="warning"), one("b", severity=""))
    assert rows(engine).empty
    assert len(rows(engine, "select 1 from mirador.events")) == 2


def test_an_alert_without_a_component_has_an_incident_of_its_own_name(kept, engine):
    hooks = Hooks(kept)
    tell(hooks, one("a", component=None, name="DiskFull"), one("b", component=None, name="DiskFull"))
    tell(hooks, one("c", component=None, name="Other"))
    assert sorted(rows(engine)["key"]) == ["alert:DiskFull", "alert:Other"]


def test_an_objective_that_burns_is_an_incident_of_its_component(kept, engine):
    labels = {"alertname": "PaymentBudgetBurn", "severity": "critical", "sloth_slo": "payment_success"}
    tell(Hooks(kept), one(labels=labels))
    assert list(rows(engine)["component"]) == ["conekta"]
    assert list(rows(engine, "select slo from mirador.incident_alerts")["slo"]) == ["payment_success"]


def test_what_fires_again_soon_opens_the_same_incident_again_and_later_another(kept, engine):
    hooks = Hooks(kept)
    tell(hooks, one())
    tell(hooks, one(ended=5))
    tell(hooks, one(began=15))
    (row,) = rows(engine).itertuples()
    assert (row.status, row.started_at) == ("investigating", minutes(0))
    # Nobody was told of the end yet, so nobody is told that it was none.
    said = rows(engine, "select kind, tell_after is not null as tells from mirador.incident_updates order by id")
    assert list(said.itertuples(index=False, name=None)) == [
        ("opened", True),
        ("resolved", False),
        ("reopened", False),
    ]
    tell(hooks, one(began=15, ended=20))
    tell(hooks, one(began=36))
    assert list(rows(engine)["status"]) == ["resolved", "investigating"]


def test_an_alert_that_ended_before_anybody_heard_of_it_is_an_incident_that_is_over(kept, engine):
    hooks = Hooks(kept)
    tell(hooks, one(ended=4))
    tell(hooks, one())
    (row,) = rows(engine).itertuples()
    assert (row.status, row.ended_at) == ("resolved", minutes(4))


def test_a_resolved_alert_without_its_end_ends_now(kept, engine):
    tell(Hooks(kept), one(), {**one(), "status": "resolved", "endsAt": None})
    (row,) = rows(engine).itertuples()
    assert row.status == "resolved"


STORIES = st.lists(
    st.tuples(st.sampled_from(("api", "neon")), st.integers(0, 200), st.integers(1, 30), st.booleans()),
    min_size=1,
    max_size=6,
)


def expected(story) -> list[tuple]:
    """The incidents of a story: the alerts of a component, joined where they are at most 15 minutes apart."""
    found = []
    for component in {one[0] for one in story}:
        own = [one for one in story if one[0] == component]
        spans = sorted(((begin, begin + length if ends else None) for _, begin, length, ends in own), key=str)
        spans.sort(key=lambda span: span[0])
        runs: list[list] = []
        for begin, end in spans:
            if runs and (runs[-1][1] is None or begin <= runs[-1][1] + 15):
                runs[-1][1] = None if end is None or runs[-1][1] is None else max(runs[-1][1], end)
            else:
                runs.append([begin, end])
        found += [(component, begin, end) for begin, end in runs]
    return sorted(found, key=str)


@given(story=STORIES, data=st.data())
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_story_told_in_its_order_with_replays_gives_the_incidents_that_it_holds(kept, engine, story, data):
    """Each message may come twice and any old one again; what is over is over, what fires is open, once a component."""
    empty(engine)
    messages = []
    for number, (component, begin, length, ends) in enumerate(story):
        messages.append((begin, one(f"f{number}", component=component, began=begin)))
        if ends:
            messages.append((begin + length, one(f"f{number}", component=component, began=begin, ended=begin + length)))
    messages.sort(key=lambda pair: pair[0])
    said = [message for _, message in messages]
    hooks = Hooks(kept)
    for place in range(0, len(said), 3):
        again = data.draw(st.lists(st.sampled_from(said[: place + 3]), max_size=2))
        tell(hooks, *said[place : place + 3], *again)
    assert found_in(engine) == expected(story)


def found_in(engine) -> list[tuple]:
    def minute(moment):
        return None if pd.isna(moment) else round((moment - START).total_seconds() / 60)

    return sorted(
        ((row.component, minute(row.started_at), minute(row.ended_at)) for row in rows(engine).itertuples()), key=str
    )


@given(story=STORIES, data=st.data())
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_in_any_order_lose_nothing_and_leave_one_open_incident_a_component(kept, engine, story, data):
    empty(engine)
    messages = []
    for number, (component, begin, length, ends) in enumerate(story):
        messages.append(one(f"f{number}", component=component, began=begin))
        if ends:
            messages.append(one(f"f{number}", component=component, began=begin, ended=begin + length))
    hooks = Hooks(kept)
    for message in data.draw(st.permutations(messages)):
        tell(hooks, message)
    alerts = rows(engine, "select * from mirador.incident_alerts")
    assert len(alerts) == len(story)
    firing = {component for component, _, _, ends in story if not ends}
    opened = rows(engine, "select * from mirador.incidents where ended_at is null")
    assert sorted(opened["component"]) == sorted(firing)
    # An incident covers its alerts to the minute.
    for row in rows(engine).itertuples():
        own = alerts[alerts["incident_id"] == row.id]
        assert row.started_at == own["starts_at"].min()
        assert pd.isna(row.ended_at) if own["ends_at"].isna().any() else row.ended_at == own["ends_at"].max()


def test_hostile_labels_are_kept_as_plain_text(kept, engine):
    hostile = "<script>alert(1)</script>\x00 \u202e'; drop table mirador.incidents; --"
    tell(Hooks(kept), one(annotations={"summary": hostile}, labels={"alertname": hostile, "severity": "critical"}))
    (row,) = rows(engine).itertuples()
    assert row.title_en == "<script>alert(1)</script> '; drop table mirador.incidents; --"


def test_while_the_state_database_is_away_alertmanager_is_asked_to_come_again(kept, engine):
    away = kept.model_copy(update={"state_url": type(kept.state_url)("postgresql+psycopg://x@127.0.0.1:1/x")})
    assert "cannot be reached" in tell(Hooks(away), one(), status=503)["error"]
    tell(Hooks(kept), one())
    assert len(rows(engine)) == 1


def test_incidents_are_events_on_the_charts(kept, engine):
    tell(Hooks(kept), one(ended=7), one("x", component=None, name="DiskFull"))
    day = START.astimezone(ZONE).date()
    frame = queries.events(day, day)
    told = frame[frame["kind"] == "incident"].set_index("title")
    assert set(told.index) == {"API Backend: HighErrorRate", "DiskFull"}
    assert told.loc["API Backend: HighErrorRate", "ends_at"] == minutes(7)
    assert set(told["source"]) == {"incidents"}
    assert queries.events(day - timedelta(days=1), day - timedelta(days=1)).empty


# --- the flood --------------------------------------------------------------------------------------------------------

SERVER = """
import sys
import uvicorn
import queries
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from app.hooks import hook_routes
from app.settings import load_settings, sources_of

settings = load_settings()
queries.connect(sources_of(settings))
up = Route("/up", lambda request: PlainTextResponse("up"))
uvicorn.run(Starlette(routes=[up, *hook_routes(settings)]), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def flood_story(count: int) -> list[dict]:
    """Alerts of many fingerprints and components; four in five end, each is told two or three times."""
    chance = random.Random(7)
    known = [*told_incidents.components(), "mirador", "billing", "kyc"]
    sent: list[dict] = []
    while len(sent) < count:
        component, number = chance.choice(known), chance.randrange(10**6)
        began = chance.randrange(10)
        first = one(f"{component}-{number}", component=component, name=f"Alert{number % 40}", began=began)
        last = {**first, "status": "resolved", "endsAt": minutes(began + 1 + number % 30).isoformat()}
        sent += [first, last, first] if number % 5 else [first, first]
    # Ends before their beginnings, too.
    chance.shuffle(sent)
    return sent[:count]


def test_ten_thousand_alerts_in_a_minute_lose_nothing_and_open_no_duplicate(kept, engine, state_url, tmp_path, capsys):
    """Three processes, 30 connections at once, replays, beginnings and ends mixed: one request an alert."""
    from demo.servers import Child, answers, free_port

    count = 10_000
    sent = flood_story(count)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MIRADOR_")}
    env |= {"MIRADOR_STATE_URL": state_url, "MIRADOR_HOOK_TOKEN": TOKEN}
    servers = []
    try:
        for number in range(3):
            port = free_port()
            argv = [sys.executable, "-c", SERVER, str(port)]
            servers.append((Child("hooks", argv, log=tmp_path / f"{number}.log", cwd=ROOT, env=env), port))
        for child, port in servers:
            child.wait_until(lambda port=port: answers(f"http://127.0.0.1:{port}/up"), bound=60)
        began = time.monotonic()
        tries = _send(sent, [port for _, port in servers])
        seconds = time.monotonic() - began
    finally:
        for child, _ in servers:
            child.stop()
    alerts = {(message["fingerprint"], message["startsAt"]) for message in sent}
    ended = {(m["fingerprint"], m["startsAt"]) for m in sent if m["status"] == "resolved"}
    open_now = {m["labels"]["component"] for m in sent if (m["fingerprint"], m["startsAt"]) not in ended}
    stored = rows(engine, "select * from mirador.incident_alerts")
    with capsys.disabled():
        print(
            f"\n{count:,} alerts in {count:,} requests to 3 processes: {seconds:.1f} s "
            f"({count / seconds:,.0f} a second), {tries - count} repeated after 503; "
            f"{len(stored):,} alerts in {len(rows(engine))} incidents"
        )
    assert seconds < 60
    assert len(stored) == len(alerts)
    assert len(rows(engine, "select 1 from mirador.events")) == len(alerts)
    assert stored["ends_at"].notna().sum() == len(ended)
    opened = rows(engine, "select * from mirador.incidents where ended_at is null")
    assert sorted(opened["component"]) == sorted(open_now)
    # All began within ten minutes, so each component has one incident.
    assert sorted(rows(engine)["component"]) == sorted({m["labels"]["component"] for m in sent})


def _send(sent: list[dict], ports: list[int]) -> int:
    """Post each alert by itself until it is taken; how many requests that took."""
    asked = [0] * 30

    def work(worker: int) -> None:
        with httpx.Client(timeout=30) as client:
            for message in sent[worker :: len(asked)]:
                body = {"version": "4", "alerts": [message]}
                while True:
                    asked[worker] += 1
                    url = f"http://127.0.0.1:{ports[worker % len(ports)]}/hooks/alertmanager"
                    if client.post(url, json=body, headers=HEADERS).status_code == 200:
                        break

    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(work, range(len(asked))))
    return sum(asked)
