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
-- with: cut
-- ttl: 300
with numbered as (
    select cut.*, row_number() over (order by day) as number from cut
),
reach as (
    select array_agg(day order by day) as days, max(day) as last_day from cut
),
opened as (
    -- Days with a part after their cut, which is over: minutes, quarters of an hour, hours, and quarters again where the
    -- day does not end with an hour.
    select
        ends.*,
        date_trunc('hour', quarters_from + interval '45 minutes', 'UTC') as hours_from,
        date_trunc('hour', day_end, 'UTC') as hours_until
    from (
        select
            day,
            end_at,
            date_bin('15 minutes', end_at - interval '1 microsecond', timestamptz '2000-01-01 00:00Z')
                + interval '15 minutes' as quarters_from,
            (day + 1)::timestamp at time zone :timezone as day_end
        from cut
    ) as ends
    where end_at < day_end and end_at < now() - interval '5 minutes'
),
cells as (
    -- The slot counts the days that are before the change: it is part of all the others.
    select c.bucket, width_bucket(c.day - 1, reach.days) as slot, sum(c.n) as n, sum(c.amount) as amount
    from rollup.late_changes_all c, reach
    where c.day <= reach.last_day
    group by 1, 2
),
late as (
    select numbered.day, cells.bucket, cells.n, cells.amount
    from numbered
    join cells on cells.slot < numbered.number
    union all
    -- What was paid late on a day after its cut was late at the cut: its hours are the day's running total at its last
    -- one less that at the first, quarters come from their table, the minutes before them from the rows. Where the cut is
    -- the present minute, the daily table is the state at the cut.
    select opened.day, t.bucket, t.n, t.amount
    from opened
    join rollup.paid_running_totals t on t.until = opened.hours_until and t.day = opened.day
    where t.bucket > 0 and opened.hours_from < opened.hours_until
    union all
    select opened.day, t.bucket, -t.n, -t.amount
    from opened
    join rollup.paid_running_totals t on t.until = opened.hours_from and t.day = opened.day
    where t.bucket > 0 and opened.hours_from < opened.hours_until
    union all
    select opened.day, q.bucket, q.n, q.amount
    from opened
    join rollup.paid_quarters q
        on q.quarter >= opened.quarters_from and q.quarter < least(opened.hours_from, opened.day_end)
    where q.bucket > 0
    union all
    select opened.day, q.bucket, q.n, q.amount
    from opened
    join rollup.paid_quarters q
        on q.quarter >= greatest(opened.hours_from, opened.hours_until) and q.quarter < opened.day_end
    where q.bucket > 0
    union all
    select opened.day, 1 + width_bucket(opened.day - i.due_date, array[8, 16, 31, 61, 91]), 1, i.amount_due
    from opened
    join bi.installments i on i.paid_at >= opened.end_at and i.paid_at < opened.quarters_from
    -- Written so that it is no range of the index by due day, in which the planner would look for each of the minutes.
    where opened.day - i.due_date > 0
)
select
    cut.day,
    case when grouping(bucket) = 0 then 'bucket' else 'all' end as dimension,
    case
        when grouping(bucket) = 0 then (array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'])[bucket]
        else 'all'
    end as segment,
    coalesce(sum(n), 0)::bigint as installments,
    coalesce(sum(amount), 0) as amount
from cut
left join late on late.day = cut.day
group by grouping sets ((cut.day), (cut.day, bucket))
having grouping(bucket) = 1 or sum(n) > 0
order by cut.day, dimension, bucket
