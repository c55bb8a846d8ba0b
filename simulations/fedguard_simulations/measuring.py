"""Many runs at once: a cell a process, or a task of a Ray cluster, with progress."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from shutil import copy2, copytree
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from threadpoolctl import threadpool_limits

from fedguard.blocks.threads import available_cores
from fedguard.errors import ConfigError, FedguardError

__all__ = ["in_processes", "markdown", "on_ray", "shown"]

TELL_EVERY = 30.0
"""Seconds between lines of progress where no terminal is."""

C = TypeVar("C")
R = TypeVar("R")


def in_processes(
    measure: Callable[[C], R], cells: Sequence[C], workers: int
) -> Iterator[tuple[C, R]]:
    """Every cell with `measure(cell)`, as it is done, by `workers` processes (0: one a core).

    Cells are begun in their order, so neighbours should have data in common. The processes end
    with this one, however it ends.
    """
    if not cells:
        return
    count = min(workers or available_cores(), len(cells))
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin)
    try:
        waiting = {pool.submit(measure, cell): cell for cell in cells}
        for done in as_completed(waiting):
            yield waiting.pop(done), done.result()
    except BrokenProcessPool:
        raise FedguardError(
            "a worker process died, most often for want of memory; what was done is kept: run it "
            "again, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def on_ray(
    measure: Callable[[C], R],
    cells: Sequence[C],
    address: str,
    workers: int = 0,
    code: Sequence[Path] = (),
) -> Iterator[tuple[C, R]]:
    """The same by the Ray cluster at `address`, `workers` at a time (0: as many as it can).

    `code` are modules and packages that its nodes do not have.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    if not ray.is_initialized():
        _reach(address)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns
        with TemporaryDirectory() as together:  # as here: what is imported lies beside
            for path in code:
                copy = copytree if path.is_dir() else copy2
                copy(path, Path(together, path.name))
            try:
                ray.init(
                    address=address,
                    runtime_env={"working_dir": together} if code else {},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError) as error:
                raise ConfigError(f"no Ray cluster answers at {address}: {error}") from error
    task: Any = ray.remote(_measured).options(num_cpus=1)
    left = iter(cells)
    waiting: dict[ray.ObjectRef[R], C] = {}
    while True:
        while len(waiting) < (workers or len(cells)) and (cell := next(left, None)) is not None:
            waiting[task.remote(measure, cell)] = cell
        if not waiting:
            return
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        try:
            yield waiting.pop(done), ray.get(done)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise FedguardError(
                f"the cluster lost a cell ({type(error).__name__}: {error}); what was done is "
                "kept: run it again"
            ) from None


def _reach(address: str) -> None:
    """Raise `ConfigError` where nobody listens: Ray itself waits for minutes, then exits."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConfigError(f"no Ray cluster answers at {address}: {error}") from error


def shown(pairs: Iterable[R], total: int, done: int = 0) -> Iterator[R]:
    """Show a bar over `total` cells, of which `done` are there, with the time that is left.

    Where no terminal is, a line every half a minute.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        yield from _told(pairs, total, done, console)
        return
    bar = Progress(
        "cells",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        "left",
        TimeRemainingColumn(),
    )
    task = bar.add_task("", total=total, completed=done)
    with bar:
        for pair in pairs:
            bar.advance(task)
            yield pair


def _told(pairs: Iterable[R], total: int, done: int, console: Console) -> Iterator[R]:
    began = told = time.monotonic()
    for count, pair in enumerate(pairs, 1):
        now = time.monotonic()
        left = total - done - count
        if now - told >= TELL_EVERY or not left:
            minutes = (now - began) / count * left / 60
            console.print(f"{done + count} of {total} cells, some {minutes:.0f} min left")
            told = now
        yield pair


def _begin() -> None:
    """Set up a worker: alone on its core, gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow, daemon=True).start()
    _one_thread()


def _follow() -> None:
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _one_thread() -> None:
    import flwr  # noqa: F401  (it sets its own level when it is imported)
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)


def _measured(measure: Callable[[C], R], cell: C) -> R:
    _one_thread()
    return measure(cell)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is text."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
