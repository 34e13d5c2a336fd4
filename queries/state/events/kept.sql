-- title: Events kept by Mirador
-- description: A row is one event that Alertmanager, a deployment or a person told, and that touches the period. An
--     incident or an alert without an end still runs; any other event without an end is a moment.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: timezone text = $timezone -- the zone of the days
-- column: id integer -- its number
-- column: kind text -- deployment, incident, alert, cutoff, model or other
-- column: title text -- what happened, as it was told
-- column: starts_at timestamptz -- when it began
-- column: ends_at timestamptz -- when it ended; null while it runs, and for a moment
-- column: source text -- alertmanager, deployment or person
-- column: link text -- where to read more
-- column: created_by text -- opaque id of who told it
-- ttl: 15
select id, kind, title, starts_at, ends_at, source, link, created_by
from mirador.events
where starts_at < cast(:last + 1 as timestamp) at time zone :timezone
    and coalesce(ends_at, case when kind in ('incident', 'alert') then 'infinity' else starts_at end)
        >= cast(:first as timestamp) at time zone :timezone
order by starts_at desc, id desc
limit 500
