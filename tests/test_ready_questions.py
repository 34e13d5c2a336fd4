"""The PromQL that is no named query, on a real Prometheus and on VictoriaMetrics, against plain Python: the ready
questions of the metrics explorer, the panels of monitoring/grafana, the rules over the backend's counters and the sums
of the objectives.

As in `test_promql.py` the answers never look at the PromQL. They are asked in four stories of `tests.known_series`:
rough (restarts, a gap), steady (where both engines must agree), worse (an incident, for the rules of alerts) and absent
(nobody scraped). A question without an answer in `ANSWERS` fails the first test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import yaml

from demo.watch import MONITORING
from queries import explorer, slos
from queries.metrics_client import MetricsClient
from queries.promql_client import PromqlClient
from queries.slo_file import SECONDS
from tests.known_series import DAY, HOUR, SCRAPE, ZONE, Labels, day, moment
from tests.promql_reference import (
    BEFORE,
    Answer,
    At,
    Keep,
    Rows,
    Vector,
    answered,
    by,
    counted,
    counted_per_second,
    quantile,
    rows,
    share,
    tagged,
)

# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question with its text; `kind` as in the explorer. An alarm has numbers only while something is wrong."""

    text: str
    kind: explorer.Kind
    alarm: bool = False


def questions() -> dict[str, Asked]:
    """The ready questions by name, the panels of Grafana that ask something else, by title and place, and the rules."""
    found = {
        name: Asked(ready.text, ready.kind, alarm=name.startswith("alert_"))
        for name, ready in explorer.ready_questions().items()
    }
    same = {("".join(one.text.split()), one.kind) for one in found.values()}
    for path in sorted((MONITORING / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for place, target in enumerate(panel.get("targets", ())):
                one = Asked(target["expr"], "instant" if target.get("instant") else "range")
                if ("".join(one.text.split()), one.kind) not in same:
                    assert found.setdefault(f"{panel['title']} {place + 1}", one) == one, "two panels of one title"
    for file in RULES:
        rules = [rule for group in _groups(file) for rule in group["rules"]]
        records = {_name(rule): rule["expr"] for rule in rules if "record" in rule}
        for rule in rules:
            if not ELSEWHERE.fullmatch(_name(rule)):
                one = Asked(_inlined(rule["expr"], records), "range", alarm="alert" in rule)
                assert found.setdefault(_name(rule), one) == one, "two rules of one name"
    return found


RULES = ("api", "integrations", "slos")
# Rules that `test_monitoring.py` and `test_slos.py` try in promtool, which is Prometheus itself. They read whether a
# target is up or what Mirador counted (as all in business.yml and data.yml do), or are made of the sums that are tried
# here. Three days and more reach to before the stories; the objectives' own sums over them are tried below.
ELSEWHERE = re.compile(
    r"(BackendDown|NoTraffic|MetricMissing|TargetDown|ComponentDown|AvailabilityBudgetBurn|LatencyBudgetBurn"
    r"|SLOWithoutData|sloth_slo_info|slo:(?!sli_e)[\w:]+|slo:sli_error:(weighted|low)_ratio\w+|slo:sli_\w+:\w+(3d|30d))"
    r"( (availability|latency))?"
    r"|.* (disbursement_48h|payment_success)"
)


def _groups(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((MONITORING / "rules" / f"{file}.yml").read_text())["groups"]
    return found


def _name(rule: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [rule.get("record") or rule["alert"], rule.get("labels", {}).get("sloth_slo")]))


def _inlined(text: str, records: Mapping[str, str]) -> str:
    """The expression with the recorded series that it reads as the expressions that recorded them."""

    def made(match: re.Match[str]) -> str:
        slo = match["slo"]
        return f"({_inlined(records[match['name'] + (f' {slo}' if slo else '')], records)})"

    return re.sub(r'(?P<name>\b[a-z]\w*:[\w:]+)(\{sloth_id="mirador-(?P<slo>\w+)"\})?', made, text)


QUESTIONS = questions()
# Begin and length in hours from BASE: of most questions, and of those over 24 hours, which the story has before it.
STORIES = {
    "rough": ((8.5, 6.0), (33.0, 6.0)),
    "steady": ((4 * 24 + 8.5, 6.0), (4 * 24 + 22.5, 2.5)),
    "worse": ((7 * 24 + 1.5, 8.0), (7 * 24 + 1.5, 8.0)),
    "absent": ((3 * 24 + 8.5, 6.0), (3 * 24 + 8.5, 6.0)),
}


def span(asked: Asked, story: str) -> explorer.Question:
    begin, length = STORIES[story]["[24h]" in asked.text or "[1d]" in asked.text]
    start, end = moment(begin * HOUR), moment((begin + length) * HOUR)
    return explorer.question(asked.text, asked.kind, start, end, SCRAPE, scrape_interval=SCRAPE)


# --- what is answered -------------------------------------------------------------------------------------------------


HTTP, HTTP_BUCKETS = "http_requests_total", "http_request_duration_seconds_bucket"


def _failed(labels: Labels) -> bool:
    return labels["status"] in {"500", "502", "503", "504"}


def _no_success(labels: Labels) -> bool:
    return labels["status"] != "success"


def _is(label: str, *values: str) -> Keep:
    return lambda labels: labels.get(label) in values


def _over(limit: float, vector: Vector) -> Vector:
    return {key: value for key, value in vector.items() if value > limit}


def _rate(name: str, *labels: str) -> Answer:
    return lambda at, _: by(at.rate(name), *labels)


def _day(name: str) -> Answer:
    return lambda at, _: by(at.increase(name, over=DAY))


def _quantile(q: float, name: str, *labels: str) -> Answer:
    return lambda at, _: quantile(q, by(at.rate(name), "le", *labels))


def _busy(at: At) -> bool:
    """Whether more than one request in five seconds came in the last five minutes."""
    return by(at.rate("http_requests_total", over=300)).get(frozenset(), 0.0) > 0.2


def _error_rate(at: At, _: Mapping[str, Any]) -> Vector:
    return share(by(at.rate("http_requests_total", _failed)), by(at.rate("http_requests_total")))


def _errors_alarm(at: At, _: Mapping[str, Any]) -> Vector:
    name = "http_requests_total"
    found = share(by(at.rate(name, _failed, over=300)), by(at.rate(name, over=300)))
    return _over(0.05, found) if _busy(at) else {}


def _slow_alarm(at: At, _: Mapping[str, Any]) -> Vector:
    found = quantile(0.95, by(at.rate("http_request_duration_seconds_bucket", over=300), "le"))
    return _over(1, found) if _busy(at) else {}


def _approved(at: At, over: int) -> Vector:
    """Of what was decided, however little of it was approved."""
    approved, rejected = (
        by(at.increase(f"applications_{what}_total", over=over)).get(frozenset(), 0.0)
        for what in ("approved", "rejected")
    )
    return share({frozenset(): approved}, {frozenset(): approved + rejected})


def _disbursed(at: At, _: Mapping[str, Any]) -> Vector:
    name = "credits_disbursed_amount_mxn"
    return by(at.increase(f"{name}_total", over=DAY)) or by(at.increase(name, over=DAY))


def _no_disbursement(at: At, _: Mapping[str, Any]) -> Vector:
    name = "credits_disbursed_total"
    if by(at.increase(name, over=DAY)) == {frozenset(): 0.0}:
        return {frozenset(): 0.0}
    return {} if at.last(name) else {frozenset(): 1.0}


def _of_one_replica(vector: Vector) -> Vector:
    labels = {label for key in vector for label, _ in key} - {"instance", "pod"}
    return by(vector, *labels, fold=max)


def _greatest(name: str, *labels: str, keep: Keep | None = None) -> Answer:
    return lambda at, _: by(_of_one_replica(at.last(name, keep)), *labels)


def _connections(at: At, _: Mapping[str, Any]) -> Vector:
    return share(at.last("db_connections_active"), at.last("db_connections_max"))


def _connections_alarm(at: At, _: Mapping[str, Any]) -> Vector:
    return _over(0.9, by(_connections(at, _), "job", "instance", "pool", fold=max))


def _integration_errors(over: int | None = None) -> Answer:
    def answer(at: At, _: Mapping[str, Any]) -> Vector:
        name = "integration_api_calls_total"
        failed = by(at.rate(name, _no_success, over=over), "integration")
        return share(failed, by(at.rate(name, over=over), "integration"))

    return answer


def _integrations_alarm(at: At, _: Mapping[str, Any]) -> Vector:
    name = "integration_api_calls_total"
    failed = by(at.increase(name, _no_success, over=600), "integration")
    called = by(at.increase(name, over=600), "integration")
    return _over(0.5, share(failed, {key: value for key, value in called.items() if value >= 10}))


def _scores(at: At, params: Mapping[str, Any]) -> Vector:
    return by(at.increase("hase_score_distribution_bucket", over=params["length"]), "le")


def _per_point(low: float, high: float) -> Answer:
    """Scores of a band over its width; a band of which a bound is not measured has none."""

    def answer(at: At, params: Mapping[str, Any]) -> Vector:
        upto = {float(dict(key)["le"]): value for key, value in _scores(at, params).items()}
        if not {low, high} <= upto.keys():
            return {}
        return {frozenset(): max(upto[high] - upto[low], 0.0) / (high - low)}

    return answer


def _within(le: str) -> Answer:
    name = "http_request_duration_seconds"

    def answer(at: At, _: Mapping[str, Any]) -> Vector:
        inside = by(at.rate(f"{name}_bucket", _is("le", le)))
        return share(inside, by(at.rate(f"{name}_count"))) if inside else {}

    return answer


def _calls(over: int) -> Answer:
    return lambda at, _: by(at.increase("integration_api_calls_total", over=over), "integration")


def _enough(at: At, over: int, least: float) -> Vector:
    return {key: value for key, value in _calls(over)(at, {}).items() if value >= least}


def _failures(at: At, _: Mapping[str, Any]) -> Vector:
    """Of ten minutes where they hold ten calls, else of two hours with five."""
    found: Vector = {}
    for over, least in ((7200, 5), (600, 10)):
        failed = by(at.increase("integration_api_calls_total", _no_success, over=over), "integration")
        found |= share(failed, _enough(at, over, least))
    return found


def _durations(at: At, _: Mapping[str, Any]) -> Vector:
    found: Vector = {}
    for over, least in ((7200, 20), (600, 10)):
        enough = _enough(at, over, least)
        slow = quantile(0.95, by(at.rate("integration_api_duration_seconds_bucket", over=over), "le", "integration"))
        found |= {key: value for key, value in slow.items() if key in enough}
    return found


def _events(at: At, slo: str, over: float, *labels: str) -> Vector:
    """Bad and all events: requests with a 5xx, or those that took longer than 300 ms, if that bound is measured."""
    if slo == "availability":
        total = by(at.increase(HTTP, over=over), *labels)
        failed = by(at.increase(HTTP, _failed, over=over), *labels)
        bad = {key: failed.get(key, 0.0) for key in total}
    else:
        total = by(at.increase("http_request_duration_seconds_count", over=over), *labels)
        good = by(at.increase(HTTP_BUCKETS, _is("le", "0.3"), over=over), *labels)
        bad = {key: max(total[key] - good[key], 0.0) for key in total.keys() & good.keys()}
    return tagged("state", "bad", bad) | tagged("state", "total", total)


def _part(slo: str, state: str, over: int) -> Answer:
    """Bad or all events of an objective, or their ratio."""

    def answer(at: At, _: Mapping[str, Any]) -> Vector:
        told = {dict(key)["state"]: {frozenset(): value} for key, value in _events(at, slo, over).items()}
        if state != "ratio":
            return told.get(state, {})
        return share(told["bad"], told["total"]) if "bad" in told else {}

    return answer


LATE = "payments_late_count"
BANDS = (0, 50, 60, 70, 75, 80, 85, 90, 95, 100)
# How VictoriaMetrics differs, as in `test_victoriametrics.py`.
COUNTS: dict[str, Any] = {"grown": counted}
RATES: dict[str, Any] = {"paced": counted_per_second}
FORGETS: dict[str, Any] = {"lookback": BEFORE}

ANSWERS: dict[str, tuple[Answer, dict[str, Any]]] = {
    "request_rate": (_rate(HTTP, "method", "endpoint"), RATES),
    "error_rate": (_error_rate, RATES),
    "latency_p50": (_quantile(0.5, HTTP_BUCKETS), RATES),
    "latency_p95": (_quantile(0.95, HTTP_BUCKETS), RATES),
    "latency_p99": (_quantile(0.99, HTTP_BUCKETS), RATES),
    "database_p95": (_quantile(0.95, "db_query_duration_seconds_bucket", "table"), RATES),
    "applications_24h": (_day("applications_submitted_total"), COUNTS),
    "approval_rate_24h": (lambda at, _: _approved(at, DAY), COUNTS),
    "disbursed_mxn_24h": (_disbursed, COUNTS),
    "hase_scores_up_to": (_scores, COUNTS),
    "late_payments": (_greatest(LATE, "level"), FORGETS),
    "active_credits": (_greatest("credits_active_count", "sinosure_tier"), FORGETS),
    "integration_call_rate": (_rate("integration_api_calls_total", "integration"), RATES),
    "integration_error_rate": (_integration_errors(), RATES),
    "integration_p95": (_quantile(0.95, "integration_api_duration_seconds_bucket", "integration"), RATES),
    "alert_error_rate": (_errors_alarm, RATES),
    "alert_latency": (_slow_alarm, RATES),
    "alert_connections": (_connections_alarm, FORGETS),
    "alert_approval_rate": (lambda at, _: {k: v for k, v in _approved(at, HOUR).items() if v < 0.3}, COUNTS),
    "alert_late_payments": (
        lambda at, _: _over(50, _greatest(LATE, keep=_is("level", "late_16_30_days"))(at, _)),
        FORGETS,
    ),
    "alert_integrations": (_integrations_alarm, COUNTS),
    "alert_no_disbursements": (_no_disbursement, COUNTS | FORGETS),
    # Grafana
    "Requests within 300 ms 1": (_within("0.3"), RATES),
    "Requests within 300 ms 2": (_within("0.1"), RATES),
    "Requests within 300 ms 3": (_within("0.5"), RATES),
    "Database Connections in Use 1": (_connections, FORGETS),
    "Applications (24 h, about) 1": (_day("applications_submitted_total"), COUNTS),
    "Approval Rate (24 h, decided) 1": (lambda at, _: _approved(at, DAY), COUNTS),
    "Credits Disbursed (24 h, about) 1": (_disbursed, COUNTS),
    "Applications Today (exact) 1": (
        lambda at, _: by(
            at.last("mirador_kpi", lambda of: of["kpi"] == "applications" and of["dimension"] == "all"), fold=max
        ),
        {},
    ),
    "HASE Score Distribution 1": (lambda at, _: by(at.increase("hase_score_distribution_bucket"), "le"), COUNTS),
    **{
        f"HASE Scores per Point {place + 1}": (_per_point(low, high), COUNTS)
        for place, (low, high) in enumerate(pairwise(BANDS))
    },
    "Active Credits by Tier 1": (_greatest("credits_active_count", "sinosure_tier"), {}),
    "Integration Error Rate 1": (_integration_errors(900), RATES),
    # Rules
    "api:http_requests:rate5m": (lambda at, _: by(at.rate(HTTP, over=300)), RATES),
    "api:http_errors:ratio_rate5m": (
        lambda at, _: share(by(at.rate(HTTP, _failed, over=300)), by(at.rate(HTTP, over=300))),
        RATES,
    ),
    "api:http_request_duration_seconds:p95_5m": (
        lambda at, _: quantile(0.95, by(at.rate(HTTP_BUCKETS, over=300), "le")),
        RATES,
    ),
    "instance:db_connections:used_ratio": (_connections, FORGETS),
    "HighErrorRate": (_errors_alarm, RATES),
    "HighLatency": (_slow_alarm, RATES),
    "DatabaseConnectionPoolExhausted": (_connections_alarm, FORGETS),
    "integration:api_calls:increase10m": (_calls(600), COUNTS),
    "integration:api_calls:increase2h": (_calls(7200), COUNTS),
    "integration:api_failures:ratio": (_failures, COUNTS),
    "integration:api_duration_seconds:p95": (_durations, COUNTS | RATES),
    "IntegrationAPIDown": (lambda at, _: _over(0.5, _failures(at, _)), COUNTS),
    "IntegrationSlow": (lambda at, _: _over(10, _durations(at, _)), COUNTS | RATES),
    **{
        f"slo:{record}{window} {slo}": (_part(slo, state, seconds), COUNTS)
        for slo in ("availability", "latency")
        for window, seconds in SECONDS.items()
        if window != "3d"
        for record, state in (
            ("sli_events:bad_increase", "bad"),
            ("sli_events:total_increase", "total"),
            ("sli_error:ratio_rate", "ratio"),
        )
    },
}


def wanted(name: str, one: explorer.Question, **engine: Any) -> Rows:
    """The rows of the answer by the samples, by their moment and labels."""
    answer, _ = ANSWERS[name]
    end = one.end.timestamp()
    params = {"length": (one.end - one.start).total_seconds()}
    first = end if one.kind == "instant" else one.start.timestamp()
    found: Rows = {}
    for step in range(int(end - first) // SCRAPE + 1):
        at = first + step * SCRAPE
        found |= {(at, key): value for key, value in answer(At(at, 4 * SCRAPE, end, **engine), params).items()}
    return found


# --- both engines -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["known_prometheus", "victoria_metrics"])
def server(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[PromqlClient]:
    made = PromqlClient(server, zone=ZONE, connections=2, query_timeout=20, connect_timeout=2)
    yield made
    made.close()


@pytest.fixture
def is_victoria(request: pytest.FixtureRequest, server: str) -> bool:
    return bool(request.node.callspec.params["server"] == "victoria_metrics")


def found(client: PromqlClient, one: explorer.Question) -> Rows:
    text = explorer.filled(one, SCRAPE)
    if one.kind == "instant":
        frame = client.query(text, one.end)
    else:
        frame = client.query_range(text, one.start.timestamp(), one.end.timestamp(), one.step)
    assert not frame.attrs["warnings"]
    return rows(frame)


@cache
def wanted_of(name: str, story: str, victoria: bool) -> Rows:
    _, differs = ANSWERS[name]
    # Counts of five minutes hold two scrapes or three, where Prometheus tells of two and a half.
    same = story not in {"rough", "worse"} and not re.search(r"increase\([^[]*\[5m\]", QUESTIONS[name].text)
    return wanted(name, span(QUESTIONS[name], story), **({} if same or not victoria else differs))


def test_every_ready_question_panel_and_rule_has_an_answer_by_the_samples():
    assert QUESTIONS.keys() == ANSWERS.keys()
    files = {path.stem for path in (MONITORING / "rules").glob("*.yml")}
    assert files == {*RULES, "business", "data"}, "a new file of rules is asked here, or tried in promtool"


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_question_answers_what_the_samples_say(client: PromqlClient, is_victoria: bool, name: str):
    for story in STORIES:
        told, seen = wanted_of(name, story, is_victoria), found(client, span(QUESTIONS[name], story))
        assert seen.keys() == told.keys(), story
        assert seen == pytest.approx(told, rel=1e-9, abs=1e-9), story
        if QUESTIONS[name].text.startswith("sort("):
            assert list(seen.values()) == sorted(seen.values())


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_each_question_has_something_to_be_wrong_about(name: str):
    """It has numbers in the rough and in the steady story, and none where nobody scraped; an alert comes and goes."""
    told = {story: wanted_of(name, story, False) for story in STORIES}
    if QUESTIONS[name].alarm:
        series = {key for _, key in told["worse"]}
        assert 0 < len(told["worse"]) < (8 * HOUR // SCRAPE + 1) * len(series)
    else:
        assert told["rough"]
        assert told["steady"]
    # That nothing is measured is what this one tells.
    assert bool(told["absent"]) == (name == "alert_no_disbursements")


def test_rejections_alone_are_an_approval_rate_of_zero_that_alarms():
    """By hand: from 2:00 to 3:00 of the worse story nobody was approved, and no series of approvals was there."""
    for name in ("approval_rate_24h", "alert_approval_rate"):
        assert wanted_of(name, "worse", False)[moment((7 * 24 + 2.5) * HOUR).timestamp(), frozenset()] == 0


# --- the sums of the objectives ---------------------------------------------------------------------------------------


def _objective(slo: str, part: str) -> Answer:
    def answer(at: At, _: Mapping[str, Any]) -> Vector:
        if part == "recent":
            found: Vector = {}
            for window, seconds in SECONDS.items():
                found |= tagged("window", window, _events(at, slo, seconds))
            return found
        return _events(at, slo, HOUR) if part == "hours" else _events(at, slo, at.window, "endpoint")

    return answer


# The last of each are moments at which nobody scraped. No three days reach to before the rough story: counters that are
# not seen from their beginning are guessed at differently.
ASKED_OF_OBJECTIVES: dict[str, list[dict[str, Any]]] = {
    "recent": [{"time": moment(hour * HOUR)} for hour in (7 * 24 + 9.5, 3 * 24 + 9.5, -3)],
    "hours": [
        {"start": moment((number * 24 + 8.5) * HOUR), "end": moment((number * 24 + 21.5) * HOUR), "step": 3600}
        for number in (0, 4, 3)
    ],
    "days": [
        {"days": days, "day": days[-1], "as_of": moment(seconds)}
        for days, seconds in (((day(0), day(1)), 2 * DAY + HOUR), ((day(4),), 5 * DAY), ((day(3),), 4 * DAY - 3 * HOUR))
    ],
    "today": [
        {"days": (day(number),), "day": day(number), "as_of": moment((number * 24 + 15.3) * HOUR)}
        for number in (0, 4, 3)
    ],
}


def test_every_objective_by_promql_is_asked():
    assert {name for name, slo in slos.slos().items() if slo.sli.promql is not None} == {"availability", "latency"}


@pytest.mark.parametrize("part", ASKED_OF_OBJECTIVES)
@pytest.mark.parametrize("slo", ["availability", "latency"])
def test_the_sums_of_an_objective_are_what_the_samples_say(server: str, is_victoria: bool, slo: str, part: str):
    client = MetricsClient(
        server, zone=ZONE, scrape_interval=SCRAPE, connections=2, query_timeout=20, connect_timeout=2
    )
    query = slos._query(slo, part)
    for params in ASKED_OF_OBJECTIVES[part]:
        frame, _, warnings = client.run(query, params)
        told = answered(query, _objective(slo, part), params, **(COUNTS if is_victoria else {}))
        seen = rows(frame)
        assert seen.keys() == told.keys(), params
        assert seen == pytest.approx(told, rel=1e-9, abs=1e-9), params
        assert not warnings
        assert bool(told) == (params is not ASKED_OF_OBJECTIVES[part][-1])
    client.close()
