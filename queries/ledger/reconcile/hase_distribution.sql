-- title: HASE scores by bucket, second by second
-- description: A row is one second and le: scores calculated in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: le text -- upper bound of the bucket of the metric hase_score_distribution
-- column: n integer [count] -- scores calculated
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', s.calculated_at) as at,
    cast(null as timestamptz) as committed,
    case when s.score <= 0 then '0' when s.score <= 50 then '50' when s.score <= 60 then '60' when s.score <= 70 then '70'
        when s.score <= 75 then '75' when s.score <= 80 then '80' when s.score <= 85 then '85' when s.score <= 90 then '90'
        when s.score <= 95 then '95' when s.score <= 100 then '100' else '+Inf' end as le,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(s.score_id as text), ',' order by s.score_id) end as ids
from bi.hase_scores s
where s.calculated_at >= cast(:start as timestamptz) and s.calculated_at < cast(:end as timestamptz)
group by 1, 2, 3
order by 1, 2, 3
