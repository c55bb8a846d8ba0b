"""What a scrape of a large federation costs, beside the rounds of it.

    python benchmarks/scrape.py --out build/benchmarks/scrape.json

A store of many clients is made, then scraped in a process of its own, as `fedguard serve` does,
while rounds are committed to it and while nothing happens.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measuring import machine, resident

from fedguard.reputation import Reputation
from fedguard.state import State
from fedguard.state.opening import open_store
from fedguard.telemetry.collector import StoreCollector
from fedguard.telemetry.exposition import Metrics
from fedguard.telemetry.families import Clients
from fedguard.types import RoundReport, Standing, Verdict

CLIENTS, ROUNDS, SCRAPES = 10_000, 20, 20
CAPS = (500, 10_000)
"""Clients shown: as usual, and all of them."""
FAMILIES = ("direction", "extent", "magnitude", "neighbourhood", "response", "sybil", "temporal")
EVERY = 0.5
"""Seconds between scrapes of a busy store, thirty times as often as usual."""


def a_round(number: int) -> tuple[State, RoundReport]:
    """A round of all clients, and the state after it; their scores are drawn."""
    rng = np.random.default_rng(number)
    scores = np.round(rng.standard_normal((CLIENTS, len(FAMILIES))), 4).tolist()
    evidence = np.round(rng.random((CLIENTS, len(FAMILIES))), 4).tolist()
    known = {
        f"client-{row:05}": Reputation(Standing.TRUSTED, 1, number, number, 0, float(number), 0.0)
        for row in range(CLIENTS)
    }
    verdicts = [
        Verdict(
            name,
            True,
            scores=dict(zip(FAMILIES, scores[row], strict=True)),
            weight=1.0 / CLIENTS,
            standing=Standing.TRUSTED,
            reputation=each.value,
            evidence=dict(zip(FAMILIES, evidence[row], strict=True)),
            norm=1.0,
        )
        for row, (name, each) in enumerate(known.items())
    ]
    report = RoundReport(number, "mean", tuple(verdicts), norm=1.0)
    return State(number, reputations=known), report


def scraped(folder: str, cap: int, busy: Any, told: Any) -> None:
    """Scrape until told to end, or so many times; the seconds of each and the memory at the end."""
    metrics = Metrics(StoreCollector(folder, "default", clients=Clients(cap)))
    seconds, size = [], 0
    while len(seconds) < SCRAPES or busy.is_set():
        began = time.perf_counter()
        size = len(metrics.text()[0])
        seconds.append(time.perf_counter() - began)
        if busy.is_set():
            time.sleep(EVERY)
    told.send((seconds, size, resident("VmRSS"), resident("VmHWM")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/scrape.json"))
    given = parser.parse_args()
    context, cells = multiprocessing.get_context("spawn"), []
    with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        number = 0

        def commit(rounds: int) -> float:
            nonlocal number
            seconds = []
            for _ in range(rounds):
                state, report = a_round(number + 1)
                began = time.perf_counter()
                store.commit(state, report, number)
                seconds.append(time.perf_counter() - began)
                number += 1
            return median(seconds)

        alone = commit(ROUNDS)
        for cap in CAPS:
            for also in (False, True):
                told, own = context.Pipe(duplex=False)
                busy = context.Event()
                if also:
                    busy.set()
                process = context.Process(target=scraped, args=(folder, cap, busy, own))
                process.start()
                committed = commit(ROUNDS) if also else None
                busy.clear()
                seconds, size, kept, peak = told.recv()
                process.join()
                cells.append(
                    {
                        "shown": cap,
                        "while_committing": also,
                        "first_s": round(seconds[0], 3),
                        "median_s": round(median(seconds), 3),
                        "slowest_s": round(max(seconds[1:]), 3),
                        "megabytes": round(size / 1e6, 2),
                        "memory_mb": round(kept / 2**20),
                        "peak_mb": round(peak / 2**20),
                        "commit_s": round(committed or alone, 3),
                    }
                )
                print(json.dumps(cells[-1]), flush=True)
    command = " ".join(["python", *sys.argv])
    whole = {"command": command, "machine": machine(), "clients": CLIENTS, "commit_alone_s": alone}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(whole | {"cells": cells}, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
