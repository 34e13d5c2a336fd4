"""Lists of rows: filters against plain Python on small random ledgers, paging, streams, plans on a larger ledger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

import queries
from queries import SourceError, Sources, sources
from queries.library import Query, find_query
from queries.rollup_refresh import refresh
from queries.rows import count_rows, page_of, rows, rows_query, stream_rows
from tests.conftest import ROOT, drop_ledger, new_ledger

ZONE = ZoneInfo("America/Mexico_City")
NOW = datetime.now(UTC)
TODAY = NOW.astimezone(ZONE).date()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# Month ends, 29 February, days on which the clocks moved, and the present.
DAYS = [date(2022, 4, 3), date(2022, 10, 30), date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), TODAY]

COLUMNS = {
    "applications": "application_id conductor_id submitted_at amount_requested hase_score sinosure_tier status"
    " decided_at rejection_reason updated_at",
    "credits": "credit_id application_id conductor_id sinosure_tier principal approved_at disbursed_at"
    " disbursement_status status closed_at updated_at",
    "installments": "installment_id credit_id sequence due_date amount_due amount_paid paid_at updated_at",
    "payments": "payment_id credit_id processed_at amount status method failure_code updated_at",
    "hase_scores": "score_id application_id conductor_id score model_version calculated_at",
    "integration_calls": "call_id called_at integration endpoint status duration_ms error_code request_id",
}


# The random ledgers. ------------------------------------------------------------------------------------------------


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


MOMENTS = st.builds(
    lambda day, step: midnight(day) + step,
    st.sampled_from(DAYS),
    st.sampled_from([timedelta(0), timedelta(microseconds=-1), timedelta(hours=13), timedelta(hours=-30)])
    | st.integers(-90_000, 90_000).map(lambda seconds: timedelta(seconds=seconds)),
)
DUE = st.builds(
    lambda day, age: day - timedelta(days=age),
    st.sampled_from(DAYS),
    st.sampled_from([-1, 0, 1, 7, 8, 15, 16, 30, 31, 60, 61, 90, 91]),
)
AMOUNTS = st.integers(0, 900).map(lambda cents: Decimal(cents) / 100)
TIERS = st.sampled_from(["AAA", "B", "", "unforeseen"])
IDS = st.sampled_from(["0", "1", "2", "9"])


def several(most: int, **fields: Any) -> st.SearchStrategy[list[SimpleNamespace]]:
    return st.lists(
        st.builds(
            lambda **one: SimpleNamespace(updated_at=LONG_AGO, **one),
            **{
                name: value if isinstance(value, st.SearchStrategy) else st.just(value)
                for name, value in fields.items()
            },
        ),
        max_size=most,
    )


LEDGERS = st.fixed_dictionaries({
    "applications": several(
        5, conductor_id="d", submitted_at=MOMENTS, amount_requested=AMOUNTS, sinosure_tier=st.none() | TIERS,
        hase_score=st.none() | st.integers(0, 100), decided_at=st.none() | MOMENTS,
        status=st.sampled_from(["approved", "rejected", "pending", "odd"]),
        rejection_reason=st.sampled_from([None, "low_score", ""]),
    ),
    "credits": several(
        4, application_id=IDS, conductor_id="d", sinosure_tier=TIERS, principal=AMOUNTS, approved_at=MOMENTS,
        disbursed_at=st.none() | MOMENTS, disbursement_status=st.sampled_from(["pending", "sent", "failed"]),
        status=st.sampled_from(["active", "cancelled", "paid"]), closed_at=st.none() | MOMENTS,
    ),
    "installments": several(
        8, credit_id=IDS, sequence=st.integers(1, 2), due_date=DUE, amount_due=AMOUNTS, amount_paid=AMOUNTS,
        paid_at=st.none() | MOMENTS,
    ),
    "payments": several(
        5, credit_id=IDS, processed_at=MOMENTS, amount=AMOUNTS, method=st.sampled_from(["card", "oxxo", "barter"]),
        status=st.sampled_from(["succeeded", "failed"]), failure_code=st.sampled_from([None, "", "no_funds"]),
    ),
    "hase_scores": several(
        5, application_id=IDS, conductor_id="d", score=st.integers(0, 100), calculated_at=MOMENTS,
        model_version=st.sampled_from(["1", "2"]),
    ),
    "integration_calls": several(
        5, called_at=MOMENTS, integration=st.sampled_from(["neon", "geotab"]), endpoint=st.sampled_from(["/a", "/b"]),
        status=st.sampled_from(["success", "error"]), duration_ms=st.sampled_from([0, 1, 2, 3, 100, 1024]),
        error_code=st.sampled_from([None, "E1"]), request_id="r",
    ),
})  # fmt: skip


class Ledger:
    """The ledger as a test fills it; text keys are the rows' numbers."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def fill(self, tables: dict[str, list[SimpleNamespace]]) -> None:
        self.owner.rollback()
        cursor = self.owner.cursor()
        cursor.execute("truncate " + ", ".join(f"bi.{table}" for table in COLUMNS))
        for table, members in tables.items():
            names = COLUMNS[table].split()
            with cursor.copy(f"copy bi.{table} ({', '.join(names)}) from stdin") as into:
                for number, one in enumerate(members):
                    setattr(one, names[0], str(number) if table in {"applications", "credits"} else number)
                    into.write_row([getattr(one, name) for name in names])
        self.owner.commit()
        sources._connected().cache.forget()


@pytest.fixture(scope="module")
def ledger(module_ledger_url):
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    owner.cursor().execute("set synchronous_commit = off")
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    yield Ledger(owner)
    queries.disconnect()
    owner.close()
    engine.dispose()


# The reference: which rows a filter leaves, in plain Python. --------------------------------------------------------


def local_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.astimezone(ZONE).date()


def bucket_of(days: int) -> int:
    return sum(days >= edge for edge in (1, 8, 16, 31, 61, 91))


def log_bucket(amount: float) -> int:
    return math.floor(8 * math.log2(max(amount, 1)) + 1e-9)


def band_of(score: int | None) -> int:
    return -1 if score is None else min(score // 10 * 10, 90)


Check = Callable[[Any, Any], bool]


def days(field: str, first: str = "first", last: str = "last") -> dict[str, Check]:
    def day(one: Any) -> date | None:
        found = getattr(one, field)
        return local_day(found) if isinstance(found, datetime) else found

    return {
        first: lambda one, value: day(one) is not None and day(one) >= value,
        last: lambda one, value: day(one) is not None and day(one) <= value,
    }


def named(field: str, single: str | None, many: str | None) -> dict[str, Check]:
    def text(one: Any) -> str:
        return getattr(one, field) or ""

    checks: dict[str, Check] = {}
    if single:
        checks[single] = lambda one, value: text(one) == value
    if many:
        checks[many] = lambda one, values: text(one) in values
    return checks


def scored(field: str) -> dict[str, Check]:
    return {
        "band": lambda one, value: band_of(getattr(one, field)) == value,
        "bands": lambda one, values: band_of(getattr(one, field)) in values,
        "score_from": lambda one, value: getattr(one, field) is not None and getattr(one, field) >= value,
        "score_to": lambda one, value: getattr(one, field) is not None and getattr(one, field) <= value,
    }


def clock(field: str) -> dict[str, Check]:
    return {
        "hour": lambda one, value: getattr(one, field).astimezone(ZONE).hour == value,
        "weekday": lambda one, value: getattr(one, field).astimezone(ZONE).isoweekday() == value,
    }


TIER = named("sinosure_tier", "tier", "tiers")
STATUS = named("status", "status", "statuses")
HOUR = timedelta(hours=1)


def hours_up(one: Any) -> int:
    return math.ceil((one.disbursed_at - one.approved_at) / HOUR)


CHECKS: dict[str, dict[str, Check]] = {
    "applications": {
        **days("submitted_at"), **clock("submitted_at"), **TIER, **STATUS, **scored("hase_score"),
        **named("rejection_reason", "reason", "reasons"),
        "step": lambda one, value: {
            "submitted": True, "scored": one.was_scored, "decided": one.decided_at is not None,
            "approved": one.status == "approved", "disbursed": one.was_disbursed,
        }[value],
    },
    "decisions": {
        **days("decided_at"), **clock("decided_at"), **TIER, **STATUS, **scored("hase_score"),
        **named("rejection_reason", "reason", "reasons"),
        "bucket": lambda one, value: log_bucket((one.decided_at - one.submitted_at).total_seconds()) == value,
        "hours_from": lambda one, value: one.decided_at - one.submitted_at >= value * HOUR,
        "hours_to": lambda one, value: one.decided_at - one.submitted_at < value * HOUR,
    },
    "credits": {
        **days("approved_at"), **days("disbursed_at", "disbursed_first", "disbursed_last"), **TIER, **STATUS,
        **named("disbursement_status", None, "disbursement_statuses"),
        "hours_over": lambda one, value: (one.disbursed_at or NOW) > one.approved_at + value * HOUR,
        "active_on": lambda one, value: (
            one.disbursed_at is not None
            and local_day(one.disbursed_at) <= value
            and (one.closed_at is None or local_day(one.closed_at) > value)
        ),
    },
    "waiting": {
        **days("approved_at"), **TIER, **named("disbursement_status", "disbursement_status", "disbursement_statuses"),
        "hours_over": lambda one, value: one.approved_at < NOW - value * HOUR,
    },
    "disbursed": {
        **days("disbursed_at"), **days("approved_at", "approved_first", "approved_last"), **TIER, **STATUS,
        "hours": lambda one, value: hours_up(one) == value,
        "hours_from": lambda one, value: hours_up(one) >= value,
        "hours_to": lambda one, value: hours_up(one) <= value,
    },
    "installments": {
        **days("due_date", "due_first", "due_last"), **days("paid_at", "paid_first", "paid_last"), **TIER,
        "first_installment": lambda one, value: (one.sequence == 1) == value,
    },
    "payments": {
        **days("processed_at"), **TIER, **STATUS, **named("method", "method", "methods"),
        **named("failure_code", "failure_code", "failure_codes"),
    },
    "scores": {
        **days("calculated_at"), **TIER, **scored("score"), **named("model_version", "model_version", "model_versions"),
        "score": lambda one, value: one.score == value,
    },
    "calls": {
        **days("called_at"), **STATUS, **named("integration", "integration", "integrations"),
        **named("endpoint", "endpoint", "endpoints"), **named("error_code", "error_code", "error_codes"),
        "from_at": lambda one, value: one.called_at >= value,
        "to_at": lambda one, value: one.called_at < value,
        "bucket": lambda one, value: log_bucket(one.duration_ms) == value,
        "duration_from": lambda one, value: one.duration_ms >= value,
        "duration_to": lambda one, value: one.duration_ms < value,
    },
    "outcomes": {
        **days("approved_at"), **TIER, **scored("score"), **named("state", "state", "states"),
        **named("model_version", "model_version", "model_versions"),
        "month": lambda one, value: local_day(one.approved_at).replace(day=1) == value,
        "vintage": lambda one, value: one.vintage == value,
        "vintages": lambda one, values: one.vintage in values,
    },
}  # fmt: skip
# Those that look at a day are not filters of one field: see `looked_at`.
AS_OF = {
    "credits": {"as_of", "bucket", "buckets", "as_of_before", "bucket_before"},
    "waiting": {"as_of"},
    "installments": {"as_of", "bucket", "buckets", "late_from", "late_to"},
    "outcomes": {"as_of"},
}
KEY = {
    "applications": "application_id", "decisions": "application_id", "credits": "credit_id", "waiting": "credit_id",
    "disbursed": "credit_id", "installments": "installment_id", "payments": "payment_id", "scores": "score_id",
    "calls": "call_id", "outcomes": "credit_id",
}  # fmt: skip


def unpaid(one: Any, day: date) -> bool:
    return one.paid_at is None or local_day(one.paid_at) > day


def state_of(credit: Any, day: date) -> int | None:
    """The bucket of a credit at the end of a day."""
    if credit.disbursed_at is None or local_day(credit.disbursed_at) > day:
        return -1
    owed = [one.due_date for one in credit.installments if unpaid(one, day)]
    if owed:
        return bucket_of((day - min(owed)).days)
    return 7 if credit.installments else None


def base(name: str, tables: dict[str, list[SimpleNamespace]], params: dict[str, Any]) -> list[SimpleNamespace]:
    """All rows of a list with what their filters look at."""
    applications = {one.application_id: one for one in tables["applications"]}
    for one in tables["applications"]:
        one.was_scored = any(score.application_id == one.application_id for score in tables["hase_scores"])
        credits_of = [credit for credit in tables["credits"] if credit.application_id == one.application_id]
        one.was_disbursed = any(credit.disbursed_at is not None for credit in credits_of)
        one.granted = sum((credit.principal for credit in credits_of), Decimal(0)) if credits_of else None
    credits = {one.credit_id: one for one in tables["credits"]}
    for one in tables["credits"]:
        one.installments = [part for part in tables["installments"] if part.credit_id == one.credit_id]
    for child in (*tables["installments"], *tables["payments"]):
        child.sinosure_tier = credits[child.credit_id].sinosure_tier if child.credit_id in credits else None
    for child in tables["hase_scores"]:
        parent = applications.get(child.application_id)
        child.sinosure_tier = parent.sinosure_tier if parent else None
    match name:
        case "applications":
            return tables["applications"]
        case "decisions":
            return [one for one in tables["applications"] if one.decided_at is not None]
        case "credits":
            return looked_at(tables["credits"], params)
        case "waiting":
            as_of = params.get("as_of", NOW)
            return [
                one
                for one in tables["credits"]
                if one.approved_at < as_of
                and (one.disbursed_at is None or ("as_of" in params and one.disbursed_at >= as_of))
                and not (
                    one.status == "cancelled"
                    and one.disbursed_at is None
                    and (one.closed_at is None or one.closed_at < as_of)
                )
            ]
        case "disbursed":
            return [one for one in tables["credits"] if one.disbursed_at is not None]
        case "installments":
            return late_at(tables["installments"], params)
        case "payments":
            return tables["payments"]
        case "scores":
            return tables["hase_scores"]
        case "calls":
            return tables["integration_calls"]
    for one in tables["credits"]:
        parent = applications.get(one.application_id)
        one.score = parent.hase_score if parent else None
        first = min(
            (score for score in tables["hase_scores"] if score.application_id == one.application_id),
            key=lambda score: (score.calculated_at, score.score_id),
            default=None,
        )
        one.model_version = first.model_version if first else None
        one.vintage = local_day(one.disbursed_at).replace(day=1) if one.disbursed_at else None
        today = params.get("as_of", TODAY)
        # Day by day: was an installment ever more than 30 days late at the end of a day up to today?
        bad = any(
            unpaid(part, part.due_date + timedelta(days=31)) and part.due_date + timedelta(days=31) <= today
            for part in one.installments
        )
        if one.disbursed_at is None:
            one.state = "none"
        else:
            one.state = "bad" if bad else "good" if (today - local_day(one.disbursed_at)).days >= 180 else "young"
    return tables["credits"]


def looked_at(credits: list[SimpleNamespace], params: dict[str, Any]) -> list[SimpleNamespace]:
    found = []
    for one in credits:
        state = state_of(one, params.get("as_of", TODAY))
        before = state_of(one, params["as_of_before"]) if "as_of_before" in params else None
        if (
            ("bucket" not in params or state == params["bucket"])
            and ("buckets" not in params or state in params["buckets"])
            and ("bucket_before" not in params or (before is not None and before == params["bucket_before"]))
        ):
            found.append(one)
    return found


def late_at(installments: list[SimpleNamespace], params: dict[str, Any]) -> list[SimpleNamespace]:
    if "as_of" not in params:
        return [] if params.keys() & {"bucket", "buckets", "late_from", "late_to"} else installments
    found = []
    for one in installments:
        late = (params["as_of"] - one.due_date).days
        if (
            unpaid(one, params["as_of"])
            and ("bucket" not in params or bucket_of(late) == params["bucket"])
            and ("buckets" not in params or bucket_of(late) in params["buckets"])
            and late >= params.get("late_from", -100_000)
            and late <= params.get("late_to", 100_000)
        ):
            found.append(one)
    return found


DAY_VALUES = st.sampled_from(DAYS) | DUE
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "hour": st.sampled_from([0, 13, 23]),
    "weekday": st.integers(1, 7),
    "step": st.sampled_from(["submitted", "scored", "decided", "approved", "disbursed"]),
    "band": st.sampled_from([-1, 0, 50, 90]),
    "score": st.integers(0, 100),
    "month": st.sampled_from(DAYS).map(lambda day: day.replace(day=1)),
    "hours": st.integers(-30, 30),
    "duration": st.sampled_from([0, 2, 1024]),
    "late": st.integers(-2, 95),
    "bucket": st.integers(-1, 7) | st.sampled_from([0, 8, 80, 131]),
    "first_installment": st.booleans(),
    "at": MOMENTS,
    "tier": TIERS,
    "status": st.sampled_from(["approved", "rejected", "active", "cancelled", "failed", "error", "success", "sent"]),
    "reason": st.sampled_from(["", "low_score"]),
    "method": st.sampled_from(["card", "barter"]),
    "failure_code": st.sampled_from(["", "no_funds"]),
    "error_code": st.sampled_from(["", "E1"]),
    "model_version": st.sampled_from(["", "1"]),
    "integration": st.sampled_from(["neon", "nobody"]),
    "endpoint": st.sampled_from(["/a", "/b"]),
    "state": st.sampled_from(["bad", "good", "young", "none"]),
}
MANY = {"statuses": "status", "disbursement_statuses": "status", "vintages": "month", "integrations": "integration"}


def value_for(name: str, kind: str) -> st.SearchStrategy[Any]:
    if kind == "timestamptz":
        return VALUES["at"]
    if kind == "date":
        return VALUES["month"] if name in {"month", "vintage"} else DAY_VALUES
    if kind.endswith("[]"):
        one = VALUES[MANY.get(name, name.removesuffix("s"))]
        return st.lists(one, min_size=1, max_size=2, unique=True)
    found = next(
        key for key in (name, name.rpartition("_")[0], name.split("_")[-1], name.split("_")[0]) if key in VALUES
    )
    return VALUES[found]


@st.composite
def questions(draw, name: str) -> dict[str, Any]:
    """A few filters at once; those of a day's state with the day."""
    query = find_query("ledger", f"rows/{name}")
    kinds = {param.name: param.type for param in query.params if param.name != "timezone"}
    chosen = draw(st.sets(st.sampled_from(sorted(kinds)), max_size=3))
    if chosen & {"bucket", "buckets", "late_from", "late_to"} and "as_of" in kinds:
        chosen.add("as_of")
    if "bucket_before" in chosen:
        chosen.add("as_of_before")
    return {one: draw(value_for(one, kinds[one])) for one in sorted(chosen)}


# What is claimed. ---------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date() if value.tzinfo is None else value.to_pydatetime().astimezone(UTC)
    return value


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_each_filter_has_a_reference(name):
    params = {param.name for param in find_query("ledger", f"rows/{name}").params}
    assert params == CHECKS[name].keys() | AS_OF.get(name, set()) | {"timezone"}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_list_has_the_rows_that_plain_python_finds(name, ledger):
    query = rows_query(f"rows/{name}")

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(LEDGERS, questions(name), st.sampled_from(query.sorts), st.booleans())
    def check(tables, params, sort, descending):
        ledger.fill(tables)
        wanted = {
            str(getattr(one, KEY[name])): one
            for one in base(name, tables, params)
            if all(CHECKS[name][param](one, value) for param, value in params.items() if param in CHECKS[name])
        }
        asked = {"sort": sort.column, "descending": descending}
        streamed = [row for part in stream_rows(query.name, params, chunk=2, **asked) for row in part]
        key = [column.name for column in query.columns].index(query.key)
        assert sorted(str(row[key]) for row in streamed) == sorted(wanted)
        assert count_rows(query.name, params) == len(wanted)

        # Forward in pages of two, and back again: each row once, in one order, which is that of the stream.
        pages = [rows(query.name, params, limit=2, **asked)]
        while page_of(pages[-1]).more:
            pages.append(rows(query.name, params, limit=2, after=page_of(pages[-1]).last, **asked))
        forward = [one for page in pages for one in page[query.key].tolist()]
        assert forward == [row[key] for row in streamed]
        page = pages[-1]
        for earlier in reversed(pages[:-1]):
            page = rows(query.name, params, limit=2, before=page_of(page).first, **asked)
            assert page[query.key].tolist() == earlier[query.key].tolist()
        if len(pages) > 1:
            assert not page_of(page).more, "nothing stands before the first page"

        # The order is what it says: by the column, nulls last, then by the key; and cells are those of the ledger.
        place = [column.name for column in query.columns].index(sort.column)
        known = [(row[place], row[key]) for row in streamed if row[place] is not None]
        assert known == sorted(known, reverse=descending)
        assert all(row[place] is None for row in streamed[len(known) :])
        for page in pages:
            for row in page.to_dict("records"):
                one = wanted[str(row[query.key])]
                for column in page.columns.intersection([c for c in vars(one) if c not in {"sinosure_tier"}]):
                    assert plain(row[column]) == getattr(one, column), column

    check()


def test_a_null_and_none_are_two_things(ledger):
    ledger.fill(
        {
            "payments": [
                SimpleNamespace(
                    credit_id="0", processed_at=NOW, amount=Decimal(1), status="failed", method="card",
                    failure_code=code, updated_at=NOW,
                )
                for code in (None, "", "no_funds")
            ]
        }
    )  # fmt: skip
    assert count_rows("rows/payments", {"failure_code": None}) == 3
    assert count_rows("rows/payments", {"failure_code": ""}) == 2
    assert count_rows("rows/payments", {"failure_codes": ["", "no_funds"]}) == 3
    assert count_rows("rows/payments", {"failure_codes": [""]}) == 2
    assert count_rows("rows/payments", {"failure_codes": []}) == 3


def test_a_filter_that_the_list_does_not_know_is_an_error(ledger):
    for ask in (rows, count_rows, stream_rows):
        with pytest.raises(SourceError, match=r"rows/payments has no parameter colour") as told:
            ask("rows/payments", {"colour": "red"})
        assert told.value.kind == "bad_parameter"


@pytest.mark.parametrize("column", ["amount; drop table bi.payments", "installment_id", "", "1"])
def test_only_the_head_s_columns_sort(ledger, column):
    for ask in (rows, stream_rows):
        with pytest.raises(SourceError, match="cannot be sorted"):
            ask("rows/payments", {}, sort=column)


def test_a_query_that_lists_no_rows_is_told(ledger):
    with pytest.raises(SourceError, match="is no list of rows"):
        rows("today/payments", {})


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("-- key: id", "stand together"),
        ("-- key: id\n-- sort: id desc, 1; drop", "this sort is not"),
        ("-- key: id\n-- sort: other", "not declared: other"),
        ("-- key: other\n-- sort: id", "not declared: other"),
    ],
)
def test_a_wrong_head_is_told_with_its_file(tmp_path, head, words):
    path = tmp_path / "q.sql"
    path.write_text(f"-- title: T\n-- description: D\n-- column: id text\n{head}\nselect 1 as id\n")
    with pytest.raises(ValueError, match=words):
        queries.library.parse_query(path, "ledger", "q")


# Plans and streams on a ledger of some size. ------------------------------------------------------------------------

LARGE = """
insert into bi.applications select 'a' || n, 'd' || n % 5000, timestamptz '2026-01-01' + n * interval '3 minutes',
    1000, n % 101, (array['AAA', 'AA', 'B'])[n % 3 + 1], (array['approved', 'rejected'])[n % 2 + 1],
    timestamptz '2026-01-02' + n * interval '3 minutes', null, now() from generate_series(1, 40000) n;
insert into bi.credits select 'c' || n, 'a' || n * 2, 'd' || n % 5000, (array['AAA', 'AA', 'B'])[n % 3 + 1], 1000,
    timestamptz '2026-01-02' + n * interval '6 minutes', timestamptz '2026-01-03' + n * interval '6 minutes', 'sent',
    'active', null, now() from generate_series(1, 20000) n;
insert into bi.installments select n, 'c' || n % 20000 + 1, n / 20000 + 1, date '2026-01-01' + n / 600, 100, 0,
    case when n % 7 > 0 then timestamptz '2026-01-02' + n / 600 * interval '1 day' end, now()
    from generate_series(1, 200000) n;
insert into bi.payments select n, 'c' || n % 20000 + 1, n, timestamptz '2026-01-01' + n * interval '1 minute', 100,
    (array['succeeded', 'failed'])[n % 2 + 1], 'card', null, null, now() from generate_series(1, 200000) n;
insert into bi.hase_scores select n, 'a' || n, 'd' || n % 5000, n % 101, '4',
    timestamptz '2026-01-01' + n * interval '3 minutes' from generate_series(1, 40000) n;
insert into bi.integration_calls select n, timestamptz '2026-01-01' + n * interval '1 minute',
    (array['neon', 'geotab'])[n % 2 + 1], '/a', 'success', 200, n % 500, null, null, 'r', null, null, null
    from generate_series(1, 200000) n;
"""
DAY_OF_MARK = date(2026, 2, 12)
MARKS: dict[str, dict[str, Any]] = {
    "applications": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "tier": "AAA"},
    "decisions": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "status": "approved", "band": 50},
    "credits": {"disbursed_first": DAY_OF_MARK, "disbursed_last": DAY_OF_MARK, "tiers": ["AAA", "B"]},
    "waiting": {"first": DAY_OF_MARK, "last": DAY_OF_MARK},
    "disbursed": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "hours_to": 48},
    "installments": {"as_of": DAY_OF_MARK, "bucket": 4, "tier": "AAA"},
    "payments": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "method": "card"},
    "scores": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "score_from": 50, "score_to": 59},
    "calls": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "integration": "neon"},
    "outcomes": {"first": DAY_OF_MARK, "last": DAY_OF_MARK, "state": "bad"},
}


@pytest.fixture(scope="module")
def large(postgres):
    made = new_ledger(postgres)
    engine = create_engine(made.owner, isolation_level="AUTOCOMMIT")
    owner = engine.raw_connection()
    owner.cursor().execute(LARGE)
    owner.cursor().execute((ROOT / "demo" / "indexes.sql").read_text())
    owner.cursor().execute("vacuum analyze bi.applications, bi.credits, bi.installments, bi.payments, bi.hase_scores")
    owner.cursor().execute("vacuum analyze bi.integration_calls")
    refresh(made.owner.replace("//postgres@", "//mirador_rollup@"), "America/Mexico_City")
    queries.connect(Sources(ledger_url=made.reader))
    yield owner
    queries.disconnect()
    owner.close()
    engine.dispose()
    drop_ledger(postgres, made)


def plan_of(owner: Any, statement: str) -> str:
    cursor = owner.cursor()
    cursor.execute(f"explain {statement}")
    return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("name", sorted(MARKS))
@pytest.mark.parametrize("filtered", [True, False], ids=["a mark", "all rows"])
def test_a_page_in_its_own_order_reads_by_index(large, name, filtered):
    params = MARKS[name] if filtered else {}
    first = rows(f"rows/{name}", params)
    pages = [first]
    if len(first) and page_of(first).more:
        pages.append(rows(f"rows/{name}", params, after=page_of(first).last))
    for page in pages:
        plan = plan_of(large, queries.answer_of(page).text)
        assert "Index" in plan, plan
        assert "Seq Scan on" not in plan, plan


@pytest.mark.parametrize(
    ("params", "still_unpaid"),
    [
        ({"as_of": DAY_OF_MARK, "bucket": 4}, True),
        ({"as_of": DAY_OF_MARK, "buckets": [4, 5], "tier": "AAA"}, True),
        # A credit that is cured has paid what was late.
        (
            {"as_of": DAY_OF_MARK, "as_of_before": DAY_OF_MARK - timedelta(days=30), "bucket": 0, "bucket_before": 3},
            False,
        ),
    ],
)
def test_credits_of_a_late_bucket_are_found_by_what_was_late(large, params, still_unpaid):
    plan = plan_of(large, queries.answer_of(rows("rows/credits", params)).text)
    assert ("using installments_unpaid" in plan) == still_unpaid, plan
    assert "using installments_due_date" in plan, plan
    assert "Seq Scan on installments" not in plan, plan


@pytest.mark.parametrize("bucket", [1, 4, 6])
@pytest.mark.parametrize("more", [{}, {"tier": "AAA"}], ids=["all tiers", "a tier"])
def test_the_first_page_of_a_late_bucket_reads_the_latest_due_days(large, bucket, more):
    params = {"as_of": DAY_OF_MARK, "bucket": bucket, **more}
    plan = plan_of(large, queries.answer_of(rows("rows/installments", params)).text)
    assert "using installments_unpaid" in plan, plan
    assert "Presorted Key: ((day.day)::date)" in plan, plan
    assert "Seq Scan on" not in plan, plan


def test_what_is_due_on_some_days_is_read_in_its_order(large):
    params = {"due_first": DAY_OF_MARK - timedelta(days=30), "due_last": DAY_OF_MARK}
    plan = plan_of(large, queries.answer_of(rows("rows/installments", params)).text)
    assert "Index Scan Backward using installments_due on" in plan, plan


def test_first_payment_defaults_are_read_in_their_order_among_first_installments_alone(large):
    plan = plan_of(large, queries.answer_of(rows("rows/first_payment_defaults", {})).text)
    assert "Index Scan Backward using installments_first on" in plan, plan
    assert "Sort" not in plan, plan


@pytest.mark.parametrize("buckets", [[6], [4, 5, 6]])
def test_many_late_credits_are_hashed_once_and_as_they_come(large, buckets):
    params = {"as_of": DAY_OF_MARK, "buckets": buckets}
    plan = plan_of(large, queries.answer_of(rows("rows/credits", params)).text)
    assert "(hashed SubPlan" in plan, plan
    assert "HashAggregate" not in plan, plan


LATER = DAY_OF_MARK + timedelta(days=200)


@pytest.mark.parametrize("params", [{}, {"as_of": DAY_OF_MARK, "bucket": 1}, {"as_of": LATER, "bucket": 6}])
def test_the_state_of_credits_is_worked_out_for_the_first_page_alone(large, params):
    cursor = large.cursor()
    cursor.execute("explain (analyze, format json) " + queries.answer_of(rows("rows/credits", params)).text)
    (((plan,),),) = cursor.fetchall()

    def looked_at(node: dict[str, Any]) -> list[float]:
        own = [node["Actual Loops"]] if node.get("Index Name") == "installments_credit" else []
        return own + [loops for child in node.get("Plans", ()) for loops in looked_at(child)]

    assert 0 < max(looked_at(plan["Plan"])) < 1000


def test_a_list_that_was_often_asked_is_still_planned_for_what_is_asked(large):
    """Plans for any parameters work out every part of a list: the driver prepares, and the server keeps, after five."""
    for turn in range(12):
        rows("rows/credits", {"as_of": DAY_OF_MARK, "bucket": 1}, limit=50 + turn)
    house = sources._connected()
    client = house.client("ledger")
    frame, _, _ = client.run(Query("q", "ledger", "t", "d", "select current_setting('plan_cache_mode') as mode"), {})
    assert frame["mode"].tolist() == ["force_custom_plan"]


def test_a_stream_holds_one_chunk_and_ends_in_its_time(large):
    parts = stream_rows("rows/payments", {}, chunk=1000)
    first = next(parts)
    assert len(first) == 1000, "no more than a chunk is in memory"
    assert sum(len(part) for part in parts) == 199_000
    with pytest.raises(SourceError, match="took longer than"):
        list(stream_rows("rows/payments", {}, chunk=1000, seconds=0.0))


def test_a_stream_ends_when_the_sources_are_dropped(large):
    parts = stream_rows("rows/payments", {}, chunk=1000)
    next(parts)
    house = sources._connected()
    house.ledger._closed = True
    try:
        with pytest.raises(SourceError):
            next(parts)
    finally:
        house.ledger._closed = False


def test_no_viewer_s_text_becomes_part_of_a_statement(large):
    mean = "x'); drop table bi.payments; --"
    assert count_rows("rows/payments", {"method": mean, "methods": [mean], "failure_code": mean}) == 0
    assert rows("rows/payments", {"tier": mean}, after=(datetime.now(UTC), 1)).empty


LATE_CREDITS = """
select setseed(0.5);
insert into bi.credits
    (credit_id, application_id, conductor_id, sinosure_tier, principal, approved_at, disbursed_at, disbursement_status,
     status, updated_at)
select 'c' || n, n::text, 'd', (array['AAA', 'B'])[1 + n % 2], 1000, at, at + interval '1 day', 'settled', 'active', at
from (select n, timestamptz '2024-06-01 15:00Z' - n * interval '17 hours' as at from generate_series(1, 300) as n) as c;
insert into bi.installments
    (installment_id, credit_id, sequence, due_date, amount_due, amount_paid, paid_at, updated_at)
select
    row_number() over (), c.credit_id, week, due.day, 100, 0,
    case when random() < 0.8 then due.day + random() * interval '120 days' end,
    c.approved_at
from bi.credits c
cross join generate_series(1, 12) as week
cross join lateral (
    -- One credit in ten came from elsewhere, with installments from before its approval.
    select
        c.approved_at::date
        + 7 * (week - case when substr(c.credit_id, 2)::integer % 10 = 0 then 9 else 0 end) as day
) as due;
"""


def test_the_first_pages_of_a_late_bucket_begin_with_the_youngest_credit_of_it(postgres):
    """With the daily tables a page walks through the credits; all of them are found by what was late."""
    made = new_ledger(postgres)
    try:
        with psycopg.connect(made.owner.replace("+psycopg", ""), autocommit=True) as owner:
            owner.execute(LATE_CREDITS)
        refresh(made.owner.replace("//postgres@", "//mirador_rollup@"), "America/Mexico_City")
        queries.connect(Sources(ledger_url=made.reader))
        seen = set()
        for day, bucket in itertools.product((date(2024, 1, 31), date(2024, 5, 1), date(2024, 8, 15)), range(1, 7)):
            params = {"as_of": day, "bucket": bucket}
            every = [row for part in stream_rows("rows/credits", params) for row in part]
            pages = [rows("rows/credits", params, limit=5)]
            while page_of(pages[-1]).more:
                pages.append(rows("rows/credits", params, limit=5, after=page_of(pages[-1]).last))
            assert [one for page in pages for one in page["credit_id"]] == [row[0] for row in every]
            assert count_rows("rows/credits", params) == len(every)
            seen |= {(bucket, row[0]) for row in every}
            walked = "rollup.first_dues" in queries.answer_of(pages[0]).text and bucket in (1, 6)
            if walked:
                with psycopg.connect(made.owner.replace("+psycopg", ""), autocommit=True) as owner:
                    lines = owner.execute("explain (analyze) " + queries.answer_of(pages[0]).text).fetchall()
                assert any("first_dues" in line and "never executed" not in line for (line,) in lines)
        assert {bucket for bucket, _ in seen} == set(range(1, 7))
        assert any(int(credit[1:]) % 10 == 0 for bucket, credit in seen if bucket == 6)
    finally:
        queries.disconnect()
        drop_ledger(postgres, made)
