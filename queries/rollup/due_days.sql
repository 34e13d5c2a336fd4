-- title: Installments by due day
-- description: A row is one due day, tier and whether it is the credit's first, of installments: what was due, and what of
--   it has been paid by now, by the end of the 7th day after it was due and by that of the 30th.
-- column: due_day date -- day they are due
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: first boolean -- whether they are the first installments of their credits
-- column: n bigint [count] -- installments
-- column: paid bigint [count] -- of these, fully paid
-- column: paid_30 bigint [count] -- of these, fully paid by the 30th day after they were due
-- column: amount_due numeric [MXN] -- scheduled
-- column: amount_paid numeric [MXN] -- paid so far, in full or in part
-- column: settled numeric [MXN] -- scheduled amount of those fully paid
-- column: settled_7 numeric [MXN] -- of this, by the 7th day after they were due
-- column: settled_30 numeric [MXN] -- of this, by the 30th day after they were due
select
    i.due_day,
    i.tier,
    i.first,
    sum(i.n)::bigint as n,
    coalesce(sum(i.n) filter (where i.paid_day is not null), 0)::bigint as paid,
    coalesce(sum(i.n) filter (where i.paid_day <= i.due_day + 30), 0)::bigint as paid_30,
    sum(i.amount_due) as amount_due,
    sum(i.amount_paid) as amount_paid,
    coalesce(sum(i.amount_due) filter (where i.paid_day is not null), 0) as settled,
    coalesce(sum(i.amount_due) filter (where i.paid_day <= i.due_day + 7), 0) as settled_7,
    coalesce(sum(i.amount_due) filter (where i.paid_day <= i.due_day + 30), 0) as settled_30
from rollup.installments i
group by 1, 2, 3
