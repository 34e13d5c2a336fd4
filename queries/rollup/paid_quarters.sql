-- title: Paid installments by quarter of an hour
-- description: A row is one quarter of an hour and bucket of the installments fully paid in it. What was late at a time of
--   day follows: what is late at the end of the day, and what was paid late in the quarters until then.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: bucket smallint -- days past due when paid: 0 none, 1 1-7, 2 8-15, 3 16-30, 4 31-60, 5 61-90, 6 over 90
-- column: n bigint [count] -- installments
-- column: amount numeric [MXN] -- scheduled
select
    date_bin('15 minutes', i.paid_at, timestamptz '2000-01-01 00:00Z') as quarter,
    width_bucket((i.paid_at at time zone :timezone)::date - i.due_date, array[1, 8, 16, 31, 61, 91])::smallint as bucket,
    count(*) as n,
    sum(i.amount_due) as amount
from bi.installments i
where i.paid_at is not null
group by 1, 2
