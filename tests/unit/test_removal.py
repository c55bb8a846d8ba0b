"""The model cleansed after a round: what may change, what is kept, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flower_parts import Answer, FakeGrid, answer, model, shifted
from flwr.app import Array, ArrayRecord

import fedguard_strategies as rules
from fedguard import Policy
from fedguard.errors import InvalidParameter
from fedguard.flower import GuardedStrategy, Removal
from fedguard.flower import removal as removal_module
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_store

HONEST = [answer(shifted(1.0)) for _ in range(5)]


def run(removal: Removal | None, rounds: int = 1, **options: Any) -> tuple[ArrayRecord, FakeGrid]:
    """Rounds in which every client adds 1 to the model it was sent."""
    grid = FakeGrid([_adds_one] * 5)
    strategy = GuardedStrategy(Policy(rules.mean()), min_nodes=5, removal=removal, **options)
    return strategy.start(grid, model(), num_rounds=rounds).arrays, grid


def _adds_one(message: Any) -> Any:
    one: Answer = answer(shifted(1.0, message.content.array_records["arrays"]))
    return one(message)


def halved(arrays: ArrayRecord, server_round: int) -> ArrayRecord:
    return ArrayRecord(
        {name: Array(np.asarray(each.numpy() // 2)) for name, each in arrays.items()}
    )


def biases(grid: FakeGrid) -> list[float]:
    """What clients were sent, round by round."""
    sent = [each.content.array_records["arrays"]["bias"].numpy() for each in grid.sent.values()]
    return [float(each[0]) for each in sent[::5]]


def test_the_cleansed_model_is_what_clients_get_next() -> None:
    arrays, grid = run(Removal("minus", lambda arrays, _: shifted(-0.25, arrays)), rounds=3)
    assert biases(grid) == [0.0, 0.75, 1.5]
    assert arrays["bias"].numpy() == pytest.approx(2.25)


def test_only_floats_change() -> None:
    arrays, _ = run(Removal("halved", halved))
    assert arrays["bias"].numpy().tolist() == [0.0, 0.0]
    assert arrays["weight"].numpy().dtype == np.float32
    assert arrays["num_batches_tracked"].numpy() == 7


def test_it_runs_after_every_so_many_rounds() -> None:
    seen: list[int] = []

    def cleanse(arrays: ArrayRecord, server_round: int) -> ArrayRecord:
        seen.append(server_round)
        return shifted(-0.25, arrays)

    _, grid = run(Removal("minus", cleanse, every=2), rounds=5)
    assert seen == [2, 4]
    assert biases(grid) == [0.0, 1.0, 1.75, 2.75, 3.5]


WRONG = {
    "not finite": lambda arrays, _: shifted(np.nan, arrays),
    "another model": lambda arrays, _: ArrayRecord({"bias": arrays["bias"]}),
    "another dtype": lambda arrays, _: model("float64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_model_is_told_and_left(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(removal_module, "log", lambda _, text, *values: told.append(text % values))
    with open_store(str(tmp_path / "store"), "f") as store:
        arrays, _ = run(Removal("broken", WRONG[case]), store=store)
        name = store.last_model()
        assert name
        assert manifest_of(store.blobs, name)["cleansed"] is False
    assert arrays["bias"].numpy() == pytest.approx(1.0)
    assert told[0].startswith("broken gave no model, the round keeps its own: ")


def test_the_store_keeps_the_cleansed_model_and_says_by_what(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store"), "f") as store:
        run(Removal("minus", lambda arrays, _: shifted(-0.25, arrays), every=2), 2, store=store)
        kept, name = store.newest_model(), store.last_model()
        assert kept
        assert name
        manifest = manifest_of(store.blobs, name)
    assert kept["bias"] == pytest.approx(1.75)
    assert manifest["cleansed"] is True
    assert manifest["cleansed_by"] == "minus"
    assert manifest["cleansed_norm"] == pytest.approx(0.25 * np.sqrt(8))
    first = manifest_of(store.blobs, manifest["parent"])
    assert "cleansed" not in first


def test_a_held_round_is_not_cleansed() -> None:
    calls: list[int] = []

    def cleanse(arrays: ArrayRecord, server_round: int) -> ArrayRecord:
        calls.append(server_round)
        return arrays

    strategy = GuardedStrategy(
        Policy(rules.krum(4)), min_nodes=5, removal=Removal("counted", cleanse), retries=None
    )
    strategy.start(FakeGrid(HONEST), model(), num_rounds=1)
    assert not calls


def test_mistakes_are_answered() -> None:
    with pytest.raises(InvalidParameter, match="every must be 1 or more, got 0"):
        run(Removal("never", halved, every=0))
    for vectors in ({"model": halved}, {"root": halved}):
        with pytest.raises(InvalidParameter, match="are given already"):
            run(None, root=halved, vectors=vectors)


def test_any_vector_of_the_servers_own_can_be_given() -> None:
    policy = Policy(rules.fltrust())
    strategy = GuardedStrategy(
        policy, min_nodes=5, vectors={"root": lambda arrays, _: shifted(0.5, arrays)}
    )
    arrays = strategy.start(FakeGrid(HONEST), model(), num_rounds=1).arrays
    assert arrays["bias"].numpy() == pytest.approx(0.5)
