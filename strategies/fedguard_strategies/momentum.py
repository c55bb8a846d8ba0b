"""Client momentum: every client's moving average in place of its row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Context, Statistics
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import is_count, label, need

__all__ = ["Momentum", "client_momentum"]


class Momentum(NamedTuple):
    """What is kept of one client: the average of `rounds` rounds, shape (d,), the last of them."""

    rounds: int
    last_round: int
    average: Vector


def client_momentum(beta: float = 0.9, forget_after: int = 20) -> Stage:
    """Replace every row by its client's moving average (1 - beta) sum of beta^k x, bias removed.

    Averaging a client with its own past lowers the honest variance that attacks hide in. Put it
    first, where rows are still clients'. A new identity starts over, which an attacker can do at
    will. Keeps a row of d values for each client, until it is away for more than `forget_after`
    rounds: the one stage whose state is as large as the round.

    Bound: n >= 1
    Source: Karimireddy et al., ICML 2021, "Learning from History for Byzantine Robust
        Optimization"; bias removed as in Kingma and Ba, ICLR 2015, section 3
    """
    need(0 <= beta < 1, "beta must lie in [0, 1)", beta)
    is_count("forget_after", forget_after, 1)
    changed = {} if forget_after == 20 else {"forget_after": forget_after}
    name = label("client_momentum", beta=beta, **changed)

    def recall(kept: dict[str, Momentum], context: Context) -> list[Vector | None]:
        return [kept[each].average if each in kept else None for each in context.clients]

    def plan(rows: Statistics, kept: dict[str, Momentum]) -> tuple[Linear, Any]:
        clients = rows.whose(name).clients
        counts = np.array([kept[each].rounds if each in kept else 0 for each in clients])
        past = beta * (1.0 - beta**counts) / (1.0 - beta ** (counts + 1))
        return Linear(np.hstack([np.diag(1.0 - past), np.diag(past)])), kept

    def remember(kept: dict[str, Momentum], context: Context, rows: Array) -> dict[str, Momentum]:
        now = 1 + max((each.last_round for each in kept.values()), default=0)
        after = {
            client: each for client, each in kept.items() if now - each.last_round <= forget_after
        }
        for client, row in zip(context.clients, rows, strict=True):
            count = kept[client].rounds if client in kept else 0
            after[client] = Momentum(count + 1, now, row.copy())
        return after

    return Stage(
        name, 1, "n >= 1", plan, init=dict, recall=recall, remember=remember, keeps_rows=True
    )
