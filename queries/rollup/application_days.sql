-- title: Applications by day of submission, all HASE bands
-- description: A row is one day, tier and status of the applications of all HASE bands submitted on it.
-- column: day date -- business day of submission
-- column: tier text -- Sinosure tier; empty: none
-- column: status text -- status of the application
-- column: n bigint [count] -- applications
select a.day, a.tier, a.status, sum(a.n)::bigint as n
from rollup.applications a
group by 1, 2, 3
