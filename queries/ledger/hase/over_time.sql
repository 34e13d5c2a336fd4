-- title: HASE scores over time by band
-- description: A row is one day (or week, or month) and one band of scores, with its share of the scores of that day.
-- param: first date -- first day
-- param: last date -- last day
-- param: grain text = day -- day, week or month
-- param: width integer = 10 -- points of a band
-- param: tiers text[] = {} -- Sinosure tiers; none is all of them
-- param: model_version text[] = {} -- HASE model versions; none is all of them
-- column: day date -- the day; of a week or month its first day
-- column: first_day date -- first day of it that the period holds
-- column: last_day date -- last day of it that the period holds
-- column: band integer [score] -- lowest score of the band; the highest band holds the score 100 too
-- column: scores integer [count] -- scores calculated
-- column: share double [share] -- of all scores of that day, week or month
-- ttl: 60
with counted as (
    select
        date_trunc(cast(:grain as text), s.day::timestamp)::date as day,
        least(s.score / cast(:width as integer) * cast(:width as integer), 100 - cast(:width as integer)) as band,
        sum(s.n)::bigint as scores
    from rollup.scores s
    where s.day between :first and :last
        and (cardinality(cast(:tiers as text[])) = 0 or s.tier = any(cast(:tiers as text[])))
    and (cardinality(cast(:model_version as text[])) = 0 or s.model_version = any(cast(:model_version as text[])))
    group by 1, 2
)
select
    day,
    greatest(day, cast(:first as date)) as first_day,
    least((day + cast('1 ' || cast(:grain as text) as interval))::date - 1, cast(:last as date)) as last_day,
    band,
    scores,
    scores / sum(scores) over (partition by day)::double precision as share
from counted
order by day, band
