-- title: Disbursements by day
-- description: A row is one day of the period, also one on which no credit was disbursed.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- column: day date -- day of the disbursement
-- column: credits integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- ttl: 60
select calendar.day, coalesce(sum(d.n), 0) as credits, coalesce(sum(d.amount), 0) as amount
from (select generate_series(cast(:first as date), cast(:last as date), interval '1 day')::date as day) as calendar
left join rollup.disbursements d
    on d.day = calendar.day
    and (cardinality(cast(:tiers as text[])) = 0 or d.tier = any(cast(:tiers as text[])))
group by calendar.day
order by calendar.day;
