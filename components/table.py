"""A frame as a table that a person reads: amounts, shares and days in their formats, ids that lead to their page."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
import streamlit as st
from pandas.api import types

from components.drill import column_words, id_column
from components.frame import Figure, answer_of
from components.i18n import _
from components.words import value_name

_FORMATS = {
    "count": "%,d",
    "mxn": "$%,.2f",
    "share": "percent",
    "score": "%.1f",
    "hours": "%,.1f h",
    "days": "%,d d",
    "seconds": "%,.1f s",
    "ms": "%,d ms",
}
_DATES = {"date": "YYYY-MM-DD", "datetime": "YYYY-MM-DD HH:mm"}


def table(frame: pd.DataFrame, columns: Mapping[str, Any] | None = None, *, title: str = "", key: str = "") -> Figure:
    """The frame as a table with these columns in this order; those that are not named stay in the data of the menu.

    A column is told by its kind: count, mxn, share, score, hours, days, seconds, ms, date, datetime, text, flag, or
    `link` for an id that leads to the page of its credit or conductor (`key` then sets two such tables apart); or by
    (kind, heading); or by a column of `st.column_config`. Without `columns` all are shown as their query declares them.
    """
    told = dict(columns) if columns else {name: _kind_of(frame, name) for name in frame.columns}
    config: dict[str, Any] = {}
    answer = answer_of(frame)
    meanings = {column.name: column.description for column in answer.columns} if answer is not None else {}
    for name, how in told.items():
        kind, heading = how if isinstance(how, tuple) else (how, column_words(name))
        meaning = meanings.get(name)
        config[name] = (
            _column(frame, name, kind, heading, _(meaning) if meaning else None, key) if isinstance(kind, str) else kind
        )
    others = [name for name in frame.columns if name not in told]
    shown = frame[[*told, *others]]
    shown.attrs = dict(frame.attrs)
    return Figure(None, shown, title, columns={**config, **dict.fromkeys(others)})


def as_drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """As the grid shows it: statuses and codes by their names, nothing where there is no text, Decimals as floats.

    The grid shows Arrow's decimals to the digit, whatever their format says.
    """
    drawn = frame.copy(deep=False)
    for name in drawn.columns:
        if drawn[name].dtype == object or types.is_string_dtype(drawn[name].dtype):
            first = next(iter(drawn[name].dropna()), None)
            if isinstance(first, Decimal):
                drawn[name] = drawn[name].astype("float64")
            elif isinstance(first, str) and not name.endswith("_id"):
                drawn[name] = [value_name(value) if isinstance(value, str) else "" for value in drawn[name]]
    return drawn


def _kind_of(frame: pd.DataFrame, name: str) -> str:
    """The kind that the query declares, else that of the values."""
    answer = answer_of(frame)
    units = {column.name: column.unit for column in answer.columns} if answer is not None else {}
    unit = str(units.get(name, "")).lower()
    values = frame[name]
    if name in {"credit_id", "conductor_id"}:
        return "link"
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return "datetime"
    if types.is_datetime64_any_dtype(values.dtype):
        return "date"
    if types.is_bool_dtype(values.dtype):
        return "flag"
    if unit in _FORMATS:
        return unit
    if types.is_integer_dtype(values.dtype):
        return "count"
    return "number" if types.is_float_dtype(values.dtype) else "text"


def _column(frame: pd.DataFrame, name: str, kind: str, heading: str, help: str | None, key: str) -> Any:
    if kind == "link":
        lead = id_column(name, frame[name].tolist(), f"{key or 'table'}:open:{name}", heading)
        return lead or st.column_config.TextColumn(heading, help=help)
    if kind == "date":
        return st.column_config.DateColumn(heading, format=_DATES[kind], help=help)
    if kind == "datetime":
        return st.column_config.DatetimeColumn(heading, format=_DATES[kind], help=help)
    if kind == "flag":
        return st.column_config.CheckboxColumn(heading, help=help)
    if kind in _FORMATS:
        return st.column_config.NumberColumn(heading, format=_FORMATS[kind], help=help)
    if kind == "number":
        return st.column_config.NumberColumn(heading, help=help)
    if kind == "text":
        return st.column_config.TextColumn(heading, help=help)
    raise ValueError(f"no such kind of column: {kind}")
