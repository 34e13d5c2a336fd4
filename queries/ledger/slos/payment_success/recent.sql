-- title: Payment success: the last three days
-- description: A row is one slice of five minutes, counted backwards from the present moment, in which attempts ended.
--   Windows of a burn rate are sums of whole slices.
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- column: slice integer -- 0 is the last five minutes
-- column: good integer [count] -- attempts that succeeded
-- column: bad integer [count] -- attempts that failed
-- ttl: 30
with moment as (
    select coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) as as_of
)
select
    floor(extract(epoch from moment.as_of - p.processed_at) / 300)::integer as slice,
    count(*) filter (where p.status = 'succeeded') as good,
    count(*) filter (where p.status = 'failed') as bad
from bi.payments p
cross join moment
where p.processed_at > moment.as_of - interval '3 days'
    and p.processed_at < moment.as_of
    and p.status in ('succeeded', 'failed')
group by 1
order by 1;
