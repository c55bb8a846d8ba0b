"""Ways to cleanse a model, on a small one with a backdoor that is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord
from small_backdoor import CLASSES, SIDE, backdoored, build, examples

from fedguard.errors import ConfigError, InvalidParameter, UnknownName
from fedguard.flower import Layout
from fedguard_clients.cleansing import (
    METHODS,
    Method,
    fine_pruning,
    pruning,
    removal,
    super_fine_tuning,
)
from fedguard_simulations.federation import federation_of
from fedguard_simulations.models import cnn, logistic, lora, mlp
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import Scenario


def rates(arrays: ArrayRecord) -> tuple[float, float]:
    """Accuracy on new examples, and the share that the trigger takes for class 0."""
    model, clean = build(), examples(200, seed=1)
    model.load_state_dict(arrays.to_torch_state_dict())
    marked = clean.x[clean.y == 1]
    marked[:, -1, -1] = 1.0
    with torch.no_grad():
        right = (model(torch.from_numpy(clean.x)).argmax(1).numpy() == clean.y).mean()
        taken = (model(torch.from_numpy(marked)).argmax(1) == 0).double().mean()
    return float(right), float(taken)


def cleansed(method: Method, arrays: ArrayRecord | None = None, round_: int = 1) -> ArrayRecord:
    return removal(method, build, examples()).cleanse(arrays or backdoored(), round_)


@pytest.mark.parametrize("method", [pruning(), fine_pruning(steps=40)], ids=lambda each: each.name)
def test_a_hidden_backdoor_is_cut_off(method: Method) -> None:
    assert rates(backdoored()) == (1.0, 1.0)
    accuracy, taken = rates(cleansed(method))
    assert accuracy > 0.97
    assert taken < 0.03


def test_pruning_costs_no_more_than_it_may() -> None:
    for tolerance in (0.01, 0.2):
        pruned = cleansed(pruning(tolerance))
        model, own = build(), examples()
        model.load_state_dict(pruned.to_torch_state_dict())
        with torch.no_grad():
            right = model(torch.from_numpy(own.x)).argmax(1).numpy() == own.y
        assert right.mean() >= 1.0 - tolerance
        changed = pruned["1.weight"].numpy() != backdoored()["1.weight"].numpy()
        assert (pruned["1.weight"].numpy()[changed] == 0).all()


def test_a_model_that_knows_nothing_keeps_half_of_its_inputs() -> None:
    arrays = ArrayRecord(mlp(8).initial((SIDE, SIDE), CLASSES, 0).state_dict())
    after = cleansed(pruning(tolerance=1.0), arrays)
    for name, inputs in (("1.weight", SIDE * SIDE), ("3.weight", 8)):
        assert (after[name].numpy() == 0).all(axis=0).sum() == inputs // 2


def test_fine_tuning_stays_in_its_ball() -> None:
    layout = Layout.of(backdoored())
    before = layout.flat(backdoored())
    for share in (0.01, 0.1):
        method = super_fine_tuning(steps=60, highest=2.0, share=share)
        moved = layout.flat(cleansed(method)) - before
        assert np.linalg.norm(moved) <= share * np.linalg.norm(before) * (1 + 1e-5)
        assert np.linalg.norm(moved) > 0


@pytest.mark.parametrize("make", METHODS, ids=lambda make: make.__name__)
def test_the_same_seed_and_round_give_the_same_bits(make: Callable[..., Method]) -> None:
    one, other = (
        Layout.of(backdoored()).flat(cleansed(make(), round_=3)).tobytes() for _ in range(2)
    )
    assert one == other


def test_another_round_draws_other_batches() -> None:
    method, new = super_fine_tuning(steps=20), mlp(8).initial((SIDE, SIDE), CLASSES, 0)
    arrays = ArrayRecord(new.state_dict())
    one, other = (cleansed(method, arrays, each)["1.weight"].numpy() for each in (1, 2))
    assert (one != other).any()


@pytest.mark.parametrize("model", [logistic(), mlp(8), cnn(2), lora()], ids=lambda each: each.name)
@pytest.mark.parametrize("make", METHODS, ids=lambda make: make.__name__)
def test_every_method_does_for_every_model(model, make: Callable[..., Method]) -> None:
    arrays = ArrayRecord(model.initial((SIDE, SIDE), CLASSES, 0).state_dict())
    own = removal(make(), lambda: model.build((SIDE, SIDE), CLASSES), examples())
    after = own.cleanse(arrays, 1)
    assert Layout.of(after).fits(Layout.of(arrays))
    assert np.isfinite(Layout.of(arrays).flat(after)).all()


def test_mistakes_are_answered() -> None:
    for mistake in (
        lambda: pruning(tolerance=0),
        lambda: super_fine_tuning(steps=0),
        lambda: super_fine_tuning(share=0),
        lambda: fine_pruning(every=1.5),
        lambda: removal(pruning(), build, examples(0)),
    ):
        with pytest.raises(InvalidParameter):
            mistake()


BASE = {
    "id": "t-v1",
    "summary": "a test",
    "attack": "backdoor(size=2)",
    "defence": "mean()",
    "dataset": "digits",
}


def test_a_scenario_names_its_removal() -> None:
    scenario = Scenario.from_dict(BASE | {"removal": "pruning(every=5)", "root_examples": 100})
    federation = federation_of(scenario)
    own = federation.removal(RUNS["defended"])
    assert own
    assert (own.name, own.every) == ("pruning(tolerance=0.01, every=5)", 5)
    assert federation.removal(RUNS["attacked"]) is None
    with pytest.raises(ConfigError, match="need root_examples"):
        Scenario.from_dict(BASE | {"removal": "pruning"})
    with pytest.raises(UnknownName, match="did you mean 'pruning'"):
        Scenario.from_dict(BASE | {"removal": "prunning()", "root_examples": 100})
    with pytest.raises(InvalidParameter, match="tolerance must lie in"):
        Scenario.from_dict(BASE | {"removal": "pruning(tolerance=2)", "root_examples": 100})
