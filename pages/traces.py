"""Traces: search by service, duration, tags and outcome; one trace as a waterfall; and the map of services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app.auth import viewer
from app.settings import settings
from components import (
    Figure,
    _,
    duration,
    ngettext,
    number,
    panel,
    span_bar,
    table,
    value_name,
    when,
)
from components.drill import grid_height
from components.fields import leave, literal, name_field, pick_row, text_field
from components.filters import tell_refused
from components.frame import waiting
from components.i18n import pgettext
from components.kept import Drawing
from components.url import Url, on_or_off, one_of
from components.waterfall import service_map, trace_scatter, waterfall
from components.window import window_bar, window_params
from queries import traces as told
from queries.rights import reads_requests

HERE = Path(__file__).parent
LIMITS = ("20", "100", "500")
USUAL_LIMIT = "100"
LONGEST = timedelta(days=730)
AROUND = timedelta(minutes=5)
# Higher than this a waterfall scrolls inside its panel.
TALLEST = 640
# Two rows of fields.
FIELDS = 96

zone = queries.timezone()
now = datetime.now(zone)
me = viewer(settings())
roles = me.roles if me is not None else frozenset()


# --- what is asked ----------------------------------------------------------------------------------------------------


def offered(ask: Callable[[], list[str]]) -> list[str]:
    """Names for a choice; none while the source does not answer in good time."""
    try:
        return ask()
    except queries.SourceError:
        return []


def integrations() -> list[str]:
    """The integrations that are called."""
    return [str(name) for name in queries.ledger("integrations/latest", {}, deadline=3)["integration"]]


def found_traces(wanted: told.TraceSearch | None) -> pd.DataFrame | None:
    """The traces that match; None where there is no service to search. Raises SourceError."""
    # Without a service there is nothing to search, or Jaeger does not answer: then this says so.
    return told.search(wanted, roles) if wanted is not None and (wanted.service or told.services(roles)) else None


def calls_of(trace_id: str) -> pd.DataFrame | None:
    """The integration calls of a trace in the ledger; None while it does not answer."""
    try:
        return queries.ledger("traces/calls", {"trace": trace_id.lower().zfill(32)}, deadline=4)
    except queries.SourceError:
        return None


# --- the filters ------------------------------------------------------------------------------------------------------


def milliseconds(texts: list[str]) -> float:
    """A duration of a link."""
    value = float(texts[-1])
    if not 0 <= value < 1e9:
        raise ValueError(texts[-1])
    return value


def length(url: Url, key: str, label: str) -> float | None:
    """A duration in milliseconds, or none."""
    url.restore(key, None, milliseconds)
    value = st.number_input(
        label,
        key=key,
        min_value=0.0,
        max_value=1e9,
        step=50.0,
        value=None,
        placeholder=label,
        format="%g",
        label_visibility="collapsed",
    )
    url.keep(key, value, [f"{value:g}"] if value is not None else [], default=value is None)
    return value


def search_bar(span: Any) -> told.TraceSearch | None:
    """What is sought, from the fields; None until a service is chosen."""
    url = Url()
    # A slow Jaeger or ledger is waited for some seconds.
    with waiting(FIELDS):
        names, called = offered(lambda: told.services(roles, deadline=4)), offered(integrations)
    with st.grid(4, min_column_width=170, vertical_alignment="center", key="search"):
        service = name_field(url, "service", _("Service"), names, everything=_("All services"))
        known = offered(lambda: told.operations(service, roles, deadline=4)) if service else []
        operation = name_field(url, "operation", _("Operation"), known, everything=_("All operations"))
        integration = name_field(
            url,
            "integration",
            _("Integration"),
            called,
            everything=pgettext("filter", "All integrations"),
        )
        tags = text_field(url, "tags", _("tag=value …"), ":material/sell:")
        shortest = length(url, "min", _("From … ms"))
        longest = length(url, "max", _("Up to … ms"))
        url.restore("errors", False, on_or_off)
        failed = st.toggle(_("Only with errors"), key="errors")
        url.keep("errors", failed, ["on" if failed else "off"], default=not failed)
        url.restore("limit", USUAL_LIMIT, one_of(LIMITS))
        limit = st.selectbox(
            _("Most traces"),
            LIMITS,
            format_func=lambda n: _("Up to {n} traces").format(n=n),
            key="limit",
            label_visibility="collapsed",
        )
        url.keep("limit", limit, [str(limit)], default=limit == USUAL_LIMIT)
    url.write()
    tell_refused(url)
    try:
        wanted = told.tags_of(tags)
    except told.BadTags as error:
        st.warning(_(str(error)), icon=":material/sell:")
        wanted = ()
    if integration:
        wanted = (*wanted, ("integration", integration))
    if request := st.query_params.get("request", "")[:64]:
        wanted = (*wanted, ("request_id", request))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(_("Only of the request {id}").format(id=literal(request)))
            st.button(_("Of all requests"), type="tertiary", icon=":material/close:", on_click=leave, args=["request"])
    if failed:
        wanted = (*wanted, ("error", "true"))
    if shortest is not None and longest is not None and longest < shortest:
        st.warning(_("No duration is at least {a} ms and at most {b} ms.").format(a=shortest, b=longest))
        return None
    left_out = [] if service else told.own_services(names)[told.MOST_SEARCHED :]
    if left_out:
        st.caption(
            _("Searched are the first {n} services; not {names}. Choose one of them to search it.").format(
                n=number(told.MOST_SEARCHED), names=literal(", ".join(left_out[:20]))
            )
        )
    return told.TraceSearch(
        service, span.start, span.end, operation, wanted, shortest or None, longest, int(str(limit or USUAL_LIMIT))
    )


# --- the search -------------------------------------------------------------------------------------------------------


def open_trace(trace_id: str) -> None:
    """Show a trace instead of the search."""
    st.session_state["trace"] = trace_id


def picked(state: Any) -> str:
    """The mark of a chart that was clicked."""
    marks = state["selection"].get("pick") or []
    return str(marks[0].get("mark", "")) if marks else ""


def results(wanted: told.TraceSearch | None) -> None:
    """The traces that were found, as points and as a list."""

    @panel(
        _("Traces by time and duration"),
        height=280,
        help=_("A point a trace, the duration on a logarithmic axis; triangles failed. A click opens the trace."),
        key="scatter",
    )
    def scatter() -> Figure:
        found = found_traces(wanted)
        if found is None:
            st.caption(_("No service has sent a span to Jaeger yet."))
            return Figure(None, pd.DataFrame(), drawn=True)
        shown = trace_scatter(
            found, title=_("Traces by time and duration"), first=span.start, last=min(span.end, span.now)
        )
        if shown.chart is None:
            st.caption(_("No trace for this choice: Jaeger looks for one span of a service that has all of the tags."))
            return Figure(None, found, drawn=True)
        chart: Any = shown.chart if isinstance(shown.chart, Drawing) else Drawing(shown.chart)
        state = st.altair_chart(chart, key="scatter-chart", alt=shown.alt, on_select="rerun", selection_mode="pick")
        if trace_id := picked(state):
            st.session_state["_open_trace"] = trace_id
            st.rerun()
        if wanted and len(found) >= wanted.limit:
            st.caption(
                _("These are the latest {n}: there may be more. Narrow the choice, or raise the most.").format(
                    n=number(len(found))
                )
            )
        return Figure(shown.chart, found, shown.alt, drawn=True)

    @panel(_("List of traces"), height=420, help=_("The newest first; a row opens the trace."), key="list")
    def listed() -> Figure:
        found = found_traces(wanted)
        if found is None or found.empty:
            # The panel above says why.
            st.caption(_("No trace to list."))
            return Figure(None, pd.DataFrame() if found is None else found, drawn=True)
        shown = table(
            found.assign(outcome=["✕" if error else "" for error in found["error"]]),
            {
                "outcome": st.column_config.TextColumn("", help=_("Failed"), width=34),
                # Traces of one minute are told apart.
                "at": st.column_config.DatetimeColumn(_("Begin"), format="DD MMM HH:mm:ss"),
                "duration_ms": st.column_config.NumberColumn(_("Duration"), format="%,.1f ms"),
                "operation": ("text", _("Operation")),
                "service": ("text", _("Service")),
                "spans": ("count", _("Spans")),
                "errors": ("count", _("Failed spans")),
                "services": ("count", _("Services")),
                "trace_id": ("text", _("Trace")),
            },
            title=_("List of traces"),
        )
        row = pick_row(shown, "list-table", _("List of traces"), 420)
        if row is not None:
            st.session_state["_open_trace"] = str(row["trace_id"])
            st.rerun()
        return Figure(None, found, drawn=True)


def map_of_services() -> None:
    """Who calls whom."""

    @panel(
        _("Service map"),
        height=260,
        help=_(
            "Which service called which in the traces of the period, as Jaeger counts them: callers stand left of "
            "whom they call, and a line is as wide as its calls are many."
        ),
        key="service-map",
    )
    def services_map() -> Figure:
        edges = told.dependencies(span.start, span.end, roles)
        nodes, links = told.service_map(edges)
        if nodes.empty:
            st.caption(_("Jaeger has counted no call between services in this period."))
            return Figure(None, edges, drawn=True)
        shown = service_map(nodes, links, title=_("Service map"))
        if nodes.attrs["left_out"]:
            st.caption(
                _("The {n} services with the most calls; {others} more are in the data.").format(
                    n=number(len(nodes)), others=number(nodes.attrs["left_out"])
                )
            )
        return Figure(shown.chart, edges, shown.alt)


# --- one trace --------------------------------------------------------------------------------------------------------


def links_of(spans: pd.DataFrame, trace_id: str) -> None:
    """From the trace to its logs, its error, its thread and the calls that it made."""
    full = trace_id.lower().zfill(32)
    # A narrow window: a log store reads all lines of the period, and bills them.
    around = window_params(spans["at"].min().to_pydatetime() - AROUND, spans["at"].max().to_pydatetime() + AROUND)
    integration = st.query_params.get("integration")
    of = {"integration": integration} if integration else {}
    with st.container(horizontal=True):
        for page, label, icon, asked in (
            ("logs", _("Its log lines"), "notes", {"trace": full, **of, **around}),
            ("errors", _("Its error"), "bug_report", {"trace": full, **of, **span.query_params()}),
            ("thread", _("Everything in one thread"), "conversion_path", {"trace": full, **of, **around}),
        ):
            if (HERE / f"{page}.py").is_file():
                st.page_link(HERE / f"{page}.py", label=label, icon=f":material/{icon}:", query_params=asked)
        calls = calls_of(trace_id)
        for call in calls.itertuples() if calls is not None else ():
            failed = call.status != "success"
            code = f" · {literal(value_name(call.error_code))}" if failed and isinstance(call.error_code, str) else ""
            st.page_link(
                HERE / "integrations.py",
                label=_("Call to {integration}{code}").format(
                    integration=literal(value_name(call.integration)), code=code
                ),
                icon=":material/error:" if failed else ":material/hub:",
                query_params={"id": str(call.call_id), "integration": call.integration, **span.query_params()},
            )


def notes_of(spans: pd.DataFrame) -> None:
    """What must be known to read the waterfall: clocks, what is missing, and Jaeger's own warnings."""
    total, orphans = spans.attrs["spans"], spans.attrs["orphans"]
    if total > len(spans):
        st.warning(
            _("The trace has {total} spans: the {n} nearest to its root are shown.").format(
                total=number(total), n=number(len(spans))
            ),
            icon=":material/account_tree:",
        )
    for skew in told.clock_skews(spans).head(3).itertuples():
        st.caption(
            ":material/schedule: "
            + _(
                "The clock of {called} is at least {behind} behind that of {caller}: its spans are drawn by its own "
                "clock, too early."
            ).format(called=literal(skew.called), behind=duration(skew.behind_ms / 1000), caller=literal(skew.caller))
        )
    if orphans:
        words = ngettext(
            "The parent of {n} span is not here: it is drawn as a root.",
            "The parents of {n} spans are not here: they are drawn as roots.",
            orphans,
        )
        st.caption(":material/link_off: " + words.format(n=number(orphans)))
    for words in spans.attrs["notes"][:3]:
        st.caption(":material/warning: " + _("Jaeger says: {words}").format(words=literal(words)))
    warned = int(told.has_warnings(spans).sum())
    if warned:
        words = ngettext(
            "Jaeger warns of {n} span (△): see its details.",
            "Jaeger warns of {n} spans (△): see their details.",
            warned,
        )
        st.caption(":material/warning: " + words.format(n=number(warned)))


def value_table(values: dict[str, Any], title: str, key: str) -> None:
    """Names and values of a span."""
    if not values:
        return
    frame = pd.DataFrame({"name": list(values), "value": [str(value) for value in values.values()]})
    st.caption(title)
    st.dataframe(
        frame,
        hide_index=True,
        key=key,
        height=grid_height(len(frame), 320),
        column_config={
            "name": st.column_config.TextColumn(_("Name")),
            "value": st.column_config.TextColumn(_("Value")),
        },
        alt=title,
    )


def toggle(span_id: str, how: str) -> None:
    """Open or close what lies below a span."""
    opened, closed = st.session_state.setdefault("_opened", set()), st.session_state.setdefault("_closed", set())
    (opened if how == "open" else closed).add(span_id)
    (closed if how == "open" else opened).discard(span_id)


def look_within(span_id: str) -> None:
    """Show the part below a span alone; the whole for no span."""
    if span_id:
        st.query_params["within"] = span_id
    else:
        leave("within")


def span_facts(spans: pd.DataFrame, rows: pd.DataFrame, span_id: str) -> None:
    """All that is known of the span that was picked."""
    one = told.details(spans, span_id)
    if one is None:
        return
    mark = ":red[:material/error:]" if one["error"] else ":green[:material/check_circle:]"
    with st.container(border=True, gap="small"):
        names = f"**{literal(one['operation'])}** · {literal(one['service'])}"
        st.markdown(f"{mark} {names} · {duration(one['duration_ms'] / 1000)}")
        begins = _("Begins {when}, {after} after the trace").format(
            when=f"{one['at']:%Y-%m-%d %H:%M:%S.%f}"[:-3], after=duration(one["offset_ms"] / 1000)
        )
        st.caption(f"{begins} · {literal(one['span_id'])}")
        for words in one["warnings"]:
            st.caption(f":orange[:material/warning: {literal(words)}]")
        shown = rows[rows["span_id"] == span_id]
        if not shown.empty and shown["children"].iloc[0]:
            with st.container(horizontal=True):
                if shown["hidden"].iloc[0]:
                    st.button(
                        _("Show what is below"),
                        key="open-span",
                        icon=":material/unfold_more:",
                        on_click=toggle,
                        args=[span_id, "open"],
                    )
                else:
                    st.button(
                        _("Hide what is below"),
                        key="close-span",
                        icon=":material/unfold_less:",
                        on_click=toggle,
                        args=[span_id, "close"],
                    )
                # The part below a root is the whole.
                if one["parent_id"]:
                    st.button(
                        _("Only this part"),
                        key="within-span",
                        icon=":material/filter_center_focus:",
                        on_click=look_within,
                        args=[span_id],
                    )
        left, right = st.columns(2)
        with left:
            value_table(one["tags"], _("Tags"), "span-tags")
        with right:
            value_table(one["process"], _("Process"), "span-process")
        for log in one["logs"][:20]:
            fields = " · ".join(
                f"**{literal(name)}** {literal(str(value)[:400])}" for name, value in log["fields"].items()
            )
            st.caption(f"+{duration(max(log['offset_ms'], 0) / 1000)} {fields}")
        if len(one["logs"]) > 20:
            st.caption(_("{n} more log entries.").format(n=number(len(one["logs"]) - 20)))


def one_trace(trace_id: str) -> None:
    """A trace from its id in the URL."""
    st.button(
        _("Back to the search"), icon=":material/arrow_back:", type="tertiary", on_click=close_trace, key="close-trace"
    )

    @panel(
        _("Trace {id}").format(id=literal(trace_id[:32])),
        height=320,
        help=_(
            "Each span below the one that it is part of. Failed spans are red and marked ✕; the thin line marks the "
            "critical path: what decides how long the whole takes. A click on a row shows its details."
        ),
        key="one-trace",
    )
    def whole() -> Figure:
        spans = told.trace(trace_id, roles)
        if spans.empty:
            st.caption(_("Jaeger has no trace with this id: it was not recorded, or it is older than what is kept."))
            return Figure(None, spans, drawn=True)
        root = spans.iloc[0]
        failed = int(spans["error"].sum())
        total, services = spans.attrs["spans"], spans["service"].nunique()
        facts = [
            f"**{literal(root['operation'])}**",
            literal(root["service"]),
            when(spans["at"].min()),
            duration((spans["offset_ms"] + spans["duration_ms"]).max() / 1000),
            ngettext("{n} span", "{n} spans", total).format(n=number(total)),
            ngettext("{n} service", "{n} services", services).format(n=number(services)),
        ]
        if failed:
            facts.append(f":red[{ngettext('{n} failed span', '{n} failed spans', failed).format(n=number(failed))}]")
        st.markdown(" · ".join(facts))
        links_of(spans, trace_id)
        notes_of(spans)
        path = told.critical_path(spans)
        within = st.query_params.get("within", "")
        rows = told.rows_shown(
            spans,
            path,
            within=within,
            opened=st.session_state.get("_opened", ()),
            closed=st.session_state.get("_closed", ()),
        )
        rows["warned"] = told.has_warnings(spans).to_numpy()[rows["row"]]
        if within and within in set(spans["span_id"]):
            st.button(
                _("Show the whole trace"),
                key="whole-trace",
                icon=":material/zoom_out_map:",
                type="tertiary",
                on_click=look_within,
                args=[""],
            )
        hidden = int(rows["hidden"].sum())
        if hidden:
            st.caption(
                _(
                    "{n} spans are folded away (▸), those with errors and on the critical path last. Pick a row to "
                    "open what is below it."
                ).format(n=number(hidden))
            )
        selected = st.query_params.get("span", "")
        drawn = waterfall(
            rows.drop(columns=["tags", "logs", "process", "warnings", "at"]),
            path,
            title=_("Trace"),
            selected="",
            names=tuple(sorted(set(spans["service"]))),
        )
        chart: Any = drawn.chart if isinstance(drawn.chart, Drawing) else Drawing(drawn.chart)
        tall = len(rows) > 20
        with st.container(height=TALLEST if tall else "content", border=False):
            state = st.altair_chart(
                chart, key=f"waterfall-{trace_id[:32]}", alt=drawn.alt, on_select="rerun", selection_mode="pick"
            )
        clicked = picked(state)
        if clicked and clicked != selected:
            st.query_params["span"] = selected = clicked
        if not selected and failed:
            # The deepest span that failed is where it began to fail.
            broken = spans[spans["error"]]
            selected = str(broken.loc[broken["depth"].idxmax(), "span_id"])
        if selected:
            span_facts(spans, rows, selected)
        shown = spans.drop(columns=["parent", "tags", "logs", "process", "warnings"])
        shown.attrs = dict(spans.attrs)
        return Figure(drawn.chart, shown, drawn.alt, drawn=True)


def close_trace() -> None:
    """Back to the search."""
    st.session_state["trace"] = ""
    leave("span", "within")
    for name in ("_opened", "_closed"):
        st.session_state.pop(name, None)


# --- the page ---------------------------------------------------------------------------------------------------------

st.title(_("Traces"), anchor=False)
if not reads_requests(roles):
    st.info(_("Errors and traces are shown to engineers only."), icon=":material/lock:")
    st.stop()
if "_open_trace" in st.session_state:
    open_trace(st.session_state.pop("_open_trace"))
below_title = st.empty()
if not told.has_traces():
    st.caption(f":material/settings: {_('No Jaeger is configured: set MIRADOR_JAEGER_URL.')}")
    st.stop()
left, right = st.columns(2)
with left:
    exact = window_bar(now, earliest=now - LONGEST, longest=LONGEST)
    span = exact or span_bar(now, earliest=(now - LONGEST).date(), events=False)
if not exact:
    below_title.caption(span.caption())
address = Url()
with right:
    asked_trace = text_field(address, "trace", _("Open a trace by its id"), ":material/search:")
address.write()
tell_refused(address)
if asked_trace:
    one_trace(asked_trace)
else:
    results(search_bar(span))
    map_of_services()
