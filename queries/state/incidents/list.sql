-- title: Incidents
-- description: A row is one incident that is open or ended after a moment, the latest first, at most 300.
-- param: open boolean = false -- only those that are open
-- param: since timestamptz = null -- those that ended before are left out; null: none is
-- column: id integer -- its number
-- column: component text -- component of the status page; null: of none
-- column: alertname text -- alert that opened it; empty: a hand did
-- column: severity text -- severity of that alert
-- column: impact text -- degraded or outage
-- column: title_en text -- what happened
-- column: title_es text -- what happened, in Spanish
-- column: public_en text -- title for the public; null: one is made of the component
-- column: public_es text -- title for the public, in Spanish
-- column: status text -- investigating, identified, monitoring or resolved
-- column: started_at timestamptz -- when it began
-- column: ended_at timestamptz -- when it ended; null while it is open
-- column: by_hand boolean -- whether a hand opened it, so that a hand ends it
-- column: alerts integer [count] -- its alerts
-- column: firing integer [count] -- those of them that still fire
-- ttl: 3
select
    one.id, one.component, one.alertname, one.severity, one.impact, one.title_en, one.title_es, one.public_en,
    one.public_es, one.status, one.started_at, one.ended_at, one.by_hand, own.alerts, own.firing
from mirador.incidents as one
cross join lateral (
    select count(*) as alerts, count(*) filter (where told.ends_at is null) as firing
    from mirador.incident_alerts as told
    where told.incident_id = one.id
) as own
where one.ended_at is null
    or (not :open and (cast(:since as timestamptz) is null or one.ended_at >= cast(:since as timestamptz)))
order by one.ended_at is null desc, one.started_at desc, one.id desc
limit 300
