"""PromQL as an engineer wrote it, asked of anything that answers the Prometheus HTTP API.

Named queries go through `metrics_client`; this client takes any expression, so each of its answers is bounded: in time
(the server's own `timeout` and a deadline here), in bytes while it is read, in series and in samples. It knows five
paths that read and no other: query, query_range, labels, the values of a label, and metadata.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from queries.errors import Kind, SourceError
from queries.http_client import MAX_BYTES, HttpClient
from queries.metrics_client import EXACTLY

MAX_SERIES = 2_000
# More than this Prometheus itself refuses.
MAX_POINTS = 11_000
MAX_SAMPLES = 200_000
MAX_DETAIL = 600
MOST_NAMES, MOST_LABELS, MOST_VALUES = 5_000, 500, 1_000
HELP_LENGTH = 160
# Who completes a word does not wait for it.
COMPLETION_SECONDS = 3.0

_POSITION = re.compile(r"^(\d+):(\d+): ")
_WHERE = re.compile(r'^(invalid parameter "query": )?')
METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,199}")


class PromqlError(SourceError):
    """A question that Prometheus refused or that is beyond a bound.

    `template` with its `values` makes the sentence, so that a page can say it in another language. `detail` is what
    Prometheus said itself (plain text, it may repeat parts of the question), `at` the line and the column (from 1, in
    characters) to which it points, where it does.
    """

    def __init__(
        self,
        template: str,
        *,
        kind: Kind = "bad_parameter",
        detail: str = "",
        at: tuple[int, int] | None = None,
        text: str = "",
        **values: Any,
    ) -> None:
        super().__init__(template.format(**values), kind=kind, source="metrics")
        self.template = template
        self.values = values
        self.detail = detail
        self.at = at
        self.text = text


class PromqlClient(HttpClient):
    """Asks one server. Times are seconds."""

    def __init__(
        self,
        url: str,
        *,
        zone: ZoneInfo,
        connections: int,
        query_timeout: float,
        connect_timeout: float,
        token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        elif basic_auth:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(basic_auth).encode()).decode()
        super().__init__(
            url,
            source="metrics",
            name="Prometheus",
            variable="MIRADOR_PROMETHEUS_URL",
            headers=sent,
            connections=connections,
            connect_timeout=connect_timeout,
            timeout=query_timeout,
            max_bytes=max_bytes,
        )
        self.zone = zone
        self.verify = ca_file or True

    # --- questions ---

    def query(self, text: str, moment: datetime) -> pd.DataFrame:
        """The answer at a moment, in a frame as `query_range` gives it. Raises SourceError.

        A vector has a row a series, a matrix (`up[5m]`) its samples as they were scraped, a scalar one row, a string
        one row whose `value` is a text.
        """
        return self._asked("query", text, {"time": f"{moment.timestamp():.3f}"})

    def query_range(self, text: str, first: float, last: float, step: float) -> pd.DataFrame:
        """The answer at each step from `first` to `last` (Unix seconds). Raises SourceError.

        Columns: the labels as text (null where a series has none), `time` (configured zone), `value` (float64). A label
        of one of these two names is called `exported_time` or `exported_value`. `attrs`: `kind` (matrix, vector, scalar
        or string), `lengths` (rows of each series, in order), `labels` (names of the label columns), `warnings`.
        """
        points = math.floor((last - first) / step) + 1
        if points > MAX_POINTS:
            raise PromqlError(
                "This period has {points} points a series, more than {most}: choose a step of at least {step} s or a "
                "shorter period.",
                kind="too_large",
                points=f"{points:,}",
                most=f"{MAX_POINTS:,}",
                step=math.ceil((last - first) / (MAX_POINTS - 1)),
            )
        return self._asked("query_range", text, {"start": repr(first), "end": repr(last), "step": repr(step)})

    def _asked(self, path: str, text: str, when: Mapping[str, str]) -> pd.DataFrame:
        # Newer servers end a list that is longer than it may be; older ones take no notice of the limit.
        form = {"query": text, **when, **EXACTLY, "timeout": f"{self.timeout:g}s", "limit": str(MAX_SERIES + 1)}
        try:
            body = self._body("POST", f"/api/v1/{path}", form=form, timeout=self.timeout + 1)
        except PromqlError as error:
            error.at, error.text = _in_characters(text, error.at), text
            raise
        try:
            data = body["data"]
            frame = self._frame(str(data["resultType"]), data["result"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise self.garbage() from None
        frame.attrs["warnings"] = (*_texts(body.get("warnings")), *_texts(body.get("infos")), *frame.attrs["warnings"])
        return frame

    # --- completion ---

    def names(self) -> tuple[list[tuple[str, str, str]], bool]:
        """Metric names in order with their type and help (empty where unknown), and whether more were left out."""
        found = self._words("/api/v1/label/__name__/values", {"limit": str(MOST_NAMES + 1)})
        try:
            told = self._body("GET", "/api/v1/metadata", params={"limit_per_metric": "1"}, timeout=COMPLETION_SECONDS)
            known = told["data"] if isinstance(told.get("data"), dict) else {}
        except SourceError:
            # Not every engine keeps metadata: names alone are enough.
            known = {}
        return [(name, *_meaning(name, known)) for name in found[:MOST_NAMES]], len(found) > MOST_NAMES

    def label_names(self, metric: str | None) -> list[str]:
        """Names of labels in order: those of a metric, or of all. Raises SourceError."""
        params = {"limit": str(MOST_LABELS), **_match(metric)}
        return [name for name in self._words("/api/v1/labels", params) if name != "__name__"][:MOST_LABELS]

    def label_values(self, label: str, metric: str | None) -> list[str]:
        """Values of a label in order: those of a metric, or of all. Raises SourceError."""
        if not LABEL.fullmatch(label):
            return []
        params = {"limit": str(MOST_VALUES), **_match(metric)}
        return self._words(f"/api/v1/label/{label}/values", params)[:MOST_VALUES]

    def _words(self, path: str, params: Mapping[str, str]) -> list[str]:
        body = self._body("GET", path, params=params, timeout=COMPLETION_SECONDS)
        found = body.get("data")
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise self.garbage()
        return sorted(found)

    # --- what comes back ---

    def _body(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body, _headers = self.ask(method, path, **options)
        if not isinstance(body, dict) or body.get("status") != "success":
            raise self.garbage()
        return body

    def garbage(self) -> SourceError:
        """The error for an answer that is not in the form of this API."""
        return SourceError(
            "What answers at MIRADOR_PROMETHEUS_URL is not the Prometheus API.", kind="refused", source="metrics"
        )

    def read(self, answer: Any, until: float) -> bytes:
        """As for all, with a sentence that says what to do."""
        try:
            return super().read(answer, until)
        except SourceError as error:
            if error.kind != "too_large":
                raise
            raise PromqlError(
                "The answer is larger than {size} MiB: choose a longer step or a shorter period, or gather the series "
                "with sum by (…).",
                kind="too_large",
                size=self._max_bytes // 2**20,
            ) from None

    def refusal(self, status: int, content: bytes) -> SourceError:
        """What Prometheus says of a question that it does not answer; its own words where they are about it."""
        try:
            told = json.loads(content)
            kind, message = str(told["errorType"]), str(told["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            kind, message = "", ""
        detail, at = _read_message(message)
        if status in {401, 403}:
            return SourceError(
                "Prometheus did not let Mirador in: check its credentials.", kind="refused", source="metrics"
            )
        if kind in {"timeout", "canceled"} or (status in {503, 504} and not kind):
            return PromqlError(
                "Prometheus gave up on this question after {seconds} s: choose a shorter period or a longer step, or "
                "ask for fewer series.",
                kind="timeout",
                seconds=f"{self.timeout:g}",
            )
        if status in {400, 422} and message:
            if "too many samples" in message:
                return PromqlError(
                    "This question reads more samples than Prometheus allows: choose a shorter period or ask for fewer "
                    "series.",
                    kind="too_large",
                    detail=detail,
                )
            if "must be Scalar or instant Vector" in message:
                return PromqlError(
                    "This question gives samples as they were scraped, which have no value over time: ask it at one "
                    "moment, or put a function such as rate(…) around it.",
                    detail=detail,
                )
            return PromqlError("Prometheus does not understand this question.", detail=detail, at=at)
        if status >= 500:
            return SourceError("Prometheus failed.", kind="down", source="metrics")
        return self.refused(status)

    def _frame(self, kind: str, result: Any) -> pd.DataFrame:
        if kind in {"scalar", "string"}:
            moment, value = result
            values = [float(value)] if kind == "scalar" else pd.Series([str(value)], dtype="str")
            frame = pd.DataFrame({"time": self._times([float(moment)]), "value": values})
            frame.attrs = {"kind": kind, "lengths": (1,), "labels": (), "warnings": ()}
            return frame
        if kind not in {"matrix", "vector"}:
            raise ValueError(kind)
        series = list(result)
        if len(series) > MAX_SERIES:
            raise PromqlError(
                "This answer has more than {most} series: narrow it with labels, or gather the series with sum by (…) "
                "or topk.",
                kind="too_large",
                most=f"{MAX_SERIES:,}",
            )
        samples = [one["values"] if kind == "matrix" else [one["value"]] for one in series if _is_plain(one, kind)]
        plain = [one for one in series if _is_plain(one, kind)]
        lengths = tuple(len(of_one) for of_one in samples)
        if sum(lengths) > MAX_SAMPLES:
            raise PromqlError(
                "This answer has {samples} samples ({series} series), more than {most}: choose a step {times} times as "
                "long or a shorter period, or gather the series with sum by (…).",
                kind="too_large",
                samples=f"{sum(lengths):,}",
                series=f"{len(plain):,}",
                most=f"{MAX_SAMPLES:,}",
                times=math.ceil(sum(lengths) / MAX_SAMPLES),
            )
        names = sorted({str(name) for one in plain for name in one["metric"]})
        columns: dict[str, Any] = {}
        for name in names:
            known = pd.Series([one["metric"].get(name) for one in plain], dtype="str")
            columns[exported(name, {"time", "value"})] = known.repeat(lengths).reset_index(drop=True)
        flat = [sample for of_one in samples for sample in of_one]
        frame = pd.DataFrame(
            {
                **columns,
                "time": self._times([float(sample[0]) for sample in flat]),
                "value": pd.Series([float(sample[1]) for sample in flat], dtype="float64"),
            }
        )
        odd = len(series) - len(plain)
        frame.attrs = {
            "kind": kind,
            "lengths": lengths,
            "labels": tuple(columns),
            "warnings": (f"native histograms are not shown: {odd} series",) if odd else (),
        }
        return frame

    def _times(self, seconds: list[float]) -> Any:
        # Milliseconds as whole numbers: a fraction of a second as a float would not be the same moment again.
        stamps = np.rint(np.asarray(seconds, dtype="float64") * 1000).astype("int64")
        return pd.Series(pd.to_datetime(stamps, unit="ms", utc=True).tz_convert(self.zone))


def exported(name: str, taken: Iterable[str]) -> str:
    """A label's name as a column beside others: what is taken gets Prometheus's own prefix."""
    known = set(taken)
    while name in known:
        name = f"exported_{name}"
    return name


def _is_plain(one: Mapping[str, Any], kind: str) -> bool:
    """Whether a series has numbers; a native histogram has none."""
    return ("values" if kind == "matrix" else "value") in one or not ({"histogram", "histograms"} & set(one))


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(_plain(str(one)) for one in found) if isinstance(found, list) else ()


def _plain(words: str, most: int = MAX_DETAIL) -> str:
    """A text from outside: what cannot be seen is taken out, and it ends."""
    kept = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in words).strip()
    return kept if len(kept) <= most else f"{kept[:most]}…"


def _read_message(message: str) -> tuple[str, tuple[int, int] | None]:
    """What is wrong, and the line and column (from 1, in bytes) that Prometheus puts before it."""
    said = _WHERE.sub("", message, count=1)
    position = _POSITION.match(said)
    if position is None:
        return _plain(said.removeprefix("parse error: ")), None
    said = said[position.end() :].removeprefix("parse error: ")
    return _plain(said), (int(position[1]), int(position[2]))


def _in_characters(text: str, at: tuple[int, int] | None) -> tuple[int, int] | None:
    """A position that counts bytes, as Go does, as one that counts characters; none if the text has no such place."""
    if at is None:
        return None
    lines = text.split("\n")
    if not 1 <= at[0] <= len(lines):
        return None
    before = lines[at[0] - 1].encode()[: max(at[1] - 1, 0)]
    return at[0], len(before.decode(errors="ignore")) + 1


def _match(metric: str | None) -> dict[str, str]:
    """The selector of a metric, for questions of labels; of a name that no metric has, of none."""
    return {"match[]": f'{{__name__="{metric}"}}'} if metric and METRIC.fullmatch(metric) else {}


def _meaning(name: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Type and help: a histogram's series are told by the name that they share."""
    for base in (name, *(name.removesuffix(end) for end in ("_bucket", "_count", "_sum", "_total"))):
        told = known.get(base)
        if isinstance(told, list) and told and isinstance(told[0], dict):
            kind = str(told[0].get("type", ""))
            return "" if kind == "unknown" else kind[:20], _plain(str(told[0].get("help", "")), HELP_LENGTH)
    return "", ""
