-- title: Applications by weekday and hour of submission
-- description: A row is one weekday and hour of the local clock: the applications submitted in it, and what became of them.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: weekday integer -- 1 Monday to 7 Sunday
-- column: hour integer -- hour of the local clock, 0 to 23
-- column: submitted integer [count] -- applications submitted
-- column: approved integer [count] -- of them approved by now
-- column: decided integer [count] -- of them approved or rejected by now
-- ttl: 60
with cells as (
    select day, hour, status, n
    from rollup.application_hours_all
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) = 0
        and day between :first and :last
    union all
    select day, hour, status, n
    from rollup.application_hours
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) > 0
        and tier = any(cast(:tiers as text[]))
        and day between :first and :last
    union all
    -- Hours by band would be a table as long as the applications: with a band chosen the rows of the period are read.
    select
        (a.submitted_at at time zone :timezone)::date,
        extract(hour from a.submitted_at at time zone :timezone),
        a.status,
        1
    from bi.applications a
    where cardinality(cast(:bands as integer[])) > 0
        and a.submitted_at >= cast(:first as date)::timestamp at time zone :timezone
        and a.submitted_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end
            = any(cast(:bands as integer[]))
        and (cardinality(cast(:tiers as text[])) = 0 or coalesce(a.sinosure_tier, '') = any(cast(:tiers as text[])))
)

select
    extract(isodow from day) as weekday,
    hour,
    sum(n) as submitted,
    coalesce(sum(n) filter (where status = 'approved'), 0) as approved,
    coalesce(sum(n) filter (where status in ('approved', 'rejected')), 0) as decided
from cells
group by 1, 2
order by 1, 2
