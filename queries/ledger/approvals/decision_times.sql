-- title: Time to decision
-- description: A row is one day of decision and one log bucket of the time from submission to decision, whatever the
--   decision was.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- param: by_day boolean = true -- false: the period as a whole, without days
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- day of the decision; null for the period as a whole
-- column: bucket integer -- log bucket of the seconds since submission: from 2^(bucket / 8) up to 2^((bucket + 1) / 8) s
-- column: n integer [count] -- applications decided
-- ttl: 60
with cells as (
    select day, bucket, n
    from rollup.decision_times_all
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) = 0
        and day between :first and :last
    union all
    select day, bucket, n
    from rollup.decision_times
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) > 0
        and tier = any(cast(:tiers as text[]))
        and day between :first and :last
    union all
    -- Times by band would be a table as long as the decisions: with a band chosen the rows of the period are read.
    select
        (a.decided_at at time zone :timezone)::date,
        floor(
            8 * ln(greatest(extract(epoch from a.decided_at - a.submitted_at)::double precision, 1))
            / ln(2::double precision) + 1e-9
        )::integer,
        1
    from bi.applications a
    where cardinality(cast(:bands as integer[])) > 0
        and a.decided_at >= cast(:first as date)::timestamp at time zone :timezone
        and a.decided_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end
            = any(cast(:bands as integer[]))
        and (cardinality(cast(:tiers as text[])) = 0 or coalesce(a.sinosure_tier, '') = any(cast(:tiers as text[])))
)

select case when cast(:by_day as boolean) then day end as day, bucket, sum(n) as n
from cells
group by 1, 2
order by 1, 2
