-- title: Credits that wait for their money now
-- description: One row: the credits approved, not disbursed and not cancelled.
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- column: credits integer [count] -- credits that wait
-- column: amount numeric [MXN] -- their principal
-- column: over_48h integer [count] -- those that have waited for more than 48 hours
-- column: over_48h_amount numeric [MXN] -- their principal
-- column: oldest_approved_at timestamptz -- approval of the one that waits longest
-- ttl: 30
select
    count(*) as credits,
    coalesce(sum(c.principal), 0) as amount,
    count(*) filter (where c.approved_at < moment.as_of - interval '48 hours') as over_48h,
    coalesce(sum(c.principal) filter (where c.approved_at < moment.as_of - interval '48 hours'), 0) as over_48h_amount,
    min(c.approved_at) as oldest_approved_at
from bi.credits c
cross join (select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of offset 0) as moment
where c.disbursed_at is null
    and c.status <> 'cancelled'
    and c.approved_at < moment.as_of
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])));
