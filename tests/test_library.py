"""The query files and their parameters."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.errors import SourceError
from queries.ledger_client import _BIND
from queries.library import Param, Query, escape_label, escape_regex, load_queries, parse_query
from queries.metrics_client import fill_in

HEAD = """\
-- title: Decisions by day
-- description: A row is one day
--   and one segment.
-- param: day date -- the business day
-- param: tiers text[] = {} -- tiers; empty means all
-- param: as_of timestamptz = null
-- param: timezone text = $timezone
-- column: approved integer [count] -- approved applications
-- column: amount numeric [MXN]
-- ttl: 30
select 1
"""


@pytest.fixture
def decisions(tmp_path: Path) -> Query:
    path = tmp_path / "decisions.sql"
    path.write_text(HEAD)
    return parse_query(path, "ledger", "decisions")


def test_the_head_describes_the_query(decisions):
    assert decisions.title == "Decisions by day"
    assert decisions.description == "A row is one day and one segment."
    assert decisions.ttl == 30
    assert [(p.name, p.type, p.required) for p in decisions.params] == [
        ("day", "date", True),
        ("tiers", "text[]", False),
        ("as_of", "timestamptz", False),
        ("timezone", "text", False),
    ]
    assert decisions.columns[0].unit == "count"
    assert decisions.text == "select 1"


def test_parameters_come_checked_and_others_are_ignored(decisions):
    bound = decisions.bind({"day": "2026-01-31", "tiers": "AAA,B", "color": "red"}, {"timezone": "America/Mexico_City"})
    assert bound == {
        "day": date(2026, 1, 31),
        "tiers": ("AAA", "B"),
        "as_of": None,
        "timezone": "America/Mexico_City",
    }


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs the parameter day"),
        ({"day": "31/01/2026"}, "must be a date"),
        ({"day": date(2026, 1, 1), "as_of": "2026-01-01T00:00:00"}, "a time with its zone"),
        ({"day": date(2026, 1, 1), "tiers": 7}, "must be a list"),
    ],
)
def test_a_wrong_parameter_is_told_in_a_sentence_that_names_it(decisions, params, words):
    with pytest.raises(SourceError, match=words) as told:
        decisions.bind(params, {"timezone": "UTC"})
    assert told.value.kind == "bad_parameter"


@given(st.text())
def test_no_label_value_leaves_its_quotes(value):
    quoted = f'"{escape_label(value)}"'
    assert re.fullmatch(r'"([^"\\\n]|\\.)*"', quoted)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_an_escaped_regex_matches_only_its_text(value):
    pattern = escape_regex(value).replace("\\\\", "\\").replace('\\"', '"')
    assert re.fullmatch(pattern, value)


def test_a_list_of_labels_becomes_an_alternation_and_an_empty_one_matches_all():
    query = Query("q", "metrics", "", "", 'up{job=~"$jobs"}[$window]', params=(Param("jobs", "labels"),))
    assert fill_in(query, {"jobs": ("a.b", 'c"d')}, window=60) == 'up{job=~"a\\\\.b|c\\"d"}[60s]'
    assert fill_in(query, {"jobs": ()}, window=60) == 'up{job=~".*"}[60s]'


@pytest.mark.parametrize("own", ["with mine as (select 1)\nselect * from mine, cut", "select * from cut"])
def test_what_several_files_begin_with_stands_before_their_own(tmp_path, own):
    path = tmp_path / "q.sql"
    head = "-- title: T\n-- description: D\n-- with: {}\n"
    path.write_text(head.format("cut, pieces") + own + "\n")
    text = parse_query(path, "ledger", "q").text
    assert re.findall(r"^(?:with )?(\w+) as \(", text, re.M)[:5] == ["elapsed", "cut", "known", "nearest", "pieces"]
    assert text.startswith("with elapsed as (")
    assert re.sub(r"\s+", " ", text).endswith(
        (", " if "mine" in own else " ") + " ".join(own.removeprefix("with ").split())
    )
    path.write_text(head.format("nothing") + own)
    with pytest.raises(ValueError, match=r"q\.sql: there is no nothing\.sql in queries/with"):
        parse_query(path, "ledger", "q")


def test_numbers_with_decimals_stay_exact(tmp_path):
    query = Query("q", "ledger", "", "", "", params=(Param("amount", "numeric"),))
    assert query.bind({"amount": "0.10"}, {}) == {"amount": Decimal("0.10")}


@pytest.mark.parametrize("query", load_queries(), ids=lambda query: f"{query.source}:{query.name}")
def test_each_query_of_the_house_is_described_and_uses_what_it_declares(query):
    assert query.title
    assert query.description
    assert query.columns, "columns are declared, with units"
    if query.source == "ledger":
        code = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", query.text)
        used = set(_BIND.findall(code))
        assert used == {param.name for param in query.params}
        assert not re.search(r":\w+::", query.text), "cast(:name as type), for :name::type is not bound"
