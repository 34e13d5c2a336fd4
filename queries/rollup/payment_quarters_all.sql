-- title: Payments by quarter of an hour, all methods
-- description: A row is one quarter of an hour and status of the payments processed in it, whatever their method.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: status text -- succeeded, failed, pending, refunded or another
-- column: n bigint [count] -- payments
-- column: amount numeric [MXN] -- their amount
select q.quarter, q.status, sum(q.n)::bigint as n, sum(q.amount) as amount
from rollup.payment_quarters q
group by 1, 2
