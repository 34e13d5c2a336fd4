"""What pages of other programs' words share: fields that stand in the URL, a table to pick a row of, safe Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from components.drill import grid_height
from components.frame import Figure, unstamped
from components.table import as_drawn
from components.url import Url, one_of
from components.words import value_name

MOST_TYPED = 200
_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+!|~$:])")


def literal(text: Any) -> str:
    """A text that another program wrote, for Markdown: no link, no picture from elsewhere, no formula, one line."""
    return _SIGNS.sub(r"\\\1", " ".join(str(text).split()))


def text_field(url: Url, key: str, label: str, icon: str) -> str:
    """A field of text; empty by default."""

    def read(texts: list[str]) -> str:
        if len(texts[-1]) > MOST_TYPED:
            raise ValueError(f"{texts[-1][:20]}…")
        return texts[-1].strip()

    url.restore(key, "", read)
    value = st.text_input(
        label, key=key, placeholder=label, max_chars=MOST_TYPED, icon=icon, label_visibility="collapsed"
    ).strip()
    url.keep(key, value, [value], default=not value)
    return value


def name_field(
    url: Url,
    key: str,
    label: str,
    options: Sequence[str],
    *,
    everything: str = "",
    names: Mapping[str, str] | None = None,
    usual: str = "",
) -> str:
    """One of some names, or all of them ("") where `everything` has words for that.

    What a link names stays, even where the names cannot be had. `usual` is offered first where the URL names none.
    """
    known = names or {}
    asked = st.query_params.get(key, "")[:MOST_TYPED]
    values = list(dict.fromkeys([*([""] if everything else []), *options]))
    values += [value for value in dict.fromkeys((asked, st.session_state.get(key))) if value and value not in values]
    usual = usual if usual in values or not values else values[0]
    url.restore(key, usual, one_of(values))
    if st.session_state[key] not in values:
        st.session_state[key] = usual if usual in values else None
    chosen = st.selectbox(
        label,
        values,
        format_func=lambda value: known.get(value, str(value_name(value))) if value else everything,
        key=key,
        label_visibility="collapsed",
        placeholder=label,
    )
    chosen = str(chosen or "")
    # What another viewer would be offered first may differ: the URL says it.
    url.keep(key, chosen, [chosen], default=not chosen)
    return chosen


def pick_row(shown: Figure, key: str, title: str, height: int) -> Any:
    """Draw a table (of `components.table`) of which a row can be picked, and give that row; None while none is."""
    data = as_drawn(unstamped(shown.data))
    state = st.dataframe(
        data,
        key=key,
        hide_index=True,
        height=grid_height(len(data), height),
        column_config=shown.columns,
        placeholder="",
        alt=title,
        on_select="rerun",
        selection_mode="single-row",
    )
    rows = state["selection"]["rows"]
    return shown.data.iloc[rows[0]] if rows and rows[0] < len(shown.data) else None


def leave(*names: str) -> None:
    """Take these out of the URL."""
    for name in names:
        st.query_params.pop(name, None)
