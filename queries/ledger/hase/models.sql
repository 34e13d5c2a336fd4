-- title: HASE model versions
-- description: A row is one model version, with the first and the last day on which it calculated a score.
-- param: last date -- days after this one are left out
-- column: model_version text -- version of the model
-- column: first_day date -- first day with a score of it
-- column: last_day date -- last day with a score of it
-- column: scores integer [count] -- scores that it calculated
-- ttl: 300
select
    s.model_version,
    min(s.day) as first_day,
    max(s.day) as last_day,
    sum(s.n)::bigint as scores
from rollup.scores s
where s.day <= :last
group by s.model_version
order by first_day, model_version
