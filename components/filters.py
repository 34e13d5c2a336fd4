"""Filters: widgets whose values stand in the URL, so that a link reopens what its sender saw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import streamlit as st

from components.i18n import _


def day_filter(today: date, *, earliest: date, key: str = "day") -> date:
    """The business day to look at; today when the URL names none. A day out of reach is told and today is shown."""
    asked = st.query_params.get(key)
    if asked is not None and key not in st.session_state:
        try:
            inside = earliest <= date.fromisoformat(asked) <= today
        except ValueError:
            inside = False
        if not inside:
            st.warning(
                _(
                    "The link asks for the day “{day}”, which is not one between {first} and {last}: today is shown."
                ).format(day=asked[:20], first=earliest.isoformat(), last=today.isoformat()),
                icon=":material/event_busy:",
            )
    chosen = st.date_input(
        _("Business day"),
        value=today,
        min_value=earliest,
        max_value=today,
        key=key,
        bind="query-params",
        format="YYYY-MM-DD",
        label_visibility="collapsed",
        width=150,
    )
    return chosen if isinstance(chosen, date) else today


def choice_filter(label: str, options: Sequence[str], names: dict[str, str], *, key: str) -> str:
    """One of a few, as a row of buttons; the first when the URL names none or an unknown one."""
    chosen = st.segmented_control(
        label,
        list(options),
        format_func=lambda option: names.get(option, option),
        default=options[0],
        key=key,
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    return str(chosen or options[0])
