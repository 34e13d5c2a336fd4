-- title: HASE scores of the day so far
-- description: A row is one business day, whole hour that ends on it and kind: the scores calculated on it until then.
-- column: day date -- business day
-- column: until timestamptz -- end of the hour (UTC), on the day or at its end
-- column: tier text -- Sinosure tier of the application; empty: none
-- column: model_version text -- version of the model
-- column: n bigint [count] -- scores
-- column: score_sum bigint [points] -- their sum
with hours as (
    select
        (q.quarter at time zone :timezone)::date as day,
        date_trunc('hour', q.quarter, 'UTC') + interval '1 hour' as hour_end,
        q.tier, q.model_version,
        sum(q.n) as n, sum(q.score_sum) as score_sum
    from rollup.score_quarters q
    group by 1, 2, 3, 4
)
select h.day, until.until, h.tier, h.model_version, sum(h.n)::bigint as n, sum(h.score_sum)::bigint as score_sum
from hours h
-- What came in an hour is part of every later one of its day.
cross join lateral generate_series(
    h.hour_end, (h.day + 1)::timestamp at time zone :timezone, interval '1 hour'
) as until (until)
group by 1, 2, 3, 4
