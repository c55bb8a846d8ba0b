"""What every command over a store shares: where it is, and how it is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedguard.cli.extras import extra

if TYPE_CHECKING:
    from fedguard.state.sql import SqlStore

__all__ = ["DEFAULT", "HERE", "Federation", "Files", "Store", "author", "to_read", "to_write"]

Store = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        envvar="FEDGUARD_STORE",
        help="The store's folder, or a database URL (postgresql+psycopg://…).",
    ),
]
Federation = Annotated[
    str, typer.Option(envvar="FEDGUARD_FEDERATION", help="Which federation of the store.")
]
Files = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDGUARD_FILES", help="Folder of key and models, with a database URL as store."
    ),
]
HERE, DEFAULT = "fedguard-store", "default"


def to_read(store: str, federation: str, files: Path | None) -> SqlStore:
    """The store, without its key."""
    with extra("a store", "server"):
        from fedguard.state.opening import open_to_read

        return open_to_read(store, federation, files=files)


def to_write(store: str, federation: str, files: Path | None) -> SqlStore:
    """The store, which must be there, with its key."""
    with extra("a store", "server"):
        from fedguard.state.opening import open_store, open_to_read

        open_to_read(store, federation, files=files)  # nothing is made by a mistyped name
        return open_store(store, federation, files=files)


def author() -> str:
    """Who gives an order at this terminal."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or ""
