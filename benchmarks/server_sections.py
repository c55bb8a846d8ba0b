"""The sections of docs/benchmarks.md that tell of a server: its memory, store, gate and scrapes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

__all__ = ["gate", "out_of_core", "scrape", "store", "table", "time_of"]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def time_of(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def out_of_core(data: dict[str, Any]) -> str:
    rows = [
        [
            name,
            time_of(data["disk"][key]),
            time_of(data["memory"][key]),
            time_of(data["read"]["seconds"]),
            f"{data[key.replace('seconds', 'speed')]:.0%}",
        ]
        for name, key in (("probe and plan", "plan_seconds"), ("act", "act_seconds"))
    ]
    shown = table(["Pass", "from disk", "from memory", "reading the file", "of the slower"], rows)
    return (
        f"{data['n']} updates of {data['d']:,} parameters, {data['bytes'] / 1e9:.0f} GB in one file, "
        f"`chain(arc, nnm, trimmed_mean)` with f = {data['f']}, every pass from an empty page cache "
        f"(`{data['command']}`). Peak resident memory {data['disk']['peak_bytes'] / 2**20:.0f} MB.\n\n"
        + shown
    )


STORE_TARGET = 150
"""Milliseconds a round beyond aggregating."""


def store(data: dict[str, Any]) -> str:
    """What scoring and committing cost, and how the store grew."""
    took, sizes = data["beyond_ms"], data["sizes"]
    rows = []
    for before, now in pairwise([{"round": 0, "log": 0, "database": 0}, *sizes]):
        since = now["round"] - before["round"]
        grown = [(now[name] - before[name]) / since for name in ("log", "database")]
        rows.append(
            [
                str(now["round"]),
                *(f"{now[name] / 1e6:.1f} MB" for name in ("log", "database")),
                *(f"{each / 1e3:.0f} kB" for each in grown),
            ]
        )
    missed = f" That misses the {STORE_TARGET} ms asked for." if took["p50"] > STORE_TARGET else ""
    heads = ["Round", "audit log", "database, log included", "log, a round", "database, a round"]
    return (
        f"{data['clients']:,} clients, {data['d']:,} parameters, {data['rounds']} rounds on SQLite, every family of scores, "
        f"reputations, every verdict kept (`{data['command']}`). Scoring, judging and committing took {took['p50']:.0f} ms a round "
        f"beyond aggregating alone ({data['aggregating_ms']:.0f} ms) in the median, {took['p90']:.0f} ms in one of ten.{missed}\n\n"
        + table(heads, rows)
        + f"\n\nThe first rows hold two packed states of {data['state'] / 1e6:.1f} MB. Retention prunes verdicts and states; the log's hashes stay."
    )


def gate(data: dict[str, Any]) -> str:
    """What large rounds and rounds of many clients cost, beside FedAvg."""
    rows = []
    for ours, theirs in zip(data["cells"][::2], data["cells"][1::2], strict=True):
        rows.append([f"{ours['clients']:,}", f"{ours['d']:,}", f"{ours['gigabytes']:g} GB"])
        for cell in (ours, theirs):
            if cell["seconds"] is None:
                rows[-1] += ["killed", "-", "-"]
            else:
                rows[-1] += [
                    f"{cell['seconds']:.1f} s",
                    f"{cell['peak_mb']:,} MB",
                    f"{cell['away']:.0%}",
                ]
    heads = [
        *("Clients", "Parameters", "Replies"),
        *(f"{who}{what}" for who in ("", "FedAvg's ") for what in ("time", "peak", "error")),
    ]
    return (
        "One round of the standard policy with scores, reputations and a store, and Flower's own FedAvg on the same replies "
        f"(`{data['command']}`). Replies are fed to the grid's interface one by one, each put together from its objects as off a SuperLink; making "
        f"them is not counted. fedguard may hold {data['memory_mb']} MB of updates, the rest goes to disk. One client in ten sends its "
        "update negated, three times as long; the error is the distance of the model from the honest mean, of that mean's length. "
        "Peaks are of the whole process.\n\n" + table(heads, rows)
    )


def scrape(data: dict[str, Any]) -> str:
    """What Prometheus's looks at a large federation cost."""
    rows = [
        [
            f"{cell['shown']:,}",
            "while rounds are committed" if cell["while_committing"] else "at rest",
            *(f"{cell[name]:.2f} s" for name in ("first_s", "median_s", "slowest_s")),
            f"{cell['megabytes']:.1f} MB",
            f"{cell['peak_mb']} MB",
            f"{cell['commit_s']:.2f} s",
        ]
        for cell in data["cells"]
    ]
    heads = ["Clients shown", "", "First scrape", "Median", "Slowest later", "Text"]
    return (
        f"`fedguard serve` on a store of {data['clients']:,} clients (`{data['command']}`), in a process of its own. After a round all clients "
        "are read, otherwise nothing is. The last column is the median commit of such a round; the first row's was made with nobody looking.\n\n"
        + table([*heads, "Peak memory", "Commit"], rows)
    )
