"""Response: does a client's update turn back as the model moves, the way training makes it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Memory, Rows, Scorer
from fedguard.sketches import sketch, sketched
from fedguard_strategies.geometry import parts
from fedguard_strategies.scorers.histories import noise_of
from fedguard_strategies.scorers.roster import Roster

__all__ = ["response"]

KEEP = 0.95
"""Of the past, in each round: one round says little, twenty say much."""
FARTHEST = 4.0
"""No one round counts as stranger."""
FAR = 2.0
"""Own parts that the model has to have gone: by updates alike in nothing it goes the root of n."""
BIAS = 0.25
"""Of a sketch's noise: what two steady ways share by chance in it is the same in every round."""


def response(size: int = 1024, seed: int = 0) -> Scorer:
    """How a client's update changed along the way the model went since it last took part.

    Whoever descends a loss is turned back by going further: between two points the change of its
    gradient and the way between them have a product of one sign, for every convex loss, whatever
    the client's data (a gradient is a monotone operator). An update that was turned round goes on
    growing instead. The cosine between the change and the way, the client's own part left out of
    it, less the cohort's median where that is positive, is averaged over rounds. It is told in
    standard deviations of such an average, of one round those that the cohort has below its
    median: attackers are above, and near half of a cohort would widen what lies on both sides.
    Without the vector "model" everybody scores 0.

    Source: monotonicity of gradients, Rockafellar, 1970, "Convex Analysis", section 24
    """
    memory = _responses(size, seed)

    def score(rows: Statistics, among: Rows, seen: Recalled) -> Float64:
        noises = np.sqrt(seen.variances)
        return np.divide(seen.averages, noises, out=np.zeros(rows.n), where=noises > 0)

    name = f"response(size={size}, seed={seed})"
    return Scorer(name, "response", score, (0.6, 2.5, 4.0), memory.probes, memory)


class Past(NamedTuple):
    """Each client's last update, as a sketch of length one, and of what length, with what share of
    the aggregate, in which round it was, the average so far and its variance; and the models of
    those rounds.
    """

    updates: Roster
    facts: Roster
    rounds: NDArray[np.int64]
    models: NDArray[np.float32]


class Recalled(NamedTuple):
    """What a round shows: the averages with it, and what is to be kept of it."""

    averages: Float64
    variances: Float64
    units: Float64
    lengths: Float64
    shares: Float64
    model: Float64 | None


@cache
def _responses(size: int, seed: int) -> Memory:
    probe, half = sketch(size, seed), size // 2

    def init() -> Past:
        updates, facts = np.zeros((0, half), np.float16), np.zeros((0, 5))
        none = np.zeros(0, np.int64), np.zeros((0, half), np.float32)
        return Past(Roster.empty(updates), Roster.empty(facts), *none)

    def recall(past: Past, rows: Statistics, among: Rows) -> Recalled:
        from fedguard.halves import widened

        context, sketches = rows.whose("response"), rows.values[probe]
        facts, known = past.facts.of(context.clients)
        stored, _ = past.updates.of(context.clients)
        model, there = None, np.searchsorted(past.rounds, facts[:, 2])
        if "model" in context.vectors:
            model = _halved(sketched(context.vector("model"), size, seed)[None])[0]
            ways = model - past.models
            gone = np.linalg.norm(ways, axis=1)[there] if known.any() else np.zeros(rows.n)
        units, (lengths, turned) = np.empty((rows.n, half)), np.empty((2, rows.n))
        for some in parts(rows.n, size):
            now = _halved(sketches[some])
            lengths[some] = np.linalg.norm(now, axis=1)
            units[some] = now / np.where(lengths[some] > 0, lengths[some], 1.0)[:, None]
            if model is not None and known.any():
                before, way = widened(stored[some]) * facts[some, :1], ways[there[some]]
                turned[some] = _cosines(now - before, way - facts[some, 1:2] * before)
        averages, variances = facts[:, 3], facts[:, 4]
        shares = among / max(int(among.sum()), 1)
        if model is None or not known.any():
            return Recalled(averages, variances, units, lengths, shares, model)
        moved = known & _far(gone, facts, among & known)
        strange = _strangeness(turned, among & moved, noise_of(half))
        averages = np.where(moved, KEEP * averages + (1.0 - KEEP) * strange, averages)
        variances = np.where(moved, KEEP**2 * variances + (1.0 - KEEP) ** 2, variances)
        return Recalled(averages, variances, units, lengths, shares, model)

    def learn(past: Past, rows: Statistics, seen: Recalled) -> Past:
        from fedguard.halves import narrowed

        if seen.model is None:
            return past
        clients, now = rows.whose("response").clients, past.facts.round + 1
        when = np.full(len(clients), float(now))
        told = [seen.lengths, seen.shares, when, seen.averages, seen.variances]
        updates = past.updates.after(clients, narrowed(seen.units))
        facts = past.facts.after(clients, np.stack(told, axis=1))
        rounds, models = [*past.rounds, now], [*past.models, seen.model.astype(np.float32)]
        kept = np.isin(rounds, facts.values[:, 2].astype(np.int64))
        return Past(updates, facts, np.array(rounds)[kept], np.stack(models)[kept])

    return Memory(f"responses(size={size}, seed={seed})", init, recall, learn, (probe,))


def _far(gone: Float64, facts: Float64, among: Rows) -> Rows:
    """Whether the model has gone farther than what is taken off as a client's own part.

    Where next to nothing was made of the updates, what is left would be those parts turned round.
    """
    usual = float(np.median(facts[among, 0])) if among.any() else 0.0
    least = np.minimum(FAR * facts[:, 1], 0.5 * np.sqrt(facts[:, 1]))  # of few: half of chance
    far: Rows = (gone > 0) & (gone >= least * usual)
    return far


def _halved(sketches: Float64) -> Float64:
    """Sketches of half the size: two buckets are one."""
    half = sketches.shape[1] // 2
    return sketches[:, :half] + sketches[:, half : 2 * half]


def _strangeness(turned: Float64, among: Rows, noise: float) -> Float64:
    """Cosines above the cohort's median, or above 0, in robust deviations of those below it."""
    if not among.any():
        return np.zeros(len(turned))
    middle = float(np.median(turned[among]))
    below = middle - turned[among]
    spread = 1.4826 * float(np.median(below[below >= 0]))
    z = (turned - max(middle, 0.0) - BIAS * noise) / max(spread, noise)
    return np.clip(z, -FARTHEST, FARTHEST)


def _cosines(one: Float64, other: Float64) -> Float64:
    """Of every row of one with that of the other; 0 where one of them is zero."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.einsum("ij,ij->i", one, other)
    cosines: Float64 = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return cosines
