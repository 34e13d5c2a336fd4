"""A page in sections: one is drawn, the link says which, and all of them stand below each other on request."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

import components

SCRIPT = """
import streamlit as st
from components import sections
section = sections({"rate": "Rate", "time": "Time", "money": "Money"}, headings=HEADINGS)
for name in ("rate", "time", "money"):
    if section(name):
        st.markdown(f"panel of {name}")
"""


def drawn(headings: bool = True, **asked: str) -> AppTest:
    components.set_default_language("en")
    app = AppTest.from_string(SCRIPT.replace("HEADINGS", repr(headings)), default_timeout=20)
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def panels(app: AppTest) -> list[str]:
    assert not app.exception
    return [one.value.removeprefix("panel of ") for one in app.markdown if one.value.startswith("panel of ")]


def test_the_first_section_alone_is_drawn_and_the_address_stays_bare():
    app = drawn()
    assert panels(app) == ["rate"]
    assert "section" not in app.query_params
    assert not app.subheader


@pytest.mark.parametrize("name", ["rate", "time", "money"])
def test_a_link_opens_its_section_and_no_other(name):
    assert panels(drawn(section=name)) == [name]


def test_all_sections_stand_below_each_other_with_their_names():
    app = drawn(section="all")
    assert panels(app) == ["rate", "time", "money"]
    assert [one.value for one in app.subheader] == ["Rate", "Time", "Money"]
    assert not drawn(headings=False, section="all").subheader


def test_another_choice_stands_in_the_address():
    app = drawn()
    app.button_group[0].set_value("money").run()
    assert panels(app) == ["money"]
    assert app.query_params["section"] in ("money", ["money"])


def test_a_link_to_no_section_shows_the_first_and_says_so():
    app = drawn(section="nothing")
    assert panels(app) == ["rate"]
    assert any("nothing" in one.value for one in app.warning)
