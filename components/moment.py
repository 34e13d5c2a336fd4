"""A moment to compare what was before it with what came after. It stands in the URL: `?moment=2026-11-25T10:00`."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

from components.i18n import _
from components.url import Url


def moment_field(default: datetime, now: datetime, *, longest: timedelta) -> datetime:
    """The chosen moment, to the minute and in the zone of `now`; at most `longest` ago, and not after `now`.

    A link with an impossible one says so and falls back to `default`.
    """
    usual = default.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    url = Url()

    def read(texts: list[str]) -> datetime:
        value = datetime.fromisoformat(texts[-1])
        if value.tzinfo is not None or not timedelta() <= now.replace(tzinfo=None) - value <= longest:
            raise ValueError(texts[-1])
        return value

    url.restore("moment", usual, read)
    picked = st.datetime_input(
        _("Moment"), key="moment", format="YYYY-MM-DD", required=True, label_visibility="collapsed", width=240
    )
    value = picked if isinstance(picked, datetime) else usual
    url.keep("moment", value, [value.isoformat(timespec="minutes")], default=value == usual)
    url.write()
    if url.refused:
        st.warning(_("The link's moment cannot be: the middle of the period is shown."), icon=":material/link_off:")
    return value.replace(tzinfo=now.tzinfo)
