"""The PromQL client against a real Prometheus with known series, and against answers in the documented form."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import queries
from demo.servers import free_port
from queries import Prometheus, SourceError, Sources, sources
from queries.library import Column, Param, Query
from queries.metrics_client import MAX_POINTS, step_for, window_for

# Midnight in Mexico City on three days, at 60 s spacing: a counter that grows by 1 a minute.
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
MINUTES = 3 * 1440


def known_series() -> str:
    lines = ["# TYPE http_requests counter"]
    for code, slope in (("200", 1), ("500", 0.1)):
        lines += [
            f'http_requests_total{{job="b",instance="b-1",status="{code}"}} {minute * slope:.10g}'
            f" {int(START.timestamp()) + minute * 60}"
            for minute in range(MINUTES)
        ]
    return "\n".join([*lines, "# EOF", ""])


def question(promql: str, kind: str, params=()) -> Query:
    return Query("q", "metrics", "q", "q", promql, tuple(params), kind=kind, ttl=60)


def ask(query: Query, params=None) -> pd.DataFrame:
    return sources._connected().ask(query, params or {})


@pytest.fixture(scope="module")
def known(prometheus_server):
    return prometheus_server(known_series())


@pytest.fixture
def house(known):
    queries.connect(Sources(prometheus=Prometheus(known), scrape_interval=60))
    yield
    queries.disconnect()


TIME = Param("time", "timestamptz", None, False)
RANGE = (Param("start", "timestamptz"), Param("end", "timestamptz", None, False))
DAYS = (Param("days", "date[]"), Param("day", "date"), Param("as_of", "timestamptz", None, False))


def test_an_instant_query_gives_a_row_a_series_with_its_labels(house):
    frame = ask(
        question("http_requests_total", "instant", [TIME]), {"time": START + timedelta(minutes=100)}
    ).sort_values("status")
    assert frame["status"].tolist() == ["200", "500"]
    assert frame["value"].tolist() == [100.0, 10.0]
    assert "__name__" not in frame


def test_a_range_query_has_aligned_points_in_the_configured_zone(house):
    frame = ask(
        question('sum(rate(http_requests_total{status="200"}[$window]))', "range", RANGE),
        {"start": START + timedelta(hours=1, seconds=7), "end": START + timedelta(hours=7, seconds=11)},
    )
    assert str(frame["time"].dt.tz) == "America/Mexico_City"
    assert (frame["time"].dt.second == 0).all()
    assert frame["value"].round(6).eq(round(1 / 60, 6)).all()


def test_days_are_cut_at_the_same_local_time_of_day(house):
    frame = ask(
        question('sum(increase(http_requests_total{status="200"}[$window]))', "days", DAYS),
        {
            "days": [date(2026, 3, 2), date(2026, 3, 3)],
            "day": date(2026, 3, 3),
            "as_of": START + timedelta(days=1, hours=6, seconds=30),
        },
    )
    assert frame["day"].dt.date.tolist() == [date(2026, 3, 2), date(2026, 3, 3)]
    # increase() is extrapolated: about 360 in six hours, never the day before's.
    assert frame["value"].between(358, 361).all()
    assert "[21600s]" in queries.answer_of(frame).text


def test_a_day_that_is_over_is_whole(house):
    frame = ask(
        question('sum(increase(http_requests_total{status="200"}[$window]))', "days", DAYS),
        {"days": [date(2026, 3, 3)], "day": date(2026, 3, 3), "as_of": START + timedelta(days=9)},
    )
    assert frame["value"].iloc[0] == pytest.approx(1440, rel=0.002)


def test_a_question_with_no_series_gives_an_empty_frame(house):
    frame = ask(question("no_such_metric", "instant", [TIME]), {"time": START})
    assert frame.empty
    assert "value" in frame


def test_an_answer_without_a_series_has_the_columns_that_the_head_declares(house):
    labelled = replace(question("no_such_metric", "instant", [TIME]), columns=(Column("le", "text"),))
    frame = ask(labelled, {"time": START})
    assert frame.empty
    assert set(frame) == {"le", "value"}


def test_a_broken_question_is_told_without_the_raw_body(house):
    with pytest.raises(SourceError) as told:
        ask(question("sum(", "instant", [TIME]))
    assert told.value.kind == "refused"
    assert "parse error" not in told.value.sentence


def test_more_points_than_prometheus_allows_are_refused_before_asking(house):
    with pytest.raises(SourceError, match="points") as told:
        ask(
            question("up", "range", (*RANGE, Param("step", "number", None, False))),
            {"start": START, "end": START + timedelta(days=30), "step": 1},
        )
    assert told.value.kind == "too_large"


@pytest.mark.parametrize("hours", [0.1, 1, 24, 24 * 7, 24 * 90, 24 * 730])
def test_step_and_window_follow_the_period(hours):
    period = timedelta(hours=hours)
    step = step_for(period, 15)
    assert period.total_seconds() / step <= MAX_POINTS
    assert step >= 15
    assert window_for(step, 15) >= max(60, step)


class Documented(BaseHTTPRequestHandler):
    """Answers in the form that the documentation of the Prometheus HTTP API gives; the path's owner sets them."""

    def do_POST(self) -> None:
        server = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.seen.append(dict(self.headers))
        if server.delay:
            time.sleep(server.delay)
        body = json.dumps(server.answer).encode() if not isinstance(server.answer, bytes) else server.answer
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def documented():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Documented)
    server.status, server.delay, server.seen = 200, 0, []
    server.answer = {"status": "success", "data": {"resultType": "vector", "result": []}}
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    queries.disconnect()


def test_warnings_in_the_documented_form_reach_the_stamp(documented):
    documented.answer["warnings"] = ["results truncated due to limit"]
    queries.connect(Sources(prometheus=Prometheus(documented.url)))
    assert queries.answer_of(ask(question("up", "instant"))).warnings == ("results truncated due to limit",)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"secret body", "refused"),
        (422, b'{"status":"error","errorType":"execution","error":"secret body"}', "refused"),
        (500, b"secret body", "down"),
        (503, b"secret body", "timeout"),
        (200, b"<html>secret body</html>", "refused"),
    ],
)
def test_documented_errors_become_sentences_at_once_and_without_the_body(documented, status, body, kind):
    documented.status, documented.answer = status, body
    queries.connect(Sources(prometheus=Prometheus(documented.url)))
    start = time.monotonic()
    with pytest.raises(SourceError) as told:
        ask(question("up", "instant"))
    assert (told.value.kind, len(documented.seen)) == (kind, 1), "no retries with back-off"
    assert "secret" not in told.value.sentence
    assert time.monotonic() - start < 1


def test_credentials_are_sent_and_never_shown(documented):
    prometheus = Prometheus(documented.url, token="hush", headers={"X-Scope-OrgID": "mx"})
    queries.connect(Sources(prometheus=prometheus))
    ask(question("up", "instant"))
    assert documented.seen[0]["Authorization"] == "Bearer hush"
    assert documented.seen[0]["X-Scope-OrgID"] == "mx"
    assert "hush" not in repr(Sources(prometheus=prometheus))


def test_a_server_that_hangs_is_left_after_its_bound(documented):
    documented.delay = 5
    queries.connect(Sources(prometheus=Prometheus(documented.url), query_timeout=0.3))
    start = time.monotonic()
    with pytest.raises(SourceError) as told:
        ask(question("up", "instant"))
    assert told.value.kind == "timeout"
    assert time.monotonic() - start < 2


def test_a_dead_server_is_known_dead_at_once():
    queries.connect(Sources(prometheus=Prometheus(f"http://127.0.0.1:{free_port()}")))
    start = time.monotonic()
    with pytest.raises(SourceError) as told:
        ask(question("up", "instant"))
    assert told.value.kind == "down"
    assert time.monotonic() - start < 1
    queries.disconnect()
