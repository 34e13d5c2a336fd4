"""The dashboard as a process on real servers: routes, bounds, secrets, a prompt end; and its frame by AppTest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.testing.v1 import AppTest
from websockets.sync.client import connect as open_websocket

from app.settings import settings
from demo import servers
from tests.conftest import ROOT, LedgerUrl
from tests.dashboard import Dashboard, serve
from tests.stage import held

SECRET = "correct-horse-battery"
TOKEN = {"Authorization": f"Bearer {SECRET}"}

TODAY = """
insert into bi.applications values
    ('a1', 'c1', now(), 1000, 70, 'AAA', 'approved', now(), null, now()),
    ('a2', 'c2', now(), 2000, 60, 'AA', 'rejected', now(), 'score', now()),
    ('a3', 'c3', now(), 3000, 90, 'AAA', 'approved', now(), null, now());
insert into bi.credits values
    ('k1', 'a1', 'c1', 'AAA', 1000.10, now(), now(), 'settled', 'active', null, now()),
    ('k3', 'a3', 'c3', 'AAA', 3000.05, now(), now(), 'settled', 'active', null, now());
"""
# The page cuts the day at the last whole minute: the rows lie before it.
MOMENT = "date_trunc('minute', now()) - interval '1 second'"


def fill(ledger: LedgerUrl) -> None:
    engine = create_engine(ledger.owner)
    with engine.begin() as owner:
        for statement in TODAY.split(";"):
            if statement.strip():
                owner.execute(text(statement.replace("now()", MOMENT)))
    engine.dispose()


@pytest.fixture(scope="module")
def dashboard(
    tmp_path_factory: pytest.TempPathFactory,
    module_ledger_url: LedgerUrl,
    prometheus_server: Callable[..., str],
) -> Iterator[Dashboard]:
    """One dashboard for this file, on a small ledger and an empty Prometheus, with a token on its numbers."""
    fill(module_ledger_url)
    env = {
        "MIRADOR_LEDGER_URL": module_ledger_url.reader,
        "MIRADOR_PROMETHEUS_URL": prometheus_server(),
        "MIRADOR_API_TOKEN": SECRET,
        "MIRADOR_QUERY_TIMEOUT": "1",
    }
    with serve(tmp_path_factory.mktemp("dashboard"), env) as running:
        yield running


def get(dashboard: Dashboard, path: str, **options: Any) -> requests.Response:
    return requests.get(dashboard.url + path, timeout=20, **{"headers": TOKEN, **options})


def samples(dashboard: Dashboard) -> dict[tuple[str, ...], float]:
    """Each sample of /metrics by its name and its label values."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(get(dashboard, "/metrics").text)
        for sample in family.samples
    }


def wait_for(condition: Callable[[], bool], bound: float = 15) -> None:
    until = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.2)


def test_the_process_says_that_it_lives(dashboard: Dashboard):
    answer = requests.get(dashboard.url + "/healthz", timeout=5)
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["cache-control"] == "no-store"
    head = requests.head(dashboard.url + "/healthz", timeout=5)
    assert (head.status_code, head.text) == (200, "")


def test_readiness_tells_each_source(dashboard: Dashboard):
    answer = requests.get(dashboard.url + "/readyz", timeout=5)
    report = answer.json()
    assert (answer.status_code, report["status"]) == (200, "ok")
    assert report["sources"]["ledger"]["state"] == report["sources"]["metrics"]["state"] == "ok"
    assert report["sources"]["ledger"]["latency_seconds"] < 1
    assert report["sources"]["ledger"]["age_seconds"] < 10
    assert report["sources"]["alertmanager"]["state"] == "not_configured"
    assert "MIRADOR_ALERTMANAGER_URL" in report["sources"]["alertmanager"]["error"]


def test_metrics_give_the_exact_numbers_of_the_ledger(dashboard: Dashboard):
    wait_for(lambda: ("mirador_kpi", "all", "applications", "all") in samples(dashboard))
    found = samples(dashboard)
    assert found["mirador_kpi", "all", "applications", "all"] == 3
    assert found["mirador_kpi", "all", "approval_rate", "all"] == 2 / 3
    assert found["mirador_kpi", "tier", "approval_rate", "AAA"] == 1
    assert found["mirador_kpi", "all", "disbursed_mxn", "all"] == 4000.15
    assert found["mirador_kpi_target", "approval_rate"] == 0.3
    assert 0 <= found["mirador_kpi_age_seconds", "applications"] < 120
    # What alerts need beside the numbers: how many decisions the rate rests on, and whether the ledger moves.
    assert found["mirador_kpi_base", "approval_rate"] == 3
    assert ("mirador_kpi_base", "applications") not in found
    assert found["mirador_business_day",] in {0, 1}
    assert found["mirador_ledger_changed_timestamp_seconds", "ledger"] > 0
    assert found["mirador_source_up", "ledger"] == 1
    assert ("mirador_sessions",) in found
    assert found["process_start_time_seconds",] > 0


def test_metrics_speak_openmetrics_when_asked(dashboard: Dashboard):
    answer = get(dashboard, "/metrics", headers={**TOKEN, "Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_api_gives_each_kpi_with_its_definition_and_stamp(dashboard: Dashboard):
    answer = get(dashboard, "/api/kpis?lang=en")
    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"].startswith("private")
    assert document["timezone"] == "America/Mexico_City"
    kpi = document["kpis"]["approval_rate"]
    assert kpi["value"] == 2 / 3
    assert (kpi["label"], kpi["unit"], kpi["target"]) == ("Approval rate", "share", 0.3)
    assert kpi["definition"]
    assert kpi["as_of"].endswith("-06:00")
    assert kpi["stale"] in {True, False}
    assert document["kpis"]["applications"]["value"] == 3
    assert get(dashboard, "/api/kpis").json()["kpis"]["approval_rate"]["label"] == "Tasa de aprobación"


def test_the_api_gives_a_past_day(dashboard: Dashboard):
    document = get(dashboard, "/api/kpis?day=2026-01-15").json()
    assert document["day"] == "2026-01-15"
    assert document["kpis"]["applications"]["value"] in {0, None}


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("day=yesterday", "day must be a date such as 2026-01-31."),
        ("day=20260131", "day must be a date such as 2026-01-31."),
        ("day=2026-02-30", "day must be a date such as 2026-01-31."),
        ("day=", "day must be a date such as 2026-01-31."),
        ("day=2999-01-01", "day must lie between 2000-01-01 and today"),
        ("day=0001-01-01", "day must lie between 2000-01-01 and today"),
        ("lang=fr", "lang must be es or en."),
    ],
)
def test_a_wrong_question_gets_a_sentence(dashboard: Dashboard, question: str, sentence: str):
    answer = get(dashboard, f"/api/kpis?{question}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize("path", ["/metrics", "/api/kpis"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRET}"}])
def test_business_numbers_ask_for_the_token(dashboard: Dashboard, path: str, headers: dict[str, str]):
    answer = get(dashboard, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "mirador_kpi" not in answer.text


def test_open_browsers_are_counted(dashboard: Dashboard):
    address = dashboard.url.replace("http", "ws") + "/_stcore/stream"
    with open_websocket(address, origin=dashboard.url, subprotocols=["streamlit"]):  # type: ignore[list-item]
        wait_for(lambda: samples(dashboard)["mirador_sessions",] == 1)
    wait_for(lambda: samples(dashboard)["mirador_sessions",] == 0)


def test_a_server_that_hangs_holds_up_no_route(dashboard: Dashboard, postgres: servers.Postgres):
    wait_for(lambda: ("mirador_kpi", "all", "applications", "all") in samples(dashboard))
    time.sleep(3.1)  # the kept probe grows old
    with held(postgres.pid):
        start = time.monotonic()
        report = requests.get(dashboard.url + "/readyz", timeout=10)
        took = time.monotonic() - start
        assert took < 2
        assert (report.status_code, report.json()["status"]) == (200, "degraded")
        assert report.json()["sources"]["ledger"]["state"] == "down"
        start = time.monotonic()
        assert get(dashboard, "/metrics").status_code == 200
        assert requests.get(dashboard.url + "/healthz", timeout=5).ok
        assert time.monotonic() - start < 3
        start = time.monotonic()
        answer = get(dashboard, "/api/kpis?day=2026-01-20")
        assert time.monotonic() - start < 15
        assert answer.json()["kpis"]["applications"]["error"]
        assert answer.json()["kpis"]["applications"]["value"] is None
    wait_for(lambda: requests.get(dashboard.url + "/readyz", timeout=10).json()["status"] == "ok")


def test_no_secret_and_no_stack_stands_in_the_log(dashboard: Dashboard):
    log = dashboard.log.read_text()
    assert SECRET not in log
    assert "Traceback" not in log.split("\n")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """`streamlit run app/asgi.py` without any source, on a page that fails."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copytree(ROOT / "app", folder / "app")
    (folder / "pages").mkdir()
    (folder / "pages" / "today.py").write_text(f"raise ValueError('no way to postgresql://reader:{SECRET}@db')\n")
    start = (
        "import os, sys; from streamlit.web.cli import main; "
        f"script = {str(folder / 'app' / 'asgi.py')!r}; "
        "sys.argv = ['streamlit', 'run', script, '--server.port', os.environ['MIRADOR_PORT']]; "
        "main()"
    )
    with serve(folder, {"PYTHONPATH": str(ROOT)}, [sys.executable, "-c", start]) as running:
        yield running


def test_without_sources_it_starts_and_is_ready_and_says_how_to_name_them(bare: Dashboard):
    answer = requests.get(bare.url + "/readyz", timeout=5)
    assert (answer.status_code, answer.json()["status"]) == (200, "not_configured")
    document = requests.get(bare.url + "/api/kpis", timeout=10)
    assert document.status_code == 503
    assert "MIRADOR_LEDGER_URL" in document.json()["kpis"]["applications"]["error"]
    assert requests.get(bare.url + "/metrics", timeout=10).ok


def test_a_page_that_fails_shows_a_sentence_and_is_logged_and_counted_without_its_secret(bare: Dashboard):
    question = BackMsg()
    question.rerun_script.query_string = ""
    told = b""
    with open_websocket(
        bare.url.replace("http", "ws") + "/_stcore/stream",
        origin=bare.url,  # type: ignore[arg-type]
        subprotocols=["streamlit"],  # type: ignore[list-item]
        max_size=None,
    ) as browser:
        browser.send(question.SerializeToString())
        until = time.monotonic() + 15
        while b"no se pudo" not in told and b"could not be drawn" not in told and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                told += bytes(browser.recv(timeout=1, decode=False))
    assert b"could not be drawn" in told or b"no se pudo" in told
    assert b"ValueError" not in told
    assert SECRET.encode() not in told
    log = bare.log.read_text()
    assert SECRET not in log
    [line] = [line for line in log.splitlines() if "ValueError: no way to" in line]
    assert "postgresql://[removed]@db" in line
    assert 'mirador_script_errors_total{type="ValueError"} 1.0' in requests.get(bare.url + "/metrics", timeout=10).text


def test_it_ends_within_ten_seconds_with_open_browsers_and_hung_sources(
    tmp_path: Path, ledger_url: LedgerUrl, postgres: servers.Postgres
):
    env = {"MIRADOR_LEDGER_URL": ledger_url.reader, "MIRADOR_QUERY_TIMEOUT": "60"}
    with serve(tmp_path, env) as dashboard:
        address = dashboard.url.replace("http", "ws") + "/_stcore/stream"
        with (
            open_websocket(address, origin=dashboard.url, subprotocols=["streamlit"]),  # type: ignore[list-item]
            held(postgres.pid),
            contextlib.suppress(requests.RequestException),
        ):
            with contextlib.suppress(requests.Timeout):
                requests.get(dashboard.url + "/api/kpis?day=2026-01-20", timeout=0.5)
            report = requests.get(dashboard.url + "/readyz", timeout=5)
            assert report.status_code == 503, "the only source does not answer"
            start = time.monotonic()
            os.kill(dashboard.process.pid, signal.SIGTERM)
            code = dashboard.process.process.wait(10)
            took = time.monotonic() - start
    assert took < 10
    assert code == 0


def test_business_numbers_stay_in_where_login_is_configured_and_no_token(tmp_path: Path, ledger_url: LedgerUrl):
    home = tmp_path / "home" / ".streamlit"
    home.mkdir(parents=True)
    (home / "secrets.toml").write_text(
        "[auth]\n"
        'redirect_uri = "http://localhost/oauth2callback"\n'
        f'cookie_secret = "{SECRET}"\nclient_id = "x"\nclient_secret = "{SECRET}"\n'
        'server_metadata_url = "https://login.invalid/.well-known/openid-configuration"\n'
    )
    env = {"MIRADOR_LEDGER_URL": ledger_url.reader, "HOME": str(tmp_path / "home")}
    with serve(tmp_path, env) as dashboard:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(dashboard.url + "/api/kpis", timeout=10)
        assert refused.value.code == 403
        assert "MIRADOR_API_TOKEN" in json.loads(refused.value.read())["error"]
        time.sleep(1)
        own = requests.get(dashboard.url + "/metrics", timeout=10)
        assert "process_cpu_seconds_total" in own.text
        assert "mirador_kpi{" not in own.text


# --- the frame --------------------------------------------------------------------------------------------------------


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """The frame with pages of the test's own, on no source."""
    for name in [name for name in os.environ if name.startswith("MIRADOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    (tmp_path / "app").mkdir()
    script = shutil.copy(ROOT / "app" / "streamlit_app.py", tmp_path / "app")

    def run(**pages: str) -> AppTest:
        (tmp_path / "pages").mkdir()
        for name, source in pages.items():
            (tmp_path / "pages" / f"{name}.py").write_text(source)
        return AppTest.from_file(script, default_timeout=20).run()

    return run


def page(words: str) -> str:
    return f"import streamlit as st\nst.title({words!r})\n"


def test_only_pages_that_exist_are_offered_and_today_comes_first(frame: Callable[..., AppTest]):
    at = frame(today=page("Hoy"), approvals=page("Aprobaciones"), alerts=page("Alertas"))
    assert not at.exception
    assert at.title[0].value == "Hoy"
    assert at.switch_page("../pages/alerts.py").run().title[0].value == "Alertas"


def test_the_frame_says_how_to_name_a_source_that_is_missing(frame: Callable[..., AppTest]):
    said = " ".join(caption.value for caption in frame(today=page("Hoy")).sidebar.caption)
    assert "MIRADOR_LEDGER_URL" in said
    assert "MIRADOR_PROMETHEUS_URL" in said


def test_the_frame_costs_next_to_nothing(frame: Callable[..., AppTest]):
    at = frame(today=page("Hoy"))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        at.run()
        times.append(time.perf_counter() - start)
    # AppTest's own share is most of it.
    assert min(times) < 0.15
