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
    """Run a round again from its inputs and compare report and state with what was committed.

    Inputs are kept for as many rounds as the store's retention says. Exit code 1 if they differ.
    """
    from fedguard.server import replayed
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
    _, report, state = replayed(
        opened.blobs.get(inputs), lambda given: given.policy(RULES, SCORERS, OPTIMISERS)
    )
    same = {"report": report.decode() == told["report"], "state": _digest(state) == told["state"]}
    for what, holds in same.items():
        mark = "[green]same[/]" if holds else "[bold red]differs[/]"
        console.print(f"{mark}  {what} of round {server_round}")
    if not all(same.values()):
        raise typer.Exit(1)


def _digest(data: bytes) -> str:
    from fedguard.state.blobs import sha256_of

    return sha256_of(data)
