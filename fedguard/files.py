"""Files that are there whole, and on disk, once their name is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["PARTIAL", "write_whole"]

PARTIAL = ".partial"
"""How the name of a file ends while it is written."""


def write_whole(path: Path, data: bytes, mode: int = 0o666, *, over: bool = True) -> None:
    """Write a file that nobody sees half-written, whenever the process or the power goes.

    Unless `over`, a file that is there stays as it is. Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if over:
            partial.replace(path)
        else:
            with suppress(FileExistsError):
                os.link(partial, path)
    finally:
        with suppress(OSError):  # replaced, or a file system that nobody can write to any more
            partial.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
