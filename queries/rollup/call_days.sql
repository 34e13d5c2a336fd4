-- title: Integration calls by day
-- description: A row is one business day, integration, status and error code of the calls made on it.
-- column: day date -- business day
-- column: integration text -- service that was called
-- column: status text -- success, error, timeout or another
-- column: error_code text -- error code; empty: none
-- column: n bigint [count] -- calls
select
    (q.quarter at time zone :timezone)::date as day,
    q.integration,
    q.status,
    q.error_code,
    sum(q.n)::bigint as n
from rollup.call_quarters q
group by 1, 2, 3, 4
