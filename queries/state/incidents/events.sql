-- title: Incidents as events
-- description: A row is one incident that touches the period.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: timezone text = $timezone -- the zone of the days
-- column: id integer -- its number
-- column: component text -- component of the status page; null: of none
-- column: alertname text -- alert that opened it; empty: a hand did
-- column: title_en text -- what happened
-- column: starts_at timestamptz -- when it began
-- column: ends_at timestamptz -- when it ended; null while it is open
-- ttl: 15
select id, component, alertname, title_en, started_at as starts_at, ended_at as ends_at
from mirador.incidents
where started_at < cast(:last + 1 as timestamp) at time zone :timezone
    and coalesce(ended_at, 'infinity') >= cast(:first as timestamp) at time zone :timezone
order by started_at desc, id desc
limit 200
