known as (
    -- What the last refresh may not have found whole is not taken from the daily tables.
    select
        cut.*,
        date_bin('15 minutes', end_at, timestamptz '2000-01-01 00:00Z') as quarter_at,
        (select min(refreshed_at) from rollup.state) - interval '15 minutes' as known_until
    from cut
),
nearest as (
    -- Whole quarters of an hour come from the tables, up to the one that ends nearest to the cut: minutes that are
    -- missing then are added from the rows, minutes too many are taken away again.
    select
        known.*,
        case
            when quarter_at + interval '15 minutes' <= known_until and end_at > quarter_at + interval '7.5 minutes'
            then quarter_at + interval '15 minutes'
            else
                greatest(
                    start_at,
                    date_bin('15 minutes', least(end_at, known_until), timestamptz '2000-01-01 00:00Z')
                )
        end as quarters_until
    from known
),
pieces as (
    -- Of these quarters, all before the last whole hour stand in one place: the running total of the day until then.
    select
        nearest.*,
        greatest(start_at, date_trunc('hour', quarters_until, 'UTC')) as quarters_from,
        least(quarters_until, end_at) as rows_from,
        greatest(quarters_until, end_at) as rows_until,
        case when quarters_until > end_at then -1 else 1 end as sign
    from nearest
)
