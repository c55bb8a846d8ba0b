"""Angles between the clients' models, which are the global model plus an update."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64

__all__ = ["model_cosine_distances"]


def model_cosine_distances(gram: Float64) -> Float64:
    """1 - cosine between the models `model + row`, the last row standing for the model itself.

    `gram` is that of n rows and the model below them; the answer's shape is (n + 1, n + 1). A
    model is far longer than an update, so cosines of models differ in digits that subtraction
    loses. The Gram determinant of u and v - u, |u|^2 |v|^2 - (u v)^2, loses none of them.
    """
    rows, to_model, model = gram.copy(), gram[:, -1].copy(), gram[-1, -1]
    rows[-1], rows[:, -1], to_model[-1] = 0.0, 0.0, 0.0  # the model is itself plus nothing
    own = np.diagonal(rows)
    squares = np.maximum(model + 2.0 * to_model + own, 0.0)  # |u|^2
    apart = np.maximum(own[:, None] + own[None, :] - 2.0 * rows, 0.0)  # |v - u|^2
    along = to_model[None, :] - to_model[:, None] + rows - own[:, None]  # u (v - u)
    inner = squares[:, None] + along
    sine = np.maximum(squares[:, None] * apart - along**2, 0.0)  # |u|^2 |v|^2 sin^2
    lengths = np.sqrt(squares[:, None] * squares[None, :])
    scale = lengths * (lengths + np.abs(inner))
    small = np.divide(sine, scale, out=np.zeros_like(sine), where=scale > 0)
    distances = np.where(inner >= 0, small, 2.0 - small)
    symmetric: Float64 = 0.5 * (distances + distances.T)
    return symmetric
