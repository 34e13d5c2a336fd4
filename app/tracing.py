"""Spans of pages, panels and questions, where MIRADOR_OTLP_URL says to send them; without it nothing is made of them.

    page approvals
      panel approval_rate_by_tier            on a thread of its own
        question approvals/by_tier           cached, stale, rows
          ask ledger                         on a thread of the source; who else is answered by it links to it

OpenTelemetry itself is loaded when it is wanted: see `app/spans.py`.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import components
from app.settings import Settings
from queries import tracing

if TYPE_CHECKING:
    from app.spans import Spans

# What has not been sent by then is given up.
STOP_SECONDS = 2.0

_spans: Spans | None = None


def start(settings: Settings) -> None:
    """Send spans from now on, where an address is configured."""
    global _spans
    if settings.otlp_url is None:
        return
    from app.spans import Spans

    _spans = Spans(settings.otlp_url, settings.environment)
    tracing.follow(_spans)
    components.draw_within(_spans.panel)


def stop() -> None:
    """Send what is left, for a moment at most."""
    global _spans
    if _spans is None:
        return
    ending, _spans = _spans, None
    tracing.follow(None)
    components.draw_within(lambda key: nullcontext())
    thread = threading.Thread(target=ending.close, name="mirador-spans-end", daemon=True)
    thread.start()
    thread.join(STOP_SECONDS)


def page(name: str) -> AbstractContextManager[Any]:
    """The drawing of a page; `name` is its path."""
    return nullcontext() if _spans is None else _spans.page(name)


def drawn(outcome: str) -> None:
    """How the panel that is being drawn came out."""
    if _spans is not None:
        _spans.drawn(outcome)
