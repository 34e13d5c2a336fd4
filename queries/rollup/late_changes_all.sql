-- title: Changes of late installments of all tiers
-- description: A row is one day and bucket of days past due: the changes of all tiers together.
-- column: day date -- business day; days to come hold what happens when nothing is paid
-- column: bucket smallint -- days past due: 1 1-7, 2 8-15, 3 16-30, 4 31-60, 5 61-90, 6 over 90
-- column: n bigint [count] -- change of the installments in the bucket
-- column: amount numeric [MXN] -- change of their scheduled amount
select c.day, c.bucket, sum(c.n)::bigint as n, sum(c.amount) as amount
from rollup.late_changes c
group by 1, 2
having sum(c.n) <> 0 or sum(c.amount) <> 0
