-- title: Disbursed within 48 hours: events by hour
-- description: A row is one hour in which credits were decided: good when their money was sent within 48 hours of
--   approval, bad when the 48 hours ended without it.
-- param: first date -- first day
-- param: last date -- last day
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: time timestamptz -- start of the hour
-- column: good integer [count] -- credits disbursed within 48 hours
-- column: bad integer [count] -- credits whose 48 hours ended without a disbursement
-- ttl: 60
with moment as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
),
decided as (
    select
        c.credit_id,
        coalesce(c.sinosure_tier, '') as segment,
        c.principal,
        c.disbursed_at,
        c.status,
        c.disbursed_at <= c.approved_at + interval '48 hours' as good,
        case
            when c.disbursed_at <= c.approved_at + interval '48 hours' then c.disbursed_at
            else c.approved_at + interval '48 hours'
        end as decided_at
    from bi.credits c
    cross join moment
    where c.approved_at >= cast(:first as date)::timestamp at time zone :timezone - interval '48 hours'
        and c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and not (
            c.status = 'cancelled' and c.disbursed_at is null
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
        )
)
select
    date_trunc('hour', decided_at) as time,
    count(*) filter (where good) as good,
    count(*) filter (where good is not true) as bad
from decided
cross join moment
where decided_at < moment.as_of
    and decided_at >= cast(:first as date)::timestamp at time zone :timezone
    and decided_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
group by 1
order by 1;
