"""The Data sources page: each source with its state, and what is lost without it; with real servers and dead ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

import components
import queries
from queries import Outside, Prometheus, Sources
from queries.outside import NOT_CONFIGURED, OUTSIDE
from queries.source_report import EVERY, source_report
from tests.dashboard import chromium, chromium_path, serve, viewer

PAGES = Path(__file__).resolve().parent.parent / "pages"
# It links to other pages, so all of them are named.
FRAME = f"""
import streamlit as st
from pathlib import Path
files = sorted(Path({str(PAGES)!r}).glob("*.py"))
st.navigation([st.Page(file, default=file.stem == "sources") for file in files], position="hidden").run()
"""
DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    components.set_default_language("en")
    yield
    queries.disconnect()


def drawn() -> AppTest:
    return AppTest.from_string(FRAME, default_timeout=30).run()


def words(app: AppTest) -> str:
    return "\n".join(one.value for one in [*app.title, *app.markdown, *app.caption])


def row(source: str):
    report = source_report()
    return report[report["source"] == source].iloc[0]


def test_without_any_setting_each_source_says_which_one_names_it():
    queries.connect(Sources())
    report = source_report()
    assert list(report["source"]) == list(EVERY)
    assert set(report["state"]) == {"not_configured"}
    said = dict(zip(report["source"], report["said"], strict=True))
    assert "MIRADOR_LEDGER_URL" in said["ledger"]
    assert all(said[source] == NOT_CONFIGURED[source] for source in OUTSIDE)
    app = drawn()
    assert not app.exception
    assert "No source is configured yet" in words(app)
    assert "MIRADOR_JAEGER_URL" in words(app)


def test_a_ledger_that_answers_tells_how_old_its_newest_row_is(ledger_url):
    with psycopg.connect(ledger_url.owner.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute(
            "insert into bi.applications (application_id, conductor_id, submitted_at, amount_requested, status,"
            " updated_at) values ('a1', 'c1', now() - interval '1 hour', 1000, 'pending', now() - interval '1 hour')"
        )
    queries.connect(Sources(ledger_url=ledger_url.reader))
    told = row("ledger")
    assert told.state == "ok"
    assert 0 <= told.latency < 1
    assert told.circuit == "closed"
    age = datetime.now(UTC) - told.data_as_of
    assert timedelta(minutes=59) < age < timedelta(minutes=62)


def test_metrics_tell_how_old_their_newest_sample_is(prometheus_server):
    moment = int(time.time()) - 120
    url = prometheus_server(f"# TYPE up gauge\nup 1 {moment}\n# EOF\n")
    queries.connect(Sources(prometheus=Prometheus(url)))
    told = row("metrics")
    assert told.state == "ok"
    assert abs(told.data_as_of.timestamp() - moment) < 1


def test_dead_sources_are_told_side_by_side_and_within_a_bound():
    queries.connect(
        Sources(
            ledger_url="postgresql://nobody@127.0.0.1:9/none",
            prometheus=Prometheus(DEAD),
            state_url="postgresql://nobody@127.0.0.1:9/none",
            outside=Outside(alertmanager_url=DEAD, jaeger_url=DEAD),
            connect_timeout=1,
        )
    )
    began = time.monotonic()
    report = source_report(timeout=1.0).set_index("source")
    assert time.monotonic() - began < 6
    assert (report.loc[["ledger", "metrics", "state", "alertmanager"], "state"] == "down").all()
    assert report.loc["ledger", "said"] == "The ledger cannot be reached."
    assert report.loc["ledger", "circuit"] in {"open", "half_open"}
    assert report.loc["ledger", "failed"] >= 1
    assert report.loc["logs", "state"] == "not_configured"
    app = drawn()
    assert not app.exception
    text = words(app)
    assert "Does not answer: Ledger, Metrics, State database" in text
    # What is still to be had without it stands beside the failure.
    assert "Every business number." in text


def test_a_source_that_comes_back_is_told_as_back(prometheus_server):
    url = prometheus_server()
    queries.connect(Sources(prometheus=Prometheus(DEAD)))
    assert row("metrics").state == "down"
    queries.connect(Sources(prometheus=Prometheus(url)))
    assert row("metrics").state == "ok"


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_the_page_stands_in_spanish_and_on_a_phone(ledger_url, server_dir):
    env = {"MIRADOR_LEDGER_URL": ledger_url.reader, "MIRADOR_PROMETHEUS_URL": DEAD}
    with (
        serve(server_dir, env) as dashboard,
        chromium() as browser,
        viewer(browser, viewport={"width": 390, "height": 844}) as window,
    ):
        window.open(f"{dashboard.url}/sources")
        window.wait_for_text("No responde: Métricas.")
        window.wait_for_text("MIRADOR_SENTRY_URL")
        assert not window.page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth")
        window.assert_clean()
