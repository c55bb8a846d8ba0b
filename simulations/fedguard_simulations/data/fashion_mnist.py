"""Fashion-MNIST as Debian packages it: 70,000 images of clothes in IDX files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import MissingData
from fedguard_clients import Examples
from fedguard_simulations.data.dataset import Dataset, places

__all__ = ["LABELS", "fashion_mnist", "folder"]

LABELS = (
    *("top", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)
HOW = (
    "apt-get install dataset-fashion-mnist, or set FEDGUARD_DATA to a folder that holds "
    "fashion-mnist/train-images-idx3-ubyte.gz and its three companions"
)


def fashion_mnist() -> Dataset:
    """Images (n, 28, 28), split as published."""
    found = folder()
    if found is None:
        raise MissingData("fashion-mnist", HOW)
    parts = [
        Examples(
            _idx(found / f"{part}-images-idx3-ubyte.gz").astype(np.float32) / np.float32(255),
            _idx(found / f"{part}-labels-idx1-ubyte.gz").astype(np.int64),
            classes=len(LABELS),
        )
        for part in ("train", "t10k")
    ]
    return Dataset("fashion-mnist", *parts)


def folder() -> Path | None:
    """The folder with the files, if there is one."""
    for place in places("fashion-mnist"):
        for each in (place, place.parent):
            if (each / "train-images-idx3-ubyte.gz").exists():
                return each
    return None


def _idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of bytes: magic 0 0 8 ndim, sizes as big-endian int32, values."""
    try:
        raw = gzip.decompress(path.read_bytes())
        shape = tuple(np.frombuffer(raw, ">i4", count=raw[3], offset=4).tolist())
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise MissingData("fashion-mnist", f"{path.name} cannot be read ({error}); {HOW}") from None
