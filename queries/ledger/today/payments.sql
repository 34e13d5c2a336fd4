-- title: Payment attempts by day
-- description: A row is one day and one segment of the attempts that ended on it, well or not. The segments of
--   the dimension failure are the codes of those that failed.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: succeeded integer [count] -- attempts that succeeded
-- column: attempts integer [count] -- attempts that succeeded or failed
-- column: amount numeric [MXN] -- amount of those that succeeded
-- with: cut, pieces
-- ttl: 60
with attempt as (
    select pieces.day, t.method, t.status, t.failure_code, t.n, t.amount
    from pieces
    join rollup.payment_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
    where t.status in ('succeeded', 'failed')
    union all
    select pieces.day, q.method, q.status, q.failure_code, q.n, q.amount
    from pieces
    join rollup.payment_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
    where q.status in ('succeeded', 'failed')
    union all
    select pieces.day, p.method, p.status, coalesce(p.failure_code, ''), pieces.sign, pieces.sign * p.amount
    from pieces
    join bi.payments p on p.processed_at >= pieces.rows_from and p.processed_at < pieces.rows_until
    where p.status in ('succeeded', 'failed')
),
payment as (
    -- Summed before the sets are grouped: they are sorted for each.
    select
        day,
        method,
        status,
        case when status = 'failed' then coalesce(nullif(failure_code, ''), '(none)') end as failure,
        sum(n) as n,
        sum(amount) as amount
    from attempt
    group by 1, 2, 3, 4
)
select
    cut.day,
    case when grouping(method) = 0 then 'method' when grouping(failure) = 0 then 'failure' else 'all' end as dimension,
    case when grouping(method) = 0 then coalesce(nullif(method, ''), '(none)') when grouping(failure) = 0 then failure else 'all' end
        as segment,
    coalesce(sum(n) filter (where status = 'succeeded'), 0)::bigint as succeeded,
    coalesce(sum(n), 0)::bigint as attempts,
    coalesce(sum(amount) filter (where status = 'succeeded'), 0) as amount
from cut
left join payment using (day)
group by grouping sets ((cut.day), (cut.day, method), (cut.day, failure))
having (grouping(method) = 1 and grouping(failure) = 1)
    or (sum(n) > 0 and (grouping(failure) = 1 or failure is not null))
order by cut.day, dimension, segment
