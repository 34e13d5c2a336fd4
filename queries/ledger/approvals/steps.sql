-- title: From submission to disbursement
-- description: A row is one step that applications submitted in the period reached and one log bucket of the time since
--   the step before; a row without bucket counts all that reached the step, whether or not their time is known. When an
--   application was scored again its first score counts.
-- param: first date -- first day of the period
-- param: last date -- last day of the period
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: step text -- submitted, scored, approved, disbursed
-- column: bucket integer -- log bucket of the seconds since the step before; null for all that reached the step
-- column: n integer [count] -- applications
-- with: submissions
-- ttl: 60
with chosen as (
    -- Steps by band would be a table as long as the applications: with a band chosen the rows of the period are read.
    select
        a.status,
        a.submitted_at,
        a.decided_at,
        (select min(s.calculated_at) from bi.hase_scores s where s.application_id = a.application_id) as scored_at,
        (select min(c.disbursed_at) from bi.credits c where c.application_id = a.application_id) as disbursed_at
    from bi.applications a
    where cardinality(cast(:bands as integer[])) > 0
        and a.submitted_at >= cast(:first as date)::timestamp at time zone :timezone
        and a.submitted_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end
            = any(cast(:bands as integer[]))
        and (cardinality(cast(:tiers as text[])) = 0 or coalesce(a.sinosure_tier, '') = any(cast(:tiers as text[])))
),

cells as (
    select step, approved, bucket, n
    from rollup.application_steps_all
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) = 0
        and day between :first and :last
    union all
    select step, status = 'approved', bucket, n
    from rollup.application_steps
    where cardinality(cast(:bands as integer[])) = 0
        and cardinality(cast(:tiers as text[])) > 0
        and tier = any(cast(:tiers as text[]))
        and day between :first and :last
    union all
    select
        taken.step,
        c.status = 'approved',
        floor(8 * ln(greatest(taken.seconds::double precision, 1)) / ln(2::double precision) + 1e-9)::integer,
        1
    from chosen c
    cross join lateral (
        values
            ('scored', extract(epoch from c.scored_at - c.submitted_at)),
            ('decided', extract(epoch from c.decided_at - coalesce(c.scored_at, c.submitted_at))),
            (
                'disbursed',
                extract(epoch from c.disbursed_at - coalesce(c.decided_at, c.scored_at, c.submitted_at))
            )
    ) as taken (step, seconds)
    where taken.seconds is not null
),

submitted as (
    select status, sum(n) as n
    from submissions
    where day between :first and :last
    group by status
)

select 'submitted' as step, null::integer as bucket, coalesce(sum(n), 0) as n
from submitted
union all
select 'approved', null, coalesce(sum(n), 0)
from submitted
where status = 'approved'
union all
select step, null, sum(n)
from cells
where step in ('scored', 'disbursed')
group by step
union all
select case step when 'decided' then 'approved' else step end, bucket, sum(n)
from cells
where step <> 'decided' or approved
group by 1, 2
