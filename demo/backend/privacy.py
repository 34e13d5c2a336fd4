"""What may leave the backend in logs and error reports: nothing personal, no secret, no value of a statement.

Two rules, for names and patterns each miss what the other finds: a value under a denied key goes whatever it is, and
in every text (keys, messages, breadcrumbs) what looks like an e-mail, CURP, RFC, telephone, card or account number,
token, password or SQL literal is replaced. Of a request's body only fields known to be harmless stay, of the user only
the id. The backend stands for a program of another house: the dashboard has a filter of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote

FILTERED = "[filtered]"

# Parts of key names, compared in lower case without separators.
_DENIED = re.compile(
    r"pass(word|wd|phrase)|contrasena|clave|^pwd|secret|token|apikey|auth|cookie|credential|session|dsn|privatekey"
    r"|email|correo|phone|telefono|celular|movil|mobile|curp|rfc|clabe|iban|card|tarjeta|cvv|cvc|cuenta|account"
    r"|nombre|firstname|lastname|fullname|apellido|surname|birth|nacimiento|address|direccion|domicilio|ine|nss|ssn"
    r"|params$|parameters$|bindvars|querystring|forwarded|remoteaddr|realip|^ip$|ipaddress|useragent|argv"
)
# Names in which a part of the list above means nothing personal.
_HARMLESS_NAMES = frozenset({"lineno", "engine", "machine", "routine", "context_line"})
# What a request's body may hold in a report.
_BODY = frozenset({"event", "draft", "amount", "method", "installment_id", "conductor_id", "failure_code"})
_REQUEST = frozenset({"method", "url"})
_HEADERS = frozenset({"content-type", "content-length", "accept", "x-request-id", "traceparent"})
_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)?")
# "conductores-backend@2.4" is no address.
_RELEASE = re.compile(r"[a-z][a-z0-9-]{0,60}@\d{1,6}(?:\.\d{1,6}){0,3}")
# Structure that is kept as it is while it looks like what it should be.
_STRUCTURE: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(("event_id", "trace_id", "span_id", "parent_span_id", "request_id"), _HEX),
    **dict.fromkeys(("timestamp", "start_timestamp", "datetime"), _TIME),
    "release": _RELEASE,
}
_NUMBERS = frozenset({"timestamp", "start_timestamp", "lineno", "colno", "duration_ms", "thread_id", "id"})

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=://)[^\s/'\"<>@]{0,300}@"), f"{FILTERED}@"),
    (re.compile(r"\b(bearer|basic|digest|token)\s+[\w.~+/=:-]{6,}", re.I), rf"\1 {FILTERED}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), FILTERED),
    (
        re.compile(
            r"((?:password|passwd|pwd|contrase[nñ]a|secret|token|api[_-]?key|authorization|cookie|cvv)[\w-]{0,40}"
            r"[\"']?\s{0,3}[=:]\s{0,3})(\"[^\"]*\"|'[^']*'|[^\s\"'&,;)}\]]+)",
            re.I,
        ),
        rf"\1{FILTERED}",
    ),
    # Long-lived keys of services: a prefix and many letters and digits.
    (re.compile(r"\b(?:sk|pk|key|ghp|xox[abp])[_-][\w-]{12,}"), FILTERED),
    # What SQLAlchemy and PostgreSQL add to an error.
    (re.compile(r"\[parameters: .*?\](?=\n|$)", re.S), f"[parameters: {FILTERED}]"),
    (re.compile(r"\b(DETAIL|CONTEXT|DETALLE|CONTEXTO):[^\n]*"), rf"\1: {FILTERED}"),
    (re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,80}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), FILTERED),
    # CURP, then RFC of a person and of a company
    (re.compile(r"(?<![^\W_])[A-ZÑ]{4}\d{6}[HMX][A-ZÑ]{5}[A-Z0-9]\d(?![^\W_])", re.I), FILTERED),
    (re.compile(r"(?<![^\W_])[A-ZÑ&]{3,4}[ -]?\d{6}[ -]?[A-Z0-9]{3}(?![^\W_])", re.I), FILTERED),
)
# Ten digits and more, with the signs that people write between them; not within a word or a longer number.
_DIGITS = re.compile(r"(?<![\w.])\+?\(?\d(?:[ .()/-]{0,2}\d){9,22}(?![\w])")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d|\d{1,3}(?:\.\d{1,3}){3}$")
_SQL = re.compile(r"\b(select|insert|update|delete|values|where|with)\b", re.I)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def _number(match: re.Match[str]) -> str:
    """Telephones have 10 to 13 digits, cards 13 to 19, CLABE accounts 18: all that is so long goes, save dates."""
    return match[0] if _INSTANT.match(match[0]) else FILTERED


def text(value: str) -> str:
    """A text without what looks personal or secret."""
    for pattern, instead in _PATTERNS:
        value = pattern.sub(instead, value)
    if _SQL.search(value):
        value = _LITERAL.sub("'?'", value)
    return _DIGITS.sub(_number, value)


def data(value: Any, key: str = "", depth: int = 0) -> Any:
    """Nested data with denied keys emptied and every text cleaned."""
    if depth > 30:
        return FILTERED
    if isinstance(value, Mapping):
        return {
            text(str(name)): FILTERED if _is_denied(str(name)) and item else data(item, str(name), depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, str):
        shape = _STRUCTURE.get(key)
        return value if shape and shape.fullmatch(value) else text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if key in _NUMBERS or text(str(value)) == str(value) else FILTERED
    if isinstance(value, bytes | bytearray | memoryview):
        return FILTERED
    if isinstance(value, Iterable):
        return [data(item, key, depth + 1) for item in value]
    return text(str(value))


@lru_cache(4096)
def _is_denied(name: str) -> bool:
    # "contraseña" is "contrasena" here.
    plain = normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return name not in _HARMLESS_NAMES and _DENIED.search(re.sub(r"[\W_]", "", plain)) is not None


def event(found: Mapping[str, Any], hint: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A whole error event as it may leave (sentry-sdk's `before_send`)."""
    whole = dict(found)
    request, user = whole.pop("request", None) or {}, whole.pop("user", None) or {}
    kept = {name: whole.pop(name) for name in ("sdk", "modules", "_meta") if name in whole}
    whole.pop("server_name", None)
    # Variables of frames hold whatever the code held: bodies, rows, credentials.
    cleaned: dict[str, Any] = data(_without_variables(whole))
    cleaned |= {name: value for name, value in kept.items() if name != "_meta"}
    if request:
        cleaned["request"] = _request(request)
    if user.get("id"):
        cleaned["user"] = {"id": text(str(user["id"]))}
    return cleaned


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        # An address is percent-encoded: patterns are sought in what it says.
        name: text(unquote(str(value)).split("?")[0].split("#")[0])
        for name, value in request.items()
        if name in _REQUEST
    }
    headers = request.get("headers") or {}
    kept["headers"] = {name: data(value, name) for name, value in dict(headers).items() if name.lower() in _HEADERS}
    body = request.get("data")
    if isinstance(body, Mapping):
        kept["data"] = {
            text(str(name)): data(value, str(name)) if name in _BODY and not _is_nested(value) else FILTERED
            for name, value in body.items()
        }
    elif body:
        kept["data"] = FILTERED
    return kept


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _without_variables(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _without_variables(item) for name, item in node.items() if name not in ("vars", "abs_path")}
    if isinstance(node, list | tuple):
        return [_without_variables(item) for item in node]
    return node


def breadcrumb(crumb: Mapping[str, Any], hint: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A breadcrumb as it may be kept (sentry-sdk's `before_breadcrumb`)."""
    cleaned: dict[str, Any] = data(dict(crumb))
    return cleaned
