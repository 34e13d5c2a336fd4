-- title: Failure codes of payments
-- description: A row is one failure code: the attempts that failed with it in the period. The empty code is none given.
-- param: first date -- the first day of the period
-- param: last date -- the last day of the period
-- param: methods text[] = {} -- payment methods; none is all
-- column: failure_code text -- the code; empty when none was given
-- column: failed integer [count] -- attempts that failed with it
-- column: amount numeric [MXN] -- their amount
-- ttl: 60
select failure_code, sum(n)::bigint as failed, sum(amount) as amount
from rollup.payments
where status = 'failed'
    and day >= cast(:first as date)
    and day <= cast(:last as date)
    and (cardinality(cast(:methods as text[])) = 0 or method = any(cast(:methods as text[])))
group by failure_code
having sum(n) <> 0
order by failed desc, failure_code
