"""Who is looking: everyone without [auth], only who has logged in with it; ids that say nothing of the person."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import auth
from app.settings import settings
from tests.conftest import ROOT

MAPPING: dict[str, Any] = {"ana@company.mx": "executive", "company.mx": "engineer"}


@pytest.mark.parametrize(
    ("email", "verified", "role"),
    [
        ("Ana@Company.mx", True, "executive"),
        ("luis@company.mx", True, "engineer"),
        ("luis@evil-company.mx", True, "analyst"),
        ("luis@company.mx", False, "analyst"),
        (None, True, "analyst"),
    ],
)
def test_a_role_comes_from_the_address_then_the_domain_when_verified(email: str | None, verified: bool, role: str):
    assert auth.roles_of(email, verified, MAPPING) == {role}


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The frame with a login configured, and a page that shows who looks."""
    for name in [name for name in os.environ if name.startswith("MIRADOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(
        '[auth]\nclient_id = "x"\n[mirador.roles]\n"ana@company.mx" = "executive"\n'
    )
    for folder in ("app", "pages"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pages" / "today.py").write_text(
        "import streamlit as st\n"
        "from app.auth import viewer\nfrom app.settings import settings\n"
        "who = viewer(settings())\nst.title(f'{who.id} {sorted(who.roles)}')\n"
    )
    settings.cache_clear()
    auth.providers.cache_clear()
    yield AppTest.from_file(shutil.copy(ROOT / "app" / "streamlit_app.py", tmp_path / "app"), default_timeout=20)
    settings.cache_clear()
    auth.providers.cache_clear()


def test_nobody_sees_a_page_before_the_login(frame: AppTest):
    frame.user = {"is_logged_in": False}
    frame.run()
    assert not frame.exception
    assert [title.value for title in frame.title] == ["Mirador"]
    assert len(frame.button) == 1


def test_who_has_logged_in_is_an_opaque_id_with_a_role(frame: AppTest):
    frame.user = {
        **{"is_logged_in": True, "iss": "https://login.invalid", "sub": "1234567"},
        **{"email": "ana@company.mx", "email_verified": True},
    }
    frame.run()
    assert not frame.exception
    name, _, roles = frame.title[0].value.partition(" ")
    assert roles == "['executive']"
    assert len(name) == 16
    assert "ana" not in name
    assert "1234567" not in name


def test_without_auth_everyone_is_a_local_viewer_with_every_role(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(auth, "providers", lambda: ())
    assert auth.viewer(settings()) == auth.LOCAL
    assert {"executive", "analyst", "engineer"} == auth.LOCAL.roles
