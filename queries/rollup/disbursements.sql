-- title: Disbursements by day
-- description: A row is one day and tier of the credits disbursed on it.
-- column: day date -- business day of the disbursement
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
select
    (c.disbursed_at at time zone :timezone)::date as day,
    coalesce(c.sinosure_tier, '') as tier,
    count(*) as n,
    sum(c.principal) as amount
from bi.credits c
where c.disbursed_at is not null
group by 1, 2
