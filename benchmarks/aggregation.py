"""Time and peak memory of every rule against ByzFL, ByzPy, Flower's kernels and the machine.

    python benchmarks/aggregation.py --n 10,50 --d 1e5,1e6 --out build/benchmarks/aggregation.json

Every library runs in this process on the same rows, in turns; a figure is the least of its turns.
Cells are written as they are done and a second run goes on where the first ended. A call that
would take longer than --limit seconds, or more memory than there is, is not made: the smaller
cells say what it would need, and the reason is written in its place.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measuring import available, machine, peak_of, seconds_of
from peers import OURS, Cohort, Contest, cohort, contests, references

FEW_SECONDS = 1.0
"""What all turns of one call may take together; one turn may take up to the limit."""
MOST_TURNS = 7
MOST_SUBSETS = 5000
WARMED = 100_000
"""The size at which everything is called once before it is timed."""


class TooLong(Exception):
    """A call did not end within the limit."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def f_of(contest: Contest | None, n: int) -> int:
    """A fifth of the clients; for a search over subsets as many as leave it 5000 of them."""
    f = n // 5
    if contest and contest.rule == "Bulyan":
        return min(f, (n - 3) // 4)
    while contest and contest.subsets and math.comb(n, f) > MOST_SUBSETS:
        f -= 1
    return f


class Results:
    """Cells by rule, size and library, in a file that is never half written."""

    def __init__(self, path: Path, limit: float) -> None:
        self.path, self.limit = path, limit
        self.cells: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.cells = json.loads(path.read_text(encoding="utf8"))["cells"]

    def key(self, rule: str, n: int, d: int, who: str) -> str:
        return f"{rule} | n={n} | d={d} | {who}"

    def get(self, rule: str, n: int, d: int, who: str) -> dict[str, Any] | None:
        return self.cells.get(self.key(rule, n, d, who))

    def put(self, rule: str, n: int, d: int, who: str, **values: Any) -> None:
        cell = {"rule": rule, "n": n, "d": d, "who": who, **values}
        self.cells[self.key(rule, n, d, who)] = cell
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        told: dict[str, Any] = {"command": "make bench-aggregation", "limit": self.limit}
        told |= {"machine": machine(), "cells": self.cells}
        partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf8")
        partial.replace(self.path)

    def expected(self, rule: str, n: int, d: int, who: str) -> tuple[float, float]:
        """Seconds and bytes by the nearest smaller cell: linear in d, in n as n^2 at most."""
        for cell in sorted(self.cells.values(), key=lambda cell: -cell["n"] * cell["d"]):
            same = cell["rule"] == rule and cell["who"] == who
            if same and cell["n"] <= n and cell["d"] <= d and "seconds" in cell:
                grown = d / cell["d"] * (n / cell["n"]) ** 2
                return cell["seconds"] * grown, cell["bytes"] * grown
            if same and cell["n"] <= n and cell["d"] <= d and "skipped" in cell:
                return math.inf, math.inf
        return 0.0, 0.0


Makers = dict[str, Callable[[Cohort], Callable[[], Any]]]


def measure(results: Results, rule: str, makers: Makers, made: Cohort, limit: float) -> None:
    """All libraries' seconds and bytes for one rule at one size, taken in turns."""
    n, d = made.rows.shape
    calls = {}
    for who in affordable(results, rule, list(makers), made, limit):
        call = makers[who](made)
        try:
            with time_limit(20 * limit if who == OURS else 2 * limit):
                if d == WARMED or who == OURS:
                    call()  # compiles, loads
                calls[who] = (call, *peak_of(call))
        except (TooLong, MemoryError, RuntimeError, ValueError) as error:
            if who == OURS:
                raise
            late = f"did not end within {2 * limit:g} s"
            told = late if isinstance(error, TooLong) else f"failed: {error}"
            results.put(rule, n, d, who, skipped=told[:200])
    times = {who: [first] for who, (_, first, _) in calls.items()}
    for _ in range(MOST_TURNS):
        for who, (call, _, _) in calls.items():
            if sum(times[who]) < FEW_SECONDS:
                times[who].append(seconds_of(call))
    for who, taken in times.items():
        size = calls[who][2]
        results.put(rule, n, d, who, seconds=min(taken), turns=len(taken), bytes=size, f=made.f)


def affordable(
    results: Results, rule: str, libraries: list[str], made: Cohort, limit: float
) -> list[str]:
    """Who is to be measured here; why another is not is written down."""
    n, d = made.rows.shape
    wanted = []
    for who in libraries:
        if results.get(rule, n, d, who) is not None:
            continue
        seconds, size = results.expected(rule, n, d, who)
        if seconds > limit * (10 if who == OURS else 1):
            results.put(rule, n, d, who, skipped=f"over {limit:g} s by the smaller sizes")
        elif size > 0.9 * available():
            told = f"needs more than the {available() / 2**30:.0f} GB that are free"
            results.put(rule, n, d, who, skipped=told)
        else:
            wanted.append(who)
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", default="10,20,50,100,200,500", help="numbers of clients")
    parser.add_argument("--d", default="1e5,1e6,1e7", help="numbers of parameters")
    parser.add_argument("--rules", default="", help="only these, separated by commas")
    parser.add_argument("--limit", type=float, default=8.0, help="seconds one call may take")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/aggregation.json"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    results = Results(given.out, given.limit)
    wanted = {rule for rule in given.rules.split(",") if rule}
    began = time.perf_counter()
    for d in (int(float(text)) for text in given.d.split(",")):
        for n in (int(text) for text in given.n.split(",")):
            if 4.0 * n * d * 1.05 > available():
                print(f"n={n} d={d:g}: the rows alone do not fit in memory", file=sys.stderr)
                continue
            made = cohort(n, d, f_of(None, n))
            measure(results, "machine", references(), made, given.limit * 10)
            for contest in contests():
                if wanted and contest.rule not in wanted:
                    continue
                own = made._replace(f=f_of(contest, n))
                if contest.many and 4.0 * n * d * 1.1 > available():
                    for who in contest.calls:
                        reason = "its n rows do not fit in memory beside the updates"
                        results.put(contest.rule, n, d, who, skipped=reason)
                    continue
                measure(results, contest.rule, contest.calls, own, given.limit)
                report(results, contest, n, d, time.perf_counter() - began)
            del made


def report(results: Results, contest: Contest, n: int, d: int, elapsed: float) -> None:
    """One line: who took how long."""
    shown = []
    for who in contest.calls:
        cell = results.get(contest.rule, n, d, who) or {}
        took = f"{1e3 * cell['seconds']:.1f} ms" if "seconds" in cell else "-"
        shown.append(f"{who} {took}")
    print(f"{elapsed:6.0f} s  n={n} d={d:.0e}  {contest.rule}: {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    main()
