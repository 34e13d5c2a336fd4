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
    from (
        values (1, '1-7', 1, 7), (2, '8-15', 8, 15), (3, '16-30', 16, 30), (4, '31-60', 31, 60), (5, '61-90', 61, 90),
            (6, '90+', 91, 1000000)
    ) as scale (bucket, late, lower, upper)
    where cardinality(cast(:late as text[])) = 0 or late = any(cast(:late as text[]))
),
cell as (
    -- Only what is late on some day of the period: paid after its first day, and two days after it was due or later.
    -- What is over 90 days late already on the first day is so on all of them, and need not be told apart.
    select
        greatest(due_day, cast(:first as date) - 91) as due_day,
        least(coalesce(paid_day, cast(:last as date) + 1), cast(:last as date) + 1) as paid_day,
        sum(n) as n,
        sum(amount_due) as amount
    from rollup.installments
    where due_day < cast(:last as date)
        and (paid_day is null or (paid_day > cast(:first as date) and paid_day > due_day + 1))
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by 1, 2
),
stay as (
    -- An installment enters a bucket on one day and leaves it on another, or when it is paid: two events, however many
    -- days lie between them.
    select
        edge.bucket,
        greatest(cell.due_day + edge.lower, cast(:first as date)) as enters,
        least(cell.due_day + edge.upper + 1, cell.paid_day) as leaves,
        cell.n,
        cell.amount
    from cell
    cross join edge
),
change as (
    select enters as day, bucket, n, amount from stay where enters < leaves
    union all
    select leaves, bucket, -n, -amount from stay where enters < leaves
),
step as (
    select day, bucket, sum(n) as n, sum(amount) as amount from change group by day, bucket
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
