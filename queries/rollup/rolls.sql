-- title: Movements between buckets by month
-- description: A row is one month, tier and pair of buckets: credits by where they stood at the end of the month before
--   and at the end of the month. Only months that are over.
-- column: month date -- first day of the month
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: from_bucket smallint -- bucket of days past due at the end of the month before (0 to 6); -1: not yet disbursed
-- column: to_bucket smallint -- bucket at the end of the month (0 to 6); 7: paid off
-- column: n bigint [count] -- credits
with edge as (
    select (now() at time zone :timezone)::date as today
),
owed as (
    select
        c.credit_id,
        coalesce(c.sinosure_tier, '') as tier,
        (c.disbursed_at at time zone :timezone)::date as start_day,
        coalesce((i.paid_at at time zone :timezone)::date, 'infinity') as paid_day,
        i.due_date
    from bi.credits c
    join bi.installments i on i.credit_id = c.credit_id
    where
        c.disbursed_at is not null
        and (i.paid_at is null or (i.paid_at at time zone :timezone)::date > (c.disbursed_at at time zone :timezone)::date)
),
heads as (
    -- As in exposure: the spell during which an installment is the oldest unpaid one of its credit.
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
        ) as head_day
    from owed o
),
states as (
    select
        h.credit_id,
        h.tier,
        month::date as month,
        (
            select count(*) from unnest(array[1, 8, 16, 31, 61, 91]) as late
            where (month + interval '1 month - 1 day')::date >= h.due_date + late
        ) as bucket
    from heads h
    cross join edge
    cross join lateral generate_series(
        date_trunc('month', h.head_day::timestamp),
        least(h.paid_day, edge.today)::timestamp,
        interval '1 month'
    ) as month
    where
        h.head_day < h.paid_day
        and h.head_day < edge.today
        -- Most spells hold no end of a month: they need no series.
        and (date_trunc('month', h.head_day::timestamp) + interval '1 month - 1 day')::date < h.paid_day
        and (month + interval '1 month - 1 day')::date < h.paid_day
        and (month + interval '1 month')::date <= edge.today
    union all
    select h.credit_id, h.tier, date_trunc('month', max(h.paid_day)::timestamp)::date, 7
    from heads h
    cross join edge
    group by h.credit_id, h.tier, edge.today
    having
        max(h.paid_day) < edge.today
        and (date_trunc('month', max(h.paid_day)::timestamp) + interval '1 month')::date <= edge.today
),
moves as (
    select
        s.month,
        s.tier,
        coalesce(lag(s.bucket) over (partition by s.credit_id order by s.month), -1)::smallint as from_bucket,
        s.bucket::smallint as to_bucket
    from states s
)
select m.month, m.tier, m.from_bucket, m.to_bucket, count(*) as n
from moves m
group by 1, 2, 3, 4
