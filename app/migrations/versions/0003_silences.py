"""The audit of silences, and when what must be heard again and again was heard last."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.execute(
        """
        create table mirador.silence_audit (
            id         bigint generated always as identity primary key,
            once       text not null unique,
            action     text not null check (action in ('silenced', 'ended')),
            alert      text not null check (length(alert) between 1 and 300),
            matchers   jsonb not null,
            reason     text not null check (length(reason) between 1 and 500),
            ends_at    timestamptz,
            silence_id text,
            who        text not null,
            at         timestamptz not null default now(),
            outcome    text not null default 'asked' check (outcome in ('asked', 'done', 'refused', 'unknown'))
        )
        """
    )
    op.execute("create index silence_audit_at on mirador.silence_audit (at desc)")
    op.execute("create table mirador.heartbeats (name text primary key, heard_at timestamptz not null)")


def downgrade() -> None:
    """Remove the tables and what was written in them."""
    op.execute("drop table mirador.heartbeats")
    op.execute("drop table mirador.silence_audit")
