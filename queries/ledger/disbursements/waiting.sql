-- title: The queue: credits that wait for their money now
-- description: A row is one credit approved, not disbursed and not cancelled, the one that waits longest first, with the
--   last call to NEON for it that failed.
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: most integer = 200 -- at most so many credits
-- column: credit_id text -- the credit
-- column: tier text -- Sinosure tier; empty for none
-- column: amount numeric [MXN] -- its principal
-- column: approved_at timestamptz -- when it was approved
-- column: waiting double [h] -- how long it has waited
-- column: over_48h boolean -- whether that is more than 48 hours
-- column: disbursement_status text -- what the core says of its disbursement
-- column: error_code text -- code of the last failed call to NEON, or how it ended; empty for none
-- column: error_message text -- its message; empty for none
-- column: failed_at timestamptz -- when that was
-- ttl: 30
with moment as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
),
queue as (
    select c.credit_id, coalesce(c.sinosure_tier, '') as tier, c.principal, c.approved_at, c.disbursement_status
    from bi.credits c
    cross join moment
    where c.disbursed_at is null
        and c.status <> 'cancelled'
        and c.approved_at < moment.as_of
        and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
    order by c.approved_at, c.credit_id
    limit :most
)
select
    queue.credit_id,
    queue.tier,
    queue.principal as amount,
    queue.approved_at,
    extract(epoch from moment.as_of - queue.approved_at) / 3600 as waiting,
    queue.approved_at < moment.as_of - interval '48 hours' as over_48h,
    queue.disbursement_status,
    coalesce(nullif(failed.error_code, ''), failed.status, '') as error_code,
    coalesce(failed.error_message, '') as error_message,
    failed.called_at as failed_at
from queue
cross join moment
left join lateral (
    select call.error_code, call.status, call.error_message, call.called_at
    from bi.integration_calls call
    where call.credit_id = queue.credit_id
        and call.integration = 'neon'
        and call.status <> 'success'
    order by call.called_at desc, call.call_id desc
    limit 1
) as failed on true
order by queue.approved_at, queue.credit_id;
