-- title: Payments by quarter of an hour
-- description: A row is one quarter of an hour, method, status and failure code of the payments processed in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: method text -- card, oxxo, spei or another
-- column: status text -- succeeded, failed, pending, refunded or another
-- column: failure_code text -- why it failed; empty: none
-- column: n bigint [count] -- payments
-- column: amount numeric [MXN] -- their amount
select
    date_bin('15 minutes', p.processed_at, timestamptz '2000-01-01 00:00Z') as quarter,
    p.method,
    p.status,
    coalesce(p.failure_code, '') as failure_code,
    count(*) as n,
    sum(p.amount) as amount
from bi.payments p
group by 1, 2, 3, 4
