-- title: When the dead man's switch was heard last
-- description: One row, none before it was heard for the first time.
-- column: heard_at timestamptz -- when a process of Mirador last heard the always-firing alert
-- ttl: 5
select heard_at from mirador.heartbeats where name = 'watchdog'
