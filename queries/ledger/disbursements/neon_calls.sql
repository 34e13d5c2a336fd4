-- title: Calls to NEON by day and error code
-- description: A row is one day, one outcome and one error code of the calls to NEON.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- column: day date -- day of the calls
-- column: status text -- how the calls ended: success, error, timeout or one of the core's own
-- column: error_code text -- code of the failure; empty for none
-- column: failure text -- the code, or how the call ended where it has none; empty for success
-- column: calls integer [count] -- calls
-- column: failed integer [count] -- those that ended in an error or a time-out
-- ttl: 60
select
    day,
    status,
    error_code,
    case when status = 'success' then '' else coalesce(nullif(error_code, ''), status) end as failure,
    sum(n) as calls,
    coalesce(sum(n) filter (where status <> 'success'), 0) as failed
from rollup.call_days
where integration = 'neon'
    and day between :first and :last
group by 1, 2, 3, 4
order by 1, 2, 3;
