-- title: Alerts that fired
-- description: A row is one alert that Alertmanager told, from when it began to fire to when it was resolved; the latest
--     first, 500 at most.
-- param: first date -- first day of the period, on which it began
-- param: last date -- last day of the period
-- param: alert text = null -- only this alert
-- param: timezone text = $timezone -- the zone of the days
-- column: starts_at timestamptz -- when it began to fire
-- column: ends_at timestamptz -- when it was resolved; null while it fires
-- column: minutes double [min] -- how long it fired, or has so far
-- column: alert text -- its name
-- column: title text -- what it said
-- column: link text -- the panel that it came from
-- ttl: 15
select
    starts_at,
    ends_at,
    extract(epoch from coalesce(ends_at, now()) - starts_at) / 60 as minutes,
    split_part(title, ': ', 1) as alert,
    title,
    link
from mirador.events
where kind = 'alert'
    and starts_at >= cast(:first as timestamp) at time zone :timezone
    and starts_at < cast(:last + 1 as timestamp) at time zone :timezone
    and (cast(:alert as text) is null or split_part(title, ': ', 1) = cast(:alert as text))
order by starts_at desc, id desc
limit 500
