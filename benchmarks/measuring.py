"""Seconds, memory, and on what machine; memory is read from Linux's /proc."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["available", "machine", "peak_of", "resident", "seconds_of"]


def resident(kind: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(kind))
    return int(line.split()[1]) * 1024


def available() -> int:
    with open("/proc/meminfo", encoding="ascii") as info:
        line = next(line for line in info if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def peak_of(call: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of one call, and by how much memory in use rose meanwhile, in bytes.

    What a library keeps from an earlier call is given back first, as far as malloc can.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # peak = now
    before = resident("VmRSS")
    seconds = seconds_of(call)
    return seconds, max(resident("VmHWM") - before, 0)


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of one call, once the threads of whoever ran before have stopped spinning."""
    time.sleep(0.02)
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def machine() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="ascii") as info:
        model = next((line.split(":")[1].strip() for line in info if "model name" in line), "?")
    packages = ("numpy", "torch", "numba", "byzfl", "byzpy", "flwr")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a peer in a folder of its own, not on the path here
        return "-"
