"""The table of defences alone: attacks x defences x skew x seeds, and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, pstdev

from fedguard_simulations.measuring import in_processes, markdown
from fedguard_simulations.outcome import versions
from fedguard_simulations.scenario import Scenario
from fedguard_simulations.simulate import simulate

__all__ = ["ALPHAS", "ATTACKS", "DEFENCES", "Cell", "measure", "page", "write_table"]

NONE = "none"
ALPHAS = (0.3, 0.1)
ATTACKS = (
    "label_flip()",
    "sign_flip()",
    "scaled_negation(scale=10)",
    "backdoor(boost=5)",
    "a_little_is_enough(f=4, z=1.5)",
    "inner_product_manipulation(f=4, epsilon=2)",
    "min_max(f=4)",
    "mimic(f=4)",
)
DEFENCES = (
    "mean()",
    "krum(f=4)",
    "multi_krum(f=4)",
    "coordinate_median()",
    "trimmed_mean(f=4)",
    "geometric_median()",
    "chain(nnm(f=4), trimmed_mean(f=4))",
    "chain(arc(f=4), nnm(f=4), trimmed_mean(f=4))",
    "chain(arc(f=4), caf(f=4))",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: `attack` is "none" without one, `defence` is "oracle" for honest clients only."""

    alpha: float
    attack: str
    defence: str
    seed: int
    accuracy: float
    attack_success: float | None


def plan(seeds: int) -> Iterator[tuple[float, int, str, str]]:
    """Every cell, those that share a data split next to each other."""
    for alpha in ALPHAS:
        for seed in range(seeds):
            yield alpha, seed, NONE, "oracle"
            for attack in (NONE, *ATTACKS):
                for defence in DEFENCES:
                    yield alpha, seed, attack, defence


def measure(alpha: float, seed: int, attack: str, defence: str, rounds: int, dataset: str) -> Cell:
    """Run one cell in this process."""
    label = "oracle" if defence == "oracle" else "peace" if attack == NONE else "defended"
    scenario = Scenario(
        id="table",
        summary="a cell of the table of defences",
        attack=ATTACKS[0] if attack == NONE else attack,
        defence="mean()" if defence == "oracle" else defence,
        dataset=dataset,
        partition=f"dirichlet(alpha={alpha})",
        rounds=rounds,
        reputation=False,
        seed=seed,
    )
    outcome = simulate(scenario, "vectorised", [label])
    run = outcome.runs[label]
    return Cell(
        alpha,
        attack,
        defence,
        seed,
        run.accuracy[-1],
        run.attack_success[-1] if run.attack_success else None,
    )


def _measure(arguments: tuple[float, int, str, str, int, str]) -> Cell:
    return measure(*arguments)


def write_table(out: Path, seeds: int, rounds: int, dataset: str, workers: int) -> None:
    """Measure all cells in `workers` processes, write defences.json and defences.md into `out`."""
    cells = [(*each, rounds, dataset) for each in plan(seeds)]
    found = list(in_processes(_measure, cells, workers, together=9))
    out.mkdir(parents=True, exist_ok=True)
    command = f"fedguard table --seeds {seeds} --rounds {rounds} --dataset {dataset}"
    data = {"command": command, "versions": versions(), "cells": [asdict(each) for each in found]}
    (out / "defences.json").write_text(json.dumps(data, indent=0) + "\n", encoding="utf8")
    (out / "defences.md").write_text(page(found, command, dataset, rounds), encoding="utf8")


def page(cells: Sequence[Cell], command: str, dataset: str, rounds: int) -> str:
    """The Markdown page: accuracy per skew, then backdoors, then what the scores saw."""
    seeds = len({cell.seed for cell in cells})
    lines = [
        "# Attacks against defences",
        "",
        f"Rebuilt by `{command}`; every run is in [defences.json](defences.json).",
        "",
        f"{dataset}, 20 clients of which 4 are malicious, an MLP (784-64-10), {rounds} rounds of "
        f"10 local steps; accuracy of the final model in per cent, mean of {seeds} seeds "
        "(± standard deviation over them). *Oracle* is the plain mean of the 16 honest clients "
        "alone, with nobody attacking: what a perfect defence would reach. *Worst* is the "
        "least mean accuracy over the attacks; a backdoor hardly costs accuracy and has its own "
        "table below.",
    ]
    for alpha in ALPHAS:
        own = [cell for cell in cells if cell.alpha == alpha]
        oracle = [cell.accuracy for cell in own if cell.defence == "oracle"]
        lines += ["", f"## Dirichlet {alpha}", "", f"Oracle: **{_spread(oracle)}**.", ""]
        lines += _accuracy_table(own, mean(oracle))
    lines += ["", "## Does the backdoor open?", ""]
    lines += ["Share of test images that the patch turns into class 0.", ""]
    lines += _backdoor_table(cells)
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.1f} ± {100 * pstdev(values):.1f}"


def _accuracy_table(cells: Sequence[Cell], oracle: float) -> list[str]:
    heads = ["defence", "no attack", *map(_short, ATTACKS), "worst", "worst / oracle"]
    rows = []
    for defence in DEFENCES:
        found = {
            attack: [
                cell.accuracy for cell in cells if (cell.attack, cell.defence) == (attack, defence)
            ]
            for attack in (NONE, *ATTACKS)
        }
        worst = min(mean(found[attack]) for attack in ATTACKS)
        rows.append(
            [
                f"`{defence}`",
                *(_spread(values) for values in found.values()),
                f"**{100 * worst:.1f}**",
                f"{100 * worst / oracle:.0f} %",
            ]
        )
    return markdown(heads, rows)


def _backdoor_table(cells: Sequence[Cell]) -> list[str]:
    rows = []
    for defence in DEFENCES:
        row = [f"`{defence}`"]
        for alpha in ALPHAS:
            rates = [
                cell.attack_success
                for cell in cells
                if (cell.alpha, cell.defence) == (alpha, defence)
                and cell.attack_success is not None
            ]
            row.append(_spread(rates))
        rows.append(row)
    return markdown(["defence", *(f"Dirichlet {alpha}" for alpha in ALPHAS)], rows)


def _short(attack: str) -> str:
    return f"`{attack.partition('(')[0]}`"
