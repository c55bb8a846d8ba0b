"""Where a store lies: a folder with everything in it, or a database and a folder of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, select

from fedguard.audit import Signer
from fedguard.errors import MissingKey, NoStore, StoreUnavailable
from fedguard.state.blobs import Blobs
from fedguard.state.database import engine_of, reading
from fedguard.state.schema import check, revision_of, upgrade
from fedguard.state.sql import AS_USUAL, Retention, SqlStore
from fedguard.state.tables import federations, log

__all__ = [
    "PUBLIC",
    "federations_in",
    "files_of",
    "open_store",
    "open_to_read",
    "upgrade_store",
    "url_of",
]

SQLITE, DATABASE, KEY, BLOBS = "sqlite:///", "store.db", "audit.key", "blobs"
PUBLIC = "audit.pub"
"""The key that the log is checked by."""


def open_store(
    where: str,
    federation: str = "default",
    *,
    files: Path | None = None,
    retention: Retention = AS_USUAL,
) -> SqlStore:
    """Open a store to run rounds on: in a folder, or in a database with its `files` elsewhere.

    `where` is the folder or the database's URL. What is missing is made: the folder, the tables,
    the key that signs the log, but never a key for a log that another key began. Raises
    `StoreUnavailable`, `StoreTooNew`, `StoreTooOld`, `MissingKey`.
    """
    folder = files_of(where, files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(str(folder), str(error)) from None
    with _kept_if_whole(engine_of(url_of(where))) as engine:
        check(engine, make=True)
        signer = _signer(folder / KEY, engine)
        store = SqlStore(engine, Blobs(folder / BLOBS), signer, federation, retention)
        store.tidy()
        return store


def open_to_read(where: str, federation: str = "default", *, files: Path | None = None) -> SqlStore:
    """Open a store that is there, without its key and without writing anything."""
    with _kept_if_whole(_engine_there(where)) as engine:
        check(engine, make=False)
        return SqlStore(engine, Blobs(files_of(where, files) / BLOBS), None, federation)


def upgrade_store(where: str) -> tuple[str | None, str]:
    """Bring the tables of a store that is there up to date; their schema before and now.

    Raises `NoStore`, `StoreTooNew`.
    """
    with _kept_if_whole(_engine_there(where)) as engine:
        before = revision_of(engine)
        after = upgrade(engine)
    engine.dispose()
    return before, after


def federations_in(where: str) -> list[str]:
    """The names of the federations in a store that is there."""
    engine = _engine_there(where)
    try:
        check(engine, make=False)
        with reading(engine) as connection:
            return list(connection.scalars(select(federations.c.name).order_by(federations.c.id)))
    finally:
        engine.dispose()


def _engine_there(where: str) -> Engine:
    """An engine for a store that somebody made. Raises `NoStore`.

    One on a medium that nobody can write to, and nobody else does, is read without a lock.
    """
    url = url_of(where)
    if not url.startswith(SQLITE):
        return engine_of(url)
    path = Path(url.removeprefix(SQLITE))
    if not path.exists():
        raise NoStore(str(path))
    in_use = path.with_name(f"{path.name}-wal").exists()
    if in_use or os.access(path.parent, os.W_OK):
        return engine_of(url)
    return engine_of(f"{SQLITE}file:{quote(str(path.absolute()))}?immutable=1&uri=true")


@contextmanager
def _kept_if_whole(engine: Engine) -> Iterator[Engine]:
    """Give an engine's connections back when the store on it cannot be opened."""
    try:
        yield engine
    except BaseException:
        engine.dispose()
        raise


def url_of(where: str) -> str:
    """The database's URL: `where` itself, or that of the one in the folder `where`."""
    return where if "://" in where else f"{SQLITE}{Path(where) / DATABASE}"


def files_of(where: str, files: Path | None) -> Path:
    """Where key and blobs lie: in the folder, or beside a database as told."""
    return files or Path("fedguard-files" if "://" in where else where)


def _signer(path: Path, engine: Engine) -> Signer:
    if path.exists() and path.with_suffix(".pub").exists():
        return Signer(path)
    with reading(engine) as connection:
        if connection.execute(log.select().limit(1)).first() is not None:
            raise MissingKey(str(path), "it is not there, and the log was begun with it")
    return Signer.create(path, "fedguard")
