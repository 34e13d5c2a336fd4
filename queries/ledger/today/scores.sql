-- title: HASE scores by day
-- description: A row is one day and one segment of the scores calculated on it.
-- param: day date -- the business day that is looked at
-- param: days date[] -- all days wanted, :day among them
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day, cut at the same time of day as :day
-- column: dimension text -- all, or what the segment is a part of
-- column: segment text -- all, or the part
-- column: scores integer [count] -- scores calculated
-- column: score_sum integer [score] -- their sum; the mean is score_sum / scores
-- ttl: 60
with elapsed as (
    -- How much of :day is over, by its own clock: every other day is cut at the same time of day.
    select greatest(
        least(
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) at time zone :timezone
                - cast(:day as date)::timestamp,
            interval '1 day'
        ),
        interval '0'
    ) as time_of_day
),
cut as (
    select
        wanted.day,
        wanted.day::timestamp at time zone :timezone as start_at,
        (wanted.day::timestamp + elapsed.time_of_day) at time zone :timezone as end_at
    from (select distinct unnest(cast(:days as date[])) as day) as wanted, elapsed
),
pieces as (
    -- Quarters of an hour come from the daily tables, but for those that the last refresh may not have found whole: they
    -- are read from the rows, with the minutes before the cut.
    select
        cut.*,
        greatest(
            start_at,
            date_bin(
                '15 minutes',
                least(end_at, (select min(refreshed_at) from rollup.state) - interval '15 minutes'),
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from cut
),
scored as (
    select pieces.day, q.tier, q.model_version, q.n, q.score_sum
    from pieces
    join rollup.score_quarters q
        on q.quarter >= (select min(start_at) from cut) and q.quarter >= pieces.start_at and q.quarter < pieces.rows_from
    union all
    select
        pieces.day,
        -- Of a few scores each: by index, where a join might read all applications.
        coalesce((select a.sinosure_tier from bi.applications a where a.application_id = s.application_id), ''),
        s.model_version,
        1,
        s.score
    from pieces
    join bi.hase_scores s on s.calculated_at >= pieces.rows_from and s.calculated_at < pieces.end_at
)
select
    cut.day,
    case when grouping(tier) = 0 then 'tier' when grouping(model_version) = 0 then 'model' else 'all' end as dimension,
    case
        when grouping(tier) = 0 then coalesce(nullif(tier, ''), '(none)')
        when grouping(model_version) = 0 then coalesce(nullif(model_version, ''), '(none)')
        else 'all'
    end as segment,
    coalesce(sum(n), 0)::bigint as scores,
    coalesce(sum(score_sum), 0)::bigint as score_sum
from cut
left join scored using (day)
group by grouping sets ((cut.day), (cut.day, tier), (cut.day, model_version))
having (grouping(tier) = 1 and grouping(model_version) = 1) or sum(n) > 0
order by cut.day, dimension, segment
