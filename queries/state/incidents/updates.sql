-- title: What was written about incidents
-- description: A row is one update of an incident that is open or ended after a moment, the latest first.
-- param: since timestamptz -- those of incidents that ended before are left out
-- column: id integer -- its number
-- column: incident_id integer -- its incident
-- column: kind text -- opened, update, reopened or resolved
-- column: status text -- status that it gave the incident
-- column: public_en text -- what everybody may read
-- column: public_es text -- what everybody may read, in Spanish
-- column: note text -- what stays inside
-- column: created_by text -- opaque id of who wrote it; null: Mirador
-- column: created_at timestamptz -- when
-- ttl: 3
select
    said.id, said.incident_id, said.kind, said.status, said.public_en, said.public_es, said.note, said.created_by,
    said.created_at
from mirador.incident_updates as said
join mirador.incidents as one on one.id = said.incident_id
where one.ended_at is null or one.ended_at >= :since
order by said.created_at desc, said.id desc
limit 2000
