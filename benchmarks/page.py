"""docs/benchmarks.md, its data and its pictures, from what the benchmarks measured.

python benchmarks/page.py build/benchmarks docs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from server_sections import gate, out_of_core, scrape, store, table, time_of

__all__ = ["Measured", "page"]

OURS = "fedguard"
PEERS = ("ByzFL (NumPy)", "ByzFL (torch)", "ByzPy", "Flower")
MIDDLE = (50, 1_000_000)
ON_G = ("Krum", "Multi-Krum", "geometric median", "CAF")
CHAIN, PARTS = "ARC + NNM + trimmed mean", ("ARC", "NNM", "trimmed mean")
LARGE = ("NNM", "ARC", "static clipping", "centred clipping")
PICTURES = {"libraries": "benchmark-libraries.png", "growth": "benchmark-growth.png"}


class Measured(NamedTuple):
    """The cells of the grid, with shorthands."""

    data: dict[str, Any]

    @property
    def cells(self) -> list[dict[str, Any]]:
        return list(self.data["cells"].values())

    @property
    def rules(self) -> list[str]:
        return list(dict.fromkeys(cell["rule"] for cell in self.cells if cell["who"] == OURS))

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return sorted({(cell["n"], cell["d"]) for cell in self.cells}, key=lambda size: size[::-1])

    def cell(self, rule: str, size: tuple[int, int], who: str) -> dict[str, Any]:
        key = f"{rule} | n={size[0]} | d={size[1]} | {who}"
        return dict(self.data["cells"].get(key, {}))

    def seconds(self, rule: str, size: tuple[int, int], who: str = OURS) -> float | None:
        return self.cell(rule, size, who).get("seconds")

    def best_peer(self, rule: str, size: tuple[int, int]) -> float | None:
        found = [self.seconds(rule, size, who) for who in PEERS]
        return min((each for each in found if each is not None), default=None)

    def machine(self, what: str, size: tuple[int, int]) -> float:
        """The faster of what the machine did: "read" or "product"."""
        times = [
            cell["seconds"]
            for cell in self.cells
            if cell["rule"] == "machine"
            and (cell["n"], cell["d"]) == size
            and cell["who"].startswith(what)
        ]
        return min(times)


def size_of(values: float) -> str:
    return f"{values:.0e}".replace("e+0", "e")


def per_library(found: Measured) -> str:
    rows = []
    for rule in found.rules:
        own = found.cell(rule, MIDDLE, OURS)
        row = [rule, time_of(own["seconds"]), f"{own['bytes'] / 2**20:.0f} MB"]
        for who in PEERS:
            cell = found.cell(rule, MIDDLE, who)
            memory = f" ({cell['bytes'] / 2**20:.0f} MB)" if "bytes" in cell else ""
            row.append(time_of(cell.get("seconds")) + memory if "seconds" in cell else _why(cell))
        best = found.best_peer(rule, MIDDLE)
        row.append(f"**{best / own['seconds']:.1f}**" if best else "")
        rows.append(row)
    return table(["Rule", "fedguard", "more memory", *PEERS, "best peer / fedguard"], rows)


def _why(cell: dict[str, Any]) -> str:
    return cell.get("skipped", "").split(" by the")[0]


def most_memory(found: Measured) -> float:
    """Megabytes beyond updates and answer, for the rules that return one row."""
    own = [cell for cell in found.cells if cell["who"] == OURS and "bytes" in cell]
    return max((cell["bytes"] - 4 * cell["d"]) / 2**20 for cell in own if cell["rule"] not in LARGE)


def against_the_machine(found: Measured) -> str:
    rows = []
    read, product = found.machine("read", MIDDLE), found.machine("product", MIDDLE)
    numpy = found.seconds("machine", MIDDLE, "product (NumPy)") or 0.0
    for rule in ("mean", "median", "trimmed mean"):
        took = found.seconds(rule, MIDDLE) or 0.0
        rows.append([rule, time_of(took), f"{took / read:.2f} times one read ({time_of(read)})"])
    for rule in ON_G:
        took = found.seconds(rule, MIDDLE) or 0.0
        told = f"{took / product:.2f} times X Xᵀ by torch's BLAS ({time_of(product)}), "
        told += f"{took / numpy:.2f} times that by NumPy's ({time_of(numpy)})"
        rows.append([rule, time_of(took), told])
    took = found.seconds(CHAIN, MIDDLE) or 0.0
    parts = sum(found.seconds(rule, MIDDLE) or 0.0 for rule in PARTS)
    rows.append([CHAIN, time_of(took), f"{took / parts:.2f} times its parts one by one"])
    return table(["Rule", "fedguard", "of what the machine needs"], rows)


def ratios(found: Measured, d: int) -> str:
    sizes = [size for size in found.sizes if size[1] == d]
    rows = []
    for rule in found.rules:
        if rule == CHAIN:
            continue
        row = [rule]
        for size in sizes:
            own, best = found.seconds(rule, size), found.best_peer(rule, size)
            if own is None:
                row.append("")
            elif best is None:
                row.append(f"alone, {time_of(own)}")
            else:
                row.append(f"{best / own:.1f}" if best >= own else f"*{best / own:.2f}*")
        rows.append(row)
    return table(["Rule", *(f"n = {n}" for n, _ in sizes)], rows)


def slower(found: Measured) -> str:
    rows = []
    for n, d in found.sizes:
        for rule in found.rules:
            own, best = found.seconds(rule, (n, d)), found.best_peer(rule, (n, d))
            if own and best and best < own:
                rows.append([rule, str(n), size_of(d), time_of(own), time_of(best)])
    return table(["Rule", "n", "d", "fedguard", "best peer"], rows)


def exponent(points: list[tuple[float, float]]) -> float:
    x, y = np.log(np.array(points, np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def growth(found: Measured, rule: str) -> tuple[list[Any], list[Any]]:
    """(d, seconds) at the middle n and (n, seconds) at the middle d."""
    in_d = [(d, found.seconds(rule, (n, d))) for n, d in found.sizes if n == MIDDLE[0]]
    in_n = [(n, found.seconds(rule, (n, d))) for n, d in found.sizes if d == MIDDLE[1]]
    return [each for each in in_d if each[1]], [each for each in in_n if each[1]]


def exponents(found: Measured) -> str:
    rows = []
    for rule in found.rules:
        in_d, in_n = growth(found, rule)
        rows.append([rule, f"{exponent(in_d):.2f}", f"{exponent(in_n):.2f}"])
    return table(["Rule", "exponent of d (n = 50)", "exponent of n (d = 1e6)"], rows)


def page(data: dict[str, Any]) -> str:
    found = Measured(data["aggregation"])
    told = data["aggregation"]["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
    by_d = sorted({d for _, d in found.sizes})
    grid = "\n\n".join(f"d = {size_of(d)}\n\n{ratios(found, d)}" for d in by_d)
    return f"""# How fast, and against whom

Every rule in one process, on the same float32 updates, against the same rule of ByzFL, ByzPy and Flower
(`{data["aggregation"]["command"]}`): libraries take turns, a figure is the least of its turns. Memory is by how much the process grew above the
updates, the answer included. f = n / 5; MDA and SMEA get the f that leaves the peers 5000 subsets, Bulyan its bound. A call that would
have taken over {data["aggregation"]["limit"]:g} s, or more memory than there was, was not made; the smaller sizes say so.

{told["processor"]}, {told["cores"]} cores, {told["memory_gb"]} GB; Python {told["python"]}, {packages}.

## n = 50, d = 1,000,000

{per_library(found)}

![Seconds by rule and library](pictures/{PICTURES["libraries"]})

Not quite the same everywhere: the peers' geometric median stops after three steps, fedguard's when no weight moves by 1e-12;
ByzFL and ByzPy sum Krum's scores over n - f - 1 neighbours, fedguard and Flower over the paper's n - f - 2; ByzPy's median is the lower
of the middle two. ARC, static clipping and NNM return n rows, and their memory is mostly that; centred clipping keeps its centre, a vector of the
model's size, for the next round. No other rule of fedguard's took more than {most_memory(found):.0f} MB above the updates
anywhere on the grid, its answer of 4 d bytes left out.

## Against the machine

{against_the_machine(found)}

One read is `torch.sum`. A product is the whole of it, on both cores.

## The grid: best peer's time / fedguard's

In italics where a peer is faster; *alone* where no peer could run.

{grid}

Where a peer is faster:

{slower(found)}

Mostly small cohorts: a pass of fedguard's costs about 0.1 ms before it reads anything, and under four million values one thread
does it, since waking another takes as long. torch's threads wait spinning. The plain mean is one call for torch.

## Growth

{exponents(found)}

![Seconds over d and over n](pictures/{PICTURES["growth"]})

Rules of one pass cost n d; rules that plan on G cost n² d, of which few rows are bound by reading. Sorting networks cost
n log² n for each coordinate.

## Larger than memory

{out_of_core(data["out_of_core"])}

## A round in the store

{store(data["store"])}

## Through the gate

{gate(data["gate"])}

## A scrape

{scrape(data["scrape"])}
"""


def draw(found: Measured, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    libraries = (OURS, *PEERS)
    figure, axes = plt.subplots(figsize=(11, 5))
    for place, who in enumerate(libraries):
        taken = [found.seconds(rule, MIDDLE, who) or np.nan for rule in found.rules]
        at = np.arange(len(taken)) + (place - 2) * 0.16
        axes.bar(at, taken, width=0.16, label=who)
    axes.set_yscale("log")
    axes.set_ylabel("seconds, n = 50, d = 1,000,000")
    axes.set_xticks(range(len(found.rules)), found.rules, rotation=40, ha="right")
    axes.legend(frameon=False, ncols=5, loc="upper left", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / PICTURES["libraries"], dpi=110)

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
    for rule in ("mean", "median", "trimmed mean", "Krum", "CAF", "NNM + trimmed mean", "ARC"):
        for axes, points in zip((left, right), growth(found, rule), strict=True):
            label = f"{rule} ({exponent(points):.2f})"
            axes.loglog(*zip(*points, strict=True), marker="o", markersize=4, label=label)
    left.set_xlabel("d, at n = 50 (fitted exponent)")
    right.set_xlabel("n, at d = 1,000,000 (fitted exponent)")
    left.set_ylabel("seconds")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / PICTURES["growth"], dpi=110)


def main() -> None:
    measured, docs = Path(sys.argv[1]), Path(sys.argv[2])
    data = json.loads((docs / "benchmarks.json").read_text(encoding="utf8"))
    for name in data:  # what was not measured anew stays
        if (found := measured / f"{name}.json").exists():
            data[name] = json.loads(found.read_text(encoding="utf8"))
    (docs / "benchmarks.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf8")
    (docs / "benchmarks.md").write_text(page(data), encoding="utf8")
    draw(Measured(data["aggregation"]), docs / "pictures")


if __name__ == "__main__":
    main()
