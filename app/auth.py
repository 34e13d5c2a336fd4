"""Who is looking: login by OpenID Connect when secrets.toml has [auth], else everyone at this address.

Without [auth] there is no login: whoever reaches the port is a local viewer with every role. That suits a laptop and
a network of friends; anything else configures [auth] as Streamlit's documentation of `st.login` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import streamlit as st

from app.settings import ROLES, Role, Settings, login_providers


@dataclass(frozen=True)
class Viewer:
    """`id` is opaque and always the same for one person; roles decide what is offered first, not what is true."""

    id: str
    roles: frozenset[Role]


LOCAL = Viewer("local", frozenset(ROLES))


def roles_of(email: str | None, verified: bool, mapping: Mapping[str, Role]) -> frozenset[Role]:
    """The role of the address, else of its domain, else analyst.

    An address that the provider has not verified proves nothing and gets no role by it.
    """
    if not email or not verified:
        return frozenset({"analyst"})
    address = email.lower()
    return frozenset({mapping.get(address) or mapping.get(address.rpartition("@")[2]) or "analyst"})


def viewer(settings: Settings) -> Viewer | None:
    """The viewer of this session, or None when a login is needed first."""
    if not login_required():
        return LOCAL
    if not st.user.is_logged_in:
        return None
    claims = st.user.to_dict()
    subject = f"{claims.get('iss', '')}\n{claims.get('sub', '')}"
    # A provider that says nothing of verification (companies' own directories) vouches for its addresses.
    verified = claims.get("email_verified", True) in {True, "true"}
    email = claims.get("email")
    return Viewer(
        hashlib.sha256(subject.encode()).hexdigest()[:16],
        roles_of(str(email) if email else None, verified, settings.roles),
    )


@cache
def providers() -> tuple[str | None, ...]:
    """The ways to log in; read once, for a process does not change its locks while it runs."""
    return login_providers()


def login_required() -> bool:
    """Whether [auth] is configured."""
    return bool(providers())
