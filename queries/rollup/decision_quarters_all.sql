-- title: Decisions by quarter of an hour, all tiers
-- description: A row is one quarter of an hour and status of the applications of all tiers decided in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: status text -- approved, rejected or whatever else was decided
-- column: n bigint [count] -- applications decided
select q.quarter, q.status, sum(q.n)::bigint as n
from rollup.decision_quarters q
group by 1, 2
