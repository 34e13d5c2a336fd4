-- title: Payment success: events by hour
-- description: A row is one hour of the attempts that succeeded (good) or failed (bad).
-- param: first date -- first day
-- param: last date -- last day
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: time timestamptz -- start of the hour
-- column: good integer [count] -- attempts that succeeded
-- column: bad integer [count] -- attempts that failed
-- ttl: 60
select
    date_trunc('hour', quarter) as time,
    coalesce(sum(n) filter (where status = 'succeeded'), 0) as good,
    coalesce(sum(n) filter (where status = 'failed'), 0) as bad
from rollup.payment_quarters
where status in ('succeeded', 'failed')
    and quarter >= cast(:first as date)::timestamp at time zone :timezone
    and quarter < (cast(:last as date) + 1)::timestamp at time zone :timezone
group by 1
order by 1;
