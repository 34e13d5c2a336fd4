-- title: Subscribers of the status page
-- description: A row is one kind of subscriber, without any address.
-- column: kind text -- email or webhook
-- column: confirmed integer [count] -- those that have confirmed
-- column: unconfirmed integer [count] -- those that were asked and have not answered
-- column: waiting integer [count] -- deliveries that wait for their turn or for another try
-- column: sent integer [count] -- deliveries of the last 30 days that arrived
-- column: dead integer [count] -- deliveries of the last 30 days that were given up
-- ttl: 5
select
    kind,
    count(*) filter (where confirmed_at is not null) as confirmed,
    count(*) filter (where confirmed_at is null) as unconfirmed,
    coalesce(sum(own.waiting), 0)::bigint as waiting,
    coalesce(sum(own.sent), 0)::bigint as sent,
    coalesce(sum(own.dead), 0)::bigint as dead
from mirador.subscribers as one
cross join lateral (
    select
        count(*) filter (where state = 'waiting') as waiting,
        count(*) filter (where state = 'sent') as sent,
        count(*) filter (where state = 'dead') as dead
    from mirador.deliveries
    where subscriber_id = one.id and created_at > now() - interval '30 days'
) as own
group by kind
order by kind
