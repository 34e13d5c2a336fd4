-- title: Scores of an application
-- description: A row is one HASE score that was calculated for the application.
-- param: application_id text -- the application
-- column: score_id integer -- its number
-- column: score integer -- 0 to 100
-- column: model_version text -- the model that gave it
-- column: calculated_at timestamptz -- when
-- ttl: 60
select score_id, score, model_version, calculated_at
from bi.hase_scores
where application_id = :application_id
order by calculated_at, score_id
