"""Configuration: environment before file, one sentence for what is wrong, and no secret shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load_settings, login_providers, sources_of, unknown_names

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("MIRADOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write_secrets(text: str) -> None:
    folder = Path.cwd() / ".streamlit"
    folder.mkdir()
    (folder / "secrets.toml").write_text(text)


def test_without_any_setting_there_are_no_sources_and_the_dashboard_stays_on_this_machine():
    settings = load_settings()
    sources = sources_of(settings)
    assert (settings.address, settings.port, settings.timezone) == ("127.0.0.1", 8501, "America/Mexico_City")
    assert sources.ledger_url is None
    assert sources.prometheus is None


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch):
    write_secrets(
        f"""
        MIRADOR_TIMEZONE = "America/Tijuana"
        [mirador]
        ledger_url = "postgresql://reader:{SECRET}@db/company"
        MIRADOR_PORT = 9000
        prometheus_headers = {{X-Scope-OrgID = "mx"}}
        """
    )
    monkeypatch.setenv("MIRADOR_PORT", "9100")
    monkeypatch.setenv("MIRADOR_PROMETHEUS_URL", "http://prometheus:9090/")
    settings = load_settings()
    sources = sources_of(settings)
    assert settings.port == 9100
    assert sources.timezone == "America/Tijuana"
    assert sources.ledger_url == f"postgresql+psycopg://reader:{SECRET}@db/company"
    assert sources.prometheus is not None
    assert sources.prometheus.url == "http://prometheus:9090"
    assert dict(sources.prometheus.headers) == {"X-Scope-OrgID": "mx"}


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", "")
    assert load_settings().ledger_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", SECRET),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("LEDGER_URL", f"mysql://u:{SECRET}@h/db"),
        ("LEDGER_URL", f"postgresql://u:{SECRET}@h:port/db"),
        ("LEDGER_URL", SECRET),
        ("STATE_URL", f"sqlite:///{SECRET}"),
        ("PROMETHEUS_URL", f"http://user:{SECRET}@host"),
        ("PROMETHEUS_URL", SECRET),
        ("PROMETHEUS_URL", f"ftp://{SECRET}"),
        ("PROMETHEUS_URL", f"http://{SECRET}:port"),
        ("PROMETHEUS_PASSWORD", SECRET),
        ("PROMETHEUS_USERNAME", SECRET),
        ("PROMETHEUS_HEADERS", f'{{"Authorization": {SECRET}'),
        ("PROMETHEUS_HEADERS", f'{{"Bad name": "{SECRET}"}}'),
        ("PROMETHEUS_HEADERS", f'["{SECRET}"]'),
        ("PROMETHEUS_CA_FILE", f"/nowhere/{SECRET}"),
        ("ALERTMANAGER_URL", SECRET),
        ("TIMEZONE", SECRET),
        ("TIMEZONE", f"../{SECRET}"),
        ("LANGUAGE", SECRET),
        ("ROLES", f'{{"a@b.mx": "{SECRET}"}}'),
        ("ROLES", SECRET),
        ("API_TOKEN", "short-one"),
        ("SENTRY_DSN", SECRET),
        ("QUERY_TIMEOUT", SECRET),
        ("SCRAPE_INTERVAL", "nan"),
    ],
)
def test_a_wrong_value_gives_one_sentence_that_names_the_variable_and_hides_the_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"MIRADOR_{name}", value)
    with pytest.raises(SettingsError) as told:
        load_settings()
    sentence = str(told.value)
    assert f"MIRADOR_{name.split('_')[0]}" in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert SECRET not in sentence
    assert "short-one" not in sentence


def test_a_wrong_value_in_the_file_is_said_to_stand_there():
    write_secrets('[mirador]\nport = "high"\n')
    with pytest.raises(SettingsError, match=r"^MIRADOR_PORT \(in secrets.toml\) must be a port"):
        load_settings()


def test_a_file_that_is_not_toml_gives_a_sentence_without_its_content():
    write_secrets(f'ledger_url = "{SECRET}\n')
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert str(told.value) == "The file .streamlit/secrets.toml is not valid TOML (line 1)."


def test_a_name_that_is_almost_a_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_LEGDER_URL", f"postgresql://u:{SECRET}@h/db")
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert str(told.value) == "MIRADOR_LEGDER_URL is not a setting of Mirador: did you mean MIRADOR_LEDGER_URL?"


def test_a_name_unlike_any_setting_is_only_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_FAVOURITE_COLOUR", "green")
    assert load_settings().port == 8501
    assert unknown_names() == {"MIRADOR_FAVOURITE_COLOUR": None}


def test_what_kubernetes_puts_beside_a_service_called_mirador_is_not_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_PORT", "tcp://10.0.0.7:8501")
    monkeypatch.setenv("MIRADOR_PORT_8501_TCP_ADDR", "10.0.0.7")
    monkeypatch.setenv("MIRADOR_SERVICE_HOST", "10.0.0.7")
    assert load_settings().port == 8501
    assert unknown_names() == {}


def test_no_secret_shows_when_settings_or_sources_are_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", f"postgresql://u:{SECRET}@h/db?sslpassword=other-{SECRET}")
    monkeypatch.setenv("MIRADOR_PROMETHEUS_URL", "http://h")
    monkeypatch.setenv("MIRADOR_PROMETHEUS_TOKEN", SECRET)
    monkeypatch.setenv("MIRADOR_PROMETHEUS_HEADERS", f'{{"X-Key": "{SECRET}"}}')
    settings = load_settings()
    assert SECRET not in f"{settings!r} {settings} {sources_of(settings)!r}"
    assert {SECRET, f"other-{SECRET}"} <= set(settings.secrets())


def test_a_password_is_known_both_as_written_and_as_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", "postgresql://u:p%40ss%2Fword@h/db")
    assert {"p%40ss%2Fword", "p@ss/word"} <= set(load_settings().secrets())


def test_login_is_asked_for_when_the_file_has_auth():
    assert login_providers() == ()
    write_secrets('[auth]\nclient_id = "x"\n')
    assert login_providers() == (None,)


def test_each_named_provider_is_a_way_to_log_in():
    write_secrets('[auth]\ncookie_secret = "x"\n[auth.google]\nclient_id = "x"\n[auth.okta]\nclient_id = "y"\n')
    assert login_providers() == ("google", "okta")


def test_every_setting_says_what_it_is_for():
    assert all(field.description for field in Settings.model_fields.values())
