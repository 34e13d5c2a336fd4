-- Of each of :days, its start and the moment that is as far into it as the present moment is into :day.
elapsed as (
    -- How much of :day is over, by its own clock: every other day is cut at the same time of day.
    select greatest(
        least(
            coalesce(cast(:as_of as timestamptz), date_trunc('minute', now())) at time zone :timezone
                - cast(:day as date)::timestamp,
            interval '1 day'
        ),
        interval '0'
    ) as time_of_day
),
cut as (
    select
        wanted.day,
        wanted.day::timestamp at time zone :timezone as start_at,
        (wanted.day::timestamp + elapsed.time_of_day) at time zone :timezone as end_at
    from (select distinct unnest(cast(:days as date[])) as day) as wanted, elapsed
)
