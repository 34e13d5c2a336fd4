-- title: Decisions by day
-- description: A row is one day and one segment of the applications decided on it, whenever they were submitted.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: approved integer [count] -- applications approved
-- column: rejected integer [count] -- applications rejected
-- column: decided integer [count] -- approved and rejected
-- with: cut, pieces
-- ttl: 60
with decided as (
    select pieces.day, t.status, t.tier, t.reason, t.n
    from pieces
    join rollup.decision_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
    where t.status in ('approved', 'rejected')
    union all
    select pieces.day, q.status, q.tier, q.reason, q.n
    from pieces
    join rollup.decision_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
    where q.status in ('approved', 'rejected')
    union all
    select pieces.day, a.status, a.sinosure_tier, a.rejection_reason, pieces.sign
    from pieces
    join bi.applications a on a.decided_at >= pieces.rows_from and a.decided_at < pieces.rows_until
    where a.status in ('approved', 'rejected')
),
decision as (
    select
        day,
        status,
        nullif(tier, '') as tier,
        case when status = 'rejected' then coalesce(nullif(reason, ''), '(none)') end as reason,
        -- Summed before the sets are grouped: they are sorted for each.
        sum(n) as n
    from decided
    group by 1, 2, 3, 4
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' when grouping(reason) = 0 then 'reason' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') when grouping(reason) = 0 then reason else 'all' end
        as segment,
    coalesce(sum(n) filter (where status = 'approved'), 0)::bigint as approved,
    coalesce(sum(n) filter (where status = 'rejected'), 0)::bigint as rejected,
    coalesce(sum(n), 0)::bigint as decided
from cut
left join decision using (day)
group by grouping sets ((cut.day), (cut.day, tier), (cut.day, reason))
having (grouping(tier) = 1 and grouping(reason) = 1)
    or (sum(n) > 0 and (grouping(reason) = 1 or reason is not null))
order by cut.day, dimension, segment
