"""A span of time that ends now, or some days: what the pages of engineers look at. It stands in the URL.

    span = span_bar(datetime.now(zone), earliest=first_day)
    ledger("integrations/over_time", span)
    metrics("integrations/call_rate", span.moments)

`?range=6h`, or `?range=days&from=2026-11-13&to=2026-11-14`; the days are those of the other pages' filter, so that they
travel from and to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from components.filters import day_fields, events_switch, period_name, tell_refused
from components.i18n import _, when
from components.url import Url, one_of

DAYS = "days"
DEFAULT = "24h"
MINUTE, HOUR, DAY = 60, 3600, 86400
# How long it is, and how long each of its stretches.
RANGES = {
    "1h": (HOUR, 2 * MINUTE),
    "6h": (6 * HOUR, 10 * MINUTE),
    "24h": (DAY, 30 * MINUTE),
    "7d": (7 * DAY, 3 * HOUR),
    "30d": (30 * DAY, DAY),
}
# Up to so many days the calls themselves are counted; beyond, whole hours.
FINE_DAYS = 2


@dataclass(frozen=True)
class Span(Mapping[str, Any]):
    """From `start` up to `end` (aware, the house's zone), cut in stretches of `step` seconds.

    As a mapping it holds the parameters of ledger queries: start, end, step, fine. `end` may lie ahead by less than a
    stretch, so that the same question is asked for a while; `now` is the present moment.
    """

    start: datetime
    end: datetime
    step: int
    now: datetime
    name: str = DEFAULT
    events: bool = True

    def _params(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "step": self.step, "fine": self.fine}

    def __getitem__(self, key: str) -> Any:
        return self._params()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params())

    def __len__(self) -> int:
        return len(self._params())

    @property
    def fine(self) -> bool:
        """Whether it is short enough to count the calls themselves."""
        return self.step < HOUR

    @property
    def seconds(self) -> float:
        """How much of it has passed."""
        return max((min(self.end, self.now) - self.start).total_seconds(), 1.0)

    @property
    def first(self) -> date:
        """Its first day."""
        return self.start.date()

    @property
    def last(self) -> date:
        """Its last day."""
        return min(self.end - timedelta(microseconds=1), self.now).date()

    @property
    def moments(self) -> dict[str, datetime]:
        """The parameters of a range query of the metrics; on the whole minute, so that answers are shared."""
        return {"start": self.start, "end": min(self.end, self.now.replace(second=0, microsecond=0))}

    @property
    def stretch(self) -> dict[str, Any]:
        """The parameters of an instant query of the metrics over all of it."""
        end = self.moments["end"]
        return {"time": end, "range": f"{max(int((end - self.start).total_seconds()), MINUTE)}s"}

    def caption(self) -> str:
        """The span in words."""
        if self.name == DAYS:
            return period_name(self.first, self.last)
        return f"{range_names()[self.name]} · {when(self.start)} – {when(self.now)}"

    def query_params(self) -> dict[str, list[str]]:
        """The span as it stands in the URL, for a link to another page; what is the default is left out."""
        asked: dict[str, list[str]] = {}
        if self.name not in RANGES and self.name != DAYS:
            # An exact window (see `components.window`) is told by its moments.
            asked |= {
                "from": [self.start.isoformat(timespec="seconds")],
                "to": [self.end.isoformat(timespec="seconds")],
            }
        elif self.name != DEFAULT:
            asked["range"] = [self.name]
        if self.name == DAYS:
            asked |= {"from": [self.first.isoformat()], "to": [self.last.isoformat()]}
        if not self.events:
            asked["events"] = ["off"]
        return asked


def range_names() -> dict[str, str]:
    """The spans in the viewer's language."""
    return {
        "1h": _("Last hour"),
        "6h": _("Last 6 hours"),
        "24h": _("Last 24 hours"),
        "7d": _("Last 7 days"),
        "30d": _("Last 30 days"),
        DAYS: _("From … to …"),
    }


def span_of(name: str, now: datetime, *, events: bool = True) -> Span:
    """A span that ends now. Its start lies on a stretch of the local clock; that of 30 days on a midnight."""
    length, step = RANGES[name]
    midnight = pd.Timestamp(now).normalize()
    if step >= DAY:
        # By the calendar: a day of another length does not move the others.
        start = (midnight - pd.DateOffset(days=length // DAY - 1)).to_pydatetime()
    else:
        begins = pd.Timestamp(now) - pd.Timedelta(seconds=length)
        whole = pd.Timestamp(begins).normalize()
        start = (whole + (begins - whole) // pd.Timedelta(seconds=step) * pd.Timedelta(seconds=step)).to_pydatetime()
    return Span(start, _ceil(now, min(step, HOUR)), step, now, name, events)


def span_of_days(first: date, last: date, now: datetime, *, events: bool = True) -> Span:
    """Whole local days, both inclusive; of today what has passed."""
    zone = now.tzinfo
    start = datetime.combine(first, time(), tzinfo=zone)
    end = datetime.combine(last + timedelta(days=1), time(), tzinfo=zone)
    days = (last - first).days + 1
    step = 30 * MINUTE if days <= FINE_DAYS else 3 * HOUR if days <= 10 else DAY if days <= 62 else 7 * DAY
    return Span(start, min(end, _ceil(now, min(step, HOUR))), step, now, DAYS, events)


def _ceil(moment: datetime, seconds: int) -> datetime:
    return pd.Timestamp(moment).ceil(f"{seconds}s", ambiguous=False).to_pydatetime()


def span_bar(now: datetime, *, earliest: date, events: bool = True) -> Span:
    """The span to look at and the switch for events. A link with an impossible value says so and falls back."""
    url = Url()
    names = range_names()
    url.restore("range", DEFAULT, one_of(tuple(names)))
    custom = st.session_state["range"] == DAYS
    with st.grid(1 + 2 * custom + events, min_column_width=150, vertical_alignment="center", key="filters"):
        name = st.selectbox(
            _("Period"), tuple(names), format_func=names.__getitem__, key="range", label_visibility="collapsed"
        )
        url.keep("range", name, [name], default=name == DEFAULT)
        days = None
        if custom:
            usual = (max(now.date() - timedelta(days=6), earliest), now.date())
            days = day_fields(url, earliest, now.date(), usual)
        else:
            url.leave_out("from")
            url.leave_out("to")
        shown = events_switch(url) if events else False
    url.write()
    tell_refused(url)
    if name == DAYS and days:
        return span_of_days(*days, now, events=shown)
    return span_of(str(name) if name in RANGES else DEFAULT, now, events=shown)
