-- title: Integration calls by hour
-- description: A row is one hour, integration, endpoint, status, error code and log bucket of the duration.
-- column: hour timestamptz -- start of the hour (UTC)
-- column: integration text -- service that was called
-- column: endpoint text -- what was called
-- column: status text -- success, error, timeout or another
-- column: error_code text -- error code; empty: none
-- column: bucket smallint -- log bucket of the duration: up to 2^((bucket + 1) / 8) ms
-- column: n bigint [count] -- calls
-- column: duration_ms bigint [ms] -- sum of their durations
select
    date_trunc('hour', k.called_at, 'UTC') as hour,
    k.integration,
    k.endpoint,
    k.status,
    coalesce(k.error_code, '') as error_code,
    floor(8 * ln(greatest(k.duration_ms, 1)::double precision) / ln(2::double precision) + 1e-9)::smallint as bucket,
    count(*) as n,
    sum(k.duration_ms) as duration_ms
from bi.integration_calls k
group by 1, 2, 3, 4, 5, 6
