"""The metrics explorer: PromQL against a real Prometheus on known series, every bound, completion, links, the page."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

import components
import queries
from app import explorer_history, state
from app.auth import Viewer
from app.settings import Settings
from app.state import NotAllowed
from demo.servers import free_port
from queries import Prometheus, SourceError, Sources, explorer, promql_client
from queries.explorer import PromqlError, Question
from queries.metrics_client import EXACTLY
from tests.conftest import drop_ledger, new_ledger
from tests.dashboard import chromium, chromium_path, serve, viewer

PAGES = Path(__file__).resolve().parent.parent / "pages"
SCRIPT = f"""
import streamlit as st
st.navigation([st.Page("{PAGES}/metrics_explorer.py", url_path="metrics_explorer")], position="hidden").run()
"""
ENGINEER = frozenset({"engineer"})
HOUR = timedelta(hours=1)
HOSTILE = 'a"} or up{x="*|`$(rm)`<script>[b](c)&q=1#%0a\\'


def series(end: int) -> str:
    """Two hours of samples a minute: two replicas, one restarts; a gap of 20 minutes; many series."""
    times = range(end - 7200, end + 1, 60)
    lines = ["# TYPE known_requests counter"]
    for replica, reset in (("1", None), ("2", end - 1800)):
        for status, a_minute in (("200", 60), ("500", 6)):
            value = 0.0
            for moment in times:
                value = 0.0 if moment == reset else value + a_minute
                lines.append(f'known_requests_total{{instance="{replica}",status="{status}"}} {value} {moment}')
    lines.append("# TYPE gap gauge")
    lines += [f"gap 5 {moment}" for moment in times if not end - 3000 < moment < end - 1800]
    lines.append("# TYPE fleet gauge")
    lines += [
        f'fleet{{car="{car:03}"}} {car} {moment}' for car in range(100) for moment in times if moment >= end - 3600
    ]
    lines.append("# TYPE many gauge")
    lines += [f'many{{n="{n}"}} 1 {end}' for n in range(2_101)]
    told = HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    lines += ["# TYPE odd gauge", f'odd{{value="v",time="t",mean="m",said="{told}"}} 7 {end}']
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def known_series(prometheus_server) -> tuple[str, datetime]:
    end = int(time.time()) // 60 * 60
    return prometheus_server(series(end)), datetime.fromtimestamp(end, UTC)


@pytest.fixture
def end(known_series) -> Iterator[datetime]:
    queries.connect(Sources(prometheus=Prometheus(known_series[0]), scrape_interval=60))
    yield known_series[1]
    queries.disconnect()


def over(text: str, end: datetime, *, hours: float = 1, step: int = 60) -> pd.DataFrame:
    one = explorer.question(text, "range", end - hours * HOUR, end, step, scrape_interval=60)
    return explorer.ask(one, roles=ENGINEER, asker="eva")


def at(text: str, end: datetime) -> pd.DataFrame:
    return explorer.ask(explorer.question(text, "instant", end - HOUR, end), roles=ENGINEER, asker="eva")


# --- answers of a real Prometheus -------------------------------------------------------------------------------------


def test_an_instant_question_has_a_row_a_series_with_its_labels(end):
    frame = at("known_requests_total", end).sort_values(["instance", "status"])
    assert frame.attrs["kind"] == "vector"
    assert frame["status"].tolist() == ["200", "500"] * 2
    assert frame["value"].tolist() == [121 * 60, 121 * 6, 30 * 60, 30 * 6]
    assert queries.answer_of(frame).text == "known_requests_total"


def test_a_question_over_time_is_aligned_to_its_step_in_the_house_zone(end):
    frame = over('sum by (status) (rate(known_requests_total{instance="1"}[$__rate_interval]))', end)
    assert str(frame["time"].dt.tz) == "America/Mexico_City"
    assert (frame["time"].astype("int64") % 60 == 0).all()
    assert frame.groupby("status")["value"].median().to_dict() == pytest.approx({"200": 1.0, "500": 0.1})
    assert "[240s]" in queries.answer_of(frame).text, "four scrapes of a minute"


def test_a_counter_that_restarts_is_no_fall(end):
    frame = over('increase(known_requests_total{instance="2",status="200"}[5m])', end)
    # At the restart the counter begins at nothing: a minute's worth is not seen, and never is it less than nothing.
    assert frame["value"].between(225, 301).all()


def test_a_gap_longer_than_five_minutes_is_a_gap_and_no_line_is_drawn_over_it(end):
    one = explorer.question("gap", "range", end - 2 * HOUR, end, 60)
    frame = explorer.ask(one, roles=ENGINEER, asker="eva")
    seen = explorer.drawn(frame, one).frame.sort_values("time")
    holes = seen[seen["value"].isna()]
    assert len(holes) == 1
    # Prometheus holds the last sample for five minutes.
    assert end - timedelta(minutes=45) <= holes["time"].iloc[0] <= end - timedelta(minutes=44)
    assert explorer.summary(frame)[["latest", "min", "max", "mean"]].iloc[0].tolist() == [5.0] * 4


def test_samples_as_they_were_scraped_have_their_gap_too(end):
    one = explorer.question("gap[2h]", "instant", end - HOUR, end)
    frame = explorer.ask(one, roles=ENGINEER, asker="eva")
    assert frame.attrs["kind"] == "matrix"
    assert explorer.drawn(frame, one).frame["value"].isna().sum() == 1


def test_scalars_and_strings_are_told_as_what_they_are(end):
    number, words = at("scalar(vector(42)) / 2", end), at('"hello"', end)
    assert (number.attrs["kind"], number["value"].tolist()) == ("scalar", [21.0])
    assert (words.attrs["kind"], words["value"].tolist()) == ("string", ["hello"])


def test_no_series_is_an_empty_answer_and_no_error(end):
    for frame in (at("no_such_metric", end), over("no_such_metric", end)):
        assert frame.empty
        assert explorer.summary(frame).empty


def test_nan_and_infinity_are_kept_in_the_table_and_are_gaps_in_the_chart(end):
    one = explorer.question("gap / (gap - 5)", "range", end - timedelta(minutes=20), end, 60)
    frame = explorer.ask(one, roles=ENGINEER, asker="eva")
    assert frame["value"].eq(math.inf).all()
    seen = explorer.drawn(frame, one)
    assert seen.infinite == len(frame)
    assert seen.frame["value"].isna().all()
    assert explorer.summary(frame)["latest"].tolist() == [math.inf]
    assert at("vector(0) / vector(0)", end)["value"].isna().all()


def test_labels_named_like_the_columns_keep_their_values(end):
    frame = at("odd", end)
    assert frame[["exported_value", "exported_time", "mean", "said"]].iloc[0].tolist() == ["v", "t", "m", HOSTILE]
    told = explorer.summary(frame)
    assert told["exported_mean"].tolist() == ["m"]
    assert told["mean"].tolist() == [7.0]


def test_series_are_named_by_what_tells_them_apart(end):
    assert sorted(explorer.legends(over('known_requests_total{status="200"}', end))) == [
        '{instance="1"}',
        '{instance="2"}',
    ]
    assert explorer.legends(over("sum(known_requests_total)", end)) == [""]
    assert explorer.legends(over("gap", end)) == ["gap"]


def test_the_series_with_the_greatest_means_are_drawn_and_all_are_in_the_table(end):
    one = explorer.question("fleet", "range", end - HOUR, end, 300)
    frame = explorer.ask(one, roles=ENGINEER, asker="eva")
    seen = explorer.drawn(frame, one)
    assert (seen.shown, seen.series) == (10, 100)
    assert set(seen.frame["series"]) == {f'{{car="{car:03}"}}' for car in range(90, 100)}
    assert len(explorer.summary(frame)) == 100


def test_the_chart_is_as_long_as_the_period_whatever_part_has_values(end):
    one = explorer.question("many{n='1'}", "range", end - HOUR, end, 60)
    seen = explorer.drawn(explorer.ask(one, roles=ENGINEER, asker="eva"), one).frame
    assert seen["time"].max() - seen["time"].min() == HOUR


def test_every_ready_question_is_understood(end):
    assert len(explorer.ready_questions()) == 22
    for ready in explorer.ready_questions().values():
        one = explorer.question(ready.text, ready.kind, end - HOUR, end, 60)
        explorer.ask(one, roles=ENGINEER, asker="eva")
        assert set(ready.title) == {"en", "es"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("sum(", (1, 5), "unclosed left parenthesis"),
        ("gap\n + }", (2, 4), "unexpected character"),
        ('{said="é"} foo', (1, 12), "unexpected identifier"),
        ("rate(gap)", (1, 6), "expected type range vector"),
    ],
)
def test_a_question_that_is_no_promql_is_told_with_its_place(end, text, place, words):
    with pytest.raises(PromqlError) as told:
        at(text, end)
    assert (told.value.kind, told.value.at) == ("bad_parameter", place)
    assert words in told.value.detail
    marked = explorer.shown_at(told.value.text, told.value.at).split("\n")
    assert marked[place[0]].index("▲") == place[1] - 1
    assert queries.source_states()["metrics"].up is not False, "a typing error is no failure of the source"


def test_too_many_series_points_samples_and_letters_are_told_with_what_to_do(end, monkeypatch):
    with pytest.raises(PromqlError, match="more than 2,000 series: narrow it") as told:
        at("many", end)
    assert told.value.kind == "too_large"
    with pytest.raises(PromqlError, match="choose a step of at least 66 s"):
        over("gap", end, hours=200, step=15)
    with pytest.raises(PromqlError, match=r"samples \(100 series\), more than 200,000: choose a step 2 times as long"):
        over("fleet", end, step=1)
    with pytest.raises(PromqlError, match="split it into several"):
        at("1 + " * 1_001 + "1", end)
    monkeypatch.setattr(queries.sources._connected().promql, "_max_bytes", 2**20)
    with pytest.raises(PromqlError, match="larger than 1 MiB"):
        over("fleet", end, step=2)


def test_eleven_thousand_points_are_allowed_and_one_more_is_not(end):
    start = end - timedelta(seconds=10_999)
    assert len(over("vector(1)", end, hours=10_999 / 3600, step=1)) == promql_client.MAX_POINTS
    one = Question("vector(1)", "range", start - timedelta(seconds=1), end, 1)
    with pytest.raises(PromqlError, match="points a series"):
        explorer.ask(one, roles=ENGINEER, asker="eva")


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"analyst", "executive"})])
def test_only_engineers_are_answered_wherever_it_is_asked(end, roles):
    one = explorer.question("gap", "instant", end - HOUR, end)
    asks: list[Callable[[], Any]] = [
        lambda: explorer.ask(one, roles=roles, asker="ana"),
        lambda: explorer.metric_names(roles),
        lambda: explorer.label_names("gap", roles),
        lambda: explorer.label_values("n", "many", roles),
    ]
    for ask in asks:
        with pytest.raises(SourceError, match="engineers only"):
            ask()


# --- completion -------------------------------------------------------------------------------------------------------


def test_names_labels_and_values_are_those_of_the_server(end):
    names = explorer.metric_names(ENGINEER)
    assert {"known_requests_total", "gap", "fleet", "many", "odd"} <= set(names["name"])
    assert explorer.label_names("known_requests_total", ENGINEER) == ["instance", "status"]
    assert "car" in explorer.label_names(None, ENGINEER)
    assert explorer.label_values("status", "known_requests_total", ENGINEER) == ["200", "500"]
    assert explorer.label_values("said", "odd", ENGINEER) == [HOSTILE]
    assert len(explorer.label_values("n", "many", ENGINEER)) == promql_client.MOST_VALUES
    assert explorer.label_values("../../admin", None, ENGINEER) == []


# --- a server that answers otherwise ----------------------------------------------------------------------------------


class Answering(BaseHTTPRequestHandler):
    """Answers in the documented form of the Prometheus HTTP API, or in another: each test sets its own."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        server.seen.append((self.command, self.path, body))
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
        time.sleep(server.delay)
        with server.lock:
            server.now -= 1
        told = server.told if isinstance(server.told, bytes) else json.dumps(server.told).encode()
        self.send_response(server.status)
        for name, value in server.sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told) + server.missing))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        pass


GOOD = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1_700_000_000.123, "1"]}]},
}


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made.status, made.delay, made.seen, made.told, made.sent, made.missing = 200, 0.0, [], GOOD, {}, 0
    made.lock, made.now, made.most = threading.Lock(), 0, 0
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    queries.connect(Sources(prometheus=Prometheus(made.url, basic_auth=("u", "hush")), query_timeout=0.5))
    yield made
    made.shutdown()
    made.server_close()
    queries.disconnect()


NOON = datetime(2026, 11, 24, 18, tzinfo=UTC)


def asked(text: str = "up", *, asker: str = "eva", asked: int = 0) -> pd.DataFrame:
    return explorer.ask(Question(text, "instant", NOON - HOUR, NOON, 60, asked), roles=ENGINEER, asker=asker)


@pytest.mark.parametrize(
    ("status", "told", "kind", "words"),
    [
        (401, b"secret", "refused", "did not let Mirador in"),
        (404, b"secret", "refused", "HTTP 404"),
        (429, b"secret", "down", "asked too often"),
        (500, b"secret", "down", "Prometheus failed"),
        (502, b"secret", "down", "Prometheus failed"),
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"}, "timeout", "gave up"),
        (422, {"status": "error", "errorType": "execution", "error": "too many samples"}, "too_large", "more samples"),
        (200, b"<html>secret</html>", "refused", "not the Prometheus API"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [{}]}}, "refused", "not the Prometheus"),
        (200, {"status": "success", "data": {"resultType": "cube", "result": []}}, "refused", "not the Prometheus"),
        (200, [1, 2], "refused", "not the Prometheus API"),
        (200, b"", "refused", "not the Prometheus API"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_the_next_answer_is_right_again(server, status, told, kind, words):
    server.status, server.told = status, told
    with pytest.raises(SourceError, match=words) as error:
        asked()
    assert error.value.kind == kind
    assert "secret" not in error.value.sentence
    assert len(server.seen) == 1, "asked once"
    server.status, server.told = 200, GOOD
    assert asked(asked=10)["value"].tolist() == [1.0]


def test_half_an_answer_a_dead_server_and_a_redirect_are_told(server):
    server.missing = 100
    with pytest.raises(SourceError, match=r"broke off|not answered"):
        asked()
    server.missing, server.status, server.sent = 0, 302, {"Location": "http://127.0.0.1:1/"}
    with pytest.raises(SourceError, match="sends elsewhere"):
        asked(asked=10)
    queries.connect(Sources(prometheus=Prometheus(f"http://127.0.0.1:{free_port()}")))
    began = time.monotonic()
    with pytest.raises(SourceError, match="cannot be reached"):
        asked()
    assert time.monotonic() - began < 1


def test_a_slow_server_is_left_after_its_bound_and_is_told_the_bound(server):
    server.delay = 6
    began = time.monotonic()
    with pytest.raises(SourceError, match="not answered in time"):
        asked()
    assert time.monotonic() - began < 2.5
    assert parse_qs(server.seen[0][2])["timeout"] == ["0.5s"]


def test_warnings_and_native_histograms_are_told(server):
    odd = {"metric": {"a": "c"}, "histogram": [1, {"count": "1"}]}
    data = {"resultType": "vector", "result": [*GOOD["data"]["result"], odd]}
    server.told = {"status": "success", "data": data, "warnings": ["partial response"], "infos": ["not a counter"]}
    frame = asked()
    assert len(frame) == 1
    warnings = queries.answer_of(frame).warnings
    assert warnings[:2] == ("partial response", "not a counter")
    assert "1 series" in warnings[2]


@hypothesis_settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=300))
def test_whatever_is_asked_stands_in_the_query_field_alone(text):
    sent: list[tuple[str, str, Any]] = []

    class Told(promql_client.PromqlClient):
        def ask(self, method, path, **options):
            sent.append((method, path, options))
            return GOOD, {}

    client = Told("http://x", zone=NOON.tzinfo, connections=1, query_timeout=1, connect_timeout=1)
    client.query(explorer.cleaned(text), NOON)
    client.query_range(explorer.cleaned(text), 0, 60, 60)
    assert [(method, path) for method, path, _ in sent] == [("POST", "/api/v1/query"), ("POST", "/api/v1/query_range")]
    for _, _, options in sent:
        assert options["form"]["query"] == explorer.cleaned(text)
        assert not {"params", "body"} & set(options)
        assert options["form"].items() >= EXACTLY.items()
        assert set(options["form"]) - set(EXACTLY) <= {"query", "time", "start", "end", "step", "timeout", "limit"}


def test_hostile_text_reaches_the_server_as_the_question_and_as_nothing_else(server):
    asked(HOSTILE)
    method, path, body = server.seen[0]
    assert (method, path) == ("POST", "/api/v1/query")
    assert {name: found for name, found in parse_qsl(body) if name == "query"} == {"query": HOSTILE}
    assert [name for name, _ in parse_qsl(body)] == ["query", "time", *EXACTLY, "timeout", "limit"]


def test_a_viewer_has_one_question_in_flight_and_others_do_not_wait_for_him(server):
    server.delay = 0.15
    threads = [threading.Thread(target=asked, args=(f"up + {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.seen), server.most) == (3, 1)
    other = [threading.Thread(target=asked, args=("up",), kwargs={"asker": who}) for who in ("eva", "ana")]
    different = [threading.Thread(target=asked, args=(f"up - {who}",), kwargs={"asker": who}) for who in ("1", "2")]
    for thread in different:
        thread.start()
    for thread in different:
        thread.join()
    assert server.most == 2
    before = len(server.seen)
    for thread in other:
        thread.start()
    for thread in other:
        thread.join()
    assert len(server.seen) == before + 1, "who asks the same shares one question"


def test_who_leaves_keeps_his_turn_until_his_question_has_ended(server):
    server.delay = 0.4
    with pytest.raises(SourceError):
        explorer.ask(Question("slow", "instant", NOON - HOUR, NOON, 60), roles=ENGINEER, asker="eva", deadline=0.05)
    with pytest.raises(PromqlError, match="waits for its turn"):
        explorer.ask(
            Question("next", "instant", NOON - HOUR, NOON, 60), roles=ENGINEER, asker="eva", deadline=1, turn=0.1
        )
    time.sleep(0.5)
    server.delay = 0
    assert asked("next")["value"].tolist() == [1.0]
    assert server.most == 1


# --- links ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=120), max_size=explorer.MOST_QUESTIONS))
def test_any_questions_come_back_from_a_link_as_they_were(texts):
    meant = [text for text in map(explorer.cleaned, texts) if text]
    address = f"http://x/?{urlencode([('q', text) for text in meant])}"
    back = parse_qs(urlsplit(address).query, keep_blank_values=True, errors="strict").get("q", [])
    assert explorer.read_texts(back) == meant
    assert [explorer.cleaned(text) for text in meant] == meant


def test_a_link_that_is_too_long_or_asks_too_much_is_refused_in_words():
    with pytest.raises(PromqlError, match="too long for a link"):
        explorer.link("http://x", [("q", "é" * 1_000)])
    for texts in (["up"] * 9, ["x" * 4_001]):
        with pytest.raises(ValueError, match=">"):
            explorer.read_texts(texts)


def test_units_are_told_only_where_they_are_certain():
    quantile = "histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket[5m])))"
    assert explorer.unit_of(quantile) == explorer.unit_of(f"{quantile} >= 0") == "s"
    assert explorer.unit_of(f"{quantile} / 2") == explorer.unit_of("up") == "value"
    assert explorer.unit_of(explorer.ready_questions()["error_rate"].text) == "share"


# --- history ----------------------------------------------------------------------------------------------------------

EVA, ANA = Viewer("eva", ENGINEER), Viewer("ana", ENGINEER)


@pytest.fixture
def kept(postgres) -> Iterator[Settings]:
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    queries.connect(Sources(state_url=made.owner))
    yield Settings(state_url=made.owner)
    queries.disconnect()
    state._writer.cache_clear()
    drop_ledger(postgres, made)


def entry(text: str, minute: int) -> dict[str, Any]:
    return {"question": text, "kind": "range", "at": NOON + timedelta(minutes=minute)}


def remembered(settings: Settings, who: Viewer) -> list[str]:
    queries.forget("state")
    found = explorer_history.history(settings, who)
    assert found is not None
    return list(found["question"])


def test_the_last_fifty_questions_are_kept_by_their_owner_and_only_he_deletes_them(kept):
    for first in range(0, 60, 20):
        written = explorer_history.keep(kept, EVA, [entry(f"up + {n}", n) for n in range(first, first + 20)])
        assert written is not None
        assert written.result(10)
    assert remembered(kept, EVA) == [f"up + {n}" for n in range(59, 9, -1)]
    again = explorer_history.keep(kept, EVA, [entry("up + 20", 100), entry("x" * 4_000, 99)])
    assert again is not None
    assert again.result(10)
    assert remembered(kept, EVA)[:3] == ["up + 20", "x" * 4_000, "up + 59"]
    assert len(remembered(kept, EVA)) == 50
    assert remembered(kept, ANA) == []
    explorer_history.forget(kept, ANA)
    explorer_history.forget(kept, EVA, "up + 20", "range")
    assert remembered(kept, EVA)[0] == "x" * 4_000
    assert len(remembered(kept, EVA)) == 49
    explorer_history.forget(kept, EVA)
    assert remembered(kept, EVA) == []


def test_history_is_for_engineers_and_a_state_database_that_is_away_stops_nobody():
    with pytest.raises(NotAllowed):
        explorer_history.keep(Settings(), Viewer("ana", frozenset({"analyst"})), [entry("up", 1)])
    assert explorer_history.keep(Settings(), EVA, [entry("up", 1)]) is None
    assert explorer_history.history(Settings(), EVA) is None
    away = explorer_history.keep(Settings(state_url="postgresql+psycopg://x@127.0.0.1:1/x"), EVA, [entry("up", 1)])
    assert away is not None
    assert away.result(10) is False


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(known_series, end, monkeypatch) -> AppTest:
    components.set_default_language("en")
    monkeypatch.setattr("app.auth.login_required", lambda: False)
    return AppTest.from_string(SCRIPT, default_timeout=30)


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    found = [*app.markdown, *app.caption, *app.error, *app.warning, *app.text, *app.code, *app.info, *app.title]
    return "\n".join(str(one.value) for one in found)


def test_a_question_is_run_shown_and_kept_in_the_url(page):
    page.run()
    assert "Nothing is asked yet" in words(page)
    page.text_area[0].set_value("sum by (status) (rate(known_requests_total[5m]))")
    press(page, "Run")
    assert page.query_params["q"] == "sum by (status) (rate(known_requests_total[5m]))"
    told = page.dataframe[-1].value
    assert told["status"].tolist() == ["200", "500"]
    assert {"latest", "min", "max", "mean"} <= set(told)
    press(page, "Another question")
    page.text_area[1].set_value("sum(")
    press(page, "Run")
    assert "Line 1, column 5: unclosed left parenthesis" in words(page)
    assert page.query_params["q"] == ["sum by (status) (rate(known_requests_total[5m]))", "sum("]
    assert len(page.session_state["explorer:history"]) == 2


def test_a_link_opens_its_questions_its_kind_and_its_step(page):
    page.query_params |= {"q": ["gap", "fleet"], "kind": "instant", "step": "600"}
    page.run()
    assert not page.exception
    assert [area.value for area in page.text_area] == ["gap", "fleet"]
    assert page.session_state["kind"] == "instant"
    assert len(page.dataframe[-1].value) == 100


def test_a_link_with_too_much_says_so_and_asks_nothing(page):
    page.query_params["q"] = ["x"] * 9
    page.run()
    assert "at most 8 questions" in words(page)
    assert [area.value for area in page.text_area] == [""]


def test_a_ready_question_is_added_with_its_title(page):
    page.run()
    picker = next(box for box in page.selectbox if box.label == "Ready questions")
    picker.set_value("error_rate").run()
    assert not page.exception
    assert page.text_area[0].value == explorer.ready_questions()["error_rate"].text
    assert "**a · Error rate**" in words(page)
    assert "No series matches" in words(page)


def test_a_bound_is_a_sentence_on_the_page_and_text_from_outside_is_no_markup(page):
    page.query_params |= {"q": ["many", "**b** [x](http://y)"], "kind": "instant"}
    page.run()
    assert "more than 2,000 series: narrow it" in words(page)
    assert not any("http://y" in str(one.value) for one in (*page.markdown, *page.error, *page.caption))


def test_who_is_no_engineer_or_has_no_prometheus_is_told(page, monkeypatch):
    queries.connect(Sources())
    assert "MIRADOR_PROMETHEUS_URL" in words(page.run())
    monkeypatch.setattr("app.auth.LOCAL", Viewer("somebody", frozenset({"analyst"})))
    app = AppTest.from_string(SCRIPT, default_timeout=30).run()
    assert "for engineers only" in words(app)
    assert not app.text_area


def test_a_prometheus_that_is_down_leaves_the_editor(page):
    queries.connect(Sources(prometheus=Prometheus(f"http://127.0.0.1:{free_port()}")))
    page.query_params["q"] = "gap"
    page.run()
    assert not page.exception
    assert "Prometheus cannot be reached." in words(page)
    assert page.text_area[0].value == "gap"


EDITOR = PAGES.parent / "components" / "promql_editor.js"
CARET = """async ([source, text]) => {
    const module = await import("data:text/javascript;charset=utf-8," + encodeURIComponent(source))
    const found = module.contextAt(text, text.length, (word) => word === "up")
    return found && [found.want, found.metric ?? "", found.label ?? "", found.prefix]
}"""
# What can be completed at the end of each text: what, of which metric and label, and what is typed of it.
CARETS = {
    "sum(ra": ["names", "", "", "ra"],
    "up{": ["labels", "up", "", ""],
    'up{job="a", inst': ["labels", "up", "", "inst"],
    'up{job="a", instance=~"b|c': ["values", "up", "instance", "c"],
    'up{job="a\\"b': ["values", "up", "job", 'a\\"b'],
    "up{job=": None,
    'up{job="a"} and ig': ["names", "", "", "ig"],
    "rate(up[5": ["durations", "", "", "5"],
    "rate(up[$__r": ["durations", "", "", "$__r"],
    "sum by (in": ["labels", "", "", "in"],
    "sum(up) by (in": ["labels", "up", "", "in"],
    "up * on (job) group_left (ver": ["labels", "up", "", "ver"],
    '"up{': None,
    "up # a word": None,
    "up # a word\n + su": ["names", "", "", "su"],
    "1": None,
}


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_question_is_completed_by_keyboard_run_and_reopened_by_its_link(known_series, server_dir):
    env = {"MIRADOR_PROMETHEUS_URL": known_series[0], "MIRADOR_SCRAPE_INTERVAL": "60"}
    with serve(server_dir, env) as dashboard, chromium() as browser, viewer(browser, locale="en-US") as window:
        window.open(f"{dashboard.url}/metrics_explorer?range=1h")
        area, listed = window.page.locator("textarea").first, window.page.locator("[role=option]")
        area.click()
        window.page.keyboard.type("sum by (status) (rate(known_r", delay=20)
        listed.first.wait_for()
        assert area.get_attribute("role") == "combobox"
        assert area.get_attribute("aria-activedescendant") == "promql-option-0"
        window.page.keyboard.press("Enter")
        assert area.input_value().endswith("rate(known_requests_total")
        window.page.keyboard.type("{sta", delay=20)
        window.page.locator("[role=option]", has_text="status").wait_for()
        window.page.keyboard.press("Tab")
        # The value is awaited at once: its list opens by itself.
        window.page.locator("[role=option]", has_text="500").wait_for()
        window.page.keyboard.press("ArrowDown")
        window.page.keyboard.press("Enter")
        assert area.input_value().endswith('{status="500"')
        window.page.keyboard.type("}[5m]))", delay=20)
        window.page.keyboard.press("Escape")
        window.page.keyboard.press("Control+Enter")
        window.page.locator('[data-testid="stVegaLiteChart"]').wait_for()
        window.drawn()
        question = 'sum by (status) (rate(known_requests_total{status="500"}[5m]))'
        assert parse_qs(urlsplit(window.page.url).query)["q"] == [question]
        window.page.get_by_role("button", name="Share").click()
        path = window.page.locator('[data-testid="stPopoverBody"] code').inner_text()
        window.page.keyboard.press("Escape")
        window.page.get_by_role("button", name="Another question").click()
        second = window.page.locator("textarea").nth(1)
        second.wait_for()
        second.click()
        window.page.keyboard.type("gap", delay=20)
        window.page.keyboard.press("Escape")
        window.page.keyboard.press("Control+Enter")
        window.wait_for_text("Question b")
        window.drawn()
        assert parse_qs(urlsplit(window.page.url).query)["q"] == [question, "gap"]
        window.page.get_by_role("button", name="Remove question b").wait_for()
        for text, found in CARETS.items():
            assert window.page.evaluate(CARET, [EDITOR.read_text(), text]) == found, text
        window.assert_clean()
        with viewer(browser, locale="en-US") as receiver:
            receiver.open(path.strip())
            receiver.page.locator('[data-testid="stVegaLiteChart"]').wait_for()
            assert receiver.page.locator("textarea").first.input_value() == question
            assert parse_qs(urlsplit(receiver.page.url).query)["from"]
            receiver.assert_clean()
