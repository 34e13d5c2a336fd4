-- title: What came in and went out while an alert fired
-- description: A row is one day: the applications, decisions, disbursements and payments between two moments of its
--   clock. The day that is looked at stands beside normal days at the same time.
-- param: start timestamptz -- first moment, on the day that is looked at
-- param: end timestamptz = null -- the moment before which it ends; null is the last whole minute
-- param: day date -- the business day of the end
-- param: days date[] = {} -- the days that it is compared with
-- param: timezone text = $timezone -- the zone of the days' clocks
-- column: day date -- business day
-- column: applications bigint [count] -- applications submitted
-- column: applied_amount numeric [MXN] -- amount that they asked for
-- column: decided bigint [count] -- applications approved or rejected
-- column: approved bigint [count] -- of these: approved
-- column: disbursed bigint [count] -- credits disbursed
-- column: disbursed_amount numeric [MXN] -- their principal
-- column: collected bigint [count] -- payments that succeeded
-- column: collected_amount numeric [MXN] -- their amount
-- ttl: 60
with stretch as (
    select
        d.day,
        (cast(:start as timestamptz) at time zone :timezone + (d.day - cast(:day as date)) * interval '1 day')
            at time zone :timezone as start_at,
        (
            coalesce(cast(:end as timestamptz), date_trunc('minute', now())) at time zone :timezone
            + (d.day - cast(:day as date)) * interval '1 day'
        ) at time zone :timezone as end_at
    from (
        select cast(:day as date) as day
        union
        select unnest(cast(:days as date[]))
    ) as d
)
select
    stretch.day,
    submitted.n as applications,
    submitted.amount as applied_amount,
    decisions.n as decided,
    decisions.approved,
    sent.n as disbursed,
    sent.amount as disbursed_amount,
    paid.n as collected,
    paid.amount as collected_amount
from stretch
cross join lateral (
    select count(*) as n, coalesce(sum(a.amount_requested), 0) as amount
    from bi.applications a
    where a.submitted_at >= stretch.start_at and a.submitted_at < stretch.end_at
) as submitted
cross join lateral (
    select count(*) as n, count(*) filter (where a.status = 'approved') as approved
    from bi.applications a
    where a.decided_at >= stretch.start_at and a.decided_at < stretch.end_at and a.status in ('approved', 'rejected')
) as decisions
cross join lateral (
    select count(*) as n, coalesce(sum(c.principal), 0) as amount
    from bi.credits c
    where c.disbursed_at >= stretch.start_at and c.disbursed_at < stretch.end_at
) as sent
cross join lateral (
    select count(*) as n, coalesce(sum(p.amount), 0) as amount
    from bi.payments p
    where p.processed_at >= stretch.start_at and p.processed_at < stretch.end_at and p.status = 'succeeded'
) as paid
order by stretch.day
