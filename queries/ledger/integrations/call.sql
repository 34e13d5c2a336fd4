-- title: One integration call
-- description: A row is the call, with the application, credit or payment that it served; none when there is no
--   such call.
-- param: call_id integer -- the call
-- column: call_id bigint -- the call
-- column: called_at timestamptz -- when it was made
-- column: integration text -- the integration
-- column: endpoint text -- the endpoint
-- column: status text -- success, error or timeout
-- column: http_status integer -- status of the answer
-- column: duration_ms integer [ms] -- how long it took
-- column: error_code text -- code of the error
-- column: error_message text -- what the integration said
-- column: request_id text -- id of the request
-- column: trace_id text -- id of the trace
-- column: application_id text -- the application it was made for, or that of its credit
-- column: application_status text -- what became of the application
-- column: amount_requested numeric [MXN] -- what was asked for
-- column: conductor_id text -- the driver
-- column: credit_id text -- the credit it was made for, or that of its payment
-- column: credit_status text -- what became of the credit
-- column: principal numeric [MXN] -- its principal
-- column: disbursed_at timestamptz -- when its money was sent
-- column: payment_id text -- the payment that was tried with it
-- column: payment_status text -- what became of the payment
-- column: payment_amount numeric [MXN] -- its amount
-- column: retried_at timestamptz -- the next call for the same thing that succeeded
-- ttl: 30
select
    k.call_id,
    k.called_at,
    k.integration,
    k.endpoint,
    k.status,
    k.http_status,
    k.duration_ms,
    k.error_code,
    k.error_message,
    k.request_id,
    k.trace_id,
    a.application_id::text as application_id,
    a.status as application_status,
    a.amount_requested,
    coalesce(c.conductor_id, a.conductor_id)::text as conductor_id,
    c.credit_id::text as credit_id,
    c.status as credit_status,
    c.principal,
    c.disbursed_at,
    p.payment_id::text as payment_id,
    p.status as payment_status,
    p.amount as payment_amount,
    case
        when p.payment_id is not null then (
            select min(q.processed_at) from bi.payments q
            where q.installment_id = p.installment_id and q.status = 'succeeded' and q.processed_at > p.processed_at
        )
        else (
            select min(q.called_at) from bi.integration_calls q
            where q.called_at > k.called_at and q.status = 'success' and q.integration = k.integration
                and (q.credit_id = k.credit_id or (k.credit_id is null and q.application_id = k.application_id))
        )
    end as retried_at
from bi.integration_calls k
left join lateral (
    select p.*
    from bi.payments p
    where p.integration_call_id = k.call_id
        and p.processed_at >= k.called_at - interval '1 hour' and p.processed_at < k.called_at + interval '1 day'
    order by p.processed_at
    limit 1
) p on true
left join bi.credits c on c.credit_id = coalesce(k.credit_id, p.credit_id)
left join bi.applications a on a.application_id = coalesce(k.application_id, c.application_id)
where k.call_id = cast(:call_id as bigint)
