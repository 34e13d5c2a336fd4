-- title: Installments of a credit
-- description: A row is one installment at the end of a day; days late are those until it was paid, or until the day.
-- param: credit_id text -- the credit
-- param: as_of date -- the day at whose end it stands
-- param: timezone text = $timezone -- the zone of the days
-- column: sequence integer -- its place in the plan
-- column: due_date date -- the day it is due
-- column: amount_due numeric [MXN] -- scheduled amount
-- column: amount_paid numeric [MXN] -- paid up to now
-- column: paid_at timestamptz -- when it was paid in full
-- column: days_late integer [d] -- days past due when paid, or on the day; 0: not late
-- column: state text -- paid, paid_late, late, due (today) or coming
-- column: installment_id integer -- its number
-- ttl: 15
select
    sequence,
    due_date,
    amount_due,
    amount_paid,
    paid_at,
    greatest(coalesce(paid_day, :as_of) - due_date, 0) as days_late,
    case
        when paid_day is not null and paid_day > due_date then 'paid_late'
        when paid_day is not null then 'paid'
        when due_date < :as_of then 'late'
        when due_date = :as_of then 'due'
        else 'coming'
    end as state,
    installment_id
from (
    select *, case when paid_on <= :as_of then paid_on end as paid_day
    from (
        select *, (paid_at at time zone :timezone)::date as paid_on
        from bi.installments
        where credit_id = :credit_id
    ) as own
) as plan
order by sequence, installment_id
