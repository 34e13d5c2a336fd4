-- title: Amount disbursed by day
-- description: A row is one day that has any: principal of the credits disbursed. For the trend of the difference from the metric.
-- param: days date[] -- all days wanted
-- column: day date -- business day
-- column: value numeric [MXN] -- principal of the credits disbursed
-- ttl: 300
select day, sum(amount) as value
from rollup.disbursements
where day = any(cast(:days as date[]))
group by day
order by day
