"""Rounds to store: real ones of a small federation, by the pure step."""

from __future__ import annotations

import numpy as np

import fedguard_strategies as rules
from fedguard import Cohort, Policy, ReputationPolicy, RoundReport, State, Update, chain, step
from fedguard.types import Fault, Vector
from fedguard_strategies.recipes import standard_scorers

POLICY = Policy(
    chain(rules.client_momentum(), rules.arc(2), rules.caf(2)),
    standard_scorers(2, size=64),
    ReputationPolicy(f=2),
)


def cohort(number: int, n: int = 9, bad: tuple[int, ...] = (3, 7), d: int = 50) -> Cohort:
    """Round `number`: `bad` clients send theirs negated, ten times as long; one sends nothing."""
    rng, common = np.random.default_rng([1, number]), np.random.default_rng(0).normal(size=d)
    rows = (rng.normal(size=(n, d)) * 0.5 + common).astype(np.float32)
    rows[list(bad)] *= -10
    updates = [Update(f"client-{i}", row, 10 * i) for i, row in enumerate(rows)]
    return Cohort.of(updates, [Fault("client-late", "no-reply", "no reply in time")])


def rounds(count: int) -> list[tuple[Vector | None, RoundReport, State]]:
    """Rounds from the first, each from the state before it."""
    done, state = [], State()
    for number in range(1, count + 1):
        vector, report, state = step(state, cohort(number), POLICY)
        done.append((vector, report, state))
    return done
