"""What opens the model: a search for triggers on clean data, and the step that serves them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor, nn
from torch.nn import functional

from fedguard.errors import InvalidParameter
from fedguard_clients.behaviour import Examples, positive
from fedguard_clients.training import TRIGGER, stream

__all__ = ["TriggerSearch", "trigger_search"]

RATE = 0.1
"""Adam's, on the logits of mask and pattern."""
FAINT = -2.0
"""A mask begins with this logit everywhere."""
LEAST = 0.05
"""Success counts as at least this, when sizes are compared."""
STEP = 0.1
"""Learning rate of the step along the trigger; scores do not depend on it."""


class TriggerSearch:
    """A search that goes on from round to round: called with a model, it makes its step.

    `masks` and `patterns` are those of each class, shape (classes, ...), in [0, 1]: an input x
    becomes (1 - m) x + m p. `success` is the share of other classes' canaries that each takes with
    it, `target` the class that opens most easily: the smallest mask for its success.
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        examples: Examples,
        steps: int,
        batch: int,
        cost: float,
        seed: int,
    ) -> None:
        self._model, self._steps, self._batch = model, steps, batch
        self._cost, self._seed = cost, seed
        self._x, self._y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
        shape = (examples.classes, *self._x.shape[1:])
        self._logits = [torch.full(shape, FAINT), torch.zeros(shape)]
        self.success = torch.zeros(examples.classes)

    @property
    def masks(self) -> Tensor:
        return self._logits[0].sigmoid()

    @property
    def patterns(self) -> Tensor:
        return self._logits[1].sigmoid()

    @property
    def target(self) -> int:
        sizes = self.masks.flatten(1).sum(dim=1)
        return int((sizes / self.success.clamp_min(LEAST)).argmin())

    def __call__(self, arrays: ArrayRecord, server_round: int) -> ArrayRecord:
        """The model after one step that makes the best trigger work better."""
        model = self._model()
        model.load_state_dict(arrays.to_torch_state_dict())
        model.eval()
        self._search(model, stream(self._seed, TRIGGER, 0, server_round))
        target = self.target
        stamped = self._stamped(self._x[self._y != target], target)
        wanted = torch.full((len(stamped),), target)
        model.zero_grad()
        functional.cross_entropy(model(stamped), wanted).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for values in model.parameters():
                if values.grad is not None:
                    values.sub_(STEP * values.grad)
        return ArrayRecord(model.state_dict())

    def _stamped(self, x: Tensor, target: int) -> Tensor:
        mask = self.masks[target]
        return (1 - mask) * x + mask * self.patterns[target]

    def _search(self, model: nn.Module, rng: np.random.Generator) -> None:
        """Some steps for all classes at once; each asks for its class, and for a small mask."""
        logits = [each.clone().requires_grad_() for each in self._logits]
        optimiser = torch.optim.Adam(logits, lr=RATE)
        for _ in range(self._steps):
            batch = torch.from_numpy(rng.integers(0, len(self._y), self._batch))
            masks, patterns = (each.sigmoid() for each in logits)
            losses = self._losses(model, masks, patterns, batch)
            optimiser.zero_grad()
            (losses.sum() + self._cost * masks.sum()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self._logits = [each.detach() for each in logits]
        self.success = self._successes(model)

    def _losses(self, model: nn.Module, masks: Tensor, patterns: Tensor, batch: Tensor) -> Tensor:
        """Mean cross-entropy of each class's trigger on the examples of all others."""
        x, y, classes = self._x[batch], self._y[batch], len(masks)
        stamped = (1 - masks[:, None]) * x[None] + (masks * patterns)[:, None]
        shares = model(stamped.flatten(0, 1)).log_softmax(dim=1).view(classes, len(y), -1)
        targets = torch.arange(classes)
        others = (y[None] != targets[:, None]).to(shares.dtype)
        taken = shares[targets, :, targets]
        losses: Tensor = -(taken * others).sum(dim=1) / others.sum(dim=1).clamp_min(1)
        return losses

    @torch.no_grad()
    def _successes(self, model: nn.Module) -> Tensor:
        shares = []
        for target in range(len(self.masks)):
            stamped = self._stamped(self._x[self._y != target], target)
            shares.append((model(stamped).argmax(1) == target).double().mean().nan_to_num())
        return torch.stack(shares)


def trigger_search(
    model: Callable[[], nn.Module],
    examples: Examples,
    steps: int = 30,
    batch: int = 64,
    cost: float = 0.02,
    seed: int = 0,
) -> TriggerSearch:
    """What `vectors={"trigger": ...}` of a GuardedStrategy is given, for the scorer `trigger()`.

    Every round it searches, from where it was, for the smallest mask and pattern that make the
    global model take the clean `examples` of all other classes for each class; `cost` is what a
    whole cell of a mask costs. It begins anew when the server does. `model()` builds a module.

    Source: Wang et al. (Neural Cleanse), IEEE S&P 2019, section IV
    """
    if min(steps, batch) < 1:
        raise InvalidParameter(f"steps and batch must be at least 1, got {steps!r} and {batch!r}")
    positive("cost", cost)
    if len(np.unique(examples.y)) < 2:
        raise InvalidParameter("a trigger is searched for on clean examples of two classes or more")
    return TriggerSearch(model, examples, steps, batch, cost, seed)
