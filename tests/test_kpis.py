"""KPIs on planted ledgers: the band of normal days, what moved and why, the day's curve, exact money, lost sources."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

import components
import queries
from app import movements
from demo.servers import free_port
from queries import Prometheus, SourceError, Sources, kpis, normal_days
from queries.kpis import LEAST_NORMAL_DAYS, contributions, load_catalogue
from tests.test_today_queries import HOUR, LATER, Ledger, midnight, row

# A Wednesday between two paydays, with eight normal days.
DAY = date(2026, 1, 21)
NORMALS = normal_days(DAY)
EVENING = midnight(DAY) + LATER
TIERS = ("AAA", "AA", "B")


@pytest.fixture(scope="module")
def filled(module_ledger_url):
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()

    def fill(**rows: list[SimpleNamespace]) -> None:
        queries.connect(Sources(ledger_url=module_ledger_url.reader))
        Ledger(owner).fill(rows)
        kpis._computed.clear()

    yield fill
    queries.disconnect()
    owner.close()
    engine.dispose()


def decided(day: date, tier: str | None, approved: int, rejected: int, reason: str | None = None):
    noon = midnight(day) + 12 * HOUR
    common = {"submitted_at": noon - HOUR, "decided_at": noon, "sinosure_tier": tier}
    return [row(**common, status="approved") for _ in range(approved)] + [
        row(**common, status="rejected", rejection_reason=reason) for _ in range(rejected)
    ]


def usual_decisions(days: list[date] = NORMALS) -> list[SimpleNamespace]:
    """Twenty decisions a day and tier, twelve or so approved."""
    return [
        one
        for number, day in enumerate(days)
        for tier in TIERS
        for one in decided(day, tier, 12 + number % 2, 8 - number % 2)
    ]


# What moved --------------------------------------------------------------------------------------------------------


def test_a_fall_of_the_approval_rate_names_the_tier_that_was_planted_as_its_cause(filled):
    today = decided(DAY, "AAA", 12, 8) + decided(DAY, "AA", 12, 8) + decided(DAY, "B", 2, 18)
    filled(applications=usual_decisions() + today)
    moved = queries.what_moved(DAY, EVENING)
    assert [one.reading.kpi.name for one in moved] == ["approval_rate"]
    found = moved[0]
    assert found.reading.state == "bad"
    assert found.reading.distance > 1
    assert (found.dimension, found.segment) == ("tier", "B")
    assert found.contribution < 0
    assert found.segment_value == pytest.approx(2 / 20)
    assert found.segment_normal == pytest.approx(12.5 / 20)


def test_a_fall_of_the_approval_rate_names_the_reason_that_was_planted_as_its_cause(filled):
    usual = [one for day in NORMALS for tier in TIERS for one in _reasons(day, tier, documents=4, low_score=4)]
    today = [one for tier in TIERS for one in _reasons(DAY, tier, documents=11, low_score=4)]
    filled(applications=usual + today)
    (found,) = queries.what_moved(DAY, EVENING)
    assert (found.reading.kpi.name, found.dimension, found.segment) == ("approval_rate", "reason", "documents")


def _reasons(day: date, tier: str, **rejected: int) -> list[SimpleNamespace]:
    refused = [one for reason, number in rejected.items() for one in decided(day, tier, 0, number, reason)]
    return decided(day, tier, 20 - len(refused), 0) + refused


def test_a_rise_of_the_errors_names_the_integration_that_failed(filled):
    def calls(day: date, name: str, failed: int, good: int) -> list[SimpleNamespace]:
        noon = midnight(day) + 12 * HOUR
        statuses = ["error"] * failed + ["success"] * good
        return [row(called_at=noon, integration=name, status=status) for status in statuses]

    usual = [one for day in NORMALS for name in ("geotab", "conekta", "neon") for one in calls(day, name, 1, 39)]
    today = calls(DAY, "geotab", 1, 39) + calls(DAY, "conekta", 20, 20) + calls(DAY, "neon", 0, 40)
    filled(integration_calls=usual + today)
    (found,) = queries.what_moved(DAY, EVENING)
    assert (found.reading.kpi.name, found.segment) == ("integration_error_rate", "conekta")
    assert found.reading.state == "bad"


def test_a_rise_of_the_money_disbursed_names_its_tier_and_is_good(filled):
    def credits(day: date, tier: str, principal: str) -> list[SimpleNamespace]:
        at = midnight(day) + 12 * HOUR
        paid_off = {"status": "paid", "closed_at": at + HOUR}
        return [row(disbursed_at=at, sinosure_tier=tier, principal=Decimal(principal), **paid_off) for _ in range(5)]

    usual = [one for day in NORMALS for tier in TIERS for one in credits(day, tier, "100.10")]
    today = credits(DAY, "AAA", "100.10") + credits(DAY, "AA", "900.10") + credits(DAY, "B", "90.10")
    filled(credits=usual + today)
    (found,) = queries.what_moved(DAY, EVENING)
    assert (found.reading.kpi.name, found.segment, found.reading.state) == ("disbursed_mxn", "AA", "good")
    assert found.contribution == pytest.approx(4000)


def test_a_day_like_its_normal_days_has_nothing_that_moved(filled):
    filled(applications=usual_decisions([*NORMALS, DAY]))
    assert queries.what_moved(DAY, EVENING) == []


def test_a_total_that_moved_without_parts_names_no_segment(filled):
    usual = [one for day in NORMALS for one in decided(day, None, 12, 8)]
    filled(applications=usual + decided(DAY, None, 2, 18))
    (found,) = queries.what_moved(DAY, EVENING)
    assert (found.dimension, found.segment) == (None, None)
    assert found.contribution == pytest.approx(0.1 - 0.6)


COUNTS = st.tuples(st.integers(0, 4), st.integers(0, 4))
PLANTED = st.dictionaries(
    st.tuples(st.sampled_from([DAY, *NORMALS[:3]]), st.sampled_from([*TIERS, None])), COUNTS, max_size=10
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(planted=PLANTED)
def test_the_contributions_of_each_dimension_of_a_ledger_add_up_to_the_change_of_the_total(filled, planted):
    filled(applications=[one for (day, tier), counts in planted.items() for one in decided(day, tier, *counts, "r")])
    days = NORMALS[:3]
    raw = queries.ledger("today/decisions", {"day": DAY, "days": (DAY, *days), "as_of": EVENING})

    def total(of: list[date], place: int | None) -> float:
        chosen = [counts for (day, _), counts in planted.items() if day in of]
        return sum(sum(counts) if place is None else counts[place] for counts in chosen)

    for ratio in (True, False):
        frame = pd.DataFrame({name: raw[name] for name in ("day", "dimension", "segment")})
        frame["numerator"] = raw["approved"].astype("float64")
        frame["denominator"] = raw["decided"].astype("float64") if ratio else 1.0
        found = contributions(frame, pd.Timestamp(DAY), [pd.Timestamp(day) for day in days], ratio=ratio)
        if not ratio:
            change = total([DAY], 0) - total(days, 0) / len(days)
            # The reasons are of the rejected alone, none of which is approved.
            changes = {"tier": change, "reason": 0.0}
        elif total([DAY], None) and total(days, None):
            change = total([DAY], 0) / total([DAY], None) - total(days, 0) / total(days, None)
            changes = {"tier": change, "reason": change}
        else:
            assert found["contribution"].isna().all()
            continue
        for dimension, parts in found.groupby("dimension"):
            assert parts["contribution"].sum() == pytest.approx(changes[str(dimension)], abs=1e-9)


# Readings ----------------------------------------------------------------------------------------------------------


def test_a_band_needs_four_normal_days(filled):
    for number in (LEAST_NORMAL_DAYS - 1, LEAST_NORMAL_DAYS):
        days = NORMALS[:number]
        filled(applications=usual_decisions(days) + decided(DAY, "B", 0, 60))
        found = queries.reading("approval_rate", DAY, EVENING)
        assert found.value == 0
        assert found.state == ("bad" if number >= LEAST_NORMAL_DAYS else "unknown")
        assert math.isnan(found.normal) == (number < LEAST_NORMAL_DAYS)
        assert (found.distance > 1) == (number >= LEAST_NORMAL_DAYS)
        assert bool(queries.what_moved(DAY, EVENING)) == (number >= LEAST_NORMAL_DAYS)


def test_the_band_is_the_median_and_the_tenth_and_ninetieth_percentile_of_the_normal_days(filled):
    counts = dict(zip(NORMALS, (5, 7, 9, 11, 13, 15, 17, 19), strict=True))
    planted = [one for day, number in counts.items() for one in decided(day, "B", number, 0)]
    filled(applications=planted + decided(DAY, "B", 12, 0) + decided(DAY - timedelta(days=1), "B", 99, 0))
    found = queries.reading("applications", DAY, EVENING)
    assert (found.value, type(found.value)) == (12, int)
    assert (found.normal, found.low, found.high) == (12, pytest.approx(6.4), pytest.approx(17.6))
    assert found.state == "normal"
    assert sorted(found.normal_days) == sorted(NORMALS)
    history = dict(zip(found.history["day"].dt.date, found.history["value"], strict=True))
    assert len(history) == 14
    assert list(history)[-1] == DAY
    assert history[DAY] == 12
    assert history[DAY - timedelta(days=1)] == 99
    assert history[DAY - timedelta(days=2)] == 0


def test_a_ratio_of_nothing_over_nothing_is_unknown(filled):
    filled(applications=usual_decisions())
    for name in ("approval_rate", "payment_success", "hase_mean", "disbursed_48h", "integration_error_rate"):
        found = queries.reading(name, DAY, EVENING)
        assert found.value is None, name
        assert found.state == "unknown", name
        assert found.distance == 0, name


def test_an_empty_ledger_reads_as_zeros_and_unknowns_and_nothing_moved(filled):
    filled()
    for name, kpi in queries.catalogue().items():
        if kpi.source == "ledger":
            found = queries.reading(name, DAY, EVENING)
            assert found.value == (None if kpi.denominator else 0), name
            assert found.state == "unknown", name
    assert queries.what_moved(DAY, EVENING) == []
    assert queries.intraday("applications", DAY, EVENING)["value"].eq(0).all()


def test_that_nothing_moved_is_said_of_every_kpi_only_where_each_was_compared():
    def told(states: list[str], silent: list[str] | None = None) -> str:
        return movements.nothing_moved([SimpleNamespace(state=state) for state in states], silent or [])

    components.set_default_language("en")
    assert told(["normal", "normal"]) == "Every KPI is within its normal band."
    assert told(["normal", "normal", "unknown"]).startswith("2 of 3 KPIs can be compared, and they are")
    assert told(["normal", "normal"], ["applications"]).startswith("2 of 3 KPIs can be compared")
    assert told(["normal", "unknown", "unknown"]).startswith("1 of 3 KPIs can be compared, and it is")
    assert told(["unknown"], ["applications"]) == "Nothing can be compared with normal days."


def test_what_does_not_answer_is_named_and_takes_nobody_along(filled):
    filled()
    readings, silent = queries.read_all(DAY)
    ledger = {name for name, kpi in queries.catalogue().items() if kpi.source == "ledger"}
    assert {one.kpi.name for one in readings} == ledger
    assert set(silent) == set(queries.catalogue()) - ledger


CENTAVOS = st.lists(st.integers(0, 10**13), min_size=1, max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(centavos=CENTAVOS)
def test_an_amount_is_the_exact_sum_of_its_rows(filled, centavos):
    principals = [Decimal(cents) / 100 for cents in centavos]
    at = midnight(DAY) + 12 * HOUR
    filled(credits=[row(disbursed_at=at, principal=principal) for principal in principals])
    value = queries.reading("disbursed_mxn", DAY, EVENING).value
    assert isinstance(value, Decimal)
    assert value == sum(principals)


def test_a_day_so_far_is_compared_with_normal_days_so_far(filled):
    planted = []
    for day in [*NORMALS, DAY]:
        early, late = decided(day, "B", 3, 0), decided(day, "B", 5, 0)
        for one in late:
            one.submitted_at = midnight(day) + 20 * HOUR
        planted += early + late
    filled(applications=planted)
    found = queries.reading("applications", DAY, midnight(DAY) + 15 * HOUR)
    assert (found.value, found.normal, found.state) == (3, 3, "normal")
    assert queries.reading("applications", DAY, EVENING).value == 8


# The day's curve ---------------------------------------------------------------------------------------------------


def test_the_running_total_of_the_day_ends_at_its_count(filled):
    moments = [midnight(DAY) + timedelta(minutes=minutes) for minutes in (0, 14, 15, 600, 601, 1439)]
    filled(applications=[row(submitted_at=at) for at in moments])
    frame = queries.intraday("applications", DAY, EVENING).set_index("minute")["value"]
    assert list(frame.index) == list(range(15, 1441, 15))
    assert [frame[minute] for minute in (15, 30, 600, 615, 1425, 1440)] == [2, 3, 3, 5, 5, 6]
    assert frame.iloc[-1] == queries.reading("applications", DAY, EVENING).value


def test_the_running_total_ends_at_the_quarter_that_is_under_way(filled):
    now = midnight(DAY) + 10 * HOUR + timedelta(minutes=7)
    rows = [row(submitted_at=midnight(day) + 10 * HOUR + timedelta(minutes=5)) for day in [*NORMALS, DAY]]
    filled(applications=rows)
    frame = queries.intraday("applications", DAY, now).set_index("minute")
    assert frame["value"].last_valid_index() == 615
    assert frame["value"][615] == queries.reading("applications", DAY, now).value == 1
    assert frame["normal"][1440] == 1, "the normal days are drawn to their end"


def test_the_curve_has_a_band_from_four_normal_days_on(filled):
    for number in (LEAST_NORMAL_DAYS - 1, LEAST_NORMAL_DAYS):
        at = [midnight(day) + 12 * HOUR for day in [*NORMALS[:number], DAY]]
        filled(credits=[row(disbursed_at=moment, principal=Decimal("10.50")) for moment in at])
        frame = queries.intraday("disbursed_mxn", DAY, EVENING)
        assert frame["normal"].notna().all() == (number >= LEAST_NORMAL_DAYS)
        assert frame["value"].iloc[-1] == 10.5


# Sources that cannot answer, and a wrong catalogue -----------------------------------------------------------------


def test_metrics_that_are_down_leave_the_ledgers_kpis_standing(filled, module_ledger_url):
    today = decided(DAY, "AAA", 12, 8) + decided(DAY, "AA", 12, 8) + decided(DAY, "B", 2, 18)
    filled(applications=usual_decisions() + today)
    nobody = Prometheus(f"http://127.0.0.1:{free_port()}")
    queries.connect(Sources(ledger_url=module_ledger_url.reader, prometheus=nobody, connect_timeout=1))
    found = queries.reading("approval_rate", DAY, EVENING)
    assert found.value == pytest.approx(26 / 60)
    assert (found.metric_value, found.metric_gap) == (None, None)
    with pytest.raises(SourceError) as told:
        queries.reading("api_error_rate", DAY, EVENING)
    assert told.value.source == "metrics"
    assert [one.reading.kpi.name for one in queries.what_moved(DAY, EVENING)] == ["approval_rate"]


def test_when_no_source_answers_what_moved_says_so():
    queries.connect(Sources(ledger_url=f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none", connect_timeout=1))
    with pytest.raises(SourceError):
        queries.what_moved(DAY, EVENING)


def test_each_kpi_of_the_catalogue_is_told_in_both_languages_and_points_to_existing_queries():
    for name, kpi in queries.catalogue().items():
        for text in (kpi.label, kpi.definition):
            assert text.in_language("en").strip(), name
            assert text.in_language("es-MX").strip(), name
        assert kpi.intraday is None or kpi.intraday in {
            column.name for column in queries.find_query("ledger", "today/intraday").columns
        }


GOOD = """\
calls:
  label: {en: Calls, es: Llamadas}
  definition: {en: All calls., es: Todas las llamadas.}
  unit: count
  better: up
  source: ledger
  query: today/integration_calls
  numerator: calls
  page: integrations
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("unit: count", "unit: pesos"), "calls is wrong at unit"),
        (GOOD.replace("numerator: calls", "numerator: call"), "has no column call"),
        (GOOD.replace("numerator: calls", "nominator: calls"), "calls is wrong"),
        (GOOD.replace("today/integration_calls", "today/nowhere"), "today/nowhere"),
        (GOOD.replace("es: Llamadas", "fr: Appels"), "calls is wrong at label"),
        ("calls: [", "is not YAML"),
        ("", "defines no KPI"),
    ],
)
def test_a_wrong_catalogue_is_told_in_one_sentence(tmp_path, text, told):
    file = tmp_path / "catalogue.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match="catalogue") as error:
        load_catalogue(file)
    sentence = str(error.value)
    assert told in sentence
    assert "\n" not in sentence
    assert sentence.startswith("The catalogue")
    assert sentence.endswith(".")


def test_a_catalogue_that_is_right_is_read(tmp_path):
    file = tmp_path / "catalogue.yaml"
    file.write_text(GOOD)
    assert list(load_catalogue(file)) == ["calls"]
