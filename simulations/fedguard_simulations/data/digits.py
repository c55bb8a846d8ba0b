"""The 1,797 images of digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from fedguard_clients import Examples
from fedguard_simulations.data.dataset import Dataset

__all__ = ["LABELS", "digits"]

LABELS = tuple("0123456789")


def digits() -> Dataset:
    """Images (n, 8, 8), 1,400 of them to train on."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = (found.images / 16.0).astype(np.float32)
    y = found.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1400], order[1400:]
    return Dataset("digits", Examples(x[train], y[train], 10), Examples(x[test], y[test], 10))
