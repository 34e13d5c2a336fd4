"""Incidents, what is written about them, states set by hand, and who wants to hear of them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.execute(
        """
        create table mirador.incidents (
            id          bigint generated always as identity primary key,
            key         text not null,
            component   text,
            alertname   text not null default '',
            severity    text not null default 'critical',
            impact      text not null default 'degraded' check (impact in ('degraded', 'outage')),
            title_en    text not null check (length(title_en) between 1 and 300),
            title_es    text not null check (length(title_es) between 1 and 300),
            public_en   text check (length(public_en) <= 300),
            public_es   text check (length(public_es) <= 300),
            status      text not null default 'investigating'
                        check (status in ('investigating', 'identified', 'monitoring', 'resolved')),
            started_at  timestamptz not null,
            ended_at    timestamptz check (ended_at >= started_at),
            -- Opened by a hand: no alert ends it.
            by_hand     boolean not null default false,
            -- Ended by a hand: what alerts tell later moves no time of it.
            ended_by    text,
            opened_by   text,
            created_at  timestamptz not null default now(),
            updated_at  timestamptz not null default now(),
            check ((status = 'resolved') = (ended_at is not null))
        )
        """
    )
    # Whatever runs at once: one open incident a component.
    op.execute("create unique index incidents_open on mirador.incidents (key) where ended_at is null")
    op.execute("create index incidents_key on mirador.incidents (key, ended_at)")
    op.execute("create index incidents_started_at on mirador.incidents (started_at)")
    op.execute(
        """
        create table mirador.incident_alerts (
            key           text primary key,
            incident_id   bigint not null references mirador.incidents on delete cascade,
            alertname     text not null,
            severity      text not null,
            summary_en    text not null,
            summary_es    text not null,
            slo           text,
            link          text check (link ~ '^https?://'),
            starts_at     timestamptz not null,
            ends_at       timestamptz,
            created_at    timestamptz not null default now()
        )
        """
    )
    op.execute("create index incident_alerts_incident on mirador.incident_alerts (incident_id)")
    op.execute(
        """
        create table mirador.incident_updates (
            id          bigint generated always as identity primary key,
            incident_id bigint not null references mirador.incidents on delete cascade,
            kind        text not null check (kind in ('opened', 'update', 'reopened', 'resolved')),
            status      text not null check (status in ('investigating', 'identified', 'monitoring', 'resolved')),
            -- What everybody may read, and what stays inside.
            public_en   text check (length(public_en) <= 2000),
            public_es   text check (length(public_es) <= 2000),
            note        text check (length(note) <= 2000),
            once        text unique,
            created_by  text,
            created_at  timestamptz not null default now(),
            -- When subscribers are to be told; null: never. told_at: when deliveries were made of it.
            tell_after  timestamptz,
            told_at     timestamptz
        )
        """
    )
    op.execute("create index incident_updates_incident on mirador.incident_updates (incident_id)")
    op.execute(
        "create index incident_updates_to_tell on mirador.incident_updates (tell_after) "
        "where told_at is null and tell_after is not null"
    )
    op.execute(
        """
        create table mirador.status_overrides (
            id           bigint generated always as identity primary key,
            component    text not null,
            state        text not null check (state in ('operational', 'degraded', 'outage', 'maintenance')),
            reason       text not null check (length(reason) between 1 and 500),
            starts_at    timestamptz not null default now(),
            ends_at      timestamptz not null check (ends_at > starts_at and ends_at <= starts_at + interval '7 days'),
            once         text unique,
            created_by   text not null,
            withdrawn_by text,
            withdrawn_at timestamptz
        )
        """
    )
    op.execute("create index status_overrides_ends_at on mirador.status_overrides (ends_at)")
    op.execute(
        """
        create table mirador.subscribers (
            id           bigint generated always as identity primary key,
            kind         text not null check (kind in ('email', 'webhook')),
            address      text not null check (length(address) between 3 and 500),
            language     text not null check (language in ('es', 'en')),
            created_at   timestamptz not null default now(),
            asked_at     timestamptz not null default now(),
            confirmed_at timestamptz
        )
        """
    )
    op.execute("create unique index subscribers_address on mirador.subscribers (kind, lower(address))")
    op.execute(
        """
        create table mirador.deliveries (
            id            bigint generated always as identity primary key,
            subscriber_id bigint not null references mirador.subscribers on delete cascade,
            -- Null: the question whether the address wants to hear of incidents at all.
            update_id     bigint references mirador.incident_updates on delete cascade,
            state         text not null default 'waiting' check (state in ('waiting', 'sent', 'dead')),
            tries         smallint not null default 0,
            next_at       timestamptz not null default now(),
            error         text,
            created_at    timestamptz not null default now(),
            done_at       timestamptz
        )
        """
    )
    # Each is told once of each update, and has one question open.
    op.execute(
        "create unique index deliveries_once on mirador.deliveries (subscriber_id, update_id) "
        "where update_id is not null"
    )
    op.execute("create unique index deliveries_question on mirador.deliveries (subscriber_id) where update_id is null")
    op.execute("create index deliveries_update on mirador.deliveries (update_id)")
    op.execute("create index deliveries_next on mirador.deliveries (next_at) where state = 'waiting'")
    op.execute("create index deliveries_dead on mirador.deliveries (created_at) where state = 'dead'")
    # What signed links are signed with where no secret is configured: one for all processes.
    op.execute(
        """
        create table mirador.signing_keys (
            name   text primary key,
            secret bytea not null
        )
        """
    )


def downgrade() -> None:
    """Remove the tables and what was written in them."""
    for name in (
        *("signing_keys", "deliveries", "subscribers", "status_overrides"),
        *("incident_updates", "incident_alerts", "incidents"),
    ):
        op.execute(f"drop table mirador.{name}")
