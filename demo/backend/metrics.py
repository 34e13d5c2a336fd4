"""Every metric of the backend, defined once: the specification's names and labels, with what was mended.

Mended: 0.2 and 0.3 s among the bounds of the HTTP histogram (an objective of 300 ms can be read off),
`db_connections_max`, the tier on `credits_active_count`, and bounds for the integrations that reach their time-outs.
`endpoint` is always a route template, never a raw path. The backfilled history writes the same series.
"""

import time
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from demo import company

disable_created_metrics()

# Own registry: what the company exports, without the Python process's own series, which the history does not have;
# but for its start, by which a restart is known though no counter had moved.
REGISTRY = CollectorRegistry()
Gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", registry=REGISTRY).set(
    time.time()
)

HTTP_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
DB_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0)
INTEGRATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HASE_BUCKETS = (0, 50, 60, 70, 75, 80, 85, 90, 95, 100)

http_requests_total = Counter(
    "http_requests_total", "Total HTTP requests", ["method", "endpoint", "status"], registry=REGISTRY
)
http_request_duration_seconds = Histogram(
    "http_request_duration_seconds",
    "HTTP request latency",
    ["method", "endpoint"],
    buckets=HTTP_BUCKETS,
    registry=REGISTRY,
)

db_query_duration_seconds = Histogram(
    "db_query_duration_seconds",
    "Database query latency",
    ["table", "operation"],
    buckets=DB_BUCKETS,
    registry=REGISTRY,
)
db_connections_active = Gauge("db_connections_active", "Active database connections", registry=REGISTRY)
db_connections_max = Gauge("db_connections_max", "Most database connections that the pool may open", registry=REGISTRY)

redis_commands_total = Counter("redis_commands_total", "Total Redis commands", ["command", "status"], registry=REGISTRY)

integration_api_calls_total = Counter(
    "integration_api_calls_total", "External API calls", ["integration", "endpoint", "status"], registry=REGISTRY
)
integration_api_duration_seconds = Histogram(
    "integration_api_duration_seconds",
    "External API latency",
    ["integration", "endpoint"],
    buckets=INTEGRATION_BUCKETS,
    registry=REGISTRY,
)

applications_submitted_total = Counter(
    "applications_submitted_total", "Total applications submitted", registry=REGISTRY
)
applications_approved_total = Counter(
    "applications_approved_total", "Total applications approved", ["sinosure_tier"], registry=REGISTRY
)
applications_rejected_total = Counter(
    "applications_rejected_total", "Total applications rejected", ["reason"], registry=REGISTRY
)

credits_disbursed_total = Counter("credits_disbursed_total", "Total credits disbursed", registry=REGISTRY)
credits_disbursed_amount_mxn = Counter(
    "credits_disbursed_amount_mxn", "Total amount disbursed (MXN)", registry=REGISTRY
)
credits_active_count = Gauge("credits_active_count", "Active credits count", ["sinosure_tier"], registry=REGISTRY)

payments_processed_total = Counter(
    "payments_processed_total", "Total payments processed", ["status", "method"], registry=REGISTRY
)
payments_late_count = Gauge("payments_late_count", "Late payments count", ["level"], registry=REGISTRY)

hase_scores_calculated_total = Counter("hase_scores_calculated_total", "HASE scores calculated", registry=REGISTRY)
hase_score_distribution = Histogram(
    "hase_score_distribution", "HASE score distribution", buckets=HASE_BUCKETS, registry=REGISTRY
)

# A series that begins with its first event hides that event from increase(): what is known begins at zero.
for _tier in company.TIERS:
    applications_approved_total.labels(_tier)
for _reason in company.REASONS:
    applications_rejected_total.labels(_reason)
for _status, _method in product(("succeeded", "failed"), company.METHODS):
    payments_processed_total.labels(_status, _method)
for _spec in company.ENDPOINTS:
    integration_api_duration_seconds.labels(_spec.integration, _spec.endpoint)
    for _status in ("success", "error", "timeout"):
        integration_api_calls_total.labels(_spec.integration, _spec.endpoint, _status)
