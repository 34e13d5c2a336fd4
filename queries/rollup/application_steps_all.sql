-- title: Steps of applications of all tiers
-- description: A row is one day of submission, step and time since the step before, of the applications of all tiers that
--   reached the step.
-- column: day date -- business day of submission
-- column: approved boolean -- whether the application is approved
-- column: step text -- scored (after submission), decided (after the score, else submission), disbursed (after that)
-- column: bucket smallint -- log bucket of the seconds since the step before: up to 2^((bucket + 1) / 8) s
-- column: n bigint [count] -- applications that reached the step
select s.day, s.status = 'approved' as approved, s.step, s.bucket, sum(s.n)::bigint as n
from rollup.application_steps s
group by 1, 2, 3, 4
