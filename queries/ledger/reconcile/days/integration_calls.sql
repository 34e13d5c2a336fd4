-- title: Integration calls by day
-- description: A row is one day that has any: calls begun. For the trend of the difference from the metric.
-- param: days date[] -- all days wanted
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day
-- column: value integer [count] -- calls begun
-- ttl: 300
with reach as (
    select min(day) as first, max(day) as last from unnest(cast(:days as date[])) as day
)
select (calls.hour at time zone :timezone)::date as day, sum(calls.n) as value
from rollup.calls calls
where calls.hour >= (select first::timestamp at time zone :timezone from reach)
    and calls.hour < (select (last + 1)::timestamp at time zone :timezone from reach)
    and (calls.hour at time zone :timezone)::date = any(cast(:days as date[]))
group by 1
order by 1
