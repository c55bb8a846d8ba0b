"""Making a store's tables, and telling whether they are the ones this fedguard knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from fedguard.errors import NoStore, StoreTooNew, StoreTooOld
from fedguard.state.database import reading, told, without_secrets

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
    """Bring the tables to the newest schema, from nothing or from any older one.

    Raises `StoreTooNew`, `StoreUnavailable`.
    """
    found, (newest, known) = revision_of(engine), _revisions(engine)
    if found and found not in known:
        raise StoreTooNew(_shown(engine), found, newest)
    with told(engine):
        command.upgrade(_config(engine), "head")
    return newest


def check(engine: Engine, make: bool) -> None:
    """Raise `StoreTooNew` or `StoreTooOld`; `make` the tables where there are none.

    Without `make`, `StoreUnavailable` where there are none.
    """
    with reading(engine) as connection:  # in one view: another process may be making them
        found = MigrationContext.configure(connection).get_current_revision()
        tables = inspect(connection).get_table_names()
    newest, known = _revisions(engine)
    if found == newest:
        return
    if found is None and not tables:
        if not make:
            raise NoStore(_shown(engine))
        upgrade(engine)
        return
    if found in known or found is None:
        raise StoreTooOld(_shown(engine), found or "none", newest)
    raise StoreTooNew(_shown(engine), found, newest)


def _revisions(engine: Engine) -> tuple[str, set[str]]:
    """The newest schema, and all that are known."""
    scripts = ScriptDirectory.from_config(_config(engine))
    known = {each.revision for each in scripts.walk_revisions()}
    return scripts.get_current_head() or "", known


def _shown(engine: Engine) -> str:
    return without_secrets(engine.url.render_as_string(hide_password=False))
