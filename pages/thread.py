"""One thread: everything known of one request, trace, credit, application or driver, in order of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.settings import settings
from components import (
    Figure,
    _,
    choice_filter,
    duration,
    id_search,
    money,
    ngettext,
    number,
    panel,
    sentence_of,
    timeline,
    value_name,
    when,
)
from components.drill import grid_height
from components.window import window_bar, window_params
from queries import threads

HERE = Path(__file__).parent
# How other pages' links name an id.
NAMES = ("request", "trace", "credit", "application", "conductor")
LENGTHS = {"auto": None, "hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=30)}
AROUND = timedelta(minutes=5)
LANES = {
    "ledger": _("Ledger"),
    "call": _("Calls"),
    "log": _("Logs"),
    "span": _("Spans"),
    "error": _("Errors"),
    "alert": _("Alerts and changes"),
    "incident": _("Incidents"),
}
KINDS = {
    "request": _("Request"),
    "trace": _("Trace"),
    "credit": _("Credit"),
    "application": _("Application"),
    "conductor": _("Driver"),
}
LEDGER_KINDS = {
    "application": _("Application"),
    "score": _("HASE score"),
    "decision": _("Decision"),
    "disbursement": _("Disbursement"),
    "installment": _("Installment"),
    "payment": _("Payment"),
    "call": _("Call"),
}
EVENT_KINDS = {"alert": _("Alert"), "incident": _("Incident"), "deployment": _("Deployment")}
# What is shorter than this share of the period is drawn as a moment: as a bar nobody would see it.
SEEN = 1 / 250
STATES = {"failed": "✗", "good": "✓"}
OPEN = {
    "integrations": (_("Its call"), "hub"),
    "logs": (_("Its log lines"), "notes"),
    "traces": (_("Its trace"), "timeline"),
    "errors": (_("Its error"), "bug_report"),
    "credit": (_("Its credit"), "receipt_long"),
    "conductor": (_("Its application"), "badge"),
    "events": (_("Events"), "event_note"),
}

who = viewer(settings())
roles = who.roles if who else frozenset()
now = datetime.now(queries.timezone())


def asked_id() -> str:
    """What the box holds; a link of another page names the id by its kind, and fills the box."""
    asked = {name: value for name in NAMES if (value := (st.query_params.get(name) or "").strip()[:128])}
    if asked:
        kind, linked = next(iter(asked.items()))
        for name in NAMES:
            st.query_params.pop(name, None)
        st.query_params["id"] = linked
        st.session_state["thread:linked"] = {linked: kind}
    return id_search(_("Find an id"), placeholder=_("Id of a request, trace, credit, application or driver"))


heading, finder = st.columns([3, 2], vertical_alignment="bottom")
with finder:
    typed = asked_id()
heading.title(_("One thread"), anchor=False)
if not typed:
    st.caption(
        _(
            "Type the id of a request, a trace, a credit, an application or a driver: ledger, calls, log lines, spans, "
            "errors, alerts and incidents then stand on one line of time. Calls, logs and traces lead here, too."
        )
    )
    st.stop()
try:
    known = threads.known_as(typed)
    if known.kind is None and typed != typed.upper():
        # Ids of credits are mostly written in capitals and typed without.
        capitals = threads.known_as(typed.upper())
        known = capitals if capitals.kind else known
except queries.SourceError as error:
    if error.kind == "not_configured":
        st.caption(f":material/settings: {_(sentence_of(error))}")
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":red[:material/error:] {_(sentence_of(error))}", width="content")
            st.button(_("Retry"), icon=":material/refresh:", type="tertiary")
    if not threads.has_others():
        st.stop()
    # The other sources are asked all the same: they tell why the ledger is away.
    known = threads.named(typed, st.session_state.get("thread:linked", {}).get(typed))
    unheard = True
else:
    unheard = False


def heads() -> None:
    """What the id is, and the pages that tell more of it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if known.kind is None:
            if not unheard:
                st.badge(_("Not in the ledger"), icon=":material/help:", color="orange")
            st.caption(_("It is looked for in logs, traces and errors as the id of a request."), width="content")
            return
        st.badge(KINDS[known.kind], color="blue")
        for credit in known.credits[:3]:
            label = f"{_('Credit')} {credit}"
            st.page_link(HERE / "credit.py", label=label, icon=":material/receipt_long:", query_params={"id": credit})
        if known.conductor or known.applications:
            one = known.conductor or known.applications[0]
            label = f"{_('Driver')} {known.conductor}" if known.conductor else f"{_('Application')} {one}"
            st.page_link(HERE / "conductor.py", label=label, icon=":material/badge:", query_params={"id": one})


heads()
exact = window_bar(now, earliest=now - timedelta(days=1100), longest=threads.LONGEST)
if exact:
    start, end = exact.start, exact.end
else:
    around = known.kind in {"request", "trace"}
    names = {
        "auto": _("Half an hour around it") if around else _("Last 30 days"),
        "hour": _("One hour") if around else _("Last hour"),
        "day": _("One day") if around else _("Last day"),
    }
    if around:
        names["month"] = _("30 days")
    chosen = choice_filter(_("Period"), tuple(names), names, key="around")
    start, end = threads.period_of(known, LENGTHS[chosen], now)
chosen_sources = st.pills(
    _("Shown"),
    threads.SOURCES,
    format_func=LANES.__getitem__,
    selection_mode="multi",
    default=None,
    key="sources",
    label_visibility="collapsed",
)


def thread() -> threads.Thread:
    """The thread of the period, whatever is shown of it."""
    return threads.open_thread(known, start, end, roles)


def shown(moments: pd.DataFrame) -> pd.DataFrame:
    """The moments of the sources that are chosen; of all when none is."""
    part = moments[moments["source"].isin(chosen_sources)] if chosen_sources else moments
    part.attrs = dict(moments.attrs)
    return part


def still_running(moments: pd.DataFrame) -> pd.Series[bool]:
    """Whether an alert or incident has no end yet; a deployment is a moment."""
    return moments["kind"].isin(("alert", "incident")) & moments["until"].isna()


def what_of(row: Any) -> str:
    """A moment in words: the ledger's keys in the viewer's language, what programs wrote as it is."""
    return str(value_name(row.what)) if row.source in {"ledger", "call"} else str(row.what)


def kind_of(row: Any) -> str:
    """The kind beside it: of the ledger and of events in the viewer's language."""
    if row.source in {"ledger", "call"}:
        return LEDGER_KINDS.get(row.kind, row.kind)
    return EVENT_KINDS.get(row.kind, str(row.kind)) if row.source in {"alert", "incident"} else str(row.kind)


def tell_notes(found: threads.Thread) -> None:
    """What is missing and why, and whose clock is wrong."""
    for row in found.skews.itertuples(index=False):
        words = (
            _("The clock of {source} is about {seconds} s ahead of the ledger's: the order of moments may be wrong.")
            if row.seconds > 0
            else _("The clock of {source} is about {seconds} s behind the ledger's: the order of moments may be wrong.")
        )
        said = words.format(source=LANES[row.source], seconds=number(abs(row.seconds), 1))
        st.markdown(f":orange[:material/schedule:] :small[{said}]")
    for source, sentence in found.notes:
        st.caption(f"{LANES[source]}: {_(sentence)}")


@panel(
    _("Timeline"),
    height=260,
    help=_(
        "Every moment of the period that any source knows of this id, by source. What failed is red. Alerts and "
        "incidents are all those that ran meanwhile."
    ),
    key="thread-timeline",
)
def thread_timeline() -> Figure:
    found = thread()
    moments = shown(found.moments)
    told = moments.assign(
        kind=moments["source"],
        running=still_running(moments),
        until=moments["until"].where(moments["until"] - moments["at"] >= (end - start) * SEEN),
        what=[f"{kind_of(row)}: {what_of(row)}"[:160] for row in moments.itertuples(index=False)],
        amount=[money(value) if not pd.isna(value) else "" for value in moments["amount"]],
        detail=moments["detail"].str.slice(0, 160),
    )
    told.attrs = dict(moments.attrs)
    tell_notes(found)
    return timeline(told, lanes=LANES, title=_("Timeline"), now=now, within=(start, end))


def open_moment(row: Any) -> None:
    """All of one moment, and where it leads."""
    st.code(what_of(row) or " ", language=None, wrap_lines=True)
    around = window_params(row.at.to_pydatetime() - AROUND, row.at.to_pydatetime() + AROUND)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        page, params = row.link
        label, icon = OPEN[page]
        # The period travels along between the pages of engineers.
        more = around if page in {"logs", "traces", "errors", "integrations"} else {}
        if page in {"traces", "errors", "integrations"} and (integration := st.query_params.get("integration")):
            more = {**more, "integration": integration}
        leads = [(page, label, icon, {**params, **more})]
        if row.request_id and page != "logs":
            leads.append(("logs", *OPEN["logs"], {"request": row.request_id, **around}))
        if row.trace_id and page != "traces":
            leads.append(("traces", *OPEN["traces"], {"trace": row.trace_id, **around}))
        for name, words, sign, asked in leads:
            if (HERE / f"{name}.py").is_file():
                st.page_link(
                    HERE / f"{name}.py", label=words, icon=f":material/{sign}:", query_params=asked, width="content"
                )


@panel(
    _("All that happened"),
    height=420,
    help=_("The moments in order of time. Pick one for all of it, and for the page that knows more."),
    key="thread-moments",
)
def thread_moments() -> Figure:
    moments = shown(thread().moments)
    if moments.empty:
        st.caption(_("Nothing is known of this id in the period: choose a longer one."))
        return Figure(None, moments, drawn=True)
    st.caption(
        ngettext("{n} moment, {first} to {last}", "{n} moments, {first} to {last}", len(moments)).format(
            n=number(len(moments)), first=when(moments["at"].iloc[0]), last=when(moments["at"].iloc[-1])
        )
    )
    rows = list(moments.itertuples(index=False))
    drawn = pd.DataFrame(
        {
            "at": moments["at"].dt.tz_localize(None),
            "source": [LANES[row.source] for row in rows],
            "state": [STATES.get(row.state, "") for row in rows],
            "kind": [kind_of(row) for row in rows],
            "what": [what_of(row)[:300] for row in rows],
            "lasted": [
                (_("runs still") if running else "")
                if pd.isna(row.until)
                else duration((row.until - row.at).total_seconds())
                if row.duration_ms is pd.NA
                else f"{number(int(row.duration_ms))} ms"
                for row, running in zip(rows, still_running(moments), strict=True)
            ],
            "amount": ["" if pd.isna(row.amount) else money(row.amount) for row in rows],
            "detail": [row.detail[:200] for row in rows],
        }
    )
    state = st.dataframe(
        drawn,
        hide_index=True,
        height=grid_height(len(drawn), 420),
        key="thread:table",
        # A request without money has no column of it.
        column_order=[name for name in drawn.columns if name != "amount" or drawn[name].any()],
        on_select="rerun",
        selection_mode="single-row",
        alt=_("All that happened"),
        column_config={
            "at": st.column_config.DatetimeColumn(_("When"), format="DD MMM HH:mm:ss.SSS", width=150),
            "source": st.column_config.TextColumn(_("Source"), width=145),
            "state": st.column_config.TextColumn("", width=30),
            "kind": st.column_config.TextColumn(_("Kind"), width=110),
            "what": st.column_config.TextColumn(_("What"), width=275),
            "lasted": st.column_config.TextColumn(_("Lasted"), width=70),
            "amount": st.column_config.TextColumn(_("Amount"), width=90, alignment="right"),
            "detail": st.column_config.TextColumn(_("Detail")),
        },
    )
    picked = state["selection"]["rows"]
    if picked and picked[0] < len(rows):
        open_moment(rows[picked[0]])
    plain = moments.drop(columns="link")
    plain.attrs = dict(moments.attrs)
    return Figure(None, plain, drawn=True)
