"""Each event of the company, recorded in one place: the ledger row is committed, then the metric moves.

So the two agree: a row that could not be committed never counts, and what counts stands in the ledger.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from sqlalchemy import Connection, Row, create_engine, text

from demo.backend import metrics, telemetry

ZERO = Decimal("0.00")
LATE_LEVELS = (
    (7, "late_1_7_days"),
    (15, "late_8_15_days"),
    (30, "late_16_30_days"),
    (60, "late_31_60_days"),
    (90, "late_61_90_days"),
    (None, "late_90_plus_days"),
)


@dataclass(frozen=True)
class Installment:
    """One line of a payment plan."""

    sequence: int
    due_date: date
    amount_due: Decimal


class Ledger:
    """The company's own database, through a pool of `connections`. Methods may be called from several threads."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self._engine = create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30000"},
        )
        metrics.db_connections_max.set(connections)
        metrics.db_connections_active.set_function(lambda: self._engine.pool.checkedout())  # type: ignore[attr-defined]
        self._lock = threading.Lock()
        self._numbers: dict[str, Iterator[int]] = {}

    def close(self) -> None:
        """Give the connections back to the server."""
        self._engine.dispose()

    # --- events ---

    def record_application(self, application_id: str, conductor_id: str, amount: Decimal) -> None:
        """An application was handed in."""
        now = datetime.now(UTC)
        with self._writing("applications", "insert") as connection:
            connection.execute(
                text(
                    "insert into bi.applications (application_id, conductor_id, submitted_at, amount_requested, status,"
                    " updated_at) values (:application_id, :conductor_id, :now, :amount, 'pending', :now)"
                ),
                {"application_id": application_id, "conductor_id": conductor_id, "now": now, "amount": amount},
            )
        metrics.applications_submitted_total.inc()

    def record_score(self, application_id: str, conductor_id: str, score: int, tier: str, model_version: str) -> None:
        """The HASE model has scored an application."""
        now = datetime.now(UTC)
        with self._writing("hase_scores", "insert") as connection:
            connection.execute(
                text(
                    "insert into bi.hase_scores (score_id, application_id, conductor_id, score, model_version,"
                    " calculated_at) values (:score_id, :application_id, :conductor_id, :score, :model_version, :now)"
                ),
                {
                    "score_id": self._next("hase_scores", "score_id"),
                    "application_id": application_id,
                    "conductor_id": conductor_id,
                    "score": score,
                    "model_version": model_version,
                    "now": now,
                },
            )
            connection.execute(
                text(
                    "update bi.applications set hase_score = :score, sinosure_tier = :tier, updated_at = :now"
                    " where application_id = :application_id"
                ),
                {"score": score, "tier": tier, "now": now, "application_id": application_id},
            )
        metrics.hase_scores_calculated_total.inc()
        metrics.hase_score_distribution.observe(score)

    def record_approval(self, application_id: str, credit_id: str, principal: Decimal) -> bool:
        """An application was approved and its credit opened; False when it was decided already."""
        now = datetime.now(UTC)
        with self._writing("applications", "update") as connection:
            decided = connection.execute(
                text(
                    "update bi.applications set status = 'approved', decided_at = :now, updated_at = :now"
                    " where application_id = :application_id and status = 'pending'"
                    " returning conductor_id, sinosure_tier"
                ),
                {"application_id": application_id, "now": now},
            ).one_or_none()
            if decided is None:
                return False
            connection.execute(
                text(
                    "insert into bi.credits (credit_id, application_id, conductor_id, sinosure_tier, principal,"
                    " approved_at, disbursement_status, status, updated_at) values (:credit_id, :application_id,"
                    " :conductor_id, :tier, :principal, :now, 'pending', 'pending', :now)"
                ),
                {
                    "credit_id": credit_id,
                    "application_id": application_id,
                    "conductor_id": decided.conductor_id,
                    "tier": decided.sinosure_tier,
                    "principal": principal,
                    "now": now,
                },
            )
        metrics.applications_approved_total.labels(decided.sinosure_tier).inc()
        return True

    def record_rejection(self, application_id: str, reason: str) -> bool:
        """An application was rejected; False when it was decided already."""
        now = datetime.now(UTC)
        with self._writing("applications", "update") as connection:
            decided = connection.execute(
                text(
                    "update bi.applications set status = 'rejected', decided_at = :now, rejection_reason = :reason,"
                    " updated_at = :now where application_id = :application_id and status = 'pending'"
                ),
                {"application_id": application_id, "now": now, "reason": reason},
            ).rowcount
        if decided:
            metrics.applications_rejected_total.labels(reason).inc()
        return bool(decided)

    def record_disbursement(self, credit_id: str, plan: Sequence[Installment]) -> bool:
        """The money has left: the credit runs and its plan stands; False when it had left before."""
        now = datetime.now(UTC)
        with self._writing("credits", "update") as connection:
            principal = connection.execute(
                text(
                    "update bi.credits set disbursed_at = :now, disbursement_status = 'sent', status = 'active',"
                    " updated_at = :now"
                    " where credit_id = :credit_id and disbursed_at is null returning principal"
                ),
                {"credit_id": credit_id, "now": now},
            ).scalar_one_or_none()
            if principal is None:
                return False
            connection.execute(
                text(
                    "insert into bi.installments (installment_id, credit_id, sequence, due_date, amount_due,"
                    " amount_paid, updated_at) values (:installment_id, :credit_id, :sequence, :due_date, :amount_due,"
                    " 0, :now)"
                ),
                [
                    {
                        "installment_id": self._next("installments", "installment_id"),
                        "credit_id": credit_id,
                        "sequence": one.sequence,
                        "due_date": one.due_date,
                        "amount_due": one.amount_due,
                        "now": now,
                    }
                    for one in plan
                ],
            )
        metrics.credits_disbursed_total.inc()
        metrics.credits_disbursed_amount_mxn.inc(float(principal))
        return True

    def record_withdrawal(self, application_id: str) -> None:
        """A driver has given up the application; no metric counts that."""
        with self._writing("applications", "update") as connection:
            connection.execute(
                text(
                    "update bi.applications set status = 'withdrawn', updated_at = :now"
                    " where application_id = :application_id and status = 'pending'"
                ),
                {"application_id": application_id, "now": datetime.now(UTC)},
            )

    def settle_disbursements(self, before: datetime) -> None:
        """What was sent before that moment has arrived at the driver's bank."""
        with self._writing("credits", "update") as connection:
            connection.execute(
                text(
                    "update bi.credits set disbursement_status = 'settled', updated_at = :now"
                    " where disbursement_status = 'sent' and disbursed_at < :before"
                ),
                {"now": datetime.now(UTC), "before": before},
            )

    def record_failed_disbursement(self, credit_id: str) -> None:
        """NEON did not send the money; it will be tried again."""
        with self._writing("credits", "update") as connection:
            connection.execute(
                text(
                    "update bi.credits set disbursement_status = 'failed', updated_at = :now"
                    " where credit_id = :credit_id and disbursed_at is null"
                ),
                {"credit_id": credit_id, "now": datetime.now(UTC)},
            )

    def record_payment(
        self,
        credit_id: str,
        installment_id: int | None,
        amount: Decimal,
        status: str,
        method: str,
        failure_code: str | None,
        call_id: int | None,
    ) -> int:
        """An attempt to pay; a success moves the installment and closes the credit with its last. The payment's id."""
        now = datetime.now(UTC)
        payment_id = self._next("payments", "payment_id")
        with self._writing("payments", "insert") as connection:
            connection.execute(
                text(
                    "insert into bi.payments (payment_id, credit_id, installment_id, processed_at, amount, status,"
                    " method, failure_code, integration_call_id, updated_at) values (:payment_id, :credit_id,"
                    " :installment_id, :now, :amount, :status, :method, :failure_code, :call_id, :now)"
                ),
                {
                    "payment_id": payment_id,
                    "credit_id": credit_id,
                    "installment_id": installment_id,
                    "now": now,
                    "amount": amount,
                    "status": status,
                    "method": method,
                    "failure_code": failure_code,
                    "call_id": call_id,
                },
            )
            if status == "succeeded" and installment_id is not None:
                connection.execute(
                    text(
                        "update bi.installments set amount_paid = amount_paid + :amount, updated_at = :now,"
                        " paid_at = case when amount_paid + :amount >= amount_due then coalesce(paid_at, :now) end"
                        " where installment_id = :installment_id"
                    ),
                    {"installment_id": installment_id, "amount": amount, "now": now},
                )
                connection.execute(
                    text(
                        "update bi.credits set status = 'paid', closed_at = :now, updated_at = :now"
                        " where credit_id = :credit_id and status = 'active' and not exists (select from"
                        " bi.installments i where i.credit_id = :credit_id and i.paid_at is null)"
                    ),
                    {"credit_id": credit_id, "now": now},
                )
        metrics.payments_processed_total.labels(status, method).inc()
        return payment_id

    def record_call(
        self,
        integration: str,
        endpoint: str,
        *,
        called_at: datetime,
        status: str,
        http_status: int | None,
        seconds: float,
        error_code: str | None,
        error_message: str | None,
        request_id: str,
        trace_id: str,
        application_id: str | None = None,
        credit_id: str | None = None,
    ) -> int:
        """A call to an outside service has ended, well or not. The call's id."""
        call_id = self._next("integration_calls", "call_id")
        with self._writing("integration_calls", "insert") as connection:
            connection.execute(
                text(
                    "insert into bi.integration_calls (call_id, called_at, integration, endpoint, status, http_status,"
                    " duration_ms, error_code, error_message, request_id, trace_id, application_id, credit_id) values"
                    " (:call_id, :called_at, :integration, :endpoint, :status, :http_status, :duration_ms, :error_code,"
                    " :error_message, :request_id, :trace_id, :application_id, :credit_id)"
                ),
                {
                    "call_id": call_id,
                    "called_at": called_at,
                    "integration": integration,
                    "endpoint": endpoint,
                    "status": status,
                    "http_status": http_status,
                    "duration_ms": round(seconds * 1000),
                    "error_code": error_code,
                    "error_message": error_message,
                    "request_id": request_id,
                    "trace_id": trace_id,
                    "application_id": application_id,
                    "credit_id": credit_id,
                },
            )
        metrics.integration_api_calls_total.labels(integration, endpoint, status).inc()
        metrics.integration_api_duration_seconds.labels(integration, endpoint).observe(seconds)
        return call_id

    def refresh_gauges(self, today: date) -> None:
        """Count what is late and what is active anew: a gauge kept by adding and taking away would drift."""
        days = ", ".join(str(bound) for bound, _ in LATE_LEVELS[:-1])
        late = dict.fromkeys(range(len(LATE_LEVELS)), 0)
        for row in self.rows(
            "installments",
            # 0 for 1 to 7 days: width_bucket counts the bounds at or below its number.
            f"select width_bucket(cast(:today as date) - i.due_date - 1, array[{days}]) as level, count(*) as n"
            " from bi.installments i where i.paid_at is null and i.due_date < :today group by 1",
            today=today,
        ):
            late[row.level] = row.n
        for level, number in late.items():
            metrics.payments_late_count.labels(LATE_LEVELS[level][1]).set(number)
        for row in self.rows(
            "credits",
            "select sinosure_tier, count(*) filter (where status = 'active') as n from bi.credits"
            # Every tier that ever was, so that one whose last credit is paid up goes to 0.
            " group by 1",
        ):
            metrics.credits_active_count.labels(row.sinosure_tier).set(row.n)

    # --- questions ---

    def new_id(self, table: str, column: str, letter: str) -> str:
        """The next id of the kind A0000001: letter and number, counted on from the largest."""
        with self._lock:
            key = f"{table}.{column}"
            if key not in self._numbers:
                largest = self.row(
                    table,
                    f"select max(substr({column}, 2)::bigint) as n from bi.{table} where {column} ~ :pattern",
                    pattern=f"^{letter}[0-9]{{1,12}}$",
                )
                self._numbers[key] = count(((largest.n if largest else None) or 0) + 1)
            return f"{letter}{next(self._numbers[key]):07d}"

    def rows(self, table: str, sql: str, **values: Any) -> Sequence[Row[Any]]:
        """The rows of a select; `table` names it in the metric."""
        with self._timed(table, "select"), self._engine.connect() as connection:
            return connection.execute(text(sql), values).all()

    def row(self, table: str, sql: str, **values: Any) -> Row[Any] | None:
        """The first row of a select, or None."""
        found = self.rows(table, sql, **values)
        return found[0] if found else None

    # --- inside ---

    def _next(self, table: str, column: str) -> int:
        """A new number for a table. The backend is its tables' only writer: it counts on from the largest."""
        with self._lock:
            if table not in self._numbers:
                largest = self.row(table, f"select coalesce(max({column}), 0) as n from bi.{table}")
                self._numbers[table] = count((largest.n if largest else 0) + 1)
            return next(self._numbers[table])

    @contextmanager
    def _writing(self, table: str, operation: str) -> Iterator[Connection]:
        telemetry.keep()
        with self._timed(table, operation), self._engine.begin() as connection:
            yield connection

    def _about(self, table: str, operation: str) -> dict[str, str | int]:
        """What a question's span says, by OpenTelemetry's conventions for databases; never its values."""
        where = self._engine.url
        return {
            "db.system.name": "postgresql",
            "db.namespace": where.database or "",
            "db.operation.name": operation.upper(),
            "db.collection.name": f"bi.{table}",
            "server.address": where.host or "",
            "server.port": where.port or 5432,
        }

    @contextmanager
    def _timed(self, table: str, operation: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            with telemetry.inner(f"{operation.upper()} bi.{table}", self._about(table, operation)):
                yield
        finally:
            metrics.db_query_duration_seconds.labels(table, operation).observe(time.perf_counter() - began)
