"""Alembic's entry: run migrations on the engine that `fedguard.state.schema` hands in."""

from __future__ import annotations

from alembic import context

from fedguard.state.tables import metadata

engine = context.config.attributes["engine"].execution_options(writes=True)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_type=True,
        transactional_ddl=True,  # SQLite's, too: a kill leaves the old tables or the new ones
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
