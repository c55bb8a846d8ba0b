"""The model that follows a round, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from fedguard.flower.model import Layout
from fedguard.flower.removal import Removal, cleansed
from fedguard.server.watch import StopWatch
from fedguard.state import PatientStore, Receipt, RoundRecord
from fedguard.types import RoundReport, Vector

__all__ = ["Succession", "follows"]


class Succession:
    """Makes the model after a round: moved, cleansed, on disk before the commit that names it.

    `model` is None until then, and after a round that was held.
    """

    def __init__(
        self,
        before: ArrayRecord,
        layout: Layout,
        rounds: PatientStore,
        receipts: Mapping[str, Receipt],
        removal: Removal | None,
        watch: StopWatch,
    ) -> None:
        self._before, self._layout, self._rounds = before, layout, rounds
        self._record, self._removal, self._watch = RoundRecord(receipts=receipts), removal, watch
        self.model: ArrayRecord | None = None

    def seal(self, vector: Vector | None, report: RoundReport) -> RoundRecord:
        """What the round's record says of its files; as `commit_round` asks for it."""
        self.model = None  # a round that is decided again may be held
        if vector is None:
            return self._record
        moved = self._layout.moved(self._before, vector)
        model, told = cleansed(self._removal, self._layout, moved, report.round)
        if self._removal:
            self._watch.lap("cleanse")
        name = self._rounds.keep_model(
            lambda: {name: array.numpy() for name, array in model.items()},
            self._provenance(report) | told,
        )
        self.model = model
        return replace(self._record, model=name)

    def _provenance(self, report: RoundReport) -> dict[str, Any]:
        """What the model's manifest says of where it comes from."""
        receipts = sorted(self._record.receipts.items())
        return {
            "round": report.round,
            "defence": report.defence,
            "norm": report.norm,
            "contributors": {each.client: each.weight for each in report.verdicts if each.admitted},
            "updates": {client: receipt.sha256 for client, receipt in receipts},
        }


def follows(model: Mapping[str, NDArray[Any]], before: Vector, vector: Vector) -> bool:
    """Whether a model is the one `before` moved by a round's `vector`, to the bit, shapes (d,)."""
    arrays = ArrayRecord({name: Array(values) for name, values in model.items()})
    layout = Layout.of(arrays)
    if layout.d != len(before):
        return False
    moved = layout.moved(layout.filled(arrays, before), vector)
    return all(moved[name].numpy().tobytes() == own.tobytes() for name, own in model.items())
