"""Pages of a list that is read by place: each page says where the next one begins.

place = page_place("calls", asked)
found = queries.rows("rows/calls", asked, after=place)
pager("calls", more=page.more, last=page.last)
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from components.i18n import _


def page_place(key: str, asked: Any) -> Any:
    """The place after which the page begins that was turned to; None for the first. Another question begins anew."""
    if st.session_state.get(f"{key}:asked") != asked:
        st.session_state[f"{key}:asked"], st.session_state[f"{key}:places"] = asked, []
    places = st.session_state[f"{key}:places"]
    return places[-1] if places else None


def pager(key: str, *, more: bool, last: Any) -> None:
    """Newer and older, where there is another page; `last` is the place of the last row shown."""
    places = st.session_state[f"{key}:places"]
    if not places and not more:
        return
    with st.container(horizontal=True):
        st.button(
            _("Newer"),
            key=f"{key}-newer",
            icon=":material/chevron_left:",
            type="tertiary",
            disabled=not places,
            on_click=places.pop,
        )
        st.button(
            _("Older"),
            key=f"{key}-older",
            icon=":material/chevron_right:",
            type="tertiary",
            disabled=not more,
            on_click=places.append,
            args=[last],
        )
