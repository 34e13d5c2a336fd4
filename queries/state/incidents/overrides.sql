-- title: States set by hand
-- description: A row is one state that holds now, the latest first.
-- column: id integer -- its number
-- column: component text -- component of the status page
-- column: state text -- operational, degraded, outage or maintenance
-- column: reason text -- why
-- column: starts_at timestamptz -- from when
-- column: ends_at timestamptz -- until when
-- column: created_by text -- opaque id of who set it
-- ttl: 3
select id, component, state, reason, starts_at, ends_at, created_by
from mirador.status_overrides
where withdrawn_at is null and starts_at <= now() and ends_at > now()
order by starts_at desc, id desc
limit 100
