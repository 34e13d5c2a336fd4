-- The ledger contract as tables: schema bi, with the roles that write and read it. Times are timestamptz, money is
-- numeric(14,2) MXN. Statuses, tiers, methods and integrations are plain text: a value that nobody foresaw must not be
-- refused here, so that pages are tested with it.

do $$
declare
    role text;
begin
    foreach role in array array['mirador_core', 'mirador_reader', 'mirador_rollup'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I login', role);
        end if;
    end loop;
end $$;

create schema bi;
create schema rollup;

create table bi.applications (
    application_id   text primary key,
    conductor_id     text not null,
    submitted_at     timestamptz not null,
    amount_requested numeric(14, 2) not null,
    hase_score       smallint,
    sinosure_tier    text,
    status           text not null,
    decided_at       timestamptz,
    rejection_reason text,
    updated_at       timestamptz not null
);

create table bi.credits (
    credit_id           text primary key,
    application_id      text not null,
    conductor_id        text not null,
    sinosure_tier       text not null,
    principal           numeric(14, 2) not null,
    approved_at         timestamptz not null,
    disbursed_at        timestamptz,
    disbursement_status text not null,
    status              text not null,
    closed_at           timestamptz,
    updated_at          timestamptz not null
);

create table bi.installments (
    installment_id bigint primary key,
    credit_id      text not null,
    sequence       smallint not null,
    due_date       date not null,
    amount_due     numeric(14, 2) not null,
    amount_paid    numeric(14, 2) not null,
    paid_at        timestamptz,
    updated_at     timestamptz not null
);

create table bi.payments (
    payment_id          bigint primary key,
    credit_id           text not null,
    installment_id      bigint,
    processed_at        timestamptz not null,
    amount              numeric(14, 2) not null,
    status              text not null,
    method              text not null,
    failure_code        text,
    integration_call_id bigint,
    updated_at          timestamptz not null
);

create table bi.hase_scores (
    score_id       bigint primary key,
    application_id text not null,
    conductor_id   text not null,
    score          smallint not null,
    model_version  text not null,
    calculated_at  timestamptz not null
);

create table bi.integration_calls (
    call_id        bigint primary key,
    called_at      timestamptz not null,
    integration    text not null,
    endpoint       text not null,
    status         text not null,
    http_status    smallint,
    duration_ms    integer not null,
    error_code     text,
    error_message  text,
    request_id     text not null,
    trace_id       text,
    application_id text,
    credit_id      text
);

grant usage on schema bi, rollup to mirador_reader, mirador_core, mirador_rollup;
grant select on all tables in schema bi, rollup to mirador_reader;
-- The daily tables are the property of the role that keeps them; the pages' role reads them, and nothing else writes.
grant select on all tables in schema bi to mirador_rollup;
grant create on schema rollup to mirador_rollup;
alter default privileges for role mirador_rollup in schema rollup grant select on tables to mirador_reader;
grant select, insert, update, delete on all tables in schema bi to mirador_core;
alter default privileges in schema bi, rollup grant select on tables to mirador_reader;
