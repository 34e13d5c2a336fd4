"""A page in sections: one is drawn, the link says which, and all of them stand below each other on request."""

from __future__ import annotations

import ast
import dis
from types import CodeType

import pytest
from streamlit.testing.v1 import AppTest

import components
from tests.conftest import ROOT

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


def names_of(code: CodeType) -> tuple[set[str], set[str]]:
    """The names of the module that some code makes, and those that it or a function within it reads."""
    steps = list(dis.get_instructions(code))
    made = {step.argval for step in steps if step.opname == "STORE_NAME"}
    read = {step.argval for step in steps if step.opname in {"LOAD_NAME", "LOAD_GLOBAL"}}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            read |= names_of(inner)[1]
    return made, read


def is_section(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If) and isinstance(node.test, ast.Call) and ast.unparse(node.test).startswith("section(")
    )


@pytest.mark.parametrize("page", sorted(path.stem for path in (ROOT / "pages").glob("*.py")))
def test_a_section_needs_nothing_that_another_section_makes(page):
    """Only one of them is drawn."""
    body = ast.parse((ROOT / "pages" / f"{page}.py").read_text()).body
    known = {
        ast.unparse(node.test): names_of(compile(ast.Module(node.body, []), page, "exec"))
        for node in body
        if isinstance(node, ast.If) and is_section(node)
    }
    outside, _read = names_of(compile(ast.Module([node for node in body if not is_section(node)], []), page, "exec"))
    for name, (made, read) in known.items():
        elsewhere = set().union(*(others for other, (others, _) in known.items() if other != name))
        assert not read & (elsewhere - made - outside), name
