"""Run the cells of a sweep that no run before left in the cache."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fedguard.errors import FedguardError
from fedguard_simulations.measuring import in_processes, on_ray, shown
from fedguard_simulations.simulate import simulate
from fedguard_simulations.sweeps.cache import Cache, key_of
from fedguard_simulations.sweeps.grid import Cell, Sweep
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.sources import own_modules

__all__ = ["Found", "measure", "run_sweep"]


class Found(NamedTuple):
    """A cell with its key in the cache, what came of it, and the seconds it took."""

    cell: Cell
    key: str
    result: Result
    seconds: float


def measure(wanted: tuple[Cell, str]) -> tuple[Result, float]:
    """Run one cell in this process. Raises `FedguardError` when its key would be another here."""
    cell, key = wanted
    if key_of(cell) != key:
        raise FedguardError(
            f"{cell}: this process has other code, data or libraries than the one that began the "
            "sweep: every node needs the same"
        )
    began = time.perf_counter()
    try:
        outcome = simulate(cell.scenario, "vectorised", [cell.run])
    except Exception as error:
        raise FedguardError(f"{cell}: {type(error).__name__}: {error}") from error
    result = Result.of(outcome.runs[cell.run], frozenset(outcome.malicious))
    return result, time.perf_counter() - began


def run_sweep(sweep: Sweep, cache: Cache, workers: int = 0, ray: str | None = None) -> list[Found]:
    """Every cell of a sweep in its order, run by processes or by the Ray cluster at `ray`.

    What is done is kept at once: after a kill, the next call does the rest.
    """
    wanted = {cell: key_of(cell) for cell in sweep.cells()}
    done = {key: kept for key in wanted.values() if (kept := cache.get(key))}
    left = {key: (cell, key) for cell, key in wanted.items() if key not in done}
    todo = list(left.values())
    pairs = (
        on_ray(measure, todo, ray, workers, _own_code(todo))
        if ray
        else in_processes(measure, todo, workers)
    )
    for (cell, key), (result, seconds) in shown(pairs, len(done) + len(todo), len(done)):
        cache.put(cell, key, result, seconds)
        done[key] = result, seconds
    return [Found(cell, key, *done[key]) for cell, key in wanted.items()]


def _own_code(todo: Iterable[tuple[Cell, str]]) -> list[Path]:
    """The users' modules that cells need."""
    texts = chain.from_iterable((each.scenario.defence, each.scenario.model) for each, _ in todo)
    return sorted({path for text in set(texts) for path in own_modules(text)})
