"""Many runs at once: a cell a process, with progress, and tables in Markdown."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

__all__ = ["in_processes", "markdown"]

C = TypeVar("C")
R = TypeVar("R")


def in_processes(
    measure: Callable[[C], R], cells: Sequence[C], workers: int, together: int = 1
) -> Iterator[R]:
    """`measure(cell)` for every cell, in order, by `workers` processes (0: one a core).

    `together` neighbours go to one process, which then loads their common data once.
    """
    bar = Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn"), _one_thread)
    with bar, pool:
        done = pool.map(measure, cells, chunksize=together)
        yield from bar.track(done, total=len(cells), description="cells")


def _one_thread() -> None:
    import flwr  # noqa: F401  (it sets its own level when it is imported)
    import torch

    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is text."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
