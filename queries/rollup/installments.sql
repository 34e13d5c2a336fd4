-- title: Installments by due day and paid day
-- description: A row is one due day, day of full payment, tier and whether it is the credit's first, of installments.
--   The state at the end of any day follows: unpaid is what has no paid day or a later one.
-- column: due_day date -- day it is due
-- column: paid_day date -- business day on which it was fully paid; null: unpaid
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: first boolean -- whether it is the first installment of its credit
-- column: n bigint [count] -- installments
-- column: amount_due numeric [MXN] -- scheduled
-- column: amount_paid numeric [MXN] -- paid so far
select
    i.due_date as due_day,
    (i.paid_at at time zone :timezone)::date as paid_day,
    coalesce(c.sinosure_tier, '') as tier,
    i.sequence = 1 as first,
    count(*) as n,
    sum(i.amount_due) as amount_due,
    sum(i.amount_paid) as amount_paid
from bi.installments i
left join bi.credits c on c.credit_id = i.credit_id
group by 1, 2, 3, 4
