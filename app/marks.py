"""The small mark beside a number: agrees, or by how much it differs. From the last check alone, never computed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import queries
from app import reconciliation
from app.findings import STATE_COLOURS, STATE_ICONS, state_name, verdict, worst
from components import Filters, Mark, _, day_name, language, percent, when
from queries import Result

PAGE = Path(__file__).resolve().parent.parent / "pages" / "reconciliation.py"


def mark(kpi: str, first: date, last: date | None = None) -> Mark | None:
    """What the last check says of a KPI on a day; of a period, on its last day. None where nothing is known.

    Checked are today and yesterday: of other days nothing is claimed.
    """
    day = last or first
    check = reconciliation.known(day)
    known = [] if check is None else [one for one in check.of_kpi(kpi) if one.state != "unknown" or _away(one)]
    if check is None or not known:
        return None
    state = worst(one.state for one in known)
    leads = max((one for one in known if one.state == state), key=_weight)
    words = _words(leads, state)
    if first != day:
        # A period was not checked as a whole: the mark says which day it speaks of.
        words = f"{_named(day)}: {words}"
    told = " · ".join(f"{one.contract.label.in_language(language())}: {verdict(one)}" for one in known)
    checked = _("Checked {when}.").format(when=when(check.at.astimezone(queries.timezone())))
    running = day == datetime.now(queries.timezone()).date()
    params = {"contract": leads.contract.name} | ({} if running else {"day": day.isoformat()})
    return Mark(words, STATE_ICONS[state], STATE_COLOURS[state], str(PAGE), params, f"{told} {checked}")


def marked(kpi: str, filters: Filters) -> Callable[[], Mark | None]:
    """The mark of a page's card: of the period's last day, and none while the page shows a part of the business."""
    narrowed = bool(filters.tiers or filters.segment)
    return lambda: None if narrowed else mark(kpi, filters.first, filters.last)


def _named(day: date) -> str:
    running = datetime.now(queries.timezone()).date()
    return _("Today") if day == running else day_name(day, style="d MMM")


def _weight(result: Result) -> float:
    """How much a contract differs, over its own size."""
    found = max((one.size for one in result.findings), default=0.0)
    return max(found, abs(result.difference or 0.0)) / max(abs(float(result.ledger or 0)), 1.0)


def _away(result: Result) -> bool:
    """Whether one source did not answer: the other's number stands. One that is not configured is no news."""
    return result.one_sided and result.error_kind != "not_configured"


def _words(result: Result, state: str) -> str:
    if state == "unknown":
        return _("not compared: why")
    if state == "agrees":
        return state_name("agrees")
    share = None if result.share is None else abs(result.share)
    if share is None or share < 0.00005:
        # The sum agrees: what differs lies within it, or at another time.
        return state_name("explained") if state == "explained" else _("sum agrees, parts differ: why")
    if state == "explained":
        return _("{share}: explained").format(share=percent(share))
    return _("{share}: why").format(share=percent(share))
