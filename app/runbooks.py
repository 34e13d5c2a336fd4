"""The runbooks of `monitoring/runbooks`: one for each alert, in both languages, and the panels that each shows live.

`ALERT.md` is English, `ALERT.es.md` Spanish. Before the text stands what to draw above it, as YAML:

    ---
    title: High error rate
    panels:
      - {metrics: watch/error_rate}                       a named query over time
      - {metrics: watch/kpi, kpi: approval_rate}          with parameters
      - {ledger: today/integrations}                      a named query as a table
      - {kpi: approval_rate, by: reason}                  a KPI of today by one dimension
    ---

Severity, owner, wait and expression are those of the rule itself, from `monitoring/rules`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

MONITORING = Path(__file__).resolve().parent.parent / "monitoring"
SUFFIXES = {"en": ".md", "es": ".es.md"}


@dataclass(frozen=True)
class Live:
    """One live panel: a named query of the metrics or the ledger with parameters, or a KPI by a dimension (`by`)."""

    source: Literal["metrics", "ledger", "kpi"]
    name: str
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rule:
    """An alerting rule as Prometheus has it; `wait` is how long it must hold, such as 5m."""

    alert: str
    expression: str
    wait: str
    severity: str
    owner: str
    summary: tuple[tuple[str, str], ...]

    def words(self, language: str) -> str:
        """The summary in `es` or, for any other language, in English, without templates of labels."""
        return dict(self.summary)["es" if language.startswith("es") else "en"]


@dataclass(frozen=True)
class Runbook:
    """What to do about an alert, in one language. `rule` is None for one whose rule is not in `monitoring/rules`."""

    alert: str
    title: str
    text: str
    panels: tuple[Live, ...]
    rule: Rule | None

    def holds(self, words: str) -> bool:
        """Whether all of the words stand in it, without case and accents."""
        found = _plain(f"{self.alert} {self.title} {self.text}")
        return all(word in found for word in _plain(words).split())


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


@cache
def rules() -> dict[str, Rule]:
    """Every alerting rule of `monitoring/rules` by name; of several of one name (by severity) the first."""
    found: dict[str, Rule] = {}
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found.setdefault(rule["alert"], _rule(rule))
    return found


def _rule(rule: dict[str, Any]) -> Rule:
    labels, said = rule.get("labels", {}), rule.get("annotations", {})
    english = str(said.get("summary", rule["alert"]))
    return Rule(
        alert=rule["alert"],
        expression=str(rule["expr"]).strip(),
        wait=str(rule.get("for", "0s")),
        severity=str(labels.get("severity", "warning")),
        owner=str(labels.get("owner", "engineer")),
        summary=(("en", english), ("es", str(said.get("summary_es", english)))),
    )


def read_runbook(path: Path) -> Runbook:
    """One file. Raises ValueError with the file and what is wrong."""
    alert = path.name.split(".")[0]
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    if not isinstance(head, dict) or not head.get("title"):
        raise ValueError(f"{path.name}: between two lines --- stand title and panels")
    return Runbook(
        alert=alert,
        title=str(head["title"]),
        text=parts[2].strip(),
        panels=tuple(_live(path, panel) for panel in head.get("panels") or ()),
        rule=rules().get(alert),
    )


def _live(path: Path, panel: Any) -> Live:
    given = {str(key): str(value) for key, value in panel.items()} if isinstance(panel, dict) else {}
    # `kpi` is a parameter of watch/kpi, too: the query's source decides.
    for source in ("metrics", "ledger", "kpi"):
        if source in given:
            name = given.pop(source)
            return Live(source, name, tuple(sorted(given.items())))
    raise ValueError(f"{path.name}: a panel names metrics, ledger or kpi, not {panel}")


@cache
def runbooks(language: str) -> dict[str, Runbook]:
    """All runbooks by alert, in `es` or, for any other language, in English; critical ones first, then by title."""
    code = "es" if language.startswith("es") else "en"
    folder = MONITORING / "runbooks"
    paths = [path for path in sorted(folder.glob("*.md")) if path.name.endswith(".es.md") == (code == "es")]
    found = [read_runbook(path) for path in paths]
    found.sort(key=lambda one: (one.rule is None or one.rule.severity != "critical", _plain(one.title)))
    return {one.alert: one for one in found}
