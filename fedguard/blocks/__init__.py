"""Execution backends: a matrix of updates, met one block of columns at a time, always in order.

`fedguard.blocks.ray_shards` and `fedguard.blocks.torch_tensors` are imported by who uses them.
"""

from __future__ import annotations

from fedguard.blocks.debug import Debug
from fedguard.blocks.dtypes import to_numpy
from fedguard.blocks.in_memory import InMemory
from fedguard.blocks.memmap import Memmap
from fedguard.blocks.of_rows import blocks_of
from fedguard.blocks.protocol import Blocks, BlockSum, OnBlock, Terms, canonical_columns
from fedguard.blocks.threads import one_blas_thread

__all__ = [
    "BlockSum",
    "Blocks",
    "Debug",
    "InMemory",
    "Memmap",
    "OnBlock",
    "Terms",
    "blocks_of",
    "canonical_columns",
    "one_blas_thread",
    "to_numpy",
]
