"""The command line: `fedguard --help`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from fedguard import __version__
from fedguard.cli import audit, db, monitoring, operator
from fedguard.cli.clients import list_clients, list_rounds, show_client
from fedguard.cli.detection import make_detection
from fedguard.cli.events import list_events, ship_events
from fedguard.cli.federate import check_federation, init, probe, renew, resume, run, serve, up
from fedguard.cli.gate import run_gate
from fedguard.cli.listing import list_attacks, list_rules, list_scenarios
from fedguard.cli.model import write_model
from fedguard.cli.replay import replay_round
from fedguard.cli.simulate import simulate_scenario
from fedguard.cli.sweep import run_grid
from fedguard.errors import FedguardError

__all__ = ["app", "main"]

app = typer.Typer(
    name="fedguard",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they may hold passwords and keys
    help="Robust aggregation for federated learning on Flower: run a federation, simulate "
    "poisoning, see who hurts the model, and decide about them.",
)
SIMULATION, FEDERATION, STORE = "Simulate", "Run a federation", "A federation's store"
MONITORING = "Monitor"
app.command("simulate", rich_help_panel=SIMULATION)(simulate_scenario)
app.command("scenarios", rich_help_panel=SIMULATION)(list_scenarios)
app.command("rules", rich_help_panel=SIMULATION)(list_rules)
app.command("attacks", rich_help_panel=SIMULATION)(list_attacks)
app.command("sweep", rich_help_panel=SIMULATION)(run_grid)
app.command("gate", rich_help_panel=SIMULATION)(run_gate)
app.command("detection", rich_help_panel=SIMULATION)(make_detection)
app.command("init", rich_help_panel=FEDERATION)(init)
app.command("up", rich_help_panel=FEDERATION)(up)
app.command("run", rich_help_panel=FEDERATION)(run)
app.command("resume", rich_help_panel=FEDERATION)(resume)
app.command("serve", rich_help_panel=FEDERATION)(serve)
app.command("renew", rich_help_panel=FEDERATION)(renew)
app.command("probe", rich_help_panel=FEDERATION)(probe)
app.command("doctor", rich_help_panel=FEDERATION)(check_federation)
app.command("clients", rich_help_panel=STORE)(list_clients)
app.command("client", rich_help_panel=STORE)(show_client)
app.command("rounds", rich_help_panel=STORE)(list_rounds)
app.command("events", rich_help_panel=STORE)(list_events)
for name, (command, text) in operator.commands().items():
    app.command(name, help=text, rich_help_panel=STORE)(command)
app.command("model", rich_help_panel=STORE)(write_model)
app.command("replay", rich_help_panel=STORE)(replay_round)
app.command("ship", rich_help_panel=MONITORING)(ship_events)
app.add_typer(monitoring.grafana, name="grafana", rich_help_panel=MONITORING)
app.add_typer(monitoring.prometheus, name="prometheus", rich_help_panel=MONITORING)
app.add_typer(audit.app, name="audit", rich_help_panel=STORE)
app.add_typer(db.app, name="db", rich_help_panel=STORE)


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
    """Run the command line; errors fedguard raises on purpose become one line and exit code 2.

    So does a file or folder that cannot be had.
    """
    try:
        app()
    except FedguardError as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}")


def _fail(told: str) -> None:
    Console(stderr=True, emoji=False).print(
        f"[bold red]error:[/] {escape(told)}", highlight=False, soft_wrap=True
    )
    sys.exit(2)
