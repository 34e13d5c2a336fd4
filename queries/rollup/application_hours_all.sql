-- title: Applications by hour of submission, all tiers
-- description: A row is one day and hour of submission and status, of the applications of all tiers.
-- column: day date -- business day of submission
-- column: hour smallint [h] -- hour of the local clock, 0 to 23
-- column: status text -- status of the application
-- column: n bigint [count] -- applications
select h.day, h.hour, h.status, sum(h.n)::bigint as n
from rollup.application_hours h
group by 1, 2, 3
