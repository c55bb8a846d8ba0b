"""results.json for programs and report.html for people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fedguard_simulations.data import LABELS
from fedguard_simulations.identities import client_of
from fedguard_simulations.outcome import Outcome, RunOutcome

__all__ = ["write_report"]

COLOURS = {
    "clean": "#4c78a8",
    "attacked": "#d64545",
    "defended": "#2a9d5c",
    "peace": "#8a6fbf",
    "oracle": "#7a7a7a",
}
MOST_ROWS = 60
DEEPEST = 10
"""The score, in robust standard deviations, that has the darkest colour."""


class Row(NamedTuple):
    """One client's line of a heatmap; a cell is (shade in [0, 1], text for the pointer)."""

    client: str
    malicious: bool
    cells: list[tuple[float, str]]


def write_report(outcome: Outcome, folder: Path) -> list[Path]:
    """Write results.json and report.html into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    results, report = folder / "results.json", folder / "report.html"
    results.write_text(outcome.to_json(), encoding="utf8")
    report.write_text(render(outcome), encoding="utf8")
    return [results, report]


def render(outcome: Outcome) -> str:
    """The report as one self-contained HTML page."""
    environment = Environment(
        loader=PackageLoader("fedguard_simulations"), autoescape=True, undefined=StrictUndefined
    )
    runs = list(outcome.runs.values())
    success = [run for run in runs if run.attack_success]
    malicious = frozenset(outcome.malicious)
    return environment.get_template("report.html.j2").render(
        outcome=outcome,
        scenario=outcome.scenario,
        runs=runs,
        colours=COLOURS,
        detection={run.label: run.detection(malicious) for run in runs},
        accuracy=_curves(runs, "accuracy", "accuracy on the test set"),
        success=_curves(success, "attack_success", "attack success rate") if success else None,
        heatmaps={run.label: _heatmap(run, outcome) for run in runs},
        most_rows=MOST_ROWS,
        deepest=DEEPEST,
        confusions={run.label: _confusion(run) for run in runs},
        labels=LABELS[outcome.dataset],
        checked=outcome.checked(),
    )


def _curves(runs: Sequence[RunOutcome], what: str, title: str) -> Markup:
    """A line per run over rounds, as inline SVG whose text is text."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fedguard",
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.edgecolor": "#888",
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(8.6, 3.6))
        axes = figure.add_subplot()
        for run in runs:
            values: tuple[float, ...] = getattr(run, what)
            axes.plot(values, color=COLOURS[run.label], linewidth=2, label=run.title)
        axes.set(xlabel="round", ylabel=title, ylim=(0, 1), xlim=(0, len(runs[0].accuracy) - 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4")
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=3)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # drawn by us from numbers and fixed titles


def _heatmap(run: RunOutcome, outcome: Outcome) -> list[Row]:
    """Client by round: the largest family score, the malicious first, then by mean score."""
    bad = set(outcome.malicious) if run.attack else set()
    cells: dict[str, list[tuple[float, str]]] = {}
    for report in run.reports:
        for verdict in report.verdicts:
            if not verdict.admitted:
                cell = (1.0, f"not counted: {verdict.reason}")
            else:
                family = max(verdict.scores, key=lambda each: verdict.scores[each])
                top = verdict.scores[family]
                shade = min(max(top, 0.0) / DEEPEST, 1.0)
                cell = (shade, f"{family} {top:.1f}{', suspected' if verdict.suspected else ''}")
            text = f"{verdict.client}, round {report.round}: {cell[1]}"
            cells.setdefault(verdict.client, []).append((cell[0], text))
    rows = [Row(client, client_of(client) in bad, line) for client, line in cells.items()]
    rows.sort(key=lambda row: (not row.malicious, -_mean_shade(row), row.client))
    return rows[:MOST_ROWS]


def _mean_shade(row: Row) -> float:
    return sum(shade for shade, _ in row.cells) / len(row.cells)


def _confusion(run: RunOutcome) -> list[list[tuple[float, Any]]]:
    """Share of each true class by prediction, with its count."""
    return [[(count / max(sum(line), 1), count) for count in line] for line in run.confusion]
