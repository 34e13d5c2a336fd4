"""What happened beside the ledger in the simulated company: releases, a new model and its cut-off, told to Mirador."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from demo import company
from demo.history import DAYS

# Releases are numbered from here, so that a day's number does not depend on the day that asks.
EPOCH = date(2024, 1, 1)
TELL_SECONDS = 20.0


def events(until: datetime) -> Iterator[dict[str, Any]]:
    """Events of the 24 months that end at `until`, as `/hooks/events` takes them; the same days give the same ones."""
    today = until.astimezone(company.TIMEZONE).date()
    first = today - timedelta(days=DAYS)
    for number in range((today - EPOCH).days // 14 + 1):
        # A release every other week, on a Tuesday or a Thursday morning.
        monday = EPOCH + timedelta(days=14 * number)
        day = monday + timedelta(days=1 if number % 3 else 3)
        minute = 10 * 60 + 37 * number % 90
        began = datetime.combine(day, datetime.min.time(), company.TIMEZONE) + timedelta(minutes=minute)
        if day < first or began > until:
            continue
        yield _event(f"backend-{number}", "deployment", f"backend 2.{number}", began, timedelta(minutes=3 + number % 5))
    changed = until - company.MODEL_CHANGE
    yield _event("hase-model", "deployment", f"{company.MODELS[-1]} scores all applications", changed)
    floor = min(value for value in company.TIER_FLOORS.values() if value)
    yield _event("hase-cutoff", "cutoff", f"{company.MODELS[-1]} keeps the cut-off at {floor}", changed)


def _event(name: str, kind: str, title: str, began: datetime, length: timedelta | None = None) -> dict[str, Any]:
    return {
        "id": f"demo-{name}",
        "kind": kind,
        "title": title,
        "starts_at": began.astimezone(UTC).isoformat(),
        "ends_at": (began + length).astimezone(UTC).isoformat() if length else None,
    }


def tell(url: str, token: str, until: datetime) -> int:
    """Tell them all to the dashboard at `url` and give how many; told before, they are not kept twice.

    Waits up to `TELL_SECONDS` for the dashboard's own database. Raises OSError when it does not take them.
    """
    told = list(events(until))
    patience = time.monotonic() + TELL_SECONDS
    for event in told:
        request = urllib.request.Request(
            f"{url}/hooks/events",
            data=json.dumps(event).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5):
                    break
            except urllib.error.HTTPError as error:
                # Its tables are made behind its start.
                if error.code != 503 or time.monotonic() > patience:
                    raise
                time.sleep(0.3)
    return len(told)
