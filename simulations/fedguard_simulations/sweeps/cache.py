"""Results on disk by what determines them, so that a cell is run once."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedguard.canonical import from_json, to_json
from fedguard.errors import ConfigError
from fedguard.files import write_whole
from fedguard_simulations.data import resolve_dataset
from fedguard_simulations.sweeps.grid import NONE, Cell
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.sources import (
    code_digest,
    data_digest,
    environment,
    own_digest,
)

__all__ = ["Cache", "content_of", "key_of"]

TOLD_ONLY = ("id", "summary", "expect")
"""Keys of a scenario that change no result."""
UNUSED = {
    "oracle": ("defence", "reputation"),
    "clean": ("defence", "reputation"),
    "peace": (),
    "defended": (),
}
"""By run, the keys that it does not look at, besides the attack where there is none."""


def content_of(cell: Cell) -> dict[str, Any]:
    """Everything that determines a cell's result."""
    scenario = cell.scenario.to_dict()
    unused = ("attack",) if cell.attack == NONE else ()
    for name in (*TOLD_ONLY, *UNUSED[cell.run], *unused):
        del scenario[name]
    dataset = resolve_dataset(cell.scenario.dataset)
    own = {name: _own_digest(scenario[name]) for name in ("defence", "model") if name in scenario}
    return {
        "run": cell.run,
        "scenario": scenario | {"dataset": dataset},
        "data": data_digest(dataset),
        "code": code_digest(),
        "own": {name: digest for name, digest in own.items() if digest},
        "environment": environment(),
    }


_own_digest = lru_cache(maxsize=256)(own_digest)


def key_of(cell: Cell) -> str:
    """The SHA-256 of a cell's content, in hexadecimal."""
    return hashlib.sha256(to_json(content_of(cell))).hexdigest()


class Cache:
    """A folder with a file for each result, its seconds beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"results cannot be kept in {folder}: {error}") from None

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> tuple[Result, float] | None:
        """A result and the seconds it took; None where there is none, or it is damaged."""
        path = self.path(key)
        try:
            plain = from_json(path.read_bytes())
            seconds = float(path.with_suffix(".seconds").read_text(encoding="ascii"))
            return Result.from_dict(plain["result"]), seconds
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, cell: Cell, key: str, result: Result, seconds: float) -> None:
        """Keep a result; with it there, its seconds are there, too."""
        path = self.path(key)
        content = {"cell": content_of(cell), "result": dataclasses.asdict(result)}
        write_whole(path.with_suffix(".seconds"), f"{seconds:.3f}\n".encode())
        write_whole(path, to_json(content) + b"\n")
