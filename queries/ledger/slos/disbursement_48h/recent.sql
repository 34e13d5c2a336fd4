-- title: Disbursed within 48 hours: the last three days
-- description: A row is one slice of five minutes, counted backwards from the present moment, in which credits were
--   decided. Windows of a burn rate are sums of whole slices.
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- column: slice integer -- 0 is the last five minutes
-- column: good integer [count] -- credits disbursed within 48 hours
-- column: bad integer [count] -- credits whose 48 hours ended without a disbursement
-- ttl: 30
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
    where c.approved_at >= moment.as_of - interval '5 days'
        and c.approved_at < moment.as_of
        and not (
            c.status = 'cancelled' and c.disbursed_at is null
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
        )
)
select
    floor(extract(epoch from moment.as_of - decided_at) / 300)::integer as slice,
    count(*) filter (where good) as good,
    count(*) filter (where good is not true) as bad
from decided
cross join moment
-- A credit is decided once its 48 hours are over, so the present moment itself is not in the last slice.
where decided_at < moment.as_of and decided_at > moment.as_of - interval '3 days'
group by 1
order by 1;
