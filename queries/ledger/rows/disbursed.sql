-- title: Disbursed credits
-- description: A row is one credit that has been disbursed, by the day of its disbursement.
-- param: first date = null -- first day of disbursement
-- param: last date = null -- last day of disbursement
-- param: approved_first date = null -- first day of approval
-- param: approved_last date = null -- last day of approval
-- param: hours integer = null -- hours from approval to disbursement, rounded up
-- param: hours_from integer = null -- hours from approval to disbursement, rounded up, at least
-- param: hours_to integer = null -- hours from approval to disbursement, rounded up, at most
-- param: status text = null -- status of the credit
-- param: statuses text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credit_id text -- the credit
-- column: disbursed_at timestamptz -- when it was disbursed
-- column: approved_at timestamptz -- when it was approved
-- column: hours numeric [h] -- hours from approval to disbursement
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application it came of
-- column: sinosure_tier text -- Sinosure tier
-- column: principal numeric [MXN] -- principal
-- column: status text -- pending, active, paid, charged_off or cancelled
-- column: disbursement_status text -- pending, sent, failed or settled
-- key: credit_id
-- sort: disbursed_at desc, hours desc, principal desc, approved_at desc
-- ttl: 30
select
    c.credit_id,
    c.disbursed_at,
    c.approved_at,
    round(extract(epoch from c.disbursed_at - c.approved_at) / 3600, 2) as hours,
    c.conductor_id,
    c.application_id,
    c.sinosure_tier,
    c.principal,
    c.status,
    c.disbursement_status
from bi.credits c
where c.disbursed_at is not null
    and (cast(:first as date) is null
        or c.disbursed_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or c.disbursed_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:approved_first as date) is null
        or c.approved_at >= cast(:approved_first as date)::timestamp at time zone :timezone)
    and (cast(:approved_last as date) is null
        or c.approved_at < (cast(:approved_last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:hours as integer) is null
        or ceil(extract(epoch from c.disbursed_at - c.approved_at) / 3600) = cast(:hours as integer))
    and (cast(:hours_from as integer) is null
        or ceil(extract(epoch from c.disbursed_at - c.approved_at) / 3600) >= cast(:hours_from as integer))
    and (cast(:hours_to as integer) is null
        or ceil(extract(epoch from c.disbursed_at - c.approved_at) / 3600) <= cast(:hours_to as integer))
    and (cast(:status as text) is null or c.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or c.status = any(cast(:statuses as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
