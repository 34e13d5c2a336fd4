-- title: HASE scores by day
-- description: A row is one day that has any: scores calculated. For the trend of the difference from the metric.
-- param: days date[] -- all days wanted
-- column: day date -- business day
-- column: value integer [count] -- scores calculated
-- ttl: 300
select day, sum(n) as value
from rollup.scores
where day = any(cast(:days as date[]))
group by day
order by day
