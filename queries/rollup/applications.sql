-- title: Applications by day of submission
-- description: A row is one day, tier, HASE band, status and reason of the applications submitted on it.
-- column: day date -- business day of submission
-- column: tier text -- Sinosure tier; empty: none
-- column: band integer [points] -- lower edge of the HASE band of ten (90 is 90 to 100); -1: no score
-- column: status text -- status of the application
-- column: reason text -- reason of the rejection; empty: none
-- column: n bigint [count] -- applications
-- column: amount numeric [MXN] -- amount requested
select
    (a.submitted_at at time zone :timezone)::date as day,
    coalesce(a.sinosure_tier, '') as tier,
    case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end as band,
    a.status,
    coalesce(a.rejection_reason, '') as reason,
    count(*) as n,
    sum(a.amount_requested) as amount
from bi.applications a
group by 1, 2, 3, 4, 5
