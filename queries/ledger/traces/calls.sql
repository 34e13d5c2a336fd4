-- title: Calls of a request or trace
-- description: A row is one integration call that a request or trace made, in order of time; at most 50. Without an
--   id none.
-- param: request text = null -- id of the request
-- param: trace text = null -- id of the trace
-- column: call_id bigint -- the call
-- column: called_at timestamptz -- when it was made
-- column: integration text -- the integration
-- column: endpoint text -- the endpoint
-- column: status text -- success, error or timeout
-- column: error_code text -- code of the error
-- column: duration_ms integer [ms] -- how long it took
-- column: credit_id text -- the credit it was made for
-- column: application_id text -- the application it was made for
-- ttl: 30
select
    k.call_id,
    k.called_at,
    k.integration,
    k.endpoint,
    k.status,
    k.error_code,
    k.duration_ms,
    k.credit_id::text as credit_id,
    k.application_id::text as application_id
from (
    -- Each half by its own index; a call that both find is one.
    select * from bi.integration_calls where trace_id = cast(:trace as text)
    union
    select * from bi.integration_calls where request_id = cast(:request as text)
) k
order by k.called_at, k.call_id
limit 50
