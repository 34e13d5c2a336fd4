-- title: Integrations
-- description: A row is one integration: its last hour before the cut and its day so far, from the ledger's calls. An
--   integration that was called in the week before, and not today, is shown with zero calls.
-- param: day date -- the business day that is looked at
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: integration text -- its name
-- column: calls_hour integer [count] -- calls in the last hour
-- column: failed_hour integer [count] -- errors and time-outs in the last hour
-- column: p95_ms double [ms] -- 95th percentile of their duration in the last hour
-- column: calls_day integer [count] -- calls of the day
-- column: failed_day integer [count] -- errors and time-outs of the day
-- column: last_success timestamptz -- last call that succeeded
-- column: last_failure timestamptz -- last call that did not
-- column: last_error_code text -- its error code
-- ttl: 30
with bounds as (
    select
        cast(:day as date)::timestamp at time zone :timezone as start_at,
        least(
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())),
            (cast(:day as date) + 1)::timestamp at time zone :timezone
        ) as end_at
),
recent as (
    select k.*, bounds.start_at, bounds.end_at
    from bounds
    join bi.integration_calls k on k.called_at >= bounds.end_at - interval '7 days' and k.called_at < bounds.end_at
)
select
    integration,
    count(*) filter (where called_at >= end_at - interval '1 hour') as calls_hour,
    count(*) filter (where called_at >= end_at - interval '1 hour' and status <> 'success') as failed_hour,
    percentile_cont(0.95) within group (order by duration_ms)
        filter (where called_at >= end_at - interval '1 hour') as p95_ms,
    count(*) filter (where called_at >= start_at) as calls_day,
    count(*) filter (where called_at >= start_at and status <> 'success') as failed_day,
    max(called_at) filter (where status = 'success') as last_success,
    max(called_at) filter (where status <> 'success') as last_failure,
    (array_agg(coalesce(error_code, status) order by called_at desc) filter (where status <> 'success'))[1]
        as last_error_code
from recent
group by integration
order by integration
