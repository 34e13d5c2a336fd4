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
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') else 'all' end as segment,
    count(principal) as credits,
    coalesce(sum(principal), 0) as amount
from cut
left join lateral (
    select nullif(c.sinosure_tier, '') as tier, c.principal
    from bi.credits c
    where c.disbursed_at >= cut.start_at and c.disbursed_at < cut.end_at
) as disbursed on true
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or count(principal) > 0
order by cut.day, dimension, segment
