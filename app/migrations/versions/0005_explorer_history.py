"""Questions that engineers asked in the metrics explorer, by the viewer's opaque id."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        create table mirador.explorer_history (
            id       bigint generated always as identity primary key,
            viewer   text not null,
            question text not null check (length(question) between 1 and 4000),
            kind     text not null check (kind in ('range', 'instant')),
            asked_at timestamptz not null default now()
        )
        """
    )
    # By its hash: a question may be longer than an entry of an index.
    op.execute(
        "create unique index explorer_history_question on mirador.explorer_history (viewer, kind, md5(question))"
    )


def downgrade() -> None:
    """Remove the table and what was written in it."""
    op.execute("drop table mirador.explorer_history")
