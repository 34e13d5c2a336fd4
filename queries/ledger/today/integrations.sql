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
pieces as (
    -- The week in hours and, at its ends, in quarters of an hour from the daily tables, but for its first minutes, its
    -- last hour and what the last refresh may not have found whole: these are read from the rows.
    select
        bounds.*,
        end_at - interval '7 days' as week_at,
        date_bin('15 minutes', end_at - interval '7 days' + interval '15 minutes', timestamptz '2000-01-01 00:00Z')
            as rows_until,
        greatest(
            end_at - interval '7 days',
            date_bin(
                '15 minutes',
                least(end_at - interval '1 hour', (select min(refreshed_at) from rollup.state) - interval '15 minutes'),
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from bounds
),
ends as (
    select
        pieces.*,
        date_trunc('hour', rows_until + interval '45 minutes', 'UTC') as hours_from,
        date_trunc('hour', rows_from, 'UTC') as hours_until
    from pieces
),
spans as materialized (
    select h.integration, h.hour as start_at, h.hour + interval '1 hour' as end_at, h.n - h.failed as succeeded, h.failed
    from ends
    join rollup.call_hours h on h.hour >= ends.hours_from and h.hour < ends.hours_until
    union all
    select
        q.integration,
        q.quarter,
        q.quarter + interval '15 minutes',
        case when q.status = 'success' then q.n else 0 end,
        case when q.status = 'success' then 0 else q.n end
    from ends
    join rollup.call_quarters q
        on q.quarter >= ends.rows_until and q.quarter < least(ends.hours_from, ends.rows_from)
        or q.quarter >= greatest(ends.hours_from, ends.hours_until) and q.quarter < ends.rows_from
),
latest as (
    -- The spans with the last call that succeeded and the last that failed: of their rows the last tells the moment.
    select
        integration,
        max(start_at) filter (where succeeded > 0) as succeeded_from,
        max(end_at) filter (where succeeded > 0) as succeeded_until,
        max(start_at) filter (where failed > 0) as failed_from,
        max(end_at) filter (where failed > 0) as failed_until
    from spans
    group by 1
),
recent as (
    select k.integration, k.called_at, k.status, k.duration_ms, k.error_code
    from pieces
    join bi.integration_calls k on k.called_at >= pieces.rows_from and k.called_at < pieces.end_at
    union all
    select k.integration, k.called_at, k.status, k.duration_ms, k.error_code
    from pieces
    join bi.integration_calls k
        on k.called_at >= pieces.week_at and k.called_at < least(pieces.rows_until, pieces.rows_from)
    union all
    select k.integration, k.called_at, k.status, k.duration_ms, k.error_code
    from latest
    -- One for each status: the index of failures serves a statement that names what it holds, and no comparison.
    cross join lateral (
        select *
        from bi.integration_calls k
        where k.integration = latest.integration
            and k.status = 'success'
            and k.called_at >= latest.succeeded_from
            and k.called_at < latest.succeeded_until
        order by k.called_at desc
        limit 1
    ) as k
    union all
    select k.integration, k.called_at, k.status, k.duration_ms, k.error_code
    from latest
    cross join lateral (
        select *
        from bi.integration_calls k
        where k.integration = latest.integration
            and k.status <> 'success'
            and k.called_at >= latest.failed_from
            and k.called_at < latest.failed_until
        order by k.called_at desc
        limit 1
    ) as k
),
earlier as (
    -- Of the day, what is not among the last rows.
    select integration, sum(n) as calls, sum(n) filter (where status <> 'success') as failed
    from (
        select t.integration, t.status, t.n
        from ends
        join rollup.call_running_totals t
            on t.until = greatest(ends.start_at, ends.hours_until) and t.day = cast(:day as date)
        union all
        select q.integration, q.status, q.n
        from ends
        join rollup.call_quarters q
            on q.quarter >= greatest(ends.start_at, ends.hours_until) and q.quarter < ends.rows_from
    ) as counted
    group by 1
)
select
    recent.integration,
    count(*) filter (where called_at >= end_at - interval '1 hour') as calls_hour,
    count(*) filter (where called_at >= end_at - interval '1 hour' and status <> 'success') as failed_hour,
    percentile_cont(0.95) within group (order by duration_ms)
        filter (where called_at >= end_at - interval '1 hour') as p95_ms,
    count(*) filter (where called_at >= greatest(start_at, rows_from)) + coalesce(max(earlier.calls), 0)::bigint
        as calls_day,
    count(*) filter (where called_at >= greatest(start_at, rows_from) and status <> 'success')
        + coalesce(max(earlier.failed), 0)::bigint as failed_day,
    max(called_at) filter (where status = 'success') as last_success,
    max(called_at) filter (where status <> 'success') as last_failure,
    (array_agg(coalesce(error_code, status) order by called_at desc) filter (where status <> 'success'))[1]
        as last_error_code
from recent
cross join pieces
left join earlier on earlier.integration = recent.integration
group by recent.integration
order by recent.integration
