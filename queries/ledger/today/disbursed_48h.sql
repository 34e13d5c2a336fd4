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
    count(*) filter (where disbursed_at <= approved_at + interval '48 hours') as in_time,
    count(approved_at) as due
from cut
left join lateral (
    select nullif(c.sinosure_tier, '') as tier, c.approved_at, c.disbursed_at
    from bi.credits c
    where c.approved_at >= cut.start_at - interval '48 hours' and c.approved_at < cut.end_at - interval '48 hours'
        and not (
            c.status = 'cancelled' and c.disbursed_at is null
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
        )
) as credit on true
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or count(approved_at) > 0
order by cut.day, dimension, segment
