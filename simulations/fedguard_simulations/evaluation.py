"""What the global model is worth: accuracy, loss, confusion, and how often an attack succeeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, MetricRecord
from numpy.typing import NDArray

from fedguard.types import Array
from fedguard_simulations.federation import Federation

__all__ = ["Evaluator"]


class Evaluator:
    """Central evaluation on the data set's own test split; Flower's `evaluate_fn`."""

    def __init__(self, federation: Federation) -> None:
        self._model = federation.build()
        self._test = federation.data.test
        self._trigger = federation.trigger()
        self._cases = self._trigger.inputs(self._test) if self._trigger else self._test.x[:0]

    def __call__(self, server_round: int, arrays: ArrayRecord) -> MetricRecord:
        """Accuracy, mean cross-entropy and, for attacks with an aim, their success rate."""
        logits = self._logits(arrays, self._test.x)
        labels = torch.from_numpy(self._test.y)
        told: dict[str, Any] = {
            "accuracy": float((logits.argmax(1) == labels).double().mean()),
            "loss": float(torch.nn.functional.cross_entropy(logits, labels)),
        }
        if self._trigger and len(self._cases):
            taken = self._logits(arrays, self._cases).argmax(1) == self._trigger.target
            told["attack_success"] = float(taken.double().mean())
        return MetricRecord(told)

    def confusion(self, arrays: ArrayRecord) -> NDArray[np.int64]:
        """Counts by true class (rows) and predicted class (columns)."""
        predicted = self._logits(arrays, self._test.x).argmax(1).numpy()
        counts = np.zeros((self._test.classes, self._test.classes), np.int64)
        np.add.at(counts, (self._test.y, predicted), 1)
        return counts

    @torch.no_grad()
    def _logits(self, arrays: ArrayRecord, x: Array) -> torch.Tensor:
        self._model.load_state_dict(arrays.to_torch_state_dict())
        self._model.eval()
        logits: torch.Tensor = self._model(torch.from_numpy(x))
        return torch.nan_to_num(logits)
