-- title: Collection by due period
-- description: A row is what fell due in one day, week or month of the period, and what of it was collected. A payment
--   counts by the day that made its installment fully paid; what was paid in part counts for now alone. Days after
--   due that are not over yet leave their installments out of that column's due amount and collected amount alike.
-- param: first date -- the first due day
-- param: last date -- the last due day
-- param: as_of date -- today: a day is over when it lies before it
-- param: grain text = month -- day, week (from Monday) or month
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- column: period date -- first day of the day, week or month
-- column: first_due date -- its first due day within the period
-- column: last_due date -- its last due day within the period
-- column: installments integer [count] -- installments due
-- column: paid integer [count] -- of these, fully paid by now
-- column: due numeric [MXN] -- scheduled amount
-- column: collected numeric [MXN] -- paid by now, in full or in part
-- column: collected_by_last numeric [MXN] -- paid in full by the period's last day, by its installments' scheduled amount
-- column: installments_7 integer [count] -- installments whose 7th day after is over
-- column: due_7 numeric [MXN] -- scheduled amount whose 7th day after is over
-- column: collected_7 numeric [MXN] -- of this, paid in full by the 7th day after it was due
-- column: installments_30 integer [count] -- installments whose 30th day after is over
-- column: due_30 numeric [MXN] -- scheduled amount whose 30th day after is over
-- column: collected_30 numeric [MXN] -- of this, paid in full by the 30th day after it was due
-- ttl: 300
with later as (
    -- What was paid after the period's last day: nothing, where that is today.
    select date_trunc(:grain, due_day::timestamp)::date as period, sum(amount_due) as amount
    from rollup.installments
    where paid_day > cast(:last as date)
        and due_day >= cast(:first as date)
        and due_day <= cast(:last as date)
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by 1
),
due as (
    select
        date_trunc(:grain, due_day::timestamp)::date as period,
        sum(n)::bigint as installments,
        sum(paid)::bigint as paid,
        sum(amount_due) as due,
        sum(amount_paid) as collected,
        sum(settled) as settled,
        coalesce(sum(n) filter (where due_day + 7 < cast(:as_of as date)), 0)::bigint as installments_7,
        coalesce(sum(amount_due) filter (where due_day + 7 < cast(:as_of as date)), 0) as due_7,
        coalesce(sum(settled_7) filter (where due_day + 7 < cast(:as_of as date)), 0) as collected_7,
        coalesce(sum(n) filter (where due_day + 30 < cast(:as_of as date)), 0)::bigint as installments_30,
        coalesce(sum(amount_due) filter (where due_day + 30 < cast(:as_of as date)), 0) as due_30,
        coalesce(sum(settled_30) filter (where due_day + 30 < cast(:as_of as date)), 0) as collected_30
    from rollup.due_days
    where due_day >= cast(:first as date)
        and due_day <= cast(:last as date)
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by 1
)
select
    due.period,
    greatest(due.period, cast(:first as date)) as first_due,
    least((due.period + cast('1 ' || :grain as interval) - interval '1 day')::date, cast(:last as date)) as last_due,
    due.installments,
    due.paid,
    due.due,
    due.collected,
    due.settled - coalesce(later.amount, 0) as collected_by_last,
    due.installments_7,
    due.due_7,
    due.collected_7,
    due.installments_30,
    due.due_30,
    due.collected_30
from due
left join later on later.period = due.period
order by period
