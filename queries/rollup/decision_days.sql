-- title: Decisions by day, all HASE bands
-- description: A row is one day, tier and status of the applications of all HASE bands decided on it.
-- column: day date -- business day of the decision
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: status text -- approved, rejected or whatever else was decided
-- column: n bigint [count] -- applications decided
-- column: amount numeric [MXN] -- amount requested
-- column: principal numeric [MXN] -- principal of their credits; 0 when there is none
select d.day, d.tier, d.status, sum(d.n)::bigint as n, sum(d.amount) as amount, sum(d.principal) as principal
from rollup.decisions d
group by 1, 2, 3
