-- title: Alerts of an incident
-- description: A row is one alert from its start to its end, in the order of their start, at most 500.
-- param: incident integer -- its number
-- column: alertname text -- name of the alert
-- column: severity text -- its severity
-- column: summary_en text -- what it says
-- column: summary_es text -- what it says, in Spanish
-- column: slo text -- objective that it watches
-- column: link text -- where it leads
-- column: starts_at timestamptz -- when it began
-- column: ends_at timestamptz -- when it ended; null while it fires
-- ttl: 3
select alertname, severity, summary_en, summary_es, slo, link, starts_at, ends_at
from mirador.incident_alerts
where incident_id = :incident
order by starts_at, key
limit 500
