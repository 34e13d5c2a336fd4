-- title: Deliveries that were given up
-- description: A row is one message of the last 30 days that did not reach its subscriber, the latest first. No address.
-- column: id integer -- its number
-- column: subscriber_id integer -- number of the subscriber
-- column: kind text -- email or webhook
-- column: incident_id integer -- its incident; null: the question whether the address wants to hear of incidents
-- column: tries integer [count] -- how often it was tried
-- column: error text -- why the last try failed
-- column: done_at timestamptz -- when it was given up
-- ttl: 5
select one.id, one.subscriber_id, who.kind, said.incident_id, one.tries::integer as tries, one.error, one.done_at
from mirador.deliveries as one
join mirador.subscribers as who on who.id = one.subscriber_id
left join mirador.incident_updates as said on said.id = one.update_id
where one.state = 'dead' and one.created_at > now() - interval '30 days'
order by one.done_at desc, one.id desc
limit 200
