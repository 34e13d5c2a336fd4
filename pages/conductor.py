"""Driver: all that one driver applied for and owes, and how he paid. Reached by an id."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from components import (
    Figure,
    _,
    bars_over_time,
    clock,
    day_name,
    dpd_names,
    events_filter,
    id_search,
    line,
    money,
    number,
    panel,
    sentence_of,
)
from components.drill import id_column
from queries.stories import late_by_month

HERE = Path(__file__).parent
SHORTEST = 2
WORDS = {
    "pending": _("in process"),
    "approved": _("was approved"),
    "rejected": _("was rejected"),
    "withdrawn": _("was withdrawn"),
    "active": _("Active"),
    "paid": _("paid up"),
    "charged_off": _("Charged off"),
    "cancelled": _("Cancelled"),
}


def word(key: Any) -> str:
    """A status in the viewer's language; one that nobody foresaw under its own name."""
    if pd.isna(key) or not key:
        return ""
    said = WORDS.get(str(key), str(key))
    return said[0].upper() + said[1:]


def asked(name: str) -> pd.DataFrame:
    """The answer of a query of this page about this driver."""
    return queries.ledger(f"conductor/{name}", {"conductor_id": conductor_id, "as_of": today})


def found(prefix: str) -> pd.DataFrame:
    """Ids that begin so; in capitals where there is none as typed."""
    frame = queries.ledger("credit/find", {"prefix": prefix})
    if frame.empty and prefix != prefix.upper():
        return queries.ledger("credit/find", {"prefix": prefix.upper()})
    return frame


now = datetime.now(queries.timezone())
today = now.date()

heading, finder = st.columns([3, 2], vertical_alignment="bottom")
with finder:
    typed = id_search(_("Find an id"), placeholder=_("Id of a driver, an application or a credit"))
matches = pd.DataFrame(columns=["kind", "id", "conductor_id"])
if len(typed) >= SHORTEST:
    try:
        matches = found(typed)
    except queries.SourceError as error:
        heading.title(_("Driver"), anchor=False)
        st.error(_(sentence_of(error)), icon=":material/error:")
        st.button(_("Retry"), icon=":material/refresh:", type="tertiary")
        st.stop()
exact = matches[matches["id"].isin((typed, typed.upper()))]

if exact.empty:
    heading.title(_("Driver"), anchor=False)
    if not typed:
        st.caption(_("Type an id, or its first signs. The lists of rows and the page of a credit lead here, too."))
    elif len(typed) < SHORTEST:
        st.info(_("Type at least two signs of the id."), icon=":material/search_off:")
    elif matches.empty:
        st.info(
            _("No credit, application or driver has an id that begins with “{id}”.").format(id=typed),
            icon=":material/search_off:",
        )
    else:
        st.caption(_("No driver has the id “{id}”. These begin so:").format(id=typed))
        for row in matches.itertuples():
            label = row.id if row.kind == "conductor" else f"{row.id} · {row.conductor_id}"
            st.page_link(HERE / "conductor.py", label=label, query_params={"id": row.conductor_id})
    st.stop()

conductor_id = str(exact["conductor_id"].iloc[0])

with heading:
    st.title(f"{_('Driver')} {conductor_id}", anchor=False)
    if exact["kind"].iloc[0] != "conductor":
        st.caption(_("{id} belongs to this driver.").format(id=exact["id"].iloc[0]))

try:
    credits, applications = asked("credits"), asked("applications")
except queries.SourceError as error:
    st.error(_(sentence_of(error)), icon=":material/error:")
    st.button(_("Retry"), icon=":material/refresh:", type="tertiary")
    st.stop()


def fact(label: str, value: str, help: str | None = None) -> None:
    """One number of the driver, to the centavo: a metric's own letters are too large for it."""
    with st.container(border=True, gap=None):
        st.caption(label, help=help)
        st.markdown(f"#### {value}".replace("$", r"\$"))


with st.grid(5, min_column_width=150):
    decided = applications["status"].isin(("approved", "rejected")).sum()
    approved = (applications["status"] == "approved").sum()
    late, due = int(credits["late"].sum()), int(credits["due"].sum())
    fact(
        _("Applications"),
        number(len(applications)),
        _("{approved} of {decided} decided were approved.").format(approved=approved, decided=decided),
    )
    fact(_("Active credits"), f"{(credits['status'] == 'active').sum()} / {len(credits)}", _("Of all his credits."))
    fact(_("Outstanding"), money(credits["outstanding"].sum()))
    fact(_("Overdue"), money(credits["overdue"].sum()))
    fact(
        _("Installments late"),
        f"{number(late)} / {number(due)}",
        _("Installments that were or are late, of those that were due. The latest was {n} days late.").format(
            n=int(credits["worst"].max()) if len(credits) else 0
        ),
    )


@panel(_("Credits"), height=150, help=_("Newest first; the id leads to the story of the credit."), key="driver-credits")
def driver_credits() -> Figure:
    frame = asked("credits")
    if frame.empty:
        st.caption(_("This driver has no credit."))
        return Figure(None, frame, drawn=True)
    for row in frame.head(20).itertuples():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(HERE / "credit.py", label=row.credit_id, query_params={"id": row.credit_id})
            parts = [day_name(row.approved_at.date(), style="d MMM y"), word(row.status), row.sinosure_tier]
            parts += [money(row.principal), _("outstanding {amount}").format(amount=money(row.outstanding))]
            if row.days_past_due:
                parts.append(f":red[{_('{n} days past due').format(n=row.days_past_due)}]")
            st.caption(" · ".join(part for part in parts if part).replace("$", r"\$"), width="content")
    return Figure(None, frame, drawn=True)


explained = events_filter()
scoring, history = st.columns(2)

with scoring:

    @panel(
        _("HASE scores over time"),
        height=260,
        help=_("Every score of every application; the rules are new models and changes of the cut-off."),
        key="driver-scores",
    )
    def driver_scores() -> Figure:
        frame = asked("scores")
        if len(frame) == 1:
            # A point alone is no course over time.
            only = frame.iloc[0]
            st.markdown(f"#### {number(only['score'])}")
            at = only["calculated_at"]
            st.caption(f"{day_name(at.date(), style='d MMM y')}, {clock(at)} · {only['model_version']}")
            return Figure(None, frame, drawn=True)
        events = None
        if explained and len(frame):
            happened = queries.events(frame["calculated_at"].min().date(), today)
            events = happened[happened["kind"].isin(("model", "cutoff"))]
        return line(
            frame,
            x="calculated_at",
            y="score",
            unit="score",
            title=_("HASE score"),
            events=events,
            height=260,
        )


with history:

    @panel(
        _("Late history"),
        height=260,
        help=_("Installments by the month in which they were due, and by the most days that they were late."),
        key="driver-late",
    )
    def driver_late() -> Figure:
        by_month = late_by_month(asked("late"))
        happened = queries.events(by_month["month"].min().date(), today) if explained and len(by_month) else None
        return bars_over_time(
            by_month,
            x="month",
            y="installments",
            unit="count",
            title=_("Installments"),
            color="bucket",
            names=dpd_names(),
            events=happened,
            height=260,
        )


@panel(
    _("Applications"),
    height=320,
    help=_("Newest first."),
    key="driver-applications",
)
def driver_applications() -> Figure:
    frame = asked("applications")
    texts = {name: frame[name].fillna("") for name in ("rejection_reason", "credit_id", "sinosure_tier")}
    shown = frame.assign(status=frame["status"].map(word), **texts)
    shown.attrs = dict(frame.attrs)
    return Figure(
        None,
        shown,
        _("Applications"),
        columns={
            "application_id": st.column_config.TextColumn(_("Application"), width=100),
            "submitted_at": st.column_config.DatetimeColumn(_("Applied on"), format="YYYY-MM-DD HH:mm", width=130),
            "amount_requested": st.column_config.NumberColumn(_("Requested"), format="dollar", width=105),
            "hase_score": st.column_config.NumberColumn(_("HASE score"), width=90),
            "sinosure_tier": st.column_config.TextColumn(_("Tier"), width=60),
            "status": st.column_config.TextColumn(_("Status"), width=110),
            "decided_at": st.column_config.DatetimeColumn(_("Decided"), format="YYYY-MM-DD HH:mm", width=130),
            "rejection_reason": st.column_config.TextColumn(_("Reason"), width=150),
            "credit_id": id_column("credit_id", frame["credit_id"].tolist(), "driver:credit", _("Credit"))
            or st.column_config.TextColumn(_("Credit"), width=100),
        },
    )
