-- title: Disbursements by day
-- description: A row is one day and one segment of the credits disbursed on it.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: credits integer [count] -- credits disbursed
-- column: amount numeric [MXN] -- their principal
-- with: cut, pieces
-- ttl: 60
with disbursed as (
    select pieces.day, nullif(t.tier, '') as tier, t.n, t.amount
    from pieces
    join rollup.disbursement_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
    union all
    select pieces.day, nullif(q.tier, '') as tier, q.n, q.amount
    from pieces
    join rollup.disbursement_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
    union all
    select pieces.day, nullif(c.sinosure_tier, ''), pieces.sign, pieces.sign * c.principal
    from pieces
    join bi.credits c on c.disbursed_at >= pieces.rows_from and c.disbursed_at < pieces.rows_until
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(tier, '(none)') else 'all' end as segment,
    coalesce(sum(n), 0)::bigint as credits,
    coalesce(sum(amount), 0) as amount
from cut
left join disbursed using (day)
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or sum(n) > 0
order by cut.day, dimension, segment
