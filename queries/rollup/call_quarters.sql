-- title: Integration calls by quarter of an hour
-- description: A row is one quarter of an hour, integration, status and error code. Quarters end with the hours and days
--   of every zone, so a day cut at a time of day is some of them and a few minutes of rows.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: integration text -- service that was called
-- column: status text -- success, error, timeout or another
-- column: error_code text -- error code; empty: none
-- column: n bigint [count] -- calls
select
    date_bin('15 minutes', k.called_at, timestamptz '2000-01-01 00:00Z') as quarter,
    k.integration,
    k.status,
    coalesce(k.error_code, '') as error_code,
    count(*) as n
from bi.integration_calls k
group by 1, 2, 3, 4
