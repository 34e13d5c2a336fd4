"""What watches the objectives of `monitoring/slos.yaml`: the rules made of it, and the gauges that some of them read.

    python -m app slo generate            writes monitoring/rules/slos.yml
    python -m app slo generate --check    exit code 1 when that file is not what the objectives make

Names and labels are Sloth's (sloth_id, sloth_service, sloth_slo, sloth_window, `slo:sli_error:ratio_rate1h` and so on),
so that its dashboards work on them. What is added: events (`slo:sli_events:*`), and a guard for low traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import NormalDist
from typing import Any

import yaml
from prometheus_client.core import GaugeMetricFamily, Metric

import queries
from app.behind import ReadBehind
from queries.budgets import CONFIDENCE
from queries.slo_file import BURNS, PERIOD_DAYS, SECONDS, SLOS, Burn, Slo, read_slos
from queries.slos import slos, window_counts

RULES = SLOS.parent / "rules" / "slos.yml"
SERVICE = "mirador"
SEVERITIES = {"page": "critical", "ticket": "warning"}
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
HEAD = """\
# Made of monitoring/slos.yaml by `python -m app slo generate`: do not edit, CI fails when it differs.
#
# For each objective: its events and error ratios by window, and alerts on two windows at once (Google's SRE workbook):
# the long one says that it matters, the short one that it still goes on. A guard for low traffic stands in each
# alert: failures are weighed against the usual traffic of the window, not against a quiet night's; the lower bound of a
# one-sided 95 % Wilson interval must be over the limit, too; and a few failures (least_bad) are never enough.
"""


# --- rules ------------------------------------------------------------------------------------------------------------


class _Block(str):
    """A text that YAML shows as a block of lines."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def rules_text(path: Path = SLOS) -> str:
    """The rule file of the objectives of a file. Raises ValueError with what is wrong in it."""
    groups: list[dict[str, Any]] = []
    found = read_slos(path)
    for slo in found.values():
        groups += [_recordings(slo), _period(slo), _alerts(slo)]
    body = yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return f"{HEAD}{body}"


def _labels(slo: Slo, **more: str) -> dict[str, str]:
    return {"sloth_id": f"{SERVICE}-{slo.name}", "sloth_service": SERVICE, "sloth_slo": slo.name, **more}


def _of(slo: Slo, name: str) -> str:
    return f'{name}{{sloth_id="{SERVICE}-{slo.name}"}}'


def _record(name: str, expression: str, labels: dict[str, str]) -> dict[str, Any]:
    text = _Block(expression + "\n") if "\n" in expression else expression
    return {"record": name, "expr": text, "labels": labels}


def _events(slo: Slo, window: str) -> tuple[str, str]:
    """PromQL of bad and of all events in the window."""
    counters = slo.sli.promql
    if counters is None:
        # Every process of Mirador gives the same numbers: max, never sum.
        chosen = f'slo="{slo.name}", window="{window}"'
        bad = f'max(mirador_slo_events{{{chosen}, state="bad"}})'
        return bad, f'sum(max by (state) (mirador_slo_events{{{chosen}, state=~"good|bad"}}))'
    total = f"sum(increase({counters.total}[{window}]))"
    if counters.bad is not None:
        return f"sum(increase({counters.bad}[{window}])) or 0 * {total}", total
    return f"clamp_min({total} - sum(increase({counters.good}[{window}])), 0)", total


def _counts(slo: Slo, window: str) -> list[dict[str, Any]]:
    bad, total = _events(slo, window)
    names = [_of(slo, f"slo:sli_events:{part}_increase{window}") for part in ("bad", "total")]
    return [
        _record(f"slo:sli_events:bad_increase{window}", bad, _labels(slo)),
        _record(f"slo:sli_events:total_increase{window}", total, _labels(slo)),
        # 0/0 is no ratio: without events there is none.
        _record(
            f"slo:sli_error:ratio_rate{window}",
            f"clamp_max({names[0]} / ({names[1]} > 0), 1)",
            _labels(slo, sloth_window=window),
        ),
    ]


def _recordings(slo: Slo) -> dict[str, Any]:
    made = [rule for window in SECONDS for rule in _counts(slo, window)]
    for burn in BURNS:
        window = burn.long
        bad = _of(slo, f"slo:sli_events:bad_increase{window}")
        total = _of(slo, f"slo:sli_events:total_increase{window}")
        usual = (
            f"{_of(slo, f'slo:sli_events:total_increase{PERIOD_DAYS}d')} * {SECONDS[window]} / {PERIOD_DAYS * 86400}"
        )
        made.append(
            _record(
                f"slo:sli_error:weighted_ratio{window}",
                f"{bad}\n/\n(\n  (\n    ({total} >= {usual})\n    or\n    {usual}\n    or\n    {total}\n  ) > 0\n)",
                _labels(slo, sloth_window=window),
            )
        )
        share = f"clamp_max({bad} / ({total} > 0), 1)"
        low = (
            f"(\n  {share} + {Z * Z / 2:.6f} / {total}\n  -\n"
            f"  {Z:.6f} * sqrt(({share} * (1 - {share}) + {Z * Z / 4:.6f} / {total}) / {total})\n)\n"
            f"/\n(1 + {Z * Z:.6f} / {total})"
        )
        made.append(_record(f"slo:sli_error:low_ratio{window}", low, _labels(slo, sloth_window=window)))
    # Days of counters are not read four times a minute.
    return {"name": f"sloth-slo-sli-recordings-{SERVICE}-{slo.name}", "interval": "1m", "rules": made}


def _period(slo: Slo) -> dict[str, Any]:
    window = f"{PERIOD_DAYS}d"
    ratio = _of(slo, f"slo:sli_error:ratio_rate{window}")
    made = [
        *_counts(slo, window),
        _record("slo:objective:ratio", f"vector({slo.objective:g})", _labels(slo)),
        _record("slo:error_budget:ratio", f"vector({slo.budget:g})", _labels(slo)),
        _record("slo:time_period:days", f"vector({PERIOD_DAYS})", _labels(slo)),
        _record(
            "slo:current_burn_rate:ratio", f"{_of(slo, 'slo:sli_error:ratio_rate5m')} / {slo.budget:g}", _labels(slo)
        ),
        _record("slo:period_burn_rate:ratio", f"{ratio} / {slo.budget:g}", _labels(slo)),
        _record("slo:period_error_budget_remaining:ratio", f"1 - {ratio} / {slo.budget:g}", _labels(slo)),
        _record(
            "sloth_slo_info",
            "vector(1)",
            _labels(
                slo,
                sloth_mode="cli-gen-prom",
                sloth_objective=f"{slo.objective * 100:g}",
                sloth_spec=f"{SERVICE}/slos.yaml",
                sloth_version=SERVICE,
            ),
        ),
    ]
    # A month even less.
    return {"name": f"sloth-slo-meta-recordings-{SERVICE}-{slo.name}", "interval": "5m", "rules": made}


def _pair(slo: Slo, burn: Burn) -> str:
    limit = f"{burn.factor * slo.budget:.6g}"
    ratio = _of(slo, f"slo:sli_error:ratio_rate{burn.long}")
    weighted = _of(slo, f"slo:sli_error:weighted_ratio{burn.long}")
    low = _of(slo, f"slo:sli_error:low_ratio{burn.long}")
    bad = _of(slo, f"slo:sli_events:bad_increase{burn.long}")
    short = _of(slo, f"slo:sli_error:ratio_rate{burn.short}")
    # Extrapolation makes 2.97 of three. A short window without events says nothing of an end, so: unless, not and.
    return (
        f"max without (sloth_window) ({ratio} > {limit})\n"
        f"and\nmax without (sloth_window) ({weighted} > {limit})\n"
        f"and\nmax without (sloth_window) ({low} > {limit})\n"
        f"and\n{bad} >= {slo.least_bad - 0.5:g}\n"
        f"unless\nmax without (sloth_window) ({short} <= {limit})"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _alerts(slo: Slo) -> dict[str, Any]:
    made = []
    for kind in ("page", "ticket"):
        pairs = [burn for burn in BURNS if burn.severity == kind]
        expression = "\nor\n".join(f"(\n{_indented(_pair(slo, burn))}\n)" for burn in pairs)
        words = " or ".join(f"{burn.factor:g}x over {burn.long}" for burn in pairs)
        words_es = " o ".join(f"{burn.factor:g}x en {burn.long}" for burn in pairs)
        severity = SEVERITIES[kind] if kind == "ticket" or slo.page else "warning"
        made.append(
            {
                "alert": slo.alert,
                "expr": _Block(expression + "\n"),
                "labels": {
                    **_labels(slo, sloth_severity=kind),
                    "severity": severity,
                    "owner": slo.owner,
                    "component": slo.component,
                    "needs": slo.needs,
                },
                "annotations": {
                    "summary": f"{slo.label.en}: the error budget burns too fast ({words})",
                    "summary_es": f"{slo.label.es}: el presupuesto de error se consume demasiado rápido ({words_es})",
                    "description": "{{ $value | humanizePercentage }} of the events were bad; the objective of "
                    f"{slo.objective * 100:g} % allows {slo.budget * 100:g} %.",
                    "description_es": "El {{ $value | humanizePercentage }} de los eventos fue malo; el objetivo de "
                    f"{slo.objective * 100:g} % permite {slo.budget * 100:g} %.",
                    "runbook_url": "{{ $externalLabels.mirador_url }}/runbooks?alert=" + slo.alert,
                    "dashboard_url": "{{ $externalLabels.mirador_url }}/slos?slo=" + slo.name,
                },
            }
        )
    made.append(
        {
            "alert": "SLOWithoutData",
            "expr": f"absent({_of(slo, 'slo:sli_events:bad_increase1d')})",
            "for": "1h",
            "labels": {**_labels(slo), "severity": "warning", "owner": "engineer", "needs": slo.needs},
            "annotations": {
                "summary": f"{slo.label.en}: no data",
                "summary_es": f"{slo.label.es}: sin datos",
                "description": f"Nothing can be said of the objective {slo.label.en}: its events are missing, "
                "and its alerts are blind.",
                "description_es": f"Nada se puede decir del objetivo {slo.label.es}: faltan sus eventos "
                "y sus alertas están ciegas.",
                "runbook_url": "{{ $externalLabels.mirador_url }}/runbooks?alert=SLOWithoutData",
                "dashboard_url": "{{ $externalLabels.mirador_url }}/slos?slo=" + slo.name,
            },
        }
    )
    return {"name": f"sloth-slo-alerts-{SERVICE}-{slo.name}", "rules": made}


def generate(*, check: bool = False, path: Path = RULES) -> str | None:
    """Write the rules; with `check` only compare. Gives why the file is not up to date, or None."""
    text = rules_text()
    if not check:
        path.write_text(text, encoding="utf-8")
        return None
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        return f"{path.name} is not what monitoring/slos.yaml makes: run python -m app slo generate."
    return None


# --- gauges -----------------------------------------------------------------------------------------------------------

Counts = dict[str, dict[tuple[str, str], float]]


class SloBoard(ReadBehind[Counts]):
    """Events of the objectives whose SLI is of the ledger, for the alerts that read them.

    What the ledger could not tell anew is left out; then its alerts are silent and SLOWithoutData tells.
    """

    def __init__(self) -> None:
        super().__init__("objectives")

    def nothing(self) -> Counts:
        """No objective."""
        return {}

    def read(self, into: Counts) -> None:
        """By objective the events by (window, state)."""
        today = datetime.now(queries.timezone()).date()
        for name, slo in slos().items():
            if slo.sli.sql is not None:
                into[name] = window_counts(slo, today)

    def families(self, kept: Counts) -> Iterator[Metric]:
        """The gauges."""
        events = GaugeMetricFamily(
            "mirador_slo_events",
            "Events of an objective in the window up to now, exact, from the ledger; undecided ones are of now.",
            labels=["slo", "window", "state"],
        )
        for name, counts in kept.items():
            for (window, state), value in counts.items():
                events.add_metric([name, window, state], value)
        yield events
