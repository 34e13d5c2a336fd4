"""Takes secrets and personal data out of texts and nested data, by value, by key and by pattern.

One scrubber stands before every way out (log, error report, span) and before every page that shows what other programs
wrote (log lines, errors, traces). It knows the configured secrets by value (`know`), keys whose values never leave
by name, and by pattern: e-mail, telephone, CURP, RFC, CLABE, card numbers (by Luhn), tokens, passwords, values in SQL.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import accumulate
from typing import Any

REMOVED = "[removed]"
DEEPEST = 40

# Parts of key names whose values never leave, whatever they are; compared without case, dashes and underscores.
_DENIED_KEYS = re.compile(
    r"password|passwd|pwd|contrasena|contraseña|secret|token|apikey|accesskey|authorization|cookie|credential|session"
    r"|dsn|privatekey|csrf|xsrf"
    r"|email|correo|phone|telefono|teléfono|celular|mobile|curp|rfc$|^rfc|clabe|card|tarjeta|cvv|iban"
    r"|address|direccion|dirección"
    r"|firstname|lastname|fullname|surname|apellido|nombre|birth|nacimiento|ssn|nss"
    r"|params$|parameters$|bindvars|^vars$|body$|querystring|httpquery|urlquery|httpfragment|ipaddress|^ip$|username"
)
# Structure that a report cannot be read without; kept as it is only while it looks like what it should be.
_STRUCTURE = {
    **dict.fromkeys(
        ("event_id", "trace_id", "span_id", "parent_span_id", "replay_id", "profile_id"),
        re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}"),
    ),
    **dict.fromkeys(
        ("timestamp", "start_timestamp"), re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")
    ),
}
_NUMBERS = {"timestamp", "start_timestamp", "lineno", "colno"}
# Log lines carry their moment as a number. No telephone number of Mexico begins with 1.
_MOMENTS = {"ts", "time", "@timestamp", "ingestiontime", "created"}

# Where a word begins: also behind what an escape (\n, \xa0, \u00e1, %20) leaves of itself.
_START = r"(?:(?<![^\W_])|(?<=\\[nrt])|(?<=\\x[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
_END = r"(?![^\W_])"

# Repetitions are bounded, so that a long text costs time in proportion to its length.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S),
        REMOVED,
    ),
    # user:password@ in any address, up to the last @: passwords hold every sign
    (re.compile(r"(?<=://)[^\s'\"<>]{0,2000}@"), f"{REMOVED}@"),
    # the path of a webhook is its password
    (re.compile(r"\b(hooks\.slack\.com)/[\w/-]+"), rf"\1/{REMOVED}"),
    (re.compile(r"\b((?i:bearer))\s+[\w.~+/=:-]{6,}"), rf"\1 {REMOVED}"),
    (re.compile(r"\b((?i:basic|digest|token))\s+(?=\S{0,200}[\dA-Z=])[\w.~+/=:-]{8,}"), rf"\1 {REMOVED}"),
    # a JSON web token
    (re.compile(rf"{_START}eyJ[\w-]{{5,4000}}\.[\w-]+(?:\.[\w-]*)?"), REMOVED),
    # keys of Amazon, GitHub, GitLab, Slack, Stripe, Conekta, Google
    (re.compile(rf"{_START}(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{{16}}(?![A-Z0-9])"), REMOVED),
    (
        re.compile(
            rf"{_START}(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_(?:live|test)_|key_|AIza)[\w-]{{16,255}}"
        ),
        REMOVED,
    ),
    # a secret access key stands alone, too: 40 signs, of all three kinds, so that no hash and no path is taken for it
    (
        re.compile(
            r"(?<![\w/+=.-])(?=[A-Za-z0-9/+]{0,39}[0-9])(?=[A-Za-z0-9/+]{0,39}[A-Z])(?=[A-Za-z0-9/+]{0,39}[g-z])"
            r"[A-Za-z0-9/+]{40}(?![\w/+=-]|\.\w)"
        ),
        REMOVED,
    ),
    # name = value, in a URL, a DSN, JSON (also JSON inside a text) or a sentence
    (
        re.compile(
            r"((?:password|passwd|pwd|contraseña|contrasena|secret|token|api[_-]?key|access[_-]?key|authorization|cookie"
            r"|credential|dsn|nombre|apellido|first[_-]?name|last[_-]?name|full[_-]?name)[\w-]{0,40}"
            r"\\{0,3}[\"']?\s{0,5}(?:[=:]|%3[aAdD])\s{0,5})"
            r"(\\{1,3}\"(?:[^\"\\]|\\{1,7}[^\"\\])*\\{1,3}\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"'&]+)",
            re.I | re.S,
        ),
        rf"\1{REMOVED}",
    ),
    # what SQLAlchemy, psycopg and PostgreSQL add to an error: the bound values and the row
    (re.compile(r"\[parameters: .*?\](?=\n|\\n|$)", re.S), f"[parameters: {REMOVED}]"),
    (re.compile(r"\b(DETAIL|CONTEXT|DETALLE|CONTEXTO):[^\n]*"), rf"\1: {REMOVED}"),
    (re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,80}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+"), REMOVED),
    # CURP, then RFC (of a person and of a company)
    (re.compile(rf"{_START}[A-Z]{{4}}\d{{6}}[HMX][A-Z]{{5}}[A-Z0-9]\d{_END}", re.I), REMOVED),
    (re.compile(rf"{_START}[A-ZÑ&]{{3,4}}-?\d{{6}}-?[A-Z0-9]{{3}}{_END}", re.I), REMOVED),
)
# What is no number, though it is made of digits: it stays, and what follows it is looked at anew.
_IDENTIFIER = (
    r"(?<![^\W_])(?i:"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?=[0-9a-f]{0,31}[a-f])[0-9a-f]{32}"
    r"|\d{4}-\d\d-\d\d|\d\d[-.]\d\d[-.]\d{4}(?=[ T,]{1,2}\d\d:)"
    r"|\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"
    rf"){_END}"
)
_BETWEEN = r"[ .()\-\u00a0\u2009\u202f\u2010-\u2015]"
_DIGITS = re.compile(
    rf"(?P<identifier>{_IDENTIFIER})"
    rf"|{_START}(?<!\d\.)\+?\(?\d(?:{_BETWEEN}{{0,2}}\d){{9,400}}{_END}|\d{{13,19}}",
)
_GROUP = re.compile(r"\d+")
_SHORTEST, _LONGEST = 10, 19
_SQL = re.compile(
    r"\b(?:select|where|insert\s{1,9}into|delete\s{1,9}from|update\b.{1,300}?\bset|values\s{0,9}\()", re.I | re.S
)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others, as on every payment card."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _personal(digits: str) -> bool:
    """Telephone numbers (10 to 13 digits), CLABE accounts (18) and card numbers (by Luhn)."""
    return _SHORTEST <= len(digits) <= 13 or len(digits) == 18 or (13 <= len(digits) <= _LONGEST and luhn(digits))


def _number(match: re.Match[str]) -> str:
    """The run of digits without what may be personal in it: numbers that stand side by side could hide each other."""
    text = match[0]
    if match["identifier"] is not None:
        return text
    groups = [group.span() for group in _GROUP.finditer(text)]
    digits = "".join(text[begin:end] for begin, end in groups)
    # Where each group ends among the digits alone.
    ends = list(accumulate(end - begin for begin, end in groups))
    kept: list[str] = []
    done, until = 0, -1
    for first in range(len(groups)):
        last = _last_of(digits, ends, first)
        if last is None or last <= until:
            continue
        if first > until:
            begin = groups[first][0]
            # The sign and the bracket before it belong to it.
            while begin > done and text[begin - 1] in "+(":
                begin -= 1
            kept += [text[done:begin], REMOVED]
        done, until = groups[last][1], last
    return "".join([*kept, text[done:]])


def _last_of(digits: str, ends: list[int], first: int) -> int | None:
    """The last group of the longest personal number that begins with the group `first`, or None."""
    begin = ends[first - 1] if first else 0
    nearest, beyond = bisect_left(ends, begin + _SHORTEST), bisect_right(ends, begin + _LONGEST)
    return next((last for last in reversed(range(nearest, beyond)) if _personal(digits[begin : ends[last]])), None)


class Scrubber:
    """Takes secrets and personal data out of texts and of nested data."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)

    def text(self, text: str) -> str:
        """The text without configured secrets, credentials, personal data and SQL values."""
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if _SQL.search(text):
            text = _LITERAL.sub("'?'", text)
        return _DIGITS.sub(_number, text)

    def data(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Nested data without values under denied keys, and with every text scrubbed; keys are scrubbed, too."""
        if depth > DEEPEST:
            return REMOVED
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): REMOVED
                if _DENIED_KEYS.search(re.sub(r"[_\W]", "", str(name).lower())) and not _harmless(item)
                else self.data(item, str(name), depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, str):
            shape = _STRUCTURE.get(key)
            return value if shape and shape.fullmatch(value) else self.text(value)
        if value is None or isinstance(value, bool | date):
            return value
        if isinstance(value, int | float):
            if key in _NUMBERS or (key.lower() in _MOMENTS and _is_moment(value)):
                return value
            return value if self.text(str(value)) == str(value) else REMOVED
        if isinstance(value, bytes | bytearray | memoryview):
            return REMOVED
        if isinstance(value, Iterable):
            return [self.data(item, key, depth + 1) for item in value]
        return self.text(str(value))


def _harmless(value: Any) -> bool:
    return value is None or value == "" or value == {} or value == []


def _is_moment(value: float) -> bool:
    """Seconds or milliseconds since 1970, of the years 2001 to 2033."""
    return 1e9 <= value < 2e9 or 1e12 <= value < 2e12


_scrubber = Scrubber()


def know(secrets: Iterable[str]) -> None:
    """Take these values out from now on, longest first; the host names the configured secrets once at its start."""
    global _scrubber
    _scrubber = Scrubber(secrets)


def scrubber() -> Scrubber:
    """The scrubber of this process; it knows the configured secrets once `know` was called."""
    return _scrubber


def mask(text: str) -> str:
    """The text without secrets, credentials and personal data: `[removed]` stands in their place."""
    return _scrubber.text(text)


def mask_all(data: Any) -> Any:
    """Nested data (mappings, sequences, texts, numbers) without secrets and personal data; always a copy.

    Values under keys such as password, phone or nombre go whatever they are; what is no plain data becomes text.
    """
    return _scrubber.data(data)
