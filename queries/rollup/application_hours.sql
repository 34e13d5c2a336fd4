-- title: Applications by hour of submission
-- description: A row is one day, hour of the local clock, tier and status of the applications submitted in it.
-- column: day date -- business day of submission
-- column: hour smallint -- hour of the local clock, 0 to 23
-- column: tier text -- Sinosure tier; empty: none
-- column: status text -- status of the application
-- column: n bigint [count] -- applications
select
    (a.submitted_at at time zone :timezone)::date as day,
    extract(hour from a.submitted_at at time zone :timezone)::smallint as hour,
    coalesce(a.sinosure_tier, '') as tier,
    a.status,
    count(*) as n
from bi.applications a
group by 1, 2, 3, 4
