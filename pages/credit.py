"""Credit: the whole story of one credit, from the application to the last payment. Reached by an id."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import queries
from components import (
    Figure,
    _,
    choice_filter,
    day_name,
    duration,
    id_search,
    money,
    ngettext,
    number,
    panel,
    quantity,
    sentence_of,
    timeline,
    value_name,
)
from components.filters import events_switch, tell_refused
from components.url import Url, some_of
from queries.stories import KINDS, story

HERE = Path(__file__).parent
SHORTEST = 2
COLOURS = {"active": "blue", "paid": "green", "charged_off": "red", "cancelled": "gray", "pending": "orange"}
LANES = {
    "application": _("Application"),
    "score": _("HASE score"),
    "decision": _("Decision"),
    "disbursement": _("Disbursement"),
    "installment": _("Installments"),
    "payment": _("Payments"),
    "call": _("Calls"),
}
WORDS = {
    "submitted": _("applied for"),
    "scored": _("score given"),
    "approved": _("was approved"),
    "rejected": _("was rejected"),
    "withdrawn": _("was withdrawn"),
    "pending": _("in process"),
    "waited": _("Waited for the money"),
    "waits": _("Waits for the money"),
    "cancelled": _("Cancelled"),
    "disbursed": _("money sent"),
    "paid": _("Paid in time"),
    "paid_up": _("paid up"),
    "paid_late": _("Paid late"),
    "late": _("Late"),
    "due": _("Due today"),
    "coming": _("To come"),
    "succeeded": _("Succeeded"),
    "failed": _("Failed"),
    "refunded": _("Refunded"),
    "success": _("Answered"),
    "error": _("Error"),
    "timeout": _("Timed out"),
    "active": _("Active"),
    "charged_off": _("Charged off"),
    "settled": _("Settled"),
    "sent": _("Sent"),
}
STEPS = ("application", "score", "decision", "disbursement")


def word(key: Any) -> str:
    """A status in the viewer's language; one that nobody foresaw under its own name."""
    if pd.isna(key) or not key:
        return ""
    said = WORDS.get(str(key), str(key))
    return said[0].upper() + said[1:]


def status_of(credit: Any) -> str:
    """A credit's status: one that is paid is paid up, while an installment that is paid was paid in time."""
    return word({"paid": "paid_up"}.get(credit, credit))


def detail_of(told: Any) -> str:
    """The names and numbers of a moment, its codes in the viewer's language."""
    return "" if pd.isna(told) else " · ".join(str(value_name(part)) for part in str(told).split(" · "))


def asked(name: str, **params: Any) -> pd.DataFrame:
    """The answer of a query of this page about this credit."""
    return queries.ledger(f"credit/{name}", {"credit_id": credit_id, "as_of": today, **params})


def leads(found: pd.DataFrame) -> None:
    """What begins with the typed signs, each with a link to its page."""
    for kind, label in (("credit", _("Credits")), ("application", _("Applications")), ("conductor", _("Drivers"))):
        rows = found[found["kind"] == kind]
        if rows.empty:
            continue
        st.markdown(f"**{label}**")
        for row in rows.itertuples():
            with st.container(horizontal=True, vertical_alignment="center"):
                if kind == "conductor" or pd.isna(row.credit_id):
                    st.page_link(HERE / "conductor.py", label=row.id, query_params={"id": row.conductor_id})
                else:
                    st.page_link(HERE / "credit.py", label=row.id, query_params={"id": row.credit_id})
                if kind != "conductor":
                    st.caption(
                        f"{day_name(row.at.date(), style='d MMM y')} · {status_of(row.status)}",
                        width="content",
                    )


def whole_story() -> pd.DataFrame:
    """Every moment of the credit, with the stamp of the plan's answer."""
    plan = asked("installments")
    made = story(
        head,
        scores=queries.ledger("credit/scores", {"application_id": head["application_id"]}),
        installments=plan,
        payments=asked("payments"),
        calls=asked("calls", application_id=head["application_id"]),
        now=now,
    )
    made.attrs["answer"] = queries.answer_of(plan)
    return made


now = datetime.now(queries.timezone())
today = now.date()

heading, finder = st.columns([3, 2], vertical_alignment="bottom")
with finder:
    typed = id_search(_("Find an id"), placeholder=_("Id of a credit, an application or a driver"))
credit_id = typed
found_head = pd.DataFrame()
if typed:
    try:
        found_head = asked("head")
        if found_head.empty and typed != typed.upper():
            # Ids are mostly written in capitals and typed without.
            credit_id = typed.upper()
            found_head = asked("head")
    except queries.SourceError as error:
        heading.title(_("Credit"), anchor=False)
        st.error(_(sentence_of(error)), icon=":material/error:")
        st.button(_("Retry"), icon=":material/refresh:", type="tertiary")
        st.stop()

if found_head.empty:
    heading.title(_("Credit"), anchor=False)
    if not typed:
        st.caption(_("Type an id, or its first signs. Every list of rows leads here, too: its credits are links."))
        st.stop()
    matches = pd.DataFrame()
    if len(typed) >= SHORTEST:
        try:
            matches = queries.ledger("credit/find", {"prefix": typed})
            if matches.empty and typed != typed.upper():
                matches = queries.ledger("credit/find", {"prefix": typed.upper()})
        except queries.SourceError as error:
            st.error(_(sentence_of(error)), icon=":material/error:")
            st.stop()
    if matches.empty:
        st.info(
            _("No credit, application or driver has an id that begins with “{id}”.").format(id=typed)
            if len(typed) >= SHORTEST
            else _("Type at least two signs of the id."),
            icon=":material/search_off:",
        )
    else:
        st.caption(_("No credit has the id “{id}”. These begin so:").format(id=typed))
        leads(matches)
    st.stop()

head = found_head.iloc[0]

heading.title(f"{_('Credit')} {credit_id}", anchor=False)
with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    st.badge(status_of(head["status"]), color=COLOURS.get(head["status"], "gray"))  # type: ignore[arg-type]
    st.badge(f"{_('Tier')} {head['sinosure_tier'] or _('(none)')}", color="gray")
    if head["days_past_due"]:
        st.badge(
            ngettext("{n} day late", "{n} days late", int(head["days_past_due"])).format(n=head["days_past_due"]),
            color="red",
        )
    st.page_link(
        HERE / "conductor.py",
        label=f"{_('Driver')} {head['conductor_id']}",
        icon=":material/badge:",
        query_params={"id": head["conductor_id"]},
    )
    st.page_link(
        HERE / "conductor.py",
        label=f"{_('Application')} {head['application_id']}",
        icon=":material/description:",
        query_params={"id": head["application_id"]},
    )


def fact(label: str, value: str, help: str | None = None) -> None:
    """One number of the credit, to the centavo: a metric's own letters are too large for it."""
    with st.container(border=True, gap=None):
        st.caption(label, help=help)
        st.markdown(f"#### {value}".replace("$", r"\$"))


with st.grid(5, min_column_width=150):
    fact(
        _("Principal"),
        money(head["principal"]),
        _("Amount lent; {amount} were applied for.").format(amount=money(head["amount_requested"])),
    )
    fact(
        _("Outstanding"),
        money(head["outstanding"]),
        _("Scheduled amount of the installments that are not fully paid, as the portfolio counts it."),
    )
    fact(_("Overdue"), money(head["overdue"]), _("Of the outstanding amount, what was due before today."))
    fact(
        _("Installments paid"),
        f"{number(head['paid'])} / {number(head['installments'])}",
        _("{amount} paid in up to now.").format(amount=money(head["paid_in"])),
    )
    coming = not pd.isna(head["next_due"])
    fact(
        _("Next due"),
        day_name(head["next_due"].date(), style="d MMM y") if coming else "–",
        money(head["next_amount"]) if coming else None,
    )

url = Url()
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    span = choice_filter(
        _("Part of the story"),
        ("all", "start", "recent"),
        {"all": _("Whole story"), "start": _("Until the money"), "recent": _("Last 90 days")},
        key="part",
        url=url,
    )
    explained = events_switch(url)
url.write()
tell_refused(url)


def in_span(frame: pd.DataFrame) -> pd.DataFrame:
    """The part of the story that is looked at."""
    match span:
        case "start":
            sent = head["disbursed_at"]
            end = (sent if not pd.isna(sent) else pd.Timestamp(now)) + timedelta(hours=1)
            # What fell due meanwhile is not part of how the money came.
            part = frame[frame["kind"].isin((*STEPS, "call")) & (frame["at"] <= end)]
        case "recent":
            begin, end = now - timedelta(days=90), now + timedelta(days=31)
            part = frame[(frame["until"].fillna(frame["at"]) >= begin) & (frame["at"] <= end)]
        case _:
            return frame
    part.attrs = dict(frame.attrs)
    return part


@panel(
    _("Timeline"),
    height=276,
    help=_(
        "Everything that the ledger knows of this credit. An installment stands on its due day; where it was late, a "
        "bar reaches to the day on which it was paid, or to now. Calls to NEON are attempts to send the money."
    ),
    key="credit-timeline",
)
def credit_timeline() -> Figure:
    shown = in_span(whole_story())
    told = shown.assign(
        what=shown["what"].map(word),
        amount=[money(value) if not pd.isna(value) else "" for value in shown["amount"]],
        detail=shown["detail"].map(detail_of),
    )
    happened = queries.events(told["at"].min().date(), today) if explained and len(told) else None
    return timeline(told, lanes=LANES, title=_("Timeline"), now=now, events=happened)


plan_column, payment_column = st.columns(2)

with plan_column:

    @panel(
        _("Installments"),
        height=320,
        help=_("The plan as it stands today. Days late count until the installment was paid, or until today."),
        key="credit-installments",
    )
    def credit_installments() -> Figure:
        marks = {"paid": "✓", "paid_late": "✓", "late": "✗", "due": "●", "coming": "○"}
        frame = asked("installments")
        shown = frame.drop(columns="installment_id").assign(
            state=[f"{marks.get(state, '')} {word(state)}".strip() for state in frame["state"]],
            paid_at=frame["paid_at"].dt.strftime("%Y-%m-%d %H:%M").fillna(""),
        )
        shown.attrs = dict(frame.attrs)
        return Figure(
            None,
            shown[["sequence", "due_date", "state", "days_late", "amount_due", "amount_paid", "paid_at"]],
            _("Installments"),
            columns={
                "sequence": st.column_config.NumberColumn(_("No."), width=45),
                "due_date": st.column_config.DateColumn(_("Due"), format="YYYY-MM-DD", width=90),
                "state": st.column_config.TextColumn(_("Stands"), width=140),
                "days_late": st.column_config.NumberColumn(_("Days late"), width=85),
                "amount_due": st.column_config.NumberColumn(_("Scheduled"), format="dollar", width=90),
                "amount_paid": st.column_config.NumberColumn(_("Paid"), format="dollar", width=90),
                "paid_at": st.column_config.TextColumn(_("Paid on"), width=125),
            },
        )


with payment_column:

    @panel(
        _("Payments"),
        height=320,
        help=_("Every attempt to pay, newest first, with the reason where it failed."),
        key="credit-payments",
    )
    def credit_payments() -> Figure:
        frame = asked("payments")
        shown = frame.assign(status=frame["status"].map(word), failure_code=frame["failure_code"].fillna(""))
        shown.attrs = dict(frame.attrs)
        return Figure(
            None,
            shown[["processed_at", "amount", "status", "method", "failure_code", "sequence"]],
            _("Payments"),
            columns={
                "processed_at": st.column_config.DatetimeColumn(_("When"), format="YYYY-MM-DD HH:mm", width=135),
                "amount": st.column_config.NumberColumn(_("Amount"), format="dollar", width=85),
                "status": st.column_config.TextColumn(_("Status"), width=85),
                "method": st.column_config.TextColumn(_("Method"), width=60),
                "failure_code": st.column_config.TextColumn(_("Failure"), width=135),
                "sequence": st.column_config.NumberColumn(_("For no."), width=60),
            },
        )


url = Url()
url.restore("kinds", [], some_of(KINDS))
kinds = st.pills(
    _("Kinds"),
    KINDS,
    format_func=LANES.__getitem__,
    selection_mode="multi",
    key="kinds",
    label_visibility="collapsed",
)
url.keep("kinds", kinds, list(kinds), default=not kinds)
url.write()
tell_refused(url)


@panel(
    _("All that happened"),
    height=420,
    help=_(
        "The moments of the timeline up to now, newest first, with the id by which a call is found in logs and traces. "
        "What is still to come stands in the plan."
    ),
    key="credit-story",
)
def credit_story() -> Figure:
    frame = in_span(whole_story())
    past = frame[(frame["at"] <= now) & (frame["kind"].isin(kinds) if kinds else True)].iloc[::-1]
    lasted = [
        "" if pd.isna(until) else duration((until - at).total_seconds())
        for at, until in zip(past["at"], past["until"], strict=True)
    ]
    # An installment has a day and no hour: it stands at noon of the picture alone.
    due = past["kind"] == "installment"
    shown = past.assign(
        at=past["at"].dt.strftime("%Y-%m-%d %H:%M:%S").mask(due, past["at"].dt.strftime("%Y-%m-%d")),
        kind=past["kind"].map(LANES),
        what=past["what"].map(word),
        amount=["" if pd.isna(amount) else money(amount) for amount in past["amount"]],
        lasted=lasted,
        detail=past["detail"].map(detail_of),
    )
    shown = shown[["at", "kind", "what", "amount", "lasted", "detail", "request_id"]].reset_index(drop=True)
    shown.attrs = dict(frame.attrs)
    return Figure(
        None,
        shown,
        _("All that happened"),
        columns={
            "at": st.column_config.TextColumn(_("When"), width=150),
            "kind": st.column_config.TextColumn(_("Kind"), width=145),
            "what": st.column_config.TextColumn(_("What"), width=140),
            "amount": st.column_config.TextColumn(_("Amount"), width=100, alignment="right"),
            "lasted": st.column_config.TextColumn(_("Lasted"), width=70),
            "detail": st.column_config.TextColumn(_("Detail"), width=270),
            "request_id": st.column_config.TextColumn(_("Request id"), width=260),
        },
    )


@panel(_("Other credits of the driver"), height=150, key="credit-others")
def credit_others() -> Figure:
    frame = queries.ledger("conductor/credits", {"conductor_id": head["conductor_id"], "as_of": today})
    others = frame[frame["credit_id"] != credit_id]
    if others.empty:
        st.caption(_("This is the driver's only credit."))
    for row in others.head(20).itertuples():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(HERE / "credit.py", label=row.credit_id, query_params={"id": row.credit_id})
            late = (
                ngettext("{n} day late", "{n} days late", row.days_past_due).format(n=row.days_past_due)
                if row.days_past_due
                else ""
            )
            parts = (
                day_name(row.approved_at.date(), style="d MMM y"),
                status_of(row.status),
                quantity(row.principal, "mxn"),
                late,
            )
            st.caption(" · ".join(part for part in parts if part), width="content")
    return Figure(None, others, drawn=True)
