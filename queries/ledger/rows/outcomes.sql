-- title: Credits and how they turned out
-- description: A row is one approved credit: bad when an installment of it was ever more than 30 days late, good when
--   never and disbursed at least 180 days ago, young when never and disbursed later, none when never disbursed.
-- param: first date = null -- first day of approval
-- param: last date = null -- last day of approval
-- param: month date = null -- month of approval, by its first day
-- param: vintage date = null -- month of disbursement, by its first day
-- param: vintages date[] = {} -- the same, several
-- param: as_of date = null -- the day up to which is looked; null is today
-- param: state text = null -- bad, good, young or none
-- param: states text[] = {} -- the same, several
-- param: tier text = null -- Sinosure tier; '' is none
-- param: tiers text[] = {} -- Sinosure tiers; an item '' is none
-- param: band integer = null -- HASE band by its lower edge 0, 10 ... 90; -1 is no score
-- param: bands integer[] = {} -- HASE bands
-- param: score_from integer = null -- lowest HASE score
-- param: score_to integer = null -- highest HASE score
-- param: model_version text = null -- version of the model of the first score; '' is none
-- param: model_versions text[] = {} -- the same, several
-- param: timezone text = $timezone -- the zone whose days are business days
-- column: credit_id text -- the credit
-- column: approved_at timestamptz -- when it was approved
-- column: disbursed_at timestamptz -- when it was disbursed
-- column: conductor_id text -- the driver, an opaque id
-- column: application_id text -- the application it came of
-- column: sinosure_tier text -- Sinosure tier
-- column: score integer [score] -- HASE score of the application
-- column: model_version text -- version of the model of the first score
-- column: principal numeric [MXN] -- principal
-- column: state text -- bad, good, young or none
-- column: worst_days_late integer [d] -- most days that an installment was late
-- key: credit_id
-- sort: approved_at desc, principal desc, score desc nulls last, worst_days_late desc
-- ttl: 30
select
    credit_id,
    approved_at,
    disbursed_at,
    conductor_id,
    application_id,
    sinosure_tier,
    score,
    model_version,
    principal,
    state,
    worst_days_late
from (
    select
        c.*,
        application.score,
        first_score.model_version,
        greatest(worst.days, 0) as worst_days_late,
        case
            when c.disbursed_at is null then 'none'
            when worst.days > 30 then 'bad'
            when (c.disbursed_at at time zone :timezone)::date <= as_of.day - 180 then 'good'
            else 'young'
        end as state
    from bi.credits c
    cross join (select coalesce(cast(:as_of as date), (now() at time zone :timezone)::date) as day) as as_of
    -- One by one, by their key: the list is looked at from its first rows on.
    left join lateral (
        select a.hase_score as score from bi.applications a where a.application_id = c.application_id limit 1
    ) as application on true
    left join lateral (
        select s.model_version
        from bi.hase_scores s
        where s.application_id = c.application_id
        order by s.calculated_at, s.score_id
        limit 1
    ) as first_score on true
    left join lateral (
        -- The last day at whose end an installment was unpaid is the one before it was paid.
        select max(least((i.paid_at at time zone :timezone)::date - 1, as_of.day) - i.due_date) as days
        from bi.installments i
        where i.credit_id = c.credit_id
    ) as worst on true
    where true
        and (cast(:first as date) is null
            or c.approved_at >= cast(:first as date)::timestamp at time zone :timezone)
        and (cast(:last as date) is null
            or c.approved_at < (cast(:last as date) + 1)::timestamp at time zone :timezone)
        and (cast(:month as date) is null or (
            c.approved_at >= cast(:month as date)::timestamp at time zone :timezone
            and c.approved_at < (cast(:month as date) + interval '1 month') at time zone :timezone
        ))
) as c
where true
    and (cast(:vintage as date) is null or (
        c.disbursed_at >= cast(:vintage as date)::timestamp at time zone :timezone
        and c.disbursed_at < (cast(:vintage as date) + interval '1 month') at time zone :timezone
    ))
    and (cardinality(cast(:vintages as date[])) = 0
        or date_trunc('month', c.disbursed_at at time zone :timezone)::date = any(cast(:vintages as date[])))
    and (cast(:state as text) is null or c.state = cast(:state as text))
    and (cardinality(cast(:states as text[])) = 0 or c.state = any(cast(:states as text[])))
    and (cast(:tier as text) is null or coalesce(c.sinosure_tier, '') = cast(:tier as text))
    and (cardinality(cast(:tiers as text[])) = 0 or coalesce(c.sinosure_tier, '') = any(cast(:tiers as text[])))
    and (cast(:band as integer) is null
        or case when c.score is null then -1 else least(c.score / 10 * 10, 90) end = cast(:band as integer))
    and (cardinality(cast(:bands as integer[])) = 0
        or case when c.score is null then -1 else least(c.score / 10 * 10, 90) end = any(cast(:bands as integer[])))
    and (cast(:score_from as integer) is null or c.score >= cast(:score_from as integer))
    and (cast(:score_to as integer) is null or c.score <= cast(:score_to as integer))
    and (cast(:model_version as text) is null or coalesce(c.model_version, '') = cast(:model_version as text))
    and (cardinality(cast(:model_versions as text[])) = 0
        or coalesce(c.model_version, '') = any(cast(:model_versions as text[])))
