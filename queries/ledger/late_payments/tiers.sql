-- title: Tiers of credits
-- description: A row is one tier that a disbursed credit has. The empty one is none.
-- column: tier text -- the tier
-- ttl: 3600
select tier from rollup.disbursements group by tier order by tier collate "C"
