"""`fedguard db`: the store's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal

from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read, to_upgrade

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Upgrade a store, copy it, show what it holds.")


@app.command("upgrade")
def upgrade_tables(store: Store = HERE) -> None:
    """Bring the tables of a store to what this fedguard knows. Make a back-up first."""
    before, after = to_upgrade(store)
    Console(highlight=False).print(f"schema {before or 'none'}, now {after}")


@app.command("backup")
def copy_store(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Copy a store, also while a server commits to it: database, models and keys, mode and all.

    The copy is a store. Of a database server, only its files are copied: use its own tool first.
    """
    from fedguard.state.backup import back_up

    with to_read(store, federation, files) as opened:
        copied = back_up(opened, folder)
    console = Console(highlight=False)
    console.print(f"{folder}: {', '.join(copied)}", soft_wrap=True)
    if "store.db" not in copied:
        console.print("[yellow]the database is not in it[/]: pg_dump before, and keep both")


@app.command("info")
def show_sizes(store: Store = HERE, federation: Federation = DEFAULT, files: Files = None) -> None:
    """How many clients, rounds, verdicts, events and log entries there are, and how large it is."""
    from fedguard.state.queries import bytes_of, sizes_of

    console, opened = Console(highlight=False), to_read(store, federation, files)
    for name, count in sizes_of(opened).items():
        console.print(f"{name:10}{count:>12}")
    for name, count in bytes_of(opened).items():
        console.print(f"{name:10}{decimal(count):>12}")
