"""Integrations in words, cards and tables: their states, what their failures cost, how their calls changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from components.fields import literal
from components.frame import Figure
from components.i18n import _, duration, number, percent, pgettext, short_money, when
from components.table import table
from components.words import value_name

QUANTILES = ("p50", "p95", "p99")
MARKS = {"failing": "red", "degraded": "orange", "well": "green", "quiet": "gray"}
ICONS = {"failing": "error", "degraded": "warning", "well": "check_circle", "quiet": "remove"}


def states() -> dict[str, str]:
    """What the last hour tells, in the viewer's language."""
    return {"failing": _("failing"), "degraded": _("degraded"), "well": _("well"), "quiet": _("quiet")}


def ms(value: Any) -> str:
    """Milliseconds as 85 ms or 1.3 s."""
    return duration(float(value) / 1000) if value is not None and not pd.isna(value) else "–"


def cost_words(row: Any) -> str:
    """What failed calls cost, in a sentence: what waits, what came back, what is normal at this time."""
    values = {
        "hit": number(row.hit),
        "back": number(row.back),
        "waiting": number(row.waiting),
        "amount": short_money(row.waiting_amount),
        "hit_amount": short_money(row.hit_amount),
        "back_amount": short_money(row.back_amount),
        "normal": "–"
        if math.isnan(row.waiting_normal)
        else number(row.waiting_normal, int(row.waiting_normal % 1 != 0)),
        "normal_amount": "–" if math.isnan(row.waiting_normal) else short_money(row.waiting_amount_normal),
    }
    match row.kind:
        case "payment":
            text = _(
                "Payments not collected: {waiting} ({amount}), normally {normal} ({normal_amount}). Failed through it: "
                "{hit} ({hit_amount}); came back on retry: {back} ({back_amount})."
            )
        case "credit":
            text = _(
                "Disbursements held up: {waiting} ({amount} not sent), normally {normal} ({normal_amount}). Failed "
                "through it: {hit} ({hit_amount}); came back on retry: {back} ({back_amount})."
            )
        case "application":
            text = _(
                "Applications waiting for it: {waiting} ({amount} asked for), normally {normal} ({normal_amount}). Had "
                "a failed call: {hit}; came back on retry: {back} ({back_amount})."
            )
        case _:
            text = _("Failed calls that served no application, credit or payment: {hit}.")
    return text.format(**values)


def late_words(row: Any) -> str:
    """Drivers who look late only because of an integration, in a sentence."""
    values = {
        "drivers": number(row.drivers),
        "installments": number(row.installments),
        "amount": short_money(row.amount),
        "normal": "–"
        if math.isnan(row.drivers_normal)
        else number(row.drivers_normal, int(row.drivers_normal % 1 != 0)),
    }
    if row.state == "late":
        text = _(
            "Drivers who look late only because of it: {drivers} ({installments} installments, {amount}), normally "
            "{normal}."
        )
    else:
        text = _(
            "Drivers who looked late only because of it and paid on retry: {drivers} ({installments} installments, "
            "{amount}), normally {normal}."
        )
    return text.format(**values)


def cost_lines(cost: pd.DataFrame, late: pd.DataFrame) -> list[str]:
    """What one integration costs the business: a line a kind of thing that it serves, marked where more waits than
    normally. `cost` and `late` are its rows of `integrations/cost` and `integrations/looks_late` beside normal days.
    """
    lines = []
    for row in cost.itertuples():
        over = row.waiting > (0 if math.isnan(row.waiting_normal) else row.waiting_normal)
        lines.append(f":orange[{cost_words(row)}]" if over else cost_words(row))
    for row in late[late["drivers"] > 0].itertuples():
        over = row.state == "late" and row.drivers > (0 if math.isnan(row.drivers_normal) else row.drivers_normal)
        lines.append(f":orange[{late_words(row)}]" if over else late_words(row))
    # A dollar sign would begin a formula.
    return [one.replace("$", "\\$") for one in lines] or [_("Nothing waits for it.")]


def metrics_lines(calls: pd.DataFrame, quantiles: pd.DataFrame, seconds: float) -> dict[str, str]:
    """What the metrics say of each integration over so many seconds, in a line: `integrations/calls`, `quantiles`."""
    lines = {}
    for name, part in calls.groupby("integration") if len(calls) else ():
        values = part.set_index("outcome")["value"]
        whole = float(values.get("all", math.nan))
        if not whole > 0:
            continue
        words = f"{per_time(whole, seconds)} · {percent(float(values.get('failed', 0.0)) / whole)}"
        if len(quantiles):
            own = quantiles[quantiles["integration"] == name].set_index("quantile")["value"]
            words += "".join(f" · {q} {duration(float(own[q]))}" for q in QUANTILES if q in own.index)
        lines[str(name)] = _("By the metrics, about: {values}").format(values=words)
    return lines


def per_time(calls: float, seconds: float) -> str:
    """So many calls in so many seconds, as a rate in the unit that reads best."""
    minute = calls * 60 / seconds
    if minute >= 1:
        return _("{n} calls/min").format(n=number(minute, 1))
    return _("{n} calls/h").format(n=number(minute * 60, 1))


def _fact(label: str, value: str) -> None:
    """A number with its name above it."""
    st.markdown(f":small[:gray[{label}]]  \n{value}")


def integration_card(
    row: Any,
    whole: Any,
    seconds: float,
    lines: list[str],
    look: Callable[[Any], None],
    open_call: Callable[[Any], None],
) -> Any:
    """One integration: its state, its period, the last calls, and what it costs; gives the place for what comes later.

    `row` is of `integrations/latest` with its state; `whole` its calls of a period of so many seconds, None without
    any; `lines` say what it costs. `look` chooses an integration, `open_call` a call.
    """
    calls, failed = int(row.calls_hour), int(row.failed_hour)
    hour = _("No call in the last hour")
    if calls:
        hour = _("{failed} of {calls} failed in the last hour").format(failed=number(failed), calls=number(calls))
    with st.container(border=True, gap="xsmall", key=f"integration-{row.integration}"):
        mark = f":{MARKS[row.state]}[:material/{ICONS[row.state]}:]"
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(
                f"{mark} **{literal(value_name(row.integration))}** {states()[row.state]} :small[:gray[· {hour}]]",
                width="content",
            )
            # A link to the page that is open would not change its address.
            if st.button(
                _("Look into it"),
                key=f"look-into-{row.integration}",
                icon=":material/arrow_forward:",
                type="tertiary",
                on_click=look,
                args=[row.integration],
            ):
                st.rerun()
        share = percent(whole.share) if whole is not None else "–"
        values = " · ".join(ms(getattr(whole, q)) for q in QUANTILES) if whole is not None else "–"
        with st.grid(4, min_column_width=125, gap=("xsmall", "small")):
            _fact(_("Call rate"), per_time(whole.calls, seconds) if whole is not None else "–")
            _fact(_("Error rate"), f":red[**{share}**]" if row.state == "failing" else share)
            _fact(" · ".join(QUANTILES), values)
            _fact(_("Last success"), when(row.last_success) if not pd.isna(row.last_success) else _("none"))
        later = st.empty()
        st.markdown("  \n".join(f":small[{one}]" for one in lines))
        if not pd.isna(row.last_failure) and st.button(
            _("Last failure {when}: {code}").format(
                when=when(row.last_failure), code=literal(value_name(row.last_error_code))
            ),
            key=f"last-failure-{row.integration}",
            icon=":material/error:",
            type="tertiary",
            help=_("Open the call"),
            on_click=open_call,
            args=[row.last_call_id],
        ):
            st.rerun()
    return later


def change_words(whole: Any) -> str:
    """How the calls after a moment differ from those before it, in a sentence: the row '' of a comparison."""
    if math.isnan(whole["difference"]):
        return _("There are calls on one side only.")
    colour, words = "gray", _("no certain change")
    if whole["certain"]:
        colour, words = ("red", _("worse")) if whole["difference"] > 0 else ("green", _("better"))
    said = _("Error rate {before} → {after}: {verdict} (difference {low} to {high} pp).").format(
        before=percent(whole["share_before"]),
        after=percent(whole["share_after"]),
        verdict=f":{colour}[**{words}**]",
        low=f"{whole['low'] * 100:+.1f}",
        high=f"{whole['high'] * 100:+.1f}",
    )
    return f"{said} p95 {ms(whole['p95_before'])} → {ms(whole['p95_after'])}"


def cost_table(frame: pd.DataFrame) -> Figure:
    """What waits for one integration, a row a kind: its rows of `integrations/cost` beside normal days."""
    kinds = {
        "payment": _("Payments not collected"),
        "credit": _("Disbursements held up"),
        "application": _("Applications waiting"),
    }
    frame = _with(frame, "what", [kinds[kind] for kind in frame["kind"]])
    columns = {
        "what": ("text", _("What waits")),
        "waiting": ("count", _("Now")),
        "waiting_amount": ("mxn", _("MXN")),
        "waiting_normal": ("number", _("Normally")),
        "waiting_amount_normal": ("mxn", _("MXN normally")),
        "hit": ("count", _("Had a failed call")),
        "back": ("count", _("Came back on retry")),
        "back_amount": ("mxn", _("MXN come back")),
    }
    return table(frame, columns, title=_("What it costs the business now"))


def late_table(frame: pd.DataFrame) -> Figure:
    """Who looks late only because of one integration, a row a state: its rows of `integrations/looks_late`."""
    states_ = {"late": _("Look late now"), "paid": _("Looked late, paid on retry")}
    frame = _with(frame, "what", [states_[state] for state in frame["state"]])
    columns = {
        "what": ("text", _("Who")),
        "drivers": ("count", _("Drivers")),
        "drivers_normal": ("number", _("Normally")),
        "installments": ("count", _("Installments")),
        "amount": ("mxn", _("MXN")),
        "amount_normal": ("mxn", _("MXN normally")),
    }
    return table(frame, columns, title=_("Drivers who look late only because of it"))


def calls_table(frame: pd.DataFrame, *, one: bool) -> Figure:
    """Calls, of one integration or of several."""
    columns: dict[str, Any] = {
        "called_at": st.column_config.DatetimeColumn(_("Made"), format="YYYY-MM-DD HH:mm:ss"),
        **({} if one else {"integration": ("text", _("Integration"))}),
        "endpoint": ("text", _("Endpoint")),
        "status": ("text", _("Outcome")),
        "error_code": ("text", _("Error code")),
        "http_status": st.column_config.NumberColumn("HTTP", format="%d"),
        "duration_ms": ("ms", _("Duration")),
        "request_id": ("text", _("Request")),
    }
    return table(frame, columns, title=_("Calls"))


def endpoints_table(frame: pd.DataFrame, by: Sequence[str]) -> Figure:
    """Calls, failures and quantiles by endpoint, or by integration and endpoint."""
    names = {"integration": ("text", _("Integration")), "endpoint": ("text", _("Endpoint"))}
    columns = {
        **{name: names[name] for name in by},
        "calls": ("count", _("Calls")),
        "failed": ("count", pgettext("calls", "Failed")),
        "share": ("share", _("Error rate")),
        **{q: ("ms", q) for q in QUANTILES},
    }
    return table(frame, columns, title=_("By endpoint"))


def codes_table(frame: pd.DataFrame) -> Figure:
    """Error codes of one integration, when each was first and last seen."""
    columns = {
        "error_code": ("text", _("Error code")),
        "endpoint": ("text", _("Endpoint")),
        "n_span": ("count", _("In the period")),
        "first_seen": ("datetime", _("First seen")),
        "last_seen": ("datetime", _("Last seen")),
        "n": ("count", _("Ever")),
    }
    return table(frame, columns, title=_("Error codes, first and last seen"))


def change_table(frame: pd.DataFrame, by: str, whole: str) -> Figure:
    """Calls before and after a moment by endpoint or integration; `whole` is what the row '' is called."""
    frame = _with(frame, by, [value_name(name) or whole for name in frame[by]])
    columns: dict[str, Any] = {by: ("text", _("Endpoint") if by == "endpoint" else _("Integration"))}
    for column, kind, label in (
        ("calls", "count", _("Calls")),
        ("share", "share", _("Error rate")),
        ("p95", "ms", "p95"),
    ):
        columns[f"{column}_before"] = (kind, _("{what}, before").format(what=label))
        columns[f"{column}_after"] = (kind, _("{what}, after").format(what=label))
    return table(frame, columns, title=_("Before and after a moment"))


def _with(frame: pd.DataFrame, column: str, values: Sequence[Any]) -> pd.DataFrame:
    """The frame with a column more, and with the stamp of its answer."""
    made = frame.assign(**{column: values})
    made.attrs = dict(frame.attrs)
    return made
