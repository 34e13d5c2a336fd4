-- title: HASE scores
-- description: A row is one calculation of a HASE score, by its day.
-- param: first date = null -- first day on which it was calculated
-- param: last date = null -- last day on which it was calculated
-- param: score integer = null -- the score
-- param: score_from integer = null -- lowest HASE score
-- param: score_to integer = null -- highest HASE score
-- param: band integer = null -- HASE band by its lower edge 0, 10 ... 90
-- param: bands integer[] = {} -- HASE bands
-- param: model_version text = null -- version of the model
-- param: model_versions text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: score_id bigint -- the calculation
-- column: calculated_at timestamptz -- when it was calculated
-- column: application_id text -- the application
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier of the application
-- column: score integer [score] -- the score
-- column: model_version text -- version of the model
-- column: status text -- status of the application
-- column: credit_id text -- the credit that came of it
-- key: score_id
-- sort: calculated_at desc, score desc
-- ttl: 30
select
    s.score_id,
    s.calculated_at,
    s.application_id,
    s.conductor_id,
    a.sinosure_tier,
    s.score,
    s.model_version,
    a.status,
    (select min(c.credit_id) from bi.credits c where c.application_id = s.application_id) as credit_id
from bi.hase_scores s
left join bi.applications a on a.application_id = s.application_id
where true
    and (cast(:first as date) is null
        or s.calculated_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or s.calculated_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:score as integer) is null or s.score = cast(:score as integer))
    and (cast(:score_from as integer) is null or s.score >= cast(:score_from as integer))
    and (cast(:score_to as integer) is null or s.score <= cast(:score_to as integer))
    and (cast(:band as integer) is null or least(s.score / 10 * 10, 90) = cast(:band as integer))
    and (cardinality(cast(:bands as integer[])) = 0
        or least(s.score / 10 * 10, 90) = any(cast(:bands as integer[])))
    and (cast(:model_version as text) is null or s.model_version = cast(:model_version as text))
    and (cardinality(cast(:model_versions as text[])) = 0 or s.model_version = any(cast(:model_versions as text[])))
    and (cast(:tier as text) is null or coalesce(a.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(a.sinosure_tier, '') = any(cast(:tiers as text[])))
