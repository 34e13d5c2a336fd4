-- title: HASE scores, second by second
-- description: A row is one second: scores calculated in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: n integer [count] -- scores calculated
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', s.calculated_at) as at,
    cast(null as timestamptz) as committed,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(s.score_id as text), ',' order by s.score_id) end as ids
from bi.hase_scores s
where s.calculated_at >= cast(:start as timestamptz) and s.calculated_at < cast(:end as timestamptz)
group by 1, 2
order by 1, 2
