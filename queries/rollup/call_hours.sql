-- title: Integration calls and failures by hour
-- description: A row is one hour and integration: how many calls began in it, and how many of them did not succeed.
-- column: hour timestamptz -- start of the hour (UTC)
-- column: integration text -- service that was called
-- column: n bigint [count] -- calls
-- column: failed bigint [count] -- calls in error or timed out
select
    date_trunc('hour', q.quarter, 'UTC') as hour,
    q.integration,
    sum(q.n)::bigint as n,
    coalesce(sum(q.n) filter (where q.status <> 'success'), 0)::bigint as failed
from rollup.call_quarters q
group by 1, 2
