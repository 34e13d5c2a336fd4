-- title: Tiers of applications
-- description: A row is one tier that an application has. The empty one is none.
-- column: tier text -- the tier
-- ttl: 3600
with recursive known as (
    -- From one tier to the next by index: there are few, and many rows of each.
    select min(tier) as tier from rollup.applications
    union all
    select (select min(a.tier) from rollup.applications a where a.tier > known.tier) from known where known.tier is not null
)
select tier from known where tier is not null order by tier collate "C"
