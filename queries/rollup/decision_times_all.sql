-- title: Time to decision of all tiers
-- description: A row is one day of decision and time from submission to decision, all tiers together.
-- column: day date -- business day of the decision
-- column: bucket smallint -- log bucket of the seconds since submission: up to 2^((bucket + 1) / 8) s
-- column: n bigint [count] -- applications decided
select t.day, t.bucket, sum(t.n)::bigint as n
from rollup.decision_times t
group by 1, 2
