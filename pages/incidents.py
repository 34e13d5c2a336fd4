"""Incidents: what is broken and who is told what; where the status page and the measurements disagree."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pandas as pd
import streamlit as st

import queries
from app import incidents, subscribers
from app.auth import viewer
from app.runbooks import runbooks
from app.settings import settings
from app.state import NotAllowed
from app.status import words_of
from components import Figure, _, duration, language, ngettext, number, panel, percent, sentence_of, table, when
from queries import incidents as told
from queries.incidents import STATES, STATUSES, Component
from queries.slos import slos

PAST_DAYS = 90
COLOURS = {
    "operational": ("green", ":material/check_circle:"),
    "degraded": ("orange", ":material/warning:"),
    "outage": ("red", ":material/error:"),
    "maintenance": ("blue", ":material/build:"),
    "unknown": ("gray", ":material/help:"),
}
STATUS_COLOURS = {"investigating": "red", "identified": "orange", "monitoring": "blue", "resolved": "green"}
IMPACTS = {"degraded": _("Works badly"), "outage": _("Does not work")}
KINDS = {"opened": _("Opened"), "update": _("Update"), "reopened": _("Opened again"), "resolved": _("Resolved")}
SUBSCRIBERS = {"email": _("E-mail"), "webhook": _("Webhook")}

zone = queries.timezone()
now = datetime.now(zone)
me = viewer(settings())
writes = settings().state_url is not None and incidents.may_write(me)
words = words_of(language())
since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=PAST_DAYS)


def name_of(component: Any) -> str:
    """A component of the status page in the viewer's language; another one under its own name."""
    if component is None or pd.isna(component):
        return _("None of the status page")
    known = told.components().get(component)
    return known.in_language(language()) if known else str(component)


def title_of(one: Any) -> str:
    """The title of an incident, as engineers read it."""
    return str(one.title_es if language() == "es" else one.title_en)


def attempt(write: Any) -> None:
    """Write, and draw the page anew; or say in a sentence why not, and leave everything as it is."""
    try:
        write()
    except (incidents.BadIncident, NotAllowed) as error:
        st.error(_(str(error)), icon=":material/error:")
    except queries.SourceError as error:
        st.error(
            f"{_(sentence_of(error))} {_('Nothing was changed; what you wrote still stands.')}", icon=":material/error:"
        )
    else:
        st.rerun()


def ask_for(what: str, which: Any = None) -> None:
    """Open a dialog with the next run of the page: a panel draws itself anew and must not hold one."""
    # The form's own number: sent twice, it is written once.
    st.session_state["incidents:once"] = uuid4().hex
    st.session_state["incidents:ask"] = (what, which)
    st.rerun()


def once() -> str:
    """The number of the form that is open."""
    return str(st.session_state.get("incidents:once") or uuid4().hex)


# --- writing ----------------------------------------------------------------------------------------------------------


def public_texts(key: str) -> tuple[str, str]:
    """What everybody may read, in both languages."""
    st.caption(_("Everybody reads this on the status page: no names, no hosts, no causes that are not certain."))
    spanish = st.text_area(
        _("Public text in Spanish"), max_chars=incidents.TEXT_LENGTH, key=f"{key}:es", height="content"
    )
    english = st.text_area(
        _("Public text in English"), max_chars=incidents.TEXT_LENGTH, key=f"{key}:en", height="content"
    )
    return english, spanish


@st.dialog(_("Write an update"), icon=":material/edit_note:", width="medium")
def write_update(one: Any) -> None:
    with st.form("incident-update", border=False):
        st.markdown(f"**{name_of(one.component)}**")
        st.text(title_of(one))
        left, right = st.columns(2)
        status = left.selectbox(
            _("Status"), STATUSES, index=STATUSES.index(one.status), format_func=lambda key: words["status"][key]
        )
        impact = right.selectbox(
            _("Impact"), list(IMPACTS), index=list(IMPACTS).index(one.impact), format_func=lambda key: IMPACTS[key]
        )
        english, spanish = public_texts("incident-update")
        note = st.text_area(
            _("Note for engineers"), max_chars=incidents.TEXT_LENGTH, key="incident-update:note", height="content"
        )
        st.caption(_("Subscribers are told of a public text, and when the incident is resolved or opened again."))
        if st.form_submit_button(_("Publish"), type="primary", icon=":material/send:"):
            assert me is not None
            attempt(
                lambda: incidents.write_update(
                    settings(),
                    me,
                    int(one.id),
                    status=status,
                    impact=impact,
                    public_en=english,
                    public_es=spanish,
                    note=note,
                    once=once(),
                )
            )


@st.dialog(_("Open an incident"), icon=":material/add_alert:", width="medium")
def open_incident() -> None:
    with st.form("incident-open", border=False):
        left, right = st.columns(2)
        component = left.selectbox(_("Component"), list(told.components()), format_func=name_of)
        impact = right.selectbox(_("Impact"), list(IMPACTS), format_func=lambda key: IMPACTS[key])
        title_es = st.text_input(_("Title in Spanish"), max_chars=300, key="incident-open:title-es")
        title_en = st.text_input(_("Title in English"), max_chars=300, key="incident-open:title-en")
        english, spanish = public_texts("incident-open")
        st.caption(_("An incident that a hand opened is ended by a hand."))
        if st.form_submit_button(_("Open the incident"), type="primary", icon=":material/add_alert:"):
            assert me is not None
            attempt(
                lambda: incidents.open_incident(
                    settings(),
                    me,
                    component=component,
                    title_en=title_en,
                    title_es=title_es,
                    impact=impact,
                    public_en=english,
                    public_es=spanish,
                    once=once(),
                )
            )


@st.dialog(_("Set a state by hand"), icon=":material/pan_tool:")
def set_state(component: str) -> None:
    with st.form("incident-state", border=False):
        chosen = st.selectbox(
            _("Component"), list(told.components()), index=list(told.components()).index(component), format_func=name_of
        )
        state = st.selectbox(_("Shown state"), STATES, index=3, format_func=lambda key: words["state"][key])
        reason = st.text_area(_("Reason"), max_chars=incidents.REASON_LENGTH, height="content")
        ends_at = st.datetime_input(
            _("Until"), value=(now + timedelta(hours=1)).replace(tzinfo=None, second=0, microsecond=0), step=300
        )
        st.caption(
            _("Times are those of {zone}. The state is measured again after that, at the latest in 7 days.").format(
                zone=zone.key
            )
        )
        if st.form_submit_button(_("Set"), type="primary", icon=":material/pan_tool:"):
            assert me is not None
            attempt(
                lambda: incidents.set_state(
                    settings(),
                    me,
                    component=chosen,
                    state=state,
                    reason=reason,
                    ends_at=ends_at.replace(tzinfo=zone) if ends_at else None,
                    once=once(),
                )
            )


# --- the components ---------------------------------------------------------------------------------------------------


def contradiction_words(one: Component) -> list[str]:
    """Why a green component is not what is measured."""
    said = []
    names = slos()
    for kind in one.contradictions:
        if kind == "burning":
            which = ", ".join(names[slo].label.in_language(language()) for slo in one.burning)
            said.append(_("its error budget burns too fast ({slos})").format(slos=which))
        elif kind == "missed":
            which = ", ".join(names[slo].label.in_language(language()) for slo in one.missed)
            said.append(_("its error budget is spent ({slos})").format(slos=which))
        elif kind == "probe":
            said.append(_("only {share} of its last probes succeeded").format(share=percent(one.probe)))
        else:
            said.append(_("it has an open incident"))
    return said


def component_row(one: Component) -> None:
    """One component: what is shown, what is measured, and the way to set it."""
    colour, icon = COLOURS[one.state]
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.markdown(f"**{name_of(one.name)}**")
        st.badge(words["state"][one.state], color=colour, icon=icon)  # type: ignore[arg-type]
        if one.override is not None and one.until is not None:
            measured = words["state"][one.computed]
            st.caption(
                _("By hand until {moment}; measured: {state}").format(
                    moment=when(one.until.astimezone(zone)), state=measured
                )
            )
            st.caption(f"“{one.reason}”" if one.reason else "")
        elif one.probe is not None:
            st.caption(_("{share} of the last probes").format(share=percent(one.probe, 0)))
        for sentence in contradiction_words(one):
            st.markdown(f":orange[:material/warning: {_('Green, but {why}').format(why=sentence)}]")
        if writes:
            if one.override is not None:
                if st.button(_("Measure again"), icon=":material/undo:", type="tertiary", key=f"back-{one.name}"):
                    assert me is not None
                    attempt(lambda: incidents.withdraw_state(settings(), me, one.name))
            elif st.button(_("Set by hand"), icon=":material/pan_tool:", type="tertiary", key=f"set-{one.name}"):
                ask_for("state", one.name)


# --- one incident -----------------------------------------------------------------------------------------------------


def links_of(one: Any, alerts: pd.DataFrame) -> None:
    """Where to go on: runbooks, the alert, the objective, the charts of the component."""
    known = runbooks(language())
    named = [name for name in dict.fromkeys([*alerts["alertname"], one.alertname]) if name in known]
    shown = [
        (f"runbooks?alert={name}", f"{_('Runbook')}: {known[name].title}", ":material/construction:") for name in named
    ]
    for name in dict.fromkeys(slo for slo in alerts["slo"] if not pd.isna(slo)):
        label = slos()[name].label.in_language(language()) if name in slos() else name
        shown.append((f"slos?slo={name}", label, ":material/target:"))
    if one.alertname:
        shown.append((f"alerts?alert={one.alertname}", _("Alert"), ":material/notifications:"))
    shown.append(("events?kind=incident&kind=alert&kind=deployment", _("Events"), ":material/event_note:"))
    with st.container(horizontal=True):
        for address, label, icon in shown:
            st.link_button(label, address, icon=icon, type="tertiary")


def status_line(one: Any) -> None:
    """Status, impact, component and times."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(words["status"][one.status], color=STATUS_COLOURS[one.status])  # type: ignore[arg-type]
        st.badge(IMPACTS[one.impact], color="gray")
        st.badge(name_of(one.component), color="gray")
    ended = now if pd.isna(one.ended_at) else one.ended_at
    length = duration((ended - one.started_at).total_seconds())
    begin = _("since {begin}").format(begin=when(one.started_at))
    if not pd.isna(one.ended_at):
        begin = _("{begin} to {end}").format(begin=when(one.started_at), end=when(one.ended_at))
    counts = ngettext("{n} alert", "{n} alerts", int(one.alerts)).format(n=number(one.alerts))
    if one.firing:
        counts += ", " + _("{n} still firing").format(n=number(one.firing))
    st.caption(f"{begin} · {length} · {_('opened by hand') if one.by_hand else counts}")


def said_about(one: Any) -> None:
    """The updates of an incident, the latest first."""
    everything = told.updates_of(since)
    own = everything[everything["incident_id"] == one.id]
    for said in own.itertuples():
        by = (
            _("Mirador")
            if pd.isna(said.created_by)
            else _("you")
            if me and said.created_by == me.id
            else said.created_by
        )
        st.markdown(f"**{KINDS[said.kind]}** · {words['status'][said.status]} · :small[{when(said.created_at)} · {by}]")
        text = said.public_es if language() == "es" else said.public_en
        if not pd.isna(text):
            st.text(text)
        if not pd.isna(said.note):
            st.caption(_("Note for engineers"))
            st.text(said.note)


def show(number_: int) -> None:
    """One incident with all that is known of it."""
    if st.button(_("All incidents"), icon=":material/arrow_back:", type="tertiary"):
        st.query_params.pop("incident", None)
        st.rerun()
    try:
        every = told.incidents_since(since)
    except queries.SourceError as error:
        st.error(_(sentence_of(error)), icon=":material/cloud_off:")
        return
    found = every[every["id"] == number_]
    if found.empty:
        st.warning(
            _("There is no such incident in the last {n} days.").format(n=PAST_DAYS), icon=":material/search_off:"
        )
        return
    one: Any = next(found.itertuples())
    heading, writing = st.columns([4, 1], vertical_alignment="bottom")
    # Not Markdown: the words come from outside.
    heading.subheader(name_of(one.component), anchor=False)
    heading.text(title_of(one))
    if writes and writing.button(_("Write an update"), icon=":material/edit_note:", type="primary", width="stretch"):
        ask_for("update", number_)
    status_line(one)
    left, right = st.columns(2)
    with left:

        @panel(_("What was written"), height=260, key="incident-updates")
        def updates() -> Figure:
            frame = told.updates_of(since)
            said_about(one)
            return Figure(None, frame[frame["incident_id"] == number_], drawn=True)

    with right:

        @panel(_("Its alerts"), height=260, key="incident-alerts")
        def alerts() -> Figure:
            frame = told.alerts_of(number_)
            links_of(one, frame)
            summary = "summary_es" if language() == "es" else "summary_en"
            columns = {
                "alertname": ("text", _("Alert")),
                summary: ("text", _("What it says")),
                "starts_at": ("datetime", _("Began")),
                "ends_at": ("datetime", _("Ended")),
            }
            return table(frame, columns, title=_("Its alerts"))


# --- all of them ------------------------------------------------------------------------------------------------------


def show_all() -> None:
    """Components, open and past incidents, subscribers."""

    @panel(
        _("Components"),
        height=300,
        key="incidents-components",
        refresh=15,
        help=_(
            "What the status page shows. A state is worked out from the probes of the last five minutes, from an "
            "objective whose budget burns as fast as calls somebody, and from open incidents; the worst counts."
        ),
    )
    def component_states() -> None:
        stands, missing = told.components_now()
        for sentence in missing:
            st.caption(f":material/cloud_off: {_(sentence)}")
        with st.grid(4, min_column_width=230):
            for one in stands:
                component_row(one)

    @panel(_("Open incidents"), height=160, key="incidents-open", refresh=15)
    def opened() -> Figure:
        frame = told.open_incidents()
        if frame.empty:
            st.markdown(f":green[:material/check_circle:] {_('No incident is open.')}")
        for one in frame.itertuples():
            with st.container(border=True, gap="xsmall"):
                st.text(title_of(one))
                status_line(one)
                with st.container(horizontal=True):
                    if st.button(_("Details"), icon=":material/arrow_forward:", type="tertiary", key=f"open-{one.id}"):
                        st.query_params["incident"] = str(one.id)
                        st.rerun()
                    update = writes and st.button(
                        _("Write an update"), icon=":material/edit_note:", type="tertiary", key=f"write-{one.id}"
                    )
                    if update:
                        ask_for("update", int(one.id))
        return Figure(None, frame, drawn=True)

    @panel(
        _("Past incidents"), height=300, key="incidents-past", help=_("Those of the last {n} days.").format(n=PAST_DAYS)
    )
    def past() -> Figure:
        frame = told.incidents_since(since)
        ended = frame[frame["ended_at"].notna()].reset_index(drop=True)
        if ended.empty:
            st.caption(_("None in the last {n} days.").format(n=PAST_DAYS))
            return Figure(None, ended, drawn=True)
        shown = pd.DataFrame(
            {
                "started_at": ended["started_at"],
                "component": [name_of(one) for one in ended["component"]],
                "title": ended["title_es" if language() == "es" else "title_en"],
                "minutes": (ended["ended_at"] - ended["started_at"]).dt.total_seconds() / 3600,
                "alerts": ended["alerts"],
                "open": [f"incidents?incident={n}" for n in ended["id"]],
            }
        )
        shown.attrs = dict(frame.attrs)
        columns = {
            "started_at": ("datetime", _("Began")),
            "component": ("text", _("Component")),
            "title": ("text", _("What happened")),
            "minutes": ("hours", _("Lasted")),
            "alerts": ("count", _("Alerts")),
            "open": st.column_config.LinkColumn(_("Details"), display_text=_("open"), width=80),
        }
        return table(shown, columns, title=_("Past incidents"))

    left, right = st.columns(2)
    with left:

        @panel(
            _("Subscribers"),
            height=200,
            key="incidents-subscribers",
            help=_("Who hears of incidents by mail or webhook; no address is shown anywhere."),
        )
        def who() -> Figure:
            if not (settings().public_url and settings().state_url):
                st.caption(
                    ":material/settings: "
                    + _("Nobody can subscribe: links in messages need {variable}.").format(
                        variable="MIRADOR_PUBLIC_URL"
                    )
                )
            elif settings().smtp_url is None:
                st.caption(
                    ":material/settings: "
                    + _("Webhooks only: mail needs {variable}.").format(variable="MIRADOR_SMTP_URL")
                )
            frame = told.subscriber_counts()
            if frame.empty:
                st.caption(_("Nobody has subscribed yet."))
                return Figure(None, frame, drawn=True)
            frame["kind"] = [SUBSCRIBERS.get(kind, kind) for kind in frame["kind"]]
            columns = {
                "kind": ("text", _("By")),
                "confirmed": ("count", _("Confirmed")),
                "unconfirmed": ("count", _("Asked")),
                "waiting": ("count", _("Messages waiting")),
                "sent": ("count", _("Messages sent")),
                "dead": ("count", _("Given up")),
            }
            return table(frame, columns, title=_("Subscribers"))

        @panel(_("Messages that were given up"), height=200, key="incidents-dead")
        def dead() -> Figure:
            frame = told.dead_deliveries()
            if frame.empty:
                st.markdown(f":green[:material/check_circle:] {_('None in the last 30 days.')}")
            for one in frame.head(10).itertuples():
                kind = SUBSCRIBERS.get(one.kind, one.kind)
                st.markdown(
                    f"{kind} · {_('subscriber {n}').format(n=one.subscriber_id)} · :small[{when(one.done_at)} · "
                    f"{ngettext('{n} try', '{n} tries', int(one.tries)).format(n=one.tries)}]"
                )
                st.caption(_(one.error))
                if writes and me is not None:
                    with st.container(horizontal=True):
                        if st.button(_("Try again"), icon=":material/refresh:", type="tertiary", key=f"again-{one.id}"):
                            attempt(lambda one=one: subscribers.try_again(settings(), me, int(one.id)))  # type: ignore[misc]
                        if st.button(
                            _("Remove subscriber"), icon=":material/delete:", type="tertiary", key=f"remove-{one.id}"
                        ):
                            attempt(
                                lambda one=one: subscribers.remove_subscriber(  # type: ignore[misc]
                                    settings(), me, int(one.subscriber_id)
                                )
                            )
            return Figure(None, frame, drawn=True)

    with right:

        @panel(
            _("States set by hand"),
            height=300,
            key="incidents-overrides",
            help=_("Who set a state, why and until when, and who took it back; people are shown by an opaque id."),
        )
        def hands() -> Figure:
            frame = told.override_history()
            if frame.empty:
                st.caption(_("None in the last 90 days."))
                return Figure(None, frame, drawn=True)
            frame["component"] = [name_of(one) for one in frame["component"]]
            frame["state"] = [words["state"].get(one, one) for one in frame["state"]]
            columns = {
                "component": ("text", _("Component")),
                "state": ("text", _("Shown state")),
                "reason": ("text", _("Reason")),
                "starts_at": ("datetime", _("From")),
                "ends_at": ("datetime", _("Until")),
                "created_by": ("text", _("Who")),
                "withdrawn_at": ("datetime", _("Taken back")),
            }
            return table(frame, columns, title=_("States set by hand"))


heading, first, second = st.columns([4, 1.2, 1.2], vertical_alignment="bottom")
heading.title(_("Incidents"), anchor=False)
first.link_button(_("Status page"), "status", icon=":material/public:", width="stretch")
if writes and second.button(_("Open an incident"), icon=":material/add_alert:", type="primary", width="stretch"):
    ask_for("open")
if settings().state_url is None:
    st.caption(
        ":material/settings: "
        + _("Incidents and subscribers need a database of Mirador's own: set {variable}.").format(
            variable="MIRADOR_STATE_URL"
        )
    )
asked = st.query_params.get("incident", "")
if asked.isdigit() and len(asked) < 18:
    show(int(asked))
else:
    show_all()

what, which = st.session_state.pop("incidents:ask", (None, None))
if what == "state":
    set_state(which)
elif what == "open":
    open_incident()
elif what == "update":
    try:
        rows = told.incidents_since(since)
        chosen = next(rows[rows["id"] == which].itertuples(), None)
    except queries.SourceError as error:
        st.error(_(sentence_of(error)), icon=":material/cloud_off:")
    else:
        if chosen is not None:
            write_update(chosen)
