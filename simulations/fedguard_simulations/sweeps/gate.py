"""A sweep against a baseline: what got worse, beyond noise and by more than it may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean
from typing import NamedTuple

import numpy as np
from scipy import stats

from fedguard.errors import ConfigError
from fedguard.reputation.evidence import benjamini_hochberg
from fedguard_simulations.sweeps.baseline import (
    MEASURES,
    Baseline,
    Figures,
    Place,
    baseline_of,
)
from fedguard_simulations.sweeps.grid import NONE, Sweep
from fedguard_simulations.sweeps.summary import Summary

__all__ = ["Change", "Comparison", "check_baseline", "compare"]

SIGNIFICANCE = 0.05
BROKEN = 0.1
"""Worse by more than this on two seeds is a defence that breaks at times, which no mean shows."""
EVERY = "all attacks together"
EQUAL = 1e-12
"""Differences over seeds that vary by less are one and the same."""


class Change(NamedTuple):
    """One figure at one place; `worse` is the mean over seeds, negative where it is better."""

    place: Place
    measure: str
    before: float
    after: float
    worse: float
    chance: float
    """How likely it is to look so much worse, or better, where nothing is."""
    broken: bool = False
    """Whether it got much worse on two seeds, or on the only one."""

    def turned(self) -> Change:
        """The same from now to the baseline."""
        return self._replace(before=self.after, after=self.before, worse=-self.worse)


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

    Of those told as beyond noise one in twenty may be so by chance (Benjamini and Hochberg, over
    the figures that moved at all, for what got worse and for what got better alone). Where two
    seeds are worse by more than `BROKEN` it is one, whatever test and mean say. Next to each
    attack, all attacks on a defence count together, whose mean varies less.
    Raises `ConfigError` when the baseline is of other settings or has nothing in common.
    """
    now = baseline_of(summary)
    check_baseline(baseline, summary.sweep)
    shared = [place for place in now.figures if place in baseline.figures]
    before, after = (_together(each.figures, shared) for each in (baseline, now))
    worse, better = _moved(before, after), _moved(after, before)
    beyond = _beyond(worse, points)
    regressions = [each for each in worse if each in beyond or each.broken]
    known = {(each.place, each.measure) for each in regressions}
    improvements = [
        each.turned() for each in _beyond(better, points) if (each.place, each.measure) not in known
    ]
    return Comparison(
        regressions=tuple(regressions),
        improvements=tuple(improvements),
        compared=len(shared),
        gone=tuple(each for each in baseline.figures if each not in now.figures),
        new=tuple(each for each in now.figures if each not in baseline.figures),
    )


def check_baseline(baseline: Baseline, sweep: Sweep) -> None:
    """Raise `ConfigError` when a baseline is of other settings than a sweep, or of other cells."""
    before = baseline.base
    for name in sorted({*before, *sweep.base}):
        if before.get(name) != sweep.base.get(name):
            raise ConfigError(
                f"the baseline was made with {name} = {before.get(name)!r}, this sweep has "
                f"{sweep.base.get(name)!r}: make it anew with --update"
            )
    grid = product(map(str, sweep.settings), sweep.attacks, [each.name for each in sweep.defences])
    if not any(Place(*each) in baseline.figures for each in grid):
        raise ConfigError("the baseline has no cell of this sweep: make it with --update")
    measured = [by_seed for found in baseline.figures.values() for by_seed in found.values()]
    seeds = sorted(set[int]().union(*measured))
    if not set(seeds) & set(sweep.seeds):
        raise ConfigError(
            f"the baseline has the seeds {seeds}, this sweep has {[*sweep.seeds]}: take one of "
            "those, or make it anew with --update"
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


def _beyond(changes: Sequence[Change], points: float) -> list[Change]:
    """What is worse by more than `points`, and by more than noise."""
    sure = benjamini_hochberg(np.array([each.chance for each in changes]), SIGNIFICANCE)
    return [
        each for each, told in zip(changes, sure, strict=True) if told and each.worse > points / 100
    ]


def _moved(before: Figures, after: Figures) -> list[Change]:
    """Every figure that is not the same in all seeds."""
    return [each for place in before for each in _changes(place, before[place], after[place])]


def _changes(
    place: Place,
    before: Mapping[str, Mapping[int, float]],
    after: Mapping[str, Mapping[int, float]],
) -> Iterator[Change]:
    for name, measure in MEASURES.items():
        old, new = before.get(name, {}), after.get(name, {})
        seeds = [seed for seed in old if seed in new]
        worse = [measure.sign * (old[seed] - new[seed]) for seed in seeds]
        if any(abs(each) > EQUAL for each in worse):
            means = [mean(each[seed] for seed in seeds) for each in (old, new)]
            much = sum(each > BROKEN for each in worse)
            broken = much >= min(2, len(worse))
            yield Change(place, name, means[0], means[1], mean(worse), _chance(worse), broken)


def _chance(worse: list[float]) -> float:
    """Of a mean so far above nothing, one-sided; 0 where all are and none varies.

    Of a single seed nothing can be told.
    """
    if len(worse) < 2:
        return 1.0
    if max(worse) - min(worse) < EQUAL:
        return 0.0 if worse[0] > EQUAL else 1.0
    return float(stats.ttest_1samp(worse, 0.0, alternative="greater").pvalue)
