-- title: HASE scores of the period
-- description: A row is one score, one tier and one model version: how many scores of that value the period calculated.
-- param: first date -- first day
-- param: last date -- last day
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: score integer [score] -- HASE score, 0 to 100
-- column: tier text -- Sinosure tier of the application, empty when it has none
-- column: model_version text -- version of the model
-- column: scores integer [count] -- scores calculated; an application that is scored again counts again
-- ttl: 60
select
    s.score,
    s.tier,
    s.model_version,
    sum(s.n)::bigint as scores
from rollup.scores s
where s.day between :first and :last
    and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
group by s.score, s.tier, s.model_version
order by score, tier, model_version
