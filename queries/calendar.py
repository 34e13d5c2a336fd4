"""Business days, paydays and the normal days that a day is compared with."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

import holidays

Position = Literal["payday", "before", "between"]
LOOKBACK_DAYS = 730
NORMAL_DAYS = 8


def business_day(zone: ZoneInfo, now: datetime | None = None) -> date:
    """The calendar day of the configured zone at this moment (default: now)."""
    return (now or datetime.now(UTC)).astimezone(zone).date()


@cache
def _holidays(country: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, years=year))


def is_holiday(day: date, country: str = "MX") -> bool:
    """Whether the day is a public holiday."""
    return day in _holidays(country, day.year)


def is_working_day(day: date, country: str = "MX") -> bool:
    """Whether the day is Monday to Friday and no public holiday."""
    return day.weekday() < 5 and not is_holiday(day, country)


@cache
def paydays(year: int, country: str = "MX") -> tuple[date, ...]:
    """The quincena: the 15th and the last day of each month, moved to the working day before when it is none."""
    found = []
    for month in range(1, 13):
        for number in (15, calendar.monthrange(year, month)[1]):
            day = date(year, month, number)
            while not is_working_day(day, country):
                day -= timedelta(days=1)
            found.append(day)
    return tuple(found)


def payday_position(day: date, country: str = "MX") -> Position:
    """Where a day stands to the quincena.

    `payday`: the payday and the two days after it, in which drivers have the money; `before`: the two days before, in
    which they wait for it; `between`: all others. Three kinds are enough to keep eight matches within reach.
    """
    for payday in (*paydays(day.year, country), *paydays(day.year - 1, country)[-1:]):
        distance = (day - payday).days
        if 0 <= distance <= 2:
            return "payday"
        if -2 <= distance < 0:
            return "before"
    return "between"


def _candidates(day: date, lookback_days: int) -> Iterator[date]:
    for weeks in range(1, lookback_days // 7 + 1):
        yield day - timedelta(weeks=weeks)


def normal_days(
    day: date, *, country: str = "MX", lookback_days: int = LOOKBACK_DAYS, count: int = NORMAL_DAYS
) -> list[date]:
    """The days that a day is compared with, latest first: at most `count` within the lookback.

    Same weekday, same position to the quincena, and no public holiday: a holiday is like no other day. A day that is a
    holiday itself is compared with the other holidays of the lookback, whatever their weekday, as shops and banks keep
    the same hours on all of them. Fewer than `count` come back when the lookback holds fewer.
    """
    return list(_normal_days(day, country, lookback_days, count))


@lru_cache(maxsize=1024)
def _normal_days(day: date, country: str, lookback_days: int, count: int) -> tuple[date, ...]:
    if is_holiday(day, country):
        earlier = (day - timedelta(days=back) for back in range(1, lookback_days + 1))
        return tuple(other for other in earlier if is_holiday(other, country))[:count]
    position = payday_position(day, country)
    return tuple(
        other
        for other in _candidates(day, lookback_days)
        if not is_holiday(other, country) and payday_position(other, country) == position
    )[:count]
