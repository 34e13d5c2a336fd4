-- title: Applications
-- description: A row is one application, by the day on which it was submitted.
-- param: first date = null -- first day on which it was submitted
-- param: last date = null -- last day on which it was submitted
-- param: hour integer = null -- hour of the day of its submission, 0 to 23
-- param: weekday integer = null -- weekday of its submission, 1 Monday to 7 Sunday
-- param: step text = null -- how far it came, at least: submitted, scored, decided, approved, disbursed
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
-- column: submitted_at timestamptz -- when it was submitted
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier
-- column: hase_score integer [score] -- HASE score
-- column: amount_requested numeric [MXN] -- amount asked for
-- column: status text -- pending, approved, rejected or withdrawn
-- column: decided_at timestamptz -- when it was decided
-- column: rejection_reason text -- why it was rejected
-- column: credit_id text -- the credit that came of it
-- key: application_id
-- sort: submitted_at desc, amount_requested desc, hase_score desc nulls last, decided_at desc nulls last
-- ttl: 30
select
    a.application_id,
    a.submitted_at,
    a.conductor_id,
    a.sinosure_tier,
    a.hase_score,
    a.amount_requested,
    a.status,
    a.decided_at,
    a.rejection_reason,
    (select min(c.credit_id) from bi.credits c where c.application_id = a.application_id) as credit_id
from bi.applications a
where true
    and (cast(:first as date) is null
        or a.submitted_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or a.submitted_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:hour as integer) is null
        or extract(hour from a.submitted_at at time zone :timezone) = cast(:hour as integer))
    and (cast(:weekday as integer) is null
        or extract(isodow from a.submitted_at at time zone :timezone) = cast(:weekday as integer))
    and case cast(:step as text)
        when 'scored' then exists (select from bi.hase_scores s where s.application_id = a.application_id)
        when 'decided' then a.decided_at is not null
        when 'approved' then a.status = 'approved'
        when 'disbursed' then exists (
            select from bi.credits c where c.application_id = a.application_id and c.disbursed_at is not null
        )
        when 'submitted' then true
        else cast(:step as text) is null
    end
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
