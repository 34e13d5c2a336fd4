-- title: Payment success: what was known before
-- description: One row: the attempts processed from the first day up to an earlier moment, as they are known now and as they
--   were known at that moment. One that succeeded or failed on a row that changed after the moment counts as not decided
--   then; one refunded since counts as good then. `updated_at` says when a row changed, not what, so this is the most that
--   can have been restated.
-- param: first date -- first day
-- param: known_at timestamptz -- the earlier moment
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: good integer [count] -- good, as known now
-- column: bad integer [count] -- bad, as known now
-- column: good_then integer [count] -- good, as known then
-- column: bad_then integer [count] -- bad, as known then
-- column: restated integer [count] -- events that are told otherwise now than then
-- ttl: 60
with told as (
    select
        p.status as now_is,
        case
            when p.updated_at <= :known_at then p.status
            when p.status = 'refunded' then 'succeeded'
            else 'unknown'
        end as then_was
    from bi.payments p
    where p.processed_at >= cast(:first as date)::timestamp at time zone :timezone
        and p.processed_at < :known_at
        -- Rows that have not changed since are the same on both sides: they are told by the daily tables.
        and p.updated_at > :known_at
),
same as (
    select
        coalesce(sum(n) filter (where status = 'succeeded'), 0) as good,
        coalesce(sum(n) filter (where status = 'failed'), 0) as bad
    from rollup.payment_quarters
    where quarter >= cast(:first as date)::timestamp at time zone :timezone and quarter < :known_at
)
select
    same.good as good,
    same.bad as bad,
    same.good - moved.good + moved.good_then as good_then,
    same.bad - moved.bad + moved.bad_then as bad_then,
    moved.restated
from same
cross join (
    select
        count(*) filter (where now_is = 'succeeded') as good,
        count(*) filter (where now_is = 'failed') as bad,
        count(*) filter (where then_was = 'succeeded') as good_then,
        count(*) filter (where then_was = 'failed') as bad_then,
        count(*) filter (
            where now_is in ('succeeded', 'failed') and then_was <> now_is
                or then_was = 'succeeded' and now_is = 'refunded'
        ) as restated
    from told
) as moved;
