"""The looks: frames and plain values in, pictures out. Nothing here knows a source, a query or a setting.

    @panel(_("Title"), height=280)
    def chart():
        return line(frame, x="day", y="share", unit="share", title=_("Title"))

What a picture needs to know of its data (query as run, age, failure) it reads from `frame.attrs["answer"]`.
"""

from components.charts import area, band, bar, bars_over_time, funnel, heatmap, histogram, line, pareto, points, step
from components.drill import Drill, on_rows
from components.filters import Filters, choice_filter, day_filter, events_filter, filter_bar
from components.frame import Figure, draw_within, on_drawn, on_failure, sentence_of, set_refresh, stop_if_left
from components.i18n import (
    _,
    age,
    clock,
    day_name,
    duration,
    in_language,
    language,
    language_switch,
    money,
    ngettext,
    number,
    percent,
    quantity,
    set_default_language,
    short_money,
    when,
)
from components.kpi import Card, Mark, Number, distance_words, edge_words, kpi_card, kpi_row, mark_link, number_card
from components.panel import panel
from components.scales import band_names, dpd_names
from components.sections import sections
from components.span import Span, span_bar
from components.table import table
from components.timeline import id_search, timeline
from components.words import value_name

__all__ = [
    "Card",
    "Drill",
    "Figure",
    "Filters",
    "Mark",
    "Number",
    "Span",
    "_",
    "age",
    "area",
    "band",
    "band_names",
    "bar",
    "bars_over_time",
    "choice_filter",
    "clock",
    "day_filter",
    "day_name",
    "distance_words",
    "dpd_names",
    "draw_within",
    "duration",
    "edge_words",
    "events_filter",
    "filter_bar",
    "funnel",
    "heatmap",
    "histogram",
    "id_search",
    "in_language",
    "kpi_card",
    "kpi_row",
    "language",
    "language_switch",
    "line",
    "mark_link",
    "money",
    "ngettext",
    "number",
    "number_card",
    "on_drawn",
    "on_failure",
    "on_rows",
    "panel",
    "pareto",
    "percent",
    "points",
    "quantity",
    "sections",
    "sentence_of",
    "set_default_language",
    "set_refresh",
    "short_money",
    "span_bar",
    "step",
    "stop_if_left",
    "table",
    "timeline",
    "value_name",
    "when",
]
