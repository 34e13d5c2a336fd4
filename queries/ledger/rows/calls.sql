-- title: Integration calls
-- description: A row is one call to an integration.
-- param: first date = null -- first day on which it was made
-- param: last date = null -- last day on which it was made
-- param: from_at timestamptz = null -- made at this moment or later
-- param: to_at timestamptz = null -- made before this moment
-- param: integration text = null -- geotab, conekta, metamap, neon or another
-- param: integrations text[] = {} -- the same, several
-- param: endpoint text = null -- endpoint
-- param: endpoints text[] = {} -- the same, several
-- param: status text = null -- success, error or timeout
-- param: statuses text[] = {} -- the same, several
-- param: error_code text = null -- code of the error; '' is none
-- param: error_codes text[] = {} -- the same, several
-- param: bucket integer = null -- log bucket of its duration, up to 2^((bucket + 1) / 8) ms
-- param: duration_from integer = null -- milliseconds, at least
-- param: duration_to integer = null -- milliseconds, below
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: call_id bigint -- the call
-- column: called_at timestamptz -- when it was made
-- column: integration text -- the integration
-- column: endpoint text -- the endpoint
-- column: status text -- success, error or timeout
-- column: http_status integer -- status of the answer
-- column: duration_ms integer [ms] -- how long it took
-- column: error_code text -- code of the error
-- column: request_id text -- id of the request
-- column: trace_id text -- id of the trace
-- column: application_id text -- the application it was made for
-- column: credit_id text -- the credit it was made for
-- key: call_id
-- sort: called_at desc, duration_ms desc
-- ttl: 30
select
    k.call_id,
    k.called_at,
    k.integration,
    k.endpoint,
    k.status,
    k.http_status,
    k.duration_ms,
    k.error_code,
    k.request_id,
    k.trace_id,
    k.application_id,
    k.credit_id
from bi.integration_calls k
where true
    and (cast(:first as date) is null
        or k.called_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or k.called_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:from_at as timestamptz) is null or k.called_at >= cast(:from_at as timestamptz))
    and (cast(:to_at as timestamptz) is null or k.called_at < cast(:to_at as timestamptz))
    and (cast(:integration as text) is null or k.integration = cast(:integration as text))
    and (cardinality(cast(:integrations as text[])) = 0 or k.integration = any(cast(:integrations as text[])))
    and (cast(:endpoint as text) is null or k.endpoint = cast(:endpoint as text))
    and (cardinality(cast(:endpoints as text[])) = 0 or k.endpoint = any(cast(:endpoints as text[])))
    and (cast(:status as text) is null or k.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or k.status = any(cast(:statuses as text[])))
    and (cast(:error_code as text) is null or coalesce(k.error_code, '') = cast(:error_code as text))
    and (cardinality(cast(:error_codes as text[])) = 0
        or coalesce(k.error_code, '') = any(cast(:error_codes as text[])))
    and (cast(:bucket as integer) is null or cast(:bucket as integer)
        = floor(8 * ln(greatest(k.duration_ms, 1)::double precision) / ln(2::double precision) + 1e-9))
    and (cast(:duration_from as integer) is null or k.duration_ms >= cast(:duration_from as integer))
    and (cast(:duration_to as integer) is null or k.duration_ms < cast(:duration_to as integer))
