"""The public status page: what works, what does not, and since when, for whoever wants to know.

| route | what it is |
|---|---|
| `/status` | the page, in the browser's language or `?lang=es`, `?lang=en`; plain HTML, no script, no cookie |
| `/status.json` | the same as JSON |
| `/status.atom`, `/status.rss` | incidents and their updates as a feed |
| `/status/subscribe`, `/status/confirm`, `/status/unsubscribe` | see `app/subscribers.py` |

No login, and nothing of the inside: no query, no host, no error text, no title that was written for engineers. However many
ask, everything is read once in `FRESH_SECONDS`, behind whoever asks. Each part (probes, objectives, uptime, incidents) keeps its last good
answer, in memory and in a small file, so that the page stands while a source is away, and after a restart, too; a part
that is old says how old it is.
"""  # noqa: E501

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import anyio.to_thread
from babel import dates, numbers
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import make_url
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import queries
from app import telemetry
from app.settings import Settings
from components import i18n
from queries import incidents
from queries.incidents import UPTIME_DAYS, Component, Objective, components

FRESH_SECONDS = 5.0
# How long a request waits for numbers that are older than this; then it gets the last good ones.
OLD_SECONDS, PATIENCE_SECONDS = 15.0, 2.5
# Where there are none, not even in the file: the very first.
FIRST_PATIENCE_SECONDS = 8.0
# A part that could not be read anew for this long says how old it is.
STALE_SECONDS = 120.0
PAST_DAYS = 90
TARGET = 0.999
TEMPLATES = Path(__file__).with_name("templates")

Kind = Literal["html", "json", "atom", "rss"]
PARTS = ("probes", "objectives", "uptime", "incidents")
_TYPES: dict[Kind, str] = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "atom": "application/atom+xml; charset=utf-8",
    "rss": "application/rss+xml; charset=utf-8",
}


# --- reading ----------------------------------------------------------------------------------------------------------

# A part is plain JSON, so that it can be kept in a file: {"at": seconds, "told": ...}. `told` None: not configured.
Parts = dict[str, dict[str, Any]]


def _read_probes() -> Any:
    return incidents.probe_shares()


def _read_objectives() -> Any:
    return {name: vars(one) for name, one in incidents.objectives_now().items()}


def _read_uptime() -> Any:
    """By component and day [up, all] probes; where there are none, what UptimeRobot has seen."""
    today = datetime.now(queries.timezone()).date()
    first = today - timedelta(days=UPTIME_DAYS - 1)
    found: dict[str, dict[str, list[float]]] = {}
    failure = None
    try:
        for row in incidents.uptime(first, today).itertuples():
            found.setdefault(row.component, {})[row.day.isoformat()] = [row.up, row.total]
    except queries.SourceError as error:
        failure = error
    if queries.is_configured("uptime"):
        days = [first + timedelta(days=n) for n in range(UPTIME_DAYS)]
        seen = queries.outside(
            "uptime",
            "status/days",
            {"first": first, "last": today},
            lambda client: client.monitors(days),
            title="Uptime by day",
            ttl=600.0,
        )
        known = seen[seen["day"].notna() & seen["uptime"].notna() & seen["component"].isin(list(components()))]
        minutes = 1440.0
        for (component, day), share in known.groupby(["component", "day"])["uptime"].mean().items():
            found.setdefault(component, {}).setdefault(day.date().isoformat(), [share * minutes, minutes])
    elif failure is not None:
        raise failure
    return found


def _plain(value: Any) -> Any:
    """A value of a frame for JSON: None for what is missing, aware times in ISO form."""
    if value is None or value != value or str(value) in {"NaT", "<NA>"}:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.item() if hasattr(value, "item") else value


def _rows(frame: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: _plain(row[name]) for name in columns} for row in frame.to_dict("records")]


def _read_incidents() -> Any:
    """Incidents of the components as the public may know them, and the states that hands have set."""
    since = datetime.now(queries.timezone()).replace(minute=0, second=0, microsecond=0) - timedelta(days=PAST_DAYS)
    names = ("id", "component", "impact", "status", "started_at", "ended_at", "public_en", "public_es")
    known = [one for one in _rows(incidents.incidents_since(since), names) if one["component"] in components()]
    said = _rows(incidents.updates_of(since), ("incident_id", "kind", "status", "public_en", "public_es", "created_at"))
    for one in known:
        one["updates"] = [
            {name: each[name] for name in ("kind", "status", "public_en", "public_es", "created_at")}
            for each in said
            if each["incident_id"] == one["id"] and (each["kind"] != "update" or each["public_en"])
        ]
    hands = _rows(incidents.overrides_now(), ("id", "component", "state", "ends_at"))
    return {"list": known, "overrides": hands}


READERS: dict[str, Callable[[], Any]] = {
    "probes": _read_probes,
    "objectives": _read_objectives,
    "uptime": _read_uptime,
    "incidents": _read_incidents,
}


_failing: set[str] = set()


def read_parts(before: Parts) -> Parts:
    """Every part anew; one that cannot be read stays as it was."""
    now = datetime.now(UTC).timestamp()
    parts = dict(before)
    for name, read in READERS.items():
        try:
            parts[name] = {"at": now, "told": read()}
            _failing.discard(name)
        except queries.SourceError as error:
            if error.kind == "not_configured":
                parts[name] = {"at": now, "told": None}
        except Exception as error:
            # Whatever it was, the other parts are read; told once, not every five seconds.
            if name not in _failing:
                _failing.add(name)
                telemetry.log.error("a part of the status page could not be worked out: %s", name, exc_info=error)
    return parts


# --- keeping ----------------------------------------------------------------------------------------------------------


def kept_file(settings: Settings) -> Path | None:
    """Where the last good state lies: MIRADOR_STATUS_FILE, else in the cache folder of this user, by installation."""
    if settings.status_file is not None:
        return settings.status_file
    named = [settings.prometheus_url or ""]
    for address in (settings.state_url, settings.ledger_url):
        if address is not None:
            url = make_url(address.get_secret_value())
            named.append(f"{url.host}:{url.port}/{url.database}")
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return home / "mirador" / f"status-{hashlib.sha256(chr(10).join(named).encode()).hexdigest()[:16]}.json"


def load_parts(path: Path | None) -> Parts:
    """The parts that the file holds; none when there is no file, or one that cannot be read."""
    if path is None:
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: kept[name] for name in PARTS if name in kept}
        # What is half a file, or another program's, is found out here and not while a page is drawn.
        if parts:
            view(parts, "en", ZoneInfo("UTC"), datetime.now(UTC))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return parts


def save_parts(path: Path, parts: Parts) -> None:
    """Write the file beside and move it, so that it stands whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False, encoding="utf-8") as file:
        json.dump(parts, file)
    try:
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


# --- what is shown ----------------------------------------------------------------------------------------------------


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def component_list(parts: Parts, now: datetime) -> list[Component]:
    """Where every component stands by what the parts hold."""
    hold = (parts.get("incidents") or {}).get("told") or {"list": [], "overrides": []}
    objectives = (parts.get("objectives") or {}).get("told") or {}
    return incidents.component_states(
        (parts.get("probes") or {}).get("told") or {},
        {name: Objective(**one) for name, one in objectives.items()},
        [one for one in hold["list"] if one["ended_at"] is None],
        [{**one, "ends_at": _moment(one["ends_at"])} for one in hold["overrides"]],
        now,
    )


def words_of(language: str) -> dict[str, dict[str, str]]:
    """The words for states, for what all of them are together, for statuses and for updates that Mirador writes."""
    say = i18n._translations(language).gettext
    return {
        "state": {
            "operational": say("Operational"),
            "degraded": say("Degraded"),
            "outage": say("Outage"),
            "maintenance": say("Maintenance"),
            "unknown": say("Not measured"),
        },
        "overall": {
            "operational": say("Everything works"),
            "degraded": say("Some things do not work as they should"),
            "outage": say("Something important does not work"),
            "maintenance": say("Maintenance is going on"),
            "unknown": say("The state is not known at the moment"),
        },
        "status": {
            "investigating": say("Investigating"),
            "identified": say("Identified"),
            "monitoring": say("Monitoring"),
            "resolved": say("Resolved"),
        },
        "said": {
            "opened": say("We are looking into it."),
            "reopened": say("The problem is back. We are looking into it."),
            "resolved": say("This is over."),
            "update": "",
        },
    }


def public_title(one: Mapping[str, Any], language: str) -> str:
    """The title for the public: the one that was written for it, else the component's name."""
    written = one[f"public_{language}"] or one["public_en"]
    if written:
        return str(written)
    name = components()[one["component"]].in_language(language)
    return i18n._translations(language).gettext("Problems with {component}").format(component=name)


def view(parts: Parts, language: str, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """Everything that the page, the JSON and the feeds show, in one language."""
    words = words_of(language)
    locale = i18n.LOCALES[language]
    hold = (parts.get("incidents") or {}).get("told") or {"list": [], "overrides": []}
    uptime = (parts.get("uptime") or {}).get("told") or {}
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=n) for n in range(UPTIME_DAYS - 1, -1, -1)]

    def when(moment: datetime, style: str = "d MMM y HH:mm") -> str:
        return str(dates.format_datetime(moment.astimezone(zone), style, locale=locale))

    def share(value: float) -> str:
        # 99.996 % is not 100 %.
        shown = math.floor(value * 10_000) / 100
        return f"{numbers.format_decimal(shown, format='0.##', locale=locale)} %"

    def bars(name: str) -> list[dict[str, Any]]:
        own = uptime.get(name) or {}
        told = []
        for place, day in enumerate(days):
            up, total = own.get(day.isoformat()) or (0.0, 0.0)
            value = up / total if total else None
            label = dates.format_date(day, "d MMM", locale=locale)
            said = share(value) if value is not None else words["state"]["unknown"]
            told.append({"x": place, "day": day, "value": value, "level": _level(value), "title": f"{label}: {said}"})
        return told

    shown: list[dict[str, Any]] = []
    stands = component_list(parts, now)
    for one in stands:
        own = bars(one.name)
        shares = {n: _uptime(uptime.get(one.name) or {}, days[-n:]) for n in (30, UPTIME_DAYS)}
        shown.append(
            {
                "id": one.name,
                "name": components()[one.name].in_language(language),
                "state": one.state,
                "word": words["state"][one.state],
                "until": when(one.until, "d MMM HH:mm") if one.until else None,
                "bars": own,
                "worst": [bar for bar in own if bar["value"] is not None and bar["value"] < TARGET][::-1],
                "uptime": shares,
                # Of the days that were measured, and no more: a month of probes is no share of 90 days.
                "spans": _spans(shares, own, share),
            }
        )
    told = [_incident(one, language, words, when) for one in hold["list"]]
    at = {name: datetime.fromtimestamp(part["at"], UTC) for name, part in parts.items() if part["told"] is not None}
    old = [moment for moment in at.values() if (now - moment).total_seconds() > STALE_SECONDS]
    state = incidents.overall([one.state for one in stands])
    return {
        "language": language,
        "state": state,
        "overall": words["overall"][state],
        "components": shown,
        "open": [one for one in told if one["ended_at"] is None],
        "past": [one for one in told if one["ended_at"] is not None],
        "at": max(at.values(), default=None),
        "as_of": when(max(at.values()), "HH:mm") if at else None,
        "old": when(min(old)) if old else None,
        "old_minutes": int((now - min(old)).total_seconds() // 60) if old else 0,
        "zone": zone.key,
        "target": share(TARGET),
    }


def _level(value: float | None) -> str:
    if value is None:
        return "n"
    return "u" if value >= TARGET else "s" if value >= 0.99 else "d" if value >= 0.95 else "o"


def _uptime(own: Mapping[str, list[float]], days: list[date]) -> float | None:
    counted = [own[day.isoformat()] for day in days if day.isoformat() in own]
    total = sum(all_ for _, all_ in counted)
    return sum(up for up, _ in counted) / total if total else None


def _spans(
    shares: Mapping[int, float | None], bars: list[dict[str, Any]], say: Callable[[float], str]
) -> list[tuple[int, str]]:
    """The last 30 days and all of them as (days, share), each by the days that were measured in it."""
    measured = {n: sum(bar["value"] is not None for bar in bars[-n:]) for n in shares}
    told = {measured[n]: say(value) for n, value in shares.items() if value is not None}
    return sorted(told.items())


def _incident(
    one: Mapping[str, Any], language: str, words: dict[str, dict[str, str]], when: Callable[..., str]
) -> dict[str, Any]:
    started, ended = datetime.fromisoformat(one["started_at"]), _moment(one["ended_at"])
    updates = [
        {
            "status": words["status"][each["status"]],
            "text": each[f"public_{language}"] or words["said"][each["kind"]],
            "at": datetime.fromisoformat(each["created_at"]),
            "when": when(datetime.fromisoformat(each["created_at"])),
        }
        for each in one["updates"]
    ]
    return {
        "id": one["id"],
        "title": public_title(one, language),
        "component": one["component"],
        "component_name": components()[one["component"]].in_language(language),
        "impact": one["impact"],
        "status": one["status"],
        "word": words["status"][one["status"]],
        "started_at": started,
        "ended_at": ended,
        "started": when(started),
        "ended": when(ended) if ended else None,
        "updates": updates,
        "changed_at": max([each["at"] for each in updates] + [ended or started]),
    }


# --- writing it out ---------------------------------------------------------------------------------------------------


@cache
def _templates(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(i18n._translations(language), newstyle=True)  # type: ignore[attr-defined]
    return made


@cache
def style() -> str:
    """The page's CSS."""
    return (TEMPLATES / "status.css").read_text(encoding="utf-8")


@cache
def security_headers() -> dict[str, str]:
    """Headers of every answer here: nothing is loaded from anywhere, and no other page may frame it."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "interest-cohort=()",
    }


def page(name: str, language: str, **values: Any) -> str:
    """A template in a language."""
    return _templates(language).get_template(name).render(language=language, style=style(), **values)


def as_json(told: dict[str, Any], english: dict[str, Any]) -> str:
    """What the page shows, for programs; names in both languages, times in UTC."""

    def iso(moment: datetime | None) -> str | None:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None

    both = {"es": told, "en": english}

    def incident(place: str, number: int) -> dict[str, Any]:
        one = told[place][number]
        return {
            "id": one["id"],
            "title": {code: said[place][number]["title"] for code, said in both.items()},
            "component": one["component"],
            "impact": one["impact"],
            "status": one["status"],
            "started_at": iso(one["started_at"]),
            "ended_at": iso(one["ended_at"]),
            "updates": [
                {
                    "at": iso(each["at"]),
                    "text": {code: said[place][number]["updates"][n]["text"] for code, said in both.items()},
                }
                for n, each in enumerate(one["updates"])
            ],
        }

    body = {
        "status": told["state"],
        "as_of": iso(told["at"]),
        "stale": told["old"] is not None,
        "components": [
            {
                "id": one["id"],
                "name": {code: said["components"][place]["name"] for code, said in both.items()},
                "status": one["state"],
                "uptime_30_days": one["uptime"][30],
                "uptime_90_days": one["uptime"][UPTIME_DAYS],
                "days": [
                    {"day": bar["day"].isoformat(), "uptime": round(bar["value"], 6)}
                    for bar in one["bars"]
                    if bar["value"] is not None
                ],
            }
            for place, one in enumerate(told["components"])
        ],
        "incidents": [incident(place, n) for place in ("open", "past") for n in range(len(told[place]))],
    }
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True)
class _Body:
    plain: bytes
    packed: bytes
    etag: str


class StatusBoard:
    """The parts of one process, read behind whoever asks, and the bodies made of them."""

    def __init__(self, settings: Settings, *, file: Path | None = None) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._file = file or kept_file(settings)
        self._parts: Parts | None = None
        # When the parts were last asked for, on this process' clock.
        self._asked = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._bodies: dict[tuple[str, str], tuple[Parts, datetime, _Body]] = {}
        self._told = False

    async def parts(self) -> Parts:
        """The parts, at most `FRESH_SECONDS` old while their sources answer, and never awaited for long."""
        loop = asyncio.get_running_loop()
        if self._parts is None:
            self._parts = load_parts(self._file)
        age = loop.time() - self._asked
        if age > FRESH_SECONDS:
            if self._task is None or self._task.done() or self._task.get_loop() is not loop:
                self._task = loop.create_task(self._refresh(loop))
            if age > OLD_SECONDS:
                patience = PATIENCE_SECONDS if self._parts else FIRST_PATIENCE_SECONDS
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self._task), patience)
        return self._parts

    async def _refresh(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            # Abandoned on cancel: the process must be able to end while a source hangs.
            parts = await anyio.to_thread.run_sync(self._read, dict(self._parts or {}), abandon_on_cancel=True)
        except Exception as error:
            # Whatever it was: the last good state stands, and says its age.
            telemetry.log.error("the status page could not be worked out anew", exc_info=error)
        else:
            self._parts = parts
        self._asked = loop.time()

    def _read(self, before: Parts) -> Parts:
        parts = read_parts(before)
        if self._file is not None and any(part["told"] is not None for part in parts.values()):
            try:
                save_parts(self._file, parts)
            except OSError:
                if not self._told:
                    self._told = True
                    telemetry.log.warning(
                        "the last good state of the status page cannot be written: after a restart it is unknown "
                        "until the sources answer; see MIRADOR_STATUS_FILE"
                    )
        return parts

    def forget(self) -> None:
        """Let the next request read anew: something was just written."""
        self._asked = -math.inf

    async def body(self, kind: Kind, language: str) -> _Body:
        """The answer as bytes; made once for a state of the parts and a minute."""
        parts = await self.parts()
        now = datetime.now(UTC)
        minute = now.replace(second=0, microsecond=0)
        kept = self._bodies.get((kind, language))
        # The parts are never changed in place: new ones are a new object.
        if kept is not None and kept[0] is parts and kept[1] == minute:
            return kept[2]
        text = self._write(kind, language, parts, now)
        plain = text.encode()
        body = _Body(plain, gzip.compress(plain, 6, mtime=0), f'"{hashlib.sha256(plain).hexdigest()[:32]}"')
        self._bodies[(kind, language)] = (parts, minute, body)
        return body

    def _write(self, kind: Kind, language: str, parts: Parts, now: datetime) -> str:
        told = view(parts, language, self._zone, now)
        if kind == "json":
            return as_json(view(parts, "es", self._zone, now), view(parts, "en", self._zone, now))
        base = self._settings.public_url or ""
        if kind in {"atom", "rss"}:
            host = urlsplit(base).hostname
            feed = sorted([*told["open"], *told["past"]], key=lambda one: one["changed_at"], reverse=True)[:50]
            return page(f"status.{kind}", language, told=told, feed=feed, base=base, host=host or "mirador", now=now)
        kinds = subscriber_kinds(self._settings)
        return page("status.html", language, told=told, kinds=kinds, other="en" if language == "es" else "es")


def subscriber_kinds(settings: Settings) -> tuple[str, ...]:
    """How one can subscribe here: what is sent needs the state database and a public address, mail a server."""
    if settings.state_url is None or settings.public_url is None:
        return ()
    return ("email", "webhook") if settings.smtp_url is not None else ("webhook",)


# --- routes -----------------------------------------------------------------------------------------------------------


def language_of(request: Request, default: str) -> str:
    """`?lang=`, else the first of the browser's languages that there is, else the default."""
    asked = request.query_params.get("lang", "")
    if asked in i18n.LANGUAGES:
        return asked
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(request.headers.get("accept-language", "").split(",")[:20]):
        name, _, quality = part.strip().partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=")) if quality else 1.0
        except ValueError:
            weight = 0.0
        code = name.strip().lower().split("-")[0]
        if weight > 0 and code in i18n.LANGUAGES:
            wanted.append((-weight, place, code))
    return min(wanted)[2] if wanted else default


def status_routes(settings: Settings, board: StatusBoard | None = None) -> list[Route]:
    """The routes of the page, its JSON and its feeds."""
    made = board or StatusBoard(settings)
    default = settings.language if settings.language in i18n.LANGUAGES else "es"

    async def give(request: Request, kind: Kind) -> Response:
        # A language that is asked for by name has an address of its own; JSON holds both.
        language = "es" if kind == "json" else language_of(request, default)
        body = await made.body(kind, language)
        headers = {
            **security_headers(),
            "Content-Type": _TYPES[kind],
            "Content-Language": language,
            "Cache-Control": "public, max-age=5, stale-while-revalidate=30, stale-if-error=3600",
            "Vary": "Accept-Encoding" if kind == "json" else "Accept-Language, Accept-Encoding",
            "ETag": body.etag,
        }
        if kind == "json":
            del headers["Content-Language"]
            headers["Access-Control-Allow-Origin"] = "*"
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if body.etag in known or "*" in known:
            return Response(
                status_code=304, headers={name: headers[name] for name in ("Cache-Control", "Vary", "ETag")}
            )
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(body.packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(body.plain, headers=headers)

    async def slash(request: Request) -> Response:
        return RedirectResponse("../status", 308)

    kinds: tuple[Kind, ...] = ("html", "json", "atom", "rss")
    routes = [Route("/status" if kind == "html" else f"/status.{kind}", partial(give, kind=kind)) for kind in kinds]
    return [*routes, Route("/status/", slash)]
