"""Which segment moved a KPI: contributions add up, causes are found, and distances stay in proportion."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.kpis import Kpi, Reading, _begun, _parts, catalogue, contributions, load_catalogue
from queries.sources import Answer

DAY = pd.Timestamp("2026-03-10")
NORMALS = [DAY - pd.Timedelta(weeks=back) for back in (1, 2, 4)]


def frame(rows: list[tuple]) -> pd.DataFrame:
    """Rows (day, dimension, segment, numerator, denominator) with a total for each day, from the dimension `tier`."""
    parts = pd.DataFrame(rows, columns=["day", "dimension", "segment", "numerator", "denominator"])
    totals = parts[parts["dimension"] == "tier"].groupby("day", as_index=False)[["numerator", "denominator"]].sum()
    return pd.concat([totals.assign(dimension="all", segment="all"), parts]).astype(
        {"numerator": "float64", "denominator": "float64"}
    )


def totals_of(made: pd.DataFrame) -> tuple[float, float, float, float]:
    """Numerator and denominator of the day, and their means over the normal days."""
    total = made[made["dimension"] == "all"].set_index("day")
    usual = total[total.index != DAY].sum(numeric_only=True) / len(NORMALS)
    today = total[total.index == DAY].sum(numeric_only=True)
    return today["numerator"], today["denominator"], usual["numerator"], usual["denominator"]


@st.composite
def decided(draw) -> pd.DataFrame:
    """Approvals and rejections by tier on the day and its normal days, the rejections by reason as well."""
    rows = []
    for day in (DAY, *NORMALS):
        rejected = 0
        for tier in draw(st.sets(st.sampled_from(["AAA", "AA", "B", "new"]), min_size=1)):
            approved, refused = draw(st.integers(0, 40)), draw(st.integers(0, 40))
            rejected += refused
            rows.append((day, "tier", tier, approved, approved + refused))
        low = draw(st.integers(0, rejected))
        rows += [(day, "reason", "low_score", 0, low), (day, "reason", "documents", 0, rejected - low)]
    return frame(rows)


@settings(max_examples=60, deadline=None)
@given(decided())
def test_the_contributions_of_a_dimension_add_up_to_the_change_of_a_ratio(made):
    n1, d1, n0, d0 = totals_of(made)
    parts = contributions(made, DAY, NORMALS, ratio=True).groupby("dimension")["contribution"]
    if not (d1 and d0):
        assert parts.sum(min_count=1).isna().all()
        return
    assert parts.sum()["tier"] == pytest.approx(n1 / d1 - n0 / d0, abs=1e-9)
    # Where nobody was ever approved there is nobody without a reason, and nothing changed.
    assert parts.sum()["reason"] == pytest.approx(n1 / d1 - n0 / d0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(decided())
def test_the_contributions_of_a_dimension_add_up_to_the_change_of_a_sum(made):
    n1, _, n0, _ = totals_of(made)
    parts = contributions(made, DAY, NORMALS, ratio=False)
    assert parts[parts["dimension"] == "tier"]["contribution"].sum() == pytest.approx(n1 - n0)


def test_a_reason_that_doubles_explains_the_fall_of_the_approval_rate():
    rows = [(day, "tier", "AAA", 60, 100) for day in NORMALS] + [(DAY, "tier", "AAA", 40, 100)]
    rows += [(day, "reason", "low_score", 0, 20) for day in (DAY, *NORMALS)]
    rows += [(day, "reason", "documents", 0, 20) for day in NORMALS] + [(DAY, "reason", "documents", 0, 40)]
    parts = contributions(frame(rows), DAY, NORMALS, ratio=True).set_index(["dimension", "segment"])["contribution"]
    assert parts["reason", "documents"] == pytest.approx(-0.2)
    assert parts["reason", "low_score"] == pytest.approx(0)


def test_an_error_code_that_appears_explains_the_rise_of_an_error_rate():
    rows = [(day, "tier", "any", 1, 100) for day in NORMALS] + [(DAY, "tier", "any", 11, 100)]
    rows += [(day, "error", "E1", 1, 1) for day in (DAY, *NORMALS)] + [(DAY, "error", "E2", 10, 10)]
    parts = contributions(frame(rows), DAY, NORMALS, ratio=True).set_index(["dimension", "segment"])["contribution"]
    assert parts["error", "E2"] == pytest.approx(0.10)
    assert parts["error", "E1"] == pytest.approx(0)


def test_a_shift_towards_the_weaker_segment_is_found_though_each_rate_stays():
    rows = [(day, tier, segment, n, d) for day in NORMALS for tier, segment, n, d in MIX_BEFORE]
    rows += [(DAY, *one) for one in MIX_NOW]
    parts = contributions(frame(rows), DAY, NORMALS, ratio=True).set_index("segment")
    assert parts["contribution"].sum() == pytest.approx(0.62 - 0.74)
    assert (parts["contribution"] < 0).all()
    assert parts["value"].tolist() == pytest.approx(parts["normal"].tolist())


MIX_BEFORE = [("tier", "AAA", 72, 90), ("tier", "B", 2, 10)]
MIX_NOW = [("tier", "AAA", 56, 70), ("tier", "B", 6, 30)]


def test_a_total_without_parts_explains_nothing():
    made = frame([(DAY, "tier", "AAA", 1, 2)])
    assert contributions(made[made["dimension"] == "all"], DAY, NORMALS, ratio=True).empty


def test_a_cause_is_told_by_its_share_of_all_as_its_own_rate_says_nothing():
    rows = [(day, "tier", "AAA", 60, 100) for day in NORMALS] + [(DAY, "tier", "AAA", 50, 100)]
    rows += [(day, "reason", "low_score", 0, 40) for day in NORMALS] + [(DAY, "reason", "low_score", 0, 50)]
    parts = contributions(frame(rows), DAY, NORMALS, ratio=True).set_index("segment")
    assert parts.loc["low_score", ["value", "normal"]].tolist() == pytest.approx([0.5, 0.4])
    assert parts.loc["AAA", ["value", "normal"]].tolist() == pytest.approx([0.5, 0.6])


def test_the_parts_of_a_reading_tell_a_cause_by_its_share_of_all():
    raw = pd.DataFrame(
        [
            (DAY, "all", "all", 6, 10),
            (DAY, "tier", "AAA", 6, 8),
            (DAY, "tier", "(none)", 0, 2),
            (DAY, "reason", "low_score", 0, 3),
            (DAY, "reason", "(none)", 0, 1),
        ],
        columns=["day", "dimension", "segment", "approved", "decided"],
    )
    assert _parts(catalogue()["approval_rate"], raw)["value"].tolist() == pytest.approx([0.6, 0.75, 0, 0.3, 0.1])


# Readings ----------------------------------------------------------------------------------------------------------


def read(name: str, value, low: float, normal: float, high: float) -> Reading:
    moment = datetime(2026, 3, 10, 18, tzinfo=UTC)
    empty = pd.DataFrame({"day": [], "value": []})
    answer = Answer("ledger", "q", "q", "q", "select 1", {}, (), moment)
    return Reading(catalogue()[name], date(2026, 3, 10), value, normal, low, high, [], empty, empty, "normal", answer)


def test_the_distance_grows_from_one_at_the_edge_of_the_band():
    edge, beyond, far = (read("applications", value, 40, 50, 60).distance for value in (60, 61, 80))
    assert (edge, beyond, far) == pytest.approx((1, 1.1, 3))
    assert read("applications", 50, 40, 50, 60).distance == 0


def test_a_kpi_that_is_always_zero_does_not_lead_by_a_trifle():
    trifle = read("api_error_rate", 0.0001, 0.0, 0.0, 0.0)
    assert 1 < trifle.distance < 1.1
    assert read("api_error_rate", 0.05, 0.0, 0.0, 0.0).distance > 5


def test_an_unknown_value_or_band_has_no_distance():
    assert read("api_error_rate", None, 0.1, 0.2, 0.3).distance == 0
    assert read("api_error_rate", 0.1, math.nan, math.nan, math.nan).distance == 0


def test_the_time_before_the_ledger_begins_is_not_a_normal_day():
    days = pd.date_range("2026-03-01", periods=5)
    totals = pd.Series([0.0, 0.0, 7.0, 0.0, 9.0], index=days)
    assert _begun(catalogue()["applications"], totals).tolist() == [7.0, 0.0, 9.0], "a quiet day later on counts"
    assert _begun(catalogue()["applications"], totals * 0).empty
    assert len(_begun(catalogue()["api_error_rate"], totals)) == 5


# The catalogue -----------------------------------------------------------------------------------------------------

ENTRY = """
calls:
  label: {en: Calls, es: Llamadas}
  definition: {en: All calls., es: Todas las llamadas.}
  unit: count
  better: up
  source: ledger
  query: today/applications
  numerator: applications
  page: approvals
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{en: Calls, es: Llamadas}", "{en: Calls}", "calls is wrong at label.es"),
        ("today/applications", "today/nothing", "There is no ledger query named today/nothing"),
        ("numerator: applications", "numerator: sums", "no column sums"),
        ("numerator: applications", "note: x", "calls is wrong"),
        ("unit: count", "unit: pesos", "calls is wrong at unit"),
        ("source: ledger", "source: metrics", "names its metric query"),
        ("page: approvals", "page: approvals\n  pages: x", "calls is wrong at pages"),
        ("better: up", "better: {", "not YAML at line"),
        (ENTRY.strip(), "calls:", "calls has no fields"),
        (ENTRY.strip(), "", "defines no KPI"),
    ],
)
def test_a_wrong_catalogue_is_told_in_a_sentence_that_names_the_place(tmp_path, old, new, words):
    path = tmp_path / "catalogue.yaml"
    path.write_text(ENTRY.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=words) as told:
        load_catalogue(path)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


def test_the_catalogue_holds_the_kpis_of_the_today_page_in_both_languages():
    found = catalogue()
    assert len(found) == 12
    for kpi in found.values():
        assert isinstance(kpi, Kpi)
        for text in (kpi.label, kpi.definition):
            assert text.en.strip()
            assert text.es.strip()
            assert text.in_language("es-MX") == text.es
            assert text.in_language("en") == text.in_language("fr") == text.en
        assert kpi.definition.en.endswith(".")
        assert kpi.definition.es.endswith(".")
