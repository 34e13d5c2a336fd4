"""Completion for PromQL in Streamlit's own text areas: what is typed completes as in any editor.

The text areas are `st.text_area`s whose keys begin with `PREFIX`; they work without this component, which listens to
them from beside (promql_editor.js). It has no look but the list that opens below the caret, drawn with the theme's
variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from components.i18n import _

PREFIX = "promql-"
_HTML = """
<div class="promql-list" id="promql-list" role="listbox" hidden></div>
<div class="promql-status" role="status" aria-live="polite"></div>
"""
_CSS = """
.promql-list {
    position: fixed; inset: auto; margin: 0; padding: 4px; z-index: 1000; overflow-y: auto; max-height: 288px;
    box-sizing: border-box; color: var(--st-text-color); background: var(--st-background-color);
    border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
    box-shadow: 0 6px 24px rgb(0 0 0 / 0.18); font-family: var(--st-font); font-size: 0.9rem;
}
.promql-list[hidden] { display: none; }
.promql-option {
    display: grid; grid-template-columns: minmax(0, 1fr) auto; column-gap: 12px; align-items: baseline;
    padding: 5px 8px; border-radius: calc(var(--st-base-radius) / 1.6); cursor: pointer; border-left: 3px solid transparent;
}
.promql-option:hover, .promql-option[aria-selected="true"] { background: var(--st-secondary-background-color); }
.promql-option[aria-selected="true"] { border-left-color: var(--st-primary-color); }
.promql-name { font-family: var(--st-code-font); overflow-wrap: anywhere; }
.promql-name b { color: var(--st-link-color); font-weight: 650; }
.promql-kind, .promql-help, .promql-message { opacity: 0.78; font-size: 0.82rem; }
.promql-help { grid-column: 1 / -1; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.promql-message { padding: 6px 8px; }
.promql-status {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
@media (pointer: coarse) { .promql-option { padding: 10px 8px; } }
"""  # noqa: E501

# Not in a shadow root: what the text area says of its list (aria-controls) must find it.
_component = st.components.v2.component(
    "mirador_promql_editor",
    html=_HTML,
    css=_CSS,
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def promql_editor(
    *,
    key: str,
    metrics: Sequence[tuple[str, str, str]],
    language: Mapping[str, Any],
    answers: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    on_asked: Callable[[Mapping[str, Any]], None],
) -> None:
    """Complete in all text areas whose keys begin with `PREFIX`.

    `metrics`: name, type and help of each; `language`: functions, keywords and durations. `answers`: what is known of
    labels, by `labels|<metric>` and `values|<metric>|<label>` (an empty metric: any); `names`: what the buttons beside
    the text areas do, by the keys of buttons that show a sign alone. For what is missing
    `on_asked({"want": "labels" or "values", "metric": ..., "label": ...})` is called in a rerun of the fragment that
    this stands in; it puts what it finds into `answers`.
    """

    def asked() -> None:
        wish = st.session_state[key].asked
        if isinstance(wish, Mapping):
            on_asked(wish)

    words = {
        "list": _("Completions"),
        "loading": _("Asking Prometheus…"),
        "count": _("{n} completions"),
        "metric": _("metric"),
        "counter": _("counter"),
        "gauge": _("gauge"),
        "histogram": _("histogram"),
        "summary": _("summary"),
        "function": _("function"),
        "aggregation": _("aggregation"),
        "keyword": _("keyword"),
        "duration": _("time range"),
        "label": _("label"),
        "value": _("label value"),
    }
    _component(
        key=key,
        data={
            "areas": f'[class*="st-key-{PREFIX}"] textarea',
            "metrics": [list(one) for one in metrics],
            **language,
            "answers": {name: list(found) for name, found in answers.items()},
            "names": {
                f".st-key-{re.sub(r'[^a-zA-Z0-9_-]', '-', button)} button": name for button, name in names.items()
            },
            "words": words,
        },
        on_asked_change=asked,
    )
