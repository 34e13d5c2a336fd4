-- title: Approved credits by quarter of an hour
-- description: A row is one quarter of an hour and tier of the credits approved in it, and how many of them were disbursed
--   within 48 hours. One cancelled before its 48 hours were over, or at an unknown moment, owes no disbursement.
-- column: quarter timestamptz -- start of the quarter (UTC)
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: n bigint [count] -- credits approved
-- column: due bigint [count] -- of these, to be disbursed within 48 hours
-- column: in_time bigint [count] -- of these, disbursed within 48 hours
select
    date_bin('15 minutes', c.approved_at, timestamptz '2000-01-01 00:00Z') as quarter,
    coalesce(c.sinosure_tier, '') as tier,
    count(*) as n,
    count(*) filter (where owed.so) as due,
    count(*) filter (where owed.so and c.disbursed_at <= c.approved_at + interval '48 hours') as in_time
from bi.credits c
cross join lateral (
    select not (
        c.status = 'cancelled' and c.disbursed_at is null
        and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
    ) as so
) as owed
where c.approved_at is not null
group by 1, 2
