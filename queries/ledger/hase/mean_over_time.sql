-- title: HASE mean over time by model version
-- description: A row is one day (or week, or month) and one model version, with the mean of the scores that it calculated.
-- param: first date -- first day
-- param: last date -- last day
-- param: grain text = day -- day, week or month
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: day date -- the day; of a week or month its first day
-- column: first_day date -- first day of it that the period holds
-- column: last_day date -- last day of it that the period holds
-- column: model_version text -- version of the model
-- column: scores integer [count] -- scores calculated
-- column: mean double [score] -- their mean
-- ttl: 60
with counted as (
    select
        date_trunc(cast(:grain as text), s.day::timestamp)::date as day,
        s.model_version,
        sum(s.n)::bigint as scores,
        sum(s.n * s.score) as score_sum
    from rollup.scores s
    where s.day between :first and :last
        and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
    group by 1, 2
)
select
    day,
    greatest(day, cast(:first as date)) as first_day,
    least((day + cast('1 ' || cast(:grain as text) as interval))::date - 1, cast(:last as date)) as last_day,
    model_version,
    scores,
    (score_sum / scores)::double precision as mean
from counted
order by day, model_version
