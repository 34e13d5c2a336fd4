"""Configuration: `MIRADOR_*` variables, else `.streamlit/secrets.toml`; everything has a default or may be missing.

In secrets.toml the same settings stand in a table, by their short names or in full:

    [mirador]
    ledger_url = "postgresql://reader:...@db/company"
    MIRADOR_PROMETHEUS_URL = "http://prometheus:9090"

The environment wins. A wrong value stops the start with one sentence that names the variable and never repeats the
value, for the value may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

import queries

PREFIX = "MIRADOR_"
Role = Literal["executive", "analyst", "engineer"]
ROLES: tuple[Role, ...] = get_args(Role)

# Kubernetes puts these into every pod beside a service called mirador; they are not ours.
_KUBERNETES = re.compile(r"MIRADOR_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP)\w*)")


class SettingsError(Exception):
    """The configuration is wrong. The message is one sentence that names the variable and shows no value."""


def _parse_json(value: Any, what: str) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"must be {what}") from None
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ValueError(f"must be {what}")
    return dict(value)


def _postgres_url(value: Any) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError("must be a PostgreSQL address such as postgresql://user:password@host:5432/database") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError("must begin with postgresql://: Mirador speaks to PostgreSQL through psycopg")
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _http_url(value: Any) -> str:
    text = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or re.search(r"\s", text):
        raise ValueError("must be an address such as http://host:9090")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password: give them by variables of their own")
    return text


class Settings(BaseSettings):
    """What `MIRADOR_*` says. Times are seconds; secrets are `SecretStr` and show as asterisks."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, validate_default=False
    )

    port: int = Field(default=8501, description="Port of the dashboard.")
    address: str = Field(
        default="127.0.0.1",
        description="Address to listen on. 0.0.0.0 opens the dashboard to the network: configure login.",
    )
    ledger_url: SecretStr | None = Field(
        default=None, description="The ledger, postgresql://user:password@host/database."
    )
    prometheus_url: str | None = Field(default=None, description="Base URL of anything with the Prometheus HTTP API.")
    prometheus_token: SecretStr | None = Field(default=None, description="Bearer token for it.")
    prometheus_username: str | None = Field(default=None, description="User for basic authentication.")
    prometheus_password: SecretStr | None = Field(default=None, description="Password for basic authentication.")
    prometheus_headers: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict, description='More headers as JSON, such as {"X-Scope-OrgID": "mx"}.'
    )
    prometheus_ca_file: Path | None = Field(default=None, description="File with the certificate authority to trust.")
    alertmanager_url: str | None = Field(default=None, description="Base URL of Alertmanager.")
    rollup_url: SecretStr | None = Field(
        default=None,
        description="The ledger as a role that may write its schema rollup, where the daily tables are kept; "
        "by default MIRADOR_LEDGER_URL.",
    )
    rollup_interval: float = Field(
        default=60.0, description="How often the dashboard refreshes the daily tables, in seconds; 0: never."
    )
    reconcile_interval: float = Field(
        default=300.0, description="How often ledger and metrics of today are compared, in seconds; 0: never."
    )
    state_url: SecretStr | None = Field(default=None, description="PostgreSQL where Mirador may keep its own state.")
    timezone: str = Field(default="America/Mexico_City", description="Zone whose days are business days.")
    language: Literal["auto", "es", "en"] = Field(default="auto", description="auto: what the browser asks for.")
    scrape_interval: float = Field(
        default=15.0, description="How often Prometheus scrapes; rate windows span four of them."
    )
    query_timeout: float = Field(default=10.0, description="Longest time one question may take.")
    refresh: float = Field(
        default=30.0, description="How often an open page draws itself anew; an answer is fresh for twice as long."
    )
    api_token: SecretStr | None = Field(
        default=None, description="When set, /metrics and /api/kpis ask for this bearer token."
    )
    hook_token: SecretStr | None = Field(
        default=None, description="Bearer token that Alertmanager and deployments show to /hooks/*."
    )
    secret: SecretStr | None = Field(
        default=None,
        description="What download links are signed with, the same in all processes of an installation; by default "
        "made from MIRADOR_API_TOKEN or the cookie_secret of [auth].",
    )
    roles: Annotated[dict[str, Role], NoDecode] = Field(
        default_factory=dict, description='Roles by e-mail or domain as JSON, such as {"company.mx": "analyst"}.'
    )
    sentry_dsn: SecretStr | None = Field(
        default=None, description="Where script errors and failed panels are reported."
    )
    environment: str = Field(default="production", description="Name of this installation in error reports.")
    otlp_url: str | None = Field(default=None, description="Where spans of pages and queries are sent, OTLP over HTTP.")

    # What the engineers' pages read; each is optional.
    sentry_url: str | None = Field(
        default=None, description="Base URL of the error tracker, such as https://sentry.io."
    )
    sentry_token: SecretStr | None = Field(default=None, description="Token that may read its issues and events.")
    sentry_organization: str = Field(default="", description="Organization whose issues are shown.")
    sentry_project: str = Field(default="", description="Project whose issues are shown; by default all.")
    sentry_api: Literal["sentry", "bugsink"] = Field(
        default="sentry", description="Whose web API it speaks: Sentry's or Bugsink's."
    )
    cloudwatch_log_groups: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Log groups of CloudWatch, comma separated; credentials as boto3 finds them."
    )
    cloudwatch_region: str = Field(default="us-east-1", description="Their region.")
    cloudwatch_url: str | None = Field(default=None, description="Another endpoint than Amazon's.")
    elasticsearch_url: str | None = Field(default=None, description="Elasticsearch or OpenSearch with the logs.")
    elasticsearch_index: str = Field(default="logs-*", description="Index or pattern of the logs.")
    elasticsearch_api_key: SecretStr | None = Field(
        default=None, description="API key that may search them, or user:password."
    )
    jaeger_url: str | None = Field(default=None, description="Base URL of Jaeger's query service.")
    jaeger_token: SecretStr | None = Field(default=None, description="Bearer token for it.")
    pagerduty_token: SecretStr | None = Field(default=None, description="PagerDuty REST API key, read-only.")
    pagerduty_url: str = Field(default="https://api.pagerduty.com", description="Where its API answers.")
    pagerduty_schedule: str = Field(default="", description="Id of the schedule that says who is on call.")
    pagerduty_escalation_policy: str = Field(default="", description="Id of the escalation policy.")
    uptimerobot_key: SecretStr | None = Field(default=None, description="UptimeRobot read-only API key.")
    uptimerobot_url: str = Field(default="https://api.uptimerobot.com", description="Where its API answers.")

    # What Mirador sends by itself.
    public_url: str | None = Field(
        default=None, description="Address at which people reach the dashboard; links in messages begin with it."
    )
    smtp_url: SecretStr | None = Field(
        default=None, description="Mail server, smtp://user:password@host:587 (STARTTLS) or smtps://...:465."
    )
    mail_from: str = Field(default="Mirador <mirador@localhost>", description="Sender of its mail.")
    status_file: Path | None = Field(
        default=None,
        description="File that keeps the last good state of the public status page over a restart; by default one in "
        "the cache folder of the user.",
    )
    status_private_webhooks: bool = Field(
        default=False,
        description="Whether subscribers of the status page may name webhooks on private or local addresses.",
    )
    digest_at: str = Field(default="07:30", description="Local time of the daily digest, HH:MM.")
    digest_lists: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description='Who gets the digest, by role as JSON, such as {"executive": "ana@company.mx, board@company.mx"}.',
    )
    digest_slack_url: SecretStr | None = Field(default=None, description="Slack's incoming webhook for the digest.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then secrets.toml."""
        return init_settings, _Environment(env_settings), _SecretsFile(settings_cls)

    @field_validator("port", mode="before")
    @classmethod
    def _check_port(cls, value: Any) -> int:
        if not re.fullmatch(r"\d{1,5}", str(value).strip()) or not 1 <= int(value) <= 65535:
            raise ValueError("must be a port between 1 and 65535")
        return int(value)

    @field_validator("ledger_url", "rollup_url", "state_url", mode="before")
    @classmethod
    def _check_postgres(cls, value: Any) -> str:
        return _postgres_url(value)

    @field_validator(
        "prometheus_url",
        "alertmanager_url",
        "otlp_url",
        "sentry_url",
        "cloudwatch_url",
        "elasticsearch_url",
        "jaeger_url",
        "pagerduty_url",
        "uptimerobot_url",
        "public_url",
        mode="before",
    )
    @classmethod
    def _check_http(cls, value: Any) -> str:
        return _http_url(value)

    @field_validator("prometheus_headers", mode="before")
    @classmethod
    def _check_headers(cls, value: Any) -> dict[str, str]:
        headers = _parse_json(value, 'a JSON object of texts such as {"X-Scope-OrgID": "mx"}')
        if any(not re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", k) or re.search(r"[\r\n\0]", v) for k, v in headers.items()):
            raise ValueError("holds a name or a value that cannot stand in an HTTP header")
        return headers

    @field_validator("prometheus_ca_file", mode="after")
    @classmethod
    def _check_file(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError("names a file that cannot be read")
        return value

    @field_validator("cloudwatch_log_groups", mode="before")
    @classmethod
    def _check_names(cls, value: Any) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else list(value)
        return tuple(name.strip() for name in names if name.strip())

    @field_validator("smtp_url", mode="before")
    @classmethod
    def _check_smtp(cls, value: Any) -> str:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value).strip()
        try:
            parts = urlsplit(text)
            usable = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("must be an address such as smtp://user:password@host:587")
        return text

    @field_validator("digest_slack_url", mode="before")
    @classmethod
    def _check_slack(cls, value: Any) -> str:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        return _http_url(text)

    @field_validator("digest_at", mode="before")
    @classmethod
    def _check_clock(cls, value: Any) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(value).strip()):
            raise ValueError("must be a time of day such as 07:30")
        return str(value).strip()

    @field_validator("digest_lists", mode="before")
    @classmethod
    def _check_lists(cls, value: Any) -> dict[str, str]:
        what = 'a JSON object from a role to addresses such as {"executive": "ana@company.mx"}'
        lists = _parse_json(value, what)
        if not set(lists) <= set(ROLES):
            raise ValueError(f"may only name the roles {', '.join(ROLES)}")
        addresses = [one.strip() for text in lists.values() for one in text.split(",")]
        if any(not re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", one) for one in addresses):
            raise ValueError("holds something that is no e-mail address")
        return lists

    @field_validator("timezone", mode="after")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (KeyError, OSError, ValueError):
            raise ValueError("must be a zone of the tz database such as America/Mexico_City") from None

    @field_validator("language", mode="before")
    @classmethod
    def _check_language(cls, value: Any) -> str:
        if str(value).lower() not in {"auto", "es", "en"}:
            raise ValueError("must be es, en or auto")
        return str(value).lower()

    @field_validator("scrape_interval", "query_timeout", "refresh", mode="before")
    @classmethod
    def _check_seconds(cls, value: Any) -> float:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = 0.0
        if not 1 <= seconds <= 600:
            raise ValueError("must be seconds between 1 and 600")
        return seconds

    @field_validator("rollup_interval", "reconcile_interval", mode="before")
    @classmethod
    def _check_interval(cls, value: Any) -> float:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        if seconds != 0 and not 5 <= seconds <= 86_400:
            raise ValueError("must be seconds between 5 and 86400, or 0 for never")
        return seconds

    @field_validator("roles", mode="before")
    @classmethod
    def _check_roles(cls, value: Any) -> dict[str, str]:
        what = 'a JSON object from e-mail or domain to a role such as {"company.mx": "analyst"}'
        roles = {who.lower().lstrip("@"): role for who, role in _parse_json(value, what).items()}
        if not set(roles.values()) <= set(ROLES):
            raise ValueError(f"may only name the roles {', '.join(ROLES)}")
        return roles

    @field_validator("api_token", "hook_token", "secret", mode="after")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value

    @field_validator("sentry_dsn", mode="after")
    @classmethod
    def _check_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"https?://[^@\s]+@[^/\s]+/\S*\d+", value.get_secret_value()):
            raise ValueError("must be a Sentry DSN such as https://key@host/1")
        return value

    @model_validator(mode="after")
    def _check_prometheus_access(self) -> Settings:
        if (self.prometheus_username is None) != (self.prometheus_password is None):
            missing = "PASSWORD" if self.prometheus_password is None else "USERNAME"
            raise ValueError(f"MIRADOR_PROMETHEUS_{missing} is missing: basic authentication takes both")
        if self.prometheus_token and self.prometheus_username:
            raise ValueError("MIRADOR_PROMETHEUS_TOKEN and MIRADOR_PROMETHEUS_USERNAME exclude each other")
        return self

    def secrets(self) -> list[str]:
        """Every secret value that is set, so that logs and error reports can be searched for them."""
        found = [
            *(self.prometheus_token, self.prometheus_password),
            *(self.api_token, self.hook_token, self.secret, self.sentry_dsn),
            *(self.sentry_token, self.elasticsearch_api_key, self.jaeger_token, self.pagerduty_token),
            *(self.uptimerobot_key, self.digest_slack_url),
            *self.prometheus_headers.values(),
        ]
        texts = [secret.get_secret_value() for secret in found if secret]
        for address in (self.ledger_url, self.rollup_url, self.state_url):
            if address:
                texts += [address.get_secret_value(), *_passwords(address.get_secret_value())]
        if self.smtp_url:
            texts += [self.smtp_url.get_secret_value(), *_passwords(self.smtp_url.get_secret_value())]
        # A text this short is no secret, and taking it out would tear words apart.
        return sorted({text for text in texts if len(text) >= 5}, key=len, reverse=True)


def _passwords(address: str) -> list[str]:
    url = make_url(address)
    given = [str(url.password or ""), *(str(url.query.get(name, "")) for name in ("password", "sslpassword"))]
    # As written in the address (escaped) and as sent.
    written = re.findall(r"://[^:/@]*:([^@]*)@", address)
    return [text for text in (*given, *written, *(unquote(one) for one in written)) if text]


class _Environment(PydanticBaseSettingsSource):
    """The environment, without what Kubernetes puts there."""

    def __init__(self, environment: PydanticBaseSettingsSource) -> None:
        super().__init__(environment.settings_cls)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._environment.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        found = self._environment()
        if str(found.get("port", "")).startswith(("tcp://", "udp://")):
            del found["port"]
        return found


class _SecretsFile(PydanticBaseSettingsSource):
    """The table [mirador] of secrets.toml, and MIRADOR_* at its top level."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return _from_files().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in _from_files().items() if value not in ("", None)}


def secrets_files() -> list[Path]:
    """The files that Streamlit reads its secrets from; the later one wins."""
    return [folder / ".streamlit" / "secrets.toml" for folder in (Path.home(), Path.cwd())]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise SettingsError("The file .streamlit/secrets.toml cannot be read.") from None
    except tomllib.TOMLDecodeError as error:
        # The parser's message quotes what it met: only the place is told.
        place = re.search(r"line \d+", str(error))
        raise SettingsError(
            f"The file .streamlit/secrets.toml is not valid TOML{f' ({place[0]})' if place else ''}."
        ) from None


def _from_files() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in secrets_files():
        content = _read_toml(path)
        table = content.get("mirador", {})
        named = dict(table) if isinstance(table, dict) else {}
        named |= {name: value for name, value in content.items() if name.upper().startswith(PREFIX)}
        values |= {name.upper().removeprefix(PREFIX).lower(): value for name, value in named.items()}
    return values


def login_providers() -> tuple[str | None, ...]:
    """How secrets.toml lets viewers log in: () not at all, (None,) by [auth] itself, else by each [auth.NAME]."""
    table: dict[str, Any] = {}
    for path in secrets_files():
        found = _read_toml(path).get("auth")
        table = found if isinstance(found, dict) else table
    named = tuple(name for name, entry in table.items() if isinstance(entry, dict) and "client_id" in entry)
    return named or ((None,) if table else ())


def auth_secret() -> str | None:
    """The secret that Streamlit signs its login cookies with, from [auth] in secrets.toml."""
    found = None
    for path in secrets_files():
        table = _read_toml(path).get("auth")
        found = table.get("cookie_secret", found) if isinstance(table, dict) else found
    return str(found) if found else None


def unknown_names() -> dict[str, str | None]:
    """Names that look like settings and are none, each with the setting that was likely meant or None."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {name for name in os.environ if name.upper().startswith(PREFIX) and not _KUBERNETES.fullmatch(name)}
    given |= {f"{PREFIX}{name.upper()}" for name in _from_files()}
    return {
        name: next(iter(difflib.get_close_matches(name.upper(), known, 1, 0.8)), None)
        for name in sorted(given)
        if name.upper() not in known
    }


def load_settings() -> Settings:
    """Read the configuration. Raises SettingsError with one sentence.

    A name that is almost a setting stops the start: the dashboard would come up without what was meant.
    """
    for name, meant in unknown_names().items():
        if meant:
            raise SettingsError(f"{name} is not a setting of Mirador: did you mean {meant}?")
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{said}."
    name = str(first["loc"][0])
    # Pydantic's own words can quote the value; only sentences written here are passed on.
    reason = said if first["type"] == "value_error" else "has a value of the wrong kind"
    where = "" if any(key.upper() == f"{PREFIX}{name.upper()}" for key in os.environ) else " (in secrets.toml)"
    return f"{PREFIX}{name.upper()}{where} {reason}."


@cache
def settings() -> Settings:
    """The configuration of this process, read once."""
    return load_settings()


def sources_of(settings: Settings) -> queries.Sources:
    """The sources that the settings name, as `queries` wants them."""
    prometheus = None
    if settings.prometheus_url:
        password = settings.prometheus_password
        prometheus = queries.Prometheus(
            url=settings.prometheus_url,
            token=settings.prometheus_token.get_secret_value() if settings.prometheus_token else None,
            basic_auth=(settings.prometheus_username, password.get_secret_value())
            if settings.prometheus_username and password
            else None,
            headers={name: value.get_secret_value() for name, value in settings.prometheus_headers.items()},
            ca_file=str(settings.prometheus_ca_file) if settings.prometheus_ca_file else None,
        )
    return queries.Sources(
        ledger_url=settings.ledger_url.get_secret_value() if settings.ledger_url else None,
        prometheus=prometheus,
        state_url=settings.state_url.get_secret_value() if settings.state_url else None,
        timezone=settings.timezone,
        scrape_interval=settings.scrape_interval,
        query_timeout=settings.query_timeout,
        fresh_for=2 * settings.refresh,
        outside=_outside(settings),
    )


def _outside(settings: Settings) -> queries.Outside:
    """The sources beside ledger and metrics, as `queries` wants them."""

    def shown(secret: SecretStr | None) -> str | None:
        return secret.get_secret_value() if secret else None

    return queries.Outside(
        alertmanager_url=settings.alertmanager_url,
        sentry_url=settings.sentry_url,
        sentry_token=shown(settings.sentry_token),
        sentry_organization=settings.sentry_organization,
        sentry_project=settings.sentry_project,
        sentry_api=settings.sentry_api,
        cloudwatch_log_groups=settings.cloudwatch_log_groups,
        cloudwatch_region=settings.cloudwatch_region,
        cloudwatch_url=settings.cloudwatch_url,
        elasticsearch_url=settings.elasticsearch_url,
        elasticsearch_index=settings.elasticsearch_index,
        elasticsearch_api_key=shown(settings.elasticsearch_api_key),
        jaeger_url=settings.jaeger_url,
        jaeger_token=shown(settings.jaeger_token),
        pagerduty_token=shown(settings.pagerduty_token),
        pagerduty_url=settings.pagerduty_url,
        pagerduty_schedule=settings.pagerduty_schedule,
        pagerduty_escalation_policy=settings.pagerduty_escalation_policy,
        uptimerobot_key=shown(settings.uptimerobot_key),
        uptimerobot_url=settings.uptimerobot_url,
    )


def rollup_url(settings: Settings) -> str | None:
    """Where the daily tables are written; None without a ledger."""
    url = settings.rollup_url or settings.ledger_url
    return url.get_secret_value() if url else None


def connect(settings: Settings, while_waiting: Callable[[], None] | None = None) -> None:
    """Name the sources to `queries`; opens no connection, and a second call with the same settings does nothing."""
    queries.connect(sources_of(settings), while_waiting)
