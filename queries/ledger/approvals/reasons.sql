-- title: Rejections by reason
-- description: A row is one reason of the applications rejected in the period, whenever they were submitted.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- column: reason text -- rejection reason; empty for none
-- column: n integer [count] -- applications rejected
-- ttl: 60
select
    reason,
    sum(n) as n
from rollup.decisions
where day between :first and :last
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:bands as integer[])) = 0 or band = any(cast(:bands as integer[])))
    and status = 'rejected'
group by reason
order by n desc, reason;
