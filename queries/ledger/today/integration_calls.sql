-- title: Integration calls by day
-- description: A row is one day and one segment of its integration calls. The segments of the dimension error are the
--   codes of the calls that did not succeed, or their status where there is no code.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: failed integer [count] -- calls that did not succeed
-- column: calls integer [count] -- all calls
-- with: cut, pieces
-- ttl: 60
with call as (
    -- Summed before the sets are grouped: they are sorted for each.
    select
        day,
        integration,
        status,
        case when status <> 'success' then coalesce(nullif(error_code, ''), status) end as error,
        sum(n) as n
    from (
        select pieces.day, t.integration, t.status, t.error_code, t.n
        from pieces
        join rollup.call_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
        union all
        select pieces.day, q.integration, q.status, q.error_code, q.n
        from pieces
        join rollup.call_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
        union all
        select pieces.day, k.integration, k.status, k.error_code, pieces.sign
        from pieces
        join bi.integration_calls k on k.called_at >= pieces.rows_from and k.called_at < pieces.rows_until
    ) as made
    group by 1, 2, 3, 4
)
select
    cut.day,
    case when grouping(integration) = 0 then 'integration' when grouping(error) = 0 then 'error' else 'all' end
        as dimension,
    case when grouping(integration) = 0 then integration when grouping(error) = 0 then error else 'all' end as segment,
    coalesce(sum(n) filter (where status <> 'success'), 0)::bigint as failed,
    coalesce(sum(n), 0)::bigint as calls
from cut
left join call using (day)
group by grouping sets ((cut.day), (cut.day, integration), (cut.day, error))
having (grouping(integration) = 1 and grouping(error) = 1)
    or (sum(n) > 0 and (grouping(error) = 1 or error is not null))
order by cut.day, dimension, segment
