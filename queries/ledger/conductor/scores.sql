-- title: Scores of a driver
-- description: A row is one HASE score of one of his applications.
-- param: conductor_id text -- the driver, an opaque id
-- column: calculated_at timestamptz -- when
-- column: score integer -- 0 to 100
-- column: model_version text -- the model that gave it
-- column: application_id text -- the application
-- ttl: 60
select s.calculated_at, s.score, s.model_version, s.application_id
from bi.applications as a
inner join bi.hase_scores as s on s.application_id = a.application_id
where a.conductor_id = :conductor_id
order by s.calculated_at, s.score_id
limit 2000
