-- title: One credit
-- description: The credit with its application and the state of its plan at the end of a day. Outstanding is the
--     scheduled amount of its unpaid installments, overdue that of those that were due before the day.
-- param: credit_id text -- the credit
-- param: as_of date -- the day at whose end the plan stands
-- param: timezone text = $timezone -- the zone of the days
-- column: credit_id text -- the credit
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- its application
-- column: sinosure_tier text -- Sinosure tier
-- column: status text -- pending, active, paid, charged_off, cancelled or another
-- column: disbursement_status text -- pending, sent, failed, settled or another
-- column: principal numeric [MXN] -- amount lent
-- column: approved_at timestamptz -- approval
-- column: disbursed_at timestamptz -- when the money went out; null: not yet
-- column: closed_at timestamptz -- when it was closed
-- column: submitted_at timestamptz -- when it was applied for
-- column: decided_at timestamptz -- when it was decided
-- column: application_status text -- status of the application
-- column: rejection_reason text -- why it was rejected
-- column: amount_requested numeric [MXN] -- amount applied for
-- column: hase_score integer -- score it was decided by
-- column: installments integer [count] -- installments of the plan
-- column: paid integer [count] -- installments paid
-- column: outstanding numeric [MXN] -- scheduled amount of unpaid installments
-- column: overdue numeric [MXN] -- of it, due before the day
-- column: paid_in numeric [MXN] -- paid up to now
-- column: days_past_due integer [d] -- days since the oldest unpaid installment was due; 0: nothing late
-- column: next_due date -- due day of the next installment
-- column: next_amount numeric [MXN] -- its scheduled amount
-- ttl: 15
select
    c.credit_id,
    c.conductor_id,
    c.application_id,
    c.sinosure_tier,
    c.status,
    c.disbursement_status,
    c.principal,
    c.approved_at,
    c.disbursed_at,
    c.closed_at,
    a.submitted_at,
    a.decided_at,
    a.status as application_status,
    a.rejection_reason,
    a.amount_requested,
    a.hase_score,
    plan.installments,
    plan.paid,
    plan.outstanding,
    plan.overdue,
    plan.paid_in,
    coalesce(greatest(:as_of - plan.oldest, 0), 0) as days_past_due,
    coming.due_date as next_due,
    coming.amount_due as next_amount
from bi.credits as c
left join bi.applications as a on a.application_id = c.application_id
cross join lateral (
    select
        count(*) as installments,
        count(*) filter (where not owed) as paid,
        coalesce(sum(amount_due) filter (where owed), 0) as outstanding,
        coalesce(sum(amount_due) filter (where owed and due_date < :as_of), 0) as overdue,
        coalesce(sum(amount_paid), 0) as paid_in,
        min(due_date) filter (where owed) as oldest
    from (
        select
            i.*,
            i.paid_at is null or (i.paid_at at time zone :timezone)::date > :as_of as owed
        from bi.installments as i
        where i.credit_id = c.credit_id
    ) as i
) as plan
left join lateral (
    select i.due_date, i.amount_due
    from bi.installments as i
    where i.credit_id = c.credit_id
        and i.due_date >= :as_of
        and (i.paid_at is null or (i.paid_at at time zone :timezone)::date > :as_of)
    order by i.due_date, i.sequence
    limit 1
) as coming on true
where c.credit_id = :credit_id
