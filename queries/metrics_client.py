"""Asks anything that answers the Prometheus HTTP API, through prometheus-api-client made safe.

What the library leaves open is set here: a timeout for each request, no retries with back-off (a dead server must be
known dead at once), a pool as wide as a page's fan-out, the server's warnings, and errors without the raw body.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from string import Template
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from queries.errors import SourceError
from queries.http_client import WholeAnswers
from queries.library import Query, escape_label, escape_regex

MAX_POINTS = 11_000
MAX_SERIES = 2_000
# Samples as they were scraped, of one question: the whole of an answer is in memory.
MAX_SAMPLES = 4_000_000
MAX_BYTES = 256 * 2**20
SAMPLES_CHUNK = 6 * 3600
POINTS = 240
# For VictoriaMetrics; Prometheus does not read them. Its cache would move the moments of a question to multiples of the
# step, and a question of one moment a day would take a gauge's value from up to a day before.
EXACTLY = {"nocache": "1", "max_lookback": "5m"}
_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def step_for(period: timedelta, scrape_interval: float, points: int = POINTS) -> int:
    """Seconds between two points of a range query over `period`: a round number, never under the scrape interval."""
    least = max(period.total_seconds() / points, scrape_interval)
    for step in _STEPS:
        if step >= least:
            return step
    return math.ceil(least / 86400) * 86400


def window_for(step: float, scrape_interval: float) -> int:
    """Seconds of a rate window: it covers the step, so that no sample is skipped, and at least 4 scrapes."""
    return math.ceil(max(step, 4 * scrape_interval))


class MetricsClient:
    """Runs named PromQL queries."""

    def __init__(
        self,
        url: str,
        *,
        zone: ZoneInfo,
        scrape_interval: float,
        connections: int,
        query_timeout: float,
        connect_timeout: float,
        token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.zone = zone
        self.scrape_interval = scrape_interval
        self.query_timeout = query_timeout
        self._warnings = threading.local()
        session = requests.Session()
        session.trust_env = False
        session.verify = ca_file or True
        session.headers.update(dict(headers or {}))
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        session.hooks["response"].append(self._keep_warnings)
        retry = Retry(total=0, raise_on_status=False)
        self._session = session
        self._client = PrometheusConnect(
            url.rstrip("/"),
            retry=retry,
            auth=basic_auth,
            session=session,
            timeout=(connect_timeout, query_timeout),
            method="POST",
        )
        too_large = SourceError(
            f"This answer is larger than {MAX_BYTES // 2**20} MiB: choose a shorter period or narrow the choice.",
            kind="too_large",
            source="metrics",
        )
        session.mount(
            url.rstrip("/"),
            WholeAnswers(
                seconds=query_timeout,
                too_large=too_large,
                max_bytes=MAX_BYTES,
                pool_maxsize=connections,
                max_retries=retry,
            ),
        )

    def _keep_warnings(self, response: requests.Response, *_: object, **__: object) -> None:
        if response.ok and (b'"warnings"' in response.content or b'"infos"' in response.content):
            body = response.json()
            self._warnings.last += [*body.get("warnings", ()), *body.get("infos", ())]

    def run(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
        """Ask once and give (frame, the PromQL as run, the server's warnings). Raises SourceError."""
        self._warnings.last = []
        try:
            frame, text = getattr(self, f"_run_{query.kind}")(query, params)
        except PrometheusApiClientException as error:
            raise _told(error, query.name) from None
        except requests.Timeout:
            raise SourceError("Prometheus has not answered in time.", kind="timeout", source="metrics") from None
        except (requests.JSONDecodeError, RecursionError, KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise SourceError(
                "What answers at MIRADOR_PROMETHEUS_URL is not the Prometheus API.", kind="refused", source="metrics"
            ) from None
        except requests.exceptions.ChunkedEncodingError:
            raise SourceError(
                "Prometheus broke off in the middle of its answer.", kind="down", source="metrics"
            ) from None
        except requests.RequestException:
            raise SourceError("Prometheus cannot be reached.", kind="down", source="metrics") from None
        return _with_declared(frame, query), text, tuple(dict.fromkeys(self._warnings.last))

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        start = time.monotonic()
        self.run(Query("ping", "metrics", "", "", "vector(1)", kind="instant"), {})
        return time.monotonic() - start

    def retention(self) -> str | None:
        """How long the server keeps its samples, in its own words (`15d or 512MB`); None when it does not say."""
        try:
            answer = self._session.get(
                f"{self._client.url}/api/v1/status/runtimeinfo",
                auth=self._client.auth,
                timeout=min(self.query_timeout, 3.0),
                verify=self._session.verify,
            )
            told = answer.json()["data"].get("storageRetention") if answer.ok else None
        except (requests.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None
        except requests.RequestException:
            raise SourceError("Prometheus cannot be reached.", kind="down", source="metrics") from None
        return str(told) if told else None

    def _run_instant(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str]:
        text = fill_in(query, params, window=max(300, window_for(0, self.scrape_interval)))
        moment = params.get("time")
        result = self._client.custom_query(text, EXACTLY | ({"time": moment.timestamp()} if moment else {}))
        return self._instant_frame(result), text

    def _run_range(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str]:
        end: datetime = params.get("end") or datetime.now(UTC)
        start: datetime | None = params.get("start")
        if start is None or start >= end:
            raise SourceError(
                f"The query {query.name} needs a start before its end.",
                kind="bad_parameter",
                source="metrics",
                query=query.name,
            )
        step = params.get("step") or step_for(end - start, self.scrape_interval)
        # Aligned, so that the same period gives the same points at each refresh.
        first, last = math.floor(start.timestamp() / step) * step, math.floor(end.timestamp() / step) * step
        if (last - first) / step > MAX_POINTS:
            raise SourceError(
                f"This period has more than {MAX_POINTS:,} points: choose a longer step or a shorter period.",
                kind="too_large",
                source="metrics",
                query=query.name,
            )
        text = fill_in(query, params, window=window_for(step, self.scrape_interval))
        return self._range_frame(self._ask_range(text, first, last, step)), text

    def _run_days(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str]:
        """The same local time of day on each day: days that share an offset and a length share one range query."""
        now: datetime = params.get("as_of") or datetime.now(UTC)
        elapsed = _elapsed(params["day"], now, self.zone)
        groups: dict[tuple[int, int], list[tuple[date, int]]] = defaultdict(list)
        for day in sorted(set(params["days"])):
            start, end = _day_bounds(day, self.zone)
            cut = min(start + elapsed, end) if elapsed is not None else end
            # A cut on the whole minute: the window stays the same within a minute and never reaches the day before.
            seconds = max(int((cut - start).total_seconds()) // 60 * 60, window_for(0, self.scrape_interval))
            instant = int(start.timestamp()) + seconds
            groups[(instant % 86400, seconds)].append((day, instant))
        frames, texts = [], []
        for (_, seconds), wanted in groups.items():
            text = fill_in(query, params, window=seconds)
            texts.append(text)
            instants = {instant: day for day, instant in wanted}
            result = self._ask_range(text, min(instants), max(instants), 86400)
            frame = self._range_frame(result, stamps=True)
            frame = frame[frame["time"].isin(list(instants))]
            frame.insert(0, "day", pd.to_datetime([instants[int(t)] for t in frame["time"]]).astype("datetime64[us]"))
            frames.append(frame.drop(columns="time"))
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"day": [], "value": []})
        return frame.sort_values("day", ignore_index=True), "\n\n".join(dict.fromkeys(texts))

    def _run_samples(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str]:
        """The samples as they were scraped, after `start` and up to `end`: the query's text is a plain selector.

        Nothing is interpolated, filled or counted. Asked in pieces of six hours, so that no answer is very long.
        """
        selector = fill_in(query, params, window=window_for(0, self.scrape_interval))
        start, end = math.floor(params["start"].timestamp()), math.ceil(params["end"].timestamp())
        if start >= end:
            raise SourceError(
                f"The query {query.name} needs a start before its end.",
                kind="bad_parameter",
                source="metrics",
                query=query.name,
            )
        merged: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        found = 0
        for upto in [*range(end, start, -SAMPLES_CHUNK)][::-1]:
            seconds = min(SAMPLES_CHUNK, upto - start)
            for one in self._checked(self._client.custom_query(f"{selector}[{seconds}s]", {"time": upto})):
                # Up to Prometheus 2 a range holds the sample at its very start, too, which the piece before has. In
                # VictoriaMetrics it holds the marker that a series ended, as a value that is no number.
                values = [sample for sample in one["values"] if sample[0] > upto - seconds and sample[1] != "NaN"]
                key = tuple(sorted(one["metric"].items()))
                merged.setdefault(key, {"metric": one["metric"], "values": []})["values"] += values
                found += len(values)
            if found > MAX_SAMPLES:
                raise SourceError(
                    f"This answer has more than {MAX_SAMPLES:,} samples: choose a shorter period.",
                    kind="too_large",
                    source="metrics",
                    query=query.name,
                )
        frame = self._range_frame(self._checked(list(merged.values())), stamps=True)
        return frame, f"{selector}[{end - start}s]"

    def _ask_range(self, text: str, first: float, last: float, step: float) -> list[dict[str, Any]]:
        return self._checked(
            self._client.custom_query_range(
                text, datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC), str(step), EXACTLY
            )
        )

    def _checked(self, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(result) > MAX_SERIES:
            raise SourceError(
                f"This answer has {len(result):,} series, more than {MAX_SERIES:,}: narrow the choice.",
                kind="too_large",
                source="metrics",
            )
        return result

    def _range_frame(self, result: Iterable[dict[str, Any]], *, stamps: bool = False) -> pd.DataFrame:
        """Columns straight from the answer: one list a column, no object a sample."""
        series = list(result)
        labels = _label_names(series)
        lengths = [len(one["values"]) for one in series]
        times = [sample[0] for one in series for sample in one["values"]]
        data: dict[str, Any] = {
            "time": times if stamps else pd.to_datetime(times, unit="s", utc=True).tz_convert(self.zone)
        }
        for name in labels:
            data[name] = pd.Series(
                [one["metric"].get(name) for one, n in zip(series, lengths, strict=True) for _ in range(n)], dtype="str"
            )
        data["value"] = pd.Series([float(s[1]) for one in series for s in one["values"]], dtype="float64")
        return pd.DataFrame(data)

    def _instant_frame(self, result: Any) -> pd.DataFrame:
        # A scalar comes as [time, value], a vector as a list of series.
        if result and not isinstance(result[0], dict):
            return pd.DataFrame({"value": [float(result[1])]})
        series = self._checked(list(result))
        data: dict[str, Any] = {
            name: pd.Series([one["metric"].get(name) for one in series], dtype="str") for name in _label_names(series)
        }
        data["value"] = pd.Series([float(one["value"][1]) for one in series], dtype="float64")
        return pd.DataFrame(data)

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()


def _with_declared(frame: pd.DataFrame, query: Query) -> pd.DataFrame:
    """An answer without a series names no label: who reads it finds the columns that the query's head declares."""
    if not frame.empty:
        return frame
    absent = {column.name: pd.Series([], dtype="str") for column in query.columns if column.name not in frame}
    return frame.assign(**absent)


def _label_names(series: list[dict[str, Any]]) -> list[str]:
    return sorted({name for one in series for name in one["metric"]} - {"__name__"})


def _day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end (exclusive) of a local day in UTC, so that differences are true durations."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return start.astimezone(UTC), end.astimezone(UTC)


def _elapsed(day: date, now: datetime, zone: ZoneInfo) -> timedelta | None:
    """Time since the local midnight of `day`, or None when that day is over."""
    start, end = _day_bounds(day, zone)
    return None if now >= end else max(now - start, timedelta(0))


def fill_in(query: Query, params: Mapping[str, Any], *, window: int) -> str:
    """The PromQL with each `$name` filled in: label values escaped, lists as alternations, `$window` in seconds."""
    types = {param.name: param.type for param in query.params}
    filled = {"window": f"{window}s"}
    for name, value in params.items():
        match types.get(name):
            case "label" | "text":
                filled[name] = escape_label(value or "")
            case "labels":
                filled[name] = "|".join(escape_regex(item) for item in value or ()) or ".*"
            case "duration":
                filled[name] = value
            case "number" | "integer":
                filled[name] = repr(value)
    return Template(query.text).substitute(filled)


def _told(error: PrometheusApiClientException, name: str) -> SourceError:
    """The library's message holds the raw body, which can hold anything: only the status leaves."""
    status = next((int(word) for word in str(error).split() if word.isdigit()), 0)
    if status in {401, 403}:
        return SourceError(
            "Prometheus did not let Mirador in: check its credentials.", kind="refused", source="metrics"
        )
    if status in {503, 504}:
        return SourceError("Prometheus took too long for this question.", kind="timeout", source="metrics", query=name)
    if status >= 500:
        return SourceError("Prometheus failed.", kind="down", source="metrics", query=name)
    return SourceError("Prometheus refused this question.", kind="refused", source="metrics", query=name)
