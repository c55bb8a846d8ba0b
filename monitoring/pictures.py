"""The dashboards' panels drawn from a live Prometheus, by matplotlib: no Grafana is asked.

    python monitoring/pictures.py http://127.0.0.1:9090 docs/pictures/monitoring --client NAME

Queries, placement, units and names are those of the committed dashboards; the drawing is ours.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

BOARDS = Path(__file__).parents[1] / "fedguard" / "telemetry" / "files" / "grafana" / "dashboards"
PAPER, PANEL, INK, FAINT = "#111217", "#181b1f", "#d8d9da", "#8e8e8e"
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "blue": "#5794f2",
    "transparent": PANEL,
}
SPAN, STEP = 300, 2
"""Seconds that are shown, and between two points."""
Draw = Callable[[Any, dict[str, Any], "Asked"], None]


class Asked:
    """A Prometheus, with a dashboard's variables put in."""

    def __init__(self, url: str, client: str, federation: str = ".*") -> None:
        self._url, self.end = url.rstrip("/") + "/api/v1/", time.time()
        self._words = {
            "${federation}": federation,
            "$federation": federation,
            "$family": ".*",
            "$client": client,
            "$__rate_interval": "1m",
        }

    def _query(self, path: str, expression: str, **given: Any) -> list[dict[str, Any]]:
        for word, value in self._words.items():
            expression = expression.replace(word, value)
        told = httpx.get(self._url + path, params={"query": expression, **given}, timeout=20.0)
        found: list[dict[str, Any]] = told.json()["data"]["result"]
        return found

    def now(self, target: dict[str, Any]) -> list[tuple[dict[str, str], float]]:
        found = self._query("query", target["expr"], time=self.end)
        return [(each["metric"], float(each["value"][1])) for each in found]

    def over_time(self, target: dict[str, Any]) -> list[tuple[dict[str, str], Any, Any]]:
        span = {"start": self.end - SPAN, "end": self.end, "step": STEP}
        found = []
        for each in self._query("query_range", target["expr"], **span):
            at, values = np.array(each["values"], float).T
            found.append((each["metric"], at - self.end, values))
        return found


def called(target: dict[str, Any], labels: dict[str, str]) -> str:
    """A series' name by the target's legend."""
    legend = target.get("legendFormat") or ""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend).strip()


def shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    if unit == "s":
        days = value / 86400
        return f"{days:.0f} d" if days > 3 else f"{value:.3g} s"
    return f"{value:.4g}"


def unit_of(panel: dict[str, Any]) -> str:
    return str(panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""))


def colour_of(panel: dict[str, Any], value: float) -> str:
    """By the panel's thresholds."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps") or []
    passed = [each["color"] for each in steps if value >= (each.get("value") or -np.inf)]
    return NAMED.get(passed[-1] if passed else "blue", INK)


def timeseries(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking")
    for target in panel["targets"]:
        for labels, at, values in asked.over_time(target):
            axes.plot(at, values, lw=1.5, label=called(target, labels)[:40] or None)
    if stacked:
        for line in axes.lines:
            axes.fill_between(line.get_xdata(), line.get_ydata(), alpha=0.2)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit_of(panel)))
    axes.set_xlim(-SPAN, 0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    if 0 < len(axes.lines) < 12:
        axes.legend(fontsize=6, loc="best", facecolor=PANEL, edgecolor=FAINT, labelcolor=INK)


def stat(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    found = asked.now(panel["targets"][0])
    text = "\n".join(shown(value, unit_of(panel)) for _, value in found[:3])
    worst = found[0][1] if found else 0.0
    size = {0: 20, 1: 20, 2: 14}.get(len(found), 11)
    axes.text(0.5, 0.5, text, color=colour_of(panel, worst), ha="center", va="center", size=size)
    axes.axis("off")


def bargauge(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    target = panel["targets"][0]
    found = sorted(asked.now(target), key=lambda each: each[1])
    names = [called(target, labels)[:18] for labels, _ in found]
    values = [value for _, value in found]
    axes.barh(range(len(names)), values, color=[colour_of(panel, value) for value in values])
    axes.set_yticks(range(len(names)), names, size=6)
    axes.xaxis.set_major_formatter(lambda value, _: shown(value, unit_of(panel)))


def table(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    (organised,) = [each for each in panel["transformations"] if each["id"] == "organize"]
    hidden, names = organised["options"]["excludeByName"], organised["options"]["renameByName"]
    several, rows = len(panel["targets"]) > 1, dict[tuple[tuple[str, str], ...], dict[str, str]]()
    for target in panel["targets"]:
        for labels, value in asked.now(target):
            own = {name: text for name, text in labels.items() if name not in hidden}
            kept = tuple(sorted((n, t) for n, t in own.items() if n in names or not several))
            row = rows.setdefault(kept, {names.get(name, name): text for name, text in kept})
            column = f"Value #{target['refId']}" if several else "Value"
            row[names.get(column, column)] = f"{value:.3g}"
    heads = list(dict.fromkeys(name for row in rows.values() for name in row))
    axes.axis("off")
    if not rows:
        return
    cells = [[row.get(head, "")[:26] for head in heads] for row in list(rows.values())[:12]]
    made = axes.table(cells, colLabels=heads, loc="upper center", cellLoc="left")
    made.auto_set_font_size(False)
    made.set_fontsize(6.5)
    for cell in made.get_celld().values():
        cell.set(facecolor=PANEL, edgecolor="#2c3235")
        cell.get_text().set_color(INK)


def timeline(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    target = panel["targets"][0]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    names = []
    for place, (labels, at, values) in enumerate(asked.over_time(target)):
        names.append(called(target, labels)[:24])
        for level, told in mapping["options"].items():
            here = at[values == float(level)]
            axes.barh(
                [place] * len(here), [STEP] * len(here), left=here, height=0.8,
                color=NAMED.get(told["color"], INK),
            )  # fmt: skip
    for level, told in mapping["options"].items():
        if told["text"]:
            axes.barh([0], [0], color=NAMED.get(told["color"], INK), label=told["text"] or level)
    axes.set_yticks(range(len(names)), names, size=6)
    axes.set_xlim(-SPAN, 0)
    axes.legend(
        fontsize=6, ncols=5, loc="lower left", facecolor=PANEL, edgecolor=FAINT, labelcolor=INK
    )


def heatmap(axes: Any, panel: dict[str, Any], asked: Asked) -> None:
    found = asked.over_time(panel["targets"][0])
    found.sort(key=lambda each: float(each[0]["le"].replace("+Inf", "inf")))
    if not found:
        return
    at = max((each[1] for each in found), key=len)
    below = np.array([np.interp(at, own, values) for _, own, values in found])
    counts = np.diff(below, axis=0, prepend=0.0).clip(0)
    axes.imshow(
        np.sqrt(counts), aspect="auto", origin="lower", cmap="Oranges_r",
        extent=(at[0], at[-1], -0.5, len(found) - 0.5),
    )  # fmt: skip
    axes.set_yticks(range(len(found)), [each[0]["le"] for each in found], size=6)


KINDS: dict[str, Draw] = {
    "timeseries": timeseries,
    "stat": stat,
    "bargauge": bargauge,
    "table": table,
    "state-timeline": timeline,
    "heatmap": heatmap,
}


def drawn(board: dict[str, Any], asked: Asked, path: Path) -> None:
    """A dashboard as one picture, its panels where they would be."""
    panels = [each for each in board["panels"] if each["type"] != "row"]
    height = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels)
    figure = pyplot.figure(figsize=(15, 0.36 * height + 0.6), facecolor=PAPER)
    figure.suptitle(board["title"], color=INK, x=0.01, ha="left", y=0.995)
    grid = figure.add_gridspec(
        height, 24, left=0.045, right=0.99, top=0.955, bottom=0.02, wspace=4.5, hspace=6.0
    )
    for panel in panels:
        place = panel["gridPos"]
        rows = slice(place["y"], place["y"] + place["h"] - (place["h"] > 4))
        axes = figure.add_subplot(grid[rows, place["x"] : place["x"] + place["w"]])
        axes.set_facecolor(PANEL)
        axes.tick_params(colors=FAINT, labelsize=6)
        for spine in axes.spines.values():
            spine.set_color("#2c3235")
        axes.set_title(panel["title"], color=INK, size=8, loc="left")
        KINDS[panel["type"]](axes, panel, asked)
    figure.savefig(path, dpi=80, facecolor=PAPER)
    pyplot.close(figure)


def pictures(url: str, out: Path, client: str) -> list[Path]:
    """Draw every dashboard."""
    mpl.use("Agg")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(BOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf8"))
        runs = ".*/.*" if "red-team" in path.stem else "[^/]*"
        written.append(out / f"{path.stem}.png")
        drawn(board, Asked(url, client, runs), written[-1])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("out", type=Path)
    parser.add_argument("--client", default=".*")
    given = parser.parse_args()
    for path in pictures(given.prometheus, given.out, given.client):
        print(path)


if __name__ == "__main__":
    main()
