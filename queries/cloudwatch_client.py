"""CloudWatch Logs, asked in the language of Logs Insights through boto3.

Insights runs a query behind an id: it is started, asked for what it has so far, and stopped when nobody waits for it
any longer, for Amazon bills what it reads. The text of a query is made here and nowhere else; see `query_text`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pandas as pd
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, ReadTimeoutError

from queries.errors import SourceError
from queries.http_client import BOUNDED_POOLS, HttpClient
from queries.logs_client import LINES, NAMES, SEARCH_SECONDS, Found, Note, Question, bounded, counts_frame, line
from queries.logs_client import lines_frame as frame_of

POLL_SECONDS = (0.15, 1.0)
# Polls in a row that may fail before a search is given up.
PATIENCE = 3
_NOT_LET_IN = {
    "AccessDeniedException",
    "AccessDenied",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_BUSY = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}


# --- the query --------------------------------------------------------------------------------------------------------


def query_text(question: Question) -> str:
    """The question in the language of Insights, for the lines themselves.

    Whatever is asked, the words of the language are the same: ids hold no sign that could end a text (`Question`), and
    of a text to search for every sign but letters, digits and the blank is written by its number.
    """
    return "\n| ".join(["fields @timestamp, @message", *_filters(question), "sort @timestamp desc", f"limit {LINES}"])


def counts_text(question: Question, step: int) -> str:
    """The question for the number of lines by level in stretches of `step` seconds."""
    width = f"{step // 60}m" if step % 60 == 0 else f"{step}s"
    levels = ", ".join(NAMES["level"])
    return "\n| ".join(
        ["fields @timestamp", *_filters(question), f"stats count(*) as lines by bin({width}), {levels}", "limit 10000"]
    )


def _filters(question: Question) -> list[str]:
    found = []
    if question.levels:
        values = ", ".join(f'"{one}"' for one in question.levels_written())
        found.append(_any_of(f"{name} in [{values}]" for name in NAMES["level"]))
    for column, value in question.ids.items():
        found.append(_any_of(f'{name} = "{value}"' for name in NAMES[column]))
    if question.text:
        # In JSON an ñ may stand as \u00f1: the message is also looked at as Insights has read it.
        regex = f"/(?i){_literal(question.text)}/"
        found.append(_any_of(f"{name} like {regex}" for name in ("@message", "message")))
    return [f"filter {one}" for one in found]


def _any_of(conditions: Any) -> str:
    return f"({' or '.join(conditions)})"


def _literal(text: str) -> str:
    """A regular expression for this text and nothing else, without any sign that means something."""
    return "".join(
        sign if sign.isalnum() or sign == " " or not sign.isascii() else f"\\x{ord(sign):02X}" for sign in text
    )


# --- asking -----------------------------------------------------------------------------------------------------------


class CloudWatchClient:
    """Asks these log groups; credentials as boto3 finds them. Frames' times are in `zone`; all times are seconds."""

    name = "CloudWatch Logs"

    def __init__(
        self,
        groups: tuple[str, ...],
        *,
        zone: ZoneInfo,
        region: str = "us-east-1",
        url: str | None = None,
        connections: int = 4,
        connect_timeout: float = 3.0,
        timeout: float = 10.0,
    ) -> None:
        self.groups = groups
        self.zone = zone
        self._timeout = timeout
        # Its sentences and its bounded reading; it opens no connection here.
        self._http = HttpClient(
            url or "https://logs.amazonaws.com", source="logs", name=self.name, variable="MIRADOR_CLOUDWATCH_URL"
        )
        self._closed = False
        # A session of its own: the shared one is not made for several threads.
        self._client = boto3.session.Session().client(
            "logs",
            region_name=region,
            endpoint_url=url,
            config=Config(
                connect_timeout=connect_timeout,
                read_timeout=timeout,
                # Polls are repeated by the search itself.
                retries={"total_max_attempts": 1},
                max_pool_connections=connections,
            ),
        )
        # botocore bounds each read, not the head of an answer, its whole or its bytes. All its connections, those
        # through a proxy too, come from this one table.
        self._client._endpoint.http_session._pool_classes_by_scheme.update(BOUNDED_POOLS)
        self._client.meta.events.register("before-send.cloudwatch-logs", self._send)

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        began = time.monotonic()
        # Needs the right to describe queries, which those who may run them usually have; a refusal is an answer, too.
        self._ask("describe_queries", logGroupName=self.groups[0], maxResults=1)
        return time.monotonic() - began

    def close(self) -> None:
        """Stop searches that run and drop the connections."""
        self._closed = True
        self._client.close()

    def text(self, question: Question) -> str:
        """The question as it is sent."""
        return query_text(question)

    def search(
        self, question: Question, *, stopped: Callable[[], bool] = bool, seconds: float = SEARCH_SECONDS
    ) -> Iterator[Found]:
        """The lines as Insights finds them; the last one given has `ended`. Raises SourceError."""
        kept: dict[str, dict[str, Any]] = {}
        for told, note in self._run(query_text(question), question, stopped, seconds):
            lines, notes = bounded([self._sized(row) for row in self._rows(told)])
            frame = frame_of((_line(row, kept) for row in lines), self.zone)
            statistics = told.get("statistics") or {}
            matched = _whole(statistics.get("recordsMatched"))
            if matched is not None and matched > len(frame) and not notes:
                notes = ("lines",) if len(frame) == LINES else ()
            ended = note is not None or told.get("status") == "Complete"
            yield Found(
                frame,
                matched,
                _whole(statistics.get("recordsScanned")),
                _whole(statistics.get("bytesScanned")),
                ended=ended,
                notes=(*notes, *((note,) if note else ())),
            )

    def over_time(self, question: Question, step: int) -> pd.DataFrame:
        """Lines by level in stretches of `step` seconds; columns at (configured zone), level, lines.

        Raises SourceError.
        """
        text = counts_text(question, step)
        *_, (told, note) = self._run(text, question, bool, self._timeout)
        if note is not None:
            raise self._http.error("has not counted the lines in time: narrow the period.", "timeout")
        try:
            rows = [_count(row) for row in self._rows(told)]
        except (KeyError, ValueError, StopIteration):
            raise self._http.garbage() from None
        frame = counts_frame(rows, self.zone)
        frame.attrs["text"] = text
        return frame

    def _run(
        self, text: str, question: Question, stopped: Callable[[], bool], seconds: float
    ) -> Iterator[tuple[dict[str, Any], Note | None]]:
        """What GetQueryResults tells, again and again, and at the end why it ended early, if it did."""
        until = time.monotonic() + seconds
        query = self._ask(
            "start_query",
            logGroupNames=list(self.groups),
            # Whole seconds, both included.
            startTime=math.floor(question.start.timestamp()),
            endTime=max(math.ceil(question.end.timestamp()) - 1, math.floor(question.start.timestamp())),
            queryString=text,
        ).get("queryId")
        if not isinstance(query, str):
            raise self._http.garbage()
        done = False
        failures, pause = 0, POLL_SECONDS[0]
        told: dict[str, Any] = {}
        try:
            while True:
                try:
                    told = self._ask("get_query_results", queryId=query)
                    failures = 0
                except SourceError as error:
                    failures += 1
                    if error.kind not in {"down", "timeout"} or failures >= PATIENCE or time.monotonic() > until:
                        raise
                status = told.get("status")
                if failures == 0:
                    if status == "Complete":
                        done = True
                        yield told, None
                        return
                    if status in {"Failed", "Cancelled", "Timeout"}:
                        done = True
                        raise self._http.error(_ENDED[status], "refused" if status == "Failed" else "down")
                    if status not in {"Scheduled", "Running", "Unknown"}:
                        raise self._http.garbage()
                if stopped() or self._closed:
                    yield told, "stopped"
                    return
                if time.monotonic() > until:
                    yield told, "time"
                    return
                if failures == 0:
                    yield told, None
                self._pause(pause, stopped, until)
                pause = min(pause * 1.5, POLL_SECONDS[1])
        finally:
            if not done:
                # Who no longer waits does not pay either; a query that has ended meanwhile is no failure.
                with contextlib.suppress(SourceError):
                    self._ask("stop_query", queryId=query)

    def _pause(self, seconds: float, stopped: Callable[[], bool], until: float) -> None:
        wake = min(time.monotonic() + seconds, until + 0.01)
        while time.monotonic() < wake and not stopped() and not self._closed:
            time.sleep(min(0.05, max(wake - time.monotonic(), 0.0)))

    def _rows(self, told: dict[str, Any]) -> list[dict[str, str]]:
        try:
            return [{str(one["field"]): str(one["value"]) for one in row} for row in told.get("results") or []]
        except (KeyError, TypeError):
            raise self._http.garbage() from None

    def _sized(self, row: dict[str, str]) -> tuple[int, dict[str, str]]:
        return len(row.get("@message", "").encode()), row

    def _ask(self, operation: str, **params: Any) -> dict[str, Any]:
        if self._closed and operation != "stop_query":
            raise self._http.error("is no longer asked: the sources were changed.", "down")
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**params)
        except exceptions.ClientError as error:
            raise self._refused(error) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError):
            raise self._http.error(
                "has no credentials: give them where boto3 looks (AWS_ACCESS_KEY_ID, a profile, a role).", "refused"
            ) from None
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError):
            raise self._http.error("has not answered in time.", "timeout") from None
        except exceptions.ConnectionClosedError:
            raise self._http.error("broke off in the middle of its answer.", "down") from None
        except (ResponseParserError, AttributeError, KeyError, TypeError, ValueError):
            # botocore looks into an answer as if it were in form.
            raise self._http.garbage() from None
        except exceptions.BotoCoreError:
            raise self._http.error("cannot be reached.", "down") from None
        return answer

    def _send(self, request: Any, **more: Any) -> Any:
        """Send a request, and read its answer within the bounds; botocore takes what is given back for the answer."""
        until = time.monotonic() + self._timeout
        request.stream_output = True
        # There is no other door to the session with the proxies and certificates that botocore has found.
        answer = self._client._endpoint.http_session.send(request)
        try:
            answer._content = self._http.read(answer, until)
        except BaseException as error:
            answer.raw.close()
            if isinstance(error, ReadTimeoutError):
                raise self._http.error("has not answered in time.", "timeout") from None
            if isinstance(error, HTTPError | OSError):
                raise self._http.error("broke off in the middle of its answer.", "down") from None
            raise
        length = answer.headers.get("content-length")
        if length is not None and length.isdecimal() and int(length) > len(answer._content):
            # botocore does not count.
            raise self._http.error("broke off in the middle of its answer.", "down")
        return answer

    def _refused(self, error: exceptions.ClientError) -> SourceError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        if code in _NOT_LET_IN or status in {401, 403}:
            return self._http.error(
                "does not let Mirador in: its role needs logs:StartQuery, logs:GetQueryResults, logs:StopQuery and "
                "logs:DescribeQueries.",
                "refused",
            )
        if code == "ResourceNotFoundException":
            return self._http.error(
                "does not know a log group of MIRADOR_CLOUDWATCH_LOG_GROUPS in MIRADOR_CLOUDWATCH_REGION.", "refused"
            )
        if code == "LimitExceededException":
            return self._http.error("runs as many queries as it may at once: try again in a moment.", "down")
        if code in _BUSY or status == 429:
            return self._http.error("is asked too often (HTTP 429): it answers again in a moment.", "down")
        if code == "MalformedQueryException":
            return self._http.error("does not understand the query.", "refused")
        return self._http.refused(status)


_ENDED = {
    "Failed": "could not run the query.",
    "Cancelled": "was told by somebody else to end the query.",
    "Timeout": "took too long for the query: narrow the period.",
}


def _line(row: dict[str, str], kept: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A line once read stays: it comes again with every answer while the query runs."""
    pointer = row.get("@ptr") or ""
    if not pointer or pointer not in kept:
        kept[pointer] = line(row.get("@message", ""), _moment(row.get("@timestamp")))
    return kept[pointer]


def _count(row: dict[str, str]) -> tuple[datetime, str, int]:
    at = _moment(next(value for name, value in row.items() if name.startswith("bin(")))
    if at is None:
        raise ValueError(row)
    level = next((row[name] for name in NAMES["level"] if row.get(name)), "")
    return at, level, int(float(row["lines"]))


def _moment(text: str | None) -> datetime | None:
    """Insights writes UTC without saying so."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        return None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None
