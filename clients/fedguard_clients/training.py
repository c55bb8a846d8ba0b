"""Local training in PyTorch: plain SGD over batches drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedguard.types import Vector
from fedguard_clients.behaviour import Constrain

__all__ = ["Held", "Training", "draw_batches", "drawing", "flat", "local_sgd", "stream", "unflat"]

DATA, CRAFT, BATCHES, CLEANSE, TRIGGER, LAYERS = range(1, 7)
"""Streams of random numbers that never meet."""


@dataclass(frozen=True, slots=True)
class Training:
    """Local work a round: `steps` SGD steps of `batch` examples at `learning_rate`."""

    steps: int = 10
    batch: int = 32
    learning_rate: float = 0.1


def stream(seed: int, purpose: int, client: int, server_round: int = 0) -> np.random.Generator:
    """The generator of one client, for one purpose, in one round."""
    return np.random.default_rng([seed, purpose, client, server_round])


@contextmanager
def drawing(rng: np.random.Generator) -> Iterator[None]:
    """What a model draws itself, as Dropout does, follows `rng`; torch's own numbers go on after.

    Else it would depend on what this process did before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def draw_batches(
    training: Training, examples: int, seed: int, client: int, server_round: int
) -> NDArray[np.int64]:
    """Indices of the batches, drawn with replacement, shape (steps, batch)."""
    rng = stream(seed, BATCHES, client, server_round)
    return rng.integers(0, examples, size=(training.steps, training.batch))


class Held:
    """A state, as views of what is trained, that is put where `constrain` says after each step."""

    def __init__(self, state: Mapping[str, Tensor], constrain: Constrain) -> None:
        self._state, self._constrain = state, constrain
        self._start = flat(state)
        self._before = np.zeros_like(self._start)

    @torch.no_grad()
    def after_step(self, learning_rate: float) -> None:
        after = flat(self._state) - self._start
        self._before = self._constrain(self._before, after, learning_rate)
        put = unflat(self._start + self._before, like=self._state)
        for name, tensor in self._state.items():
            tensor.copy_(put[name])


def local_sgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    batches: NDArray[np.int64],
    learning_rate: float | Sequence[float],
    constrain: Constrain | None = None,
) -> float:
    """Train `model` in place on one batch a step; returns the mean loss (cross-entropy).

    The learning rate may be another one in each step.
    """
    model.train()
    held = Held(model.state_dict(), constrain) if constrain else None
    rates = np.broadcast_to(learning_rate, len(batches)).tolist()
    optimiser = torch.optim.SGD(model.parameters(), lr=rates[0])
    losses = []
    for rate, batch in zip(rates, torch.from_numpy(batches), strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if held:
            held.after_step(rate)
        losses.append(loss.item())
    return float(np.mean(losses))


def flat(state: Mapping[str, Tensor]) -> Vector:
    """The float tensors of a state dict as one vector, in its order."""
    pieces = [each.detach().reshape(-1) for each in state.values() if each.is_floating_point()]
    return torch.cat(pieces).numpy()


def unflat(vector: Vector, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with its float tensors taken from `vector` and the others from `like`."""
    state, start = {}, 0
    for name, tensor in like.items():
        state[name] = tensor
        if tensor.is_floating_point():
            piece = vector[start : start + tensor.numel()].reshape(tensor.shape)
            state[name] = torch.from_numpy(piece).to(tensor.dtype)
            start += tensor.numel()
    return state
