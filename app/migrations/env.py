"""Alembic runs this: the steps go over the connection that `app.state.migrate` holds, in its one transaction."""

from alembic import context

taken = context.config.attributes["taken"]
context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="mirador",
    on_version_apply=lambda step, **rest: taken.append(step.up_revision_id),
)
context.run_migrations()
