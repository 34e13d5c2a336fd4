-- title: Alerts by day
-- description: A row is one day and one alert by name: how often it began to fire. A day without any has one row with
--     zero and no name.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: alert text = null -- only this alert
-- param: timezone text = $timezone -- the zone of the days
-- column: day date -- day in the zone
-- column: alert text -- its name
-- column: fired integer [count] -- how often it began to fire
-- ttl: 15
with told as (
    select cast(starts_at at time zone :timezone as date) as day, split_part(title, ': ', 1) as alert, count(*) as fired
    from mirador.events
    where kind = 'alert'
        and starts_at >= cast(:first as timestamp) at time zone :timezone
        and starts_at < cast(:last + 1 as timestamp) at time zone :timezone
        and (cast(:alert as text) is null or split_part(title, ': ', 1) = cast(:alert as text))
    group by 1, 2
)
select calendar.day::date as day, told.alert, coalesce(told.fired, 0) as fired
from generate_series(cast(:first as date)::timestamp, cast(:last as date)::timestamp, interval '1 day') as calendar (day)
left join told on told.day = calendar.day::date
order by day, alert
