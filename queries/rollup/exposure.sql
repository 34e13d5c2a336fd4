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
        i.installment_id,
        i.due_date,
        i.amount_due,
        greatest(
            coalesce((i.paid_at at time zone :timezone)::date, 'infinity'), (c.disbursed_at at time zone :timezone)::date
        ) as paid_day
    from bi.credits c
    join bi.installments i on i.credit_id = c.credit_id
    where c.disbursed_at is not null
),
heads as (
    -- An installment is the oldest unpaid one from the day on which all before it are paid until it is paid itself:
    -- these spells follow each other without a gap.
    select
        o.*,
        greatest(
            coalesce(
                max(o.paid_day) over (
                    partition by o.credit_id order by o.due_date, o.installment_id
                    rows between unbounded preceding and 1 preceding
                ),
                o.start_day
            ),
            o.start_day
        ) as head_day
    from owed o
),
points as (
    -- What happens to a credit: it enters a bucket, an installment is paid, the last one is paid (bucket 7).
    select h.credit_id, h.tier, greatest(h.head_day, h.due_date + step.late) as day, step.bucket, null as amount
    from heads h
    cross join lateral (
        values (-1000000, 1, 0), (1, 8, 1), (8, 16, 2), (16, 31, 3), (31, 61, 4), (61, 91, 5), (91, 1000000, 6)
    ) as step (late, until, bucket)
    where
        h.head_day < h.paid_day
        and greatest(h.head_day, h.due_date + step.late) < least(h.paid_day, h.due_date + step.until)
    union all
    select h.credit_id, h.tier, h.paid_day, null, -h.amount_due
    from heads h
    where h.paid_day > h.start_day and h.paid_day < 'infinity'
    union all
    select h.credit_id, h.tier, h.start_day, null, sum(h.amount_due)
    from heads h
    where h.paid_day > h.start_day
    group by 1, 2, 3
    union all
    select h.credit_id, h.tier, max(h.paid_day), 7, null
    from heads h
    group by 1, 2
    having max(h.paid_day) < 'infinity' and max(h.paid_day) > min(h.start_day)
),
days as (
    select p.credit_id, p.tier, p.day, max(p.bucket) as bucket, coalesce(sum(p.amount), 0) as amount
    from points p
    group by 1, 2, 3
),
states as (
    select
        d.credit_id,
        d.tier,
        d.day,
        -- The latest bucket: days grow, so the greatest pair of day and bucket is the last one.
        (max((d.day - date '0001-01-01') * 8 + d.bucket) over until_day) % 8 as bucket,
        sum(d.amount) over until_day as balance
    from days d
    window until_day as (partition by d.credit_id order by d.day)
),
moves as (
    select
        s.*,
        lag(s.bucket) over (partition by s.credit_id order by s.day) as bucket_before,
        lag(s.balance) over (partition by s.credit_id order by s.day) as balance_before
    from states s
)
select
    m.day,
    m.tier,
    change.bucket::smallint as bucket,
    sum(change.credits)::bigint as credits,
    sum(change.amount) as amount
from moves m
cross join lateral (
    values (m.bucket, 1, m.balance), (m.bucket_before, -1, -m.balance_before)
) as change (bucket, credits, amount)
where change.bucket < 7
group by 1, 2, 3
having sum(change.credits) <> 0 or sum(change.amount) <> 0
