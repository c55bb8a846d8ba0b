"""`fedguard db`: the store's tables."""

from __future__ import annotations

import typer
from rich.console import Console

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
    """How many clients, rounds, verdicts, events and log entries there are."""
    from fedguard.state.queries import sizes_of

    console = Console(highlight=False)
    for name, count in sizes_of(to_read(store, federation, files)).items():
        console.print(f"{name:10}{count:>10}")
