-- title: Disbursed within 48 hours: what was known before
-- description: One row: the events that were decided from the first day up to an earlier moment, as they are known now and
--   as they were known at that moment. A disbursement of before that moment on a row that changed after it counts as not
--   known then, unless the credit was closed after it, which explains the change: `updated_at` says when a row changed,
--   not what, so this is the most that can have been restated.
-- param: first date -- first day
-- param: known_at timestamptz -- the earlier moment
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: good integer [count] -- good, as known now
-- column: bad integer [count] -- bad, as known now
-- column: good_then integer [count] -- good, as known then
-- column: bad_then integer [count] -- bad, as known then
-- column: restated integer [count] -- events that are told otherwise now than then
-- ttl: 60
with fact as (
    select
        c.approved_at + interval '48 hours' as due_at,
        c.disbursed_at,
        case when c.updated_at > :known_at and c.disbursed_at < :known_at
            and (c.closed_at is null or c.closed_at <= :known_at) then null
            else c.disbursed_at end as disbursed_then,
        c.status = 'cancelled' and c.disbursed_at is null
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours') as left_out,
        -- Cancelled on a row that has not changed since, or at a moment that was over by then and written down later.
        c.status = 'cancelled' and c.disbursed_at is null and c.updated_at <= :known_at
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours') as left_out_then
    from bi.credits c
    where c.approved_at >= cast(:first as date)::timestamp at time zone :timezone - interval '48 hours'
        and c.approved_at < :known_at
),
told as (
    select
        case
            when left_out then 'none'
            when disbursed_at <= due_at and disbursed_at < :known_at then 'good'
            when due_at < :known_at and (disbursed_at is null or disbursed_at > due_at) then 'bad'
            else 'none'
        end as now_is,
        case
            when left_out_then then 'none'
            when disbursed_then <= due_at and disbursed_then < :known_at then 'good'
            when due_at < :known_at and (disbursed_then is null or disbursed_then > due_at) then 'bad'
            else 'none'
        end as then_was,
        case when disbursed_at <= due_at then disbursed_at else due_at end as decided_at
    from fact
)
select
    count(*) filter (where now_is = 'good') as good,
    count(*) filter (where now_is = 'bad') as bad,
    count(*) filter (where then_was = 'good') as good_then,
    count(*) filter (where then_was = 'bad') as bad_then,
    count(*) filter (where now_is <> then_was) as restated
from told
where decided_at >= cast(:first as date)::timestamp at time zone :timezone;
