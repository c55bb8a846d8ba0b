"""A sweep's figures over its seeds: means with intervals, and what is kept of the oracle's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, median, stdev
from typing import NamedTuple

from scipy import stats

from fedguard_simulations.sweeps.grid import CLEAN, NONE, ORACLE, Sweep
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.running import Found
from fedguard_simulations.sweeps.targets import Setting

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "Group",
    "Summary",
    "estimate",
    "seconds_a_round",
    "summary_of",
]

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over seeds; `half` is half its confidence interval, None for a single seed."""

    mean: float
    half: float | None


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and Student's interval, None of nothing.

    >>> [round(each, 3) for each in estimate([0.7, 0.8, 0.9])]
    [0.8, 0.248]
    """
    known = list(values)
    if len(known) < 2:
        return Estimate(known[0], None) if known else None
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
    return Estimate(mean(known), t * stdev(known) / sqrt(len(known)))


@dataclass(frozen=True, slots=True)
class Group:
    """One attack against one defence in one setting: a run a seed, each with its oracle's.

    `aimed` are oracles measured by the attack's aim, if it has one.
    """

    setting: Setting
    attack: str
    defence: str
    runs: tuple[Found, ...]
    oracle: tuple[Result, ...]
    clean: tuple[Result, ...]
    aimed: tuple[Result, ...]

    @property
    def results(self) -> list[Result]:
        return [each.result for each in self.runs]

    def over(self, what: Callable[[Result], float]) -> Estimate:
        found = estimate(map(what, self.results))
        assert found
        return found

    @property
    def accuracy(self) -> Estimate:
        return self.over(lambda each: each.accuracy[-1])

    @property
    def kept(self) -> Estimate:
        """The share of the oracle's accuracy, seed by seed."""
        return self._against(self.oracle, lambda own, other: own / max(other, 1e-9))

    @property
    def gap(self) -> Estimate:
        """How much accuracy is lost against the plain mean with nobody attacking."""
        return self._against(self.clean, lambda own, other: other - own)

    @property
    def short(self) -> Estimate:
        """How much accuracy is lost against the oracle."""
        return self._against(self.oracle, lambda own, other: other - own)

    def _against(
        self, others: Sequence[Result], compare: Callable[[float, float], float]
    ) -> Estimate:
        pairs = zip(self.results, others, strict=True)
        found = estimate(compare(own.accuracy[-1], other.accuracy[-1]) for own, other in pairs)
        assert found
        return found

    @property
    def attack_success(self) -> Estimate | None:
        """Of attacks with an aim of their own; None for the others."""
        return estimate(each.attack_success[-1] for each in self.results if each.attack_success)

    @property
    def success_anyway(self) -> Estimate | None:
        """What an attack with an aim would find had nobody attacked."""
        return estimate(each.attack_success[-1] for each in self.aimed if each.attack_success)


@dataclass(frozen=True, slots=True)
class Summary:
    """All groups of a sweep by setting, attack and defence, as the grid names them.

    `references` are the oracle and the plain mean in peace, which the others are compared with.
    """

    sweep: Sweep
    groups: Mapping[tuple[Setting, str, str], Group]
    references: Mapping[tuple[Setting, str], Group]

    def attacked(self, setting: Setting, defence: str) -> list[Group]:
        """Every attack against one defence."""
        attacks = [each for each in self.sweep.attacks if each != NONE]
        return [self.groups[setting, attack, defence] for attack in attacks]

    def worst(self, setting: Setting, defence: str) -> Group | None:
        """The attack that leaves a defence the least of the oracle's accuracy."""
        found = self.attacked(setting, defence)
        return min(found, key=lambda each: each.kept.mean, default=None)

    def misses_kept(self, group: Group) -> bool:
        """Whether a target asks for more than is kept here."""
        targets = self.sweep.targets
        if not targets or group.defence != targets.defence:
            return False
        if group.attack == NONE:
            return targets.no_attack_gap is not None and group.gap.mean > targets.no_attack_gap
        return group.kept.mean < targets.worst.get(group.setting, 0.0) or self.misses_gap(group)

    def misses_gap(self, group: Group) -> bool:
        """Whether an attack with an aim leaves less accuracy than a target asks for."""
        targets = self.sweep.targets
        if not targets or group.defence != targets.defence or targets.backdoor_gap is None:
            return False
        return bool(group.attack_success) and group.short.mean > targets.backdoor_gap

    def misses_success(self, group: Group) -> bool:
        """Whether a target asks for fewer backdoors than open here."""
        targets, found = self.sweep.targets, group.attack_success
        if not targets or group.defence != targets.defence or targets.attack_success is None:
            return False
        return found is not None and found.mean > targets.attack_success

    def missed(self) -> Iterator[tuple[str, Group, float, float]]:
        """Every target that is not reached: in words, where, what came and what was asked for."""
        targets = self.sweep.targets
        for group in self.groups.values():
            if targets and self.misses_kept(group):
                if group.attack == NONE:
                    asked = targets.no_attack_gap or 0.0
                    yield "accuracy lost with nobody attacking", group, group.gap.mean, asked
                elif group.kept.mean < (asked := targets.worst.get(group.setting, 0.0)):
                    yield "accuracy kept of the oracle's", group, group.kept.mean, asked
            if targets and self.misses_gap(group):
                asked = targets.backdoor_gap or 0.0
                yield "accuracy lost under a backdoor", group, group.short.mean, asked
            success = group.attack_success
            if targets and success and self.misses_success(group):
                yield "attack success", group, success.mean, targets.attack_success or 0.0


def summary_of(sweep: Sweep, found: Sequence[Found]) -> Summary:
    """Gather the runs of a sweep by what they have in common but for the seed."""
    by_place: dict[tuple[Setting, str, str], list[Found]] = {}
    for each in found:
        place = (each.cell.setting, each.cell.attack, each.cell.defence)
        by_place.setdefault(place, []).append(each)
    groups, references = {}, {}
    for (setting, attack, defence), runs in by_place.items():
        oracle, clean = (
            tuple(each.result for each in by_place[setting, NONE, name]) for name in (ORACLE, CLEAN)
        )
        aimed = tuple(each.result for each in by_place.get((setting, attack, ORACLE), ()))
        group = Group(setting, attack, defence, tuple(runs), oracle, clean, aimed)
        if defence not in (ORACLE, CLEAN):
            groups[setting, attack, defence] = group
        elif attack == NONE:
            references[setting, defence] = group
    return Summary(sweep, groups, references)


def seconds_a_round(groups: Iterable[Group]) -> float:
    """The median over runs: the first of a process pays for what the others find ready."""
    return median(
        each.seconds / each.cell.scenario.rounds for group in groups for each in group.runs
    )
