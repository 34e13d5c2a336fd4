"""Links from page to page: what is looked at travels with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from components import _, clock, when
from components.fields import literal

PAGES = Path(__file__).resolve().parent.parent / "pages"


def lead(page: str, label: str, icon: str, params: Mapping[str, Any]) -> None:
    """A link to a page by its name, where there is such a page."""
    if (PAGES / f"{page}.py").is_file():
        st.page_link(
            PAGES / f"{page}.py", label=label, icon=f":material/{icon}:", query_params=dict(params), width="content"
        )


def alert_links(found: pd.DataFrame, params: Mapping[str, Any]) -> None:
    """Alerts of `alerts.active`, each as a link to it that carries these parameters."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for row in found.itertuples():
            silent = row.state == "silenced"
            colour = "gray" if silent else "red" if row.severity == "critical" else "orange"
            # Of today the time says enough, and a phone has room for no more.
            today = row.starts_at.date() == datetime.now(row.starts_at.tzinfo).date()
            since = _("since {when}").format(when=clock(row.starts_at) if today else when(row.starts_at))
            words = f"{since} · {_('silenced')}" if silent else since
            icon = "notifications_off" if silent else "notifications_active"
            label = f":{colour}[**{literal(row.alert)}**] :small[{words}]"
            lead("alerts", label, icon, {**params, "alert": row.alert})
