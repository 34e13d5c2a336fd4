-- title: Payment success: paid in the end
-- description: One row: the installments that were tried in the period, and those of them that are paid by now. An installment
--   whose payment fails twice and then succeeds is one of three attempts and one of one in the end.
-- param: first date -- first day
-- param: last date -- last day
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: tried integer [count] -- installments with an attempt that succeeded or failed
-- column: paid integer [count] -- of them paid in full by now
-- ttl: 300
select count(*) as tried, count(i.paid_at) as paid
from (
    select distinct p.installment_id
    from bi.payments p
    where p.processed_at >= cast(:first as date)::timestamp at time zone :timezone
        and p.processed_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and p.status in ('succeeded', 'failed')
        and p.installment_id is not null
) as tried
join bi.installments i on i.installment_id = tried.installment_id;
