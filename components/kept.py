"""Figures that are drawn once: the same data in the same words and looks gives the picture that stands there already.

Building a layered Altair chart costs Python 10 to 60 ms, and a page has several, on each visit and each refresh of
every viewer. What a chart shows follows from its arguments alone, so it is known by their contents, the language and
the theme; the data's stamp (its age) is not part of the picture and is always the newest.

What is kept is text and bytes, not objects: the collector of garbage would walk through them after each script run.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec

import altair as alt
import numpy as np
import pandas as pd
import pyarrow as pa
from cachetools import LRUCache
from streamlit.runtime.scriptrunner import get_script_run_ctx

from components.frame import Figure, is_dark
from components.i18n import language

P = ParamSpec("P")

MOST_BYTES = 64 * 2**20

_figures: LRUCache[bytes, Figure] = LRUCache(MOST_BYTES, getsizeof=lambda figure: _size(figure))
_lock = threading.Lock()


class Drawing:
    """An Altair chart on its way to the browser: its specification is made once and not checked for each viewer.

    The check against the schema is a matter of tests. Streamlit asks for the specification under its own lock, with a
    transformer that puts the data aside as Arrow.
    """

    def __init__(self, chart: Any) -> None:
        self._chart = chart
        self._text = ""
        self._datasets: dict[str, Any] = {}

    def to_dict(self) -> dict[str, Any]:
        """The specification with its data: as Arrow under Streamlit, else as values."""
        datasets = alt.data_transformers.options.get("datasets")
        if not self._text:
            made: dict[str, Any] = self._chart.to_dict(validate=False)
            if datasets is None:
                return made
            self._text, self._datasets, self._chart = json.dumps(made), dict(datasets), None
        spec: dict[str, Any] = json.loads(self._text)
        kept = self._datasets if datasets is not None else {n: _values(data) for n, data in self._datasets.items()}
        return {**spec, "datasets": {**spec.get("datasets", {}), **kept}}

    def size(self) -> int:
        """Bytes that it holds, about."""
        return len(self._text) + sum(len(data) for data in self._datasets.values()) if self._text else 100_000


def kept(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that makes a Figure of its arguments, `data` first; see the module.

    Outside a script run nothing is kept.
    """

    @wraps(make)
    def figure(*args: P.args, **options: P.kwargs) -> Figure:
        if get_script_run_ctx(suppress_warning=True) is None:
            return make(*args, **options)
        key = _key(make.__qualname__, args, options)
        with _lock:
            known = _figures.get(key)
        if known is None:
            known = make(*args, **options)
            if known.chart is None:
                return known
            known = replace(known, chart=Drawing(known.chart))
            with _lock:
                _figures[key] = known
        data = known.data.copy(deep=False)
        shown = args[0] if args else options["data"]
        data.attrs = dict(shown.attrs) if isinstance(shown, pd.DataFrame) else {}
        drill = options.get("drill")
        return replace(known, data=data, drill=drill)

    return figure


def _size(figure: Figure) -> int:
    frames = [frame for frame in (figure.data, figure.marks) if frame is not None]
    drawn = figure.chart.size() if isinstance(figure.chart, Drawing) else 100_000
    # The picture is made after it was put here: room is left for it.
    return 2 * max(drawn, 50_000) + sum(int(frame.memory_usage(deep=False).sum()) * 4 for frame in frames)


def _values(data: bytes) -> Any:
    frame = pa.ipc.open_stream(data).read_all().to_pandas()
    return alt.to_values(frame)["values"]


# --- by what a figure is known ----------------------------------------------------------------------------------------


def _key(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> bytes:
    digest = hashlib.blake2b(f"{name} {language()} {is_dark()}".encode(), digest_size=20)
    for value in args:
        _feed(digest, value)
    for word, value in sorted(options.items()):
        digest.update(word.encode())
        if word == "drill" and value is not None:
            # The picture knows which columns a click binds and counts; the parameters are the viewer's own.
            value = (sorted(value.by.items()), value.count)
        _feed(digest, value)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, pd.DataFrame):
        digest.update(f"frame {len(value)} {list(value.columns)!r} ".encode())
        for position in range(value.shape[1]):
            _feed(digest, value.iloc[:, position])
    elif isinstance(value, pd.Series):
        digest.update(f"series {value.dtype} ".encode())
        if isinstance(value.dtype, np.dtype) and value.dtype.kind in "biufmM":
            digest.update(np.ascontiguousarray(value.to_numpy()).tobytes())
        else:
            digest.update(repr(value.tolist()).encode())
    elif isinstance(value, Mapping):
        _feed(digest, list(value.items()))
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)} ".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{type(value).__name__} {value!r} ".encode())
