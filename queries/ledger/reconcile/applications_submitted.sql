-- title: Applications submitted, second by second
-- description: A row is one second: applications submitted in it. Compared with the metric that counts the same.
-- param: start timestamptz -- from this moment on
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids are wanted, too
-- column: at timestamptz -- second in which it happened
-- column: committed timestamptz -- second of the row's last change, where that is later by 10 s or more
-- column: n integer [count] -- applications submitted
-- column: ids text -- their ids, separated by commas; null when not asked for
-- ttl: 60
select
    date_trunc('second', a.submitted_at) as at,
    case when a.updated_at >= a.submitted_at + interval '10 seconds' then date_trunc('second', a.updated_at) end as committed,
    count(*) as n,
    case when cast(:with_ids as boolean) then string_agg(cast(a.application_id as text), ',' order by a.application_id) end as ids
from bi.applications a
where a.submitted_at >= cast(:start as timestamptz) and a.submitted_at < cast(:end as timestamptz)
group by 1, 2
order by 1, 2
