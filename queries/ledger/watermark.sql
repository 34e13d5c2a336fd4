-- title: How far the ledger knows
-- description: One row: the last change of each relation.
-- column: applications timestamptz -- last change of an application
-- column: credits timestamptz -- last change of a credit
-- column: installments timestamptz -- last change of an installment
-- column: payments timestamptz -- last change of a payment
-- column: hase_scores timestamptz -- last score calculated
-- column: integration_calls timestamptz -- last integration call
-- column: ledger timestamptz -- the latest of them
-- ttl: 30
select *, greatest(applications, credits, installments, payments, hase_scores, integration_calls) as ledger
from (
    select
        (select max(updated_at) from bi.applications) as applications,
        (select max(updated_at) from bi.credits) as credits,
        (select max(updated_at) from bi.installments) as installments,
        (select max(updated_at) from bi.payments) as payments,
        (select max(calculated_at) from bi.hase_scores) as hase_scores,
        (select max(called_at) from bi.integration_calls) as integration_calls
) as last_changes
