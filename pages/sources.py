"""Data sources: who answers, how fast, how old the data is, and what is lost without each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from components import Figure, _, age, ngettext, number, panel, percent
from queries.source_report import source_report

HERE = Path(__file__).parent
REFRESH = 10.0

# Name, what it is asked for, what is lost without it, and the pages that then say so.
SOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "ledger": (
        _("Ledger"),
        _("Counts and money, down to the row: PostgreSQL."),
        _("Every business number. Pages show the last good answers with their age for as long as they have them."),
        (
            *("today", "approvals", "disbursements", "late_payments", "hase", "credit", "conductor", "integrations"),
            "thread",
        ),
    ),
    "metrics": (
        _("Metrics"),
        _("Rates, latencies and health: anything with the Prometheus HTTP API."),
        _("Live rates, API health, the comparison of ledger and metrics, and uptime."),
        ("api_health", "reconciliation", "slos", "metrics_explorer", "today"),
    ),
    "state": (
        _("State database"),
        _("What Mirador itself keeps: events, incidents, silences, subscribers."),
        _("Events on charts, incidents and history of alerts. No page is lost."),
        ("events", "incidents", "alerts", "digest"),
    ),
    "alertmanager": (
        "Alertmanager",
        _("What fires now, and silences."),
        _("Alerts that fire and silences; their history stays."),
        ("alerts", "integrations"),
    ),
    "errors": (
        _("Error tracker"),
        _("Errors with their stack and first release: Sentry's or Bugsink's web API."),
        _("Errors and their events."),
        ("errors", "thread", "integrations"),
    ),
    "logs": (
        _("Logs"),
        _("CloudWatch Logs Insights, or Elasticsearch."),
        _("Log lines of a call, a credit or a trace."),
        ("logs", "thread", "integrations"),
    ),
    "traces": (
        _("Traces"),
        _("Jaeger's query service."),
        _("Waterfalls and the service map."),
        ("traces", "thread", "integrations"),
    ),
    "oncall": (
        "PagerDuty",
        _("Who is on call, until when, and who is next."),
        _("The names of who is on call; alerts reach them all the same."),
        ("alerts",),
    ),
    "uptime": (
        "UptimeRobot",
        _("Uptime as seen from outside."),
        _("The view from outside; the probes of Prometheus stay."),
        ("alerts", "incidents"),
    ),
}
STATES = {
    "ok": (_("answers"), "green", ":material/check_circle:"),
    "slow": (_("slow"), "orange", ":material/hourglass_top:"),
    "down": (_("does not answer"), "red", ":material/error:"),
    "not_configured": (_("not configured"), "gray", ":material/settings:"),
}
CIRCUITS = {
    "closed": _("closed: questions go through"),
    "open": _("open: the last question failed, the next is sent in two seconds"),
    "half_open": _("half open: the last question failed, the next one tries"),
}


def since(moment: Any) -> str:
    """How long ago, in words."""
    return age((datetime.now(UTC) - moment).total_seconds())


def card(row: Any) -> None:
    """One source: its state, how fast and how new, what is wrong, and what it is needed for."""
    name, asked_for, lost, pages = SOURCES[row.source]
    words, colour, icon = STATES[row.state]
    with st.container(border=True, height="stretch", key=f"source-{row.source}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{name}**", width="content")
            st.badge(words, icon=icon, color=colour, width="content")  # type: ignore[arg-type]
        st.caption(asked_for)
        if row.state != "not_configured":
            facts = [] if pd.isna(row.latency) else [f"**{number(row.latency * 1000, 0)} ms**"]
            if not pd.isna(row.last_success):
                facts.append(_("answered {age} ago").format(age=since(row.last_success)))
            if row.state != "down" and not pd.isna(row.last_failure):
                facts.append(_("failed {age} ago").format(age=since(row.last_failure)))
            if not pd.isna(row.data_as_of):
                facts.append(_("data {age} old").format(age=since(row.data_as_of)))
            if facts:
                st.markdown(" · ".join(facts))
        if row.state == "down":
            st.markdown(f":red[:material/error:] {_(row.said)}")
        elif row.said:
            st.caption(f":material/settings: {_(row.said)}" if row.state == "not_configured" else _(row.said))
        if row.circuit:
            asked = int(row.hits + row.misses + row.stale)
            kept = percent((row.hits + row.stale) / asked, 0) if asked else "–"
            st.caption(
                _("Circuit {circuit}. {asked} questions since the start, {kept} from memory, {failed} failed.").format(
                    circuit=CIRCUITS[row.circuit], asked=number(asked), kept=kept, failed=number(int(row.failed))
                )
            )
            if row.in_flight:
                st.caption(
                    ngettext("{n} question waits for it.", "{n} questions wait for it.", int(row.in_flight)).format(
                        n=int(row.in_flight)
                    )
                )
        st.markdown(f":small[**{_('Without it')}**: {lost}]")
        with st.container(horizontal=True, gap="small"):
            for page in pages:
                if (HERE / f"{page}.py").is_file():
                    st.page_link(HERE / f"{page}.py", width="content")


st.title(_("Data sources"), anchor=False)
st.caption(_("Every source that Mirador asks. A source that is down takes no page with it: each panel says so."))


@panel(
    _("How the sources are"),
    height=420,
    help=_("Each source is asked the smallest question, for at most a second."),
    refresh=REFRESH,
)
def how_the_sources_are() -> Figure:
    report = source_report()
    named = report[report["state"] != "not_configured"]
    down = [SOURCES[name][0] for name in named.loc[named["state"] == "down", "source"]]
    if down:
        st.markdown(f":red[:material/error:] {_('Does not answer: {names}.').format(names=', '.join(down))}")
    elif named.empty:
        st.markdown(f":material/settings: {_('No source is configured yet: each card says which setting names it.')}")
    else:
        words = ngettext("{n} source is configured and answers.", "All {n} configured sources answer.", len(named))
        st.markdown(f":green[:material/check_circle:] {words.format(n=len(named))}")
    with st.grid(3, min_column_width=300):
        for row in report.itertuples(index=False):
            card(row)
    return Figure(None, report, drawn=True)
