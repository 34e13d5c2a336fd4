-- title: Payments of a credit
-- description: A row is one attempt to pay, newest first; at most 2,000.
-- param: credit_id text -- the credit
-- column: payment_id integer -- its number
-- column: processed_at timestamptz -- when
-- column: amount numeric [MXN] -- how much
-- column: status text -- succeeded, failed, pending, refunded or another
-- column: method text -- card, oxxo, spei or another
-- column: failure_code text -- why it failed
-- column: sequence integer -- the installment that it is for; null: none
-- column: integration_call_id integer -- the call that carried it
-- ttl: 15
select
    p.payment_id,
    p.processed_at,
    p.amount,
    p.status,
    p.method,
    p.failure_code,
    i.sequence,
    p.integration_call_id
from bi.payments as p
left join bi.installments as i on i.installment_id = p.installment_id
where p.credit_id = :credit_id
order by p.processed_at desc, p.payment_id desc
limit 2000
