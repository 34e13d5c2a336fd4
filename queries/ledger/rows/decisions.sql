-- title: Decisions
-- description: A row is one application that has been decided, by the day of its decision.
-- param: first date = null -- first day on which it was decided
-- param: last date = null -- last day on which it was decided
-- param: hour integer = null -- hour of the day of its decision, 0 to 23
-- param: weekday integer = null -- weekday of its decision, 1 Monday to 7 Sunday
-- param: bucket integer = null -- log bucket of the seconds from submission to decision, up to 2^((bucket + 1) / 8) s
-- param: hours_from numeric = null -- hours from submission to decision, at least
-- param: hours_to numeric = null -- hours from submission to decision, below
-- param: status text = null -- status
-- param: statuses text[] = {} -- the same, several
-- param: reason text = null -- rejection reason; '' is none
-- param: reasons text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: band integer = null -- HASE band by its lower edge 0, 10 ... 90; -1 is no score
-- param: bands integer[] = {} -- HASE bands
-- param: score_from integer = null -- lowest HASE score
-- param: score_to integer = null -- highest HASE score
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: application_id text -- the application
-- column: decided_at timestamptz -- when it was decided
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier
-- column: hase_score integer [score] -- HASE score
-- column: amount_requested numeric [MXN] -- amount asked for
-- column: status text -- approved, rejected or another
-- column: rejection_reason text -- why it was rejected
-- column: submitted_at timestamptz -- when it was submitted
-- column: hours numeric [h] -- hours from submission to decision
-- column: credit_id text -- the credit that came of it
-- column: principal numeric [MXN] -- principal of the credit that came of it
-- key: application_id
-- sort: decided_at desc, amount_requested desc, hase_score desc nulls last, submitted_at desc, hours desc
-- ttl: 30
select
    a.application_id,
    a.decided_at,
    a.conductor_id,
    a.sinosure_tier,
    a.hase_score,
    a.amount_requested,
    a.status,
    a.rejection_reason,
    a.submitted_at,
    round(extract(epoch from a.decided_at - a.submitted_at) / 3600, 2) as hours,
    (select min(c.credit_id) from bi.credits c where c.application_id = a.application_id) as credit_id,
    (select sum(c.principal) from bi.credits c where c.application_id = a.application_id) as principal
from bi.applications a
where a.decided_at is not null
    and (cast(:first as date) is null
        or a.decided_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or a.decided_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:hour as integer) is null
        or extract(hour from a.decided_at at time zone :timezone) = cast(:hour as integer))
    and (cast(:weekday as integer) is null
        or extract(isodow from a.decided_at at time zone :timezone) = cast(:weekday as integer))
    and (cast(:bucket as integer) is null or cast(:bucket as integer) = floor(
        8 * ln(greatest(extract(epoch from a.decided_at - a.submitted_at)::double precision, 1))
        / ln(2::double precision) + 1e-9
    ))
    and (cast(:hours_from as numeric) is null
        or a.decided_at - a.submitted_at >= cast(:hours_from as numeric) * interval '1 hour')
    and (cast(:hours_to as numeric) is null
        or a.decided_at - a.submitted_at < cast(:hours_to as numeric) * interval '1 hour')
    and (cast(:status as text) is null or a.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or a.status = any(cast(:statuses as text[])))
    and (cast(:reason as text) is null or coalesce(a.rejection_reason, '') = cast(:reason as text))
    and (cardinality(cast(:reasons as text[])) = 0 or coalesce(a.rejection_reason, '') = any(cast(:reasons as text[])))
    and (cast(:tier as text) is null or coalesce(a.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(a.sinosure_tier, '') = any(cast(:tiers as text[])))
    and (cast(:band as integer) is null
        or case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end = cast(:band as integer))
    and (cardinality(cast(:bands as integer[])) = 0
        or case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end
            = any(cast(:bands as integer[])))
    and (cast(:score_from as integer) is null or a.hase_score >= cast(:score_from as integer))
    and (cast(:score_to as integer) is null or a.hase_score <= cast(:score_to as integer))
