"""How the company decides and behaves at this moment, drawn from the numbers of `demo.company`."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from demo import company
from demo.backend.ledger import Installment

CALLS_OF_APPLICATION = (("metamap", "/verifications"), ("geotab", "/trips"))
CALL_OF_DISBURSEMENT = ("neon", "/disbursements")
CALL_OF_PAYMENT = ("conekta", "/charges")
CALL_OF_POLL = ("geotab", "/devices")
SHARE_OF_KNOWN_APPLICANTS = 0.15
SECONDS_OF_A_DAY = 86_400

# Hazard per day that an open installment is paid, by days past due (negative: ahead): about nine in ten on time.
HAZARDS = ((-3, 0.075), (-2, 0.11), (-1, 0.3), (0, 1.45), (7, 0.24), (30, 0.06), (110, 0.015))
PAYS_SOONER = {"AAA": 1.5, "AA": 1.2, "A": 1.0, "B": 0.8, "C": 0.65}
# Hazard per second, within working hours, of what staff do with what lies on their desk.
DECISION_HAZARD = 1 / (2.2 * 3600)
DISBURSEMENT_HAZARD = 1 / (3 * 3600)
STUCK_SHARE, STUCK_HAZARD = 0.022, 1 / (40 * 3600)


@dataclass(frozen=True)
class Fate:
    """How a call to an outside service goes."""

    status: str
    seconds: float
    http_status: int | None = 200
    error_code: str | None = None
    error_message: str | None = None


def business_day(at: datetime) -> date:
    """The day in Mexico City."""
    return at.astimezone(company.TIMEZONE).date()


def busyness(at: datetime) -> float:
    """How busy this moment is against the average moment of an average day."""
    return company.day_factor(business_day(at)) * bustle(at)


def bustle(at: datetime) -> float:
    """How busy this hour is against the day's average hour."""
    return company.hour_share(at.astimezone(company.TIMEZONE).hour) * 24


def is_working_time(at: datetime) -> bool:
    """Whether staff are at their desks: Monday to Saturday, in working hours."""
    local = at.astimezone(company.TIMEZONE)
    opening, closing = company.WORKING_HOURS
    return local.weekday() != 6 and opening <= local.hour < closing


def is_stuck(credit_id: str) -> bool:
    """Whether this credit is one of the few that wait for days."""
    return random.Random(f"stuck {credit_id}").random() < STUCK_SHARE


# --- applications -----------------------------------------------------------------------------------------------------


def amount_requested(dice: random.Random) -> Decimal:
    """What a driver asks for, in MXN."""
    return Decimal(dice.choices(company.AMOUNTS, company.AMOUNT_SHARES)[0]).quantize(Decimal("0.01"))


def score(dice: random.Random) -> int:
    """A HASE score, 0 to 100."""
    return max(0, min(100, round(dice.gauss(company.SCORE_MEAN, company.SCORE_SPREAD))))


def model_version() -> str:
    """The version of the HASE model in use."""
    return company.MODELS[-1]


def is_withdrawn(points: int | None, dice: random.Random) -> bool:
    """Whether the driver gives up before the decision; without a score there is nothing to decide on."""
    return points is None or dice.random() < company.WITHDRAWN_SHARE


def rejection_reason(points: int, tier: str, at: datetime, dice: random.Random) -> str | None:
    """None to approve, else why not."""
    chance = company.APPROVAL_BY_TIER.get(tier, 0.0)
    if company.is_bad_day_of_approvals(business_day(at)):
        chance *= 0.35
    if dice.random() < chance:
        return None
    # A low score is turned down for its score more often.
    if points < 66 and dice.random() < 0.45:
        return company.REASONS[0]
    return dice.choices(company.REASONS, company.REASON_SHARES)[0]


def principal(requested: Decimal, dice: random.Random) -> Decimal:
    """What is lent of what was asked, in whole thousands."""
    return (requested * Decimal(str(dice.uniform(0.82, 1.0))) // 1000 * 1000).quantize(Decimal("0.01"))


def plan(lent: Decimal, tier: str, start: date) -> Sequence[Installment]:
    """Equal weekly installments; the last takes what rounding leaves over."""
    total = round(int(lent * 100) * (1 + company.TIER_RATE.get(tier, max(company.TIER_RATE.values()))))
    each = total // company.INSTALLMENTS
    last = total - each * (company.INSTALLMENTS - 1)
    return [
        Installment(n, start + timedelta(days=7 * n), Decimal(last if n == company.INSTALLMENTS else each) / 100)
        for n in range(1, company.INSTALLMENTS + 1)
    ]


# --- payments ---------------------------------------------------------------------------------------------------------


def method(dice: random.Random) -> str:
    """How a driver pays."""
    return dice.choices(company.METHODS, company.METHOD_SHARES)[0]


def decline(how: str, dice: random.Random) -> str | None:
    """None for a payment that goes through, else the failure code."""
    if dice.random() >= company.DECLINE_SHARE[how]:
        return None
    codes = company.FAILURE_CODES[how]
    return codes[int(dice.random() ** 1.7 * len(codes))]


# --- services ---------------------------------------------------------------------------------------------------------


def fate_of_call(integration: str, endpoint: str, incident: company.Incident | None, dice: random.Random) -> Fate:
    """How long a call takes and how it ends, by the service's habits and its incident of the hour."""
    spec = next(one for one in company.ENDPOINTS if (one.integration, one.endpoint) == (integration, endpoint))
    failing, factor = (incident.failing, incident.factor) if incident else (spec.errors, 1.0)
    seconds = dice.lognormvariate(math.log(spec.median), spec.spread) * factor
    luck = dice.random()
    if luck < failing:
        codes = company.ERROR_CODES[integration]
        code, http_status = codes[int(dice.random() ** 1.5 * len(codes))]
        return Fate("error", min(seconds * 0.6, 29.0), http_status, code, company.ERROR_MESSAGES[code])
    if luck < failing + spec.timeouts * factor or seconds >= company.TIMEOUT_SECONDS:
        return Fate("timeout", company.TIMEOUT_SECONDS, None, "timeout", company.ERROR_MESSAGES["timeout"])
    return Fate("success", seconds)


def harm(incidents: Iterable[company.Incident | None]) -> float:
    """How many times more of the API's own requests fail now than usual: a broken service takes some with it."""
    return 1 + 40 * max((incident.failing for incident in incidents if incident), default=0.0)


def work_of_request(route: company.Route, dice: random.Random) -> float:
    """Seconds that a request to this route takes."""
    return dice.lognormvariate(math.log(route.median), route.spread)
