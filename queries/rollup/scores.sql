-- title: HASE scores by day
-- description: A row is one day, tier, score and model version of the scores calculated on it.
-- column: day date -- business day of the calculation
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: score smallint [points] -- HASE score, 0 to 100
-- column: model_version text -- version of the model
-- column: n bigint [count] -- scores
select
    (s.calculated_at at time zone :timezone)::date as day,
    coalesce(a.sinosure_tier, '') as tier,
    s.score,
    s.model_version,
    count(*) as n
from bi.hase_scores s
left join bi.applications a on a.application_id = s.application_id
group by 1, 2, 3, 4
