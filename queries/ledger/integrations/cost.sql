-- title: What failed calls cost the business
-- description: A row is one day, integration and kind of thing it serves: those with a failed call in the hours before
--   the same time of that day, how many came back on retry by then, and how many still waited for it.
-- param: day date -- the business day that is looked at
-- param: days date[] = {} -- the days that it is compared with
-- param: hours integer = 24 -- hours before the time of day that are looked at
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day
-- column: integration text -- service that was called
-- column: kind text -- application, credit, payment; other: the call served none of them
-- column: hit bigint [count] -- had a failed call
-- column: back bigint [count] -- of these: came back on retry
-- column: waiting bigint [count] -- of these: still waited
-- column: hit_amount numeric [MXN] -- amount asked for, principal or payment of those hit
-- column: back_amount numeric [MXN] -- of those that came back
-- column: waiting_amount numeric [MXN] -- of those that still waited
-- ttl: 60
with present as (
    select
        coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of,
        coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) at time zone :timezone
            - cast(:day as date)::timestamp as elapsed
),
cuts as (
    select
        d.day,
        least(
            (d.day + present.elapsed) at time zone :timezone,
            (d.day + 1)::timestamp at time zone :timezone,
            present.as_of
        ) as cut
    from present
    cross join (
        select cast(:day as date) as day
        union
        select unnest(cast(:days as date[]))
    ) d
),
failed as (
    select cuts.day, cuts.cut, k.call_id, k.integration, k.called_at, k.application_id, k.credit_id
    from cuts
    join bi.integration_calls k
        on k.called_at >= cuts.cut - make_interval(hours => cast(:hours as integer)) and k.called_at < cuts.cut
        and k.status <> 'success'
),
attempts as (
    select failed.day, failed.call_id, p.payment_id, p.installment_id, p.amount, p.processed_at
    from cuts
    join bi.payments p
        on p.processed_at >= cuts.cut - make_interval(hours => cast(:hours as integer) + 1)
        and p.processed_at < cuts.cut
    join failed on failed.day = cuts.day and failed.call_id = p.integration_call_id
    where p.status <> 'succeeded'
),
served as (
    select
        failed.*,
        attempts.installment_id,
        attempts.amount,
        attempts.processed_at,
        case
            when attempts.payment_id is not null then 'payment'
            when failed.credit_id is not null then 'credit'
            when failed.application_id is not null then 'application'
            else 'other'
        end as kind,
        case
            when attempts.installment_id is not null then attempts.installment_id::text
            when attempts.payment_id is not null then 'payment ' || attempts.payment_id::text
            else coalesce(failed.credit_id::text, failed.application_id::text, 'call ' || failed.call_id::text)
        end as subject
    from failed
    left join attempts on attempts.day = failed.day and attempts.call_id = failed.call_id
),
subjects as (
    select
        day,
        cut,
        integration,
        kind,
        subject,
        -- The last attempt speaks: what succeeded before it has not come back, and what it tried to pay is open.
        (array_agg(coalesce(processed_at, called_at) order by called_at desc, call_id desc))[1] as since,
        (array_agg(amount order by called_at desc, call_id desc))[1] as amount,
        min(installment_id) as installment_id,
        min(credit_id) as credit_id,
        min(application_id) as application_id
    from served
    group by 1, 2, 3, 4, 5
),
told as (
    select
        s.day,
        s.integration,
        s.kind,
        case s.kind
            when 'payment' then s.amount
            when 'credit' then c.principal
            when 'application' then a.amount_requested
        end as amount,
        case s.kind
            when 'payment' then s.installment_id is not null and exists (
                select from bi.payments p
                where p.installment_id = s.installment_id and p.status = 'succeeded'
                    and p.processed_at > s.since and p.processed_at < s.cut
            )
            when 'credit' then exists (
                select from bi.integration_calls k
                where k.credit_id = s.credit_id and k.integration = s.integration and k.status = 'success'
                    and k.called_at > s.since and k.called_at < s.cut
            )
            when 'application' then exists (
                select from bi.integration_calls k
                where k.application_id = s.application_id and k.integration = s.integration and k.status = 'success'
                    and k.called_at > s.since and k.called_at < s.cut
            )
            else false
        end as back,
        case s.kind
            when 'payment' then true
            when 'credit' then (c.disbursed_at is null or c.disbursed_at >= s.cut)
                and (c.closed_at is null or c.closed_at >= s.cut)
            when 'application' then a.decided_at is null or a.decided_at >= s.cut
            else false
        end as open
    from subjects s
    left join bi.credits c on s.kind = 'credit' and c.credit_id = s.credit_id
    left join bi.applications a on s.kind = 'application' and a.application_id = s.application_id
)
select
    day,
    integration,
    kind,
    count(*) as hit,
    count(*) filter (where back) as back,
    count(*) filter (where not back and open) as waiting,
    coalesce(sum(amount), 0) as hit_amount,
    coalesce(sum(amount) filter (where back), 0) as back_amount,
    coalesce(sum(amount) filter (where not back and open), 0) as waiting_amount
from told
group by 1, 2, 3
order by 1, 2, 3
