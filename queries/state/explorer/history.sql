-- title: Questions asked in the metrics explorer
-- description: A row is one question that a viewer has asked, the latest first, 50 at most.
-- param: viewer text -- opaque id of the viewer
-- column: question text -- the PromQL
-- column: kind text -- range or instant
-- column: asked_at timestamptz -- when it was asked last
-- ttl: 2
select question, kind, asked_at
from mirador.explorer_history
where viewer = :viewer
order by asked_at desc, id desc
limit 50
