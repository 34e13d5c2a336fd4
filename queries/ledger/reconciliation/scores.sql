-- title: HASE scores by their ids
-- description: A row is one calculation of a HASE score that a finding of reconciliation points to.
-- param: ids text[] -- the calculations
-- column: score_id bigint -- the calculation
-- column: application_id text -- the application that was scored
-- column: credit_id text -- the credit that came of it
-- column: conductor_id text -- the driver, an opaque id
-- column: calculated_at timestamptz -- when it was calculated
-- column: score smallint -- HASE score
-- column: model_version text -- version of the model
-- ttl: 60
select
    s.score_id,
    s.application_id,
    (select min(c.credit_id) from bi.credits c where c.application_id = s.application_id) as credit_id,
    s.conductor_id,
    s.calculated_at,
    s.score,
    s.model_version
from bi.hase_scores s
where s.score_id = any(cast(:ids as bigint[]))
order by s.calculated_at, s.score_id
