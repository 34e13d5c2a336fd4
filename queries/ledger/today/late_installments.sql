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
    select cut.*, row_number() over (order by end_at) as number from cut
),
reach as (
    select
        array_agg(end_at order by end_at) as ends, min(end_at) as first_end, max(day) as last_day from cut
),
cells as materialized (
    -- One pass over what was unpaid at the first cut or later. The slot counts the cuts that found it unpaid, so a few
    -- thousand cells stand for all installments, whatever the number of days.
    select
        i.due_date,
        coalesce(width_bucket(i.paid_at, reach.ends), cardinality(reach.ends)) as unpaid_until,
        count(*) as installments,
        sum(i.amount_due) as amount
    from bi.installments i, reach
    where i.due_date < reach.last_day
        and (i.paid_at is null or (
            i.paid_at >= reach.first_end and i.paid_at >= (i.due_date + 1)::timestamp at time zone :timezone
        ))
    group by 1, 2
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
    join cells on cells.due_date < numbered.day and cells.unpaid_until >= numbered.number
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
