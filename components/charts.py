"""Charts: a frame in, a `Figure` out. They know units, languages and colours, and no source.

One colour a meaning, on all pages: tiers run along one scale from strong to weak, methods and integrations have a hue
of their own (Okabe and Ito's, readable by colour-blind eyes), what nobody foresaw is grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from components.frame import Figure, is_dark, unstamped
from components.i18n import _, d3_locale

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
}
_FORMATS = {"count": ",.0f", "share": ".1%", "%": ".1%", "mxn": "$,.3~s", "MXN": "$,.3~s", "score": ".1f", "s": ".3~s"}
_AXIS_WORDS = {"mxn": "MXN", "count": "", "share": "", "seconds": "s", "score": ""}


def colour_scale(values: Sequence[Any]) -> alt.Scale:
    """The house's colours for these names; a name that nobody foresaw is grey."""
    names = [str(value) for value in dict.fromkeys(values)]
    return alt.Scale(domain=names, range=[COLOURS.get(name, GREY) for name in names])


def accent() -> str:
    """The colour of a single series, by the viewer's theme."""
    return ACCENT_ON_DARK if is_dark() else ACCENT


def _format(unit: str) -> str:
    return _FORMATS.get(unit, ",.2~f")


def _axis(unit: str, title: str | None = None) -> alt.Axis:
    words = title if title is not None else _AXIS_WORDS.get(unit, unit)
    return alt.Axis(format=_format(unit), title=words or None, tickCount=5, titleAnchor="end", titleAngle=0, titleY=-8)


def _finish(chart: Any, data: pd.DataFrame, words: str, height: int) -> Figure:
    locale = d3_locale()
    finished = chart.properties(height=height, width="container").configure(
        locale=alt.Locale(number=locale["number"], time=locale["time"]),
    )
    return Figure(finished.configure_view(strokeWidth=0), data, words)


def band(
    data: pd.DataFrame,
    *,
    x: str,
    y: str = "value",
    unit: str,
    title: str,
    height: int = 260,
) -> Figure:
    """A day's running curve before the band of normal days.

    `data` has the columns `x` (minutes since midnight), `y`, `normal`, `low` and `high`; nulls are gaps.
    """
    if data[[y, "normal"]].dropna(how="all").empty:
        return Figure(None, data, title)
    hours = alt.Axis(
        values=list(range(0, 1441, 180)),
        labelExpr="format(floor(datum.value / 60), '02') + ':' + format(datum.value % 60, '02')",
        title=None,
        grid=False,
    )
    position = alt.X(f"{x}:Q", axis=hours, scale=alt.Scale(domain=[0, 1440], nice=False))
    # The label is part of the data, for a legend that also reads out.
    names = {"day": _("This day"), "normal": _("Normal day"), "band": _("8 of 10 normal days")}
    fields = [x, y, "normal", "low", "high"]
    table = unstamped(data)[fields].assign(_day=names["day"], _normal=names["normal"], _band=names["band"])
    colour = alt.Scale(domain=list(names.values()), range=[accent(), GREY, "#59616c" if is_dark() else "#b9c0c8"])
    legend = alt.Legend(
        orient="top", title=None, symbolType="square", symbolOpacity=1, symbolStrokeWidth=0, labelLimit=260
    )
    tooltip = [
        alt.Tooltip("_clock:N", title=_("Time")),
        alt.Tooltip(f"{y}:Q", format=_format(unit), title=names["day"]),
        alt.Tooltip("normal:Q", format=_format(unit), title=names["normal"]),
        alt.Tooltip("low:Q", format=_format(unit), title=_("10 % below")),
        alt.Tooltip("high:Q", format=_format(unit), title=_("10 % above")),
    ]
    table["_clock"] = [f"{int(m) // 60:02d}:{int(m) % 60:02d}" for m in table[x]]
    base = alt.Chart(table)
    layers = [
        base.mark_area(opacity=0.4, line=False).encode(
            x=position,
            y=alt.Y("low:Q", axis=_axis(unit)),
            y2="high:Q",
            color=alt.Color("_band:N", scale=colour, legend=legend),
        ),
        base.mark_line(strokeDash=[5, 4], strokeWidth=1.5).encode(
            x=position, y="normal:Q", color=alt.Color("_normal:N", scale=colour, legend=legend)
        ),
        base.mark_line(strokeWidth=2.6, interpolate="step-after").encode(
            x=position, y=f"{y}:Q", color=alt.Color("_day:N", scale=colour, legend=legend)
        ),
        base.mark_rule(opacity=0, strokeWidth=12).encode(x=position, tooltip=tooltip),
    ]
    return _finish(alt.layer(*layers), data, title, height)


def line(
    data: pd.DataFrame, *, x: str, y: str, unit: str, title: str, color: str | None = None, height: int = 260
) -> Figure:
    """A line a colour over time. A missing value is a gap, not a slope."""
    if data.empty:
        return Figure(None, data, title)
    encoding: dict[str, Any] = {
        "x": alt.X(f"{x}:T", axis=alt.Axis(title=None, grid=False, tickCount=8)),
        "y": alt.Y(f"{y}:Q", axis=_axis(unit)),
        "tooltip": [alt.Tooltip(f"{x}:T"), alt.Tooltip(f"{y}:Q", format=_format(unit))],
    }
    if color:
        scale = colour_scale(sorted(data[color].unique()))
        encoding["color"] = alt.Color(f"{color}:N", scale=scale, legend=alt.Legend(orient="top", title=None))
        encoding["tooltip"].append(alt.Tooltip(f"{color}:N"))
    else:
        encoding["color"] = alt.value(accent())
    return _finish(alt.Chart(unstamped(data)).mark_line(strokeWidth=2).encode(**encoding), data, title, height)


def bar(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    color: str | None = None,
    order: Sequence[str] | None = None,
    height: int = 260,
) -> Figure:
    """Bars of a quantity by a name, in the given order or as the data stands."""
    if data.empty:
        return Figure(None, data, title)
    names = list(order) if order else list(dict.fromkeys(data[x].astype(str)))
    encoding: dict[str, Any] = {
        "x": alt.X(f"{x}:N", sort=names, axis=alt.Axis(title=None, labelAngle=0)),
        "y": alt.Y(f"{y}:Q", axis=_axis(unit)),
        "tooltip": [alt.Tooltip(f"{x}:N"), alt.Tooltip(f"{y}:Q", format=_format(unit))],
        "color": alt.Color(f"{color}:N", scale=colour_scale(data[color]), legend=None)
        if color
        else alt.value(accent()),
    }
    return _finish(alt.Chart(unstamped(data)).mark_bar(cornerRadiusEnd=2).encode(**encoding), data, title, height)
