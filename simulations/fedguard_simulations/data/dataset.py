"""What a data set is, and where one may lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from fedguard_clients import Examples

__all__ = ["DEBIAN_PATHS", "Dataset", "places"]

DEBIAN_PATHS = (Path("/usr/share/datasets"), Path("/usr/share/games"))


class Dataset(NamedTuple):
    """Examples to train on and to test with; x of any shape (n, ...), float32 in [0, 1]."""

    name: str
    train: Examples
    test: Examples


def places(name: str) -> list[Path]:
    """Where what is called `name` may lie, FEDGUARD_DATA first."""
    given = os.environ.get("FEDGUARD_DATA")
    return [root / name for root in (*([Path(given)] if given else []), *DEBIAN_PATHS)]
