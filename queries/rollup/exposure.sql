-- title: Changes of the portfolio
-- description: A row is one day, tier and bucket of days past due: by how much credits and unpaid amount in the bucket
--   changed on the day. The portfolio at the end of a day is the sum of all changes up to it. A credit is in the
--   portfolio from its disbursement until its last installment is paid, in the bucket of its oldest unpaid one.
-- column: day date -- business day; days to come hold what happens when nothing is paid
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: bucket smallint -- days past due: 0 none, 1 1-7, 2 8-15, 3 16-30, 4 31-60, 5 61-90, 6 over 90
-- column: credits bigint [count] -- change of the credits in the bucket
-- column: amount numeric [MXN] -- change of their unpaid scheduled amount
with owed as (
    -- No payment counts before the disbursement: the credit comes in with what is unpaid at the end of that day.
    select
        c.credit_id,
        coalesce(c.sinosure_tier, '') as tier,
        (c.disbursed_at at time zone :timezone)::date as start_day,
        coalesce((i.paid_at at time zone :timezone)::date, 'infinity') as paid_day,
        i.due_date,
        i.amount_due
    from bi.credits c
    join bi.installments i on i.credit_id = c.credit_id
    where
        c.disbursed_at is not null
        and (i.paid_at is null or (i.paid_at at time zone :timezone)::date > (c.disbursed_at at time zone :timezone)::date)
),
heads as (
    -- An installment is the oldest unpaid one from the day on which all before it are paid until it is paid itself:
    -- these spells follow each other without a gap.
    select
        o.*,
        greatest(
            coalesce(
                max(o.paid_day) over (
                    partition by o.credit_id order by o.due_date, o.paid_day
                    rows between unbounded preceding and 1 preceding
                ),
                o.start_day
            ),
            o.start_day
        ) as head_day,
        max(o.paid_day) over (partition by o.credit_id) as end_day,
        sum(o.amount_due) over (partition by o.credit_id) as total
    from owed o
),
points as (
    -- What happens to a credit: it comes in with all that is unpaid, and an installment that is not late becomes the
    -- oldest unpaid one ...
    select
        h.credit_id,
        h.tier,
        h.head_day as day,
        0 as bucket,
        case when h.head_day = h.start_day then h.total else 0 end as amount
    from heads h
    where h.head_day < h.paid_day and h.head_day <= h.due_date
    union all
    -- ... or one that is late enters a bucket ...
    select
        h.credit_id,
        h.tier,
        greatest(h.head_day, h.due_date + step.late),
        step.bucket,
        case when greatest(h.head_day, h.due_date + step.late) = h.start_day then h.total else 0 end
    from heads h
    cross join (values (1, 8, 1), (8, 16, 2), (16, 31, 3), (31, 61, 4), (61, 91, 5), (91, 1000000, 6))
        as step (late, until, bucket)
    where
        h.head_day < h.paid_day
        and h.paid_day > h.due_date + 1
        and greatest(h.head_day, h.due_date + step.late) < least(h.paid_day, h.due_date + step.until)
    union all
    -- ... and an installment is paid; with the last one it leaves (bucket 7).
    select h.credit_id, h.tier, h.paid_day, case when h.paid_day = h.end_day then 7 end, -h.amount_due
    from heads h
    where h.paid_day < 'infinity'
),
days as (
    -- At the end of each day on which something happens; of the buckets entered on it the worst counts.
    select p.credit_id, p.tier, p.day, max(p.bucket) as bucket, sum(p.amount) as amount
    from points p
    group by 1, 2, 3
),
states as (
    -- Of the buckets entered so far the latest counts: days grow, so it is in the greatest pair of day and bucket.
    select
        d.day,
        d.tier,
        d.amount,
        sum(d.amount) over (partition by d.credit_id order by d.day) as balance,
        (max((d.day - date '0001-01-01') * 8 + d.bucket) over (partition by d.credit_id order by d.day)) % 8 as bucket,
        (
            max((d.day - date '0001-01-01') * 8 + d.bucket) over (
                partition by d.credit_id order by d.day rows between unbounded preceding and 1 preceding
            )
        ) % 8 as bucket_before
    from days d
)
select
    s.day,
    s.tier,
    change.bucket::smallint as bucket,
    sum(change.credits)::bigint as credits,
    sum(change.amount) as amount
from states s
cross join lateral (
    -- Most days bring a payment and no other bucket: one change, of the amount.
    values
        (
            s.bucket,
            case when s.bucket = s.bucket_before then 0 else 1 end,
            case when s.bucket = s.bucket_before then s.amount else s.balance end
        ),
        (nullif(s.bucket_before, s.bucket), -1, s.amount - s.balance)
) as change (bucket, credits, amount)
where change.bucket < 7
group by 1, 2, 3
having sum(change.credits) <> 0 or sum(change.amount) <> 0
