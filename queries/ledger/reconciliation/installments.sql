-- title: Installments by their ids
-- description: A row is one installment that a finding of reconciliation points to.
-- param: ids text[] -- the installments
-- column: installment_id bigint -- the installment
-- column: credit_id text -- its credit
-- column: conductor_id text -- the driver, an opaque id
-- column: sequence smallint -- its place in the plan
-- column: due_date date -- when it was due
-- column: paid_at timestamptz -- when it was fully paid
-- column: amount_due numeric [MXN] -- scheduled amount
-- column: amount_paid numeric [MXN] -- paid of it
-- column: updated_at timestamptz -- when the row was last written
-- ttl: 60
select
    i.installment_id,
    i.credit_id,
    c.conductor_id,
    i.sequence,
    i.due_date,
    i.paid_at,
    i.amount_due,
    i.amount_paid,
    i.updated_at
from bi.installments i
left join bi.credits c on c.credit_id = i.credit_id
where i.installment_id = any(cast(:ids as bigint[]))
order by i.due_date, i.installment_id
