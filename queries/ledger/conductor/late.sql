-- title: Late history of a driver
-- description: A row is one installment of his credits that was due before the day, with the days that it was late
--     until it was paid, or until the day.
-- param: conductor_id text -- the driver, an opaque id
-- param: as_of date -- the day at whose end it stands
-- param: timezone text = $timezone -- the zone of the days
-- column: due_date date -- the day it was due
-- column: credit_id text -- the credit
-- column: sequence integer -- its place in the plan
-- column: amount_due numeric [MXN] -- scheduled amount
-- column: days_late integer [d] -- days late; 0: in time
-- column: unpaid boolean -- whether it is still unpaid
-- ttl: 15
select
    i.due_date,
    c.credit_id,
    i.sequence,
    i.amount_due,
    greatest(coalesce(i.paid_day, :as_of) - i.due_date, 0) as days_late,
    i.paid_day is null as unpaid
from bi.credits as c
cross join lateral (
    select
        i.*,
        case
            when (i.paid_at at time zone :timezone)::date <= :as_of then (i.paid_at at time zone :timezone)::date
        end as paid_day
    from bi.installments as i
    where i.credit_id = c.credit_id and i.due_date < :as_of
) as i
where c.conductor_id = :conductor_id
order by i.due_date, c.credit_id, i.sequence
limit 10000
