-- title: Payments by their ids
-- description: A row is one attempt to pay that a finding of reconciliation points to.
-- param: ids text[] -- the payments
-- column: payment_id bigint -- the attempt
-- column: credit_id text -- its credit
-- column: conductor_id text -- the driver, an opaque id
-- column: processed_at timestamptz -- when it was processed
-- column: amount numeric [MXN] -- amount
-- column: status text -- succeeded, failed, pending or refunded
-- column: method text -- card, oxxo or spei
-- column: failure_code text -- why it failed
-- column: updated_at timestamptz -- when the row was last written
-- ttl: 60
select
    p.payment_id,
    p.credit_id,
    c.conductor_id,
    p.processed_at,
    p.amount,
    p.status,
    p.method,
    p.failure_code,
    p.updated_at
from bi.payments p
left join bi.credits c on c.credit_id = p.credit_id
where p.payment_id = any(cast(:ids as bigint[]))
order by p.processed_at, p.payment_id
