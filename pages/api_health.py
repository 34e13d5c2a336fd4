"""API health: how much the API is asked, what fails, how long it takes, and what it stands on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.links import lead
from components import Figure, _, line, panel, percent, sections, span_bar, table
from components.window import window_bar
from components.words import short_routes
from queries.integrations import with_gaps

ERROR_LINE = 0.05
LATENCY_OBJECTIVE = 0.95
# Requests a second below which an endpoint is not ranked: one slow request a minute is no slow endpoint.
FLOOR = 0.01
EARLIEST = timedelta(days=730)
EXPORTERS = {"host": "node_exporter", "postgres": "postgres_exporter", "redis": "redis_exporter"}


# --- what is asked ----------------------------------------------------------------------------------------------------


def measured(name: str) -> pd.DataFrame:
    """The answer of the metrics over the span, gaps shown as gaps."""
    found = queries.metrics(f"api_health/{name}", span.moments)
    return with_gaps(found, [label for label in found.columns if label not in {"time", "value"}])


def ranked(name: str) -> pd.DataFrame:
    """Endpoints over the whole span, the worst first."""
    found = queries.metrics(f"api_health/{name}", {**span.stretch, "floor": FLOOR})
    return labelled(found, "method", "endpoint").sort_values("value", ascending=False, ignore_index=True)


def measures() -> dict[str, str]:
    """What the queries of this page call a measure, in the viewer's language."""
    return {
        "in use": _("in use"),
        "at most": _("at most"),
        "memory": _("memory"),
        "disk": _("disk"),
        "committed": _("committed"),
        "rolled back": _("rolled back"),
        "connections": _("connections"),
        "cache hits": _("cache hits"),
        "key hits": _("key hits"),
    }


def labelled(frame: pd.DataFrame, *labels: str) -> pd.DataFrame:
    """The frame with the column `what`: its labels in one name."""
    made = frame.copy()
    words = measures()
    known = [made[label].fillna("").replace(words) for label in labels if label in made]
    known = [short_routes(part) for part in known]
    made["what"] = [" ".join(part for part in parts if part) for parts in zip(*known, strict=True)] if known else ""
    made.attrs = dict(frame.attrs)
    return made


def happened() -> pd.DataFrame | None:
    """What explains a chart over time, unless it is switched off."""
    return queries.events(span.first, span.last) if span.events else None


def ranking(frame: pd.DataFrame, title: str, heading: str, format: str, most: float) -> Figure:
    """Endpoints with a bar each: their names are too long to stand below an axis."""
    column = st.column_config.ProgressColumn(heading, format=format, min_value=0.0, max_value=float(most or 1.0))
    return table(frame, {"value": column, "what": ("text", _("Endpoint"))}, title=title)


def exporters() -> set[str]:
    """The exporters of which there are series; none while the metrics do not answer."""
    try:
        found = queries.metrics("api_health/exporters", span.stretch, deadline=3)
    except queries.SourceError:
        return set()
    return set() if "exporter" not in found else set(found["exporter"])


def curve(name: str, unit: str, title: str, color: str | None = None, **options: Any) -> Figure:
    """A query over time as lines."""
    frame = measured(name)
    # Without a series there is no label either.
    known = color if color is None or color in frame else None
    return line(
        frame,
        x="time",
        y="value",
        unit=unit,
        title=title,
        color=known,
        names=measures(),
        events=happened(),
        **{"zero": True, **options},
    )


# --- what is asked of the API -----------------------------------------------------------------------------------------


def traffic() -> None:
    """How much it is asked, what fails and how long it takes."""

    @panel(
        _("Request rate"),
        height=260,
        help=_("Requests a second by method and route template."),
        key="request-rate",
    )
    def request_rate() -> Figure:
        return line(
            labelled(measured("request_rate"), "method", "endpoint"),
            x="time",
            y="value",
            unit="/s",
            title=_("Request rate"),
            color="what",
            events=happened(),
            zero=True,
        )

    with st.grid(3, min_column_width=300):

        @panel(
            _("Error rate"),
            height=260,
            help=_("Requests answered with a 5xx status over all; no line where nothing was asked."),
            key="error-rate",
        )
        def error_rate() -> Figure:
            return curve("error_rate", "share", _("Error rate"), target=(ERROR_LINE, _("5 % line")))

        @panel(
            _("Latency (p50, p95, p99)"),
            height=260,
            help=_("Over all endpoints and replicas (sum by le), interpolated within the histogram's bucket."),
            key="latency",
        )
        def latency() -> Figure:
            return curve("latency", "s", _("Latency (p50, p95, p99)"), "quantile", target=(0.3, "300 ms"))

        @panel(
            _("Requests within 300 ms"),
            height=260,
            help=_(
                "Read off the histogram's bound at 0.3 s. Where it has none, the shares within 100 ms and within 500 "
                "ms are drawn: the share within 300 ms lies between them."
            ),
            key="within",
        )
        def within() -> Figure:
            frame = measured("within")
            # increase() is extrapolated for each series by itself: a part may come out larger than its whole.
            frame["value"] = frame["value"].clip(upper=1.0)
            if "le" in frame:
                frame["bound"] = [f"≤ {float(le) * 1000:.0f} ms" for le in frame["le"]]
            many = "le" in frame and frame["le"].nunique() > 1
            return line(
                frame,
                x="time",
                y="value",
                unit="share",
                title=_("Requests within 300 ms"),
                color="bound" if many else None,
                target=(LATENCY_OBJECTIVE, _("Objective {share}").format(share=percent(LATENCY_OBJECTIVE, 0))),
                events=happened(),
            )


def endpoints() -> None:
    """Which endpoints are slow, and which fail."""
    left, right = st.columns(2)
    floor = _("Of the whole period; endpoints with fewer than {n} requests a minute are left out.").format(
        n=f"{FLOOR * 60:g}"
    )
    with left:

        @panel(_("Slowest endpoints, p95"), height=390, help=floor, key="slowest")
        def slowest() -> Figure:
            frame = ranked("slowest")
            attrs = dict(frame.attrs)
            frame = frame.assign(value=frame["value"] * 1000)
            frame.attrs = attrs
            return ranking(frame, _("Slowest endpoints, p95"), "p95", "%,.0f ms", frame["value"].max())

    with right:

        @panel(_("Endpoints that fail most"), height=390, help=floor, key="failing")
        def failing() -> Figure:
            frame = ranked("failing")
            most = max(frame["value"].max(), ERROR_LINE) if len(frame) else ERROR_LINE
            return ranking(frame, _("Endpoints that fail most"), _("Error rate"), "percent", most)


def stores() -> None:
    """What it stands on, as the API itself measures it: its database, its pool, Redis."""

    @panel(
        _("Database time, p95"),
        height=260,
        help=_("By table and operation, over all replicas (sum by le), interpolated within the histogram's bucket."),
        key="database",
    )
    def database() -> Figure:
        return line(
            labelled(measured("database"), "operation", "table"),
            x="time",
            y="value",
            unit="s",
            title=_("Database time, p95"),
            color="what",
            events=happened(),
            zero=True,
        )

    with st.grid(3, min_column_width=300):

        @panel(
            _("Connection pool"),
            height=260,
            help=_("The most connections in use in each stretch, and those that the pool may open, by replica."),
            key="connections",
        )
        def connections() -> Figure:
            frame = labelled(measured("connections"), "measure")
            return line(
                named_if_many(frame),
                x="time",
                y="value",
                unit="count",
                title=_("Connection pool"),
                color="what",
                events=happened(),
                zero=True,
            )

        @panel(_("Redis commands"), height=240, help=_("Commands a second."), key="redis-commands")
        def redis_commands() -> Figure:
            return curve("redis_commands", "/s", _("Redis commands"), "command", height=240)

        @panel(_("Redis commands that fail"), height=240, help=_("Failed over all, by command."), key="redis-failures")
        def redis_failures() -> Figure:
            return curve("redis_failures", "share", _("Redis commands that fail"), "command", height=240)


def servers() -> None:
    """Host, PostgreSQL and Redis as their exporters tell of them; those that are not scraped in a line."""
    there = exporters()
    with st.grid(2, min_column_width=320):
        if "host" in there:

            @panel(
                _("Host in use"), height=240, help=_("CPU, memory and the fullest disk (node exporter)."), key="host"
            )
            def host() -> Figure:
                frame = labelled(measured("host"), "part")
                return line(
                    named_if_many(frame),
                    x="time",
                    y="value",
                    unit="share",
                    title=_("Host in use"),
                    color="what",
                    events=happened(),
                    zero=True,
                    height=240,
                )

        if "postgres" in there:

            @panel(
                _("PostgreSQL transactions"),
                height=240,
                help=_("Transactions a second, of all databases."),
                key="postgres",
            )
            def postgres() -> Figure:
                return curve("postgres", "/s", _("PostgreSQL transactions"), "outcome", height=240)

            @panel(
                _("PostgreSQL connections and cache"),
                height=240,
                help=_("Connections over the most allowed, and reads that the cache answered."),
                key="postgres-shares",
            )
            def postgres_shares() -> Figure:
                return curve("postgres_shares", "share", _("PostgreSQL connections and cache"), "measure", height=240)

        if "redis" in there:

            @panel(
                _("Redis server"),
                height=240,
                help=_("Memory over the most allowed, and reads that found their key."),
                key="redis-server",
            )
            def redis_server() -> Figure:
                return curve("redis_server", "share", _("Redis server"), "measure", height=240)

    absent = [name for exporter, name in EXPORTERS.items() if exporter not in there]
    if absent:
        st.caption(
            _(
                "No series of {exporters} in this period: where Prometheus scrapes them, their panels stand here."
            ).format(exporters=", ".join(absent))
        )


def named_if_many(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the instance before each name, where there are several: one needs no name."""
    if "instance" not in frame or frame["instance"].nunique() < 2:
        return frame
    made = frame.assign(what=frame["instance"].fillna("") + " " + frame["what"])
    made.attrs = dict(frame.attrs)
    return made


# --- the page ---------------------------------------------------------------------------------------------------------

now = datetime.now(queries.timezone())
today = queries.business_day(queries.timezone())

st.title(_("API health"), anchor=False)
below_title = st.empty()
exact = window_bar(now, earliest=now - EARLIEST, longest=EARLIEST)
span = exact or span_bar(now, earliest=today - EARLIEST)
if not exact:
    below_title.caption(span.caption())
# The integration that somebody came from is no matter here, but goes on with him.
integration = (st.query_params.get("integration") or "")[:100]
onward = {**span.query_params(), **({"integration": integration} if integration else {})}
if queries.is_configured("metrics"):
    section = sections(
        {
            "traffic": _("Requests"),
            "endpoints": _("Endpoints"),
            "stores": _("Database and Redis"),
            "servers": _("Host and servers"),
        }
    )
    for name, draw in {"traffic": traffic, "endpoints": endpoints, "stores": stores, "servers": servers}.items():
        if section(name):
            draw()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="elsewhere"):
        lead("integrations", _("Integrations in this period"), "hub", onward)
        lead("logs", _("Log lines"), "notes", onward)
        lead("errors", _("Errors"), "bug_report", onward)
        lead("traces", _("Traces"), "timeline", onward)
        lead("alerts", _("Alerts"), "notifications", onward)
else:
    st.caption(_("This page is drawn from the metrics, which are not configured: set MIRADOR_PROMETHEUS_URL."))
