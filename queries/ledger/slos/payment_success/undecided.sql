-- title: Payment success: undecided attempts
-- description: A row is one attempt of the last 30 days that is pending, the oldest first. No deadline decides it.
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: most integer = 2000 -- at most so many
-- column: credit_id text -- the credit that is paid
-- column: segment text -- method
-- column: amount numeric [MXN] -- amount
-- column: since timestamptz -- when it was processed
-- column: breaches_at timestamptz -- none: nothing decides it but its own end
-- column: note text -- none
-- ttl: 30
with moment as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
)
select
    p.credit_id,
    p.method as segment,
    p.amount,
    p.processed_at as since,
    cast(null as timestamptz) as breaches_at,
    '' as note
from bi.payments p
cross join moment
where p.status = 'pending'
    and p.processed_at >= moment.as_of - interval '30 days'
    and p.processed_at < moment.as_of
order by p.processed_at, p.payment_id
limit :most;
