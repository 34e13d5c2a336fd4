"""`make bench`: how long a whole page takes in headless Chromium, as ratios in one run.

    empty page            a Streamlit page with one line
    one chart             a Streamlit page with one Altair chart: the measure of all others
    Today, warm           a fresh browser, the application's answers in memory
    Today, cold           a fresh browser, a day that nobody has asked for: each query runs

Time runs from the start of the navigation to the last panel drawn; the median of several fresh browser contexts.
The ledger and the metrics are those of the demo (DEMO_SCALE, 1 by default).
"""

from __future__ import annotations

import os
import statistics
import tempfile
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.dashboard import chromium, serve, serve_script, viewer
from tests.stage import stage

EMPTY = 'import streamlit as st\nst.write("empty")\n'
ONE_CHART = """
import altair as alt, pandas as pd, streamlit as st
frame = pd.DataFrame({"x": range(60), "y": [n % 7 for n in range(60)]})
st.altair_chart(alt.Chart(frame).mark_line().encode(x="x", y="y"))
"""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))


def main() -> None:
    """Measure and print."""
    scale = float(os.environ.get("DEMO_SCALE", "1"))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mirador-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        console.print(f"Making the company (scale {scale:g}) ...")
        with (
            stage(folder, scale=scale) as company,
            serve(folder, company.env, ready="/readyz") as dashboard,
            serve_script(folder / "empty", EMPTY) as empty,
            serve_script(folder / "chart", ONE_CHART) as chart,
            chromium() as browser,
        ):
            taken: dict[str, list[float]] = {"empty page": [], "one chart": [], "Today, warm": [], "Today, cold": []}
            cold_days = [date.today() - timedelta(days=30 + 7 * n) for n in range(ROUNDS + 1)]
            for turn in range(ROUNDS + 1):
                # The kinds take turns, so that a slow moment of the machine falls on all of them.
                for kind, url in (
                    ("empty page", empty.url),
                    ("one chart", chart.url),
                    ("Today, cold", f"{dashboard.url}/?day={cold_days[turn]}"),
                    ("Today, warm", dashboard.url),
                ):
                    with viewer(browser) as window:
                        milliseconds = window.open(url)
                    # The first turn warms Chromium and the servers' imports, and does not count.
                    if turn:
                        taken[kind].append(milliseconds)
    middle = {kind: statistics.median(values) for kind, values in taken.items()}
    table = Table("page", "median ms", "least", "most", "x one chart", title="Whole page in Chromium")
    for kind, values in taken.items():
        table.add_row(
            kind,
            f"{middle[kind]:,.0f}",
            f"{min(values):,.0f}",
            f"{max(values):,.0f}",
            f"{middle[kind] / middle['one chart']:.2f}",
        )
    console.print(table)
    warm, cold = middle["Today, warm"], middle["Today, cold"]
    console.print(f"Today warm is {warm / middle['one chart']:.2f} x one chart (aim: at most 1.4)")
    console.print(f"Today cold is {cold / warm:.2f} x its own warm (aim: at most 1.2)")


if __name__ == "__main__":
    main()
