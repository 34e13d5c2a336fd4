-- title: Largest overdue credits
-- description: A row is one credit with late installments now, those that owe most first. Amounts are scheduled less
--   what was paid in part.
-- param: as_of date -- today: installments due before it are late
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- param: late text[] = {} -- buckets of the oldest late installment, by their words; none is all
-- param: charged_off boolean = false -- credits that were charged off too
-- param: size integer = 100 -- rows at most
-- column: credit_id text -- the credit
-- column: conductor_id text -- the driver
-- column: tier text -- tier of the credit
-- column: status text -- status of the credit
-- column: principal numeric [MXN] -- amount lent
-- column: outstanding numeric [MXN] -- still owed of all its installments, due or not
-- column: overdue numeric [MXN] -- still owed of its late installments
-- column: installments integer [count] -- its late installments
-- column: oldest_due date -- when the oldest of them was due
-- column: dpd integer [days] -- days past due of the oldest
-- ttl: 60
with late as (
    -- By the index of unpaid installments alone, which holds the amounts.
    select
        credit_id,
        count(*) as installments,
        sum(amount_due - amount_paid) as overdue,
        min(due_date) as oldest_due,
        cast(:as_of as date) - min(due_date) as dpd
    from bi.installments
    where paid_at is null and due_date < cast(:as_of as date)
    group by credit_id
),
largest as (
    select late.*, c.conductor_id, c.sinosure_tier, c.status, c.principal
    -- In this order, credits are met one by one until there are enough.
    from (select * from late order by overdue desc, credit_id) as late
    left join bi.credits c on c.credit_id = late.credit_id
    where (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
        and (cast(:charged_off as boolean) or c.status is distinct from 'charged_off')
        and (
            cardinality(cast(:late as text[])) = 0
            or (array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'])[
                width_bucket(late.dpd, array[1, 8, 16, 31, 61, 91])
            ] = any(cast(:late as text[]))
        )
    order by late.overdue desc, late.credit_id
    limit :size
)
select
    credit_id,
    conductor_id,
    coalesce(sinosure_tier, '') as tier,
    status,
    principal,
    (
        select sum(i.amount_due - i.amount_paid)
        from bi.installments i
        where i.credit_id = largest.credit_id and i.paid_at is null
    ) as outstanding,
    overdue,
    installments,
    oldest_due,
    dpd
from largest
order by overdue desc, credit_id
