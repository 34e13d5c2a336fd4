"""What every picture goes through: skeleton, failure, age, menu and downloads of a frame, drawn inside a fragment."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import streamlit as st
import vl_convert
from pandas.api import types
from streamlit.runtime.scriptrunner import get_script_run_ctx

from components.i18n import _, age, clock, when

# Daily tables that are older than this when they are read are told loudly: something keeps them from being refreshed.
ROLLUPS_LATE = 600.0
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Failure = Callable[[str, BaseException], None]
Drawn = Callable[[str, str, float], None]
Within = Callable[[str], AbstractContextManager[Any]]


@dataclass
class _Hooks:
    """What the host wants to hear; looks know neither metrics nor Sentry."""

    failure: Failure = field(default=lambda key, error: None)
    drawn: Drawn = field(default=lambda key, outcome, seconds: None)
    within: Within = field(default=lambda key: nullcontext())


_hooks = _Hooks()
_refresh = 30.0


def set_refresh(seconds: float) -> None:
    """How often an open page draws its panels anew."""
    global _refresh
    _refresh = seconds


def refresh_seconds() -> float:
    """What `set_refresh` was told; half a minute by default."""
    return _refresh


def on_failure(hook: Failure) -> None:
    """Call `hook(key, error)` for each panel that could not be drawn; the key is the same in every language."""
    _hooks.failure = hook


def on_drawn(hook: Drawn) -> None:
    """Call `hook(key, outcome, seconds)` for each panel; outcome is ok, stale, empty, failed or not_configured."""
    _hooks.drawn = hook


def draw_within(hook: Within) -> None:
    """Draw each panel within `hook(key)`, on whatever thread it is drawn."""
    _hooks.within = hook


def stop_if_left() -> None:
    """Leave the wait when the viewer has left the page; called about every 25 ms by whoever waits for a source.

    Reading the session state is a yield point of the script runner: on a worker of a parallel fragment it raises when
    the run was cancelled, on the script's own thread when a new run was asked for. Outside a run it does nothing.
    """
    if get_script_run_ctx(suppress_warning=True) is not None:
        "lang" in st.session_state  # noqa: B015


def waiting(height: int) -> AbstractContextManager[Any]:
    """A skeleton while a page is drawn; none while a picture that stands there draws itself anew.

    Streamlit shows a skeleton when its block takes longer than a moment: on a busy machine each refresh would flicker.
    """
    context = get_script_run_ctx(suppress_warning=True)
    again = context is not None and bool(context.fragment_ids_this_run)
    return nullcontext() if again else st.skeleton(height=height)


@dataclass(frozen=True)
class Figure:
    """A picture with the data behind it: `chart` is what is drawn, `data` what the menu shows and hands out.

    `drawn`: the panel has drawn itself, and the data is for its menu and its age alone. `columns`: the configuration of
    a table. `drill`: how a click on a mark finds the rows behind it. The chart then has a point selection named `pick`
    over the one text field `mark`, and `marks` holds the drawn marks with the same texts in its column `mark` beside
    all columns of the data (sums where days were gathered into bins, with `bin_first` and `bin_last`, both inclusive):
    what was clicked is `marks[marks["mark"] == picked]`. The texts say what a mark stands for, so that they mean the
    same when the data was refreshed in between.
    """

    chart: Any
    data: pd.DataFrame
    alt: str = ""
    drawn: bool = False
    drill: Any = None
    marks: pd.DataFrame | None = None
    columns: Any = None


def answer_of(data: Any) -> Any:
    """The stamp of a frame or figure, or None: whatever has `as_of`, `text` and the rest."""
    frame = data.data if isinstance(data, Figure) else data
    return frame.attrs.get("answer") if isinstance(frame, pd.DataFrame) else None


def unstamped(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without its stamp: Arrow would try to write the stamp into its own header."""
    bare = frame.copy(deep=False)
    bare.attrs = {}
    return bare


def guarded(draw: Callable[[], Any], *, key: str) -> None:
    """Draw; on failure say one sentence, with a button to try again. The neighbours do not notice."""
    began = time.perf_counter()
    with _hooks.within(key):
        try:
            outcome = draw() or "ok"
        except Exception as error:
            outcome = _failed(error, key)
        _hooks.drawn(key, outcome, time.perf_counter() - began)


def _failed(error: Exception, key: str) -> str:
    if getattr(error, "kind", None) == "not_configured":
        st.caption(f":material/settings: {_(sentence_of(error))}")
        return "not_configured"
    _hooks.failure(key, error)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/error: {_(sentence_of(error))}")
        st.button(_("Retry"), key=f"{key}:retry", icon=":material/refresh:", type="tertiary")
    return "failed"


def sentence_of(error: BaseException) -> str:
    """What a person may read of an error: its own sentence, or one that gives nothing away."""
    sentence = getattr(error, "sentence", None)
    return str(sentence) if sentence else "This panel could not be drawn. The error was noted."


def age_line(answer: Any) -> tuple[str, bool]:
    """The data's age in words, and whether it must be seen: older than it should be, or with warnings."""
    seconds = (datetime.now(UTC) - answer.as_of).total_seconds()
    if answer.error:
        last = _("Last good data, {age} old").format(age=age(seconds))
        return f":material/history: {last}: {_(answer.error)}", True
    rollups = getattr(answer, "rollups", None)
    late = (answer.as_of - rollups).total_seconds() if rollups is not None else 0.0
    # An answer from daily tables is as old as they are, whenever it was asked.
    moment = answer.as_of if rollups is None else min(answer.as_of, rollups)
    words = _("{clock}, {age} ago").format(clock=clock(moment), age=age(seconds + max(late, 0.0)))
    if late > ROLLUPS_LATE:
        return f":material/history: {words}: {_('the daily tables are not refreshed')}", True
    if answer.stale:
        # A newer answer is on its way and comes with the next drawing: told, not shouted.
        words = f":material/sync: {words}"
    if answer.warnings:
        return f":material/warning: {words}: {answer.warnings[0]}", True
    return words, False


def menu(head: Any, *, key: str) -> Any:
    """The small menu of a picture, in its head. What is in it is made when it opens: see `fill_menu`."""
    return head.popover("", type="tertiary", key=f"{key}:menu", on_change="rerun", help=_("Query and data"))


def row_menu(*, key: str) -> Any:
    """One menu for a row of numbers, with its name: it stands beside no title that would say what it belongs to."""
    return st.popover(f":small[{_('Query and data')}]", type="tertiary", key=f"{key}:menu", on_change="rerun")


def show_query(answer: Any) -> None:
    """The query as it ran, with its source, name and moment."""
    kind = _("cached") if answer.cached else _("fresh")
    source = {"ledger": "SQL", "metrics": "PromQL"}.get(answer.source, answer.source)
    st.caption(f"{source} · {answer.name} · {when(answer.as_of)} · {kind}")
    st.code(answer.text, language="sql" if answer.source == "ledger" else "promql", wrap_lines=True)


def age_words(answer: Any) -> str:
    """`age_line` as a caption says it."""
    words, urgent = age_line(answer)
    return f":orange[{words}]" if urgent else words


def fill_menu(popover: Any, title: str, figure: Figure, *, key: str, definition: str | None = None) -> None:
    """Query as run, data, downloads and definition, when the menu is open."""
    if not popover.open:
        return
    answer = answer_of(figure)
    with popover:
        st.markdown(f"**{title}**")
        if definition:
            st.write(definition)
        data, query, about = st.tabs([_("Data"), _("Query"), _("Definition")])
        with data:
            st.dataframe(
                unstamped(figure.data),
                hide_index=True,
                height=240,
                width=560,
                column_config=_days_as_days(figure.data),
                placeholder="",
                alt=title,
            )
            name = re.sub(r"[^\w-]+", "_", title.lower()).strip("_")
            with st.container(horizontal=True):
                frame = figure.data
                _download("CSV", lambda: to_csv(frame), f"{name}.csv", "text/csv", key)
                _download(
                    "XLSX",
                    lambda: to_xlsx(frame, title),
                    f"{name}.xlsx",
                    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                    key,
                )
                if figure.chart is not None:
                    chart, dark = figure.chart, is_dark()
                    _download("PNG", lambda: to_png(chart, title, dark=dark), f"{name}.png", "image/png", key)
        with query:
            if answer is None:
                st.caption(_("This picture comes from no query."))
            else:
                show_query(answer)
        with about:
            if answer is not None:
                st.write(f"**{_(answer.title)}**: {_(answer.description)}")
                st.dataframe(
                    pd.DataFrame(
                        [(c.name, c.unit, c.description) for c in answer.columns],
                        columns=[_("Column"), _("Unit"), _("Meaning")],
                    ),
                    hide_index=True,
                    width=560,
                    alt=_("Columns and units"),
                )


def _days_as_days(frame: pd.DataFrame) -> dict[Any, Any]:
    """Columns of days without the midnight that the grid would write behind each."""
    return {
        name: st.column_config.DateColumn(format="YYYY-MM-DD")
        for name in frame.columns
        if types.is_datetime64_dtype(frame[name].dtype)
        and (frame[name].dropna().dt.normalize() == frame[name].dropna()).all()
    }


def _download(label: str, make: Callable[[], bytes], name: str, mime: str, key: str) -> None:
    st.download_button(
        label, make, name, mime, key=f"{key}:{label}", on_click="ignore", icon=":material/download:", type="tertiary"
    )


def is_dark() -> bool:
    """Whether the viewer looks at the dark theme."""
    return get_script_run_ctx(suppress_warning=True) is not None and st.context.theme.type == "dark"


# --- what leaves the house --------------------------------------------------------------------------------------------


def harmless(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it; all else stays."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with harmless texts (headings too), and times with their zone written out."""
    plain = frame.copy()
    for name in plain.columns:
        column = plain[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            plain[name] = column.map(lambda moment: None if pd.isna(moment) else moment.isoformat())
        elif types.is_datetime64_dtype(column.dtype) and (column.dropna() == column.dropna().dt.normalize()).all():
            plain[name] = column.dt.strftime("%Y-%m-%d")
        elif not types.is_numeric_dtype(column.dtype) or column.dtype == object:
            plain[name] = column.map(harmless)
    return plain.rename(columns=lambda name: harmless(str(name)))


def to_csv(frame: pd.DataFrame) -> bytes:
    """UTF-8 with a byte-order mark (Excel asks for it); money to the centavo."""
    return bytes(_plain(frame).to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig"))


def to_xlsx(frame: pd.DataFrame, title: str) -> bytes:
    """One sheet; numbers stay numbers, texts are never formulas or links."""
    out = io.BytesIO()
    plain = _plain(frame)
    for name in plain.columns:
        plain[name] = plain[name].map(lambda value: float(value) if isinstance(value, Decimal) else value)
    options = {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}
    with pd.ExcelWriter(out, engine="xlsxwriter", engine_kwargs={"options": options}) as writer:
        sheet = re.sub(r"[\[\]:*?/\\']", " ", title)[:31].strip() or "data"
        plain.to_excel(writer, sheet_name=sheet, index=False)
        writer.sheets[sheet].autofit()
    return out.getvalue()


def to_png(chart: Any, title: str, *, dark: bool) -> bytes:
    """The chart as a picture twice its size, on the theme's ground, with its title."""
    ink, ground = ("#e8e6e1", "#14171c") if dark else ("#1d2530", "#ffffff")
    spec = {**chart.to_dict(), "title": title, "background": ground}
    spec.setdefault("width", 720)
    if spec.get("width") == "container":
        spec["width"] = 720
    config = spec.setdefault("config", {})
    for part in ("axis", "legend"):
        config[part] = {**config.get(part, {}), "labelColor": ink, "titleColor": ink}
    config["title"] = {"color": ink, "anchor": "start"}
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))
