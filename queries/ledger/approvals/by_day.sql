-- title: Approvals by day of decision
-- description: A row is one day on which an application was approved or rejected, whenever it was submitted.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- column: day date -- day of the decision
-- column: approved integer [count] -- applications approved
-- column: rejected integer [count] -- applications rejected
-- column: decided integer [count] -- approved and rejected
-- column: principal numeric [MXN] -- principal of the credits approved
-- with: decisions
-- ttl: 60
select
    day,
    coalesce(sum(n) filter (where status = 'approved'), 0) as approved,
    coalesce(sum(n) filter (where status = 'rejected'), 0) as rejected,
    sum(n) as decided,
    coalesce(sum(principal) filter (where status = 'approved'), 0) as principal
from decisions
where day between :first and :last
    and status in ('approved', 'rejected')
group by day
order by day;
