-- title: HASE scores by month
-- description: A row is one month and one score: how many scores of that value the month calculated, up to the last day.
-- param: last date -- last day; its month is taken up to it
-- param: months integer = 24 -- months, that of the last day among them
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: month date -- first day of the month
-- column: last_day date -- last day of it that is counted
-- column: score integer [score] -- HASE score, 0 to 100
-- column: scores integer [count] -- scores calculated
-- ttl: 300
with cells as (
    select month, tier, score, model_version, n
    from rollup.score_months
    where month < date_trunc('month', cast(:last as date)::timestamp)
        and month >= date_trunc('month', cast(:last as date)::timestamp)
            - (cast(:months as integer) - 1) * interval '1 month'
    union all
    select date_trunc('month', day::timestamp)::date, tier, score, model_version, n
    from rollup.scores
    where day <= :last and day >= date_trunc('month', cast(:last as date)::timestamp)
),
counted as (
    select month, score, sum(n)::bigint as scores
    from cells
    where (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
        and (cardinality(cast(:model_version as text[])) = 0 or model_version = any(cast(:model_version as text[])))
    group by 1, 2
)
select
    month,
    least((month + interval '1 month')::date - 1, cast(:last as date)) as last_day,
    score,
    scores
from counted
order by month, score
