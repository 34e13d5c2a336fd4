-- title: Decisions by HASE band
-- description: A row is one band of ten points and one status of the applications decided in the period.
-- param: first date -- first day of decision
-- param: last date -- last day of decision
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- column: band integer [score] -- lowest score of the band; 90 holds the score 100 too, -1 is no score
-- column: status text -- status of the application
-- column: applications integer [count] -- applications decided
-- column: requested numeric [MXN] -- amount requested
-- column: principal numeric [MXN] -- principal of the credits that came of them
-- ttl: 60
select
    s.band,
    s.status,
    sum(s.n)::bigint as applications,
    sum(s.amount) as requested,
    sum(s.principal) as principal
from rollup.decisions s
where s.day between :first and :last
    and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
group by s.band, s.status
order by band, status
