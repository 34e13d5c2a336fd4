"""Events that explain a chart: what was deployed, what failed, what was decided, from all that know of it.

    line(frame, ..., events=queries.events(filters.first, filters.last) if filters.events else None)

Three sources, none of which a page needs:

- the **ledger**: a HASE model's first score, and incidents of an integration (`ledger/events/*.sql` say by which rule);
- **Alertmanager** and deployments, told to `/hooks/alertmanager` and `/hooks/events`, and the incidents that critical
  alerts open (`app/incidents.py`);
- **people**, who write on the page Events.

A change of the cut-off is none of the ledger's: scores that were refused as `low_hase_score` overlap with scores that were
accepted in every month, for other rules refuse and tiers differ, so that no threshold can be read from them without
guessing. It is written down by people.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime, time, timedelta

import pandas as pd

from queries.errors import SourceError
from queries.sources import ledger, source_states, state, timezone

KINDS = ("deployment", "incident", "alert", "cutoff", "model", "other")
# Beyond a quarter an hour is thinner than a rule on a chart, and counting hours would cost as much as the page.
INCIDENT_DAYS = 93
COLUMNS = ["kind", "title", "starts_at", "ends_at", "source", "link", "id", "created_by"]


def events(first: date, last: date, kinds: Collection[str] = KINDS) -> pd.DataFrame:
    """Events that touch the days from `first` to `last`, both inclusive, in the order of their start.

    Columns: `kind` (one of KINDS), `title` (as told; names, numbers and percent signs where Mirador writes it, so that it
    needs no language), `starts_at` and `ends_at` (configured zone; no end: a moment, or an incident or alert that still
    runs), `source` (ledger, incidents, alertmanager, deployment, person), `link` (text or null), and for those that can be changed
    `id` and `created_by` (null for the others). Incidents of integrations are told in periods of up to 93 days.

    `kinds` are those that are wanted: what holds no other is not asked.

    Never raises for a source: what does not answer is missing, and `frame.attrs["missing"]` holds a sentence for each.
    """  # noqa: E501
    missing: list[str] = []

    def told(ask: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
        try:
            return ask()
        except SourceError as error:
            if error.kind != "not_configured" and error.sentence not in missing:
                missing.append(error.sentence)
            return None

    kept = told(lambda: _kept(first, last))
    parts = [kept]
    if "model" in kinds:
        parts.append(told(lambda: _models(first, last)))
    if "incident" in kinds:
        # Who has waited once for the state database does not wait again.
        parts.append(told(lambda: _opened(first, last, hurried=kept is None)))
        if (last - first).days < INCIDENT_DAYS:
            parts.append(told(lambda: _incidents(first, last)))
    found = [part for part in parts if part is not None and not part.empty]
    frame = pd.concat(found, ignore_index=True) if found else _none()
    frame = frame[frame["kind"].isin(list(kinds))]
    frame = frame.sort_values(["starts_at", "kind", "title"], ignore_index=True)
    frame.attrs = {"missing": tuple(missing)}
    return frame


def _none() -> pd.DataFrame:
    moments = f"datetime64[us, {timezone().key}]"
    types = dict.fromkeys(COLUMNS, "str") | {"starts_at": moments, "ends_at": moments, "id": "Int64"}
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in types.items()})


def _as_events(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    made = _none().reindex(range(len(frame)))
    for name in COLUMNS:
        if name in columns or name in frame:
            made[name] = pd.Series(columns.get(name, frame.get(name))).astype(made[name].dtype)
    return made


def _models(first: date, last: date) -> pd.DataFrame:
    frame = ledger("events/models")
    begin = datetime.combine(first, time(), timezone())
    end = datetime.combine(last + timedelta(days=1), time(), timezone())
    frame = frame[(frame["starts_at"] >= begin) & (frame["starts_at"] < end)].reset_index(drop=True)
    return _as_events(frame, kind=["model"] * len(frame), title=frame["model_version"], source=["ledger"] * len(frame))


def _incidents(first: date, last: date) -> pd.DataFrame:
    frame = ledger("events/incidents", {"first": first, "last": last})
    titles = [
        f"{row.integration}: {row.failed / row.calls:.0%} ({row.failed:,} / {row.calls:,})"
        for row in frame.itertuples()
    ]
    return _as_events(frame, kind=["incident"] * len(frame), title=titles, source=["ledger"] * len(frame))


def _kept(first: date, last: date) -> pd.DataFrame:
    return _as_events(_own("events/kept", first, last))


def _own(name: str, first: date, last: date, *, hurried: bool = False) -> pd.DataFrame:
    known = source_states().get("state")
    # Every chart of every page asks here: a database that was just seen down gives what is remembered, and no wait.
    down = hurried or (known is not None and known.up is False)
    return state(name, {"first": first, "last": last}, deadline=0.1 if down else None)


def _opened(first: date, last: date, *, hurried: bool) -> pd.DataFrame:
    from queries.incidents import components

    frame = _own("incidents/events", first, last, hurried=hurried)
    titles = []
    for row in frame.itertuples():
        known = components().get(row.component) if not pd.isna(row.component) else None
        what = row.alertname or row.title_en
        titles.append(f"{known.en}: {what}" if known else what)
    # What they are called elsewhere is no event that could be changed.
    plain = frame.drop(columns="id")
    return _as_events(plain, kind=["incident"] * len(frame), title=titles, source=["incidents"] * len(frame))
