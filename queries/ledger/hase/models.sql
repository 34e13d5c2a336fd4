-- title: HASE model versions
-- description: A row is one model version, with the first and the last day on which it calculated a score.
-- param: last date -- days after this one are left out
-- column: model_version text -- version of the model
-- column: first_day date -- first day with a score of it
-- column: last_day date -- last day with a score of it
-- column: scores integer [count] -- scores that it calculated
-- ttl: 300
with counted as (
    select model_version, first_day, last_day, n
    from rollup.score_months
    where month < date_trunc('month', cast(:last as date)::timestamp)
    union all
    select model_version, day, day, n
    from rollup.scores
    where day >= date_trunc('month', cast(:last as date)::timestamp) and day <= :last
)
select
    model_version,
    min(first_day) as first_day,
    max(last_day) as last_day,
    sum(n)::bigint as scores
from counted
group by model_version
order by first_day, model_version
