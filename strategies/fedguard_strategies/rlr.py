"""Robust learning rate: step backwards where too few clients agree on the sign."""

from __future__ import annotations

from functools import partial
from typing import Any

from array_api_compat import array_namespace

from fedguard.defence import Blockwise, Stage
from fedguard.probes import Statistics
from fedguard.types import Array
from fedguard_strategies.bounds import is_count, label

__all__ = ["rlr"]


def _turned_where_few_agree(rows: Array, columns: slice, threshold: int) -> Array:
    xp = array_namespace(rows)
    agreed = xp.abs(xp.sum(xp.sign(rows), axis=0, keepdims=True)) >= threshold
    average = xp.full_like(rows[:, :1], 1.0 / rows.shape[0]).T @ rows
    turned: Array = xp.where(agreed, average, -average)
    return turned


def rlr(threshold: int) -> Stage:
    """Average, and turn around each coordinate whose signs sum to less than `threshold` in size.

    Meant against backdoors: f clients cannot carry a coordinate that the others leave alone if
    threshold > f, nor turn one around that all others agree on if threshold <= n - 2f; any other
    whose signs sum to less than threshold + f without them they can. Bounds no size (put a
    clipping before it), and deep networks hardly train behind it.

    Bound: n >= threshold
    Source: Ozdayi, Kantarcioglu and Gel, AAAI 2021, equation 4, "Defending against Backdoors in
        Federated Learning with Robust Learning Rate"
    """
    is_count("threshold", threshold, 1)

    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        return Blockwise(partial(_turned_where_few_agree, threshold=threshold)), state

    name = label("rlr", threshold=threshold)
    return Stage(name, threshold, "n >= threshold", plan, blockwise=True)
