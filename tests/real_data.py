"""Data sets that may not be on this machine."""

from __future__ import annotations

import pytest

from fedguard.errors import MissingData
from fedguard_simulations.data import Dataset, load_dataset

__all__ = ["load_or_skip"]


def load_or_skip(name: str) -> Dataset:
    """The data set, or the test is skipped with what to install."""
    try:
        return load_dataset(name)
    except MissingData as error:
        pytest.skip(str(error))
