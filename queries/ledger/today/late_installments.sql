-- title: Late installments
-- description: A row is one day and one bucket of days past due: the installments due before that day and not fully paid
--   at the cut. Amounts are as scheduled.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: installments integer [count] -- installments late
-- column: amount numeric [MXN] -- their scheduled amount
-- ttl: 300
with elapsed as (
    -- How much of :day is over, by its own clock: every other day is cut at the same time of day.
    select greatest(
        least(
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) at time zone :timezone
                - cast(:day as date)::timestamp,
            interval '1 day'
        ),
        interval '0'
    ) as time_of_day
),
cut as (
    select
        wanted.day,
        wanted.day::timestamp at time zone :timezone as start_at,
        (wanted.day::timestamp + elapsed.time_of_day) at time zone :timezone as end_at
    from (select distinct unnest(cast(:days as date[])) as day) as wanted, elapsed
),
numbered as (
    select cut.*, row_number() over (order by day) as number from cut
),
reach as (
    select array_agg(day order by day) as days, min(day) as first_day, max(day) as last_day from cut
),
paid as materialized (
    -- What was late on one of the days, by the days on which it was due and paid.
    select due_day, paid_day, sum(n) as installments, sum(amount_due) as amount
    from rollup.installments
    where (paid_day is null or (paid_day >= (select first_day from reach) and paid_day > due_day))
        and due_day < (select last_day from reach)
    group by 1, 2
),
cells as materialized (
    -- The slot counts the days at whose end it had not been paid.
    select
        due_day as due_date,
        coalesce(width_bucket(paid_day - 1, reach.days), cardinality(reach.days)) as unpaid_until,
        sum(installments) as installments,
        sum(amount) as amount
    from paid, reach
    group by 1, 2
    union all
    -- What was paid on a day after its cut was unpaid at the cut: from the rows, by due day and time of payment. Where
    -- the cut is the present minute, the daily table itself is the state at the cut.
    select paid.due_day, -numbered.number, later.installments, later.amount
    from numbered
    join paid on paid.paid_day = numbered.day and paid.due_day < numbered.day
    cross join lateral (
        select count(*) as installments, sum(i.amount_due) as amount
        from bi.installments i
        where i.due_date = paid.due_day
            and i.paid_at >= numbered.end_at
            and i.paid_at < (numbered.day + 1)::timestamp at time zone :timezone
    ) as later
    where numbered.end_at < (numbered.day + 1)::timestamp at time zone :timezone
        and numbered.end_at < now() - interval '5 minutes'
        and later.installments > 0
),
late as (
    select
        numbered.day,
        case
            when numbered.day - cells.due_date <= 7 then '1-7'
            when numbered.day - cells.due_date <= 15 then '8-15'
            when numbered.day - cells.due_date <= 30 then '16-30'
            when numbered.day - cells.due_date <= 60 then '31-60'
            when numbered.day - cells.due_date <= 90 then '61-90'
            else '90+'
        end as bucket,
        cells.installments,
        cells.amount
    from numbered
    join cells
        on cells.due_date < numbered.day
        and (cells.unpaid_until >= numbered.number or cells.unpaid_until = -numbered.number)
)
select
    cut.day,
    case when grouping(bucket) = 0 then 'bucket' else 'all' end as dimension,
    case when grouping(bucket) = 0 then bucket else 'all' end as segment,
    coalesce(sum(installments), 0)::bigint as installments,
    coalesce(sum(amount), 0) as amount
from cut
left join late on late.day = cut.day
group by grouping sets ((cut.day), (cut.day, bucket))
having grouping(bucket) = 1 or bucket is not null
order by cut.day, dimension, array_position(array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'], bucket)
