"""Sorting networks: which pairs of rows to compare and exchange, whatever the values are."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOURS", "by_fours", "network"]


def odd_even_merge_sort(n: int) -> list[tuple[int, int]]:
    """Comparators (i, j), i < j, after which n values are in order.

    Source: Batcher, AFIPS 1968; as Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M
    """
    pairs = []
    merged = 1
    while merged < n:
        step = merged
        while step:
            for start in range(step % merged, n - step, 2 * step):
                for i in range(start, min(start + step, n - step)):
                    if i // (2 * merged) == (i + step) // (2 * merged):
                        pairs.append((i, i + step))
            step //= 2
        merged *= 2
    return pairs


@lru_cache(maxsize=64)
def network(n: int, low: int, high: int, ordered: bool = False) -> NDArray[np.int32]:
    """Comparators, shape (comparators, 2), after which rows low..high-1 hold those ranks.

    Unless `ordered`, in any order. From the back, a comparator is left out when nothing that is
    asked for tells its two outputs apart.

    >>> [len(network(50, 10, 40, ordered)) for ordered in (False, True)], len(network(50, 0, 50))
    ([340, 385], 0)
    """
    below, inside, above, own = -3, -2, -1, 0
    group = [below] * low + [own if ordered else inside] * (high - low) + [above] * (n - high)
    kept = []
    for i, j in reversed(odd_even_merge_sort(n)):
        if group[i] == group[j] != own:
            continue
        kept.append((i, j))
        group[i] = group[j] = own
    found = np.array(kept[::-1], np.int32).reshape(-1, 2)
    found.flags.writeable = False
    return found


FOURS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 1),),
    ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)),
    ((0, 1), (2, 3), (0, 2), (1, 3)),
    ((0, 2), (1, 3), (1, 2)),
    ((0, 1), (2, 3), (1, 2)),
)
"""Comparators on up to four rows that are done in one go; a step's last number says which."""


@lru_cache(maxsize=64)
def by_fours(n: int, low: int, high: int, ordered: bool = False) -> NDArray[np.int32]:
    """`network` as steps of up to four rows, shape (steps, 5): the rows, and which of `FOURS`.

    A step loads and stores its rows once, so the fewer steps the less there is to move. Steps are
    found greedily: a comparator that is free to run, another that meets it next, and all that
    these two then free.
    """
    pairs = [(int(one), int(other)) for one, other in network(n, low, high, ordered)]
    waiting: list[deque[tuple[int, int]]] = [deque() for _ in range(n)]
    for pair in pairs:
        for row in pair:
            waiting[row].append(pair)
    steps = []
    for pair in pairs:
        if not (waiting[pair[0]] and waiting[pair[0]][0] is pair):
            continue  # an earlier step has done it
        rows, which = max(_steps_from(pair, waiting), key=lambda step: len(FOURS[step[1]]))
        for one, other in FOURS[which]:
            waiting[rows[one]].popleft()
            waiting[rows[other]].popleft()
        steps.append((*rows, which))
    found = np.array(steps, np.int32).reshape(-1, 5)
    found.flags.writeable = False
    return found


def _steps_from(
    pair: tuple[int, int], waiting: list[deque[tuple[int, int]]]
) -> list[tuple[tuple[int, ...], int]]:
    """The steps that may begin with a pair which is free to run."""
    steps: list[tuple[tuple[int, ...], int]] = [((*pair, *pair), 0)]
    for row in pair:
        if len(waiting[row]) < 2:
            continue
        following = waiting[row][1]
        partner = following[0] if following[1] == row else following[1]
        other = waiting[partner][0]
        free = all(waiting[each][0] is other for each in other)
        if other is following or not free or set(other) & set(pair):
            continue
        for first, second in ((pair, other), (other, pair)):
            for which, fits in enumerate(FOURS[1:], 1):
                crossed = fits[0] == (0, 2)
                rows = (first[0], second[0], first[1], second[1]) if crossed else (*first, *second)
                if _runs(rows, fits, waiting):
                    steps.append((rows, which))
    return steps


def _runs(
    rows: tuple[int, ...],
    fits: tuple[tuple[int, int], ...],
    waiting: list[deque[tuple[int, int]]],
) -> bool:
    """Whether these comparators are the next ones of their rows, in this order."""
    done = dict.fromkeys(rows, 0)
    for one, other in fits:
        pair = (rows[one], rows[other])
        for row in pair:
            if len(waiting[row]) <= done[row] or waiting[row][done[row]] != pair:
                return False
            done[row] += 1
    return True
