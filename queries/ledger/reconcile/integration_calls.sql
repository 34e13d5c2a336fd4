-- title: Integration calls, second by second
-- description: A row is one second, integration and status: calls begun in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: integration text -- geotab, conekta, metamap, neon or another
-- column: status text -- success, error or timeout
-- column: n integer [count] -- calls begun
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', k.called_at) as at,
    cast(null as timestamptz) as committed,
    k.integration as integration,
    k.status as status,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(k.call_id as text), ',' order by k.call_id) end as ids
from bi.integration_calls k
where k.called_at >= cast(:start as timestamptz) and k.called_at < cast(:end as timestamptz)
group by 1, 2, 3, 4
order by 1, 2, 3, 4
