-- title: New HASE models
-- description: A row is one model version after the ledger's first one, at the moment of its first score.
-- param: timezone text = $timezone -- the zone of the days
-- column: model_version text -- the model that began
-- column: starts_at timestamptz -- its first score
-- ttl: 3600
with versions as (
    select model_version, min(first_day) as day
    from rollup.score_months
    group by model_version
)

select
    versions.model_version,
    (
        select min(score.calculated_at)
        from bi.hase_scores as score
        where score.model_version = versions.model_version
            and score.calculated_at >= cast(versions.day as timestamp) at time zone :timezone
            and score.calculated_at < cast(versions.day + 1 as timestamp) at time zone :timezone
    ) as starts_at
from versions
order by starts_at
offset 1
