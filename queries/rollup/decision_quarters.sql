-- title: Decisions by quarter of an hour
-- description: A row is one quarter of an hour, tier, status and reason of the applications decided in it.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: status text -- approved, rejected or whatever else was decided
-- column: reason text -- reason of the rejection; empty: none
-- column: n bigint [count] -- applications decided
select
    date_bin('15 minutes', a.decided_at, timestamptz '2000-01-01 00:00Z') as quarter,
    coalesce(a.sinosure_tier, '') as tier,
    a.status,
    coalesce(a.rejection_reason, '') as reason,
    count(*) as n
from bi.applications a
where a.decided_at is not null
group by 1, 2, 3, 4
