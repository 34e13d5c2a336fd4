-- title: Ids that begin so
-- description: A row is one credit, application or driver whose id begins with these signs; at most 8 of each kind.
-- param: prefix text -- the first signs of an id
-- column: kind text -- credit, application or conductor
-- column: id text -- the id
-- column: credit_id text -- the credit that it leads to: itself, or the application's
-- column: conductor_id text -- the driver that it leads to
-- column: at timestamptz -- approval of a credit, submission of an application
-- column: status text -- status of a credit or an application
-- ttl: 30
(
    select
        'credit' as kind,
        near.credit_id as id,
        near.credit_id,
        near.conductor_id,
        near.approved_at as at,
        near.status
    from (select * from bi.credits where credit_id >= :prefix order by credit_id limit 60) as near
    where starts_with(near.credit_id, :prefix)
    order by near.credit_id
    limit 8
)
union all
(
    select
        'application',
        near.application_id,
        (select min(c.credit_id) from bi.credits as c where c.application_id = near.application_id),
        near.conductor_id,
        near.submitted_at,
        near.status
    from (select * from bi.applications where application_id >= :prefix order by application_id limit 60) as near
    where starts_with(near.application_id, :prefix)
    order by near.application_id
    limit 8
)
union all
(
    select distinct 'conductor', near.conductor_id, cast(null as text), near.conductor_id, cast(null as timestamptz), ''
    from (select conductor_id from bi.applications where conductor_id >= :prefix order by conductor_id limit 200) as near
    where starts_with(near.conductor_id, :prefix)
    order by near.conductor_id
    limit 8
)
