-- title: HASE scores by quarter of an hour
-- description: A row is one quarter of an hour, tier and model version of the scores calculated in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: model_version text -- version of the model
-- column: n bigint [count] -- scores
-- column: score_sum bigint [points] -- their sum
select
    date_bin('15 minutes', s.calculated_at, timestamptz '2000-01-01 00:00Z') as quarter,
    coalesce(a.sinosure_tier, '') as tier,
    s.model_version,
    count(*) as n,
    sum(s.score)::bigint as score_sum
from bi.hase_scores s
left join bi.applications a on a.application_id = s.application_id
group by 1, 2, 3
