-- title: Credits
-- description: A row is one credit, with its state at the end of the day as_of: the bucket is that of its oldest unpaid
--   installment (0 nothing late, 1 to 6 for 1-7, 8-15, 16-30, 31-60, 61-90, 90+ days, 7 paid off, -1 not disbursed).
-- param: first date = null -- first day of approval
-- param: last date = null -- last day of approval
-- param: disbursed_first date = null -- first day of disbursement
-- param: disbursed_last date = null -- last day of disbursement
-- param: hours_over numeric = null -- waited (or waits) more than these hours from approval to disbursement
-- param: as_of date = null -- the day at whose end the state is looked at; null is today
-- param: bucket integer = null -- bucket at the end of as_of
-- param: buckets integer[] = {} -- the same, several
-- param: as_of_before date = null -- an earlier day, for what moved between the two
-- param: bucket_before integer = null -- bucket at the end of as_of_before
-- param: status text = null -- status of the credit
-- param: statuses text[] = {} -- the same, several
-- param: disbursement_statuses text[] = {} -- status of the disbursement
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credit_id text -- the credit
-- column: approved_at timestamptz -- when it was approved
-- column: disbursed_at timestamptz -- when it was disbursed
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application it came of
-- column: sinosure_tier text -- Sinosure tier
-- column: principal numeric [MXN] -- principal
-- column: status text -- pending, active, paid, charged_off or cancelled
-- column: disbursement_status text -- pending, sent, failed or settled
-- column: bucket integer -- bucket of days past due at the end of as_of
-- column: days_late integer [d] -- days past due of the oldest unpaid installment
-- column: outstanding numeric [MXN] -- scheduled amount of the installments that were unpaid
-- key: credit_id
-- sort: approved_at desc, disbursed_at desc nulls last, principal desc, days_late desc, outstanding desc
-- ttl: 30
select
    c.credit_id,
    c.approved_at,
    c.disbursed_at,
    c.conductor_id,
    c.application_id,
    c.sinosure_tier,
    c.principal,
    c.status,
    c.disbursement_status,
    bucket.number as bucket,
    greatest(looked.day - state.oldest_due, 0) as days_late,
    coalesce(state.amount, 0) as outstanding
from bi.credits c
cross join lateral (
    select day, (day + 1)::timestamp at time zone :timezone as ended_at
    from (select coalesce(cast(:as_of as date), (now() at time zone :timezone)::date) as day) as wanted
) as looked
cross join lateral (
    select (cast(:as_of_before as date) + 1)::timestamp at time zone :timezone as ended_at
) as looked_before
-- The oldest installment that was unpaid at the end of a day decides the bucket of its credit.
left join lateral (
    select min(i.due_date) as oldest_due, sum(i.amount_due) as amount
    from bi.installments i
    where i.credit_id = c.credit_id
        and (i.paid_at is null or i.paid_at >= looked.ended_at)
) as state on true
left join lateral (
    select min(i.due_date) as oldest_due
    from bi.installments i
    where i.credit_id = c.credit_id
        and (i.paid_at is null or i.paid_at >= looked_before.ended_at)
) as earlier on true
-- A credit without a single installment owes nothing and is not in the portfolio.
left join lateral (
    select 7 as bucket from bi.installments i where i.credit_id = c.credit_id limit 1
) as paid_off on true
cross join lateral (
    select case
        when c.disbursed_at is null or c.disbursed_at >= looked.ended_at then -1
        when state.oldest_due is null then paid_off.bucket
        when looked.day - state.oldest_due < 1 then 0
        when looked.day - state.oldest_due <= 7 then 1
        when looked.day - state.oldest_due <= 15 then 2
        when looked.day - state.oldest_due <= 30 then 3
        when looked.day - state.oldest_due <= 60 then 4
        when looked.day - state.oldest_due <= 90 then 5
        else 6
    end as number
) as bucket
cross join lateral (
    select case
        when c.disbursed_at is null or c.disbursed_at >= looked_before.ended_at then -1
        when earlier.oldest_due is null then paid_off.bucket
        when cast(:as_of_before as date) - earlier.oldest_due < 1 then 0
        when cast(:as_of_before as date) - earlier.oldest_due <= 7 then 1
        when cast(:as_of_before as date) - earlier.oldest_due <= 15 then 2
        when cast(:as_of_before as date) - earlier.oldest_due <= 30 then 3
        when cast(:as_of_before as date) - earlier.oldest_due <= 60 then 4
        when cast(:as_of_before as date) - earlier.oldest_due <= 90 then 5
        else 6
    end as number
) as bucket_before
where true
    and (cast(:first as date) is null
        or c.approved_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:disbursed_first as date) is null
        or c.disbursed_at >= cast(:disbursed_first as date)::timestamp at time zone :timezone)
    and (cast(:disbursed_last as date) is null
        or c.disbursed_at < (cast(:disbursed_last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:hours_over as numeric) is null
        or coalesce(c.disbursed_at, now()) > c.approved_at + cast(:hours_over as numeric) * interval '1 hour')
    -- Credits that were late are found by what was late, unpaid still or paid after the day: so the state of all others
    -- need not be worked out, and that of these only when it is shown.
    and case
        when cast(:bucket as integer) between 1 and 6
            or (cardinality(cast(:buckets as integer[])) > 0
                and 1 <= all(cast(:buckets as integer[])) and 6 >= all(cast(:buckets as integer[])))
        then c.disbursed_at < looked.ended_at
            and c.credit_id in (
                select late.credit_id
                from (
                    select
                        unpaid.credit_id,
                        width_bucket(asked.day - min(unpaid.due_date), array[1, 8, 16, 31, 61, 91]) as bucket
                    from (select coalesce(cast(:as_of as date), (now() at time zone :timezone)::date) as day) as asked
                    cross join lateral (
                        select i.credit_id, i.due_date
                        from bi.installments i
                        where i.paid_at is null and i.due_date < asked.day
                        union all
                        select i.credit_id, i.due_date
                        from generate_series(
                            (select min(due_date) from bi.installments)::timestamp,
                            (asked.day - 1)::timestamp,
                            interval '1 day'
                        ) as due (day)
                        cross join lateral (
                            select i.credit_id, i.due_date
                            from bi.installments i
                            where i.due_date = due.day::date
                                and i.paid_at >= (asked.day + 1)::timestamp at time zone :timezone
                            offset 0
                        ) as i
                    ) as unpaid
                    group by unpaid.credit_id, asked.day
                ) as late
                where (cast(:bucket as integer) is null or late.bucket = cast(:bucket as integer))
                    and (cardinality(cast(:buckets as integer[])) = 0
                        or late.bucket = any(cast(:buckets as integer[])))
            )
        else (cast(:bucket as integer) is null or bucket.number = cast(:bucket as integer))
            and (cardinality(cast(:buckets as integer[])) = 0 or bucket.number = any(cast(:buckets as integer[])))
    end
    and case
        when cast(:bucket_before as integer) is null then true
        when cast(:bucket_before as integer) between 1 and 6
        then c.disbursed_at < looked_before.ended_at
            and c.credit_id in (
                select late.credit_id
                from (
                    select
                        unpaid.credit_id,
                        width_bucket(asked.day - min(unpaid.due_date), array[1, 8, 16, 31, 61, 91]) as bucket
                    from (select cast(:as_of_before as date) as day) as asked
                    cross join lateral (
                        select i.credit_id, i.due_date
                        from bi.installments i
                        where i.paid_at is null and i.due_date < asked.day
                        union all
                        select i.credit_id, i.due_date
                        from generate_series(
                            (select min(due_date) from bi.installments)::timestamp,
                            (asked.day - 1)::timestamp,
                            interval '1 day'
                        ) as due (day)
                        cross join lateral (
                            select i.credit_id, i.due_date
                            from bi.installments i
                            where i.due_date = due.day::date
                                and i.paid_at >= (asked.day + 1)::timestamp at time zone :timezone
                            offset 0
                        ) as i
                    ) as unpaid
                    group by unpaid.credit_id, asked.day
                ) as late
                where late.bucket = cast(:bucket_before as integer)
            )
        else cast(:as_of_before as date) is not null and bucket_before.number = cast(:bucket_before as integer)
    end
    and (cast(:status as text) is null or c.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or c.status = any(cast(:statuses as text[])))
    and (cardinality(cast(:disbursement_statuses as text[])) = 0
        or c.disbursement_status = any(cast(:disbursement_statuses as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
