-- title: Credits of a driver
-- description: A row is one credit at the end of a day, newest first. Outstanding is the scheduled amount of its
--     unpaid installments; worst is the most days that one of them was ever late.
-- param: conductor_id text -- the driver, an opaque id
-- param: as_of date -- the day at whose end it stands
-- param: timezone text = $timezone -- the zone of the days
-- column: credit_id text -- the credit
-- column: application_id text -- its application
-- column: sinosure_tier text -- Sinosure tier
-- column: status text -- pending, active, paid, charged_off, cancelled or another
-- column: principal numeric [MXN] -- amount lent
-- column: approved_at timestamptz -- approval
-- column: disbursed_at timestamptz -- when the money went out
-- column: outstanding numeric [MXN] -- scheduled amount of unpaid installments
-- column: overdue numeric [MXN] -- of it, due before the day
-- column: days_past_due integer [d] -- days since the oldest unpaid installment was due; 0: nothing late
-- column: late integer [count] -- installments that were or are late
-- column: due integer [count] -- installments due before the day
-- column: worst integer [d] -- most days late of one installment
-- ttl: 15
select
    c.credit_id,
    c.application_id,
    c.sinosure_tier,
    c.status,
    c.principal,
    c.approved_at,
    c.disbursed_at,
    plan.outstanding,
    plan.overdue,
    coalesce(greatest(:as_of - plan.oldest, 0), 0) as days_past_due,
    plan.late,
    plan.due,
    plan.worst
from bi.credits as c
cross join lateral (
    select
        coalesce(sum(amount_due) filter (where paid_day is null), 0) as outstanding,
        coalesce(sum(amount_due) filter (where paid_day is null and due_date < :as_of), 0) as overdue,
        min(due_date) filter (where paid_day is null) as oldest,
        count(*) filter (where coalesce(paid_day, :as_of) > due_date) as late,
        count(*) filter (where due_date < :as_of) as due,
        coalesce(max(greatest(coalesce(paid_day, :as_of) - due_date, 0)), 0) as worst
    from (
        select
            i.amount_due,
            i.due_date,
            case
                when (i.paid_at at time zone :timezone)::date <= :as_of then (i.paid_at at time zone :timezone)::date
            end as paid_day
        from bi.installments as i
        where i.credit_id = c.credit_id
    ) as i
) as plan
where c.conductor_id = :conductor_id
order by c.approved_at desc, c.credit_id desc
limit 500
