-- title: Credits that waited at the end of a day
-- description: One row: the credits approved up to the end of the day, less those disbursed or cancelled up to then.
-- param: last date -- the day at whose end one looks
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credits integer [count] -- credits that waited
-- column: amount numeric [MXN] -- their principal
-- ttl: 300
-- Of the credits disbursed by now, those waited at the end of the day that were disbursed after it and not approved
-- after it: so only the days since then are read, however old the ledger is.
with seen as (
    select n as credits, amount
    from rollup.disbursements
    where day > :last
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    union all
    select -n, -amount
    from rollup.approvals_disbursed
    where day > :last
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    union all
    -- Never disbursed: few, read by index.
    select 1, c.principal
    from bi.credits c
    where c.disbursed_at is null
        and c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and (
            c.status <> 'cancelled'
            or c.closed_at >= (cast(:last as date) + 1)::timestamp at time zone :timezone
        )
        and (
            cardinality(cast(:tiers as text[])) = 0
            or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[]))
        )
)
select coalesce(sum(credits), 0) as credits, coalesce(sum(amount), 0) as amount
from seen;
