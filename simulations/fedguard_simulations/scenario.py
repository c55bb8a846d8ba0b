"""A scenario: a federation, an attack, a defence and what they should come to, as data."""

from __future__ import annotations

import dataclasses
import operator
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedguard import InMemory, Policy
from fedguard.config import Factories, imported, is_reference, parse_expression
from fedguard.defence import Chain, Defence, Stage, chain, stages_of, transform
from fedguard.errors import ConfigError, TooFewUpdates, UnknownName
from fedguard.probes import Context
from fedguard.server import rehearse
from fedguard_clients import ATTACKS, Behaviour
from fedguard_simulations.attacks import DISGUISES, OMNISCIENT, WHITE_BOXES, WhiteBox
from fedguard_simulations.data import DATASETS, resolve_dataset
from fedguard_simulations.models import MODELS, Model
from fedguard_simulations.partitions import PARTITIONS, Partition
from fedguard_simulations.runs import MEASURES, RUNS
from fedguard_strategies.expressions import parse_optimiser, parse_policy

if TYPE_CHECKING:
    from fedguard_clients.cleansing import Method

__all__ = [
    "Expectation",
    "Scenario",
    "load_scenario",
    "parse_attack",
    "parse_model",
    "parse_partition",
    "parse_removal",
    "scenarios",
    "typed",
]

RELATIONS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of an [expect] block: on `dataset`, `metric` stands in `relation` to `value`."""

    dataset: str
    metric: str
    relation: str
    value: float

    @classmethod
    def parse(cls, dataset: str, metric: str, text: str) -> Expectation:
        """Read ">= 0.8".

        >>> Expectation.parse("digits", "defended_accuracy", ">= 0.8").value
        0.8
        """
        known = [f"{run}_{measure}" for run in RUNS for measure in MEASURES]
        if metric not in known:
            raise UnknownName("expectation", metric, known)
        relation, _, value = str(text).partition(" ")
        if relation not in RELATIONS:
            raise ConfigError(f"expect {metric} = {text!r}: write it like '>= 0.8'")
        try:
            return cls(dataset, metric, relation, float(value))
        except ValueError:
            raise ConfigError(f"expect {metric} = {text!r}: {value!r} is no number") from None

    def holds(self, measured: float) -> bool:
        return bool(RELATIONS[self.relation](measured, self.value))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. `partition`, `model`, `attack`, `defence`, `optimiser` are expressions.

    `defence` may be a whole policy, which then brings its own scorers and reputations, and it and
    `model` may be a user's own code, as `module:callable`. Of the `clients` a round asks `sampled`,
    drawn anew each time, or all if it is 0: how many of the malicious are among them then changes.
    `optimiser` is the server's, in every run; empty for none. `root_examples` are training examples
    that the server keeps for itself: for FLTrust, to score behaviour and, with `triggers`, what
    opens the model, and for `removal`, an expression too, by which defended runs cleanse it.

    The id is versioned ("sign-flip-v1"): a scenario whose result changes becomes a new version.
    """

    id: str
    summary: str
    attack: str
    defence: str
    dataset: str = "auto"
    partition: str = "dirichlet(alpha=0.3)"
    model: str = "mlp(hidden=64)"
    clients: int = 20
    malicious: int = 4
    sampled: int = 0
    rounds: int = 40
    steps: int = 10
    batch: int = 32
    learning_rate: float = 0.1
    root_examples: int = 0
    optimiser: str = ""
    removal: str = ""
    triggers: bool = False
    reputation: bool = True
    seed: int = 0
    expect: tuple[Expectation, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check everything that can be checked before a run. Raises `ConfigError` and the like."""
        for name in ("clients", "rounds", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.malicious < self.clients:
            raise ConfigError(
                f"malicious must lie in [0, {self.clients - 1}], got {self.malicious}"
            )
        if not 0 < self.learning_rate < inf:
            raise ConfigError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.sampled <= self.clients:
            raise ConfigError(f"sampled must lie in [0, {self.clients}], got {self.sampled}")
        for name in ("root_examples", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.dataset != "auto":
            resolve_dataset(self.dataset)
        parse_partition(self.partition)
        parse_model(self.model)
        attack = parse_attack(self.attack)
        if not isinstance(attack, Behaviour):
            crafted = _rows_of(attack, self.clients - self.malicious)
            if crafted != self.malicious:
                raise ConfigError(
                    f"{self.attack} makes {crafted} updates, the scenario has {self.malicious} "
                    "malicious clients: use the same number"
                )
        vectors = ["model", *(["root"] if self.root_examples else [])]
        vectors += ["trigger"] if self.triggers else []
        chosen = parse_policy(self.defence, self.malicious)
        whole = (chosen.defence, chosen.scorers) if isinstance(chosen, Policy) else (chosen, ())
        rehearse(whole[0], self.sampled or self.clients, vectors, whole[1])
        parse_optimiser(self.optimiser)
        if (parse_removal(self.removal) or self.triggers) and not self.root_examples:
            raise ConfigError("removal and triggers need root_examples, clean ones of the server's")

    def evolve(self, **changes: Any) -> Scenario:
        """A copy with some fields changed and checked again; did-you-mean for unknown ones."""
        known = [each.name for each in dataclasses.fields(self) if each.name != "expect"]
        for name in changes:
            if name not in known:
                raise UnknownName("scenario key", name, known)
        return dataclasses.replace(self, **typed(changes))

    def to_dict(self) -> dict[str, Any]:
        """Plain data as in the TOML file, id included."""
        plain = dataclasses.asdict(self)
        expect: dict[str, dict[str, str]] = {}
        for each in self.expect:
            expect.setdefault(each.dataset, {})[each.metric] = f"{each.relation} {each.value:g}"
        return {**plain, "expect": expect}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Scenario:
        """The scenario `to_dict` describes. Raises `UnknownName` with the nearest key."""
        known = [each.name for each in dataclasses.fields(cls)]
        for name in plain:
            if name not in known:
                raise UnknownName("scenario key", name, known)
        for name in ("id", "summary", "attack", "defence"):
            if name not in plain:
                raise ConfigError(f"a scenario needs the key {name!r}")
        values = dict(plain)
        expect = values.pop("expect", {})
        if not isinstance(expect, Mapping):
            raise ConfigError(f"expect must be tables like [expect.digits], got {expect!r}")
        lines = []
        for dataset, block in expect.items():
            if dataset not in DATASETS or not isinstance(block, Mapping):
                raise UnknownName("data set in [expect.…]", dataset, DATASETS)
            lines += [Expectation.parse(dataset, *line) for line in block.items()]
        return cls(**typed(values), expect=tuple(lines))


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the fields' types; "12" becomes 12 where an int is wanted, "x" is refused."""
    kinds = {each.name: str(each.type) for each in dataclasses.fields(Scenario)}
    typed = {}
    for name, value in values.items():
        kind: Callable[[Any], Any] = KINDS[kinds[name]]
        if kind is str and not isinstance(value, str):
            raise ConfigError(f"{name} must be a string, got {value!r}")
        try:
            typed[name] = kind(value)
            exact = kind is not int or float(value) == typed[name]
        except (TypeError, ValueError, KeyError):
            exact = False
        if not exact:
            raise ConfigError(f"{name} must be {kinds[name]}, got {value!r}")
    return typed


def _truth(value: Any) -> bool:
    """true or false, as TOML has it and as people write it after --set."""
    return {"true": True, "false": False}[str(value).lower()]


KINDS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": _truth,
}


def _rows_of(attack: Defence | WhiteBox, honest: int) -> int:
    """How many rows an omniscient attack makes. Raises `TooFewUpdates` for too few honest ones."""
    if isinstance(attack, WhiteBox):
        return attack.f
    first = stages_of(attack)[0]
    if honest < first.min_updates:
        raise TooFewUpdates(first.name, first.bound, first.min_updates, honest)
    rows = np.random.default_rng(0).normal(size=(max(3, first.min_updates), 8))
    context = Context.of_rows(len(rows))._replace(vectors={"model": np.ones(8)})
    return len(transform(attack, InMemory(rows), context=context)[0])


def _by_name(functions: tuple[Any, ...]) -> Factories:
    return {each.__name__: each for each in functions}


def parse_partition(text: str) -> Partition:
    """A way to split the data, by its expression."""
    value = parse_expression(text, _by_name(PARTITIONS), "partition")
    if not isinstance(value, Partition):
        raise ConfigError(f"{text!r} is not a partition")
    return value


def parse_model(text: str) -> Model:
    """An architecture, by its expression or as the `module:callable` that builds it.

    A user's callable takes the shape of an example and the number of classes.
    """
    if is_reference(text):
        return Model(text, imported(text, "model"))
    value = parse_expression(text, _by_name(MODELS), "model")
    if not isinstance(value, Model):
        raise ConfigError(f"{text!r} is not a model")
    return value


def parse_attack(text: str) -> Behaviour | Defence | WhiteBox:
    """A client's behaviour or an omniscient attack, by its expression."""
    known = _by_name((*ATTACKS, *OMNISCIENT, *DISGUISES, chain, *WHITE_BOXES))
    value = parse_expression(text, known, "attack")
    if not isinstance(value, (Behaviour, Stage, Chain, WhiteBox)):
        raise ConfigError(f"{text!r} is not an attack")
    return value


def parse_removal(text: str) -> Method | None:
    """A way to cleanse the model, by its expression; none by an empty one."""
    if not text:
        return None
    from fedguard_clients.cleansing import METHODS, Method

    value = parse_expression(text, _by_name(METHODS), "removal")
    if not isinstance(value, Method):
        raise ConfigError(f"{text!r} is not a removal: write it like fine_pruning(every=10)")
    return value


def _folder() -> Path:
    return Path(str(resources.files("fedguard_simulations") / "scenarios"))


def scenarios() -> dict[str, Path]:
    """The scenarios that ship with fedguard, by id."""
    return {path.stem: path for path in sorted(_folder().glob("*.toml"))}


def load_scenario(name: str) -> Scenario:
    """A shipped scenario by id, with or without its version, or one in a TOML file by path."""
    shipped = scenarios()
    path = Path(name)
    if path.suffix != ".toml":
        versions = [known for known in shipped if known.rpartition("-v")[0] == name]
        newest = max(versions, key=lambda known: int(known.rpartition("-v")[2]), default="")
        known = name if name in shipped else newest
        if not known:
            raise UnknownName("scenario", name, shipped)
        path = shipped[known]
    try:
        plain = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no scenario file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return Scenario.from_dict({"id": path.stem, **plain})
