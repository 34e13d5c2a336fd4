"""Filters: widgets whose values stand in the URL, so that a link reopens what its sender saw.

    filters = filter_bar(today, earliest=first_day, tiers=tiers, segment=("reason", _("Reason"), reasons))
    ledger("approvals/by_day", filters)

The URL says what was chosen in words that are the same in every language (`?period=last_7&tier=AAA`): Streamlit's own
binding writes the label that the viewer reads, and a link from Spanish to English would lose it. A choice also travels
with the session from page to page, wherever the same filter stands.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from components.i18n import _, day_name
from components.url import Url, day_between, on_or_off, one_of, some_of, whole_number, written

DEFAULT_PERIOD, CUSTOM = "last_30", "custom"
PERIODS = (
    "today",
    "yesterday",
    "last_7",
    DEFAULT_PERIOD,
    "last_90",
    "this_month",
    "last_month",
    "this_year",
    "last_12_months",
    CUSTOM,
)
COMPARISONS = ("previous", "weekdays", "year", "none")


# --- the calendar -----------------------------------------------------------------------------------------------------


def year_before(day: date, years: int = 1) -> date:
    """The same date of an earlier year; the 28th for a 29 February that it does not have."""
    return day.replace(year=day.year - years, day=min(day.day, calendar.monthrange(day.year - years, day.month)[1]))


def days_of(period: str, today: date) -> tuple[date, date]:
    """First and last day, both inclusive, of a preset as it stands on this day; today counts, though it is not over."""
    month = today.replace(day=1)
    match period:
        case "today":
            return today, today
        case "yesterday":
            return today - timedelta(days=1), today - timedelta(days=1)
        case "last_7" | "last_30" | "last_90":
            return today - timedelta(days=int(period.removeprefix("last_")) - 1), today
        case "this_month":
            return month, today
        case "last_month":
            last = month - timedelta(days=1)
            return last.replace(day=1), last
        case "this_year":
            return today.replace(month=1, day=1), today
        case "last_12_months":
            return year_before(today) + timedelta(days=1), today
    raise ValueError(f"no such period: {period}")


def days_compared(first: date, last: date, compare: str) -> tuple[date, date] | None:
    """First and last day of the period to compare with, or None.

    `previous`: as many days, up to the day before; `weekdays`: as many days, moved back by the least number of whole
    weeks that leaves no overlap, so that Mondays stand on Mondays; `year`: the same calendar dates one year before, the
    28th standing in for a 29 February that is not there (such a period may differ by a day in length).
    """
    length = (last - first).days + 1
    match compare:
        case "previous":
            back = timedelta(days=length)
        case "weekdays":
            back = timedelta(days=-(-length // 7) * 7)
        case "year":
            return year_before(first), year_before(last)
        case "none":
            return None
        case _:
            raise ValueError(f"no such comparison: {compare}")
    return first - back, last - back


def period_name(first: date, last: date, *, year: bool = True) -> str:
    """The days in words: 27 Oct – 25 Nov 2026; without the year where it is known."""
    full = "d MMM y" if year else "d MMM"
    if first == last:
        return day_name(first, style=full)
    start = full if first.year != last.year else ("d" if first.month == last.month else "d MMM")
    return f"{day_name(first, style=start)} – {day_name(last, style=full)}"


# --- what was chosen --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filters(Mapping[str, Any]):
    """What a page looks at. As a mapping it holds the parameters of its queries.

    Keys: `first`, `last` (inclusive days), `today`, `tiers` (empty = all, '' = no tier) and the segment's own key.
    `other` is the same choice in the compared period, or None.
    """

    first: date
    last: date
    today: date
    period: str = CUSTOM
    tiers: tuple[str, ...] = ()
    compare: str = "none"
    events: bool = True
    segment_key: str | None = None
    segment: tuple[str, ...] = ()
    other: Filters | None = None

    def _params(self) -> dict[str, Any]:
        known: dict[str, Any] = {"first": self.first, "last": self.last, "today": self.today, "tiers": self.tiers}
        return known | ({self.segment_key: self.segment} if self.segment_key else {})

    def __getitem__(self, key: str) -> Any:
        return self._params()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params())

    def __len__(self) -> int:
        return len(self._params())

    @property
    def days(self) -> int:
        """How many days the period has, the unfinished one included."""
        return (self.last - self.first).days + 1

    @property
    def unfinished(self) -> bool:
        """Whether the last day is today, which is not over."""
        return self.last >= self.today

    def caption(self) -> str:
        """The period and the one that it is compared with, in words."""
        words = period_name(self.first, self.last)
        if self.other is not None:
            near = self.other.first.year == self.other.last.year == self.last.year
            words = _("{period}, compared with {other}").format(
                period=words, other=period_name(self.other.first, self.other.last, year=not near)
            )
        return f"{words} · {_('today is not over')}" if self.unfinished else words

    def shift(self, frame: pd.DataFrame, column: str = "day") -> pd.DataFrame:
        """A frame of the compared period with its days moved onto this one: the n-th day onto the n-th.

        Compared with last year, each date stands on its own date; a 29 February that this period does not have falls
        away. Months and weeks in `column` move by the same distance. The stamp (`attrs`) stays.
        """
        if self.other is None:
            raise ValueError("nothing is compared")
        moved = frame.copy()
        days = pd.to_datetime(frame[column])
        if self.compare == "year":
            moved[column] = days + pd.DateOffset(years=self.first.year - self.other.first.year)
            leap = (days.dt.month == 2) & (days.dt.day == 29) & (moved[column].dt.day == 28)
            moved = moved[~leap]
        else:
            moved[column] = days + (pd.Timestamp(self.first) - pd.Timestamp(self.other.first))
        moved.attrs = dict(frame.attrs)
        return moved

    def query_params(self) -> dict[str, list[str]]:
        """The choice as it stands in the URL, for a link to another page; what is the default is left out."""
        asked: dict[str, list[str]] = {}
        if self.period != DEFAULT_PERIOD:
            asked["period"] = [self.period]
        if self.period == CUSTOM:
            asked |= {"from": [self.first.isoformat()], "to": [self.last.isoformat()]}
        if self.compare != COMPARISONS[0]:
            asked["compare"] = [self.compare]
        if self.tiers:
            asked["tiers"] = [written(tier) for tier in self.tiers]
        if self.segment_key and self.segment:
            asked[self.segment_key] = [written(value) for value in self.segment]
        if not self.events:
            asked["events"] = ["off"]
        return asked


# --- the widgets ------------------------------------------------------------------------------------------------------


def period_names() -> dict[str, str]:
    """The presets in the viewer's language."""
    return {
        "today": _("Today"),
        "yesterday": _("Yesterday"),
        "last_7": _("Last 7 days"),
        "last_30": _("Last 30 days"),
        "last_90": _("Last 90 days"),
        "this_month": _("This month"),
        "last_month": _("Last month"),
        "this_year": _("This year"),
        "last_12_months": _("Last 12 months"),
        "custom": _("From … to …"),
    }


def comparison_names() -> dict[str, str]:
    """The comparisons in the viewer's language."""
    return {
        "previous": _("vs previous period"),
        "weekdays": _("vs same weekdays"),
        "year": _("vs last year"),
        "none": _("No comparison"),
    }


def filter_bar(
    today: date,
    *,
    earliest: date,
    tiers: Sequence[str] = (),
    segment: tuple[str, str, Sequence[str]] | None = None,
    compare: bool = True,
    events: bool = True,
) -> Filters:
    """A row of filters: period, comparison, tiers, the page's own segment and the switch for events.

    `earliest` and `today` bound a period that is chosen by its days. `tiers` and the segment's options are the names
    that the data has, '' for none; without tiers there is no such filter. `segment` is (key, label, options): the key
    names the parameter of the queries and of the URL. A link with an impossible value says so and falls back.
    """
    url = Url()
    url.restore("period", DEFAULT_PERIOD, one_of(PERIODS))
    custom = st.session_state["period"] == CUSTOM
    widgets = 1 + 2 * custom + compare + bool(tiers) + (segment is not None) + events
    # One alone would be as wide as the page.
    with st.grid(
        max(widgets, 4), min_column_width=150, vertical_alignment="center", gap=("xsmall", "small"), key="filters"
    ):
        first, last, period = _period(url, today, earliest)
        comparison = _comparison(url) if compare else "none"
        chosen = _several(url, "tiers", _("Tier"), _("All tiers"), tiers) if tiers else ()
        values: tuple[str, ...] = ()
        if segment is not None:
            key, label, options = segment
            values = _several(url, key, label, _("{label}: all").format(label=label), options)
        shown = events_switch(url) if events else False
    url.write()
    tell_refused(url)
    made = Filters(
        first=first,
        last=last,
        today=today,
        period=period,
        tiers=chosen,
        compare=comparison,
        events=shown,
        segment_key=segment[0] if segment else None,
        segment=values,
    )
    return _with_other(made)


def tell_refused(url: Url) -> None:
    """One sentence for all that the link asks for and that cannot be."""
    if url.refused:
        asked = ", ".join(f"“{part[:40]}”" for part in url.refused)
        st.warning(
            _("The link asks for what is not offered here ({asked}): it is left out.").format(asked=asked),
            icon=":material/link_off:",
        )


def _with_other(filters: Filters) -> Filters:
    compared = days_compared(filters.first, filters.last, filters.compare)
    if compared is None:
        return filters
    first, last = compared
    return Filters(**{**_fields(filters), "other": Filters(**{**_fields(filters), "first": first, "last": last})})


def _fields(filters: Filters) -> dict[str, Any]:
    return {name: getattr(filters, name) for name in Filters.__dataclass_fields__ if name != "other"}


def _period(url: Url, today: date, earliest: date) -> tuple[date, date, str]:
    names = period_names()
    period = st.selectbox(
        _("Period"), PERIODS, format_func=names.__getitem__, key="period", label_visibility="collapsed"
    )
    url.keep("period", period, [period], default=period == DEFAULT_PERIOD)
    if period != CUSTOM:
        url.leave_out("from")
        url.leave_out("to")
        first, last = days_of(period, today)
        return (max(first, earliest) if last >= earliest else first), last, period
    start, end = days_of(DEFAULT_PERIOD, today)
    first, last = day_fields(url, earliest, today, (max(start, earliest), end))
    return first, last, period


def day_fields(url: Url, earliest: date, today: date, usual: tuple[date, date]) -> tuple[date, date]:
    """Two day fields, and the days between which they lie in order; `usual` when nothing was chosen.

    Two fields instead of one range: a range that is half chosen is none. They are always in the URL, for days are the
    same on whatever day the link is opened.
    """
    read = day_between(earliest, today)
    chosen = []
    for key, label, default in zip(("from", "to"), (_("From"), _("To")), usual, strict=True):
        url.restore(key, default, read)
        day = st.date_input(
            label,
            min_value=earliest,
            max_value=today,
            key=key,
            format="YYYY-MM-DD",
            required=True,
            label_visibility="collapsed",
            help=label,
        )
        day = day if isinstance(day, date) else default
        url.keep(key, day, [day.isoformat()], default=False)
        chosen.append(day)
    return min(chosen), max(chosen)


def _comparison(url: Url) -> str:
    names = comparison_names()
    url.restore("compare", COMPARISONS[0], one_of(COMPARISONS))
    chosen = st.selectbox(
        _("Compare"), COMPARISONS, format_func=names.__getitem__, key="compare", label_visibility="collapsed"
    )
    url.keep("compare", chosen, [chosen], default=chosen == COMPARISONS[0])
    return str(chosen)


def _several(url: Url, key: str, label: str, nothing: str, options: Sequence[str]) -> tuple[str, ...]:
    url.restore(key, [], some_of(options))
    # The data may have lost a name since the last run.
    if any(value not in options for value in st.session_state[key]):
        st.session_state[key] = [value for value in st.session_state[key] if value in options]
    chosen = st.multiselect(
        label,
        list(options),
        format_func=lambda option: option or _("(none)"),
        key=key,
        placeholder=nothing,
        label_visibility="collapsed",
    )
    url.keep(key, chosen, [written(value) for value in chosen], default=not chosen)
    return tuple(chosen)


def events_switch(url: Url) -> bool:
    """Whether events are drawn on charts over time."""
    url.restore("events", True, on_or_off)
    shown = st.toggle(
        _("Events"),
        key="events",
        help=_("Deployments, incidents, alerts and changes of rules, on every chart over time"),
    )
    url.keep("events", shown, ["on" if shown else "off"], default=shown)
    return bool(shown)


def events_filter() -> bool:
    """The switch for events alone, for a page that has no bar of filters."""
    url = Url()
    shown = events_switch(url)
    url.write()
    tell_refused(url)
    return shown


def day_filter(today: date, *, earliest: date, key: str = "day") -> date:
    """The business day to look at; today when the URL names none. A day out of reach is told and today is shown."""
    url = Url()
    url.restore(key, today, day_between(earliest, today))
    chosen = st.date_input(
        _("Business day"),
        min_value=earliest,
        max_value=today,
        key=key,
        format="YYYY-MM-DD",
        required=True,
        label_visibility="collapsed",
        width=150,
    )
    day = chosen if isinstance(chosen, date) else today
    url.keep(key, day, [day.isoformat()], default=day == today)
    url.write()
    if url.refused:
        st.warning(
            _("The link asks for the day “{day}”, which is not one between {first} and {last}: today is shown.").format(
                day=url.refused[0].partition("=")[2][:20], first=earliest.isoformat(), last=today.isoformat()
            ),
            icon=":material/event_busy:",
        )
    return day


def choice_filter(
    label: str, options: Sequence[str], names: dict[str, str], *, key: str, url: Url | None = None
) -> str:
    """One of a few, as a row of buttons; the first when the URL names none, and a sentence when it names another.

    Of several filters in a row each takes the `url` of all, and the page writes it and tells what was refused below.
    """
    here = url or Url()
    here.restore(key, options[0], one_of(options))
    chosen = st.segmented_control(
        label,
        list(options),
        format_func=lambda option: names.get(option, option),
        key=key,
        required=True,
        label_visibility="collapsed",
    )
    chosen = str(chosen or options[0])
    here.keep(key, chosen, [chosen], default=chosen == options[0])
    if url is None:
        here.write()
        tell_refused(here)
    return chosen


def month_filter(
    url: Url, label: str, months: Sequence[date], *, key: str, default: date | None = None, **options: Any
) -> date:
    """One of these months, the first by default, written as 2026-05 in the URL; `options` are the list's own."""
    names = [f"{month:%Y-%m}" for month in months]
    usual = f"{default or months[0]:%Y-%m}"
    url.restore(key, usual, one_of(names))
    # The period, or the data, may have moved away from a month that was chosen before.
    if st.session_state[key] not in names:
        st.session_state[key] = usual
    chosen = st.selectbox(label, names, format_func=_month_name, key=key, **options)
    url.keep(key, chosen, [chosen], default=chosen == usual)
    return date.fromisoformat(f"{chosen}-01")


def _month_name(month: str) -> str:
    return day_name(date.fromisoformat(f"{month}-01"), style="MMM y")


def number_filter(
    url: Url, label: str, low: int, high: int, *, key: str, default: int | None, slider: bool = False, **options: Any
) -> int | None:
    """A whole number within bounds, as a field that may be empty or as a slider; `options` are the widget's own."""
    url.restore(key, default, whole_number(low, high))
    if slider and st.session_state[key] is None:
        st.session_state[key] = default
    chosen = (
        st.slider(label, low, high, step=1, key=key, **options)
        if slider
        else st.number_input(label, low, high, value=None, step=1, key=key, **options)
    )
    url.keep(key, chosen, [written("" if chosen is None else str(chosen))], default=chosen == default)
    return chosen


def switch_filter(url: Url, label: str, *, key: str, help: str | None = None) -> bool:
    """A switch that is off by default."""
    url.restore(key, False, on_or_off)
    chosen = bool(st.toggle(label, key=key, help=help))
    url.keep(key, chosen, ["on" if chosen else "off"], default=not chosen)
    return chosen
