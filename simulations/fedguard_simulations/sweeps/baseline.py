"""A sweep's figures by seed, kept to compare later ones with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fedguard.canonical import from_json, to_json
from fedguard.errors import ConfigError
from fedguard.files import write_whole
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.sources import environment
from fedguard_simulations.sweeps.summary import Summary

__all__ = ["MEASURES", "Baseline", "Figures", "Place", "baseline_of", "read_baseline"]


class Measure(NamedTuple):
    """A figure of a run in [0, 1], None where it has none; `sign` is 1 where more is better."""

    of: Callable[[Result], float | None]
    sign: int


def _success(result: Result) -> float | None:
    return result.attack_success[-1] if result.attack_success else None


def _away(result: Result) -> float | None:
    return len(result.found) / result.hostile if result.hostile else None


MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure(lambda each: each.accuracy[-1], 1),
    "attack success": Measure(_success, -1),
    "attackers put away": Measure(_away, 1),
    "honest put away": Measure(lambda each: each.honest_away / max(each.honest, 1), -1),
}


class Place(NamedTuple):
    """One attack against one defence in one setting."""

    setting: str
    attack: str
    defence: str

    def __str__(self) -> str:
        return f"{self.attack} against {self.defence}, {self.setting}"


DECIMALS = 6
"""Of a figure, in a file and here alike, or what did not change would seem to."""
Figures = Mapping[Place, Mapping[str, Mapping[int, float]]]
"""By place and measure, a figure for each seed."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The figures of a sweep made earlier, with the settings and versions they were made with."""

    base: Mapping[str, Any]
    environment: Mapping[str, str]
    figures: Figures

    def write(self, path: Path) -> None:
        """Write the file that `read_baseline` reads, a line a place."""
        lines = [
            to_json({"place": list(place), "figures": _spelled(found)}).decode()
            for place, found in self.figures.items()
        ]
        head = to_json({"base": self.base, "environment": self.environment}).decode()
        body = ",\n".join(lines)
        write_whole(path, f'{head[:-1]},"cells":[\n{body}\n]}}\n'.encode())


def _spelled(found: Mapping[str, Mapping[int, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {str(seed): value for seed, value in by_seed.items()}
        for name, by_seed in found.items()
    }


def baseline_of(summary: Summary) -> Baseline:
    """The baseline that this sweep would make."""
    figures: dict[Place, dict[str, dict[int, float]]] = {}
    for group in summary.groups.values():
        found = figures[Place(str(group.setting), group.attack, group.defence)] = {}
        for name, measure in MEASURES.items():
            values = {each.cell.seed: measure.of(each.result) for each in group.runs}
            known = {
                seed: round(value, DECIMALS) for seed, value in values.items() if value is not None
            }
            if known:
                found[name] = known
    return Baseline(summary.sweep.base, environment(), figures)


def read_baseline(path: Path) -> Baseline:
    """Read what `Baseline.write` wrote. Raises `ConfigError` for anything else."""
    try:
        plain = from_json(path.read_bytes())
        figures = {
            Place(*each["place"]): {
                name: {int(seed): float(value) for seed, value in found.items()}
                for name, found in each["figures"].items()
            }
            for each in plain["cells"]
        }
        return Baseline(plain["base"], plain["environment"], figures)
    except FileNotFoundError:
        raise ConfigError(f"there is no baseline {path}: make it with --update") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no baseline: {error!r}; make it with --update") from None
