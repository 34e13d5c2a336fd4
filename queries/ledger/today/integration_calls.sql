-- title: Integration calls by day
-- description: A row is one day and one segment of its integration calls. The segments of the dimension error are the
--   codes of the calls that did not succeed, or their status where there is no code.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: failed integer [count] -- calls that did not succeed
-- column: calls integer [count] -- all calls
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
    case when grouping(integration) = 0 then 'integration' when grouping(error) = 0 then 'error' else 'all' end
        as dimension,
    case when grouping(integration) = 0 then integration when grouping(error) = 0 then error else 'all' end as segment,
    count(*) filter (where status <> 'success') as failed,
    count(status) as calls
from cut
left join lateral (
    select
        k.integration,
        k.status,
        case when k.status <> 'success' then coalesce(k.error_code, k.status) end as error
    from bi.integration_calls k
    where k.called_at >= cut.start_at and k.called_at < cut.end_at
) as call on true
group by grouping sets ((cut.day), (cut.day, integration), (cut.day, error))
having (grouping(integration) = 1 and grouping(error) = 1)
    or (count(status) > 0 and (grouping(error) = 1 or error is not null))
order by cut.day, dimension, segment
