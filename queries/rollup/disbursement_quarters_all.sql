-- title: Disbursements by quarter of an hour, all tiers
-- description: A row is one quarter of an hour: the credits of all tiers disbursed in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: n bigint [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
select q.quarter, sum(q.n)::bigint as n, sum(q.amount) as amount
from rollup.disbursement_quarters q
group by 1
