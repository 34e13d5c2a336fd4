-- title: The day in quarters of an hour
-- description: A row is one day and one quarter of an hour in which something happened.
-- param: days date[] -- all days wanted
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day
-- column: minute integer [min] -- minutes since local midnight at which the quarter begins
-- column: applications integer [count] -- applications submitted
-- column: approved integer [count] -- applications approved
-- column: credits integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- column: succeeded integer [count] -- payments that succeeded
-- ttl: 60
with span as (
    select
        wanted.day,
        wanted.day::timestamp at time zone :timezone as start_at,
        least(
            (wanted.day + 1)::timestamp at time zone :timezone,
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now()))
        ) as end_at
    from (select distinct unnest(cast(:days as date[])) as day) as wanted
),
pieces as (
    -- Quarters come from the daily tables, but for those that the last refresh may not have found whole: they are read
    -- from the rows.
    select
        span.*,
        greatest(
            start_at,
            date_bin(
                '15 minutes',
                least(end_at, (select min(refreshed_at) from rollup.state) - interval '15 minutes'),
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from span
),
happened as (
    select pieces.day, q.quarter as at, q.n as applications, 0 as approved, 0 as credits, 0::numeric as amount, 0 as succeeded
    from pieces
    join rollup.application_quarters_all q
        on q.quarter >= (select min(start_at) from span)
        and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    union all
    select pieces.day, a.submitted_at, 1, 0, 0, 0, 0
    from pieces join bi.applications a on a.submitted_at >= pieces.rows_from and a.submitted_at < pieces.end_at
    union all
    select pieces.day, q.quarter, 0, q.n, 0, 0, 0
    from pieces
    join rollup.decision_quarters_all q
        on q.quarter >= (select min(start_at) from span)
        and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    where q.status = 'approved'
    union all
    select pieces.day, a.decided_at, 0, 1, 0, 0, 0
    from pieces join bi.applications a on a.decided_at >= pieces.rows_from and a.decided_at < pieces.end_at
    where a.status = 'approved'
    union all
    select pieces.day, q.quarter, 0, 0, q.n, q.amount, 0
    from pieces
    join rollup.disbursement_quarters_all q
        on q.quarter >= (select min(start_at) from span)
        and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    union all
    select pieces.day, c.disbursed_at, 0, 0, 1, c.principal, 0
    from pieces join bi.credits c on c.disbursed_at >= pieces.rows_from and c.disbursed_at < pieces.end_at
    union all
    select pieces.day, q.quarter, 0, 0, 0, 0, q.n
    from pieces
    join rollup.payment_quarters_all q
        on q.quarter >= (select min(start_at) from span)
        and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    where q.status = 'succeeded'
    union all
    select pieces.day, p.processed_at, 0, 0, 0, 0, 1
    from pieces join bi.payments p on p.processed_at >= pieces.rows_from and p.processed_at < pieces.end_at
    where p.status = 'succeeded'
),
counted as (
    select
        day,
        date_bin('15 minutes', at, timestamptz '2000-01-01 00:00Z') as quarter,
        sum(applications) as applications,
        sum(approved) as approved,
        sum(credits) as credits,
        sum(amount) as amount,
        sum(succeeded) as succeeded
    from happened
    group by 1, 2
)
select
    day,
    (extract(hour from quarter at time zone :timezone) * 60
        + extract(minute from quarter at time zone :timezone))::integer as minute,
    sum(applications)::bigint as applications,
    sum(approved)::bigint as approved,
    sum(credits)::bigint as credits,
    sum(amount) as amount,
    sum(succeeded)::bigint as succeeded
from counted
group by 1, 2
order by 1, 2
