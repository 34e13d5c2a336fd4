-- title: Integrations now
-- description: A row is one integration that was called in the last 30 days: its last hour, its last call that
--   succeeded and its last one that did not.
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- column: integration text -- service that is called
-- column: calls_hour bigint [count] -- calls in the last hour
-- column: failed_hour bigint [count] -- errors and time-outs in the last hour
-- column: last_success timestamptz -- last call that succeeded, within 30 days
-- column: last_failure timestamptz -- last call that did not, within 30 days
-- column: last_error_code text -- its error code, or its status
-- column: last_call_id bigint -- its id
-- ttl: 30
with present as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
),
known as (
    select distinct h.integration
    from present
    join rollup.calls h on h.hour >= present.as_of - interval '30 days' and h.hour < present.as_of
    union
    select distinct k.integration
    from present
    join bi.integration_calls k on k.called_at >= present.as_of - interval '2 hours' and k.called_at < present.as_of
),
hour as (
    select k.integration, count(*) as calls, count(*) filter (where k.status <> 'success') as failed
    from present
    join bi.integration_calls k on k.called_at >= present.as_of - interval '1 hour' and k.called_at < present.as_of
    group by 1
)
select
    known.integration,
    coalesce(hour.calls, 0) as calls_hour,
    coalesce(hour.failed, 0) as failed_hour,
    good.called_at as last_success,
    bad.called_at as last_failure,
    bad.code as last_error_code,
    bad.call_id as last_call_id
from present
cross join known
left join hour using (integration)
left join lateral (
    select k.called_at
    from bi.integration_calls k
    where k.integration = known.integration and k.status = 'success'
        and k.called_at >= present.as_of - interval '30 days' and k.called_at < present.as_of
    order by k.called_at desc
    limit 1
) good on true
left join lateral (
    select k.called_at, coalesce(nullif(k.error_code, ''), k.status) as code, k.call_id
    from bi.integration_calls k
    where k.integration = known.integration and k.status <> 'success'
        and k.called_at >= present.as_of - interval '30 days' and k.called_at < present.as_of
    order by k.called_at desc, k.call_id desc
    limit 1
) bad on true
order by 1
