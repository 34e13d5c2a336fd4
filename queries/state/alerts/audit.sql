-- title: Silences made and ended here
-- description: A row is one silence that an engineer made or ended from Mirador, the latest first, 200 at most.
-- column: at timestamptz -- when it was asked for
-- column: action text -- silenced or ended
-- column: alert text -- name of the alert
-- column: matchers text -- the labels that were silenced, as name=value
-- column: reason text -- why
-- column: ends_at timestamptz -- the end that was set
-- column: who text -- opaque id of the engineer
-- column: outcome text -- done; refused by Alertmanager; unknown: it did not answer; asked: not told
-- column: silence_id text -- Alertmanager's id of the silence
-- ttl: 5
select
    at,
    action,
    alert,
    (
        select string_agg(format('%s=%s', m ->> 'name', m ->> 'value'), ', ' order by place)
        from jsonb_array_elements(matchers) with ordinality as each (m, place)
    ) as matchers,
    reason,
    ends_at,
    who,
    outcome,
    silence_id
from mirador.silence_audit
order by at desc, id desc
limit 200
