-- title: Moments of a thread
-- description: A row is one thing that the ledger knows of these credits and applications in the period, or one call of
--   the request or trace; in order of time, the newest 2,000.
-- param: credits text[] = {} -- the credits
-- param: applications text[] = {} -- the applications
-- param: request text = null -- id of a request, whatever it served
-- param: trace text = null -- id of a trace, whatever it served
-- param: start timestamptz -- first moment
-- param: end timestamptz -- last moment
-- column: at timestamptz -- when
-- column: kind text -- application, score, decision, disbursement, installment, payment or call
-- column: what text -- submitted, scored, a status ...
-- column: amount numeric [MXN] -- money of the moment
-- column: duration_ms integer [ms] -- how long a call took
-- column: detail text -- names and codes
-- column: credit_id text -- the credit
-- column: application_id text -- the application
-- column: call_id bigint -- the call
-- column: request_id text -- its request
-- column: trace_id text -- its trace
-- ttl: 15
select * from (
    select
        a.submitted_at as at, 'application' as kind, 'submitted' as what, a.amount_requested as amount,
        cast(null as integer) as duration_ms, '' as detail, cast(null as text) as credit_id,
        a.application_id::text as application_id, cast(null as bigint) as call_id, cast(null as text) as request_id,
        cast(null as text) as trace_id
    from bi.applications as a
    where a.application_id = any(cast(:applications as text[]))
    union all
    select a.decided_at, 'decision', a.status, null, null, coalesce(a.rejection_reason, ''), null,
        a.application_id::text, null, null, null
    from bi.applications as a
    where a.application_id = any(cast(:applications as text[])) and a.decided_at is not null
    union all
    select s.calculated_at, 'score', 'scored', null, null, s.score || ' · ' || s.model_version, null,
        s.application_id::text, null, null, null
    from bi.hase_scores as s
    where s.application_id = any(cast(:applications as text[]))
    union all
    select c.disbursed_at, 'disbursement', 'disbursed', c.principal, null, c.disbursement_status, c.credit_id::text,
        c.application_id::text, null, null, null
    from bi.credits as c
    where c.credit_id = any(cast(:credits as text[])) and c.disbursed_at is not null
    union all
    select c.closed_at, 'disbursement', c.status, null, null, '', c.credit_id::text, c.application_id::text, null, null,
        null
    from bi.credits as c
    where c.credit_id = any(cast(:credits as text[])) and c.closed_at is not null
    union all
    -- Paid when it was paid; one that is late, at noon of its due day: it has a day and no hour.
    select
        coalesce(i.paid_at, (i.due_date + time '12:00')::timestamp at time zone current_setting('timezone')),
        'installment', case when i.paid_at is null then 'late' else 'paid' end, i.amount_due, null,
        'no. ' || i.sequence, i.credit_id::text, null, null, null, null
    from bi.installments as i
    where i.credit_id = any(cast(:credits as text[]))
        and (i.paid_at is not null or i.due_date < current_date)
    union all
    select p.processed_at, 'payment', p.status, p.amount, null,
        p.method || coalesce(' · ' || p.failure_code, ''), p.credit_id::text, null, p.integration_call_id, null, null
    from bi.payments as p
    where p.credit_id = any(cast(:credits as text[]))
    union all
    select k.called_at, 'call', k.status, null, k.duration_ms,
        k.integration || ' ' || k.endpoint || coalesce(' · ' || k.http_status, '') || coalesce(' · ' || k.error_code, ''),
        k.credit_id::text, k.application_id::text, k.call_id, k.request_id, k.trace_id
    from (
        -- Each part by its own index; a call that several find is one.
        select * from bi.integration_calls where credit_id = any(cast(:credits as text[]))
        union
        select * from bi.integration_calls where application_id = any(cast(:applications as text[]))
        union
        select * from bi.integration_calls where request_id = cast(:request as text)
        union
        select * from bi.integration_calls where trace_id = cast(:trace as text)
    ) as k
) as moments
where at >= :start and at < :end
order by at desc
limit 2000
