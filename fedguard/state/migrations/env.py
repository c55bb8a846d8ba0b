"""Alembic's entry: run migrations on the engine that `fedguard.state.schema` hands in."""

from __future__ import annotations

from alembic import context

from fedguard.state.tables import metadata

with context.config.attributes["engine"].connect() as connection:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
