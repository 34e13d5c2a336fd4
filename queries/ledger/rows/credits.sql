-- title: Credits
-- description: A row is one credit, with its state at the end of the day as_of: the bucket is that of its oldest unpaid
--   installment (0 nothing late, 1 to 6 for 1-7, 8-15, 16-30, 31-60, 61-90, 90+ days, 7 paid off, -1 not disbursed).
-- param: first date = null -- first day of approval
-- param: last date = null -- last day of approval
-- param: disbursed_first date = null -- first day of disbursement
-- param: disbursed_last date = null -- last day of disbursement
-- param: hours_over numeric = null -- waited (or waits) more than these hours from approval to disbursement
-- param: active_on date = null -- disbursed and not closed at the end of this day
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
with wanted as not materialized (
    -- Where all buckets asked for are late ones, they are looked for on as_of, else on the day before that it is compared
    -- with. All this is known when the statement is planned: parts of it that give nothing cost nothing.
    select
        case
            when cast(:bucket as integer) between 1 and 6 then array[cast(:bucket as integer)]
            when cardinality(cast(:buckets as integer[])) > 0
                and 1 <= all(cast(:buckets as integer[])) and 6 >= all(cast(:buckets as integer[]))
            then cast(:buckets as integer[])
        end as buckets,
        case when cast(:bucket_before as integer) between 1 and 6 then array[cast(:bucket_before as integer)] end
            as buckets_before,
        -- Who is not late, or has paid all, has paid what was late before.
        coalesce(cast(:bucket as integer) in (0, 7), false)
            or cardinality(cast(:buckets as integer[])) > 0 and cast(:buckets as integer[]) <@ array[0, 7] as cured
),
chosen as not materialized (
    select
        coalesce(buckets, buckets_before, '{}') as buckets,
        case
            when buckets is null and buckets_before is not null then cast(:as_of_before as date)
            else coalesce(cast(:as_of as date), (now() at time zone :timezone)::date)
        end as day,
        buckets is null and cured as cured
    from wanted
),
late as not materialized (
    -- A bucket is a range of due days.
    select
        day,
        cured,
        cardinality(buckets) > 0 as any_bucket,
        1 = any(buckets) or 6 = any(buckets) as many,
        day - case
            when 6 = any(buckets) then 1000000
            when 5 = any(buckets) then 90
            when 4 = any(buckets) then 60
            when 3 = any(buckets) then 30
            when 2 = any(buckets) then 15
            else 7
        end as first_due,
        day - case
            when 1 = any(buckets) then 1
            when 2 = any(buckets) then 8
            when 3 = any(buckets) then 16
            when 4 = any(buckets) then 31
            when 5 = any(buckets) then 61
            else 91
        end as last_due
    from chosen
),
candidate as not materialized (
    -- Credits that were late are found by what was late, by index: an installment of the bucket that is unpaid still, or
    -- was paid after the day. Whether it was the oldest of its credit is looked at below.
    select o.credit_id
    from late
    join bi.installments o on o.due_date >= late.first_due and o.due_date <= late.last_due
    where o.paid_at is null and not late.cured
    union all
    select later.credit_id
    from late
    cross join generate_series(
        greatest(late.first_due, (select min(due_date) from bi.installments))::timestamp,
        late.last_due::timestamp,
        interval '1 day'
    ) as due (day)
    cross join lateral (
        select o.credit_id
        from bi.installments o
        where o.due_date = due.day::date
            and o.paid_at >= (late.day + 1)::timestamp at time zone :timezone
            and (
                not late.cured
                or o.paid_at < (coalesce(cast(:as_of as date), (now() at time zone :timezone)::date) + 1)::timestamp
                    at time zone :timezone
            )
        offset 0
    ) as later
)
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
from (
    -- Each part stands in the list's own order, so that the state of a credit is worked out only when it is shown.
    (
        select c.*
        from bi.credits c
        cross join late
        where not late.any_bucket
        order by c.approved_at desc, c.credit_id desc
    )
    union all
    (
        select c.*
        from bi.credits c
        cross join late
        where late.any_bucket and not late.many and c.credit_id in (select credit_id from candidate)
        order by c.approved_at desc, c.credit_id desc
    )
    union all
    (
        -- Up to 7 days and over 90 days late are many: the credits are walked through and looked up among them. What is
        -- within a case is not made a join. That no id is null goes without saying; said like this, the planner expects
        -- few enough of them for memory, which they are, and looks the credits up in a hash of the ids as they come. The
        -- walk begins with the youngest credit that can have an installment of these due days, where that is known.
        select c.*
        from bi.credits c
        cross join late
        where late.any_bucket
            and late.many
            and case
                when true
                then c.credit_id in (select credit_id from candidate where num_nulls(credit_id) = 0)
            end
            and c.approved_at < case
                when (select count(*) from rollup.state where name = 'first_dues') = 0 then 'infinity'
                else (
                    late.last_due + 1 - (select least(min(days), 0) from rollup.first_dues)
                )::timestamp at time zone :timezone
            end
        order by c.approved_at desc, c.credit_id desc
    )
) as c
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
    and (cast(:active_on as date) is null
        or c.disbursed_at < (cast(:active_on as date) + 1)::timestamp at time zone :timezone
            and (c.closed_at is null
                or c.closed_at >= (cast(:active_on as date) + 1)::timestamp at time zone :timezone))
    and (cast(:hours_over as numeric) is null
        or coalesce(c.disbursed_at, now()) > c.approved_at + cast(:hours_over as numeric) * interval '1 hour')
    and (cast(:bucket as integer) is null or bucket.number = cast(:bucket as integer))
    and (cardinality(cast(:buckets as integer[])) = 0 or bucket.number = any(cast(:buckets as integer[])))
    and (cast(:bucket_before as integer) is null
        or cast(:as_of_before as date) is not null and bucket_before.number = cast(:bucket_before as integer))
    and (cast(:status as text) is null or c.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or c.status = any(cast(:statuses as text[])))
    and (cardinality(cast(:disbursement_statuses as text[])) = 0
        or c.disbursement_status = any(cast(:disbursement_statuses as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
