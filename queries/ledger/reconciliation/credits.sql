-- title: Credits by their ids
-- description: A row is one credit that a finding of reconciliation points to.
-- param: ids text[] -- the credits
-- column: credit_id text -- the credit
-- column: conductor_id text -- the driver, an opaque id
-- column: disbursed_at timestamptz -- when it was disbursed
-- column: principal numeric [MXN] -- principal
-- column: sinosure_tier text -- Sinosure tier
-- column: disbursement_status text -- pending, sent, failed or settled
-- column: status text -- pending, active, paid, charged_off or cancelled
-- column: approved_at timestamptz -- when it was approved
-- column: closed_at timestamptz -- when it was closed
-- column: updated_at timestamptz -- when the row was last written
-- ttl: 60
select
    c.credit_id,
    c.conductor_id,
    c.disbursed_at,
    c.principal,
    c.sinosure_tier,
    c.disbursement_status,
    c.status,
    c.approved_at,
    c.closed_at,
    c.updated_at
from bi.credits c
where c.credit_id = any(cast(:ids as text[]))
order by c.disbursed_at, c.credit_id
