-- title: Payment attempts by day and method
-- description: A row is one day, week or month and one method, with the attempts that ended in it. Success is
--   succeeded of succeeded and failed; attempts that are pending, refunded or of another status stand apart.
-- param: first date -- the first day of the period
-- param: last date -- the last day of the period
-- param: grain text = day -- day, week (from Monday) or month
-- param: methods text[] = {} -- payment methods; none is all
-- column: period date -- first day of the day, week or month
-- column: first_day date -- its first day within the period
-- column: last_day date -- its last day within the period
-- column: method text -- payment method
-- column: succeeded integer [count] -- attempts that succeeded
-- column: failed integer [count] -- attempts that failed
-- column: attempts integer [count] -- succeeded and failed
-- column: others integer [count] -- attempts of any other status
-- column: amount_succeeded numeric [MXN] -- amount of those that succeeded
-- column: amount_attempted numeric [MXN] -- amount of those that succeeded or failed
-- column: share double [share] -- succeeded of attempts; null without attempts
-- column: amount_share double [share] -- amount succeeded of amount attempted; null without
-- ttl: 60
with sums as (
    select
        date_trunc(:grain, day::timestamp)::date as period,
        method,
        coalesce(sum(n) filter (where status = 'succeeded'), 0)::bigint as succeeded,
        coalesce(sum(n) filter (where status = 'failed'), 0)::bigint as failed,
        coalesce(sum(n) filter (where status in ('succeeded', 'failed')), 0)::bigint as attempts,
        coalesce(sum(n) filter (where status not in ('succeeded', 'failed')), 0)::bigint as others,
        coalesce(sum(amount) filter (where status = 'succeeded'), 0) as amount_succeeded,
        coalesce(sum(amount) filter (where status in ('succeeded', 'failed')), 0) as amount_attempted
    from rollup.payments
    where day >= cast(:first as date)
        and day <= cast(:last as date)
        and (cardinality(cast(:methods as text[])) = 0 or method = any(cast(:methods as text[])))
    group by 1, 2
)
select
    period,
    greatest(period, cast(:first as date)) as first_day,
    least((period + cast('1 ' || :grain as interval) - interval '1 day')::date, cast(:last as date)) as last_day,
    method,
    succeeded,
    failed,
    attempts,
    others,
    amount_succeeded,
    amount_attempted,
    succeeded::double precision / nullif(attempts, 0) as share,
    (amount_succeeded / nullif(amount_attempted, 0))::double precision as amount_share
from sums
order by period, method
