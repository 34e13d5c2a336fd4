"""What a viewer has asked in the metrics explorer, kept across sessions where there is a state database.

By opaque id, the last 50, and deletable by whoever asked. Writing happens behind the page: nobody waits for it, and
where it fails the session's own memory stands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import pandas as pd

import queries
from app.auth import Viewer
from app.settings import Settings
from app.state import NotAllowed, _write

MOST = 50
# One statement: what is asked again moves to the top, and what is beyond the last fifty goes.
_KEEP = """
with told as (
    select distinct on (question, kind) question, kind, at
    from jsonb_to_recordset(cast(:questions as jsonb)) as one (question text, kind text, at timestamptz)
    order by question, kind, at desc
), kept as (
    insert into mirador.explorer_history as known (viewer, question, kind, asked_at)
    select :viewer, question, kind, at from told
    on conflict (viewer, kind, md5(question)) do update set asked_at = greatest(known.asked_at, excluded.asked_at)
    returning id
), beyond as (
    delete from mirador.explorer_history
    where viewer = :viewer and id in (
        select id from mirador.explorer_history
        where viewer = :viewer and id not in (select id from kept)
        order by asked_at desc, id desc
        offset greatest(:most - (select count(*) from kept), 0)
    )
)
select 1 from kept
"""
_FORGET = """
delete from mirador.explorer_history
where viewer = :viewer and (cast(:question as text) is null or (question = :question and kind = :kind))
returning 1
"""


@cache
def _behind() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="mirador-history")


def keep(settings: Settings, viewer: Viewer | None, asked: Sequence[dict[str, Any]]) -> Future[bool] | None:
    """Keep questions (question, kind, at) behind the page; None where nothing keeps them.

    The future says whether they are kept; nobody need wait for it. Raises NotAllowed.
    """
    who = _allowed(viewer)
    if settings.state_url is None or not asked:
        return None
    told = json.dumps([{**one, "at": one["at"].isoformat()} for one in asked[:MOST]])

    def write() -> bool:
        try:
            _write(settings, _KEEP, {"viewer": who.id, "questions": told, "most": MOST})
        except queries.SourceError:
            return False
        return True

    return _behind().submit(write)


def history(settings: Settings, viewer: Viewer | None) -> pd.DataFrame | None:
    """The viewer's own questions, the latest first: question, kind, asked_at. None without a state database.

    Raises NotAllowed, SourceError.
    """
    who = _allowed(viewer)
    if settings.state_url is None:
        return None
    return queries.state("explorer/history", {"viewer": who.id}, grace=0.0)


def forget(settings: Settings, viewer: Viewer | None, question: str | None = None, kind: str = "") -> None:
    """Delete one of the viewer's own questions, or all of them. Raises NotAllowed, SourceError."""
    who = _allowed(viewer)
    if settings.state_url is not None:
        _write(settings, _FORGET, {"viewer": who.id, "question": question, "kind": kind})


def _allowed(viewer: Viewer | None) -> Viewer:
    if viewer is None or "engineer" not in viewer.roles:
        raise NotAllowed("The metrics explorer is for engineers only.")
    return viewer
