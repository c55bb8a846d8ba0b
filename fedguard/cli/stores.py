"""What every command over a store shares: where it is, and how it is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedguard.cli.extras import extra
from fedguard.errors import ConfigError
from fedguard.identity import name_of_key

if TYPE_CHECKING:
    from fedguard.state.sql import SqlStore

__all__ = [
    "DEFAULT",
    "HERE",
    "Federation",
    "Files",
    "Store",
    "author",
    "client_named",
    "name_in",
    "text_of",
    "to_read",
    "to_upgrade",
    "to_write",
]

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
LONGEST_AUTHOR = 200


def _where(store: str, federation: str, files: Path | None) -> tuple[str, str, Path | None]:
    """What was asked for; beside a fedguard.toml its federation, unless options say another.

    The environment is no option here: the settings read it, too.
    """
    around = os.environ.get("FEDGUARD_STORE"), os.environ.get("FEDGUARD_FEDERATION")
    if store not in (HERE, around[0]) or federation not in (DEFAULT, around[1]):
        return store, federation, files
    with extra("a store", "server"):
        from fedguard.deploy.settings import CONFIG, FILE, read_settings
    if not (CONFIG in os.environ or Path(FILE).exists()):
        return store, federation, files
    settings = read_settings()
    return settings.where, settings.federation, files or settings.own_files


def _known(where: str, name: str) -> str:
    """The federation asked for; if none was, the only one there is."""
    from fedguard.state.opening import federations_in

    there = federations_in(where) if name == DEFAULT else []
    return there[0] if len(there) == 1 else name


def to_read(store: str, federation: str, files: Path | None) -> SqlStore:
    """The store, without its key."""
    with extra("a store", "server"):
        from fedguard.state.opening import open_to_read

        where, name, own = _where(store, federation, files)
        return open_to_read(where, _known(where, name), files=own)


def to_write(store: str, federation: str, files: Path | None) -> SqlStore:
    """The store, which must be there, with its key."""
    with extra("a store", "server"):
        from fedguard.state.opening import files_of, open_store, open_to_read

        where, name, own = _where(store, federation, files)
        name = _known(where, name)
        open_to_read(where, name, files=own).close()  # nothing is made by a mistyped name
        if not (folder := files_of(where, own)).is_dir():
            raise ConfigError(f"{folder} is not there: --files says where key and models lie")
        return open_store(where, name, files=own)


def to_upgrade(store: str) -> tuple[str | None, str]:
    """Upgrade the store, which must be there; its schema before and now."""
    with extra("a store", "server"):
        from fedguard.state.opening import upgrade_store

        return upgrade_store(_where(store, DEFAULT, None)[0])


def client_named(opened: SqlStore, given: str) -> str:
    """The client whose name begins with what was given, or whose public key the file holds."""
    from fedguard.state.queries import name_like

    return name_like(opened, name_in(Path(given)) if Path(given).is_file() else given)


def name_in(path: Path) -> str:
    """The client's name that follows from the public key in a file."""
    with extra("reading a key", "server"):
        from fedguard.deploy.certificates import public_key_of
    try:
        return name_of_key(public_key_of(path))
    except ValueError:
        raise ConfigError(f"{path} is no public key: the file that ends in .pub is one") from None


def author() -> str:
    """Who gives an order at this terminal."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or ""
    return text_of(name)[:LONGEST_AUTHOR]


def text_of(given: str) -> str:
    """What was typed, with a mark for each byte that is no text."""
    return given.encode(errors="replace").decode()
