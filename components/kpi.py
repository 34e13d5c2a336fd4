"""The KPI card: a number against its normal, with its sparkline, its sense of good or bad, and its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from components.frame import Figure, age_line, fill_menu, guarded, menu, refresh_seconds
from components.i18n import _, duration, is_unknown, money, number, percent, quantity, short_money

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


def kpi_card(label: str, make: Callable[[], Card], *, key: str, page: str | None = None) -> None:
    """Draw a card in a parallel fragment of its own; `page` (a page file) is where its number is explained."""

    @st.fragment(parallel=True, run_every=refresh_seconds())
    def body() -> None:
        with st.container(border=True, height="stretch", gap="xsmall", key=f"kpi-{key}"):
            head = st.container(
                horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap=None, wrap=False
            )
            if page:
                head.page_link(page, label=label, width="stretch")
            else:
                head.markdown(f"**{label}**", width="stretch")
            popover = menu(head, key=f"kpi:{key}")

            def draw() -> str:
                with st.skeleton(height=112):
                    card = make()
                    facts = _draw(label, card)
                figure = Figure(None, card.data)
                fill_menu(popover, label, figure, key=f"kpi:{key}", definition=card.definition)
                answer = card.data.attrs.get("answer")
                words, urgent = age_line(answer) if answer is not None else ("", False)
                # One element for all lines: a card is drawn by five messages, not by eight.
                st.caption(f"{facts}  \n:orange[{words}]" if urgent else f"{facts}  \n:small[{words}]")
                return "stale" if answer is not None and answer.stale else "ok"

            guarded(draw, key=f"kpi:{key}")

    body()


def _draw(label: str, card: Card) -> str:
    """Draw the number and give the lines that stand under it."""
    history = [float(value) for value in card.history if not is_unknown(value)]
    delta, arrow = _delta(card)
    st.metric(
        label,
        quantity(card.value, card.unit, short=True),
        delta,
        delta_color=_COLOUR[card.state],  # type: ignore[arg-type]
        delta_arrow=arrow,  # type: ignore[arg-type]
        label_visibility="collapsed",
        chart_data=history if len(history) > 1 else None,
        chart_type="line",
        help=card.definition,
    )
    return "  \n".join(_facts(card))


def _delta(card: Card) -> tuple[str | None, str]:
    """The distance from the normal: in points for a share, in its own unit for a score, else in per cent."""
    if is_unknown(card.value) or math.isnan(card.normal):
        return None, "off"
    change = float(card.value) - card.normal
    if card.unit == "share":
        words = f"{number(_rounded(change * 100, 1), 1)} {_('pp')}"
    elif card.unit == "score":
        words = number(_rounded(change, 1), 1)
    elif card.normal == 0:
        words = quantity(change, card.unit, short=True)
    else:
        words = percent(_rounded(change / abs(card.normal), 2), 0)
    # What rounds to nothing has no direction: "-0 %" would be neither a change nor none.
    if not any(digit in words for digit in "123456789"):
        return words, "off"
    return f"{'+' if change > 0 else ''}{words}", "up" if change > 0 else "down"


def _rounded(value: float, digits: int) -> float:
    """Rounded, and never a negative zero."""
    return round(value, digits) + 0.0


def _facts(card: Card) -> list[str]:
    """The three lines under the number, on every card the same three so that cards stand in line.

    The exact amount or the target; the normal with its band; what the metrics say.
    """
    first = third = "&nbsp;"
    if card.unit == "mxn" and not is_unknown(card.value):
        first = money(card.value)
    elif card.target is not None:
        mark = "" if card.target_met is None else (":material/check: " if card.target_met else ":material/close: ")
        first = mark + _("Target {target}").format(target=quantity(card.target, card.unit))
    second = _("No comparison at this hour")
    if not math.isnan(card.normal):
        low, high = (_bare(edge, card.unit) for edge in (card.low, card.high))
        normal = quantity(card.normal, card.unit, short=True)
        second = _("Normal {normal} ({low}–{high})").format(normal=normal, low=low, high=high)
    if card.metric_value is not None and card.metric_gap is not None:
        about = round(card.metric_value) if card.unit == "count" else card.metric_value
        third = _("Metrics ≈ {value} ({gap})").format(
            value=quantity(about, card.unit, short=True),
            gap=f"{'+' if card.metric_gap >= 0 else ''}{percent(card.metric_gap)}",
        )
    return [first, second, third]


def _bare(value: float, unit: str) -> str:
    """An edge of the band, without the unit that its middle already carries."""
    if unit == "share":
        return percent(value).removesuffix(" %")
    if unit == "mxn":
        return short_money(value).lstrip("$")
    if unit == "seconds":
        return duration(value).split(" ")[0]
    return quantity(value, unit)
