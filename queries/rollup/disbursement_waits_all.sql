-- title: Time from approval to disbursement of all tiers
-- description: A row is one day of approval and wait in whole hours, of the credits of all tiers that were disbursed.
-- column: day date -- business day of the approval
-- column: hours integer [h] -- hours from approval to disbursement, rounded up: over 48 h when above 48
-- column: n bigint [count] -- credits
-- column: amount numeric [MXN] -- their principal
select w.day, w.hours, sum(w.n)::bigint as n, sum(w.amount) as amount
from rollup.disbursement_waits w
group by 1, 2
