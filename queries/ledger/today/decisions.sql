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
    case when grouping(tier) = 0 then 'tier' when grouping(reason) = 0 then 'reason' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') when grouping(reason) = 0 then reason else 'all' end
        as segment,
    count(*) filter (where status = 'approved') as approved,
    count(*) filter (where status = 'rejected') as rejected,
    count(status) as decided
from cut
left join lateral (
    select
        a.status,
        nullif(a.sinosure_tier, '') as tier,
        case when a.status = 'rejected' then coalesce(nullif(a.rejection_reason, ''), '(none)') end as reason
    from bi.applications a
    where a.decided_at >= cut.start_at and a.decided_at < cut.end_at and a.status in ('approved', 'rejected')
) as decision on true
group by grouping sets ((cut.day), (cut.day, tier), (cut.day, reason))
having (grouping(tier) = 1 and grouping(reason) = 1)
    or (count(status) > 0 and (grouping(reason) = 1 or reason is not null))
order by cut.day, dimension, segment
