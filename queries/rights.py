"""Who may read what: asked where the data is asked for, so that no page can forget it.

`queries` knows no viewer: it is told the names of his roles.
"""

from __future__ import annotations

from collections.abc import Collection

from queries.errors import SourceError

# Errors and traces tell of single requests, and of what code and data look like; questions of one's own cost.
REQUESTS = "engineer"


def reads_requests(roles: Collection[str]) -> bool:
    """Whether a viewer with these roles may read errors and traces."""
    return REQUESTS in roles


def requests_only(roles: Collection[str], source: str) -> None:
    """Raises SourceError for a viewer who may not."""
    if not reads_requests(roles):
        raise SourceError("Errors and traces are shown to engineers only.", kind="bad_parameter", source=source)


def explorer_only(roles: Collection[str]) -> None:
    """Raises SourceError for a viewer who may not ask the metrics questions of his own."""
    if REQUESTS not in roles:
        raise SourceError("The metrics explorer is for engineers only.", kind="bad_parameter", source="metrics")
