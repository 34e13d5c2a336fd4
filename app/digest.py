"""The digest: the Today page as a mail and as a Slack message, for each role what it asks first.

    told = gather("executive", day, language="es", now=now, public_url=settings.public_url)
    letter = write(told)            subject, html, text, images
    slack_message(told)             Block Kit

The numbers are the catalogue's readings, formatted as on the Today page. One that cannot be read is said to be missing,
and one that is old says how old; the digest is written all the same. When it goes out, and to whom: `app/digest_post.py`.
"""  # noqa: E501

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pandas as pd
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

import queries
from app import movements, telemetry
from app.board import Number, read_numbers
from app.settings import Role
from components import (
    Figure,
    _,
    age,
    band,
    clock,
    day_name,
    distance_words,
    duration,
    edge_words,
    in_language,
    language,
    line,
    money,
    ngettext,
    percent,
    quantity,
    sentence_of,
    value_name,
    when,
)
from queries import alerts
from queries import slos as objectives
from queries.integrations import state_of
from queries.kpis import movements as moved_among

T = TypeVar("T")
# What a morning already tells, and what an engineer looks at first.
TECHNICAL = ("integration_error_rate", "api_error_rate", "api_p95", "payment_success")
SO_FAR = ("applications", "disbursed_mxn", "payment_success", "integration_error_rate")
CURVES = {"executive": ("disbursed_mxn",), "analyst": ("applications", "disbursed_mxn"), "engineer": ()}
PARTS = {"active_credits": "tier", "late_installments": "bucket"}
MOST_MOVEMENTS = {"executive": 3, "analyst": 6, "engineer": 3}
MOST_ALERTS = 10
# As wide as a mail may be, without its margins; drawn at twice that for dense screens.
PICTURE_WIDTH, PICTURE_HEIGHT = 536, 210
PICTURE_COLOURS = 64
ORDER = {
    name: place
    for place, name in enumerate(("AAA", "AA", "A", "B", "C", "1-7", "8-15", "16-30", "31-60", "61-90", "90+"))
}
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Line:
    """One number as it is said. `tone` is good, bad, normal or unknown; `missing` the sentence in place of a value."""

    label: str
    value: str
    tone: str = "unknown"
    change: str = ""
    arrow: str = ""
    normal: str = ""
    exact: str = ""
    target: str = ""
    target_met: bool = True
    note: str = ""
    missing: str = ""
    link: str | None = None


@dataclass(frozen=True)
class Moved:
    """A movement: who, how far, and the segment behind it. `tone` is good or bad."""

    label: str
    tone: str
    arrow: str
    said: str
    cause: str


@dataclass(frozen=True)
class Row:
    """A line of a table: its cells; `tone` (good, warn, bad, quiet) colours the dot before the first."""

    cells: tuple[str, ...]
    tone: str = ""
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A small table with its title.

    `empty` is said when there are no rows, `quiet` when its source is not configured, `failed` when it cannot be read.
    """

    title: str
    head: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    empty: str = ""
    quiet: str = ""
    failed: str = ""
    more: str = ""
    link: str | None = None


@dataclass(frozen=True)
class Picture:
    """A chart: `name` is its Content-ID, `png` its bytes."""

    name: str
    title: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class Digest:
    """What one role is told of one day, in one language; every text is ready to be shown."""

    role: Role
    day: date
    language: str
    written_at: datetime
    title: str
    headline: str
    tone: str
    lines: tuple[Line, ...]
    moved: tuple[Moved, ...]
    nothing_moved: str
    so_far_title: str
    so_far: tuple[Line, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    missing: tuple[str, ...]
    link: str | None


@dataclass(frozen=True)
class Letter:
    """A mail: `images` are (Content-ID, PNG) as `app.mail.send` takes them."""

    subject: str
    html: str
    text: str
    images: tuple[tuple[str, bytes], ...]


# --- what is said -----------------------------------------------------------------------------------------------------


def gather(
    role: Role, day: date, *, language: str, now: datetime | None = None, public_url: str | None = None
) -> Digest:
    """Read what the role is told of `day`, in `es` or `en`. What cannot be read is said in its place.

    A day that is over stands against whole days; the day that follows it, when it is running, up to the same hour.
    Runs in a thread of its own: nothing of a viewer's session (language, theme) reaches it. Raises nothing of a source.
    """
    now = (now or datetime.now(UTC)).astimezone(queries.timezone())

    def write() -> Digest:
        with in_language(language):
            return _gather(role, day, now, public_url)

    with ThreadPoolExecutor(1, thread_name_prefix="mirador-digest") as pool:
        return pool.submit(write).result()


def _gather(role: Role, day: date, now: datetime, public_url: str | None) -> Digest:
    links = _Links(public_url)
    numbers = read_numbers(day)
    told = {one.kpi.name: one for one in numbers}
    follows = day + timedelta(days=1) == now.date()
    running = {one.kpi.name: one for one in read_numbers(now.date())} if follows else {}
    names = TECHNICAL if role == "engineer" else tuple(told)
    lines = tuple(_line(told[name], links, now) for name in names if name in told)
    readings = [
        one.reading for one in numbers if one.reading is not None and (role != "engineer" or one.kpi.name in names)
    ]
    found = _or_none(lambda: [one for one in moved_among(readings, n=MOST_MOVEMENTS[role]) if movements.shows(one)])
    tables = _engineers(now, links) if role == "engineer" else _analysts(told) if role == "analyst" else ()
    missing = dict.fromkeys(
        one.error or (one.reading.answer.error if one.reading else "") or "" for one in (*numbers, *running.values())
    )
    headline, tone = _headline(role, lines, readings, tables)
    return Digest(
        role=role,
        day=day,
        language=language(),
        written_at=now,
        title=day_name(day),
        headline=headline,
        tone=tone,
        lines=lines,
        moved=tuple(_moved(one) for one in found or ()),
        nothing_moved=_("Every KPI is within its normal band.") if found == [] and _all_compared(lines) else "",
        so_far_title=_("Today so far, {clock}").format(clock=clock(now)),
        so_far=tuple(
            _line(running[name], links, now) for name in (names if role == "engineer" else SO_FAR) if name in running
        ),
        tables=tables,
        pictures=tuple(_pictures(role, day, told)),
        missing=tuple(_(sentence) for sentence in missing if sentence),
        link=links.to("", day=None if day == now.date() else day.isoformat()),
    )


def _all_compared(lines: Sequence[Line]) -> bool:
    """Whether each number was read and most have a band: only then may it be said that none moved."""
    compared = sum(1 for one in lines if one.normal)
    return not any(one.missing for one in lines) and 2 * compared >= len(lines) > 0


class _Links:
    """Addresses of pages; none where nobody said under which address people reach the dashboard."""

    def __init__(self, public_url: str | None) -> None:
        self._base = public_url

    def to(self, page: str, **params: str | None) -> str | None:
        if self._base is None:
            return None
        asked = urlencode({name: value for name, value in params.items() if value is not None})
        return f"{self._base}/{page}" + (f"?{asked}" if asked else "")


def _or_none(ask: Callable[[], T]) -> T | None:
    """What is asked for, or None where a source cannot answer: that it cannot is told beside."""
    try:
        return ask()
    except queries.SourceError:
        return None


def _line(one: Number, links: _Links, now: datetime) -> Line:
    kpi, reading = one.kpi, one.reading
    label, link = kpi.label.in_language(language()), links.to(kpi.page)
    if reading is None:
        return Line(label, "", missing=_(one.error or "This number could not be computed."), link=link)
    words, direction = distance_words(reading.value, reading.normal, kpi.unit)
    normal = ""
    if not math.isnan(reading.normal):
        normal = _("Normal {normal} ({low}–{high})").format(
            normal=quantity(reading.normal, kpi.unit, short=True),
            low=edge_words(reading.low, kpi.unit),
            high=edge_words(reading.high, kpi.unit),
        )
    target, met = "", True
    if kpi.target is not None and reading.value is not None:
        met = float(reading.value) >= kpi.target if kpi.better == "up" else float(reading.value) <= kpi.target
        target = ("✓ " if met else "✗ ") + _("Target {target}").format(target=quantity(kpi.target, kpi.unit))
    note = ""
    if reading.answer.error:
        old = age((now - reading.answer.as_of).total_seconds())
        note = _("Last good data, {age} old").format(age=old)
    return Line(
        label,
        quantity(reading.value, kpi.unit, short=True),
        tone=reading.state if direction != "off" else "normal" if reading.state != "unknown" else "unknown",
        change=words or "",
        arrow={"up": "▲", "down": "▼"}.get(direction, ""),
        normal=normal,
        exact=money(reading.value) if kpi.unit == "mxn" and reading.value is not None else "",
        target=target,
        target_met=met,
        note=note,
        link=link,
    )


def _moved(one: queries.Movement) -> Moved:
    return Moved(
        one.reading.kpi.label.in_language(language()),
        one.reading.state,
        "▲" if movements.is_up(one) else "▼",
        movements.how_far(one),
        movements.cause(one),
    )


def _headline(
    role: Role, lines: Sequence[Line], readings: Sequence[queries.Reading], tables: Sequence[Table]
) -> tuple[str, str]:
    """The one sentence that answers the role's first question, and its tone."""
    unread = sum(1 for one in lines if one.missing)
    out = sum(1 for one in readings if one.state in {"good", "bad"} and one.kpi.label.in_language(language()))
    bad = sum(1 for one in readings if one.state == "bad")
    compared = sum(1 for one in readings if one.state != "unknown")
    if role == "engineer":
        wrong = [row for table in tables for row in table.rows if row.tone == "bad"]
        failed = [table.title for table in tables if table.failed]
        if wrong:
            said, tone = ", ".join(dict.fromkeys(row.cells[0] for row in wrong)), "bad"
            said = _("Needs a look: {what}.").format(what=said)
        elif failed or unread:
            said, tone = _("Nothing is known to be wrong, but not everything could be read."), "unknown"
        else:
            said, tone = _("Integrations, objectives and alerts are quiet."), "good"
        return said, tone
    if not compared:
        said, tone = _("Nothing can be compared with a normal day."), "unknown"
    elif not out:
        said, tone = _("A normal day: every number that was read lies within its band."), "good"
    else:
        said = ngettext(
            "{n} of {all} numbers was out of the ordinary.", "{n} of {all} numbers were out of the ordinary.", out
        ).format(n=out, all=compared)
        tone = "bad" if bad else "good"
    if unread:
        said += " " + ngettext("{n} could not be read.", "{n} could not be read.", unread).format(n=unread)
        tone = "unknown" if tone == "good" else tone
    return said, tone


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(title: str, make: Callable[[], Table], link: str | None = None) -> Table:
    """The table, or the sentence that says why it is missing: one that fails leaves the others alone."""
    try:
        return replace(make(), title=title, link=link)
    except queries.SourceError as error:
        if error.kind == "not_configured":
            return Table(title, quiet=_(error.sentence))
        return Table(title, failed=_(error.sentence), link=link)
    except Exception as error:
        telemetry.panel_failed(f"digest {title}", error)
        return Table(title, failed=_(sentence_of(error)), link=link)


def _analysts(told: dict[str, Number]) -> tuple[Table, ...]:
    """The parts of what is owed and of what is late."""
    return tuple(
        _table(told[name].kpi.label.in_language(language()), lambda name=name: _parts(told[name], PARTS[name]))  # type: ignore[misc]
        for name in PARTS
        if name in told
    )


def _parts(one: Number, dimension: str) -> Table:
    if one.reading is None:
        return Table("", failed=_(one.error or "This number could not be computed."))
    parts = one.reading.segments
    parts = parts[parts["dimension"] == dimension].copy()
    parts = parts.sort_values("segment", key=lambda names: names.map(lambda name: ORDER.get(name, len(ORDER))))
    whole = float(parts["value"].sum())
    return Table(
        "",
        (_("tier").capitalize() if dimension == "tier" else _("days late").capitalize(), "", "%"),
        tuple(
            Row(
                (
                    value_name(row.segment),
                    quantity(row.value, one.kpi.unit),
                    percent(row.value / whole) if whole else "–",
                )
            )
            for row in parts.itertuples()
        ),
        empty=_("No data for this choice"),
    )


def _engineers(now: datetime, links: _Links) -> tuple[Table, ...]:
    """Alerts that are open, the integrations, the error budgets: as they stand now."""
    return (
        _table(_("Open alerts"), lambda: _open_alerts(links), links.to("alerts")),
        _table(_("Integrations"), lambda: _integrations(now.date(), links), links.to("integrations")),
        _table(_("Error budgets"), lambda: _budgets(now.date()), links.to("slos")),
    )


def _open_alerts(links: _Links) -> Table:
    found = alerts.active()
    found = found[found["state"] == "firing"]
    summaries = "summary_es" if language() == "es" else "summary"
    rows = []
    for row in found.head(MOST_ALERTS).to_dict("records"):
        summary = str(row[summaries] or row["summary"])
        rows.append(
            Row(
                (row["alert"], summary, when(row["starts_at"])),
                "bad" if row["severity"] == "critical" else "warn",
                links.to("alerts", alert=row["alert"]),
            )
        )
    more = len(found) - len(rows)
    return Table(
        "",
        (_("Alert"), "", _("Since")),
        tuple(rows),
        empty=_("No alert is open."),
        more=ngettext("and {n} more", "and {n} more", more).format(n=more) if more else "",
    )


def _integrations(day: date, links: _Links) -> Table:
    frame = queries.ledger("today/integrations", {"day": day})
    words = {"failing": _("failing"), "degraded": _("degraded"), "well": _("well"), "quiet": _("quiet")}
    tones = {"failing": "bad", "degraded": "warn", "well": "good", "quiet": "quiet"}
    rows = []
    for row in frame.to_dict("records"):
        calls, failed = int(row["calls_hour"]), int(row["failed_hour"])
        state = state_of(calls, failed)
        whole = int(row["failed_day"]) / int(row["calls_day"]) if int(row["calls_day"]) else math.nan
        hour = _("No call in the last hour")
        if calls:
            hour = _("{failed} of {calls} failed in the last hour, p95 {p95}").format(
                failed=failed, calls=calls, p95=duration(float(row["p95_ms"]) / 1000)
            )
        rows.append(
            Row(
                (
                    value_name(row["integration"]),
                    f"{words[state]}: {hour}",
                    _("day {share}").format(share=percent(whole)),
                ),
                tones[state],
                links.to("integrations", integration=row["integration"]),
            )
        )
    return Table(
        "",
        (_("Integration"), "", ""),
        tuple(rows),
        empty=_("No integration was called in the last seven days."),
        more=_stale(frame),
    )


def _budgets(today: date) -> Table:
    rows, failed = [], []
    for slo in objectives.slos().values():
        name = slo.label.in_language(language())
        try:
            told = objectives.standing(slo, today)
        except queries.SourceError as error:
            failed.append(error)
            rows.append(Row((name, _(error.sentence), "–"), "quiet"))
            continue
        left = told.budget.left
        if math.isnan(left):
            said, tone = _("no data"), "quiet"
        elif left < 0:
            said, tone = _("missed"), "bad"
        elif told.firing:
            said, tone = _("burns too fast"), "warn"
        else:
            said, tone = _("met"), "good"
        if told.runs_out:
            day = day_name(today + timedelta(days=told.runs_out), style="d MMM")
            said += " · " + ngettext(
                "At this pace it runs out in {n} day ({day}).",
                "At this pace it runs out in {n} days ({day}).",
                told.runs_out,
            ).format(n=told.runs_out, day=day)
        rows.append(Row((name, said, "–" if math.isnan(left) else percent(left, 0)), tone))
    if failed and len(failed) == len(rows):
        raise failed[0]
    return Table("", (_("Objective"), "", _("Budget left")), tuple(rows))


def _stale(frame: pd.DataFrame) -> str:
    answer = queries.answer_of(frame)
    if not answer.error:
        return ""
    old = age((datetime.now(UTC) - answer.as_of).total_seconds())
    return f"{_('Last good data, {age} old').format(age=old)}: {_(answer.error)}"


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(role: Role, day: date, told: dict[str, Number]) -> Iterator[Picture]:
    """The charts of a role; one whose data is missing is left out, for the missing is told already."""
    asked: list[Callable[[], Picture | None]] = [
        lambda name=name: _curve(name, day)  # type: ignore[misc]
        for name in CURVES[role]
    ]
    errors = told.get("integration_error_rate")
    if role == "engineer" and errors is not None and errors.reading is not None:
        asked.append(partial(_fortnight, errors.reading))
    for ask in asked:
        try:
            picture = ask()
        except queries.SourceError:
            continue
        except Exception as error:
            # A mail without a chart is worth more than none.
            telemetry.panel_failed("digest chart", error)
            continue
        if picture is not None:
            yield picture


def _curve(name: str, day: date) -> Picture | None:
    """A KPI through the day before the band of its normal days."""
    frame = queries.intraday(name, day)
    kpi = queries.catalogue()[name]
    title = _("{kpi} through the day").format(kpi=kpi.label.in_language(language()))
    figure = band(frame, x="minute", unit=kpi.unit, title=title, height=PICTURE_HEIGHT)
    values, usual = frame["value"].dropna(), frame["normal"].iloc[-1]
    alt = title
    if len(values):
        alt += ": " + _("{value} at the end, normally {normal}").format(
            value=quantity(values.iloc[-1], kpi.unit, short=True),
            normal="–" if pd.isna(usual) else quantity(usual, kpi.unit, short=True),
        )
    return _picture(name, title, alt, figure)


def _fortnight(reading: queries.Reading) -> Picture | None:
    """A KPI over the last 14 days, with its target."""
    kpi, frame = reading.kpi, reading.history
    title = _("{kpi}, 14 days").format(kpi=kpi.label.in_language(language()))
    target = None if kpi.target is None else (kpi.target, _("Target"))
    figure = line(frame, x="day", y="value", unit=kpi.unit, title=title, target=target, height=PICTURE_HEIGHT)
    values = ", ".join(quantity(value, kpi.unit) for value in frame["value"].tail(3))
    return _picture(kpi.name, title, f"{title}: " + _("the last three {values}").format(values=values), figure)


def _picture(name: str, title: str, alt: str, figure: Figure) -> Picture | None:
    return None if figure.chart is None else Picture(f"{name}@mirador", title, alt, picture_of(figure.chart))


def picture_of(chart: Any) -> bytes:
    """The chart as a PNG of few bytes: twice the width of a mail, with no more colours than it needs."""
    spec = chart.to_dict(validate=False)
    config = spec.setdefault("config", {})
    _legends_in_one_row(spec)
    spec |= {"width": PICTURE_WIDTH, "background": "#ffffff", "autosize": {"type": "fit-x", "contains": "padding"}}
    spec["padding"] = {"left": 8, "top": 8, "right": 14, "bottom": 6}
    for part in ("axis", "legend"):
        config[part] = {**config.get(part, {}), "labelColor": "#4a5260", "titleColor": "#4a5260", "labelFontSize": 12}
    config["axis"] |= {"gridColor": "#eceae6", "domainColor": "#c9c6c0", "tickColor": "#c9c6c0"}
    drawn = Image.open(io.BytesIO(vl_convert.vegalite_to_png(spec, scale=2))).convert("RGB")
    out = io.BytesIO()
    drawn.quantize(PICTURE_COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _legends_in_one_row(part: Any) -> None:
    """What must wrap on a phone's page has room in a picture."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _legends_in_one_row(inner)
    if isinstance(part, dict) and isinstance(part.get("legend"), dict):
        part["legend"].pop("columns", None)


# --- the mail ---------------------------------------------------------------------------------------------------------


def _whole(words: str) -> Markup:
    """Words in which no number is torn from its unit, and no band at its dash."""
    kept = re.sub(r"(?<=\d) (?=(?:[%MkBdh]|pp|ms|min|s)(?!\w))", "\u00a0", words)
    return Markup(re.sub(r"\([^()]*\)", r'<span style="white-space:nowrap;">\g<0></span>', str(escape(kept))))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        # A text for people's eyes alone has nothing to escape.
        autoescape=lambda name: str(name).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["whole"] = _whole
    return made


def write(told: Digest) -> Letter:
    """The digest as a mail that any reader shows: tables, styles at each element, nothing from elsewhere."""
    with in_language(told.language):
        first = told.moved[0] if told.moved else None
        words = {
            "told": told,
            "_": _,
            "reason": _reason(told.role),
            "written": _("Written {when}").format(when=when(told.written_at)),
            "preview": f"{first.label}: {first.said}" if first else told.headline,
            "pairs": [told.lines[place : place + 2] for place in range(0, len(told.lines), 2)],
            "so_far_pairs": [told.so_far[place : place + 2] for place in range(0, len(told.so_far), 2)],
        }
        short = day_name(told.day, style="EEE d MMM")
        return Letter(
            subject=f"Mirador, {short}: {told.headline}",
            html=_templates().get_template("digest.html").render(words),
            text=_templates().get_template("digest.txt").render(words).strip() + "\n",
            images=tuple((one.name, one.png) for one in told.pictures),
        )


def _reason(role: Role) -> str:
    role_name = {"executive": _("executives"), "analyst": _("analysts"), "engineer": _("engineers")}[role]
    return _("You get this because your address is on the list of {role} of this Mirador.").format(role=role_name)


# --- Slack ------------------------------------------------------------------------------------------------------------

_TONES = {
    "good": ":large_green_circle:",
    "bad": ":red_circle:",
    "normal": ":white_circle:",
    "unknown": ":white_circle:",
}
# Slack's own bounds: the signs of a header, the fields of a section. A field holds 2000 signs, a section 3000.
HEADER, FIELDS = 150, 10


def _mrkdwn(words: str, most: int) -> str:
    """Text for Slack in at most so many signs: what it would take for a link or a mention is shown as it is."""
    said = html.escape(words, quote=False)
    while len(said) > most:
        # Escaped signs count, too, and none may be cut through.
        words = words[: len(words) * most // (len(said) + 1) - 1]
        said = html.escape(words, quote=False) + "…"
    return said


def slack_message(told: Digest) -> dict[str, Any]:
    """The digest as Block Kit for an incoming webhook: short numbers, what moved, a link."""
    with in_language(told.language):
        title = f"Mirador: {told.title}"
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": title[:HEADER], "emoji": False}},
            _section(f"{_TONES.get(told.tone, '')} *{_mrkdwn(told.headline, 2000)}*"),
        ]
        fields = [_field(one) for one in told.lines]
        blocks += [
            {"type": "section", "fields": fields[place : place + FIELDS]} for place in range(0, len(fields), FIELDS)
        ]
        if told.moved:
            said = "\n".join(
                f"{one.arrow} *{_mrkdwn(one.label, 100)}*: {_mrkdwn(' '.join((one.said, one.cause)).strip(), 330)}"
                for one in told.moved
            )
            blocks += [{"type": "divider"}, _section(f"*{_('What moved')}*\n{said}")]
        if told.so_far:
            said = " · ".join(f"{_mrkdwn(one.label, 100)} *{_mrkdwn(_short(one), 200)}*" for one in told.so_far)
            blocks.append(_section(f"*{_mrkdwn(told.so_far_title, 200)}*\n{said}"))
        if told.missing:
            said = " ".join(told.missing)
            blocks.append(
                {"type": "context", "elements": [{"type": "mrkdwn", "text": ":warning: " + _mrkdwn(said, 1500)}]}
            )
        if told.link:
            button = {"type": "plain_text", "text": _("Open Mirador"), "emoji": False}
            blocks.append({"type": "actions", "elements": [{"type": "button", "text": button, "url": told.link}]})
        # What a notification shows.
        return {"text": f"{title}: {told.headline}", "blocks": blocks}


def _section(said: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": said}}


def _field(one: Line) -> dict[str, str]:
    said = f"*{_mrkdwn(one.label, 200)}*\n{_mrkdwn(_short(one), 500)}"
    return {"type": "mrkdwn", "text": said}


def _short(one: Line) -> str:
    if one.missing:
        return _("missing")
    change = f" {one.arrow} {one.change}".rstrip() if one.change and one.tone != "unknown" else ""
    return f"{one.value}{change}" + (f" ({one.note})" if one.note else "")
