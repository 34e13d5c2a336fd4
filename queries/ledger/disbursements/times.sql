-- title: Hours from approval to disbursement
-- description: A row is one whole hour, rounded up, of the credits approved in the period: how many were disbursed in it,
--   how many wait for as long by now, and how many were cancelled after as long. One cancelled at a moment that nobody
--   wrote down is left out; one disbursed before it was approved stands at hour 0 or below.
-- param: first date -- first day of approval
-- param: last date -- last day of approval
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: hours integer [h] -- hours since approval, rounded up
-- column: disbursed integer [count] -- credits disbursed in this hour
-- column: waiting integer [count] -- credits that wait now and have waited for this long
-- column: cancelled integer [count] -- credits cancelled in this hour before they were disbursed
-- column: amount numeric [MXN] -- principal of the credits disbursed in this hour
-- ttl: 60
with seen as (
    select hours, sum(n) as disbursed, 0 as waiting, 0 as cancelled, sum(amount) as amount
    from rollup.disbursement_waits_all
    where cardinality(cast(:tiers as text[])) = 0
        and day between :first and :last
    group by hours
    union all
    select hours, sum(n), 0, 0, sum(amount)
    from rollup.disbursement_waits
    where cardinality(cast(:tiers as text[])) > 0
        and tier = any(cast(:tiers as text[]))
        and day between :first and :last
    group by hours
    union all
    -- Never disbursed: few, read by index.
    select
        -- A double holds these seconds exactly, to the microsecond, and costs half of what a numeric does.
        greatest(ceil(extract(epoch from until.moment - c.approved_at)::double precision / 3600), 0)::integer,
        0,
        (c.status <> 'cancelled')::integer,
        (c.status = 'cancelled')::integer,
        0
    from bi.credits c
    -- The present moment is worked out once, not for each credit.
    cross join (select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of offset 0) as present
    cross join lateral (
        select case when c.status = 'cancelled' then c.closed_at else present.as_of end as moment
    ) as until
    where c.disbursed_at is null
        and c.approved_at >= cast(:first as date)::timestamp at time zone :timezone
        and c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and (
            cardinality(cast(:tiers as text[])) = 0
            or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[]))
        )
        and until.moment is not null
)
select hours, sum(disbursed) as disbursed, sum(waiting) as waiting, sum(cancelled) as cancelled, sum(amount) as amount
from seen
group by hours
order by hours;
