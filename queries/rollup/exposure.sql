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
    -- Installments that are paid on one day, and all that are not, are one: the oldest of them counts for the bucket.
    select
        c.credit_id,
        coalesce(c.sinosure_tier, '') as tier,
        (c.disbursed_at at time zone :timezone)::date as start_day,
        i.paid_day,
        i.due_date,
        i.amount_due
    from bi.credits c
    join (
        select
            o.credit_id,
            coalesce((o.paid_at at time zone :timezone)::date, 'infinity') as paid_day,
            min(o.due_date) as due_date,
            sum(o.amount_due) as amount_due
        from bi.installments o
        group by 1, 2
    ) as i on i.credit_id = c.credit_id
    where c.disbursed_at is not null and i.paid_day > (c.disbursed_at at time zone :timezone)::date
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
    -- What happens to a credit: it comes in with all that is unpaid, it enters a bucket ...
    select
        h.credit_id,
        h.tier,
        point.day,
        point.bucket,
        case when point.day = h.start_day then h.total else 0 end as amount
    from heads h
    cross join lateral (
        select greatest(h.head_day, h.due_date + step.late) as day, step.bucket
        from (values (1, 8, 1), (8, 16, 2), (16, 31, 3), (31, 61, 4), (61, 91, 5), (91, 1000000, 6))
            as step (late, until, bucket)
        where
            h.paid_day > h.due_date + 1
            and greatest(h.head_day, h.due_date + step.late) < least(h.paid_day, h.due_date + step.until)
        union all
        select h.head_day, 0
        where h.head_day <= h.due_date
    ) as point
    where h.head_day < h.paid_day
    union all
    -- ... and an installment is paid; with the last one it leaves (bucket 7).
    select h.credit_id, h.tier, h.paid_day, case when h.paid_day = h.end_day then 7 end, -h.amount_due
    from heads h
    where h.paid_day < 'infinity'
),
states as (
    -- At the end of each day on which something happens. Of the buckets the latest counts: days grow, so it is in the
    -- greatest pair of day and bucket.
    select
        p.credit_id,
        p.tier,
        p.day,
        row_number() over (partition by p.credit_id, p.day) as number,
        (max((p.day - date '0001-01-01') * 8 + p.bucket) over until_day) % 8 as bucket,
        sum(p.amount) over until_day as balance
    from points p
    window until_day as (partition by p.credit_id order by p.day)
),
moves as (
    select
        s.*,
        lag(s.bucket) over (partition by s.credit_id order by s.day) as bucket_before,
        lag(s.balance) over (partition by s.credit_id order by s.day) as balance_before
    from states s
    where s.number = 1
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
