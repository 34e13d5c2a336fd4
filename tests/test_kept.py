"""What was drawn once stands: a figure is known by its data, its words and its looks, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import altair as alt
import pandas as pd
import pytest
from cachetools import LRUCache
from hypothesis import given
from hypothesis import strategies as st

from components import kept as house
from components.charts import bars_over_time, line
from components.drill import Drill
from components.frame import Figure, to_png
from components.kept import Drawing, _key


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script run, with nothing kept yet."""
    monkeypatch.setattr(house, "get_script_run_ctx", lambda suppress_warning: SimpleNamespace())
    monkeypatch.setattr(house, "is_dark", lambda: False)
    monkeypatch.setattr(house, "language", lambda: "en")
    house._figures.clear()


def frame(last: float = 3.0, **stamp: Any) -> pd.DataFrame:
    data = pd.DataFrame(
        {"day": pd.date_range("2026-11-01", periods=3), "n": [1.0, 2.0, last], "tier": ["A", "B", None]}
    )
    data.attrs["answer"] = SimpleNamespace(as_of=datetime.now(UTC), **stamp)
    return data


def drawn(data: pd.DataFrame, **options: Any) -> Figure:
    return line(data, x="day", y="n", unit="count", title="Credits", **options)


def under_streamlit(chart: Any) -> dict[str, Any]:
    """The specification as Streamlit asks for it: the data put aside under a name."""
    found: dict[str, Any] = {}

    def aside(data: Any, datasets: dict[str, Any]) -> dict[str, str]:
        import streamlit.dataframe_util as util

        content = util.convert_anything_to_arrow_bytes(data)
        name = f"d{len(datasets)}"
        datasets[name] = content
        return {"name": name}

    alt.data_transformers.register("aside", aside)
    with alt.data_transformers.enable("aside", datasets=found):
        spec = chart.to_dict()
    return {**spec, "datasets": {**spec.get("datasets", {}), **found}}


def test_the_same_data_is_drawn_once_and_carries_its_newest_stamp(drawing):
    first = drawn(frame(round=1))
    again = drawn(frame(round=2))
    assert again.chart is first.chart
    assert again.data.attrs["answer"].round == 2
    assert again.data.equals(first.data)


def test_what_was_handed_out_can_be_changed_without_harm(drawing):
    mine = drawn(frame()).data
    mine.loc[0, "n"] = 99.0
    assert drawn(frame()).data["n"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "other",
    [
        lambda: drawn(frame(4.0)),
        lambda: line(frame(), x="day", y="n", unit="count", title="More"),
        lambda: drawn(frame(), target=(2.0, "Target")),
        lambda: drawn(frame(), drill=Drill("rows/credits", by={"first": "day"})),
        lambda: drawn(frame(), compare=frame(5.0)),
        lambda: bars_over_time(frame(), x="day", y="n", unit="count", title="Credits"),
        lambda: drawn(frame().astype({"n": "int64"})),
    ],
)
def test_another_picture_is_drawn_anew(drawing, other):
    assert other().chart is not drawn(frame()).chart


@pytest.mark.parametrize(("looks", "value"), [("is_dark", True), ("language", "es")])
def test_each_theme_and_language_has_its_own(drawing, monkeypatch, looks, value):
    first = drawn(frame())
    monkeypatch.setattr(house, looks, lambda: value)
    assert drawn(frame()).chart is not first.chart


def test_what_a_click_opens_is_the_viewers_own(drawing):
    first = drawn(frame(), drill=Drill("rows/credits", {"tiers": ("A",)}, by={"first": "day"}))
    again = drawn(frame(), drill=Drill("rows/credits", {"tiers": ("B",)}, by={"first": "day"}))
    assert again.chart is first.chart
    assert again.drill.params == {"tiers": ("B",)}


def test_the_specification_is_the_one_that_was_made_and_stays_it(drawing):
    plain = line.__wrapped__(frame(), x="day", y="n", unit="count", title="Credits")
    wanted = under_streamlit(Drawing(plain.chart))
    chart = drawn(frame()).chart
    for _ in range(3):
        spec = under_streamlit(chart)
        # Streamlit takes the data out of what it is given.
        assert spec["datasets"].keys() == wanted["datasets"].keys()
        assert {k: v for k, v in spec.items() if k != "datasets"} == {
            k: v for k, v in wanted.items() if k != "datasets"
        }
        spec["datasets"].clear()
        spec["layer"].clear()


def test_a_kept_picture_can_be_saved(drawing):
    chart = drawn(frame()).chart
    before = to_png(chart, "Credits", dark=False)
    under_streamlit(chart)
    after = to_png(chart, "Credits", dark=False)
    assert after[:8] == b"\x89PNG\r\n\x1a\n"
    assert after == before


def test_outside_a_page_nothing_is_kept():
    house._figures.clear()
    assert not isinstance(drawn(frame()).chart, Drawing)
    assert len(house._figures) == 0


def test_an_empty_picture_is_not_kept(drawing):
    assert drawn(frame().iloc[:0]).chart is None
    assert len(house._figures) == 0


def test_what_is_kept_is_bounded_and_the_oldest_picture_goes(drawing, monkeypatch):
    monkeypatch.setattr(house, "_figures", LRUCache(1_000_000, getsizeof=house._size))
    first = drawn(frame(0.0)).chart
    for number in range(1, 20):
        under_streamlit(drawn(frame(float(number))).chart)
    assert 0 < len(house._figures) < 20
    assert house._figures.currsize <= house._figures.maxsize
    assert drawn(frame(19.0)).chart is drawn(frame(19.0)).chart
    assert drawn(frame(0.0)).chart is not first


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.decimals())
cells = st.lists(values, max_size=4)


@given(cells, cells)
def test_two_frames_have_one_key_only_when_they_hold_the_same(one, other):
    def key(items: list[Any]) -> bytes:
        return _key("line", (pd.DataFrame({"x": pd.Series(items, dtype=object)}),), {})

    assert (key(one) == key(other)) == (repr(one) == repr(other))
