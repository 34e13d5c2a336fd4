"""From a mark to its rows: the parameters it binds, what stands in the panel, the file, and a click in a browser."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import openpyxl
import pandas as pd
import pytest
from sqlalchemy import create_engine
from starlette.applications import Starlette
from starlette.routing import Route
from streamlit.testing.v1 import AppTest

import queries
from app import download
from app.download import LedgerRows, Order, csv_chunks, read, rows_download, running, sign, write_xlsx
from components import Drill
from components.drill import RowList, label_of, params_of, picked_mark
from queries import Sources
from queries.library import Column
from queries.rows import rows_query
from tests.conftest import ROOT
from tests.dashboard import chromium, chromium_path, serve, viewer

DAY = date(2026, 2, 27)
COUNTS = {"AAA": 128, "AA": 3, "": 1}
EVIL = "=cmd|' /C calc'!A0"

PAGE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import os
from datetime import date
import streamlit as st
import components, queries
from app.download import LedgerRows
from components import Drill, bar, panel
from pathlib import Path

queries.connect(queries.Sources(ledger_url=os.environ["MIRADOR_LEDGER_URL"]))
components.on_rows(LedgerRows(pages={{"credit_id": "credit"}}))


def page():
    @panel("By tier", key="by_tier")
    def by_tier():
        day = date(2026, 2, 27)
        frame = queries.ledger("rows/payments", {{"first": day, "last": day}})
        drawn = frame.fillna({{"sinosure_tier": ""}}).groupby("sinosure_tier").size().reset_index(name="n")
        drawn["n"] += st.session_state.get("more", 0)
        drawn.attrs = frame.attrs
        return bar(drawn, x="sinosure_tier", y="n", unit="count", title="Payments by tier", drill=Drill(
            "rows/payments", {{"first": day, "last": day}}, by={{"tier": "sinosure_tier"}}, count="n", title="Payments",
        ))


if __name__ == "__main__":
    leads = [st.Page(Path({str(ROOT / "pages")!r}) / f"{{name}}.py") for name in ("credit", "conductor")]
    st.navigation([st.Page(page, default=True), *leads]).run()
"""


def fill(owner_url: str) -> None:
    """Payments of one day by tier: 128, 3 and 1 without a credit; and one of the next day."""
    engine = create_engine(owner_url)
    owner = engine.raw_connection()
    cursor = owner.cursor()
    start = datetime(2026, 2, 27, 6, tzinfo=UTC)
    for tier in ("AAA", "AA"):
        cursor.execute(
            "insert into bi.credits values (%s, %s, %s, %s, 100, %s, %s, 'sent', 'active', null, %s)",
            (f"C-{tier}", f"A-{tier}", f"D-{tier}", tier, start, start, start),
        )
    number = 0
    for tier, count in COUNTS.items():
        for _ in range(count):
            number += 1
            # Ten at a time: what sorts alike is told apart by the key.
            at = start + timedelta(minutes=number // 10)
            code = EVIL if number == 1 else None
            cursor.execute(
                "insert into bi.payments values (%s, %s, null, %s, %s, 'succeeded', 'card', %s, null, %s)",
                (number, f"C-{tier}", at, Decimal(number) / 100 + 1000, code, at),
            )
    cursor.execute(
        "insert into bi.payments values (1000, 'C-AAA', null, %s, 1, 'failed', 'card', null, null, %s)",
        (start + timedelta(days=1), start),
    )
    owner.commit()
    owner.close()
    engine.dispose()


@pytest.fixture(scope="module")
def filled(module_ledger_url):
    fill(module_ledger_url.owner)
    return module_ledger_url


@pytest.fixture
def connected(filled, monkeypatch):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", filled.reader)
    queries.connect(Sources(ledger_url=filled.reader))
    yield filled
    queries.disconnect()


# The mark and its parameters. ---------------------------------------------------------------------------------------

KNOWN = RowList(
    "Payments",
    "",
    {
        **{"first": "date", "last": "date", "tier": "text", "tiers": "text[]", "band": "integer", "as_of": "date"},
        **{"as_of_before": "date", "bucket": "integer", "bucket_before": "integer"},
    },
    {},
    (("processed_at", True),),
)


def test_a_mark_binds_what_its_columns_hold():
    drill = Drill(
        "rows/payments", {"tiers": ("AAA",)}, by={"first": "bin_first", "last": "bin_last", "band": "b", "tier": "t"}
    )
    mark = pd.Series({"bin_first": pd.Timestamp("2026-02-01"), "bin_last": pd.Timestamp("2026-02-28"), "b": 40.0})
    mark["t"] = None
    assert params_of(drill, mark, KNOWN) == {
        "tiers": ("AAA",),
        "first": date(2026, 2, 1),
        "last": date(2026, 2, 28),
        "band": 40,
        "tier": "",
    }


def test_a_list_parameter_takes_the_mark_s_value_as_its_only_item():
    assert params_of(Drill("q", by={"tiers": "t"}), {"t": "AA"}, KNOWN) == {"tiers": ["AA"]}


def test_a_mark_without_a_value_opens_nothing_rather_than_everything():
    with pytest.raises(ValueError, match="no b for the parameter band"):
        params_of(Drill("q", by={"band": "b"}), {"b": pd.NA}, KNOWN)


def test_the_picked_mark_is_found_by_its_text_after_a_refresh():
    marks = pd.DataFrame({"mark": ["AAA|", "AA|"], "n": [1, 2]})
    assert picked_mark([{"mark": "AA|"}], marks)["n"] == 2
    assert picked_mark([{"mark": "AAA|"}, {"mark": "AA|"}], marks)["n"] == 2, "the last click counts"
    for nothing in ([], None, [{"mark": "C|"}], [{"vgsid": 1}]):
        assert picked_mark(nothing, marks) is None


@pytest.mark.parametrize(
    ("params", "by", "words"),
    [
        ({"first": DAY, "last": DAY, "tier": "AAA"}, {"first": "d", "last": "d", "tier": "t"}, "27 feb 2026, AAA"),
        ({"first": DAY.replace(day=1), "last": DAY, "tier": ""}, {"tier": "t"}, "1–27 feb 2026, (ninguno)"),
        ({"first": date(2025, 12, 1), "last": DAY}, {}, "1 dic 2025 – 27 feb 2026"),
        ({"as_of": DAY, "band": 90}, {"band": "b"}, "al final del 27 feb 2026, HASE 90–100"),
        ({"as_of": DAY, "bucket": 3}, {"bucket": "b"}, "al final del 27 feb 2026: 16–30 días de atraso"),
        (
            {"as_of_before": date(2026, 1, 31), "bucket_before": 6, "as_of": DAY, "bucket": 0},
            {"as_of_before": "c", "bucket_before": "d", "as_of": "a", "bucket": "b"},
            "al final del 31 ene 2026: 90+ días de atraso, al final del 27 feb 2026: sin atraso",
        ),
    ],
)
def test_the_heading_says_what_was_clicked(params, by, words):
    assert label_of(Drill("q", params, by=by, title="Pagos"), params, KNOWN) == f"Pagos, {words}"


# In the panel. ------------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(connected, tmp_path, monkeypatch) -> AppTest:
    """The page with the bar AAA picked."""
    module = sys.modules["components.panel"]
    monkeypatch.setattr(module, "picked_mark", lambda picked, marks: marks[marks["n"] >= 100].iloc[0])
    script = tmp_path / "page.py"
    script.write_text(PAGE.replace('if __name__ == "__main__":', "page()\nif False:"))
    return AppTest.from_file(str(script), default_timeout=20).run()


def table(page: AppTest) -> pd.DataFrame:
    return page.dataframe[0].value


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=f"by_tier:rows:{key}").click().run()


def test_a_panel_shows_the_clicked_number_of_rows_page_by_page(panel):
    assert not panel.exception
    assert any("128 filas" in one.value for one in panel.markdown), [one.value for one in panel.markdown]
    seen = [*table(panel)["payment_id"]]
    assert len(seen) == 50
    assert press(panel, "next").button(key="by_tier:rows:back").disabled is False
    seen += [*table(panel)["payment_id"]]
    press(panel, "next")
    seen += [*table(panel)["payment_id"]]
    assert panel.button(key="by_tier:rows:next").disabled
    assert sorted(seen) == list(range(1, 129)), "each row once"
    press(panel, "back")
    assert [*table(panel)["payment_id"]] == seen[50:100]
    press(panel, "back")
    assert [*table(panel)["payment_id"]] == seen[:50]
    assert panel.button(key="by_tier:rows:back").disabled


def test_the_rows_say_how_old_they_are_and_what_was_asked(panel):
    panel.session_state["by_tier:rows:query"] = True
    panel.run()
    assert not panel.exception
    assert sum("hace" in one.value for one in panel.caption) >= 2, "those of the picture and those of the rows"
    assert [one for one in panel.code if "bi.payments" in one.value]


def test_a_sort_begins_at_the_first_page(panel):
    press(panel, "next")
    panel.selectbox(key="by_tier:rows:sort").set_value(("amount", False)).run()
    assert [*table(panel)["payment_id"]] == list(range(1, 51))
    assert panel.button(key="by_tier:rows:back").disabled


def test_a_number_that_has_changed_since_is_told_with_both(panel):
    panel.session_state["more"] = 2
    panel.run()
    said = " ".join(one.value for one in panel.caption)
    assert "130" in said, said
    assert "128" in said, said


def test_rows_that_cannot_be_had_leave_the_picture_alone(panel, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise queries.SourceError("The ledger cannot be reached.", kind="down")

    monkeypatch.setattr(download, "rows", refuse)
    panel.run()
    assert not panel.exception
    assert panel.get("vega_lite_chart") or panel.get("arrow_vega_lite_chart")
    assert panel.button(key="by_tier:rows:retry")


# The file. ----------------------------------------------------------------------------------------------------------


def order(**changes: Any) -> Order:
    return replace(
        Order(
            query="rows/payments",
            params={"first": DAY, "last": DAY, "tier": "AAA"},
            sort="processed_at",
            descending=True,
            format="csv",
            name="Pagos_27_feb_año",
            total=128,
            language="es",
            id=f"id-{time.monotonic()}",
            expires=int(time.time()) + 60,
        ),
        **changes,
    )


class Client:
    """Asks the route; `raw` leaves the body as it was sent."""

    def get(self, token: str, *, raw: bool = False, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            app = Starlette(routes=[Route("/download/rows", rows_download)])
            async with (
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client,
                client.stream(
                    "GET", "/download/rows", params={"token": token}, headers={"accept-encoding": "", **headers}
                ) as answer,
            ):
                body = b"".join([part async for part in answer.aiter_raw()])
                kept = [(k, v) for k, v in answer.headers.multi_items() if k != "content-encoding" or not raw]
                return httpx.Response(answer.status_code, headers=kept, content=body)

        return anyio.run(ask)


@pytest.fixture
def client(connected) -> Client:
    return Client()


def fetch(client: Client, wanted: Order, **options: Any) -> httpx.Response:
    return client.get(sign(wanted), **options)


def test_a_csv_has_all_rows_to_the_centavo_with_zones_and_no_formula(client):
    wanted = order()
    answer = fetch(client, wanted)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "filename*=UTF-8''Pagos_27_feb_a%C3%B1o.csv" in answer.headers["content-disposition"]
    assert 'filename="Pagos_27_feb_ano.csv"' in answer.headers["content-disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert answer.content.count(b"\r\n") == 129
    found = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert sorted(int(one["payment_id"]) for one in found) == list(range(1, 129))
    first = next(one for one in found if one["payment_id"] == "1")
    assert first["amount"] == "1000.01"
    assert first["processed_at"] == "2026-02-27T00:00:00-06:00"
    assert first["failure_code"] == f"'{EVIL}"
    assert first["installment_id"] == ""
    told = running.get(wanted.id)
    assert (told.sent, told.total, told.state) == (128, 128, "done")


def test_a_csv_is_packed_for_whoever_takes_it_packed(client):
    plain = fetch(client, order())
    assert "content-encoding" not in plain.headers
    packed = fetch(client, order(), raw=True, **{"accept-encoding": "gzip"})
    assert len(packed.content) < len(plain.content)
    assert gzip.decompress(packed.content) == plain.content


def test_an_xlsx_has_all_rows_with_their_types(client):
    answer = fetch(client, order(format="xlsx", sort="amount", descending=False))
    assert answer.status_code == 200
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    cells = list(sheet.iter_rows(values_only=True))
    place = {name: number for number, name in enumerate(cells[0])}
    assert len(cells) == 129
    assert [row[place["payment_id"]] for row in cells[1:]] == list(range(1, 129))
    assert cells[1][place["amount"]] == 1000.01
    assert cells[1][place["processed_at (America/Mexico_City)"]] == datetime(2026, 2, 27)
    assert cells[1][place["failure_code"]] == f"'{EVIL}"
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "d", "inlineStr"}


def test_rows_beyond_a_sheet_go_to_the_next(tmp_path, connected):
    query = replace(rows_query("rows/payments"), columns=(Column("n", "bigint"),))
    path = tmp_path / "rows.xlsx"
    write_xlsx(path, query, iter([[(n,) for n in range(25)]]), title="[a]:*?", zone="UTC", sheet_rows=11)
    book = openpyxl.load_workbook(path)
    assert [sheet.max_row for sheet in book] == [11, 11, 6]
    assert [row[0] for sheet in book for row in sheet.iter_rows(min_row=2, values_only=True)] == list(range(25))


def test_no_rows_give_the_headings_alone(connected):
    query = rows_query("rows/payments")
    made = b"".join(body for _, body in csv_chunks(query, iter([])))
    assert made.decode("utf-8-sig") == ",".join(column.name for column in query.columns) + "\r\n"


def test_only_what_was_signed_here_is_sent(client):
    token = sign(order())
    content, _, signature = token.partition(".")
    other = sign(order(query="rows/credits", params={})).partition(".")[0]
    for bad in (
        "",
        "x",
        content,
        f"{content}.",
        f"{other}.{signature}",
        f"{content}.{signature[:-2]}",
        f"é.{signature}",
    ):
        answer = client.get(bad)
        assert answer.status_code == 403, bad
        assert "enlace" in answer.text
    assert read(token) is not None
    over = fetch(client, order(expires=int(time.time()) - 1))
    assert over.status_code == 403
    unknown = fetch(client, order(params={"colour": "red"}))
    assert unknown.status_code == 400


def test_a_link_stays_the_same_while_a_page_draws_itself_anew(connected):
    ask = {"sort": "amount", "descending": True, "format": "csv", "name": "n", "total": 1, "id": "i"}
    links = {LedgerRows().link("rows/payments", {"first": DAY}, **ask) for _ in range(3)}
    assert len(links) == 1
    found = read(links.pop().partition("token=")[2])
    assert found.params == {"first": "2026-02-27"}
    assert 0 < found.expires - time.time() <= 1.5 * download.LINK_SECONDS


def test_one_download_too_many_is_asked_to_wait(client, monkeypatch):
    taken = [download._slots.acquire(blocking=False) for _ in range(download.AT_ONCE)]
    try:
        wanted = order()
        answer = fetch(client, wanted)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "60"
        assert running.get(wanted.id).state == "failed"
    finally:
        for _ in taken:
            download._slots.release()
    assert fetch(client, order()).status_code == 200


def test_a_ledger_that_is_down_is_told_and_frees_the_slot(client):
    queries.connect(Sources(ledger_url="postgresql://nobody@127.0.0.1:1/none"))
    for format in ("csv", "xlsx"):
        for _ in range(download.AT_ONCE + 1):
            wanted = order(format=format)
            answer = fetch(client, wanted)
            assert answer.status_code == 503
            assert "libro" in answer.text, answer.text
            assert running.get(wanted.id).state == "failed"


async def run(wanted: Order, receive: Any, send: Any) -> None:
    request = SimpleNamespace(query_params={"token": sign(wanted)}, headers={}, method="GET")
    answer = await rows_download(request)
    await answer({"type": "http", "method": "GET", "headers": []}, receive, send)


def test_a_client_that_takes_nothing_is_cut_off_and_frees_the_slot(connected, monkeypatch):
    monkeypatch.setattr(download, "IDLE_SECONDS", 0.2)
    wanted = order()

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep(60)

    async def receive() -> Any:
        await anyio.sleep(60)

    began = time.monotonic()
    with pytest.raises(BaseException):  # noqa: B017, PT011
        anyio.run(run, wanted, receive, stuck)
    assert time.monotonic() - began < 10
    assert running.get(wanted.id).state == "failed"
    assert download._slots._value == download.AT_ONCE


def test_a_client_that_leaves_ends_the_download(connected):
    wanted = order()

    async def taken(message: Any) -> None:
        await anyio.sleep(0.3)

    async def receive() -> Any:
        await anyio.sleep(0.1)
        return {"type": "http.disconnect"}

    anyio.run(run, wanted, receive, taken)
    assert running.get(wanted.id).state == "failed"
    assert download._slots._value == download.AT_ONCE


# In a browser. ------------------------------------------------------------------------------------------------------

ASGI = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import streamlit as st
from starlette.routing import Route
from app.download import rows_download

app = st.App(Path(__file__).with_name("page.py"), routes=[Route("/download/rows", rows_download)])
"""
RUN = """
import os, sys
from streamlit.web import cli
folder = os.path.dirname(os.path.abspath(__file__))
sys.argv = ["streamlit", "run", folder + "/asgi.py", "--server.port", os.environ["MIRADOR_PORT"],
            "--server.address", "127.0.0.1", "--server.headless", "true", "--browser.gatherUsageStats", "false"]
cli.main()
"""


@pytest.mark.skipif(chromium_path() is None, reason="No Chromium on this machine")
def test_a_click_opens_its_rows_and_from_a_row_the_credit(filled, tmp_path):
    for name, text in (("page.py", PAGE), ("asgi.py", ASGI), ("run.py", RUN)):
        (tmp_path / name).write_text(text)
    env = {"MIRADOR_LEDGER_URL": filled.reader}
    argv = [sys.executable, str(tmp_path / "run.py")]
    with serve(tmp_path, env, argv, ready="/_stcore/health") as site, chromium() as browser, viewer(browser) as window:
        page = window.page
        window.open(f"{site.url}/")
        bars = page.locator('.st-key-panel-by_tier svg path[aria-roledescription="bar"]')
        tallest = max(range(bars.count()), key=lambda number: bars.nth(number).bounding_box()["height"])
        assert "128" in bars.nth(tallest).get_attribute("aria-label")
        bars.nth(tallest).click()
        window.wait_for_text("128 filas: ")
        window.wait_for_text("1–50 de 128")
        opened = page.locator(".st-key-rows-by_tier")
        opened.locator('[class*="rows-next"] button').click()
        window.wait_for_text("51–100 de 128")

        with page.expect_download() as awaited:
            opened.locator('a[href*="download/rows"]:visible').first.click()
        page.bring_to_front()
        found = list(csv.DictReader(io.StringIO(Path(awaited.value.path()).read_text("utf-8-sig"))))
        assert sorted(int(one["payment_id"]) for one in found) == list(range(1, 129))
        assert awaited.value.suggested_filename.endswith(".csv")
        window.wait_for_text("128 filas enviadas")

        # Cells are drawn on a canvas: somewhere on the first row stands the credit, the only one that leads further.
        page.wait_for_timeout(300)
        box = opened.locator('[data-testid="stDataFrame"] canvas').first.bounding_box()
        for right in range(90, int(box["width"]), 25):
            page.mouse.click(box["x"] + right, box["y"] + 52)
            page.wait_for_timeout(150)
            if "id=" in page.url:
                break
        page.wait_for_url("**/credit?id=C-AAA", timeout=15_000)
        window.drawn()
        assert "C-AAA" in window.text()
