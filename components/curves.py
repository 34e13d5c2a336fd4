"""Curves by age: a line a cohort, such as the vintages of a portfolio, coloured from the oldest to the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from components.charts import _alt_text, _clickable, _cursor, _finish, _floats, _is_empty, _marks, _no_picture, _pick
from components.frame import Figure, is_dark
from components.i18n import _
from components.kept import kept
from components.scales import as_shown, measure, named, time_names


def _ages() -> list[str]:
    """From the oldest, which steps back, to the newest."""
    if is_dark():
        return ["#40525c", "#3d7f86", "#3fb8ae", "#b8f0e4"]
    return ["#c3d3d6", "#7fb4b3", "#0b7a75", "#06373b"]


@kept
def curves(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    unit: str,
    title: str,
    cohort: str,
    x_title: str,
    cohort_title: str,
    note: str | None = None,
    note_title: str = "",
    names: Mapping[Any, str] | None = None,
    height: int = 300,
    drill: Any = None,
) -> Figure:
    """A line for each `cohort` (first day of a month) over its age `x` (whole numbers), newest strongest.

    `note` is a column of text for the tooltip. What was hit stands out by its points, which a click picks.
    """
    if _is_empty(data, y):
        return _no_picture(data, title)
    how = measure(unit, data[y])
    marks = _marks(data, drill)
    starts = as_shown(data[cohort]).reset_index(drop=True)
    frame = pd.DataFrame(
        {
            "_x": _floats(data[x]).to_numpy(),
            "_y": _floats(data[y]).to_numpy() / how.size,
            "_name": named(data[cohort], names) if names else time_names(starts, "month"),
            "_said": [how.words(value) for value in data[y]],
            "_note": data[note].astype(str).to_numpy() if note else "",
            "mark": marks["mark"].to_numpy(),
        }
    )
    ages = int(frame["_x"].max())
    oldest, newest = starts.min(), starts.max()
    across = alt.X(
        "_x:Q",
        axis=alt.Axis(title=x_title, titleAnchor="end", grid=False, format="d", tickMinStep=1, tickCount=min(ages, 12)),
        scale=alt.Scale(domain=[0, max(ages, 1)], nice=False, padding=8),
    )
    # A number, for the legend to be one gradient: months since the oldest.
    frame["_age"] = (starts.dt.year - oldest.year) * 12 + starts.dt.month - oldest.month
    span = int(frame["_age"].max())
    ends = time_names(pd.Series([oldest, newest]), "month")
    colour = alt.Color(
        "_age:Q",
        scale=alt.Scale(domain=[0, max(span, 1)], range=_ages(), interpolate="lab"),
        # Two labels: the gradient says which way is newer, the tooltip which line is which.
        legend=alt.Legend(
            orient="top",
            title=cohort_title,
            gradientLength=200,
            gradientThickness=8,
            values=[0, span],
            labelExpr=f"datum.value > 0 ? '{ends[1]}' : '{ends[0]}'",
        )
        if span
        else None,
    )
    tooltip = [
        alt.Tooltip("_name:N", title=cohort_title),
        alt.Tooltip("_x:Q", title=x_title, format="d"),
        alt.Tooltip("_said:N", title=title if len(title) < 40 else _("Value")),
        *([alt.Tooltip("_note:N", title=note_title)] if note else []),
    ]
    base = alt.Chart(frame)
    height_of = alt.Y("_y:Q", axis=how.axis(), scale=alt.Scale(zero=True))
    lines = base.mark_line(strokeWidth=1.8, strokeJoin="round").encode(
        x=across, y=height_of, color=colour, detail="_name:N"
    )
    dots = base.mark_point(filled=True, size=26, opacity=1, **_cursor(drill)).encode(
        x=across, y=height_of, color=colour, tooltip=tooltip
    )
    words = _alt_text(title, unit, data[y])
    return _finish(alt.layer(lines, _clickable(dots, _pick(drill))), data, words, height, drill, marks)
