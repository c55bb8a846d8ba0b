"""`fedguard db`: the store's tables."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.filesize import decimal

from fedguard.cli.extras import extra
from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Upgrade the store, or show what it holds.")


@app.command("upgrade")
def upgrade_tables(store: Store = HERE) -> None:
    """Bring the tables of a store to what this fedguard knows. Make a back-up first."""
    with extra("a store", "server"):
        from fedguard.state.database import engine_of
        from fedguard.state.opening import url_of
        from fedguard.state.schema import revision_of, upgrade

    engine = engine_of(url_of(store))
    before = revision_of(engine) or "none"
    Console(highlight=False).print(f"schema {before}, now {upgrade(engine)}")


@app.command("info")
def show_sizes(store: Store = HERE, federation: Federation = DEFAULT, files: Files = None) -> None:
    """How many clients, rounds, verdicts, events and log entries there are, and how large it is."""
    from fedguard.state.queries import bytes_of, sizes_of

    console, opened = Console(highlight=False), to_read(store, federation, files)
    for name, count in sizes_of(opened).items():
        console.print(f"{name:10}{count:>12}")
    for name, count in bytes_of(opened).items():
        console.print(f"{name:10}{decimal(count):>12}")
