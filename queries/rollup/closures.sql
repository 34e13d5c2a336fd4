-- title: Closed credits by day
-- description: A row is one day and tier of the disbursed credits that were closed on it.
-- column: day date -- business day on which they were closed
-- column: disbursed_day date -- business day of their disbursement where it is later than that; null: it is not
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits closed
-- column: amount numeric [MXN] -- their principal
select
    (c.closed_at at time zone :timezone)::date as day,
    case when c.disbursed_at > c.closed_at then (c.disbursed_at at time zone :timezone)::date end as disbursed_day,
    coalesce(c.sinosure_tier, '') as tier,
    count(*) as n,
    sum(c.principal) as amount
from bi.credits c
where c.closed_at is not null and c.disbursed_at is not null
group by 1, 2, 3
