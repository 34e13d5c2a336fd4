"""Runbooks: what do I do now? One for each alert, with the panels that it talks about, live."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

import queries
from app.runbooks import Live, Runbook, runbooks
from components import Figure, _, bar, language, line, ngettext, panel, table

HOURS = 6
DIMENSIONS = {"tier": _("tier"), "reason": _("reason"), "method": _("method"), "bucket": _("days late")}
DIMENSIONS |= {"failure": _("failure"), "integration": _("integration")}
OWNERS = {"engineer": _("engineers"), "analyst": _("analysts"), "executive": _("executives")}
BADGES = {
    "critical": (_("critical"), "red", ":material/e911_emergency:"),
    "warning": (_("warning"), "orange", ":material/warning:"),
    "none": (_("calls nobody"), "gray", ":material/notifications_paused:"),
}
# How the tables are shown; one that is not named here shows all that its query declares.
TABLES = {
    "today/integrations": {
        "integration": ("text", _("Integration")),
        "calls_hour": ("count", _("Calls, last hour")),
        "failed_hour": ("count", _("Failed, last hour")),
        "p95_ms": ("ms", "p95"),
        "last_failure": ("datetime", _("Last failure")),
        "last_error_code": ("text", _("Error code")),
    },
    "disbursements/waiting_now": {
        "credits": ("count", _("Credits that wait")),
        "amount": ("mxn", _("Amount")),
        "over_48h": ("count", _("Over 48 h")),
        "oldest_approved_at": ("datetime", _("Oldest approval")),
    },
}

zone = queries.timezone()
now = datetime.now(zone)
every = runbooks(language())


# --- one runbook ------------------------------------------------------------------------------------------------------


def over_time(live: Live) -> Figure:
    """A named query of the metrics over the last day, a line for each of its segments."""
    query = queries.find_query("metrics", live.name)
    frame = queries.metrics(live.name, {**dict(live.params), "start": now - timedelta(hours=HOURS)})
    parts = [column.name for column in query.columns if column.name not in {"time", "value"}]
    value = next(column for column in query.columns if column.name == "value")
    kpi = dict(live.params).get("kpi")
    unit = value.unit or (queries.catalogue()[kpi].unit if kpi else "count")
    color = parts[0] if parts and parts[0] in frame else None
    return line(frame, x="time", y="value", unit=unit, title=title_of(live), color=color, zero=True, height=220)


def alert_state(alert: str) -> Figure:
    """Whether the alert is active at this moment, and when it was."""
    # The points of a period stand minutes apart: the present is asked for by itself.
    current = queries.metrics("watch/alert_now", {"alert": alert})
    states = set(current["alertstate"]) if "alertstate" in current else set()
    if "firing" in states:
        st.markdown(f":red[:material/notifications_active: **{_('Firing now')}**]")
    elif "pending" in states:
        st.markdown(f":orange[:material/hourglass_top: **{_('Pending: it holds, but not yet for long enough')}**]")
    else:
        st.markdown(f":green[:material/check_circle:] {_('Not active now')}")
    past = over_time(Live("metrics", "watch/alert", (("alert", alert),)))
    if past.data.empty:
        st.caption(_("Not active in the {n} hours before.").format(n=HOURS))
        return Figure(None, current, drawn=True)
    return past


def by_segment(live: Live) -> Figure:
    """A KPI of today by one dimension."""
    one = queries.reading(live.name, now.date(), with_metric=False)
    dimension = dict(live.params)["by"]
    shown = one.segments[one.segments["dimension"] == dimension][["segment", "value"]].reset_index(drop=True)
    shown.attrs["answer"] = one.answer
    return bar(shown, x="segment", y="value", unit=one.kpi.unit, title=title_of(live), color="segment", height=220)


def as_table(live: Live) -> Figure:
    """A named query of the ledger, as it is today."""
    frame = queries.ledger(live.name, {**dict(live.params), "day": now.date()})
    return table(frame, TABLES.get(live.name), title=title_of(live))


def title_of(live: Live) -> str:
    """What a live panel shows, in the viewer's language."""
    params = dict(live.params)
    if live.source == "kpi":
        label = queries.catalogue()[live.name].label.in_language(language())
        return _("{kpi} by {dimension}").format(kpi=label, dimension=DIMENSIONS.get(params["by"], params["by"]))
    if "kpi" in params:
        label = queries.catalogue()[params["kpi"]].label.in_language(language())
        label += f" · {params['segment']}" if "segment" in params else ""
        return _("{kpi}, as the alert reads it").format(kpi=label)
    return _(queries.find_query(live.source, live.name).title)


DRAW = {"metrics": over_time, "ledger": as_table, "kpi": by_segment}


def live_panel(live: Live, key: str) -> None:
    """One live panel of a runbook."""

    @panel(title_of(live), height=220, key=key)
    def draw() -> Figure:
        return DRAW[live.source](live)


def show(one: Runbook) -> None:
    """A runbook: what its rule says, its panels, its text."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(_("All runbooks"), icon=":material/arrow_back:", type="tertiary"):
            st.query_params.pop("alert", None)
            st.rerun()
    st.title(one.title, anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(one.alert, color="gray", icon=":material/notifications:")
        if one.rule is not None:
            words, colour, icon = BADGES.get(one.rule.severity, (one.rule.severity, "gray", ":material/info:"))
            st.badge(words, color=colour, icon=icon)  # type: ignore[arg-type]
            st.badge(_("for {who}").format(who=OWNERS.get(one.rule.owner, one.rule.owner)), color="blue")
    if one.rule is not None:
        with st.expander(_("The rule"), icon=":material/code:"):
            st.code(one.rule.expression, language="promql")
            st.caption(_("Fires when this holds for {wait}.").format(wait=one.rule.wait))
    with st.grid(2, min_column_width=360):

        @panel(_("When the alert was active"), height=120, key=f"runbook-{one.alert}-alert")
        def when_active() -> Figure:
            return alert_state(one.alert)

        for place, live in enumerate(one.panels):
            live_panel(live, f"runbook-{one.alert}-{place}")
    st.caption(_("The panels show the last {n} hours, or today.").format(n=HOURS))
    st.markdown(one.text)


# --- the list ---------------------------------------------------------------------------------------------------------


def cards(title: str, some: list[Runbook]) -> None:
    """A part of the list."""
    if not some:
        return
    st.subheader(title, anchor=False)
    with st.grid(3, min_column_width=280):
        for one in some:
            with st.container(border=True, height="stretch", gap="xsmall"):
                if st.button(one.title, key=f"open-{one.alert}", type="tertiary"):
                    st.query_params["alert"] = one.alert
                    st.rerun()
                st.caption(f"`{one.alert}`")


def show_list() -> None:
    """All runbooks, or those that hold what is searched for."""
    st.title(_("Runbooks"), anchor=False)
    st.caption(_("What to do about each alert, with the panels that it talks about, live."))
    asked = (st.query_params.get("q") or "").strip()[:80]
    words = st.text_input(
        _("Search"),
        value=asked,
        placeholder=_("an alert, a symptom, a cause: NEON, certificate, slow"),
        icon=":material/search:",
        label_visibility="collapsed",
        max_chars=80,
    ).strip()
    if words:
        st.query_params["q"] = words
    else:
        st.query_params.pop("q", None)
    found = [one for one in every.values() if one.holds(words)]
    if not found:
        st.info(_("No runbook holds these words."), icon=":material/search_off:")
        return
    st.caption(ngettext("{n} runbook", "{n} runbooks", len(found)).format(n=len(found)))
    critical = [one for one in found if one.rule is not None and one.rule.severity == "critical"]
    cards(_("Critical: calls whoever is on call"), critical)
    cards(_("Warnings: read in working hours"), [one for one in found if one not in critical])


wanted = (st.query_params.get("alert") or "").strip()
if wanted in every:
    show(every[wanted])
else:
    if wanted:
        st.warning(_("There is no runbook for {alert}.").format(alert=f"`{wanted[:80]}`"), icon=":material/search_off:")
    show_list()
