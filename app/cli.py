"""`python -m app serve | query | rollup | reconcile | digest | doctor`: dashboard, numbers and sources, from a shell.

Data goes to stdout, sentences to stderr. Exit codes: 0 done, 1 a source failed or something needed is missing, 2 the
command or the configuration is wrong.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import pandas as pd

import queries
from app.settings import ROLES, Role, Settings, SettingsError, connect, load_settings, rollup_url, unknown_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        for name in unknown_names():
            print(f"{name} is not a setting of Mirador and is ignored.", file=sys.stderr)
        return int(options.run(options, settings))
    except SettingsError as error:
        return _failed(str(error), 2)
    except queries.SourceError as error:
        return _failed(error.sentence, 2 if error.kind in {"bad_parameter", "unknown_query"} else 1)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Mirador from a shell.")
    commands = parser.add_subparsers(required=True, metavar="serve | query | rollup | reconcile | digest | doctor")
    serve = commands.add_parser("serve", help="start the dashboard on your own systems (MIRADOR_* variables)")
    serve.set_defaults(run=_serve)
    query = commands.add_parser("query", help="print the answer of one named query")
    query.add_argument("name", nargs="?", help="such as today/decisions; see --list")
    query.add_argument("--list", action="store_true", help="list names, titles and parameters")
    query.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter; lists are comma separated or given again; NAME= means null",
    )
    query.add_argument("--format", choices=("table", "csv", "json"), default="table")
    query.set_defaults(run=_query)
    migrate = commands.add_parser("migrate", help="make or renew the tables of Mirador's own database")
    migrate.set_defaults(run=_migrate)
    rollup = commands.add_parser("rollup", help="bring the daily tables of the ledger up to now")
    rollup.add_argument("--full", action="store_true", help="build all of them anew")
    rollup.add_argument("--check", action="store_true", help="compare each table with the rows and list differences")
    rollup.set_defaults(run=_rollup)
    reconcile = commands.add_parser("reconcile", help="compare ledger and metrics of a day and tell what differs")
    reconcile.add_argument("--day", help="YYYY-MM-DD, today or yesterday (by default yesterday, the last whole day)")
    reconcile.add_argument("--format", choices=("table", "json"), default="table")
    reconcile.set_defaults(run=_reconcile)
    slo = commands.add_parser("slo", help="make the rules of the objectives in monitoring/slos.yaml")
    slo.add_argument("what", choices=("generate",))
    slo.add_argument("--check", action="store_true", help="write nothing; fail when the rules are not up to date")
    slo.set_defaults(run=_slo)
    digest = commands.add_parser("digest", help="print the daily digest of each role, or send it")
    digest.add_argument("--send", action="store_true", help="send it to whoever has not got it yet")
    digest.add_argument("--to", metavar="ADDRESS", help="with --send: send it to this address alone, as a test")
    digest.add_argument(
        "--role", choices=ROLES, help="whose digest (by default all that are printed, executive for --to)"
    )
    digest.add_argument("--day", help="the day that it tells of, YYYY-MM-DD (by default yesterday)")
    digest.add_argument("--lang", choices=("es", "en"), help="by default MIRADOR_LANGUAGE, else Spanish")
    digest.set_defaults(run=_digest)
    doctor = commands.add_parser("doctor", help="check every source and say what is missing")
    doctor.set_defaults(run=_doctor)
    return parser


def _failed(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


# --- serve ------------------------------------------------------------------------------------------------------------


def _serve(_options: argparse.Namespace, settings: Settings) -> int:
    taken = _port_problem(settings.address, settings.port)
    if taken:
        return _failed(taken, 1)

    def end(_signal: int, _frame: object) -> NoReturn:
        sys.exit(0)

    # uvicorn ends in good order and then raises the signal again for whoever stood here before: us.
    signal.signal(signal.SIGTERM, end)
    # Streamlit asks them for which origins may open a connection.
    os.environ["STREAMLIT_SERVER_PORT"], os.environ["STREAMLIT_SERVER_ADDRESS"] = str(settings.port), settings.address
    import uvicorn

    from app.asgi import app

    # Not by Streamlit's own runner: it hands uvicorn a socket on which asyncio leaves Nagle's algorithm on, and each of
    # the hundred files of a page then waits 40 ms for an acknowledgement (uvicorn's issue 3149).
    uvicorn.run(
        app,
        host=settings.address,
        port=settings.port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        use_colors=False,
        log_level="warning",
    )
    return 0


def _port_problem(address: str, port: int) -> str | None:
    """Why the dashboard cannot listen there, in a sentence, or None."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except socket.gaierror:
        return "MIRADOR_ADDRESS is not an address of this machine."
    except PermissionError:
        return f"MIRADOR_PORT {port} may not be opened by this user: choose one above 1023."
    except OSError:
        return f"MIRADOR_PORT {port} is in use by another program, or MIRADOR_ADDRESS is not of this machine."
    return None


# --- query ------------------------------------------------------------------------------------------------------------


def _query(options: argparse.Namespace, settings: Settings) -> int:
    if options.list:
        _print_list()
        return 0
    if not options.name:
        return _failed("Name a query, or ask for --list.", 2)
    query = _find(options.name)
    params = _params(query, options.param)
    connect(settings)
    try:
        ask = {"ledger": queries.ledger, "metrics": queries.metrics, "state": queries.state}[query.source]
        frame = ask(query.name, params)
    finally:
        queries.disconnect()
    answer = queries.answer_of(frame)
    if options.format == "csv":
        _print_csv(frame, query)
    elif options.format == "json":
        _print_json(frame, query, answer)
    else:
        _print_table(frame, query)
    for warning in answer.warnings:
        print(f"Warning of the {answer.source}: {warning}", file=sys.stderr)
    rows = f"{len(frame):,} row{'' if len(frame) == 1 else 's'}"
    print(f"{rows} from the {answer.source}, as of {answer.as_of:%Y-%m-%d %H:%M:%S %Z}.", file=sys.stderr)
    return 0


def _find(name: str) -> queries.Query:
    """The query of that name; where ledger and metrics share one, `ledger/` or `metrics/` before it decides."""
    every = queries.load_queries()
    found = [query for query in every if name in {query.name, f"{query.source}/{query.name}"}]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"{query.source}/{query.name}" for query in found)
        raise queries.SourceError(f"Two queries are named {name}: say {names}.", kind="unknown_query")
    meant = difflib.get_close_matches(name, [query.name for query in every], 1, 0.6)
    hint = f" Did you mean {meant[0]}?" if meant else " See python -m app query --list."
    raise queries.SourceError(f"There is no query named {name}.{hint}", kind="unknown_query")


def _params(query: queries.Query, given: Iterable[str]) -> dict[str, Any]:
    types = {param.name: param.type for param in query.params}
    params: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise queries.SourceError(f"--param takes NAME=VALUE, not {text}.", kind="bad_parameter")
        if name not in types:
            known = ", ".join(types) or "none"
            raise queries.SourceError(
                f"The query {query.name} has no parameter {name}; it has: {known}.", kind="bad_parameter"
            )
        if types[name] in {"labels"} or types[name].endswith("[]"):
            params[name] = [*(params.get(name) or []), *(item for item in value.split(",") if item)]
        elif name in params:
            raise queries.SourceError(f"The parameter {name} takes one value.", kind="bad_parameter")
        else:
            params[name] = value or None
    return params


def _print_list() -> None:
    for query in queries.load_queries():
        print(f"{query.name}  ({query.source})  {query.title}")
        for param in query.params:
            default = "" if param.required else f" = {'null' if param.default is None else param.default}"
            words = f"  {param.description}" if param.description else ""
            print(f"    {param.name} {param.type}{default}{words}")


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA


def _texts(frame: pd.DataFrame, query: queries.Query) -> Iterable[list[str]]:
    """Cells as exact texts: money to the centavo, days as days, times with their offset, null as nothing."""
    days = _day_columns(query, frame)
    for row in frame.itertuples(index=False, name=None):
        yield [_text(value, name in days) for name, value in zip(frame.columns, row, strict=True)]


def _day_columns(query: queries.Query, frame: pd.DataFrame) -> set[str]:
    declared = {column.name for column in query.columns if column.type == "date"}
    return declared | {str(name) for name in frame.columns if str(frame[name].dtype).startswith("datetime64[us]")}


def _text(value: Any, is_day: bool) -> str:
    if _is_null(value) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if is_day else value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _print_csv(frame: pd.DataFrame, query: queries.Query) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(_texts(frame, query))
    sys.stdout.flush()


def _json_value(value: Any, is_day: bool) -> Any:
    if _is_null(value):
        return None
    if isinstance(value, float):
        # JSON knows neither; the text is what Prometheus itself writes.
        return None if math.isnan(value) else ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else value
    if isinstance(value, Decimal):
        # A float holds 15 digits exactly; a longer number keeps all of its digits as a text.
        return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime | date):
        return _text(value, is_day)
    return value.item() if hasattr(value, "item") else str(value)


def _print_json(frame: pd.DataFrame, query: queries.Query, answer: queries.Answer) -> None:
    days = _day_columns(query, frame)
    units = {column.name: column.unit for column in query.columns}
    document = {
        "query": answer.name,
        "title": answer.title,
        "source": answer.source,
        "as_of": answer.as_of.isoformat(),
        "params": {name: _plain(value) for name, value in answer.params.items()},
        "columns": [{"name": str(name), "unit": units.get(str(name), "")} for name in frame.columns],
        "rows": [
            {str(name): _json_value(value, name in days) for name, value in zip(frame.columns, row, strict=True)}
            for row in frame.itertuples(index=False, name=None)
        ],
        "warnings": list(answer.warnings),
    }
    json.dump(document, sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
    print()
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else _json_value(value, False)


def _print_table(frame: pd.DataFrame, query: queries.Query) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=query.title, title_justify="left")
    units = {column.name: column.unit for column in query.columns}
    for name in frame.columns:
        number = pd.api.types.is_numeric_dtype(frame[name]) or isinstance(
            frame[name].iloc[0] if len(frame) else "", Decimal
        )
        unit = units.get(str(name))
        table.add_column(f"{name} ({unit})" if unit else str(name), justify="right" if number else "left")
    for row in _texts(frame, query):
        table.add_row(*(Text(cell) for cell in row))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width: nothing is cut off.
        console = Console(markup=False, highlight=False, width=10_000)
    console.print(table)


# --- migrate ----------------------------------------------------------------------------------------------------------


def _migrate(_options: argparse.Namespace, settings: Settings) -> int:
    from app.state import migrate

    if settings.state_url is None:
        return _failed("No state database is configured: set MIRADOR_STATE_URL.", 1)
    taken = migrate(settings.state_url.get_secret_value())
    print(f"Migrated: {', '.join(taken)}." if taken else "Nothing to do: the state database is up to date.")
    return 0


# --- rollup -----------------------------------------------------------------------------------------------------------

# A refresh of another process that takes longer than this is left alone.
WAIT_SECONDS = 120.0


def _rollup(options: argparse.Namespace, settings: Settings) -> int:
    from queries.rollup_refresh import differences, refresh

    url = rollup_url(settings)
    if url is None:
        return _failed("No ledger is configured: set MIRADOR_LEDGER_URL.", 2)
    with _progress() as tell:
        report = refresh(url, settings.timezone, full=options.full, wait=WAIT_SECONDS, progress=tell)
    did = f"{len(report.built)} built, " if report.built else ""
    did += f"{report.days:,} days and {report.credits:,} credits worked out in {report.seconds:.1f} s"
    print(f"The daily tables are up to date: {did}.", file=sys.stderr)
    if report.repaired:
        print(f"Rows had been deleted or moved; mended: {', '.join(report.repaired)}.", file=sys.stderr)
    if not options.check:
        return 0
    found = differences(url, settings.timezone, catch_up=True, wait=WAIT_SECONDS)
    for one in found:
        first = ", ".join(f"{name} {value}" for name, value in one.first.items() if name != "side")
        print(f"{one.name}: {one.missing:,} rows missing, {one.surplus:,} too many; the first: {first}")
    if found:
        return _failed("The tables differ from the rows: python -m app rollup --full builds them anew.", 1)
    print("Every table equals its definition over the rows.", file=sys.stderr)
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr where there is a terminal; gives what is to be told (done, total, words)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Looking for changes", total=None)

        def tell(done: int, total: int, words: str) -> None:
            progress.update(task, completed=done, total=total, description=words.capitalize())

        yield tell


# --- reconcile --------------------------------------------------------------------------------------------------------


def _reconcile(options: argparse.Namespace, settings: Settings) -> int:
    from app.reconcile_report import asked_day, print_json, print_table, problems

    sources = {"MIRADOR_LEDGER_URL": settings.ledger_url, "MIRADOR_PROMETHEUS_URL": settings.prometheus_url}
    names = {"MIRADOR_LEDGER_URL": "ledger", "MIRADOR_PROMETHEUS_URL": "Prometheus"}
    missing = [f"No {names[name]} is configured: set {name}." for name, value in sources.items() if not value]
    if missing:
        return _failed(" ".join(missing), 1)
    connect(settings)
    try:
        day = asked_day(options.day)
        results = queries.reconcile_all(day)
        (print_json if options.format == "json" else print_table)(results, day)
    except ValueError as error:
        return _failed(str(error), 2)
    finally:
        queries.disconnect()
    told = problems(results)
    for sentence in told:
        print(sentence, file=sys.stderr)
    return 1 if told else 0


# --- slo --------------------------------------------------------------------------------------------------------------


def _slo(options: argparse.Namespace, _settings: Settings) -> int:
    from app.slos import RULES, generate

    try:
        stale = generate(check=options.check)
    except ValueError as error:
        return _failed(str(error), 2)
    if stale is not None:
        return _failed(stale, 1)
    print(f"{RULES.name} is up to date." if options.check else f"Wrote monitoring/rules/{RULES.name}.", file=sys.stderr)
    return 0


# --- digest -----------------------------------------------------------------------------------------------------------


def _digest(options: argparse.Namespace, settings: Settings) -> int:
    from app import digest, digest_post

    running = queries.business_day(ZoneInfo(settings.timezone))
    try:
        day = date.fromisoformat(options.day) if options.day else running - timedelta(days=1)
    except ValueError:
        return _failed("--day must be a date such as 2026-01-31.", 2)
    if day > running:
        return _failed(f"--day must not lie after today, {running}.", 2)
    connect(settings)
    try:
        language = options.lang or digest_post.language_of(settings)
        if not options.send:
            for one in (options.role,) if options.role else ROLES:
                told = digest.gather(one, day, language=language, public_url=settings.public_url)
                print(digest.write(told).text)
            return 0
        if options.to is None and not digest_post.destinations(settings):
            return _failed(digest_post.why_none(settings) or "", 1)
        failed = False
        role: Role = options.role or "executive"
        for to, outcome in digest_post.send_now(settings, day, language=language, to=options.to, role=role):
            # No address: this may stand in the log of a scheduler.
            print(f"{to.role} by {to.channel}: {outcome}", file=sys.stderr)
            failed |= outcome not in {"sent", "already sent"}
        return int(failed)
    finally:
        queries.disconnect()


# --- doctor -----------------------------------------------------------------------------------------------------------


def _doctor(_options: argparse.Namespace, settings: Settings) -> int:
    from app.doctor import examine, print_findings

    return print_findings(examine(settings))
