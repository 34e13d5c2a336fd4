-- title: Digests sent
-- description: A row is one list's digest of one day, the latest first; 60 at most. No address.
-- column: day date -- the day that it told of
-- column: role text -- whose list
-- column: channel text -- mail or slack
-- column: recipients integer [count] -- to how many it was to go
-- column: sent integer [count] -- how many were handed to the mail server or to Slack
-- column: last_at timestamptz -- when the last one was sent
-- column: waiting integer [count] -- how many will be tried again
-- column: error text -- why the last one that failed did
-- ttl: 5
select
    day,
    role,
    channel,
    count(*) as recipients,
    count(*) filter (where state = 'sent') as sent,
    max(sent_at) as last_at,
    count(*) filter (where state in ('claimed', 'failed') and (tries < 5 or next_at > now())) as waiting,
    (array_agg(error order by claimed_at desc) filter (where state in ('failed', 'dead')))[1] as error
from mirador.digests
group by day, role, channel
order by day desc, role, channel
limit 60
