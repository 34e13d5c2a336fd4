"""The panel, the card, the downloads and the formats: what a viewer sees in each state."""

from __future__ import annotations

import csv
import io
import string
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

import components
import queries
from components import charts, i18n
from components.frame import FORMULA, to_csv, to_png, to_xlsx

ROOT = Path(__file__).resolve().parent.parent


def page(body: str) -> AppTest:
    """A page whose frames carry a stamp, as the sources would give it."""
    head = """
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
import pandas as pd
import streamlit as st
import components
from components import Card, Figure, kpi_card, line, panel

components.set_default_language("en")

class Told(Exception):
    def __init__(self, sentence, kind="down"):
        super().__init__(sentence)
        self.sentence, self.kind = sentence, kind

def frame(age=5, **stamp):
    made = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=3), "value": [1.0, 2.0, 3.0]})
    known = dict(source="ledger", name="q", title="Q", description="d", text="select 1", params={}, columns=(),
                 as_of=datetime.now(UTC) - timedelta(seconds=age), cached=False, stale=False, error=None, warnings=())
    made.attrs["answer"] = SimpleNamespace(**{**known, **stamp})
    return made

def chart(made, title="Chart"):
    return line(made, x="day", y="value", unit="count", title=title)
"""
    return AppTest.from_string(head + body, default_timeout=20).run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption])


def test_a_panel_shows_its_title_and_the_age_of_its_data():
    app = page('@panel("Approvals")\ndef approvals():\n    return chart(frame(age=125))\n')
    assert not app.exception
    assert "**Approvals**" in words(app)
    assert "2 min ago" in words(app)


def test_a_panel_that_fails_says_one_sentence_with_a_retry_and_its_neighbour_is_drawn():
    app = page(
        '@panel("One")\ndef one():\n    raise Told("The ledger cannot be reached.")\n'
        '@panel("Two")\ndef two():\n    return chart(frame(age=65))\n'
    )
    assert not app.exception
    assert "The ledger cannot be reached." in words(app)
    assert [button.label for button in app.button] == ["Retry"]
    assert "1 min ago" in words(app)


def test_a_retry_asks_again():
    app = page(
        '@panel("One")\ndef one():\n'
        '    st.session_state.tries = st.session_state.get("tries", 0) + 1\n'
        '    if st.session_state.tries == 1:\n        raise Told("The ledger cannot be reached.")\n'
        "    return chart(frame(age=65))\n"
    )
    app.button[0].click().run()
    assert "1 min ago" in words(app)
    assert not app.button


def test_an_unforeseen_error_gives_nothing_away_and_reaches_the_host(monkeypatch):
    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(components.frame._hooks, "failure", lambda key, error: heard.append((key, str(error))))
    app = page('@panel("One")\ndef one():\n    raise RuntimeError("password=hidden")\n')
    assert "could not be drawn" in words(app)
    assert "hidden" not in words(app)
    assert heard == [("one", "password=hidden")]


def test_what_is_not_configured_is_a_quiet_line_without_a_button():
    app = page('@panel("One")\ndef one():\n    raise Told("Set MIRADOR_PROMETHEUS_URL.", "not_configured")\n')
    assert "Set MIRADOR_PROMETHEUS_URL." in words(app)
    assert not app.button


def test_the_last_good_data_is_labelled_with_its_age_and_the_reason():
    app = page(
        '@panel("One")\ndef one():\n'
        '    return chart(frame(age=300, cached=True, stale=True, error="The ledger cannot be reached."))\n'
    )
    assert "Last good data, 5 min old: The ledger cannot be reached." in words(app)


def test_a_warning_of_prometheus_is_shown():
    app = page('@panel("One")\ndef one():\n    return chart(frame(warnings=("results truncated",)))\n')
    assert "results truncated" in words(app)


def test_an_empty_answer_says_so():
    app = page('@panel("One")\ndef one():\n    return chart(frame().head(0))\n')
    assert "No data for this choice" in words(app)


@pytest.mark.parametrize(
    ("state", "colour"), [("good", "green"), ("bad", "red"), ("normal", "gray"), ("unknown", "gray")]
)
def test_a_card_has_the_colour_of_its_state(state, colour):
    app = page(
        f'kpi_card("Rate", lambda: Card(value=0.5, unit="share", state="{state}", data=frame(), definition="d",'
        ' normal=0.4, low=0.3, high=0.45, target=0.3, target_met=True, history=[0.1, 0.2]), key="rate")\n'
    )
    assert not app.exception
    metric = app.metric[0]
    assert (metric.value, metric.delta) == ("50.0 %", "+10.0 pp")
    assert Metric.MetricColor.Name(metric.proto.color) == colour.upper()
    assert "Normal 40.0 % (30.0–45.0)" in words(app)


def test_a_card_without_a_value_shows_a_dash_not_a_zero():
    app = page(
        'kpi_card("Rate", lambda: Card(value=None, unit="share", state="unknown", data=frame(), definition="d"),'
        ' key="rate")\n'
    )
    assert app.metric[0].value == i18n.UNKNOWN


def test_the_exact_amount_stands_on_the_card_beside_the_short_one():
    app = page(
        "from decimal import Decimal\n"
        'kpi_card("Amount", lambda: Card(value=Decimal("3269000.10"), unit="mxn", state="normal", data=frame(),'
        ' definition="d", normal=3e6, low=2e6, high=4e6), key="amount")\n'
    )
    assert app.metric[0].value == "$3.3 M"
    assert "$3,269,000.10" in words(app)


# --- downloads --------------------------------------------------------------------------------------------------------

cells = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    ["=1+1", "+52", "-x", "@cmd", "\tx", "\rx", "=HYPERLINK(0)"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cells, st.integers(-(10**9), 10**9)), min_size=1, max_size=5))
def test_no_cell_of_a_download_is_a_formula_and_numbers_stay_numbers(rows):
    frame = pd.DataFrame(rows, columns=["=name", "n"])
    frame["amount"] = [Decimal(n) / 100 for _, n in rows]
    read = list(csv.reader(io.StringIO(to_csv(frame).decode("utf-8-sig"), newline="")))
    assert read[0] == ["'=name", "n", "amount"]
    for (_, n), row in zip(rows, read[1:], strict=True):
        assert not row[0].startswith(FORMULA)
        assert (int(row[1]), Decimal(row[2])) == (n, Decimal(n) / 100)


def test_a_spreadsheet_holds_texts_as_texts_and_money_as_numbers():
    frame = pd.DataFrame({"name": ["=1+1", "ok"], "amount": [Decimal("0.10"), Decimal("-2.00")]})
    sheet = openpyxl.load_workbook(io.BytesIO(to_xlsx(frame, "A/B: the title"))).active
    values = list(sheet.iter_rows(values_only=True))
    assert values == [("name", "amount"), ("'=1+1", 0.1), ("ok", -2)]
    assert sheet["A2"].data_type == "s"


@pytest.mark.parametrize("dark", [False, True])
def test_each_chart_becomes_a_picture(dark):
    days = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=3), "tier": list("ABA"), "value": [1.0, 2.0, 3.0]})
    curve = pd.DataFrame({"minute": [15, 30], "value": [1.0, None], "normal": [1, 2], "low": [0, 1], "high": [2, 3]})
    for figure in (
        charts.line(days, x="day", y="value", unit="mxn", title="t", color="tier"),
        charts.bar(days, x="tier", y="value", unit="count", title="t"),
        charts.band(curve, x="minute", unit="share", title="t"),
    ):
        assert to_png(figure.chart, "t", dark=dark).startswith(b"\x89PNG")


def test_a_name_that_nobody_foresaw_is_grey():
    scale = charts.colour_scale(["AAA", "platinum"])
    assert scale.range == [charts.COLOURS["AAA"], charts.GREY]


# --- languages --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["es", "en"])
def spoken(request):
    i18n.set_default_language(request.param)
    yield request.param
    i18n.set_default_language(None)


def test_formats_in_both_languages(spoken):
    assert i18n.money(Decimal("1234567.89")) == "$1,234,567.89"
    assert i18n.short_money(1_234_567) == "$1.2 M"
    assert i18n.short_money(-350_000) == "-$350 k"
    assert i18n.percent(0.1234) == "12.3 %"
    assert i18n.percent(0.00256) == "0.26 %"
    assert i18n.number(None) == i18n.percent(float("nan")) == i18n.UNKNOWN
    assert i18n.duration(0.186) == "186 ms"
    assert i18n.age(125) == "2 min"
    day = {"es": "martes 24 de noviembre", "en": "Tuesday 24 November"}
    assert i18n.day_name(date(2026, 11, 24)) == day[spoken]


def marked_texts() -> set[str | tuple[str, str]]:
    found: set[str | tuple[str, str]] = set()
    for folder in ("app", "pages", "components"):
        for _file, _line, message, _comments, _context in extract_from_dir(
            ROOT / folder, [("**.py", "python")], keywords={"_": None, "ngettext": (1, 2)}
        ):
            found.add(message)
    for query in queries.load_queries():
        found |= {query.title, query.description}
    return found


def test_every_text_speaks_spanish_with_the_same_blanks():
    spanish: dict[str | tuple[str, str], str | tuple[str, str]] = {}
    for part in (ROOT / "locale/es/LC_MESSAGES").glob("*.po"):
        with part.open("rb") as file:
            spanish |= {message.id: message.string for message in read_po(file) if message.id}
    missing = [text for text in marked_texts() if not spanish.get(text)]
    assert not missing
    for text, said in spanish.items():
        one, other = (text, said) if isinstance(text, str) else (text[0], said[0])
        assert sorted(blanks(one)) == sorted(blanks(other)), text


def blanks(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text.replace("{}", "")) if name]


def test_the_age_of_data_is_never_negative():
    assert i18n.age((datetime.now(UTC) - (datetime.now(UTC) + timedelta(seconds=5))).total_seconds()) == "0 s"
