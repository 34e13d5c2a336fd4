-- title: Steps of applications
-- description: A row is one day of submission, tier, status, step and time since the step before, of the applications
--   that reached the step. When an application was scored again its first score counts.
-- column: day date -- business day of submission
-- column: tier text -- Sinosure tier; empty: none
-- column: status text -- status of the application
-- column: step text -- scored (after submission), decided (after the score, else submission), disbursed (after that)
-- column: bucket smallint -- log bucket of the seconds since the step before: up to 2^((bucket + 1) / 8) s
-- column: n bigint [count] -- applications that reached the step
with reached as (
    select
        (a.submitted_at at time zone :timezone)::date as day,
        coalesce(a.sinosure_tier, '') as tier,
        a.status,
        a.submitted_at,
        a.decided_at,
        (select min(s.calculated_at) from bi.hase_scores s where s.application_id = a.application_id) as scored_at,
        (select min(c.disbursed_at) from bi.credits c where c.application_id = a.application_id) as disbursed_at
    from bi.applications a
)
select
    r.day,
    r.tier,
    r.status,
    taken.step,
    -- The small addition keeps exact powers of two on their side, whatever the rounding of ln.
    floor(8 * ln(greatest(taken.seconds, 1)) / ln(2::double precision) + 1e-9)::smallint as bucket,
    count(*) as n
from reached r
cross join lateral (
    values
        ('scored', extract(epoch from r.scored_at - r.submitted_at)::double precision, r.scored_at),
        ('decided', extract(epoch from r.decided_at - coalesce(r.scored_at, r.submitted_at)), r.decided_at),
        -- A credit whose decision was not noted: since the step that was.
        (
            'disbursed',
            extract(epoch from r.disbursed_at - coalesce(r.decided_at, r.scored_at, r.submitted_at)),
            r.disbursed_at
        )
) as taken (step, seconds, reached_at)
where taken.reached_at is not null
group by 1, 2, 3, 4, 5
