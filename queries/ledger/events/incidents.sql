-- title: Integration incidents
-- description: A row is one run of hours in which an integration failed far above its usual. An hour counts when at
--     least 4 of at least 8 calls failed, and their share is at least one in ten and at least five times the usual one:
--     the share that failed in the period and the week before it. Hours that touch make one incident; a
--     service that is called too seldom is never told.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: timezone text = $timezone -- the zone of the days
-- column: integration text -- which one
-- column: starts_at timestamptz -- start of its first hour
-- column: ends_at timestamptz -- end of its last hour
-- column: calls integer [count] -- calls in these hours
-- column: failed integer [count] -- of them in error or timed out
-- ttl: 300
with hours as (
    select integration, hour, n as calls, failed
    from rollup.call_hours
    where hour >= cast(:first - 7 as timestamp) at time zone :timezone
        and hour < cast(:last + 1 as timestamp) at time zone :timezone
),

judged as (
    select
        *,
        sum(failed) over (partition by integration) / sum(calls) over (partition by integration) as usual
    from hours
),

bad as (
    select
        *,
        hour - row_number() over (partition by integration order by hour) * interval '1 hour' as run
    from judged
    where calls >= 8 and failed >= 4 and failed >= greatest(0.1, 5 * usual) * calls
)

select
    integration,
    min(hour) as starts_at,
    max(hour) + interval '1 hour' as ends_at,
    sum(calls) as calls,
    sum(failed) as failed
from bad
group by integration, run
having max(hour) + interval '1 hour' > cast(:first as timestamp) at time zone :timezone
order by starts_at, integration
