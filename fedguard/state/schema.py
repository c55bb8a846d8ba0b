"""Making a store's tables, and telling whether they are the ones this fedguard knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from fedguard.errors import NoStore, StoreTooNew, StoreTooOld
from fedguard.state.database import reading, without_secrets

__all__ = ["check", "revision_of", "upgrade"]

MIGRATIONS = Path(__file__).parent / "migrations"


def _config(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def revision_of(engine: Engine) -> str | None:
    """The schema a database has; None if it has none."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> str:
    """Bring the tables to the newest schema, from nothing or from any older one."""
    command.upgrade(_config(engine), "head")
    return revision_of(engine) or ""


def check(engine: Engine, make: bool) -> None:
    """Raise `StoreTooNew` or `StoreTooOld`; `make` the tables where there are none.

    Without `make`, `StoreUnavailable` where there are none.
    """
    where = without_secrets(engine.url.render_as_string(hide_password=False))
    scripts = ScriptDirectory.from_config(_config(engine))
    newest, found = scripts.get_current_head() or "", revision_of(engine)
    if found == newest:
        return
    if found is None and not inspect(engine).get_table_names():
        if not make:
            raise NoStore(where)
        upgrade(engine)
        return
    known = {each.revision for each in scripts.walk_revisions()}
    if found in known or found is None:
        raise StoreTooOld(where, found or "none", newest)
    raise StoreTooNew(where, found, newest)
