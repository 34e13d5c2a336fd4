-- title: Vintages
-- description: A row is one month of disbursement, month on book and tier: of the credits disbursed in the month, those
--   over 30 days late at the end of the month on book. Only months that are over.
-- column: vintage date -- first day of the month of disbursement
-- column: month_on_book smallint [months] -- 0 is the month of disbursement itself
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: credits bigint [count] -- credits disbursed in the vintage
-- column: late30 bigint [count] -- those whose oldest unpaid installment is over 30 days late
-- column: amount numeric [MXN] -- principal of the vintage
-- column: late30_amount numeric [MXN] -- principal of those late
with edge as (
    -- Ends of months before this day are over.
    select (now() at time zone :timezone)::date as today
),
book as (
    select
        c.credit_id,
        coalesce(c.sinosure_tier, '') as tier,
        c.principal,
        date_trunc('month', c.disbursed_at at time zone :timezone)::date as vintage
    from bi.credits c
    where c.disbursed_at is not null
),
spells as (
    select
        i.credit_id,
        i.due_date + 31 as first_day,
        coalesce((i.paid_at at time zone :timezone)::date, edge.today) as end_day
    from bi.installments i, edge
    where i.paid_at is null or (i.paid_at at time zone :timezone)::date > i.due_date + 31
),
late as (
    select distinct b.credit_id, b.tier, b.principal, b.vintage, month::date as month
    from spells s
    join book b on b.credit_id = s.credit_id
    cross join edge
    cross join lateral generate_series(
        date_trunc('month', greatest(s.first_day, b.vintage)::timestamp),
        least(s.end_day, edge.today)::timestamp,
        interval '1 month'
    ) as month
    where
        (month + interval '1 month - 1 day')::date >= s.first_day
        and (month + interval '1 month - 1 day')::date < s.end_day
        and (month + interval '1 month')::date <= edge.today
),
late_cells as (
    select l.vintage, l.month, l.tier, count(*) as late30, sum(l.principal) as late30_amount
    from late l
    group by 1, 2, 3
),
cells as (
    select b.vintage, b.tier, count(*) as credits, sum(b.principal) as amount
    from book b
    group by 1, 2
)
select
    c.vintage,
    (
        (extract(year from ended.month) - extract(year from c.vintage)) * 12
        + extract(month from ended.month) - extract(month from c.vintage)
    )::smallint as month_on_book,
    c.tier,
    c.credits,
    coalesce(l.late30, 0) as late30,
    c.amount,
    coalesce(l.late30_amount, 0) as late30_amount
from cells c
cross join edge
cross join lateral generate_series(
    c.vintage::timestamp, date_trunc('month', edge.today::timestamp) - interval '1 month', interval '1 month'
) as ended (month)
left join late_cells l on l.vintage = c.vintage and l.tier = c.tier and l.month = ended.month::date
