"""Run a scenario: one strategy, any runner, every round told to whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flwr.app import ArrayRecord, MetricRecord

from fedguard import MemoryStore, Policy, ReputationPolicy, RoundReport, StateStore
from fedguard.errors import ConfigError, UnknownName
from fedguard.flower import GuardedStrategy
from fedguard_simulations.evaluation import Evaluator
from fedguard_simulations.federation import Federation, federation_of
from fedguard_simulations.identities import Identities, client_of
from fedguard_simulations.outcome import Outcome, RunOutcome, versions
from fedguard_simulations.runners import Job, Runner, runner_of
from fedguard_simulations.runs import RUNS, Run
from fedguard_simulations.scenario import Scenario
from fedguard_strategies.expressions import parse_optimiser
from fedguard_strategies.recipes import standard_scorers

__all__ = ["DEFAULT_RUNS", "Tick", "policy_of", "run_one", "simulate"]

DEFAULT_RUNS = ("clean", "attacked", "defended")


class Tick(NamedTuple):
    """A round of a run has been evaluated; `report` is None for round 0, the initial model."""

    run: Run
    round: int
    metrics: dict[str, float]
    report: RoundReport | None


def _nobody(_: Tick) -> None:
    """No live view."""


def _forgetful(_: Run) -> StateStore:
    """A store that ends with the run."""
    return MemoryStore()


def policy_of(federation: Federation, run: Run) -> Policy:
    """The policy a scenario's server would run: its defence, standard scores, its f.

    Only a defended run acts on reputations. A whole policy is taken as it is, but for the
    scenario's optimiser where it has none.
    """
    scenario, chosen = federation.scenario, federation.defence(run)
    optimiser = parse_optimiser(scenario.optimiser)
    if isinstance(chosen, Policy):
        if scenario.triggers and "trigger" not in {each.family for each in chosen.scorers}:
            raise ConfigError(
                f"triggers: {scenario.defence} brings its own scorers, and none scores by triggers"
            )
        return replace(chosen, optimiser=chosen.optimiser or optimiser)
    acts = run.defended and scenario.reputation
    reputation = ReputationPolicy(f=scenario.malicious) if acts else None
    canaries, triggers = scenario.root_examples > 0, scenario.triggers
    scorers = standard_scorers(scenario.malicious, canaries=canaries, triggers=triggers)
    return Policy(chosen, scorers, reputation, optimiser=optimiser)


def simulate(
    scenario: Scenario,
    runner: str = "vectorised",
    labels: Sequence[str] = DEFAULT_RUNS,
    on_tick: Callable[[Tick], None] = _nobody,
    store_of: Callable[[Run], StateStore] = _forgetful,
) -> Outcome:
    """Train every run of `labels`, each on a store of its own, and gather what happened.

    Raises `UnknownName` for a run or runner, `MissingData` with what to install.
    """
    run_job = runner_of(runner)
    if not labels:
        raise ConfigError(f"no run was asked for; there are {', '.join(RUNS)}")
    for label in labels:
        if label not in RUNS:
            raise UnknownName("run", label, RUNS)
    federation = federation_of(scenario)
    runs = {
        label: run_one(run_job, federation, RUNS[label], on_tick, store_of(RUNS[label]))
        for label in labels
    }
    malicious = tuple(federation.name(client) for client in sorted(federation.malicious))
    return Outcome(scenario, federation.data.name, runner, malicious, runs, versions())


def _truth(federation: Federation, run: Run, report: RoundReport) -> dict[str, float]:
    """What only a simulation knows: the attackers' share, and who was put away rightly."""
    malicious = federation.malicious if run.attacked else ()
    attackers = {federation.name(client) for client in malicious}  # under whatever key
    out = {True: list[bool](), False: list[bool]()}
    weight = 0.0
    for verdict in report.verdicts:
        hostile = client_of(verdict.client) in attackers
        out[hostile].append(not verdict.standing.counts)
        weight += (verdict.weight or 0.0) * hostile
    names = {True: "attackers_out", False: "honest_out"}
    found = {names[kind]: sum(each) / len(each) for kind, each in out.items() if each}
    return found | {"attackers_weight": weight}


def run_one(
    run_job: Runner,
    federation: Federation,
    run: Run,
    on_tick: Callable[[Tick], None],
    store: StateStore,
) -> RunOutcome:
    """Train one run and gather its metrics and reports."""
    evaluator, metrics = Evaluator(federation), list[dict[str, float]]()
    policy, reports = policy_of(federation, run), list[RoundReport]()

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        record = evaluator(server_round, arrays)
        metrics.append({name: float(str(value)) for name, value in record.items()})
        report = reports[-1] if server_round else None
        if report:
            store.measure(server_round, "simulation", _truth(federation, run, report))
        on_tick(Tick(run, server_round, metrics[-1], report))
        return record

    scenario = federation.scenario

    def strategy_of(name_of: Callable[[Any], str]) -> GuardedStrategy:
        count = len(federation.participants(run))
        names = Identities(federation, store) if federation.renames(run) else str
        return GuardedStrategy(
            policy,
            min_nodes=count,
            min_train_nodes=min(scenario.sampled or count, count),
            fraction_train=0.0 if scenario.sampled else 1.0,
            seed=scenario.seed,
            store=store,
            retries=None,
            on_round=reports.append,
            name_of=lambda node: names(name_of(node)),
            vectors=federation.vectors(),
            removal=federation.removal(run),
        )

    began = time.perf_counter()
    arrays = run_job(Job(federation, run, strategy_of, evaluate))
    columns = {
        name: tuple(row[name] for row in metrics if name in row)
        for name in ("accuracy", "loss", "attack_success")
    }
    return RunOutcome(
        run.label,
        run.title,
        federation.scenario.attack if run.attacked else None,
        policy.defence.name,
        **columns,
        reports=tuple(reports),
        confusion=tuple(map(tuple, evaluator.confusion(arrays).tolist())),
        seconds=time.perf_counter() - began,
    )
