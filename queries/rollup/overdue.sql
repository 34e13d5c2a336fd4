-- title: Overdue credits
-- description: A row is one credit with late installments: those due before the present day and not fully paid. Amounts
--   are scheduled less what was paid in part.
-- column: credit_id text -- the credit
-- column: day date -- the present day that the row is of
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: charged_off boolean -- whether the credit was charged off
-- column: oldest_due date -- day on which its oldest late installment was due
-- column: installments bigint [count] -- its late installments
-- column: overdue numeric [MXN] -- still owed of them
with edge as (
    select (now() at time zone :timezone)::date as today
)
select
    i.credit_id,
    edge.today as day,
    coalesce(c.sinosure_tier, '') as tier,
    coalesce(c.status = 'charged_off', false) as charged_off,
    min(i.due_date) as oldest_due,
    count(*) as installments,
    sum(i.amount_due - i.amount_paid) as overdue
from bi.installments i
cross join edge
left join bi.credits c on c.credit_id = i.credit_id
where i.paid_at is null and i.due_date < edge.today
group by 1, 2, 3, 4
