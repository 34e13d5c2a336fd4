-- Indexes of the ledger, made after the load: by time for the pages, by key for drilling, by updated_at for what is
-- refreshed incrementally.
create index if not exists applications_submitted_at on bi.applications (submitted_at);
create index if not exists applications_decided_at on bi.applications (decided_at)
    include (status, sinosure_tier, rejection_reason);
create index if not exists applications_updated_at on bi.applications (updated_at);
create index if not exists applications_conductor on bi.applications (conductor_id);
create index if not exists credits_approved_at on bi.credits (approved_at, credit_id);
create index if not exists credits_disbursed_at on bi.credits (disbursed_at, approved_at);
create index if not exists credits_closed_at on bi.credits (closed_at);
create index if not exists credits_updated_at on bi.credits (updated_at);
create index if not exists credits_application on bi.credits (application_id);
create index if not exists credits_conductor on bi.credits (conductor_id);
create index if not exists installments_credit on bi.installments (credit_id, sequence);
create index if not exists installments_due_date on bi.installments (due_date, paid_at) include (credit_id, amount_due);
create index if not exists installments_due on bi.installments (due_date, installment_id);
create index if not exists installments_paid_at on bi.installments (paid_at) include (due_date, amount_due)
    where paid_at is not null;
create index if not exists installments_unpaid on bi.installments (due_date, installment_id)
    include (credit_id, amount_due, amount_paid) where paid_at is null;
create index if not exists installments_first on bi.installments (due_date, installment_id) where sequence = 1;
create index if not exists installments_updated_at on bi.installments (updated_at);
create index if not exists payments_processed_at on bi.payments (processed_at)
    include (method, status, failure_code, amount);
create index if not exists payments_updated_at on bi.payments (updated_at);
create index if not exists payments_credit on bi.payments (credit_id);
create index if not exists payments_installment on bi.payments (installment_id);
create index if not exists hase_scores_calculated_at on bi.hase_scores (calculated_at);
create index if not exists hase_scores_application on bi.hase_scores (application_id);
create index if not exists integration_calls_called_at on bi.integration_calls (called_at);
create index if not exists integration_calls_failed on bi.integration_calls (integration, called_at) where status <> 'success';
create index if not exists integration_calls_request on bi.integration_calls (request_id);
create index if not exists integration_calls_trace on bi.integration_calls (trace_id) where trace_id is not null;
create index if not exists integration_calls_credit on bi.integration_calls (credit_id) where credit_id is not null;
create index if not exists integration_calls_application on bi.integration_calls (application_id) where application_id is not null;
