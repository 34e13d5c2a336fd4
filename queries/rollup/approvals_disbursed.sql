-- title: Disbursed credits by day of approval
-- description: A row is one day of approval and tier, of the credits that were disbursed, whenever that was.
-- column: day date -- business day of the approval
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits
-- column: in_time bigint [count] -- of these, disbursed within 48 hours
-- column: amount numeric [MXN] -- principal of all of them
select
    w.day,
    w.tier,
    sum(w.n)::bigint as n,
    coalesce(sum(w.n) filter (where w.hours <= 48), 0)::bigint as in_time,
    sum(w.amount) as amount
from rollup.disbursement_waits w
group by 1, 2
