-- Applications by day of submission, of the tiers and HASE bands that are chosen.
submissions as not materialized (
    -- The table without bands has a row where the one with them has ten.
    select day, tier, status, n
    from rollup.application_days
    where cardinality(cast(:bands as integer[])) = 0
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    union all
    select day, tier, status, n
    from rollup.applications
    where cardinality(cast(:bands as integer[])) > 0
        and band = any(cast(:bands as integer[]))
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
)
