-- title: Applications approved, second by second
-- description: A row is one second and sinosure_tier: applications approved in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: sinosure_tier text -- Sinosure tier; empty: none
-- column: n integer [count] -- applications approved
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', a.decided_at) as at,
    case when a.updated_at >= a.decided_at + interval '10 seconds' then date_trunc('second', a.updated_at) end as committed,
    coalesce(a.sinosure_tier, '') as sinosure_tier,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(a.application_id as text), ',' order by a.application_id) end as ids
from bi.applications a
where a.decided_at >= cast(:start as timestamptz) and a.decided_at < cast(:end as timestamptz)
    and a.status = 'approved'
group by 1, 2, 3
order by 1, 2, 3
