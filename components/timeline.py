"""A timeline: lanes of moments and spans, coloured by their state. And the search of an id that leads to one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from components.charts import _finish, _legend, event_layers
from components.frame import Figure
from components.i18n import _, day_name, when
from components.kept import kept
from components.scales import COLOURS, GREY, ink, stamp

# What a state means is the same in every lane.
STATE_COLOURS = {
    "good": COLOURS["succeeded"],
    "late": "#e0a030",
    "failed": COLOURS["failed"],
    "waiting": GREY,
    "neutral": "#4a7fc1",
}
LANE_HEIGHT, AROUND = 28, 82
# What the names of the lanes take of a phone.
LANE_NAMES = 80


def state_names() -> dict[str, str]:
    """The states in the viewer's language."""
    return {
        "good": _("Done"),
        "late": _("Done late"),
        "failed": _("Failed or late"),
        "waiting": _("To come"),
        "neutral": _("Noted"),
    }


@kept
def timeline(
    data: pd.DataFrame,
    *,
    lanes: Mapping[str, str],
    title: str,
    now: datetime,
    events: pd.DataFrame | None = None,
    within: tuple[datetime, datetime] | None = None,
    height: int | None = None,
) -> Figure:
    """A lane for each kind that the data has, in the order of `lanes` (kind to name).

    `data` has `kind`, `at`, `until` (null: a moment), `state` (a key of `state_names`), and for the tooltip the texts
    `what`, `amount` and `detail`. Where it has `running`, what is true there has no end yet: a bar that stays open to
    the right. A dashed rule stands at `now` where the data reaches beyond it. `events` are those of the company, above
    the lanes. `within` bounds the axis: what began before it or ends after it is cut there.
    """
    if data.empty:
        return Figure(None, data, title)
    states = state_names()
    frame = pd.DataFrame(
        {
            "_lane": data["kind"].map(dict(lanes)).fillna(data["kind"]),
            "_at": data["at"].dt.tz_localize(None),
            "_until": data["until"].dt.tz_localize(None),
            "_state": data["state"].map(states).fillna(states["neutral"]),
            "_open": data["state"] == "waiting",
            "_what": data["what"],
            "_amount": data["amount"],
            "_detail": data["detail"],
            "_running": data.get("running", False),
        }
    )
    frame["_when"] = [
        _span(start, end, running)
        for start, end, running in zip(data["at"], data["until"], frame["_running"], strict=True)
    ]
    present_moment = pd.Timestamp(now).tz_localize(None)
    shown = [name for name in dict.fromkeys(lanes.values()) if name in set(frame["_lane"])]
    first, last = frame["_at"].min(), max(frame["_at"].max(), frame["_until"].max())
    if frame["_running"].any():
        last = max(last, present_moment)
    if within is not None:
        first, last = pd.Timestamp(within[0]).tz_localize(None), min(last, pd.Timestamp(within[1]).tz_localize(None))
        frame["_at"] = frame["_at"].clip(lower=first)
        frame["_until"] = frame["_until"].clip(upper=last)
    # What still runs was there until now, and goes on.
    frame["_until"] = frame["_until"].mask(frame["_running"], min(last, max(present_moment, first)))
    room = max((last - first) * 0.015, pd.Timedelta(minutes=1))
    how: dict[str, Any] = {
        "axis": alt.Axis(title=None, grid=True, tickCount=5, labelOverlap=True, format=_ticks(last - first)),
        "scale": alt.Scale(domain=[stamp(first - room), stamp(last + room)], nice=False),
    }
    x = alt.X("_at:T", **how)
    y = alt.Y(
        "_lane:N",
        sort=shown,
        axis=alt.Axis(
            title=None, domain=False, ticks=False, grid=True, labelLimit=150, labelPadding=8, labelOverlap=False
        ),
    )
    present = [state for state in states if states[state] in set(frame["_state"])]
    colour = alt.Color(
        "_state:N",
        scale=alt.Scale(domain=[states[state] for state in present], range=[STATE_COLOURS[state] for state in present]),
        legend=_legend([states[state] for state in present], beside=LANE_NAMES),
    )
    tooltip = [
        alt.Tooltip("_lane:N", title=_("Kind")),
        alt.Tooltip("_what:N", title=_("What")),
        alt.Tooltip("_when:N", title=_("When")),
        alt.Tooltip("_amount:N", title=_("Amount")),
        alt.Tooltip("_detail:N", title=_("Detail")),
    ]
    # What failed is drawn last, so that nothing hides it.
    frame = frame.sort_values("_state", key=lambda column: column == states["failed"], kind="stable")
    spans, moments = frame[frame["_until"].notna()], frame[frame["_until"].isna()]
    layers = []
    if not spans.empty:
        bars = alt.Chart(spans).mark_bar(height=9, cornerRadius=4, opacity=0.6)
        layers.append(bars.encode(x=x, x2="_until:T", y=y, color=colour, tooltip=tooltip))
    if frame["_running"].any():
        heads = alt.Chart(frame[frame["_running"]]).mark_point(filled=True, shape="triangle-right", size=110, opacity=1)
        layers.append(heads.encode(x=alt.X("_until:T", **how), y=y, color=colour, tooltip=tooltip))
    for hollow, points in moments.groupby("_open"):
        mark = alt.Chart(points).mark_point(
            filled=not hollow, size=38 if hollow else 52, opacity=0.9, strokeWidth=1.4, shape="circle"
        )
        layers.append(mark.encode(x=x, y=y, color=colour, tooltip=tooltip))
    if first <= present_moment <= last:
        rule = alt.Chart(pd.DataFrame({"_at": [present_moment], "_now": [_("Now")]}))
        layers.append(rule.mark_rule(strokeDash=[3, 3], color=ink(), opacity=0.6).encode(x=x, tooltip=["_now:N"]))
    # Last, for the colours of the lanes make the legend.
    layers += event_layers(events, first, last + room, alt.X("_x:T", **how))
    words = _("{title}: {n} moments from {first} to {last}").format(
        title=title,
        n=len(frame),
        first=day_name(first.date(), style="d MMM y"),
        last=day_name(last.date(), style="d MMM y"),
    )
    return _finish(alt.layer(*layers), data, words, height or LANE_HEIGHT * len(shown) + AROUND)


def _ticks(length: pd.Timedelta) -> str:
    """How the axis names its ticks, always with the day; d3's own choice writes hours as AM and PM."""
    if length <= pd.Timedelta(days=6):
        # Several ticks a day: the day alone would stand twice.
        return "%e %b %H:%M"
    return "%e %b" if length <= pd.Timedelta(days=120) else "%b %Y"


def _span(start: pd.Timestamp, end: pd.Timestamp, running: bool) -> str:
    year = day_name(start.date(), style="y")
    if running:
        return _("since {when}").format(when=f"{when(start)} {year}")
    if pd.isna(end):
        return f"{when(start)} {year}"
    return f"{when(start)} – {when(end)} {day_name(end.date(), style='y')}"


def id_search(label: str, *, placeholder: str) -> str:
    """A box for an id, as it stands in the URL (`?id=`); what was typed stays, whatever is found."""
    asked = (st.query_params.get("id") or "").strip()[:80]
    if st.session_state.get("_id_asked") != asked or "id_typed" not in st.session_state:
        # A link has led here since the box was last drawn.
        st.session_state["id_typed"] = asked
        if asked and "_id_asked" in st.session_state:
            # A link from a page to itself changes what the page reads and leaves the browser's address behind.
            st.query_params["id"] = asked
    typed = st.text_input(
        label,
        key="id_typed",
        placeholder=placeholder,
        max_chars=80,
        icon=":material/search:",
        label_visibility="collapsed",
    ).strip()
    if typed != asked:
        if typed:
            st.query_params["id"] = typed
        else:
            st.query_params.pop("id", None)
    st.session_state["_id_asked"] = typed
    return typed
