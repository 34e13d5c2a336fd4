"""monitoring/: each alert fires, stays silent and resolves as it should; routes, runbooks and dashboards are whole."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from streamlit.testing.v1 import AppTest

import components
import queries
from demo import servers
from demo.inbox import Inbox
from demo.watch import MONITORING, alertmanager_config, prometheus_config
from tests.conftest import LedgerUrl

ROOT = MONITORING.parent
RULES = sorted((MONITORING / "rules").glob("*.yml"))
SEED_ALERTS = {
    "HighErrorRate": "HighErrorRate",
    "HighLatency": "HighLatency",
    "DatabaseConnectionPoolExhausted": "DatabaseConnectionPoolExhausted",
    "LowApprovalRate": "LowApprovalRate",
    "HighLatePayments": "HighLatePayments",
    # One rule for every integration.
    "GeotabAPIDown": "IntegrationAPIDown",
    "NoDisbursementsToday": "NoDisbursementsToday",
}


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


@pytest.fixture(scope="session")
def promtool(prometheus_programs: servers.PrometheusPrograms) -> str:
    return str(prometheus_programs.promtool)


@pytest.fixture(scope="session")
def amtool(server_dir: Path) -> str:
    found = servers.find_amtool(server_dir / "packages")
    if found is None:
        pytest.skip("No amtool on this machine")
    return str(found)


def run(*argv: str, code: int = 0) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


# --- what an alert says -----------------------------------------------------------------------------------------------


def test_the_seeds_seven_alerts_are_there() -> None:
    assert set(SEED_ALERTS.values()) <= set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_what_whose_and_where_in_both_languages(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ({"none"} if name == "Watchdog" else {"critical", "warning"})
    assert rule["labels"]["owner"] in {"executive", "analyst", "engineer"}
    said = rule["annotations"]
    for text in ("summary", "description"):
        assert said[text]
        assert said[f"{text}_es"] != said[text]
        # What is told of the value and the labels is told in both languages.
        values = [sorted(re.findall(r"{{.*?}}", said[key])) for key in (text, f"{text}_es")]
        assert values[0] == values[1]
    assert said["runbook_url"] == "{{ $externalLabels.mirador_url }}/runbooks?alert=" + name
    assert said["dashboard_url"].startswith("{{ $externalLabels.mirador_url }}/")


# --- the rules, each in promtool's own time ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Series a minute apart, and how many alerts of the name fire at which minutes."""

    title: str
    series: dict[str, str]
    firing: dict[int, int]
    more: dict[str, dict[int, list[float]]] = field(default_factory=dict)


BACKEND = 'up{job="conductores-backend",instance="a"}'
OK = 'http_requests_total{endpoint="/a",status="200",instance="a"}'
FAILED = 'http_requests_total{endpoint="/a",status="500",instance="a"}'


def bucket(endpoint: str, le: str) -> str:
    return f'http_request_duration_seconds_bucket{{endpoint="{endpoint}",le="{le}"}}'


def calls(integration: str, status: str, endpoint: str = "/x") -> str:
    return f'integration_api_calls_total{{integration="{integration}",endpoint="{endpoint}",status="{status}"}}'


def call_bucket(integration: str, le: str) -> str:
    return f'integration_api_duration_seconds_bucket{{integration="{integration}",endpoint="/x",le="{le}"}}'


def kpi(name: str, dimension: str = "all", segment: str = "all", instance: str = "a") -> str:
    return f'mirador_kpi{{kpi="{name}",dimension="{dimension}",segment="{segment}",instance="{instance}"}}'


SEED_ERROR_RATE = 'sum(rate(http_requests_total{status=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) > 0.05'
SEED_LATENCY = "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m])) > 1.0"
SEED_POOL = "db_connections_active / db_connections_max > 0.9"
SEED_APPROVAL = "sum(increase(applications_approved_total[1h])) / sum(increase(applications_submitted_total[1h]))"
SEED_LATE = 'sum(payments_late_count{level="late_16_30_days"}) > 50'
SEED_DISBURSED = "increase(credits_disbursed_total[24h]) == 0"
SEED_GEOTAB = (
    'sum(rate(integration_api_calls_total{integration="geotab",status="error"}[5m]))'
    ' / sum(rate(integration_api_calls_total{integration="geotab"}[5m])) > 0.5'
)
# promtool's time begins on Thursday 1970-01-01 00:00 UTC, which is Wednesday 18:00 in Mexico City.
THURSDAY_NOON, THURSDAY_EVENING = 18 * 60, 26 * 60
SATURDAY_NOON = THURSDAY_NOON + 2 * 1440

CASES: dict[str, list[Case]] = {
    "HighErrorRate": [
        Case(
            "one in seven fails for twenty minutes",
            {OK: "0+60x80", FAILED: "0x10 10+10x19 200x50"},
            {9: 0, 12: 0, 20: 1, 45: 0},
        ),
        Case("three in a hundred", {OK: "0+97x40", FAILED: "0+3x40"}, {30: 0}),
        Case("a few requests, half of them fail", {OK: "0+3x40", FAILED: "0+3x40"}, {30: 0}),
        Case("nobody asks: 0/0", {OK: "100x40", FAILED: "100x40"}, {30: 0}),
        Case("no 5xx series at all", {OK: "0+60x40"}, {30: 0}, {"api:http_errors:ratio_rate5m": {30: [0]}}),
        Case("a restart sets the counters to zero", {OK: "0+600x20 0+600x20", FAILED: "0+6x20 0+6x20"}, {22: 0, 30: 0}),
        Case(
            "no failure is left when the failing replica is gone",
            {OK: "0+60x60", FAILED: "0+60x20 stale"},
            {15: 1, 40: 0},
        ),
    ],
    "HighLatency": [
        Case(
            "one in six takes over a second for twenty minutes",
            {
                OK: "0+60x80",
                bucket("/a", "1.0"): "0+60x10 650+50x20 1710+60x49",
                bucket("/a", "2.0"): "0+60x80",
                bucket("/a", "+Inf"): "0+60x80",
            },
            {9: 0, 25: 1, 50: 0},
        ),
        Case(
            "one slow call a minute to a rare endpoint: the seed's rule speaks for the whole API",
            {
                OK: "0+600x60",
                bucket("/a", "0.1"): "0+600x60",
                bucket("/a", "5.0"): "0+600x60",
                bucket("/a", "+Inf"): "0+600x60",
                bucket("/rare", "0.1"): "0x60",
                bucket("/rare", "5.0"): "0+1x60",
                bucket("/rare", "+Inf"): "0+1x60",
            },
            {30: 0},
            {f"count({SEED_LATENCY})": {30: [1]}},
        ),
        Case("no histogram", {OK: "0+60x60"}, {30: 0}),
        Case(
            "a slow request at night, alone",
            {OK: "0+1x60", bucket("/a", "1.0"): "0x60", bucket("/a", "5.0"): "0+1x60", bucket("/a", "+Inf"): "0+1x60"},
            {30: 0},
        ),
        Case(
            "nobody asks: 0/0",
            {OK: "9x60", bucket("/a", "1.0"): "1x60", bucket("/a", "5.0"): "9x60", bucket("/a", "+Inf"): "9x60"},
            {30: 0},
        ),
    ],
    "DatabaseConnectionPoolExhausted": [
        Case(
            "one replica of two uses 19 of 20",
            {
                'db_connections_active{instance="a"}': "5x10 19x20 5x20",
                'db_connections_max{instance="a"}': "20x60",
                'db_connections_active{instance="b"}': "1x60",
                'db_connections_max{instance="b"}': "20x60",
            },
            {9: 0, 20: 1, 40: 0},
        ),
        Case(
            "as the seed has it: db_connections_max is not exported, so neither rule can ever fire",
            {BACKEND: "1x60", 'db_connections_active{instance="a"}': "20x60"},
            {40: 0},
            {
                f"count({SEED_POOL})": {40: []},
                'count(ALERTS{alertname="MetricMissing",alertstate="firing",metric="db_connections_max"})': {40: [1]},
            },
        ),
        Case(
            "0/0", {'db_connections_active{instance="a"}': "0x60", 'db_connections_max{instance="a"}': "0x60"}, {40: 0}
        ),
    ],
    "BackendDown": [
        Case("down for twenty minutes", {BACKEND: "1x5 0x20 1x30"}, {4: 0, 6: 0, 10: 1, 30: 0}),
        Case("one of two replicas", {BACKEND: "0x40", 'up{job="conductores-backend",instance="b"}': "1x40"}, {20: 0}),
        Case("the target is gone from the configuration", {'up{job="mirador"}': "1x40"}, {20: 1}),
    ],
    "NoTraffic": [
        Case(
            "two hours of requests, then half an hour of none",
            {BACKEND: "1x200", OK: "0+60x120 7200x30 7200+60x60"},
            {125: 0, 140: 1, 170: 0},
        ),
        Case("the metric is gone after a deployment", {BACKEND: "1x200", OK: "0+60x120 stale"}, {115: 0, 140: 1}),
        Case("a quiet night", {BACKEND: "1x200", OK: "0+1x60 60x120"}, {150: 0}),
        Case("a new installation", {BACKEND: "1x60"}, {50: 0}),
        Case("a backend that is down is BackendDown", {BACKEND: "1x120 0x60", OK: "0+60x120 stale"}, {150: 0}),
        Case("a restart is no silence", {BACKEND: "1x200", OK: "0+60x120 0+60x60"}, {121: 0, 140: 0}),
        Case(
            "still silent after more than an hour: yesterday at this hour there were requests",
            {BACKEND: "1x1700", OK: "0+60x1440 86400x250"},
            {1445: 0, 1650: 1},
        ),
    ],
    "MetricMissing": [
        Case(
            "two of six metrics are missing, then come",
            {
                BACKEND: "1x80",
                OK: "0+1x80",
                bucket("/a", "+Inf"): "0+1x80",
                'db_connections_active{instance="a"}': "1x80",
                'db_connections_max{instance="a"}': "_x40 9x40",
                calls("geotab", "success"): "0+1x80",
                call_bucket("geotab", "+Inf"): "_x40 0+1x40",
            },
            {10: 0, 30: 2, 60: 0},
        ),
        Case("the backend is down, so everything is missing", {BACKEND: "0x60"}, {40: 0}),
    ],
    "TargetDown": [
        Case(
            "an exporter for twenty minutes",
            {'up{job="redis-exporter",instance="r"}': "1x5 0x20 1x20", BACKEND: "1x50"},
            {4: 0, 8: 0, 20: 1, 35: 0},
        ),
        Case("one of two replicas", {BACKEND: "0x40", 'up{job="conductores-backend",instance="b"}': "1x40"}, {20: 1}),
        Case("the whole backend is BackendDown", {BACKEND: "0x40"}, {20: 0}),
        Case("Mirador has an alert of its own", {'up{job="mirador"}': "0x40"}, {20: 0}),
    ],
    "ComponentDown": [
        Case(
            "conekta answers no probe for twenty minutes",
            {
                'probe_success{job="status-probes",component="conekta"}': "1x10 0x20 1x30",
                'probe_success{job="status-probes",component="api"}': "1x60",
            },
            {9: 0, 20: 1, 40: 0},
        ),
        Case("one failed probe", {'probe_success{job="status-probes",component="api"}': "1x10 0 1x30"}, {12: 0, 15: 0}),
        Case("probes that others make", {'probe_success{job="other",component="api"}': "0x40"}, {30: 0}),
    ],
    "IntegrationAPIDown": [
        Case(
            "geotab fails in two of three calls for twenty minutes",
            {calls("geotab", "success"): "0+3x20 62+1x20 82+3x40", calls("geotab", "timeout"): "0x20 2+2x19 40x41"},
            {19: 0, 40: 1, 65: 0},
        ),
        Case(
            "conekta, metamap, neon and a newcomer: one rule sees them all, the seed's none",
            {calls(name, "error"): "0+3x60" for name in ("conekta", "metamap", "neon", "newcomer")},
            {40: 4},
            {f"count({SEED_GEOTAB})": {40: []}},
        ),
        Case(
            "time-outs are failures; for the seed's rule they are calls that went well",
            {calls("geotab", "success"): "0+1x60", calls("geotab", "timeout"): "0+9x60"},
            {40: 1},
            {f"count({SEED_GEOTAB})": {40: []}},
        ),
        Case(
            "neon is called six times an hour, and each call fails",
            {
                calls("neon", "success"): "0x180",
                calls("neon", "error"): "0x9 1x9 2x9 3x9 4x9 5x9 6x9 7x9 8x9 9x9 10x80",
            },
            {20: 0, 90: 1},
        ),
        Case(
            "two calls at night, one fails",
            {calls("neon", "success"): "0x60 1x120", calls("neon", "error"): "0x60 1x120"},
            {90: 0},
        ),
        Case("nobody calls: 0/0", {calls("neon", "success"): "50x180", calls("neon", "error"): "50x180"}, {150: 0}),
        Case(
            "a restart sets the counters to zero",
            {calls("geotab", "success"): "0+30x30 0+30x30", calls("geotab", "error"): "0+1x30 0+1x30"},
            {32: 0, 40: 0},
        ),
        Case(
            "an endpoint that fails alone",
            {calls("geotab", "success"): "0+9x60", calls("geotab", "error", "/y"): "0+3x60"},
            {40: 0},
        ),
    ],
    "IntegrationSlow": [
        Case(
            "a tenth takes 10 to 30 s for half an hour",
            {
                calls("metamap", "success"): "0+10x120",
                call_bucket("metamap", "10.0"): "0+10x30 309+9x30 579+10x59",
                call_bucket("metamap", "30.0"): "0+10x120",
                call_bucket("metamap", "+Inf"): "0+10x120",
            },
            {29: 0, 58: 1, 90: 0},
        ),
        Case(
            "one slow call of a few at night",
            {
                calls("metamap", "success"): "0x30 3x90",
                call_bucket("metamap", "10.0"): "0x30 2x90",
                call_bucket("metamap", "30.0"): "0x30 3x90",
                call_bucket("metamap", "+Inf"): "0x30 3x90",
            },
            {60: 0},
        ),
        Case("calls are counted, not timed", {calls("metamap", "success"): "0+10x60"}, {50: 0}),
    ],
    "LowApprovalRate": [
        Case(
            "a quarter for an hour, from two processes of Mirador",
            {
                kpi("approval_rate"): "0.5x10 0.25x60 0.5x30",
                kpi("approval_rate", instance="b"): "0.5x10 0.25x60 0.5x30",
                'mirador_kpi_base{kpi="approval_rate",instance="a"}': "40x120",
                'mirador_kpi_base{kpi="approval_rate",instance="b"}': "40x120",
            },
            {30: 0, 60: 1, 85: 0},
        ),
        Case(
            "one of five decisions of the morning",
            {kpi("approval_rate"): "0.2x80", 'mirador_kpi_base{kpi="approval_rate"}': "5x80"},
            {60: 0},
        ),
        Case("no decision yet: no rate", {'mirador_kpi_base{kpi="approval_rate"}': "0x80"}, {60: 0}),
        Case(
            "yesterday's applications are decided today: the seed's rate is 2.0",
            {
                "applications_submitted_total": "0+1x80",
                'applications_approved_total{sinosure_tier="A"}': "0+2x80",
                kpi("approval_rate"): "0.4x80",
                'mirador_kpi_base{kpi="approval_rate"}': "400x80",
            },
            {70: 0},
            {SEED_APPROVAL: {70: [2]}},
        ),
    ],
    "HighLatePayments": [
        Case(
            "60 of 1,000 for two hours",
            {kpi("late_installments", "bucket", "16-30"): "20x10 60x120 20x30", kpi("active_credits"): "1000x160"},
            {60: 0, 100: 1, 145: 0},
        ),
        Case(
            "198 of 10,874: a usual day of a large portfolio",
            {kpi("late_installments", "bucket", "16-30"): "198x120", kpi("active_credits"): "10874x120"},
            {100: 0},
        ),
        Case(
            "five of a hundred",
            {kpi("late_installments", "bucket", "16-30"): "5x120", kpi("active_credits"): "100x120"},
            {100: 0},
        ),
        Case(
            "30, told by two replicas: the seed's rule counts 60",
            {
                'payments_late_count{level="late_16_30_days",instance="a"}': "30x120",
                'payments_late_count{level="late_16_30_days",instance="b"}': "30x120",
                kpi("late_installments", "bucket", "16-30"): "30x120",
                kpi("active_credits"): "500x120",
            },
            {100: 0},
            {SEED_LATE: {100: [60]}},
        ),
        Case(
            "no active credit: 0/0",
            {kpi("late_installments", "bucket", "16-30"): "60x120", kpi("active_credits"): "0x120"},
            {100: 0},
        ),
    ],
    "NoDisbursementsToday": [
        Case(
            "none by Thursday noon; the first at 14:00",
            {kpi("credits_disbursed"): f"0x{THURSDAY_NOON + 119} 1x300"},
            {THURSDAY_NOON - 5: 0, THURSDAY_NOON + 30: 1, THURSDAY_NOON + 150: 0},
        ),
        Case(
            "in the evening there is nobody who could mend it",
            {kpi("credits_disbursed"): "0x1700"},
            {THURSDAY_EVENING - 5: 1, THURSDAY_EVENING + 5: 0},
        ),
        Case("Saturday", {kpi("credits_disbursed"): "0x4100"}, {SATURDAY_NOON + 60: 0}),
        Case(
            "a public holiday",
            {kpi("credits_disbursed"): "0x1200", "mirador_business_day": "0x1200"},
            {THURSDAY_NOON + 60: 0},
        ),
        Case(
            "comparable days have often none by this hour either",
            {
                kpi("credits_disbursed"): "0x1200",
                'mirador_kpi_normal{kpi="credits_disbursed",bound="low"}': "0x1200",
            },
            {THURSDAY_NOON + 60: 0},
        ),
        Case("Mirador is away: nothing is known", {"mirador_business_day": "1x1200"}, {THURSDAY_NOON + 60: 0}),
        Case(
            "replica b disburses: the seed's rule fires for replica a, and never when both are gone",
            {
                'credits_disbursed_total{instance="a"}': "5x1200",
                'credits_disbursed_total{instance="b"}': "0+1x1200",
                kpi("credits_disbursed"): "7x1200",
            },
            {THURSDAY_NOON + 60: 0},
            {f"count({SEED_DISBURSED})": {THURSDAY_NOON + 60: [1]}},
        ),
    ],
    "BusinessNumbersMissing": [
        Case(
            "one of three for half an hour",
            {
                'up{job="mirador"}': "1x80",
                kpi("credits_disbursed"): "3x80",
                kpi("active_credits"): "3x80",
                kpi("late_installments"): "3x10 _x30 3x40",
            },
            {9: 0, 35: 1, 60: 0},
        ),
        Case("Mirador itself is down", {'up{job="mirador"}': "0x60"}, {40: 0}),
    ],
    "MiradorDown": [
        Case("for twenty minutes", {'up{job="mirador"}': "1x5 0x20 1x20"}, {4: 0, 15: 1, 35: 0}),
        Case(
            "one process of two",
            {'up{job="mirador",instance="a"}': "0x40", 'up{job="mirador",instance="b"}': "1x40"},
            {20: 0},
        ),
        Case("not scraped at all", {BACKEND: "1x40"}, {20: 1}),
    ],
    "SourceDown": [
        Case(
            "the ledger for twenty minutes",
            {'mirador_source_up{source="ledger"}': "1x5 0x20 1x20", 'mirador_source_up{source="metrics"}': "1x50"},
            {4: 0, 20: 1, 35: 0},
        ),
        Case(
            "one process of two does not reach it",
            {
                'mirador_source_up{source="ledger",instance="a"}': "0x40",
                'mirador_source_up{source="ledger",instance="b"}': "1x40",
            },
            {20: 0},
        ),
    ],
    "LedgerStale": [
        Case(
            "nothing changes for 80 minutes",
            {'mirador_ledger_changed_timestamp_seconds{relation="ledger"}': "0x80 4860+60x40"},
            {50: 0, 75: 1, 90: 0},
        ),
    ],
    "RollupsStale": [
        Case(
            "one table of two stands still",
            {
                'mirador_rollup_refreshed_timestamp_seconds{rollup="calls"}': "0x40 2460+60x40",
                'mirador_rollup_refreshed_timestamp_seconds{rollup="payments"}': "0+60x80",
            },
            {10: 0, 30: 1, 60: 0},
        ),
        Case(
            "a process that no longer looks does not matter",
            {
                'mirador_rollup_refreshed_timestamp_seconds{rollup="calls",instance="a"}': "0x80",
                'mirador_rollup_refreshed_timestamp_seconds{rollup="calls",instance="b"}': "0+60x80",
            },
            {60: 0},
        ),
    ],
    "Watchdog": [
        Case("whatever is up or down", {BACKEND: "1x20 0x20"}, {0: 1, 10: 1, 30: 1}),
    ],
    "WatchdogSilent": [
        Case(
            "heard every minute, then not for half an hour, then again",
            {"mirador_watchdog_heard_timestamp_seconds": "0+60x10 600x30 2460+60x20"},
            {10: 0, 19: 0, 30: 1, 50: 0},
        ),
        Case(
            "one process of two hears it",
            {
                'mirador_watchdog_heard_timestamp_seconds{instance="a"}': "0x60",
                'mirador_watchdog_heard_timestamp_seconds{instance="b"}': "0+60x60",
            },
            {40: 0},
        ),
    ],
    "MetricsLedgerGap": [
        Case(
            "one contract of two is beyond its band, then inside again",
            {
                'mirador_reconciliation_excess{contract="credits_disbursed"}': "0x5 12x30 0x30",
                'mirador_reconciliation_excess{contract="payments"}': "0x70",
            },
            {10: 0, 30: 1, 50: 0},
        ),
        Case("too little is a gap, too", {'mirador_reconciliation_excess{contract="payments"}': "-3x40"}, {30: 1}),
    ],
}
# With no series at all only what is missing itself is told.
NOTHING = {"BackendDown": 1, "MiradorDown": 1, "Watchdog": 1}


def unit_tests(alert: str) -> dict[str, Any]:
    """promtool's test file for an alert, with the rules of its own file: all of them would cost seconds."""
    name = f'{{alertname="{alert}"}}'
    nothing = Case("no series at all", {"something_else": "1x60"}, {50: NOTHING.get(alert, 0)})
    return {
        "rule_files": [str(path) for path in RULES if f"alert: {alert}\n" in path.read_text()],
        # Days of promtool's time cost seconds of ours.
        "evaluation_interval": "2m" if max(m for case in CASES[alert] for m in case.firing) > 1000 else "1m",
        "tests": [
            {
                "name": case.title,
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": name, "value": number}] if number else [],
                    }
                    for minute, number in case.firing.items()
                ]
                + [
                    {
                        "expr": expression if ":" in expression.split("(")[0] else f"sum({expression})",
                        "eval_time": f"{minute}m",
                        "exp_samples": [
                            {"labels": expression if ":" in expression.split("(")[0] else "{}", "value": value}
                            for value in values
                        ],
                    }
                    for expression, found in case.more.items()
                    for minute, values in found.items()
                ],
            }
            for case in [*CASES[alert], nothing]
        ],
    }


@pytest.mark.parametrize("alert", sorted(CASES))
def test_an_alert_fires_stays_silent_and_resolves(alert: str, promtool: str, tmp_path: Path) -> None:
    path = tmp_path / f"{alert}.yml"
    path.write_text(yaml.safe_dump(unit_tests(alert), sort_keys=False))
    run(promtool, "test", "rules", str(path))


def test_every_alert_has_cases_that_fire_and_that_do_not() -> None:
    ours = {
        name for name in ALERTS if "slo" not in ALERTS[name]["labels"] and "sloth_slo" not in ALERTS[name]["labels"]
    }
    assert ours == set(CASES)
    for alert, cases in CASES.items():
        if alert == "Watchdog":
            continue
        assert any({0, 1} <= {min(n, 1) for n in case.firing.values()} for case in cases), alert
        # Not only because it had no time yet: it ends while its series go on.
        numbers = [list(case.firing.values()) for case in cases]
        assert any(after == 0 < before for found in numbers for before, after in itertools.pairwise(found)), alert


def test_the_words_of_an_alert_carry_its_value_and_links(promtool: str, tmp_path: Path) -> None:
    said = ALERTS["HighErrorRate"]["annotations"]
    url = "https://mirador.example"

    def filled(text: str) -> str:
        return text.replace("{{ $externalLabels.mirador_url }}", url).replace(
            "{{ $value | humanizePercentage }}", "20%"
        )

    test = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "external_labels": {"mirador_url": url},
                "input_series": [
                    {"series": OK, "values": "0+80x20"},
                    {"series": FAILED, "values": "0+20x20"},
                ],
                "alert_rule_test": [
                    {
                        "alertname": "HighErrorRate",
                        "eval_time": "15m",
                        "exp_alerts": [
                            {
                                "exp_labels": ALERTS["HighErrorRate"]["labels"],
                                "exp_annotations": {key: filled(text) for key, text in said.items()},
                            }
                        ],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "words.yml"
    path.write_text(yaml.safe_dump(test, sort_keys=False))
    run(promtool, "test", "rules", str(path))


# --- the configuration files ------------------------------------------------------------------------------------------


def made_here(folder: Path) -> Path:
    """prometheus.yml with every job, for this machine, so that promtool finds its secret and its rules."""
    (folder / "token").write_text("x" * 20)
    jobs = [job["job_name"] for job in yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]]
    text = prometheus_config(
        targets=dict.fromkeys(jobs, "127.0.0.1:1"),
        mirador_url="http://localhost:8501",
        token_file=folder / "token",
        alertmanager="127.0.0.1:2",
        blackbox="127.0.0.1:3",
        probes={"api": "http://127.0.0.1:4/health", "database": "127.0.0.1:5"},
    )
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


def test_prometheus_takes_its_configuration_and_all_rules(promtool: str, tmp_path: Path) -> None:
    run(promtool, "check", "config", "--syntax-only", str(MONITORING / "prometheus.yml"))
    said = run(promtool, "check", "config", str(made_here(tmp_path)))
    assert len(re.findall(r"SUCCESS: \d+ rules found", said)) == len(RULES)
    said = run(promtool, "check", "rules", "--lint-fatal", *map(str, RULES))
    assert sum(map(int, re.findall(r"(\d+) rules found", said))) == len(rules())


def test_the_seeds_jobs_and_the_seven_components_are_watched() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert {"conductores-backend", "postgres-exporter", "redis-exporter", "node-exporter", "mirador"} <= set(jobs)
    assert "credentials_file" in jobs["mirador"]["authorization"]
    asked = [one["labels"] for one in jobs["status-probes"]["static_configs"]]
    assert [one["component"] for one in asked] == [
        *("api", "database", "cache", "geotab", "conekta", "metamap", "neon"),
    ]
    modules = yaml.safe_load((MONITORING / "blackbox.yml").read_text())["modules"]
    assert {one["module"] for one in asked} <= set(modules)


@pytest.mark.parametrize(
    "name", ["prometheus.yml", "alertmanager.yml", "grafana/provisioning/datasources/prometheus.yml"]
)
def test_secrets_stand_in_files_of_their_own(name: str) -> None:
    text = (MONITORING / name).read_text()
    assert not re.search(
        r"^\s*-?\s*(password|credentials|routing_key|service_key|api_url|bearer_token|slack_api_url):", text, re.M
    )
    assert "hooks.slack.com" not in text


def test_alertmanager_takes_its_configuration_and_calls_whom_it_should(amtool: str, tmp_path: Path) -> None:
    run(amtool, "check-config", str(MONITORING / "alertmanager.yml"))

    def receivers(*labels: str) -> set[str]:
        config = f"--config.file={MONITORING / 'alertmanager.yml'}"
        done = subprocess.run(
            [amtool, "config", "routes", "test", config, *labels], capture_output=True, text=True, check=True
        )
        return set(done.stdout.strip().split(","))

    assert receivers("severity=critical") == {"mirador", "pagerduty-oncall", "slack-critical"}
    assert receivers("severity=warning") == {"mirador", "slack-warnings"}
    # The dead man's switch is heard by its own receiver, and calls nobody.
    assert receivers("alertname=Watchdog", "severity=none") == {"watchdog"}
    # What says no severity, or a new one, is seen, too.
    assert receivers("severity=odd") == receivers("alertname=x") == {"mirador", "slack-warnings"}


def test_the_seeds_routes_keep_critical_alerts_from_slack(amtool: str, tmp_path: Path) -> None:
    seed = {
        "route": {
            "receiver": "slack-critical",
            "routes": [
                {"match": {"severity": "critical"}, "receiver": "pagerduty-oncall", "continue": True},
                {"match": {"severity": "warning"}, "receiver": "slack-warnings"},
            ],
        },
        "receivers": [{"name": name} for name in ("slack-critical", "pagerduty-oncall", "slack-warnings")],
    }
    (tmp_path / "seed.yml").write_text(yaml.safe_dump(seed))
    config = f"--config.file={tmp_path / 'seed.yml'}"
    done = subprocess.run(
        [amtool, "config", "routes", "test", config, "severity=critical"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "pagerduty-oncall"


# --- Alertmanager at work ---------------------------------------------------------------------------------------------


def test_a_critical_alert_reaches_both_once_is_inhibited_by_its_cause_and_resolved(server_dir: Path) -> None:
    program = servers.find_alertmanager(server_dir / "packages")
    if program is None:
        pytest.skip("No Alertmanager on this machine")
    folder = server_dir / "alertmanager-routes"
    folder.mkdir()
    with Inbox() as inbox:
        text = alertmanager_config(
            mirador=f"{inbox.url}/slack/mirador", inbox=inbox.url, secrets=folder / "secrets", hook_token="t" * 20
        )
        config = yaml.safe_load(text)
        # A person waits ten seconds for the rest of a group; a test need not.
        config["route"] |= {"group_wait": "300ms", "group_interval": "1s"}
        for route in config["route"]["routes"]:
            route |= {"group_interval": "1s"} if route["receiver"] in {"mirador", "watchdog"} else {}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))

        def tell(**labels: str) -> dict[str, Any]:
            said = ALERTS.get(labels["alertname"], {"annotations": {}})["annotations"]
            return {
                "labels": labels,
                "annotations": {key: value.replace("{{", "").replace("}}", "") for key, value in said.items()},
                "startsAt": began.isoformat(),
            }

        def messages(to: str, words: str) -> list[dict[str, Any]]:
            return [one.body for one in list(inbox.messages) if one.to.startswith(to) and words in json.dumps(one.body)]

        def wait_for(ready: Callable[[], Any]) -> None:
            until = time.monotonic() + 15
            while not ready():
                assert time.monotonic() < until, inbox.text()
                time.sleep(0.1)

        began = datetime.now(UTC) - timedelta(seconds=30)
        with servers.Alertmanager(folder / "alertmanager.yml", folder / "data", program=program) as server:

            def post(*alerts: dict[str, Any]) -> None:
                answer = requests.post(f"{server.url}/api/v2/alerts", json=list(alerts), timeout=5)
                assert answer.ok, answer.text

            down = tell(alertname="BackendDown", severity="critical", owner="engineer", component="api")
            errors = tell(alertname="HighErrorRate", severity="critical", owner="engineer", needs="backend")
            late = tell(alertname="HighLatePayments", severity="warning", owner="analyst", needs="mirador")
            probe = tell(alertname="ComponentDown", severity="critical", owner="engineer", component="api")
            budget = {"alertname": "PaymentBudgetBurn", "sloth_id": "mirador-payment_success", "owner": "engineer"}
            burning = [
                tell(**budget, severity=severity, sloth_severity=kind)
                for severity, kind in (("critical", "page"), ("warning", "ticket"))
            ]
            other = tell(
                alertname="LatencyBudgetBurn", severity="warning", sloth_severity="ticket", sloth_id="mirador-latency"
            )
            post(down, errors, late, probe, *burning, other, tell(alertname="Watchdog", severity="none"))
            wait_for(
                lambda: messages("pagerduty", "BackendDown") and messages("slack/conductores-alerts", "BackendDown")
            )
            wait_for(lambda: messages("slack/conductores-warnings", "HighLatePayments"))
            wait_for(lambda: messages("slack/mirador", "BackendDown"))
            # Down is down: what is measured through the backend calls nobody.
            assert not messages("pagerduty", "HighErrorRate")
            assert not messages("slack/", "HighErrorRate")
            found = requests.get(f"{server.url}/api/v2/alerts", timeout=5).json()
            states = {
                (one["labels"]["alertname"], one["labels"].get("sloth_severity")): bool(one["status"]["inhibitedBy"])
                for one in found
            }
            assert states == {
                ("BackendDown", None): False,
                ("HighErrorRate", None): True,
                ("HighLatePayments", None): False,
                # The probe of the API tells the same once more; the page of a budget is enough, its ticket waits.
                ("ComponentDown", None): True,
                ("PaymentBudgetBurn", "page"): False,
                ("PaymentBudgetBurn", "ticket"): True,
                ("LatencyBudgetBurn", "ticket"): False,
                ("Watchdog", None): False,
            }
            wait_for(lambda: messages("slack/mirador/hooks/watchdog", "Watchdog"))
            assert not messages("slack/conductores", "Watchdog")
            assert not messages("pagerduty", "Watchdog")
            page = messages("pagerduty", "BackendDown")
            assert [one["event_action"] for one in page] == ["trigger"]
            assert page[0]["payload"]["severity"] == "critical"
            assert page[0]["routing_key"] == "0" * 32
            assert page[0]["links"][0]["href"].endswith("/runbooks?alert=BackendDown")
            slack = messages("slack/conductores-alerts", "BackendDown")
            assert len(slack) == 1
            assert slack[0]["channel"] == "#conductores-alerts"
            assert ALERTS["BackendDown"]["annotations"]["description_es"] in slack[0]["attachments"][0]["text"]
            assert not messages("pagerduty", "HighLatePayments")
            ended = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
            post({**down, "endsAt": ended}, {**late, "endsAt": ended})
            wait_for(lambda: len(messages("pagerduty", "BackendDown")) == 2)
            wait_for(lambda: len(messages("slack/conductores-alerts", "BackendDown")) == 2)
            assert messages("pagerduty", "BackendDown")[1]["event_action"] == "resolve"
            assert "Resuelto" in messages("slack/conductores-alerts", "BackendDown")[1]["attachments"][0]["text"]
            wait_for(lambda: any('"resolved"' in json.dumps(one) for one in messages("slack/mirador", "BackendDown")))


# --- runbooks ---------------------------------------------------------------------------------------------------------

SECTIONS = {
    "en": ["Symptoms", "Investigation", "Common causes", "Resolution", "Post-incident"],
    "es": ["Síntomas", "Investigación", "Causas comunes", "Resolución", "Después del incidente"],
}


def test_every_alert_has_a_runbook_in_both_languages_and_every_runbook_its_alert() -> None:
    from app.runbooks import runbooks

    assert set(runbooks("en")) == set(runbooks("es")) == set(ALERTS)


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_a_runbook_is_whole_and_its_panels_and_links_exist(alert: str) -> None:
    from app.runbooks import runbooks
    from queries import catalogue, find_query

    english, spanish = runbooks("en")[alert], runbooks("es")[alert]
    assert english.panels == spanish.panels
    assert english.panels
    assert english.rule is not None
    assert english.rule.alert == alert
    rooms = (ROOT / "app" / "streamlit_app.py").read_text()
    paths = {f"/{path}" for path in re.findall(r'\("(\w+)", _\(', rooms)} | {"/status"}
    for language, one in (("en", english), ("es", spanish)):
        assert re.findall(r"^## (.+)$", one.text, re.M) == SECTIONS[language]
        assert alert in one.text
        for link in re.findall(r"\]\((/[^)]*)\)", one.text):
            path, _, query = link.partition("?")
            assert path in paths, link
            assert not query or query.removeprefix("alert=") in ALERTS, link
    for live in english.panels:
        if live.source == "kpi":
            assert catalogue()[live.name].source == "ledger"
            continue
        query = find_query(live.source, live.name)
        given = {name for name, _ in live.params} | {"start", "day"}
        assert not {param.name for param in query.params if param.required} - given
        assert {name for name, _ in live.params} <= {param.name for param in query.params}


# --- Grafana ----------------------------------------------------------------------------------------------------------

DASHBOARDS = sorted((MONITORING / "grafana").glob("*.json"))
PANELS = {
    "api-health": ["Request Rate", "Error Rate", "Latency (p50, p95, p99)", "Database Query Duration"],
    "business-metrics": ["HASE Score Distribution", "Late Payments by Level", "Active Credits by Tier"],
    "integrations-health": ["API Call Rate by Integration", "Integration Error Rate", "Integration Latency"],
}


def filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$__interval", "1m")


@pytest.fixture(scope="module")
def few_series(prometheus_server: Callable[..., str]) -> Iterator[tuple[str, float]]:
    """A Prometheus with an hour of one or two series of each metric, from two replicas; its URL and the last moment."""
    end = int(time.time()) // 60 * 60 - 600
    times = range(end - 3600, end + 1, 60)
    lines: list[str] = []

    def series(name: str, kind: str, value: Callable[[int], float], *labels: str) -> None:
        for one in labels:
            for replica in ("a", "b"):
                where = ",".join(part for part in (one, f'instance="{replica}"') if part)
                lines.extend(f"{name}{{{where}}} {value(n)} {moment}" for n, moment in enumerate(times))

    def family(name: str, kind: str, value: Callable[[int], float], *labels: str) -> None:
        lines.append(f"# TYPE {name.removesuffix('_total')} {kind}")
        series(name, kind, value, *labels)

    def histogram(name: str, bounds: list[str], shares: list[float], labels: str = "") -> None:
        lines.append(f"# TYPE {name} histogram")
        comma = "," if labels else ""
        for bound, share in zip(bounds, shares, strict=True):
            series(f"{name}_bucket", "", lambda n, share=share: 60 * n * share, f'{labels}{comma}le="{bound}"')  # type: ignore[misc]
        series(f"{name}_count", "", lambda n: 60 * n, labels)
        series(f"{name}_sum", "", lambda n: 20 * n, labels)

    family(
        "http_requests_total",
        "counter",
        lambda n: 60 * n,
        *(f'method="GET",endpoint="/a",status="{s}"' for s in (200, 500)),
    )
    histogram(
        "http_request_duration_seconds",
        ["0.1", "0.3", "0.5", "1.0", "+Inf"],
        [0.5, 0.8, 0.9, 0.97, 1],
        'method="GET",endpoint="/a"',
    )
    histogram("db_query_duration_seconds", ["0.01", "0.1", "+Inf"], [0.5, 0.9, 1], 'table="credits",operation="select"')
    histogram(
        "integration_api_duration_seconds", ["0.5", "5.0", "+Inf"], [0.5, 0.9, 1], 'integration="geotab",endpoint="/x"'
    )
    bounds = ["0.0", "50.0", "60.0", "70.0", "75.0", "80.0", "85.0", "90.0", "95.0", "100.0", "+Inf"]
    histogram("hase_score_distribution", bounds, [0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 0.9, 0.95, 1, 1])
    family("db_connections_active", "gauge", lambda n: 5, "")
    family("db_connections_max", "gauge", lambda n: 10, "")
    statuses = ("success", "error", "timeout")
    family(
        "integration_api_calls_total",
        "counter",
        lambda n: 9 * n,
        *(f'integration="geotab",endpoint="/x",status="{s}"' for s in statuses),
    )
    family("applications_submitted_total", "counter", lambda n: 3 * n, "")
    family("applications_approved_total", "counter", lambda n: n, 'sinosure_tier="A"')
    family("applications_rejected_total", "counter", lambda n: n, 'reason="x"')
    family("credits_disbursed_amount_mxn_total", "counter", lambda n: 1000 * n, "")
    family("payments_late_count", "gauge", lambda n: 40, 'level="late_16_30_days"')
    family("credits_active_count", "gauge", lambda n: 100, 'sinosure_tier="A"', 'sinosure_tier="B"')
    family("mirador_kpi", "gauge", lambda n: 7, 'kpi="applications",dimension="all",segment="all"')
    return prometheus_server("\n".join(lines) + "\n# EOF\n"), end


def ask(few: tuple[str, float], expression: str) -> Any:
    answer = requests.get(
        f"{few[0]}/api/v1/query", params={"query": filled(expression), "time": str(few[1])}, timeout=10
    )
    return answer.json()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_expression_of_a_dashboard_answers(path: Path, few_series: tuple[str, float]) -> None:
    board = json.loads(path.read_text())
    assert board["schemaVersion"] >= 39
    assert board["uid"]
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert set(PANELS[path.stem]) <= {panel["title"] for panel in board["panels"]}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        # "graph" is gone since Grafana 11.
        assert panel["type"] in {"timeseries", "stat", "gauge", "bargauge", "heatmap", "piechart"}
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            answer = ask(few_series, target["expr"])
            assert answer["status"] == "success", (panel["title"], target["expr"], answer)
            assert answer["data"]["result"], (panel["title"], target["expr"])


def test_two_replicas_count_once_and_the_approval_rate_stays_below_one(few_series: tuple[str, float]) -> None:
    panels = {
        panel["title"]: [target["expr"] for target in panel["targets"]]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
    }

    def value(expression: str) -> float:
        return sum(float(one["value"][1]) for one in ask(few_series, expression)["data"]["result"])

    assert value(panels["Late Payments by Level"][0]) == 40
    assert value("sum(payments_late_count) by (level)") == 80  # as the seed has it
    assert value(panels["Active Credits by Tier"][0]) == 200
    assert value(panels["Approval Rate (24 h, decided)"][0]) == pytest.approx(0.5)
    # Scores per point of the scale, over the uneven bands, add up to the scores.
    widths = [50, 10, 10, 5, 5, 5, 5, 5, 5]
    counted = sum(value(expr) * width for expr, width in zip(panels["HASE Scores per Point"], widths, strict=True))
    assert counted == pytest.approx(value("sum(increase(hase_score_distribution_count[1h]))"), rel=0.01)


@pytest.mark.parametrize(
    "expression",
    [
        "histogram_quantile(0.95, rate(db_query_duration_seconds_bucket[5m])) by (table)",
        "histogram_quantile(0.95, rate(integration_api_duration_seconds_bucket[5m])) by (integration)",
    ],
)
def test_the_seeds_expression_does_not_parse(expression: str, few_series: tuple[str, float]) -> None:
    assert ask(few_series, expression)["status"] == "error"


# --- what the rules read exists ---------------------------------------------------------------------------------------


def test_every_metric_of_mirador_that_a_rule_reads_is_one_that_mirador_exports(ledger_url: LedgerUrl) -> None:
    """The seed's db_connections_max was read by an alert and exported by nobody."""
    from app import rollups, telemetry
    from app.board import Board

    queries.connect(queries.Sources(ledger_url=ledger_url.reader))
    try:
        families = [*Board().collect(), *telemetry.SourceCollector().collect(), *rollups.RollupCollector().collect()]
    finally:
        queries.disconnect()
    exported = {family.name for family in families}
    # Told by reconciliation and by the objectives that are read from the ledger, in collectors of their own.
    exported |= {"mirador_reconciliation_excess", "mirador_slo_events", "mirador_watchdog_heard_timestamp_seconds"}
    read = set(re.findall(r"\b(mirador_\w+)", " ".join(rule["expr"] for rule in rules())))
    assert read <= exported, read - exported


def test_a_business_day_is_no_weekend_and_no_holiday() -> None:
    from queries.calendar import is_working_day

    days = {"2026-11-16": False, "2026-11-17": True, "2026-11-21": False, "2026-11-22": False, "2026-12-25": False}
    assert {day: is_working_day(date.fromisoformat(day)) for day in days} == days


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_source() -> Iterator[None]:
    queries.connect(queries.Sources())
    yield
    queries.disconnect()
    components.set_default_language(None)


def page(language: str, **asked: str) -> AppTest:
    components.set_default_language(language)
    app = AppTest.from_file(str(ROOT / "pages" / "runbooks.py"), default_timeout=30)
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception
    return app


def words(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.title, *app.subheader, *app.markdown, *app.caption, *app.warning])


def titles(app: AppTest) -> list[str]:
    return [button.label for button in app.button if str(button.key).startswith("open-")]


def test_the_list_has_all_runbooks_and_finds_words_without_accents(no_source: None) -> None:
    assert len(titles(page("en"))) == len(titles(page("es"))) == len(ALERTS)
    assert titles(page("es", q="DISPERSION banco neon")) == []
    found = titles(page("es", q="NINGUNA dispersion de hoy"))
    assert found == ["Hoy no hay dispersiones"]
    app = page("en", q="no such words at all")
    assert "No runbook holds these words." in [one.value for one in app.info]
    opened = page("en")
    next(button for button in opened.button if button.key == "open-HighErrorRate").click().run()
    assert opened.query_params["alert"] in ("HighErrorRate", ["HighErrorRate"])
    assert opened.title[0].value == "High error rate"


def test_a_runbook_is_read_in_the_viewers_language_without_any_source(no_source: None) -> None:
    spanish, english = words(page("es", alert="HighErrorRate")), words(page("en", alert="HighErrorRate"))
    assert "## Investigación" in spanish
    assert "activa el circuit breaker" in spanish
    assert "Peticiones fallidas por endpoint" in spanish
    assert "enable the circuit breaker" in english
    assert "MIRADOR_PROMETHEUS_URL" in english
    assert "There is no runbook for" in words(page("en", alert="Nonsense"))


def test_a_runbook_says_that_its_alert_fires_at_this_moment(prometheus_server: Callable[..., str]) -> None:
    """The points of six hours stand minutes apart: an alert that began a minute ago lies on none of them."""
    rule = {"alert": "BackendDown", "expr": "vector(1)", "labels": {"severity": "critical"}}
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yml"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [rule]}]}))
        config["rule_files"] = [str(path)]
        url = prometheus_server(config=yaml.safe_dump(config))
        until = time.monotonic() + 10
        while not ask((url, time.time()), 'ALERTS{alertstate="firing"}')["data"]["result"]:
            assert time.monotonic() < until
            time.sleep(0.2)
    queries.connect(queries.Sources(prometheus=queries.Prometheus(url=url)))
    try:
        assert "Firing now" in words(page("en", alert="BackendDown"))
        assert "Not active now" in words(page("en", alert="HighLatency"))
    finally:
        queries.disconnect()
        components.set_default_language(None)


@pytest.mark.parametrize("language", ["es", "en"])
def test_live_panels_answer_on_real_series(language: str, few_series: tuple[str, float]) -> None:
    queries.connect(queries.Sources(prometheus=queries.Prometheus(url=few_series[0])))
    try:
        for alert in ("HighErrorRate", "HighLatency", "IntegrationAPIDown"):
            app = page(language, alert=alert)
            assert len(app.get("vega_lite_chart")) >= 3, words(app)
    finally:
        queries.disconnect()
        components.set_default_language(None)
