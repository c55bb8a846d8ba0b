"""Which updates a federation was sent before, by the beginnings of their hashes.

An index in the database would be written in as many places as a round has updates: hashes have no
order. A round keeps the beginnings of its own in one value, and who asks keeps all in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from sqlalchemy import Connection, select

from fedguard.state.tables import rounds

__all__ = ["Sent", "beginnings"]

LENGTH = 8
"""Bytes of a hash that are kept: two that differ begin alike once in 10^19."""


def beginnings(digests: Iterable[str]) -> bytes:
    """The first 64 bits of each SHA-256, in order, for a round's row.

    >>> beginnings(["ff" * 32, "0a" * 32]).hex()
    '0a0a0a0a0a0a0a0affffffffffffffff'
    """
    return b"".join(sorted(bytes.fromhex(each[: 2 * LENGTH]) for each in digests))


class Sent:
    """What all rounds of a federation were sent: twelve bytes in memory for each update."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)  # sorted
        self._rounds = np.empty(0, np.uint32)  # of each
        self._last = 0

    def read(self, connection: Connection, federation: int) -> None:
        """What was committed since the last time."""
        own = (rounds.c.federation == federation) & (rounds.c.number > self._last)
        query = select(rounds.c.number, rounds.c.sent).where(own).order_by(rounds.c.number)
        found = [(number, _numbers(packed)) for number, packed in connection.execute(query)]
        if not found:
            return
        new = np.concatenate([known for _, known in found])
        whose = np.repeat([number for number, _ in found], [len(known) for _, known in found])
        order = np.argsort(new, kind="stable")
        places = np.searchsorted(self._known, new[order])
        self._known = np.insert(self._known, places, new[order])
        self._rounds = np.insert(self._rounds, places, whose[order])
        self._last = found[-1][0]

    def rounds_of(self, digests: Collection[str]) -> set[int]:
        """The rounds that seem to have brought one of these."""
        asked = _numbers(beginnings(digests))
        begin, end = (np.searchsorted(self._known, asked, side) for side in ("left", "right"))
        return {
            int(number)
            for start, stop in zip(begin, end, strict=True)
            for number in self._rounds[start:stop]
        }


def _numbers(packed: bytes | None) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(packed or b"", ">u8").astype(np.uint64)
