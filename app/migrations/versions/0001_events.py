"""Events: what Alertmanager, a deployment or a person told, drawn on the charts."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        create table mirador.events (
            id          bigint generated always as identity primary key,
            kind        text not null check (kind in ('deployment', 'incident', 'alert', 'cutoff', 'model', 'other')),
            title       text not null check (length(title) between 1 and 300),
            starts_at   timestamptz not null,
            ends_at     timestamptz check (ends_at >= starts_at),
            source      text not null check (source in ('alertmanager', 'deployment', 'person')),
            link        text check (link ~ '^https?://'),
            fingerprint text unique,
            created_by  text,
            created_at  timestamptz not null default now(),
            updated_at  timestamptz not null default now()
        )
        """
    )
    op.execute("create index events_starts_at on mirador.events (starts_at)")


def downgrade() -> None:
    """Remove the table and what was written in it."""
    op.execute("drop table mirador.events")
