-- title: Late installments by day and bucket
-- description: A row is one day of the period and one bucket of days past due: the installments due before that day and
--   not fully paid by its end. Amounts are as scheduled, whatever was paid in part. A day without any has its zeros.
-- param: first date -- the first day of the period
-- param: last date -- the last day of the period
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- param: late text[] = {} -- buckets wanted, by their words; none is all
-- column: day date -- the end of this day
-- column: bucket integer -- 1 to 6: 1-7, 8-15, 16-30, 31-60, 61-90 and over 90 days past due
-- column: late text -- the bucket in words
-- column: installments integer [count] -- installments late
-- column: amount numeric [MXN] -- their scheduled amount
-- ttl: 300
with edge as (
    select *
    from (values (1, '1-7'), (2, '8-15'), (3, '16-30'), (4, '31-60'), (5, '61-90'), (6, '90+')) as scale (bucket, late)
    where cardinality(cast(:late as text[])) = 0 or late = any(cast(:late as text[]))
),
step as (
    -- All that happened up to the first day is its opening balance.
    select greatest(day, cast(:first as date)) as day, bucket, sum(n) as n, sum(amount) as amount
    from rollup.late_changes
    where day <= cast(:last as date)
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by 1, 2
)
select
    calendar.day::date as day,
    edge.bucket,
    edge.late,
    coalesce(sum(step.n) over before, 0)::bigint as installments,
    coalesce(sum(step.amount) over before, 0) as amount
from generate_series(cast(:first as date)::timestamp, cast(:last as date)::timestamp, interval '1 day') as calendar (day)
cross join edge
left join step on step.day = calendar.day::date and step.bucket = edge.bucket
window before as (partition by edge.bucket order by calendar.day)
order by day, bucket
