-- title: Approved credits of the day so far
-- description: A row is one business day, whole hour that ends on it and tier: the credits approved on it until then, those
--   that had to be disbursed within 48 hours, and those that were.
-- column: day date -- business day of the approval
-- column: until timestamptz -- end of the hour (UTC), on the day or at its end
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits approved
-- column: due bigint [count] -- of these, to be disbursed within 48 hours
-- column: in_time bigint [count] -- of these, disbursed within 48 hours
with hours as (
    select
        (q.quarter at time zone :timezone)::date as day,
        date_trunc('hour', q.quarter, 'UTC') + interval '1 hour' as hour_end,
        q.tier,
        sum(q.n) as n, sum(q.due) as due, sum(q.in_time) as in_time
    from rollup.approval_quarters q
    group by 1, 2, 3
)
select h.day, until.until, h.tier, sum(h.n)::bigint as n, sum(h.due)::bigint as due, sum(h.in_time)::bigint as in_time
from hours h
-- What came in an hour is part of every later one of its day.
cross join lateral generate_series(
    h.hour_end, (h.day + 1)::timestamp at time zone :timezone, interval '1 hour'
) as until (until)
group by 1, 2, 3
