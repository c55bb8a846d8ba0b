"""A sweep: attacks x defences x settings x seeds over one base scenario, as data."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from fedguard.errors import ConfigError, FedguardError, UnknownName
from fedguard_simulations.data import resolve_dataset
from fedguard_simulations.scenario import Scenario, parse_attack, typed
from fedguard_simulations.sweeps.targets import Setting, Targets, checked_keys

__all__ = [
    "CLEAN",
    "NONE",
    "ORACLE",
    "Cell",
    "Defended",
    "Sweep",
    "load_sweep",
    "suites",
    "sweep_path",
]

NONE = "none"
"""The attack of those cells in which nobody attacks."""
ORACLE, CLEAN = "honest clients only", "plain mean, nobody attacks"
"""The cells that others are compared with."""
HARMLESS = "label_flip()"
"""What a scenario must name though nobody attacks."""
GRID = ("attacks", "defences", "partitions", "malicious", "settings", "seeds")
GIVEN = {
    each.name
    for each in dataclasses.fields(Scenario)
    if each.name
    not in (
        *("id", "summary", "expect", "attack", "defence"),
        *("partition", "malicious", "reputation", "seed"),
    )
}
"""The scenario's keys that [base] may set; the grid sets the others."""


class Defended(NamedTuple):
    """A defence of the grid: a rule's, policy's or user's expression under a name."""

    name: str
    defence: str
    reputation: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: `attack` and `defence` are the grid's names, `scenario` and `run` what is run.

    An oracle's attack is whose aim its model is measured by, NONE for that of the accuracy.
    """

    setting: Setting
    attack: str
    defence: str
    run: str
    scenario: Scenario

    @property
    def seed(self) -> int:
        return self.scenario.seed

    def __str__(self) -> str:
        return f"{self.attack} against {self.defence}, {self.setting}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A grid. `{f}` in its attacks and defences stands for the number of malicious clients."""

    name: str
    summary: str
    base: Mapping[str, Any]
    attacks: tuple[str, ...]
    defences: tuple[Defended, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    targets: Targets | None = None

    @classmethod
    def from_dict(cls, name: str, plain: Mapping[str, Any]) -> Sweep:
        """Read what a TOML file holds. Raises `ConfigError` with what is wrong where."""
        checked_keys("a sweep", plain, ("summary", "base", "grid", "targets"))
        base, grid = plain.get("base", {}), plain.get("grid", {})
        checked_keys("[base]", base, sorted(GIVEN))
        checked_keys("[grid]", grid, GRID)
        defences = tuple(map(_defended, _listed(grid, "defences")))
        names = [each.name for each in defences]
        if len(set(names)) < len(names):
            raise ConfigError(f"[grid] has two defences of one name: {names}; give one a name")
        settings = tuple(dict.fromkeys(_settings(grid)))
        dataset = base.get("dataset", "auto")
        if not isinstance(dataset, str):
            raise ConfigError(f"[base] dataset must be a name, got {dataset!r}")
        targets = plain.get("targets")
        return cls(
            name,
            str(plain.get("summary", name)),
            typed({**base, "dataset": resolve_dataset(dataset)}),
            tuple(dict.fromkeys(map(str, _listed(grid, "attacks")))),
            defences,
            settings,
            tuple(dict.fromkeys(_whole("seeds", each) for each in _listed(grid, "seeds"))),
            None if targets is None else Targets.parse(targets, names, settings),
        )

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        plain: dict[str, Any] = {
            "summary": self.summary,
            "base": dict(self.base),
            "grid": {
                "attacks": list(self.attacks),
                "defences": [each._asdict() for each in self.defences],
                "settings": [each._asdict() for each in self.settings],
                "seeds": list(self.seeds),
            },
        }
        return plain | ({"targets": self.targets.to_dict()} if self.targets else {})

    def evolve(self, changes: Mapping[str, str]) -> Sweep:
        """A copy with other keys of [base], or with other `seeds` as "0,1,2"."""
        plain = self.to_dict()
        for key, value in changes.items():
            if key == "seeds":
                told = value.split(",")
                plain["grid"]["seeds"] = [
                    int(each) if each.strip().isdigit() else each for each in told
                ]
            elif key in GIVEN:
                plain["base"][key] = value
            else:
                raise UnknownName("key of [base]", key, [*GIVEN, "seeds"])
        return Sweep.from_dict(self.name, plain)

    def only(self, reference: str) -> Sweep:
        """A copy with one defence alone, and no targets."""
        alone = (Defended(reference, reference),)
        return dataclasses.replace(self, defences=alone, targets=None)

    def cells(self) -> Iterator[Cell]:
        """Every run, those that share a split of the data next to each other."""
        for setting, seed in product(self.settings, self.seeds):
            yield self._cell(setting, NONE, Defended(ORACLE, "mean()"), seed, "oracle")
            yield self._cell(setting, NONE, Defended(CLEAN, "mean()"), seed, "clean")
            for attack in self.attacks:
                aimed = self._cell(setting, attack, Defended(ORACLE, "mean()"), seed, "oracle")
                if attack != NONE and _has_aim(aimed.scenario.attack):
                    yield aimed
            for attack, defence in product(self.attacks, self.defences):
                peace = "clean" if defence[1:] == ("mean()", False) else "peace"
                run = peace if attack == NONE else "defended"
                yield self._cell(setting, attack, defence, seed, run)

    def _cell(self, setting: Setting, attack: str, defence: Defended, seed: int, run: str) -> Cell:
        f = str(setting.malicious)
        fields = {
            **self.base,
            **setting._asdict(),
            "id": self.name,
            "summary": f"A cell of {self.name}",
            "attack": HARMLESS if attack == NONE else attack.replace("{f}", f),
            "defence": defence.defence.replace("{f}", f),
            "reputation": defence.reputation,
            "seed": seed,
        }
        try:
            scenario = Scenario.from_dict(fields)
        except FedguardError as error:
            where = f"{attack} against {defence.name}, {setting}"
            raise ConfigError(f"{self.name}: {where}: {error}") from error
        return Cell(setting, attack, defence.name, run, scenario)


def _has_aim(attack: str) -> bool:
    return getattr(parse_attack(attack), "trigger", None) is not None


def _listed(grid: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = grid.get(name)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"[grid] needs {name} = [...], got {value!r}")
    return value


def _defended(plain: Any) -> Defended:
    if isinstance(plain, str):
        return Defended(plain, plain)
    checked_keys("a defence", plain, Defended._fields)
    if not isinstance(plain.get("defence"), str):
        raise ConfigError(f"a defence needs the key 'defence', got {dict(plain)!r}")
    reputation = plain.get("reputation", False)
    if not isinstance(reputation, bool):
        raise ConfigError(f"reputation must be true or false, got {reputation!r}")
    return Defended(str(plain.get("name", plain["defence"])), plain["defence"], reputation)


def _settings(grid: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The pairs in `settings`, or every one of `partitions` with every one of `malicious`."""
    if "settings" in grid:
        if "partitions" in grid or "malicious" in grid:
            raise ConfigError("[grid]: give settings, or partitions and malicious, not both")
        for each in _listed(grid, "settings"):
            checked_keys("settings", each, Setting._fields, needed=True)
        pairs = [(each["partition"], each["malicious"]) for each in grid["settings"]]
    else:
        pairs = list(product(_listed(grid, "partitions"), _listed(grid, "malicious")))
    for partition, malicious in pairs:
        if not isinstance(partition, str):
            raise ConfigError(f"a partition is an expression in quotes, got {partition!r}")
        _whole("malicious", malicious)
    return tuple(Setting(*pair) for pair in pairs)


def _whole(name: str, value: Any) -> int:
    """A whole number, and no truth value. Raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be whole numbers, got {value!r}")
    return value


def suites() -> dict[str, Path]:
    """The sweeps that ship with fedguard, by name."""
    folder = Path(str(resources.files("fedguard_simulations") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def sweep_path(name: str) -> Path:
    """Where a shipped suite, or the TOML file itself, lies. Raises `UnknownName`."""
    if Path(name).suffix == ".toml":
        return Path(name)
    if name not in suites():
        raise UnknownName("suite", name, suites())
    return suites()[name]


def load_sweep(name: str) -> Sweep:
    """A shipped suite by name, or a sweep in a TOML file by path."""
    path = sweep_path(name)
    try:
        plain = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no sweep file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return Sweep.from_dict(path.stem, plain)
