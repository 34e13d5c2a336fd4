"""Elasticsearch and OpenSearch, each asked through its own official client with one and the same search.

Elastic's client ends the conversation when a server does not say that it is Elasticsearch; nobody lies to it here. A
server that calls itself OpenSearch is asked by OpenSearch's client from then on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import elastic_transport
import elasticsearch
import opensearchpy
import pandas as pd
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from queries.errors import SourceError
from queries.http_client import HttpClient, bound_heads
from queries.logs_client import (
    LEVELS,
    LINES,
    NAMES,
    SEARCH_SECONDS,
    Found,
    Question,
    bounded,
    counts_frame,
    line,
    lines_frame,
)

TIME = "@timestamp"
PAGE = 250
# As far as the store counts exactly: beyond, counting costs more than the lines.
COUNTED = 100_000
NOT_ACCEPTABLE = 406


# --- the query --------------------------------------------------------------------------------------------------------


def search_body(question: Question, *, start: int = 0, size: int = PAGE, seconds: float = 10.0) -> dict[str, Any]:
    """The search for lines from the newest on. What was asked for stands in it as values, never as words of a query."""
    return {
        "query": {"bool": {"filter": _filters(question)}},
        "sort": [{TIME: {"order": "desc", "unmapped_type": "date"}}],
        "from": start,
        "size": size,
        "timeout": f"{max(int(seconds), 1)}s",
        "track_total_hits": COUNTED,
    }


def counts_body(question: Question, step: int, *, seconds: float = 10.0) -> dict[str, Any]:
    """The search for the number of lines by level in stretches of `step` seconds."""
    return {
        "query": {"bool": {"filter": _filters(question)}},
        "size": 0,
        "timeout": f"{max(int(seconds), 1)}s",
        "track_total_hits": False,
        "aggs": {
            "at": {
                "date_histogram": {"field": TIME, "fixed_interval": f"{step}s", "min_doc_count": 1},
                "aggs": {
                    "level": {
                        "filters": {
                            "filters": {
                                level: _one_of(
                                    NAMES["level"],
                                    Question(question.start, question.end, levels=(level,)).levels_written(),
                                )
                                for level in LEVELS
                            },
                            "other_bucket_key": "",
                        }
                    }
                },
            }
        },
    }


def _filters(question: Question) -> list[dict[str, Any]]:
    span = {"gte": _iso(question.start), "lt": _iso(question.end)}
    found: list[dict[str, Any]] = [{"range": {TIME: {**span, "format": "strict_date_optional_time"}}}]
    if question.levels:
        found.append(_one_of(NAMES["level"], question.levels_written()))
    found += [_one_of(NAMES[column], [value]) for column, value in question.ids.items()]
    if question.text:
        found.append(
            # Words one after the other, in the fields that the index names for it (index.query.default_field, by
            # default all); a field of another type is passed over.
            {"multi_match": {"query": question.text, "type": "phrase", "lenient": True}}
        )
    return found


def _one_of(names: tuple[str, ...], values: list[str]) -> dict[str, Any]:
    """Exactly one of these values, whether the index keeps the field as a keyword or as a text with a keyword below."""
    return {
        "bool": {
            "should": [{"terms": {field: values}} for name in names for field in (name, f"{name}.keyword")],
            "minimum_should_match": 1,
        }
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- asking -----------------------------------------------------------------------------------------------------------


class ElasticsearchClient:
    """Asks one server. `api_key` is Elastic's, or `user:password`. Frames' times are in `zone`; times are seconds."""

    def __init__(
        self,
        url: str,
        index: str,
        *,
        zone: ZoneInfo,
        api_key: str | None = None,
        connections: int = 4,
        timeout: float = 10.0,
    ) -> None:
        self.index = index
        self.zone = zone
        self.name = "Elasticsearch"
        self._url = url
        self._key = api_key
        self._timeout = timeout
        self._connections = connections
        self._sentences = HttpClient(url, source="logs", name=self.name, variable="MIRADOR_ELASTICSEARCH_URL")
        self._closed = False
        user, colon, password = (api_key or "").partition(":")
        self._basic = (user, password) if colon else None
        self._client: Any = elasticsearch.Elasticsearch(
            url,
            api_key=None if self._basic else api_key,
            basic_auth=self._basic,
            node_class=self._node(),
            connections_per_node=connections,
            request_timeout=timeout,
            max_retries=0,
            meta_header=False,
        )

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        began = time.monotonic()
        # Of the index and not of the server: a key may be good for the one and not for the other.
        self._search({"size": 0, "terminate_after": 1, "track_total_hits": False})
        return time.monotonic() - began

    def close(self) -> None:
        """Stop searches that run and drop the connections."""
        self._closed = True
        self._client.close()

    def text(self, question: Question) -> str:
        """The question as it is sent."""
        return f"POST /{self.index}/_search\n{json.dumps(search_body(question), indent=2, ensure_ascii=False)}"

    def search(
        self, question: Question, *, stopped: Callable[[], bool] = bool, seconds: float = SEARCH_SECONDS
    ) -> Iterator[Found]:
        """The lines page by page; the last one given has `ended`. Raises SourceError."""
        until = time.monotonic() + seconds
        hits: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        start, parts = 0, False
        while True:
            left = min(self._timeout, max(until - time.monotonic(), 1.0))
            # One line more than is shown tells that there are more.
            size = min(PAGE, LINES + 1 - start)
            told = self._search(search_body(question, start=start, size=size, seconds=left))
            page, total, at_least, whole = self._page(told)
            parts = parts or not whole
            for hit in page:
                # What was written meanwhile moves the pages: a line may come twice.
                hits.setdefault((str(hit.get("_index")), str(hit.get("_id"))), self._line(hit))
            start += len(page)
            lines, notes = bounded(list(hits.values()))
            over = len(page) < size or start > LINES or "bytes" in notes
            halted = "stopped" if stopped() or self._closed else "time" if time.monotonic() > until else None
            ended = over or halted is not None
            yield Found(
                lines_frame(lines, self.zone),
                total,
                at_least=at_least,
                ended=ended,
                notes=(
                    *notes,
                    *((halted,) if halted and not over else ()),
                    *(("parts",) if parts else ()),
                ),
            )
            if ended:
                return

    def over_time(self, question: Question, step: int) -> pd.DataFrame:
        """Lines by level in stretches of `step` seconds; columns at (configured zone), level, lines.

        Raises SourceError.
        """
        body = counts_body(question, step, seconds=self._timeout)
        told = self._search(body)
        try:
            rows = [
                (datetime.fromtimestamp(int(bucket["key"]) / 1000, UTC), level, int(one["doc_count"]))
                for bucket in told["aggregations"]["at"]["buckets"]
                for level, one in bucket["level"]["buckets"].items()
                if one["doc_count"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._sentences.garbage() from None
        frame = counts_frame(rows, self.zone)
        frame.attrs["text"] = f"POST /{self.index}/_search\n{json.dumps(body, indent=2, ensure_ascii=False)}"
        return frame

    def _page(self, told: dict[str, Any]) -> tuple[list[dict[str, Any]], int | None, bool, bool]:
        """The hits of a page, how many match in all, whether only at least so many, and whether all shards answered."""
        try:
            hits, total = told["hits"]["hits"], told["hits"].get("total")
            shards = told.get("_shards") or {}
            whole = not told.get("timed_out") and not int(shards.get("failed") or 0)
            if not all(isinstance(hit, dict) for hit in hits):
                raise TypeError
            if total is None:
                return hits, None, False, whole
            return hits, int(total["value"]), total["relation"] == "gte", whole
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._sentences.garbage() from None

    def _line(self, hit: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        source = hit.get("_source")
        if source is not None and not isinstance(source, dict):
            raise self._sentences.garbage()
        size = len(json.dumps(source or {}, default=str))
        return size, line(source or {}, None, size=size)

    # --- the two clients

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._closed:
            raise self._sentences.error("is no longer asked: the sources were changed.", "down")
        try:
            try:
                answer = self._client.search(index=self.index, body=body, ignore_unavailable=True)
            except (elasticsearch.UnsupportedProductError, elasticsearch.ApiError) as error:
                # OpenSearch refuses the form of Elastic's questions before it could fail to say its name.
                if not isinstance(error, elasticsearch.UnsupportedProductError) and error.meta.status != NOT_ACCEPTABLE:
                    raise
                self._change_client()
                answer = self._client.search(index=self.index, body=body, ignore_unavailable=True)
        except (
            elasticsearch.SerializationError,
            opensearchpy.SerializationError,
            elasticsearch.UnsupportedProductError,
            UnicodeDecodeError,
            RecursionError,
        ):
            raise self._sentences.garbage() from None
        except (elasticsearch.ApiError, elasticsearch.TransportError, opensearchpy.TransportError) as error:
            raise self._told(error) from None
        found = getattr(answer, "body", answer)
        if not isinstance(found, dict):
            raise self._sentences.garbage()
        return found

    def _change_client(self) -> None:
        """To OpenSearch's client, if that is what answers here; else it is no log store."""
        other = opensearchpy.OpenSearch(
            self._url,
            http_auth=self._basic,
            headers={} if self._basic or not self._key else {"Authorization": f"ApiKey {self._key}"},
            connection_class=self._connection(),
            pool_maxsize=self._connections,
            timeout=self._timeout,
            max_retries=0,
        )
        info = other.info()
        version = info.get("version") if isinstance(info, dict) else None
        if not isinstance(version, dict) or version.get("distribution") != "opensearch":
            other.close()
            raise self._sentences.garbage()
        self._client.close()
        self._client = other
        self.name = self._sentences.name = "OpenSearch"

    def _told(self, error: Exception) -> SourceError:
        """The sentence for what a client has raised; what the server wrote goes no further."""
        causes = [*getattr(error, "errors", ()), getattr(error, "info", None), error.__context__]
        for cause in causes:
            if isinstance(cause, SourceError):
                return cause
        meta = getattr(error, "meta", None)
        status = getattr(meta, "status", None) or getattr(error, "status_code", None)
        if isinstance(status, int):
            return self._sentences.refused(status)
        if isinstance(error, elasticsearch.ConnectionTimeout | opensearchpy.ConnectionTimeout):
            return self._sentences.error("has not answered in time.", "timeout")
        if any(isinstance(one, requests.exceptions.ChunkedEncodingError | HTTPError) for one in causes):
            return self._sentences.error("broke off in the middle of its answer.", "down")
        return self._sentences.error("cannot be reached.", "down")

    def _node(self) -> type[elastic_transport.RequestsHttpNode]:
        limit = self._limit

        class Node(elastic_transport.RequestsHttpNode):
            def __init__(self, config: elastic_transport.NodeConfig) -> None:
                super().__init__(config)
                limit(self.session)

        return Node

    def _connection(self) -> type[Any]:
        limit = self._limit

        class Connection(opensearchpy.RequestsHttpConnection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                limit(self.session)

        return Connection

    def _limit(self, session: requests.Session) -> None:
        """Both clients bound each read; here the whole answer is, in time and bytes, and nothing is followed."""
        # Where the key goes is said by the settings alone: no proxy, no .netrc, no redirect.
        session.trust_env = False
        for adapter in session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                bound_heads(adapter)
        send = session.send

        def bounded_send(request: requests.PreparedRequest, **options: Any) -> requests.Response:
            until = time.monotonic() + self._timeout
            answer = send(request, **{**options, "stream": True, "allow_redirects": False})
            try:
                answer._content = self._sentences.read(answer, until)
            except BaseException:
                answer.close()
                raise
            answer._content_consumed = True  # type: ignore[attr-defined]
            if not 200 <= answer.status_code < 300 and answer.status_code != NOT_ACCEPTABLE:
                # A proxy on the way answers in other forms than the clients can read.
                raise self._sentences.refused(answer.status_code)
            return answer

        session.send = bounded_send  # type: ignore[method-assign]
