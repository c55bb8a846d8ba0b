"""`fedguard table`: every attack against every defence, with the worst case of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedguard.cli.extras import extra

__all__ = ["make_table"]


def make_table(
    out: Annotated[Path, typer.Option(help="Folder for the page and its data.")] = Path("docs"),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to train.")] = 40,
    dataset: Annotated[str, typer.Option(help="fashion-mnist, mnist or digits.")] = "fashion-mnist",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
) -> None:
    """Measure attacks x defences at Dirichlet 0.3 and 0.1 and write the page with the tables."""
    with extra("the table"):
        from fedguard_simulations.table import write_table

    write_table(out, seeds=seeds, rounds=rounds, dataset=dataset, workers=workers)
