"""Alembic's entry: run migrations on the engine that `fedguard.state.schema` hands in."""

from __future__ import annotations

from alembic import context

from fedguard.state.database import SQLITE
from fedguard.state.tables import metadata

LOCK = 0xFEDD
"""Of two processes that make the tables one waits here, and then finds them."""

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
        if connection.dialect.name != SQLITE:  # which waits for whoever writes to it by itself
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        context.run_migrations()
    connection.commit()
