-- title: First-payment default by due month
-- description: A row is the first installments that fell due in one month of the period. In default is one not fully
--   paid at the end of the 30th day after it was due. Those whose 30th day is not over are undecided, paid or not: to
--   count the paid ones alone would flatter the month.
-- param: first date -- the first due day
-- param: last date -- the last due day
-- param: as_of date -- today: a day is over when it lies before it
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- column: month date -- first day of the due month
-- column: first_due date -- first due day of the month within the period
-- column: last_due date -- last due day of the month within the period
-- column: decided_until date -- last due day of these whose 30th day after is over; before first_due when there is none
-- column: decided integer [count] -- first installments whose 30th day after is over
-- column: defaulted integer [count] -- of these, not fully paid by then
-- column: undecided integer [count] -- first installments whose 30th day after is yet to end
-- column: amount numeric [MXN] -- scheduled amount of those decided
-- column: defaulted_amount numeric [MXN] -- scheduled amount of those in default
-- column: share double [share] -- defaulted of decided; null when none is decided
-- ttl: 300
select
    date_trunc('month', due_day::timestamp)::date as month,
    greatest(date_trunc('month', due_day::timestamp)::date, cast(:first as date)) as first_due,
    least((date_trunc('month', due_day::timestamp) + interval '1 month' - interval '1 day')::date, cast(:last as date))
        as last_due,
    least(
        (date_trunc('month', due_day::timestamp) + interval '1 month' - interval '1 day')::date,
        cast(:last as date),
        cast(:as_of as date) - 31
    ) as decided_until,
    coalesce(sum(n) filter (where due_day + 30 < cast(:as_of as date)), 0)::bigint as decided,
    coalesce(sum(n - paid_30) filter (where due_day + 30 < cast(:as_of as date)), 0)::bigint as defaulted,
    coalesce(sum(n) filter (where due_day + 30 >= cast(:as_of as date)), 0)::bigint as undecided,
    coalesce(sum(amount_due) filter (where due_day + 30 < cast(:as_of as date)), 0) as amount,
    coalesce(sum(amount_due - settled_30) filter (where due_day + 30 < cast(:as_of as date)), 0) as defaulted_amount,
    (
        coalesce(sum(n - paid_30) filter (where due_day + 30 < cast(:as_of as date)), 0)
        / nullif(sum(n) filter (where due_day + 30 < cast(:as_of as date)), 0)
    )::double precision as share
from rollup.due_days
where first
    and due_day >= cast(:first as date)
    and due_day <= cast(:last as date)
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
group by date_trunc('month', due_day::timestamp)
order by month
