-- title: Vintages
-- description: A row is the credits disbursed in one month, at the end of a later month: how many have an installment
--   more than 30 days late then. Only month ends up to the last day.
-- param: first date -- a day of the first month of disbursement
-- param: last date -- the last day: month ends after it are left out
-- param: tiers text[] = {} -- tiers of the credits; none is all
-- column: vintage date -- first day of the month of disbursement
-- column: vintage_end date -- its last day
-- column: month_on_book integer -- months between the month of disbursement and the month whose end is looked at
-- column: as_of date -- the month end that is looked at
-- column: credits integer [count] -- credits of the vintage
-- column: late30 integer [count] -- of these, over 30 days late at that month end
-- column: amount numeric [MXN] -- principal of the vintage
-- column: late30_amount numeric [MXN] -- principal of those late
-- column: share double [share] -- late30 of credits
-- ttl: 300
select
    vintage,
    (vintage + interval '1 month' - interval '1 day')::date as vintage_end,
    month_on_book,
    (vintage + (month_on_book + 1) * interval '1 month' - interval '1 day')::date as as_of,
    sum(credits)::bigint as credits,
    sum(late30)::bigint as late30,
    sum(amount) as amount,
    sum(late30_amount) as late30_amount,
    sum(late30)::double precision / nullif(sum(credits), 0)::double precision as share
from rollup.vintages
where vintage >= date_trunc('month', cast(:first as date)::timestamp)::date
    and vintage + (month_on_book + 1) * interval '1 month' <= cast(:last as date) + interval '1 day'
    and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
group by vintage, month_on_book
having sum(credits) > 0
order by vintage, month_on_book
