-- title: Payments, second by second
-- description: A row is one second, status and method: payments in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: status text -- succeeded, failed or another
-- column: method text -- card, oxxo, spei or another
-- column: n integer [count] -- payments
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', p.processed_at) as at,
    case when p.updated_at >= p.processed_at + interval '10 seconds' then date_trunc('second', p.updated_at) end as committed,
    p.status as status,
    p.method as method,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(p.payment_id as text), ',' order by p.payment_id) end as ids
from bi.payments p
where p.processed_at >= cast(:start as timestamptz) and p.processed_at < cast(:end as timestamptz)
group by 1, 2, 3, 4
order by 1, 2, 3, 4
