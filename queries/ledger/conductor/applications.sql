-- title: Applications of a driver
-- description: A row is one application, newest first, with the credit that it led to; at most 500.
-- param: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application
-- column: submitted_at timestamptz -- when it was applied for
-- column: amount_requested numeric [MXN] -- amount applied for
-- column: hase_score integer -- score it was decided by
-- column: sinosure_tier text -- Sinosure tier
-- column: status text -- pending, approved, rejected, withdrawn or another
-- column: decided_at timestamptz -- when it was decided
-- column: rejection_reason text -- why it was rejected
-- column: credit_id text -- the credit; null: none
-- ttl: 15
select
    a.application_id,
    a.submitted_at,
    a.amount_requested,
    a.hase_score,
    a.sinosure_tier,
    a.status,
    a.decided_at,
    a.rejection_reason,
    (select min(c.credit_id) from bi.credits as c where c.application_id = a.application_id) as credit_id
from bi.applications as a
where a.conductor_id = :conductor_id
order by a.submitted_at desc, a.application_id desc
limit 500
