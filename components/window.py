"""An exact window of time that a link names: `?from=2026-11-25T10:00:00-06:00&to=2026-11-25T10:05:00-06:00`.

Links between the engineers' pages carry it, so that what happened around one call is found again to the second. Days
(`?range=days&from=2026-11-24`) are the span bar's; this takes moments alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from components.i18n import _, day_name
from components.span import Span

EXACT = "exact"
# How long a stretch may be, in seconds; the least that gives no more than so many.
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 86400)
STRETCHES = 60


def window(start: datetime, end: datetime, now: datetime, *, events: bool = True) -> Span:
    """The span between two moments, cut in at most about sixty stretches."""
    length = (end - start).total_seconds()
    step = next((step for step in STEPS if length / step <= STRETCHES), STEPS[-1])
    return Span(start, end, step, now, EXACT, events)


def window_bar(now: datetime, *, earliest: datetime, longest: timedelta) -> Span | None:
    """The window that the link names, with a button that leaves it; None when it names none.

    A window that cannot be is told in a sentence, and is none.
    """
    asked = [str(st.query_params.get(name) or "") for name in ("from", "to")]
    if not any("T" in text for text in asked):
        return None
    moments = [_moment(text, now) for text in asked]
    start, end = moments
    if start is None or end is None or not earliest <= start < end or end - start > longest or start > now:
        # It stays when the page is drawn anew, which happens as soon as its data is there.
        st.toast(
            _("The link asks for a window of time that cannot be shown: the usual period is shown instead."),
            icon=":material/link_off:",
            duration="infinite",
        )
        _leave()
        return None
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="window"):
        st.badge(window_words(start, end), icon=":material/schedule:", color="blue")
        st.button(
            _("Choose another period"), icon=":material/close:", type="tertiary", on_click=_leave, key="window:leave"
        )
    return window(start, end, now)


def window_params(start: datetime, end: datetime) -> dict[str, str]:
    """The window as it stands in the URL."""
    return {"from": start.isoformat(timespec="seconds"), "to": end.isoformat(timespec="seconds")}


def window_words(start: datetime, end: datetime) -> str:
    """The window in words, to the second."""
    first, last = day_name(start.date(), style="d MMM"), day_name(end.date(), style="d MMM")
    return f"{first} {start:%H:%M:%S} – {'' if first == last else last + ' '}{end:%H:%M:%S}"


def _leave() -> None:
    for name in ("from", "to"):
        st.query_params.pop(name, None)


def _moment(text: str, now: datetime) -> datetime | None:
    """An aware moment in the zone of `now`; in a URL a plus sign may have become a blank."""
    try:
        moment: Any = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return moment.astimezone(now.tzinfo) if moment.tzinfo else None
