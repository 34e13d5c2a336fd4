"""Business days, paydays and normal days, by the calendar on the wall."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.calendar import (
    LOOKBACK_DAYS,
    NORMAL_DAYS,
    business_day,
    is_holiday,
    normal_days,
    payday_position,
    paydays,
)
from queries.kpis import LEAST_NORMAL_DAYS

MEXICO = ZoneInfo("America/Mexico_City")
DAYS = st.dates(date(2021, 1, 1), date(2028, 12, 31))


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        # At midnight in UTC it is still the evening before in Mexico City.
        (datetime(2026, 3, 2, 0, 0, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 2, 5, 59, 59, 999999, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 2, 6, 0, tzinfo=UTC), date(2026, 3, 2)),
        # No daylight saving since October 2022; before it midnight was at five.
        (datetime(2026, 7, 1, 5, 30, tzinfo=UTC), date(2026, 6, 30)),
        (datetime(2022, 7, 1, 5, 0, tzinfo=UTC), date(2022, 7, 1)),
        (datetime(2022, 7, 1, 4, 59, tzinfo=UTC), date(2022, 6, 30)),
        (datetime(2026, 1, 1, 0, 0, tzinfo=UTC), date(2025, 12, 31)),
    ],
)
def test_the_business_day_is_that_of_mexico_city_not_of_utc(moment, day):
    assert business_day(MEXICO, moment) == day


def test_the_business_day_of_now_is_one_of_the_two_about_the_utc_date():
    today = datetime.now(UTC).date()
    assert business_day(MEXICO) in {today - timedelta(days=1), today, datetime.now(UTC).date()}


@pytest.mark.parametrize(
    ("payday", "why"),
    [
        (date(2026, 1, 15), "a Thursday stays"),
        (date(2026, 1, 30), "31 January 2026 is a Saturday"),
        (date(2026, 2, 13), "15 February 2026 is a Sunday"),
        (date(2026, 2, 27), "28 February 2026 is a Saturday"),
        (date(2024, 2, 29), "the last day of a leap February is a Thursday"),
        (date(2027, 3, 31), "the last day of March 2027 is a Wednesday"),
        # 15 March 2021 was a Monday and the day on which Juárez's birthday was kept.
        (date(2021, 3, 12), "a holiday and the weekend before it"),
    ],
)
def test_a_payday_moves_to_the_working_day_before(payday, why):
    assert payday in paydays(payday.year), why


@pytest.mark.parametrize("day", [date(2026, 1, 31), date(2026, 2, 15), date(2026, 2, 28), date(2021, 3, 15)])
def test_a_day_without_work_is_no_payday(day):
    assert day not in paydays(day.year)


@pytest.mark.parametrize("year", range(2020, 2031))
def test_a_year_has_twenty_four_paydays_all_of_them_working_days(year):
    found = paydays(year)
    assert len(set(found)) == 24
    assert all(day.weekday() < 5 and not is_holiday(day) for day in found)
    nominal = [day for day in (date(year, 1, 1) + timedelta(days=n) for n in range(366)) if _is_nominal(day, year)]
    assert all(timedelta(0) <= asked - paid <= timedelta(days=5) for asked, paid in zip(nominal, found, strict=True))


def _is_nominal(day: date, year: int) -> bool:
    return day.year == year and (day.day == 15 or (day + timedelta(days=1)).day == 1)


@pytest.mark.parametrize(
    ("day", "position"),
    [
        # The payday of mid-January 2026 is Thursday 15.
        (date(2026, 1, 12), "between"),
        (date(2026, 1, 13), "before"),
        (date(2026, 1, 14), "before"),
        (date(2026, 1, 15), "payday"),
        (date(2026, 1, 16), "payday"),
        (date(2026, 1, 17), "payday"),
        (date(2026, 1, 18), "between"),
        # Moved to Friday 30: the Saturday on which the month ends is the day after it.
        (date(2026, 1, 28), "before"),
        (date(2026, 1, 31), "payday"),
        (date(2026, 2, 1), "payday"),
        (date(2026, 2, 2), "between"),
        # Across the new year: the payday of December is that of the year before.
        (date(2026, 1, 1), "payday"),
        (date(2026, 1, 2), "payday"),
        (date(2026, 1, 3), "between"),
    ],
)
def test_a_day_stands_before_at_or_between_the_paydays(day, position):
    assert payday_position(day) == position


@settings(max_examples=60, deadline=None)
@given(day=DAYS)
def test_the_normal_days_of_a_working_day_are_like_it(day):
    found = normal_days(day)
    assert found == sorted(set(found), reverse=True)
    assert len(found) <= NORMAL_DAYS
    assert all(timedelta(0) < day - other <= timedelta(days=LOOKBACK_DAYS) for other in found)
    if is_holiday(day):
        assert all(is_holiday(other) for other in found)
    else:
        assert all(other.weekday() == day.weekday() and not is_holiday(other) for other in found)
        assert all(payday_position(other) == payday_position(day) for other in found)


@settings(max_examples=60, deadline=None)
@given(day=DAYS)
def test_no_nearer_day_that_is_like_it_is_passed_over(day):
    found = normal_days(day)
    if is_holiday(day) or not found:
        return
    nearer = [day - timedelta(days=n) for n in range(1, (day - found[-1]).days)]
    for other in set(nearer) - set(found):
        alike = other.weekday() == day.weekday() and payday_position(other) == payday_position(day)
        assert not alike or is_holiday(other)


@pytest.mark.parametrize("year", [2025, 2026])
def test_two_years_back_hold_normal_days_enough_for_a_band_of_any_day(year):
    found = [len(normal_days(date(year, 1, 1) + timedelta(days=n))) for n in range(365)]
    assert min(found) >= LEAST_NORMAL_DAYS
    assert found.count(NORMAL_DAYS) > 340


def test_a_holiday_is_compared_with_holidays_and_no_other_day_with_one():
    christmas = date(2025, 12, 25)
    assert is_holiday(christmas)
    assert normal_days(christmas)[0] == date(2025, 11, 17)
    assert christmas not in normal_days(date(2026, 1, 8))
    assert not any(is_holiday(day) for day in normal_days(date(2026, 1, 8)))


def test_a_short_lookback_gives_fewer_normal_days():
    assert normal_days(date(2026, 1, 21), lookback_days=6) == []
    assert len(normal_days(date(2026, 1, 21), lookback_days=35)) < NORMAL_DAYS
    assert len(normal_days(date(2026, 1, 21), count=3)) == 3
