"""CloudWatch Logs for the demo and the tests: moto's server, asked over HTTP as boto3 asks Amazon's.

`python -m demo.cloudwatch PORT`. Two things differ from moto as it comes: Insights queries are answered by
`demo.insights`, as moto passes over their filters; and what is kept is bounded, as moto keeps all for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import unix_time_millis, utcnow
from moto.logs import models
from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException
from moto.logs.responses import LogsResponse
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from demo import insights

HOST = "127.0.0.1"
MOST_EVENTS = 40_000
MOST_QUERIES = 200


class MalformedQueryException(JsonRESTError):
    """What CloudWatch answers to a query that is none."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("MalformedQueryException", message)


def _events(groups: list[models.LogGroup], start: int, end: int) -> list[dict[str, Any]]:
    """The events of these groups within these seconds since 1970, both included, with their fields."""
    found = []
    for group in groups:
        for stream in list(group.streams.values()):
            for event in list(stream.events):
                if not start * 1000 <= event.timestamp <= end * 1000 + 999:
                    continue
                # Read once: a message is asked about many times.
                known = event.__dict__.get("fields")
                if known is None:
                    known = event.__dict__["fields"] = {
                        **insights.fields_of(event.message),
                        "@timestamp": insights.timestamp_text(event.timestamp),
                        "@ingestionTime": insights.timestamp_text(event.ingestion_time),
                        "@message": event.message,
                        "@logStream": stream.log_stream_name,
                        "@log": f"{group.account_id}:{group.name}",
                        "@ptr": str(event.event_id),
                        "@time": event.timestamp,
                    }
                found.append(known)
    return found


class Query:
    """An Insights query in the place of moto's `LogQuery`, answered by `demo.insights`."""

    def __init__(
        self, query_id: str, start_time: int, end_time: int, query: str, log_groups: list[models.LogGroup]
    ) -> None:
        self.query_id = query_id
        self.query = query
        self.log_group_names = [group.name for group in log_groups]
        self.create_time = utcnow()
        self.status = "Complete"
        try:
            self.found = insights.run(query, _events(log_groups, start_time, end_time))
        except insights.MalformedQuery as error:
            raise MalformedQueryException(str(error)) from None
        for group in log_groups[:1]:
            kept = models.logs_backends[group.account_id][group.region].queries
            for old in list(kept)[: max(0, len(kept) - MOST_QUERIES)]:
                kept.pop(old, None)

    def to_json(self, log_group_name: str) -> dict[str, Any]:
        """What DescribeQueries tells of it."""
        return {
            "queryId": self.query_id,
            "queryString": self.query,
            "status": self.status,
            "createTime": int(unix_time_millis(self.create_time)),
            "logGroupName": log_group_name,
        }

    def to_result_json(self) -> dict[str, Any]:
        """The answer of GetQueryResults."""
        return {
            "results": [[{"field": name, "value": value} for name, value in row.items()] for row in self.found.rows],
            "status": self.status,
            "statistics": {
                "recordsMatched": float(self.found.matched),
                "recordsScanned": float(self.found.scanned),
                "bytesScanned": float(self.found.scanned_bytes),
            },
        }


_take_events = models.LogStream.put_log_events


def put_log_events(stream: models.LogStream, log_events: list[dict[str, Any]]) -> str:
    """Take events; those that happened first go when a stream holds too many."""
    token = _take_events(stream, log_events)
    if len(stream.events) > MOST_EVENTS:
        stream.events = sorted(stream.events, key=lambda event: event.timestamp)[-int(MOST_EVENTS * 0.9) :]
    return token


def get_query_results(backend: models.LogsBackend, query_id: str) -> Any:
    """The query of that id; moto as it comes fails on one that it does not know."""
    found = backend.queries.get(query_id)
    if found is None:
        raise ResourceNotFoundException("The specified query does not exist.")
    return found


def stop_query(response: LogsResponse) -> str:
    """StopQuery, which moto lacks. Queries have ended before their id is given: there is nothing left to stop."""
    get_query_results(response.logs_backend, str(response._get_param("queryId")))
    raise InvalidParameterException(msg="Query is not running: it has ended.")


class _Quiet(MotoRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: each request would be a line."""


def serve(port: int) -> None:
    """Answer until the process ends."""
    models.LogQuery = Query  # type: ignore[assignment, misc]
    models.LogStream.put_log_events = put_log_events  # type: ignore[assignment, method-assign]
    models.LogsBackend.get_query_results = get_query_results  # type: ignore[assignment, method-assign]
    LogsResponse.stop_query = stop_query  # type: ignore[attr-defined]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)
    make_server(HOST, port, app, threaded=True, request_handler=_Quiet).serve_forever()


def _end(number: int, frame: FrameType | None) -> None:
    # Nothing here outlives the process: no time is spent on tidying.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    serve(int(sys.argv[1]))
