"""The command line: `fedguard --help`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from fedguard import __version__
from fedguard.cli.listing import list_attacks, list_rules, list_scenarios
from fedguard.cli.simulate import simulate_scenario
from fedguard.cli.table import make_table
from fedguard.errors import FedguardError

__all__ = ["app", "main"]

app = typer.Typer(
    name="fedguard",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Robust aggregation for federated learning on Flower: simulate poisoning, with and "
    "without a defence, and see what it costs.",
)
app.command("simulate")(simulate_scenario)
app.command("scenarios")(list_scenarios)
app.command("rules")(list_rules)
app.command("attacks")(list_attacks)
app.command("table")(make_table)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedguard {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options of fedguard itself."""


def main() -> None:
    """Run the command line; errors fedguard raises on purpose become one line and exit code 2."""
    try:
        app()
    except FedguardError as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(2)
