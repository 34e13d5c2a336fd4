"""Charts: each can be drawn whatever the data holds, says its unit, and knows what was clicked."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from components import charts, i18n, scales
from components.frame import Figure, to_png
from components.table import as_drawn, table
from components.words import value_name, value_names

TODAY = date(2026, 11, 25)
ZONE = "America/Mexico_City"
DAYS = pd.date_range("2026-11-20", TODAY)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setattr(i18n, "_default", "en")


def drill(**by: str) -> Any:
    return SimpleNamespace(by=by, count="n")


def frame() -> pd.DataFrame:
    """As a query gives it: days, text with a name that nobody foresaw and none, Int64, money as Decimal."""
    rows = [(day, tier, place) for day in DAYS for place, tier in enumerate(["C", "AAA", "Oro", ""])]
    made = pd.DataFrame(rows, columns=["day", "name", "bucket"])
    made["day"] = made["day"].astype("datetime64[us]")
    made["name"] = made["name"].astype("str")
    made["n"] = pd.Series(range(1, len(made) + 1), dtype="Int64")
    made["amount"] = [Decimal(n) * Decimal("1234.56") for n in range(1, len(made) + 1)]
    made["share"] = made["n"].astype("float64") / 30
    made["low"], made["high"] = made["share"] * 0.8, made["share"] * 1.2
    return made


EVENTS = pd.DataFrame(
    {
        "kind": ["deployment", "incident", "unheard of"],
        "title": ["api 2.3", "conekta: 40 %", "x"],
        "starts_at": pd.to_datetime(["2026-11-21 14:00", "2026-11-22 08:00", "2026-01-01 00:00"]).tz_localize(ZONE),
        "ends_at": pd.to_datetime([None, "2026-11-23 20:00", None]).tz_localize(ZONE),
        "source": ["deployment", "ledger", "person"],
    }
)
TARGET = (0.3, "Target 30 %")
T: dict[str, Any] = {"title": "Title"}
NAMED = drill(name="name")
DAILY = drill(first="day", last="day")

CHARTS: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "line": lambda f: charts.line(f, x="day", y="n", unit="count", color="name", compare=f, today=TODAY, **T),
    "line, alone": lambda f: charts.line(
        f[f["name"] == "C"], x="day", y="share", unit="share", low="low", high="high", target=TARGET, events=EVENTS,
        compare=f[f["name"] == "C"], today=TODAY, drill=DAILY, **T
    ),
    "line, coloured": lambda f: charts.line(
        f, x="day", y="amount", unit="mxn", color="name", drill=drill(first="day", last="day", name="name"), **T
    ),
    "area": lambda f: charts.area(f, x="day", y="amount", unit="mxn", color="name", events=EVENTS, today=TODAY, **T),
    "area, shares": lambda f: charts.area(
        f, x="day", y="n", unit="count", color="bucket", names=scales.dpd_names(), normalize=True,
        drill=drill(day="day", bucket="bucket"), **T
    ),
    "bars over time": lambda f: charts.bars_over_time(
        f, x="day", y="n", unit="count", color="name", compare=f, target=(20, "Target"), events=EVENTS, today=TODAY,
        bin="auto", drill=drill(first="bin_first", last="bin_last", name="name"), **T
    ),
    "bars over time, alone": lambda f: charts.bars_over_time(
        f, x="day", y="amount", unit="mxn", compare=f, today=TODAY, bin="week", **T
    ),
    "bar": lambda f: charts.bar(f, x="name", y="amount", unit="mxn", color="name", compare=f, drill=NAMED, **T),
    "bar, interval": lambda f: charts.bar(
        f, x="bucket", y="share", unit="share", names=scales.dpd_names(), low="low", high="high", target=TARGET, **T
    ),
    "pareto": lambda f: charts.pareto(f.groupby("name", as_index=False).n.sum(), x="name", y="n", unit="count",
                                      drill=NAMED, **T),
    "funnel": lambda f: charts.funnel(
        f.groupby("name", as_index=False).n.sum(), x="name", y="n", unit="count", note="name", drill=NAMED, **T
    ),
    "heatmap": lambda f: charts.heatmap(
        f, x="bucket", y="name", value="share", unit="share", text=True, drill=NAMED, **T
    ),
    "heatmap over time": lambda f: charts.heatmap(
        f, x="day", y="name", value="amount", unit="mxn", text=True, events=EVENTS, **T
    ),
    "histogram": lambda f: charts.histogram(
        f, x="bucket", y="n", unit="count", x_title="Score", color="name", rules=[(1, "cut-off"), (1.2, "median")],
        drill=NAMED, **T
    ),
    "histogram, log": lambda f: charts.histogram(
        f.assign(edge=2.0 ** f["n"].astype("float64")), x="edge", y="n", unit="count", x_title="Time",
        x_unit="seconds", log=True, **T
    ),
    "step": lambda f: charts.step(
        f, x="n", y="share", unit="share", x_title="Hours", low="low", high="high", rules=[(48, "48 h")],
        target=(0.05, "SLO"), drill=drill(n="n"), **T
    ),
    "points": lambda f: charts.points(
        f[f["name"] == "C"], x="day", y="share", unit="share", low="low", high="high", color="name", drill=NAMED, **T
    ),
}  # fmt: skip
WORDS = {"mxn": "MXN"}


def with_nulls(made: pd.DataFrame) -> pd.DataFrame:
    """Every other value is not known, and a name is missing altogether."""
    nulls = made.copy()
    for name in ("n", "share", "low", "high"):
        nulls.loc[nulls.index[::2], name] = pd.NA if name == "n" else np.nan
    nulls["amount"] = [None if place % 2 else value for place, value in enumerate(nulls["amount"])]
    nulls.loc[nulls.index[-1], "name"] = None
    return nulls


@pytest.mark.parametrize("kind", CHARTS)
@pytest.mark.parametrize("case", ["whole", "one row", "nulls"])
def test_every_chart_is_drawn_whatever_the_data_holds(kind, case):
    made = {"whole": frame, "one row": lambda: frame().head(1), "nulls": lambda: with_nulls(frame())}[case]()
    before = made.copy()
    figure = CHARTS[kind](made)
    pd.testing.assert_frame_equal(made, before)
    assert figure.alt.startswith("Title")
    if figure.chart is not None:
        assert to_png(figure.chart, "Title", dark=False).startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", CHARTS)
def test_without_data_there_is_no_chart_and_the_panel_says_so(kind):
    figure = CHARTS[kind](frame().head(0))
    assert figure.chart is None
    assert figure.data.empty
    assert figure.alt == "Title"


@pytest.mark.parametrize("kind", CHARTS)
def test_every_chart_says_its_unit(kind):
    spec = str(CHARTS[kind](frame()).chart.to_dict())
    assert "_said" in spec or "_s0" in spec, "the tooltip has the value in full"
    # A funnel and a matrix write their values on the marks instead of an axis.
    written = kind in {"funnel", "heatmap", "heatmap over time"}
    assert written or re.search(r"'format': '(\.1~%|,\.0f|,\.2~s)'|'title': 'MXN'", spec)


@pytest.mark.parametrize("kind", CHARTS)
def test_a_mark_is_known_by_what_it_stands_for(kind):
    figure = CHARTS[kind](frame())
    if figure.drill is None:
        assert "pick" not in str(figure.chart.to_dict())
        return
    assert figure.marks is not None
    params = [param for param in figure.chart.to_dict()["params"] if param["name"] == "pick"]
    assert params[0]["select"]["fields"] == ["mark"]
    again = CHARTS[kind](frame().sample(frac=1, random_state=1))
    assert set(again.marks["mark"]) == set(figure.marks["mark"]), "the same texts in whatever order the rows come"
    for column in figure.drill.by.values():
        assert column in figure.marks


def test_a_click_that_binds_a_missing_column_is_told_when_the_chart_is_made():
    with pytest.raises(ValueError, match="region"):
        charts.bar(frame(), x="name", y="n", unit="count", title="t", drill=drill(region="region"))


@settings(max_examples=25, deadline=None)
def happened(kind: str, n: int) -> pd.DataFrame:
    moments = pd.date_range("2026-11-20 06:00", periods=n, freq="8h", tz=ZONE)
    return pd.DataFrame(
        {"kind": kind, "title": [f"{kind} {number}" for number in range(n)], "starts_at": moments, "ends_at": pd.NaT}
    )


def layers_of(figure: Figure, mark: str) -> list[dict[str, Any]]:
    """The layers with this mark, each with the values of its data as `values`."""
    spec = figure.chart.to_dict()
    return [
        {**layer, "values": spec["datasets"][layer["data"]["name"]]}
        for layer in spec["layer"]
        if layer["mark"]["type"] == mark and "name" in layer.get("data", {})
    ]


def test_a_chart_of_nothing_but_unknown_values_says_so_and_is_no_table_of_them():
    frame = pd.DataFrame({"day": pd.date_range("2026-11-01", periods=3), "share": [None, float("nan"), None], "n": 0})
    frame.attrs["answer"] = "stamp"
    for figure in (
        charts.line(frame, x="day", y="share", unit="share", title="Rate"),
        charts.bar(frame, x="n", y="share", unit="share", title="Rate"),
    ):
        assert figure.chart is None
        assert figure.data.empty
        assert figure.data.attrs["answer"] == "stamp"


@pytest.mark.parametrize("kind", ["bar", "heatmap"])
def test_names_of_ten_bands_shrink_then_take_two_lines_before_any_is_left_out(kind):
    bands = [f"{low}–{low + 9}" for low in range(0, 90, 10)] + ["90–100"]
    made = pd.DataFrame({"x": bands, "y": "a", "n": range(1, 11)})
    more = {"y": "n"} if kind == "bar" else {"y": "y", "value": "n", "x_order": bands}
    spec = getattr(charts, kind)(made, x="x", unit="count", **more, **T).chart.to_dict()

    def labels(width: int) -> tuple[list[str], set[float]]:
        svg = vl_convert.vegalite_to_svg({**spec, "width": width, "autosize": "pad"})
        found = re.findall(r'<text(?=[^>]*font-size="([\d.]+)px")([^>]*)>((?:<tspan[^>]*>[^<]*</tspan>)+|[^<]*)<', svg)
        shown = [(size, words) for size, how, words in found if "–" in words and 'opacity="0"' not in how]
        lines = [re.sub(r"<[^>]*>", "", words.replace("</tspan><tspan", "|</tspan><tspan")) for _, words in shown]
        return lines, {float(size) for size, _ in shown}

    assert labels(900) == (bands, {11})
    lines, [size] = labels(380)
    assert lines == bands
    assert 8.5 < size < 11
    assert labels(250) == ([band.replace("–", "–|") for band in bands], {11})


def test_nothing_but_zeros_stand_at_the_foot_of_their_axis():
    frame = pd.DataFrame({"bucket": ["1-7", "8-15"], "n": [0, 0]})
    drawn = charts.bar(frame, x="bucket", y="n", unit="count", title="n").chart.to_dict()
    assert drawn["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0, 1]
    before = charts.bar(frame, x="bucket", y="n", unit="count", title="n", compare=frame.assign(n=[3, 0]))
    assert "scale" not in before.chart.to_dict()["layer"][0]["encoding"]["y"]
    daily = pd.DataFrame({"day": pd.date_range("2026-11-01", periods=3), "n": 0, "bucket": "1-7"})
    area = charts.area(daily, x="day", y="n", unit="count", title="n", color="bucket").chart.to_dict()
    assert "'domain': [0, 1]" in str(area)


def test_the_first_of_two_rules_is_named_at_its_left_where_it_has_room():
    frame = pd.DataFrame({"score": range(100), "n": 1})

    def sides(*rules: float) -> list[str]:
        chart = charts.histogram(
            frame, x="score", y="n", unit="count", title="n", x_title="score", rules=[(at, f"at {at}") for at in rules]
        ).chart.to_dict()
        marks = [layer["mark"] for layer in chart["layer"]]
        return list(dict.fromkeys(mark["align"] for mark in marks if mark["type"] == "text"))

    assert sides(62, 67) == ["right", "left"]
    assert sides(5, 67) == ["left"]
    assert sides(62) == ["left"]


def test_bars_reach_over_the_whole_period_so_that_its_last_events_are_seen():
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-11-03", "2026-11-04"]), "n": [1, 2]})
    frame.attrs = {}
    events = pd.DataFrame(
        {
            "kind": ["incident"],
            "title": ["Conekta"],
            "starts_at": pd.to_datetime(["2026-11-06 10:00"]),
            "ends_at": [pd.NaT],
        }
    )
    options = {"x": "day", "y": "n", "unit": "count", "title": "n", "bin": "auto", "events": events}
    period = (date(2026, 11, 1), date(2026, 11, 6))
    assert "Conekta" not in str(charts.bars_over_time(frame, **options).chart.to_dict())
    drawn = charts.bars_over_time(frame, **options, period=period).chart.to_dict()
    assert "Conekta" in str(drawn)
    first, last = drawn["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert (first["date"], last["date"]) == (1, 7)


def test_few_bars_of_a_long_period_are_as_wide_as_the_period_asks_for():
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-11-03", "2026-11-04"]), "n": [1, 2]})
    options = {"x": "day", "y": "n", "unit": "count", "title": "n", "bin": "auto"}
    frame.attrs = {}

    def bars(**more: Any) -> int:
        spec = charts.bars_over_time(frame, **options, **more).chart.to_dict()
        return len(spec["datasets"][spec["data"]["name"]])

    assert bars() == 2
    assert bars(period=(date(2025, 12, 1), date(2026, 11, 30))) == 1


def test_what_happens_often_draws_no_fence_and_hides_nothing_that_is_rare():
    often, rare = happened("deployment", 15), happened("model", 1)
    data = frame()[lambda made: made["name"] == "C"]
    drawn = charts.line(data, x="day", y="n", unit="count", events=pd.concat([rare, often]), **T)
    kinds = [one["_word"] for layer in layers_of(drawn, "rule") for one in layer["values"] if "_word" in one]
    assert kinds == [charts.event_names()["model"]]
    (marks,) = [layer for layer in layers_of(drawn, "point") if layer["mark"].get("shape") == "triangle-down"]
    assert len(marks["values"]) == 16
    assert marks["values"][-1]["_word"] == charts.event_names()["model"]


def test_a_limit_above_the_curve_has_its_label_below_it_where_no_event_stands():
    data = frame()[lambda made: made["name"] == "C"]
    limits = [(0.1, "look"), (9.0, "act")]
    drawn = charts.line(data, x="day", y="share", unit="share", target=limits, events=EVENTS, **T)
    sides = {layer["values"][0]["_label"]: layer["mark"]["baseline"] for layer in layers_of(drawn, "text")}
    assert sides == {"look": "bottom", "act": "top"}


def test_a_day_shows_its_own_events_by_its_clock():
    curve = pd.DataFrame({"minute": [15, 30], "value": [1.0, None], "normal": [1, 2], "low": [0, 1], "high": [2, 3]})
    drawn = charts.band(curve, x="minute", unit="count", day=date(2026, 11, 22), events=EVENTS, **T)
    (marks,) = layers_of(drawn, "point")
    (rect,) = layers_of(drawn, "rect")
    assert [(one["_x"], one["_end"]) for one in marks["values"]] == [(480, 1440)]
    assert rect["encoding"]["x2"] == {"field": "_end"}


@given(st.dates(date(2020, 1, 1), date(2030, 12, 31)), st.integers(1, 800), st.sampled_from(["day", "week", "month"]))
def test_bins_hold_every_day_once_and_sum_to_the_whole(first, length, bin):
    days = pd.date_range(first, periods=length)
    made = pd.DataFrame({"day": days, "n": range(length), "name": "AAA"})
    figure = charts.bars_over_time(
        made, x="day", y="n", unit="count", title="t", color="name", bin=bin,
        drill=drill(first="bin_first", last="bin_last", name="name"),
    )  # fmt: skip
    marks = figure.marks.sort_values("bin_first")
    assert marks["n"].sum() == made["n"].sum()
    held = [day for a, b in zip(marks["bin_first"], marks["bin_last"], strict=True) for day in pd.date_range(a, b)]
    assert held == list(days), "a bin is cut to the period: what was clicked is what was drawn"
    if bin == "week":
        assert (marks["bin_first"].iloc[1:].dt.day_of_week == 0).all(), "weeks begin on Monday"
    if bin == "month":
        assert (marks["bin_first"].iloc[1:].dt.day == 1).all()


@pytest.mark.parametrize(("length", "grain"), [(30, "day"), (62, "day"), (63, "week"), (400, "week"), (401, "month")])
def test_bins_fit_the_length_of_the_period(length, grain):
    assert scales.bins_of(pd.Series(pd.date_range("2025-01-01", periods=length)), "auto")[1] == grain


def test_a_day_that_is_missing_is_a_gap_not_a_slope():
    made = pd.DataFrame({"day": pd.to_datetime(["2026-11-01", "2026-11-02", "2026-11-05"]), "n": [1, 2, 3]})
    spec = charts.line(made, x="day", y="n", unit="count", title="t").chart.to_dict()
    drawn = [rows for rows in spec["datasets"].values() if len(rows) == 5 and "_y" in rows[0]]
    assert [row["_y"] for row in drawn[0]] == [1, 2, None, None, 3]


def test_the_scale_of_tiers_stands_in_its_own_order_and_none_comes_last():
    assert scales.in_order(["C", "", "Oro", "AAA", "B"]) == ["AAA", "B", "C", "Oro", "(none)"]
    assert scales.in_order([3, 1, 2], names=scales.dpd_names()) == ["1–7", "8–15", "16–30"]


def contrast(one: str, other: str) -> float:
    """WCAG's, of two colours as #rrggbb or rgb(r, g, b)."""

    def light(colour: str) -> float:
        hexed = [int(colour[place : place + 2], 16) for place in (1, 3, 5)] if colour.startswith("#") else []
        parts = [part / 255 for part in hexed or map(int, re.findall(r"\d+", colour))]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    less, more = sorted([light(one), light(other)])
    return (more + 0.05) / (less + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_told_apart_from_their_ground(monkeypatch, dark):
    monkeypatch.setattr(scales, "is_dark", lambda: dark)
    # The lightest of days past due and the paler hues are areas, not lines: WCAG's 3:1 holds for what must be read.
    for name in scales.COLOURS:
        told = contrast(scales.colours_of([name])[0], scales.ground())
        assert told > (2.4 if dark else 1.4), (name, told)


@pytest.mark.parametrize("dark", [False, True])
def test_what_a_cell_says_is_read_on_each_shade(monkeypatch, dark):
    monkeypatch.setattr(scales, "is_dark", lambda: dark)
    made = pd.DataFrame({"x": [f"{n}" for n in range(51)], "y": "a", "share": [n / 50 for n in range(51)]})
    spec = charts.heatmap(made, x="x", y="y", value="share", unit="share", text=True, domain=(0, 1), **T)
    svg = vl_convert.vegalite_to_svg({**spec.chart.to_dict(), "width": 2000})
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*fill="([^"]+)"', svg)
    texts = re.findall(r'<text[^>]*fill="([^"]+)"[^>]*>[\d.]+ %<', svg)
    assert len(cells) == len(texts) == 51
    told = {n: contrast(*pair) for n, pair in enumerate(zip(cells, texts, strict=True))}
    assert min(told.values()) >= 4.5, told


def test_a_name_without_a_meaning_is_grey_among_tiers_and_told_apart_among_its_like():
    assert scales.colours_of(["AAA", "Oro"])[1] == scales.GREY
    reasons = scales.colours_of(["policy", "fraud", "(none)"])
    assert reasons[2] == scales.GREY
    assert len(set(reasons)) == 3


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1234, "count", "1,234"),
        (Decimal("1234567.891"), "mxn", "$1,234,567.89"),
        (-5.5, "mxn", "-$5.50"),
        (0.1234, "share", "12.3 %"),
        (0.00123, "share", "0.12 %"),
        (None, "count", "–"),
        (float("nan"), "mxn", "–"),
        (7200, "seconds", "2.0 h"),
        (1500, "ms", "1.5 s"),
        (61.25, "score", "61.2"),
        (0.25, "PSI", "0.25 PSI"),
    ],
)
def test_a_tooltip_says_a_value_in_full(value, unit, words):
    assert scales.said(value, unit) == words


def test_a_duration_is_drawn_in_the_unit_that_fits():
    assert scales.measure("seconds", [10_000, 90]).word == "h"
    assert scales.measure("seconds", [0.02]).word == "ms"
    assert scales.measure("ms", [150_000]).size == 60_000


def test_moments_are_drawn_by_the_clock_of_the_business():
    moments = pd.Series(pd.to_datetime(["2026-11-24 23:30"]).tz_localize(ZONE))
    assert scales.as_shown(moments).tolist() == [pd.Timestamp("2026-11-24 23:30")]


# --- tables and number cards ------------------------------------------------------------------------------------------


def test_a_table_shows_the_named_columns_first_and_keeps_the_others_in_its_data():
    made = frame()
    made.attrs["answer"] = SimpleNamespace(columns=())
    figure = table(made, {"amount": "mxn", "day": ("date", "Due"), "share": "share"}, title="Rows")
    assert list(figure.data.columns)[:3] == ["amount", "day", "share"]
    assert figure.data.attrs == made.attrs
    assert figure.columns["day"]["label"] == "Due"
    assert figure.columns["n"] is None
    assert isinstance(figure.data["amount"].iloc[0], Decimal), "downloads keep the centavo"
    assert as_drawn(figure.data)["amount"].dtype == "float64"


def test_a_table_without_columns_follows_the_declaration_of_its_query():
    made = frame()
    column = SimpleNamespace(name="amount", unit="MXN", description="principal")
    made.attrs["answer"] = SimpleNamespace(columns=(column,))
    figure = table(made)
    assert figure.columns["amount"]["type_config"]["format"] == "$%,.2f"
    assert figure.columns["day"]["type_config"]["type"] == "date"
    with pytest.raises(ValueError, match="no such kind"):
        table(made, {"amount": "pesos"})


def card(**number: Any) -> AppTest:
    told = ", ".join(f"{name}={value!r}" for name, value in number.items())
    return AppTest.from_string(
        f"""
import pandas as pd
import components
from components import Number, number_card
components.set_default_language("en")
number_card("Disbursed", lambda: Number(data=pd.DataFrame({{"a": [1]}}), {told}), key="disbursed")
""",
        default_timeout=30,
    ).run()


def test_a_number_card_shows_the_number_against_the_compared_period():
    app = card(value=1_234_567.5, unit="mxn", other=1_000_000.0, better="up", definition="Principal")
    assert not app.exception
    metric = app.metric[0]
    assert (metric.value, metric.delta) == ("$1.2 M", "+23 %")
    words = " ".join(one.value for one in app.caption)
    assert "$1,234,567.50" in words
    assert "Before: $1.0 M" in words


def test_a_number_card_says_whether_the_target_is_met_and_an_unknown_is_a_dash():
    app = card(value=0.42, unit="share", better="up", target=0.3)
    assert "check" in app.caption[0].value
    assert app.metric[0].delta == ""
    assert card(value=None, unit="count", other=3).metric[0].value == "–"


# --- what the ledger calls a thing ------------------------------------------------------------------------------------


def test_what_the_ledger_calls_a_thing_is_shown_in_the_viewers_language(monkeypatch):
    shown = {}
    for code in ("en", "es"):
        monkeypatch.setattr(i18n, "_default", code)
        shown[code] = value_names()
    same = {value for value, name in shown["es"].items() if name == shown["en"][value]}
    # Names of companies are the same in both; and an error is an error.
    assert same == {"oxxo", "spei", "geotab", "conekta", "metamap", "neon", "error"}
    assert value_name("barter") == "barter"
    assert value_name(None) is None


@pytest.mark.parametrize("code", ["en", "es"])
def test_a_meaning_keeps_its_colour_under_every_name(monkeypatch, code):
    monkeypatch.setattr(i18n, "_default", code)
    for value, name in value_names().items():
        if value in scales.COLOURS:
            assert scales.colours_of([name]) == [scales.COLOURS[value]]
    own = {"approved": "Aprobadas", "rejected": "Rechazadas"}
    assert scales.colours_of(list(own.values()), own) == [scales.COLOURS[value] for value in own]


def test_a_table_shows_statuses_by_name_and_nothing_for_no_text(monkeypatch):
    monkeypatch.setattr(i18n, "_default", "es")
    frame = pd.DataFrame({"status": ["active", None, "barter"], "payment_id": ["card", "b", "c"]})
    drawn = as_drawn(frame)
    assert drawn["status"].tolist() == ["Activo", "", "barter"]
    assert drawn["payment_id"].tolist() == ["card", "b", "c"]


def test_a_legend_of_long_names_is_whole_on_a_phone_and_beside_each_other_on_a_desk():
    names = [f"POST /applications/{{id}}/{word}" for word in ("decision", "documents", "signature")]
    made = pd.DataFrame({"day": DAYS[:1].repeat(3), "n": [1, 2, 3], "name": names})
    spec = charts.bars_over_time(made, x="day", y="n", unit="count", color="name", **T).chart.to_dict()

    def rows(width: int) -> int:
        svg = vl_convert.vegalite_to_svg({**spec, "width": width})
        places = (
            r'<g transform="translate\([\d.]+,([\d.]+)\)">(?:(?!<g transform).)*?role-legend-label.*?>(POST /[^<]*)<'
        )
        found = re.findall(places, svg)
        assert [name for _, name in found] == names
        return len({y for y, _ in found})

    assert rows(330) == 3
    assert rows(1000) == 1
