-- title: Decisions of the day so far
-- description: A row is one business day, whole hour that ends on it and kind: the applications decided on it until then.
-- column: day date -- business day
-- column: until timestamptz -- end of the hour (UTC), on the day or at its end
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: status text -- approved, rejected or whatever else was decided
-- column: reason text -- reason of the rejection; empty: none
-- column: n bigint [count] -- applications decided
with hours as (
    select
        (q.quarter at time zone :timezone)::date as day,
        date_trunc('hour', q.quarter, 'UTC') + interval '1 hour' as hour_end,
        q.tier, q.status, q.reason,
        sum(q.n) as n
    from rollup.decision_quarters q
    group by 1, 2, 3, 4, 5
)
select h.day, until.until, h.tier, h.status, h.reason, sum(h.n)::bigint as n
from hours h
-- What came in an hour is part of every later one of its day.
cross join lateral generate_series(
    h.hour_end, (h.day + 1)::timestamp at time zone :timezone, interval '1 hour'
) as until (until)
group by 1, 2, 3, 4, 5
