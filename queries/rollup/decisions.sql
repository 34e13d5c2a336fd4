-- title: Decisions by day
-- description: A row is one day, tier, HASE band, status and reason of the applications decided on it.
-- column: day date -- business day of the decision
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: band integer [points] -- lower edge of the HASE band of ten (90 is 90 to 100); -1: no score
-- column: status text -- approved, rejected or whatever else was decided
-- column: reason text -- reason of the rejection; empty: none
-- column: n bigint [count] -- applications decided
-- column: amount numeric [MXN] -- amount requested
-- column: principal numeric [MXN] -- principal of their credits; 0 when there is none
select
    (a.decided_at at time zone :timezone)::date as day,
    coalesce(a.sinosure_tier, '') as tier,
    case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end as band,
    a.status,
    coalesce(a.rejection_reason, '') as reason,
    count(*) as n,
    sum(a.amount_requested) as amount,
    coalesce(sum(granted.principal), 0) as principal
from bi.applications a
left join lateral (
    select sum(c.principal) as principal from bi.credits c where c.application_id = a.application_id
) as granted on true
where a.decided_at is not null
group by 1, 2, 3, 4, 5
