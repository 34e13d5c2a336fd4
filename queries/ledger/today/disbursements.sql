-- title: Disbursements by day
-- description: A row is one day and one segment of the credits disbursed on it.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: credits integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- ttl: 60
with elapsed as (
    -- How much of :day is over, by its own clock: every other day is cut at the same time of day.
    select greatest(
        least(
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) at time zone :timezone
                - cast(:day as date)::timestamp,
            interval '1 day'
        ),
        interval '0'
    ) as time_of_day
),
cut as (
    select
        wanted.day,
        wanted.day::timestamp at time zone :timezone as start_at,
        (wanted.day::timestamp + elapsed.time_of_day) at time zone :timezone as end_at
    from (select distinct unnest(cast(:days as date[])) as day) as wanted, elapsed
),
pieces as (
    -- Quarters of an hour come from the daily tables, but for those that the last refresh may not have found whole: they
    -- are read from the rows, with the minutes before the cut.
    select
        cut.*,
        greatest(
            start_at,
            date_bin(
                '15 minutes',
                least(end_at, (select min(refreshed_at) from rollup.state) - interval '15 minutes'),
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from cut
),
disbursed as (
    select pieces.day, nullif(q.tier, '') as tier, q.n, q.amount
    from pieces
    join rollup.disbursement_quarters q
        on q.quarter >= (select min(start_at) from cut) and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    union all
    select pieces.day, nullif(c.sinosure_tier, ''), 1, c.principal
    from pieces
    join bi.credits c on c.disbursed_at >= pieces.rows_from and c.disbursed_at < pieces.end_at
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') else 'all' end as segment,
    coalesce(sum(n), 0)::bigint as credits,
    coalesce(sum(amount), 0) as amount
from cut
left join disbursed using (day)
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or sum(n) > 0
order by cut.day, dimension, segment
