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
-- ttl: 300
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
numbered as (
    select cut.day, row_number() over (order by end_at) as number from cut
),
reach as (
    select array_agg(end_at order by end_at) as ends, max(end_at) as last_end from cut
),
cells as materialized (
    -- One pass over the credits, whatever the number of days: both slots count the cuts that came before, so a credit
    -- is active at the cuts after its first slot and up to its last.
    select
        c.sinosure_tier as tier,
        width_bucket(c.disbursed_at, reach.ends) as until_disbursed,
        coalesce(width_bucket(c.closed_at, reach.ends), cardinality(reach.ends)) as until_closed,
        count(*) as credits,
        sum(c.principal) as principal
    from bi.credits c, reach
    where c.disbursed_at < reach.last_end
    group by 1, 2, 3
)
select
    numbered.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') else 'all' end as segment,
    coalesce(sum(credits), 0)::bigint as credits,
    coalesce(sum(principal), 0) as principal
from numbered
left join cells on cells.until_disbursed < numbered.number and cells.until_closed >= numbered.number
group by grouping sets ((numbered.day), (numbered.day, tier))
having grouping(tier) = 1 or sum(credits) > 0
order by numbered.day, dimension, segment
