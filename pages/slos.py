"""SLOs: how much of each error budget is left, how fast it burns, what spent it, and what breaches next."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

import queries
from components import (
    Figure,
    _,
    bar,
    bars_over_time,
    day_name,
    duration,
    language,
    line,
    ngettext,
    number,
    panel,
    percent,
    short_money,
    table,
    when,
)
from components.words import short_routes
from queries import budgets
from queries import slos as objectives
from queries.slo_file import BURNS, PERIOD_DAYS
from queries.slos import Slo, Standing, slos

SOON_HOURS = 12
# Of a calendar month, so many first days hold too few events to be drawn.
FEW_DAYS = 3
WINDOWS = {"rolling": _("Last 30 days"), "month": _("Calendar month")}
LENGTHS = (30, 90)
OWNERS = {"engineer": _("engineers"), "analyst": _("analysts"), "executive": _("executives")}
REASONS = {"late": _("Sent after 48 h"), "waiting": _("Still waits"), "cancelled": _("Cancelled after 48 h")}
# Longer names have no room below an axis.
MOST_BELOW = 14
KINDS = {
    "deployment": _("Deployment"),
    "incident": _("Incident"),
    "alert": _("Alert"),
    "cutoff": _("Cut-off"),
    "model": _("Model"),
    "other": _("Other"),
}

zone = queries.timezone()
now = datetime.now(zone)
today = now.date()
every = slos()


def name_of(slo: Slo) -> str:
    """The objective's name in the viewer's language."""
    return slo.label.in_language(language())


def share_of(slo: Slo) -> str:
    """The objective as 99.9 %."""
    return percent(slo.objective, 1 if slo.objective * 1000 % 10 else 0)


def events_words(value: float, exact: bool) -> str:
    """A number of events; increase() of a counter is no count, and says so."""
    # Prometheus extrapolates: its digits after the point mean nothing.
    words = number(round(value))
    return words if exact else f"≈ {words}"


def state_of(told: Standing) -> tuple[str, str, str]:
    """Words, colour and icon of where an objective stands."""
    if math.isnan(told.budget.left):
        return _("no data"), "gray", ":material/help:"
    if told.budget.left < 0:
        return _("missed"), "red", ":material/error:"
    if told.firing:
        return _("burns too fast"), "orange", ":material/local_fire_department:"
    return _("met"), "green", ":material/check_circle:"


def forecast(told: Standing) -> str:
    """When the budget runs out at the pace of the last three days."""
    pace = told.burns[told.burns["window"] == "3d"]
    if math.isnan(told.budget.left):
        return _("Nothing was decided in this window.")
    if told.runs_out == 0:
        return _("The budget is spent.")
    if told.runs_out is not None:
        day = day_name(today + timedelta(days=told.runs_out), style="d MMM")
        return ngettext(
            "At this pace it runs out in {n} day ({day}).",
            "At this pace it runs out in {n} days ({day}).",
            told.runs_out,
        ).format(n=told.runs_out, day=day)
    if pace.empty or math.isnan(pace["burn"].iloc[0]):
        return _("No events in the last three days: no forecast.")
    return _("At this pace it lasts the month.") if told.window == "month" else _("At this pace it lasts.")


def budget_bar(told: Standing) -> None:
    """The share of the budget that is left, as a bar with its words."""
    left = told.budget.left
    if math.isnan(left):
        st.progress(0.0, text=_("No events"))
    elif left < 0:
        st.progress(0.0, text=_("Budget overspent: {spent} of it used").format(spent=percent(1 - left, 0)))
    else:
        st.progress(min(left, 1.0), text=_("{left} of the budget left").format(left=percent(left, 0)))


def burn_words(told: Standing) -> str:
    """Burn rates of the long windows in one line."""
    said = []
    for row in told.burns[told.burns["factor"].notna()].itertuples():
        rate = "–" if math.isnan(row.burn) else f"{number(row.burn, 1)}x"
        said.append(f":orange[**{row.window} {rate}**]" if row.firing else f"{row.window} {rate}")
    return " · ".join(said)


def left_words(told: Standing) -> str:
    """What is left in events, and in MXN where events carry an amount."""
    bad, allowed = events_words(told.budget.bad, told.exact), number(round(told.budget.allowed))
    words = _("{bad} bad of {allowed} allowed").format(bad=bad, allowed=allowed)
    if told.amount_budget is not None:
        words += f" · {short_money(told.amount_bad)} / {short_money(told.amount_budget)}"
    return words


def quiet_warnings(told: Standing) -> None:
    """A line when the metrics hold less than the window: its budget is then that of a shorter time."""
    gap = objectives.retention_gap(told)
    if gap is None:
        return
    held, kept = gap
    wanted = (told.last - told.first).days + 1
    words = _("Prometheus keeps {held} days, the window has {wanted}: the budget is that of the shorter time.")
    if not kept:
        words = _("The metrics begin {held} days ago, the window has {wanted}: the budget is that of the shorter time.")
    said = words.format(held=number(held, 0 if held == int(held) else 1), wanted=wanted)
    st.markdown(f":orange[:material/warning:] :small[{said}]")


def window_choice(usual: budgets.Window) -> budgets.Window:
    """The window that the budgets are told in; `usual` without a choice."""
    asked = st.query_params.get("window")
    options: list[budgets.Window] = ["rolling", "month"]
    chosen = st.segmented_control(
        _("Window"),
        options,
        format_func=lambda one: WINDOWS[one],
        default=asked if asked in options else usual,
        label_visibility="collapsed",
        required=True,
        key="slo-window",
    )
    found: budgets.Window = chosen or usual
    if found == usual:
        st.query_params.pop("window", None)
    else:
        st.query_params["window"] = found
    return found


# --- all of them ------------------------------------------------------------------------------------------------------


def card(slo: Slo, window: budgets.Window) -> None:
    """One objective: state, budget, burn, forecast, and the way into it."""

    @panel(name_of(slo), height=190, help=slo.description.in_language(language()), key=f"slo-{slo.name}")
    def draw() -> Figure:
        told = objectives.standing(slo, today, window)
        words, colour, icon = state_of(told)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"### {percent(told.budget.sli, 2)}", width="content")
            st.badge(words, color=colour, icon=icon)  # type: ignore[arg-type]
            st.caption(_("objective {share}").format(share=share_of(slo)), width="content")
        budget_bar(told)
        lines = [left_words(told), burn_words(told), forecast(told)]
        st.markdown("  \n".join(f":small[{line}]" for line in lines))
        quiet_warnings(told)
        if st.button(_("What spent it"), icon=":material/arrow_forward:", type="tertiary", key=f"open-{slo.name}"):
            st.query_params["slo"] = slo.name
            # The whole page, not this card alone.
            st.rerun()
        return Figure(None, stamped(told.days, told), drawn=True)


def stamped(frame: pd.DataFrame, told: Standing) -> pd.DataFrame:
    """A copy of a frame with the stamp of the standing's answer."""
    copy = frame.copy(deep=False)
    copy.attrs = {"answer": told.answer}
    return copy


def show_all() -> None:
    """The objectives side by side."""
    st.title(_("SLOs"), anchor=False)
    st.caption(_("How much of each error budget is left, how fast it burns, and what spent it."))
    window = window_choice(next(iter(every.values())).window)
    with st.grid(2, min_column_width=340):
        for slo in every.values():
            card(slo, window)
    st.caption(
        _(
            "Burn 1x spends a budget exactly over 30 days; the windows are those of the alerts: {limits}. "
            "Quiet hours are weighed against the usual traffic, and a few failures raise no alert."
        ).format(limits=", ".join(f"{burn.long} {burn.factor:g}x" for burn in BURNS))
    )


# --- one of them ------------------------------------------------------------------------------------------------------


def show(slo: Slo) -> None:
    """One objective with everything that explains its budget."""
    if st.button(_("All SLOs"), icon=":material/arrow_back:", type="tertiary"):
        st.query_params.pop("slo", None)
        st.rerun()
    st.title(name_of(slo), anchor=False)
    st.caption(slo.description.in_language(language()))
    with st.container(horizontal=True, vertical_alignment="center"):
        window = window_choice(slo.window)
        st.badge(_("objective {share}").format(share=share_of(slo)), color="blue", icon=":material/target:")
        st.badge(_("for {who}").format(who=OWNERS[slo.owner]), color="gray")
    exact = slo.sli.sql is not None

    where, burning = st.columns([1, 2])
    with where:

        @panel(
            _("Where it stands"), height=220, key="slo-standing", help=_("A budget is counted in events, not in time.")
        )
        def stands() -> Figure:
            told = objectives.standing(slo, today, window)
            words, colour, icon = state_of(told)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"## {percent(told.budget.sli, 2)}", width="content")
                st.badge(words, color=colour, icon=icon)  # type: ignore[arg-type]
            budget_bar(told)
            bad, total = (events_words(value, exact) for value in (told.budget.bad, told.budget.total))
            said = [_("{bad} bad of {total} events").format(bad=bad, total=total)]
            left = told.budget.events_left
            if not math.isnan(told.budget.left):
                more = _("{n} more may be bad") if left >= 0 else _("{n} too many were bad")
                said.append(more.format(n=events_words(abs(left), exact)))
            if told.amount is not None and told.amount_bad is not None and told.amount_budget is not None:
                said.append(
                    _("In MXN: {bad} bad, {budget} allowed of {all}").format(
                        bad=short_money(told.amount_bad),
                        budget=short_money(told.amount_budget),
                        all=short_money(told.amount),
                    )
                )
            tried = objectives.in_the_end(told)
            if tried is not None and tried[0]:
                share = percent(tried[1] / tried[0])
                said.append(
                    _("Paid in the end: {share} of {n} installments tried").format(share=share, n=number(tried[0]))
                )
            said.append(forecast(told))
            st.markdown("  \n".join(said))
            quiet_warnings(told)
            return Figure(None, stamped(told.days, told), drawn=True)

    with burning:

        @panel(
            _("Burn rate by window"),
            height=290,
            key="slo-burn",
            help=_(
                "Burn: the share of bad events over the share allowed. Weighted: bad events against the usual traffic, "
                "when the window had less. At least: lower bound of a one-sided 95 % interval. An alert needs "
                "all three over its limit, {least} bad events or more, and a short window that does not say that it is "
                "over."
            ).format(least=slo.least_bad),
        )
        def burn() -> Figure:
            told = objectives.standing(slo, today, window)
            frame = stamped(told.burns, told)
            if not told.exact:
                frame[["good", "bad"]] = frame[["good", "bad"]].round()
            columns = {
                "window": ("text", _("Window")),
                "good": ("count", _("Good")),
                "bad": ("count", _("Bad")),
                "burn": st.column_config.NumberColumn(_("Burn"), format="%.2fx"),
                "weighted": st.column_config.NumberColumn(_("Weighted"), format="%.2fx"),
                "low": st.column_config.NumberColumn(_("At least"), format="%.2fx"),
                "factor": st.column_config.NumberColumn(_("Alert over"), format="%.1fx"),
                "firing": ("flag", _("Fires")),
            }
            return table(frame, columns, title=_("Burn rate by window"))

    length = st.segmented_control(
        _("History"),
        LENGTHS,
        format_func=lambda days: _("{n} days").format(n=days),
        default=90 if st.query_params.get("history") == "90" else 30,
        required=True,
        key="slo-history",
        label_visibility="collapsed",
    )
    if length == LENGTHS[0]:
        st.query_params.pop("history", None)
    else:
        st.query_params["history"] = str(length)
    over, daily = st.columns(2)
    with over:

        @panel(
            _("Budget left over time"),
            height=260,
            key="slo-left",
            help=_(
                "The share of the budget left at the end of each day, of the window that ended with it. Below zero the "
                "objective was missed. Days whose window the metrics do not hold whole are left out, and of a calendar "
                "month the first three, whose events are too few."
            ),
        )
        def over_time() -> Figure:
            frame = objectives.history(slo, today, window, int(length or 30))
            if window == "month":
                # One late credit on a Sunday the 1st would be the whole chart.
                early = (frame["day"].dt.day <= FEW_DAYS) & (frame["day"] < pd.Timestamp(today))
                frame["left"] = frame["left"].mask(early)
            if len(frame) < int(length or 30):
                said = _("The metrics hold a whole window for {n} of these days.").format(n=len(frame))
                st.markdown(f":orange[:material/warning:] :small[{said}]")
            shown = queries.events(today - timedelta(days=int(length or 30) - 1), today)
            title = _("Budget left over time")
            return line(
                frame, x="day", y="left", unit="share", title=title, target=(0.0, _("spent")), events=shown, height=260
            )

    with daily:

        @panel(_("Bad events by day"), height=260, key="slo-daily", help=_("By the first segment of the objective."))
        def bad_by_day() -> Figure:
            label = next(iter(slo.segments))
            frame = objectives.days(slo, today - timedelta(days=int(length or 30) - 1), today)
            bad = frame.groupby(["day", label], as_index=False)["bad"].sum()
            # Counters of the metrics are extrapolated: a hundredth of a failure is none.
            bad["bad"] = bad["bad"].round()
            most = bad.groupby(label)["bad"].sum().nlargest(5).index
            bad[label] = short_routes(bad[label]).where(bad[label].isin(most), _("others"))
            bad = bad.groupby(["day", label], as_index=False)["bad"].sum()
            bad.attrs = dict(frame.attrs)
            title = _("Bad events by day")
            return bars_over_time(
                bad, x="day", y="bad", unit="count", title=title, color=label, today=today, height=260
            )

    parts = st.columns(len(slo.segments)) if len(slo.segments) > 1 else [st.container()]
    for place, (column, words) in zip(parts, slo.segments.items(), strict=True):
        with place:
            spent_panel(slo, window, column, words.in_language(language()))
    during_panel(slo, window)
    if slo.sli.sql is not None:
        undecided_panel(slo)
        restated_panel(slo, window)
    definition(slo)


def spent_panel(slo: Slo, window: budgets.Window, column: str, words: str) -> None:
    """What each segment spent of the budget."""

    @panel(
        _("Spent by {segment}").format(segment=words.lower()),
        height=240,
        key=f"slo-spent-{column}",
        help=_("Bad events of the segment over all that the window allows: together they are the share spent."),
    )
    def spent() -> Figure:
        told = objectives.standing(slo, today, window)
        frame = budgets.spent_by(told.days, column, told.budget)
        frame = frame[frame["bad"] >= 0.5].head(8).reset_index(drop=True)
        names = {**REASONS, "": _("(none)")}
        frame["segment"] = short_routes(pd.Series([names.get(value, value) for value in frame["segment"]], dtype="str"))
        shown = stamped(frame, told)
        title = _("Spent by {segment}").format(segment=words.lower())
        if not shown.empty and shown["segment"].str.len().max() > MOST_BELOW:
            most = float(shown["spent"].max()) or 1.0
            spent_column = st.column_config.ProgressColumn(
                _("Spent"), format="percent", min_value=0.0, max_value=most, width=150
            )
            return table(shown, {"segment": ("text", words), "spent": spent_column}, title=title)
        return bar(shown, x="segment", y="spent", unit="share", title=title, height=240)


def during_panel(slo: Slo, window: budgets.Window) -> None:
    """What was spent while incidents, alerts and deployments lasted."""

    @panel(
        _("Spent while something happened"),
        height=220,
        key="slo-during",
        help=_(
            "Bad events in the hours of each incident, alert or deployment. Two at the same time are told the same "
            "failures: this shows what came together, not what caused it."
        ),
    )
    def during() -> Figure:
        told = objectives.standing(slo, today, window)
        frame = objectives.spent_during(told).head(20)
        frame["bad"] = frame["bad"].round()
        frame["kind"] = [KINDS.get(kind, kind) for kind in frame["kind"]]
        columns = {
            "kind": ("text", _("Kind")),
            "title": ("text", _("What happened")),
            "starts_at": ("datetime", _("From")),
            "ends_at": ("datetime", _("To")),
            "bad": ("count", _("Bad")),
            "burn": st.column_config.NumberColumn(_("Burn"), format="%.1fx"),
            "spent": ("share", _("Of the budget")),
        }
        return table(frame, columns, title=_("Spent while something happened"))


def undecided_panel(slo: Slo) -> None:
    """Events that are neither good nor bad yet; those that breach within the next hours first."""

    @panel(
        _("Undecided"),
        height=200,
        key="slo-undecided",
        help=_("Neither good nor bad yet: they count when they are decided. The next to breach stands first."),
    )
    def waiting() -> Figure:
        frame = objectives.undecided(slo)
        soon = int((frame["breaches_at"] <= now + timedelta(hours=SOON_HOURS)).sum())
        told = ngettext("{n} is undecided", "{n} are undecided", len(frame)).format(n=number(len(frame)))
        if len(frame) and frame["breaches_at"].notna().any():
            breach = ngettext("{n} breaches within {hours} h", "{n} breach within {hours} h", soon).format(
                n=number(soon), hours=SOON_HOURS
            )
            if soon:
                lost = short_money(frame.loc[frame["breaches_at"] <= now + timedelta(hours=SOON_HOURS), "amount"].sum())
                breach = f":orange[**{breach}** · {lost}]"
            else:
                first = when(frame["breaches_at"].min())
                breach = _("none breaches within {hours} h, the first on {moment}").format(
                    hours=SOON_HOURS, moment=first
                )
            told += f" · {breach}"
        st.markdown(told)
        if frame.empty:
            return Figure(None, frame, drawn=True)
        shown = frame.copy(deep=False)
        shown["left"] = [
            math.nan if pd.isna(end) else max((end - now).total_seconds(), 0.0) / 3600 for end in frame["breaches_at"]
        ]
        segment, *_others = slo.segments.values()
        columns = {
            "credit_id": ("link", _("Credit")),
            "segment": ("text", segment.in_language(language())),
            "amount": ("mxn", _("Amount")),
            "since": ("datetime", _("Since")),
        }
        if frame["breaches_at"].notna().any():
            columns |= {
                "breaches_at": ("datetime", _("Breaches at")),
                "left": ("hours", _("Hours left")),
                "note": ("text", _("Last failed call")),
            }
        return table(shown, columns, title=_("Undecided"), key=f"undecided-{slo.name}")


def restated_panel(slo: Slo, window: budgets.Window) -> None:
    """How late facts have changed what was told of this budget before."""

    @panel(
        _("Restated"),
        height=90,
        key="slo-restated",
        help=_(
            "The same events, as known at an earlier moment and as known now. The ledger says when a row changed, not "
            "what: this is the most that can have been restated."
        ),
    )
    def late_facts() -> Figure:
        first = budgets.first_day(window, today)
        rows = []
        for back, words in ((timedelta(days=1), _("a day ago")), (timedelta(days=7), _("a week ago"))):
            one = objectives.restated(slo, first, back)
            if one is None:
                continue
            rows.append((one.known_at, one.then.left, one.now.left, one.events))
            if one.events == 0:
                st.markdown(
                    ":green[:material/check:] "
                    + _("Nothing decided up to {moment} ({ago}) has been told otherwise since.").format(
                        moment=when(one.known_at), ago=words
                    )
                )
            else:
                said = ngettext(
                    "{n} event decided up to {moment} ({ago}) is told otherwise now: the budget left then was told as "
                    "{then} and is {now}.",
                    "{n} events decided up to {moment} ({ago}) are told otherwise now: the budget left then was told "
                    "as {then} and is {now}.",
                    one.events,
                ).format(
                    n=number(one.events),
                    moment=when(one.known_at),
                    ago=words,
                    then=percent(one.then.left, 2),
                    now=percent(one.now.left, 2),
                )
                st.markdown(f":orange[:material/history:] {said}")
        if not rows:
            st.caption(_("The window has just begun: nothing can have been restated."))
        frame = pd.DataFrame(rows, columns=["known_at", "left_then", "left_now", "restated"])
        # The stamp of the list of a day ago: what the menu shows is how it was asked.
        return Figure(None, frame, drawn=True)


def definition(slo: Slo) -> None:
    """What counts, who acts, which rules watch."""
    with st.expander(_("Definition"), icon=":material/rule:"):
        st.markdown(slo.description.in_language(language()))
        if slo.sli.promql is not None:
            counters = slo.sli.promql
            side = ("good", counters.good) if counters.good else ("bad", counters.bad)
            st.code(f"{side[0]}: {side[1]}\ntotal: {counters.total}", language="yaml")
            st.caption(_("From counters: about so many events, and never restated."))
        else:
            st.caption(
                _("From the ledger: exact, by python -m app query {name}.").format(name=f"slos/{slo.sli.sql}/days")
            )
        allowed = percent(slo.budget, 1)
        said = _("Of {n} days' events {allowed} may be bad.").format(n=PERIOD_DAYS, allowed=allowed)
        if slo.budget < 0.01 and slo.sli.promql is not None:
            minutes = duration(PERIOD_DAYS * 86400 * slo.budget)
            said += " " + _("Were all of them bad in one piece, that is about {time} of usual traffic.").format(
                time=minutes
            )
        st.markdown(said)
        with st.container(horizontal=True):
            st.link_button(_("Runbook"), f"runbooks?alert={slo.alert}", icon=":material/construction:")
            st.link_button(_("The page behind it"), slo.explained_by, icon=":material/arrow_forward:")


wanted = (st.query_params.get("slo") or "").strip()
if wanted in every:
    show(every[wanted])
else:
    if wanted:
        st.warning(_("There is no objective {name}.").format(name=f"`{wanted[:80]}`"), icon=":material/search_off:")
    show_all()
