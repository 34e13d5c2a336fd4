"""Events: what was deployed, failed or decided, as it is drawn on the charts; written here by people."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pandas as pd
import streamlit as st

import queries
from app import state
from app.auth import viewer
from app.settings import settings
from components import _, day_name, filter_bar, ngettext, number, sentence_of, when
from components.charts import event_names
from components.drill import grid_height
from components.filters import tell_refused
from components.url import Url, some_of
from queries.events import INCIDENT_DAYS, KINDS

zone = queries.timezone()
now = datetime.now(zone)
today = now.date()
me = viewer(settings())
SOURCES = {
    "ledger": _("Ledger"),
    "incidents": _("Incidents"),
    "alertmanager": _("Alertmanager"),
    "deployment": _("Deployment hook"),
    "person": _("Person"),
}
RUNNING = ("incident", "alert")
names = {**event_names(), "other": _("Something else")}


# --- writing ----------------------------------------------------------------------------------------------------------


def local(moment: Any) -> datetime | None:
    """A moment as the form has it: the clock of the business zone, without a zone."""
    return (
        None if pd.isna(moment) else pd.Timestamp(moment).to_pydatetime().replace(tzinfo=None, second=0, microsecond=0)
    )


def form(event: Any = None) -> None:
    """The fields of an event, new or as it stands; what was typed stays until it is kept."""
    with st.form("event", border=False):
        title = st.text_input(
            _("What happened"), value=event.title if event else "", max_chars=state.TITLE_LENGTH, key="event:title"
        )
        kind = st.selectbox(
            _("Kind"),
            KINDS,
            index=KINDS.index(event.kind) if event else KINDS.index("cutoff"),
            format_func=lambda kind: names.get(kind, kind),
            key="event:kind",
        )
        begin, finish = st.columns(2)
        starts_at = begin.datetime_input(
            _("Began"), value=local(event.starts_at) if event else local(now), key="event:starts_at", step=60
        )
        ends_at = finish.datetime_input(
            _("Ended"),
            value=local(event.ends_at) if event else None,
            key="event:ends_at",
            step=60,
            help=_("Empty: a moment; an incident or an alert then still runs."),
        )
        link = st.text_input(
            _("Link"),
            value=(event.link if event is not None and not pd.isna(event.link) else ""),
            placeholder="https://",
            max_chars=state.LINK_LENGTH,
            key="event:link",
        )
        st.caption(_("Times are those of {zone}. Write no names of people.").format(zone=zone.key))
        if not st.form_submit_button(_("Keep"), type="primary", icon=":material/save:"):
            return
    told = {
        "kind": kind,
        "title": title,
        "starts_at": starts_at.replace(tzinfo=zone) if starts_at else None,
        "ends_at": ends_at.replace(tzinfo=zone) if ends_at else None,
        "link": link,
    }
    if event is None:
        attempt(lambda: state.add_event(settings(), me, told, once=st.session_state["event:once"]))
    else:
        attempt(lambda: state.change_event(settings(), me, int(event.id), told))


def attempt(write: Any) -> None:
    """Write, and draw the page anew; or say in a sentence why not, and leave everything as it is."""
    try:
        write()
    except (state.BadEvent, state.NotAllowed) as error:
        st.error(_(str(error)), icon=":material/error:")
    except queries.SourceError as error:
        st.error(
            f"{_(sentence_of(error))} {_('Nothing was changed; what you wrote still stands.')}", icon=":material/error:"
        )
    else:
        st.rerun()


@st.dialog(_("Add an event"), icon=":material/add:")
def add() -> None:
    form()


@st.dialog(_("Change the event"), icon=":material/edit:")
def change(event: Any) -> None:
    form(event)


@st.dialog(_("Remove the event?"), icon=":material/delete:")
def remove(event: Any) -> None:
    st.markdown(f"**{names.get(event.kind, event.kind)}** · {when(event.starts_at)}")
    st.text(event.title)
    st.caption(_("It disappears from every chart, for everybody. This cannot be undone."))
    if st.button(_("Remove"), type="primary", icon=":material/delete:", key="event:remove"):
        attempt(lambda: state.remove_event(settings(), me, int(event.id)))


# --- the page ---------------------------------------------------------------------------------------------------------

configured = settings().state_url is not None
heading, adding = st.columns([4, 1], vertical_alignment="bottom")
heading.title(_("Events"), anchor=False)
writes = configured and me is not None and state.may_write(me)
if writes and adding.button(_("Add an event"), icon=":material/add:", type="primary", width="stretch"):
    # The form's own number: sent twice, it is kept once.
    st.session_state["event:once"] = uuid4().hex
    add()

filters = filter_bar(today, earliest=today - timedelta(days=730), compare=False, events=False)
url = Url()
url.restore("kind", [], some_of(KINDS))
kinds = st.pills(
    _("Kind"),
    KINDS,
    format_func=lambda kind: names.get(kind, kind),
    selection_mode="multi",
    key="kind",
    label_visibility="collapsed",
)
url.keep("kind", kinds, list(kinds), default=not kinds)
url.write()
tell_refused(url)

found = queries.events(filters.first, filters.last)
for sentence in found.attrs["missing"]:
    st.caption(f":material/cloud_off: {_(sentence)} {_('Events from there are missing.')}")
if not configured:
    st.caption(
        ":material/settings: "
        + _("Alerts, deployments and what people write need a database of Mirador's own: set {variable}.").format(
            variable="MIRADOR_STATE_URL"
        )
    )
if filters.days > INCIDENT_DAYS:
    st.caption(
        _("Incidents that the ledger's calls tell of are looked for in periods of up to {n} days.").format(
            n=INCIDENT_DAYS
        )
    )
shown = found[found["kind"].isin(kinds)] if kinds else found
shown = shown.iloc[::-1].reset_index(drop=True)
if shown.empty:
    st.info(_("No event in this period."), icon=":material/event_available:")
    st.stop()

running = shown["ends_at"].isna() & shown["kind"].isin(RUNNING)
table = pd.DataFrame(
    {
        "starts_at": shown["starts_at"],
        "kind": shown["kind"].map(names).fillna(shown["kind"]),
        "title": shown["title"],
        "ends_at": [
            _("still runs") if runs else ("" if pd.isna(end) else end.strftime("%Y-%m-%d %H:%M"))
            for runs, end in zip(running, shown["ends_at"], strict=True)
        ],
        "source": [
            f"{SOURCES.get(source, source)} · {_('you')}"
            if me is not None and by == me.id
            else SOURCES.get(source, source)
            for source, by in zip(shown["source"], shown["created_by"], strict=True)
        ],
        "link": shown["link"].fillna(""),
    }
)
picked = st.dataframe(
    table,
    hide_index=True,
    height=grid_height(len(table), 600),
    key="events:table",
    on_select="rerun",
    selection_mode="single-row",
    alt=_("Events"),
    column_config={
        "starts_at": st.column_config.DatetimeColumn(_("Began"), format="YYYY-MM-DD HH:mm", width=130),
        "kind": st.column_config.TextColumn(_("Kind"), width=130),
        "title": st.column_config.TextColumn(_("What happened"), width=360),
        "ends_at": st.column_config.TextColumn(_("Ended"), width=130),
        "source": st.column_config.TextColumn(_("Source"), width=140),
        "link": st.column_config.LinkColumn(_("Link"), display_text=_("open"), width=70),
    },
)
count = ngettext("{n} event from {first} to {last}.", "{n} events from {first} to {last}.", len(table)).format(
    n=number(len(table)),
    first=day_name(filters.first, style="d MMM y"),
    last=day_name(filters.last, style="d MMM y"),
)
st.caption(f"{count} {_('Pick a row to change, end or remove it.')}")
rows = picked["selection"]["rows"]
if rows and rows[0] < len(shown):
    event: Any = shown.iloc[rows[0]]
    if event["source"] == "incidents":
        st.caption(_("This is an incident: it is written about on the page Incidents."))
    elif pd.isna(event["id"]):
        st.caption(_("The ledger tells this event; it cannot be changed here."))
    elif me is None or not state.may_change(me, None if pd.isna(event["created_by"]) else event["created_by"]):
        st.caption(_("Its author or an engineer may change this event."))
    else:
        with st.container(horizontal=True):
            if st.button(_("Change"), icon=":material/edit:", key="event:change"):
                change(event)
            if pd.isna(event["ends_at"]) and st.button(_("End it now"), icon=":material/stop_circle:", key="event:end"):
                fields = {name: event[name] for name in ("kind", "title", "link")}
                ended = {
                    **fields,
                    "link": None if pd.isna(event["link"]) else event["link"],
                    "starts_at": event["starts_at"].to_pydatetime(),
                    "ends_at": max(now, event["starts_at"].to_pydatetime()),
                }
                attempt(lambda: state.change_event(settings(), me, int(event["id"]), ended))
            if st.button(_("Remove"), icon=":material/delete:", key="event:ask"):
                remove(event)
