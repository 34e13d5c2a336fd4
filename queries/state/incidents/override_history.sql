-- title: States that were set by hand
-- description: A row is one state of the last 90 days, the latest first: who set it, why, and who took it back.
-- column: component text -- component of the status page
-- column: state text -- operational, degraded, outage or maintenance
-- column: reason text -- why
-- column: starts_at timestamptz -- from when
-- column: ends_at timestamptz -- until when
-- column: created_by text -- opaque id of who set it
-- column: withdrawn_at timestamptz -- when it was taken back
-- column: withdrawn_by text -- opaque id of who took it back
-- ttl: 10
select component, state, reason, starts_at, ends_at, created_by, withdrawn_at, withdrawn_by
from mirador.status_overrides
where starts_at > now() - interval '90 days'
order by starts_at desc, id desc
limit 200
