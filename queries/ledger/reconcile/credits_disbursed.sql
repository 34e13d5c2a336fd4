-- title: Credits disbursed, second by second
-- description: A row is one second: credits disbursed in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: n integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', c.disbursed_at) as at,
    case when c.updated_at >= c.disbursed_at + interval '10 seconds' then date_trunc('second', c.updated_at) end as committed,
    count(*) as n,
    sum(c.principal) as amount,
    case when cast(:with_ids as boolean) then string_agg(cast(c.credit_id as text), ',' order by c.credit_id) end as ids
from bi.credits c
where c.disbursed_at >= cast(:start as timestamptz) and c.disbursed_at < cast(:end as timestamptz)
group by 1, 2
order by 1, 2
