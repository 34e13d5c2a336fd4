-- title: First payments in default
-- description: A row is one first installment that was not fully paid at the end of the 30th day after it was due.
-- param: due_first date = null -- first due day
-- param: due_last date = null -- last due day; a later 30th day than yesterday is not over and counts for nothing
-- param: as_of date = null -- today: a day is over when it lies before it; null is the present day
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: installment_id bigint -- the installment
-- column: due_date date -- the day it is due
-- column: credit_id text -- its credit
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier of the credit
-- column: amount_due numeric [MXN] -- scheduled amount
-- column: amount_paid numeric [MXN] -- paid up to now
-- column: paid_at timestamptz -- when it was paid in full
-- column: days_late integer [d] -- days past due today, or on the day on which it was paid
-- key: installment_id
-- sort: due_date desc, amount_due desc, paid_at desc nulls last, days_late desc
-- ttl: 30
select
    i.installment_id,
    i.due_date,
    i.credit_id,
    c.conductor_id,
    c.sinosure_tier,
    i.amount_due,
    i.amount_paid,
    i.paid_at,
    coalesce((i.paid_at at time zone :timezone)::date, today.day) - i.due_date as days_late
from bi.installments i
left join bi.credits c on c.credit_id = i.credit_id
cross join lateral (
    select coalesce(cast(:as_of as date), (now() at time zone :timezone)::date) as day
) as today
where i.sequence = 1
    and i.due_date < today.day - 30
    and (i.paid_at is null or i.paid_at >= (i.due_date + 31)::timestamp at time zone :timezone)
    and (cast(:due_first as date) is null or i.due_date >= cast(:due_first as date))
    and (cast(:due_last as date) is null or i.due_date <= cast(:due_last as date))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
