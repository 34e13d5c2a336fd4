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
-- with: cut, pieces
-- ttl: 60
with scored as (
    select pieces.day, t.tier, t.model_version, t.n, t.score_sum
    from pieces
    join rollup.score_running_totals t on t.until = pieces.quarters_from and t.day = pieces.day
    union all
    select pieces.day, q.tier, q.model_version, q.n, q.score_sum
    from pieces
    join rollup.score_quarters q on q.quarter >= pieces.quarters_from and q.quarter < pieces.quarters_until
    union all
    select
        pieces.day,
        -- Of a few scores each: by index, where a join might read all applications.
        coalesce((select a.sinosure_tier from bi.applications a where a.application_id = s.application_id), ''),
        s.model_version,
        pieces.sign,
        pieces.sign * s.score
    from pieces
    join bi.hase_scores s on s.calculated_at >= pieces.rows_from and s.calculated_at < pieces.rows_until
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
