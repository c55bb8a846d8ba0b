"""Averages of the best n - f rows of all choices: least diameter (MDA), least spread (SMEA)."""

from __future__ import annotations

from itertools import combinations, islice
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.defence import Linear, Stage
from fedguard.errors import OverBudget
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import f_is_count, label, need
from fedguard_strategies.dnc import outlier_scores
from fedguard_strategies.geometry import centred, least, squared_distances
from fedguard_strategies.nearness import average_of

__all__ = ["MDA_LARGEST_F", "SMEA_BUDGET", "mda", "smea", "smallest_diameter", "smallest_spread"]

MDA_LARGEST_F = 25
"""The search visits at most about 1.47^f nodes, 14,000 here, for each of log2(n^2) diameters."""
SMEA_BUDGET = 10**9
"""Subsets times n^2: about a second for each turn of the power method over all of them."""
CHUNK_VALUES = 2**20
TURNS = 6
"""Turns of the power method whose Rayleigh quotient bounds a subset's spread from below."""


def smallest_diameter(gram: Float64, f: int) -> NDArray[np.intp]:
    """The n - f rows of least diameter, shape (n - f,), in row order.

    Rows farther apart than a diameter conflict; n - f rows without a conflict are what a vertex
    cover of at most f leaves. So the search is over covers, for a diameter found by bisection,
    and not over all C(n, f) subsets. Of several such subsets it takes the one it finds by
    dropping first who conflicts most, then who is farthest from all.
    """
    distances = squared_distances(gram)
    far_first = np.argsort(-distances.sum(axis=1), kind="stable")
    ordered = distances[np.ix_(far_first, far_first)]
    diameters = np.unique(ordered)
    low, high = 0, len(diameters) - 1
    dropped = _cover(_conflicts(ordered, diameters[high]), f) or 0
    while low < high:
        middle = (low + high) // 2
        cover = _cover(_conflicts(ordered, diameters[middle]), f)
        if cover is None:
            low = middle + 1
        else:
            high, dropped = middle, cover
    left = [place for place in range(len(gram)) if not dropped >> place & 1]
    while len(left) > len(gram) - f:
        within = ordered[np.ix_(left, left)].sum(axis=1)
        del left[int(np.argmax(within))]
    return np.sort(far_first[left])


def _conflicts(distances: Float64, diameter: float) -> list[int]:
    """For every row the rows farther than `diameter` from it, as bits of an integer."""
    octets = np.packbits(distances > diameter, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in octets]


def _cover(conflicts: list[int], size: int) -> int | None:
    """At most `size` rows, as bits, that meet every conflict; None if there are no such rows."""
    degrees = [each.bit_count() for each in conflicts]
    most = max(degrees)
    if size < 0 or sum(degrees) > 2 * size * most:
        return None
    if most == 0:
        return 0
    place = degrees.index(most)
    if most <= 2:  # paths and cycles: an end's neighbour is in a least cover, or any of a cycle
        ends = [i for i, each in enumerate(degrees) if each == 1]
        if most == 2 and ends:
            place = conflicts[ends[0]].bit_length() - 1
        rest = _cover(_without(conflicts, 1 << place), size - 1)
        return None if rest is None else rest | 1 << place
    for taken in (1 << place, conflicts[place]):
        rest = _cover(_without(conflicts, taken), size - taken.bit_count())
        if rest is not None:
            return rest | taken
    return None


def _without(conflicts: list[int], taken: int) -> list[int]:
    return [0 if taken >> i & 1 else each & ~taken for i, each in enumerate(conflicts)]


def mda(f: int) -> Stage:
    """Minimum diameter averaging: average the n - f rows whose two farthest are least apart.

    Exact, by a search of about 1.47^f steps instead of all subsets; refused where f > 25. The
    guarantee needs more honest rows the farther they spread: it asks for kappa, not for n.

    Bound: n >= 2f + 1
    Source: El Mhamdi et al., PODC 2020 (arXiv 1905.03853), section 3, "Genuinely Distributed
        Byzantine Machine Learning"; Rousseeuw, 1985, "Multivariate estimation with high breakdown
        point"
    """
    f_is_count(f)
    need(f <= MDA_LARGEST_F, f"f must be {MDA_LARGEST_F} at most, or the search takes too long", f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return average_of(smallest_diameter(rows.gram, f), rows.n), state

    return Stage(label("mda", f=f), 2 * f + 1, "n >= 2f + 1", plan, probes=(gram,))


def smallest_spread(gram: Float64, f: int) -> NDArray[np.intp]:
    """The n - f rows whose covariance has the least top eigenvalue, in row order.

    Looks at every subset: a few turns of the power method bound its eigenvalue from below, and
    only subsets whose bound is under the least one found are solved exactly.
    """
    n = len(gram)
    drops = combinations(range(n), f)
    start = np.linalg.eigh(centred(gram))[1][:, -1]
    best = np.sort(least(outlier_scores(gram), n - f))
    least_top = float(_tops(gram, best[None, :])[0])
    while chunk := list(islice(drops, max(CHUNK_VALUES // n, 1))):
        present = np.ones((len(chunk), n))
        np.put_along_axis(present, np.array(chunk, np.intp).reshape(len(chunk), f), 0.0, axis=1)
        bounds = _lower_bounds(gram, present, start)
        order = np.argsort(bounds, kind="stable")
        for first in range(0, len(order), 64):
            some = order[first : first + 64]
            some = some[bounds[some] < least_top]
            if not some.size:
                break
            subsets = np.nonzero(present[some])[1].reshape(len(some), n - f)
            tops = _tops(gram, subsets)
            if tops.min() < least_top:
                best, least_top = subsets[np.argmin(tops)], float(tops.min())
    return best


def _lower_bounds(gram: Float64, present: Float64, start: Float64) -> Float64:
    """Rayleigh quotients of every subset's centred Gram matrix: at most its top eigenvalue."""
    count = present.sum(axis=1, keepdims=True)
    bounds = np.zeros(len(present))
    vectors = _within(np.broadcast_to(start, present.shape), present, count)
    for _ in range(TURNS):
        moved = _within(vectors @ gram, present, count)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        quotients = np.einsum("ij,ij->i", vectors, moved)
        np.divide(quotients, squares, out=quotients, where=squares > 0)
        bounds = np.maximum(bounds, quotients)
        lengths = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        vectors = np.divide(moved, lengths[:, None], out=moved, where=lengths[:, None] > 0)
    return bounds


def _within(vectors: Float64, present: Float64, count: Float64) -> Float64:
    """Only the entries of the subset, less their mean."""
    kept = vectors * present
    kept -= present * (kept.sum(axis=1, keepdims=True) / count)
    return kept


def _tops(gram: Float64, subsets: NDArray[np.intp]) -> Float64:
    """Top eigenvalues of the centred Gram matrices of `subsets`, shape (k, m)."""
    parts = gram[subsets[:, :, None], subsets[:, None, :]]
    parts = parts - parts.mean(axis=1, keepdims=True)
    parts -= parts.mean(axis=2, keepdims=True)
    tops: Float64 = np.linalg.eigvalsh(parts)[:, -1]
    return tops


def smea(f: int) -> Stage:
    """Smallest maximum eigenvalue averaging: the n - f rows of least spread in any direction.

    Exact: it looks at all C(n, f) subsets and is refused where these times n^2 exceed 10^9, as
    at n = 50 from f = 5 on: then the round is held, so leave room for clients that join later.
    CAF comes close in polynomial time.

    Bound: n >= 2f + 1
    Source: Allouah et al., ICML 2023 (SMEA), "On the Privacy-Robustness-Utility Trilemma in
        Distributed Learning" (arXiv 2302.04787)
    """
    f_is_count(f)
    name = label("smea", f=f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        if comb(rows.n, f) * rows.n**2 > SMEA_BUDGET:
            raise OverBudget(name, rows.n, f"C({rows.n}, {f}) subsets times n^2 exceed 10^9")
        return average_of(smallest_spread(rows.gram, f), rows.n), state

    return Stage(name, 2 * f + 1, "n >= 2f + 1", plan, probes=(gram,))
