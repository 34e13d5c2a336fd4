"""A trace as a waterfall, traces as points over time and duration, and the map of services."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import altair as alt
import pandas as pd

from components.charts import _finish, _legend
from components.frame import Figure, unstamped
from components.i18n import _, duration, number, when
from components.kept import kept
from components.scales import COLOURS, accent, as_shown, colours_of, ground, ink, measure, pale, stamp, time_axis

ROW_HEIGHT = 27
# Deeper rows are not indented further: their names must stay readable on a phone.
INDENT, DEEPEST = 11, 10
FAILED = COLOURS["failed"]
# What the axis takes, and the legend where there is one.
AXIS, LEGEND = 34, 62
# Of the map of services: the height of a row, the most that a name takes, and where lines have room for numbers.
LANE, LONGEST_NAME, WIDE = 36, 260, 520
# Red is said of failure alone.
INSTEAD_OF_RED = {"#c8553d": "#3d5a80", "#e07f68": "#9fb8e0"}


@kept
def waterfall(
    data: pd.DataFrame, path: pd.DataFrame, *, title: str, selected: str = "", names: tuple[str, ...] = ()
) -> Figure:
    """A row a span: its name, and below it a bar from its begin to its end; a thin line marks the critical path.

    `data` has span_id, row, level, service, operation, kind, offset_ms, duration_ms, error, hidden, and `warned` (it
    carries a warning); `path` has row, from_ms, to_ms. `names` are the services in the order of their colours. A click
    picks a row: the chart has the selection `pick` over the field `mark`, which is the span's id.
    """
    if data.empty:
        return Figure(None, data, title)
    services = list(names) or list(dict.fromkeys(data["service"]))
    ends = data["offset_ms"] + data["duration_ms"]
    how = measure("ms", [ends.max() - data["offset_ms"].min(), 0])
    frame = pd.DataFrame({"mark": data["span_id"].astype(str), "_y": range(len(data))})
    frame["_from"], frame["_to"] = data["offset_ms"] / how.size, ends / how.size
    frame["_service"], frame["_operation"] = data["service"], data["operation"]
    frame["_indent"] = data["level"].clip(upper=DEEPEST) * INDENT + 2
    frame["_said"] = [duration(value / 1000) for value in data["duration_ms"]]
    frame["_begins"] = [duration(value / 1000) for value in data["offset_ms"]]
    # The only service is named once.
    named = list(data["service"]) if len(services) > 1 else [services[0], *[""] * (len(data) - 1)]
    frame["_name"] = [
        _row_name(service, operation, said, error, warned, hidden)
        for service, operation, said, error, warned, hidden in zip(
            named,
            data["operation"],
            frame["_said"],
            data["error"],
            data["warned"],
            data["hidden"],
            strict=True,
        )
    ]
    frame["_error"] = data["error"].to_numpy()
    frame["_outcome"] = [_("with an error") if error else _("without an error") for error in data["error"]]
    height = ROW_HEIGHT * len(frame) + AXIS + (LEGEND if frame["_service"].nunique() > 1 else 0)
    first, last = float(frame["_from"].min()), float(frame["_to"].max())
    x = alt.X(
        "_from:Q",
        axis=how.along("", orient="top", grid=True, labelExpr=f"format(datum.value, ',.2~f') + ' {how.word}'"),
        scale=alt.Scale(domain=[first, last if last > first else first + 1], nice=False),
    )
    rows = alt.Scale(domain=[0, len(frame)], nice=False, reverse=True)

    def y(offset: float) -> alt.Y:
        return alt.Y(f"_at{int(offset * 100)}:Q", axis=None, scale=rows)

    for offset in (0, 0.04, 0.3, 0.56, 0.8, 0.84, 0.92, 1):
        frame[f"_at{int(offset * 100)}"] = frame["_y"] + offset
    chosen = [{"mark": selected}] if selected and (frame["mark"] == selected).any() else alt.Undefined
    pick = alt.selection_point(name="pick", fields=["mark"], on="click", clear="dblclick", value=chosen)
    tooltip = [
        alt.Tooltip("_service:N", title=_("Service")),
        alt.Tooltip("_operation:N", title=_("Operation")),
        alt.Tooltip("_begins:N", title=_("Begins after")),
        alt.Tooltip("_said:N", title=_("Duration")),
        alt.Tooltip("_outcome:N", title=_("Outcome")),
    ]
    base = alt.Chart(frame)
    present = [name for name in services if name in set(frame["_service"])]
    hues = {name: INSTEAD_OF_RED.get(hue, hue) for name, hue in zip(services, colours_of(services), strict=True)}
    colour = alt.Color(
        "_service:N",
        scale=alt.Scale(domain=present, range=[hues[name] for name in present]),
        legend=_legend(present) if len(present) > 1 else None,
    )
    whole = base.mark_rect(cursor="pointer", color=accent()).encode(
        x=alt.value(0),
        x2=alt.value("width"),
        y=y(0),
        y2="_at100:Q",
        opacity=alt.condition(pick, alt.value(0.16), alt.value(0), empty=False),
        tooltip=tooltip,
    )
    layers: list[Any] = [whole.add_params(pick)]
    for failed in (False, True):
        part = frame[data["error"].to_numpy() == failed]
        if part.empty:
            continue
        # A stroke in its colour, so that a span of no length is seen.
        stroke: dict[str, Any] = {"stroke": FAILED} if failed else {}
        mark = alt.Chart(part).mark_rect(cornerRadius=2, cursor="pointer", strokeWidth=1.5, **stroke)
        fill: dict[str, Any] = {"color": alt.value(FAILED)} if failed else {"color": colour, "stroke": colour}
        layers.append(mark.encode(x=x, x2="_to:Q", y=y(0.56), y2="_at84:Q", tooltip=tooltip, **fill))
    stretches = path.merge(pd.DataFrame({"row": data["row"], "_y": range(len(data))}), on="row")
    if not stretches.empty:
        line = pd.DataFrame({"_from": stretches["from_ms"] / how.size, "_to": stretches["to_ms"] / how.size})
        line["_at92"] = stretches["_y"] + 0.93
        layers.append(
            alt.Chart(line)
            .mark_rule(strokeWidth=2.4, color=ink(), opacity=0.9)
            .encode(x=x, x2="_to:Q", y=alt.Y("_at92:Q", axis=None, scale=rows))
        )
    texts = base.mark_text(
        align="left", baseline="middle", fontSize=11.5, cursor="pointer", limit=alt.ExprRef("width - 16")
    )
    layers.append(
        texts.encode(
            x=alt.X("_indent:Q", scale=None, axis=None),
            y=y(0.3),
            text="_name:N",
            color=alt.condition("datum._error", alt.value(FAILED), alt.value(ink())),
        )
    )
    words = _("{title}: {n} spans in {length}, {errors} of them failed").format(
        title=title,
        n=number(len(data)),
        length=duration((ends.max() - data["offset_ms"].min()) / 1000),
        errors=number(int(data["error"].sum())),
    )
    return _finish(alt.layer(*layers), data, words, height)


def _row_name(service: str, operation: str, said: str, error: bool, warned: bool, hidden: int) -> str:
    """The row's words; what colour tells is told by a sign, too."""
    signs = ("✕ " if error else "") + ("△ " if warned else "")
    more = f"  ▸ +{number(hidden)}" if hidden else ""
    return f"{signs}{' · '.join(part for part in (operation, said, service) if part)}{more}"


@kept
def trace_scatter(
    data: pd.DataFrame, *, title: str, first: datetime | None = None, last: datetime | None = None, height: int = 280
) -> Figure:
    """A point a trace: when it began, and how long it took (logarithmic); those that failed are red triangles.

    The axis reaches from `first` to `last` (aware) where they are named: the period that was searched, with its gaps.

    `data` has trace_id, at, duration_ms, service, operation, spans, errors, error. A click picks a trace: the chart has
    the selection `pick` over the field `mark`, which is the trace's id.
    """
    if data.empty:
        return Figure(None, data, title)
    well, failed = _("without an error"), _("with an error")
    frame = pd.DataFrame(
        {
            "mark": data["trace_id"],
            "_x": as_shown(data["at"]),
            # A logarithm has no nothing.
            "_y": data["duration_ms"].clip(lower=0.01),
            "_operation": data["operation"] + " · " + data["service"],
            "_said": [duration(value / 1000) for value in data["duration_ms"]],
            "_when": [f"{when(moment)}:{moment:%S}" for moment in data["at"]],
            "_spans": [number(value) for value in data["spans"]],
            "_errors": [number(value) for value in data["errors"]],
            "_outcome": [failed if error else well for error in data["error"]],
        }
    ).sort_values("_outcome", key=lambda column: column == failed, kind="stable")
    present = [name for name in (well, failed) if name in set(frame["_outcome"])]
    ticks = [0.1, 1, 10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000]
    label = "datum.value >= 60000 ? datum.value / 60000 + ' min' : datum.value >= 1000 ? datum.value / 1000 + ' s'"
    axis = alt.Axis(
        values=ticks, labelExpr=f"{label} : datum.value + ' ms'", title=None, labelFlush=False, labelOverlap=True
    )
    pick = alt.selection_point(name="pick", fields=["mark"], on="click", clear="dblclick")
    reach = as_shown(pd.Series([first or data["at"].min(), last or data["at"].max()]))
    across = time_axis(pd.concat([frame["_x"], reach]), "moment")
    if first is not None and last is not None:
        # A trace that began before the period has a span in it.
        ends = [min(reach.iloc[0], frame["_x"].min()), max(reach.iloc[1], frame["_x"].max())]
        across = across.scale(domain=[stamp(one) for one in ends], nice=False)
    chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=62, opacity=0.8, cursor="pointer")
        .encode(
            x=across,
            y=alt.Y("_y:Q", scale=alt.Scale(type="log", nice=True), axis=axis),
            color=alt.Color(
                "_outcome:N",
                scale=alt.Scale(domain=present, range=[accent() if name == well else FAILED for name in present]),
                legend=_legend(present),
            ),
            shape=alt.Shape(
                "_outcome:N",
                scale=alt.Scale(
                    domain=present, range=["circle" if name == well else "triangle-up" for name in present]
                ),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("_operation:N", title=_("Operation")),
                alt.Tooltip("_when:N", title=_("Begin")),
                alt.Tooltip("_said:N", title=_("Duration")),
                alt.Tooltip("_spans:N", title=_("Spans")),
                alt.Tooltip("_errors:N", title=_("Failed spans")),
            ],
        )
        .add_params(pick)
    )
    words = _("{title}: {n} traces from {low} to {high}, {errors} of them with an error").format(
        title=title,
        n=number(len(data)),
        low=duration(data["duration_ms"].min() / 1000),
        high=duration(data["duration_ms"].max() / 1000),
        errors=number(int(data["error"].sum())),
    )
    return _finish(chart, data, words, height, marks=unstamped(data).assign(mark=data["trace_id"]))


@kept
def service_map(data: pd.DataFrame, edges: pd.DataFrame, *, title: str) -> Figure:
    """Services from those that call (left) to those that are called (right); a line is as wide as its calls are many.

    `data` has service, column, row, calls, callers; `edges` has parent, child, calls, x, y, x2, y2. A line that leads
    back is dashed.
    """
    if data.empty:
        return Figure(None, data, title)
    nodes = pd.DataFrame(
        {
            "_x": data["column"].astype(float),
            "_y": data["row"].astype(float),
            "_service": data["service"],
            "_said": [number(value) for value in data["calls"]],
        }
    )
    # One caller: the number stands behind the name, where there is always room for it.
    nodes["_name"] = [
        f"{name} · {said}" if callers == 1 else name
        for name, said, callers in zip(nodes["_service"], nodes["_said"], data["callers"], strict=True)
    ]
    columns = int(data["column"].max()) + 1
    # Names stand at the right of their circles: the last column leaves them room, on a phone too.
    longest = min(6.9 * nodes["_name"].str.len().max() + 26, LONGEST_NAME)
    room = alt.ExprRef(f"max(width - {longest:.0f}, width * 0.3)")
    across = alt.Scale(domain=[0, max(columns - 1, 1)], nice=False, range=[12, room])
    down = alt.Scale(domain=[-0.6, len(nodes) - 0.4], nice=False, reverse=True)
    x, y = alt.X("_x:Q", axis=None, scale=across), alt.Y("_y:Q", axis=None, scale=down)
    links = pd.DataFrame(
        {
            **{f"_{name}": edges[name].astype(float) for name in ("x", "y", "x2", "y2")},
            "_what": edges["parent"] + " → " + edges["child"],
            "_calls": edges["calls"].astype(float),
            "_said": [number(value) for value in edges["calls"]],
        }
    )
    links["_back"] = links["_x2"] <= links["_x"]
    # Two that call each other have two lines.
    links[["_y", "_y2"]] = links[["_y", "_y2"]].add(links["_back"] * 0.16, axis=0)
    tooltip = [alt.Tooltip("_what:N", title=_("Calls")), alt.Tooltip("_said:N", title=_("Number"))]
    halo: dict[str, Any] = {"color": ground(), "stroke": ground(), "strokeWidth": 4, "strokeJoin": "round"}
    layers: list[Any] = []
    if not links.empty:
        width = alt.StrokeWidth("_calls:Q", scale=alt.Scale(type="sqrt", range=[1.2, 7], zero=True), legend=None)
        lines = alt.Chart(links).mark_rule(color=pale(), opacity=0.75)
        dashes = alt.condition("datum._back", alt.value([5, 4]), alt.value([1, 0]))
        layers.append(
            lines.encode(x=x, y=y, x2="_x2:Q", y2="_y2:Q", strokeWidth=width, strokeDash=dashes, tooltip=tooltip)
        )
        several = set(data.loc[data["callers"] > 1, "service"])
        told = links[edges["child"].isin(several).to_numpy()]
        # Nearer to whom is called: lines that leave one service would hide each other's numbers.
        told = told.assign(_xm=told["_x"] * 0.35 + told["_x2"] * 0.65, _ym=told["_y"] * 0.35 + told["_y2"] * 0.65)
        layers += [
            alt.Chart(told)
            .mark_text(fontSize=11, **style)
            .encode(
                x=alt.X("_xm:Q", axis=None, scale=across),
                y=alt.Y("_ym:Q", axis=None, scale=down),
                text="_said:N",
                # On a phone the lines are too short for them: the tooltip has them.
                opacity=alt.condition(f"width > {WIDE}", alt.value(1), alt.value(0)),
                tooltip=tooltip,
            )
            for style in (halo, {"color": ink()})
            if not told.empty
        ]
    about = [alt.Tooltip("_service:N", title=_("Service")), alt.Tooltip("_said:N", title=_("Calls"))]
    base = alt.Chart(nodes)
    layers.append(base.mark_circle(size=210, opacity=1, color=accent()).encode(x=x, y=y, tooltip=about))
    # Above the lines that leave it downwards.
    layers += [
        base.mark_text(
            align="left", baseline="middle", dx=12, dy=-7, fontSize=12, limit=LONGEST_NAME - 20, **style
        ).encode(x=x, y=y, text="_name:N", tooltip=about)
        for style in (halo, {"color": ink()})
    ]
    words = _("{title}: {n} services, {calls} calls").format(
        title=title, n=number(len(data)), calls=number(int(edges["calls"].sum()))
    )
    return _finish(alt.layer(*layers), data, words, max(LANE * len(nodes) + 20, 120))
