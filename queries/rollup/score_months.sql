-- title: HASE scores by month
-- description: A row is one month, tier, score and model version of the scores calculated in it.
-- column: month date -- first day of the month of the calculation
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: score smallint [points] -- HASE score, 0 to 100
-- column: model_version text -- version of the model
-- column: n bigint [count] -- scores
-- column: first_day date -- first day of the month with one of them
-- column: last_day date -- last day of the month with one of them
select
    date_trunc('month', s.day::timestamp)::date as month,
    s.tier,
    s.score,
    s.model_version,
    sum(s.n)::bigint as n,
    min(s.day) as first_day,
    max(s.day) as last_day
from rollup.scores s
group by 1, 2, 3, 4
