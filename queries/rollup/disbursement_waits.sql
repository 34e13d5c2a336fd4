-- title: Time from approval to disbursement
-- description: A row is one day of approval, tier and wait in whole hours, of the credits that were disbursed.
-- column: day date -- business day of the approval
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: hours integer [h] -- hours from approval to disbursement, rounded up: over 48 h when above 48
-- column: n bigint [count] -- credits
-- column: amount numeric [MXN] -- their principal
select
    (c.approved_at at time zone :timezone)::date as day,
    coalesce(c.sinosure_tier, '') as tier,
    ceil(extract(epoch from c.disbursed_at - c.approved_at) / 3600)::integer as hours,
    count(*) as n,
    sum(c.principal) as amount
from bi.credits c
where c.disbursed_at is not null
group by 1, 2, 3
