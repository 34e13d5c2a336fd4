-- title: Applications by day of submission and what became of them
-- description: A row is one day of submission and one status: the applications of that day that have it by now.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- column: day date -- day of submission
-- column: status text -- status by now: approved, rejected, pending, withdrawn or one of the core's own
-- column: n integer [count] -- applications
-- with: submissions
-- ttl: 60
select
    day,
    status,
    sum(n) as n
from submissions
where day between :first and :last
group by day, status
order by day, status;
