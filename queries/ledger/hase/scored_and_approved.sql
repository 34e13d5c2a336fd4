-- title: Scored and approved by score
-- description: A row is one HASE score: how many scores of that value the months calculated, and how many credits with it they
--   approved. Whoever is scored in one month and approved in the next counts in both.
-- param: first_month date -- first month (its first day)
-- param: last_month date -- last month (its first day)
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: score integer [score] -- HASE score, 0 to 100
-- column: scored integer [count] -- scores calculated; an application that is scored again counts again
-- column: approved integer [count] -- credits approved
-- ttl: 300
with counted as (
    select
        s.score,
        s.n as scored,
        0 as approved
    from rollup.scores s
    where s.day >= :first_month and s.day < cast(:last_month as date) + interval '1 month'
        and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
    union all
    select
        s.score,
        0 as scored,
        s.n as approved
    from rollup.outcomes s
    where s.month between :first_month and :last_month and s.score >= 0
        and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
)
select
    score,
    sum(scored)::bigint as scored,
    sum(approved)::bigint as approved
from counted
group by score
order by score
