"""`python -m app doctor`: look at every source and say in a line each what is there and what is missing.

Nothing is written anywhere. Each question to a source is bounded on the server and here, and the sources are looked at
side by side, so that a dead one costs seconds. `missing` is what Mirador cannot work without (exit code 1); `warn` is
what makes it slower, poorer or less safe.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg
import requests
from psycopg import sql
from sqlalchemy.engine import make_url

import queries
from app.settings import Settings, unknown_names
from queries.rollups import NOT_BUILT, NOT_READABLE, STATES, states_of

Level = Literal["ok", "warn", "missing"]
CHECK_SECONDS = 4.0
SOURCE_SECONDS = 25.0
NULL_SAMPLE = 200_000
ROLLUPS_LATE = timedelta(minutes=10)


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, and a sentence."""

    level: Level
    subject: str
    sentence: str


# --- the ledger contract (design: schema bi) --------------------------------------------------------------------------

_TEXT = ("text", "varchar", "bpchar", "uuid", "citext")
_ID = (*_TEXT, "int2", "int4", "int8", "numeric")
_WHOLE = ("int2", "int4", "int8")
_MONEY = ("numeric",)
_TIME = ("timestamptz",)
_DAY = ("date",)
_SAID = {_TEXT: "text", _ID: "text or a whole number", _WHOLE: "a whole number", _MONEY: "numeric(14,2)"}
_SAID |= {_TIME: "timestamptz", _DAY: "date"}


@dataclass(frozen=True)
class ColumnRule:
    """One column of the contract."""

    name: str
    types: tuple[str, ...]
    nullable: bool = False


def _rules(text: str) -> tuple[ColumnRule, ...]:
    kinds = {"id": _ID, "text": _TEXT, "int": _WHOLE, "mxn": _MONEY, "time": _TIME, "date": _DAY}
    rules = []
    for word in text.split():
        name, kind = word.rstrip("?").split(":")
        rules.append(ColumnRule(name, kinds[kind], word.endswith("?")))
    return tuple(rules)


# name:kind, a ? where null may stand.
CONTRACT: dict[str, tuple[ColumnRule, ...]] = {
    "applications": _rules(
        "application_id:id conductor_id:id submitted_at:time amount_requested:mxn hase_score:int? sinosure_tier:text? "
        "status:text decided_at:time? rejection_reason:text? updated_at:time"
    ),
    "credits": _rules(
        "credit_id:id application_id:id conductor_id:id sinosure_tier:text principal:mxn approved_at:time "
        "disbursed_at:time? disbursement_status:text status:text closed_at:time? updated_at:time"
    ),
    "installments": _rules(
        "installment_id:id credit_id:id sequence:int due_date:date amount_due:mxn amount_paid:mxn paid_at:time? "
        "updated_at:time"
    ),
    "payments": _rules(
        "payment_id:id credit_id:id installment_id:id? processed_at:time amount:mxn status:text method:text "
        "failure_code:text? integration_call_id:id? updated_at:time"
    ),
    "hase_scores": _rules(
        "score_id:id application_id:id conductor_id:id score:int model_version:text calculated_at:time"
    ),
    "integration_calls": _rules(
        "call_id:id called_at:time integration:text endpoint:text status:text http_status:int? duration_ms:int "
        "error_code:text? error_message:text? request_id:id trace_id:text? application_id:id? credit_id:id?"
    ),
}


@dataclass(frozen=True)
class IndexRule:
    """An index that questions are written for: its columns, what it holds besides, which rows, what is slow without."""

    columns: tuple[str, ...]
    slows: str
    holds: tuple[str, ...] = ()
    rows: str = ""

    def __str__(self) -> str:
        holding = f" including ({', '.join(self.holds)})" if self.holds else ""
        return f"({', '.join(self.columns)}){holding}{f' where {self.rows}' if self.rows else ''}"


_REFRESH = "the refresh of the daily tables"
# demo/indexes.sql makes them.
INDEXES: dict[str, tuple[IndexRule, ...]] = {
    "applications": (
        IndexRule(("submitted_at",), "Today, Approvals and the rows of applications"),
        IndexRule(
            ("decided_at",),
            "Today, Approvals and the rows of decisions",
            holds=("status", "sinosure_tier", "rejection_reason"),
        ),
        IndexRule(("updated_at",), _REFRESH),
        IndexRule(("conductor_id",), "the page of a driver"),
    ),
    "credits": (
        IndexRule(("approved_at", "credit_id"), "Disbursements and the rows of credits"),
        IndexRule(("disbursed_at", "approved_at"), "Today, Disbursements and the rows of disbursements"),
        IndexRule(("closed_at",), "the active credits of Today"),
        IndexRule(("updated_at",), _REFRESH),
        IndexRule(("application_id",), "the steps of Approvals and the page of a credit"),
        IndexRule(("conductor_id",), "the page of a driver"),
    ),
    "installments": (
        IndexRule(("credit_id", "sequence"), f"the page of a credit, the rows of credits and {_REFRESH}"),
        IndexRule(("due_date", "paid_at"), "the rows of Late payments", holds=("credit_id", "amount_due")),
        IndexRule(("due_date", "installment_id"), "the rows of what is due on some days"),
        IndexRule(
            ("paid_at",),
            f"the late installments of Today and {_REFRESH}",
            holds=("due_date", "amount_due"),
            rows="paid_at is not null",
        ),
        IndexRule(
            ("due_date", "installment_id"),
            "the rows of Late payments",
            holds=("credit_id", "amount_due", "amount_paid"),
            rows="paid_at is null",
        ),
        IndexRule(("due_date", "installment_id"), "the rows of first-payment defaults", rows="sequence = 1"),
        IndexRule(("updated_at",), _REFRESH),
    ),
    "payments": (
        IndexRule(
            ("processed_at",),
            "Today and the rows of payments",
            holds=("method", "status", "failure_code", "amount"),
        ),
        IndexRule(("updated_at",), _REFRESH),
        IndexRule(("credit_id",), "the page of a credit"),
        IndexRule(("installment_id",), "the page of a credit"),
    ),
    "hase_scores": (
        IndexRule(("calculated_at",), "Today, HASE and the rows of scores"),
        IndexRule(("application_id",), f"Approvals, the page of a credit and {_REFRESH}"),
    ),
    "integration_calls": (
        IndexRule(("called_at",), "Today, Integrations and the rows of calls"),
        IndexRule(("integration", "called_at"), "the failures of Integrations", rows="status <> 'success'"),
        IndexRule(("request_id",), "the ways from a request to its call"),
        IndexRule(("trace_id",), "the ways from a trace to its calls"),
        IndexRule(("credit_id",), "the queue of Disbursements and the page of a credit"),
        IndexRule(("application_id",), "the page of a credit"),
    ),
}
_PERSONAL = re.compile(
    r"e_?mail|correo|phone|telefono|celular|curp|^rfc$|first_?name|last_?name|apellido|^nombre", re.I
)


class _Ledger:
    """A connection of the doctor's own, with short bounds on both ends."""

    def __init__(self, address: str, settings: Settings) -> None:
        url = make_url(address).set(drivername="postgresql")
        self.connection = psycopg.connect(
            url.render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=3,
            application_name="mirador doctor",
            options=f"-c statement_timeout={int(CHECK_SECONDS * 1000)} -c default_transaction_read_only=on",
        )
        self.zone = settings.timezone

    def rows(self, statement: str | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values or None).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        return self.rows(statement, *values)[0][0]


def _examine_ledger(settings: Settings) -> Iterator[Finding]:
    if settings.ledger_url is None:
        yield Finding("missing", "ledger", "No ledger is configured: set MIRADOR_LEDGER_URL.")
        return
    began = time.monotonic()
    try:
        ledger = _Ledger(settings.ledger_url.get_secret_value(), settings)
    except psycopg.OperationalError as error:
        yield Finding("missing", "ledger", _why_unreachable(error))
        return
    version = ledger.connection.info.server_version // 10_000
    took = (time.monotonic() - began) * 1000
    yield Finding("ok", "ledger", f"Reachable: PostgreSQL {version}, connected in {took:.0f} ms.")
    if version < 13:
        yield Finding("warn", "ledger", f"PostgreSQL {version} is older than what Mirador is tested with (13 and up).")
    try:
        for check in (_check_clock, _check_role, _check_relations, _check_freshness, _check_rollups):
            yield from check(ledger)
    finally:
        ledger.connection.close()


def _why_unreachable(error: psycopg.OperationalError) -> str:
    """A sentence by kind; the driver's own words hold hosts and users."""
    text = str(error).lower()
    if "password" in text or "authentication" in text or "pg_hba" in text:
        return "The ledger did not let Mirador in: check user and password in MIRADOR_LEDGER_URL."
    if "database" in text and "does not exist" in text:
        return "The server has no database of the name in MIRADOR_LEDGER_URL."
    if "role" in text and "does not exist" in text:
        return "The server has no role of the name in MIRADOR_LEDGER_URL."
    if "resolve" in text or "name or service" in text:
        return "The host name in MIRADOR_LEDGER_URL cannot be resolved."
    if "timeout" in text or "timed out" in text:
        return "The ledger does not accept connections in time: a wrong address, a stopped server or a firewall."
    return "The ledger cannot be reached: check host and port in MIRADOR_LEDGER_URL, and that the server runs."


def _check_clock(ledger: _Ledger) -> Iterator[Finding]:
    known = ledger.one("select count(*) from pg_timezone_names where name = %s", ledger.zone)
    if not known:
        yield Finding("missing", "time zone", f"The server does not know the zone {ledger.zone} (MIRADOR_TIMEZONE).")
    else:
        yield Finding("ok", "time zone", f"Business days are days of {ledger.zone}; the server knows the zone.")
    apart = abs((ledger.one("select now()") - datetime.now(UTC)).total_seconds())
    if apart > 5:
        yield Finding("warn", "clock", f"The server's clock and this machine's are {apart:.0f} s apart.")


def _check_role(ledger: _Ledger) -> Iterator[Finding]:
    if ledger.one("select rolsuper from pg_roles where rolname = current_user"):
        yield Finding("warn", "role", "Mirador connects as a superuser: give it a role that may only read.")
        return
    writable = ledger.rows(
        """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'bi' and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
        order by 1
        """
    )
    creates = ledger.one(
        "select coalesce(bool_or(has_schema_privilege(oid, 'CREATE')), false) from pg_namespace where nspname = 'bi'"
    )
    if writable or creates:
        what = ", ".join(f"bi.{name}" for (name,) in writable) or "new tables in bi"
        yield Finding("warn", "role", f"The role may write {what}: one that only reads is safer.")
    else:
        yield Finding("ok", "role", "The role may only read.")


def _check_relations(ledger: _Ledger) -> Iterator[Finding]:
    if not ledger.one("select count(*) from pg_namespace where nspname = 'bi'"):
        yield Finding("missing", "schema bi", "The database has no schema bi: map your tables to it once, in SQL.")
        return
    found = ledger.rows(
        """
        select c.relname, c.relkind::text, a.attname, coalesce(base.typname, t.typname), t.typtype::text, a.attnotnull,
               has_table_privilege(c.oid, 'SELECT') and has_schema_privilege(c.relnamespace, 'USAGE')
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        join pg_type t on t.oid = a.atttypid
        left join pg_type base on base.oid = t.typbasetype and t.typtype = 'd'
        where n.nspname = 'bi' and c.relkind in ('r', 'p', 'v', 'm', 'f')
        """
    )
    columns: dict[str, dict[str, tuple[str, str, bool]]] = {}
    kinds: dict[str, str] = {}
    readable: dict[str, bool] = {}
    for relation, kind, column, type_, type_kind, not_null, may_read in found:
        columns.setdefault(relation, {})[column] = (type_, type_kind, not_null)
        kinds[relation], readable[relation] = kind, may_read
    for relation, rules in CONTRACT.items():
        subject = f"bi.{relation}"
        if relation not in columns:
            yield Finding("missing", subject, "This relation is missing.")
            continue
        if not readable[relation]:
            yield Finding("missing", subject, "The role may not read it: grant usage on the schema and select on it.")
            continue
        problems = list(_check_columns(subject, rules, columns[relation]))
        present = [rule for rule in rules if rule.name in columns[relation] and not rule.nullable]
        unsure = [rule.name for rule in present if not columns[relation][rule.name][2]]
        problems += _check_nulls(ledger, relation, unsure)
        if not any(problem.level == "missing" for problem in problems):
            yield Finding("ok", subject, f"All {len(rules)} columns are there with the right types.")
        yield from problems
        yield from _check_indexes(ledger, relation, kinds[relation], columns[relation])
    personal = sorted(
        f"bi.{relation}.{column}" for relation in columns for column in columns[relation] if _PERSONAL.search(column)
    )
    if personal:
        yield Finding("warn", "personal data", f"{', '.join(personal)} look personal and are not in the contract.")


def _check_columns(
    subject: str, rules: Iterable[ColumnRule], columns: dict[str, tuple[str, str, bool]]
) -> Iterator[Finding]:
    for rule in rules:
        if rule.name not in columns:
            yield Finding("missing", subject, f"The column {rule.name} is missing ({_SAID[rule.types]}).")
            continue
        type_, type_kind, _ = columns[rule.name]
        if type_ in rule.types:
            continue
        wanted = _SAID[rule.types]
        if type_kind == "e" and rule.types == _TEXT:
            yield Finding("missing", subject, f"The column {rule.name} is an enum: cast it to text in a view.")
        elif rule.types == _TIME:
            yield Finding(
                "missing",
                subject,
                f"The column {rule.name} is {type_}, not timestamptz: without its zone a time can "
                "fall on the wrong day.",
            )
        elif rule.types == _MONEY:
            yield Finding("missing", subject, f"The column {rule.name} is {type_}, not {wanted}: centavos get lost.")
        else:
            yield Finding("missing", subject, f"The column {rule.name} is {type_}, not {wanted}.")


def _check_nulls(ledger: _Ledger, relation: str, names: list[str]) -> Iterator[Finding]:
    """Columns that the catalogue does not promise: look at some rows. A view promises none of its columns."""
    if not names:
        return
    subject = f"bi.{relation}"
    statement = sql.SQL("select {} from (select {} from {} limit {}) as sample").format(
        sql.SQL(", ").join(sql.SQL("coalesce(bool_or({} is null), false)").format(sql.Identifier(n)) for n in names),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.Identifier("bi", relation),
        sql.Literal(NULL_SAMPLE),
    )
    try:
        nulls = [name for name, has in zip(names, ledger.rows(statement)[0], strict=True) if has]
    except psycopg.errors.QueryCanceled:
        yield Finding("warn", subject, "Whether columns hold nulls could not be seen in time.")
        return
    if nulls:
        yield Finding("missing", subject, f"Null stands where none may: {', '.join(nulls)}.")


def _check_indexes(ledger: _Ledger, relation: str, kind: str, columns: Iterable[str]) -> Iterator[Finding]:
    if kind not in {"r", "p", "m"}:
        return
    found = ledger.rows(
        """
        select
            array(
                select coalesce(a.attname::text, '')
                from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
                left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                order by k.place
            ),
            i.indnkeyatts,
            coalesce(pg_get_expr(i.indpred, i.indrelid), '')
        from pg_index i
        where i.indrelid = %s::regclass and i.indisvalid
        """,
        f"bi.{relation}",
    )
    present = set(columns)
    for rule in INDEXES[relation]:
        if present >= {*rule.columns, *rule.holds} and not any(_serves(rule, *index) for index in found):
            yield Finding("warn", f"bi.{relation}", f"No index on {rule}: {rule.slows} are slow.")


def _serves(rule: IndexRule, names: list[str], keys: int, predicate: str) -> bool:
    """Whether an index of these columns, the first of them its keys, answers what the rule is for."""
    if tuple(names[: min(keys, len(rule.columns))]) != rule.columns or not set(rule.holds) <= set(names):
        return False
    rows = re.sub(r"::\w+|[()]", "", predicate).lower()
    return rows in {"", rule.rows, f"{rule.columns[0]} is not null"}


def _check_freshness(ledger: _Ledger) -> Iterator[Finding]:
    newest: list[tuple[datetime, str]] = []
    slow = []
    for relation, column in (
        *((name, "updated_at") for name in ("applications", "credits", "installments", "payments")),
        ("hase_scores", "calculated_at"),
        ("integration_calls", "called_at"),
    ):
        try:
            statement = sql.SQL("select max({}) from {}").format(sql.Identifier(column), sql.Identifier("bi", relation))
            latest = ledger.rows(statement)[0][0]
        except psycopg.errors.QueryCanceled:
            slow.append(f"bi.{relation}")
            continue
        except psycopg.Error:
            # Missing or of another type: told above.
            continue
        if isinstance(latest, datetime) and latest.tzinfo is not None:
            newest.append((latest, relation))
    if slow:
        yield Finding("warn", "freshness", f"The latest change of {', '.join(slow)} could not be found in time.")
    if not newest:
        if not slow:
            yield Finding("warn", "freshness", "The ledger is empty.")
        return
    latest, relation = max(newest)
    age = datetime.now(UTC) - latest
    if age < -timedelta(minutes=5):
        yield Finding("warn", "freshness", f"bi.{relation} holds a change of the future: {_span(-age)} from now.")
    elif age > timedelta(days=1):
        yield Finding("warn", "freshness", f"The latest change is {_span(age)} old (bi.{relation}): does the copy run?")
    else:
        yield Finding("ok", "freshness", f"The latest change is {_span(max(age, timedelta(0)))} old (bi.{relation}).")


def _check_rollups(ledger: _Ledger) -> Iterator[Finding]:
    try:
        states = states_of(ledger.rows(STATES), ledger.zone)
    except psycopg.errors.InsufficientPrivilege:
        yield Finding("warn", "rollups", f"{NOT_READABLE} Pages count from rows.")
        return
    except psycopg.errors.UndefinedTable:
        yield Finding("warn", "rollups", f"{NOT_BUILT} Pages count from rows until then.")
        return
    if states.refreshed_at is None or states.mode == "rows":
        yield Finding("warn", "rollups", f"{states.sentence or NOT_BUILT} Pages count from rows.")
        return
    age = datetime.now(UTC) - states.refreshed_at
    level: Level = "warn" if age > ROLLUPS_LATE else "ok"
    yield Finding(level, "rollups", f"{len(states.tables)} daily tables, refreshed {_span(age)} ago.")


def _span(age: timedelta) -> str:
    seconds = age.total_seconds()
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


# --- Prometheus and Alertmanager --------------------------------------------------------------------------------------

_KEYWORDS = {
    *("and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"),
    *("inf", "nan", "start", "end", "atan2"),
}


def metrics_of(promql: str) -> dict[str, set[str]]:
    """The metrics that an expression names, each with the labels that are matched on it.

    Where the expression names one metric only, the labels that it groups by count as its labels too.
    """
    # Templates first: `$window` and the like stand for durations, numbers and values.
    text = re.sub(r"\$\{?\w+\}?", "1", promql)
    text = re.sub(r"#[^\n]*", "", text)
    text = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', '""', text)
    grouped: set[str] = set()
    for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", text):
        grouped |= {label.strip() for label in labels.split(",") if label.strip()}
    text = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    text = re.sub(r"\boffset\s+-?\S+", " ", text)
    found: dict[str, set[str]] = {}
    for match in re.finditer(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\s*\()(?![\w:])", text):
        before = text[: match.start()]
        if match[1].lower() in _KEYWORDS or before.count("{") > before.count("}"):
            continue
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match[2] or ""))
        found.setdefault(match[1], set()).update(labels)
    if len(found) == 1:
        next(iter(found.values())).update(grouped)
    return found


class _Api:
    """The Prometheus API, with the settings' credentials and short bounds."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.prometheus_url or ""
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(settings.prometheus_ca_file) if settings.prometheus_ca_file else True
        self.session.headers.update({k: v.get_secret_value() for k, v in settings.prometheus_headers.items()})
        if settings.prometheus_token:
            self.session.headers["Authorization"] = f"Bearer {settings.prometheus_token.get_secret_value()}"
        if settings.prometheus_username and settings.prometheus_password:
            self.session.auth = (settings.prometheus_username, settings.prometheus_password.get_secret_value())

    def get(self, path: str, **params: Any) -> Any:
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=params, timeout=(2, CHECK_SECONDS))
        answer.raise_for_status()
        return answer.json()["data"]


def _examine_prometheus(settings: Settings) -> Iterator[Finding]:
    if settings.prometheus_url is None:
        yield Finding("warn", "prometheus", "No Prometheus is configured: set MIRADOR_PROMETHEUS_URL.")
        return
    api = _Api(settings)
    began = time.monotonic()
    try:
        api.get("query", query="vector(1)")
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        yield Finding("missing", "prometheus", _why_no_prometheus(error))
        return
    took = (time.monotonic() - began) * 1000
    version = _quietly(lambda: api.get("status/buildinfo")["version"])
    yield Finding("ok", "prometheus", f"Reachable: version {version or 'unknown'}, answered in {took:.0f} ms.")
    kept = _quietly(lambda: api.get("status/runtimeinfo")["storageRetention"])
    if kept:
        yield Finding("ok", "prometheus", f"Keeps {kept} of history.")
    else:
        yield Finding("warn", "prometheus", "Does not say how long it keeps its history.")
    yield from _check_metrics(api)


def _why_no_prometheus(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, requests.HTTPError) and error.response is not None else 0
    if status in {401, 403}:
        return "Prometheus did not let Mirador in: check MIRADOR_PROMETHEUS_TOKEN or _USERNAME and _PASSWORD."
    if isinstance(error, requests.exceptions.SSLError):
        return "The certificate of Prometheus is not trusted: give its authority by MIRADOR_PROMETHEUS_CA_FILE."
    if isinstance(error, requests.Timeout):
        return "Prometheus does not answer in time: check MIRADOR_PROMETHEUS_URL, and that the server runs."
    if isinstance(error, requests.ConnectionError):
        return "Prometheus cannot be reached: check MIRADOR_PROMETHEUS_URL, and that the server runs."
    return "What answers at MIRADOR_PROMETHEUS_URL is not the Prometheus API."


def _quietly(ask: Callable[[], Any]) -> Any:
    """An answer that other engines than Prometheus may not have."""
    try:
        return ask()
    except (requests.RequestException, KeyError, TypeError, ValueError):
        return None


def _check_metrics(api: _Api) -> Iterator[Finding]:
    wanted: dict[str, set[str]] = {}
    for query in queries.load_queries():
        if query.source == "metrics":
            for name, labels in metrics_of(query.text).items():
                wanted.setdefault(name, set()).update(labels)
    if not wanted:
        return
    now = time.time()
    period = {"start": now - 86400, "end": now}
    names = "|".join(re.escape(name) for name in sorted(wanted))
    try:
        present = set(api.get("label/__name__/values", **{"match[]": f'{{__name__=~"{names}"}}', **period}))
        absent = sorted(set(wanted) - present)
        if absent:
            yield Finding("warn", "metrics", f"Not seen within a day: {', '.join(absent)}; their panels stay empty.")
        if present:
            yield Finding("ok", "metrics", f"{len(present)} of {len(wanted)} metrics that the pages ask for are there.")
        for name in sorted(present & set(wanted)):
            lacking = wanted[name] - set(api.get("labels", **{"match[]": name, **period}))
            if lacking:
                yield Finding("warn", "metrics", f"{name} lacks the label {', '.join(sorted(lacking))}.")
    except (requests.RequestException, KeyError, TypeError, ValueError):
        yield Finding("warn", "metrics", "Which metrics are there could not be read in time.")


def _examine_alertmanager(settings: Settings) -> Iterator[Finding]:
    if settings.alertmanager_url is None:
        yield Finding("warn", "alertmanager", "No Alertmanager is configured: set MIRADOR_ALERTMANAGER_URL.")
        return
    try:
        answer = requests.get(f"{settings.alertmanager_url}/api/v2/status", timeout=(2, CHECK_SECONDS))
        answer.raise_for_status()
        version = answer.json()["versionInfo"]["version"]
    except requests.ConnectionError:
        yield Finding("missing", "alertmanager", "Alertmanager cannot be reached: check MIRADOR_ALERTMANAGER_URL.")
    except requests.Timeout:
        yield Finding("missing", "alertmanager", "Alertmanager does not answer in time.")
    except (requests.RequestException, KeyError, TypeError, ValueError):
        yield Finding("missing", "alertmanager", "What answers at MIRADOR_ALERTMANAGER_URL is not Alertmanager.")
    else:
        yield Finding("ok", "alertmanager", f"Reachable: version {version}.")


def _examine_state(settings: Settings) -> Iterator[Finding]:
    if settings.state_url is None:
        return
    try:
        state = _Ledger(settings.state_url.get_secret_value(), settings)
    except psycopg.OperationalError as error:
        sentence = _why_unreachable(error).replace("MIRADOR_LEDGER_URL", "MIRADOR_STATE_URL")
        yield Finding("missing", "state", sentence.replace("The ledger", "The state database"))
        return
    creates = state.one("select has_database_privilege(current_database(), 'CREATE')")
    state.connection.close()
    if creates:
        yield Finding("ok", "state", "Reachable, and Mirador may create its schema there.")
    else:
        yield Finding("missing", "state", "The role may not create a schema in the state database.")


def _examine_settings(settings: Settings) -> Iterator[Finding]:
    names = unknown_names()
    for name in names:
        yield Finding("warn", "settings", f"{name} is not a setting of Mirador and is ignored.")
    if not names:
        yield Finding("ok", "settings", "All names are known and all values are usable.")
    if settings.address not in {"127.0.0.1", "::1", "localhost"} and settings.api_token is None:
        yield Finding("warn", "settings", "Open to the network: set MIRADOR_API_TOKEN for /metrics and /api/kpis.")


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, source by source, as soon as each is known. A source that hangs costs at most `SOURCE_SECONDS`."""
    examinations = (
        ("settings", _examine_settings),
        ("ledger", _examine_ledger),
        ("prometheus", _examine_prometheus),
        ("alertmanager", _examine_alertmanager),
        ("state", _examine_state),
    )
    running = [(name, _in_background(name, examination, settings)) for name, examination in examinations]
    until = time.monotonic() + SOURCE_SECONDS
    for name, found in running:
        while True:
            try:
                finding = found.get(timeout=max(until - time.monotonic(), 0.01))
            except queue.Empty:
                yield Finding("missing", name, f"No answer within {SOURCE_SECONDS:.0f} s; the rest was not seen.")
                break
            if finding is None:
                break
            yield finding


def _in_background(
    name: str, examination: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> queue.Queue[Finding | None]:
    found: queue.Queue[Finding | None] = queue.Queue()

    def run() -> None:
        try:
            for finding in examination(settings):
                found.put(finding)
        except Exception as error:
            # The class alone: messages of drivers hold addresses and values.
            found.put(Finding("missing", name, f"The check broke off ({type(error).__name__})."))
        finally:
            found.put(None)

    # Daemons: one that hangs must not keep the command from ending.
    threading.Thread(target=run, name=f"doctor-{name}", daemon=True).start()
    return found


def print_findings(findings: Iterable[Finding]) -> int:
    """One line a finding; the exit code is 1 when something needed is missing."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    styles = {"ok": "green", "warn": "yellow", "missing": "bold red"}
    missing = 0
    for finding in findings:
        missing += finding.level == "missing"
        console.print(
            Text.assemble((f"{finding.level:<8}", styles[finding.level]), f"{finding.subject}: {finding.sentence}")
        )
    return 1 if missing else 0
