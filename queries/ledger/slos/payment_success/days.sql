-- title: Payment success: events by day
-- description: A row is one day, method and failure code of the attempts that succeeded (good) or failed (bad). Pending
--   ones are undecided and not here; refunded ones are left out.
-- param: first date -- first day
-- param: last date -- last day
-- column: day date -- business day
-- column: segment text -- method
-- column: reason text -- failure code of failed ones; empty: none
-- column: good integer [count] -- attempts that succeeded
-- column: bad integer [count] -- attempts that failed
-- column: good_amount numeric [MXN] -- amount of the good ones
-- column: bad_amount numeric [MXN] -- amount of the bad ones
-- ttl: 60
select
    day,
    method as segment,
    case when status = 'failed' then failure_code else '' end as reason,
    coalesce(sum(n) filter (where status = 'succeeded'), 0) as good,
    coalesce(sum(n) filter (where status = 'failed'), 0) as bad,
    coalesce(sum(amount) filter (where status = 'succeeded'), 0) as good_amount,
    coalesce(sum(amount) filter (where status = 'failed'), 0) as bad_amount
from rollup.payments
where day between :first and :last and status in ('succeeded', 'failed')
group by 1, 2, 3
order by 1, 2, 3;
