"""What all charts share: colours with a meaning, orders, units and their formats, axes.

One colour a meaning, on all pages and in both themes: tiers and HASE bands run along one scale from strong to weak,
days past due from light to heavy, methods and integrations have a hue of their own (Okabe and Ito's, readable by
colour-blind eyes). A name that nobody foresaw is grey among names that are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import altair as alt
import pandas as pd

from components.frame import is_dark
from components.i18n import UNKNOWN, _, d3_locale, duration, is_unknown, language
from components.words import value_names

ACCENT, ACCENT_ON_DARK = "#0b7a75", "#3fb8ae"
GREY = "#8a929c"
COLOURS = {
    # Sinosure tiers: one scale, strong to weak
    "AAA": "#0b4f6c",
    "AA": "#1b7f9e",
    "A": "#4fb0a5",
    "B": "#d9a441",
    "C": "#c8553d",
    # payment methods
    "card": "#0072b2",
    "oxxo": "#d55e00",
    "spei": "#009e73",
    # integrations
    "geotab": "#56b4e9",
    "conekta": "#e69f00",
    "metamap": "#cc79a7",
    "neon": "#009e73",
    # days past due: the later the darker
    "1-7": "#f2c879",
    "8-15": "#e8a24f",
    "16-30": "#d9763a",
    "31-60": "#bd4b33",
    "61-90": "#912f33",
    "90+": "#5d1f33",
    # what became of it
    "approved": "#1b8a6b",
    "rejected": "#c8553d",
    "pending": "#9fb3c8",
    "withdrawn": "#b9a58a",
    "succeeded": "#1b8a6b",
    "failed": "#c8553d",
    "refunded": "#8e6bb0",
    "good": "#1b8a6b",
    "bad": "#c8553d",
    "success": "#1b8a6b",
    "error": "#c8553d",
    "timeout": "#e0a030",
    # levels of log lines
    "CRITICAL": "#8e1f4b",
    "ERROR": "#c8553d",
    "WARNING": "#e0a030",
    "INFO": "#56789a",
    "DEBUG": "#8a929c",
    # whether it came in time
    "Over 48 h": "#c8553d",
    "Undecided": "#9fb3c8",
    # HASE bands, along the same scale as the tiers
    "0-9": "#b8432f",
    "10-19": "#c8553d",
    "20-29": "#d0703e",
    "30-39": "#d58a40",
    "40-49": "#d9a441",
    "50-59": "#a9a965",
    "60-69": "#7dad85",
    "70-79": "#4fb0a5",
    "80-89": "#1b7f9e",
    "90-100": "#0b4f6c",
}
# Where the colour is too near to the dark ground to be seen.
ON_DARK = {
    "AAA": "#4a9cc4",
    "AA": "#5cc0d6",
    "A": "#7fd1b9",
    "90-100": "#4a9cc4",
    "80-89": "#5cc0d6",
    "70-79": "#7fd1b9",
    "card": "#3f9fd8",
    "1-7": "#f7dca0",
    "8-15": "#f2b96b",
    "16-30": "#e88f4f",
    "31-60": "#dc6a45",
    "61-90": "#cc4a52",
    "90+": "#b03a6b",
    "CRITICAL": "#d65a8c",
    "INFO": "#8fb0d0",
}
# For names without a meaning of their own, such as reasons: told apart by lightness too.
_OTHERS = ("#0b7a75", "#d9a441", "#56789a", "#c8553d", "#8e6bb0", "#7dad85", "#b9a58a", "#4fb0a5")
_OTHERS_ON_DARK = ("#3fb8ae", "#e0b35c", "#8fb0d0", "#e07f68", "#b593d6", "#9dcaa3", "#cdbb9f", "#6fd0c4")
EVENT_COLOURS = {
    "deployment": "#4a7fc1",
    "incident": "#c8403d",
    "alert": "#e0a030",
    "cutoff": "#8e6bb0",
    "model": "#2a9d8f",
    "counter_reset": "#8e6bb0",
    "scrape_gap": "#e0a030",
    "finding": "#c8403d",
    "other": GREY,
}
_ORDER = {name: place for place, name in enumerate(COLOURS)}
Grain = Literal["moment", "day", "week", "month"]


# --- names ------------------------------------------------------------------------------------------------------------


def dpd_names() -> dict[Any, str]:
    """The buckets of days past due by their number: 0 is not late, 6 is beyond 90."""
    return {0: _("Not late"), 1: "1–7", 2: "8–15", 3: "16–30", 4: "31–60", 5: "61–90", 6: "90+"}


def band_names() -> dict[Any, str]:
    """The HASE bands by their lower edge; -1 is no score."""
    return {-1: _("No score"), **{edge: f"{edge}–{edge + 9}" for edge in range(0, 90, 10)}, 90: "90–100"}


def named(values: Iterable[Any], names: Mapping[Any, str] | None = None) -> list[str]:
    """Each value under the name that a viewer reads, the chart's own or the house's; what is nothing as '(none)'."""
    known = {**value_names(), **(names or {})}
    return [
        known[value] if value in known else (_("(none)") if is_unknown(value) or value == "" else str(value))
        for value in values
    ]


def in_order(
    values: Iterable[Any], order: Sequence[Any] | None = None, names: Mapping[Any, str] | None = None
) -> list[str]:
    """The names that occur, in the given order, else in the house's (tiers, buckets), else as they come; none last."""
    found = list(dict.fromkeys(named(values, names)))
    if order is not None:
        wanted = named(order, names)
    elif names:
        wanted = list(names.values())
    else:
        raw = _raw_of(names)
        places = {name: _ORDER.get(_key(str(raw.get(name, name)))) for name in found}
        wanted = sorted((name for name in found if places[name] is not None), key=lambda name: places[name] or 0)
    wanted = [name for name in wanted if name in found]
    nothing = _("(none)")
    rest = [name for name in found if name not in wanted and name != nothing]
    return [name for name in wanted if name != nothing] + rest + ([nothing] if nothing in found else [])


def _raw_of(names: Mapping[Any, str] | None) -> dict[str, Any]:
    """What the ledger calls that which a viewer reads."""
    known = {**value_names(), **(names or {})}
    return {shown: value for value, shown in known.items()}


def _key(name: str) -> str:
    return name.replace("–", "-")


# --- colours ----------------------------------------------------------------------------------------------------------


def accent() -> str:
    """The colour of a single series, by the viewer's theme."""
    return ACCENT_ON_DARK if is_dark() else ACCENT


def ink() -> str:
    """Text on the chart's own ground."""
    return "#c9c6c0" if is_dark() else "#4a5260"


def ground() -> str:
    """The ground of the page."""
    return "#14171c" if is_dark() else "#fbfaf8"


def pale() -> str:
    """What stands in the background: the compared period, a band."""
    return "#7d8590" if is_dark() else "#9aa2ac"


def colours_of(names: Sequence[str], words: Mapping[Any, str] | None = None) -> list[str]:
    """A colour for each name: the house's; grey for a stranger among them; told apart when few have a meaning.

    `words` are the chart's own names of values: a meaning keeps its colour under whatever name it is shown.
    """
    known = {**COLOURS, **ON_DARK} if is_dark() else COLOURS
    # A name that a query's own function has put in the viewer's language keeps its colour, too.
    known = {**{_(name): colour for name, colour in known.items()}, **known}
    raw = _raw_of(words)
    nothing = {_("(none)"), _("No score"), _("Not late")}
    found = [known.get(_key(str(raw.get(name, name))), known.get(_key(name))) for name in names]
    if 2 * sum(colour is not None for colour in found) >= len(found) and any(found):
        return [colour or GREY for colour in found]
    # One name that has a meaning by chance, such as a time-out among codes, does not make strangers of all others.
    others = iter((_OTHERS_ON_DARK if is_dark() else _OTHERS) * (len(names) // len(_OTHERS) + 1))
    return [GREY if name in nothing else next(others) for name in names]


def colour_scale(values: Sequence[Any]) -> alt.Scale:
    """The house's colours for these names; a name that nobody foresaw is grey."""
    names = [str(value) for value in dict.fromkeys(values)]
    return alt.Scale(domain=names, range=colours_of(names))


def sequential() -> list[str]:
    """From little to much: from the ground to the accent, in either theme."""
    if is_dark():
        return ["#1b242b", "#1d4449", "#21696a", "#2f918b", "#5fc4b8", "#b5ece2"]
    return ["#eef5f3", "#c5e3dd", "#8fcbc2", "#4fa9a1", "#0b7a75", "#084f57"]


# --- numbers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """How a unit is drawn: values divided by `size`, ticks in `format` or `expression`, `word` over the axis."""

    unit: str
    size: float = 1.0
    format: str = ",.2~f"
    word: str = ""
    expression: str | None = None

    def axis(self, title: str | None = None, **options: Any) -> alt.Axis:
        """The axis of a quantity: few ticks, its unit above its end."""
        words = self.word if title is None else title
        how: dict[str, Any] = {"labelExpr": self.expression} if self.expression else {"format": self.format}
        return alt.Axis(
            **{
                "title": words or None,
                "tickCount": 5,
                "titleAnchor": "end",
                "titleAngle": 0,
                "titleY": -8,
                "labelFlush": False,
                # Between one thing and the next there is none: 0, 0, 1, 1 would be the ticks.
                **({"tickMinStep": 1} if self.unit == "count" and self.size == 1 else {}),
                **how,
                **options,
            }
        )

    def along(self, title: str | None = None, **options: Any) -> alt.Axis:
        """The same quantity along the lower edge."""
        words = self.word if title is None else title
        how: dict[str, Any] = {"labelExpr": self.expression} if self.expression else {"format": self.format}
        return alt.Axis(
            **{
                "title": words or None,
                "tickCount": 6,
                "titleAnchor": "end",
                "grid": False,
                "labelFlush": False,
                **how,
                **options,
            }
        )

    def words(self, value: Any) -> str:
        """A value (as the data has it) in full, for a tooltip."""
        return said(value, self.unit)


def measure(unit: str, values: Iterable[Any] = ()) -> Measure:
    """How to draw a unit; durations in the unit of time that fits their greatest value."""
    kind = unit.lower()
    if kind == "mxn":
        short = "replace(replace(format(datum.value, '$,.3~s'), /([kMG])$/, ' $1'), 'G', 'B')"
        if language() == "es":
            # A thousand million has no letter of its own that everyone reads.
            short = f"abs(datum.value) >= 1e9 ? format(datum.value / 1e6, '$,.0f') + ' M' : {short}"
        return Measure(unit, word="MXN", expression=short)
    if kind == "count":
        return Measure(unit, format=",.2~s" if _greatest(values) >= 1e5 else ",.0f")
    if kind in {"share", "%"}:
        # Ticks a tenth of a percent apart would repeat themselves below one percent.
        return Measure(unit, format=".2~%" if 0 < _greatest(values) < 0.005 else ".1~%")
    if kind == "score":
        return Measure(unit, format=",.1~f")
    if kind in {"seconds", "s", "ms"}:
        scale = 1000.0 if kind == "ms" else 1.0
        greatest = _greatest(values) / scale
        for size, word in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
            if greatest >= 2 * size:
                return Measure(unit, size * scale, word=word)
        return Measure(unit, scale / 1000, word="ms")
    return Measure(unit, word=_(unit))


def log_time_axis(title: str, unit: str) -> alt.Axis:
    """Durations from milliseconds to days along the lower edge, each in its own unit."""
    size = 1000.0 if unit == "ms" else 1.0
    ticks = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)
    seconds = f"(datum.value / {size:.0f})"
    label = f"{seconds} < 1 ? {seconds} * 1000 + ' ms' : {seconds} + ' s'"
    for least, word in ((60, "min"), (3600, "h"), (86400, "d")):
        label = f"{seconds} >= {least} ? {seconds} / {least} + ' {word}' : ({label})"
    return alt.Axis(
        title=title,
        titleAnchor="end",
        grid=False,
        values=[tick * size for tick in ticks],
        labelExpr=label,
        labelOverlap="greedy",
        labelFlush=False,
    )


def _greatest(values: Iterable[Any]) -> float:
    numbers = [abs(float(value)) for value in values if not is_unknown(value)]
    return max(numbers, default=0.0)


def said(value: Any, unit: str) -> str:
    """A value in full: 1,234 · 12.3 % · $1,234.56 · 2.5 h. Quick, for it is asked once a mark."""
    if is_unknown(value):
        return UNKNOWN
    number = float(value)
    match unit.lower():
        case "count":
            return f"{number:,.0f}" if number.is_integer() else f"{number:,.1f}"
        case "mxn":
            return f"{'-' if number < 0 else ''}${abs(number):,.2f}"
        case "share" | "%":
            return f"{number * 100:,.{2 if 0 < abs(number) < 0.01 else 1}f} %"
        case "score":
            return f"{number:,.1f}"
        case "seconds" | "s":
            return _duration(number, language())
        case "ms":
            return _duration(number / 1000, language())
    return f"{number:,.2f}".rstrip("0").rstrip(".") + (f" {_(unit)}" if unit else "")


@lru_cache(maxsize=4096)
def _duration(seconds: float, code: str) -> str:
    return duration(seconds)


# --- time -------------------------------------------------------------------------------------------------------------

_NEXT = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(days=7), "month": pd.DateOffset(months=1)}


def as_shown(times: pd.Series[Any]) -> pd.Series[Any]:
    """Days or moments as the clock of their own zone shows them, without a zone: the browser has another one."""
    moments = times if pd.api.types.is_datetime64_any_dtype(times.dtype) else pd.to_datetime(times)
    return moments.dt.tz_localize(None) if isinstance(moments.dtype, pd.DatetimeTZDtype) else moments


def grain_of(times: pd.Series[Any]) -> Grain:
    """What a value of this column stands for: the narrowest distance between two of them tells."""
    shown = as_shown(times).dropna().drop_duplicates().sort_values()
    if isinstance(times.dtype, pd.DatetimeTZDtype) or not (shown == shown.dt.normalize()).all():
        return "moment"
    least = shown.diff().min()
    if pd.isna(least) or least < pd.Timedelta(days=7):
        return "day"
    return "month" if least >= pd.Timedelta(days=28) and (shown.dt.day == 1).all() else "week"


def end_of(starts: pd.Series[Any], grain: Grain) -> pd.Series[Any]:
    """Where the day, week or month that begins here ends."""
    return starts if grain == "moment" else starts + _NEXT[grain]


def middle_of(starts: pd.Series[Any], grain: Grain) -> pd.Series[Any]:
    """Where a value is drawn: in the middle of its day, week or month, so that a moment stands within it."""
    return starts + (end_of(starts, grain) - starts) / 2


def bins_of(days: pd.Series[Any], bin: str | None) -> tuple[pd.Series[Any], Grain]:
    """The first day of each day's bin, and its grain. Weeks begin on Monday.

    `auto`: days up to two months, weeks up to thirteen months, else months; None: as the data stands.
    """
    shown = as_shown(days)
    if bin is None:
        return shown, grain_of(days)
    if bin == "auto":
        length = (shown.max() - shown.min()).days + 1 if shown.notna().any() else 1
        bin = "day" if length <= 62 else "week" if length <= 400 else "month"
    whole = shown.dt.normalize()
    if bin == "week":
        return whole - pd.to_timedelta(whole.dt.day_of_week, unit="D"), "week"
    if bin == "month":
        return whole - pd.to_timedelta(whole.dt.day - 1, unit="D"), "month"
    return whole, "day"


def stamp(moment: pd.Timestamp) -> alt.DateTime:
    """A moment for a scale or an axis, by the clock."""
    return alt.DateTime(
        year=moment.year,
        month=moment.month,
        date=moment.day,
        hours=moment.hour,
        minutes=moment.minute,
        seconds=moment.second,
    )


def time_axis(starts: pd.Series[Any], grain: Grain, *, most: int = 8) -> alt.X:
    """The axis of a column `_x` that `middle_of` has placed: its whole length, labels under the middles."""
    first, last = starts.min(), end_of(starts, grain).max()
    options: dict[str, Any] = {"title": None, "grid": False, "labelOverlap": True, "labelFlush": False}
    if grain == "moment":
        long = last - first
        options |= {"tickCount": most, "format": "%H:%M" if long <= pd.Timedelta(days=2) else "%e %b"}
        return alt.X("_x:T", axis=alt.Axis(**options), scale=alt.Scale(nice=False))
    length = (last - first).days
    if grain == "month" or length > 200:
        months = max(round(length / 30.4), 1)
        step = next((size for size in (1, 2, 3, 6, 12, 24) if months / size <= most), 60)
        ticks = pd.date_range(first.replace(day=1), last, freq=pd.DateOffset(months=step))
        ticks = pd.Series(ticks[ticks < last])
        # A month that is a bar of its own is named in its middle, else where it begins.
        ticks = middle_of(ticks, "month") if grain == "month" else ticks[ticks >= first]
        label = "timeFormat(datum.value, '%b %Y')"
    else:
        width = 7 if grain == "week" else 1
        bins = max(length // width, 1)
        step = next((size for size in (1, 2, 3, 7, 14, 28) if bins / size <= most), 56)
        ticks = pd.Series(pd.date_range(first, last - pd.Timedelta(days=1), freq=f"{step * width}D"))
        ticks = middle_of(ticks, grain)
        label = f"timeFormat(datum.value - {width * 43_200_000}, '%e %b')"
    options |= {"values": [stamp(tick) for tick in ticks], "labelExpr": f"trim({label})"}
    return alt.X("_x:T", axis=alt.Axis(**options), scale=alt.Scale(domain=[stamp(first), stamp(last)], nice=False))


def time_names(starts: pd.Series[Any], grain: Grain) -> list[str]:
    """Each day, week, month or moment in words, for a tooltip."""
    weekdays, months, long_months = _calendar_words(language())
    found = []
    for moment in starts:
        if pd.isna(moment):
            found.append(UNKNOWN)
            continue
        month = months[moment.month - 1]
        match grain:
            case "day":
                found.append(f"{weekdays[moment.weekday()]} {moment.day} {month} {moment.year}")
            case "week":
                end = moment + pd.Timedelta(days=6)
                found.append(f"{moment.day} {month} – {end.day} {months[end.month - 1]} {end.year}")
            case "month":
                found.append(f"{long_months[moment.month - 1]} {moment.year}")
            case _:
                found.append(f"{moment.day} {month} {moment.year} {moment:%H:%M}")
    return found


@lru_cache(maxsize=4)
def _calendar_words(code: str) -> tuple[list[str], list[str], list[str]]:
    words = d3_locale()["time"]
    return [*words["shortDays"][1:], words["shortDays"][0]], words["shortMonths"], words["months"]
