"""The panel: the one mechanism that every chart goes through.

    @panel(_("Approval rate by tier"), height=280)
    def approval_rate_by_tier():
        return line(ledger("approval_rate_by_tier", filters), x="day", y="approval_rate", unit="share")

The decorated function is drawn where it stands, in a parallel fragment behind a skeleton, and again every `refresh`
seconds (default: what `set_refresh` was told). It returns a `Figure` or a frame (shown as a table); a panel
that has drawn itself gives a `Figure` with `drawn`, so that its data keeps its menu and its age. When the figure has a
`drill`, a click on a mark opens the rows behind it below the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from components.drill import drillable, generation, grid_height, open_rows, picked_mark
from components.frame import Figure, age_words, answer_of, fill_menu, guarded, menu, refresh_seconds, unstamped, waiting
from components.i18n import _
from components.kept import Drawing
from components.table import as_drawn

# Nothing needs no more room than its sentence.
EMPTY_HEIGHT = 160


def panel(
    title: str, *, height: int = 280, help: str | None = None, refresh: float | None = None, key: str | None = None
) -> Callable[[Callable[[], Any]], None]:
    """Draw the decorated function as a panel; see the module.

    `help` is the definition in a sentence. A failure becomes one sentence and a Retry button inside the panel.
    """

    def place(make: Callable[[], Any]) -> None:
        name = key or make.__name__

        @st.fragment(parallel=True, run_every=refresh or refresh_seconds())
        def body() -> None:
            with st.container(gap="xsmall"):
                head = st.container(
                    horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False
                )
                # It takes what the menu leaves: a long title wraps and does not push the menu off a phone.
                head.markdown(f"**{title}**", help=help, width="stretch")
                popover = menu(head, key=name)

                opened: list[tuple[Figure, pd.Series[Any]]] = []

                def draw() -> str:
                    with waiting(height):
                        figure = _as_figure(make(), title)
                        outcome, mark = _picture(figure, title, height, name)
                    if figure is not None and mark is not None:
                        opened.append((figure, mark))
                    answer = answer_of(figure) if figure else None
                    if figure is not None:
                        fill_menu(popover, title, figure, key=name, definition=help)
                    if answer is None:
                        return outcome
                    st.caption(age_words(answer))
                    return "stale" if answer.stale else outcome

                guarded(draw, key=name)
                for figure, mark in opened:
                    # Rows that cannot be had leave the picture alone.
                    rows = partial(open_rows, figure.drill, mark, key=f"{name}:rows", drawn_at=answer_of(figure))
                    with st.container(key=f"rows-{name}"):
                        guarded(rows, key=f"{name}:rows")

        # The frame stands outside what is drawn anew: so neighbours are equally tall, and it never blinks.
        with st.container(border=True, height="stretch", key=f"panel-{name}"):
            body()

    return place


def _as_figure(made: Any, title: str) -> Figure | None:
    if made is None or isinstance(made, Figure):
        return made
    if isinstance(made, pd.DataFrame):
        return Figure(None, made, title)
    raise TypeError(f"the panel {title} returned a {type(made).__name__}")


def _picture(figure: Figure | None, title: str, height: int, name: str) -> tuple[str, pd.Series[Any] | None]:
    """Draw; gives the outcome and the mark that is picked, if any."""
    if figure is None or figure.drawn:
        return "ok", None
    if figure.chart is not None:
        return "ok", _chart(figure, title, name)
    if figure.data.empty:
        with st.container(
            height=min(height, EMPTY_HEIGHT), border=False, vertical_alignment="center", horizontal_alignment="center"
        ):
            st.caption(_("No data for this choice"), width="content")
        return "empty", None
    return "ok", _table(figure, title, height, name)


def _chart(figure: Figure, title: str, name: str) -> pd.Series[Any] | None:
    alt = figure.alt or title
    # What a chart function made outside `kept` is not checked against the schema here either.
    chart: Any = figure.chart if isinstance(figure.chart, Drawing) else Drawing(figure.chart)
    if not drillable(figure.drill):
        st.altair_chart(chart, key=f"{name}:chart", alt=alt)
        return None
    state = st.altair_chart(
        chart, key=_pickable(f"{name}:chart", name), alt=alt, on_select="rerun", selection_mode="pick"
    )
    marks = figure.data if figure.marks is None else figure.marks
    return picked_mark(state["selection"].get("pick"), marks)


def _table(figure: Figure, title: str, height: int, name: str) -> pd.Series[Any] | None:
    options: dict[str, Any] = {
        "hide_index": True,
        "column_config": figure.columns,
        "placeholder": "",
        "alt": title,
    }
    data = as_drawn(unstamped(figure.data))
    options["height"] = grid_height(len(data), height)
    if not drillable(figure.drill):
        st.dataframe(data, key=f"{name}:table", **options)
        return None
    state = st.dataframe(
        data, key=_pickable(f"{name}:table", name), on_select="rerun", selection_mode="single-row", **options
    )
    rows = state["selection"]["rows"]
    return figure.data.iloc[rows[0]] if rows and rows[0] < len(figure.data) else None


def _pickable(key: str, name: str) -> str:
    """The picture's key: another one after its rows were closed, for only a new picture has nothing picked."""
    closed = generation(f"{name}:rows")
    return f"{key}:{closed}" if closed else key
