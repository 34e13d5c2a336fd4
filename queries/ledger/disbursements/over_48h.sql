-- title: Over 48 hours by day of approval
-- description: A row is one day of approval. Disbursed within 48 hours, or not: disbursed later, or still waiting after
--   them. A credit that waits and whose 48 hours are not over is undecided; one that was cancelled before they were over,
--   or at a moment that nobody wrote down, owes no disbursement and is left out.
-- param: first date -- first day of approval
-- param: last date -- last day of approval
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- day of approval
-- column: in_time integer [count] -- credits disbursed within 48 hours
-- column: late integer [count] -- credits disbursed after more than 48 hours
-- column: waiting integer [count] -- credits not disbursed within 48 hours, nor since; some were cancelled later
-- column: undecided integer [count] -- credits that wait and whose 48 hours are not over
-- ttl: 60
with seen as (
    select
        day,
        sum(in_time) as in_time,
        sum(n - in_time) as late,
        0 as waiting,
        0 as undecided
    from rollup.approvals_disbursed
    where day between :first and :last
        and (cardinality(cast(:tiers as text[])) = 0 or tier = any(cast(:tiers as text[])))
    group by day
    union all
    -- Never disbursed: few, read by index.
    select
        (c.approved_at at time zone :timezone)::date,
        0,
        0,
        (c.status = 'cancelled' or moment.as_of > c.approved_at + interval '48 hours')::integer,
        (c.status <> 'cancelled' and moment.as_of <= c.approved_at + interval '48 hours')::integer
    from bi.credits c
    cross join (select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of offset 0) as moment
    where c.disbursed_at is null
        and c.approved_at >= cast(:first as date)::timestamp at time zone :timezone
        and c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and (
            cardinality(cast(:tiers as text[])) = 0
            or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[]))
        )
        and (c.status <> 'cancelled' or c.closed_at >= c.approved_at + interval '48 hours')
)
select
    day,
    coalesce(sum(in_time), 0) as in_time,
    coalesce(sum(late), 0) as late,
    coalesce(sum(waiting), 0) as waiting,
    coalesce(sum(undecided), 0) as undecided
from seen
group by day
order by day;
