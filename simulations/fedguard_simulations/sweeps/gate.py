"""A sweep against a baseline: what got worse, beyond noise and by more than it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from scipy import stats

from fedguard.canonical import from_json, to_json
from fedguard.errors import ConfigError
from fedguard_simulations.sweeps.cache import write_whole
from fedguard_simulations.sweeps.grid import NONE, Sweep
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.sources import environment
from fedguard_simulations.sweeps.summary import Summary

__all__ = ["Baseline", "Change", "Comparison", "Place", "baseline_of", "compare", "read_baseline"]

SIGNIFICANCE = 0.05
EVERY = "all attacks together"
EQUAL = 1e-12
"""Differences over seeds that vary by less are one and the same."""


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
        name: {str(seed): round(value, 6) for seed, value in by_seed.items()}
        for name, by_seed in found.items()
    }


def baseline_of(summary: Summary) -> Baseline:
    """The baseline that this sweep would make."""
    figures: dict[Place, dict[str, dict[int, float]]] = {}
    for group in summary.groups.values():
        found = figures[Place(str(group.setting), group.attack, group.defence)] = {}
        for name, measure in MEASURES.items():
            values = {each.cell.seed: measure.of(each.result) for each in group.runs}
            known = {seed: value for seed, value in values.items() if value is not None}
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


class Change(NamedTuple):
    """One figure at one place; `worse` is the mean over seeds, negative where it is better."""

    place: Place
    measure: str
    before: float
    after: float
    worse: float
    chance: float
    """How likely differences like these are where nothing got worse, or better."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is beyond noise and larger than it may be; places that only one side has."""

    regressions: tuple[Change, ...]
    improvements: tuple[Change, ...]
    compared: int
    gone: tuple[Place, ...]
    new: tuple[Place, ...]


def compare(baseline: Baseline, summary: Summary, points: float) -> Comparison:
    """Compare seed by seed: a regression is one by Student's paired test and of over `points`.

    Next to each attack, all attacks on a defence count together, whose mean varies less. Raises
    `ConfigError` when the baseline is of other settings or has nothing in common.
    """
    now = baseline_of(summary)
    _same_settings(baseline.base, summary.sweep)
    shared = [place for place in now.figures if place in baseline.figures]
    if not shared:
        raise ConfigError("the baseline has no cell of this sweep: make it with --update")
    before, after = (_together(each.figures, shared) for each in (baseline, now))
    changes = [each for place in before for each in _changes(place, before[place], after[place])]
    beyond = [each for each in changes if each.chance < SIGNIFICANCE]
    return Comparison(
        regressions=tuple(each for each in beyond if each.worse > points / 100),
        improvements=tuple(each for each in beyond if -each.worse > points / 100),
        compared=len(shared),
        gone=tuple(each for each in baseline.figures if each not in now.figures),
        new=tuple(each for each in now.figures if each not in baseline.figures),
    )


def _same_settings(before: Mapping[str, Any], sweep: Sweep) -> None:
    for name in sorted({*before, *sweep.base}):
        if before.get(name) != sweep.base.get(name):
            raise ConfigError(
                f"the baseline was made with {name} = {before.get(name)!r}, this sweep has "
                f"{sweep.base.get(name)!r}: make it anew with --update"
            )


def _together(figures: Figures, shared: Iterable[Place]) -> Figures:
    """The shared places, and for each defence the means over its attacks."""
    kept = {place: figures[place] for place in shared}
    attacked: dict[Place, list[Mapping[str, Mapping[int, float]]]] = {}
    for place, found in kept.items():
        if place.attack != NONE:
            attacked.setdefault(place._replace(attack=EVERY), []).append(found)
    return kept | {
        place: {
            name: {seed: mean(each[seed] for each in own) for seed in own[0]}
            for name in MEASURES
            if (own := [each[name] for each in many if name in each])
            and all(each.keys() == own[0].keys() for each in own)
        }
        for place, many in attacked.items()
        if len(many) > 1
    }


def _changes(
    place: Place,
    before: Mapping[str, Mapping[int, float]],
    after: Mapping[str, Mapping[int, float]],
) -> Iterator[Change]:
    for name, measure in MEASURES.items():
        old, new = before.get(name, {}), after.get(name, {})
        seeds = [seed for seed in old if seed in new]
        if seeds:
            worse = [measure.sign * (old[seed] - new[seed]) for seed in seeds]
            means = [mean(each[seed] for seed in seeds) for each in (old, new)]
            yield Change(place, name, means[0], means[1], mean(worse), _chance(worse))


def _chance(worse: list[float]) -> float:
    """One-sided: of a mean as far from nothing in its own direction; 0 where none varies."""
    if max(worse) - min(worse) < EQUAL:
        return 0.0 if abs(worse[0]) > EQUAL else 1.0
    side = "greater" if mean(worse) > 0 else "less"
    return float(stats.ttest_1samp(worse, 0.0, alternative=side).pvalue)
