"""The frame around every page: login, navigation, language, and a line about the data. It runs on each interaction.

So it stays cheap: what takes time happens once, at import or behind a cache, and pages do the rest.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

# Streamlit puts app/ itself on the path, not the folder above it.
if (_root := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, _root)

import sentry_sdk
import streamlit as st

import components
import queries
from app import rollups, tracing
from app.auth import login_required, providers, viewer
from app.download import LedgerRows
from app.settings import connect, settings
from components import _

PAGES = Path(_root) / "pages"


def rooms() -> dict[str, list[tuple[str, str, str]]]:
    """Every page by audience: (url path, title, icon). One whose file is not there yet is not offered."""
    return {
        _("Overview"): [("today", _("Today"), "today")],
        _("Analysts"): [
            ("approvals", _("Approvals"), "fact_check"),
            ("disbursements", _("Disbursements"), "payments"),
            ("late_payments", _("Late payments"), "event_busy"),
            ("hase", _("HASE scores"), "speed"),
            ("credit", _("Credit"), "receipt_long"),
            ("conductor", _("Driver"), "badge"),
            ("events", _("Events"), "event_note"),
            ("explore", _("Explore"), "query_stats"),
        ],
        _("Engineers"): [
            ("integrations", _("Integrations"), "hub"),
            ("api_health", _("API health"), "monitor_heart"),
            ("errors", _("Errors"), "bug_report"),
            ("logs", _("Logs"), "notes"),
            ("traces", _("Traces"), "timeline"),
            ("thread", _("One thread"), "conversion_path"),
            ("metrics_explorer", _("Metrics explorer"), "troubleshoot"),
            ("alerts", _("Alerts"), "notifications"),
            ("incidents", _("Incidents"), "emergency_home"),
            ("slos", _("SLOs"), "target"),
            ("reconciliation", _("Reconciliation"), "balance"),
            ("sources", _("Data sources"), "database"),
        ],
        _("Everyone"): [
            ("catalogue", _("Catalogue"), "menu_book"),
            ("digest", _("Digest"), "mail"),
            ("runbooks", _("Runbooks"), "construction"),
        ],
    }


def navigation() -> dict[str, list[st.Page]]:
    """The groups of `rooms` with a page each for the files that exist; empty groups fall away."""
    groups = {
        group: [
            st.Page(
                PAGES / f"{path}.py",
                title=title,
                icon=f":material/{icon}:",
                url_path=None if path == "today" else path,
                default=path == "today",
            )
            for path, title, icon in entries
            if (PAGES / f"{path}.py").is_file()
        ]
        for group, entries in rooms().items()
    }
    return {group: pages for group, pages in groups.items() if pages}


@st.fragment(run_every="30s")
def data_state() -> None:
    """A quiet line for each source: when it last answered, or what is wrong, or how to name it."""
    names = {"ledger": _("Ledger"), "metrics": _("Metrics")}
    variables = {"ledger": "MIRADOR_LEDGER_URL", "metrics": "MIRADOR_PROMETHEUS_URL"}
    states = queries.source_states()
    for source, name in names.items():
        state = states.get(source)
        if state is None:
            said = _("not configured: set {variable}").format(variable=variables[source])
        elif state.up is False:
            said = _(state.last_error or "does not answer")
        elif state.last_success is None:
            said = _("not asked yet")
        else:
            seconds = (datetime.now(UTC) - state.last_success).total_seconds()
            said = _("answered {age} ago").format(age=components.age(seconds))
        st.caption(f"{name}: {said}")
    own = states.get("state")
    if own is not None and own.up is False:
        # The database of Mirador's own is told only when it is away: the charts then lack its events.
        st.caption(f"{_('Events')}: {_(own.last_error or 'does not answer')}")
    _rollups_line()


def _rollups_line() -> None:
    """How old the daily tables are, or why pages count from rows."""
    try:
        # This line is drawn before the page: it must not wait for a ledger that hangs.
        states = queries.rollup_states(deadline=0.2)
    except queries.SourceError:
        # The line of the ledger says it.
        return
    reason = rollups.why_rows(states)
    if reason is not None:
        st.caption(_("Pages count from rows: {reason}").format(reason=_(reason)))
    elif states.refreshed_at is not None:
        seconds = (datetime.now(UTC) - states.refreshed_at).total_seconds()
        st.caption(_("Daily tables: {age} old").format(age=components.age(seconds)))


configuration = settings()
connect(configuration, while_waiting=components.stop_if_left)
components.set_default_language(configuration.language)
components.set_refresh(configuration.refresh)
components.on_rows(LedgerRows())
st.set_page_config(page_title="Mirador", page_icon=str(Path(__file__).with_name("mirador.png")), layout="wide")

who = viewer(configuration)
if who is None:
    st.title("Mirador")
    for provider in providers():
        label = f"{_('Log in')}: {provider}" if provider else _("Log in")
        st.button(
            label, on_click=st.login, args=[provider] if provider else [], type="primary", key=f"login:{provider}"
        )
    st.stop()
# For error reports: the opaque id and nothing else of a person.
sentry_sdk.set_user({"id": who.id})

# Every page in sight: one behind "view more" is one that nobody finds.
page = st.navigation(navigation(), expanded=True)
with st.sidebar:
    components.language_switch()
    if login_required():
        st.button(_("Log out"), on_click=st.logout)
    data_state()
with tracing.page(page.url_path or "today"):
    page.run()
