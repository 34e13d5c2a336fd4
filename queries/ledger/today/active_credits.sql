-- title: Active credits
-- description: A row is one day and one segment of the credits that are disbursed and not closed at the cut.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: credits integer [count] -- credits active
-- column: principal numeric [MXN] -- their principal, as disbursed
-- with: cut, pieces
-- ttl: 300
with numbered as (
    select cut.*, row_number() over (order by day) as number from cut
),
reach as (
    select array_agg(day order by day) as days, max(day) as last_day from cut
),
event as (
    -- A credit comes on the day of its disbursement and goes on the day of its closure, which is never before that.
    select d.day, d.tier, d.n, d.amount from rollup.disbursements d
    union all
    select greatest(g.day, g.disbursed_day), g.tier, -g.n, -g.amount from rollup.closures g
),
cells as (
    -- The slot counts the days that are not after the event: it is part of all the others.
    select event.tier, width_bucket(event.day, reach.days) as slot, sum(n) as n, sum(amount) as amount
    from event, reach
    where event.day < reach.last_day
    group by 1, 2
),
active as (
    select numbered.day, cells.tier, cells.n, cells.amount
    from numbered
    join cells on cells.slot < numbered.number
    union all
    -- The day itself, up to the cut: credits that came, and credits that went.
    select pieces.day, t.tier, t.n, t.amount
    from pieces
    join rollup.disbursement_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
    union all
    select pieces.day, q.tier, q.n, q.amount
    from pieces
    join rollup.disbursement_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
    union all
    select pieces.day, coalesce(c.sinosure_tier, ''), pieces.sign, pieces.sign * c.principal
    from pieces
    join bi.credits c on c.disbursed_at >= pieces.rows_from and c.disbursed_at < pieces.rows_until
    union all
    select cut.day, coalesce(c.sinosure_tier, ''), -1, -c.principal
    from cut
    join bi.credits c on c.closed_at >= cut.start_at and c.closed_at < cut.end_at
    where c.disbursed_at < cut.end_at
    union all
    -- Closed before they were disbursed, if there are any.
    select odd.day, coalesce(c.sinosure_tier, ''), -1, -c.principal
    from (select distinct cut.* from cut join rollup.closures g on g.disbursed_day = cut.day) as odd
    join bi.credits c on c.disbursed_at >= odd.start_at and c.disbursed_at < odd.end_at
    where c.closed_at < odd.start_at
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(nullif(tier, ''), '(none)') else 'all' end as segment,
    coalesce(sum(n), 0)::bigint as credits,
    coalesce(sum(amount), 0) as principal
from cut
left join active using (day)
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or sum(n) > 0
order by cut.day, dimension, segment
