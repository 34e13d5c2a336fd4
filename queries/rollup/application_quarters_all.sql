-- title: Applications by quarter of an hour, all tiers
-- description: A row is one quarter of an hour: the applications of all tiers submitted in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: n bigint [count] -- applications submitted
select q.quarter, sum(q.n)::bigint as n
from rollup.application_quarters q
group by 1
