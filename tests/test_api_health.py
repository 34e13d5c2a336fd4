"""API health: each PromQL against known series of two replicas, and the page with, without and between its sources."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import components
import queries
from demo import parts
from queries import Prometheus, Sources

PAGES = Path(__file__).resolve().parent.parent / "pages"
SCRIPT = f"""
import streamlit as st
names = ["api_health", "integrations", "credit", "conductor", "logs", "errors", "traces", "thread", "alerts"]
st.navigation([st.Page(f"{PAGES}/{{name}}.py", url_path=name) for name in names], position="hidden").run()
"""
HOUR = timedelta(hours=1)
# Of 100 requests: within 0.1 s, 0.2 s ... on /quick and on /slow, which is asked a tenth as often.
QUICK = {"0.1": 80, "0.2": 90, "0.3": 96, "0.5": 100, "5.0": 100, "+Inf": 100}
SLOW = {"0.1": 0, "0.2": 0, "0.3": 0, "0.5": 0, "5.0": 10, "+Inf": 10}


def series(end: int, *, bound: bool = True, exporters: bool = True) -> str:
    """Three hours of two replicas, a sample a minute; the second restarts once."""
    times = [*range(end - 3 * 3600, end + 1, 60)]
    lines: list[str] = []

    def counter(name: str, labels: str, a_minute: float, reset: int | None = None) -> None:
        value = 0.0
        for moment in times:
            value = 0.0 if moment == reset else value + a_minute
            lines.append(f"{name}{{{labels}}} {value} {moment}")

    def gauge(name: str, labels: str, value: float) -> None:
        lines.extend(f"{name}{{{labels}}} {value} {moment}" for moment in times)

    for replica, reset in (("1", None), ("2", end - 2 * 3600)):
        at = f'instance="{replica}"'
        for endpoint, good, bad in (("/quick", 99, 1), ("/slow", 8, 2)):
            for status, a_minute in (("200", good), ("500", bad)):
                labels = f'method="GET",endpoint="{endpoint}",status="{status}",{at}'
                counter("http_requests_total", labels, a_minute, reset)
        for endpoint, buckets in (("/quick", QUICK), ("/slow", SLOW)):
            labels = f'method="GET",endpoint="{endpoint}",{at}'
            for le, a_minute in buckets.items():
                if bound or le not in {"0.2", "0.3"}:
                    counter("http_request_duration_seconds_bucket", f'{labels},le="{le}"', a_minute, reset)
            counter("http_request_duration_seconds_count", labels, buckets["+Inf"], reset)
        # A rare endpoint: one slow request in five minutes.
        rare = f'method="GET",endpoint="/rare",{at}'
        for le in ("0.5", "5.0", "+Inf"):
            counter("http_request_duration_seconds_bucket", f'{rare},le="{le}"', 0 if le == "0.5" else 0.01, reset)
        counter("http_request_duration_seconds_count", rare, 0.01, reset)
        for le, a_minute in (("0.01", 90), ("0.05", 100), ("+Inf", 100)):
            labels = f'table="credits",operation="select",{at},le="{le}"'
            counter("db_query_duration_seconds_bucket", labels, a_minute, reset)
        gauge("db_connections_active", at, 3 + int(replica))
        gauge("db_connections_max", at, 10)
        for status, a_minute in (("success", 57), ("error", 3)):
            counter("redis_commands_total", f'command="GET",status="{status}",{at}', a_minute, reset)
    # What the Redis exporter calls by the same name has neither label.
    counter("redis_commands_total", 'cmd="get",instance="redis"', 1000)
    if exporters:
        for mode, a_minute in (("idle", 45), ("user", 15)):
            counter("node_cpu_seconds_total", f'mode="{mode}",cpu="0",instance="host"', a_minute)
        gauge("node_memory_MemTotal_bytes", 'instance="host"', 100)
        gauge("node_memory_MemAvailable_bytes", 'instance="host"', 40)
        for mount, free in (("/", 10), ("/data", 50)):
            gauge("node_filesystem_avail_bytes", f'instance="host",mountpoint="{mount}",fstype="ext4"', free)
            gauge("node_filesystem_size_bytes", f'instance="host",mountpoint="{mount}",fstype="ext4"', 100)
        gauge("pg_up", 'instance="pg"', 1)
        for database, backends in (("a", 10), ("b", 20)):
            gauge("pg_stat_database_numbackends", f'instance="pg",datname="{database}"', backends)
            for name, a_minute in (("xact_commit", 60), ("xact_rollback", 6), ("blks_hit", 99), ("blks_read", 1)):
                counter(f"pg_stat_database_{name}", f'instance="pg",datname="{database}"', a_minute)
        gauge("pg_settings_max_connections", 'instance="pg"', 100)
        gauge("redis_up", 'instance="redis"', 1)
        gauge("redis_memory_used_bytes", 'instance="redis"', 25)
        gauge("redis_memory_max_bytes", 'instance="redis"', 100)
        counter("redis_keyspace_hits_total", 'instance="redis"', 80)
        counter("redis_keyspace_misses_total", 'instance="redis"', 20)
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def known_series(prometheus_server) -> tuple[str, datetime]:
    end = int(time.time()) // 60 * 60
    return prometheus_server(series(end)), datetime.fromtimestamp(end, UTC)


@pytest.fixture
def end(known_series) -> Iterator[datetime]:
    queries.connect(Sources(prometheus=Prometheus(url=known_series[0]), scrape_interval=60))
    yield known_series[1]
    queries.disconnect()


def over(name: str, end: datetime) -> pd.DataFrame:
    """The last hour, in which nothing restarts."""
    return queries.metrics(f"api_health/{name}", {"start": end - HOUR, "end": end})


def medians(frame: pd.DataFrame, *labels: str) -> dict[object, float]:
    return frame.groupby(list(labels) if len(labels) > 1 else labels[0])["value"].median().to_dict()


def test_rates_are_sums_of_the_replicas(end):
    rates = medians(over("request_rate", end), "method", "endpoint")
    assert rates == pytest.approx({("GET", "/quick"): 200 / 60, ("GET", "/slow"): 20 / 60}, rel=0.01)
    assert over("error_rate", end)["value"].tolist() == pytest.approx(
        [6 / 220] * len(over("error_rate", end)), rel=0.01
    )


def test_a_restart_is_no_negative_rate_and_no_error(end):
    frame = queries.metrics("api_health/error_rate", {"start": end - 2.5 * HOUR, "end": end - 1.5 * HOUR})
    assert frame["value"].between(0.02, 0.035).all()
    rates = queries.metrics("api_health/request_rate", {"start": end - 2.5 * HOUR, "end": end - 1.5 * HOUR})
    assert (rates["value"] > 0).all()


def test_quantiles_are_summed_by_le_over_endpoints_and_replicas(end):
    values = medians(over("latency", end), "quantile")
    # Of 110: the 55th of the 80 within 0.1 s; the 104.5th and the 108.9th of the 10 between 0.5 and 5 s.
    assert values["p50"] == pytest.approx(0.1 * 55 / 80, rel=0.01)
    assert values["p95"] == pytest.approx(0.5 + 4.5 * 0.45, rel=0.01)
    assert values["p99"] == pytest.approx(0.5 + 4.5 * 0.89, rel=0.01)


def test_the_share_within_300_ms_is_read_off_its_bound(end):
    assert medians(over("within", end), "le") == pytest.approx({"0.3": 96 / 110}, rel=0.01)


def test_without_the_bound_two_shares_hold_it_between_them(prometheus_server):
    end = int(time.time()) // 60 * 60
    url = prometheus_server(series(end, bound=False, exporters=False))
    queries.connect(Sources(prometheus=Prometheus(url=url), scrape_interval=60))
    values = medians(over("within", datetime.fromtimestamp(end, UTC)), "le")
    app = page(section="all")
    queries.disconnect()
    assert values == pytest.approx({"0.1": 80 / 110, "0.5": 100 / 110}, rel=0.01)
    assert not app.exception
    said = words(app)
    assert "No series of node_exporter, postgres_exporter, redis_exporter in this period" in said
    assert "Host in use" not in said


def test_rankings_leave_out_what_is_hardly_asked(end):
    asked = {"time": end, "range": "1h"}
    slowest = queries.metrics("api_health/slowest", asked).sort_values("value", ascending=False)
    assert slowest["endpoint"].tolist() == ["/slow", "/quick"]
    assert slowest["value"].tolist() == pytest.approx([0.5 + 4.5 * 0.95, 0.2 + 0.1 * 5 / 6], rel=0.01)
    assert "/rare" in set(queries.metrics("api_health/slowest", {**asked, "floor": 0})["endpoint"])
    failing = queries.metrics("api_health/failing", asked).set_index("endpoint")["value"]
    assert failing.to_dict() == pytest.approx({"/slow": 0.2, "/quick": 0.01}, rel=0.01)


def test_what_the_api_stands_on(end):
    assert medians(over("database", end), "table", "operation") == pytest.approx(
        {("credits", "select"): 0.01 + 0.04 * 0.5}, rel=0.01
    )
    assert medians(over("connections", end), "instance", "measure") == {
        ("1", "in use"): 4,
        ("1", "at most"): 10,
        ("2", "in use"): 5,
        ("2", "at most"): 10,
    }
    assert medians(over("redis_commands", end), "command") == pytest.approx({"GET": 2.0}, rel=0.01)
    assert medians(over("redis_failures", end), "command") == pytest.approx({"GET": 0.05}, rel=0.01)


def test_what_the_exporters_tell(end):
    there = queries.metrics("api_health/exporters", {"time": end, "range": "1h"})
    assert there.set_index("exporter")["value"].to_dict() == {"host": 1, "postgres": 1, "redis": 1}
    assert medians(over("host", end), "part") == pytest.approx({"CPU": 0.25, "memory": 0.6, "disk": 0.9}, rel=0.01)
    assert medians(over("postgres", end), "outcome") == pytest.approx({"committed": 2, "rolled back": 0.2}, rel=0.01)
    shares = medians(over("postgres_shares", end), "measure")
    assert shares == pytest.approx({"connections": 0.3, "cache hits": 0.99}, rel=0.01)
    redis = medians(over("redis_server", end), "measure")
    assert redis == pytest.approx({"memory": 0.25, "key hits": 0.8}, rel=0.01)


# --- real exporters ---------------------------------------------------------------------------------------------------


@pytest.fixture
def exporters(server_dir, postgres, prometheus_server) -> Iterator[None]:
    """Debian's exporters of this machine, a PostgreSQL and a Redis that is asked, scraped every second."""
    packages = server_dir / "packages"
    parts.fetch(packages)
    programs = {name: parts.find(packages, name) for name in parts.NAMES}
    if None in programs.values():
        pytest.skip("No Redis or exporters on this machine, and apt-get gave none")

    def program(name: str) -> Path:
        found = programs[name]
        assert found is not None
        return found

    with contextlib.ExitStack() as running:
        folder = server_dir / "exporters"
        redis = running.enter_context(parts.Redis(folder / "redis", program=program("redis-server")))
        servers_ = [
            parts.RedisExporter(folder / "re", redis.url, program=program("prometheus-redis-exporter")),
            parts.NodeExporter(folder / "ne", program=program("prometheus-node-exporter")),
            parts.PostgresExporter(
                folder / "pe",
                f"{postgres.url(driver='')}?sslmode=disable",
                program=program("prometheus-postgres-exporter"),
            ),
        ]
        targets = [f"127.0.0.1:{running.enter_context(one).port}" for one in servers_]
        scrape = [{"job_name": "exporters", "static_configs": [{"targets": targets}]}]
        url = prometheus_server(config=json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrape}))
        queries.connect(Sources(prometheus=Prometheus(url=url), scrape_interval=1))
        stop = threading.Event()

        def ask() -> None:
            with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as link:
                while not stop.wait(0.05):
                    link.sendall(b"SET a 1\r\nGET a\r\nGET b\r\n")
                    link.recv(4096)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        yield
        stop.set()
        asking.join(5)
        queries.disconnect()


def test_debians_exporters_tell_what_the_panels_ask_for(exporters):
    wanted = {
        "host": ("part", {"CPU", "memory", "disk"}),
        "postgres": ("outcome", {"committed", "rolled back"}),
        "postgres_shares": ("measure", {"connections", "cache hits"}),
        "redis_server": ("measure", {"memory", "key hits"}),
    }
    limit = time.monotonic() + 25
    missing = set(wanted)
    while missing:
        assert time.monotonic() < limit, f"no series for {missing}"
        time.sleep(0.5)
        now = datetime.now(UTC)
        found = {
            name: queries.metrics(f"api_health/{name}", {"start": now - timedelta(seconds=30), "end": now})
            for name in missing
        }
        for name, frame in found.items():
            label, measures = wanted[name]
            if label in frame and set(frame[label]) == measures and frame["value"].notna().all():
                missing = missing - {name}
                if name != "postgres":
                    assert frame["value"].between(0, 1).all()
    there = queries.metrics("api_health/exporters", {"time": datetime.now(UTC), "range": "1m"})
    assert set(there["exporter"]) == {"host", "postgres", "redis"}


# --- the page ---------------------------------------------------------------------------------------------------------


def page(**asked: str) -> AppTest:
    components.set_default_language("en")
    # As in the dashboard, where every page is known: links to pages need them.
    app = AppTest.from_string(SCRIPT, default_timeout=40)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.title, *app.markdown, *app.caption, *app.warning, *app.subheader])


@pytest.mark.parametrize("span", ["1h", "24h"])
def test_every_panel_of_the_page_is_drawn(end, span):
    app = page(range=span, section="all")
    assert not app.exception
    said = words(app)
    for title in (
        *("Request rate", "Error rate", "Latency (p50, p95, p99)", "Requests within 300 ms", "Slowest endpoints, p95"),
        *("Endpoints that fail most", "Database time, p95", "Connection pool", "Redis commands"),
        *("Redis commands that fail", "Host in use", "PostgreSQL transactions", "Redis server"),
    ):
        assert f"**{title}**" in said
    assert "cannot" not in said
    assert "No series of" not in said
    assert [frame.value["what"].iloc[0] for frame in app.dataframe] == ["GET /slow", "GET /slow"]


def test_one_section_is_drawn_at_a_time_and_the_choice_stands_in_the_url(end):
    said = words(page(range="1h"))
    assert "**Request rate**" in said
    assert "**Redis commands**" not in said
    said = words(page(range="1h", section="servers"))
    assert "**Host in use**" in said
    assert "**Request rate**" not in said


def test_the_time_and_the_integration_go_on_with_every_link(end):
    def links(**asked: str) -> list[str]:
        return [one.proto.query_string for one in page(**asked).get("page_link")]

    assert len(links()) == 5
    assert all("range=6h" in link and "integration=neon" in link for link in links(range="6h", integration="neon"))
    window = {"from": (end - HOUR).isoformat(), "to": end.isoformat()}
    found = links(**window)
    assert found
    assert all("from=" in link and "T" in link for link in found)


def test_a_prometheus_that_is_away_leaves_sentences(known_series):
    queries.connect(Sources(prometheus=Prometheus(url="http://127.0.0.1:9"), connect_timeout=1))
    app = page()
    queries.disconnect()
    assert not app.exception
    assert "Prometheus cannot be reached." in words(app)


def test_without_metrics_one_line_says_how_to_have_them():
    queries.connect(Sources())
    app = page()
    queries.disconnect()
    assert not app.exception
    assert "set MIRADOR_PROMETHEUS_URL" in words(app)
    assert len(app.markdown) == 0


def test_a_prometheus_without_a_series_is_an_empty_page(prometheus_server):
    queries.connect(Sources(prometheus=Prometheus(url=prometheus_server())))
    app = page(section="all")
    queries.disconnect()
    assert not app.exception
    assert words(app).count("No data for this choice") >= 8
