-- title: Integration calls of a span
-- description: A row is one integration, endpoint, status and log bucket of the duration. Spans of hours are read from
--   the hourly table; `fine` reads the calls themselves, to the second.
-- param: start timestamptz -- first moment
-- param: end timestamptz -- the moment before which the span ends
-- param: fine boolean = false -- from the calls; else from whole hours
-- param: integrations text[] = {} -- integrations; empty: all
-- column: integration text -- service that was called
-- column: endpoint text -- what was called
-- column: status text -- success, error, timeout or another
-- column: bucket integer -- log bucket of the duration: up to 2^((bucket + 1) / 8) ms
-- column: n bigint [count] -- calls
-- ttl: 60
with calls as (
    select h.integration, h.endpoint, h.status, h.bucket, h.n
    from rollup.calls h
    where not cast(:fine as boolean)
        and h.hour >= cast(:start as timestamptz) and h.hour < cast(:end as timestamptz)
    union all
    select
        k.integration,
        k.endpoint,
        k.status,
        floor(8 * ln(greatest(k.duration_ms, 1)::double precision) / ln(2::double precision) + 1e-9)::smallint,
        1
    from bi.integration_calls k
    where cast(:fine as boolean)
        and k.called_at >= cast(:start as timestamptz) and k.called_at < cast(:end as timestamptz)
)
select integration, endpoint, status, bucket::integer as bucket, sum(n)::bigint as n
from calls
where cardinality(cast(:integrations as text[])) = 0 or integration = any(cast(:integrations as text[]))
group by 1, 2, 3, 4
order by 1, 2, 3, 4
