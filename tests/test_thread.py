"""One thread: ledger, log lines, spans, errors and incidents of one id on one line of time; real servers, dead ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pandas as pd
import psycopg
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from streamlit.testing.v1 import AppTest

import components
import queries
from app import state
from queries import Outside, SourceError, Sources, threads
from tests.conftest import LedgerUrl, drop_ledger, new_ledger
from tests.dashboard import chromium, chromium_path, serve, viewer

ROOT = Path(__file__).resolve().parent.parent
ENGINEER = frozenset({"engineer"})
ANALYST = frozenset({"analyst"})
DEAD = "http://127.0.0.1:9"
NOW = datetime.now(UTC).replace(microsecond=0)
CALLED = NOW - timedelta(hours=3)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
_groups = count(1)
FRAME = f"""
import streamlit as st
from pathlib import Path
files = sorted(Path({str(ROOT / "pages")!r}).glob("*.py"))
st.navigation([st.Page(file, default=file.stem == "thread") for file in files], position="hidden").run()
"""


@dataclass
class Company:
    """A credit whose disbursement failed once: what it left in the ledger, the logs and the traces."""

    ledger: LedgerUrl
    state_url: str
    group: str
    service: str
    request: str
    trace: str
    sources: Sources

    @property
    def env(self) -> dict[str, str]:
        outside = self.sources.outside
        return {
            "MIRADOR_LEDGER_URL": self.ledger.reader,
            "MIRADOR_STATE_URL": self.state_url,
            "MIRADOR_CLOUDWATCH_LOG_GROUPS": self.group,
            "MIRADOR_CLOUDWATCH_URL": str(outside.cloudwatch_url),
            "MIRADOR_JAEGER_URL": str(outside.jaeger_url),
        }


def fill(url: str, request: str, trace: str) -> None:
    """One application, scored, approved, its money sent at the second try; an installment paid, one late."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as owner:
        day = timedelta(days=1)
        owner.execute(
            "insert into bi.applications values ('A1', 'D1', %s, 60000, 71, 'AA', 'approved', %s, null, %s)",
            (CALLED - 2 * MINUTE, CALLED - MINUTE, CALLED),
        )
        owner.execute(
            "insert into bi.credits values ('C1', 'A1', 'D1', 'AA', 50000, %s, %s, 'settled', 'active', null, %s)",
            (CALLED - MINUTE, CALLED + 10 * MINUTE, CALLED),
        )
        owner.execute(
            "insert into bi.hase_scores values (1, 'A1', 'D1', 71, 'hase-2', %s)", (CALLED - MINUTE - 30 * SECOND,)
        )
        owner.execute(
            "insert into bi.installments values (1, 'C1', 1, %s, 1000, 1000, %s, %s),"
            " (2, 'C1', 2, %s, 1000, 0, null, %s)",
            (NOW.date() - 6 * day, NOW - 2 * day, NOW, NOW.date() - 3 * day, NOW),
        )
        owner.execute(
            "insert into bi.payments values (1, 'C1', 1, %s, 1000, 'succeeded', 'card', null, null, %s)",
            (NOW - 2 * day, NOW),
        )
        calls = (
            (1, CALLED, "error", 503, 1200, "E_DOWN", request, trace),
            (2, CALLED + 10 * MINUTE, "success", 200, 300, None, uuid4().hex, uuid4().hex),
        )
        for call, at, outcome, answer, took, code, asked, path in calls:
            owner.execute(
                "insert into bi.integration_calls values (%s, %s, 'neon', '/transfers', %s, %s, %s, %s, null, %s, %s,"
                " 'A1', 'C1')",
                (call, at, outcome, answer, took, code, asked, path),
            )


def spans(service: str, trace: str, request: str, begin: datetime) -> ExportTraceServiceRequest:
    """A request of 1.3 s with a call of 1.2 s that failed."""
    export = ExportTraceServiceRequest()
    of_service = export.resource_spans.add()
    of_service.resource.attributes.add(key="service.name").value.string_value = service
    scope = of_service.scope_spans.add()
    for place, (name, after, lasted, failed) in enumerate((("POST /disburse", 0.0, 1.3, 0), ("neon", 0.05, 1.2, 1))):
        span = scope.spans.add()
        span.trace_id, span.span_id = bytes.fromhex(trace), (place + 1).to_bytes(8, "big")
        if place:
            span.parent_span_id = (1).to_bytes(8, "big")
        span.name, span.kind = name, 3 if place else 2
        span.start_time_unix_nano = int((begin.timestamp() + after) * 1e9)
        span.end_time_unix_nano = int((begin.timestamp() + after + lasted) * 1e9)
        span.attributes.add(key="request_id").value.string_value = request
        span.status.code = 2 if failed else 0
    return export


def put_logs(url: str, group: str, lines: list[tuple[datetime, dict[str, Any]]]) -> None:
    client = boto3.client(
        "logs", region_name="us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="app")
    told = [
        {"timestamp": round(at.timestamp() * 1000), "message": json.dumps(line)}
        for at, line in sorted(lines, key=lambda line: line[0])
    ]
    client.put_log_events(logGroupName=group, logStreamName="app", logEvents=told)


@pytest.fixture(scope="module")
def company(postgres, moto_server, trace_store) -> Iterator[Company]:
    ledger, own = new_ledger(postgres), new_ledger(postgres, template="template1")
    request, trace, number = uuid4().hex, uuid4().hex, next(_groups)
    fill(ledger.owner, request, trace)
    state.migrate(own.owner)
    with psycopg.connect(own.owner.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute(
            "insert into mirador.events (kind, title, starts_at, ends_at, source, fingerprint) values"
            " ('alert', 'IntegrationAPIDown: neon', %s, %s, 'alertmanager', 'a'),"
            " ('alert', 'Long over', %s, %s, 'alertmanager', 'b')",
            (CALLED - MINUTE, CALLED + 5 * MINUTE, CALLED - 90 * MINUTE, CALLED - 80 * MINUTE),
        )
    group, service = f"/test/thread-{number}", f"thread-{number}"
    put_logs(
        moto_server,
        group,
        [
            (CALLED + SECOND, _line(request, trace, "ERROR", "neon answered 503, write to ana@correo.mx")),
            (CALLED - SECOND * 0.1, _line(request, trace, "INFO", "sending 50000 to C1")),
            (CALLED, {"level": "INFO", "message": "of another", "request_id": "other"}),
        ],
    )
    sent = requests.post(
        f"{trace_store.url}/v1/traces",
        data=spans(service, trace, request, CALLED).SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=5,
    )
    assert sent.ok
    sources = Sources(
        ledger_url=ledger.reader,
        state_url=own.owner,
        outside=Outside(cloudwatch_log_groups=(group,), cloudwatch_url=moto_server, jaeger_url=trace_store.url),
    )
    yield Company(ledger, own.owner, group, service, request, trace, sources)
    queries.disconnect()
    drop_ledger(postgres, ledger)
    drop_ledger(postgres, own)


def _line(request: str, trace: str, level: str, message: str) -> dict[str, Any]:
    return {
        "level": level,
        "message": message,
        "logger": "neon",
        "request_id": request,
        "trace_id": trace,
        "integration": "neon",
        "credit_id": "C1",
    }


@pytest.fixture
def connected(company, monkeypatch) -> Iterator[Company]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    components.set_default_language("en")
    queries.connect(company.sources)
    yield company
    queries.disconnect()


def opened(id: str, roles: frozenset[str] = ENGINEER) -> threads.Thread:
    known = threads.known_as(id)
    return threads.open_thread(known, *threads.period_of(known, None, datetime.now(UTC)), roles)


def by_source(thread: threads.Thread) -> dict[str, int]:
    return thread.moments["source"].value_counts().to_dict()


# --- what an id is ----------------------------------------------------------------------------------------------------


def test_each_kind_of_id_is_known_by_the_ledger(connected):
    for id, kind in (
        ("C1", "credit"),
        ("A1", "application"),
        ("D1", "conductor"),
        (connected.request, "request"),
        (connected.trace, "trace"),
    ):
        known = threads.known_as(id)
        assert (known.kind, known.credits, known.applications) == (kind, ("C1",), ("A1",))
    assert threads.known_as("nobody").kind is None


def test_an_id_that_the_ledger_does_not_know_is_still_looked_for(connected):
    found = opened("other")
    assert by_source(found) == {"log": 1, "alert": 2}


# --- one line of time -------------------------------------------------------------------------------------------------


def test_a_request_shows_its_call_lines_and_spans_in_order(connected):
    thread = opened(connected.request)
    moments = thread.moments
    own = moments[moments["source"].isin(("call", "log", "span"))]
    assert own["what"].tolist() == [
        "sending 50000 to C1",
        "error",
        "POST /disburse",
        "neon",
        queries.mask("neon answered 503, write to ana@correo.mx"),
        # The second try, ten minutes later: another request of the same credit.
        "success",
    ]
    assert not own["what"].str.contains("ana@correo.mx").any()
    assert moments["at"].is_monotonic_increasing
    assert str(moments["at"].dt.tz) == "America/Mexico_City"
    # The ledger's moments of the credit around it, and the alert that ran meanwhile; not the one before.
    assert {"submitted", "approved", "disbursed"} <= set(moments["what"])
    assert moments.loc[moments["source"] == "alert", "what"].tolist() == ["IntegrationAPIDown: neon"]
    assert thread.skews.empty


@pytest.mark.parametrize("kind", ["credit", "application", "conductor", "trace"])
def test_the_same_failure_is_on_the_thread_of_each_id(connected, kind):
    id = {"credit": "C1", "application": "A1", "conductor": "D1", "trace": connected.trace}[kind]
    found = by_source(opened(id))
    assert (found["call"], found["log"], found["span"]) == (2, 2, 2)


def test_a_credit_has_its_payments_and_its_late_installment(connected):
    moments = opened("C1").moments
    own = moments[moments["source"] == "ledger"]
    assert own.loc[own["kind"] == "installment", "what"].tolist() == ["late", "paid"]
    assert own.loc[own["kind"] == "payment", "state"].tolist() == ["good"]
    assert own.loc[own["what"] == "disbursed", "amount"].tolist() == [50000]


def test_every_moment_leads_somewhere(connected):
    pages = {path.stem for path in (ROOT / "pages").glob("*.py")}
    moments = opened(connected.request).moments
    links = {row.source: row.link for row in moments.iloc[::-1].itertuples(index=False)}
    assert links["call"] == ("integrations", {"id": "1"})
    assert links["log"] == ("logs", {"request": connected.request})
    assert links["span"] == ("traces", {"trace": connected.trace})
    assert {page for page, _params in links.values()} <= pages


def test_only_engineers_read_what_requests_left_behind(connected):
    thread = opened(connected.request, ANALYST)
    assert not {"log", "span", "error"} & set(thread.moments["source"])
    said = dict(thread.notes)
    assert "engineers" in said["log"]
    assert "engineers" in said["span"]


# --- bounds and failures ----------------------------------------------------------------------------------------------


def test_sources_that_are_down_are_a_sentence_each_and_the_ledger_stands(company):
    queries.connect(
        Sources(
            ledger_url=company.ledger.reader,
            outside=Outside(
                cloudwatch_log_groups=("x",),
                cloudwatch_url=DEAD,
                jaeger_url=DEAD,
                sentry_url=DEAD,
                sentry_token="t" * 20,
                sentry_organization="o",
            ),
            connect_timeout=1,
        )
    )
    began = time.monotonic()
    thread = opened(company.request)
    assert time.monotonic() - began < threads.SECONDS + 3
    assert {"call", "ledger"} <= set(thread.moments["source"])
    assert {source for source, _sentence in thread.notes} >= {"log", "span", "error"}
    queries.disconnect()


def test_sources_that_nobody_configured_say_which_setting_names_them(company):
    queries.connect(Sources(ledger_url=company.ledger.reader))
    said = dict(opened("C1").notes)
    assert "MIRADOR_CLOUDWATCH_LOG_GROUPS" in said["log"]
    assert "MIRADOR_JAEGER_URL" in said["span"]
    assert "MIRADOR_SENTRY_URL" in said["error"]
    queries.disconnect()


def test_a_source_that_hangs_holds_the_thread_for_a_bounded_time(connected, monkeypatch):
    monkeypatch.setattr(threads, "SECONDS", 0.5)
    monkeypatch.setattr(threads.traces, "trace", lambda *_: time.sleep(3))
    began = time.monotonic()
    thread = opened(connected.request)
    assert time.monotonic() - began < 2.5
    assert ("span", "It has not answered in time.") in thread.notes


def test_without_the_ledger_there_is_no_thread():
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    with pytest.raises(SourceError, match="ledger cannot be reached"):
        threads.known_as("C1")
    queries.disconnect()


def test_without_the_ledger_the_other_sources_still_tell_of_an_id(company):
    dead = Sources(
        ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1, outside=company.sources.outside
    )
    queries.connect(dead)
    thread = threads.open_thread(
        threads.named(company.request, "request"), CALLED - 20 * MINUTE, CALLED + 20 * MINUTE, ENGINEER
    )
    around = {"from": (CALLED - 20 * MINUTE).isoformat(), "to": (CALLED + 20 * MINUTE).isoformat()}
    components.set_default_language("en")
    app = drawn(request=company.request, **around)
    queries.disconnect()
    assert ("ledger", "The ledger cannot be reached.") in thread.notes
    assert by_source(thread)["log"] > 0
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)
    assert "Not in the ledger" not in words(app)
    assert set(app.dataframe[0].value["source"]) >= {"Logs"}


def test_too_long_a_period_is_refused(connected):
    with pytest.raises(SourceError, match="62 days"):
        threads.open_thread(threads.known_as("C1"), NOW - timedelta(days=63), NOW, ENGINEER)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id=st.text(max_size=40).filter(lambda text: "\x00" not in text))
@example(id="$timezone")
def test_any_text_is_an_id_or_none_and_breaks_nothing(connected, id):
    assert threads.known_as(id).id == id


# --- clocks -----------------------------------------------------------------------------------------------------------


def moment(source: str, seconds: float, duration: int | None = None, request: str = "r1") -> dict[str, Any]:
    return {
        "at": pd.Timestamp(CALLED) + pd.Timedelta(seconds=seconds),
        "source": source,
        "duration_ms": duration,
        "request_id": request,
        "trace_id": "",
    }


def skewed(*rows: dict[str, Any]) -> dict[str, float]:
    frame = pd.DataFrame([moment("call", 0, 1000), *rows])
    found = threads.skews(frame)
    return dict(zip(found["source"], found["seconds"], strict=True))


def test_moments_within_the_call_show_no_skew():
    assert skewed(moment("log", 0.1), moment("log", 0.9), moment("span", 1.2)) == {}


@given(st.floats(min_value=2, max_value=4000))
def test_a_clock_that_is_ahead_or_behind_is_told_by_how_much(by):
    ahead = skewed(moment("log", by), moment("log", by + 0.2))
    assert ahead["log"] == pytest.approx(by - 0.9, abs=1e-3)
    behind = skewed(moment("span", -by))
    assert behind["span"] == pytest.approx(-by, abs=1e-3)


def test_one_late_line_is_no_skewed_clock():
    assert skewed(moment("log", 0.1), moment("log", 0.2), moment("log", 60)) == {}


def test_moments_of_other_requests_say_nothing_of_the_clock():
    assert skewed(moment("log", 100, request="r2")) == {}


# --- the page ---------------------------------------------------------------------------------------------------------


def drawn(**asked: str) -> AppTest:
    app = AppTest.from_string(FRAME, default_timeout=60)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.title, *app.markdown, *app.caption, *app.error])


def test_without_an_id_the_page_says_what_it_takes(connected):
    app = drawn()
    assert not app.exception
    assert "Type the id of a request" in words(app)


@pytest.mark.parametrize("name", ["id", "request", "trace", "credit", "application", "conductor"])
def test_a_link_of_any_page_opens_its_thread(connected, name):
    ids = {"request": connected.request, "trace": connected.trace, "application": "A1", "conductor": "D1"}
    app = drawn(**{name: ids.get(name, "C1")})
    assert not app.exception
    table = app.dataframe[0].value
    assert {"Ledger", "Calls", "Logs", "Spans"} <= set(table["source"])


def test_the_page_stands_without_the_ledger():
    components.set_default_language("en")
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:9/none", connect_timeout=1))
    app = drawn(id="C1")
    queries.disconnect()
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)


def test_without_a_configured_ledger_a_quiet_line_says_which_setting_names_it():
    components.set_default_language("en")
    queries.connect(Sources())
    app = drawn(id="C1")
    queries.disconnect()
    assert not app.exception
    assert not app.error
    assert "set MIRADOR_LEDGER_URL" in words(app)


def test_alerts_and_changes_are_named_in_the_viewers_language(connected):
    components.set_default_language("es")
    app = drawn(id="C1")
    components.set_default_language("en")
    assert not app.exception
    kinds = set(app.dataframe[0].value["kind"])
    assert {"Pago", "Llamada"} <= kinds
    assert not kinds & {"alert", "incident", "deployment"}


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_what_still_runs_is_a_bar_that_stays_open_and_does_not_stretch_the_period():
    components.set_default_language("en")
    start, end = NOW - 20 * MINUTE, NOW + 10 * MINUTE
    told = pd.DataFrame(
        {
            "at": [NOW - timedelta(days=3), NOW - 5 * MINUTE],
            "until": pd.Series([None, None], dtype="datetime64[us, UTC]"),
            "running": [True, False],
            "kind": ["alert", "call"],
            "state": ["failed", "neutral"],
            "what": ["Alert: it burns", "Call"],
            "amount": "",
            "detail": "",
        }
    )
    lanes = {"call": "Calls", "alert": "Alerts"}
    spec = components.timeline(told, lanes=lanes, title="t", now=NOW, within=(start, end)).chart.to_dict()
    layers = {layer["mark"]["type"]: layer for layer in spec["layer"] if layer["mark"].get("shape") != "circle"}
    points = next(layer for layer in spec["layer"] if layer["mark"].get("shape") == "circle")
    rows = {name: spec["datasets"][layers[name]["data"]["name"]] for name in ("bar", "point")}
    assert [row["_lane"] for row in spec["datasets"][points["data"]["name"]]] == ["Calls"]
    plain = "%Y-%m-%dT%H:%M:%S"
    # From the beginning of the period until now, where its head says that it goes on.
    assert rows["bar"][0]["_at"].startswith(start.strftime(plain))
    assert rows["bar"][0]["_until"].startswith(NOW.strftime(plain))
    assert layers["point"]["mark"]["shape"] == "triangle-right"
    assert rows["point"][0]["_when"].startswith("since ")


def test_a_moment_that_is_picked_opens_and_leads_to_its_lines(company, server_dir):
    env = {**company.env, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with (
        serve(server_dir, env, ready="/readyz") as dashboard,
        chromium() as browser,
        viewer(browser, locale="en-US", viewport={"width": 1600, "height": 1200}) as window,
    ):
        window.open(f"{dashboard.url}/thread?request={company.request}", timeout=90)
        window.wait_for_text("moments,")
        window.drawn()
        grid = window.page.locator(".st-key-panel-thread-moments [data-testid='stDataFrame']").first
        grid.scroll_into_view_if_needed()
        # The fifth row: whatever stands there, it opens.
        grid.click(position={"x": 25, "y": 35 * 5 + 17})
        window.page.locator(".st-key-panel-thread-moments [data-testid='stCode']").wait_for(timeout=30_000)
        window.page.locator(".st-key-panel-thread-moments").get_by_text("Its log lines").first.click()
        window.page.wait_for_url("**/logs?*request=*", timeout=30_000)
        window.wait_for_text("2 lines match")
        window.assert_clean()
