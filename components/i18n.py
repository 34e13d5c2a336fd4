"""Two languages, one set of formats: texts through gettext, numbers and dates through Babel.

The language of a session is the viewer's switch (kept in the URL as `lang`), else the configured one, else that of his
browser, else Spanish. Outside a script run (shell, `/metrics`) it is the configured one. What is written for others
than the viewer is written within `in_language`.
"""

from __future__ import annotations

import gettext
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from babel import dates, numbers
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from streamlit.runtime.scriptrunner import get_script_run_ctx

from components.url import Url, one_of

LANGUAGES = {"es": "Español", "en": "English"}
LOCALES = {"es": "es_MX", "en": "en_US"}
CATALOGUES = Path(__file__).resolve().parent.parent / "locale"
UNKNOWN = "–"

_default: str | None = None
_written_in: ContextVar[str | None] = ContextVar("written_in", default=None)


def set_default_language(language: str | None) -> None:
    """The configured language: `es`, `en`, or None (or `auto`) to follow each viewer's browser."""
    global _default
    _default = language if language in LANGUAGES else None


@contextmanager
def in_language(code: str) -> Iterator[None]:
    """Within it everything is said in `es` or `en`, whoever looks; for this thread alone."""
    token = _written_in.set(code if code in LANGUAGES else None)
    try:
        yield
    finally:
        _written_in.reset(token)


def language() -> str:
    """`es` or `en`: the language of this session."""
    if (written_in := _written_in.get()) is not None:
        return written_in
    if get_script_run_ctx(suppress_warning=True) is None:
        return _default or "es"
    chosen = st.session_state.get("lang") or st.query_params.get("lang")
    return str(chosen) if chosen in LANGUAGES else _usual_language()


def _usual_language() -> str:
    if _default:
        return _default
    browser = (st.context.locale or "es")[:2].lower()
    return browser if browser in LANGUAGES else "en"


@cache
def _translations(code: str) -> gettext.NullTranslations:
    """The catalogues of a language, compiled in memory: no compiled file can be older than its source.

    One file a page or a part of the house; the same text means the same in all of them.
    """
    merged = Catalog(locale=LOCALES[code])
    for source in sorted((CATALOGUES / code / "LC_MESSAGES").glob("*.po")):
        with source.open("rb") as file:
            part = read_po(file, locale=LOCALES[code])
        # The first file's head says how plurals are counted; it is the same in all.
        merged.mime_headers = part.mime_headers
        for message in part:
            if message.id:
                merged[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(text: str) -> str:
    """The text in the session's language; texts in the code are English."""
    return _translations(language()).gettext(text)


def ngettext(one: str, many: str, n: int) -> str:
    """The singular or the plural in the session's language."""
    return _translations(language()).ngettext(one, many, n)


def pgettext(context: str, text: str) -> str:
    """The text as it is said in a context: one word of English may need two of Spanish."""
    return _translations(language()).pgettext(context, text)


def language_switch() -> None:
    """The switch between the languages; the choice stands in the URL, so a link keeps it."""
    url = Url()
    url.restore("lang", _usual_language(), one_of(list(LANGUAGES)))
    chosen = st.segmented_control(
        _("Language"),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="lang",
        required=True,
        label_visibility="collapsed",
    )
    url.keep("lang", chosen, [str(chosen)], default=chosen == _usual_language())
    url.write()


# --- formats ----------------------------------------------------------------------------------------------------------


def _locale() -> str:
    return LOCALES[language()]


def is_unknown(value: Any) -> bool:
    """None, NaN or NA: shown as a dash, never as zero."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in {"<NA>", "NaT", "nan"}


def number(value: Any, decimals: int = 0) -> str:
    """1,234 or 1,234.5."""
    if is_unknown(value):
        return UNKNOWN
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(numbers.format_decimal(value, format=pattern, locale=_locale()))


def money(value: Any) -> str:
    """$1,234,567.89, to the centavo."""
    if is_unknown(value):
        return UNKNOWN
    return str(numbers.format_decimal(Decimal(str(value)), format="$#,##0.00;-$#,##0.00", locale=_locale()))


def short_money(value: Any) -> str:
    """$1.2 M, $350 k, $980."""
    if is_unknown(value):
        return UNKNOWN
    amount = float(value)
    for size, sign in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        # In Mexico 'billón' is a million million: a thousand million is told in millions.
        if abs(amount) >= size and not (size == 1e9 and language() == "es"):
            decimals = 1 if abs(amount) < 100 * size else 0
            return f"{'-' if amount < 0 else ''}${number(abs(amount) / size, decimals)}{sign}"
    return f"{'-' if amount < 0 else ''}${number(abs(amount))}"


def percent(value: Any, decimals: int | None = None) -> str:
    """A share as 12.3 %; below 1 % with two decimals, for there the first one hides the difference."""
    if is_unknown(value):
        return UNKNOWN
    if decimals is None:
        decimals = 2 if 0 < abs(float(value)) < 0.01 else 1
    return f"{number(float(value) * 100, decimals)} %"


def duration(seconds: Any) -> str:
    """85 ms, 1.3 s, 4 min, 2.5 h, 3 d."""
    if is_unknown(seconds):
        return UNKNOWN
    amount = float(seconds)
    if amount < 1:
        return f"{number(amount * 1000)} ms"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if amount >= 2 * size:
            return f"{number(amount / size, 0 if amount >= 10 * size or size == 60 else 1)} {unit}"
    return f"{number(amount, 1)} s"


def quantity(value: Any, unit: str, *, short: bool = False) -> str:
    """A value in a catalogue unit: count, mxn, share, score, seconds."""
    match unit:
        case "mxn" | "MXN":
            return short_money(value) if short else money(value)
        case "share":
            return percent(value)
        case "score":
            return number(value, 1)
        case "seconds" | "s":
            return duration(value)
        case "ms":
            return UNKNOWN if is_unknown(value) else duration(float(value) / 1000)
        case _:
            return number(value)


def age(seconds: float) -> str:
    """How long ago, without the word: 12 s, 5 min, 3 h, 2 d."""
    amount = max(float(seconds), 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if amount >= size:
            return f"{amount // size:.0f} {unit}"
    return f"{amount:.0f} s"


def day_name(day: date, *, style: str = "EEEE d MMMM") -> str:
    """A day in words: Tuesday 24 November, martes 24 de noviembre."""
    if style == "EEEE d MMMM" and language() == "es":
        style = "EEEE d 'de' MMMM"
    return str(dates.format_date(day, style, locale=_locale()))


def clock(moment: datetime) -> str:
    """The time of day of an aware moment: 14:05."""
    return moment.strftime("%H:%M")


def when(moment: datetime) -> str:
    """Day and time: 24 Nov 14:05."""
    return str(dates.format_datetime(moment, "d MMM HH:mm", locale=_locale(), tzinfo=moment.tzinfo))


def d3_locale() -> dict[str, dict[str, Any]]:
    """Number and time formats for the charts (d3), from Babel's data."""
    locale = _locale()
    months = dates.get_month_names("wide", locale=locale)
    short_months = dates.get_month_names("abbreviated", locale=locale)
    days = dates.get_day_names("wide", locale=locale)
    short_days = dates.get_day_names("abbreviated", locale=locale)
    # d3 begins the week on Sunday, Babel on Monday.
    week = (6, 0, 1, 2, 3, 4, 5)
    return {
        "number": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["$", ""], "percent": " %"},
        "time": {
            "dateTime": "%A %e %B %Y %X",
            "date": "%d/%m/%Y",
            "time": "%H:%M:%S",
            "periods": ["AM", "PM"],
            "days": [days[n] for n in week],
            "shortDays": [short_days[n].rstrip(".") for n in week],
            "months": [months[n] for n in range(1, 13)],
            "shortMonths": [short_months[n].rstrip(".") for n in range(1, 13)],
        },
    }
