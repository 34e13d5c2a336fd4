"""Takes secrets and personal data out of texts and nested data, by value, by key and by pattern.

One scrubber stands before every way out (log, error report, span) and before every page that shows what other programs
wrote (log lines, errors, traces). It knows the configured secrets by value (`know`), keys whose values never leave
by name, and by pattern: e-mail, telephone, CURP, RFC, CLABE, card numbers (by Luhn), tokens, passwords, values in SQL.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from itertools import accumulate
from typing import Any

REMOVED = "[removed]"
DEEPEST = 40

# How programs write signs that are no ASCII, and signs that mean something to them.
_N = r"(?:ñ|n|ny|\\{1,4}u00f1|\\{1,4}xf1|%c3%b1|&ntilde;)"
_E = r"(?:é|e|\\{1,4}u00e9|\\{1,4}xe9|%c3%a9|&eacute;)"
_O = r"(?:ó|o|\\{1,4}u00f3|\\{1,4}xf3|%c3%b3|&oacute;)"
_AT = r"(?:@|%(?:25){0,3}40|\\{1,4}u0040|\\{1,4}x40|&\#0{0,4}64;|&\#x0{0,4}40;|&commat;)"

# Parts of key names whose values never leave, whatever they are; compared without case, dashes and underscores.
_DENIED_KEYS = re.compile(
    r"password|passwd|passphrase|passcode|pwd|contrase(?:ñ|n|ny|u00f1|xf1|c3b1)a|secret|token|apikey|accesskey"
    r"|authorization|cookie|credential|session|dsn|privatekey|csrf|xsrf|jwt|^sid$|^auth$|^pass$|^clave|^llave|nip$|^pin$"
    r"|signature|^firma"
    r"|email|correo|phone|tel(?:e|é|u00e9|c3a9)fono|celular|mobile|^m[oó]vil|^tel$|^cel$"
    r"|curp|rfc$|^rfc|clabe|card|tarjeta|cvv|cvc|iban|numerocuenta|cuentabancaria|^cuenta$"
    # Where a server listens is no person's address (OpenTelemetry names its host server.address).
    r"|(?<!server)address|direcci(?:o|ó|u00f3|c3b3)n|domicilio"
    r"|firstname|lastname|fullname|surname|apellido|nombre|birth|nacimiento|ssn|nss"
    r"|params$|parameters$|bindvars|^vars$|body$|querystring|httpquery|urlquery|httpfragment|ipaddress|^ip$|username"
)
# Structure that a report cannot be read without; kept as it is only while it looks like what it should be. An id of 16
# signs that are all digits could be a card's number.
_STRUCTURE = {
    **dict.fromkeys(
        ("event_id", "trace_id", "span_id", "parent_span_id", "replay_id", "profile_id"),
        re.compile(r"(?=\d{0,15}[a-f])[0-9a-f]{16}|[0-9a-f]{32}"),
    ),
    **dict.fromkeys(
        ("timestamp", "start_timestamp"), re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")
    ),
}
# Places in a file have fewer digits than any number of a person.
_PLACES = {"lineno", "colno"}
# Log lines carry their moment as a number. No telephone number of Mexico begins with 1.
_MOMENTS = {"ts", "time", "timestamp", "start_timestamp", "@timestamp", "ingestiontime", "created"}

# Where a word begins: also behind what an escape (\n, \xa0, \u00e1, %20) leaves of itself.
_START = r"(?:(?<![^\W_])|(?<=\\[nrt])|(?<=\\x[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
_END = r"(?![^\W_])"

# Names before a value: of what lets somebody in, and of what tells who somebody is. Short ones stand alone.
_OPENS = (
    rf"password|passwd|pwd|passphrase|passcode|contrase{_N}a|secret|token|api[_-]?key|access[_-]?key|authorization"
    r"|cookie|credential|dsn"
)
_TELLS = rf"nombre|apellido|first[_-]?name|last[_-]?name|full[_-]?name|correo|tel{_E}fono|celular|tarjeta|domicilio"
_ALONE = (
    r"pass|clave|llave|nip|pin|jwt|sid|csrf|xsrf|auth|session(?:[_-]?id)?|e-?mail|phone|card[_-]?(?:number|num|no)"
    rf"|cvv2?|cvc2?|nss|curp|rfc|clabe|direcci{_O}n|fecha[_-]?(?:de[_-]?)?nacimiento|birth[_-]?date|cuenta"
)
_NAMED = (
    rf"(?:(?:{_OPENS}|{_TELLS})[\w-]{{0,40}}|(?<![^\W_])(?:{_ALONE})(?:[_-](?:address|number|personal|numero))?(?!\w))"
)
# A value: in quotes (also those of JSON inside a text), in brackets up to their end, or a word. What is cut off before
# its end goes up to the end of the line.
_STRING = r"\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'"
_FLAT = rf"[^\[\](){{}}\"'\n]++|{_STRING}"
_BRACKETS = "(?!)"
for _ in range(3):
    _BRACKETS = rf"[\[({{](?:{_FLAT}|{_BRACKETS})*+[\])}}]"
_VALUE = (
    r"(?:(?:[A-Za-z]{1,2}(?=[\"']))?"
    r"(?:\\{1,7}\"(?:[^\"\\]|\\{1,7}[^\"\\])*+\\{1,7}\"|"
    rf"{_STRING})|[\w.]{{0,40}}(?:{_BRACKETS}|[\[({{][^\n]*+)|[\"'][^\n]*+|[^\s\"'&]+)"
)

_GAP = r"[ ._/-]?"

# Of which one stands in each of the names.
_NAMES = (
    "pass pwd contrase secret token api key authorization cookie credential dsn nombre apellido name correo fono"
    " celular tarjeta domicilio clave llave nip pin jwt sid csrf xsrf auth session mail phone card cvv cvc nss curp rfc"
    " clabe direcci nacimiento birth cuenta"
)
# Repetitions are bounded or possessive, so that a long text costs time in proportion to its length.
# Before each stand words (in small letters) of which one must be in the text at all: most texts hold few of them.
_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "-----begin",
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S),
        REMOVED,
    ),
    # the path of a webhook is its password
    (
        "hooks.slack webhook.office discord hc-ping",
        re.compile(
            r"\b(hooks\.slack\.com|webhook\.office\.com|discord(?:app)?\.com/api/webhooks|hc-ping\.com)/[^\s'\"<>]+"
        ),
        rf"\1/{REMOVED}",
    ),
    # user:password@ in any address, up to the last @: passwords hold every sign
    ("://", re.compile(r"(?<=://)[^\s'\"<>]{0,2000}@"), f"{REMOVED}@"),
    ("bearer", re.compile(r"(?<![^\W_])((?i:bearer))(\s+|%20|\+)[\w.~+/=:%-]{6,}"), rf"\1\2{REMOVED}"),
    (
        "basic digest token apikey",
        re.compile(r"(?<![^\W_])((?i:basic|digest|token|apikey))(\s+|%20|\+)(?=\S{0,200}[\dA-Z=])[\w.~+/=:%-]{8,}"),
        rf"\1\2{REMOVED}",
    ),
    # all cookies of a header
    ("cookie", re.compile(r"(?<![^\W_])((?:set-)?cookie[ ]?:[ ]?)[^\n'\"]+", re.I), rf"\1{REMOVED}"),
    # a JSON web token; keys of Amazon, GitHub, GitLab, Slack, Stripe, Conekta, Google, Sentry, npm, PyPI, SendGrid
    (
        "eyj akia asia aroa aida ghp_ gho_ ghu_ ghs_ ghr_ github_pat glpat- xox xapp- k_live k_test whsec_ key_ aiza"
        " sntry npm_ pypi- sg.",
        re.compile(
            rf"(?=[eAgxsrkpwnS]){_START}(?:"
            r"eyJ[\w-]{5,4000}\.[\w-]+(?:\.[\w-]*)?"
            r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Z0-9])"
            r"|(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|xapp-|[psr]k_(?:live|test)_|whsec_|key_|AIza|sntry[a-z]_"
            r"|npm_|pypi-|SG\.)[\w.=+/-]{16,400})"
        ),
        REMOVED,
    ),
    # keys of UptimeRobot and Telegram
    ("", re.compile(r"(?<![^\W_])(?:(?:ur?|m)\d{6,12}-[0-9a-f]{20,40}|\d{8,10}:AA[\w-]{30,40})"), REMOVED),
    # a secret access key stands alone, too: 40 signs, of all three kinds, so that no hash and no path is taken for it
    (
        "",
        re.compile(
            r"(?<![\w/+=.-])(?=[A-Za-z0-9/+]{0,39}[0-9])(?=[A-Za-z0-9/+]{0,39}[A-Z])(?=[A-Za-z0-9/+]{0,39}[g-z])"
            r"[A-Za-z0-9/+]{40}(?![\w/+=-]|\.\w)"
        ),
        REMOVED,
    ),
    (
        "signature",
        re.compile(r"(signature\\{0,3}[\"']?\s{0,5}[=:]\s{0,5}\\{0,3}[\"']?)[\w+/=%-]{16,}", re.I),
        rf"\1{REMOVED}",
    ),
    # name = value, in a URL, a DSN, JSON (also JSON inside a text), XML, a pair or a sentence
    (
        _NAMES,
        re.compile(
            rf"({_NAMED}(?:\\{{0,7}}[\"']?\s{{0,5}}(?:=>|[=:]|%3[ad])\s{{0,5}}|\\{{0,7}}[\"']\s{{0,5}},\s{{0,5}}"
            r"(?=[A-Za-z]{0,2}\\{0,7}[\"'])))"
            rf"{_VALUE}",
            re.I | re.S,
        ),
        rf"\1{REMOVED}",
    ),
    (
        "</",
        re.compile(rf"(<[\w:-]{{0,40}}{_NAMED}(?:\s[^<>]{{0,200}})?>)[^<]{{1,2000}}", re.I),
        rf"\1{REMOVED}",
    ),
    # as an option of a command, and in a sentence, where the value has a digit
    (_NAMES, re.compile(rf"((?<![\w-])--?(?:{_OPENS})[\w-]{{0,20}}\s{{1,3}})[^\s-]\S*", re.I), rf"\1{REMOVED}"),
    (
        _NAMES,
        re.compile(
            rf"((?:(?:{_OPENS}|{_TELLS})[\w-]{{0,20}}|(?<![^\W_])(?:pass|clave|nip|pin|nss|cvv|curp|rfc|clabe))"
            r"\s{1,3}(?:is|was|es|era|fue|son)\s{1,3})(?=\S{0,80}\d)\S+",
            re.I,
        ),
        rf"\1{REMOVED}",
    ),
    # what SQLAlchemy, psycopg and PostgreSQL add to an error: the bound values, the row and the value
    ("[parameters", re.compile(r"\[parameters: .*?\](?=\n|\\n|$)", re.S), f"[parameters: {REMOVED}]"),
    ("detail context detalle", re.compile(r"\b(DETAIL|CONTEXT|DETALLE|CONTEXTO):[^\n]*"), rf"\1: {REMOVED}"),
    ("failing fila", re.compile(r"\b(Failing row contains|La fila que falla contiene)[^\n]*"), rf"\1 {REMOVED}"),
    (
        "invalid range sintaxis",
        re.compile(
            r"\b(invalid input syntax for[\w ]{1,60}|date/time field value out of range|"
            r"la sintaxis de entrada no es válida para[\w ]{1,60}): ?[\"«][^\n]*"
        ),
        rf"\1: {REMOVED}",
    ),
    # CURP, then RFC (of a person and of a company; apart with a true day only, as words and a number are not), then
    # the key of a voter
    ("", re.compile(rf"[A-ZÑ]{{4}}{_GAP}\d{{6}}{_GAP}[HMX]{_GAP}[A-Z]{{5}}{_GAP}[A-Z0-9]\d", re.I), REMOVED),
    (
        "",
        re.compile(
            rf"{_START}(?:(?:[A-ZÑ&]|%26|&amp;|\\{{1,4}}u00d1|%C3%91){{3,4}}-?\d{{6}}-?[A-Z0-9]{{3}}"
            r"|(?-i:[A-ZÑ&]{3,4})[ _.]\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ _.](?-i:[A-Z\d]{2}[\dA])"
            rf"|[A-Z]{{6}}\d{{8}}[HM]\d{{3}}){_END}",
            re.I,
        ),
        REMOVED,
    ),
)
_READY = tuple((tuple(words.split()), pattern, instead) for words, pattern, instead in _PATTERNS)
# From the @ of an address to its end. What stands before it is looked for from there, whatever its length.
_HOST = re.compile(
    rf" ?{_AT} (?=[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,8}}\.[A-Za-z]{{2,}})[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+"
    rf"| ?{_AT}(?:(?:[\w-]|\\{{1,4}}u[0-9a-fA-F]{{4}}){{1,63}}(?:\.(?:[\w-]|\\{{1,4}}u[0-9a-fA-F]{{4}}){{1,63}})+"
    r"|\[(?:IPv6:)?[\da-fA-F.:]{2,45}\])"
)
# A local part, read from its end: also in quotes and with \u00e9 in it.
_LOCAL = re.compile(r"\"\\*[^\"\n]{1,200}\"|(?:[\w.!#$%&'*+/=?^`{|}~-]|(?<=[0-9a-fA-F]{4}u)\\{1,4})+")
_AT_WORDS = ("@", "40", "64;", "commat")
# What is no number, though it is made of digits: it stays, and what follows it is looked at anew.
_IDENTIFIER = (
    r"(?<![^\W_])(?i:"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?=[0-9a-f]{0,31}[a-f])[0-9a-f]{32}"
    r"|\d{4}-\d\d-\d\d|\d\d[-.]\d\d[-.]\d{4}(?=[ T,]{1,2}\d\d:)"
    r"|\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"
    rf"){_END}"
)
# Between groups of digits; in an address as %20.
_ESCAPED = r"%(?:25){0,2}(?:20|09|2[89bdeBDE]|C2%A0|c2%a0)|&nbsp;"
_BETWEEN = rf"(?:[ .()\-\u00a0\u2009\u202f\u2010-\u2015]|{_ESCAPED})"
_DIGITS = re.compile(
    rf"(?=[\d+(a-fA-F])(?:(?P<identifier>{_IDENTIFIER})"
    rf"|(?:{_START}|(?<=tel)|(?<=cel)|(?<=one)|(?<=ono)|(?<=vil))(?<!\d\.)\+?\(?\d(?:{_BETWEEN}{{0,2}}\d){{9,400}}{_END}"
    r"|\d{13,19})",
)
_GROUP = re.compile(rf"{_ESCAPED}|(\d+)")
_SHORTEST, _LONGEST = 10, 19
# Groups as on a card or in a telephone number, with whatever else between them, the same each time.
_SEPARATED = re.compile(
    r"(?<!\d)(?:(?:[3456]\d{3}|2[2-7]\d\d)(?P<a>\W{1,4}|_|\\{1,4}[nrt])(?:\d{4}(?P=a)\d{4}(?P=a)\d{4}|\d{6}(?P=a)\d{5})"
    r"|\d{2,3}(?P<b>[\t/_+]|[ ][-–—][ ]|\\{1,4}t)\d{3,4}(?P=b)\d{4})(?!\d)"
)
_SQL = re.compile(
    r"\b(?:select|where|insert\s{1,9}into|delete\s{1,9}from|update\b.{1,300}?\bset|values\s{0,9}\(|merge\s{1,9}into"
    r"|call\s{1,9}[\w.]{1,80}\s{0,9}\(|execute\s{1,9}\w{1,80}\s{0,9}\()",
    re.I | re.S,
)
_SQL_WORDS = ("select", "where", "insert", "delete", "update", "values", "merge", "call", "execute")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(?P<tag>[A-Za-z_]\w{0,30})?\$.*?\$(?P=tag)?\$", re.S)
# What hides signs from a pattern and not from a reader: other forms of digits and letters, and signs without a width.
_HIDING = re.compile(
    "[\u00ad\u0300-\u036f\u0660-\u1b5f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ua620-\uabff\ufe00-\ufe0f"
    "\ufe6b\ufeff\uff01-\uff5e\U000104a0-\U0001fbf9]"
)


class _Plain(dict[int, int | str | None]):
    """For `str.translate`: digits of any script and wide letters as ASCII, nothing for what has no width."""

    def __missing__(self, code: int) -> int | str | None:
        sign = chr(code)
        if 0xFF01 <= code <= 0xFF5E:
            plain: int | str | None = code - 0xFEE0
        elif code == 0xFE6B:
            plain = "@"
        elif unicodedata.category(sign) == "Nd":
            plain = str(unicodedata.digit(sign))
        elif unicodedata.category(sign) == "Cf" or 0xFE00 <= code <= 0xFE0F:
            plain = None
        else:
            plain = code
        self[code] = plain
        return plain


_PLAIN = _Plain()


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
    groups = [group.span(1) for group in _GROUP.finditer(text) if group[1]]
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
        if text.isascii() or not _HIDING.search(text):
            return _cleaned(text)
        plain = _read(text)
        cleaned = _cleaned(plain)
        # Only what had to be read in another form is given in another form.
        return text if cleaned == plain else cleaned

    def data(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Nested data without values under denied keys, and with every text scrubbed; keys are scrubbed, too."""
        if depth > DEEPEST:
            return REMOVED
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): REMOVED
                if _denied(name) and not _harmless(item)
                else self.data(item, str(name), depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, str):
            shape = _STRUCTURE.get(key)
            return value if shape and shape.fullmatch(value) else self.text(value)
        if value is None or isinstance(value, bool | date):
            return value
        if isinstance(value, int | float):
            if (key in _PLACES and 0 <= value < 10_000_000) or (key.lower() in _MOMENTS and _is_moment(value)):
                return value
            return value if self.text(str(value)) == str(value) else REMOVED
        if isinstance(value, bytes | bytearray | memoryview):
            return REMOVED
        # Nothing that would be used up, or never end, by being read.
        if isinstance(value, Sequence | Set):
            return [self.data(item, key, depth + 1) for item in value]
        return self.text(str(value))


def _cleaned(text: str) -> str:
    low = text.lower()
    for words, pattern, instead in _READY:
        if not words or any(word in low for word in words):
            text = pattern.sub(instead, text)
    if any(word in low for word in _SQL_WORDS) and _SQL.search(text):
        text = _LITERAL.sub("'?'", text)
    if any(word in low for word in _AT_WORDS):
        text = _without_mail(text)
    return _DIGITS.sub(_number, _SEPARATED.sub(_separated, text))


def _without_mail(text: str) -> str:
    kept: list[str] = []
    done = 0
    for host in _HOST.finditer(text):
        before = text[done : host.start()]
        local = _LOCAL.match(before[::-1])
        if local is not None:
            kept += [before[: len(before) - local.end()], REMOVED]
            done = host.end()
    return "".join([*kept, text[done:]]) if kept else text


def _separated(match: re.Match[str]) -> str:
    digits = "".join(sign for sign in match[0] if sign.isdigit())
    return REMOVED if match["b"] or luhn(digits) else match[0]


def _denied(name: Any) -> bool:
    return _DENIED_KEYS.search(re.sub(r"[_\W]", "", _read(str(name)).lower())) is not None


def _read(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_PLAIN)


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
