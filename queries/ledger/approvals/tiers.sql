-- title: Tiers of applications
-- description: A row is one tier that an application has. The empty one is none.
-- column: tier text -- the tier
-- ttl: 3600
select tier from rollup.applications group by tier order by tier collate "C"
