"""What reconciliation found, in plain sentences: the class, how much, when, and what proves it.

In the language of the session; `python -m app reconcile` asks for English.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from components import _, day_name, duration, money, ngettext, number, percent, quantity, value_name
from queries import Contract, Finding, Result, timezone
from queries.reconcile_model import EXPLAINED, KINDS, Kind, State

STATES: tuple[State, ...] = ("agrees", "explained", "differs", "unknown")
STATE_ICONS = {"agrees": "check_circle", "explained": "info", "differs": "error", "unknown": "help"}
STATE_COLOURS = {"agrees": "green", "explained": "blue", "differs": "red", "unknown": "gray"}
# For cells of a table, which show no icon font.
STATE_SIGNS = {"agrees": "✓", "explained": "≈", "differs": "✗", "unknown": "?"}
# So few rows are named in the sentence itself.
IDS_IN_WORDS = 3
# Whose numbers move to another time or label: the sum does not tell how much it was.
_SUM_AGREES = {"wrong_label", "clock_skew", "late_commit", "scrape_gap"}


@dataclass(frozen=True)
class Class:
    """A class of findings: its name, what it means, and what to do."""

    name: str
    meaning: str
    remedy: str


def classes() -> dict[Kind, Class]:
    """All classes in the viewer's language, in the order of the model."""
    told = {
        "counter_reset": (
            _("Counter reset with loss"),
            _("A process began anew. What it had counted since its last scrape is gone from the metrics."),
            _("Nothing: the ledger has it. Scrape more often, or let a process end only after a last scrape."),
        ),
        "scrape_gap": (
            _("Scrape gap"),
            _("Scrapes are missing. The counters went on, so nothing is lost but the minute in which it happened."),
            _("See why Prometheus did not reach the process; live rates and alerts were blind meanwhile."),
        ),
        "replica_missing": (
            _("Replica missing"),
            _("A process counts and nobody scrapes it: every label lacks the same share."),
            _("Add the process to the scrape targets."),
        ),
        "counted_twice": (
            _("Replica counted twice"),
            _("One process is scraped under two names, so the sum holds it twice."),
            _("Remove one of the two targets."),
        ),
        "row_without_metric": (
            _("Row without metric"),
            _("The ledger has rows that no process counted: written past the instrumented path."),
            _("Find who wrote the rows below, and count there, too."),
        ),
        "metric_without_row": (
            _("Metric without row"),
            _("A process counted what never came into the ledger, such as a transaction that was rolled back."),
            _("Count after the commit, not before."),
        ),
        "double_count": (
            _("Double count"),
            _("A process counted the same row more than once, such as on a retry."),
            _("Count where the row is written, once."),
        ),
        "wrong_label": (
            _("Wrong label"),
            _("Counted under another label than the row has: the sums agree, the parts do not."),
            _("Take the label from the row that was written."),
        ),
        "clock_skew": (
            _("Clock skew"),
            _("For a while all events bear another time in the ledger than in the metrics: a clock was off."),
            _("Look at the time service of the machine that writes the rows."),
        ),
        "late_commit": (
            _("Late commit"),
            _("Rows were written well after the moment that they tell; the metrics counted them when written."),
            _("Nothing, if it was a queue that was worked off; else see what held the transactions."),
        ),
    }
    return {kind: Class(*told[kind]) for kind in KINDS}


def state_name(state: str) -> str:
    """A state in a word."""
    return {
        "agrees": _("agrees"),
        "explained": _("explained"),
        "differs": _("differs"),
        "unknown": _("unknown"),
    }[state]


def owner_role(contract: Contract, language: str) -> str:
    """Who answers for a contract."""
    return contract.owner.in_language(language)


def signed(value: float | None, unit: str) -> str:
    """A difference with its sign: +3, -$1,500.00, 0; a fraction of a count with one decimal."""
    if value is None:
        return "–"
    value = round(float(value), 2 if unit == "mxn" else 1) + 0.0
    return f"{'+' if value > 0 else ''}{plain(value, unit)}"


def plain(value: float | int | None, unit: str) -> str:
    """A number of a contract: money to the centavo, a count with a decimal only where it has one."""
    if value is None:
        return "–"
    if unit == "mxn":
        return money(value)
    value = round(float(value), 1)
    return number(value) if value.is_integer() else number(value, 1)


def expected(result: Result) -> str:
    """The expected difference: 0, or -1 to +3."""
    if result.low is None or result.high is None:
        return "–"
    return edges(result.low, result.high, result.contract.unit)


def edges(low: float, high: float, unit: str) -> str:
    """Both ends of what is expected: 0, or -1 to +3."""
    first, last = signed(low, unit), signed(high, unit)
    return first if first == last else _("{low} to {high}").format(low=first, high=last)


def amount(value: float, unit: str) -> str:
    """How much a finding is: 3 events, $150,000.00."""
    if unit == "mxn":
        return quantity(value, "mxn")
    value = round(value, 1)
    return ngettext("{n} event", "{n} events", 1 if value == 1 else 2).format(n=plain(value, unit))


def span(start: datetime, end: datetime) -> str:
    """When it arose, in the business zone: 24 Nov 10:02:15–10:02:30."""
    zone = timezone()
    start, end = start.astimezone(zone), end.astimezone(zone)
    seconds = "%H:%M:%S" if (end - start).total_seconds() < 600 else "%H:%M"
    first = f"{day_name(start.date(), style='d MMM')} {start:{seconds}}"
    if start == end:
        return first
    last = (
        f"{end:{seconds}}" if start.date() == end.date() else f"{day_name(end.date(), style='d MMM')} {end:{seconds}}"
    )
    return f"{first}–{last}"


def labels_of(labels: dict[str, str]) -> str:
    """Labels in words: succeeded, card; (none) for an empty one."""
    return ", ".join(str(value_name(value)) if value else _("(none)") for value in labels.values())


def _at(labels: dict[str, str]) -> str:
    told = labels_of(labels)
    return _(" of {labels}").format(labels=told) if told else ""


def sentence(contract: Contract, finding: Finding) -> str:
    """A finding in a sentence: how much, when and where."""
    unit = contract.unit
    facts = finding.facts
    values = {
        "size": amount(finding.size, unit),
        "when": span(finding.start, finding.end),
        "at": _at(finding.labels),
        "who": ", ".join(finding.instances) or _("a process"),
    }
    match finding.kind:
        case "counter_reset":
            text = _("{who} began anew, {when}: {size}{at} that it had counted since its last scrape were lost.")
        case "scrape_gap":
            values["missed"] = number(facts.get("missed", 0))
            if contract.kind == "gauge":
                text = _("{missed} scrapes of {who} are missing, {when}: the state meanwhile is not known.")
            else:
                text = _("{missed} scrapes of {who} are missing, {when}: {size} happened meanwhile.")
        case "replica_missing":
            values["share"] = percent(facts.get("share"), 0)
            text = _("{who} counted and was not scraped, {when}: the metrics lack {size}{at}, {share} of all.")
        case "counted_twice":
            text = _("{who} are one process under two names, {when}: {size}{at} stand twice in the metrics.")
        case "row_without_metric":
            text = _("The ledger has {size}{at} that no process counted, {when}.")
        case "metric_without_row":
            text = _("The metrics counted {size}{at} of which the ledger has no row, {when}.")
        case "double_count":
            text = _("{size}{at} were counted again, {when}.")
        case "wrong_label":
            values["to"] = labels_of(facts.get("to", {}))
            text = _("{size}{at} were counted as {to}, {when}.")
        case "clock_skew":
            lag = float(facts.get("lag", 0.0))
            values["lag"] = duration(abs(lag))
            text = (
                _("The metrics tell {size} {lag} later than the ledger, {when}.")
                if lag > 0
                else _("The metrics tell {size} {lag} earlier than the ledger, {when}.")
            )
        case "late_commit":
            values["lag"] = duration(float(facts.get("lag", 0.0)))
            text = _("{size}{at} were written up to {lag} after the moment that they tell, {when}.")
    return text.format(**values)


def evidence(contract: Contract, finding: Finding) -> str:
    """What a finding adds to the sum, and which rows it points to."""
    told = []
    if finding.kind in _SUM_AGREES and abs(finding.amount) < 0.011:
        told.append(_("The sum of the window is not changed by it."))
    else:
        told.append(_("Part of the difference: {amount}.").format(amount=signed(finding.amount, contract.unit)))
    if finding.rows:
        n = len(finding.rows)
        if finding.certain and n <= IDS_IN_WORDS:
            told.append(_("It is exactly {ids}.").format(ids=", ".join(finding.rows)))
        elif finding.certain:
            told.append(
                ngettext("It is exactly this {n} row.", "They are exactly these {n} rows.", n).format(n=number(n))
            )
        else:
            told.append(ngettext("It can be {n} row.", "It is among these {n} rows.", n).format(n=number(n)))
    return " ".join(told)


def verdict(result: Result) -> str:
    """A contract's result in a sentence."""
    unit = result.contract.unit
    if result.state == "unknown":
        if result.error is None:
            return _("The sources hold nothing of this window that could be compared yet.")
        return " ".join(word for word in (known_alone(result), _(result.error)) if word)
    numbers = _("the ledger has {ledger}, the metrics {metric}: a difference of {difference}, expected {band}").format(
        ledger=plain(result.ledger, unit),  # type: ignore[arg-type]
        metric=plain(result.metric, unit),
        difference=signed(result.difference, unit),
        band=expected(result),
    )
    if result.state == "agrees":
        return _("Ledger and metrics agree: {numbers}.").format(numbers=numbers)
    if result.state == "explained":
        return _("What the metrics lose or tell late explains the difference: {numbers}.").format(numbers=numbers)
    return _("Ledger and metrics differ: {numbers}.").format(numbers=numbers)


def known_alone(result: Result) -> str:
    """The number of the source that answered, where the other did not; empty where neither did."""
    unit = result.contract.unit
    if result.ledger is not None:
        return _("The ledger has {ledger}; there is no comparison.").format(ledger=plain(result.ledger, unit))  # type: ignore[arg-type]
    if result.metric is not None:
        return _("The metrics hold about {metric}; there is no comparison.").format(metric=plain(result.metric, unit))
    return ""


def shown_metric(result: Result) -> str:
    """The metrics' number: beside the ledger's as it was scraped, alone no more than about that."""
    told = plain(result.metric, result.contract.unit)
    return _("about {number}").format(number=told) if result.one_sided and result.metric is not None else told


def worst(states: Iterable[str]) -> str:
    """The state that matters most."""
    found = list(states)
    return next((one for one in ("differs", "explained", "agrees") if one in found), "unknown")


def is_explained(kind: str) -> bool:
    """Whether a class is of what metrics lose or tell late by their nature."""
    return kind in EXPLAINED
