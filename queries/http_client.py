"""HTTP with JSON, for the sources beside ledger and metrics: bounded in time and bytes, errors as sentences.

`requests` bounds each read, not the whole answer: a server that sends a byte a second would hold a page for ever. Here
one deadline covers connecting, waiting and reading, and an answer that is longer than it may be is cut off.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.retry import Retry

from queries.errors import SourceError

MAX_BYTES = 16 * 2**20
CHUNK = 64 * 1024


class _BoundedHead(HTTPConnection):
    """Waits for the head of an answer no longer than its timeout, however its bytes come."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """The answer, its body unread. Raises TimeoutError."""
        wire, seconds = self.sock, self.timeout
        if wire is None or not isinstance(seconds, int | float):
            return super().getresponse()
        late = threading.Event()

        def end() -> None:
            late.set()
            with contextlib.suppress(OSError):
                # The read that waits is woken; what comes after it all the same is no longer waited for.
                wire.settimeout(0.001)
                wire.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()
        except Exception:
            if late.is_set():
                raise TimeoutError("timed out") from None
            raise
        finally:
            timer.cancel()
        if late.is_set():
            # What was cut in the middle of its head reads like a head that ended.
            raise TimeoutError("timed out")
        return answer


class _BoundedHeadTls(_BoundedHead, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _BoundedHead


class _PoolTls(HTTPSConnectionPool):
    ConnectionCls = _BoundedHeadTls


# For a pool manager of urllib3: the read timeout bounds the head of an answer as a whole, not each read of it.
BOUNDED_POOLS = {"http": _Pool, "https": _PoolTls}


class BoundedAdapter(HTTPAdapter):
    """The same for a session of `requests`."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As for all, with connections of its own."""
        super().init_poolmanager(*args, **options)
        bound_heads(self)


def bound_heads(adapter: HTTPAdapter) -> None:
    """The same for an adapter that a library has made, before it is used."""
    adapter.poolmanager.pool_classes_by_scheme = BOUNDED_POOLS
    # Some make their pool of connections ahead.
    adapter.poolmanager.clear()


class WholeAnswers(BoundedAdapter):
    """For a library that reads answers by itself: it is given the whole of each, bounded in time and bytes.

    `seconds` is from asking to the last byte. Raises what `requests` raises, and SourceError(too_large).
    """

    def __init__(self, *, seconds: float, too_large: SourceError, max_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._too_large = too_large

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Ask, and read all of the answer."""
        until = time.monotonic() + self._seconds
        answer = super().send(request, stream=True, timeout=timeout, verify=verify, cert=cert, proxies=proxies)
        content = bytearray()
        try:
            while part := answer.raw.read1(CHUNK, decode_content=True):
                content += part
                if len(content) > self._max_bytes:
                    told = self._too_large
                    raise SourceError(told.sentence, kind=told.kind, source=told.source)
                if time.monotonic() > until:
                    raise requests.ReadTimeout(request=request)
        except (ReadTimeoutError, TimeoutError):
            answer.close()
            raise requests.ReadTimeout(request=request) from None
        except (HTTPError, OSError) as error:
            answer.close()
            if isinstance(error, requests.RequestException):
                raise
            raise requests.exceptions.ChunkedEncodingError(error, request=request) from None
        except SourceError:
            answer.close()
            raise
        answer.raw = HTTPResponse(io.BytesIO(bytes(content)), status=answer.status_code, preload_content=False)
        return answer


class HttpClient:
    """Asks one server. `name` is what people call it, `variable` the setting of its address; both stand in sentences.

    Times are seconds. Redirects are not followed: a login page must not be read as an answer, nor a token be sent on.
    """

    def __init__(
        self,
        url: str,
        *,
        source: str,
        name: str,
        variable: str,
        headers: Mapping[str, str] | None = None,
        connections: int = 4,
        connect_timeout: float = 3.0,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.url = url.rstrip("/")
        self.source = source
        self.name = name
        self.variable = variable
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_bytes = max_bytes
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._adapter = BoundedAdapter(pool_maxsize=connections, max_retries=Retry(total=0, raise_on_status=False))
        # A session is not made for several threads at once: each has its own, on one pool of connections.
        self._local = threading.local()
        # A file of certificates, where the server's is not signed by what everyone trusts.
        self.verify: bool | str = True

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """The JSON at `path`. Raises SourceError."""
        return self.ask("GET", path, params=params, timeout=timeout)[0]

    def post(self, path: str, body: Any, *, params: Mapping[str, Any] | None = None) -> Any:
        """Send JSON and give the JSON of the answer (None when it is empty). Raises SourceError."""
        return self.ask("POST", path, params=params, body=body)[0]

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Any = None,
        timeout: float | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """The JSON of the answer and its headers; `body` is sent as JSON, or `form` as a form. Raises SourceError."""
        until = time.monotonic() + (timeout or self.timeout)
        try:
            with self._session().request(
                method,
                f"{self.url}{quote(path, safe='/:@!$,;=~-._%')}",
                params=dict(params) if params else None,
                json=body,
                data=form,
                timeout=(min(self._connect_timeout, timeout or self.timeout), timeout or self.timeout),
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = self.read(answer, until)
                if not 200 <= answer.status_code < 300:
                    raise self.refusal(answer.status_code, content)
                headers = dict(answer.headers)
        except requests.Timeout:
            raise self.error("has not answered in time.", "timeout") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            if "timed out" in str(error).lower():
                raise self.error("has not answered in time.", "timeout") from None
            if isinstance(error, requests.exceptions.ChunkedEncodingError | HTTPError):
                raise self.error("broke off in the middle of its answer.", "down") from None
            raise self.error("cannot be reached.", "down") from None
        if not content.strip():
            return None, headers
        try:
            return json.loads(content), headers
        except (ValueError, RecursionError):
            raise self.garbage() from None

    def ping(self, path: str, params: Mapping[str, Any] | None = None, *, timeout: float = 3.0) -> float:
        """Seconds until `path` answers with JSON. Raises SourceError."""
        began = time.monotonic()
        self.get(path, params, timeout=timeout)
        return time.monotonic() - began

    def garbage(self) -> SourceError:
        """The error for an answer that is not in the form of this API; clients raise it for a field that is missing."""
        return SourceError(
            f"What answers at {self.variable} does not speak the API of {self.name}.",
            kind="refused",
            source=self.source,
        )

    def close(self) -> None:
        """Drop the connections."""
        self._adapter.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            # No proxy and no .netrc from the environment: where a token goes is said by the settings alone.
            session.trust_env = False
            session.verify = self.verify
            session.headers.update(self._headers)
            session.mount("http://", self._adapter)
            session.mount("https://", self._adapter)
        return session

    def read(self, answer: requests.Response, until: float) -> bytes:
        """The body of a streamed answer, bounded in bytes and by `until` (monotonic). Raises SourceError."""
        content = bytearray()
        # read1 gives what has come, so that a server which trickles cannot outlast the deadline.
        while part := answer.raw.read1(CHUNK, decode_content=True):
            content += part
            if len(content) > self._max_bytes:
                raise SourceError(
                    f"The answer of {self.name} is larger than {self._max_bytes // 2**20} MiB: narrow the choice.",
                    kind="too_large",
                    source=self.source,
                )
            if time.monotonic() > until:
                raise self.error("has not answered in time.", "timeout")
        return bytes(content)

    def refusal(self, status: int, content: bytes) -> SourceError:
        """The error for a status that is no success; a client whose server says why in a form of its own reads it."""
        return self.refused(status)

    def refused(self, status: int) -> SourceError:
        """The error for an HTTP status that is no success; what the body says goes no further."""
        if status in {401, 403}:
            return self.error(f"does not let Mirador in (HTTP {status}): check its token.", "refused")
        if status == 404:
            return self.error("does not know what was asked for (HTTP 404).", "refused")
        if status == 429:
            return self.error("is asked too often (HTTP 429): it answers again in a moment.", "down")
        if status >= 500:
            return self.error(f"failed (HTTP {status}).", "down")
        if 300 <= status < 400:
            return self.error(f"sends elsewhere (HTTP {status}): check {self.variable}.", "refused")
        return self.error(f"refused the question (HTTP {status}).", "refused")

    def error(self, what: str, kind: Any) -> SourceError:
        """The error for what this server did; `what` goes on after its name."""
        return SourceError(f"{self.name} {what}", kind=kind, source=self.source)
