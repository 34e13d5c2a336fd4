"""The dashboard as a process and Chromium before it: what browser tests, the bench and the screenshots share."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from demo.servers import Child, answers, free_port

ROOT = Path(__file__).resolve().parent.parent

# A page is drawn when its script has ended, no skeleton is left, and each chart has its picture.
DRAWN = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    if (!app || app.dataset.testScriptState !== 'notRunning') return false;
    if (document.querySelector('[data-testid^="stSkeleton"], [data-testid="stAppSkeleton"]')) return false;
    const charts = [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')];
    if (charts.some((chart) => !chart.querySelector('canvas, svg'))) return false;
    if (!document.querySelector('[data-testid="stMain"] [data-testid="stElementContainer"]')) return false;
    return performance.now();
}"""

# Chromium's own words about things that are no fault of the page.
_NOT_OURS = ("Download the React DevTools", "preload", "Permissions-Policy", "Unrecognized feature")


@dataclass
class Dashboard:
    """A running dashboard: `url` without a slash at the end, `process` and the log of what it said."""

    url: str
    process: Child
    log: Path
    env: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, timeout: float = 10) -> tuple[int, str]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextlib.contextmanager
def serve(
    folder: Path, env: dict[str, str], argv: list[str] | None = None, ready: str = "/healthz"
) -> Iterator[Dashboard]:
    """`python -m app serve` on a free port with only these MIRADOR_ variables; ended by its pid."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIRADOR_")}
    child = Child(
        "the dashboard",
        argv or [sys.executable, "-m", "app", "serve"],
        log=folder / f"dashboard-{port}.log",
        cwd=ROOT,
        # The status page's last good state stays with the test, not in the cache folder of whoever runs it.
        env={**clean, "MIRADOR_PORT": str(port), "MIRADOR_STATUS_FILE": str(folder / f"status-{port}.json"), **env},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        child.wait_until(lambda: answers(url + ready), bound=60)
        yield Dashboard(url, child, folder / f"dashboard-{port}.log", env)
    finally:
        child.stop()


def serve_script(folder: Path, source: str) -> contextlib.AbstractContextManager[Dashboard]:
    """A one-file Streamlit page, to measure against."""
    script = folder / "page.py"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(source)
    port = free_port()
    argv = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    argv += ["--server.address", "127.0.0.1", "--server.headless", "true", "--browser.gatherUsageStats", "false"]

    @contextlib.contextmanager
    def run() -> Iterator[Dashboard]:
        child = Child("the page", argv, log=folder / "page.log", cwd=folder)
        url = f"http://127.0.0.1:{port}"
        try:
            child.wait_until(lambda: answers(url + "/_stcore/health"), bound=60)
            yield Dashboard(url, child, folder / "page.log")
        finally:
            child.stop()

    return run()


def chromium_path() -> str | None:
    """Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found or (mac if Path(mac).exists() else None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@dataclass
class Viewer:
    """One browser window that notes each console error and each failed request of its page."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str, *, timeout: float = 30) -> float:
        """Open and wait until all is drawn; milliseconds since the navigation began."""
        self.page.goto(url, wait_until="commit")
        return self.drawn(timeout=timeout)

    def drawn(self, *, timeout: float = 30) -> float:
        """Wait until all is drawn; milliseconds since the last navigation began."""
        return float(self.page.wait_for_function(DRAWN, timeout=timeout * 1000).json_value())

    def text(self) -> str:
        """What stands on the page, menus that are open included."""
        return self.page.locator("body").inner_text()

    def assert_clean(self) -> None:
        """No exception on the page, no error in the console."""
        assert self.page.locator('[data-testid="stException"]').count() == 0, self.text()
        assert not self.complaints, self.complaints

    def wait_for_text(self, words: str, *, timeout: float = 30) -> None:
        """Wait until these words stand on the page."""
        until = time.monotonic() + timeout
        while words not in self.text():
            assert time.monotonic() < until, f"{words!r} did not appear; the page says: {self.text()}"
            time.sleep(0.2)

    def open_rows(self, mark: Locator, panel: str) -> Locator:
        """Click a mark of a panel's chart; the rows that open. A refresh of the panel can swallow a click."""
        opened = self.page.locator(f".st-key-rows-{panel}")
        mark.scroll_into_view_if_needed()
        for _ in range(5):
            # Where it stands, also where a line or a rule is drawn over it.
            place = mark.bounding_box()
            assert place is not None
            self.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
            with contextlib.suppress(PlaywrightTimeout):
                opened.locator('[data-testid="stDataFrame"]').wait_for(timeout=8_000)
                break
        self.drawn()
        return opened

    def follow_first_row(self, opened: Locator) -> str:
        """Click the first id that leads somewhere in the first of opened rows; the address it leads to."""
        cells = opened.locator('[data-testid="stDataFrame"] canvas').first
        cells.evaluate("one => one.scrollIntoView({block: 'center'})")
        self.drawn()
        # What follows the path changes first.
        began = self.page.url.partition("?")[0]
        # Cells are drawn on a canvas, and take clicks once they are painted, which nothing in the page tells.
        for _ in range(4):
            place = cells.bounding_box()
            assert place is not None
            for left in range(12, int(place["width"]), 12):
                self.page.mouse.move(place["x"] + left, place["y"] + 35 * 1.5)
                self.page.wait_for_timeout(60)
                if cells.evaluate("canvas => canvas.style.cursor") == "pointer":
                    self.page.mouse.click(place["x"] + left, place["y"] + 35 * 1.5)
                    with contextlib.suppress(PlaywrightTimeout):
                        self.page.wait_for_url(lambda url: url.partition("?")[0] != began, timeout=10_000)
                        self.drawn()
                        return self.page.url
                    break
        return self.page.url


@contextlib.contextmanager
def viewer(browser: Browser, **options: Any) -> Iterator[Viewer]:
    """A fresh browser context, in Spanish unless told otherwise."""
    context = browser.new_context(**{"locale": "es-MX", "timezone_id": "America/Mexico_City", **options})
    window = Viewer(context.new_page())

    def note(kind: str, words: str) -> None:
        if not any(known in words for known in _NOT_OURS):
            window.complaints.append(f"{kind}: {words}")

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            note("console", message.text)

    window.page.on("console", console)
    window.page.on("pageerror", lambda error: note("page", str(error)))
    try:
        yield window
    finally:
        context.close()
