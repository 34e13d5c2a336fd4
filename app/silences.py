"""Silences made and ended from the page Alerts: by engineers alone, with a reason and an end, and written down.

What is asked for is written down before Alertmanager is asked, and what became of it afterwards: a silence that stands
in no book cannot be made here. Who it was is the viewer's opaque id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import queries
from app.auth import Viewer
from app.settings import Settings
from app.state import NotAllowed, _write, one_line

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=7)
REASON_SHORTEST, REASON_LONGEST = 10, 500
MOST_MATCHERS, VALUE_LENGTH = 20, 300
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_ASK = """
insert into mirador.silence_audit (once, action, alert, matchers, reason, ends_at, silence_id, who)
values (:once, :action, :alert, cast(:matchers as jsonb), :reason, :ends_at, :silence_id, :who)
on conflict (once) do nothing
returning id
"""
_TOLD = """
update mirador.silence_audit
set outcome = :outcome, silence_id = coalesce(:silence_id, silence_id)
where id = :id
returning 1
"""


class BadSilence(ValueError):
    """What was asked for is no silence; the message is a sentence that says why."""


def may_silence(viewer: Viewer | None) -> bool:
    """Whether the viewer may silence alerts: engineers may."""
    return viewer is not None and "engineer" in viewer.roles


def silence(
    settings: Settings,
    viewer: Viewer | None,
    *,
    matchers: Mapping[str, str],
    reason: str,
    ends_at: datetime | None,
    once: str,
    now: datetime | None = None,
) -> None:
    """Silence what carries all of these labels until `ends_at`. `once` is the form's own number: sent twice, it is done
    once. Raises NotAllowed, BadSilence, SourceError.
    """
    who = _allowed(viewer)
    moment = now or datetime.now(UTC)
    labels, why, end = _checked(matchers, reason, ends_at, moment)
    asked = _write(
        settings,
        _ASK,
        {
            "once": once,
            "action": "silenced",
            "alert": labels["alertname"],
            "matchers": _as_json(labels),
            "reason": why,
            "ends_at": end,
            "silence_id": None,
            "who": who.id,
        },
    )
    if not asked:
        return
    number = int(asked[0][0])
    client = _client(settings, number)
    made = _done(
        settings,
        number,
        lambda: client.silence(list(labels.items()), reason=why, starts_at=moment, ends_at=end, by=f"mirador:{who.id}"),
    )
    _tell(settings, number, "done", made)
    queries.forget("alertmanager")


def end_silence(
    settings: Settings, viewer: Viewer | None, silence_id: str, *, matchers: Mapping[str, str], reason: str, once: str
) -> None:
    """End a silence now, whoever made it. Raises NotAllowed, BadSilence, SourceError."""
    who = _allowed(viewer)
    if not re.fullmatch(r"[0-9a-fA-F-]{1,64}", silence_id):
        raise BadSilence("This is no silence of Alertmanager.")
    asked = _write(
        settings,
        _ASK,
        {
            "once": once,
            "action": "ended",
            "alert": one_line(matchers.get("alertname", ""))[:VALUE_LENGTH] or "–",
            "matchers": _as_json(matchers),
            "reason": _reason(reason),
            "ends_at": None,
            "silence_id": silence_id,
            "who": who.id,
        },
    )
    if not asked:
        return
    number = int(asked[0][0])
    client = _client(settings, number)
    _done(settings, number, lambda: client.expire(silence_id))
    _tell(settings, number, "done", None)
    queries.forget("alertmanager")


def _allowed(viewer: Viewer | None) -> Viewer:
    if viewer is None or not may_silence(viewer):
        raise NotAllowed("Alerts are silenced by engineers.")
    return viewer


def _checked(
    matchers: Mapping[str, str], reason: str, ends_at: datetime | None, now: datetime
) -> tuple[dict[str, str], str, datetime]:
    labels = dict(sorted(matchers.items(), key=lambda one: (one[0] != "alertname", one[0])))
    if not labels.get("alertname"):
        raise BadSilence("A silence made here names its alert: keep alertname.")
    if labels["alertname"] == "Watchdog":
        raise BadSilence("The Watchdog cannot be silenced: its silence is what raises the alarm.")
    if len(labels) > MOST_MATCHERS or any(
        not _LABEL.fullmatch(name) or not value or len(value) > VALUE_LENGTH for name, value in labels.items()
    ):
        raise BadSilence("These are no labels of an alert.")
    if ends_at is None or ends_at.tzinfo is None:
        raise BadSilence("Say when the silence ends.")
    # A minute of grace: the form was filled in a moment ago.
    if ends_at < now + SHORTEST - timedelta(minutes=1):
        raise BadSilence("A silence lasts at least 5 minutes from now.")
    if ends_at > now + LONGEST + timedelta(minutes=1):
        raise BadSilence("A silence lasts at most 7 days: what is silent for longer is forgotten.")
    return labels, _reason(reason), ends_at


def _reason(text: str) -> str:
    why = one_line(text)
    if len(why) < REASON_SHORTEST:
        raise BadSilence(f"Say why in at least {REASON_SHORTEST} characters: others read it.")
    if len(why) > REASON_LONGEST:
        raise BadSilence(f"The reason may have at most {REASON_LONGEST} characters.")
    return why


def _as_json(labels: Mapping[str, str]) -> str:
    return json.dumps([{"name": name, "value": value} for name, value in labels.items()], ensure_ascii=False)


def _client(settings: Settings, number: int) -> Any:
    return _done(settings, number, lambda: queries.outside_client("alertmanager"))


def _done(settings: Settings, number: int, ask: Any) -> Any:
    """Ask Alertmanager, and write down what became of it when that fails."""
    try:
        return ask()
    except queries.SourceError as error:
        # Whoever does not answer may have done it all the same.
        outcome = "refused" if error.kind in {"refused", "not_configured"} else "unknown"
        _tell(settings, number, outcome, None)
        raise


def _tell(settings: Settings, number: int, outcome: str, silence_id: str | None) -> None:
    try:
        _write(settings, _TOLD, {"id": number, "outcome": outcome, "silence_id": silence_id})
    except queries.SourceError:
        # What was asked for stands in the book already; only how it went does not.
        return
