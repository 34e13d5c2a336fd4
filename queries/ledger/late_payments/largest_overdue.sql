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
with kept as (
    -- The table is of one day: after midnight, until it is refreshed, the rows are asked.
    select coalesce((select o.day from rollup.overdue o limit 1) = cast(:as_of as date), false) as of_the_day
),
late as (
    -- Each part in the order of an index: credits are met one by one until there are enough.
    (
        select o.credit_id, o.tier, o.oldest_due, o.installments, o.overdue
        from rollup.overdue o
        where (select of_the_day from kept)
            and not o.charged_off
            and (cardinality(cast(:tiers as text[])) = 0 or o.tier = any(cast(:tiers as text[])))
            and (
                cardinality(cast(:late as text[])) = 0
                or (array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'])[
                    width_bucket(cast(:as_of as date) - o.oldest_due, array[1, 8, 16, 31, 61, 91])
                ] = any(cast(:late as text[]))
            )
        order by o.overdue desc, o.credit_id
        limit :size
    )
    union all
    (
        select o.credit_id, o.tier, o.oldest_due, o.installments, o.overdue
        from rollup.overdue o
        where (select of_the_day from kept)
            and cast(:charged_off as boolean)
            and o.charged_off
            and (cardinality(cast(:tiers as text[])) = 0 or o.tier = any(cast(:tiers as text[])))
            and (
                cardinality(cast(:late as text[])) = 0
                or (array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'])[
                    width_bucket(cast(:as_of as date) - o.oldest_due, array[1, 8, 16, 31, 61, 91])
                ] = any(cast(:late as text[]))
            )
        order by o.overdue desc, o.credit_id
        limit :size
    )
    union all
    (
        select i.credit_id, coalesce(c.sinosure_tier, ''), i.oldest_due, i.installments, i.overdue
        from (
            -- By the index of unpaid installments alone, which holds the amounts.
            select
                credit_id,
                min(due_date) as oldest_due,
                count(*) as installments,
                sum(amount_due - amount_paid) as overdue
            from bi.installments
            where paid_at is null and due_date < cast(:as_of as date)
            group by credit_id
        ) as i
        left join bi.credits c on c.credit_id = i.credit_id
        where not (select of_the_day from kept)
            and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
            and (cast(:charged_off as boolean) or c.status is distinct from 'charged_off')
            and (
                cardinality(cast(:late as text[])) = 0
                or (array['1-7', '8-15', '16-30', '31-60', '61-90', '90+'])[
                    width_bucket(cast(:as_of as date) - i.oldest_due, array[1, 8, 16, 31, 61, 91])
                ] = any(cast(:late as text[]))
            )
        order by i.overdue desc, i.credit_id
        limit :size
    )
),
largest as (
    select * from late order by overdue desc, credit_id limit :size
)
select
    largest.credit_id,
    c.conductor_id,
    largest.tier,
    c.status,
    c.principal,
    (
        select sum(i.amount_due - i.amount_paid)
        from bi.installments i
        where i.credit_id = largest.credit_id and i.paid_at is null
    ) as outstanding,
    largest.overdue,
    largest.installments,
    largest.oldest_due,
    cast(:as_of as date) - largest.oldest_due as dpd
from largest
left join bi.credits c on c.credit_id = largest.credit_id
order by largest.overdue desc, largest.credit_id
