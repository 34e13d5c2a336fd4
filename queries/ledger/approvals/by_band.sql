-- title: Approvals by HASE band
-- description: A row is one HASE band of the applications approved or rejected in the period, whenever they were submitted.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- column: band integer -- lower edge of the band of ten points; 90 holds 90 to 100, -1 is no score
-- column: approved integer [count] -- applications approved
-- column: rejected integer [count] -- applications rejected
-- column: decided integer [count] -- approved and rejected
-- column: requested numeric [MXN] -- amount requested by the applications approved
-- column: principal numeric [MXN] -- principal of the credits approved
-- ttl: 60
select
    band,
    coalesce(sum(n) filter (where status = 'approved'), 0) as approved,
    coalesce(sum(n) filter (where status = 'rejected'), 0) as rejected,
    sum(n) as decided,
    coalesce(sum(amount) filter (where status = 'approved'), 0) as requested,
    coalesce(sum(principal) filter (where status = 'approved'), 0) as principal
from rollup.decisions
where day between :first and :last
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:bands as integer[])) = 0 or band = any(cast(:bands as integer[])))
    and status in ('approved', 'rejected')
group by band
order by band;
