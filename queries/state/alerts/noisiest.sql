-- title: Noisiest alerts
-- description: A row is one alert by name: how often it began to fire in the period and for how long, the most frequent
--     first.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: timezone text = $timezone -- the zone of the days
-- column: alert text -- its name
-- column: fired integer [count] -- how often it began to fire
-- column: still_fires integer [count] -- of these: not resolved yet
-- column: mean_minutes double [min] -- mean time from firing to resolved, of those that were resolved
-- column: longest_minutes double [min] -- the longest, one that still fires included
-- column: last_at timestamptz -- when it last began to fire
-- ttl: 15
select
    split_part(title, ': ', 1) as alert,
    count(*) as fired,
    count(*) filter (where ends_at is null) as still_fires,
    extract(epoch from avg(ends_at - starts_at)) / 60 as mean_minutes,
    extract(epoch from max(coalesce(ends_at, now()) - starts_at)) / 60 as longest_minutes,
    max(starts_at) as last_at
from mirador.events
where kind = 'alert'
    and starts_at >= cast(:first as timestamp) at time zone :timezone
    and starts_at < cast(:last + 1 as timestamp) at time zone :timezone
group by 1
order by fired desc, last_at desc
