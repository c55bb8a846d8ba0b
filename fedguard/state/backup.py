"""A whole copy of a store, made while a server may be committing to it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fedguard.errors import ConfigError, StoreUnavailable
from fedguard.state.blobs import Blobs
from fedguard.state.database import SQLITE
from fedguard.state.sql import SqlStore

__all__ = ["back_up"]

KEYS = ("audit.key", "audit.pub")


def back_up(store: SqlStore, folder: Path) -> list[str]:
    """Copy a store into a new folder, which `open_store` opens; what was copied.

    The database first, then the files: models are written before the commit that names them. Of
    a database server only the files are copied. Raises `ConfigError` if the folder is not empty,
    `StoreUnavailable` if it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: a back-up wants a folder of its own")
    files, copied = store.blobs.folder.parent, list[str]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if store.engine.dialect.name == SQLITE:
            _copy_database(store, folder / "store.db")
            copied.append("store.db")
        if store.blobs.folder.exists():
            _copy_blobs(store, folder / store.blobs.folder.name)
            copied.append(store.blobs.folder.name)
        for name in KEYS:
            if (files / name).exists():
                shutil.copy2(files / name, folder / name)  # with its mode
                copied.append(name)
    except (OSError, sqlite3.Error, shutil.Error) as error:
        raise StoreUnavailable(str(folder), str(error)) from error
    return copied


def _copy_database(store: SqlStore, to: Path) -> None:
    """SQLite's own online copy: one consistent state, whoever writes meanwhile."""
    with closing(store.engine.raw_connection()) as source, closing(sqlite3.connect(to)) as copy:
        driver: Any = source.driver_connection
        driver.backup(copy)


def _copy_blobs(store: SqlStore, to: Path) -> None:
    """Every file that is whole; what retention drops meanwhile no round names any more."""
    copies = Blobs(to)
    for name in store.blobs.names():
        copies.path(name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copy2(store.blobs.path(name), copies.path(name))
