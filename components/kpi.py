"""The KPI card: a number against its normal, with its sparkline, its sense of good or bad, and its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from components.frame import Figure, age_line, fill_menu, guarded, refresh_seconds, row_menu, waiting
from components.i18n import _, duration, is_unknown, money, number, percent, quantity, short_money

State = Literal["good", "bad", "normal", "unknown"]
_COLOUR = {"good": "green", "bad": "red", "normal": "gray", "unknown": "gray"}


@dataclass(frozen=True)
class Mark:
    """How a number stands to its other source, in a word or two that lead to `page` (a page file) with `params`."""

    words: str
    icon: str
    color: str
    page: str
    params: Mapping[str, str]
    help: str = ""


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


@dataclass(frozen=True)
class Number:
    """A number of a frame for a light card; `data` is the frame it comes from, with its stamp.

    `other` is its value in the compared period, `better` the direction that is good, `note` a line of one's own under
    the number (by default the exact amount, or the target).
    """

    value: Any
    unit: str
    data: pd.DataFrame
    other: Any = None
    better: Literal["up", "down", "none"] = "none"
    definition: str | None = None
    target: float | None = None
    note: str = ""


# The cards of the row that is being placed, by key: what the row's menu shows.
_cards: ContextVar[dict[str, tuple[str, Callable[[], Any]]] | None] = ContextVar("cards", default=None)


@contextmanager
def kpi_row(columns: int = 4) -> Iterator[None]:
    """A grid for cards: as many beside each other as fit, two on a phone; below it one menu for all of them.

    A menu on each card cost a page of ten a tenth of its time, and was ten dots more to look at.
    """
    cards: dict[str, tuple[str, Callable[[], Any]]] = {}
    token = _cards.set(cards)
    try:
        with st.grid(columns, min_column_width=150, gap="small"):
            yield
    finally:
        _cards.reset(token)
    if cards:
        _row_menu(cards)


def _row_menu(cards: Mapping[str, tuple[str, Callable[[], Any]]]) -> None:
    """Query, data and definition of one card, chosen by its label."""
    name = f"kpis:{next(iter(cards))}"

    @st.fragment
    def body() -> None:
        with st.container(horizontal=True, horizontal_alignment="right"):
            popover = row_menu(key=name)
        if not popover.open:
            return
        with popover:
            chosen = st.selectbox(
                _("Key figure"), list(cards), format_func=lambda key: cards[key][0], key=f"{name}:card", width=280
            )
            label, make = cards[chosen]

            def fill() -> None:
                card = make()
                fill_menu(popover, label, Figure(None, card.data), key=f"kpi:{chosen}", definition=card.definition)

            guarded(fill, key=f"{name}:menu")

    body()


def kpi_card(
    label: str,
    make: Callable[[], Card],
    *,
    key: str,
    page: str | None = None,
    mark: Callable[[], Mark | None] | None = None,
) -> None:
    """Draw a card in a parallel fragment of its own; `page` (a page file) is where its number is explained.

    `mark` says at once, from memory, what is known of the number beside it; it then stands for what the metrics say.
    """
    _placed(label, make, _draw, key=key, page=page, mark=mark, height=112)


def number_card(
    label: str,
    make: Callable[[], Number],
    *,
    key: str,
    page: str | None = None,
    mark: Callable[[], Mark | None] | None = None,
) -> None:
    """Draw a light card for a number of a frame, against the compared period; otherwise as `kpi_card`."""
    _placed(label, make, _draw_number, key=key, page=page, mark=mark, height=88)


def _placed(
    label: str,
    make: Callable[[], Any],
    draw_number: Callable[[str, Any], str],
    *,
    key: str,
    page: str | None,
    mark: Callable[[], Mark | None] | None,
    height: int,
) -> None:
    """The card around a number: its parallel fragment, title and age. `draw_number` gives the lines below it."""

    cards = _cards.get()
    if cards is not None:
        cards[key] = (label, make)

    @st.fragment(parallel=True, run_every=refresh_seconds())
    def body() -> None:
        with st.container(gap="xsmall"):
            st.markdown(f"**{label}**")

            def draw() -> str:
                with waiting(height):
                    card = make()
                    facts = draw_number(label, card)
                marked = mark() if mark is not None else None
                answer = card.data.attrs.get("answer")
                words, urgent = age_line(answer) if answer is not None else ("", False)
                said = f":orange[{words}]" if urgent else f":small[{words}]"
                # One element for all lines: each costs the browser some milliseconds.
                st.caption(f"{facts}  \n{said}" if facts else said)
                mark_link(marked)
                return "stale" if answer is not None and answer.stale else "ok"

            guarded(draw, key=f"kpi:{key}")
            if page:
                # By its own name, below: a title that was the link would be cut on a phone, and an arrow beside the
                # title needs a container of its own, which cost Today a tenth of its time.
                st.page_link(page, icon=":material/arrow_forward:")

    # The frame stands outside what is drawn anew: so neighbours are equally tall.
    with st.container(border=True, height="stretch", key=f"kpi-{key}"):
        body()


def mark_link(mark: Mark | None) -> None:
    """The mark alone, for numbers that stand together in one panel; nothing where nothing is known."""
    if mark is not None:
        st.page_link(
            mark.page,
            label=f":{mark.color}[:material/{mark.icon}:] :small[{mark.words}]",
            help=mark.help or None,
            query_params=dict(mark.params),
        )


def _draw(label: str, card: Card) -> str:
    """Draw the number and give the lines that stand under it."""
    history = [float(value) for value in card.history if not is_unknown(value)]
    delta, arrow = _delta(card)
    st.metric(
        label,
        quantity(card.value, card.unit, short=True),
        delta,
        # A distance that reads as none is neither good nor bad.
        delta_color="gray" if arrow == "off" else _COLOUR[card.state],  # type: ignore[arg-type]
        delta_arrow=arrow,  # type: ignore[arg-type]
        label_visibility="collapsed",
        chart_data=history if len(history) > 1 else None,
        chart_type="line",
    )
    return "  \n".join(_facts(card))


def _draw_number(label: str, one: Number) -> str:
    """Draw the number with its distance to the compared period, and give the lines that stand under it."""
    other = math.nan if is_unknown(one.other) else float(one.other)
    delta, arrow = distance_words(one.value, other, one.unit)
    good = {"up": "normal", "down": "inverse", "none": "off"}[one.better]
    st.metric(
        label,
        quantity(one.value, one.unit, short=True),
        delta,
        # What has no direction has no colour either.
        delta_color="off" if arrow == "off" else good,  # type: ignore[arg-type]
        delta_arrow=arrow,  # type: ignore[arg-type]
        label_visibility="collapsed",
    )
    first = one.note
    if not first and one.target is not None:
        first = _target_words(one.target, one.unit, _is_met(one))
    if not first and one.unit.lower() == "mxn" and not is_unknown(one.value):
        first = money(one.value)
    second = "" if math.isnan(other) else _("Before: {value}").format(value=quantity(one.other, one.unit, short=True))
    # Always two lines, so that cards stand in line.
    return "  \n".join(line or "&nbsp;" for line in (first, second))


def _is_met(one: Number) -> bool | None:
    if is_unknown(one.value) or one.target is None or one.better == "none":
        return None
    return float(one.value) >= one.target if one.better == "up" else float(one.value) <= one.target


def _target_words(target: float, unit: str, met: bool | None) -> str:
    mark = "" if met is None else (":material/check: " if met else ":material/close: ")
    return mark + _("Target {target}").format(target=quantity(target, unit))


def _delta(card: Card) -> tuple[str | None, str]:
    return distance_words(card.value, card.normal, card.unit)


def distance_words(value: Any, normal: float, unit: str) -> tuple[str | None, str]:
    """The distance from the normal: in points for a share, in its own unit for a score, else in per cent."""
    if is_unknown(value) or math.isnan(normal):
        return None, "off"
    change = float(value) - normal
    if unit == "share":
        words = f"{number(_rounded(change * 100, 1), 1)} {_('pp')}"
    elif unit == "score":
        words = number(_rounded(change, 1), 1)
    elif normal == 0:
        words = quantity(change, unit, short=True)
    else:
        words = percent(_rounded(change / abs(normal), 2), 0)
    # What rounds to nothing has no direction: "-0 %" would be neither a change nor none.
    if not any(digit in words for digit in "123456789"):
        return words, "off"
    return f"{'+' if change > 0 else ''}{words}", "up" if change > 0 else "down"


def _rounded(value: float, digits: int) -> float:
    """Rounded, and never a negative zero."""
    return round(value, digits) + 0.0


def _facts(card: Card) -> list[str]:
    """The lines under the number: the exact amount or the target; the normal with its band; what the metrics say.

    The first two are on every card, so that cards stand in line.
    """
    first, third = "&nbsp;", ""
    if card.unit == "mxn" and not is_unknown(card.value):
        first = money(card.value)
    elif card.target is not None:
        first = _target_words(card.target, card.unit, card.target_met)
    second = _("No comparison at this hour")
    if not math.isnan(card.normal):
        low, high = (edge_words(edge, card.unit) for edge in (card.low, card.high))
        normal = quantity(card.normal, card.unit, short=True)
        second = _("Normal {normal} ({low}–{high})").format(normal=normal, low=low, high=high)
    if card.metric_value is not None and card.metric_gap is not None:
        about = round(card.metric_value) if card.unit == "count" else card.metric_value
        gap = _rounded(card.metric_gap, 4)
        third = _("Metrics ≈ {value} ({gap})").format(
            value=quantity(about, card.unit, short=True), gap=f"{'+' if gap > 0 else ''}{percent(gap)}"
        )
    return [first, second, third] if third else [first, second]


def edge_words(value: float, unit: str) -> str:
    """An edge of the band, without the unit that its middle already carries."""
    if unit == "share":
        return percent(value).removesuffix(" %")
    if unit == "mxn":
        return short_money(value).lstrip("$")
    if unit == "seconds":
        return duration(value).split(" ")[0]
    return quantity(value, unit)
