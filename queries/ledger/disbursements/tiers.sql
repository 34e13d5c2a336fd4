-- title: Tiers of disbursed credits
-- description: A row is one tier that a disbursed credit has. The empty one is none.
-- column: tier text -- the tier
-- column: first_day date -- the first day with a disbursement of it
-- ttl: 3600
select tier, min(day) as first_day from rollup.disbursements group by tier order by tier collate "C";
