"""A chain of defences on updates larger than memory is meant to hold, against memory and disk.

    python benchmarks/out_of_core.py --n 50 --d 4e7 --out build/benchmarks/out_of_core.json

Writes n updates of d float32 values to one file, and times both passes of chain(arc, nnm,
trimmed_mean) over it, each with an empty page cache, in a process of its own whose peak resident
memory is told. Beside it: the same passes over the same values in memory, and one plain read of
the file by as many threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, resident

from fedguard import InMemory, Memmap, aggregate, chain
from fedguard.blocks import Blocks
from fedguard.blocks.threads import available_cores
from fedguard.defence import initial_state, survey
from fedguard_strategies import arc, nnm, trimmed_mean

TILE = 1_000_000
READ_AT_ONCE = 2**22
SETTINGS = ("disk", "memory", "read")


def write_updates(path: Path, n: int, d: int) -> None:
    """n updates around a common one; columns repeat, so that they are quickly drawn."""
    wanted = 128 + 4 * n * d
    if path.exists() and path.stat().st_size == wanted:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    common = rng.standard_normal(TILE, np.float32)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    for row in rows:
        tile = common + rng.standard_normal(TILE, np.float32)
        for start in range(0, d, TILE):
            row[start : start + TILE] = tile[: min(TILE, d - start)]
    rows.flush()


def forget(path: Path) -> None:
    """Drop the file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def both_passes(blocks: Blocks, f: int, between: Callable[[], None]) -> dict[str, float]:
    defence = chain(arc(f), nnm(f), trimmed_mean(f))
    state = initial_state(defence)
    aggregate(defence, np.ones((blocks.n, 100), np.float32))  # compiles
    between()
    began = time.perf_counter()
    statistics = survey(defence, blocks, state, [])
    planned = time.perf_counter() - began
    between()
    began = time.perf_counter()
    aggregate(defence, blocks, state, statistics)
    acted = time.perf_counter() - began
    return {"plan_seconds": planned, "act_seconds": acted, "peak_bytes": resident("VmHWM")}


def plain_read(path: Path) -> dict[str, float]:
    """One read of the whole file from an empty page cache, by as many threads as the engine has."""
    size, threads = path.stat().st_size, available_cores()
    share = -(-size // threads)

    def read(at: int) -> None:
        buffer, end = memoryview(bytearray(READ_AT_ONCE)), min(at + share, size)
        with path.open("rb") as file:
            while at < end:
                at += os.preadv(file.fileno(), [buffer[: min(READ_AT_ONCE, end - at)]], at)

    forget(path)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(read, range(0, size, share)))
        return {"seconds": time.perf_counter() - began}


def run(setting: str, path: Path, f: int) -> dict[str, float]:
    if setting == "read":
        return plain_read(path)
    if setting == "memory":
        return both_passes(InMemory(np.load(path)), f, lambda: None)
    return both_passes(Memmap(path), f, lambda: forget(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50, help="number of clients")
    parser.add_argument("--d", type=lambda text: int(float(text)), default=40_000_000)
    parser.add_argument("--f", type=int, default=10, help="assumed Byzantine clients")
    parser.add_argument("--updates", type=Path, default=Path("build/benchmarks/updates.npy"))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/out_of_core.json"))
    parser.add_argument("--only", choices=SETTINGS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(run(given.only, given.updates, given.f)))
        return
    write_updates(given.updates, given.n, given.d)
    found: dict[str, Any] = {"command": "make bench-out-of-core", "n": given.n, "d": given.d}
    found |= {"f": given.f, "bytes": given.updates.stat().st_size, "machine": machine()}
    for setting in SETTINGS:
        command = [sys.executable, __file__, "--only", setting, "--f", str(given.f)]
        done = subprocess.run(
            [*command, "--updates", str(given.updates)], check=True, capture_output=True, text=True
        )
        found[setting] = json.loads(done.stdout)
        print(setting, found[setting], flush=True)
    for name in ("plan_seconds", "act_seconds"):
        possible = max(found["memory"][name], found["read"]["seconds"])
        found[name.replace("seconds", "speed")] = possible / found["disk"][name]
    print(f"of the slower of memory and disk: plan {found['plan_speed']:.0%}, ", end="")
    print(f"act {found['act_speed']:.0%}, peak {found['disk']['peak_bytes'] / 2**20:.0f} MB")
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    given.updates.unlink()


if __name__ == "__main__":
    main()
