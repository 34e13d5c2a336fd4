-- title: Tiers of credits
-- description: A row is one tier that a disbursed credit has, and since when. The empty one is none.
-- column: tier text -- the tier
-- column: first_day date -- the first day of a disbursement
-- ttl: 3600
select tier, min(day) as first_day from rollup.disbursements group by tier order by tier collate "C"
