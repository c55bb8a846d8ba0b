"""What all runs of a scenario share: who holds which data, who lies, and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from flwr.app import ArrayRecord
from torch import nn

from fedguard import Policy
from fedguard.defence import Defence
from fedguard.errors import ConfigError
from fedguard.flower import Removal
from fedguard_clients import Behaviour, Examples, Trigger, honest
from fedguard_clients.app import Task, trained
from fedguard_clients.cleansing import removal
from fedguard_clients.training import DATA, Training, stream
from fedguard_clients.triggers import trigger_search
from fedguard_simulations.attacks import WhiteBox
from fedguard_simulations.data import Dataset, load_dataset, resolve_dataset
from fedguard_simulations.models import Model
from fedguard_simulations.partitions import split
from fedguard_simulations.runs import Run
from fedguard_simulations.scenario import (
    Scenario,
    parse_attack,
    parse_model,
    parse_partition,
    parse_removal,
)
from fedguard_strategies.expressions import parse_policy

__all__ = ["Federation", "federation_of", "task_of"]


@dataclass(frozen=True)
class Federation:
    """A scenario's data, split, with the malicious clients drawn; clients are numbers here.

    `parts` holds each client's own examples, `kept` the server's.
    """

    scenario: Scenario
    data: Dataset
    parts: tuple[Examples, ...]
    kept: Examples
    malicious: frozenset[int]
    model: Model

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.data.test.x.shape[1:]

    @property
    def classes(self) -> int:
        return self.data.test.classes

    def name(self, client: int) -> str:
        return f"client-{client:0{len(str(self.scenario.clients - 1))}d}"

    def participants(self, run: Run) -> list[int]:
        everybody = range(self.scenario.clients)
        return [each for each in everybody if run.malicious or each not in self.malicious]

    def build(self) -> nn.Module:
        return self.model.build(self.shape, self.classes)

    def initial(self) -> ArrayRecord:
        model = self.model.initial(self.shape, self.classes, self.scenario.seed)
        return ArrayRecord(model.state_dict())

    def attack(self) -> Behaviour | Defence | WhiteBox:
        return parse_attack(self.scenario.attack)

    def trigger(self) -> Trigger | None:
        attack = self.attack()
        return attack.trigger if isinstance(attack, Behaviour) else None

    def defence(self, run: Run) -> Defence | Policy:
        written = self.scenario.defence if run.defended else "mean()"
        return parse_policy(written, self.scenario.malicious)

    def omniscient(self, run: Run) -> Defence | WhiteBox | None:
        attack = self.attack()
        return attack if run.attacked and not isinstance(attack, Behaviour) else None

    def vectors(self) -> dict[str, Callable[[ArrayRecord, int], ArrayRecord]]:
        """What the server does on its own examples, if it has any, by the vector it gives.

        It trains, as an honest client would, and searches for triggers.
        """
        scenario = self.scenario
        if not scenario.root_examples:
            return {}
        training = Training(scenario.steps, scenario.batch, scenario.learning_rate)
        task = Task(scenario.clients, self.build, self.kept, honest(), training, scenario.seed)
        root = partial(trained, task)
        if not scenario.triggers:
            return {"root": root}
        return {"root": root, "trigger": trigger_search(self.build, self.kept, seed=scenario.seed)}

    def removal(self, run: Run) -> Removal | None:
        """How a defended run cleanses the model on the server's own examples, if it does."""
        method = parse_removal(self.scenario.removal) if run.defended else None
        return removal(method, self.build, self.kept, self.scenario.seed) if method else None

    def renames(self, run: Run) -> bool:
        """Whether the malicious come back under new keys."""
        attack = self.attack()
        return run.attacked and isinstance(attack, Behaviour) and attack.renames

    def behaviour(self, run: Run, client: int) -> Behaviour:
        attack = self.attack()
        if not (run.attacked and client in self.malicious and isinstance(attack, Behaviour)):
            return honest()
        if attack.share:
            return attack.share(sorted(self.malicious).index(client), len(self.malicious))
        return attack


@lru_cache(maxsize=2)
def _split_data(
    dataset: str, partition: str, clients: int, root_examples: int, seed: int
) -> tuple[Dataset, tuple[Examples, ...], Examples]:
    """The data, every client's part, and the server's, which no client has."""
    data = load_dataset(dataset)
    if root_examples >= len(data.train.y):
        raise ConfigError(f"root_examples: {dataset} has {len(data.train.y)} examples in all")
    order = np.arange(len(data.train.y))
    if root_examples:
        order = np.random.default_rng([seed, 5]).permutation(order)
    kept, left = order[:root_examples], np.sort(order[root_examples:])
    rows = [
        left[own] for own in split(parse_partition(partition), data.train.y[left], clients, seed)
    ]
    parts = [data.train._replace(x=data.train.x[own], y=data.train.y[own]) for own in (*rows, kept)]
    return data, tuple(parts[:-1]), parts[-1]


@lru_cache(maxsize=16)
def federation_of(scenario: Scenario) -> Federation:
    """Load, split and draw, once a process; every process comes to the same."""
    dataset = resolve_dataset(scenario.dataset)
    data, parts, kept = _split_data(
        dataset, scenario.partition, scenario.clients, scenario.root_examples, scenario.seed
    )
    rng = np.random.default_rng([scenario.seed, 4])
    drawn = rng.choice(scenario.clients, scenario.malicious, replace=False)
    malicious = frozenset(drawn.tolist())
    attack = parse_attack(scenario.attack)
    if isinstance(attack, Behaviour):  # refused here if it does not fit the data
        attack.poison(parts[0], stream(scenario.seed, DATA, 0))
    return Federation(scenario, data, parts, kept, malicious, parse_model(scenario.model))


@lru_cache(maxsize=64)
def task_of(scenario: Scenario, run: Run, client: int) -> Task:
    """A client's work in a run, its data already poisoned if it lies."""
    federation = federation_of(scenario)
    behaviour = federation.behaviour(run, client)
    examples = behaviour.poison(federation.parts[client], stream(scenario.seed, DATA, client))
    training = Training(scenario.steps, scenario.batch, scenario.learning_rate)
    return Task(client, federation.build, examples, behaviour, training, scenario.seed)
