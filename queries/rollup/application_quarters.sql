-- title: Applications by quarter of an hour
-- description: A row is one quarter of an hour and tier of the applications submitted in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: tier text -- Sinosure tier; empty: none
-- column: n bigint [count] -- applications
select
    date_bin('15 minutes', a.submitted_at, timestamptz '2000-01-01 00:00Z') as quarter,
    coalesce(a.sinosure_tier, '') as tier,
    count(*) as n
from bi.applications a
group by 1, 2
