-- title: Payment attempts by day
-- description: A row is one day and one segment of the attempts that ended on it, well or not. The segments of
--   the dimension failure are the codes of those that failed.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: succeeded integer [count] -- attempts that succeeded
-- column: attempts integer [count] -- attempts that succeeded or failed
-- column: amount numeric [MXN] -- amount of those that succeeded
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
    case when grouping(method) = 0 then 'method' when grouping(failure) = 0 then 'failure' else 'all' end as dimension,
    case when grouping(method) = 0 then coalesce(method, '(none)') when grouping(failure) = 0 then failure else 'all' end
        as segment,
    count(*) filter (where status = 'succeeded') as succeeded,
    count(status) as attempts,
    coalesce(sum(payment.amount) filter (where status = 'succeeded'), 0) as amount
from cut
left join lateral (
    select
        p.method,
        p.status,
        p.amount,
        case when p.status = 'failed' then coalesce(p.failure_code, '(none)') end as failure
    from bi.payments p
    where p.processed_at >= cut.start_at and p.processed_at < cut.end_at and p.status in ('succeeded', 'failed')
) as payment on true
group by grouping sets ((cut.day), (cut.day, method), (cut.day, failure))
having (grouping(method) = 1 and grouping(failure) = 1)
    or (count(status) > 0 and (grouping(failure) = 1 or failure is not null))
order by cut.day, dimension, segment
