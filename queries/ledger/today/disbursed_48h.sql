-- title: Disbursed within 48 hours
-- description: A row is one day and one segment of the credits whose 48 hours since approval ended on it, so that none is
--   still undecided. A credit cancelled before its 48 hours were over, or at an unknown moment, owes no disbursement and
--   is left out.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: in_time integer [count] -- credits disbursed within 48 hours of their approval
-- column: due integer [count] -- credits whose 48 hours are over
-- with: cut, pieces
-- ttl: 60
with decided as (
    -- Whose 48 hours are over is seen 48 hours before: what the last refresh may not have found whole, too.
    select
        day,
        start_at - interval '48 hours' as start_at,
        quarters_until - interval '48 hours' as quarters_until,
        rows_from - interval '48 hours' as rows_from,
        rows_until - interval '48 hours' as rows_until,
        sign,
        ((start_at - interval '48 hours') at time zone :timezone)::date as approved_day
    from pieces
),
parts as (
    -- Where the clock was changed in between, the 48 hours do not begin with a day, and no running total fits.
    select
        decided.*,
        case
            when start_at = approved_day::timestamp at time zone :timezone
            then greatest(start_at, date_trunc('hour', quarters_until, 'UTC'))
            else start_at
        end as quarters_from
    from decided
),
approved as (
    select parts.day, t.tier, t.in_time, t.due
    from parts
    join rollup.approval_running_totals t on t.until = parts.quarters_from and t.day = parts.approved_day
    where parts.quarters_from > parts.start_at
    union all
    select parts.day, q.tier, q.in_time, q.due
    from parts
    join rollup.approval_quarters q on q.quarter >= parts.quarters_from and q.quarter < parts.quarters_until
    union all
    select
        decided.day,
        coalesce(c.sinosure_tier, ''),
        decided.sign * coalesce(c.disbursed_at <= c.approved_at + interval '48 hours', false)::integer,
        decided.sign
    from decided
    join bi.credits c on c.approved_at >= decided.rows_from and c.approved_at < decided.rows_until
    where not (
        c.status = 'cancelled' and c.disbursed_at is null
        and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
    )
),
credit as (
    select day, tier, sum(in_time) as in_time, sum(due) as due from approved group by 1, 2
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' else 'all' end as dimension,
    case when grouping(tier) = 0 then coalesce(nullif(tier, ''), '(none)') else 'all' end as segment,
    coalesce(sum(in_time), 0)::bigint as in_time,
    coalesce(sum(due), 0)::bigint as due
from cut
left join credit using (day)
group by grouping sets ((cut.day), (cut.day, tier))
having grouping(tier) = 1 or sum(due) > 0
order by cut.day, dimension, segment
