"""White box: attackers who hold a copy of the server, its state included, try before they send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import InvalidParameter
from fedguard.probes import Float64
from fedguard.server import Policy, step
from fedguard.state import State
from fedguard.types import Array, Cohort, Update, Vector

__all__ = [
    "Sight",
    "WhiteBox",
    "a_little_is_enough_searched",
    "inner_product_searched",
    "white_box",
]

GRID: Float64 = np.array([0.125, 0.5, 2.0, 8.0])
"""Lengths that are tried first, and multiples of the best of them that are tried then."""
FINER: Float64 = 2.0 ** np.array([-1.0, -0.5, 0.5, 1.0])
KEEP = 0.9
"""Of the way the honest went, in each round: what the attackers want to undo."""
OWN = 0.9
"""Of what makes attackers differ from one another: as much as they keep near the mean."""


class Sight(NamedTuple):
    """All there is to know in a round: what everybody trained, (n, d) and (m, d), and the server.

    `vectors` are the server's own, `trained` the attackers' own honest updates, `way` the honest
    mean, averaged over rounds.
    """

    honest: Array
    trained: Array
    names: tuple[str, ...]
    own_names: tuple[str, ...]
    vectors: Mapping[str, Vector]
    way: Vector
    state: State
    policy: Policy

    @property
    def counting(self) -> NDArray[np.bool_]:
        """Which attackers the server has not put away so far."""
        known = [self.state.reputations.get(name) for name in self.own_names]
        return np.array([each is None or each.standing.counts for each in known])

    def tried(self, rows: Array) -> tuple[float, float]:
        """What the server would do with these: how far back the model goes, and the evidence.

        The first is the step's length against `way`, the second the largest share of an alarm that
        the evidence against an attacker who counts comes to, or infinite if it puts one away.
        """
        names = (*self.names, *self.own_names)
        updates = map(Update, names, [*self.honest, *rows])
        cohort = Cohort.of(updates, vectors=self.vectors)
        vector, _, after = step(self.state, cohort, self.policy)
        length = float(np.linalg.norm(self.way)) or 1.0
        back = 0.0 if vector is None else -float(vector @ self.way) / length
        levels = [0.0]
        for name, counts in zip(self.own_names, self.counting, strict=True):
            known = after.reputations.get(name)
            if known and counts:
                levels += known.evidence.values() if known.standing.counts else [np.inf]
        return back, max(levels)


class WhiteBox(NamedTuple):
    """An attack by whoever can ask the server: `craft(sight, round)` gives its rows, (m, d)."""

    name: str
    f: int
    craft: Callable[[Sight, int], Array]


Ray = Callable[[float], Array]
"""Rows by how far they go."""


def white_box(f: int, patience: float = 0.5, strike: int = 0) -> WhiteBox:
    """Try directions, lengths and disguises on a copy of the server, and send what undoes most.

    Of what they try, attackers send only what leaves the evidence against each of them below
    `patience` alarms, and train honestly where nothing does; from round `strike` on, if it is not
    0, they do not care. A patience of 0 is none: they never care. Who was put away trains honestly,
    to come back.

    Knows: every honest update of the round, and all of the server: policy, state, code
    Budget: f updates a round, of any length and direction
    Source: adaptive attacks of Shejwalkar and Houmansadr, NDSS 2021, section IV, against the whole
        server in place of its rule
    """
    if not patience >= 0 or strike < 0:
        raise InvalidParameter(f"patience and strike must be >= 0, got {patience!r}, {strike!r}")

    def craft(sight: Sight, server_round: int) -> Array:
        cares = patience > 0 and not 0 < strike <= server_round
        return _searched(sight, _disguised(sight), patience if cares else None)

    name = f"white_box(f={f}, patience={patience}, strike={strike})"
    return WhiteBox(name, _at_least_one(f), craft)


def a_little_is_enough_searched(f: int) -> WhiteBox:
    """Send mean - z std, f times, with the z that throws the server back most.

    All alike, or as far from one another as their own training is, whichever does more.

    Knows: every honest update of the round, the defence and the server's state
    Budget: f updates a round, within a search over the honest spread
    Source: Baruch et al., NeurIPS 2019, algorithm 3; searched as in Allouah et al., AISTATS 2023
    """

    def craft(sight: Sight, server_round: int) -> Array:
        mean, std = sight.honest.mean(axis=0), sight.honest.std(axis=0)
        return _searched(sight, [partial(_pushed, mean + own, -std) for own in _unlike(sight)])

    return WhiteBox(f"a_little_is_enough_searched(f={f})", _at_least_one(f), craft)


def inner_product_searched(f: int) -> WhiteBox:
    """Send -epsilon times the honest mean, f times, with the epsilon that throws it back most.

    All alike, or as far from one another as their own training is, whichever does more.

    Knows: every honest update of the round, the defence and the server's state
    Budget: f updates a round along the honest mean
    Source: Xie et al., UAI 2019, section 4; searched as in Allouah et al., AISTATS 2023
    """

    def craft(sight: Sight, server_round: int) -> Array:
        mean = sight.honest.mean(axis=0)
        return _searched(sight, [partial(_pushed, own, -mean) for own in _unlike(sight)])

    return WhiteBox(f"inner_product_searched(f={f})", _at_least_one(f), craft)


def _at_least_one(f: int) -> int:
    if f < 1:
        raise InvalidParameter(f"f must be at least 1, got {f!r}")
    return f


def _unlike(sight: Sight) -> tuple[Array, Array]:
    """What attackers add to a common row: nothing, and then all are copies; or their own part."""
    return np.zeros_like(sight.trained), OWN * (sight.trained - sight.trained.mean(axis=0))


def _disguised(sight: Sight) -> Iterator[Ray]:
    """Pushes against the way, the mean and the spread, on top of what one would have sent."""
    mean, std = sight.honest.mean(axis=0), sight.honest.std(axis=0)
    spread = float(np.linalg.norm(sight.honest - mean, axis=1).mean())
    near = mean + _unlike(sight)[1]
    for push in (-sight.way, -mean, -np.sign(mean) * std):
        length = float(np.linalg.norm(push))
        if length > 0:
            unit = (push * (spread / length)).astype(mean.dtype)
            for rows in (sight.trained, near):
                yield partial(_pushed, rows, unit)
    yield partial(_pushed, np.zeros_like(sight.trained), -sight.trained)


def _pushed(rows: Array, push: Array, far: float) -> Array:
    return rows + np.asarray(far, rows.dtype) * push


def _searched(sight: Sight, rays: Iterable[Ray], patience: float | None = None) -> Array:
    """The rows that throw the server back most, of those with less evidence than `patience`."""
    best, least = sight.trained, sight.tried(sight.trained)[0]
    counting = sight.counting[:, None]

    def tried(ray: Ray, lengths: Float64) -> float | None:
        nonlocal best, least
        found = None
        for length in lengths.tolist():
            rows = np.where(counting, ray(length), sight.trained)
            back, evidence = sight.tried(rows)
            if back > least and (patience is None or evidence < patience):
                best, least, found = rows, back, length
        return found

    for ray in rays:
        length = tried(ray, GRID)
        if length:
            tried(ray, length * FINER)
    return best
