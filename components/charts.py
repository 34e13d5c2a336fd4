"""Charts: a frame in, a `Figure` out. They know units, languages and colours, and no source.

    line(frame, x="day", y="approval_rate", unit="share", title=_("Approval rate"), color="tier")

Common to all: `unit` is a catalogue unit (count, mxn, share, score, seconds, ms) or a word of its own; `names` gives a
viewer's words for values (see `dpd_names`, `band_names`); `order` their order, else the house's. On charts over time
`events` are drawn (frame: kind, title, starts_at, ends_at), `target` is (value, label), `compare` a frame like `data`
whose days were moved onto this period (`Filters.shift`), `today` the day that is not over. With `drill` a click picks a
mark; see `Figure`. An empty frame gives a figure without a chart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from components.frame import Figure, is_dark, unstamped
from components.i18n import UNKNOWN, _, d3_locale, is_unknown, percent, short_money, when
from components.kept import kept
from components.scales import (
    COLOURS,
    EVENT_COLOURS,
    GREY,
    Grain,
    Measure,
    accent,
    as_shown,
    bins_of,
    colour_scale,
    colours_of,
    end_of,
    grain_of,
    ground,
    in_order,
    ink,
    log_time_axis,
    measure,
    middle_of,
    named,
    pale,
    said,
    sequential,
    time_axis,
    time_names,
)

__all__ = [
    "COLOURS",
    "GREY",
    "area",
    "band",
    "bar",
    "bars_over_time",
    "colour_scale",
    "funnel",
    "heatmap",
    "histogram",
    "line",
    "pareto",
    "points",
    "step",
]

Names = Mapping[Any, str] | None
Target = tuple[float, str] | Sequence[tuple[float, str]] | None
Rules = Sequence[tuple[float, str]]
Bin = Literal["day", "week", "month", "moment", "auto"] | None

# A kind of event that comes more often is told by its marks above the curve: its rules would be a fence before it.
MOST_RULES = 8
# More rows of a legend would leave the picture no room: then names are cut.
LEGEND_ROWS = 6


# --- what they share --------------------------------------------------------------------------------------------------


def _finish(
    chart: Any, data: pd.DataFrame, words: str, height: int, drill: Any = None, marks: pd.DataFrame | None = None
) -> Figure:
    locale = d3_locale()
    # The host adds room below a chart that names no padding of its own.
    padding = {"left": 0, "top": 4, "right": 12, "bottom": 2}
    finished = chart.properties(height=height, width="container", padding=padding).configure(
        locale=alt.Locale(number=locale["number"], time=locale["time"]),
    )
    return Figure(
        finished.configure_view(strokeWidth=0), data, words, drill=drill, marks=marks if drill is not None else None
    )


def _floats(values: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers as the chart can draw them: Decimal, Int64 and nulls as float64 with NaN."""
    return pd.to_numeric(values, errors="coerce").astype("float64")


def _is_empty(data: pd.DataFrame, *columns: str) -> bool:
    return data.empty or bool(data[list(columns)].isna().all(axis=None))


def _no_picture(data: pd.DataFrame, title: str) -> Figure:
    """A figure that says that there is no data: what is unknown throughout would be drawn as a table of nothing."""
    return Figure(None, data.iloc[:0], title)


def _legend(names: Sequence[str] = (), *, strokes: bool = False, beside: float = 0) -> alt.Legend:
    """A legend on top, on a phone in as many rows as its names need. Lines without dots are told by `strokes`.

    `beside` is what an axis of long names takes of the width, beyond that of numbers.
    """
    widths = [7.4 * len(name) + 26 for name in names]
    # What fits on a phone stands in one row; else the chart itself counts the columns that it has room for.
    columns = ""
    if sum(widths) > 270 - beside:
        columns = f"clamp(floor(width / {round(max(widths))}), {-(-len(names) // LEGEND_ROWS)}, {len(names)})"
    return alt.Legend(
        orient="top",
        title=None,
        symbolType="stroke" if strokes else "square",
        symbolStrokeWidth=3 if strokes else 0,
        symbolOpacity=1,
        labelLimit=alt.ExprRef(f"max(width / {columns} - 30, 90)") if columns else 220,
        columns=alt.ExprRef(columns) if columns else 0,
    )


def _domain(series: Sequence[str], names: Names = None) -> alt.Scale:
    return alt.Scale(domain=list(series), range=colours_of(series, names))


def _alt_text(title: str, unit: str, values: pd.Series[Any], over: str = "") -> str:
    """The chart in a sentence for who does not see it."""
    known = _floats(values).dropna()
    if known.empty:
        return title
    words = _("{title}: from {low} to {high}").format(
        title=title, low=said(known.min(), unit), high=said(known.max(), unit)
    )
    return f"{words}, {over}" if over else words


def _by(drill: Any) -> list[str]:
    """The columns of the drawn data that a click binds."""
    return [column for column in dict.fromkeys((getattr(drill, "by", None) or {}).values()) if isinstance(column, str)]


def _marks(frame: pd.DataFrame, drill: Any) -> pd.DataFrame:
    """The drawn marks with the text `mark` that a click tells: the values which it binds."""
    marks = unstamped(frame).reset_index(drop=True)
    if drill is None:
        return marks.assign(mark="")
    missing = [column for column in _by(drill) if column not in marks]
    if missing:
        raise ValueError(f"a click binds columns that the chart does not have: {', '.join(missing)}")
    texts = pd.Series([""] * len(marks), index=marks.index, dtype=object)
    for column in _by(drill):
        values = marks[column]
        written = (
            values.map(lambda moment: "" if pd.isna(moment) else moment.isoformat())
            if pd.api.types.is_datetime64_any_dtype(values.dtype)
            else values.map(lambda value: "" if is_unknown(value) else str(value))
        )
        texts = texts + written.astype(object) + "|"
    marks["mark"] = texts.astype("str")
    return marks


def _pick(drill: Any) -> Any:
    """The selection that a click makes, over the text of a mark."""
    return None if drill is None else alt.selection_point(name="pick", fields=["mark"], on="click", clear="dblclick")


def _clickable(chart: Any, pick: Any, *, faint: float = 0.3) -> Any:
    """Marks that can be picked; the others then step back."""
    if pick is None:
        return chart
    return chart.encode(opacity=alt.condition(pick, alt.value(1), alt.value(faint))).add_params(pick)


def _rounded(alone: bool, radius: float = 2) -> dict[str, Any]:
    """A bar that no other stands on has a soft end."""
    return {"cornerRadiusEnd": radius} if alone else {}


def _cursor(drill: Any) -> dict[str, Any]:
    return {} if drill is None else {"cursor": "pointer"}


def _haloed() -> tuple[dict[str, Any], dict[str, Any]]:
    """A text over marks is read on a halo of the ground: the styles of both, in the order of drawing."""
    return {"color": ground(), "stroke": ground(), "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85}, {
        "color": ink()
    }


def _target_layers(target: Target, unit: Measure, highest: float = math.inf) -> list[Any]:
    """Dashed rules with their labels at the right end.

    A rule above the `highest` drawn value is the top of the chart, where events stand: its label is below it.
    """
    several: Any = [] if target is None else target if isinstance(target[0], tuple) else [target]
    known = [(float(value) / unit.size, label) for value, label in several if not is_unknown(value)]
    if not known:
        return []
    frame = pd.DataFrame(known, columns=["_target", "_label"])
    topmost = (frame["_target"] == frame["_target"].max()) & (frame["_target"] > highest)
    layers = [
        alt.Chart(frame).mark_rule(strokeDash=[6, 4], strokeWidth=1.2, color=ink(), opacity=0.8).encode(y="_target:Q")
    ]
    for below, part in frame.groupby(topmost):
        side: dict[str, Any] = {"baseline": "top", "dy": 4} if below else {"baseline": "bottom", "dy": -3}
        layers += [
            alt.Chart(part)
            .mark_text(align="right", dx=-4, fontSize=11, **side, **style)
            .encode(x=alt.value("width"), y="_target:Q", text="_label:N")
            for style in _haloed()
        ]
    return layers


def _rule_layers(rules: Rules, *, size: float = 1.0, span: tuple[float, float] | None = None) -> list[Any]:
    """Upright dashed rules with their labels, staggered so that neighbours can be read.

    The first of several is named at its left, where it has room within the `span` of the axis: at its right its name
    would run across the next.
    """
    shown = [(float(value) / size, label) for value, label in rules if not is_unknown(value)]
    if not shown:
        return []
    frame = pd.DataFrame(shown, columns=["_rule", "_label"]).sort_values("_rule", ignore_index=True)
    frame["_height"] = [4 + 14 * (place % 3) for place in range(len(frame))]
    low, high = span or (0.0, 0.0)
    left = (frame.index == 0) & (len(frame) > 1) & (frame["_rule"] - low > 0.25 * (high - low)) & (high > low)
    base = alt.Chart(frame)
    sides: list[tuple[Any, dict[str, Any]]] = [
        (frame[left], {"align": "right", "dx": -4}),
        (frame[~left], {"align": "left", "dx": 4}),
    ]
    texts = [
        alt.Chart(part)
        .mark_text(baseline="top", fontSize=11, **side, **style)
        .encode(x="_rule:Q", y=alt.Y("_height:Q", scale=None), text="_label:N")
        for part, side in sides
        if len(part)
        for style in _haloed()
    ]
    return [base.mark_rule(strokeDash=[6, 4], strokeWidth=1.2, color=ink(), opacity=0.8).encode(x="_rule:Q"), *texts]


def event_names() -> dict[str, str]:
    """The kinds of events in the viewer's language."""
    return {
        "deployment": _("Deployment"),
        "incident": _("Incident"),
        "alert": _("Alert"),
        "cutoff": _("Change of cut-off"),
        "model": _("HASE model"),
        "counter_reset": _("Restart"),
        "scrape_gap": _("Scrape gap"),
        "finding": _("Finding"),
        "other": _("Event"),
    }


def event_layers(
    events: pd.DataFrame | None, first: pd.Timestamp, last: pd.Timestamp, x: alt.X, *, minutes: bool = False
) -> list[Any]:
    """Thin rules with a mark at the top; what lasted long enough to be seen is a shaded band.

    `x` takes the field `_x`: a moment, or the `minutes` since `first`.
    """
    if events is None or events.empty:
        return []
    frame = pd.DataFrame(
        {
            "_kind": [kind if kind in EVENT_COLOURS else "other" for kind in events["kind"].astype(str)],
            "_title": events["title"].astype(str).to_numpy(),
            "_x": as_shown(events["starts_at"]).to_numpy(),
            "_end": as_shown(events["ends_at"]).to_numpy(),
        }
    )
    frame = frame[(frame["_end"].fillna(frame["_x"]) >= first) & (frame["_x"] < last)]
    if frame.empty:
        return []
    frame["_when"] = [_span(start, end) for start, end in zip(frame["_x"], frame["_end"], strict=True)]
    names = event_names()
    frame["_word"] = frame["_kind"].map(names)
    frame["_colour"] = frame["_kind"].map(EVENT_COLOURS)
    frame["_x"] = frame["_x"].clip(lower=first)
    frame["_end"] = frame["_end"].clip(upper=last)
    rare = frame.groupby("_kind")["_kind"].transform("size") <= MOST_RULES
    long = (frame["_end"] - frame["_x"]) > (last - first) / 80
    if minutes:
        for name in ("_x", "_end"):
            frame[name] = (frame[name] - first) / pd.Timedelta(minutes=1)
    colour = alt.Color("_colour:N", scale=None, legend=None)
    tooltip = [
        alt.Tooltip("_word:N", title=_("Event")),
        alt.Tooltip("_title:N", title=_("What")),
        alt.Tooltip("_when:N", title=_("When")),
    ]
    layers = []
    if long.any():
        shaded = alt.Chart(frame[long]).mark_rect(opacity=0.13)
        layers.append(shaded.encode(x=x, x2="_end", color=colour, tooltip=tooltip))
    if rare.any():
        rules = alt.Chart(frame[rare]).mark_rule(strokeWidth=1, opacity=0.65)
        layers.append(rules.encode(x=x, color=colour, tooltip=tooltip))
    # What is rare is drawn last: a change of model is not hidden by a year of deployments.
    frame = frame.loc[rare.sort_values(kind="stable").index]
    layers.append(
        alt.Chart(frame)
        .mark_point(shape="triangle-down", filled=True, size=64, opacity=1, yOffset=-4)
        .encode(x=x, y=alt.value(0), color=colour, tooltip=tooltip)
    )
    return layers


def _span(start: pd.Timestamp, end: pd.Timestamp | None) -> str:
    if end is None or pd.isna(end) or end == start:
        return when(start)
    return f"{when(start)} – {end:%H:%M}" if end.date() == start.date() else f"{when(start)} – {when(end)}"


def _whole_days(frame: pd.DataFrame, grain: Grain, keys: list[str]) -> pd.DataFrame:
    """A row for each day, week or month between first and last, so that one that is missing is a gap, not a slope."""
    if grain == "moment" or frame.empty:
        return frame
    step: Any = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(days=7), "month": pd.DateOffset(months=1)}[grain]
    every = pd.date_range(frame["_start"].min(), frame["_start"].max(), freq=step)
    if len(every) > 4000 or not frame["_start"].isin(every).all():
        return frame
    names = frame[keys].drop_duplicates()
    grid = names.merge(pd.DataFrame({"_start": every}), how="cross")
    return grid.merge(frame, on=[*keys, "_start"], how="left")


# --- over time --------------------------------------------------------------------------------------------------------


@kept
def band(
    data: pd.DataFrame,
    *,
    x: str,
    y: str = "value",
    unit: str,
    title: str,
    day: Any = None,
    events: pd.DataFrame | None = None,
    height: int = 260,
) -> Figure:
    """A day's running curve before the band of normal days.

    `data` has the columns `x` (minutes since midnight), `y`, `normal`, `low` and `high`; nulls are gaps. `events` are
    those of the `day`, by its clock.
    """
    if data[[y, "normal"]].dropna(how="all").empty:
        return _no_picture(data, title)
    how = measure(unit)
    hours = alt.Axis(
        values=list(range(0, 1441, 180)),
        labelExpr="format(floor(datum.value / 60), '02') + ':' + format(datum.value % 60, '02')",
        title=None,
        grid=False,
        labelFlush=False,
    )
    position = alt.X(f"{x}:Q", axis=hours, scale=alt.Scale(domain=[0, 1440], nice=False))
    # The label is part of the data, for a legend that also reads out.
    names = {"day": _("This day"), "normal": _("Normal day"), "band": _("8 of 10 normal days")}
    table = unstamped(data)[[x]].assign(_day=names["day"], _normal=names["normal"], _band=names["band"])
    for name in (y, "normal", "low", "high"):
        table[name] = _floats(data[name]) / how.size
        table[f"_{name}_said"] = [how.words(value) for value in data[name]]
    colour = alt.Scale(domain=list(names.values()), range=[accent(), GREY, "#59616c" if is_dark() else "#b9c0c8"])
    legend = _legend(list(names.values()))
    table["_clock"] = [f"{int(m) // 60:02d}:{int(m) % 60:02d}" for m in table[x]]
    tooltip = [
        alt.Tooltip("_clock:N", title=_("Time")),
        alt.Tooltip(f"_{y}_said:N", title=names["day"]),
        alt.Tooltip("_normal_said:N", title=names["normal"]),
        alt.Tooltip("_low_said:N", title=_("10 % below")),
        alt.Tooltip("_high_said:N", title=_("10 % above")),
    ]
    base = alt.Chart(table)
    layers = [
        base.mark_area(opacity=0.4, line=False).encode(
            x=position,
            y=alt.Y("low:Q", axis=how.axis()),
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
    if day is not None:
        begin = pd.Timestamp(day)
        place = alt.X("_x:Q", axis=hours, scale=alt.Scale(domain=[0, 1440], nice=False))
        layers += event_layers(events, begin, begin + pd.Timedelta(days=1), place, minutes=True)
    return _finish(alt.layer(*layers), data, title, height)


@kept
def line(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    compare: pd.DataFrame | None = None,
    periods: tuple[str, str] | None = None,
    low: str | None = None,
    high: str | None = None,
    target: Target = None,
    events: pd.DataFrame | None = None,
    today: Any = None,
    zero: bool | None = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """A line a colour over time, with its interval `low` to `high` where given. A missing value is a gap, not a slope.

    `x` is a day (or the first day of a week or month) or a moment; `zero` forces the axis to begin at nothing, or not;
    by default it does for counts and money.

    `periods` are the words for the line and for the compared one, where they are no periods of the filter.
    """
    if _is_empty(data, y) or data[x].isna().all():
        return _no_picture(data, title)
    grain = grain_of(data[x])
    how = measure(unit, [*data[y], *(() if compare is None else compare[y])])
    this, compared = periods or (_("This period"), _("Compared period"))
    frame = _series(data, x, y, color, names, this, how)
    frame["mark"] = _marks(data, drill)["mark"].to_numpy()
    if low and high:
        frame["_low"], frame["_high"] = (
            _floats(data[low]).to_numpy() / how.size,
            _floats(data[high]).to_numpy() / how.size,
        )
        frame["_interval"] = [f"{how.words(a)} – {how.words(b)}" for a, b in zip(data[low], data[high], strict=True)]
    frame = frame[frame["_start"].notna()]
    series = in_order(data[color], order, names) if color else [this]
    frame = _whole_days(frame.sort_values("_start"), grain, ["_series"])
    frame["_x"] = middle_of(frame["_start"], grain)
    beside = (
        _series(compare, x, y, color, names, this, how) if compare is not None and not _is_empty(compare, y) else None
    )
    if beside is not None:
        first, last = frame["_start"].min(), end_of(frame["_start"], grain).max()
        beside = beside[(beside["_start"] >= first) & (beside["_start"] < last)].sort_values("_start")
        beside["_x"] = middle_of(beside["_start"], grain)

    position = time_axis(frame["_start"], grain)
    plain = position.copy()
    begins = zero if zero is not None else how.unit.lower() in {"count", "mxn"}
    height_of = alt.Y("_y:Q", axis=how.axis(), scale=alt.Scale(zero=begins, nice=True))
    many = color is not None
    domain = series if many else ([this, compared] if beside is not None else [this])
    hues = colours_of(series, names) if many else ([accent(), pale()] if beside is not None else [accent()])
    over, running = _split(frame, grain, today)
    dots = _dots(frame, over, running, drill)
    colour = alt.Color(
        "_series:N",
        scale=alt.Scale(domain=domain, range=hues),
        legend=_legend(domain, strokes=dots.empty) if many or beside is not None else None,
    )
    pick = _pick(drill)
    layers: list[Any] = []
    if low and high:
        layers.append(
            alt.Chart(frame[["_x", "_low", "_high", "_series"]])
            .mark_area(opacity=0.18, line=False)
            .encode(
                x=position, y=alt.Y("_low:Q", axis=how.axis(), scale=alt.Scale(zero=begins)), y2="_high:Q", color=colour
            )
        )
    if beside is not None:
        if not many:
            beside["_series"] = compared
        layers.append(
            alt.Chart(beside[["_x", "_y", "_series"]])
            .mark_line(strokeDash=[4, 4], strokeWidth=1.4, opacity=0.6 if many else 0.9)
            .encode(x=position, y=height_of, color=colour)
        )
    core = ["_x", "_y", "_series"]
    layers.append(
        alt.Chart(over[core])
        .mark_line(strokeWidth=2.2, strokeJoin="round")
        .encode(x=position, y=height_of, color=colour)
    )
    if not running.empty:
        layers.append(
            alt.Chart(running[core])
            .mark_line(strokeWidth=2, strokeDash=[2, 3])
            .encode(x=position, y=height_of, color=colour)
        )
    strip = _hover(frame, beside, series, position, grain, many=many, periods=(this, compared))
    # One line: anywhere over a day picks it. Several: its point does.
    layers.append(
        strip.mark_rect(opacity=0, **_cursor(drill)).add_params(pick) if drill is not None and not many else strip
    )
    layers += _target_layers(target, how, frame[["_y", *(["_high"] if low and high else [])]].max(axis=None))
    if not dots.empty:
        seen = alt.Chart(dots[[*core, "mark", "_size", "_name", "_said"]]).mark_point(
            filled=True, opacity=1, **_cursor(drill)
        )
        seen = seen.encode(
            x=plain,
            y=height_of,
            color=colour,
            size=alt.Size("_size:Q", scale=None),
            tooltip=[
                alt.Tooltip("_name:N", title=_("Day") if grain == "day" else _("Time")),
                alt.Tooltip("_said:N", title=title),
                *([alt.Tooltip("_series:N", title=" ")] if many else []),
            ],
        )
        if drill is not None and not many:
            seen = seen.encode(opacity=alt.condition(pick, alt.value(1), alt.value(0.35)))
        layers.append(_clickable(seen, pick, faint=0.35) if many else seen)
    layers += event_layers(events, frame["_start"].min(), end_of(frame["_start"], grain).max(), plain)
    words = _alt_text(title, unit, data[y], _over(frame["_start"], grain))
    return _finish(alt.layer(*layers), data, words, height, drill, _marks(data, drill))


def _series(
    data: pd.DataFrame, x: str, y: str, color: str | None, names: Names, alone: str, how: Measure
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "_start": as_shown(data[x]).to_numpy(),
            "_y": _floats(data[y]).to_numpy() / how.size,
            "_series": named(data[color], names) if color else alone,
            "_said": [how.words(value) for value in data[y]],
        }
    )


def _over(starts: pd.Series[Any], grain: Grain) -> str:
    first, last = time_names(pd.Series([starts.min(), starts.max()]), grain)
    return first if first == last else f"{first} – {last}"


def _split(frame: pd.DataFrame, grain: Grain, today: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is over, and the last stretch to what is not: it is drawn dotted."""
    if today is None or grain == "moment":
        return frame, frame.iloc[:0]
    running = end_of(frame["_start"], grain) > pd.Timestamp(today)
    if not running.any():
        return frame, frame.iloc[:0]
    before = frame[~running]
    joint = before[before["_start"] == before["_start"].max()] if not before.empty else before
    return before, pd.concat([joint, frame[running]])


def _dots(frame: pd.DataFrame, over: pd.DataFrame, running: pd.DataFrame, drill: Any) -> pd.DataFrame:
    """The points that are seen: all when a click picks one, else those that no line reaches, and the unfinished one."""
    known = frame[frame["_y"].notna()].copy()
    known["_name"] = time_names(known["_start"], grain_of(frame["_start"]))
    known["_size"] = 26.0 if drill is not None and len(known) <= 400 else 12.0
    if drill is not None:
        return known
    values = frame.groupby("_series", sort=False)["_y"]
    alone = frame["_y"].notna() & values.shift(1).isna() & values.shift(-1).isna()
    last = frame["_start"].isin(running["_start"]) & ~frame["_start"].isin(over["_start"])
    known["_size"] = 30.0
    return known[(alone | last)[known.index]]


def _hover(
    frame: pd.DataFrame,
    beside: pd.DataFrame | None,
    series: list[str],
    position: alt.X,
    grain: Grain,
    *,
    many: bool,
    periods: tuple[str, str] = ("", ""),
) -> Any:
    """An unseen strip over each day, whose tooltip has every series: the eye need not hit a line."""
    wide = frame.pivot_table(index="_start", columns="_series", values="_said", aggfunc="first", dropna=False)
    wide = wide.reindex(columns=series)
    wide.columns = pd.Index([f"_s{place}" for place in range(len(series))])
    wide = wide.fillna(UNKNOWN).reset_index()
    tooltip = [alt.Tooltip("_name:N", title=_("Day") if grain == "day" else _("Time"))]
    tooltip += [
        alt.Tooltip(f"_s{place}:N", title=name if many else periods[0] if beside is not None else _("Value"))
        for place, name in enumerate(series)
    ]
    if "_interval" in frame and not many:
        intervals = frame.dropna(subset=["_interval"]).set_index("_start")["_interval"]
        wide["_interval"] = wide["_start"].map(intervals[~intervals.index.duplicated()]).fillna(UNKNOWN)
        tooltip.append(alt.Tooltip("_interval:N", title=_("Interval")))
    if beside is not None and not many:
        past = beside.set_index("_start")["_said"]
        wide["_past"] = wide["_start"].map(past[~past.index.duplicated()]).astype(object).fillna(UNKNOWN)
        tooltip.append(alt.Tooltip("_past:N", title=periods[1]))
    if not many:
        texts = frame.dropna(subset=["mark"]).set_index("_start")["mark"]
        wide["mark"] = wide["_start"].map(texts[~texts.index.duplicated()]).fillna("")
    wide["_name"] = time_names(wide["_start"], grain)
    if grain == "moment":
        least = wide["_start"].sort_values().diff().min()
        half = (least if pd.notna(least) else pd.Timedelta(hours=1)) / 2
        wide["_x"], wide["_to"] = wide["_start"] - half, wide["_start"] + half
        wide["_x"], wide["_to"] = (
            wide["_x"].clip(lower=wide["_start"].min()),
            wide["_to"].clip(upper=wide["_start"].max()),
        )
    else:
        wide["_x"], wide["_to"] = wide["_start"], end_of(wide["_start"], grain)
    return alt.Chart(wide.drop(columns="_start")).mark_rect(opacity=0).encode(x=position, x2="_to:T", tooltip=tooltip)


@kept
def area(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    color: str,
    order: Sequence[Any] | None = None,
    names: Names = None,
    normalize: bool = False,
    events: pd.DataFrame | None = None,
    today: Any = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """Stacked areas over time, the first of the order at the bottom; as shares of the whole with `normalize`."""
    if _is_empty(data, y) or data[x].isna().all():
        return _no_picture(data, title)
    grain = grain_of(data[x])
    how = measure("share" if normalize else unit, () if normalize else data[y])
    said_in = measure(unit)
    frame = _series(data, x, y, color, names, "", Measure(unit) if normalize else how)
    frame["_said"] = [said_in.words(value) for value in data[y]]
    frame["mark"] = _marks(data, drill)["mark"].to_numpy()
    frame = frame[frame["_start"].notna()].sort_values("_start", ignore_index=True)
    series = in_order(data[color], order, names)
    frame["_x"] = middle_of(frame["_start"], grain)
    frame["_place"] = frame["_series"].map({name: place for place, name in enumerate(series)})
    # Where each layer's upper edge is, for the points that are clicked.
    frame = frame.sort_values(["_start", "_place"], ignore_index=True)
    frame["_y"] = frame["_y"].fillna(0.0)
    whole = frame.groupby("_start")["_y"].transform("sum")
    if normalize:
        frame["_y"] = (frame["_y"] / whole.where(whole != 0)).fillna(0.0)
    frame["_top"] = frame.groupby("_start")["_y"].cumsum()
    position = time_axis(frame["_start"], grain)
    colour = alt.Color("_series:N", scale=_domain(series, names), legend=_legend(series))
    base = alt.Chart(frame[["_x", "_y", "_series", "_place"]])
    upwards = {"axis": how.axis(), "scale": alt.Scale(domain=[0, 1])} if normalize else _upwards(how, frame["_top"])
    layers: list[Any] = [
        base.mark_area(line=False, opacity=0.92).encode(
            x=position,
            y=alt.Y("_y:Q", stack=True, **upwards),
            color=colour,
            order=alt.Order("_place:Q"),
        )
    ]
    layers += _veil(frame["_start"], grain, today)
    if drill is None:
        layers.append(_hover(frame, None, series, position, grain, many=True))
    else:
        layers.append(_cells(frame, position, grain, title, drill))
    layers += event_layers(events, frame["_start"].min(), end_of(frame["_start"], grain).max(), position)
    words = _alt_text(title, unit, data[y], _over(frame["_start"], grain))
    return _finish(alt.layer(*layers), data, words, height, drill, _marks(data, drill))


def _cells(frame: pd.DataFrame, position: alt.X, grain: Grain, title: str, drill: Any) -> Any:
    """Each day's part of each area, unseen until it is picked: a click anywhere in an area finds its day and name."""
    cells = frame.assign(
        _name=time_names(frame["_start"], grain),
        _bottom=frame["_top"] - frame["_y"],
        _x=frame["_start"],
        _to=end_of(frame["_start"], grain),
    )
    pick = _pick(drill)
    return (
        alt.Chart(cells[["_x", "_to", "_bottom", "_top", "_series", "mark", "_name", "_said"]])
        .mark_rect(color=ink(), **_cursor(drill))
        .encode(
            x=position,
            x2="_to:T",
            y="_bottom:Q",
            y2="_top:Q",
            opacity=alt.condition({"param": "pick", "empty": False}, alt.value(0.45), alt.value(0)),
            tooltip=[
                alt.Tooltip("_name:N", title=_("Day") if grain == "day" else _("Time")),
                alt.Tooltip("_series:N", title=" "),
                alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
            ],
        )
        .add_params(pick)
    )


def _veil(starts: pd.Series[Any], grain: Grain, today: Any) -> list[Any]:
    """A veil over what is not over yet, from the middle of what is."""
    if today is None or grain == "moment":
        return []
    running = starts[end_of(starts, grain) > pd.Timestamp(today)]
    before = starts[end_of(starts, grain) <= pd.Timestamp(today)]
    if running.empty:
        return []
    begin = middle_of(before, grain).max() if not before.empty else running.min()
    frame = pd.DataFrame({"_x": [begin], "_to": [end_of(running, grain).max()]})
    return [alt.Chart(frame).mark_rect(color=ground(), opacity=0.45).encode(x="_x:T", x2="_to:T")]


@kept
def bars_over_time(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    compare: pd.DataFrame | None = None,
    target: Target = None,
    events: pd.DataFrame | None = None,
    today: Any = None,
    bin: Bin = None,
    period: tuple[date, date] | None = None,
    until: str | None = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """Stacked bars over time, the compared period as a pale line through its totals.

    `bin` gathers a sum by day, week (from Monday) or month, or as fits the length (`auto`); then the marks carry
    `bin_first` and `bin_last`, the days that a bar holds, both inclusive. Without it bars stand as the data does.
    `period` are the first and last day that are looked at: the axis has all of it, where its ends have no bar, too.
    `until` is the column with the moment at which a stretch of less than a day ends; without it the narrowest distance
    of two bars tells, which of one bar is not known.
    """
    if _is_empty(data, y) or data[x].isna().all():
        return _no_picture(data, title)
    ends = None if period is None else pd.Series(pd.to_datetime(period))
    if bin == "auto" and ends is not None:
        # Bars as wide as the axis asks for, however few days have one.
        bin = bins_of(ends, bin)[1]
    marks, grain = _binned(data[data[x].notna()], x, y, color, bin, drill)
    marks = _marks(marks, drill)
    others = None
    if compare is not None and not _is_empty(compare, y):
        others, _grain = _binned(compare[compare[x].notna()], x, y, None, grain if bin else None, None)
    totals = marks.groupby("_start")["_y"].sum()
    how = measure(unit, [*totals, *(() if others is None else others["_y"])])
    this, compared = _("This period"), _("Compared period")
    series = in_order(data[color], order, names) if color else [this]
    reach = marks["_start"]
    if ends is not None and grain != "moment":
        reach = pd.concat([reach, bins_of(ends, grain)[0]], ignore_index=True)
    first, last = reach.min(), end_of(reach, grain).max()
    frame = pd.DataFrame({"mark": marks["mark"], "_series": named(marks[color], names) if color else this})
    width = end_of(marks["_start"], grain) - marks["_start"]
    if grain == "moment":
        ends = as_shown(marks[until]) if until is not None else marks["_start"] + _narrowest(marks["_start"])
        width, last = ends - marks["_start"], ends.max()
    frame["_x"], frame["_to"] = marks["_start"] + width * 0.09, marks["_start"] + width * 0.91
    frame["_y"] = marks["_y"] / how.size
    frame["_place"] = frame["_series"].map({name: place for place, name in enumerate(series)})
    frame["_name"] = _bin_names(marks, grain)
    frame["_said"] = [how.words(value) for value in marks["_y"]]
    frame["_total"] = [how.words(totals[start]) for start in marks["_start"]]
    running = pd.Series(False, index=marks.index)
    if today is not None and grain != "moment":
        running = end_of(marks["_start"], grain) > pd.Timestamp(today)
    frame["_solid"] = np.where(running, 0.45, 1.0)

    position = time_axis(reach, grain)
    if others is not None:
        others = others[(others["_start"] >= first) & (others["_start"] < last)].sort_values("_start")
        past = others.groupby("_start")["_y"].sum()
        frame["_past"] = [how.words(past.get(start)) for start in marks["_start"]]
    pick = _pick(drill)
    domain = series if color else ([this, compared] if others is not None else [this])
    hues = colours_of(series, names) if color else ([accent(), ink()] if others is not None else [accent()])
    colour = alt.Color(
        "_series:N",
        scale=alt.Scale(domain=domain, range=hues),
        legend=_legend(domain) if color or others is not None else None,
    )
    tooltip = [alt.Tooltip("_name:N", title=_("Day") if grain == "day" else _("Time"))]
    tooltip += [alt.Tooltip("_series:N", title=" ")] if color else []
    tooltip.append(alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")))
    tooltip += [alt.Tooltip("_total:N", title=_("Total"))] if color else []
    tooltip += [alt.Tooltip("_past:N", title=compared)] if others is not None else []
    if running.any():
        frame["_note"] = np.where(running, _("not over yet"), "")
        tooltip.append(alt.Tooltip("_note:N", title=" "))
    bars = (
        alt.Chart(frame)
        .mark_bar(orient="vertical", **_rounded(not color, 1.5), **_cursor(drill))
        .encode(
            x=position,
            x2="_to:T",
            # A single series is not stacked: Vega-Lite loses rounded bars with two edges in a stack.
            y=alt.Y("_y:Q", stack="zero" if color else None, axis=how.axis(), scale=alt.Scale(zero=True)),
            color=colour,
            order=alt.Order("_place:Q"),
            fillOpacity=alt.FillOpacity("_solid:Q", scale=None, legend=None),
            tooltip=tooltip,
        )
    )
    layers: list[Any] = [_clickable(bars, pick)]
    if others is not None and not others.empty:
        past_frame = pd.DataFrame(
            {"_x": middle_of(past.index.to_series(), grain).to_numpy(), "_y": past.to_numpy() / how.size}
        )
        past_frame["_series"] = compared
        dashed = alt.Chart(past_frame).mark_line(strokeDash=[4, 4], strokeWidth=1.5, opacity=0.85)
        encoded = dashed.encode(x=position, y="_y:Q", color=alt.value(ink()) if color else colour)
        layers.append(encoded)
    layers += _target_layers(target, how)
    layers += event_layers(events, first, last, position)
    words = _alt_text(title, unit, totals, _over(marks["_start"], grain))
    return _finish(alt.layer(*layers), data, words, height, drill, marks)


def _narrowest(starts: pd.Series[Any]) -> pd.Timedelta:
    least = starts.drop_duplicates().sort_values().diff().min()
    return least if pd.notna(least) else pd.Timedelta(hours=1)


def _binned(data: pd.DataFrame, x: str, y: str, color: str | None, bin: Bin, drill: Any) -> tuple[pd.DataFrame, Grain]:
    """One row a bar: `_start`, `_y`, `bin_first`, `bin_last`, the colour, and the columns that a click needs."""
    starts, grain = bins_of(data[x], bin)
    frame = unstamped(data).assign(_start=starts, _y=_floats(data[y]))
    days = as_shown(data[x])
    if bin is None:
        # As the data stands: a first day of a week or month stands for all of it.
        ends = end_of(starts, grain) - pd.Timedelta(days=1) if grain != "moment" else starts
        return frame.assign(bin_first=starts, bin_last=ends).reset_index(drop=True), grain
    keys = [
        column for column in dict.fromkeys(["_start", color, *_by(drill)]) if column in frame and column is not None
    ]
    keys = [column for column in keys if column not in {x, "bin_first", "bin_last"}]
    sums = {"_y": "sum"}
    count = getattr(drill, "count", None)
    if isinstance(count, str) and count in frame and count not in keys:
        frame[count] = _floats(frame[count])
        sums[count] = "sum"
    gathered = frame.groupby(keys, sort=True, dropna=False, as_index=False).agg(sums)
    # The days of a bin are those of the whole bin within the data, not those of one colour that has rows.
    lower, upper = days.min().normalize(), days.max().normalize()
    gathered["bin_first"] = gathered["_start"].clip(lower=lower)
    gathered["bin_last"] = (end_of(gathered["_start"], grain) - pd.Timedelta(days=1)).clip(upper=upper)
    gathered[x] = gathered["_start"]
    return gathered, grain


def _bin_names(marks: pd.DataFrame, grain: Grain) -> list[str]:
    """A whole month by its name, a week or a part by its days."""
    names = time_names(marks["_start"], grain)
    if grain not in {"week", "month"}:
        return names
    whole = (marks["bin_first"] == marks["_start"]) & (
        marks["bin_last"] == end_of(marks["_start"], grain) - pd.Timedelta(days=1)
    )
    first, last = time_names(marks["bin_first"], "day"), time_names(marks["bin_last"], "day")
    return [
        name if full else (a if a == b else f"{a} – {b}")
        for name, full, a, b in zip(names, whole, first, last, strict=True)
    ]


# --- by a name --------------------------------------------------------------------------------------------------------


def _upwards(how: Measure, *values: pd.Series[Any]) -> dict[str, Any]:
    """Axis and scale of an amount. Nothing but zeros stand at the foot: their axis would put them in the middle."""
    if all((some.dropna() == 0).all() for some in values):
        return {"axis": how.axis(values=[0]), "scale": alt.Scale(domain=[0, 1])}
    return {"axis": how.axis()}


def _names_axis(names: Sequence[str], title: str | None = None, **options: Any) -> alt.Axis:
    """An axis of names, written as small as need be before any is left out; a range (30–39) takes two lines first."""
    count, longest = max(len(names), 1), max((len(name) for name in names), default=1)
    size = f"clamp(width / {count * longest * 0.66:.2f}, 8.5, 11)"
    if any("–" in name for name in names):
        part = max(len(line) for name in names for line in name.replace("–", "–\n", 1).split("\n"))
        narrow = f"width < {count * longest * 0.66 * 8.5:.2f}"
        size = f"{narrow} ? clamp(width / {count * part * 0.66:.2f}, 8.5, 11) : {size}"
        options["labelExpr"] = f"{narrow} ? split(replace(datum.label, '–', '–\\n'), '\\n') : datum.label"
    return alt.Axis(
        title=title,
        labelAngle=0,
        labelFontSize=alt.ExprRef(size),
        ticks=False,
        labelOverlap="greedy",
        labelFlush=False,
        titleAnchor="end",
        **options,
    )


def _across(names: Sequence[str], title: str | None = None) -> alt.X:
    """The place of a column `_x` of names."""
    return alt.X("_x:N", sort=list(names), axis=_names_axis(names, title, labelLimit=110))


@kept
def bar(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    compare: pd.DataFrame | None = None,
    target: Target = None,
    low: str | None = None,
    high: str | None = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """Bars of a quantity by a name, in the given order or as the data stands; `compare` as a tick on each bar."""
    if _is_empty(data, y):
        return _no_picture(data, title)
    how = measure(unit, data[y])
    shown = in_order(data[x], order, names) if order is not None or names else list(dict.fromkeys(named(data[x])))
    marks = _marks(data, drill)
    frame = pd.DataFrame({"_x": named(data[x], names), "_y": _floats(data[y]).to_numpy() / how.size})
    frame["_said"] = [how.words(value) for value in data[y]]
    frame["mark"] = marks["mark"]
    series = in_order(data[color], None, names) if color else []
    frame["_series"] = named(data[color], names) if color else ""
    stacked = bool(color) and color != x
    tooltip = [alt.Tooltip("_x:N", title=" "), alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value"))]
    if stacked:
        tooltip.insert(1, alt.Tooltip("_series:N", title=" "))
    if compare is not None and not _is_empty(compare, y):
        past = _floats(compare[y]).groupby(named(compare[x], names)).sum()
        frame["_past"] = [how.words(past.get(name)) for name in frame["_x"]]
        tooltip.append(alt.Tooltip("_past:N", title=_("Compared period")))
    if low and high:
        frame["_low"], frame["_high"] = (
            _floats(data[low]).to_numpy() / how.size,
            _floats(data[high]).to_numpy() / how.size,
        )
        frame["_interval"] = [f"{how.words(a)} – {how.words(b)}" for a, b in zip(data[low], data[high], strict=True)]
        tooltip.append(alt.Tooltip("_interval:N", title=_("Interval")))
    across = _across(shown)
    seen = [frame["_y"], *([past] if "_past" in frame else []), *([frame["_high"]] if low and high else [])]
    bars = (
        alt.Chart(frame)
        .mark_bar(**_rounded(not stacked), **_cursor(drill))
        .encode(
            x=across,
            y=alt.Y("_y:Q", **_upwards(how, *seen), stack="zero" if stacked else None),
            color=alt.Color("_series:N", scale=_domain(series, names), legend=_legend(series) if stacked else None)
            if color
            else alt.value(accent()),
            tooltip=tooltip,
        )
    )
    layers: list[Any] = [_clickable(bars, _pick(drill))]
    if low and high:
        layers.append(
            alt.Chart(frame)
            .mark_rule(color=ink(), strokeWidth=1.4)
            .encode(x=across, y="_low:Q", y2="_high:Q", tooltip=tooltip)
        )
    if "_past" in frame:
        ticks = pd.DataFrame({"_x": list(past.index), "_y": past.to_numpy() / how.size})
        ticks = ticks[ticks["_x"].isin(frame["_x"])]
        layers.append(alt.Chart(ticks).mark_tick(thickness=2, color=ink(), opacity=0.75).encode(x=across, y="_y:Q"))
    layers += _target_layers(target, how)
    words = _alt_text(title, unit, data[y])
    return _finish(alt.layer(*layers), data, words, height, drill, marks)


@kept
def pareto(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    names: Names = None,
    height: int | None = None,
    drill: Any = None,
) -> Figure:
    """The largest first, with the share that they and all before them make up of the whole."""
    if _is_empty(data, y):
        return _no_picture(data, title)
    marks = _marks(data, drill)
    frame = pd.DataFrame({"_name": named(data[x], names), "_value": _floats(data[y]).fillna(0.0).to_numpy()})
    frame["mark"] = marks["mark"]
    frame = frame.sort_values("_value", ascending=False, kind="stable", ignore_index=True)
    how = measure(unit, frame["_value"])
    whole = frame["_value"].sum()
    frame["_y"] = frame["_value"] / how.size
    frame["_share"] = frame["_value"].cumsum() / whole if whole else 0.0
    frame["_said"] = [how.words(value) for value in frame["_value"]]
    frame["_own"] = [percent(value / whole if whole else None) for value in frame["_value"]]
    frame["_cumulated"] = [percent(value) for value in frame["_share"]]
    order = list(frame["_name"])
    down = alt.Y("_name:N", sort=order, axis=alt.Axis(title=None, labelLimit=150, ticks=False, domain=False))
    tooltip = [
        alt.Tooltip("_name:N", title=" "),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
        alt.Tooltip("_own:N", title=_("Share")),
        alt.Tooltip("_cumulated:N", title=_("With those before")),
    ]
    bars = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=2, height={"band": 0.72}, **_cursor(drill))
        .encode(y=down, x=alt.X("_y:Q", axis=how.along()), color=alt.value(accent()), tooltip=tooltip)
    )
    top = alt.Axis(orient="top", format=".0%", title=None, tickCount=5, grid=False, values=[0, 0.25, 0.5, 0.75, 1])
    share = alt.X("_share:Q", axis=top, scale=alt.Scale(domain=[0, 1]))
    hue = "#d9a441" if not is_dark() else "#e0b35c"
    curve = alt.Chart(frame).mark_line(
        color=hue, strokeWidth=2, point=alt.OverlayMarkDef(size=36, color=hue, filled=True)
    )
    cumulated = curve.encode(y=down, x=share, order=alt.Order("_share:Q"), tooltip=tooltip)
    chart = alt.layer(_clickable(bars, _pick(drill)), cumulated).resolve_scale(x="independent")
    words = _alt_text(title, unit, data[y], f"{order[0]} {frame['_own'][0]}")
    tall = height or max(28 * len(frame) + 50, 120)
    return _finish(chart, data, words, tall, drill, marks)


@kept
def funnel(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    note: str | None = None,
    names: Names = None,
    height: int | None = None,
    drill: Any = None,
) -> Figure:
    """Steps as they follow in the data, each with its share of the step before and of the first.

    `note` is a column of text under a step's name, such as the median time since the step before.
    """
    if _is_empty(data, y):
        return _no_picture(data, title)
    marks = _marks(data, drill)
    values = _floats(data[y]).fillna(0.0)
    how = measure(unit, values)
    frame = pd.DataFrame({"_name": named(data[x], names), "_y": values.to_numpy() / how.size, "mark": marks["mark"]})
    first, before = values.iloc[0], values.shift(1)
    frame["_said"] = [how.words(value) for value in values]
    frame["_of_before"] = [percent(value / past if past else None) for value, past in zip(values, before, strict=True)]
    frame["_of_first"] = [percent(value / first if first else None) for value in values]
    notes = ["" if is_unknown(text) else str(text) for text in data[note]] if note else [""] * len(frame)
    frame["_note"] = notes
    frame["_label"] = [
        said_ if place == 0 else f"{said_} · {of_before}"
        for place, (said_, of_before) in enumerate(zip(frame["_said"], frame["_of_before"], strict=True))
    ]
    greatest = float(frame["_y"].max()) or 1.0
    frame["_inside"] = frame["_y"] > 0.5 * greatest
    order = list(dict.fromkeys(frame["_name"]))
    lines = frame.drop_duplicates("_name").set_index("_name")["_note"]
    frame["_axis"] = [f"{name}\n{lines[name]}" if lines[name] else name for name in frame["_name"]]
    labels = [f"{name}\n{lines[name]}" if lines[name] else name for name in order]
    down = alt.Y(
        "_axis:N",
        sort=labels,
        axis=alt.Axis(
            title=None, labelLimit=190, ticks=False, domain=False, labelExpr="split(datum.label, '\\n')", labelPadding=8
        ),
    )
    tooltip = [
        alt.Tooltip("_name:N", title=_("Step")),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
        alt.Tooltip("_of_before:N", title=_("Of the step before")),
        alt.Tooltip("_of_first:N", title=_("Of the first step")),
    ]
    if note:
        tooltip.append(alt.Tooltip("_note:N", title=" "))
    along = alt.X("_y:Q", axis=None, scale=alt.Scale(domain=[0, greatest], nice=False))
    bars = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.7}, **_cursor(drill))
        .encode(y=down, x=along, color=alt.value(accent()), tooltip=tooltip)
    )
    layers: list[Any] = [_clickable(bars, _pick(drill))]
    on_bar = "#0f1418" if is_dark() else "#ffffff"
    sides: tuple[tuple[bool, dict[str, Any]], ...] = (
        (True, {"align": "right", "dx": -8, "color": on_bar}),
        (False, {"align": "left", "dx": 8, "color": ink()}),
    )
    for inside, options in sides:
        part = frame[frame["_inside"] == inside]
        if not part.empty:
            # On a phone half a bar is narrower than the writing.
            size = alt.ExprRef("width < 240 ? 9 : 12")
            texts = alt.Chart(part).mark_text(fontSize=size, fontWeight=600, **options)
            layers.append(texts.encode(y=down, x=along, text="_label:N", tooltip=tooltip))
    words = _alt_text(title, unit, data[y], f"{order[-1]} {frame['_of_first'].iloc[-1]}")
    tall = height or max((54 if note else 44) * len(frame), 120)
    return _finish(alt.layer(*layers), data, words, tall, drill, marks)


@kept
def points(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    low: str,
    high: str,
    x_title: str | None = None,
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    target: Target = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """Rates by a name, each with its interval from `low` to `high`."""
    if _is_empty(data, y):
        return _no_picture(data, title)
    how = measure(unit, [*data[y], *data[high]])
    marks = _marks(data, drill)
    shown = in_order(data[x], order, names) if order is not None or names else list(dict.fromkeys(named(data[x])))
    frame = pd.DataFrame({"_x": named(data[x], names), "mark": marks["mark"]})
    for name, column in (("_y", y), ("_low", low), ("_high", high)):
        frame[name] = _floats(data[column]).to_numpy() / how.size
    frame["_said"] = [how.words(value) for value in data[y]]
    frame["_interval"] = [f"{how.words(a)} – {how.words(b)}" for a, b in zip(data[low], data[high], strict=True)]
    series = in_order(data[color], None, names) if color else []
    frame["_series"] = named(data[color], names) if color else ""
    beside = bool(color) and color != x
    across = _across(shown, x_title)
    offset = {"xOffset": alt.XOffset("_series:N", sort=series)} if beside else {}
    colour = (
        alt.Color("_series:N", scale=_domain(series, names), legend=_legend(series) if beside else None)
        if color
        else alt.value(accent())
    )
    tooltip = [
        alt.Tooltip("_x:N", title=x_title or " "),
        *([alt.Tooltip("_series:N", title=" ")] if beside else []),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
        alt.Tooltip("_interval:N", title=_("Interval")),
    ]
    base = alt.Chart(frame)
    scale = alt.Scale(zero=True)
    dots = base.mark_point(filled=True, size=80, opacity=1, **_cursor(drill)).encode(
        x=across, y=alt.Y("_y:Q", axis=how.axis(), scale=scale), color=colour, tooltip=tooltip, **offset
    )
    layers: list[Any] = [
        base.mark_rule(strokeWidth=2, opacity=0.55).encode(
            x=across,
            y=alt.Y("_low:Q", axis=how.axis(), scale=scale),
            y2="_high:Q",
            color=colour,
            tooltip=tooltip,
            **offset,
        ),
        _clickable(dots, _pick(drill)),
    ]
    layers += _target_layers(target, how)
    words = _alt_text(title, unit, data[y])
    return _finish(alt.layer(*layers), data, words, height, drill, marks)


# --- two dimensions, distributions ------------------------------------------------------------------------------------


@kept
def heatmap(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    value: str,
    unit: str,
    title: str,
    x_order: Sequence[Any] | None = None,
    y_order: Sequence[Any] | None = None,
    x_names: Names = None,
    y_names: Names = None,
    x_title: str | None = None,
    y_title: str | None = None,
    text: bool = False,
    domain: tuple[float, float] | None = None,
    note: str | None = None,
    note_title: str | None = None,
    events: pd.DataFrame | None = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """A value by two names, the first of `y_order` at the top; with `text` each cell says its value.

    When `x` is a day (or the first day of a week or month) it is a time axis and `events` can be drawn. `domain` fixes
    the values of the lightest and the strongest colour; `note` is a column of text for the tooltip, such as counts.
    """
    if _is_empty(data, value):
        return _no_picture(data, title)
    over_time = pd.api.types.is_datetime64_any_dtype(data[x].dtype)
    how = measure(unit, data[value])
    marks = _marks(data, drill)
    frame = pd.DataFrame({"_v": _floats(data[value]).to_numpy() / how.size, "_name_y": named(data[y], y_names)})
    frame["mark"] = marks["mark"]
    frame["_said"] = [how.words(one) for one in data[value]]
    # In a cell there is room for the number alone.
    frame["_short"] = [_short(one, unit) for one in data[value]]
    rows = in_order(data[y], y_order, y_names)
    if over_time:
        grain = grain_of(data[x])
        frame["_start"] = as_shown(data[x]).to_numpy()
        frame["_name_x"] = time_names(frame["_start"], grain)
        ends_at = end_of(frame["_start"], grain)
        if grain == "moment":
            # A moment has no end of its own: a cell reaches to the next.
            ends_at = frame["_start"] + _narrowest(frame["_start"])
        frame["_x"], frame["_to"] = frame["_start"], ends_at
        across: alt.X = time_axis(frame["_start"], grain)
        extent: dict[str, Any] = {"x": across, "x2": "_to:T"}
    else:
        frame["_name_x"] = named(data[x], x_names)
        columns = in_order(data[x], x_order, x_names)
        axis = _names_axis(columns, x_title, domain=False)
        across = alt.X("_name_x:N", sort=columns, axis=axis, scale=alt.Scale(padding=0))
        extent = {"x": across}
    down = alt.Y(
        "_name_y:N",
        sort=rows,
        # Beside the labels its title would take a column of its own: it is written over them.
        axis=alt.Axis(
            title=None,
            ticks=False,
            domain=False,
            labelLimit=130,
            labelFlush=False,
            labelOverlap=len(rows) * 15 > height,
        ),
        scale=alt.Scale(padding=0),
    )
    ends = list(domain) if domain else [min(0.0, float(frame["_v"].min())), float(frame["_v"].max()) or 1.0]
    colour = alt.Color(
        "_v:Q",
        scale=alt.Scale(domain=ends, range=sequential(), interpolate="lab", clamp=True),
        legend=None
        if text
        else alt.Legend(
            orient="top",
            title=how.word or None,
            gradientLength=180,
            gradientThickness=8,
            tickCount=3,
            labelOverlap="greedy",
            labelSeparation=2,
            **_legend_format(how),
        ),
    )
    tooltip = [
        alt.Tooltip("_name_x:N", title=x_title or " "),
        alt.Tooltip("_name_y:N", title=y_title or " "),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
    ]
    if note:
        frame["_note"] = data[note].astype(str).to_numpy()
        tooltip.append(alt.Tooltip("_note:N", title=note_title or " "))
    cells = alt.Chart(frame).mark_rect(**_cursor(drill)).encode(**extent, y=down, color=colour, tooltip=tooltip)
    layers: list[Any] = [_clickable(cells, _pick(drill))]
    if text:
        # Black or white, whichever stands out more: any paler pair is below 4.5:1 (WCAG) on the middle shades.
        on_pale = "contrast(scale('color', datum._v), 'black') > contrast(scale('color', datum._v), 'white')"
        # On a phone a cell is narrow: smaller writing, and none where even that would run into its neighbour.
        cell = f"width / {max(frame['_name_x'].nunique(), 1)}"
        size = alt.ExprRef(f"{cell} < 21 ? 0 : min(11, {cell} / 3.2)")
        written = alt.Chart(frame[frame["_v"].notna()]).mark_text(fontSize=size)
        spot: dict[str, Any] = {"x": across}
        if over_time:
            frame["_x"] = middle_of(frame["_start"], grain)
            written = alt.Chart(frame[frame["_v"].notna()]).mark_text(fontSize=size)
        layers.append(
            written.encode(
                **spot,
                y=down,
                text="_short:N",
                tooltip=tooltip,
                color=alt.condition(on_pale, alt.value("#000000"), alt.value("#ffffff")),
            )
        )
    if over_time:
        layers += event_layers(events, frame["_start"].min(), frame["_to"].max(), across)
    if y_title:
        over = alt.Chart(pd.DataFrame({"_title": [y_title]})).mark_text(
            align="right", baseline="bottom", fontSize=11, color=ink()
        )
        layers.append(over.encode(x=alt.value(-6), y=alt.value(-6), text="_title:N"))
    words = _alt_text(title, unit, data[value])
    return _finish(alt.layer(*layers), data, words, height, drill, marks)


def _short(value: Any, unit: str) -> str:
    if is_unknown(value):
        return ""
    if unit.lower() in {"share", "%"}:
        return f"{float(value) * 100:.0f} %" if abs(float(value)) >= 0.1 or not value else f"{float(value) * 100:.1f} %"
    if unit.lower() == "mxn":
        return short_money(value)
    return said(value, unit)


def _legend_format(how: Measure) -> dict[str, Any]:
    return {"labelExpr": how.expression} if how.expression else {"format": how.format}


@kept
def histogram(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    x_title: str,
    x2: str | None = None,
    x_unit: str = "",
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    rules: Rules = (),
    log: bool = False,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """Bars from the lower edge `x` to the upper edge `x2` of each bucket (default: all as wide as the narrowest).

    `rules` are upright lines (value of x, label); `log` for edges that grow by a factor. Stacked where coloured.
    """
    if _is_empty(data, y) or data[x].isna().all():
        return _no_picture(data, title)
    marks = _marks(data, drill)
    lower = _floats(data[x]).reset_index(drop=True)
    if x2:
        upper = _floats(data[x2]).reset_index(drop=True)
    else:
        gap = lower.drop_duplicates().sort_values().diff().min()
        upper = lower + (float(gap) if pd.notna(gap) else 1.0)
    across = measure(x_unit, upper) if x_unit and not log else Measure(x_unit)
    how = measure(unit, data[y])
    frame = pd.DataFrame({"_from": lower / across.size, "_until": upper / across.size, "mark": marks["mark"]})
    frame["_y"] = _floats(data[y]).to_numpy() / how.size
    frame["_said"] = [how.words(value) for value in data[y]]
    frame["_edges"] = [f"{said(a, x_unit)} – {said(b, x_unit)}" for a, b in zip(lower, upper, strict=True)]
    series = in_order(data[color], order, names) if color else []
    frame["_series"] = named(data[color], names) if color else ""
    frame["_place"] = frame["_series"].map({name: place for place, name in enumerate(series)}).fillna(0)
    word = f"{x_title} ({across.word})" if across.word else x_title
    scale = alt.Scale(type="log", nice=False) if log else alt.Scale(nice=False, zero=False)
    if log:
        frame = frame[frame["_from"] > 0]
    axis = log_time_axis(word, x_unit) if log and x_unit in {"seconds", "s", "ms"} else across.along(word)
    position = alt.X("_from:Q", axis=axis, scale=scale)
    tooltip = [
        alt.Tooltip("_edges:N", title=x_title),
        *([alt.Tooltip("_series:N", title=" ")] if color else []),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
    ]
    bars = (
        alt.Chart(frame)
        .mark_bar(orient="vertical", stroke=ground(), strokeWidth=0.6, **_cursor(drill))
        .encode(
            x=position,
            x2="_until:Q",
            y=alt.Y("_y:Q", axis=how.axis(), stack="zero"),
            color=alt.Color("_series:N", scale=_domain(series, names), legend=_legend(series))
            if color
            else alt.value(accent()),
            order=alt.Order("_place:Q"),
            tooltip=tooltip,
        )
    )
    span = None if log else (float(frame["_from"].min()), float(frame["_until"].max()))
    layers = [_clickable(bars, _pick(drill)), *_rule_layers(rules, size=across.size, span=span)]
    words = _alt_text(title, unit, data[y])
    return _finish(alt.layer(*layers), data, words, height, drill, marks)


@kept
def step(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    x_title: str,
    x_unit: str = "",
    low: str | None = None,
    high: str | None = None,
    color: str | None = None,
    order: Sequence[Any] | None = None,
    names: Names = None,
    rules: Rules = (),
    target: Target = None,
    height: int = 260,
    drill: Any = None,
) -> Figure:
    """A staircase with its interval, such as a Kaplan-Meier curve: each value holds until the next."""
    if _is_empty(data, y) or data[x].isna().all():
        return _no_picture(data, title)
    marks = _marks(data, drill)
    across = measure(x_unit, data[x]) if x_unit else Measure("")
    how = measure(unit, data[y])
    series = in_order(data[color], order, names) if color else [title]
    frame = pd.DataFrame(
        {"_x": _floats(data[x]).to_numpy() / across.size, "_y": _floats(data[y]).to_numpy() / how.size}
    )
    frame["_series"] = named(data[color], names) if color else title
    frame["mark"] = marks["mark"]
    frame["_said"] = [how.words(value) for value in data[y]]
    frame["_at"] = [said(value, x_unit) for value in data[x]]
    tooltip = [
        alt.Tooltip("_at:N", title=x_title),
        *([alt.Tooltip("_series:N", title=" ")] if color else []),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
    ]
    word = f"{x_title} ({across.word})" if across.word else x_title
    position = alt.X("_x:Q", axis=across.along(word), scale=alt.Scale(nice=False, zero=True))
    share = how.unit.lower() in {"share", "%"}
    scale = alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=True)
    colour = (
        alt.Color("_series:N", scale=_domain(series, names), legend=_legend(series)) if color else alt.value(accent())
    )
    layers: list[Any] = []
    if low and high:
        frame["_low"], frame["_high"] = (
            _floats(data[low]).to_numpy() / how.size,
            _floats(data[high]).to_numpy() / how.size,
        )
        frame["_interval"] = [f"{how.words(a)} – {how.words(b)}" for a, b in zip(data[low], data[high], strict=True)]
        tooltip.append(alt.Tooltip("_interval:N", title=_("Interval")))
        layers.append(
            alt.Chart(frame)
            .mark_area(interpolate="step-after", opacity=0.18, line=False)
            .encode(x=position, y=alt.Y("_low:Q", axis=how.axis(), scale=scale), y2="_high:Q", color=colour)
        )
    base = alt.Chart(frame)
    height_of = alt.Y("_y:Q", axis=how.axis(), scale=scale)
    layers.append(
        base.mark_line(interpolate="step-after", strokeWidth=2.2).encode(x=position, y=height_of, color=colour)
    )
    # Many points are a string of beads: then they are small.
    dots = base.mark_point(filled=True, size=60 if len(frame) <= 24 else 16, **_cursor(drill)).encode(
        x=position, y=height_of, color=colour, tooltip=tooltip
    )
    # Unseen, for the tooltip; seen where a click picks.
    layers.append(_clickable(dots, _pick(drill)) if drill is not None else dots.encode(opacity=alt.value(0)))
    layers += _rule_layers(rules, size=across.size) + _target_layers(target, how)
    words = _alt_text(title, unit, data[y])
    return _finish(alt.layer(*layers), data, words, height, drill, marks)
