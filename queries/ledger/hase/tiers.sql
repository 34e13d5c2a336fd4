-- title: Tiers of scored applications
-- description: A row is one tier that a scored application has. The empty one is none.
-- column: tier text -- the tier
-- ttl: 3600
select s.tier
from rollup.score_months s
group by s.tier
order by s.tier collate "C"
