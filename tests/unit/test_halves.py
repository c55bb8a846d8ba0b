"""Half precision is numpy's to the bit, and memory that was given back is kept."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from fedguard.blocks.dtypes import widen
from fedguard.halves import narrowed, widened

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


def test_every_half_is_widened() -> None:
    assert widened(EVERY).tobytes() == EVERY.astype(np.float32).tobytes()
    rows = list(EVERY.reshape(64, -1))
    cut, into = [row[3:900] for row in rows], np.empty((64, 897), np.float32)
    widen(cut, into)
    assert into.tobytes() == np.stack(cut).astype(np.float32).tobytes()
    widen([row[::-1] for row in rows], turned := np.empty((64, 1024), np.float32))
    assert turned[:, ::-1].tobytes() == widened(EVERY).tobytes()


def awkward(dtype: type) -> NDArray[np.floating]:
    """Halves, what lies midway between two, their neighbours, and what is too large or small."""
    whole = np.unique(EVERY[np.isfinite(EVERY)].astype(np.float64))
    midway = (whole[1:] + whole[:-1]) / 2
    ends = [0.0, -0.0, 65519.99, 65520.0, 65536.0, 1e30, 1e-30, np.inf, -np.inf]
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=50_000) * 10.0 ** rng.uniform(-12, 8, 50_000)
    values = np.concatenate([whole, midway, ends, drawn]).astype(dtype)
    around = [np.nextafter(values, dtype(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([values, *around])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_rounded_once_to_the_nearest_half(dtype: type) -> None:
    values = awkward(dtype)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    assert narrowed(values).tobytes() == expected.tobytes()
    assert np.isnan(narrowed(np.array([np.nan, -np.nan], dtype))).all()
    square = values[:10_000].reshape(100, 100)
    assert (narrowed(square.T) == narrowed(square).T).all()


FAULTS = """
import resource, sys
from fedguard.allocator import keep_memory
kept = keep_memory() if sys.argv[1:] else None
def use():
    for _ in range(3):
        taken = [bytearray(8 << 20) for _ in range(4)]
        del taken
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str, **environment: str) -> tuple[str, int]:
    """What `keep_memory` said, and how many pages the system gave the second time."""
    program = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    kept, count = done.stdout.split()
    return kept, int(count)


def test_memory_given_back_is_kept_unless_the_environment_has_its_say() -> None:
    kept, count = faults("keep")
    if kept != "True":
        pytest.skip("this is not glibc's allocator")
    usual = faults()[1]
    assert count < usual / 10
    assert faults("keep", MALLOC_ARENA_MAX="4")[0] == "False"
    assert faults("keep", GLIBC_TUNABLES="glibc.malloc.check=0")[0] == "False"
