"""The pages of a credit and of a driver: their numbers against the same ones worked out from raw rows, and as drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser
from sqlalchemy import Engine, create_engine, text
from streamlit.testing.v1 import AppTest

import queries
from components import timeline
from queries.stories import KINDS, late_by_month, story
from tests.conftest import ROOT
from tests.dashboard import chromium, chromium_path, serve, viewer

ZONE = ZoneInfo("America/Mexico_City")
TODAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 15, tzinfo=ZONE)
LONG_AGO = datetime(2026, 1, 2, 16, tzinfo=UTC)
TABLES = ("applications", "credits", "installments", "payments", "hase_scores", "integration_calls")
CENTAVO = Decimal("0.01")


def at(day: date, clock: time = time(12)) -> datetime:
    return datetime.combine(day, clock, ZONE)


class Ledger:
    """A small ledger that a test writes row by row."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url)

    def empty(self) -> None:
        with self.engine.begin() as owner:
            owner.execute(text("truncate " + ", ".join(f"bi.{name}" for name in TABLES)))

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        with self.engine.begin() as owner:
            for row in rows:
                names = ", ".join(row)
                owner.execute(
                    text(f"insert into bi.{table} ({names}) values ({', '.join(f':{name}' for name in row)})"), row
                )

    def application(self, number: str, driver: str = "D1", **more: Any) -> None:
        row = {
            "application_id": number,
            "conductor_id": driver,
            "submitted_at": LONG_AGO,
            "amount_requested": Decimal("1500.00"),
            "hase_score": 74,
            "sinosure_tier": "A",
            "status": "approved",
            "decided_at": LONG_AGO + timedelta(hours=2),
            "updated_at": LONG_AGO,
        }
        self.put("applications", {**row, **more})

    def credit(self, number: str, application: str = "A1", driver: str = "D1", **more: Any) -> None:
        row = {
            "credit_id": number,
            "application_id": application,
            "conductor_id": driver,
            "sinosure_tier": "A",
            "principal": Decimal("1000.00"),
            "approved_at": LONG_AGO + timedelta(hours=2),
            "disbursed_at": LONG_AGO + timedelta(hours=9),
            "disbursement_status": "settled",
            "status": "active",
            "updated_at": LONG_AGO,
        }
        self.put("credits", {**row, **more})

    def installments(self, credit: str, plan: list[tuple[date, Decimal, datetime | None]], first: int = 1) -> None:
        self.put(
            "installments",
            *(
                {
                    "installment_id": first + place,
                    "credit_id": credit,
                    "sequence": place + 1,
                    "due_date": due,
                    "amount_due": amount,
                    "amount_paid": amount if paid else Decimal(0),
                    "paid_at": paid,
                    "updated_at": LONG_AGO,
                }
                for place, (due, amount, paid) in enumerate(plan)
            ),
        )


@pytest.fixture(scope="module")
def written(module_ledger_url) -> Iterator[Ledger]:
    ledger = Ledger(module_ledger_url.owner)
    with ledger.engine.begin() as owner:
        for statement in (ROOT / "demo" / "indexes.sql").read_text().split(";\n"):
            if statement.strip():
                owner.execute(text(statement))
    yield ledger
    ledger.engine.dispose()


@pytest.fixture
def ledger(written, module_ledger_url) -> Iterator[Ledger]:
    written.empty()
    queries.connect(queries.Sources(ledger_url=module_ledger_url.reader))
    queries.forget("ledger")
    yield written
    queries.disconnect()


def head(credit: str = "C1") -> pd.Series:
    return queries.ledger("credit/head", {"credit_id": credit, "as_of": TODAY}).iloc[0]


def told(credit: str = "C1") -> pd.DataFrame:
    one = head(credit)
    plan = queries.ledger("credit/installments", {"credit_id": credit, "as_of": TODAY})
    return story(
        one,
        scores=queries.ledger("credit/scores", {"application_id": one["application_id"]}),
        installments=plan,
        payments=queries.ledger("credit/payments", {"credit_id": credit}),
        calls=queries.ledger("credit/calls", {"credit_id": credit, "application_id": one["application_id"]}),
        now=NOW,
    )


# --- numbers ----------------------------------------------------------------------------------------------------------

DAYS = st.integers(-70, 40).map(lambda days: TODAY + timedelta(days=days))
# Midnights are where days go wrong.
CLOCKS = st.sampled_from((time(0), time(0, 0, 1), time(12), time(23, 59, 59, 999_999)))
PAID = st.none() | st.builds(at, st.integers(-80, 5).map(lambda days: TODAY + timedelta(days=days)), CLOCKS)
PLAN = st.lists(st.tuples(DAYS, st.integers(1, 99_999).map(lambda cents: cents * CENTAVO), PAID), max_size=8)


@given(plan=PLAN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_state_of_a_plan_is_what_its_installments_say(ledger, plan):
    ledger.empty()
    queries.forget("ledger")
    ledger.application("A1")
    ledger.credit("C1")
    ledger.installments("C1", plan)
    one = head()
    open_ones = [(due, amount) for due, amount, paid in plan if paid is None or paid.date() > TODAY]
    oldest = min((due for due, _ in open_ones), default=TODAY)
    coming = min((due for due, _ in open_ones if due >= TODAY), default=None)
    assert one["installments"] == len(plan)
    assert one["paid"] == len(plan) - len(open_ones)
    assert one["outstanding"] == sum(amount for _, amount in open_ones)
    assert one["overdue"] == sum(amount for due, amount in open_ones if due < TODAY)
    assert one["days_past_due"] == max((TODAY - oldest).days, 0)
    assert (None if pd.isna(one["next_due"]) else one["next_due"].date()) == coming

    # The same plan, installment by installment, and as the driver's.
    rows = queries.ledger("credit/installments", {"credit_id": "C1", "as_of": TODAY})
    for row, (due, _, paid) in zip(rows.itertuples(), plan, strict=True):
        paid_day = paid.date() if paid and paid.date() <= TODAY else None
        assert row.days_late == max(((paid_day or TODAY) - due).days, 0)
        if paid_day:
            assert row.state == ("paid_late" if paid_day > due else "paid")
        else:
            assert row.state == ("late" if due < TODAY else "due" if due == TODAY else "coming")
    own = queries.ledger("conductor/credits", {"conductor_id": "D1", "as_of": TODAY}).iloc[0]
    assert (own["outstanding"], own["overdue"], own["days_past_due"]) == (
        one["outstanding"],
        one["overdue"],
        one["days_past_due"],
    )
    assert own["late"] == (rows["days_late"] > 0).sum()
    assert own["worst"] == (rows["days_late"].max() if len(rows) else 0)
    past = queries.ledger("conductor/late", {"conductor_id": "D1", "as_of": TODAY})
    assert len(past) == own["due"] == sum(due < TODAY for due, _, _ in plan)
    by_month = late_by_month(past)
    assert by_month["installments"].sum() == len(past)
    in_time = sum(1 for due, _, paid in plan if due < TODAY and paid and paid.date() <= TODAY and paid.date() <= due)
    assert by_month.loc[by_month["bucket"] == 0, "installments"].sum() == in_time


def test_an_installment_paid_a_microsecond_before_midnight_of_its_due_day_is_in_time(ledger):
    ledger.application("A1")
    ledger.credit("C1")
    due = TODAY - timedelta(days=5)
    ledger.installments(
        "C1",
        [
            (due, Decimal("10.00"), at(due, time(23, 59, 59, 999_999))),
            (due, Decimal("10.00"), at(due + timedelta(days=1), time(0))),
        ],
    )
    assert list(queries.ledger("credit/installments", {"credit_id": "C1", "as_of": TODAY})["state"]) == [
        "paid",
        "paid_late",
    ]


# --- the story --------------------------------------------------------------------------------------------------------


def filled(ledger: Ledger) -> None:
    """A driver with a credit that has everything, a rejected application, and somebody else's credit."""
    ledger.application("A1")
    ledger.application("A2", status="rejected", rejection_reason="low_hase_score", submitted_at=LONG_AGO - timedelta(9))
    ledger.application("A9", "D9")
    ledger.credit("C1")
    ledger.credit("C9", "A9", "D9")
    ledger.put(
        "hase_scores",
        *(
            {
                "score_id": number,
                "application_id": application,
                "conductor_id": "D1",
                "score": score,
                "model_version": "hase-3.2",
                "calculated_at": LONG_AGO + timedelta(minutes=number),
            }
            for number, application, score in ((1, "A1", 71), (2, "A1", 74), (3, "A2", 50))
        ),
    )
    first, second, third = TODAY - timedelta(days=20), TODAY - timedelta(days=13), TODAY - timedelta(days=6)
    ledger.installments(
        "C1",
        [
            (first, Decimal("100.00"), at(first)),
            (second, Decimal("100.00"), at(second + timedelta(days=3))),
            (third, Decimal("100.00"), None),
            (TODAY + timedelta(days=1), Decimal("100.00"), None),
        ],
    )
    payment = {"credit_id": "C1", "amount": Decimal("100.00"), "method": "card", "updated_at": LONG_AGO}
    ledger.put(
        "payments",
        {**payment, "payment_id": 1, "processed_at": at(first), "status": "succeeded", "installment_id": 1},
        {
            **payment,
            "payment_id": 2,
            "processed_at": at(third),
            "status": "failed",
            "failure_code": "card_declined",
            "installment_id": 3,
        },
    )
    call = {"endpoint": "/x", "duration_ms": 120, "http_status": 200, "status": "success"}
    ledger.put(
        "integration_calls",
        {
            **call,
            "call_id": 1,
            "called_at": LONG_AGO,
            "integration": "metamap",
            "request_id": "r1",
            "application_id": "A1",
        },
        {
            **call,
            "call_id": 2,
            "called_at": LONG_AGO + timedelta(hours=8),
            "integration": "neon",
            "request_id": "r2",
            "credit_id": "C1",
            "status": "timeout",
            "http_status": None,
            "error_code": "timeout",
        },
        {
            **call,
            "call_id": 3,
            "called_at": LONG_AGO + timedelta(hours=9),
            "integration": "neon",
            "request_id": "r3",
            "credit_id": "C1",
            "application_id": "A1",
        },
        {**call, "call_id": 4, "called_at": LONG_AGO, "integration": "neon", "request_id": "r4", "credit_id": "C9"},
    )


def test_the_story_holds_every_row_of_the_credit_once_and_in_order(ledger):
    filled(ledger)
    moments = told()
    assert moments["at"].is_monotonic_increasing
    counted = moments["kind"].value_counts().to_dict()
    assert counted == {
        "application": 1,
        "score": 2,
        "decision": 1,
        "disbursement": 4,  # the wait, two attempts, the money
        "installment": 4,
        "payment": 2,
        "call": 1,
    }
    assert sorted(moments["request_id"][moments["request_id"] != ""]) == ["r1", "r2", "r3"]


def test_what_failed_or_is_late_is_told_by_its_state(ledger):
    filled(ledger)
    moments = told()

    def states(kind: str) -> list[tuple[str, str]]:
        rows = moments[moments["kind"] == kind]
        return list(zip(rows["what"], rows["state"], strict=True))

    assert states("installment") == [
        ("paid", "good"),
        ("paid_late", "late"),
        ("late", "failed"),
        ("coming", "waiting"),
    ]
    assert states("payment") == [("succeeded", "good"), ("failed", "failed")]
    assert states("disbursement") == [
        ("waited", "neutral"),
        ("timeout", "failed"),
        ("disbursed", "good"),
        ("success", "good"),
    ]
    late = moments[moments["what"] == "late"].iloc[0]
    assert late["until"] == NOW


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"status": "pending", "disbursement_status": "pending"}, "waits"),
        ({"status": "cancelled", "disbursement_status": "pending", "closed_at": at(TODAY)}, "cancelled"),
        ({"status": "pending", "disbursement_status": "failed"}, "waits"),
    ],
)
def test_a_credit_without_its_money_waits_or_was_cancelled(ledger, change, what):
    ledger.application("A1")
    ledger.credit("C1", **{"disbursed_at": None, **change})
    moments = told()
    assert list(moments.loc[moments["kind"] == "disbursement", "what"]) == [what]


def test_a_credit_whose_application_is_missing_is_told_without_it(ledger):
    ledger.credit("C1", "A404")
    assert set(told()["kind"]) == {"disbursement"}
    assert set(told()["kind"]) <= set(KINDS)


# --- the search -------------------------------------------------------------------------------------------------------


def test_an_id_is_found_by_its_first_signs_and_no_other(ledger):
    filled(ledger)
    ledger.application("a1x", "D_1")
    found = queries.ledger("credit/find", {"prefix": "A"})
    assert list(found["id"]) == ["A1", "A2", "A9"]
    assert list(found["credit_id"].fillna("")) == ["C1", "", "C9"]
    assert list(queries.ledger("credit/find", {"prefix": "D"})["id"]) == ["D1", "D9", "D_1"]
    # Signs that LIKE would take for any other are only themselves.
    for prefix in ("%", "_", "D%", "A1'"):
        assert queries.ledger("credit/find", {"prefix": prefix}).empty


def test_at_most_eight_of_each_kind_are_listed(ledger):
    for number in range(30):
        ledger.application(f"X{number:03}", f"X{number:03}")
        ledger.credit(f"X{number:03}", f"X{number:03}", f"X{number:03}")
    found = queries.ledger("credit/find", {"prefix": "X"})
    assert found["kind"].value_counts().to_dict() == {"credit": 8, "application": 8, "conductor": 8}


@pytest.mark.parametrize(
    "name",
    [
        *(f"credit/{name}" for name in ("head", "scores", "installments", "payments", "calls", "find")),
        *(f"conductor/{name}" for name in ("applications", "scores", "credits", "late")),
    ],
)
def test_no_question_of_these_pages_reads_a_whole_table(ledger, name):
    query = queries.find_query("ledger", name)
    given = {"credit_id": "C1", "application_id": "A1", "conductor_id": "D1", "as_of": TODAY, "prefix": "C"}
    bound = query.bind(given, {"timezone": ZONE.key})
    with ledger.engine.begin() as owner:
        # A table of a few rows is always read whole; told not to, the planner does so only where no index serves.
        owner.execute(text("set local enable_seqscan = off"))
        plan = "\n".join(row[0] for row in owner.execute(text(f"explain {query.text}"), bound))
    assert "Seq Scan" not in plan, plan


def test_the_timeline_shows_what_happened_in_the_company_above_its_lanes(ledger):
    filled(ledger)
    moments = told()
    shown = moments.assign(amount="", detail="")
    begun = moments["at"].min()
    happened = pd.DataFrame(
        {
            "kind": ["model", "deployment"],
            "title": ["hase-4.0", "before the application"],
            "starts_at": [begun + timedelta(hours=1), begun - timedelta(days=40)],
            "ends_at": pd.Series([None, None], dtype=moments["at"].dtype),
        }
    )
    drawn = timeline(shown, lanes={kind: kind for kind in KINDS}, title="t", now=NOW, events=happened)
    spec = drawn.chart.to_dict()
    titles = {row["_title"] for rows in spec["datasets"].values() for row in rows if "_title" in row}
    assert titles == {"hase-4.0"}


def test_the_axis_of_a_short_story_names_its_day(ledger):
    filled(ledger)
    moments = told()
    begun = moments[moments["at"] <= moments["at"].min() + timedelta(hours=12)].assign(amount="", detail="")
    spec = timeline(begun, lanes={kind: kind for kind in KINDS}, title="t", now=NOW).chart.to_dict()
    formats = {layer["encoding"]["x"]["axis"]["format"] for layer in spec["layer"] if "axis" in layer["encoding"]["x"]}
    assert formats == {"%e %b %H:%M"}


# --- the pages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(ledger) -> Any:
    filled(ledger)

    def open_page(page: str, id: str = "") -> AppTest:
        test = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=30)
        if id:
            test.query_params["id"] = id
        # As in the dashboard, where every page is known: links to pages need them.
        return test.run()

    return open_page


def words(test: AppTest) -> str:
    parts = [*test.title, *test.caption, *test.markdown, *test.info, *test.error]
    return "\n".join(str(part.value) for part in parts)


@pytest.mark.parametrize("page", ["credit", "conductor"])
def test_without_an_id_the_page_asks_for_one(opened, page):
    test = opened(page)
    assert not test.exception
    assert test.text_input(key="id_typed").value == ""


@pytest.mark.parametrize("page", ["credit", "conductor"])
def test_an_unknown_id_gets_one_sentence_and_stays_in_the_box(opened, page):
    test = opened(page, "Zz404")
    assert not test.exception
    assert len(test.info) == 1
    assert "Zz404" in test.info[0].value
    assert test.text_input(key="id_typed").value == "Zz404"
    test.text_input(key="id_typed").set_value("Q").run()
    assert test.query_params["id"] in ("Q", ["Q"])
    assert len(test.info) == 1


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_credit_is_found_by_its_first_signs_and_leads_to_its_driver(ledger, module_ledger_url, server_dir: Path):
    filled(ledger)
    ledger.application("A7", "D7")
    ledger.credit("CR7", "A7", "D7")
    ledger.installments("CR7", [(TODAY, Decimal("300.00"), None)], first=70)
    with serve(server_dir, {"MIRADOR_LEDGER_URL": module_ledger_url.reader}) as dashboard, chromium() as browser:
        _walk(browser, dashboard.url)


def _walk(browser: Browser, url: str) -> None:
    with viewer(browser, locale="en-US", viewport={"width": 1280, "height": 1000}) as window:
        window.open(f"{url}/credit?id=CR")
        window.wait_for_text("These begin so")
        window.page.get_by_role("link", name="CR7").click()
        window.wait_for_text("Credit CR7")
        window.drawn()
        assert "id=CR7" in window.page.url
        window.wait_for_text("$300.00")
        assert window.page.locator('[data-testid="stVegaLiteChart"]').count() == 1
        # What happened in the company can be switched off; the choice goes along to the driver.
        window.page.get_by_text("Events", exact=True).last.click()
        window.page.wait_for_url("**events=off*", timeout=30_000)
        window.drawn()
        window.page.get_by_role("link", name="Driver D7").click()
        # The credit's own page names the driver, too: only the address says that the way has been gone.
        window.page.wait_for_url("**/conductor?*", timeout=30_000)
        window.wait_for_text("Driver D7")
        window.drawn()
        assert "id=D7" in window.page.url
        assert "events=off" in window.page.url
        window.page.get_by_role("link", name="CR7").click()
        window.page.wait_for_url("**/credit?*", timeout=30_000)
        window.wait_for_text("Credit CR7")
        window.drawn()
        box = window.page.get_by_placeholder("Id of a credit, an application or a driver")
        box.fill("Nobody")
        box.press("Enter")
        window.wait_for_text("has an id that begins with “Nobody”")
        assert box.input_value() == "Nobody"
        window.assert_clean()
