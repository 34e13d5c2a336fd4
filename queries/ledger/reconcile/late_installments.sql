-- title: Late installments, change by change
-- description: A row is one second and level: by how much the number changed in it. The first second, :start, holds the
--   number as it stood then. Compared with the gauge that shows the same.
-- param: start timestamptz -- the moment of the first state
-- param: end timestamptz -- up to before this moment
-- param: with_ids boolean = false -- whether the ids of what changed are wanted, too
-- param: timezone text = $timezone -- the zone whose midnights make an installment later
-- column: at timestamptz -- second in which it changed
-- column: level text -- days past due: 1-7, 8-15, 16-30, 31-60, 61-90 or 90+
-- column: n integer [count] -- the change
-- column: ids text -- ids of what changed after :start, separated by commas; null when not asked for
-- ttl: 60
with levels (level, first, last) as (
    values ('1-7', 1, 7), ('8-15', 8, 15), ('16-30', 16, 30), ('31-60', 31, 60), ('61-90', 61, 90), ('90+', 91, null)
),
owed as (
    select i.installment_id, i.due_date, i.paid_at
    from bi.installments i
    where i.due_date < (cast(:end as timestamptz) at time zone :timezone)::date
        and (i.paid_at is null or i.paid_at >= cast(:start as timestamptz))
),
cells as (
    -- It enters a level at a midnight and leaves it at a later one, or when it is paid.
    select
        o.installment_id,
        l.level,
        (o.due_date + l.first)::timestamp at time zone :timezone as enters,
        least((o.due_date + l.last + 1)::timestamp at time zone :timezone, o.paid_at) as leaves
    from owed o
    cross join levels l
    where o.due_date + l.first <= (cast(:end as timestamptz) at time zone :timezone)::date
),
changes as (
    select greatest(enters, cast(:start as timestamptz)) as at, level, installment_id, 1 as n,
        enters >= cast(:start as timestamptz) as changed
    from cells
    where enters < cast(:end as timestamptz)
        and (leaves is null or (leaves > enters and leaves >= cast(:start as timestamptz)))
    union all
    select leaves, level, installment_id, -1, true
    from cells
    where leaves >= cast(:start as timestamptz) and leaves < cast(:end as timestamptz) and leaves > enters
)
select
    date_trunc('second', at) as at,
    level,
    sum(n) as n,
    case when cast(:with_ids as boolean)
        then string_agg(cast(installment_id as text), ',' order by installment_id) filter (where changed) end as ids
from changes
group by 1, 2
order by 1, 2
