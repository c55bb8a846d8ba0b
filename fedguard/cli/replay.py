"""`fedguard replay`: a committed round run again from its kept inputs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read
from fedguard.errors import ConfigError

__all__ = ["replay_round"]


def replay_round(
    server_round: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="Which round.")],
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Run a round again from its inputs and compare report, state and model with what is stored.

    The model is the one before, moved by what the round comes to; one that was cleansed then is
    not compared. Inputs are kept for as many rounds as the store's retention says. Exit code 1 if
    something differs.
    """
    from fedguard.flower.succession import follows
    from fedguard.server import replayed
    from fedguard.state.blobs import sha256_of
    from fedguard.state.models import manifest_of, read_model
    from fedguard.state.queries import told_of
    from fedguard_strategies.expressions import OPTIMISERS, RULES, SCORERS

    opened, console = to_read(store, federation, files), Console(highlight=False)
    told, inputs = told_of(opened, server_round)
    if inputs is None:
        raise ConfigError(
            f"the inputs of round {server_round} are not kept: to keep those of the last N rounds "
            "set inputs = N under [keep] in fedguard.toml, or open the store with "
            "retention=Retention(inputs=N)"
        )
    again = replayed(
        opened.blobs.get(inputs), lambda given: given.policy(RULES, SCORERS, OPTIMISERS)
    )
    same = {
        "report": again.report.to_bytes().decode() == told["report"],
        "state": sha256_of(again.state.to_bytes()) == told["state"],
    }
    if told["model"] and again.vector is not None and again.before is not None:
        if manifest_of(opened.blobs, told["model"]).get("cleansed"):
            console.print(f"[yellow]not compared[/]  model of round {server_round}: cleansed")
        else:
            model = read_model(opened.blobs, told["model"])
            same["model"] = follows(model, again.before, again.vector)
    for what, holds in same.items():
        mark = "[green]same[/]" if holds else "[bold red]differs[/]"
        console.print(f"{mark}  {what} of round {server_round}")
    if not all(same.values()):
        raise typer.Exit(1)
