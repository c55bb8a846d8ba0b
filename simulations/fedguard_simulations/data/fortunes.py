"""Texts of Debian's fortunes: from which file is it?"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from fedguard.errors import MissingData
from fedguard.types import Array
from fedguard_clients import Examples
from fedguard_simulations.data.dataset import Dataset, places

__all__ = ["LABELS", "features", "fortunes"]

LABELS = (
    *("computers", "definitions", "knghtbrd", "men-women", "people"),
    *("politics", "science", "songs-poems", "work", "zippy"),
)
"""Files of more than 500 texts each that are about something."""
FEATURES = 1024
HOW = (
    "apt-get install fortunes, or set FEDGUARD_DATA to a folder that holds fortunes/computers and "
    "the other files of that package"
)


def fortunes() -> Dataset:
    """Counts of words and letter triples (n, 1024); every fifth text of a file is for testing."""
    found = next((place for place in places("fortunes") if (place / LABELS[0]).exists()), None)
    if found is None:
        raise MissingData("fortunes", HOW)
    seen: set[str] = set()
    files = [_texts(found / name, seen) for name in LABELS]
    x = features([text for file in files for text in file])
    y = np.concatenate([np.full(len(file), i, np.int64) for i, file in enumerate(files)])
    tested = np.concatenate([np.arange(len(file)) % 5 == 4 for file in files])
    train, test = (Examples(x[each], y[each], len(LABELS)) for each in (~tested, tested))
    return Dataset("fortunes", train, test)


def _texts(path: Path, seen: set[str]) -> list[str]:
    """The texts of a file, in its order, without those seen before."""
    try:
        whole = path.read_text(encoding="utf8", errors="replace")
    except OSError as error:
        raise MissingData("fortunes", f"{path} cannot be read ({error}): {HOW}") from error
    stripped = (text.strip() for text in re.split(r"^%$", whole, flags=re.MULTILINE))
    texts = [text for text in dict.fromkeys(stripped) if text and text not in seen]
    seen.update(texts)
    return texts


def features(texts: list[str]) -> Array:
    """Square roots of hashed counts, the largest of a text being 1; shape (n, 1024).

    The hash is a checksum, which is the same on every machine, unlike Python's `hash`.

    >>> features(["a rose is a rose", ""]).max(axis=1)
    array([1., 0.], dtype=float32)
    """
    x = np.zeros((len(texts), FEATURES), np.float32)
    for row, text in zip(x, texts, strict=True):
        plain = " ".join(text.lower().split())
        words = re.findall(r"[a-z']+", plain)
        triples = (plain[i : i + 3] for i in range(len(plain) - 2))
        parts = Counter([*(f"word {word}" for word in words), *triples])
        for part, count in parts.items():
            row[zlib.crc32(part.encode()) % FEATURES] += count
    shares: Array = np.sqrt(x / np.maximum(x.max(axis=1, keepdims=True), 1))
    return shares
