"""The story of one credit: what the ledger knows of it, from six tables, as one list of moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

KINDS = ("application", "score", "decision", "disbursement", "installment", "payment", "call")
# What carries the money out is a part of the disbursement's own story.
DISBURSING = ("neon",)
COLUMNS = ["kind", "at", "until", "state", "what", "amount", "detail", "request_id"]


def story(
    head: pd.Series[Any],
    *,
    scores: pd.DataFrame,
    installments: pd.DataFrame,
    payments: pd.DataFrame,
    calls: pd.DataFrame,
    now: datetime,
) -> pd.DataFrame:
    """All moments of one credit in the order of time, from the answers of `ledger/credit/*`.

    Columns: `kind` (one of KINDS), `at` and `until` (zone of `now`; `until` null for a moment; an installment that is or
    was late lasts from its due day until it was paid, or until now), `state` (good, late, failed, waiting or neutral: what
    colours it), `what` (a key: submitted, scored, approved, waited, disbursed, attempt, paid, paid_late, late, due, coming,
    a payment's or a call's own status ...), `amount` (MXN or null), `detail` (names and numbers, in no language) and
    `request_id`. Times of installments are noon of their day: they have a day and no hour.
    """  # noqa: E501
    zone = now.tzinfo
    assert isinstance(zone, ZoneInfo)
    rows: list[dict[str, Any]] = []

    def tell(kind: str, at: Any, state: str, what: str, **more: Any) -> None:
        if not _missing(at):
            rows.append({"kind": kind, "at": at, "state": state, "what": what, **more})

    tell("application", head["submitted_at"], "neutral", "submitted", amount=head["amount_requested"])
    for one in scores.itertuples():
        tell("score", one.calculated_at, "neutral", "scored", detail=f"{one.score} · {one.model_version}")
    verdict = str(head["application_status"]) if not _missing(head["application_status"]) else ""
    tell(
        "decision",
        head["decided_at"],
        {"approved": "good", "rejected": "failed"}.get(verdict, "neutral"),
        verdict,
        detail="" if _missing(head["rejection_reason"]) else str(head["rejection_reason"]),
    )
    _disbursement(tell, head, now)
    for one in installments.itertuples():
        due = datetime.combine(one.due_date.date(), time(12), zone)
        state = {"paid": "good", "paid_late": "late", "late": "failed"}.get(one.state, "waiting")
        until = {"paid_late": one.paid_at, "late": now}.get(one.state)
        detail = f"{one.sequence}/{len(installments)}"
        tell("installment", due, state, one.state, until=until, amount=one.amount_due, detail=detail)
    for one in payments.itertuples():
        state = {"succeeded": "good", "failed": "failed"}.get(one.status, "waiting")
        tell(
            "payment",
            one.processed_at,
            state,
            one.status,
            amount=one.amount,
            detail=_joined(one.method, one.failure_code),
        )
    for one in calls.itertuples():
        kind = "disbursement" if one.integration in DISBURSING else "call"
        state = {"success": "good", "error": "failed", "timeout": "failed"}.get(one.status, "waiting")
        detail = _joined(
            f"{one.integration} {one.endpoint}", one.http_status, one.error_code, f"{one.duration_ms:,} ms"
        )
        tell(kind, one.called_at, state, one.status, detail=detail, request_id=one.request_id)
    return _framed(rows, zone)


def _disbursement(tell: Any, head: pd.Series[Any], now: datetime) -> None:
    """The wait from the approval to the money, and its end."""
    sent, closed = head["disbursed_at"], head["closed_at"]
    if not _missing(sent):
        tell("disbursement", head["approved_at"], "neutral", "waited", until=sent)
        tell(
            "disbursement", sent, "good", "disbursed", amount=head["principal"], detail=str(head["disbursement_status"])
        )
        return
    over = head["status"] in {"cancelled", "charged_off"}
    end = closed if over and not _missing(closed) else head["approved_at"] if over else now
    state = "failed" if head["disbursement_status"] == "failed" else "waiting"
    tell("disbursement", head["approved_at"], state, "cancelled" if over else "waits", until=end)


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _joined(*parts: Any) -> str:
    return " · ".join(str(part) for part in parts if not _missing(part) and str(part))


def _framed(rows: Iterable[dict[str, Any]], zone: ZoneInfo) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    for name in ("at", "until"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("us").dt.tz_convert(zone)
    for name in ("detail", "request_id"):
        frame[name] = frame[name].where(frame[name].notna(), "").astype("str")
    order = frame["kind"].map({kind: place for place, kind in enumerate(KINDS)})
    return (
        frame.assign(_order=order)
        .sort_values(["at", "_order"], kind="stable", ignore_index=True)
        .drop(columns="_order")
    )


def late_by_month(late: pd.DataFrame) -> pd.DataFrame:
    """Installments by month of their due day and by how late they were, from `conductor/late`.

    Columns: `month` (datetime64, its first day), `bucket` (0 in time, 1-6 as the portfolio's: 1-7, 8-15, 16-30, 31-60, 61-90,
    90+ days), `installments` (count). The stamp stays.
    """  # noqa: E501
    days = late["days_late"].astype("int64")
    bucket = pd.cut(days, [-1, 0, 7, 15, 30, 60, 90, float("inf")], labels=range(7)).astype("int64")
    month = late["due_date"].dt.to_period("M").dt.start_time.astype("datetime64[us]")
    frame = (
        pd.DataFrame({"month": month, "bucket": bucket})
        .groupby(["month", "bucket"], as_index=False)
        .size()
        .rename(columns={"size": "installments"})
    )
    frame.attrs = dict(late.attrs)
    return frame
