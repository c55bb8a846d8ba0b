"""Server optimisers against Flower's own, and what a round does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flower_parts import FakeGrid, answer
from flwr.app import Array, ArrayRecord, Message
from flwr.serverapp import strategy as flower

import fedguard_strategies as rules
from fedguard import Cohort, Policy, State, Update, step
from fedguard.errors import InvalidParameter
from fedguard.flower import GuardedStrategy
from fedguard.optimisers import Optimiser
from fedguard_strategies.server_optimisers import fedadagrad, fedadam, fedavgm, fedyogi

ROUNDS = 5
OPTIMISERS: dict[str, tuple[Optimiser, Callable[..., Any]]] = {
    "FedAvgM": (
        fedavgm(momentum=0.7, lr=0.5),
        lambda **more: flower.FedAvgM(server_momentum=0.7, server_learning_rate=0.5, **more),
    ),
    "FedAdam": (fedadam(lr=0.05), lambda **more: flower.FedAdam(eta=0.05, **more)),
    "FedYogi": (fedyogi(lr=0.02), lambda **more: flower.FedYogi(eta=0.02, **more)),
    "FedAdagrad": (fedadagrad(lr=0.1), lambda **more: flower.FedAdagrad(eta=0.1, **more)),
}


def start() -> ArrayRecord:
    values = np.random.default_rng(0).normal(size=(4, 3))
    return ArrayRecord({"weight": Array(values), "bias": Array(np.zeros(3))})


class NextGrid(FakeGrid):
    """For Flower's own strategies, too."""

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:  # type: ignore[override]
        return list(self.pull_messages(self.push_messages(messages)))


def towards(goal: float) -> Callable[[Message], Message]:
    """A node that goes half the way to its goal, another coordinate at a time another way."""

    def reply(message: Message) -> Message:
        arrays = message.content.array_records["arrays"]
        moved = {
            name: Array(0.5 * (array.numpy() + goal * (1 + np.arange(array.numpy().shape[-1]))))
            for name, array in arrays.items()
        }
        return answer(ArrayRecord(moved))(message)

    return reply


NODES = [towards(goal) for goal in (-0.2, 0.1, 0.7)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_after_a_mean_the_model_is_flowers_own(name: str) -> None:
    own, theirs = OPTIMISERS[name]
    guarded = GuardedStrategy(Policy(rules.mean(), optimiser=own), min_nodes=3)
    found = guarded.start(NextGrid(NODES), start(), num_rounds=ROUNDS).arrays
    counts = {"min_train_nodes": 3, "min_available_nodes": 3, "fraction_evaluate": 0.0}
    wanted = theirs(**counts).start(NextGrid(NODES), start(), num_rounds=ROUNDS).arrays
    for key in found:
        np.testing.assert_allclose(found[key].numpy(), wanted[key].numpy(), rtol=1e-9, atol=1e-12)


def cohort(scale: float = 1.0, n: int = 5) -> Cohort:
    rows = scale * np.random.default_rng(1).normal(size=(n, 6)).astype(np.float32)
    return Cohort.of([Update(f"client-{i}", row) for i, row in enumerate(rows)])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_stored_optimiser_goes_on_as_if_it_never_left(name: str) -> None:
    policy, kept, stored = (
        Policy(rules.trimmed_mean(1), optimiser=OPTIMISERS[name][0]),
        State(),
        State(),
    )
    for number in range(1, 4):
        one, report, kept = step(kept, cohort(number), policy)
        other, _, stored = step(State.from_bytes(stored.to_bytes()), cohort(number), policy)
        assert one is not None
        assert other is not None
        assert one.dtype == np.float32
        assert one.tobytes() == other.tobytes()
        assert report.norm == pytest.approx(float(np.linalg.norm(one.astype(np.float64))))
    assert kept.to_bytes() == stored.to_bytes()


def test_a_held_round_leaves_the_optimiser_and_another_starts_anew() -> None:
    policy = Policy(rules.trimmed_mean(1), optimiser=fedavgm())
    _, _, state = step(State(), cohort(), policy)
    _, report, held = step(state, cohort(n=2), policy)
    assert report.held
    assert held.optimiser == state.optimiser
    other = Policy(rules.trimmed_mean(1), optimiser=fedavgm(momentum=0.1))
    vector, _, _ = step(state, cohort(2.0), other)
    alone, _, _ = step(State(), cohort(2.0), other)
    assert vector is not None
    assert alone is not None
    assert vector.tobytes() == alone.tobytes()


def test_a_step_that_is_not_finite_is_not_taken() -> None:
    policy = Policy(rules.mean(), optimiser=fedavgm(lr=1e30))
    vector, report, _ = step(State(), cohort(1e20), policy)
    assert vector is None
    assert "not finite" in str(report.held)
    frozen = Policy(rules.mean(), optimiser=fedadam())  # its second moment would be infinite
    _, report, state = step(State(), cohort(1e20), frozen)
    assert "not finite" in str(report.held)
    assert state.optimiser is None


@pytest.mark.parametrize(
    "make", [lambda: fedavgm(momentum=1), lambda: fedadam(lr=0), lambda: fedyogi(tau=-1)]
)
def test_parameters_are_checked(make: Callable[[], Optimiser]) -> None:
    with pytest.raises(InvalidParameter):
        make()
