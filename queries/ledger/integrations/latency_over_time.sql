-- title: Latency of integration calls over time
-- description: A row is one stretch of `step` seconds, integration and doubling of the duration: calls that took at
--   least duration_from and less than duration_to milliseconds.
-- param: start timestamptz -- first moment
-- param: end timestamptz -- the moment before which the span ends
-- param: step integer -- seconds of a stretch
-- param: fine boolean = false -- from the calls; else from whole hours
-- param: integrations text[] = {} -- integrations; empty: all
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: at timestamptz -- the stretch begins
-- column: until timestamptz -- it ends before
-- column: integration text -- service that was called
-- column: duration_from integer [ms] -- at least so long
-- column: duration_to integer [ms] -- shorter than this
-- column: n bigint [count] -- calls
-- ttl: 60
with calls as (
    select h.hour as called_at, h.integration, h.bucket::integer as bucket, h.n
    from rollup.calls h
    where not cast(:fine as boolean)
        and h.hour >= cast(:start as timestamptz) and h.hour < cast(:end as timestamptz)
    union all
    select
        k.called_at,
        k.integration,
        floor(8 * ln(greatest(k.duration_ms, 1)::double precision) / ln(2::double precision) + 1e-9)::integer,
        1
    from bi.integration_calls k
    where cast(:fine as boolean)
        and k.called_at >= cast(:start as timestamptz) and k.called_at < cast(:end as timestamptz)
),
placed as (
    select
        case
            when cast(:step as integer) < 86400 then
                date_bin(make_interval(secs => cast(:step as integer)), called_at, cast(:start as timestamptz))
            else
                date_bin(
                    make_interval(days => cast(:step as integer) / 86400),
                    called_at at time zone :timezone,
                    date_trunc('day', cast(:start as timestamptz) at time zone :timezone)
                ) at time zone :timezone
        end as at,
        integration, bucket / 8 as doubling, n
    from calls
    where cardinality(cast(:integrations as text[])) = 0 or integration = any(cast(:integrations as text[]))
)
select
    greatest(at, cast(:start as timestamptz)) as at,
    least(
        case
            when cast(:step as integer) < 86400 then at + make_interval(secs => cast(:step as integer))
            else (at at time zone :timezone + make_interval(days => cast(:step as integer) / 86400))
                at time zone :timezone
        end,
        cast(:end as timestamptz)
    ) as until,
    integration,
    case when doubling = 0 then 0 else (2 ^ doubling)::integer end as duration_from,
    (2 ^ (doubling + 1))::integer as duration_to,
    sum(n)::bigint as n
from placed
group by placed.at, 3, doubling
order by 1, 3, 4
