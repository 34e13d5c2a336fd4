-- title: Disbursements by day and tier
-- description: A row is one day and one tier of the credits disbursed on it.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- column: day date -- day of the disbursement
-- column: tier text -- Sinosure tier; empty for none
-- column: credits integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- ttl: 60
select day, tier, sum(n) as credits, sum(amount) as amount
from rollup.disbursements
where day between :first and :last
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
group by day, tier
order by day, tier;
