"""Alerts: what fires and what it costs, what is silenced and why, what fired before, and who is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import streamlit as st

import queries
from app import silences, watchdog
from app.auth import viewer
from app.settings import settings
from app.state import NotAllowed
from components import (
    Figure,
    _,
    age,
    bars_over_time,
    filter_bar,
    language,
    line,
    ngettext,
    number,
    panel,
    sentence_of,
    short_money,
    table,
    when,
)
from components.url import Url, one_of
from queries import alerts as told

HERE = Path(__file__).parent
VIEWS = {
    "now": _("Now"),
    "history": _("History"),
    "silences": _("Silences"),
    "on_call": _("On call"),
    "uptime": _("From outside"),
}
SEVERITIES = {
    "critical": (_("critical"), "red", ":material/e911_emergency:"),
    "warning": (_("warning"), "orange", ":material/warning:"),
}
LENGTHS = {"1 h": 1, "4 h": 4, "24 h": 24, "3 d": 72, "7 d": 168}
OTHER = "other"
OUTCOMES = {
    "done": _("done"),
    "refused": _("refused by Alertmanager"),
    "unknown": _("Alertmanager did not answer"),
    "asked": _("asked for"),
}
ACTIONS = {"silenced": _("silenced"), "ended": _("ended")}
# The seed's policy, as the company has agreed on it; PagerDuty says what is set up there.
POLICY = (
    (_("0–15 min"), _("Primary on-call engineer"), _("Phone, SMS and push")),
    (_("15–30 min"), _("Secondary on-call engineer and team lead"), ""),
    (_("after 30 min"), _("Engineering manager and CTO"), ""),
)
STATES = {
    "up": _("up"),
    "seems_down": _("seems down"),
    "down": _("down"),
    "paused": _("paused"),
    "unknown": _("not known"),
}

zone = queries.timezone()
now = datetime.now(zone)
today = now.date()
me = viewer(settings())
engineer = silences.may_silence(me)
roles = me.roles if me is not None else frozenset()
only = (st.query_params.get("alert") or "").strip()[:100]


# --- words ------------------------------------------------------------------------------------------------------------


def severity_badge(severity: str) -> None:
    """The severity in its colour; one that nobody foresaw under its own name."""
    words, colour, icon = SEVERITIES.get(severity, (severity or _("no severity"), "gray", ":material/info:"))
    st.badge(words, color=colour, icon=icon)  # type: ignore[arg-type]


def said(row: Any, what: str) -> str:
    """An annotation in the viewer's language."""
    spanish = str(getattr(row, f"{what}_es", "")) if language() == "es" else ""
    return spanish or str(getattr(row, what, ""))


def since_words(moment: datetime) -> str:
    """Since when, and how long that is."""
    return _("since {when} · {age}").format(when=when(moment), age=age((now - moment).total_seconds()))


def loss_words(loss: told.Loss) -> str:
    """A cost in words, with its MXN."""
    count = round(loss.count)
    amount = short_money(loss.amount) if loss.amount is not None else ""
    since = when(loss.since) if loss.since is not None else ""
    match loss.what:
        case "applications_waiting":
            words = ngettext(
                "{count} application waits ({amount} asked for), since {since}",
                "{count} applications wait ({amount} asked for), since {since}",
                count,
            )
        case "disbursements_waiting":
            words = ngettext(
                "{count} disbursement waits: {amount} not sent", "{count} disbursements wait: {amount} not sent", count
            )
        case "payments_waiting":
            words = ngettext(
                "{count} payment not collected ({amount}), since {since}",
                "{count} payments not collected ({amount}), since {since}",
                count,
            )
        case "applications_missing":
            words = ngettext(
                "about {count} application fewer than normal ({amount}), since {since}",
                "about {count} applications fewer than normal ({amount}), since {since}",
                count,
            )
        case "disbursements_missing":
            words = ngettext(
                "about {count} disbursement fewer than normal ({amount}), since {since}",
                "about {count} disbursements fewer than normal ({amount}), since {since}",
                count,
            )
        case "payments_missing":
            words = ngettext(
                "about {count} payment fewer than normal ({amount}), since {since}",
                "about {count} payments fewer than normal ({amount}), since {since}",
                count,
            )
        case "approvals_missing":
            words = ngettext(
                "about {count} approval fewer than at the normal rate, since {since}",
                "about {count} approvals fewer than at the normal rate, since {since}",
                count,
            )
        case _other:
            words = ngettext(
                "{count} installment 16 to 30 days late: {amount}",
                "{count} installments 16 to 30 days late: {amount}",
                count,
            )
    return words.format(count=number(count), amount=amount, since=since)


def cost_words(row: Any) -> str:
    """What an alert costs, a line a loss; or why none is told."""
    if not told.has_cost(row.alert):
        return f":small[:gray[{_('Costs nothing by itself: it says that something cannot be seen.')}]]"
    try:
        losses = told.cost_of(row.alert, told.labels_of(row.labels), row.starts_at.to_pydatetime(), now, deadline=4)
    except queries.SourceError as error:
        return f":small[:gray[{_('Its cost is not known:')} {_(error.sentence)}]]"
    if not losses:
        return f":small[:gray[{_('It has cost no business so far.')}]]"
    lines = "  \n".join(f":small[{loss_words(one)}]" for one in losses)
    # A dollar sign would begin a formula.
    return f":material/payments: **{_('Cost')}**  \n{lines}".replace("$", "\\$")


def names_of(labels: Mapping[str, str]) -> str:
    """The labels that tell one alert of a name from another."""
    shown = [
        labels[name] for name in ("integration", "component", "source", "instance", "slo", "kpi") if name in labels
    ]
    shown += [labels[name] for name in ("sloth_slo", "contract", "metric") if name in labels]
    return " · ".join(dict.fromkeys(shown))


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Only the alert that the link names."""
    if not only:
        return frame
    kept = frame[frame["alert"] == only].reset_index(drop=True)
    kept.attrs = dict(frame.attrs)
    return kept


def in_state(state: str) -> pd.DataFrame:
    """The alerts of Alertmanager in one state."""
    frame = chosen(told.active())
    kept = frame[frame["state"] == state].reset_index(drop=True)
    kept.attrs = dict(frame.attrs)
    return kept


# --- silencing --------------------------------------------------------------------------------------------------------


def attempt(write: Callable[[], None]) -> None:
    """Do it, and draw the page anew; or say in a sentence why not, and leave everything as it is."""
    try:
        write()
    except (silences.BadSilence, NotAllowed) as error:
        st.error(_(str(error)), icon=":material/error:")
    except queries.SourceError as error:
        st.error(
            f"{_(sentence_of(error))} {_('What you wrote still stands.')}",
            icon=":material/error:",
        )
    else:
        st.rerun()


def end_of() -> datetime | None:
    """The end that the dialog's fields say."""
    length = st.segmented_control(
        _("For how long"),
        [*LENGTHS, OTHER],
        format_func=lambda key: _("until …") if key == OTHER else key,
        default="4 h",
        key="silence:length",
        required=True,
    )
    if length != OTHER:
        return now + timedelta(hours=LENGTHS[str(length)])
    end = st.datetime_input(
        _("Until"),
        value=(now + timedelta(hours=4)).replace(tzinfo=None, second=0, microsecond=0),
        min_value=now.replace(tzinfo=None, second=0, microsecond=0),
        max_value=(now + silences.LONGEST).replace(tzinfo=None, second=0, microsecond=0),
        step=300,
        key="silence:end",
        help=_("Times are those of {zone}.").format(zone=zone.key),
    )
    return end.replace(tzinfo=zone) if end else None


def reason_field(key: str) -> str:
    """Why, for everybody who reads it later."""
    return st.text_area(
        _("Reason"),
        key=key,
        max_chars=silences.REASON_LONGEST,
        height=90,
        placeholder=_("What is being done about it, and by which team. No names of people."),
    )


@st.dialog(_("Silence the alert"), icon=":material/notifications_off:")
def ask_silence(labels: dict[str, str]) -> None:
    """The fields of a silence, its labels filled in from the alert."""
    st.markdown(f"**{labels['alertname']}**")
    options = [name for name in labels if name != "alertname"]
    picked = st.pills(
        _("Only with these labels"),
        options,
        selection_mode="multi",
        default=options,
        format_func=lambda name: f"{name} = {labels[name]}",
        key="silence:labels",
    )
    wanted = {"alertname": labels["alertname"], **{name: labels[name] for name in picked}}
    try:
        # Of what is silenced or inhibited already nothing changes.
        hit = told.matched(told.active(), wanted)
    except queries.SourceError:
        hit = None
    if hit is not None:
        st.caption(
            ngettext("Covers {n} alert that is active now.", "Covers {n} alerts that are active now.", hit).format(
                n=hit
            )
        )
    ends_at = end_of()
    reason = reason_field("silence:reason")
    st.caption(_("It is written down with your opaque id, the reason and the end: everybody reads it under Silences."))
    if st.button(_("Silence"), type="primary", icon=":material/notifications_off:", key="silence:do"):
        once = st.session_state.setdefault("silence:once", uuid4().hex)
        attempt(lambda: silences.silence(settings(), me, matchers=wanted, reason=reason, ends_at=ends_at, once=once))


@st.dialog(_("End the silence?"), icon=":material/notifications_active:")
def ask_end(silence_id: str, matchers: dict[str, str], reason: str) -> None:
    """The question before a silence is ended."""
    st.markdown(f"**{matchers.get('alertname', silence_id)}**")
    st.text(reason)
    why = reason_field("silence:end_reason")
    if st.button(_("End it now"), type="primary", icon=":material/notifications_active:", key="silence:end_do"):
        once = st.session_state.setdefault("silence:once", uuid4().hex)
        attempt(lambda: silences.end_silence(settings(), me, silence_id, matchers=matchers, reason=why, once=once))


def open_dialog(**what: Any) -> None:
    """Note which dialog the next run opens: it must not belong to a panel that is drawn anew meanwhile."""
    st.session_state["alerts:dialog"] = what
    # The form's own number: sent twice, it is done once.
    st.session_state["silence:once"] = uuid4().hex
    for key in ("silence:labels", "silence:length", "silence:end", "silence:reason", "silence:end_reason"):
        st.session_state.pop(key, None)


def open_now() -> None:
    """Leave the panel for a run of the page, which opens the dialog; unless that run is under way already."""
    if "alerts:dialog" in st.session_state:
        st.rerun()


# --- now --------------------------------------------------------------------------------------------------------------


def links(row: Any, labels: dict[str, str]) -> None:
    """Where to go from an alert: its runbook, its panel, its incident; and the button that silences it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            HERE / "runbooks.py",
            label=_("Runbook"),
            icon=":material/construction:",
            query_params={"alert": row.alert},
        )
        found = told.origin(row.dashboard_url, row.starts_at.to_pydatetime(), now)
        if found is not None and found[0] != "alerts" and (HERE / f"{found[0]}.py").is_file():
            st.page_link(HERE / f"{found[0]}.py", label=_("Panel"), icon=":material/monitoring:", query_params=found[1])
        elif found is not None and found[0] == "status":
            st.link_button(_("Status page"), "/status", icon=":material/monitoring:", type="tertiary")
        incident_link(labels)
        if (
            engineer
            and row.state == "firing"
            and st.button(
                _("Silence"),
                key=f"silence-{row.fingerprint}",
                icon=":material/notifications_off:",
                type="tertiary",
                on_click=open_dialog,
                kwargs={"labels": labels},
            )
        ):
            open_now()


def incident_link(labels: Mapping[str, str]) -> None:
    """The open incident of an alert, where there is one."""
    try:
        incident = told.incident_of(labels)
    except queries.SourceError:
        return
    if incident is not None and (HERE / "incidents.py").is_file():
        st.page_link(
            HERE / "incidents.py",
            label=_("Incident {n}").format(n=incident),
            icon=":material/e911_emergency:",
            query_params={"incident": str(incident)},
        )


def card(row: Any) -> Any:
    """One alert; gives the place for its cost, which may take a moment longer."""
    labels = told.labels_of(row.labels)
    with st.container(border=True, height="stretch", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            severity_badge(row.severity)
            st.markdown(f"**{row.alert}**", width="content")
        st.text(said(row, "summary") or row.alert)
        own = names_of(labels)
        st.caption(" · ".join(part for part in (since_words(row.starts_at), own) if part))
        cost = st.empty()
        links(row, labels)
        with st.expander(_("What it says"), icon=":material/label:"):
            if description := said(row, "description"):
                st.text(description)
            st.code("\n".join(f"{name} = {value}" for name, value in labels.items()), language=None, wrap_lines=True)
    return cost


def short_table(frame: pd.DataFrame, title: str, **columns: Any) -> Figure:
    """Alerts as rows: their name, these columns, how severe they are."""
    words = {name: told_[0] for name, told_ in SEVERITIES.items()}
    shown = frame.assign(
        about=[names_of(told.labels_of(text)) for text in frame["labels"]],
        severity=frame["severity"].map(words).fillna(frame["severity"]),
    )
    shown.attrs = dict(frame.attrs)
    first = {"alert": ("text", _("Alert")), "about": ("text", _("Of what"))}
    return table(shown, {**first, **columns, "severity": ("text", _("Severity"))}, title=title)


def said_empty(frame: pd.DataFrame, words: str) -> Figure:
    """A line in place of a table without rows: that nothing is there is the good news, not a lack of data."""
    st.caption(words)
    return Figure(None, frame, drawn=True)


def counts_line(firing: pd.DataFrame) -> None:
    """How many there are of each state, in a line."""
    critical = int((firing["severity"] == "critical").sum())
    said_ = ngettext("{n} fires", "{n} fire", len(firing)).format(n=number(len(firing)))
    first = f":green[:material/check_circle:] {_('Nothing fires.')}"
    if len(firing):
        first = f"**{said_}**"
        if critical:
            first += f" · :red[**{ngettext('{n} critical', '{n} critical', critical).format(n=number(critical))}**]"
    silent, hidden = len(in_state("silenced")), len(in_state("inhibited"))
    if silent:
        first += f" · {ngettext('{n} silenced', '{n} silenced', silent).format(n=number(silent))}"
    if hidden:
        first += f" · {ngettext('{n} inhibited', '{n} inhibited', hidden).format(n=number(hidden))}"
    st.markdown(first)


def show_now() -> None:
    """Everything that is active, the firing ones as cards."""

    @panel(
        _("Firing"),
        height=220,
        help=_(
            "What Alertmanager tells people now. Costs come from the ledger: what waits or is missing while the alert "
            "fires, at most of the last 24 hours. Alerts with one cause tell the same money: do not add them."
        ),
        key="firing",
    )
    def firing() -> Figure:
        frame = in_state("firing")
        counts_line(frame)
        with st.grid(2, min_column_width=320):
            costs = [(row, card(row)) for row in frame.itertuples()]
        for row, place in costs:
            place.markdown(cost_words(row))
        return Figure(None, frame, drawn=True)

    if queries.is_configured("alertmanager"):
        set_aside()

    @panel(
        _("Still pending"),
        height=180,
        help=_("Their condition holds, but not yet for long enough. Only Prometheus knows them."),
        key="pending",
    )
    def pending() -> Figure:
        frame = chosen(told.pending())
        if frame.empty:
            return said_empty(frame, _("Nothing is pending."))
        return short_table(frame, _("Still pending"), since=("datetime", _("Since")))


def set_aside() -> None:
    """What holds and is told to nobody."""
    with st.grid(2, min_column_width=360):

        @panel(_("Silenced"), height=180, help=_("They hold, and somebody has silenced them."), key="silenced")
        def silenced() -> Figure:
            frame = in_state("silenced")
            if frame.empty:
                return said_empty(frame, _("No alert that holds is silenced."))
            return short_table(
                told.with_silence(frame, told.silences()),
                _("Silenced"),
                ends_at=("datetime", _("Silent until")),
                reason=("text", _("Reason")),
            )

        @panel(
            _("Inhibited"),
            height=180,
            help=_("They hold, but another alert says it already: nobody is told."),
            key="inhibited",
        )
        def inhibited() -> Figure:
            frame = in_state("inhibited")
            if frame.empty:
                return said_empty(frame, _("No alert is hidden behind another."))
            return short_table(
                told.with_source(frame, told.active()),
                _("Inhibited"),
                by=("text", _("Says it already")),
                starts_at=st.column_config.DatetimeColumn(_("Since"), format="DD MMM HH:mm"),
            )


# --- history ----------------------------------------------------------------------------------------------------------


def minutes(heading: str) -> Any:
    """A column of whole minutes: nobody compares alerts by the second."""
    return st.column_config.NumberColumn(heading, format="%,d min")


def show_history() -> None:
    """What fired, by day, by alert and one by one, as Alertmanager told it."""
    filters = filter_bar(today, earliest=today - timedelta(days=730), compare=False, events=False)
    span = {"first": filters.first, "last": filters.last}

    @panel(
        _("Alerts by day"),
        height=240,
        help=_("How often each alert began to fire, as Alertmanager told it to /hooks/alertmanager."),
        key="alerts-by-day",
    )
    def by_day() -> Figure:
        frame = queries.state("alerts/by_day", {**span, "alert": only or None})
        if not frame["fired"].sum():
            return Figure(None, frame.iloc[:0])
        return bars_over_time(
            told.busiest(frame, others=_("others")),
            x="day",
            y="fired",
            unit="count",
            title=_("Alerts by day"),
            color="alert" if not only else None,
            height=240,
        )

    # Side by side only where both have room for all of their columns.
    with st.grid(2, min_column_width=560):

        @panel(
            _("Noisiest alerts"),
            height=300,
            help=_("An alert that fires often and ends by itself teaches people not to look: mend it or its limit."),
            key="noisiest",
        )
        def noisiest() -> Figure:
            frame = chosen(queries.state("alerts/noisiest", span))
            return table(
                frame,
                {
                    "alert": ("text", _("Alert")),
                    "fired": ("count", _("Fired")),
                    "mean_minutes": minutes(_("Mean")),
                    "longest_minutes": minutes(_("Longest")),
                    "still_fires": ("count", _("Still fires")),
                    "last_at": ("datetime", _("Last began")),
                },
                title=_("Noisiest alerts"),
            )

        @panel(_("Alerts that fired"), height=300, help=_("The latest first, 500 at most."), key="alert-history")
        def history() -> Figure:
            frame = queries.state("alerts/history", {**span, "alert": only or None})
            return table(
                frame,
                {
                    "starts_at": ("datetime", _("Began")),
                    "minutes": minutes(_("Lasted")),
                    "title": ("text", _("Alert")),
                    "link": st.column_config.LinkColumn(_("Panel"), display_text=_("open"), width=70),
                    "ends_at": ("datetime", _("Ended")),
                },
                title=_("Alerts that fired"),
            )


# --- silences ---------------------------------------------------------------------------------------------------------


def show_silences() -> None:
    """The silences that are kept to, each with its end; and who asked for which."""

    @panel(_("Silences"), height=180, help=_("What Alertmanager keeps quiet, wherever it was made."), key="silences")
    def kept() -> Figure:
        frame = told.silences()
        if frame.empty:
            st.caption(_("Nothing is silenced."))
        with st.grid(2, min_column_width=320):
            for row in frame.itertuples():
                silence_card(row)
        return Figure(None, frame, drawn=True)

    @panel(
        _("Silences made and ended here"),
        height=300,
        help=_("Each with the opaque id of the engineer who asked for it. Written before Alertmanager is asked."),
        key="audit",
    )
    def audit() -> Figure:
        frame = queries.state("alerts/audit", grace=0)
        shown = frame.assign(
            action=frame["action"].map(ACTIONS).fillna(frame["action"]),
            outcome=frame["outcome"].map(OUTCOMES).fillna(frame["outcome"]),
            who=[f"{who} ({_('you')})" if me is not None and who == me.id else who for who in frame["who"]],
        )
        shown.attrs = dict(frame.attrs)
        return table(
            shown,
            {
                "at": ("datetime", _("When")),
                "action": ("text", _("What")),
                "alert": ("text", _("Alert")),
                "reason": ("text", _("Reason")),
                "ends_at": ("datetime", _("Silent until")),
                "who": ("text", _("Who")),
                "outcome": ("text", _("Outcome")),
                "matchers": ("text", _("Labels")),
            },
            title=_("Silences made and ended here"),
        )


def silence_card(row: Any) -> None:
    """One silence: of what, until when, why, by whom."""
    matchers = told.matchers_of(row.matchers)
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.markdown(f"**{matchers.get('alertname', _('several alerts'))}**")
        left = (row.ends_at - now).total_seconds()
        st.caption(
            _("begins {when}").format(when=when(row.starts_at))
            if row.state == "pending"
            else _("until {when} · {age} left").format(when=when(row.ends_at), age=age(left))
        )
        st.text(row.reason or _("No reason was given."))
        st.code("\n".join(f"{name} = {value}" for name, value in matchers.items()), language=None, wrap_lines=True)
        if engineer and st.button(
            _("End it now"),
            key=f"end-{row.silence_id}",
            icon=":material/notifications_active:",
            type="tertiary",
            on_click=open_dialog,
            kwargs={"silence_id": row.silence_id, "matchers": matchers, "reason": row.reason},
        ):
            open_now()


# --- on call ----------------------------------------------------------------------------------------------------------


def show_on_call() -> None:
    """Who is called now and next, and how an alert climbs."""
    left, right = st.columns([3, 2])
    with left:
        if not told.reads_names(roles):
            st.caption(f":material/lock: {_('The names of who is on call are shown to engineers.')}")
        else:
            on_call_panels()
    with right, st.container(border=True):
        st.markdown(f"**{_('Escalation policy of the company')}**")
        for level, (after, who, how) in enumerate(POLICY, start=1):
            st.markdown(
                f"**{_('Level {n}').format(n=level)}** · {after}  \n{who}" + (f"  \n:small[{how}]" if how else "")
            )
        st.caption(_("Rotation: one week, handed over on Monday at 9:00. On-call pay and overtime."))


def on_call_panels() -> None:
    """What PagerDuty says."""

    @panel(
        _("On call now"),
        height=180,
        help=_("From PagerDuty at this moment. Mirador keeps no name: neither in its database nor in its log."),
        key="on-call",
    )
    def on_call() -> Figure:
        frame = told.on_calls(roles)
        for row in frame.itertuples():
            until = _("always") if pd.isna(row.ends_at) else _("until {when}").format(when=when(row.ends_at))
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(_("Level {n}").format(n=row.level), color="blue")
                st.text(row.person, width="content")
                st.caption(" · ".join(part for part in (until, row.schedule) if part))
        if frame.empty:
            st.caption(f":material/warning: {_('Nobody is on call.')}")
        return Figure(None, frame, drawn=True)

    if not settings().pagerduty_token:
        # One line says how: three that say the same would shout.
        return

    @panel(_("Next"), height=240, help=_("The shifts of the next four weeks."), key="shifts")
    def shifts() -> Figure:
        if not settings().pagerduty_schedule:
            words = _("No schedule is configured: set {variable}.").format(variable="MIRADOR_PAGERDUTY_SCHEDULE")
            st.caption(f":material/settings: {words}")
            return Figure(None, told.shifts(roles), drawn=True)
        frame = told.shifts(roles)
        following = told.next_shift(frame, now)
        if following is not None:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.caption(_("from {when}").format(when=when(following["starts_at"])), width="content")
                st.text(following["person"])
        return table(
            frame,
            {
                "person": ("text", _("Who")),
                "starts_at": ("datetime", _("From")),
                "ends_at": ("datetime", _("Until")),
            },
            title=_("Next"),
        )

    @panel(_("Escalation policy in PagerDuty"), height=240, key="levels")
    def levels() -> Figure:
        if not settings().pagerduty_escalation_policy:
            words = _("No escalation policy is configured: set {variable}.")
            st.caption(f":material/settings: {words.format(variable='MIRADOR_PAGERDUTY_ESCALATION_POLICY')}")
            return Figure(None, told.levels(roles), drawn=True)
        return table(
            told.levels(roles),
            {
                "level": ("count", _("Level")),
                "after_minutes": ("count", _("After, min")),
                "target": ("text", _("Who")),
            },
            title=_("Escalation policy in PagerDuty"),
        )


# --- from outside -----------------------------------------------------------------------------------------------------


def show_uptime() -> None:
    """What UptimeRobot sees; Prometheus's own probes stand on the status page."""

    @panel(
        _("Monitors of UptimeRobot"),
        height=240,
        help=_("The share of its checks that succeeded, over the last 90 days. From another network than ours."),
        key="uptime",
    )
    def monitors() -> Figure:
        frame = told.uptime_by_monitor(told.uptime_monitors())
        frame["state"] = frame["state"].map(STATES).fillna(frame["state"])
        return table(
            frame,
            {
                "monitor": ("text", _("Monitor")),
                "state": ("text", _("State now")),
                "uptime": ("share", _("Uptime, 90 days")),
                "component": ("text", _("Component")),
            },
            title=_("Monitors of UptimeRobot"),
        )

    if told.has_uptime():

        @panel(_("Uptime by day"), height=240, key="uptime-days")
        def days() -> Figure:
            return line(
                told.uptime_monitors().dropna(subset=["day", "uptime"]),
                x="day",
                y="uptime",
                unit="share",
                title=_("Uptime by day"),
                color="monitor",
                height=240,
            )


# --- the page ---------------------------------------------------------------------------------------------------------


@st.fragment(run_every="30s")
def dead_mans_switch() -> None:
    """Whether alerts would arrive at all."""
    if settings().hook_token is None:
        words = _("Whether alerts arrive is not watched: set {variable}, and let Alertmanager tell /hooks/watchdog.")
        st.caption(f":material/settings: {words.format(variable='MIRADOR_HOOK_TOKEN')}")
        return
    heard = watchdog.last_heard()
    seconds = (datetime.now(zone) - heard).total_seconds() if heard is not None else None
    if seconds is not None and seconds <= watchdog.SILENT_SECONDS:
        words = _("Alerts arrive: the dead man’s switch was heard {age} ago.").format(age=age(seconds))
        st.caption(f":green[:material/check_circle:] {words}")
        return
    words = (
        _("The dead man’s switch was never heard: no alert would arrive now.")
        if seconds is None
        else _("The dead man’s switch was last heard {age} ago: no alert would arrive now.").format(age=age(seconds))
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.error(words, icon=":material/notification_important:", width="stretch")
        st.page_link(
            HERE / "runbooks.py",
            label=_("Runbook"),
            icon=":material/construction:",
            query_params={"alert": told.WATCHDOG},
        )


def all_alerts() -> None:
    """Back from one alert to all."""
    st.query_params.pop("alert", None)


st.title(_("Alerts"), anchor=False)
dead_mans_switch()
url = Url()
url.restore("view", "now", one_of(tuple(VIEWS)))
view = st.segmented_control(
    _("View"), list(VIEWS), format_func=VIEWS.__getitem__, key="view", required=True, label_visibility="collapsed"
)
url.keep("view", view, [str(view)], default=view == "now")
url.write()
if only and view in {"now", "history"}:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(only, icon=":material/filter_alt:", color="blue")
        st.button(_("All alerts"), icon=":material/close:", type="tertiary", on_click=all_alerts)
        st.page_link(
            HERE / "runbooks.py",
            label=_("Runbook"),
            icon=":material/construction:",
            query_params={"alert": only},
        )
{
    "now": show_now,
    "history": show_history,
    "silences": show_silences,
    "on_call": show_on_call,
    "uptime": show_uptime,
}[str(view)]()

asked = st.session_state.pop("alerts:dialog", None)
if asked is not None and engineer:
    if "labels" in asked:
        ask_silence(asked["labels"])
    else:
        ask_end(**asked)
