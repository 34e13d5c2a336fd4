"""The filter bar: periods as people mean them, links that mean the same to every reader, choices that travel."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from components import i18n
from components.filters import (
    COMPARISONS,
    CUSTOM,
    PERIODS,
    Filters,
    _with_other,
    days_compared,
    days_of,
    period_name,
    year_before,
)

TODAY = date(2026, 11, 25)
days = st.dates(date(2016, 1, 1), date(2032, 12, 31))
lengths = st.integers(1, 800)
presets = st.sampled_from([name for name in PERIODS if name != CUSTOM])


# --- the calendar -----------------------------------------------------------------------------------------------------


@given(presets, days)
def test_a_preset_ends_today_or_before_and_holds_at_least_a_day(period, today):
    first, last = days_of(period, today)
    assert first <= last <= today
    if period.startswith("last_") and period[5:].isdigit():
        assert (last - first).days + 1 == int(period[5:])
        assert last == today, "today counts, though it is not over"


@given(days)
def test_months_and_years_are_those_of_the_calendar(today):
    first, last = days_of("last_month", today)
    assert first.day == 1
    assert (last + timedelta(days=1)) == today.replace(day=1)
    assert last.day == calendar.monthrange(last.year, last.month)[1]
    assert days_of("this_month", today) == (today.replace(day=1), today)
    assert days_of("this_year", today)[0] == date(today.year, 1, 1)
    first, last = days_of("last_12_months", today)
    assert 365 <= (last - first).days + 1 <= 366
    assert year_before(today) < first


@given(days, lengths)
def test_the_previous_period_is_as_long_and_ends_the_day_before(first, length):
    last = first + timedelta(days=length - 1)
    before, end = days_compared(first, last, "previous")
    assert end == first - timedelta(days=1)
    assert end - before == last - first


@given(days, lengths)
def test_same_weekdays_are_whole_weeks_back_by_as_few_as_leave_no_overlap(first, length):
    last = first + timedelta(days=length - 1)
    before, end = days_compared(first, last, "weekdays")
    back = (first - before).days
    assert end - before == last - first
    assert back % 7 == 0
    assert length <= back < length + 7
    assert end < first


@given(days, lengths)
def test_last_year_has_the_same_dates(first, length):
    last = first + timedelta(days=length - 1)
    before, end = days_compared(first, last, "year")
    for now, then in ((first, before), (last, end)):
        assert then.year == now.year - 1
        assert (then.month, then.day) == (now.month, now.day) or (now.month, now.day, then.day) == (2, 29, 28)


def test_the_29th_of_february():
    assert days_compared(date(2028, 2, 29), date(2028, 2, 29), "year") == (date(2027, 2, 28), date(2027, 2, 28))
    assert days_of("last_12_months", date(2028, 2, 29)) == (date(2027, 3, 1), date(2028, 2, 29))
    assert days_compared(date(2026, 1, 1), date(2026, 1, 31), "none") is None


def made(first: date, last: date, compare: str) -> Filters:
    return _with_other(Filters(first, last, today=last, compare=compare))


@settings(max_examples=30)
@given(days, st.integers(1, 120), st.sampled_from(COMPARISONS[:2]))
def test_a_compared_frame_moves_onto_the_period_day_by_day(first, length, compare):
    filters = made(first, first + timedelta(days=length - 1), compare)
    assert filters.other.days == filters.days
    frame = pd.DataFrame({"day": pd.date_range(filters.other.first, filters.other.last), "n": range(length)})
    frame.attrs["answer"] = "stamp"
    moved = filters.shift(frame)
    assert moved["day"].tolist() == pd.date_range(filters.first, filters.last).tolist()
    assert moved["n"].tolist() == frame["n"].tolist()
    assert moved.attrs == frame.attrs
    assert frame["day"].iloc[0] == pd.Timestamp(filters.other.first), "the frame itself is left alone"


@settings(max_examples=30)
@given(days, lengths)
def test_a_frame_of_last_year_stands_on_its_own_dates(first, length):
    filters = made(first, first + timedelta(days=length - 1), "year")
    frame = pd.DataFrame({"day": pd.date_range(filters.other.first, filters.other.last)})
    moved = filters.shift(frame)["day"]
    assert moved.is_unique
    assert moved.between(pd.Timestamp(filters.first) - pd.Timedelta(days=1), pd.Timestamp(filters.last)).all()
    leap = ((frame["day"].dt.month == 2) & (frame["day"].dt.day == 29)).sum()
    assert len(moved) >= len(frame) - leap


def test_filters_are_the_parameters_of_the_queries_and_can_be_kept_by_a_cache():
    filters = replace(
        made(date(2026, 11, 1), TODAY, "previous"), tiers=("AAA", ""), segment_key="reason", segment=("x",)
    )
    assert dict(filters) == {
        "first": date(2026, 11, 1),
        "last": TODAY,
        "today": TODAY,
        "tiers": ("AAA", ""),
        "reason": ("x",),
    }
    assert len({filters, replace(filters)}) == 1
    assert filters.unfinished
    assert filters.other.last == date(2026, 10, 31)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (date(2026, 10, 27), date(2026, 11, 25), "27 Oct – 25 Nov 2026"),
        (date(2026, 11, 1), date(2026, 11, 25), "1 – 25 Nov 2026"),
        (date(2025, 12, 31), date(2026, 1, 1), "31 Dec 2025 – 1 Jan 2026"),
        (date(2026, 2, 28), date(2026, 2, 28), "28 Feb 2026"),
    ],
)
def test_a_period_in_words(monkeypatch, first, last, words):
    monkeypatch.setattr(i18n, "_default", "en")
    assert period_name(first, last) == words


# --- the widgets and the URL ------------------------------------------------------------------------------------------


def bar(**asked: object) -> AppTest:
    """A page with all filters, opened by a link."""
    app = AppTest.from_string(
        """
from datetime import date
import streamlit as st
import components
from components import filter_bar
components.set_default_language("en")
filters = filter_bar(
    date(2026, 11, 25), earliest=date(2024, 1, 1), tiers=["AAA", "AA", "Oro", ""],
    segment=("reason", "Reason", ["low_hase_score", "policy", ""]),
)
st.session_state.seen = filters
st.caption(filters.caption())
""",
        default_timeout=30,
    )
    for key, value in asked.items():
        app.query_params[key] = value
    return app.run()


def seen(app: AppTest) -> Filters:
    assert not app.exception
    return app.session_state["seen"]


def url(app: AppTest) -> dict[str, list[str]]:
    return {key: value if isinstance(value, list) else [value] for key, value in dict(app.query_params).items()}


def test_a_bare_link_shows_the_last_30_days_against_those_before_and_stays_bare():
    app = bar()
    filters = seen(app)
    assert (filters.first, filters.last) == (date(2026, 10, 27), TODAY)
    assert (filters.compare, filters.tiers, filters.segment, filters.events) == ("previous", (), (), True)
    assert app.caption[0].value == "27 Oct – 25 Nov 2026, compared with 27 Sep – 26 Oct · today is not over"
    assert not url(app)


def test_every_choice_stands_in_the_url_and_the_url_reopens_it():
    app = bar()
    app.selectbox(key="period").select("custom").run()
    app.date_input(key="from").set_value(date(2026, 2, 28)).run()
    app.date_input(key="to").set_value(date(2026, 3, 1)).run()
    app.selectbox(key="compare").select("year").run()
    app.multiselect(key="tiers").select("AAA").select("").run()
    app.multiselect(key="reason").select("policy").run()
    app.toggle(key="events").set_value(False).run()
    asked = url(app)
    assert asked == {
        "period": ["custom"],
        "from": ["2026-02-28"],
        "to": ["2026-03-01"],
        "compare": ["year"],
        "tiers": ["AAA", "(none)"],
        "reason": ["policy"],
        "events": ["off"],
    }
    assert seen(app).query_params() == asked
    again = bar(**asked)
    assert seen(again) == seen(app)
    assert not again.warning


def test_a_preset_is_relative_and_leaves_no_days_in_the_url():
    app = bar(period="custom", **{"from": "2026-01-01", "to": "2026-01-31"})
    app.selectbox(key="period").select("last_7").run()
    assert url(app) == {"period": ["last_7"]}
    assert (seen(app).first, seen(app).last) == (date(2026, 11, 19), TODAY)


def test_days_in_the_wrong_order_are_put_right():
    filters = seen(bar(period="custom", **{"from": "2026-01-31", "to": "2026-01-01"}))
    assert (filters.first, filters.last) == (date(2026, 1, 1), date(2026, 1, 31))


@pytest.mark.parametrize(
    "asked",
    [
        {"period": "for_ever"},
        {"compare": "nobody"},
        {"tiers": ["AAA", "platinum"]},
        {"reason": "weather"},
        {"events": "perhaps"},
        {"period": "custom", "from": "1999-01-01"},
        {"period": "custom", "to": "2026-13-45"},
        {"period": "custom", "to": "2026-11-26"},
    ],
    ids=str,
)
def test_an_impossible_link_says_so_in_one_sentence_and_falls_back(asked):
    app = bar(**asked)
    seen(app)
    key, value = list(asked.items())[-1]
    assert len(app.warning) == 1
    assert (value[-1] if isinstance(value, list) else value) in app.warning[0].value
    assert value not in [url(app).get(key), url(app).get(key, [None])[-1]]
    app.run()
    assert not app.warning, "told once"


def test_what_can_be_of_an_impossible_link_is_kept():
    app = bar(tiers=["AAA", "platinum"], reason="policy", compare="nobody", period="last_7")
    filters = seen(app)
    assert (filters.tiers, filters.segment, filters.compare, filters.period) == (
        ("AAA",),
        ("policy",),
        "previous",
        "last_7",
    )
    assert len(app.warning) == 1
    assert "platinum" in app.warning[0].value
    assert "nobody" in app.warning[0].value
    assert url(app) == {"tiers": ["AAA"], "reason": ["policy"], "period": ["last_7"]}


def few(**asked: object) -> AppTest:
    """A page with a month, a number, a slider and a switch, opened by a link."""
    app = AppTest.from_string(
        """
from datetime import date
import streamlit as st
import components
from components.filters import choice_filter, month_filter, number_filter, switch_filter, tell_refused
from components.url import Url
components.set_default_language("en")
url = Url()
st.session_state.seen = (
    choice_filter("Width", ("10", "5"), {}, key="width", url=url),
    month_filter(url, "Month", [date(2026, 11, 1), date(2026, 10, 1)], key="month"),
    number_filter(url, "Cut-off", 0, 100, default=62, key="cutoff"),
    number_filter(url, "Try", 0, 100, default=67, slider=True, key="try"),
    switch_filter(url, "Strict", key="strict"),
)
url.write()
tell_refused(url)
""",
        default_timeout=30,
    )
    for key, value in asked.items():
        app.query_params[key] = value
    return app.run()


USUAL = ("10", date(2026, 11, 1), 62, 67, False)
ASKED = {"width": "5", "month": "2026-10", "cutoff": "55", "try": "70", "strict": "on"}


def test_months_numbers_and_switches_stand_in_the_url():
    app = few()
    assert seen(app) == USUAL
    assert not url(app)
    app.selectbox(key="month").select("2026-10").run()
    app.number_input(key="cutoff").set_value(55).run()
    app.slider(key="try").set_value(70).run()
    app.toggle(key="strict").set_value(True).run()
    assert url(app) == {key: [value] for key, value in ASKED.items() if key != "width"}
    assert seen(few(**ASKED)) == ("5", date(2026, 10, 1), 55, 70, True)
    emptied = app.number_input(key="cutoff").set_value(None).run()
    assert url(emptied)["cutoff"] == ["(none)"]
    assert seen(few(cutoff="(none)"))[2] is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", "7"),
        ("month", "2020-01"),
        ("month", "x"),
        ("cutoff", "999"),
        ("cutoff", "-1"),
        ("cutoff", "many"),
        ("try", "1e3"),
        ("strict", "maybe"),
    ],
)
def test_one_impossible_value_is_told_and_costs_no_other(key, value):
    app = few(**{**ASKED, key: value})
    usual = dict(zip(ASKED, USUAL, strict=True))
    assert seen(app) == tuple(
        usual[one] if one == key else wanted
        for one, wanted in zip(ASKED, ("5", date(2026, 10, 1), 55, 70, True), strict=True)
    )
    assert [warning.value.count(f"“{key}={value}”") for warning in app.warning] == [1]
    assert url(app) == {one: [text] for one, text in ASKED.items() if one != key}


def test_the_choice_travels_to_another_page_and_back(tmp_path):
    pages = {"one": '["AAA", "C"]', "two": '["AAA"]', "three": None}
    for name, tiers in pages.items():
        (tmp_path / f"{name}.py").write_text(
            "import streamlit as st\nst.title('no filters')\n"
            if tiers is None
            else f"""
from datetime import date
import streamlit as st
from components import filter_bar
st.session_state.seen = filter_bar(date(2026, 11, 25), earliest=date(2024, 1, 1), tiers={tiers})
"""
        )
    entry = tmp_path / "entry.py"
    entry.write_text(
        """
import streamlit as st
from components import language_switch
page = st.navigation([st.Page("one.py", default=True), st.Page("two.py"), st.Page("three.py")])
language_switch()
page.run()
"""
    )
    app = AppTest.from_file(entry, default_timeout=30)
    app.query_params["period"] = "last_7"
    app.query_params["tiers"] = ["AAA", "C"]
    app.run()
    assert seen(app).tiers == ("AAA", "C")
    app.switch_page("two.py").run()
    assert seen(app).period == "last_7"
    assert seen(app).tiers == ("AAA",), "of a choice, what is none here is left out"
    app.switch_page("three.py").run()
    app.switch_page("one.py").run()
    assert seen(app).period == "last_7"


def test_a_link_means_the_same_in_both_languages():
    for spoken in ("es", "en"):
        app = AppTest.from_string(
            f"""
from datetime import date
import streamlit as st
import components
components.set_default_language("{spoken}")
st.session_state.seen = components.filter_bar(date(2026, 11, 25), earliest=date(2024, 1, 1))
""",
            default_timeout=30,
        )
        app.query_params["period"] = "last_month"
        app.query_params["compare"] = "weekdays"
        app.run()
        assert (seen(app).period, seen(app).compare) == ("last_month", "weekdays")
        assert url(app) == {"period": ["last_month"], "compare": ["weekdays"]}
