"""The simulated company in numbers: what history and live traffic have in common, so that one continues the other.

All clock times are local (America/Mexico_City); probabilities are shares, durations seconds, amounts MXN. Every
function is deterministic: the same day has the same incidents in the history and in the running backend.
"""

from __future__ import annotations

import calendar
import hashlib
import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import holidays

TIMEZONE = ZoneInfo("America/Mexico_City")

# --- how much happens -------------------------------------------------------------------------------------------------

APPLICATIONS_A_DAY = 70.0
GEOTAB_POLLS_A_DAY = 1900.0
API_REQUESTS_A_SECOND = 1.6

# Share of a day's events in each local hour: drivers apply between trips, payments follow shop hours.
HOURS = (
    0.4, 0.2, 0.1, 0.1, 0.2, 0.6, 1.6, 3.0, 4.8, 6.4, 7.4, 7.6, 7.0, 6.2, 6.0, 6.4, 6.8, 7.2, 7.2, 6.4, 5.2,
    4.2, 3.0, 1.6,
)  # fmt: skip
# Monday to Sunday.
WEEKDAYS = (1.16, 1.10, 1.06, 1.02, 1.04, 0.88, 0.58)
MONTHS = (1.08, 0.98, 1.0, 0.97, 1.02, 1.0, 0.98, 1.03, 0.99, 1.02, 1.05, 0.90)


@cache
def _holidays(year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("MX", years=year))


def is_holiday(day: date) -> bool:
    """Whether the day is a public holiday in Mexico."""
    return day in _holidays(day.year)


@cache
def paydays(year: int, month: int) -> tuple[date, date]:
    """The two paydays (quincena) of a month: its 15th and its last day, or the working day before."""
    found = []
    for number in (15, calendar.monthrange(year, month)[1]):
        day = date(year, month, number)
        while day.weekday() >= 5 or is_holiday(day):
            day -= timedelta(days=1)
        found.append(day)
    return found[0], found[1]


def days_since_payday(day: date) -> int:
    """Days since the last payday; 0 on the day itself."""
    before = day.replace(day=1) - timedelta(days=1)
    past = (*paydays(before.year, before.month), *paydays(day.year, day.month))
    return (day - max(one for one in past if one <= day)).days


def days_to_payday(day: date) -> int:
    """Days until the next payday; 0 on the day itself."""
    after = day.replace(day=28) + timedelta(days=4)
    coming = (*paydays(day.year, day.month), *paydays(after.year, after.month))
    return (min(one for one in coming if one >= day) - day).days


def is_near_payday(day: date) -> bool:
    """Whether drivers have just been paid: a payday and the two days after it."""
    return days_since_payday(day) <= 2


def day_factor(day: date) -> float:
    """How busy a day is against the average day: week, year, payday and the holidays on which nobody works."""
    if is_holiday(day):
        return 0.25
    return WEEKDAYS[day.weekday()] * MONTHS[day.month - 1] * (1.18 if is_near_payday(day) else 0.96)


def growth(day: date, today: date) -> float:
    """The company grows: a day's volume against today's, about 25 % a year."""
    return math.exp(-0.22 * (today - day).days / 365.0)


def hour_share(hour: int) -> float:
    """Share of a day's events that fall into this local hour."""
    return HOURS[hour] / sum(HOURS)


def applications_a_second(now: datetime) -> float:
    """Expected applications a second at this moment."""
    local = now.astimezone(TIMEZONE)
    return APPLICATIONS_A_DAY * day_factor(local.date()) * hour_share(local.hour) / 3600


# --- whom the company lends to ----------------------------------------------------------------------------------------

TIERS = ("AAA", "AA", "A", "B", "C")
# The lowest score of each tier; below the last there is no credit.
TIER_FLOORS = {"AAA": 86, "AA": 78, "A": 70, "B": 62, "C": 0}
TIER_RATE = {"AAA": 0.18, "AA": 0.21, "A": 0.25, "B": 0.30, "C": 0.36}
APPROVAL_BY_TIER = {"AAA": 0.90, "AA": 0.78, "A": 0.66, "B": 0.42, "C": 0.15}
REASONS = ("low_hase_score", "high_debt_ratio", "kyc_failed", "incomplete_documents", "vehicle_not_eligible")
REASON_SHARES = (0.38, 0.24, 0.12, 0.17, 0.09)
SCORE_MEAN, SCORE_SPREAD = 72.0, 10.0
INSTALLMENTS = 48
AMOUNTS = (80_000, 120_000, 150_000, 180_000, 200_000, 250_000, 300_000)
AMOUNT_SHARES = (0.08, 0.16, 0.20, 0.20, 0.18, 0.12, 0.06)
WITHDRAWN_SHARE = 0.04
WORKING_HOURS = (9, 18)

MODEL_CHANGE = timedelta(days=143)
MODELS = ("hase-3.2", "hase-4.0")


def tier_of(score: int) -> str:
    """The Sinosure tier that a HASE score leads to."""
    return next(tier for tier, floor in TIER_FLOORS.items() if score >= floor)


# --- how it is paid ---------------------------------------------------------------------------------------------------

METHODS = ("card", "oxxo", "spei")
METHOD_SHARES = (0.34, 0.41, 0.25)
# Who has just been paid pays early: the share of the payments of the third to fifth day after a payday that come in the
# three days of the payday instead, and the share of late payments of the two days before that wait for it.
PAYDAY_EARLY_SHARE, PAYDAY_WAIT_SHARE = 0.30, 0.5
# Charged twice by mistake: the second charge is refunded within two days, and never counts as paid.
REFUNDED_SHARE = 0.003
DECLINE_SHARE = {"card": 0.085, "oxxo": 0.022, "spei": 0.012}
FAILURE_CODES = {
    "card": ("insufficient_funds", "card_declined", "card_expired", "suspected_fraud"),
    "oxxo": ("reference_expired", "amount_mismatch"),
    "spei": ("account_not_found", "bank_unavailable"),
}
GATEWAY_FAILURE = "gateway_error"


def payday_pull(day: date) -> float:
    """How many payments a day has against the same day without paydays: what the shares above add up to."""
    if is_near_payday(day):
        return 1 + PAYDAY_EARLY_SHARE * 0.9
    if days_since_payday(day) <= 5:
        return 1 - PAYDAY_EARLY_SHARE * 0.9
    return 1.0


# --- the outside services ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """One outside endpoint: median seconds, spread of their logarithm, share of errors and of time-outs when well."""

    integration: str
    endpoint: str
    median: float
    spread: float
    errors: float
    timeouts: float


ENDPOINTS = (
    Endpoint("geotab", "/trips", 0.42, 0.55, 0.008, 0.002),
    Endpoint("geotab", "/devices", 0.21, 0.50, 0.006, 0.001),
    Endpoint("conekta", "/charges", 0.68, 0.45, 0.006, 0.002),
    Endpoint("conekta", "/orders", 0.51, 0.45, 0.005, 0.002),
    Endpoint("metamap", "/verifications", 2.10, 0.60, 0.012, 0.006),
    Endpoint("neon", "/disbursements", 1.20, 0.50, 0.010, 0.004),
)
INTEGRATIONS = ("geotab", "conekta", "metamap", "neon")
TITLES = {"geotab": "Geotab", "conekta": "Conekta", "metamap": "Metamap", "neon": "NEON"}
HOSTS = {
    "geotab": "my.geotab.com",
    "conekta": "api.conekta.io",
    "metamap": "api.getmati.com",
    "neon": "api.neon.example",
}
METHOD_OF_CALL = "POST"
TIMEOUT_SECONDS = 30.0
ERROR_CODES = {
    "geotab": (("rate_limited", 429), ("internal_error", 500), ("bad_gateway", 502)),
    "conekta": (("processing_error", 500), ("service_unavailable", 503), ("bad_gateway", 502)),
    "metamap": (("verification_unavailable", 503), ("internal_error", 500)),
    "neon": (("ledger_locked", 409), ("internal_error", 500), ("service_unavailable", 503)),
}
ERROR_MESSAGES = {
    "rate_limited": "Too many requests, slow down",
    "internal_error": "The service failed",
    "bad_gateway": "The gateway got no valid answer",
    "processing_error": "The charge could not be processed",
    "service_unavailable": "The service is under maintenance",
    "verification_unavailable": "The verification engine is unavailable",
    "ledger_locked": "Another operation holds the account",
    "timeout": "No answer within 30 s",
}

# --- the company's own API --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """One route of the backend: share of the traffic, median seconds, spread of their logarithm, share of failures."""

    method: str
    endpoint: str
    share: float
    median: float
    spread: float
    failures: float


ROUTES = (
    Route("POST", "/applications", 0.06, 0.120, 0.50, 0.004),
    Route("GET", "/applications/{application_id}", 0.30, 0.018, 0.55, 0.001),
    Route("POST", "/applications/{application_id}/decision", 0.04, 0.085, 0.50, 0.003),
    Route("POST", "/credits/{credit_id}/disbursement", 0.03, 0.160, 0.60, 0.006),
    Route("POST", "/webhooks/conekta", 0.22, 0.035, 0.50, 0.002),
    Route("GET", "/conductores/{conductor_id}/trips", 0.35, 0.060, 0.65, 0.003),
)
DB_TABLES = (
    ("applications", "select", 0.30, 0.0030),
    ("applications", "insert", 0.05, 0.0045),
    ("credits", "select", 0.25, 0.0025),
    ("credits", "update", 0.05, 0.0060),
    ("installments", "select", 0.20, 0.0080),
    ("payments", "insert", 0.15, 0.0050),
)
REDIS_COMMANDS = (("GET", 0.7), ("SET", 0.2), ("INCR", 0.1))

# --- what goes wrong --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """An integration that fails (a share of its calls) or is slow (its durations times `factor`) for a while."""

    integration: str
    start: datetime
    end: datetime
    failing: float
    factor: float


def _dice(*what: object) -> float:
    """A number in [0, 1) that depends only on what is asked."""
    digest = hashlib.blake2b("|".join(map(str, what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@cache
def incidents_of(day: date) -> tuple[Incident, ...]:
    """The incidents that start on a local day: about one in nine days for each integration, an hour or so long."""
    found = []
    for integration in INTEGRATIONS:
        if _dice("incident", integration, day) >= 0.11:
            continue
        minute = int(8 * 60 + _dice("when", integration, day) * 12 * 60)
        length = int(35 + _dice("long", integration, day) * 55)
        start = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=TIMEZONE)
        slow = _dice("kind", integration, day) < 0.4
        found.append(
            Incident(
                integration,
                start,
                start + timedelta(minutes=length),
                0.04 if slow else 0.25 + 0.5 * _dice("hard", integration, day),
                6.0 if slow else 1.4,
            )
        )
    return tuple(found)


def incident_at(integration: str, moment: datetime) -> Incident | None:
    """The incident of an integration at a moment, if there is one."""
    day = moment.astimezone(TIMEZONE).date()
    for start_day in (day, day - timedelta(days=1)):
        for incident in incidents_of(start_day):
            if incident.integration == integration and incident.start <= moment < incident.end:
                return incident
    return None


def is_bad_day_of_approvals(day: date) -> bool:
    """About one day in forty the decision rules reject far too many."""
    return _dice("approvals", day) < 0.025


def risk_factor(day: date) -> float:
    """How risky the drivers of a day's applications are: one month in nine brings riskier ones."""
    return 1.6 if _dice("riskier", day.year, day.month) < 0.11 else 1.0
