-- title: Payments of the day so far
-- description: A row is one business day, whole hour that ends on it and kind: the payments processed on it until then.
-- column: day date -- business day
-- column: until timestamptz -- end of the hour (UTC), on the day or at its end
-- column: method text -- card, oxxo, spei or another
-- column: status text -- succeeded, failed, pending, refunded or another
-- column: failure_code text -- why it failed; empty: none
-- column: n bigint [count] -- payments
-- column: amount numeric [MXN] -- their amount
with hours as (
    select
        (q.quarter at time zone :timezone)::date as day,
        date_trunc('hour', q.quarter, 'UTC') + interval '1 hour' as hour_end,
        q.method, q.status, q.failure_code,
        sum(q.n) as n, sum(q.amount) as amount
    from rollup.payment_quarters q
    group by 1, 2, 3, 4, 5
)
select h.day, until.until, h.method, h.status, h.failure_code, sum(h.n)::bigint as n, sum(h.amount) as amount
from hours h
-- What came in an hour is part of every later one of its day.
cross join lateral generate_series(
    h.hour_end, (h.day + 1)::timestamp at time zone :timezone, interval '1 hour'
) as until (until)
group by 1, 2, 3, 4, 5
