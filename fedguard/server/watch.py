"""How long each part of a round takes: the pure step has no clock, so its caller holds one."""

from __future__ import annotations

import time

__all__ = ["StopWatch"]


class StopWatch:
    """Seconds of each part that was told to be over, in order; `began` is seconds since 1970."""

    def __init__(self) -> None:
        self.began, self.laps = time.time(), dict[str, float]()
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """What took the time since the last call."""
        now = time.perf_counter()
        self.laps[part] = now - self._last
        self._last = now

    @property
    def total(self) -> float:
        return sum(self.laps.values())
