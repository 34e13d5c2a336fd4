-- title: Credits by whether their money was sent within 48 hours
-- description: A row is one approved credit: in_time when it was disbursed within 48 hours, over when it was not, whether it
--   was disbursed later, still waits or was cancelled later, undecided while it waits and its 48 hours are not over. One
--   cancelled before they were over, or at a moment that nobody wrote down, owes no disbursement and is left out.
-- param: first date = null -- first day of approval
-- param: last date = null -- last day of approval
-- param: state text = null -- in_time, over or undecided
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credit_id text -- the credit
-- column: approved_at timestamptz -- when it was approved
-- column: disbursed_at timestamptz -- when it was disbursed
-- column: hours numeric [h] -- hours from approval to disbursement, cancellation or the present moment
-- column: state text -- in_time, over or undecided
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application it came of
-- column: sinosure_tier text -- Sinosure tier
-- column: principal numeric [MXN] -- principal
-- column: status text -- pending, active, paid, charged_off or cancelled
-- column: disbursement_status text -- pending, sent, failed or settled
-- key: credit_id
-- sort: approved_at desc, hours desc, principal desc
-- ttl: 30
select
    c.credit_id,
    c.approved_at,
    c.disbursed_at,
    round(
        extract(epoch from coalesce(c.disbursed_at, case c.status when 'cancelled' then c.closed_at end, moment.as_of)
            - c.approved_at) / 3600, 1
    ) as hours,
    wait.state,
    c.conductor_id,
    c.application_id,
    c.sinosure_tier,
    c.principal,
    c.status,
    c.disbursement_status
from bi.credits c
cross join (select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of) as moment
cross join lateral (
    select case
        when c.disbursed_at <= c.approved_at + interval '48 hours' then 'in_time'
        when c.disbursed_at is not null or c.status = 'cancelled' then 'over'
        when moment.as_of > c.approved_at + interval '48 hours' then 'over'
        else 'undecided'
    end as state
) as wait
where (c.disbursed_at is not null
        or c.status <> 'cancelled'
        or c.closed_at >= c.approved_at + interval '48 hours')
    and (cast(:first as date) is null
        or c.approved_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:state as text) is null or wait.state = cast(:state as text))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
