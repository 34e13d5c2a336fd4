-- title: Drivers who look late only because of an integration
-- description: A row is one installment that looks late, or looked late until it was paid on retry, only because an
--   integration failed. Its driver tried to pay all that was open of it in the hours before the day's cut; the call of
--   that attempt failed; no later attempt was declined on its own account; and no other installment of the driver was
--   late then. Late is due before the day and not paid in full. Of several failed attempts the first counts.
-- param: day date = null -- the business day that is looked at; null is today
-- param: days date[] = {} -- the days that it is compared with
-- param: hours integer = 24 -- hours before the time of day that are looked at
-- param: integration text = null -- service that was called; null is all
-- param: state text = null -- late, paid; null is both
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: installment_id bigint -- the installment
-- column: day date -- business day
-- column: integration text -- service that was called
-- column: state text -- late: not paid by the cut; paid: paid on retry, but late at the end of a day before that
-- column: conductor_id text -- the driver, an opaque id
-- column: credit_id text -- the credit
-- column: due_date date -- the day it was due
-- column: amount numeric [MXN] -- what the driver tried to pay
-- column: failed_at timestamptz -- the attempt whose call failed
-- column: error_code text -- code of that call, or its status
-- column: call_id bigint -- that call
-- column: paid_at timestamptz -- when it was paid on retry
-- key: installment_id
-- sort: amount desc, failed_at desc, due_date desc
-- ttl: 60
with present as (
    select
        moment.as_of,
        coalesce(cast(:day as date), (moment.as_of at time zone :timezone)::date) as day
    from (select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of) as moment
),
cuts as (
    -- Each day up to the same time of day.
    select
        d.day,
        least(
            (d.day + (present.as_of at time zone :timezone - present.day::timestamp)) at time zone :timezone,
            (d.day + 1)::timestamp at time zone :timezone,
            present.as_of
        ) as cut
    from present
    cross join lateral (
        select present.day
        union
        select unnest(cast(:days as date[]))
    ) as d
),
failed as (
    select
        cuts.day,
        cuts.cut,
        k.call_id,
        k.integration,
        coalesce(nullif(k.error_code, ''), k.status) as error_code
    from cuts
    join bi.integration_calls k
        on k.called_at >= cuts.cut - make_interval(hours => cast(:hours as integer)) and k.called_at < cuts.cut
        and k.status <> 'success'
    where cast(:integration as text) is null or k.integration = cast(:integration as text)
),
attempts as (
    select distinct on (failed.day, failed.integration, p.installment_id)
        failed.day,
        failed.cut,
        failed.integration,
        failed.call_id,
        failed.error_code,
        p.installment_id,
        p.amount,
        p.processed_at
    from cuts
    join bi.payments p
        on p.processed_at >= cuts.cut - make_interval(hours => cast(:hours as integer) + 1)
        and p.processed_at < cuts.cut
    join failed on failed.day = cuts.day and failed.call_id = p.integration_call_id
    where p.status = 'failed' and p.installment_id is not null
    order by failed.day, failed.integration, p.installment_id, p.processed_at, p.payment_id
),
placed as (
    select
        a.*,
        i.credit_id,
        i.due_date,
        c.conductor_id,
        case when i.paid_at < a.cut then i.paid_at end as paid_at,
        -- The last day at whose end it looked late, and that end; the cut for what is not paid yet.
        case when i.paid_at < a.cut then (i.paid_at at time zone :timezone)::date - 1 else a.day end as seen_day,
        case
            when i.paid_at < a.cut
            then ((i.paid_at at time zone :timezone)::date)::timestamp at time zone :timezone
            else a.cut
        end as seen_at
    from attempts a
    join bi.installments i on i.installment_id = a.installment_id
    left join bi.credits c on c.credit_id = i.credit_id
    where (i.paid_at is null or i.paid_at > a.processed_at)
        -- The attempt would have paid it in full.
        and a.amount >= i.amount_due - coalesce((
            select sum(q.amount) from bi.payments q
            where q.installment_id = a.installment_id and q.status = 'succeeded' and q.processed_at < a.processed_at
        ), 0)
        -- Who was declined afterwards is late on his own account.
        and not exists (
            select from bi.payments q
            left join bi.integration_calls k on k.call_id = q.integration_call_id
            where q.installment_id = a.installment_id and q.status = 'failed'
                and q.processed_at > a.processed_at and q.processed_at < coalesce(i.paid_at, a.cut)
                and q.processed_at < a.cut and coalesce(k.status, 'success') = 'success'
        )
),
late as (
    select
        placed.*,
        case when paid_at is null then 'late' else 'paid' end as state
    from placed
    where due_date < seen_day
        -- Between the attempt and its retry lies the end of a day.
        and (paid_at is null or seen_day >= (processed_at at time zone :timezone)::date)
)
select
    l.installment_id,
    l.day,
    l.integration,
    l.state,
    l.conductor_id,
    l.credit_id,
    l.due_date,
    l.amount,
    l.processed_at as failed_at,
    l.error_code,
    l.call_id,
    l.paid_at
from late l
where (cast(:state as text) is null or l.state = cast(:state as text))
    and not exists (
        select from bi.credits other
        join bi.installments i on i.credit_id = other.credit_id
        where other.conductor_id = l.conductor_id
            and i.due_date < l.seen_day and (i.paid_at is null or i.paid_at >= l.seen_at)
            and not exists (
                select from late same
                where same.day = l.day and same.integration = l.integration and same.installment_id = i.installment_id
            )
    )
