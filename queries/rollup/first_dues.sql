-- title: Days from approval to the first due day
-- description: A row is one number of days between the approval of a credit and the day on which its first installment is
--   due. The smallest tells how young a credit with an installment of some due day can be.
-- column: days integer [d] -- from the business day of approval to the first due day
-- column: n bigint [count] -- credits
select
    first.due_day - (c.approved_at at time zone :timezone)::date as days,
    count(*) as n
from bi.credits c
join (select i.credit_id, min(i.due_date) as due_day from bi.installments i group by i.credit_id) as first
    on first.credit_id = c.credit_id
where c.approved_at is not null
group by 1
