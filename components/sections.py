"""A page in sections, of which one is drawn: a page of fifteen charts is there as soon as one of four.

    section = sections({"rate": _("Rate"), "segments": _("By segment")})
    if section("rate"):
        ...

The choice stands in the URL. Its last option is all of them, one below the other, to read through or to print.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from components.filters import choice_filter
from components.i18n import _
from components.url import Url

ALL = "all"


def sections(names: dict[str, str], *, headings: bool = True, url: Url | None = None) -> Callable[[str], bool]:
    """Draw the choice, the first section by default; gives a function that says whether a section is to be drawn.

    Among all, a section begins with its name, unless the page has `headings` of its own.
    """
    chosen = choice_filter(_("Section"), (*names, ALL), {**names, ALL: _("Everything")}, key="section", url=url)

    def drawn(key: str) -> bool:
        if chosen == ALL and headings:
            st.subheader(names[key], anchor=False)
        return chosen in (key, ALL)

    return drawn
