-- title: Changes of late installments
-- description: A row is one day, tier and bucket of days past due: by how many installments, and by how much of their
--   scheduled amount, the bucket changed on the day. What is late at the end of a day is the sum of all changes up to
--   it: an installment enters a bucket on one day, and leaves it on another or when it is paid, in whichever comes first.
-- column: day date -- business day; days to come hold what happens when nothing is paid
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: bucket smallint -- days past due: 1 1-7, 2 8-15, 3 16-30, 4 31-60, 5 61-90, 6 over 90
-- column: n bigint [count] -- change of the installments in the bucket
-- column: amount numeric [MXN] -- change of their scheduled amount
select
    change.day,
    i.tier,
    edge.bucket::smallint as bucket,
    sum(change.sign * i.n)::bigint as n,
    sum(change.sign * i.amount_due) as amount
from rollup.installments i
join (values (1, 1, 8), (2, 8, 16), (3, 16, 31), (4, 31, 61), (5, 61, 91), (6, 91, null)) as edge (bucket, late, until)
    on i.paid_day is null or i.paid_day > i.due_day + edge.late
-- The least of a day and null is the day: the last bucket is left when it is paid alone, if ever.
cross join lateral (
    values (i.due_day + edge.late, 1), (least(i.due_day + edge.until, i.paid_day), -1)
) as change (day, sign)
where change.day is not null
group by 1, 2, 3
having sum(change.sign * i.n) <> 0 or sum(change.sign * i.amount_due) <> 0
