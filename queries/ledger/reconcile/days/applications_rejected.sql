-- title: Applications rejected by day
-- description: A row is one day that has any: applications rejected. For the trend of the difference from the metric.
-- param: days date[] -- all days wanted
-- column: day date -- business day
-- column: value integer [count] -- applications rejected
-- ttl: 300
select day, sum(n) as value
from rollup.decisions
where day = any(cast(:days as date[]))
    and status = 'rejected'
group by day
order by day
