-- title: Active credits, change by change
-- description: A row is one second and sinosure_tier: by how much the number changed in it. The first second, :start, holds the
--   number as it stood then. Compared with the gauge that shows the same.
-- param: start timestamptz -- the moment of the first state
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids of what changed are wanted, too
-- column: at timestamptz -- second in which it changed
-- column: sinosure_tier text -- Sinosure tier; empty: none
-- column: n integer [count] -- the change
-- column: ids text -- ids of what changed after :start, separated by commas; null when not asked for
-- ttl: 60
with changes as (
    -- What was disbursed before :start and is open then is one sum; the rest is found by the index on either moment.
    select cast(:start as timestamptz) as at, c.sinosure_tier, c.credit_id, 1 as n, false as changed
    from bi.credits c
    where c.disbursed_at < cast(:start as timestamptz) and (c.closed_at is null or c.closed_at >= cast(:start as timestamptz))
    union all
    select c.disbursed_at, c.sinosure_tier, c.credit_id, 1, true
    from bi.credits c
    where c.disbursed_at >= cast(:start as timestamptz) and c.disbursed_at < cast(:end as timestamptz)
    union all
    select c.closed_at, c.sinosure_tier, c.credit_id, -1, true
    from bi.credits c
    where c.closed_at >= cast(:start as timestamptz) and c.closed_at < cast(:end as timestamptz)
        and c.disbursed_at is not null
)
select
    date_trunc('second', at) as at,
    coalesce(sinosure_tier, '') as sinosure_tier,
    sum(n) as n,
    case when cast(:with_ids as boolean) then string_agg(credit_id, ',' order by credit_id) filter (where changed) end as ids
from changes
group by 1, 2
order by 1, 2
