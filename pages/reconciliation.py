"""Reconciliation: the number and its proof. Ledger beside metric, what may lie between, what was found, which rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app import reconciliation
from app.findings import (
    STATE_COLOURS,
    STATE_ICONS,
    STATE_SIGNS,
    STATES,
    classes,
    edges,
    evidence,
    expected,
    is_explained,
    known_alone,
    labels_of,
    owner_role,
    plain,
    sentence,
    shown_metric,
    signed,
    span,
    state_name,
    verdict,
)
from components import (
    Figure,
    _,
    clock,
    day_filter,
    day_name,
    duration,
    language,
    line,
    ngettext,
    number,
    panel,
    stop_if_left,
    table,
    when,
)
from components.drill import column_words, grid_height
from components.url import Url, one_of
from queries import Result, reconcile_views

TREND_DAYS = 30
FINDINGS_SHOWN = 20


# --- what is asked ----------------------------------------------------------------------------------------------------


def label(name: str) -> str:
    """A contract's name in the viewer's language."""
    return queries.contracts()[name].label.in_language(language())


def check() -> reconciliation.Check:
    """All contracts of the day. Raises SourceError where no source could tell anything of any of them."""
    found = reconciliation.checks.get(day, while_waiting=stop_if_left)
    errors = [one.error for one in found.results.values()]
    if errors and all(errors) and not any(one.one_sided for one in found.results.values()):
        # Whichever source it was says it itself, as not configured or as away.
        queries.ledger("watermark")
        queries.probe("metrics")
        raise queries.SourceError(str(errors[0]), kind="down")
    return found


def result() -> Result:
    """The opened contract's result, which holds one number at least. Raises SourceError where there is none."""
    one = check().results[chosen]
    if one.error and not one.one_sided:
        raise queries.SourceError(one.error, kind="down")
    return one


def no_comparison(results: Iterable[Result], key: str, *, said: bool = False) -> None:
    """Why there is no comparison, a sentence for each source that did not answer. `said`: that there is none."""
    for error, kind in {one.error: one.error_kind for one in results if one.error}.items():
        if kind == "not_configured":
            st.caption(f":material/settings: {_(error)}")
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/error: {_(error) if said else _('No comparison.') + ' ' + _(error)}")
            st.button(_("Retry"), key=f"{key}:again", icon=":material/refresh:", type="tertiary")


def trends() -> dict[str, pd.DataFrame]:
    """The differences of the days before, where the sources tell them."""
    last = min(day, today - timedelta(days=1))
    # A day more, for the day on which the metrics begin is not known whole.
    days = [last - timedelta(days=back) for back in range(TREND_DAYS + 1)]
    found = {}
    for name in queries.contracts():
        try:
            found[name] = reconcile_views.whole_days(queries.daily_differences(name, days))
        except queries.SourceError:
            continue
    return found


def both_stamps(one: Result) -> str:
    """When each source was asked, and up to when both know."""
    told = [
        _("{source} of {clock}").format(source=name, clock=clock(answer.as_of))
        for name, answer in ((_("Ledger"), one.ledger_answer), (_("Metrics"), one.metric_answer))
        if answer is not None
    ]
    if one.one_sided:
        return " · ".join(told)
    told.append(
        _("compared {start} to {end}, which both know").format(
            start=when(one.start), end=clock(one.end) if one.start.date() == one.end.date() else when(one.end)
        )
    )
    return " · ".join(told)


# --- all contracts ----------------------------------------------------------------------------------------------------


def mark_of(state: str) -> str:
    """A state's icon in its colour."""
    return f":{STATE_COLOURS[state]}[:material/{STATE_ICONS[state]}:]"


def counted(state: str, n: int) -> str:
    """How many are in a state."""
    words = {
        "agrees": ngettext("**{n}** agrees", "**{n}** agree", n),
        "explained": ngettext("**{n}** is explained", "**{n}** are explained", n),
        "differs": ngettext("**{n}** differs", "**{n}** differ", n),
        "unknown": ngettext("**{n}** is unknown", "**{n}** are unknown", n),
    }
    return words[state].format(n=number(n))


def summary(found: reconciliation.Check) -> str:
    """How many contracts are in which state."""
    states = [one.state for one in found.results.values()]
    return " · ".join(
        f"{mark_of(state)} {counted(state, states.count(state))}" for state in STATES[::-1] if state in states
    )


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The overview as it is read: each number in its own unit."""
    found = check().results
    return pd.DataFrame(
        {
            "contract": [label(name) for name in frame["contract"]],
            "state": [f"{STATE_SIGNS[state]} {state_name(state)}" for state in frame["state"]],
            "ledger": [plain(found[name].ledger, found[name].contract.unit) for name in frame["contract"]],  # type: ignore[arg-type]
            "metric": [shown_metric(found[name]) for name in frame["contract"]],
            "difference": [signed(found[name].difference, found[name].contract.unit) for name in frame["contract"]],
            "expected": [expected(found[name]) for name in frame["contract"]],
            "trend": frame["trend"],
        }
    )


def open_contract(names: list[str]) -> None:
    """Open the contract whose row was clicked."""
    cells = st.session_state["contracts:table"]["selection"]["cells"]
    if cells and cells[0][0] < len(names):
        st.session_state["contract"] = names[cells[0][0]]
        st.session_state["contracts:opened"] = True


def close_contract() -> None:
    """Back to all of them."""
    st.session_state["contract"] = ""


def all_contracts() -> None:
    @panel(
        _("Contracts"),
        height=grid_height(len(queries.contracts())),
        help=_(
            "Each number that both sources know. The ledger is exact; the metrics are what was scraped. The expected "
            "difference is computed from the moments of the scrapes, restarts, gaps and rows that were written late. "
            "30 days: the difference day by day by Prometheus's own increase(), which extrapolates. Pick a row to open "
            "it."
        ),
        key="contracts",
    )
    def contracts_panel() -> Figure:
        if st.session_state.pop("contracts:opened", False):
            # The click has come to this panel alone; what opens is the page.
            st.rerun()
        found = check()
        # A source that is away would be waited for again, for nothing.
        frame = reconcile_views.overview(found.results, {} if found.away else trends())
        st.markdown(summary(found))
        no_comparison(found.results.values(), "contracts")
        shown = as_shown(frame)
        right: Any = {"alignment": "right", "width": 125}
        st.dataframe(
            shown,
            hide_index=True,
            height="content",
            key="contracts:table",
            on_select=lambda: open_contract(frame["contract"].tolist()),
            selection_mode="single-cell",
            alt=_("Contracts"),
            column_config={
                "contract": st.column_config.TextColumn(_("Contract")),
                "state": st.column_config.TextColumn(_("State")),
                "ledger": st.column_config.TextColumn(_("Ledger"), **right),
                "metric": st.column_config.TextColumn(_("Metrics"), **right),
                "difference": st.column_config.TextColumn(_("Difference"), **right),
                "expected": st.column_config.TextColumn(_("Expected"), **right),
                "trend": st.column_config.LineChartColumn(
                    _("30 days"), help=_("The difference of each day"), width="medium"
                ),
            },
        )
        stamps = [one for one in found.results.values() if one.ledger_answer or one.metric_answer]
        if stamps:
            st.caption(both_stamps(stamps[0]))
        return Figure(None, frame, drawn=True)


def definitions() -> None:
    """The classes, what they mean, and what to do."""
    for kind, one in classes().items():
        mark = ":blue[:material/info:]" if is_explained(kind) else ":red[:material/error:]"
        st.markdown(f"{mark} **{one.name}**  \n{one.meaning}  \n:small[{one.remedy}]")
    st.caption(
        _(
            "Blue: what metrics lose or tell late by their nature; it explains a difference. Red: something counts "
            "wrongly, and the contract differs until it is mended."
        )
    )


# --- one contract -----------------------------------------------------------------------------------------------------


def one_contract() -> None:
    contract = queries.contracts()[chosen]
    unit = contract.unit

    @panel(label(chosen), height=96, help=about(chosen), key="verdict")
    def verdict_panel() -> Figure:
        one = result()
        st.markdown(f"{mark_of(one.state)} {known_alone(one) if one.one_sided else verdict(one)}")
        if one.one_sided:
            no_comparison([one], "verdict", said=True)
        st.caption(both_stamps(one))
        return Figure(None, reconcile_views.overview({chosen: one}, {}), drawn=True)

    @panel(
        _("Minute by minute"),
        height=300,
        help=_(
            "Left: what happened in each minute, by the ledger and by the metrics in a straight line between scrapes. "
            "Right: metrics less ledger, summed up. The band is where it can lie when nothing is wrong: between two "
            "scrapes a counter is known only to be between their values. What a reset lost moves the band along."
        ),
        key="minutes",
    )
    def minutes() -> Figure:
        one = result()
        if one.one_sided:
            return one_side(one)
        first, last = zoom(one)
        curves = within(reconcile_views.minutes(one), first, last)
        apart = within(reconcile_views.difference(one), first, last)
        binned, width = reconcile_views.in_bins(curves, state=contract.kind == "gauge")
        left = line(
            binned[binned["source"] == "ledger"],
            x="minute",
            y="value",
            unit=unit,
            title=_("{contract}: ledger and metrics").format(contract=label(chosen)),
            compare=binned[binned["source"] == "metrics"],
            # A state that hardly moves would be a line at the top.
            zero=contract.kind != "gauge",
            periods=(_("Ledger"), _("Metrics")),
            events=drawn_in(one),
            height=240,
        )
        right = line(
            apart,
            x="minute",
            y="difference",
            low="low",
            high="high",
            unit=unit,
            title=_("{contract}: difference, and where it is expected").format(contract=label(chosen)),
            events=drawn_in(one),
            height=240,
        )
        counted, summed = st.columns(2)
        with counted:
            st.caption(
                _("State, minute by minute")
                if contract.kind == "gauge"
                else ngettext("In each minute", "In each {n} minutes", width).format(n=number(width))
            )
            drawn(left, "minutes:counted")
        with summed:
            st.caption(
                _("Difference, and where it is expected")
                if contract.kind == "gauge"
                else _("Difference since the start, and where it is expected")
            )
            drawn(right, "minutes:difference")
        return Figure(left.chart, both(curves, apart), drawn=True)

    @panel(
        _("Findings"),
        height=120,
        help=_("What lies outside of the expected difference, largest first."),
        key="findings",
    )
    def findings() -> Figure:
        one = result()
        if one.one_sided:
            st.caption(_("With one source alone there is nothing to compare."))
            return Figure(None, finding_frame(one), drawn=True)
        told = sorted(enumerate(one.findings), key=lambda pair: (is_explained(pair[1].kind), -pair[1].size))
        if not told:
            st.markdown(f":green[:material/check_circle:] {_('Nothing was found.')}")
        names = classes()
        advised: set[str] = set()
        for _place, finding in told[:FINDINGS_SHOWN]:
            mark = ":blue[:material/info:]" if is_explained(finding.kind) else ":red[:material/error:]"
            # What to do stands once for a class.
            advice = "" if finding.kind in advised else f" {_('To do:')} {names[finding.kind].remedy}"
            advised.add(finding.kind)
            st.markdown(
                f"{mark} **{names[finding.kind].name}**: {sentence(contract, finding)}  \n"
                f":small[{evidence(contract, finding)}{advice}]"
            )
        if len(told) > FINDINGS_SHOWN:
            st.caption(_("The {n} largest of {total}.").format(n=number(FINDINGS_SHOWN), total=number(len(told))))
        return rows_of(one)

    by_label, processes = st.columns(2)
    if contract.columns:
        with by_label:

            @panel(
                _("By label"),
                height=260,
                help=_("A wrong label leaves the sum as it is: here the parts differ."),
                key="by-label",
            )
            def by_label_panel() -> Figure:
                one = result()
                frame = reconcile_views.parts(one).copy(deep=False)
                frame["expected"] = (
                    ["–" for _each in range(len(frame))]
                    if one.one_sided
                    else [edges(low, high, unit) for low, high in zip(frame["low"], frame["high"], strict=True)]
                )
                kind = "mxn" if unit == "mxn" else "number"
                shown: dict[str, Any] = dict.fromkeys(contract.columns, "text")
                shown |= {
                    "ledger": (kind, _("Ledger")),
                    "metric": (kind, _("Metrics")),
                    "difference": (kind, _("Difference")),
                    "expected": ("text", _("Expected")),
                }
                return table(frame, shown, title=_("By label"), key="by-label")

    with processes if contract.columns else by_label:

        @panel(
            _("Scraped processes"),
            height=260,
            help=_(
                "Each process whose counters were scraped: its scrapes, those that are missing, and how often it "
                "began anew."
            ),
            key="processes",
        )
        def processes_panel() -> Figure:
            one = result()
            frame = one.targets.copy(deep=False)
            frame.attrs["answer"] = one.metric_answer
            zone_name = one.start.tzinfo
            for name in ("begins", "ends"):
                frame[name] = frame[name].dt.tz_convert(zone_name)
            return table(
                frame,
                {
                    "instance": ("text", _("Process")),
                    "scrapes": ("count", _("Scrapes")),
                    "missed": ("count", _("Missed")),
                    "restarts": ("count", _("Restarts")),
                    "begins": ("datetime", _("Came")),
                    "ends": ("datetime", _("Went")),
                },
                title=_("Scraped processes"),
            )


def one_side(one: Result) -> Figure:
    """The curve of the source that answered."""
    curves = reconcile_views.minutes(one)
    binned, width = reconcile_views.in_bins(curves, state=one.contract.kind == "gauge")
    side = _("Ledger") if one.ledger is not None else _("Metrics")
    drawn_one = line(
        binned,
        x="minute",
        y="value",
        unit=one.contract.unit,
        title=f"{label(chosen)}: {side}",
        zero=one.contract.kind != "gauge",
        height=240,
    )
    words = (
        _("State, minute by minute")
        if one.contract.kind == "gauge"
        else ngettext("In each minute", "In each {n} minutes", width).format(n=number(width))
    )
    st.caption(f"{side} · {words}")
    drawn(drawn_one, "minutes:one")
    return Figure(drawn_one.chart, curves, drawn=True)


def about(name: str) -> str:
    """What a contract compares, and what it allows."""
    one = queries.contracts()[name]
    told = _(
        "Ledger: `{query}`. Metric: `{metric}`. The metric may know an event up to {ahead} sooner and {behind} later "
        "than the row says. Responsible: {owner}."
    ).format(
        query=one.ledger.query,
        metric=one.metric.name,
        ahead=duration(one.tolerance.ahead),
        behind=duration(one.tolerance.behind),
        owner=owner_role(one, language()),
    )
    return told + (
        " " + _("The gauge is worked out anew every {refresh}.").format(refresh=duration(one.tolerance.refresh))
        if one.tolerance.refresh
        else ""
    )


def drawn(figure: Figure, key: str) -> None:
    """One of two pictures of a panel."""
    if figure.chart is None:
        st.caption(_("No data for this choice"))
    else:
        st.altair_chart(figure.chart, key=key, alt=figure.alt)


def both(curves: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """All curves in one table, for the menu: minute, ledger, metrics, difference, low, high."""
    frame = curves.pivot(index="minute", columns="source", values="value").reset_index().merge(apart, on="minute")
    frame.columns.name = None
    frame.attrs = dict(curves.attrs)
    return frame


def within(frame: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """The minutes of a frame between two moments."""
    cut = frame[(frame["minute"] >= first.floor("min")) & (frame["minute"] <= last)].reset_index(drop=True)
    cut.attrs = dict(frame.attrs)
    return cut


def drawn_in(one: Result) -> pd.DataFrame:
    """Gaps, restarts and findings as they are drawn in a curve."""
    frame = reconcile_views.happenings(one)
    names = classes()
    frame["title"] = [
        f"{names[one.findings[place].kind].name}: {sentence(one.contract, one.findings[place])}"
        for place in frame["finding"]
    ]
    return frame


def finding_frame(one: Result) -> pd.DataFrame:
    """The findings as a table, for the menu."""
    frame = pd.DataFrame(
        [
            {
                "kind": finding.kind,
                "start": finding.start.astimezone(zone),
                "end": finding.end.astimezone(zone),
                "amount": finding.amount,
                "size": finding.size,
                "labels": labels_of(finding.labels),
                "instances": ", ".join(finding.instances),
                "rows": ", ".join(finding.rows),
                "certain": finding.certain,
            }
            for finding in one.findings
        ],
        columns=["kind", "start", "end", "amount", "size", "labels", "instances", "rows", "certain"],
    )
    frame.attrs["answer"] = reconcile_views.stamp(one)
    return frame


def rows_of(one: Result) -> Figure:
    """The rows that the findings point to, with links to their credits and drivers."""
    pointed = [finding for finding in one.findings if finding.rows]
    if not pointed:
        return Figure(None, finding_frame(one), drawn=True)
    ids = tuple(dict.fromkeys(id for finding in pointed for id in finding.rows))
    key = one.contract.ledger.key
    rows = queries.ledger(reconcile_views.ROWS[key], {"ids": ids})
    frame = reconcile_views.rows_of(one, rows)
    named = {kind: told.name for kind, told in classes().items()}
    frame["finding"] = [named[kind] for kind in frame["finding"]]
    exact = len({id for finding in pointed if finding.certain for id in finding.rows})
    count = ngettext("{n} row that they point to", "{n} rows that they point to", len(frame))
    sure = f" · {_('{n} of them for certain').format(n=number(exact))}" if exact else ""
    st.caption(count.format(n=number(len(frame))) + sure)
    return table(frame, kinds(frame, key), title=_("Rows"), key="reconciliation-rows")


def kinds(frame: pd.DataFrame, key: str) -> dict[str, Any]:
    """How each column of the rows is shown: the ids first, those that lead on as links."""
    first = [name for name in ("finding", key, "credit_id", "conductor_id") if name in frame]
    order = dict.fromkeys([*first, *frame.columns])
    told: dict[str, Any] = {}
    for name in order:
        values = frame[name]
        if name == "finding":
            told[name] = ("text", _("Finding"))
        elif name in {"credit_id", "conductor_id"}:
            told[name] = "link"
        elif name.endswith("_id"):
            told[name] = st.column_config.Column(column_words(name))
        elif isinstance(values.dtype, pd.DatetimeTZDtype):
            told[name] = st.column_config.DatetimeColumn(column_words(name), format="YYYY-MM-DD HH:mm:ss")
        elif name in {"amount", "principal", "amount_due", "amount_paid"}:
            told[name] = "mxn"
        elif name == "due_date":
            told[name] = "date"
        elif pd.api.types.is_numeric_dtype(values.dtype):
            told[name] = "count"
        else:
            told[name] = "text"
    return told


def zoom(one: Result) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The part of the window that is drawn: all, its last hour, or around a finding, as chosen."""
    whole = (pd.Timestamp(one.start), pd.Timestamp(one.end))
    names = classes()
    options = ["day", "hour", *map(str, range(min(len(one.findings), FINDINGS_SHOWN)))]

    def words(option: str) -> str:
        if option in {"day", "hour"}:
            return _("The whole day") if option == "day" else _("The last hour")
        finding = one.findings[int(option)]
        return f"{names[finding.kind].name}, {span(finding.start, finding.end)}"

    chosen_part = st.selectbox(
        _("Around"), options, format_func=words, key=f"around:{chosen}:{day}", label_visibility="collapsed", width=420
    )
    if chosen_part == "hour":
        return max(whole[0], whole[1] - pd.Timedelta(hours=1)), whole[1]
    return whole if chosen_part in {"day", None} else reconcile_views.around(one, int(chosen_part))


# --- the page ---------------------------------------------------------------------------------------------------------

zone = queries.timezone()
now = datetime.now(zone)
today = now.date()
names = tuple(queries.contracts())

heading, chooser = st.columns([5, 1], vertical_alignment="bottom")
with chooser:
    day = day_filter(today, earliest=today - timedelta(days=730))
with heading:
    st.title(_("Reconciliation"), anchor=False)
    until = _("so far, {clock}").format(clock=clock(now)) if day == today else _("the whole day")
    st.caption(f"{day_name(day, style='d MMM y')} · {until} · {_('the number and its proof')}")

url = Url()
url.restore("contract", "", one_of(("", *names)))
with st.container(horizontal=True, vertical_alignment="center"):
    chosen = str(
        st.selectbox(
            _("Contract"),
            ("", *names),
            format_func=lambda name: label(name) if name else _("All contracts"),
            key="contract",
            label_visibility="collapsed",
            width=300,
        )
        or ""
    )
    if chosen:
        st.button(_("All contracts"), icon=":material/arrow_back:", type="tertiary", on_click=close_contract)
url.keep("contract", chosen, [chosen], default=not chosen)
url.write()
for refused in url.refused:
    st.warning(
        _("The link asks for the contract “{name}”, which there is not: all are shown.").format(
            name=refused.partition("=")[2][:40]
        ),
        icon=":material/link_off:",
    )

if not chosen:
    all_contracts()
else:
    one_contract()

with st.expander(_("What the classes of findings mean"), icon=":material/menu_book:"):
    definitions()
