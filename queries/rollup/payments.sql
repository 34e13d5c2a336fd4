-- title: Payments by day
-- description: A row is one day, method, status and failure code of the payments processed on it.
-- column: day date -- business day on which it was processed
-- column: method text -- card, oxxo, spei or another
-- column: status text -- succeeded, failed, pending, refunded or another
-- column: failure_code text -- why it failed; empty: none
-- column: n bigint [count] -- payments
-- column: amount numeric [MXN] -- their amount
select
    (p.processed_at at time zone :timezone)::date as day,
    p.method,
    p.status,
    coalesce(p.failure_code, '') as failure_code,
    count(*) as n,
    sum(p.amount) as amount
from bi.payments p
group by 1, 2, 3, 4
