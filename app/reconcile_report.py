"""The report of `python -m app reconcile`: every contract over a day, what was found and the rows, for people or as JSON.

Always in English, whatever the dashboard speaks.
"""  # noqa: E501

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import components
import queries
from app.findings import classes, evidence, expected, plain, sentence, signed, verdict
from app.reconciliation import excess
from queries import Finding, Result

FIRST_DAY = date(2000, 1, 1)
IDS_SHOWN = 12


def asked_day(text: str | None) -> date:
    """The business day that was asked for. Raises ValueError with a sentence."""
    today = datetime.now(queries.timezone()).date()
    named = {None: today - timedelta(days=1), "yesterday": today - timedelta(days=1), "today": today}
    if text in named:
        return named[text]
    try:
        day = date.fromisoformat(str(text)) if len(str(text)) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError(f"--day takes a day such as {today - timedelta(days=1)}, today or yesterday, not {text}.")
    if not FIRST_DAY <= day <= today:
        raise ValueError(f"--day must lie between {FIRST_DAY} and today, {today}.")
    return day


@contextmanager
def _in_english() -> Iterator[None]:
    components.set_default_language("en")
    try:
        yield
    finally:
        components.set_default_language(None)


def problems(results: Sequence[Result]) -> list[str]:
    """What is not in order, a sentence each: findings, what cannot be explained, and what could not be compared."""
    told = []
    found = [one for result in results for one in result.findings]
    names = [result.contract.name for result in results if result.findings]
    if found:
        told.append(f"{len(found)} finding{'s' if len(found) > 1 else ''} in {', '.join(names)}.")
    beyond = [result.contract.name for result in results if result.state == "differs" and not result.findings]
    if beyond:
        told.append(f"Beyond what is expected, with nothing found that would explain it: {', '.join(beyond)}.")
    unknown: dict[str, list[str]] = {}
    for result in results:
        if result.state == "unknown":
            why = result.error or "The sources hold nothing of that day that could be compared."
            unknown.setdefault(why, []).append(result.contract.name)
    for why, which in unknown.items():
        every = len(which) == len(results)
        told.append(f"Not compared: {'no contract could be' if every else ', '.join(which)}. {why}")
    return told


def print_table(results: Sequence[Result], day: date) -> None:
    """The contracts as a table, and below it what was found, with evidence and rows."""
    if all(one.state == "unknown" for one in results):
        # The sentences say why; a table of dashes says nothing.
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Reconciliation of {day}", title_justify="left")
    for name in ("contract", "state", "ledger", "metric", "difference", "expected"):
        table.add_column(name, justify="left" if name in {"contract", "state"} else "right")
    with _in_english():
        for one in results:
            unit = one.contract.unit
            ledger = float(one.ledger) if one.ledger is not None else None
            numbers = (plain(ledger, unit), plain(one.metric, unit), signed(one.difference, unit), expected(one))
            table.add_row(*(Text(cell) for cell in (one.contract.name, one.state, *numbers)))
        console = Console(markup=False, highlight=False)
        if not console.is_terminal:
            console = Console(markup=False, highlight=False, width=10_000)
        console.print(table)
        for result in results:
            for finding in result.findings:
                print(f"\n{result.contract.name}: {classes()[finding.kind].name}")
                print(f"  {sentence(result.contract, finding)} {evidence(result.contract, finding)}")
                if finding.rows:
                    more = len(finding.rows) - IDS_SHOWN
                    ids = ", ".join(finding.rows[:IDS_SHOWN]) + (f" and {more} more" if more > 0 else "")
                    print(f"  {result.contract.ledger.key}: {ids}")
    sys.stdout.flush()


def print_json(results: Sequence[Result], day: date) -> None:
    """Everything as one document; numbers of money as texts, to the centavo."""
    with _in_english():
        document = {
            "day": day.isoformat(),
            "timezone": queries.timezone().key,
            "contracts": [_result(one) for one in results],
        }
    json.dump(document, sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
    print()
    sys.stdout.flush()


def _number(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return format(value, "f") if isinstance(value, Decimal) else value


def _result(one: Result) -> dict[str, Any]:
    return {
        "contract": one.contract.name,
        "unit": one.contract.unit,
        "state": one.state,
        "start": one.start.isoformat(),
        "end": one.end.isoformat(),
        "ledger": _number(one.ledger),
        "metric": _number(one.metric),
        "difference": _number(one.difference),
        "expected": [_number(one.low), _number(one.high)],
        "excess": excess(one),
        "verdict": verdict(one),
        "findings": [_finding(one, finding) for finding in one.findings],
        "error": one.error,
    }


def _finding(result: Result, one: Finding) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "class": classes()[one.kind].name,
        "start": one.start.astimezone(queries.timezone()).isoformat(),
        "end": one.end.astimezone(queries.timezone()).isoformat(),
        "amount": one.amount,
        "size": one.size,
        "labels": one.labels,
        "instances": list(one.instances),
        "row_key": result.contract.ledger.key,
        "rows": list(one.rows),
        "certain": one.certain,
        "sentence": sentence(result.contract, one),
        "evidence": evidence(result.contract, one),
    }
