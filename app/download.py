"""All rows behind a number as one file, however many they are: `/download/rows`.

A panel hands out a link with a signed token: which rows, in which order, until when. The route sends what the token
says and nothing else, so only what a viewer was shown can be fetched, and only for `LINK_SECONDS`. Rows go from a
cursor of the database to the browser a chunk at a time (CSV), or into a file on disk that is then sent (XLSX).
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hmac
import io
import json
import re
import secrets
import tempfile
import threading
import time
import unicodedata
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import anyio
import anyio.to_thread
import streamlit as st
import xlsxwriter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from app.settings import auth_secret, settings
from components import i18n
from components.drill import Progress, RowList
from components.frame import harmless
from queries import SourceError
from queries.library import Query
from queries.rows import Place, count_rows, rows, rows_query, sort_of, stream_rows

LINK_SECONDS = 3600
# A client that takes nothing for this long is cut off.
IDLE_SECONDS = 30.0
# No download lasts longer, whatever its size.
TOTAL_SECONDS = 1800.0
AT_ONCE = 3
KEPT_SECONDS = 3600
# Excel's own bounds.
SHEET_ROWS = 1_048_576
CELL_LENGTH = 32_767
PAGES = Path(__file__).resolve().parent.parent / "pages"

Format = Literal["csv", "xlsx"]
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True)
class Order:
    """What a token says: the rows, their order, and how the file is called."""

    query: str
    params: dict[str, Any]
    sort: str
    descending: bool
    format: Format
    name: str
    total: int
    language: str
    id: str
    expires: int


# --- the token --------------------------------------------------------------------------------------------------------


@cache
def _key() -> bytes:
    """The key that all processes of an installation share; one of this process alone when nothing secret is set."""
    configured = settings()
    for secret in (configured.secret, configured.api_token):
        if secret is not None:
            return _derived(secret.get_secret_value())
    found = auth_secret()
    return _derived(found) if found else secrets.token_bytes(32)


def _derived(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"mirador download 1", "sha256")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(order: Order) -> str:
    """The token for an order."""

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else str(value)

    content = _encode(zlib.compress(json.dumps(asdict(order), default=plain, separators=(",", ":")).encode()))
    return f"{content}.{_encode(hmac.digest(_key(), content.encode(), 'sha256'))}"


def read(token: str) -> Order | None:
    """The order that this token was signed for, or None when it was not signed here or is over."""
    content, _, signature = token.partition(".")
    wanted = _encode(hmac.digest(_key(), content.encode(), "sha256"))
    if not hmac.compare_digest(signature.encode(), wanted.encode()):
        return None
    order = Order(**json.loads(zlib.decompress(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))))
    return order if order.expires >= time.time() else None


# --- how far it is ----------------------------------------------------------------------------------------------------


class _Running:
    """The downloads of this process by the id in their token, for the panel that offered them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Progress]] = {}

    def tell(self, id: str, progress: Progress) -> None:
        with self._lock:
            self._known[id] = (time.monotonic(), progress)

    def get(self, id: str) -> Progress | None:
        with self._lock:
            long_ago = time.monotonic() - KEPT_SECONDS
            self._known = {known: entry for known, entry in self._known.items() if entry[0] > long_ago}
            return self._known[id][1] if id in self._known else None


running = _Running()
_slots = threading.BoundedSemaphore(AT_ONCE)
# Threads of their own: a slow download must not take those that answer other requests.
_threads = anyio.CapacityLimiter(AT_ONCE * 2)


# --- CSV --------------------------------------------------------------------------------------------------------------


def _cell(kind: str) -> Callable[[Any], Any] | None:
    """What makes a value of this type ready for CSV, or None when the writer does it by itself."""
    if kind == "text":
        return harmless
    if kind == "timestamptz":
        return lambda moment: moment and moment.isoformat()
    if kind == "numeric":
        return lambda amount: amount if amount is None else f"{amount:f}"
    return None


def csv_chunks(query: Query, parts: Iterator[list[tuple[Any, ...]]]) -> Iterator[tuple[int, bytes]]:
    """The file in pieces, each with the number of rows in it: UTF-8 with a byte-order mark, CRLF, harmless texts."""
    out = io.StringIO()
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    cells = [(place, make) for place, column in enumerate(query.columns) if (make := _cell(column.type))]

    def taken() -> bytes:
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return text.encode()

    # The heading comes with the first rows: a ledger that is down is told as an error, not as an empty file.
    writer.writerow([column.name for column in query.columns])
    for part in parts:
        for row in part:
            values = list(row)
            for place, make in cells:
                values[place] = make(values[place])
            writer.writerow(values)
        yield len(part), taken()
    if rest := taken():
        yield 0, rest


# --- XLSX -------------------------------------------------------------------------------------------------------------


def write_xlsx(
    path: Path,
    query: Query,
    parts: Iterator[list[tuple[Any, ...]]],
    *,
    title: str,
    zone: str,
    written: Callable[[int], None] = lambda rows: None,
    sheet_rows: int = SHEET_ROWS,
) -> None:
    """Write the file row by row to disk, a further sheet whenever one is full; memory holds one row.

    Times are Excel's own, in the clock of `zone`, which the heading names: Excel knows no zones. `written` is called
    with the number of rows after each chunk and may raise to stop.
    """
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    sheet_name = re.sub(r"[\[\]:*?/\\']", " ", title)[:25].strip() or "rows"
    with xlsxwriter.Workbook(str(path), options) as book:
        bold = book.add_format({"bold": True})
        formats = {
            "numeric": book.add_format({"num_format": "#,##0.00"}),
            "timestamptz": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "date": book.add_format({"num_format": "yyyy-mm-dd"}),
        }
        kinds = [column.type for column in query.columns]
        widths = {"text": 22, "timestamptz": 20, "date": 12, "numeric": 16}

        def new_sheet(number: int) -> Any:
            sheet = book.add_worksheet(sheet_name if number == 1 else f"{sheet_name} {number}")
            for place, column in enumerate(query.columns):
                sheet.set_column(place, place, widths.get(column.type, 12))
                heading = f"{column.name} ({zone})" if column.type == "timestamptz" else column.name
                sheet.write_string(0, place, heading, bold)
            sheet.freeze_panes(1, 0)
            return sheet

        sheets = 1
        sheet = new_sheet(sheets)
        at = 1
        for part in parts:
            for row in part:
                if at == sheet_rows:
                    sheets += 1
                    sheet, at = new_sheet(sheets), 1
                for place, (kind, value) in enumerate(zip(kinds, row, strict=True)):
                    if value is None:
                        continue
                    if isinstance(value, str):
                        sheet.write_string(at, place, harmless(value)[:CELL_LENGTH])
                    elif isinstance(value, bool):
                        sheet.write_boolean(at, place, value)
                    elif isinstance(value, datetime):
                        sheet.write_datetime(at, place, value.replace(tzinfo=None), formats["timestamptz"])
                    elif isinstance(value, date):
                        sheet.write_datetime(at, place, value, formats["date"])
                    else:
                        sheet.write_number(at, place, value, formats.get(kind))
                at += 1
            written(len(part))


# --- the route --------------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """The client has left or the time is over."""


def _sentence(text: str, language: str) -> str:
    return i18n._translations(language).gettext(text)


async def rows_download(request: Request) -> Response:
    """The file that the token in `?token=` was signed for."""
    headers = {"Cache-Control": "no-store"}
    try:
        order = read(request.query_params.get("token", ""))
    except Exception:
        # Whatever is wrong with it: it was not signed here.
        order = None
    if order is None:
        language = "en" if request.headers.get("accept-language", "es").lower().startswith("en") else "es"
        said = _sentence("This link is over or was not made here: open the rows again and download anew.", language)
        return PlainTextResponse(f"{said}\n", 403, headers=headers)
    try:
        query = rows_query(order.query, order.params)
    except SourceError as error:
        return PlainTextResponse(f"{_sentence(error.sentence, order.language)}\n", 400, headers=headers)
    if request.method == "HEAD":
        return Response(headers=_headers(order))
    if not _slots.acquire(blocking=False):
        said = _sentence("Other downloads are running: try again in a minute.", order.language)
        running.tell(order.id, Progress(0, order.total, "failed", said))
        return PlainTextResponse(f"{said}\n", 503, headers={**headers, "Retry-After": "60"})
    return _Rows(order, query, gzip="gzip" in request.headers.get("accept-encoding", ""))


def _headers(order: Order) -> dict[str, str]:
    plain = unicodedata.normalize("NFKD", order.name).encode("ascii", "ignore").decode() or "rows"
    return {
        "Content-Type": _TYPES[order.format],
        "Content-Disposition": f'attachment; filename="{plain}.{order.format}"; '
        f"filename*=UTF-8''{quote(order.name)}.{order.format}",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class _Rows(Response):
    """Sends the rows; a slot is taken when it is made and freed when it is over."""

    def __init__(self, order: Order, query: Query, *, gzip: bool) -> None:
        headers = _headers(order)
        # XLSX is compressed by itself.
        self._pack = zlib.compressobj(1, zlib.DEFLATED, 31) if gzip and order.format == "csv" else None
        if self._pack:
            headers["Content-Encoding"] = "gzip"
        self._order, self._query = order, query
        self._sent = 0
        self._failure = ""
        self._stop = threading.Event()
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        # No length is known before the end.
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]

    def _tell(self, state: Literal["running", "done", "failed"], words: str = "") -> None:
        running.tell(self._order.id, Progress(self._sent, self._order.total, state, words))

    def _count(self, rows: int) -> None:
        self._sent += rows
        self._tell("running")
        if self._stop.is_set():
            raise _Stopped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, until the client leaves or takes nothing, or until the time is over."""
        self._tell("running")
        gone = ended = False
        try:
            with anyio.fail_after(TOTAL_SECONDS):
                async with anyio.create_task_group() as tasks:

                    async def watch() -> None:
                        nonlocal gone
                        while (await receive())["type"] != "http.disconnect":
                            pass
                        # The server says the same of an answer that was given in full.
                        if ended:
                            return
                        gone = True
                        self._stop.set()
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(watch)
                    await self._send(scope, receive, send)
                    ended = True
                    await self._end(send)
                    tasks.cancel_scope.cancel()
        except BaseException as failure:
            self._failed(failure)
            # The answer breaks off without its end, so the browser does not take it for the whole file.
            raise
        finally:
            self._stop.set()
            _slots.release()
        if gone:
            self._failure = self._said("The download was stopped.")
        self._tell("failed" if self._failure else "done", self._failure)

    def _said(self, text: str) -> str:
        return _sentence(text, self._order.language)

    def _failed(self, failure: BaseException) -> None:
        causes = failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,)
        known = next((one for one in causes if isinstance(one, SourceError)), None)
        self._tell("failed", self._said(known.sentence if known else "The download was cut off."))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces = self._pieces()
        async with contextlib.aclosing(pieces):
            try:
                first = await anext(pieces)
            except SourceError as error:
                words = self._said(error.sentence)
                self._failure = words
                await PlainTextResponse(f"{words}\n", 503, headers={"Cache-Control": "no-store"})(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._give(send, first)
            async for piece in pieces:
                await self._give(send, piece)

    async def _end(self, send: Send) -> None:
        if not self._failure:
            with anyio.fail_after(IDLE_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _give(self, send: Send, piece: tuple[int, bytes]) -> None:
        count, body = piece
        if body:
            with anyio.fail_after(IDLE_SECONDS):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        if count:
            self._count(count)

    async def _pieces(self) -> AsyncGenerator[tuple[int, bytes]]:
        source = self._packed() if self._order.format == "csv" else self._file()
        try:
            while (piece := await anyio.to_thread.run_sync(next, source, None, limiter=_threads)) is not None:
                yield piece
        finally:
            self._stop.set()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(source.close, limiter=_threads)

    def _stream(self) -> Iterator[list[tuple[Any, ...]]]:
        order = self._order
        return stream_rows(
            order.query, order.params, sort=order.sort, descending=order.descending, seconds=TOTAL_SECONDS
        )

    def _packed(self) -> Generator[tuple[int, bytes]]:
        parts = self._stream()
        for count, text in csv_chunks(self._query, parts):
            yield count, self._pack.compress(text) if self._pack else text
        if self._pack:
            yield 0, self._pack.flush()

    def _file(self) -> Generator[tuple[int, bytes]]:
        """The file, once it is written: rows are counted while it is."""
        with tempfile.TemporaryDirectory(prefix="mirador-") as folder:
            path = Path(folder) / "rows.xlsx"
            write_xlsx(
                path,
                self._query,
                self._stream(),
                title=self._order.name,
                zone=settings().timezone,
                written=self._count,
            )
            with path.open("rb") as file:
                while body := file.read(256 * 1024):
                    yield 0, body


# --- what the panels ask ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LedgerRows:
    """The rows of the ledger for `components.on_rows`: see `components.drill.RowSource`.

    `pages` says which page in `folder` an id of which column leads to; it is asked with `?id=`.
    """

    pages: Mapping[str, str] = field(
        default_factory=lambda: {
            "credit_id": "credit",
            "application_id": "conductor",
            "conductor_id": "conductor",
            "call_id": "integrations",
        }
    )
    folder: Path = PAGES

    def describe(self, query: str) -> RowList:
        """What is known of a list before it is asked."""
        known = rows_query(query)
        return RowList(
            title=known.title,
            description=known.description,
            params={param.name: param.type for param in known.params},
            columns={column.name: (column.type, column.unit, column.description) for column in known.columns},
            sorts=tuple((sort.column, sort.descending) for sort in known.sorts),
        )

    def page(
        self,
        query: str,
        params: Mapping[str, Any],
        *,
        sort: str,
        descending: bool,
        after: Place | None,
        before: Place | None,
    ) -> Any:
        """A page of rows, with its `Page` in `frame.attrs["page"]`."""
        sort_of(rows_query(query, params), sort)
        return rows(query, params, sort=sort, descending=descending, after=after, before=before)

    def count(self, query: str, params: Mapping[str, Any]) -> int:
        """How many rows there are."""
        return count_rows(query, params)

    def link(
        self,
        query: str,
        params: Mapping[str, Any],
        *,
        sort: str,
        descending: bool,
        format: Format,
        name: str,
        total: int,
        id: str,
    ) -> str:
        """Where the file is. Stays the same for some minutes, so that a page that draws itself anew does not move."""
        step = LINK_SECONDS // 4
        expires = (int(time.time()) // step + 5) * step
        order = Order(
            query, dict(params), sort, descending, format, name[:120], total, i18n.language(), f"{id}-{format}", expires
        )
        # Relative: right below a base path, too.
        return f"download/rows?token={sign(order)}"

    def progress(self, id: str, format: Format) -> Progress | None:
        """How far the download is, or None when none has begun."""
        return running.get(f"{id}-{format}")

    def leads(self, column: str) -> bool:
        """Whether the ids in a column have a page of their own."""
        return column in self.pages and (self.folder / f"{self.pages[column]}.py").is_file()

    def open(self, column: str, id: str) -> None:
        """Go to the page of an id, in the same session; to a call with the filters it was found by."""
        asked: dict[str, Any] = {"id": id}
        if column == "call_id":
            asked = {name: st.query_params.get_all(name) for name in st.query_params} | asked
        st.switch_page(self.folder / f"{self.pages[column]}.py", query_params=asked)
