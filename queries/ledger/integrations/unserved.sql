-- title: What a failing integration holds up
-- description: A row is one application, credit or payment whose last call in the span failed and that has not come
--   back.
-- param: integration text -- service that was called
-- param: kind text = null -- application, credit or payment; null is all
-- param: start timestamptz -- first moment
-- param: end timestamptz -- the moment before which the span ends
-- column: call_id bigint -- its last failed call
-- column: kind text -- application, credit or payment
-- column: amount numeric [MXN] -- amount asked for, principal or payment
-- column: credit_id text -- the credit, for a credit or payment
-- column: application_id text -- the application, for an application
-- column: failed_at timestamptz -- when that call was made
-- column: error_code text -- code of that call, or its status
-- column: attempts bigint [count] -- failed calls in the span
-- column: request_id text -- id of that call's request
-- key: call_id
-- sort: amount desc nulls last, failed_at desc
-- ttl: 60
with failed as (
    select k.*
    from bi.integration_calls k
    where k.integration = cast(:integration as text) and k.status <> 'success'
        and k.called_at >= cast(:start as timestamptz) and k.called_at < cast(:end as timestamptz)
),
attempts as (
    select p.*
    from bi.payments p
    where p.processed_at >= cast(:start as timestamptz) - interval '1 hour'
        and p.processed_at < cast(:end as timestamptz)
        and p.status <> 'succeeded' and p.integration_call_id in (select call_id from failed)
),
served as (
    select
        failed.call_id,
        failed.called_at,
        failed.request_id,
        failed.application_id,
        failed.credit_id,
        coalesce(nullif(failed.error_code, ''), failed.status) as error_code,
        attempts.installment_id,
        attempts.amount,
        coalesce(attempts.processed_at, failed.called_at) as since,
        case
            when attempts.payment_id is not null then 'payment'
            when failed.credit_id is not null then 'credit'
            else 'application'
        end as kind,
        case
            when attempts.installment_id is not null then attempts.installment_id::text
            when attempts.payment_id is not null then 'payment ' || attempts.payment_id::text
            else coalesce(failed.credit_id::text, failed.application_id::text)
        end as subject
    from failed
    left join attempts on attempts.integration_call_id = failed.call_id
    where attempts.payment_id is not null or failed.credit_id is not null or failed.application_id is not null
),
latest as (
    select distinct on (kind, subject)
        served.*,
        count(*) over (partition by kind, subject) as tries
    from served
    order by kind, subject, called_at desc, call_id desc
)
select
    l.call_id,
    l.kind,
    case l.kind when 'payment' then l.amount when 'credit' then c.principal else a.amount_requested end as amount,
    case when l.kind <> 'application' then l.credit_id::text end as credit_id,
    case when l.kind = 'application' then l.application_id::text end as application_id,
    l.called_at as failed_at,
    l.error_code,
    l.tries as attempts,
    l.request_id
from latest l
left join bi.credits c on l.kind = 'credit' and c.credit_id = l.credit_id
left join bi.applications a on l.kind = 'application' and a.application_id = l.application_id
where (cast(:kind as text) is null or l.kind = cast(:kind as text))
    and case l.kind
        when 'payment' then l.installment_id is null or not exists (
            select from bi.payments p
            where p.installment_id = l.installment_id and p.status = 'succeeded' and p.processed_at > l.since
        )
        when 'credit' then c.disbursed_at is null and c.closed_at is null and not exists (
            select from bi.integration_calls k
            where k.credit_id = l.credit_id and k.integration = cast(:integration as text) and k.status = 'success'
                and k.called_at > l.since
        )
        else a.decided_at is null and not exists (
            select from bi.integration_calls k
            where k.application_id = l.application_id and k.integration = cast(:integration as text)
                and k.status = 'success' and k.called_at > l.since
        )
    end
