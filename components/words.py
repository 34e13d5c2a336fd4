"""What the ledger calls a thing, as a person reads it: statuses, methods, reasons, codes, in the viewer's language.

One map for tables and charts. A value that nobody foresaw is shown under its own name.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.i18n import pgettext


def value_names() -> dict[Any, str]:
    """The names of the values that are known. Each is a thing's own state, so it is said of one thing."""
    return {
        # what became of an application, a credit, a disbursement, a payment, a call
        "pending": pgettext("value", "Pending"),
        "approved": pgettext("value", "Approved"),
        "rejected": pgettext("value", "Rejected"),
        "withdrawn": pgettext("value", "Withdrawn"),
        "active": pgettext("value", "Active"),
        "paid": pgettext("value", "Paid off"),
        "charged_off": pgettext("value", "Charged off"),
        "cancelled": pgettext("value", "Cancelled"),
        "sent": pgettext("value", "Sent"),
        "settled": pgettext("value", "Settled"),
        "succeeded": pgettext("value", "Succeeded"),
        "failed": pgettext("value", "Failed"),
        "refunded": pgettext("value", "Refunded"),
        "success": pgettext("value", "Answered"),
        "error": pgettext("value", "Error"),
        "timeout": pgettext("value", "Timed out"),
        "good": pgettext("value", "Good"),
        "bad": pgettext("value", "Bad"),
        "young": pgettext("value", "Young"),
        "in_time": pgettext("value", "In time"),
        "over": pgettext("value", "Over 48 h"),
        "undecided": pgettext("value", "Undecided"),
        # how it is paid
        "card": pgettext("value", "Card"),
        "oxxo": "OXXO",
        "spei": "SPEI",
        # who is asked
        "geotab": "Geotab",
        "conekta": "Conekta",
        "metamap": "Metamap",
        "neon": "NEON",
        # why an application is rejected
        "low_hase_score": pgettext("value", "Low HASE score"),
        "high_debt_ratio": pgettext("value", "High debt ratio"),
        "incomplete_documents": pgettext("value", "Incomplete documents"),
        "kyc_failed": pgettext("value", "Identity not verified"),
        "vehicle_not_eligible": pgettext("value", "Vehicle not eligible"),
        # why a payment or a call fails
        "insufficient_funds": pgettext("value", "Insufficient funds"),
        "gateway_error": pgettext("value", "Gateway error"),
        "card_declined": pgettext("value", "Card declined"),
        "reference_expired": pgettext("value", "Reference expired"),
        "card_expired": pgettext("value", "Card expired"),
        "suspected_fraud": pgettext("value", "Suspected fraud"),
        "amount_mismatch": pgettext("value", "Amount mismatch"),
        "account_not_found": pgettext("value", "Account not found"),
        "bank_unavailable": pgettext("value", "Bank unavailable"),
        "rate_limited": pgettext("value", "Rate limited"),
        "bad_gateway": pgettext("value", "Bad gateway"),
        "internal_error": pgettext("value", "Internal error"),
        "processing_error": pgettext("value", "Processing error"),
        "service_unavailable": pgettext("value", "Service unavailable"),
        "verification_unavailable": pgettext("value", "Verification unavailable"),
        "ledger_locked": pgettext("value", "Account locked"),
    }


def value_name(value: Any) -> Any:
    """The name of one value; itself when it is unknown."""
    return value_names().get(value, value) if isinstance(value, str) else value


def short_routes(texts: pd.Series[Any]) -> pd.Series[Any]:
    """Routes whose parameters are all called id: their own names make routes too long for a phone.

    Routes that would have the same name keep their own.
    """
    short = texts.str.replace(r"\{\w+\}", "{id}", regex=True)
    return short.where(texts.groupby(short, dropna=False).transform("nunique") <= 1, texts)
