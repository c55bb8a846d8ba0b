"""Real data found on this machine, a file for each source; none of them ships with fedguard."""

from __future__ import annotations

from functools import cache

from fedguard.errors import UnknownName
from fedguard_simulations.data import digits, fashion_mnist, fortunes, mnist, satimage
from fedguard_simulations.data.dataset import Dataset

__all__ = ["DATASETS", "LABELS", "Dataset", "load_dataset", "resolve_dataset"]

SOURCES = {
    "fashion-mnist": fashion_mnist.fashion_mnist,
    "digits": digits.digits,
    "mnist": mnist.mnist,
    "satimage": satimage.satimage,
    "fortunes": fortunes.fortunes,
}
DATASETS = tuple(SOURCES)
LABELS = {
    "fashion-mnist": fashion_mnist.LABELS,
    "digits": digits.LABELS,
    "mnist": mnist.LABELS,
    "satimage": satimage.LABELS,
    "fortunes": fortunes.LABELS,
}


def resolve_dataset(name: str) -> str:
    """The data set that will be used: "auto" is Fashion-MNIST where it is found, else digits."""
    if name == "auto":
        return "fashion-mnist" if fashion_mnist.folder() else "digits"
    if name not in DATASETS:
        raise UnknownName("data set", name, [*DATASETS, "auto"])
    return name


@cache
def load_dataset(name: str) -> Dataset:
    """Read a data set, once a process. Raises `MissingData` with what to install."""
    return SOURCES[resolve_dataset(name)]()
