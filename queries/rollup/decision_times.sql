-- title: Time to decision
-- description: A row is one day of decision, tier and time from submission to decision.
-- column: day date -- business day of the decision
-- column: tier text -- Sinosure tier; empty: none
-- column: bucket smallint -- log bucket of the seconds since submission: up to 2^((bucket + 1) / 8) s
-- column: n bigint [count] -- applications decided
select
    (a.decided_at at time zone :timezone)::date as day,
    coalesce(a.sinosure_tier, '') as tier,
    floor(
        8 * ln(greatest(extract(epoch from a.decided_at - a.submitted_at)::double precision, 1))
        / ln(2::double precision) + 1e-9
    )::smallint as bucket,
    count(*) as n
from bi.applications a
where a.decided_at is not null
group by 1, 2, 3
