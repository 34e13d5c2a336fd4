-- title: Integration calls of a credit
-- description: A row is one call to an outside service for the credit or its application, newest first; at most 2,000.
-- param: credit_id text = null -- the credit
-- param: application_id text = null -- the application
-- column: call_id integer -- its number
-- column: called_at timestamptz -- when
-- column: integration text -- geotab, conekta, metamap, neon or another
-- column: endpoint text -- what was called
-- column: status text -- success, error, timeout or another
-- column: http_status integer -- answer
-- column: duration_ms integer [ms] -- how long it took
-- column: error_code text -- what went wrong
-- column: request_id text -- id of the request
-- column: trace_id text -- id of the trace
-- ttl: 15
select
    call_id,
    called_at,
    integration,
    endpoint,
    status,
    http_status,
    duration_ms,
    error_code,
    request_id,
    trace_id
from (
    select * from bi.integration_calls where credit_id = :credit_id
    union all
    select * from bi.integration_calls
    where application_id = :application_id and credit_id is distinct from :credit_id
) as own
order by called_at desc, call_id desc
limit 2000
