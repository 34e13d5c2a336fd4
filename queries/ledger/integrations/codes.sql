-- title: Error codes of an integration
-- description: A row is one error code of an endpoint: when it was first and last seen in the whole ledger, and how
--   often.
-- param: integration text -- service that was called
-- column: endpoint text -- what was called
-- column: error_code text -- code of the error; empty: none
-- column: n bigint [count] -- calls that failed with it, ever
-- column: first_seen timestamptz -- the first of them
-- column: last_seen timestamptz -- the last of them
-- ttl: 120
with codes as (
    select
        h.endpoint,
        h.error_code,
        sum(h.n)::bigint as n,
        min(h.hour) as first_hour,
        max(h.hour) as last_hour
    from rollup.calls h
    where h.integration = cast(:integration as text) and h.status <> 'success'
    group by 1, 2
)
select
    codes.endpoint,
    codes.error_code,
    codes.n,
    -- The hour is known: its calls, by index, tell the moment.
    coalesce((
        select min(k.called_at)
        from bi.integration_calls k
        where k.integration = cast(:integration as text) and k.status <> 'success'
            and k.endpoint = codes.endpoint and coalesce(k.error_code, '') = codes.error_code
            and k.called_at >= codes.first_hour and k.called_at < codes.first_hour + interval '1 hour'
    ), codes.first_hour) as first_seen,
    coalesce((
        select max(k.called_at)
        from bi.integration_calls k
        where k.integration = cast(:integration as text) and k.status <> 'success'
            and k.endpoint = codes.endpoint and coalesce(k.error_code, '') = codes.error_code
            and k.called_at >= codes.last_hour
    ), codes.last_hour) as last_seen
from codes
order by last_seen desc, endpoint, error_code
