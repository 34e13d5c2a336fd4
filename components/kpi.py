"""The KPI card: a number against its normal, with its sparkline, its sense of good or bad, and its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from components.frame import Figure, age_line, guarded, menu
from components.i18n import _, is_unknown, money, number, percent, quantity

State = Literal["good", "bad", "normal", "unknown"]
_COLOUR = {"good": "green", "bad": "red", "normal": "gray", "unknown": "gray"}


@dataclass(frozen=True)
class Card:
    """What a card shows. `unit` is a catalogue unit; `normal`, `low` and `high` are NaN where unknown."""

    value: Any
    unit: str
    state: State
    data: pd.DataFrame
    definition: str
    normal: float = math.nan
    low: float = math.nan
    high: float = math.nan
    normal_count: int = 0
    target: float | None = None
    target_met: bool | None = None
    history: Sequence[float] = ()
    metric_value: float | None = None
    metric_gap: float | None = None


def kpi_row(columns: int = 4) -> AbstractContextManager[Any]:
    """A grid for cards: as many beside each other as fit, two on a phone."""
    return st.grid(columns, min_column_width=150, gap="small")


def kpi_card(
    label: str, make: Callable[[], Card], *, key: str, page: str | None = None, refresh: float | None = 60
) -> None:
    """Draw a card in a parallel fragment of its own; `page` (a page file) is where its number is explained."""

    @st.fragment(parallel=True, run_every=refresh)
    def body() -> None:
        with st.container(border=True, height="stretch", gap="xsmall", key=f"kpi-{key}"):
            head = st.container(
                horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap=None
            )
            if page:
                head.page_link(page, label=label, width="content")
            else:
                head.markdown(f"**{label}**", width="content")
            corner = head.container(width="content")

            def draw() -> str:
                with st.skeleton(height=112):
                    card = make()
                    _draw(label, card)
                figure = Figure(None, card.data)
                with corner:
                    menu(label, figure, key=f"kpi:{key}", definition=card.definition)
                answer = card.data.attrs.get("answer")
                if answer is None:
                    return "ok"
                words, urgent = age_line(answer)
                st.caption(f":orange[{words}]" if urgent else f":small[{words}]")
                return "stale" if answer.stale else "ok"

            guarded(label, draw, key=f"kpi:{key}")

    body()


def _draw(label: str, card: Card) -> None:
    history = [float(value) for value in card.history if not is_unknown(value)]
    delta, arrow = _delta(card)
    st.metric(
        label,
        quantity(card.value, card.unit, short=True),
        delta,
        delta_color=_COLOUR[card.state],  # type: ignore[arg-type]
        delta_arrow=arrow,  # type: ignore[arg-type]
        delta_description=_("vs normal") if delta else None,
        label_visibility="collapsed",
        chart_data=history if len(history) > 1 else None,
        chart_type="line",
        help=card.definition,
    )
    for words in _facts(card):
        st.caption(words)


def _delta(card: Card) -> tuple[str | None, str]:
    """The distance from the normal: in points for a share, else in per cent."""
    if is_unknown(card.value) or math.isnan(card.normal):
        return None, "off"
    change = float(card.value) - card.normal
    arrow = "up" if change > 0 else "down" if change < 0 else "off"
    sign = "+" if change > 0 else ""
    if card.unit == "share":
        return f"{sign}{number(change * 100, 1)} {_('pp')}", arrow
    if card.unit == "score":
        return f"{sign}{number(change, 1)}", arrow
    if card.normal == 0:
        return f"{sign}{quantity(change, card.unit, short=True)}", arrow
    return f"{sign}{percent(change / abs(card.normal), 0)}", arrow


def _facts(card: Card) -> list[str]:
    """The lines under the number: exact money, the normal with its band, the target, what the metrics say."""
    facts = []
    if card.unit == "mxn" and not is_unknown(card.value):
        facts.append(money(card.value))
    if not math.isnan(card.normal):
        low, high = (quantity(edge, card.unit, short=True) for edge in (card.low, card.high))
        normal = quantity(card.normal, card.unit, short=True)
        facts.append(_("Normal {normal} ({low} to {high})").format(normal=normal, low=low, high=high))
    else:
        facts.append(_("Too few comparable days"))
    extra = []
    if card.target is not None:
        mark = "" if card.target_met is None else (":material/check: " if card.target_met else ":material/close: ")
        extra.append(mark + _("Target {target}").format(target=quantity(card.target, card.unit)))
    if card.metric_value is not None and card.metric_gap is not None:
        extra.append(
            _("Metrics: about {value} ({gap})").format(
                value=quantity(
                    round(card.metric_value) if card.unit == "count" else card.metric_value, card.unit, short=True
                ),
                gap=f"{'+' if card.metric_gap >= 0 else ''}{percent(card.metric_gap)}",
            )
        )
    return facts + ([" · ".join(extra)] if extra else [])
