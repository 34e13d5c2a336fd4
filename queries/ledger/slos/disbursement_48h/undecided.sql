-- title: Disbursed within 48 hours: undecided credits
-- description: A row is one credit that is approved, not disbursed and not cancelled, and whose 48 hours are not over; the
--   one that breaches first stands first, with its last failed call to NEON.
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: most integer = 2000 -- at most so many
-- column: credit_id text -- the credit
-- column: segment text -- Sinosure tier; empty: none
-- column: amount numeric [MXN] -- its principal
-- column: since timestamptz -- when it was approved
-- column: breaches_at timestamptz -- when its 48 hours end
-- column: note text -- code of the last failed call to NEON, or how it ended; empty: none
-- ttl: 30
with moment as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
)
select
    c.credit_id,
    coalesce(c.sinosure_tier, '') as segment,
    c.principal as amount,
    c.approved_at as since,
    c.approved_at + interval '48 hours' as breaches_at,
    coalesce(nullif(failed.error_code, ''), failed.status, '') as note
from bi.credits c
cross join moment
left join lateral (
    select call.error_code, call.status
    from bi.integration_calls call
    where call.credit_id = c.credit_id and call.integration = 'neon' and call.status <> 'success'
    order by call.called_at desc, call.call_id desc
    limit 1
) as failed on true
where (c.disbursed_at is null or c.disbursed_at >= moment.as_of)
    and c.approved_at >= moment.as_of - interval '48 hours'
    and c.approved_at < moment.as_of
    and c.status <> 'cancelled'
order by c.approved_at, c.credit_id
limit :most;
