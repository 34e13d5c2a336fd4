-- title: Disbursed within 48 hours
-- description: A row is one day and one segment of the credits whose 48 hours since approval ended on it, so that none is
--   still undecided. A credit cancelled before its 48 hours were over, or at an unknown moment, owes no disbursement and
--   is left out.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: in_time integer [count] -- credits disbursed within 48 hours of their approval
-- column: due integer [count] -- credits whose 48 hours are over
-- with: cut
-- ttl: 60
with pieces as (
    -- 48 hours before the day. Quarters of an hour come from the daily tables, but for those whose 48 hours the last
    -- refresh may not have seen to their end: they are read from the rows, with the minutes before the cut.
    select
        day,
        start_at - interval '48 hours' as start_at,
        end_at - interval '48 hours' as end_at,
        greatest(
            start_at - interval '48 hours',
            date_bin(
                '15 minutes',
                least(end_at, (select min(refreshed_at) from rollup.state) - interval '15 minutes') - interval '48 hours',
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from cut
),
approved as (
    select pieces.day, q.tier, q.in_time, q.due
    from pieces
    join rollup.approval_quarters q
        on q.quarter >= (select min(start_at) from pieces)
        and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    union all
    select
        pieces.day,
        coalesce(c.sinosure_tier, ''),
        (coalesce(c.disbursed_at <= c.approved_at + interval '48 hours', false))::integer,
        1
    from pieces
    join bi.credits c on c.approved_at >= pieces.rows_from and c.approved_at < pieces.end_at
    where not (
        c.status = 'cancelled' and c.disbursed_at is null
        and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
    )
),
credit as (
    select day, tier, sum(in_time) as in_time, sum(due) as due from approved group by 1, 2
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(nullif(tier, ''), '(none)') else 'all' end as segment,
    coalesce(sum(in_time), 0)::bigint as in_time,
    coalesce(sum(due), 0)::bigint as due
from cut
left join credit using (day)
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or sum(due) > 0
order by cut.day, dimension, segment
