-- title: Applications by their ids
-- description: A row is one application that a finding of reconciliation points to.
-- param: ids text[] -- the applications
-- column: application_id text -- the application
-- column: credit_id text -- the credit that came of it
-- column: conductor_id text -- the driver, an opaque id
-- column: submitted_at timestamptz -- when it was submitted
-- column: decided_at timestamptz -- when it was decided
-- column: status text -- pending, approved, rejected or withdrawn
-- column: sinosure_tier text -- Sinosure tier
-- column: rejection_reason text -- why it was rejected
-- column: updated_at timestamptz -- when the row was last written
-- ttl: 60
select
    a.application_id,
    (select min(c.credit_id) from bi.credits c where c.application_id = a.application_id) as credit_id,
    a.conductor_id,
    a.submitted_at,
    a.decided_at,
    a.status,
    a.sinosure_tier,
    a.rejection_reason,
    a.updated_at
from bi.applications a
where a.application_id = any(cast(:ids as text[]))
order by greatest(a.submitted_at, a.decided_at), a.application_id
