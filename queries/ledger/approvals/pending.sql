-- title: Applications pending at the end of a day
-- description: One row: the applications submitted by the end of the last day and not decided by then.
-- param: last date -- the day at whose end one looks
-- param: tiers text[] = {} -- Sinosure tiers; none is all, an empty name is no tier
-- param: bands integer[] = {} -- HASE bands by their lower edge; none is all, -1 is no score
-- column: pending integer [count] -- applications submitted and not decided
-- with: submissions, decisions
-- ttl: 60
with waiting as (
    -- Of those submitted by then: the ones that are pending still, and the ones decided later. These are all decisions that
    -- came later, less those on applications that came later too. So only days after :last are read, however old the
    -- ledger is. The ledger does not say when an application was withdrawn: one that is withdrawn by now is not counted.
    select coalesce(sum(n), 0) as pending_still
    from submissions
    where day <= :last
        and status = 'pending'
),

submitted as (
    select coalesce(sum(n), 0) as came_later
    from submissions
    where day > :last
        and status in ('approved', 'rejected')
),

decided as (
    select coalesce(sum(n), 0) as later
    from decisions
    where day > :last
        and status in ('approved', 'rejected')
)

select waiting.pending_still + decided.later - submitted.came_later as pending
from waiting, submitted, decided;
