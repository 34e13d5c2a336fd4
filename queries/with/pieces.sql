pieces as (
    -- Quarters of an hour come from the daily tables, but for those that the last refresh may not have found whole: they
    -- are read from the rows, with the minutes before the cut.
    select
        cut.*,
        greatest(
            start_at,
            date_bin(
                '15 minutes',
                least(end_at, (select min(refreshed_at) from rollup.state) - interval '15 minutes'),
                timestamptz '2000-01-01 00:00Z'
            )
        ) as rows_from
    from cut
)
