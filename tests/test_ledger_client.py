"""The ledger client against a real PostgreSQL: types, bounds, sentences, recovery."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest
from sqlalchemy import create_engine, text

import queries
from demo.servers import free_port
from queries import SourceError, Sources, sources
from queries.library import Column, Param, Query
from tests.stage import held


def question(name: str, sql: str, params=(), columns=(), ttl: float = 60) -> Query:
    return Query(name, "ledger", name, name, sql, tuple(params), tuple(columns), ttl)


def ask(query: Query, params=None) -> pd.DataFrame:
    return sources._connected().ask(query, params or {})


@pytest.fixture
def house(ledger_url):
    queries.connect(Sources(ledger_url=ledger_url.reader, query_timeout=2, connect_timeout=2))
    yield
    queries.disconnect()


def test_an_answer_has_the_declared_types_and_its_stamp(house):
    frame = ask(
        question(
            "types",
            "select 1 as n, null::int as gap, 0.10::numeric(14,2) as amount, 0.5::float8 as share,"
            " cast(:day as date) as day, timestamptz '2026-01-01T06:00Z' as at, 'AAA' as tier",
            [Param("day", "date")],
            [
                Column("n", "integer", "count"),
                Column("gap", "integer"),
                Column("amount", "numeric", "MXN"),
                Column("share", "double"),
                Column("day", "date"),
                Column("at", "timestamptz"),
            ],
        ),
        {"day": "2026-01-31"},
    )
    row = frame.iloc[0]
    assert frame["gap"].dtype == "Int64"
    assert row["amount"] == Decimal("0.10")
    assert row["day"] == pd.Timestamp("2026-01-31")
    assert row["at"].isoformat() == "2026-01-01T00:00:00-06:00"
    answer = queries.answer_of(frame)
    assert "cast('2026-01-31'::date as date)" in answer.text.replace('"', "")
    assert (answer.cached, answer.stale, answer.error) == (False, False, None)
    assert answer.as_of.utcoffset() is not None


def test_an_empty_answer_keeps_its_columns_and_types(house):
    frame = ask(question("empty", "select 1 as n where false", columns=[Column("n", "integer")]))
    assert list(frame.columns) == ["n"]
    assert frame["n"].dtype == "Int64"


def test_lists_and_nulls_are_bound_never_pasted(house):
    nasty = "x'); drop table bi.credits; --"
    frame = ask(
        question(
            "lists",
            "select unnest(cast(:tiers as text[])) as tier, cast(:day as date) as day",
            [Param("tiers", "text[]"), Param("day", "date", None, False)],
        ),
        {"tiers": (nasty, "AAA")},
    )
    assert list(frame["tier"]) == [nasty, "AAA"]


def test_the_filled_in_statement_runs_in_psql_as_it_is_shown(house, ledger_url):
    frame = ask(
        question(
            "shown",
            "select tier from unnest(cast(:tiers as text[])) tier where tier <> :not_this",
            [Param("tiers", "text[]"), Param("not_this", "text")],
        ),
        {"tiers": ("it's", "B"), "not_this": "B"},
    )
    with create_engine(ledger_url.reader).connect() as connection:
        assert connection.exec_driver_sql(queries.answer_of(frame).text).scalars().all() == ["it's"]


def test_a_page_cannot_change_the_kept_answer_of_the_others(house):
    query = question("kept", "select 1 as n")
    frame = ask(query)
    frame["n"] = 7
    assert ask(query)["n"].tolist() == [1]


def test_the_role_may_not_write_even_by_a_named_query(house):
    with pytest.raises(SourceError) as told:
        ask(question("write", "delete from bi.credits returning 1"))
    assert told.value.kind == "refused"


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("select * from bi.no_such_table", "refused"),
        ("select no_such_column from bi.credits", "refused"),
        ("select 1/0", "refused"),
        ("select pg_sleep(5)", "timeout"),
        ("select generate_series(1, 300000)", "too_large"),
    ],
)
def test_each_failure_is_one_sentence_without_sql(house, sql, kind):
    with pytest.raises(SourceError) as told:
        ask(question("fails", sql))
    assert told.value.kind == kind
    assert told.value.sentence.endswith(".")
    assert sql not in told.value.sentence


def test_a_wrong_address_is_down_not_a_crash():
    queries.connect(Sources(ledger_url=f"postgresql://nobody:hidden@127.0.0.1:{free_port()}/none", connect_timeout=2))
    try:
        with pytest.raises(SourceError) as told:
            ask(question("down", "select 1"))
        assert told.value.kind == "down"
        assert "hidden" not in told.value.sentence
    finally:
        queries.disconnect()


def test_a_ledger_that_is_not_configured_says_which_variable(monkeypatch):
    queries.connect(Sources())
    with pytest.raises(SourceError, match="MIRADOR_LEDGER_URL") as told:
        ask(question("none", "select 1"))
    assert told.value.kind == "not_configured"
    queries.disconnect()


def test_fifty_sessions_on_a_cold_page_send_each_query_once(house, ledger_url):
    """Counted at the server, in its own statistics of calls to a function that only these queries use."""
    with create_engine(ledger_url.owner, isolation_level="AUTOCOMMIT").connect() as owner:
        owner.execute(text("alter system set track_functions = 'all'"))
        owner.execute(text("select pg_reload_conf()"))
        owner.execute(
            text(
                "create or replace function public.count_me() returns bigint language plpgsql as "
                "$$ begin perform pg_sleep(0.2); return 1; end $$"
            )
        )
        time.sleep(0.3)
        page = [question(f"panel{n}", f"select public.count_me(), {n} as panel") for n in range(4)]
        with ThreadPoolExecutor(50) as sessions:
            opened = [sessions.submit(ask, query) for _ in range(50) for query in page]
            for one in opened:
                one.result()
        queries.disconnect()  # a server process writes its statistics down when it ends
        until = time.monotonic() + 10
        calls = 0
        while calls < len(page) and time.monotonic() < until:
            calls = owner.execute(
                text("select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = 'count_me'")
            ).scalar_one()
            time.sleep(0.2)
        assert calls == len(page)


def test_a_server_that_is_stopped_ends_the_wait_on_this_side_and_recovers(postgres, house):
    """SIGSTOP: TCP still acknowledges, statement_timeout never fires; the client's own bound must."""
    query = question("stopped", "select 1 as n", ttl=0)
    ask(query)
    with held(postgres.pid):
        start = time.monotonic()
        with pytest.raises(SourceError) as told:
            ask(question("stopped cold", "select 2 as n"))
        assert told.value.kind in {"timeout", "down"}
        assert time.monotonic() - start < 8
    until = time.monotonic() + 10
    while time.monotonic() < until:
        frame = ask(query)
        if queries.answer_of(frame).error is None and not queries.answer_of(frame).stale:
            break
        time.sleep(0.2)
    assert queries.answer_of(ask(query)).error is None


def test_disconnect_cuts_running_questions_off_so_that_the_process_can_end(ledger_url):
    queries.connect(Sources(ledger_url=ledger_url.reader, query_timeout=20))
    failures: list[SourceError] = []

    def wait() -> None:
        try:
            ask(question("long", "select pg_sleep(15)"))
        except SourceError as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    start = time.monotonic()
    queries.disconnect()
    waiting.join(5)
    assert not waiting.is_alive()
    assert time.monotonic() - start < 3
    assert failures


def test_a_date_is_a_business_day_not_a_time(house):
    frame = ask(
        question("day", "select cast(:day as date) as day", [Param("day", "date")], [Column("day", "date")]),
        {"day": date(2022, 10, 30)},
    )
    assert frame["day"].dt.tz is None
