-- title: What became of approved credits
-- description: A row is one month of approval, tier, HASE score, model version and outcome of the credits approved in it.
--   Bad were once over 30 days late; good never, and were disbursed at least 180 days ago; young never, but disbursed
--   later than that; none were not disbursed.
-- column: month date -- first day of the month of approval
-- column: tier text -- Sinosure tier of the credit; empty: none
-- column: band integer [points] -- lower edge of the HASE band of ten (90 is 90 to 100); -1: no score
-- column: score smallint [points] -- HASE score of the application; -1: none
-- column: model_version text -- model of the application's first score; empty: none
-- column: state text -- bad, good, young or none
-- column: n bigint [count] -- credits
-- column: principal numeric [MXN] -- their principal
with edge as (
    select (now() at time zone :timezone)::date as today
),
late as (
    select distinct i.credit_id
    from bi.installments i, edge
    where
        i.due_date + 31 <= edge.today
        and (i.paid_at is null or (i.paid_at at time zone :timezone)::date > i.due_date + 31)
)
select
    date_trunc('month', c.approved_at at time zone :timezone)::date as month,
    coalesce(c.sinosure_tier, '') as tier,
    case when a.hase_score is null then -1 else least(a.hase_score / 10 * 10, 90) end as band,
    coalesce(a.hase_score, -1)::smallint as score,
    coalesce(scored.model_version, '') as model_version,
    case
        when c.disbursed_at is null then 'none'
        when late.credit_id is not null then 'bad'
        when edge.today - (c.disbursed_at at time zone :timezone)::date >= 180 then 'good'
        else 'young'
    end as state,
    count(*) as n,
    sum(c.principal) as principal
from bi.credits c
cross join edge
left join late on late.credit_id = c.credit_id
left join bi.applications a on a.application_id = c.application_id
left join lateral (
    select s.model_version
    from bi.hase_scores s
    where s.application_id = c.application_id
    order by s.calculated_at, s.score_id
    limit 1
) as scored on true
group by 1, 2, 3, 4, 5, 6
