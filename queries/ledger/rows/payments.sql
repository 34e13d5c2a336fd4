-- title: Payments
-- description: A row is one attempt to pay, by the day on which it was processed.
-- param: first date = null -- first day on which it was processed
-- param: last date = null -- last day on which it was processed
-- param: method text = null -- card, oxxo or spei
-- param: methods text[] = {} -- the same, several
-- param: status text = null -- succeeded, failed, pending or refunded
-- param: statuses text[] = {} -- the same, several
-- param: failure_code text = null -- why it failed; '' is none
-- param: failure_codes text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: payment_id bigint -- the attempt
-- column: processed_at timestamptz -- when it was processed
-- column: credit_id text -- the credit that is paid
-- column: conductor_id text -- the driver, an opaque id
-- column: sinosure_tier text -- Sinosure tier of the credit
-- column: amount numeric [MXN] -- amount
-- column: method text -- card, oxxo or spei
-- column: status text -- succeeded, failed, pending or refunded
-- column: failure_code text -- why it failed
-- column: installment_id bigint -- the installment that is paid
-- column: integration_call_id bigint -- the call to the payment service
-- key: payment_id
-- sort: processed_at desc, amount desc
-- ttl: 30
select
    p.payment_id,
    p.processed_at,
    p.credit_id,
    c.conductor_id,
    c.sinosure_tier,
    p.amount,
    p.method,
    p.status,
    p.failure_code,
    p.installment_id,
    p.integration_call_id
from bi.payments p
left join bi.credits c on c.credit_id = p.credit_id
where true
    and (cast(:first as date) is null
        or p.processed_at >= cast(:first as date)::timestamp at time zone :timezone)
    and (cast(:last as date) is null
        or p.processed_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
    and (cast(:method as text) is null or p.method = cast(:method as text))
    and (cardinality(cast(:methods as text[])) = 0 or p.method = any(cast(:methods as text[])))
    and (cast(:status as text) is null or p.status = cast(:status as text))
    and (cardinality(cast(:statuses as text[])) = 0 or p.status = any(cast(:statuses as text[])))
    and (cast(:failure_code as text) is null or coalesce(p.failure_code, '') = cast(:failure_code as text))
    and (cardinality(cast(:failure_codes as text[])) = 0
        or coalesce(p.failure_code, '') = any(cast(:failure_codes as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
