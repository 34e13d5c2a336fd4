-- title: Integration calls by their ids
-- description: A row is one call to an outside service that a finding of reconciliation points to.
-- param: ids text[] -- the calls
-- column: call_id bigint -- the call
-- column: credit_id text -- the credit it was about
-- column: application_id text -- the application it was about
-- column: called_at timestamptz -- when it began
-- column: integration text -- the outside service
-- column: endpoint text -- what was called
-- column: status text -- success, error or timeout
-- column: duration_ms integer [ms] -- how long it took
-- column: error_code text -- what went wrong
-- column: request_id text -- the request it was part of
-- ttl: 60
select
    i.call_id,
    i.credit_id,
    i.application_id,
    i.called_at,
    i.integration,
    i.endpoint,
    i.status,
    i.duration_ms,
    i.error_code,
    i.request_id
from bi.integration_calls i
where i.call_id = any(cast(:ids as bigint[]))
order by i.called_at, i.call_id
