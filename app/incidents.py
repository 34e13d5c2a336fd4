"""Incidents: opened and ended by critical alerts, written about by engineers.

**One incident a component.** What people live through is a component that fails, not an alert: a backend that is down
raises BackendDown, HighErrorRate and a burn of its budget, and that is one incident. An alert without a component has
an incident of its own name. Only alerts of severity critical count.

An alert (its fingerprint and its start) belongs to one incident for good. It joins the incident of its component that
it overlaps, or that ended less than `REOPEN` before: that one is opened again. An incident ends when the last of its
alerts has ended, unless a hand opened it; then a hand ends it. Since each alert is known by its key and an end only
ever becomes earlier, messages may come twice, late and in the wrong order.

All writing of alerts goes through one advisory lock, and a unique index allows one open incident a component: however
many processes are told at once, the database decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from app.auth import Viewer
from app.settings import Settings
from app.state import TITLE_LENGTH, NotAllowed, fingerprint_of, keep_events_in, one_line, transaction
from queries.incidents import STATES, STATUSES, components
from queries.slos import slos

# Any number, the same in every process: whoever holds it writes alerts.
LOCK = 7_361_442_902
# An incident that ended so shortly before is the same trouble.
REOPEN = timedelta(minutes=15)
# An end that the alerts tell is told to subscribers after this, in case they fire again at once.
SETTLE = timedelta(seconds=60)
TEXT_LENGTH, REASON_LENGTH = 2000, 500
OVERRIDE_LONGEST = timedelta(days=7)


class BadIncident(ValueError):
    """What was written cannot stand; the message is a sentence that says why."""


@dataclass(frozen=True)
class Alert:
    """A critical alert as incidents need it. `key` names it and its start; `ends_at` None: it fires."""

    key: str
    group: str
    component: str | None
    alertname: str
    severity: str
    summary_en: str
    summary_es: str
    public_en: str | None
    public_es: str | None
    slo: str | None
    link: str | None
    starts_at: datetime
    ends_at: datetime | None


def alert_of(
    labels: dict[str, str],
    annotations: dict[str, str],
    *,
    fingerprint: str,
    starts_at: datetime,
    ends_at: datetime | None,
    link: str | None,
) -> Alert | None:
    """The alert for incidents, or None when it is not critical.

    Titles are the annotations `summary` and `summary_es`. They are written for engineers and may name a host, so the
    public reads `public_title` and `public_title_es` instead, or where a rule has none, the component's name.
    """
    severity = one_line(labels.get("severity", "")).lower()
    if severity != "critical":
        return None
    name = one_line(labels.get("alertname", ""))[:100] or "alert"
    slo = one_line(labels.get("sloth_slo") or labels.get("slo") or "")[:100]
    component = one_line(labels.get("component") or labels.get("integration") or "")[:100]
    if not component and slo in slos():
        component = slos()[slo].component

    def words(key: str) -> str:
        said = one_line(annotations.get(key, ""))
        return said if len(said) <= TITLE_LENGTH else said[: TITLE_LENGTH - 1] + "…"

    english = words("summary") or words("title") or name
    public = words("public_title") or None
    return Alert(
        key=fingerprint_of((fingerprint, starts_at.astimezone(UTC).isoformat())),
        group=f"component:{component}" if component else f"alert:{name}",
        component=component or None,
        alertname=name,
        severity=severity,
        summary_en=english,
        summary_es=words("summary_es") or english,
        public_en=public,
        public_es=words("public_title_es") or public,
        slo=slo if slo in slos() else None,
        link=link,
        starts_at=starts_at,
        ends_at=ends_at,
    )


# --- from alerts ------------------------------------------------------------------------------------------------------

_KNOWN = text("select key, incident_id, ends_at from mirador.incident_alerts where key = any(cast(:keys as text[]))")
_END = text(
    """
    update mirador.incident_alerts as known set ends_at = least(known.ends_at, told.ends_at)
    from jsonb_to_recordset(cast(:told as jsonb)) as told (key text, ends_at timestamptz)
    where known.key = told.key
    """
)
_CANDIDATES = text(
    """
    select id, key, started_at, ended_at
    from mirador.incidents
    where key = any(cast(:groups as text[])) and (ended_at is null or ended_at >= :since)
    order by ended_at is null desc, started_at desc
    """
)
_OPEN = text(
    """
    insert into mirador.incidents (
        key, component, alertname, severity, title_en, title_es, public_en, public_es, status, started_at, ended_at
    )
    values (
        :group, :component, :alertname, :severity, :summary_en, :summary_es, :public_en, :public_es,
        case when cast(:ends_at as timestamptz) is null then 'investigating' else 'resolved' end, :starts_at, :ends_at
    )
    returning id
    """
)
_ADD = text(
    """
    insert into mirador.incident_alerts (
        key, incident_id, alertname, severity, summary_en, summary_es, slo, link, starts_at, ends_at
    )
    select key, incident_id, alertname, severity, summary_en, summary_es, slo, link, starts_at, ends_at
    from jsonb_to_recordset(cast(:told as jsonb)) as told (
        key text, incident_id bigint, alertname text, severity text, summary_en text, summary_es text, slo text,
        link text, starts_at timestamptz, ends_at timestamptz
    )
    """
)
# What its alerts say of each incident that was touched.
_SUMS = """
    select one.id, min(told.starts_at) as starts_at, max(told.ends_at) as ends_at,
        count(*) filter (where told.ends_at is null) as firing
    from mirador.incidents as one
    join mirador.incident_alerts as told on told.incident_id = one.id
    where one.id = any(cast(:touched as bigint[]))
    group by one.id
"""
_TIMES = text(
    f"""
    update mirador.incidents as one
    set started_at = least(one.started_at, own.starts_at),
        ended_at = case when one.ended_by is null and not one.by_hand and own.firing = 0 then own.ends_at
            else one.ended_at end,
        updated_at = now()
    from ({_SUMS}) as own
    where own.id = one.id and one.ended_at is not null
    """
)
_RESOLVE = text(
    f"""
    update mirador.incidents as one
    set started_at = least(one.started_at, own.starts_at), updated_at = now(),
        status = case when own.firing = 0 and not one.by_hand then 'resolved' else one.status end,
        ended_at = case when own.firing = 0 and not one.by_hand then own.ends_at end
    from ({_SUMS}) as own
    where own.id = one.id and one.ended_at is null
    returning one.id, one.ended_at is not null as resolved
    """
)
_REOPEN = text(
    """
    update mirador.incidents
    set status = 'investigating', ended_at = null, ended_by = null, updated_at = now()
    where id = any(cast(:ids as bigint[])) and ended_at is not null
    returning id
    """
)
# An end that nobody was told yet is taken back in silence, and so is the news that it was none.
_UNSAY = text(
    """
    update mirador.incident_updates set tell_after = null
    where incident_id = :id and kind = 'resolved' and told_at is null and tell_after is not null
    returning 1
    """
)
_SAY = text(
    """
    insert into mirador.incident_updates (
        incident_id, kind, status, public_en, public_es, note, once, created_by, tell_after
    )
    values (
        :incident, :kind, :status, :public_en, :public_es, :note, :once, :created_by,
        case when cast(:settle as double precision) is not null then now() + make_interval(secs => :settle) end
    )
    on conflict (once) do nothing
    returning id
    """
)


def keep_alerts(settings: Settings, events: Sequence[dict[str, Any]], alerts: Sequence[Alert]) -> int:
    """Keep what Alertmanager told, as events and as incidents, all or nothing; how many events were new or touched.

    Raises SourceError.
    """
    with transaction(settings) as connection:
        # Before the first row is touched: two that tell the same alerts in another order would wait for each other.
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        kept = keep_events_in(connection, events, source="alertmanager")
        if alerts:
            _keep(connection, _once(alerts))
    return kept


def _once(alerts: Sequence[Alert]) -> list[Alert]:
    """Each alert once, with its earliest end, in the order of their start."""
    found: dict[str, Alert] = {}
    for one in alerts:
        known = found.get(one.key)
        if known is None or _earlier(one.ends_at, known.ends_at):
            found[one.key] = one
    return sorted(found.values(), key=lambda one: (one.starts_at, one.key))


def _keep(connection: Connection, alerts: list[Alert]) -> None:
    known = {row.key: row for row in connection.execute(_KNOWN, {"keys": [one.key for one in alerts]})}
    ended = [one for one in alerts if one.key in known and _earlier(one.ends_at, known[one.key].ends_at)]
    touched = {int(known[one.key].incident_id) for one in ended}
    if ended:
        told = [{"key": one.key, "ends_at": one.ends_at} for one in ended]
        connection.execute(_END, {"told": json.dumps(told, default=datetime.isoformat)})
    # Before new alerts are placed: what has ended long ago takes none.
    _settle(connection, touched)
    fresh = [one for one in alerts if one.key not in known]
    if fresh:
        _settle(connection, _place(connection, fresh))


def _settle(connection: Connection, touched: set[int]) -> None:
    """Give each incident the times that its alerts say, and end those whose alerts have ended."""
    if not touched:
        return
    connection.execute(_TIMES, {"touched": sorted(touched)})
    for row in connection.execute(_RESOLVE, {"touched": sorted(touched)}).all():
        if row.resolved:
            _say(connection, int(row.id), "resolved", "resolved", settle=SETTLE.total_seconds())


def _earlier(told: datetime | None, known: datetime | None) -> bool:
    return told is not None and (known is None or told < known)


@dataclass
class _Span:
    """An incident as a place for alerts: its period while alerts are placed."""

    id: int
    starts_at: datetime
    ends_at: datetime | None

    def holds(self, one: Alert) -> bool:
        """Whether the alert overlaps it, or is so near that it is the same trouble."""
        begins_late = self.ends_at is not None and one.starts_at > self.ends_at + REOPEN
        ends_early = one.ends_at is not None and one.ends_at + REOPEN < self.starts_at
        return not begins_late and not ends_early

    def take(self, one: Alert) -> None:
        """Grow by the alert."""
        self.starts_at = min(self.starts_at, one.starts_at)
        if self.ends_at is not None:
            self.ends_at = None if one.ends_at is None else max(self.ends_at, one.ends_at)


def _place(connection: Connection, fresh: list[Alert]) -> set[int]:
    """Give each new alert its incident, opening those that are missing; the ids of all that were touched."""
    groups = sorted({one.group for one in fresh})
    since = fresh[0].starts_at - REOPEN
    spans: dict[str, list[_Span]] = {group: [] for group in groups}
    for row in connection.execute(_CANDIDATES, {"groups": groups, "since": since}):
        spans[row.key].append(_Span(int(row.id), row.started_at, row.ended_at))
    placed, again = [], set()
    for one in fresh:
        own = spans[one.group]
        # Open ones first; there is one at most.
        span = next((span for span in own if span.ends_at is None and span.holds(one)), None)
        # While one is open, no other is opened again.
        if span is None and (one.ends_at is not None or all(other.ends_at is not None for other in own)):
            span = next((span for span in own if span.holds(one)), None)
        if span is None:
            row = connection.execute(_OPEN, {name: getattr(one, name) for name in _OPENING}).one()
            span = _Span(int(row.id), one.starts_at, one.ends_at)
            own.insert(0, span)
            if one.ends_at is None:
                _say(connection, span.id, "opened", "investigating", settle=0)
            else:
                # It was over before anybody heard of it.
                _say(connection, span.id, "resolved", "resolved", settle=SETTLE.total_seconds())
        elif span.ends_at is not None and one.ends_at is None:
            again.add(span.id)
        span.take(one)
        placed.append({**{name: getattr(one, name) for name in _ADDED}, "incident_id": span.id})
    if again:
        for row in connection.execute(_REOPEN, {"ids": sorted(again)}).all():
            unsaid = connection.execute(_UNSAY, {"id": row.id}).all()
            _say(connection, int(row.id), "reopened", "investigating", settle=None if unsaid else 0)
    connection.execute(_ADD, {"told": json.dumps(placed, default=datetime.isoformat)})
    return {int(one["incident_id"]) for one in placed}


_OPENING = (
    *("group", "component", "alertname", "severity", "summary_en", "summary_es"),
    *("public_en", "public_es", "starts_at", "ends_at"),
)
_ADDED = ("key", "alertname", "severity", "summary_en", "summary_es", "slo", "link", "starts_at", "ends_at")


def _say(
    connection: Connection,
    incident: int,
    kind: str,
    status: str,
    *,
    settle: float | None,
    public_en: str | None = None,
    public_es: str | None = None,
    note: str | None = None,
    once: str | None = None,
    created_by: str | None = None,
) -> bool:
    """Write an update; `settle` seconds later subscribers are told (None: never). False when it was there already."""
    given = {"public_en": public_en, "public_es": public_es, "note": note, "once": once, "created_by": created_by}
    row = connection.execute(
        _SAY, {"incident": incident, "kind": kind, "status": status, "settle": settle, **given}
    ).first()
    return row is not None


# --- from engineers ---------------------------------------------------------------------------------------------------


def may_write(viewer: Viewer | None) -> bool:
    """Whether the viewer may write about incidents and set states: engineers may."""
    return viewer is not None and "engineer" in viewer.roles


def _engineer(viewer: Viewer) -> None:
    if not may_write(viewer):
        raise NotAllowed("Incidents and states are written by engineers.")


def _words(words: str | None, most: int) -> str | None:
    """Plain text of some lines, or None; what cannot be seen is taken out."""
    lines = [one_line(line) for line in (words or "").splitlines()]
    said = "\n".join(lines).strip()
    if len(said) > most:
        raise BadIncident(f"A text may have at most {most} characters.")
    return said or None


def open_incident(
    settings: Settings,
    viewer: Viewer,
    *,
    component: str,
    title_en: str,
    title_es: str,
    impact: str,
    public_en: str | None,
    public_es: str | None,
    once: str,
) -> int:
    """Open an incident by hand and give its number; a hand ends it. `once` is the form's own number.

    Raises NotAllowed, BadIncident, SourceError.
    """
    _engineer(viewer)
    english, spanish = one_line(title_en), one_line(title_es)
    if component not in components():
        raise BadIncident("Choose a component of the status page.")
    if not english or not spanish:
        raise BadIncident("Say in a few words what happens, in both languages: the public reads it.")
    if max(len(english), len(spanish)) > TITLE_LENGTH:
        raise BadIncident(f"The title may have at most {TITLE_LENGTH} characters.")
    said = _public(public_en, public_es)
    with transaction(settings) as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        found = connection.execute(
            text("select incident_id from mirador.incident_updates where once = :once"), {"once": once}
        ).scalar()
        if found is not None:
            return int(found)
        group = f"component:{component}"
        taken = connection.execute(
            text("select id from mirador.incidents where key = :key and ended_at is null"), {"key": group}
        ).scalar()
        if taken is not None:
            raise BadIncident("This component has an open incident already: write an update of it.")
        row = connection.execute(
            text(
                """
                insert into mirador.incidents (
                    key, component, impact, title_en, title_es, public_en, public_es, started_at, by_hand, opened_by
                )
                values (:key, :component, :impact, :en, :es, :en, :es, now(), true, :by)
                returning id
                """
            ),
            {
                "key": group,
                "component": component,
                "impact": _impact(impact),
                "en": english,
                "es": spanish,
                "by": viewer.id,
            },
        ).one()
        _say(
            connection,
            int(row.id),
            "opened",
            "investigating",
            settle=0,
            public_en=said[0],
            public_es=said[1],
            once=once,
            created_by=viewer.id,
        )
    return int(row.id)


def _impact(impact: str) -> str:
    if impact not in {"degraded", "outage"}:
        raise BadIncident("The impact is degraded or outage.")
    return impact


def _public(english: str | None, spanish: str | None) -> tuple[str | None, str | None]:
    said = _words(english, TEXT_LENGTH), _words(spanish, TEXT_LENGTH)
    if (said[0] is None) != (said[1] is None):
        raise BadIncident("The public reads both languages: write the public text in both, or in none.")
    return said


def write_update(
    settings: Settings,
    viewer: Viewer,
    incident: int,
    *,
    status: str,
    impact: str,
    public_en: str | None,
    public_es: str | None,
    note: str | None,
    once: str,
) -> None:
    """Write an update: the new status, what the public reads, and what stays inside.

    Subscribers are told when there is a public text, or when the incident is resolved or opened again. `once` is the
    form's own number: sent twice, it is written once. Raises NotAllowed, BadIncident, SourceError.
    """
    _engineer(viewer)
    if status not in STATUSES:
        raise BadIncident(f"The status must be one of {', '.join(STATUSES)}.")
    said, inside = _public(public_en, public_es), _words(note, TEXT_LENGTH)
    with transaction(settings) as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = connection.execute(
            text("select key, status, impact, ended_at from mirador.incidents where id = :id"), {"id": incident}
        ).first()
        if before is None:
            raise BadIncident("This incident is gone.")
        if before.status == status and before.impact == _impact(impact) and not said[0] and not inside:
            raise BadIncident("Nothing has changed: choose another status or write a text.")
        reopened = before.status == "resolved" and status != "resolved"
        if reopened:
            other = connection.execute(
                text("select id from mirador.incidents where key = :key and ended_at is null"), {"key": before.key}
            ).scalar()
            if other is not None:
                raise BadIncident("This component has another open incident: write an update of that one.")
        resolved = status == "resolved" and before.status != "resolved"
        kind = "resolved" if resolved else "reopened" if reopened else "update"
        tells = resolved or reopened or said[0] is not None
        if not _say(
            connection,
            incident,
            kind,
            status,
            settle=0 if tells else None,
            public_en=said[0],
            public_es=said[1],
            note=inside,
            once=once,
            created_by=viewer.id,
        ):
            return
        connection.execute(
            text(
                """
                update mirador.incidents
                set status = :status, impact = :impact, updated_at = now(),
                    ended_at = case
                        when :status <> 'resolved' then null
                        when ended_at is null then greatest(now(), started_at)
                        else ended_at
                    end,
                    ended_by = case
                        when :status <> 'resolved' then null
                        when ended_at is null then :by
                        else ended_by
                    end,
                    -- Alerts that have ended would end it again at once.
                    by_hand = by_hand or :reopened
                where id = :id
                """
            ),
            {"status": status, "impact": impact, "id": incident, "by": viewer.id, "reopened": reopened},
        )


def set_state(
    settings: Settings,
    viewer: Viewer,
    *,
    component: str,
    state: str,
    reason: str,
    ends_at: datetime | None,
    once: str,
) -> None:
    """Let a component show this state until `ends_at`, whatever is measured.

    Raises NotAllowed, BadIncident, SourceError.
    """
    _engineer(viewer)
    if component not in components() or state not in STATES:
        raise BadIncident("Choose a component and a state of the status page.")
    why = _words(reason, REASON_LENGTH)
    if why is None:
        raise BadIncident("Say why the state is set by hand.")
    now = datetime.now(UTC)
    if ends_at is None or ends_at.tzinfo is None or not now < ends_at <= now + OVERRIDE_LONGEST:
        raise BadIncident("A state that a hand has set ends by itself: within the next 7 days.")
    with transaction(settings) as connection:
        connection.execute(
            text(
                """
                insert into mirador.status_overrides (component, state, reason, ends_at, once, created_by)
                values (:component, :state, :reason, :ends_at, :once, :by)
                on conflict (once) do nothing
                """
            ),
            {
                "component": component,
                "state": state,
                "reason": why,
                "ends_at": ends_at,
                "once": once,
                "by": viewer.id,
            },
        )


def withdraw_state(settings: Settings, viewer: Viewer, component: str) -> None:
    """Let a component show what is measured again. Raises NotAllowed, SourceError."""
    _engineer(viewer)
    with transaction(settings) as connection:
        connection.execute(
            text(
                """
                update mirador.status_overrides set withdrawn_at = now(), withdrawn_by = :by
                where component = :component and withdrawn_at is null and ends_at > now()
                """
            ),
            {"component": component, "by": viewer.id},
        )
