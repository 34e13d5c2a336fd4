-- title: Credits from bucket to bucket, month by month
-- description: A row is one month, the state of credits at the end of the month before and their state at its end. The
--   state is the bucket of the oldest unpaid installment. Only months that are over.
-- param: first date -- a day of the first month
-- param: last date -- the last day: months that end after it are left out
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- column: month date -- first day of the month
-- column: before date -- last day of the month before
-- column: as_of date -- last day of the month
-- column: from_bucket integer -- -1 disbursed in the month, 0 current, 1 to 6 buckets of days past due
-- column: to_bucket integer -- 0 current, 1 to 6 buckets of days past due, 7 paid off
-- column: credits integer [count] -- credits that went this way
-- ttl: 300
select
    month,
    month - 1 as before,
    (month + interval '1 month' - interval '1 day')::date as as_of,
    from_bucket,
    to_bucket,
    sum(n)::bigint as credits
from rollup.rolls
where month >= date_trunc('month', cast(:first as date)::timestamp)::date
    and month + interval '1 month' <= cast(:last as date) + interval '1 day'
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
group by month, from_bucket, to_bucket
having sum(n) <> 0
order by month, from_bucket, to_bucket
