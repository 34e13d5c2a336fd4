-- title: Portfolio at risk by day
-- description: A row is one day of the period: the scheduled amount still unpaid of the credits in the portfolio at its
--   end, and how much of it is of credits whose oldest unpaid installment is more than 30 or 90 days late.
-- param: first date -- the first day of the period
-- param: last date -- the last day of the period
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- column: day date -- the end of this day
-- column: credits integer [count] -- credits disbursed and not paid off
-- column: credits30 integer [count] -- of these, over 30 days late
-- column: credits90 integer [count] -- of these, over 90 days late
-- column: amount numeric [MXN] -- scheduled amount of all their unpaid installments, due or not
-- column: amount30 numeric [MXN] -- that of the credits over 30 days late
-- column: amount90 numeric [MXN] -- that of the credits over 90 days late
-- column: par30 double [share] -- amount30 of amount; null when nothing is outstanding
-- column: par90 double [share] -- amount90 of amount; null when nothing is outstanding
-- ttl: 300
with step as (
    -- All that happened up to the first day is its opening balance.
    select
        greatest(day, cast(:first as date)) as day,
        sum(credits) as credits,
        sum(credits) filter (where bucket >= 4) as credits30,
        sum(credits) filter (where bucket >= 6) as credits90,
        sum(amount) as amount,
        sum(amount) filter (where bucket >= 4) as amount30,
        sum(amount) filter (where bucket >= 6) as amount90
    from rollup.exposure
    where day <= cast(:last as date)
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by 1
),
state as (
    select
        calendar.day::date as day,
        coalesce(sum(step.credits) over before, 0)::bigint as credits,
        coalesce(sum(step.credits30) over before, 0)::bigint as credits30,
        coalesce(sum(step.credits90) over before, 0)::bigint as credits90,
        coalesce(sum(step.amount) over before, 0) as amount,
        coalesce(sum(step.amount30) over before, 0) as amount30,
        coalesce(sum(step.amount90) over before, 0) as amount90
    from generate_series(
        cast(:first as date)::timestamp, cast(:last as date)::timestamp, interval '1 day'
    ) as calendar (day)
    left join step on step.day = calendar.day::date
    window before as (order by calendar.day)
)
select *, (amount30 / nullif(amount, 0))::double precision as par30, (amount90 / nullif(amount, 0))::double precision as par90
from state
order by day
