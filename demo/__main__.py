"""`python -m demo`: bring up the simulated company and the dashboard, and end both on Ctrl-C.

`python -m demo incident geotab --minutes 10` lets an outside service of the running company fail for a while.

Everything listens on 127.0.0.1 and lives in one folder (`.demo/`). The parent holds the folder's lock, starts each part
in a session of its own and ends them in order; a part that dies meanwhile is told. What an earlier run left behind
after a kill -9 is ended at the next start, by recorded pid, start time and command line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol

import fasteners
import psycopg
from rich.console import Console
from rich.markup import escape

from demo import servers, tracker, watch
from demo.around import LEFTOVERS, Around, Report
from demo.parts import LOG_GROUP
from demo.servers import HOST, Child, HttpServer, ServerError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SEED = 7
# The tables and series depend on these files: a folder made by other ones is made anew.
HISTORY_SOURCES = ("schema.sql", "indexes.sql", "company.py", "history.py")
SERIES_SOURCES = (*HISTORY_SOURCES, "backfill.py")
# The outside services that the status page knows.
SERVICES = ("geotab", "conekta", "metamap", "neon")
# What takes the messages that a company gets by Slack and PagerDuty.
INBOX = "Inbox (Slack, PagerDuty)"


class Stopped(BaseException):
    """A signal asked to end; not an Exception, so that nothing on the way swallows it."""


class Part(Protocol):
    """What is running: asked now and then whether it lives, and ended."""

    def alive(self) -> bool:
        """Whether it runs."""

    def stop(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Wish:
    """A port as wished: by its variable, or the usual one."""

    name: str
    variable: str
    usual: int


WISHES = (
    Wish("dashboard", "MIRADOR_PORT", 8501),
    Wish("backend", "DEMO_BACKEND_PORT", 8511),
    Wish("Prometheus", "DEMO_PROMETHEUS_PORT", 8512),
    Wish("Alertmanager", "DEMO_ALERTMANAGER_PORT", 8513),
    Wish("PostgreSQL", "DEMO_POSTGRES_PORT", 8514),
    Wish("Blackbox exporter", "DEMO_BLACKBOX_PORT", 8515),
    Wish("Inbox", "DEMO_INBOX_PORT", 8516),
    Wish("Redis", "DEMO_REDIS_PORT", 8517),
    Wish("Redis exporter", "DEMO_REDIS_EXPORTER_PORT", 8518),
    Wish("Node exporter", "DEMO_NODE_EXPORTER_PORT", 8519),
    Wish("PostgreSQL exporter", "DEMO_POSTGRES_EXPORTER_PORT", 8520),
    Wish("CloudWatch", "DEMO_CLOUDWATCH_PORT", 8521),
    Wish("Trace store", "DEMO_TRACES_PORT", 8522),
    Wish("Bugsink", "DEMO_BUGSINK_PORT", 8523),
)


@dataclass
class Demo:
    """The run: its folder, its ports, and what it has started, in order."""

    folder: Path
    scale: float
    console: Console
    ports: dict[str, int] = field(default_factory=dict)
    started: list[tuple[str, Part]] = field(default_factory=list)
    mourned: set[str] = field(default_factory=set)
    around: Around | None = None
    errands: list[Child] = field(default_factory=list)
    # Told to the tracker once it is up: the errors of the recent past.
    past_errors: Callable[[], None] | None = None

    # --- one line a step ---

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[..., None]]:
        """A step of the start: a spinner where there is a terminal, one line with its time at the end.

        Gives a function that shows progress; what it was last given as `result=` stands in the line.
        """
        began = time.monotonic()
        outcome = [""]

        with self.console.status(f"{title} ...") as status:

            def say(*words: object, result: str | None = None) -> None:
                if result is not None:
                    outcome[0] = result
                if words:
                    status.update(f"{title}: {escape(' '.join(str(word) for word in words))}")

            try:
                yield say
            except ServerError as error:
                self.line("red", "✗", title, str(error), began)
                raise
        self.line("green", "✓", title, outcome[0], began)

    def line(self, colour: str, sign: str, title: str, text: str, began: float | None = None) -> None:
        """One line: sign, what, how it went, seconds."""
        seconds = " " * 9 if began is None else f"[dim]{time.monotonic() - began:5.1f} s[/dim]  "
        self.console.print(f"[{colour}]{sign}[/{colour}] {seconds}[bold]{title}[/bold]  {escape(text)}", soft_wrap=True)

    # --- ports, marks, configuration ---

    def choose_ports(self, dashboard: int | None) -> None:
        """Take the wished ports; those that are taken are moved, and said."""
        for wish in WISHES:
            wished = dashboard if wish.name == "dashboard" and dashboard else _port_of(wish)
            port = servers.free_port(wished)
            while port in self.ports.values():
                port = servers.free_port()
            self.ports[wish.name] = port
            if port != wished:
                self.line(
                    "yellow", "!", wish.name, f"port {wished} is taken: moved to {port} ({wish.variable} chooses)"
                )

    def whole(self, mark: str, expected: dict[str, Any]) -> dict[str, Any] | None:
        """What a finished step noted about itself, when it was made by the same sources; None: make it anew."""
        try:
            noted: dict[str, Any] = json.loads((self.folder / f"{mark}.json").read_text())
        except (OSError, ValueError):
            return None
        return noted if all(noted.get(key) == value for key, value in expected.items()) else None

    def mark(self, name: str, facts: dict[str, Any]) -> None:
        """Note that a step is finished: written beside and moved, so that it stands whole or not at all."""
        fresh = self.folder / f"{name}.json.new"
        fresh.write_text(json.dumps(facts, indent=1))
        fresh.replace(self.folder / f"{name}.json")

    def unmark(self, name: str) -> None:
        """Take the note away before its thing is touched."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def configure(self, name: str, text: str) -> Path:
        """Write a file of monitoring/, made for this machine, to the demo's folder."""
        written = self.folder / name
        written.write_text(text, encoding="utf-8")
        return written

    # --- the parts ---

    def history_facts(self) -> dict[str, Any]:
        """What a history that may be kept was made from."""
        return {"sources": _digest(HISTORY_SOURCES), "seed": SEED}

    def postgres(self) -> servers.Postgres:
        """PostgreSQL with the history in it; both are made at the first start only."""
        server = servers.Postgres(self.folder / "postgres", port=self.ports["PostgreSQL"])
        expected = self.history_facts()
        noted = self.whole("history", expected)
        with self.step("PostgreSQL") as say:
            if noted is None:
                self.unmark("history")
                server.wipe()
            # Noted before it starts, so that a signal meanwhile ends it, too.
            self.started.append(("PostgreSQL", server))
            server.start()
            self.ports["PostgreSQL"] = server.port
            say(result=f"18, on {HOST}:{server.port}")
        if noted is not None:
            made = datetime.fromisoformat(noted["until"]).astimezone()
            kept = f"kept, made {made:%Y-%m-%d %H:%M} at scale {noted['scale']:g}"
            if noted["scale"] != self.scale:
                kept += "; for another DEMO_SCALE run `make clean-demo` first"
            closed = _hours_closed(server)
            if closed > 3:
                kept += f"; nothing happened in the last {closed:.0f} h: `make clean-demo` makes a fresh one"
            self.line("green", "✓", "History", kept)
            return server
        with self.step("History") as say:
            from demo import history

            until = datetime.now(UTC)
            _run_sql(server, HERE / "schema.sql")
            history.build(server.url(), scale=self.scale, seed=SEED, until=until, progress=say)
            self.mark("history", {**expected, "scale": self.scale, "until": until.isoformat()})
            say(result=f"24 months of ledger at scale {self.scale:g}")
        return server

    def daily_tables(self, ledger: servers.Postgres) -> None:
        """The rollups of the history, or what is new in them."""
        with self.step("Daily tables") as say:
            from demo.company import TIMEZONE
            from queries import SourceError
            from queries.rollup_refresh import refresh

            # Days of the zone that the dashboard will ask for.
            zone = os.environ.get("MIRADOR_TIMEZONE") or TIMEZONE.key

            def tell(done: int, total: int, words: str) -> None:
                say(f"{words}, {done:,} of {total:,} days and credits")

            try:
                report = refresh(ledger.url("mirador_rollup"), zone, wait=30, progress=tell)
            except SourceError as error:
                # Pages work without them, from the rows.
                say(result=f"goes on without: {error.sentence}")
                return
            say(result=f"{report.days:,} days and {report.credits:,} credits worked out; pages read them")

    def prometheus(self, ledger: servers.Postgres) -> servers.Prometheus | None:
        """Prometheus with the backfilled history; None (and said) where none can be had."""
        with self.step("Prometheus: find") as say:
            programs = servers.find_prometheus(self.folder / "packages")
            say(
                result=str(programs.prometheus)
                if programs
                else "not on this machine and not to be had: goes on without"
            )
        if programs is None:
            return None
        alertmanager = self.ports.get("Alertmanager")
        blackbox = self.blackbox()
        exporters = {
            "redis-exporter": "Redis exporter",
            "node-exporter": "Node exporter",
            "postgres-exporter": "PostgreSQL exporter",
        }
        redis = self.part("Redis")
        config = self.configure(
            "prometheus.yml",
            watch.prometheus_config(
                targets={
                    "conductores-backend": f"{HOST}:{self.ports['backend']}",
                    "mirador": f"{HOST}:{self.ports['dashboard']}",
                    **{job: f"{HOST}:{part.port}" for job, name in exporters.items() if (part := self.part(name))},
                },
                mirador_url=f"http://localhost:{self.ports['dashboard']}",
                # The demo's /metrics is open; a token that is shown all the same does no harm.
                token_file=self.hook_token_file(),
                alertmanager=f"{HOST}:{alertmanager}" if alertmanager else None,
                blackbox=f"{HOST}:{blackbox.port}" if blackbox else None,
                # The four outside services are simulated inside the backend, which answers for them.
                probes={
                    **{name: f"http://{HOST}:{self.ports['backend']}/simulation/services/{name}" for name in SERVICES},
                    "api": f"http://{HOST}:{self.ports['backend']}/health",
                    "database": f"{HOST}:{ledger.port}",
                    **({"cache": f"{HOST}:{redis.port}"} if redis else {}),
                },
            ),
        )
        server = servers.Prometheus(
            config, self.folder / "prometheus", program=programs.prometheus, port=self.ports["Prometheus"]
        )
        made = json.loads((self.folder / "history.json").read_text())
        days = _number("DEMO_METRICS_DAYS", 30, 60)
        expected = {"sources": _digest(SERIES_SOURCES), "until": made["until"], "days": days}
        if self.whole("series", expected) is None:
            with self.step("Prometheus: history") as say:
                from demo import backfill

                self.unmark("series")
                server.wipe()
                server.data_dir.mkdir(parents=True)
                # Until now, not until the history's end: made anew later, the series hold the live events, too.
                until = datetime.now(UTC)
                backfill.backfill(ledger.url(), server.data_dir, programs.promtool, days=int(days), until=until)
                self.mark("series", expected)
                say(result=f"{days:g} days backfilled from the same events")
        with self.step("Prometheus") as say:
            self.started.append(("Prometheus", server))
            try:
                server.start()
            except ServerError as error:
                self.started.pop()
                say(result=f"goes on without: {error}")
                return None
            say(result=server.url)
        return server

    def state(self, server: servers.Postgres) -> str:
        """The database that the dashboard may write, with a role of its own; the URL."""
        with psycopg.connect(server.url(driver=""), autocommit=True) as owner:
            if owner.execute("select from pg_roles where rolname = 'mirador_state'").fetchone() is None:
                owner.execute("create role mirador_state login")
            if owner.execute("select from pg_database where datname = 'mirador'").fetchone() is None:
                owner.execute("create database mirador owner mirador_state")
        return server.url("mirador_state", "mirador")

    def hook_token_file(self) -> Path:
        """The file with the token that Alertmanager shows to the dashboard, made at the first start."""
        path = self.folder / "hook.token"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path

    def alertmanager(self) -> servers.Alertmanager | None:
        """Alertmanager; None (and said) where none can be had."""
        with self.step("Alertmanager") as say:
            program = servers.find_alertmanager(self.folder / "packages")
            if program is None:
                say(result="not on this machine and not to be had: goes on without")
                return None
            config = self.configure(
                "alertmanager.yml",
                watch.alertmanager_config(
                    mirador=f"http://{HOST}:{self.ports['dashboard']}",
                    inbox=f"http://{HOST}:{self.ports['Inbox']}",
                    secrets=self.folder / "secrets",
                    hook_token=self.hook_token_file().read_text(),
                ),
            )
            data = self.folder / "alertmanager"
            server = servers.Alertmanager(config, data, program=program, port=self.ports["Alertmanager"])
            self.started.append(("Alertmanager", server))
            try:
                server.start()
            except ServerError as error:
                self.started.pop()
                say(result=f"goes on without: {error}")
                return None
            say(result=server.url)
        return server

    def blackbox(self) -> servers.BlackboxExporter | None:
        """The blackbox exporter, which probes the components; None (and said) where none can be had."""
        with self.step("Blackbox exporter") as say:
            program = servers.find_blackbox_exporter(self.folder / "packages")
            if program is None:
                say(result="not on this machine and not to be had: goes on without")
                return None
            server = servers.BlackboxExporter(
                watch.MONITORING / "blackbox.yml",
                self.folder / "blackbox",
                program=program,
                port=self.ports["Blackbox exporter"],
            )
            self.started.append(("Blackbox exporter", server))
            try:
                server.start()
            except ServerError as error:
                self.started.pop()
                say(result=f"goes on without: {error}")
                return None
            say(result=server.url)
        return server

    def program(self, title: str, name: str, argv: list[str], env: dict[str, str], ready: str, bound: float) -> Child:
        """One of our own Python programs, awaited until `ready` answers."""
        with self.step(title) as say:
            pid_file = self.folder / f"{name}.pid"
            child = Child(
                title,
                [sys.executable, "-m", *argv],
                log=self.folder / f"{name}.log",
                pid_file=pid_file,
                env=env,
                cwd=ROOT,
            )
            self.started.append((title, child))
            child.wait_until(lambda: servers.answers(ready), bound=bound)
            say(result=ready.rsplit("/", 1)[0])
        return child

    def part(self, title: str) -> HttpServer | None:
        """A part around the backend that is up."""
        return self.around.up.get(title) if self.around else None

    def take_parts(self) -> None:
        """Wait for the parts around the backend and say how each came up."""
        assert self.around is not None
        with self.console.status("Redis, exporters, log store and trace store ..."):
            news = self.around.wait(60)
        self.tell(news)
        if self.around.is_coming():
            words = "is being installed, once; errors stand on their page when it is up"
            self.line("yellow", "…", "Bugsink", words)

    def tell(self, news: list[Report]) -> None:
        """One line for each part that has come up or not."""
        for report in news:
            if report.server is None:
                self.line("yellow", "!", report.title, report.text)
                continue
            # What the thread has started is ended with the rest from now on.
            self.started.append((report.title, report.server))
            sign_in = ", sign in as demo with the password demo" if report.title == "Bugsink" else ""
            self.line("green", "✓", report.title, report.text + sign_in, time.monotonic() - report.seconds)

    def outlets(self) -> dict[str, str]:
        """The environment that says where the backend's logs, spans and errors go."""
        found = {}
        if redis := self.part("Redis"):
            found["DEMO_REDIS_URL"] = redis.url
        if logs := self.part("CloudWatch (moto)"):
            found["DEMO_CLOUDWATCH_URL"] = logs.url
        if traces := self.part("Trace store"):
            found["DEMO_OTLP_URL"] = traces.url
        if self.has_tracker():
            found["DEMO_SENTRY_DSN"] = self.dsn("conductores-backend")
        return found

    def has_tracker(self) -> bool:
        """Whether the error tracker is up or coming."""
        return self.around is not None and (self.part("Bugsink") is not None or self.around.is_coming())

    def dsn(self, project: str) -> str:
        """Where a program sends its errors; known before the tracker is up."""
        running = self.part("Bugsink")
        return tracker.dsn(
            tracker.access(self.folder / "bugsink"), project, running.port if running else self.ports["Bugsink"]
        )

    def engineers_sources(self, outlets: dict[str, str]) -> dict[str, str]:
        """What the dashboard is told of logs, traces and errors."""
        env = {}
        if url := outlets.get("DEMO_CLOUDWATCH_URL"):
            env["MIRADOR_CLOUDWATCH_LOG_GROUPS"] = LOG_GROUP
            env["MIRADOR_CLOUDWATCH_URL"] = url
            # The log store asks for credentials and looks at none.
            env |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
        if url := outlets.get("DEMO_OTLP_URL"):
            env |= {"MIRADOR_JAEGER_URL": url, "MIRADOR_OTLP_URL": url}
        if dsn := outlets.get("DEMO_SENTRY_DSN"):
            env["MIRADOR_SENTRY_API"] = "bugsink"
            env["MIRADOR_SENTRY_URL"] = "http://" + dsn.split("@")[1].split("/")[0]
            env["MIRADOR_SENTRY_TOKEN"] = tracker.access(self.folder / "bugsink")["token"]
            env["MIRADOR_SENTRY_ORGANIZATION"] = "conductores-del-mundo"
            env["MIRADOR_SENTRY_PROJECT"] = "conductores-backend"
            env["MIRADOR_SENTRY_DSN"] = self.dsn("mirador")
            env["MIRADOR_ENVIRONMENT"] = "demo"
        return env

    def tell_past(self, ledger: servers.Postgres, outlets: dict[str, str], until: datetime) -> None:
        """Begin to fill log store, trace store and tracker with the recent past, in the background."""
        env = {
            **os.environ,
            **outlets,
            "DEMO_LEDGER_URL": ledger.url("mirador_reader"),
            "DEMO_PAST_UNTIL": until.isoformat(),
            "DEMO_PAST_MARK": str(self.folder / "bugsink" / "told-until"),
        }

        def run(*wanted: str) -> None:
            argv = [sys.executable, "-m", "demo.past", *wanted]
            log, pid_file = self.folder / "past.log", self.folder / "past.pid"
            self.errands.append(Child("Recent past", argv, log=log, pid_file=pid_file, env=env, cwd=ROOT))

        run("logs", "traces", *(["errors"] if self.part("Bugsink") else []))
        if self.has_tracker() and not self.part("Bugsink"):
            self.past_errors = lambda: run("errors")

    # --- the run ---

    def start(self, *, dashboard: bool) -> str:
        """Bring everything up; the URL to open."""
        if self.whole("history", self.history_facts()) is None:
            # What the tracker holds belongs to another history.
            shutil.rmtree(self.folder / "bugsink", ignore_errors=True)
        self.around = Around(self.folder, self.ports)
        self.around.begin()
        ledger = self.postgres()
        self.daily_tables(ledger)
        self.take_parts()
        alertmanager = self.alertmanager()
        if alertmanager is None:
            del self.ports["Alertmanager"]
        else:
            self.ports["Alertmanager"] = alertmanager.port
            inbox = f"http://{HOST}:{self.ports['Inbox']}"
            told = self.folder / "inbox.jsonl"
            argv = ["demo.inbox", str(self.ports["Inbox"]), str(told)]
            self.program(INBOX, "inbox", argv, {**os.environ}, f"{inbox}/", 20)
        prometheus = self.prometheus(ledger)
        if prometheus is not None:
            self.ports["Prometheus"] = prometheus.port
        backend = f"http://{HOST}:{self.ports['backend']}"
        outlets = self.outlets()
        opened = datetime.now(UTC)
        self.program(
            "Backend",
            "backend",
            ["demo.backend"],
            {
                **os.environ,
                "DEMO_BACKEND_PORT": str(self.ports["backend"]),
                "DEMO_LEDGER_URL": ledger.url("mirador_core"),
                "DEMO_SCALE": str(self.scale),
                **outlets,
            },
            f"{backend}/health",
            60,
        )
        url = f"http://localhost:{self.ports['dashboard']}"
        if dashboard:
            # Only the demo's own sources: a variable of the shell must not mix a real system into the simulated one.
            env = {name: value for name, value in os.environ.items() if name not in SOURCE_VARIABLES}
            env["MIRADOR_PORT"] = str(self.ports["dashboard"])
            env["MIRADOR_LEDGER_URL"] = ledger.url("mirador_reader")
            env["MIRADOR_ROLLUP_URL"] = ledger.url("mirador_rollup")
            if prometheus is not None:
                env["MIRADOR_PROMETHEUS_URL"] = prometheus.url
                # The backfilled history has a sample a minute: a rate window must span four of them.
                env["MIRADOR_SCRAPE_INTERVAL"] = "60"
            if alertmanager is not None:
                env["MIRADOR_ALERTMANAGER_URL"] = alertmanager.url
            env["MIRADOR_STATE_URL"] = self.state(ledger)
            env["MIRADOR_PUBLIC_URL"] = url
            env["MIRADOR_STATUS_FILE"] = str(self.folder / "status.json")
            env["MIRADOR_HOOK_TOKEN"] = self.hook_token_file().read_text()
            env |= self.engineers_sources(outlets)
            health = f"http://{HOST}:{self.ports['dashboard']}/healthz"
            self.program("Dashboard", "dashboard", ["app", "serve"], env, health, 90)
            with self.step("Events") as say:
                say(result=self.tell_events(env["MIRADOR_HOOK_TOKEN"]))
        self.tell_past(ledger, outlets, opened)
        state = {
            "pid": os.getpid(),
            "url": url,
            "ledger": ledger.url("mirador_reader"),
            "rollup": ledger.url("mirador_rollup"),
            "prometheus": prometheus.url if prometheus else None,
            "alertmanager": alertmanager.url if alertmanager else None,
            "backend": backend,
            "redis": outlets.get("DEMO_REDIS_URL"),
            "cloudwatch": outlets.get("DEMO_CLOUDWATCH_URL"),
            "traces": outlets.get("DEMO_OTLP_URL"),
            "bugsink": f"http://{HOST}:{self.ports['Bugsink']}" if self.has_tracker() else None,
            "logs": str(self.folder),
        }
        self.mark("running", state)
        return url

    def tell_events(self, token: str) -> str:
        """Tell the dashboard what happened beside the ledger; how it went."""
        from demo import events

        made = datetime.fromisoformat(json.loads((self.folder / "history.json").read_text())["until"])
        try:
            number = events.tell(f"http://{HOST}:{self.ports['dashboard']}", token, made)
        except OSError as error:
            return f"not told, the charts stand without them: {error}"
        return f"{number} releases and changes of rules told to the dashboard"

    def watch(self) -> NoReturn:
        """Wait until a signal; say it once when a part dies."""
        assert self.around is not None
        while True:
            if news := self.around.news():
                self.tell(news)
            if self.past_errors is not None and self.part("Bugsink"):
                tell_errors, self.past_errors = self.past_errors, None
                tell_errors()
            for errand in [one for one in self.errands if not one.alive()]:
                self.errands.remove(errand)
                errand.stop()
                if errand.process.returncode:
                    words = f"could not be told. {errand.last_words(1)} Log: {errand.log}"
                    self.line("yellow", "!", errand.name, words)
            for name, part in self.started:
                if name not in self.mourned and not part.alive():
                    self.mourned.add(name)
                    words = part.last_words() if isinstance(part, Child) else ""
                    log = getattr(part, "log", self.folder)
                    self.line("red", "✗", name, f"has ended by itself. {words} Log: {log}. Start the demo again.")
            time.sleep(0.5)

    def stop(self) -> None:
        """End what was started: the dashboard first, PostgreSQL last."""
        began = time.monotonic()
        self.unmark("running")
        first = ["Dashboard", "Backend", "Prometheus", "Blackbox exporter", "Alertmanager", INBOX]
        order = [*first, *(report for report, _ in self.started if report not in (*first, "PostgreSQL")), "PostgreSQL"]
        for errand in self.errands:
            errand.stop()
        for name, part in sorted(self.started, key=lambda one: order.index(one[0])):
            try:
                part.stop()
            except Exception as error:
                self.line("red", "✗", name, f"could not be ended: {error}")
        if self.around is not None:
            # What has come up untold, and what is still coming.
            self.around.stop()
        self.started.clear()
        self.line(
            "green", "✓", "Ended", "everything that was started; the data is kept (make clean-demo removes it)", began
        )


SOURCE_VARIABLES = frozenset(
    {
        "MIRADOR_LEDGER_URL",
        "MIRADOR_ROLLUP_URL",
        "MIRADOR_PROMETHEUS_URL",
        "MIRADOR_ALERTMANAGER_URL",
        "MIRADOR_STATE_URL",
        "MIRADOR_PUBLIC_URL",
        "MIRADOR_STATUS_FILE",
        "MIRADOR_HOOK_TOKEN",
        *(
            f"MIRADOR_{name}"
            for name in (
                *("SENTRY_DSN", "SENTRY_URL", "SENTRY_TOKEN", "SENTRY_ORGANIZATION", "SENTRY_PROJECT", "SENTRY_API"),
                *("CLOUDWATCH_LOG_GROUPS", "CLOUDWATCH_REGION", "CLOUDWATCH_URL", "JAEGER_URL", "JAEGER_TOKEN"),
                *("ELASTICSEARCH_URL", "ELASTICSEARCH_INDEX", "ELASTICSEARCH_API_KEY", "OTLP_URL"),
                *("PAGERDUTY_TOKEN", "PAGERDUTY_URL", "UPTIMEROBOT_KEY", "UPTIMEROBOT_URL"),
            )
        ),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    }
)


def _port_of(wish: Wish) -> int:
    text = os.environ.get(wish.variable, "")
    if not text:
        return wish.usual
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ServerError(f"{wish.variable} must be a port number from 1 to 65535, not {text!r}")
    return int(text)


def _number(variable: str, usual: float, most: float) -> float:
    """A number above 0 and at most `most` from the environment."""
    text = os.environ.get(variable, "") or str(usual)
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= most:
        raise ServerError(f"{variable} must be a number above 0 and at most {most:g}, not {text!r}")
    return number


def _digest(names: tuple[str, ...]) -> str:
    """A fingerprint of source files of the demo."""
    digest = hashlib.sha256()
    for name in names:
        path = HERE / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def _run_sql(server: servers.Postgres, path: Path) -> None:
    """Run a file of statements as the ledger's owner."""
    with psycopg.connect(server.url(driver="")) as connection:
        connection.execute(path.read_bytes())


def _hours_closed(server: servers.Postgres) -> float:
    """Hours since the ledger's last call to an outside service: the demo did not run in them."""
    with psycopg.connect(server.url(driver="")) as connection:
        row = connection.execute(
            "select extract(epoch from now() - max(called_at)) from bi.integration_calls"
        ).fetchone()
    return float(row[0]) / 3600 if row and row[0] is not None else 0.0


def _has_display() -> bool:
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def end_leftovers(folder: Path) -> list[str]:
    """End what an earlier run on this folder left running when it was killed; what it was."""
    ours = {"dashboard": "app", "backend": "demo.backend", "inbox": "demo.inbox", "blackbox": "blackbox.yml"}
    ours |= {name: str(folder / name) for name in ("prometheus", "alertmanager", "redis", "bugsink")}
    ours |= LEFTOVERS
    ended = [name for name, words in ours.items() if servers.end_orphan(folder / f"{name}.pid", names=words)]
    if servers.Postgres(folder / "postgres").end_orphans():
        ended.append("postgres")
    return ended


def clean(folder: Path) -> None:
    """End what an earlier run left and remove the folder."""
    end_leftovers(folder)
    shutil.rmtree(folder, ignore_errors=True)


def incident(argv: list[str]) -> int:
    """`python -m demo incident SERVICE`: let an outside service of the running demo fail for a while."""
    from demo.company import INTEGRATIONS

    parser = argparse.ArgumentParser(prog="python -m demo incident", description=incident.__doc__)
    parser.add_argument("integration", choices=INTEGRATIONS)
    parser.add_argument("--minutes", type=float, default=10, help="how long it lasts (10)")
    parser.add_argument("--failing", type=float, default=0.9, help="share of the calls that fail (0.9)")
    parser.add_argument("--factor", type=float, default=1.5, help="how many times slower it is (1.5)")
    parser.add_argument("--end", action="store_true", help="end it now")
    parser.add_argument("--dir", type=Path, default=ROOT / ".demo", help="the demo's folder (else .demo/)")
    chosen = parser.parse_args(argv)
    try:
        backend = json.loads((chosen.dir / "running.json").read_text())["backend"]
        url = f"{backend}/simulation/incidents"
        if chosen.end:
            request = urllib.request.Request(f"{url}/{chosen.integration}", method="DELETE")
        else:
            wanted = {name: getattr(chosen, name) for name in ("integration", "minutes", "failing", "factor")}
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(url, data=json.dumps(wanted).encode(), headers=headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        print(f"The backend refuses that: {error.read(300).decode(errors='replace')}")
        return 1
    except (OSError, ValueError, KeyError):
        print("No demo answers: start it with `make demo` first.")
        return 1
    if chosen.end:
        print(f"{chosen.integration} works again." if told["ended"] else f"{chosen.integration} had no incident.")
    else:
        print(f"{chosen.integration} fails until {datetime.fromisoformat(told['until']).astimezone():%H:%M:%S}.")
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command; the exit code."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["incident"]:
        return incident(given[1:])
    parser = argparse.ArgumentParser(prog="python -m demo", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, help="port of the dashboard (else MIRADOR_PORT, else 8501)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser, even where there is a display")
    parser.add_argument("--no-dashboard", action="store_true", help="bring up only the simulated company")
    parser.add_argument("--dir", type=Path, default=ROOT / ".demo", help="the demo's folder (else .demo/)")
    parser.add_argument("--clean", action="store_true", help="remove the demo's folder and what runs on it")
    chosen = parser.parse_args(given)
    console = Console(highlight=False)
    folder: Path = chosen.dir.resolve()
    if chosen.clean and not folder.exists():
        console.print("There is no demo to remove.")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    lock = fasteners.InterProcessLock(folder / "lock")
    if not lock.acquire(blocking=False):
        try:
            where = json.loads((folder / "running.json").read_text())["url"]
        except (OSError, ValueError, KeyError):
            where = "another terminal"
        console.print(f"A demo already runs on {folder} ({where}): end it there with Ctrl-C first.", soft_wrap=True)
        return 1
    try:
        if chosen.clean:
            clean(folder)
            console.print(f"Removed {folder}.", soft_wrap=True)
            return 0
        return run(chosen, folder, console)
    finally:
        lock.release()


def run(chosen: argparse.Namespace, folder: Path, console: Console) -> int:
    """Start, watch, and end on a signal."""

    def on_signal(number: int, frame: object) -> None:
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    began = time.monotonic()
    demo: Demo | None = None
    try:
        demo = Demo(folder, _number("DEMO_SCALE", 1, 100), console)
        demo.unmark("running")
        # Before the ports are chosen: a leftover would hold the usual ones.
        if left := end_leftovers(folder):
            demo.line("yellow", "!", "Leftovers", f"of a killed run ended: {', '.join(left)}")
        demo.choose_ports(chosen.port)
        url = demo.start(dashboard=not chosen.no_dashboard)
        seconds = time.monotonic() - began
        if chosen.no_dashboard:
            console.print(f"\nThe company runs without a dashboard ({seconds:.1f} s). Ctrl-C ends it.")
        else:
            console.print(f"\nMirador is on [bold]{url}[/bold] ({seconds:.1f} s). Ctrl-C ends it.", soft_wrap=True)
            if _has_display() and not chosen.no_browser:
                webbrowser.open(url)
        demo.watch()
    except Stopped:
        console.print()
        return 0
    except ServerError as error:
        if demo is None or not demo.around:
            console.print(f"[red]✗[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    finally:
        # The ending itself is not to be cut short by an impatient second Ctrl-C.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if demo is not None and (demo.started or demo.around):
            demo.stop()


if __name__ == "__main__":
    sys.exit(main())
