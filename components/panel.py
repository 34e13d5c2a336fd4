"""The panel: the one mechanism that every chart goes through.

    @panel(_("Approval rate by tier"), height=280)
    def approval_rate_by_tier():
        return line(ledger("approval_rate_by_tier", filters), x="day", y="approval_rate", unit="share")

The decorated function is drawn where it stands, in a parallel fragment behind a skeleton, and again every `refresh`
seconds (default: what `set_refresh` was told). It returns a `Figure` or a frame (shown as a table); a panel
that has drawn itself gives a `Figure` with `drawn`, so that its data keeps its menu and its age.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from components.frame import Figure, age_line, answer_of, fill_menu, guarded, menu, refresh_seconds, unstamped
from components.i18n import _


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
            with st.container(border=True, height="stretch", key=f"panel-{name}"):
                head = st.container(
                    horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False
                )
                head.markdown(f"**{title}**", help=help, width="content")
                popover = menu(head, key=name)

                def draw() -> str:
                    with st.skeleton(height=height):
                        figure = _as_figure(make(), title)
                        outcome = _picture(figure, title, height, name)
                    answer = answer_of(figure) if figure else None
                    if figure is not None:
                        fill_menu(popover, title, figure, key=name, definition=help)
                    if answer is None:
                        return outcome
                    words, urgent = age_line(answer)
                    st.caption(f":orange[{words}]" if urgent else words)
                    return "stale" if answer.stale else outcome

                guarded(draw, key=name)

        body()

    return place


def _as_figure(made: Any, title: str) -> Figure | None:
    if made is None or isinstance(made, Figure):
        return made
    if isinstance(made, pd.DataFrame):
        return Figure(None, made, title)
    raise TypeError(f"the panel {title} returned a {type(made).__name__}")


def _picture(figure: Figure | None, title: str, height: int, name: str) -> str:
    if figure is None or figure.drawn:
        return "ok"
    if figure.chart is not None:
        st.altair_chart(figure.chart, key=f"{name}:chart", alt=figure.alt or title)
        return "ok"
    if figure.data.empty:
        with st.container(height=height, border=False, vertical_alignment="center", horizontal_alignment="center"):
            st.caption(_("No data for this choice"), width="content")
        return "empty"
    st.dataframe(unstamped(figure.data), hide_index=True, height=height, key=f"{name}:table", alt=title)
    return "ok"
