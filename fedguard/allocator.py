"""What this process does with memory that was given back: it keeps it for the next round."""

from __future__ import annotations

import ctypes
import os
from functools import cache

__all__ = ["keep_memory"]

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Names of glibc's, in malloc.h."""
LARGEST, KEPT = 1 << 25, 1 << 27
"""Bytes: what is larger goes back at once, as glibc will have it, and so does more than is kept."""


@cache
def keep_memory() -> bool:
    """Have glibc keep up to 128 MiB that is free, from the first call on; whether it does.

    Left to itself it gives megabytes back to the system with every array that goes, and a round of
    a thousand clients waits for ten thousand pages of zeros, a tenth of its time. Whoever sets an
    allocator by the environment, as `MALLOC_TRIM_THRESHOLD_` or `GLIBC_TUNABLES`, has the say.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):  # another system's names
        return False
    set_to = getattr(ctypes.CDLL(None), "mallopt", None) if glibc else None
    return bool(set_to and set_to(MMAP_THRESHOLD, LARGEST) and set_to(TRIM_THRESHOLD, KEPT))
