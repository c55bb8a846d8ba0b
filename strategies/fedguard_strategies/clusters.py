"""Clusters of rows: the majority that single linkage finds first, and mean shift's largest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64

__all__ = ["largest_shifted", "majority_cluster"]

SHIFTS = 300


def majority_cluster(distances: Float64) -> NDArray[np.intp]:
    """The first component of more than half the rows as ever longer links join them, in row order.

    It is what HDBSCAN gives with min_cluster_size n // 2 + 1, min_samples 1 and one cluster
    allowed: no second majority can exist, and the condensed tree keeps the smallest.
    """
    n = len(distances)
    members = {row: [row] for row in range(n)}  # by the component's name
    whose = list(range(n))
    one, other = np.triu_indices(n, 1)
    for link in np.argsort(distances[one, other], kind="stable"):
        into, gone = whose[one[link]], whose[other[link]]
        if into != gone:
            for row in members[gone]:
                whose[row] = into
            members[into] += members.pop(gone)
        if len(members[into]) > n // 2:
            break
    return np.array(sorted(members[max(members, key=lambda name: len(members[name]))]), np.intp)


def largest_shifted(points: Float64) -> NDArray[np.intp]:
    """Mean shift's largest cluster of `points`, shape (n, k), in row order.

    Flat kernel; the bandwidth is the mean distance of a point to the nearest half of the others'
    farthest. Of two clusters of a size the denser wins.
    """
    _, whose, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    among = np.linalg.norm(points[:, None] - points[None], axis=2)
    bandwidth = float(np.sort(among, axis=1)[:, max(len(points) // 2 - 1, 0)].mean())
    if bandwidth == 0.0:  # most points are equal
        return np.flatnonzero(whose.ravel() == np.argmax(counts))
    modes = points
    for _ in range(SHIFTS):
        inside = np.linalg.norm(modes[:, None] - points[None], axis=2) <= bandwidth
        moved = inside @ points / inside.sum(axis=1, keepdims=True)
        if np.abs(moved - modes).max() <= 1e-3 * bandwidth:
            break
        modes = moved
    inside = np.linalg.norm(modes[:, None] - points[None], axis=2) <= bandwidth
    kept: list[int] = []
    densest = np.lexsort((*modes.T[::-1], inside.sum(axis=1)))[::-1]
    for mode in densest:
        if all(np.linalg.norm(modes[mode] - modes[each]) > bandwidth for each in kept):
            kept.append(int(mode))
    nearest = np.argmin(np.linalg.norm(points[:, None] - modes[kept][None], axis=2), axis=1)
    return np.flatnonzero(nearest == np.argmax(np.bincount(nearest)))
