-- title: What an id stands for
-- description: A row is one thing that the id names: a credit, an application, a driver, a request or a trace. At most
--   200 rows: of a driver each application and credit, of a request or trace each credit and application it served.
-- param: id text -- the id, whole
-- column: kind text -- credit, application, conductor, request or trace
-- column: credit_id text -- the credit that belongs to it
-- column: application_id text -- the application that belongs to it
-- column: conductor_id text -- the driver
-- column: at timestamptz -- its first moment
-- ttl: 15
(
    select
        'credit' as kind, c.credit_id::text as credit_id, c.application_id::text as application_id,
        c.conductor_id::text as conductor_id, c.approved_at as at
    from bi.credits as c
    where c.credit_id = :id
)
union all
(
    select 'application', c.credit_id::text, a.application_id::text, a.conductor_id::text, a.submitted_at
    from bi.applications as a
    left join bi.credits as c on c.application_id = a.application_id
    where a.application_id = :id
)
union all
(
    select 'conductor', c.credit_id::text, a.application_id::text, a.conductor_id::text, a.submitted_at
    from bi.applications as a
    left join bi.credits as c on c.application_id = a.application_id
    where a.conductor_id = :id
    order by a.submitted_at desc
    limit 100
)
union all
(
    select 'request', k.credit_id::text, k.application_id::text, cast(null as text), min(k.called_at)
    from bi.integration_calls as k
    where k.request_id = :id
    group by k.credit_id, k.application_id
    limit 50
)
union all
(
    select 'trace', k.credit_id::text, k.application_id::text, cast(null as text), min(k.called_at)
    from bi.integration_calls as k
    where k.trace_id = :id
    group by k.credit_id, k.application_id
    limit 50
)
