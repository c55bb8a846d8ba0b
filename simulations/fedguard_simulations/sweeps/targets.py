"""What a sweep's defence should reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fedguard.errors import ConfigError, UnknownName

__all__ = ["Setting", "Targets", "checked_keys", "number"]


LIMITS = ("no_attack_gap", "attack_success", "backdoor_gap")


class Setting(NamedTuple):
    """How the data are split, and how many of the clients are malicious."""

    partition: str
    malicious: int

    def __str__(self) -> str:
        return f"{self.partition}, f = {self.malicious}"


@dataclass(frozen=True, slots=True)
class Targets:
    """What `defence` should reach, each None or left out where nothing is asked for.

    `worst` maps settings to the least share of the oracle's accuracy, over all attacks, that is
    kept. `no_attack_gap` is how much accuracy it may cost with nobody attacking, compared with the
    plain mean; `attack_success` how often a backdoor may open at most, and `backdoor_gap` how much
    less accuracy than the oracle's may be left under an attack with such an aim.
    """

    defence: str
    worst: Mapping[Setting, float] = dataclasses.field(default_factory=dict)
    no_attack_gap: float | None = None
    attack_success: float | None = None
    backdoor_gap: float | None = None

    @classmethod
    def parse(
        cls, plain: Mapping[str, Any], defences: Sequence[str], settings: Sequence[Setting]
    ) -> Targets:
        """Read a [targets] table. Raises `ConfigError` for what the sweep does not have."""
        checked_keys("[targets]", plain, [each.name for each in dataclasses.fields(cls)])
        defence = plain.get("defence")
        if defence not in defences:
            raise UnknownName("defence in [targets]", str(defence), defences)
        worst = {}
        asked = plain.get("worst", [])
        if not isinstance(asked, Sequence) or isinstance(asked, str):
            raise ConfigError(f"targets.worst must be a list of tables, got {asked!r}")
        for each in asked:
            checked_keys("targets.worst", each, ("partition", "malicious", "ratio"), needed=True)
            setting = Setting(each["partition"], each["malicious"])
            if setting not in settings:
                raise UnknownName("setting in targets.worst", str(setting), map(str, settings))
            worst[setting] = number("ratio", each["ratio"])
        rest = {name: number(name, plain[name]) for name in LIMITS if name in plain}
        return cls(str(defence), worst, **rest)

    def to_dict(self) -> dict[str, Any]:
        """The table that `parse` reads."""
        rest = {name: getattr(self, name) for name in LIMITS}
        return {
            "defence": self.defence,
            "worst": [{**each._asdict(), "ratio": ratio} for each, ratio in self.worst.items()],
            **{name: value for name, value in rest.items() if value is not None},
        }


def checked_keys(where: str, plain: Any, known: Sequence[str], needed: bool = False) -> None:
    """Raise `ConfigError` unless `plain` is a table of known keys, or of all when `needed`."""
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where} must be a table, got {plain!r}")
    for name in plain:
        if name not in known:
            raise UnknownName(f"key of {where}", name, known)
    for name in known if needed else ():
        if name not in plain:
            raise ConfigError(f"{where} needs the key {name!r}")


def number(name: str, value: Any) -> float:
    """A number, and no truth value. Raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    return float(value)
