-- title: Scheduled payments
-- description: A row is one installment. With as_of, those unpaid at the end of that day, and their days past
--   due on it; without, days past due are those of today, or of the day on which it was paid.
-- param: due_first date = null -- first due day
-- param: due_last date = null -- last due day
-- param: paid_first date = null -- first day on which it was paid in full
-- param: paid_last date = null -- last day on which it was paid in full
-- param: as_of date = null -- only those unpaid at the end of this day
-- param: bucket integer = null -- bucket of days past due on as_of, 0 (not late) to 6 (90+)
-- param: buckets integer[] = {} -- the same, several
-- param: late_from integer = null -- days past due on as_of, at least
-- param: late_to integer = null -- days past due on as_of, at most
-- param: first_installment boolean = null -- true: first installments of their credits; false: all others
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: installment_id bigint -- the installment
-- column: due_date date -- the day it is due
-- column: credit_id text -- its credit
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier of the credit
-- column: sequence integer -- its place in the plan
-- column: amount_due numeric [MXN] -- scheduled amount
-- column: amount_paid numeric [MXN] -- paid up to now
-- column: paid_at timestamptz -- when it was paid in full
-- column: days_late integer [d] -- days past due
-- key: installment_id
-- sort: due_date desc, amount_due desc, paid_at desc nulls last, days_late desc
-- ttl: 30
select
    i.installment_id,
    i.due_date,
    i.credit_id,
    c.conductor_id,
    c.sinosure_tier,
    i.sequence,
    i.amount_due,
    i.amount_paid,
    i.paid_at,
    greatest(
        coalesce(
            cast(:as_of as date), (i.paid_at at time zone :timezone)::date, (now() at time zone :timezone)::date
        ) - i.due_date,
        0
    ) as days_late
from bi.installments i
left join bi.credits c on c.credit_id = i.credit_id
where true
    and (cast(:due_first as date) is null or i.due_date >= cast(:due_first as date))
    and (cast(:due_last as date) is null or i.due_date <= cast(:due_last as date))
    and (cast(:paid_first as date) is null
        or i.paid_at >= cast(:paid_first as date)::timestamp at time zone :timezone)
    and (cast(:paid_last as date) is null
        or i.paid_at < (cast(:paid_last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:as_of as date) is null
        or i.paid_at is null or i.paid_at >= (cast(:as_of as date) + 1)::timestamp at time zone :timezone)
    and (cast(:bucket as integer) is null
        or cast(:as_of as date) is not null and case
            when cast(:as_of as date) - i.due_date < 1 then 0
            when cast(:as_of as date) - i.due_date <= 7 then 1
            when cast(:as_of as date) - i.due_date <= 15 then 2
            when cast(:as_of as date) - i.due_date <= 30 then 3
            when cast(:as_of as date) - i.due_date <= 60 then 4
            when cast(:as_of as date) - i.due_date <= 90 then 5
            else 6
        end = cast(:bucket as integer))
    and (cardinality(cast(:buckets as integer[])) = 0
        or cast(:as_of as date) is not null and case
            when cast(:as_of as date) - i.due_date < 1 then 0
            when cast(:as_of as date) - i.due_date <= 7 then 1
            when cast(:as_of as date) - i.due_date <= 15 then 2
            when cast(:as_of as date) - i.due_date <= 30 then 3
            when cast(:as_of as date) - i.due_date <= 60 then 4
            when cast(:as_of as date) - i.due_date <= 90 then 5
            else 6
        end = any(cast(:buckets as integer[])))
    -- The same once more as bounds of the due day, which an index serves.
    and (cast(:as_of as date) is null or coalesce(cast(:bucket as integer), 0) < 1
        or i.due_date <= cast(:as_of as date) - (array[1, 8, 16, 31, 61, 91])[cast(:bucket as integer)])
    and (cast(:as_of as date) is null or coalesce(cast(:bucket as integer), 6) not between 1 and 5
        or i.due_date >= cast(:as_of as date) - (array[7, 15, 30, 60, 90])[cast(:bucket as integer)])
    and (cast(:as_of as date) is null or cardinality(cast(:buckets as integer[])) = 0
        or 0 = any(cast(:buckets as integer[])) or i.due_date < cast(:as_of as date))
    and (cast(:late_from as integer) is null
        or i.due_date <= cast(:as_of as date) - cast(:late_from as integer))
    and (cast(:late_to as integer) is null
        or i.due_date >= cast(:as_of as date) - cast(:late_to as integer))
    and (cast(:first_installment as boolean) is null or (i.sequence = 1) = cast(:first_installment as boolean))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
