-- Applications by day of decision, of the tiers and HASE bands that are chosen.
decisions as not materialized (
    -- The table without bands has a row where the one with them has ten.
    select day, tier, status, n, amount, principal
    from rollup.decision_days
    where cardinality(cast(:bands as integer[])) = 0
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    union all
    select day, tier, status, n, amount, principal
    from rollup.decisions
    where cardinality(cast(:bands as integer[])) > 0
        and band = any(cast(:bands as integer[]))
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
)
