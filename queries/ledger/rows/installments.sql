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
from (
    select 0 as part, o.installment_id, o.due_date, o.credit_id, o.sequence, o.amount_due, o.amount_paid, o.paid_at
    from bi.installments o
    union all
    -- Unpaid at the end of a day: what is unpaid still and what was paid after it, one due day after the other, the latest
    -- first. So a first page needs a few days only.
    (
        select
            1,
            unpaid.installment_id,
            due.day,
            unpaid.credit_id,
            unpaid.sequence,
            unpaid.amount_due,
            unpaid.amount_paid,
            unpaid.paid_at
        from (
            select day::date as day
            from generate_series(
                greatest(
                    cast(:due_first as date),
                    cast(:as_of as date) - cast(:late_to as integer),
                    cast(:as_of as date) - case
                        when cast(:bucket as integer) between 1 and 5
                        then (array[7, 15, 30, 60, 90])[cast(:bucket as integer)]
                    end,
                    (select min(due_date) from bi.installments)
                )::timestamp,
                least(
                    cast(:due_last as date),
                    cast(:as_of as date) - cast(:late_from as integer),
                    cast(:as_of as date) - case
                        when cast(:bucket as integer) between 1 and 6
                        then (array[1, 8, 16, 31, 61, 91])[cast(:bucket as integer)]
                        when cardinality(cast(:buckets as integer[])) > 0 and 0 <> all(cast(:buckets as integer[])) then 1
                    end,
                    (select max(due_date) from bi.installments)
                )::timestamp,
                interval '1 day'
            ) as day
            where cast(:as_of as date) is not null
            order by day desc
        ) as due
        cross join lateral (
            select o.*
            from bi.installments o
            where o.due_date = due.day and o.paid_at is null
            union all
            select o.*
            from bi.installments o
            where o.due_date = due.day
                and o.paid_at >= (cast(:as_of as date) + 1)::timestamp at time zone :timezone
            offset 0
        ) as unpaid
        order by due.day desc, unpaid.installment_id desc
    )
) as i
-- All rows are joined at once; of a day's late ones, credits are looked up one by one, from the first row on.
left join bi.credits j on cast(:as_of as date) is null and j.credit_id = i.credit_id
left join lateral (
    select o.conductor_id, o.sinosure_tier
    from bi.credits o
    where cast(:as_of as date) is not null and o.credit_id = i.credit_id
    limit 1
) as one on true
cross join lateral (
    select
        case when cast(:as_of as date) is null then j.conductor_id else one.conductor_id end as conductor_id,
        case when cast(:as_of as date) is null then j.sinosure_tier else one.sinosure_tier end as sinosure_tier
) as c
where i.part = case when cast(:as_of as date) is null then 0 else 1 end
    and (cast(:due_first as date) is null or i.due_date >= cast(:due_first as date))
    and (cast(:due_last as date) is null or i.due_date <= cast(:due_last as date))
    and (cast(:paid_first as date) is null
        or i.paid_at >= cast(:paid_first as date)::timestamp at time zone :timezone)
    and (cast(:paid_last as date) is null
        or i.paid_at < (cast(:paid_last as date) + 1)::timestamp at time zone :timezone)
    -- A bucket is a range of due days, which an index serves.
    and (cast(:bucket as integer) is null
        or cast(:as_of as date) is not null and cast(:bucket as integer) between 0 and 6)
    and (cast(:as_of as date) is null or coalesce(cast(:bucket as integer), 1) <> 0
        or i.due_date >= cast(:as_of as date))
    and (cast(:as_of as date) is null or coalesce(cast(:bucket as integer), 0) < 1
        or i.due_date <= cast(:as_of as date) - (array[1, 8, 16, 31, 61, 91])[cast(:bucket as integer)])
    and (cast(:as_of as date) is null or coalesce(cast(:bucket as integer), 6) not between 1 and 5
        or i.due_date >= cast(:as_of as date) - (array[7, 15, 30, 60, 90])[cast(:bucket as integer)])
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
    and (cast(:as_of as date) is null or cardinality(cast(:buckets as integer[])) = 0
        or 0 = any(cast(:buckets as integer[])) or i.due_date < cast(:as_of as date))
    and (cast(:late_from as integer) is null
        or i.due_date <= cast(:as_of as date) - cast(:late_from as integer))
    and (cast(:late_to as integer) is null
        or i.due_date >= cast(:as_of as date) - cast(:late_to as integer))
    and (cast(:first_installment as boolean) is null or (i.sequence = 1) = cast(:first_installment as boolean))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
