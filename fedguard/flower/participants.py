"""Who takes part in a round: nodes, the clients they are, and how many of them may be hostile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common.logger import log
from flwr.serverapp import Grid

from fedguard.errors import InvalidParameter
from fedguard.identity import name_of_key

__all__ = ["Participants", "name_of_node"]

TELL_EVERY = 10.0
"""Seconds between words on how many nodes are there."""


def name_of_node(node: Any) -> str:
    """A client's lasting name: a digest of its public key, or its node id if it has none."""
    return name_of_key(node.public_key) if node.public_key else str(node.node_id)


@dataclass(frozen=True, slots=True)
class Participants:
    """How nodes are chosen: by the clients' names, so that node ids do not matter.

    A round waits until there are `min_nodes`, for `timeout` seconds at most, and asks the share
    `fractions[purpose]` of them, at least `least[purpose]`. Without a `seed` nobody can tell whom.
    """

    min_nodes: int
    least: Mapping[str, int]
    timeout: float
    fractions: Mapping[str, float]
    name_of: Callable[[Any], str]
    seed: int | None

    def __post_init__(self) -> None:
        """Raises `InvalidParameter`."""
        for purpose, value in self.fractions.items():
            if not 0 <= value <= 1:
                raise InvalidParameter(f"fraction_{purpose} must lie in [0, 1], got {value}")

    def waited_for(self, grid: Grid) -> list[Any]:
        """The nodes there are when enough are, or when the time is over."""
        deadline = time.monotonic() + self.timeout
        told = time.monotonic()
        while len(nodes := list(grid.get_nodes())) < self.min_nodes:
            now = time.monotonic()
            if now > deadline:
                log(WARNING, "%s nodes after waiting, %s wanted", len(nodes), self.min_nodes)
                break
            if now - told >= TELL_EVERY:
                log(WARNING, "%s nodes, waiting for %s", len(nodes), self.min_nodes)
                told = now
            time.sleep(0.1)
        return nodes

    def named(self, nodes: Iterable[Any], links: Mapping[str, str]) -> dict[str, int]:
        """Client names and their node ids. Of two nodes of one client the lower id takes part."""
        by_name: dict[str, int] = {}
        for node in sorted(nodes, key=lambda node: node.node_id):
            name = self.name_of(node)
            by_name.setdefault(links.get(name, name), node.node_id)
        return by_name

    def sample(self, named: Mapping[str, int], purpose: str, server_round: int) -> dict[int, str]:
        """Whom a round asks: node id to client name."""
        names = sorted(named.items())
        share = int(self.fractions[purpose] * len(names))
        count = min(max(share, self.least[purpose]), len(names))
        own = None if self.seed is None else [self.seed, server_round, purpose == "train"]
        rng = np.random.default_rng(own)
        chosen = sorted(rng.choice(len(names), count, replace=False)) if names else []
        return {names[i][1]: names[i][0] for i in chosen}
