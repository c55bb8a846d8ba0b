"""Who is found, how soon, at what cost to the honest: attacks x skew x federations x seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedguard import Reputation, ReputationPolicy, RoundReport
from fedguard.reputation import Evidence
from fedguard.reputation.policy import PROTOCOL
from fedguard.scoring import surprise
from fedguard_simulations.federation import federation_of
from fedguard_simulations.identities import client_of
from fedguard_simulations.measuring import in_processes, shown
from fedguard_simulations.outcome import Outcome, RunOutcome, versions
from fedguard_simulations.scenario import Scenario
from fedguard_simulations.simulate import simulate
from fedguard_simulations.standings import histories, share_of
from fedguard_simulations.sweeps.plain import in_lines
from fedguard_simulations.sweeps.sources import code_digest, data_digest, environment
from fedguard_strategies.recipes import standard_scorers

__all__ = [
    "ALPHAS",
    "ATTACKS",
    "RATES",
    "Cell",
    "Plan",
    "cell_of",
    "measure",
    "write_detection",
]

NONE, ORACLE = "none", "oracle"
DEFENCE = "auto(f)"
ALPHAS = (1.0, 0.3, 0.1)
RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Rates of false quarantines that an operator might ask for, tried on the same scores."""
LONE = (2, 6)
"""Classes that one client holds alone: pullovers and shirts, or twos and sixes."""
CANARIES = 500
"""Clean examples of the server's own, where it has some."""
QUIET = ("free_rider", "label_flip", "sign_flip", "mimic", "sybil", "slander")
"""Attacks that are also tried with canaries: those that are found late or not at all without."""
QUANTILES = (0.9, 0.99, 0.999)
ATTACKS = (
    "scaled_negation(scale=10)",
    "gaussian_noise(scale=10)",
    "backdoor(boost=5)",
    "free_rider(noise=0.001)",
    "label_flip()",
    "sign_flip()",
    "a_little_is_enough(f={f}, z=1.5)",
    "inner_product_manipulation(f={f}, epsilon=2)",
    "min_max(f={f})",
    "mimic(f={f})",
    "on_off(scale=10, on=5, off=15)",
    "slow_ramp(scale=10, rounds=50)",
    "whitewash(scale=10)",
    "sybil(f={f}, epsilon=2, noise=1)",
    "slander(f={f})",
)
"""Those that are tried in federations of every size."""
FURTHER = (
    "targeted_label_flip(source=6, target=0)",
    "dynamic_label_flip()",
    "blended(boost=5)",
    "distributed_backdoor(boost=5)",
    "edge_cases(boost=5)",
    "constrain_and_scale(boost=5)",
    "projected_gradient_descent(boost=5)",
    "neurotoxin(boost=5)",
    "delta_free_rider(noise=0.001)",
    "min_sum(f={f})",
    "fang_krum(f={f})",
    "fang_trimmed_mean(f={f})",
    "relocated_orthogonal_perturbation(f={f})",
    "hybrid_sparse(f={f})",
    "decorrelated(f={f})",
    "chain(a_little_is_enough(f={f}, z=1.5), jittered(scale=0.3))",
    "chain(inner_product_manipulation(f={f}, epsilon=2), jittered(scale=0.3))",
    "chain(min_max(f={f}), jittered(scale=0.3))",
    "chain(min_sum(f={f}), jittered(scale=0.3))",
    "chain(fang_krum(f={f}), jittered(scale=0.3))",
    "chain(relocated_orthogonal_perturbation(f={f}), jittered(scale=0.3))",
    "chain(hybrid_sparse(f={f}), jittered(scale=0.3))",
    "chain(mimic(f={f}), jittered(scale=0.3))",
    "a_little_is_enough_searched(f={f})",
    "inner_product_searched(f={f})",
    "white_box(f={f}, patience=0.5)",
)
"""Those that are tried in the smallest federation alone."""


class Plan(NamedTuple):
    """One run to make: `attack` is "none" without one, or "oracle" for the honest alone.

    With a `lone` class, all of it is at one client, who is honest. With `canaries` the server has
    as many clean examples of its own to score behaviour by.
    """

    dataset: str
    clients: int
    alpha: float
    attack: str
    seed: int
    rounds: int
    lone: int | None = None
    canaries: int = 0

    @property
    def f(self) -> int:
        """A fifth of the clients is malicious."""
        return self.clients // 5


@dataclass(frozen=True, slots=True)
class Cell:
    """What one run came to.

    `found` are the participations after which each malicious key went into quarantine, `keys` is
    how many malicious keys there were. Rates of honest clients are counts over `honest_rounds`.
    `share` is the malicious clients' part of the weight in the aggregates. `false_at` counts
    honest quarantines under each of `RATES`, with nothing else changed; `tails` are the honest
    scores' quantiles by family; `lone` is how the client with a class of its own ended, and
    `lone_extent` the median of its extent over the rounds.
    """

    plan: Plan
    accuracy: float
    held: int
    keys: int
    found: tuple[int, ...]
    doubted: int
    share: float
    honest_rounds: int
    false_quarantines: int
    false_probations: int
    attack_success: float | None
    false_at: tuple[int, ...]
    tails: dict[str, tuple[float, ...]]
    lone: str | None = None
    lone_extent: float = 0.0


def plans(
    datasets: Sequence[str], clients: Sequence[int], seeds: int, rounds: int
) -> Iterator[Plan]:
    """Every run, those that share a split of the data next to each other."""
    every, smallest = range(seeds), clients[0]
    for dataset, count, alpha, seed in product(datasets, clients, ALPHAS, every):
        for attack in (ORACLE, NONE, *ATTACKS):
            yield Plan(dataset, count, alpha, attack, seed, rounds)
    for dataset, count, seed, lone in product(datasets, clients, every, LONE):
        yield Plan(dataset, count, ALPHAS[-1], NONE, seed, rounds, lone)
        yield Plan(dataset, count, ALPHAS[-1], ATTACKS[0], seed, rounds, lone)
        if count == smallest:
            yield Plan(dataset, count, ALPHAS[-1], NONE, seed, rounds, lone, CANARIES)
    quiet = [attack for attack in ATTACKS if attack.partition("(")[0] in QUIET]
    for dataset, alpha, seed in product(datasets, ALPHAS, every):
        for attack in (NONE, *quiet):
            yield Plan(dataset, smallest, alpha, attack, seed, rounds, None, CANARIES)
    for dataset, alpha, seed in product(datasets, ALPHAS, every):
        for attack in FURTHER:
            yield Plan(dataset, smallest, alpha, attack, seed, rounds)


def measure(plan: Plan) -> Cell:
    """Make one run in this process."""
    label = {ORACLE: "oracle", NONE: "peace"}.get(plan.attack, "defended")
    attack = plan.attack if label == "defended" else ATTACKS[0]
    scenario = Scenario(
        id="detection",
        summary="a cell of the table of detection",
        attack=attack.format(f=plan.f),
        defence=f"auto(f={plan.f}, canaries={plan.canaries > 0})",  # as DEFENCE says
        dataset=plan.dataset,
        partition=f"dirichlet(alpha={plan.alpha})"
        if plan.lone is None
        else f"lone_class(alpha={plan.alpha}, label={plan.lone})",
        clients=plan.clients,
        malicious=plan.f,
        rounds=plan.rounds,
        seed=plan.seed,
        root_examples=plan.canaries,
    )
    outcome = simulate(scenario, "vectorised", [label])
    bad = frozenset(outcome.malicious) if label == "defended" else frozenset[str]()
    cell = _cell(plan, outcome.runs[label], bad)
    if plan.lone is None:
        return cell
    federation = federation_of(scenario)
    holds = [np.count_nonzero(part.y == plan.lone) for part in federation.parts]
    ended, extent = _ended(outcome, federation.name(int(np.argmax(holds))))
    return replace(cell, lone=ended, lone_extent=extent)


def _ended(outcome: Outcome, name: str) -> tuple[str, float]:
    """How a client ended, "malicious" if it is one of those, and its median extent."""
    (run,) = outcome.runs.values()
    own = [each for report in run.reports for each in report.verdicts if each.client == name]
    extent = float(np.median([each.scores["extent"] for each in own]))
    away = [
        change
        for report in run.reports
        for change in report.changes
        if change.client == name and not change.after.counts
    ]
    if name in outcome.malicious and run.attack:
        return "malicious", extent
    return ("quarantine" if away else str(own[-1].standing)), extent


def _cell(plan: Plan, run: RunOutcome, bad: frozenset[str]) -> Cell:
    fared = histories(run.reports)
    hostile = [each for name, each in fared.items() if client_of(name) in bad]
    honest = {name: each for name, each in fared.items() if client_of(name) not in bad}
    return Cell(
        plan=plan,
        accuracy=run.accuracy[-1],
        held=sum(report.held is not None for report in run.reports),
        keys=len(hostile),
        found=tuple(sorted(each.first for each in hostile if each.first is not None)),
        doubted=sum(bool(each.quarantines or each.probations) for each in hostile),
        share=share_of(run.reports, bad),
        honest_rounds=sum(each.rounds for each in honest.values()),
        false_quarantines=sum(each.quarantines for each in honest.values()),
        false_probations=sum(each.probations for each in honest.values()),
        attack_success=run.attack_success[-1] if run.attack_success else None,
        false_at=tuple(_quarantined(run.reports, set(honest), plan.f, rate) for rate in RATES),
        tails=_tails(run.reports, set(honest)),
    )


def _quarantined(reports: Sequence[RoundReport], honest: set[str], f: int, rate: float) -> int:
    """How many honest clients the same scores put away when `rate` is asked for."""
    policy = replace(ReputationPolicy(f=f), false_quarantines=rate)
    scorers = standard_scorers(f, canaries=True, triggers=True)
    tails = {scorer.family: scorer.tail for scorer in scorers}
    known, gone = dict[str, Reputation](), 0
    for report in reports:
        told = [each for each in report.verdicts if each.client in honest and each.scores]
        surprises = {
            family: surprise(np.array([each.scores[family] for each in told]), tail).tolist()
            for family, tail in tails.items()
            if told and family in told[0].scores
        }
        for place, verdict in enumerate(told):
            own = {family: values[place] for family, values in surprises.items()}
            before = known.get(verdict.client, Reputation())
            evidence = Evidence({PROTOCOL: 0.0} | own, verdict.suspected)
            after = policy.after(before, evidence, report.round)
            gone += before.standing.counts and not after.standing.counts
            known[verdict.client] = after
    return gone


def _tails(reports: Sequence[RoundReport], honest: set[str]) -> dict[str, tuple[float, ...]]:
    scores: dict[str, list[float]] = {}
    for report in reports:
        for verdict in report.verdicts:
            if verdict.client in honest:
                for family, score in verdict.scores.items():
                    scores.setdefault(family, []).append(score)
    return {
        family: tuple(np.quantile(values, QUANTILES).round(2).tolist())
        for family, values in scores.items()
    }


def write_detection(
    out: Path,
    datasets: Sequence[str],
    clients: Sequence[int],
    seeds: int,
    rounds: int,
    workers: int,
) -> None:
    """Measure all cells, go on where a run before ended, write detection.json and detection.md."""
    from fedguard_simulations.detection_page import page

    wanted = list(plans(datasets, clients, seeds, rounds))
    kept = Path("build") / f"detection-{_digest(datasets)[:12]}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    done = {cell.plan: cell for cell in read_cells(kept) if cell.plan in set(wanted)}
    left = [plan for plan in wanted if plan not in done]
    with kept.open("a", encoding="utf8") as file:
        for _, cell in shown(in_processes(measure, left, workers), len(wanted), len(done)):
            file.write(json.dumps(asdict(cell)) + "\n")
            file.flush()
            done[cell.plan] = cell
    found = [done[plan] for plan in wanted]
    command = (
        f"fedguard detection --datasets {','.join(datasets)} --clients "
        f"{','.join(map(str, clients))} --seeds {seeds} --rounds {rounds}"
    )
    data = {
        "command": command,
        "defence": DEFENCE,
        "versions": versions(),
        "cells": [asdict(cell) | {"plan": tuple(cell.plan)} for cell in found],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "detection.json").write_text(in_lines(data), encoding="utf8")
    (out / "detection.md").write_text(page(found, command, DEFENCE), encoding="utf8")


def _digest(datasets: Sequence[str]) -> str:
    """Of all that decides a cell."""
    data = [data_digest(name) for name in datasets]
    decides = (code_digest(), Path(__file__).read_text(encoding="utf8"), environment(), data)
    return sha256(repr(decides).encode()).hexdigest()


def read_cells(path: Path) -> Iterator[Cell]:
    """The cells of a file, a line each; a line that was not written to its end is skipped."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf8").splitlines():
        try:
            plain: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        yield cell_of(plain)


def cell_of(plain: dict[str, Any]) -> Cell:
    """The cell that `dataclasses.asdict` and JSON made plain."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    return Cell(**values | {"plan": Plan(*plain["plan"])})
