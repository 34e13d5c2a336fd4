-- title: Disbursements by quarter of an hour
-- description: A row is one quarter of an hour and tier of the credits disbursed in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
select
    date_bin('15 minutes', c.disbursed_at, timestamptz '2000-01-01 00:00Z') as quarter,
    coalesce(c.sinosure_tier, '') as tier,
    count(*) as n,
    sum(c.principal) as amount
from bi.credits c
where c.disbursed_at is not null
group by 1, 2
