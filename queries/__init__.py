"""The questions: named queries to the ledger (SQL) and the metrics (PromQL), and the few clients that ask them.

    connect(Sources(ledger_url=..., prometheus=Prometheus(url=...)))
    frame = ledger("today/decisions", {"day": day, "days": days})
    frame.attrs["answer"].as_of

A question is a file below `queries/ledger` or `queries/metrics`; nothing here knows a screen, and no text of a viewer
ever becomes a query.
"""

from queries.calendar import business_day, normal_days
from queries.contracts import Contract, contracts
from queries.errors import SourceError
from queries.events import events
from queries.kpis import Kpi, Movement, Reading, catalogue, intraday, read_all, reading, what_moved
from queries.library import Column, Param, Query, find_query, load_queries
from queries.outside import OUTSIDE, Outside, OutsideSource
from queries.reconcile import Result, daily_differences, reconcile, reconcile_all
from queries.reconcile_model import Finding
from queries.rollups import RollupStates
from queries.rows import count_rows, page_of, rows, stream_rows
from queries.scrub import mask, mask_all
from queries.sources import (
    Answer,
    Prometheus,
    Sources,
    answer_of,
    connect,
    counts,
    disconnect,
    forget,
    is_configured,
    ledger,
    metrics,
    outside,
    outside_client,
    probe,
    rollup_states,
    source_states,
    state,
    timezone,
)

__all__ = [
    "OUTSIDE",
    "Answer",
    "Column",
    "Contract",
    "Finding",
    "Kpi",
    "Movement",
    "Outside",
    "OutsideSource",
    "Param",
    "Prometheus",
    "Query",
    "Reading",
    "Result",
    "RollupStates",
    "SourceError",
    "Sources",
    "answer_of",
    "business_day",
    "catalogue",
    "connect",
    "contracts",
    "count_rows",
    "counts",
    "daily_differences",
    "disconnect",
    "events",
    "find_query",
    "forget",
    "intraday",
    "is_configured",
    "ledger",
    "load_queries",
    "mask",
    "mask_all",
    "metrics",
    "normal_days",
    "outside",
    "outside_client",
    "page_of",
    "probe",
    "read_all",
    "reading",
    "reconcile",
    "reconcile_all",
    "rollup_states",
    "rows",
    "source_states",
    "state",
    "stream_rows",
    "timezone",
    "what_moved",
]
