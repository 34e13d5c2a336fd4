"""Values of widgets that stand in the URL, in words that are the same in every language.

Streamlit's own binding (`bind="query-params"`) writes the label that the viewer reads: a link from a Spanish screen
would mean nothing on an English one, and a default that depends on the viewer would vanish from it.

    url = Url()
    url.restore("compare", "previous", one_of(COMPARISONS))
    chosen = st.selectbox(..., key="compare")
    url.keep("compare", chosen, [chosen], default=chosen == "previous")
    url.write()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

NOTHING = "(none)"
_ELSEWHERE = "elsewhere"


@dataclass
class _Kept:
    """What the session knows of one parameter."""

    page: str
    value: Any
    # As it would stand in the URL; empty for the default.
    texts: list[str]
    # What a URL without the parameter means on this page: the default (empty), or what another page had.
    bare: list[str]
    # What the URL says since the last run; None: it is still to be written.
    asked: list[str] | None


class Url:
    """The values of a run's widgets: from the URL where it was changed, else from the session.

    Streamlit empties the URL when the page changes and forgets the widgets that are not drawn: the session remembers
    them, so that a choice travels to whatever page has a widget of the same key. `refused` says which parts of a link
    could not be.
    """

    def __init__(self) -> None:
        context = get_script_run_ctx(suppress_warning=True)
        self._page = context.page_script_hash if context else ""
        self._kept: dict[str, _Kept] = st.session_state.setdefault("_url", {})
        if st.session_state.setdefault("_url_page", self._page) != self._page:
            # All that was chosen comes from elsewhere now, what was chosen here on an earlier visit too.
            st.session_state["_url_page"] = self._page
            for kept in self._kept.values():
                kept.page = _ELSEWHERE
        self._wanted: dict[str, list[str]] = {}
        self.refused: list[str] = []

    def restore(self, key: str, default: Any, read: Callable[[list[str]], Any]) -> None:
        """Before the widget: give its key the value of the link, or the one remembered, or the default.

        `read` makes a value of the texts in the URL; a ValueError says which of them cannot be, and `Refused` what the
        others mean.
        """
        asked = st.query_params.get_all(key)
        kept = self._kept.get(key)
        here = kept is not None and kept.page == self._page
        if kept is not None and here and kept.asked == asked:
            # The widget's own value is the newest, unless the widget was not drawn for a while.
            if key not in st.session_state:
                st.session_state[key] = kept.value
            # A default that moved on, such as today after midnight, takes along who never chose.
            if not kept.texts and st.session_state[key] == kept.value != default:
                st.session_state[key] = default
            return
        if kept is None or (asked and not here):
            bare: list[str] = []
        else:
            bare = kept.bare if here else kept.texts
        value = default
        if asked:
            try:
                value = read(asked)
            except ValueError as error:
                self.refused.append(f"{key}={error}")
                value = error.rest if isinstance(error, Refused) else default
        elif bare:
            # What another page had may be no option here.
            try:
                value = read(bare)
            except ValueError as error:
                value = error.rest if isinstance(error, Refused) else default
        st.session_state[key] = value
        # On the way back through the browser's history a bare URL stays bare, or nobody would come past it.
        self._kept[key] = _Kept(self._page, value, [], bare, asked if here or asked else None)

    def keep(self, key: str, value: Any, texts: list[str], *, default: bool) -> None:
        """After the widget: remember its value, for `write` to bring it into the URL; a default is taken out."""
        kept = self._kept[key]
        meant = [] if default else texts
        if kept.asked == [] and meant == kept.bare:
            wanted: list[str] = []
        else:
            # Where the bare URL means something else, the default is said too.
            wanted = texts if kept.bare else meant
        self._kept[key] = _Kept(self._page, value, meant, kept.bare, wanted)
        self._wanted[key] = wanted

    def leave_out(self, key: str) -> None:
        """Take out a parameter whose widget is not drawn; its value is remembered for when it is drawn again."""
        self._wanted[key] = []
        if key in self._kept:
            self._kept[key].asked = []

    def write(self) -> None:
        """Bring the URL to what was kept, in one step of the browser's history where that is possible."""
        present = {key: st.query_params.get_all(key) for key in self._wanted}
        changed = {key: texts for key, texts in self._wanted.items() if texts and texts != present[key]}
        gone = [key for key, texts in self._wanted.items() if not texts and present[key]]
        if changed:
            st.query_params.update(changed)
        for key in gone:
            del st.query_params[key]


# --- what texts may mean ----------------------------------------------------------------------------------------------


def written(value: str) -> str:
    """A value as the URL has it: an empty parameter would be lost on the way."""
    return value or NOTHING


def one_of(options: Sequence[str]) -> Callable[[list[str]], str]:
    """One of these words."""

    def read(texts: list[str]) -> str:
        if texts[-1] not in options:
            raise ValueError(texts[-1])
        return texts[-1]

    return read


class Refused(ValueError):
    """Some of the texts cannot be; `rest` is what the others mean."""

    def __init__(self, refused: str, rest: Any) -> None:
        super().__init__(refused)
        self.rest = rest


def some_of(options: Sequence[str]) -> Callable[[list[str]], list[str]]:
    """Some of these words; '' is written as (none). One that is none of them leaves the others as they are."""
    known = {written(option): option for option in options}

    def read(texts: list[str]) -> list[str]:
        unknown = [text for text in texts if text not in known]
        some = list(dict.fromkeys(known[text] for text in texts if text in known))
        if unknown:
            raise Refused(", ".join(unknown), some)
        return some

    return read


def day_between(earliest: date, latest: date) -> Callable[[list[str]], date]:
    """A day of the calendar, within these bounds."""

    def read(texts: list[str]) -> date:
        try:
            day = date.fromisoformat(texts[-1])
        except ValueError:
            raise ValueError(texts[-1]) from None
        if not earliest <= day <= latest:
            raise ValueError(texts[-1])
        return day

    return read


def on_or_off(texts: list[str]) -> bool:
    """A switch."""
    if texts[-1] not in {"on", "off"}:
        raise ValueError(texts[-1])
    return texts[-1] == "on"


def whole_number(low: int, high: int) -> Callable[[list[str]], int | None]:
    """A whole number within these bounds, both included; (none) for a field that was emptied."""

    def read(texts: list[str]) -> int | None:
        if texts[-1] == NOTHING:
            return None
        try:
            value = int(texts[-1])
        except ValueError:
            raise ValueError(texts[-1]) from None
        if not low <= value <= high:
            raise ValueError(texts[-1])
        return value

    return read
