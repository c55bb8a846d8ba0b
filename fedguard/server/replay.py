"""A round's inputs as bytes, and the round run again from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedguard.config import Factories, parse_expression
from fedguard.reputation import ReputationPolicy
from fedguard.server.policy import Policy
from fedguard.server.step import step
from fedguard.state import State
from fedguard.state.codec import pack, unpack
from fedguard.types import Cohort, RoundReport, Vector

__all__ = ["Inputs", "Replayed", "can_be_kept", "packed_inputs", "replayed"]


class Inputs(NamedTuple):
    """All that `step` was given; defence and scorers by the expressions that make them."""

    state: State
    cohort: Cohort
    defence: str
    scorers: tuple[str, ...]
    reputation: ReputationPolicy | None
    discovery_rate: float
    quorum: float
    optimiser: str | None = None
    smaller: tuple[str, ...] = ()
    adaptive: bool = False

    def policy(self, rules: Factories, scorers: Factories, optimisers: Factories) -> Policy:
        """The policy, made anew from named factories. Raises `UnknownName` for those not there."""
        made = [parse_expression(each, scorers, "scorer") for each in self.scorers]
        defence, *smaller = (
            parse_expression(each, rules, "rule") for each in (self.defence, *self.smaller)
        )
        own = self.optimiser
        optimiser = parse_expression(own, optimisers, "server optimiser") if own else None
        return Policy(
            defence,
            tuple(made),
            self.reputation,
            self.discovery_rate,
            self.quorum,
            optimiser,
            tuple(smaller),
            self.adaptive,
        )


LARGEST_INPUTS = 7 << 28
"""Bytes of updates: one value of msgpack ends at 2 GiB, and the state has to fit in beside them."""


def can_be_kept(cohort: Cohort) -> bool:
    """Whether a round's updates fit into the inputs that a store keeps."""
    sizes = (
        delta.stat().st_size if isinstance(delta, Path) else delta.nbytes for delta in cohort.rows
    )
    return sum(sizes) <= LARGEST_INPUTS


def packed_inputs(state: State, cohort: Cohort, policy: Policy) -> Callable[[], bytes]:
    """What a store may keep of a round, as large as its updates; made only if it does."""

    def make() -> bytes:
        scorers = tuple(scorer.name for scorer in policy.scorers)
        optimiser = policy.optimiser.name if policy.optimiser else None
        smaller = tuple(each.name for each in policy.smaller)
        own = (policy.reputation, policy.discovery_rate, policy.quorum, optimiser)
        own_f = (smaller, policy.adaptive)
        return pack(Inputs(state, _in_memory(cohort), policy.defence.name, scorers, *own, *own_f))

    return make


def _in_memory(cohort: Cohort) -> Cohort:
    """The same cohort with its rows read from disk."""
    updates = [
        replace(each, delta=np.load(each.delta)) if isinstance(each.delta, Path) else each
        for each in cohort.updates
    ]
    return replace(cohort, updates=tuple(updates))


class Replayed(NamedTuple):
    """A round run again: what came of it, and the model before it if the inputs hold that."""

    report: RoundReport
    vector: Vector | None
    state: State
    before: Vector | None


def replayed(data: bytes, policy_of: Callable[[Inputs], Policy]) -> Replayed:
    """What the inputs of a round lead to."""
    inputs: Inputs = unpack(data)
    vector, report, after = step(inputs.state, inputs.cohort, policy_of(inputs))
    return Replayed(report, vector, after, inputs.cohort.vectors.get("model"))
