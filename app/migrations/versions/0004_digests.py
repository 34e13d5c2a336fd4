"""Digests: which list was sent which day's, so that each goes out once from however many processes."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        create table mirador.digests (
            id         bigint generated always as identity primary key,
            day        date not null,
            role       text not null check (role in ('executive', 'analyst', 'engineer')),
            channel    text not null check (channel in ('mail', 'slack')),
            -- A hash: no address is kept here. Empty for Slack.
            recipient  text not null,
            state      text not null default 'claimed' check (state in ('claimed', 'sent', 'failed', 'dead')),
            tries      smallint not null default 1,
            -- From when another process may try: the end of a claim, or of the wait after a failure.
            next_at    timestamptz not null,
            claimed_at timestamptz not null default now(),
            sent_at    timestamptz,
            error      text,
            unique (day, role, channel, recipient)
        )
        """
    )


def downgrade() -> None:
    """Remove the table and what was written in it."""
    op.execute("drop table mirador.digests")
