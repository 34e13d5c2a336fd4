-- title: Outcomes of credits by score
-- description: A row is one month of approval, one HASE score and one outcome, as known today. Bad is a credit that ever had an
--   installment more than 30 days late, good one that never had and was disbursed 180 days ago or earlier, young one that never
--   had and is younger, none one that was never disbursed.
-- param: first_month date -- first month of approval (its first day)
-- param: last_month date -- last month of approval (its first day)
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: month date -- first day of the month of approval
-- column: score integer [score] -- HASE score of the application, -1 when it has none
-- column: state text -- bad, good, young or none
-- column: credits integer [count] -- credits
-- column: principal numeric [MXN] -- their principal
-- ttl: 300
select
    s.month,
    s.score,
    s.state,
    sum(s.n)::bigint as credits,
    sum(s.principal) as principal
from rollup.outcomes s
where s.month between :first_month and :last_month
    and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
group by s.month, s.score, s.state
order by month, score, state
