"""`make bench`: times of whole pages and of the ledger's questions, as ratios in one run. Nothing here is a test.

    whole pages      navigation start to last panel drawn in headless Chromium, fresh browser contexts, the median;
                     beside an empty Streamlit page, a page of one Altair chart, and the same page written naively
                     (its questions asked of the rows, one after the other, kept by st.cache_data)
    database time    planning and execution of all questions that a page asks with a cold cache, at several sizes: as it
                     opens, and with all of its sections
    rows             the first page of a drill-down, and all rows as a file with the memory that it takes
    rollups          a full build, a refresh after 1 % new rows, a refresh after nothing

BENCH_SCALES (0.2,1,4) are sizes of the ledger: 1 is 5 M installments, payments and integration calls. Whole pages, the
file and rollups are measured at 1 or, when it is not among them, at the largest; rows at the largest. BENCH_ROUNDS (5)
is how often each is repeated. BENCH_PARTS (all) chooses of database, rows, pages, file, refresh.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import psycopg
import requests
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

import components
import queries
from demo import servers
from queries.ledger_client import LedgerClient
from queries.rollup_refresh import refresh
from queries.rows import count_rows, rows
from tests import bench_ledger
from tests.dashboard import ROOT, chromium, serve, serve_script, viewer
from tests.stage import SCHEMA

PAGES = ("today", "approvals", "disbursements", "late_payments", "hase")
ZONE = "America/Mexico_City"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
PARTS = os.environ.get("BENCH_PARTS", "database,rows,pages,file,refresh").split(",")
SCALES = [float(size) for size in os.environ.get("BENCH_SCALES", "0.2,1,4").split(",")]
# How long a naive page is waited for.
NAIVE_SECONDS = 600
console = Console(width=120)

EMPTY = 'import streamlit as st\nst.write("empty")\n'
ONE_CHART = """
import altair as alt, pandas as pd, streamlit as st
frame = pd.DataFrame({"x": range(60), "y": [n % 7 for n in range(60)]})
st.altair_chart(alt.Chart(frame).mark_line().encode(x="x", y="y"))
"""
# Pages link to each other, so all of them are named.
FRAME = """
import streamlit as st
from pathlib import Path
files = sorted(Path({pages!r}).glob("*.py"))
st.navigation([st.Page(file, default=file.stem == {page!r}) for file in files], position="hidden").run()
"""
NAIVE = """
import json, altair as alt, pandas as pd, sqlalchemy, streamlit as st
st.set_page_config(layout="wide")

@st.cache_resource
def engine():
    return sqlalchemy.create_engine({url!r})

@st.cache_data(ttl=60)
def ask(statement):
    return pd.read_sql(sqlalchemy.text(statement), engine())

for statement in json.load(open({statements!r})):
    frame = ask(statement.replace(":", "\\\\:"))
    if len(frame) and len(frame.columns) > 1:
        frame = frame.astype({{name: float for name in frame.columns if frame[name].dtype == object
                              and isinstance(frame[name].iloc[0], (int, float))}}).head(5000)
        x, y = frame.columns[0], frame.columns[-1]
        st.altair_chart(alt.Chart(frame.astype({{x: str}})).mark_line().encode(x=f"{{x}}:N", y=f"{{y}}:Q"))
"""


@dataclass
class Ledger:
    """A loaded ledger: its server, and how long its rollups took to build."""

    scale: float
    postgres: servers.Postgres
    built_seconds: float

    @property
    def sources(self) -> queries.Sources:
        """How pages ask it: their own role, a cold cache each time."""
        return queries.Sources(ledger_url=self.postgres.url("mirador_reader"), query_timeout=600)


@contextlib.contextmanager
def ledger(folder: Path, scale: float) -> Iterator[Ledger]:
    """A ledger of that size with current rollups; its files go when the block ends."""
    home = folder / f"ledger-{scale:g}"
    with servers.Postgres(home, settings={"shared_buffers": "1GB"}) as postgres:
        engine = create_engine(postgres.url())
        with engine.begin() as owner:
            owner.connection.cursor().execute(SCHEMA.read_text(encoding="utf-8"))
        engine.dispose()
        began = time.monotonic()
        bench_ledger.load(postgres.url(), scale=scale)
        loaded = time.monotonic() - began
        report = refresh(postgres.url("mirador_rollup"), ZONE)
        with psycopg.connect(postgres.url(driver=""), autocommit=True) as connection:
            connection.execute("vacuum (analyze)")
        console.print(f"{scale:g}x: loaded in {loaded:.0f} s, rollups built in {report.seconds:.0f} s")
        yield Ledger(scale, postgres, report.seconds)
    shutil.rmtree(home, ignore_errors=True)


def asked_by(page: str, sources: queries.Sources, section: str = "") -> list[tuple[str, str]]:
    """Name and statement (as run) of each question that the page asks of the ledger when nothing is remembered.

    A page in sections draws its first one, unless `section` names another or is all.
    """
    found: dict[str, str] = {}
    original = LedgerClient.run

    def run(client: LedgerClient, query: queries.Query, params: dict[str, Any]) -> Any:
        answer = original(client, query, params)
        if query.source == "ledger":
            found[answer[1]] = query.name
        return answer

    queries.disconnect()
    queries.connect(sources)
    components.set_default_language("en")
    LedgerClient.run = run  # type: ignore[method-assign]
    try:
        drawn = AppTest.from_string(FRAME.format(pages=str(ROOT / "pages"), page=page), default_timeout=900)
        if section:
            drawn.query_params["section"] = section
        drawn.run()
    finally:
        LedgerClient.run = original  # type: ignore[method-assign]
        queries.disconnect()
    return [(name, statement) for statement, name in found.items()]


def database_milliseconds(connection: psycopg.Connection[Any], statement: str) -> float:
    """Planning and execution of a statement, the median of several."""
    taken = []
    for _ in range(ROUNDS):
        cursor = connection.execute(f"explain (analyze, timing off, summary, format json) {statement}")  # type: ignore[arg-type]
        row = cursor.fetchone()
        assert row is not None
        plan = row[0][0]
        taken.append(plan["Planning Time"] + plan["Execution Time"])
    return statistics.median(taken)


def database_time(ledgers: dict[float, dict[str, dict[str, float]]]) -> None:
    """Print the database time of each page at each size, and the largest over the smallest."""
    table = Table(title="Database time of all of a page's ledger questions, cold, rollups current (ms)")
    sizes = sorted(ledgers)
    for heading in ("page", "questions", *(f"{size:g}x" for size in sizes), "largest : smallest", "slowest at largest"):
        table.add_column(heading)
    for page in ledgers[sizes[0]]:
        by_size = {size: ledgers[size][page] for size in sizes}
        sums = {size: sum(times.values()) for size, times in by_size.items()}
        slowest = max(by_size[sizes[-1]].items(), key=lambda item: item[1], default=("-", 0.0))
        table.add_row(
            page,
            str(len(by_size[sizes[-1]])),
            *(f"{sums[size]:.0f}" for size in sizes),
            f"{sums[sizes[-1]] / max(sums[sizes[0]], 0.001):.2f}",
            f"{slowest[0]} {slowest[1]:.0f}",
        )
    console.print(table)
    console.print("Aim: under 250 ms at 1x, and 4x at most 1.3 times 0.2x.")


def measure_database(one: Ledger) -> dict[str, dict[str, float]]:
    """Milliseconds by page and question."""
    found: dict[str, dict[str, float]] = {}
    with psycopg.connect(one.postgres.url("mirador_reader", driver=""), autocommit=True) as connection:
        connection.execute("set jit = off")
        connection.execute(f"set timezone = '{ZONE}'")
        # A page in sections opens with its first; Today has none.
        for page, section in [(page, "") for page in PAGES] + [(page, "all") for page in PAGES if page != "today"]:
            times: dict[str, float] = {}
            for number, (name, statement) in enumerate(asked_by(page, one.sources, section)):
                times[f"{name} #{number}"] = database_milliseconds(connection, statement)
            kind = f"{page}, all sections" if section else page
            found[kind] = times
            slowest = sorted(times.items(), key=lambda item: -item[1])[:4]
            console.print(
                f"{one.scale:g}x {kind}: {sum(times.values()):.0f} ms in {len(times)} questions; most: "
                + ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in slowest)
            )
    return found


def measure_rows(one: Ledger) -> None:
    """Print the first pages of drill-downs, and how long counting their rows takes."""
    queries.disconnect()
    queries.connect(one.sources)
    table = Table(
        *("list", "first page ms", "rows", "counted in ms"), title=f"Rows, {one.scale:g}x, in the process (aim: 100 ms)"
    )
    today = datetime.now(ZoneInfo(ZONE)).date()
    ended = today.replace(day=1) - timedelta(days=1)
    before = ended.replace(day=1) - timedelta(days=1)
    spring = (ended - timedelta(days=200)).replace(day=1)
    lists: tuple[tuple[str, dict[str, Any]], ...] = (
        ("rows/applications", {}),
        ("rows/decisions", {"first": today - timedelta(days=60), "last": today, "status": "rejected"}),
        ("rows/scores", {}),
        ("rows/disbursed", {}),
        ("rows/over_48h", {"state": "over"}),
        ("rows/waiting", {}),
        ("rows/payments", {"first": today - timedelta(days=30), "last": today, "status": "failed"}),
        ("rows/calls", {"integration": "neon", "status": "error"}),
        ("rows/outcomes", {}),
        ("rows/installments", {}),
        *(("rows/installments", {"as_of": today, "bucket": bucket}) for bucket in (1, 4, 6)),
        ("rows/installments", {"as_of": today - timedelta(days=200), "bucket": 6}),
        ("rows/first_payment_defaults", {}),
        *(("rows/credits", {"as_of": today, "bucket": bucket}) for bucket in (1, 4, 6)),
        ("rows/credits", {"as_of": today - timedelta(days=200), "buckets": (4, 5, 6)}),
        # As the charts open them: portfolio at risk, a cell of the vintages, what was due on some days.
        ("rows/credits", {"as_of": today - timedelta(days=20), "buckets": (4, 5, 6)}),
        (
            "rows/credits",
            {
                "as_of": ended,
                "buckets": (4, 5, 6),
                "disbursed_first": spring,
                "disbursed_last": spring + timedelta(days=27),
            },
        ),
        ("rows/installments", {"due_first": before, "due_last": ended}),
        ("rows/credits", {"as_of": ended, "as_of_before": before, "bucket": 2, "bucket_before": 1}),
        ("rows/credits", {"as_of": ended, "as_of_before": before, "bucket": 0, "bucket_before": 3}),
    )
    for name, params in lists:
        taken = []
        for turn in range(ROUNDS):
            # Another limit each time: nothing is answered from memory.
            began = time.perf_counter()
            rows(name, params, limit=50 + turn)
            taken.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        count = count_rows(name, params)
        counted = (time.perf_counter() - began) * 1000
        words = " ".join(f"{key}={value}" for key, value in params.items())
        table.add_row(f"{name} {words}", f"{statistics.median(taken):.0f}", f"{count:,}", f"{counted:.0f}")
    queries.disconnect()
    console.print(table)


def measure_refresh(one: Ledger) -> None:
    """Print a refresh after nothing and after 1 % new rows, as shares of a full build."""
    url = one.postgres.url("mirador_rollup")
    refresh(url, ZONE)
    nothing = refresh(url, ZONE, recount=False).seconds
    bench_ledger.add(one.postgres.url(), share=0.01)
    some = refresh(url, ZONE, recount=False)
    # Changes of the last quarter of an hour are looked at once more: they may have been committed late.
    counted = refresh(url, ZONE).seconds
    table = Table("refresh", "seconds", "of a full build", title=f"Rollups, {one.scale:g}x (aim: under 0.10 after 1 %)")
    for words, seconds in (
        ("full build", one.built_seconds),
        (f"after 1 % new rows ({some.credits:,} credits, {some.days} days)", some.seconds),
        ("after nothing", nothing),
        ("the same rows once more, and looking for deleted ones", counted),
    ):
        table.add_row(words, f"{seconds:.1f}", f"{seconds / one.built_seconds:.3f}")
    console.print(table)


def measure_pages(one: Ledger, folder: Path) -> None:
    """Print whole pages in Chromium: warm, cold, naive, beside an empty page and one chart."""
    env = {
        "MIRADOR_LEDGER_URL": one.postgres.url("mirador_reader"),
        "MIRADOR_ROLLUP_URL": one.postgres.url("mirador_rollup"),
    }
    with contextlib.ExitStack() as stack:
        dashboard = stack.enter_context(serve(folder, env, ready="/readyz"))
        empty = stack.enter_context(serve_script(folder / "empty", EMPTY))
        chart = stack.enter_context(serve_script(folder / "chart", ONE_CHART))
        browser = stack.enter_context(chromium())
        addresses = {"empty page": [empty.url], "one chart": [chart.url]}
        # Without the table's place in the cache: another day or period each time.
        today = datetime.now(ZoneInfo(ZONE)).date()
        fresh = itertools.cycle([(today - timedelta(days=back)).isoformat() for back in range(150, 210)])
        for page in PAGES:
            path = "" if page == "today" else page
            addresses[f"{page}, warm"] = [f"{dashboard.url}/{path}"]
            addresses[f"{page}, cold"] = [_cold(dashboard.url, page, next(fresh)) for _ in range(ROUNDS + 1)]
        taken: dict[str, list[float]] = {kind: [] for kind in addresses}
        for turn in range(ROUNDS + 1):
            # The kinds take turns, so that a slow moment of the machine falls on all of them.
            for kind, urls in addresses.items():
                with viewer(browser) as window:
                    milliseconds = window.open(urls[turn % len(urls)], timeout=120)
                # The first turn warms Chromium and the servers' imports, and does not count.
                if turn:
                    taken[kind].append(milliseconds)
        _print_pages("Whole page in Chromium", taken, taken)
        console.print("Aim: warm at most 1.4 times one chart, cold at most 1.2 times its own warm.")
        written: dict[str, list[float]] = {}
        for page in PAGES:
            naive = _naive(folder / f"naive-{page}", page, one)
            with serve_script(folder / f"naive-{page}", naive) as script:
                times = []
                for _ in range(3):
                    with viewer(browser) as window:
                        times.append(window.open(script.url, timeout=NAIVE_SECONDS))
                written[f"{page}, naive, cold"], written[f"{page}, naive, warm"] = times[:1], times[1:]
        _print_pages("The same pages written naively", written, taken)


def _print_pages(title: str, shown: dict[str, list[float]], taken: dict[str, list[float]]) -> None:
    """Print medians; `taken` holds the page of one chart and the pages' own warm times."""
    middle = {kind: statistics.median(values) for kind, values in taken.items()}
    table = Table("page", "median ms", "least", "most", "x one chart", "x own warm", title=title)
    for kind in sorted(shown, key=lambda kind: (kind.split(",")[0] not in ("empty page", "one chart"), kind)):
        warm = middle.get(f"{kind.split(',')[0]}, warm")
        median = statistics.median(shown[kind])
        table.add_row(
            kind,
            f"{median:,.0f}",
            f"{min(shown[kind]):,.0f}",
            f"{max(shown[kind]):,.0f}",
            f"{median / middle['one chart']:.2f}",
            f"{median / warm:.2f}" if warm else "",
        )
    console.print(table)


def _cold(url: str, page: str, day: str) -> str:
    if page == "today":
        return f"{url}/?day={day}"
    first = datetime.fromisoformat(day).date().replace(day=1)
    return f"{url}/{page}?period=custom&from={first}&to={day}"


def _naive(folder: Path, page: str, one: Ledger) -> str:
    """The page as it is often written: each question asked of the rows in turn, a line for each."""
    folder.mkdir(parents=True, exist_ok=True)
    statements = [statement for _name, statement in asked_by(page, _without_rollups(one))]
    place = folder / "statements.json"
    place.write_text(json.dumps(statements))
    return NAIVE.format(url=one.postgres.url("mirador_reader"), statements=str(place))


def _without_rollups(one: Ledger) -> queries.Sources:
    """A role that may not read the rollups asks the rows."""
    with psycopg.connect(one.postgres.url(driver=""), autocommit=True) as connection:
        connection.execute(
            "do $$ begin create role bench_rows login; exception when duplicate_object then null; end $$;"
            "grant usage on schema bi to bench_rows; grant select on all tables in schema bi to bench_rows"
        )
    return queries.Sources(ledger_url=one.postgres.url("bench_rows"), query_timeout=600)


def measure_file(one: Ledger, folder: Path) -> None:
    """Print how much the dashboard's memory grows while it sends all installments as CSV, and how fast."""
    os.environ["MIRADOR_SECRET"] = secrets.token_hex(16)
    # Read when the key is first needed: only now, with the secret that the process below has too.
    from app.download import Order, sign

    env = {"MIRADOR_LEDGER_URL": one.postgres.url("mirador_reader"), "MIRADOR_SECRET": os.environ["MIRADOR_SECRET"]}
    order = Order(
        query="rows/installments",
        params={},
        sort="due_date",
        descending=True,
        format="csv",
        name="installments.csv",
        total=0,
        language="en",
        id=secrets.token_hex(8),
        expires=int(time.time()) + 3600,
    )
    with serve(folder, env) as dashboard:
        process = psutil.Process(dashboard.process.pid)
        before = highest = process.memory_info().rss
        done = threading.Event()

        def watch() -> None:
            nonlocal highest
            while not done.wait(0.05):
                highest = max(highest, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        began, lines = time.monotonic(), 0
        address = f"{dashboard.url}/download/rows?token={sign(order)}"
        with requests.get(address, stream=True, timeout=600) as answer:
            answer.raise_for_status()
            for part in answer.iter_content(1 << 20):
                lines += part.count(b"\n")
        seconds = time.monotonic() - began
        done.set()
        watcher.join()
    console.print(
        f"All installments as CSV at {one.scale:g}x: {lines - 1:,} rows in {seconds:.0f} s; the process grew by "
        f"{(highest - before) / 1e6:.0f} MB at most."
    )


def main() -> None:
    """Measure and print."""
    # Pages run here without a browser, which Streamlit remarks upon.
    logging.getLogger("streamlit").setLevel(logging.ERROR)
    # A terminated run, too, ends the servers that it has started.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    main_scale = 1.0 if 1.0 in SCALES else max(SCALES)
    found: dict[float, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="mirador-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for scale in SCALES:
            with ledger(folder, scale) as one:
                if "database" in PARTS:
                    found[scale] = measure_database(one)
                if scale == max(SCALES) and "rows" in PARTS:
                    measure_rows(one)
                if scale == main_scale:
                    if "pages" in PARTS:
                        measure_pages(one, folder)
                    if "file" in PARTS:
                        measure_file(one, folder)
                    if "refresh" in PARTS:
                        measure_refresh(one)
    if found:
        database_time(found)


if __name__ == "__main__":
    main()
