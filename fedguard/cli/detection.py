"""`fedguard detection`: who is found, how soon, and how many honest clients are put away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedguard.cli.extras import extra

__all__ = ["make_detection"]


def make_detection(
    out: Annotated[Path, typer.Option(help="Folder for the page and its data.")] = Path("docs"),
    datasets: Annotated[str, typer.Option(help="By comma: fashion-mnist, mnist, digits.")] = (
        "fashion-mnist,mnist"
    ),
    clients: Annotated[str, typer.Option(help="Sizes of federations, by comma.")] = "20,50",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to train.")] = 100,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
) -> None:
    """Measure detection under every attack at three degrees of skew, and write the page.

    Cells are kept in build/ as they are done; a second run by the same code goes on from there.
    """
    with extra("the table"):
        from fedguard_simulations.detection import write_detection

    sizes = [int(each) for each in clients.split(",")]
    write_detection(out, datasets.split(","), sizes, seeds, rounds, workers)
