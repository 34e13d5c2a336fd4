-- title: Disbursed within 48 hours: events by day
-- description: A row is one day and one segment of the credits that were decided on it: good when their money was sent
--   within 48 hours of approval, bad when the 48 hours ended without it. Undecided ones are not here; a credit cancelled
--   before its 48 hours were over, or at an unknown moment, owes no disbursement.
-- param: first date -- first day
-- param: last date -- last day
-- param: as_of timestamptz = null -- the present moment; null is the last whole minute
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: day date -- business day on which it was decided
-- column: segment text -- Sinosure tier; empty: none
-- column: reason text -- of bad ones: late (sent later), waiting (not sent yet) or cancelled; of good ones empty
-- column: good integer [count] -- credits disbursed within 48 hours
-- column: bad integer [count] -- credits whose 48 hours ended without a disbursement
-- column: good_amount numeric [MXN] -- principal of the good ones
-- column: bad_amount numeric [MXN] -- principal of the bad ones
-- ttl: 60
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
    where c.approved_at >= cast(:first as date)::timestamp at time zone :timezone - interval '48 hours'
        and c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
        and not (
            c.status = 'cancelled' and c.disbursed_at is null
            and (c.closed_at is null or c.closed_at < c.approved_at + interval '48 hours')
        )
)
select
    (decided_at at time zone :timezone)::date as day,
    segment,
    case
        when good then ''
        when disbursed_at is not null then 'late'
        when status = 'cancelled' then 'cancelled'
        else 'waiting'
    end as reason,
    count(*) filter (where good) as good,
    count(*) filter (where good is not true) as bad,
    coalesce(sum(principal) filter (where good), 0) as good_amount,
    coalesce(sum(principal) filter (where good is not true), 0) as bad_amount
from decided
cross join moment
where decided_at < moment.as_of
    and decided_at >= cast(:first as date)::timestamp at time zone :timezone
    and decided_at < (cast(:last as date) + 1)::timestamp at time zone :timezone
group by 1, 2, 3
order by 1, 2, 3;
