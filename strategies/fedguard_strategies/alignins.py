"""AlignIns: inspect directions, of the whole update and of its most important signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from fedguard.blocks import to_numpy
from fedguard.defence import Linear, Stage
from fedguard.errors import NothingTrusted
from fedguard.probes import Context, Float64, Probe, Statistics, border
from fedguard.scoring import robust_z
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import label, need
from fedguard_strategies.geometry import clip_factors, cosines

__all__ = ["agreement_by_size", "alignins", "principal_sign_agreement"]


def _agreement_by_size(block: Array, columns: slice) -> Float64:
    from fedguard_strategies.histograms import count_by_size

    xp = array_namespace(block)
    signs = xp.sign(block)
    agrees = signs == xp.sign(xp.sum(signs, axis=0, keepdims=True))
    return count_by_size(to_numpy(block), to_numpy(agrees))


agreement_by_size = Probe("agreement_by_size", _agreement_by_size, linear=False, collective=True)
"""How many values of every row have each size, and how many of them the principal sign.

The principal sign of a coordinate is the one most rows have. Sizes fall in two classes an octave;
float64, shape (n, 2, classes), classes from the largest to the smallest.
"""


def principal_sign_agreement(counts: Float64, share: float) -> Float64:
    """Of the `share` of largest values of every row, how many have the principal sign, (n,).

    The class in which the share ends is divided evenly, which is right to a few hundredths.
    """
    total, agreeing = np.cumsum(counts, axis=2).transpose(1, 0, 2)
    wanted = share * total[0, -1]
    found = [np.interp(wanted, each, agreed) for each, agreed in zip(total, agreeing, strict=True)]
    agreement: Float64 = np.array(found) / np.maximum(wanted, 1.0)
    return agreement


def alignins(radius: float = 1.0, share: float = 0.3) -> Stage:
    """Average the rows whose direction, and whose largest values' signs, agree with the others'.

    Two figures a row: its cosine with the vector "model", and the part of its `share` of largest
    values that has the principal sign. Rows beyond `radius` robust standard deviations
    (1.4826 MAD; the authors' own scale, the standard deviation, is one that attackers can
    stretch) in either are dropped; the kept ones are clipped to their median norm, or to that of
    all rows where it is less, since neither figure sees length and the kept may mostly be bad. A
    radius of 1 drops a third of the honest rows by each figure. When nobody is left the round is
    held.

    Bound: n >= 3
    Source: Xu et al., CVPR 2025, algorithm 1, "Detecting Backdoor Attacks in Federated Learning
        via Direction Alignment Inspection"
    """
    need(radius > 0, "radius must be positive", radius)
    need(0 < share <= 1, "share must lie in (0, 1]", share)
    changed = {} if radius == 1.0 else {"radius": radius}
    name = label("alignins", **changed | ({} if share == 0.3 else {"share": share}))

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        lengths = rows.norms[:-1]  # the last row is the model
        aligned = cosines(rows.border)[-1, :-1]
        agreed = principal_sign_agreement(rows.values[agreement_by_size][:-1], share)
        strange = np.maximum(np.abs(robust_z(aligned)), np.abs(robust_z(agreed)))
        kept = strange <= radius
        if not kept.any():
            raise NothingTrusted(name)
        limit = float(min(np.median(lengths), np.median(lengths[kept])))
        weights = np.where(kept, clip_factors(lengths, limit), 0.0) / np.count_nonzero(kept)
        return Linear(np.append(weights, 0.0)[None, :]), state

    def recall(state: Any, context: Context) -> list[Vector | None]:
        return [context.vector("model")]

    return Stage(name, 3, "n >= 3", plan, (border, agreement_by_size), recall=recall)
