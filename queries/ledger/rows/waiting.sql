-- title: Credits waiting for disbursement
-- description: A row is one credit that is approved, not disbursed and not cancelled; the longest wait first.
-- param: first date = null -- first day of approval
-- param: last date = null -- last day of approval
-- param: hours_over numeric = null -- waiting more than these hours
-- param: as_of timestamptz = null -- the moment that is looked at; null is now
-- param: disbursement_status text = null -- status of the disbursement
-- param: disbursement_statuses text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credit_id text -- the credit
-- column: approved_at timestamptz -- when it was approved
-- column: hours numeric [h] -- hours that it has waited
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application it came of
-- column: sinosure_tier text -- Sinosure tier
-- column: principal numeric [MXN] -- principal
-- column: disbursement_status text -- pending, sent, failed or settled
-- column: status text -- status of the credit
-- key: credit_id
-- sort: approved_at, principal desc
-- ttl: 30
select
    c.credit_id,
    c.approved_at,
    round(extract(epoch from coalesce(cast(:as_of as timestamptz), now()) - c.approved_at) / 3600, 1) as hours,
    c.conductor_id,
    c.application_id,
    c.sinosure_tier,
    c.principal,
    c.disbursement_status,
    c.status
from bi.credits c
where c.approved_at < coalesce(cast(:as_of as timestamptz), now())
    and (c.disbursed_at is null or c.disbursed_at >= cast(:as_of as timestamptz))
    -- A credit cancelled before the moment, or at an unknown one, owes no disbursement.
    and not (
        c.status = 'cancelled' and c.disbursed_at is null
        and (c.closed_at is null or c.closed_at < coalesce(cast(:as_of as timestamptz), now()))
    )
    and (cast(:first as date) is null
        or c.approved_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:hours_over as numeric) is null
        or c.approved_at < coalesce(cast(:as_of as timestamptz), now())
            - cast(:hours_over as numeric) * interval '1 hour')
    and (cast(:disbursement_status as text) is null or c.disbursement_status = cast(:disbursement_status as text))
    and (cardinality(cast(:disbursement_statuses as text[])) = 0
        or c.disbursement_status = any(cast(:disbursement_statuses as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
