-- title: Paid installments of the day so far
-- description: A row is one business day, whole hour that ends on it and bucket: the installments fully paid on it until
--   then. What was paid after a time of day is what was paid by its end, less this.
-- column: day date -- business day
-- column: until timestamptz -- end of the hour (UTC), on the day or at its end
-- column: bucket smallint -- days past due when paid: 0 none, 1 1-7, 2 8-15, 3 16-30, 4 31-60, 5 61-90, 6 over 90
-- column: n bigint [count] -- installments
-- column: amount numeric [MXN] -- scheduled
with hours as (
    select
        (q.quarter at time zone :timezone)::date as day,
        date_trunc('hour', q.quarter, 'UTC') + interval '1 hour' as hour_end,
        q.bucket,
        sum(q.n) as n, sum(q.amount) as amount
    from rollup.paid_quarters q
    group by 1, 2, 3
)
select h.day, until.until, h.bucket, sum(h.n)::bigint as n, sum(h.amount) as amount
from hours h
-- What came in an hour is part of every later one of its day.
cross join lateral generate_series(
    h.hour_end, (h.day + 1)::timestamp at time zone :timezone, interval '1 hour'
) as until (until)
group by 1, 2, 3
