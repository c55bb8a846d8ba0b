"""A federation that goes on where its store stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flower_parts import FakeGrid, answer, model, shifted
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Result
from typer.testing import CliRunner

import fedguard_strategies as rules
from fedguard import Policy, ReputationPolicy, RoundReport, chain
from fedguard.cli import app
from fedguard.errors import RunHeld, StaleCommit
from fedguard.flower import GuardedStrategy
from fedguard.state import Heartbeat
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_store
from fedguard.state.queries import events_since
from fedguard.state.verifying import verify
from fedguard_strategies.recipes import standard_scorers

POLICY = Policy(
    chain(rules.centred_clipping(tau=2.0), rules.mean()),
    standard_scorers(1),
    ReputationPolicy(f=1),
)


def node(number: int) -> Any:
    """Moves the bias by another amount each round, by the round it is told."""

    def reply(message: Message) -> Message:
        arrays = message.content.array_records["arrays"]
        server_round = int(str(message.content.config_records["config"]["server-round"]))
        return answer(shifted(1.0 + 0.1 * number + 0.01 * server_round, arrays))(message)

    return reply


def train(store: Path, rounds: int, start: ArrayRecord | None = None) -> tuple[Result, list[int]]:
    told: list[int] = []

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        told.append(server_round)
        return MetricRecord({"bias": float(arrays["bias"].numpy()[0])})

    with open_store(str(store)) as opened:
        strategy = GuardedStrategy(POLICY, min_nodes=5, store=opened)
        grid = FakeGrid([node(number) for number in range(5)])
        result = strategy.start(
            grid, start or model(), num_rounds=rounds, timeout=1.0, evaluate_fn=evaluate
        )
    return result, told


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_goes_on_after_its_last_committed_round(tmp_path: Path, stop: int) -> None:
    whole, _ = train(tmp_path / "whole", 5)
    train(tmp_path / "parts", stop)
    rest, told = train(tmp_path / "parts", 5)
    assert told == list(range(stop, 6))
    for name in whole.arrays:
        assert rest.arrays[name].data == whole.arrays[name].data
    with open_store(str(tmp_path / "parts")) as one, open_store(str(tmp_path / "whole")) as other:
        assert one.load().to_bytes() == other.load().to_bytes()


def test_a_finished_run_gives_its_model_again(tmp_path: Path) -> None:
    first, _ = train(tmp_path / "store", 2)
    again, told = train(tmp_path / "store", 2)
    assert told == [2]
    assert all(again.arrays[name].data == first.arrays[name].data for name in first.arrays)
    assert again.arrays["num_batches_tracked"].numpy().shape == ()


def test_a_second_server_on_the_same_rounds_is_refused(tmp_path: Path) -> None:
    """It asked on a model that is no longer the newest: its round would undo the other's."""
    with open_store(str(tmp_path)) as one:

        def other_moves(message: Message) -> Message:
            if not other:
                other.append(train(tmp_path, 1)[0])
            return node(0)(message)

        other: list[Result] = []
        strategy = GuardedStrategy(POLICY, min_nodes=5, store=one)
        grid = FakeGrid([other_moves, *(node(number) for number in range(1, 5))])
        with pytest.raises(StaleCommit, match="another server"):
            strategy.start(grid, model(), num_rounds=2, timeout=5.0)
        assert one.done == 1


def test_rounds_that_were_held_count(tmp_path: Path) -> None:
    strict, told = Policy(rules.krum(3)), list[int]()
    for _ in range(2):
        with open_store(str(tmp_path)) as opened, pytest.raises(RunHeld):
            GuardedStrategy(
                strict,
                min_nodes=5,
                store=opened,
                retries=0,
                on_round=lambda report: told.append(report.round),
            ).start(FakeGrid([node(number) for number in range(5)]), model(), num_rounds=9)
    assert told == [1, 2]


def test_another_model_begins_with_the_apps(tmp_path: Path) -> None:
    train(tmp_path / "store", 1)
    other = ArrayRecord({"weight": Array(np.zeros(3, np.float32))})
    with open_store(str(tmp_path / "store")) as opened:
        strategy = GuardedStrategy(Policy(rules.mean()), min_nodes=2, store=opened)
        grid = FakeGrid([answer(shifted(1.0, other))] * 2)
        result = strategy.start(grid, other, num_rounds=2, timeout=1.0)
        assert opened.done == 2
    np.testing.assert_allclose(result.arrays["weight"].numpy(), 1.0)


def test_the_next_run_begins_with_the_model_that_was_gone_back_to(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    train(tmp_path / "store", 1)
    with open_store(store) as opened:
        first, good = opened.last_model(), opened.newest_model()
    train(tmp_path / "store", 3)
    invoke = partial(CliRunner().invoke, app)
    refused = invoke(["rollback", "9", "-s", store])
    assert "round 9 is not done" in str(refused.exception)
    with open_store(store) as opened:
        opened.beat(Heartbeat(4, "training"))
        assert "end it" in str(invoke(["rollback", "1", "-s", store]).exception)
        opened.beat(Heartbeat(3, "failed"))  # or ended
    told = invoke(["rollback", "1", "-s", store, "-m", "a backdoor since round 2"])
    assert told.output == "the next run begins with the model of round 1, as round 4\n"
    with open_store(store) as opened:
        now = opened.newest_model()
        assert good is not None
        assert now is not None
        assert {name: values.tobytes() for name, values in now.items()} == {
            name: values.tobytes() for name, values in good.items()
        }
        assert (opened.done, opened.advanced) == (3, 1)
    _, rounds = train(tmp_path / "store", 2)  # those taken back are made up for
    assert rounds == [3, 4]
    with open_store(store) as opened:
        last = opened.last_model()
        assert last is not None
        assert manifest_of(opened.blobs, last)["parent"] == first
        assert opened.signer
        assert verify(opened, opened.signer.verifier) == []
        assert "operator.rollback" in [row.kind for row in events_since(opened)]


def test_who_trains_by_a_seed_may_send_again_what_was_rolled_back(tmp_path: Path) -> None:
    store = str(tmp_path)

    def trained(rounds: int) -> list[str | None]:
        reports: list[RoundReport] = []
        with open_store(store) as opened:
            strategy = GuardedStrategy(POLICY, min_nodes=5, store=opened, on_round=reports.append)
            moving = [
                lambda message, by=by: answer(shifted(by, message.content.array_records["arrays"]))(
                    message
                )
                for by in (1.0, 1.1, 1.2, 1.3, 1.4)
            ]
            strategy.start(FakeGrid(moving), model(), num_rounds=rounds, timeout=1.0)
        return [each.reason for report in reports for each in report.refused]

    assert trained(3) == []
    invoke = partial(CliRunner().invoke, app)
    for _ in range(2):  # once more, from where that led
        assert invoke(["rollback", "1", "-s", store]).exit_code == 0
        assert trained(3) == []
    with open_store(store) as opened:
        assert (opened.done, opened.advanced) == (7, 3)


def test_rounds_that_were_held_are_made_up_for(tmp_path: Path) -> None:
    grid = FakeGrid([node(number) for number in range(5)])
    strict = Policy(rules.krum(4))  # needs eleven
    with open_store(str(tmp_path)) as store:
        strategy = GuardedStrategy(strict, min_nodes=5, store=store, retries=None)
        strategy.start(grid, model(), num_rounds=2, timeout=1.0)
        assert (store.done, store.advanced) == (2, 0)
    _, told = train(tmp_path, 2)
    assert told == [2, 3, 4]
    with open_store(str(tmp_path)) as store:
        assert (store.done, store.advanced) == (4, 2)
